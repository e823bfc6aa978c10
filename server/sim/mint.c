/* SPDX-License-Identifier: Apache-2.0 */
#include "mint.h"

#include <sodium.h>
#include <stdlib.h>

static const trust_signer *signer_for(const sim_key_set *keys, const sim_client *client)
{
    return client->token_alg == TRUST_ALG_RS256 ? keys->rs256 : keys->eddsa;
}

/* The message is for the log. */
static rpc_code no_signer(const sim_client *client, rpc_status *reterr)
{
    if (client->token_alg == TRUST_ALG_RS256)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "token: client '%.128s' wants RS256, and no such key is active; add one to keys.file "
            "(the SKM-S has none), or change the client",
            client->client_id);
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "token: no key signs now: the SKM-S gave none, or the last one has ended; see /healthz");
}

static void draw_jti(char ret[SIM_JTI_CHARS + 1])
{
    uint8_t drawn[16];
    rpc_random(drawn, sizeof drawn);
    sodium_bin2base64(
        ret, SIM_JTI_CHARS + 1, drawn, sizeof drawn, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static rpc_code mint_access(sim_oidc *oidc, const trust_signer *signer, const sim_ticket *ticket,
    int64_t issued_at, sim_tokens *tokens, rpc_status *reterr)
{
    const char *actions[SIM_ACTIONS_MAX + 1];
    const sim_details *details = ticket->details;
    if (details)
        sim_actions_names(details->actions, actions);
    const trust_token_claims claims = {
        .issuer = oidc->service->config.issuer,
        .subject = ticket->subject,
        .audience = ticket->audience,
        .client_id = ticket->client->client_id,
        .scope = ticket->scope,
        .jti = tokens->jti,
        .issued_at = issued_at,
        .lifetime_s = oidc->service->config.access_life_s,
        .auth_time = ticket->auth_time,
        .acr = ticket->acr,
        .asset_id = details && *details->asset_id ? details->asset_id : NULL,
        .actions = details ? actions : NULL,
        .gpsis = ticket->gpsis && *ticket->gpsis ? ticket->gpsis : NULL,
        .users = ticket->users,
        .skeyprov = ticket->skeyprov,
        .profile = ticket->profile ? ticket->profile->users : NULL,
        .certificate_sha256 = ticket->certificate_sha256,
    };
    tokens->expires_at = issued_at + claims.lifetime_s;
    return trust_token_mint(signer, &claims, &tokens->access, reterr);
}

static rpc_code mint_id(sim_oidc *oidc, const trust_signer *signer, const sim_ticket *ticket,
    int64_t issued_at, sim_tokens *tokens, rpc_status *reterr)
{
    const trust_id_claims claims = {
        .issuer = oidc->service->config.issuer,
        .subject = ticket->subject,
        .client_id = ticket->client->client_id,
        .issued_at = issued_at,
        .lifetime_s = oidc->service->config.id_life_s,
        .auth_time = ticket->auth_time,
        .nonce = ticket->nonce && *ticket->nonce ? ticket->nonce : NULL,
        .acr = ticket->acr,
        .access_token = tokens->access,
    };
    return trust_id_token_mint(signer, &claims, &tokens->id, reterr);
}

typedef struct minting {
    sim_oidc *oidc;
    const sim_ticket *ticket;
    sim_tokens *tokens;
} minting;

static rpc_code mint(void *ctx, const trust_signer *signer, int64_t time, rpc_status *reterr)
{
    const minting *m = ctx;
    const sim_ticket *ticket = m->ticket;
    const int64_t issued_at = time > ticket->tokens_after ? time : ticket->tokens_after + 1;
    sim_tokens_done(m->tokens); /* of a try before */
    rpc_code code = mint_access(m->oidc, signer, ticket, issued_at, m->tokens, reterr);
    if (code == RPC_OK && ticket->id_token)
        code = mint_id(m->oidc, signer, ticket, issued_at, m->tokens, reterr);
    return code;
}

static rpc_code mint_by(const sim_key_set *keys, minting *m, rpc_status *reterr)
{
    const trust_signer *signer = signer_for(keys, m->ticket->client);
    if (!signer)
        return no_signer(m->ticket->client, reterr);
    return trust_signer_is_remote(signer) ? skmc_sign(m->oidc->service->skms, keys->skms,
                                                trust_signer_alg(signer), mint, m, reterr)
                                          : mint(m, signer, sim_now_s(m->oidc), reterr);
}

bool sim_mint(sim_oidc *oidc, host_request *request, const sim_ticket *ticket, sim_tokens *ret,
    sim_error *reterr)
{
    rpc_status status;
    const sim_key_set *keys = sim_keys_now(oidc->service->keys);
    minting m = {oidc, ticket, ret};
    memset(ret, 0, sizeof *ret);
    draw_jti(ret->jti);
    const rpc_code code = mint_by(keys, &m, &status);
    sim_key_set_unref(keys);
    if (code == RPC_OK)
        return true;
    sim_tokens_done(ret);
    HOST_LOG(oidc->service->log, HOST_ERROR, status.message,
        host_text("request_id", host_request_id_of(request)));
    return sim_refuse_code(reterr, code);
}

void sim_tokens_done(sim_tokens *tokens)
{
    if (tokens->access)
        sodium_memzero(tokens->access, strlen(tokens->access));
    free(tokens->access);
    free(tokens->id);
    tokens->access = tokens->id = NULL;
}

json_t *sim_details_json(const sim_details *details)
{
    const char *names[SIM_ACTIONS_MAX + 1];
    sim_actions_names(details->actions, names);
    json_t *actions = json_array(), *users = NULL;
    for (size_t i = 0; names[i]; i++)
        json_array_append_new(actions, json_string(names[i]));
    json_t *detail = json_pack("{s:s, s:o}", "type", SIM_DETAILS_TYPE, "actions", actions);
    if (*details->asset_id)
        json_object_set_new(detail, "identifier", json_string(details->asset_id));
    if (details->user_count)
        users = json_array();
    for (size_t i = 0; i < details->user_count; i++)
        json_array_append_new(users, json_string(details->users[i].text));
    if (users)
        json_object_set_new(detail, "users", users);
    return json_pack("[o]", detail);
}

void sim_answer_tokens(sim_oidc *oidc, host_request *request, const sim_ticket *ticket,
    const sim_tokens *tokens, const char *refresh)
{
    json_t *json = json_pack("{s:s, s:s, s:I, s:s}", "access_token", tokens->access, "token_type",
        "Bearer", "expires_in", (json_int_t)(tokens->expires_at - sim_now_s(oidc)), "scope",
        ticket->scope);
    if (json && tokens->id)
        json_object_set_new(json, "id_token", json_string(tokens->id));
    if (json && *refresh)
        json_object_set_new(json, "refresh_token", json_string(refresh));
    if (json && ticket->details)
        json_object_set_new(json, "authorization_details", sim_details_json(ticket->details));
    sim_headers headers = {0};
    sim_headers_add(&headers, "Pragma", "no-cache"); /* RFC 6749 5.1, beside Cache-Control */
    sim_answer_json(request, 200, json, &headers);
}
