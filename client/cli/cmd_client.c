/* SPDX-License-Identifier: Apache-2.0 */
/* dacm client …: what asks the SIM-S for tokens. */
#include "sims.h"
#include "cleanup.h"

#include "sim/v1/admin.pb-c.h"

#include <string.h>

#define JWKS_BYTES_MAX 16384u

enum {
    OPTION_NAME = 512,
    OPTION_AUTH,
    OPTION_REDIRECT,
    OPTION_JWKS,
    OPTION_SAN,
    OPTION_GRANT,
    OPTION_SCOPE,
    OPTION_USER,
    OPTION_KEY_SERVICE,
    OPTION_ALG,
    OPTION_BOUND,
    OPTION_UNBOUND,
    OPTION_CONSENT,
};

typedef struct word {
    const char *text;
    int value;
} word;

static const word auths[] = {
    {"none", SIM__V1__CLIENT_AUTH__CLIENT_AUTH_NONE},
    {"private_key_jwt", SIM__V1__CLIENT_AUTH__CLIENT_AUTH_PRIVATE_KEY_JWT},
    {"tls_client_auth", SIM__V1__CLIENT_AUTH__CLIENT_AUTH_TLS_CLIENT_AUTH},
    {"client_secret_basic", SIM__V1__CLIENT_AUTH__CLIENT_AUTH_CLIENT_SECRET_BASIC},
    {0},
};
static const word grants[] = {
    {"authorization_code", SIM__V1__GRANT_TYPE__GRANT_TYPE_AUTHORIZATION_CODE},
    {"refresh_token", SIM__V1__GRANT_TYPE__GRANT_TYPE_REFRESH_TOKEN},
    {"client_credentials", SIM__V1__GRANT_TYPE__GRANT_TYPE_CLIENT_CREDENTIALS},
    {0},
};
static const word consents[] = {
    {"once", SIM__V1__CONSENT_RULE__CONSENT_RULE_ONCE},
    {"always", SIM__V1__CONSENT_RULE__CONSENT_RULE_ALWAYS},
    {"never", SIM__V1__CONSENT_RULE__CONSENT_RULE_NEVER},
    {0},
};

typedef struct client_arguments {
    operator_calls s;
    bool takes_nobody;
    char *client_id, *name, *jwks_file, *tls_san, *token_alg;
    const word *auth, *consent;
    sims_list redirects, scopes, users, key_services;
    Sim__V1__GrantType grant_types[4];
    size_t grant_count;
    bool bound, unbound;
} client_arguments;

static const word *word_of(
    const word *words, const char *text, const char *option, struct argp_state *state)
{
    char all[128] = "";
    for (const word *at = words; at->text; at++) {
        if (strcmp(at->text, text) == 0)
            return at;
        snprintf(
            all + strlen(all), sizeof all - strlen(all), "%s%s", at == words ? "" : ", ", at->text);
    }
    argp_error(state, "--%s takes one of %s, not '%s'", option, all, text);
    return words;
}

static const char *text_of(const word *words, int value)
{
    for (; words->text; words++)
        if (words->value == value)
            return words->text;
    return "unknown";
}

