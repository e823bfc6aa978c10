/* SPDX-License-Identifier: Apache-2.0 */
/* dacm trust …: which SKM-Ss are believed, and what they have said so far. */
#include "cli.h"
#include "cleanup.h"
#include "http.h"
#include "trust.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT_BYTES_MAX   8192u
#define UPDATE_BYTES_MAX (4u << 20)
#define SERVICES_MAX     64

enum {
    OPTION_DIR = 512,
    OPTION_FINGERPRINT,
    OPTION_ISSUER,
    OPTION_SERVICE,
    OPTION_ADDRESS,
    OPTION_CA,
    OPTION_SERVER_NAME
};

typedef struct trust_arguments {
    cli_context *cli;
    const char *what; /* for the sentence that it is missing; NULL: it takes nothing */
    bool optional;    /* … or need not be there */
    const char *argument, *folder;
    dacm_trust_pin pin;
    dacm_trust_server server;
    const char *services[SERVICES_MAX];
} trust_arguments;

static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
#define DIR_OPTION                                                                                 \
    {                                                                                              \
        "dir", OPTION_DIR, "DIR", 0,                                                               \
            "where roots and key sets are kept (DACM_TRUST); default: ~/.local/state/dacm/trust",  \
            1                                                                                      \
    }
static const struct argp_option dir_options[] = {DIR_OPTION, {0}};
#define SERVER_OPTIONS                                                                             \
    {"ca", OPTION_CA, "FILE", 0, "who may sign the SKM-S's certificate (DACM_CA)", 1},             \
    {                                                                                              \
        "server-name", OPTION_SERVER_NAME, "NAME", 0, "name in it, if not the host", 1             \
    }

static error_t parse(int key, char *argument, struct argp_state *state)
{
    trust_arguments *trust = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = trust->cli;
        trust->server.ca_file = trust->cli->ca_file;
        return 0;
    case OPTION_DIR:
        trust->folder = argument;
        return 0;
    case OPTION_FINGERPRINT:
        trust->pin.fingerprint = argument;
        return 0;
    case OPTION_ISSUER:
        trust->pin.issuer = argument;
        return 0;
    case OPTION_ADDRESS:
        trust->pin.address = argument;
        return 0;
    case OPTION_CA:
        trust->server.ca_file = argument;
        return 0;
    case OPTION_SERVER_NAME:
        trust->server.server_name = argument;
        return 0;
    case OPTION_SERVICE:
        if (trust->pin.service_count == SERVICES_MAX)
            argp_error(state, "at most %d services", SERVICES_MAX);
        trust->services[trust->pin.service_count++] = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (trust->argument || !trust->what)
            argp_error(state, "what is '%s'?", argument);
        trust->argument = argument;
        return 0;
    case ARGP_KEY_END:
        if (trust->what && !trust->optional && !trust->argument)
            argp_error(state, "which %s?", trust->what);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_trust_folder(const cli_context *cli, const char *named, char **ret)
{
    const char *variable = getenv("DACM_TRUST");
    if (!named && variable && variable[0])
        named = variable;
    if (named) {
        *ret = strdup(named);
        return *ret ? CLI_EXIT_OK : cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    }
    RPC_AUTOFREE char *state = cli_state_folder();
    if (!state)
        return cli_fail_text(cli, DACM_LOCAL_FILE,
            "there is no home to keep roots in (HOME, XDG_STATE_HOME); name a folder (DACM_TRUST)");
    if (mkdir(state, 0700) != 0 && errno != EEXIST)
        return cli_fail_text(
            cli, DACM_LOCAL_FILE, "cannot create '%.300s': %s", state, strerror(errno));
    return asprintf(ret, "%s/trust", state) < 0
               ? cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory")
               : CLI_EXIT_OK;
}

void cli_warn_of_keys(const dacm_error *failure)
{
    if (failure->code != DACM_OK)
        fprintf(stderr,
            "dacm: the keys may not be the newest, since the SKM-S was asked in vain: %s\n",
            failure->message);
}

int cli_trust_chosen(const cli_context *cli, char **ret)
{
    if (cli->pinned && cli->keys_file)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "--trust and --keys say two things about which keys are good; give one of them");
    if (cli->pinned)
        return cli_trust_folder(cli, cli->trust_folder, ret);
    return cli->env.trust_folder && !cli->keys_file
               ? cli_trust_folder(cli, cli->env.trust_folder, ret)
               : CLI_EXIT_OK;
}

