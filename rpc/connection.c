/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: bytes in and out through TLS, its timers and its end. HTTP/2 is in session.c. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS   1000
#define JUDGE_MS  60000   /* how often the peer's certificate is looked at again */
#define LINGER_US 1000000 /* for the peer to read our last words */
#define NOTICE_US 200000  /* between the two GOAWAYs of a drain */

static void tick_task(void *arg);
static void start_task(void *arg);
static void drain_task(void *arg);
static void abort_task(void *arg);

rpc__conn *rpc__conn_new(rpc__lane *lane, bool server, const rpc_limits *limits,
    const rpc__conn_owner *ops, void *owner, rpc__tls *tls)
{
    rpc__conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    atomic_init(&conn->refs, 1);
    rpc__lane_ref(lane);
    conn->lane = lane;
    conn->server = server;
    conn->limits = limits;
    conn->keepalive_ms = limits->keepalive_ms;
    conn->ops = ops;
    conn->owner = owner;
    conn->tls = tls;
    conn->in_wanted = server ? RPC__INPUT_FIRST_BYTES : RPC__INPUT_BYTES;
    conn->scheme = tls ? "https" : "http";
    conn->peer.address = conn->address;
    if (tls && limits->overwrite_messages)
        rpc__tls_overwrite(tls);
    rpc__memory_add(lane->memory, RPC__CONN_BYTES);
    rpc__task_init(&conn->tick, tick_task, conn);
    rpc__task_init(&conn->start, start_task, conn);
    rpc__task_init(&conn->drain, drain_task, conn);
    rpc__task_init(&conn->abort, abort_task, conn);
    return conn;
}

void rpc__conn_ref(rpc__conn *conn)
{
    atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
}

void rpc__conn_unref(rpc__conn *conn)
{
    if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) != 1)
        return;
    rpc__lane *lane = conn->lane;
    rpc__tls_free(conn->tls);
    free(conn);
    rpc__memory_give(lane->memory, RPC__CONN_BYTES);
    rpc__lane_unref(lane);
}

int64_t rpc__conn_now_us(const rpc__conn *conn)
{
    return rpc__runtime_now_us(conn->lane->runtime);
}

/* ---- output ------------------------------------------------------------------------------ */

static void fail(rpc__conn *conn, const rpc_status *why);

size_t rpc__conn_room(rpc__conn *conn)
{
    if (!rpc__conn_output_ready(conn))
        return 0;
    size_t left = RPC__OUTPUT_BYTES - rpc__conn_output_size(conn);
    if (!conn->tls)
        return left - conn->staged;
    /* Two records are kept back: what is staged, and a short one between slices. */
    size_t records = left / RPC__TLS_OUTPUT_MIN;
    return records > 2 ? (records - 2) * RPC__TLS_RECORD_MAX : 0;
}

static bool put_direct(rpc__conn *conn, rpc_bytes bytes)
{
    if (!conn->tls) {
        if (bytes.size > RPC__OUTPUT_BYTES - conn->out_size)
            return false;
        memcpy(conn->out[conn->out_now] + conn->out_size, bytes.data, bytes.size);
        conn->out_size += bytes.size;
        return true;
    }
    while (bytes.size > 0) {
        size_t taken = 0;
        if (rpc__tls_write(conn->tls, bytes, &taken, NULL) != RPC__TLS_OK || taken == 0)
            return false;
        bytes.data += taken;
        bytes.size -= taken;
    }
    return true;
}

static bool flush_staging(rpc__conn *conn)
{
    size_t size = conn->staged;
    conn->staged = 0;
    return size == 0 || put_direct(conn, rpc_bytes_of(conn->staging, size));
}

/* A record costs OpenSSL more than copying its bytes: all but the last before a write are full.
 * Where nothing is staged, whole records are encrypted where they are. */
bool rpc__conn_put(rpc__conn *conn, rpc_bytes bytes)
{
    if (!conn->tls)
        return put_direct(conn, bytes);
    while (bytes.size > 0) {
        size_t take = RPC__STAGING_BYTES - conn->staged;
        if (conn->staged == 0 && bytes.size >= RPC__STAGING_BYTES) {
            take = bytes.size - bytes.size % RPC__STAGING_BYTES;
            if (!put_direct(conn, rpc_bytes_of(bytes.data, take)))
                return false;
        } else {
            take = take < bytes.size ? take : bytes.size;
            memcpy(conn->staging + conn->staged, bytes.data, take);
            conn->staged += take;
            if (conn->staged == RPC__STAGING_BYTES && !flush_staging(conn))
                return false;
        }
        bytes.data += take;
        bytes.size -= take;
    }
    return true;
}

