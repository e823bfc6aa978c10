/* SPDX-License-Identifier: Apache-2.0 */
/** Inside skmsd's state (state.h).
 *
 *  Locks. `change` is held by whoever changes something, the store's answer included: one at a
 *  time. `lock` guards what all threads read; it is taken for writing only to put in place what
 *  the store already has, and never while anything is waited for. change comes before lock.
 *  `telling` is held while the audit trail is told of signatures, and comes before lock too. */
#ifndef SKM_STATE_INTERNAL_H
#define SKM_STATE_INTERNAL_H

#include "locked.h"
#include "state.h"

#include "skm_records.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>

#define SKM__SEED_BYTES   32u
#define SKM__RECORD_ARENA (256u << 10)
#define SKM__IDENTITY_MAX 512u
#define SKM__REASONS      7u /* kinds that revocations are counted by */

/** What never changes of a key, and its life. */
typedef struct skm__key {
    char kid[TRUST_KID_MAX + 1];
    uint8_t public_key[32];
    skm_key_life life;
    char reason[SKM_REASON_MAX + 1];
    bool has_seed;
    uint8_t sealed_seed[SKM__SEED_BYTES + SKM_SEAL_BYTES];
    _Atomic(trust_signer *) signer;    /* delegated: unsealed with the first signature */
    atomic_uint_fast64_t signatures;   /* for who asks */
    atomic_uint_fast64_t left, ask_at; /* counted.c */
    uint64_t made, granted;            /* under telling */
} skm__key;

struct skm_keyset {
    atomic_uint refs;
    uint64_t version, serial;
    int64_t issued_at, expires_at;
    char *jws, *jwks;
};

typedef struct skm__service skm__service;

typedef struct skm__set {
    skm__service *service;
    skm_purpose purpose;
    host_key group;
    uint64_t generation;
    uint64_t version; /* 0: never published */
    uint8_t published_sha256[32];
    size_t count;
    skm__key *keys[SKM_LIFE_KEYS_MAX]; /* by signs_from */
    skm_keyset *published;
    uint64_t root;     /* sequence of the root that signed it */
    int64_t looked_at; /* when it was last made what it had to be then */
} skm__set;

typedef struct skm__enrolment {
    char san[SKM_SAN_MAX + 1];
    bool has_token, enrolled;
    uint8_t token_sha256[32], sealing_key[SKM_SEALING_BYTES];
    int64_t token_expires_at, enrolled_at;
    char client_issuer[SKM_CLIENT_MAX + 1], client_id[SKM_CLIENT_MAX + 1]; /* "" = none */
} skm__enrolment;

struct skm__service {
    char name[SKM_SERVICE_MAX + 1];
    host_key group;
    uint64_t generation;
    skm_policy policy;
    int64_t created_at;
    skm__set *sets[SKM_PURPOSES + 1]; /* by purpose; NULL: no such keys */
    size_t enrolment_count;
    skm__enrolment enrolments[SKM_ENROLMENTS_MAX];
};

typedef uint8_t skm__point[32]; /* the public half of an Ed25519 key */

typedef struct skm__root {
    uint64_t sequence; /* of the one of now */
    trust_signer *signer;
    char *jwk;
    char **statements;  /* sequence - 1 of them */
    skm__point *points; /* of all roots there were, sequence of them */
    uint64_t generation;
} skm__root;

typedef struct skm__member {
    const char *san;
    skm__service *service;
    const skm__enrolment *enrolment;
} skm__member;

#define SKM__THUMBPRINT_CHARS 43u /* of SHA-256, base64url: every kid here */

/** A key that was revoked and that its set has forgotten (barred.c). */
typedef struct skm__barred {
    char kid[SKM__THUMBPRINT_CHARS + 1];
    const skm__service *service; /* NULL: nobody knows whose it was */
    int64_t revoked_at;
} skm__barred;

