/* SPDX-License-Identifier: Apache-2.0 */
/* login, logout and whoami: OpenID Connect with an authorization code and PKCE in a browser, or
 * client credentials for a VAL server. */
#include "cleanup.h"
#include "cli.h"
#include "login.h"
#include "loopback.h"
#include "pki.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S_DEFAULT 300
#define TIMEOUT_S_MAX     3600
#define SCOPE_DEFAULT     "openid profile seal.da"
#define SCOPE_SERVER      "seal.da"
#define CLIENT_DEFAULT    "dacm"

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

enum {
    OPTION_CLIENT = 512,
    OPTION_SCOPE,
    OPTION_PORT,
    OPTION_NO_BROWSER,
    OPTION_TIMEOUT,
    OPTION_CREDENTIALS,
    OPTION_CLIENT_KEY
};

typedef struct login_arguments {
    cli_context *cli;
    const char *issuer, *client_id, *scope, *client_key;
    unsigned port;
    int timeout_s;
    bool no_browser, credentials;
} login_arguments;

static long number(const char *text, long most, const char *option, struct argp_state *state)
{
    char *end = NULL;
    const long value = strtol(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end || value > most)
        argp_error(state, "%s takes 1 to %ld", option, most);
    return value;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    login_arguments *login = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = login->cli;
        return 0;
    case OPTION_CLIENT:
        login->client_id = argument;
        return 0;
    case OPTION_SCOPE:
        login->scope = argument;
        return 0;
    case OPTION_PORT:
        login->port = (unsigned)number(argument, 65535, "--port", state);
        return 0;
    case OPTION_NO_BROWSER:
        login->no_browser = true;
        return 0;
    case OPTION_TIMEOUT:
        login->timeout_s = (int)number(argument, TIMEOUT_S_MAX, "--timeout", state);
        return 0;
    case OPTION_CREDENTIALS:
        login->credentials = true;
        return 0;
    case OPTION_CLIENT_KEY:
        login->client_key = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (login->issuer)
            argp_error(state, "one issuer at a time");
        login->issuer = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- who logs in where ------------------------------------------------------------------------
 */

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* What the environment says of a client; NULL: nothing. */
static const json_t *client_of(const cli_env *env, const char *client_id)
{
    size_t at;
    const json_t *client;
    json_array_foreach(json_object_get(env->json, "clients"), at,
        client) if (text_in(client, "client_id") &&
                    strcmp(text_in(client, "client_id"), client_id) == 0) return client;
    return NULL;
}

/* A path that is good from everywhere; *made is the caller's to free. */
static const char *absolute(const char *path, char **made)
{
    *made = path ? realpath(path, NULL) : NULL;
    return *made ? *made : path;
}

static void set(json_t *object, const char *name, const char *value)
{
    if (value)
        json_object_set_new(object, name, json_string(value));
}

static void set_file(json_t *object, const char *name, const char *path)
{
    RPC_AUTOFREE char *made = NULL;
    set(object, name, absolute(path, &made));
}

/* All that a login consists of but its tokens. */
static json_t *new_login(const login_arguments *arguments)
{
    const cli_context *cli = arguments->cli;
    const char *client_id = arguments->client_id ? arguments->client_id : CLIENT_DEFAULT;
    const json_t *known = client_of(&cli->env, client_id);
    const char *auth = text_in(known, "auth");
    const bool by_key = auth && strcmp(auth, "private_key_jwt") == 0;
    const bool by_tls = auth && strcmp(auth, "tls_client_auth") == 0;
    json_t *json = json_object();
    const char *issuer = arguments->issuer
                             ? arguments->issuer
                             : text_in(json_object_get(cli->env.json, "sims"), "issuer");
    set(json, "issuer", issuer);
    set(json, "client_id", client_id);
    set(json, "grant", arguments->credentials ? "client_credentials" : "authorization_code");
    set(json, "scope",
        arguments->scope         ? arguments->scope
        : arguments->credentials ? SCOPE_SERVER
                                 : SCOPE_DEFAULT);
    set(json, "resource", cli->issuer);
    set_file(json, "ca_file", cli->ca_file ? cli->ca_file : cli->env.ca_file);
    set_file(json, "certificate_file",
        cli->certificate_file ? cli->certificate_file
        : by_tls              ? text_in(known, "cert_file")
                              : NULL);
    set_file(json, "key_file",
        cli->key_file ? cli->key_file
        : by_tls      ? text_in(known, "key_file")
                      : NULL);
    set_file(json, "client_key_file",
        arguments->client_key ? arguments->client_key
        : by_key              ? text_in(known, "key_file")
                              : NULL);
    return json;
}

static dacm_code discover(login_file *login, oidc_provider *ret, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    const char *issuer = login_text(login, "issuer");
    if (!issuer)
        return pki_fail(reterr, DACM_INVALID_ARGUMENT,
            "log in where? Name the issuer, as in dacm login https://sims.example, or give --env");
    const dacm_code code = oidc_discover(&peer, issuer, peer.certificate_file != NULL, ret, reterr);
    if (code != DACM_OK)
        return code;
    set(login->json, "token_endpoint", ret->token_endpoint);
    set(login->json, "revocation_endpoint", ret->revocation_endpoint);
    set(login->json, "userinfo_endpoint", ret->userinfo_endpoint);
    return DACM_OK;
}

/* ---- in a browser -----------------------------------------------------------------------------
 */

typedef struct login_attempt {
    loopback loopback;
    char state[OIDC_RANDOM_CHARS + 1], nonce[OIDC_RANDOM_CHARS + 1],
        verifier[OIDC_RANDOM_CHARS + 1];
} login_attempt;

static char *authorization_url(
    const login_file *login, const oidc_provider *provider, const login_attempt *attempt)
{
    static const char *const actions[] = {"get", "update", "delete", "create", "discovery", NULL};
    char challenge[OIDC_RANDOM_CHARS + 1];
    http_form form = {.text = NULL};
    RPC_AUTOFREE char *details = oidc_details(NULL, actions, NULL);
    oidc_challenge(attempt->verifier, challenge);
    http_form_add(&form, "response_type", "code");
    http_form_add(&form, "client_id", login_text(login, "client_id"));
    http_form_add(&form, "redirect_uri", attempt->loopback.url);
    http_form_add(&form, "scope", login_text(login, "scope"));
    http_form_add(&form, "state", attempt->state);
    http_form_add(&form, "nonce", attempt->nonce);
    http_form_add(&form, "acr_values", "3gpp:acr:password");
    http_form_add(&form, "code_challenge", challenge);
    http_form_add(&form, "code_challenge_method", "S256");
    http_form_add(&form, "authorization_details", details);
    http_form_add(&form, "resource", login_text(login, "resource"));
    char *url = form.failed || !details
                    ? NULL
                    : pki_text("%s%c%s", provider->authorization_endpoint,
                          strchr(provider->authorization_endpoint, '?') ? '&' : '?', form.text);
    http_form_done(&form);
    return url;
}

static void open_browser(const char *url)
{
    if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY"))
        return;
    const pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) { /* not ours to wait for */
            (void)!freopen("/dev/null", "w", stdout);
            (void)!freopen("/dev/null", "w", stderr);
            execlp("xdg-open", "xdg-open", url, (char *)NULL);
        }
        _exit(0);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}

