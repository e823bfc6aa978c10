/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the store as a server; the lock that keeps a second one out. */
#include "lmdb_store.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define MAP_DEFAULT      (1ull << 40)
#define MAP_LEAST        (64u << 10)
#define READ_THREADS     2u
#define READ_THREADS_MAX 64u
#define QUEUE_DEFAULT    4096u
#define READERS_DEFAULT  1024u
#define READERS_MOST     65536u

static rpc_code lmdb_stat(store *base, store_stats *ret_stats, rpc_status *reterr)
{
    lmdb_store *self = (lmdb_store *)base;
    return lmdb_stat_of(&self->meta, &self->chunks, ret_stats, reterr);
}

static int open_lock(const char *directory, int flags)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", directory) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, 0600);
}

static long lock_holder(int fd)
{
    char text[32] = "";
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    return size > 0 ? strtol(text, NULL, 10) : 0;
}

static rpc_code take_lock(const char *directory, int *ret_fd, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open_lock(directory, O_RDWR | O_CREAT);
    char text[32];
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return rpc_status_set(reterr, RPC_NOT_FOUND,
            "store: there is no directory '%.200s'; make it, with this server as owner", directory);
    if (fd < 0) {
        lmdb_env place = {.name = "lock"};
        return lmdb_status(reterr, &place, errno, "cannot open");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "store: '%.200s' is served by process %ld; stop that one first, or use another "
            "directory",
            directory, lock_holder(fd));
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        lmdb_env place = {.name = "lock"};
        return lmdb_status(reterr, &place, errno ? errno : ENOSPC, "cannot write to");
    }
    *ret_fd = rpc_take_fd(&fd);
    return RPC_OK;
}

rpc_code lmdb_refuse_own_process(const char *directory, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open_lock(directory, O_RDONLY);
    if (fd < 0 || lock_holder(fd) != (long)getpid() || flock(fd, LOCK_SH | LOCK_NB) == 0)
        return RPC_OK;
    /* LMDB must not be opened twice in a process: closing one drops the locks of both. */
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "store: this process serves '%.200s' itself; run the check or copy in another process",
        directory);
}

static void lmdb_close(store *base)
{
    lmdb_store *self = (lmdb_store *)base;
    lmdb_writer_stop(&self->chunks_writer);
    lmdb_writer_stop(&self->meta_writer);
    lmdb_pool_stop(&self->pool);
    lmdb_env_close(&self->chunks);
    lmdb_env_close(&self->meta);
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    store_base_done(&self->base);
    free(self);
}

static const store_ops lmdb_ops = {
    .get = lmdb_get,
    .scan = lmdb_scan,
    .generation = lmdb_generation,
    .update = lmdb_update,
    .chunk_put = lmdb_chunk_put,
    .chunk_has = lmdb_chunk_has,
    .read = lmdb_chunk_read,
    .chunk_scan = lmdb_chunk_scan,
    .chunk_drop = lmdb_chunk_drop,
    .stat = lmdb_stat,
    .close = lmdb_close,
};

static store_progress refuse_write(store_op *op)
{
    rpc_status_set(&op->status, RPC_FAILED_PRECONDITION,
        "store: it was opened for reading; only its server writes");
    return STORE_READY;
}

static store_progress refuse_update(store *base, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op)
{
    (void)base;
    (void)group;
    (void)expected;
    (void)changes;
    (void)count;
    return refuse_write(op);
}

static store_progress refuse_put(
    store *base, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op)
{
    (void)base;
    (void)ref;
    (void)bytes;
    return refuse_write(op);
}

static store_progress refuse_drop(store *base, const uint8_t *uid,
    const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count, int64_t older_than_ms, store_op *op)
{
    (void)base;
    (void)uid;
    (void)digests;
    (void)count;
    (void)older_than_ms;
    return refuse_write(op);
}

static const store_ops reading_ops = {
    .get = lmdb_get,
    .scan = lmdb_scan,
    .generation = lmdb_generation,
    .update = refuse_update,
    .chunk_put = refuse_put,
    .chunk_has = lmdb_chunk_has,
    .read = lmdb_chunk_read,
    .chunk_scan = lmdb_chunk_scan,
    .chunk_drop = refuse_drop,
    .stat = lmdb_stat,
    .close = lmdb_close,
};

