/* SPDX-License-Identifier: Apache-2.0 */
/** Answers of the endpoints. */
#ifndef SIM_REPLY_H
#define SIM_REPLY_H

#include "error.h"
#include "http.h"

#include <jansson.h>

#define SIM_HEADERS_MAX      8u
#define SIM_COOKIES_MAX      3u
#define SIM_COOKIE_BYTES_MAX 320u
#define SIM_REALM            "simsd"

/** Headers of one answer. Zero before use. */
typedef struct sim_headers {
    host_header at[SIM_HEADERS_MAX];
    size_t count;
    char cookies[SIM_COOKIES_MAX][SIM_COOKIE_BYTES_MAX];
    size_t cookie_count;
    char retry[16];
} sim_headers;
/** name and value live until the answer. */
void sim_headers_add(sim_headers *headers, const char *name, const char *value);
/** A __Host- cookie of the browser's session: Secure, HttpOnly, SameSite=Lax. value NULL: it is to
 *  forget it. */
void sim_headers_cookie(sim_headers *headers, const char *name, const char *value);
void sim_headers_retry(sim_headers *headers, unsigned retry_s);

/** json is freed; NULL (memory was short) becomes 500. headers may be NULL. */
void sim_answer_json(
    host_request *request, unsigned status, json_t *json, const sim_headers *headers);
/** {"error", "error_description"}, with Retry-After, and WWW-Authenticate where a client tried
 *  Basic. */
void sim_answer_error(host_request *request, const sim_error *error);
/** 303 to location. */
void sim_answer_redirect(host_request *request, const char *location, sim_headers *headers);
/** 200 without content. */
void sim_answer_empty(host_request *request);

#endif
