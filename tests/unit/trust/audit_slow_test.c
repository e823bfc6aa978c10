/* SPDX-License-Identifier: Apache-2.0 */
/* The trail on a disk that is slow: writes and syncs that begin when they are asked to, and end
 * when the test says so. */
#include "audit_support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the disk ---------------------------------------------------------------------------------
 */

typedef struct gate {
    bool closed;
    unsigned standing; /* in front of it */
} gate;

static pthread_mutex_t gates_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gates_change = PTHREAD_COND_INITIALIZER;
static gate writes, syncs;

static void set_gate(gate *g, bool closed)
{
    pthread_mutex_lock(&gates_lock);
    g->closed = closed;
    pthread_cond_broadcast(&gates_change);
    pthread_mutex_unlock(&gates_lock);
}

static void pass(gate *g)
{
    pthread_mutex_lock(&gates_lock);
    g->standing++;
    pthread_cond_broadcast(&gates_change);
    while (g->closed)
        pthread_cond_wait(&gates_change, &gates_lock);
    g->standing--;
    pthread_mutex_unlock(&gates_lock);
}

static void wait_standing(gate *g)
{
    pthread_mutex_lock(&gates_lock);
    while (g->standing == 0)
        pthread_cond_wait(&gates_change, &gates_lock);
    pthread_mutex_unlock(&gates_lock);
}

int fdatasync(int fd)
{
    pass(&syncs);
    return (int)syscall(SYS_fdatasync, fd);
}

/* Segments are what is opened to append. */
ssize_t write(int fd, const void *data, size_t size)
{
    if (fcntl(fd, F_GETFL) & O_APPEND)
        pass(&writes);
    return syscall(SYS_write, fd, data, size);
}

/* ---- records that may be pending ---------------------------------------------------------------
 */

typedef struct answers {
    atomic_uint written, refused;
} answers;

static void answered(void *arg, bool written)
{
    answers *a = arg;
    atomic_fetch_add(written ? &a->written : &a->refused, 1);
}

static rpc_code put_pending(trust_audit *audit, unsigned number, trust_audit_class durability,
    answers *a, bool *ret_pending, rpc_status *reterr)
{
    char json[1100];
    memset(json, 'x', sizeof json);
    const int size = snprintf(json, sizeof json, "{\"n\": %u, \"x\": \"", number);
    json[size] = 'x';
    memcpy(json + sizeof json - 2, "\"}", 2);
    return trust_audit_write(
        audit, rpc_bytes_of(json, sizeof json), durability, answered, a, ret_pending, reterr);
}

static uint64_t size_of(const char *folder)
{
    struct stat st;
    assert_int_equal(stat(path_of(folder, 1), &st), 0);
    return (uint64_t)st.st_size;
}

TEST(audit_is_written_while_a_sync_takes_its_time)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){
        .directory = folder, .waiting_bytes_max = TRUST_AUDIT_WAITING_BYTES_MIN});
    answers a = {0};
    bool pending;
    set_gate(&syncs, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&syncs); /* it comes by itself */
    unsigned last = 1;
    while (last < 4000) { /* more than may wait: they reach the file meanwhile, by themselves … */
        const uint64_t enough = size_of(folder) + 50 * 1100u;
        for (unsigned i = 0; i < 50; i++)
            assert_int_equal(
                put_pending(audit, ++last, TRUST_AUDIT_SOON, &a, &pending, NULL), RPC_OK);
        if (last % 100 < 50) /* … or before the answer */
            put_number(audit, ++last, TRUST_AUDIT_BEFORE);
        while (size_of(folder) < enough)
            usleep(1000);
    }
    assert_true(trust_audit_healthy(audit, NULL));
    assert_int_equal(verified(folder), last);
    set_gate(&syncs, false);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), last);
    assert_int_equal(a.refused, 0);
    assert_true(scan_all(folder).ordered);
}

typedef struct flusher {
    trust_audit *audit;
    atomic_bool done;
} flusher;

static void *flush(void *arg)
{
    flusher *f = arg;
    assert_int_equal(trust_audit_flush(f->audit, NULL), RPC_OK);
    atomic_store(&f->done, true);
    return NULL;
}

TEST(audit_flush_answers_after_a_sync_that_began_after_it)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    set_gate(&syncs, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&syncs);
    flusher f = {.audit = audit};
    pthread_t thread;
    put_number(audit, 2, TRUST_AUDIT_SOON);
    assert_int_equal(pthread_create(&thread, NULL, flush, &f), 0);
    while (verified(folder) < 2) /* the flush, or the 5 ms, have it written … */
        usleep(1000);
    assert_false(f.done); /* … but not synced */
    set_gate(&syncs, false);
    pthread_join(thread, NULL);
    assert_true(f.done);
    trust_audit_close(audit);
}

TEST(audit_that_is_closed_during_a_sync_loses_nothing)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder});
    set_gate(&syncs, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&syncs);
    for (unsigned i = 2; i <= 100; i++)
        put_number(audit, i, TRUST_AUDIT_SOON);
    set_gate(&syncs, false);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 100);
}

