/* SPDX-License-Identifier: Apache-2.0 */
/** Records written together: a new asset with its list, a changed list, a new version; and the
 *  index entries that must be there before. */
#ifndef DACM_CHANGES_H
#define DACM_CHANGES_H

#include "acl.h"
#include "assemble.h"
#include "facts.h"

/** Changes of one group being collected; keys and packed records are owned. */
typedef struct dacm_changes {
    store_change *list;
    size_t count, room;
    bool failed; /* memory was short: nothing more is added */
} dacm_changes;

void dacm_changes_done(dacm_changes *changes);
void dacm_changes_put(dacm_changes *changes, host_key item, const ProtobufCMessage *record);
/** value is copied. */
void dacm_changes_put_bytes(dacm_changes *changes, host_key item, rpc_bytes value);
void dacm_changes_delete(dacm_changes *changes, host_key item);
void dacm_changes_delete_prefix(dacm_changes *changes, host_key item);

/** Puts the record of a version or a variant, with the pages of its list. */
void dacm_put_version(dacm_changes *changes, host_key item, Dacm__Records__Version *record,
    const dacm_page *pages, size_t page_count);
/** Puts g/GPSI. */
void dacm_put_grant(dacm_changes *changes, const dacm_grant *grant);

typedef void dacm_written_fn(void *arg, const rpc_status *status, uint64_t generation);

/** Applies and frees the changes (also on failure). fn runs once, through executor (NULL: on a
 *  thread of the store) or inside this function. RESOURCE_EXHAUSTED when changes->failed. */
void dacm_changes_apply(dacm_changes *changes, store *db, const store_executor *executor,
    host_key group, uint64_t expected, dacm_written_fn *fn, void *arg);

/** Writes u/GPSI → asset_id for count users at once; fn runs when all are in. */
void dacm_index_users(store *db, const store_executor *executor, const char *asset_id,
    const char *const *gpsis, size_t count, int64_t now_s, dacm_written_fn *fn, void *arg);

#endif