/* Encryption goes on in the other buffer while this one is written. */
static bool change_buffers(rpc__conn *conn)
{
    conn->out_now ^= 1;
    conn->out_size = 0;
    if (!conn->out[conn->out_now])
        return rpc__conn_output_ready(conn);
    if (conn->tls)
        rpc__tls_set_output(conn->tls, conn->out[conn->out_now], RPC__OUTPUT_BYTES);
    return true;
}

/* True: output went out or is going, and there is room for more. */
static bool start_write(rpc__conn *conn)
{
    if (!conn->stream || conn->state >= RPC__CONN_CLOSED || rpc__stream_writing(conn->stream))
        return false;
    size_t size = rpc__conn_output_size(conn);
    if (size == 0)
        return false;
    rpc_bytes piece = rpc_bytes_of(conn->out[conn->out_now], size);
    conn->progress_us = rpc__conn_now_us(conn);
    conn->progress_bytes = rpc__stream_written_bytes(conn->stream);
    rpc__tally_add(&conn->tally.bytes_sent, size);
    if (rpc__stream_write(conn->stream, &piece, 1)) {
        conn->out_size = 0;
        if (conn->tls)
            rpc__tls_set_output(conn->tls, conn->out[conn->out_now], RPC__OUTPUT_BYTES);
        return true;
    }
    if (change_buffers(conn))
        return true;
    rpc_status why;
    rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED, "connection: no memory for output");
    fail(conn, &why);
    return false;
}

static bool make_frames(rpc__conn *conn)
{
    bool made = false;
    while (conn->h2 && nghttp2_session_want_write(conn->h2) &&
           rpc__conn_room(conn) >= 2 * RPC__TLS_RECORD_MAX) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(conn->h2, &data);
        rpc__session_drop_view(conn);
        if (size < 0 || (size > 0 && !rpc__conn_put(conn, rpc_bytes_of(data, (size_t)size)))) {
            rpc_status why;
            rpc_status_set(&why, RPC_INTERNAL, "connection: output failed: %s",
                size < 0 ? nghttp2_strerror((int)size) : "TLS takes no more");
            fail(conn, &why);
            return false;
        }
        if (size == 0)
            break;
        made = true;
    }
    return made;
}

static void last_words(rpc__conn *conn);

static void resume_reading(rpc__conn *conn)
{
    if (!conn->stream || rpc__stream_reading(conn->stream) || conn->peer_finished ||
        conn->receiving)
        return;
    /* Data is bounded by its windows; answers to control frames only by this. */
    if (conn->h2 && nghttp2_session_get_outbound_queue_size(conn->h2) > RPC__OUTBOUND_QUEUE_MAX &&
        rpc__stream_writing(conn->stream))
        return;
    if (rpc__conn_input_ready(conn)) {
        rpc__stream_read(conn->stream, conn->in, conn->in_size);
        return;
    }
    rpc_status why;
    rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED, "connection: no memory for input");
    fail(conn, &why);
}

static void check_over(rpc__conn *conn)
{
    if (conn->state != RPC__CONN_OPEN)
        return;
    rpc_status why;
    if (conn->calls == NULL && (conn->drain_final || conn->goaway_seen)) {
        rpc_status_set(&why, RPC_UNAVAILABLE, "connection: drained");
        rpc__conn_close(conn, &why);
    } else if (!nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2)) {
        rpc_status_set(&why, RPC_UNAVAILABLE, "connection: the peer ended it");
        rpc__conn_close(conn, conn->why.code == RPC_OK ? &why : &conn->why);
    }
}

/* Whether TLS has said that no more comes: then nothing may. */
static bool said_last_words(const rpc__conn *conn)
{
    return conn->state == RPC__CONN_CLOSING && conn->drain_us > 0;
}

static void write_out(rpc__conn *conn)
{
    bool more = !said_last_words(conn);
    while (more && conn->state < RPC__CONN_CLOSED) {
        (void)make_frames(conn);
        if (conn->state >= RPC__CONN_CLOSED)
            return;
        if (!flush_staging(conn)) {
            rpc_status why;
            rpc_status_set(&why, RPC_INTERNAL, "connection: TLS takes no more output");
            fail(conn, &why);
            return;
        }
        more = start_write(conn);
    }
}