static error_t parse_member(
    int key, char *argument, client_arguments *client, struct argp_state *state)
{
    switch (key) {
    case OPTION_NAME:
        client->name = argument;
        return 0;
    case OPTION_AUTH:
        client->auth = word_of(auths, argument, "auth", state);
        return 0;
    case OPTION_JWKS:
        client->jwks_file = argument;
        return 0;
    case OPTION_SAN:
        client->tls_san = argument;
        return 0;
    case OPTION_ALG:
        client->token_alg = argument;
        return 0;
    case OPTION_CONSENT:
        client->consent = word_of(consents, argument, "consent", state);
        return 0;
    case OPTION_REDIRECT:
        sims_add(&client->redirects, argument, state);
        return 0;
    case OPTION_SCOPE:
        sims_add(&client->scopes, argument, state);
        return 0;
    case OPTION_USER:
        sims_add(&client->users, argument, state);
        return 0;
    case OPTION_KEY_SERVICE:
        sims_add(&client->key_services, argument, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    client_arguments *client = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &client->s;
        return 0;
    case OPTION_GRANT:
        if (client->grant_count == 3)
            argp_error(state, "there are three grant types");
        client->grant_types[client->grant_count++] =
            (Sim__V1__GrantType)word_of(grants, argument, "grant", state)->value;
        return 0;
    case OPTION_BOUND:
        client->bound = true;
        return 0;
    case OPTION_UNBOUND:
        client->unbound = true;
        return 0;
    case ARGP_KEY_ARG:
        if (client->client_id || client->takes_nobody)
            argp_error(state, "what is '%s'?", argument);
        client->client_id = argument;
        return 0;
    case ARGP_KEY_END:
        if (!client->client_id && !client->takes_nobody)
            argp_error(state, "which client?");
        return 0;
    default:
        return parse_member(key, argument, client, state);
    }
}

static const struct argp_child children[] = {{&operator_sims.argp, 0, NULL, 10}, {0}};
static const struct argp_option members[] = {
    {"name", OPTION_NAME, "TEXT", 0, "what the consent page calls it", 1},
    {"auth", OPTION_AUTH, "HOW", 0,
        "none (public, the default), private_key_jwt, tls_client_auth or client_secret_basic", 1},
    {"redirect-uri", OPTION_REDIRECT, "URI", 0,
        "where browsers may be sent back; may be repeated; http://127.0.0.1/… is every port there",
        1},
    {"jwks-file", OPTION_JWKS, "FILE", 0, "its public keys, for private_key_jwt", 1},
    {"tls-san", OPTION_SAN, "NAME", 0, "DNS or URI name of its certificate, for tls_client_auth",
        1},
    {"grant", OPTION_GRANT, "TYPE", 0,
        "authorization_code, refresh_token, client_credentials; may be repeated; default: the "
        "first "
        "two with a redirect URI, else the third",
        1},
    {"scope", OPTION_SCOPE, "SCOPE", 0,
        "may be asked for; may be repeated; default: openid seal.da", 1},
    {"user", OPTION_USER, "GPSI", 0,
        "may be acted for by client_credentials; extid-*@domain for a whole domain; may be "
        "repeated",
        1},
    {"key-service", OPTION_KEY_SERVICE, "ID", 0,
        "VAL service whose keys it may bring to the SKM-S (SKeyProv, with scope seal.kp); may be "
        "repeated",
        1},
    {"token-alg", OPTION_ALG, "ALG", 0, "EdDSA (default) or RS256", 1},
    {"bound", OPTION_BOUND, NULL, 0, "tokens only for its certificate (RFC 8705)", 1},
    {"unbound", OPTION_UNBOUND, NULL, 0, "takes that back", 1},
    {"consent", OPTION_CONSENT, "RULE", 0,
        "users are asked once (default), always, or never (for your own)", 1},
    {0},
};

/* ---- output ------------------------------------------------------------------------------------
 */

static json_t *grants_json(const Sim__V1__Client *client)
{
    json_t *array = json_array();
    for (size_t i = 0; i < client->n_grant_types; i++)
        json_array_append_new(array, json_string(text_of(grants, (int)client->grant_types[i])));
    return array;
}

static json_t *client_json(const Sim__V1__Client *client)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:s, s:b, s:I}",
        "client_id", client->client_id, "name", client->name, "auth",
        text_of(auths, (int)client->auth), "redirect_uris",
        operator_strings_json(client->redirect_uris, client->n_redirect_uris), "jwks", client->jwks,
        "tls_san", client->tls_san, "grant_types", grants_json(client), "scopes",
        operator_strings_json(client->scopes, client->n_scopes), "users",
        operator_strings_json(client->users, client->n_users), "key_services",
        operator_strings_json(client->key_services, client->n_key_services), "token_alg",
        client->token_alg, "bound", client->bound, "consent",
        text_of(consents, (int)client->consent), "disabled", client->disabled, "created_at",
        (json_int_t)client->created_at);
}

static void print_client(const cli_context *cli, const Sim__V1__Client *client, const char *secret)
{
    if (cli->json) {
        json_t *object = client_json(client);
        if (secret[0])
            json_object_set_new(object, "client_secret", json_string(secret));
        cli_print_json(object);
        return;
    }
    operator_print_line("client", client->client_id);
    operator_print_line("name", client->name);
    operator_print_word("auth", text_of(auths, (int)client->auth));
    operator_print_line("san", client->tls_san);
    operator_print_list("redirect", client->redirect_uris, client->n_redirect_uris);
    for (size_t i = 0; i < client->n_grant_types; i++)
        operator_print_word(i == 0 ? "grant" : "", text_of(grants, (int)client->grant_types[i]));
    operator_print_list("scope", client->scopes, client->n_scopes);
    operator_print_list("user", client->users, client->n_users);
    operator_print_list("keys of", client->key_services, client->n_key_services);
    operator_print_line("tokens", client->token_alg);
    operator_print_word("", client->bound ? "bound to its certificate" : "");
    operator_print_word("consent", text_of(consents, (int)client->consent));
    operator_print_word("state", client->disabled ? "disabled" : "");
    if (secret[0])
        printf("secret    %s\n          (it is not told again)\n", secret);
}

