/* SPDX-License-Identifier: Apache-2.0 */
/** Pinned roots of SKM-Ss, and what was seen of their key sets (docs/keys.md): which root speaks
 * for which service, the highest version of each set, the root statements that were followed.
 * libdacm, `dacm` and servers that take keys from an SKM-S believe what is kept here and nothing
 * else.
 *
 *  All of it is one file in a folder of the caller's, trust.json, replaced whole under the folder's
 *  lock: a process that is killed, two at once or a power cut leave the old or the new state. Any
 *  number of threads and processes may use one folder at once; each call reads it anew, and nothing
 *  is fetched. Calls that change something block for the lock and the disk.
 *
 *  ERRORS. A trust_pins_code is returned; reterr (may be NULL) has a sentence and the nearest gRPC
 *  code. Outputs stay untouched on failure. Every call can answer TRUST_PINS_INVALID (no folder was
 *  named), TRUST_PINS_FULL (memory, or a limit that the message names) and TRUST_PINS_FILE. */
#ifndef DACM_TRUST_PINS_H
#define DACM_TRUST_PINS_H

#include "trust.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRUST_PINS_ISSUERS_MAX       16u
#define TRUST_PINS_SETS_MAX          256u /* of an issuer */
#define TRUST_PINS_STATEMENTS_MAX    16u  /* that are kept of an issuer; older ones are forgotten */
#define TRUST_PINS_ADDRESS_BYTES_MAX 1024u

typedef enum trust_pins_code {
    TRUST_PINS_OK,
    TRUST_PINS_INVALID,   /* an argument that can never work */
    TRUST_PINS_REFUSED,   /* not what was signed or pinned, an older one, a second history */
    TRUST_PINS_NO_KEY,    /* no root is pinned that signed it; of keys: there is no set */
    TRUST_PINS_NOT_NOW,   /* expired, of the future, or a statement before it is missing */
    TRUST_PINS_EXISTS,    /* another root of that SKM-S is pinned */
    TRUST_PINS_NOT_FOUND, /* no root of that SKM-S is pinned */
    TRUST_PINS_FULL,      /* no memory, or as many as there may be */
    TRUST_PINS_FILE,      /* cannot be read or written, damaged, or others could have written it */
} trust_pins_code;

typedef struct trust_pin {
    rpc_bytes root;          /* a public JWK, or a set of one */
    const char *fingerprint; /* what it must have: "SHA256:…", by a way that is trusted */
    const char *issuer;      /* URI of the SKM-S; NULL = member `dacm_issuer` of root */
    const char *address; /* where it answers, for whoever fetches; NULL: as it was, or nowhere */
    /** Whose sets it may sign; none: of each service of which no other pinned SKM-S has a set. */
    const char *const *services;
    size_t service_count;
} trust_pin;

/** Pins a root; the same again changes nothing but services and address. now: seconds since 1970.
 *  INVALID also without a fingerprint (the message names that of root); REFUSED (another
 *  fingerprint), EXISTS. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_add(
    const char *folder, const trust_pin *pin, int64_t now, rpc_status *reterr);
/** Forgets an SKM-S: its root, its sets, and which versions were seen. NOT_FOUND. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_remove(
    const char *folder, const char *issuer, rpc_status *reterr);

/** What was asked for, so that an answer cannot be of something else. */
typedef struct trust_pins_asked {
    const char *issuer, *service;
    trust_purpose purpose;
} trust_pins_asked;

typedef struct trust_pins_change {
    unsigned roots; /* statements followed */
    unsigned sets;  /* new ones, or signed again */
    unsigned known; /* what was there already */
} trust_pins_change;

