/* SPDX-License-Identifier: Apache-2.0 */
/** libdacm: a client of the DACM in plain C (3GPP TR 33.721 solution #6).
 *
 *  A download hands over a byte only after the manifest's signature, the digest of the list of
 *  chunks and the digest of the byte's own chunk have held; that stays so when it is resumed,
 *  split over streams, limited to a range or completed from an earlier copy.
 *
 *  THREADS. Every function blocks. A dacm_client may be used by any number of threads at once;
 *  callbacks (token, sink, progress) run on the thread that called, inside that call, and may
 *  use the client for other calls. dacm_client_free() comes after the last call has returned.
 *
 *  ERRORS. A dacm_code is returned and must be used; reterr may be NULL and is set on failure
 *  only. Outputs stay untouched on failure. Every call can answer: INVALID_ARGUMENT (nothing was
 *  sent, or the server says which field), UNAUTHENTICATED (no token, or one the server does not
 *  take), PERMISSION_DENIED (forbidden or missing: the server does not tell), UNAVAILABLE (no
 *  connection; try again), DEADLINE_EXCEEDED (the server may have acted), RESOURCE_EXHAUSTED (a
 *  limit or memory; the message names it). What else a call answers stands beside it.
 *
 *  USERS are a GPSI ("msisdn-" and 5 to 15 digits, "extid-local@domain") or an External ID
 *  ("local@domain", the same as "extid-local@domain"). */
#ifndef DACM_H
#define DACM_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DACM_API      RPC_API
#define DACM_MUST_USE RPC_MUST_USE

#define DACM_ASSET_ID_BYTES_MAX 128
#define DACM_GPSI_BYTES_MAX     255
#define DACM_STREAMS_MAX        8
#define DACM_CHUNKS_MAX         1048576u /* in one object: 16 GiB of the smallest chunks */

/** gRPC's codes with their numbers, and what a client finds out by itself. */
typedef enum dacm_code {
    DACM_OK = RPC_OK,
    DACM_CANCELLED = RPC_CANCELLED,
    DACM_UNKNOWN = RPC_UNKNOWN,
    DACM_INVALID_ARGUMENT = RPC_INVALID_ARGUMENT,
    DACM_DEADLINE_EXCEEDED = RPC_DEADLINE_EXCEEDED,
    DACM_NOT_FOUND = RPC_NOT_FOUND,
    DACM_ALREADY_EXISTS = RPC_ALREADY_EXISTS,
    DACM_PERMISSION_DENIED = RPC_PERMISSION_DENIED,
    DACM_RESOURCE_EXHAUSTED = RPC_RESOURCE_EXHAUSTED,
    DACM_FAILED_PRECONDITION = RPC_FAILED_PRECONDITION,
    DACM_ABORTED = RPC_ABORTED,
    DACM_OUT_OF_RANGE = RPC_OUT_OF_RANGE,
    DACM_UNIMPLEMENTED = RPC_UNIMPLEMENTED,
    DACM_INTERNAL = RPC_INTERNAL,
    DACM_UNAVAILABLE = RPC_UNAVAILABLE,
    DACM_DATA_LOSS = RPC_DATA_LOSS,
    DACM_UNAUTHENTICATED = RPC_UNAUTHENTICATED,
    DACM_BAD_SIGNATURE = 32, /* manifest, list or chunk is not what was signed or asked for */
    DACM_NO_KEY = 33,        /* the manifest names a key that is not in the trusted set */
    DACM_LOCAL_FILE = 34,    /* a file here cannot be read or written */
} dacm_code;

/** "PERMISSION_DENIED", "BAD_SIGNATURE" and so on. */
DACM_API const char *dacm_code_name(dacm_code code);

typedef struct dacm_error {
    dacm_code code;
    char message[512];   /* a sentence that says what to do */
    char request_id[64]; /* for `dacm explain`; empty when the server gave none */
    uint32_t retry_ms;   /* from when on the server says to ask again; 0: it does not say */
} dacm_error;

/* ---- client ----------------------------------------------------------------------------- */

