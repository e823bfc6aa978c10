/* SPDX-License-Identifier: Apache-2.0 */
/* The store and the process: opened twice, opened again, killed, looked at from beside. */
#include "contract.h"

#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TEST(second_open_is_refused_and_names_the_process)
{
    const char *directory = test_tmpdir();
    contract_limits limits = {.sync = STORE_SYNC_PROCESS};
    store *s = contract_open(directory, NULL), *second = NULL;
    rpc_status status = {0};
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    assert_int_equal(
        store_contract.open(directory, &limits, &second, &status), RPC_FAILED_PRECONDITION);
    assert_null(second);
    assert_non_null(strstr(status.message, pid));
    store_close(s);
}

TEST(open_without_a_directory_is_not_found)
{
    char path[512];
    contract_limits limits = {.sync = STORE_SYNC_PROCESS};
    store *s = NULL;
    snprintf(path, sizeof path, "%s/absent", test_tmpdir());
    assert_int_equal(store_contract.open(path, &limits, &s, NULL), RPC_NOT_FOUND);
    assert_null(s);
}

TEST(reopened_store_has_everything)
{
    const char *directory = test_tmpdir();
    store_chunk_ref ref = chunk_ref(1, 1);
    store *s = contract_open(directory, NULL);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("v")), RPC_OK);
    assert_int_equal(do_chunk_put(s, &ref, BYTES("x")), RPC_OK);
    store_close(s);
    s = contract_open(directory, NULL);
    assert_int_equal(do_get(s, BYTES("g"), BYTES("i"), NULL, NULL), RPC_OK);
    assert_int_equal(do_generation(s, BYTES("g")), 1);
    assert_int_equal(do_chunk_has(s, &ref, NULL), RPC_OK);
    store_close(s);
}

/* Says over the pipe how many updates were acknowledged, until it is killed. */
static void acknowledge_updates(const char *directory, int fd)
{
    contract_limits limits = {0};
    store *s = NULL;
    if (store_contract.open(directory, &limits, &s, NULL))
        _exit(1);
    for (uint64_t generation = do_generation(s, BYTES("g"));;) {
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)generation + 1);
        store_change changes[] = {{STORE_PUT, BYTES("a"), rpc_bytes_str(text)},
            {STORE_PUT, BYTES("b"), rpc_bytes_str(text)}};
        if (do_update(s, BYTES("g"), generation, changes, 2, &generation) ||
            write(fd, &generation, sizeof generation) != sizeof generation)
            _exit(1);
    }
}

static uint64_t kill_amid_updates(const char *directory, unsigned updates)
{
    int fds[2], status;
    uint64_t acknowledged = 0, next;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid)
        acknowledge_updates(directory, fds[1]);
    close(fds[1]);
    while (read(fds[0], &next, sizeof next) == sizeof next) {
        acknowledged = next;
        if (updates-- == 0)
            kill(pid, SIGKILL);
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    return acknowledged;
}

TEST(acknowledged_updates_survive_kill_9)
{
    const char *directory = test_tmpdir(), *text = getenv("CONTRACT_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    printf("CONTRACT_SEED=%u\n", seed);
    for (int round = 0; round < 5; round++) {
        uint64_t acknowledged = kill_amid_updates(directory, (unsigned)rand_r(&seed) % 50);
        store *s = contract_open(directory, NULL);
        char *a = NULL, *b = NULL;
        uint64_t generation = 0;
        assert_int_equal(do_get(s, BYTES("g"), BYTES("a"), &a, &generation), RPC_OK);
        assert_int_equal(do_get(s, BYTES("g"), BYTES("b"), &b, NULL), RPC_OK);
        assert_true(generation >= acknowledged);
        assert_string_equal(a, b);
        assert_int_equal(strtoull(a, NULL, 10), generation);
        free(a);
        free(b);
        store_close(s);
    }
}

static int check_stat_and_copy(void *arg)
{
    const char *directory = arg;
    char copy[512];
    store_stats stats;
    rpc_status status = {0};
    snprintf(copy, sizeof copy, "%s/copy", directory);
    rpc_code code = store_check(directory, NULL, &status);
    if (!code)
        code = store_stat_directory(directory, &stats, &status);
    if (!code && (stats.records != 2 || stats.groups != 2 || stats.chunk_count != 1))
        return 2;
    if (!code)
        code = store_backup(directory, copy, &status);
    if (!code && store_backup(directory, copy, NULL) != RPC_ALREADY_EXISTS)
        return 3;
    if (code)
        fprintf(stderr, "%s\n", status.message);
    return code ? 1 : 0;
}

TEST(check_stat_and_backup_work_beside_a_server)
{
    char directory[256], copy[300];
    snprintf(directory, sizeof directory, "%s", test_tmpdir());
    snprintf(copy, sizeof copy, "%s/copy", directory);
    store_chunk_ref ref = chunk_ref(1, 1);
    store *s = contract_open(directory, NULL);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("v")), RPC_OK);
    assert_int_equal(do_put(s, BYTES("h"), BYTES("\0"), BYTES("w")), RPC_OK);
    assert_int_equal(do_chunk_put(s, &ref, BYTES("bytes")), RPC_OK);
    assert_int_equal(store_check(directory, NULL, NULL), RPC_FAILED_PRECONDITION);
    in_child(check_stat_and_copy, directory);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("i"), BYTES("later")), RPC_OK);
    store_close(s);
    s = contract_open(copy, NULL);
    char *value = NULL;
    assert_int_equal(do_get(s, BYTES("g"), BYTES("i"), &value, NULL), RPC_OK);
    assert_string_equal(value, "v");
    free(value);
    assert_int_equal(do_generation(s, BYTES("h")), 1);
    assert_int_equal(do_chunk_has(s, &ref, NULL), RPC_OK);
    store_close(s);
}