/* ---- add and set
 * --------------------------------------------------------------------------------- */

/* What the options say replaces what was there. */
static int apply(client_arguments *arguments, Sim__V1__Client *client)
{
    if (arguments->name)
        client->name = arguments->name;
    if (arguments->auth)
        client->auth = (Sim__V1__ClientAuth)arguments->auth->value;
    if (arguments->tls_san)
        client->tls_san = arguments->tls_san;
    if (arguments->token_alg)
        client->token_alg = arguments->token_alg;
    if (arguments->consent)
        client->consent = (Sim__V1__ConsentRule)arguments->consent->value;
    client->bound = (client->bound || arguments->bound) && !arguments->unbound;
    struct {
        const sims_list *from;
        char ***texts;
        size_t *count;
    } lists[] = {{&arguments->redirects, &client->redirect_uris, &client->n_redirect_uris},
        {&arguments->scopes, &client->scopes, &client->n_scopes},
        {&arguments->users, &client->users, &client->n_users},
        {&arguments->key_services, &client->key_services, &client->n_key_services}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i].from->count) {
            *lists[i].texts = (char **)(uintptr_t)lists[i].from->texts;
            *lists[i].count = lists[i].from->count;
        }
    if (arguments->grant_count) {
        client->grant_types = arguments->grant_types;
        client->n_grant_types = arguments->grant_count;
    }
    return arguments->jwks_file ? cli_read_file(arguments->s.cli, arguments->jwks_file,
                                      JWKS_BYTES_MAX, &client->jwks)
                                : CLI_EXIT_OK;
}

static void default_grants(client_arguments *arguments)
{
    if (arguments->grant_count)
        return;
    if (!arguments->redirects.count) {
        arguments->grant_types[arguments->grant_count++] =
            SIM__V1__GRANT_TYPE__GRANT_TYPE_CLIENT_CREDENTIALS;
        return;
    }
    arguments->grant_types[arguments->grant_count++] =
        SIM__V1__GRANT_TYPE__GRANT_TYPE_AUTHORIZATION_CODE;
    arguments->grant_types[arguments->grant_count++] =
        SIM__V1__GRANT_TYPE__GRANT_TYPE_REFRESH_TOKEN;
}

int cli_client_add(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {members, parse, "CLIENT-ID",
        "Registers a client.\vFor example an app on users' devices: dacm client add viewer "
        "--redirect-uri http://127.0.0.1/callback. A secret (client_secret_basic) is shown once.",
        children, NULL, NULL};
    static char openid[] = "openid", seal[] = "seal.da";
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client add", argc, argv, &arguments);
    if (code >= 0)
        return code;
    default_grants(&arguments);
    if (!arguments.scopes.count)
        arguments.scopes = (sims_list){.count = 2, .texts = {openid, seal}};
    Sim__V1__Client client = SIM__V1__CLIENT__INIT;
    Sim__V1__CreateClientRequest request = SIM__V1__CREATE_CLIENT_REQUEST__INIT;
    Sim__V1__CreateClientResponse *reply = NULL;
    client.client_id = arguments.client_id;
    request.client = &client;
    const char *no_jwks = client.jwks;
    code = apply(&arguments, &client);
    if (code == CLI_EXIT_OK)
        code = operator_call(&arguments.s, "CreateClient", &request.base,
            &sim__v1__create_client_response__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_client(cli, reply->client, reply->client_secret);
    if (client.jwks != no_jwks)
        free(client.jwks);
    operator_done(&arguments.s);
    return code;
}

static int get(client_arguments *arguments, Sim__V1__Client **ret)
{
    Sim__V1__GetClientRequest request = SIM__V1__GET_CLIENT_REQUEST__INIT;
    request.client_id = arguments->client_id;
    return operator_call(
        &arguments->s, "GetClient", &request.base, &sim__v1__client__descriptor, ret);
}

static int update(client_arguments *arguments, Sim__V1__Client *client)
{
    Sim__V1__UpdateClientRequest request = SIM__V1__UPDATE_CLIENT_REQUEST__INIT;
    Sim__V1__Client *reply = NULL;
    request.client = client;
    int code = operator_call(
        &arguments->s, "UpdateClient", &request.base, &sim__v1__client__descriptor, &reply);
    if (code == CLI_EXIT_OK)
        print_client(arguments->s.cli, reply, "");
    return code;
}

int cli_client_set(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {members, parse, "CLIENT-ID",
        "Changes a client: what is given replaces what was there, lists as a whole.", children,
        NULL, NULL};
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client set", argc, argv, &arguments);
    if (code >= 0)
        return code;
    Sim__V1__Client *client = NULL;
    code = get(&arguments, &client);
    const char *jwks = client ? client->jwks : NULL;
    if (code == CLI_EXIT_OK)
        code = apply(&arguments, client);
    if (code == CLI_EXIT_OK)
        code = update(&arguments, client);
    if (client && client->jwks != jwks)
        free(client->jwks);
    operator_done(&arguments.s);
    return code;
}

/* ---- the others
 * ---------------------------------------------------------------------------------- */

int cli_client_show(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse, "CLIENT-ID", "How a client is registered.", children, NULL, NULL};
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client show", argc, argv, &arguments);
    if (code >= 0)
        return code;
    Sim__V1__Client *client = NULL;
    code = get(&arguments, &client);
    if (code == CLI_EXIT_OK)
        print_client(cli, client, "");
    operator_done(&arguments.s);
    return code;
}

