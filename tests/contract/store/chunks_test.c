/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks: put, read, listed, dropped; views; a full map and a full queue. */
#include "contract.h"

typedef struct test_clock {
    rpc_clock clock;
    int64_t wall_ms;
} test_clock;

static int64_t now_ms(void *ctx)
{
    return ((test_clock *)ctx)->wall_ms;
}

static void clock_init(test_clock *clock, int64_t wall_ms)
{
    clock->clock = (rpc_clock){now_ms, now_ms, clock};
    clock->wall_ms = wall_ms;
}

static void assert_reads(
    store *s, const store_chunk_ref *ref, uint64_t offset, uint64_t length, rpc_bytes expected)
{
    store_view view = {0};
    assert_int_equal(do_read(s, ref, offset, length, &view), RPC_OK);
    assert_true(rpc_bytes_equal(view.bytes, expected));
    store_view_release(&view);
}

TEST(chunk_is_read_within_its_bounds_only)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_chunk_ref ref = chunk_ref(1, 1), other = chunk_ref(2, 1);
    store_view view = {0};
    assert_int_equal(do_chunk_put(s, &ref, BYTES("0123456789")), RPC_OK);
    assert_reads(s, &ref, 0, STORE_TO_END, BYTES("0123456789"));
    assert_reads(s, &ref, 3, 4, BYTES("3456"));
    assert_reads(s, &ref, 10, 0, BYTES(""));
    assert_int_equal(do_read(s, &ref, 3, 8, &view), RPC_OUT_OF_RANGE);
    assert_int_equal(do_read(s, &ref, 11, 0, &view), RPC_OUT_OF_RANGE);
    assert_int_equal(do_read(s, &ref, 1, UINT64_MAX - 1, &view), RPC_OUT_OF_RANGE);
    assert_int_equal(do_read(s, &other, 0, 1, &view), RPC_NOT_FOUND);
    assert_null(view.pin);
    store_close(s);
}

TEST(chunk_of_no_bytes_too_many_or_another_size_is_refused)
{
    static uint8_t bytes[STORE_CHUNK_BYTES_MAX + 1];
    store *s = contract_open(test_tmpdir(), NULL);
    store_chunk_ref ref = chunk_ref(1, 1);
    assert_int_equal(do_chunk_put(s, &ref, BYTES("")), RPC_INVALID_ARGUMENT);
    assert_int_equal(
        do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes)), RPC_INVALID_ARGUMENT);
    assert_int_equal(do_chunk_has(s, &ref, NULL), RPC_NOT_FOUND);
    assert_int_equal(do_chunk_put(s, &ref, rpc_bytes_of(bytes, STORE_CHUNK_BYTES_MAX)), RPC_OK);
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_INVALID_ARGUMENT);
    assert_reads(s, &ref, 0, STORE_TO_END, rpc_bytes_of(bytes, STORE_CHUNK_BYTES_MAX));
    store_close(s);
}

TEST(repeated_put_makes_the_put_time_later_never_earlier)
{
    test_clock clock;
    clock_init(&clock, 1000);
    contract_limits limits = {.clock = &clock.clock, .sync = STORE_SYNC_PROCESS};
    store *s = contract_open(test_tmpdir(), &limits);
    store_chunk_ref ref = chunk_ref(1, 1);
    int64_t put_ms = 0;
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_OK);
    clock.wall_ms = 5000;
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_OK);
    clock.wall_ms = 2000;
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_OK);
    assert_int_equal(do_chunk_has(s, &ref, &put_ms), RPC_OK);
    assert_int_equal(put_ms, 5000);
    store_close(s);
}

