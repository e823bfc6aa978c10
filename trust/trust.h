/* SPDX-License-Identifier: Apache-2.0 */
/** Who a request names: GPSIs and asset IDs. All functions are pure: any thread, no memory. */
#ifndef DACM_TRUST_H
#define DACM_TRUST_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRUST_GPSI_MAX     255
#define TRUST_ASSET_ID_MAX 128

/** A GPSI in its only accepted spelling; compare byte for byte. */
typedef struct trust_gpsi {
    uint8_t size;
    char text[TRUST_GPSI_MAX + 1]; /* NUL-terminated */
} trust_gpsi;

/** True for `msisdn-` and 5–15 digits, or `extid-local@domain` with the domain in lower case;
 *  printable ASCII without white space, at most 255 bytes (TS 29.571, TS 23.003 19.7.2). */
RPC_API bool trust_gpsi_valid(rpc_bytes text);

/** Reads a GPSI, or an External ID `local@domain` that becomes `extid-local@domain`.
 *  Nothing is folded or trimmed. RPC_INVALID_ARGUMENT when text is neither; ret_gpsi is then
 *  untouched and the message does not repeat the text. */
RPC_API rpc_code trust_gpsi_parse(rpc_bytes text, trust_gpsi *ret_gpsi, rpc_status *reterr);

/** True for 1–128 bytes of A–Z a–z 0–9 . _ ~ - */
RPC_API bool trust_asset_id_valid(rpc_bytes text);

#define TRUST_CHUNK_MIN (16u << 10)
#define TRUST_CHUNK_MAX (256u << 10)

/** How chunk boundaries are found; the last chunk of an object may be of any length ≥ 1. */
typedef enum trust_chunking {
    TRUST_CHUNKING_GEAR_64K,   /* content-defined, 16–256 KiB */
    TRUST_CHUNKING_FIXED_256K, /* 256 KiB each */
} trust_chunking;

/** Caller's memory; nothing to release. One thread at a time. */
typedef struct trust_chunker {
    trust_chunking chunking;
    uint32_t length; /* of the chunk under way */
    uint64_t hash;
    uint64_t gear[256]; /* splitmix64 from seed 0, in order */
} trust_chunker;

RPC_API void trust_chunker_init(trust_chunker *chunker, trust_chunking chunking);
/** Returns how many bytes of data belong to the chunk under way: all of them with *ret_end
 *  false, or as many as end it with *ret_end true. Boundaries do not depend on how an object
 *  is split over calls. */
RPC_API size_t trust_chunker_feed(trust_chunker *chunker, rpc_bytes data, bool *ret_end);

#ifdef __cplusplus
}
#endif
#endif
