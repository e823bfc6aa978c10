/* SPDX-License-Identifier: Apache-2.0 */
/* The public side of the pool. */
#include "memory_file_internal.h"
#include "pool_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>

#define MIB            ((uint64_t)1 << 20)
#define USUAL_FIRST_US 1000000 /* what a job takes, before there was one */
#define RETRY_MS_MIN   100
#define RETRY_MS_MAX   60000

/* ---- options --------------------------------------------------------------------------------- */

media_workers_options media_workers_defaults(void)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned workers = processors > 1 ? (unsigned)processors / 2 : 1;
    if (workers > MEDIA_WORKERS_MAX)
        workers = MEDIA_WORKERS_MAX;
    return (media_workers_options){.workers = workers,
        .queue_length = 64,
        .share_jobs = 16,
        .deadline_ms = 20000,
        .memory_bytes = 1024 * MIB,
        .source_bytes_max = 256 * MIB,
        .result_bytes_max = 256 * MIB,
        .held_bytes_max = 1024 * MIB};
}

static rpc_code check_option(
    const char *name, uint64_t value, uint64_t min, uint64_t max, rpc_status *reterr)
{
    if (value >= min && value <= max)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "media: %s is %llu; it goes from %llu to %llu", name, (unsigned long long)value,
        (unsigned long long)min, (unsigned long long)max);
}

static rpc_code check_options(const media_workers_options *o, rpc_status *reterr)
{
    const struct {
        const char *name;
        uint64_t value, min, max;
    } all[] = {{"workers", o->workers, 1, MEDIA_WORKERS_MAX},
        {"queue_length", o->queue_length, 1, MEDIA_QUEUE_MAX},
        {"share_jobs", o->share_jobs, 1, MEDIA_QUEUE_MAX + MEDIA_WORKERS_MAX},
        {"share_running", o->share_running, 0, MEDIA_WORKERS_MAX},
        {"deadline_ms", o->deadline_ms, 1, MEDIA_WORKERS_DEADLINE_MAX},
        {"memory_bytes", o->memory_bytes, MEDIA_MEMORY_BYTES_MIN, MEDIA_MEMORY_BYTES_MAX},
        {"source_bytes_max", o->source_bytes_max, 1, MEDIA_WORKERS_BYTES_MAX},
        {"result_bytes_max", o->result_bytes_max, 1, MEDIA_WORKERS_BYTES_MAX},
        {"held_bytes_max", o->held_bytes_max, o->source_bytes_max, UINT64_MAX},
        {"priority", o->priority, 0, MEDIA_PRIORITY_NORMAL}};
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < sizeof all / sizeof *all; i++)
        code = check_option(all[i].name, all[i].value, all[i].min, all[i].max, reterr);
    if (code == RPC_OK && !o->program)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "media: no program is named");
    return code;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void free_workers(media_workers *w)
{
    char *program = NULL;
    memcpy(&program, &w->options.program, sizeof program); /* the copy that was made here */
    free(program);
    rpc_cleanup_closep(&w->wake);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->started);
    free(w);
}

/** Signals are for the threads of whoever uses the pool. */
static int start_thread(media_workers *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&w->thread, NULL, media__pool_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

rpc_code media_workers_start(
    const media_workers_options *options, media_workers **ret, rpc_status *reterr)
{
    const rpc_code code = check_options(options, reterr);
    if (code != RPC_OK)
        return code;
    media_workers *w = calloc(1, sizeof *w);
    if (!w)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "media: no memory");
    w->options = *options;
    if (w->options.share_running == 0) /* one is left for others */
        w->options.share_running = options->workers > 1 ? options->workers - 1 : 1;
    w->options.program = strdup(options->program);
    w->usual_us = USUAL_FIRST_US;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->started, NULL);
    const int error = !w->options.program ? ENOMEM : w->wake < 0 ? errno : start_thread(w);
    if (error != 0) {
        free_workers(w);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "media: cannot start the pool of workers: %s", strerror(error));
    }
    pthread_mutex_lock(&w->lock);
    while (!w->start_known)
        pthread_cond_wait(&w->started, &w->lock);
    const rpc_status start = w->start_status;
    const rpc_code started = w->start_code;
    pthread_mutex_unlock(&w->lock);
    if (started != RPC_OK) {
        media_workers_stop(w);
        return rpc_status_text(reterr, started, start.message);
    }
    *ret = w;
    return RPC_OK;
}

