/* SPDX-License-Identifier: Apache-2.0 */
#include "changes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- changes ---- */

static void free_bytes(rpc_bytes bytes)
{
    /* Owned by us since it was copied or packed; rpc_bytes is const for its borrowers. */
    free((void *)(uintptr_t)bytes.data);
}

void dacm_changes_done(dacm_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        free_bytes(changes->list[i].item);
        free_bytes(changes->list[i].value);
    }
    free(changes->list);
    *changes = (dacm_changes){0};
}

static rpc_bytes copy_bytes(rpc_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size + 1);
    if (copy && bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    return rpc_bytes_of(copy, copy ? bytes.size : 0);
}

/* Takes value. */
static void add(dacm_changes *changes, store_change_kind kind, host_key item, rpc_bytes value)
{
    if (changes->count == changes->room && !changes->failed) {
        size_t room = changes->room ? changes->room * 2 : 8;
        store_change *list = realloc(changes->list, room * sizeof *list);
        if (list) {
            changes->list = list;
            changes->room = room;
        }
        changes->failed = !list;
    }
    rpc_bytes name = copy_bytes(host_key_bytes(&item));
    changes->failed = changes->failed || !name.data || (kind == STORE_PUT && !value.data);
    if (changes->failed) {
        free_bytes(name);
        free_bytes(value);
        return;
    }
    changes->list[changes->count++] = (store_change){kind, name, value};
}

void dacm_changes_put(dacm_changes *changes, host_key item, const ProtobufCMessage *record)
{
    add(changes, STORE_PUT, item, host_record_pack(record));
}

void dacm_changes_put_bytes(dacm_changes *changes, host_key item, rpc_bytes value)
{
    add(changes, STORE_PUT, item, copy_bytes(value));
}

void dacm_changes_delete(dacm_changes *changes, host_key item)
{
    add(changes, STORE_DELETE, item, rpc_bytes_of(NULL, 0));
}

void dacm_changes_delete_prefix(dacm_changes *changes, host_key item)
{
    add(changes, STORE_DELETE_PREFIX, item, rpc_bytes_of(NULL, 0));
}

void dacm_put_version(dacm_changes *changes, host_key item, Dacm__Records__Version *record,
    const dacm_page *pages, size_t page_count)
{
    Dacm__Records__ListPage *records = calloc(page_count + 1, sizeof *records);
    Dacm__Records__ListPage **list = calloc(page_count + 1, sizeof *list);
    for (size_t i = 0; records && list && i < page_count; i++) {
        dacm__records__list_page__init(&records[i]);
        records[i].sha256 = (ProtobufCBinaryData){
            DACM_DIGEST_BYTES, (uint8_t *)(uintptr_t)pages[i].sha256};
        records[i].entries = pages[i].entries;
        list[i] = &records[i];
    }
    record->n_pages = page_count;
    record->pages = list;
    if (records && list)
        dacm_changes_put(changes, item, &record->base);
    else
        changes->failed = true;
    record->n_pages = 0;
    record->pages = NULL;
    free(records);
    free(list);
}

void dacm_put_grant(dacm_changes *changes, const dacm_grant *grant)
{
    Dacm__Records__Grant record = DACM__RECORDS__GRANT__INIT;
    record.operations = grant->operations;
    record.gpsi = (char *)(uintptr_t)grant->gpsi;
    dacm_changes_put(changes, dacm_key_grant(grant->gpsi), &record.base);
}

struct apply {
    store_op op;
    store_executor executor;
    dacm_written_fn *fn;
    void *arg;
};

static void applied(struct apply *apply)
{
    rpc_status status = apply->op.status;
    uint64_t generation = apply->op.generation;
    dacm_written_fn *fn = apply->fn;
    void *arg = apply->arg;
    free(apply);
    fn(arg, &status, generation);
}

static void on_applied(store_op *op)
{
    applied(op->ctx);
}

void dacm_changes_apply(dacm_changes *changes, store *db, const store_executor *executor,
    host_key group, uint64_t expected, dacm_written_fn *fn, void *arg)
{
    struct apply *apply = changes->failed ? NULL : calloc(1, sizeof *apply);
    if (!apply) {
        rpc_status status;
        dacm_changes_done(changes);
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "store: no memory to collect a change");
        fn(arg, &status, 0);
        return;
    }
    if (executor)
        apply->executor = *executor;
    apply->fn = fn;
    apply->arg = arg;
    apply->op = (store_op){
        .done = on_applied, .ctx = apply, .executor = executor ? &apply->executor : NULL};
    store_progress progress = store_update(
        db, host_key_bytes(&group), expected, changes->list, changes->count, &apply->op);
    dacm_changes_done(changes);
    if (progress == STORE_READY)
        applied(apply);
}

/* ---- index entries: written side by side, since each is a group of its own ---- */

struct index {
    pthread_mutex_t lock; /* completions may come from several threads */
    size_t left;
    rpc_status status;
    dacm_written_fn *fn;
    void *arg;
};

static void index_one_done(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    struct index *index = arg;
    pthread_mutex_lock(&index->lock);
    if (status->code != RPC_OK && index->status.code == RPC_OK)
        index->status = *status;
    bool last = --index->left == 0;
    pthread_mutex_unlock(&index->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&index->lock);
    index->fn(index->arg, &index->status, 0);
    free(index);
}

static void index_one(struct index *index, store *db, const store_executor *executor,
    host_key asset, const char *gpsi, const Dacm__Records__Indexed *record)
{
    dacm_changes changes = {0};
    dacm_changes_put(&changes, asset, &record->base);
    dacm_changes_apply(
        &changes, db, executor, dacm_key_user(gpsi), STORE_ANY_GENERATION, index_one_done, index);
}

void dacm_index_users(store *db, const store_executor *executor, const char *asset_id,
    const char *const *gpsis, size_t count, int64_t now_s, dacm_written_fn *fn, void *arg)
{
    struct index *index = calloc(1, sizeof *index);
    if (!index) {
        rpc_status status;
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "store: no memory to index an asset");
        fn(arg, &status, 0);
        return;
    }
    pthread_mutex_init(&index->lock, NULL);
    index->left = count + 1; /* one for this function, so that none is the last too early */
    index->fn = fn;
    index->arg = arg;
    Dacm__Records__Indexed record = DACM__RECORDS__INDEXED__INIT;
    record.created_at = now_s;
    host_key item = {.size = strlen(asset_id)};
    memcpy(item.data, asset_id, item.size);
    for (size_t i = 0; i < count; i++)
        index_one(index, db, executor, item, gpsis[i], &record);
    index_one_done(index, &(rpc_status){.code = RPC_OK}, 0);
}
