/* SPDX-License-Identifier: Apache-2.0 */
/* One job, in a process of its own. It prepares what needs the system, shuts itself in, and only
 * then touches the source. */
#include "child_internal.h"
#include "memory_file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ABOVE_ALL 64 /* numbers that no file of ours has yet */

static struct {
    uint64_t memory_bytes, result_bytes_max;
} self; /* the limits of this process's job */

/* ---- before ---------------------------------------------------------------------------------- */

/** Whatever else came along is closed: the pool's socket, above all. */
static bool place_files(const int files[MEDIA__FILES])
{
    static const int places[MEDIA__FILES] = {MEDIA__FD_SOURCE, MEDIA__FD_RESULT, MEDIA__FD_ANSWER};
    int kept[MEDIA__FILES];
    for (int i = 0; i < MEDIA__FILES; i++)
        if ((kept[i] = fcntl(files[i], F_DUPFD, ABOVE_ALL)) < 0)
            return false;
    for (int i = 0; i < MEDIA__FILES; i++)
        if (dup2(kept[i], places[i]) < 0)
            return false;
    return close_range(MEDIA__FD_ANSWER + 1, ~0U, 0) == 0;
}

/** Standard error is the server's log, which is not for a child to write to. */
static bool silence(void)
{
    return MEDIA__SANITIZED || dup2(STDOUT_FILENO, STDERR_FILENO) >= 0;
}

static bool die_with(pid_t parent)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent;
}

static const char *const parts[] = {"privileges", "landlock", "resource limits", "seccomp"};

/** Returns the part that failed, with errno; NULL: none. */
static const char *shut_in(const media__limits *limits, const media__filter *filter)
{
    if (!media__renounce())
        return parts[0];
    if (!media__landlock()) /* before limits: it needs a descriptor */
        return parts[1];
    if (!media__limit(limits))
        return parts[2];
    return media__seccomp(filter) ? NULL : parts[3];
}

/* ---- the answer ------------------------------------------------------------------------------ */

_Noreturn static void give(const rpc_status *status, const media_made *made)
{
    static media__answer answer; /* large, and memory may be short */
    media__answer_pack(status, made, &answer);
    const bool given = write(MEDIA__FD_ANSWER, &answer, sizeof answer) == (ssize_t)sizeof answer;
    _exit(given ? 0 : 1);
}

_Noreturn static void fail(rpc_code code, const char *what)
{
    rpc_status status;
    rpc_status_set(&status, code, "media: a worker cannot %s: %s", what, strerror(errno));
    give(&status, NULL);
}

_Noreturn static void fail_memory(void)
{
    rpc_status status;
    rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED,
        "media: the source cost more than %llu MiB of memory",
        (unsigned long long)(self.memory_bytes >> 20));
    give(&status, NULL);
}

void *media_child_alloc(size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory)
        fail_memory();
    return memory;
}

/* ---- the job --------------------------------------------------------------------------------- */

static rpc_bytes map_source(const media__job_packet *job)
{
    uint64_t size = 0;
    rpc_bytes source = {0};
    if (!media__sealed_size(MEDIA__FD_SOURCE, &size) || size != job->source_size || size == 0) {
        errno = EPERM;
        fail(RPC_INTERNAL, "use a source that is not sealed");
    }
    if (!media__map_sealed(MEDIA__FD_SOURCE, size, &source))
        fail(RPC_RESOURCE_EXHAUSTED, "map the source");
    return source;
}

static void write_result(const media_made *made)
{
    rpc_status status;
    if (made->bytes.size > self.result_bytes_max) {
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED,
            "media: the variant has %zu bytes, at most %llu are allowed", made->bytes.size,
            (unsigned long long)self.result_bytes_max);
        give(&status, NULL);
    }
    if (!media__write_all(MEDIA__FD_RESULT, made->bytes))
        fail(RPC_RESOURCE_EXHAUSTED, "write the variant");
}

_Noreturn void media__child_run(const media__job_packet *job, const int files[MEDIA__FILES],
    const media__filter *filter, pid_t parent, const media_child_work *work)
{
    media_made made = {0};
    rpc_status status = {.code = RPC_OK};
    const media__limits limits = {.memory_bytes = job->memory_bytes,
        .result_bytes_max = job->result_bytes_max,
        .cpu_s = job->cpu_s,
        .priority = (media_priority)job->priority};
    self.memory_bytes = job->memory_bytes;
    self.result_bytes_max = job->result_bytes_max;
    if (!place_files(files) || !die_with(parent) || !silence())
        _exit(MEDIA__EXIT_NOT_BEGUN);
    if (work->prepare)
        work->prepare();
    const rpc_bytes source = map_source(job);
    const char *part = shut_in(&limits, filter);
    if (part) {
        rpc_status_set(&status, RPC_INTERNAL,
            "media: a worker's sandbox cannot be set up, though it could at the start: %s: %s",
            part, strerror(errno));
        give(&status, NULL);
    }
    status.code = work->run(source, job->recipe_size > 0 ? job->recipe : NULL, &made, &status);
    if (status.code == RPC_OK)
        write_result(&made);
    give(&status, &made);
}

_Noreturn void media__child_try(const media__filter *filter, int why)
{
    const media__limits limits = {.memory_bytes = MEDIA_MEMORY_BYTES_MIN, .cpu_s = 1};
    const int answer = dup2(why, MEDIA__FD_ANSWER);
    const char *part = answer < 0 ? "descriptors" : shut_in(&limits, filter);
    if (part)
        dprintf(
            MEDIA__FD_ANSWER, "its sandbox cannot be set up here: %s: %s", part, strerror(errno));
    _exit(part ? 1 : 0);
}
