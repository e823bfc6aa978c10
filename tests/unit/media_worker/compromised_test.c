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
