/* SPDX-License-Identifier: Apache-2.0 */
/* Records: keys, generations, atomicity, scans, watchers, large deletions, a full map. */
#include "contract.h"

static size_t count_items(store *s, rpc_bytes group)
{
    store_cursor at = {0};
    size_t count = 0;
    for (bool more = true; more;) {
        store_page *page = NULL;
        store_scan_request request = {.group = group, .after = &at, .entries_max = 1000};
        assert_int_equal(do_scan(s, &request, &page), RPC_OK);
        count += page->count;
        more = page->more;
        at = page->next;
        store_page_free(page);
    }
    return count;
}

static void assert_value(store *s, rpc_bytes group, rpc_bytes item, const char *expected)
{
    char *value = NULL;
    assert_int_equal(do_get(s, group, item, &value, NULL), RPC_OK);
    assert_string_equal(value, expected);
    free(value);
}

TEST(get_returns_what_was_put_with_the_generation)
{
    store *s = contract_open(test_tmpdir(), NULL);
    uint64_t generation = 0;
    char *value = NULL;
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("one")), RPC_OK);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("two")), RPC_OK);
    assert_int_equal(do_get(s, BYTES("g"), BYTES("i"), &value, &generation), RPC_OK);
    assert_string_equal(value, "two");
    assert_int_equal(generation, 2);
    free(value);
    store_close(s);
}

TEST(get_of_an_absent_record_is_not_found)
{
    store *s = contract_open(test_tmpdir(), NULL);
    assert_int_equal(do_get(s, BYTES("g"), BYTES("i"), NULL, NULL), RPC_NOT_FOUND);
    store_close(s);
}

TEST(update_with_stale_generation_is_aborted_and_changes_nothing)
{
    store *s = contract_open(test_tmpdir(), NULL);
    uint64_t generation = 0;
    store_change changes[] = {
        {STORE_PUT, BYTES("i"), BYTES("other")}, {STORE_PUT, BYTES("j"), BYTES("new")}};
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("old")), RPC_OK);
    assert_int_equal(do_update(s, BYTES("g"), 0, changes, 2, &generation), RPC_ABORTED);
    assert_int_equal(generation, 1);
    assert_value(s, BYTES("g"), BYTES("i"), "old");
    assert_int_equal(do_get(s, BYTES("g"), BYTES("j"), NULL, NULL), RPC_NOT_FOUND);
    assert_int_equal(do_update(s, BYTES("g"), 1, changes, 2, &generation), RPC_OK);
    assert_int_equal(generation, 2);
    store_close(s);
}

TEST(generation_of_a_deleted_group_goes_on)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_change all = {STORE_DELETE_PREFIX, {NULL, 0}, {NULL, 0}};
    uint64_t generation = 0;
    assert_int_equal(do_generation(s, BYTES("g")), 0);
    assert_int_equal(do_put(s, BYTES("g"), BYTES(""), BYTES("x")), RPC_OK);
    assert_int_equal(do_update(s, BYTES("g"), 1, &all, 1, &generation), RPC_OK);
    assert_int_equal(generation, 2);
    assert_int_equal(count_items(s, BYTES("g")), 0);
    assert_int_equal(do_update(s, BYTES("g"), 0, &all, 1, &generation), RPC_ABORTED);
    assert_int_equal(do_put(s, BYTES("g"), BYTES(""), BYTES("x")), RPC_OK);
    assert_int_equal(do_generation(s, BYTES("g")), 3);
    store_close(s);
}

TEST(groups_whose_bytes_start_alike_are_kept_apart)
{
    static const char *const names[] = {"a", "ab", "a\0", "a\0\1", "a\1", "a\0\377", "\0", "\0\0"};
    static const size_t sizes[] = {1, 2, 2, 3, 2, 3, 1, 2};
    store *s = contract_open(test_tmpdir(), NULL);
    for (size_t i = 0; i < 8; i++) {
        rpc_bytes group = rpc_bytes_of(names[i], sizes[i]);
        assert_int_equal(do_put(s, group, BYTES(""), BYTES("main")), RPC_OK);
        assert_int_equal(do_put(s, group, BYTES("\0\1b"), BYTES("item")), RPC_OK);
    }
    for (size_t i = 0; i < 8; i++) {
        rpc_bytes group = rpc_bytes_of(names[i], sizes[i]);
        store_change all = {STORE_DELETE_PREFIX, {NULL, 0}, {NULL, 0}};
        assert_int_equal(count_items(s, group), 2);
        assert_int_equal(do_generation(s, group), 2);
        assert_int_equal(do_update(s, group, 2, &all, 1, NULL), RPC_OK);
        assert_int_equal(count_items(s, group), 0);
    }
    store_close(s);
}

