/* SPDX-License-Identifier: Apache-2.0 */
/** Chunk lists and which of their chunks a download sends. Pure: no store, no wire.
 *  A list is a sequence of entries: length (32 bits, big-endian) and SHA-256 (design, section 6;
 *  proto/dacm/v1/digital_asset.proto, ChunkList). */
#ifndef DACM_PLAN_H
#define DACM_PLAN_H

#include "base.h"

#define DACM_ENTRY_BYTES       36u
#define DACM_DIGEST_BYTES      32u
#define DACM_LIST_ENTRIES_MAX  (1u << 20) /* 16 GiB in the smallest chunks */
#define DACM_CHUNK_BYTES_MAX   (256u << 10)
#define DACM_RUN_BYTES_MAX     (512u << 10) /* of one Chunks message */
#define DACM_PAGE_ENTRIES      7000u        /* a page is kept as one chunk: 252,000 bytes */
#define DACM_WIRE_PAGE_ENTRIES 65536u

/** A list in memory. offsets[i] is where chunk i begins; offsets[count] the object's size. */
typedef struct dacm_list {
    uint32_t count;
    uint8_t *entries; /* count × DACM_ENTRY_BYTES */
    uint64_t *offsets;
} dacm_list;

/** Takes ownership of entries (malloc) on success. DATA_LOSS: not a whole number of entries, too
 *  many, a length of 0 or above 256 KiB, or the sum is not size. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_list_init(
    dacm_list *list, uint8_t *entries, size_t entries_size, uint64_t size, rpc_status *reterr);
void dacm_list_done(dacm_list *list);

static inline const uint8_t *dacm_list_digest(const dacm_list *list, uint32_t index)
{
    return list->entries + (size_t)index * DACM_ENTRY_BYTES + 4;
}
static inline uint32_t dacm_list_length(const dacm_list *list, uint32_t index)
{
    return (uint32_t)(list->offsets[index + 1] - list->offsets[index]);
}

/** Writes one entry. */
void dacm_entry_write(uint8_t *entry, uint32_t length, const uint8_t digest[DACM_DIGEST_BYTES]);

/** What a download still has to send: chunks first..end-1 whose bit is set. */
typedef struct dacm_plan {
    uint32_t first, end;
    uint8_t *held; /* bit i - first: the client has chunk i; NULL = it has none */
    uint64_t send_bytes;
} dacm_plan;

/** length 0 = to the end. OUT_OF_RANGE: offset beyond the object (offset 0 of an empty one is
 *  allowed). */
RPC_MUST_USE rpc_code dacm_plan_init(
    dacm_plan *plan, const dacm_list *list, uint64_t offset, uint64_t length, rpc_status *reterr);
void dacm_plan_done(dacm_plan *plan);
/** Leaves out every chunk whose digest is one of the count digests (32 bytes each, sorted here
 *  in place). RESOURCE_EXHAUSTED when memory is short. */
RPC_MUST_USE rpc_code dacm_plan_leave_out(
    dacm_plan *plan, const dacm_list *list, uint8_t *digests, size_t count, rpc_status *reterr);
/** The next run of consecutive chunks to send from chunk `from` on: at most 512 KiB. False when
 *  there is none. */
bool dacm_plan_next(const dacm_plan *plan, const dacm_list *list, uint32_t from,
    uint32_t *ret_first, uint32_t *ret_end, size_t *ret_bytes);

#endif
