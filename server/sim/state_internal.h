/* SPDX-License-Identifier: Apache-2.0 */
/** Inside simsd's state (state.h): its files share records, keys and the log of revocations.
 *
 *  Locks. None is held while the store is waited for, but turnstile's count; the order of changes
 *  is kept by the generations of groups: a change reads, decides and updates with the generation
 *  that it read, and begins anew when that moved. */
#ifndef SIM_STATE_INTERNAL_H
#define SIM_STATE_INTERNAL_H

#include "host.h"
#include "state.h"

#include "sim_records.pb-c.h"

#include <pthread.h>
#include <sodium.h>

#define SIM__ID_BYTES     16
#define SIM__MAC_BYTES    32u
#define SIM__TRIES_MAX    64u          /* of a change that others overtake */
#define SIM__RECORD_ARENA (512u << 10) /* budget for one record and what is made of it */
#define SIM__TEXT_MAX     1024u        /* of each text of a grant */

/* ---- keys -------------------------------------------------------------------------------- */

typedef enum sim__use { SIM__CODE, SIM__REFRESH, SIM__COOKIE, SIM__USES } sim__use;

typedef struct sim__keys { /* in locked memory */
    uint8_t secret[crypto_kdf_KEYBYTES];
    uint8_t use[SIM__USES][crypto_generichash_KEYBYTES];
    uint8_t form[crypto_generichash_KEYBYTES];
    uint8_t id[SIM__ID_BYTES]; /* tells another secret from this one, and nothing else */
} sim__keys;

/** Reads DIR/secret or draws it. */
rpc_code sim__keys_open(const char *directory, sim__keys **ret, rpc_status *reterr);
void sim__keys_close(sim__keys *keys);
/** A prefix that names the use, then base64url(id ‖ generation ‖ MAC). */
void sim__token_make(const sim__keys *keys, sim__use use, const uint8_t id[SIM__ID_BYTES],
    uint32_t generation, char ret[SIM_CODE_MAX]);
/** False: not one that we made. Constant time over the MAC. */
bool sim__token_read(const sim__keys *keys, sim__use use, const char *text,
    uint8_t ret_id[SIM__ID_BYTES], uint32_t *ret_generation);

/** A MAC of text under a key for that use. */
void sim__mac(const sim__keys *keys, const char *use, rpc_bytes text, uint8_t ret[SIM__MAC_BYTES]);

/* ---- passwords ----------------------------------------------------------------------------- */

/** One that waits for its hash or makes it; on the stack of its thread. */
typedef struct sim__turn {
    struct sim__turn *next, **link;
    const char *username; /* NULL: an operator's */
} sim__turn;

/** At most so many hashes at a time, so many waiting, and so many of one user in all. They enter in
 *  the order in which they came: nobody is overtaken for ever. */
typedef struct sim__turnstile {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    unsigned running, running_max, waiting, waiting_max, per_user_max;
    uint64_t tickets, entered;
    sim__turn *turns;
    host_counter *refused;
} sim__turnstile;

/* ---- the log of revocations ------------------------------------------------------------------ */

typedef struct sim__revoking {
    const char *jti, *subject; /* exactly one; at most 255 bytes */
    int64_t issued_until, expires_at;
} sim__revoking;

typedef struct sim__log_waiter sim__log_waiter;
typedef struct sim__log {
    pthread_mutex_t lock;
    pthread_cond_t written;
    sim__log_waiter *first, **last; /* not yet taken by the one that writes */
    bool writing;
    uint8_t epoch[16];
    uint64_t sequence; /* durable; under lock */
    uint64_t oldest;   /* that may still be in the store; under lock */
    trust_revocations *table;
    host_counter *added, *refused;
    void (*watch)(void *ctx);
    void *watch_ctx;
} sim__log;

rpc_code sim__log_open(sim_state *state, rpc_status *reterr);
void sim__log_close(sim_state *state);
/** Any number; durable on return; those in force already are not written again. */
rpc_code sim__log_add(
    sim_state *state, const sim__revoking *revoking, size_t count, rpc_status *reterr);
/** Revokes what was issued for the subject until now; *ret_until is that second. tokens_after: that
 *  of the end before, 0 = none; what was issued since then says at least the second after it, which
 *  may not have come yet. */
rpc_code sim__log_subject(sim_state *state, const char *subject, int64_t tokens_after,
    int64_t *ret_until, rpc_status *reterr);
/** Removes what has expired. */
rpc_code sim__log_sweep(sim_state *state, const atomic_bool *stop, rpc_status *reterr);

/* ---- the state ---------------------------------------------------------------------------------
 */

struct sim_state {
    store *db;
    const rpc_clock *clock;
    int64_t code_life_s, refresh_idle_s, refresh_life_s, session_life_s, token_life_s_max;
    unsigned grants_max; /* live ones of a user with a client; 0: no limit */
    unsigned long long password_passes;
    size_t password_memory_bytes;
    char dummy_hash[crypto_pwhash_STRBYTES]; /* for users that cannot log in */
    sim__turnstile hashes;
    pthread_mutex_t operators_hash;
    sim__keys *keys;
    sim__log log;
    host_counter *reused;                /* codes and refresh tokens */
    host_counter *displaced, *too_large; /* grants */
};

static inline int64_t sim__now_s(const sim_state *state)
{
    return rpc_clock_wall_ms(state->clock) / 1000;
}

rpc_code sim__no_memory(rpc_status *reterr);

/* ---- records -----------------------------------------------------------------------------------
 */

host_key sim__key_user(const char *username);
host_key sim__key_sub(const char *sub);
host_key sim__key_gpsi(const char *gpsi);
host_key sim__key_client(const char *client_id);
host_key sim__key_consent(const char *client_id); /* item of a user's group */
/** Group of a family ('g') or session ('b'). */
host_key sim__key_bucket(char kind, const uint8_t id[SIM__ID_BYTES]);
extern const rpc_bytes sim__main; /* the empty item */

