/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens made here: access tokens (RFC 9068) and ID tokens (OpenID Connect Core 2). */
#include "trust_internal.h"

#include "cleanup.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define LIFETIME_S_MAX    900
#define ID_LIFETIME_S_MAX 86400
#define TEXT_MAX          255
#define PROFILE_USERS_MAX 4096

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static rpc_code wrong_purpose(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "token: this key is not for tokens; one key has one purpose");
}

/* Signs the claims; at most TRUST_TOKEN_BYTES_MAX. */
static rpc_code sign_claims(const trust_signer *signer, const char *typ, const json_t *claims,
    char **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *payload = claims ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (!payload)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "token: a claim is not UTF-8");
    char *token = NULL;
    rpc_code code = trust_jws_sign(signer, typ, rpc_bytes_str(payload), &token, reterr);
    if (code != RPC_OK)
        return code;
    if (strlen(token) > TRUST_TOKEN_BYTES_MAX) {
        free(token);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "token: larger than %u bytes; name fewer users", TRUST_TOKEN_BYTES_MAX);
    }
    *ret = token;
    return RPC_OK;
}

/* ---- access tokens ------------------------------------------------------------------------- */

static json_t *strings(const char *const *list)
{
    json_t *array = json_array();
    for (; list && *list; list++)
        json_array_append_new(array, json_string(*list));
    return array;
}

static rpc_code check_users(
    const char *const *list, size_t max, const char *what, rpc_status *reterr)
{
    size_t count = 0;
    for (; list && list[count]; count++)
        if (!trust_gpsi_valid(rpc_bytes_str(list[count])))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "token: '%.64s' in %s is no GPSI (msisdn-DIGITS or extid-LOCAL@DOMAIN)",
                list[count], what);
    if (count > max)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "token: %s has more than %zu entries", what, max);
    return RPC_OK;
}

static rpc_code check_claims(const trust_token_claims *claims, rpc_status *reterr)
{
    if (!claims->issuer || !claims->subject || !claims->audience || !claims->client_id ||
        !claims->scope)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "token: issuer, subject, audience, client ID and scope are required");
    if (claims->jti && (!claims->jti[0] || strlen(claims->jti) > TEXT_MAX))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "token: a jti has 1 to %d bytes", TEXT_MAX);
    if (claims->lifetime_s < 1 || claims->lifetime_s > LIFETIME_S_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "token: a lifetime of %lld s; 1 to %d are taken", (long long)claims->lifetime_s,
            LIFETIME_S_MAX);
    if (claims->asset_id && !trust_asset_id_valid(rpc_bytes_str(claims->asset_id)))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "token: '%.64s' is no asset ID", claims->asset_id);
    if (claims->gpsis && claims->users)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "token: `gpsi` (a user's token) and `users` (a VAL server's) exclude each other");
    rpc_code code = check_users(claims->gpsis, TRUST_GPSIS_MAX, "gpsi", reterr);
    if (code == RPC_OK)
        code = check_users(claims->users, TRUST_USERS_MAX, "users", reterr);
    if (code == RPC_OK)
        code = check_users(claims->profile, PROFILE_USERS_MAX, "Digital_profile", reterr);
    return code;
}

/* One string, single spaces. NULL when memory is short. */
static json_t *joined(const char *const *list)
{
    size_t size = 1;
    for (size_t i = 0; list[i]; i++)
        size += strlen(list[i]) + 1;
    RPC_AUTOFREE char *text = calloc(1, size);
    if (!text)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; list[i]; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " " : "", list[i]);
    return json_string(text);
}

static json_t *make_details(const trust_token_claims *claims)
{
    json_t *detail = json_pack("{s:s}", "type", "digital_asset");
    if (claims->asset_id)
        json_object_set_new(detail, "identifier", json_string(claims->asset_id));
    json_object_set_new(detail, "actions", strings(claims->actions));
    if (claims->users)
        json_object_set_new(detail, "users", strings(claims->users));
    return json_pack("[o]", detail);
}

