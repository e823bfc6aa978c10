/* SPDX-License-Identifier: Apache-2.0 */
/* A call's life: made, attached to a stream, asked from any thread, ended once. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void poke_task(void *arg);

static rpc_call *recycled(rpc__lane *lane)
{
    if (!rpc__lane_here(lane) || !lane->free_calls)
        return NULL;
    rpc_call *call = lane->free_calls;
    lane->free_calls = call->pending_next;
    lane->free_count--;
    rpc_arena *arena = call->arena;
    pthread_mutex_destroy(&call->lock);
    memset(call, 0, sizeof *call);
    call->arena = arena;
    return call;
}

static rpc_call *fresh(rpc__lane *lane, size_t arena_budget)
{
    rpc_call *call = calloc(1, sizeof *call);
    if (call)
        call->arena = rpc_arena_new(arena_budget);
    if (!call || !call->arena) {
        free(call);
        return NULL;
    }
    rpc_arena_meter meter = rpc__memory_meter(lane->memory);
    rpc_arena_set_meter(call->arena, &meter);
    rpc__memory_add(lane->memory, sizeof *call);
    return call;
}

rpc_call *rpc__call_new(rpc__lane *lane, rpc__lane *home, bool server, size_t arena_budget)
{
    rpc_call *call = recycled(lane);
    if (!call)
        call = fresh(lane, arena_budget);
    if (!call)
        return NULL;
    if (pthread_mutex_init(&call->lock, NULL) != 0) {
        rpc_arena_free(call->arena);
        free(call);
        rpc__memory_give(lane->memory, sizeof *call);
        return NULL;
    }
    rpc__lane_ref(home);
    call->home = home;
    atomic_init(&call->lane, lane);
    call->server = server;
    atomic_init(&call->refs, 1);
    call->deadline_us = RPC_NO_DEADLINE;
    /* One look at the clock for all requests that arrived together. */
    call->started_us = server ? lane->now_us : rpc__runtime_now_us(lane->runtime);
    call->queue_end = &call->queue;
    call->inbox_end = &call->inbox;
    rpc__task_init(&call->poke, poke_task, call);
    return call;
}

void rpc__call_destroy(rpc_call *call, rpc__lane *lane)
{
    pthread_mutex_destroy(&call->lock);
    rpc_arena_free(call->arena);
    free(call);
    rpc__memory_give(lane->memory, sizeof *call);
}

