/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets: what is signed comes back, and nothing else is taken for one. */
#include "keyset_support.h"

static trust_verdict verify_at(const char *jws, int64_t now, trust_keyset *ret, rpc_status *status)
{
    RPC_CLEANUP(ring_freep) trust_keyring *ring = root_ring();
    return trust_keyset_verify(rpc_bytes_str(jws), ring, now, ret, status);
}

/* ---- payloads by hand ------------------------------------------------------------------------ */

static const struct {
    const char *name, *good;
} claims[] = {
    {"iss", "\"https://skms.example\""},
    {"service", "\"https://dacm.example/\""},
    {"purpose", "\"manifests\""},
    {"version", "7"},
    {"iat", "1790000000"},
    {"exp", "1790003600"},
    {"keys", "[" MANIFEST_KEY "]"},
};

/* All claims, with that of that name replaced, or left out where value is NULL. */
static void write_payload(char *text, size_t room, const char *name, const char *value)
{
    size_t at = (size_t)snprintf(text, room, "{");
    for (size_t i = 0; i < COUNT(claims); i++) {
        bool other = strcmp(claims[i].name, name) == 0;
        const char *json = other ? value : claims[i].good;
        if (json)
            at += (size_t)snprintf(
                text + at, room - at, "%s\"%s\":%s", at > 1 ? "," : "", claims[i].name, json);
        assert_true(at < room);
    }
    snprintf(text + at, room - at, "}");
}

static void invalid(const char *typ, const char *payload, const char *why)
{
    RPC_AUTOFREE char *jws = sign_payload(typ, payload);
    trust_keyset set, before;
    rpc_status status = {0};
    memset(&set, 0x5a, sizeof set);
    memcpy(&before, &set, sizeof before);
    if (verify_at(jws, NOW, &set, &status) != TRUST_INVALID)
        fail_msg("taken: %s", payload);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s' for %s", why, status.message, payload);
    assert_memory_equal(&set, &before, sizeof set);
}

static void replaced_is_invalid(const char *name, const char *value, const char *why)
{
    char payload[16384], claim[64];
    write_payload(payload, sizeof payload, name, value);
    snprintf(claim, sizeof claim, "`%s`", name);
    invalid(TRUST_KEYSET_TYP, payload, why ? why : claim);
}

static void replaced_is_valid(const char *name, const char *value)
{
    char payload[16384];
    write_payload(payload, sizeof payload, name, value);
    RPC_AUTOFREE char *jws = sign_payload(TRUST_KEYSET_TYP, payload);
    trust_keyset set = {0};
    rpc_status status;
    if (verify_at(jws, NOW, &set, &status) != TRUST_VALID)
        fail_msg("%s: %s", payload, status.message);
    trust_keyset_done(&set);
}

/* A JSON string of size times c. */
static const char *long_string(char c, size_t size)
{
    static char text[1024];
    assert_true(size + 3 <= sizeof text);
    memset(text, c, size + 2);
    text[0] = text[size + 1] = '"';
    text[size + 2] = '\0';
    return text;
}

/* ---- signing and reading --------------------------------------------------------------------- */

TEST(keyset_comes_back_as_it_was_signed_and_makes_a_keyring_with_its_states)
{
    trust_keyset set = make_set(), read = {0};
    static char jwks[] = KEYS(MANIFEST_KEY "," KEY("m0", THIRD_X, "manifest", "compromised"));
    set.jwks = jwks;
    RPC_AUTOFREE char *jws = sign_set(&set);
    rpc_status status;
    if (verify_at(jws, NOW, &read, &status) != TRUST_VALID)
        fail_msg("%s", status.message);
    assert_string_equal(read.issuer, set.issuer);
    assert_string_equal(read.service, set.service);
    assert_int_equal(read.purpose, set.purpose);
    assert_int_equal(read.version, set.version);
    assert_int_equal(read.issued_at, set.issued_at);
    assert_int_equal(read.expires_at, set.expires_at);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of(read.jwks, TRUST_FOR_MANIFESTS);
    trust_keyset_done(&read);
    assert_null(read.jwks);
    assert_int_equal(trust_keyring_count(ring), 2);
    const trust_key *gone = trust_keyring_find(ring, rpc_bytes_str("m0"));
    assert_non_null(gone);
    assert_int_equal(trust_key_get_state(gone), TRUST_KEY_COMPROMISED);
    assert_false(trust_key_signs_at(gone, NOW));
    assert_true(trust_key_signs_at(trust_keyring_find(ring, rpc_bytes_str("m1")), NOW));
}

