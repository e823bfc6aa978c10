/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: a binary heap and one thread. A wheel would tick; a heap sleeps until something is
 * due, and 10,000 connections with two timers each are 15 levels.
 *
 * timers->lock guards the heap and every timer's state; the runtime's queue lock may be taken
 * under it, never the other way. A timer's memory belongs to the heap's
 * owner until rpc_timer_cancel(), except while its task is queued or running: then whichever of
 * the task and the cancel comes last frees it. */
#include "runtime_internal.h"

#include "cleanup.h"

#include <time.h>

#define HEAP_CAPACITY_FIRST 64
#define POLL_US             10000 /* how often a clock that is not the kernel's is looked at */
#define WAIT_US_MAX         3600000000

enum timer_state {
    TIMER_PENDING,   /* in the heap */
    TIMER_QUEUED,    /* due; its task stands in the runtime's queue */
    TIMER_CANCELLED, /* cancelled while queued: the task frees it */
    TIMER_RUNNING,
    TIMER_RELEASED, /* cancelled while running: the task frees it */
    TIMER_RAN,      /* cancel frees it */
};

struct rpc_timer {
    rpc__timers *timers;
    rpc__task task;
    rpc_task_fn *fn;
    void *arg;
    int64_t due_us;
    uint64_t order;
    size_t index; /* in the heap */
    enum timer_state state;
};

static bool before(const rpc_timer *a, const rpc_timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void heap_put(rpc__timers *timers, size_t index, rpc_timer *timer)
{
    timers->heap[index] = timer;
    timer->index = index;
}

static void heap_up(rpc__timers *timers, size_t index, rpc_timer *timer)
{
    while (index > 0 && before(timer, timers->heap[(index - 1) / 2])) {
        heap_put(timers, index, timers->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_put(timers, index, timer);
}

static void heap_down(rpc__timers *timers, size_t index, rpc_timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!before(timers->heap[child], timer))
            break;
        heap_put(timers, index, timers->heap[child]);
        index = child;
    }
    heap_put(timers, index, timer);
}

static void heap_remove(rpc__timers *timers, const rpc_timer *timer)
{
    size_t index = timer->index;
    rpc_timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    heap_down(timers, index, last);
    heap_up(timers, last->index, last);
}

static bool heap_grow(rpc__timers *timers)
{
    if (timers->count < timers->capacity)
        return true;
    size_t capacity = timers->capacity ? 2 * timers->capacity : HEAP_CAPACITY_FIRST;
    rpc_timer **heap = reallocarray(timers->heap, capacity, sizeof(rpc_timer *));
    if (!heap)
        return false;
    timers->heap = heap;
    timers->capacity = capacity;
    return true;
}

static void run_timer(void *arg)
{
    rpc_timer *timer = arg;
    rpc__timers *timers = timer->timers;
    pthread_mutex_lock(&timers->lock);
    bool run = timer->state == TIMER_QUEUED;
    if (run)
        timer->state = TIMER_RUNNING;
    pthread_mutex_unlock(&timers->lock);
    bool gone = !run;
    if (run) {
        timer->fn(timer->arg);
        pthread_mutex_lock(&timers->lock);
        gone = timer->state == TIMER_RELEASED;
        if (!gone)
            timer->state = TIMER_RAN;
        pthread_mutex_unlock(&timers->lock);
    }
    if (gone)
        free(timer);
}

static int64_t now_us(const rpc__timers *timers)
{
    return rpc__runtime_now_us(timers->runtime);
}

static void queue_due(rpc__timers *timers)
{
    int64_t now = now_us(timers);
    while (timers->count && timers->heap[0]->due_us <= now) {
        rpc_timer *timer = timers->heap[0];
        heap_remove(timers, timer);
        timer->state = TIMER_QUEUED;
        rpc__runtime_post(timers->runtime, &timer->task);
    }
}

static void wait_us(rpc__timers *timers, int64_t wait)
{
    if (rpc__runtime_clock(timers->runtime) != rpc_clock_system() && wait > POLL_US)
        wait = POLL_US;
    if (wait > WAIT_US_MAX)
        wait = WAIT_US_MAX;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + wait % 1000000 * 1000;
    until.tv_sec += wait / 1000000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_cond_timedwait(&timers->wake, &timers->lock, &until);
}

static void *run_timers(void *arg)
{
    rpc__timers *timers = arg;
    pthread_mutex_lock(&timers->lock);
    while (!timers->stopping) {
        queue_due(timers);
        timers->wakes_us = timers->count ? timers->heap[0]->due_us : INT64_MAX;
        if (timers->count)
            wait_us(timers, timers->wakes_us - now_us(timers));
        else
            pthread_cond_wait(&timers->wake, &timers->lock);
    }
    pthread_mutex_unlock(&timers->lock);
    return NULL;
}

rpc_code rpc__timers_init(rpc__timers *timers, rpc_runtime *runtime, rpc_status *reterr)
{
    timers->runtime = runtime;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&timers->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&timers->lock, NULL);
    rpc_code code = rpc__thread_start(&timers->thread, "rpc-timer", run_timers, timers, reterr);
    if (code != RPC_OK)
        rpc__timers_done(timers);
    return code;
}

