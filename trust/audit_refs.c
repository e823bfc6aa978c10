/* SPDX-License-Identifier: Apache-2.0 */
/* Short records and whom they name, for those who verify a trail: does each name a record that
 * stands before it in its segment? The request IDs of a segment's full records are kept as 64-bit
 * digests; that two are the same by chance hides no change, since the chain finds those. */
#include "audit_internal.h"

#include <string.h>

#define SLOTS_MIN 1024u

void trust__audit_refs_done(audit_refs *refs)
{
    free(refs->slots);
    *refs = (audit_refs){NULL, 0, 0};
}

/* FNV-1a, never 0. */
static uint64_t digest_of(rpc_bytes id)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < id.size; i++)
        hash = (hash ^ id.data[i]) * UINT64_C(1099511628211);
    return hash | 1;
}

/* Where it is, or would be. There is a free slot. */
static uint64_t *slot_of(const audit_refs *refs, uint64_t digest)
{
    size_t at = (size_t)(digest >> 1) & (refs->room - 1);
    while (refs->slots[at] && refs->slots[at] != digest)
        at = (at + 1) & (refs->room - 1);
    return &refs->slots[at];
}

static bool grow(audit_refs *refs)
{
    const audit_refs before = *refs;
    const size_t room = before.room ? 2 * before.room : SLOTS_MIN;
    uint64_t *slots = calloc(room, sizeof *slots);
    if (!slots)
        return false;
    *refs = (audit_refs){slots, room, before.count};
    for (size_t i = 0; i < before.room; i++)
        if (before.slots[i])
            *slot_of(refs, before.slots[i]) = before.slots[i];
    free(before.slots);
    return true;
}

static bool keep(audit_refs *refs, rpc_bytes id)
{
    if (2 * refs->count >= refs->room && !grow(refs))
        return false;
    uint64_t digest = digest_of(id), *slot = slot_of(refs, digest);
    refs->count += *slot == 0;
    *slot = digest;
    return true;
}

static bool has(const audit_refs *refs, rpc_bytes id)
{
    return refs->count > 0 && *slot_of(refs, digest_of(id)) != 0;
}

/* Takes text off the beginning of rest. */
static bool skip(rpc_bytes *rest, const char *text)
{
    const size_t size = strlen(text);
    if (rest->size < size || memcmp(rest->data, text, size) != 0)
        return false;
    *rest = rpc_bytes_of(rest->data + size, rest->size - size);
    return true;
}

/* Takes all up to the next quotation mark, and that, off rest. */
static bool skip_quoted(rpc_bytes *rest, rpc_bytes *ret)
{
    const uint8_t *end = rest->size ? memchr(rest->data, '"', rest->size) : NULL;
    if (!end)
        return false;
    *ret = rpc_bytes_of(rest->data, (size_t)(end - rest->data));
    *rest = rpc_bytes_of(end + 1, rest->size - ret->size - 1);
    return true;
}

/* Only what trust_audit_write_common() writes is looked at: its very text. */
static bool read_head(rpc_bytes *rest, rpc_bytes *ret_id)
{
    if (!skip(rest, "{\"time_ms\": "))
        return false;
    while (
        rest->size > 0 && (rest->data[0] == '-' || (rest->data[0] >= '0' && rest->data[0] <= '9')))
        *rest = rpc_bytes_of(rest->data + 1, rest->size - 1);
    return skip(rest, ", \"request_id\": \"") && skip_quoted(rest, ret_id);
}

audit_ref trust__audit_refs_judge(audit_refs *refs, rpc_bytes json)
{
    rpc_bytes id, as;
    if (!read_head(&json, &id))
        return AUDIT_REF_GOOD;
    if (!skip(&json, ", \"as\": \""))
        return keep(refs, id) ? AUDIT_REF_GOOD : AUDIT_REF_NO_MEMORY;
    return skip_quoted(&json, &as) && has(refs, as) ? AUDIT_REF_GOOD : AUDIT_REF_BROKEN;
}
