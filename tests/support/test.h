/* SPDX-License-Identifier: Apache-2.0 */
/** cmocka with one line per test: TEST(name) { … } defines and registers a test, and CMake
 *  (tests/CMakeLists.txt) reads the same lines to make one ctest entry of each. */
#ifndef DACM_TEST_H
#define DACM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef void test_fn(void **state);

/** Called before main() by TEST; not for direct use. */
void test_register(const char *name, test_fn *fn);

#define TEST(name)                                                                                 \
    static void test_##name(void **state);                                                         \
    __attribute__((constructor)) static void test_register_##name(void)                            \
    {                                                                                              \
        test_register(#name, test_##name);                                                         \
    }                                                                                              \
    static void test_##name(__attribute__((unused)) void **state)

/** Path of a file below DACM_TEST_DATA (default ../shared/data beside the checkout); the test
 *  is skipped when it is absent, or fails where DACM_REQUIRE_DATA=1. The string is static. */
const char *test_data(const char *name);

/** A new empty folder below TMPDIR, removed with all it holds when the test program ends. */
const char *test_tmpdir(void);

/** A TCP port that no other test listens on until this program ends, and outside of those that
 *  the kernel gives to connections: a server that is started again there finds it free. */
unsigned test_port(void);

#endif