/** What a call needs a token for. */
typedef struct dacm_token_request {
    const char *user;     /* as given to the call */
    const char *asset_id; /* NULL for create and discovery */
    const char *action;   /* "get" "update" "delete" "create" "discovery" */
} dacm_token_request;

/** Gives an access token: *ret_token is malloc'd, libdacm frees it. Anything but DACM_OK ends
 *  the call with *reterr. */
typedef dacm_code dacm_token_fn(
    void *ctx, const dacm_token_request *request, char **ret_token, dacm_error *reterr);

typedef enum dacm_verify {
    DACM_VERIFY_ALWAYS, /* no key: refused with DACM_NO_KEY */
    DACM_VERIFY_IF_KEY, /* no key: digests are checked, the signature is not, and the result
                           says so */
} dacm_verify;

/** Zero is a good value for every member that the comment calls optional. Strings are copied. */
typedef struct dacm_client_options {
    const char *target;           /* "tls+tcp://host:port"; "ipc:///path" */
    bool allow_plain_text;        /* "tcp://" on loopback, for tests */
    const char *ca_file;          /* who may sign the server's certificate */
    const char *certificate_file; /* optional client certificate (RFC 8705), with key_file */
    const char *key_file;
    const char *server_name; /* optional: verified name; NULL = host of the target */
    const char *token;       /* one token for every call, or … */
    dacm_token_fn *token_fn; /* … a provider; neither: calls go without one */
    void *token_ctx;
    const char *keys_file; /* optional: JWKS with the public manifest keys; without it
                              every manifest is "no key" */
    const char *trust_dir; /* optional, instead: folder of pinned roots (dacm_trust). The newest
                              key set of issuer there is read with each manifest, so that new
                              keys and revoked ones count at once; an expired one does not.
                              Where an address of its SKM-S is known, that set is kept up to
                              date from the first download on (dacm_client_keys()) */
    const char *issuer;    /* optional: `iss` that manifests must have; needed with
                              keys_file and trust_dir */
    const char *state_dir; /* optional: where the highest version seen of each asset is
                              kept; created with mode 0700. NULL = not kept */
    /** With trust_dir, all optional: how the SKM-S of issuer is reached. */
    bool keys_offline;            /* it is asked for nothing */
    const char *keys_address;     /* NULL = as pinned; none: it is asked for nothing */
    const char *keys_ca_file;     /* who may sign its certificate; NULL = ca_file */
    const char *keys_server_name; /* verified name; NULL = host of the address */
    int64_t keys_timeout_ms;      /* for an answer; 0 = 5,000 */
    int64_t keys_unknown_ms;      /* unknown keys cause one question in so long; 0 = 30,000 */
    int64_t keys_refresh_ms;      /* without a word for so long: a question; 0 = 300,000 */
    dacm_verify verify;
    int64_t timeout_ms;     /* for each call but Download and Upload; 0 = 30,000 */
    unsigned attempts;      /* for a broken connection; 0 = 5 */
    const rpc_clock *clock; /* NULL = the system's */
} dacm_client_options;

typedef struct dacm_client dacm_client;

/** INVALID_ARGUMENT (an option that can never work), LOCAL_FILE (a file cannot be read). Does
 *  not connect. */
DACM_API DACM_MUST_USE dacm_code dacm_client_new(
    const dacm_client_options *options, dacm_client **ret, dacm_error *reterr);
/** NULL is allowed. */
DACM_API void dacm_client_free(dacm_client *client);

/** Waits until grpc.health.v1 says SERVING, at most wait_ms. UNAVAILABLE otherwise. */
DACM_API DACM_MUST_USE dacm_code dacm_health_wait(
    dacm_client *client, int64_t wait_ms, dacm_error *reterr);

/** How a client stands with the SKM-S that it keeps its keys up to date by (trust_dir). A thread of
 *  the client watches the key set; what comes goes into trust_dir. While it watches, a key that is
 *  revoked as compromised verifies nothing after at most 2 s, running downloads included. Where it
 *  cannot watch, it tries again, at last twice a minute, and what is kept counts until it expires.
 *  A manifest under an unknown key causes one question in keys_unknown_ms, however many come. */
