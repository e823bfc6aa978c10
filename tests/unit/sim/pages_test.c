/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"
#include "test.h"

#define EVIL    "\"><script>alert('x')</script>&"
#define ESCAPED "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"

static const sim_form evil_form = {EVIL, EVIL, EVIL, EVIL};

static size_t times(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        count++;
    return count;
}

/* What was given n times is there n times, escaped, and nowhere as it was. */
static void only_escaped(char *page, size_t n)
{
    assert_non_null(page);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "alert('"));
    assert_int_equal(times(page, ESCAPED), n);
    free(page);
}

TEST(everything_foreign_is_escaped_in_every_page)
{
    sim_auth_request asked = {.digital_asset = true, .details = {.actions = 31}};
    snprintf(asked.scope, sizeof asked.scope, "openid %s", EVIL);
    snprintf(asked.details.asset_id, sizeof asked.details.asset_id, "%s", EVIL);
    only_escaped(sim_page_message(EVIL, EVIL), 3);
    only_escaped(sim_page_login(&evil_form, EVIL, EVIL, EVIL), 7);
    only_escaped(sim_page_consent(&evil_form, EVIL, EVIL, &asked), 8);
    only_escaped(sim_page_logout(&evil_form, EVIL), 5);
}

TEST(pages_have_no_script_no_handler_and_nothing_from_elsewhere)
{
    const sim_form form = {"/login", "client_id=a", "1", "m"};
    sim_auth_request asked = {.scope = "openid"};
    char *pages[] = {sim_page_message("a", "b"), sim_page_login(&form, "App", "anna", "wrong"),
        sim_page_consent(&form, "App", "anna", &asked), sim_page_logout(&form, "anna")};
    for (size_t i = 0; i < 4; i++) {
        assert_null(strstr(pages[i], "<script"));
        assert_null(strstr(pages[i], " on"));
        assert_null(strstr(pages[i], "://"));
        assert_null(strstr(pages[i], "url("));
        assert_non_null(strstr(pages[i], "<html lang=\"en\">"));
        assert_int_equal(times(pages[i], "<h1>"), 1);
        free(pages[i]);
    }
}

TEST(login_page_has_labels_autocomplete_and_tells_problems_aloud)
{
    const sim_form form = {"/login", "client_id=a", "1", "m"};
    char *page = sim_page_login(&form, "App", "", NULL);
    assert_non_null(strstr(page, "<label for=\"username\">"));
    assert_non_null(strstr(page, "<label for=\"password\">"));
    assert_non_null(strstr(page, "autocomplete=\"username\""));
    assert_non_null(strstr(page, "autocomplete=\"current-password\""));
    assert_non_null(strstr(page, "aria-live=\"assertive\""));
    assert_null(strstr(page, "aria-invalid"));
    free(page);
    page = sim_page_login(&form, "App", "anna", "wrong");
    assert_non_null(strstr(page, "aria-invalid=\"true\" aria-describedby=\"problem\""));
    assert_non_null(strstr(page, "value=\"anna\""));
    free(page);
}

TEST(password_is_never_repeated)
{
    const sim_form form = {"/login", "client_id=a", "1", "m"};
    char *page = sim_page_login(&form, "App", "anna", "wrong");
    const char *password = strstr(page, "id=\"password\"");
    assert_non_null(password);
    const char *end = strchr(password, '>');
    const char *value = strstr(password, "value=");
    assert_true(!value || value > end);
    free(page);
}

TEST(consent_page_says_scopes_and_asset_in_words)
{
    const sim_form form = {"/consent", "client_id=a", "1", "m"};
    sim_auth_request asked = {.scope = "openid seal.da val.other",
        .digital_asset = true,
        .details = {.asset_id = "avatar-7", .actions = TRUST_ACTION_GET | TRUST_ACTION_UPDATE}};
    char *page = sim_page_consent(&form, "Game", "anna", &asked);
    assert_non_null(strstr(page, "<strong>Game</strong>"));
    assert_non_null(strstr(page, "<strong>anna</strong>"));
    assert_null(strstr(page, "the avatars that you may use")); /* it is one of them only */
    assert_non_null(strstr(page, "<code>val.other</code>"));
    assert_non_null(strstr(page, "get, change the avatar <code>avatar-7</code> and no other"));
    free(page);
    asked.details.asset_id[0] = '\0';
    page = sim_page_consent(&form, "Game", "anna", &asked);
    assert_non_null(strstr(page, "get, change any of the avatars that you may use"));
    free(page);
    asked.digital_asset = false;
    page = sim_page_consent(&form, "Game", "anna", &asked);
    assert_non_null(strstr(page, "<li>use the avatars that you may use</li>"));
    free(page);
}

static void policy(const char *redirect, const char *source)
{
    char csp[SIM_CSP_MAX], expected[256];
    sim_page_csp("'sha256-x'", redirect, csp);
    snprintf(expected, sizeof expected, "form-action 'self'%s; ", source);
    if (!strstr(csp, expected))
        fail_msg("%s: %s lacks %s", redirect ? redirect : "none", csp, expected);
    assert_non_null(strstr(csp, "default-src 'none'; style-src 'sha256-x';"));
    assert_non_null(strstr(csp, "frame-ancestors 'none'"));
}

TEST(policy_lets_forms_lead_to_the_client_and_nowhere_else)
{
    policy(NULL, "");
    policy("https://app.example/cb?a=b", " https://app.example");
    policy("http://127.0.0.1:5123/cb", " http://127.0.0.1:5123");
    policy("http://[::1]:5123/cb", " http://*:5123");
    policy("com.example.app:/cb", " com.example.app:");
    policy("https://app.example", " https://app.example");
}

TEST(policy_cannot_be_extended_by_a_redirect_uri)
{
    char csp[SIM_CSP_MAX];
    sim_page_csp("'sha256-x'", "https://a;script-src *;b/cb", csp);
    assert_null(strstr(csp, "script-src"));
    sim_page_csp("'sha256-x'", "com.example;script-src *", csp); /* no scheme */
    assert_null(strstr(csp, "script-src"));
    sim_page_csp("'sha256-x'", "https://a *", csp);
    assert_non_null(strstr(csp, "form-action 'self' https:;"));
}

TEST(style_hash_is_that_of_the_style_in_the_page)
{
    char hash[64], *page = sim_page_message("a", "b");
    sim_page_style_hash(hash);
    char *from = strstr(page, "<style>") + 7, *to = strstr(page, "</style>");
    uint8_t digest[32];
    char text[65], own[65];
    trust_sha256(rpc_bytes_of(from, (size_t)(to - from)), digest);
    rpc_hex(rpc_bytes_of(digest, 32), text);
    assert_int_equal(strlen(hash), strlen("'sha256-'") + 44);
    /* base64 of the same digest, decoded by hand to compare */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t decoded[33] = {0};
    uint32_t word = 0;
    size_t bits = 0, at = 0;
    for (const char *c = hash + 8; *c != '=' && *c != '\''; c++) {
        word = word << 6 | (uint32_t)(strchr(digits, *c) - digits);
        bits += 6;
        if (bits >= 8)
            decoded[at++] = (uint8_t)(word >> (bits -= 8));
    }
    rpc_hex(rpc_bytes_of(decoded, 32), own);
    assert_string_equal(own, text);
    free(page);
}