TEST(keyset_without_a_key_and_one_with_64_come_back)
{
    trust_keyset set = make_set(), read = {0};
    rpc_status status;
    static char none[] = KEYS("");
    set.jwks = none;
    RPC_AUTOFREE char *empty = sign_set(&set);
    assert_int_equal(verify_at(empty, NOW, &read, &status), TRUST_VALID);
    assert_string_equal(read.jwks, "{\"keys\":[]}");
    trust_keyset_done(&read);

    RPC_AUTOFREE char *many = malloc(65 * 512);
    for (size_t count = TRUST_KEYS_MAX; count <= TRUST_KEYS_MAX + 1; count++) {
        size_t at = (size_t)snprintf(many, 512, "{\"keys\":[");
        for (size_t i = 0; i < count; i++) {
            RPC_CLEANUP(signer_freep) trust_signer *key = NULL;
            assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &key, &status), RPC_OK);
            RPC_AUTOFREE char *jwks = trust_signer_public_jwks(key);
            const char *x = strstr(jwks, "\"x\": \"") + 6;
            at += (size_t)snprintf(many + at, 512,
                "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%0126zu\\\"\\\"\",\"x\":\"%."
                "43s\","
                "\"use\":\"sig\",\"alg\":\"EdDSA\",\"dacm_purpose\":\"manifest\","
                "\"dacm_state\":\"pre-published\",\"nbf\":1789990000,\"exp\":1790990000}",
                i ? "," : "", i, x);
        }
        snprintf(many + at, 512, "]}");
        set.jwks = many;
        if (count <= TRUST_KEYS_MAX) {
            RPC_AUTOFREE char *jws = sign_set(&set);
            assert_int_equal(verify_at(jws, NOW, &read, &status), TRUST_VALID);
            trust_keyset_done(&read);
        } else {
            RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
            char *jws = NULL;
            assert_int_equal(trust_keyset_sign(root, &set, &jws, &status), RPC_RESOURCE_EXHAUSTED);
            assert_null(jws);
        }
    }
}

TEST(keyset_that_verify_would_not_take_is_not_signed)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    static char other_purpose[] = KEYS(KEY("t", OTHER_X, "token", "active"));
    static char of_root[] = KEYS(KEY("r", X, "manifest", "active"));
    static char one[] = MANIFEST_KEY, no_json[] = "{";
    trust_keyset bad[13];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = make_set();
    bad[0].issuer[0] = '\0';
    snprintf(bad[1].service, sizeof bad[1].service, "a b");
    bad[2].purpose = TRUST_FOR_KEY_SETS;
    bad[3].purpose = TRUST_FOR_AUDIT;
    bad[4].version = 0;
    bad[5].version = UINT64_MAX;
    bad[6].expires_at = NOW;
    bad[7].expires_at = NOW + TRUST_KEYSET_LIFE_S_MAX + 1;
    bad[8].issued_at = -1;
    bad[9].jwks = other_purpose;
    bad[10].jwks = of_root;
    bad[11].jwks = one;
    bad[12].jwks = no_json;
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *jws = NULL;
        rpc_status status = {0};
        if (trust_keyset_sign(root, &bad[i], &jws, &status) != RPC_INVALID_ARGUMENT)
            fail_msg("signed: number %zu", i);
        assert_null(jws);
        assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
        assert_true(strlen(status.message) > 0);
    }
}

TEST(keyset_with_any_character_changed_or_cut_is_never_valid)
{
    RPC_CLEANUP(ring_freep) trust_keyring *ring = root_ring();
    trust_keyset set = make_set(), read;
    rpc_status status;
    RPC_AUTOFREE char *jws = sign_set(&set);
    for (size_t i = 0; i < strlen(jws); i++) {
        char was = jws[i];
        jws[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(
            trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &read, &status), TRUST_VALID);
        jws[i] = was;
        assert_int_equal(
            trust_keyset_verify(rpc_bytes_of(jws, i), ring, NOW, &read, &status), TRUST_INVALID);
    }
}

