/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "pki.h"

#include <string.h>

#define NAMES_MAX 16

static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};

enum { OPTION_DNS = 512, OPTION_IP, OPTION_URI };

typedef struct pki_arguments {
    cli_context *cli;
    bool takes_name;
    const char *folder, *name;
    const char *dns[NAMES_MAX + 1], *ips[NAMES_MAX + 1], *uris[NAMES_MAX + 1];
} pki_arguments;

static void add(const char **names, const char *name, struct argp_state *state)
{
    size_t count = 0;
    while (names[count])
        count++;
    if (count == NAMES_MAX)
        argp_error(state, "at most %d names of a kind", NAMES_MAX);
    names[count] = name;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    pki_arguments *pki = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = pki->cli;
        return 0;
    case OPTION_DNS:
        add(pki->dns, argument, state);
        return 0;
    case OPTION_IP:
        add(pki->ips, argument, state);
        return 0;
    case OPTION_URI:
        add(pki->uris, argument, state);
        return 0;
    case ARGP_KEY_ARG:
        if (!pki->folder)
            pki->folder = argument;
        else if (pki->takes_name && !pki->name)
            pki->name = argument;
        else
            argp_error(state, "what is '%s'?", argument);
        return 0;
    case ARGP_KEY_END:
        if (!pki->folder || (pki->takes_name && !pki->name))
            argp_error(state, pki->takes_name ? "which folder, and which name?" : "which folder?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int report(const cli_context *cli, const char *folder, const char *name)
{
    RPC_AUTOFREE char *certificate = pki_text("%s/%s.crt", folder, name);
    RPC_AUTOFREE char *key = pki_text("%s/%s.key", folder, name);
    if (!certificate || !key)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:s}", "certificate", certificate, "key", key));
    else
        printf("%s\n%s\n", certificate, key);
    return CLI_EXIT_OK;
}

int cli_pki_init(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "DIR",
        "Makes a certificate authority: DIR/ca.crt and DIR/ca.key.\vFor development: the key is "
        "not encrypted. What is there already is kept.",
        children, NULL, NULL};
    pki_arguments pki = {.cli = cli};
    dacm_error error;
    const int code = cli_parse(&argp, "dacm pki init", argc, argv, &pki);
    if (code >= 0)
        return code;
    if (pki_make_folder(pki.folder, &error) != DACM_OK ||
        pki_make_ca(pki.folder, "dacm pki", &error) != DACM_OK)
        return cli_fail(cli, &error);
    return report(cli, pki.folder, "ca");
}

int cli_pki_issue(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"dns", OPTION_DNS, "NAME", 0, "a DNS name it is valid for; again for more", 1},
        {"ip", OPTION_IP, "ADDRESS", 0, "an address it is valid for; again for more", 1},
        {"uri", OPTION_URI, "URI", 0, "a URI it is valid for; again for more", 1}, {0}};
    static const struct argp argp = {options, parse, "DIR NAME",
        "Issues DIR/NAME.crt and DIR/NAME.key with DIR/ca.key, for servers and clients.\vWithout "
        "--dns, --ip and --uri it is valid for the DNS name NAME.",
        children, NULL, NULL};
    pki_arguments pki = {.cli = cli, .takes_name = true};
    dacm_error error;
    const int code = cli_parse(&argp, "dacm pki issue", argc, argv, &pki);
    if (code >= 0)
        return code;
    if (strchr(pki.name, '/') || pki.name[0] == '.')
        return cli_fail_text(
            cli, DACM_INVALID_ARGUMENT, "'%.100s' makes a bad file name", pki.name);
    if (!pki.dns[0] && !pki.ips[0] && !pki.uris[0])
        pki.dns[0] = pki.name;
    const pki_names names = {
        .common_name = pki.name, .dns = pki.dns, .ips = pki.ips, .uris = pki.uris};
    if (pki_issue(pki.folder, pki.name, &names, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return report(cli, pki.folder, pki.name);
}