void rpc__conn_pump(rpc__conn *conn)
{
    if (!conn->stream || conn->state == RPC__CONN_CONNECTING || conn->state >= RPC__CONN_CLOSED)
        return;
    write_out(conn);
    bool open = conn->state == RPC__CONN_OPEN;
    check_over(conn);
    if (open && conn->state == RPC__CONN_CLOSING)
        write_out(conn); /* its GOAWAY, before the last words */
    if (conn->state == RPC__CONN_CLOSING)
        last_words(conn);
    if (conn->state < RPC__CONN_CLOSED)
        resume_reading(conn);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void end_calls(rpc__conn *conn, const rpc_status *why)
{
    char text[sizeof why->message];
    memcpy(text, why->message, sizeof text);
    while (conn->calls) {
        rpc_call *call = conn->calls;
        rpc__call_lost(call, conn->server ? RPC_CANCELLED : RPC_UNAVAILABLE, text, NGHTTP2_NO_ERROR,
            call->retry.head_sent ? RPC__SEEN_PERHAPS : RPC__SEEN_NEVER_SENT);
    }
}

static void close_stream(rpc__conn *conn)
{
    if (conn->state >= RPC__CONN_CLOSED)
        return;
    conn->state = RPC__CONN_CLOSED;
    if (conn->stream)
        rpc__stream_close(conn->stream);
}

static void fail(rpc__conn *conn, const rpc_status *why)
{
    if (conn->why.code == RPC_OK)
        conn->why = *why;
    if (conn->state >= RPC__CONN_CLOSED)
        return;
    close_stream(conn);
    end_calls(conn, why);
}

void rpc__conn_close(rpc__conn *conn, const rpc_status *why)
{
    if (conn->why.code == RPC_OK)
        conn->why = *why;
    if (conn->state >= RPC__CONN_CLOSING)
        return;
    if (conn->state == RPC__CONN_CONNECTING) {
        fail(conn, why);
        return;
    }
    if (conn->h2)
        (void)nghttp2_session_terminate_session(conn->h2, NGHTTP2_NO_ERROR);
    conn->state = RPC__CONN_CLOSING;
    conn->drain_us = 0;
    end_calls(conn, why);
    rpc__conn_tick_soon(conn);
}

static void last_words(rpc__conn *conn)
{
    if (rpc__stream_writing(conn->stream) || rpc__conn_output_size(conn) > 0)
        return;
    if (conn->drain_us == 0) {
        conn->drain_us = rpc__conn_now_us(conn) + LINGER_US;
        if (conn->tls && rpc__tls_handshake_done(conn->tls) && rpc__conn_output_ready(conn))
            rpc__tls_shutdown(conn->tls);
        if (start_write(conn) && rpc__stream_writing(conn->stream))
            return;
    }
    /* Closing with unread input would make the kernel throw our last bytes away, if there are any:
     * OpenSSL without memory has no alert. */
    if (!conn->server || conn->peer_finished || rpc__stream_written_bytes(conn->stream) == 0)
        close_stream(conn);
}

void rpc__conn_offence(rpc__conn *conn, rpc_limit_kind limit, uint32_t h2_error, const char *detail)
{
    if (conn->state >= RPC__CONN_CLOSING)
        return;
    conn->ops->on_event(conn, RPC_EVENT_PROTOCOL_ERROR, limit, detail);
    rpc_status why;
    rpc_status_set(&why, RPC_UNAVAILABLE, "connection: closed after a protocol error: %s", detail);
    /* gRPC's clients slow down when they read this word. */
    if (conn->h2 && limit == RPC_LIMIT_PINGS)
        (void)nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE,
            nghttp2_session_get_last_proc_stream_id(conn->h2), h2_error,
            (const uint8_t *)RPC__TOO_MANY_PINGS, sizeof RPC__TOO_MANY_PINGS - 1);
    if (conn->h2)
        (void)nghttp2_session_terminate_session(conn->h2, h2_error);
    rpc__conn_close(conn, &why);
}

static void final_goaway(rpc__conn *conn)
{
    conn->drain_final = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(conn->h2);
    (void)nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
}

