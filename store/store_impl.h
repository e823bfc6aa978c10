/* SPDX-License-Identifier: Apache-2.0 */
/** What an implementation of store.h fills in. Not for users of the store. */
#ifndef DACM_STORE_IMPL_H
#define DACM_STORE_IMPL_H

#include "store.h"

#include <pthread.h>

#define STORE_WATCHERS_MAX 8

/** The functions of store.h with their arguments already checked. */
typedef struct store_ops {
    store_progress (*get)(store *store, rpc_bytes group, rpc_bytes item, store_op *op);
    store_progress (*scan)(store *store, const store_scan_request *request, store_op *op);
    store_progress (*generation)(store *store, rpc_bytes group, store_op *op);
    store_progress (*update)(store *store, rpc_bytes group, uint64_t expected,
        const store_change *changes, size_t count, store_op *op);
    /* bytes.data is NULL for a refresh */
    store_progress (*chunk_put)(
        store *store, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op);
    store_progress (*chunk_has)(store *store, const store_chunk_ref *ref, store_op *op);
    store_progress (*read)(
        store *store, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_op *op);
    /* uid is NULL for the list of assets */
    store_progress (*chunk_scan)(store *store, const uint8_t *uid, const store_cursor *after,
        uint32_t entries_max, store_op *op);
    store_progress (*chunk_drop)(store *store, const uint8_t *uid,
        const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count, int64_t older_than_ms,
        store_op *op);
    rpc_code (*stat)(store *store, store_stats *ret_stats, rpc_status *reterr);
    void (*close)(store *store);
} store_ops;

/** The start of every implementation's store. */
struct store {
    const store_ops *ops;
    pthread_mutex_t watch_mutex; /* guards what follows; held while watchers run */
    size_t watchers;
    struct {
        store_watch_fn *fn;
        void *ctx;
    } watcher[STORE_WATCHERS_MAX];
};

/** The start of whatever store_view.pin points at. */
typedef struct store_pin store_pin;
struct store_pin {
    void (*release)(store_pin *pin);
};

void store_base_init(store *store, const store_ops *ops);
void store_base_done(store *store);
void store_tell_watchers(store *store, rpc_bytes group, uint64_t generation);
/** Ends a PENDING operation: done runs here or where op->executor takes it. */
void store_complete(store_op *op);

#endif
