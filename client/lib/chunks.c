/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "cleanup.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

void client__sha256(rpc_bytes data, uint8_t ret[32])
{
    /* One-shot EVP: fails only when the library has no SHA-256, and then nothing is safe. */
    if (EVP_Digest(data.data, data.size, ret, NULL, EVP_sha256(), NULL) != 1)
        abort();
}

uint32_t client__chunk_length(const client_chunks *chunks, uint32_t index)
{
    const uint8_t *at = chunks->entries + (size_t)index * CLIENT_ENTRY_BYTES;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

const uint8_t *client__chunk_digest(const client_chunks *chunks, uint32_t index)
{
    return chunks->entries + (size_t)index * CLIENT_ENTRY_BYTES + 4;
}

static dacm_code fill_offsets(client_chunks *chunks, uint64_t object_size, dacm_error *reterr)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < chunks->count; i++) {
        const uint32_t length = client__chunk_length(chunks, i);
        if (length == 0 || length > CLIENT_CHUNK_BYTES_MAX)
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "the list gives chunk %u a length of %u bytes; 1 to %u are possible", i, length,
                CLIENT_CHUNK_BYTES_MAX);
        chunks->offsets[i] = offset;
        offset += length;
    }
    chunks->offsets[chunks->count] = offset;
    if (offset != object_size)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the chunks have %llu bytes together, the manifest says %llu",
            (unsigned long long)offset, (unsigned long long)object_size);
    return DACM_OK;
}

dacm_code client__chunks_init(client_chunks *chunks, rpc_bytes entries, const uint8_t digest[32],
    uint64_t object_size, dacm_error *reterr)
{
    if (entries.size % CLIENT_ENTRY_BYTES != 0 ||
        entries.size / CLIENT_ENTRY_BYTES > DACM_CHUNKS_MAX)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the list of chunks has %zu bytes; entries have %u, at most %u of them", entries.size,
            CLIENT_ENTRY_BYTES, DACM_CHUNKS_MAX);
    uint8_t found[32];
    client__sha256(entries, found);
    if (digest && memcmp(found, digest, sizeof found) != 0)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the list of chunks is not the one that the manifest signs; nothing was used");
    client_chunks made = {.count = (uint32_t)(entries.size / CLIENT_ENTRY_BYTES)};
    made.entries = malloc(entries.size + 1);
    made.offsets = malloc(((size_t)made.count + 1) * sizeof *made.offsets);
    if (!made.entries || !made.offsets) {
        client__chunks_done(&made);
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a list of chunks");
    }
    if (entries.size > 0)
        memcpy(made.entries, entries.data, entries.size);
    const dacm_code code = fill_offsets(&made, object_size, reterr);
    if (code != DACM_OK) {
        client__chunks_done(&made);
        return code;
    }
    *chunks = made;
    return DACM_OK;
}

void client__chunks_done(client_chunks *chunks)
{
    free(chunks->entries);
    free(chunks->offsets);
    *chunks = (client_chunks){.count = 0};
}

uint32_t client__chunk_at(const client_chunks *chunks, uint64_t offset)
{
    uint32_t low = 0, high = chunks->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (chunks->offsets[middle + 1] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
