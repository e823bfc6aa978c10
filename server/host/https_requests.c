/* SPDX-License-Identifier: Apache-2.0 */
/* From libmicrohttpd's callbacks to a handler and back.
 *
 * libmicrohttpd calls https__on_request() when the headers are there (REQUEST_NEW), for each piece
 * of the body, when the request is whole (REQUEST_BODY), and again when a suspended connection was
 * resumed (REQUEST_RUNNING). An answer that is queued at the first of these moments makes it close
 * the connection behind it, so that nothing after the headers is ever taken for a next request:
 * that is how requests are refused whose end is in doubt or whose body nobody wants. Others that
 * are refused are read first, and the connection stays.
 *
 * The polling thread and whoever answers meet under https->lock: who comes second, the one that
 * suspends the connection or the one that answers, sees to it that it goes on. */
#include "http_internal.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

#define DISCARD_BYTES_MAX ((size_t)64 << 10) /* of a body that is refused */
#define BODY_ROOM_MIN     1024u

/* ---- the object --------------------------------------------------------------------------------
 */

static host_request *request_new(host_https *https)
{
    pthread_mutex_lock(&https->lock);
    host_request *request = https->spare_count ? https->spare[--https->spare_count] : NULL;
    pthread_mutex_unlock(&https->lock);
    if (request)
        return request;
    request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->https = https;
    request->arena = rpc_arena_new(https->arena_bytes);
    if (request->arena)
        return request;
    free(request);
    return NULL;
}

void https__request_free(host_request *request)
{
    rpc_arena_free(request->arena);
    free(request);
}

/* Bodies and what was decoded from them may hold passwords. */
static void wipe(host_request *request)
{
    if (request->body)
        explicit_bzero(request->body, request->body_room);
    if (request->form_room)
        explicit_bzero(request->form_room, request->body_size + 1);
}

/* Only requests that nobody held when the server stopped go back to it. */
static void request_keep(host_request *request)
{
    host_https *https = request->https;
    rpc_arena *arena = request->arena;
    bool kept = false;
    rpc_arena_reset(arena);
    memset(request, 0, sizeof *request);
    request->arena = arena;
    request->https = https;
    pthread_mutex_lock(&https->lock);
    if (https->spare_count < HTTPS_SPARE_REQUESTS) {
        https->spare[https->spare_count++] = request;
        kept = true;
    }
    pthread_mutex_unlock(&https->lock);
    if (!kept)
        https__request_free(request);
}

static void clear(host_request *request)
{
    wipe(request);
    https__certificate_unref(request->certificate);
    if (request->response)
        MHD_destroy_response(request->response);
}

/* The owner's hold, which may be the last one long after the server is gone. */
void https__request_unref(host_request *request)
{
    if (atomic_fetch_sub(&request->holders, 1) != 1)
        return;
    clear(request);
    https__request_free(request);
}

/* The connection's hold. */
static void request_end(host_request *request)
{
    if (atomic_load(&request->holders) == 1) {
        clear(request);
        request_keep(request);
    } else {
        https__request_unref(request);
    }
}

void https__request_abandon(https_connection *connection)
{
    if (connection->request)
        request_end(connection->request);
    connection->request = NULL;
}

void *https__on_target(void *ctx, const char *target, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    https_connection *connection = info ? info->socket_context : NULL;
    if (!connection || !target)
        return NULL;
    https__request_abandon(connection);
    host_request *request = request_new(ctx);
    if (!request)
        return NULL;
    connection->request = request;
    atomic_store_explicit(&request->holders, 1, memory_order_relaxed);
    request->connection = connection;
    request->route = &request->https->unknown;
    host_request_id(rpc_clock_system(), request->id);
    memcpy(request->address, connection->address, sizeof request->address);
    request->target_end = target + strlen(target);
    request->path = rpc_arena_strndup(request->arena, target, strlen(target));
    return request;
}

/* ---- headers -----------------------------------------------------------------------------------
 */

typedef struct framing {
    unsigned lengths, encodings, expectations;
    bool odd, chunked, too_many, torn, controls;
    const char *end; /* of what was seen last, as it came */
    size_t length;   /* SIZE_MAX: not to be told */
    size_t bytes;
    host_request *request;
} framing;

/* libmicrohttpd gives out the bytes as they came, with a NUL in place of each colon and each end of
 * a line: a NUL that was sent hides what stands behind it from us, and shows it to others. So the
 * pieces must lie side by side. A header over two lines (RFC 9112 5.2) does not, and is refused as
 * well. */