static void show_url(const login_arguments *arguments, const char *url)
{
    if (arguments->cli->json)
        cli_print_json(json_pack("{s:s}", "authorization_url", url));
    else {
        printf("Log in with your browser:\n\n    %s\n\n", url);
        fflush(stdout);
    }
    if (!arguments->no_browser)
        open_browser(url);
}

/* RFC 9207: who answers is who was asked, or the code would go to somebody else. */
static dacm_code judge_answer(
    const oidc_provider *provider, const loopback_answer *answer, dacm_error *reterr)
{
    if (answer->iss ? strcmp(answer->iss, provider->issuer) != 0 : provider->iss_in_response)
        return pki_fail(reterr, DACM_UNAUTHENTICATED,
            "the answer is not from '%.200s' but from '%.100s'; nothing was sent there",
            provider->issuer, answer->iss ? answer->iss : "");
    if (answer->error || !answer->code) {
        pki_fail(reterr,
            answer->error && strcmp(answer->error, "access_denied") == 0 ? DACM_PERMISSION_DENIED
                                                                         : DACM_UNAUTHENTICATED,
            "the login was refused: %.60s%s%.200s", answer->error ? answer->error : "no code",
            answer->error_description ? ": " : "",
            answer->error_description ? answer->error_description : "");
        rpc_text_printable(reterr->message);
        return reterr->code;
    }
    return DACM_OK;
}

