/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

bool rpc__interceptors_init(
    rpc__interceptors *interceptors, const rpc_interceptor *list, size_t count)
{
    *interceptors = (rpc__interceptors){0};
    if (count == 0)
        return true;
    interceptors->list = calloc(count, sizeof *list);
    if (!interceptors->list)
        return false;
    memcpy(interceptors->list, list, count * sizeof *list);
    interceptors->count = count;
    return true;
}

void rpc__interceptors_done(rpc__interceptors *interceptors)
{
    free(interceptors->list);
    *interceptors = (rpc__interceptors){0};
}

bool rpc__intercept_start(rpc_call *call, rpc_status *reterr)
{
    const rpc__interceptors *all = call->interceptors;
    reterr->code = RPC_OK;
    while (all && call->interceptors_run < all->count) {
        const rpc_interceptor *interceptor = &all->list[call->interceptors_run++];
        if (interceptor->on_start)
            reterr->code = interceptor->on_start(interceptor->ctx, call, reterr);
        if (reterr->code != RPC_OK || call->over)
            return false;
    }
    return true;
}

void rpc__intercept_end(rpc_call *call, const rpc_status *status)
{
    while (call->interceptors_run > 0) {
        const rpc_interceptor *interceptor = &call->interceptors->list[--call->interceptors_run];
        if (interceptor->on_end)
            interceptor->on_end(interceptor->ctx, call, status);
    }
}
