/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics and the consistency check, in a process beside the server. The check reads in
 * short transactions, since a held one keeps the server from using freed pages again; each
 * entry is judged within one transaction, so changes meanwhile are no faults. */
#include "lmdb_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_BATCH 1024

rpc_code lmdb_open_for_reading(
    const char *directory, lmdb_env *meta, lmdb_env *chunks, rpc_status *reterr)
{
    lmdb_env_options options = {.directory = directory, .flags = MDB_RDONLY};
    if (!directory || !directory[0])
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "store: no directory is named; set store.directory");
    rpc_code code = lmdb_refuse_own_process(directory, reterr);
    if (!code)
        code = lmdb_env_open(meta, "meta", &options, reterr);
    if (!code)
        code = lmdb_env_open(chunks, "chunks", &options, reterr);
    return code;
}

rpc_code lmdb_stat_of(lmdb_env *meta, lmdb_env *chunks, store_stats *ret_stats, rpc_status *reterr)
{
    store_stats stats = {0};
    rpc_code code = lmdb_env_stats(meta, &stats.meta, reterr);
    if (!code)
        code = lmdb_env_stats(chunks, &stats.chunks, reterr);
    if (code)
        return code;
    int rc = lmdb_count(meta, meta->records, &stats.records);
    if (!rc)
        rc = lmdb_count(meta, meta->generations, &stats.groups);
    if (!rc)
        rc = lmdb_count(meta, meta->deletions, &stats.deletions);
    if (rc)
        return lmdb_status(reterr, meta, rc, "cannot read");
    rc = lmdb_count(chunks, chunks->puts, &stats.chunk_count);
    if (rc)
        return lmdb_status(reterr, chunks, rc, "cannot read");
    *ret_stats = stats;
    return RPC_OK;
}

rpc_code store_stat_directory(const char *directory, store_stats *ret_stats, rpc_status *reterr)
{
    lmdb_env meta = {0}, chunks = {0};
    rpc_code code = lmdb_open_for_reading(directory, &meta, &chunks, reterr);
    if (!code)
        code = lmdb_stat_of(&meta, &chunks, ret_stats, reterr);
    lmdb_env_close(&chunks);
    lmdb_env_close(&meta);
    return code;
}

typedef struct check_state {
    const store_check_options *options;
    lmdb_env *meta, *chunks;
    uint64_t faults;
    char first[160];
    lmdb_key last; /* of the table: the key before */
} check_state;

typedef void check_entry(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value);

static void fault(check_state *checker, const char *text, MDB_val key)
{
    char hex[2 * 32 + 1], line[160];
    rpc_hex(rpc_bytes_of(key.mv_data, key.mv_size < 32 ? key.mv_size : 32), hex);
    snprintf(line, sizeof line, "%s (key %s%s)", text, hex, key.mv_size > 32 ? "…" : "");
    if (!checker->faults++)
        memcpy(checker->first, line, sizeof line);
    if (checker->options && checker->options->fault)
        checker->options->fault(checker->options->ctx, line);
}

static void check_record(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value)
{
    MDB_val group = key, generation;
    group.mv_size = lmdb_key_group_size(key);
    (void)value;
    if (!group.mv_size)
        fault(checker, "a record's key is malformed", key);
    else if (mdb_get(txn, checker->meta->generations, &group, &generation) != 0)
        fault(checker, "a record's group has no generation", key);
}

static void check_generation(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value)
{
    (void)txn;
    if (!key.mv_size || lmdb_key_group_size(key) != key.mv_size)
        fault(checker, "a generation's key is malformed", key);
    else if (value.mv_size != 8 || !lmdb_get_u64(value.mv_data))
        fault(checker, "a generation is malformed", key);
}

static void check_deletion(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value)
{
    (void)txn;
    (void)value;
    if (!lmdb_key_group_size(key))
        fault(checker, "a deletion's key is malformed", key);
}

static void check_chunk(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value)
{
    const store_check_options *options = checker->options;
    MDB_val put;
    if (key.mv_size != LMDB_CHUNK_KEY)
        fault(checker, "a chunk's key is malformed", key);
    else if (mdb_get(txn, checker->chunks->puts, &key, &put) != 0)
        fault(checker, "a chunk has no put time", key);
    else if (put.mv_size != LMDB_PUT_BYTES || lmdb_get_u64(put.mv_data) != value.mv_size)
        fault(checker, "a chunk's size is not the one noted", key);
    else if (options && options->chunk_is_whole &&
             !options->chunk_is_whole(options->ctx, (const uint8_t *)key.mv_data + STORE_UID_BYTES,
                 rpc_bytes_of(value.mv_data, value.mv_size)))
        fault(checker, "a chunk's bytes do not have its digest", key);
}

