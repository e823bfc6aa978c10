/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "cleanup.h"
#include "dynamic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define BAR_WIDTH       30
#define BAR_INTERVAL_US 100000

/* One table: what each exit code means, and which status codes lead to it. */
static const struct exit_row {
    cli_exit exit;
    const char *meaning;
    dacm_code codes[5]; /* ends with DACM_OK */
} exit_table[] = {
    {CLI_EXIT_OK, "done", {DACM_OK}},
    {CLI_EXIT_OTHER, "another failure; the message says which", {DACM_OK}},
    {CLI_EXIT_USAGE, "wrong arguments, or the server refused their syntax",
        {DACM_INVALID_ARGUMENT, DACM_OUT_OF_RANGE}},
    {CLI_EXIT_DENIED, "denied", {DACM_PERMISSION_DENIED}},
    {CLI_EXIT_NOT_FOUND, "not found", {DACM_NOT_FOUND}},
    {CLI_EXIT_BAD_SIGNATURE, "bad signature: the bytes are not what was signed",
        {DACM_BAD_SIGNATURE, DACM_DATA_LOSS}},
    {CLI_EXIT_NO_KEY, "no key to verify the signature with", {DACM_NO_KEY}},
    {CLI_EXIT_UNAUTHENTICATED, "no token, or one that the server does not take",
        {DACM_UNAUTHENTICATED}},
    {CLI_EXIT_UNAVAILABLE, "server not reached or too slow; try again",
        {DACM_UNAVAILABLE, DACM_DEADLINE_EXCEEDED}},
    {CLI_EXIT_CONFLICT,
        "somebody else changed it first, or its state, licence or recipe forbids it",
        {DACM_ABORTED, DACM_ALREADY_EXISTS, DACM_FAILED_PRECONDITION}},
    {CLI_EXIT_LIMIT, "a limit was reached", {DACM_RESOURCE_EXHAUSTED}},
    {CLI_EXIT_FILE, "a file here cannot be read or written, or is broken", {DACM_LOCAL_FILE}},
};
#define EXIT_ROWS (sizeof exit_table / sizeof *exit_table)

cli_exit cli_exit_of(dacm_code code)
{
    if (code == DACM_OK)
        return CLI_EXIT_OK;
    for (size_t i = 0; i < EXIT_ROWS; i++)
        for (const dacm_code *at = exit_table[i].codes; *at != DACM_OK; at++)
            if (*at == code)
                return exit_table[i].exit;
    return CLI_EXIT_OTHER;
}

char *cli_exit_help(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return NULL;
    fputs("Exit codes:\n", stream);
    for (size_t i = 0; i < EXIT_ROWS; i++)
        fprintf(stream, "  %2d  %s\n", exit_table[i].exit, exit_table[i].meaning);
    fclose(stream);
    return text;
}

void cli_print_json(json_t *object)
{
    RPC_AUTOFREE char *text = dynamic_print(object, false);
    printf("%s\n", text ? text : "{}");
    fflush(stdout);
    json_decref(object);
}

static const char *advice(const dacm_error *error)
{
    switch (error->code) {
    case DACM_PERMISSION_DENIED:
        return "If you should be allowed, ask the owner (dacm allow), or the operator with the "
               "request ID (dacm explain).";
    case DACM_UNAUTHENTICATED:
        return "Log in with dacm login (again, when the SIM-S ended the login or changed its "
               "keys), or give a fresh token with --token-file.";
    case DACM_UNAVAILABLE:
        if (error->request_id[0]) /* it is there, and said what is wrong */
            return "The server itself says so: try again in a while.";
        return "Is the server running, is its address right (--server, --admin or what stands "
               "for them in the environment), and does --ca (or DACM_CA) name who signed its "
               "certificate?";
    case DACM_NO_KEY:
        return "Give the DACM's public keys with --keys, or a key set by a pinned root (dacm "
               "trust); dacm get also takes it unsigned, with --verify=if-key.";
    default:
        return NULL;
    }
}

