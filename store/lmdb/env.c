/* SPDX-License-Identifier: Apache-2.0 */
/* One LMDB environment, its pool of read transactions, and its numbers as sentences. */
#include "lmdb_store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static bool disk_full(const lmdb_env *env)
{
    const char *path;
    struct statvfs fs;
    if (!env->env || mdb_env_get_path(env->env, &path) != 0 || statvfs(path, &fs) != 0)
        return false;
    return (uint64_t)fs.f_bavail * fs.f_frsize < LMDB_BATCH_BYTES;
}

static rpc_code status_exhausted(
    rpc_status *status, const lmdb_env *env, int rc, const char *action)
{
    switch (rc) {
    case MDB_MAP_FULL:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
            "store: %s '%s': map full at %llu KiB; raise store.%s_map_bytes_max and restart, or "
            "delete assets",
            action, env->name, (unsigned long long)(env->map_bytes_max >> 10), env->name);
    case MDB_READERS_FULL:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
            "store: %s '%s': all read slots are taken; raise store.readers_max and restart, or "
            "release views sooner",
            action, env->name);
    case MDB_TXN_FULL:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
            "store: %s '%s': more changes than one transaction holds; split the update", action,
            env->name);
    case ENOMEM:
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
            "store: %s '%s': out of memory or address space; lower store.%s_map_bytes_max or "
            "raise the process's limit",
            action, env->name, env->name);
    default: /* ENOSPC, EDQUOT, a short write */
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
            "store: %s '%s': the disk or quota is full; make room, then repeat", action, env->name);
    }
}

rpc_code lmdb_status(rpc_status *status, const lmdb_env *env, int rc, const char *action)
{
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return status_exhausted(status, env, rc, action);
    case EIO: /* LMDB's number for a short write, too */
        if (disk_full(env))
            return status_exhausted(status, env, ENOSPC, action);
        return rpc_status_set(status, RPC_UNAVAILABLE,
            "store: %s '%s': input/output error; check the disk, then repeat", action, env->name);
    case MDB_MAP_RESIZED:
        return rpc_status_set(status, RPC_UNAVAILABLE,
            "store: %s '%s': the map was enlarged meanwhile; repeat", action, env->name);
    case ENOENT:
        return rpc_status_set(status, RPC_NOT_FOUND,
            "store: %s '%s': no store is there; check the directory", action, env->name);
    case EACCES:
    case EPERM:
    case EROFS:
        return rpc_status_set(status, RPC_FAILED_PRECONDITION,
            "store: %s '%s': %s; give this user the right to write there", action, env->name,
            mdb_strerror(rc));
    case LMDB_CUT_OFF:
        return rpc_status_set(status, RPC_DATA_LOSS,
            "store: %s '%s': its file data.mdb is cut off: pages that it counts are missing; "
            "restore the store from a backup",
            action, env->name);
    case LMDB_GONE:
        return rpc_status_set(status, RPC_DATA_LOSS,
            "store: %s '%s': its file data.mdb is empty or gone, but the store has been in use; "
            "restore the store from a backup",
            action, env->name);
    case MDB_INVALID: /* no first pages of an LMDB file: nothing can be checked */
        return rpc_status_set(status, RPC_DATA_LOSS,
            "store: %s '%s': the start of its file data.mdb is cut off or overwritten; restore the "
            "store from a backup",
            action, env->name);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_BAD_TXN:     /* after one of these */
    case MDB_CURSOR_FULL: /* a tree that is deeper than any */
    case MDB_VERSION_MISMATCH:
        return rpc_status_set(status, RPC_DATA_LOSS,
            "store: %s '%s': %s; stop the server, run --store-check, restore from a backup if it "
            "finds faults",
            action, env->name, mdb_strerror(rc));
    default:
        return rpc_status_set(status, RPC_INTERNAL, "store: %s '%s': %s (%d); report this as a bug",
            action, env->name, mdb_strerror(rc), rc);
    }
}

