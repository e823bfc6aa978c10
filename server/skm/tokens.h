/* SPDX-License-Identifier: Apache-2.0 */
/** Access tokens of VAL servers at the SKM-S (TS 33.434 5.3, 5.8): whose are taken, and what one
 *  must say. No revocation of a token reaches this server: issuers[].token_life_s_max bounds how
 * long a token is good. Any thread. */
#ifndef SKM_TOKENS_H
#define SKM_TOKENS_H

#include "issuers.h"
#include "state.h"

#define SKM_SCOPE_RETRIEVAL    "seal.km"
#define SKM_SCOPE_PROVISIONING "seal.kp"

typedef struct skm_tokens skm_tokens;

/** Reads key files and begins to fetch key sets; those of issuers whose keys this server has
 *  itself (jwks_skms) are the state's of now. state and health outlive it. The errors of
 *  issuers_load(). */
RPC_MUST_USE rpc_code skm_tokens_start(const host_values *settings, skm_state *state,
    const rpc_clock *clock, host_log *log, host_metrics *metrics, host_health *health,
    skm_tokens **ret, rpc_status *reterr);
/** A set of the state was replaced. What is revoked in it counts when this has returned. */
void skm_tokens_set_changed(skm_tokens *tokens, const char *service, skm_purpose purpose);
/** NULL is allowed. */
void skm_tokens_stop(skm_tokens *tokens);
/** Reads the same files and forgets them. */
RPC_MUST_USE rpc_code skm_tokens_check(const host_values *settings, rpc_status *reterr);
/** Issuers and their files as settings have them now; on failure everything stays. */
RPC_MUST_USE rpc_code skm_tokens_reload(
    skm_tokens *tokens, const host_values *settings, rpc_status *reterr);

/** The verified token of a call: of a configured issuer, for this server, bound to the connection's
 *  certificate where it says so, with scope. *ret NULL, which is RPC_OK: the call has none.
 *  UNAUTHENTICATED, PERMISSION_DENIED (scope, or a user's token): with a reason for logs, not for
 * callers. trust_token_unref() it. */
RPC_MUST_USE rpc_code skm_token_of(skm_tokens *tokens, const rpc_call *call, const char *scope,
    trust_token **ret, rpc_status *reterr);
/** The configured issuer of that name, or the only one for "". False: there is none such, or it
 * does not fit. */
bool skm_tokens_issuer(skm_tokens *tokens, const char *name, char *ret, size_t room);
/** Is the signer's key one under which an issuer signs access tokens? */
bool skm_tokens_know_key(skm_tokens *tokens, const trust_signer *signer);
/** Does SKeyProv, VAL services with single spaces between, name the service? */
bool skm_token_provisions(const trust_token *token, const char *service);

#endif
