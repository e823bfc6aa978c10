/* SPDX-License-Identifier: Apache-2.0 */
#include "client_auth.h"

#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

#define ASSERTION_TYPE    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define BASIC_BYTES_MAX   1024u
#define FAILURE_NAME_ROOM (SIM_CLIENT_ID_MAX + 64)

RPC_DEFINE_FREEP(keyring_unrefp, trust_keyring *, trust_keyring_unref)

/* How a request says who it comes from. */
typedef struct claimed {
    sim_client_auth method; /* NONE also stands for a certificate: the client's record tells */
    char client_id[SIM_CLIENT_ID_MAX + 1];
    char secret[SIM_SECRET_MAX + 1];
    const char *assertion;
} claimed;

static bool decode_part(rpc_bytes text, char *ret, size_t room)
{
    host_params params;
    char scratch[BASIC_BYTES_MAX + 1];
    const char *value;
    if (text.size == 0 || text.size > BASIC_BYTES_MAX || memchr(text.data, '&', text.size) ||
        memchr(text.data, '=', text.size))
        return false;
    host_params_parse(text, scratch, &params);
    if (params.malformed || params.count != 1)
        return false;
    value = params.items[0].name;
    bool fits = *value && rpc_text_copy(ret, room, value);
    sodium_memzero(scratch, sizeof scratch);
    return fits;
}

bool sim_basic_read(
    const char *header, char ret_id[SIM_CLIENT_ID_MAX + 1], char ret_secret[SIM_SECRET_MAX + 1])
{
    uint8_t bytes[BASIC_BYTES_MAX];
    size_t size = 0;
    if (strncasecmp(header, "Basic ", 6) != 0)
        return false;
    header += 6 + strspn(header + 6, " ");
    if (sodium_base642bin(bytes, sizeof bytes, header, strlen(header), NULL, &size, NULL,
            sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    const uint8_t *colon = size ? memchr(bytes, ':', size) : NULL;
    bool read = colon &&
                decode_part(
                    rpc_bytes_of(bytes, (size_t)(colon - bytes)), ret_id, SIM_CLIENT_ID_MAX + 1) &&
                decode_part(rpc_bytes_of(colon + 1, size - 1 - (size_t)(colon - bytes)), ret_secret,
                    SIM_SECRET_MAX + 1);
    sodium_memzero(bytes, sizeof bytes);
    return read;
}

static bool unknown_client(sim_error *reterr)
{
    return sim_refuse_with(reterr, 401, SIM_INVALID_CLIENT,
        "no such client, or it has not proven who it is by the method it is registered with", 0);
}

/* The one method that the request uses. */
static bool read_claim(host_request *request, claimed *ret, sim_error *reterr)
{
    const host_params *form = host_request_form(request);
    const char *id = sim_param(form, "client_id"), *header = NULL;
    const char *type = sim_param(form, "client_assertion_type");
    host_found credentials = host_request_header(request, "Authorization", &header);
    ret->assertion = sim_param(form, "client_assertion");
    if (sim_param(form, "client_secret"))
        return sim_refuse_with(reterr, 401, SIM_INVALID_CLIENT,
            "client_secret in the form is not taken: it belongs into the Authorization header", 0);
    if (credentials != HOST_ABSENT && (ret->assertion || type))
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "a client may prove who it is by one method only");
    if (credentials != HOST_ABSENT) {
        ret->method = SIM_AUTH_SECRET_BASIC;
        if (credentials != HOST_FOUND || !sim_basic_read(header, ret->client_id, ret->secret))
            return unknown_client(reterr);
    } else if (ret->assertion) {
        ret->method = SIM_AUTH_PRIVATE_KEY_JWT;
        if (!type || strcmp(type, ASSERTION_TYPE) != 0)
            return sim_refuse(
                reterr, SIM_INVALID_REQUEST, "client_assertion_type must be " ASSERTION_TYPE);
        if (!trust_assertion_peek_client(
                rpc_bytes_str(ret->assertion), ret->client_id, sizeof ret->client_id))
            return unknown_client(reterr);
    } else if (!id || !rpc_text_copy(ret->client_id, sizeof ret->client_id, id)) {
        return sim_refuse_with(reterr, 401, SIM_INVALID_CLIENT, "client_id is missing", 0);
    }
    if (id && strcmp(id, ret->client_id) != 0)
        return sim_refuse(reterr, SIM_INVALID_REQUEST,
            "client_id is not that of the client which proves who it is");
    return true;
}

static rpc_code check_assertion(
    sim_oidc *oidc, const claimed *claim, const sim_client *client, rpc_status *reterr)
{
    const char *audiences[] = {
        oidc->service->config.issuer, oidc->token_url, oidc->mtls_token_url, NULL};
    if (!*oidc->mtls_token_url)
        audiences[2] = NULL;
    RPC_CLEANUP(keyring_unrefp) trust_keyring *keys = NULL;
    rpc_code code = sim_client_keys_of(oidc->client_keys, client, &keys, reterr);
    if (code != RPC_OK)
        return code;
    trust_assertion_rules rules = {
        .client_id = client->client_id, .keys = keys, .audiences = audiences};
    trust_assertion assertion;
    int64_t now = sim_now_s(oidc);
    code = trust_assertion_verify(rpc_bytes_str(claim->assertion), &rules, now, &assertion, reterr);
    if (code != RPC_OK)
        return code;
    /* one that does not say when it was issued may be as old as any may be */
    int64_t issued_at = assertion.issued_at ? assertion.issued_at
                                            : assertion.expires_at - TRUST_ASSERTION_AHEAD_S;
    code = sim_replays_take(oidc->replays, client->client_id, assertion.jti, issued_at,
        assertion.expires_at + TRUST_SKEW_S, now, reterr);
    if (code == RPC_RESOURCE_EXHAUSTED)
        host_counter_add(oidc->counters.limits[SIM_LIMIT_ASSERTIONS], 1);
    return code;
}

static rpc_code check_certificate(
    host_request *request, const sim_client *client, rpc_status *reterr)
{
    const host_certificate *certificate = host_request_certificate(request);
    if (certificate && (host_certificate_has_dns(certificate, client->tls_san) ||
                           host_certificate_has_uri(certificate, client->tls_san)))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED,
        certificate ? "its certificate has another name" : "it came without a certificate");
}

