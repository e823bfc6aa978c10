/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks: put, dropped, listed, and found for reading. */
#include "lmdb_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct chunk_put {
    uint64_t size;
    int64_t put_ms;
} chunk_put;

static int parse_put(MDB_val value, chunk_put *ret_put)
{
    const uint8_t *data = value.mv_data;
    if (value.mv_size != LMDB_PUT_BYTES)
        return MDB_CORRUPTED;
    ret_put->size = lmdb_get_u64(data);
    ret_put->put_ms = (int64_t)lmdb_get_u64(data + 8);
    return 0;
}

static int get_put(const lmdb_env *chunks, MDB_txn *txn, const uint8_t *key, chunk_put *ret_put)
{
    MDB_val at = lmdb_val(key, LMDB_CHUNK_KEY), value;
    int rc = mdb_get(txn, chunks->puts, &at, &value);
    return rc ? rc : parse_put(value, ret_put);
}

static int set_put(const lmdb_env *chunks, MDB_txn *txn, const uint8_t *key, const chunk_put *put)
{
    uint8_t bytes[LMDB_PUT_BYTES];
    MDB_val at = lmdb_val(key, LMDB_CHUNK_KEY), value = lmdb_val(bytes, sizeof bytes);
    lmdb_put_u64(bytes, put->size);
    lmdb_put_u64(bytes + 8, (uint64_t)put->put_ms);
    return mdb_put(txn, chunks->puts, &at, &value, 0);
}

static int put_bytes(lmdb_env *env, MDB_txn *txn, lmdb_request *request)
{
    MDB_val key = lmdb_val(request->chunk, LMDB_CHUNK_KEY);
    MDB_val value = lmdb_val(request->chunk_bytes.data, request->chunk_bytes.size);
    return mdb_put(txn, env->chunks, &key, &value, 0);
}

/* What is promised is durable: bytes that rotted since the first put are not what was hashed. */
static int mend(lmdb_env *env, MDB_txn *txn, lmdb_request *request)
{
    MDB_val key = lmdb_val(request->chunk, LMDB_CHUNK_KEY), there;
    const int rc = mdb_get(txn, env->chunks, &key, &there);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (rc == 0 &&
        rpc_bytes_equal(rpc_bytes_of(there.mv_data, there.mv_size), request->chunk_bytes))
        return 0;
    request->op->mended = true;
    return put_bytes(env, txn, request);
}

static int put_again(lmdb_env *env, MDB_txn *txn, lmdb_request *request, chunk_put *put)
{
    if (request->chunk_bytes.data && request->chunk_bytes.size != put->size) {
        rpc_status_set(&request->op->status, RPC_INVALID_ARGUMENT,
            "store: a chunk of %llu bytes has this digest already, not of %zu; hash the bytes "
            "again",
            (unsigned long long)put->size, request->chunk_bytes.size);
        return 0;
    }
    const int rc = request->chunk_bytes.data ? mend(env, txn, request) : 0;
    if (rc)
        return rc;
    if (put->put_ms < request->time_ms)
        put->put_ms = request->time_ms;
    request->op->put_ms = put->put_ms;
    return set_put(env, txn, request->chunk, put);
}

static int apply_put(lmdb_env *env, MDB_txn *txn, lmdb_request *request)
{
    chunk_put put;
    int rc = get_put(env, txn, request->chunk, &put);
    if (rc == 0)
        return put_again(env, txn, request, &put);
    if (rc != MDB_NOTFOUND)
        return rc;
    if (!request->chunk_bytes.data) {
        rpc_status_set(&request->op->status, RPC_NOT_FOUND, "store: no such chunk; put it");
        return 0;
    }
    put.size = request->chunk_bytes.size;
    put.put_ms = request->time_ms;
    rc = put_bytes(env, txn, request);
    if (!rc)
        rc = set_put(env, txn, request->chunk, &put);
    request->op->put_ms = put.put_ms;
    return rc;
}

static int drop_one(lmdb_env *env, MDB_txn *txn, lmdb_request *request, const uint8_t *key)
{
    chunk_put put;
    MDB_val at = lmdb_val(key, LMDB_CHUNK_KEY);
    int rc = get_put(env, txn, key, &put);
    if (rc)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (put.put_ms >= request->time_ms) {
        request->op->kept++;
        return 0;
    }
    rc = mdb_del(txn, env->puts, &at, NULL);
    if (!rc)
        rc = mdb_del(txn, env->chunks, &at, NULL);
    if (!rc)
        request->op->dropped++;
    return rc;
}

