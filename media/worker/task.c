/* SPDX-License-Identifier: Apache-2.0 */
/* One job on its way to a child and back. */
#include "memory_file_internal.h"
#include "pool_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- there ----------------------------------------------------------------------------------- */

static bool send_packet(const media__task *task, const media_workers_options *options,
    const media__program *program, int answer)
{
    const int files[] = {task->source, task->result, answer};
    media__job_packet job = {.kind = MEDIA__JOB,
        .priority = (uint32_t)options->priority,
        .id = task->id,
        .source_size = task->source_size,
        .memory_bytes = options->memory_bytes,
        .result_bytes_max = options->result_bytes_max,
        .cpu_s = options->deadline_ms / 1000 + 2};
    if (task->recipe) {
        job.recipe_size = (uint32_t)strlen(task->recipe);
        memcpy(job.recipe, task->recipe, job.recipe_size);
    }
    return media__send(program->socket, &job, sizeof job, files, 3);
}

/** Where the program is not to blame. */
static bool is_scarcity(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
           error == ETOOMANYREFS;
}

media__sent media__task_send(
    media__task *task, const media_workers_options *options, const media__program *program)
{
    /* One answer has room; who says more is not waited for. */
    const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int answers[2];
    task->result = media_source_open(NULL);
    if (task->result < 0 || socketpair(AF_UNIX, type, 0, answers) != 0) {
        media__task_unsend(task);
        return MEDIA__SCARCE;
    }
    task->answer = answers[0];
    const bool sent = send_packet(task, options, program, answers[1]);
    const bool scarce = !sent && is_scarcity(errno);
    close(answers[1]);
    if (!sent)
        media__task_unsend(task);
    return sent ? MEDIA__SENT : scarce ? MEDIA__SCARCE : MEDIA__BROKEN;
}

void media__task_unsend(media__task *task)
{
    rpc_cleanup_closep(&task->result);
    rpc_cleanup_closep(&task->answer);
}

void media__task_free(media__task *task)
{
    media__task_unsend(task);
    rpc_cleanup_closep(&task->source);
    free(task->recipe);
    free(task);
}

/* ---- back ------------------------------------------------------------------------------------ */

rpc_code media__task_killed(
    const media__task *task, const media_workers_options *options, rpc_status *ret)
{
    if (task->end == RPC_CANCELLED)
        return rpc_status_set(ret, task->end, "media: the job was cancelled");
    if (task->end == RPC_DEADLINE_EXCEEDED)
        return rpc_status_set(ret, task->end, "media: its caller's deadline passed");
    return rpc_status_set(ret, task->end, "media: the source cost more than %u.%03u s",
        options->deadline_ms / 1000, options->deadline_ms % 1000);
}

static rpc_code judge_signal(int signal, rpc_status *reterr)
{
    switch (signal) {
    case SIGSYS:
        return rpc_status_set(reterr, RPC_INTERNAL,
            "media: the source made its worker try what is forbidden; the file is broken or "
            "hostile");
    case SIGXCPU:
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "media: the source cost too much processor time");
    case SIGKILL:
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "media: a worker was killed by the system, which is short of memory; try again");
    default:
        return rpc_status_set(reterr, RPC_INTERNAL,
            "media: the source crashed its worker (signal %d); the file is broken or hostile",
            signal);
    }
}

/** Sealed first: nobody can change afterwards what was looked at. */
static rpc_code take_result(
    int result, uint64_t size, uint64_t size_max, media_made *made, rpc_status *reterr)
{
    uint64_t is = 0;
    if (media_source_seal(result, reterr) != RPC_OK || !media__sealed_size(result, &is) ||
        is != size || size > size_max)
        return rpc_status_set(reterr, RPC_INTERNAL,
            "media: the source's worker left %llu bytes and said %llu", (unsigned long long)is,
            (unsigned long long)size);
    if (size == 0 || media__map_sealed(result, size, &made->bytes))
        return RPC_OK;
    return rpc_status_set(
        reterr, RPC_UNAVAILABLE, "media: cannot map a variant: %s; try again", strerror(errno));
}