/* ---- list ------------------------------------------------------------------------------------
 */

static bool is_expired(const dacm_trust_set *set)
{
    return rpc_clock_wall_ms(rpc_clock_system()) / 1000 > set->expires_at + TRUST_SKEW_S;
}

static json_t *root_json(const dacm_trust_root *root)
{
    json_t *services = json_array(), *sets = json_array();
    for (size_t i = 0; i < root->service_count; i++)
        json_array_append_new(services, json_string(root->services[i]));
    for (size_t i = 0; i < root->set_count; i++) {
        const dacm_trust_set *set = &root->sets[i];
        json_array_append_new(sets,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "service", set->service, "purpose",
                dacm_keys_for_name(set->purpose), "version", (json_int_t)set->version, "issued_at",
                (json_int_t)set->issued_at, "expires_at", (json_int_t)set->expires_at, "keys",
                (json_int_t)set->keys, "expired", is_expired(set)));
    }
    return json_pack("{s:s, s:s, s:s*, s:I, s:I, s:o, s:o}", "issuer", root->issuer, "fingerprint",
        root->fingerprint, "address", root->address, "sequence", (json_int_t)root->sequence,
        "pinned_at", (json_int_t)root->pinned_at, "services", services, "sets", sets);
}

static void print_root(const cli_context *cli, const dacm_trust_root *root)
{
    char at[32];
    if (cli->json) {
        cli_print_json(root_json(root));
        return;
    }
    cli_time_text(root->pinned_at, at);
    printf("%s\n", root->issuer);
    if (root->address)
        printf("  at         %s\n", root->address);
    printf("  root       %s, pinned %s", root->fingerprint, at);
    if (root->sequence > 0)
        printf(", replaced up to statement %" PRIu64, root->sequence);
    putchar('\n');
    for (size_t i = 0; i < root->service_count; i++)
        printf("  %-10s %s\n", i == 0 ? "only for" : "", root->services[i]);
    for (size_t i = 0; i < root->set_count; i++) {
        const dacm_trust_set *set = &root->sets[i];
        cli_time_text(set->expires_at, at);
        printf("  %-10s %s: version %" PRIu64 ", keys: %zu, %s %s\n",
            dacm_keys_for_name(set->purpose), set->service, set->version, set->keys,
            is_expired(set) ? "expired" : "good until", at);
    }
}

