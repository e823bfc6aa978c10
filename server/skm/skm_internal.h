/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of server/skm that serve share. */
#ifndef SKM_INTERNAL_H
#define SKM_INTERNAL_H

#include "audit.h"
#include "clock.h"
#include "host.h"
#include "program.h"
#include "state.h"
#include "tokens.h"

#include "skms/v1/signing_keys.pb-c.h"

typedef struct skm_watchers skm_watchers;

typedef struct skm_service {
    const char *issuer;
    int64_t max_age_s; /* of /.well-known/jwks.json in caches */
    const rpc_clock *clock;
    skm_course course;
    rpc_runtime *runtime;
    skm_state *state;
    skm_tokens *tokens;
    skm_watchers *watchers;
    trust_audit *audit;
    host_log *log;
    host_metrics *metrics;
    host_counter *audit_refused;
    program_strangers strangers;
} skm_service;

/** Writes an audit record and waits for it: program_audit(). */
#define SKM_AUDIT(service, request_id, event, reterr, ...)                                         \
    program_audit((service)->audit, (service)->log, (service)->clock, (service)->audit_refused,    \
        (request_id), (event), (const host_field[]){__VA_ARGS__},                                  \
        sizeof((const host_field[]){__VA_ARGS__}) / sizeof(host_field), (reterr))

/** What the trail is told of a request of an SKM-C; texts may be NULL. */
typedef struct skm_record {
    const char *event, *request_id, *outcome;
    const char *client; /* by its certificate */
    const uint8_t *certificate_sha256;
    const char *val_service, *purpose, *kids;
    bool stranger; /* refused, without enrolment or genuine token: such share records */
} skm_record;
/** Writes it and waits for it, or counts it: program_audit(), program_strangers. */
RPC_MUST_USE rpc_code skm_trail(skm_service *service, const skm_record *record, rpc_status *reterr);

/** By the certificate of the connection; borrowed as long as the call. */
static inline skm_caller skm_caller_of(const rpc_call *call)
{
    const rpc_peer *peer = rpc_call_peer(call);
    return (skm_caller){.dns_names = peer->dns_names, .uri_names = peer->uri_names};
}
/** The API's purpose is ours. False: it is none. */
static inline bool skm_purpose_of(Skms__V1__Purpose purpose, skm_purpose *ret)
{
    *ret = (skm_purpose)purpose;
    return purpose == SKMS__V1__PURPOSE__PURPOSE_TOKENS ||
           purpose == SKMS__V1__PURPOSE__PURPOSE_MANIFESTS;
}
rpc_code skm_no_purpose(rpc_status *reterr);
/** First of the caller's names, for the audit trail; "" without a certificate. */
const char *skm_caller_name(const rpc_call *call);

/* ---- WatchKeys (watch.c) ---- */

/** At most max at a time. NULL when memory is short. */
RPC_MUST_USE skm_watchers *skm_watchers_new(skm_service *service, size_t max, size_t per_peer_max);
/** Ends each call with UNAVAILABLE, and refuses new ones: they would otherwise run until the server
 *  has waited for them (limits.drain_ms). */
void skm_watchers_stop(skm_watchers *watchers);

/** Tells those who watch that set: it was replaced. */
void skm_watchers_changed(skm_watchers *watchers, const char *service, skm_purpose purpose);

/** When none is left. NULL is allowed. */
void skm_watchers_free(skm_watchers *watchers);
/** Its user is the skm_service. */
extern const rpc_handler skm_watch_handler;

/** The answer of GetKeySet and of WatchKeys, in the arena; statements after the first `have`.
 *  NULL when memory is short. */
Skms__V1__KeySet *skm_tell_set(
    skm_service *service, const skm_keyset *set, uint64_t have, rpc_arena *arena);
/** The answer of GetRoot, in the same way. */
Skms__V1__Root *skm_tell_root(skm_service *service, rpc_arena *arena);

#endif
