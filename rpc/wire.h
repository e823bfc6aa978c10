/* SPDX-License-Identifier: Apache-2.0 */
/** Small encodings of the gRPC wire (PROTOCOL-HTTP2.md), without state: time-outs, messages,
 *  metadata, codes. Private to rpc/. */
#ifndef DACM_RPC_WIRE_H
#define DACM_RPC_WIRE_H

#include "rpc.h"

#define RPC__PREFIX_BYTES       5  /* compressed flag and length before each message */
#define RPC__TIMEOUT_TEXT_BYTES 12 /* 8 digits, a unit, NUL */

/** "8 digits and a unit of H M S m u n" to microseconds, rounded up. */
bool rpc__timeout_parse(rpc_bytes text, int64_t *ret_us);
/** The shortest unit that keeps us in 8 digits; us < 0 counts as 0. */
void rpc__timeout_format(int64_t us, char ret_text[RPC__TIMEOUT_TEXT_BYTES]);

/** Percent-encoding of grpc-message; ret_text holds 3 × size + 1 bytes. Returns its length. */
size_t rpc__percent_encode(rpc_bytes text, char *ret_text);
/** Lenient as the specification asks: broken escapes are kept as they are. What is no UTF-8
 *  afterwards becomes '?'. ret_text holds room > 0 bytes, NUL included. */
void rpc__percent_decode(rpc_bytes text, char *ret_text, size_t room);

/** Length of base64 without padding. */
size_t rpc__base64_size(size_t size);
void rpc__base64_encode(rpc_bytes data, char *ret_text);
/** Padded or not; ret_data holds 3 × text.size / 4 bytes. False for anything else. */
bool rpc__base64_decode(rpc_bytes text, uint8_t *ret_data, size_t *ret_size);

/** [0-9a-z_.-]+, not reserved ("grpc-" other than grpc-status-details-bin and
 *  grpc-retry-pushback-ms, ":", te, content-type, user-agent and headers of HTTP/1 connections). */
bool rpc__metadata_name_valid(rpc_bytes name);
bool rpc__metadata_name_binary(rpc_bytes name);
/** Printable ASCII, for names without "-bin". */
bool rpc__metadata_value_valid(rpc_bytes value);

/** Status of an answer that is not gRPC's, and of a stream that was reset. */
rpc_code rpc__code_of_http(int status);
rpc_code rpc__code_of_reset(uint32_t h2_error);
/** "0".."16", else UNKNOWN. */
rpc_code rpc__code_parse(rpc_bytes text);
const char *rpc__code_text(rpc_code code);

/** application/grpc, alone or followed by '+' or ';'. */
bool rpc__content_type_valid(rpc_bytes value);

static inline void rpc__prefix_write(uint8_t *ret_prefix, size_t size)
{
    ret_prefix[0] = 0;
    ret_prefix[1] = (uint8_t)(size >> 24);
    ret_prefix[2] = (uint8_t)(size >> 16);
    ret_prefix[3] = (uint8_t)(size >> 8);
    ret_prefix[4] = (uint8_t)size;
}
static inline size_t rpc__prefix_size(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

#endif
