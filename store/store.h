/* SPDX-License-Identifier: Apache-2.0 */
/** Where a server keeps its bytes: records with generations, and immutable chunks.
 *
 *  Records have a two-part key: a group (one asset, one token family, one key) and an item
 *  within it. Updates are atomic over one group and never span two. Chunks have the key
 *  (asset uid, SHA-256). The store knows nothing of what the bytes mean.
 *
 *  Completion. Every operation takes a store_op that the caller owns. The call returns
 *    STORE_READY    the outcome stands in op; op->done is not called;
 *    STORE_PENDING  op belongs to the store until op->done was called, exactly once, on a
 *                   thread of the store or, with op->executor, where that takes it.
 *  Refusals may come either way. A caller that handles both serves any implementation.
 *
 *  Threads. Every function may be called from any thread, from watchers and from done
 *  callbacks, except store_close() and the functions on directories, which block and must not
 *  be called from a callback of the store. done and watch callbacks must not block.
 *
 *  Errors common to all operations, in op->status: INVALID_ARGUMENT (a key, a size or a count
 *  out of bounds), RESOURCE_EXHAUSTED (memory, queue, map, disk or read slots used up; the
 *  message says which and what to raise), UNAVAILABLE (the store is closing, or the disk failed
 *  in a passing way), FAILED_PRECONDITION (not writable), DATA_LOSS (the files are damaged),
 *  INTERNAL. An operation that fails has changed nothing. Outputs hold only what the function's
 *  text promises; everything else in op is untouched or zero. */
#ifndef DACM_STORE_H
#define DACM_STORE_H

#include "base.h"

#include <semaphore.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A group is 1 to 240 bytes of any value, a zero byte counting twice. */
#define STORE_GROUP_BYTES_MAX 240
/** An item is 0 to 250 bytes of any value; the empty item is one like any other. */
#define STORE_ITEM_BYTES_MAX  250
#define STORE_VALUE_BYTES_MAX (1u << 20)
/** One update: at most so many changes, keys and values together at most so many bytes. */
#define STORE_CHANGES_MAX      4096u
#define STORE_UPDATE_BYTES_MAX (4u << 20)

#define STORE_UID_BYTES    16
#define STORE_DIGEST_BYTES 32
/** A chunk is 1 byte to 4 MiB. */
#define STORE_CHUNK_BYTES_MAX (4u << 20)
#define STORE_DROPS_MAX       4096u

/** For store_update(): do not look at the generation. */
#define STORE_ANY_GENERATION UINT64_MAX
/** For store_read(): up to the end of the chunk. */
#define STORE_TO_END UINT64_MAX

typedef struct store store;
typedef struct store_op store_op;

typedef enum store_progress {
    STORE_READY,   /* finished: read op->status */
    STORE_PENDING, /* op->done will be called */
} store_progress;

/** Carries a completion to the thread that the caller wants it on. */
typedef struct store_executor {
    /** Arranges for fn(arg) to run soon, once; called on a store thread; must not block. */
    void (*post)(void *ctx, void (*fn)(void *arg), void *arg);
    void *ctx;
} store_executor;

/** Bytes inside the store. They stay as they are until the view is released, whatever is
 *  written or deleted meanwhile. Hold views for as long as it takes to copy or encrypt them,
 *  never over a wait for the network: a held view keeps disk space from being used again. */
typedef struct store_view {
    rpc_bytes bytes;
    void *pin; /* private to the store; NULL when there is nothing to release */
} store_view;

/** Gives a view back and clears it. Any thread; a cleared view is allowed. */
RPC_API void store_view_release(store_view *view);

/** Where a scan stood: continue after it. All zero means from the start. The bytes may be
 *  handed to clients and come back: they are checked, and a cursor stays good when the record
 *  that it stands on is deleted. */
typedef struct store_cursor {
    uint16_t size;
    uint8_t key[511];
} store_cursor;

typedef struct store_entry {
    rpc_bytes group, item, value;
} store_entry;

typedef struct store_chunk_info {
    uint8_t uid[STORE_UID_BYTES];
    uint8_t digest[STORE_DIGEST_BYTES]; /* zero in a page of store_chunk_scan_assets() */
    uint64_t size;                      /* bytes; likewise */
    int64_t put_ms;                     /* wall clock of the latest put; likewise */
} store_chunk_info;

/** One page of a scan: copies that the caller owns. */
typedef struct store_page {
    size_t count;
    const store_entry *entries;     /* of store_scan(), else NULL */
    const store_chunk_info *chunks; /* of the chunk scans, else NULL */
    bool more;                      /* false: this was the last page */
    store_cursor next;              /* for the next request, when more */
} store_page;

