/* SPDX-License-Identifier: Apache-2.0 */
/** The downloads that are running, found by asset: what must be decided again when a list or a
 *  token changes. Any thread. */
#ifndef DACM_RUNNING_H
#define DACM_RUNNING_H

#include "rpc.h"

typedef struct dacm_running dacm_running;

/** One running call; embed it. asset_id must outlive its stay in the registry. hold is called
 *  with the registry locked, before recheck is posted to the call's strand; recheck ends by
 *  giving back what hold took. */
typedef struct dacm_running_entry {
    rpc_call *call;
    const char *asset_id;
    const uint8_t *recipe_sha256; /* NULL: of no recipe; it outlives its stay as well */
    int64_t begun_s;              /* wall clock */
    void (*hold)(void *arg);
    rpc_task_fn *recheck;
    void *arg;
    struct dacm_running_entry *next, **link; /* private */
} dacm_running_entry;

/** NULL when memory is short. */
RPC_MUST_USE dacm_running *dacm_running_new(void);
/** When empty. */
void dacm_running_free(dacm_running *running);
void dacm_running_add(dacm_running *running, dacm_running_entry *entry);
/** Not in it: nothing happens. No recheck is posted after the return. */
void dacm_running_remove(dacm_running *running, dacm_running_entry *entry);
/** May one of the asset and recipe that began until then (wall clock) still run? Also one that says
 *  it began after now. */
bool dacm_running_since(dacm_running *running, const char *asset_id,
    const uint8_t recipe_sha256[32], int64_t until_s, int64_t now_s);
/** Posts recheck to those of one asset, or of all with NULL. */
void dacm_running_recheck(dacm_running *running, const char *asset_id);

#endif
