/* SPDX-License-Identifier: Apache-2.0 */
#include "sims.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#define PASSWORD_MAX 256

enum { OPTION_PASSWORD_FILE = 832, OPTION_PASSWORD_STDIN };

/* ---- options --------------------------------------------------------------------------------- */

static error_t parse(int key, char *argument, struct argp_state *state)
{
    sims_password_source *source = state->input;
    switch (key) {
    case OPTION_PASSWORD_FILE:
        source->file = argument;
        return 0;
    case OPTION_PASSWORD_STDIN:
        source->from_stdin = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option password_options[] = {
    {"password-file", OPTION_PASSWORD_FILE, "FILE", 0, "the password is its first line", 5},
    {"password-stdin", OPTION_PASSWORD_STDIN, NULL, 0,
        "the password is the first line of standard input", 5},
    {0},
};
const struct argp sims_password_argp = {.options = password_options, .parser = parse};

void sims_add(sims_list *list, char *text, struct argp_state *state)
{
    if (list->count == SIMS_LIST_MAX)
        argp_error(state, "at most %d of a kind", SIMS_LIST_MAX);
    list->texts[list->count++] = text;
}

/* ---- passwords ---------------------------------------------------------------------------------
 */

void sims_wipe(char *password)
{
    if (password)
        explicit_bzero(password, strlen(password));
    free(password);
}

/* The first line, without its end; NULL: none, or it is too long. */
static char *first_line(int fd)
{
    char text[PASSWORD_MAX + 3];
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size < sizeof text - 1 && !memchr(text, '\n', size)) {
        got = read(fd, text + size, sizeof text - 1 - size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            size += (size_t)got;
    }
    text[size] = '\0';
    char *line = NULL;
    if (got >= 0) {
        text[strcspn(text, "\r\n")] = '\0';
        line = strlen(text) <= PASSWORD_MAX ? strdup(text) : NULL;
    }
    explicit_bzero(text, sizeof text);
    return line;
}

static char *ask(int terminal, const char *what, const char *username)
{
    struct termios shown, hidden;
    if (tcgetattr(terminal, &shown) != 0)
        return NULL;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    /* Hidden before it is asked for: who is fast is not shown either. */
    if (tcsetattr(terminal, TCSAFLUSH, &hidden) != 0)
        return NULL;
    char *line = dprintf(terminal, "%s %s: ", what, username) > 0 ? first_line(terminal) : NULL;
    if (tcsetattr(terminal, TCSAFLUSH, &shown) != 0 || dprintf(terminal, "\n") < 0) {
        sims_wipe(line);
        return NULL;
    }
    return line;
}

static int ask_twice(const cli_context *cli, const char *username, char **ret)
{
    RPC_AUTOCLOSE int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (terminal < 0)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "there is no terminal to ask for the password; give --password-file or "
            "--password-stdin");
    char *first = ask(terminal, "Password of", username);
    char *second = first ? ask(terminal, "Again, password of", username) : NULL;
    bool same = first && second && strcmp(first, second) == 0;
    sims_wipe(second);
    if (!same) {
        sims_wipe(first);
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "the two passwords differ");
    }
    *ret = first;
    return CLI_EXIT_OK;
}

int sims_password(
    const cli_context *cli, const sims_password_source *source, const char *username, char **ret)
{
    if (source->file && source->from_stdin)
        return cli_fail_text(
            cli, DACM_INVALID_ARGUMENT, "--password-file and --password-stdin exclude each other");
    if (!source->file && !source->from_stdin)
        return ask_twice(cli, username, ret);
    RPC_AUTOCLOSE int fd = source->file ? open(source->file, O_RDONLY | O_CLOEXEC)
                                        : dup(STDIN_FILENO);
    if (fd < 0)
        return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read the password in '%.200s': %s",
            source->file ? source->file : "standard input", strerror(errno));
    char *line = first_line(fd);
    if (!line)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "the password cannot be read, or has more than %d bytes", PASSWORD_MAX);
    if (!line[0]) {
        free(line);
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "the password is empty");
    }
    *ret = line;
    return CLI_EXIT_OK;
}
