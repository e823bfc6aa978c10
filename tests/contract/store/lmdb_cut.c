/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a store that something else than its server cut off, emptied, lost or wrote over. LMDB
 * maps them, and whoever touches what is not there dies of SIGBUS: each look is in a child. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE      4096
#define VALUES    12
#define BIG_BYTES 150000

typedef struct seen {
    rpc_code code;
    char message[512];
} seen;

typedef rpc_code look(const char *directory, rpc_status *reterr);

static void path_of(const char *directory, const char *half, char ret_path[static 512])
{
    snprintf(ret_path, 512, "%s/%s/data.mdb", directory, half);
}

static int64_t bytes_of(const char *directory, const char *half)
{
    char path[512];
    struct stat file;
    path_of(directory, half, path);
    assert_int_equal(stat(path, &file), 0);
    return file.st_size;
}

static void cut(const char *directory, const char *half, int64_t bytes)
{
    char path[512];
    path_of(directory, half, path);
    assert_int_equal(truncate(path, bytes), 0);
}

static uint8_t value_byte(unsigned i)
{
    return (uint8_t)('a' + i);
}

/* Reads all that fill() stored, as a server does. */
static rpc_code read_all(store *s, rpc_status *reterr)
{
    for (unsigned i = 0; i < VALUES; i++) {
        char item[8], *value = NULL;
        snprintf(item, sizeof item, "i%u", i);
        rpc_code code = do_get(s, BYTES("g"), rpc_bytes_str(item), &value, NULL);
        bool right = !code && strlen(value) == 3000 && (uint8_t)value[2999] == value_byte(i);
        free(value);
        if (!right)
            return rpc_status_set(reterr, RPC_INTERNAL, "record %u is not as it was stored", i);
        store_chunk_ref ref = chunk_ref(1, i);
        store_view view = {0};
        code = do_read(s, &ref, 0, STORE_TO_END, &view);
        right = !code && view.bytes.size == 9000 && view.bytes.data[8999] == value_byte(i);
        store_view_release(&view);
        if (!right)
            return rpc_status_set(reterr, RPC_INTERNAL, "chunk %u is not as it was stored", i);
    }
    return RPC_OK;
}

static rpc_code read_and_close(store *s, rpc_status *reterr)
{
    const rpc_code code = read_all(s, reterr);
    store_close(s);
    return code;
}

static rpc_code serve(const char *directory, rpc_status *reterr)
{
    contract_limits limits = {.sync = STORE_SYNC_PROCESS};
    store *s = NULL;
    const rpc_code code = store_contract.open(directory, &limits, &s, reterr);
    return code ? code : read_and_close(s, reterr);
}

static rpc_code read_only(const char *directory, rpc_status *reterr)
{
    store_lmdb_options options = {.directory = directory, .read_only = true};
    store *s = NULL;
    const rpc_code code = store_open_lmdb(&options, &s, reterr);
    return code ? code : read_and_close(s, reterr);
}

static rpc_code check(const char *directory, rpc_status *reterr)
{
    return store_check(directory, NULL, reterr);
}

static rpc_code count(const char *directory, rpc_status *reterr)
{
    store_stats stats;
    return store_stat_directory(directory, &stats, reterr);
}

/* What a process of its own sees; it must end by itself. */
static seen look_from_beside(look *at, const char *directory)
{
    int fds[2], status;
    seen saw = {0};
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        rpc_status why = {0};
        saw.code = at(directory, &why);
        snprintf(saw.message, sizeof saw.message, "%s", why.message);
        _exit(write(fds[1], &saw, sizeof saw) != sizeof saw);
    }
    close(fds[1]);
    ssize_t got = read(fds[0], &saw, sizeof saw);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("it died of signal %d", WTERMSIG(status));
    assert_int_equal(got, sizeof saw);
    return saw;
}

static void assert_refused(look *at, const char *directory, const char *half, const char *what)
{
    char start[64];
    seen saw = look_from_beside(at, directory);
    snprintf(start, sizeof start, "store: cannot open '%s': ", half);
    if (saw.code != RPC_DATA_LOSS || strncmp(saw.message, start, strlen(start)) != 0 ||
        !strstr(saw.message, "restore the store from a backup"))
        fail_msg("%s: %s: %s", what, rpc_code_name(saw.code), saw.message);
}

static look *const looks[] = {serve, read_only, check, count};

