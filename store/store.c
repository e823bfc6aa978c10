/* SPDX-License-Identifier: Apache-2.0 */
/* The gate in front of every implementation: bounds are checked here, once. */
#include "store_impl.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_ENTRIES_MAX     4096u
#define SCAN_ENTRIES_DEFAULT 256u
#define SCAN_BYTES_MAX       (16u << 20)
#define SCAN_BYTES_DEFAULT   (1u << 20)

void store_base_init(store *s, const store_ops *ops)
{
    s->ops = ops;
    s->watchers = 0;
    pthread_mutex_init(&s->watch_mutex, NULL);
}

void store_base_done(store *s)
{
    pthread_mutex_destroy(&s->watch_mutex);
}

void store_tell_watchers(store *s, rpc_bytes group, uint64_t generation)
{
    pthread_mutex_lock(&s->watch_mutex);
    for (size_t i = 0; i < s->watchers; i++)
        s->watcher[i].fn(s->watcher[i].ctx, group, generation);
    pthread_mutex_unlock(&s->watch_mutex);
}

static void run_done(void *arg)
{
    store_op *op = arg;
    op->done(op);
}

void store_complete(store_op *op)
{
    if (op->executor)
        op->executor->post(op->executor->ctx, run_done, op);
    else
        op->done(op);
}

static void op_begin(store_op *op)
{
    op->status.code = RPC_OK;
    op->status.message[0] = '\0';
    op->generation = 0;
    op->view = (store_view){0};
    op->page = NULL;
    op->size = 0;
    op->put_ms = 0;
    op->mended = false;
    op->dropped = 0;
    op->kept = 0;
}

static bool bytes_ok(rpc_bytes bytes, size_t max, const char *what, store_op *op)
{
    if (bytes.size > max || (bytes.size && !bytes.data)) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: %s has %zu bytes; at most %zu are allowed", what, bytes.size, max);
        return false;
    }
    return true;
}

static bool group_ok(rpc_bytes group, bool may_be_empty, store_op *op)
{
    if (!bytes_ok(group, STORE_GROUP_BYTES_MAX, "the group", op))
        return false;
    size_t encoded = group.size;
    for (size_t i = 0; i < group.size; i++)
        encoded += group.data[i] == 0;
    if (encoded > STORE_GROUP_BYTES_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the group has %zu bytes, zero bytes counted twice; at most %d are allowed",
            encoded, STORE_GROUP_BYTES_MAX);
        return false;
    }
    if (!group.size && !may_be_empty) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the group is empty; name one of 1 to %d bytes", STORE_GROUP_BYTES_MAX);
        return false;
    }
    return true;
}

static bool entries_ok(uint32_t *entries_max, store_op *op)
{
    if (*entries_max > SCAN_ENTRIES_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: a page of %u entries was asked for; at most %u are allowed", *entries_max,
            SCAN_ENTRIES_MAX);
        return false;
    }
    if (!*entries_max)
        *entries_max = SCAN_ENTRIES_DEFAULT;
    return true;
}

static bool cursor_ok(const store_cursor *cursor, store_op *op)
{
    if (!cursor || cursor->size <= sizeof cursor->key)
        return true;
    rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
        "store: the cursor is not one that a scan gave; start again without a cursor");
    return false;
}

void store_view_release(store_view *view)
{
    store_pin *pin = view->pin;
    *view = (store_view){0};
    if (pin)
        pin->release(pin);
}

void store_page_free(store_page *page)
{
    free(page);
}

store_progress store_get(store *s, rpc_bytes group, rpc_bytes item, store_op *op)
{
    op_begin(op);
    if (!group_ok(group, false, op) || !bytes_ok(item, STORE_ITEM_BYTES_MAX, "the item", op))
        return STORE_READY;
    return s->ops->get(s, group, item, op);
}

store_progress store_scan(store *s, const store_scan_request *request, store_op *op)
{
    store_scan_request checked = *request;
    op_begin(op);
    if (!group_ok(request->group, request->group_is_prefix, op) ||
        !bytes_ok(request->item_prefix, STORE_ITEM_BYTES_MAX, "the item prefix", op) ||
        !entries_ok(&checked.entries_max, op) || !cursor_ok(request->after, op))
        return STORE_READY;
    if (request->group_is_prefix && request->item_prefix.size) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: a scan over groups takes no item prefix; scan one group, or leave it empty");
        return STORE_READY;
    }
    if (request->bytes_max > SCAN_BYTES_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: a page of %u bytes was asked for; at most %u are allowed", request->bytes_max,
            SCAN_BYTES_MAX);
        return STORE_READY;
    }
    if (!checked.bytes_max)
        checked.bytes_max = SCAN_BYTES_DEFAULT;
    return s->ops->scan(s, &checked, op);
}

store_progress store_generation(store *s, rpc_bytes group, store_op *op)
{
    op_begin(op);
    if (!group_ok(group, false, op))
        return STORE_READY;
    return s->ops->generation(s, group, op);
}

