/* SPDX-License-Identifier: Apache-2.0 */
/* dacm audit verify: the trail of any of the servers, without it and without its configuration. */
#include "audit.h"
#include "cleanup.h"
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define HEAD_DIGITS 64

enum { OPTION_HEAD = 512, OPTION_KEYS };

typedef struct audit_arguments {
    cli_context *cli;
    const char *folder, *head, *keys;
} audit_arguments;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    audit_arguments *audit = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = audit->cli;
        return 0;
    case OPTION_HEAD:
        if (strlen(argument) != HEAD_DIGITS || strspn(argument, "0123456789abcdef") != HEAD_DIGITS)
            argp_error(state, "--head takes the %d digits that an earlier run printed, not '%s'",
                HEAD_DIGITS, argument);
        audit->head = argument;
        return 0;
    case OPTION_KEYS:
        audit->keys = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (audit->folder)
            argp_error(state, "what is '%s'?", argument);
        audit->folder = argument;
        return 0;
    case ARGP_KEY_END:
        if (!audit->folder)
            argp_error(state, "which folder? The one that audit.directory of the server names");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- a head of before -----------------------------------------------------------------------
 */

/** Is it the beginning of a line? */
static bool in_segment(const char *path, const char *head, bool *ret_read)
{
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(path, "re");
    RPC_AUTOFREE char *line = NULL;
    size_t room = 0;
    bool found = false;
    *ret_read = file != NULL;
    while (file && !found && getline(&line, &room, file) > HEAD_DIGITS)
        found = strncmp(line, head, HEAD_DIGITS) == 0;
    *ret_read = *ret_read && !ferror(file);
    return found;
}

/** Of a trail that verifies: was head once its last line? Whoever removed records has to have
 *  removed that line. A head of zeros is that of a trail without records. */
static int find_head(const cli_context *cli, const char *folder, const char *head)
{
    bool found = strspn(head, "0") == HEAD_DIGITS, read = true;
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    while (entries && read && !found && (entry = readdir(entries))) {
        RPC_AUTOFREE char *path = NULL;
        if (strncmp(entry->d_name, "audit-", 6) != 0)
            continue;
        if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0)
            path = NULL;
        found = path && in_segment(path, head, &read);
    }
    read = read && entries;
    if (entries)
        closedir(entries);
    if (!read)
        return cli_fail_text(
            cli, DACM_LOCAL_FILE, "cannot read the trail in '%.200s': %s", folder, strerror(errno));
    return found ? CLI_EXIT_OK
                 : cli_fail_text(cli, DACM_DATA_LOSS,
                       "the chain holds, but the record that --head names is not in it: records "
                       "were removed or made anew, or old segments moved away, or it is the head "
                       "of another trail");
}

/* ---- the command ----------------------------------------------------------------------------
 */

/** A trail that is not there or cannot be read is a file's fault, whatever gRPC calls it. */
static int fail(const cli_context *cli, const rpc_status *status)
{
    dacm_error error;
    cli_fail_status(&error, status);
    if (error.code == DACM_NOT_FOUND || error.code == DACM_UNAVAILABLE)
        error.code = DACM_LOCAL_FILE;
    return cli_fail(cli, &error);
}

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)

static int read_keys(const cli_context *cli, const char *path, trust_keyring **ret)
{
    RPC_AUTOFREE char *text = NULL;
    rpc_status status;
    const int code = cli_read_file(cli, path, TRUST_JWKS_BYTES_MAX, &text);
    if (code != CLI_EXIT_OK)
        return code;
    return trust_keyring_parse(rpc_bytes_str(text), TRUST_FOR_AUDIT, 1, ret, &status) == RPC_OK
               ? CLI_EXIT_OK
               : fail(cli, &status);
}

/** When it was: who shortened the trail to an old seal cannot make a newer one. */
static void print_sealed(const trust_audit_sealed *sealed)
{
    char when[64] = "never";
    const time_t seconds = (time_t)(sealed->time_ms / 1000);
    struct tm broken;
    if (sealed->count && gmtime_r(&seconds, &broken))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &broken);
    printf("%" PRIu64 " seals hold; the newest is of record %" PRIu64 ", made %s\n", sealed->count,
        sealed->record, when);
}

/** sealed NULL: nobody asked. */
static void print_json(
    uint64_t first, uint64_t records, const char *head, const trust_audit_sealed *sealed)
{
    json_t *object = json_pack("{s:I, s:I, s:s}", "first", (json_int_t)first, "records",
        (json_int_t)records, "head", head);
    json_t *seals = sealed
                        ? json_pack("{s:I, s:I, s:I}", "count", (json_int_t)sealed->count, "record",
                              (json_int_t)sealed->record, "time_ms", (json_int_t)sealed->time_ms)
                        : NULL;
    if (object && seals)
        json_object_set_new(object, "seals", seals);
    cli_print_json(object);
}

int cli_audit_verify(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"head", OPTION_HEAD, "DIGITS", 0,
            "what an earlier run printed, and was kept elsewhere: no record up to it was removed",
            1},
        {"keys", OPTION_KEYS, "FILE", 0,
            "public keys of the seals, as dacm pki keys --for audit made them: nothing up to the "
            "newest seal was changed",
            1},
        {0}};
    static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, "DIR",
        "Follows the chain of an audit trail (dacmd's, simsd's, skmsd's), and prints its "
        "head.\vDIR "
        "is the server's audit.directory, or a copy of it; the server may run meanwhile. Keep the "
        "head elsewhere: nobody can then shorten the trail unnoticed.",
        children, NULL, NULL};
    audit_arguments audit = {.cli = cli};
    uint64_t first = 0, records = 0;
    char head[HEAD_DIGITS + 1];
    rpc_status status;
    int code = cli_parse(&argp, "dacm audit verify", argc, argv, &audit);
    if (code >= 0)
        return code;
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    trust_audit_sealed sealed;
    if (audit.keys && (code = read_keys(cli, audit.keys, &ring)) != CLI_EXIT_OK)
        return code;
    if (trust_audit_verify_sealed(audit.folder, ring, &first, &records, head, &sealed, &status) !=
        RPC_OK)
        return fail(cli, &status);
    if (audit.head && (code = find_head(cli, audit.folder, audit.head)) != CLI_EXIT_OK)
        return code;
    if (cli->json)
        print_json(first, records, head, ring ? &sealed : NULL);
    else
        printf("%" PRIu64 " records from number %" PRIu64 " on, the chain holds; its head is\n%s\n",
            records, first, head);
    if (!cli->json && ring)
        print_sealed(&sealed);
    return CLI_EXIT_OK;
}