static void fill(const char *directory)
{
    static uint8_t bytes[9000];
    store *s = contract_open(directory, NULL);
    for (unsigned i = 0; i < VALUES; i++) {
        char item[8];
        snprintf(item, sizeof item, "i%u", i);
        memset(bytes, value_byte(i), sizeof bytes);
        assert_int_equal(
            do_put(s, BYTES("g"), rpc_bytes_str(item), rpc_bytes_of(bytes, 3000)), RPC_OK);
        store_chunk_ref ref = chunk_ref(1, i);
        assert_int_equal(do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    }
    store_close(s);
}

/* All lengths beside a page's end, from the longest; a short file that is whole is read whole. */
static unsigned cut_everywhere(const char *half)
{
    const char *directory = test_tmpdir();
    unsigned refused = 0;
    fill(directory);
    for (int64_t page = bytes_of(directory, half) / PAGE; page > 0; page--) {
        for (int64_t bytes = page * PAGE + 1; bytes >= page * PAGE - 1; bytes--) {
            if (bytes >= bytes_of(directory, half))
                continue;
            cut(directory, half, bytes);
            for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
                char what[64];
                seen saw = look_from_beside(looks[i], directory);
                snprintf(
                    what, sizeof what, "%s cut to %lld bytes, look %zu", half, (long long)bytes, i);
                if (saw.code != RPC_OK)
                    assert_refused(looks[i], directory, half, what);
                refused += saw.code != RPC_OK;
            }
        }
    }
    return refused;
}

TEST(a_file_cut_off_at_any_page_is_refused_and_says_to_restore)
{
    assert_true(cut_everywhere("meta") > 4 * 3 * 10);
    assert_true(cut_everywhere("chunks") > 4 * 3 * 30);
}

TEST(a_file_without_its_first_pages_is_refused)
{
    static const int64_t lengths[] = {1, 15, 16, 152, 153, PAGE, PAGE + 1, PAGE + 151};
    for (size_t half = 0; half < 2; half++) {
        const char *name = half ? "chunks" : "meta", *directory = test_tmpdir();
        fill(directory);
        for (size_t i = sizeof lengths / sizeof *lengths; i-- > 0;) {
            cut(directory, name, lengths[i]);
            for (size_t j = 0; j < sizeof looks / sizeof *looks; j++)
                assert_refused(looks[j], directory, name, "the first pages");
        }
    }
}

TEST(an_emptied_file_of_a_used_store_is_refused_not_made_anew)
{
    for (size_t half = 0; half < 2; half++) {
        const char *name = half ? "chunks" : "meta", *directory = test_tmpdir();
        char path[512];
        fill(directory);
        cut(directory, name, 0);
        for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
            assert_refused(looks[i], directory, name, "no bytes");
        assert_int_equal(bytes_of(directory, name), 0);
        path_of(directory, name, path);
        assert_int_equal(unlink(path), 0);
        assert_refused(serve, directory, name, "no file");
        assert_int_equal(access(path, F_OK), -1);
    }
}

TEST(both_files_emptied_are_refused)
{
    const char *directory = test_tmpdir();
    fill(directory);
    cut(directory, "meta", 0);
    cut(directory, "chunks", 0);
    assert_refused(serve, directory, "meta", "both");
}

/* The disk's power went off, or it was full, while the store was made. */
TEST(a_store_that_never_was_whole_is_made_anew)
{
    char path[512];
    const char *directory = test_tmpdir();
    store_close(contract_open(directory, NULL));
    cut(directory, "chunks", 0);
    store_close(contract_open(directory, NULL));
    path_of(directory, "chunks", path);
    assert_int_equal(unlink(path), 0);
    cut(directory, "meta", 0);
    fill(directory);
    assert_int_equal(look_from_beside(serve, directory).code, RPC_OK);
}

static void write_over(const char *directory, const char *half, unsigned seed, int64_t bytes)
{
    char path[512];
    path_of(directory, half, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int64_t at = 0; at < bytes; at += 4) {
        uint32_t word = seed ? (uint32_t)rand_r(&seed) * 5u : 0;
        assert_int_equal(pwrite(fd, &word, sizeof word, at), sizeof word);
    }
    close(fd);
}

TEST(garbage_is_refused)
{
    for (unsigned seed = 0; seed < 4; seed++) {
        for (size_t half = 0; half < 2; half++) {
            const char *name = half ? "chunks" : "meta", *directory = test_tmpdir();
            fill(directory);
            write_over(directory, name, seed, bytes_of(directory, name));
            for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
                assert_refused(looks[i], directory, name, "garbage");
        }
    }
}

