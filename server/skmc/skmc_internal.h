/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of server/skmc share.
 *
 *  Threads: one thread talks to the SKM-S (talk.c) and alone changes what is kept. The lock guards
 *  which snapshots and mailboxes there are; nothing is waited for under it but its own
 *  conditions. Callbacks of calls only put what came into a mailbox and wake the thread. */
#ifndef SKMC_INTERNAL_H
#define SKMC_INTERNAL_H

#include "pins.h"
#include "skmc.h"
#include "skms/v1/signing_keys.pb-c.h"

#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

#define SKMC__SERVICE         "/skms.v1.SigningKeys/"
#define SKMC__SEALED_MAX      64u   /* keys in one answer */
#define SKMC__SEALED_BYTES    4096u /* of one */
#define SKMC__TOKEN_BYTES_MAX 1024u
#define SKMC__SEED_BYTES      32u
#define SKMC__POINT_BYTES     32u /* the public half: `x` */

/* ---- a snapshot (keys.c) --------------------------------------------------------------------- */

/** Takes signers and ring, and copies nothing of jwks but what may be published. On failure both
 *  stay the caller's. */
rpc_code skmc__keys_new(trust_signers *signers, trust_keyring *ring, const char *jwks,
    skmc_keys **ret, rpc_status *reterr);

/* ---- what is kept (keep.c, pins.c) ------------------------------------------------------------
 *
 *  In skms.directory: trust.json, the root and key sets by the rules of trust/pins.h; the sealing
 *  key; and, written beside, synced and renamed, kept.json:
 *    { "format", "val_service", "delegated", "token_sha256", "sealed": [{ "kid", "jwk" }] }
 *  Private keys are in it as they came: sealed. */

typedef struct skmc__folder {
    char *path;
    int fd; /* locked as long as it is open */
} skmc__folder;

/** Whether skmc__folder_open() would take it, also while another process holds it.
 *  FAILED_PRECONDITION. */
rpc_code skmc__folder_check(const char *path, rpc_status *reterr);

/** Opens and locks the folder of path. FAILED_PRECONDITION. */
rpc_code skmc__folder_open(const char *path, skmc__folder *ret, rpc_status *reterr);
void skmc__folder_close(skmc__folder *folder);
/** What is kept there; *ret is json_decref()'d. A folder without it: an empty one.
 *  FAILED_PRECONDITION: damaged. */
rpc_code skmc__kept_read(const skmc__folder *folder, json_t **ret, rpc_status *reterr);
/** UNAVAILABLE: the old one is still there. */
rpc_code skmc__kept_write(const skmc__folder *folder, const json_t *kept, rpc_status *reterr);

/** An X25519 key pair in locked memory. */
typedef struct skmc__sealing {
    uint8_t public_key[crypto_box_PUBLICKEYBYTES];
    uint8_t *secret_key; /* crypto_box_SECRETKEYBYTES, sodium_free() */
} skmc__sealing;
/** Reads the file, or makes a key and the file. */
rpc_code skmc__sealing_open(const char *path, bool make, skmc__sealing *ret, rpc_status *reterr);
void skmc__sealing_done(skmc__sealing *sealing);
/** The seed of a sealed private JWK, into locked memory (sodium_free()). INVALID_ARGUMENT: not
 *  sealed to us, or no Ed25519 key. Nothing of the secret is anywhere else. */
rpc_code skmc__unseal(
    const skmc__sealing *sealing, rpc_bytes sealed, uint8_t **ret, rpc_status *reterr);

/* ---- the client ------------------------------------------------------------------------------ */

/** A private half, of the key that the set has under that kid. */
typedef struct skmc__held {
    char kid[TRUST_KID_MAX + 1];
    uint8_t point[SKMC__POINT_BYTES];
    uint8_t *seed; /* locked memory */
} skmc__held;

/** One key set that is watched. */
typedef struct skmc__watch {
    struct skmc__watch *next;
    struct skmc *of;
    char service[TRUST_SERVICE_BYTES_MAX + 1];
    trust_purpose purpose;
    bool own;
    /* the mailbox; under the lock */
    bool ended;
    rpc_status end;
    rpc_message *news; /* the newest that came and was not looked at */
    /* the thread's */
    json_t *set; /* {"keys": …}, the newest that is believed; NULL: none */
    uint64_t version;
    rpc_call *call;
    int64_t due_us, wait_ms, started_us;
    bool complained;
    /* under the lock */
    trust_keyring *ring;           /* of one that is not own */
    int64_t issued_at, expires_at; /* of the set that is kept; 0: none */
    bool up;                       /* its stream has brought something */
    bool refused;                  /* what came last */
} skmc__watch;