TEST(keys_and_values_out_of_bounds_are_refused)
{
    static uint8_t zeros[STORE_VALUE_BYTES_MAX + 1], ones[300];
    memset(ones, 1, sizeof ones);
    store *s = contract_open(test_tmpdir(), NULL);
    rpc_bytes group = BYTES("g"), item = BYTES("i");
    assert_int_equal(do_put(s, BYTES(""), item, item), RPC_INVALID_ARGUMENT);
    assert_int_equal(do_put(s, rpc_bytes_of(ones, 241), item, item), RPC_INVALID_ARGUMENT);
    assert_int_equal(do_put(s, rpc_bytes_of(zeros, 121), item, item), RPC_INVALID_ARGUMENT);
    assert_int_equal(do_put(s, group, rpc_bytes_of(ones, 251), item), RPC_INVALID_ARGUMENT);
    assert_int_equal(
        do_put(s, group, item, rpc_bytes_of(zeros, sizeof zeros)), RPC_INVALID_ARGUMENT);
    assert_int_equal(do_generation(s, group), 0);
    assert_int_equal(do_put(s, rpc_bytes_of(zeros, 120), rpc_bytes_of(ones, 250), item), RPC_OK);
    assert_int_equal(do_put(s, rpc_bytes_of(ones, 240), rpc_bytes_of(zeros, 250), item), RPC_OK);
    assert_value(s, rpc_bytes_of(ones, 240), rpc_bytes_of(zeros, 250), "i");
    store_close(s);
}

TEST(scan_pages_meet_every_record_once_while_others_are_deleted)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_cursor at = {0};
    size_t seen = 0;
    for (unsigned i = 0; i < 100; i++) {
        char item[8];
        snprintf(item, sizeof item, "u%03u", i);
        assert_int_equal(do_put(s, BYTES("g"), rpc_bytes_str(item), BYTES("v")), RPC_OK);
    }
    assert_int_equal(do_put(s, BYTES("g"), BYTES("t"), BYTES("not of the prefix")), RPC_OK);
    for (bool more = true; more;) {
        store_page *page = NULL;
        store_scan_request request = {
            .group = BYTES("g"), .item_prefix = BYTES("u"), .after = &at, .entries_max = 7};
        assert_int_equal(do_scan(s, &request, &page), RPC_OK);
        for (size_t i = 0; i < page->count; i++) {
            char item[8];
            snprintf(item, sizeof item, "u%03zu", seen++);
            assert_true(rpc_bytes_equal(page->entries[i].item, rpc_bytes_str(item)));
            store_change gone = {STORE_DELETE, page->entries[i].item, {NULL, 0}};
            assert_int_equal(
                do_update(s, BYTES("g"), STORE_ANY_GENERATION, &gone, 1, NULL), RPC_OK);
        }
        more = page->more;
        at = page->next;
        store_page_free(page);
    }
    assert_int_equal(seen, 100);
    assert_int_equal(count_items(s, BYTES("g")), 1);
    store_close(s);
}

TEST(scan_lists_groups_by_prefix_one_record_each)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_page *page = NULL;
    static const char *const names[] = {"asset/1", "asset/2", "asset/3", "key/1"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(do_put(s, rpc_bytes_str(names[i]), BYTES("a"), BYTES("1")), RPC_OK);
        assert_int_equal(do_put(s, rpc_bytes_str(names[i]), BYTES("b"), BYTES("2")), RPC_OK);
    }
    store_scan_request request = {
        .group = BYTES("asset/"), .group_is_prefix = true, .one_per_group = true, .entries_max = 2};
    assert_int_equal(do_scan(s, &request, &page), RPC_OK);
    assert_int_equal(page->count, 2);
    assert_true(page->more);
    assert_true(rpc_bytes_equal(page->entries[1].group, BYTES("asset/2")));
    assert_true(rpc_bytes_equal(page->entries[1].item, BYTES("a")));
    store_cursor at = page->next;
    store_page_free(page);
    request.after = &at;
    assert_int_equal(do_scan(s, &request, &page), RPC_OK);
    assert_int_equal(page->count, 1);
    assert_false(page->more);
    store_page_free(page);
    store_close(s);
}

TEST(scan_of_the_empty_prefix_gives_every_record)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_page *page = NULL;
    const store_scan_request all = {.group_is_prefix = true};
    assert_int_equal(do_scan(s, &all, &page), RPC_OK);
    assert_int_equal(page->count, 0);
    store_page_free(page);
    assert_int_equal(do_put(s, BYTES("a"), BYTES("x"), BYTES("1")), RPC_OK);
    assert_int_equal(do_put(s, BYTES("b"), BYTES("y"), BYTES("2")), RPC_OK);
    assert_int_equal(do_scan(s, &all, &page), RPC_OK);
    assert_int_equal(page->count, 2);
    assert_true(rpc_bytes_equal(page->entries[0].group, BYTES("a")));
    assert_true(rpc_bytes_equal(page->entries[1].group, BYTES("b")));
    store_page_free(page);
    store_close(s);
}

