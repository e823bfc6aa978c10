/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_request.h"
#include "support.h"

#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" /* RFC 7636, appendix B */
#define VERIFIER  "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define GOOD                                                                                       \
    "response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fapp.example%2Fcb"                 \
    "&scope=openid+seal.da&code_challenge=" CHALLENGE "&code_challenge_method=S256"

static const sim_client client = {.client_id = "app",
    .grants = SIM_GRANT_CODE,
    .scopes = (const char *const[]){"seal.da", "profile", NULL}};
static const char *const resources[] = {"https://dacm.example/", NULL};
static sim_auth_request asked;
static sim_error error;

static bool reads_for(const char *query, const sim_client *whose)
{
    const host_params *params = params_of(query);
    error = (sim_error){0};
    return sim_auth_request_target(params, &asked, &error) &&
           sim_auth_request_read(params, whose, resources, &asked, &error);
}

static void refused(const char *query, const char *with)
{
    assert_false(reads_for(query, &client));
    assert_string_equal(error.error, with);
}

TEST(request_of_the_profile_is_read)
{
    assert_true(reads_for(GOOD "&state=s+1&nonce=n&acr_values=3gpp%3Aacr%3Apassword", &client));
    assert_string_equal(asked.client_id, "app");
    assert_string_equal(asked.redirect_uri, "https://app.example/cb");
    assert_string_equal(asked.state, "s 1");
    assert_string_equal(asked.nonce, "n");
    assert_string_equal(asked.scope, "openid seal.da");
    assert_string_equal(asked.code_challenge, CHALLENGE);
    assert_string_equal(asked.resource, "");
    assert_false(asked.digital_asset || asked.prompt_none || asked.prompt_login);
    assert_int_equal(asked.max_age_s, -1);
}

TEST(unknown_acr_value_is_a_preference_that_is_not_met)
{
    assert_true(reads_for(GOOD "&acr_values=urn%3Aother+3gpp%3Aacr%3Apassword", &client));
    assert_true(reads_for(GOOD "&acr_values=urn%3Aother", &client));
}

TEST(unknown_parameter_is_ignored)
{
    assert_true(reads_for(GOOD "&ui_locales=de&audience=x", &client));
}

TEST(client_or_redirect_uri_missing_or_twice_is_no_target)
{
    assert_false(reads_for("redirect_uri=https%3A%2F%2Fa", &client));
    assert_false(reads_for("client_id=app", &client));
    assert_false(reads_for(GOOD "&client_id=app", &client));
    assert_false(reads_for(GOOD "&redirect_uri=https%3A%2F%2Fapp.example%2Fcb", &client));
    assert_false(reads_for("client_id=%ff&redirect_uri=a", &client));
}

TEST(parameter_that_is_there_twice_is_refused)
{
    refused(GOOD "&scope=openid", "invalid_request");
    refused(GOOD "&state=a&state=b", "invalid_request");
    refused(GOOD "&unknown=a&unknown=b", "invalid_request");
    refused(GOOD "&authorization_details=a&authorization_details=b", "invalid_request");
}

TEST(response_type_other_than_code_is_refused)
{
    refused("client_id=app&redirect_uri=a", "invalid_request");
    refused("client_id=app&redirect_uri=a&response_type=token", "unsupported_response_type");
    refused(
        "client_id=app&redirect_uri=a&response_type=code+id_token", "unsupported_response_type");
}

TEST(response_mode_other_than_query_is_refused)
{
    assert_true(reads_for(GOOD "&response_mode=query", &client));
    refused(GOOD "&response_mode=fragment", "invalid_request");
    refused(GOOD "&response_mode=form_post", "invalid_request");
}

TEST(request_objects_are_refused_by_name)
{
    refused(GOOD "&request=x", "request_not_supported");
    refused(GOOD "&request_uri=x", "request_uri_not_supported");
    refused(GOOD "&registration=x", "registration_not_supported");
}

#define WITHOUT_PKCE "response_type=code&client_id=app&redirect_uri=a&scope=openid&code_challenge"

TEST(pkce_missing_plain_or_malformed_is_refused)
{
    refused(WITHOUT_PKCE "_method=S256", "invalid_request");
    refused(WITHOUT_PKCE "=" CHALLENGE, "invalid_request");
    refused(WITHOUT_PKCE "=" CHALLENGE "&code_challenge_method=plain", "invalid_request");
    refused(WITHOUT_PKCE "=" CHALLENGE "&code_challenge_method=s256", "invalid_request");
    refused(WITHOUT_PKCE "=" CHALLENGE "A&code_challenge_method=S256", "invalid_request");
    refused(WITHOUT_PKCE "=short&code_challenge_method=S256", "invalid_request");
    refused(WITHOUT_PKCE "=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw%2BcM"
                         "&code_challenge_method=S256",
        "invalid_request");
}

