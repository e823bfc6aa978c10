/* SPDX-License-Identifier: Apache-2.0 */
/* ES256, RS256 and PS256: keys and signatures made by OpenSSL, judged by trust_token_verify(). */
#include "test.h"
#include "trust_internal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define NOW 1790000000
#define CLAIMS                                                                                     \
    "{\"iss\":\"https://sims.example\",\"aud\":\"https://dacm.example/\",\"sub\":\"s\","           \
    "\"jti\":\"j\",\"client_id\":\"c\",\"scope\":\"seal.da\",\"iat\":1790000000,"                  \
    "\"exp\":1790000300}"

typedef enum padding { PADDING_NONE, PADDING_PKCS1, PADDING_PSS, PADDING_PSS_LONG_SALT } padding;

/* ---- keys and sets ------------------------------------------------------------------------- */

static EVP_PKEY *rsa_key(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    assert_non_null(key);
    return key;
}

static EVP_PKEY *ec_key(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    assert_non_null(key);
    return key;
}

/* A number of the key as `size` bytes, or as few as it needs where size is 0. */
static char *number(EVP_PKEY *key, const char *name, size_t size)
{
    BIGNUM *value = NULL;
    uint8_t bytes[1024];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &value), 1);
    size_t wanted = size ? size : (size_t)BN_num_bytes(value);
    assert_true(wanted <= sizeof bytes);
    assert_int_equal(BN_bn2binpad(value, bytes, (int)wanted), (int)wanted);
    BN_free(value);
    char *text = trust__base64url_encode(rpc_bytes_of(bytes, wanted));
    assert_non_null(text);
    return text;
}

static void write_ec(EVP_PKEY *key, const char *crv, size_t size, char *ret, size_t room)
{
    char *x = number(key, OSSL_PKEY_PARAM_EC_PUB_X, size);
    char *y = number(key, OSSL_PKEY_PARAM_EC_PUB_Y, size);
    snprintf(ret, room,
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"%s\",\"kid\":\"k\",\"x\":\"%s\",\"y\":\"%s\"}]}", crv,
        x, y);
    free(x);
    free(y);
}

/* e NULL: the key's own. */
static void write_rsa(EVP_PKEY *key, const char *alg, const char *e, char *ret, size_t room)
{
    char *n = number(key, OSSL_PKEY_PARAM_RSA_N, 0), *own = number(key, OSSL_PKEY_PARAM_RSA_E, 0);
    snprintf(ret, room,
        "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"%s\",\"kid\":\"k\",\"n\":\"%s\",\"e\":\"%s\"}]}",
        alg, n, e ? e : own);
    free(n);
    free(own);
}

static trust_keyring *ring_of(const char *jwks)
{
    trust_keyring *ring = NULL;
    rpc_status status;
    if (trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

static trust_keyring *ec_ring(EVP_PKEY *key)
{
    char jwks[1024];
    write_ec(key, "P-256", 32, jwks, sizeof jwks);
    trust_keyring *ring = ring_of(jwks);
    assert_int_equal(trust_keyring_count(ring), 1);
    assert_int_equal(trust_key_alg(trust_keyring_at(ring, 0)), TRUST_ALG_ES256);
    return ring;
}

static trust_keyring *rsa_ring(EVP_PKEY *key, const char *alg)
{
    char jwks[2048];
    write_rsa(key, alg, NULL, jwks, sizeof jwks);
    trust_keyring *ring = ring_of(jwks);
    assert_int_equal(trust_keyring_count(ring), 1);
    return ring;
}

static void set_refused(const char *jwks, const char *word)
{
    trust_keyring *ring = NULL;
    rpc_status status;
    assert_int_equal(trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status),
        RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("'%s' not in '%s'", word, status.message);
    assert_null(ring);
}

/* ---- signatures ---------------------------------------------------------------------------- */

/* Header and claims in base64url with the dot between: what is signed. */
static char *signing_input(const char *alg)
{
    char header[128];
    snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"k\"}", alg);
    char *head = trust__base64url_encode(rpc_bytes_str(header));
    char *body = trust__base64url_encode(rpc_bytes_str(CLAIMS));
    size_t room = strlen(head) + strlen(body) + 2;
    char *text = malloc(room);
    assert_non_null(text);
    snprintf(text, room, "%s.%s", head, body);
    free(head);
    free(body);
    return text;
}

/* As OpenSSL gives it: DER for ECDSA. */
static size_t sign(EVP_PKEY *key, padding how, const char *text, uint8_t *ret, size_t room)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx = NULL;
    assert_int_equal(EVP_DigestSignInit(ctx, &key_ctx, EVP_sha256(), NULL, key), 1);
    if (how >= PADDING_PSS) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING), 1);
        int salt = how == PADDING_PSS ? 32 : 64;
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, salt), 1);
    }
    size_t size = room;
    assert_int_equal(EVP_DigestSign(ctx, ret, &size, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return size;
}

/* DER to the r || s of RFC 7518 3.4. */
static void to_pair(const uint8_t *der, size_t size, uint8_t ret[64])
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)size);
    assert_non_null(pair);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret + 32, 32), 32);
    ECDSA_SIG_free(pair);
}

