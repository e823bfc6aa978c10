/* SPDX-License-Identifier: Apache-2.0 */
#include "browser.h"

static void failed(sim_oidc *oidc, host_request *request, const rpc_status *status)
{
    sim_headers headers = {0};
    HOST_LOG(oidc->service->log, HOST_ERROR, status->message,
        host_text("request_id", host_request_id_of(request)));
    sim_headers_retry(&headers, 1);
    sim_browser_tell(oidc, request, 503, "Not possible now",
        "The service cannot answer now. Wait a moment, then try again.", &headers);
}

static void ask(sim_oidc *oidc, host_request *request, sim_browser *browser, unsigned status)
{
    char csp[SIM_CSP_MAX];
    sim_form_marks marks;
    const sim_form form = sim_browser_form(oidc, browser, "logout", NULL, &marks);
    sim_page_csp(oidc->style_hash, NULL, csp);
    sim_answer_page(
        request, status, sim_page_logout(&form, browser->session.username), csp, &browser->headers);
}

static void end(sim_oidc *oidc, host_request *request, sim_browser *browser)
{
    rpc_status status;
    rpc_code code = sim_browser_logout(oidc, browser, &status);
    if (code == RPC_OK)
        code = SIM_AUDIT(oidc->service, host_request_id_of(request), "logout", &status,
            host_who("subject", browser->session.sub));
    if (code == RPC_OK)
        sim_browser_tell(oidc, request, 200, "Logged out",
            "You are logged out here. Applications go on until their access ends.",
            &browser->headers);
    else
        failed(oidc, request, &status);
}

/* Also what a relying party's link or form leads to (RP-Initiated Logout): the user is asked. */
void sim_logout_handle(void *ctx, host_request *request)
{
    sim_oidc *oidc = ctx;
    sim_browser browser;
    sim_error error;
    const host_params *form = host_request_form(request);
    bool post = strcmp(host_request_method(request), "POST") == 0;
    if (!sim_browser_read(oidc, request, &browser, &error)) {
        rpc_status status;
        rpc_status_set(&status, RPC_UNAVAILABLE, "logout: the session cannot be looked up");
        failed(oidc, request, &status);
    } else if (!browser.logged_in) {
        sim_browser_tell(oidc, request, 200, "Logged out", "You are not logged in here.", NULL);
    } else if (post && sim_browser_marked(oidc, &browser, "logout", NULL, form)) {
        end(oidc, request, &browser);
    } else {
        ask(oidc, request, &browser, post && sim_param(form, "csrf") ? 403 : 200);
    }
}
