/* SPDX-License-Identifier: Apache-2.0 */
/** What simsd knows: users, clients, grants, browser sessions, revocations; in its store, by
 *  sim_records.proto. Any thread that may block: every function waits for the store. A change is
 *  durable when its function has returned RPC_OK. Errors of all: the store's (store.h), with a
 *  message for the log; the message of an INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS or
 *  FAILED_PRECONDITION is for the operator who asked and says what to do. */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include "base.h"
#include "host.h"
#include "store.h"
#include "trust.h"

#include <stdatomic.h>

#define SIM_USERNAME_MAX  64 /* bytes of UTF-8: letters, digits and . _ @ + - of ASCII */
#define SIM_SUB_CHARS     22 /* 128 random bits, base64url */
#define SIM_PASSWORD_MIN  8  /* bytes of UTF-8 */
#define SIM_PASSWORD_MAX  256
#define SIM_GPSIS_MAX     8   /* of a user, as in a token */
#define SIM_CLIENT_ID_MAX 128 /* A–Z a–z 0–9 . _ ~ - : / */
#define SIM_REDIRECTS_MAX 16
#define SIM_REDIRECT_MAX  512
#define SIM_SCOPES_MAX    16
#define SIM_RIGHTS_MAX    64
#define SIM_CODE_MAX      128 /* characters of a code, refresh token or cookie of ours */
#define SIM_ACTIONS_MAX   5

typedef struct sim_state sim_state;

/** Times that end things are counted, not only told by the clock, which may jump: a user and a
 *  client have an era, which grows whenever their grants and sessions end; what was begun in
 * another era is void. */
typedef struct sim_state_options {
    store *store;          /* outlives it */
    const char *directory; /* of the file `secret`, 0600, drawn at the first start */
    const rpc_clock *clock;
    host_metrics *metrics; /* outlives it; NULL: nothing is counted */
    int64_t code_life_s, refresh_idle_s, refresh_life_s, session_life_s;
    unsigned grants_max;          /* that a user has with a client, the newest; 0: no limit */
    int64_t token_life_s_max;     /* how long a revocation must be remembered */
    size_t password_memory_bytes; /* of Argon2id */
    unsigned password_passes;
    unsigned hashes_at_once;     /* others wait for their turn */
    unsigned hashes_waiting_max; /* more are refused; 0: 64 */
    unsigned hashes_per_user;    /* of these and those that are made; 0: 4 */
    size_t revocations_max;      /* in force at a time; more: RESOURCE_EXHAUSTED; 0: 2^20 */
} sim_state_options;

/** Reads or draws the secret, and the head of the revocation log. */
RPC_MUST_USE rpc_code sim_state_open(
    const sim_state_options *options, sim_state **ret, rpc_status *reterr);
void sim_state_close(sim_state *state);
/** Removes what has expired: codes, families, sessions, issued tokens, revocations; finishes the
 *  end of clients and grants that a crash or a full log interrupted. For a thread of its own; stops
 *  early when *stop becomes true. RESOURCE_EXHAUSTED: all was swept, but the log is full still. */
RPC_MUST_USE rpc_code sim_state_sweep(
    sim_state *state, const atomic_bool *stop, rpc_status *reterr);

/* ---- users ------------------------------------------------------------------------------ */

/** One allocation; sim_user_free(). */
typedef struct sim_user {
    const char *username, *sub, *name;
    bool has_password, disabled;
    size_t gpsi_count;
    const char *const *gpsis; /* those that really are mapped to this user; NULL-terminated */
    int64_t created_at;
    uint64_t era;
} sim_user;
void sim_user_free(sim_user *user);

RPC_MUST_USE rpc_code sim_user_add(sim_state *state, const char *username, const char *name,
    const char *password, rpc_status *reterr); /* password NULL: none yet. ALREADY_EXISTS */
