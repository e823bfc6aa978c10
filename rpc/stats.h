/* SPDX-License-Identifier: Apache-2.0 */
/** Counters of calls, of one method or channel. Each thread adds to a part of its own, without a
 *  lock and as a rule without another core's cache line; readers add the parts up. Private to
 *  rpc/. */
#ifndef DACM_RPC_STATS_H
#define DACM_RPC_STATS_H

#include "rpc.h"

typedef struct rpc__stats rpc__stats;

/** NULL: no memory. */
rpc__stats *rpc__stats_new(void);
void rpc__stats_free(rpc__stats *stats);
void rpc__stats_started(rpc__stats *stats, int64_t now_us);
void rpc__stats_ended(rpc__stats *stats, const rpc_call *call, rpc_code code, int64_t us);
/** Adds to *sum; its latency cells too. */
void rpc__stats_add_to(const rpc__stats *stats, rpc_call_stats *sum);

#endif
