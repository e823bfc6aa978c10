/* SPDX-License-Identifier: Apache-2.0 */
#include "authorization.h"

#include <stdlib.h>

#define NO_REQUEST "This link is not right"

/* ---- judging ----------------------------------------------------------------------------------
 */

static bool tell(sim_authorization *a, unsigned status, const char *title, const char *text)
{
    sim_browser_tell(a->oidc, a->request, status, title, text, NULL);
    return false;
}

void sim_authorization_failed(sim_authorization *a, const rpc_status *status)
{
    sim_headers headers = a->browser.headers;
    HOST_LOG(a->oidc->service->log, HOST_ERROR, status->message,
        host_text("request_id", host_request_id_of(a->request)));
    sim_headers_retry(&headers, 1);
    sim_browser_tell(a->oidc, a->request, 503, "Not possible now",
        "The service cannot answer now. Wait a moment, then try again.", &headers);
}

static bool read_query(sim_authorization *a, rpc_bytes query)
{
    if (query.size > SIM_QUERY_BYTES_MAX || rpc_printable_run(query) != query.size)
        return tell(a, 400, NO_REQUEST, "The request is too long, or is no query.");
    if (query.size == 0) /* a POST without a body */
        query = rpc_bytes_str("");
    a->query = strndup((const char *)query.data, query.size);
    a->room = malloc(query.size + 1);
    if (!a->query || !a->room) {
        rpc_status status;
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "authorize: no memory");
        sim_authorization_failed(a, &status);
        return false;
    }
    host_params_parse(query, a->room, &a->params);
    return true;
}

static bool state_fits(sim_authorization *a)
{
    char text[200];
    const size_t most = a->oidc->service->config.state_bytes_max;
    if (!a->asked.state || sim_percent_encode(a->asked.state, NULL) <= most)
        return true;
    snprintf(text, sizeof text,
        "The application's request has a state of more than %zu bytes, percent-encoded, and could "
        "not be answered. It must send a shorter one.",
        most);
    return tell(a, 400, NO_REQUEST, text);
}

/* The client, and that it may be answered at that address: until then nothing is redirected. */
static bool find_client(sim_authorization *a)
{
    sim_error error;
    rpc_status status;
    if (!sim_auth_request_target(&a->params, &a->asked, &error))
        return tell(a, 400, NO_REQUEST, error.description);
    if (!state_fits(a))
        return false;
    rpc_code code = sim_client_find(
        a->oidc->service->state, a->asked.client_id, &a->client, &status);
    if (code == RPC_NOT_FOUND || (code == RPC_OK && a->client->disabled))
        return tell(a, 400, NO_REQUEST, "No application of that name (client_id) is known here.");
    if (code != RPC_OK) {
        sim_authorization_failed(a, &status);
        return false;
    }
    if (!sim_client_redirects_to(a->client, a->asked.redirect_uri))
        return tell(a, 400, NO_REQUEST,
            "The application asks for the answer to go to an address (redirect_uri) that it has "
            "not registered. It must be the same to the last character.");
    return true;
}

/* OpenID Connect Core 3.1.2.1: a code for the user of the hint, or an error. */
static bool take_hint(sim_authorization *a, sim_error *reterr)
{
    const char *hint = sim_param(&a->params, "id_token_hint");
    return !hint || sim_hint_read(a->oidc, hint, a->client->client_id, a->hinted) ||
           sim_refuse(reterr, SIM_INVALID_REQUEST,
               "id_token_hint is no ID token that was issued to this client");
}

static bool hinted_other(const sim_authorization *a)
{
    return *a->hinted && strcmp(a->hinted, a->browser.session.sub) != 0;
}

bool sim_authorization_begin(
    sim_oidc *oidc, host_request *request, rpc_bytes query, sim_authorization *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->oidc = oidc;
    ret->request = request;
    sim_error error;
    if (!read_query(ret, query) || !find_client(ret))
        return false;
    if (!sim_auth_request_read(&ret->params, ret->client, oidc->resources, &ret->asked, &error) ||
        !take_hint(ret, &error)) {
        sim_authorization_refuse(ret, &error);
        return false;
    }
    if (sim_browser_read(oidc, request, &ret->browser, &error))
        return true;
    sim_headers headers = {0};
    sim_headers_retry(&headers, error.retry_s);
    sim_browser_tell(oidc, request, error.status, "Not possible now",
        "The service cannot answer now. Wait a moment, then try again.", &headers);
    return false;
}

void sim_authorization_done(sim_authorization *a)
{
    free(a->query);
    free(a->room);
    sim_client_free(a->client);
}

/* ---- answering --------------------------------------------------------------------------------
 */