/** NULL is allowed. */
RPC_API void store_page_free(store_page *page);

/** One operation. Set the first three fields (done may stay NULL only where the operation is
 *  known to be READY with the implementation at hand; a caller should not know that), zero the
 *  rest. May be used again once the outcome is in. */
struct store_op {
    void (*done)(store_op *op);     /* last touch of op by the store */
    void *ctx;                      /* the caller's */
    const store_executor *executor; /* NULL: done runs on a store thread; borrowed till done */

    rpc_status status;
    uint64_t generation; /* of the group: get, scan of one group, generation, update */
    store_view view;     /* get, read; the caller releases it */
    store_page *page;    /* scans; the caller frees it */
    uint64_t size;       /* read: bytes of the whole chunk; has: the same */
    int64_t put_ms;      /* has, put, refresh: wall clock of the latest put */
    bool mended;         /* put: other bytes stood there, or none, and were replaced */
    size_t dropped;      /* drop: chunks removed */
    size_t kept;         /* drop: chunks left because they were put too recently */
};

/* ---- records ---- */

/** Reads one record. OK sets op->view and op->generation (read in one go with the record);
 *  NOT_FOUND sets op->generation too. group and item are borrowed until return. */
RPC_API RPC_MUST_USE store_progress store_get(
    store *store, rpc_bytes group, rpc_bytes item, store_op *op);

typedef struct store_scan_request {
    rpc_bytes group; /* one group, or with group_is_prefix the start of its name (which
                        may then be empty) */
    bool group_is_prefix;
    bool one_per_group;        /* only the first record of each group: lists the groups */
    rpc_bytes item_prefix;     /* empty for all; must be empty with group_is_prefix */
    const store_cursor *after; /* NULL: from the start; borrowed until return */
    uint32_t entries_max;      /* 1 to 4096; 0 means 256 */
    uint32_t bytes_max; /* keys and values, up to 16 MiB; 0 means 1 MiB; one entry always fits */
} store_scan_request;

/** Reads records in the order of their keys' bytes, group before item. Each page is taken at
 *  one instant; pages of one scan may be of different instants: a record that existed all the
 *  while is met exactly once, one put or deleted meanwhile may be met or not.
 *  OK sets op->page (count 0 when there is nothing) and, for one group, op->generation. */
RPC_API RPC_MUST_USE store_progress store_scan(
    store *store, const store_scan_request *request, store_op *op);

/** OK sets op->generation: how many updates the group has had; 0 for a group never written. */
RPC_API RPC_MUST_USE store_progress store_generation(store *store, rpc_bytes group, store_op *op);

typedef enum store_change_kind {
    STORE_PUT,           /* item gets value; an existing one is replaced */
    STORE_DELETE,        /* item goes; it need not exist */
    STORE_DELETE_PREFIX, /* every item that starts with item goes; empty: the whole group */
} store_change_kind;

typedef struct store_change {
    store_change_kind kind;
    rpc_bytes item;
    rpc_bytes value; /* PUT only; may be empty */
} store_change;

/** Changes records of one group, in the order given: all of it or nothing.
 *
 *  expected  the generation the group must have, or STORE_ANY_GENERATION.
 *  changes   1 to STORE_CHANGES_MAX; copied, so borrowed until return only.
 *
 *  OK: durable as the sync mode says, op->generation is the new generation (one more than
 *  before; never used again, even after all records are deleted). ABORTED: the generation was
 *  another one; op->generation tells it; read again and decide anew.
 *
 *  DELETE_PREFIX over many records (more than some thousand) is the one exception to "all of
 *  it": the other changes, the first part of the deletion and a durable note of the rest are
 *  one transaction; the rest follows in further ones, each short so that other updates go in
 *  between, also after a crash. op completes after the last. Later updates of the group take
 *  effect after the deletion. Readers may meanwhile meet records of the rest; so put the
 *  record that makes the others count (the main record) into the same update as a DELETE
 *  of its own, before the prefix: it is gone from the first transaction on. A PUT that follows
 *  a DELETE_PREFIX which covers it keeps the whole deletion in one transaction. A disk or map
 *  that fills up amid the rest does not undo it: op completes with OK and the rest is resumed
 *  by the next write that succeeds, or at the next start. */
RPC_API RPC_MUST_USE store_progress store_update(store *store, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op);

/** Called on a store thread after the commit of an update and before that update's completion,
 *  once for each update, a group's generations in rising order. group is valid during the call. */
typedef void store_watch_fn(void *ctx, rpc_bytes group, uint64_t generation);

