/* SPDX-License-Identifier: Apache-2.0 */
#include "authorization.h"

rpc_code sim_consent_needed(sim_authorization *a, bool *ret, rpc_status *reterr)
{
    char given[SIM_SCOPE_BYTES_MAX + 1] = "";
    bool given_assets = false;
    *ret = true;
    if (a->asked.prompt_consent || a->client->consent == SIM_CONSENT_ALWAYS)
        return RPC_OK;
    *ret = false;
    if (a->client->consent == SIM_CONSENT_NEVER)
        return RPC_OK;
    rpc_code code = sim_consent_find(a->oidc->service->state, a->browser.session.username,
        a->client->client_id, given, sizeof given, &given_assets, reterr);
    if (code != RPC_OK && code != RPC_NOT_FOUND)
        return code;
    *ret = !sim_words_within(a->asked.scope, given) || (a->asked.digital_asset && !given_assets);
    return RPC_OK;
}

void sim_authorization_show_consent(sim_authorization *a)
{
    char csp[SIM_CSP_MAX];
    sim_form_marks marks;
    const sim_form form = sim_browser_form(a->oidc, &a->browser, "consent", a->query, &marks);
    sim_page_csp(a->oidc->style_hash, a->asked.redirect_uri, csp);
    sim_answer_page(a->request, 200,
        sim_page_consent(&form, a->client->name, a->browser.session.username, &a->asked), csp,
        &a->browser.headers);
}

static rpc_code note(sim_authorization *a, bool allowed, rpc_status *reterr)
{
    return SIM_AUDIT(a->oidc->service, host_request_id_of(a->request), "consent", reterr,
        host_who("subject", a->browser.session.sub), host_text("client", a->client->client_id),
        host_text("scope", a->asked.scope), host_text("outcome", allowed ? "allowed" : "denied"));
}

static void allow(sim_authorization *a)
{
    rpc_status status;
    rpc_code code = RPC_OK;
    if (a->client->consent == SIM_CONSENT_ONCE)
        code = sim_consent_give(a->oidc->service->state, a->browser.session.username,
            a->client->client_id, a->asked.scope, a->asked.digital_asset, &status);
    if (code == RPC_OK)
        code = note(a, true, &status);
    if (code == RPC_OK)
        sim_authorization_grant(a);
    else
        sim_authorization_failed(a, &status);
}

static void deny(sim_authorization *a)
{
    rpc_status status;
    sim_error error;
    sim_refuse(&error, "access_denied", "the user has denied it");
    if (note(a, false, &status) == RPC_OK)
        sim_authorization_refuse(a, &error);
    else
        sim_authorization_failed(a, &status);
}

/* The marks say that this page was shown in this session, after whatever login was needed. */
static void take_consent(sim_authorization *a, const host_params *form)
{
    const char *decision = sim_param(form, "decision");
    if (!a->browser.logged_in) {
        sim_authorization_show_login(a, 403, "", "Your login has ended. Log in again to go on.");
    } else if (!sim_params_sound(form) ||
               !sim_browser_marked(a->oidc, &a->browser, "consent", a->query, form)) {
        sim_browser_tell(a->oidc, a->request, 403, "Not taken",
            "This page was too old, or was not opened in this browser. Begin again in the "
            "application.",
            NULL);
    } else if (decision && strcmp(decision, "allow") == 0) {
        allow(a);
    } else if (decision && strcmp(decision, "deny") == 0) {
        deny(a);
    } else {
        sim_authorization_show_consent(a);
    }
}

void sim_consent_handle(void *ctx, host_request *request)
{
    sim_authorization a;
    const host_params *form = host_request_form(request);
    const char *query = sim_param(form, "request");
    if (!query) {
        sim_browser_tell(ctx, request, 400, "Allow access",
            "Access is asked for by an application. Begin there.", NULL);
        return;
    }
    if (sim_authorization_begin(ctx, request, rpc_bytes_str(query), &a))
        take_consent(&a, form);
    sim_authorization_done(&a);
}
