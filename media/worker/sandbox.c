/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* ---- limits ---------------------------------------------------------------------------------- */

#define BATCH_NICE 10

static bool set_limit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return false;
    /* never more than we were started with (ulimit, a unit's Limit…=): that takes a privilege */
    limit.rlim_max = hard < limit.rlim_max ? hard : limit.rlim_max;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit(resource, &limit) == 0;
}

static bool yield_to_others(media_priority priority)
{
    const struct sched_param none = {0};
    if (priority == MEDIA_PRIORITY_NORMAL || sched_getscheduler(0) == SCHED_IDLE)
        return true;
    if (priority == MEDIA_PRIORITY_IDLE)
        return sched_setscheduler(0, SCHED_IDLE, &none) == 0;
    if (sched_setscheduler(0, SCHED_BATCH, &none) != 0)
        return false;
    errno = 0; /* who was started with less (nice -n 15 dacmd) may not take more, and need not */
    const int now = getpriority(PRIO_PROCESS, 0);
    return (errno == 0 && now >= BATCH_NICE) || setpriority(PRIO_PROCESS, 0, BATCH_NICE) == 0;
}

bool media__limit(const media__limits *limits)
{
    /* The pool's wall clock comes first; this one is for a pool that cannot look. */
    bool set = set_limit(RLIMIT_CPU, limits->cpu_s, limits->cpu_s + 1) &&
               set_limit(RLIMIT_FSIZE, limits->result_bytes_max, limits->result_bytes_max) &&
               set_limit(RLIMIT_CORE, 0, 0) && set_limit(RLIMIT_MEMLOCK, 0, 0) &&
               set_limit(RLIMIT_MSGQUEUE, 0, 0);
#if !MEDIA__SANITIZED
    set = set && set_limit(RLIMIT_AS, limits->memory_bytes, limits->memory_bytes) &&
          set_limit(RLIMIT_NOFILE, 0, 0) && set_limit(RLIMIT_NPROC, 0, 0);
#endif
    return set && yield_to_others(limits->priority);
}

/* ---- privileges ------------------------------------------------------------------------------ */

bool media__renounce(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
           syscall(SYS_capset, &head, none) == 0;
}

/* ---- landlock -------------------------------------------------------------------------------- */

/* The struct has grown since Debian's header. */
typedef struct landlock_ruleset {
    uint64_t files, ports, scopes;
} landlock_ruleset;

#define SCOPES 3 /* abstract sockets, signals */

int media__landlock_version(void)
{
    const long version = syscall(
        SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

/** What each version of it can take away. */
static size_t all_of(int version, landlock_ruleset *ret)
{
    static const unsigned file_bits[] = {0, 13, 14, 15, 15, 16};
    const size_t known = sizeof file_bits / sizeof *file_bits - 1;
    const unsigned bits = file_bits[version > (int)known ? known : (size_t)version];
    *ret = (landlock_ruleset){.files = (1ULL << bits) - 1};
    if (version < 4)
        return sizeof ret->files;
    ret->ports = 3; /* bind, connect */
    if (version < 6)
        return sizeof ret->files + sizeof ret->ports;
    ret->scopes = SCOPES;
    return sizeof *ret;
}

bool media__landlock(void)
{
    landlock_ruleset nothing;
    const int version = media__landlock_version();
    if (version == 0)
        return true;
    const size_t size = all_of(version, &nothing);
    RPC_AUTOCLOSE int rules = (int)syscall(SYS_landlock_create_ruleset, &nothing, size, 0);
    return rules >= 0 && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

/* ---- seccomp --------------------------------------------------------------------------------- */

bool media__seccomp(const media__filter *filter)
{
    /* This thread only, and a child has no other; but for the thread sanitizer's own, which never
     * sees a source and needs more calls. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter->program) == 0;
}