static rpc_code check(sim_oidc *oidc, host_request *request, const claimed *claim,
    const sim_client *client, rpc_status *reterr)
{
    bool by_form = claim->method == SIM_AUTH_NONE;
    if (client->disabled)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "it is disabled");
    if (client->auth != claim->method && !(by_form && client->auth == SIM_AUTH_TLS))
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "it is registered with another method");
    switch (client->auth) {
    case SIM_AUTH_NONE:
        return RPC_OK;
    case SIM_AUTH_PRIVATE_KEY_JWT:
        return check_assertion(oidc, claim, client, reterr);
    case SIM_AUTH_TLS:
        return check_certificate(request, client, reterr);
    case SIM_AUTH_SECRET_BASIC:
        return sim_client_check_secret(
            oidc->service->state, client->client_id, claim->secret, reterr);
    }
    return rpc_status_set(reterr, RPC_INTERNAL, "it is registered with an unknown method");
}

static bool is_refusal(rpc_code code)
{
    return code == RPC_UNAUTHENTICATED || code == RPC_ALREADY_EXISTS || code == RPC_NOT_FOUND ||
           code == RPC_INVALID_ARGUMENT || code == RPC_FAILED_PRECONDITION;
}

static bool failed(sim_oidc *oidc, host_request *request, const claimed *claim, rpc_bytes name,
    const rpc_status *why, sim_error *reterr)
{
    unsigned retry_s = 0;
    if (!is_refusal(why->code)) {
        HOST_LOG(oidc->service->log, HOST_ERROR, why->message,
            host_text("request_id", host_request_id_of(request)));
        return sim_refuse_code(reterr, why->code);
    }
    HOST_LOG(oidc->service->log, HOST_INFO, "client refused",
        host_text("request_id", host_request_id_of(request)), host_text("client", claim->client_id),
        host_text("why", why->message));
    if (!sim_rates_take(oidc->service->client_failures, name, &retry_s))
        HOST_LOG(oidc->service->log, HOST_WARNING, "client is refused too often",
            host_text("client", claim->client_id));
    return unknown_client(reterr);
}

bool sim_caller_prove(sim_oidc *oidc, host_request *request, sim_caller *ret, sim_error *reterr)
{
    claimed claim = {.method = SIM_AUTH_NONE};
    char text[FAILURE_NAME_ROOM], network[SIM_NETWORK_MAX];
    unsigned retry_s = 0;
    rpc_status status;
    if (!read_claim(request, &claim, reterr))
        return false;
    /* by address as well: nobody locks another out by failing in its name */
    sim_rates_network(host_request_address(request), network);
    int size = snprintf(text, sizeof text, "%s %s", network, claim.client_id);
    rpc_bytes name = rpc_bytes_of(text, (size_t)size);
    if (sim_rates_used_up(oidc->service->client_failures, name, &retry_s)) {
        host_counter_add(oidc->counters.limits[SIM_LIMIT_CLIENT], 1);
        return sim_refuse_with(reterr, 429, SIM_UNAVAILABLE,
            "this client failed too often; Retry-After says when to try again", retry_s);
    }
    RPC_CLEANUP(sim_client_freep) sim_client *client = NULL;
    rpc_code code = sim_client_find(oidc->service->state, claim.client_id, &client, &status);
    if (code == RPC_OK)
        code = check(oidc, request, &claim, client, &status);
    sodium_memzero(claim.secret, sizeof claim.secret);
    if (code != RPC_OK)
        return failed(oidc, request, &claim, name, &status, reterr);
    const host_certificate *certificate = host_request_certificate(request);
    ret->certificate_sha256 = certificate ? host_certificate_sha256(certificate) : NULL;
    ret->client = RPC_TAKE(client);
    return true;
}