static rpc_code verify(
    const trust_keyring *ring, const char *input, rpc_bytes signature, rpc_status *ret_status)
{
    trust_issuer issuer = {
        .issuer = "https://sims.example", .audience = "https://dacm.example/", .keys = ring};
    char *tail = trust__base64url_encode(signature);
    size_t room = strlen(input) + strlen(tail) + 2;
    char *jws = malloc(room);
    assert_non_null(jws);
    snprintf(jws, room, "%s.%s", input, tail);
    trust_token *token = NULL;
    rpc_code code = trust_token_verify(rpc_bytes_str(jws), &issuer, NOW, &token, ret_status);
    assert_true((code == RPC_OK) == (token != NULL));
    if (token)
        assert_string_equal(token->subject, "s");
    trust_token_unref(token);
    free(jws);
    free(tail);
    return code;
}

static void accepted(const trust_keyring *ring, const char *input, rpc_bytes signature)
{
    rpc_status status = {0};
    if (verify(ring, input, signature, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void refused(
    const trust_keyring *ring, const char *input, rpc_bytes signature, const char *word)
{
    rpc_status status = {0};
    assert_int_equal(verify(ring, input, signature, &status), RPC_UNAUTHENTICATED);
    if (!strstr(status.message, word))
        fail_msg("'%s' not in '%s'", word, status.message);
}

/* ---- ES256 --------------------------------------------------------------------------------- */

TEST(es256_token_signed_by_openssl_is_accepted_as_r_and_s_only)
{
    EVP_PKEY *key = ec_key("P-256"), *other = ec_key("P-256");
    trust_keyring *ring = ec_ring(key), *other_ring = ec_ring(other);
    char *input = signing_input("ES256");
    uint8_t der[128], pair[65] = {0};
    size_t size = sign(key, PADDING_NONE, input, der, sizeof der);
    to_pair(der, size, pair);
    accepted(ring, input, rpc_bytes_of(pair, 64));
    refused(other_ring, input, rpc_bytes_of(pair, 64), "signature");
    refused(ring, input, rpc_bytes_of(der, size), "signature");
    refused(ring, input, rpc_bytes_of(pair, 63), "signature");
    refused(ring, input, rpc_bytes_of(pair, 65), "signature");
    refused(ring, input, rpc_bytes_of(pair, 0), "three segments");
    for (size_t i = 0; i < 64; i++) {
        pair[i] ^= 1;
        refused(ring, input, rpc_bytes_of(pair, 64), "signature");
        pair[i] ^= 1;
    }
    accepted(ring, input, rpc_bytes_of(pair, 64));
    free(input);
    trust_keyring_unref(ring);
    trust_keyring_unref(other_ring);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

TEST(es256_signature_with_r_or_s_of_zero_or_the_order_is_refused)
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca,
        0xc2, 0xfc, 0x63, 0x25, 0x51};
    static const uint8_t zero[32];
    EVP_PKEY *key = ec_key("P-256");
    trust_keyring *ring = ec_ring(key);
    char *input = signing_input("ES256");
    uint8_t der[128], good[64], bad[64];
    to_pair(der, sign(key, PADDING_NONE, input, der, sizeof der), good);
    const uint8_t *const values[] = {zero, order};
    for (size_t i = 0; i < 2; i++) {
        memcpy(bad, values[i], 32);
        memcpy(bad + 32, good + 32, 32);
        refused(ring, input, rpc_bytes_of(bad, 64), "signature");
        memcpy(bad, good, 32);
        memcpy(bad + 32, values[i], 32);
        refused(ring, input, rpc_bytes_of(bad, 64), "signature");
        memcpy(bad, values[i], 32);
        refused(ring, input, rpc_bytes_of(bad, 64), "signature");
    }
    accepted(ring, input, rpc_bytes_of(good, 64));
    free(input);
    trust_keyring_unref(ring);
    EVP_PKEY_free(key);
}

TEST(es256_keys_of_another_curve_are_left_out_and_bad_points_refused)
{
    char jwks[1024];
    EVP_PKEY *p384 = ec_key("P-384");
    write_ec(p384, "P-384", 48, jwks, sizeof jwks);
    trust_keyring *ring = ring_of(jwks);
    assert_int_equal(trust_keyring_count(ring), 0);
    trust_keyring_unref(ring);
    write_ec(p384, "P-256", 48, jwks, sizeof jwks); /* its coordinates do not fit the curve */
    set_refused(jwks, "32 bytes");
    EVP_PKEY_free(p384);
    EVP_PKEY *k1 = ec_key("secp256k1");
    write_ec(k1, "P-256", 32, jwks, sizeof jwks); /* they fit, but lie elsewhere */
    set_refused(jwks, "P-256");
    EVP_PKEY_free(k1);
}

/* ---- RS256 and PS256 ----------------------------------------------------------------------- */

TEST(rs256_and_ps256_tokens_signed_by_openssl_are_accepted_under_their_own_alg_only)
{
    static const char *const algs[] = {"RS256", "PS256"};
    static const padding own[] = {PADDING_PKCS1, PADDING_PSS};
    EVP_PKEY *key = rsa_key(2048);
    for (size_t i = 0; i < 2; i++) {
        trust_keyring *ring = rsa_ring(key, algs[i]);
        char *input = signing_input(algs[i]), *other = signing_input(algs[1 - i]);
        uint8_t signature[512];
        size_t size = sign(key, own[i], input, signature, sizeof signature);
        assert_int_equal(size, 256);
        accepted(ring, input, rpc_bytes_of(signature, size));
        refused(ring, input, rpc_bytes_of(signature, size - 1), "signature");
        signature[255] ^= 1;
        refused(ring, input, rpc_bytes_of(signature, size), "signature");
        /* The other padding under this key's name, and under its own. */
        size = sign(key, own[1 - i], input, signature, sizeof signature);
        refused(ring, input, rpc_bytes_of(signature, size), "signature");
        size = sign(key, own[1 - i], other, signature, sizeof signature);
        refused(ring, other, rpc_bytes_of(signature, size), "alg");
        free(input);
        free(other);
        trust_keyring_unref(ring);
    }
    EVP_PKEY_free(key);
}

TEST(ps256_salt_is_as_long_as_the_digest)
{
    EVP_PKEY *key = rsa_key(2048);
    trust_keyring *ring = rsa_ring(key, "PS256");
    char *input = signing_input("PS256");
    uint8_t signature[512];
    size_t size = sign(key, PADDING_PSS_LONG_SALT, input, signature, sizeof signature);
    refused(ring, input, rpc_bytes_of(signature, size), "signature");
    free(input);
    trust_keyring_unref(ring);
    EVP_PKEY_free(key);
}

TEST(rsa_keys_have_2048_to_4096_bits_and_an_odd_exponent)
{
    static const char *const exponents[] = {"AQ", "Ag", "AQAA", "AQAAAAAAAAAB", "", "AA"};
    char jwks[2048];
    EVP_PKEY *small = rsa_key(1024), *key = rsa_key(2048);
    write_rsa(small, "RS256", NULL, jwks, sizeof jwks);
    set_refused(jwks, "2,048");
    EVP_PKEY_free(small);
    write_rsa(key, "RS256", NULL, jwks, sizeof jwks);
    trust_keyring_unref(ring_of(jwks));
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
        write_rsa(key, "PS256", exponents[i], jwks, sizeof jwks);
        set_refused(jwks, "odd exponent");
    }
    EVP_PKEY_free(key);
}

TEST(alg_of_the_header_is_that_of_the_key)
{
    static const char *const algs[] = {"EdDSA", "Ed25519", "ES256", "RS256", "PS256", "ES384",
        "RS512", "HS256", "none", "None", "NONE", "rs256", "", "RS256 "};
    EVP_PKEY *rsa = rsa_key(2048), *ec = ec_key("P-256");
    trust_keyring *rings[] = {ec_ring(ec), rsa_ring(rsa, "RS256"), rsa_ring(rsa, "PS256")};
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++) {
        char *input = signing_input(algs[i]);
        uint8_t der[128], pair[64], pkcs1[512], pss[512];
        to_pair(der, sign(ec, PADDING_NONE, input, der, sizeof der), pair);
        sign(rsa, PADDING_PKCS1, input, pkcs1, sizeof pkcs1);
        sign(rsa, PADDING_PSS, input, pss, sizeof pss);
        rpc_bytes signatures[] = {
            rpc_bytes_of(pair, 64), rpc_bytes_of(pkcs1, 256), rpc_bytes_of(pss, 256)};
        static const size_t own[] = {2, 3, 4}; /* each ring's own in algs */
        for (size_t j = 0; j < 3; j++) {
            if (i == own[j])
                accepted(rings[j], input, signatures[j]);
            else
                refused(rings[j], input, signatures[j], "alg");
        }
        free(input);
    }
    for (size_t j = 0; j < 3; j++)
        trust_keyring_unref(rings[j]);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
}

