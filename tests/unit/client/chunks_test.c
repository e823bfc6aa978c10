/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "test.h"

#define COUNT 3
static const uint32_t lengths[COUNT] = {100, 1, 50};

/** An object of 151 bytes and its list. */
static void make(uint8_t content[151], uint8_t entries[COUNT * CLIENT_ENTRY_BYTES])
{
    size_t at = 0;
    for (size_t i = 0; i < 151; i++)
        content[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t *entry = entries + i * CLIENT_ENTRY_BYTES;
        memset(entry, 0, 3);
        entry[3] = (uint8_t)lengths[i];
        client__sha256(rpc_bytes_of(content + at, lengths[i]), entry + 4);
        at += lengths[i];
    }
}

TEST(chunk_list_that_hashes_to_the_digest_is_taken)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES], digest[32];
    client_chunks chunks;
    make(content, entries);
    client__sha256(rpc_bytes_of(entries, sizeof entries), digest);
    assert_int_equal(
        client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries), digest, 151, NULL),
        DACM_OK);
    assert_int_equal(chunks.count, COUNT);
    assert_int_equal(client__chunk_at(&chunks, 0), 0);
    assert_int_equal(client__chunk_at(&chunks, 99), 0);
    assert_int_equal(client__chunk_at(&chunks, 100), 1);
    assert_int_equal(client__chunk_at(&chunks, 150), 2);
    assert_int_equal(client__chunk_at(&chunks, 151), COUNT);
    client__chunks_done(&chunks);
}

TEST(chunk_list_with_any_bit_changed_is_refused)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES], digest[32];
    make(content, entries);
    client__sha256(rpc_bytes_of(entries, sizeof entries), digest);
    for (size_t bit = 0; bit < sizeof entries * 8; bit++) {
        client_chunks chunks = {.count = 9};
        entries[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries), digest, 151, NULL),
            DACM_BAD_SIGNATURE);
        assert_int_equal(chunks.count, 9);
        entries[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

TEST(chunk_list_that_is_cut_or_of_another_size_is_refused)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES];
    client_chunks chunks;
    make(content, entries);
    assert_int_equal(
        client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries - 1), NULL, 151, NULL),
        DACM_BAD_SIGNATURE);
    assert_int_equal(
        client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries), NULL, 150, NULL),
        DACM_BAD_SIGNATURE);
}

TEST(chunk_of_no_bytes_or_too_many_is_refused)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES];
    client_chunks chunks;
    make(content, entries);
    entries[3] = 0;
    assert_int_equal(
        client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries), NULL, 51, NULL),
        DACM_BAD_SIGNATURE);
    entries[1] = 8;
    entries[3] = 1;
    assert_int_equal(client__chunks_init(&chunks, rpc_bytes_of(entries, sizeof entries), NULL,
                         (512u << 10) + 52, NULL),
        DACM_BAD_SIGNATURE);
}

static void write_text(const char *folder, const char *name, const void *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(client__write_file(path, rpc_bytes_of(data, size), NULL), DACM_OK);
}

TEST(earlier_copy_gives_only_chunks_whose_bytes_hold)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES], data[CLIENT_CHUNK_BYTES_MAX];
    char path[4096];
    const char *folder = test_tmpdir();
    make(content, entries);
    content[100] ^= 1; /* the second chunk is damaged */
    write_text(folder, "copy", content, sizeof content);
    write_text(folder, "copy.chunks", entries, sizeof entries);
    snprintf(path, sizeof path, "%s/copy", folder);
    client_have have = {.fd = -1};
    assert_int_equal(client__have_open(&have, path, NULL), DACM_OK);
    assert_int_equal(have.good_count, 2);
    assert_false(have.whole);
    assert_true(client__have_read(&have, entries + 4, 100, data));
    assert_memory_equal(data, content, 100);
    assert_false(client__have_read(&have, entries + CLIENT_ENTRY_BYTES + 4, 1, data));
    assert_true(client__have_read(&have, entries + 2 * CLIENT_ENTRY_BYTES + 4, 50, data));
    assert_false(client__have_read(&have, entries + 2 * CLIENT_ENTRY_BYTES + 4, 49, data));
    client__have_done(&have);
}

TEST(earlier_copy_that_is_whole_says_so)
{
    uint8_t content[151], entries[COUNT * CLIENT_ENTRY_BYTES], digest[32];
    char path[4096];
    const char *folder = test_tmpdir();
    make(content, entries);
    write_text(folder, "copy", content, sizeof content);
    write_text(folder, "copy.chunks", entries, sizeof entries);
    snprintf(path, sizeof path, "%s/copy", folder);
    client_have have = {.fd = -1};
    assert_int_equal(client__have_open(&have, path, NULL), DACM_OK);
    client__sha256(rpc_bytes_of(content, sizeof content), digest);
    assert_true(have.whole);
    assert_memory_equal(have.sha256, digest, 32);
    client__have_done(&have);
}

TEST(earlier_copy_without_a_list_is_cut_anew)
{
    static uint8_t content[600000], data[CLIENT_CHUNK_BYTES_MAX];
    char path[4096];
    const char *folder = test_tmpdir();
    uint32_t drawn = 1;
    for (size_t i = 0; i < sizeof content; i++) {
        drawn = drawn * 1664525u + 1013904223u;
        content[i] = (uint8_t)(drawn >> 24);
    }
    write_text(folder, "copy", content, sizeof content);
    snprintf(path, sizeof path, "%s/copy", folder);
    client_have have = {.fd = -1};
    assert_int_equal(client__have_open(&have, path, NULL), DACM_OK);
    assert_true(have.whole);
    assert_true(have.good_count >= 3);
    const uint32_t length = client__chunk_length(&have.chunks, 1);
    assert_true(client__have_read(&have, client__chunk_digest(&have.chunks, 1), length, data));
    assert_memory_equal(data, content + have.chunks.offsets[1], length);
    client__have_done(&have);
}
