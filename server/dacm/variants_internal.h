/* SPDX-License-Identifier: Apache-2.0 */
/** Between variants.c (the table, and what is put and given up) and variants_sweep.c (the walks of
 *  a start and of a sweep). */
#ifndef DACM_VARIANTS_INTERNAL_H
#define DACM_VARIANTS_INTERNAL_H

#include "changes.h"
#include "variants.h"

#include <pthread.h>

#define VARIANTS_BUCKETS 4096u

typedef struct variant {
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    uint64_t size;
    struct variant *next;          /* of the bucket */
    struct variant *older, *newer; /* by use */
} variant;

struct dacm_variants {
    dacm_variants_links links;
    host_counter *given_up;
    pthread_mutex_t lock;
    variant *buckets[VARIANTS_BUCKETS];
    variant *oldest, *newest;
    uint64_t bytes, count;
    uint64_t given_up_bytes, given_up_since; /* since the last sweep began */
    uint64_t bytes_max, given_up_max;        /* never change */
    void (*full)(void *ctx);
    void *full_ctx;
};

/** Under the lock, in place of an entry that is there. False: no memory. */
bool variants_add(
    dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, uint64_t size);
/** Under the lock: what was given up takes half of what it may. */
bool variants_short_of_room(const dacm_variants *v);
/** Its record is gone. */
void variants_forget_one(
    dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which);
/** Writes to the group w/ASSET, and frees the changes. Blocks. The store's errors. */
rpc_code variants_apply(dacm_variants *v, dacm_changes *changes, const char *asset_id,
    uint64_t expected, rpc_status *reterr);

#endif
