/* SPDX-License-Identifier: Apache-2.0 */
/* Reading records: one, or a page of them. */
#include "lmdb_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static store_progress not_readable(store_op *op, const lmdb_env *env, int rc)
{
    lmdb_status(&op->status, env, rc, "cannot read");
    return STORE_READY;
}

store_progress lmdb_generation(store *base, rpc_bytes group, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_key key;
    lmdb_pin *pin;
    lmdb_key_group(group, false, &key);
    int rc = lmdb_pin_acquire(&self->meta, &pin);
    if (rc)
        return not_readable(op, &self->meta, rc);
    rc = lmdb_read_generation(pin->txn, &self->meta, &key, &op->generation);
    lmdb_pin_release(pin);
    return rc ? not_readable(op, &self->meta, rc) : STORE_READY;
}

static int get_in(lmdb_store *self, MDB_txn *txn, rpc_bytes group, rpc_bytes item, store_op *op)
{
    lmdb_key key;
    lmdb_key_group(group, false, &key);
    int rc = lmdb_read_generation(txn, &self->meta, &key, &op->generation);
    if (rc)
        return rc;
    lmdb_key_item(group, item, &key);
    MDB_val at = lmdb_val(key.data, key.size), value;
    rc = mdb_get(txn, self->meta.records, &at, &value);
    if (!rc)
        op->view.bytes = rpc_bytes_of(value.mv_data, value.mv_size);
    return rc;
}

store_progress lmdb_get(store *base, rpc_bytes group, rpc_bytes item, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_pin *pin;
    int rc = lmdb_pin_acquire(&self->meta, &pin);
    if (rc)
        return not_readable(op, &self->meta, rc);
    rc = get_in(self, pin->txn, group, item, op);
    if (!rc) {
        op->view.pin = pin;
        return STORE_READY;
    }
    lmdb_pin_release(pin);
    if (rc != MDB_NOTFOUND)
        return not_readable(op, &self->meta, rc);
    rpc_status_set(&op->status, RPC_NOT_FOUND, "store: no such record");
    return STORE_READY;
}

/* A scan runs twice over the same records of one transaction: to measure, then to copy. */
typedef struct page_scan {
    const store_scan_request *request;
    lmdb_key prefix;
    MDB_cursor *cursor;
    size_t count, bytes;
    bool more;
    store_cursor last;
    store_entry *entries; /* NULL while measuring */
    uint8_t *at;
} page_scan;

static void copy_entry(page_scan *scan, MDB_val key, size_t group_key_size, MDB_val value)
{
    store_entry *entry = &scan->entries[scan->count];
    const uint8_t *data = key.mv_data;
    entry->group.data = scan->at;
    entry->group.size = lmdb_key_decode_group(data, group_key_size, scan->at);
    scan->at += entry->group.size;
    entry->item = rpc_bytes_of(scan->at, key.mv_size - group_key_size);
    memcpy(scan->at, data + group_key_size, entry->item.size);
    scan->at += entry->item.size;
    entry->value = rpc_bytes_of(scan->at, value.mv_size);
    if (value.mv_size)
        memcpy(scan->at, value.mv_data, value.mv_size);
    scan->at += value.mv_size;
}

/* The first key after all of a group: its closing 00 01 made 00 02. */
static int seek_after_group(page_scan *scan, const uint8_t *key, size_t group_key_size,
    MDB_val *ret_key, MDB_val *ret_value)
{
    lmdb_key next;
    next.size = group_key_size;
    memcpy(next.data, key, group_key_size);
    next.data[group_key_size - 1] = 0x02;
    *ret_key = lmdb_val(next.data, next.size);
    return mdb_cursor_get(scan->cursor, ret_key, ret_value, MDB_SET_RANGE);
}

static int scan_start(page_scan *scan, MDB_val *ret_key, MDB_val *ret_value)
{
    const store_cursor *after = scan->request->after;
    if (!after || !after->size) {
        *ret_key = lmdb_val(scan->prefix.data, scan->prefix.size);
        return mdb_cursor_get(
            scan->cursor, ret_key, ret_value, scan->prefix.size ? MDB_SET_RANGE : MDB_FIRST);
    }
    *ret_key = lmdb_val(after->key, after->size);
    if (scan->request->one_per_group)
        return seek_after_group(
            scan, after->key, lmdb_key_group_size(*ret_key), ret_key, ret_value);
    int rc = mdb_cursor_get(scan->cursor, ret_key, ret_value, MDB_SET_RANGE);
    if (!rc && ret_key->mv_size == after->size &&
        memcmp(ret_key->mv_data, after->key, after->size) == 0)
        rc = mdb_cursor_get(scan->cursor, ret_key, ret_value, MDB_NEXT);
    return rc;
}

