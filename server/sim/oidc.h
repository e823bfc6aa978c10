/* SPDX-License-Identifier: Apache-2.0 */
/** The OpenID provider's endpoints: discovery, authorization, login, consent, logout, token,
 *  introspection, revocation, userinfo. Routes for server/host's HTTPS server; those that are not
 *  in place may block. */
#ifndef SIM_OIDC_H
#define SIM_OIDC_H

#include "http.h"
#include "sim_internal.h"

#define SIM_OIDC_ROUTES_MAX 16u

typedef struct sim_oidc sim_oidc;

/** service outlives it, and its config is not changed. directory: of the file `assertions`, which
 *  remembers over a restart which client assertions may have been used. Errors:
 * sim_replays_open()'s.
 */
RPC_MUST_USE rpc_code sim_oidc_new(
    sim_service *service, const char *directory, sim_oidc **ret, rpc_status *reterr);
void sim_oidc_free(sim_oidc *oidc);

/** The routes, whose paths begin with the issuer's; with_certificate: those below mtls_url, for the
 *  listener that asks for client certificates. They live as long as oidc. Returns how many. */
size_t sim_oidc_routes(sim_oidc *oidc, bool with_certificate, host_route ret[SIM_OIDC_ROUTES_MAX]);

#endif
