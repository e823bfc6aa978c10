/* SPDX-License-Identifier: Apache-2.0 */
/* Client assertions (RFC 7523). What is refused follows the lists for tokens: an assertion is one
 * that a stranger wrote. ES256, RS256 and PS256 signatures are made by OpenSSL. */
#include "test.h"
#include "trust_internal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#define NOW 1790000000

static const char *const audiences[] = {"https://sims.example", "https://sims.example/token", NULL};

typedef struct client_fixture {
    trust_signer *signer;
    trust_keyring *ring;
    trust_assertion_rules rules;
} client_fixture;

static client_fixture make_fixture(void)
{
    client_fixture f;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_CLIENTS, &f.signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(f.signer);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_CLIENTS, 1, &f.ring, &status), RPC_OK);
    free(jwks);
    f.rules = (trust_assertion_rules){.client_id = "c", .keys = f.ring, .audiences = audiences};
    return f;
}

static void drop_fixture(client_fixture *f)
{
    trust_keyring_unref(f->ring);
    trust_signer_free(f->signer);
}

/* `header` and `claims` as they stand, signed; kid %s in the header is the key's. */
static char *signed_text(const trust_signer *signer, const char *header, const char *claims)
{
    char head_text[2 * TRUST_KID_MAX + 256];
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    const char *mark = strstr(header, "%s");
    snprintf(head_text, sizeof head_text, "%.*s%s%s", mark ? (int)(mark - header) : 4096, header,
        mark ? trust_signer_kid(signer) : "", mark ? mark + 2 : "");
    char *head = trust__base64url_encode(rpc_bytes_str(head_text));
    char *body = trust__base64url_encode(rpc_bytes_str(claims));
    size_t room = strlen(head) + strlen(body) + 2 + 1024;
    char *jws = malloc(room);
    assert_non_null(jws);
    snprintf(jws, room, "%s.%s", head, body);
    assert_int_equal(trust_signer_sign(signer, rpc_bytes_str(jws), signature, &size, NULL), RPC_OK);
    char *tail = trust__base64url_encode(rpc_bytes_of(signature, size));
    snprintf(jws + strlen(jws), room - strlen(jws), ".%s", tail);
    free(head);
    free(body);
    free(tail);
    return jws;
}

#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"JWT\"}"
#define NAMES  "{\"iss\":\"c\",\"sub\":\"c\",\"jti\":\"j\""
#define AUD    ",\"aud\":\"https://sims.example/token\""
#define GOOD   NAMES AUD ",\"iat\":1790000000,\"exp\":1790000060}"

static void accepted(const char *header, const char *claims)
{
    client_fixture f = make_fixture();
    trust_assertion read;
    rpc_status status = {0};
    char *text = signed_text(f.signer, header, claims);
    if (trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status) != RPC_OK)
        fail_msg("%s %s: %s", header, claims, status.message);
    assert_string_equal(read.client_id, "c");
    assert_string_equal(read.jti, "j");
    free(text);
    drop_fixture(&f);
}

static void refused(const char *header, const char *claims, const char *why)
{
    client_fixture f = make_fixture();
    trust_assertion read = {.expires_at = -1};
    rpc_status status = {0};
    char *text = signed_text(f.signer, header, claims);
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s'", why, status.message);
    assert_int_equal(read.expires_at, -1);
    free(text);
    drop_fixture(&f);
}

TEST(correct_assertion_is_accepted_with_any_header_that_clients_write)
{
    accepted(HEADER, GOOD);
    accepted("{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", GOOD);
    accepted("{\"alg\":\"EdDSA\"}", GOOD);
    accepted("{\"alg\":\"Ed25519\",\"typ\":\"client-authentication+jwt\"}", GOOD);
    accepted("{\"alg\":\"EdDSA\",\"x5t\":\"a\",\"x5t#S256\":\"b\"}", GOOD);
}

