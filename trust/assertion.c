/* SPDX-License-Identifier: Apache-2.0 */
/* How an OAuth client says who it is: a JWT that it signs itself (RFC 7523). */
#include "trust_internal.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

#define LIFETIME_S 60 /* of ours */

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static rpc_code bad(rpc_status *reterr, const char *why)
{
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "assertion: %s", why);
}

bool trust_assertion_peek_client(rpc_bytes assertion, char *ret_client_id, size_t room)
{
    return trust__jws_peek(assertion, TRUST_ASSERTION_BYTES_MAX, "sub", ret_client_id, room);
}

static bool text_is(const json_t *claims, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text && strcmp(text, expected) == 0;
}

/* A time that may be absent (0), and must not lie ahead. */
static bool not_ahead(const json_t *claims, const char *name, int64_t now, int64_t *ret)
{
    return !json_object_get(claims, name) ||
           (trust__json_int(claims, name, ret) && *ret <= now + TRUST_SKEW_S);
}

static rpc_code judge_times(
    const json_t *claims, int64_t now, trust_assertion *read, rpc_status *reterr)
{
    int64_t not_before = 0;
    if (!trust__json_int(claims, "exp", &read->expires_at))
        return bad(reterr, "`exp` is required, whole seconds since 1970");
    if (now > read->expires_at + TRUST_SKEW_S)
        return bad(reterr, "expired");
    if (read->expires_at > now + TRUST_ASSERTION_AHEAD_S + TRUST_SKEW_S)
        return bad(reterr, "`exp` lies more than 10 minutes ahead");
    if (!not_ahead(claims, "iat", now, &read->issued_at) ||
        !not_ahead(claims, "nbf", now, &not_before))
        return bad(reterr, "`iat` or `nbf` lies ahead, or is no whole second since 1970");
    return RPC_OK;
}

/* Names of ours, and no other: another whom it is for as well could pass it on to us. */
static bool for_us_alone(const json_t *audience, const char *const *audiences)
{
    size_t i;
    json_t *entry;
    json_array_foreach(audience, i, entry)
    {
        if (!json_is_string(entry) || !trust__is_one_of(json_string_value(entry), audiences))
            return false;
    }
    return trust__is_audience(audience, audiences);
}

static rpc_code judge_claims(const json_t *claims, const trust_assertion_rules *rules, int64_t now,
    trust_assertion *read, rpc_status *reterr)
{
    const json_t *jti = json_object_get(claims, "jti");
    if (!text_is(claims, "iss", rules->client_id) || !text_is(claims, "sub", rules->client_id))
        return bad(reterr, "`iss` and `sub` are not both the client's ID");
    if (!for_us_alone(json_object_get(claims, "aud"), rules->audiences))
        return bad(reterr, "`aud` is not the issuer or the endpoint asked, and nobody else");
    if (!json_is_string(jti) || json_string_length(jti) < 1 ||
        json_string_length(jti) >= sizeof read->jti)
        return bad(reterr, "`jti` is missing or not of 1 to 255 bytes");
    memcpy(read->jti, json_string_value(jti), json_string_length(jti) + 1);
    return judge_times(claims, now, read, reterr);
}

rpc_code trust_assertion_verify(rpc_bytes assertion, const trust_assertion_rules *rules,
    int64_t now, trust_assertion *ret, rpc_status *reterr)
{
    static const char *const typs[] = {"JWT", "client-authentication+jwt", NULL};
    static const trust__jws_rules jws_rules = {
        .typs = typs, .typ_optional = true, .kid_optional = true};
    trust_jws jws = {0};
    trust_assertion read = {.expires_at = 0};
    if (!rpc_text_copy(read.client_id, sizeof read.client_id, rules->client_id))
        return bad(reterr, "the client's ID has more than 255 bytes");
    if (trust_keyring_purpose(rules->keys) != TRUST_FOR_CLIENTS)
        return bad(reterr, "the client's keys are not for assertions");
    if (trust__jws_verify(assertion, TRUST_ASSERTION_BYTES_MAX, rules->keys, &jws_rules, &jws,
            reterr) != TRUST_VALID)
        return RPC_UNAUTHENTICATED;
    RPC_AUTOFREE uint8_t *payload = jws.payload;
    if (rules->algs && !(rules->algs & 1u << trust_key_alg(jws.key)))
        return bad(reterr, "its algorithm is not one that is taken of this client");
    if (trust_key_get_state(jws.key) == TRUST_KEY_RETIRED || !trust_key_signs_at(jws.key, now))
        return bad(reterr, "its key is retired, or signed outside its window");
    RPC_CLEANUP(json_freep)
    json_t *claims = trust_json_parse(
        rpc_bytes_of(payload, jws.payload_size), TRUST_ASSERTION_BYTES_MAX, "the claims", reterr);
    if (!json_is_object(claims))
        return bad(reterr, "the claims are no JSON object, or one with a member twice");
    rpc_code code = judge_claims(claims, rules, now, &read, reterr);
    if (code == RPC_OK)
        *ret = read;
    return code;
}

rpc_code trust_assertion_mint(const trust_signer *signer, const char *client_id,
    const char *audience, int64_t now, char **ret, rpc_status *reterr)
{
    uint8_t drawn[16];
    char jti[2 * sizeof drawn + 1];
    if (trust_signer_purpose(signer) != TRUST_FOR_CLIENTS)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "assertion: this key is not a client's; one key has one purpose");
    rpc_random(drawn, sizeof drawn);
    rpc_hex(rpc_bytes_of(drawn, sizeof drawn), jti);
    RPC_CLEANUP(json_freep)
    json_t *claims = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", client_id, "sub", client_id,
        "aud", audience, "jti", jti, "iat", (json_int_t)now, "exp", (json_int_t)now + LIFETIME_S);
    RPC_AUTOFREE char *payload = claims ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (!payload)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "assertion: client ID or audience is not UTF-8");
    return trust_jws_sign(signer, "JWT", rpc_bytes_str(payload), ret, reterr);
}