void rpc__conn_drain(rpc__conn *conn)
{
    if (conn->draining || conn->state >= RPC__CONN_CLOSING)
        return;
    conn->draining = true;
    if (!conn->h2) {
        rpc_status why;
        rpc_status_set(&why, RPC_UNAVAILABLE, "connection: shutting down");
        fail(conn, &why);
        return;
    }
    if (conn->calls == NULL || !conn->server) {
        final_goaway(conn);
        return;
    }
    conn->drain_us = rpc__conn_now_us(conn) + NOTICE_US;
    (void)nghttp2_submit_shutdown_notice(conn->h2);
    rpc__conn_tick_soon(conn);
}

static void leave_lane(rpc__conn *conn)
{
    for (rpc__conn **at = &conn->lane->conns; *at; at = &(*at)->next)
        if (*at == conn) {
            *at = conn->next;
            return;
        }
}

static void gone(rpc__conn *conn)
{
    rpc__lane *lane = conn->lane;
    rpc__lane_ref(lane);
    if (conn->why.code == RPC_OK)
        rpc_status_set(&conn->why, RPC_UNAVAILABLE, "connection: closed");
    conn->stream = NULL;
    conn->state = RPC__CONN_GONE;
    rpc__census_leave(rpc__runtime_census(lane->runtime), &conn->entry);
    end_calls(conn, &conn->why);
    leave_lane(conn);
    if (conn->timer && rpc_timer_cancel(conn->timer))
        rpc__conn_unref(conn);
    conn->timer = NULL;
    rpc__lane_settle(lane);
    rpc__objects_clear(conn);
    nghttp2_session_del(conn->h2);
    conn->h2 = NULL;
    rpc__conn_free_buffers(conn);
    conn->ops->on_gone(conn, &conn->why);
    rpc__conn_unref(conn);
    rpc__lane_settle(lane);
    rpc__lane_unref(lane);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    rpc__conn *conn = arg;
    rpc__strand_post(&conn->lane->strand, &conn->tick);
}

static bool passed(int64_t now, int64_t since, int64_t limit_ms)
{
    return limit_ms < INT64_MAX / 1000 && now - since >= limit_ms * 1000;
}

static int64_t earliest(int64_t now, int64_t base, int64_t limit_ms, int64_t best)
{
    if (limit_ms >= INT64_MAX / 1000)
        return best; /* RPC_NO_TIMEOUT */
    int64_t left = (base - now) / 1000 + limit_ms + 1;
    return left < best ? left : best;
}

static int64_t first_limit_ms(const rpc__conn *conn)
{
    return conn->server ? conn->limits->first_request_ms : conn->limits->handshake_ms;
}

/* Before its first request (a client's: SETTINGS) a connection has time limits of its own: a slow
 * handshake is not idleness. */
static bool may_be_idle(const rpc__conn *conn)
{
    return conn->had_request && conn->state < RPC__CONN_CLOSING && conn->calls == NULL;
}

static int64_t next_tick_ms(rpc__conn *conn, int64_t now)
{
    const rpc_limits *limits = conn->limits;
    bool quiet = conn->calls == NULL && conn->state == RPC__CONN_OPEN && conn->had_request &&
                 !conn->draining && !conn->out_used && !rpc__stream_writing(conn->stream) &&
                 (!conn->server || rpc__conn_rests(conn));
    int64_t delay = quiet ? INT64_MAX : TICK_MS;
    if (conn->state == RPC__CONN_HANDSHAKE)
        delay = earliest(now, conn->opened_us, limits->handshake_ms, delay);
    /* What check_limits() does nothing about is not waited for: it would be due at every tick. */
    if (conn->state == RPC__CONN_OPEN && !conn->had_request)
        delay = earliest(now, conn->opened_us, first_limit_ms(conn), delay);
    if (may_be_idle(conn))
        delay = earliest(now, conn->idle_since_us, limits->idle_ms, delay);
    if (conn->stream && rpc__stream_writing(conn->stream))
        delay = earliest(now, conn->progress_us, limits->write_progress_ms, delay);
    if (conn->drain_us > 0)
        delay = earliest(now, conn->drain_us, 0, delay);
    if (conn->state == RPC__CONN_OPEN && conn->server && conn->peer.has_certificate)
        delay = earliest(now, conn->judged_us, JUDGE_MS, delay);
    delay = rpc__keepalive_next_ms(conn, now, delay);
    return delay < 1 ? 1 : delay;
}

