/* SPDX-License-Identifier: Apache-2.0 */
/** What skmsd knows: VAL services, their SKM-Cs, their keys, the root of key sets; in its store, by
 *  skm_records.proto, and all of it in memory but for private keys, which stay sealed until they
 *  are used. Changes wait for the store and go one at a time; reading and signing wait for nobody.
 *  A change is durable when its function has returned RPC_OK, and the key sets that it concerns are
 *  the new ones.
 *
 *  Any thread. Errors of all: the store's (store.h), with a message for the log; the message of an
 *  INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS or FAILED_PRECONDITION is for the operator who asked
 *  and says what to do. Times are seconds since 1970. */
#ifndef SKM_STATE_H
#define SKM_STATE_H

#include "host.h"
#include "life.h"
#include "seal.h"
#include "store.h"
#include "trust.h"

#define SKM_SERVICE_MAX      200 /* bytes of a VAL service: printable ASCII without blanks */
#define SKM_SAN_MAX          200 /* of a name in a certificate; likewise */
#define SKM_ENROLMENTS_MAX   64  /* of a service */
#define SKM_CLIENT_MAX       255 /* of a SIM-S's issuer, and of a client there */
#define SKM_REASON_MAX       256
#define SKM_TOKEN_CHARS      43 /* 256 random bits, base64url */
#define SKM_SEALING_BYTES    32 /* X25519 */
#define SKM_SIGNATURE_BYTES  64
#define SKM_SIGN_BYTES_MAX   (64u << 10)
#define SKM_SEALED_JWK_BYTES 512
#define SKM_RELEASED_MAX     4
#define SKM_BARRED_MAX       256 /* keys of a service that were revoked and are forgotten */

typedef struct skm_state skm_state;

typedef struct skm_state_options {
    store *store; /* outlives it, as do clock and metrics */
    const rpc_clock *clock;
    host_metrics *metrics;         /* NULL: nothing is counted */
    const char *issuer;            /* of key sets: skmsd's URI */
    rpc_bytes secret;              /* master.*; read by open only */
    uint64_t passes, memory_bytes; /* of Argon2id, for a new store */
    bool allow_unlocked;           /* keys in memory that can be swapped out */
    skm_policy policy;             /* where a service says nothing; delegated, provisioned unused */
    int64_t set_life_s;            /* of a signed key set; at most an hour */
    int64_t token_life_s;          /* of an enrolment's token */
    size_t services_max;
} skm_state_options;

/** FAILED_PRECONDITION: the secret is another one; DATA_LOSS: a record is damaged. A new store gets
 *  its vault and its first root. */
RPC_MUST_USE rpc_code skm_state_open(
    const skm_state_options *options, skm_state **ret, rpc_status *reterr);
void skm_state_close(skm_state *state);

/** Of a store that no server has open. */
typedef struct skm_secret_change {
    rpc_bytes secret, new_secret;
    uint64_t passes, memory_bytes; /* of Argon2id over the new one */
} skm_secret_change;

/** Seals the store's key under another secret: one record, so that a crash leaves the old or the
 *  new one. *ret_already: the new one opens it already, nothing was changed. FAILED_PRECONDITION:
 *  neither opens it; NOT_FOUND: the store is empty; DATA_LOSS; those of skm_vault_make(). */
RPC_MUST_USE rpc_code skm_secret_replace(
    store *db, const skm_secret_change *change, bool *ret_already, rpc_status *reterr);

/** Makes what has to be made for all sets at this time: keys, versions, signatures that end soon.
 *  For a thread of its own. *ret_again_s: when it is due again, seconds from now, at least 1. */
RPC_MUST_USE rpc_code skm_state_tend(skm_state *state, int64_t *ret_again_s, rpc_status *reterr);
/** False: a set could not be tended the last time; its name is not told here but in the log. */
bool skm_state_tended(const skm_state *state);

/* ---- purposes ---- */

/** As in skms.v1.Purpose. */
typedef enum skm_purpose { SKM_FOR_TOKENS = 1, SKM_FOR_MANIFESTS = 2 } skm_purpose;
#define SKM_PURPOSES 2
/** "tokens", "manifests": in the API. */
const char *skm_purpose_name(skm_purpose purpose);

