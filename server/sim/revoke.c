/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation (RFC 7009): an access token, or a refresh token with its whole family. What is no
 * token, or another client's, is answered as one that was revoked. */
#include "client_auth.h"

static rpc_code revoke_refresh(sim_oidc *oidc, const sim_client *client, const char *text,
    bool *ret_genuine, rpc_status *reterr)
{
    RPC_CLEANUP(sim_grant_freep) sim_grant *grant = NULL;
    sim_state *state = oidc->service->state;
    rpc_code code = sim_grant_by_refresh(state, client->client_id, text, &grant, reterr);
    if (code == RPC_OK)
        code = sim_grant_revoke(state, grant->family, reterr);
    *ret_genuine = code != RPC_NOT_FOUND && code != RPC_INVALID_ARGUMENT;
    return code == RPC_NOT_FOUND || code == RPC_ABORTED || code == RPC_INVALID_ARGUMENT ? RPC_OK
                                                                                        : code;
}

static rpc_code revoke_access(
    sim_oidc *oidc, const sim_client *client, const trust_token *token, rpc_status *reterr)
{
    return strcmp(token->client_id, client->client_id) == 0
               ? sim_revoke_token(oidc->service->state, token->jti, token->expires_at, reterr)
               : RPC_OK;
}

/* Whoever knows the name of a public client may send what is no token: a stranger. */
static rpc_code note(sim_oidc *oidc, host_request *request, const sim_client *client,
    const trust_token *token, bool genuine, rpc_status *reterr)
{
    const host_field fields[] = {
        host_text("client", client->client_id), host_text("jti", token ? token->jti : "")};
    const bool stranger = client->auth == SIM_AUTH_NONE && !genuine;
    return (stranger ? sim_audit_stranger : sim_audit)(oidc->service, host_request_id_of(request),
        "revoke", fields, sizeof fields / sizeof *fields, reterr);
}

static bool take_back(sim_oidc *oidc, host_request *request, sim_caller *caller, sim_error *reterr)
{
    const host_params *form = host_request_form(request);
    const char *text = sim_param(form, "token");
    if (!sim_params_sound(form))
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "a parameter is there twice, or is not UTF-8");
    if (!sim_caller_prove(oidc, request, caller, reterr))
        return false;
    if (!text)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "token is missing");
    rpc_status status;
    bool genuine = false;
    RPC_CLEANUP(trust_token_unrefp) trust_token *token = NULL;
    rpc_code code = sim_oidc_token(oidc, rpc_bytes_str(text), &token)
                        ? revoke_access(oidc, caller->client, token, &status)
                        : revoke_refresh(oidc, caller->client, text, &genuine, &status);
    if (code == RPC_OK)
        code = note(oidc, request, caller->client, token, genuine || token, &status);
    if (code == RPC_OK) {
        sim_answer_empty(request);
        return true;
    }
    HOST_LOG(oidc->service->log, HOST_ERROR, status.message,
        host_text("request_id", host_request_id_of(request)));
    return sim_refuse_code(reterr, code);
}

void sim_revoke_handle(void *ctx, host_request *request)
{
    sim_error error;
    sim_caller caller = {0};
    if (!take_back(ctx, request, &caller, &error))
        sim_answer_error(request, &error);
    sim_client_free(caller.client);
}
