/* SPDX-License-Identifier: Apache-2.0 */
/* Queue, shares, limits and the life of the program. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOSTILE 50

static int64_t in_ms(int64_t ms)
{
    return rpc_clock_monotonic_us(rpc_clock_system()) + ms * 1000;
}

static void assert_ended(ended_job *outcome, rpc_code code, const char *words)
{
    wait_for(outcome);
    if (outcome->status.code != code || (words && !strstr(outcome->status.message, words)))
        fail_msg("ended with %s '%s' instead of %s '%s'", rpc_code_name(outcome->status.code),
            outcome->status.message, rpc_code_name(code), words ? words : "");
    outcome_done(outcome);
}

/* ---- jobs ------------------------------------------------------------------------------------
 */

TEST(a_job_gets_its_variant_and_figures)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    ended_job outcome;
    run_job(workers, "source", &outcome);
    assert_int_equal(outcome.status.code, RPC_OK);
    const media_made *made = outcome.made;
    assert_int_equal(made->bytes.size, 8);
    assert_memory_equal(made->bytes.data, "{}source", 8);
    assert_string_equal(made->media_type, "text/plain");
    assert_string_equal(made->why, "seams?[2J");
    assert_int_equal(made->source.bytes, 6);
    assert_int_equal(made->source.triangles, 12);
    assert_int_equal(made->source.extensions_required.count, 1);
    assert_string_equal(made->source.extensions_required.list[0], "EXT_one");
    assert_int_equal(made->figures.bytes, 8);
    assert_int_equal(made->figures.triangles, 6);
    assert_int_equal(made->triangles_asked, 5);
    assert_true(made->memory_bytes > 0);
    outcome_done(&outcome);
    media_workers_stop(workers);
}

TEST(an_inspection_gets_figures_only)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    ended_job outcome;
    submit_job(workers, "source", (media_job){.share = "someone"}, &outcome);
    wait_for(&outcome);
    assert_int_equal(outcome.status.code, RPC_OK);
    assert_int_equal(outcome.made->bytes.size, 0);
    assert_int_equal(outcome.made->source.triangles, 12);
    outcome_done(&outcome);
    media_workers_stop(workers);
}

TEST(what_a_source_is_told_reaches_its_caller)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    ended_job outcome;
    run_job(workers, "broken", &outcome);
    assert_ended(&outcome, RPC_INVALID_ARGUMENT, "gltf: /nodes/3: broken");
    media_workers_stop(workers);
}

TEST(work_that_decoders_do_is_possible)
{
    media_workers_options options = options_of_tests();
    options.priority = MEDIA_PRIORITY_NORMAL; /* beside other tests a sanitizer takes its time */
    options.deadline_ms = 60000;
    media_workers *workers = start(&options);
    ended_job outcome;
    run_job(workers, "hard", &outcome);
    assert_ended(&outcome, RPC_OK, NULL);
    media_workers_stop(workers);
}

TEST(many_jobs_at_a_time_each_get_their_own)
{
    enum { JOBS = 64 };
    static ended_job outcomes[JOBS];
    static char sources[JOBS][24];
    media_workers_options options = options_of_tests();
    options.workers = options.share_running = 4;
    options.share_jobs = JOBS;
    media_workers *workers = start(&options);
    for (int i = 0; i < JOBS; i++) {
        snprintf(sources[i], sizeof sources[i], "number %d", i);
        submit(workers, sources[i], "someone", &outcomes[i]);
    }
    for (int i = 0; i < JOBS; i++) {
        wait_for(&outcomes[i]);
        assert_int_equal(outcomes[i].status.code, RPC_OK);
        const rpc_bytes bytes = outcomes[i].made->bytes;
        assert_true(rpc_bytes_equal(
            rpc_bytes_of(bytes.data + 2, bytes.size - 2), rpc_bytes_str(sources[i])));
        outcome_done(&outcomes[i]);
    }
    media_workers_stop(workers);
}

TEST(a_source_that_others_could_change_is_refused)
{
    media_workers_options options = options_of_tests();
    options.source_bytes_max = 4;
    media_workers *workers = start(&options);
    rpc_status status;
    media_job job = {.source = media_source_open(NULL), .share = "someone"};
    assert_int_equal(media_source_write(job.source, rpc_bytes_str("abc"), NULL), RPC_OK);
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "not sealed"));
    close(job.source); /* still ours */
    job.source = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    close(job.source);
    job.source = source_of("");
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "empty"));
    close(job.source);
    job.source = source_of("abcde");
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "5 bytes, at most 4"));
    close(job.source);
    media_workers_stop(workers);
}

