/* SPDX-License-Identifier: Apache-2.0 */
/** skmsd as a whole: from its settings to a running server and back. One thread uses it. */
#ifndef SKM_SERVER_H
#define SKM_SERVER_H

#include "host.h"
#include "store.h"

typedef struct skm_server skm_server;

/** Takes settings, also on failure; they live until skm_server_stop(). The errors of what it stands
 *  on: a message says which setting or file. */
RPC_MUST_USE rpc_code skm_server_start(
    host_settings *settings, host_log *log, skm_server **ret, rpc_status *reterr);
/** Reads every file that settings name as a start would, and changes nothing. */
RPC_MUST_USE rpc_code skm_server_check(const host_values *values, rpc_status *reterr);
/** Certificates and issuers as settings have them now. On failure everything stays as it was. */
RPC_MUST_USE rpc_code skm_server_reload(
    skm_server *server, const host_settings *settings, rpc_status *reterr);
/** Lets running requests end (limits.drain_ms), then stops. NULL is allowed. */
void skm_server_stop(skm_server *server);
/** Where SKM-Cs and verifiers reach it, for a line of the log. */
const char *skm_server_url(const skm_server *server);

/** The store as store.* says; the errors of store_open_lmdb(). */
RPC_MUST_USE rpc_code skm_store_open(
    const host_values *values, const rpc_clock *clock, store **ret, rpc_status *reterr);

#endif