typedef struct dacm_keys_state {
    bool watching;       /* connected, and the newest set is here */
    uint64_t answers;    /* sets that it sent and that were right */
    uint64_t failures;   /* attempts that failed, or whose answer was refused */
    int64_t answered_at; /* seconds since 1970; 0 = never */
    dacm_error failure;  /* the last one; code DACM_OK: none since the last answer */
} dacm_keys_state;
/** False: this client asks no SKM-S. Does not block. */
DACM_API bool dacm_client_keys(dacm_client *client, dacm_keys_state *ret);
/** Begins to ask, which the first download does else, and waits until it watches, at most wait_ms.
 *  FAILED_PRECONDITION (no trust_dir, or nobody knows an address), NO_KEY (no pinned SKM-S speaks
 *  for issuer), else why the last attempt failed: UNAVAILABLE, DEADLINE_EXCEEDED, BAD_SIGNATURE …
 */
DACM_API DACM_MUST_USE dacm_code dacm_client_keys_wait(
    dacm_client *client, int64_t wait_ms, dacm_error *reterr);

/* ---- authorize --------------------------------------------------------------------------- */

typedef enum dacm_operation {
    DACM_OPERATION_DISCOVERY = 1,
    DACM_OPERATION_GET = 2,
    DACM_OPERATION_UPDATE = 3,
    DACM_OPERATION_DELETE = 4,
} dacm_operation;

/** "get" and so on; NULL for a number that is none. */
DACM_API const char *dacm_operation_name(dacm_operation operation);
/** False when text is the name of none. */
DACM_API bool dacm_operation_parse(const char *text, dacm_operation *ret);

typedef struct dacm_authorization {
    bool allowed;        /* false: for whatever reason */
    int64_t valid_until; /* seconds since 1970 */
    char request_id[64];
} dacm_authorization;

/** May the user do this now? Solution #6 step 1, TS 33.434 6.2.2. */
DACM_API DACM_MUST_USE dacm_code dacm_authorize(dacm_client *client, const char *asset_id,
    const char *user, dacm_operation operation, dacm_authorization *ret, dacm_error *reterr);

/* ---- download ---------------------------------------------------------------------------- */

typedef struct dacm_progress {
    uint64_t done;  /* verified bytes, those taken from an earlier copy included */
    uint64_t total; /* 0 = not known yet */
} dacm_progress;
/** False cancels the call (CANCELLED). */
typedef bool dacm_progress_fn(void *ctx, const dacm_progress *progress);

/** Verified bytes. With one stream they come in order; each byte comes once. False cancels. */
typedef bool dacm_sink_fn(void *ctx, uint64_t offset, rpc_bytes data);

typedef struct dacm_download_options {
    const char *asset_id;
    const char *user;
    uint64_t version;   /* 0 = newest */
    const char *recipe; /* how it is to be adapted, JSON (docs/media.md), such as
                           {"preset": "low"}; NULL: the original */
    const char *file;   /* written beside and renamed when whole; also file.jws and
                           file.chunks. Mode 0600. Or … */
    dacm_sink_fn *sink; /* … handed over; exactly one of the two */
    void *sink_ctx;
    uint64_t offset; /* sink only: the chunks that overlap offset..offset+length; length 0 = */
    uint64_t length; /* to the end */
    const char
        *have_file;   /* optional, with file only: an earlier copy, best with its .chunks beside
                         it (may be file itself); its chunks are verified and not sent again */
    bool resumable;   /* with file only: what was verified before the connection was lost, the
                         key set expired, the call cancelled or the process killed stays in
                         file.part, and the next resumable download to file goes on from it */
    unsigned streams; /* 0 = 1, at most DACM_STREAMS_MAX */
    dacm_progress_fn *progress; /* optional */
    void *progress_ctx;
} dacm_download_options;

