/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens at function level; over the wire they stand in tests/e2e/access_tokens_test.py. */
#include "test.h"
#include "trust.h"

#define NOW 1790000000
#define A   "msisdn-4915110000001"
#define B   "msisdn-4915110000002"

typedef struct token_fixture {
    trust_signer *signer;
    trust_keyring *ring;
    trust_issuer issuer;
} token_fixture;

static token_fixture make_fixture(void)
{
    token_fixture fixture;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &fixture.signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(fixture.signer);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 7, &fixture.ring, &status),
        RPC_OK);
    free(jwks);
    fixture.issuer = (trust_issuer){.issuer = "https://sims.example",
        .audience = "https://dacm.example/",
        .keys = fixture.ring,
        .may_delegate = true};
    return fixture;
}

static void drop_fixture(token_fixture *fixture)
{
    trust_keyring_unref(fixture->ring);
    trust_signer_free(fixture->signer);
}

static rpc_code verify_text(
    token_fixture *fixture, const char *payload, trust_token **ret, rpc_status *status)
{
    char *jws;
    assert_int_equal(
        trust_jws_sign(fixture->signer, "at+jwt", rpc_bytes_str(payload), &jws, status), RPC_OK);
    rpc_code code = trust_token_verify(rpc_bytes_str(jws), &fixture->issuer, NOW, ret, status);
    free(jws);
    return code;
}

/* The claims of a correct token with `more` behind them and, where it says so, one replaced. */
#define HEAD                                                                                       \
    "{\"iss\":\"https://sims.example\",\"aud\":\"https://dacm.example/\",\"sub\":\"s\","           \
    "\"jti\":\"j\",\"client_id\":\"c\",\"scope\":\"openid seal.da\""
#define TIMES ",\"iat\":1790000000,\"exp\":1790000300"
#define DETAILS                                                                                    \
    ",\"authorization_details\":[{\"type\":\"digital_asset\",\"identifier\":\"a\","                \
    "\"actions\":[\"get\"]}]"

static void refused(const char *payload, const char *why)
{
    token_fixture fixture = make_fixture();
    trust_token *token = NULL;
    rpc_status status = {0};
    assert_int_equal(verify_text(&fixture, payload, &token, &status), RPC_UNAUTHENTICATED);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s'", why, status.message);
    assert_null(token);
    drop_fixture(&fixture);
}

static void accepted(const char *payload)
{
    token_fixture fixture = make_fixture();
    trust_token *token = NULL;
    rpc_status status = {0};
    if (verify_text(&fixture, payload, &token, &status) != RPC_OK)
        fail_msg("%s: %s", payload, status.message);
    trust_token_unref(token);
    drop_fixture(&fixture);
}

TEST(token_that_we_mint_says_what_was_asked_for)
{
    token_fixture fixture = make_fixture();
    const char *const actions[] = {"get", "update", NULL}, *const gpsis[] = {B, NULL};
    const char *const profile[] = {B, A, B, NULL};
    uint8_t print[32] = {1, 2, 3};
    trust_token_claims claims = {.issuer = "https://sims.example",
        .subject = "user-2",
        .audience = "https://dacm.example/",
        .client_id = "app",
        .scope = "openid seal.da",
        .issued_at = NOW,
        .lifetime_s = 300,
        .asset_id = "asset-1",
        .actions = actions,
        .gpsis = gpsis,
        .profile = profile,
        .certificate_sha256 = print};
    char *text;
    rpc_status status;
    assert_int_equal(trust_token_mint(fixture.signer, &claims, &text, &status), RPC_OK);
    char issuer[64];
    assert_true(trust_token_peek_issuer(rpc_bytes_str(text), issuer, sizeof issuer));
    assert_string_equal(issuer, "https://sims.example");
    trust_token *token;
    assert_int_equal(
        trust_token_verify(rpc_bytes_str(text), &fixture.issuer, NOW, &token, &status), RPC_OK);
    assert_string_equal(token->subject, "user-2");
    assert_string_equal(token->asset_id, "asset-1");
    assert_int_equal(token->actions, TRUST_ACTION_GET | TRUST_ACTION_UPDATE);
    assert_true(token->has_gpsis && !token->has_users && token->has_profile && token->bound);
    assert_int_equal(token->profile.count, 2);
    assert_true(trust_users_contain(&token->profile, A));
    assert_true(trust_users_contain(&token->profile, B));
    assert_false(trust_users_contain(&token->profile, "msisdn-491511000000"));
    assert_false(trust_users_contain(&token->gpsis, A));
    assert_memory_equal(token->certificate_sha256, print, 32);
    assert_int_equal(token->key_version, 7);
    assert_true(trust_token_has_scope(token, "seal.da"));
    assert_false(trust_token_has_scope(token, "seal.d"));
    assert_false(trust_token_has_scope(token, "seal.da.x"));
    trust_token_unref(trust_token_ref(token));
    trust_token_unref(token);
    free(text);
    drop_fixture(&fixture);
}

