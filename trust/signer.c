/* SPDX-License-Identifier: Apache-2.0 */
/* Private Ed25519 keys: in memory of sodium_malloc, made, read and written as JWK. */
#include "trust_internal.h"

#include "cleanup.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct trust_signer {
    trust_purpose purpose;
    trust_key key;   /* public half */
    uint8_t *secret; /* crypto_sign_SECRETKEYBYTES, locked, read-only */
};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

void trust__thumbprint(const uint8_t public_key[32], char ret_kid[TRUST_KID_MAX + 1])
{
    char x[64], text[128];
    uint8_t digest[32];
    sodium_bin2base64(x, sizeof x, public_key, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int size = snprintf(text, sizeof text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x);
    crypto_hash_sha256(digest, (const uint8_t *)text, (unsigned long long)size);
    sodium_bin2base64(ret_kid, TRUST_KID_MAX + 1, digest, sizeof digest,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* seed is wiped by the caller; the kid is still empty. */
static trust_signer *from_seed(const uint8_t seed[32], trust_purpose purpose)
{
    trust_signer *signer = calloc(1, sizeof *signer);
    uint8_t *secret = signer ? sodium_malloc(crypto_sign_SECRETKEYBYTES) : NULL;
    if (!secret) {
        free(signer);
        return NULL;
    }
    crypto_sign_seed_keypair(signer->key.ed25519, secret, seed);
    sodium_mprotect_readonly(secret);
    signer->secret = secret;
    signer->purpose = purpose;
    signer->key.state = TRUST_KEY_ACTIVE;
    return signer;
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "trust: no locked memory for a private key; raise the limit (ulimit -l)");
}

rpc_code trust_signer_generate(trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    if (sodium_init() < 0)
        return no_memory(reterr);
    uint8_t seed[32];
    rpc_random(seed, sizeof seed);
    trust_signer *signer = from_seed(seed, purpose);
    sodium_memzero(seed, sizeof seed);
    if (!signer)
        return no_memory(reterr);
    trust__thumbprint(signer->key.ed25519, signer->key.kid);
    *ret = signer;
    return RPC_OK;
}

/* The key itself, or the first of a set that may sign. */
static const json_t *choose(const json_t *json)
{
    const json_t *keys = json_object_get(json, "keys");
    if (!keys)
        return json;
    size_t i;
    json_t *jwk;
    json_array_foreach(keys, i, jwk)
    {
        const char *state = json_string_value(json_object_get(jwk, "dacm_state"));
        if (!state || strcmp(state, "active") == 0)
            return jwk;
    }
    return NULL;
}

rpc_code trust_signer_parse(
    rpc_bytes jwk_text, trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    if (sodium_init() < 0)
        return no_memory(reterr);
    RPC_CLEANUP(json_freep)
    json_t *json = trust__json_parse(jwk_text, TRUST_JWKS_BYTES_MAX, "the private key", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    const json_t *jwk = choose(json);
    trust_key common = {0};
    if (!jwk)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: no key of the private set is active");
    rpc_code code = trust__jwk_common(jwk, purpose, &common, "sign", reterr);
    if (code != RPC_OK)
        return code;
    if (common.state != TRUST_KEY_ACTIVE)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.40s' is not active by its `dacm_state`; it signs nothing", common.kid);
    uint8_t seed[32], x[32];
    if (!trust__jwk_is(jwk, "OKP", "Ed25519") || !trust__jwk_bytes32(jwk, "x", x) ||
        !trust__jwk_bytes32(jwk, "d", seed)) /* the secret last: nothing to wipe before */
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.40s' is no private Ed25519 key (OKP, with `x` and `d`)", common.kid);
    trust_signer *signer = from_seed(seed, purpose);
    sodium_memzero(seed, sizeof seed);
    if (!signer)
        return no_memory(reterr);
    if (memcmp(x, signer->key.ed25519, sizeof x) != 0) {
        trust_signer_free(signer);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.40s': `x` does not belong to `d`", common.kid);
    }
    memcpy(signer->key.kid, common.kid, sizeof common.kid);
    *ret = signer;
    return RPC_OK;
}

void trust_signer_free(trust_signer *signer)
{
    if (!signer)
        return;
    sodium_free(signer->secret); /* wipes it */
    free(signer);
}

const char *trust_signer_kid(const trust_signer *signer)
{
    return signer->key.kid;
}

bool trust_signer_in(const trust_signer *signer, const trust_keyring *ring)
{
    for (size_t i = 0; i < trust_keyring_count(ring); i++) {
        const trust_key *key = trust_keyring_at(ring, i);
        if (key->alg == TRUST_ALG_EDDSA &&
            memcmp(key->ed25519, signer->key.ed25519, sizeof key->ed25519) == 0)
            return true;
    }
    return false;
}

trust_purpose trust_signer_purpose(const trust_signer *signer)
{
    return signer->purpose;
}

void trust_signer_sign(const trust_signer *signer, rpc_bytes message, uint8_t ret_signature[64])
{
    crypto_sign_detached(ret_signature, NULL, message.data, message.size, signer->secret);
}

static char *write_jwks(const trust_signer *signer, bool with_private)
{
    enum { ROOM = 1024 };
    char x[64], d[80] = "";
    sodium_bin2base64(
        x, sizeof x, signer->key.ed25519, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (with_private) {
        char seed[64];
        sodium_bin2base64(
            seed, sizeof seed, signer->secret, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        snprintf(d, sizeof d, ", \"d\": \"%s\"", seed);
        sodium_memzero(seed, sizeof seed);
    }
    char kid[2 * TRUST_KID_MAX + 1]; /* printable ASCII, but it may hold quotes */
    size_t at = 0;
    for (const char *c = signer->key.kid; *c; c++) {
        if (*c == '"' || *c == '\\')
            kid[at++] = '\\';
        kid[at++] = *c;
    }
    kid[at] = '\0';
    char *text = malloc(ROOM);
    if (text)
        snprintf(text, ROOM,
            "{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"use\": \"sig\", "
            "\"alg\": \"EdDSA\", \"kid\": \"%s\", \"dacm_purpose\": \"%s\", \"x\": \"%s\"%s}]}\n",
            kid, trust__purpose_name(signer->purpose), x, d);
    sodium_memzero(d, sizeof d);
    return text;
}

char *trust_signer_public_jwks(const trust_signer *signer)
{
    return write_jwks(signer, false);
}

char *trust_signer_private_jwks(const trust_signer *signer)
{
    return write_jwks(signer, true);
}

/* What stays of a key: a list of what is public, so that no private member of any kind of key
 * can slip through. */
static json_t *public_half(const json_t *jwk)
{
    static const char *const members[] = {"kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg",
        "kid", "dacm_purpose", "dacm_state", "nbf", "exp"};
    json_t *half = json_object();
    for (size_t i = 0; half && i < sizeof members / sizeof members[0]; i++) {
        json_t *member = json_object_get(jwk, members[i]);
        if (strcmp(members[i], "key_ops") == 0 && member)
            json_object_set_new(half, members[i], json_pack("[s]", "verify"));
        else if (member)
            json_object_set(half, members[i], member);
    }
    return half;
}

rpc_code trust_jwks_public(rpc_bytes private_jwks, char **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *json = trust__json_parse(private_jwks, TRUST_JWKS_BYTES_MAX, "the key set", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    const json_t *keys = json_object_get(json, "keys");
    RPC_CLEANUP(json_freep) json_t *list = json_array();
    if (!keys)
        json_array_append_new(list, public_half(json));
    for (size_t i = 0; i < json_array_size(keys); i++)
        json_array_append_new(list, public_half(json_array_get(keys, i)));
    RPC_CLEANUP(json_freep) json_t *set = json_pack("{s:O}", "keys", list);
    *ret = set ? json_dumps(set, JSON_INDENT(2)) : NULL;
    return *ret ? RPC_OK
                : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory for a key set");
}
