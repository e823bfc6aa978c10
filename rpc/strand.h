/* SPDX-License-Identifier: Apache-2.0 */
/** Tasks that never overlap: the strand of a connection, and the threads that run strands.
 *  Private to rpc/.
 *
 *  A task is intrusive (embed it in what it works on), so that posting allocates nothing. It
 *  is free for use again from the moment its fn is entered; posting one that is still queued is
 *  a bug. Tasks of one strand run in the order in which they were posted, on any thread, one at
 *  a time, with no lock held. A posted task always runs. */
#ifndef DACM_RPC_STRAND_H
#define DACM_RPC_STRAND_H

#include "rpc.h"

#include <stdatomic.h>

typedef struct rpc__task {
    struct rpc__task *next; /* the queue's */
    rpc_task_fn *fn;
    void *arg;
} rpc__task;

static inline void rpc__task_init(rpc__task *task, rpc_task_fn *fn, void *arg)
{
    task->next = NULL;
    task->fn = fn;
    task->arg = arg;
}

/** Caller's memory; the members belong to strand.c. */
typedef struct rpc__strand {
    rpc_runtime *runtime;
    _Atomic(rpc__task *) inbox; /* NULL: idle; a mark: running, nothing new; else newest task */
    rpc__task *ready;           /* oldest first; only the running thread touches it */
    rpc__task drain;            /* stands in the runtime's queue */
} rpc__strand;

void rpc__strand_init(rpc__strand *strand, rpc_runtime *runtime);
/** The memory may go. Either nothing was ever posted, or this is called inside the very last
 *  task of the strand (post one for the purpose: a strand is still being looked at just after
 *  any other task has returned). Nothing may be queued or be posted later. */
void rpc__strand_done(rpc__strand *strand);

/** Runs task on a runtime thread, after what is queued; never inside this call. Any thread,
 *  the strand's own tasks included. */
void rpc__strand_post(rpc__strand *strand, rpc__task *task);
/** For nng's callbacks: runs task (and what is then queued) in place when the strand is idle,
 *  otherwise queues it. Not from a task of this strand; use post there. */
void rpc__strand_run(rpc__strand *strand, rpc__task *task);
/** The strand whose task this thread is running, or NULL. */
rpc__strand *rpc__strand_current(void);

/** Runs task on a runtime thread, outside any strand. Any thread. */
void rpc__runtime_post(rpc_runtime *runtime, rpc__task *task);
const rpc_clock *rpc__runtime_clock(const rpc_runtime *runtime);
static inline int64_t rpc__runtime_now_us(const rpc_runtime *runtime)
{
    return rpc_clock_monotonic_us(rpc__runtime_clock(runtime));
}

/** Something to be freed by rpc_runtime_free(), after its threads have ended: the last kept is
 *  freed first. keep is intrusive. */
typedef struct rpc__keep {
    struct rpc__keep *next;
    void (*free)(struct rpc__keep *keep);
} rpc__keep;
void rpc__runtime_keep(rpc_runtime *runtime, rpc__keep *keep);

/** Counts what rpc_runtime_free() must wait for (streams that are being closed). */
void rpc__runtime_hold(rpc_runtime *runtime);
void rpc__runtime_release(rpc_runtime *runtime);

/** The first kept thing that matches says yes to, or NULL. matches runs under a lock. */
rpc__keep *rpc__runtime_find_kept(
    rpc_runtime *runtime, bool (*matches)(rpc__keep *keep, const void *what), const void *what);

#endif
