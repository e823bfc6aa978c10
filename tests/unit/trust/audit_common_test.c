/* SPDX-License-Identifier: Apache-2.0 */
/* Records that name another for what they have in common with it. */
#include "audit_support.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMON "{\"method\": \"Authorize\", \"user\": \"u-0123456789abcdef\", \"outcome\": \"OK\"}"

static trust_audit_common *common_of(const char *json)
{
    rpc_status status = {.message = ""};
    trust_audit_common *common = trust_audit_common_new(rpc_bytes_str(json), &status);
    if (!common)
        fail_msg("%s", status.message);
    return common;
}

static void put_common(
    trust_audit *audit, trust_audit_common *common, unsigned number, trust_audit_class durability)
{
    char id[32];
    bool pending = true;
    snprintf(id, sizeof id, "request-%u", number);
    assert_int_equal(trust_audit_write_common(audit, common, 1700000000000 + number, id, durability,
                         NULL, NULL, &pending, NULL),
        RPC_OK);
    assert_false(pending);
}

/* What a reader makes of a trail: each short record needs the full one in its segment. */
typedef struct reading {
    unsigned records, full;
    char id[64], full_id[64]; /* of the last */
    bool broken;
} reading;

static bool read_one(void *ctx, rpc_bytes json)
{
    reading *r = ctx;
    char text[TRUST_AUDIT_RECORD_BYTES_MAX + 1], as[64], expected[512];
    long long time_ms;
    memcpy(text, json.data, json.size);
    text[json.size] = '\0';
    r->records++;
    assert_int_equal(
        sscanf(text, "{\"time_ms\": %lld, \"request_id\": \"%63[^\"]\"", &time_ms, r->id), 2);
    const char *named = strstr(text, "\"as\": \"");
    if (named) {
        assert_int_equal(sscanf(named, "\"as\": \"%63[^\"]\"}", as), 1);
        snprintf(expected, sizeof expected,
            "{\"time_ms\": %lld, \"request_id\": \"%s\", \"as\": \"%s\"}", time_ms, r->id, as);
        r->broken = r->broken || strcmp(as, r->full_id) != 0;
    } else {
        snprintf(expected, sizeof expected, "{\"time_ms\": %lld, \"request_id\": \"%s\", %s",
            time_ms, r->id, COMMON + 1);
        memcpy(r->full_id, r->id, sizeof r->full_id);
        r->full++;
    }
    assert_string_equal(text, expected);
    return true;
}

static reading read_all(const char *folder)
{
    reading r = {.records = 0};
    assert_int_equal(trust_audit_scan(folder, INT64_MIN, INT64_MAX, read_one, &r, NULL), RPC_OK);
    return r;
}

TEST(audit_record_is_full_once_and_short_behind_it)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    trust_audit_common *common = common_of(COMMON);
    for (unsigned i = 1; i <= 100; i++)
        put_common(audit, common, i, i % 7 ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE);
    trust_audit_common_unref(common);
    trust_audit_close(audit); /* which writes what still holds the common members */
    const reading r = read_all(folder);
    assert_int_equal(r.records, 100);
    assert_int_equal(r.full, 1);
    assert_string_equal(r.full_id, "request-1");
    assert_string_equal(r.id, "request-100");
    assert_int_equal(verified(folder), 100);
}