static void list_client(const cli_context *cli, const Sim__V1__Client *client)
{
    if (cli->json) {
        print_client(cli, client, "");
        return;
    }
    rpc_text_printable(client->client_id);
    rpc_text_printable(client->name);
    printf("%-24s %-20s %s\n", client->client_id, text_of(auths, (int)client->auth),
        client->disabled ? "disabled" : client->name);
}

int cli_client_ls(cli_context *cli, int argc, char **argv)
{
    enum { PAGE = 100 };
    static const struct argp argp = {NULL, parse, NULL, "Lists clients.", children, NULL, NULL};
    client_arguments arguments = {
        .s = {.cli = cli, .server = &operator_sims}, .takes_nobody = true};
    char after[256] = "";
    int code = cli_parse(&argp, "dacm client ls", argc, argv, &arguments);
    if (code >= 0)
        return code;
    Sim__V1__ListClientsRequest request = SIM__V1__LIST_CLIENTS_REQUEST__INIT;
    request.after = after;
    request.page_size = PAGE;
    for (bool more = true; more;) {
        Sim__V1__ListClientsResponse *reply = NULL;
        code = operator_call(&arguments.s, "ListClients", &request.base,
            &sim__v1__list_clients_response__descriptor, &reply);
        if (code != CLI_EXIT_OK)
            break;
        for (size_t i = 0; i < reply->n_clients; i++)
            list_client(cli, reply->clients[i]);
        more = reply->more && reply->n_clients &&
               rpc_text_copy(after, sizeof after, reply->clients[reply->n_clients - 1]->client_id);
        rpc_arena_reset(arguments.s.arena);
    }
    operator_done(&arguments.s);
    return code;
}

static int set_disabled(client_arguments *arguments, bool disabled)
{
    Sim__V1__Client *client = NULL;
    int code = get(arguments, &client);
    if (code == CLI_EXIT_OK) {
        client->disabled = disabled;
        code = update(arguments, client);
    }
    operator_done(&arguments->s);
    return code;
}

int cli_client_disable(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "CLIENT-ID",
        "The client gets no tokens until enabled again; what it got is revoked.", children, NULL,
        NULL};
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client disable", argc, argv, &arguments);
    return code >= 0 ? code : set_disabled(&arguments, true);
}

int cli_client_enable(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse, "CLIENT-ID", "The client may get tokens again.", children, NULL, NULL};
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client enable", argc, argv, &arguments);
    return code >= 0 ? code : set_disabled(&arguments, false);
}

int cli_client_rm(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "CLIENT-ID",
        "Removes a client for good and revokes what it got; its ID is never given again.", children,
        NULL, NULL};
    client_arguments arguments = {.s = {.cli = cli, .server = &operator_sims}};
    int code = cli_parse(&argp, "dacm client rm", argc, argv, &arguments);
    if (code >= 0)
        return code;
    Sim__V1__DeleteClientRequest request = SIM__V1__DELETE_CLIENT_REQUEST__INIT;
    Sim__V1__DeleteClientResponse *reply = NULL;
    request.client_id = arguments.client_id;
    code = operator_call(&arguments.s, "DeleteClient", &request.base,
        &sim__v1__delete_client_response__descriptor, &reply);
    operator_done(&arguments.s);
    if (code != CLI_EXIT_OK)
        return code;
    if (cli->json)
        cli_print_json(
            json_pack("{s:s, s:s}", "client_id", arguments.client_id, "done", "removed"));
    else
        printf("%s: removed\n", arguments.client_id);
    return CLI_EXIT_OK;
}