static bool change_ok(const store_change *change, store_op *op)
{
    if (change->kind != STORE_PUT && change->kind != STORE_DELETE &&
        change->kind != STORE_DELETE_PREFIX) {
        rpc_status_set(
            &op->status, RPC_INVALID_ARGUMENT, "store: change kind %d is none", (int)change->kind);
        return false;
    }
    return bytes_ok(change->item, STORE_ITEM_BYTES_MAX, "the item", op) &&
           (change->kind != STORE_PUT ||
               bytes_ok(change->value, STORE_VALUE_BYTES_MAX, "the value", op));
}

static bool changes_ok(const store_change *changes, size_t count, store_op *op)
{
    size_t bytes = 0;
    if (count < 1 || count > STORE_CHANGES_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the update has %zu changes; 1 to %u are allowed", count, STORE_CHANGES_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!change_ok(&changes[i], op))
            return false;
        bytes += changes[i].item.size;
        if (changes[i].kind == STORE_PUT)
            bytes += changes[i].value.size;
    }
    if (bytes > STORE_UPDATE_BYTES_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the update has %zu bytes; at most %u are allowed; split it", bytes,
            STORE_UPDATE_BYTES_MAX);
        return false;
    }
    return true;
}

store_progress store_update(store *s, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op)
{
    op_begin(op);
    if (!group_ok(group, false, op) || !changes_ok(changes, count, op))
        return STORE_READY;
    return s->ops->update(s, group, expected, changes, count, op);
}

rpc_code store_watch(store *s, store_watch_fn *fn, void *ctx, rpc_status *reterr)
{
    bool added = false;
    pthread_mutex_lock(&s->watch_mutex);
    if (s->watchers < STORE_WATCHERS_MAX) {
        s->watcher[s->watchers].fn = fn;
        s->watcher[s->watchers].ctx = ctx;
        s->watchers++;
        added = true;
    }
    pthread_mutex_unlock(&s->watch_mutex);
    if (added)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "store: %d watchers are there already; remove one with store_unwatch()",
        STORE_WATCHERS_MAX);
}

void store_unwatch(store *s, store_watch_fn *fn, void *ctx)
{
    pthread_mutex_lock(&s->watch_mutex);
    for (size_t i = 0; i < s->watchers; i++) {
        if (s->watcher[i].fn != fn || s->watcher[i].ctx != ctx)
            continue;
        s->watchers--;
        memmove(&s->watcher[i], &s->watcher[i + 1], (s->watchers - i) * sizeof s->watcher[0]);
        break;
    }
    pthread_mutex_unlock(&s->watch_mutex);
}

store_progress store_chunk_put(store *s, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op)
{
    op_begin(op);
    if (!bytes_ok(bytes, STORE_CHUNK_BYTES_MAX, "the chunk", op))
        return STORE_READY;
    if (!bytes.size) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the chunk is empty; chunks have 1 to %u bytes", STORE_CHUNK_BYTES_MAX);
        return STORE_READY;
    }
    return s->ops->chunk_put(s, ref, bytes, op);
}

store_progress store_chunk_refresh(store *s, const store_chunk_ref *ref, store_op *op)
{
    op_begin(op);
    return s->ops->chunk_put(s, ref, (rpc_bytes){NULL, 0}, op);
}

store_progress store_chunk_has(store *s, const store_chunk_ref *ref, store_op *op)
{
    op_begin(op);
    return s->ops->chunk_has(s, ref, op);
}

store_progress store_read(
    store *s, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_op *op)
{
    op_begin(op);
    return s->ops->read(s, ref, offset, length, op);
}

store_progress store_chunk_scan(store *s, const uint8_t uid[STORE_UID_BYTES],
    const store_cursor *after, uint32_t entries_max, store_op *op)
{
    op_begin(op);
    if (!cursor_ok(after, op) || !entries_ok(&entries_max, op))
        return STORE_READY;
    return s->ops->chunk_scan(s, uid, after, entries_max, op);
}

store_progress store_chunk_scan_assets(
    store *s, const store_cursor *after, uint32_t entries_max, store_op *op)
{
    return store_chunk_scan(s, NULL, after, entries_max, op);
}

store_progress store_chunk_drop(store *s, const uint8_t uid[STORE_UID_BYTES],
    const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count, int64_t older_than_ms, store_op *op)
{
    op_begin(op);
    if (count < 1 || count > STORE_DROPS_MAX) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: %zu chunks to drop; 1 to %u are allowed", count, STORE_DROPS_MAX);
        return STORE_READY;
    }
    return s->ops->chunk_drop(s, uid, digests, count, older_than_ms, op);
}

rpc_code store_stat(store *s, store_stats *ret_stats, rpc_status *reterr)
{
    return s->ops->stat(s, ret_stats, reterr);
}

void store_close(store *s)
{
    if (s)
        s->ops->close(s);
}
