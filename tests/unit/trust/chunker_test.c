/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "trust.h"

#define SIZE (4u << 20)

static size_t cut(trust_chunking kind, rpc_bytes all, size_t step, size_t *ends)
{
    trust_chunker chunker;
    size_t n = 0, at = 0, last = 0;

    trust_chunker_init(&chunker, kind);
    while (at < all.size) {
        size_t size = all.size - at < step ? all.size - at : step;
        bool end;
        at += trust_chunker_feed(&chunker, rpc_bytes_of(all.data + at, size), &end);
        if (!end)
            continue;
        assert_true(at - last <= TRUST_CHUNK_MAX && at - last >= TRUST_CHUNK_MIN);
        ends[n++] = last = at;
    }
    return n;
}

TEST(chunks_keep_their_limits_whatever_the_pieces_and_outlive_an_inserted_byte)
{
    static uint8_t data[SIZE + 1];
    static size_t one[300], two[300];
    uint32_t x = 1;
    size_t kept = 0;

    for (size_t i = 0; i < SIZE; i++)
        data[i + 1] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
    size_t n = cut(TRUST_CHUNKING_GEAR_64K, rpc_bytes_of(data + 1, SIZE), SIZE, one);
    assert_true(n > 20);
    assert_int_equal(cut(TRUST_CHUNKING_GEAR_64K, rpc_bytes_of(data + 1, SIZE), 777, two), n);
    assert_memory_equal(one, two, n * sizeof(*one));
    size_t m = cut(TRUST_CHUNKING_GEAR_64K, rpc_bytes_of(data, SIZE + 1), SIZE, two);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            kept += one[i] + 1 == two[j];
    assert_true(kept * 10 >= n * 7);
    assert_int_equal(cut(TRUST_CHUNKING_FIXED_256K, rpc_bytes_of(data, SIZE), 999, one), 16);
}
