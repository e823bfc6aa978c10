/* SPDX-License-Identifier: Apache-2.0 */
#include "authorization.h"

/* One sentence, whoever fails and why: it does not tell whether a user exists. */
#define WRONG "User name or password is not right."
#define STALE                                                                                      \
    "This page was too old, or was not opened in this browser by the application. Log in here "    \
    "to go on."

void sim_authorization_show_login(
    sim_authorization *a, unsigned status, const char *username, const char *problem)
{
    char csp[SIM_CSP_MAX];
    sim_form_marks marks;
    const sim_form form = sim_browser_form(a->oidc, &a->browser, "login", a->query, &marks);
    sim_page_csp(a->oidc->style_hash, a->asked.redirect_uri, csp);
    sim_answer_page(a->request, status, sim_page_login(&form, a->client->name, username, problem),
        csp, &a->browser.headers);
}

static void show_too_often(sim_authorization *a, unsigned retry_s)
{
    char text[160];
    sim_headers headers = a->browser.headers;
    sim_headers_retry(&headers, retry_s);
    unsigned minutes = (retry_s + 59) / 60;
    snprintf(text, sizeof text,
        "There were too many tries with a wrong user name or password. Try again in %u %s.",
        retry_s < 120 ? retry_s : minutes, retry_s < 120 ? "seconds" : "minutes");
    sim_browser_tell(a->oidc, a->request, 429, "Too many tries", text, &headers);
}

/* Each try counts against the user's name and against the address until it has succeeded. */
static bool take_try(sim_authorization *a, rpc_bytes username, rpc_bytes address)
{
    sim_service *service = a->oidc->service;
    unsigned retry_s = 0;
    sim_limit limit = SIM_LIMIT_ADDRESS;
    if (sim_rates_take(service->logins_per_address, address, &retry_s)) {
        limit = SIM_LIMIT_USER;
        if (sim_rates_take(service->logins_per_user, username, &retry_s))
            return true;
    }
    host_counter_add(a->oidc->counters.limits[limit], 1);
    show_too_often(a, retry_s);
    return false;
}

static rpc_code note(sim_authorization *a, const char *username, bool success, rpc_status *reterr)
{
    const host_field fields[] = {host_who("user", username),
        host_text("client", a->client->client_id),
        host_text("outcome", success ? "success" : "refused")};
    return (success ? sim_audit : sim_audit_stranger)(a->oidc->service,
        host_request_id_of(a->request), "login", fields, sizeof fields / sizeof *fields, reterr);
}

static void log_in(sim_authorization *a, const char *username, const char *password)
{
    sim_service *service = a->oidc->service;
    rpc_bytes name = rpc_bytes_str(username);
    char network[SIM_NETWORK_MAX];
    sim_rates_network(host_request_address(a->request), network);
    rpc_bytes address = rpc_bytes_str(network);
    RPC_CLEANUP(sim_user_freep) sim_user *user = NULL;
    rpc_status status;
    if (!take_try(a, name, address))
        return;
    rpc_code code = sim_user_check(service->state, username, password, &user, &status);
    if (code == RPC_UNAUTHENTICATED || code == RPC_INVALID_ARGUMENT) {
        host_counter_add(a->oidc->counters.logins[SIM_LOGIN_REFUSED], 1);
        if (note(a, username, false, &status) != RPC_OK)
            sim_authorization_failed(a, &status);
        else
            sim_authorization_show_login(a, 403, username, WRONG);
        return;
    }
    if (code == RPC_OK)
        code = sim_browser_login(a->oidc, &a->browser, user, &status);
    if (code == RPC_OK)
        code = note(a, username, true, &status);
    sim_rates_give(service->logins_per_user, name);
    sim_rates_give(service->logins_per_address, address);
    if (code == RPC_OK) {
        host_counter_add(a->oidc->counters.logins[SIM_LOGIN_SUCCESS], 1);
        sim_authorization_next_fresh(a);
    } else {
        sim_authorization_failed(a, &status);
    }
}

static void take_login(sim_authorization *a, const host_params *form)
{
    const char *username = sim_param(form, "username"), *password = sim_param(form, "password");
    if (!sim_browser_marked(a->oidc, &a->browser, "login", a->query, form))
        sim_authorization_show_login(a, 403, "", STALE);
    else if (!username || !password || !sim_params_sound(form))
        sim_authorization_show_login(
            a, 400, username ? username : "", "Enter your user name and your password.");
    else
        log_in(a, username, password);
}

void sim_login_handle(void *ctx, host_request *request)
{
    sim_authorization a;
    const host_params *form = host_request_form(request);
    const char *query = sim_param(form, "request");
    if (!query) {
        sim_browser_tell(ctx, request, 400, "Log in",
            "Logging in begins in the application that you want to use. Open it there.", NULL);
        return;
    }
    if (sim_authorization_begin(ctx, request, rpc_bytes_str(query), &a))
        take_login(&a, form);
    sim_authorization_done(&a);
}
