/* SPDX-License-Identifier: Apache-2.0 */
/** Message encodings (gRPC's compression.md): their names, and zlib within bounds. Private to
 *  rpc/. Nothing is kept between messages: a connection that compresses costs no memory while
 *  it does not. */
#ifndef DACM_RPC_COMPRESSION_H
#define DACM_RPC_COMPRESSION_H

#include "rpc.h"

#include <zlib.h>

#define RPC__ACCEPT_ALL                                                                            \
    (RPC_ACCEPT(RPC_ENCODING_IDENTITY) | RPC_ACCEPT(RPC_ENCODING_DEFLATE) |                        \
        RPC_ACCEPT(RPC_ENCODING_GZIP))

/** RPC_ENCODING_DEFAULT for a name that is not known. */
rpc_encoding rpc__encoding_parse(rpc_bytes name);
/** The name on the wire; NULL for identity, which is not written. */
const char *rpc__encoding_name(rpc_encoding encoding);
/** What an option asks for: 0 is everything, identity always is. */
unsigned rpc__accept_of(unsigned option);
/** "gzip, identity" to bits; names that are not known count nothing. */
unsigned rpc__accept_parse(rpc_bytes text);
/** For grpc-accept-encoding. */
const char *rpc__accept_text(unsigned accept);

/** Compresses into room bytes. False: it does not fit, or there is no memory. */
bool rpc__deflate(
    rpc_encoding encoding, rpc_bytes plain, uint8_t *ret_data, size_t room, size_t *ret_size);

typedef enum rpc__inflated {
    RPC__INFLATE_DONE,
    RPC__INFLATE_FULL, /* there is more: call again with more room */
    RPC__INFLATE_BROKEN,
    RPC__INFLATE_NO_MEMORY,
} rpc__inflated;

/** bytes stay until rpc__inflate_done(), which is for every one that began. */
RPC_MUST_USE rpc__inflated rpc__inflate_begin(
    z_stream *zlib, rpc_encoding encoding, rpc_bytes bytes);
/** Fills room > 0 bytes or ends. What comes after the end of the stream is BROKEN. */
rpc__inflated rpc__inflate_step(z_stream *zlib, uint8_t *ret_data, size_t room, size_t *ret_size);
void rpc__inflate_done(z_stream *zlib);

#endif
