/* SPDX-License-Identifier: Apache-2.0 */
/* Updates of records: the request that is queued, and what the writer thread does with it. */
#include "lmdb_store.h"

#include <stdlib.h>
#include <string.h>

int lmdb_read_generation(
    MDB_txn *txn, const lmdb_env *meta, const lmdb_key *group_key, uint64_t *ret_generation)
{
    MDB_val key = lmdb_val(group_key->data, group_key->size), value;
    int rc = mdb_get(txn, meta->generations, &key, &value);
    if (rc == MDB_NOTFOUND) {
        *ret_generation = 0;
        return 0;
    }
    if (rc)
        return rc;
    if (value.mv_size != 8)
        return MDB_CORRUPTED;
    *ret_generation = lmdb_get_u64(value.mv_data);
    return 0;
}

static int write_generation(
    MDB_txn *txn, const lmdb_env *meta, const lmdb_key *group_key, uint64_t generation)
{
    uint8_t bytes[8];
    MDB_val key = lmdb_val(group_key->data, group_key->size), value = lmdb_val(bytes, 8);
    lmdb_put_u64(bytes, generation);
    return mdb_put(txn, meta->generations, &key, &value, 0);
}

int lmdb_delete_some(
    MDB_txn *txn, MDB_dbi dbi, const lmdb_key *prefix, size_t limit, bool *ret_more)
{
    MDB_cursor *cursor;
    MDB_val key = lmdb_val(prefix->data, prefix->size), value;
    size_t deleted = 0;
    bool more = false;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && lmdb_starts_with(key, prefix->data, prefix->size)) {
        more = deleted++ == limit;
        if (more)
            break;
        rc = mdb_cursor_del(cursor, 0);
        if (!rc) {
            key = lmdb_val(prefix->data, prefix->size);
            rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        }
    }
    mdb_cursor_close(cursor);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    *ret_more = more;
    return 0;
}

static void change_key(const lmdb_request *request, const store_change *change, lmdb_key *ret_key)
{
    *ret_key = request->group_key;
    if (change->item.size)
        memcpy(ret_key->data + ret_key->size, change->item.data, change->item.size);
    ret_key->size += change->item.size;
}

/* A deletion may only be spread over transactions when nothing after it in the same update puts
 * records where it would still delete. */
static bool may_spread(const lmdb_request *request, size_t index)
{
    const rpc_bytes prefix = request->changes[index].item;
    for (size_t i = index + 1; i < request->count; i++) {
        const store_change *later = &request->changes[i];
        if (later->kind == STORE_PUT &&
            lmdb_starts_with(
                lmdb_val(later->item.data, later->item.size), prefix.data, prefix.size))
            return false;
    }
    return true;
}

static int delete_prefix(
    lmdb_store *self, MDB_txn *txn, lmdb_request *request, size_t index, const lmdb_key *prefix)
{
    MDB_val key = lmdb_val(prefix->data, prefix->size), nothing = {0, NULL};
    size_t limit = may_spread(request, index) ? LMDB_DELETE_SLICE : SIZE_MAX;
    bool more;
    int rc = lmdb_delete_some(txn, self->meta.records, prefix, limit, &more);
    if (rc || !more)
        return rc;
    request->deletions[request->deletions_made++].prefix = *prefix;
    return mdb_put(txn, self->meta.deletions, &key, &nothing, 0);
}

static int apply_change(lmdb_store *self, MDB_txn *txn, lmdb_request *request, size_t index)
{
    const store_change *change = &request->changes[index];
    lmdb_key item;
    change_key(request, change, &item);
    if (change->kind == STORE_DELETE_PREFIX)
        return delete_prefix(self, txn, request, index, &item);
    MDB_val key = lmdb_val(item.data, item.size);
    if (change->kind == STORE_DELETE) {
        int rc = mdb_del(txn, self->meta.records, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    MDB_val value = lmdb_val(change->value.data, change->value.size);
    return mdb_put(txn, self->meta.records, &key, &value, 0);
}

int lmdb_apply_update(lmdb_store *self, MDB_txn *txn, lmdb_request *request)
{
    uint64_t generation;
    store_op *op = request->op;
    request->deletions_made = 0;
    int rc = lmdb_read_generation(txn, &self->meta, &request->group_key, &generation);
    if (rc)
        return rc;
    if (request->expected != STORE_ANY_GENERATION && request->expected != generation) {
        op->generation = generation;
        rpc_status_set(&op->status, RPC_ABORTED,
            "store: the group has generation %llu, not the expected %llu; read it again and "
            "decide anew",
            (unsigned long long)generation, (unsigned long long)request->expected);
        return 0;
    }
    for (size_t i = 0; i < request->count && !rc; i++)
        rc = apply_change(self, txn, request, i);
    if (!rc)
        rc = write_generation(txn, &self->meta, &request->group_key, generation + 1);
    if (!rc)
        op->generation = generation + 1;
    return rc;
}

static rpc_bytes copy_bytes(uint8_t **at, rpc_bytes bytes)
{
    rpc_bytes copy = {*at, bytes.size};
    if (bytes.size)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return copy;
}

static lmdb_request *request_new(rpc_bytes group, const store_change *changes, size_t count)
{
    size_t bytes = group.size, prefixes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += changes[i].item.size;
        bytes += changes[i].kind == STORE_PUT ? changes[i].value.size : 0;
        prefixes += changes[i].kind == STORE_DELETE_PREFIX;
    }
    lmdb_request *request = malloc(
        sizeof *request + prefixes * sizeof(lmdb_deletion) + count * sizeof(store_change) + bytes);
    if (!request)
        return NULL;
    memset(request, 0, sizeof *request);
    request->bytes = bytes;
    request->count = count;
    request->deletions = (lmdb_deletion *)(request + 1);
    request->deletions_max = prefixes;
    request->changes = (store_change *)(request->deletions + prefixes);
    uint8_t *at = (uint8_t *)(request->changes + count);
    request->group = copy_bytes(&at, group);
    for (size_t i = 0; i < count; i++) {
        request->changes[i].kind = changes[i].kind;
        request->changes[i].item = copy_bytes(&at, changes[i].item);
        request->changes[i].value = (rpc_bytes){NULL, 0};
        if (changes[i].kind == STORE_PUT)
            request->changes[i].value = copy_bytes(&at, changes[i].value);
    }
    return request;
}

store_progress lmdb_update(store *base, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_request *request = request_new(group, changes, count);
    if (!request)
        return lmdb_out_of_memory(op);
    request->op = op;
    request->kind = LMDB_UPDATE;
    request->expected = expected;
    lmdb_key_group(group, false, &request->group_key);
    return lmdb_writer_submit(&self->meta_writer, request);
}