static int open_tables(lmdb_env *env, MDB_txn *txn, unsigned create)
{
    bool meta = strcmp(env->name, "meta") == 0;
    const struct {
        const char *name;
        MDB_dbi *dbi;
    } tables[] = {
        {"about", &env->about},
        {meta ? "records" : "chunks", meta ? &env->records : &env->chunks},
        {meta ? "generations" : "puts", meta ? &env->generations : &env->puts},
        {"deletions", &env->deletions},
    };
    for (size_t i = 0; i < (meta ? 4u : 3u); i++) {
        int rc = mdb_dbi_open(txn, tables[i].name, create, tables[i].dbi);
        if (rc)
            return rc;
    }
    return 0;
}

static int put_format(lmdb_env *env, MDB_txn *txn)
{
    MDB_val key = lmdb_val("format", 6), value = lmdb_val(LMDB_FORMAT, strlen(LMDB_FORMAT));
    return mdb_put(txn, env->about, &key, &value, 0);
}

/* MDB_INCOMPATIBLE: something else is in there, or another version of ours. */
static int check_format(lmdb_env *env, MDB_txn *txn)
{
    MDB_val key = lmdb_val("format", 6), value;
    int rc = mdb_get(txn, env->about, &key, &value);
    if (rc == MDB_NOTFOUND)
        return MDB_INCOMPATIBLE;
    if (rc)
        return rc;
    bool same = value.mv_size == strlen(LMDB_FORMAT) &&
                memcmp(value.mv_data, LMDB_FORMAT, value.mv_size) == 0;
    return same ? 0 : MDB_INCOMPATIBLE;
}

static int main_entries(MDB_txn *txn, size_t *ret_entries)
{
    MDB_dbi dbi;
    MDB_stat stat;
    int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (!rc)
        rc = mdb_stat(txn, dbi, &stat);
    if (!rc)
        *ret_entries = stat.ms_entries;
    return rc;
}

static int prepare_tables(lmdb_env *env, MDB_txn *txn, const lmdb_env_options *options)
{
    size_t entries = 0;
    int rc = main_entries(txn, &entries);
    if (rc)
        return rc;
    bool fresh = entries == 0 && !(options->flags & MDB_RDONLY);
    if (!fresh && options->copy_target)
        return MDB_INCOMPATIBLE;
    rc = open_tables(env, txn, fresh ? MDB_CREATE : 0);
    if (rc == MDB_NOTFOUND)
        return MDB_INCOMPATIBLE;
    if (rc || options->copy_target)
        return rc;
    return fresh ? put_format(env, txn) : check_format(env, txn);
}

/* LMDB ends the process where a page is none that it can be; whoever reads why is told what to do.
 */
static void tell_damage(MDB_env *env, const char *what)
{
    const char *path = "";
    (void)mdb_env_get_path(env, &path);
    fprintf(stderr,
        "store: '%s' is damaged (%.200s); stop the server, run --store-check, restore from a "
        "backup if it finds faults\n",
        path, what);
}

