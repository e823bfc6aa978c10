/* SPDX-License-Identifier: Apache-2.0 */
/* token issue: every kind of token of docs/wire.md, for operators and tests. */
#include "cli.h"
#include "cleanup.h"

#include <string.h>

#define GPSIS_MAX   8
#define USERS_MAX   64
#define ACTIONS_MAX 8

static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};

enum {
    OPTION_USER = 512,
    OPTION_SERVER_TOKEN,
    OPTION_USERS,
    OPTION_ASSET,
    OPTION_ACTIONS,
    OPTION_PROFILE,
    OPTION_SCOPE,
    OPTION_SKEYPROV,
    OPTION_LIFETIME,
    OPTION_SIGNING_KEY,
    OPTION_TOKEN_ISSUER,
    OPTION_AUDIENCE,
    OPTION_SUBJECT,
    OPTION_CLIENT
};

static const struct argp_option options[] = {
    {"user", OPTION_USER, "GPSI", 0, "whom the holder is; again for more, at most 8", 1},
    {"gpsi", 0, NULL, OPTION_ALIAS, NULL, 1},
    {"server-token", OPTION_SERVER_TOKEN, "CLIENT-ID", 0, "a VAL server's token (with --users)", 1},
    {"users", OPTION_USERS, "GPSI,...", 0, "whom a VAL server acts for, at most 64", 1},
    {"asset", OPTION_ASSET, "ID", 0, "the asset it is for; none for create and discovery", 1},
    {"actions", OPTION_ACTIONS, "LIST", 0,
        "get (default), update, delete, create, discovery; with commas", 1},
    {"profile", OPTION_PROFILE, "LIST", 0,
        "Digital_profile: users allowed to use the asset, with single blanks; none: nobody is", 1},
    {"scope", OPTION_SCOPE, "SCOPE", 0, "seal.da (default), seal.km or seal.kp", 1},
    {"skeyprov", OPTION_SKEYPROV, "TEXT", 0, "SKeyProv: VAL service IDs, with seal.kp", 1},
    {"lifetime", OPTION_LIFETIME, "SECONDS", 0, "1 to 900; default 300", 1},
    {"signing-key", OPTION_SIGNING_KEY, "FILE", 0, "the issuer's private key set (JWKS)", 1},
    {"token-issuer", OPTION_TOKEN_ISSUER, "URI", 0, "iss", 1},
    {"audience", OPTION_AUDIENCE, "URI", 0, "aud: the server's resource URI", 1},
    {"subject", OPTION_SUBJECT, "SUB", 0, "sub; default: the first user, or the client", 1},
    {"client", OPTION_CLIENT, "ID", 0, "client_id; default: dacm", 1},
    {0},
};

typedef struct token_arguments {
    cli_context *cli;
    cli_claims claims;
    const char *gpsis[GPSIS_MAX], *users[USERS_MAX], *actions[ACTIONS_MAX];
    const char *key_file, *server_client;
} token_arguments;

/** Adds the parts of a list with commas. */
static void add(char *list, const char **items, size_t max, size_t *count, struct argp_state *state)
{
    for (char *save = NULL, *item = strtok_r(list, ",", &save); item;
         item = strtok_r(NULL, ",", &save)) {
        if (*count == max)
            argp_error(state, "at most %zu of them; '%s' is one too many", max, item);
        items[(*count)++] = item;
    }
}

static int64_t lifetime(const char *text, struct argp_state *state)
{
    char *end = NULL;
    const long seconds = strtol(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end || seconds > 900)
        argp_error(state, "--lifetime takes 1 to 900 seconds");
    return seconds;
}

