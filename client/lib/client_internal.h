/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of libdacm share. See dacm.h for threads and errors. */
#ifndef DACM_CLIENT_INTERNAL_H
#define DACM_CLIENT_INTERNAL_H

#include "dacm.h"
#include "rpc.h"

#include <pthread.h>

#define CLIENT_ENTRY_BYTES       36u          /* length (u32, big-endian) and SHA-256 */
#define CLIENT_CHUNK_BYTES_MAX   (512u << 10) /* a message carries whole chunks */
#define CLIENT_QUEUE_MAX         65536u       /* messages received and not yet looked at */
#define CLIENT_STALL_MS          60000        /* a stream that says nothing for so long is dead */
#define CLIENT_ADAPT_MS          300000       /* … but one that waits for its variant: a token's life */
#define CLIENT_FILE_BYTES_MAX    (64u << 20)  /* manifests, lists and key sets that we read */
#define CLIENT_TOKEN_BYTES_MAX   32768u
#define CLIENT_REQUEST_ID_HEADER "dacm-request-id"
#define CLIENT_RETRY_HEADER      "grpc-retry-pushback-ms"

/* ---- errors (error.c) ------------------------------------------------------------------ */

/** Fills error (NULL is allowed), without a request ID, and returns code. */
dacm_code client__fail(dacm_error *error, dacm_code code, const char *format, ...) RPC_PRINTF(3, 4);
dacm_code client__fail_status(dacm_error *error, const rpc_status *status);
/** "what 'path': why" with the text of errno; LOCAL_FILE. */
dacm_code client__fail_file(dacm_error *error, const char *what, const char *path);
/** Text of the server's for a caller who may print it: cut to room, without control characters. */
void client__copy_text(char *ret, size_t room, const char *text);

/* ---- the client (client.c) ---------------------------------------------------------------- */

typedef struct client_keys client_keys;   /* manifest.c */
typedef struct client_watch client_watch; /* keywatch.c */

struct dacm_client {
    rpc_runtime *runtime;
    bool borrowed; /* the runtime is another client's */
    rpc_channel *channel;
    const rpc_clock *clock;
    char *token;
    dacm_token_fn *token_fn;
    void *token_ctx;
    client_keys *keys; /* NULL: no key at all, or those of trust_dir */
    char *issuer;
    char *state_dir;
    char *trust_dir;
    client_watch *watch; /* NULL: no SKM-S is asked */
    dacm_verify verify;
    int64_t timeout_ms;
    unsigned attempts;
    pthread_mutex_t state_lock; /* guards the files in state_dir within this process */
};

/** The connection to an SKM-S, by the same calls: bounded answers, and dead peers are noticed.
 *  runtime NULL: one of its own. Of options those of the connection count. */
dacm_code client__new_keyserver(const dacm_client_options *options, rpc_runtime *runtime,
    dacm_client **ret, dacm_error *reterr);

/** INVALID_ARGUMENT with the rule. */
dacm_code client__check_asset(const char *asset_id, dacm_error *reterr);
/** Tells how a user goes into a request: *ret_external when it is an External ID. */
dacm_code client__check_user(const char *user, bool *ret_external, dacm_error *reterr);
/** Of both: what most requests name. */
dacm_code client__check_subject(
    const char *asset_id, const char *user, bool *ret_external, dacm_error *reterr);

/* ---- calls (exchange.c) -------------------------------------------------------------------- */

/** Where the strands leave what has happened and the calling thread waits for it. One mailbox
 *  serves all exchanges of an operation. Its lock guards every member of its exchanges that the
 *  comment marks; no other lock is taken and no callback of the user runs while it is held. */
typedef struct client_mailbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool nudged; /* guarded by lock: client__wait() returns without an event */
} client_mailbox;

void client__mailbox_init(client_mailbox *mailbox);
/** After every exchange of it was closed. */
void client__mailbox_done(client_mailbox *mailbox);

typedef struct client_exchange client_exchange;

/** Starts a call. need says what token is wanted; NULL = none. */
dacm_code client__exchange_open(dacm_client *client, client_mailbox *mailbox, const char *path,
    const dacm_token_request *need, int64_t timeout_ms, client_exchange **ret, dacm_error *reterr);