static dacm_code exchange(const login_file *login, const oidc_provider *provider,
    const login_attempt *attempt, const char *code_text, json_t **ret, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    http_form form = {.text = NULL};
    http_form_add(&form, "grant_type", "authorization_code");
    http_form_add(&form, "code", code_text);
    http_form_add(&form, "redirect_uri", attempt->loopback.url);
    http_form_add(&form, "code_verifier", attempt->verifier);
    dacm_code code = login_authenticate(login, &form, reterr);
    if (code == DACM_OK)
        code = oidc_token(&peer, provider->token_endpoint, &form, ret, reterr);
    http_form_done(&form);
    return code;
}

/* Who it is, by the ID token. */
static dacm_code take_identity(login_file *login, const oidc_provider *provider,
    const login_attempt *attempt, const json_t *answer, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    const char *id_token = text_in(answer, "id_token");
    RPC_CLEANUP(json_freep) json_t *claims = NULL;
    if (!id_token)
        return pki_fail(reterr, DACM_UNAUTHENTICATED, "the SIM-S gave no ID token");
    const dacm_code code = oidc_verify_id_token(
        &peer, provider, id_token, login_text(login, "client_id"), attempt->nonce, &claims, reterr);
    if (code == DACM_OK)
        set(login->json, "sub", text_in(claims, "sub"));
    return code;
}

static dacm_code browse(const login_arguments *arguments, login_file *login,
    const oidc_provider *provider, login_attempt *attempt, json_t **ret, dacm_error *reterr)
{
    loopback_answer answer = {.code = NULL};
    RPC_AUTOFREE char *url = authorization_url(login, provider, attempt);
    if (!url)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a login");
    show_url(arguments, url);
    dacm_code code = loopback_wait(
        &attempt->loopback, attempt->state, arguments->timeout_s, &answer, reterr);
    if (code == DACM_OK)
        code = judge_answer(provider, &answer, reterr);
    if (code == DACM_OK)
        code = exchange(login, provider, attempt, answer.code, ret, reterr);
    if (code == DACM_OK)
        code = take_identity(login, provider, attempt, *ret, reterr);
    loopback_answer_done(&answer);
    return code;
}

static dacm_code log_in_user(const login_arguments *arguments, login_file *login,
    const oidc_provider *provider, json_t **ret, dacm_error *reterr)
{
    login_attempt attempt = {.loopback = {.fd = -1}};
    oidc_random(attempt.state);
    oidc_random(attempt.nonce);
    oidc_random(attempt.verifier);
    dacm_code code = loopback_open(&attempt.loopback, arguments->port, reterr);
    if (code == DACM_OK)
        code = browse(arguments, login, provider, &attempt, ret, reterr);
    loopback_close(&attempt.loopback);
    explicit_bzero(&attempt, sizeof attempt);
    return code;
}

/* ---- with credentials -------------------------------------------------------------------------
 */

static dacm_code log_in_server(
    login_file *login, const oidc_provider *provider, json_t **ret, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    http_form form = {.text = NULL};
    if (!peer.certificate_file && !login_text(login, "client_key_file"))
        return pki_fail(reterr, DACM_INVALID_ARGUMENT,
            "how does the client prove who it is? Give --client-key, or --cert and --key");
    http_form_add(&form, "grant_type", "client_credentials");
    http_form_add(&form, "scope", login_text(login, "scope"));
    http_form_add(&form, "resource", login_text(login, "resource"));
    dacm_code code = login_authenticate(login, &form, reterr);
    if (code == DACM_OK)
        code = oidc_token(&peer, provider->token_endpoint, &form, ret, reterr);
    http_form_done(&form);
    return code;
}

