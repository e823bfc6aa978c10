/* SPDX-License-Identifier: Apache-2.0 */
/* Each wall alone: what it keeps out where the others would not. */
#include "sandbox_internal.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/** In a process of its own: its walls are for ever. */
static int status_of(int (*code)(void))
{
    int wait_status = 0;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(code());
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    return wait_status;
}

static void assert_holds(int (*code)(void))
{
    const int wait_status = status_of(code);
    assert_true(WIFEXITED(wait_status));
    assert_int_equal(WEXITSTATUS(wait_status), 0); /* else the number of what failed */
}

static int behind_landlock(void)
{
    if (!media__renounce() || !media__landlock())
        return 1;
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 2;
    if (open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 3;
    if (open("/tmp/new-file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
        return 4;
    char *arguments[] = {NULL};
    if (execve("/bin/true", arguments, arguments) == 0 || errno != EACCES)
        return 5;
    return 0;
}

TEST(landlock_alone_keeps_files_away)
{
    if (media__landlock_version() == 0)
        skip();
    assert_holds(behind_landlock);
}

static int without_network(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0x100};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!media__renounce() || !media__landlock())
        return 1;
    const int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(tcp, (struct sockaddr *)&address, sizeof address) == 0 || errno != EACCES)
        return 2;
    address.sin_port = 0;
    return bind(tcp, (struct sockaddr *)&address, sizeof address) == 0 || errno != EACCES ? 3 : 0;
}

TEST(landlock_alone_keeps_tcp_away)
{
    if (media__landlock_version() < 4)
        skip();
    assert_holds(without_network);
}

static int without_privileges(void)
{
    if (!media__renounce())
        return 1;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return 2;
    if (setuid(geteuid() == 0 ? 65534 : 0) == 0 || errno != EPERM)
        return 3;
    return 0;
}

TEST(renouncing_alone_leaves_no_privilege)
{
    assert_holds(without_privileges);
}

static const media__limits small = {
    .memory_bytes = MEDIA_MEMORY_BYTES_MIN, .result_bytes_max = 4096, .cpu_s = 1};

static int within_limits(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const int file = memfd_create("result", MFD_CLOEXEC);
    const int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (file < 0 || other < 0 || !media__limit(&small))
        return 1;
    static char block[8192];
    if (write(file, block, sizeof block) != 4096 || write(file, block, 1) >= 0 || errno != EFBIG)
        return 2;
    if (ftruncate(file, 1 << 20) == 0 || errno != EFBIG)
        return 3;
#if !MEDIA__SANITIZED
    if (dup(other) >= 0 || errno != EMFILE)
        return 4;
    if (mmap(NULL, MEDIA_MEMORY_BYTES_MIN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
            0) != MAP_FAILED)
        return 5;
#endif
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
        return 6;
    return getpriority(PRIO_PROCESS, 0) < 10 ? 7 : 0;
}

TEST(limits_alone_bound_memory_files_and_results)
{
    assert_holds(within_limits);
}

/* As `nice -n 15 dacmd` under `ulimit -f 1` starts it: it has no privilege to take more again. */
static int started_with_less(void)
{
    const struct rlimit little = {.rlim_cur = 1024, .rlim_max = 1024};
    struct rlimit now;
    if (setpriority(PRIO_PROCESS, 0, 15) != 0 || setrlimit(RLIMIT_FSIZE, &little) != 0 ||
        !media__renounce() || !media__limit(&small))
        return 1;
    if (getrlimit(RLIMIT_FSIZE, &now) != 0 || now.rlim_max != 1024)
        return 2;
    return getpriority(PRIO_PROCESS, 0) == 15 ? 0 : 3;
}

TEST(limits_ask_for_no_more_than_there_is)
{
    assert_holds(started_with_less);
}

static int loops(void)
{
    if (!media__limit(&small))
        return 1;
    for (volatile unsigned i = 0;; i++)
        ;
}

TEST(limits_alone_end_a_loop)
{
    const int wait_status = status_of(loops);
    assert_true(WIFSIGNALED(wait_status));
    assert_int_equal(WTERMSIG(wait_status), SIGXCPU);
}

static media__filter filter;

static int opens_behind_seccomp(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !media__seccomp(&filter))
        return 1;
    syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    return 2;
}

static int allocates_behind_seccomp(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !media__seccomp(&filter))
        return 1;
    for (size_t size = 1; size < 64 << 20; size *= 2) {
        volatile char *memory = malloc(size);
        if (!memory)
            return 2;
        memory[size - 1] = 1;
        free((void *)(uintptr_t)memory);
    }
    return 0;
}

/* 32-bit system calls have other numbers; the filter is for none of them. */
static int old_calls_behind_seccomp(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !media__seccomp(&filter))
        return 1;
#ifdef __x86_64__
    long got = 20; /* getpid() of i386 */
    __asm__ volatile("int $0x80" : "+a"(got) : : "memory", "r8", "r9", "r10", "r11");
    syscall(0x40000000 | 39); /* and of x32 */
#else
    syscall(SYS_getppid);
#endif
    return 2;
}

TEST(seccomp_alone_ends_what_is_forbidden)
{
    rpc_status status;
    assert_int_equal(media__filter_make(&filter, &status), RPC_OK);
    const int opened = status_of(opens_behind_seccomp), old = status_of(old_calls_behind_seccomp);
    assert_true(WIFSIGNALED(opened) && WTERMSIG(opened) == SIGSYS);
    assert_true(WIFSIGNALED(old));
    assert_holds(allocates_behind_seccomp);
    media__filter_done(&filter);
}
