/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the audit trail share. */
#ifndef DACM_TRUST_AUDIT_INTERNAL_H
#define DACM_TRUST_AUDIT_INTERNAL_H

#include "audit.h"

#include <openssl/evp.h>

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

/* ---- the segment under the pen (audit_file.c) --------------------------------------------------
 */

#define AUDIT_RETIRED_MAX 8
#define AUDIT_BATCH_BYTES (1u << 20)

/** A record on its way. */
typedef struct audit_entry {
    struct audit_entry *next;
    trust_audit_fn *fn; /* NULL = nobody waits */
    void *arg;
    bool written; /* for fn */
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
    uint64_t size; /* bytes of whole records in the segment */
    uint64_t next; /* number of the next record */
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
/** Moves records from waiting to done, as far as the disk takes them, with `written` set. With
 *  power, those with fn are on the disk. UNAVAILABLE: waiting is not empty. */
rpc_code trust__audit_file_write(
    audit_file *file, audit_list *waiting, audit_list *done, rpc_status *reterr);
/** Would the disk take a record now? UNAVAILABLE: no. Nothing changes. */
rpc_code trust__audit_file_probe(audit_file *file, rpc_status *reterr);
/** UNAVAILABLE with errno's text. what: "write to". */
rpc_code trust__audit_refused(const audit_file *file, const char *what, rpc_status *reterr);
/** The same for a failed sync, which no further attempt makes good. */
rpc_code trust__audit_not_synced(const audit_file *file, rpc_status *reterr);

#endif
