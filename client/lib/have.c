/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "cleanup.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

static bool read_exactly(int fd, uint64_t offset, uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t got = pread(fd, data, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

/** The size that the entries add up to; client__chunks_init() judges the rest. */
static uint64_t sum_of(const uint8_t *entries, size_t size)
{
    uint64_t sum = 0;
    for (size_t at = 0; at + CLIENT_ENTRY_BYTES <= size; at += CLIENT_ENTRY_BYTES)
        sum += (uint64_t)entries[at] << 24 | (uint64_t)entries[at + 1] << 16 |
               (uint64_t)entries[at + 2] << 8 | entries[at + 3];
    return sum;
}

/** A list that cannot be used is the same as none: everything is sent. */
static bool load_list(client_have *have, const char *file)
{
    RPC_AUTOFREE char *path = client__path(file, ".chunks");
    RPC_AUTOFREE char *entries = NULL;
    size_t size = 0;
    if (!path || client__read_file(path, CLIENT_FILE_BYTES_MAX, &entries, &size, NULL) != DACM_OK)
        return false;
    const uint8_t *bytes = (const uint8_t *)entries;
    return client__chunks_init(&have->chunks, rpc_bytes_of(bytes, size), NULL, sum_of(bytes, size),
               NULL) == DACM_OK;
}

typedef EVP_MD_CTX *md;
RPC_DEFINE_FREEP(md_freep, md, EVP_MD_CTX_free)

static dacm_code hash_chunks(client_have *have, dacm_error *reterr)
{
    RPC_AUTOFREE uint8_t *data = malloc(CLIENT_CHUNK_BYTES_MAX);
    RPC_CLEANUP(md_freep) md whole = EVP_MD_CTX_new();
    if (!data || !whole || EVP_DigestInit_ex(whole, EVP_sha256(), NULL) != 1)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to read an earlier copy");
    for (uint32_t i = 0; i < have->chunks.count; i++) {
        const uint32_t length = client__chunk_length(&have->chunks, i);
        uint8_t digest[32];
        if (!read_exactly(have->fd, have->chunks.offsets[i], data, length))
            continue;
        client__sha256(rpc_bytes_of(data, length), digest);
        EVP_DigestUpdate(whole, data, length);
        have->good[i] = memcmp(digest, client__chunk_digest(&have->chunks, i), 32) == 0;
        have->good_count += have->good[i];
    }
    struct stat found;
    have->whole = have->good_count == have->chunks.count && fstat(have->fd, &found) == 0 &&
                  (uint64_t)found.st_size == have->chunks.offsets[have->chunks.count];
    EVP_DigestFinal_ex(whole, have->sha256, NULL);
    return DACM_OK;
}

static int by_digest(const void *a, const void *b, void *context)
{
    const client_chunks *chunks = context;
    return memcmp(client__chunk_digest(chunks, *(const uint32_t *)a),
        client__chunk_digest(chunks, *(const uint32_t *)b), 32);
}

/** Appends one entry; false when memory is short or there are too many. */
static bool append_entry(rpc_bytes chunk, uint8_t **entries, uint32_t *count)
{
    if ((*count & (*count - 1)) == 0) { /* at each power of two there is room for twice as many */
        uint8_t *more = realloc(*entries, (size_t)(*count ? *count * 2 : 1) * CLIENT_ENTRY_BYTES);
        if (!more)
            return false;
        *entries = more;
    }
    if (*count == DACM_CHUNKS_MAX)
        return false;
    uint8_t *entry = *entries + (size_t)(*count)++ * CLIENT_ENTRY_BYTES;
    for (unsigned i = 0; i < 4; i++)
        entry[i] = (uint8_t)(chunk.size >> (24 - 8 * i));
    client__sha256(chunk, entry + 4);
    return true;
}

/** Without a list the file is cut as the server would cut it by default. */
static bool cut_file(client_have *have)
{
    trust_chunker chunker;
    struct stat found;
    RPC_AUTOFREE uint8_t *data = malloc(TRUST_CHUNK_MAX);
    RPC_AUTOFREE uint8_t *entries = NULL;
    uint32_t count = 0;
    if (!data || fstat(have->fd, &found) != 0 || !S_ISREG(found.st_mode))
        return false;
    const uint64_t size = (uint64_t)found.st_size;
    trust_chunker_init(&chunker, TRUST_CHUNKING_GEAR_64K);
    for (uint64_t at = 0; at < size;) {
        const size_t most = size - at < TRUST_CHUNK_MAX ? (size_t)(size - at) : TRUST_CHUNK_MAX;
        bool end = false;
        if (!read_exactly(have->fd, at, data, most))
            return false;
        const size_t length = trust_chunker_feed(&chunker, rpc_bytes_of(data, most), &end);
        if (!append_entry(rpc_bytes_of(data, length), &entries, &count))
            return false;
        at += length;
    }
    return count > 0 && client__chunks_init(&have->chunks,
                            rpc_bytes_of(entries, (size_t)count * CLIENT_ENTRY_BYTES), NULL, size,
                            NULL) == DACM_OK;
}

static dacm_code fill(client_have *have, dacm_error *reterr)
{
    const uint32_t count = have->chunks.count;
    have->good = calloc((size_t)count + 1, 1);
    have->order = malloc(((size_t)count + 1) * sizeof *have->order);
    if (!have->good || !have->order)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to read an earlier copy");
    const dacm_code code = hash_chunks(have, reterr);
    if (code != DACM_OK)
        return code;
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++)
        if (have->good[i])
            have->order[used++] = i;
    qsort_r(have->order, used, sizeof *have->order, by_digest, &have->chunks);
    return DACM_OK;
}

dacm_code client__have_open(client_have *have, const char *file, dacm_error *reterr)
{
    client_have made = {.fd = open(file, O_RDONLY | O_CLOEXEC)};
    if (made.fd < 0)
        return client__fail_file(reterr, "cannot open the earlier copy", file);
    dacm_code code = DACM_OK;
    if (load_list(&made, file) || cut_file(&made))
        code = fill(&made, reterr);
    if (code != DACM_OK) {
        client__have_done(&made);
        return code;
    }
    *have = made;
    return DACM_OK;
}

void client__have_done(client_have *have)
{
    if (have->fd >= 0)
        close(have->fd);
    free(have->good);
    free(have->order);
    client__chunks_done(&have->chunks);
    *have = (client_have){.fd = -1};
}

bool client__have_read(
    const client_have *have, const uint8_t digest[32], uint32_t length, uint8_t *ret_data)
{
    uint32_t low = 0, high = have->good_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (memcmp(client__chunk_digest(&have->chunks, have->order[middle]), digest, 32) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == have->good_count)
        return false;
    const uint32_t index = have->order[low];
    uint8_t found[32];
    if (client__chunk_length(&have->chunks, index) != length ||
        memcmp(client__chunk_digest(&have->chunks, index), digest, 32) != 0 ||
        !read_exactly(have->fd, have->chunks.offsets[index], ret_data, length))
        return false;
    client__sha256(rpc_bytes_of(ret_data, length), found);
    return memcmp(found, digest, 32) == 0;
}
