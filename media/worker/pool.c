/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define STUCK_US     5000000 /* a child that was killed has ended by then, or the program is stuck */
#define RESTART_US   100000  /* after a failed start, doubled for each in a row */
#define RESTART_MAX  6
#define GIVE_UP_AT   3 /* failed starts in a row, until which jobs wait */
#define ATTEMPTS_MAX 2
#define NEVER        INT64_MAX

static int64_t now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

static void tell(const media_workers *w, bool warning, const char *line)
{
    if (w->options.log)
        w->options.log(w->options.ctx, warning, line);
}

/* ---- the end of jobs ---- */

static void count_end(media_workers *w, const media__task *task, rpc_code code, int64_t cpu_us,
    int64_t waited_us, int64_t ran_us)
{
    w->stats.ended[code]++;
    w->stats.waited_us += waited_us;
    w->stats.ran_us += ran_us;
    w->stats.cpu_us += cpu_us;
    w->stats.held_bytes -= task->source_size;
    if (task->started_us > 0)
        w->usual_us += (ran_us - w->usual_us) / 8;
    media__queue_leave(&w->queue, task->share);
}

/** The task is in no list any more, and freed. */
static void end(
    media_workers *w, media__task *task, const rpc_status *status, media_made *made, int64_t cpu_us)
{
    const int64_t now = now_us();
    const int64_t ran_us = task->started_us > 0 ? now - task->started_us : 0;
    const int64_t waited_us = now - task->queued_us - ran_us;
    pthread_mutex_lock(&w->lock);
    count_end(w, task, status->code, cpu_us, waited_us, ran_us);
    pthread_mutex_unlock(&w->lock);
    if (w->options.ended)
        w->options.ended(w->options.ctx, status->code, waited_us, ran_us);
    media_done_fn *done = task->done;
    void *ctx = task->ctx;
    media__task_free(task); /* first: whoever hears of the end finds nothing left of it */
    done(ctx, status, made);
}

static void end_with(media_workers *w, media__task *task, rpc_code code, const char *why)
{
    rpc_status status;
    rpc_status_set(&status, code, "media: %s", why);
    end(w, task, &status, NULL, 0);
}

static void end_killed(media_workers *w, media__task *task)
{
    rpc_status status;
    media__task_killed(task, &w->options, &status);
    end(w, task, &status, NULL, 0);
}

/** Out of the list of what runs; under the lock. */
static void stop_running(media_workers *w, const media__task *task)
{
    unsigned at = 0;
    while (w->running[at] != task)
        at++;
    w->running[at] = w->running[--w->stats.running];
    task->share->running--;
}

/* ---- the program ---- */

/** What ran begins anew once: most likely it was not to blame. */
static void lose_program(media_workers *w, const char *why)
{
    media__task *lost[MEDIA_WORKERS_MAX];
    unsigned count = 0;
    tell(w, true, why);
    media__program_end(&w->program, false);
    w->next_start_us = now_us() + RESTART_US; /* where it cannot live, no race */
    pthread_mutex_lock(&w->lock);
    while (w->stats.running > 0) {
        media__task *task = w->running[0];
        stop_running(w, task);
        media__task_unsend(task);
        if (task->end == RPC_OK && task->attempts < ATTEMPTS_MAX) {
            task->started_us = 0;
            media__queue_add(&w->queue, task->share, task, true);
        } else {
            lost[count++] = task;
        }
    }
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < count; i++)
        if (lost[i]->end != RPC_OK)
            end_killed(w, lost[i]);
        else
            end_with(
                w, lost[i], RPC_UNAVAILABLE, "its worker program ended under it twice; try again");
}

static void tell_started(const media_workers *w, int landlock)
{
    char line[160];
    snprintf(line, sizeof line,
        "media: the worker program runs, up to %u workers at a time, shut in by landlock (version "
        "%d) and a filter of system calls",
        w->options.workers, landlock);
    tell(w, landlock == 0,
        landlock > 0 ? line
                     : "media: the kernel has no landlock; the filter of system calls alone shuts "
                       "workers in");
}