static rpc_code take_answer(const media__task *task, const media__answer *answer,
    const media_workers_options *options, media_made *made, rpc_status *reterr)
{
    rpc_code code = media__answer_unpack(answer, made, reterr);
    if (code == RPC_RESOURCE_EXHAUSTED) /* of this process */
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "media: no memory for an answer; try again");
    if (code != RPC_OK)
        return code;
    if (answer->size == 0 && task->recipe)
        return rpc_status_set(reterr, RPC_INTERNAL,
            "media: the source's worker gave an answer that is none: a variant of no bytes");
    made->source.bytes = task->source_size;
    made->figures.bytes = answer->size;
    return take_result(task->result, answer->size, options->result_bytes_max, made, reterr);
}

static rpc_code no_answer(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_INTERNAL,
        "media: the source's worker ended without an answer, or with one that is none");
}

/** A failure in the child's words: of those that media.h has. */
static rpc_code foreign_failure(media__answer *answer, rpc_status *reterr)
{
    static const uint32_t its = 1U << RPC_INVALID_ARGUMENT | 1U << RPC_FAILED_PRECONDITION |
                                1U << RPC_UNIMPLEMENTED | 1U << RPC_RESOURCE_EXHAUSTED |
                                1U << RPC_INTERNAL;
    if (!(its & 1U << answer->code))
        return no_answer(reterr);
    media__foreign_text(answer->message, sizeof answer->message);
    return rpc_status_set(reterr, (rpc_code)answer->code, "%s",
        answer->message[0] ? answer->message : rpc_code_name((rpc_code)answer->code));
}

static rpc_code judge_answer(const media__task *task, const media_workers_options *options,
    media_made *made, rpc_status *reterr)
{
    media__answer answer;
    const ssize_t got = media__receive(task->answer, &answer, sizeof answer, NULL, 0, MSG_DONTWAIT);
    if (got != (ssize_t)sizeof answer || answer.kind != MEDIA__ANSWER ||
        answer.code > RPC_UNAUTHENTICATED)
        return no_answer(reterr);
    if (answer.code != RPC_OK)
        return foreign_failure(&answer, reterr);
    return take_answer(task, &answer, options, made, reterr);
}

void media__task_judge(const media__task *task, const media__exited *exited,
    const media_workers_options *options, rpc_status *ret_status, media_made **ret_made)
{
    media_made *made = NULL;
    ret_status->code = RPC_OK;
    if (task->end != RPC_OK)
        media__task_killed(task, options, ret_status);
    else if (WIFSIGNALED(exited->wait_status))
        judge_signal(WTERMSIG(exited->wait_status), ret_status);
    else if (WEXITSTATUS(exited->wait_status) == MEDIA__EXIT_NOT_BEGUN)
        rpc_status_set(ret_status, RPC_UNAVAILABLE,
            "media: no process or descriptors for a worker; try again");
    else if (exited->wait_status != 0)
        rpc_status_set(ret_status, RPC_INTERNAL, "media: the source's worker ended with code %d",
            WEXITSTATUS(exited->wait_status));
    else if (!(made = calloc(1, sizeof *made)))
        rpc_status_set(ret_status, RPC_UNAVAILABLE, "media: no memory for a variant; try again");
    else
        judge_answer(task, options, made, ret_status);
    if (!made || ret_status->code != RPC_OK) {
        media_made_free(made);
        return;
    }
    made->cpu_us = exited->cpu_us;
    made->memory_bytes = exited->memory_bytes;
    *ret_made = made;
}

void media_made_free(media_made *made)
{
    if (!made)
        return;
    media__unmap(made->bytes);
    media_figures_done(&made->source);
    media_figures_done(&made->figures);
    free(made);
}
