/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "trust.h"

static const char *const at_jwt[] = {"at+jwt", NULL};

static trust_keyring *ring_of(const char *jwks)
{
    trust_keyring *ring;
    rpc_status status;
    if (trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
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

#define X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" /* RFC 8037 appendix A */
#define D "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

TEST(signature_is_that_of_rfc_8037)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(
        trust_signer_parse(rpc_bytes_str("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                         "\"kid\":\"k\",\"d\":\"" D "\",\"x\":\"" X "\"}"),
            TRUST_FOR_TOKENS, &signer, &status),
        RPC_OK);
    /* A.4 signs "Example of Ed25519 signing" under {"alg":"EdDSA"}. */
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    char hex[129];
    assert_int_equal(trust_signer_sign(signer,
                         rpc_bytes_str("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"),
                         signature, &size, &status),
        RPC_OK);
    assert_int_equal(size, 64);
    rpc_hex(rpc_bytes_of(signature, 64), hex);
    assert_string_equal(hex, "860c98d2297f3060a33f42739672d61b53cf3adefed3d3c672f320dc021b411e"
                             "9d59b8628dc351e248b88b29468e0e41855b0fb7d83bb15be902bfccb8cd0a02");
    trust_signer_free(signer);
}

TEST(jws_that_we_sign_verifies_and_every_changed_byte_does_not)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(signer), *jws;
    trust_keyring *ring = ring_of(jwks);
    assert_int_equal(trust_keyring_count(ring), 1);
    assert_int_equal(
        trust_jws_sign(signer, "at+jwt", rpc_bytes_str("{\"a\":1}"), &jws, &status), RPC_OK);
    trust_jws verified;
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), 4096, ring, at_jwt, &verified, &status), TRUST_VALID);
    assert_int_equal(verified.payload_size, 7);
    assert_memory_equal(verified.payload, "{\"a\":1}", 7);
    free(verified.payload);
    for (size_t i = 0; i < strlen(jws); i++) {
        char was = jws[i];
        jws[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(
            trust_jws_verify(rpc_bytes_str(jws), 4096, ring, at_jwt, &verified, &status),
            TRUST_VALID);
        jws[i] = was;
        assert_int_not_equal(
            trust_jws_verify(rpc_bytes_of(jws, i), 4096, ring, at_jwt, &verified, &status),
            TRUST_VALID);
    }
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), strlen(jws) - 1, ring, at_jwt, &verified, &status),
        TRUST_INVALID);
    const char *const other[] = {"dacm-manifest+jwt", NULL};
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), 4096, ring, other, &verified, &status), TRUST_INVALID);
    free(jws);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(signer);
}

/* Of a signature the bytes count that it stands for, so each of its letters must have one form. */
TEST(letters_of_a_signature_have_one_form)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(signer), *jws = NULL, payload[32];
    trust_keyring *ring = ring_of(jwks);
    trust_jws verified;
    for (unsigned i = 0; !jws || !strchr(strrchr(jws, '.'), '-') || !strchr(strrchr(jws, '.'), '_');
         i++) {
        free(jws);
        snprintf(payload, sizeof payload, "{\"a\":%u}", i);
        assert_int_equal(
            trust_jws_sign(signer, "at+jwt", rpc_bytes_str(payload), &jws, &status), RPC_OK);
    }
    const size_t size = strlen(jws);
    for (size_t i = (size_t)(strrchr(jws, '.') - jws); i < size; i++) {
        const char was = jws[i];
        for (unsigned value = 0; value < 256; value++) {
            jws[i] = (char)value;
            if (jws[i] != was)
                assert_int_not_equal(trust_jws_verify(rpc_bytes_of(jws, size), 4096, ring, at_jwt,
                                         &verified, &status),
                    TRUST_VALID);
        }
        jws[i] = was;
    }
    free(jws);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(signer);
}

TEST(jws_under_an_unknown_kid_is_no_key_and_not_invalid)
{
    trust_signer *a, *b;
    rpc_status status;
    char *jws;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &a, &status), RPC_OK);
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &b, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(a);
    trust_keyring *ring = ring_of(jwks);
    assert_int_equal(trust_jws_sign(b, "at+jwt", rpc_bytes_str("{}"), &jws, &status), RPC_OK);
    trust_jws verified;
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), 4096, ring, at_jwt, &verified, &status), TRUST_NO_KEY);
    free(jws);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(a);
    trust_signer_free(b);
}

