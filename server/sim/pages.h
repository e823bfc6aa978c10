/* SPDX-License-Identifier: Apache-2.0 */
/** Pages for people: plain HTML without script, nothing from third parties, everything foreign
 *  escaped. Making one is pure. */
#ifndef SIM_PAGES_H
#define SIM_PAGES_H

#include "auth_request.h"
#include "reply.h"

#define SIM_CSP_MAX 1024u

/** "'sha256-…'" of the style that stands in every page. */
void sim_page_style_hash(char ret[64]);
/** The policy of a page whose forms go to us and whose answer may lead to redirect_uri (NULL: stays
 *  here): Chromium applies form-action to where a form's answer redirects. */
void sim_page_csp(const char *style_hash, const char *redirect_uri, char ret[SIM_CSP_MAX]);

/** What a form takes along. Borrowed. */
typedef struct sim_form {
    const char *action;
    const char *query; /* the authorization request, as it came; NULL = none */
    const char *at;    /* when the form was made */
    const char *csrf;
} sim_form;

/** Each returns the page, to be freed, or NULL when memory is short. */
char *sim_page_message(const char *title, const char *text);
/** problem: what was wrong with the last try, or NULL. */
char *sim_page_login(
    const sim_form *form, const char *client_name, const char *username, const char *problem);
char *sim_page_consent(const sim_form *form, const char *client_name, const char *user_name,
    const sim_auth_request *asked);
char *sim_page_logout(const sim_form *form, const char *user_name);

/** Takes page; NULL becomes 500. */
void sim_answer_page(host_request *request, unsigned status, char *page, const char *csp,
    const sim_headers *headers);

#endif