TEST(assertion_for_the_issuer_or_the_endpoint_is_accepted)
{
    accepted(HEADER, NAMES ",\"aud\":\"https://sims.example\",\"exp\":1790000060}");
    accepted(HEADER, NAMES ",\"aud\":[\"https://sims.example\"],\"exp\":1790000060}");
    accepted(HEADER, NAMES ",\"aud\":[\"https://sims.example\",\"https://sims.example/token\"],"
                           "\"exp\":1790000060}");
}

TEST(assertion_that_we_make_is_one_that_we_take)
{
    client_fixture f = make_fixture();
    trust_assertion first, second;
    rpc_status status;
    char *a, *b, client[256];
    assert_int_equal(
        trust_assertion_mint(f.signer, "c", "https://sims.example", NOW, &a, &status), RPC_OK);
    assert_int_equal(
        trust_assertion_mint(f.signer, "c", "https://sims.example", NOW, &b, &status), RPC_OK);
    assert_int_equal(
        trust_assertion_verify(rpc_bytes_str(a), &f.rules, NOW, &first, &status), RPC_OK);
    assert_int_equal(
        trust_assertion_verify(rpc_bytes_str(b), &f.rules, NOW, &second, &status), RPC_OK);
    assert_string_not_equal(first.jti, second.jti);
    assert_int_equal(first.expires_at, NOW + 60);
    assert_int_equal(first.issued_at, NOW);
    assert_true(trust_assertion_peek_client(rpc_bytes_str(a), client, sizeof client));
    assert_string_equal(client, "c");
    assert_false(trust_assertion_peek_client(rpc_bytes_str(a), client, 1));
    free(a);
    free(b);
    drop_fixture(&f);
}

TEST(assertion_of_a_key_for_tokens_is_neither_made_nor_taken)
{
    client_fixture f = make_fixture();
    trust_signer *tokens;
    trust_keyring *ring;
    trust_assertion read;
    rpc_status status;
    char *text;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &tokens, &status), RPC_OK);
    assert_int_equal(trust_assertion_mint(tokens, "c", "https://sims.example", NOW, &text, &status),
        RPC_INVALID_ARGUMENT);
    char *jwks = trust_signer_public_jwks(tokens);
    assert_int_equal(trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_CLIENTS, 1, &ring, &status),
        RPC_INVALID_ARGUMENT);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status), RPC_OK);
    text = signed_text(tokens, HEADER, GOOD);
    trust_assertion_rules rules = f.rules;
    rules.keys = ring;
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    assert_non_null(strstr(status.message, "not for assertions"));
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    free(text);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(tokens);
    drop_fixture(&f);
}

/* ---- algorithm and key --------------------------------------------------------------------- */

TEST(assertion_with_alg_none_or_of_another_kind_of_key_is_refused)
{
    static const char *const algs[] = {"none", "None", "NONE", "nOnE", "HS256", "HS512", "RS256",
        "PS256", "ES256", "ES256K", "eddsa", "EDDSA", "", "EdDSA "};
    char header[256];
    for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%%s\"}", algs[i]);
        refused(header, GOOD, "alg");
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", algs[i]);
        refused(header, GOOD, "kid"); /* no key of the client fits */
    }
    refused("{\"kid\":\"%s\"}", GOOD, "`alg`");
}

TEST(assertion_with_a_typ_of_something_else_is_refused)
{
    refused("{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":[\"JWT\"]}", GOOD, "typ");
    refused("{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":null}", GOOD, "typ");
    static const char *const typs[] = {"at+jwt", "jwt", "dacm-manifest+jwt", "logout+jwt", "JOSE",
        "", "application/at+jwt", "dpop+jwt"};
    char header[256];
    for (size_t i = 0; i < sizeof typs / sizeof typs[0]; i++) {
        snprintf(
            header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%%s\",\"typ\":\"%s\"}", typs[i]);
        refused(header, GOOD, "typ");
    }
}

TEST(assertion_whose_header_leads_elsewhere_is_refused)
{
    static const char *const members[] = {"\"jku\":\"https://evil.example/\"",
        "\"x5u\":\"https://evil.example/\"", "\"jwk\":{\"kty\":\"OKP\"}", "\"x5c\":[\"MII\"]",
        "\"crit\":[\"exp\"]", "\"b64\":false", "\"cty\":\"JWT\"", "\"enc\":\"A128GCM\"",
        "\"kid\":\"again\""};
    char header[512];
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%%s\",%s}", members[i]);
        refused(header, GOOD, "header");
    }
}