TEST(audit_each_segment_and_each_restart_begins_with_a_full_record)
{
    const char *folder = test_tmpdir();
    const trust_audit_options options = {.directory = folder, .segment_bytes_max = 8192};
    trust_audit_common *common = common_of(COMMON);
    trust_audit *audit = open_trail(options);
    for (unsigned i = 1; i <= 300; i++)
        put_common(audit, common, i, i % 7 ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    uint64_t segments[64];
    const size_t count = segments_of(folder, segments);
    assert_in_range(count, 4, 20);
    reading r = read_all(folder);
    assert_int_equal(r.records, 300);
    assert_int_equal(r.full, count);
    assert_false(r.broken);
    for (size_t i = 0; i < count; i++) { /* any segment can be read by itself */
        char alone[300], from[600], to[600];
        struct stat st;
        snprintf(alone, sizeof alone, "%s/alone-%zu", test_tmpdir(), i);
        assert_int_equal(mkdir(alone, 0700), 0);
        snprintf(from, sizeof from, "%s", path_of(folder, segments[i]));
        snprintf(to, sizeof to, "%s", path_of(alone, segments[i]));
        assert_int_equal(link(from, to), 0);
        assert_int_equal(stat(from, &st), 0);
        assert_in_range(st.st_size, 1, 8192);
        const reading one = read_all(alone);
        assert_int_equal(one.full, 1);
        assert_false(one.broken);
    }
    trust_audit_common_unref(common);
    common = common_of(COMMON); /* nothing of a former process is named */
    audit = open_trail(options);
    put_common(audit, common, 301, TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    trust_audit_common_unref(common);
    r = read_all(folder);
    assert_string_equal(r.full_id, "request-301");
    assert_int_equal(verified(folder), 301);
}

TEST(audit_record_behind_a_full_one_that_the_disk_refused_is_full_itself)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    trust_audit_common *common = common_of(COMMON);
    struct stat st;
    struct rlimit before;
    bool pending;
    assert_int_equal(stat(path_of(folder, 1), &st), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit limit = {(rlim_t)st.st_size + 100, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const rpc_code refused = trust_audit_write_common(
        audit, common, 1, "refused", TRUST_AUDIT_BEFORE, NULL, NULL, &pending, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(refused, RPC_UNAVAILABLE);
    put_common(audit, common, 2, TRUST_AUDIT_BEFORE);
    put_common(audit, common, 3, TRUST_AUDIT_BEFORE);
    trust_audit_common_unref(common);
    trust_audit_close(audit);
    const reading r = read_all(folder);
    assert_int_equal(r.records, 2);
    assert_int_equal(r.full, 1);
    assert_string_equal(r.full_id, "request-2");
    assert_false(r.broken);
}

/* A disk that takes each number of bytes of a batch. */
TEST(audit_batch_that_is_written_in_part_names_only_what_is_there)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (unsigned part = 0; part < 1200; part += 40) {
        const char *folder = test_tmpdir();
        trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
        struct stat st;
        assert_int_equal(stat(path_of(folder, 1), &st), 0);
        const struct rlimit limit = {(rlim_t)st.st_size + part, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        trust_audit_common *mine = common_of(COMMON);
        for (unsigned i = 1; i <= 20; i++)
            put_common(audit, mine, i, TRUST_AUDIT_SOON);
        const rpc_code code = trust_audit_flush(audit, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(code, RPC_UNAVAILABLE);
        assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
        trust_audit_close(audit);
        trust_audit_common_unref(mine);
        const reading r = read_all(folder);
        assert_int_equal(r.records, 20);
        assert_int_equal(r.full, 1);
        assert_string_equal(r.full_id, "request-1");
        assert_int_equal(verified(folder), 20);
    }
}

TEST(audit_common_members_and_request_ids_that_would_break_a_record_are_refused)
{
    static const char *const bad[] = {
        "", "{}", "{ }", "[\"x\"]", "{\"a\": \"\n\"}", "{\"a\": \"\xff\"}"};
    rpc_status status;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        status.code = RPC_OK;
        assert_null(trust_audit_common_new(rpc_bytes_str(bad[i]), &status));
        assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
    }
    char long_json[TRUST_AUDIT_COMMON_BYTES_MAX + 2];
    memset(long_json, 'x', sizeof long_json);
    memcpy(long_json, "{\"x\": \"", 7);
    memcpy(long_json + TRUST_AUDIT_COMMON_BYTES_MAX - 1, "\"}", 3);
    assert_null(trust_audit_common_new(rpc_bytes_str(long_json), &status));
    memcpy(long_json + TRUST_AUDIT_COMMON_BYTES_MAX - 2, "\"}", 3);
    trust_audit_common *common = common_of(long_json);
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    char long_id[TRUST_AUDIT_REQUEST_ID_MAX + 2];
    memset(long_id, 'i', sizeof long_id);
    long_id[TRUST_AUDIT_REQUEST_ID_MAX + 1] = '\0';
    const char *const ids[] = {"", "a\"b", "a b", "a\\b", "\xc3\xa4", "a\n", long_id};
    bool pending;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_int_equal(trust_audit_write_common(audit, common, 0, ids[i], TRUST_AUDIT_BEFORE,
                             NULL, NULL, &pending, NULL),
            RPC_INVALID_ARGUMENT);
    long_id[TRUST_AUDIT_REQUEST_ID_MAX] = '\0'; /* the longest of all of them is a record */
    const int64_t times[] = {INT64_MIN, INT64_MAX, 0, -1};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        long_id[0] = (char)('a' + i);
        assert_int_equal(trust_audit_write_common(audit, common, times[i], long_id,
                             TRUST_AUDIT_BEFORE, NULL, NULL, &pending, NULL),
            RPC_OK);
    }
    trust_audit_common_unref(common);
    trust_audit_common_unref(NULL);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 4);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    assert_non_null(strstr(data, " {\"time_ms\": -9223372036854775808, \"request_id\": \"aiii"));
    assert_non_null(strstr(data, " {\"time_ms\": 9223372036854775807, \"request_id\": \"biii"));
    assert_non_null(strstr(data, " {\"time_ms\": 0, \"request_id\": \"ciii"));
    assert_non_null(strstr(data, " {\"time_ms\": -1, \"request_id\": \"diii"));
    free(data);
}

static void broken(const char *folder, const char *says)
{
    uint64_t first, records;
    char head[65];
    rpc_status status = {.message = ""};
    assert_int_equal(trust_audit_verify(folder, &first, &records, head, &status), RPC_DATA_LOSS);
    if (!strstr(status.message, says))
        fail_msg("'%s' does not say '%s'", status.message, says);
}

TEST(audit_verify_finds_a_short_record_whose_full_one_is_not_before_it)
{
    static const char *const records[] = {
        "{\"time_ms\": 1, \"request_id\": \"a\", \"x\": 1}",
        "{\"time_ms\": 2, \"request_id\": \"b\", \"as\": \"a\"}",
        "{\"time_ms\": 3, \"request_id\": \"c\", \"as\": \"b\"}", /* a short one is none */
    };
    static const char *const bad[] = {
        "{\"time_ms\": 2, \"request_id\": \"b\", \"as\": \"other\"}",
        "{\"time_ms\": 2, \"request_id\": \"b\", \"as\": \"\"}",
        "{\"time_ms\": 2, \"request_id\": \"b\", \"as\": \"b\"}",
        "{\"time_ms\": 2, \"request_id\": \"b\", \"as\": \"}",
    };
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(put(audit, records[i], TRUST_AUDIT_BEFORE), RPC_OK);
    trust_audit_close(audit);
    broken(folder, "audit-00000000000000000001.log' line 4: it names a record");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        folder = test_tmpdir();
        audit = open_trail((trust_audit_options){.directory = folder});
        assert_int_equal(put(audit, bad[i], TRUST_AUDIT_BEFORE), RPC_OK);
        trust_audit_close(audit);
        broken(folder, "line 2: it names a record");
    }
}

TEST(audit_verify_follows_short_records_among_thousands_of_full_ones)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    static trust_audit_common *all[3000];
    for (unsigned i = 0; i < 3000; i++) {
        all[i] = common_of(COMMON);
        put_common(audit, all[i], i, TRUST_AUDIT_SOON);
    }
    for (unsigned i = 0; i < 3000; i++) {
        put_common(audit, all[i], 3000 + i, TRUST_AUDIT_SOON);
        trust_audit_common_unref(all[i]);
    }
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 6000);
}

#define THREADS 4u

typedef struct author {
    pthread_t thread;
    trust_audit *audit;
    trust_audit_common *common;
    unsigned first;
} author;

static void *write_many(void *arg)
{
    author *a = arg;
    for (unsigned i = 0; i < 1000; i++)
        put_common(
            a->audit, a->common, a->first + i, i % 3 ? TRUST_AUDIT_SOON : TRUST_AUDIT_BEFORE);
    return NULL;
}

TEST(audit_threads_may_share_what_is_in_common)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 65536});
    trust_audit_common *common = common_of(COMMON);
    author authors[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        authors[i] = (author){.audit = audit, .common = common, .first = 10000 * (i + 1)};
        assert_int_equal(pthread_create(&authors[i].thread, NULL, write_many, &authors[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(authors[i].thread, NULL);
    trust_audit_common_unref(common);
    trust_audit_close(audit);
    const reading r = read_all(folder);
    uint64_t segments[64];
    assert_int_equal(r.records, THREADS * 1000);
    assert_int_equal(r.full, segments_of(folder, segments));
    assert_false(r.broken);
    assert_int_equal(verified(folder), THREADS * 1000);
}
