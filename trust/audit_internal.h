/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the audit trail share. */
#ifndef DACM_TRUST_AUDIT_INTERNAL_H
#define DACM_TRUST_AUDIT_INTERNAL_H

#include "audit.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define AUDIT_CHAIN_BYTES    32u
#define AUDIT_CHAIN_DIGITS   64u
#define AUDIT_LINE_BYTES_MAX (AUDIT_CHAIN_DIGITS + 1 + TRUST_AUDIT_RECORD_BYTES_MAX + 1)
#define AUDIT_NAME_ROOM      48
#define AUDIT_HEADER_ROOM    192

/* ---- format (audit_read.c) ------------------------------------------------------------------ */

/** SHA-256, fetched once: OpenSSL's look-up costs more than the digest of a record. */
typedef struct audit_hash {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
} audit_hash;

bool trust__audit_hash_init(audit_hash *hash);
void trust__audit_hash_done(audit_hash *hash);
/** chain becomes SHA-256(chain ‖ json). False when OpenSSL fails; chain is then untouched. */
bool trust__audit_link(audit_hash *hash, uint8_t chain[AUDIT_CHAIN_BYTES], rpc_bytes json);

void trust__audit_name(uint64_t first, char ret[AUDIT_NAME_ROOM]);
/** The JSON of a header; returns its size. */
size_t trust__audit_header(uint64_t first, const uint8_t previous[AUDIT_CHAIN_BYTES],
    int64_t time_ms, char ret[AUDIT_HEADER_ROOM]);

/** Numbers of the segments of a folder, ascending; free(*ret). */
rpc_code trust__audit_list(int directory_fd, uint64_t **ret, size_t *ret_count, rpc_status *reterr);

/** What one segment holds. */
typedef struct audit_segment {
    uint64_t first;                      /* by its name */
    int64_t time_ms;                     /* of its header */
    uint8_t previous[AUDIT_CHAIN_BYTES]; /* as its header says */
    uint8_t chain[AUDIT_CHAIN_BYTES];    /* of the last whole line */
    uint64_t records;                    /* without the header */
    uint64_t size;                       /* of all whole lines */
    uint64_t torn;                       /* bytes behind them */
    uint64_t lines;
    uint64_t bad_line; /* the first that does not verify; 0 = none */
    const char *fault; /* of bad_line */
    bool stopped;      /* by fn */
} audit_segment;

/** Reads a segment through; fn (may be NULL) is given the records that verify. UNAVAILABLE when it
 *  cannot be read; a line that does not verify is for the caller to judge. */
rpc_code trust__audit_walk(int directory_fd, uint64_t first, trust_audit_record_fn *fn, void *ctx,
    audit_segment *ret, rpc_status *reterr);
/** DATA_LOSS at segment->bad_line. */
rpc_code trust__audit_damage(const audit_segment *segment, rpc_status *reterr);

/* ---- short records (audit_refs.c)
 * ----------------------------------------------------------------
 */

/** Records of one segment that short ones may name; {NULL, 0, 0} = none. */
typedef struct audit_refs {
    uint64_t *slots;
    size_t room, count;
} audit_refs;

void trust__audit_refs_done(audit_refs *refs);

typedef enum audit_ref {
    AUDIT_REF_GOOD,
    AUDIT_REF_BROKEN, /* names a record that was not judged before */
    AUDIT_REF_NO_MEMORY,
} audit_ref;

/** For the records of a segment, in their order. */
audit_ref trust__audit_refs_judge(audit_refs *refs, rpc_bytes json);

/* ---- seals, as they are read (audit_seals.c) ------------------------------------------------ */

/** The next seal, when it is there. Without a ring there are none. */
typedef struct audit_seals {
    const trust_keyring *ring;
    FILE *file;
    uint64_t left; /* bytes that were there when it was opened */
    uint64_t line;
    bool there;
    uint64_t record;
    int64_t time_ms;
    uint8_t chain[AUDIT_CHAIN_BYTES];
    trust_audit_sealed found;
} audit_seals;

rpc_code trust__audit_seals_open(
    int directory_fd, const trust_keyring *ring, audit_seals *ret, rpc_status *reterr);
