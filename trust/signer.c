/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys, read and written as JWK; Ed25519 in memory of sodium_malloc, RSA in
 * signer_rsa.c. */
#include "trust_internal.h"

#include "cleanup.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void json_freep(json_t **json)
{
    json_decref(*json);
}

void trust__thumbprint(const uint8_t public_key[32], char ret[TRUST_KID_MAX + 1])
{
    char x[64], text[128];
    uint8_t digest[32];
    sodium_bin2base64(x, sizeof x, public_key, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int size = snprintf(text, sizeof text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x);
    crypto_hash_sha256(digest, (const uint8_t *)text, (unsigned long long)size);
    sodium_bin2base64(
        ret, TRUST_KID_MAX + 1, digest, sizeof digest, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "trust: no locked memory for a private key; raise the limit (ulimit -l)");
}

/* seed is wiped by the caller. Of zeros is what nobody drew: memory that was wiped, or never
 * written. */
static rpc_code take_seed(trust_signer *signer, const uint8_t seed[32], rpc_status *reterr)
{
    if (sodium_is_zero(seed, 32))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: a private key of zeros is everybody's; make another");
    uint8_t *secret = sodium_malloc(crypto_sign_SECRETKEYBYTES);
    if (!secret)
        return no_memory(reterr);
    crypto_sign_seed_keypair(signer->key.ed25519, secret, seed);
    sodium_mprotect_readonly(secret);
    signer->secret = secret;
    return RPC_OK;
}

static void signer_freep(trust_signer **signer)
{
    trust_signer_free(*signer);
}

static trust_signer *new_signer(trust_purpose purpose, trust_alg alg)
{
    trust_signer *signer = sodium_init() >= 0 ? calloc(1, sizeof *signer) : NULL;
    if (signer) {
        signer->purpose = purpose;
        signer->key.alg = alg;
        signer->key.state = TRUST_KEY_ACTIVE;
    }
    return signer;
}

rpc_code trust_signer_from_seed(
    const uint8_t seed[32], trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    RPC_CLEANUP(signer_freep) trust_signer *signer = new_signer(purpose, TRUST_ALG_EDDSA);
    const rpc_code code = signer ? take_seed(signer, seed, reterr) : no_memory(reterr);
    if (code != RPC_OK)
        return code;
    trust__thumbprint(signer->key.ed25519, signer->key.kid);
    *ret = RPC_TAKE(signer);
    return RPC_OK;
}

rpc_code trust_signer_generate(trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    uint8_t *seed = sodium_init() >= 0 ? sodium_malloc(crypto_sign_SEEDBYTES) : NULL;
    if (!seed)
        return no_memory(reterr);
    rpc_random(seed, crypto_sign_SEEDBYTES);
    const rpc_code code = trust_signer_from_seed(seed, purpose, ret, reterr);
    sodium_free(seed);
    return code;
}

rpc_code trust_signer_of_key(const trust_key *key, const uint8_t seed[32], trust_purpose purpose,
    trust_signer **ret, rpc_status *reterr)
{
    RPC_CLEANUP(signer_freep) trust_signer *signer = new_signer(purpose, TRUST_ALG_EDDSA);
    const rpc_code code = signer ? take_seed(signer, seed, reterr) : no_memory(reterr);
    if (code != RPC_OK)
        return code;
    if (!trust__signer_is_key(signer, key))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: the private half is not that of key '%.128s'", key->kid);
    signer->key = *key;
    *ret = RPC_TAKE(signer);
    return RPC_OK;
}

rpc_code trust_signer_remote(const trust_key *key, trust_purpose purpose, trust_sign_fn *fn,
    void *ctx, trust_signer **ret, rpc_status *reterr)
{
    if (key->alg != TRUST_ALG_EDDSA)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.128s' is no Ed25519 key; no other is signed with elsewhere", key->kid);
    trust_signer *signer = new_signer(purpose, TRUST_ALG_EDDSA);
    if (!signer)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory for a key");
    signer->key = *key;
    signer->remote = fn;
    signer->remote_ctx = ctx;
    *ret = signer;
    return RPC_OK;
}

bool trust_signer_is_remote(const trust_signer *signer)
{
    return signer->remote != NULL;
}

const uint8_t *trust_signer_seed(const trust_signer *signer)
{
    return signer->secret; /* libsodium's secret key begins with it */
}

const uint8_t *trust_signer_ed25519(const trust_signer *signer)
{
    return signer->key.ed25519;
}

rpc_code trust_signer_generate_rsa(int bits, trust_signer **ret, rpc_status *reterr)
{
    if (bits < TRUST_RSA_BITS_MIN || bits > TRUST_RSA_BITS_MAX || bits % 8 != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: an RSA key of %d bits; %d to %d are taken, a multiple of 8", bits,
            TRUST_RSA_BITS_MIN, TRUST_RSA_BITS_MAX);
    RPC_CLEANUP(signer_freep) trust_signer *signer = new_signer(TRUST_FOR_TOKENS, TRUST_ALG_RS256);
    if (!signer)
        return no_memory(reterr);
    rpc_code code = trust__rsa_generate(bits, signer, reterr);
    if (code == RPC_OK)
        *ret = RPC_TAKE(signer);
    return code;
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

static rpc_code read_okp(const json_t *jwk, trust_signer *signer, rpc_status *reterr)
{
    uint8_t seed[32], x[32];
    if (!trust__jwk_is(jwk, "OKP", "Ed25519") || !trust__jwk_bytes32(jwk, "x", x) ||
        !trust__jwk_bytes32(jwk, "d", seed)) /* the secret last: nothing to wipe before */
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.128s' is no private Ed25519 key (OKP, with `x` and `d`)",
            signer->key.kid);
    const rpc_code code = take_seed(signer, seed, reterr);
    sodium_memzero(seed, sizeof seed);
    if (code != RPC_OK)
        return code;
    return memcmp(x, signer->key.ed25519, sizeof x) == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "trust: key '%.128s': `x` does not belong to `d`", signer->key.kid);
}