int cli_fail(const cli_context *cli, const dacm_error *error)
{
    if (cli->json) {
        json_t *inner = json_pack(
            "{s:s, s:s}", "code", dacm_code_name(error->code), "message", error->message);
        if (inner && error->request_id[0])
            json_object_set_new(inner, "request_id", json_string(error->request_id));
        if (inner && error->retry_ms)
            json_object_set_new(inner, "retry_ms", json_integer(error->retry_ms));
        cli_print_json(json_pack("{s:o}", "error", inner));
    } else {
        const char *next = advice(error);
        fprintf(stderr, "dacm: %s (%s)\n", error->message, dacm_code_name(error->code));
        if (error->request_id[0] && !strstr(error->message, error->request_id))
            fprintf(stderr, "      request %s\n", error->request_id);
        if (next && !strstr(error->message, "dacm trust")) /* which says what to do itself */
            fprintf(stderr, "      %s\n", next);
    }
    return (int)cli_exit_of(error->code);
}

int cli_fail_text(const cli_context *cli, dacm_code code, const char *format, ...)
{
    dacm_error error = {.code = code};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    return cli_fail(cli, &error);
}

json_t *cli_hex_json(const uint8_t *data, size_t size)
{
    char text[129];
    if (size > 64)
        return NULL;
    rpc_hex(rpc_bytes_of(data, size), text);
    return json_string(text);
}

dacm_code cli_fail_status(dacm_error *reterr, const rpc_status *status)
{
    *reterr = (dacm_error){.code = (dacm_code)status->code};
    snprintf(reterr->message, sizeof reterr->message, "%s",
        status->message[0] ? status->message : rpc_code_name(status->code));
    rpc_text_printable(reterr->message);
    return reterr->code;
}

void cli_size_text(uint64_t size, char ret[32])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    if (size < 1000) {
        snprintf(ret, 32, "%" PRIu64 " B", size);
        return;
    }
    double value = (double)size / 1000;
    size_t unit = 0;
    for (; value >= 1000 && unit < 3; unit++)
        value /= 1000;
    snprintf(ret, 32, "%.1f %s", value, units[unit]);
}

void cli_time_text(int64_t seconds, char ret[32])
{
    const time_t at = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&at, &parts) || strftime(ret, 32, "%F %T UTC", &parts) == 0)
        snprintf(ret, 32, "%" PRId64, seconds);
}

void cli_progress_start(cli_progress *progress, const cli_context *cli, const char *what)
{
    *progress = (cli_progress){.shown = !cli->json && isatty(STDERR_FILENO), .what = what};
}

bool cli_progress_step(void *ctx, const dacm_progress *step)
{
    cli_progress *progress = ctx;
    const int64_t now = rpc_clock_monotonic_us(rpc_clock_system());
    if (!progress->shown || (now - progress->last_us < BAR_INTERVAL_US && step->done < step->total))
        return true;
    progress->last_us = now;
    char bar[BAR_WIDTH + 1], done[32], total[32];
    const uint64_t filled = step->total > 0 ? step->done * BAR_WIDTH / step->total : 0;
    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = 0;
    cli_size_text(step->done, done);
    cli_size_text(step->total, total);
    fprintf(stderr, "\r%s [%s] %s of %s\033[K", progress->what, bar, done, total);
    return true;
}

void cli_progress_end(cli_progress *progress)
{
    if (progress->shown && progress->last_us > 0)
        fputc('\n', stderr);
    progress->shown = false;
}

int cli_read_file(const cli_context *cli, const char *path, size_t max, char **ret)
{
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(path, "re");
    char *text = file ? malloc(max + 1) : NULL;
    const size_t size = text ? fread(text, 1, max + 1, file) : 0;
    if (!text || ferror(file) || size > max) {
        char larger[48];
        snprintf(larger, sizeof larger, "it is larger than %zu bytes", max);
        const char *why = size > max ? larger : strerror(errno);
        free(text);
        return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read '%.200s': %s", path, why);
    }
    text[size] = '\0';
    *ret = text;
    return CLI_EXIT_OK;
}
