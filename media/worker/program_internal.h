/* SPDX-License-Identifier: Apache-2.0 */
/** The program dacm-media, as its parent sees it. One thread at a time. */
#ifndef DACM_MEDIA_PROGRAM_INTERNAL_H
#define DACM_MEDIA_PROGRAM_INTERNAL_H

#include "wire_internal.h"

typedef struct media__program {
    pid_t pid; /* 0: it does not run */
    int socket;
    int landlock;
} media__program;

/** Runs it and waits until it says that it is ready. FAILED_PRECONDITION: it cannot be, and why;
 *  RESOURCE_EXHAUSTED: no descriptors or processes. */
rpc_code media__program_start(const char *path, media__program *ret, rpc_status *reterr);
/** Its children end with it; it is reaped. Nothing where it does not run.
 *  gently  it may end them by itself first, which leaves nobody to reap them to others. */
void media__program_end(media__program *program, bool gently);

#endif
