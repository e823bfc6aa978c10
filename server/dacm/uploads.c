/* SPDX-License-Identifier: Apache-2.0 */
/* One mutex guards the list, which is as long as there are uploads running. */
#include "uploads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct dacm_uploads {
    pthread_mutex_t lock;
    dacm_upload_slot *first;
};

dacm_uploads *dacm_uploads_new(void)
{
    dacm_uploads *uploads = calloc(1, sizeof *uploads);
    if (uploads)
        pthread_mutex_init(&uploads->lock, NULL);
    return uploads;
}

void dacm_uploads_free(dacm_uploads *uploads)
{
    if (!uploads)
        return;
    pthread_mutex_destroy(&uploads->lock);
    free(uploads);
}

/* Under the lock. */
static rpc_code judge(const dacm_uploads *uploads, const char *owner,
    const uint8_t key[DACM_DIGEST_BYTES], unsigned max, rpc_status *reterr)
{
    unsigned count = 0;
    for (const dacm_upload_slot *slot = uploads->first; slot; slot = slot->next) {
        if (memcmp(slot->key, key, DACM_DIGEST_BYTES) == 0)
            return rpc_status_set(reterr, RPC_ABORTED,
                "upload_id: this upload is running already; wait for its end, or choose another "
                "ID");
        count += strcmp(slot->owner, owner) == 0;
    }
    if (count >= max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "upload: %u uploads of this user are running; limits.uploads_per_owner allows no more",
            count);
    return RPC_OK;
}

rpc_code dacm_uploads_enter(dacm_uploads *uploads, dacm_upload_slot *slot, const char *owner,
    const uint8_t key[DACM_DIGEST_BYTES], const uint8_t uid[STORE_UID_BYTES], unsigned max,
    rpc_status *reterr)
{
    pthread_mutex_lock(&uploads->lock);
    rpc_code code = judge(uploads, owner, key, max, reterr);
    if (code == RPC_OK) {
        slot->owner = owner;
        memcpy(slot->key, key, DACM_DIGEST_BYTES);
        memcpy(slot->uid, uid, STORE_UID_BYTES);
        slot->next = uploads->first;
        slot->link = &uploads->first;
        if (slot->next)
            slot->next->link = &slot->next;
        uploads->first = slot;
    }
    pthread_mutex_unlock(&uploads->lock);
    return code;
}

void dacm_uploads_leave(dacm_uploads *uploads, dacm_upload_slot *slot)
{
    pthread_mutex_lock(&uploads->lock);
    if (slot->link) {
        *slot->link = slot->next;
        if (slot->next)
            slot->next->link = slot->link;
        slot->link = NULL;
        slot->next = NULL;
    }
    pthread_mutex_unlock(&uploads->lock);
}

bool dacm_uploads_has_uid(dacm_uploads *uploads, const uint8_t uid[STORE_UID_BYTES])
{
    bool found = false;
    pthread_mutex_lock(&uploads->lock);
    for (const dacm_upload_slot *slot = uploads->first; slot && !found; slot = slot->next)
        found = memcmp(slot->uid, uid, STORE_UID_BYTES) == 0;
    pthread_mutex_unlock(&uploads->lock);
    return found;
}
