/* SPDX-License-Identifier: Apache-2.0 */
/** Who a request names, how objects are cut into chunks, keys and signatures.
 *  trust/ is given bytes and never fetches. */
#ifndef DACM_TRUST_H
#define DACM_TRUST_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRUST_GPSI_MAX     255
#define TRUST_ASSET_ID_MAX 128

/** A GPSI in its only accepted spelling; compare byte for byte. */
typedef struct trust_gpsi {
    uint8_t size;
    char text[TRUST_GPSI_MAX + 1]; /* NUL-terminated */
} trust_gpsi;

/** True for `msisdn-` and 5–15 digits, or `extid-local@domain` with the domain in lower case;
 *  printable ASCII without white space, at most 255 bytes (TS 29.571, TS 23.003 19.7.2). */
RPC_API bool trust_gpsi_valid(rpc_bytes text);

/** Reads a GPSI, or an External ID `local@domain` that becomes `extid-local@domain`.
 *  Nothing is folded or trimmed. RPC_INVALID_ARGUMENT when text is neither; ret_gpsi is then
 *  untouched and the message does not repeat the text. */
RPC_API rpc_code trust_gpsi_parse(rpc_bytes text, trust_gpsi *ret_gpsi, rpc_status *reterr);

/** True for 1–128 bytes of A–Z a–z 0–9 . _ ~ - */
RPC_API bool trust_asset_id_valid(rpc_bytes text);

#define TRUST_CHUNK_MIN (16u << 10)
#define TRUST_CHUNK_MAX (256u << 10)

/** How chunk boundaries are found; the last chunk of an object may be of any length ≥ 1. */
typedef enum trust_chunking {
    TRUST_CHUNKING_GEAR_64K,   /* content-defined, 16–256 KiB */
    TRUST_CHUNKING_FIXED_256K, /* 256 KiB each */
} trust_chunking;

/** Caller's memory; nothing to release. One thread at a time. */
typedef struct trust_chunker {
    trust_chunking chunking;
    uint32_t length; /* of the chunk under way */
    uint64_t hash;
    uint64_t gear[256]; /* splitmix64 from seed 0, in order */
} trust_chunker;

RPC_API void trust_chunker_init(trust_chunker *chunker, trust_chunking chunking);
/** Returns how many bytes of data belong to the chunk under way: all of them with *ret_end
 *  false, or as many as end it with *ret_end true. Boundaries do not depend on how an object
 *  is split over calls. */
RPC_API size_t trust_chunker_feed(trust_chunker *chunker, rpc_bytes data, bool *ret_end);

/** Foreign JSON: size and depth (16) are judged before jansson sees it, members may not repeat.
 *  json_decref() it. NULL with *reterr INVALID_ARGUMENT; what is for its message, which repeats
 *  nothing of the text. */
RPC_API RPC_MUST_USE struct json_t *trust_json_parse(
    rpc_bytes text, size_t bytes_max, const char *what, rpc_status *reterr);

/* ---- keys (RFC 7517, RFC 8037) ------------------------------------------------------------ */

#define TRUST_KID_MAX        128
#define TRUST_JWKS_BYTES_MAX (256u << 10)
#define TRUST_KEYS_MAX       64

/** The algorithm belongs to the key, never to what is verified with it. */
typedef enum trust_alg {
    TRUST_ALG_EDDSA, /* Ed25519; headers may say EdDSA or Ed25519 (RFC 9864) */
    TRUST_ALG_ES256,
    TRUST_ALG_RS256,
    TRUST_ALG_PS256,
} trust_alg;

/** One key, one purpose: a ring holds keys of one, and its signatures carry one `typ`. */
typedef enum trust_purpose {
    TRUST_FOR_TOKENS,
    TRUST_FOR_MANIFESTS,
    TRUST_FOR_KEY_SETS,
    TRUST_FOR_AUDIT,
    TRUST_FOR_CLIENTS, /* assertions by which an OAuth client authenticates */
} trust_purpose;

/** Member `dacm_state` of a JWK; absent = active. */
typedef enum trust_key_state {
    TRUST_KEY_PRE_PUBLISHED, /* known, verifies nothing yet */
    TRUST_KEY_ACTIVE,
    TRUST_KEY_VERIFY_ONLY,
    TRUST_KEY_RETIRED,     /* what was signed in its window still verifies; tokens do not */
    TRUST_KEY_COMPROMISED, /* verifies nothing, whenever it was signed */
} trust_key_state;

typedef struct trust_key trust_key;
RPC_API const char *trust_key_kid(const trust_key *key);
RPC_API trust_alg trust_key_alg(const trust_key *key);
RPC_API trust_key_state trust_key_get_state(const trust_key *key);
/** May it have signed something at that time (seconds since 1970)? */
RPC_API bool trust_key_signs_at(const trust_key *key, int64_t time);