rpc_call *rpc_call_ref(rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

void rpc_call_unref(rpc_call *call)
{
    if (!call || atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    rpc__lane *lane = call->lane, *home = call->home;
    rpc__conn *conn = call->conn;
    rpc__out_headers_free(&call->out_headers);
    rpc__out_headers_free(&call->out_trailers);
    if (call->overwrite)
        rpc_arena_overwrite(call->arena);
    if (rpc__lane_here(lane) && lane->free_count < RPC__FREE_CALLS_MAX) {
        rpc_arena_reset(call->arena);
        call->pending_next = lane->free_calls;
        lane->free_calls = call;
        lane->free_count++;
    } else {
        rpc__call_destroy(call, lane);
    }
    if (conn)
        rpc__conn_unref(conn);
    rpc__lane_unref(home);
}

void rpc__call_attach(rpc_call *call, rpc__conn *conn, int32_t stream_id)
{
    rpc__conn_ref(conn);
    rpc_call_ref(call); /* the connection's, until it is detached */
    call->conn = conn;
    call->overwrite = conn->limits->overwrite_messages;
    call->stream_id = stream_id;
    call->attached = true;
    rpc__tally_add(&conn->tally.streams_started, 1);
    rpc__tally_time(&conn->tally.last_stream_us, call->started_us);
    call->next = conn->calls;
    if (call->next)
        call->next->prev = call;
    conn->calls = call;
    conn->call_count++;
    if (conn->timer_slow) {
        conn->timer_slow = false;
        rpc__conn_tick_soon(conn);
    }
    if (call->server)
        rpc_call_unref(call); /* its maker was the connection itself */
}

static void detach(rpc_call *call)
{
    rpc__conn *conn = call->conn;
    call->attached = false;
    bool whole = call->server ? call->trailers_sent : call->remote_closed;
    rpc__tally_add(whole ? &conn->tally.streams_succeeded : &conn->tally.streams_failed, 1);
    if (conn->h2)
        (void)nghttp2_session_set_stream_user_data(conn->h2, call->stream_id, NULL);
    rpc__headers_drop_refs(&call->headers);
    rpc__headers_drop_refs(&call->trailers);
    if (call->prev)
        call->prev->next = call->next;
    else
        conn->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->next = call->prev = NULL;
    if (--conn->call_count == 0)
        conn->idle_since_us = rpc__conn_now_us(conn);
    rpc_call_unref(call);
}

void rpc__call_pend(rpc_call *call)
{
    if (call->pending)
        return;
    call->pending = true;
    rpc_call_ref(call);
    call->pending_next = NULL;
    rpc__lane *lane = call->lane;
    *lane->pending_end = call;
    lane->pending_end = &call->pending_next;
}

static void stop_deadline(rpc_call *call)
{
    if (call->deadline_timer && rpc_timer_cancel(call->deadline_timer))
        rpc_call_unref(call);
    call->deadline_timer = NULL;
}

void rpc__call_end(rpc_call *call, rpc_code code, const char *message, uint32_t reset)
{
    if (call->over)
        return;
    call->over = true;
    rpc_status_text(&call->status, code, message);
    call->ended_us = rpc__runtime_now_us(call->lane->runtime);
    if (call->stats)
        rpc__stats_ended(call->stats, call, code, call->ended_us - call->started_us);
    if (code == RPC_CANCELLED || code == RPC_DEADLINE_EXCEEDED ||
        (call->server && !call->trailers_sent))
        atomic_store(&call->cancelled, true);
    rpc__call_pend(call);
    pthread_mutex_lock(&call->lock);
    call->inbox_over = true;
    pthread_mutex_unlock(&call->lock);
    if (call->attached && reset != NGHTTP2_NO_ERROR && call->conn->h2)
        (void)nghttp2_submit_rst_stream(call->conn->h2, NGHTTP2_FLAG_NONE, call->stream_id, reset);
    stop_deadline(call);
    rpc__call_drop_message(call);
    if (call->attached)
        detach(call);
}

void rpc__call_leave_stream(rpc_call *call, uint32_t reset)
{
    rpc__call_drop_message(call);
    if (!call->attached)
        return;
    rpc__conn *conn = call->conn;
    if (reset != NGHTTP2_NO_ERROR && conn->h2)
        (void)nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, call->stream_id, reset);
    detach(call);
    call->conn = NULL;
    rpc__conn_unref(conn);
}

void rpc__call_refuse(rpc_call *call, rpc_code code, const char *message)
{
    if (call->over)
        return;
    if (!call->attached || call->headers_sent) {
        rpc__call_end(
            call, code, message, code == RPC_INTERNAL ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
        return;
    }
    pthread_mutex_lock(&call->lock);
    call->finish_asked = true;
    rpc_status_set(&call->finish, code, "%s", message);
    pthread_mutex_unlock(&call->lock);
    (void)rpc__call_trailers_submit(call);
    rpc__call_end(call, code, message, NGHTTP2_NO_ERROR);
}

void rpc__call_shed(rpc_call *call, const char *message)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)call->conn->limits->retry_pushback_ms);
    pthread_mutex_lock(&call->lock);
    /* Without memory even for this, the status must do. */
    (void)rpc__out_header_add(
        &call->out_trailers, "grpc-retry-pushback-ms", rpc_bytes_str(text), true);
    pthread_mutex_unlock(&call->lock);
    rpc__call_limit(call, RPC_LIMIT_SERVER_MEMORY, message);
    rpc__call_refuse(call, RPC_RESOURCE_EXHAUSTED, message);
}

void rpc__call_limit(rpc_call *call, rpc_limit_kind limit, const char *detail)
{
    if (call->server && call->conn)
        call->conn->ops->on_event(call->conn, RPC_EVENT_LIMIT, limit, detail);
}

