/* SPDX-License-Identifier: Apache-2.0 */
/** The audit trail: what was decided and changed, in append-only files whose lines are chained by
 *  hash, so that changing or removing anything but the newest records is found; of whole segments
 *  that were removed at the beginning, the first number that is left tells. Who wants to find even
 *  that newest ones were removed keeps a copy of the head (trust_audit_verify()) elsewhere.
 *
 *  A trail is a folder of segments `audit-<number of its first record, 20 digits>.log`. A line is
 *  64 hex digits, a blank, a JSON object, a newline; the digits are
 *  SHA-256(the 32 bytes of the line before ‖ the JSON). The first line of a segment is its header,
 *  {"segment": first record, "previous": "digits of the last line before, or zeros",
 *  "time_ms": when it was begun}, and follows from that line. Records are numbered from 1; headers
 *  are not counted. sha256sum is all that is needed to check a trail without us.
 *
 *  A record that repeats another but for its time and request may be short:
 *  {"time_ms": when, "request_id": "its own", "as": "request_id of that record"}. All other members
 *  are those of the record named, which stands before it in the same segment: whoever removes old
 *  segments cuts no reference.
 *
 *  A trail may be sealed: with a key of the server's (TRUST_FOR_AUDIT) its head is signed each
 *  seal_interval_ms, and when it is closed, into `audit.seals` beside the segments: a line each, a
 *  JWS (typ dacm-audit+jwt) of {"record": n, "chain": "the digits of that record's line",
 *  "time_ms"}. Whoever can write the folder and has not the key can then change nothing up to the
 *  newest seal.
 *
 *  A program that runs under a limit of file sizes ignores SIGXFSZ, as it does SIGPIPE.
 *
 *  Records may name pseudonyms, never tokens, keys or GPSIs: that is the caller's care. */
#ifndef DACM_TRUST_AUDIT_H
#define DACM_TRUST_AUDIT_H

#include "base.h"
#include "trust.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRUST_AUDIT_RECORD_BYTES_MAX      4096u
#define TRUST_AUDIT_COMMON_BYTES_MAX      (TRUST_AUDIT_RECORD_BYTES_MAX - 128u)
#define TRUST_AUDIT_REQUEST_ID_MAX        64u
#define TRUST_AUDIT_WAITING_BYTES_MIN     (1u << 20)
#define TRUST_AUDIT_WAITING_BYTES_DEFAULT (32u << 20)
#define TRUST_AUDIT_STUCK_MS_DEFAULT      10000u
#define TRUST_AUDIT_SEAL_MS_DEFAULT       10000u
#define TRUST_AUDIT_SEGMENT_BYTES_MIN     8192u
#define TRUST_AUDIT_SEGMENT_BYTES_DEFAULT (64u << 20)

/** The one writer of a trail. Any thread. */
typedef struct trust_audit trust_audit;

/** Borrowed by open; clock stays the caller's until close. */
typedef struct trust_audit_options {
    const char *directory;      /* made with mode 0700 when only its last part is missing */
    bool power;                 /* TRUST_AUDIT_BEFORE survives loss of power, not just our end */
    uint64_t segment_bytes_max; /* ≥ 8 KiB; 0 = 64 MiB. A segment grows beyond it while no further
                                   one can be begun */
    const rpc_clock *clock;     /* wall time of headers; NULL = the system's */
    size_t waiting_bytes_max; /* ≥ 1 MiB; 0 = 32 MiB: memory for records the disk has not taken */
    trust_signer *signer;     /* of seals; taken, also on failure; NULL = none are made */
    unsigned seal_interval_ms; /* 0 = 10 s */
    unsigned stuck_ms;         /* a write that takes longer is no slow disk any more but a broken
                                  one; 0 = 10 s */
} trust_audit_options;

/** Opens a trail for writing, or begins one; reads the newest segment through, and starts the
 *  audit thread. A last line that was torn by a crash is cut off: trust_audit_torn_bytes().
 *
 *  INVALID_ARGUMENT: options; FAILED_PRECONDITION: somebody else writes it; DATA_LOSS: the newest
 *  segment does not verify (file and line are named; nothing was changed); UNAVAILABLE: the folder
 *  or a file cannot be used; RESOURCE_EXHAUSTED: memory or threads. *ret is set on RPC_OK only. */
RPC_API RPC_MUST_USE rpc_code trust_audit_open(
    const trust_audit_options *options, trust_audit **ret, rpc_status *reterr);
/** Writes and syncs what waits, runs the callbacks that are due, ends the thread. Nobody may be
 *  using it any more, and not from a callback. What the disk refuses now is lost: call
 *  trust_audit_flush() before to know. NULL is allowed. */
RPC_API void trust_audit_close(trust_audit *audit);
/** Bytes of a torn last line that open cut off; worth a warning in the log. */
RPC_API uint64_t trust_audit_torn_bytes(const trust_audit *audit);

typedef enum trust_audit_class {
    TRUST_AUDIT_SOON,   /* in the kernel within 5 ms */
    TRUST_AUDIT_BEFORE, /* in the kernel (with power: on the disk) before the answer */
} trust_audit_class;

/** Runs once, on the audit thread or on one that writes; may write records, but not flush or close.
 *  written: false when the disk refused the record, which is then not in the trail. */
typedef void trust_audit_fn(void *arg, bool written);

