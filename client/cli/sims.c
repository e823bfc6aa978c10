/* SPDX-License-Identifier: Apache-2.0 */
#include "sims.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#define ARENA_BYTES  (16u << 20)
#define CALL_MS      30000
#define PASSWORD_MAX 256

enum {
    OPTION_ADMIN = 768,
    OPTION_SIMS_ENV,
    OPTION_SIMS_JSON,
    OPTION_PASSWORD_FILE,
    OPTION_PASSWORD_STDIN,
};

/* ---- options --------------------------------------------------------------------------------- */

static error_t parse(int key, char *argument, struct argp_state *state)
{
    sims *s = state->input;
    switch (key) {
    case OPTION_ADMIN:
        s->admin = argument;
        return 0;
    case OPTION_SIMS_ENV:
        s->cli->env_file = argument;
        return 0;
    case OPTION_SIMS_JSON:
        s->cli->json = true;
        return 0;
    case OPTION_PASSWORD_FILE:
        s->password_file = argument;
        return 0;
    case OPTION_PASSWORD_STDIN:
        s->password_stdin = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"admin", OPTION_ADMIN, "URL", 0,
        "simsd's admin socket, such as ipc:///run/simsd/admin.sock (DACM_SIMS_ADMIN)", 10},
    {"env", OPTION_SIMS_ENV, "FILE", 0,
        "env.json of `dacm dev`, or its folder (DACM_ENV), which names it; development only", 10},
    {"json", OPTION_SIMS_JSON, NULL, 0, "one JSON object per line", 10},
    {0},
};
const struct argp sims_argp = {.options = options, .parser = parse};

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

/* ---- calls ----------------------------------------------------------------------------------- */

static dacm_code fail_status(const rpc_status *status, dacm_error *reterr)
{
    *reterr = (dacm_error){.code = (dacm_code)status->code};
    snprintf(reterr->message, sizeof reterr->message, "%s",
        status->message[0] ? status->message : rpc_code_name(status->code));
    rpc_text_printable(reterr->message);
    return reterr->code;
}

static dacm_code connect(sims *s, dacm_error *reterr)
{
    rpc_status status = {0};
    if (cli_load_env(s->cli, reterr) != DACM_OK)
        return reterr->code;
    const char *variable = getenv("DACM_SIMS_ADMIN");
    const char *target = s->admin                  ? s->admin
                         : variable && variable[0] ? variable
                                                   : s->cli->env.sims_admin;
    if (!target) {
        rpc_status_set(&status, RPC_INVALID_ARGUMENT,
            "no SIM-S was named; give --admin ipc:///run/simsd/admin.sock, or --env for "
            "development");
        return fail_status(&status, reterr);
    }
    const rpc_channel_options channel = {.target = target, .limits = rpc_limits_default_client()};
    rpc_code code = rpc_runtime_new(NULL, &s->runtime, &status);
    if (code == RPC_OK)
        code = rpc_channel_new(s->runtime, &channel, &s->channel, &status);
    if (code == RPC_OK && !(s->arena = rpc_arena_new(ARENA_BYTES)))
        code = rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "no memory");
    return code == RPC_OK ? DACM_OK : fail_status(&status, reterr);
}

dacm_code sims_ask(sims *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, dacm_error *reterr)
{
    rpc_status status = {0};
    char path[64];
    const dacm_code code = s->arena ? DACM_OK : connect(s, reterr);
    if (code != DACM_OK)
        return code;
    snprintf(path, sizeof path, "/sim.v1.Admin/%s", method);
    const rpc_call_options call = {.timeout_ms = CALL_MS};
    ProtobufCMessage *message = NULL;
    if (rpc_channel_unary(s->channel, path, &call, request, reply, s->arena, &message, &status) !=
        RPC_OK)
        return fail_status(&status, reterr);
    *(ProtobufCMessage **)ret = message;
    return DACM_OK;
}

int sims_call(sims *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret)
{
    dacm_error error;
    return sims_ask(s, method, request, reply, ret, &error) == DACM_OK ? CLI_EXIT_OK
                                                                       : cli_fail(s->cli, &error);
}

void sims_done(sims *s)
{
    rpc_arena_free(s->arena);
    rpc_channel_free(s->channel);
    rpc_runtime_free(s->runtime);
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

int sims_password(const sims *s, const char *username, char **ret)
{
    if (s->password_file && s->password_stdin)
        return cli_fail_text(s->cli, DACM_INVALID_ARGUMENT,
            "--password-file and --password-stdin exclude each other");
    if (!s->password_file && !s->password_stdin)
        return ask_twice(s->cli, username, ret);
    RPC_AUTOCLOSE int fd = s->password_file ? open(s->password_file, O_RDONLY | O_CLOEXEC)
                                            : dup(STDIN_FILENO);
    if (fd < 0)
        return cli_fail_text(s->cli, DACM_LOCAL_FILE, "cannot read the password in '%.200s': %s",
            s->password_file ? s->password_file : "standard input", strerror(errno));
    char *line = first_line(fd);
    if (!line)
        return cli_fail_text(s->cli, DACM_INVALID_ARGUMENT,
            "the password cannot be read, or has more than %d bytes", PASSWORD_MAX);
    if (!line[0]) {
        free(line);
        return cli_fail_text(s->cli, DACM_INVALID_ARGUMENT, "the password is empty");
    }
    *ret = line;
    return CLI_EXIT_OK;
}

int sims_read_file(const cli_context *cli, const char *path, size_t max, char **ret)
{
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(path, "re");
    char *text = file ? malloc(max + 1) : NULL;
    const size_t size = text ? fread(text, 1, max + 1, file) : 0;
    if (!text || ferror(file) || size > max) {
        const char *why = size > max ? "it is too large" : strerror(errno);
        free(text);
        return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read '%.200s': %s", path, why);
    }
    text[size] = '\0';
    *ret = text;
    return CLI_EXIT_OK;
}

/* ---- output ------------------------------------------------------------------------------------
 */

json_t *sims_strings_json(char *const *texts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(texts[i]));
    return array;
}

void sims_print_line(const char *name, char *value)
{
    rpc_text_printable(value);
    if (value[0])
        printf("%-10s%s\n", name, value);
}

void sims_print_word(const char *name, const char *value)
{
    if (value[0])
        printf("%-10s%s\n", name, value);
}

void sims_print_list(const char *name, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sims_print_line(i == 0 ? name : "", texts[i]);
}
