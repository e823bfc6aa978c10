/* SPDX-License-Identifier: Apache-2.0 */
/* dacm trust …: which SKM-Ss are believed, and what they have said so far. */
#include "cli.h"
#include "cleanup.h"
#include "trust.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT_BYTES_MAX   8192u
#define UPDATE_BYTES_MAX (4u << 20)
#define SERVICES_MAX     64

enum { OPTION_DIR = 512, OPTION_FINGERPRINT, OPTION_ISSUER, OPTION_SERVICE };

typedef struct trust_arguments {
    cli_context *cli;
    const char *what; /* for the sentence that it is missing; NULL: it takes nothing */
    const char *argument, *folder;
    dacm_trust_pin pin;
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

static error_t parse(int key, char *argument, struct argp_state *state)
{
    trust_arguments *trust = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = trust->cli;
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
        if (trust->what && !trust->argument)
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

int cli_trust_chosen(const cli_context *cli, char **ret)
{
    if (cli->pinned && cli->keys_file)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "--trust and --keys say two things about which keys are good; give one of them");
    return cli->pinned ? cli_trust_folder(cli, cli->trust_folder, ret) : CLI_EXIT_OK;
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
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "issuer", root->issuer, "fingerprint",
        root->fingerprint, "sequence", (json_int_t)root->sequence, "pinned_at",
        (json_int_t)root->pinned_at, "services", services, "sets", sets);
}

static void print_root(const cli_context *cli, const dacm_trust_root *root)
{
    char at[32];
    if (cli->json) {
        cli_print_json(root_json(root));
        return;
    }
    cli_time_text(root->pinned_at, at);
    printf("%s\n  root       %s, pinned %s", root->issuer, root->fingerprint, at);
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
        DIR_OPTION, {0}};
    static const struct argp argp = {options, parse, "FILE",
        "Pins the root of an SKM-S: what it signs about keys is believed from now on.\vFILE is "
        "the root's public JWK. Its fingerprint has to come another way than FILE did: on paper, "
        "over the telephone, with the device.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli, .what = "file"};
    RPC_AUTOFREE char *folder = NULL, *text = NULL;
    dacm_error error;
    int code = cli_parse(&argp, "dacm trust add", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK ||
        (code = cli_read_file(cli, arguments.argument, ROOT_BYTES_MAX, &text)) != CLI_EXIT_OK)
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

int cli_trust_update(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {dir_options, parse, "FILE",
        "Takes key sets and root statements of pinned SKM-Ss from a file: JWS with white space "
        "between them, statements in their order. All of them or, when one is refused, none.",
        children, NULL, NULL};
    trust_arguments arguments = {.cli = cli, .what = "file"};
    RPC_AUTOFREE char *folder = NULL, *text = NULL;
    dacm_trust_change change;
    dacm_error error;
    int code = cli_parse(&argp, "dacm trust update", argc, argv, &arguments);
    if (code >= 0 || (code = cli_trust_folder(cli, arguments.folder, &folder)) != CLI_EXIT_OK ||
        (code = cli_read_file(cli, arguments.argument, UPDATE_BYTES_MAX, &text)) != CLI_EXIT_OK)
        return code;
    const dacm_trust trust = {.folder = folder};
    if (dacm_trust_update(&trust, rpc_bytes_str(text), &change, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack("{s:I, s:I, s:I}", "roots", (json_int_t)change.roots, "sets",
            (json_int_t)change.sets, "known", (json_int_t)change.known));
    else
        printf("root statements followed: %u, key sets taken: %u, known already: %u\n",
            change.roots, change.sets, change.known);
    return CLI_EXIT_OK;
}
