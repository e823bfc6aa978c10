/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that remain to a child. It has its source mapped before, so that it needs no
 * descriptor but the two that it writes to. */
#include "sandbox_internal.h"
#include "wire_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static int allow_always(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
        SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall),
        SCMP_SYS(sysinfo), /* qsort() of much asks how much memory there is */
        SCMP_SYS(exit), SCMP_SYS(exit_group)};
    int error = 0;
    for (size_t i = 0; error == 0 && i < sizeof calls / sizeof *calls; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return error;
}

static int allow_writing_to(scmp_filter_ctx filter, int file)
{
    return seccomp_rule_add(
        filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)file, 0));
}

/** Anonymous, and never to be executed. */
static int allow_memory(scmp_filter_ctx filter)
{
    int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
        SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
        SCMP_A3_32(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    if (error == 0)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
            SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return error;
}

/** What a sanitizer's runtime needs to live and to report; opening is refused, not granted. */
static int allow_sanitizer(scmp_filter_ctx filter)
{
#if MEDIA__SANITIZED
    static const int calls[] = {SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield),
        SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(sigaltstack), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(getrusage),
        SCMP_SYS(fstat), SCMP_SYS(close), SCMP_SYS(uname), SCMP_SYS(getrlimit)};
    static const int refused[] = {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(readlink),
        SCMP_SYS(readlinkat), SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(ioctl),
        SCMP_SYS(prctl), SCMP_SYS(prlimit64), SCMP_SYS(tgkill)};
    int error = allow_writing_to(filter, STDERR_FILENO);
    for (size_t i = 0; error == 0 && i < sizeof calls / sizeof *calls; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    for (size_t i = 0; error == 0 && i < sizeof refused / sizeof *refused; i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    return error;
#else
    (void)filter;
    return 0;
#endif
}

/** libseccomp writes programs to files only. */
static int export(scmp_filter_ctx filter, media__filter *ret)
{
    struct stat st;
    RPC_AUTOCLOSE int file = memfd_create("filter", MFD_CLOEXEC);
    if (file < 0)
        return -errno;
    const int error = seccomp_export_bpf(filter, file);
    if (error != 0)
        return error;
    if (fstat(file, &st) != 0)
        return -errno;
    struct sock_filter *steps = malloc((size_t)st.st_size);
    if (!steps || pread(file, steps, (size_t)st.st_size, 0) != st.st_size) {
        free(steps);
        return -ENOMEM;
    }
    ret->program = (struct sock_fprog){
        .len = (unsigned short)((size_t)st.st_size / sizeof *steps), .filter = steps};
    return 0;
}

rpc_code media__filter_make(media__filter *ret, rpc_status *reterr)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int error = filter ? 0 : -ENOSYS; /* it has asked the kernel */
    if (error == 0)
        error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (error == 0)
        error = allow_always(filter);
    if (error == 0)
        error = allow_memory(filter);
    if (error == 0)
        error = allow_writing_to(filter, MEDIA__FD_RESULT);
    if (error == 0)
        error = allow_writing_to(filter, MEDIA__FD_ANSWER);
    if (error == 0)
        error = allow_sanitizer(filter);
    if (error == 0)
        error = export(filter, ret);
    if (filter)
        seccomp_release(filter);
    return error == 0 ? RPC_OK
                      : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                            "the filter of system calls cannot be made here (seccomp): %s",
                            strerror(-error));
}

void media__filter_done(media__filter *filter)
{
    free(filter->program.filter);
    filter->program.filter = NULL;
}
