/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <stdlib.h>

rpc__lane *rpc__lane_new(
    rpc_runtime *runtime, rpc__memory *memory, void (*destroy)(void *owner), void *owner)
{
    rpc__lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->runtime = runtime;
    lane->memory = rpc__memory_ref(memory);
    lane->destroy = destroy;
    lane->owner = owner;
    lane->pending_end = &lane->pending;
    lane->now_us = rpc__runtime_now_us(runtime);
    atomic_init(&lane->refs, 1);
    atomic_init(&lane->request_bytes, 0);
    atomic_init(&lane->reply_bytes, 0);
    rpc__strand_init(&lane->strand, runtime);
    rpc__runtime_hold(runtime);
    return lane;
}

void rpc__lane_ref(rpc__lane *lane)
{
    atomic_fetch_add_explicit(&lane->refs, 1, memory_order_relaxed);
}

static void free_calls(rpc__lane *lane)
{
    while (lane->free_calls) {
        rpc_call *call = lane->free_calls;
        lane->free_calls = call->pending_next;
        rpc__call_destroy(call, lane);
    }
    lane->free_count = 0;
}

void rpc__lane_rest(rpc__lane *lane)
{
    free_calls(lane);
    if (atomic_load_explicit(&lane->request_bytes, memory_order_relaxed) > 0)
        return;
    rpc__memory_give(lane->memory, lane->charged);
    lane->charged = 0;
}

static void free_lane(void *arg)
{
    rpc__lane *lane = arg;
    rpc_runtime *runtime = lane->runtime;
    free_calls(lane);
    rpc__memory_give(lane->memory, lane->charged);
    rpc__memory_unref(lane->memory);
    rpc__strand_done(&lane->strand);
    if (lane->destroy)
        lane->destroy(lane->owner);
    free(lane);
    rpc__runtime_release(runtime);
}

void rpc__lane_unref(rpc__lane *lane)
{
    if (atomic_fetch_sub_explicit(&lane->refs, 1, memory_order_acq_rel) != 1)
        return;
    rpc__task_init(&lane->last, free_lane, lane);
    rpc__strand_post(&lane->strand, &lane->last);
}

bool rpc__lane_charge(rpc__lane *lane)
{
    size_t used = atomic_load_explicit(&lane->request_bytes, memory_order_relaxed);
    size_t due = (used + RPC__REQUEST_STEP - 1) / RPC__REQUEST_STEP * RPC__REQUEST_STEP;
    if (due > lane->charged) {
        if (!rpc__memory_take(lane->memory, due - lane->charged))
            return false;
        lane->charged = due;
    } else if (lane->charged - due > RPC__REQUEST_STEP) {
        rpc__memory_give(lane->memory, lane->charged - due);
        lane->charged = due;
    }
    return true;
}

bool rpc__lane_here(const rpc__lane *lane)
{
    return rpc__strand_current() == &lane->strand;
}

static void deliver_pending(rpc__lane *lane)
{
    while (lane->pending) {
        rpc_call *call = lane->pending;
        lane->pending = call->pending_next;
        if (!lane->pending)
            lane->pending_end = &lane->pending;
        call->pending = false;
        rpc__call_deliver(call);
        rpc_call_unref(call);
    }
}

/* Pumping may end calls and delivering may give new output, so both go on until quiet. */
void rpc__lane_settle(rpc__lane *lane)
{
    do {
        deliver_pending(lane);
        for (rpc__conn *conn = lane->conns, *next; conn; conn = next) {
            next = conn->next;
            rpc__conn_pump(conn);
        }
    } while (lane->pending);
}
