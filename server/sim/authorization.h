/* SPDX-License-Identifier: Apache-2.0 */
/** An authorization request on its way through the pages. Nothing is kept between them: each form
 *  carries the request as it came, and it is judged anew each time. */
#ifndef SIM_AUTHORIZATION_H
#define SIM_AUTHORIZATION_H

#include "browser.h"

typedef struct sim_authorization {
    sim_oidc *oidc;
    host_request *request;
    char *query; /* as it came */
    char *room;  /* what params point into */
    host_params params;
    sim_client *client;
    sim_auth_request asked;
    char hinted[SIM_SUB_CHARS + 1]; /* the user of id_token_hint: nobody else; "" = whoever */
    sim_browser browser;
} sim_authorization;

/** Judges query and reads the browser. False: the request has been answered. Done in either case
 *  with sim_authorization_done(). */
bool sim_authorization_begin(
    sim_oidc *oidc, host_request *request, rpc_bytes query, sim_authorization *ret);
void sim_authorization_done(sim_authorization *authorization);

/** Whom an ID token of ours was issued for, to that client; false: it is none. It may have expired:
 *  it says who is meant, and proves nothing. */
bool sim_hint_read(
    sim_oidc *oidc, const char *token, const char *client_id, char ret_sub[SIM_SUB_CHARS + 1]);

/** Answers with what comes next: login page, consent page, or the redirect with a code. */
void sim_authorization_next(sim_authorization *authorization);
/** The same after a login: prompt and max_age are satisfied. */
void sim_authorization_next_fresh(sim_authorization *authorization);
/** Answers with the redirect that carries a code: everything was agreed to. */
void sim_authorization_grant(sim_authorization *authorization);
/** Answers with the redirect that carries the error. */
void sim_authorization_refuse(sim_authorization *authorization, const sim_error *error);
/** Answers 503 or 500 with a page; status goes to the log. */
void sim_authorization_failed(sim_authorization *authorization, const rpc_status *status);

/** Answers with the login page; problem NULL: first time. */
void sim_authorization_show_login(
    sim_authorization *authorization, unsigned status, const char *username, const char *problem);
/** Does the user have to be asked? */
RPC_MUST_USE rpc_code sim_consent_needed(
    sim_authorization *authorization, bool *ret, rpc_status *reterr);
void sim_authorization_show_consent(sim_authorization *authorization);

#endif
