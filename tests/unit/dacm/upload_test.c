/* SPDX-License-Identifier: Apache-2.0 */
#include "assemble.h"
#include "uploads.h"

#include "test.h"

#include <sodium.h>

struct collected {
    uint8_t *data;
    size_t size;
    unsigned chunks, fail_at;
};

static rpc_code collect(void *arg, uint8_t *data, size_t size,
    const uint8_t digest[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    struct collected *c = arg;
    uint8_t expected[DACM_DIGEST_BYTES];
    crypto_hash_sha256(expected, data, size);
    assert_memory_equal(expected, digest, sizeof expected);
    c->data = realloc(c->data, c->size + size);
    memcpy(c->data + c->size, data, size);
    c->size += size;
    free(data);
    if (++c->chunks == c->fail_at)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "test: the store fails here");
    return RPC_OK;
}

static uint8_t *content_of(size_t size)
{
    uint8_t *content = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    return content;
}

/* Feeds content in pieces of `piece` bytes; the digest of the list. */
static void assemble(const uint8_t *content, size_t size, size_t piece, uint8_t ret_list[32])
{
    dacm_assembler assembler;
    struct collected c = {0};
    uint8_t sha256[32], expected[32];
    assert_int_equal(dacm_assembler_init(&assembler, collect, &c, NULL), RPC_OK);
    for (size_t at = 0; at < size; at += piece)
        assert_int_equal(
            dacm_assembler_feed(&assembler,
                rpc_bytes_of(content + at, size - at < piece ? size - at : piece), NULL),
            RPC_OK);
    assert_int_equal(dacm_assembler_finish(&assembler, sha256, ret_list, NULL), RPC_OK);
    crypto_hash_sha256(expected, content, size);
    assert_memory_equal(sha256, expected, 32);
    assert_int_equal(c.size, size);
    if (size)
        assert_memory_equal(c.data, content, size);
    assert_int_equal(c.chunks, assembler.count);
    crypto_hash_sha256(expected, assembler.entries, assembler.count * DACM_ENTRY_BYTES);
    assert_memory_equal(ret_list, expected, 32);
    free(c.data);
    dacm_assembler_done(&assembler);
}

TEST(same_bytes_in_other_pieces_make_the_same_list)
{
    size_t size = 1500000;
    uint8_t *content = content_of(size), first[32], other[32];
    size_t pieces[] = {size, 1 << 20, 65536, 4099, 262144};
    assemble(content, size, pieces[0], first);
    for (size_t i = 1; i < sizeof pieces / sizeof *pieces; i++) {
        assemble(content, size, pieces[i], other);
        assert_memory_equal(first, other, 32);
    }
    free(content);
}

TEST(empty_object_and_one_byte_are_objects)
{
    uint8_t list[32], empty[32], byte = 7;
    assemble(&byte, 0, 1, list);
    crypto_hash_sha256(empty, &byte, 0);
    assert_memory_equal(list, empty, 32);
    assemble(&byte, 1, 1, list);
}

TEST(failure_of_the_store_ends_the_assembly_with_its_status)
{
    uint8_t *content = content_of(1 << 20);
    dacm_assembler assembler;
    struct collected c = {.fail_at = 2};
    rpc_status status = {0};
    assert_int_equal(dacm_assembler_init(&assembler, collect, &c, NULL), RPC_OK);
    assert_int_equal(
        dacm_assembler_feed(&assembler, rpc_bytes_of(content, 1 << 20), &status), RPC_UNAVAILABLE);
    assert_int_equal(c.chunks, 2);
    dacm_assembler_done(&assembler);
    free(c.data);
    free(content);
}

TEST(ninth_upload_of_an_owner_is_refused_and_another_owner_goes_on)
{
    dacm_uploads *uploads = dacm_uploads_new();
    dacm_upload_slot slots[8] = {0}, ninth = {0}, stranger = {0};
    uint8_t uid[16] = {0}, key[32] = {0};
    for (int i = 0; i < 8; i++) {
        key[0] = (uint8_t)i;
        uid[0] = (uint8_t)i;
        assert_int_equal(dacm_uploads_enter(uploads, &slots[i], "ann", key, uid, 8, NULL), RPC_OK);
    }
    key[0] = 8;
    rpc_status status = {0};
    assert_int_equal(
        dacm_uploads_enter(uploads, &ninth, "ann", key, uid, 8, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "limits.uploads_per_owner"));
    assert_int_equal(dacm_uploads_enter(uploads, &stranger, "bob", key, uid, 8, NULL), RPC_OK);
    dacm_uploads_leave(uploads, &stranger);
    dacm_uploads_leave(uploads, &slots[3]);
    assert_int_equal(dacm_uploads_enter(uploads, &ninth, "ann", key, uid, 8, NULL), RPC_OK);
    dacm_uploads_leave(uploads, &ninth);
    for (int i = 0; i < 8; i++)
        dacm_uploads_leave(uploads, &slots[i]);
    dacm_uploads_free(uploads);
}

TEST(upload_that_runs_already_is_aborted_and_its_chunks_are_known)
{
    dacm_uploads *uploads = dacm_uploads_new();
    dacm_upload_slot first = {0}, second = {0};
    uint8_t uid[16] = {5}, key[32] = {9};
    assert_int_equal(dacm_uploads_enter(uploads, &first, "ann", key, uid, 8, NULL), RPC_OK);
    assert_int_equal(dacm_uploads_enter(uploads, &second, "ann", key, uid, 8, NULL), RPC_ABORTED);
    dacm_uploads_leave(uploads, &second); /* was never in */
    assert_true(dacm_uploads_has_uid(uploads, uid));
    dacm_uploads_leave(uploads, &first);
    dacm_uploads_leave(uploads, &first);
    assert_false(dacm_uploads_has_uid(uploads, uid));
    dacm_uploads_free(uploads);
}
