/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands drives dispatch, help and completion. */
#include "cli.h"
#include "cleanup.h"

#include <signal.h>
#include <string.h>

const cli_command cli_commands[] = {
    {"login", "[ISSUER]", "log in at a SIM-S", cli_login},
    {"logout", "", "end the login", cli_logout},
    {"whoami", "", "who is logged in", cli_whoami},
    {"put", "FILE", "store a file, as a new asset or a new version", cli_put},
    {"get", "ID", "download an asset and verify it", cli_get},
    {"authorize", "ID", "ask whether a user may use an asset", cli_authorize},
    {"verify", "FILE", "judge a downloaded file offline", cli_verify},
    {"ls", "", "list assets", cli_ls},
    {"show", "ID", "an asset's profile and who may use it", cli_show},
    {"variants", "ID", "adapted copies of an asset that are kept", cli_variants},
    {"allow", "ID GPSI...", "put users on an asset's list", cli_allow},
    {"deny", "ID GPSI...", "take users off an asset's list", cli_deny},
    {"rm", "ID", "delete an asset", cli_rm},
    {"adapt", "FILE -o FILE", "an avatar that fits a device, offline", cli_adapt},
    {"inspect", "FILE [OTHER]", "what is in an avatar, or in two side by side", cli_inspect},
    {"call", "SERVICE/METHOD JSON", "call any method of a gRPC server, or list them", cli_call},
    {"token issue", "", "make an access token with an issuer's key", cli_token_issue},
    {"token revoke", "", "refuse a token from now on (operator)", cli_token_revoke},
    {"explain", "REQUEST-ID", "why a request ended as it did (operator)", cli_explain},
    {"user add", "USERNAME", "add a user of the SIM-S (operator, as are the next)", cli_user_add},
    {"user show", "USERNAME", "what the SIM-S knows of a user", cli_user_show},
    {"user ls", "", "list users", cli_user_ls},
    {"user passwd", "USERNAME", "set a password, and log out everywhere", cli_user_passwd},
    {"user map", "USERNAME GPSI...", "the user is the one of these UEs", cli_user_map},
    {"user unmap", "USERNAME GPSI...", "is no longer, and is logged out", cli_user_unmap},
    {"user disable", "USERNAME", "cannot log in; what is under way ends", cli_user_disable},
    {"user enable", "USERNAME", "may log in again", cli_user_enable},
    {"user logout", "USERNAME", "end sessions and grants, revoke tokens", cli_user_logout},
    {"user rm", "USERNAME", "remove a user for good", cli_user_rm},
    {"client add", "CLIENT-ID", "register a client of the SIM-S", cli_client_add},
    {"client show", "CLIENT-ID", "how a client is registered", cli_client_show},
    {"client ls", "", "list clients", cli_client_ls},
    {"client set", "CLIENT-ID", "change a client", cli_client_set},
    {"client disable", "CLIENT-ID", "it gets no tokens; what it got is revoked",
        cli_client_disable},
    {"client enable", "CLIENT-ID", "it may get tokens again", cli_client_enable},
    {"client rm", "CLIENT-ID", "remove a client for good", cli_client_rm},
    {"pki init", "DIR", "make a certificate authority for development", cli_pki_init},
    {"pki issue", "DIR NAME", "issue a certificate with it", cli_pki_issue},
    {"pki keys", "DIR NAME", "make a key that signs manifests or tokens", cli_pki_keys},
    {"keys list", "[SERVICE]", "keys of the SKM-S (operator, as are the next)", cli_keys_list},
    {"keys show", "KID", "what the SKM-S knows of a key", cli_keys_show},
    {"keys rotate", "SERVICE", "the next key takes over", cli_keys_rotate},
    {"keys revoke", "KID", "a key is compromised: verifies nothing any more", cli_keys_revoke},
    {"keys services", "", "list VAL services, and who gets their keys", cli_keys_services},
    {"keys services create", "SERVICE", "a VAL service, and its first keys",
        cli_keys_services_create},
    {"keys enrol", "SERVICE NAME", "a token with which an SKM-C enrols, once", cli_keys_enrol},
    {"keys unenrol", "SERVICE NAME", "an SKM-C gets nothing any more", cli_keys_unenrol},
    {"keys root", "", "the root of key sets, which verifiers pin", cli_keys_root},
    {"keys root rotate", "", "replace the root; verifiers follow", cli_keys_root_rotate},
    {"keys upload", "SERVICE FILE", "a VAL server brings a key of its own", cli_keys_upload},
    {"keys watch", "[SERVICE]", "key sets as they change, verified (anybody)", cli_keys_watch},
    {"trust add", "FILE|URL", "pin the root of an SKM-S by its fingerprint", cli_trust_add},
    {"trust list", "", "pinned roots, and the newest key sets seen", cli_trust_list},
    {"trust update", "[FILE]", "fetch the newest key sets, or take them from a file",
        cli_trust_update},
    {"trust remove", "ISSUER", "forget an SKM-S and what was seen of it", cli_trust_remove},
    {"audit verify", "DIR", "follow the chain of a server's audit trail", cli_audit_verify},
    {"dev", "--dir DIR", "all servers for development, with everything they need", cli_dev},
    {"completion", "SHELL", "print a completion script for bash, zsh or fish", cli_completion},
    {0},
};