TEST(assertion_under_a_kid_that_the_client_has_not_is_refused)
{
    refused("{\"alg\":\"EdDSA\",\"kid\":\"other\"}", GOOD, "kid");
    refused("{\"alg\":\"EdDSA\",\"kid\":\"../../etc/passwd\"}", GOOD, "kid");
    refused("{\"alg\":\"EdDSA\",\"kid\":\"\"}", GOOD, "kid");
    refused("{\"alg\":\"EdDSA\",\"kid\":1}", GOOD, "header");
    refused("{\"alg\":\"EdDSA\",\"kid\":null}", GOOD, "header");
    refused("{\"alg\":\"EdDSA\",\"kid\":\"a\\u0000b\"}", GOOD, "header");
}

/* Two keys of the client: both Ed25519, or the second in another state. */
static void of_two_keys(const char *state, rpc_code expected)
{
    client_fixture f = make_fixture();
    trust_signer *other;
    trust_keyring *ring;
    trust_assertion read;
    rpc_status status = {0};
    char set[2048], extra[64] = "";
    assert_int_equal(trust_signer_generate(TRUST_FOR_CLIENTS, &other, &status), RPC_OK);
    char *a = trust__signer_jwk(f.signer, false), *b = trust__signer_jwk(other, false);
    if (state)
        snprintf(extra, sizeof extra, ",\"dacm_state\":\"%s\"", state);
    b[strlen(b) - 1] = '\0';
    snprintf(set, sizeof set, "{\"keys\":[%s,%s%s}]}", a, b, extra);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(set), TRUST_FOR_CLIENTS, 1, &ring, &status), RPC_OK);
    trust_assertion_rules rules = f.rules;
    rules.keys = ring;
    char *text = signed_text(f.signer, "{\"alg\":\"EdDSA\"}", GOOD);
    assert_int_equal(
        trust_assertion_verify(rpc_bytes_str(text), &rules, NOW, &read, &status), expected);
    if (expected != RPC_OK)
        assert_non_null(strstr(status.message, "not exactly one key"));
    free(text);
    text = signed_text(f.signer, HEADER, GOOD);
    assert_int_equal(
        trust_assertion_verify(rpc_bytes_str(text), &rules, NOW, &read, &status), RPC_OK);
    free(text);
    free(a);
    free(b);
    trust_keyring_unref(ring);
    trust_signer_free(other);
    drop_fixture(&f);
}

TEST(assertion_without_kid_is_accepted_where_one_key_fits_only)
{
    of_two_keys(NULL, RPC_UNAUTHENTICATED);
    of_two_keys("verify-only", RPC_UNAUTHENTICATED);
    of_two_keys("retired", RPC_OK);
    of_two_keys("compromised", RPC_OK);
    of_two_keys("pre-published", RPC_OK);
}

static void in_state(const char *more, const char *why)
{
    client_fixture f = make_fixture();
    trust_keyring *ring;
    trust_assertion read;
    rpc_status status = {0};
    char set[1024], *jwk = trust__signer_jwk(f.signer, false);
    jwk[strlen(jwk) - 1] = '\0';
    snprintf(set, sizeof set, "%s,%s}", jwk, more);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(set), TRUST_FOR_CLIENTS, 1, &ring, &status), RPC_OK);
    f.rules.keys = ring;
    char *text = signed_text(f.signer, HEADER, GOOD);
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s'", why, status.message);
    free(text);
    free(jwk);
    trust_keyring_unref(ring);
    drop_fixture(&f);
}