TEST(cursor_of_another_scan_is_refused)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_page *page = NULL;
    store_cursor at = {.size = 4, .key = {'h', 0, 1, 'x'}};
    store_scan_request request = {.group = BYTES("g"), .after = &at};
    assert_int_equal(do_scan(s, &request, &page), RPC_INVALID_ARGUMENT);
    at.size = 600;
    assert_int_equal(do_scan(s, &request, &page), RPC_INVALID_ARGUMENT);
    store_close(s);
}

typedef struct watched {
    uint64_t told, wrong_order;
} watched;

static void on_change(void *ctx, rpc_bytes group, uint64_t generation)
{
    watched *w = ctx;
    if (!rpc_bytes_equal(group, BYTES("g")) || generation != w->told + 1)
        w->wrong_order++;
    w->told = generation;
}

TEST(watcher_is_told_each_generation_before_its_completion)
{
    store *s = contract_open(test_tmpdir(), NULL);
    watched w = {0};
    assert_int_equal(store_watch(s, on_change, &w, NULL), RPC_OK);
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("v")), RPC_OK);
        assert_int_equal(w.told, i);
    }
    store_change change = {STORE_DELETE, BYTES("i"), {NULL, 0}};
    assert_int_equal(do_update(s, BYTES("g"), 7, &change, 1, NULL), RPC_ABORTED);
    assert_int_equal(w.told, 50);
    assert_int_equal(w.wrong_order, 0);
    store_unwatch(s, on_change, &w);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("v")), RPC_OK);
    assert_int_equal(w.told, 50);
    store_close(s);
}

static void put_many(store *s, rpc_bytes group, unsigned count)
{
    enum { BATCH = 1000 };
    static char items[BATCH][16];
    static store_change changes[BATCH];
    for (unsigned i = 0; i < count; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            snprintf(items[j], sizeof items[j], "grant/%06u", i + j);
            changes[j] = (store_change){STORE_PUT, rpc_bytes_str(items[j]), BYTES("yes")};
        }
        assert_int_equal(do_update(s, group, STORE_ANY_GENERATION, changes, BATCH, NULL), RPC_OK);
    }
}

TEST(large_group_is_deleted_whole_and_updates_after_it_stay)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_change deletion[] = {
        {STORE_DELETE, BYTES(""), {NULL, 0}}, {STORE_DELETE_PREFIX, {NULL, 0}, {NULL, 0}}};
    store_change put = {STORE_PUT, BYTES("grant/000001"), BYTES("again")};
    waiter first, second;
    assert_int_equal(do_put(s, BYTES("g"), BYTES(""), BYTES("main")), RPC_OK);
    put_many(s, BYTES("g"), 20000);
    assert_int_equal(count_items(s, BYTES("g")), 20001);
    waiter_init(&first);
    waiter_init(&second);
    store_progress a = store_update(s, BYTES("g"), STORE_ANY_GENERATION, deletion, 2, &first.op);
    store_progress b = store_update(s, BYTES("g"), STORE_ANY_GENERATION, &put, 1, &second.op);
    assert_int_equal(waiter_wait(&first, a), RPC_OK);
    assert_int_equal(waiter_wait(&second, b), RPC_OK);
    assert_int_equal(count_items(s, BYTES("g")), 1);
    assert_value(s, BYTES("g"), BYTES("grant/000001"), "again");
    waiter_done(&first);
    waiter_done(&second);
    store_close(s);
}

TEST(put_after_a_large_deletion_in_one_update_stays)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_change changes[] = {{STORE_DELETE_PREFIX, {NULL, 0}, {NULL, 0}},
        {STORE_PUT, BYTES("grant/999999"), BYTES("kept")}};
    put_many(s, BYTES("g"), 10000);
    assert_int_equal(do_update(s, BYTES("g"), 10, changes, 2, NULL), RPC_OK);
    assert_int_equal(count_items(s, BYTES("g")), 1);
    assert_value(s, BYTES("g"), BYTES("grant/999999"), "kept");
    store_close(s);
}

TEST(full_meta_map_refuses_and_reads_go_on)
{
    static uint8_t value[8192];
    contract_limits limits = {.meta_bytes = 512 << 10, .sync = STORE_SYNC_PROCESS};
    store *s = contract_open(test_tmpdir(), &limits);
    rpc_code code = RPC_OK;
    unsigned count = 0;
    assert_int_equal(do_put(s, BYTES("first"), BYTES(""), BYTES("here")), RPC_OK);
    for (; count < 1000 && !code; count++) {
        char item[16];
        snprintf(item, sizeof item, "%u", count);
        code = do_put(s, BYTES("g"), rpc_bytes_str(item), rpc_bytes_of(value, sizeof value));
    }
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(count_items(s, BYTES("g")), count - 1);
    assert_int_equal(do_generation(s, BYTES("g")), count - 1);
    assert_value(s, BYTES("first"), BYTES(""), "here");
    store_close(s);
}
