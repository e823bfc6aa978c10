/* SPDX-License-Identifier: Apache-2.0 */
#include "attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool try_open(void)
{
    return syscall(SYS_open, "/etc/passwd", O_RDONLY) >= 0;
}

static bool try_openat(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) >= 0;
}

static bool try_openat2(void)
{
    struct open_how how = {.flags = O_RDONLY};
    return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how) >= 0;
}

static bool try_creat(void)
{
    return syscall(SYS_creat, "/dev/null", 0600) >= 0;
}

static bool try_proc_environ(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY) >= 0;
}

static bool try_proc_of_parent(void)
{
    char path[] = "/proc/0000000000/status";
    const long parent = syscall(SYS_getppid);
    long rest = parent;
    for (size_t i = 15; i >= 6; i--, rest /= 10)
        path[i] = (char)('0' + rest % 10);
    size_t skip = 6; /* no leading zeros */
    while (path[skip] == '0')
        skip++;
    memmove(path + 6, path + skip, sizeof path - skip);
    return syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) >= 0;
}

static bool try_stat(void)
{
    struct stat st;
    return syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, 0) == 0;
}

static bool try_readlink(void)
{
    char path[256];
    return syscall(SYS_readlink, "/proc/self/exe", path, sizeof path) > 0;
}

static bool try_socket_tcp(void)
{
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool try_socket_unix(void)
{
    return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool try_socketpair(void)
{
    int pair[2];
    return syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0;
}

/** On its own answer socket: EISCONN means that the kernel looked at it. */
static bool try_connect(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/nobody"};
    return syscall(SYS_connect, 5, &address, sizeof address) == 0 || errno != EACCES;
}

static bool try_sendmsg(void)
{
    struct msghdr nothing = {0};
    return syscall(SYS_sendmsg, 5, &nothing, 0) >= 0 || errno != EACCES;
}

static bool try_recvmsg(void)
{
    struct msghdr nothing = {0};
    return syscall(SYS_recvmsg, 5, &nothing, MSG_DONTWAIT) >= 0 || errno != EACCES;
}

static bool try_execve(void)
{
    char *arguments[] = {NULL};
    syscall(SYS_execve, "/nowhere", arguments, arguments);
    return errno == ENOENT; /* it was looked for */
}

static bool try_execveat(void)
{
    char *arguments[] = {NULL};
    syscall(SYS_execveat, AT_FDCWD, "/nowhere", arguments, arguments, 0);
    return errno == ENOENT;
}

static bool end_of(long child)
{
    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid((pid_t)child, NULL, 0);
    return child > 0;
}

static bool try_fork(void)
{
    return end_of(syscall(SYS_fork));
}

static bool try_vfork_by_clone(void)
{
    return end_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
}

static bool try_clone3(void)
{
    uint64_t how[8] = {[4] = SIGCHLD};
    return end_of(syscall(SYS_clone3, how, sizeof how));
}

static bool try_ptrace(void)
{
    return syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool try_process_vm_readv(void)
{
    return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) == 0;
}

static bool try_kill(void)
{
    return syscall(SYS_kill, getppid(), 0) == 0;
}

static bool try_tgkill(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

static bool try_pidfd_open(void)
{
    return syscall(SYS_pidfd_open, getppid(), 0) >= 0;
}

static bool try_prctl(void)
{
    return syscall(SYS_prctl, PR_SET_NAME, "other", 0, 0, 0) == 0;
}

static bool try_ioctl(void)
{
    int waiting = 0;
    return syscall(SYS_ioctl, 5, FIONREAD, &waiting) == 0 || errno != EACCES;
}

static bool try_mmap_executable(void)
{
    return (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
               -1, 0) != MAP_FAILED;
}

static bool try_mprotect_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool try_pkey_mprotect(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1) == 0;
}

/** A file of others, by its number: outside of a worker, standard input. */
static bool try_mmap_file(void)
{
    const long file = syscall(SYS_memfd_create, "own", 0);
    return file >= 0 && ftruncate((int)file, 4096) == 0 &&
           mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, (int)file, 0) != MAP_FAILED;
}

static bool try_memfd(void)
{
    return syscall(SYS_memfd_create, "own", 0) >= 0;
}

static bool try_dup(void)
{
    return syscall(SYS_dup, 5) >= 0 || errno != EACCES;
}

static bool try_fcntl(void)
{
    return syscall(SYS_fcntl, 5, F_GETFD) >= 0 || errno != EACCES;
}

/** Output that is not its result: standard error is the server's log. */
static bool try_write_elsewhere(void)
{
    return syscall(SYS_write, 1, "", 0) == 0;
}

static bool try_pwrite_source(void)
{
    return syscall(SYS_pwrite64, 3, "", 0, 0) == 0 || errno != EACCES;
}

/** Whatever number it has: another job's source would be found so. */
static bool try_read(void)
{
    char byte = 0;
    return syscall(SYS_read, 0, &byte, 0) == 0;
}

static bool try_pread(void)
{
    char byte = 0;
    return syscall(SYS_pread64, 3, &byte, 1, 0) >= 0 || errno != EACCES;
}

static bool try_write_source(void)
{
    return syscall(SYS_write, 3, "", 1) >= 0 || errno != EACCES;
}

static bool try_ftruncate(void)
{
    return syscall(SYS_ftruncate, 4, 0) == 0 || errno != EACCES;
}

static bool try_splice(void)
{
    return syscall(SYS_splice, 3, NULL, 5, NULL, 1, 0) >= 0 || errno != EACCES;
}

static bool try_copy_file_range(void)
{
    return syscall(SYS_copy_file_range, 3, NULL, 4, NULL, 1, 0) >= 0 || errno != EACCES;
}

static bool try_priority(void)
{
    return syscall(SYS_setpriority, PRIO_PROCESS, 0, 19) == 0;
}

static bool try_affinity(void)
{
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(0, &processors);
    return syscall(SYS_sched_setaffinity, 0, sizeof processors, &processors) == 0;
}

static bool try_personality(void)
{
    return syscall(SYS_personality, 0xffffffff) >= 0;
}

static bool try_sigqueue(void)
{
    return syscall(SYS_rt_sigqueueinfo, getpid(), 0, NULL) == 0 || errno == EFAULT;
}

static bool try_io_uring(void)
{
    struct io_uring_params params = {0};
    return syscall(SYS_io_uring_setup, 1, &params) >= 0;
}

static bool try_bpf(void)
{
    union bpf_attr what;
    memset(&what, 0, sizeof what);
    return syscall(SYS_bpf, BPF_MAP_CREATE, &what, sizeof what) >= 0 || errno == EINVAL;
}

static bool try_perf(void)
{
    return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) >= 0 || errno == EFAULT;
}

