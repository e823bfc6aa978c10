/* SPDX-License-Identifier: Apache-2.0 */
#include "locked.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define LEAST_BYTES                                                                                \
    (128u << 10) /* the store's key, the root, and what each thread unseals at a time */

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return; /* the try says what comes of it */
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return;
}

rpc_code skm_locked_check(rpc_status *reterr)
{
    raise_limit();
    void *memory = mmap(
        NULL, LEAST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory to start");
    const int why = mlock(memory, LEAST_BYTES) == 0 ? 0 : errno;
    munmap(memory, LEAST_BYTES);
    return why == 0 ? RPC_OK
                    : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                          "'master.allow_unlocked': %u KiB of memory cannot be locked (%s), so "
                          "private keys might be written to the swap; raise the limit "
                          "(LimitMEMLOCK=64M in the unit, or ulimit -l 65536), or, where there is "
                          "no swap or it is encrypted, set this to true",
                          LEAST_BYTES >> 10, strerror(why));
}

/* Of pages that are locked already it changes nothing; the limit counts them once. */
bool skm_locked(const void *memory, size_t size)
{
    return mlock(memory, size) == 0;
}

void *skm_locked_malloc(size_t size, bool allowed)
{
    void *memory = sodium_malloc(size);
    if (memory && !allowed && !skm_locked(memory, size)) {
        sodium_free(memory);
        memory = NULL;
    }
    return memory;
}
