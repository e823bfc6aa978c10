/* SPDX-License-Identifier: Apache-2.0 */
/** Who a request names, how objects are cut into chunks, keys and signatures.
 *  trust/ is given bytes and never fetches. */
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

/* ---- keys (RFC 7517, RFC 8037) ------------------------------------------------------------ */

#define TRUST_KID_MAX        128
#define TRUST_JWKS_BYTES_MAX (256u << 10)
#define TRUST_KEYS_MAX       64

/** The algorithm belongs to the key, never to what is verified with it. */
typedef enum trust_alg {
    TRUST_ALG_EDDSA, /* Ed25519; headers may say EdDSA or Ed25519 (RFC 9864) */
    TRUST_ALG_ES256,
    TRUST_ALG_RS256,
    TRUST_ALG_PS256,
} trust_alg;

/** One key, one purpose: a ring holds keys of one, and its signatures carry one `typ`. */
typedef enum trust_purpose {
    TRUST_FOR_TOKENS,
    TRUST_FOR_MANIFESTS,
    TRUST_FOR_KEY_SETS,
    TRUST_FOR_AUDIT,
} trust_purpose;

/** Member `dacm_state` of a JWK; absent = active. */
typedef enum trust_key_state {
    TRUST_KEY_PRE_PUBLISHED, /* known, verifies nothing yet */
    TRUST_KEY_ACTIVE,
    TRUST_KEY_VERIFY_ONLY,
    TRUST_KEY_RETIRED,     /* what was signed in its window still verifies */
    TRUST_KEY_COMPROMISED, /* verifies nothing, whenever it was signed */
} trust_key_state;

typedef struct trust_key trust_key;
RPC_API const char *trust_key_kid(const trust_key *key);
RPC_API trust_alg trust_key_alg(const trust_key *key);
RPC_API trust_key_state trust_key_get_state(const trust_key *key);
/** May it have signed something at that time (seconds since 1970)? */
RPC_API bool trust_key_signs_at(const trust_key *key, int64_t time);

/** Public keys of one purpose: an immutable, counted snapshot. Any thread. */
typedef struct trust_keyring trust_keyring;

/** Reads a JWK set, or one JWK. Refused: private members, a kid that is missing, longer than 128
 *  bytes, not printable ASCII or there twice, `use` other than sig, `key_ops` without verify, an
 *  `alg` that does not fit the key, RSA below 2,048 or above 4,096 bits, another
 *  `dacm_purpose`. Keys of a type we do not know are left out. INVALID_ARGUMENT names the kid
 *  and member; RESOURCE_EXHAUSTED: more than 256 KiB or 64 keys. */
RPC_API RPC_MUST_USE rpc_code trust_keyring_parse(rpc_bytes jwks, trust_purpose purpose,
    uint64_t version, trust_keyring **ret, rpc_status *reterr);
RPC_API trust_keyring *trust_keyring_ref(trust_keyring *ring);
RPC_API void trust_keyring_unref(trust_keyring *ring);
RPC_API trust_purpose trust_keyring_purpose(const trust_keyring *ring);
/** As given to parse: caches are keyed by it. */
RPC_API uint64_t trust_keyring_version(const trust_keyring *ring);
RPC_API size_t trust_keyring_count(const trust_keyring *ring);
RPC_API const trust_key *trust_keyring_at(const trust_keyring *ring, size_t index);
/** NULL when there is none. */
RPC_API const trust_key *trust_keyring_find(const trust_keyring *ring, rpc_bytes kid);

/** Who signs: a key file today, a key service behind the same calls later. Any thread. */
typedef struct trust_signer trust_signer;

/** A new Ed25519 key whose kid is its RFC 7638 thumbprint. */
RPC_API RPC_MUST_USE rpc_code trust_signer_generate(
    trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** From a private JWK, or the first active key of a private JWK set: Ed25519, of this purpose.
 *  The private half lives in locked memory and is wiped; wiping jwk is the caller's. */
RPC_API RPC_MUST_USE rpc_code trust_signer_parse(
    rpc_bytes jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
RPC_API void trust_signer_free(trust_signer *signer);
RPC_API const char *trust_signer_kid(const trust_signer *signer);
RPC_API trust_purpose trust_signer_purpose(const trust_signer *signer);
/** Ed25519 over message. */
RPC_API void trust_signer_sign(
    const trust_signer *signer, rpc_bytes message, uint8_t ret_signature[64]);
/** The public key as a JWK set; free() it. NULL when memory is short. */
RPC_API char *trust_signer_public_jwks(const trust_signer *signer);
/** With the private half, for a file of mode 0600; wipe it, then free() it. */
RPC_API char *trust_signer_private_jwks(const trust_signer *signer);

/* ---- JWS, compact (RFC 7515) --------------------------------------------------------------- */

typedef enum trust_verdict {
    TRUST_VALID,
    TRUST_INVALID,
    TRUST_NO_KEY, /* well formed, but its kid is not in the ring */
} trust_verdict;

/** A verified payload. */
typedef struct trust_jws {
    const trust_key *key; /* as long as the ring */
    uint8_t *payload;     /* free() */
    size_t payload_size;
} trust_jws;

/** Takes three canonical base64url segments; a header of alg, kid, typ (and the ignored x5t,
 *  x5t#S256) and nothing else; a kid of the ring; an alg that is the key's; one of the
 *  NULL-terminated typs; a signature that holds. The key's state is the caller's to judge with
 *  trust_key_signs_at(), when it knows the time of signing; a compromised or pre-published key
 *  is INVALID here already. On INVALID and NO_KEY *reterr says why (for logs, not for callers)
 *  and *ret is untouched. */
RPC_API RPC_MUST_USE trust_verdict trust_jws_verify(rpc_bytes jws, size_t bytes_max,
    const trust_keyring *ring, const char *const *typs, trust_jws *ret, rpc_status *reterr);
/** Signs payload under header {"alg": "EdDSA", "kid", "typ"}; free() *ret. */
RPC_API RPC_MUST_USE rpc_code trust_jws_sign(const trust_signer *signer, const char *typ,
    rpc_bytes payload, char **ret, rpc_status *reterr);

#ifdef __cplusplus
}
#endif
#endif
