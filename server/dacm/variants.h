/* SPDX-License-Identifier: Apache-2.0 */
/** The adapted copies that are kept: which there are, when each was used last, and which go when
 *  they take more than their budget (media.variants_bytes_max).
 *
 *  A variant is a Version record in the group w/ASSET and chunks of its asset. What is given up
 *  moves to x/WHICH there, so that downloads that run keep their chunks; the sweep removes it an
 *  hour later. When each was used is in memory only: after a start the oldest go first.
 *
 *  Threads: any, unless "blocks" is said: then one that may. */
#ifndef DACM_VARIANTS_H
#define DACM_VARIANTS_H

#include "assemble.h"
#include "object.h"

/** Longer than any token lives (900 s), and so than any download. */
#define DACM_GIVEN_UP_S 3600

typedef struct dacm_variants dacm_variants;

typedef struct dacm_variants_links {
    store *store;
    dacm_objects *objects;
    host_log *log;
    host_metrics *metrics;
    const rpc_clock *clock;
    uint64_t bytes_max;
} dacm_variants_links;

/** links are borrowed as a whole but for the struct. NULL: no memory. */
RPC_MUST_USE dacm_variants *dacm_variants_new(const dacm_variants_links *links);
void dacm_variants_free(dacm_variants *variants);
/** What the store has. Blocks. The store's errors, RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_variants_load(dacm_variants *variants, rpc_status *reterr);

/** It is being downloaded. */
void dacm_variants_used(
    dacm_variants *variants, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which);
/** Writes its record, whose chunks are in the store, and gives up others when there are too many.
 *  Blocks. The store's errors. */
RPC_MUST_USE rpc_code dacm_variants_put(dacm_variants *variants, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, Dacm__Records__Version *record,
    const dacm_page *pages, size_t page_count, rpc_status *reterr);
/** The records of an asset are gone. */
void dacm_variants_forget(dacm_variants *variants, const uint8_t uid[STORE_UID_BYTES]);
/** Removes the records of variants whose version is gone, and of those given up long ago. Blocks.
 *  *ret: how many. */
RPC_MUST_USE rpc_code dacm_variants_sweep(
    dacm_variants *variants, int64_t now_s, uint64_t *ret, rpc_status *reterr);

#endif