void trust__audit_seals_done(audit_seals *seals);
/** Reads one; DATA_LOSS: it does not hold. */
rpc_code trust__audit_seals_next(audit_seals *seals, rpc_status *reterr);
/** Compares those that are of that record, for records in their order. */
rpc_code trust__audit_seals_judge(audit_seals *seals, uint64_t record,
    const uint8_t chain[AUDIT_CHAIN_BYTES], rpc_status *reterr);
/** After the last record. */
rpc_code trust__audit_seals_end(const audit_seals *seals, rpc_status *reterr);

/* ---- the segment under the pen (audit_file.c) --------------------------------------------------
 */

#define AUDIT_RETIRED_MAX 8
#define AUDIT_BATCH_BYTES (1u << 20)

struct trust_audit_common {
    atomic_uint references;
    /* Under file_lock: the segment where a record has it in full, and that record's name. */
    uint64_t segment; /* 0 = none */
    uint8_t name[TRUST_AUDIT_REQUEST_ID_MAX];
    size_t name_size;
    size_t size;
    uint8_t json[];
};

/** A record on its way. */
typedef struct audit_entry {
    struct audit_entry *next;
    trust_audit_fn *fn; /* NULL = nobody waits */
    void *arg;
    bool durable;               /* is to be on the disk before fn */
    bool written;               /* for fn */
    bool full;                  /* stands in the batch with all of common */
    trust_audit_common *common; /* NULL, or json has no end yet: common or a name follows */
    size_t name_at, name_size;  /* with common: the request ID in json */
    size_t line_end;            /* in the batch */
    size_t size;
    uint8_t json[];
} audit_entry;

typedef struct audit_list {
    audit_entry *head, *tail;
} audit_list;

void trust__audit_push(audit_list *list, audit_entry *entry);
/** Moves all of from behind to. */
void trust__audit_append(audit_list *to, audit_list *from);

/** All that is on the disk. One thread at a time (audit.c has the lock). */
typedef struct audit_file {
    const char *directory; /* for messages */
    int directory_fd;
    int fd; /* -1 = no segment yet */
    bool power;
    uint64_t segment_bytes_max;
    const rpc_clock *clock;
    audit_hash hash;
    uint64_t segment; /* by its name */
    uint64_t size;    /* bytes of whole records in the segment */
    uint64_t next;    /* number of the next record */
    uint8_t chain[AUDIT_CHAIN_BYTES];
    bool ragged; /* bytes behind size are to be cut off first */
    bool sync_failed;
    bool directory_dirty;
    int retired[AUDIT_RETIRED_MAX]; /* segments that are full, to be synced and closed */
    size_t retired_count;
    char *batch; /* AUDIT_BATCH_BYTES */
} audit_file;

/** Takes up the newest segment, or begins the first one. */
rpc_code trust__audit_file_open(audit_file *file, uint64_t *ret_torn, rpc_status *reterr);
void trust__audit_file_done(audit_file *file);
/** Moves records from waiting to done, as far as the disk takes them, with `written` set; those
 *  that are durable are on the disk. UNAVAILABLE: waiting is not empty. */
rpc_code trust__audit_file_write(
    audit_file *file, audit_list *waiting, audit_list *done, rpc_status *reterr);
/** Would the disk take a record now? UNAVAILABLE: no. Nothing changes. */
rpc_code trust__audit_file_probe(audit_file *file, rpc_status *reterr);
/** UNAVAILABLE with errno's text. what: "write to". */
rpc_code trust__audit_refused(const audit_file *file, const char *what, rpc_status *reterr);
/** The same for a failed sync, which no further attempt makes good. */
rpc_code trust__audit_not_synced(const audit_file *file, rpc_status *reterr);

/* ---- the writer (audit.c) and its threads (audit_thread.c) --------------------------------------
 *
 * LOCKS, in this order, both held for short:
 *   file_lock  the segment and `writing`, the records that are next. Held during write(), and
 *              during fdatasync() of durable records, which only the audit thread does.
 *   lock       all below it.
 * Records get their place in the chain, and their form, when they are written, so that one that is
 * refused leaves no gap. Callbacks run without a lock. */

