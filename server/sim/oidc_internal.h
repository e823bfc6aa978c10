/* SPDX-License-Identifier: Apache-2.0 */
/** What the endpoints share. */
#ifndef SIM_OIDC_INTERNAL_H
#define SIM_OIDC_INTERNAL_H

#include "auth_request.h"
#include "client_keys.h"
#include "oidc.h"
#include "query.h"
#include "replays.h"
#include "reply.h"

#include "cleanup.h"

#define SIM_PATH_MAX  256u
#define SIM_ROUTE_MAX (SIM_PATH_MAX + 64u) /* a path of ours behind or before that */

typedef enum sim_grant_kind {
    SIM_KIND_CODE,
    SIM_KIND_REFRESH,
    SIM_KIND_CLIENT,
    SIM_KIND_OTHER,
    SIM_KINDS
} sim_grant_kind;
/** "authorization_code" …; "other". */
const char *sim_grant_kind_name(sim_grant_kind kind);
sim_grant_kind sim_grant_kind_of(const char *name);

typedef enum sim_token_outcome {
    SIM_TOKEN_ISSUED,
    SIM_TOKEN_REFUSED,
    SIM_TOKEN_UNAVAILABLE,
    SIM_TOKEN_OUTCOMES
} sim_token_outcome;

typedef enum sim_login_outcome {
    SIM_LOGIN_SUCCESS,
    SIM_LOGIN_REFUSED,
    SIM_LOGIN_OUTCOMES
} sim_login_outcome;

/** Limits of ours; server/host counts those of connections. */
typedef enum sim_limit {
    SIM_LIMIT_USER,
    SIM_LIMIT_ADDRESS,
    SIM_LIMIT_CLIENT,
    SIM_LIMIT_ASSERTIONS,
    SIM_LIMITS
} sim_limit;

typedef struct sim_counters {
    host_counter *tokens[SIM_KINDS][SIM_TOKEN_OUTCOMES];
    host_counter *logins[SIM_LOGIN_OUTCOMES];
    host_counter *limits[SIM_LIMITS];
} sim_counters;
/** False: memory is short. */
RPC_MUST_USE bool sim_counters_make(sim_counters *counters, host_metrics *metrics);

struct sim_oidc {
    sim_service *service;
    sim_counters counters;
    sim_replays *replays;
    sim_client_keys *client_keys;
    const char **resources;                               /* of the DACMs, NULL-terminated */
    char prefix[SIM_PATH_MAX], mtls_prefix[SIM_PATH_MAX]; /* paths of issuer and mtls_url */
    char paths[2 * SIM_OIDC_ROUTES_MAX][SIM_ROUTE_MAX];
    char token_url[SIM_PATH_MAX], mtls_token_url[SIM_PATH_MAX];
    char style_hash[64]; /* of the pages' style, as CSP has it */
};

/** Now, in seconds since 1970. */
static inline int64_t sim_now_s(const sim_oidc *oidc)
{
    return rpc_clock_wall_ms(oidc->service->clock) / 1000;
}

/** The DACM of a resource, "" the default; NULL: none. */
const sim_dacm *sim_oidc_dacm(const sim_oidc *oidc, const char *resource);

/** Verifies an access token of ours, with its revocation. False: it is none, has expired or is
 *  revoked. */
bool sim_oidc_token(const sim_oidc *oidc, rpc_bytes text, trust_token **ret);

/* Handlers; ctx is a sim_oidc. */
typedef void sim_handler(void *ctx, host_request *request);
sim_handler sim_discovery_handle, sim_jwks_handle, sim_authorize_handle, sim_login_handle,
    sim_consent_handle, sim_logout_handle, sim_token_handle, sim_introspect_handle,
    sim_revoke_handle, sim_userinfo_handle;

RPC_DEFINE_FREEP(sim_client_freep, sim_client *, sim_client_free)
RPC_DEFINE_FREEP(sim_user_freep, sim_user *, sim_user_free)
RPC_DEFINE_FREEP(sim_grant_freep, sim_grant *, sim_grant_free)
RPC_DEFINE_FREEP(sim_profile_freep, sim_profile *, sim_profile_free)
RPC_DEFINE_FREEP(trust_token_unrefp, trust_token *, trust_token_unref)

#endif