TEST(keyset_above_64_kib_is_invalid_even_when_signed)
{
    char all[4096];
    const size_t room = TRUST_KEYSET_BYTES_MAX + sizeof all;
    RPC_AUTOFREE char *pad = malloc(TRUST_KEYSET_BYTES_MAX + 1), *payload = malloc(room);
    memset(pad, 'x', TRUST_KEYSET_BYTES_MAX);
    pad[TRUST_KEYSET_BYTES_MAX] = '\0';
    write_payload(all, sizeof all, "", "");
    snprintf(payload, room, "{\"pad\":\"%s\",%s", pad, all + 1);
    invalid(TRUST_KEYSET_TYP, payload, "limit");
}

/* ---- claims ---------------------------------------------------------------------------------- */

TEST(keyset_without_a_claim_is_invalid)
{
    for (size_t i = 0; i < COUNT(claims); i++)
        replaced_is_invalid(claims[i].name, NULL, NULL);
}

TEST(keyset_claim_of_another_type_is_invalid)
{
    static const char *const values[] = {
        "null", "true", "false", "{}", "1.5", "7.0", "[7]", "[[]]", "[\"https://skms.example\"]"};
    for (size_t i = 0; i < COUNT(claims); i++) {
        const bool keys = strcmp(claims[i].name, "keys") == 0;
        for (size_t j = 0; j < COUNT(values); j++)
            replaced_is_invalid(
                claims[i].name, values[j], keys && values[j][0] == '[' ? "key '?'" : NULL);
        replaced_is_invalid(claims[i].name, claims[i].good[0] == '"' ? "7" : "\"7\"", NULL);
    }
}

TEST(keyset_number_out_of_range_is_invalid)
{
    static const char *const names[] = {"version", "iat", "exp"};
    for (size_t i = 0; i < COUNT(names); i++) {
        replaced_is_invalid(names[i], "-1", NULL);
        replaced_is_invalid(names[i], "9007199254740992", NULL);
        replaced_is_invalid(names[i], "9223372036854775807", NULL);
    }
    replaced_is_invalid("version", "0", NULL);
    replaced_is_valid("version", "1");
    replaced_is_valid("version", "9007199254740991");
}

TEST(keyset_names_are_1_to_255_printable_characters)
{
    static const char *const names[] = {"iss", "service"};
    static const char *const bad[] = {"\"\"", "\"a b\"", "\"a\\n\"", "\"\xc3\xa9\"", "\"\\u007f\""};
    for (size_t i = 0; i < COUNT(names); i++) {
        for (size_t j = 0; j < COUNT(bad); j++)
            replaced_is_invalid(names[i], bad[j], NULL);
        replaced_is_invalid(names[i], long_string('a', 256), NULL);
        replaced_is_valid(names[i], long_string('a', 255));
    }
}

TEST(keyset_is_for_tokens_or_for_manifests)
{
    static const char *const bad[] = {
        "\"\"", "\"manifest\"", "\"keysets\"", "\"audit\"", "\"clients\"", "\"Manifests\""};
    for (size_t i = 0; i < COUNT(bad); i++)
        replaced_is_invalid("purpose", bad[i], NULL);
    replaced_is_invalid("purpose", "\"tokens\"", "one key has one purpose");
}

TEST(keyset_lives_more_than_nothing_and_at_most_an_hour)
{
    replaced_is_invalid("exp", "1790000000", NULL);
    replaced_is_invalid("exp", "1789999999", NULL);
    replaced_is_invalid("exp", "1790003601", NULL);
    replaced_is_valid("exp", "1790003600");
    replaced_is_valid("exp", "1790000001");
}

TEST(keyset_with_an_unknown_claim_is_valid)
{
    char all[4096], payload[8192];
    write_payload(all, sizeof all, "", "");
    snprintf(payload, sizeof payload, "{\"jti\":[1,{\"x\":null}],%s", all + 1);
    RPC_AUTOFREE char *jws = sign_payload(TRUST_KEYSET_TYP, payload);
    trust_keyset set = {0};
    rpc_status status;
    assert_int_equal(verify_at(jws, NOW, &set, &status), TRUST_VALID);
    trust_keyset_done(&set);
}

TEST(keyset_payload_that_is_no_object_or_has_a_claim_twice_is_invalid)
{
    char all[4096], payload[8192];
    write_payload(all, sizeof all, "", "");
    snprintf(payload, sizeof payload, "{\"version\":8,%s", all + 1);
    invalid(TRUST_KEYSET_TYP, payload, "twice");
    invalid(TRUST_KEYSET_TYP, "[]", "`iss`");
    invalid(TRUST_KEYSET_TYP, "7", "not JSON");
    invalid(TRUST_KEYSET_TYP, "", "not JSON");
}