static void redirect(sim_authorization *a, const char *const *pairs)
{
    RPC_AUTOFREE char *location = sim_uri_with(a->asked.redirect_uri, pairs);
    if (!location) {
        rpc_status status;
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "authorize: no memory");
        sim_authorization_failed(a, &status);
        return;
    }
    sim_answer_redirect(a->request, location, &a->browser.headers);
}

void sim_authorization_refuse(sim_authorization *a, const sim_error *error)
{
    HOST_LOG(a->oidc->service->log, HOST_INFO, "authorization refused",
        host_text("request_id", host_request_id_of(a->request)),
        host_text("client", a->client->client_id), host_text("refused", error->error),
        host_text("why", error->description));
    redirect(
        a, (const char *const[]){"error", error->error, "error_description", error->description,
               "state", a->asked.state, "iss", a->oidc->service->config.issuer, NULL});
}

static rpc_code keep_grant(sim_authorization *a, char ret_code[SIM_CODE_MAX], rpc_status *reterr)
{
    const sim_auth_request *asked = &a->asked;
    const sim_session *session = &a->browser.session;
    const char *actions[SIM_ACTIONS_MAX + 1];
    sim_actions_names(asked->digital_asset ? asked->details.actions : 0, actions);
    const sim_grant grant = {
        .client_id = a->client->client_id,
        .username = session->username,
        .sub = session->sub,
        .scope = asked->scope,
        .digital_asset = asked->digital_asset,
        .asset_id = asked->digital_asset ? asked->details.asset_id : "",
        .actions = actions,
        .redirect_uri = asked->redirect_uri,
        .code_challenge = asked->code_challenge,
        .nonce = asked->nonce,
        .acr = session->acr,
        .resource = asked->resource,
        .auth_time = session->auth_time,
        .era = session->era,
    };
    rpc_code code = sim_grant_begin(a->oidc->service->state, &grant, ret_code, reterr);
    return code == RPC_OK
               ? SIM_AUDIT(a->oidc->service, host_request_id_of(a->request), "authorize", reterr,
                     host_text("client", grant.client_id), host_who("subject", grant.sub),
                     host_text("scope", grant.scope), host_text("asset", grant.asset_id))
               : code;
}

void sim_authorization_grant(sim_authorization *a)
{
    char code[SIM_CODE_MAX];
    rpc_status status;
    rpc_code kept = keep_grant(a, code, &status);
    if (kept == RPC_NOT_FOUND) { /* logged out meanwhile, on another page */
        sim_error error;
        sim_refuse(&error, "login_required", "the login ended meanwhile");
        sim_authorization_refuse(a, &error);
        return;
    }
    if (kept != RPC_OK) {
        sim_authorization_failed(a, &status);
        return;
    }
    redirect(a, (const char *const[]){"code", code, "state", a->asked.state, "iss",
                    a->oidc->service->config.issuer, NULL});
}

static void refuse_silently(sim_authorization *a, const char *error, const char *description)
{
    sim_error refusal;
    sim_refuse(&refusal, error, description);
    sim_authorization_refuse(a, &refusal);
}

void sim_authorization_next_fresh(sim_authorization *a)
{
    bool ask = false;
    rpc_status status;
    if (hinted_other(a))
        refuse_silently(a, "login_required", "another user logged in than id_token_hint is about");
    else if (sim_consent_needed(a, &ask, &status) != RPC_OK)
        sim_authorization_failed(a, &status);
    else if (!ask)
        sim_authorization_grant(a);
    else if (a->asked.prompt_none)
        refuse_silently(a, "consent_required", "the user has to be asked");
    else
        sim_authorization_show_consent(a);
}

void sim_authorization_next(sim_authorization *a)
{
    const sim_auth_request *asked = &a->asked;
    int64_t age = sim_now_s(a->oidc) - a->browser.session.auth_time;
    bool login = !a->browser.logged_in || hinted_other(a) || asked->prompt_login ||
                 asked->max_age_s == 0 || (asked->max_age_s > 0 && age > asked->max_age_s);
    if (!login)
        sim_authorization_next_fresh(a);
    else if (asked->prompt_none)
        refuse_silently(a, "login_required", "the user has to log in");
    else
        sim_authorization_show_login(a, 200, asked->login_hint, NULL);
}

void sim_authorize_handle(void *ctx, host_request *request)
{
    sim_authorization a;
    bool post = strcmp(host_request_method(request), "POST") == 0;
    rpc_bytes query = post ? host_request_body(request)
                           : rpc_bytes_str(host_request_raw_query(request));
    if (sim_authorization_begin(ctx, request, query, &a))
        sim_authorization_next(&a);
    sim_authorization_done(&a);
}
