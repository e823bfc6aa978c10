/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "cleanup.h"
#include "login.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TOKEN_FILE_BYTES_MAX 65536
#define ENV_FILE_BYTES_MAX   (1u << 20)

enum {
    OPTION_SERVER = 256,
    OPTION_CA,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_SERVER_NAME,
    OPTION_TOKEN,
    OPTION_TOKEN_FILE,
    OPTION_AS,
    OPTION_ENV,
    OPTION_KEYS,
    OPTION_ISSUER,
    OPTION_TRUST,
    OPTION_SKMS,
    OPTION_OFFLINE,
    OPTION_VERIFY,
    OPTION_JSON,
};

static const struct argp_option connection_options[] = {
    {NULL, 0, NULL, 0, "Who and where:", 10},
    {"as", OPTION_AS, "USER", 0, "the user: a GPSI, or local@domain", 10},
    {"server", OPTION_SERVER, "URL", 0, "tls+tcp://host:port (DACM_SERVER)", 10},
    {"ca", OPTION_CA, "FILE", 0, "who may sign the server's certificate (DACM_CA)", 10},
    {"server-name", OPTION_SERVER_NAME, "NAME", 0, "name in its certificate, if not the host", 10},
    {"cert", OPTION_CERT, "FILE", 0, "client certificate", 10},
    {"key", OPTION_KEY, "FILE", 0, "key of the client certificate", 10},
    {"token-file", OPTION_TOKEN_FILE, "FILE", 0, "access token (DACM_TOKEN_FILE)", 10},
    {"token", OPTION_TOKEN, "TOKEN", 0,
        "access token; visible to other processes, prefer --token-file", 10},
    {"keys", OPTION_KEYS, "FILE", 0, "public manifest keys of the DACM (JWKS)", 10},
    {"issuer", OPTION_ISSUER, "URI", 0, "resource URI of the DACM that the keys belong to", 10},
    {"trust", OPTION_TRUST, "DIR", OPTION_ARG_OPTIONAL,
        "instead of --keys: the DACM's newest key set under a pinned root (dacm trust); DIR as its "
        "--dir",
        10},
    {"skms", OPTION_SKMS, "URL", 0,
        "with --trust: where the SKM-S answers (tls+tcp://host:port), if not as pinned", 10},
    {"offline", OPTION_OFFLINE, NULL, 0,
        "with --trust: ask no SKM-S, go by the key sets that were seen", 10},
    {"verify", OPTION_VERIFY, "WHEN", 0, "always (default), or if-key", 10},
    {"env", OPTION_ENV, "FILE", 0,
        "env.json of `dacm dev`, or its folder (DACM_ENV): fills in the rest and mints tokens; "
        "development only",
        10},
    {"json", OPTION_JSON, NULL, 0, "one JSON object per line", 10},
    {0},
};

