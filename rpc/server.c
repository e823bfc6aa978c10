/* SPDX-License-Identifier: Apache-2.0 */
/* A server: its requests find their methods, and it starts, counts, drains and stops. */
#include "server.h"

#include "health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- events
 * ---------------------------------------------------------------------------------------------- */

void rpc__server_event(rpc_server *server, rpc_event_kind kind, rpc_limit_kind limit,
    const char *listener, const char *address, const char *detail)
{
    atomic_fetch_add_explicit(&server->events[kind], 1, memory_order_relaxed);
    if (limit != RPC_LIMIT_NONE)
        atomic_fetch_add_explicit(&server->limit_counts[limit], 1, memory_order_relaxed);
    if (!server->on_event)
        return;
    rpc_event event = {kind, limit, listener, address, detail};
    server->on_event(server->event_ctx, &event);
}

static void conn_event(
    rpc__conn *conn, rpc_event_kind kind, rpc_limit_kind limit, const char *detail)
{
    rpc__server_event(conn->owner, kind, limit, conn->listener, conn->address, detail);
}

static void conn_ready(rpc__conn *conn)
{
    rpc_server *server = conn->owner;
    if (!conn->tls)
        return;
    atomic_fetch_add_explicit(&server->handshakes, 1, memory_order_relaxed);
    if (rpc__tls_resumed(conn->tls))
        atomic_fetch_add_explicit(&server->resumed, 1, memory_order_relaxed);
}

/* By the listener's lists of now: those that the connection began with may be old. */
static const char *conn_objection(rpc__conn *conn)
{
    rpc_server *server = conn->owner;
    if (!conn->peer.has_certificate)
        return NULL;
    int64_t now = rpc_clock_wall_ms(rpc__runtime_clock(server->runtime)) / 1000;
    pthread_mutex_lock(&server->lock);
    rpc__tls_context *context = rpc__tls_context_ref(conn->from->tls);
    pthread_mutex_unlock(&server->lock);
    const char *objection = rpc__tls_peer_objection(conn->tls, context, now);
    rpc__tls_context_unref(context);
    return objection;
}

static void conn_goaway(rpc__conn *conn, uint32_t h2_error, rpc_bytes debug)
{
    (void)conn, (void)h2_error, (void)debug;
}

/* (lock) */
static void unlink_conn(rpc__conn *conn)
{
    *conn->owner_link = conn->owner_next;
    if (conn->owner_next)
        conn->owner_next->owner_link = conn->owner_link;
}

static void conn_gone(rpc__conn *conn, const rpc_status *why)
{
    rpc_server *server = conn->owner;
    conn_event(conn, RPC_EVENT_CLOSED, RPC_LIMIT_NONE, why->message);
    pthread_mutex_lock(&server->lock);
    unlink_conn(conn);
    rpc__listener_forget(server, conn->origin, !conn->owner_data);
    pthread_mutex_unlock(&server->lock);
}

/* The first request makes a stranger known; owner_data tells which list it is on. */
static void make_known(rpc__conn *conn)
{
    rpc_server *server = conn->owner;
    if (conn->owner_data)
        return;
    conn->owner_data = server;
    pthread_mutex_lock(&server->lock);
    unlink_conn(conn);
    server->unauthenticated--;
    conn->origin->unauthenticated--;
    conn->owner_next = server->known;
    conn->owner_link = &server->known;
    if (conn->owner_next)
        conn->owner_next->owner_link = &conn->owner_next;
    server->known = conn;
    pthread_mutex_unlock(&server->lock);
}

/* ---- requests
 * -----------------------------------------------------------------------------------------------
 */

/* An answer without gRPC, for clients that speak none. */
static void answer_http(rpc_call *call, const char *status)
{
    static const char name[] = ":status";
    nghttp2_nv nv = {(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)status, sizeof name - 1,
        strlen(status), NGHTTP2_NV_FLAG_NONE};
    call->headers_sent = call->trailers_sent = true;
    (void)nghttp2_submit_response(call->conn->h2, call->stream_id, &nv, 1, NULL);
    rpc__call_end(call, RPC_INTERNAL, "call: the request is not gRPC", NGHTTP2_NO_ERROR);
}

