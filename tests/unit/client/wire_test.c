/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "test.h"

/* Chunks { first = 3, data = "abc" }, and ChunkList { entries = "xy" }, as protoc packs them. */
static const uint8_t chunks_message[] = {0x1a, 7, 0x08, 3, 0x12, 3, 'a', 'b', 'c'};
static const uint8_t list_message[] = {0x12, 4, 0x0a, 2, 'x', 'y'};

static bool reads(const uint8_t *data, size_t size, client_part *ret)
{
    const char *why = NULL;
    const bool good = client__read_part(rpc_bytes_of(data, size), ret, &why);
    assert_true(good == (why == NULL));
    return good;
}

static void refuses(const uint8_t *data, size_t size)
{
    client_part part = {.first = 77};
    assert_false(reads(data, size, &part));
    assert_int_equal(part.first, 77);
}

TEST(wire_chunks_are_read_where_they_lie)
{
    client_part part;
    assert_true(reads(chunks_message, sizeof chunks_message, &part));
    assert_int_equal(part.kind, CLIENT_PART_CHUNKS);
    assert_int_equal(part.first, 3);
    assert_ptr_equal(part.data.data, chunks_message + 6);
    assert_int_equal(part.data.size, 3);
}

TEST(wire_list_is_read)
{
    client_part part;
    assert_true(reads(list_message, sizeof list_message, &part));
    assert_int_equal(part.kind, CLIENT_PART_LIST);
    assert_int_equal(part.data.size, 2);
}

TEST(wire_first_chunk_zero_is_left_out_by_proto3)
{
    static const uint8_t message[] = {0x1a, 3, 0x12, 1, 'a'};
    client_part part;
    assert_true(reads(message, sizeof message, &part));
    assert_int_equal(part.first, 0);
}

TEST(wire_every_truncation_is_refused)
{
    for (size_t size = 0; size < sizeof chunks_message; size++) {
        uint8_t *exact = malloc(size + 1); /* so that a sanitizer sees one byte too far */
        assert_non_null(exact);
        uint8_t *cut = exact + 1;
        memcpy(cut, chunks_message, size);
        refuses(cut, size);
        free(exact);
    }
    for (size_t size = 0; size < sizeof list_message; size++)
        refuses(list_message, size);
}

TEST(wire_two_parts_in_one_message_are_refused)
{
    static const uint8_t message[] = {0x12, 4, 0x0a, 2, 'x', 'y', 0x1a, 3, 0x12, 1, 'a'};
    refuses(message, sizeof message);
}

TEST(wire_data_twice_is_refused)
{
    static const uint8_t message[] = {0x1a, 6, 0x12, 1, 'a', 0x12, 1, 'b'};
    refuses(message, sizeof message);
}

TEST(wire_wrong_wire_types_are_refused)
{
    static const uint8_t part_as_number[] = {0x18, 1};
    static const uint8_t data_as_number[] = {0x1a, 2, 0x10, 1};
    static const uint8_t first_as_bytes[] = {0x1a, 6, 0x0a, 1, 'x', 0x12, 1, 'a'};
    static const uint8_t group[] = {0x1b, 0x1c};
    refuses(part_as_number, sizeof part_as_number);
    refuses(data_as_number, sizeof data_as_number);
    refuses(first_as_bytes, sizeof first_as_bytes);
    refuses(group, sizeof group);
}

TEST(wire_index_beyond_32_bits_is_refused)
{
    static const uint8_t message[] = {0x1a, 9, 0x08, 0x80, 0x80, 0x80, 0x80, 0x10, 0x12, 1, 'a'};
    refuses(message, sizeof message);
}

TEST(wire_number_of_more_than_64_bits_is_refused)
{
    static const uint8_t message[] = {
        0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    refuses(message, sizeof message);
}

TEST(wire_unknown_fields_are_skipped)
{
    static const uint8_t message[] = {
        0x28, 5, 0x1a, 3, 0x12, 1, 'a', 0x32, 1, 'z', 0x3d, 0, 0, 0, 0};
    client_part part;
    assert_true(reads(message, sizeof message, &part));
    assert_int_equal(part.data.size, 1);
}

TEST(wire_part_without_data_is_refused)
{
    static const uint8_t empty[] = {0x1a, 0};
    static const uint8_t no_data[] = {0x1a, 2, 0x08, 1};
    refuses(empty, sizeof empty);
    refuses(no_data, sizeof no_data);
}