/** At most 8 watchers; RESOURCE_EXHAUSTED beyond. fn must not call store_watch/unwatch. */
RPC_API RPC_MUST_USE rpc_code store_watch(
    store *store, store_watch_fn *fn, void *ctx, rpc_status *reterr);
/** Returns when no call of fn with ctx is running or will come. Not inside a watcher. */
RPC_API void store_unwatch(store *store, store_watch_fn *fn, void *ctx);

/* ---- chunks ---- */

typedef struct store_chunk_ref {
    uint8_t uid[STORE_UID_BYTES];
    uint8_t digest[STORE_DIGEST_BYTES];
} store_chunk_ref;

/** Puts a chunk; put again, its put time becomes now (it never goes back), so that the grace time
 *  of a sweep holds for whoever relies on the put, and bytes that are no longer the same (a disk
 *  that rots) are replaced: op->mended.
 *
 *  bytes  1 to STORE_CHUNK_BYTES_MAX bytes that the caller hashed to ref->digest (the store
 *         does not hash); BORROWED UNTIL COMPLETION. ref is copied.
 *
 *  OK: durable, op->put_ms set. INVALID_ARGUMENT also when a chunk of another size is there. */
RPC_API RPC_MUST_USE store_progress store_chunk_put(
    store *store, const store_chunk_ref *ref, rpc_bytes bytes, store_op *op);
/** Makes the put time now without the bytes: for an upload that skips chunks already there.
 *  NOT_FOUND: it is not there (any more); put it. */
RPC_API RPC_MUST_USE store_progress store_chunk_refresh(
    store *store, const store_chunk_ref *ref, store_op *op);
/** OK sets op->size and op->put_ms; NOT_FOUND. Does not make a sweep wait: see refresh. */
RPC_API RPC_MUST_USE store_progress store_chunk_has(
    store *store, const store_chunk_ref *ref, store_op *op);

/** Reads length bytes of a chunk from offset on; STORE_TO_END for what follows offset.
 *  OK sets op->view and op->size. NOT_FOUND. OUT_OF_RANGE: the chunk ends before offset +
 *  length; op->size tells its size. Reading 0 bytes is allowed. */
RPC_API RPC_MUST_USE store_progress store_read(
    store *store, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_op *op);

/** Lists the chunks of an asset by digest, up to entries_max (1 to 4096; 0 means 256), after a
 *  cursor (NULL: from the start). OK sets op->page. */
RPC_API RPC_MUST_USE store_progress store_chunk_scan(store *store,
    const uint8_t uid[STORE_UID_BYTES], const store_cursor *after, uint32_t entries_max,
    store_op *op);
/** Lists the assets that have chunks; only uid is set in the entries. */
RPC_API RPC_MUST_USE store_progress store_chunk_scan_assets(
    store *store, const store_cursor *after, uint32_t entries_max, store_op *op);

/** Drops chunks whose latest put lies before older_than_ms (wall clock); leaves younger ones
 *  alone and does not mind absent ones. Views of them stay good.
 *
 *  digests  count (1 to STORE_DROPS_MAX) times 32 bytes, copied.
 *
 *  OK sets op->dropped and op->kept. */
RPC_API RPC_MUST_USE store_progress store_chunk_drop(store *store,
    const uint8_t uid[STORE_UID_BYTES], const uint8_t (*digests)[STORE_DIGEST_BYTES], size_t count,
    int64_t older_than_ms, store_op *op);

/* ---- waiting, on threads that may block ---- */

/** One operation at a time; its op, with executor NULL, is what the store is given. */
typedef struct store_wait {
    store_op op;
    sem_t ended; /* private */
} store_wait;

/** For each operation anew. */
RPC_API store_op *store_wait_begin(store_wait *wait);
/** Waits when progress is PENDING; returns op.status.code. What op holds is the caller's. */
RPC_API rpc_code store_wait_end(store_wait *wait, store_progress progress);

/** Each begins, waits and returns wait->op.status.code. */
RPC_API rpc_code store_wait_get(store *store, rpc_bytes group, rpc_bytes item, store_wait *wait);
RPC_API rpc_code store_wait_scan(store *store, const store_scan_request *request, store_wait *wait);
RPC_API rpc_code store_wait_update(store *store, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_wait *wait);

/** One record of a walk; false ends it. */
typedef bool store_walk_fn(void *ctx, const store_entry *entry);
/** Scans page after page, from request->after on. No read transaction is held while fn runs. The
 *  store's errors; stopped by fn: RPC_OK. */
RPC_API RPC_MUST_USE rpc_code store_walk(store *store, const store_scan_request *request,
    store_walk_fn *fn, void *ctx, rpc_status *reterr);

/* ---- the LMDB implementation ---- */