#define AUDIT_SOON_US    3000    /* of the 5 ms promised: the rest is for waking up and writing */
#define AUDIT_SYNC_US    1000000 /* between two fdatasync, and between two attempts */
#define AUDIT_NEVER_US   INT64_MAX
#define AUDIT_MANY_BYTES (256u << 10) /* waiting: worth a write() of their own */

/** What one sync has to do; gathered under file_lock, done without it. */
typedef struct audit_sync {
    int retired[AUDIT_RETIRED_MAX];
    size_t retired_count;
    int directory_fd; /* -1 = nothing new in it */
    int fd;           /* -1 = not the current segment. Stays open: only syncs close segments */
    uint64_t flush;   /* of those who asked for it, the last */
    rpc_status status;
} audit_sync;

struct trust_audit {
    char *directory;
    int lock_fd;
    bool power;
    uint64_t torn;
    size_t waiting_bytes_max;
    int64_t stuck_us;

    pthread_mutex_t file_lock;
    audit_file file;
    audit_list writing;

    pthread_mutex_t lock;
    pthread_cond_t work, sync_work, flushed;
    audit_list waiting;
    int64_t wake_us;
    int64_t busy_since_us; /* the audit thread writes, or waits for one who does; 0 = no */
    bool dirty;            /* written since the last sync … */
    int64_t sync_us;       /* … which is due then */
    bool syncing;          /* from when `sync` is gathered until it is done */
    bool sync_given;       /* … to the sync thread, which has not begun */
    audit_sync sync;
    uint64_t flush_asked, flush_done;
    rpc_status flush_status;
    bool stopping, syncs_end;
    bool sync_failed;
    bool refusing;      /* the last attempt to write has failed */
    rpc_status failure; /* RPC_OK = healthy */

    atomic_size_t waiting_bytes; /* of `waiting` and `writing` */
    bool running, sync_running;
    pthread_t thread, sync_thread;

    /* seals; signer and what follows are the seal thread's */
    pthread_cond_t seal_work;
    bool seals_end, seals_running;
    rpc_status seal_failure; /* under lock; RPC_OK = healthy */
    pthread_t seal_thread;
    trust_signer *signer; /* NULL = none */
    int64_t seal_interval_us;
    int seal_fd;     /* -1 = not open */
    uint64_t sealed; /* record of the newest seal of this run */
};

/** What an attempt to write has come to. */
typedef struct audit_outcome {
    rpc_status status; /* RPC_OK, or why not all was written */
    bool wrote;
    bool full; /* there are full segments to sync and close */
    bool sync_failed;
} audit_outcome;

int64_t trust__audit_now_us(void);
/** Under lock: the audit thread looks again at that time, if it would not sooner. */
void trust__audit_wake_at(trust_audit *audit, int64_t when_us);
/** Under lock: is a write taking longer than any slow disk does? */
bool trust__audit_stuck(const trust_audit *audit, rpc_status *reterr);
/** Under file_lock: `waiting` goes behind `writing`. */
void trust__audit_take_waiting(trust_audit *audit);
/** Moves those of writing who wait for an answer to done: it is no. The others stay. */
void trust__audit_refuse_waiters(audit_list *writing, audit_list *done);
/** Health, and when the thread is needed next. */
void trust__audit_settle(trust_audit *audit, const audit_outcome *out);
/** Answers and frees them all; without a lock, for callbacks may write. */
void trust__audit_end_entries(trust_audit *audit, audit_list *done);
size_t trust__audit_cost(const audit_entry *entry);
void trust__audit_free_entry(audit_entry *entry);

/** Signs the head as it is, unless it was. */
rpc_code trust__audit_seal(trust_audit *audit, rpc_status *reterr);
/** False: no thread. */
bool trust__audit_seals_start(trust_audit *audit);
/** Seals a last time, after the last record. */
void trust__audit_seals_stop(trust_audit *audit);
/** False: no threads can be started. */
bool trust__audit_start(trust_audit *audit);
/** Writes and syncs what waits; then nobody writes any more. */
void trust__audit_stop(trust_audit *audit);

#endif
