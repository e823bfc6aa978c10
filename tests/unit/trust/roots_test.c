/* SPDX-License-Identifier: Apache-2.0 */
/* Roots of key sets: the chain of their statements, their fingerprints, and what a text says it is
 * before anything is verified. */
#include "keyset_support.h"

/* ---- roots ----------------------------------------------------------------------------------- */

static char *statement(const trust_signer *from, const trust_signer *to, uint64_t sequence)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(to);
    rpc_status status;
    char *jws = NULL;
    if (trust_root_sign(from, "https://skms.example", sequence, jwks, NOW, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

static trust_verdict follow(
    const char *text, const trust_signer *from, uint64_t sequence, char **ret, rpc_status *status)
{
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of_signer(from);
    return trust_root_follow(
        rpc_bytes_str(text), ring, "https://skms.example", sequence, ret, status);
}

TEST(root_chain_is_followed_and_the_last_root_signs)
{
    trust_signer *roots[4];
    rpc_status status;
    for (size_t i = 0; i < COUNT(roots); i++)
        roots[i] = fresh_root();
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of_signer(roots[0]);
    for (size_t i = 1; i < COUNT(roots); i++) {
        RPC_AUTOFREE char *jws = statement(roots[i - 1], roots[i], i);
        RPC_AUTOFREE char *jwk = NULL;
        if (trust_root_follow(rpc_bytes_str(jws), ring, "https://skms.example", i, &jwk, &status) !=
            TRUST_VALID)
            fail_msg("%zu: %s", i, status.message);
        trust_keyring_unref(ring);
        ring = ring_of(jwk, TRUST_FOR_KEY_SETS);
    }
    trust_keyset set = make_set(), read = {0};
    for (size_t i = 0; i < COUNT(roots); i++) {
        RPC_AUTOFREE char *jws = NULL;
        assert_int_equal(trust_keyset_sign(roots[i], &set, &jws, &status), RPC_OK);
        assert_int_equal(trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &read, &status),
            i == 3 ? TRUST_VALID : TRUST_NO_KEY);
        trust_keyset_done(&read);
        trust_signer_free(roots[i]);
    }
}

TEST(root_statement_out_of_its_place_is_refused)
{
    RPC_CLEANUP(signer_freep) trust_signer *first = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *second = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *third = fresh_root();
    RPC_AUTOFREE char *one = statement(first, second, 1), *two = statement(second, third, 2);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of_signer(first);
    char *jwk = NULL;
    rpc_status status = {0};
    /* Skipped: the statement is of a root that is not known yet, or its number is not the next. */
    assert_int_equal(follow(two, first, 1, &jwk, &status), TRUST_NO_KEY);
    assert_int_equal(follow(two, second, 1, &jwk, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "number 2, expected was 1"));
    assert_int_equal(follow(one, first, 2, &jwk, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "number 1, expected was 2"));
    /* The wrong old root. */
    assert_int_equal(follow(one, third, 1, &jwk, &status), TRUST_NO_KEY);
    /* Of another issuer. */
    assert_int_equal(
        trust_root_follow(rpc_bytes_str(one), ring, "https://other.example", 1, &jwk, &status),
        TRUST_INVALID);
    assert_non_null(strstr(status.message, "another issuer"));
    assert_null(jwk);
}

TEST(root_statement_by_a_root_that_was_not_in_use_is_refused)
{
    static const char *const roots[] = {"{" ROOT_JWK ",\"exp\":1789999999}",
        "{" ROOT_JWK ",\"nbf\":1790000001}", "{" ROOT_JWK ",\"dacm_state\":\"compromised\"}"};
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *next = fresh_root();
    RPC_AUTOFREE char *jws = statement(root, next, 1);
    char *jwk = NULL;
    rpc_status status;
    for (size_t i = 0; i < COUNT(roots); i++) {
        RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of(roots[i], TRUST_FOR_KEY_SETS);
        assert_int_equal(
            trust_root_follow(rpc_bytes_str(jws), ring, "https://skms.example", 1, &jwk, &status),
            TRUST_INVALID);
    }
    assert_null(jwk);
}

TEST(root_statement_that_forks_verifies_alike_so_that_its_root_shows_the_fork)
{
    RPC_CLEANUP(signer_freep) trust_signer *first = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *second = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *fork = fresh_root();
    RPC_AUTOFREE char *good = statement(first, second, 1), *bad = statement(first, fork, 1);
    RPC_AUTOFREE char *jwk = NULL, *other = NULL;
    rpc_status status;
    assert_int_equal(follow(good, first, 1, &jwk, &status), TRUST_VALID);
    assert_int_equal(follow(bad, first, 1, &other, &status), TRUST_VALID);
    assert_string_not_equal(jwk, other);
    /* Behind the first the second is nothing: it is not signed by the root that counts now. */
    char *third = NULL;
    assert_int_equal(follow(bad, second, 2, &third, &status), TRUST_NO_KEY);
    assert_null(third);
}

TEST(root_statement_with_any_character_changed_or_cut_is_never_valid)
{
    RPC_CLEANUP(signer_freep) trust_signer *first = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *second = fresh_root();
    RPC_AUTOFREE char *jws = statement(first, second, 1);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of_signer(first);
    char *jwk = NULL;
    rpc_status status;
    for (size_t i = 0; i < strlen(jws); i++) {
        char was = jws[i];
        jws[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(
            trust_root_follow(rpc_bytes_str(jws), ring, "https://skms.example", 1, &jwk, &status),
            TRUST_VALID);
        jws[i] = was;
        assert_int_equal(
            trust_root_follow(rpc_bytes_of(jws, i), ring, "https://skms.example", 1, &jwk, &status),
            TRUST_INVALID);
    }
    assert_null(jwk);
}

static void bad_statement(const char *payload, const char *why)
{
    RPC_AUTOFREE char *jws = sign_payload(TRUST_ROOT_TYP, payload);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = root_ring();
    char *jwk = NULL;
    rpc_status status = {0};
    if (trust_root_follow(rpc_bytes_str(jws), ring, "https://skms.example", 1, &jwk, &status) !=
        TRUST_INVALID)
        fail_msg("taken: %s", payload);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s' for %s", why, status.message, payload);
    assert_null(jwk);
}

#define HEAD  "{\"iss\":\"https://skms.example\",\"sequence\":1,\"iat\":1790000000,\"root\":"
#define OTHER "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"o\",\"x\":\"" OTHER_X "\""

TEST(root_statement_claims_are_judged)
{
    static const struct {
        const char *payload, *why;
    } bad[] = {
        {"{\"sequence\":1,\"iat\":1,\"root\":{" OTHER "}}", "`iss`"},
        {"{\"iss\":\"https://skms.example\",\"iat\":1,\"root\":{" OTHER "}}", "`sequence`"},
        {"{\"iss\":\"https://skms.example\",\"sequence\":0,\"iat\":1,\"root\":{" OTHER "}}",
            "`sequence`"},
        {"{\"iss\":\"https://skms.example\",\"sequence\":\"1\",\"iat\":1,\"root\":{" OTHER "}}",
            "`sequence`"},
        {"{\"iss\":\"https://skms.example\",\"sequence\":1,\"root\":{" OTHER "}}", "`iat`"},
        {"{\"iss\":\"https://skms.example\",\"sequence\":1,\"iat\":1}", "one public Ed25519"},
        {HEAD "\"x\"}", "one public Ed25519"},
        {HEAD "[]}", "one public Ed25519"},
        {HEAD "{\"keys\":[{" OTHER "},{" ROOT_JWK "}]}}", "one public Ed25519"},
        {HEAD "{" OTHER ",\"keys\":[{" OTHER "},{" ROOT_JWK "}]}}", "one public Ed25519"},
        {HEAD "{" OTHER ",\"keys\":[{" OTHER ",\"keys\":[]}]}}", "one public Ed25519"},
        {HEAD "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"o\"}}", "one public Ed25519"},
        {HEAD "{" OTHER ",\"d\":\"" D "\"}}", "private half"},
        {HEAD "{" OTHER ",\"dacm_purpose\":\"manifest\"}}", "one key has one purpose"},
        {HEAD "{" OTHER ",\"dacm_state\":\"retired\"}}", "not active"},
        {HEAD "{" ROOT_JWK "}}", "is the old one"},
        {"[]", "`iss`"},
        {"{", "not JSON"},
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        bad_statement(bad[i].payload, bad[i].why);
    RPC_AUTOFREE char *jws = sign_payload(TRUST_KEYSET_TYP, HEAD "{" OTHER "}}");
    RPC_CLEANUP(ring_freep) trust_keyring *ring = root_ring();
    char *jwk = NULL;
    rpc_status status;
    assert_int_equal(
        trust_root_follow(rpc_bytes_str(jws), ring, "https://skms.example", 1, &jwk, &status),
        TRUST_INVALID);
    assert_non_null(strstr(status.message, "`typ`"));
}

TEST(root_statement_that_follow_would_not_take_is_not_signed)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    static const struct {
        const char *issuer;
        uint64_t sequence;
        const char *jwk;
        int64_t issued_at;
    } bad[] = {
        {"", 1, "{" OTHER "}", NOW},
        {"a b", 1, "{" OTHER "}", NOW},
        {"https://skms.example", 0, "{" OTHER "}", NOW},
        {"https://skms.example", 1ull << 53, "{" OTHER "}", NOW},
        {"https://skms.example", 1, "{" OTHER "}", -1},
        {"https://skms.example", 1, "{" ROOT_JWK "}", NOW},
        {"https://skms.example", 1, "{" OTHER ",\"d\":\"" D "\"}", NOW},
        {"https://skms.example", 1, "{\"keys\":[]}", NOW},
        {"https://skms.example", 1, "", NOW},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *jws = NULL;
        rpc_status status = {0};
        if (trust_root_sign(root, bad[i].issuer, bad[i].sequence, bad[i].jwk, bad[i].issued_at,
                &jws, &status) != RPC_INVALID_ARGUMENT)
            fail_msg("signed: number %zu", i);
        assert_null(jws);
    }
}

/* ---- before anything is verified ------------------------------------------------------------- */

TEST(peek_tells_what_a_text_says_it_is)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1] = "untouched";
    uint64_t sequence = 9;
    trust_keyset set = make_set();
    RPC_AUTOFREE char *jws = sign_set(&set);
    RPC_CLEANUP(signer_freep) trust_signer *first = fresh_root();
    RPC_CLEANUP(signer_freep) trust_signer *second = fresh_root();
    RPC_AUTOFREE char *root = statement(first, second, 3);
    RPC_AUTOFREE char *manifest = sign_payload(TRUST_MANIFEST_TYP, "{\"iss\":\"a\"}");
    RPC_AUTOFREE char *nameless = sign_payload(TRUST_KEYSET_TYP, "{\"iss\":\"a b\"}");
    assert_null(trust_keyset_peek(rpc_bytes_str(manifest), issuer, &sequence));
    assert_null(trust_keyset_peek(rpc_bytes_str(nameless), issuer, &sequence));
    assert_null(trust_keyset_peek(rpc_bytes_str("a.b.c"), issuer, &sequence));
    assert_null(trust_keyset_peek(rpc_bytes_str(""), issuer, &sequence));
    assert_string_equal(issuer, "untouched");
    assert_int_equal(sequence, 9);
    assert_string_equal(trust_keyset_peek(rpc_bytes_str(jws), issuer, &sequence), TRUST_KEYSET_TYP);
    assert_string_equal(issuer, "https://skms.example");
    assert_int_equal(sequence, 0);
    assert_string_equal(trust_keyset_peek(rpc_bytes_str(root), issuer, &sequence), TRUST_ROOT_TYP);
    assert_int_equal(sequence, 3);
}