/** Public keys of one purpose: an immutable, counted snapshot. Any thread. */
typedef struct trust_keyring trust_keyring;

/** Reads a JWK set, or one JWK. Refused: private members, a kid that is missing, longer than 128
 *  bytes, not printable ASCII or there twice, `use` other than sig, `key_ops` without verify, an
 *  `alg` that does not fit the key, RSA below 2,048 or above 4,096 bits or with an exponent that
 *  is 1, even or above 64 bits, an Ed25519 key that is no point of the group (those of small order
 *  verify what nobody signed), another `dacm_purpose`. Keys of a type we do not know are left out.
 * INVALID_ARGUMENT names the kid and member; RESOURCE_EXHAUSTED: more than 256 KiB or 64 keys. */
RPC_API RPC_MUST_USE rpc_code trust_keyring_parse(rpc_bytes jwks, trust_purpose purpose,
    uint64_t version, trust_keyring **ret, rpc_status *reterr);
/** The same for a set that somebody else publishes for everybody (an OpenID provider's, a
 *  client's): keys that cannot be for us are left out instead of refusing the set: those for
 *  encryption, of another algorithm or size, without kid. An RSA key without `alg` counts as
 *  rsa_alg (RS256 or PS256). dacm_purpose and dacm_state count where they are there. Refused as a
 *  whole: private members, a kid that is there twice, a set without any key for us. */
RPC_API RPC_MUST_USE rpc_code trust_keyring_parse_published(rpc_bytes jwks, trust_purpose purpose,
    trust_alg rsa_alg, uint64_t version, trust_keyring **ret, rpc_status *reterr);
RPC_API trust_keyring *trust_keyring_ref(trust_keyring *ring);
RPC_API void trust_keyring_unref(trust_keyring *ring);
RPC_API trust_purpose trust_keyring_purpose(const trust_keyring *ring);
/** As given to parse: caches are keyed by it. */
RPC_API uint64_t trust_keyring_version(const trust_keyring *ring);
RPC_API size_t trust_keyring_count(const trust_keyring *ring);
RPC_API const trust_key *trust_keyring_at(const trust_keyring *ring, size_t index);
/** NULL when there is none. */
RPC_API const trust_key *trust_keyring_find(const trust_keyring *ring, rpc_bytes kid);

/** Who signs: a key file today, a key service behind the same calls later. Any thread. */
typedef struct trust_signer trust_signer;

#define TRUST_SIGNATURE_MAX 512u
#define TRUST_RSA_BITS_MIN  2048
#define TRUST_RSA_BITS_MAX  4096

