/* SPDX-License-Identifier: Apache-2.0 */
/** The operator's service (sim.v1.Admin) on a socket of the machine. */
#ifndef SIM_ADMIN_H
#define SIM_ADMIN_H

#include "host.h"
#include "sim_internal.h"

typedef struct sim_admin sim_admin;

/** Listens where listen.admin.url says; where it is empty, *ret is NULL. service, calls and
 * settings outlive it. The errors of rpc_server_new() and rpc_server_listen(). */
RPC_MUST_USE rpc_code sim_admin_start(sim_service *service, host_rpc *calls,
    const host_values *settings, sim_admin **ret, rpc_status *reterr);
/** Lets calls end for grace_ms. Blocks. NULL is allowed. */
void sim_admin_stop(sim_admin *admin, int64_t grace_ms);

#endif