TEST(verifier_fits_its_challenge_only)
{
    assert_true(sim_pkce_matches(VERIFIER, CHALLENGE));
    assert_false(sim_pkce_matches("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK", CHALLENGE));
    assert_false(sim_pkce_matches(CHALLENGE, CHALLENGE));
    assert_false(sim_pkce_matches("", CHALLENGE));
    assert_false(sim_pkce_matches(VERIFIER " ", CHALLENGE));
}

TEST(verifier_shorter_than_43_or_longer_than_128_is_none)
{
    static const struct {
        size_t size;
        const char *challenge; /* SHA-256 of so many 'a' */
    } cases[] = {{42, "elOGB_2quSlplZKfRRVlu7gULhhEEXMiqv0rPXawGv8"},
        {43, "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA"},
        {128, "aDbPE7rEAOkQUHHNavRwhN-srU5eMCyUv-0k4BOvtz4"},
        {129, "wSywJKLlVRzKDgj86PHF4xRVXMP-9jKe6ZSj23UhZq4"}};
    for (size_t i = 0; i < 4; i++) {
        char text[130] = "";
        memset(text, 'a', cases[i].size);
        assert_int_equal(sim_pkce_matches(text, cases[i].challenge), i == 1 || i == 2);
    }
}

#define SCOPE(words)                                                                               \
    "response_type=code&client_id=app&redirect_uri=a&code_challenge_method=S256"                   \
    "&code_challenge=" CHALLENGE "&scope=" words

TEST(scope_needs_openid_and_only_what_the_client_may_have)
{
    refused(SCOPE(""), "invalid_scope");
    refused(SCOPE("seal.da"), "invalid_scope");
    refused(SCOPE("openid+seal.km"), "invalid_scope");
    refused(SCOPE("openid+seal.d"), "invalid_scope");
    refused(SCOPE("OpenID"), "invalid_scope");
    assert_true(reads_for(SCOPE("++openid+openid++profile+"), &client));
    assert_string_equal(asked.scope, "openid profile");
}

TEST(prompts_are_read_and_none_stands_alone)
{
    assert_true(reads_for(GOOD "&prompt=none", &client) && asked.prompt_none);
    assert_true(reads_for(GOOD "&prompt=login+consent", &client));
    assert_true(asked.prompt_login && asked.prompt_consent && !asked.prompt_none);
    assert_true(reads_for(GOOD "&prompt=select_account", &client) && asked.prompt_login);
    refused(GOOD "&prompt=none+login", "invalid_request");
    refused(GOOD "&prompt=create", "invalid_request");
}

TEST(max_age_is_a_number_of_seconds)
{
    assert_true(reads_for(GOOD "&max_age=0", &client));
    assert_int_equal(asked.max_age_s, 0);
    assert_true(reads_for(GOOD "&max_age=999999999", &client));
    assert_int_equal(asked.max_age_s, 999999999);
    refused(GOOD "&max_age=-1", "invalid_request");
    refused(GOOD "&max_age=1.5", "invalid_request");
    refused(GOOD "&max_age=1000000000", "invalid_request");
    refused(GOOD "&max_age=x", "invalid_request");
}

TEST(resource_must_be_a_known_dacm)
{
    assert_true(reads_for(GOOD "&resource=https%3A%2F%2Fdacm.example%2F", &client));
    assert_string_equal(asked.resource, "https://dacm.example/");
    refused(GOOD "&resource=https%3A%2F%2Fdacm.example", "invalid_target");
    refused(GOOD "&resource=https%3A%2F%2Fother.example%2F", "invalid_target");
}

#define DETAILS                                                                                    \
    "&authorization_details=%5B%7B%22type%22%3A%22digital_asset%22%2C%22actions%22%3A%5B%22get"    \
    "%22%5D%7D%5D"

TEST(authorization_details_are_read)
{
    assert_true(reads_for(GOOD DETAILS, &client));
    assert_true(asked.digital_asset);
    assert_int_equal(asked.details.actions, TRUST_ACTION_GET);
    refused(GOOD "&authorization_details=%5B%5D", "invalid_authorization_details");
}

TEST(authorization_details_need_a_client_registered_for_assets)
{
    const sim_client other = {.client_id = "app",
        .grants = SIM_GRANT_CODE,
        .scopes = (const char *const[]){"profile", NULL}};
    assert_false(reads_for(SCOPE("openid") DETAILS, &other));
    assert_string_equal(error.error, "invalid_authorization_details");
}

TEST(client_without_the_code_grant_is_refused)
{
    const sim_client other = {.client_id = "app",
        .grants = SIM_GRANT_CLIENT_CREDENTIALS,
        .scopes = (const char *const[]){"seal.da", NULL}};
    assert_false(reads_for(GOOD, &other));
    assert_string_equal(error.error, "unauthorized_client");
}

TEST(nonce_is_bounded)
{
    static char query[2048];
    for (int size = 512; size <= 513; size++) {
        int at = snprintf(query, sizeof query, "%s&nonce=", GOOD);
        memset(query + at, 'n', (size_t)size);
        query[at + size] = '\0';
        assert_int_equal(reads_for(query, &client), size == 512);
    }
}
