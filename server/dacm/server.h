/* SPDX-License-Identifier: Apache-2.0 */
/** dacmd as a whole: from its settings to a running server and back. One thread uses it. */
#ifndef DACM_SERVER_H
#define DACM_SERVER_H

#include "host.h"

typedef struct dacm_server dacm_server;

/** Takes settings; they live until dacm_server_stop(). The errors of what it stands on: a message
 *  says which setting or file. */
RPC_MUST_USE rpc_code dacm_server_start(
    host_settings *settings, host_log *log, dacm_server **ret, rpc_status *reterr);
/** Reads every file that settings name (keys, certificates, trust) as a start would, and changes
 *  nothing: what --check-config says, and what comes before a reload. */
RPC_MUST_USE rpc_code dacm_server_check(const host_values *values, rpc_status *reterr);
/** Keys, certificates, issuers and peers as settings have them now, for what comes from now on;
 *  running downloads are decided again. On failure everything stays as it was. */
RPC_MUST_USE rpc_code dacm_server_reload(
    dacm_server *server, const host_settings *settings, rpc_status *reterr);
/** Lets running calls end (limits.drain_ms), then stops. NULL is allowed. */
void dacm_server_stop(dacm_server *server);
/** Where it listens, for a line of the log; "" when it does not. */
const char *dacm_server_users_url(const dacm_server *server);

#endif
