/* SPDX-License-Identifier: Apache-2.0 */
/** What runtime.c, timer.c and pool.c share. Private to rpc/. */
#ifndef DACM_RPC_RUNTIME_INTERNAL_H
#define DACM_RPC_RUNTIME_INTERNAL_H

#include "strand.h"

#include <pthread.h>

/** A heap of pending timers and the one thread that waits for the first of them. */
typedef struct rpc__timers {
    rpc_runtime *runtime;
    pthread_mutex_t lock; /* guards all below and the state of every timer; only the
                           * runtime's queue lock is taken under it */
    pthread_cond_t wake;
    pthread_t thread;
    rpc_timer **heap; /* by due_us, then by order of start */
    size_t count, capacity;
    uint64_t started;
    int64_t wakes_us; /* the thread sleeps no longer than until then */
    bool stopping;
} rpc__timers;

RPC_MUST_USE rpc_code rpc__timers_init(
    rpc__timers *timers, rpc_runtime *runtime, rpc_status *reterr);
/** Stops and joins the thread. Timers still pending never run. */
void rpc__timers_stop(rpc__timers *timers);
/** After stop, when no runtime thread is left. */
void rpc__timers_done(rpc__timers *timers);
rpc__timers *rpc__runtime_timers(rpc_runtime *runtime);

/** Starts a thread of ours: signals blocked, named for ps and debuggers (15 bytes count). */
RPC_MUST_USE rpc_code rpc__thread_start(
    pthread_t *ret, const char *name, void *(*run)(void *), void *arg, rpc_status *reterr);

#endif
