/* SPDX-License-Identifier: Apache-2.0 */
/** The other side of media_worker.h: the program dacm-media, but for what it does with a source.
 *  Single-threaded. */
#ifndef DACM_MEDIA_CHILD_H
#define DACM_MEDIA_CHILD_H

#include "media_worker.h"

typedef struct media_child_work {
    /** In each child before it shuts itself in, what needs the system: seeds. NULL: nothing. */
    void (*prepare)(void);
    /** In the sandbox, where memory is all there is; what it allocates is never freed.
     *  recipe  NULL: inspect.
     *  made    bytes (any memory), media_type and figures are set where it returns RPC_OK. */
    rpc_code (*run)(rpc_bytes source, const char *recipe, media_made *made, rpc_status *reterr);
} media_child_work;

/** For allocations of libraries that crash where there is no memory: ends the job with
 *  RESOURCE_EXHAUSTED instead of returning. Only inside run. */
void *media_child_alloc(size_t size);

/** The main() of such a program: serves the pool at descriptor 3 until that is gone. Returns an
 * exit code; what is wrong goes to standard error. */
int media_child_serve(const media_child_work *work);

#endif