static void print_help(FILE *stream)
{
    RPC_AUTOFREE char *codes = cli_exit_help();
    fputs("Usage: dacm [--json] COMMAND [ARGUMENTS]\n\n"
          "A client and tools of the DACM: signed digital assets for listed users.\n\n",
        stream);
    for (const cli_command *at = cli_commands; at->name; at++) {
        char head[40];
        snprintf(head, sizeof head, "%s %s", at->name, at->arguments);
        fprintf(stream, "  %-28s %s\n", head, at->summary);
    }
    fprintf(stream, "\n`dacm COMMAND --help` explains each.\n\n%s", codes ? codes : "");
}

/** How many words of argv name the command; 0 = not this one. */
static int words_of(const cli_command *command, int argc, char **argv)
{
    int words = 0;
    for (const char *at = command->name; *at; words++) {
        const size_t size = strcspn(at, " ");
        if (words == argc || strlen(argv[words]) != size || strncmp(argv[words], at, size) != 0)
            return 0;
        at += size + (at[size] == ' ');
    }
    return words;
}

/** "pki" alone: the commands of a group. */
static bool print_group(FILE *stream, const char *group)
{
    const size_t size = strlen(group);
    bool found = false;
    for (const cli_command *at = cli_commands; at->name; at++) {
        if (strncmp(at->name, group, size) != 0 || at->name[size] != ' ')
            continue;
        if (!found)
            fprintf(stream, "Usage: dacm %s COMMAND [ARGUMENTS]\n\n", group);
        found = true;
        char head[40];
        snprintf(head, sizeof head, "%s %s", at->name + size + 1, at->arguments);
        fprintf(stream, "  %-24s %s\n", head, at->summary);
    }
    if (found)
        fprintf(stream, "\n`dacm %s COMMAND --help` explains each.\n", group);
    return found;
}

static bool asks_for_help(const char *text)
{
    return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0 || strcmp(text, "-?") == 0;
}

/** Nothing in the table: help of a group, or a complaint. */
static int no_command(const cli_context *cli, int argc, char **argv)
{
    if (argc > 1 && asks_for_help(argv[1]) && print_group(stdout, argv[0]))
        return CLI_EXIT_OK;
    if (argc == 1 && !cli->json && print_group(stderr, argv[0]))
        return CLI_EXIT_USAGE;
    for (const cli_command *at = cli_commands; at->name; at++) {
        const size_t size = strlen(argv[0]);
        if (strncmp(at->name, argv[0], size) == 0 && at->name[size] == ' ')
            return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
                "'%.40s' goes before one of its commands; dacm %.40s --help lists them", argv[0],
                argv[0]);
    }
    return cli_fail_text(
        cli, DACM_INVALID_ARGUMENT, "there is no command '%.40s'; dacm --help lists them", argv[0]);
}

/** "keys root rotate" rather than "keys root". */
static int dispatch(cli_context *cli, int argc, char **argv)
{
    const cli_command *best = NULL;
    int best_words = 0;
    for (const cli_command *at = cli_commands; at->name; at++) {
        const int words = words_of(at, argc, argv);
        if (words > best_words) {
            best = at;
            best_words = words;
        }
    }
    return best ? best->run(cli, argc - best_words + 1, argv + best_words - 1)
                : no_command(cli, argc, argv);
}

int main(int argc, char **argv)
{
    cli_context cli = {.json = false};
    cli_init(&cli);
    signal(SIGPIPE, SIG_IGN);
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--json") == 0) {
            cli.json = true;
            cli_parse_tells_json();
        } else if (asks_for_help(argv[at])) {
            print_help(stdout);
            return CLI_EXIT_OK;
        } else if (strcmp(argv[at], "--version") == 0) {
            puts("dacm " DACM_VERSION);
            return CLI_EXIT_OK;
        } else {
            return cli_fail_text(&cli, DACM_INVALID_ARGUMENT,
                "'%.40s' goes behind the command; before it stand --json, --help and --version",
                argv[at]);
        }
    }
    if (at == argc) {
        print_help(stderr);
        return CLI_EXIT_USAGE;
    }
    const int code = dispatch(&cli, argc - at, argv + at);
    cli_done(&cli);
    return code;
}