TEST(assertion_of_a_key_that_is_retired_compromised_or_outside_its_window_is_refused)
{
    in_state("\"dacm_state\":\"retired\"", "retired");
    in_state("\"dacm_state\":\"compromised\"", "compromised");
    in_state("\"dacm_state\":\"pre-published\"", "not in use");
    in_state("\"nbf\":1790000001", "window");
    in_state("\"exp\":1789999999", "window");
}

TEST(assertion_with_an_algorithm_that_the_client_may_not_use_is_refused)
{
    client_fixture f = make_fixture();
    trust_assertion read;
    rpc_status status;
    char *text = signed_text(f.signer, HEADER, GOOD);
    f.rules.algs = 1u << TRUST_ALG_ES256 | 1u << TRUST_ALG_PS256;
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    f.rules.algs |= 1u << TRUST_ALG_EDDSA;
    assert_int_equal(
        trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status), RPC_OK);
    free(text);
    drop_fixture(&f);
}

/* ---- the other algorithms, signed by OpenSSL ------------------------------------------------ */

static char *number(EVP_PKEY *key, const char *name, size_t size)
{
    BIGNUM *value = NULL;
    uint8_t bytes[512];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &value), 1);
    size_t wanted = size ? size : (size_t)BN_num_bytes(value);
    assert_int_equal(BN_bn2binpad(value, bytes, (int)wanted), (int)wanted);
    BN_free(value);
    return trust__base64url_encode(rpc_bytes_of(bytes, wanted));
}

static trust_keyring *public_ring(EVP_PKEY *key, const char *alg)
{
    const bool ec = strcmp(alg, "ES256") == 0;
    char *a = number(key, ec ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N, ec ? 32 : 0);
    char *b = number(key, ec ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E, ec ? 32 : 0);
    char jwk[2048];
    trust_keyring *ring = NULL;
    rpc_status status;
    snprintf(jwk, sizeof jwk,
        "{\"kty\":\"%s\",%s\"alg\":\"%s\",\"kid\":\"k\",\"%s\":\"%s\",\"%s\":\"%s\"}",
        ec ? "EC" : "RSA", ec ? "\"crv\":\"P-256\"," : "", alg, ec ? "x" : "n", a, ec ? "y" : "e",
        b);
    if (trust_keyring_parse(rpc_bytes_str(jwk), TRUST_FOR_CLIENTS, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    free(a);
    free(b);
    return ring;
}

/* Signed by key as alg says; ES256 as r || s. */
static size_t sign(EVP_PKEY *key, const char *alg, const char *text, uint8_t ret[512])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    uint8_t raw[512];
    size_t size = sizeof raw;
    assert_int_equal(EVP_DigestSignInit(ctx, &how, EVP_sha256(), NULL, key), 1);
    if (strcmp(alg, "PS256") == 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(how, 32), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, raw, &size, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    if (strcmp(alg, "ES256") != 0) {
        memcpy(ret, raw, size);
        return size;
    }
    const uint8_t *der = raw;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)size);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret + 32, 32), 32);
    ECDSA_SIG_free(pair);
    return 64;
}

