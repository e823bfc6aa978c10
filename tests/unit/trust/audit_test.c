/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_support.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static void damaged(const char *folder, const char *says)
{
    uint64_t first = 77, records = 77;
    char head[65] = "untouched";
    rpc_status status = {.message = ""};
    const rpc_code code = trust_audit_verify(folder, &first, &records, head, &status);
    if (code != RPC_DATA_LOSS || !strstr(status.message, says))
        fail_msg("code %d, '%s' does not say '%s'", code, status.message, says);
    assert_int_equal(first, 77);
    assert_int_equal(records, 77);
    assert_string_equal(head, "untouched");
}

/* ---- what a trail is ------------------------------------------------------------------------ */

TEST(audit_line_is_the_digest_of_the_one_before_and_its_json)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 3);
    size_t size, end = 0;
    char *data = load(path_of(folder, 1), &size), hex[65], header[256];
    uint8_t chain[32] = {0};
    char zeros[65];
    rpc_hex(rpc_bytes_of(chain, 32), zeros);
    snprintf(header, sizeof header, " {\"segment\": 1, \"previous\": \"%s\", \"time_ms\": ", zeros);
    assert_memory_equal(data + 64, header, strlen(header));
    for (unsigned line = 0; line < 4; line++) {
        const char *start = data + line_at(data, line);
        const size_t json_size = (size_t)(strchr(start, '\n') - start) - 65;
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
        EVP_DigestUpdate(ctx, chain, 32);
        EVP_DigestUpdate(ctx, start + 65, json_size);
        EVP_DigestFinal_ex(ctx, chain, NULL);
        EVP_MD_CTX_free(ctx);
        rpc_hex(rpc_bytes_of(chain, 32), hex);
        assert_memory_equal(start, hex, 64);
        end = (size_t)(start - data) + 65 + json_size + 1;
    }
    assert_int_equal(end, size);
    uint64_t first, records;
    char head[65];
    assert_int_equal(trust_audit_verify(folder, &first, &records, head, NULL), RPC_OK);
    assert_string_equal(head, hex);
    free(data);
}

TEST(audit_segments_of_bounded_size_form_one_chain_over_restarts)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 200);
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192});
    assert_int_equal(trust_audit_torn_bytes(audit), 0);
    for (unsigned i = 201; i <= 260; i++)
        put_number(audit, i, i % 3 ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    uint64_t segments[64];
    const size_t count = segments_of(folder, segments);
    assert_in_range(count, 4, 10);
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        assert_int_equal(stat(path_of(folder, segments[i]), &st), 0);
        assert_in_range(st.st_size, 1, 8192);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(verified(folder), 260);
    const seen s = scan_all(folder);
    assert_true(s.ordered);
    assert_int_equal(s.count, 260);
}

TEST(audit_record_of_the_largest_size_is_taken_and_one_more_byte_is_not)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192});
    char json[TRUST_AUDIT_RECORD_BYTES_MAX + 2];
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"n\": 1, \"x\": \"", 15);
    memcpy(json + TRUST_AUDIT_RECORD_BYTES_MAX - 2, "\"}", 3);
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(audit, json, TRUST_AUDIT_BEFORE), RPC_OK);
    memcpy(json + TRUST_AUDIT_RECORD_BYTES_MAX - 2, "x\"}", 4);
    assert_int_equal(put(audit, json, TRUST_AUDIT_BEFORE), RPC_INVALID_ARGUMENT);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 5);
}

TEST(audit_records_that_are_no_json_object_on_one_line_are_refused)
{
    static const char *const bad[] = {
        "", "{", "x", "[1]", "{}\n", "{\"a\": \"\n\"}", "{\"a\":\t1}", "{\"a\": \"\xff\"}", " {}"};
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int c = TRUST_AUDIT_SOON; c <= TRUST_AUDIT_BEFORE; c++)
            assert_int_equal(put(audit, bad[i], (trust_audit_class)c), RPC_INVALID_ARGUMENT);
    const uint8_t nul[] = {'{', 0, '}'};
    bool pending;
    assert_int_equal(trust_audit_write(audit, rpc_bytes_of(nul, sizeof nul), TRUST_AUDIT_BEFORE,
                         NULL, NULL, &pending, NULL),
        RPC_INVALID_ARGUMENT);
    assert_int_equal(put(audit, "{}", TRUST_AUDIT_SOON), RPC_OK);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 1);
}

