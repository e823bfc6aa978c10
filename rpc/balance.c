/* SPDX-License-Identifier: Apache-2.0 */
/* Which connection a call takes: the next ready one, or a place in the line until there is one. */
#include "channel.h"

#include <stdio.h>
#include <string.h>

static uint64_t bit(const rpc__sub *sub)
{
    return UINT64_C(1) << sub->index;
}

rpc__sub *rpc__balance_pick(rpc_channel *channel)
{
    uint64_t ready = atomic_load(&channel->ready_subs);
    if (!ready)
        return NULL;
    if (ready & (ready - 1)) {
        unsigned skip = atomic_fetch_add_explicit(&channel->turn, 1, memory_order_relaxed) %
                        (unsigned)__builtin_popcountll(ready);
        while (skip-- > 0)
            ready &= ready - 1;
    }
    return &channel->subs[__builtin_ctzll(ready)];
}

void rpc__balance_wake(rpc_channel *channel)
{
    uint64_t idle = atomic_load(&channel->idle_subs);
    for (; idle; idle &= idle - 1)
        rpc__sub_ask(&channel->subs[__builtin_ctzll(idle)], RPC__SUB_ASK_CONNECT);
}

/* ---- the line ----------------------------------------------------------------------------- */

/* Under the lock. */
static void unlink_call(rpc_channel *channel, rpc_call *call)
{
    *(call->prev ? &call->prev->next : &channel->line) = call->next;
    *(call->next ? &call->next->prev : &channel->line_end) = call->prev;
    call->next = call->prev = NULL;
    call->waiting = false;
    if (!call->resting)
        channel->line_count--;
    call->resting = false;
}

void rpc__balance_leave_line(rpc_channel *channel, rpc_call *call)
{
    if (!call->lined)
        return;
    call->lined = false;
    pthread_mutex_lock(&channel->lock);
    bool waiting = call->waiting;
    if (waiting)
        unlink_call(channel, call);
    pthread_mutex_unlock(&channel->lock);
    if (waiting)
        rpc_call_unref(call);
}

/* Under the lock. */
static void join_line(rpc_channel *channel, rpc_call *call, bool resting)
{
    rpc_call_ref(call);
    call->lined = true;
    call->resting = resting;
    call->prev = channel->line_end;
    *(channel->line_end ? &channel->line_end->next : &channel->line) = call;
    channel->line_end = call;
    call->waiting = true;
    if (!resting)
        channel->line_count++;
}

void rpc__balance_rest(rpc_channel *channel, rpc_call *call)
{
    pthread_mutex_lock(&channel->lock);
    join_line(channel, call, true);
    bool closing = atomic_load(&channel->closing);
    pthread_mutex_unlock(&channel->lock);
    if (closing)
        rpc__call_ask(call, RPC__ASK_START);
}

/* Which calls of the line begin anew. */
enum whom { IMPATIENT, WAITING, ALL };

static void send_line(rpc_channel *channel, enum whom whom)
{
    rpc_call *list = NULL, **end = &list;
    pthread_mutex_lock(&channel->lock);
    for (rpc_call *call = channel->line, *next; call; call = next) {
        next = call->next;
        if ((call->resting && whom != ALL) || (call->wait_for_ready && whom == IMPATIENT))
            continue;
        unlink_call(channel, call);
        *end = call;
        end = &call->next;
    }
    pthread_mutex_unlock(&channel->lock);
    while (list) {
        rpc_call *call = list;
        list = call->next;
        call->next = NULL;
        rpc__call_ask(call, RPC__ASK_START);
        rpc_call_unref(call);
    }
}

void rpc__balance_close(rpc_channel *channel)
{
    send_line(channel, ALL);
}

/* ---- state ---------------------------------------------------------------------------------- */

/* Under the lock. */
static rpc_channel_state aggregate(const rpc_channel *channel)
{
    unsigned in[RPC__SUB_CLOSED + 1] = {0};
    for (unsigned i = 0; i < channel->sub_count; i++)
        in[channel->subs[i].state]++;
    if (in[RPC__SUB_CLOSED])
        return RPC_CHANNEL_SHUTDOWN;
    if (in[RPC__SUB_READY])
        return RPC_CHANNEL_READY;
    if (in[RPC__SUB_CONNECTING])
        return RPC_CHANNEL_CONNECTING;
    return in[RPC__SUB_IDLE] ? RPC_CHANNEL_IDLE : RPC_CHANNEL_TRANSIENT_FAILURE;
}

