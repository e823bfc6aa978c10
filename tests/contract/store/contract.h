/* SPDX-License-Identifier: Apache-2.0 */
/** The contract of store.h as tests; what is under test is a parameter, store_contract. */
#ifndef DACM_STORE_CONTRACT_H
#define DACM_STORE_CONTRACT_H

#include "store.h"
#include "test.h"

#include <pthread.h>

typedef struct contract_limits {
    uint64_t meta_bytes, chunks_bytes; /* 0: CONTRACT_MAP_BYTES or 64 MiB */
    unsigned queue_max;
    const rpc_clock *clock;
    store_sync sync;
} contract_limits;

typedef struct contract_implementation {
    const char *name;
    rpc_code (*open)(const char *directory, const contract_limits *limits, store **ret_store,
        rpc_status *reterr);
} contract_implementation;

/** Defined by the file of the implementation that is linked in. */
extern const contract_implementation store_contract;

/** Opens or fails the test. NULL limits: the defaults, STORE_SYNC_PROCESS. */
store *contract_open(const char *directory, const contract_limits *limits);

/** An operation and a way to wait for it. */
typedef struct waiter {
    store_op op;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool done;
} waiter;

void waiter_init(waiter *waiter);
void waiter_done(waiter *waiter);
/** Waits if pending; returns the outcome. */
rpc_code waiter_wait(waiter *waiter, store_progress progress);

#define BYTES(text) rpc_bytes_of(text, sizeof(text) - 1)

/* Each runs one operation to its end; ret_* are optional. */
rpc_code do_update(store *store, rpc_bytes group, uint64_t expected, const store_change *changes,
    size_t count, uint64_t *ret_generation);
rpc_code do_put(store *store, rpc_bytes group, rpc_bytes item, rpc_bytes value);
/** ret_value (malloced, NUL behind it) only on RPC_OK. */
rpc_code do_get(
    store *store, rpc_bytes group, rpc_bytes item, char **ret_value, uint64_t *ret_generation);
rpc_code do_scan(store *store, const store_scan_request *request, store_page **ret_page);
uint64_t do_generation(store *store, rpc_bytes group);
rpc_code do_chunk_put(store *store, const store_chunk_ref *ref, rpc_bytes bytes);
rpc_code do_chunk_has(store *store, const store_chunk_ref *ref, int64_t *ret_put_ms);
rpc_code do_read(store *store, const store_chunk_ref *ref, uint64_t offset, uint64_t length,
    store_view *ret_view);
rpc_code do_drop(store *store, const store_chunk_ref *ref, int64_t older_than_ms,
    size_t *ret_dropped, size_t *ret_kept);
store_chunk_ref chunk_ref(uint8_t uid, uint32_t number);

/** Runs fn in a child process and fails the test unless it returns 0. */
void in_child(int (*fn)(void *arg), void *arg);

#endif