static void check_put(check_state *checker, MDB_txn *txn, MDB_val key, MDB_val value)
{
    MDB_val chunk;
    (void)value;
    if (mdb_get(txn, checker->chunks->chunks, &key, &chunk) != 0)
        fault(checker, "a put time has no chunk", key);
}

/* Of any table. False: nothing that follows can be trusted. */
static bool check_place(check_state *checker, MDB_txn *txn, MDB_dbi dbi, MDB_val key, MDB_val value)
{
    MDB_val found;
    if (key.mv_size > sizeof checker->last.data ||
        !lmdb_comes_after(key, checker->last.data, checker->last.size)) {
        fault(checker, "a key is out of order: a page stands in the place of another", key);
        return false;
    }
    checker->last.size = key.mv_size;
    memcpy(checker->last.data, key.mv_data, key.mv_size);
    if (mdb_get(txn, dbi, &key, &found) != 0 || found.mv_data != value.mv_data)
        fault(checker, "an entry is not found by its key", key);
    return true;
}

/* One transaction's worth; *at is where it goes on, of size 0 at the end. */
static int check_some(
    check_state *checker, MDB_txn *txn, MDB_dbi dbi, check_entry *check, lmdb_key *at)
{
    MDB_cursor *cursor;
    MDB_val key = lmdb_val(at->data, at->size), value;
    size_t count = 0, bytes = 0;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, at->size ? MDB_SET_RANGE : MDB_FIRST);
    while (!rc && count < CHECK_BATCH && bytes < LMDB_BATCH_BYTES) {
        if (!check_place(checker, txn, dbi, key, value)) {
            rc = MDB_NOTFOUND; /* as at the end */
            break;
        }
        check(checker, txn, key, value);
        count++;
        bytes += value.mv_size;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    at->size = rc ? 0 : key.mv_size;
    memcpy(at->data, key.mv_data, at->size);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int check_table(check_state *checker, lmdb_env *env, MDB_dbi dbi, check_entry *check)
{
    lmdb_key at = {0};
    checker->last.size = 0;
    do {
        lmdb_pin *pin;
        int rc = lmdb_pin_acquire(env, &pin);
        if (rc)
            return rc;
        rc = check_some(checker, pin->txn, dbi, check, &at);
        lmdb_pin_release(pin);
        if (rc)
            return rc;
    } while (at.size);
    return 0;
}

/* What a damaged list takes for free is written over. */
static int check_free_pages(check_state *checker, lmdb_env *env)
{
    uint64_t pages;
    lmdb_pin *pin;
    int rc = lmdb_pin_acquire(env, &pin);
    if (rc)
        return rc;
    rc = lmdb_free_pages(pin->txn, &pages);
    lmdb_pin_release(pin);
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_BAD_TXN) {
        fault(checker, "the list of free pages is damaged", lmdb_val(env->name, strlen(env->name)));
        rc = 0;
    }
    return rc;
}

static rpc_code check_all(check_state *checker, rpc_status *reterr)
{
    lmdb_env *meta = checker->meta, *chunks = checker->chunks;
    int rc = check_table(checker, meta, meta->records, check_record);
    if (!rc)
        rc = check_table(checker, meta, meta->generations, check_generation);
    if (!rc)
        rc = check_table(checker, meta, meta->deletions, check_deletion);
    if (!rc)
        rc = check_free_pages(checker, meta);
    if (rc)
        return lmdb_status(reterr, meta, rc, "cannot read");
    rc = check_table(checker, chunks, chunks->chunks, check_chunk);
    if (!rc)
        rc = check_table(checker, chunks, chunks->puts, check_put);
    if (!rc)
        rc = check_free_pages(checker, chunks);
    if (rc)
        return lmdb_status(reterr, chunks, rc, "cannot read");
    if (!checker->faults)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "store: %llu faults, the first: %s; restore from a backup",
        (unsigned long long)checker->faults, checker->first);
}

rpc_code store_check(const char *directory, const store_check_options *options, rpc_status *reterr)
{
    lmdb_env meta = {0}, chunks = {0};
    check_state checker = {.options = options, .meta = &meta, .chunks = &chunks};
    rpc_code code = lmdb_open_for_reading(directory, &meta, &chunks, reterr);
    if (!code)
        code = check_all(&checker, reterr);
    lmdb_env_close(&chunks);
    lmdb_env_close(&meta);
    return code;
}