/* The store does not hash: other bytes of that size are there as on a disk that has lost a bit. */
TEST(repeated_put_replaces_bytes_that_rotted_and_says_so)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_chunk_ref ref = chunk_ref(1, 1);
    store_view before = {0};
    waiter w;
    assert_int_equal(do_chunk_put(s, &ref, BYTES("rotten")), RPC_OK);
    assert_int_equal(do_read(s, &ref, 0, STORE_TO_END, &before), RPC_OK);
    waiter_init(&w);
    assert_int_equal(waiter_wait(&w, store_chunk_put(s, &ref, BYTES("intact"), &w.op)), RPC_OK);
    assert_true(w.op.mended);
    waiter_done(&w);
    assert_reads(s, &ref, 0, STORE_TO_END, BYTES("intact"));
    assert_true(rpc_bytes_equal(before.bytes, BYTES("rotten"))); /* a view is what it was */
    store_view_release(&before);
    waiter_init(&w);
    assert_int_equal(waiter_wait(&w, store_chunk_put(s, &ref, BYTES("intact"), &w.op)), RPC_OK);
    assert_false(w.op.mended);
    waiter_done(&w);
    store_close(s);
}

TEST(refresh_of_an_absent_chunk_is_not_found)
{
    store *s = contract_open(test_tmpdir(), NULL);
    store_chunk_ref ref = chunk_ref(1, 1);
    waiter w;
    waiter_init(&w);
    assert_int_equal(waiter_wait(&w, store_chunk_refresh(s, &ref, &w.op)), RPC_NOT_FOUND);
    waiter_done(&w);
    store_close(s);
}

TEST(drop_leaves_chunks_put_within_the_grace_time)
{
    test_clock clock;
    clock_init(&clock, 1000);
    contract_limits limits = {.clock = &clock.clock, .sync = STORE_SYNC_PROCESS};
    store *s = contract_open(test_tmpdir(), &limits);
    store_chunk_ref ref = chunk_ref(1, 1);
    size_t dropped = 9, kept = 9;
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_OK);
    assert_int_equal(do_drop(s, &ref, 1000, &dropped, &kept), RPC_OK);
    assert_int_equal(dropped, 0);
    assert_int_equal(kept, 1);
    assert_int_equal(do_chunk_has(s, &ref, NULL), RPC_OK);
    assert_int_equal(do_drop(s, &ref, 1001, &dropped, &kept), RPC_OK);
    assert_int_equal(dropped, 1);
    assert_int_equal(do_chunk_has(s, &ref, NULL), RPC_NOT_FOUND);
    assert_int_equal(do_drop(s, &ref, 1001, &dropped, &kept), RPC_OK);
    assert_int_equal(dropped + kept, 0);
    store_close(s);
}