/** Cancels it if it runs, waits for its end, frees it. NULL is allowed. */
void client__exchange_close(client_exchange *exchange);
rpc_call *client__exchange_call(client_exchange *exchange);

typedef enum client_event {
    CLIENT_EVENT_NONE,     /* nothing within the time given, or client__nudge() */
    CLIENT_EVENT_MESSAGE,  /* *ret_message is the caller's */
    CLIENT_EVENT_WRITABLE, /* after RPC_SENT_BUSY */
    CLIENT_EVENT_END,      /* ret_status is how it ended; comes again if asked again */
} client_event;

/** The next event of any of the exchanges (NULL entries are skipped), waiting at most wait_ms.
 *  Messages come before the end. */
client_event client__wait(client_mailbox *mailbox, client_exchange *const *exchanges, size_t count,
    int64_t wait_ms, size_t *ret_index, rpc_message **ret_message, dacm_error *ret_status);

/** Ends one client__wait(), that which runs or the next. Any thread. */
void client__nudge(client_mailbox *mailbox);

/** Sleeps before a connection is tried again: 100 ms, twice as long after each failure before it,
 *  at most 3.2 s. */
void client__back_off(unsigned failures);

/** protobuf-c's structs take char *, and packing never writes to them. */
static inline char *client__text(const char *text)
{
    return (char *)(uintptr_t)text;
}

/** One request, one reply: unpacked into *ret_message, which the caller releases.
 *  ret_request_id (may be NULL) holds 64 bytes. */
dacm_code client__unary(dacm_client *client, const char *path, const dacm_token_request *need,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_descriptor,
    rpc_message **ret_message, ProtobufCMessage **ret, dacm_error *reterr);

/* ---- received parts (wire.c) ----------------------------------------------------------------- */

typedef enum client_part_kind {
    CLIENT_PART_START,
    CLIENT_PART_LIST,
    CLIENT_PART_CHUNKS,
} client_part_kind;

/** A DownloadResponse as it stands in the packed message; borrowed from it. */
typedef struct client_part {
    client_part_kind kind;
    uint32_t first; /* chunks */
    rpc_bytes data; /* start: the packed DownloadStart; list: entries; chunks: data */
} client_part;

/** Reads one message strictly: exactly one part, each field at most once, right wire types,
 *  nothing cut; unknown fields are skipped. False: *ret_why is a static sentence. */
bool client__read_part(rpc_bytes message, client_part *ret, const char **ret_why);

/* ---- chunk lists (chunks.c) --------------------------------------------------------------------
 */

typedef struct client_chunks {
    uint32_t count;
    uint8_t *entries;  /* count × CLIENT_ENTRY_BYTES */
    uint64_t *offsets; /* count + 1 */
} client_chunks;

void client__sha256(rpc_bytes data, uint8_t ret[32]);
/** Judges entries against the digest in the manifest (NULL: a list that is only a hint) and the
 *  object's size. entries are copied. */
dacm_code client__chunks_init(client_chunks *chunks, rpc_bytes entries, const uint8_t digest[32],
    uint64_t object_size, dacm_error *reterr);
void client__chunks_done(client_chunks *chunks);
uint32_t client__chunk_length(const client_chunks *chunks, uint32_t index);
const uint8_t *client__chunk_digest(const client_chunks *chunks, uint32_t index);
/** The chunk that holds the byte; count when beyond the end. */
uint32_t client__chunk_at(const client_chunks *chunks, uint64_t offset);

/* ---- manifests (manifest.c)
 * ---------------------------------------------------------------------- */

typedef struct client_manifest {
    dacm_manifest said;
    uint8_t chunks[32];
    bool signature_valid;
    bool expired;
    char *jws; /* owned */
} client_manifest;

dacm_code client__keys_load(const char *file, client_keys **ret, dacm_error *reterr);
/** Those of the key set that is kept of a service; NO_KEY, FAILED_PRECONDITION (expired). */
dacm_code client__keys_trusted(const dacm_trust *trust, const char *service, bool take_expired,
    client_keys **ret, bool *ret_expired, dacm_error *reterr);
