/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization request: a query, the parser of queries in front of it included; and the page
 * that repeats most of it, in which nothing of it may be markup. */
#include "fuzz.h"
#include "pages.h"

static const sim_client client = {.client_id = "app",
    .name = "App",
    .grants = SIM_GRANT_CODE,
    .scopes = (const char *const[]){"seal.da", "profile", NULL}};
static const char *const resources[] = {"https://dacm.example/", NULL};

static void check_request(const host_params *params, const sim_auth_request *asked)
{
    const char *challenge = sim_param(params, "code_challenge");
    MUST(sim_params_sound(params));
    MUST(strcmp(sim_param(params, "response_type"), "code") == 0);
    MUST(strcmp(sim_param(params, "code_challenge_method"), "S256") == 0);
    MUST(challenge && strlen(challenge) == 43);
    MUST(sim_words_have(asked->scope, "openid"));
    MUST(sim_words_within(asked->scope, "openid seal.da profile"));
    MUST(asked->max_age_s >= -1 && asked->max_age_s <= 999999999);
    MUST(strlen(asked->nonce) <= SIM_NONCE_MAX);
    MUST(!*asked->resource || strcmp(asked->resource, resources[0]) == 0);
}

static size_t count_of(const char *text, char c)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == c;
    return count;
}

/* As many tags with foreign text as without: none was made of it. */
static void check_page(const host_params *params, const sim_auth_request *asked)
{
    const char *hint = sim_param(params, "login_hint");
    const sim_form plain = {"/login", "q", "1", "m"},
                   form = {"/login", asked->redirect_uri, "1", asked->client_id};
    char *expected = sim_page_login(&plain, "App", "x", NULL);
    char *page = sim_page_login(&form, asked->client_id, hint ? hint : "x", NULL);
    MUST(expected && page);
    MUST(count_of(expected, '<') == count_of(page, '<'));
    MUST(count_of(expected, '>') == count_of(page, '>'));
    MUST(count_of(expected, '"') == count_of(page, '"'));
    free(expected);
    free(page);
    char csp[SIM_CSP_MAX];
    sim_page_csp("'x'", asked->redirect_uri, csp);
    MUST(count_of(csp, ';') == 4 && count_of(csp, ',') == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sim_auth_request asked;
    static host_params params;
    sim_error error = {0};
    if (size > SIM_QUERY_BYTES_MAX)
        return 0;
    char *room = malloc(size + 1);
    MUST(room);
    host_params_parse(rpc_bytes_of(data, size), room, &params);
    if (sim_auth_request_target(&params, &asked, &error)) {
        if (strlen(asked.redirect_uri) <= SIM_REDIRECT_MAX)
            check_page(&params, &asked);
        if (sim_auth_request_read(&params, &client, resources, &asked, &error))
            check_request(&params, &asked);
    }
    MUST(!error.error == !error.description);
    free(room);
    return 0;
}
