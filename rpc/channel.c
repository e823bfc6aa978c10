/* SPDX-License-Identifier: Apache-2.0 */
/* A channel: its connection made when it is needed and again after back-off, calls that wait for
 * it, and its end.
 *
 *  IDLE ──call──▶ CONNECTING ──▶ READY ──lost, GOAWAY──▶ IDLE
 *                     └──failed──▶ BACKOFF ──time, waiting calls──▶ CONNECTING
 *
 * channel->lock guards the members marked (lock); the others belong to the lane. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_FIRST_MS   1000
#define BACKOFF_MAX_MS     30000
#define CONNECT_DEFAULT_MS 10000

struct rpc_channel {
    rpc_runtime *runtime;
    rpc__lane *lane;
    rpc_limits limits;
    rpc__url url;
    char authority[300];
    int64_t connect_ms;
    rpc_encoding encoding;
    unsigned accept;
    rpc__tls_context *tls;
    rpc__conn *conn; /* for new calls; NULL: none */
    bool ready, closed;
    rpc_call *waiting; /* through call->next; a reference each */
    rpc_status last_error;
    int64_t backoff_ms, next_attempt_us;
    rpc_timer *timer;
    rpc__task retry, close;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned calls, conns; /* (lock) */
    bool closing;          /* (lock) */
};

