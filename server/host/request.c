/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler sees of a request, and its answer. */
#include "http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *host_request_method(const host_request *request)
{
    return request->method;
}

const char *host_request_path(const host_request *request)
{
    return request->path;
}

const char *host_request_raw_query(const host_request *request)
{
    return request->query;
}

const char *host_request_id_of(const host_request *request)
{
    return request->id;
}

const char *host_request_address(const host_request *request)
{
    return request->address;
}

rpc_bytes host_request_body(const host_request *request)
{
    return rpc_bytes_of(request->body, request->body_size);
}

const host_certificate *host_request_certificate(const host_request *request)
{
    return request->certificate;
}

/* ---- parameters, headers, cookies --------------------------------------------------------------
 */

/* Without memory every look-up answers HOST_MALFORMED. */
static const host_params *parse(host_request *request, rpc_bytes text, char **ret_room)
{
    static const host_params unreadable = {.malformed = true};
    host_params *params = rpc_arena_alloc(request->arena, sizeof *params);
    char *room = rpc_arena_alloc(request->arena, text.size + 1);
    if (!params || !room)
        return &unreadable;
    host_params_parse(text, room, params);
    *ret_room = room;
    return params;
}

const host_params *host_request_query(host_request *request)
{
    char *room = NULL;
    if (!request->query_params)
        request->query_params = parse(request, rpc_bytes_str(request->query), &room);
    return request->query_params;
}

const host_params *host_request_form(host_request *request)
{
    if (!request->form_params)
        request->form_params = parse(request,
            request->form ? host_request_body(request) : rpc_bytes_of(NULL, 0),
            &request->form_room);
    return request->form_params;
}

host_found host_request_param(host_request *request, const char *name, const char **ret)
{
    bool post = strcmp(request->method, "POST") == 0;
    return host_params_find(
        post ? host_request_form(request) : host_request_query(request), name, ret);
}

bool https__has_controls(const char *text)
{
    for (; *text; text++)
        if (((uint8_t)*text < ' ' && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

host_found host_request_header(const host_request *request, const char *name, const char **ret)
{
    const char *value = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) != 0)
            continue;
        if (value)
            return HOST_TWICE;
        value = request->headers[i].value;
    }
    if (!value)
        return HOST_ABSENT;
    *ret = value;
    return HOST_FOUND;
}

host_found host_request_cookie(host_request *request, const char *name, const char **ret)
{
    rpc_bytes value = {NULL, 0};
    host_found all = HOST_ABSENT;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, "Cookie") != 0)
            continue;
        host_found here = host_cookie_find(rpc_bytes_str(request->headers[i].value), name, &value);
        if (here != HOST_ABSENT)
            all = all == HOST_ABSENT ? here : HOST_TWICE;
    }
    if (all != HOST_FOUND)
        return all;
    char *text = rpc_arena_strndup(request->arena, (const char *)value.data, value.size);
    if (!text)
        return HOST_MALFORMED;
    *ret = text;
    return HOST_FOUND;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static const char *allowed(unsigned methods)
{
    return methods == HOST_GET ? "GET, HEAD" : methods == HOST_POST ? "POST" : "GET, HEAD, POST";
}

static bool add_headers(
    struct MHD_Response *response, const host_request *request, const host_reply *reply)
{
    const host_https *https = request->https;
    bool added = true;
    for (size_t i = 0; added && i < reply->header_count; i++)
        added = add(response, reply->headers[i].name, reply->headers[i].value);
    return added &&
           add(response, "Content-Type",
               reply->content_type ? reply->content_type : "application/json") &&
           add(response, "Cache-Control",
               reply->cache_control ? reply->cache_control : "no-store") &&
           add(response, "Content-Security-Policy",
               reply->csp ? reply->csp : "default-src 'none'; frame-ancestors 'none'") &&
           add(response, "X-Content-Type-Options", "nosniff") &&
           add(response, "Referrer-Policy", "no-referrer") &&
           add(response, "X-Request-Id", request->id) &&
           (!https->has_tls || add(response, "Strict-Transport-Security", "max-age=31536000")) &&
           (!atomic_load(&https->stopping) || add(response, "Connection", "close"));
}

static bool is_clean(const char *text)
{
    return text && *text && !https__has_controls(text) && !strchr(text, '\t');
}

static bool reply_is_clean(const host_reply *reply)
{
    bool clean = (!reply->content_type || is_clean(reply->content_type)) &&
                 (!reply->cache_control || is_clean(reply->cache_control)) &&
                 (!reply->csp || is_clean(reply->csp));
    for (size_t i = 0; clean && i < reply->header_count; i++)
        clean = is_clean(reply->headers[i].name) && is_clean(reply->headers[i].value);
    return clean;
}

struct MHD_Response *https__refusal(
    const host_request *request, unsigned status, const char *message)
{
    char text[200];
    int size = snprintf(text, sizeof text, "{\"error\": \"%s\"}\n", message);
    host_header header = {NULL, NULL};
    if (status == 405)
        header = (host_header){"Allow", allowed(request->route->route.methods)};
    else if (status == 503)
        header = (host_header){"Retry-After", "1"};
    host_reply reply = {.status = status, .headers = &header, .header_count = header.name != NULL};
    struct MHD_Response *response = MHD_create_response_from_buffer(
        (size_t)size, text, MHD_RESPMEM_MUST_COPY);
    if (!response || add_headers(response, request, &reply))
        return response;
    MHD_destroy_response(response);
    return NULL;
}

static struct MHD_Response *make_response(const host_request *request, host_reply *reply)
{
    static char empty[1];
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->body ? reply->size : 0,
        reply->body ? reply->body : empty,
        reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        free(reply->body);
        return NULL;
    }
    if (add_headers(response, request, reply))
        return response;
    MHD_destroy_response(response);
    return NULL;
}

/* What cannot be sent becomes a 500. */
static struct MHD_Response *response_of(
    const host_request *request, host_reply *reply, unsigned *ret_status)
{
    bool clean = reply_is_clean(reply);
    if (!clean && request->https->log)
        HOST_LOG(request->https->log, HOST_ERROR,
            "https: an answer had a header with control characters and was not sent",
            host_text("request_id", request->id), host_text("route", request->route->route.path));
    if (clean && reply->status >= 200 && reply->status <= 599) {
        *ret_status = reply->status;
        return make_response(request, reply);
    }
    free(reply->body);
    *ret_status = 500;
    return https__refusal(request, 500, "the server cannot answer now; try again");
}

void host_request_answer(host_request *request, host_reply *reply)
{
    if (!https__claim(request)) {
        free(reply->body);
        return;
    }
    unsigned status = 0;
    struct MHD_Response *response = response_of(request, reply, &status);
    https__deliver(request, status, response);
}

void host_request_refuse(host_request *request, unsigned status, const char *message)
{
    if (https__claim(request))
        https__deliver(request, status, https__refusal(request, status, message));
}