static void signed_by_openssl(EVP_PKEY *key, const char *alg)
{
    trust_keyring *ring = public_ring(key, alg);
    const trust_assertion_rules rules = {.client_id = "c", .keys = ring, .audiences = audiences};
    char header[64], input[1024], jws[2048];
    uint8_t signature[512];
    trust_assertion read;
    rpc_status status = {0};
    snprintf(header, sizeof header, "{\"alg\":\"%s\"}", alg);
    char *head = trust__base64url_encode(rpc_bytes_str(header));
    char *body = trust__base64url_encode(rpc_bytes_str(GOOD));
    snprintf(input, sizeof input, "%s.%s", head, body);
    size_t size = sign(key, alg, input, signature);
    for (int wrong = 0; wrong < 2; wrong++) {
        signature[7] ^= (uint8_t)wrong;
        char *tail = trust__base64url_encode(rpc_bytes_of(signature, size));
        snprintf(jws, sizeof jws, "%s.%s", input, tail);
        rpc_code code = trust_assertion_verify(rpc_bytes_str(jws), &rules, NOW, &read, &status);
        if (code != (wrong ? RPC_UNAUTHENTICATED : RPC_OK))
            fail_msg("%s: %s", alg, status.message);
        free(tail);
    }
    free(head);
    free(body);
    trust_keyring_unref(ring);
}

TEST(assertions_signed_by_openssl_with_es256_rs256_and_ps256_are_accepted)
{
    EVP_PKEY *ec = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
    signed_by_openssl(ec, "ES256");
    signed_by_openssl(rsa, "RS256");
    signed_by_openssl(rsa, "PS256");
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}

/* ---- encoding ------------------------------------------------------------------------------ */

static void text_refused(client_fixture *f, const char *text)
{
    trust_assertion read;
    rpc_status status;
    char client[256];
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f->rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    if (trust_assertion_peek_client(rpc_bytes_str(text), client, sizeof client))
        assert_string_equal(client, "c");
}

TEST(assertion_truncated_at_every_byte_or_with_one_more_is_refused)
{
    client_fixture f = make_fixture();
    char *text = signed_text(f.signer, HEADER, GOOD);
    char *changed = malloc(strlen(text) + 8);
    for (size_t i = 0; i < strlen(text); i++) {
        memcpy(changed, text, i);
        changed[i] = '\0';
        text_refused(&f, changed);
    }
    static const char *const tails[] = {"=", ".", ".e30", " ", "\n", "A"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        snprintf(changed, strlen(text) + 8, "%s%s", text, tails[i]);
        text_refused(&f, changed);
    }
    free(changed);
    free(text);
    drop_fixture(&f);
}

TEST(assertion_above_8_kib_is_refused_by_its_size)
{
    client_fixture f = make_fixture();
    char *claims = malloc(TRUST_ASSERTION_BYTES_MAX + 1);
    trust_assertion read;
    rpc_status status;
    snprintf(claims, TRUST_ASSERTION_BYTES_MAX, "%.*s,\"x\":\"%0*d\"}", (int)strlen(GOOD) - 1, GOOD,
        7000, 0);
    char *text = signed_text(f.signer, HEADER, claims);
    assert_int_equal(trust_assertion_verify(rpc_bytes_str(text), &f.rules, NOW, &read, &status),
        RPC_UNAUTHENTICATED);
    assert_non_null(strstr(status.message, "larger than the limit"));
    free(text);
    free(claims);
    drop_fixture(&f);
}

TEST(assertion_whose_claims_are_not_plain_json_is_refused)
{
    char deep[4096];
    memset(deep, '[', 2000);
    deep[2000] = '\0';
    refused(HEADER, "", "claims");
    refused(HEADER, "null", "claims");
    refused(HEADER, "[]", "claims");
    refused(HEADER, "\xEF\xBB\xBF" GOOD, "claims");
    refused(HEADER, NAMES AUD ",\"exp\":1790000060,\"exp\":1790000061}", "claims");
    refused(HEADER, NAMES AUD ",\"exp\":1790000060,\"x\":\"\xff\"}", "claims");
    refused(HEADER, NAMES AUD ",\"exp\":1790000060,\"x\":\"\\u0000\"}", "claims");
    refused(HEADER, deep, "claims");
}

/* ---- claims -------------------------------------------------------------------------------- */

