/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys that sign: RS256 beside EdDSA, and the sets of an issuer. */
#include "test.h"
#include "trust_internal.h"

#include <openssl/rsa.h>

#define NOW 1790000000
#define X   "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" /* RFC 8037 appendix A */
#define D   "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"

static trust_signer *rsa_signer(void)
{
    trust_signer *signer = NULL;
    rpc_status status;
    if (trust_signer_generate_rsa(2048, &signer, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return signer;
}

static trust_keyring *ring_of(const char *jwks, trust_purpose purpose)
{
    trust_keyring *ring = NULL;
    rpc_status status;
    if (trust_keyring_parse(rpc_bytes_str(jwks), purpose, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

/* ---- RS256 --------------------------------------------------------------------------------- */

TEST(rs256_signer_signs_what_its_public_key_verifies_and_every_changed_byte_does_not)
{
    static const char *const typs[] = {"at+jwt", NULL};
    trust_signer *signer = rsa_signer();
    char *jwks = trust_signer_public_jwks(signer), *jws;
    trust_keyring *ring = ring_of(jwks, TRUST_FOR_TOKENS);
    trust_jws read;
    rpc_status status;
    assert_int_equal(trust_signer_alg(signer), TRUST_ALG_RS256);
    assert_int_equal(trust_key_alg(trust_keyring_at(ring, 0)), TRUST_ALG_RS256);
    assert_int_equal(
        trust_jws_sign(signer, "at+jwt", rpc_bytes_str("{\"a\":1}"), &jws, &status), RPC_OK);
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), 4096, ring, typs, &read, &status), TRUST_VALID);
    assert_memory_equal(read.payload, "{\"a\":1}", 7);
    free(read.payload);
    for (char *c = jws; *c; c++) {
        *c ^= 1;
        assert_int_not_equal(
            trust_jws_verify(rpc_bytes_str(jws), 4096, ring, typs, &read, &status), TRUST_VALID);
        *c ^= 1;
    }
    free(jws);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(signer);
}

TEST(rs256_signer_reads_back_what_it_wrote_and_publishes_no_private_member)
{
    static const char *const members[] = {"\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\""};
    trust_signer *signer = rsa_signer(), *again = NULL;
    char *private = trust_signer_private_jwks(signer), *public = trust_signer_public_jwks(signer);
    uint8_t a[TRUST_SIGNATURE_MAX], b[TRUST_SIGNATURE_MAX];
    size_t a_size = 0, b_size = 0;
    rpc_status status;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        assert_non_null(strstr(private, members[i]));
        assert_null(strstr(public, members[i]));
    }
    if (trust_signer_parse(rpc_bytes_str(private), TRUST_FOR_TOKENS, &again, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_string_equal(trust_signer_kid(signer), trust_signer_kid(again));
    assert_int_equal(strlen(trust_signer_kid(again)), 43);
    assert_int_equal(trust_signer_sign(signer, rpc_bytes_str("m"), a, &a_size, &status), RPC_OK);
    assert_int_equal(trust_signer_sign(again, rpc_bytes_str("m"), b, &b_size, &status), RPC_OK);
    assert_int_equal(a_size, 256);
    assert_int_equal(b_size, 256);
    assert_memory_equal(a, b, 256); /* PKCS#1 v1.5 draws nothing */
    trust_keyring *ring = ring_of(public, TRUST_FOR_TOKENS);
    assert_true(trust_signer_in(again, ring));
    trust_keyring_unref(ring);
    free(private);
    free(public);
    trust_signer_free(signer);
    trust_signer_free(again);
}

static void parse_refused(const char *jwk, trust_purpose purpose, const char *word)
{
    trust_signer *signer = NULL;
    rpc_status status;
    assert_int_equal(
        trust_signer_parse(rpc_bytes_str(jwk), purpose, &signer, &status), RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("'%s' not in '%s'", word, status.message);
    assert_null(signer);
}

/* The JWK with one member's value replaced; value NULL: the member is gone. */
static char *with(const char *jwk, const char *member, const char *value)
{
    json_t *json = json_loads(jwk, 0, NULL);
    assert_non_null(json);
    json_t *key = json_array_get(json_object_get(json, "keys"), 0);
    if (value)
        json_object_set_new(key, member, json_string(value));
    else
        json_object_del(key, member);
    char *text = json_dumps(json, 0);
    json_decref(json);
    assert_non_null(text);
    return text;
}

static void changed_is_refused(
    const char *jwk, const char *member, const char *value, const char *word)
{
    char *changed = with(jwk, member, value);
    parse_refused(changed, TRUST_FOR_TOKENS, word);
    free(changed);
}

TEST(rs256_key_with_a_member_that_is_missing_or_another_keys_is_refused)
{
    static const char *const numbers[] = {"n", "e", "d", "p", "q", "dp", "dq", "qi"};
    trust_signer *signer = rsa_signer(), *other = rsa_signer();
    char *jwk = trust_signer_private_jwks(signer), *foreign = trust_signer_private_jwks(other);
    json_t *theirs = json_loads(foreign, 0, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const char *value = json_string_value(
            json_object_get(json_array_get(json_object_get(theirs, "keys"), 0), numbers[i]));
        changed_is_refused(jwk, numbers[i], NULL, "needs n, e, d");
        changed_is_refused(jwk, numbers[i], "", "needs n, e, d");
        changed_is_refused(jwk, numbers[i], "A A", "needs n, e, d");
        if (strcmp(numbers[i], "e") != 0)
            changed_is_refused(jwk, numbers[i], value, "do not make one RSA key");
    }
    changed_is_refused(jwk, "e", "AQ", "exponent");
    changed_is_refused(jwk, "e", "AQAA", "exponent");
    changed_is_refused(jwk, "e", "AQAAAAAAAAAAAQ", "exponent");
    changed_is_refused(jwk, "alg", NULL, "RS256");
    changed_is_refused(jwk, "alg", "PS256", "RS256");
    changed_is_refused(jwk, "alg", "none", "RS256");
    changed_is_refused(jwk, "use", "enc", "use");
    changed_is_refused(jwk, "dacm_state", "retired", "is active");
    json_decref(theirs);
    free(jwk);
    free(foreign);
    trust_signer_free(signer);
    trust_signer_free(other);
}

TEST(rsa_keys_sign_nothing_but_tokens)
{
    trust_signer *signer = rsa_signer();
    char *text = trust_signer_private_jwks(signer), *jwk = with(text, "dacm_purpose", NULL);
    parse_refused(jwk, TRUST_FOR_MANIFESTS, "only tokens");
    parse_refused(jwk, TRUST_FOR_AUDIT, "only tokens");
    parse_refused(jwk, TRUST_FOR_KEY_SETS, "only tokens");
    parse_refused(text, TRUST_FOR_MANIFESTS, "dacm_purpose");
    free(jwk);
    free(text);
    trust_signer_free(signer);
}

TEST(rsa_keys_below_2048_or_above_4096_bits_are_neither_made_nor_taken)
{
    static const int sizes[] = {0, -1, 1024, 2047, 2049, 4097, 8192};
    trust_signer *signer = NULL;
    rpc_status status;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(
            trust_signer_generate_rsa(sizes[i], &signer, &status), RPC_INVALID_ARGUMENT);
    assert_null(signer);
    /* A key of 1,024 bits in the form that ours are written in. */
    trust_signer small = {.purpose = TRUST_FOR_TOKENS,
        .key = {.kid = "k", .alg = TRUST_ALG_RS256},
        .pair = EVP_RSA_gen(1024)};
    assert_non_null(small.pair);
    char *jwk = trust_signer_private_jwks(&small);
    parse_refused(jwk, TRUST_FOR_TOKENS, "2,048");
    free(jwk);
    EVP_PKEY_free(small.pair);
}

/* ---- sets ---------------------------------------------------------------------------------- */

#define KEY(kid, more) "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" kid "\"" more "}"
#define FIRST(more)    KEY("first", ",\"d\":\"" D "\",\"x\":\"" X "\"" more)

/* A second key, with its halves, under another kid. */
static char *set_of_two(const char *first_more, const char *second_more)
{
    trust_signer *signer;
    rpc_status status;
    char *text = malloc(4096);
    assert_non_null(text);
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status), RPC_OK);
    memcpy(signer->key.kid, "second", sizeof "second");
    char *second = trust__signer_jwk(signer, true);
    second[strlen(second) - 1] = '\0';
    snprintf(text, 4096,
        "{\"keys\":[" KEY("first", ",\"d\":\"" D "\",\"x\":\"" X "\"%s") ",%s%s}]}", first_more,
        second, second_more);
    free(second);
    trust_signer_free(signer);
    return text;
}

static trust_signers *read_set(const char *text)
{
    trust_signers *signers = NULL;
    rpc_status status;
    if (trust_signers_parse(rpc_bytes_str(text), TRUST_FOR_TOKENS, &signers, &status) != RPC_OK)
        fail_msg("%s: %s", text, status.message);
    return signers;
}

/* who signs at NOW, which kids are published */
static void set_has(
    const char *first_more, const char *second_more, const char *who, bool first, bool second)
{
    char *text = set_of_two(first_more, second_more);
    trust_signers *signers = read_set(text);
    assert_int_equal(trust_signers_count(signers), 2);
    const trust_signer *active = trust_signers_find(signers, TRUST_ALG_EDDSA, NOW);
    assert_string_equal(active ? trust_signer_kid(active) : "", who);
    assert_null(trust_signers_find(signers, TRUST_ALG_RS256, NOW));
    char *public = trust_signers_public_jwks(signers);
    assert_null(strstr(public, "\"d\""));
    assert_null(strstr(public, "dacm_state"));
    trust_keyring *ring = ring_of(public, TRUST_FOR_TOKENS);
    assert_true((trust_keyring_find(ring, rpc_bytes_str("first")) != NULL) == first);
    assert_true((trust_keyring_find(ring, rpc_bytes_str("second")) != NULL) == second);
    trust_keyring_unref(ring);
    free(public);
    trust_signers_free(signers);
    free(text);
}

#define STATE(name) ",\"dacm_state\":\"" name "\""

TEST(the_active_key_signs_and_pre_published_ones_are_published_before)
{
    set_has("", "", "first", true, true);
    set_has(STATE("active"), STATE("pre-published"), "first", true, true);
    set_has(STATE("pre-published"), STATE("active"), "second", true, true);
    set_has(STATE("verify-only"), "", "second", true, true);
    set_has(STATE("retired"), "", "second", false, true);
    set_has(STATE("compromised"), "", "second", false, true);
    set_has(STATE("pre-published"), STATE("verify-only"), "", true, true);
    set_has(STATE("compromised"), STATE("retired"), "", false, false);
}

TEST(a_key_signs_from_its_nbf_on_and_is_published_before)
{
    set_has("", ",\"nbf\":1790000001", "first", true, true);
    set_has("", ",\"nbf\":1790000000", "second", true, true);
    set_has(",\"nbf\":1789999999", ",\"nbf\":1789999998", "first", true, true);
    set_has(",\"exp\":1790000000", "", "first", true, true);
    set_has(",\"exp\":1789999999", "", "second", true, true);
    set_has(",\"exp\":1789999999", ",\"nbf\":1790000001", "", true, true);
}

/* The set with other states of its two keys. */
static char *in_states(const char *set, const char *first, const char *second)
{
    json_t *json = json_loads(set, 0, NULL), *keys = json_object_get(json, "keys");
    assert_int_equal(json_array_size(keys), 2);
    json_object_set_new(json_array_get(keys, 0), "dacm_state", json_string(first));
    json_object_set_new(json_array_get(keys, 1), "dacm_state", json_string(second));
    char *text = json_dumps(json, 0);
    json_decref(json);
    assert_non_null(text);
    return text;
}

TEST(a_key_waits_for_its_turn_where_its_issuer_says_one)
{
    set_has(",\"nbf\":1", ",\"nbf\":2,\"dacm_signs_from\":1790000001", "first", true, true);
    set_has(",\"nbf\":1", ",\"nbf\":2,\"dacm_signs_from\":1790000000", "second", true, true);
    set_has(",\"nbf\":3,\"dacm_signs_from\":5", ",\"nbf\":4", "first", true, true);
}

TEST(a_verifier_takes_the_first_signature_of_a_key_that_was_pre_published)
{
    static const char *const typs[] = {"at+jwt", NULL};
    char *text = set_of_two("", STATE("pre-published")), *jws;
    char *later = in_states(text, "verify-only", "active");
    trust_signers *before = read_set(text), *after = read_set(later);
    char *known = trust_signers_public_jwks(before);
    trust_keyring *ring = ring_of(known, TRUST_FOR_TOKENS);
    const trust_signer *signer = trust_signers_find(after, TRUST_ALG_EDDSA, NOW);
    trust_jws read;
    rpc_status status;
    assert_string_equal(trust_signer_kid(signer), "second");
    assert_int_equal(trust_jws_sign(signer, "at+jwt", rpc_bytes_str("{}"), &jws, &status), RPC_OK);
    assert_int_equal(
        trust_jws_verify(rpc_bytes_str(jws), 4096, ring, typs, &read, &status), TRUST_VALID);
    free(read.payload);
    free(jws);
    free(known);
    trust_keyring_unref(ring);
    trust_signers_free(before);
    trust_signers_free(after);
    free(later);
    free(text);
}

TEST(the_signer_of_each_algorithm_is_its_own)
{
    trust_signer *rsa = rsa_signer();
    char *jwk = trust__signer_jwk(rsa, true), *text = malloc(8192);
    snprintf(text, 8192, "{\"keys\":[%s," FIRST("") "]}", jwk);
    trust_signers *signers = read_set(text);
    assert_string_equal(
        trust_signer_kid(trust_signers_find(signers, TRUST_ALG_EDDSA, NOW)), "first");
    assert_string_equal(
        trust_signer_kid(trust_signers_find(signers, TRUST_ALG_RS256, NOW)), trust_signer_kid(rsa));
    assert_null(trust_signers_find(signers, TRUST_ALG_ES256, NOW));
    trust_signers_free(signers);
    trust__wipe_free(jwk);
    trust__wipe_free(text);
    trust_signer_free(rsa);
}

static void set_refused(const char *text, trust_purpose purpose, const char *word)
{
    trust_signers *signers = NULL;
    rpc_status status;
    assert_int_equal(
        trust_signers_parse(rpc_bytes_str(text), purpose, &signers, &status), RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("'%s' not in '%s'", word, status.message);
    if (strstr(status.message, D))
        fail_msg("a private key in '%s'", status.message);
    assert_null(signers);
}

TEST(a_set_of_private_keys_that_is_wrong_is_refused)
{
    set_refused("", TRUST_FOR_TOKENS, "not JSON");
    set_refused("[]", TRUST_FOR_TOKENS, "key set");
    set_refused("{\"keys\":{}}", TRUST_FOR_TOKENS, "key set");
    set_refused("{\"keys\":[]}", TRUST_FOR_TOKENS, "no key");
    set_refused("{\"keys\":[null]}", TRUST_FOR_TOKENS, "kid");
    set_refused("{\"keys\":[" FIRST("") "," FIRST("") "]}", TRUST_FOR_TOKENS, "twice");
    set_refused("{\"keys\":[" FIRST("") "," KEY("other", ",\"d\":\"" D "\",\"x\":\"" X "\"") "]}",
        TRUST_FOR_TOKENS, "one key under two names");
    set_refused(
        "{\"keys\":[" KEY("k", ",\"x\":\"" X "\"") "]}", TRUST_FOR_TOKENS, "no private Ed25519");
    set_refused("{\"keys\":[" FIRST(",\"dacm_purpose\":\"manifest\"") "]}", TRUST_FOR_TOKENS,
        "dacm_purpose");
    set_refused("{\"keys\":[" FIRST(STATE("sleeping")) "]}", TRUST_FOR_TOKENS, "dacm_state");
}

/* ---- sets that others publish -------------------------------------------------------------- */

#define PUBLIC(kid, more) KEY(kid, ",\"x\":\"" X "\"" more)

static trust_keyring *published(const char *text)
{
    trust_keyring *ring = NULL;
    rpc_status status;
    if (trust_keyring_parse_published(
            rpc_bytes_str(text), TRUST_FOR_TOKENS, TRUST_ALG_PS256, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

TEST(of_a_published_set_only_the_keys_for_us_are_taken)
{
    trust_keyring *ring = published(
        "{\"keys\":["
        "{\"kty\":\"oct\",\"kid\":\"a\"},"
        "{\"kty\":\"RSA\",\"kid\":\"b\",\"alg\":\"RSA-OAEP\",\"use\":"
        "\"enc\",\"n\":\"AQAB\",\"e\":\"AQAB\"}," PUBLIC("c", ",\"use\":\"enc\"") "," PUBLIC(
            "d", ",\"key_ops\":[\"encrypt\"]") "," PUBLIC("e",
            ",\"x5c\":[\"MII\"],\"x5t\":\"x\"") ","
                                                "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X
                                                "\"},"
                                                "{\"kty\":\"RSA\",\"kid\":\"f\",\"alg\":\"RS256\","
                                                "\"n\":"
                                                "\"AQAB\",\"e\":\"AQAB\"}]}");
    assert_int_equal(trust_keyring_count(ring), 1);
    assert_non_null(trust_keyring_find(ring, rpc_bytes_str("e")));
    trust_keyring_unref(ring);
}

TEST(a_published_rsa_key_without_alg_counts_as_the_configured_one)
{
    trust_signer *signer = rsa_signer();
    char *jwks = trust_signer_public_jwks(signer), *bare = with(jwks, "alg", NULL);
    trust_keyring *ring = published(bare);
    assert_int_equal(trust_key_alg(trust_keyring_at(ring, 0)), TRUST_ALG_PS256);
    trust_keyring_unref(ring);
    ring = published(jwks);
    assert_int_equal(trust_key_alg(trust_keyring_at(ring, 0)), TRUST_ALG_RS256);
    trust_keyring_unref(ring);
    free(bare);
    free(jwks);
    trust_signer_free(signer);
}

TEST(a_published_set_with_a_private_member_a_kid_twice_or_nothing_for_us_is_refused)
{
    static const struct {
        const char *text, *word;
    } sets[] = {
        {"{\"keys\":[" FIRST("") "]}", "private half"},
        {"{\"keys\":[" PUBLIC("a", "") "," FIRST(",\"use\":\"enc\"") "]}", "private half"},
        {"{\"keys\":[" PUBLIC("a", "") "," PUBLIC("a", "") "]}", "twice"},
        {"{\"keys\":[]}", "no key for us"},
        {"{\"keys\":[" PUBLIC("a", ",\"use\":\"enc\"") "]}", "no key for us"},
        {"{\"keys\":[" PUBLIC("a", ",\"dacm_purpose\":\"client\"") "]}",
            "`dacm_purpose`, \"token\""},
        {"{}", "no key for us"},
        {"[]", "key set"},
        {"<html>", "not JSON"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        trust_keyring *ring = NULL;
        rpc_status status;
        assert_int_equal(trust_keyring_parse_published(rpc_bytes_str(sets[i].text),
                             TRUST_FOR_TOKENS, TRUST_ALG_RS256, 1, &ring, &status),
            RPC_INVALID_ARGUMENT);
        if (!strstr(status.message, sets[i].word))
            fail_msg("'%s' not in '%s'", sets[i].word, status.message);
        assert_null(ring);
    }
}

/* ---- from a seed --------------------------------------------------------------------------- */

TEST(key_kept_as_its_seed_is_the_same_key_again)
{
    trust_signer *made = NULL, *again = NULL;
    rpc_status status;
    uint8_t one[TRUST_SIGNATURE_MAX], other[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &made, &status), RPC_OK);
    assert_int_equal(
        trust_signer_from_seed(trust_signer_seed(made), TRUST_FOR_MANIFESTS, &again, &status),
        RPC_OK);
    assert_string_equal(trust_signer_kid(made), trust_signer_kid(again));
    assert_memory_equal(trust_signer_ed25519(made), trust_signer_ed25519(again), 32);
    assert_int_equal(
        trust_signer_sign(made, rpc_bytes_str("message"), one, &size, &status), RPC_OK);
    assert_int_equal(
        trust_signer_sign(again, rpc_bytes_str("message"), other, &size, &status), RPC_OK);
    assert_memory_equal(one, other, size);
    trust_signer_free(made);
    trust_signer_free(again);
}

/* What memory that nobody filled makes; anybody can sign with it. */
TEST(seed_of_zeros_makes_no_key_however_it_comes)
{
    static const char jwk[] =
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"dacm_purpose\":\"manifest\","
        "\"x\":\"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik\","
        "\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    static const char brought[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                  "\"x\":\"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik\","
                                  "\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    static const char published[] =
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"dacm_purpose\":\"manifest\","
        "\"x\":\"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik\"}";
    static const uint8_t zero[32] = {0};
    trust_signer *signer = NULL;
    rpc_status status;
    trust_keyring *ring = ring_of(published, TRUST_FOR_MANIFESTS);
    const rpc_code codes[] = {trust_signer_from_seed(zero, TRUST_FOR_MANIFESTS, &signer, &status),
        trust_signer_of_key(trust_keyring_at(ring, 0), zero, TRUST_FOR_MANIFESTS, &signer, &status),
        trust_signer_parse(rpc_bytes_str(jwk), TRUST_FOR_MANIFESTS, &signer, &status),
        trust_signer_import(rpc_bytes_str(brought), TRUST_FOR_MANIFESTS, &signer, &status)};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(codes[i], RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "zeros"));
    assert_null(signer);
    trust_keyring_unref(ring);
}

/* ---- keys whose private halves come from elsewhere, or stay there ------------------------------
 */

typedef struct elsewhere {
    const trust_signer *key;
    unsigned asked;
    rpc_code code;
    bool lies;
} elsewhere;

static rpc_code sign_elsewhere(
    void *ctx, const char *kid, rpc_bytes message, uint8_t ret_signature[64], rpc_status *reterr)
{
    elsewhere *e = ctx;
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    e->asked++;
    assert_string_equal(kid, "published");
    if (e->code != RPC_OK)
        return rpc_status_set(reterr, e->code, "away");
    assert_int_equal(trust_signer_sign(e->key, message, signature, &size, reterr), RPC_OK);
    memcpy(ret_signature, signature, 64);
    ret_signature[5] ^= e->lies;
    return RPC_OK;
}

/* The public half as somebody publishes it, under a kid of their own. */
static trust_keyring *published_half(const trust_signer *signer)
{
    char text[512], *jwks = trust_signer_public_jwks(signer);
    trust_keyring *ring = NULL;
    snprintf(text, sizeof text,
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"published\",\"x\":\"%.43s\","
        "\"nbf\":100,\"exp\":200}",
        strstr(jwks, "\"x\": \"") + 6);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(text), TRUST_FOR_MANIFESTS, 1, &ring, NULL), RPC_OK);
    free(jwks);
    return ring;
}

TEST(private_half_of_a_published_key_has_its_kid_and_window)
{
    trust_signer *key = NULL, *other = NULL, *made = NULL;
    trust_signers *set = NULL;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &key, NULL), RPC_OK);
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &other, NULL), RPC_OK);
    trust_keyring *ring = published_half(key);
    const trust_key *public_key = trust_keyring_at(ring, 0);
    assert_int_equal(trust_signer_of_key(
                         public_key, trust_signer_seed(other), TRUST_FOR_MANIFESTS, &made, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "published"));
    assert_int_equal(
        trust_signer_of_key(public_key, trust_signer_seed(key), TRUST_FOR_MANIFESTS, &made, NULL),
        RPC_OK);
    assert_string_equal(trust_signer_kid(made), "published");
    assert_false(trust_signer_is_remote(made));
    assert_true(trust_key_in(public_key, ring));
    assert_true(trust_signer_in(made, ring));
    assert_false(trust_signer_in(other, ring));
    trust_signer *twice[] = {made, made};
    assert_int_equal(trust_signers_of(twice, 2, &set, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(trust_signers_of(twice, 1, &set, NULL), RPC_OK);
    assert_null(trust_signers_find(set, TRUST_ALG_EDDSA, 99));
    assert_ptr_equal(trust_signers_find(set, TRUST_ALG_EDDSA, 100), made);
    assert_null(trust_signers_find(set, TRUST_ALG_EDDSA, 201));
    trust_signers_free(set);
    assert_int_equal(trust_signers_of(NULL, 0, &set, NULL), RPC_OK);
    assert_int_equal(trust_signers_count(set), 0);
    trust_signers_free(set);
    trust_keyring_unref(ring);
    trust_signer_free(key);
    trust_signer_free(other);
}

TEST(signature_from_elsewhere_is_taken_only_when_the_key_verifies_it)
{
    trust_signer *key = NULL, *remote = NULL;
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &key, NULL), RPC_OK);
    trust_keyring *ring = published_half(key);
    elsewhere e = {.key = key};
    assert_int_equal(trust_signer_remote(trust_keyring_at(ring, 0), TRUST_FOR_MANIFESTS,
                         sign_elsewhere, &e, &remote, NULL),
        RPC_OK);
    assert_true(trust_signer_is_remote(remote));
    assert_int_equal(
        trust_signer_sign(remote, rpc_bytes_str("text"), signature, &size, NULL), RPC_OK);
    assert_int_equal(size, 64);
    e.lies = true;
    assert_int_equal(
        trust_signer_sign(remote, rpc_bytes_str("text"), signature, &size, &status), RPC_INTERNAL);
    assert_non_null(strstr(status.message, "published"));
    e.code = RPC_UNAVAILABLE;
    assert_int_equal(trust_signer_sign(remote, rpc_bytes_str("text"), signature, &size, &status),
        RPC_UNAVAILABLE);
    assert_int_equal(e.asked, 3);
    trust_signer_free(remote);
    trust_keyring_unref(ring);
    trust_signer_free(key);
}
