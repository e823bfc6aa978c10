/* SPDX-License-Identifier: Apache-2.0 */
/* Sources that make their worker crash, burst or lie: each costs its own job, and the next one is
 * served by the same program. */
#include "sandbox_internal.h"
#include "support.h"

#include <unistd.h>

static void assert_costs_only_itself(const char *source, rpc_code code, const char *words)
{
    ended_job hostile, next;
    media_workers_options options = options_of_tests();
    options.memory_bytes = MEDIA_MEMORY_BYTES_MIN;
    options.result_bytes_max = 1 << 20;
    media_workers *workers = start(&options);
    const pid_t helper = child_of(getpid());
    run_job(workers, source, &hostile);
    if (hostile.status.code != code || !strstr(hostile.status.message, words))
        fail_msg("%s: %s", rpc_code_name(hostile.status.code), hostile.status.message);
    assert_null(hostile.made);
    run_job(workers, "source", &next);
    assert_int_equal(next.status.code, RPC_OK);
    outcome_done(&next);
    assert_int_equal(child_of(getpid()), helper);
    media_workers_stop(workers);
}

#define CRASHES (MEDIA__SANITIZED ? "" : "crashed its worker")

TEST(a_segmentation_fault)
{
    assert_costs_only_itself("segfault", RPC_INTERNAL, CRASHES);
}

TEST(an_abort)
{
    assert_costs_only_itself("abort", RPC_INTERNAL, "");
}

TEST(an_illegal_instruction)
{
    assert_costs_only_itself("trap", RPC_INTERNAL, CRASHES);
}

TEST(a_stack_overflow)
{
    assert_costs_only_itself("overflow", RPC_INTERNAL, CRASHES);
}

TEST(an_exit_with_a_code)
{
    assert_costs_only_itself("exit", RPC_INTERNAL, "ended with code 7");
}

TEST(an_end_without_an_answer)
{
    assert_costs_only_itself("silent", RPC_INTERNAL, "without an answer");
}

TEST(a_memory_bomb)
{
#if MEDIA__SANITIZED
    skip(); /* there is no ceiling of memory as a whole: see media_worker.h */
#endif
    assert_costs_only_itself("bomb", RPC_RESOURCE_EXHAUSTED, "cost more than 128 MiB of memory");
}

TEST(one_allocation_of_a_hundred_gigabytes)
{
#if MEDIA__SANITIZED
    skip();
#endif
    assert_costs_only_itself("one-allocation", RPC_RESOURCE_EXHAUSTED, "of memory");
}

TEST(an_answer_of_garbage)
{
    assert_costs_only_itself("garbage", RPC_INTERNAL, "none");
}

TEST(half_an_answer)
{
    assert_costs_only_itself("half", RPC_INTERNAL, "none");
}

TEST(an_answer_of_one_byte)
{
    assert_costs_only_itself("one-byte", RPC_INTERNAL, "none");
}

TEST(an_answer_with_more_behind)
{
    assert_costs_only_itself("longer", RPC_INTERNAL, "none");
}

TEST(a_giant_answer)
{
    assert_costs_only_itself("giant", RPC_INTERNAL, "none");
}

TEST(a_thousand_answers)
{
    assert_costs_only_itself("much", RPC_INTERNAL, "");
}

TEST(a_result_that_was_not_written)
{
    assert_costs_only_itself("nothing-written", RPC_INTERNAL, "left 0 bytes and said 4");
}

TEST(a_result_that_is_longer_than_said)
{
    assert_costs_only_itself("more-written", RPC_INTERNAL, "left 6 bytes and said 4");
}

TEST(a_result_of_all_memory_by_its_word)
{
    assert_costs_only_itself("huge-size", RPC_INTERNAL, "left 4 bytes and said");
}

TEST(a_result_beyond_its_limit)
{
    assert_costs_only_itself("large", RPC_RESOURCE_EXHAUSTED, "2097152 bytes, at most 1048576");
}

TEST(a_result_that_is_written_without_end)
{
    assert_costs_only_itself("flood", RPC_INTERNAL, "");
}

TEST(a_status_that_workers_have_not)
{
    assert_costs_only_itself("own-code", RPC_INTERNAL, "none");
}

TEST(a_message_that_steers_terminals)
{
    assert_costs_only_itself("steering", RPC_INVALID_ARGUMENT, "????");
}
