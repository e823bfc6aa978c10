/* SPDX-License-Identifier: Apache-2.0 */
/** The operator's service (skms.v1.Admin) on a socket of the machine. */
#ifndef SKM_ADMIN_H
#define SKM_ADMIN_H

#include "skm_internal.h"

typedef struct skm_admin skm_admin;

/** Listens where listen.admin.url says; where it is empty, *ret is NULL. service, calls and
 * settings outlive it. The errors of rpc_server_new() and rpc_server_listen(). */
RPC_MUST_USE rpc_code skm_admin_start(skm_service *service, host_rpc *calls,
    const host_values *settings, skm_admin **ret, rpc_status *reterr);
/** Lets calls end for grace_ms. Blocks. NULL is allowed. */
void skm_admin_stop(skm_admin *admin, int64_t grace_ms);

#endif
