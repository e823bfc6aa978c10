/* SPDX-License-Identifier: Apache-2.0 */
/** What a child shuts itself in with. Each part alone, so that each can be tried alone. */
#ifndef DACM_MEDIA_SANDBOX_INTERNAL_H
#define DACM_MEDIA_SANDBOX_INTERNAL_H

#include "media_worker.h"

#include <linux/filter.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEDIA__SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define MEDIA__SANITIZED 1
#endif
#endif
#ifndef MEDIA__SANITIZED
#define MEDIA__SANITIZED 0
#endif

/** Made once, before the first child. */
typedef struct media__filter {
    struct sock_fprog program;
} media__filter;

typedef struct media__limits {
    uint64_t memory_bytes, result_bytes_max;
    uint32_t cpu_s;
    media_priority priority;
} media__limits;

/** Which system calls remain (libseccomp). FAILED_PRECONDITION: the kernel cannot. */
rpc_code media__filter_make(media__filter *ret, rpc_status *reterr);
void media__filter_done(media__filter *filter);
/** Version of the kernel's landlock; 0: it has none. */
int media__landlock_version(void);

/** Each for this process and for ever; false with errno where the kernel does not. */
bool media__limit(const media__limits *limits);
/** No capability, no new privilege, no core dump, no look from others. */
bool media__renounce(void);
/** No file, TCP port, abstract socket or other process; true where the kernel has no landlock. */
bool media__landlock(void);
/** Only the system calls of the filter; any other ends the process. */
bool media__seccomp(const media__filter *filter);

#endif
