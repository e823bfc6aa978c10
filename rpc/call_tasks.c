/* SPDX-License-Identifier: Apache-2.0 */
/* Work that whoever has a call gives to its lane: now, and after a while. */
#include "session.h"

#include <stdlib.h>
#include <time.h>

struct rpc__after {
    rpc__after *next;
    rpc_call *call;
    rpc_timer *timer;
    rpc__task task;
    void (*fn)(rpc_call *call, void *arg);
    void *arg;
};

/* ---- now --------------------------------------------------------------------------------------
 */

static void run_posted(void *arg)
{
    rpc__posted *post = arg;
    rpc_call *call = post->call;
    if (rpc__call_follow(call, &post->task))
        return;
    rpc__lane *lane = call->lane;
    rpc_task_fn *fn = post->fn;
    void *fn_arg = post->arg;
    if (post->spare) {
        pthread_mutex_lock(&call->lock);
        post->call = NULL;
        pthread_mutex_unlock(&call->lock);
    } else {
        free(post);
    }
    fn(fn_arg);
    rpc__lane_settle(lane);
    rpc_call_unref(call);
}

/* Whoever posts counts on fn; so without memory one of the call's own is used, and when all of
 * them are under way, waited for. NULL: waiting would be for ourselves. */
static rpc__posted *spare_post(rpc_call *call)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (true) {
        rpc__posted *found = NULL;
        pthread_mutex_lock(&call->lock);
        for (size_t i = 0; i < RPC__POSTS_SPARE && !found; i++)
            if (!call->posts[i].call)
                found = &call->posts[i];
        if (found)
            *found = (rpc__posted){.call = call, .spare = true};
        pthread_mutex_unlock(&call->lock);
        if (found || rpc__lane_here(call->lane))
            return found;
        nanosleep(&moment, NULL);
    }
}

void rpc_call_post(rpc_call *call, rpc_task_fn *fn, void *arg)
{
    rpc__posted *post = malloc(sizeof *post);
    if (post)
        *post = (rpc__posted){.call = call};
    else
        post = spare_post(call);
    if (!post) {
        fn(arg);
        return;
    }
    rpc_call_ref(call);
    post->fn = fn;
    post->arg = arg;
    rpc__task_init(&post->task, run_posted, post);
    rpc__lane *lane = call->lane;
    rpc__strand_post(&lane->strand, &post->task);
}

/* ---- after a while ----------------------------------------------------------------------------
 */

static void run_after(void *arg)
{
    rpc__after *after = arg;
    rpc_call *call = after->call;
    if (rpc__call_follow(call, &after->task))
        return;
    rpc__lane *lane = call->lane;
    pthread_mutex_lock(&call->lock);
    for (rpc__after **at = &call->afters; *at; at = &(*at)->next)
        if (*at == after) {
            *at = after->next;
            break;
        }
    rpc_timer *timer = after->timer;
    pthread_mutex_unlock(&call->lock);
    if (timer)
        (void)rpc_timer_cancel(timer);
    if (!call->over)
        after->fn(call, after->arg);
    free(after);
    rpc__lane_settle(lane);
    rpc_call_unref(call);
}

static void after_fired(void *arg)
{
    rpc__after *after = arg;
    rpc__lane *lane = after->call->lane;
    rpc__strand_post(&lane->strand, &after->task);
}

rpc_code rpc_call_after(
    rpc_call *call, int64_t delay_ms, void (*fn)(rpc_call *call, void *arg), void *arg)
{
    rpc__after *after = calloc(1, sizeof *after);
    if (!after)
        return RPC_RESOURCE_EXHAUSTED;
    *after = (rpc__after){.call = rpc_call_ref(call), .fn = fn, .arg = arg};
    rpc__task_init(&after->task, run_after, after);
    pthread_mutex_lock(&call->lock);
    rpc_code code = rpc_timer_start(
        call->lane->runtime, delay_ms, after_fired, after, &after->timer);
    if (code == RPC_OK) {
        after->next = call->afters;
        call->afters = after;
    }
    pthread_mutex_unlock(&call->lock);
    if (code == RPC_OK)
        return RPC_OK;
    free(after);
    rpc_call_unref(call);
    return code;
}

void rpc__call_afters_drop(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    rpc__after *after = call->afters;
    call->afters = NULL;
    while (after) {
        rpc__after *next = after->next;
        after->next = NULL;
        bool stopped = rpc_timer_cancel(after->timer);
        after->timer = NULL;
        if (stopped) {
            free(after);
            atomic_fetch_sub_explicit(&call->refs, 1, memory_order_release); /* never the last */
        }
        after = next;
    }
    pthread_mutex_unlock(&call->lock);
}