static int apply_drop(lmdb_env *env, MDB_txn *txn, lmdb_request *request)
{
    uint8_t key[LMDB_CHUNK_KEY];
    memcpy(key, request->chunk, STORE_UID_BYTES);
    for (size_t i = 0; i < request->count; i++) {
        memcpy(
            key + STORE_UID_BYTES, request->digests + i * STORE_DIGEST_BYTES, STORE_DIGEST_BYTES);
        int rc = drop_one(env, txn, request, key);
        if (rc)
            return rc;
    }
    return 0;
}

int lmdb_apply_chunk(lmdb_store *self, MDB_txn *txn, lmdb_request *request)
{
    if (request->kind == LMDB_CHUNK_PUT)
        return apply_put(&self->chunks, txn, request);
    return apply_drop(&self->chunks, txn, request);
}

static void ref_key(const store_chunk_ref *ref, uint8_t *ret_key)
{
    memcpy(ret_key, ref->uid, STORE_UID_BYTES);
    memcpy(ret_key + STORE_UID_BYTES, ref->digest, STORE_DIGEST_BYTES);
}

store_progress lmdb_chunk_put(
    store *base, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_request *request = calloc(1, sizeof *request);
    if (!request)
        return lmdb_out_of_memory(op);
    request->op = op;
    request->kind = LMDB_CHUNK_PUT;
    request->bytes = bytes.size;
    request->chunk_bytes = bytes;
    request->time_ms = rpc_clock_wall_ms(self->clock);
    ref_key(ref, request->chunk);
    return lmdb_writer_submit(&self->chunks_writer, request);
}

store_progress lmdb_chunk_drop(store *base, const uint8_t *uid,
    const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count, int64_t older_than_ms, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_request *request = malloc(sizeof *request + count * STORE_DIGEST_BYTES);
    if (!request)
        return lmdb_out_of_memory(op);
    memset(request, 0, sizeof *request);
    request->op = op;
    request->kind = LMDB_CHUNK_DROP;
    request->count = count;
    request->bytes = count * 1024; /* a guess at what it dirties */
    request->time_ms = older_than_ms;
    request->digests = (uint8_t *)(request + 1);
    memcpy(request->digests, digests, count * STORE_DIGEST_BYTES);
    memcpy(request->chunk, uid, STORE_UID_BYTES);
    return lmdb_writer_submit(&self->chunks_writer, request);
}

static store_progress chunk_failed(store_op *op, const lmdb_env *env, int rc)
{
    if (rc == MDB_NOTFOUND)
        rpc_status_set(&op->status, RPC_NOT_FOUND, "store: no such chunk");
    else
        lmdb_status(&op->status, env, rc, "cannot read");
    return STORE_READY;
}

store_progress lmdb_chunk_has(store *base, const store_chunk_ref *ref, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    uint8_t key[LMDB_CHUNK_KEY];
    chunk_put put;
    lmdb_pin *pin;
    ref_key(ref, key);
    int rc = lmdb_pin_acquire(&self->chunks, &pin);
    if (rc)
        return chunk_failed(op, &self->chunks, rc);
    rc = get_put(&self->chunks, pin->txn, key, &put);
    lmdb_pin_release(pin);
    if (rc)
        return chunk_failed(op, &self->chunks, rc);
    op->size = put.size;
    op->put_ms = put.put_ms;
    return STORE_READY;
}

static bool cut_view(MDB_val value, uint64_t offset, uint64_t length, store_op *op)
{
    op->size = value.mv_size;
    if (offset > op->size || (length != STORE_TO_END && length > op->size - offset)) {
        rpc_status_set(&op->status, RPC_OUT_OF_RANGE,
            "store: the chunk has %llu bytes; ask for a part within", (unsigned long long)op->size);
        return false;
    }
    if (length == STORE_TO_END)
        length = op->size - offset;
    op->view.bytes = rpc_bytes_of((const uint8_t *)value.mv_data + offset, (size_t)length);
    return true;
}

store_progress lmdb_chunk_read(
    store *base, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    uint8_t key[LMDB_CHUNK_KEY];
    lmdb_pin *pin;
    ref_key(ref, key);
    MDB_val at = lmdb_val(key, sizeof key), value;
    int rc = lmdb_pin_acquire(&self->chunks, &pin);
    if (rc)
        return chunk_failed(op, &self->chunks, rc);
    rc = mdb_get(pin->txn, self->chunks.chunks, &at, &value);
    if (rc || !cut_view(value, offset, length, op)) {
        lmdb_pin_release(pin);
        return rc ? chunk_failed(op, &self->chunks, rc) : STORE_READY;
    }
    op->view.pin = pin;
    return lmdb_pool_read(&self->pool, op);
}