TEST(a_source_cannot_be_changed_or_executed)
{
    const int source = source_of("#!/bin/true");
    struct stat st;
    assert_int_equal(fstat(source, &st), 0);
    assert_int_equal(write(source, "x", 1), -1);
    assert_int_equal(ftruncate(source, 0), -1);
    assert_int_equal(ftruncate(source, 100), -1);
    assert_int_equal(fcntl(source, F_ADD_SEALS, F_SEAL_WRITE), -1);
    if ((fcntl(source, F_GET_SEALS) & 0x20) == 0) /* F_SEAL_EXEC */
        print_message("this kernel's memory files are executable\n");
    else
        assert_int_equal(st.st_mode & 0111, 0);
    close(source);
}

TEST(a_recipe_or_share_beyond_its_size_is_refused)
{
    static char longest[MEDIA_RECIPE_ROOM + 1];
    memset(longest, 'x', MEDIA_RECIPE_ROOM);
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    rpc_status status;
    media_job job = {.source = source_of("abc"), .share = "someone", .recipe = longest};
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "recipe"));
    job.recipe = NULL;
    job.share = longest;
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    job.share = "";
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "share"));
    close(job.source);
    media_workers_stop(workers);
}

/* ---- limits ---------------------------------------------------------------------------------- */

TEST(a_loop_costs_no_more_than_the_deadline_of_a_job)
{
    media_workers_options options = options_of_tests();
    options.deadline_ms = 150;
    media_workers *workers = start(&options);
    ended_job loop, next;
    submit(workers, "loop", "someone", &loop);
    submit(workers, "next", "someone", &next);
    assert_ended(&loop, RPC_RESOURCE_EXHAUSTED, "cost more than 0.150 s");
    wait_for(&next);
    outcome_done(&next);
    assert_true(next.place > loop.place);
    media_workers_stop(workers);
}

TEST(a_callers_deadline_ends_what_runs_and_what_waits)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    ended_job runs, waits;
    const media_job job = {.recipe = "{}", .share = "someone", .deadline_us = in_ms(200)};
    submit_job(workers, "wait", job, &runs);
    submit_job(workers, "source", job, &waits);
    assert_ended(&runs, RPC_DEADLINE_EXCEEDED, "caller's deadline");
    assert_ended(&waits, RPC_DEADLINE_EXCEEDED, "caller's deadline");
    media_workers_stop(workers);
}

TEST(a_full_queue_says_when_to_try_again)
{
    media_workers_options options = options_of_tests();
    options.queue_length = 2;
    media_workers *workers = start(&options);
    ended_job runs, first, second;
    submit(workers, "wait", "one", &runs);
    wait_running(workers, 1);
    submit(workers, "a", "one", &first);
    submit(workers, "b", "two", &second);
    rpc_status status;
    uint32_t retry_ms = 0;
    media_job job = {.source = source_of("c"), .share = "three"};
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, &retry_ms, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "at most 2 adaptations wait; try again in"));
    assert_true(retry_ms >= 100);
    close(job.source);
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.refused_queue, 1);
    assert_int_equal(stats.running, 1);
    assert_int_equal(stats.queued, 2);
    media_workers_stop(workers);
    assert_ended(&runs, RPC_CANCELLED, NULL);
    assert_ended(&first, RPC_CANCELLED, NULL);
    assert_ended(&second, RPC_CANCELLED, NULL);
}

TEST(a_full_share_leaves_room_for_others)
{
    media_workers_options options = options_of_tests();
    options.share_jobs = 2;
    media_workers *workers = start(&options);
    ended_job runs, waits, other;
    submit(workers, "wait", "one", &runs);
    wait_running(workers, 1);
    submit(workers, "wait", "one", &waits);
    rpc_status status;
    uint32_t retry_ms = 0;
    media_job job = {.source = source_of("c"), .share = "one"};
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, &retry_ms, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "at most 2 adaptations of a user are under way"));
    assert_true(retry_ms >= 100);
    close(job.source);
    submit(workers, "source", "two", &other);
    media_workers_cancel(workers, runs.id);
    assert_ended(&other, RPC_OK, NULL);
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.refused_share, 1);
    media_workers_stop(workers);
    assert_ended(&runs, RPC_CANCELLED, NULL);
    assert_ended(&waits, RPC_CANCELLED, NULL);
}

