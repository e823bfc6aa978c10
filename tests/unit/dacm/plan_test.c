/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "test.h"

/* A list whose chunk i has lengths[i] bytes and a digest full of i + 1. */
static dacm_list list_of(const uint32_t *lengths, uint32_t count)
{
    uint8_t *entries = malloc((size_t)count * DACM_ENTRY_BYTES + 1);
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t digest[DACM_DIGEST_BYTES];
        memset(digest, (int)i + 1, sizeof digest);
        dacm_entry_write(entries + (size_t)i * DACM_ENTRY_BYTES, lengths[i], digest);
        size += lengths[i];
    }
    dacm_list list;
    assert_int_equal(
        dacm_list_init(&list, entries, (size_t)count * DACM_ENTRY_BYTES, size, NULL), RPC_OK);
    return list;
}

static dacm_plan plan_of(const dacm_list *list, uint64_t offset, uint64_t length)
{
    dacm_plan plan;
    assert_int_equal(dacm_plan_init(&plan, list, offset, length, NULL), RPC_OK);
    return plan;
}

TEST(list_whose_lengths_do_not_sum_to_the_size_is_data_loss)
{
    uint8_t *entries = malloc(DACM_ENTRY_BYTES), digest[32] = {0};
    dacm_entry_write(entries, 100, digest);
    dacm_list list;
    assert_int_equal(dacm_list_init(&list, entries, DACM_ENTRY_BYTES, 99, NULL), RPC_DATA_LOSS);
    assert_int_equal(
        dacm_list_init(&list, entries, DACM_ENTRY_BYTES - 1, 100, NULL), RPC_DATA_LOSS);
    dacm_entry_write(entries, 0, digest);
    assert_int_equal(dacm_list_init(&list, entries, DACM_ENTRY_BYTES, 0, NULL), RPC_DATA_LOSS);
    dacm_entry_write(entries, DACM_CHUNK_BYTES_MAX + 1, digest);
    assert_int_equal(
        dacm_list_init(&list, entries, DACM_ENTRY_BYTES, DACM_CHUNK_BYTES_MAX + 1, NULL),
        RPC_DATA_LOSS);
    free(entries);
}

TEST(whole_object_is_sent_in_runs_of_whole_chunks_within_512_kib)
{
    uint32_t lengths[] = {200u << 10, 200u << 10, 200u << 10, 256u << 10, 256u << 10, 1};
    dacm_list list = list_of(lengths, 6);
    dacm_plan plan = plan_of(&list, 0, 0);
    uint32_t first, end, from = 0, runs = 0;
    size_t bytes;
    uint64_t sum = 0;
    while (dacm_plan_next(&plan, &list, from, &first, &end, &bytes)) {
        assert_int_equal(first, from);
        assert_true(bytes <= DACM_RUN_BYTES_MAX);
        sum += bytes;
        from = end;
        runs++;
    }
    assert_int_equal(from, 6);
    assert_int_equal(runs, 3);
    assert_int_equal(sum, plan.send_bytes);
    dacm_plan_done(&plan);
    dacm_list_done(&list);
}

TEST(range_sends_the_chunks_that_it_touches_whole)
{
    uint32_t lengths[] = {100, 100, 100, 100};
    dacm_list list = list_of(lengths, 4);
    dacm_plan plan = plan_of(&list, 199, 2);
    assert_int_equal(plan.first, 1);
    assert_int_equal(plan.end, 3);
    assert_int_equal(plan.send_bytes, 200);
    dacm_plan_done(&plan);
    plan = plan_of(&list, 300, UINT64_MAX);
    assert_int_equal(plan.first, 3);
    assert_int_equal(plan.end, 4);
    dacm_plan_done(&plan);
    dacm_list_done(&list);
}

TEST(range_that_begins_at_or_beyond_the_end_is_out_of_range)
{
    uint32_t lengths[] = {100};
    dacm_list list = list_of(lengths, 1);
    dacm_plan plan;
    rpc_status status = {0};
    assert_int_equal(dacm_plan_init(&plan, &list, 100, 0, &status), RPC_OUT_OF_RANGE);
    assert_non_null(strstr(status.message, "range.offset"));
    assert_int_equal(dacm_plan_init(&plan, &list, UINT64_MAX, 1, NULL), RPC_OUT_OF_RANGE);
    dacm_list_done(&list);
}

TEST(empty_object_needs_no_chunk)
{
    dacm_list list = list_of(NULL, 0);
    dacm_plan plan = plan_of(&list, 0, 0);
    uint32_t first, end;
    size_t bytes;
    assert_int_equal(plan.send_bytes, 0);
    assert_false(dacm_plan_next(&plan, &list, 0, &first, &end, &bytes));
    dacm_plan_done(&plan);
    dacm_list_done(&list);
}

TEST(chunks_that_the_client_holds_are_left_out)
{
    uint32_t lengths[] = {10, 20, 30, 40};
    dacm_list list = list_of(lengths, 4);
    dacm_plan plan = plan_of(&list, 0, 0);
    uint8_t held[3][32];
    memset(held[0], 3, 32); /* chunk 2 */
    memset(held[1], 99, 32);
    memset(held[2], 1, 32); /* chunk 0 */
    assert_int_equal(dacm_plan_leave_out(&plan, &list, &held[0][0], 3, NULL), RPC_OK);
    assert_int_equal(dacm_plan_leave_out(&plan, &list, &held[0][0], 3, NULL), RPC_OK);
    assert_int_equal(plan.send_bytes, 60);
    uint32_t first, end;
    size_t bytes;
    assert_true(dacm_plan_next(&plan, &list, 0, &first, &end, &bytes));
    assert_int_equal(first, 1);
    assert_int_equal(end, 2);
    assert_true(dacm_plan_next(&plan, &list, end, &first, &end, &bytes));
    assert_int_equal(first, 3);
    assert_int_equal(end, 4);
    assert_false(dacm_plan_next(&plan, &list, end, &first, &end, &bytes));
    dacm_plan_done(&plan);
    dacm_list_done(&list);
}
