/* SPDX-License-Identifier: Apache-2.0 */
/** Inside the LMDB implementation.
 *
 *  DIR/lock holds the server's pid under flock; DIR/meta and DIR/chunks are LMDB environments.
 *    meta    records      group key + item → value
 *            generations  group key → 8 bytes, little endian; never deleted
 *            deletions    group key + item prefix → nothing: a large deletion under way
 *    chunks  chunks       uid + digest → bytes
 *            puts         uid + digest → size, put time; 8 bytes each, little endian
 *    both    about        "format" → LMDB_FORMAT
 *  A group key is the group with 00 written as 00 FF, closed with 00 01: keys sort as (group,
 *  item) does, and no group's keys can start another's.
 *
 *  Threads and locks. A writer thread alone writes to its environment. Its queue is guarded by
 *  writer.mutex; the pool of read transactions by env.mutex; the read pool's queue by
 *  pool.mutex. No two of them are held at once, and none while a callback runs. */
#ifndef DACM_LMDB_STORE_H
#define DACM_LMDB_STORE_H

#include "store_impl.h"

#include <lmdb.h>

#define LMDB_KEY_MAX        511
#define LMDB_GROUP_KEY_MAX  (STORE_GROUP_BYTES_MAX + 2)
#define LMDB_FORMAT         "dacm-store 1"
#define LMDB_CHUNK_KEY      (STORE_UID_BYTES + STORE_DIGEST_BYTES)
#define LMDB_PUT_BYTES      16
#define LMDB_BATCH_BYTES    (4u << 20)
#define LMDB_BATCH_REQUESTS 256
#define LMDB_DELETE_SLICE   4096

/* ---- keys.c ---- */

typedef struct lmdb_key {
    size_t size;
    uint8_t data[LMDB_KEY_MAX];
} lmdb_key;

/** The key that all items of group start with; open: that of all groups starting with group. */
void lmdb_key_group(rpc_bytes group, bool open, lmdb_key *ret_key);
void lmdb_key_item(rpc_bytes group, rpc_bytes item, lmdb_key *ret_key);
/** Length of the group key that key starts with, 0 when it is malformed. */
size_t lmdb_key_group_size(MDB_val key);
/** ret_group holds STORE_GROUP_BYTES_MAX bytes; returns the group's size. */
size_t lmdb_key_decode_group(const uint8_t *key, size_t group_key_size, uint8_t *ret_group);
bool lmdb_starts_with(MDB_val key, const void *prefix, size_t size);
/** In the order of keys. A page that stands in the place of another breaks it, and whoever goes on
 *  from the key that he has come to would never reach the end. */
bool lmdb_comes_after(MDB_val key, const void *before, size_t size);
MDB_val lmdb_val(const void *data, size_t size);
void lmdb_put_u64(uint8_t *out, uint64_t value);
uint64_t lmdb_get_u64(const uint8_t *in);

/* ---- env.c ---- */

typedef struct lmdb_env lmdb_env;
typedef struct lmdb_pin lmdb_pin;

struct lmdb_pin {
    store_pin base;
    lmdb_env *env;
    MDB_txn *txn;
    lmdb_pin *next;
};

struct lmdb_env {
    const char *name; /* "meta" or "chunks" */
    MDB_env *env;
    uint64_t map_bytes_max;
    MDB_dbi about;
    MDB_dbi records, generations, deletions; /* meta */
    MDB_dbi chunks, puts;                    /* chunks */
    pthread_mutex_t mutex;                   /* guards what follows */
    pthread_cond_t idle;                     /* in_use became 0 */
    lmdb_pin *pins;                          /* reset read transactions, ready for renewal */
    size_t in_use;
};

typedef struct lmdb_env_options {
    const char *directory; /* the store's; the environment is in a folder of it */
    uint64_t map_bytes_max;
    unsigned readers_max;
    unsigned flags;   /* MDB_RDONLY, MDB_NOSYNC */
    bool in_use;      /* there must be a file: an empty or lost one is refused, not made anew */
    bool copy_target; /* leave out the format record: lmdb_env_seal() writes it */
} lmdb_env_options;

rpc_code lmdb_env_open(
    lmdb_env *env, const char *name, const lmdb_env_options *options, rpc_status *reterr);
/** Looks for an environment's file. Returns 0 or an errno number; ENOENT: there is none. */
int lmdb_find_file(const char *directory, const char *name, bool *ret_has_bytes);
/** Waits for every pin. A zeroed or half-open environment is allowed. */
void lmdb_env_close(lmdb_env *env);
int lmdb_env_seal(lmdb_env *env);
int lmdb_pin_acquire(lmdb_env *env, lmdb_pin **ret_pin);
void lmdb_pin_release(lmdb_pin *pin);
/** Turns an LMDB or errno number into a status; action as in "cannot write". */
rpc_code lmdb_status(rpc_status *status, const lmdb_env *env, int rc, const char *action);
rpc_code lmdb_env_stats(lmdb_env *env, store_map_stats *ret_stats, rpc_status *reterr);
int lmdb_count(lmdb_env *env, MDB_dbi dbi, uint64_t *ret_count);
/** MDB_CORRUPTED: a list of them is none. */
int lmdb_free_pages(MDB_txn *txn, uint64_t *ret_pages);

/* ---- whole.c ---- */

/** Numbers of ours among LMDB's, for lmdb_status(). */
#define LMDB_CUT_OFF (-31000) /* pages that it counts are not in the file */
#define LMDB_GONE    (-31001) /* a file is empty or not there, though the store was in use */