/* ---- VAL services ---- */

/** A VAL server as its SIM-S knows it. */
typedef struct skm_client {
    const char *issuer, *client_id;
} skm_client;

typedef struct skm_enrolment {
    const char *san;
    skm_client client;        /* "" both: a server, which its certificate is enough for */
    int64_t enrolled_at;      /* 0: its token was not used yet */
    int64_t token_expires_at; /* 0: none is good */
} skm_enrolment;

typedef struct skm_service_view {
    const char *name;
    bool purposes[SKM_PURPOSES + 1]; /* by skm_purpose */
    skm_policy policy;
    int64_t created_at;
    const skm_enrolment *enrolments;
    size_t enrolment_count;
} skm_service_view;

/** Zeros in the policy are the defaults. INVALID_ARGUMENT names the field; ALREADY_EXISTS;
 *  RESOURCE_EXHAUSTED: services_max. */
RPC_MUST_USE rpc_code skm_service_add(
    skm_state *state, const skm_service_view *service, rpc_status *reterr);
/** Those after a name, in order; view is valid during the call, false ends it. after "" or NULL =
 *  all. fn must not call the state. */
typedef bool skm_service_fn(void *ctx, const skm_service_view *view);
void skm_services_list(skm_state *state, const char *after, skm_service_fn *fn, void *ctx);

/* ---- SKM-Cs ---- */

/** A token for one certificate's name; the one before it is void. client NULL: a server (a DACM, a
 *  SIM-S). Otherwise a VAL server, which gets keys only with an access token of that client as
 *  well, and may bring keys. NOT_FOUND, INVALID_ARGUMENT, RESOURCE_EXHAUSTED: SKM_ENROLMENTS_MAX.
 */
RPC_MUST_USE rpc_code skm_enrolment_add(skm_state *state, const char *service, const char *san,
    const skm_client *client, char ret_token[SKM_TOKEN_CHARS + 1], int64_t *ret_expires_at,
    rpc_status *reterr);
/** From now on it gets nothing. NOT_FOUND: also one that enrolled after that time (INT64_MAX:
 *  whenever it did). */
RPC_MUST_USE rpc_code skm_enrolment_revoke(skm_state *state, const char *service, const char *san,
    int64_t enrolled_until, rpc_status *reterr);

/** Who calls, by its certificate: lists as rpc_peer has them (NULL = none), or a function that says
 *  whether it has a name. */
typedef struct skm_caller {
    const char *const *dns_names, *const *uri_names;
    bool (*has)(const void *certificate, const char *san);
    const void *certificate;
    skm_client client; /* of its access token, which has the scope of what it asks; NULL: none */
} skm_caller;

typedef struct skm_enrolled {
    char service[SKM_SERVICE_MAX + 1];
    bool purposes[SKM_PURPOSES + 1];
    bool delegated;
} skm_enrolled;

/** Has its certificate a name of an SKM-C that is enrolled, of whatever service? By lists of names
 *  only. */
bool skm_caller_known(skm_state *state, const skm_caller *caller);

/** Would skm_enrol() take it? Changes nothing. The errors are those of that. */
RPC_MUST_USE rpc_code skm_enrol_check(skm_state *state, const skm_caller *caller, const char *token,
    const uint8_t sealing_key[SKM_SEALING_BYTES], rpc_status *reterr);

/** Uses up the token: from now on the caller gets that service's keys, sealed to sealing_key.
 *  INVALID_ARGUMENT: sealing_key; UNAUTHENTICATED, whatever is wrong with token or certificate. */
RPC_MUST_USE rpc_code skm_enrol(skm_state *state, const skm_caller *caller, const char *token,
    const uint8_t sealing_key[SKM_SEALING_BYTES], skm_enrolled *ret, rpc_status *reterr);

typedef struct skm_released_key {
    char kid[TRUST_KID_MAX + 1];
    size_t sealed_size; /* 0: delegated */
    uint8_t sealed_jwk[SKM_SEALED_JWK_BYTES];
    int64_t signs_from, signs_until;
} skm_released_key;

typedef struct skm_release {
    char service[SKM_SERVICE_MAX + 1], san[SKM_SAN_MAX + 1]; /* whose keys, to whom */
    uint64_t version; /* of the set that has their public halves */
    size_t count;
    skm_released_key keys[SKM_RELEASED_MAX]; /* by signs_from */
} skm_release;