/** What a manifest says. */
typedef struct dacm_manifest {
    char asset_id[DACM_ASSET_ID_BYTES_MAX + 1];
    char media_type[128];
    char issuer[256];
    char kid[128];
    uint64_t version;
    uint64_t size;
    uint8_t sha256[32];
    int64_t issued_at, expires_at; /* seconds since 1970 */
    char recipe[2048];             /* canonical JSON; empty: the original */
    bool has_source;               /* of an adapted copy: */
    uint8_t source_sha256[32];
    char figures[1024]; /* what the adaptation reached, a JSON object: triangles, vertices,
                           textures, texture_size (px), texture_pixels, morph_targets, animations,
                           joints, extensions_required; shortfall, a sentence, where not all that
                           was asked for could be had. Of the original: empty */
    char licence[2048]; /* of a variant of a VRM: the fields of its meta that speak of rights, a
                           JSON object; or empty */
} dacm_manifest;

typedef struct dacm_download_result {
    dacm_manifest manifest;
    bool signature_valid;    /* false only with DACM_VERIFY_IF_KEY */
    bool not_modified;       /* have_file is the newest version already; it was copied to file */
    uint64_t received_bytes; /* of chunks, over the network */
    uint64_t reused_bytes;   /* from have_file, or file.part */
    unsigned resumed;        /* how often a broken connection was made again */
} dacm_download_result;

/** Solution #6 steps 1 to 3. On failure the file is as it was before.
 *  BAD_SIGNATURE (the manifest, the list or a chunk is not what was signed, or not what was
 *  asked for, or older than what was seen before), NO_KEY, LOCAL_FILE, CANCELLED. With a recipe:
 *  FAILED_PRECONDITION (the asset cannot be adapted so), UNIMPLEMENTED (the server adapts nothing),
 *  RESOURCE_EXHAUSTED (too many wait; try again). */
DACM_API DACM_MUST_USE dacm_code dacm_download(dacm_client *client,
    const dacm_download_options *options, dacm_download_result *ret, dacm_error *reterr);

/** An adapted copy that the DACM keeps. */
typedef struct dacm_variant {
    const char *recipe; /* canonical JSON, as in its manifest */
    const char *media_type;
    uint64_t bytes, triangles, vertices;
    uint64_t texture_pixels; /* of all */
    uint32_t texture_size;   /* px of the longest side */
    uint32_t textures, morph_targets, animations, joints;
    const char *const *extensions_required; /* of glTF */
    size_t extension_count;
    int64_t created_at;  /* seconds since 1970 */
    uint32_t made_in_ms; /* of processor time */
} dacm_variant;

/** Freed with dacm_variants_free(). */
typedef struct dacm_variants {
    dacm_variant *items;
    size_t count;
    uint64_t version; /* of the asset */
    bool more;        /* there are others: the server tells 1,000 */
    void *memory;     /* libdacm's */
} dacm_variants;
DACM_API void dacm_variants_free(dacm_variants *variants);

/** What is kept of a version at this moment (0: the newest). Any other recipe is carried out when a
 *  download asks for it. NOT_FOUND: there is no such version. */
DACM_API DACM_MUST_USE dacm_code dacm_list_variants(dacm_client *client, const char *asset_id,
    const char *user, uint64_t version, dacm_variants **ret, dacm_error *reterr);

/* ---- upload ------------------------------------------------------------------------------ */

typedef struct dacm_acl_entry {
    const char *user;    /* a GPSI */
    unsigned operations; /* bit (1 << dacm_operation); 0 = get */
} dacm_acl_entry;

typedef struct dacm_upload_options {
    const char *user;  /* who uploads; of a new asset the owner */
    const char *file;  /* what, or … */
    rpc_bytes content; /* … from memory; borrowed */
    const char *media_type;
    const char *asset_id;        /* NULL = a new asset */
    uint64_t if_match;           /* new version: the version it follows; 0 = whatever is newest */
    const dacm_acl_entry *allow; /* new asset: who else may use it */
    size_t allow_count;
    const char *upload_id; /* NULL = drawn. The same again gets the same answer */
    dacm_progress_fn *progress;
    void *progress_ctx;
} dacm_upload_options;

