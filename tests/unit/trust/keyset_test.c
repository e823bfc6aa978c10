/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets and roots: what is signed comes back, and nothing else is taken for one. */
#include "test.h"
#include "trust.h"

#include "cleanup.h"

#define NOW      1790000000
#define X        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" /* RFC 8037 appendix A */
#define D        "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define ROOT_JWK "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"root\",\"x\":\"" X "\""
#define OTHER_X  "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw" /* RFC 8032 7.1, test 2 */
#define THIRD_X  "_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU" /* RFC 8032 7.1, test 3 */
#define KEY(kid, x, purpose, state)                                                                \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" kid "\",\"x\":\"" x                          \
    "\",\"dacm_purpose\":\"" purpose "\",\"dacm_state\":\"" state                                  \
    "\",\"nbf\":1789990000,\"exp\":1790990000}"
#define MANIFEST_KEY KEY("m1", OTHER_X, "manifest", "active")
#define KEYS(keys)   "{\"keys\":[" keys "]}"
#define COUNT(array) (sizeof(array) / sizeof *(array))

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)
RPC_DEFINE_FREEP(signer_freep, trust_signer *, trust_signer_free)

static trust_signer *signer_for(trust_purpose purpose)
{
    trust_signer *signer;
    rpc_status status;
    if (trust_signer_parse(
            rpc_bytes_str("{" ROOT_JWK ",\"d\":\"" D "\"}"), purpose, &signer, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return signer;
}

static trust_keyring *ring_of(const char *jwks, trust_purpose purpose)
{
    trust_keyring *ring;
    rpc_status status;
    if (trust_keyring_parse(rpc_bytes_str(jwks), purpose, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

static trust_keyring *root_ring(void)
{
    return ring_of("{" ROOT_JWK "}", TRUST_FOR_KEY_SETS);
}

static trust_keyring *ring_of_signer(const trust_signer *signer)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(signer);
    return ring_of(jwks, trust_signer_purpose(signer));
}

static trust_signer *fresh_root(void)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_KEY_SETS, &signer, &status), RPC_OK);
    return signer;
}

static trust_keyset make_set(void)
{
    static char jwks[] = KEYS(MANIFEST_KEY);
    return (trust_keyset){.issuer = "https://skms.example",
        .service = "https://dacm.example/",
        .purpose = TRUST_FOR_MANIFESTS,
        .version = 7,
        .issued_at = NOW,
        .expires_at = NOW + 3600,
        .jwks = jwks};
}

static char *sign_set(const trust_keyset *set)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    rpc_status status;
    char *jws = NULL;
    if (trust_keyset_sign(root, set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

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

static char *sign_payload(const char *typ, const char *payload)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    rpc_status status;
    char *jws = NULL;
    assert_int_equal(trust_jws_sign(root, typ, rpc_bytes_str(payload), &jws, &status), RPC_OK);
    return jws;
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