static bool is_next_line(const char *end, const char *begin)
{
    uintptr_t gap = (uintptr_t)begin - (uintptr_t)end;
    return gap == 1 || gap == 2; /* LF or CRLF */
}

static bool is_empty_line(const char *end, const char *begin)
{
    uintptr_t gap = (uintptr_t)begin - (uintptr_t)end;
    return gap >= 2 && gap <= 4;
}

static size_t header_size(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static void take_header(framing *seen, const char *name, const char *value)
{
    host_request *request = seen->request;
    const host_https_limits *limits = &request->https->limits;
    size_t name_size = strlen(name), value_size = strlen(value);
    seen->bytes += name_size + value_size + 4; /* ": " and CRLF */
    if (seen->bytes > limits->header_bytes || request->header_count == limits->headers) {
        seen->too_many = true;
        return;
    }
    char *text = rpc_arena_alloc(request->arena, name_size + value_size + 2);
    if (!text) {
        seen->too_many = true;
        return;
    }
    memcpy(text, name, name_size + 1);
    memcpy(text + name_size + 1, value, value_size + 1);
    request->headers[request->header_count++] = (https_header){text, text + name_size + 1};
}

static size_t length_of(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    return digits > 0 && digits < 19 && !value[digits] ? strtoul(value, NULL, 10) : SIZE_MAX;
}

static enum MHD_Result look_at_header(
    void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    framing *seen = ctx;
    (void)kind;
    seen->torn = seen->torn || !value || !is_next_line(seen->end, name);
    value = value ? value : "";
    seen->end = value + strlen(value);
    size_t size = strspn(name, token);
    if (size == 0 || name[size]) /* "Content-Length : 5": others may see what we do not */
        seen->odd = true;
    seen->controls = seen->controls || https__has_controls(value);
    if (strcasecmp(name, "Content-Length") == 0) {
        seen->lengths++;
        seen->length = length_of(value);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        seen->encodings++;
        seen->chunked = strcasecmp(value, "chunked") == 0;
    } else if (strcasecmp(name, "Expect") == 0) {
        seen->expectations++;
    }
    take_header(seen, name, value);
    return MHD_YES;
}

static enum MHD_Result refuse_now(
    host_request *request, struct MHD_Connection *mhd, unsigned status, const char *message)
{
    struct MHD_Response *response = https__refusal(request, status, message);
    if (response && request->ends_connection)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = response ? MHD_queue_response(mhd, status, response) : MHD_NO;
    if (response)
        MHD_destroy_response(response);
    request->status = status;
    request->phase = REQUEST_RUNNING;
    https__give_time(request->connection, request->https->limits.request_s);
    return result;
}

/* ---- what is asked for -------------------------------------------------------------------------
 */

/* RFC 9112 3.2.2: an absolute target is to be taken by every server. */
static char *without_origin(char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    if (scheme == 0)
        return target;
    static char root[] = "/";
    char *path = target + scheme + strcspn(target + scheme, "/?");
    return *path == '/' ? path : root;
}

static void find_route(host_request *request)
{
    host_https *https = request->https;
    char *path = without_origin((char *)(uintptr_t)request->path);
    char *query = strchr(path, '?');
    request->path = path;
    request->query = query ? query + 1 : "";
    if (query)
        *query = '\0';
    for (size_t i = 0; i < https->route_count; i++)
        if (strcmp(https->routes[i].route.path, path) == 0)
            request->route = &https->routes[i];
    request->form = request->route->route.body_type == HOST_BODY_FORM;
}

static unsigned method_bit(const char *method)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        return HOST_GET;
    return strcmp(method, "POST") == 0 ? HOST_POST : 0;
}

static const char *method_of(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(method, known[i]) == 0)
            return known[i];
    return "other";
}

static bool is_type(const char *value, host_body_type type)
{
    const char *wanted = type == HOST_BODY_JSON ? "application/json"
                                                : "application/x-www-form-urlencoded";
    size_t size = strlen(wanted);
    return strncasecmp(value, wanted, size) == 0 &&
           (!value[size] || strchr(" \t;", value[size]) != NULL);
}

static bool is_wanted_type(host_request *request)
{
    const char *type = NULL, *encoding = NULL;
    return host_request_header(request, "Content-Type", &type) == HOST_FOUND &&
           is_type(type, request->route->route.body_type) &&
           host_request_header(request, "Content-Encoding", &encoding) == HOST_ABSENT;
}

static void refuse_later(host_request *request, unsigned status, const char *message)
{
    request->refused = status;
    request->refusal = message;
}

