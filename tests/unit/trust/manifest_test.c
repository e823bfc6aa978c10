/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: what is signed comes back, and nothing else is taken for one. */
#include "test.h"
#include "trust.h"

#define NOW          1790000000
#define X            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" /* RFC 8037 appendix A */
#define D            "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define JWK          "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"" X "\""
#define ONES         "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\""
#define TWOS         "\"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI\""
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct manifest_fixture {
    trust_signer *signer;
    trust_keyring *ring;
} manifest_fixture;

static trust_signer *signer_for(trust_purpose purpose)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(
        trust_signer_parse(rpc_bytes_str("{" JWK ",\"d\":\"" D "\"}"), purpose, &signer, &status),
        RPC_OK);
    return signer;
}

/* The one key in a set of that purpose, with more members. */
static trust_keyring *ring_for(trust_purpose purpose, const char *more)
{
    char jwks[512];
    trust_keyring *ring;
    rpc_status status;
    snprintf(jwks, sizeof jwks, "{\"keys\":[{" JWK "%s}]}", more);
    if (trust_keyring_parse(rpc_bytes_str(jwks), purpose, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

static manifest_fixture make_fixture(void)
{
    return (manifest_fixture){
        .signer = signer_for(TRUST_FOR_MANIFESTS), .ring = ring_for(TRUST_FOR_MANIFESTS, "")};
}

static void drop_fixture(manifest_fixture *fixture)
{
    trust_keyring_unref(fixture->ring);
    trust_signer_free(fixture->signer);
}

static trust_manifest make_manifest(void)
{
    trust_manifest manifest = {.issuer = "https://dacm.example/",
        .asset_id = "avatar-1",
        .media_type = "model/gltf-binary",
        .chunking = "gear-64k",
        .version = 3,
        .size = 70000,
        .issued_at = NOW,
        .expires_at = NOW + 3600};
    memset(manifest.sha256, 1, 32);
    memset(manifest.chunks_sha256, 2, 32);
    return manifest;
}

/* ---- payloads by hand ------------------------------------------------------------------------ */

static const struct {
    const char *name, *good;
} claims[] = {
    {"iss", "\"https://dacm.example/\""},
    {"asset_id", "\"avatar-1\""},
    {"version", "3"},
    {"media_type", "\"model/gltf-binary\""},
    {"size", "70000"},
    {"sha256", ONES},
    {"chunking", "\"gear-64k\""},
    {"chunks", TWOS},
    {"iat", "1790000000"},
    {"exp", "1790003600"},
    {"recipe", "\"{}\""},
    {"source_sha256", ONES},
};
#define REQUIRED 10 /* of them, from the first on */

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

static trust_verdict verify_payload(
    const char *typ, const char *payload, trust_manifest *ret, rpc_status *status)
{
    manifest_fixture fixture = make_fixture();
    char *jws;
    assert_int_equal(
        trust_jws_sign(fixture.signer, typ, rpc_bytes_str(payload), &jws, status), RPC_OK);
    trust_verdict verdict = trust_manifest_verify(rpc_bytes_str(jws), fixture.ring, ret, status);
    free(jws);
    drop_fixture(&fixture);
    return verdict;
}

static void invalid(const char *payload, const char *why)
{
    trust_manifest manifest, before;
    rpc_status status = {0};
    memset(&manifest, 0x5a, sizeof manifest);
    memcpy(&before, &manifest, sizeof before);
    if (verify_payload(TRUST_MANIFEST_TYP, payload, &manifest, &status) != TRUST_INVALID)
        fail_msg("taken: %s", payload);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s' for %s", why, status.message, payload);
    assert_memory_equal(&manifest, &before, sizeof manifest);
}

static trust_manifest valid(const char *payload)
{
    trust_manifest manifest;
    rpc_status status = {0};
    if (verify_payload(TRUST_MANIFEST_TYP, payload, &manifest, &status) != TRUST_VALID)
        fail_msg("%s: %s", payload, status.message);
    return manifest;
}

static void replaced_is_invalid(const char *name, const char *value)
{
    char payload[8192], why[64];
    write_payload(payload, sizeof payload, name, value);
    snprintf(why, sizeof why, "`%s`", name);
    invalid(payload, why);
}

static trust_manifest replaced_is_valid(const char *name, const char *value)
{
    char payload[8192];
    write_payload(payload, sizeof payload, name, value);
    return valid(payload);
}

/* A JSON string of size times c. */
static const char *long_string(char c, size_t size)
{
    static char text[4096];
    assert_true(size + 3 <= sizeof text);
    memset(text, c, size + 2);
    text[0] = text[size + 1] = '"';
    text[size + 2] = '\0';
    return text;
}

/* ---- signing and reading --------------------------------------------------------------------- */

static void same_manifest(const trust_manifest *a, const trust_manifest *b)
{
    assert_string_equal(a->issuer, b->issuer);
    assert_string_equal(a->asset_id, b->asset_id);
    assert_string_equal(a->media_type, b->media_type);
    assert_string_equal(a->chunking, b->chunking);
    assert_string_equal(a->recipe, b->recipe);
    assert_string_equal(a->figures, b->figures);
    assert_string_equal(a->licence, b->licence);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->sha256, b->sha256, 32);
    assert_memory_equal(a->chunks_sha256, b->chunks_sha256, 32);
    assert_int_equal(a->has_source, b->has_source);
    assert_memory_equal(a->source_sha256, b->source_sha256, 32);
    assert_int_equal(a->issued_at, b->issued_at);
    assert_int_equal(a->expires_at, b->expires_at);
}

static void comes_back(const trust_manifest *manifest)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest read;
    rpc_status status = {0};
    char *jws;
    if (trust_manifest_sign(fixture.signer, manifest, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_true(strlen(jws) <= TRUST_MANIFEST_BYTES_MAX);
    if (trust_manifest_verify(rpc_bytes_str(jws), fixture.ring, &read, &status) != TRUST_VALID)
        fail_msg("%s", status.message);
    same_manifest(&read, manifest);
    assert_string_equal(read.kid, "k");
    free(jws);
    drop_fixture(&fixture);
}

TEST(manifest_of_an_original_comes_back_as_it_was_signed)
{
    trust_manifest manifest = make_manifest();
    comes_back(&manifest);
    manifest.size = 0;
    comes_back(&manifest);
}

TEST(manifest_of_a_variant_comes_back_with_recipe_and_source)
{
    trust_manifest manifest = make_manifest();
    snprintf(manifest.recipe, sizeof manifest.recipe, "{\"quote\":\"\\\"\xc3\xa9\"}");
    manifest.has_source = true;
    memset(manifest.source_sha256, 3, 32);
    comes_back(&manifest);
    snprintf(manifest.figures, sizeof manifest.figures, "{\"triangles\":3}");
    snprintf(manifest.licence, sizeof manifest.licence, "{\"modification\":\"prohibited\"}");
    comes_back(&manifest);
}

TEST(manifest_with_every_member_at_its_limit_comes_back)
{
    trust_manifest manifest = make_manifest();
    memset(manifest.issuer, 'i', sizeof manifest.issuer - 1);
    memset(manifest.asset_id, 'a', sizeof manifest.asset_id - 1);
    memset(manifest.media_type, 'm', sizeof manifest.media_type - 1);
    memset(manifest.chunking, 'c', sizeof manifest.chunking - 1);
    memset(manifest.recipe, '"', sizeof manifest.recipe - 1);
    manifest.version = manifest.size = (1ull << 53) - 1;
    manifest.has_source = true;
    memset(manifest.source_sha256, 0xff, 32);
    manifest.expires_at = NOW + TRUST_MANIFEST_LIFE_S_MAX;
    comes_back(&manifest);
}

TEST(manifest_that_verify_would_not_take_is_not_signed)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest bad[16];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = make_manifest();
    bad[0].issuer[0] = '\0';
    bad[1].asset_id[0] = '\0';
    snprintf(bad[2].asset_id, sizeof bad[2].asset_id, "../x");
    bad[3].version = 0;
    bad[4].version = 1ull << 53;
    bad[5].media_type[0] = '\0';
    bad[6].size = UINT64_MAX;
    bad[7].chunking[0] = '\0';
    snprintf(bad[8].recipe, sizeof bad[8].recipe, "\xff");
    bad[9].issued_at = -1;
    bad[10].expires_at = NOW;
    bad[11].expires_at = NOW + TRUST_MANIFEST_LIFE_S_MAX + 1;
    /* Each control character takes six in JSON: together more than verify takes. */
    memset(bad[12].recipe, '\x01', sizeof bad[12].recipe - 1);
    snprintf(bad[13].figures, sizeof bad[13].figures, "[]");
    snprintf(bad[14].figures, sizeof bad[14].figures, "{\"a\":");
    snprintf(bad[15].licence, sizeof bad[15].licence, "{\"a\":1,\"a\":2}");
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *jws = NULL;
        rpc_status status = {0};
        if (trust_manifest_sign(fixture.signer, &bad[i], &jws, &status) != RPC_INVALID_ARGUMENT)
            fail_msg("signed: number %zu", i);
        assert_null(jws);
        assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
        assert_true(strlen(status.message) > 0);
    }
    drop_fixture(&fixture);
}

TEST(manifest_with_any_character_changed_or_cut_is_never_valid)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest manifest = make_manifest(), read;
    rpc_status status;
    char *jws;
    assert_int_equal(trust_manifest_sign(fixture.signer, &manifest, &jws, &status), RPC_OK);
    for (size_t i = 0; i < strlen(jws); i++) {
        char was = jws[i];
        jws[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(
            trust_manifest_verify(rpc_bytes_str(jws), fixture.ring, &read, &status), TRUST_VALID);
        jws[i] = was;
        assert_int_equal(trust_manifest_verify(rpc_bytes_of(jws, i), fixture.ring, &read, &status),
            TRUST_INVALID);
    }
    free(jws);
    drop_fixture(&fixture);
}

TEST(manifest_above_16_kib_is_invalid_even_when_signed)
{
    manifest_fixture fixture = make_fixture();
    char *pad = malloc(TRUST_MANIFEST_BYTES_MAX + 1), *jws = NULL;
    memset(pad, 'x', TRUST_MANIFEST_BYTES_MAX);
    pad[TRUST_MANIFEST_BYTES_MAX] = '\0';
    char all[1024];
    write_payload(all, sizeof all, "", "");
    size_t room = TRUST_MANIFEST_BYTES_MAX + 2048;
    char *payload = malloc(room);
    snprintf(payload, room, "{\"pad\":\"%s\",%s", pad, all + 1);
    trust_manifest read;
    rpc_status status = {0};
    assert_int_equal(
        trust_jws_sign(fixture.signer, TRUST_MANIFEST_TYP, rpc_bytes_str(payload), &jws, &status),
        RPC_OK);
    assert_int_equal(
        trust_manifest_verify(rpc_bytes_str(jws), fixture.ring, &read, &status), TRUST_INVALID);
    assert_non_null(strstr(status.message, "limit"));
    free(jws);
    free(pad);
    free(payload);
    drop_fixture(&fixture);
}

/* ---- claims ---------------------------------------------------------------------------------- */

TEST(manifest_without_a_required_claim_is_invalid)
{
    for (size_t i = 0; i < REQUIRED; i++)
        replaced_is_invalid(claims[i].name, NULL);
}

TEST(manifest_recipe_and_source_may_be_absent)
{
    assert_string_equal(replaced_is_valid("recipe", NULL).recipe, "");
    trust_manifest manifest = replaced_is_valid("source_sha256", NULL);
    assert_false(manifest.has_source);
    assert_string_equal(manifest.recipe, "{}");
    assert_true(replaced_is_valid("recipe", NULL).has_source);
}

TEST(manifest_figures_and_licence_are_objects_of_a_greatest_size)
{
    static const struct {
        const char *name;
        int most;
    } objects[] = {{"figures", 1023}, {"licence", 2047}};
    static const char *const bad[] = {"null", "true", "7", "[]", "\"{}\""};
    char payload[8192], text[2100];
    for (size_t i = 0; i < COUNT(objects); i++)
        for (size_t j = 0; j < COUNT(bad) + 2; j++) {
            /* {"a":"…"} of as many bytes, then of one more */
            snprintf(text, sizeof text, "{\"a\":\"%0*d\"}",
                objects[i].most - 8 + (int)(j - COUNT(bad)), 0);
            write_payload(payload, sizeof payload, "", NULL);
            const size_t at = strlen(payload) - 1;
            snprintf(payload + at, sizeof payload - at, ",\"%s\":%s}", objects[i].name,
                j < COUNT(bad) ? bad[j] : text);
            if (j == COUNT(bad))
                valid(payload);
            else
                invalid(payload, objects[i].name);
        }
}

TEST(manifest_claim_of_another_type_is_invalid)
{
    static const char *const values[] = {
        "null", "true", "false", "[]", "{}", "1.5", "3.0", "[3]", "[\"gear-64k\"]"};
    for (size_t i = 0; i < COUNT(claims); i++) {
        for (size_t j = 0; j < COUNT(values); j++)
            replaced_is_invalid(claims[i].name, values[j]);
        replaced_is_invalid(claims[i].name, claims[i].good[0] == '"' ? "7" : "\"7\"");
    }
}

TEST(manifest_number_out_of_range_is_invalid)
{
    static const char *const names[] = {"version", "size", "iat", "exp"};
    for (size_t i = 0; i < COUNT(names); i++) {
        replaced_is_invalid(names[i], "-1");
        replaced_is_invalid(names[i], "9007199254740992");
        replaced_is_invalid(names[i], "9223372036854775807");
    }
    replaced_is_invalid("version", "0");
    assert_int_equal(replaced_is_valid("version", "1").version, 1);
    assert_int_equal(replaced_is_valid("version", "9007199254740991").version, 9007199254740991);
    assert_int_equal(replaced_is_valid("size", "0").size, 0);
}

TEST(manifest_text_has_a_least_and_a_greatest_length)
{
    static const struct {
        const char *name;
        size_t most;
    } texts[] = {
        {"iss", 255}, {"asset_id", 128}, {"media_type", 127}, {"chunking", 31}, {"recipe", 2047}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        replaced_is_invalid(texts[i].name, "\"\"");
        replaced_is_invalid(texts[i].name, long_string('a', texts[i].most + 1));
        replaced_is_valid(texts[i].name, long_string('a', texts[i].most));
    }
}

TEST(manifest_asset_id_is_spelled_as_everywhere)
{
    static const char *const bad[] = {
        "\"a/b\"", "\"a b\"", "\"\xc3\xa9\"", "\"a\\n\"", "\"..\\/\""};
    for (size_t i = 0; i < COUNT(bad); i++)
        replaced_is_invalid("asset_id", bad[i]);
    replaced_is_valid("asset_id", "\"A9._~-\"");
}

TEST(manifest_digest_is_32_bytes_of_canonical_base64url)
{
    static const char *const bad[] = {"\"\"", "\"AQ\"",
        "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ\"",   /* 31 bytes */
        "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\"", /* 33 bytes */
        "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"", /* padding */
        "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF\"",  /* bits beyond the end */
        "\"+QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"",  /* base64, not base64url */
        "\"0101010101010101010101010101010101010101010101010101010101010101\""};
    static const char *const names[] = {"sha256", "chunks", "source_sha256"};
    for (size_t i = 0; i < COUNT(names); i++)
        for (size_t j = 0; j < COUNT(bad); j++)
            replaced_is_invalid(names[i], bad[j]);
}

TEST(manifest_lives_more_than_nothing_and_at_most_24_hours)
{
    replaced_is_invalid("exp", "1790000000");
    replaced_is_invalid("exp", "1789999999");
    replaced_is_invalid("exp", "1790086401");
    assert_int_equal(replaced_is_valid("exp", "1790086400").expires_at, NOW + 86400);
    assert_int_equal(replaced_is_valid("exp", "1790000001").expires_at, NOW + 1);
}

TEST(manifest_of_a_chunking_that_we_do_not_know_is_valid)
{
    assert_string_equal(replaced_is_valid("chunking", "\"moon-1m\"").chunking, "moon-1m");
}

TEST(manifest_claim_that_we_do_not_know_is_passed_over)
{
    char all[2048], payload[4096];
    write_payload(all, sizeof all, "", "");
    snprintf(payload, sizeof payload, "{\"later\":{\"a\":[1]},%s", all + 1);
    assert_int_equal(valid(payload).version, 3);
}

TEST(manifest_payload_is_one_json_object_without_a_member_twice)
{
    char all[2048], payload[4096];
    write_payload(all, sizeof all, "", "");
    snprintf(payload, sizeof payload, "{\"version\":3,%s", all + 1);
    invalid(payload, "twice");
    snprintf(payload, sizeof payload, "[%s]", all);
    invalid(payload, "manifest");
    invalid("\"text\"", "manifest");
    invalid("", "JSON");
    invalid("{", "JSON");
    snprintf(payload, sizeof payload, "%s{}", all);
    invalid(payload, "JSON");
    snprintf(payload, sizeof payload, "{\"d\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]],%s", all + 1);
    invalid(payload, "deeper");
    write_payload(payload, sizeof payload, "recipe", "\"a\\u0000b\"");
    invalid(payload, "JSON");
}

/* ---- purposes -------------------------------------------------------------------------------- */

TEST(manifest_under_the_typ_of_another_purpose_is_invalid)
{
    static const char *const typs[] = {"at+jwt", "JWT", "", "DACM-MANIFEST+JWT",
        "dacm-manifest+jwt ", "dacm-keyset+jwt", "dacm-audit+jwt", "application/dacm-manifest+jwt"};
    char all[2048];
    trust_manifest manifest;
    rpc_status status = {0};
    write_payload(all, sizeof all, "", "");
    assert_int_equal(verify_payload(TRUST_MANIFEST_TYP, all, &manifest, &status), TRUST_VALID);
    for (size_t i = 0; i < COUNT(typs); i++) {
        assert_int_equal(verify_payload(typs[i], all, &manifest, &status), TRUST_INVALID);
        assert_non_null(strstr(status.message, "typ"));
    }
}

TEST(manifest_is_signed_by_no_key_of_another_purpose)
{
    static const trust_purpose others[] = {TRUST_FOR_TOKENS, TRUST_FOR_KEY_SETS, TRUST_FOR_AUDIT};
    trust_manifest manifest = make_manifest();
    for (size_t i = 0; i < COUNT(others); i++) {
        trust_signer *signer = signer_for(others[i]);
        char *jws = NULL;
        rpc_status status = {0};
        assert_int_equal(
            trust_manifest_sign(signer, &manifest, &jws, &status), RPC_INVALID_ARGUMENT);
        assert_null(jws);
        assert_non_null(strstr(status.message, "purpose"));
        trust_signer_free(signer);
    }
}

TEST(manifest_is_verified_by_no_ring_of_another_purpose)
{
    static const trust_purpose others[] = {TRUST_FOR_TOKENS, TRUST_FOR_KEY_SETS, TRUST_FOR_AUDIT};
    manifest_fixture fixture = make_fixture();
    trust_manifest manifest = make_manifest(), read;
    rpc_status status = {0};
    char *jws;
    assert_int_equal(trust_manifest_sign(fixture.signer, &manifest, &jws, &status), RPC_OK);
    for (size_t i = 0; i < COUNT(others); i++) {
        trust_keyring *ring = ring_for(others[i], ""); /* the very same key */
        assert_int_equal(
            trust_manifest_verify(rpc_bytes_str(jws), ring, &read, &status), TRUST_INVALID);
        assert_non_null(strstr(status.message, "not for manifests"));
        trust_keyring_unref(ring);
    }
    free(jws);
    drop_fixture(&fixture);
}

TEST(manifest_is_no_token_and_a_token_no_manifest)
{
    trust_signer *signer = signer_for(TRUST_FOR_TOKENS);
    trust_keyring *tokens = ring_for(TRUST_FOR_TOKENS, "");
    trust_keyring *manifests = ring_for(TRUST_FOR_MANIFESTS, "");
    trust_issuer issuer = {.issuer = "https://dacm.example/", .audience = "a", .keys = tokens};
    trust_token_claims wanted = {.issuer = "https://dacm.example/",
        .subject = "s",
        .audience = "a",
        .client_id = "c",
        .scope = "seal.da",
        .issued_at = NOW,
        .lifetime_s = 300};
    char all[2048], *jws, *text;
    rpc_status status;
    trust_token *token = NULL;
    trust_manifest read;
    write_payload(all, sizeof all, "", "");
    assert_int_equal(
        trust_jws_sign(signer, TRUST_MANIFEST_TYP, rpc_bytes_str(all), &jws, &status), RPC_OK);
    assert_int_equal(
        trust_token_verify(rpc_bytes_str(jws), &issuer, NOW, &token, &status), RPC_UNAUTHENTICATED);
    assert_null(token);
    assert_int_equal(trust_token_mint(signer, &wanted, &text, &status), RPC_OK);
    assert_int_equal(
        trust_manifest_verify(rpc_bytes_str(text), manifests, &read, &status), TRUST_INVALID);
    free(jws);
    free(text);
    trust_keyring_unref(tokens);
    trust_keyring_unref(manifests);
    trust_signer_free(signer);
}

/* ---- keys ------------------------------------------------------------------------------------ */

TEST(manifest_of_an_unknown_key_is_no_key_and_tells_what_it_says)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest manifest = make_manifest(), read;
    rpc_status status = {0};
    trust_signer *other;
    char *jws;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &other, &status), RPC_OK);
    snprintf(manifest.recipe, sizeof manifest.recipe, "{}");
    manifest.has_source = true;
    memset(manifest.source_sha256, 9, 32);
    assert_int_equal(trust_manifest_sign(other, &manifest, &jws, &status), RPC_OK);
    const trust_keyring *rings[] = {fixture.ring, NULL};
    for (size_t i = 0; i < COUNT(rings); i++) {
        memset(&read, 0x5a, sizeof read);
        status.message[0] = '\0';
        assert_int_equal(
            trust_manifest_verify(rpc_bytes_str(jws), rings[i], &read, &status), TRUST_NO_KEY);
        assert_non_null(strstr(status.message, "kid"));
        same_manifest(&read, &manifest);
        assert_string_equal(read.kid, ""); /* no key vouches for it */
    }
    free(jws);
    trust_signer_free(other);
    drop_fixture(&fixture);
}