TEST(audit_options_that_make_no_sense_are_refused)
{
    trust_audit *audit = NULL;
    const trust_audit_options none = {.directory = ""},
                              small = {.directory = "/x", .segment_bytes_max = 8191},
                              tight = {.directory = "/x", .waiting_bytes_max = 1048575},
                              deep = {.directory = "/nonexistent/a/b"};
    assert_int_equal(trust_audit_open(&none, &audit, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(trust_audit_open(&small, &audit, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(trust_audit_open(&tight, &audit, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(trust_audit_open(&deep, &audit, NULL), RPC_UNAVAILABLE);
    assert_null(audit);
    trust_audit_close(NULL);
}

TEST(audit_readers_tell_a_missing_trail_from_an_empty_one)
{
    uint64_t first = 0, records = 1;
    char head[65], folder[300];
    snprintf(folder, sizeof folder, "%s/none", test_tmpdir());
    assert_int_equal(trust_audit_verify(folder, &first, &records, head, NULL), RPC_NOT_FOUND);
    seen s = {0};
    assert_int_equal(trust_audit_scan(folder, 0, 1, see, &s, NULL), RPC_NOT_FOUND);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(trust_audit_verify(folder, &first, &records, head, NULL), RPC_OK);
    assert_int_equal(first, 1);
    assert_int_equal(records, 0);
    assert_int_equal(strspn(head, "0"), 64);
    assert_int_equal(trust_audit_scan(folder, 2, 1, see, &s, NULL), RPC_INVALID_ARGUMENT);
    assert_int_equal(s.count, 0);
}

/* ---- tampering ------------------------------------------------------------------------------ */

TEST(audit_any_changed_byte_is_found)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 3);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    static const char flips[] = {0x01, 0x20, (char)0x80}; /* 0x20: the case of a hex digit */
    for (size_t f = 0; f < sizeof flips; f++)
        for (size_t i = 0; i + 1 < size; i++) {
            data[i] = (char)(data[i] ^ flips[f]);
            save(path_of(folder, 1), data, size);
            damaged(folder, "audit-00000000000000000001.log' line ");
            data[i] = (char)(data[i] ^ flips[f]);
        }
    save(path_of(folder, 1), data, size);
    assert_int_equal(verified(folder), 3);
    free(data);
}

TEST(audit_removed_swapped_and_inserted_lines_are_found_by_line)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 5);
    size_t size;
    char *data = load(path_of(folder, 1), &size), *bad = calloc(1, 2 * size);
    const size_t l2 = line_at(data, 2), l3 = line_at(data, 3), l4 = line_at(data, 4);

    memcpy(bad, data, l2); /* the third line removed */
    memcpy(bad + l2, data + l3, size - l3);
    save(path_of(folder, 1), bad, size - (l3 - l2));
    damaged(folder, "line 3: it does not follow");

    memcpy(bad + l2, data + l3, l4 - l3); /* third and fourth swapped */
    memcpy(bad + l2 + (l4 - l3), data + l2, l3 - l2);
    memcpy(bad + l4, data + l4, size - l4);
    save(path_of(folder, 1), bad, size);
    damaged(folder, "line 3: it does not follow");

    memcpy(bad, data, l3); /* the third line twice */
    memcpy(bad + l3, data + l2, size - l2);
    save(path_of(folder, 1), bad, size + (l3 - l2));
    damaged(folder, "line 4: it does not follow");

    memcpy(bad + l3, "{}\n", 3);
    memcpy(bad + l3 + 3, data + l3, size - l3);
    save(path_of(folder, 1), bad, size + 3);
    damaged(folder, "line 4: it is no record");

    save(path_of(folder, 1), data + line_at(data, 1), size - line_at(data, 1));
    damaged(folder, "line 1: it is not the header");
    free(data);
    free(bad);
}

TEST(audit_line_longer_than_a_record_is_found)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 2);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    const size_t room = 600000;
    char *bad = malloc(size + room);
    memcpy(bad, data, size);
    memset(bad + size, 0, room);
    save(path_of(folder, 1), bad, size + room); /* what some disks leave when the power goes */
    damaged(folder, "line 4: it is longer than a record");
    free(data);
    free(bad);
}

