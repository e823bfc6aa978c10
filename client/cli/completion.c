/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts from the table of commands and the connection options. */
#include "cli.h"
#include "cleanup.h"

#include <string.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
    const char **shell = state->input;
    if (key == ARGP_KEY_ARG && !*shell) {
        *shell = argument;
        return 0;
    }
    if (key == ARGP_KEY_END && !*shell)
        argp_error(state, "which shell: bash, zsh or fish?");
    return ARGP_ERR_UNKNOWN;
}

/** Calls print for the first word of each command, once. */
static void first_words(void (*print)(const char *word, size_t size, const char *summary))
{
    for (const cli_command *at = cli_commands; at->name; at++) {
        const size_t size = strcspn(at->name, " ");
        if (at == cli_commands || strncmp(at->name, at[-1].name, size + 1) != 0)
            print(at->name, size, at->name[size] ? "" : at->summary);
    }
}

/** Calls print for each word of a command but its first; before: the word that it stands behind,
 *  which word that is, from 1. */
typedef void next_word_fn(
    const char *before, size_t before_size, int place, const char *word, const char *summary);
static void next_words(next_word_fn *print)
{
    for (const cli_command *at = cli_commands; at->name; at++) {
        const char *before = at->name;
        int place = 1;
        for (const char *blank = strchr(before, ' '); blank; blank = strchr(before, ' ')) {
            if (!strchr(blank + 1, ' ')) /* the command's own last word: the others are commands'
                                            themselves */
                print(before, (size_t)(blank - before), place, blank + 1, at->summary);
            before = blank + 1;
            place++;
        }
    }
}

static void bash_word(const char *word, size_t size, const char *summary)
{
    (void)summary;
    printf("%.*s ", (int)size, word);
}

static void bash_next(
    const char *before, size_t size, int place, const char *word, const char *summary)
{
    (void)summary;
    printf("    [[ $%s = %.*s && $at = %d ]] && words+=' %s'\n", place == 1 ? "first" : "second",
        (int)size, before, place + 1, word);
}

/** The options of a command are those of its own --help, so that none is missing. --json may stand
 *  before the command. zsh loads bash's completion through bashcompinit. */
static void print_bash(bool zsh)
{
    if (zsh)
        puts("autoload -U +X bashcompinit && bashcompinit");
    puts("_dacm() {\n"
         "    local current=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD skip=0 words=\n"
         "    [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} = --json ]] && skip=1 && at=$((at - 1))\n"
         "    local first=${COMP_WORDS[1 + skip]} second=${COMP_WORDS[2 + skip]}"
         " third=${COMP_WORDS[3 + skip]}");
    printf("    [[ $at = 1 ]] && words='");
    first_words(bash_word);
    puts("--json --help --version'");
    next_words(bash_next);
    puts("    if [[ $at -gt 1 && $current = -* ]]; then\n"
         "        [[ $at = 2 || $second = -* ]] && second= third=\n"
         "        [[ $at = 3 || $third = -* ]] && third=\n"
         "        words=$({ \"${COMP_WORDS[0]}\" \"$first\" $second $third --help ||\n"
         "            \"${COMP_WORDS[0]}\" \"$first\" --help; } 2>/dev/null |\n"
         "            grep -oE '^ {2,6}(-., )?--[a-z-]+' | grep -oE -e '--[a-z-]+')\n"
         "    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "    [[ ${#COMPREPLY[@]} = 0 ]] && COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "}\ncomplete -o filenames -F _dacm dacm");
}

static void fish_word(const char *word, size_t size, const char *summary)
{
    printf(
        "complete -c dacm -n __fish_use_subcommand -f -a %.*s -d '%s'\n", (int)size, word, summary);
}

static void fish_next(
    const char *before, size_t size, int place, const char *word, const char *summary)
{
    (void)place;
    printf("complete -c dacm -n '__fish_seen_subcommand_from %.*s' -f -a %s -d '%s'\n", (int)size,
        before, word, summary);
}

int cli_completion(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "bash|zsh|fish",
        "Prints a completion script, for `source <(dacm completion bash)`.", NULL, NULL, NULL};
    const char *shell = NULL;
    const int code = cli_parse(&argp, "dacm completion", argc, argv, &shell);
    if (code >= 0)
        return code;
    if (strcmp(shell, "bash") == 0 || strcmp(shell, "zsh") == 0) {
        print_bash(shell[0] == 'z');
    } else if (strcmp(shell, "fish") == 0) {
        first_words(fish_word);
        next_words(fish_next);
    } else {
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "there is no completion for '%.40s'; there is for bash, zsh and fish", shell);
    }
    return CLI_EXIT_OK;
}
