/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of trust/ share. */
#ifndef DACM_TRUST_INTERNAL_H
#define DACM_TRUST_INTERNAL_H

#include "trust.h"

#include <jansson.h>
#include <openssl/evp.h>

struct trust_key {
    char kid[TRUST_KID_MAX + 1];
    trust_alg alg;
    trust_key_state state;
    int64_t not_before, not_after; /* seconds since 1970; 0 = no bound */
    int64_t signs_from;  /* dacm_signs_from: its owner signs nothing earlier; 0 = not_before */
    uint8_t ed25519[32]; /* EDDSA */
    EVP_PKEY *pkey;      /* the others */
};

struct trust_signer {
    trust_purpose purpose;
    trust_key key;         /* public half, state and window */
    uint8_t *secret;       /* EDDSA: crypto_sign_SECRETKEYBYTES, locked, read-only */
    EVP_PKEY *pair;        /* RS256 */
    trust_sign_fn *remote; /* instead of secret: who signs */
    void *remote_ctx;
};

/** A member that is an integer of 0..2^53-1; false when it is anything else or absent. */
bool trust__json_int(const json_t *object, const char *name, int64_t *ret);
/** The same without a sign. */
bool trust__json_uint(const json_t *object, const char *name, uint64_t *ret);
/** A member that is a string of least..room-1 bytes. */
bool trust__json_text(const json_t *object, const char *name, size_t least, char *ret, size_t room);
/** Printable ASCII without white space, at least one character. */
bool trust__is_printable(const char *text);

/** Canonical base64url without padding; malloc'd, NULL when text is anything else (or memory is
 *  short: the caller treats both as refused). */
uint8_t *trust__base64url_decode(rpc_bytes text, size_t *ret_size);
/** NUL-terminated, malloc'd; NULL when memory is short. */
char *trust__base64url_encode(rpc_bytes bytes);

/** Memory that it takes. */
size_t trust__token_bytes(const trust_token *token);
/** gpsi is valid, pattern is one of trust_issuer.gpsi_namespaces. */
bool trust__gpsi_in_namespace(const char *gpsi, const char *pattern);

/** As the header says it. */
const char *trust__alg_name(trust_alg alg);
bool trust__key_verify(const trust_key *key, rpc_bytes message, rpc_bytes signature);
/** Is it of that kty and, where crv is not NULL, of that curve? */
bool trust__jwk_is(const json_t *jwk, const char *kty, const char *crv);
/** Ed25519 of a JWK member: exactly 32 bytes. */
bool trust__jwk_bytes32(const json_t *jwk, const char *name, uint8_t ret[32]);
/** RFC 7638 of an Ed25519 key: 43 characters. */
void trust__thumbprint(const uint8_t public_key[32], char ret[TRUST_KID_MAX + 1]);
/** Private members of any kind of key. */
bool trust__jwk_has_private(const json_t *jwk);
/** kid, state and window. */
rpc_code trust__jwk_common(const json_t *jwk, trust_purpose purpose, trust_key *key,
    const char *operation, rpc_status *reterr);
/** One private key in whatever state it is. */
rpc_code trust__signer_read(
    const json_t *jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** Its JWK with or without private members, NUL-terminated, one line; wiped and freed by
 *  trust__wipe_free(). NULL when memory is short. */
char *trust__signer_jwk(const trust_signer *signer, bool with_private);
/** Are they of the same key? */
bool trust__signer_is_key(const trust_signer *signer, const trust_key *key);
/** NULL is allowed. */
void trust__wipe_free(char *text);
const char *trust__purpose_name(trust_purpose purpose);

/* ---- RSA keys that sign (signer_rsa.c) ---- */

/** n, e, d and the CRT members make a key of the size that is taken: becomes signer->pair. The
 *  signer has its kid already. */
rpc_code trust__rsa_read(const json_t *jwk, trust_signer *signer, rpc_status *reterr);
/** Makes signer->pair, with its RFC 7638 thumbprint as kid. INTERNAL. */
rpc_code trust__rsa_generate(int bits, trust_signer *signer, rpc_status *reterr);
rpc_code trust__rsa_sign(const trust_signer *signer, rpc_bytes message,
    uint8_t ret_signature[TRUST_SIGNATURE_MAX], size_t *ret_size, rpc_status *reterr);
/** The members that are the key: `"kty": "RSA", "n": …`. NULL when memory is short. */
char *trust__rsa_members(const trust_signer *signer, bool with_private);

/* ---- what differs between kinds of JWS (jws.c) ---- */

typedef struct trust__jws_rules {
    const char *const *typs; /* NULL-terminated */
    bool typ_optional, kid_optional;
} trust__jws_rules;
trust_verdict trust__jws_verify(rpc_bytes jws, size_t bytes_max, const trust_keyring *ring,
    const trust__jws_rules *rules, trust_jws *ret, rpc_status *reterr);
/** A string member of the payload, without any check of who wrote it. False when it cannot be read
 *  or does not fit. */
bool trust__jws_peek(rpc_bytes jws, size_t bytes_max, const char *member, char *ret, size_t room);
/** The header's kid, in the same way. */
bool trust__jws_peek_kid(rpc_bytes jws, size_t bytes_max, char ret[TRUST_KID_MAX + 1]);
/** The payload, parsed, in the same way; NULL when it cannot be read. */
json_t *trust__jws_peek_claims(rpc_bytes jws, size_t bytes_max);
bool trust__jws_peek_typ(rpc_bytes jws, size_t bytes_max, char *ret, size_t room);
/** `aud`: one string, or an array of strings, that is or holds one of a NULL-terminated list. */
bool trust__is_one_of(const char *text, const char *const *list);
bool trust__is_audience(const json_t *claim, const char *const *audiences);

#endif