TEST(jws_of_a_compromised_or_pre_published_key_is_invalid)
{
    const char *states[] = {"compromised", "pre-published"};
    for (size_t i = 0; i < 2; i++) {
        trust_signer *signer;
        rpc_status status;
        assert_int_equal(
            trust_signer_parse(rpc_bytes_str("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                             "\"kid\":\"k\",\"d\":\"" D "\",\"x\":\"" X "\"}"),
                TRUST_FOR_TOKENS, &signer, &status),
            RPC_OK);
        char jwks[300], *jws;
        snprintf(jwks, sizeof jwks,
            "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"" X
            "\",\"dacm_state\":\"%s\"}]}",
            states[i]);
        trust_keyring *ring = ring_of(jwks);
        assert_false(trust_key_signs_at(trust_keyring_at(ring, 0), 1000));
        assert_int_equal(
            trust_jws_sign(signer, "at+jwt", rpc_bytes_str("{}"), &jws, &status), RPC_OK);
        trust_jws verified;
        assert_int_equal(
            trust_jws_verify(rpc_bytes_str(jws), 4096, ring, at_jwt, &verified, &status),
            TRUST_INVALID);
        free(jws);
        trust_keyring_unref(ring);
        trust_signer_free(signer);
    }
}

#define KEY(more) "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X "\"" more "}"

TEST(key_set_that_contradicts_itself_is_refused)
{
    set_refused("{\"keys\":[" KEY(",\"kid\":\"k\"") "," KEY(",\"kid\":\"k\"") "]}", "twice");
    set_refused(KEY(""), "kid");
    set_refused(KEY(",\"kid\":\"\""), "kid");
    set_refused(KEY(",\"kid\":\"a b\""), "kid");
    set_refused(KEY(",\"kid\":7"), "kid");
    set_refused(KEY(",\"kid\":\"k\",\"use\":\"enc\""), "use");
    set_refused(KEY(",\"kid\":\"k\",\"key_ops\":[\"sign\"]"), "key_ops");
    set_refused(KEY(",\"kid\":\"k\",\"alg\":\"ES256\""), "alg");
    set_refused(KEY(",\"kid\":\"k\",\"dacm_purpose\":\"manifest\""), "is not \"token\"");
    set_refused(KEY(",\"kid\":\"4okTtbED49_Y2ITBWZVuLmc_KXBXI3E422ExF5crAQs\",\"use\":\"enc\""),
        "4okTtbED49_Y2ITBWZVuLmc_KXBXI3E422ExF5crAQs");
    set_refused(KEY(",\"kid\":\"k\",\"dacm_state\":\"new\""), "dacm_state");
    set_refused(KEY(",\"kid\":\"k\",\"nbf\":1.5"), "nbf");
    set_refused(KEY(",\"kid\":\"k\",\"d\":\"" D "\""), "private");
    set_refused(KEY(",\"kid\":\"k\",\"oth\":[]"), "private");
    set_refused("{\"kty\":\"RSA\",\"alg\":\"RS256\",\"kid\":\"k\",\"n\":\"AAAA\",\"p\":\"AAAA\"}",
        "private");
    set_refused("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"AAAA\"}", "32 bytes");
    set_refused("{\"kty\":\"RSA\",\"kid\":\"k\",\"n\":\"AAAA\",\"e\":\"AQAB\"}", "RS256 or PS256");
    set_refused(
        "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"kid\":\"k\",\"n\":\"AAAA\",\"e\":\"AQAB\"}", "2,048");
    set_refused("{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":\"" X "\",\"y\":\"" X "\"}",
        "P-256");
}

TEST(key_set_that_is_no_json_object_is_refused)
{
    set_refused("", "JSON");
    set_refused("[]", "key set");
    set_refused("{\"keys\":{}}", "key set");
    set_refused("{\"keys\":[],\"keys\":[]}", "JSON");
    set_refused("{} {}", "JSON");
    char deep[3000] = "{\"keys\":";
    memset(deep + 8, '[', 2900);
    set_refused(deep, "deeper");
}

TEST(key_set_leaves_out_keys_of_other_kinds)
{
    trust_keyring *ring = ring_of(
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"s\"},"
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"x\"}," KEY(",\"kid\":\"k\"") "]}");
    assert_int_equal(trust_keyring_count(ring), 1);
    assert_string_equal(trust_key_kid(trust_keyring_at(ring, 0)), "k");
    assert_null(trust_keyring_find(ring, rpc_bytes_str("s")));
    trust_keyring_unref(ring);
}

