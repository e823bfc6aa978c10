/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

static void done(store_op *op)
{
    sem_post(op->ctx);
}

store_op *store_wait_begin(store_wait *wait)
{
    sem_init(&wait->ended, 0, 0);
    wait->op = (store_op){.done = done, .ctx = &wait->ended};
    return &wait->op;
}

rpc_code store_wait_end(store_wait *wait, store_progress progress)
{
    if (progress == STORE_PENDING)
        while (sem_wait(&wait->ended) != 0) {
            /* interrupted by a signal */
        }
    sem_destroy(&wait->ended);
    return wait->op.status.code;
}

rpc_code store_wait_get(store *db, rpc_bytes group, rpc_bytes item, store_wait *wait)
{
    store_op *op = store_wait_begin(wait);
    return store_wait_end(wait, store_get(db, group, item, op));
}

rpc_code store_wait_scan(store *db, const store_scan_request *request, store_wait *wait)
{
    store_op *op = store_wait_begin(wait);
    return store_wait_end(wait, store_scan(db, request, op));
}

rpc_code store_wait_update(store *db, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_wait *wait)
{
    store_op *op = store_wait_begin(wait);
    return store_wait_end(wait, store_update(db, group, expected, changes, count, op));
}

rpc_code store_walk(
    store *db, const store_scan_request *request, store_walk_fn *fn, void *ctx, rpc_status *reterr)
{
    store_scan_request next = *request;
    store_cursor cursor;
    bool more = true;
    while (more) {
        store_wait wait;
        if (store_wait_scan(db, &next, &wait) != RPC_OK) {
            if (reterr)
                *reterr = wait.op.status;
            return wait.op.status.code;
        }
        more = wait.op.page->more;
        for (size_t i = 0; i < wait.op.page->count; i++)
            if (!fn(ctx, &wait.op.page->entries[i])) {
                more = false;
                break;
            }
        cursor = wait.op.page->next;
        next.after = &cursor;
        store_page_free(wait.op.page);
    }
    return RPC_OK;
}
