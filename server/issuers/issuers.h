/* SPDX-License-Identifier: Apache-2.0 */
/** Whose access tokens a server takes: entries of its configuration, their keys from files, and
 *  from where issuers publish them by HTTPS. For every server that is a resource server (dacmd,
 *  skmsd). */
#ifndef DACM_ISSUERS_H
#define DACM_ISSUERS_H

#include "host.h"
#include "program.h"
#include "trust.h"

#include <stdatomic.h>

/** Settings that every entry of `issuers` begins with: PROGRAM_TEXT and its like. */
#define ISSUERS_KEY_SETTINGS                                                                       \
    PROGRAM_TEXT("issuer", 1, NULL, "`iss` of its tokens, byte for byte"),                         \
        PROGRAM_TEXT(                                                                              \
            "jwks_file", 0, "", "its public token keys, a JWK set; or jwks_url, or discovery"),    \
        PROGRAM_TEXT("jwks_url", 0, "", "where its key set is fetched from; https://"),            \
        PROGRAM_FLAG("discovery", "false",                                                         \
            "its key set is where ISSUER/.well-known/openid-configuration says (OpenID "           \
            "Discovery)"),                                                                         \
        PROGRAM_FLAG("jwks_skms", "false",                                                         \
            "its key set is that of the SKM-S, where its keys come from: watched there (skms.*), " \
            "or at the SKM-S its own"),                                                            \
        PROGRAM_TEXT("jwks_ca_file", 0, "",                                                        \
            "who may sign the certificate there, PEM; empty: the system's"),                       \
        PROGRAM_FLAG("jwks_allow_http", "false", "http:// too, on loopback only"),                 \
        PROGRAM_NUMBER("jwks_refresh_s", "s", 1, 86400, "300",                                     \
            "how often its key set is fetched, a tenth off"),                                      \
        PROGRAM_NUMBER("jwks_unknown_kid_s", "s", 1, 3600, "30",                                   \
            "between two fetches for tokens under an unknown kid, or after a failure, at least"),  \
        PROGRAM_NUMBER("jwks_max_age_s", "s", 1, 31536000, "86400",                                \
            "how long its last key set counts while it cannot be fetched")
/** And these two, of what is taken from it. */
#define ISSUERS_TOKEN_SETTINGS                                                                     \
    PROGRAM_TEXTS("algorithms", "of EdDSA, Ed25519, ES256, RS256, PS256; none given: EdDSA"),      \
        PROGRAM_TEXTS("typ", "accepted `typ` of the token header; none given: at+jwt")

/* ---- a snapshot ------------------------------------------------------------------------------ */

/** How the server judges tokens of one issuer, beside what trust_issuer says. */
typedef struct issuers_rule {
    trust_mode mode;
    bool require_binding;    /* `cnf` */
    int64_t max_staleness_s; /* its SIM-S must report at least so often; 0 = need not */
    /** True: it has not. NULL where it need not; lives as long as the server. */
    const atomic_bool *stale;
    bool fetched; /* its keys come from an issuers_fetcher, and are none until they have come */
    bool watched; /* … from the SKM-S */
} issuers_rule;

/** Configuration and key files as they were read: immutable once published, counted, replaced as a
 *  whole. */
typedef struct issuers_set {
    atomic_uint refs;
    uint64_t version; /* of the process: no two snapshots share one */
    size_t count;
    trust_issuer *issuers;
    issuers_rule *rules;      /* of issuers[i] */
    rpc_arena *arena;         /* of its strings */
    const void *extra;        /* what else the server keeps with it, in arena */
    struct issuers_set *base; /* whose arena and strings these are; NULL = its own */
} issuers_set;

/** What an entry says beyond the settings above, into issuer and rule; strings into arena. */
typedef rpc_code issuers_read_fn(const host_values *entry, size_t index, rpc_arena *arena,
    trust_issuer *issuer, issuers_rule *rule, rpc_status *reterr);

/** What can be judged without the key files: each issuer once, one place of its keys, algorithms.
 *  INVALID_ARGUMENT names the setting. */
RPC_MUST_USE rpc_code issuers_check(const host_values *settings, rpc_status *reterr);
/** Reads `issuers` and every key file. audience: what tokens must be for. read may be NULL.
 *  INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED: the message names setting and file. */