/** The keys of the caller's service that sign now or next. service "" = the only one that the
 *  caller is enrolled for; INVALID_ARGUMENT: it is enrolled for several. PERMISSION_DENIED, with
 *  one text: not enrolled, unknown service, another's service, another purpose. */
RPC_MUST_USE rpc_code skm_keys_release(skm_state *state, const skm_caller *caller,
    const char *service, skm_purpose purpose, skm_release *ret, rpc_status *reterr);

/** What PERMISSION_DENIED says, whatever the reason. */
rpc_code skm_not_for_you(rpc_status *reterr);

/** INVALID_ARGUMENT: a key that is brought is there for another service or purpose. */
rpc_code skm_key_is_elsewhere(rpc_status *reterr);

typedef struct skm_provisioned {
    char kid[TRUST_KID_MAX + 1]; /* RFC 7638 thumbprint */
    skm_key_state state;
    int64_t signs_from, signs_until;
} skm_provisioned;

#define SKM_RELEASED_KIDS_BYTES (SKM_RELEASED_MAX * (TRUST_KID_MAX + 1) + 1)
/** Their kids with spaces between: what the trail is told of a release. */
void skm_release_kids(const skm_release *release, char ret[SKM_RELEASED_KIDS_BYTES]);

/** TS 33.434 5.8: a key that a VAL server brings. signs_from 0: as soon as it has been published
 *  for long enough, and at once where nobody signs; signs_until 0: as the policy says. The same key
 *  with the same times again changes nothing. PERMISSION_DENIED as skm_keys_release(), for an
 *  enrolment without a client, and for a service that is not provisioned; INVALID_ARGUMENT: times,
 *  or a key that is there for something else; ALREADY_EXISTS: with other times;
 * FAILED_PRECONDITION: it was revoked, whenever and as whosever key; RESOURCE_EXHAUSTED:
 * SKM_RELEASED_MAX sign now or next. */
RPC_MUST_USE rpc_code skm_key_provision(skm_state *state, const skm_caller *caller,
    const char *service, skm_purpose purpose, const trust_signer *signer, int64_t signs_from,
    int64_t signs_until, skm_provisioned *ret, rpc_status *reterr);

/** Of which key the audit trail has to be told that it will sign. */
typedef struct skm_announce {
    bool needed;
    char service[SKM_SERVICE_MAX + 1], kid[TRUST_KID_MAX + 1];
    skm_purpose purpose;
} skm_announce;

/** Signs with a key of service that does not leave: kid "" = the one that signs now; service "" =
 *  the caller's only one, or that of its services which has kid. Waits for nothing but,
 *  the first time, for the key to be unsealed. *ret_more is always set: needed, for a call of
 *  skm_signatures_announce(), which waits, while others go on signing.
 *  ABORTED: nothing was signed, that call is needed first. PERMISSION_DENIED as
 *  skm_keys_release(), and for a service that is not delegated; INVALID_ARGUMENT: the caller has
 *  several, and neither service nor kid says which; FAILED_PRECONDITION: that key does not sign
 *  now. */
RPC_MUST_USE rpc_code skm_sign(skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, const char *kid, rpc_bytes message, char ret_kid[TRUST_KID_MAX + 1],
    uint8_t ret_signature[SKM_SIGNATURE_BYTES], skm_announce *ret_more, rpc_status *reterr);

/** Lets a key make further signatures once fn has told the audit trail that it may have made up_to
 *  in all since the start. The error of fn. */
typedef rpc_code skm_announce_fn(
    void *ctx, const skm_announce *what, uint64_t up_to, rpc_status *reterr);
RPC_MUST_USE rpc_code skm_signatures_announce(
    skm_state *state, const skm_announce *what, skm_announce_fn *fn, void *ctx, rpc_status *reterr);

/** What a key signed since that was last told, and since the start. */
typedef struct skm_signed {
    char service[SKM_SERVICE_MAX + 1], kid[TRUST_KID_MAX + 1];
    skm_purpose purpose;
    uint64_t count, made;
} skm_signed;

/** Tells of each key what it signed; what was announced beyond that is void. False ends it: what
 *  fn refused is told again. */