int cli_trust_list(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {dir_options, parse, NULL,
        "Lists the SKM-Ss whose root is pinned, and of each the newest key sets that were seen.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli};
    RPC_AUTOFREE char *folder = NULL;
    dacm_trust_roots *roots = NULL;
    dacm_error error;
    int code = cli_parse(&argp, "dacm trust list", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK)
        return code;
    const dacm_trust trust = {.folder = folder};
    if (dacm_trust_list(&trust, &roots, &error) != DACM_OK)
        return cli_fail(cli, &error);
    for (size_t i = 0; i < roots->count; i++)
        print_root(cli, &roots->items[i]);
    dacm_trust_roots_free(roots);
    return CLI_EXIT_OK;
}

/* ---- add and remove --------------------------------------------------------------------------
 */

/* What is kept now of the root with that fingerprint. */
static int print_pinned(const cli_context *cli, const dacm_trust *trust, const char *fingerprint)
{
    dacm_trust_roots *roots = NULL;
    dacm_error error;
    if (dacm_trust_list(trust, &roots, &error) != DACM_OK)
        return cli_fail(cli, &error);
    for (size_t i = 0; i < roots->count; i++)
        if (trust_fingerprint_equal(roots->items[i].fingerprint, fingerprint))
            print_root(cli, &roots->items[i]);
    dacm_trust_roots_free(roots);
    return CLI_EXIT_OK;
}

/* ---- where a root comes from ---- */

static bool is_url(const char *text)
{
    return strstr(text, "://") != NULL;
}

static int get_https(const trust_arguments *arguments, char **ret)
{
    const http_peer peer = {.ca_file = arguments->server.ca_file};
    http_reply reply = {0};
    dacm_error error;
    if (http_get(&peer, arguments->argument, NULL, &reply, &error) != DACM_OK)
        return cli_fail(arguments->cli, &error);
    const long status = reply.status;
    RPC_AUTOFREE char *body = reply.body;
    if (status != 200)
        return cli_fail_text(arguments->cli, DACM_UNAVAILABLE,
            "'%.300s' answered with HTTP status %ld", arguments->argument, status);
    *ret = RPC_TAKE(body);
    return CLI_EXIT_OK;
}

/* The root's text; an SKM-S that has told it is where it will be asked for key sets, too. */
static int read_root(trust_arguments *arguments, char **ret)
{
    dacm_error error;
    if (!is_url(arguments->argument))
        return cli_read_file(arguments->cli, arguments->argument, ROOT_BYTES_MAX, ret);
    if (strncmp(arguments->argument, "https://", 8) == 0)
        return get_https(arguments, ret);
    arguments->server.address = arguments->argument;
    if (!arguments->pin.address)
        arguments->pin.address = arguments->argument;
    return dacm_trust_fetch_root(&arguments->server, ret, &error) == DACM_OK
               ? CLI_EXIT_OK
               : cli_fail(arguments->cli, &error);
}

int cli_trust_add(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"fingerprint", OPTION_FINGERPRINT, "FINGERPRINT", 0,
            "what the operator of the SKM-S says that its root has (SHA256:…)", 1},
        {"issuer", OPTION_ISSUER, "URI", 0, "the SKM-S, where FILE does not say it (dacm_issuer)",
            1},
        {"service", OPTION_SERVICE, "URI", 0,
            "it may speak for this DACM or SIM-S only; again for more; default: for each that no "
            "other pinned SKM-S speaks for",
            1},
        {"address", OPTION_ADDRESS, "URL", 0,
            "where the SKM-S answers (tls+tcp://host:port), so that key sets can be fetched; "
            "default: the URL, where one is given",
            1},
        SERVER_OPTIONS, DIR_OPTION, {0}};
    static const struct argp argp = {options, parse, "FILE|URL",
        "Pins the root of an SKM-S: what it signs about keys is believed from now on.\vFILE is "
        "the root's public JWK; URL is where it can be had: the SKM-S itself "
        "(tls+tcp://host:port), "
        "or any https:// address. Its fingerprint has to come another way than the root did: on "
        "paper, over the telephone, with the device.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli, .what = "file or address"};
    RPC_AUTOFREE char *folder = NULL, *text = NULL;
    dacm_error error;
    int code = cli_parse(&argp, "dacm trust add", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK ||
        (code = read_root(&arguments, &text)) != CLI_EXIT_OK)
        return code;
    const dacm_trust trust = {.folder = folder};
    arguments.pin.root = rpc_bytes_str(text);
    arguments.pin.services = arguments.services;
    if (dacm_trust_add(&trust, &arguments.pin, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return print_pinned(cli, &trust, arguments.pin.fingerprint);
}

int cli_trust_remove(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {dir_options, parse, "ISSUER",
        "Forgets an SKM-S: its root, its key sets, and which versions of them were seen.\vAn old "
        "key set could be taken again afterwards, until it expires.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli, .what = "SKM-S"};
    RPC_AUTOFREE char *folder = NULL;
    dacm_error error;
    int code = cli_parse(&argp, "dacm trust remove", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK)
        return code;
    const dacm_trust trust = {.folder = folder};
    if (dacm_trust_remove(&trust, arguments.argument, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:s}", "issuer", arguments.argument, "done", "removed"));
    else
        printf("%s: removed\n", arguments.argument);
    return CLI_EXIT_OK;
}

/* ---- update ----------------------------------------------------------------------------------
 */

static void print_change(const cli_context *cli, const dacm_trust_change *change)
{
    if (cli->json)
        cli_print_json(json_pack("{s:I, s:I, s:I}", "roots", (json_int_t)change->roots, "sets",
            (json_int_t)change->sets, "known", (json_int_t)change->known));
    else
        printf("root statements followed: %u, key sets taken: %u, known already: %u\n",
            change->roots, change->sets, change->known);
}

static int update_from_file(
    const trust_arguments *arguments, const dacm_trust *trust, dacm_trust_change *ret)
{
    RPC_AUTOFREE char *text = NULL;
    dacm_error error;
    const int code = cli_read_file(arguments->cli, arguments->argument, UPDATE_BYTES_MAX, &text);
    if (code != CLI_EXIT_OK)
        return code;
    return dacm_trust_update(trust, rpc_bytes_str(text), ret, &error) == DACM_OK
               ? CLI_EXIT_OK
               : cli_fail(arguments->cli, &error);
}

/* What is asked of all SKM-Ss: the change in all, and how the first failure ended. */
typedef struct fetching {
    const trust_arguments *arguments;
    const dacm_trust *trust;
    dacm_trust_change change;
    unsigned asked;
    int code;
} fetching;

static dacm_code fetch(fetching *f, const char *service, dacm_keys_for purpose, dacm_error *reterr)
{
    dacm_trust_change change;
    const dacm_code code = dacm_trust_fetch(
        f->trust, &f->arguments->server, service, purpose, &change, reterr);
    f->asked++;
    if (code != DACM_OK)
        return code;
    f->change.roots += change.roots;
    f->change.sets += change.sets;
    f->change.known += change.known;
    return DACM_OK;
}

static void fetched(fetching *f, dacm_code code, const dacm_error *error)
{
    if (code == DACM_OK)
        return;
    const int exit_code = cli_fail(f->arguments->cli, error);
    if (f->code == CLI_EXIT_OK)
        f->code = exit_code;
}

/* A service has keys of one purpose as a rule, and nobody knows yet of which. */
static void fetch_unknown(fetching *f, const char *service)
{
    dacm_error error;
    dacm_code manifests = fetch(f, service, DACM_KEYS_FOR_MANIFESTS, &error);
    if (manifests != DACM_OK && manifests != DACM_NOT_FOUND) {
        fetched(f, manifests, &error);
        return;
    }
    const dacm_code tokens = fetch(f, service, DACM_KEYS_FOR_TOKENS, &error);
    if (tokens != DACM_NOT_FOUND || manifests == DACM_NOT_FOUND)
        fetched(f, tokens, &error);
}

static bool has_set(const dacm_trust_root *root, const char *service)
{
    for (size_t i = 0; i < root->set_count; i++)
        if (strcmp(root->sets[i].service, service) == 0)
            return true;
    return false;
}

static void fetch_of_root(fetching *f, const dacm_trust_root *root)
{
    dacm_error error;
    if (!root->address && !f->arguments->server.address)
        return;
    for (size_t i = 0; i < root->set_count; i++)
        fetched(f, fetch(f, root->sets[i].service, root->sets[i].purpose, &error), &error);
    for (size_t i = 0; i < root->service_count; i++)
        if (!has_set(root, root->services[i]))
            fetch_unknown(f, root->services[i]);
}

static int fetch_all(
    const trust_arguments *arguments, const dacm_trust *trust, dacm_trust_change *ret)
{
    fetching f = {.arguments = arguments, .trust = trust, .code = CLI_EXIT_OK};
    dacm_trust_roots *roots = NULL;
    dacm_error error;
    if (dacm_trust_list(trust, &roots, &error) != DACM_OK)
        return cli_fail(arguments->cli, &error);
    for (size_t i = 0; i < arguments->pin.service_count; i++)
        fetch_unknown(&f, arguments->services[i]);
    for (size_t i = 0; arguments->pin.service_count == 0 && i < roots->count; i++)
        fetch_of_root(&f, &roots->items[i]);
    dacm_trust_roots_free(roots);
    if (f.asked == 0)
        return cli_fail_text(arguments->cli, DACM_NO_KEY,
            "there is nobody to ask: pin an SKM-S with its address (dacm trust add URL), and name "
            "the DACM or SIM-S whose keys are wanted (--service), or a file");
    *ret = f.change;
    return f.code;
}

int cli_trust_update(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"service", OPTION_SERVICE, "URI", 0,
            "fetch the key sets of this DACM or SIM-S; again for more; default: those that are "
            "here already, or were named at the pin",
            1},
        SERVER_OPTIONS, DIR_OPTION, {0}};
    static const struct argp argp = {options, parse, "[FILE]",
        "Fetches the newest key sets from the SKM-Ss that are pinned with an address, or takes "
        "them and root statements from FILE: JWS with white space between them, statements in "
        "their order; all of a file or, when one is refused, none.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli, .what = "file", .optional = true};
    RPC_AUTOFREE char *folder = NULL;
    dacm_trust_change change = {0};
    int code = cli_parse(&argp, "dacm trust update", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK)
        return code;
    const dacm_trust trust = {.folder = folder};
    code = arguments.argument ? update_from_file(&arguments, &trust, &change)
                              : fetch_all(&arguments, &trust, &change);
    if (code == CLI_EXIT_OK)
        print_change(cli, &change);
    return code;
}