/* What a verifier falls for that lets the header choose: a MAC under text that everybody has. */
TEST(hs256_with_the_public_key_as_secret_is_refused)
{
    EVP_PKEY *key = rsa_key(2048);
    trust_keyring *ring = rsa_ring(key, "RS256");
    char *input = signing_input("HS256"), jwks[2048];
    write_rsa(key, "RS256", NULL, jwks, sizeof jwks);
    unsigned char *der = NULL;
    int der_size = i2d_PUBKEY(key, &der);
    BIO *memory = BIO_new(BIO_s_mem());
    char *pem = NULL;
    assert_true(der_size > 0 && memory && PEM_write_bio_PUBKEY(memory, key) == 1);
    long pem_size = BIO_get_mem_data(memory, &pem);
    const struct {
        const void *data;
        int size;
    } secrets[] = {{der, der_size}, {pem, (int)pem_size}, {jwks, (int)strlen(jwks)}, {"", 0}};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        uint8_t mac[32];
        unsigned size = 0;
        assert_non_null(HMAC(EVP_sha256(), secrets[i].data, secrets[i].size, (const uint8_t *)input,
            strlen(input), mac, &size));
        refused(ring, input, rpc_bytes_of(mac, size), "alg");
    }
    BIO_free(memory);
    OPENSSL_free(der);
    free(input);
    trust_keyring_unref(ring);
    EVP_PKEY_free(key);
}