/** The `iss` that a manifest claims, verified by nothing; BAD_SIGNATURE. */
dacm_code client__manifest_issuer(rpc_bytes jws, char ret[256], dacm_error *reterr);
void client__keys_free(client_keys *keys);
/** Signature, type and syntax; NO_KEY or BAD_SIGNATURE. keys may be NULL (no key). */
dacm_code client__manifest_read(const client_keys *keys, const char *issuer, dacm_verify verify,
    rpc_bytes jws, int64_t now_s, client_manifest *ret, dacm_error *reterr);
void client__manifest_done(client_manifest *manifest);

/* ---- files (files.c)
 * ------------------------------------------------------------------------------- */

/** Reads a whole file of at most max bytes; *ret is malloc'd, with a NUL behind it. */
dacm_code client__read_file(
    const char *path, size_t max, char **ret, size_t *ret_size, dacm_error *reterr);
/** Writes beside and renames; mode 0600. */
dacm_code client__write_file(const char *path, rpc_bytes content, dacm_error *reterr);

/** A file in the making. */
typedef struct client_output {
    int fd; /* -1: none */
    char *path, *temporary;
} client_output;

dacm_code client__output_open(
    client_output *output, const char *path, uint64_t size, dacm_error *reterr);
dacm_code client__output_write(
    client_output *output, uint64_t offset, rpc_bytes data, dacm_error *reterr);
/** To the disk and into place. */
dacm_code client__output_commit(client_output *output, dacm_error *reterr);
/** Removes what was not committed. */
void client__output_done(client_output *output);
/** What is there of it stays under its temporary name. */
void client__output_leave(client_output *output);
/** path with suffix; malloc'd, NULL when memory is short. */
char *client__path(const char *path, const char *suffix);

/* ---- what an interrupted download left (partial.c) ------------------------------------------- */

typedef struct client_partial {
    int fd;            /* locked; -1: none */
    char *path, *list; /* FILE.part, FILE.part.chunks */
} client_partial;

/** Opens or makes FILE.part. OK with fd -1 when another download holds it. */
dacm_code client__partial_open(client_partial *partial, const char *file, dacm_error *reterr);
/** A new, empty one with this list; who has the old one open goes on reading it. */
dacm_code client__partial_restart(client_partial *partial, rpc_bytes entries, dacm_error *reterr);
/** The output of file goes there. */
dacm_code client__partial_output(const client_partial *partial, const char *file, uint64_t size,
    client_output *output, dacm_error *reterr);
/** Both files, unless they have become the download's result. */
void client__partial_remove(const client_partial *partial);
void client__partial_done(client_partial *partial);

/* ---- highest version seen (state.c)
 * ------------------------------------------------------------------- */

/** Makes the folder (mode 0700) and takes its lock, waiting for whoever has it; close *ret_fd. */
dacm_code client__lock_folder(const char *folder, int *ret_fd, dacm_error *reterr);
/** BAD_SIGNATURE when a higher version of the asset was seen before; else remembers this one. */
dacm_code client__state_advance(dacm_client *client, const char *issuer, const char *asset_id,
    uint64_t version, dacm_error *reterr);

/* ---- pinned roots (trusted.c) -------------------------------------------------------------------
 */

/** What an SKM-S answered to one question, as dacm_trust_update() takes it. */
dacm_code client__trusted_answer(const dacm_trust *trust, rpc_bytes text, const char *issuer,
    const char *service, dacm_keys_for purpose, dacm_trust_change *ret, dacm_error *reterr);

/* ---- an earlier copy (have.c)
 * ------------------------------------------------------------------------- */

typedef struct client_have {
    int fd; /* -1: none */
    client_chunks chunks;
    uint8_t *good;   /* count flags: the file's bytes have the digest in the list */
    uint32_t *order; /* chunk indexes sorted by digest */
    uint32_t good_count;
    bool whole;         /* all chunks good and no byte beyond */
    uint8_t sha256[32]; /* of the file, when whole */
} client_have;

/** Nothing here is believed: each chunk is hashed. A copy without .chunks is cut anew. */
dacm_code client__have_open(client_have *have, const char *file, dacm_error *reterr);
void client__have_done(client_have *have);
/** Reads the chunk with that digest and length and checks it again; false when not held. */
bool client__have_read(
    const client_have *have, const uint8_t digest[32], uint32_t length, uint8_t *ret_data);

#endif