static void hand_over(void *ctx, void (*fn)(void *arg), void *arg)
{
    (*(int *)ctx)++;
    fn(arg);
}

TEST(completion_goes_through_the_executor)
{
    store *s = contract_open(test_tmpdir(), NULL);
    int posted = 0;
    store_executor executor = {hand_over, &posted};
    store_change change = {STORE_PUT, BYTES("i"), BYTES("v")};
    waiter w;
    waiter_init(&w);
    w.op.executor = &executor;
    store_progress progress = store_update(s, BYTES("g"), 0, &change, 1, &w.op);
    assert_int_equal(waiter_wait(&w, progress), RPC_OK);
    assert_int_equal(posted, progress == STORE_PENDING);
    waiter_done(&w);
    store_close(s);
}

TEST(close_finishes_what_was_accepted)
{
    enum { COUNT = 200 };
    static waiter w[COUNT];
    static store_progress progress[COUNT];
    const char *directory = test_tmpdir();
    store *s = contract_open(directory, NULL);
    store_change change = {STORE_PUT, BYTES("i"), BYTES("v")};
    for (int i = 0; i < COUNT; i++) {
        waiter_init(&w[i]);
        progress[i] = store_update(s, BYTES("g"), STORE_ANY_GENERATION, &change, 1, &w[i].op);
    }
    store_close(s);
    for (int i = 0; i < COUNT; i++) {
        assert_true(progress[i] == STORE_READY || w[i].done);
        assert_int_equal(w[i].op.status.code, RPC_OK);
        waiter_done(&w[i]);
    }
    s = contract_open(directory, NULL);
    assert_int_equal(do_generation(s, BYTES("g")), COUNT);
    store_close(s);
}

static void hold_writer(void *ctx, rpc_bytes group, uint64_t generation)
{
    pthread_mutex_t *gate = ctx;
    (void)group;
    (void)generation;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
}

TEST(full_queue_is_refused_and_the_queued_are_done)
{
    enum { COUNT = 600 };
    static waiter w[COUNT];
    static store_progress progress[COUNT];
    contract_limits limits = {.queue_max = 8, .sync = STORE_SYNC_PROCESS};
    store *s = contract_open(test_tmpdir(), &limits);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    store_change change = {STORE_PUT, BYTES("i"), BYTES("v")};
    uint64_t done = 0;
    assert_int_equal(store_watch(s, hold_writer, &gate, NULL), RPC_OK);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < COUNT; i++) {
        waiter_init(&w[i]);
        progress[i] = store_update(s, BYTES("g"), STORE_ANY_GENERATION, &change, 1, &w[i].op);
    }
    assert_int_equal(progress[COUNT - 1], STORE_READY);
    assert_int_equal(w[COUNT - 1].op.status.code, RPC_RESOURCE_EXHAUSTED);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < COUNT; i++) {
        rpc_code code = waiter_wait(&w[i], progress[i]);
        assert_true(code == RPC_OK || code == RPC_RESOURCE_EXHAUSTED);
        done += code == RPC_OK;
        waiter_done(&w[i]);
    }
    assert_int_equal(do_generation(s, BYTES("g")), done);
    store_close(s);
}

TEST(full_disk_refuses_and_reads_go_on)
{
    static uint8_t bytes[65536];
    const char *directory = test_tmpdir();
    if (mount("tmpfs", directory, "tmpfs", 0, "size=2m") != 0) {
        print_message("a tmpfs may not be mounted here: %s\n", strerror(errno));
        skip();
    }
    contract_limits limits = {0};
    store *s = contract_open(directory, &limits);
    store_chunk_ref first = chunk_ref(1, 0);
    rpc_code code = RPC_OK;
    for (uint32_t i = 0; i < 100 && !code; i++) {
        store_chunk_ref ref = chunk_ref(1, i);
        code = do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes));
    }
    store_view view = {0};
    rpc_code read = do_read(s, &first, 0, STORE_TO_END, &view);
    store_view_release(&view);
    store_close(s);
    s = contract_open(directory, &limits);
    rpc_code has = do_chunk_has(s, &first, NULL);
    store_close(s);
    umount(directory);
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(read, RPC_OK);
    assert_int_equal(has, RPC_OK);
}
