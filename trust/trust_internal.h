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
    uint8_t ed25519[32];           /* EDDSA */
    EVP_PKEY *pkey;                /* the others */
};

/** Foreign JSON: size and depth are judged before jansson sees it, members may not repeat.
 *  NULL with *reterr INVALID_ARGUMENT. what is for the message. */
json_t *trust__json_parse(rpc_bytes text, size_t bytes_max, const char *what, rpc_status *reterr);
/** A member that is an integer of 0..2^53-1; false when it is anything else or absent. */
bool trust__json_int(const json_t *object, const char *name, int64_t *ret);

/** Canonical base64url without padding; malloc'd, NULL when text is anything else (or memory is
 *  short: the caller treats both as refused). */
uint8_t *trust__base64url_decode(rpc_bytes text, size_t *ret_size);
/** NUL-terminated, malloc'd; NULL when memory is short. */
char *trust__base64url_encode(rpc_bytes bytes);

/** Memory that it takes. */
size_t trust__token_bytes(const trust_token *token);
/** gpsi is valid, pattern is one of trust_issuer.gpsi_namespaces. */
bool trust__gpsi_in_namespace(const char *gpsi, const char *pattern);

bool trust__key_verify(const trust_key *key, rpc_bytes message, rpc_bytes signature);
/** Is it of that kty and, where crv is not NULL, of that curve? */
bool trust__jwk_is(const json_t *jwk, const char *kty, const char *crv);
/** Ed25519 of a JWK member: exactly 32 bytes. */
bool trust__jwk_bytes32(const json_t *jwk, const char *name, uint8_t ret[32]);
/** kid, state and window. */
rpc_code trust__jwk_common(const json_t *jwk, trust_purpose purpose, trust_key *key,
    const char *operation, rpc_status *reterr);
/** RFC 7638 of an Ed25519 public key: 43 characters. */
void trust__thumbprint(const uint8_t public_key[32], char ret_kid[TRUST_KID_MAX + 1]);
const char *trust__purpose_name(trust_purpose purpose);

#endif