/* New work is what can be refused, so that running work ends. */
static bool has_memory(rpc_server *server, rpc_call *call)
{
    size_t replies = atomic_load_explicit(&call->lane->reply_bytes, memory_order_relaxed);
    if (rpc__memory_over(server->memory, 0)) {
        rpc__call_shed(call,
            "call: the server is out of memory for more (server_memory_bytes_max); "
            "try again later");
    } else if (replies > server->limits.connection_request_bytes_max) {
        static const char text[] =
            "call: more than connection_request_bytes_max of answers wait to "
            "be read on this connection; read them first";
        rpc__call_limit(call, RPC_LIMIT_CONNECTION_MEMORY, text);
        rpc__call_refuse(call, RPC_RESOURCE_EXHAUSTED, text);
    }
    return !call->over;
}

static void refuse_headers(rpc_call *call)
{
    const char *text = "call: no memory for the headers; send less metadata";
    if (call->header_limit == RPC_LIMIT_HEADER_LIST)
        text = "call: headers over header_list_bytes_max; send less metadata";
    else if (call->header_limit == RPC_LIMIT_HEADER_COUNT)
        text = "call: more headers than header_count_max; send less metadata";
    rpc__call_limit(call, call->header_limit, text);
    rpc__call_refuse(call, RPC_RESOURCE_EXHAUSTED, text);
}

static void refuse_encoding(rpc_call *call)
{
    char text[128];
    snprintf(text, sizeof text,
        "call: its grpc-encoding is not accepted here; use one of %s (accept_encodings)",
        rpc__accept_text(call->accept));
    rpc__call_refuse(call, RPC_UNIMPLEMENTED, text);
}

static bool request_good(rpc_call *call)
{
    if (call->header_limit != RPC_LIMIT_NONE)
        refuse_headers(call);
    else if (!call->post)
        answer_http(call, "405");
    else if (!call->content_type_good)
        answer_http(call, "415");
    else if (call->timeout_bad)
        rpc__call_refuse(call, RPC_INVALID_ARGUMENT,
            "call: grpc-timeout must be 1 to 8 digits and one of H M S m u n");
    else if (!call->path)
        rpc__call_refuse(call, RPC_RESOURCE_EXHAUSTED, "call: no memory");
    else if (call->encoding_seen && !(call->accept & RPC_ACCEPT(call->encoding)))
        refuse_encoding(call);
    return !call->over;
}

static void unimplemented(rpc_call *call)
{
    char text[256];
    bool plain = rpc__metadata_value_valid(rpc_bytes_str(call->path));
    snprintf(
        text, sizeof text, "call: there is no method %.200s here", plain ? call->path : "so named");
    rpc__call_refuse(call, RPC_UNIMPLEMENTED, text);
}

static void begin_deadline(rpc_call *call)
{
    const rpc_method_options *options = &call->method->options;
    int64_t limit_us = options->deadline_max_ms * 1000;
    int64_t timeout_us = call->timeout_seen ? call->timeout_us : RPC_NO_DEADLINE;
    if (!call->timeout_seen && options->deadline_default_ms > 0) {
        timeout_us = options->deadline_default_ms * 1000;
        call->deadline_setting = "deadline_default_ms";
    }
    if (limit_us > 0 && timeout_us > limit_us) {
        timeout_us = limit_us;
        call->deadline_setting = "deadline_max_ms";
    }
    if (timeout_us != RPC_NO_DEADLINE)
        rpc__call_set_deadline(call, call->started_us + timeout_us);
}

static bool intercept(rpc_server *server, rpc_call *call)
{
    rpc_status status = {0};
    call->interceptors = &server->interceptors;
    if (rpc__intercept_start(call, &status))
        return true;
    if (status.code != RPC_OK)
        rpc__call_refuse(call, status.code, status.message);
    return false;
}

static void conn_request(rpc__conn *conn, rpc_call *call)
{
    rpc_server *server = conn->owner;
    make_known(conn);
    rpc__method *method = call->path ? rpc__registry_find(server, call->path) : NULL;
    if (method && (method->absent || !rpc__service_on(method->service, conn->listener)))
        method = NULL;
    call->stats = method ? method->stats : server->unknown;
    rpc__stats_started(call->stats, call->started_us);
    call->owner = server;
    call->accept = server->accept;
    if (!has_memory(server, call) || !request_good(call))
        return;
    if (!method) {
        unimplemented(call);
        return;
    }
    call->method = method;
    if (method->options.message_receive_bytes_max > 0)
        call->receive_max = method->options.message_receive_bytes_max;
    if (!intercept(server, call))
        return;
    call->handler = method->handler;
    call->user = method->user;
    begin_deadline(call);
    if (!call->over && call->handler.on_start)
        call->handler.on_start(call, call->user);
}