/** A new Ed25519 key whose kid is its RFC 7638 thumbprint. */
RPC_API RPC_MUST_USE rpc_code trust_signer_generate(
    trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** A new RSA key that signs RS256, of 2,048 to 4,096 bits (a multiple of 8), for tokens. Takes
 *  long: up to seconds. INVALID_ARGUMENT; INTERNAL: OpenSSL failed. */
RPC_API RPC_MUST_USE rpc_code trust_signer_generate_rsa(
    int bits, trust_signer **ret, rpc_status *reterr);
/** Is the key, or a signer's public half, among those of ring, under whatever kid? One key has one
 *  purpose. */
RPC_API bool trust_key_in(const trust_key *key, const trust_keyring *ring);
RPC_API bool trust_signer_in(const trust_signer *signer, const trust_keyring *ring);
/** From a private JWK, or the first of a private JWK set, that is active by its `dacm_state`:
 *  Ed25519 (kty and crv say so), or RSA with `alg` RS256 and all of its CRT members, which only
 *  tokens are signed with (what others have to verify for years is Ed25519); of this purpose.
 *  INVALID_ARGUMENT; RESOURCE_EXHAUSTED: no locked memory. No message repeats what jwk holds but
 *  the kid.
 *  An Ed25519 key lives in locked memory, an RSA key in OpenSSL's; both are wiped; wiping jwk is
 *  the caller's. */
RPC_API RPC_MUST_USE rpc_code trust_signer_parse(
    rpc_bytes jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** One private Ed25519 key that somebody brings (RFC 8037), no set. Its kid is the RFC 7638
 *  thumbprint, and may be absent; INVALID_ARGUMENT for another one names it. */
RPC_API RPC_MUST_USE rpc_code trust_signer_import(
    rpc_bytes jwk, trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** From now on every piece of memory that JSON stood in is overwritten before it is freed: for
 *  processes that are sent private keys. Before the first use of JSON. */
RPC_API void trust_json_overwrite(void);
/** From the 32 bytes that an Ed25519 key is made of, as a key service keeps them; its kid is its
 *  RFC 7638 thumbprint. Wiping seed is the caller's. INVALID_ARGUMENT: it is all zeros, as for each
 *  key that is read here. RESOURCE_EXHAUSTED: no locked memory. */
RPC_API RPC_MUST_USE rpc_code trust_signer_from_seed(
    const uint8_t seed[32], trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** The private half of a key that is published: kid, state and window are the key's.
 *  INVALID_ARGUMENT: seed makes another key. RESOURCE_EXHAUSTED: no locked memory. */
RPC_API RPC_MUST_USE rpc_code trust_signer_of_key(const trust_key *key, const uint8_t seed[32],
    trust_purpose purpose, trust_signer **ret, rpc_status *reterr);
/** Signs message with the private half of kid, which is elsewhere. May block; any thread. */
typedef rpc_code trust_sign_fn(
    void *ctx, const char *kid, rpc_bytes message, uint8_t ret_signature[64], rpc_status *reterr);
/** An Ed25519 key that somebody else signs with: trust_signer_sign() asks fn, may block as that
 *  does, and gives nothing that the key does not verify (INTERNAL). ctx outlives the signer.
 *  INVALID_ARGUMENT: no Ed25519 key. */
RPC_API RPC_MUST_USE rpc_code trust_signer_remote(const trust_key *key, trust_purpose purpose,
    trust_sign_fn *fn, void *ctx, trust_signer **ret, rpc_status *reterr);
RPC_API bool trust_signer_is_remote(const trust_signer *signer);
/** These 32 bytes, in the signer's locked memory; and its public half. Of an Ed25519 key that is
 *  here only. */
RPC_API const uint8_t *trust_signer_seed(const trust_signer *signer);
RPC_API const uint8_t *trust_signer_ed25519(const trust_signer *signer);
RPC_API void trust_signer_free(trust_signer *signer);
RPC_API const char *trust_signer_kid(const trust_signer *signer);
RPC_API trust_purpose trust_signer_purpose(const trust_signer *signer);
RPC_API trust_alg trust_signer_alg(const trust_signer *signer);
/** Signs message: 64 bytes of Ed25519, or as many as the RSA key has. INTERNAL: OpenSSL failed,
 *  RESOURCE_EXHAUSTED: no memory; neither happens with an Ed25519 key that is here. */
RPC_API RPC_MUST_USE rpc_code trust_signer_sign(const trust_signer *signer, rpc_bytes message,
    uint8_t ret_signature[TRUST_SIGNATURE_MAX], size_t *ret_size, rpc_status *reterr);
/** The public key as a JWK set; free() it. NULL when memory is short. */
RPC_API char *trust_signer_public_jwks(const trust_signer *signer);
/** With the private half, for a file of mode 0600; wipe it, then free() it. */
RPC_API char *trust_signer_private_jwks(const trust_signer *signer);

/** A set of private keys without their private members, for publication; free() *ret. */
RPC_API RPC_MUST_USE rpc_code trust_jwks_public(
    rpc_bytes private_jwks, char **ret, rpc_status *reterr);

/** The private keys of one purpose, as an issuer has them in a file: immutable. Any thread. */
typedef struct trust_signers trust_signers;
/** From a private JWK set, or one private JWK, each as trust_signer_parse() takes it, in any
 *  `dacm_state`. INVALID_ARGUMENT also for a kid or a key that is there twice, and for a set
 *  without a key. */
RPC_API RPC_MUST_USE rpc_code trust_signers_parse(
    rpc_bytes private_jwks, trust_purpose purpose, trust_signers **ret, rpc_status *reterr);
/** Of count signers, which may be 0; takes them, on success. INVALID_ARGUMENT as above. */
RPC_API RPC_MUST_USE rpc_code trust_signers_of(
    trust_signer *const *signers, size_t count, trust_signers **ret, rpc_status *reterr);
RPC_API void trust_signers_free(trust_signers *signers);
RPC_API size_t trust_signers_count(const trust_signers *signers);
/** Who signs with alg at that time (seconds since 1970): of the active keys whose window (`nbf`,
 *  `exp`) holds it, the one whose turn began last (`dacm_signs_from`, which an SKM-S says; else
 *  `nbf`); of equals the first. NULL: nobody. So a
 *  rotation is a new key in the file, whose `nbf` is at least a day ahead: it is published until
 *  then and signs from then on. */
RPC_API const trust_signer *trust_signers_find(
    const trust_signers *signers, trust_alg alg, int64_t time);
/** What verifiers are to know: all keys but those retired or compromised, pre-published ones and
 *  those whose window has not begun included, without `dacm_state`, since a verifier that has a
 *  key must take it from its first signature on. free() it. NULL when memory is short. */
RPC_API char *trust_signers_public_jwks(const trust_signers *signers);

/* ---- JWS, compact (RFC 7515) --------------------------------------------------------------- */

typedef enum trust_verdict {
    TRUST_VALID,
    TRUST_INVALID,
    TRUST_NO_KEY, /* well formed, but its kid is not in the ring */
} trust_verdict;

/** A verified payload. */
typedef struct trust_jws {
    const trust_key *key; /* as long as the ring */
    uint8_t *payload;     /* free() */
    size_t payload_size;
} trust_jws;

/** Takes three canonical base64url segments; a header of alg, kid, typ (and the ignored x5t,
 *  x5t#S256) and nothing else; a kid of the ring; an alg that is the key's; one of the
 *  NULL-terminated typs; a signature that holds. The key's state is the caller's to judge with
 *  trust_key_signs_at(), when it knows the time of signing; a compromised or pre-published key
 *  is INVALID here already. ring NULL: one without keys. On INVALID and NO_KEY *reterr says why
 * (for logs, not for callers) and *ret is untouched. */
RPC_API RPC_MUST_USE trust_verdict trust_jws_verify(rpc_bytes jws, size_t bytes_max,
    const trust_keyring *ring, const char *const *typs, trust_jws *ret, rpc_status *reterr);
/** Signs payload under header {"alg", "kid", "typ"}; free() *ret. Errors of
 *  trust_signer_sign(). */
RPC_API RPC_MUST_USE rpc_code trust_jws_sign(
    const trust_signer *signer, const char *typ, rpc_bytes payload, char **ret, rpc_status *reterr);

/* ---- access tokens (RFC 9068; 3GPP TS 33.434 A.2.2; TR 33.721 solution #6) ------------------ */

#define TRUST_TOKEN_BYTES_MAX 32768u
#define TRUST_USERS_MAX       64 /* `users` of a VAL server's token */
#define TRUST_GPSIS_MAX       8  /* `gpsi` of a user's token */
#define TRUST_SKEW_S          30 /* TS 33.434 A.2.1: at most 30 s */

typedef enum trust_action {
    TRUST_ACTION_CREATE = 1,
    TRUST_ACTION_DISCOVERY = 2,
    TRUST_ACTION_GET = 4,
    TRUST_ACTION_UPDATE = 8,
    TRUST_ACTION_DELETE = 16,
} trust_action;

/** Who may issue tokens, and how they are read. Borrowed by verify; everything NUL-terminated. */
typedef struct trust_issuer {
    const char *issuer;   /* `iss`, byte for byte */
    const char *audience; /* what `aud` must be or contain */
    /** For an issuer that looks at its own tokens (introspection): `aud` may be any one string,
     *  audience is NULL, and trust_token.audience tells it. */
    bool any_audience;
    const trust_keyring *keys;
    const char *const *typs; /* NULL-terminated; NULL = at+jwt */
    unsigned algs;           /* bits 1 << trust_alg of algorithms taken; 0 = all */
    int64_t lifetime_s_max;  /* 0 = 900 */
    bool may_delegate;       /* tokens with `users` are taken */
    /** GPSIs that it may assert in `gpsi` and `users`: a prefix ("msisdn-49", "extid-") or
     *  "extid-*@example.com"; NULL-terminated; NULL = all. */
    const char *const *gpsi_namespaces;
    const char *gpsi_claim, *profile_claim; /* their names; NULL = gpsi, Digital_profile */
} trust_issuer;
/** True for a pattern as gpsi_namespaces takes it. */
RPC_API bool trust_gpsi_namespace_valid(const char *pattern);

/** A list of users of a token, sorted, each once. */
typedef struct trust_users {
    size_t count;
    const char **users;
} trust_users;
RPC_API bool trust_users_contain(const trust_users *users, const char *gpsi);

/** A verified token: immutable, counted, one allocation. Strings are NUL-terminated. */
typedef struct trust_token {
    const char *issuer, *subject, *client_id, *jti;
    const char *scope; /* as it came; trust_token_has_scope() */
    int64_t issued_at, expires_at;
    const char *asset_id; /* NULL = the token names none */
    unsigned actions;     /* bits of trust_action; 0 = no authorization_details */
    bool has_gpsis, has_users, has_profile;
    trust_users gpsis;    /* whom the holder is */
    trust_users users;    /* whom a VAL server acts for */
    trust_users profile;  /* Digital_profile */
    const char *skeyprov; /* SKeyProv, NULL = absent */
    bool bound;           /* cnf x5t#S256 */
    uint8_t certificate_sha256[32];
    uint64_t key_version; /* of the ring that verified it */
    const char *audience; /* with trust_issuer.any_audience only, else NULL */
} trust_token;

/** Signature and claims. UNAUTHENTICATED with a reason for logs (never for callers). The
 *  connection's certificate, scope, asset and users are the decision's business. now: seconds
 *  since 1970. */
RPC_API RPC_MUST_USE rpc_code trust_token_verify(rpc_bytes token, const trust_issuer *issuer,
    int64_t now, trust_token **ret, rpc_status *reterr);
/** Is it a token whose header names a kid that is not in the ring? For an issuer whose set is
 *  fetched: whether a newer set might help. Nothing is verified. */
RPC_API bool trust_token_key_unknown(rpc_bytes token, const trust_keyring *ring);
/** The `iss` of a token, unverified: which issuer to ask. False when it cannot be read or does
 *  not fit; nothing else of the token may be believed. */
RPC_API bool trust_token_peek_issuer(rpc_bytes token, char *ret_issuer, size_t room);
RPC_API trust_token *trust_token_ref(trust_token *token);
RPC_API void trust_token_unref(trust_token *token);
RPC_API bool trust_token_has_scope(const trust_token *token, const char *scope);

/** What to put into a token; NULL and 0 leave a claim out. Lists NULL-terminated. */
typedef struct trust_token_claims {
    const char *issuer, *subject, *audience, *client_id, *scope;
    const char *jti; /* 1..255 bytes that never come again; NULL = drawn */
    int64_t issued_at, lifetime_s;
    int64_t auth_time; /* RFC 9068 2.2.1: when the user logged in, seconds since 1970 */
    const char *acr;   /* … and how */
    const char *asset_id;
    const char *const *actions; /* "get" …; with asset_id or users: authorization_details */
    const char *const *gpsis;
    const char *const *users;
    const char *const *profile; /* an empty list is an empty Digital_profile */
    const char *skeyprov;
    const uint8_t *certificate_sha256;
} trust_token_claims;

/** The one mint of the suite. INVALID_ARGUMENT: a claim that no server of ours would take;
 *  RESOURCE_EXHAUSTED: larger than 32 KiB. free() *ret. */
RPC_API RPC_MUST_USE rpc_code trust_token_mint(
    const trust_signer *signer, const trust_token_claims *claims, char **ret, rpc_status *reterr);

/** What to put into an ID token (OpenID Connect Core 2; TS 33.434 A.2.1); NULL and 0 leave a claim
 *  out. */
typedef struct trust_id_claims {
    const char *issuer, *subject, *client_id; /* client_id is the audience */
    int64_t issued_at, lifetime_s;            /* 1..86,400 s */
    int64_t auth_time;
    const char *nonce, *acr, *azp;
    const char *access_token; /* given together with it: becomes at_hash */
} trust_id_claims;
/** `typ` JWT, so that it is no access token. Signed with a key for tokens. INVALID_ARGUMENT,
 *  RESOURCE_EXHAUSTED, errors of trust_signer_sign(). free() *ret. */
RPC_API RPC_MUST_USE rpc_code trust_id_token_mint(
    const trust_signer *signer, const trust_id_claims *claims, char **ret, rpc_status *reterr);

/* ---- client assertions (RFC 7523, private_key_jwt of OpenID Connect Core 9) -------------------
 */

#define TRUST_ASSERTION_BYTES_MAX 8192u
#define TRUST_ASSERTION_AHEAD_S   600 /* `exp` lies at most so far ahead */

/** Who may present an assertion, and to whom. Borrowed by verify. */
typedef struct trust_assertion_rules {
    const char *client_id;        /* `iss` and `sub`, byte for byte */
    const trust_keyring *keys;    /* of the client, TRUST_FOR_CLIENTS */
    const char *const *audiences; /* NULL-terminated; `aud` is one, or some, of them */
    unsigned algs;                /* bits 1 << trust_alg that are taken; 0 = all */
} trust_assertion_rules;

/** A verified assertion: whoever takes it remembers (client, jti) until expires_at + TRUST_SKEW_S
 *  and refuses it the second time. */
typedef struct trust_assertion {
    char client_id[256], jti[256];
    int64_t expires_at; /* seconds since 1970 */
    int64_t issued_at;  /* `iat`; 0 = it does not say */
} trust_assertion;

/** The `sub` of an assertion, unverified: whose keys to take. False when it cannot be read or does
 *  not fit. */
RPC_API bool trust_assertion_peek_client(rpc_bytes assertion, char *ret_client_id, size_t room);
/** Signature (a header's `typ` is absent, JWT or client-authentication+jwt; `kid` may be absent
 *  where exactly one key of the client fits) and claims: iss = sub = client_id, aud, exp, jti; iat
 *  and nbf where they are there. UNAUTHENTICATED with a reason for logs. now: seconds since
 *  1970. */
RPC_API RPC_MUST_USE rpc_code trust_assertion_verify(rpc_bytes assertion,
    const trust_assertion_rules *rules, int64_t now, trust_assertion *ret, rpc_status *reterr);
/** For a client of ours: an assertion for audience that lives 60 s. The signer is for clients.
 *  free() *ret. Errors of trust_signer_sign(); INVALID_ARGUMENT. */
RPC_API RPC_MUST_USE rpc_code trust_assertion_mint(const trust_signer *signer,
    const char *client_id, const char *audience, int64_t now, char **ret, rpc_status *reterr);

/* ---- verified tokens, kept ------------------------------------------------------------------- */

/** Tokens that were verified, so that a token costs one signature check however often it comes.
 *  Bounded in entries and bytes. Any thread. */
typedef struct trust_token_cache trust_token_cache;
/** NULL when memory is short. */
RPC_API RPC_MUST_USE trust_token_cache *trust_token_cache_new(size_t entries, size_t bytes_max);
RPC_API void trust_token_cache_free(trust_token_cache *cache);
/** The token with that SHA-256, with a reference, if one of the issuers verified it with the
 *  very keys that it has now and for the audience it has now, and it has not expired; else
 *  NULL. */
RPC_API trust_token *trust_token_cache_find(trust_token_cache *cache, const uint8_t sha256[32],
    const trust_issuer *issuers, size_t issuer_count, int64_t now);
/** Keeps one (with a reference of its own); issuer is the one that verified it. */
RPC_API void trust_token_cache_put(trust_token_cache *cache, const uint8_t sha256[32],
    trust_token *token, const trust_issuer *issuer);
RPC_API void trust_sha256(rpc_bytes bytes, uint8_t ret[32]);

/* ---- revocations ------------------------------------------------------------------------------
 */

/** What is refused before it expires: one token, or all of a subject issued so far. */
typedef struct trust_revocation {
    const char *issuer;
    const char *jti, *subject; /* exactly one */
    int64_t issued_until;      /* subject: tokens with `iat` up to here, seconds since 1970 */
    int64_t expires_at;        /* then it is forgotten; seconds since 1970 */
} trust_revocation;

/** The revocations of all issuers, in memory; keeping them is the server's business. Any thread;
 *  asking takes no lock while there are none. */
typedef struct trust_revocations trust_revocations;
/** At most entries_max are kept. NULL when memory is short. */
RPC_API RPC_MUST_USE trust_revocations *trust_revocations_new(size_t entries_max);
RPC_API void trust_revocations_free(trust_revocations *table);
/** Again: the later times win. INVALID_ARGUMENT; RESOURCE_EXHAUSTED: entries_max that have not
 *  expired are there, or no memory. now: seconds since 1970. */
RPC_API RPC_MUST_USE rpc_code trust_revocations_add(
    trust_revocations *table, const trust_revocation *revocation, int64_t now, rpc_status *reterr);
RPC_API bool trust_revocations_has(trust_revocations *table, const trust_token *token);
/** Grows with every revocation: what was decided under the same number need not be asked again. */
RPC_API uint64_t trust_revocations_epoch(const trust_revocations *table);
/** It grows: something else has changed that says whether a token still counts. */
RPC_API void trust_revocations_touch(trust_revocations *table);
RPC_API size_t trust_revocations_count(trust_revocations *table, int64_t now);

/* ---- the decision (TR 33.721 solution #6 step 2; TS 33.434 6.2.2 step 9) ------------------------
 */

/** Which steps an issuer's tokens go through when the media is asked for. What concerns the
 *  profile always needs a token for it whose holder the user is, and the profile's own list; only
 *  `profile` takes it without an asset claim. A missing claim never changes the mode. */
typedef enum trust_mode {
    TRUST_MODE_TOKEN_PROFILE, /* all steps; the default */
    TRUST_MODE_PROFILE,       /* Rel-19: asset claim and list are not needed, but binding */
    TRUST_MODE_TOKEN,         /* no local list: existence is enough */
    TRUST_MODE_LITERAL,       /* the letter of the text: genuine token, user in the list */
} trust_mode;

/** Who decided; names by trust_reason_name(), sentences for operators by trust_reason_text(). */
typedef enum trust_reason {
    TRUST_REASON_ALLOWED,
    TRUST_REASON_TOKEN, /* missing, not genuine, not fresh */
    TRUST_REASON_REVOKED,
    TRUST_REASON_STALE,   /* nobody knows whether it was revoked since */
    TRUST_REASON_BINDING, /* cnf is of another certificate, or required and absent */
    TRUST_REASON_SCOPE,
    TRUST_REASON_ASSET, /* the token names another asset, or none, or one too many */
    TRUST_REASON_ACTION,
    TRUST_REASON_PROFILE_CLAIM, /* Digital_profile absent, empty or without the user */
    TRUST_REASON_HOLDER,        /* the user is not the holder's */
    TRUST_REASON_LIST,          /* the profile's own list does not allow it */
    TRUST_REASON_MISSING,       /* there is no such asset, and the list would have decided */
    TRUST_REASON_NOT_FOUND,     /* every step but existence has passed */
    TRUST_REASONS
} trust_reason;
RPC_API const char *trust_reason_name(trust_reason reason);
RPC_API const char *trust_reason_text(trust_reason reason);

/** What is known of the asset and the user of the request. */
typedef struct trust_asset_facts {
    bool exists;
    bool owner;   /* the user is one of the owners */
    bool allowed; /* the list allows the user the operation, or the policy the creation */
} trust_asset_facts;

/** All that a decision is made of. Syntax was judged before. */
typedef struct trust_question {
    const trust_token *token; /* NULL: missing or refused by trust_token_verify() */
    bool revoked;
    bool stale; /* the issuer must report its revocations, and was not heard for too long */
    trust_mode mode;
    bool binding_required;             /* for this client */
    const uint8_t *certificate_sha256; /* of the connection; NULL = none */
    trust_action action;
    bool about_profile;             /* get: the profile is asked for, not the media */
    const char *asset_id;           /* NULL for create and discovery */
    const char *gpsi;               /* the user of the request */
    int64_t now;                    /* seconds since 1970 */
    const trust_asset_facts *facts; /* NULL: judge the token's steps only; see `pending` */
} trust_question;

typedef struct trust_decision {
    rpc_code code; /* OK, UNAUTHENTICATED, UNAVAILABLE (stale), PERMISSION_DENIED, NOT_FOUND */
    trust_reason reason;
    bool pending;        /* OK so far; the facts decide: ask again with them */
    int64_t valid_until; /* of an OK: the token's end, skew included */
} trust_decision;

/** One pure function: no memory, no clock, no store. The steps come in the order of
 *  docs/security.md, and nothing later is looked at when one fails. */
RPC_API trust_decision trust_decide(const trust_question *question);

/* ---- manifests (docs/wire.md, "An object")
 * -------------------------------------------------------- */

#define TRUST_MANIFEST_TYP        "dacm-manifest+jwt"
#define TRUST_MANIFEST_BYTES_MAX  16384u
#define TRUST_MANIFEST_LIFE_S_MAX 86400 /* `exp` bounds freshness, not authenticity */

/** What is signed about one version of an asset. Strings are NUL-terminated. */
typedef struct trust_manifest {
    char issuer[256];
    char asset_id[TRUST_ASSET_ID_MAX + 1];
    char media_type[128];
    char chunking[32];
    char recipe[2048];           /* canonical; empty: the original */
    char kid[TRUST_KID_MAX + 1]; /* of the key that verified it; empty with NO_KEY */
    uint64_t version, size;
    uint8_t sha256[32];        /* of the whole object */
    uint8_t chunks_sha256[32]; /* of the chunk list's bytes */
    bool has_source;           /* of a variant: */
    uint8_t source_sha256[32];
    char figures[1024]; /* of a variant: what was reached, a JSON object; empty: not said */
    char licence[2048]; /* of a variant of a VRM: the same; empty: not said */
    int64_t issued_at, expires_at; /* seconds since 1970 */
} trust_manifest;

/** free() *ret. INVALID_ARGUMENT: a signer of another purpose, or a member that verify would
 *  not take, or all of them together more than 16 KiB. RESOURCE_EXHAUSTED: no memory. */
RPC_API RPC_MUST_USE rpc_code trust_manifest_sign(
    const trust_signer *signer, const trust_manifest *manifest, char **ret, rpc_status *reterr);
/** Signature, type, the key's state at `iat`, and every claim; `exp` is for the caller to judge.
 *  ring NULL: a ring without keys. NO_KEY fills *ret too: what it says, unverified. On INVALID
 *  *ret is untouched. */
RPC_API RPC_MUST_USE trust_verdict trust_manifest_verify(
    rpc_bytes jws, const trust_keyring *ring, trust_manifest *ret, rpc_status *reterr);

/* ---- key sets and roots (docs/wire.md, "Key sets")
 * -----------------------------------------------
 */

#define TRUST_KEYSET_TYP        "dacm-keyset+jwt"
#define TRUST_KEYSET_BYTES_MAX  65536u
#define TRUST_KEYSET_LIFE_S_MAX 3600 /* how long a client that hears nothing believes a key */
#define TRUST_ROOT_TYP          "dacm-root+jwt"
#define TRUST_ROOT_BYTES_MAX    4096u
#define TRUST_FINGERPRINT_SIZE  51 /* with the NUL */
#define TRUST_SERVICE_BYTES_MAX 255

/** The keys of one VAL service for one purpose, as the SKM-S publishes them. Strings are
 *  NUL-terminated, of 1..255 printable ASCII characters without white space. */
typedef struct trust_keyset {
    char issuer[TRUST_SERVICE_BYTES_MAX + 1];  /* URI of the SKM-S */
    char service[TRUST_SERVICE_BYTES_MAX + 1]; /* resource of a DACM, issuer of a SIM-S, … */
    trust_purpose purpose;                     /* TRUST_FOR_TOKENS or TRUST_FOR_MANIFESTS */
    uint64_t version;                          /* 1..2^53-1; grows by one with each change */
    int64_t issued_at, expires_at;             /* seconds since 1970; at most an hour apart */
    /** A JWK set for trust_keyring_parse() with this purpose: Ed25519 keys only, 0..64, each with
     *  kid, dacm_purpose, dacm_state, nbf and exp, each key and kid once. Free it with
     *  trust_keyset_done(). */
    char *jwks;
} trust_keyset;

/** Frees jwks. NULL is allowed, and so is a set without. */
RPC_API void trust_keyset_done(trust_keyset *set);
/** Signs with a root (a signer of TRUST_FOR_KEY_SETS). free() *ret. INVALID_ARGUMENT: a signer of
 *  another purpose, or a member that verify would not take (the message names it), the root's own
 *  key among the keys included. RESOURCE_EXHAUSTED: no memory, or more than
 *  TRUST_KEYSET_BYTES_MAX. */
RPC_API RPC_MUST_USE rpc_code trust_keyset_sign(
    const trust_signer *root, const trust_keyset *set, char **ret, rpc_status *reterr);
/** Signature (EdDSA, by a root that was in use at `iat`), type, every claim, every key, and time:
 *  a set that has expired, or was issued after now, is INVALID, with TRUST_SKEW_S for clocks.
 *  Which version may follow which, and whose service it is, are for the caller to judge. root: of
 *  TRUST_FOR_KEY_SETS. NO_KEY: another root has signed it. now: seconds since 1970. On INVALID
 *  and NO_KEY *ret is untouched and *reterr says why; its code is FAILED_PRECONDITION where
 *  nothing but the time is against it. */
RPC_API RPC_MUST_USE trust_verdict trust_keyset_verify(
    rpc_bytes jws, const trust_keyring *root, int64_t now, trust_keyset *ret, rpc_status *reterr);

/** The statement with which a root names the one that follows it. new_root_public_jwk: a JWK, or
 *  a set of one; Ed25519, without private members, not the old root. sequence: 1..2^53-1, which
 *  replacement of this issuer's root it is. free() *ret. INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
RPC_API RPC_MUST_USE rpc_code trust_root_sign(const trust_signer *old_root, const char *issuer,
    uint64_t sequence, const char *new_root_public_jwk, int64_t issued_at, char **ret,
    rpc_status *reterr);
/** The new root of a statement that old_root has signed for that issuer under exactly that
 *  sequence: a JWK for trust_keyring_parse() with TRUST_FOR_KEY_SETS; free() it. It does not
 *  expire. Verdicts and outputs as those of trust_keyset_verify(). */
RPC_API RPC_MUST_USE trust_verdict trust_root_follow(rpc_bytes statement,
    const trust_keyring *old_root, const char *issuer, uint64_t sequence, char **ret_new_root_jwk,
    rpc_status *reterr);
/** What kind of text it is: TRUST_KEYSET_TYP, TRUST_ROOT_TYP, or NULL for anything else. And
 *  whose: `iss` and, of a root statement, `sequence` (else 0). Nothing is verified: it only says
 *  with which root and number to ask the functions above. */
RPC_API const char *trust_keyset_peek(
    rpc_bytes jws, char ret_issuer[TRUST_SERVICE_BYTES_MAX + 1], uint64_t *ret_sequence);

/** Reads a root (a public JWK, or a set of one). Its fingerprint is "SHA256:" and its RFC 7638
 *  thumbprint, which any JOSE library computes. ret_jwk (may be NULL): its JWK with the members
 * that say something here; free() it. INVALID_ARGUMENT: it is no root. RESOURCE_EXHAUSTED. */
RPC_API RPC_MUST_USE rpc_code trust_root_read(rpc_bytes root_jwk,
    char ret_fingerprint[TRUST_FINGERPRINT_SIZE], char **ret_jwk, rpc_status *reterr);
/** Is text that fingerprint? "SHA256:" may be absent, and base64 stand for base64url. */
RPC_API bool trust_fingerprint_equal(const char *fingerprint, const char *text);
/** "tokens" or "manifests"; NULL: keys of that purpose are in no key set. */
RPC_API const char *trust_keyset_purpose_name(trust_purpose purpose);
RPC_API bool trust_keyset_purpose_parse(const char *text, trust_purpose *ret);

#ifdef __cplusplus
}
#endif
#endif