static bool body_comes(const framing *seen)
{
    return seen->encodings > 0 || seen->length > 0;
}

/* A request whose end is clear. */
static void judge_request(host_request *request, unsigned method, const framing *seen)
{
    const host_route *route = &request->route->route;
    bool body = body_comes(seen);
    size_t most = method == HOST_POST ? route->body_max : 0;
    if (atomic_load(&request->https->stopping))
        refuse_later(request, 503, "the server stops; try another or later");
    else if (request->route == &request->https->unknown)
        refuse_later(request, 404, "nothing is at this path");
    else if (!(route->methods & method))
        refuse_later(request, 405, "this method is not answered here");
    else if (body && most == 0)
        refuse_later(request, 413, "a request with a body is not taken");
    else if (seen->encodings && !seen->chunked)
        refuse_later(request, 501, "only the transfer coding chunked is understood");
    else if (seen->length > most && !seen->encodings)
        refuse_later(request, 413, "the body is larger than this path takes");
    else if (body && !is_wanted_type(request))
        refuse_later(request, 415,
            route->body_type == HOST_BODY_JSON
                ? "the body must be application/json without an encoding"
                : "the body must be application/x-www-form-urlencoded without an encoding");
}

static const char *fault_of(const framing *seen, const host_request *request, const char *version)
{
    const char *host = NULL;
    if (seen->torn)
        return "the headers have a NUL in them, or one goes over two lines";
    if (seen->odd)
        return "a header has a name that is none";
    if (seen->controls) /* a CR alone ends a line for others (RFC 9112 2.2) */
        return "a header or the target has a control character in it";
    if (seen->lengths > 1)
        return "Content-Length is given twice";
    if (seen->encodings > 1 || (seen->encodings && seen->lengths))
        return "Transfer-Encoding is given twice or with Content-Length";
    if (seen->encodings && strcmp(version, "HTTP/1.1") != 0)
        return "Transfer-Encoding is not for this version of HTTP";
    if (seen->lengths && seen->length == SIZE_MAX)
        return "Content-Length is no number";
    host_found found = host_request_header(request, "Host", &host);
    if (found != HOST_FOUND && (found != HOST_ABSENT || strcmp(version, "HTTP/1.1") == 0))
        return "Host must be given once";
    return NULL;
}

static bool may_discard(const framing *seen, unsigned method)
{
    return method == HOST_POST && !seen->encodings && !seen->expectations &&
           seen->length <= DISCARD_BYTES_MAX;
}

static bool take_body_room(host_request *request, const framing *seen)
{
    if (!body_comes(seen) || request->refused)
        return true;
    request->body_room = seen->encodings ? BODY_ROOM_MIN : seen->length;
    if (request->body_room > request->route->route.body_max)
        request->body_room = request->route->route.body_max;
    request->body = rpc_arena_alloc(request->arena, request->body_room);
    return request->body != NULL;
}

static enum MHD_Result on_headers(
    host_request *request, struct MHD_Connection *mhd, const char *method, const char *version)
{
    framing seen = {.request = request};
    https_connection *connection = request->connection;
    request->started_us = rpc_clock_monotonic_us(rpc_clock_system());
    request->phase = REQUEST_BODY;
    request->method = method_of(method);
    atomic_store(&connection->busy, true);
    https__give_time(connection, request->https->limits.request_s);
    request->headers = rpc_arena_alloc(
        request->arena, request->https->limits.headers * sizeof *request->headers);
    if (!request->path || !request->headers)
        return refuse_now(request, mhd, 503, "no memory; try again later");
    seen.end = version + strlen(version);
    seen.torn = !is_next_line(request->target_end, version);
    seen.controls = https__has_controls(request->path);
    MHD_get_connection_values(mhd, MHD_HEADER_KIND, look_at_header, &seen);
    seen.torn = seen.torn || !is_empty_line(seen.end, method + header_size(mhd));
    find_route(request);
    if (seen.too_many) {
        https__limit_reached(request->https, HTTPS_LIMIT_HEADERS);
        return refuse_now(request, mhd, 431, "the headers are too many or too large");
    }
    const char *fault = fault_of(&seen, request, version);
    if (fault)
        return refuse_now(request, mhd, 400, fault);
    unsigned bit = method_bit(method);
    judge_request(request, bit, &seen);
    if (request->refused == 413)
        https__limit_reached(request->https, HTTPS_LIMIT_BODY);
    if (request->refused && body_comes(&seen) && !may_discard(&seen, bit))
        return refuse_now(request, mhd, request->refused, request->refusal);
    if (!take_body_room(request, &seen))
        return refuse_now(request, mhd, 503, "no memory; try again later");
    return MHD_YES;
}