/* ---- keys ------------------------------------------------------------------------------------ */

TEST(keyset_key_that_is_not_ours_is_invalid)
{
    static const struct {
        const char *keys, *why;
    } bad[] = {
        {KEY("t", OTHER_X, "token", "active"), "one key has one purpose"},
        {KEY("r", X, "manifest", "active"), "is the root"},
        {MANIFEST_KEY "," KEY("m1", THIRD_X, "manifest", "active"), "twice"},
        {KEY("old", OTHER_X, "manifest", "compromised") "," MANIFEST_KEY, "under two names"},
        {KEY("m", OTHER_X, "manifest", "fine"), "dacm_state"},
        {KEY("", OTHER_X, "manifest", "active"), "needs a kid"},
        {"{\"kid\":\"a\\u001bb\"}", "key '?' is not of Ed25519"},
        {KEY("m", "AA", "manifest", "active"), "32 bytes"},
        {KEY("m", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "manifest", "active"),
            "no public key"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
         "\",\"dacm_state\":\"active\",\"nbf\":1,\"exp\":2}",
            "no `dacm_purpose`"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
         "\",\"dacm_purpose\":\"manifest\",\"nbf\":1,\"exp\":2}",
            "no `dacm_state`"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
         "\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"exp\":2}",
            "needs `nbf`"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
         "\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"nbf\":1}",
            "needs `nbf`"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
         "\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"nbf\":2,\"exp\":2}",
            "needs `nbf`"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" X "\",\"d\":\"" D
         "\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"nbf\":1,\"exp\":2}",
            "private half"},
        {"{\"kty\":\"RSA\",\"kid\":\"m\",\"alg\":\"RS256\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
            "not of Ed25519"},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"m\",\"x\":\"" OTHER_X "\"}",
            "not of Ed25519"},
    };
    char value[2048];
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(value, sizeof value, "[%s]", bad[i].keys);
        replaced_is_invalid("keys", value, bad[i].why);
    }
}

TEST(keyset_members_that_we_do_not_know_are_not_handed_on)
{
    static const char key[] =
        "[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"m\",\"x\":\"" OTHER_X
        "\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"nbf\":1,"
        "\"exp\":2,\"y\":[[[[1]]]],\"x5c\":[\"AAAA\"]}]";
    char payload[4096];
    trust_keyset set = {0};
    rpc_status status;
    write_payload(payload, sizeof payload, "keys", key);
    RPC_AUTOFREE char *jws = sign_payload(TRUST_KEYSET_TYP, payload);
    assert_int_equal(verify_at(jws, NOW, &set, &status), TRUST_VALID);
    assert_string_equal(set.jwks,
        "{\"keys\":[{\"crv\":\"Ed25519\",\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\","
        "\"exp\":2,\"kid\":\"m\",\"kty\":\"OKP\",\"nbf\":1,\"x\":\"" OTHER_X "\"}]}");
    trust_keyset_done(&set);
}

/* ---- who signed, as what, when --------------------------------------------------------------- */

TEST(keyset_signed_with_a_key_of_another_purpose_is_refused_on_both_sides)
{
    static const trust_purpose others[] = {
        TRUST_FOR_TOKENS, TRUST_FOR_MANIFESTS, TRUST_FOR_AUDIT, TRUST_FOR_CLIENTS};
    trust_keyset set = make_set(), read;
    RPC_AUTOFREE char *good = sign_set(&set);
    for (size_t i = 0; i < COUNT(others); i++) {
        RPC_CLEANUP(signer_freep) trust_signer *signer = signer_for(others[i]);
        RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of("{" ROOT_JWK "}", others[i]);
        char *jws = NULL;
        rpc_status status = {0};
        assert_int_equal(trust_keyset_sign(signer, &set, &jws, &status), RPC_INVALID_ARGUMENT);
        assert_non_null(strstr(status.message, "one purpose"));
        assert_null(jws);
        assert_int_equal(
            trust_keyset_verify(rpc_bytes_str(good), ring, NOW, &read, &status), TRUST_INVALID);
        assert_non_null(strstr(status.message, "no roots"));
        assert_int_equal(trust_root_sign(signer, "https://skms.example", 1, "{" ROOT_JWK "}", NOW,
                             &jws, &status),
            RPC_INVALID_ARGUMENT);
        assert_null(jws);
    }
    rpc_status status = {0};
    assert_int_equal(
        trust_keyset_verify(rpc_bytes_str(good), NULL, NOW, &read, &status), TRUST_INVALID);
}