/* What was asked for when the call ended: at the top of the strand, outside all callbacks. */
static void deliver_end(rpc_call *call)
{
    rpc__retry_done(call);
    if (call->parent || call->has_children)
        rpc__family_end(call);
    pthread_mutex_lock(&call->lock);
    rpc__call_move_inbox(call);
    bool waiting = call->afters != NULL;
    bool owed = call->answer_owed;
    void (*on_cancel)(rpc_call *, void *) = owed ? call->on_cancel : NULL;
    pthread_mutex_unlock(&call->lock);
    rpc__call_drop_queue(call);
    if (waiting)
        rpc__call_afters_drop(call);
    if (on_cancel)
        on_cancel(call, call->on_cancel_arg);
    if (call->handler.on_end)
        call->handler.on_end(call, &call->status, call->user);
    rpc__intercept_end(call, &call->status);
    if (call->on_over)
        call->on_over(call, &call->status);
    if (call->context_release)
        call->context_release(call->context);
    if (call->trace_release)
        call->trace_release(call->trace);
    call->context = call->trace = NULL;
    call->context_release = call->trace_release = NULL;
    call->on_over = NULL;
    call->handler = (rpc_handler){0};
}

void rpc__call_move(rpc_call *call, rpc__lane *lane)
{
    call->move_to = lane;
    rpc__call_pend(call);
}

/* Here none of its callbacks is running, and no list of this lane holds it. */
static void move(rpc_call *call)
{
    rpc__lane *to = call->move_to;
    if (!to || call->over || call->pending)
        return;
    call->move_to = NULL;
    call->lane = to;
    rpc__call_ask(call, RPC__ASK_START);
}

void rpc__call_deliver(rpc_call *call)
{
    if (call->over) {
        deliver_end(call);
        return;
    }
    if (call->writable_due) {
        call->writable_due = false;
        if (call->handler.on_writable)
            call->handler.on_writable(call, call->user);
    }
    if (call->retry.due) {
        call->retry.due = false;
        rpc__channel_begin(call);
    }
    move(call);
}

/* ---- asking
 * ---------------------------------------------------------------------------------------- */

static void deadline_passed(rpc_call *call)
{
    static const char passed[] = "call: its deadline has passed";
    char text[128];
    if (!call->server) {
        rpc__call_end(call, RPC_DEADLINE_EXCEEDED, passed, NGHTTP2_CANCEL);
        return;
    }
    if (call->deadline_setting)
        snprintf(text, sizeof text, "%s: %s of this method is %lld", passed, call->deadline_setting,
            (long long)(call->deadline_us - call->started_us) / 1000);
    rpc__call_refuse(call, RPC_DEADLINE_EXCEEDED, call->deadline_setting ? text : passed);
}

/* Client: before the call looks for a connection. */
static bool intercept(rpc_call *call)
{
    rpc_status status = {0};
    if (rpc__intercept_start(call, &status))
        return true;
    if (status.code != RPC_OK)
        rpc__call_end(call, status.code, status.message, NGHTTP2_NO_ERROR);
    return false;
}

/* A server's call that was finished with an error before keeps that: flow control holds data back,
 * never trailers. After OK the peer would take what it has for the whole. */
static void cancelled(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    bool failed = call->server && call->finish_asked && call->finish.code != RPC_OK;
    pthread_mutex_unlock(&call->lock);
    if (failed && call->attached && !call->trailers_sent &&
        rpc__call_trailers_submit(call) == RPC_OK)
        rpc__call_end(call, call->finish.code, call->finish.message, NGHTTP2_NO_ERROR);
    else
        rpc__call_end(call, RPC_CANCELLED, "call: cancelled by us", NGHTTP2_CANCEL);
}

static void act(rpc_call *call, unsigned asked)
{
    if (call->over)
        return;
    if (asked & RPC__ASK_CREDIT)
        rpc__call_credit(call);
    if (asked & RPC__ASK_CANCEL) {
        cancelled(call);
        return;
    }
    if (asked & RPC__ASK_DEADLINE) {
        deadline_passed(call);
        return;
    }
    const unsigned takes = RPC__ASK_START | RPC__ASK_SEND | RPC__ASK_FINISH | RPC__ASK_HALF_CLOSE;
    if (asked & takes)
        rpc__call_take_inbox(call);
    if (asked & RPC__ASK_START && intercept(call))
        rpc__channel_begin(call);
    if (call->over)
        return;
    if (asked & RPC__ASK_FINISH)
        call->finish_ready = true;
    if (asked & RPC__ASK_HALF_CLOSE)
        call->half_close_ready = true;
    if (asked & RPC__ASK_WRITABLE) {
        call->writable_due = true;
        rpc__call_pend(call);
    }
    const unsigned news = RPC__ASK_SEND | RPC__ASK_FINISH | RPC__ASK_HALF_CLOSE | RPC__ASK_RESUME;
    if (call->attached && asked & news)
        rpc__call_push(call);
}

