/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys: JWK sets read strictly into immutable rings, and what a key verifies. */
#include "trust_internal.h"

#include "cleanup.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define RSA_EXPONENT_BITS_MAX 64

struct trust_keyring {
    _Atomic unsigned refs;
    trust_purpose purpose;
    uint64_t version;
    size_t count;
    trust_key keys[TRUST_KEYS_MAX];
};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

RPC_DEFINE_FREEP(keyring_freep, trust_keyring *, trust_keyring_unref)

static rpc_code bad(rpc_status *reterr, const char *kid, const char *why)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "trust: key '%.128s': %s", kid, why);
}

const char *trust__purpose_name(trust_purpose purpose)
{
    static const char *const names[] = {"token", "manifest", "keyset", "audit", "client"};
    return names[purpose];
}

/* ---- members all keys have ----------------------------------------------------------------- */

static bool lists(const json_t *array, const char *word)
{
    size_t i;
    json_t *entry;
    json_array_foreach(
        array, i, entry) if (json_is_string(entry) &&
                             strcmp(json_string_value(entry), word) == 0) return true;
    return false;
}

static bool optional_string(const json_t *jwk, const char *name, const char *expected)
{
    const json_t *member = json_object_get(jwk, name);
    return !member || (json_is_string(member) && strcmp(json_string_value(member), expected) == 0);
}

static bool read_state(const json_t *jwk, trust_key_state *ret)
{
    static const char *const names[] = {
        "pre-published", "active", "verify-only", "retired", "compromised"};
    const json_t *member = json_object_get(jwk, "dacm_state");
    *ret = TRUST_KEY_ACTIVE;
    if (!member)
        return true;
    for (size_t i = 0; json_is_string(member) && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(json_string_value(member), names[i]) == 0) {
            *ret = (trust_key_state)i;
            return true;
        }
    return false;
}

static bool read_time(const json_t *jwk, const char *name, int64_t *ret)
{
    return !json_object_get(jwk, name) || trust__json_int(jwk, name, ret);
}

static rpc_code other_purpose(rpc_status *reterr, const char *kid, trust_purpose purpose)
{
    char why[120];
    snprintf(why, sizeof why,
        "`dacm_purpose` is not \"%s\", and one key has one purpose: give another",
        trust__purpose_name(purpose));
    return bad(reterr, kid, why);
}

rpc_code trust__jwk_common(const json_t *jwk, trust_purpose purpose, trust_key *key,
    const char *operation, rpc_status *reterr)
{
    const json_t *kid = json_object_get(jwk, "kid");
    size_t size = json_string_length(kid);
    if (!json_is_string(kid) || size < 1 || size > TRUST_KID_MAX ||
        !trust__is_printable(json_string_value(kid)))
        return bad(reterr, "?", "needs a kid of 1 to 128 printable ASCII characters");
    memcpy(key->kid, json_string_value(kid), size + 1);
    if (!optional_string(jwk, "use", "sig"))
        return bad(reterr, key->kid, "`use` is not \"sig\"");
    const json_t *operations = json_object_get(jwk, "key_ops");
    if (operations && !lists(operations, operation))
        return bad(reterr, key->kid, "`key_ops` does not list what it is needed for");
    if (!optional_string(jwk, "dacm_purpose", trust__purpose_name(purpose)))
        return other_purpose(reterr, key->kid, purpose);
    if (!read_state(jwk, &key->state))
        return bad(reterr, key->kid,
            "`dacm_state` is none of pre-published, active, verify-only, retired, compromised");
    if (!read_time(jwk, "nbf", &key->not_before) || !read_time(jwk, "exp", &key->not_after) ||
        !read_time(jwk, "dacm_signs_from", &key->signs_from))
        return bad(
            reterr, key->kid, "`nbf`, `exp` and `dacm_signs_from` are whole seconds since 1970");
    return RPC_OK;
}

/* ---- kinds of key ---------------------------------------------------------------------------- */