TEST(audit_oldest_segments_may_be_moved_away_and_the_rest_says_where_it_begins)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 300);
    uint64_t segments[64];
    const size_t count = segments_of(folder, segments);
    assert_in_range(count, 3, 64);
    char head[65], before[65];
    uint64_t first, records;
    assert_int_equal(trust_audit_verify(folder, &first, &records, before, NULL), RPC_OK);
    assert_int_equal(first, 1);
    for (size_t i = 0; i + 1 < count; i++) {
        assert_int_equal(unlink(path_of(folder, segments[i])), 0);
        assert_int_equal(trust_audit_verify(folder, &first, &records, head, NULL), RPC_OK);
        assert_int_equal(first, segments[i + 1]);
        assert_int_equal(records, 301 - segments[i + 1]);
        assert_string_equal(head, before);
    }
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder}); /* and it goes on */
    put_number(audit, 301, TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 302 - first);
}

TEST(audit_removed_segment_is_found_wherever_it_was)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 300);
    uint64_t segments[64];
    const size_t count = segments_of(folder, segments);
    assert_in_range(count, 3, 64);
    for (size_t i = 1; i + 1 < count; i++) {
        char aside[600];
        snprintf(aside, sizeof aside, "%s/aside", folder);
        assert_int_equal(rename(path_of(folder, segments[i]), aside), 0);
        damaged(folder, "removed or added");
        assert_int_equal(rename(aside, path_of(folder, segments[i])), 0);
    }
    assert_int_equal(verified(folder), 300);
    unlink(path_of(folder, segments[count - 1])); /* the newest records: as documented */
    assert_int_equal(verified(folder), segments[count - 1] - 1);
}

TEST(audit_shortened_or_exchanged_older_segment_is_found)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 300);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    size_t shorter = size - 1;
    while (data[shorter - 1] != '\n')
        shorter--;
    save(path_of(folder, 1), data, shorter); /* its last record gone */
    damaged(folder, "removed or added");
    save(path_of(folder, 1), data, size - 1);
    damaged(folder, "it has no end");
    save(path_of(folder, 1), data, 0);
    damaged(folder, "there is no header");
    save(path_of(folder, 1), data, size);
    free(data);

    const char *other = test_tmpdir(); /* whole and well-formed, but of another trail */
    make_trail(other, 300);
    uint64_t segments[64];
    segments_of(folder, segments);
    data = load(path_of(other, segments[1]), &size);
    save(path_of(folder, segments[1]), data, size);
    damaged(folder, "line 1: it does not follow from the segment before");
    free(data);
}

TEST(audit_open_refuses_a_newest_segment_that_was_changed_and_changes_nothing)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 5);
    size_t size, after;
    char *data = load(path_of(folder, 1), &size);
    data[size - 10] ^= 1;
    save(path_of(folder, 1), data, size - 3); /* torn as well */
    trust_audit *audit = NULL;
    rpc_status status;
    data[line_at(data, 2) + 70] ^= 1;
    save(path_of(folder, 1), data, size - 3);
    assert_int_equal(trust_audit_open(&(trust_audit_options){.directory = folder}, &audit, &status),
        RPC_DATA_LOSS);
    assert_non_null(strstr(status.message, "line 3"));
    assert_null(audit);
    char *now = load(path_of(folder, 1), &after);
    assert_int_equal(after, size - 3);
    assert_memory_equal(now, data, after);
    free(now);
    free(data);
}

TEST(audit_scan_gives_what_verifies_and_then_reports_the_damage)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 300);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    data[line_at(data, 5) + 80] ^= 1; /* record 5 */
    save(path_of(folder, 1), data, size);
    free(data);
    seen s = {0};
    rpc_status status;
    assert_int_equal(
        trust_audit_scan(folder, INT64_MIN, INT64_MAX, see, &s, &status), RPC_DATA_LOSS);
    assert_int_equal(s.count, 299);
    assert_int_equal(s.last, 300);
    assert_non_null(strstr(status.message, "audit-00000000000000000001.log' line 6"));
}

/* ---- one writer, many threads --------------------------------------------------------------- */

TEST(audit_second_writer_is_refused_until_the_first_has_closed)
{
    const char *folder = test_tmpdir();
    const trust_audit_options options = {.directory = folder};
    trust_audit *audit = open_trail(options), *second = NULL;
    rpc_status status;
    assert_int_equal(trust_audit_open(&options, &second, &status), RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "somebody else"));
    assert_null(second);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    trust_audit_close(audit);
    trust_audit_close(open_trail(options));
    assert_int_equal(verified(folder), 1);
}

#define THREADS    6u
#define PER_THREAD 1500u

typedef struct author {
    pthread_t thread;
    trust_audit *audit;
    unsigned number;
    unsigned failed;
} author;