static void start_program(media_workers *w)
{
    rpc_status status = {.code = RPC_OK};
    media__program program = {.socket = -1};
    const rpc_code code = media__program_start(w->options.program, &program, &status);
    if (code == RPC_OK) {
        w->program = program;
        w->failed_starts = 0;
    } else {
        const unsigned doubled = w->failed_starts < RESTART_MAX ? w->failed_starts : RESTART_MAX;
        w->failed_starts++;
        w->next_start_us = now_us() + ((int64_t)RESTART_US << doubled);
        tell(w, true, status.message);
    }
    pthread_mutex_lock(&w->lock);
    w->stats.helper_starts += code == RPC_OK;
    w->stats.helper_missing = w->failed_starts >= GIVE_UP_AT;
    if (code == RPC_OK)
        w->stats.landlock = program.landlock;
    if (!w->start_known) {
        w->start_known = true;
        w->start_code = code;
        w->start_status = status;
        pthread_cond_signal(&w->started);
    }
    pthread_mutex_unlock(&w->lock);
    if (code == RPC_OK)
        tell_started(w, program.landlock);
}

static media__task *running_task(media_workers *w, uint64_t id)
{
    for (unsigned i = 0; i < w->stats.running; i++) /* only this thread changes it */
        if (w->running[i]->id == id)
            return w->running[i];
    return NULL;
}

static void take_exited(media_workers *w, const media__exited *exited)
{
    rpc_status status;
    media_made *made = NULL;
    media__task *task = running_task(w, exited->id);
    if (!task)
        return; /* of a job that was given up */
    pthread_mutex_lock(&w->lock);
    stop_running(w, task); /* nobody else knows it from now on */
    pthread_mutex_unlock(&w->lock);
    media__task_judge(task, exited, &w->options, &status, &made);
    if (status.code == RPC_INTERNAL)
        tell(w, true, status.message);
    end(w, task, &status, made, exited->cpu_us);
}

static void hear_program(media_workers *w)
{
    media__exited exited;
    for (;;) {
        const ssize_t got = media__receive(
            w->program.socket, &exited, sizeof exited, NULL, 0, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got != (ssize_t)sizeof exited || exited.kind != MEDIA__EXITED) {
            lose_program(w, "media: the worker program ended; it is started again");
            return;
        }
        take_exited(w, &exited);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

typedef struct moment {
    int64_t now_us;
    bool stopping;
} moment;

static rpc_code over_waiting(const media__task *task, const moment *at)
{
    if (task->end != RPC_OK)
        return task->end;
    if (at->stopping)
        return RPC_CANCELLED;
    return task->deadline_us > 0 && at->now_us >= task->deadline_us ? RPC_DEADLINE_EXCEEDED
                                                                    : RPC_OK;
}

static bool may_wait(const media__task *task, void *ctx)
{
    return over_waiting(task, ctx) == RPC_OK;
}

static void end_waiting(media_workers *w, const moment *at)
{
    moment copy = *at;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        media__task *task = media__queue_remove(&w->queue, may_wait, &copy);
        pthread_mutex_unlock(&w->lock);
        if (!task)
            return;
        task->end = over_waiting(task, &copy);
        end_killed(w, task);
    }
}

static void fail_waiting(media_workers *w)
{
    moment at = {.stopping = true};
    for (;;) {
        pthread_mutex_lock(&w->lock);
        media__task *task = media__queue_remove(&w->queue, may_wait, &at);
        pthread_mutex_unlock(&w->lock);
        if (!task)
            return;
        end_with(w, task, RPC_UNAVAILABLE, "the worker program cannot be started; see the log");
    }
}

/** Decides once why it has to end. */
static void judge_running(const media_workers *w, media__task *task, const moment *at)
{
    if (task->end == RPC_OK)
        task->end = over_waiting(task, at);
    if (task->end == RPC_OK &&
        at->now_us >= task->started_us + (int64_t)w->options.deadline_ms * 1000)
        task->end = RPC_RESOURCE_EXHAUSTED;
}

/** False: the program is stuck. */
static bool end_running(media_workers *w, const moment *at)
{
    bool alive = true;
    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < w->stats.running; i++) {
        media__task *task = w->running[i];
        judge_running(w, task, at);
        const media__kill order = {.kind = MEDIA__KILL, .id = task->id};
        if (task->end != RPC_OK && task->killed_us == 0) {
            task->killed_us = at->now_us;
            alive = alive && media__send(w->program.socket, &order, sizeof order, NULL, 0);
        }
        alive = alive && (task->killed_us == 0 || at->now_us < task->killed_us + STUCK_US);
    }
    pthread_mutex_unlock(&w->lock);
    return alive;
}

