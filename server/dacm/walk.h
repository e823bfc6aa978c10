/* SPDX-License-Identifier: Apache-2.0 */
/** Going through the records and chunk lists of the store, on threads that may block. */
#ifndef DACM_WALK_H
#define DACM_WALK_H

#include "plan.h"
#include "records.h"

/** Every record of the groups whose names begin with prefix (or, with one_per_group, the first of
 *  each). The store's errors. */
RPC_MUST_USE rpc_code dacm_walk_groups(store *db, const char *prefix, bool one_per_group,
    store_walk_fn *fn, void *ctx, rpc_status *reterr);
/** Every record of one group whose item begins with prefix. */
RPC_MUST_USE rpc_code dacm_walk_items(store *db, const host_key *group, const char *prefix,
    store_walk_fn *fn, void *ctx, rpc_status *reterr);

typedef bool dacm_digest_fn(void *ctx, const uint8_t digest[DACM_DIGEST_BYTES], uint32_t length);
/** Every chunk that a version stands on: pages of its list (length 0) and the chunks in them.
 *  DATA_LOSS: a page is missing, cut or not what was stored, or the record contradicts itself. */
RPC_MUST_USE rpc_code dacm_walk_version(store *db, const uint8_t uid[STORE_UID_BYTES],
    const Dacm__Records__Version *version, dacm_digest_fn *fn, void *ctx, rpc_status *reterr);

#endif