typedef enum store_sync {
    STORE_SYNC_FULL = 0, /* acknowledged writes survive kill -9 and power loss */
    STORE_SYNC_PROCESS,  /* kill -9 only; power loss may damage the files: for tests and demos */
} store_sync;

/** Zero in a field means its default. */
typedef struct store_lmdb_options {
    const char *directory;         /* must exist and be writable; borrowed until return */
    uint64_t meta_map_bytes_max;   /* address space and disk limit of records; 1 TiB; ≥ 64 KiB */
    uint64_t chunks_map_bytes_max; /* of chunks; 1 TiB */
    unsigned read_threads;         /* for pages that are not in memory; 2; at most 64 */
    unsigned queue_max;            /* updates waiting, for each of the two writers; 4096 */
    unsigned readers_max;          /* views and reads at one time, other processes included;
                                      1024; at most 65536 */
    store_sync sync;
    bool read_only; /* beside a server, in another process: nothing is made, no lock is taken,
                       writes are refused with FAILED_PRECONDITION */
    const rpc_clock *clock; /* rpc_clock_system(); must outlive the store */
} store_lmdb_options;

/** Opens or makes a store in a directory. Blocks.
 *  RPC_OK, or: INVALID_ARGUMENT (options), NOT_FOUND (no such directory), FAILED_PRECONDITION
 *  (another server has it open, its pid is in the message; not writable; made by another format
 *  version), RESOURCE_EXHAUSTED (disk, memory, address space), DATA_LOSS (damaged: a file is cut
 *  off, emptied, lost or overwritten; nothing was changed). */
RPC_API RPC_MUST_USE rpc_code store_open_lmdb(
    const store_lmdb_options *options, store **ret_store, rpc_status *reterr);

/** Finishes what was accepted, delivers every completion, waits until every view is released,
 *  and frees the store. Operations begun meanwhile are refused with UNAVAILABLE; none may be
 *  begun after the return. Blocks; NULL is allowed. */
RPC_API void store_close(store *store);

/* ---- looking after a store ----
 * The functions on a directory run beside a server that has it open, but in another process:
 * in the process that has it open they are refused with FAILED_PRECONDITION. They block. */

typedef struct store_map_stats {
    uint64_t map_bytes_max; /* the limit */
    uint64_t used_bytes;    /* highest extent reached so far: never shrinks */
    uint64_t free_bytes;    /* of these, free to be used again */
    uint64_t page_bytes;
    uint32_t readers, readers_max; /* read slots taken; pooled ones count */
} store_map_stats;

typedef struct store_stats {
    store_map_stats meta, chunks;
    uint64_t records;
    uint64_t groups; /* with a generation, also those whose records are all deleted */
    uint64_t chunk_count;
    uint64_t deletions; /* large deletions still under way */
} store_stats;

/** Of an open store. Walks the list of free pages: for operators, not for each request. */
RPC_API RPC_MUST_USE rpc_code store_stat(store *store, store_stats *ret_stats, rpc_status *reterr);
/** NOT_FOUND (no store there), and the errors of opening. */
RPC_API RPC_MUST_USE rpc_code store_stat_directory(
    const char *directory, store_stats *ret_stats, rpc_status *reterr);

typedef struct store_check_options {
    /** Optional: says whether bytes hash to digest. Without it chunks are only walked over. */
    bool (*chunk_is_whole)(void *ctx, const uint8_t digest[STORE_DIGEST_BYTES], rpc_bytes bytes);
    /** Optional: told of each fault found, one line of text valid during the call. */
    void (*fault)(void *ctx, const char *text);
    void *ctx;
} store_check_options;

/** Reads everything, changes nothing. RPC_OK: consistent. DATA_LOSS: faults were found, the
 *  message has their number and the first; or, where none was told, the store is too damaged to be
 *  read, and the message says how. Other errors: the check could not be made.
 *  options may be NULL. */
RPC_API RPC_MUST_USE rpc_code store_check(
    const char *directory, const store_check_options *options, rpc_status *reterr);

/** Copies a store into destination: a directory that does not exist or is empty; made with
 *  mode 0700. Each group is copied as it was at one instant; records before chunks, so that no
 *  record misses its chunks as long as sweeps keep their grace time. The copy is durable on
 *  RPC_OK; on failure what was written is left behind and not a store that opens.
 *  ALREADY_EXISTS (destination holds something), NOT_FOUND (no store in directory), and the
 *  errors of opening and writing. */
RPC_API RPC_MUST_USE rpc_code store_backup(
    const char *directory, const char *destination, rpc_status *reterr);

#ifdef __cplusplus
}
#endif
#endif