/* ---- login ------------------------------------------------------------------------------------
 */

/* Takes json. */
static dacm_code keep(json_t *json, const json_t *answer, dacm_error *reterr)
{
    login_file login;
    const dacm_code code = login_open(true, true, &login, reterr);
    if (code != DACM_OK) {
        json_decref(json);
        return code;
    }
    json_decref(login.json); /* of whoever was logged in before */
    login.json = json;
    const dacm_code kept = login_keep(&login, "", answer, reterr);
    login_close(&login);
    return kept;
}

static int tell_login(const cli_context *cli)
{
    login_file login;
    dacm_error error;
    if (login_open(false, false, &login, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const char *sub = login_text(&login, "sub"), *client_id = login_text(&login, "client_id");
    json_t *gpsis = json_object_get(login.json, "gpsis");
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:s, s:s, s:O*}", "issuer", login_text(&login, "issuer"),
            "client_id", client_id, "sub", sub ? sub : client_id, "gpsis", gpsis));
    else if (json_array_size(gpsis) > 0)
        printf("Logged in as %s at %s. Commands need no --as now; `dacm logout` ends it.\n",
            json_string_value(json_array_get(gpsis, 0)), login_text(&login, "issuer"));
    else
        printf("Logged in as %s at %s; `dacm logout` ends it.\n", sub ? sub : client_id,
            login_text(&login, "issuer"));
    login_close(&login);
    return CLI_EXIT_OK;
}

static int run_login(const login_arguments *arguments)
{
    login_file login = {.json = new_login(arguments), .lock = -1};
    oidc_provider provider = {.json = NULL};
    RPC_CLEANUP(json_freep) json_t *answer = NULL;
    dacm_error error;
    dacm_code code = discover(&login, &provider, &error);
    if (code == DACM_OK)
        code = arguments->credentials ? log_in_server(&login, &provider, &answer, &error)
                                      : log_in_user(arguments, &login, &provider, &answer, &error);
    oidc_done(&provider);
    if (code == DACM_OK)
        code = keep(json_incref(login.json), answer, &error);
    login_close(&login);
    return code == DACM_OK ? tell_login(arguments->cli) : cli_fail(arguments->cli, &error);
}

int cli_login(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"client-id", OPTION_CLIENT, "ID", 0, "as registered at the SIM-S; default: dacm", 1},
        {"scope", OPTION_SCOPE, "SCOPE", 0, "default: openid profile seal.da", 1},
        {"port", OPTION_PORT, "N", 0, "where the browser comes back to; default: any", 1},
        {"no-browser", OPTION_NO_BROWSER, NULL, 0, "only print the address", 1},
        {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "how long to wait for the browser; default: 300",
            1},
        {"client-credentials", OPTION_CREDENTIALS, NULL, 0,
            "for a VAL server: no user; with --client-key, or --cert and --key", 2},
        {"client-key", OPTION_CLIENT_KEY, "FILE", 0,
            "private key of the client, a JWK set (private_key_jwt)", 2},
        {0}};
    static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, "[ISSUER]",
        "Logs in at a SIM-S with your browser.\vTokens are kept in ~/.config/dacm (0600) and "
        "renewed when a command needs one. Without a display the address is printed: open it in "
        "any browser on this machine.",
        children, NULL, NULL};
    login_arguments arguments = {.cli = cli, .timeout_s = TIMEOUT_S_DEFAULT};
    dacm_error error;
    const int code = cli_parse(&argp, "dacm login", argc, argv, &arguments);
    if (code >= 0)
        return code;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return run_login(&arguments);
}

/* ---- logout -----------------------------------------------------------------------------------
 */

static dacm_code end_grant(const login_file *login, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    const char *endpoint = login_text(login, "revocation_endpoint");
    const char *refresh = login_text(login, "refresh_token");
    http_form form = {.text = NULL};
    http_reply reply = {.status = 0};
    if (!endpoint || !refresh)
        return DACM_OK; /* what there is expires by itself */
    http_form_add(&form, "token", refresh);
    http_form_add(&form, "token_type_hint", "refresh_token");
    dacm_code code = login_authenticate(login, &form, reterr);
    if (code == DACM_OK)
        code = http_post(&peer, endpoint, form.text, &reply, reterr);
    if (code == DACM_OK && reply.status != 200)
        code = pki_fail(
            reterr, DACM_UNAVAILABLE, "the SIM-S answers with HTTP status %ld", reply.status);
    http_form_done(&form);
    http_done(&reply);
    return code;
}

