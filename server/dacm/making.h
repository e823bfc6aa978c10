/* SPDX-License-Identifier: Apache-2.0 */
/** What making a variant reads from the store and writes into it. Every function blocks. */
#ifndef DACM_MAKING_H
#define DACM_MAKING_H

#include "media_worker.h"
#include "variants.h"

/** Which variant of what. */
typedef struct dacm_wanted {
    char asset_id[DACM_ASSET_ID_MAX + 1];
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    char recipe[MEDIA_RECIPE_ROOM]; /* canonical */
} dacm_wanted;

/** Which sources are taken. */
typedef struct dacm_source_rule {
    uint64_t bytes_max;
    /* Asked once the size is known and before a chunk is read; what is not RPC_OK is returned. */
    rpc_code (*admit)(void *ctx, uint64_t size, rpc_status *reterr);
    void *ctx;
} dacm_source_rule;

/** A version as a sealed source for a worker: its bytes are those that were stored.
 *  ret_source  close() it
 *  RESOURCE_EXHAUSTED   it is larger than bytes_max
 *  FAILED_PRECONDITION  it is empty
 *  UNAVAILABLE          no memory or descriptors, or the store has none; nothing is wrong with it
 *  NOT_FOUND            it is gone meanwhile
 *  DATA_LOSS            the store has lost some of it, or has other bytes
 *  INTERNAL             the store failed
 *  and what rule->admit says */
RPC_MUST_USE rpc_code dacm_make_source(store *db, const dacm_wanted *wanted,
    const dacm_source_rule *rule, int *ret_source, uint8_t ret_sha256[DACM_DIGEST_BYTES],
    rpc_status *reterr);
/** Puts what a worker made: chunks, then the record. The store's errors. */
RPC_MUST_USE rpc_code dacm_make_variant(dacm_variants *variants, store *db,
    const dacm_wanted *wanted, const uint8_t source_sha256[DACM_DIGEST_BYTES],
    const media_made *made, int64_t now_s, rpc_status *reterr);

#endif