TEST(none_is_refused_with_and_without_a_signature)
{
    EVP_PKEY *key = rsa_key(2048);
    trust_keyring *ring = rsa_ring(key, "RS256");
    char *input = signing_input("none");
    refused(ring, input, rpc_bytes_of("", 0), "three segments");
    refused(ring, input, rpc_bytes_of("\0", 1), "alg");
    free(input);
    trust_keyring_unref(ring);
    EVP_PKEY_free(key);
}

/* ---- RFC 7515, appendices A.2 and A.3 ------------------------------------------------------- */

/* Their header is {"alg": …} alone, which we refuse: the signature is checked under it. */
static bool vector_holds(const char *jwk, const char *header, const char *signature, size_t drop)
{
#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"
    char input[256];
    size_t size = 0;
    trust_keyring *ring = ring_of(jwk);
    uint8_t *bytes = trust__base64url_decode(rpc_bytes_str(signature), &size);
    assert_non_null(bytes);
    snprintf(input, sizeof input, "%s." PAYLOAD, header);
    bool holds = trust__key_verify(trust_keyring_at(ring, 0),
        rpc_bytes_of(input, strlen(input) - drop), rpc_bytes_of(bytes, size));
    free(bytes);
    trust_keyring_unref(ring);
    return holds;
}

#define RFC_N                                                                                      \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4" \
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re" \
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX" \
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

TEST(rs256_signature_of_rfc_7515_a2_holds)
{
    static const char signature[] =
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W"
        "2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkS"
        "jtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv"
        "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const char *jwk =
        "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"kid\":\"k\",\"e\":\"AQAB\",\"n\":\"" RFC_N "\"}";
    assert_true(vector_holds(jwk, "eyJhbGciOiJSUzI1NiJ9", signature, 0));
    assert_false(vector_holds(jwk, "eyJhbGciOiJSUzI1NiJ9", signature, 1));
    assert_false(vector_holds(jwk, "eyJhbGciOiJFUzI1NiJ9", signature, 0));
    jwk = "{\"kty\":\"RSA\",\"alg\":\"PS256\",\"kid\":\"k\",\"e\":\"AQAB\",\"n\":\"" RFC_N "\"}";
    assert_false(vector_holds(jwk, "eyJhbGciOiJSUzI1NiJ9", signature, 0));
}

TEST(es256_signature_of_rfc_7515_a3_holds)
{
    static const char jwk[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\","
                              "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                              "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
    static const char signature[] =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_true(vector_holds(jwk, "eyJhbGciOiJFUzI1NiJ9", signature, 0));
    assert_false(vector_holds(jwk, "eyJhbGciOiJFUzI1NiJ9", signature, 1));
    assert_false(vector_holds(jwk, "eyJhbGciOiJSUzI1NiJ9", signature, 0));
}