/** Adds a record. Records of one thread keep their order.
 *
 *  json         one JSON object, copied: UTF-8 from `{` to `}`, without control characters (no
 *               newline), ≤ 4,096 bytes. Only that is checked.
 *  fn, arg      for a record that is pending; NULL: it never is, which with `power` a record
 *               TRUST_AUDIT_BEFORE cannot do without.
 *  ret_pending  false: it is done, fn is not called. true: the answer is to be held back until fn
 *               runs, perhaps before this returns.
 *
 *  TRUST_AUDIT_SOON only queues; where the disk refuses, such records wait and are tried again
 *  with each new record and each second. Once a quarter of waiting_bytes_max waits for a disk that
 *  is slow, the record is pending until the kernel has it: so those who call are slowed down to
 *  what the disk takes, and nobody is refused.
 *
 *  TRUST_AUDIT_BEFORE is one write() on the calling thread; while another thread writes, or much
 *  waits, it is pending instead, if there is fn: nobody waits for the disk of another. With `power`
 *  it is always pending, and all who wait share one fdatasync.
 *
 *  INVALID_ARGUMENT: json, or fn is missing; RESOURCE_EXHAUSTED: waiting_bytes_max wait already, or
 *  memory; UNAVAILABLE: the disk refuses, or a write has taken stuck_ms. The record is then not in
 *  the trail. */
RPC_API RPC_MUST_USE rpc_code trust_audit_write(trust_audit *audit, rpc_bytes json,
    trust_audit_class durability, trust_audit_fn *fn, void *arg, bool *ret_pending,
    rpc_status *reterr);

/** What records that will come have in common: written in full with the first of them in each
 *  segment, which the others name. For one trail. Any thread. */
typedef struct trust_audit_common trust_audit_common;
/** json  one JSON object as for trust_audit_write(), copied: ≤ 3,968 bytes, with one member at
 *        least, none of them time_ms, request_id or as.
 *  NULL with *reterr: INVALID_ARGUMENT: json; RESOURCE_EXHAUSTED: memory. */
RPC_API RPC_MUST_USE trust_audit_common *trust_audit_common_new(rpc_bytes json, rpc_status *reterr);
RPC_API trust_audit_common *trust_audit_common_ref(trust_audit_common *common);
/** NULL is allowed. */
RPC_API void trust_audit_common_unref(trust_audit_common *common);
/** Adds {"time_ms": time_ms, "request_id": "request_id", the members of common}, in the short form
 *  where the trail allows it; otherwise as trust_audit_write().
 *
 *  request_id  1 to 64 of A-Z a-z 0-9 . _ ~ -; no other record of the trail has it.
 *  common      borrowed. */
RPC_API RPC_MUST_USE rpc_code trust_audit_write_common(trust_audit *audit,
    trust_audit_common *common, int64_t time_ms, const char *request_id,
    trust_audit_class durability, trust_audit_fn *fn, void *arg, bool *ret_pending,
    rpc_status *reterr);

/** Bytes of memory that records take which the disk has not yet taken. */
RPC_API size_t trust_audit_waiting_bytes(const trust_audit *audit);
/** Writes and syncs what waits. Blocks; not from a callback. UNAVAILABLE: the disk refuses, what
 *  waits goes on waiting. */
RPC_API RPC_MUST_USE rpc_code trust_audit_flush(trust_audit *audit, rpc_status *reterr);
/** False with *reterr while the disk refuses, a seal cannot be made or a write takes more than
 *  stuck_ms; after a failed
 *  sync until the trail is opened anew, since nobody can tell what the disk has kept. */
RPC_API bool trust_audit_healthy(trust_audit *audit, rpc_status *reterr);

/* Readers block, need no writer, and may run beside one, also from another process. A line that is
 * being written is left out. NOT_FOUND: there is no such folder; UNAVAILABLE: it cannot be read;
 * RESOURCE_EXHAUSTED: memory. */

/** json is valid for the call; false ends the scan. */
typedef bool trust_audit_record_fn(void *ctx, rpc_bytes json);

/** Calls fn, oldest first, for the records of every segment that may hold records of from_ms to
 *  to_ms (both inclusive): whole segments, so fn looks at the record's own time. Segments are
 *  chosen by the times in their headers with an hour to spare; those in which the clock went back,
 *  and the newest one, are always read. Only records that verify are given.
 *
 *  DATA_LOSS, after all were given: a segment that was read does not verify; file and line of the
 *  first fault are named. INVALID_ARGUMENT: from_ms is above to_ms. */
RPC_API RPC_MUST_USE rpc_code trust_audit_scan(const char *directory, int64_t from_ms,
    int64_t to_ms, trust_audit_record_fn *fn, void *ctx, rpc_status *reterr);

/** Follows the whole chain from the oldest segment that is there.
 *
 *  ret_first    the number of its first record: 1, or what was before has been moved away.
 *  ret_records  how many there are.
 *  ret_head     the last line's 64 digits, NUL-terminated; zeros for an empty trail.
 *
 *  DATA_LOSS: names the file and line where it breaks, or names a record that does not stand before
 *  it in its segment. */
RPC_API RPC_MUST_USE rpc_code trust_audit_verify(const char *directory, uint64_t *ret_first,
    uint64_t *ret_records, char ret_head[65], rpc_status *reterr);

/** Seals that hold. */
typedef struct trust_audit_sealed {
    uint64_t count;
    uint64_t record; /* the newest record that one is of; 0 = none */
    int64_t time_ms; /* … and when it was made */
} trust_audit_sealed;
/** The same, and each seal must be of a key of ring and of the very record that it names; those of
 *  segments that were moved away are left out. How old the newest is, is for the caller to judge.
 *  DATA_LOSS also: a seal that does not verify, is of another record or of one that is missing; no
 *  seals at all. */
RPC_API RPC_MUST_USE rpc_code trust_audit_verify_sealed(const char *directory,
    const trust_keyring *ring, uint64_t *ret_first, uint64_t *ret_records, char ret_head[65],
    trust_audit_sealed *ret_sealed, rpc_status *reterr);

#ifdef __cplusplus
}
#endif
#endif