TEST(sources_in_memory_have_a_bound_of_their_own)
{
    media_workers_options options = options_of_tests();
    options.source_bytes_max = 6;
    options.held_bytes_max = 10;
    media_workers *workers = start(&options);
    ended_job runs, waits;
    submit(workers, "wait", "one", &runs);
    wait_running(workers, 1);
    submit(workers, "source", "two", &waits);
    rpc_status status;
    uint32_t retry_ms = 0;
    media_job job = {.source = source_of("x"), .share = "three"};
    assert_int_equal(
        media_workers_submit(workers, &job, NULL, &retry_ms, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "at most 10 bytes wait"));
    assert_true(retry_ms >= 100);
    close(job.source);
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.held_bytes, 10);
    assert_int_equal(stats.refused_bytes, 1);
    media_workers_cancel(workers, runs.id);
    assert_ended(&runs, RPC_CANCELLED, NULL);
    assert_ended(&waits, RPC_OK, NULL);
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.held_bytes, 0);
    media_workers_stop(workers);
}

TEST(whether_a_job_would_be_taken_is_known_before_its_source_is_loaded)
{
    media_workers_options options = options_of_tests();
    options.share_jobs = 1;
    options.source_bytes_max = 100;
    media_workers *workers = start(&options);
    ended_job runs;
    rpc_status status;
    uint32_t retry_ms = 0;
    assert_int_equal(media_workers_admit(workers, "one", 100, &retry_ms, &status), RPC_OK);
    assert_int_equal(media_workers_admit(workers, "one", 101, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(media_workers_admit(workers, "one", 0, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(media_workers_admit(workers, "", 1, NULL, &status), RPC_INVALID_ARGUMENT);
    submit(workers, "wait", "one", &runs);
    assert_int_equal(
        media_workers_admit(workers, "one", 1, &retry_ms, &status), RPC_RESOURCE_EXHAUSTED);
    assert_true(retry_ms >= 100);
    assert_int_equal(media_workers_admit(workers, "two", 1, &retry_ms, &status), RPC_OK);
    assert_int_equal(retry_ms, 0);
    media_workers_stop(workers);
    assert_ended(&runs, RPC_CANCELLED, NULL);
}

TEST(one_honest_job_is_served_beside_fifty_hostile_ones)
{
    static const char *const kinds[] = {
        "loop", "segfault", "wait", "garbage", "giant", "flood", "try fork", "abort"};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    static ended_job hostile[HOSTILE];
    ended_job holds, honest;
    unsigned earlier = 0;
    media_workers_options options = options_of_tests();
    options.share_jobs = HOSTILE;
    options.deadline_ms = 2000;
    options.result_bytes_max = 1 << 20;
    media_workers *workers = start(&options);
    submit(workers, "wait", "third", &holds);
    wait_running(workers, 1);
    for (size_t i = 0; i < HOSTILE; i++)
        submit(workers, kinds[i % KINDS], "attacker", &hostile[i]);
    submit(workers, "source", "user", &honest);
    media_workers_cancel(workers, holds.id);
    assert_ended(&honest, RPC_OK, NULL);
    for (size_t i = KINDS; i < HOSTILE; i++)
        media_workers_cancel(workers, hostile[i].id);
    for (size_t i = 0; i < HOSTILE; i++) {
        wait_for(&hostile[i]);
        assert_int_not_equal(hostile[i].status.code, RPC_OK);
        earlier += hostile[i].place < honest.place;
    }
    assert_int_equal(earlier, 1);
    media_workers_stop(workers);
}

TEST(one_share_never_has_all_workers_however_many_there_are)
{
    enum { WORKERS = 3 };
    ended_job many[WORKERS], few;
    media_workers_options options = options_of_tests();
    options.workers = WORKERS;
    media_workers *workers = start(&options);
    for (int i = 0; i < WORKERS; i++)
        submit(workers, "wait", "many", &many[i]);
    wait_running(workers, WORKERS - 1);
    submit(workers, "source", "few", &few);
    assert_ended(&few, RPC_OK, NULL);
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.running, WORKERS - 1);
    assert_int_equal(stats.queued, 1);
    media_workers_stop(workers);
    for (int i = 0; i < WORKERS; i++)
        assert_ended(&many[i], RPC_CANCELLED, NULL);
}

TEST(shares_take_turns)
{
    enum { EACH = 4 };
    ended_job holds, many[EACH], few;
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    submit(workers, "wait", "third", &holds);
    wait_running(workers, 1);
    for (int i = 0; i < EACH; i++)
        submit(workers, "source", "many", &many[i]);
    submit(workers, "source", "few", &few);
    media_workers_cancel(workers, holds.id);
    assert_ended(&holds, RPC_CANCELLED, NULL);
    assert_ended(&few, RPC_OK, NULL);
    for (int i = 0; i < EACH; i++) {
        assert_ended(&many[i], RPC_OK, NULL);
        assert_int_equal(many[i].place < few.place, i == 0);
    }
    media_workers_stop(workers);
}

TEST(a_job_that_another_share_wants_too_is_served_at_its_turn)
{
    enum { EACH = 4 };
    ended_job holds, many[EACH];
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    submit(workers, "wait", "third", &holds);
    wait_running(workers, 1);
    for (int i = 0; i < EACH; i++)
        submit(workers, "source", "many", &many[i]);
    media_workers_lend(workers, many[0].id, "few"); /* is the next one as it is */
    media_workers_lend(workers, many[3].id, "few");
    media_workers_lend(workers, many[3].id, "many"); /* and stays there */
    media_workers_lend(workers, holds.id, "few");    /* runs */
    media_workers_lend(workers, 12345, "few");
    media_workers_lend(workers, many[2].id, "");
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.queued, EACH);
    assert_int_equal(stats.shares, 3);
    media_workers_cancel(workers, holds.id);
    assert_ended(&holds, RPC_CANCELLED, NULL);
    for (int i = 0; i < EACH; i++)
        assert_ended(&many[i], RPC_OK, NULL);
    assert_true(many[0].place < many[3].place);
    assert_true(many[3].place < many[1].place && many[1].place < many[2].place);
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.shares, 0);
    media_workers_stop(workers);
}

TEST(a_job_is_not_lent_to_a_share_that_has_as_much_to_wait_for)
{
    ended_job holds, first, second, other;
    media_workers_options options = options_of_tests();
    options.share_jobs = 2;
    media_workers *workers = start(&options);
    submit(workers, "wait", "busy", &holds);
    wait_running(workers, 1);
    submit(workers, "source", "many", &first);
    submit(workers, "source", "many", &second);
    media_workers_lend(workers, second.id, "busy"); /* one of it runs, and no more may */
    submit(workers, "source", "few", &other);
    media_workers_lend(workers, second.id, "few"); /* one waits there, too */
    media_workers_cancel(workers, holds.id);
    assert_ended(&holds, RPC_CANCELLED, NULL);
    assert_ended(&first, RPC_OK, NULL);
    assert_ended(&other, RPC_OK, NULL);
    assert_ended(&second, RPC_OK, NULL);
    assert_true(first.place < other.place && other.place < second.place);
    media_workers_stop(workers);
}

TEST(options_outside_of_their_range_are_refused)
{
    media_workers *workers = NULL;
    rpc_status status;
    const media_workers_options good = options_of_tests();
    media_workers_options bad[10];
    for (int i = 0; i < 10; i++)
        bad[i] = good;
    bad[0].workers = 0;
    bad[1].workers = MEDIA_WORKERS_MAX + 1;
    bad[2].queue_length = 0;
    bad[3].share_jobs = 0;
    bad[4].share_running = MEDIA_WORKERS_MAX + 1;
    bad[5].deadline_ms = 0;
    bad[6].memory_bytes = MEDIA_MEMORY_BYTES_MIN - 1;
    bad[7].result_bytes_max = MEDIA_WORKERS_BYTES_MAX + 1;
    bad[8].program = NULL;
    bad[9].held_bytes_max = bad[9].source_bytes_max - 1;
    for (int i = 0; i < 10; i++)
        assert_int_equal(media_workers_start(&bad[i], &workers, &status), RPC_INVALID_ARGUMENT);
}

/* ---- cancelling ------------------------------------------------------------------------------
 */

TEST(cancelled_jobs_end_whether_they_run_or_wait)
{
    ended_job runs, waits, next;
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    submit(workers, "loop", "someone", &runs);
    wait_running(workers, 1);
    submit(workers, "loop", "someone", &waits);
    submit(workers, "source", "someone", &next);
    media_workers_cancel(workers, waits.id);
    assert_ended(&waits, RPC_CANCELLED, "cancelled");
    media_workers_cancel(workers, runs.id);
    assert_ended(&runs, RPC_CANCELLED, "cancelled");
    assert_ended(&next, RPC_OK, NULL);
    media_workers_cancel(workers, next.id); /* late: nothing happens */
    media_workers_cancel(workers, UINT64_MAX);
    media_workers_stop(workers);
}

TEST(stopping_leaves_no_process_and_no_descriptor)
{
    const unsigned files = open_files(), children = children_of(getpid());
    for (int round = 0; round < 3; round++) {
        static const char *const kinds[] = {"source", "segfault", "garbage", "broken", "exit"};
        ended_job ended, runs, waits;
        media_workers_options options = options_of_tests();
        media_workers *workers = start(&options);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            run_job(workers, kinds[i], &ended);
            outcome_done(&ended);
        }
        assert_int_equal(children_of(getpid()), children + 1);
        submit(workers, "wait", "someone", &runs);
        wait_running(workers, 1);
        submit(workers, "wait", "someone", &waits);
        media_workers_stop(workers);
        assert_ended(&runs, RPC_CANCELLED, NULL);
        assert_ended(&waits, RPC_CANCELLED, NULL);
    }
    assert_int_equal(children_of(getpid()), children);
    assert_int_equal(open_files(), files);
}