typedef struct dacm_upload_result {
    char asset_id[DACM_ASSET_ID_BYTES_MAX + 1];
    uint64_t version;
} dacm_upload_result;

/** All or nothing. A broken connection is tried again under the same upload_id.
 *  ABORTED (if_match: somebody else was first), LOCAL_FILE, CANCELLED. */
DACM_API DACM_MUST_USE dacm_code dacm_upload(dacm_client *client,
    const dacm_upload_options *options, dacm_upload_result *ret, dacm_error *reterr);

/* ---- profiles (TS 23.438 7.2) --------------------------------------------------------------- */

typedef struct dacm_profile {
    char asset_id[DACM_ASSET_ID_BYTES_MAX + 1];
    const char *const *owners;
    size_t owner_count;
    const dacm_acl_entry *acl; /* this page of it */
    size_t acl_count;
    uint64_t acl_total;  /* entries in all; owners only */
    int status;          /* 0 unspecified, 1 in use, 2 not in use */
    uint64_t generation; /* for if_match */
    bool has_media;
    uint64_t version, size;
    const char *media_type;
    uint8_t sha256[32];
    int64_t created_at; /* seconds since 1970 */
} dacm_profile;

/** A page of profiles; freed with dacm_profiles_free(). */
typedef struct dacm_profiles {
    dacm_profile *items;
    size_t count;
    const char *next_page_token; /* "" on the last page */
    void *memory;                /* libdacm's */
} dacm_profiles;
DACM_API void dacm_profiles_free(dacm_profiles *profiles);

/** One profile; page_token ("" or NULL = first page) pages through its access control list. */
DACM_API DACM_MUST_USE dacm_code dacm_get_profile(dacm_client *client, const char *asset_id,
    const char *user, const char *page_token, dacm_profiles **ret, dacm_error *reterr);
/** What the user owns or may discover. */
DACM_API DACM_MUST_USE dacm_code dacm_discover_profiles(dacm_client *client, const char *user,
    const char *page_token, dacm_profiles **ret, dacm_error *reterr);
/** A profile without media; ret_asset_id gets the ID that the server assigned. */
DACM_API DACM_MUST_USE dacm_code dacm_create_profile(dacm_client *client, const char *user,
    const dacm_acl_entry *allow, size_t allow_count, char ret_asset_id[DACM_ASSET_ID_BYTES_MAX + 1],
    dacm_error *reterr);

typedef struct dacm_profile_change {
    const char *asset_id;
    const char *user;
    uint64_t if_match;           /* generation; 0 = any */
    const dacm_acl_entry *allow; /* added or replaced */
    size_t allow_count;
    const char *const *deny; /* taken off the list */
    size_t deny_count;
} dacm_profile_change;

/** All changes or none. ABORTED: the profile was changed meanwhile. */
DACM_API DACM_MUST_USE dacm_code dacm_update_profile(dacm_client *client,
    const dacm_profile_change *change, uint64_t *ret_generation, dacm_error *reterr);
/** The ID is never used again. ABORTED: the profile was changed meanwhile. */
DACM_API DACM_MUST_USE dacm_code dacm_delete_profile(dacm_client *client, const char *asset_id,
    const char *user, uint64_t if_match, dacm_error *reterr);

/* ---- operator (over ipc:// or with an admin certificate) ---------------------------------------
 */

typedef struct dacm_explanation {
    char request_id[64];
    int64_t time_ms;
    char method[128], asset_id[DACM_ASSET_ID_BYTES_MAX + 1], outcome[32], reason[64];
    char detail[512], subject[128], user[128];
} dacm_explanation;

/** Why a request ended as it did. NOT_FOUND: no such request in the audit trail. */
DACM_API DACM_MUST_USE dacm_code dacm_explain(
    dacm_client *client, const char *request_id, dacm_explanation *ret, dacm_error *reterr);
