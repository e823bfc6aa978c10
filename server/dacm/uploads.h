/* SPDX-License-Identifier: Apache-2.0 */
/** The uploads that are running: at most so many of an owner, one of an upload ID, and whose
 *  chunks a sweep must spare. Any thread. */
#ifndef DACM_UPLOADS_H
#define DACM_UPLOADS_H

#include "plan.h"
#include "store.h"

typedef struct dacm_uploads dacm_uploads;

/** One running upload; embed it, zeroed. owner is borrowed until it leaves. */
typedef struct dacm_upload_slot {
    const char *owner;
    uint8_t key[DACM_DIGEST_BYTES];
    uint8_t uid[STORE_UID_BYTES];
    struct dacm_upload_slot *next, **link; /* private */
} dacm_upload_slot;

/** NULL when memory is short. */
RPC_MUST_USE dacm_uploads *dacm_uploads_new(void);
void dacm_uploads_free(dacm_uploads *uploads);
/** ABORTED: the same upload is running. RESOURCE_EXHAUSTED: the owner has max already. */
RPC_MUST_USE rpc_code dacm_uploads_enter(dacm_uploads *uploads, dacm_upload_slot *slot,
    const char *owner, const uint8_t key[DACM_DIGEST_BYTES], const uint8_t uid[STORE_UID_BYTES],
    unsigned max, rpc_status *reterr);
/** Not in it: nothing happens. */
void dacm_uploads_leave(dacm_uploads *uploads, dacm_upload_slot *slot);
bool dacm_uploads_has_uid(dacm_uploads *uploads, const uint8_t uid[STORE_UID_BYTES]);

#endif
