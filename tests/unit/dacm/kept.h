/* SPDX-License-Identifier: Apache-2.0 */
/** A store on disk with assets, versions and chunks as dacmd keeps them, and a clock under
 *  control. Chunk n of a test is always the same bytes. */
#ifndef DACM_TEST_KEPT_H
#define DACM_TEST_KEPT_H

#include "dacm_internal.h"

#include "test.h"

#include <stdatomic.h>

#define KEPT_START_MS 1790000000000

typedef struct kept {
    char directory[256];
    store *db;
    _Atomic int64_t wall_ms;
    rpc_clock clock;
    dacm_config config;
    dacm_service service; /* what sweeps need */
    host_metrics *metrics;
    uint64_t room_bytes;    /* of the store, as variants are told; 0: not known */
    uint64_t variant_bytes; /* that records of variants claim; 0: what they have */
} kept;

void kept_open(kept *k);
/** Closes the store only: for tools, which want it alone. */
void kept_close_store(kept *k);
void kept_close(kept *k);
/** As after a start, with a budget; what stands in the store is loaded. */
void kept_open_variants(kept *k, uint64_t bytes_max);
void kept_pass(kept *k, int64_t ms);

/** Chunk n: 1000 + n bytes. */
size_t kept_chunk(unsigned n, uint8_t ret_digest[32], uint8_t *ret_bytes);
/** Puts chunk n of the asset whose uid begins with that byte. */
void kept_put_chunk(kept *k, uint8_t asset, unsigned n);
void kept_put_bytes(kept *k, uint8_t asset, const void *bytes, size_t size, uint8_t ret_digest[32]);
/** Other bytes of the same length stand where chunk n was, as on a disk that rots. */
void kept_rot_chunk(kept *k, uint8_t asset, unsigned n);
/** The same of a page of a list: one of its digests is another. */
void kept_rot_page(kept *k, uint8_t asset, const uint8_t digest[32]);
bool kept_has_chunk(kept *k, uint8_t asset, unsigned n);
bool kept_has_digest(kept *k, uint8_t asset, const uint8_t digest[32]);
void kept_drop_digest(kept *k, uint8_t asset, const uint8_t digest[32]);
void kept_asset_id(uint8_t asset, char ret[2 * STORE_UID_BYTES + 1]);

void kept_put(kept *k, host_key group, host_key item, const ProtobufCMessage *record);
void kept_delete(kept *k, host_key group, host_key item);
/** What DeleteProfile leaves in the place of a profile. */
void kept_put_tombstone(kept *k, uint8_t asset);
/** In its place stands what is no record. */
void kept_damage(kept *k, host_key group, host_key item);
bool kept_has(kept *k, host_key group, host_key item);

/** A version of chunks first..first+count-1 in pages of per_page entries (0: 7,000). */
typedef struct kept_version {
    uint8_t asset;
    uint64_t version;
    unsigned first, count, per_page;
    int wrong_length;                      /* added to the length of the first entry in the list */
    int64_t size_more;                     /* added to the size in the record */
    uint8_t page[32];                      /* out: digest of the last page */
    uint8_t chunks_sha256[32], sha256[32]; /* out */
} kept_version;
/** Chunks, pages and the version's record; no profile. */
void kept_put_version(kept *k, kept_version *version);
/** dacm_variants_put() of one chunk, n, by a recipe of that text. */
void kept_put_variant(kept *k, uint8_t asset, uint64_t version, const char *recipe, unsigned n);
dacm_which kept_which(uint64_t version, const char *recipe);
/** Of which no version but the newest is kept. */
void kept_put_profile(kept *k, uint8_t asset, uint64_t newest, uint64_t grants);
void kept_put_grant(kept *k, uint8_t asset, const char *gpsi);

#endif
