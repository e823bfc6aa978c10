/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

static uint32_t read_be32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

void dacm_entry_write(uint8_t *entry, uint32_t length, const uint8_t digest[DACM_DIGEST_BYTES])
{
    entry[0] = (uint8_t)(length >> 24);
    entry[1] = (uint8_t)(length >> 16);
    entry[2] = (uint8_t)(length >> 8);
    entry[3] = (uint8_t)length;
    memcpy(entry + 4, digest, DACM_DIGEST_BYTES);
}

static rpc_code fill_offsets(
    const uint8_t *entries, uint32_t count, uint64_t size, uint64_t *offsets, rpc_status *reterr)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = read_be32(entries + (size_t)i * DACM_ENTRY_BYTES);
        if (length == 0 || length > DACM_CHUNK_BYTES_MAX)
            return rpc_status_set(reterr, RPC_DATA_LOSS,
                "chunk list: entry %u has length %u, not 1 to %u; run dacmd --store-check", i,
                length, DACM_CHUNK_BYTES_MAX);
        offsets[i] = offset;
        offset += length;
    }
    offsets[count] = offset;
    if (offset != size)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "chunk list: its chunks are %llu bytes in all and the object is %llu; run dacmd "
            "--store-check",
            (unsigned long long)offset, (unsigned long long)size);
    return RPC_OK;
}

rpc_code dacm_list_init(
    dacm_list *list, uint8_t *entries, size_t entries_size, uint64_t size, rpc_status *reterr)
{
    if (entries_size % DACM_ENTRY_BYTES != 0 ||
        entries_size / DACM_ENTRY_BYTES > DACM_LIST_ENTRIES_MAX)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "chunk list: %zu bytes are not up to %u entries of %u bytes; run dacmd --store-check",
            entries_size, DACM_LIST_ENTRIES_MAX, DACM_ENTRY_BYTES);
    uint32_t count = (uint32_t)(entries_size / DACM_ENTRY_BYTES);
    uint64_t *offsets = malloc(((size_t)count + 1) * sizeof *offsets);
    if (!offsets)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "chunk list: no memory for the offsets of %u chunks", count);
    rpc_code code = fill_offsets(entries, count, size, offsets, reterr);
    if (code != RPC_OK) {
        free(offsets);
        return code;
    }
    *list = (dacm_list){count, entries, offsets};
    return RPC_OK;
}

void dacm_list_done(dacm_list *list)
{
    free(list->entries);
    free(list->offsets);
    *list = (dacm_list){0};
}

/* The chunk that holds byte offset; offset is below the object's size. */
static uint32_t chunk_at(const dacm_list *list, uint64_t offset)
{
    uint32_t low = 0, high = list->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (list->offsets[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

rpc_code dacm_plan_init(
    dacm_plan *plan, const dacm_list *list, uint64_t offset, uint64_t length, rpc_status *reterr)
{
    uint64_t size = list->offsets[list->count];
    if (offset > size || (offset == size && size > 0))
        return rpc_status_set(reterr, RPC_OUT_OF_RANGE,
            "range.offset: %llu is not inside the object of %llu bytes; ask for an offset below it",
            (unsigned long long)offset, (unsigned long long)size);
    uint64_t end = length == 0 || length > size - offset ? size : offset + length;
    plan->held = NULL;
    plan->first = size == 0 ? 0 : chunk_at(list, offset);
    plan->end = size == 0 ? 0 : chunk_at(list, end - 1) + 1;
    plan->send_bytes = list->offsets[plan->end] - list->offsets[plan->first];
    return RPC_OK;
}

void dacm_plan_done(dacm_plan *plan)
{
    free(plan->held);
    *plan = (dacm_plan){0};
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, DACM_DIGEST_BYTES);
}

rpc_code dacm_plan_leave_out(
    dacm_plan *plan, const dacm_list *list, uint8_t *digests, size_t count, rpc_status *reterr)
{
    if (count == 0 || plan->first == plan->end)
        return RPC_OK;
    if (!plan->held)
        plan->held = calloc((plan->end - plan->first + 7) / 8, 1);
    if (!plan->held)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "have: no memory to mark the chunks that are held");
    qsort(digests, count, DACM_DIGEST_BYTES, compare_digests);
    for (uint32_t i = plan->first; i < plan->end; i++) {
        uint32_t bit = i - plan->first;
        if (plan->held[bit / 8] & 1u << bit % 8)
            continue;
        if (!bsearch(dacm_list_digest(list, i), digests, count, DACM_DIGEST_BYTES, compare_digests))
            continue;
        plan->held[bit / 8] |= (uint8_t)(1u << bit % 8);
        plan->send_bytes -= dacm_list_length(list, i);
    }
    return RPC_OK;
}

static bool is_held(const dacm_plan *plan, uint32_t index)
{
    uint32_t bit = index - plan->first;
    return plan->held && plan->held[bit / 8] & 1u << bit % 8;
}

bool dacm_plan_next(const dacm_plan *plan, const dacm_list *list, uint32_t from,
    uint32_t *ret_first, uint32_t *ret_end, size_t *ret_bytes)
{
    uint32_t first = from < plan->first ? plan->first : from;
    while (first < plan->end && is_held(plan, first))
        first++;
    if (first >= plan->end)
        return false;
    uint32_t end = first;
    size_t bytes = 0;
    while (end < plan->end && !is_held(plan, end) &&
           bytes + dacm_list_length(list, end) <= DACM_RUN_BYTES_MAX)
        bytes += dacm_list_length(list, end++);
    *ret_first = first;
    *ret_end = end;
    *ret_bytes = bytes;
    return true;
}