struct skmc {
    skmc_options options;
    char *val_service, *target, *server_name, *enrolment_file, *sealing_key_file, *root_file,
        *root_fingerprint;
    int64_t timeout_ms, warn_s;
    skmc__folder folder;
    rpc_channel *channel;
    skmc__watch *watches, *own;
    pthread_t thread;
    bool running;
    /* the thread's */
    char *issuer;      /* of the SKM-S; NULL: its root is not known yet */
    uint64_t replaced; /* how often we have followed it */
    json_t *kept;
    trust_pins_unsaved pins;
    bool unsaved; /* what is kept is newer than its files */
    skmc__sealing sealing;
    skmc__held held[SKMC__SEALED_MAX];
    size_t held_count;
    int64_t enrol_due_us, enrol_wait_ms, fetch_due_us, fetch_wait_ms, save_due_us;
    uint8_t refused_sha256[32]; /* of a token that is not tried again */
    bool token_refused, enrol_complained, fetch_complained, save_complained;
    bool missing; /* the set has keys of ours whose private halves are not here */
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* of the thread: a mailbox, or stopping */
    pthread_cond_t settled; /* the first answer, or other keys */
    bool stopping, answered;
    bool renewed; /* new certificates: streams are made anew */
    skmc_keys *keys;
    int64_t signs_until;       /* the last of our keys that is here; 0: none */
    bool denied, unsaved_told; /* for health */
    bool asked;                /* for private halves, because Sign was refused */
    int64_t ask_due_us;
    uint64_t own_version; /* where options.next_version is NULL */
    host_counter *sets_taken, *sets_refused, *keys_taken, *signed_total, *sign_failed;
};

int64_t skmc__now_us(const skmc *s);
int64_t skmc__now_s(const skmc *s);
rpc_code skmc__no_memory(rpc_status *reterr);

/** One question, waiting; skmc_close() ends it. ret_hold: the answer's memory, to be released.
 *  The thread's. */
rpc_code skmc__ask(skmc *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **ret, rpc_message **ret_hold,
    rpc_status *reterr);

/** trust_sign_fn: Sign, of the SKM-S. Any thread but the client's own. */
rpc_code skmc__sign(
    void *ctx, const char *kid, rpc_bytes message, uint8_t ret_signature[64], rpc_status *reterr);

/* ---- private halves (held.c) ----------------------------------------------------------------- */

/** NULL: it is not held. */
const skmc__held *skmc__held_find(const skmc *s, const char *kid);
/** Does that key sign at some time from now on, by the set of now? Its public half then. */
bool skmc__signs_once(const skmc *s, const char *kid, uint8_t ret_point[SKMC__POINT_BYTES]);
/** Takes one that came, if the set has its public half under that kid and it is not held yet. */
void skmc__held_take(skmc *s, const char *kid, rpc_bytes sealed);
/** By the set of now: drops, in memory and of what is kept, those that sign nothing any more, and
 *  opens the others that are kept. */
void skmc__held_renew(skmc *s);
void skmc__held_done(skmc *s);

/* ---- own keys (own.c) ------------------------------------------------------------------------ */

/** What the snapshot of now is made of: the kept set, and the private halves that are held. Makes
 *  and publishes a new one, and tells the owner. Sets s->missing. */
void skmc__own_publish(skmc *s);
/** What a refusal of Sign is to who wanted to sign: ABORTED, where other keys may come in a moment;
 *  after PERMISSION_DENIED they are asked for, once in some seconds. UNAVAILABLE. Any thread. */
rpc_code skmc__sign_refused(skmc *s, const rpc_status *why, rpc_status *reterr);
/** Takes what GetSigningKey answered. FAILED_PRECONDITION: there are keys whose private halves are
 *  still missing; INVALID_ARGUMENT. */
rpc_code skmc__own_take(skmc *s, const Skms__V1__GetSigningKeyResponse *answer, rpc_status *reterr);
/** Enrols, or asks for keys, where that is due; returns when the next is (monotonic). */
int64_t skmc__own_tend(skmc *s);

/** A root is one, and has that fingerprint ("": any). INVALID_ARGUMENT. */
rpc_code skmc__root_judge(const char *root_jwk, const char *fingerprint,
    char ret_fingerprint[TRUST_FINGERPRINT_SIZE], rpc_status *reterr);
/** Which root is pinned in the folder. FAILED_PRECONDITION. */
rpc_code skmc__pins_open(skmc *s, rpc_status *reterr);
/** Pins the first one. INVALID_ARGUMENT, and what keeps it from being written. */
rpc_code skmc__pin(skmc *s, const char *root_jwk, rpc_status *reterr);
/** The set that is kept, where there is one. */
void skmc__pins_read(skmc *s, skmc__watch *w);
/** What came, if it is believed, which it is before it is written. *ret_newer: it changes
 *  something. */
rpc_code skmc__pins_take(
    skmc *s, skmc__watch *w, const Skms__V1__KeySet *message, bool *ret_newer, rpc_status *reterr);
/** Writes what could not be. */
rpc_code skmc__pins_save(skmc *s, rpc_status *reterr);

/** From now on somebody need not wait for the first answer any more. */
void skmc__settle(skmc *s);
uint64_t skmc__next_version(skmc *s);
/** The set of a watch as a ring under a new version. ret_jwks: NULL, or its text. */
rpc_code skmc__ring_of(
    skmc *s, const skmc__watch *w, char **ret_jwks, trust_keyring **ret, rpc_status *reterr);

/** Writes what is kept, if it was not; on failure it is tried again later. */
void skmc__save(skmc *s);
/** Half to all of it, so that those who were cut off together do not come together; doubles
 *  *wait_ms. Returns when. */
int64_t skmc__later(const skmc *s, int64_t *wait_ms);

Skms__V1__Purpose skmc__wire_purpose(trust_purpose purpose);

/** Publishes every set that is kept: before the thread runs. */
void skmc__publish_kept(skmc *s);
/** The thread. */
void *skmc__talk(void *arg);

#endif