/** An eventfd takes all the writes that there can be. */
static void wake(media_workers *w)
{
    const uint64_t one = 1;
    ssize_t wrote = 0;
    do
        wrote = write(w->wake, &one, sizeof one);
    while (wrote < 0 && errno == EINTR);
}

void media_workers_stop(media_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    wake(w);
    pthread_join(w->thread, NULL);
    free_workers(w);
}

/* ---- jobs ---- */

/** How long until there is room, if jobs go on as they did; under the lock. */
static uint32_t estimate_ms(const media_workers *w)
{
    const int64_t rounds = w->queue.queued / w->options.workers + 1;
    const int64_t ms = w->usual_us / 1000 * rounds;
    return ms < RETRY_MS_MIN ? RETRY_MS_MIN : ms > RETRY_MS_MAX ? RETRY_MS_MAX : (uint32_t)ms;
}

static rpc_code refuse(media_workers *w, uint64_t *counter, const char *what, uint64_t limit,
    uint32_t *ret_retry_ms, rpc_status *reterr)
{
    const uint32_t retry_ms = estimate_ms(w);
    ++*counter;
    if (ret_retry_ms)
        *ret_retry_ms = retry_ms;
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "media: at most %llu %s; try again in %u ms", (unsigned long long)limit, what, retry_ms);
}

/** Under the lock. */
static rpc_code admit(
    media_workers *w, const char *key, uint64_t size, uint32_t *ret_retry_ms, rpc_status *reterr)
{
    const media_workers_options *o = &w->options;
    const media__share *share = media__queue_find(&w->queue, key);
    if (w->queue.queued >= o->queue_length)
        return refuse(
            w, &w->stats.refused_queue, "adaptations wait", o->queue_length, ret_retry_ms, reterr);
    if (share && share->queued + share->running >= o->share_jobs)
        return refuse(w, &w->stats.refused_share, "adaptations of a user are under way",
            o->share_jobs, ret_retry_ms, reterr);
    if (w->stats.held_bytes + size > o->held_bytes_max)
        return refuse(w, &w->stats.refused_bytes, "bytes wait for adaptation", o->held_bytes_max,
            ret_retry_ms, reterr);
    return RPC_OK;
}

/** Under the lock. */
static rpc_code enqueue(media_workers *w, media__task *task, const char *key,
    uint32_t *ret_retry_ms, rpc_status *reterr)
{
    const rpc_code code = admit(w, key, task->source_size, ret_retry_ms, reterr);
    if (code != RPC_OK)
        return code;
    media__share *share = media__queue_share(&w->queue, key);
    if (!share)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "media: no memory for a job; try again");
    task->id = ++w->last_id;
    w->stats.held_bytes += task->source_size;
    media__queue_add(&w->queue, share, task, false);
    return RPC_OK;
}

static rpc_code check_size(const media_workers *w, uint64_t size, rpc_status *reterr)
{
    if (size == 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "media: the source is empty");
    if (size > w->options.source_bytes_max)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "media: the source has %llu bytes, at most %llu are taken", (unsigned long long)size,
            (unsigned long long)w->options.source_bytes_max);
    return RPC_OK;
}

static rpc_code check_share(const char *share, rpc_status *reterr)
{
    const size_t size = strlen(share);
    if (size == 0 || size > MEDIA_SHARE_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "media: the key of a share is not of 1 to %d bytes", MEDIA_SHARE_BYTES_MAX);
    return RPC_OK;
}

