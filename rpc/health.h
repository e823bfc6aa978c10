/* SPDX-License-Identifier: Apache-2.0 */
/** What a server tells its health service. Private to rpc/. */
#ifndef DACM_RPC_HEALTH_H
#define DACM_RPC_HEALTH_H

#include "rpc.h"

/** The server stops: nothing is serving any more, and watches end with UNAVAILABLE, since they
 *  would otherwise last for the whole of its grace. Nothing without rpc_server_add_health().
 *  Any thread. */
void rpc__health_stop(rpc_server *server);

#endif
