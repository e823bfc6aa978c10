/* SPDX-License-Identifier: Apache-2.0 */
/** A thread that drops what nothing needs any more: variants that were given up or whose version is
 *  gone, chunks that no version or variant lists, records of uploads that nobody will repeat,
 *  revocations of tokens that have expired. */
#ifndef DACM_SWEEP_H
#define DACM_SWEEP_H

#include "dacm_internal.h"

typedef struct dacm_sweep dacm_sweep;

/** Every config->sweep_interval_s; variants also when they want room (dacm_variants_watch()), once
 *  in a second at most. RESOURCE_EXHAUSTED: no thread or memory. */
RPC_MUST_USE rpc_code dacm_sweep_start(dacm_service *service, dacm_sweep **ret, rpc_status *reterr);
/** Waits for the sweep under way to reach the end of what it is doing. NULL is allowed. */
void dacm_sweep_stop(dacm_sweep *sweep);

typedef struct dacm_swept {
    uint64_t chunks, uploads, revocations, variants;
} dacm_swept;
/** One sweep, now; blocks. DATA_LOSS: versions of an asset cannot be read; nothing of it was
 *  dropped, everything else was swept. Other errors are the store's and end the sweep. reterr is
 *  not NULL. */
RPC_MUST_USE rpc_code dacm_sweep_once(dacm_service *service, dacm_swept *ret, rpc_status *reterr);

#endif
