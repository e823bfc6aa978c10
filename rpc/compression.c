/* SPDX-License-Identifier: Apache-2.0 */
#include "compression.h"

#include <limits.h>
#include <string.h>

#define WINDOW_BITS_MAX 15
#define WINDOW_BITS_MIN 9
#define GZIP_BITS       16 /* added to the window bits: zlib writes and reads gzip's frame */

static const char *const names[] = {
    [RPC_ENCODING_IDENTITY] = "identity",
    [RPC_ENCODING_DEFLATE] = "deflate",
    [RPC_ENCODING_GZIP] = "gzip",
};
#define NAME_COUNT (sizeof names / sizeof names[0])

rpc_encoding rpc__encoding_parse(rpc_bytes name)
{
    for (size_t i = RPC_ENCODING_IDENTITY; i < NAME_COUNT; i++)
        if (rpc_bytes_equal(name, rpc_bytes_str(names[i])))
            return (rpc_encoding)i;
    return RPC_ENCODING_DEFAULT;
}

const char *rpc__encoding_name(rpc_encoding encoding)
{
    return encoding > RPC_ENCODING_IDENTITY && encoding < NAME_COUNT ? names[encoding] : NULL;
}

unsigned rpc__accept_of(unsigned option)
{
    unsigned wanted = option ? option : RPC__ACCEPT_ALL;
    return (wanted & RPC__ACCEPT_ALL) | RPC_ACCEPT(RPC_ENCODING_IDENTITY);
}

unsigned rpc__accept_parse(rpc_bytes text)
{
    unsigned accept = RPC_ACCEPT(RPC_ENCODING_IDENTITY);
    while (text.size > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma ? (size_t)(comma - text.data) : text.size;
        rpc_bytes name = rpc_bytes_of(text.data, size);
        while (name.size > 0 && name.data[0] == ' ') {
            name.data++;
            name.size--;
        }
        while (name.size > 0 && name.data[name.size - 1] == ' ')
            name.size--;
        rpc_encoding encoding = rpc__encoding_parse(name);
        if (encoding != RPC_ENCODING_DEFAULT)
            accept |= RPC_ACCEPT(encoding);
        size += comma != NULL;
        text = rpc_bytes_of(text.data + size, text.size - size);
    }
    return accept;
}

const char *rpc__accept_text(unsigned accept)
{
    bool deflate = accept & RPC_ACCEPT(RPC_ENCODING_DEFLATE);
    bool gzip = accept & RPC_ACCEPT(RPC_ENCODING_GZIP);
    if (gzip)
        return deflate ? "identity,deflate,gzip" : "identity,gzip";
    return deflate ? "identity,deflate" : "identity";
}

/* zlib's state is proportional to its window: one larger than the message is only cleared. */
static int window_bits(size_t size)
{
    int bits = WINDOW_BITS_MIN;
    while (bits < WINDOW_BITS_MAX && (size_t)1 << bits < size)
        bits++;
    return bits;
}

bool rpc__deflate(
    rpc_encoding encoding, rpc_bytes plain, uint8_t *ret_data, size_t room, size_t *ret_size)
{
    if (plain.size > UINT_MAX || room > UINT_MAX)
        return false;
    int bits = window_bits(plain.size);
    int memory = bits - 7 < 8 ? bits - 7 : 8;
    z_stream zlib = {0};
    if (deflateInit2(&zlib, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
            bits + (encoding == RPC_ENCODING_GZIP ? GZIP_BITS : 0), memory,
            Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    zlib.next_in = (Bytef *)(uintptr_t)plain.data;
    zlib.avail_in = (uInt)plain.size;
    zlib.next_out = ret_data;
    zlib.avail_out = (uInt)room;
    bool whole = deflate(&zlib, Z_FINISH) == Z_STREAM_END;
    size_t size = room - zlib.avail_out;
    (void)deflateEnd(&zlib);
    if (whole)
        *ret_size = size;
    return whole;
}

rpc__inflated rpc__inflate_begin(z_stream *zlib, rpc_encoding encoding, rpc_bytes bytes)
{
    *zlib = (z_stream){0};
    if (bytes.size > UINT_MAX ||
        inflateInit2(zlib, WINDOW_BITS_MAX + (encoding == RPC_ENCODING_GZIP ? GZIP_BITS : 0)) !=
            Z_OK)
        return RPC__INFLATE_NO_MEMORY;
    zlib->next_in = (Bytef *)(uintptr_t)bytes.data;
    zlib->avail_in = (uInt)bytes.size;
    return RPC__INFLATE_FULL;
}

rpc__inflated rpc__inflate_step(z_stream *zlib, uint8_t *ret_data, size_t room, size_t *ret_size)
{
    uInt step = room < UINT_MAX ? (uInt)room : UINT_MAX;
    zlib->next_out = ret_data;
    zlib->avail_out = step;
    int result = inflate(zlib, Z_NO_FLUSH);
    *ret_size = step - zlib->avail_out;
    switch (result) {
    case Z_STREAM_END:
        return zlib->avail_in == 0 ? RPC__INFLATE_DONE : RPC__INFLATE_BROKEN;
    case Z_MEM_ERROR:
        return RPC__INFLATE_NO_MEMORY;
    case Z_OK:
        /* With room left it stopped for want of input: cut short. */
        return zlib->avail_out == 0 ? RPC__INFLATE_FULL : RPC__INFLATE_BROKEN;
    default:
        return RPC__INFLATE_BROKEN;
    }
}

void rpc__inflate_done(z_stream *zlib)
{
    (void)inflateEnd(zlib);
}