static error_t parse_claims(
    token_arguments *token, int key, char *argument, struct argp_state *state)
{
    cli_claims *claims = &token->claims;
    switch (key) {
    case OPTION_USER:
        add(argument, token->gpsis, GPSIS_MAX, &claims->gpsi_count, state);
        return 0;
    case OPTION_SERVER_TOKEN:
        token->server_client = argument;
        return 0;
    case OPTION_USERS:
        add(argument, token->users, USERS_MAX, &claims->user_count, state);
        return 0;
    case OPTION_ASSET:
        claims->asset_id = argument;
        return 0;
    case OPTION_ACTIONS:
        add(argument, token->actions, ACTIONS_MAX, &claims->action_count, state);
        return 0;
    case OPTION_PROFILE:
        claims->profile = argument;
        return 0;
    case OPTION_SCOPE:
        claims->scope = argument;
        return 0;
    case OPTION_SKEYPROV:
        claims->skeyprov = argument;
        return 0;
    case OPTION_LIFETIME:
        claims->lifetime_s = lifetime(argument, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    token_arguments *token = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = token->cli;
        return 0;
    case OPTION_SIGNING_KEY:
        token->key_file = argument;
        return 0;
    case OPTION_TOKEN_ISSUER:
        token->claims.issuer = argument;
        return 0;
    case OPTION_AUDIENCE:
        token->claims.audience = argument;
        return 0;
    case OPTION_SUBJECT:
        token->claims.subject = argument;
        return 0;
    case OPTION_CLIENT:
        token->claims.client_id = argument;
        return 0;
    default:
        return parse_claims(token, key, argument, state);
    }
}

/** What was not said, from the environment and the other claims. */
static void fill(token_arguments *token)
{
    cli_claims *claims = &token->claims;
    const cli_env *env = &token->cli->env;
    claims->gpsis = token->gpsis;
    claims->users = token->users;
    claims->actions = token->actions;
    if (claims->action_count == 0)
        token->actions[claims->action_count++] = "get";
    if (!claims->issuer)
        claims->issuer = env->issuer;
    if (!claims->audience)
        claims->audience = env->resource;
    if (!claims->scope)
        claims->scope = "seal.da";
    if (token->server_client)
        claims->client_id = claims->subject = token->server_client;
    if (!claims->client_id)
        claims->client_id = "dacm";
    if (!claims->subject)
        claims->subject = claims->gpsi_count > 0 ? token->gpsis[0] : claims->client_id;
    if (!token->key_file)
        token->key_file = env->token_key_file;
}

static bool names_an_asset(const token_arguments *token)
{
    for (size_t i = 0; i < token->claims.action_count; i++)
        if (strcmp(token->actions[i], "create") != 0 && strcmp(token->actions[i], "discovery") != 0)
            return true;
    return false;
}

static int judge(const token_arguments *token)
{
    const cli_claims *claims = &token->claims;
    if (!claims->issuer || !claims->audience || !token->key_file)
        return cli_fail_text(token->cli, DACM_INVALID_ARGUMENT,
            "a token needs --token-issuer, --audience and --signing-key (or --env)");
    if (!claims->asset_id && names_an_asset(token) && strcmp(claims->scope, "seal.da") == 0)
        return cli_fail_text(token->cli, DACM_INVALID_ARGUMENT,
            "which asset? A token to get, update or delete is for one: give --asset");
    if ((claims->gpsi_count > 0) == (claims->user_count > 0))
        return cli_fail_text(token->cli, DACM_INVALID_ARGUMENT,
            "whose token? Give either --user, or --server-token with --users");
    if ((claims->user_count > 0) != (token->server_client != NULL))
        return cli_fail_text(
            token->cli, DACM_INVALID_ARGUMENT, "--users and --server-token belong together");
    return CLI_EXIT_OK;
}

int cli_token_issue(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {options, parse, NULL,
        "Makes an access token with an issuer's private key and prints it.", children, NULL, NULL};
    token_arguments token = {.cli = cli};
    dacm_error error;
    int code = cli_parse(&argp, "dacm token issue", argc, argv, &token);
    if (code >= 0)
        return code;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    fill(&token);
    if ((code = judge(&token)) != CLI_EXIT_OK)
        return code;
    RPC_AUTOFREE char *text = NULL;
    if (cli_mint(&token.claims, token.key_file, &text, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack("{s:s}", "token", text));
    else
        puts(text);
    return CLI_EXIT_OK;
}