/** Takes key sets and root statements, as JWS with white space between, statements in their order:
 *  all or, on failure, none; what is known already is not written again. asked: NULL, or whose
 *  statements and which one set alone may be among them. now: seconds since 1970.
 *  REFUSED (not what a root signed, a lower version than was seen, a second set of one version, a
 *  second follower of one root, not this SKM-S's service, not what was asked for), NO_KEY, NOT_NOW,
 *  INVALID (it is no JWS of these kinds). */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_update(const char *folder, rpc_bytes text,
    const trust_pins_asked *asked, int64_t now, trust_pins_change *ret, rpc_status *reterr);

/** The keys of a service in their states, as the newest set has them; trust_keyring_unref() *ret,
 *  whose version is the set's. take_expired: with *ret_expired, instead of NOT_NOW; a key that it
 *  calls good may have been compromised since. NO_KEY: there is no set. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_keys(const char *folder, const char *service,
    trust_purpose purpose, bool take_expired, int64_t now, trust_keyring **ret, bool *ret_expired,
    rpc_status *reterr);

/** A set as it is kept; free() jwks, a JWK set for trust_keyring_parse(). */
typedef struct trust_pins_kept {
    uint64_t version;
    int64_t issued_at, expires_at;
    char *jwks;
} trust_pins_kept;
/** What a folder should have and could not be given. Begins as {NULL}; of one thread at a time. */
typedef struct trust_pins_unsaved {
    struct json_t *json; /* of trust/ alone; NULL: the folder has everything */
} trust_pins_unsaved;
/** For a server that watches sets, and alone changes the folder. As trust_pins_update() with asked,
 *  which then is not NULL, and *ret_kept is the newest set afterwards. With TRUST_PINS_FILE and
 * jwks set, which it must not be before, what came is good and could not be written: it counts all
 * the same, since it may say that a key was stolen. It is in *unsaved then, from which later calls
 * go on as they would from the file, so that nothing else is believed in its place. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_take(const char *folder, rpc_bytes text,
    const trust_pins_asked *asked, int64_t now, trust_pins_unsaved *unsaved, trust_pins_change *ret,
    trust_pins_kept *ret_kept, rpc_status *reterr);
/** Writes it; nothing is left of it then. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_save(
    const char *folder, trust_pins_unsaved *unsaved, rpc_status *reterr);
RPC_API void trust_pins_unsaved_done(trust_pins_unsaved *unsaved);
/** The newest set that is kept, expired or not. NO_KEY: there is none. */
RPC_API RPC_MUST_USE trust_pins_code trust_pins_get(const char *folder, const char *service,
    trust_purpose purpose, trust_pins_kept *ret, rpc_status *reterr);

typedef struct trust_pins_set {
    const char *service;
    trust_purpose purpose;
    uint64_t version;
    int64_t issued_at, expires_at; /* seconds since 1970 */
    size_t keys;
} trust_pins_set;

typedef struct trust_pins_root {
    const char *issuer, *fingerprint;
    const char *address;         /* NULL: none */
    uint64_t sequence;           /* of the last statement followed; 0 = none yet */
    int64_t pinned_at;           /* seconds since 1970 */
    const char *const *services; /* as pinned; none = any */
    size_t service_count;
    const trust_pins_set *sets;
    size_t set_count;
} trust_pins_root;

/** Freed with trust_pins_roots_free(), for which NULL is allowed. */
typedef struct trust_pins_roots {
    trust_pins_root *items;
    size_t count;
    struct json_t *memory; /* of trust/ alone */
} trust_pins_roots;
RPC_API RPC_MUST_USE trust_pins_code trust_pins_list(
    const char *folder, trust_pins_roots **ret, rpc_status *reterr);
RPC_API void trust_pins_roots_free(trust_pins_roots *roots);
/** Who speaks for a service: the SKM-S that was pinned for it, else the one that has a set of it,
 *  else the only one that was pinned for any. NULL: nobody does, or which of them is not known. */
RPC_API const trust_pins_root *trust_pins_speaker(
    const trust_pins_roots *roots, const char *service);

#ifdef __cplusplus
}
#endif
#endif
