/* SPDX-License-Identifier: Apache-2.0 */
/** The runtime of rpc/ without threads, linked in place of runtime.c and timer.c: one of them,
 *  whose tasks run when it is told to, and whose time stands still until it is moved on. What an
 *  input leads to is the same every time, and costs no change of threads.
 *
 *  pthread_cond_wait() runs tasks as well (the linker wraps it): whoever waits does so for them,
 *  and where there is none to run, for ever: a finding. */
#ifndef DACM_INLINE_RUNTIME_H
#define DACM_INLINE_RUNTIME_H

#include "rpc.h"

/** Runs what is queued and what comes of it. False: there was nothing. */
bool inline_runtime_run(void);
/** Moves time on to when the next timer is due, and runs. False: there is no timer. */
bool inline_runtime_skip(void);
/** Lanes, streams: what rpc_runtime_free() would wait for. */
size_t inline_runtime_holds(void);
size_t inline_runtime_timers(void);

#endif
