/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail over torn lines, full and failing disks, missing descriptors, kill -9 and, with
 * power, syncs that fail. */
#include "audit_support.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the disk, with failures under control -------------------------------------------------- */

static atomic_bool sync_fails;
static atomic_uint syncs;

int fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    if (atomic_load(&sync_fails)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* No file may grow beyond bytes; 0 = as before. Nothing may be printed meanwhile. */
static void limit_files(rlim_t bytes)
{
    static struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    if (before.rlim_max == 0)
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit limit = {bytes ? bytes : before.rlim_cur, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The writer tries again by itself: what stands of a record meanwhile, it cuts off at once. */
static bool becomes_of_size(const char *path, off_t size)
{
    struct stat st = {.st_size = -1};
    for (unsigned ms = 0; ms < 10000 && st.st_size != size; ms += 2) {
        usleep(2000);
        stat(path, &st);
    }
    return st.st_size == size;
}

/* ---- crashes and full disks ----------------------------------------------------------------- */

TEST(audit_torn_last_line_is_cut_off_at_open_and_reported)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 3);
    size_t size;
    char *data = load(path_of(folder, 1), &size);
    const size_t last = line_at(data, 3);
    for (size_t torn = 1; torn < size - last; torn++) {
        save(path_of(folder, 1), data, last + torn);
        assert_int_equal(verified(folder), 2);
        trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
        assert_int_equal(trust_audit_torn_bytes(audit), torn);
        put_number(audit, 3, TRUST_AUDIT_BEFORE);
        trust_audit_close(audit);
        assert_int_equal(verified(folder), 3);
        size_t now;
        free(load(path_of(folder, 1), &now));
        assert_int_equal(now, size);
    }
    free(data);
}

TEST(audit_segment_torn_while_it_was_begun_is_begun_again)
{
    const char *folder = test_tmpdir();
    make_trail(folder, 20);
    save(path_of(folder, 21), "0123456789abcdef", 16);
    assert_int_equal(verified(folder), 20);
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    assert_int_equal(trust_audit_torn_bytes(audit), 16);
    put_number(audit, 21, TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 21);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_full_disk_refuses_the_record_leaves_a_whole_segment_and_recovers)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    put_number(audit, 1, TRUST_AUDIT_BEFORE);
    struct stat before;
    assert_int_equal(stat(path_of(folder, 1), &before), 0);
    rpc_status refused, health;
    bool pending = true;
    limit_files((rlim_t)before.st_size + 30);                         /* the record begins to fit */
    const rpc_code soon = put(audit, "{\"n\": 2}", TRUST_AUDIT_SOON); /* waits for better times */
    const rpc_code code = trust_audit_write(
        audit, rpc_bytes_str("{\"n\": 99}"), TRUST_AUDIT_BEFORE, NULL, NULL, &pending, &refused);
    const rpc_code flushed = trust_audit_flush(audit, NULL);
    const bool healthy = trust_audit_healthy(audit, &health);
    const bool whole = becomes_of_size(path_of(folder, 1), before.st_size);
    limit_files(0);
    assert_int_equal(soon, RPC_OK);
    assert_int_equal(code, RPC_UNAVAILABLE);
    assert_true(pending);
    assert_non_null(strstr(refused.message, "ulimit -f"));
    assert_int_equal(flushed, RPC_UNAVAILABLE);
    assert_false(healthy);
    assert_int_equal(health.code, RPC_UNAVAILABLE);
    assert_true(whole);
    wait_healthy(audit); /* the record that waits is tried again by itself */
    put_number(audit, 3, TRUST_AUDIT_BEFORE);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 3);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_disk_that_takes_some_of_a_batch_keeps_the_whole_records_of_it)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    put_number(audit, 1, TRUST_AUDIT_BEFORE);
    struct stat st;
    assert_int_equal(stat(path_of(folder, 1), &st), 0);
    limit_files((rlim_t)st.st_size + 1000);
    for (unsigned i = 2; i <= 40; i++)
        put_number(audit, i, TRUST_AUDIT_SOON);
    const rpc_code flushed = trust_audit_flush(audit, NULL);
    const uint64_t during = verified(folder);
    limit_files(0);
    assert_int_equal(flushed, RPC_UNAVAILABLE);
    assert_in_range(during, 2, 20);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 40);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_records_wait_up_to_a_bound_and_what_was_taken_is_written_later)
{
    const char *folder = test_tmpdir();
    const size_t bound = 8u << 20;
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .waiting_bytes_max = bound});
    char json[4001];
    memset(json, 'x', sizeof json);
    struct stat st;
    assert_int_equal(stat(path_of(folder, 1), &st), 0);
    limit_files((rlim_t)st.st_size);
    unsigned taken = 0;
    rpc_code code = RPC_OK;
    while (code == RPC_OK && taken < 4000) {
        const int size = snprintf(json, sizeof json, "{\"n\": %u, \"x\": \"", taken + 1);
        json[size] = 'x';
        memcpy(json + sizeof json - 3, "\"}", 3);
        code = put(audit, json, TRUST_AUDIT_SOON);
        taken += code == RPC_OK;
    }
    limit_files(0);
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_in_range(taken, 1900, bound / 4000);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    put_number(audit, taken + 1, TRUST_AUDIT_SOON);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), taken + 1);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_without_descriptors_the_segment_grows_on)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192});
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {3, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned i = 1; i <= 200; i++)
        put_number(audit, i, TRUST_AUDIT_BEFORE);
    const bool healthy = trust_audit_healthy(audit, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(healthy);
    uint64_t segments[64];
    assert_int_equal(segments_of(folder, segments), 1);
    put_number(audit, 201, TRUST_AUDIT_BEFORE);
    assert_int_equal(segments_of(folder, segments), 2);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 201);
}