static rpc_code check_options(const store_lmdb_options *options, rpc_status *reterr)
{
    if (!options->directory || !options->directory[0])
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "store: no directory is named; set store.directory");
    if ((options->meta_map_bytes_max && options->meta_map_bytes_max < MAP_LEAST) ||
        (options->chunks_map_bytes_max && options->chunks_map_bytes_max < MAP_LEAST))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "store: a map of less than %u bytes holds nothing; raise it", MAP_LEAST);
    if (options->meta_map_bytes_max > SIZE_MAX / 4 || options->chunks_map_bytes_max > SIZE_MAX / 4)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "store: the map is larger than the address space; lower it");
    if (options->read_threads > READ_THREADS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "store: %u read threads; at most %u are allowed", options->read_threads,
            READ_THREADS_MAX);
    if (options->readers_max > READERS_MOST)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "store: %u readers; at most %u are allowed", options->readers_max, READERS_MOST);
    if (options->sync != STORE_SYNC_FULL && options->sync != STORE_SYNC_PROCESS)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "store: sync mode %d is none", (int)options->sync);
    return RPC_OK;
}

static uint64_t map_size(uint64_t wanted)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return ((wanted ? wanted : MAP_DEFAULT) + page - 1) / page * page;
}

static rpc_code open_environments(
    lmdb_store *self, const store_lmdb_options *options, rpc_status *reterr)
{
    lmdb_env_options env = {
        .directory = options->directory,
        .map_bytes_max = map_size(options->meta_map_bytes_max),
        .readers_max = options->readers_max ? options->readers_max : READERS_DEFAULT,
        .flags = options->sync == STORE_SYNC_PROCESS ? MDB_NOSYNC : 0,
    };
    /* `meta` is durable before there is a file of `chunks`, and both before anything is stored. */
    bool has_bytes;
    env.in_use = lmdb_find_file(options->directory, "chunks", &has_bytes) == 0;
    rpc_code code = lmdb_env_open(&self->meta, "meta", &env, reterr);
    if (code)
        return code;
    uint64_t groups = 0;
    int rc = lmdb_count(&self->meta, self->meta.generations, &groups);
    if (rc)
        return lmdb_status(reterr, &self->meta, rc, "cannot read");
    env.in_use = groups > 0;
    env.map_bytes_max = map_size(options->chunks_map_bytes_max);
    return lmdb_env_open(&self->chunks, "chunks", &env, reterr);
}

static rpc_code open_all(lmdb_store *self, const store_lmdb_options *options, rpc_status *reterr)
{
    size_t queue_max = options->queue_max ? options->queue_max : QUEUE_DEFAULT;
    unsigned threads = options->read_threads ? options->read_threads : READ_THREADS;
    rpc_code code;
    if (options->read_only) {
        code = lmdb_open_for_reading(options->directory, &self->meta, &self->chunks, reterr);
        return code ? code : lmdb_pool_start(&self->pool, threads, reterr);
    }
    code = take_lock(options->directory, &self->lock_fd, reterr);
    if (!code)
        code = open_environments(self, options, reterr);
    if (!code)
        code = lmdb_pool_start(&self->pool, threads, reterr);
    if (!code)
        code = lmdb_writer_start(&self->meta_writer, self, &self->meta, queue_max, reterr);
    if (!code)
        code = lmdb_writer_start(&self->chunks_writer, self, &self->chunks, queue_max, reterr);
    return code;
}

rpc_code store_open_lmdb(const store_lmdb_options *options, store **ret_store, rpc_status *reterr)
{
    rpc_code code = check_options(options, reterr);
    if (code)
        return code;
    lmdb_store *self = calloc(1, sizeof *self);
    if (!self)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "store: out of memory");
    store_base_init(&self->base, options->read_only ? &reading_ops : &lmdb_ops);
    self->lock_fd = -1;
    self->clock = options->clock ? options->clock : rpc_clock_system();
    code = open_all(self, options, reterr);
    if (code) {
        lmdb_close(&self->base);
        return code;
    }
    *ret_store = &self->base;
    return RPC_OK;
}
