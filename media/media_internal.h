/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#ifndef DACM_MEDIA_INTERNAL_H
#define DACM_MEDIA_INTERNAL_H

#include "media.h"

/** Whoever reads this can give more, where the source is worth it. */
static inline rpc_code media__no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "media: the source cost more memory than it was given (media.memory_bytes; dacm adapt "
        "--memory)");
}

#endif