static error_t parse_connection(int key, char *argument, struct argp_state *state)
{
    cli_context *cli = state->input;
    switch (key) {
    case OPTION_SERVER:
        cli->server = argument;
        return 0;
    case OPTION_CA:
        cli->ca_file = argument;
        return 0;
    case OPTION_CERT:
        cli->certificate_file = argument;
        return 0;
    case OPTION_KEY:
        cli->key_file = argument;
        return 0;
    case OPTION_SERVER_NAME:
        cli->server_name = argument;
        return 0;
    case OPTION_TOKEN:
        cli->token = argument;
        return 0;
    case OPTION_TOKEN_FILE:
        cli->token_file = argument;
        return 0;
    case OPTION_AS:
        cli->as = argument;
        return 0;
    case OPTION_ENV:
        cli->env_file = argument;
        return 0;
    case OPTION_KEYS:
        cli->keys_file = argument;
        return 0;
    case OPTION_ISSUER:
        cli->issuer = argument;
        return 0;
    case OPTION_TRUST:
        cli->pinned = true;
        cli->trust_folder = argument;
        return 0;
    case OPTION_SKMS:
        cli->skms = argument;
        return 0;
    case OPTION_OFFLINE:
        cli->offline = true;
        return 0;
    case OPTION_VERIFY:
        if (strcmp(argument, "always") != 0 && strcmp(argument, "if-key") != 0)
            argp_error(state, "--verify takes always or if-key, not '%s'", argument);
        cli->verify_if_key = strcmp(argument, "if-key") == 0;
        return 0;
    case OPTION_JSON:
        cli->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_connection_argp = {.options = connection_options, .parser = parse_connection};

static const struct argp_option json_options[] = {
    {"json", OPTION_JSON, NULL, 0, "one JSON object per line", 10},
    {0},
};
const struct argp cli_json_argp = {.options = json_options, .parser = parse_connection};

/* ---- wrong arguments ------------------------------------------------------------------------ */

/* argp and getopt write to standard error and end the program. With --json what they wrote is
 * caught and becomes the object that every failure is. */
static struct {
    bool wanted;
    int caught, saved; /* descriptors; saved < 0: nothing is being caught */
} usage = {.caught = -1, .saved = -1};

void cli_parse_tells_json(void)
{
    usage.wanted = true;
}

static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

/** "dacm put: which file?" and what follows: the sentence alone. */
static void tell_usage(char *text)
{
    text[strcspn(text, "\n")] = 0;
    char *command_end = strstr(text, ": ");
    if (!command_end)
        return;
    *command_end = 0;
    const cli_context json = {.json = true};
    cli_fail_text(&json, DACM_INVALID_ARGUMENT, "%s (%s --help explains)", command_end + 2, text);
}

static void end_catching(void)
{
    if (usage.saved < 0)
        return;
    char text[1024];
    fflush(stderr);
    dup2(usage.saved, STDERR_FILENO);
    close(usage.saved);
    usage.saved = -1;
    const ssize_t size = pread(usage.caught, text, sizeof text - 1, 0);
    close(usage.caught);
    if (size <= 0)
        return;
    text[size] = 0;
    tell_usage(text);
}

static void begin_catching(int argc, char **argv)
{
    static bool registered;
    if (!usage.wanted && !asks_for_json(argc, argv))
        return;
    if (!registered && atexit(end_catching) != 0)
        return;
    registered = true;
    usage.caught = memfd_create("usage", MFD_CLOEXEC);
    usage.saved = usage.caught < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (usage.saved >= 0)
        dup2(usage.caught, STDERR_FILENO);
    else if (usage.caught >= 0)
        close(usage.caught);
}

int cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
    char *program = strdup(name);
    char *saved = argv[0];
    argv[0] = program ? program : saved;
    argp_err_exit_status = CLI_EXIT_USAGE;
    begin_catching(argc, argv);
    const error_t failed = argp_parse(argp, argc, argv, 0, NULL, input);
    end_catching();
    argv[0] = saved;
    free(program);
    return failed ? CLI_EXIT_USAGE : -1;
}

uint64_t cli_number(struct argp_state *state, const char *text)
{
    char *end = NULL;
    errno = 0;
    const uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno != 0)
        argp_error(state, "'%s' is not a number", text);
    return value;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

void cli_init(cli_context *cli)
{
    cli->server = variable("DACM_SERVER");
    cli->ca_file = variable("DACM_CA");
    cli->token_file = variable("DACM_TOKEN_FILE");
    cli->env_file = variable("DACM_ENV");
}

void cli_done(cli_context *cli)
{
    json_decref(cli->env.json);
    cli->env.json = NULL;
    free(cli->login_user);
    free(cli->login_certificate);
    free(cli->login_key);
    cli->login_user = cli->login_certificate = cli->login_key = NULL;
}

/* ---- env.json --------------------------------------------------------------------------- */

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

void cli_set_env(cli_env *env, json_t *json)
{
    const json_t *dacm = json_object_get(json, "dacm");
    *env = (cli_env){
        .json = json,
        .ca_file = text_in(json, "ca_file"),
        .grpc = text_in(dacm, "grpc"),
        .admin = text_in(dacm, "admin"),
        .resource = text_in(dacm, "resource"),
        .issuer = text_in(json, "issuer"),
        .token_key_file = text_in(json, "token_key_file"),
        .keys_file = text_in(json, "keys_file"),
        .sims_admin = text_in(json_object_get(json, "sims"), "admin"),
        .skms_admin = text_in(json_object_get(json, "skms"), "admin"),
        .skms_grpc = text_in(json_object_get(json, "skms"), "grpc"),
        .trust_folder = text_in(json, "trust_dir"),
    };
}

static dacm_code fail_env(dacm_error *error, const char *path, const char *why)
{
    *error = (dacm_error){.code = DACM_LOCAL_FILE};
    snprintf(error->message, sizeof error->message,
        "cannot use the environment '%.200s' (--env, DACM_ENV): %.100s; is `dacm dev` running?",
        path, why);
    return error->code;
}

dacm_code cli_load_env(cli_context *cli, dacm_error *reterr)
{
    if (!cli->env_file || cli->env.json)
        return DACM_OK;
    struct stat found;
    RPC_AUTOFREE char *inside = NULL;
    const char *path = cli->env_file;
    if (stat(path, &found) != 0)
        return fail_env(reterr, path, strerror(errno));
    if (S_ISDIR(found.st_mode)) {
        if (asprintf(&inside, "%s/env.json", path) < 0)
            return fail_env(reterr, path, "no memory");
        path = inside;
    } else if (found.st_size > (off_t)ENV_FILE_BYTES_MAX) {
        return fail_env(reterr, path, "it is too large");
    }
    json_error_t why;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        return fail_env(reterr, path, why.text);
    cli_set_env(&cli->env, json);
    if (!cli->env.grpc || !cli->env.resource || !cli->env.ca_file)
        return fail_env(reterr, path, "it does not name a server");
    return DACM_OK;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static dacm_code read_token(const cli_context *cli, char **ret, dacm_error *reterr)
{
    if (cli->token) {
        *ret = strdup(cli->token);
        return *ret ? DACM_OK : DACM_RESOURCE_EXHAUSTED;
    }
    char text[TOKEN_FILE_BYTES_MAX];
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(cli->token_file, "re");
    const size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (!file || ferror(file)) {
        *reterr = (dacm_error){.code = DACM_LOCAL_FILE};
        snprintf(reterr->message, sizeof reterr->message, "cannot read the token in '%.200s': %s",
            cli->token_file, strerror(errno));
        return reterr->code;
    }
    text[size] = 0;
    text[strcspn(text, "\r\n")] = 0;
    *ret = strdup(text);
    explicit_bzero(text, sizeof text);
    return *ret ? DACM_OK : DACM_RESOURCE_EXHAUSTED;
}

char *cli_gpsi_of(const char *user)
{
    char *gpsi = NULL;
    if (strncmp(user, "extid-", 6) == 0 || strncmp(user, "msisdn-", 7) == 0 || !strchr(user, '@'))
        return strdup(user);
    return asprintf(&gpsi, "extid-%s", user) < 0 ? NULL : gpsi;
}

static dacm_code mint_for(
    cli_context *cli, const dacm_token_request *request, char **ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *gpsi = cli_gpsi_of(request->user);
    if (!gpsi)
        return DACM_RESOURCE_EXHAUSTED;
    if (!cli->warned)
        fprintf(stderr, "dacm: minting a token for %s with the development key of '%s'\n",
            request->user, cli->env_file);
    cli->warned = true;
    const char *const gpsis[] = {gpsi};
    const cli_claims claims = {
        .issuer = cli->env.issuer,
        .audience = cli->env.resource,
        .subject = gpsi,
        .client_id = "dacm",
        .scope = "seal.da",
        .gpsis = gpsis,
        .gpsi_count = 1,
        .asset_id = request->asset_id,
        .actions = &request->action,
        .action_count = 1,
        .profile = request->asset_id ? gpsi : NULL,
    };
    return cli_mint(&claims, cli->env.token_key_file, ret, reterr);
}

/** Whoever says who they are is believed where the development key is at hand. */
static bool mints(const cli_context *cli)
{
    return (cli->as || cli->prepares) && cli->env.issuer && cli->env.token_key_file;
}

static dacm_code give_token(
    void *ctx, const dacm_token_request *request, char **ret, dacm_error *reterr)
{
    cli_context *cli = ctx;
    if (cli->token || cli->token_file)
        return read_token(cli, ret, reterr);
    if (mints(cli))
        return mint_for(cli, request, ret, reterr);
    return login_token(request, ret, reterr);
}

/* ---- the client --------------------------------------------------------------------------------
 */

char *cli_state_folder(void)
{
    const char *state = variable("XDG_STATE_HOME"), *home = variable("HOME");
    char *path = NULL;
    if (!state && !home)
        return NULL;
    if (asprintf(&path, "%s%s/dacm", state ? state : home, state ? "" : "/.local/state") < 0)
        return NULL;
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            free(path);
            return NULL;
        }
        *at = '/';
    }
    return path;
}