static void *write_many(void *arg)
{
    author *a = arg;
    for (unsigned i = 0; i < PER_THREAD; i++) {
        char json[96];
        snprintf(json, sizeof json, "{\"n\": %u, \"thread\": %u}", i, a->number);
        a->failed += put(a->audit, json, i % 3 ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE) != RPC_OK;
    }
    return NULL;
}

static bool in_order(void *ctx, rpc_bytes json)
{
    unsigned *next = ctx, number, thread;
    char text[128] = "";
    memcpy(text, json.data, json.size < 127 ? json.size : 127);
    assert_int_equal(sscanf(text, "{\"n\": %u, \"thread\": %u", &number, &thread), 2);
    assert_true(thread < THREADS);
    assert_int_equal(number, next[thread]++);
    return true;
}

TEST(audit_threads_lose_nothing_and_keep_their_order_with_readers_beside)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 65536});
    author authors[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        authors[i] = (author){.audit = audit, .number = i};
        assert_int_equal(pthread_create(&authors[i].thread, NULL, write_many, &authors[i]), 0);
    }
    uint64_t before = 0;
    for (int i = 0; i < 40; i++) { /* a reader sees a whole trail that only grows */
        const uint64_t now = verified(folder);
        assert_true(now >= before);
        before = now;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(authors[i].thread, NULL);
        assert_int_equal(authors[i].failed, 0);
    }
    trust_audit_close(audit);
    assert_int_equal(verified(folder), (uint64_t)THREADS * PER_THREAD);
    unsigned next[THREADS] = {0};
    assert_int_equal(trust_audit_scan(folder, INT64_MIN, INT64_MAX, in_order, next, NULL), RPC_OK);
}

/* ---- reading by time ------------------------------------------------------------------------ */

static int64_t fake_wall_ms(void *ctx)
{
    return *(int64_t *)ctx;
}

static int64_t fake_monotonic_us(void *ctx)
{
    (void)ctx;
    return 0;
}

#define HOUR_MS 3600000

static seen scan_hours(const char *folder, int64_t from, int64_t to)
{
    seen s = {.count = 0};
    assert_int_equal(trust_audit_scan(folder, from * HOUR_MS, to * HOUR_MS, see, &s, NULL), RPC_OK);
    return s;
}

TEST(audit_scan_reads_the_segments_that_may_hold_the_time_and_the_newest)
{
    const char *folder = test_tmpdir();
    int64_t wall_ms = 0;
    const rpc_clock clock = {fake_monotonic_us, fake_wall_ms, &wall_ms};
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192, .clock = &clock});
    unsigned number = 0;
    uint64_t segments[64];
    size_t count = 1;
    while (count < 4) { /* segments are begun at 0, 100, 200 and 300 hours */
        wall_ms = (int64_t)count * 100 * HOUR_MS;
        put_number(audit, ++number, TRUST_AUDIT_BEFORE);
        count = segments_of(folder, segments);
    }
    trust_audit_close(audit);
    seen s = scan_hours(folder, 120, 180); /* the second, and always the last */
    assert_int_equal(s.count, segments[2] - segments[1] + number - segments[3] + 1);
    s = scan_hours(folder, 500, 600);
    assert_int_equal(s.count, number - segments[3] + 1);
    s = scan_hours(folder, 98, 99); /* an hour to spare */
    assert_int_equal(s.count, segments[2] - 1 + number - segments[3] + 1);
    s = scan_hours(folder, -1000, 1000);
    assert_int_equal(s.count, number);
    s = (seen){.stop_after = 2};
    assert_int_equal(trust_audit_scan(folder, INT64_MIN, INT64_MAX, see, &s, NULL), RPC_OK);
    assert_int_equal(s.count, 2);
}

TEST(audit_scan_reads_every_segment_in_which_the_clock_went_back)
{
    const char *folder = test_tmpdir();
    int64_t wall_ms = (int64_t)1000 * HOUR_MS; /* wrong at first */
    const rpc_clock clock = {fake_monotonic_us, fake_wall_ms, &wall_ms};
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192, .clock = &clock});
    unsigned number = 0;
    uint64_t segments[64];
    size_t count = 1;
    while (count < 3) {
        wall_ms = (int64_t)count * 100 * HOUR_MS;
        put_number(audit, ++number, TRUST_AUDIT_BEFORE);
        count = segments_of(folder, segments);
    }
    trust_audit_close(audit);
    const seen s = scan_hours(folder, 50, 60); /* after it was set right, before the next one */
    assert_int_equal(s.count, segments[1] - 1 + number - segments[2] + 1);
}
