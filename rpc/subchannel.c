/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a channel: its name resolved, its addresses tried in turn, back-off.
 *
 *  IDLE ──asked──▶ CONNECTING ──SETTINGS came──▶ READY ──lost, GOAWAY, idle──▶ IDLE
 *                     └──no address answers──▶ FAILED ──time──▶ (tries again) ──▶ READY
 *                                                └──no call for idle_ms──▶ IDLE */
#include "channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER_SERVED_US 1000000

static void connect_now(rpc__sub *sub);
static void dial_next(rpc__sub *sub);

static rpc_channel *hold(rpc__sub *sub)
{
    rpc__lane_ref(rpc__channel_home(sub->channel));
    return sub->channel;
}

static void let_go(rpc__sub *sub)
{
    rpc__lane_unref(rpc__channel_home(sub->channel));
}

static int64_t now_us(const rpc__sub *sub)
{
    return rpc__runtime_now_us(sub->channel->runtime);
}

/* ---- back-off ------------------------------------------------------------------------------ */

static void on_timer(void *arg)
{
    rpc__sub *sub = arg;
    rpc__sub_ask(sub, RPC__SUB_ASK_TIMER);
    let_go(sub);
}

static void stop_timer(rpc__sub *sub)
{
    if (sub->timer && rpc_timer_cancel(sub->timer))
        let_go(sub);
    sub->timer = NULL;
}

static void start_timer(rpc__sub *sub, int64_t delay_ms)
{
    hold(sub);
    if (rpc_timer_start(sub->channel->runtime, delay_ms > 1 ? delay_ms : 1, on_timer, sub,
            &sub->timer) == RPC_OK)
        return;
    /* Nothing would wake it: let the next call try. */
    sub->timer = NULL;
    let_go(sub);
    rpc__balance_state(sub, RPC__SUB_IDLE);
}

int64_t rpc__jitter(int64_t delay_ms)
{
    uint32_t random;
    rpc_random(&random, sizeof random);
    return delay_ms - delay_ms / 5 + delay_ms * (int64_t)(random % 401) / 1000;
}

/* 1.6 times longer each time, and a fifth more or less so that clients of a server that comes
 * back do not come all at once; counted from the attempt's begin (connection-backoff.md). */
static int64_t next_delay_ms(rpc__sub *sub)
{
    const rpc_channel *channel = sub->channel;
    int64_t backoff = sub->backoff_ms == 0 ? channel->backoff_initial_ms : sub->backoff_ms * 8 / 5;
    if (backoff > channel->backoff_max_ms)
        backoff = channel->backoff_max_ms;
    sub->backoff_ms = backoff;
    return rpc__jitter(backoff) - (now_us(sub) - sub->attempt_us) / 1000;
}

static void attempt_failed(rpc__sub *sub)
{
    rpc_status why = sub->error;
    atomic_fetch_add(&sub->channel->stats.connections_failed, 1);
    rpc_status_set(&sub->error, RPC_UNAVAILABLE, "channel: no connection to %.200s: %.150s",
        sub->url.scheme == RPC__SCHEME_IPC ? sub->url.path : sub->authority, why.message);
    start_timer(sub, next_delay_ms(sub));
    if (sub->timer)
        rpc__balance_state(sub, RPC__SUB_FAILED);
}

static bool still_wanted(rpc__sub *sub)
{
    rpc_channel *channel = sub->channel;
    pthread_mutex_lock(&channel->lock);
    bool wanted = channel->line || now_us(sub) - channel->asked_us < channel->limits.idle_ms * 1000;
    pthread_mutex_unlock(&channel->lock);
    return wanted;
}

static void backoff_over(rpc__sub *sub)
{
    if (sub->timer)
        (void)rpc_timer_cancel(sub->timer);
    sub->timer = NULL;
    if (sub->conn || sub->resolution || sub->state == RPC__SUB_CLOSED)
        return;
    if (!still_wanted(sub))
        rpc__balance_state(sub, RPC__SUB_IDLE);
    else
        connect_now(sub);
}

/* ---- the connection ------------------------------------------------------------------------- */

bool rpc__sub_usable(const rpc__sub *sub)
{
    const rpc__conn *conn = sub->conn;
    return conn && sub->ready && conn->state == RPC__CONN_OPEN && !conn->goaway_seen;
}

/* A server that takes connections and ends them at once must not be asked again and again. */
static bool was_of_no_use(const rpc__sub *sub)
{
    return !sub->conn->served && now_us(sub) - sub->ready_us < NEVER_SERVED_US;
}

void rpc__sub_lost(rpc__sub *sub)
{
    if (!sub->ready)
        return;
    bool useless = was_of_no_use(sub);
    sub->conn = NULL;
    sub->ready = false;
    if (sub->state == RPC__SUB_CLOSED)
        return;
    if (!useless) {
        sub->backoff_ms = 0;
        rpc__balance_state(sub, RPC__SUB_IDLE);
        return;
    }
    start_timer(sub, next_delay_ms(sub));
    if (sub->timer)
        rpc__balance_state(sub, RPC__SUB_CONNECTING);
}

