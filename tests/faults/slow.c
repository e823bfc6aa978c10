/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD library that makes the disk of a program's audit trail slow: while the file that
 * SLOW_WRITES names exists, write() to a segment does not begin; with SLOW_SYNCS, fdatasync() of
 * one. Whoever stands before such a gate makes a file beside it, named "… standing". */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_segment(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = '\0';
    const char *name = strrchr(path, '/');
    return name && strncmp(name, "/audit-", 7) == 0;
}

static void pass(const char *variable, int fd)
{
    const char *gate = getenv(variable);
    if (!gate || access(gate, F_OK) != 0 || !is_segment(fd))
        return;
    char sign[4096];
    snprintf(sign, sizeof sign, "%s standing", gate);
    close(open(sign, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    while (access(gate, F_OK) == 0)
        usleep(1000);
}

ssize_t write(int fd, const void *data, size_t size)
{
    __typeof__(&write) real = (__typeof__(&write))dlsym(RTLD_NEXT, "write");
    pass("SLOW_WRITES", fd);
    return real(fd, data, size);
}

int fdatasync(int fd)
{
    __typeof__(&fdatasync) real = (__typeof__(&fdatasync))dlsym(RTLD_NEXT, "fdatasync");
    pass("SLOW_SYNCS", fd);
    return real(fd);
}
