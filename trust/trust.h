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

#ifdef __cplusplus
}
#endif
#endif