int cli_connect(cli_context *cli, bool admin, dacm_client **ret)
{
    dacm_error error;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const cli_env *env = &cli->env;
    const char *server = cli->server ? cli->server : admin ? env->admin : env->grpc;
    if (!server)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "no server was named; give --server %s, or --env for development",
            admin ? "ipc:///run/dacmd/admin.sock" : "tls+tcp://host:7443");
    RPC_AUTOFREE char *state = admin ? NULL : cli_state_folder();
    cli->forgetful = !state;
    const bool by_login = !admin && !cli->token && !cli->token_file && !mints(cli);
    if (by_login && !cli->certificate_file && /* the login's tokens may be bound to one */
        login_certificate(&cli->login_certificate, &cli->login_key)) {
        cli->certificate_file = cli->login_certificate;
        cli->key_file = cli->login_key;
    }
    RPC_AUTOFREE char *trust = NULL;
    const int code = cli_trust_chosen(cli, &trust);
    if (code != CLI_EXIT_OK)
        return code;
    const char *keys = cli->keys_file ? cli->keys_file : trust ? NULL : env->keys_file;
    dacm_client_options options = {
        .target = server,
        .ca_file = cli->ca_file ? cli->ca_file : env->ca_file,
        .certificate_file = cli->certificate_file,
        .key_file = cli->key_file,
        .server_name = cli->server_name,
        .token_fn = admin ? NULL : give_token,
        .token_ctx = cli,
        .keys_file = admin ? NULL : keys,
        .trust_dir = admin ? NULL : trust,
        .keys_offline = cli->offline,
        .keys_address = cli->skms,
        .issuer = cli->issuer ? cli->issuer : env->resource,
        .state_dir = state,
        .verify = cli->verify_if_key ? DACM_VERIFY_IF_KEY : DACM_VERIFY_ALWAYS,
    };
    if (dacm_client_new(&options, ret, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return CLI_EXIT_OK;
}

int cli_user(cli_context *cli, const char **ret)
{
    if (!cli->as && !cli->login_user)
        cli->login_user = login_user();
    *ret = cli->as ? cli->as : cli->login_user;
    if (*ret)
        return CLI_EXIT_OK;
    return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
        "who are you? Log in with dacm login, or give --as with a GPSI, such as --as "
        "msisdn-4915112345678");
}