rpc_code trust__signer_read(
    const json_t *jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    const bool rsa = trust__jwk_is(jwk, "RSA", NULL);
    RPC_CLEANUP(signer_freep)
    trust_signer *signer = new_signer(purpose, rsa ? TRUST_ALG_RS256 : TRUST_ALG_EDDSA);
    if (!signer)
        return no_memory(reterr);
    rpc_code code = trust__jwk_common(jwk, purpose, &signer->key, "sign", reterr);
    if (code == RPC_OK && rsa && purpose != TRUST_FOR_TOKENS)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.128s' is an RSA key; only tokens are signed with one", signer->key.kid);
    if (code == RPC_OK)
        code = rsa ? trust__rsa_read(jwk, signer, reterr) : read_okp(jwk, signer, reterr);
    if (code == RPC_OK)
        *ret = RPC_TAKE(signer);
    return code;
}

rpc_code trust_signer_parse(
    rpc_bytes jwk_text, trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(jwk_text, TRUST_JWKS_BYTES_MAX, "the private key", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    const json_t *jwk = choose(json);
    if (!jwk)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: no key of the private set is active");
    RPC_CLEANUP(signer_freep) trust_signer *signer = NULL;
    rpc_code code = trust__signer_read(jwk, purpose, &signer, reterr);
    if (code != RPC_OK)
        return code;
    if (signer->key.state != TRUST_KEY_ACTIVE)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: key '%.128s' is not active by its `dacm_state`; it signs nothing",
            signer->key.kid);
    *ret = RPC_TAKE(signer);
    return RPC_OK;
}

static bool name_by_thumbprint(json_t *jwk)
{
    uint8_t x[32];
    char kid[TRUST_KID_MAX + 1];
    if (json_object_get(jwk, "kid") || !trust__jwk_bytes32(jwk, "x", x))
        return true; /* what else is wrong is found next */
    trust__thumbprint(x, kid);
    return json_object_set_new(jwk, "kid", json_string(kid)) == 0;
}