RPC_MUST_USE rpc_code issuers_load(const host_values *settings, const char *audience,
    issuers_read_fn *read, issuers_set **ret, rpc_status *reterr);
/** A string, or a list of them (NULL-terminated; NULL when it is empty), of an entry into arena. */
char *issuers_copy_text(rpc_arena *arena, const host_values *values, const char *name);
const char *const *issuers_copy_list(rpc_arena *arena, const host_values *values, const char *name);
/** The same issuers, rules and extra, whose keys can be replaced one by one until it is published.
 *  NULL when memory is short. */
RPC_MUST_USE issuers_set *issuers_copy(issuers_set *set);
/** Takes ring. Before it is published. */
void issuers_set_keys(issuers_set *set, size_t index, trust_keyring *ring);
/** Is the key set of that entry of `issuers` watched at the SKM-S? */
bool issuers_watched(const host_values *entry);
/** A set without keys. NULL when memory is short. */
RPC_MUST_USE trust_keyring *issuers_no_keys(void);
/** Never the same twice: of key rings and snapshots. */
uint64_t issuers_next_version(void);
issuers_set *issuers_ref(issuers_set *set);
/** NULL is allowed. */
void issuers_unref(issuers_set *set);
/** The index of that issuer; count when there is none. */
size_t issuers_find(const issuers_set *set, const char *issuer);

/* ---- the token of a call --------------------------------------------------------------------- */

/** `authorization: Bearer TOKEN` (RFC 6750) or `dacm-token: TOKEN`, one of them, once; borrowed as
 *  long as the call's metadata. ret_name: the key it came under.
 *  UNAUTHENTICATED with a reason for logs. */
RPC_MUST_USE rpc_code issuers_find_token(
    const rpc_call *call, const char **ret_name, rpc_bytes *ret, rpc_status *reterr);
/** Verifies it by the issuer that it names. *ret_index: which; set->count when it names none of
 *  them. UNAUTHENTICATED with a reason for logs. now: seconds since 1970. */
RPC_MUST_USE rpc_code issuers_verify(const issuers_set *set, rpc_bytes token, int64_t now,
    size_t *ret_index, trust_token **ret, rpc_status *reterr);

/* ---- keys that are fetched ------------------------------------------------------------------- */

/** Key sets of issuers that publish them by HTTPS (jwks_url, discovery): fetched by one thread, at
 *  the start, then each jwks_refresh_s (a tenth more or less), and sooner when a token comes under
 *  an unknown kid, at most once in jwks_unknown_kid_s however many come. A set that cannot be
 *  fetched or used leaves the last one in place for jwks_max_age_s. What a token's header names
 *  (jku, x5u) is never followed. Any thread. */
typedef struct issuers_fetcher issuers_fetcher;

typedef struct issuers_fetcher_links {
    const rpc_clock *clock;
    host_log *log;
    host_health *health;
    host_counter *fetched, *failed; /* key sets; NULL: not counted */
    /** May that ring be used? False, with a reason: the last one stays. NULL: any may. On the
     *  thread. */
    bool (*acceptable)(void *ctx, const trust_keyring *ring, rpc_status *reterr);
    /** A ring has changed: issuers_fetcher_apply() to a new snapshot. On the thread. */
    void (*changed)(void *ctx);
    void *ctx;
} issuers_fetcher_links;

/** NULL when memory is short. */
RPC_MUST_USE issuers_fetcher *issuers_fetcher_new(const issuers_fetcher_links *links);
RPC_MUST_USE rpc_code issuers_fetcher_start(issuers_fetcher *fetcher, rpc_status *reterr);
/** Ends what is being fetched. NULL is allowed. */
void issuers_fetcher_stop(issuers_fetcher *fetcher);
void issuers_fetcher_free(issuers_fetcher *fetcher);

/** What is to be fetched from now on. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code issuers_fetcher_configure(
    issuers_fetcher *fetcher, const host_values *settings, rpc_status *reterr);
/** Puts the rings of now into a snapshot that is not published yet. */
void issuers_fetcher_apply(issuers_fetcher *fetcher, issuers_set *set);
/** A token of that issuer came under a kid that is not in its ring. Never blocks for long. */
void issuers_fetcher_unknown_kid(issuers_fetcher *fetcher, const char *issuer);

#endif