TEST(manifest_of_an_unknown_key_is_invalid_when_its_form_is)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest read, before;
    rpc_status status = {0};
    memset(&read, 0x5a, sizeof read);
    memcpy(&before, &read, sizeof before);
    static const char *const values[] = {NULL, "0", "\"3\"", "-1"};
    for (size_t i = 0; i < COUNT(values); i++) {
        char payload[2048], *jws;
        write_payload(payload, sizeof payload, "version", values[i]);
        assert_int_equal(trust_jws_sign(fixture.signer, TRUST_MANIFEST_TYP, rpc_bytes_str(payload),
                             &jws, &status),
            RPC_OK);
        assert_int_equal(
            trust_manifest_verify(rpc_bytes_str(jws), NULL, &read, &status), TRUST_INVALID);
        assert_non_null(strstr(status.message, "version"));
        free(jws);
    }
    static const char *const broken[] = {"", "a", "a.b", "a.b.c", "...", "e30.e30.e30",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImsiLCJ0eXAiOiJkYWNtLW1hbmlmZXN0K2p3dCJ9..AAAA",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImsiLCJ0eXAiOiJkYWNtLW1hbmlmZXN0K2p3dCJ9.!.AAAA"};
    for (size_t i = 0; i < COUNT(broken); i++)
        assert_int_equal(
            trust_manifest_verify(rpc_bytes_str(broken[i]), NULL, &read, &status), TRUST_INVALID);
    assert_memory_equal(&read, &before, sizeof read);
    drop_fixture(&fixture);
}

