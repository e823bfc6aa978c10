/* SPDX-License-Identifier: Apache-2.0 */
/* RSA keys that sign RS256. OpenSSL holds them: it wipes what it frees, and nothing of ours keeps a
 * private number longer than it takes to hand it over. */
#include "trust_internal.h"

#include "cleanup.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS 8

/* Members of a JWK (RFC 7518 6.3) and what OpenSSL calls them; the first two are public. */
static const struct {
    const char *member, *param;
} numbers[NUMBERS] = {
    {"n", OSSL_PKEY_PARAM_RSA_N},
    {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D},
    {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},
    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
    {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

RPC_DEFINE_FREEP(builder_freep, OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)
RPC_DEFINE_FREEP(context_freep, EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
RPC_DEFINE_FREEP(digest_freep, EVP_MD_CTX *, EVP_MD_CTX_free)

static rpc_code bad(const trust_signer *signer, const char *why, rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "trust: key '%.128s': %s", signer->key.kid, why);
}

/* OpenSSL's own sentence could quote a number; only where it failed is told. */
static rpc_code failed(const char *what, rpc_status *reterr)
{
    ERR_clear_error();
    return rpc_status_set(reterr, RPC_INTERNAL, "trust: OpenSSL could not %s", what);
}

static void numbers_done(BIGNUM *(*values)[NUMBERS])
{
    for (size_t i = 0; i < NUMBERS; i++)
        BN_clear_free((*values)[i]);
}

/* "Secure" numbers: what OpenSSL copies of them on the way is wiped as well. */
static BIGNUM *read_number(const json_t *jwk, const char *name)
{
    const json_t *member = json_object_get(jwk, name);
    size_t size = 0;
    if (!json_is_string(member))
        return NULL;
    RPC_AUTOFREE uint8_t *bytes = trust__base64url_decode(
        rpc_bytes_of(json_string_value(member), json_string_length(member)), &size);
    BIGNUM *value = bytes && size > 0 && size <= TRUST_RSA_BITS_MAX / 8 + 1 ? BN_secure_new()
                                                                            : NULL;
    if (value && !BN_bin2bn(bytes, (int)size, value)) {
        BN_clear_free(value);
        value = NULL;
    }
    if (bytes)
        sodium_memzero(bytes, size);
    return value;
}

static EVP_PKEY *pair_of(BIGNUM *const values[NUMBERS])
{
    RPC_CLEANUP(builder_freep) OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool ok = builder != NULL;
    for (size_t i = 0; ok && i < NUMBERS; i++)
        ok = OSSL_PARAM_BLD_push_BN(builder, numbers[i].param, values[i]) == 1;
    OSSL_PARAM *params = ok ? OSSL_PARAM_BLD_to_param(builder) : NULL;
    RPC_CLEANUP(context_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *pair = NULL;
    if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pair, EVP_PKEY_KEYPAIR, params) != 1)
        pair = NULL;
    OSSL_PARAM_free(params);
    return pair;
}

/* Primes, their product, the exponents: a wrong CRT member would give the key away with the first
 * signature. */
static bool is_consistent(EVP_PKEY *pair)
{
    RPC_CLEANUP(context_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pair, NULL);
    return ctx && EVP_PKEY_check(ctx) == 1;
}

rpc_code trust__rsa_read(const json_t *jwk, trust_signer *signer, rpc_status *reterr)
{
    const char *alg = json_string_value(json_object_get(jwk, "alg"));
    if (!alg || strcmp(alg, "RS256") != 0)
        return bad(signer, "a private RSA key needs `alg` RS256", reterr);
    RPC_CLEANUP(numbers_done) BIGNUM *values[NUMBERS] = {NULL};
    for (size_t i = 0; i < NUMBERS; i++) {
        values[i] = read_number(jwk, numbers[i].member);
        if (!values[i])
            return bad(signer, "needs n, e, d, p, q, dp, dq and qi in base64url", reterr);
    }
    if (BN_num_bits(values[0]) < TRUST_RSA_BITS_MIN || BN_num_bits(values[0]) > TRUST_RSA_BITS_MAX)
        return bad(signer, "is no RSA key of 2,048 to 4,096 bits", reterr);
    if (!BN_is_odd(values[1]) || BN_is_one(values[1]) || BN_num_bits(values[1]) > 64)
        return bad(signer, "has an exponent that is 1, even or above 64 bits", reterr);
    signer->pair = pair_of(values);
    const bool consistent = signer->pair && is_consistent(signer->pair);
    ERR_clear_error();
    return consistent ? RPC_OK : bad(signer, "its numbers do not make one RSA key", reterr);
}

/* ---- written ----------------------------------------------------------------------------------
 */

/* Appends `"name": "…"`; 0 when it cannot. */
static size_t write_number(const trust_signer *signer, size_t which, char *text, size_t room)
{
    uint8_t bytes[TRUST_RSA_BITS_MAX / 8];
    char digits[TRUST_RSA_BITS_MAX / 8 / 3 * 4 + 8];
    BIGNUM *value = NULL;
    if (EVP_PKEY_get_bn_param(signer->pair, numbers[which].param, &value) != 1)
        return 0;
    const size_t size = (size_t)BN_num_bytes(value);
    int written = -1;
    if (size <= sizeof bytes && BN_bn2bin(value, bytes) == (int)size) {
        sodium_bin2base64(
            digits, sizeof digits, bytes, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        written = snprintf(text, room, ", \"%s\": \"%s\"", numbers[which].member, digits);
    }
    BN_clear_free(value);
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(digits, sizeof digits);
    return written > 0 && (size_t)written < room ? (size_t)written : 0;
}

char *trust__rsa_members(const trust_signer *signer, bool with_private)
{
    enum { ROOM = 6144 }; /* 4,096 bits: 2 numbers of 683 digits, 5 of 342 */
    char *text = malloc(ROOM);
    if (!text)
        return NULL;
    size_t at = (size_t)snprintf(text, ROOM, "\"kty\": \"RSA\"");
    for (size_t i = 0; i < (with_private ? NUMBERS : 2); i++) {
        const size_t written = write_number(signer, i, text + at, ROOM - at);
        if (written == 0) {
            sodium_memzero(text, ROOM);
            free(text);
            return NULL;
        }
        at += written;
    }
    return text;
}

/* RFC 7638 3.2: members in lexical order, no white space. */
static bool name_by_thumbprint(trust_signer *signer)
{
    char n[1024], e[64], text[1152];
    uint8_t digest[crypto_hash_sha256_BYTES];
    if (write_number(signer, 0, n, sizeof n) == 0 || write_number(signer, 1, e, sizeof e) == 0)
        return false;
    /* They are written as `, "n": "…"`. */
    int size = snprintf(text, sizeof text, "{\"e\":%s,\"kty\":\"RSA\",\"n\":%s}",
        strchr(e, ':') + 2, strchr(n, ':') + 2);
    crypto_hash_sha256(digest, (const uint8_t *)text, (unsigned long long)size);
    sodium_bin2base64(signer->key.kid, sizeof signer->key.kid, digest, sizeof digest,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return true;
}

rpc_code trust__rsa_generate(int bits, trust_signer *signer, rpc_status *reterr)
{
    signer->pair = EVP_RSA_gen((unsigned)bits);
    if (!signer->pair || !name_by_thumbprint(signer))
        return failed("make an RSA key", reterr);
    return RPC_OK;
}

/* ---- signing ----------------------------------------------------------------------------------
 */

rpc_code trust__rsa_sign(const trust_signer *signer, rpc_bytes message,
    uint8_t ret_signature[TRUST_SIGNATURE_MAX], size_t *ret_size, rpc_status *reterr)
{
    RPC_CLEANUP(digest_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t size = TRUST_SIGNATURE_MAX;
    if (!ctx)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory to sign");
    /* PKCS#1 v1.5 is the padding that it begins with. */
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, signer->pair) != 1 ||
        EVP_DigestSign(ctx, ret_signature, &size, message.data, message.size) != 1)
        return failed("sign with an RSA key", reterr);
    *ret_size = size;
    return RPC_OK;
}