/** *ret stays NULL when there is no such record, which is RPC_OK; *ret_generation is the group's.
 */
rpc_code sim__read(sim_state *state, const host_key *group, rpc_bytes item,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    uint64_t *ret_generation, rpc_status *reterr);
/** Packed in the arena; data is NULL when memory is short, which sim__update() refuses. */
rpc_bytes sim__pack(rpc_arena *arena, const ProtobufCMessage *message);
/** Waits for the update. ABORTED without message in *reterr: the generation moved. */
rpc_code sim__update(sim_state *state, const host_key *group, uint64_t expected,
    const store_change *changes, size_t count, rpc_status *reterr);
/** A text that is a group's value as it is (s/SUB, p/GPSI): copied into ret, "" when absent. */
rpc_code sim__read_text(sim_state *state, const host_key *group, char *ret, size_t room,
    uint64_t *ret_generation, rpc_status *reterr);
rpc_code sim__write_text(sim_state *state, const host_key *group, uint64_t expected,
    const char *text, rpc_status *reterr);
/** When others were faster SIM__TRIES_MAX times. */
rpc_code sim__overtaken(rpc_status *reterr);

static inline char *sim__mutable(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's records do not say const */
}
/** NULL-terminated pointers of a repeated field; NULL when memory is short. */
const char *const *sim__list(rpc_arena *arena, char *const *texts, size_t count);
size_t sim__count(const char *const *list);
bool sim__holds(const char *const *list, const char *text);

/** The record of a user, also a deleted one; *ret NULL: never was. */
rpc_code sim__user_read(sim_state *state, const char *username, rpc_arena *arena,
    Sim__Records__User **ret, uint64_t *ret_generation, rpc_status *reterr);
/** Ends what the user has, by `change`, which is applied to the record together with a new era:
 *  revocation of the subject first, so that a crash in between leaves less, never more. NOT_FOUND.
 */
typedef rpc_code sim__user_change(void *ctx, rpc_arena *arena, Sim__Records__User *user,
    bool *ret_drop_consents, rpc_status *reterr);
rpc_code sim__user_end_with(sim_state *state, const char *username, sim__user_change *change,
    void *ctx, rpc_status *reterr);
/** Gives the claim of a GPSI back, if it is that user's. */
rpc_code sim__gpsi_release(
    sim_state *state, const char *username, const char *gpsi, rpc_status *reterr);
/** INVALID_ARGUMENT: `name` of a user or client. */
rpc_code sim__check_display_name(const char *name, rpc_status *reterr);
rpc_code sim__client_read(sim_state *state, const char *client_id, rpc_arena *arena,
    Sim__Records__Client **ret, uint64_t *ret_generation, rpc_status *reterr);
/** Finishes revoking the tokens of clients whose end a crash interrupted. */
rpc_code sim__clients_sweep(sim_state *state, const atomic_bool *stop, rpc_status *reterr);

/** Do the user and client of these still stand as they were? NOT_FOUND. */
rpc_code sim__user_stands(sim_state *state, const char *username, const char *sub, uint64_t era,
    rpc_arena *arena, int64_t *ret_tokens_after, rpc_status *reterr);
rpc_code sim__client_stands(sim_state *state, const char *client_id, uint64_t era, rpc_arena *arena,
    uint64_t *ret_era, rpc_status *reterr);

/** Revokes what the client got by its grants. */
rpc_code sim__grants_end_client(sim_state *state, const char *client_id, rpc_status *reterr);

/* ---- how many grants live (live_grants.c) ------------------------------------------------------
 */

/** An item of a group of grants that is as long is a list of grants, and no grant. */
#define SIM__LIST_BYTES       12u
#define SIM__LIVE_CHANGES_MAX 9u

/** Draws the ID of a family: in the group of that user with that client, if they are counted. */
void sim__family_draw(const sim_state *state, const char *sub, const char *client_id,
    uint8_t ret_family[SIM__ID_BYTES]);
/** Adds to changes what makes that grant one that lives, and ends the oldest beyond the limit: at
 *  most SIM__LIVE_CHANGES_MAX, the list itself first; for an update of the family's group with a
 *  generation that was read before. */
rpc_code sim__live_enter(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *grant, rpc_arena *arena, store_change *changes, size_t *count,
    rpc_status *reterr);
/** The same, at most one, for one that was ended. */
rpc_code sim__live_leave(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *grant, rpc_arena *arena, store_change *changes, size_t *count,
    rpc_status *reterr);

/* ---- passwords (password.c) -------------------------------------------------------------------
 */

rpc_code sim__passwords_open(
    sim_state *state, const sim_state_options *options, rpc_status *reterr);
void sim__passwords_close(sim_state *state);
/** INVALID_ARGUMENT: length, UTF-8; RESOURCE_EXHAUSTED. */
/** May a hash that we did not make be kept? INVALID_ARGUMENT. */
rpc_code sim__password_hash_check(const char *text, rpc_status *reterr);
rpc_code sim__password_hash(
    sim_state *state, const char *password, char ret[crypto_pwhash_STRBYTES], rpc_status *reterr);
/** UNAUTHENTICATED: it is not that one; RESOURCE_EXHAUSTED: too many wait, or too many of this
 *  user, whether there is one or not. hash NULL: takes the same time and is never right. ret_new:
 *  a hash by the present parameters where they changed, else "". */
rpc_code sim__password_check(sim_state *state, const char *username, const char *password,
    const char *hash, char ret_new[crypto_pwhash_STRBYTES], rpc_status *reterr);

#endif
