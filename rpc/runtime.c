/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that run strands.
 *
 * runtime->lock guards the queue, the holds and stopping; it is never held while a task runs
 * and nothing is taken under it. The keeps have their own lock for the same reason. */
#include "census.h"
#include "runtime_internal.h"

#include "cleanup.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define RUNTIME_THREADS_MIN 2
#define RUNTIME_THREADS_MAX 64

struct rpc_runtime {
    const rpc_clock *clock;
    pthread_mutex_t lock;
    pthread_cond_t work;    /* a task was queued, or stopping */
    pthread_cond_t settled; /* no hold is left */
    rpc__task *first, *last;
    unsigned idle;
    size_t holds;
    bool stopping;
    pthread_mutex_t keeps_lock;
    rpc__keep *keeps;
    rpc__timers timers;
    rpc__census census;
    unsigned thread_count;
    pthread_t threads[RUNTIME_THREADS_MAX];
};

#define TEXT_OF(number)     #number
#define VERSION_OF(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *rpc_version(void)
{
    return VERSION_OF(RPC_VERSION_MAJOR, RPC_VERSION_MINOR, RPC_VERSION_PATCH);
}

rpc_code rpc__thread_start(
    pthread_t *ret, const char *name, void *(*run)(void *), void *arg, rpc_status *reterr)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "rpc: cannot start thread '%s': %s; raise the limit on threads (ulimit -u)", name,
            strerror(error));
    char short_name[16];
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(thread, short_name);
    *ret = thread;
    return RPC_OK;
}

static rpc__task *take_task(rpc_runtime *runtime)
{
    pthread_mutex_lock(&runtime->lock);
    while (!runtime->first && !runtime->stopping) {
        runtime->idle++;
        pthread_cond_wait(&runtime->work, &runtime->lock);
        runtime->idle--;
    }
    rpc__task *task = runtime->first;
    if (task) {
        runtime->first = task->next;
        if (!runtime->first)
            runtime->last = NULL;
    }
    pthread_mutex_unlock(&runtime->lock);
    return task;
}

static void *run_tasks(void *arg)
{
    rpc_runtime *runtime = arg;
    rpc__task *task;
    while ((task = take_task(runtime)))
        task->fn(task->arg);
    return NULL;
}

void rpc__runtime_post(rpc_runtime *runtime, rpc__task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&runtime->lock);
    if (runtime->last)
        runtime->last->next = task;
    else
        runtime->first = task;
    runtime->last = task;
    if (runtime->idle)
        pthread_cond_signal(&runtime->work);
    pthread_mutex_unlock(&runtime->lock);
}

const rpc_clock *rpc__runtime_clock(const rpc_runtime *runtime)
{
    return runtime->clock;
}

rpc__timers *rpc__runtime_timers(rpc_runtime *runtime)
{
    return &runtime->timers;
}

rpc__census *rpc__runtime_census(rpc_runtime *runtime)
{
    return &runtime->census;
}

void rpc__runtime_hold(rpc_runtime *runtime)
{
    pthread_mutex_lock(&runtime->lock);
    runtime->holds++;
    pthread_mutex_unlock(&runtime->lock);
}

void rpc__runtime_release(rpc_runtime *runtime)
{
    pthread_mutex_lock(&runtime->lock);
    if (--runtime->holds == 0)
        pthread_cond_broadcast(&runtime->settled);
    pthread_mutex_unlock(&runtime->lock);
}

void rpc__runtime_keep(rpc_runtime *runtime, rpc__keep *keep)
{
    pthread_mutex_lock(&runtime->keeps_lock);
    keep->next = runtime->keeps;
    runtime->keeps = keep;
    pthread_mutex_unlock(&runtime->keeps_lock);
}

rpc__keep *rpc__runtime_find_kept(
    rpc_runtime *runtime, bool (*matches)(rpc__keep *keep, const void *what), const void *what)
{
    pthread_mutex_lock(&runtime->keeps_lock);
    rpc__keep *keep = runtime->keeps;
    while (keep && !matches(keep, what))
        keep = keep->next;
    pthread_mutex_unlock(&runtime->keeps_lock);
    return keep;
}

static unsigned thread_count(const rpc_runtime_options *options)
{
    long count = options && options->threads ? (long)options->threads
                                             : sysconf(_SC_NPROCESSORS_ONLN);
    if (count < RUNTIME_THREADS_MIN)
        return RUNTIME_THREADS_MIN;
    return count > RUNTIME_THREADS_MAX ? RUNTIME_THREADS_MAX : (unsigned)count;
}

static rpc_code start_threads(rpc_runtime *runtime, unsigned count, rpc_status *reterr)
{
    while (runtime->thread_count < count) {
        rpc_code code = rpc__thread_start(
            &runtime->threads[runtime->thread_count], "rpc-strand", run_tasks, runtime, reterr);
        if (code != RPC_OK)
            return code;
        runtime->thread_count++;
    }
    return RPC_OK;
}

static void stop_threads(rpc_runtime *runtime)
{
    pthread_mutex_lock(&runtime->lock);
    while (runtime->holds)
        pthread_cond_wait(&runtime->settled, &runtime->lock);
    runtime->stopping = true;
    pthread_cond_broadcast(&runtime->work);
    pthread_mutex_unlock(&runtime->lock);
    for (unsigned i = 0; i < runtime->thread_count; i++)
        pthread_join(runtime->threads[i], NULL);
}

static void free_memory(rpc_runtime *runtime)
{
    pthread_cond_destroy(&runtime->work);
    pthread_cond_destroy(&runtime->settled);
    pthread_mutex_destroy(&runtime->lock);
    pthread_mutex_destroy(&runtime->keeps_lock);
    rpc__census_done(&runtime->census);
    free(runtime);
}

rpc_code rpc_runtime_new(const rpc_runtime_options *options, rpc_runtime **ret, rpc_status *reterr)
{
    rpc_runtime *runtime = calloc(1, sizeof *runtime);
    if (!runtime)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for a runtime");
    runtime->clock = options && options->clock ? options->clock : rpc_clock_system();
    pthread_mutex_init(&runtime->lock, NULL);
    pthread_mutex_init(&runtime->keeps_lock, NULL);
    rpc__census_init(&runtime->census);
    pthread_cond_init(&runtime->work, NULL);
    pthread_cond_init(&runtime->settled, NULL);
    rpc_code code = rpc__timers_init(&runtime->timers, runtime, reterr);
    if (code != RPC_OK) {
        free_memory(runtime);
        return code;
    }
    code = start_threads(runtime, thread_count(options), reterr);
    if (code != RPC_OK) {
        rpc_runtime_free(runtime);
        return code;
    }
    *ret = runtime;
    return RPC_OK;
}

void rpc_runtime_free(rpc_runtime *runtime)
{
    if (!runtime)
        return;
    rpc__timers_stop(&runtime->timers);
    stop_threads(runtime);
    rpc__timers_done(&runtime->timers);
    while (runtime->keeps) {
        rpc__keep *keep = runtime->keeps;
        runtime->keeps = keep->next;
        keep->free(keep);
    }
    free_memory(runtime);
}