static bool is_of_old_tls(const rpc__sub *sub)
{
    pthread_mutex_lock(&sub->channel->lock);
    const bool old = sub->tls_turn != sub->channel->tls_turn;
    pthread_mutex_unlock(&sub->channel->lock);
    return old;
}

/* Calls end on the connection that they have; the next ones go by a new one, which is made now: no
 * call is the first to find out that nothing is ready. */
static void renew(rpc__sub *sub)
{
    rpc__conn *old = sub->conn;
    sub->conn = NULL;
    sub->ready = false;
    rpc__conn_drain(old);
    rpc__balance_state(sub, RPC__SUB_IDLE);
    connect_now(sub);
}

static void conn_ready(rpc__conn *conn)
{
    rpc__sub *sub = conn->owner;
    if (sub->conn != conn)
        return;
    if (is_of_old_tls(sub)) {
        renew(sub);
        return;
    }
    sub->ready = true;
    sub->ready_us = now_us(sub);
    atomic_fetch_add(&sub->channel->stats.connections, 1);
    rpc__balance_state(sub, RPC__SUB_READY);
}

static void conn_request(rpc__conn *conn, rpc_call *call)
{
    (void)conn, (void)call;
}

/* The server finds our pings too many: half as many from now on, on every connection. One that
 * says so again and again has us at one a year. */
static void slow_down(rpc__conn *conn, rpc_channel *channel)
{
    if (conn->keepalive_ms > RPC__KEEPALIVE_MS_MAX / 2)
        return;
    int64_t doubled = 2 * conn->keepalive_ms, old = atomic_load(&channel->keepalive_ms);
    while (old < doubled && !atomic_compare_exchange_weak(&channel->keepalive_ms, &old, doubled))
        continue;
}

static void conn_goaway(rpc__conn *conn, uint32_t h2_error, rpc_bytes debug)
{
    rpc__sub *sub = conn->owner;
    if (h2_error == NGHTTP2_ENHANCE_YOUR_CALM &&
        rpc_bytes_equal(debug, rpc_bytes_str(RPC__TOO_MANY_PINGS)))
        slow_down(conn, sub->channel);
    if (sub->conn == conn)
        rpc__sub_lost(sub);
}

static void conn_event(
    rpc__conn *conn, rpc_event_kind kind, rpc_limit_kind limit, const char *detail)
{
    (void)conn, (void)kind, (void)limit, (void)detail;
}

static void conn_gone(rpc__conn *conn, const rpc_status *why)
{
    rpc__sub *sub = conn->owner;
    if (sub->conn == conn && sub->ready) {
        rpc__sub_lost(sub);
    } else if (sub->conn == conn) {
        sub->conn = NULL;
        sub->error = *why;
        if (sub->state != RPC__SUB_CLOSED)
            dial_next(sub);
    }
    rpc__channel_conns(sub->channel, -1);
}

static const rpc__conn_owner conn_owner = {.on_ready = conn_ready,
    .on_request = conn_request,
    .on_goaway = conn_goaway,
    .on_event = conn_event,
    .on_gone = conn_gone};

static rpc__conn *make_conn(rpc__sub *sub)
{
    rpc_channel *channel = sub->channel;
    rpc__tls *tls = NULL;
    pthread_mutex_lock(&channel->lock);
    rpc__tls_context *context = channel->tls ? rpc__tls_context_ref(channel->tls) : NULL;
    const bool own_name = channel->own_name;
    sub->tls_turn = channel->tls_turn;
    pthread_mutex_unlock(&channel->lock);
    const bool good = !context || rpc__tls_new(context, &tls, &sub->error) == RPC_OK;
    rpc__tls_context_unref(context);
    if (!good)
        return NULL;
    rpc__conn *conn = NULL;
    if (tls && !own_name && !rpc__tls_set_name(tls, sub->url.host))
        rpc_status_set(&sub->error, RPC_RESOURCE_EXHAUSTED, "no memory");
    else
        conn = rpc__conn_new(sub->lane, false, &channel->limits, &conn_owner, sub, tls);
    if (conn) {
        conn->keepalive_ms = atomic_load(&channel->keepalive_ms);
        return conn;
    }
    rpc__tls_free(tls);
    rpc_status_set(&sub->error, RPC_RESOURCE_EXHAUSTED, "no memory");
    return NULL;
}

static bool dial(rpc__sub *sub, const rpc__url *url)
{
    rpc__conn *conn = make_conn(sub);
    if (!conn)
        return false;
    if (rpc__stream_dial(sub->channel->runtime, url, sub->channel->connect_ms, &sub->lane->strand,
            &rpc__conn_stream_handler, conn, &conn->stream, &sub->error) != RPC_OK) {
        rpc__conn_unref(conn);
        return false;
    }
    sub->conn = conn;
    conn->next = sub->lane->conns;
    sub->lane->conns = conn;
    rpc__channel_conns(sub->channel, 1);
    return true;
}

