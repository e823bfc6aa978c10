/* SPDX-License-Identifier: Apache-2.0 */
#include "wait.h"

static void done(store_op *op)
{
    sem_post(op->ctx);
}

store_op *dacm_wait_begin(dacm_wait *wait)
{
    sem_init(&wait->ended, 0, 0);
    wait->op = (store_op){.done = done, .ctx = &wait->ended};
    return &wait->op;
}

rpc_code dacm_wait_end(dacm_wait *wait, store_progress progress)
{
    if (progress == STORE_PENDING)
        while (sem_wait(&wait->ended) != 0) {
            /* interrupted by a signal */
        }
    sem_destroy(&wait->ended);
    return wait->op.status.code;
}

rpc_code dacm_wait_get(store *db, rpc_bytes group, rpc_bytes item, dacm_wait *wait)
{
    store_op *op = dacm_wait_begin(wait);
    return dacm_wait_end(wait, store_get(db, group, item, op));
}

rpc_code dacm_wait_scan(store *db, const store_scan_request *request, dacm_wait *wait)
{
    store_op *op = dacm_wait_begin(wait);
    return dacm_wait_end(wait, store_scan(db, request, op));
}