/** When the thread has to look again, though nothing happens. */
static int64_t next_look(const media_workers *w)
{
    int64_t next = w->program.pid == 0 ? w->next_start_us : NEVER;
    for (unsigned i = 0; i < w->stats.running; i++) {
        const media__task *task = w->running[i];
        int64_t at = task->started_us + (int64_t)w->options.deadline_ms * 1000;
        if (task->killed_us > 0)
            at = task->killed_us + STUCK_US;
        else if (task->deadline_us > 0 && task->deadline_us < at)
            at = task->deadline_us;
        next = at < next ? at : next;
    }
    for (const media__share *share = w->queue.first; share; share = share->next)
        for (const media__task *task = share->first; task; task = task->next)
            if (task->deadline_us > 0 && task->deadline_us < next)
                next = task->deadline_us;
    return next;
}

/* ---- the thread ---- */

static media__task *take_next(media_workers *w)
{
    media__task *task = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->stats.running < w->options.workers)
        task = media__queue_take(&w->queue, w->options.share_running);
    if (task) {
        w->running[w->stats.running++] = task;
        task->started_us = now_us();
        task->attempts++;
    }
    pthread_mutex_unlock(&w->lock);
    return task;
}

static void end_scarce(media_workers *w, media__task *task)
{
    pthread_mutex_lock(&w->lock);
    stop_running(w, task);
    pthread_mutex_unlock(&w->lock);
    end_with(w, task, RPC_UNAVAILABLE, "no descriptors or memory for a job; try again");
}

static void send_waiting(media_workers *w)
{
    media__task *task = NULL;
    while (w->program.pid > 0 && (task = take_next(w))) {
        const media__sent sent = media__task_send(task, &w->options, &w->program);
        if (sent == MEDIA__SCARCE)
            end_scarce(w, task);
        else if (sent == MEDIA__BROKEN)
            lose_program(
                w, "media: a job cannot be given to the worker program; it is started again");
    }
}

static void wait_for_news(media_workers *w, int64_t until_us)
{
    uint64_t count = 0;
    struct pollfd waits[] = {{.fd = w->wake, .events = POLLIN},
        {.fd = w->program.pid > 0 ? w->program.socket : -1, .events = POLLIN}};
    const int64_t wait_us = until_us == NEVER ? -1 : until_us - now_us();
    int64_t wait_ms = wait_us < 0 ? 0 : wait_us / 1000 + 1;
    if (until_us == NEVER)
        wait_ms = -1;
    else if (wait_ms > MEDIA_WORKERS_DEADLINE_MAX)
        wait_ms = MEDIA_WORKERS_DEADLINE_MAX;
    if (poll(waits, 2, (int)wait_ms) <= 0)
        return;
    if (waits[0].revents && read(w->wake, &count, sizeof count) < 0 && errno != EAGAIN)
        tell(w, true, "media: the pool's eventfd does not work");
    if (waits[1].revents)
        hear_program(w);
}

/** Everything that is due. False: the pool stops, and nothing is left of it. */
static bool turn(media_workers *w)
{
    pthread_mutex_lock(&w->lock);
    const moment at = {.now_us = now_us(), .stopping = w->stopping};
    pthread_mutex_unlock(&w->lock);
    end_waiting(w, &at);
    if (w->stats.running > 0 && !end_running(w, &at))
        lose_program(w, "media: the worker program is stuck; it is started again");
    if (at.stopping)
        return w->stats.running > 0;
    if (w->program.pid == 0 && at.now_us >= w->next_start_us)
        start_program(w);
    if (w->program.pid == 0 && w->failed_starts >= GIVE_UP_AT)
        fail_waiting(w);
    send_waiting(w);
    return true;
}

void *media__pool_run(void *workers)
{
    media_workers *w = workers;
    pthread_setname_np(pthread_self(), "media");
    while (turn(w)) {
        pthread_mutex_lock(&w->lock);
        const int64_t until_us = next_look(w);
        pthread_mutex_unlock(&w->lock);
        wait_for_news(w, until_us);
    }
    media__program_end(&w->program, true);
    return NULL;
}