static rpc_code import_jwk(
    json_t *jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    RPC_CLEANUP(signer_freep) trust_signer *signer = NULL;
    char kid[TRUST_KID_MAX + 1];
    if (!trust__jwk_is(jwk, "OKP", "Ed25519"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: it is no Ed25519 key: a JWK with `kty` OKP, `crv` Ed25519, `x` and `d`, and no "
            "set");
    if (!name_by_thumbprint(jwk))
        return no_memory(reterr);
    rpc_code code = trust__signer_read(jwk, purpose, &signer, reterr);
    if (code != RPC_OK)
        return code;
    trust__thumbprint(signer->key.ed25519, kid);
    if (strcmp(kid, signer->key.kid) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: its kid must be its RFC 7638 thumbprint, '%s'; it may be left out", kid);
    if (signer->key.state != TRUST_KEY_ACTIVE)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: its `dacm_state` is not active; leave it out");
    *ret = RPC_TAKE(signer);
    return RPC_OK;
}

rpc_code trust_signer_import(
    rpc_bytes jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(jwk, TRUST_JWKS_BYTES_MAX, "the private key", reterr);
    return json ? import_jwk(json, purpose, ret, reterr) : RPC_INVALID_ARGUMENT;
}

void trust_signer_free(trust_signer *signer)
{
    if (!signer)
        return;
    sodium_free(signer->secret); /* wipes it */
    EVP_PKEY_free(signer->pair); /* so does this */
    free(signer);
}

const char *trust_signer_kid(const trust_signer *signer)
{
    return signer->key.kid;
}

static bool same_key(const trust_key *a, const trust_key *b)
{
    if (a->alg == TRUST_ALG_EDDSA)
        return b->alg == TRUST_ALG_EDDSA && memcmp(a->ed25519, b->ed25519, sizeof a->ed25519) == 0;
    return a->pkey && b->pkey && EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

/* Borrows the pair. */
static trust_key public_half_of(const trust_signer *signer)
{
    trust_key key = signer->key;
    key.pkey = signer->pair;
    return key;
}

bool trust__signer_is_key(const trust_signer *signer, const trust_key *key)
{
    const trust_key own = public_half_of(signer);
    return same_key(&own, key);
}

bool trust_key_in(const trust_key *key, const trust_keyring *ring)
{
    for (size_t i = 0; i < trust_keyring_count(ring); i++)
        if (same_key(key, trust_keyring_at(ring, i)))
            return true;
    return false;
}

bool trust_signer_in(const trust_signer *signer, const trust_keyring *ring)
{
    const trust_key own = public_half_of(signer);
    return trust_key_in(&own, ring);
}

trust_purpose trust_signer_purpose(const trust_signer *signer)
{
    return signer->purpose;
}

trust_alg trust_signer_alg(const trust_signer *signer)
{
    return signer->key.alg;
}

/* Whoever answers might not have the key, or not sign what was asked. */
static rpc_code sign_remotely(const trust_signer *signer, rpc_bytes message,
    uint8_t ret_signature[TRUST_SIGNATURE_MAX], size_t *ret_size, rpc_status *reterr)
{
    const rpc_code code = signer->remote(
        signer->remote_ctx, signer->key.kid, message, ret_signature, reterr);
    if (code != RPC_OK)
        return code;
    *ret_size = crypto_sign_BYTES;
    return trust__key_verify(&signer->key, message, rpc_bytes_of(ret_signature, *ret_size))
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INTERNAL,
                     "trust: what came as a signature of key '%.128s' is none", signer->key.kid);
}

rpc_code trust_signer_sign(const trust_signer *signer, rpc_bytes message,
    uint8_t ret_signature[TRUST_SIGNATURE_MAX], size_t *ret_size, rpc_status *reterr)
{
    if (signer->key.alg != TRUST_ALG_EDDSA)
        return trust__rsa_sign(signer, message, ret_signature, ret_size, reterr);
    if (signer->remote)
        return sign_remotely(signer, message, ret_signature, ret_size, reterr);
    crypto_sign_detached(ret_signature, NULL, message.data, message.size, signer->secret);
    *ret_size = crypto_sign_BYTES;
    return RPC_OK;
}

/* ---- written as JWK ---------------------------------------------------------------------------
 */

void trust__wipe_free(char *text)
{
    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
}

static void wipe_freep(char **text)
{
    trust__wipe_free(*text);
}

static char *okp_members(const trust_signer *signer, bool with_private)
{
    enum { ROOM = 192 };
    char x[64], seed[64] = "";
    sodium_bin2base64(
        x, sizeof x, signer->key.ed25519, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (with_private)
        sodium_bin2base64(
            seed, sizeof seed, signer->secret, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(ROOM);
    if (text)
        snprintf(text, ROOM, "\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"%s\"%s%s%s", x,
            with_private ? ", \"d\": \"" : "", seed, with_private ? "\"" : "");
    sodium_memzero(seed, sizeof seed);
    return text;
}

/* A kid is printable ASCII, but it may hold quotes. */
static void quote_kid(const char *kid, char ret[2 * TRUST_KID_MAX + 1])
{
    size_t at = 0;
    for (const char *c = kid; *c; c++) {
        if (*c == '"' || *c == '\\')
            ret[at++] = '\\';
        ret[at++] = *c;
    }
    ret[at] = '\0';
}

static void write_time(const char *name, int64_t time, char ret[40])
{
    ret[0] = '\0';
    if (time != 0)
        snprintf(ret, 40, ", \"%s\": %lld", name, (long long)time);
}

char *trust__signer_jwk(const trust_signer *signer, bool with_private)
{
    assert(!with_private || !signer->remote);
    enum { ROOM = 512 + 2 * TRUST_KID_MAX };
    RPC_CLEANUP(wipe_freep)
    char *members = signer->key.alg == TRUST_ALG_EDDSA ? okp_members(signer, with_private)
                                                       : trust__rsa_members(signer, with_private);
    const size_t room = members ? strlen(members) + ROOM : 0;
    char *text = members ? malloc(room) : NULL;
    if (!text)
        return NULL;
    char kid[2 * TRUST_KID_MAX + 1], not_before[40], not_after[40];
    quote_kid(signer->key.kid, kid);
    write_time("nbf", signer->key.not_before, not_before);
    write_time("exp", signer->key.not_after, not_after);
    snprintf(text, room,
        "{%s, \"use\": \"sig\", \"alg\": \"%s\", \"kid\": \"%s\", "
        "\"dacm_purpose\": \"%s\"%s%s}",
        members, trust__alg_name(signer->key.alg), kid, trust__purpose_name(signer->purpose),
        not_before, not_after);
    return text;
}

static char *write_jwks(const trust_signer *signer, bool with_private)
{
    RPC_CLEANUP(wipe_freep) char *jwk = trust__signer_jwk(signer, with_private);
    const size_t room = jwk ? strlen(jwk) + 32 : 0;
    char *text = jwk ? malloc(room) : NULL;
    if (text)
        snprintf(text, room, "{\"keys\": [%s]}\n", jwk);
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
    json_t *json = trust_json_parse(private_jwks, TRUST_JWKS_BYTES_MAX, "the key set", reterr);
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