static void start_timer(rpc__conn *conn)
{
    if (conn->timer || conn->state >= RPC__CONN_CLOSED || !conn->stream)
        return;
    int64_t delay_ms = next_tick_ms(conn, rpc__conn_now_us(conn));
    conn->timer_slow = delay_ms > TICK_MS;
    rpc__conn_ref(conn);
    if (rpc_timer_start(conn->lane->runtime, delay_ms, on_timer, conn, &conn->timer) == RPC_OK)
        return;
    conn->timer = NULL;
    rpc__conn_unref(conn);
    rpc_status why;
    rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED, "connection: no memory for its timer");
    fail(conn, &why);
}

void rpc__conn_tick_soon(rpc__conn *conn)
{
    if (!conn->timer || !rpc_timer_cancel(conn->timer)) {
        /* It has fired: the tick is on its way, and frees nothing more. */
        conn->tick_queued = conn->timer != NULL;
        conn->timer = NULL;
        if (conn->tick_queued)
            return;
    } else {
        conn->timer = NULL;
        rpc__conn_unref(conn);
    }
    start_timer(conn);
}

void rpc__conn_time_out(rpc__conn *conn, rpc_limit_kind limit, const char *what)
{
    conn->ops->on_event(conn, RPC_EVENT_TIMEOUT, limit, what);
    rpc_status why;
    rpc_status_set(&why, RPC_UNAVAILABLE, "connection: closed: %s", what);
    if (conn->state == RPC__CONN_OPEN && !rpc__stream_writing(conn->stream))
        rpc__conn_close(conn, &why);
    else
        fail(conn, &why);
}

static void check_limits(rpc__conn *conn, int64_t now)
{
    const rpc_limits *limits = conn->limits;
    uint64_t written = rpc__stream_written_bytes(conn->stream);
    if (written != conn->progress_bytes) {
        conn->progress_bytes = written;
        conn->progress_us = now;
    }
    if (conn->state == RPC__CONN_HANDSHAKE && passed(now, conn->opened_us, limits->handshake_ms))
        rpc__conn_time_out(conn, RPC_LIMIT_HANDSHAKE, "no TLS handshake within handshake_ms");
    else if (conn->state == RPC__CONN_OPEN && !conn->had_request &&
             passed(now, conn->opened_us, first_limit_ms(conn)))
        rpc__conn_time_out(conn, conn->server ? RPC_LIMIT_FIRST_REQUEST : RPC_LIMIT_HANDSHAKE,
            conn->server ? "no request within first_request_ms"
                         : "no HTTP/2 SETTINGS within handshake_ms");
    else if (may_be_idle(conn) && passed(now, conn->idle_since_us, limits->idle_ms))
        rpc__conn_time_out(conn, RPC_LIMIT_IDLE, "idle for idle_ms");
    else if (rpc__stream_writing(conn->stream) &&
             passed(now, conn->progress_us, limits->write_progress_ms))
        rpc__conn_time_out(
            conn, RPC_LIMIT_WRITE_PROGRESS, "the peer took no output for write_progress_ms");
    else if (conn->drain_us > 0 && now >= conn->drain_us) {
        if (conn->state == RPC__CONN_CLOSING)
            close_stream(conn);
        else if (!conn->drain_final)
            final_goaway(conn);
        conn->drain_us = conn->state == RPC__CONN_OPEN ? 0 : conn->drain_us;
    }
}

static void check_alive(rpc__conn *conn, int64_t now)
{
    static const char what[] = "the peer answered no PING within keepalive_timeout_ms";
    if (!rpc__keepalive_dead(conn, now))
        return;
    conn->ops->on_event(conn, RPC_EVENT_TIMEOUT, RPC_LIMIT_KEEPALIVE, what);
    rpc_status why;
    rpc_status_set(&why, RPC_UNAVAILABLE, "connection: closed: %s", what);
    fail(conn, &why); /* nobody is there to read last words */
}

static void judge_peer(rpc__conn *conn, int64_t now)
{
    if (!conn->server || !conn->peer.has_certificate || conn->state != RPC__CONN_OPEN ||
        !passed(now, conn->judged_us, JUDGE_MS))
        return;
    conn->judged_us = now;
    const char *objection = conn->ops->objection(conn);
    if (!objection)
        return;
    conn->ops->on_event(conn, RPC_EVENT_CERTIFICATE_ENDED, RPC_LIMIT_NONE, objection);
    rpc_status why;
    rpc_status_set(&why, RPC_UNAUTHENTICATED, "connection: closed: %s", objection);
    rpc__conn_close(conn, &why);
}