/* Writes until it is killed; the number of each acknowledged record goes into the pipe. */
static void acknowledge(void *arg, bool written)
{
    const unsigned *record = arg;
    if (written && write((int)record[1], record, sizeof *record) < 0)
        _exit(3);
}

static void write_for_ever(const char *folder, bool power, int to)
{
    trust_audit *audit = NULL;
    const trust_audit_options options = {.directory = folder,
        .power = power,
        .segment_bytes_max = 16384,
        .waiting_bytes_max = TRUST_AUDIT_WAITING_BYTES_MIN,
        .stuck_ms = 600000};
    if (trust_audit_open(&options, &audit, NULL) != RPC_OK)
        _exit(1);
    static unsigned records[1 << 20][2];
    for (unsigned i = 1; i < 1 << 20; i++) {
        char json[64];
        bool pending = false;
        records[i][0] = i;
        records[i][1] = (unsigned)to;
        snprintf(json, sizeof json, "{\"n\": %u}", i);
        rpc_code code;
        while ((code = trust_audit_write(audit, rpc_bytes_str(json), TRUST_AUDIT_BEFORE,
                    acknowledge, records[i], &pending, NULL)) == RPC_RESOURCE_EXHAUSTED)
            usleep(1000); /* with power they may wait for the disk */
        if (code != RPC_OK)
            _exit(2);
        if (!pending)
            acknowledge(records[i], true);
    }
    _exit(4);
}

static void kill_and_count(bool power)
{
    const char *folder = test_tmpdir();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        write_for_ever(folder, power, ends[1]);
    close(ends[1]);
    unsigned acknowledged = 0, last = 0, number;
    while (read(ends[0], &number, sizeof number) == (ssize_t)sizeof number) {
        last = number;
        if (++acknowledged == 500)
            kill(child, SIGKILL);
    }
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_in_range(acknowledged, 500, 1 << 20);
    assert_int_equal(last, acknowledged);
    trust_audit_close(open_trail((trust_audit_options){.directory = folder}));
    assert_true(verified(folder) >= acknowledged);
    const seen s = scan_all(folder);
    assert_true(s.ordered && s.last >= last);
}

TEST(audit_acknowledged_records_survive_kill_9)
{
    kill_and_count(false);
}

TEST(audit_with_power_acknowledged_records_survive_kill_9)
{
    kill_and_count(true);
}

/* ---- loss of power -------------------------------------------------------------------------- */

typedef struct answer {
    atomic_uint calls, good;
    unsigned syncs_before;
    bool synced; /* when it was called */
    trust_audit *audit;
} answer;

static void on_written(void *arg, bool written)
{
    answer *a = arg;
    a->synced = atomic_load(&syncs) > a->syncs_before;
    if (a->audit) { /* a callback may write */
        bool pending;
        assert_int_equal(trust_audit_write(a->audit, rpc_bytes_str("{\"n\": 2}"), TRUST_AUDIT_SOON,
                             NULL, NULL, &pending, NULL),
            RPC_OK);
    }
    if (written)
        atomic_fetch_add(&a->good, 1);
    atomic_fetch_add(&a->calls, 1);
}

