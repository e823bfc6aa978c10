/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that somebody has taken over tries one thing after the other, under the very sandbox of
 * dacm-media, and gets nowhere. That each would succeed elsewhere is tried too. */
#include "attempts.h"
#include "sandbox_internal.h"
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

TEST(each_attempt_ends_its_worker)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    for (size_t i = 0; i < attempt_count; i++) {
        char source[64];
        ended_job outcome;
        snprintf(source, sizeof source, "try %s", attempts[i].name);
        run_job(workers, source, &outcome);
        outcome_done(&outcome);
        const rpc_code code = outcome.status.code;
        const bool killed = code == RPC_INTERNAL && strstr(outcome.status.message, "forbidden");
        /* A sanitizer's runtime is told no where others are killed. */
        const bool refused = MEDIA__SANITIZED && code == RPC_FAILED_PRECONDITION;
        if (!killed && !refused)
            fail_msg("%s: %s '%s'", attempts[i].name, rpc_code_name(code), outcome.status.message);
    }
    media_workers_stop(workers);
}

/* ---- from outside ----------------------------------------------------------------------------
 */

/** A child that is deep in its work, beside another one; its walls stand then. */
static pid_t child_at_work(media_workers *workers, ended_job *first, ended_job *second)
{
    char line[256], path[64];
    submit(workers, "wait", "one", first);
    submit(workers, "wait", "two", second);
    wait_running(workers, 2);
    pid_t child = 0;
    for (bool walled = false; !walled;) {
        child = child_of(child_of(getpid()));
        snprintf(path, sizeof path, "/proc/%d/status", (int)child);
        FILE *status = child > 0 ? fopen(path, "re") : NULL;
        while (status && fgets(line, sizeof line, status))
            walled = walled || strcmp(line, "Seccomp:\t2\n") == 0;
        if (status)
            fclose(status);
    }
    return child;
}

static media_workers *start_two(void)
{
    media_workers_options options = options_of_tests();
    options.workers = 2;
    return start(&options);
}

static bool has_no_privilege(pid_t pid)
{
    static const char *const lines[] = {
        "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n"};
    enum { LINES = sizeof lines / sizeof *lines };
    char path[64], line[256];
    unsigned found = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    assert_non_null(status);
    while (fgets(line, sizeof line, status))
        for (size_t i = 0; i < LINES; i++)
            found += strcmp(line, lines[i]) == 0;
    fclose(status);
    return found == LINES;
}

TEST(program_and_workers_have_no_privilege_left)
{
    ended_job first, second;
    media_workers *workers = start_two();
    const pid_t child = child_at_work(workers, &first, &second);
    const bool worker_has_none = has_no_privilege(child);
    const bool program_has_none = has_no_privilege(child_of(getpid()));
    media_workers_stop(workers);
    assert_true(worker_has_none && program_has_none);
}

TEST(a_worker_has_its_own_files_and_no_others)
{
    static const char *const kinds[] = {
        "/dev/null", "/dev/null", "/dev/null", "/memfd:", "/memfd:", "socket:"};
    enum { FILES = sizeof kinds / sizeof *kinds };
    ended_job first, second;
    char path[64], link[64] = "";
    media_workers *workers = start_two();
    const pid_t child = child_at_work(workers, &first, &second);
    snprintf(path, sizeof path, "/proc/%d/fd", (int)child);
    const unsigned count = files_in(path);
    for (int i = 0; count > 0 && i < FILES; i++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)child, i);
        assert_true(readlink(path, link, sizeof link - 1) > 0);
        if (!(MEDIA__SANITIZED && i == STDERR_FILENO))
            assert_memory_equal(link, kinds[i], strlen(kinds[i]));
    }
    media_workers_stop(workers);
    if (count == 0)
        skip(); /* it cannot be seen but by root */
    assert_int_equal(count, FILES);
}

/* ---- the same without a sandbox --------------------------------------------------------------
 */

/** Alone in a process, which may come to harm. */
static bool succeeds_outside(const attempt *tried)
{
    int wait_status = 0;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(tried->succeeds() ? 0 : 1);
    while (waitpid(pid, &wait_status, 0) != pid)
        ;
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
}

TEST(each_attempt_succeeds_outside_of_a_worker)
{
    for (size_t i = 0; i < attempt_count; i++)
        if (!succeeds_outside(&attempts[i])) {
            if (!attempts[i].depends)
                fail_msg("%s proves nothing: it fails without a sandbox too", attempts[i].name);
            print_message("%s is not possible here at all\n", attempts[i].name);
        }
}
