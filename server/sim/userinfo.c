/* SPDX-License-Identifier: Apache-2.0 */
#include "oidc_internal.h"

#include <sodium.h>
#include <strings.h>

/* RFC 6750 3.1. error NULL: no token came. */
static void refuse(host_request *request, unsigned status, const char *error, const char *scope)
{
    char challenge[160];
    sim_headers headers = {0};
    snprintf(challenge, sizeof challenge, "Bearer realm=\"%s\"%s%s%s%s", SIM_REALM,
        error ? ", error=\"" : "", error ? error : "", error ? "\"" : "", scope);
    sim_headers_add(&headers, "WWW-Authenticate", challenge);
    sim_answer_json(
        request, status, json_pack("{s:s}", "error", error ? error : "invalid_token"), &headers);
}

/* In the header only: a token in a query or form ends up in logs. */
static const char *bearer(host_request *request)
{
    const char *header = NULL;
    if (host_request_header(request, "Authorization", &header) != HOST_FOUND ||
        strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    return header + 7 + strspn(header + 7, " ");
}

static bool binding_holds(host_request *request, const trust_token *token)
{
    const host_certificate *certificate = host_request_certificate(request);
    return !token->bound || (certificate && sodium_memcmp(host_certificate_sha256(certificate),
                                                token->certificate_sha256, 32) == 0);
}

static json_t *claims_of(const trust_token *token, const sim_user *user)
{
    json_t *json = json_pack("{s:s}", "sub", user->sub);
    if (!json || !trust_token_has_scope(token, "profile"))
        return json;
    json_object_set_new(json, "preferred_username", json_string(user->username));
    if (*user->name)
        json_object_set_new(json, "name", json_string(user->name));
    return json;
}

static void answer(sim_oidc *oidc, host_request *request, const trust_token *token)
{
    rpc_status status;
    RPC_CLEANUP(sim_user_freep) sim_user *user = NULL;
    if (!trust_token_has_scope(token, "openid")) {
        refuse(request, 403, "insufficient_scope", ", scope=\"openid\"");
        return;
    }
    rpc_code code = sim_user_by_sub(oidc->service->state, token->subject, &user, &status);
    if (code == RPC_OK && !user->disabled) {
        sim_answer_json(request, 200, claims_of(token, user), NULL);
    } else if (code == RPC_OK || code == RPC_NOT_FOUND) {
        refuse(request, 401, "invalid_token", "");
    } else {
        sim_error error;
        HOST_LOG(oidc->service->log, HOST_ERROR, status.message,
            host_text("request_id", host_request_id_of(request)));
        sim_refuse_code(&error, code);
        sim_answer_error(request, &error);
    }
}

void sim_userinfo_handle(void *ctx, host_request *request)
{
    sim_oidc *oidc = ctx;
    const char *text = bearer(request);
    RPC_CLEANUP(trust_token_unrefp) trust_token *token = NULL;
    if (!text)
        refuse(request, 401, NULL, "");
    else if (!sim_oidc_token(oidc, rpc_bytes_str(text), &token) || !binding_holds(request, token))
        refuse(request, 401, "invalid_token", "");
    else
        answer(oidc, request, token);
}