/** From another provider: password_hash is an Argon2id of at most 64 MiB and 16 passes, which the
 *  first login replaces by one of our own. ALREADY_EXISTS, INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code sim_user_import(sim_state *state, const char *username, const char *name,
    const char *password_hash, rpc_status *reterr);
/** NOT_FOUND also for a deleted one. */
RPC_MUST_USE rpc_code sim_user_find(
    sim_state *state, const char *username, sim_user **ret, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_user_by_sub(
    sim_state *state, const char *sub, sim_user **ret, rpc_status *reterr);
/** Takes as long for an unknown, disabled or passwordless user as for a wrong password;
 *  UNAUTHENTICATED for all of them. RESOURCE_EXHAUSTED: too many wait for their turn, or too
 *  many of this user. */
RPC_MUST_USE rpc_code sim_user_check(sim_state *state, const char *username, const char *password,
    sim_user **ret, rpc_status *reterr);
/** The tokens, grants and sessions so far end (revocation by subject), as with disable, delete,
 *  unmap and sim_user_end(). */
RPC_MUST_USE rpc_code sim_user_set_password(
    sim_state *state, const char *username, const char *password, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_user_set_disabled(
    sim_state *state, const char *username, bool disabled, rpc_status *reterr);
/** The name may be given again: to another user, with a `sub` of its own and nothing of the old. */
RPC_MUST_USE rpc_code sim_user_delete(sim_state *state, const char *username, rpc_status *reterr);
/** Logs the user out everywhere. */
RPC_MUST_USE rpc_code sim_user_end(sim_state *state, const char *username, rpc_status *reterr);
/** ALREADY_EXISTS: mapped to another user, who is not named. */
RPC_MUST_USE rpc_code sim_user_map(
    sim_state *state, const char *username, const char *gpsi, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_user_unmap(
    sim_state *state, const char *username, const char *gpsi, rpc_status *reterr);
/** Pages by name: after NULL = from the start; fn false ends it. */
typedef bool sim_user_fn(void *ctx, const sim_user *user);
RPC_MUST_USE rpc_code sim_users_list(
    sim_state *state, const char *after, sim_user_fn *fn, void *ctx, rpc_status *reterr);

/** What the user let that client have; both false/"" when nothing. */
RPC_MUST_USE rpc_code sim_consent_find(sim_state *state, const char *username,
    const char *client_id, char *ret_scope, size_t room, bool *ret_digital_asset,
    rpc_status *reterr);
/** Added to what was given before. */
/** Adds to it. Of more than 1,024 bytes in all the oldest scopes are forgotten: the user is asked
 *  for them again. */
RPC_MUST_USE rpc_code sim_consent_give(sim_state *state, const char *username,
    const char *client_id, const char *scope, bool digital_asset, rpc_status *reterr);

/* ---- clients ------------------------------------------------------------------------------ */

typedef enum sim_client_auth {
    SIM_AUTH_NONE, /* public: PKCE alone */
    SIM_AUTH_PRIVATE_KEY_JWT,
    SIM_AUTH_TLS,          /* tls_client_auth, RFC 8705 */
    SIM_AUTH_SECRET_BASIC, /* client_secret_basic */
} sim_client_auth;

typedef enum sim_grant_type {
    SIM_GRANT_CODE = 1,
    SIM_GRANT_REFRESH = 2,
    SIM_GRANT_CLIENT_CREDENTIALS = 4,
} sim_grant_type;

typedef enum sim_consent_rule {
    SIM_CONSENT_ONCE, /* asked once, then for more than was given */
    SIM_CONSENT_ALWAYS,
    SIM_CONSENT_NEVER, /* the operator's own client */
} sim_consent_rule;

#define SIM_SKEYPROV_MAX 255 /* bytes of the claim: VAL service IDs and blanks between them */

/** One allocation; sim_client_free(). Lists are NULL-terminated. */
typedef struct sim_client {
    const char *client_id, *name;
    sim_client_auth auth;
    const char *const *redirect_uris;
    const char *jwks;    /* "" = none */
    const char *tls_san; /* "" = none */
    unsigned grants;
    const char *const *scopes;
    const char *const *users;
    const char *const *key_services; /* SKeyProv: VAL service IDs whose keys it may bring */
    trust_alg token_alg;             /* EDDSA or RS256 */
    bool bound;
    sim_consent_rule consent;
    bool disabled;
    int64_t created_at;
    uint64_t revision;    /* of what was read */
    int64_t tokens_after; /* client_credentials: `iat` must be later, what is not is revoked */
} sim_client;
void sim_client_free(sim_client *client);

/** INVALID_ARGUMENT: redirect URIs (absolute, https, or http on a loopback address, or a private
 *  scheme with a dot; no fragment), keys, scopes, users, or members that contradict each other.
 *  ret_secret: free() it after wiping; set for SECRET_BASIC only, and never told again. */
RPC_MUST_USE rpc_code sim_client_add(
    sim_state *state, const sim_client *client, char **ret_secret, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_client_find(
    sim_state *state, const char *client_id, sim_client **ret, rpc_status *reterr);
/** All members but ID, secret and times are replaced. What takes rights away (users, scopes or
 *  grant types that are gone) revokes the tokens that it got by client_credentials; disabling is as
 *  sim_client_set_disabled(). */
RPC_MUST_USE rpc_code sim_client_update(
    sim_state *state, const sim_client *client, rpc_status *reterr);
/** For client_credentials, after the token was minted and before it is answered: ABORTED when the
 *  client was changed, disabled or deleted since it was read. The token must not go out then. */
RPC_MUST_USE rpc_code sim_client_unchanged(
    sim_state *state, const sim_client *client, rpc_status *reterr);
/** In constant time; UNAUTHENTICATED. */
RPC_MUST_USE rpc_code sim_client_check_secret(
    sim_state *state, const char *client_id, const char *secret, rpc_status *reterr);
/** Its grants end and the tokens that it got by them are revoked, as with delete. */
RPC_MUST_USE rpc_code sim_client_set_disabled(
    sim_state *state, const char *client_id, bool disabled, rpc_status *reterr);
/** An ID is never given again: it is the `sub` and `client_id` of tokens. */
RPC_MUST_USE rpc_code sim_client_delete(
    sim_state *state, const char *client_id, rpc_status *reterr);
typedef bool sim_client_fn(void *ctx, const sim_client *client);
RPC_MUST_USE rpc_code sim_clients_list(
    sim_state *state, const char *after, sim_client_fn *fn, void *ctx, rpc_status *reterr);
/** May redirect be used by that client? Byte for byte; for http on 127.0.0.1 and [::1] a
 *  registration without port stands for every port (RFC 8252, 7.3). */
bool sim_client_redirects_to(const sim_client *client, const char *redirect);

/* ---- grants: codes and refresh tokens -------------------------------------------------------- */

/** What a user allowed a client. Strings are borrowed by sim_grant_begin(); those of a grant that
 *  was read belong to it: one allocation, sim_grant_free(). */
typedef struct sim_grant {
    const char *client_id, *username, *sub, *scope;
    bool digital_asset;
    const char *asset_id;       /* "" = any of the user's, one a token */
    const char *const *actions; /* NULL-terminated */
    const char *redirect_uri, *code_challenge, *nonce, *acr, *resource;
    int64_t auth_time;
    uint64_t era; /* of the session (or user) that was asked: a logout since then is NOT_FOUND */
    bool bound;   /* refresh only with this certificate */
    uint8_t certificate_sha256[32];
    /* set when read: */
    uint8_t family[16];
    uint64_t revision; /* of what was read: a change of the grant since then is ABORTED */
    int64_t expires_at;
    int64_t tokens_after; /* `iat` of an access token must be later: what is not is revoked */
} sim_grant;
void sim_grant_free(sim_grant *grant);

/** Keeps the grant; ret_code is to be exchanged once, within code_life_s. NOT_FOUND: user or client
 *  ended meanwhile. INVALID_ARGUMENT: a member that is missing or too long. */
RPC_MUST_USE rpc_code sim_grant_begin(
    sim_state *state, const sim_grant *grant, char ret_code[SIM_CODE_MAX], rpc_status *reterr);
/** The grant of a code, which stays usable. NOT_FOUND: not one of ours, expired, grant, user or
 *  client ended. ABORTED: it was used before; the whole family and what it issued is now revoked
 *  (RFC 6749 4.1.2; RFC 9700 2.1.1) if it belongs to client_id, and the caller says
 *  invalid_grant in both cases. Another client's code: NOT_FOUND, nothing is revoked. */
RPC_MUST_USE rpc_code sim_grant_by_code(
    sim_state *state, const char *client_id, const char *code, sim_grant **ret, rpc_status *reterr);
/** The same for a refresh token: the newest of its family; an older one revokes the family. */
RPC_MUST_USE rpc_code sim_grant_by_refresh(sim_state *state, const char *client_id,
    const char *refresh, sim_grant **ret, rpc_status *reterr);

typedef struct sim_issue {
    bool code;                  /* by the code; else by the refresh token */
    bool refresh;               /* make a new refresh token */
    const char *jti;            /* of the access token to be answered */
    int64_t expires_at;         /* of that */
    const uint8_t *bind_sha256; /* code of a public client with a certificate: bind; or NULL */
} sim_issue;
/** One transaction: the code is used up (or the refresh token replaced), the token is noted.
 *  grant as it was read; ABORTED: another request was faster, which counts as use twice: revoked.
 *  NOT_FOUND: ended meanwhile. Mint before and answer after it: only what was minted before is
 *  caught by a logout that comes in between.
 *  ret_refresh: the new refresh token, "" when none was asked for; the old one is of no more use
 *  in either case. */
RPC_MUST_USE rpc_code sim_grant_issue(sim_state *state, const sim_grant *grant,
    const sim_issue *issue, char ret_refresh[SIM_CODE_MAX], rpc_status *reterr);
/** Ends the family; revokes what it issued. With more than 4,096 tokens that live: all that its
 *  user has, as sim_user_end(), which is one revocation. */
RPC_MUST_USE rpc_code sim_grant_revoke(
    sim_state *state, const uint8_t family[16], rpc_status *reterr);
/** Live grants of a user. Reads all grants there are: for operators. */
typedef bool sim_grant_fn(void *ctx, const sim_grant *grant);
RPC_MUST_USE rpc_code sim_grants_list(
    sim_state *state, const char *username, sim_grant_fn *fn, void *ctx, rpc_status *reterr);

/* ---- browser sessions ------------------------------------------------------------------------ */

typedef struct sim_session {
    char username[SIM_USERNAME_MAX + 1], sub[SIM_SUB_CHARS + 1], acr[64];
    int64_t auth_time;
    uint64_t era; /* for sim_grant */
} sim_session;
RPC_MUST_USE rpc_code sim_session_begin(sim_state *state, const sim_user *user, const char *acr,
    char ret_cookie[SIM_CODE_MAX], rpc_status *reterr);
/** NOT_FOUND: none of ours, expired, or its user ended. */
RPC_MUST_USE rpc_code sim_session_find(
    sim_state *state, const char *cookie, sim_session *ret, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_session_end(sim_state *state, const char *cookie, rpc_status *reterr);

/** A MAC of text under a key for that use ("csrf"), base64url: for forms. */
void sim_state_mac(sim_state *state, const char *use, rpc_bytes text, char ret[44]);

/* ---- revocations: a numbered log, which every DACM is sent ------------------------------------
 */

typedef struct sim_revocation {
    uint64_t sequence;
    uint64_t previous; /* the one told before it, or the number asked after; gaps have expired */
    const char *jti, *subject; /* exactly one */
    int64_t issued_until, expires_at;
} sim_revocation;

/** Durable and on its way on return. */
RPC_MUST_USE rpc_code sim_revoke_token(
    sim_state *state, const char *jti, int64_t expires_at, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_revoke_subject(sim_state *state, const char *subject, rpc_status *reterr);
/** Is a token of ours revoked? For introspection and userinfo; memory only. */
bool sim_revoked(sim_state *state, const trust_token *token);

/** 16 bytes that change when the store is another one, and with the secret: a store that was
 *  restored from a copy, without it, counts as another one, since it may know less. */
const uint8_t *sim_revocations_epoch(const sim_state *state);
uint64_t sim_revocations_sequence(sim_state *state);
typedef bool sim_revocation_fn(void *ctx, const sim_revocation *revocation);
/** Those after that number that have not expired, in order. */
RPC_MUST_USE rpc_code sim_revocations_after(
    sim_state *state, uint64_t sequence, sim_revocation_fn *fn, void *ctx, rpc_status *reterr);
/** fn is called after each new one, on any thread; must not block. One watcher; before threads. */
void sim_revocations_watch(sim_state *state, void (*fn)(void *ctx), void *ctx);

#endif