/* A manifest of NOW under the key with more members. */
static trust_verdict judged_under(const char *more, int64_t issued_at)
{
    trust_signer *signer = signer_for(TRUST_FOR_MANIFESTS);
    trust_keyring *ring = ring_for(TRUST_FOR_MANIFESTS, more);
    trust_manifest manifest = make_manifest(), read;
    rpc_status status = {0};
    char *jws;
    manifest.issued_at = issued_at;
    manifest.expires_at = issued_at + 60;
    assert_int_equal(trust_manifest_sign(signer, &manifest, &jws, &status), RPC_OK);
    trust_verdict verdict = trust_manifest_verify(rpc_bytes_str(jws), ring, &read, &status);
    if (verdict != TRUST_VALID)
        assert_true(strlen(status.message) > 0);
    free(jws);
    trust_keyring_unref(ring);
    trust_signer_free(signer);
    return verdict;
}

TEST(manifest_of_a_retired_key_is_judged_at_its_iat)
{
    const char *retired = ",\"dacm_state\":\"retired\",\"nbf\":1790000000,\"exp\":1790001000";
    assert_int_equal(judged_under(retired, NOW), TRUST_VALID);
    assert_int_equal(judged_under(retired, NOW + 1000), TRUST_VALID);
    assert_int_equal(judged_under(retired, NOW - 1), TRUST_INVALID);
    assert_int_equal(judged_under(retired, NOW + 1001), TRUST_INVALID);
    const char *verify_only = ",\"dacm_state\":\"verify-only\",\"exp\":1790001000";
    assert_int_equal(judged_under(verify_only, NOW), TRUST_VALID);
    assert_int_equal(judged_under(verify_only, NOW + 1001), TRUST_INVALID);
}

