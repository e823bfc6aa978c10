/* SPDX-License-Identifier: Apache-2.0 */
/** Whose tokens are taken, and how they are judged: one immutable, counted snapshot of the
 *  configuration and the key files, replaced as a whole by SIGHUP. */
#ifndef DACM_ISSUERS_H
#define DACM_ISSUERS_H

#include "host.h"
#include "trust.h"

#include <stdatomic.h>

typedef struct dacm_issuer_rule {
    trust_mode mode;
    bool require_binding;    /* `cnf` */
    int64_t max_staleness_s; /* its SIM-S must report at least so often; 0 = need not */
    /** True: it has not. NULL where it need not; lives as long as the server. */
    const atomic_bool *stale;
    bool fetched; /* its keys come from dacm_providers, and are none until they have come */
} dacm_issuer_rule;

/** A SIM-S: certificates with this SAN speak for this issuer. */
typedef struct dacm_sims {
    const char *san, *issuer;
    bool full_list;
} dacm_sims;

typedef struct dacm_issuers {
    atomic_uint refs;
    uint64_t version; /* of the process: no two snapshots share one */
    size_t count;
    trust_issuer *issuers;
    dacm_issuer_rule *rules; /* of issuers[i] */
    dacm_sims *sims;         /* in arena */
    size_t sims_count;
    rpc_arena *arena;
    struct dacm_issuers *base; /* whose arena and strings these are; NULL = its own */
} dacm_issuers;

/** What can be judged without the key files. INVALID_ARGUMENT names the setting. */
RPC_MUST_USE rpc_code dacm_issuers_check(const host_values *settings, rpc_status *reterr);
/** Reads every key file. audience: what tokens must be for. INVALID_ARGUMENT, NOT_FOUND,
 * RESOURCE_EXHAUSTED: the message names setting and file. */
RPC_MUST_USE rpc_code dacm_issuers_load(
    const host_values *settings, const char *audience, dacm_issuers **ret, rpc_status *reterr);
/** The same issuers, rules and peers, whose keys can be replaced one by one until it is published.
 *  NULL when memory is short. */
RPC_MUST_USE dacm_issuers *dacm_issuers_copy(dacm_issuers *issuers);
/** Takes ring. Before it is published. */
void dacm_issuers_set_keys(dacm_issuers *issuers, size_t index, trust_keyring *ring);
/** A set without keys. NULL when memory is short. */
RPC_MUST_USE trust_keyring *dacm_no_keys(void);
/** Never the same twice: of key rings and snapshots. */
uint64_t dacm_next_version(void);
dacm_issuers *dacm_issuers_ref(dacm_issuers *issuers);
void dacm_issuers_unref(dacm_issuers *issuers);
/** The index of that issuer; count when there is none. */
size_t dacm_issuers_find(const dacm_issuers *issuers, const char *issuer);

#endif
