/* SPDX-License-Identifier: Apache-2.0 */
/** The browser at the other end: its session, and the cookie that ties our forms to it. */
#ifndef SIM_BROWSER_H
#define SIM_BROWSER_H

#include "oidc_internal.h"
#include "pages.h"

#define SIM_COOKIE_SESSION "__Host-sim-session"
#define SIM_COOKIE_FORM    "__Host-sim-form"
#define SIM_FORM_LIFE_S    3600

typedef struct sim_browser {
    bool logged_in;
    sim_session session;
    char session_cookie[SIM_CODE_MAX];
    char form_cookie[44]; /* "" = it has none */
    sim_headers headers;  /* of the answer: cookies to set */
} sim_browser;

/** Reads the cookies. False: the store cannot be asked; *reterr. */
bool sim_browser_read(sim_oidc *oidc, host_request *request, sim_browser *ret, sim_error *reterr);
/** A new session, in place of the old one, which ends: nobody can have fixed its cookie before. */
RPC_MUST_USE rpc_code sim_browser_login(
    sim_oidc *oidc, sim_browser *browser, const sim_user *user, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_browser_logout(sim_oidc *oidc, sim_browser *browser, rpc_status *reterr);

/** What a form points to. */
typedef struct sim_form_marks {
    char action[SIM_PATH_MAX + 16], at[24], csrf[44];
} sim_form_marks;
/** The form of that step ("login", "consent", "logout": also the last part of its path) about
 *  query, which may be NULL; gives the browser the cookie that belongs to it. */
sim_form sim_browser_form(sim_oidc *oidc, sim_browser *browser, const char *step, const char *query,
    sim_form_marks *marks);
/** Does the form that came back bear the marks that this browser was given for that step and
 *  query, in this session, less than an hour ago? */
bool sim_browser_marked(sim_oidc *oidc, const sim_browser *browser, const char *step,
    const char *query, const host_params *form);

/** Answers with a page that says what happened. */
void sim_browser_tell(sim_oidc *oidc, host_request *request, unsigned status, const char *title,
    const char *text, const sim_headers *headers);

#endif