void rpc__message_deliver_unary(rpc_call *call, rpc_message *message)
{
    if (call->unary_taken) {
        rpc_message_release(message);
        rpc__call_refuse(call, RPC_INTERNAL, "call: a second message in a unary call");
        return;
    }
    call->unary_taken = true;
    ProtobufCMessage *request = NULL;
    rpc_status status = {0};
    rpc_code code = rpc_unpack(call->method->descriptor->input, rpc_message_bytes(message),
        call->arena, &request, &status);
    rpc_message_release(message);
    if (code != RPC_OK) {
        if (code == RPC_RESOURCE_EXHAUSTED)
            rpc__call_limit(call, RPC_LIMIT_CALL_MEMORY, status.message);
        rpc__call_refuse(call, code, status.message);
        return;
    }
    pthread_mutex_lock(&call->lock);
    bool open = !call->inbox_over && !call->finish_asked;
    call->answer_owed = open;
    pthread_mutex_unlock(&call->lock);
    if (!open)
        return;
    rpc_call_ref(call);
    ProtobufCService *service = call->method->service->service;
    service->invoke(service, call->method->index, request, rpc__call_closure, call);
}

const rpc__conn_owner rpc__server_conn_owner = {
    conn_ready, conn_objection, conn_request, conn_goaway, conn_event, conn_gone};

/* ---- the server
 * ------------------------------------------------------------------------------------------------
 */

static bool init_sync(rpc_server *server)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&server->lock, NULL) != 0)
        return false;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    bool good = pthread_cond_init(&server->changed, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return good;
}

rpc_code rpc_server_new(
    rpc_runtime *runtime, const rpc_server_options *options, rpc_server **ret, rpc_status *reterr)
{
    rpc_code code = rpc__limits_check(&options->limits, reterr);
    if (code != RPC_OK)
        return code;
    rpc_server *server = calloc(1, sizeof *server);
    if (!server ||
        !rpc__interceptors_init(
            &server->interceptors, options->interceptors, options->interceptor_count) ||
        !rpc__origins_init(&server->origins) ||
        !(server->memory = rpc__memory_new(options->limits.server_memory_bytes_max)) ||
        !(server->unknown = rpc__stats_new()) || !init_sync(server)) {
        if (server) {
            rpc__interceptors_done(&server->interceptors);
            rpc__memory_unref(server->memory);
            rpc__origins_done(&server->origins);
            rpc__stats_free(server->unknown);
        }
        free(server);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
    }
    server->runtime = runtime;
    server->limits = options->limits;
    server->accept = rpc__accept_of(options->accept_encodings);
    server->on_event = options->on_event;
    server->event_ctx = options->event_ctx;
    rpc__census_enter(
        rpc__runtime_census(runtime), &server->entry, RPC__CENSUS_SERVER, server, NULL);
    *ret = server;
    return RPC_OK;
}

rpc_code rpc_server_start(rpc_server *server, rpc_status *reterr)
{
    if (server->started)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION, "server: started before");
    rpc_code code = rpc__registry_build(server, reterr);
    if (code != RPC_OK)
        return code;
    server->started = true;
    rpc__listeners_start(server);
    return RPC_OK;
}

/* (lock) Each task is posted once in a server's life. */
static void post_all(rpc_server *server, bool abort)
{
    rpc__conn *lists[] = {server->strangers, server->known};
    for (size_t i = 0; i < 2; i++)
        for (rpc__conn *conn = lists[i]; conn; conn = conn->owner_next) {
            rpc__conn_ref(conn);
            rpc__strand_post(&conn->lane->strand, abort ? &conn->abort : &conn->drain);
        }
}

static void wait_for_connections(rpc_server *server, int64_t grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(grace_ms / 1000);
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (server->connections > 0 &&
           pthread_cond_timedwait(&server->changed, &server->lock, &until) != ETIMEDOUT)
        continue;
}