bool trust__jwk_bytes32(const json_t *jwk, const char *name, uint8_t ret[32])
{
    const json_t *member = json_object_get(jwk, name);
    if (!json_is_string(member))
        return false;
    size_t size = 0;
    RPC_AUTOFREE uint8_t *bytes = trust__base64url_decode(
        rpc_bytes_of(json_string_value(member), json_string_length(member)), &size);
    bool ok = bytes && size == 32;
    if (ok)
        memcpy(ret, bytes, 32);
    if (bytes)
        sodium_memzero(bytes, size); /* `d` is a secret */
    return ok;
}

static rpc_code read_okp(const json_t *jwk, trust_key *key, rpc_status *reterr)
{
    key->alg = TRUST_ALG_EDDSA;
    if (!optional_string(jwk, "alg", "EdDSA") && !optional_string(jwk, "alg", "Ed25519"))
        return bad(reterr, key->kid, "`alg` does not fit an Ed25519 key");
    if (!trust__jwk_bytes32(jwk, "x", key->ed25519))
        return bad(reterr, key->kid, "`x` is not 32 bytes in base64url");
    if (crypto_core_ed25519_is_valid_point(key->ed25519) != 1)
        return bad(reterr, key->kid, "`x` is no public key of Ed25519");
    return RPC_OK;
}

static EVP_PKEY *key_from_params(const char *type, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    EVP_PKEY *pkey = NULL;
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static rpc_code read_ec(const json_t *jwk, trust_key *key, rpc_status *reterr)
{
    key->alg = TRUST_ALG_ES256;
    uint8_t point[65] = {4};
    if (!optional_string(jwk, "alg", "ES256"))
        return bad(reterr, key->kid, "`alg` does not fit a P-256 key");
    if (!trust__jwk_bytes32(jwk, "x", point + 1) || !trust__jwk_bytes32(jwk, "y", point + 33))
        return bad(reterr, key->kid, "`x` and `y` are not 32 bytes each in base64url");
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (builder &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point))
        key->pkey = key_from_params("EC", builder);
    OSSL_PARAM_BLD_free(builder);
    return key->pkey ? RPC_OK : bad(reterr, key->kid, "is no point of P-256");
}

static BIGNUM *read_number(const json_t *jwk, const char *name)
{
    const json_t *member = json_object_get(jwk, name);
    size_t size = 0;
    if (!json_is_string(member))
        return NULL;
    RPC_AUTOFREE uint8_t *bytes = trust__base64url_decode(
        rpc_bytes_of(json_string_value(member), json_string_length(member)), &size);
    return bytes && size > 0 && size <= TRUST_RSA_BITS_MAX / 8 + 1
               ? BN_bin2bn(bytes, (int)size, NULL)
               : NULL;
}

/* fallback: of a key without `alg`; NULL where it must have one. */
static bool read_rsa_alg(const json_t *jwk, const trust_alg *fallback, trust_alg *ret)
{
    const json_t *alg = json_object_get(jwk, "alg");
    if (!alg && fallback)
        *ret = *fallback;
    else if (json_is_string(alg) && strcmp(json_string_value(alg), "PS256") == 0)
        *ret = TRUST_ALG_PS256;
    else if (json_is_string(alg) && strcmp(json_string_value(alg), "RS256") == 0)
        *ret = TRUST_ALG_RS256;
    else
        return false;
    return true;
}

static rpc_code read_rsa(
    const json_t *jwk, trust_key *key, const trust_alg *fallback, rpc_status *reterr)
{
    if (!read_rsa_alg(jwk, fallback, &key->alg))
        return bad(reterr, key->kid, "an RSA key needs `alg` RS256 or PS256");
    BIGNUM *n = read_number(jwk, "n"), *e = read_number(jwk, "e");
    int bits = n ? BN_num_bits(n) : 0;
    /* Under 1 every message is its own signature; long ones only cost time. */
    bool exponent = e && BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= RSA_EXPONENT_BITS_MAX;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    if (builder && n && exponent && bits >= TRUST_RSA_BITS_MIN && bits <= TRUST_RSA_BITS_MAX &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
        key->pkey = key_from_params("RSA", builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
    BN_free(e);
    return key->pkey
               ? RPC_OK
               : bad(reterr, key->kid, "is no RSA key of 2,048 to 4,096 bits with an odd exponent");
}

/* ---- sets --------------------------------------------------------------------------------------
 */

bool trust__jwk_is(const json_t *jwk, const char *kty, const char *crv)
{
    const char *type = json_string_value(json_object_get(jwk, "kty"));
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    return type && strcmp(type, kty) == 0 && (!crv || (curve && strcmp(curve, crv) == 0));
}

/* RFC 7518 6.2.2 and 6.3.2, RFC 8037 2. */
bool trust__jwk_has_private(const json_t *jwk)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_object_get(jwk, names[i]))
            return true;
    return false;
}

