/* SPDX-License-Identifier: Apache-2.0 */
/** Pushes the log of revocations to one DACM (dacm.v1 TokenStatus.Report): a stream that is made
 *  again with back-off, continues where the DACM stands, and says every second that we live. */
#ifndef SIM_REPORTER_H
#define SIM_REPORTER_H

#include "host.h"
#include "state.h"

typedef struct sim_reporter sim_reporter;
/** resource is a label of metrics too: printable ASCII without quotes and backslashes. channel,
 *  state and log outlive it; no text of metrics is made after the stop. RESOURCE_EXHAUSTED: memory,
 * threads. */
RPC_MUST_USE rpc_code sim_reporter_start(rpc_channel *channel, sim_state *state,
    const char *resource, host_log *log, host_metrics *metrics, sim_reporter **ret,
    rpc_status *reterr);
/** There is something new; never blocks. Any thread, as the next three. */
void sim_reporter_wake(sim_reporter *reporter);
/** The number up to which the DACM has said that it applies. */
uint64_t sim_reporter_applied(sim_reporter *reporter);
/** Has the DACM answered on the stream of now? */
bool sim_reporter_connected(sim_reporter *reporter);
/** Waits until the DACM applies that number, at most wait_ms; false: not yet. */
bool sim_reporter_wait(sim_reporter *reporter, uint64_t sequence, int64_t wait_ms);
/** Blocks. NULL is allowed. */
void sim_reporter_stop(sim_reporter *reporter);

#endif