TEST(token_mint_refuses_what_no_server_would_take)
{
    token_fixture fixture = make_fixture();
    const char *const gpsis[] = {"4915110000001", NULL}, *const users[] = {A, NULL};
    trust_token_claims claims = {.issuer = "i",
        .subject = "s",
        .audience = "a",
        .client_id = "c",
        .scope = "seal.da",
        .issued_at = NOW,
        .lifetime_s = 300,
        .gpsis = gpsis};
    char *text = NULL;
    rpc_status status;
    assert_int_equal(
        trust_token_mint(fixture.signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.gpsis = users;
    claims.users = users;
    assert_int_equal(
        trust_token_mint(fixture.signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.users = NULL;
    claims.lifetime_s = 901;
    assert_int_equal(
        trust_token_mint(fixture.signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.lifetime_s = 900;
    claims.asset_id = "../x";
    assert_int_equal(
        trust_token_mint(fixture.signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    trust_signer *manifest;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &manifest, &status), RPC_OK);
    claims.asset_id = "x";
    assert_int_equal(trust_token_mint(manifest, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    trust_signer_free(manifest);
    assert_null(text);
    drop_fixture(&fixture);
}

TEST(token_minimal_is_accepted_and_each_required_claim_is_required)
{
    accepted(HEAD TIMES "}");
    accepted(HEAD TIMES DETAILS "}");
    refused("{\"aud\":\"https://dacm.example/\"}", "iss");
    refused("{\"iss\":\"https://sims.example/\"}", "iss");
    refused("{\"iss\":\"https://sims.example\"}", "aud");
    refused("{\"iss\":\"https://sims.example\",\"aud\":[\"x\"]}", "aud");
    refused("{\"iss\":\"https://sims.example\",\"aud\":[\"https://dacm.example/\",7]}", "aud");
    refused("{\"iss\":\"https://sims.example\",\"aud\":\"https://dacm.example/\"}", "sub");
    refused(
        "{\"iss\":\"https://sims.example\",\"aud\":\"https://dacm.example/\",\"sub\":\"\"}", "sub");
    refused(HEAD "}", "exp");
    refused(HEAD ",\"iat\":1790000000}", "exp");
    refused("[]", "object");
    refused("null", "object");
    refused("{}{}", "JSON");
    refused(HEAD TIMES ",\"jti\":\"twice\"}", "JSON");
}

TEST(token_times_are_whole_seconds_within_the_skew)
{
    accepted(HEAD ",\"iat\":1789999700,\"exp\":1789999970}");
    refused(HEAD ",\"iat\":1789999700,\"exp\":1789999969}", "expired");
    accepted(HEAD ",\"iat\":1790000030,\"exp\":1790000300}");
    refused(HEAD ",\"iat\":1790000031,\"exp\":1790000300}", "future");
    accepted(HEAD TIMES ",\"nbf\":1790000030}");
    refused(HEAD TIMES ",\"nbf\":1790000031}", "not yet");
    accepted(HEAD ",\"iat\":1790000000,\"exp\":1790000900}");
    refused(HEAD ",\"iat\":1790000000,\"exp\":1790000901}", "longer");
    refused(HEAD ",\"iat\":1790000010,\"exp\":1790000010}", "longer");
    const char *bad[] = {"1790000300.5", "\"1790000300\"", "-1", "9007199254740992", "true", "[]",
        "1e400", "1.79e9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char payload[600];
        snprintf(payload, sizeof payload, HEAD ",\"iat\":1790000000,\"exp\":%s}", bad[i]);
        refused(payload, i == 6 ? "JSON" : "exp");
        snprintf(payload, sizeof payload, HEAD TIMES ",\"nbf\":%s}", bad[i]);
        refused(payload, i == 6 ? "JSON" : "nbf");
    }
    refused(HEAD ",\"iat\":1790000000,\"exp\":9223372036854775808}", "JSON");
}

TEST(token_digital_profile_is_one_string_with_single_spaces)
{
    accepted(HEAD TIMES ",\"Digital_profile\":\"\"}");
    accepted(HEAD TIMES ",\"Digital_profile\":\"" A "\"}");
    accepted(HEAD TIMES ",\"Digital_profile\":\"" A " " B "\"}");
    const char *bad[] = {"\" \"", "\"" A " \"", "\" " A "\"", "\"" A "  " B "\"",
        "\"" A "\\t" B "\"", "\"" A "\\n" B "\"", "[\"" A "\"]", "{}", "5", "null", "true",
        "\"491511\"", "\"MSISDN-4915110000001\"", "\"" A "\\u0020\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char payload[600];
        snprintf(payload, sizeof payload, HEAD TIMES ",\"Digital_profile\":%s}", bad[i]);
        refused(payload, "Digital_profile");
    }
    refused(HEAD TIMES ",\"Digital_profile\":\"" A "\\u0000\"}", "JSON");
}

TEST(token_gpsi_is_one_or_at_most_eight)
{
    accepted(HEAD TIMES ",\"gpsi\":\"" A "\"}");
    accepted(HEAD TIMES ",\"gpsi\":[\"" A "\",\"extid-x@example.com\"]}");
    refused(HEAD TIMES ",\"gpsi\":[]}", "gpsi");
    refused(HEAD TIMES ",\"gpsi\":\"\"}", "gpsi");
    refused(HEAD TIMES ",\"gpsi\":[7]}", "gpsi");
    refused(HEAD TIMES ",\"gpsi\":{}}", "gpsi");
    refused(HEAD TIMES ",\"gpsi\":[\"" A "\",\"" A "\",\"" A "\",\"" A "\",\"" A "\",\"" A "\",\"" A
                       "\",\"" A "\",\"" A "\"]}",
        "gpsi");
}

TEST(token_authorization_details_are_one_object_we_know_whole)
{
    static const char no_list[] =
        "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"users\":\"" A "\"}]";
    static const char two[] = "[{\"type\":\"digital_asset\",\"actions\":[\"get\"]},"
                              "{\"type\":\"digital_asset\",\"actions\":[\"get\"]}]";
    const char *bad[] = {"{}", "[]", "[{}]", "[{\"type\":\"other\",\"actions\":[\"get\"]}]",
        "[{\"type\":\"digital_asset\"}]", "[{\"type\":\"digital_asset\",\"actions\":[]}]",
        "[{\"type\":\"digital_asset\",\"actions\":\"get\"}]",
        "[{\"type\":\"digital_asset\",\"actions\":[\"read\"]}]",
        "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"identifier\":\"a/b\"}]",
        "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"identifier\":7}]",
        "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"locations\":[]}]", no_list,
        "[{\"type\":\"digital_asset\",\"actions\":[\"get\"],\"users\":[]}]", two, "7", "\"x\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char payload[800];
        snprintf(payload, sizeof payload, HEAD TIMES ",\"authorization_details\":%s}", bad[i]);
        refused(payload, i == 8 || i == 9     ? "identifier"
                         : i == 11 || i == 12 ? "users"
                                              : "authorization");
    }
}

TEST(token_users_need_an_issuer_that_may_delegate)
{
    token_fixture fixture = make_fixture();
    trust_token *token = NULL;
    rpc_status status;
    const char *payload = HEAD TIMES ",\"authorization_details\":[{\"type\":\"digital_asset\","
                                     "\"actions\":[\"get\"],\"users\":[\"" A "\"]}]}";
    assert_int_equal(verify_text(&fixture, payload, &token, &status), RPC_OK);
    assert_true(token->has_users && trust_users_contain(&token->users, A));
    trust_token_unref(token);
    token = NULL;
    fixture.issuer.may_delegate = false;
    assert_int_equal(verify_text(&fixture, payload, &token, &status), RPC_UNAUTHENTICATED);
    assert_null(token);
    drop_fixture(&fixture);
}

TEST(token_binding_is_one_thumbprint)
{
    accepted(HEAD TIMES ",\"cnf\":{\"x5t#S256\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}");
    refused(HEAD TIMES ",\"cnf\":{}}", "cnf");
    refused(HEAD TIMES ",\"cnf\":{\"x5t#S256\":\"AAAA\"}}", "cnf");
    refused(HEAD TIMES ",\"cnf\":{\"jkt\":\"AAAA\"}}", "cnf");
    refused(HEAD TIMES ",\"cnf\":7}", "cnf");
}

/* ---- what an issuer may say ------------------------------------------------------------------ */

#define ANN "extid-ann@example.com"
#define EVE "extid-eve@evil.example.com"

static rpc_code verify_under(const trust_issuer *how, const char *typ, const char *payload,
    trust_token **ret, rpc_status *status)
{
    token_fixture fixture = make_fixture();
    trust_issuer issuer = *how;
    char *jws;
    issuer.issuer = fixture.issuer.issuer;
    issuer.audience = fixture.issuer.audience;
    issuer.keys = fixture.ring;
    assert_int_equal(
        trust_jws_sign(fixture.signer, typ, rpc_bytes_str(payload), &jws, status), RPC_OK);
    rpc_code code = trust_token_verify(rpc_bytes_str(jws), &issuer, NOW, ret, status);
    free(jws);
    drop_fixture(&fixture);
    return code;
}

static void taken_under(const trust_issuer *how, const char *payload)
{
    trust_token *token = NULL;
    rpc_status status = {0};
    if (verify_under(how, "at+jwt", payload, &token, &status) != RPC_OK)
        fail_msg("%s: %s", payload, status.message);
    trust_token_unref(token);
}

static void refused_under(const trust_issuer *how, const char *payload, const char *why)
{
    trust_token *token = NULL;
    rpc_status status = {0};
    assert_int_equal(verify_under(how, "at+jwt", payload, &token, &status), RPC_UNAUTHENTICATED);
    assert_null(token);
    if (!strstr(status.message, why))
        fail_msg("'%s' not in '%s'", why, status.message);
    if (strstr(status.message, "4915") || strstr(status.message, "eve"))
        fail_msg("names a user: %s", status.message);
}

static void namespace_judges(const char *pattern, const char *gpsi, bool inside)
{
    const char *const patterns[] = {pattern, NULL};
    trust_issuer how = {.gpsi_namespaces = patterns};
    char payload[1024];
    snprintf(payload, sizeof payload, HEAD TIMES ",\"gpsi\":\"%s\"}", gpsi);
    if (inside)
        taken_under(&how, payload);
    else
        refused_under(&how, payload, "namespaces");
}

TEST(token_holder_lies_inside_the_issuers_namespaces)
{
    namespace_judges("msisdn-49", "msisdn-4915110000001", true);
    namespace_judges("msisdn-49", "msisdn-4815110000001", false);
    namespace_judges("msisdn-49", "extid-49@example.com", false);
    namespace_judges("msisdn-4915110000001", A, true);
    namespace_judges("msisdn-4915110000001", B, false);
    namespace_judges("msisdn-", A, true);
    namespace_judges("extid-", ANN, true);
    namespace_judges("extid-", A, false);
    namespace_judges("extid-*@example.com", ANN, true);
    namespace_judges("extid-*@example.com", EVE, false);
    namespace_judges("extid-*@example.com", "extid-ann@example.com.evil.org", false);
    namespace_judges("extid-*@example.com", "extid-ann@myexample.com", false);
    namespace_judges("extid-*@example.com", A, false);
}

TEST(token_issuer_with_no_namespace_listed_may_assert_nobody)
{
    const char *const none[] = {NULL};
    trust_issuer how = {.gpsi_namespaces = none};
    refused_under(&how, HEAD TIMES ",\"gpsi\":\"" A "\"}", "namespaces");
    taken_under(&how, HEAD TIMES "}");
    how.gpsi_namespaces = NULL; /* no list at all: everybody */
    taken_under(&how, HEAD TIMES ",\"gpsi\":\"" A "\"}");
}

TEST(token_with_one_holder_outside_the_namespaces_is_refused_whole)
{
    const char *const patterns[] = {"msisdn-48", "extid-*@example.com", "msisdn-49", NULL};
    trust_issuer how = {.gpsi_namespaces = patterns};
    taken_under(&how, HEAD TIMES ",\"gpsi\":[\"" A "\",\"" ANN "\",\"msisdn-4815110\"]}");
    refused_under(&how, HEAD TIMES ",\"gpsi\":[\"" A "\",\"" EVE "\",\"" ANN "\"]}", "namespaces");
}

TEST(token_users_of_a_delegate_lie_inside_the_namespaces_too)
{
    const char *const patterns[] = {"msisdn-49", NULL};
    trust_issuer how = {.gpsi_namespaces = patterns, .may_delegate = true};
    taken_under(&how,
        HEAD TIMES ",\"authorization_details\":[{\"type\":\"digital_asset\",\"actions\":[\"get\"],"
                   "\"users\":[\"" A "\"]}]}");
    refused_under(&how,
        HEAD TIMES ",\"authorization_details\":[{\"type\":\"digital_asset\",\"actions\":[\"get\"],"
                   "\"users\":[\"" A "\",\"" EVE "\"]}]}",
        "namespaces");
}

TEST(token_digital_profile_may_name_users_of_other_namespaces)
{
    const char *const patterns[] = {"msisdn-49", NULL};
    trust_issuer how = {.gpsi_namespaces = patterns};
    taken_under(&how, HEAD TIMES ",\"gpsi\":\"" A "\",\"Digital_profile\":\"" EVE "\"}");
}

TEST(token_claims_stand_where_the_issuer_has_them)
{
    trust_issuer how = {.gpsi_claim = "phone", .profile_claim = "avatar_users"};
    trust_token *token = NULL;
    rpc_status status = {0};
    assert_int_equal(verify_under(&how, "at+jwt",
                         HEAD TIMES ",\"phone\":\"" A "\",\"gpsi\":7,"
                                    "\"avatar_users\":\"" B "\",\"Digital_profile\":[]}",
                         &token, &status),
        RPC_OK);
    assert_true(token->has_gpsis && token->has_profile);
    assert_true(trust_users_contain(&token->gpsis, A));
    assert_true(trust_users_contain(&token->profile, B));
    trust_token_unref(token);
    assert_int_equal(verify_under(&how, "at+jwt",
                         HEAD TIMES ",\"gpsi\":\"" A "\","
                                    "\"Digital_profile\":\"" B "\"}",
                         &token, &status),
        RPC_OK);
    assert_false(token->has_gpsis || token->has_profile); /* ours mean nothing there */
    trust_token_unref(token);
    refused_under(&how, HEAD TIMES ",\"phone\":7}", "gpsi");
    refused_under(&how, HEAD TIMES ",\"avatar_users\":7}", "Digital_profile");
}

TEST(token_algorithm_is_one_that_is_taken_of_the_issuer)
{
    trust_issuer how = {.algs = 1u << TRUST_ALG_ES256 | 1u << TRUST_ALG_RS256};
    refused_under(&how, HEAD TIMES "}", "algorithm");
    how.algs |= 1u << TRUST_ALG_EDDSA;
    taken_under(&how, HEAD TIMES "}");
    how.algs = 0;
    taken_under(&how, HEAD TIMES "}");
}

TEST(token_typ_is_one_that_is_taken_of_the_issuer)
{
    const char *const typs[] = {"JWT", "at+jwt", NULL};
    trust_issuer how = {.typs = typs};
    trust_token *token = NULL;
    rpc_status status = {0};
    taken_under(&how, HEAD TIMES "}");
    assert_int_equal(verify_under(&how, "JWT", HEAD TIMES "}", &token, &status), RPC_OK);
    trust_token_unref(token);
    token = NULL;
    how.typs = NULL;
    assert_int_equal(
        verify_under(&how, "JWT", HEAD TIMES "}", &token, &status), RPC_UNAUTHENTICATED);
    assert_null(token);
}

TEST(token_lifetime_is_bounded_by_what_is_taken_of_the_issuer)
{
    trust_issuer how = {.lifetime_s_max = 0};
    taken_under(&how, HEAD ",\"iat\":1790000000,\"exp\":1790000900}");
    refused_under(&how, HEAD ",\"iat\":1790000000,\"exp\":1790000901}", "longer");
    how.lifetime_s_max = 60;
    taken_under(&how, HEAD ",\"iat\":1790000000,\"exp\":1790000060}");
    refused_under(&how, HEAD ",\"iat\":1790000000,\"exp\":1790000061}", "longer");
}

TEST(namespace_pattern_is_a_prefix_or_a_whole_domain)
{
    static const char *const good[] = {"msisdn-", "msisdn-49", "msisdn-123456789012345", "extid-",
        "extid-*@example.com", "extid-*@a"};
    static const char *const bad[] = {"", "msisdn", "msisdn-49*", "msisdn-+49", "msisdn-49 ",
        "msisdn-1234567890123456", "extid", "extid-a", "extid-ann@example.com", "extid-*",
        "extid-*@", "extid-*@Example.com", "extid-*@*.com", "*", "49", "extid-*@example.com "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!trust_gpsi_namespace_valid(good[i]))
            fail_msg("refused: '%s'", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trust_gpsi_namespace_valid(bad[i]))
            fail_msg("taken: '%s'", bad[i]);
}
