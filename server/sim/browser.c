/* SPDX-License-Identifier: Apache-2.0 */
#include "browser.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#define FORM_COOKIE_CHARS 43u

static const char *cookie_of(host_request *request, const char *name, size_t chars_max)
{
    const char *value = NULL;
    return host_request_cookie(request, name, &value) == HOST_FOUND && strlen(value) <= chars_max
               ? value
               : "";
}

bool sim_browser_read(sim_oidc *oidc, host_request *request, sim_browser *ret, sim_error *reterr)
{
    memset(ret, 0, sizeof *ret);
    const char *form = cookie_of(request, SIM_COOKIE_FORM, FORM_COOKIE_CHARS);
    const char *session = cookie_of(request, SIM_COOKIE_SESSION, SIM_CODE_MAX - 1);
    if (strlen(form) == FORM_COOKIE_CHARS)
        memcpy(ret->form_cookie, form, FORM_COOKIE_CHARS + 1);
    if (!*session)
        return true;
    rpc_status status;
    rpc_code code = sim_session_find(oidc->service->state, session, &ret->session, &status);
    if (code == RPC_OK) {
        ret->logged_in = true;
        snprintf(ret->session_cookie, sizeof ret->session_cookie, "%s", session);
    } else if (code != RPC_NOT_FOUND) {
        HOST_LOG(oidc->service->log, HOST_ERROR, status.message,
            host_text("request_id", host_request_id_of(request)));
        return sim_refuse_code(reterr, code);
    }
    return true;
}

rpc_code sim_browser_login(
    sim_oidc *oidc, sim_browser *browser, const sim_user *user, rpc_status *reterr)
{
    char cookie[SIM_CODE_MAX];
    sim_session session;
    sim_state *state = oidc->service->state;
    rpc_code code = sim_session_begin(state, user, SIM_ACR_PASSWORD, cookie, reterr);
    if (code == RPC_OK)
        code = sim_session_find(state, cookie, &session, reterr);
    if (code == RPC_OK && browser->logged_in)
        code = sim_session_end(state, browser->session_cookie, reterr);
    if (code != RPC_OK && code != RPC_NOT_FOUND)
        return code;
    browser->logged_in = true;
    browser->session = session;
    memcpy(browser->session_cookie, cookie, sizeof cookie);
    sim_headers_cookie(&browser->headers, SIM_COOKIE_SESSION, cookie);
    return RPC_OK;
}

rpc_code sim_browser_logout(sim_oidc *oidc, sim_browser *browser, rpc_status *reterr)
{
    rpc_code code = browser->logged_in
                        ? sim_session_end(oidc->service->state, browser->session_cookie, reterr)
                        : RPC_OK;
    if (code != RPC_OK && code != RPC_NOT_FOUND)
        return code;
    browser->logged_in = false;
    browser->session_cookie[0] = '\0';
    sim_headers_cookie(&browser->headers, SIM_COOKIE_SESSION, NULL);
    return RPC_OK;
}

/* Bound to the session as well: what was shown to one user is never confirmed by another. */
static bool mac_of(sim_oidc *oidc, const sim_browser *browser, const char *step, const char *at,
    const char *query, char ret[44])
{
    size_t room = (query ? strlen(query) : 0) + SIM_CODE_MAX + sizeof browser->form_cookie + 64;
    RPC_AUTOFREE char *text = malloc(room);
    if (!text)
        return false;
    int size = snprintf(text, room, "%s\n%s\n%s\n%s\n%s", step, at, browser->form_cookie,
        browser->session_cookie, query ? query : "");
    sim_state_mac(oidc->service->state, "csrf", rpc_bytes_of(text, (size_t)size), ret);
    return true;
}

static void draw_form_cookie(sim_browser *browser)
{
    uint8_t drawn[32];
    rpc_random(drawn, sizeof drawn);
    sodium_bin2base64(browser->form_cookie, sizeof browser->form_cookie, drawn, sizeof drawn,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sim_headers_cookie(&browser->headers, SIM_COOKIE_FORM, browser->form_cookie);
}

sim_form sim_browser_form(sim_oidc *oidc, sim_browser *browser, const char *step, const char *query,
    sim_form_marks *marks)
{
    if (!*browser->form_cookie)
        draw_form_cookie(browser);
    snprintf(marks->action, sizeof marks->action, "%s/%s", oidc->prefix, step);
    snprintf(marks->at, sizeof marks->at, "%" PRId64, sim_now_s(oidc));
    if (!mac_of(oidc, browser, step, marks->at, query, marks->csrf))
        marks->csrf[0] = '\0'; /* a form that cannot be sent: memory is short */
    return (sim_form){marks->action, query, marks->at, marks->csrf};
}

bool sim_browser_marked(sim_oidc *oidc, const sim_browser *browser, const char *step,
    const char *query, const host_params *form)
{
    char expected[44];
    const char *csrf = sim_param(form, "csrf"), *at = sim_param(form, "at");
    if (!csrf || !at || !*browser->form_cookie || strlen(at) > 19 || at[strspn(at, "0123456789")] ||
        !mac_of(oidc, browser, step, at, query, expected))
        return false;
    if (strlen(csrf) != strlen(expected) || sodium_memcmp(csrf, expected, strlen(expected)) != 0)
        return false;
    int64_t made = strtoll(at, NULL, 10), now = sim_now_s(oidc);
    return now - made < SIM_FORM_LIFE_S;
}

void sim_browser_tell(sim_oidc *oidc, host_request *request, unsigned status, const char *title,
    const char *text, const sim_headers *headers)
{
    char csp[SIM_CSP_MAX];
    if (status >= 400)
        HOST_LOG(oidc->service->log, HOST_INFO, "page says no",
            host_text("request_id", host_request_id_of(request)), host_text("why", text));
    sim_page_csp(oidc->style_hash, NULL, csp);
    sim_answer_page(request, status, sim_page_message(title, text), csp, headers);
}