/* ---- files that are shorter than their last page, and whole ---- */

static bool is_short(const char *directory)
{
    store_stats stats;
    assert_int_equal(store_stat_directory(directory, &stats, NULL), RPC_OK);
    return (int64_t)stats.meta.used_bytes > bytes_of(directory, "meta");
}

/* One transaction takes pages from the end of the file and gives them back: never written. */
static void take_and_give_back(store *s, unsigned round)
{
    static uint8_t bytes[BIG_BYTES];
    const store_change changes[] = {
        {STORE_PUT, BYTES("keep"), rpc_bytes_of(bytes, round * 1000 + 1)},
        {STORE_PUT, BYTES("x"), rpc_bytes_of(bytes, sizeof bytes)},
        {STORE_DELETE, BYTES("x"), {NULL, 0}},
    };
    assert_int_equal(do_update(s, BYTES("h"), STORE_ANY_GENERATION, changes, 3, NULL), RPC_OK);
}

static void make_short(const char *directory)
{
    for (unsigned round = 0; round < 50; round++) {
        store *s = contract_open(directory, NULL);
        take_and_give_back(s, round);
        store_close(s);
        if (is_short(directory))
            return;
    }
    fail_msg("50 rounds and the file has all of its pages");
}

TEST(a_file_without_pages_that_never_were_written_is_whole)
{
    const char *directory = test_tmpdir();
    fill(directory);
    make_short(directory);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        seen saw = look_from_beside(looks[i], directory);
        if (saw.code != RPC_OK)
            fail_msg("look %zu: %s", i, saw.message);
    }
    store *s = contract_open(directory, NULL);
    assert_int_equal(do_put(s, BYTES("g"), BYTES("later"), BYTES("v")), RPC_OK);
    assert_int_equal(read_all(s, NULL), RPC_OK);
    store_close(s);
}

static void put_many(store *s, unsigned count)
{
    static uint8_t bytes[8000];
    for (unsigned i = 0; i < count; i++) {
        char item[16];
        snprintf(item, sizeof item, "%u-%u", i % 2, i);
        assert_int_equal(
            do_put(s, BYTES("d"), rpc_bytes_str(item), rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    }
}

/* A list of free pages, each between two that are used, that fills pages of its own; and, while a
 * view keeps what is freed then from being used again, a list for each of many transactions, so
 * that the table of lists has branches. */
static void free_much(const char *directory)
{
    const store_change half = {STORE_DELETE_PREFIX, BYTES("0-"), {NULL, 0}};
    store *s = contract_open(directory, NULL);
    waiter held;
    put_many(s, 600);
    assert_int_equal(do_update(s, BYTES("d"), STORE_ANY_GENERATION, &half, 1, NULL), RPC_OK);
    waiter_init(&held);
    assert_int_equal(waiter_wait(&held, store_get(s, BYTES("g"), BYTES("i0"), &held.op)), RPC_OK);
    for (unsigned i = 0; i < 60; i++)
        take_and_give_back(s, 0);
    store_view_release(&held.op.view);
    waiter_done(&held);
    store_close(s);
}

TEST(a_short_file_with_long_lists_of_free_pages_is_whole_and_one_page_less_is_not)
{
    const char *directory = test_tmpdir();
    fill(directory);
    free_much(directory);
    assert_true(is_short(directory));
    seen saw = look_from_beside(serve, directory);
    if (saw.code != RPC_OK)
        fail_msg("whole: %s", saw.message);
    unsigned refused = 0;
    int64_t step = PAGE;
    for (int64_t bytes = bytes_of(directory, "meta") - PAGE; bytes > 0; bytes -= step) {
        cut(directory, "meta", bytes);
        saw = look_from_beside(serve, directory);
        if (saw.code != RPC_OK)
            assert_refused(serve, directory, "meta", "long lists");
        refused += saw.code != RPC_OK;
        step = bytes > 200 * PAGE ? 17 * PAGE : PAGE;
    }
    assert_true(refused > 100);
}

/* ---- pages that stand in the place of others ---- */

#define ENTRIES 3000u

static bool count_one(void *ctx, const store_entry *entry)
{
    (void)entry;
    return ++*(unsigned *)ctx < 4 * ENTRIES; /* it comes to an end, if by itself or not */
}

static rpc_code walk_all(const char *directory, rpc_status *reterr)
{
    const store_lmdb_options options = {.directory = directory, .read_only = true};
    const store_scan_request all = {.group_is_prefix = true};
    unsigned count = 0;
    store *s = NULL;
    rpc_code code = store_open_lmdb(&options, &s, reterr);
    if (code)
        return code;
    code = store_walk(s, &all, count_one, &count, reterr);
    store_close(s);
    if (count >= 4 * ENTRIES)
        return rpc_status_set(reterr, RPC_INTERNAL, "the walk goes round");
    return code;
}

static void fill_leaves(const char *directory)
{
    store *s = contract_open(directory, NULL);
    store_change changes[ENTRIES];
    static char items[ENTRIES][16];
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(items[i], sizeof items[i], "item-%06u", i);
        changes[i] = (store_change){
            STORE_PUT, rpc_bytes_str(items[i]), BYTES("a value of some length")};
    }
    assert_int_equal(
        do_update(s, BYTES("g"), STORE_ANY_GENERATION, changes, ENTRIES, NULL), RPC_OK);
    store_close(s);
}

static void swap_pages(const char *directory, int64_t a, int64_t b)
{
    char path[512];
    uint8_t pages[2][PAGE];
    path_of(directory, "meta", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, pages[0], PAGE, a * PAGE), PAGE);
    assert_int_equal(pread(fd, pages[1], PAGE, b * PAGE), PAGE);
    assert_int_equal(pwrite(fd, pages[1], PAGE, a * PAGE), PAGE);
    assert_int_equal(pwrite(fd, pages[0], PAGE, b * PAGE), PAGE);
    close(fd);
}