/* Steps to the key after the one in key; of assets, after all of that uid. */
static bool next_key(uint8_t *key, size_t size)
{
    while (size--) {
        if (++key[size])
            return true;
    }
    return false;
}

static int list_chunks(MDB_cursor *cursor, const uint8_t *uid, uint8_t *start, uint32_t entries_max,
    store_page *page, store_chunk_info *infos)
{
    MDB_val key = lmdb_val(start, LMDB_CHUNK_KEY), value;
    chunk_put put;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (!rc) {
        if (key.mv_size != LMDB_CHUNK_KEY ||
            !lmdb_comes_after(key, page->next.key, page->next.size))
            return MDB_CORRUPTED;
        if (uid && !lmdb_starts_with(key, uid, STORE_UID_BYTES))
            return 0;
        if (page->count == entries_max) {
            page->more = true;
            return 0;
        }
        store_chunk_info *info = &infos[page->count++];
        memset(info, 0, sizeof *info);
        memcpy(info->uid, key.mv_data, STORE_UID_BYTES);
        page->next.size = uid ? LMDB_CHUNK_KEY : STORE_UID_BYTES;
        memcpy(page->next.key, key.mv_data, page->next.size);
        if (uid) {
            rc = parse_put(value, &put);
            if (rc)
                return rc;
            memcpy(info->digest, (uint8_t *)key.mv_data + STORE_UID_BYTES, STORE_DIGEST_BYTES);
            info->size = put.size;
            info->put_ms = put.put_ms;
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
            continue;
        }
        memset(start, 0, LMDB_CHUNK_KEY);
        memcpy(start, info->uid, STORE_UID_BYTES);
        if (!next_key(start, STORE_UID_BYTES))
            return 0;
        key = lmdb_val(start, LMDB_CHUNK_KEY);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int chunk_page(
    lmdb_env *env, const uint8_t *uid, uint8_t *start, uint32_t entries_max, store_page **ret_page)
{
    MDB_cursor *cursor;
    lmdb_pin *pin;
    store_page *page = calloc(1, sizeof *page + entries_max * sizeof(store_chunk_info));
    if (!page)
        return ENOMEM;
    store_chunk_info *infos = (store_chunk_info *)(page + 1);
    page->chunks = infos;
    int rc = lmdb_pin_acquire(env, &pin);
    if (!rc) {
        rc = mdb_cursor_open(pin->txn, env->puts, &cursor);
        if (!rc) {
            rc = list_chunks(cursor, uid, start, entries_max, page, infos);
            mdb_cursor_close(cursor);
        }
        lmdb_pin_release(pin);
    }
    if (rc) {
        free(page);
        return rc;
    }
    if (!page->more)
        page->next.size = 0;
    *ret_page = page;
    return 0;
}

store_progress lmdb_chunk_scan(
    store *base, const uint8_t *uid, const store_cursor *after, uint32_t entries_max, store_op *op)
{
    lmdb_store *self = (lmdb_store *)base;
    uint8_t start[LMDB_CHUNK_KEY] = {0};
    size_t size = uid ? LMDB_CHUNK_KEY : STORE_UID_BYTES;
    bool from_cursor = after && after->size;
    if (uid)
        memcpy(start, uid, STORE_UID_BYTES);
    if (from_cursor &&
        (after->size != size || (uid && memcmp(after->key, uid, STORE_UID_BYTES) != 0))) {
        rpc_status_set(&op->status, RPC_INVALID_ARGUMENT,
            "store: the cursor is not one of this scan; start again without a cursor");
        return STORE_READY;
    }
    if (from_cursor)
        memcpy(start, after->key, size);
    bool none_follow = from_cursor && !next_key(start, size);
    if (none_follow) { /* all FF: only an empty page can follow */
        op->page = calloc(1, sizeof *op->page);
        return op->page ? STORE_READY : lmdb_out_of_memory(op);
    }
    int rc = chunk_page(&self->chunks, uid, start, entries_max, &op->page);
    if (rc)
        lmdb_status(&op->status, &self->chunks, rc, "cannot read");
    return STORE_READY;
}