rpc_code media_workers_admit(
    media_workers *w, const char *share, uint64_t size, uint32_t *ret_retry_ms, rpc_status *reterr)
{
    if (ret_retry_ms)
        *ret_retry_ms = 0;
    rpc_code code = check_size(w, size, reterr);
    if (code == RPC_OK)
        code = check_share(share, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&w->lock);
    code = admit(w, share, size, ret_retry_ms, reterr);
    pthread_mutex_unlock(&w->lock);
    return code;
}

static rpc_code check_job(
    const media_workers *w, const media_job *job, uint64_t *ret_size, rpc_status *reterr)
{
    if (!media__sealed_size(job->source, ret_size))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "media: the source is not sealed");
    const rpc_code code = check_size(w, *ret_size, reterr);
    if (code != RPC_OK)
        return code;
    if (job->recipe && (!job->recipe[0] || strlen(job->recipe) >= MEDIA_RECIPE_ROOM))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "media: the recipe is not of 1 to %d bytes", MEDIA_RECIPE_ROOM - 1);
    return check_share(job->share, reterr);
}

static media__task *new_task(const media_job *job, uint64_t size)
{
    media__task *task = calloc(1, sizeof *task);
    char *recipe = job->recipe ? strdup(job->recipe) : NULL;
    if (!task || (job->recipe && !recipe)) {
        free(recipe);
        free(task);
        return NULL;
    }
    *task = (media__task){.source = job->source,
        .source_size = size,
        .result = -1,
        .answer = -1,
        .recipe = recipe,
        .deadline_us = job->deadline_us,
        .queued_us = rpc_clock_monotonic_us(rpc_clock_system()),
        .done = job->done,
        .ctx = job->ctx};
    return task;
}

rpc_code media_workers_submit(media_workers *w, const media_job *job, uint64_t *ret_id,
    uint32_t *ret_retry_ms, rpc_status *reterr)
{
    uint64_t size = 0;
    if (ret_retry_ms)
        *ret_retry_ms = 0;
    rpc_code code = check_job(w, job, &size, reterr);
    if (code != RPC_OK)
        return code;
    media__task *task = new_task(job, size);
    if (!task)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "media: no memory for a job; try again");
    pthread_mutex_lock(&w->lock);
    code = enqueue(w, task, job->share, ret_retry_ms, reterr);
    if (code == RPC_OK && ret_id)
        *ret_id = task->id;
    pthread_mutex_unlock(&w->lock);
    if (code == RPC_OK) {
        wake(w);
        return RPC_OK;
    }
    task->source = -1; /* remains the caller's */
    media__task_free(task);
    return code;
}

static void cancel_task(media__task *task)
{
    if (task->end == RPC_OK)
        task->end = RPC_CANCELLED;
}

void media_workers_cancel(media_workers *w, uint64_t id)
{
    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < w->stats.running; i++)
        if (w->running[i]->id == id)
            cancel_task(w->running[i]);
    for (media__share *share = w->queue.first; share; share = share->next)
        for (media__task *task = share->first; task; task = task->next)
            if (task->id == id)
                cancel_task(task);
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

void media_workers_lend(media_workers *w, uint64_t id, const char *share)
{
    rpc_status ignored;
    if (check_share(share, &ignored) != RPC_OK)
        return;
    pthread_mutex_lock(&w->lock);
    const bool lent = media__queue_lend(
        &w->queue, id, share, w->options.share_jobs, w->options.share_running);
    pthread_mutex_unlock(&w->lock);
    if (lent)
        wake(w);
}

void media_workers_get_stats(media_workers *w, media_workers_stats *ret)
{
    pthread_mutex_lock(&w->lock);
    *ret = w->stats;
    ret->queued = w->queue.queued;
    ret->shares = w->queue.shares;
    pthread_mutex_unlock(&w->lock);
}