static unsigned take_asked(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    unsigned asked = call->asked;
    call->asked = 0;
    call->poke_queued = false;
    pthread_mutex_unlock(&call->lock);
    return asked;
}

bool rpc__call_follow(rpc_call *call, rpc__task *task)
{
    rpc__lane *lane = call->lane;
    if (rpc__lane_here(lane))
        return false;
    rpc__strand_post(&lane->strand, task);
    return true;
}

static void poke_task(void *arg)
{
    rpc_call *call = arg;
    if (rpc__call_follow(call, &call->poke))
        return;
    rpc__lane *lane = call->lane;
    act(call, take_asked(call));
    rpc__lane_settle(lane);
    rpc_call_unref(call);
}

void rpc__call_ask(rpc_call *call, unsigned what)
{
    rpc__lane *lane = call->lane;
    if (rpc__lane_here(lane)) {
        act(call, what);
        return;
    }
    pthread_mutex_lock(&call->lock);
    call->asked |= what;
    bool post = !call->poke_queued;
    call->poke_queued = true;
    pthread_mutex_unlock(&call->lock);
    if (post) {
        rpc_call_ref(call);
        rpc__strand_post(&lane->strand, &call->poke);
    }
}

/* With a reply (owned here, may be NULL) that goes out past the queue's bounds. */
static void finish(rpc_call *call, rpc__out *reply, rpc_code code, const char *message)
{
    bool here = rpc__lane_here(call->lane);
    pthread_mutex_lock(&call->lock);
    bool first = call->server && !call->finish_asked;
    bool owed = call->answer_owed;
    if (reply && !call->inbox_over && !call->closed_for_send) {
        rpc__call_enqueue(call, reply);
        reply = NULL;
    }
    if (here) {
        rpc__call_move_inbox(call);
        call->headers_frozen = call->headers_frozen || first;
    }
    if (first) {
        call->finish_asked = call->closed_for_send = true;
        rpc_status_text(&call->finish, code, message ? message : "");
    }
    call->answer_owed = false;
    pthread_mutex_unlock(&call->lock);
    free(reply);
    if (first && here && !call->over) {
        call->finish_ready = true;
        if (call->attached)
            rpc__call_push(call);
    } else if (first && !here) {
        rpc__call_ask(call, RPC__ASK_FINISH);
    }
    if (owed)
        rpc_call_unref(call);
}

void rpc_call_finish(rpc_call *call, rpc_code code, const char *message)
{
    finish(call, NULL, code, message);
}

void rpc_call_fail(rpc_call *call, const rpc_status *status)
{
    rpc_call_finish(call, status->code, status->message);
}

void rpc__call_closure(const ProtobufCMessage *reply, void *data)
{
    rpc_call *call = data;
    rpc__out *out = reply ? rpc__call_pack(call, reply) : NULL;
    if (!reply)
        finish(call, NULL, RPC_INTERNAL, "call: the handler gave no reply");
    else if (!out)
        finish(call, NULL, RPC_RESOURCE_EXHAUSTED, "call: no memory for the reply");
    else
        finish(call, out, RPC_OK, "");
}

void rpc_call_half_close(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    bool first = !call->server && !call->closed_for_send;
    if (first)
        call->closed_for_send = true;
    pthread_mutex_unlock(&call->lock);
    if (first)
        rpc__call_ask(call, RPC__ASK_HALF_CLOSE);
}

void rpc_call_cancel(rpc_call *call)
{
    atomic_store(&call->cancelled, true);
    rpc__call_ask(call, RPC__ASK_CANCEL);
}

void rpc_call_resume(rpc_call *call)
{
    rpc__call_ask(call, RPC__ASK_RESUME);
}

static void on_deadline(void *arg)
{
    rpc_call *call = arg;
    rpc__call_ask(call, RPC__ASK_DEADLINE);
    rpc_call_unref(call);
}