/** Refuses a token (jti) or all tokens of a subject issued until now, and those of the next 30 s,
 *  since an issuer's clock may be ahead by that; exactly one of the two.
 *  expires_at: seconds since 1970 until which to remember it; 0, and whatever is earlier, is as
 *  long as a token can live. */
DACM_API DACM_MUST_USE dacm_code dacm_revoke(dacm_client *client, const char *issuer,
    const char *jti, const char *subject, int64_t expires_at, const char *reason,
    uint64_t *ret_sequence, dacm_error *reterr);

/* ---- pinned roots and their key sets (docs/keys.md) ---------------------------------------------
 */

/** What an SKM-S says about keys is believed because its root was pinned. The folder holds, for
 *  each SKM-S, that root and the newest key set of each service and purpose; older and expired sets
 *  are refused, and so is a second history. Any number of threads and processes may use one folder
 *  at once; each call reads it anew. Every call can answer LOCAL_FILE (cannot be read or written,
 *  damaged, or others could have written it). */
typedef struct dacm_trust {
    const char *folder;     /* made with mode 0700 when first something is kept */
    const rpc_clock *clock; /* NULL = the system's */
} dacm_trust;

/** What a set's keys sign. */
typedef enum dacm_keys_for {
    DACM_KEYS_FOR_MANIFESTS,
    DACM_KEYS_FOR_TOKENS,
} dacm_keys_for;
/** "manifests", "tokens". */
DACM_API const char *dacm_keys_for_name(dacm_keys_for purpose);

typedef struct dacm_trust_pin {
    rpc_bytes root;          /* a public JWK, or a set of one */
    const char *fingerprint; /* what it must have: "SHA256:…", by a way that is trusted */
    const char *issuer;      /* URI of the SKM-S; NULL = member `dacm_issuer` of root */
    const char *address;     /* where it answers (tls+tcp://host:port); NULL: as it was, or none */
    /** Whose sets it may sign; none: of each service of which no other pinned SKM-S has a set. */
    const char *const *services;
    size_t service_count;
} dacm_trust_pin;

/** Pins a root; the same again changes nothing but services and address.
 *  INVALID_ARGUMENT also without a fingerprint (the message names that of root); BAD_SIGNATURE
 * (another fingerprint), ALREADY_EXISTS (another root of this SKM-S is pinned: remove it first). */
DACM_API DACM_MUST_USE dacm_code dacm_trust_add(
    const dacm_trust *trust, const dacm_trust_pin *pin, dacm_error *reterr);
/** Forgets an SKM-S: its root, its sets, and which versions were seen. NOT_FOUND. */
DACM_API DACM_MUST_USE dacm_code dacm_trust_remove(
    const dacm_trust *trust, const char *issuer, dacm_error *reterr);

typedef struct dacm_trust_change {
    unsigned roots; /* statements followed */
    unsigned sets;  /* new ones, or signed again */
    unsigned known; /* what was there already */
} dacm_trust_change;

/** Takes key sets and root statements, as JWS with white space between, statements in their order:
 *  all or, on failure, none. BAD_SIGNATURE (not what a root signed, a lower version than was seen,
 *  a second set of one version, a second follower of one root, not this SKM-S's service), NO_KEY
 *  (no root is pinned that signed it), FAILED_PRECONDITION (expired, of the future, or a statement
 *  before it is missing). */
DACM_API DACM_MUST_USE dacm_code dacm_trust_update(
    const dacm_trust *trust, rpc_bytes text, dacm_trust_change *ret, dacm_error *reterr);

typedef struct dacm_trust_set {
    const char *service;
    dacm_keys_for purpose;
    uint64_t version;
    int64_t issued_at, expires_at; /* seconds since 1970 */
    size_t keys;
} dacm_trust_set;

typedef struct dacm_trust_root {
    const char *issuer, *fingerprint;
    const char *address;         /* NULL: none */
    uint64_t sequence;           /* of the last statement followed; 0 = none yet */
    int64_t pinned_at;           /* seconds since 1970 */
    const char *const *services; /* as pinned; none = any */
    size_t service_count;
    const dacm_trust_set *sets;
    size_t set_count;
} dacm_trust_root;