/** Whether all pages that hold something are in the file; nothing is read through the map but
 *  LMDB's first two pages. The caller has a transaction. Returns 0, LMDB_CUT_OFF, or an LMDB
 *  number. */
int lmdb_check_whole(MDB_env *env);

/* ---- writer.c ---- */

typedef struct lmdb_store lmdb_store;
typedef struct lmdb_request lmdb_request;
typedef struct lmdb_deletion lmdb_deletion;

/** What a large DELETE_PREFIX still has to do. */
struct lmdb_deletion {
    lmdb_deletion *next;
    lmdb_request *request; /* whose memory it is in; NULL: found at open, allocated alone */
    lmdb_key prefix;
};

typedef enum lmdb_kind { LMDB_UPDATE, LMDB_CHUNK_PUT, LMDB_CHUNK_DROP } lmdb_kind;

/** A write in a writer's queue; one allocation with all it refers to but a chunk's bytes. */
struct lmdb_request {
    lmdb_request *next;
    store_op *op; /* NULL once completed */
    lmdb_kind kind;
    size_t bytes;
    size_t count; /* changes or digests */
    rpc_bytes group;
    lmdb_key group_key;
    uint64_t expected;
    store_change *changes;
    lmdb_deletion *deletions; /* room for one for each DELETE_PREFIX */
    size_t deletions_max;
    size_t deletions_made; /* by the latest attempt */
    size_t deletions_left; /* of the committed one */
    uint8_t chunk[LMDB_CHUNK_KEY];
    rpc_bytes chunk_bytes;
    uint8_t *digests;
    int64_t time_ms; /* put: now; drop: older than */
};

typedef struct lmdb_writer {
    lmdb_store *store;
    lmdb_env *env;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* guards what follows, up to the next comment */
    pthread_cond_t wake;
    lmdb_request *head, **tail;
    size_t queued, queue_max;
    bool stopping;
    /* the writer thread's own */
    lmdb_deletion *deletions;
    bool deletions_stalled; /* disk or map full: wait for a write that succeeds */
    unsigned batches;
} lmdb_writer;

rpc_code lmdb_writer_start(
    lmdb_writer *writer, lmdb_store *store, lmdb_env *env, size_t queue_max, rpc_status *reterr);
/** Finishes the queue. */
void lmdb_writer_stop(lmdb_writer *writer);
/** Takes the request, on refusal too (op then tells why). */
store_progress lmdb_writer_submit(lmdb_writer *writer, lmdb_request *request);
store_progress lmdb_out_of_memory(store_op *op);

/* ---- update.c, chunks.c: what the writer threads do. Return 0 when the request was judged
 * (op->status tells how; a refused one wrote nothing), else an LMDB number: abort. ---- */

int lmdb_apply_update(lmdb_store *store, MDB_txn *txn, lmdb_request *request);
int lmdb_apply_chunk(lmdb_store *store, MDB_txn *txn, lmdb_request *request);
/** Deletes up to limit records; *ret_more tells whether there are others. */
int lmdb_delete_some(
    MDB_txn *txn, MDB_dbi dbi, const lmdb_key *prefix, size_t limit, bool *ret_more);

/* ---- pool.c ---- */

typedef struct lmdb_read lmdb_read;

typedef struct lmdb_pool {
    pthread_t *threads;
    unsigned count; /* started */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    lmdb_read *head, **tail;
    bool stopping;
} lmdb_pool;

rpc_code lmdb_pool_start(lmdb_pool *pool, unsigned threads, rpc_status *reterr);
/** Finishes what is queued. */
void lmdb_pool_stop(lmdb_pool *pool);
/** op->view is set and pinned; READY when its pages are in memory. */
store_progress lmdb_pool_read(lmdb_pool *pool, store_op *op);

/* ---- the store ---- */

struct lmdb_store {
    store base;
    int lock_fd;
    const rpc_clock *clock;
    lmdb_env meta, chunks;
    lmdb_writer meta_writer, chunks_writer;
    lmdb_pool pool;
};

/** Refuses when this very process serves the store in directory. */
rpc_code lmdb_refuse_own_process(const char *directory, rpc_status *reterr);
rpc_code lmdb_stat_of(lmdb_env *meta, lmdb_env *chunks, store_stats *ret_stats, rpc_status *reterr);
/** Opens both read-only, as the tools do. */
rpc_code lmdb_open_for_reading(
    const char *directory, lmdb_env *meta, lmdb_env *chunks, rpc_status *reterr);

store_progress lmdb_get(store *store, rpc_bytes group, rpc_bytes item, store_op *op);
store_progress lmdb_scan(store *store, const store_scan_request *request, store_op *op);
store_progress lmdb_generation(store *store, rpc_bytes group, store_op *op);
store_progress lmdb_update(store *store, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op);
store_progress lmdb_chunk_put(
    store *store, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op);
store_progress lmdb_chunk_has(store *store, const store_chunk_ref *ref, store_op *op);
store_progress lmdb_chunk_read(
    store *store, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_op *op);
store_progress lmdb_chunk_scan(store *store, const uint8_t *uid, const store_cursor *after,
    uint32_t entries_max, store_op *op);
store_progress lmdb_chunk_drop(store *store, const uint8_t *uid,
    const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count, int64_t older_than_ms,
    store_op *op);
/** Reads a group's generation; 0 when it has none. Returns an LMDB number. */
int lmdb_read_generation(
    MDB_txn *txn, const lmdb_env *meta, const lmdb_key *group_key, uint64_t *ret_generation);

#endif