typedef struct skm__barred_list {
    size_t count, room;
    skm__barred *keys; /* by kid */
    uint64_t generation;
} skm__barred_list;

struct skm_state {
    store *db;
    const rpc_clock *clock;
    char issuer[256];
    skm_policy policy;
    int64_t set_life_s, token_life_s;
    size_t services_max;
    bool allow_unlocked;
    skm_vault *vault;
    pthread_mutex_t change, telling;
    pthread_rwlock_t lock;
    skm__root root;
    size_t service_count;
    skm__service **services; /* by name */
    size_t member_count;
    skm__member *members;    /* those enrolled, by name: rebuilt with each change of one */
    skm__barred_list barred; /* under change */
    atomic_bool tended;
    void (*watch)(void *ctx, const char *service, skm_purpose purpose);
    void *watch_ctx;
    host_counter *changes, *signed_sets, *signatures;
    host_counter *revoked[SKM_PURPOSES + 1][SKM__REASONS]; /* by purpose and kind of reason */
};

static inline int64_t skm__now_s(const skm_state *state)
{
    return rpc_clock_wall_ms(state->clock) / 1000;
}

rpc_code skm__no_memory(rpc_status *reterr);
/** Of service, purpose and kid: what a sealed seed is bound to. */
void skm__identity(const char *kind, const char *service, skm_purpose purpose, const char *kid,
    char ret[SKM__IDENTITY_MAX]);
trust_purpose skm__trust_purpose(skm_purpose purpose);

/* ---- the store (records.c) ---- */

extern const rpc_bytes skm__main;        /* the empty item */
extern const rpc_bytes skm__vault_group; /* the one group whose record has no tag */
host_key skm__key_of_set(const char *service, skm_purpose purpose);
/** DATA_LOSS: its tag is not of this server, or it is no such record. */
rpc_code skm__unpack(const skm_state *state, const store_entry *entry,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    rpc_status *reterr);
/** *ret stays NULL when there is no such record, which is RPC_OK; ret_generation may be NULL. */
rpc_code skm__read(skm_state *state, rpc_bytes group, rpc_bytes item,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    uint64_t *ret_generation, rpc_status *reterr);
/** What records of a scan are, and who takes them; main: of those without an item's name. */
typedef struct skm__loading {
    store_scan_request request;
    const ProtobufCMessageDescriptor *main, *others;
    /* Both are valid during the call; what is not RPC_OK ends the loading. */
    rpc_code (*take)(
        void *ctx, const store_entry *entry, const ProtobufCMessage *record, rpc_status *reterr);
    void *ctx;
} skm__loading;
/** Takes all of them, in their order. As skm__unpack(), take() and the store say. */
rpc_code skm__load(const skm_state *state, const skm__loading *loading, rpc_status *reterr);
/** Of the group's last update. */
rpc_code skm__generation(
    const skm_state *state, rpc_bytes group, uint64_t *ret, rpc_status *reterr);

/** Changes of one group, collected, then written as one. Zero before; done() afterwards. */
typedef struct skm__changes {
    size_t count;
    store_change list[SKM_LIFE_KEYS_MAX * 2 + 2];
    host_key items[SKM_LIFE_KEYS_MAX * 2 + 2];
    bool failed; /* memory was short */
} skm__changes;
void skm__put(skm__changes *changes, const host_key *item, const ProtobufCMessage *message);
void skm__delete(skm__changes *changes, const host_key *item);
void skm__changes_done(skm__changes *changes);
/** Once for the same changes. *generation is what the group has, and gets what it has then. */
rpc_code skm__write(skm_state *state, rpc_bytes group, skm__changes *changes, uint64_t *generation,
    rpc_status *reterr);

/* ---- loading and finding ---- */

