/* SPDX-License-Identifier: Apache-2.0 */
/** Interceptors of a server or channel: one way to run them. Private to rpc/. */
#ifndef DACM_RPC_INTERCEPT_H
#define DACM_RPC_INTERCEPT_H

#include "rpc.h"

typedef struct rpc__interceptors {
    rpc_interceptor *list;
    size_t count;
} rpc__interceptors;

/** Copies list. False: no memory. */
bool rpc__interceptors_init(
    rpc__interceptors *interceptors, const rpc_interceptor *list, size_t count);
void rpc__interceptors_done(rpc__interceptors *interceptors);
/** on_start of those that have not run, in order, until one refuses. False: it did, with
 *  *reterr, or the call ended meanwhile (RPC_OK). (strand) */
bool rpc__intercept_start(rpc_call *call, rpc_status *reterr);
/** on_end of those that have run, in reverse. (strand) */
void rpc__intercept_end(rpc_call *call, const rpc_status *status);

#endif