static int open_and_prepare(lmdb_env *env, const char *path, const lmdb_env_options *options)
{
    MDB_txn *txn = NULL;
    int rc = mdb_env_create(&env->env);
    if (!rc)
        rc = mdb_env_set_assert(env->env, tell_damage);
    if (!rc)
        rc = mdb_env_set_maxdbs(env->env, 8);
    if (!rc && options->readers_max)
        rc = mdb_env_set_maxreaders(env->env, options->readers_max);
    if (!rc && options->map_bytes_max)
        rc = mdb_env_set_mapsize(env->env, options->map_bytes_max);
    if (!rc)
        rc = mdb_env_open(env->env, path, options->flags | MDB_NOTLS, 0600);
    if (!rc && !(options->flags & MDB_RDONLY)) {
        int stale = 0;
        rc = mdb_reader_check(env->env, &stale);
    }
    if (!rc)
        rc = mdb_txn_begin(env->env, NULL, options->flags & MDB_RDONLY, &txn);
    if (rc)
        return rc;
    rc = lmdb_check_whole(env->env); /* before the first page is read; the transaction keeps it */
    if (!rc)
        rc = prepare_tables(env, txn, options);
    if (!rc)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

int lmdb_find_file(const char *directory, const char *name, bool *ret_has_bytes)
{
    char path[PATH_MAX];
    struct stat file;
    *ret_has_bytes = false;
    if (snprintf(path, sizeof path, "%s/%s/data.mdb", directory, name) >= (int)sizeof path)
        return ENAMETOOLONG;
    if (stat(path, &file) != 0)
        return errno == ENOTDIR ? ENOENT : errno;
    *ret_has_bytes = file.st_size > 0;
    return 0;
}

/* LMDB makes a new environment of a file without bytes. It may do so where none was ever used. */
static int check_file(const char *name, const lmdb_env_options *options)
{
    bool has_bytes;
    int rc = lmdb_find_file(options->directory, name, &has_bytes);
    if (has_bytes || (rc && rc != ENOENT))
        return rc;
    if (options->flags & MDB_RDONLY)
        return rc ? rc : LMDB_GONE;
    return options->in_use ? LMDB_GONE : 0;
}

rpc_code lmdb_env_open(
    lmdb_env *env, const char *name, const lmdb_env_options *options, rpc_status *reterr)
{
    char path[PATH_MAX];
    MDB_envinfo info;
    *env = (lmdb_env){.name = name, .map_bytes_max = options->map_bytes_max};
    pthread_mutex_init(&env->mutex, NULL);
    pthread_cond_init(&env->idle, NULL);
    if (snprintf(path, sizeof path, "%s/%s", options->directory, name) >= (int)sizeof path)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "store: the directory's name is too long; use a shorter one");
    if (!(options->flags & MDB_RDONLY) && mkdir(path, 0700) != 0 && errno != EEXIST)
        return lmdb_status(reterr, env, errno, "cannot make");
    int rc = check_file(name, options);
    if (!rc)
        rc = open_and_prepare(env, path, options);
    if (rc == MDB_INCOMPATIBLE)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "store: '%s' is no complete store of format '%s'; use another directory, or the "
            "release that made it; if this one did, restore the store from a backup",
            path, LMDB_FORMAT);
    if (rc)
        return lmdb_status(reterr, env, rc, "cannot open");
    if (mdb_env_info(env->env, &info) == 0)
        env->map_bytes_max = info.me_mapsize;
    return RPC_OK;
}

void lmdb_env_close(lmdb_env *env)
{
    if (!env->name)
        return;
    pthread_mutex_lock(&env->mutex);
    while (env->in_use)
        pthread_cond_wait(&env->idle, &env->mutex);
    pthread_mutex_unlock(&env->mutex);
    while (env->pins) {
        lmdb_pin *pin = env->pins;
        env->pins = pin->next;
        mdb_txn_abort(pin->txn);
        free(pin);
    }
    if (env->env)
        mdb_env_close(env->env);
    pthread_cond_destroy(&env->idle);
    pthread_mutex_destroy(&env->mutex);
    *env = (lmdb_env){0};
}

int lmdb_env_seal(lmdb_env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = put_format(env, txn);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    return rc ? rc : mdb_env_sync(env->env, 1);
}

static void release_view_pin(store_pin *pin)
{
    lmdb_pin_release((lmdb_pin *)pin);
}

static int pin_new(lmdb_env *env, lmdb_pin **ret_pin)
{
    lmdb_pin *pin = calloc(1, sizeof *pin);
    if (!pin)
        return ENOMEM;
    int rc = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &pin->txn);
    if (rc) {
        free(pin);
        return rc;
    }
    pin->base.release = release_view_pin;
    pin->env = env;
    *ret_pin = pin;
    return 0;
}