TEST(keyset_root_signs_no_manifest_and_no_token)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    trust_manifest manifest = {.issuer = "https://dacm.example/",
        .asset_id = "a",
        .media_type = "x/y",
        .chunking = "gear-64k",
        .version = 1,
        .issued_at = NOW,
        .expires_at = NOW + 60};
    char *jws = NULL;
    rpc_status status;
    assert_int_equal(trust_manifest_sign(root, &manifest, &jws, &status), RPC_INVALID_ARGUMENT);
    assert_null(jws);
}

TEST(keyset_under_another_typ_is_invalid)
{
    static const char *const typs[] = {
        TRUST_ROOT_TYP, TRUST_MANIFEST_TYP, "at+jwt", "JWT", "", "dacm-keyset+JWT"};
    char payload[4096];
    write_payload(payload, sizeof payload, "", "");
    for (size_t i = 0; i < COUNT(typs); i++)
        invalid(typs[i], payload, "`typ`");
}

TEST(keyset_of_an_unknown_root_is_no_key)
{
    RPC_CLEANUP(signer_freep) trust_signer *other = fresh_root();
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of_signer(other);
    trust_keyset set = make_set(), read;
    rpc_status status;
    RPC_AUTOFREE char *jws = sign_set(&set);
    assert_int_equal(
        trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &read, &status), TRUST_NO_KEY);
}

TEST(keyset_by_a_root_that_was_not_in_use_is_invalid)
{
    static const char *const roots[] = {"{" ROOT_JWK ",\"exp\":1789999999}",
        "{" ROOT_JWK ",\"nbf\":1790000001}", "{" ROOT_JWK ",\"dacm_state\":\"compromised\"}",
        "{" ROOT_JWK ",\"dacm_state\":\"pre-published\"}"};
    trust_keyset set = make_set(), read;
    rpc_status status;
    RPC_AUTOFREE char *jws = sign_set(&set);
    for (size_t i = 0; i < COUNT(roots); i++) {
        RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of(roots[i], TRUST_FOR_KEY_SETS);
        assert_int_equal(
            trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &read, &status), TRUST_INVALID);
    }
}

/* A ring may hold such a key: others' sets have them. */
TEST(keyset_by_a_root_that_is_no_ed25519_key_is_invalid)
{
    RPC_CLEANUP(signer_freep) trust_signer *rsa = NULL;
    char payload[4096];
    trust_keyset read;
    rpc_status status = {0};
    assert_int_equal(trust_signer_generate_rsa(2048, &rsa, &status), RPC_OK);
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(rsa);
    char *purpose = strstr(jwks, "dacm_purpose");
    assert_non_null(purpose);
    purpose[0] = 'x'; /* a member that says nothing */
    RPC_CLEANUP(ring_freep) trust_keyring *ring = ring_of(jwks, TRUST_FOR_KEY_SETS);
    write_payload(payload, sizeof payload, "", "");
    RPC_AUTOFREE char *jws = NULL;
    assert_int_equal(
        trust_jws_sign(rsa, TRUST_KEYSET_TYP, rpc_bytes_str(payload), &jws, &status), RPC_OK);
    assert_int_equal(
        trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &read, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "EdDSA only"));
}

TEST(keyset_that_has_expired_or_is_of_the_future_is_invalid)
{
    trust_keyset set = make_set(), read = {0};
    rpc_status status = {0};
    RPC_AUTOFREE char *jws = sign_set(&set);
    static const int64_t good[] = {NOW - TRUST_SKEW_S, NOW, NOW + 3600 + TRUST_SKEW_S};
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(verify_at(jws, good[i], &read, &status), TRUST_VALID);
        trust_keyset_done(&read);
    }
    assert_int_equal(verify_at(jws, NOW + 3600 + TRUST_SKEW_S + 1, &read, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "expired"));
    assert_int_equal(verify_at(jws, NOW - TRUST_SKEW_S - 1, &read, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "future"));
}