typedef bool skm_signed_fn(void *ctx, const skm_signed *what);
void skm_signatures_tell(skm_state *state, skm_signed_fn *fn, void *ctx);

/* ---- keys ---- */

typedef struct skm_key_view {
    const char *kid, *service, *reason, *public_jwk;
    skm_purpose purpose;
    skm_key_state state;
    skm_key_life life;
    int64_t verifies_until; /* SKM_NEVER: for good */
    uint64_t signatures;    /* that skm_sign() made, since the start */
} skm_key_view;

/** Of one service ("" = all) and purpose (0 = both), by service, purpose and signs_from; as
 *  skm_services_list(). NOT_FOUND: no such service. */
typedef bool skm_key_fn(void *ctx, const skm_key_view *view);
RPC_MUST_USE rpc_code skm_keys_list(skm_state *state, const char *service, skm_purpose purpose,
    skm_key_fn *fn, void *ctx, rpc_status *reterr);
/** The next key takes over as soon as it has been published for long enough. ret_kid: which.
 *  NOT_FOUND; FAILED_PRECONDITION: there is none (provisioned). */
RPC_MUST_USE rpc_code skm_key_rotate(skm_state *state, const char *service, skm_purpose purpose,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr);
/** COMPROMISED from now on, and another key signs at once. A second time changes nothing. It is
 *  counted under the reason's first word where that is one of RFC 5280's (keyCompromise, …).
 *  NOT_FOUND, INVALID_ARGUMENT: reason. */
RPC_MUST_USE rpc_code skm_key_revoke(
    skm_state *state, const char *kid, const char *reason, rpc_status *reterr);

/** A key that was revoked, though no set knows it: nobody brings it any more. For a store that was
 *  restored from a copy of before. INVALID_ARGUMENT: kid is no RFC 7638 thumbprint. */
RPC_MUST_USE rpc_code skm_key_bar(
    skm_state *state, const char *kid, int64_t revoked_at, rpc_status *reterr);

/* ---- key sets ---- */

/** One version, signed; counted, immutable. */
typedef struct skm_keyset skm_keyset;
uint64_t skm_keyset_version(const skm_keyset *set);
const char *skm_keyset_jws(const skm_keyset *set);
/** Plain, for foreign JOSE libraries: of tokens' keys only those that may verify. */
const char *skm_keyset_jwks(const skm_keyset *set);
int64_t skm_keyset_expires_at(const skm_keyset *set);
/** Grows with each signature under the same version. */
uint64_t skm_keyset_serial(const skm_keyset *set);
void skm_keyset_unref(skm_keyset *set);
/** The one of now. NOT_FOUND: no such service, or it has no such keys. */
RPC_MUST_USE rpc_code skm_keyset_get(skm_state *state, const char *service, skm_purpose purpose,
    skm_keyset **ret, rpc_status *reterr);
/** fn is called after a set was replaced, on whichever thread did it. Before anything changes. */
void skm_keysets_watch(
    skm_state *state, void (*fn)(void *ctx, const char *service, skm_purpose purpose), void *ctx);

/** After the store was restored from a copy: all versions become higher than any that the lost one
 *  can have published, and tokens of enrolments that were not used yet are void. May be repeated.
 */
RPC_MUST_USE rpc_code skm_state_restored(skm_state *state, rpc_status *reterr);

/* ---- the root of key sets ---- */

/** fn is called with the public JWK and the statements, oldest first; valid during the call. */
typedef void skm_root_fn(void *ctx, uint64_t sequence, const char *jwk,
    const char *const *statements, size_t statement_count);
void skm_root_get(skm_state *state, skm_root_fn *fn, void *ctx);
/** Told which root is about to be the one of now; its error ends the change, in which nothing was
 *  done yet. */
typedef rpc_code skm_root_tell_fn(void *ctx, uint64_t sequence, rpc_status *reterr);
/** A new root, with a statement of the one before; all sets are signed by it. tell may be NULL. The
 *  error of tell; FAILED_PRECONDITION: there were too many. */
RPC_MUST_USE rpc_code skm_root_rotate(
    skm_state *state, skm_root_tell_fn *tell, void *ctx, rpc_status *reterr);

#endif
