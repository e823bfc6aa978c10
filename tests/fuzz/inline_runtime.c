/* SPDX-License-Identifier: Apache-2.0 */
#include "inline_runtime.h"

#include "census.h"
#include "fuzz.h"
#include "runtime_internal.h"

#define WALL_MS_FIRST 1790000000000

struct rpc_timer {
    rpc_timer *next, **link; /* pending: by due_us, then by order of start */
    rpc__task task;
    rpc_task_fn *fn;
    void *arg;
    int64_t due_us;
    enum { PENDING, QUEUED, RUNNING, RAN, CANCELLED } state;
};

struct rpc_runtime {
    rpc_clock clock;
    int64_t now_us;
    rpc__task *first, **end;
    rpc_timer *timers;
    size_t timer_count, holds;
    rpc__keep *keeps;
    rpc__census census;
};

static rpc_runtime the_runtime;

static int64_t monotonic_us(void *ctx)
{
    (void)ctx;
    return the_runtime.now_us;
}

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return WALL_MS_FIRST + the_runtime.now_us / 1000;
}

rpc_code rpc_runtime_new(const rpc_runtime_options *options, rpc_runtime **ret, rpc_status *reterr)
{
    (void)options, (void)reterr;
    MUST(!the_runtime.end); /* one */
    the_runtime.clock = (rpc_clock){monotonic_us, wall_ms, NULL};
    the_runtime.now_us = 1000000;
    the_runtime.end = &the_runtime.first;
    rpc__census_init(&the_runtime.census);
    *ret = &the_runtime;
    return RPC_OK;
}

void rpc__runtime_post(rpc_runtime *runtime, rpc__task *task)
{
    task->next = NULL;
    *runtime->end = task;
    runtime->end = &task->next;
}

bool inline_runtime_run(void)
{
    bool ran = the_runtime.first != NULL;
    while (the_runtime.first) {
        rpc__task *task = the_runtime.first;
        the_runtime.first = task->next;
        if (!the_runtime.first)
            the_runtime.end = &the_runtime.first;
        task->fn(task->arg);
    }
    return ran;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    (void)cond;
    pthread_mutex_unlock(lock);
    MUST(inline_runtime_run());
    pthread_mutex_lock(lock);
    return 0;
}

const rpc_clock *rpc__runtime_clock(const rpc_runtime *runtime)
{
    return &runtime->clock;
}

rpc__census *rpc__runtime_census(rpc_runtime *runtime)
{
    return &runtime->census;
}

void rpc__runtime_hold(rpc_runtime *runtime)
{
    runtime->holds++;
}

void rpc__runtime_release(rpc_runtime *runtime)
{
    MUST(runtime->holds > 0);
    runtime->holds--;
}

size_t inline_runtime_holds(void)
{
    return the_runtime.holds;
}

void rpc__runtime_keep(rpc_runtime *runtime, rpc__keep *keep)
{
    keep->next = runtime->keeps;
    runtime->keeps = keep;
}

rpc__keep *rpc__runtime_find_kept(
    rpc_runtime *runtime, bool (*matches)(rpc__keep *keep, const void *what), const void *what)
{
    rpc__keep *keep = runtime->keeps;
    while (keep && !matches(keep, what))
        keep = keep->next;
    return keep;
}

/* For pool.c, which nothing here uses: targets are addresses, handlers do not block. */
rpc_code rpc__thread_start(
    pthread_t *ret, const char *name, void *(*run)(void *), void *arg, rpc_status *reterr)
{
    (void)ret, (void)run, (void)arg;
    return rpc_status_set(reterr, RPC_UNIMPLEMENTED, "no thread '%s' here", name);
}

/* ---- timers ----------------------------------------------------------------------------------
 */

static void run_timer(void *arg)
{
    rpc_timer *timer = arg;
    if (timer->state == QUEUED) {
        timer->state = RUNNING;
        timer->fn(timer->arg);
        if (timer->state == RUNNING) {
            timer->state = RAN;
            return;
        }
    }
    free(timer);
}

static void take_out(rpc_timer *timer)
{
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    the_runtime.timer_count--;
}

rpc_code rpc_timer_start(
    rpc_runtime *runtime, int64_t delay_ms, rpc_task_fn *fn, void *arg, rpc_timer **ret)
{
    rpc_timer *timer = calloc(1, sizeof *timer);
    MUST(timer);
    timer->fn = fn;
    timer->arg = arg;
    timer->due_us = runtime->now_us;
    if (delay_ms > 0)
        timer->due_us = delay_ms < INT64_MAX / 2000 ? runtime->now_us + delay_ms * 1000 : INT64_MAX;
    rpc__task_init(&timer->task, run_timer, timer);
    rpc_timer **at = &runtime->timers;
    while (*at && (*at)->due_us <= timer->due_us)
        at = &(*at)->next;
    timer->next = *at;
    timer->link = at;
    if (timer->next)
        timer->next->link = &timer->next;
    *at = timer;
    runtime->timer_count++;
    *ret = timer;
    return RPC_OK;
}

bool rpc_timer_cancel(rpc_timer *timer)
{
    if (!timer)
        return false;
    switch (timer->state) {
    case PENDING:
        take_out(timer);
        free(timer);
        return true;
    case RAN:
        free(timer);
        return false;
    case QUEUED:
        timer->state = CANCELLED;
        return true;
    case RUNNING:
        timer->state = CANCELLED;
        return false;
    case CANCELLED:
        break;
    }
    MUST(!"cancelled twice");
    return false;
}

bool inline_runtime_skip(void)
{
    if (!the_runtime.timers)
        return false;
    if (the_runtime.now_us < the_runtime.timers->due_us)
        the_runtime.now_us = the_runtime.timers->due_us;
    while (the_runtime.timers && the_runtime.timers->due_us <= the_runtime.now_us) {
        rpc_timer *timer = the_runtime.timers;
        take_out(timer);
        timer->state = QUEUED;
        rpc__runtime_post(&the_runtime, &timer->task);
    }
    (void)inline_runtime_run();
    return true;
}

size_t inline_runtime_timers(void)
{
    return the_runtime.timer_count;
}
