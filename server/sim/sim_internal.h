/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of server/sim share. */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "audit.h"
#include "consumers.h"
#include "host.h"
#include "keys.h"
#include "rates.h"
#include "reporter.h"
#include "state.h"
#include "trust.h"

/** The settings that the service itself reads; simsd.example.yaml explains them. Borrowed. */
typedef struct sim_config {
    const char *issuer;   /* without a slash at its end */
    const char *mtls_url; /* base of the endpoints that ask for a client certificate; "" = none */
    const char *const *skms; /* resources of SKM-Ss: `aud` of tokens for them */
    size_t skms_count;
    int64_t access_life_s, id_life_s;
    size_t state_bytes_max; /* of an authorization request, percent-encoded: it goes back so */
} sim_config;

typedef struct sim_dacm {
    const char *resource;
    sim_consumers *consumers;
    sim_reporter *reporter;
} sim_dacm;

typedef struct sim_service {
    sim_config config;
    const rpc_clock *clock;
    rpc_runtime *runtime;
    sim_state *state;
    sim_keys *keys;
    skmc *skms;      /* where they come from; NULL: a file */
    sim_dacm *dacms; /* the first is the default `aud` */
    size_t dacm_count;
    trust_audit *audit;
    host_log *log;
    host_metrics *metrics;
    host_counter *audit_refused;
    program_strangers strangers;
    sim_rates *logins_per_user, *logins_per_address, *client_failures;
} sim_service;

/** Writes an audit record and waits until it is as durable as the setting asks. event is static
 *  ("login", "grant", …). UNAVAILABLE: it is not in the trail; the answer must not go out. */
RPC_MUST_USE rpc_code sim_audit(sim_service *service, const char *request_id, const char *event,
    const host_field *fields, size_t count, rpc_status *reterr);
#define SIM_AUDIT(service, request_id, event, reterr, ...)                                         \
    sim_audit((service), (request_id), (event), (const host_field[]){__VA_ARGS__},                 \
        sizeof((const host_field[]){__VA_ARGS__}) / sizeof(host_field), (reterr))
/** The same of a request that anybody can make, who has neither a password nor a token that is
 *  right: written or counted (program_strangers). */
RPC_MUST_USE rpc_code sim_audit_stranger(sim_service *service, const char *request_id,
    const char *event, const host_field *fields, size_t count, rpc_status *reterr);

#endif
