/* SPDX-License-Identifier: Apache-2.0 */
/* The store and the process: opened twice, opened again, killed, looked at from beside. */
#include "contract.h"

#include <signal.h>
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
