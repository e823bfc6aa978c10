/* SPDX-License-Identifier: Apache-2.0 */
/* What an OpenID provider says, and what is asked of it. */
#include "cleanup.h"
#include "login.h"
#include "pki.h"
#include "trust.h"

#include <sodium.h>
#include <string.h>

#define ID_TOKEN_BYTES_MAX TRUST_TOKEN_BYTES_MAX

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static const char *text_in(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static json_t *parse(const http_reply *reply)
{
    return json_loadb(reply->body, reply->size, JSON_REJECT_DUPLICATES, NULL);
}

/* ---- discovery --------------------------------------------------------------------------------
 */

/* An endpoint, by preference the one for certificates. */
static const char *endpoint(const json_t *json, const char *name, bool mtls)
{
    const char *alias = text_in(json_object_get(json, "mtls_endpoint_aliases"), name);
    const char *url = mtls && alias ? alias : text_in(json, name);
    return url && strncmp(url, "https://", 8) == 0 ? url : NULL;
}

static dacm_code read_metadata(
    json_t *json, const char *issuer, bool mtls, oidc_provider *ret, dacm_error *reterr)
{
    const oidc_provider provider = {.json = json,
        .issuer = text_in(json, "issuer"),
        .authorization_endpoint = endpoint(json, "authorization_endpoint", false),
        .token_endpoint = endpoint(json, "token_endpoint", mtls),
        .revocation_endpoint = endpoint(json, "revocation_endpoint", mtls),
        .userinfo_endpoint = endpoint(json, "userinfo_endpoint", false),
        .jwks_uri = endpoint(json, "jwks_uri", false),
        .iss_in_response = json_is_true(
            json_object_get(json, "authorization_response_iss_parameter_supported"))};
    if (!provider.issuer || strcmp(provider.issuer, issuer) != 0)
        return pki_fail(reterr, DACM_INVALID_ARGUMENT,
            "'%.200s' describes another issuer, '%.200s': name that one, byte for byte", issuer,
            provider.issuer ? provider.issuer : "");
    if (!provider.authorization_endpoint || !provider.token_endpoint || !provider.jwks_uri)
        return pki_fail(reterr, DACM_INVALID_ARGUMENT,
            "'%.200s' names no https endpoints for authorization, tokens and keys", issuer);
    *ret = provider;
    return DACM_OK;
}

static bool ends_with_slash(const char *text)
{
    const size_t size = strlen(text);
    return size > 0 && text[size - 1] == '/';
}

dacm_code oidc_discover(
    const http_peer *peer, const char *issuer, bool mtls, oidc_provider *ret, dacm_error *reterr)
{
    http_reply reply = {.status = 0};
    RPC_AUTOFREE char *url = pki_text("%s/.well-known/openid-configuration", issuer);
    if (!url)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a login");
    dacm_code code = http_get(peer, url, NULL, &reply, reterr);
    if (code != DACM_OK)
        return code;
    json_t *json = reply.status == 200 ? parse(&reply) : NULL;
    code = json ? read_metadata(json, issuer, mtls, ret, reterr)
                : pki_fail(reterr, DACM_INVALID_ARGUMENT,
                      "'%.300s' is no OpenID provider (HTTP status %ld)%s", issuer, reply.status,
                      ends_with_slash(issuer) ? "; leave the slash at its end out" : "");
    if (code != DACM_OK)
        json_decref(json);
    http_done(&reply);
    return code;
}

void oidc_done(oidc_provider *provider)
{
    json_decref(provider->json);
    *provider = (oidc_provider){.json = NULL};
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void base64url(const uint8_t bytes[32], char ret[OIDC_RANDOM_CHARS + 1])
{
    sodium_bin2base64(
        ret, OIDC_RANDOM_CHARS + 1, bytes, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void oidc_random(char ret[OIDC_RANDOM_CHARS + 1])
{
    uint8_t bytes[32];
    rpc_random(bytes, sizeof bytes);
    base64url(bytes, ret);
}

void oidc_challenge(const char *verifier, char ret[OIDC_RANDOM_CHARS + 1])
{
    uint8_t digest[32];
    trust_sha256(rpc_bytes_str(verifier), digest);
    base64url(digest, ret);
}

char *oidc_details(const char *asset_id, const char *const *actions, const char *user)
{
    json_t *list = json_array();
    for (; *actions; actions++)
        json_array_append_new(list, json_string(*actions));
    RPC_CLEANUP(json_freep)
    json_t *details = json_pack(
        "[{s:s, s:s*, s:o}]", "type", "digital_asset", "identifier", asset_id, "actions", list);
    if (details && user)
        json_object_set_new(json_array_get(details, 0), "users", json_pack("[s]", user));
    return details ? json_dumps(details, JSON_COMPACT) : NULL;
}

static dacm_code code_of(const char *error, long status)
{
    static const struct {
        const char *error;
        dacm_code code;
    } rows[] = {
        {"invalid_grant", DACM_UNAUTHENTICATED},
        {"invalid_client", DACM_UNAUTHENTICATED},
        {"invalid_token", DACM_UNAUTHENTICATED},
        {"login_required", DACM_UNAUTHENTICATED},
        {"access_denied", DACM_PERMISSION_DENIED},
        {"unauthorized_client", DACM_PERMISSION_DENIED},
        {"invalid_scope", DACM_PERMISSION_DENIED},
        {"invalid_target", DACM_PERMISSION_DENIED},
        {"invalid_authorization_details", DACM_PERMISSION_DENIED},
        {"consent_required", DACM_PERMISSION_DENIED},
        {"temporarily_unavailable", DACM_UNAVAILABLE},
        {"slow_down", DACM_RESOURCE_EXHAUSTED},
    };
    for (size_t i = 0; error && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].error, error) == 0)
            return rows[i].code;
    if (status == 429)
        return DACM_RESOURCE_EXHAUSTED;
    return status >= 500 ? DACM_UNAVAILABLE : status == 401 ? DACM_UNAUTHENTICATED : DACM_INTERNAL;
}

/* What it says may end up on a terminal. */
static dacm_code refused(const json_t *json, long status, dacm_error *reterr)
{
    const char *error = text_in(json, "error"), *more = text_in(json, "error_description");
    pki_fail(reterr, code_of(error, status), "the SIM-S refuses: %.60s%s%.200s%s",
        error ? error : "no reason given", more ? " (" : "", more ? more : "", more ? ")" : "");
    rpc_text_printable(reterr->message);
    return reterr->code;
}

dacm_code oidc_token(
    const http_peer *peer, const char *url, const http_form *form, json_t **ret, dacm_error *reterr)
{
    http_reply reply = {.status = 0};
    if (form->failed)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    dacm_code code = http_post(peer, url, form->text, &reply, reterr);
    if (code != DACM_OK)
        return code;
    json_t *json = parse(&reply);
    const char *type = text_in(json, "token_type");
    if (reply.status != 200 || !json)
        code = refused(json, reply.status, reterr);
    else if (!text_in(json, "access_token") || !type || strcasecmp(type, "bearer") != 0)
        code = pki_fail(reterr, DACM_INTERNAL, "the SIM-S answers without a bearer token");
    if (code == DACM_OK)
        *ret = json;
    else
        json_decref(json);
    http_done(&reply);
    return code;
}

/* ---- ID tokens --------------------------------------------------------------------------------
 */

static bool is_audience(const json_t *aud, const char *client_id)
{
    size_t at;
    const json_t *entry;
    if (json_is_string(aud))
        return strcmp(json_string_value(aud), client_id) == 0;
    json_array_foreach(
        aud, at, entry) if (json_is_string(entry) &&
                            strcmp(json_string_value(entry), client_id) == 0) return true;
    return false;
}

static const char *why_not(
    const json_t *claims, const oidc_provider *provider, const char *client_id, const char *nonce)
{
    const int64_t now = rpc_clock_wall_ms(rpc_clock_system()) / 1000;
    const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat");
    const json_t *aud = json_object_get(claims, "aud");
    const char *iss = text_in(claims, "iss"), *got = text_in(claims, "nonce"),
               *sub = text_in(claims, "sub"), *azp = text_in(claims, "azp");
    if (!iss || strcmp(iss, provider->issuer) != 0)
        return "it is of another issuer";
    if (!is_audience(aud, client_id) || (azp && strcmp(azp, client_id) != 0))
        return "it is for another client";
    if (!sub || !sub[0] || strlen(sub) > 255)
        return "it names nobody";
    if (!json_is_integer(exp) || json_integer_value(exp) + TRUST_SKEW_S <= now)
        return "it has expired";
    if (!json_is_integer(iat) || json_integer_value(iat) - TRUST_SKEW_S > now)
        return "it was issued in the future";
    if (!got || strcmp(got, nonce) != 0)
        return "it answers another login (nonce)";
    return NULL;
}

static dacm_code fetch_keys(
    const http_peer *peer, const oidc_provider *provider, trust_keyring **ret, dacm_error *reterr)
{
    http_reply reply = {.status = 0};
    rpc_status status = {.code = RPC_OK};
    dacm_code code = http_get(peer, provider->jwks_uri, NULL, &reply, reterr);
    if (code != DACM_OK)
        return code;
    if (reply.status != 200 || trust_keyring_parse_published(rpc_bytes_of(reply.body, reply.size),
                                   TRUST_FOR_TOKENS, TRUST_ALG_RS256, 1, ret, &status) != RPC_OK)
        code = pki_fail(reterr, DACM_UNAUTHENTICATED, "the SIM-S publishes no usable keys: %.300s",
            status.code != RPC_OK ? status.message : "HTTP status");
    http_done(&reply);
    return code;
}

dacm_code oidc_verify_id_token(const http_peer *peer, const oidc_provider *provider,
    const char *id_token, const char *client_id, const char *nonce, json_t **ret_claims,
    dacm_error *reterr)
{
    static const char *const typs[] = {"JWT", NULL};
    trust_keyring *ring = NULL;
    trust_jws jws = {.payload = NULL};
    rpc_status status = {.code = RPC_OK};
    dacm_code code = fetch_keys(peer, provider, &ring, reterr);
    if (code != DACM_OK)
        return code;
    const char *why = status.message;
    json_t *claims = NULL;
    if (trust_jws_verify(rpc_bytes_str(id_token), ID_TOKEN_BYTES_MAX, ring, typs, &jws, &status) ==
        TRUST_VALID) {
        claims = json_loadb(
            (const char *)jws.payload, jws.payload_size, JSON_REJECT_DUPLICATES, NULL);
        why = claims ? why_not(claims, provider, client_id, nonce) : "it is no JSON";
        if (!trust_key_signs_at(jws.key, rpc_clock_wall_ms(rpc_clock_system()) / 1000))
            why = "its key signs no more";
    }
    free(jws.payload);
    trust_keyring_unref(ring);
    if (!why) {
        *ret_claims = claims;
        return DACM_OK;
    }
    json_decref(claims);
    return pki_fail(
        reterr, DACM_UNAUTHENTICATED, "the ID token of the SIM-S is not good: %.300s", why);
}

json_t *oidc_peek(const char *token)
{
    const char *from = strchr(token, '.');
    const char *to = from ? strchr(from + 1, '.') : NULL;
    size_t size = 0;
    if (!to || (size_t)(to - from) > TRUST_TOKEN_BYTES_MAX)
        return NULL;
    RPC_AUTOFREE uint8_t *json = malloc((size_t)(to - from));
    if (!json || sodium_base642bin(json, (size_t)(to - from), from + 1, (size_t)(to - from - 1),
                     NULL, &size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return NULL;
    return json_loadb((const char *)json, size, JSON_REJECT_DUPLICATES, NULL);
}