static rpc_code put_before(trust_audit *audit, const char *json, answer *a)
{
    bool pending = false;
    a->syncs_before = atomic_load(&syncs);
    const rpc_code code = trust_audit_write(
        audit, rpc_bytes_str(json), TRUST_AUDIT_BEFORE, on_written, a, &pending, NULL);
    assert_true(code != RPC_OK || pending);
    return code;
}

TEST(audit_with_power_the_callback_comes_once_and_after_the_sync)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder, .power = true});
    answer a = {.audit = audit};
    assert_int_equal(put_before(audit, "{\"n\": 1}", &a), RPC_OK);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.good, 1);
    assert_true(a.synced);
    answer last = {.audit = audit};
    assert_int_equal(put_before(audit, "{\"n\": 3}", &last), RPC_OK);
    trust_audit_close(audit); /* runs what is due, and writes what that wrote */
    assert_int_equal(last.good, 1);
    assert_int_equal(verified(folder), 4);
}

TEST(audit_with_power_many_records_over_segments_are_all_answered)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .power = true, .segment_bytes_max = 8192});
    static answer answers[500];
    memset(answers, 0, sizeof answers);
    for (unsigned i = 0; i < 500; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"n\": %u}", i);
        assert_int_equal(put_before(audit, json, &answers[i]), RPC_OK);
    }
    trust_audit_close(audit);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].good, 1);
    }
    assert_int_equal(verified(folder), 500);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_with_power_a_callback_is_asked_for)
{
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = test_tmpdir(), .power = true});
    assert_int_equal(put(audit, "{}", TRUST_AUDIT_BEFORE), RPC_INVALID_ARGUMENT);
    assert_int_equal(put(audit, "{}", TRUST_AUDIT_SOON), RPC_OK);
    trust_audit_close(audit);
}

TEST(audit_with_power_a_failed_sync_takes_the_record_back_and_keeps_those_that_may_wait)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder, .power = true});
    answer refused = {.calls = 0}, taken = {.calls = 0};
    atomic_store(&sync_fails, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    assert_int_equal(put_before(audit, "{\"n\": 99}", &refused), RPC_OK);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_UNAVAILABLE);
    atomic_store(&sync_fails, false);
    assert_int_equal(refused.calls, 1);
    assert_int_equal(refused.good, 0);
    assert_int_equal(put_before(audit, "{\"n\": 2}", &taken), RPC_OK);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    assert_int_equal(taken.good, 1);
    rpc_status status; /* what the disk kept of the time before, nobody knows */
    assert_false(trust_audit_healthy(audit, &status));
    assert_non_null(strstr(status.message, "verify"));
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 2);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_with_power_a_full_disk_refuses_those_who_wait)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder, .power = true});
    struct stat st;
    assert_int_equal(stat(path_of(folder, 1), &st), 0);
    answer refused = {.calls = 0};
    limit_files((rlim_t)st.st_size + 70);
    const rpc_code code = put_before(audit, "{\"n\": 99}", &refused);
    const rpc_code flushed = trust_audit_flush(audit, NULL);
    limit_files(0);
    assert_int_equal(code, RPC_OK);
    assert_int_equal(refused.calls, 1);
    assert_int_equal(refused.good, 0);
    assert_true(flushed == RPC_OK || flushed == RPC_UNAVAILABLE); /* or nothing was left to do */
    wait_healthy(audit); /* the disk is asked, though nobody writes */
    put_number(audit, 1, TRUST_AUDIT_SOON);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 1);
}

TEST(audit_failed_sync_is_remembered_until_the_trail_is_opened_anew)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    put_number(audit, 1, TRUST_AUDIT_BEFORE);
    assert_true(trust_audit_healthy(audit, NULL));
    atomic_store(&sync_fails, true);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_UNAVAILABLE);
    atomic_store(&sync_fails, false);
    put_number(audit, 2, TRUST_AUDIT_BEFORE);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    assert_false(trust_audit_healthy(audit, NULL));
    trust_audit_close(audit);
    audit = open_trail((trust_audit_options){.directory = folder});
    assert_true(trust_audit_healthy(audit, NULL));
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 2);
}