/** Freed with dacm_trust_roots_free(). */
typedef struct dacm_trust_roots {
    dacm_trust_root *items;
    size_t count;
    void *memory; /* libdacm's */
} dacm_trust_roots;
DACM_API DACM_MUST_USE dacm_code dacm_trust_list(
    const dacm_trust *trust, dacm_trust_roots **ret, dacm_error *reterr);
DACM_API void dacm_trust_roots_free(dacm_trust_roots *roots);

/** How an SKM-S is reached. */
typedef struct dacm_trust_server {
    const char *address;     /* "tls+tcp://host:port"; NULL = as pinned */
    bool allow_plain_text;   /* "tcp://" on loopback, for tests */
    const char *ca_file;     /* who may sign its certificate; NULL = the system's authorities */
    const char *server_name; /* verified name; NULL = host of the address */
    int64_t timeout_ms;      /* 0 = 10,000 */
} dacm_trust_server;

/** Asks the SKM-S that speaks for a service for its newest key set, and takes it as
 *  dacm_trust_update() does; only that set, and statements of that SKM-S's root. NO_KEY also where
 *  no pinned SKM-S speaks for it, or several might; FAILED_PRECONDITION also where no address is
 *  known; NOT_FOUND: it has no such keys. */
DACM_API DACM_MUST_USE dacm_code dacm_trust_fetch(const dacm_trust *trust,
    const dacm_trust_server *server, const char *service, dacm_keys_for purpose,
    dacm_trust_change *ret, dacm_error *reterr);
/** The root that an SKM-S says it has, as a JWK for dacm_trust_add(), which believes it by its
 *  fingerprint alone; free() *ret. */
DACM_API DACM_MUST_USE dacm_code dacm_trust_fetch_root(
    const dacm_trust_server *server, char **ret, dacm_error *reterr);

struct trust_keyring; /* of trust.h */
/** The keys of a service in their states, as the newest set has them; trust_keyring_unref() it.
 *  Its version is the set's. take_expired: with *ret_expired, instead of FAILED_PRECONDITION; a key
 *  that it calls good may have been compromised since. NO_KEY: there is no set. */
DACM_API DACM_MUST_USE dacm_code dacm_trust_keys(const dacm_trust *trust, const char *service,
    dacm_keys_for purpose, bool take_expired, struct trust_keyring **ret, bool *ret_expired,
    dacm_error *reterr);

/* ---- offline ------------------------------------------------------------------------------ */

typedef struct dacm_verify_options {
    const char *file;
    const char *jws_file;            /* NULL = file.jws */
    const char *keys_file;           /* JWKS with the public manifest keys, or … */
    const dacm_trust *trust;         /* … the newest key set of who signed it, by a pinned root */
    const dacm_trust_server *server; /* with trust: its SKM-S is asked first, where an address is
                                        known; NULL: only what is kept counts */
    bool take_expired_keys;          /* with trust: also when that set has expired */
    const char *issuer;              /* optional: `iss` it must have */
    bool fresh;                      /* fail when the manifest's `exp` has passed */
    const rpc_clock *clock;          /* NULL = the system's */
} dacm_verify_options;

typedef struct dacm_verify_result {
    dacm_manifest manifest;
    bool expired;            /* `exp` has passed; fails only with fresh */
    bool keys_expired;       /* the key set has; only with take_expired_keys */
    dacm_error keys_failure; /* with server: why it was not asked, or what it answered was not
                                taken; code DACM_OK: the set is the newest */
} dacm_verify_result;

/** Judges a file and its manifest, without a network but for server: signature, key's state at
 * `iat`, size and digest. BAD_SIGNATURE, NO_KEY, LOCAL_FILE, FAILED_PRECONDITION (fresh, and
 * expired; or the key set has expired). */
DACM_API DACM_MUST_USE dacm_code dacm_verify_file(
    const dacm_verify_options *options, dacm_verify_result *ret, dacm_error *reterr);

#ifdef __cplusplus
}
#endif
#endif
