/* SPDX-License-Identifier: Apache-2.0 */
/** The pool. Its thread (pool.c) owns the program and what runs; under the lock stand the queue,
 *  the counters, what was asked of the thread, and the list of what runs. No callback runs under
 *  the lock. */
#ifndef DACM_MEDIA_POOL_INTERNAL_H
#define DACM_MEDIA_POOL_INTERNAL_H

#include "program_internal.h"
#include "queue_internal.h"

#include <pthread.h>

struct media_workers {
    media_workers_options options; /* program: a copy */
    pthread_t thread;
    int wake; /* eventfd: something under the lock has changed */
    pthread_mutex_t lock;
    pthread_cond_t started; /* start_code is set */
    bool stopping, start_known;
    rpc_code start_code;
    rpc_status start_status;
    media__queue queue;
    media__task *running[MEDIA_WORKERS_MAX]; /* the first stats.running */
    uint64_t last_id;
    int64_t usual_us; /* a job takes, by the last ones */
    media_workers_stats stats;
    /* the thread's own */
    media__program program;
    unsigned failed_starts; /* in a row */
    int64_t next_start_us;
};

/** The pool's thread, until stopping. */
void *media__pool_run(void *workers);

/** What became of a task whose child has ended (task.c).
 *  ret_made  set where the status is RPC_OK. */
void media__task_judge(const media__task *task, const media__exited *exited,
    const media_workers_options *options, rpc_status *ret_status, media_made **ret_made);
typedef enum media__sent {
    MEDIA__SENT,
    MEDIA__SCARCE, /* no descriptors or memory */
    MEDIA__BROKEN, /* the program does not take it */
} media__sent;
/** Makes its files and sends it to the program; unless sent, it is as it was. */
media__sent media__task_send(
    media__task *task, const media_workers_options *options, const media__program *program);
/** The status of a task whose end is set. Returns its code. */
rpc_code media__task_killed(
    const media__task *task, const media_workers_options *options, rpc_status *ret);
/** Closes what it has but its source. */
void media__task_unsend(media__task *task);
void media__task_free(media__task *task);

#endif