void rpc__call_set_deadline(rpc_call *call, int64_t deadline_us)
{
    /* A channel's call has it from its start, where other threads may read it. */
    if (call->deadline_us != deadline_us)
        call->deadline_us = deadline_us;
    if (deadline_us == RPC_NO_DEADLINE || call->over)
        return;
    int64_t left = deadline_us - rpc__runtime_now_us(call->lane->runtime);
    if (left <= 0) {
        rpc__call_ask(call, RPC__ASK_DEADLINE);
        return;
    }
    rpc_call_ref(call);
    if (rpc_timer_start(call->lane->runtime, (left + 999) / 1000, on_deadline, call,
            &call->deadline_timer) == RPC_OK)
        return;
    call->deadline_timer = NULL;
    rpc_call_unref(call);
    rpc__call_ask(call, RPC__ASK_CANCEL);
}

/* ---- compression
 * --------------------------------------------------------------------------------------------- */

rpc_code rpc_call_set_compression(rpc_call *call, rpc_encoding encoding)
{
    rpc_code code = RPC_OK;
    pthread_mutex_lock(&call->lock);
    if (!call->server || call->headers_frozen || call->inbox_over)
        code = RPC_FAILED_PRECONDITION;
    else if (rpc__encoding_name(encoding) && !(call->peer_accept & RPC_ACCEPT(encoding)))
        code = RPC_UNIMPLEMENTED;
    else
        call->send_encoding = encoding;
    pthread_mutex_unlock(&call->lock);
    return code;
}

void rpc_call_compress_messages(rpc_call *call, bool compress)
{
    pthread_mutex_lock(&call->lock);
    call->send_plain = !compress;
    pthread_mutex_unlock(&call->lock);
}

bool rpc_call_message_compressed(const rpc_call *call)
{
    return call->last_compressed;
}

void rpc_call_on_cancel(rpc_call *call, void (*fn)(rpc_call *call, void *arg), void *arg)
{
    pthread_mutex_lock(&call->lock);
    call->on_cancel = fn;
    call->on_cancel_arg = arg;
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_receive_window(rpc_call *call, size_t bytes)
{
    if (!call->attached || bytes <= call->stream_window || bytes > INT32_MAX)
        return;
    call->stream_window = bytes;
    (void)nghttp2_session_set_local_window_size(
        call->conn->h2, NGHTTP2_FLAG_NONE, call->stream_id, (int32_t)bytes);
}

/* ---- looking
 * ------------------------------------------------------------------------------------------- */

const char *rpc_call_path(const rpc_call *call)
{
    return call->path ? call->path : "";
}

const ProtobufCMethodDescriptor *rpc_call_method(const rpc_call *call)
{
    return call->method ? call->method->descriptor : NULL;
}

const rpc_peer *rpc_call_peer(const rpc_call *call)
{
    static const rpc_peer nobody = {.address = ""};
    bool settled = call->server || atomic_load(&call->committed);
    return settled && call->conn ? &call->conn->peer : &nobody;
}

const char *rpc_call_listener(const rpc_call *call)
{
    return call->listener ? call->listener : "";
}

int64_t rpc_call_deadline_us(const rpc_call *call)
{
    return call->deadline_us;
}

int64_t rpc_call_started_us(const rpc_call *call)
{
    return call->started_us;
}

int64_t rpc_call_ended_us(const rpc_call *call)
{
    return call->ended_us;
}

bool rpc_call_cancelled(const rpc_call *call)
{
    return atomic_load(&call->cancelled);
}

void rpc_call_counts(const rpc_call *call, uint64_t *ret_received, uint64_t *ret_sent)
{
    *ret_received = atomic_load_explicit(&call->received_bytes, memory_order_relaxed);
    *ret_sent = atomic_load_explicit(&call->sent_bytes, memory_order_relaxed);
}

rpc_arena *rpc_call_arena(rpc_call *call)
{
    return call->arena;
}

void rpc_call_set_context(rpc_call *call, void *context, void (*release)(void *context))
{
    if (call->context_release && call->context != context)
        call->context_release(call->context);
    call->context = context;
    call->context_release = release;
}

void *rpc_call_context(const rpc_call *call)
{
    return call->context;
}

void rpc_call_set_trace(rpc_call *call, void *trace, void (*release)(void *trace))
{
    if (call->trace_release && call->trace != trace)
        call->trace_release(call->trace);
    call->trace = trace;
    call->trace_release = release;
}

void *rpc_call_trace(const rpc_call *call)
{
    return call->trace;
}
