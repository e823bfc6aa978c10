/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "trust.h"

#define NOW 1790000000
#define A   "msisdn-4915110000001"
#define B   "msisdn-4915110000002"

static const char *list_a[] = {A}, *list_ab[] = {A, B}, *list_b[] = {B};
static const trust_asset_facts nothing = {0}, there = {.exists = true},
                               listed = {.exists = true, .allowed = true},
                               owned = {.exists = true, .owner = true};

/* A token and a question that pass every step; each test spoils one thing. */
static trust_token good_token(void)
{
    return (trust_token){.scope = "openid seal.da",
        .issued_at = NOW,
        .expires_at = NOW + 300,
        .asset_id = "asset",
        .actions = TRUST_ACTION_GET,
        .has_gpsis = true,
        .gpsis = {1, list_a},
        .has_profile = true,
        .profile = {2, list_ab}};
}

static trust_question question_for(const trust_token *token)
{
    return (trust_question){.token = token,
        .action = TRUST_ACTION_GET,
        .asset_id = "asset",
        .gpsi = A,
        .now = NOW,
        .facts = &listed};
}

static void expect(const trust_question *question, rpc_code code, trust_reason reason)
{
    trust_decision decision = trust_decide(question);
    assert_string_equal(trust_reason_name(decision.reason), trust_reason_name(reason));
    assert_int_equal(decision.code, code);
    assert_int_equal(decision.valid_until, code == RPC_OK ? NOW + 330 : 0);
}

TEST(decision_allows_what_passes_every_step)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = &owned;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = NULL;
    assert_true(trust_decide(&question).pending);
}

TEST(decision_order_is_token_binding_scope_asset_action_profile_holder_list)
{
    /* Everything is wrong at once; mending the first fault shows the next. */
    uint8_t mine[32] = {1}, other[32] = {2};
    trust_token token = {.scope = "openid",
        .expires_at = NOW - 31,
        .bound = true,
        .asset_id = "other",
        .actions = TRUST_ACTION_UPDATE};
    memcpy(token.certificate_sha256, mine, 32);
    trust_question question = {.token = NULL,
        .revoked = true,
        .certificate_sha256 = other,
        .action = TRUST_ACTION_GET,
        .asset_id = "asset",
        .gpsi = A,
        .now = NOW,
        .facts = &nothing};
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_TOKEN);
    question.token = &token;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_TOKEN);
    token.expires_at = NOW + 300;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_REVOKED);
    question.revoked = false;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_BINDING);
    question.certificate_sha256 = NULL;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_BINDING);
    question.certificate_sha256 = mine;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_SCOPE);
    token.scope = "seal.da";
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    token.asset_id = NULL;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    token.asset_id = "asset";
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ACTION);
    token.actions = TRUST_ACTION_GET;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    token.has_profile = true;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    token.profile = (trust_users){1, list_b};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    token.profile = (trust_users){1, list_a};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
    token.has_gpsis = true;
    token.gpsis = (trust_users){1, list_b};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
    token.gpsis = (trust_users){1, list_a};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_MISSING);
    question.facts = &there;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
    question.facts = &listed;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
}

TEST(decision_val_server_acts_for_its_users_only)
{
    trust_token token = good_token();
    token.has_gpsis = false;
    token.has_users = true;
    token.users = (trust_users){1, list_b};
    trust_question question = question_for(&token);
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
    question.gpsi = B;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    token.has_gpsis = true; /* both: nobody's */
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
    token.has_gpsis = token.has_users = false; /* neither */
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
}

TEST(decision_binding_that_is_required_must_be_there)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    uint8_t mine[32] = {1};
    question.binding_required = true;
    question.certificate_sha256 = mine;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_BINDING);
    token.bound = true;
    memcpy(token.certificate_sha256, mine, 32);
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
}

TEST(decision_mode_profile_needs_no_claims_but_those_that_are_there_bind)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    question.mode = TRUST_MODE_PROFILE;
    token.asset_id = NULL;
    token.actions = 0;
    token.has_profile = false;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = &there;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
    question.facts = &listed;
    token.has_profile = true;
    token.profile = (trust_users){0};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    token.has_profile = false;
    token.actions = TRUST_ACTION_GET;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    token.asset_id = "other";
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    token.asset_id = "asset";
    token.actions = TRUST_ACTION_UPDATE;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ACTION);
}

TEST(decision_mode_token_needs_no_list_and_may_say_not_found)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    question.mode = TRUST_MODE_TOKEN;
    question.facts = &there;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = &nothing;
    expect(&question, RPC_NOT_FOUND, TRUST_REASON_NOT_FOUND);
    token.has_profile = false;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
}

TEST(decision_mode_literal_is_genuine_token_and_user_in_the_list)
{
    trust_token token = {
        .scope = "x", .expires_at = NOW + 300, .has_profile = true, .profile = {2, list_ab}};
    trust_question question = question_for(&token);
    question.mode = TRUST_MODE_LITERAL;
    question.facts = &there;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    token.profile = (trust_users){1, list_b};
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
    token.has_profile = false;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_PROFILE_CLAIM);
}

TEST(decision_mode_literal_opens_media_and_nobodys_profile)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    question.mode = TRUST_MODE_LITERAL;
    token.actions = TRUST_ACTION_GET | TRUST_ACTION_DELETE;
    for (int i = 0; i < 2; i++) { /* Delete, then Get of the profile */
        question.action = i == 0 ? TRUST_ACTION_DELETE : TRUST_ACTION_GET;
        question.about_profile = i == 1;
        question.facts = &listed;
        question.gpsi = A;
        expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
        question.gpsi = B; /* whom the holder is not, though the token's list has him */
        expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_HOLDER);
        question.gpsi = A;
        question.facts = &there;
        expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
        token.asset_id = "other";
        expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
        token.asset_id = "asset";
    }
}

TEST(decision_about_a_profile_needs_no_list_in_the_token_but_its_own)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    token.has_profile = false;
    question.about_profile = true;
    question.facts = &listed;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = &there;
    question.mode = TRUST_MODE_TOKEN;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
}

TEST(decision_create_and_discovery_take_tokens_without_an_asset)
{
    trust_token token = good_token();
    token.actions = TRUST_ACTION_CREATE | TRUST_ACTION_DISCOVERY;
    trust_question question = question_for(&token);
    question.asset_id = NULL;
    question.action = TRUST_ACTION_CREATE;
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_ASSET);
    token.asset_id = NULL;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
    question.facts = &nothing; /* the policy lets him create nothing */
    expect(&question, RPC_PERMISSION_DENIED, TRUST_REASON_LIST);
    question.action = TRUST_ACTION_DISCOVERY;
    expect(&question, RPC_OK, TRUST_REASON_ALLOWED);
}

TEST(decision_reasons_all_have_a_name_and_a_sentence)
{
    for (int i = 0; i < TRUST_REASONS; i++) {
        assert_true(strlen(trust_reason_name((trust_reason)i)) > 2);
        assert_true(strlen(trust_reason_text((trust_reason)i)) > 10);
    }
}

TEST(decision_of_a_stale_issuers_token_comes_after_what_is_known_of_it)
{
    trust_token token = good_token();
    trust_question question = question_for(&token);
    question.stale = true;
    expect(&question, RPC_UNAVAILABLE, TRUST_REASON_STALE);
    question.asset_id = "other"; /* nobody learns more while it is */
    expect(&question, RPC_UNAVAILABLE, TRUST_REASON_STALE);
    question.revoked = true;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_REVOKED);
    question.token = NULL;
    expect(&question, RPC_UNAUTHENTICATED, TRUST_REASON_TOKEN);
}