TEST(manifest_of_a_compromised_key_is_invalid_whenever_it_was_signed)
{
    const char *compromised =
        ",\"dacm_state\":\"compromised\",\"nbf\":1790000000,\"exp\":1790001000";
    assert_int_equal(judged_under(compromised, NOW), TRUST_INVALID);
    assert_int_equal(judged_under(compromised, NOW + 500), TRUST_INVALID);
    assert_int_equal(judged_under(",\"dacm_state\":\"compromised\"", 1), TRUST_INVALID);
}

TEST(manifest_of_a_key_that_is_only_published_is_invalid)
{
    assert_int_equal(judged_under(",\"dacm_state\":\"pre-published\"", NOW), TRUST_INVALID);
    assert_int_equal(judged_under(",\"dacm_state\":\"active\"", NOW), TRUST_VALID);
}

/* ---- headers --------------------------------------------------------------------------------- */

static size_t base64url(const void *bytes, size_t size, char *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *data = bytes;
    size_t at = 0;
    for (size_t bit = 0; bit < 8 * size; bit += 6) {
        unsigned pair = (unsigned)data[bit / 8] << 8;
        pair |= bit / 8 + 1 < size ? data[bit / 8 + 1] : 0;
        ret[at++] = digits[pair >> (10 - bit % 8) & 63];
    }
    ret[at] = '\0';
    return at;
}