TEST(assertion_of_or_about_somebody_else_is_refused)
{
    refused(HEADER, "{\"iss\":\"d\",\"sub\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "iss");
    refused(HEADER, "{\"iss\":\"c\",\"sub\":\"d\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "sub");
    refused(HEADER, "{\"sub\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "iss");
    refused(HEADER, "{\"iss\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "sub");
    refused(
        HEADER, "{\"iss\":[\"c\"],\"sub\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "iss");
    refused(HEADER, "{\"iss\":\"C\",\"sub\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "iss");
    refused(
        HEADER, "{\"iss\":\"c \",\"sub\":\"c\",\"jti\":\"j\"" AUD ",\"exp\":1790000060}", "iss");
}

TEST(assertion_for_another_audience_is_refused)
{
    static const char *const others[] = {"\"https://sims.example/\"",
        "\"https://sims.example/token2\"", "\"https://SIMS.example\"", "\"http://sims.example\"",
        "[]", "[\"https://other.example\"]", "[\"https://sims.example\",1]",
        "[\"https://sims.example\",\"https://other.example\"]",
        "[\"https://other.example\",\"https://sims.example/token\"]",
        "{\"a\":\"https://sims.example\"}", "1", "null", "\"\""};
    char claims[512];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(claims, sizeof claims, NAMES ",\"aud\":%s,\"exp\":1790000060}", others[i]);
        refused(HEADER, claims, "aud");
    }
    refused(HEADER, NAMES ",\"exp\":1790000060}", "aud");
}

TEST(assertion_times_have_edges)
{
    accepted(HEADER, NAMES AUD ",\"exp\":1789999970}"); /* 30 s of skew */
    refused(HEADER, NAMES AUD ",\"exp\":1789999969}", "expired");
    accepted(HEADER, NAMES AUD ",\"exp\":1790000630}"); /* 600 s ahead, and the skew */
    refused(HEADER, NAMES AUD ",\"exp\":1790000631}", "10 minutes");
    accepted(HEADER, NAMES AUD ",\"exp\":1790000060,\"iat\":1790000030}");
    refused(HEADER, NAMES AUD ",\"exp\":1790000060,\"iat\":1790000031}", "ahead");
    accepted(HEADER, NAMES AUD ",\"exp\":1790000060,\"nbf\":1790000030}");
    refused(HEADER, NAMES AUD ",\"exp\":1790000060,\"nbf\":1790000031}", "ahead");
}

TEST(assertion_times_are_whole_seconds)
{
    static const char *const times[] = {"1790000060.0", "\"1790000060\"", "-1", "null", "[]",
        "9007199254740992", "9223372036854775808", "1e9", "true"};
    char claims[512];
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        snprintf(claims, sizeof claims, NAMES AUD ",\"exp\":%s}", times[i]);
        refused(HEADER, claims, strcmp(times[i], "9223372036854775808") == 0 ? "claims" : "exp");
        snprintf(claims, sizeof claims, NAMES AUD ",\"exp\":1790000060,\"iat\":%s}", times[i]);
        refused(HEADER, claims, strcmp(times[i], "9223372036854775808") == 0 ? "claims" : "iat");
    }
    refused(HEADER, NAMES AUD "}", "exp");
}

TEST(assertion_without_a_jti_of_1_to_255_bytes_is_refused)
{
    char claims[1024];
    refused(HEADER, "{\"iss\":\"c\",\"sub\":\"c\"" AUD ",\"exp\":1790000060}", "jti");
    refused(HEADER, "{\"iss\":\"c\",\"sub\":\"c\",\"jti\":\"\"" AUD ",\"exp\":1790000060}", "jti");
    refused(HEADER, "{\"iss\":\"c\",\"sub\":\"c\",\"jti\":7" AUD ",\"exp\":1790000060}", "jti");
    snprintf(claims, sizeof claims,
        "{\"iss\":\"c\",\"sub\":\"c\",\"jti\":\"%0256d\"" AUD ",\"exp\":1790000060}", 0);
    refused(HEADER, claims, "jti");
}
