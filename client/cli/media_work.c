/* SPDX-License-Identifier: Apache-2.0 */
#include "media_work.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

enum { OPTION_TIMEOUT = 896, OPTION_MEMORY };

#define TIMEOUT_S_DEFAULT 120
#define MIB               ((uint64_t)1 << 20)

static const struct argp_option options[] = {
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "that a file may cost (120)", 3},
    {"memory", OPTION_MEMORY, "MIB", 0, "that a file may cost (1024)", 3},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    media_workers_options *limits = state->input;
    switch (key) {
    case OPTION_TIMEOUT: {
        const uint64_t seconds = cli_number(state, argument);
        if (seconds < 1 || seconds > MEDIA_WORKERS_DEADLINE_MAX / 1000)
            argp_error(state, "--timeout takes 1 to %d", MEDIA_WORKERS_DEADLINE_MAX / 1000);
        limits->deadline_ms = (uint32_t)seconds * 1000;
        return 0;
    }
    case OPTION_MEMORY: {
        const uint64_t mib = cli_number(state, argument);
        if (mib < MEDIA_MEMORY_BYTES_MIN / MIB || mib > MEDIA_MEMORY_BYTES_MAX / MIB)
            argp_error(state, "--memory takes %d to %d", (int)(MEDIA_MEMORY_BYTES_MIN / MIB),
                (int)(MEDIA_MEMORY_BYTES_MAX / MIB));
        limits->memory_bytes = mib * MIB;
        return 0;
    }
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_media_argp = {.options = options, .parser = parse};

media_workers_options cli_media_defaults(void)
{
    media_workers_options limits = media_workers_defaults();
    limits.workers = 1;
    limits.deadline_ms = TIMEOUT_S_DEFAULT * 1000;
    limits.priority = MEDIA_PRIORITY_NORMAL;
    return limits;
}

static int fail(const cli_context *cli, const rpc_status *status)
{
    dacm_error error;
    cli_fail_status(&error, status);
    return cli_fail(cli, &error);
}

int cli_media_start(const cli_context *cli, media_workers_options *limits, media_workers **ret)
{
    char program[4096];
    dacm_error error;
    rpc_status status;
    if (cli_sibling("dacm-media", program, sizeof program, &error) != DACM_OK)
        return cli_fail(cli, &error);
    limits->program = program;
    return media_workers_start(limits, ret, &status) == RPC_OK ? CLI_EXIT_OK : fail(cli, &status);
}

/* ---- one file -------------------------------------------------------------------------------- */

static int read_failed(const cli_context *cli, const char *path, const char *why)
{
    return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read '%.200s': %s", path, why);
}

static int copy_file(const cli_context *cli, const char *path, int file, int source)
{
    static uint8_t block[1 << 16];
    rpc_status status;
    uint64_t size = 0;
    for (;;) {
        const ssize_t got = read(file, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return read_failed(cli, path, strerror(errno));
        if (got == 0)
            break;
        size += (uint64_t)got;
        if (size > media_workers_defaults().source_bytes_max)
            return read_failed(cli, path, "it is larger than 256 MiB");
        if (media_source_write(source, rpc_bytes_of(block, (size_t)got), &status) != RPC_OK)
            return fail(cli, &status);
    }
    if (size == 0)
        return read_failed(cli, path, "it is empty");
    return media_source_seal(source, &status) == RPC_OK ? CLI_EXIT_OK : fail(cli, &status);
}

static int load(const cli_context *cli, const char *path, int *ret)
{
    rpc_status status;
    RPC_AUTOCLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return read_failed(cli, path, strerror(errno));
    RPC_AUTOCLOSE int source = media_source_open(&status);
    if (source < 0)
        return fail(cli, &status);
    const int code = copy_file(cli, path, file, source);
    if (code == CLI_EXIT_OK)
        *ret = rpc_take_fd(&source);
    return code;
}

typedef struct awaited {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
    rpc_status status;
    media_made *made;
} awaited;

static void note(void *ctx, const rpc_status *status, media_made *made)
{
    awaited *job = ctx;
    pthread_mutex_lock(&job->lock);
    job->ended = true;
    job->status = *status;
    job->made = made;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->lock);
}

/** A file that is broken is a file's fault, whatever gRPC calls it; the message says which. */
static int fail_file(const cli_context *cli, const char *path, const rpc_status *status)
{
    const bool broken = status->code == RPC_INVALID_ARGUMENT;
    return cli_fail_text(cli, broken ? DACM_LOCAL_FILE : (dacm_code)status->code, "'%.100s': %s",
        path, status->message);
}

int cli_media_run(const cli_context *cli, media_workers *workers, const char *path,
    const char *recipe, media_made **ret)
{
    awaited job = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    media_job asked = {.recipe = recipe, .share = "dacm", .done = note, .ctx = &job};
    rpc_status status;
    const int code = load(cli, path, &asked.source);
    if (code != CLI_EXIT_OK)
        return code;
    if (media_workers_submit(workers, &asked, NULL, NULL, &status) != RPC_OK) {
        close(asked.source);
        return fail(cli, &status);
    }
    pthread_mutex_lock(&job.lock);
    while (!job.ended)
        pthread_cond_wait(&job.changed, &job.lock);
    pthread_mutex_unlock(&job.lock);
    if (job.status.code != RPC_OK)
        return fail_file(cli, path, &job.status);
    *ret = job.made;
    return CLI_EXIT_OK;
}
