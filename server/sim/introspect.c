/* SPDX-License-Identifier: Apache-2.0 */
/* Introspection (RFC 7662) of access tokens. Of everything else, refresh tokens and codes
 * included, it says that it is not active. */
#include "client_auth.h"
#include "mint.h"

#include <sodium.h>

static json_t *strings(const trust_users *users)
{
    json_t *array = json_array();
    for (size_t i = 0; i < users->count; i++)
        json_array_append_new(array, json_string(users->users[i]));
    return array;
}

static json_t *joined(const trust_users *users)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < users->count; i++)
        fprintf(out, "%s%s", i ? " " : "", users->users[i]);
    json_t *json = out && fclose(out) == 0 ? json_string(text) : NULL;
    free(text);
    return json;
}

static void add_details(json_t *json, const trust_token *token)
{
    sim_details details = {.actions = token->actions};
    if (token->actions == 0)
        return;
    if (token->asset_id)
        snprintf(details.asset_id, sizeof details.asset_id, "%s", token->asset_id);
    for (size_t i = 0; token->has_users && i < token->users.count && i < TRUST_USERS_MAX; i++)
        details.user_count += trust_gpsi_parse(rpc_bytes_str(token->users.users[i]),
                                  &details.users[details.user_count], NULL) == RPC_OK;
    json_object_set_new(json, "authorization_details", sim_details_json(&details));
}

static void add_binding(json_t *json, const trust_token *token)
{
    char print[44];
    if (!token->bound)
        return;
    sodium_bin2base64(print, sizeof print, token->certificate_sha256,
        sizeof token->certificate_sha256, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    json_object_set_new(json, "cnf", json_pack("{s:s}", "x5t#S256", print));
}

static json_t *active(const trust_token *token)
{
    json_t *json = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "active", 1,
        "iss", token->issuer, "sub", token->subject, "aud", token->audience, "client_id",
        token->client_id, "jti", token->jti, "scope", token->scope, "token_type", "Bearer", "iat",
        (json_int_t)token->issued_at, "exp", (json_int_t)token->expires_at);
    if (!json)
        return NULL;
    add_details(json, token);
    if (token->has_gpsis)
        json_object_set_new(json, "gpsi", strings(&token->gpsis));
    if (token->has_profile)
        json_object_set_new(json, "Digital_profile", joined(&token->profile));
    add_binding(json, token);
    return json;
}

static bool introspect(sim_oidc *oidc, host_request *request, sim_caller *caller, sim_error *reterr)
{
    const host_params *form = host_request_form(request);
    const char *text = sim_param(form, "token");
    if (!sim_params_sound(form))
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "a parameter is there twice, or is not UTF-8");
    if (!sim_caller_prove(oidc, request, caller, reterr))
        return false;
    if (caller->client->auth == SIM_AUTH_NONE)
        return sim_refuse_with(reterr, 401, SIM_INVALID_CLIENT,
            "a public client has not proven who it is and may not introspect", 0);
    if (!text)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "token is missing");
    RPC_CLEANUP(trust_token_unrefp) trust_token *token = NULL;
    bool good = sim_oidc_token(oidc, rpc_bytes_str(text), &token);
    sim_answer_json(request, 200, good ? active(token) : json_pack("{s:b}", "active", 0), NULL);
    return true;
}

void sim_introspect_handle(void *ctx, host_request *request)
{
    sim_error error;
    sim_caller caller = {0};
    if (!introspect(ctx, request, &caller, &error))
        sim_answer_error(request, &error);
    sim_client_free(caller.client);
}
