/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <dirent.h>
#include <execinfo.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define TESTS_MAX   1024
#define TMPDIRS_MAX 256

static struct CMUnitTest tests[TESTS_MAX];
static size_t test_count;
static char tmpdirs[TMPDIRS_MAX][256];
static size_t tmpdir_count;

void test_register(const char *name, test_fn *fn)
{
    if (test_count == TESTS_MAX) {
        fprintf(stderr, "tests: more than %d tests in one program; split it\n", TESTS_MAX);
        abort();
    }
    tests[test_count++] = (struct CMUnitTest){.name = name, .test_func = fn};
}

const char *test_data(const char *name)
{
    static char path[1024];
    const char *root = getenv("DACM_TEST_DATA");
    if (!root)
        root = DACM_SOURCE_DIR "/../shared/data";
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (access(path, R_OK) == 0)
        return path;
    const char *required = getenv("DACM_REQUIRE_DATA");
    if (required && strcmp(required, "1") == 0)
        fail_msg("test data '%s' is missing and DACM_REQUIRE_DATA=1", path);
    print_message("test data '%s' is missing (set DACM_TEST_DATA)\n", path);
    skip();
    return NULL;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tmpdirs(void)
{
    for (size_t i = 0; i < tmpdir_count; i++)
        nftw(tmpdirs[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_tmpdir(void)
{
    assert_true(tmpdir_count < TMPDIRS_MAX);
    if (tmpdir_count == 0)
        atexit(remove_tmpdirs);
    const char *base = getenv("TMPDIR");
    char *dir = tmpdirs[tmpdir_count];
    snprintf(dir, sizeof tmpdirs[0], "%s/dacm-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    tmpdir_count++;
    return dir;
}

#ifdef __SANITIZE_THREAD__
/* libnng is not built for the sanitizer, which therefore does not see that its reference counts
 * order the last use of a dialer's mutex before its end on nng's own thread. */
__attribute__((visibility("default"))) /* or the sanitizer's library does not find it */
const char *
__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race_top:pthread_mutex_destroy\n";
}
#endif

/* cmocka ends the process when an assertion fails in a thread that it does not know, and keeps to
 * itself what the matter was. */
static void tell_failed_thread(void)
{
    if (gettid() == getpid())
        return;
    static const char text[] = "tests: an assertion failed in a thread beside the test's; where "
                               "(addr2line -fe PROGRAM):\n";
    void *frames[32];
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
        backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
}

/* PROGRAM runs all tests, PROGRAM NAME… those named. */
int main(int argc, char **argv)
{
    struct CMUnitTest chosen[TESTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < test_count; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], tests[i].name) == 0;
        if (wanted)
            chosen[count++] = tests[i];
    }
    if (count == 0) {
        fprintf(stderr, "tests: no test of that name in %s\n", argv[0]);
        return 1;
    }
    atexit(tell_failed_thread);
    int failed = _cmocka_run_group_tests("tests", chosen, count, NULL, NULL);
    return failed == 0 ? 0 : 1;
}