/* A set of somebody else: what it may hold that is not for us. NULL rules: a set of ours. */
typedef struct published_rules {
    trust_alg rsa_alg;
} published_rules;

typedef enum key_kind { KEY_OTHER, KEY_OKP, KEY_EC, KEY_RSA } key_kind;

static key_kind kind_of(const json_t *jwk)
{
    if (trust__jwk_is(jwk, "OKP", "Ed25519"))
        return KEY_OKP;
    if (trust__jwk_is(jwk, "EC", "P-256"))
        return KEY_EC;
    return trust__jwk_is(jwk, "RSA", NULL) ? KEY_RSA : KEY_OTHER;
}

static rpc_code read_public(const json_t *jwk, trust_purpose purpose, const published_rules *rules,
    trust_key *key, rpc_status *reterr)
{
    rpc_code code = trust__jwk_common(jwk, purpose, key, "verify", reterr);
    if (code != RPC_OK)
        return code;
    switch (kind_of(jwk)) {
    case KEY_OKP:
        return read_okp(jwk, key, reterr);
    case KEY_EC:
        return read_ec(jwk, key, reterr);
    case KEY_RSA:
        return read_rsa(jwk, key, rules ? &rules->rsa_alg : NULL, reterr);
    case KEY_OTHER:
        break;
    }
    return bad(reterr, key->kid, "is of a type that we do not know");
}

static rpc_code read_key(
    trust_keyring *ring, const json_t *jwk, const published_rules *rules, rpc_status *reterr)
{
    if (kind_of(jwk) == KEY_OTHER)
        return RPC_OK; /* left out: sets of others may hold keys for others */
    if (ring->count == TRUST_KEYS_MAX)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "trust: more than %d keys in a set", TRUST_KEYS_MAX);
    trust_key key = {.pkey = NULL};
    rpc_code code = read_public(jwk, ring->purpose, rules, &key, reterr);
    if (trust__jwk_has_private(jwk))
        code = bad(reterr, key.kid, "has a private half; give the public set");
    else if (code != RPC_OK && rules)
        code = RPC_OK; /* not for us: it stays unknown, and what it signs is refused */
    else if (code == RPC_OK && trust_keyring_find(ring, rpc_bytes_str(key.kid)))
        code = bad(reterr, key.kid, "is there twice");
    else if (code == RPC_OK) {
        ring->keys[ring->count++] = key;
        return RPC_OK;
    }
    EVP_PKEY_free(key.pkey);
    return code;
}