static void count(rpc_channel *channel, unsigned *what, int change)
{
    pthread_mutex_lock(&channel->lock);
    *what = (unsigned)((int)*what + change);
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

/* ---- waiting calls
 * ------------------------------------------------------------------------------------- */

static void wait_in_line(rpc_channel *channel, rpc_call *call)
{
    rpc_call **at = &channel->waiting;
    while (*at)
        at = &(*at)->next;
    *at = rpc_call_ref(call);
    call->waiting = true;
}

static void leave_line(rpc_channel *channel, rpc_call *call)
{
    for (rpc_call **at = &channel->waiting; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            break;
        }
    call->next = NULL;
    call->waiting = false;
    rpc_call_unref(call);
}

static void send_waiting(rpc_channel *channel)
{
    rpc_call *call = channel->waiting;
    channel->waiting = NULL;
    while (call) {
        rpc_call *next = call->next;
        call->next = NULL;
        call->waiting = false;
        if (!call->over)
            rpc__channel_begin(call);
        rpc_call_unref(call);
        call = next;
    }
}

static void fail_waiting(rpc_channel *channel, bool all, rpc_code code, const char *text)
{
    for (rpc_call *call = channel->waiting, *next; call; call = next) {
        next = call->next;
        if (!all && call->wait_for_ready)
            continue;
        rpc_call_ref(call);
        leave_line(channel, call);
        rpc__call_end(call, code, text, NGHTTP2_NO_ERROR);
        rpc_call_unref(call);
    }
}

/* ---- connecting
 * -------------------------------------------------------------------------------------------- */

static void connect_now(rpc_channel *channel);

static void retry_task(void *arg)
{
    rpc_channel *channel = arg;
    rpc__lane *lane = channel->lane;
    if (channel->timer)
        (void)rpc_timer_cancel(channel->timer);
    channel->timer = NULL;
    if (!channel->closed && !channel->conn && channel->waiting)
        connect_now(channel);
    rpc__lane_settle(lane);
    rpc__lane_unref(lane);
}

static void on_backoff_over(void *arg)
{
    rpc_channel *channel = arg;
    rpc__strand_post(&channel->lane->strand, &channel->retry);
}

static void start_backoff_timer(rpc_channel *channel)
{
    if (channel->timer || channel->closed || !channel->waiting)
        return;
    int64_t left = (channel->next_attempt_us - rpc__runtime_now_us(channel->runtime)) / 1000 + 1;
    rpc__lane_ref(channel->lane);
    if (rpc_timer_start(channel->runtime, left > 1 ? left : 1, on_backoff_over, channel,
            &channel->timer) == RPC_OK)
        return;
    channel->timer = NULL;
    rpc__lane_unref(channel->lane);
    fail_waiting(channel, true, RPC_RESOURCE_EXHAUSTED, "channel: no memory for a timer");
}

/* 1 s, 1.6 times longer each time up to 30 s, and a fifth more or less so that clients of a
 * server that comes back do not come all at once. */
static void back_off(rpc_channel *channel, const rpc_status *why)
{
    snprintf(channel->last_error.message, sizeof channel->last_error.message,
        "channel: no connection to %.200s: %.120s",
        channel->url.scheme == RPC__SCHEME_IPC ? channel->url.path : channel->authority,
        why->message);
    uint32_t random;
    rpc_random(&random, sizeof random);
    channel->backoff_ms = channel->backoff_ms == 0 ? BACKOFF_FIRST_MS : channel->backoff_ms * 8 / 5;
    if (channel->backoff_ms > BACKOFF_MAX_MS)
        channel->backoff_ms = BACKOFF_MAX_MS;
    int64_t jitter = channel->backoff_ms * (int64_t)(random % 401) / 1000 - channel->backoff_ms / 5;
    channel->next_attempt_us = rpc__runtime_now_us(channel->runtime) +
                               (channel->backoff_ms + jitter) * 1000;
    fail_waiting(channel, false, RPC_UNAVAILABLE, channel->last_error.message);
    start_backoff_timer(channel);
}

static void conn_ready(rpc__conn *conn)
{
    rpc_channel *channel = conn->owner;
    if (channel->conn != conn)
        return;
    channel->ready = true;
    channel->backoff_ms = 0;
    channel->next_attempt_us = 0;
    send_waiting(channel);
}

static void conn_request(rpc__conn *conn, rpc_call *call)
{
    (void)conn, (void)call;
}

static void conn_goaway(rpc__conn *conn)
{
    rpc_channel *channel = conn->owner;
    if (channel->conn != conn)
        return;
    channel->conn = NULL;
    channel->ready = false;
}

static void conn_event(
    rpc__conn *conn, rpc_event_kind kind, rpc_limit_kind limit, const char *detail)
{
    (void)conn, (void)kind, (void)limit, (void)detail;
}

static void conn_gone(rpc__conn *conn, const rpc_status *why)
{
    rpc_channel *channel = conn->owner;
    if (channel->conn == conn) {
        bool was_ready = channel->ready;
        channel->conn = NULL;
        channel->ready = false;
        if (!was_ready)
            back_off(channel, why);
        else if (channel->waiting && !channel->closed)
            connect_now(channel);
    }
    count(channel, &channel->conns, -1);
}

static const rpc__conn_owner channel_conn_owner = {
    conn_ready, NULL, conn_request, conn_goaway, conn_event, conn_gone};

static rpc__conn *make_conn(rpc_channel *channel, rpc_status *reterr)
{
    rpc__tls *tls = NULL;
    if (channel->tls && rpc__tls_new(channel->tls, &tls, reterr) != RPC_OK)
        return NULL;
    rpc__conn *conn = rpc__conn_new(
        channel->lane, false, &channel->limits, &channel_conn_owner, channel, tls);
    if (conn)
        return conn;
    rpc__tls_free(tls);
    rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory");
    return NULL;
}

static void connect_now(rpc_channel *channel)
{
    rpc_status why = {0};
    rpc__conn *conn = make_conn(channel, &why);
    if (!conn) {
        back_off(channel, &why);
        return;
    }
    if (rpc__stream_dial(channel->runtime, &channel->url, channel->connect_ms,
            &channel->lane->strand, &rpc__conn_stream_handler, conn, &conn->stream,
            &why) != RPC_OK) {
        rpc__conn_unref(conn);
        back_off(channel, &why);
        return;
    }
    channel->conn = conn;
    channel->ready = false;
    conn->next = channel->lane->conns;
    channel->lane->conns = conn;
    count(channel, &channel->conns, 1);
}

/* ---- calls
 * ------------------------------------------------------------------------------------------------------
 */

static bool conn_usable(const rpc_channel *channel)
{
    const rpc__conn *conn = channel->conn;
    return conn && channel->ready && conn->state == RPC__CONN_OPEN && !conn->goaway_seen;
}

void rpc__channel_begin(rpc_call *call)
{
    rpc_channel *channel = call->owner;
    if (call->over)
        return;
    if (channel->closed) {
        rpc__call_end(call, RPC_CANCELLED, "channel: it is being closed", NGHTTP2_NO_ERROR);
        return;
    }
    if (call->deadline_us != RPC_NO_DEADLINE && !call->deadline_timer)
        rpc__call_set_deadline(call, call->deadline_us);
    if (call->over)
        return;
    if (conn_usable(channel)) {
        call->conn = channel->conn;
        if (!rpc__call_submit_request(call)) {
            call->conn = NULL;
            rpc__call_end(call, RPC_RESOURCE_EXHAUSTED,
                "channel: no memory for the request, or more than 512 metadata entries",
                NGHTTP2_NO_ERROR);
        }
        return;
    }
    if (channel->conn && channel->conn->state >= RPC__CONN_CLOSING)
        channel->conn = NULL; /* still saying goodbye */
    bool early = !channel->conn && rpc__runtime_now_us(channel->runtime) < channel->next_attempt_us;
    if (early && !call->wait_for_ready) {
        rpc__call_end(call, RPC_UNAVAILABLE, channel->last_error.message, NGHTTP2_NO_ERROR);
        return;
    }
    wait_in_line(channel, call);
    if (early)
        start_backoff_timer(channel);
    else if (!channel->conn)
        connect_now(channel);
}

static void call_over(rpc_call *call, const rpc_status *status)
{
    (void)status;
    rpc_channel *channel = call->owner;
    if (call->waiting)
        leave_line(channel, call);
    rpc_call_unref(call); /* the library's */
    count(channel, &channel->calls, -1);
}

static rpc_code fill_call(rpc_channel *channel, rpc_call *call, const char *path,
    const rpc_call_options *options, rpc_status *reterr)
{
    call->path = rpc_arena_strndup(call->arena, path, strlen(path));
    if (!call->path)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    call->owner = channel;
    call->on_over = call_over;
    call->authority = rpc_bytes_str(channel->authority);
    call->receive_max = options->message_receive_bytes_max > 0
                            ? options->message_receive_bytes_max
                            : channel->limits.message_receive_bytes_max;
    call->stream_window = channel->limits.stream_window_bytes;
    call->wait_for_ready = options->wait_for_ready;
    call->accept = channel->accept;
    call->send_encoding = options->encoding ? options->encoding : channel->encoding;
    if (options->timeout_ms > 0 && options->timeout_ms < INT64_MAX / 2000)
        call->deadline_us = call->started_us + options->timeout_ms * 1000;
    for (size_t i = 0; i < options->metadata_count; i++) {
        const rpc_metadatum *datum = &options->metadata[i];
        rpc_code code = rpc__out_header_add(
            &call->out_headers, datum->name, datum->value, datum->sensitive);
        if (code != RPC_OK)
            return rpc_status_set(reterr, code,
                "channel: metadata %.64s cannot be sent; names are lower case and not gRPC's own, "
                "values printable ASCII unless the name ends in -bin",
                datum->name);
    }
    return RPC_OK;
}

rpc_code rpc_channel_start(rpc_channel *channel, const char *path, const rpc_call_options *options,
    const rpc_handler *handler, void *user, rpc_call **ret, rpc_status *reterr)
{
    static const rpc_call_options none;
    if (path[0] != '/' || !rpc__metadata_value_valid(rpc_bytes_str(path)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: a path is written /package.Service/Method, not %.100s", path);
    pthread_mutex_lock(&channel->lock);
    bool closing = channel->closing;
    channel->calls += !closing;
    pthread_mutex_unlock(&channel->lock);
    if (closing)
        return rpc_status_set(reterr, RPC_CANCELLED, "channel: it is being closed");
    rpc_call *call = rpc__call_new(channel->lane, false, channel->limits.call_memory_bytes_max);
    rpc_code code = call ? fill_call(channel, call, path, options ? options : &none, reterr)
                         : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    if (code != RPC_OK) {
        rpc_call_unref(call);
        count(channel, &channel->calls, -1);
        return code;
    }
    call->handler = *handler;
    call->user = user;
    if (options && options->stream_window_bytes > call->stream_window &&
        options->stream_window_bytes <= INT32_MAX)
        call->window_wanted = options->stream_window_bytes;
    *ret = rpc_call_ref(call);
    rpc__call_ask(call, RPC__ASK_START);
    return RPC_OK;
}

/* ---- the channel
 * --------------------------------------------------------------------------------------------------
 */

static void free_channel(void *owner)
{
    rpc_channel *channel = owner;
    rpc__tls_context_unref(channel->tls);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static void close_task(void *arg)
{
    rpc_channel *channel = arg;
    rpc__lane *lane = channel->lane;
    rpc_status why;
    rpc_status_set(&why, RPC_CANCELLED, "channel: it is being closed");
    channel->closed = true;
    if (channel->timer && rpc_timer_cancel(channel->timer))
        rpc__lane_unref(lane);
    channel->timer = NULL;
    fail_waiting(channel, true, RPC_CANCELLED, why.message);
    for (rpc__conn *conn = lane->conns; conn; conn = conn->next) {
        while (conn->calls)
            rpc__call_end(conn->calls, RPC_CANCELLED, why.message, NGHTTP2_CANCEL);
        rpc__conn_close(conn, &why);
    }
    rpc__lane_settle(lane);
    rpc__lane_unref(lane);
}

static rpc_code set_up(rpc_channel *channel, const rpc_channel_options *options, rpc_status *reterr)
{
    rpc_code code = rpc__url_parse(options->target, &channel->url, reterr);
    if (code != RPC_OK)
        return code;
    if (channel->url.scheme == RPC__SCHEME_TCP &&
        (!options->allow_plain_text || !channel->url.loopback))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: tcp:// is for loopback and with plain text allowed only; use tls+tcp://");
    const char *host = channel->url.host;
    if (channel->url.scheme == RPC__SCHEME_IPC)
        snprintf(channel->authority, sizeof channel->authority, "localhost");
    else
        snprintf(channel->authority, sizeof channel->authority,
            strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, channel->url.port);
    channel->limits = options->limits;
    channel->encoding = options->encoding;
    channel->accept = rpc__accept_of(options->accept_encodings);
    channel->connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_DEFAULT_MS;
    if (channel->url.scheme == RPC__SCHEME_TLS_TCP)
        code = rpc__tls_context_new_client(&options->tls, host, &channel->tls, reterr);
    return code;
}

rpc_code rpc_channel_new(
    rpc_runtime *runtime, const rpc_channel_options *options, rpc_channel **ret, rpc_status *reterr)
{
    rpc_code code = rpc__limits_check(&options->limits, reterr);
    if (code != RPC_OK)
        return code;
    rpc_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    channel->runtime = runtime;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->changed, NULL);
    rpc__task_init(&channel->retry, retry_task, channel);
    rpc__task_init(&channel->close, close_task, channel);
    code = set_up(channel, options, reterr);
    if (code == RPC_OK) {
        channel->lane = rpc__lane_new(runtime, NULL, free_channel, channel);
        if (!channel->lane)
            code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    }
    if (code != RPC_OK) {
        free_channel(channel);
        return code;
    }
    *ret = channel;
    return RPC_OK;
}

void rpc_channel_free(rpc_channel *channel)
{
    if (!channel)
        return;
    rpc__lane *lane = channel->lane;
    pthread_mutex_lock(&channel->lock);
    channel->closing = true;
    pthread_mutex_unlock(&channel->lock);
    rpc__lane_ref(lane);
    rpc__strand_post(&lane->strand, &channel->close);
    pthread_mutex_lock(&channel->lock);
    while (channel->calls > 0 || channel->conns > 0)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    rpc__lane_unref(lane);
}