static void tick_task(void *arg)
{
    rpc__conn *conn = arg;
    if (conn->timer)
        (void)rpc_timer_cancel(conn->timer);
    conn->timer = NULL;
    conn->tick_queued = false;
    if (conn->stream && conn->state < RPC__CONN_CLOSED) {
        int64_t now = rpc__conn_now_us(conn);
        check_limits(conn, now);
        check_alive(conn, now);
        judge_peer(conn, now);
        rpc__conn_check_calls(conn, now);
        if (conn->stream && conn->state < RPC__CONN_CLOSED)
            rpc__conn_rest(conn);
        rpc__lane_settle(conn->lane);
        start_timer(conn);
    }
    rpc__conn_unref(conn);
}

/* ---- input --------------------------------------------------------------------------------------
 */

static void ready(rpc__conn *conn)
{
    conn->state = RPC__CONN_OPEN;
    conn->idle_since_us = conn->judged_us = rpc__conn_now_us(conn);
    rpc_status why;
    if (conn->tls && rpc__tls_peer(conn->tls, &conn->peer, &why) != RPC_OK) {
        conn->ops->on_event(conn, RPC_EVENT_HANDSHAKE_FAILED, RPC_LIMIT_NONE, why.message);
        fail(conn, &why);
        return;
    }
    if (conn->tls)
        atomic_store_explicit(
            &conn->tally.cipher, rpc__tls_cipher(conn->tls), memory_order_release);
    if (!rpc__session_start(conn)) {
        rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED, "connection: no memory for HTTP/2");
        fail(conn, &why);
        return;
    }
    if (conn->server)
        conn->ops->on_ready(conn);
}

static void handshake(rpc__conn *conn)
{
    rpc_status why = {0};
    if (!rpc__conn_output_ready(conn)) {
        rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED, "connection: no memory for output");
        fail(conn, &why);
        return;
    }
    switch (rpc__tls_handshake(conn->tls, &why)) {
    case RPC__TLS_OK:
        ready(conn);
        return;
    case RPC__TLS_WANT_INPUT:
        return;
    case RPC__TLS_CLOSED:
        rpc_status_set(&why, RPC_UNAVAILABLE, "tls: the peer closed during the handshake");
        break;
    case RPC__TLS_FAILED:
        break;
    }
    conn->ops->on_event(conn, RPC_EVENT_HANDSHAKE_FAILED, RPC_LIMIT_NONE, why.message);
    rpc__conn_close(conn, &why); /* the alert still goes out */
}

static void peer_finished(rpc__conn *conn)
{
    conn->peer_finished = true;
    rpc_status why;
    rpc_status_set(&why, RPC_UNAVAILABLE, "connection: the peer closed it");
    if (conn->state == RPC__CONN_HANDSHAKE)
        conn->ops->on_event(conn, RPC_EVENT_HANDSHAKE_FAILED, RPC_LIMIT_NONE, why.message);
    rpc__conn_close(conn, &why);
}

static void receive_records(rpc__conn *conn, uint8_t plain[RPC__TLS_RECORD_MAX])
{
    while (conn->state == RPC__CONN_OPEN || conn->state == RPC__CONN_CLOSING) {
        if (!rpc__tls_handshake_done(conn->tls))
            return;
        size_t size = 0;
        rpc_status why = {0};
        rpc__tls_result result = rpc__tls_read(conn->tls, plain, RPC__TLS_RECORD_MAX, &size, &why);
        if (result == RPC__TLS_WANT_INPUT)
            return;
        if (result == RPC__TLS_CLOSED) {
            peer_finished(conn);
            return;
        }
        if (result == RPC__TLS_FAILED) {
            rpc__conn_offence(conn, RPC_LIMIT_NONE, NGHTTP2_PROTOCOL_ERROR, why.message);
            conn->peer_finished = true;
            return;
        }
        if (conn->state == RPC__CONN_OPEN && size > 0)
            rpc__session_receive(conn, rpc_bytes_of(plain, size));
    }
}

static void receive_tls(rpc__conn *conn)
{
    uint8_t plain[RPC__TLS_RECORD_MAX];
    if (conn->state == RPC__CONN_HANDSHAKE)
        handshake(conn);
    receive_records(conn, plain);
    if (conn->limits->overwrite_messages)
        explicit_bzero(plain, sizeof plain);
}