TEST(jobs_leave_no_process_and_no_descriptor_while_the_pool_lives)
{
    static const char *const kinds[] = {"source", "segfault", "garbage", "giant", "much", "exit"};
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    ended_job outcome;
    run_job(workers, "source", &outcome);
    outcome_done(&outcome);
    const unsigned files = open_files();
    const pid_t helper = child_of(getpid());
    for (int i = 0; i < 60; i++) {
        run_job(workers, kinds[i % 6], &outcome);
        outcome_done(&outcome);
    }
    assert_int_equal(child_of(getpid()), helper);
    assert_int_equal(children_of(helper), 0);
    assert_int_equal(open_files(), files);
    media_workers_stop(workers);
}

/* ---- the program -----------------------------------------------------------------------------
 */

static void count_done(void *ctx, const rpc_status *status, media_made *made)
{
    (void)ctx;
    assert_int_equal(status->code, RPC_UNAVAILABLE);
    assert_null(made);
}

static void kill_helper(void)
{
    const pid_t helper = child_of(getpid());
    assert_true(helper > 0);
    const int gone = pidfd_open(helper, 0);
    assert_int_equal(kill(helper, SIGKILL), 0);
    wait_gone(gone);
}

TEST(a_killed_program_is_started_again_and_the_queue_survives)
{
    enum { WAITING = 5 };
    const unsigned files = open_files();
    ended_job runs, waiting[WAITING];
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    submit(workers, "wait", "someone", &runs);
    wait_running(workers, 1);
    for (int i = 0; i < WAITING; i++)
        submit(workers, "source", "someone", &waiting[i]);
    kill_helper(); /* the job that runs begins anew */
    media_workers_stats stats;
    do
        media_workers_get_stats(workers, &stats);
    while (stats.helper_starts != 2 || stats.running != 1);
    assert_int_equal(stats.queued, WAITING);
    kill_helper();
    assert_ended(&runs, RPC_UNAVAILABLE, "ended under it twice");
    for (int i = 0; i < WAITING; i++)
        assert_ended(&waiting[i], RPC_OK, NULL);
    media_workers_stop(workers);
    assert_int_equal(open_files(), files);
}

