/* SPDX-License-Identifier: Apache-2.0 */
/* As tests/support/ports.py. */
#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BLOCK 8u
#define FIRST 10240u
#define LAST  65535u

static void ephemeral_range(unsigned *ret_low, unsigned *ret_high)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u %u", ret_low, ret_high), 2);
    fclose(file);
    /* Where the whole range is ephemeral there is nothing better than that. */
    bool whole = *ret_high > LAST - BLOCK && *ret_low < FIRST + BLOCK;
    if (whole)
        *ret_low = *ret_high = 0;
}

static bool take_name(unsigned first)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int size = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "dacm-test-ports-%u", first);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
    if (bind(fd, (struct sockaddr *)&name, length) == 0)
        return true; /* the descriptor is the reservation */
    close(fd);
    return false;
}

static bool unused(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    bool good = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
    close(fd);
    return good;
}

static unsigned reserve_block(void)
{
    unsigned low, high;
    ephemeral_range(&low, &high);
    const unsigned blocks = (LAST - FIRST) / BLOCK;
    for (unsigned i = 0; i < blocks; i++) {
        unsigned first = FIRST + ((unsigned)getpid() + i) % blocks * BLOCK;
        if ((first + BLOCK <= low || first > high) && take_name(first))
            return first;
    }
    fail_msg("no free ports");
    return 0;
}

unsigned test_port(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned next, end;
    unsigned port;
    pthread_mutex_lock(&lock);
    do {
        if (next == end) {
            next = reserve_block();
            end = next + BLOCK;
        }
        port = next++;
    } while (!unused(port));
    pthread_mutex_unlock(&lock);
    return port;
}
