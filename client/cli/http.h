/* SPDX-License-Identifier: Apache-2.0 */
/** HTTPS requests to an OpenID provider, by libcurl: certificates are verified, nothing is followed
 *  elsewhere, answers are bounded. */
#ifndef DACM_CLI_HTTP_H
#define DACM_CLI_HTTP_H

#include "cli.h"

#define HTTP_REPLY_BYTES_MAX (1u << 20)

/** Whom to trust and who we are; NULL: the system's authorities, no certificate. Borrowed. */
typedef struct http_peer {
    const char *ca_file, *certificate_file, *key_file;
} http_peer;

typedef struct http_reply {
    long status; /* 200..599 */
    char *body;  /* with a NUL behind it */
    size_t size;
} http_reply;
/** Wipes and frees; a zeroed one is allowed. */
void http_done(http_reply *reply);

/** url is https. bearer: an access token, or NULL. UNAVAILABLE: no answer; INVALID_ARGUMENT: the
 *  url; RESOURCE_EXHAUSTED: more than 1 MiB. */
dacm_code http_get(const http_peer *peer, const char *url, const char *bearer, http_reply *ret,
    dacm_error *reterr);
/** form: application/x-www-form-urlencoded. */
dacm_code http_post(
    const http_peer *peer, const char *url, const char *form, http_reply *ret, dacm_error *reterr);

/** A form or query that grows; a member that did not fit memory makes it NULL in the end. */
typedef struct http_form {
    char *text;
    size_t size;
    bool failed;
} http_form;
/** value NULL: left out. */
void http_form_add(http_form *form, const char *name, const char *value);
/** Wipes and frees. */
void http_form_done(http_form *form);
/** The value of a member of a query, decoded; malloc'd. NULL when absent, there twice, not UTF-8,
 *  or with a NUL. */
char *http_query_value(const char *query, const char *name);

#endif