static void set_bits(rpc__sub *sub)
{
    rpc_channel *channel = sub->channel;
    if (sub->state == RPC__SUB_READY)
        atomic_fetch_or(&channel->ready_subs, bit(sub));
    else
        atomic_fetch_and(&channel->ready_subs, ~bit(sub));
    if (sub->state == RPC__SUB_IDLE)
        atomic_fetch_or(&channel->idle_subs, bit(sub));
    else
        atomic_fetch_and(&channel->idle_subs, ~bit(sub));
}

void rpc__balance_state(rpc__sub *sub, rpc__sub_state state)
{
    rpc_channel *channel = sub->channel;
    pthread_mutex_lock(&channel->lock);
    sub->state = state;
    set_bits(sub);
    if (state == RPC__SUB_FAILED)
        channel->last_error = sub->error;
    rpc_channel_state now = aggregate(channel);
    bool tell = now != channel->state && channel->on_state && !channel->state_queued;
    channel->state_queued |= tell;
    channel->state = now;
    bool wanted = channel->line != NULL;
    pthread_mutex_unlock(&channel->lock);
    if (tell) {
        rpc__lane_ref(rpc__channel_home(channel));
        rpc__strand_post(&rpc__channel_home(channel)->strand, &channel->state_task);
    }
    if (state == RPC__SUB_READY)
        send_line(channel, WAITING);
    else if (now == RPC_CHANNEL_TRANSIENT_FAILURE)
        send_line(channel, IMPATIENT);
    else if (wanted && state == RPC__SUB_IDLE)
        rpc__balance_wake(channel);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

/* False: a subchannel has become ready meanwhile. */
static bool wait_in_line(rpc_channel *channel, rpc_call *call)
{
    rpc_status why = {0};
    pthread_mutex_lock(&channel->lock);
    bool ready = atomic_load(&channel->ready_subs) != 0;
    if (ready) {
        pthread_mutex_unlock(&channel->lock);
        return false;
    }
    channel->asked_us = rpc__runtime_now_us(channel->runtime);
    if (atomic_load(&channel->closing))
        rpc_status_set(&why, RPC_CANCELLED, "channel: it is being closed");
    else if (channel->state == RPC_CHANNEL_TRANSIENT_FAILURE && !call->wait_for_ready)
        why = channel->last_error;
    else if (channel->line_count >= channel->line_max)
        rpc_status_set(&why, RPC_RESOURCE_EXHAUSTED,
            "channel: %u calls wait for a connection; waiting_calls_max takes no more",
            channel->line_max);
    else
        join_line(channel, call, false);
    pthread_mutex_unlock(&channel->lock);
    if (why.code == RPC_UNAVAILABLE)
        rpc__call_lost(call, why.code, why.message, NGHTTP2_NO_ERROR, RPC__SEEN_PERHAPS);
    else if (why.code != RPC_OK)
        rpc__call_end(call, why.code, why.message, NGHTTP2_NO_ERROR);
    else
        rpc__balance_wake(channel);
    return true;
}

static void send_on(rpc_call *call, rpc__sub *sub)
{
    call->authority = rpc_bytes_str(sub->authority);
    if (!rpc__call_submit_request(call, sub->conn))
        rpc__call_end(call, RPC_RESOURCE_EXHAUSTED,
            "channel: no memory for the request, or more than 512 metadata entries",
            NGHTTP2_NO_ERROR);
}

/* Where the call stands already, or where round robin says. True: it is on its way. */
static bool take_ready(rpc_channel *channel, rpc_call *call)
{
    rpc__sub *sub = call->sub ? call->sub : rpc__balance_pick(channel);
    call->sub = NULL;
    if (!sub)
        return false;
    if (sub->lane != call->lane) {
        call->sub = sub;
        rpc__call_move(call, sub->lane);
        return true;
    }
    if (!rpc__sub_usable(sub)) {
        rpc__sub_lost(sub);
        return false;
    }
    send_on(call, sub);
    return true;
}

void rpc__channel_begin(rpc_call *call)
{
    rpc_channel *channel = call->owner;
    if (call->over || call->attached || call->move_to)
        return;
    rpc__retry_stop(call);
    rpc__balance_leave_line(channel, call);
    if (atomic_load(&channel->closing)) {
        rpc__call_end(call, RPC_CANCELLED, "channel: it is being closed", NGHTTP2_NO_ERROR);
        return;
    }
    if (call->deadline_us != RPC_NO_DEADLINE && !call->deadline_timer)
        rpc__call_set_deadline(call, call->deadline_us);
    if (call->over)
        return;
    if (atomic_load_explicit(&channel->idle_subs, memory_order_relaxed) &&
        atomic_load_explicit(&channel->ready_subs, memory_order_relaxed))
        rpc__balance_wake(channel);
    while (!take_ready(channel, call))
        if (!atomic_load(&channel->ready_subs) && wait_in_line(channel, call))
            return;
}
