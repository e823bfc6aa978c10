/* SPDX-License-Identifier: Apache-2.0 */
/** Waiting for an operation of the store, on threads that may block: sweeps, tools, pools. */
#ifndef DACM_WAIT_H
#define DACM_WAIT_H

#include "store.h"

#include <semaphore.h>

/** One operation at a time; embed it, give &wait.op to the store. */
typedef struct dacm_wait {
    store_op op;
    sem_t ended; /* private */
} dacm_wait;

/** For each operation anew. */
store_op *dacm_wait_begin(dacm_wait *wait);
/** The outcome; what op holds is the caller's. */
rpc_code dacm_wait_end(dacm_wait *wait, store_progress progress);

/** Each waits. NOT_FOUND and the store's errors. The view is the caller's. */
rpc_code dacm_wait_get(store *db, rpc_bytes group, rpc_bytes item, dacm_wait *wait);
rpc_code dacm_wait_scan(store *db, const store_scan_request *request, dacm_wait *wait);

#endif
