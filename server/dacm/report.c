/* SPDX-License-Identifier: Apache-2.0 */
/* TokenStatus.Report: the revocations of one issuer, told by its SIM-S. */
#include "peers.h"

static void on_start(rpc_call *call, void *user)
{
    (void)user;
    rpc_call_finish(call, RPC_UNIMPLEMENTED, "Report: not in this build");
}

const rpc_handler dacm_report_handler = {.on_start = on_start};