void rpc_server_stop(rpc_server *server, int64_t grace_ms)
{
    pthread_mutex_lock(&server->lock);
    bool first = !server->stopping;
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    if (!first)
        return;
    rpc__listeners_close(server);
    rpc__health_stop(server);
    pthread_mutex_lock(&server->lock);
    if (grace_ms > 0) {
        post_all(server, false);
        wait_for_connections(server, grace_ms);
    }
    post_all(server, true);
    while (server->connections > 0)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

void rpc_server_free(rpc_server *server)
{
    if (!server)
        return;
    rpc_server_stop(server, 0);
    rpc__census_leave(rpc__runtime_census(server->runtime), &server->entry);
    rpc__stats_free(server->unknown);
    for (size_t i = 0; i < RPC__SLOTS; i++)
        if (server->slot_releases[i])
            server->slot_releases[i](server->slots[i]);
    rpc__listeners_done(server);
    rpc__registry_done(server);
    rpc__interceptors_done(&server->interceptors);
    rpc__memory_unref(server->memory);
    rpc__origins_done(&server->origins);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

rpc_call_stats rpc__server_calls(const rpc_server *server)
{
    rpc_call_stats sum = {0};
    const char *path;
    for (size_t i = 0; rpc_server_method_stats(server, i, &path, NULL); i++)
        rpc__stats_add_to(rpc__registry_stats(server, i), &sum);
    return sum;
}

bool rpc_server_method_stats(
    const rpc_server *server, size_t index, const char **ret_path, rpc_call_stats *ret)
{
    const rpc__stats *stats = rpc__registry_stats(server, index);
    if (!stats)
        return false;
    const rpc__method *method = rpc__registry_method(server, index);
    *ret_path = method ? method->path : "";
    if (ret) {
        *ret = (rpc_call_stats){0};
        rpc__stats_add_to(stats, ret);
    }
    return true;
}

size_t rpc_server_connections(
    const rpc_server *server, uint64_t start_id, rpc_connection_stats *ret, size_t max)
{
    rpc__census *census = rpc__runtime_census(server->runtime);
    size_t count = 0;
    pthread_mutex_lock(&census->lock);
    for (const rpc__census_entry *entry =
             rpc__census_from(census, RPC__CENSUS_CONNECTION, server, start_id);
         entry && count < max; entry = rpc__census_next(entry, server))
        rpc__conn_stats(entry->object, &ret[count++]);
    pthread_mutex_unlock(&census->lock);
    return count;
}

rpc_server_stats rpc_server_get_stats(const rpc_server *server)
{
    rpc_server *mutable = (rpc_server *)(uintptr_t)server;
    rpc_server_stats stats = {0};
    for (size_t i = 0; i < RPC_EVENT_KINDS; i++)
        stats.events[i] = atomic_load_explicit(&server->events[i], memory_order_relaxed);
    for (size_t i = 0; i < RPC_LIMIT_KINDS; i++)
        stats.limits[i] = atomic_load_explicit(&server->limit_counts[i], memory_order_relaxed);
    rpc_call_stats calls = rpc__server_calls(server);
    for (size_t i = 0; i < RPC_CODES; i++)
        stats.calls_ended += calls.ended[i];
    stats.calls_started = calls.started;
    stats.bytes_received = calls.bytes_received;
    stats.bytes_sent = calls.bytes_sent;
    pthread_mutex_lock(&mutable->lock);
    stats.handshakes = atomic_load_explicit(&server->handshakes, memory_order_relaxed);
    stats.resumed = atomic_load_explicit(&server->resumed, memory_order_relaxed);
    stats.memory_bytes = rpc__memory_used(server->memory);
    stats.connections = server->connections;
    stats.unauthenticated = server->unauthenticated;
    pthread_mutex_unlock(&mutable->lock);
    return stats;
}

rpc_runtime *rpc__server_runtime(const rpc_server *server)
{
    return server->runtime;
}

bool rpc__server_started(const rpc_server *server)
{
    return server->started;
}

void rpc__server_set_slot(
    rpc_server *server, rpc__slot slot, void *state, void (*release)(void *state))
{
    if (server->slot_releases[slot])
        server->slot_releases[slot](server->slots[slot]);
    server->slots[slot] = state;
    server->slot_releases[slot] = release;
}

void *rpc__server_slot(const rpc_server *server, rpc__slot slot)
{
    return server->slots[slot];
}