/* Until some are pending; returns the last number. */
static unsigned fill(trust_audit *audit, unsigned number, unsigned pendings, answers *a)
{
    bool pending;
    for (unsigned held = 0; held < pendings; held += pending)
        assert_int_equal(put_pending(audit, ++number, TRUST_AUDIT_SOON, a, &pending, NULL), RPC_OK);
    return number;
}

TEST(audit_slow_writes_hold_answers_back_and_nothing_is_refused)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder,
        .waiting_bytes_max = TRUST_AUDIT_WAITING_BYTES_MIN,
        .stuck_ms = 600000});
    answers a = {0};
    set_gate(&writes, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&writes);
    const unsigned last = fill(audit, 1, 100, &a);
    assert_in_range(last, TRUST_AUDIT_WAITING_BYTES_MIN / 4 / 1300 + 100,
        TRUST_AUDIT_WAITING_BYTES_MIN / 4 / 1100 + 101);
    assert_true(trust_audit_waiting_bytes(audit) > TRUST_AUDIT_WAITING_BYTES_MIN / 4);
    assert_int_equal(a.written + a.refused, 0);
    set_gate(&writes, false);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    assert_int_equal(a.written, 100);
    assert_int_equal(a.refused, 0);
    bool pending = true; /* and all is as before */
    assert_int_equal(put_pending(audit, last + 1, TRUST_AUDIT_SOON, &a, &pending, NULL), RPC_OK);
    assert_false(pending);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), last + 1);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_answers_that_are_held_back_have_a_bound_in_memory)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder,
        .waiting_bytes_max = TRUST_AUDIT_WAITING_BYTES_MIN,
        .stuck_ms = 600000});
    answers a = {0};
    rpc_status status = {.code = RPC_OK};
    set_gate(&writes, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&writes);
    unsigned last = 1, held = 0;
    bool pending = false;
    while (put_pending(audit, last + 1, TRUST_AUDIT_SOON, &a, &pending, &status) == RPC_OK) {
        last++;
        held += pending;
    }
    assert_int_equal(status.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "1048576 bytes"));
    assert_true(trust_audit_waiting_bytes(audit) <= TRUST_AUDIT_WAITING_BYTES_MIN);
    assert_in_range(
        last, TRUST_AUDIT_WAITING_BYTES_MIN / 1300, TRUST_AUDIT_WAITING_BYTES_MIN / 1100);
    set_gate(&writes, false);
    trust_audit_close(audit);
    assert_int_equal(a.written, held);
    assert_int_equal(a.refused, 0);
    assert_int_equal(verified(folder), last);
}

TEST(audit_nobody_who_can_be_called_back_waits_for_the_write_of_another)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){.directory = folder, .stuck_ms = 600000});
    answers a = {0};
    bool pending = true;
    assert_int_equal(put_pending(audit, 1, TRUST_AUDIT_BEFORE, &a, &pending, NULL), RPC_OK);
    assert_false(pending); /* nobody writes: done */
    set_gate(&writes, true);
    put_number(audit, 2, TRUST_AUDIT_SOON);
    wait_standing(&writes);
    assert_int_equal(put_pending(audit, 3, TRUST_AUDIT_BEFORE, &a, &pending, NULL), RPC_OK);
    assert_true(pending);
    assert_int_equal(a.written, 0);
    set_gate(&writes, false);
    assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    assert_int_equal(a.written, 1);
    trust_audit_close(audit);
    assert_int_equal(verified(folder), 3);
    assert_true(scan_all(folder).ordered);
}

TEST(audit_write_that_never_ends_is_a_broken_disk_and_nobody_is_held_back_any_more)
{
    const char *folder = test_tmpdir();
    trust_audit *audit = open_trail((trust_audit_options){
        .directory = folder, .waiting_bytes_max = TRUST_AUDIT_WAITING_BYTES_MIN, .stuck_ms = 1});
    answers a = {0};
    rpc_status status = {.message = ""};
    bool pending = false;
    set_gate(&writes, true);
    put_number(audit, 1, TRUST_AUDIT_SOON);
    wait_standing(&writes);
    while (trust_audit_healthy(audit, &status))
        usleep(1000);
    assert_int_equal(status.code, RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "more than 1 ms"));
    assert_int_equal(
        put_pending(audit, 99, TRUST_AUDIT_BEFORE, &a, &pending, &status), RPC_UNAVAILABLE);
    unsigned last = 1; /* those that need not be held back are still taken */
    rpc_code code;
    while (
        (code = put_pending(audit, last + 1, TRUST_AUDIT_SOON, &a, &pending, &status)) == RPC_OK) {
        assert_false(pending);
        last++;
    }
    assert_int_equal(code, RPC_UNAVAILABLE);
    assert_in_range(last, TRUST_AUDIT_WAITING_BYTES_MIN / 4 / 1300,
        TRUST_AUDIT_WAITING_BYTES_MIN / 4 / 1100 + 1);
    set_gate(&writes, false);
    wait_healthy(audit);
    trust_audit_close(audit);
    assert_int_equal(a.written + a.refused, 0);
    assert_int_equal(verified(folder), last);
}