void rpc__timers_stop(rpc__timers *timers)
{
    pthread_mutex_lock(&timers->lock);
    timers->stopping = true;
    pthread_cond_signal(&timers->wake);
    pthread_mutex_unlock(&timers->lock);
    pthread_join(timers->thread, NULL);
}

void rpc__timers_done(rpc__timers *timers)
{
    free(timers->heap);
    pthread_cond_destroy(&timers->wake);
    pthread_mutex_destroy(&timers->lock);
}

static bool insert(rpc__timers *timers, rpc_timer *timer)
{
    pthread_mutex_lock(&timers->lock);
    bool room = heap_grow(timers);
    if (room) {
        timer->order = timers->started++;
        heap_up(timers, timers->count++, timer);
        /* Most timers are cancelled and followed by one that is due later: then the thread sleeps
         * on, until the time of the one that is gone. */
        if (timer->due_us < timers->wakes_us) {
            timers->wakes_us = timer->due_us;
            pthread_cond_signal(&timers->wake);
        }
    }
    pthread_mutex_unlock(&timers->lock);
    return room;
}

static int64_t due_us(const rpc__timers *timers, int64_t delay_ms)
{
    int64_t now = now_us(timers);
    if (delay_ms <= 0)
        return now;
    return delay_ms > (INT64_MAX - now) / 1000 ? INT64_MAX : now + delay_ms * 1000;
}

rpc_code rpc_timer_start(
    rpc_runtime *runtime, int64_t delay_ms, rpc_task_fn *fn, void *arg, rpc_timer **ret)
{
    rpc_timer *timer = calloc(1, sizeof *timer);
    if (!timer)
        return RPC_RESOURCE_EXHAUSTED;
    timer->timers = rpc__runtime_timers(runtime);
    timer->fn = fn;
    timer->arg = arg;
    timer->due_us = due_us(timer->timers, delay_ms);
    rpc__task_init(&timer->task, run_timer, timer);
    *ret = timer; /* before it can run: fn may cancel its own timer through *ret */
    if (insert(timer->timers, timer))
        return RPC_OK;
    *ret = NULL;
    free(timer);
    return RPC_RESOURCE_EXHAUSTED;
}

bool rpc_timer_cancel(rpc_timer *timer)
{
    if (!timer)
        return false;
    rpc__timers *timers = timer->timers;
    pthread_mutex_lock(&timers->lock);
    enum timer_state state = timer->state;
    if (state == TIMER_PENDING)
        heap_remove(timers, timer);
    else if (state == TIMER_QUEUED)
        timer->state = TIMER_CANCELLED;
    else if (state == TIMER_RUNNING)
        timer->state = TIMER_RELEASED;
    pthread_mutex_unlock(&timers->lock);
    if (state == TIMER_PENDING || state == TIMER_RAN)
        free(timer);
    return state == TIMER_PENDING || state == TIMER_QUEUED;
}