static rpc_code parse_set(rpc_bytes jwks, trust_purpose purpose, const published_rules *rules,
    uint64_t version, trust_keyring **ret, rpc_status *reterr)
{
    if (jwks.size > TRUST_JWKS_BYTES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "trust: a key set of %zu bytes; at most %u are taken", jwks.size, TRUST_JWKS_BYTES_MAX);
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(jwks, TRUST_JWKS_BYTES_MAX, "the key set", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    const json_t *keys = json_object_get(json, "keys");
    if (!json_is_object(json) || (keys && !json_is_array(keys)))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: a key set is {\"keys\": [ … ]}, or one key");
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory for a key set");
    atomic_init(&ring->refs, 1);
    if (sodium_init() < 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: libsodium does not start");
    ring->purpose = purpose;
    ring->version = version;
    rpc_code code = keys ? RPC_OK : read_key(ring, json, rules, reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(keys); i++)
        code = read_key(ring, json_array_get(keys, i), rules, reterr);
    if (code == RPC_OK && rules && ring->count == 0)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: the key set has no key for us: one for signatures with Ed25519, ES256, RS256 "
            "or PS256 that has a kid and, where it has a `dacm_purpose`, \"%s\"",
            trust__purpose_name(purpose));
    if (code == RPC_OK)
        *ret = RPC_TAKE(ring);
    return code;
}

rpc_code trust_keyring_parse(rpc_bytes jwks, trust_purpose purpose, uint64_t version,
    trust_keyring **ret, rpc_status *reterr)
{
    return parse_set(jwks, purpose, NULL, version, ret, reterr);
}

rpc_code trust_keyring_parse_published(rpc_bytes jwks, trust_purpose purpose, trust_alg rsa_alg,
    uint64_t version, trust_keyring **ret, rpc_status *reterr)
{
    const published_rules rules = {.rsa_alg = rsa_alg};
    return parse_set(jwks, purpose, &rules, version, ret, reterr);
}

trust_keyring *trust_keyring_ref(trust_keyring *ring)
{
    atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
    return ring;
}

void trust_keyring_unref(trust_keyring *ring)
{
    if (!ring || atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < TRUST_KEYS_MAX; i++)
        EVP_PKEY_free(ring->keys[i].pkey);
    free(ring);
}

trust_purpose trust_keyring_purpose(const trust_keyring *ring)
{
    return ring->purpose;
}

uint64_t trust_keyring_version(const trust_keyring *ring)
{
    return ring->version;
}

size_t trust_keyring_count(const trust_keyring *ring)
{
    return ring->count;
}

const trust_key *trust_keyring_at(const trust_keyring *ring, size_t index)
{
    return &ring->keys[index];
}

const trust_key *trust_keyring_find(const trust_keyring *ring, rpc_bytes kid)
{
    for (size_t i = 0; i < ring->count; i++)
        if (rpc_bytes_equal(rpc_bytes_str(ring->keys[i].kid), kid))
            return &ring->keys[i];
    return NULL;
}

const char *trust_key_kid(const trust_key *key)
{
    return key->kid;
}

trust_alg trust_key_alg(const trust_key *key)
{
    return key->alg;
}

trust_key_state trust_key_get_state(const trust_key *key)
{
    return key->state;
}

bool trust_key_signs_at(const trust_key *key, int64_t time)
{
    if (key->state == TRUST_KEY_PRE_PUBLISHED || key->state == TRUST_KEY_COMPROMISED)
        return false;
    return time >= key->not_before && (key->not_after == 0 || time <= key->not_after);
}

/* ---- verifying ----------------------------------------------------------------------------------
 */

/* JOSE's r || s as the DER that OpenSSL takes. */
static bool verify_es256(const trust_key *key, rpc_bytes message, rpc_bytes signature)
{
    if (signature.size != 64)
        return false;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, 32, NULL), *s = BN_bin2bn(signature.data + 32, 32, NULL);
    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return false;
    }
    unsigned char *der = NULL;
    int size = i2d_ECDSA_SIG(pair, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = size > 0 && ctx &&
              EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)size, message.data, message.size) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    return ok;
}

static bool verify_rsa(const trust_key *key, rpc_bytes message, rpc_bytes signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL; /* belongs to ctx */
    bool ok = ctx && EVP_DigestVerifyInit(ctx, &how, EVP_sha256(), NULL, key->pkey) == 1;
    if (ok && key->alg == TRUST_ALG_PS256)
        ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok &&
         EVP_DigestVerify(ctx, signature.data, signature.size, message.data, message.size) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool trust__key_verify(const trust_key *key, rpc_bytes message, rpc_bytes signature)
{
    switch (key->alg) {
    case TRUST_ALG_EDDSA:
        return signature.size == crypto_sign_BYTES &&
               crypto_sign_verify_detached(
                   signature.data, message.data, message.size, key->ed25519) == 0;
    case TRUST_ALG_ES256:
        return verify_es256(key, message, signature);
    case TRUST_ALG_RS256:
    case TRUST_ALG_PS256:
        return verify_rsa(key, message, signature);
    }
    return false;
}