TEST(signer_reads_back_what_it_wrote_and_refuses_halves_that_differ)
{
    trust_signer *signer, *again;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &signer, &status), RPC_OK);
    char *text = trust_signer_private_jwks(signer);
    assert_int_equal(
        trust_signer_parse(rpc_bytes_str(text), TRUST_FOR_MANIFESTS, &again, &status), RPC_OK);
    assert_string_equal(trust_signer_kid(signer), trust_signer_kid(again));
    uint8_t a[TRUST_SIGNATURE_MAX], b[TRUST_SIGNATURE_MAX];
    size_t a_size = 0, b_size = 0;
    assert_int_equal(trust_signer_sign(signer, rpc_bytes_str("m"), a, &a_size, &status), RPC_OK);
    assert_int_equal(trust_signer_sign(again, rpc_bytes_str("m"), b, &b_size, &status), RPC_OK);
    assert_int_equal(a_size, 64);
    assert_int_equal(b_size, 64);
    assert_memory_equal(a, b, 64);
    trust_signer_free(again);
    assert_int_equal(trust_signer_parse(rpc_bytes_str(text), TRUST_FOR_TOKENS, &again, &status),
        RPC_INVALID_ARGUMENT);
    assert_int_equal(
        trust_signer_parse(rpc_bytes_str("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                         "\"kid\":\"k\",\"d\":\"" X "\",\"x\":\"" X "\"}"),
            TRUST_FOR_TOKENS, &again, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "does not belong"));
    char *public = trust_signer_public_jwks(signer);
    assert_null(strstr(public, "\"d\""));
    free(public);
    free(text);
    trust_signer_free(signer);
}

static void signer_refused(const char *jwk, const char *word)
{
    trust_signer *signer = NULL;
    rpc_status status;
    assert_int_equal(trust_signer_parse(rpc_bytes_str(jwk), TRUST_FOR_TOKENS, &signer, &status),
        RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("'%s' not in '%s'", word, status.message);
    assert_null(signer);
}

TEST(signer_takes_active_ed25519_keys_only)
{
    const char *halves = "\"kid\":\"k\",\"x\":\"" X "\",\"d\":\"" D "\"";
    const char *states[] = {"pre-published", "verify-only", "retired", "compromised"};
    char jwk[400];
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        snprintf(jwk, sizeof jwk, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"dacm_state\":\"%s\",%s}",
            states[i], halves);
        signer_refused(jwk, "not active");
    }
    snprintf(jwk, sizeof jwk, "{\"kty\":\"EC\",\"crv\":\"P-256\",%s}", halves);
    signer_refused(jwk, "no private Ed25519 key");
    snprintf(jwk, sizeof jwk, "{\"kty\":\"OKP\",\"crv\":\"X25519\",%s}", halves);
    signer_refused(jwk, "no private Ed25519 key");
    snprintf(jwk, sizeof jwk, "{%s}", halves);
    signer_refused(jwk, "no private Ed25519 key");
}

TEST(errors_do_not_repeat_keys_or_tokens)
{
    trust_signer *signer = NULL;
    trust_jws verified;
    rpc_status status;
    assert_int_equal(trust_signer_parse(rpc_bytes_str("{\"d\": nWGxne_9WmC6hEr0}"),
                         TRUST_FOR_TOKENS, &signer, &status),
        RPC_INVALID_ARGUMENT);
    assert_null(strstr(status.message, "nWGx"));
    assert_int_equal(trust_signer_parse(rpc_bytes_str("{\"d\": \"nWGxne_9\\x"), TRUST_FOR_TOKENS,
                         &signer, &status),
        RPC_INVALID_ARGUMENT);
    assert_null(strstr(status.message, "nWGx"));
    trust_keyring *ring = ring_of(KEY(",\"kid\":\"k\""));
    /* {"alg":msisdn4915} */
    assert_int_equal(trust_jws_verify(rpc_bytes_str("eyJhbGciOm1zaXNkbjQ5MTV9.e30.AAAA"), 4096,
                         ring, at_jwt, &verified, &status),
        TRUST_INVALID);
    assert_int_equal(status.code, RPC_UNAUTHENTICATED);
    assert_null(strstr(status.message, "msisdn"));
    trust_keyring_unref(ring);
}
