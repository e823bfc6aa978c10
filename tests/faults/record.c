/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD library that writes down, in order, what a program writes to files below one folder
 * and when it syncs them, so that tests/e2e/power_loss_test.py can rebuild what a disk would hold
 * after a power cut at any sync.
 *
 *   RECORD_DIR   the folder watched     RECORD_LOG   where the record goes (appended)
 *
 * A record is {u32 kind, u32 path size, u64 offset, u64 size}, the path, then size bytes. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    RECORD_WRITE = 1,
    RECORD_SYNC = 2,
    RECORD_TRUNCATE = 3,
    RECORD_RENAME = 4,
    RECORD_UNLINK = 5,
    RECORD_OPEN = 6
};

#define FD_MAX 4096

static struct {
    char *path;
    int sync; /* opened with O_DSYNC or O_SYNC: every write is a sync */
} files[FD_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char dir[4096];

/* The functions that stand behind ours. */
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void log_bytes(const void *data, size_t size)
{
    REAL(write);
    const char *at = data;
    while (size > 0) {
        ssize_t done = real(log_fd, at, size);
        if (done < 0)
            abort(); /* a record with a hole would prove nothing */
        at += done;
        size -= (size_t)done;
    }
}

static void record(enum kind kind, const char *path, uint64_t offset, const struct iovec *iov,
    int count, size_t size)
{
    uint32_t head[2] = {kind, (uint32_t)strlen(path)};
    uint64_t body[2] = {offset, size};
    log_bytes(head, sizeof head);
    log_bytes(body, sizeof body);
    log_bytes(path, head[1]);
    for (int i = 0; i < count && size > 0; i++) {
        size_t part = iov[i].iov_len < size ? iov[i].iov_len : size;
        log_bytes(iov[i].iov_base, part);
        size -= part;
    }
}

__attribute__((constructor)) static void start(void)
{
    const char *log = getenv("RECORD_LOG");
    const char *watched = getenv("RECORD_DIR");
    if (!log || !watched || !realpath(watched, dir))
        return;
    REAL(open);
    log_fd = real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void watch(int fd, int flags)
{
    if (log_fd < 0 || fd < 0 || fd >= FD_MAX)
        return;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    pthread_mutex_lock(&lock);
    free(files[fd].path);
    files[fd].path = NULL;
    if (size > 0) {
        path[size] = '\0';
        size_t prefix = strlen(dir);
        struct stat st;
        if (strncmp(path, dir, prefix) == 0 && path[prefix] == '/' &&
            (flags & O_ACCMODE) != O_RDONLY && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
            files[fd].path = strdup(path + prefix + 1);
            files[fd].sync = (flags & O_DSYNC) != 0;
            record(flags & O_TRUNC ? RECORD_TRUNCATE : RECORD_OPEN, files[fd].path, 0, NULL, 0, 0);
        }
    }
    pthread_mutex_unlock(&lock);
}

static const char *watched(int fd)
{
    return log_fd >= 0 && fd >= 0 && fd < FD_MAX ? files[fd].path : NULL;
}

static int open_mode(int flags, va_list args)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, int) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(name);                                                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        int mode = open_mode(flags, args);                                                         \
        va_end(args);                                                                              \
        int fd = real(path, flags, mode);                                                          \
        watch(fd, flags);                                                                          \
        return fd;                                                                                 \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int at, const char *path, int flags, ...)                                             \
    {                                                                                              \
        REAL(name);                                                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        int mode = open_mode(flags, args);                                                         \
        va_end(args);                                                                              \
        int fd = real(at, path, flags, mode);                                                      \
        watch(fd, flags);                                                                          \
        return fd;                                                                                 \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    REAL(close);
    if (watched(fd)) {
        pthread_mutex_lock(&lock);
        free(files[fd].path);
        files[fd].path = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real(fd);
}

static void wrote(int fd, off_t offset, const struct iovec *iov, int count, ssize_t done)
{
    const char *path = watched(fd);
    if (!path || done <= 0)
        return;
    record(RECORD_WRITE, path, (uint64_t)offset, iov, count, (size_t)done);
    if (files[fd].sync)
        record(RECORD_SYNC, path, 0, NULL, 0, 0);
}

/* The write and its record are one step under the lock, so that the log has the order in which
 * the kernel took the writes. */
#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *data, size_t size, off_t offset)                              \
    {                                                                                              \
        REAL(name);                                                                                \
        if (!watched(fd))                                                                          \
            return real(fd, data, size, offset);                                                   \
        struct iovec iov = {(void *)(uintptr_t)data, size};                                        \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t done = real(fd, data, size, offset);                                               \
        int saved = errno;                                                                         \
        wrote(fd, offset, &iov, 1, done);                                                          \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
        return done;                                                                               \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                                              \
    ssize_t name(int fd, const struct iovec *iov, int count, off_t offset)                         \
    {                                                                                              \
        REAL(name);                                                                                \
        if (!watched(fd))                                                                          \
            return real(fd, iov, count, offset);                                                   \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t done = real(fd, iov, count, offset);                                               \
        int saved = errno;                                                                         \
        wrote(fd, offset, iov, count, done);                                                       \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
        return done;                                                                               \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    REAL(writev);
    if (!watched(fd))
        return real(fd, iov, count);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = real(fd, iov, count);
    int saved = errno;
    wrote(fd, at, iov, count, done);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (!watched(fd))
        return real(fd, data, size);
    struct iovec iov = {(void *)(uintptr_t)data, size};
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = real(fd, data, size);
    int saved = errno;
    wrote(fd, at, &iov, 1, done);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

#define SYNC(name)                                                                                 \
    int name(int fd)                                                                               \
    {                                                                                              \
        REAL(name);                                                                                \
        if (!watched(fd))                                                                          \
            return real(fd);                                                                       \
        pthread_mutex_lock(&lock);                                                                 \
        int done = real(fd);                                                                       \
        int saved = errno;                                                                         \
        if (done == 0)                                                                             \
            record(RECORD_SYNC, files[fd].path, 0, NULL, 0, 0);                                    \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
        return done;                                                                               \
    }
SYNC(fsync)
SYNC(fdatasync)

#define FTRUNCATE(name)                                                                            \
    int name(int fd, off_t size)                                                                   \
    {                                                                                              \
        REAL(name);                                                                                \
        if (!watched(fd))                                                                          \
            return real(fd, size);                                                                 \
        pthread_mutex_lock(&lock);                                                                 \
        int done = real(fd, size);                                                                 \
        int saved = errno;                                                                         \
        if (done == 0)                                                                             \
            record(RECORD_TRUNCATE, files[fd].path, (uint64_t)size, NULL, 0, 0);                   \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
        return done;                                                                               \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)
