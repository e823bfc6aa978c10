/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that have not all that the sandbox knows: made from this one by a filter that answers
 * ENOSYS. */
#include "support.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/wait.h>
#include <unistd.h>

/** In a process of its own: its kernel stays poor. */
static void assert_on_kernel_without(int call, int (*code)(void))
{
    int wait_status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0) != 0 ||
            seccomp_load(filter) != 0)
            _exit(100);
        seccomp_release(filter);
        _exit(code());
    }
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_true(WIFEXITED(wait_status));
    assert_int_equal(WEXITSTATUS(wait_status), 0); /* else the number of what failed */
}

static char told[256];

static void keep_line(void *ctx, bool warning, const char *line)
{
    (void)ctx;
    if (warning && !told[0])
        rpc_text_copy(told, sizeof told, line);
}

static int works_without_landlock(void)
{
    ended_job good, bad;
    media_workers_stats stats;
    media_workers_options options = options_of_tests();
    options.log = keep_line;
    media_workers *workers = start(&options);
    media_workers_get_stats(workers, &stats);
    run_job(workers, "source", &good);
    run_job(workers, "try openat2", &bad);
    media_workers_stop(workers);
    if (stats.landlock != 0 || !strstr(told, "no landlock"))
        return 1;
    if (good.status.code != RPC_OK || bad.status.code == RPC_OK)
        return 2;
    outcome_done(&good);
    return 0;
}

TEST(without_landlock_the_filter_of_calls_is_the_wall_and_the_log_says_so)
{
    assert_on_kernel_without(SCMP_SYS(landlock_create_ruleset), works_without_landlock);
}

static int is_refused(const char *words)
{
    rpc_status status;
    media_workers *workers = NULL;
    const media_workers_options options = options_of_tests();
    if (media_workers_start(&options, &workers, &status) != RPC_FAILED_PRECONDITION)
        return 1;
    if (!strstr(status.message, words))
        print_message("%s\n", status.message);
    return strstr(status.message, words) ? 0 : 2;
}

static int is_refused_for_seccomp(void)
{
    return is_refused("(seccomp): Function not implemented");
}

TEST(without_seccomp_nothing_starts)
{
    assert_on_kernel_without(SCMP_SYS(seccomp), is_refused_for_seccomp);
}

static int is_refused_for_landlock(void)
{
    return is_refused("sandbox cannot be set up here: landlock");
}

TEST(with_half_a_landlock_nothing_starts)
{
    assert_on_kernel_without(SCMP_SYS(landlock_restrict_self), is_refused_for_landlock);
}
