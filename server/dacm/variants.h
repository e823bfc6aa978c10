/* SPDX-License-Identifier: Apache-2.0 */
/** The adapted copies that are kept: which there are, when each was used last, and which go when
 *  they take more than their budget (media.variants_bytes_max).
 *
 *  A variant is a Version record in the group w/ASSET and chunks of its asset. What is given up
 *  moves to x/WHICH there, so that downloads that run keep their chunks; the sweep removes it an
 *  hour later. What waits for that takes no more than the budget either (64 MiB where the store has
 *  room for that): from
 *  half of it on the sweep is woken, and removes what no download holds at once; beyond it nothing
 *  more is made. When each was used is in memory only: after a start the oldest go first.
 *
 *  Threads: any, unless "blocks" is said: then one that may. */
#ifndef DACM_VARIANTS_H
#define DACM_VARIANTS_H

#include "assemble.h"
#include "object.h"
#include "running.h"

/** Longer than any token lives (900 s), and so than any download. */
#define DACM_GIVEN_UP_S 3600

typedef struct dacm_variants dacm_variants;

typedef struct dacm_variants_links {
    store *store;
    dacm_objects *objects;
    host_log *log;
    host_metrics *metrics;
    const rpc_clock *clock;
    dacm_running *running;
    uint64_t bytes_max;
    uint64_t room_bytes; /* of the store in all: variants take at most a quarter; 0: not known */
} dacm_variants_links;

/** links are borrowed as a whole but for the struct. NULL: no memory. */
RPC_MUST_USE dacm_variants *dacm_variants_new(const dacm_variants_links *links);
void dacm_variants_free(dacm_variants *variants);
/** What the store has; a record that is damaged is left out. Blocks. The store's errors,
 *  RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_variants_load(dacm_variants *variants, rpc_status *reterr);

/** fn is called when what was given up takes so much that a sweep should come soon: under a lock,
 *  by any thread; it must not block or call a function here. NULL: nobody any more. */
void dacm_variants_watch(dacm_variants *variants, void (*fn)(void *ctx), void *ctx);
/** May another be made? RESOURCE_EXHAUSTED: what was given up takes all the room it may. */
RPC_MUST_USE rpc_code dacm_variants_admit(dacm_variants *variants, rpc_status *reterr);
/** It is being downloaded. */
void dacm_variants_used(
    dacm_variants *variants, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which);
/** Writes its record, whose chunks are in the store, and gives up others when there are too many.
 *  Blocks. The store's errors. */
RPC_MUST_USE rpc_code dacm_variants_put(dacm_variants *variants, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, Dacm__Records__Version *record,
    const dacm_page *pages, size_t page_count, rpc_status *reterr);
/** Removes the record under item of w/ASSET, which nobody can read, and says so in the log. Blocks.
 *  The store's errors. */
RPC_MUST_USE rpc_code dacm_variants_remove_damaged(dacm_variants *variants, const char *asset_id,
    rpc_bytes item, const rpc_status *why, rpc_status *reterr);
/** The records of an asset are gone. */
void dacm_variants_forget(dacm_variants *variants, const uint8_t uid[STORE_UID_BYTES]);
/** An asset of which variants that were given up are gone: their chunks were put after since_s. */
typedef struct dacm_variants_gone {
    uint8_t uid[STORE_UID_BYTES];
    int64_t since_s;
} dacm_variants_gone;

typedef struct dacm_variants_swept {
    uint64_t removed;         /* records of both kinds */
    dacm_variants_gone *gone; /* free() it, also after a failure */
    size_t gone_count;
} dacm_variants_swept;

/** Removes the records of variants whose version is gone, and of those given up long ago, or where
 *  room is short whatever no download holds. Blocks. ret is set also on failure.
 *  DATA_LOSS: a record cannot be read and stays; all others are swept. The store's errors. */
RPC_MUST_USE rpc_code dacm_variants_sweep(
    dacm_variants *variants, int64_t now_s, dacm_variants_swept *ret, rpc_status *reterr);

#endif
