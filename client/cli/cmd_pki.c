/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "pki.h"

#include <string.h>

#define NAMES_MAX 16

static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};

enum { OPTION_DNS = 512, OPTION_IP, OPTION_URI, OPTION_FOR };

typedef struct pki_arguments {
    cli_context *cli;
    bool takes_name;
    const char *folder, *name;
    const struct purpose *purpose; /* NULL = not said */
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

static const struct purpose {
    const char *name;
    pki_key_purpose purpose;
} purposes[] = {{"manifest", PKI_KEY_MANIFEST}, {"token", PKI_KEY_TOKEN},
    {"client", PKI_KEY_CLIENT}, {"audit", PKI_KEY_AUDIT}};

static const struct purpose *purpose_of(const char *name)
{
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++)
        if (strcmp(purposes[i].name, name) == 0)
            return &purposes[i];
    return NULL;
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
    case OPTION_FOR:
        pki->purpose = purpose_of(argument);
        if (!pki->purpose)
            argp_error(state, "--for takes manifest, token or client, not '%s'", argument);
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

/** A pair of files of the folder, made or kept. */
typedef struct made_pair {
    const char *public_name, *public_end, *private_name, *private_end;
} made_pair;

static const made_pair certificate_pair = {"certificate", ".crt", "key", ".key"};
static const made_pair keys_pair = {"public", ".pub.jwks", "private", ".jwks"};

static bool is_there(const char *folder, const char *name, const char *end)
{
    RPC_AUTOFREE char *path = pki_text("%s/%s%s", folder, name, end);
    return path && access(path, F_OK) == 0;
}

static int report(
    const cli_context *cli, const made_pair *pair, const char *folder, const char *name, bool kept)
{
    RPC_AUTOFREE char *public_file = pki_text("%s/%s%s", folder, name, pair->public_end);
    RPC_AUTOFREE char *private_file = pki_text("%s/%s%s", folder, name, pair->private_end);
    if (!public_file || !private_file)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:s, s:b}", pair->public_name, public_file,
            pair->private_name, private_file, "kept", kept));
    else
        printf("%s\n%s\n", public_file, private_file);
    if (kept)
        fprintf(stderr, "dacm: both were there and are kept as they are; remove them to have them "
                        "made anew\n");
    return CLI_EXIT_OK;
}

static int judge_name(const pki_arguments *pki)
{
    if (!strchr(pki->name, '/') && pki->name[0] != '.')
        return CLI_EXIT_OK;
    return cli_fail_text(pki->cli, DACM_INVALID_ARGUMENT,
        "'%.100s' makes a bad file name; take one without '/' that does not begin with '.'",
        pki->name);
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
    const bool kept = is_there(pki.folder, "ca", certificate_pair.private_end);
    if (pki_make_folder(pki.folder, &error) != DACM_OK ||
        pki_make_ca(pki.folder, "dacm pki", &error) != DACM_OK)
        return cli_fail(cli, &error);
    return report(cli, &certificate_pair, pki.folder, "ca", kept);
}

int cli_pki_issue(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"dns", OPTION_DNS, "NAME", 0, "a DNS name it is valid for; again for more", 1},
        {"ip", OPTION_IP, "ADDRESS", 0, "an address it is valid for; again for more", 1},
        {"uri", OPTION_URI, "URI", 0, "a URI it is valid for; again for more", 1}, {0}};
    static const struct argp argp = {options, parse, "DIR NAME",
        "Issues DIR/NAME.crt and DIR/NAME.key with DIR/ca.key, for servers and clients.\vWithout "
        "--dns, --ip and --uri it is valid for the DNS name NAME. What is there already is kept.",
        children, NULL, NULL};
    pki_arguments pki = {.cli = cli, .takes_name = true};
    dacm_error error;
    int code = cli_parse(&argp, "dacm pki issue", argc, argv, &pki);
    if (code >= 0 || (code = judge_name(&pki)) != CLI_EXIT_OK)
        return code;
    if (!pki.dns[0] && !pki.ips[0] && !pki.uris[0])
        pki.dns[0] = pki.name;
    const pki_names names = {
        .common_name = pki.name, .dns = pki.dns, .ips = pki.ips, .uris = pki.uris};
    const bool kept = is_there(pki.folder, pki.name, certificate_pair.private_end);
    if (pki_issue(pki.folder, pki.name, &names, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return report(cli, &certificate_pair, pki.folder, pki.name, kept);
}

int cli_pki_keys(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"for", OPTION_FOR, "PURPOSE", 0,
            "what they sign: manifest (dacmd), token (an issuer), client (a client that "
            "authenticates by private_key_jwt) or audit (seals of a server's trail)",
            1},
        {0}};
    static const struct argp argp = {options, parse, "DIR NAME",
        "Makes a signing key: DIR/NAME.jwks, to be kept secret, and DIR/NAME.pub.jwks, for those "
        "who verify.\vdacmd signs with a manifest key (signing.key_file) and its clients verify "
        "with the public set (--keys). An issuer signs with a token key (dacm token issue "
        "--signing-key) and dacmd verifies with the public set (issuers: jwks_file). A client logs "
        "in with a client "
        "key (dacm login --client-key), and the SIM-S verifies with the public set. What is there "
        "already is kept.",
        children, NULL, NULL};
    pki_arguments pki = {.cli = cli, .takes_name = true};
    dacm_error error;
    int code = cli_parse(&argp, "dacm pki keys", argc, argv, &pki);
    if (code >= 0 || (code = judge_name(&pki)) != CLI_EXIT_OK)
        return code;
    if (!pki.purpose)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "what will the key sign? Give --for manifest, token or client; one key has one "
            "purpose");
    const bool kept = is_there(pki.folder, pki.name, keys_pair.public_end);
    if (pki_make_folder(pki.folder, &error) != DACM_OK ||
        pki_make_keys(pki.folder, pki.name, pki.purpose->purpose, &error) != DACM_OK)
        return cli_fail(cli, &error);
    return report(cli, &keys_pair, pki.folder, pki.name, kept);
}
