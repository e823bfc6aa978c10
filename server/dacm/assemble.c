/* SPDX-License-Identifier: Apache-2.0 */
#include "assemble.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (2 * (size_t)DACM_CHUNK_BYTES_MAX)

static rpc_code hash_failed(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_INTERNAL, "upload: OpenSSL refuses SHA-256");
}

rpc_code dacm_sha256(rpc_bytes bytes, uint8_t ret[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    if (EVP_Digest(bytes.data, bytes.size, ret, NULL, EVP_sha256(), NULL) != 1)
        return hash_failed(reterr);
    return RPC_OK;
}

void dacm_assembler_done(dacm_assembler *assembler)
{
    EVP_MD_CTX_free(assembler->whole);
    EVP_MD_CTX_free(assembler->part);
    free(assembler->buffer);
    free(assembler->entries);
    *assembler = (dacm_assembler){0};
}

rpc_code dacm_assembler_init(
    dacm_assembler *assembler, dacm_chunk_fn *emit, void *arg, rpc_status *reterr)
{
    dacm_assembler made = {.emit = emit, .arg = arg};
    trust_chunker_init(&made.chunker, TRUST_CHUNKING_GEAR_64K);
    made.whole = EVP_MD_CTX_new();
    made.part = EVP_MD_CTX_new();
    made.buffer = malloc(BUFFER_BYTES);
    if (!made.whole || !made.part || !made.buffer ||
        EVP_DigestInit_ex(made.whole, EVP_sha256(), NULL) != 1) {
        dacm_assembler_done(&made);
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory to begin another; try again later");
    }
    *assembler = made;
    return RPC_OK;
}

static rpc_code add_entry(dacm_assembler *a, size_t size, const uint8_t *digest, rpc_status *reterr)
{
    if (a->count == DACM_LIST_ENTRIES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "upload: more than %u chunks; split the object", DACM_LIST_ENTRIES_MAX);
    if (a->count == a->room) {
        size_t room = a->room ? a->room * 2 : 64;
        uint8_t *entries = realloc(a->entries, room * DACM_ENTRY_BYTES);
        if (!entries)
            return rpc_status_set(
                reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory for the chunk list");
        a->entries = entries;
        a->room = room;
    }
    dacm_entry_write(a->entries + a->count++ * DACM_ENTRY_BYTES, (uint32_t)size, digest);
    return RPC_OK;
}

static rpc_code emit_chunk(dacm_assembler *a, const uint8_t *data, size_t size, rpc_status *reterr)
{
    uint8_t digest[DACM_DIGEST_BYTES];
    if (EVP_DigestInit_ex(a->part, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(a->part, data, size) != 1 ||
        EVP_DigestFinal_ex(a->part, digest, NULL) != 1)
        return hash_failed(reterr);
    rpc_code code = add_entry(a, size, digest, reterr);
    if (code != RPC_OK)
        return code;
    uint8_t *copy = malloc(size);
    if (!copy)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory for a chunk");
    memcpy(copy, data, size);
    return a->emit(a->arg, copy, size, digest, reterr);
}

/* NOLINTNEXTLINE(misc-redundant-expression): that they are the same is the point */
_Static_assert(DACM_CHUNK_BYTES_MAX == TRUST_CHUNK_MAX, "the buffer must hold any chunk");

/* Cuts chunks off the front of the buffer while `least` bytes are there: as many as any chunk
 * has, so that its end is always found, or at the object's end whatever is left. */
static rpc_code cut_all(dacm_assembler *a, size_t least, rpc_status *reterr)
{
    size_t at = 0;
    while (a->filled - at >= least && a->filled > at) {
        bool end = false;
        size_t size = trust_chunker_feed(
            &a->chunker, rpc_bytes_of(a->buffer + at, a->filled - at), &end);
        rpc_code code = emit_chunk(a, a->buffer + at, size, reterr);
        if (code != RPC_OK)
            return code;
        at += size;
    }
    memmove(a->buffer, a->buffer + at, a->filled - at);
    a->filled -= at;
    return RPC_OK;
}

rpc_code dacm_assembler_feed(dacm_assembler *a, rpc_bytes bytes, rpc_status *reterr)
{
    if (EVP_DigestUpdate(a->whole, bytes.data, bytes.size) != 1)
        return hash_failed(reterr);
    a->total += bytes.size;
    while (bytes.size > 0) {
        size_t room = BUFFER_BYTES - a->filled;
        size_t take = bytes.size < room ? bytes.size : room;
        memcpy(a->buffer + a->filled, bytes.data, take);
        a->filled += take;
        bytes = rpc_bytes_of(bytes.data + take, bytes.size - take);
        rpc_code code = cut_all(a, DACM_CHUNK_BYTES_MAX, reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

rpc_code dacm_assembler_finish(dacm_assembler *a, uint8_t ret_sha256[DACM_DIGEST_BYTES],
    uint8_t ret_list_sha256[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    rpc_code code = cut_all(a, 1, reterr);
    if (code != RPC_OK)
        return code;
    if (EVP_DigestFinal_ex(a->whole, ret_sha256, NULL) != 1)
        return hash_failed(reterr);
    return dacm_sha256(
        rpc_bytes_of(a->entries ? a->entries : a->buffer, a->count * DACM_ENTRY_BYTES),
        ret_list_sha256, reterr);
}

static rpc_code put_page(dacm_assembler *a, size_t first, dacm_page *ret, rpc_status *reterr)
{
    const size_t left = a->count - first;
    ret->entries = (uint32_t)(left < DACM_PAGE_ENTRIES ? left : DACM_PAGE_ENTRIES);
    const size_t size = (size_t)ret->entries * DACM_ENTRY_BYTES;
    uint8_t *copy = malloc(size);
    if (!copy)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory for the chunk list");
    memcpy(copy, a->entries + first * DACM_ENTRY_BYTES, size);
    const rpc_code code = dacm_sha256(rpc_bytes_of(copy, size), ret->sha256, reterr);
    if (code == RPC_OK)
        return a->emit(a->arg, copy, size, ret->sha256, reterr);
    free(copy);
    return code;
}

rpc_code dacm_assembler_put_pages(
    dacm_assembler *a, dacm_page **ret, size_t *ret_count, rpc_status *reterr)
{
    const size_t count = (a->count + DACM_PAGE_ENTRIES - 1) / DACM_PAGE_ENTRIES;
    dacm_page *pages = calloc(count + 1, sizeof *pages);
    if (!pages)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory for the chunk list");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = put_page(a, i * DACM_PAGE_ENTRIES, &pages[i], reterr);
    if (code != RPC_OK) {
        free(pages);
        return code;
    }
    *ret = pages;
    *ret_count = count;
    return RPC_OK;
}
