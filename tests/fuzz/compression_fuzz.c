/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed messages. The first byte: 1 = gzip, else deflate; 2 = the rest is plain and is
 * compressed first, else it is what a peer sent. The second: how much room a step has. What comes
 * out never is more than the room, and is the same whatever the steps. */
#include "compression.h"
#include "fuzz.h"

#define GZIP         1
#define PLAIN        2
#define INFLATED_MAX 16384

/* Steps of room bytes until the end or until max. */
static rpc__inflated inflate_all(
    rpc_encoding encoding, rpc_bytes bytes, size_t room, uint8_t *ret, size_t *ret_size)
{
    z_stream zlib;
    rpc__inflated result = rpc__inflate_begin(&zlib, encoding, bytes);
    MUST(result == RPC__INFLATE_FULL);
    size_t have = 0;
    while (result == RPC__INFLATE_FULL && have < INFLATED_MAX) {
        size_t step = room < INFLATED_MAX - have ? room : INFLATED_MAX - have, made = 0;
        uint8_t *part = malloc(step);
        MUST(part);
        result = rpc__inflate_step(&zlib, part, step, &made);
        MUST(made <= step && (made == step || result != RPC__INFLATE_FULL));
        memcpy(ret + have, part, made);
        have += made;
        free(part);
    }
    rpc__inflate_done(&zlib);
    MUST(result != RPC__INFLATE_NO_MEMORY);
    *ret_size = have;
    return result;
}

static void check_input(rpc_encoding encoding, rpc_bytes bytes, size_t room)
{
    uint8_t *one = malloc(INFLATED_MAX), *other = malloc(INFLATED_MAX);
    size_t one_size = 0, other_size = 0;
    MUST(one && other);
    rpc__inflated a = inflate_all(encoding, bytes, INFLATED_MAX, one, &one_size);
    rpc__inflated b = inflate_all(encoding, bytes, room, other, &other_size);
    /* An end that comes just with the last byte of room shows in the next step. */
    if (one_size < INFLATED_MAX && other_size < INFLATED_MAX)
        MUST(a == b);
    if (a == RPC__INFLATE_DONE && b == RPC__INFLATE_DONE)
        MUST(one_size == other_size && memcmp(one, other, one_size) == 0);
    free(one);
    free(other);
}

static void check_round_trip(rpc_encoding encoding, rpc_bytes plain, size_t room)
{
    size_t size = plain.size + plain.size / 8 + 64, back_size = 0, packed_size = 0;
    uint8_t *packed = malloc(size), *back = malloc(INFLATED_MAX);
    MUST(packed && back);
    MUST(rpc__deflate(encoding, plain, packed, size, &packed_size));
    MUST(packed_size <= size);
    rpc__inflated result = inflate_all(
        encoding, rpc_bytes_of(packed, packed_size), room, back, &back_size);
    if (plain.size < INFLATED_MAX) {
        MUST(result == RPC__INFLATE_DONE && back_size == plain.size);
        MUST(plain.size == 0 || memcmp(back, plain.data, plain.size) == 0);
    }
    size_t tight = packed_size > 0 ? packed_size - 1 : 0;
    MUST(!rpc__deflate(encoding, plain, packed, tight, &size));
    free(packed);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    rpc_encoding encoding = data[0] & GZIP ? RPC_ENCODING_GZIP : RPC_ENCODING_DEFLATE;
    rpc_bytes rest = rpc_bytes_of(data + 2, size - 2);
    size_t room = 16u * data[1] + 1;
    (data[0] & PLAIN ? check_round_trip : check_input)(encoding, rest, room);
    return 0;
}