static bool page_is_full(const page_scan *scan, size_t entry_bytes)
{
    return scan->count && (scan->count == scan->request->entries_max ||
                              scan->bytes + entry_bytes > scan->request->bytes_max);
}

static int scan_pass(page_scan *scan)
{
    MDB_val key, value;
    scan->count = 0;
    scan->bytes = 0;
    scan->last.size = 0;
    if (scan->request->after)
        scan->last = *scan->request->after;
    int rc = scan_start(scan, &key, &value);
    while (!rc && lmdb_starts_with(key, scan->prefix.data, scan->prefix.size)) {
        size_t group_key_size = lmdb_key_group_size(key);
        if (!group_key_size || key.mv_size > LMDB_KEY_MAX ||
            !lmdb_comes_after(key, scan->last.key, scan->last.size))
            return MDB_CORRUPTED;
        scan->more = page_is_full(scan, key.mv_size + value.mv_size);
        if (scan->more)
            return 0;
        if (scan->entries)
            copy_entry(scan, key, group_key_size, value);
        scan->count++;
        scan->bytes += key.mv_size + value.mv_size;
        scan->last.size = (uint16_t)key.mv_size;
        memcpy(scan->last.key, key.mv_data, key.mv_size);
        if (scan->request->one_per_group)
            rc = seek_after_group(scan, scan->last.key, group_key_size, &key, &value);
        else
            rc = mdb_cursor_get(scan->cursor, &key, &value, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int scan_page(page_scan *scan, store_page **ret_page)
{
    int rc = scan_pass(scan);
    if (rc)
        return rc;
    store_page *page = malloc(sizeof *page + scan->count * sizeof(store_entry) + scan->bytes);
    if (!page)
        return ENOMEM;
    memset(page, 0, sizeof *page);
    scan->entries = (store_entry *)(page + 1);
    scan->at = (uint8_t *)(scan->entries + scan->count);
    rc = scan_pass(scan);
    if (rc) {
        free(page);
        return rc;
    }
    page->entries = scan->entries;
    page->count = scan->count;
    page->more = scan->more;
    if (page->more)
        page->next = scan->last;
    *ret_page = page;
    return 0;
}

static int scan_in(lmdb_store *self, MDB_txn *txn, page_scan *scan, store_op *op)
{
    lmdb_key group;
    int rc = 0;
    if (!scan->request->group_is_prefix) {
        lmdb_key_group(scan->request->group, false, &group);
        rc = lmdb_read_generation(txn, &self->meta, &group, &op->generation);
    }
    if (!rc)
        rc = mdb_cursor_open(txn, self->meta.records, &scan->cursor);
    if (rc)
        return rc;
    rc = scan_page(scan, &op->page);
    mdb_cursor_close(scan->cursor);
    return rc;
}

static bool cursor_belongs(const page_scan *scan)
{
    const store_cursor *after = scan->request->after;
    if (!after || !after->size)
        return true;
    MDB_val key = lmdb_val(after->key, after->size);
    return lmdb_starts_with(key, scan->prefix.data, scan->prefix.size) && lmdb_key_group_size(key);
}

store_progress lmdb_scan(store *base, const store_scan_request *request, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    page_scan scan = {.request = request};
    lmdb_pin *pin;
    if (request->group_is_prefix)
        lmdb_key_group(request->group, true, &scan.prefix);
    else
        lmdb_key_item(request->group, request->item_prefix, &scan.prefix);
    if (!cursor_belongs(&scan)) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the cursor is not one of this scan; start again without a cursor");
        return STORE_READY;
    }
    int rc = lmdb_pin_acquire(&self->meta, &pin);
    if (rc)
        return not_readable(op, &self->meta, rc);
    rc = scan_in(self, pin->txn, &scan, op);
    lmdb_pin_release(pin);
    return rc ? not_readable(op, &self->meta, rc) : STORE_READY;
}