rpc_code skm__vault_open(skm_state *state, const skm_state_options *options, rpc_status *reterr);
rpc_code skm__root_open(skm_state *state, rpc_status *reterr);
void skm__root_done(skm__root *root);
/** Is it the root of now, or one before it? */
bool skm__root_was(const skm__root *root, const trust_signer *signer);
rpc_code skm__services_load(skm_state *state, rpc_status *reterr);
void skm__service_free(skm__service *service);
/** The set of that service and purpose with what the store has of it. */
rpc_code skm__set_load(
    skm_state *state, skm__service *service, skm_purpose purpose, rpc_status *reterr);
void skm__set_free(skm__set *set);
/** Under either lock. NULL: there is none. */
skm__service *skm__service_find(const skm_state *state, const char *name);
/** Under lock for reading: the caller's service with that name, or its only one; NULL. */
const skm__member *skm__member_find(
    const skm_state *state, const skm_caller *caller, const char *service);
/** Under lock for reading, of a caller by lists of names: among its services the one that has a key
 *  with that kid; NULL. *ret_several: it has several services. */
const skm__member *skm__member_by_kid(const skm_state *state, const skm_caller *caller,
    skm_purpose purpose, const char *kid, bool *ret_several);
/** Has the caller a certificate that the enrolment names, and, where it is a VAL server's, a token
 * of its client? */
bool skm__may_use(const skm_caller *caller, const skm__enrolment *enrolment);
/** Under lock for writing: after enrolments changed. False: no memory; members are as before. */
bool skm__members_rebuild(skm_state *state);
/** change is held: no token of an enrolment is good any more. */
rpc_code skm__tokens_void(skm_state *state, rpc_status *reterr);
bool skm__name_valid(const char *text, size_t max);

/* ---- revocations (keys.c) ---- */

/** Counters for state->revoked. */
void skm__revocations_count_in(skm_state *state, host_metrics *metrics);

/* ---- changes of a set (keysets.c); change is held ---- */

/** What is to be done besides tending. */
typedef struct skm__edit {
    char *rotate;     /* NULL: no; TRUST_KID_MAX + 1 bytes for the kid of the key that takes over */
    bool restored;    /* the version becomes higher than any that a lost store can have had */
    bool sign_again;  /* the root is another one, or the signature ends soon */
    skm__key *revoke; /* NULL: none */
    const char *reason;
    const trust_signer *add; /* NULL: none; a key that was brought, to live by add_life */
    skm_key_life add_life;
} skm__edit;
/** Applies edit (may be NULL), makes what must be made, writes it, publishes it. */
rpc_code skm__set_change(
    skm_state *state, skm__set *set, const skm__edit *edit, rpc_status *reterr);
/** Lives of a set's keys, in its order. */
size_t skm__lives(const skm__set *set, skm_key_life ret[SKM_LIFE_KEYS_MAX]);
/** The order of keys, which is part of what is published: by signs_from, of equals by kid. */
bool skm__key_before(
    const skm_key_life *a_life, const skm__key *a, const skm_key_life *b_life, const skm__key *b);
void skm__set_sort(skm__set *set);
void skm__key_free(skm__key *key);
/** A public JWK; json_decref() it. NULL without memory. */
struct json_t *skm__key_jwk(
    const skm__set *set, const skm__key *key, const skm_key_life *life, skm_key_state key_state);

/* ---- keys that never come back (barred.c); change is held ---- */

rpc_code skm__barred_load(skm_state *state, rpc_status *reterr);
void skm__barred_done(skm__barred_list *list);
bool skm__barred_has(const skm_state *state, const char *kid);
/** Durable when this has returned RPC_OK; one that is barred already is RPC_OK too. */
rpc_code skm__bar(skm_state *state, const skm__service *service, const char *kid,
    int64_t revoked_at, rpc_status *reterr);

/* ---- signatures that are counted (counted.c) ---- */

/** Under lock: takes one of those that the trail knows of; false: none is left. *ret is set where
 *  more should be made known. */
bool skm__signature_claim(const skm__set *set, skm__key *key, skm_announce *ret);

#endif