/* ---- the body ----------------------------------------------------------------------------------
 */

/* Of a chunked body, whose length shows only now. */
static bool grow_body(host_request *request, size_t need)
{
    if (need <= request->body_room)
        return true;
    size_t most = request->route->route.body_max, room = request->body_room;
    while (room < need)
        room = 2 * room < most ? 2 * room : most;
    uint8_t *grown = rpc_arena_alloc(request->arena, room);
    if (!grown)
        return false;
    memcpy(grown, request->body, request->body_size);
    explicit_bzero(request->body, request->body_size);
    request->body = grown;
    request->body_room = room;
    return true;
}

/* MHD_NO ends the connection without an answer: none can be queued in the middle of a body. */
static enum MHD_Result on_body(host_request *request, const char *data, size_t size)
{
    size_t most = request->route->route.body_max;
    if (!request->refused && size > most - request->body_size) {
        https__limit_reached(request->https, HTTPS_LIMIT_BODY);
        refuse_later(request, 413, "the body is larger than this path takes");
        explicit_bzero(request->body, request->body_size);
        request->discarded = request->body_size;
        request->body_size = 0;
    }
    if (request->refused) {
        request->discarded += size;
        return request->discarded <= most + DISCARD_BYTES_MAX ? MHD_YES : MHD_NO;
    }
    if (!grow_body(request, request->body_size + size))
        return MHD_NO;
    memcpy(request->body + request->body_size, data, size);
    request->body_size += size;
    return MHD_YES;
}

/* ---- handlers ----------------------------------------------------------------------------------
 */

/* *ret_refusal: why the client's certificate is not good, or NULL. False: memory is short. */
static bool take_certificate(host_request *request, const char **ret_refusal)
{
    https_connection *connection = request->connection;
    *ret_refusal = NULL;
    if (!connection->tls || request->https->client_auth == HOST_CLIENT_NONE)
        return true;
    if (!https__certificate_take(connection, ret_refusal))
        return false;
    request->certificate = https__certificate_ref(connection->certificate);
    return true;
}

static enum MHD_Result send_answer(host_request *request, struct MHD_Connection *mhd)
{
    if (atomic_load(&request->claim) == REQUEST_SERVER)
        return refuse_now(request, mhd, 503, "the server stops; try another or later");
    https__give_time(request->connection, request->https->limits.request_s);
    return request->response ? MHD_queue_response(mhd, request->status, request->response) : MHD_NO;
}

static void run_on_worker(void *arg)
{
    host_request *request = arg;
    if (atomic_load(&request->claim) == REQUEST_SERVER)
        https__request_unref(request);
    else
        request->route->route.handle(request->route->route.ctx, request);
}

static void put_into_hands(host_request *request, bool suspended)
{
    host_https *https = request->https;
    atomic_store(&request->holders, 2);
    pthread_mutex_lock(&https->lock);
    request->suspended = suspended;
    https->owed += suspended;
    request->next = https->in_hands;
    request->link = &https->in_hands;
    if (request->next)
        request->next->link = &request->next;
    https->in_hands = request;
    pthread_mutex_unlock(&https->lock);
}

static bool is_answered(host_request *request)
{
    pthread_mutex_lock(&request->https->lock);
    bool answered = request->answered;
    pthread_mutex_unlock(&request->https->lock);
    return answered;
}

static void wait_for_answer(host_request *request, struct MHD_Connection *mhd)
{
    host_https *https = request->https;
    MHD_suspend_connection(mhd);
    pthread_mutex_lock(&https->lock);
    bool answered = request->answered;
    request->suspended = !answered;
    https->owed += !answered;
    pthread_mutex_unlock(&https->lock);
    if (answered)
        MHD_resume_connection(mhd);
}

static enum MHD_Result call_in_place(host_request *request, struct MHD_Connection *mhd)
{
    const host_route *route = &request->route->route;
    put_into_hands(request, false);
    route->handle(route->ctx, request);
    if (is_answered(request))
        return send_answer(request, mhd);
    wait_for_answer(request, mhd);
    return MHD_YES;
}

/* The worker may be done with it before this returns. */
static enum MHD_Result give_to_worker(host_request *request, struct MHD_Connection *mhd)
{
    MHD_suspend_connection(mhd);
    put_into_hands(request, true);
    if (rpc_pool_submit(request->https->workers, run_on_worker, request) == RPC_OK)
        return MHD_YES;
    https__limit_reached(request->https, HTTPS_LIMIT_QUEUE);
    host_request_refuse(request, 503, "the server is busy; try again");
    return MHD_YES;
}