static trust_verdict judged_with_header(const char *header, rpc_status *status)
{
    manifest_fixture fixture = make_fixture();
    trust_manifest read;
    char payload[2048], jws[8192];
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    write_payload(payload, sizeof payload, "", "");
    size_t at = base64url(header, strlen(header), jws);
    jws[at++] = '.';
    at += base64url(payload, strlen(payload), jws + at);
    assert_int_equal(
        trust_signer_sign(fixture.signer, rpc_bytes_of(jws, at), signature, &size, status), RPC_OK);
    jws[at++] = '.';
    base64url(signature, size, jws + at);
    trust_verdict verdict = trust_manifest_verify(rpc_bytes_str(jws), fixture.ring, &read, status);
    drop_fixture(&fixture);
    return verdict;
}

TEST(manifest_header_may_say_ed25519_for_eddsa)
{
    rpc_status status = {0};
    assert_int_equal(
        judged_with_header(
            "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}", &status),
        TRUST_VALID);
    assert_int_equal(
        judged_with_header(
            "{\"alg\":\"Ed25519\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}", &status),
        TRUST_VALID);
}

TEST(manifest_header_with_another_alg_or_member_is_invalid)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"alg\":\"ed25519\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"alg\":\"Ed448\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"alg\":\"HS256\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"dacm-manifest+jwt\"}", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\",\"b64\":false}",
        "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\",\"crit\":[]}",
        "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"dacm-manifest+jwt\",\"jku\":\"https://x\"}"};
    for (size_t i = 0; i < COUNT(headers); i++) {
        rpc_status status = {0};
        if (judged_with_header(headers[i], &status) != TRUST_INVALID)
            fail_msg("taken: %s", headers[i]);
        assert_true(strlen(status.message) > 0);
    }
}