int cli_logout(cli_context *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {NULL, NULL, NULL,
        "Ends the login: tokens are revoked at the SIM-S and forgotten here.", children, NULL,
        NULL};
    login_file login;
    dacm_error error, removing;
    int code = cli_parse(&argp, "dacm logout", argc, argv, cli);
    if (code >= 0)
        return code;
    if (login_open(true, false, &login, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const dacm_code revoked = end_grant(&login, &error);
    const dacm_code removed = login_remove(&login, &removing);
    login_close(&login);
    if (removed != DACM_OK)
        return cli_fail(cli, &removing);
    if (revoked != DACM_OK)
        return cli_fail_text(cli, revoked,
            "forgotten here, but not ended there, until it expires: %.300s", error.message);
    if (cli->json)
        cli_print_json(json_pack("{s:b}", "logged_out", true));
    else
        puts("Logged out.");
    return CLI_EXIT_OK;
}

/* ---- whoami -----------------------------------------------------------------------------------
 */

static dacm_code ask_userinfo(
    const login_file *login, const char *token, json_t **ret, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    const char *endpoint = login_text(login, "userinfo_endpoint");
    http_reply reply = {.status = 0};
    if (!endpoint || !login_text(login, "sub"))
        return DACM_OK; /* a client has none */
    const dacm_code code = http_get(&peer, endpoint, token, &reply, reterr);
    if (code != DACM_OK)
        return code;
    json_t *json = reply.status == 200
                       ? json_loadb(reply.body, reply.size, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    const char *sub = text_in(json, "sub");
    const long status = reply.status;
    http_done(&reply);
    if (sub && strcmp(sub, login_text(login, "sub")) == 0) {
        *ret = json;
        return DACM_OK;
    }
    json_decref(json);
    if (status == 401 || status == 403)
        return pki_fail(reterr, DACM_UNAUTHENTICATED, "the login has ended: dacm login");
    return pki_fail(
        reterr, DACM_UNAVAILABLE, "the SIM-S does not say who you are (HTTP status %ld)", status);
}

static void print_who(const cli_context *cli, const login_file *login, const json_t *info)
{
    json_t *gpsis = json_object_get(login->json, "gpsis");
    const char *client_id = login_text(login, "client_id"), *sub = login_text(login, "sub");
    const char *name = text_in(info, "name"), *username = text_in(info, "preferred_username");
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:O*}", "issuer",
            login_text(login, "issuer"), "client_id", client_id, "sub", sub ? sub : client_id,
            "name", name, "username", username, "gpsis", gpsis));
        return;
    }
    printf("%s%s%s%s at %s\n",
        username ? username
        : sub    ? sub
                 : client_id,
        name ? " (" : "", name ? name : "", name ? ")" : "", login_text(login, "issuer"));
    for (size_t i = 0; i < json_array_size(gpsis); i++)
        printf("  %s\n", json_string_value(json_array_get(gpsis, i)));
}

int cli_whoami(cli_context *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {
        NULL, NULL, NULL, "Says who is logged in, asking the SIM-S.", children, NULL, NULL};
    login_file login;
    dacm_error error;
    RPC_AUTOFREE char *token = NULL;
    RPC_CLEANUP(json_freep) json_t *info = NULL;
    int code = cli_parse(&argp, "dacm whoami", argc, argv, cli);
    if (code >= 0)
        return code;
    if (login_token(NULL, &token, &error) != DACM_OK ||
        login_open(false, false, &login, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const dacm_code asked = ask_userinfo(&login, token, &info, &error);
    if (asked == DACM_OK)
        print_who(cli, &login, info);
    login_close(&login);
    return asked == DACM_OK ? CLI_EXIT_OK : cli_fail(cli, &error);
}