static enum MHD_Result on_whole(host_request *request, struct MHD_Connection *mhd)
{
    if (request->refused)
        return refuse_now(request, mhd, request->refused, request->refusal);
    request->phase = REQUEST_RUNNING;
    const char *refusal = NULL;
    if (!take_certificate(request, &refusal))
        return refuse_now(request, mhd, 503, "no memory; try again later");
    if (refusal) {
        request->ends_connection = true;
        return refuse_now(request, mhd, 403, refusal);
    }
    https__give_time(request->connection, 0);
    return request->route->route.in_place ? call_in_place(request, mhd)
                                          : give_to_worker(request, mhd);
}

/* With the lock; true: its connection is to be resumed. */
static bool leave_hands(host_request *request)
{
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    request->answered = true;
    return request->suspended;
}

/* https is there until nothing is owed to it any more. */
static void resume(host_https *https, struct MHD_Connection *mhd)
{
    MHD_resume_connection(mhd);
    pthread_mutex_lock(&https->lock);
    https->owed--;
    if (atomic_load(&https->stopping))
        pthread_cond_signal(&https->done);
    pthread_mutex_unlock(&https->lock);
}

bool https__claim(host_request *request)
{
    enum https_claim nobody = REQUEST_UNCLAIMED;
    if (atomic_compare_exchange_strong(&request->claim, &nobody, REQUEST_OWNER))
        return true;
    https__request_unref(request);
    return false;
}

void https__deliver(host_request *request, unsigned status, struct MHD_Response *response)
{
    host_https *https = request->https;
    struct MHD_Connection *mhd = request->connection->mhd;
    request->response = response;
    request->status = status;
    pthread_mutex_lock(&https->lock);
    bool suspended = leave_hands(request);
    pthread_mutex_unlock(&https->lock);
    https__request_unref(request);
    if (suspended)
        resume(https, mhd);
}

/* One at a time: resuming takes the lock. */
static struct MHD_Connection *force_one(host_https *https, bool *ret_more)
{
    struct MHD_Connection *mhd = NULL;
    *ret_more = false;
    pthread_mutex_lock(&https->lock);
    for (host_request *one = https->in_hands; one && !*ret_more; one = one->next) {
        enum https_claim nobody = REQUEST_UNCLAIMED;
        if (!atomic_compare_exchange_strong(&one->claim, &nobody, REQUEST_SERVER))
            continue;
        *ret_more = true;
        if (leave_hands(one))
            mhd = one->connection->mhd;
    }
    pthread_mutex_unlock(&https->lock);
    return mhd;
}

void https__force_answers(host_https *https)
{
    for (bool more = true; more;) {
        struct MHD_Connection *mhd = force_one(https, &more);
        if (more)
            https__limit_reached(https, HTTPS_LIMIT_DRAIN);
        if (mhd)
            resume(https, mhd);
    }
}

enum MHD_Result https__on_request(void *ctx, struct MHD_Connection *mhd, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_size, void **held)
{
    host_request *request = *held;
    (void)ctx, (void)path;
    if (!request)
        return MHD_NO; /* memory was short */
    if (request->phase == REQUEST_NEW)
        return on_headers(request, mhd, method, version);
    if (*upload_size > 0) {
        size_t size = *upload_size;
        *upload_size = 0;
        return on_body(request, upload, size);
    }
    if (request->phase == REQUEST_BODY)
        return on_whole(request, mhd);
    return send_answer(request, mhd);
}

/* After the answer was sent, or the connection ended. */
void https__on_completed(
    void *ctx, struct MHD_Connection *mhd, void **held, enum MHD_RequestTerminationCode why)
{
    host_https *https = ctx;
    host_request *request = *held;
    (void)mhd;
    *held = NULL;
    if (!request)
        return;
    https_connection *connection = request->connection;
    https__watch_request(request, why == MHD_REQUEST_TERMINATED_COMPLETED_OK ? request->status : 0);
    https__give_time(connection, https->limits.idle_s + https->limits.request_s);
    connection->request = NULL;
    request_end(request);
    atomic_store(&connection->busy, false);
    if (!atomic_load(&https->stopping))
        return;
    pthread_mutex_lock(&https->lock);
    pthread_cond_signal(&https->done);
    pthread_mutex_unlock(&https->lock);
}