static json_t *make_claims(const trust_token_claims *claims)
{
    uint8_t drawn[16];
    char jti[2 * sizeof drawn + 1];
    rpc_random(drawn, sizeof drawn);
    rpc_hex(rpc_bytes_of(drawn, sizeof drawn), jti);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "iss", claims->issuer,
        "sub", claims->subject, "aud", claims->audience, "client_id", claims->client_id, "scope",
        claims->scope, "jti", claims->jti ? claims->jti : jti, "iat", (json_int_t)claims->issued_at,
        "exp", (json_int_t)claims->issued_at + (json_int_t)claims->lifetime_s);
    if (!json)
        return NULL;
    if (claims->auth_time)
        json_object_set_new(json, "auth_time", json_integer(claims->auth_time));
    if (claims->acr)
        json_object_set_new(json, "acr", json_string(claims->acr));
    if (claims->actions)
        json_object_set_new(json, "authorization_details", make_details(claims));
    if (claims->gpsis)
        json_object_set_new(json, "gpsi",
            claims->gpsis[0] && !claims->gpsis[1] ? json_string(claims->gpsis[0])
                                                  : strings(claims->gpsis));
    if (claims->profile)
        json_object_set_new(json, "Digital_profile", joined(claims->profile));
    if (claims->skeyprov)
        json_object_set_new(json, "SKeyProv", json_string(claims->skeyprov));
    if (claims->certificate_sha256) {
        char *print = trust__base64url_encode(rpc_bytes_of(claims->certificate_sha256, 32));
        json_object_set_new(json, "cnf", json_pack("{s:s}", "x5t#S256", print ? print : ""));
        free(print);
    }
    return json;
}

rpc_code trust_token_mint(
    const trust_signer *signer, const trust_token_claims *claims, char **ret, rpc_status *reterr)
{
    rpc_code code = check_claims(claims, reterr);
    if (code != RPC_OK)
        return code;
    if (trust_signer_purpose(signer) != TRUST_FOR_TOKENS)
        return wrong_purpose(reterr);
    RPC_CLEANUP(json_freep) json_t *json = make_claims(claims);
    return sign_claims(signer, "at+jwt", json, ret, reterr);
}

/* ---- ID tokens ----------------------------------------------------------------------------- */

/* OpenID Connect Core 3.1.3.6: the left half of the digest that the key's algorithm uses. That of
 * Ed25519 is SHA-512, though `alg` does not say so. NULL when memory is short. */
static json_t *half_digest(const trust_signer *signer, const char *text)
{
    uint8_t digest[crypto_hash_sha512_BYTES];
    const bool wide = trust_signer_alg(signer) == TRUST_ALG_EDDSA;
    if (wide)
        crypto_hash_sha512(digest, (const uint8_t *)text, strlen(text));
    else
        crypto_hash_sha256(digest, (const uint8_t *)text, strlen(text));
    RPC_AUTOFREE char *half = trust__base64url_encode(
        rpc_bytes_of(digest, wide ? crypto_hash_sha512_BYTES / 2 : crypto_hash_sha256_BYTES / 2));
    return half ? json_string(half) : NULL;
}

static void set_text(json_t *claims, const char *name, const char *text)
{
    if (text)
        json_object_set_new(claims, name, json_string(text));
}

static json_t *make_id_claims(const trust_signer *signer, const trust_id_claims *claims)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", claims->issuer, "sub",
        claims->subject, "aud", claims->client_id, "iat", (json_int_t)claims->issued_at, "exp",
        (json_int_t)claims->issued_at + (json_int_t)claims->lifetime_s);
    if (!json)
        return NULL;
    if (claims->auth_time)
        json_object_set_new(json, "auth_time", json_integer(claims->auth_time));
    set_text(json, "nonce", claims->nonce);
    set_text(json, "acr", claims->acr);
    set_text(json, "azp", claims->azp);
    if (claims->access_token)
        json_object_set_new(json, "at_hash", half_digest(signer, claims->access_token));
    return json;
}

rpc_code trust_id_token_mint(
    const trust_signer *signer, const trust_id_claims *claims, char **ret, rpc_status *reterr)
{
    if (trust_signer_purpose(signer) != TRUST_FOR_TOKENS)
        return wrong_purpose(reterr);
    if (!claims->issuer || !claims->subject || !claims->client_id)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "token: issuer, subject and client ID of an ID token are required");
    if (strlen(claims->subject) < 1 || strlen(claims->subject) > TEXT_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "token: a subject has 1 to %d bytes", TEXT_MAX);
    if (claims->lifetime_s < 1 || claims->lifetime_s > ID_LIFETIME_S_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "token: an ID token's lifetime of %lld s; 1 to %d are taken",
            (long long)claims->lifetime_s, ID_LIFETIME_S_MAX);
    RPC_CLEANUP(json_freep) json_t *json = make_id_claims(signer, claims);
    return sign_claims(signer, "JWT", json, ret, reterr);
}
