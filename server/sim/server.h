/* SPDX-License-Identifier: Apache-2.0 */
/** simsd as a whole: from its settings to a running server and back. One thread uses it. */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include "host.h"

typedef struct sim_server sim_server;

/** Takes settings, also on failure; they live until sim_server_stop(). The errors of what it stands
 *  on: a message says which setting or file. */
RPC_MUST_USE rpc_code sim_server_start(
    host_settings *settings, host_log *log, sim_server **ret, rpc_status *reterr);
/** Reads every file that settings name (keys, certificates, trust) as a start would, and changes
 *  nothing: what --check-config says, and what comes before a reload. */
RPC_MUST_USE rpc_code sim_server_check(const host_values *values, rpc_status *reterr);
/** Keys and certificates as settings have them now, for what comes from now on. On failure
 *  everything stays as it was. */
RPC_MUST_USE rpc_code sim_server_reload(
    sim_server *server, const host_settings *settings, rpc_status *reterr);
/** Lets running requests end (limits.drain_ms), then stops. NULL is allowed. */
void sim_server_stop(sim_server *server);
/** Where browsers and clients reach it, for a line of the log. */
const char *sim_server_url(const sim_server *server);

#endif