TEST(fingerprint_is_the_thumbprint_of_rfc_7638)
{
    /* RFC 8037 appendix A.3. */
    static const char expected[] = "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    rpc_status status;
    assert_int_equal(trust_root_read(rpc_bytes_str("{" ROOT_JWK ",\"dacm_issuer\":\"x\"}"),
                         fingerprint, NULL, &status),
        RPC_OK);
    assert_string_equal(fingerprint, expected);
    assert_int_equal(
        trust_root_read(rpc_bytes_str(KEYS("{" ROOT_JWK "}")), fingerprint, NULL, &status), RPC_OK);
    assert_string_equal(fingerprint, expected);
    static const char *const bad[] = {"", "{}", KEYS(""), "{" ROOT_JWK ",\"d\":\"" D "\"}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(trust_root_read(rpc_bytes_str(bad[i]), fingerprint, NULL, &status),
            RPC_INVALID_ARGUMENT);
}

TEST(fingerprint_is_compared_whole_in_either_alphabet)
{
    static const char of[] = "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    static const char *const same[] = {of, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "SHA256:kPrK/qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k="};
    static const char *const others[] = {"", "SHA256:", "SHA256",
        "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4",
        "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4kk",
        "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k==",
        "SHA256:KPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "MD5:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"};
    for (size_t i = 0; i < COUNT(same); i++)
        assert_true(trust_fingerprint_equal(of, same[i]));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(trust_fingerprint_equal(of, others[i]));
}