static void receive(rpc__conn *conn, rpc_bytes bytes)
{
    if (!conn->tls) {
        if (conn->state == RPC__CONN_OPEN)
            rpc__session_receive(conn, bytes);
        return;
    }
    if (conn->peer_finished)
        return;
    rpc__tls_input(conn->tls, bytes);
    receive_tls(conn);
}

static void on_read(void *user, size_t size, const rpc_status *status)
{
    rpc__conn *conn = user;
    rpc__lane *lane = conn->lane;
    rpc__conn_ref(conn);
    lane->now_us = rpc__conn_now_us(conn);
    if (status->code == RPC_OK) {
        conn->read_us = rpc__conn_now_us(conn);
        rpc__tally_add(&conn->tally.bytes_received, size);
        if (conn->keepalive_ms > 0)
            conn->heard_us = conn->read_us;
        rpc__conn_input_took(conn, size);
        conn->receiving = true;
        if (size > 0)
            receive(conn, rpc_bytes_of(conn->in, size));
        conn->receiving = false;
    } else {
        rpc_status why = *status;
        if (status->code == RPC_OUT_OF_RANGE)
            rpc_status_set(&why, RPC_UNAVAILABLE, "connection: the peer closed it");
        if (conn->state == RPC__CONN_HANDSHAKE)
            conn->ops->on_event(conn, RPC_EVENT_HANDSHAKE_FAILED, RPC_LIMIT_NONE, why.message);
        conn->peer_finished = true;
        fail(conn, &why);
    }
    rpc__lane_settle(lane);
    rpc__conn_unref(conn);
}

static void on_written(void *user, const rpc_status *status)
{
    rpc__conn *conn = user;
    rpc__lane *lane = conn->lane;
    rpc__conn_ref(conn);
    if (status->code != RPC_OK)
        fail(conn, status);
    rpc__lane_settle(lane);
    rpc__conn_unref(conn);
}

static void on_open(void *user, const rpc_status *status)
{
    rpc__conn *conn = user;
    rpc__lane *lane = conn->lane;
    rpc__conn_ref(conn);
    if (status->code != RPC_OK)
        fail(conn, status);
    else
        rpc__conn_begin(conn);
    rpc__lane_settle(lane);
    rpc__conn_unref(conn);
}

static void on_closed(void *user)
{
    gone(user);
}

const rpc__stream_handler rpc__conn_stream_handler = {on_open, on_read, on_written, on_closed};

void rpc__conn_begin(rpc__conn *conn)
{
    if (!conn->stream || conn->state >= RPC__CONN_CLOSING)
        return;
    /* A server has set it before other threads could look for this connection. */
    if (!conn->server)
        snprintf(conn->address, sizeof conn->address, "%s", rpc__stream_address(conn->stream));
    conn->peer.has_uid = rpc__stream_uid(conn->stream, &conn->peer.uid);
    conn->opened_us = conn->idle_since_us = conn->progress_us = rpc__conn_now_us(conn);
    conn->heard_us = conn->opened_us;
    conn->state = RPC__CONN_HANDSHAKE;
    rpc__census_enter(rpc__runtime_census(conn->lane->runtime), &conn->entry,
        RPC__CENSUS_CONNECTION, conn, conn->owner);
    conn->ops->on_event(conn, RPC_EVENT_ACCEPTED, RPC_LIMIT_NONE, "");
    if (!conn->tls)
        ready(conn);
    else if (!conn->server)
        handshake(conn);
    start_timer(conn);
}

/* Tasks of the owner's; each holds a reference that it gives back here. */
static void start_task(void *arg)
{
    rpc__conn *conn = arg;
    conn->next = conn->lane->conns;
    conn->lane->conns = conn;
    rpc__conn_begin(conn);
    rpc__lane_settle(conn->lane);
    rpc__conn_unref(conn);
}

static void drain_task(void *arg)
{
    rpc__conn *conn = arg;
    rpc__conn_drain(conn);
    rpc__lane_settle(conn->lane);
    rpc__conn_unref(conn);
}

static void abort_task(void *arg)
{
    rpc__conn *conn = arg;
    rpc_status why;
    rpc_status_set(&why, RPC_UNAVAILABLE, "connection: the server is shutting down");
    if (conn->state < RPC__CONN_CLOSED)
        fail(conn, &why);
    rpc__lane_settle(conn->lane);
    rpc__conn_unref(conn);
}
