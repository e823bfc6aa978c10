/* SPDX-License-Identifier: Apache-2.0 */
/* A copy by ranges of keys, each in a transaction of its own: a transaction held for the whole
 * copy would keep the server from using freed pages again. */
#include "lmdb_store.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_BATCH 4096

/* What goes from one read transaction into one write transaction. */
typedef struct env_copy {
    lmdb_env *from, *to;
    MDB_txn *read, *write;
    size_t count, bytes;
    lmdb_key last; /* of the table: the key before */
} env_copy;

static int put_copy(env_copy *copy, MDB_dbi dbi, MDB_val key, MDB_val value)
{
    copy->count++;
    copy->bytes += key.mv_size + value.mv_size;
    return mdb_put(copy->write, dbi, &key, &value, 0);
}

static bool batch_full(const env_copy *copy)
{
    return copy->count >= COPY_BATCH || copy->bytes >= LMDB_BATCH_BYTES;
}

static int copy_prefix(env_copy *copy, MDB_dbi from, MDB_dbi to, MDB_val prefix)
{
    MDB_cursor *cursor;
    MDB_val key = prefix, value;
    int rc = mdb_cursor_open(copy->read, from, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (!rc && lmdb_starts_with(key, prefix.mv_data, prefix.mv_size)) {
        rc = put_copy(copy, to, key, value);
        if (!rc)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A group is copied whole, however large: it is what updates are atomic over. */
static int copy_group(env_copy *copy, MDB_val key, MDB_val generation)
{
    int rc = put_copy(copy, copy->to->generations, key, generation);
    if (!rc)
        rc = copy_prefix(copy, copy->from->records, copy->to->records, key);
    if (!rc)
        rc = copy_prefix(copy, copy->from->deletions, copy->to->deletions, key);
    return rc;
}

static int copy_chunk(env_copy *copy, MDB_val key, MDB_val put)
{
    MDB_val bytes;
    int rc = mdb_get(copy->read, copy->from->chunks, &key, &bytes);
    if (!rc)
        rc = put_copy(copy, copy->to->chunks, key, bytes);
    if (!rc)
        rc = put_copy(copy, copy->to->puts, key, put);
    return rc;
}

static int note_key(env_copy *copy, MDB_val key)
{
    if (key.mv_size > sizeof copy->last.data ||
        !lmdb_comes_after(key, copy->last.data, copy->last.size))
        return MDB_CORRUPTED;
    copy->last.size = key.mv_size;
    memcpy(copy->last.data, key.mv_data, key.mv_size);
    return 0;
}

typedef int copy_entry(env_copy *copy, MDB_val key, MDB_val value);

static int copy_some(env_copy *copy, MDB_dbi dbi, copy_entry *entry, lmdb_key *at)
{
    MDB_cursor *cursor;
    MDB_val key = lmdb_val(at->data, at->size), value;
    int rc = mdb_cursor_open(copy->read, dbi, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, at->size ? MDB_SET_RANGE : MDB_FIRST);
    while (!rc && !batch_full(copy)) {
        rc = note_key(copy, key);
        if (!rc)
            rc = entry(copy, key, value);
        if (rc == MDB_NOTFOUND)
            rc = MDB_CORRUPTED;
        if (!rc)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    at->size = rc ? 0 : key.mv_size;
    memcpy(at->data, key.mv_data, at->size);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int copy_batch(env_copy *copy, MDB_dbi dbi, copy_entry *entry, lmdb_key *at)
{
    lmdb_pin *pin;
    int rc = lmdb_pin_acquire(copy->from, &pin);
    if (rc)
        return rc;
    rc = mdb_txn_begin(copy->to->env, NULL, 0, &copy->write);
    if (!rc) {
        copy->read = pin->txn;
        copy->count = 0;
        copy->bytes = 0;
        rc = copy_some(copy, dbi, entry, at);
        if (rc)
            mdb_txn_abort(copy->write);
        else
            rc = mdb_txn_commit(copy->write);
    }
    lmdb_pin_release(pin);
    return rc;
}

static rpc_code copy_environment(
    lmdb_env *from, lmdb_env *to, MDB_dbi dbi, copy_entry *entry, rpc_status *reterr)
{
    env_copy copy = {.from = from, .to = to};
    lmdb_key at = {0};
    int rc;
    do {
        rc = copy_batch(&copy, dbi, entry, &at);
    } while (!rc && at.size);
    return rc ? lmdb_status(reterr, from, rc, "cannot copy") : RPC_OK;
}

static rpc_code make_destination(const char *destination, rpc_status *reterr)
{
    lmdb_env place = {.name = "destination"};
    bool empty = true;
    if (mkdir(destination, 0700) == 0)
        return RPC_OK;
    if (errno != EEXIST)
        return lmdb_status(reterr, &place, errno, "cannot make the backup's");
    DIR *folder = opendir(destination);
    if (!folder)
        return lmdb_status(reterr, &place, errno, "cannot read the backup's");
    for (const struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    if (empty)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_ALREADY_EXISTS,
        "store: the backup's destination '%.200s' holds something; name a new directory",
        destination);
}

static rpc_code copy_all(
    lmdb_env from[2], lmdb_env to[2], const char *destination, rpc_status *reterr)
{
    lmdb_env_options options = {
        .directory = destination,
        .map_bytes_max = from[0].map_bytes_max,
        .flags = MDB_NOSYNC, /* sealing syncs */
        .copy_target = true,
    };
    rpc_code code = lmdb_env_open(&to[0], "meta", &options, reterr);
    options.map_bytes_max = from[1].map_bytes_max;
    if (!code)
        code = lmdb_env_open(&to[1], "chunks", &options, reterr);
    if (!code)
        code = copy_environment(&from[0], &to[0], from[0].generations, copy_group, reterr);
    if (!code)
        code = copy_environment(&from[1], &to[1], from[1].puts, copy_chunk, reterr);
    /* Everything is on disk before the seal makes it a store; the records' seal comes last. */
    for (int i = 1; !code && i >= 0; i--) {
        int rc = mdb_env_sync(to[i].env, 1);
        if (!rc)
            rc = lmdb_env_seal(&to[i]);
        if (rc)
            code = lmdb_status(reterr, &to[i], rc, "cannot write the copy of");
    }
    return code;
}

rpc_code store_backup(const char *directory, const char *destination, rpc_status *reterr)
{
    lmdb_env from[2] = {0}, to[2] = {0};
    rpc_code code = lmdb_open_for_reading(directory, &from[0], &from[1], reterr);
    if (!code)
        code = make_destination(destination, reterr);
    if (!code)
        code = copy_all(from, to, destination, reterr);
    for (int i = 1; i >= 0; i--) {
        lmdb_env_close(&to[i]);
        lmdb_env_close(&from[i]);
    }
    return code;
}