TEST(children_of_a_killed_program_end_with_it)
{
    ended_job runs;
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    submit(workers, "wait", "someone", &runs);
    wait_running(workers, 1);
    const pid_t helper = child_of(getpid());
    pid_t worker = 0;
    while (worker == 0)
        worker = child_of(helper);
    const int gone = pidfd_open(worker, 0);
    assert_int_equal(kill(helper, SIGKILL), 0);
    wait_gone(gone);
    media_workers_stop(workers);
    assert_ended(&runs, RPC_CANCELLED, NULL);
}

TEST(the_program_and_its_children_end_with_a_killed_parent)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t parent = fork();
    if (parent == 0) { /* says who its descendants are, and is killed */
        static ended_job runs;
        media_workers_options options = options_of_tests();
        media_workers *workers = start(&options);
        submit(workers, "wait", "someone", &runs);
        pid_t pids[2] = {child_of(getpid()), 0};
        while (pids[1] == 0)
            pids[1] = child_of(pids[0]);
        if (write(ends[1], pids, sizeof pids) != sizeof pids)
            _exit(1);
        for (;;)
            pause();
    }
    pid_t pids[2] = {0};
    close(ends[1]);
    assert_int_equal(read(ends[0], pids, sizeof pids), sizeof pids);
    close(ends[0]);
    const int helper = pidfd_open(pids[0], 0), worker = pidfd_open(pids[1], 0);
    assert_int_equal(kill(parent, SIGKILL), 0);
    wait_gone(worker);
    wait_gone(helper);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
}