/* Of records: their keys begin alike. */
static size_t find_leaves(const char *directory, int64_t *ret, size_t room)
{
    char path[512];
    uint8_t page[PAGE];
    size_t count = 0;
    path_of(directory, "meta", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int64_t at = 2; count < room && pread(fd, page, PAGE, at * PAGE) == PAGE; at++)
        if (page[10] == 2 && memmem(page, PAGE, "item-", 5))
            ret[count++] = at;
    close(fd);
    return count;
}

TEST(pages_in_the_place_of_others_are_found_and_no_walk_goes_round_in_them)
{
    int64_t leaves[100];
    const char *directory = test_tmpdir();
    unsigned told = 0, refused = 0;
    fill_leaves(directory);
    const size_t count = find_leaves(directory, leaves, sizeof leaves / sizeof *leaves);
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        const int64_t other = leaves[(i * 7 + 3) % count];
        swap_pages(directory, leaves[i], other);
        const seen walked = look_from_beside(walk_all, directory);
        const seen checked = look_from_beside(check, directory);
        swap_pages(directory, leaves[i], other);
        if (walked.code != RPC_OK && walked.code != RPC_DATA_LOSS)
            fail_msg("%zu: %s", i, walked.message);
        refused += walked.code == RPC_DATA_LOSS;
        told += checked.code == RPC_DATA_LOSS && strstr(checked.message, "faults, the first: ");
    }
    if (refused < count / 2 || told < count / 2)
        fail_msg("of %zu: %u walks refused, %u told", count, refused, told);
    assert_int_equal(look_from_beside(check, directory).code, RPC_OK);
}

/* The leaf of the list of free pages: LMDB's data format 1. */
static uint64_t root_of_free_pages(int fd)
{
    uint64_t txnid[2], root[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pread(fd, &txnid[i], 8, i * PAGE + 16 + 128), 8);
        assert_int_equal(pread(fd, &root[i], 8, i * PAGE + 16 + 24 + 40), 8);
    }
    return root[txnid[1] > txnid[0]];
}

TEST(a_list_of_free_pages_that_names_what_is_none_is_found)
{
    char path[512];
    uint8_t page[PAGE];
    uint16_t node;
    const char *directory = test_tmpdir();
    fill_leaves(directory);
    fill_leaves(directory);
    assert_int_equal(look_from_beside(check, directory).code, RPC_OK);
    path_of(directory, "meta", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    const int64_t at = (int64_t)root_of_free_pages(fd) * PAGE;
    assert_int_equal(pread(fd, page, PAGE, at), PAGE);
    assert_int_equal(page[10], 2); /* a leaf */
    memcpy(&node, page + 16, sizeof node);
    page[node + 8 + 8 + 8 + 6] ^= 1; /* header, key, count: of the first number */
    assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
    close(fd);
    const seen saw = look_from_beside(check, directory);
    if (saw.code != RPC_DATA_LOSS || !strstr(saw.message, "list of free pages"))
        fail_msg("%s: %s", rpc_code_name(saw.code), saw.message);
}