TEST(view_survives_the_drop_of_its_chunk_and_writes_after_it)
{
    static uint8_t bytes[100000];
    store *s = contract_open(test_tmpdir(), NULL);
    store_chunk_ref ref = chunk_ref(1, 0);
    store_view view = {0};
    size_t dropped, kept;
    memset(bytes, 'a', sizeof bytes);
    assert_int_equal(do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    assert_int_equal(do_read(s, &ref, 0, STORE_TO_END, &view), RPC_OK);
    assert_int_equal(do_drop(s, &ref, INT64_MAX, &dropped, &kept), RPC_OK);
    assert_int_equal(dropped, 1);
    memset(bytes, 'b', sizeof bytes);
    for (uint32_t i = 1; i < 20; i++) {
        store_chunk_ref next = chunk_ref(1, i);
        assert_int_equal(do_chunk_put(s, &next, rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    }
    memset(bytes, 'a', sizeof bytes);
    assert_true(rpc_bytes_equal(view.bytes, rpc_bytes_of(bytes, sizeof bytes)));
    store_view_release(&view);
    assert_null(view.pin);
    store_close(s);
}

TEST(chunks_of_an_asset_and_assets_are_listed_in_pages)
{
    store *s = contract_open(test_tmpdir(), NULL);
    static const uint8_t uids[] = {0, 7, 0xff};
    for (size_t u = 0; u < 3; u++) {
        for (uint32_t i = 0; i < 5; i++) {
            store_chunk_ref ref = chunk_ref(uids[u], i);
            assert_int_equal(do_chunk_put(s, &ref, BYTES("xyz")), RPC_OK);
        }
    }
    store_chunk_ref asset = chunk_ref(7, 0);
    store_cursor at = {0};
    uint32_t seen = 0;
    for (bool more = true; more;) {
        waiter w;
        waiter_init(&w);
        assert_int_equal(waiter_wait(&w, store_chunk_scan(s, asset.uid, &at, 2, &w.op)), RPC_OK);
        for (size_t i = 0; i < w.op.page->count; i++) {
            assert_int_equal(w.op.page->chunks[i].uid[0], 7);
            assert_int_equal(w.op.page->chunks[i].digest[3], seen++);
            assert_int_equal(w.op.page->chunks[i].size, 3);
        }
        more = w.op.page->more;
        at = w.op.page->next;
        store_page_free(w.op.page);
        waiter_done(&w);
    }
    assert_int_equal(seen, 5);
    at = (store_cursor){0};
    for (size_t i = 0; i < 3; i++) {
        waiter w;
        waiter_init(&w);
        assert_int_equal(waiter_wait(&w, store_chunk_scan_assets(s, &at, 1, &w.op)), RPC_OK);
        assert_int_equal(w.op.page->count, 1);
        assert_int_equal(w.op.page->chunks[0].uid[15], uids[i]);
        assert_int_equal(w.op.page->more, i < 2);
        at = w.op.page->next;
        store_page_free(w.op.page);
        waiter_done(&w);
    }
    store_close(s);
}

TEST(full_chunks_map_refuses_chunks_and_never_stops_a_meta_update)
{
    static uint8_t bytes[65536];
    contract_limits limits = {.chunks_bytes = 1 << 20, .sync = STORE_SYNC_PROCESS};
    store *s = contract_open(test_tmpdir(), &limits);
    rpc_code code = RPC_OK;
    uint32_t count = 0;
    for (; count < 100 && !code; count++) {
        store_chunk_ref ref = chunk_ref(1, count);
        code = do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes));
    }
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("revoked"), BYTES("1")), RPC_OK);
    store_chunk_ref refused = chunk_ref(1, count - 1), first = chunk_ref(1, 0);
    assert_int_equal(do_chunk_has(s, &refused, NULL), RPC_NOT_FOUND);
    assert_reads(s, &first, 0, STORE_TO_END, rpc_bytes_of(bytes, sizeof bytes));
    store_close(s);
}

enum { READERS = 4, ROUNDS = 300 };

typedef struct reading {
    store *s;
    int faults;
} reading;

/* Each value is one letter repeated: a torn or reused one would show two. */
static void *read_on(void *arg)
{
    reading *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        store_chunk_ref ref = chunk_ref(1, (uint32_t)(i % 4));
        store_view view = {0};
        if (do_read(r->s, &ref, 0, STORE_TO_END, &view) == RPC_OK) {
            r->faults += memchr(view.bytes.data, view.bytes.data[0] ^ 1, view.bytes.size) != NULL;
            store_view_release(&view);
        }
        char *value = NULL;
        if (do_get(r->s, BYTES("g"), BYTES("i"), &value, NULL) == RPC_OK) {
            r->faults += strspn(value, (char[]){value[0], 0}) != strlen(value);
            free(value);
        }
    }
    return NULL;
}

TEST(many_threads_read_while_others_write_and_drop)
{
    static uint8_t bytes[20000];
    store *s = contract_open(test_tmpdir(), NULL);
    pthread_t threads[READERS];
    reading readings[READERS];
    for (int i = 0; i < READERS; i++) {
        readings[i] = (reading){s, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readings[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        store_chunk_ref ref = chunk_ref(1, (uint32_t)(i % 4));
        size_t dropped, kept;
        memset(bytes, 'a' + i % 26, sizeof bytes);
        assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), rpc_bytes_of(bytes, 500)), RPC_OK);
        assert_int_equal(do_drop(s, &ref, INT64_MAX, &dropped, &kept), RPC_OK);
        assert_int_equal(do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readings[i].faults, 0);
    }
    store_close(s);
}
