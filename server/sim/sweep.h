/* SPDX-License-Identifier: Apache-2.0 */
/** The thread that removes what has expired, and finishes ends that a crash interrupted. */
#ifndef SIM_SWEEP_H
#define SIM_SWEEP_H

#include "sim_internal.h"

typedef struct sim_sweep sim_sweep;
RPC_MUST_USE rpc_code sim_sweep_start(
    sim_service *service, int64_t interval_s, sim_sweep **ret, rpc_status *reterr);
/** NULL is allowed. */
void sim_sweep_stop(sim_sweep *sweep);

#endif
