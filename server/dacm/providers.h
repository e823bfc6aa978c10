/* SPDX-License-Identifier: Apache-2.0 */
/** Key sets of issuers that publish them by HTTPS (jwks_url, discovery): fetched by one thread, at
 *  the start, then each jwks_refresh_s (a tenth more or less), and sooner when a token comes under
 *  an unknown kid, at most once in jwks_unknown_kid_s however many come. A set that cannot be
 *  fetched or used leaves the last one in place for jwks_max_age_s. What a token's header names
 *  (jku, x5u) is never followed. Any thread. */
#ifndef DACM_PROVIDERS_H
#define DACM_PROVIDERS_H

#include "issuers.h"

typedef struct dacm_providers dacm_providers;

typedef struct dacm_providers_links {
    const rpc_clock *clock;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    /** May that ring be used? False, with a reason: the last one stays. On the thread. */
    bool (*acceptable)(void *ctx, const trust_keyring *ring, rpc_status *reterr);
    /** A ring has changed: dacm_providers_apply() to a new snapshot. On the thread. */
    void (*changed)(void *ctx);
    void *ctx;
} dacm_providers_links;

/** NULL when memory is short. */
RPC_MUST_USE dacm_providers *dacm_providers_new(const dacm_providers_links *links);
RPC_MUST_USE rpc_code dacm_providers_start(dacm_providers *providers, rpc_status *reterr);
/** Ends what is being fetched. NULL is allowed. */
void dacm_providers_stop(dacm_providers *providers);
void dacm_providers_free(dacm_providers *providers);

/** What is to be fetched from now on. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_providers_configure(
    dacm_providers *providers, const host_values *settings, rpc_status *reterr);
/** Puts the rings of now into a snapshot that is not published yet. */
void dacm_providers_apply(dacm_providers *providers, dacm_issuers *issuers);
/** A token of that issuer came under a kid that is not in its ring. Never blocks for long. */
void dacm_providers_unknown_kid(dacm_providers *providers, const char *issuer);

#endif