/* Of a name's addresses each is tried once in an attempt, beginning with this connection's own. */
static void dial_next(rpc__sub *sub)
{
    while (sub->tried < sub->addresses.count) {
        rpc__url url = sub->url;
        unsigned at = (sub->turn + sub->tried++) % sub->addresses.count;
        if (url.scheme != RPC__SCHEME_IPC)
            memcpy(url.host, sub->addresses.text[at], sizeof sub->addresses.text[at]);
        if (dial(sub, &url))
            return;
    }
    attempt_failed(sub);
}

/* ---- the name ----------------------------------------------------------------------------------
 */

static void resolved(void *arg)
{
    rpc__sub *sub = arg;
    rpc__resolution *resolution = sub->resolution;
    sub->resolution = NULL;
    sub->addresses = resolution->addresses;
    sub->error = resolution->status;
    free(resolution);
    if (sub->state != RPC__SUB_CLOSED) {
        sub->tried = 0;
        dial_next(sub);
    }
    rpc__lane_settle(sub->lane);
    let_go(sub);
}

static void start_resolving(rpc__sub *sub)
{
    rpc__resolution *resolution = calloc(1, sizeof *resolution);
    if (!resolution) {
        rpc_status_set(&sub->error, RPC_RESOURCE_EXHAUSTED, "no memory");
        attempt_failed(sub);
        return;
    }
    resolution->strand = &sub->lane->strand;
    resolution->resolve = sub->channel->resolve;
    resolution->ctx = sub->channel->resolve_ctx;
    memcpy(resolution->host, sub->url.host, sizeof resolution->host);
    rpc__task_init(&resolution->done, resolved, sub);
    sub->resolution = resolution;
    hold(sub);
    if (rpc__resolve(sub->channel->runtime, resolution))
        return;
    let_go(sub);
    sub->resolution = NULL;
    sub->error = resolution->status;
    free(resolution);
    attempt_failed(sub);
}

/* An address or a socket's path needs no resolving. */
static bool known(rpc__sub *sub)
{
    if (sub->url.scheme != RPC__SCHEME_IPC && !rpc__url_numeric(&sub->url))
        return false;
    sub->addresses.count = 1;
    snprintf(sub->addresses.text[0], sizeof sub->addresses.text[0], "%.45s", sub->url.host);
    return true;
}

static void connect_now(rpc__sub *sub)
{
    sub->attempt_us = now_us(sub);
    sub->tried = 0;
    if (sub->state == RPC__SUB_IDLE)
        rpc__balance_state(sub, RPC__SUB_CONNECTING);
    if (known(sub))
        dial_next(sub);
    else
        start_resolving(sub);
}

/* ---- asked from any thread
 * ------------------------------------------------------------------------ */

static void close_sub(rpc__sub *sub)
{
    rpc_status why;
    rpc_status_set(&why, RPC_CANCELLED, "channel: it is being closed");
    stop_timer(sub);
    rpc__balance_state(sub, RPC__SUB_CLOSED);
    for (rpc__conn *conn = sub->lane->conns; conn; conn = conn->next) {
        while (conn->calls)
            rpc__call_end(conn->calls, RPC_CANCELLED, why.message, NGHTTP2_CANCEL);
        rpc__conn_close(conn, &why);
    }
}

static void wake(void *arg)
{
    rpc__sub *sub = arg;
    unsigned asked = atomic_exchange(&sub->asked, 0);
    bool closing = asked & RPC__SUB_ASK_CLOSE;
    if (closing)
        close_sub(sub);
    if (asked & RPC__SUB_ASK_TIMER)
        backoff_over(sub);
    if (asked & RPC__SUB_ASK_RENEW && sub->ready && is_of_old_tls(sub))
        renew(sub);
    if (asked & RPC__SUB_ASK_CONNECT && sub->state == RPC__SUB_IDLE)
        connect_now(sub);
    rpc__lane_settle(sub->lane);
    if (closing)
        rpc__channel_sub_closed(sub->channel);
    let_go(sub);
}

void rpc__sub_ask(rpc__sub *sub, unsigned what)
{
    if (atomic_fetch_or(&sub->asked, what) != 0)
        return;
    hold(sub);
    rpc__strand_post(&sub->lane->strand, &sub->wake);
}

void rpc__sub_init(rpc__sub *sub)
{
    rpc__task_init(&sub->wake, wake, sub);
    if (sub->url.scheme == RPC__SCHEME_IPC)
        snprintf(sub->authority, sizeof sub->authority, "localhost");
    else
        snprintf(sub->authority, sizeof sub->authority,
            strchr(sub->url.host, ':') ? "[%s]:%u" : "%s:%u", sub->url.host,
            (unsigned)sub->url.port);
}
