/* SPDX-License-Identifier: Apache-2.0 */
/** Adaptations under way: one for each variant, however many calls wait for it. What fails
 *  by the asset's fault is remembered for a minute, so that a broken one costs its processor time
 *  once in a minute; what fails for want of memory, descriptors or room here is UNAVAILABLE, and
 *  tried again when somebody asks.
 *
 *  Threads: any. */
#ifndef DACM_ADAPTATIONS_H
#define DACM_ADAPTATIONS_H

#include "making.h"

typedef struct dacm_adaptations dacm_adaptations;
struct dacm_adaptation;

/** One call that waits; embed it, zeroed. hold is called under a lock, before fn is posted to the
 *  call's strand; fn ends by giving back what hold took. */
typedef struct dacm_adapt_waiter {
    rpc_call *call;
    void (*hold)(void *arg);
    rpc_task_fn *fn;
    void *arg;
    rpc_status status;                  /* for fn */
    uint32_t retry_ms;                  /* for fn: 0, or when to ask again */
    struct dacm_adaptation *adaptation; /* private, as are: */
    const char *share;
    struct dacm_adapt_waiter *next, **link;
} dacm_adapt_waiter;

typedef struct dacm_adaptations_links {
    store *store;
    dacm_variants *variants;
    rpc_runtime *runtime;
    host_log *log;
    host_metrics *metrics;
    const rpc_clock *clock;
    media_workers_options workers; /* program NULL: media is not adapted */
    unsigned threads;              /* that read sources and write variants */
} dacm_adaptations_links;

/** What media_workers_start() says, RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_adaptations_start(
    const dacm_adaptations_links *links, dacm_adaptations **ret, rpc_status *reterr);
/** After the last call has left. Blocks. NULL is allowed. */
void dacm_adaptations_stop(dacm_adaptations *adaptations);

/** Waits for a variant that is not kept: begins to make it unless it is being made. share: the
 *  user whose share it counts for, borrowed while it waits; who comes later does not wait for the
 *  turn of who came first, where his own would be sooner. RPC_OK: fn will be posted unless the
 * waiter leaves. Otherwise it is not waiting: RESOURCE_EXHAUSTED (waiter->retry_ms), UNIMPLEMENTED
 * (media is not adapted here), or why it failed a moment ago. */
RPC_MUST_USE rpc_code dacm_adaptations_join(dacm_adaptations *adaptations,
    dacm_adapt_waiter *waiter, const dacm_wanted *wanted, const char *share, rpc_status *reterr);
/** Not waiting: nothing happens. What nobody waits for any more is not begun, or is ended. */
void dacm_adaptations_leave(dacm_adaptations *adaptations, dacm_adapt_waiter *waiter);
/** Since when (wall clock) are chunks of it put that no record lists yet? INT64_MAX: none are. What
 *  begins after the return puts, or touches, each of its chunks later. NULL is allowed. */
int64_t dacm_adaptations_putting_since(
    dacm_adaptations *adaptations, const uint8_t uid[STORE_UID_BYTES]);
/** Warns of workers that cannot be started, or no longer. Adaptations NULL is allowed. */
void dacm_adaptations_judge(dacm_adaptations *adaptations, host_health *health);

#endif