TEST(a_program_that_is_not_there_or_another_one_says_so)
{
    const struct {
        const char *program, *words;
    } cases[] = {{"/nowhere/dacm-media", "No such file"}, {"/bin/true", "ended at once"},
        {"/etc/passwd", "Permission denied"}};
    const unsigned files = open_files();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_workers *workers = NULL;
        rpc_status status;
        media_workers_options options = options_of_tests();
        options.program = cases[i].program;
        assert_int_equal(media_workers_start(&options, &workers, &status), RPC_FAILED_PRECONDITION);
        if (!strstr(status.message, cases[i].words))
            fail_msg("%s", status.message);
    }
    assert_int_equal(open_files(), files);
    assert_int_equal(children_of(getpid()), 0);
}

TEST(the_program_by_hand_says_who_starts_it)
{
    int ends[2], wait_status = 0;
    char text[256] = "";
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        execl(misbehaves, misbehaves, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_int_equal(WEXITSTATUS(wait_status), 2);
    assert_non_null(strstr(text, "started by dacmd and dacm"));
}

TEST(without_descriptors_a_job_ends_and_the_program_stays)
{
    media_workers_options options = options_of_tests();
    media_workers *workers = start(&options);
    const pid_t helper = child_of(getpid());
    struct rlimit usual;
    rpc_status status;
    media_workers_stats stats;
    ended_job next;
    media_job job = {.source = source_of("source"), .share = "someone", .done = count_done};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    const struct rlimit none = {.rlim_cur = (rlim_t)job.source + 1, .rlim_max = usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(media_workers_submit(workers, &job, NULL, NULL, &status), RPC_OK);
    do
        media_workers_get_stats(workers, &stats);
    while (stats.ended[RPC_UNAVAILABLE] != 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    run_job(workers, "source", &next);
    assert_ended(&next, RPC_OK, NULL);
    assert_int_equal(child_of(getpid()), helper);
    media_workers_stop(workers);
}

/* ---- counters -------------------------------------------------------------------------------- */

typedef struct counted {
    unsigned ok, failed;
} counted;

static void count(void *ctx, rpc_code code, int64_t waited_us, int64_t ran_us)
{
    counted *counts = ctx;
    assert_true(waited_us >= 0 && ran_us >= 0);
    ++*(code == RPC_OK ? &counts->ok : &counts->failed);
}

TEST(jobs_are_counted_by_their_end)
{
    counted counts = {0};
    media_workers_options options = options_of_tests();
    options.ended = count;
    options.ctx = &counts;
    media_workers *workers = start(&options);
    ended_job outcome;
    for (int i = 0; i < 3; i++) {
        run_job(workers, "source", &outcome);
        outcome_done(&outcome);
    }
    run_job(workers, "segfault", &outcome);
    run_job(workers, "broken", &outcome);
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    assert_int_equal(stats.ended[RPC_OK], 3);
    assert_int_equal(stats.ended[RPC_INTERNAL], 1);
    assert_int_equal(stats.ended[RPC_INVALID_ARGUMENT], 1);
    assert_int_equal(stats.running + stats.queued + stats.shares, 0);
    assert_int_equal(stats.helper_starts, 1);
    assert_true(stats.ran_us > 0 && stats.cpu_us > 0);
    media_workers_stop(workers);
    assert_int_equal(counts.ok, 3);
    assert_int_equal(counts.failed, 2);
}
