/* SPDX-License-Identifier: Apache-2.0 */
#include "reply.h"

#include <assert.h>
#include <stdio.h>

void sim_headers_add(sim_headers *headers, const char *name, const char *value)
{
    assert(headers->count < SIM_HEADERS_MAX);
    headers->at[headers->count++] = (host_header){name, value};
}

void sim_headers_cookie(sim_headers *headers, const char *name, const char *value)
{
    assert(headers->cookie_count < SIM_COOKIES_MAX);
    char *text = headers->cookies[headers->cookie_count++];
    snprintf(text, SIM_COOKIE_BYTES_MAX, "%s=%s; Path=/; Secure; HttpOnly; SameSite=Lax%s", name,
        value ? value : "", value ? "" : "; Max-Age=0");
    sim_headers_add(headers, "Set-Cookie", text);
}

void sim_headers_retry(sim_headers *headers, unsigned retry_s)
{
    snprintf(headers->retry, sizeof headers->retry, "%u", retry_s ? retry_s : 1);
    sim_headers_add(headers, "Retry-After", headers->retry);
}

void sim_answer_json(
    host_request *request, unsigned status, json_t *json, const sim_headers *headers)
{
    host_reply reply = {.status = status};
    if (headers) {
        reply.headers = headers->at;
        reply.header_count = headers->count;
    }
    reply.body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (reply.body)
        reply.size = strlen(reply.body);
    else
        reply.status = 0;
    host_request_answer(request, &reply);
}

void sim_answer_error(host_request *request, const sim_error *error)
{
    sim_headers headers = {0};
    const char *credentials;
    if (error->retry_s)
        sim_headers_retry(&headers, error->retry_s);
    if (error->status == 401 &&
        host_request_header(request, "Authorization", &credentials) != HOST_ABSENT)
        sim_headers_add(
            &headers, "WWW-Authenticate", "Basic realm=\"" SIM_REALM "\", charset=\"UTF-8\"");
    sim_answer_json(request, error->status ? error->status : 400,
        json_pack("{s:s, s:s}", "error", error->error, "error_description", error->description),
        &headers);
}

void sim_answer_redirect(host_request *request, const char *location, sim_headers *headers)
{
    sim_headers_add(headers, "Location", location);
    host_reply reply = {.status = 303,
        .content_type = "text/plain",
        .headers = headers->at,
        .header_count = headers->count};
    host_request_answer(request, &reply);
}

void sim_answer_empty(host_request *request)
{
    host_reply reply = {.status = 200};
    host_request_answer(request, &reply);
}