int lmdb_pin_acquire(lmdb_env *env, lmdb_pin **ret_pin)
{
    pthread_mutex_lock(&env->mutex);
    lmdb_pin *pin = env->pins;
    if (pin)
        env->pins = pin->next;
    env->in_use++;
    pthread_mutex_unlock(&env->mutex);
    int rc = pin ? mdb_txn_renew(pin->txn) : pin_new(env, &pin);
    if (!rc) {
        *ret_pin = pin;
        return 0;
    }
    pthread_mutex_lock(&env->mutex);
    if (pin) {
        pin->next = env->pins;
        env->pins = pin;
    }
    if (!--env->in_use)
        pthread_cond_broadcast(&env->idle);
    pthread_mutex_unlock(&env->mutex);
    return rc;
}

void lmdb_pin_release(lmdb_pin *pin)
{
    lmdb_env *env = pin->env;
    mdb_txn_reset(pin->txn);
    pthread_mutex_lock(&env->mutex);
    pin->next = env->pins;
    env->pins = pin;
    if (!--env->in_use)
        pthread_cond_broadcast(&env->idle);
    pthread_mutex_unlock(&env->mutex);
}

/* Table 0 is LMDB's list of free pages: each value is a count and that many page numbers, the
 * highest first. */
static int list_of_free(MDB_val value, uint64_t last_page, uint64_t *ret_pages)
{
    size_t count = 0, page, before = (size_t)last_page + 1;
    const uint8_t *data = value.mv_data;
    if (value.mv_size < sizeof count)
        return MDB_CORRUPTED;
    memcpy(&count, data, sizeof count);
    if (count > value.mv_size / sizeof count - 1)
        return MDB_CORRUPTED;
    for (size_t i = 1; i <= count; i++, before = page) {
        memcpy(&page, data + i * sizeof page, sizeof page);
        if (page < 2 || page >= before)
            return MDB_CORRUPTED;
    }
    *ret_pages += count;
    return 0;
}

int lmdb_free_pages(MDB_txn *txn, uint64_t *ret_pages)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_envinfo info;
    uint64_t pages = 0;
    int rc = mdb_env_info(mdb_txn_env(txn), &info); /* its last page is that of txn, or after it */
    if (!rc)
        rc = mdb_cursor_open(txn, 0, &cursor);
    if (rc)
        return rc;
    while (!rc && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        rc = list_of_free(value, info.me_last_pgno, &pages);
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND)
        *ret_pages = pages;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

rpc_code lmdb_env_stats(lmdb_env *env, store_map_stats *ret_stats, rpc_status *reterr)
{
    MDB_envinfo info;
    MDB_stat stat;
    lmdb_pin *pin;
    uint64_t pages = 0;
    int rc = lmdb_pin_acquire(env, &pin);
    if (rc)
        return lmdb_status(reterr, env, rc, "cannot read");
    rc = lmdb_free_pages(pin->txn, &pages);
    lmdb_pin_release(pin);
    if (!rc)
        rc = mdb_env_info(env->env, &info);
    if (!rc)
        rc = mdb_env_stat(env->env, &stat);
    if (rc)
        return lmdb_status(reterr, env, rc, "cannot read");
    ret_stats->map_bytes_max = info.me_mapsize;
    ret_stats->page_bytes = stat.ms_psize;
    ret_stats->used_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    ret_stats->free_bytes = pages * stat.ms_psize;
    ret_stats->readers = info.me_numreaders;
    ret_stats->readers_max = info.me_maxreaders;
    return RPC_OK;
}

int lmdb_count(lmdb_env *env, MDB_dbi dbi, uint64_t *ret_count)
{
    lmdb_pin *pin;
    MDB_stat stat;
    int rc = lmdb_pin_acquire(env, &pin);
    if (rc)
        return rc;
    rc = mdb_stat(pin->txn, dbi, &stat);
    lmdb_pin_release(pin);
    if (!rc)
        *ret_count = stat.ms_entries;
    return rc;
}