static bool try_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, 0) >= 0;
}

static bool try_unshare(void)
{
    return syscall(SYS_unshare, CLONE_NEWUSER) == 0;
}

static bool try_mount(void)
{
    return syscall(SYS_mount, "none", "/nowhere", "tmpfs", 0, NULL) == 0 || errno == ENOENT;
}

static bool try_chdir(void)
{
    return syscall(SYS_chdir, "/") == 0;
}

static bool try_setuid(void)
{
    return syscall(SYS_setuid, getuid()) == 0;
}

static bool try_rlimit(void)
{
    struct rlimit limit;
    return syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit) == 0 &&
           syscall(SYS_setrlimit, RLIMIT_NOFILE, &limit) == 0;
}

static bool try_prlimit(void)
{
    struct rlimit limit;
    return syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0;
}

static bool try_seccomp(void)
{
    uint32_t action = 0x7fff0000; /* is it there? */
    return syscall(SYS_seccomp, 2, 0, &action) == 0;
}

static bool try_inotify(void)
{
    return syscall(SYS_inotify_init1, 0) >= 0;
}

static bool try_timer(void)
{
    struct timespec never = {0};
    return syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0) >= 0 && never.tv_sec == 0;
}

static bool try_shm(void)
{
    return syscall(SYS_shmget, 0, 4096, 0600 | 01000) >= 0;
}

static bool try_keyring(void)
{
    return syscall(SYS_add_key, "user", "own", "x", 1, -2) >= 0;
}

const attempt attempts[] = {
    {"open", try_open, false},
    {"openat", try_openat, false},
    {"openat2", try_openat2, false},
    {"creat", try_creat, false},
    {"proc_environ", try_proc_environ, false},
    {"proc_of_parent", try_proc_of_parent, false},
    {"stat", try_stat, false},
    {"readlink", try_readlink, false},
    {"socket_tcp", try_socket_tcp, false},
    {"socket_unix", try_socket_unix, false},
    {"socketpair", try_socketpair, false},
    {"connect", try_connect, false},
    {"sendmsg", try_sendmsg, false},
    {"recvmsg", try_recvmsg, false},
    {"execve", try_execve, false},
    {"execveat", try_execveat, false},
    {"fork", try_fork, false},
    {"clone", try_vfork_by_clone, false},
    {"clone3", try_clone3, false},
    {"ptrace", try_ptrace, false},
    {"process_vm_readv", try_process_vm_readv, true},
    {"kill", try_kill, false},
    {"tgkill", try_tgkill, false},
    {"pidfd_open", try_pidfd_open, false},
    {"prctl", try_prctl, false},
    {"ioctl", try_ioctl, false},
    {"mmap_executable", try_mmap_executable, false},
    {"mprotect_executable", try_mprotect_executable, false},
    {"pkey_mprotect", try_pkey_mprotect, true},
    {"mmap_file", try_mmap_file, false},
    {"memfd", try_memfd, false},
    {"dup", try_dup, false},
    {"fcntl", try_fcntl, false},
    {"write_elsewhere", try_write_elsewhere, false},
    {"pwrite_source", try_pwrite_source, false},
    {"read", try_read, false},
    {"pread", try_pread, false},
    {"write_source", try_write_source, false},
    {"ftruncate", try_ftruncate, false},
    {"splice", try_splice, false},
    {"copy_file_range", try_copy_file_range, false},
    {"setpriority", try_priority, false},
    {"sched_setaffinity", try_affinity, true},
    {"personality", try_personality, false},
    {"rt_sigqueueinfo", try_sigqueue, false},
    {"io_uring", try_io_uring, true},
    {"bpf", try_bpf, true},
    {"perf", try_perf, true},
    {"userfaultfd", try_userfaultfd, true},
    {"unshare", try_unshare, true},
    {"mount", try_mount, true},
    {"chdir", try_chdir, false},
    {"setuid", try_setuid, false},
    {"setrlimit", try_rlimit, false},
    {"prlimit", try_prlimit, false},
    {"seccomp", try_seccomp, false},
    {"inotify", try_inotify, false},
    {"timerfd", try_timer, false},
    {"shmget", try_shm, true},
    {"add_key", try_keyring, true},
};
const size_t attempt_count = sizeof attempts / sizeof *attempts;
