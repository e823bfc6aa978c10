/* SPDX-License-Identifier: Apache-2.0 */
/* Signed text: three segments, a strict header, a key of the ring. */
#include "trust_internal.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

#define HEADER_BYTES_MAX 4096

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static trust_verdict invalid(rpc_status *reterr, const char *why)
{
    rpc_status_set(reterr, RPC_UNAUTHENTICATED, "trust: %s", why);
    return TRUST_INVALID;
}

/* Exactly three segments; the first two with the dot between them are what was signed. */
static bool split(rpc_bytes jws, rpc_bytes part[3], rpc_bytes *ret_signed)
{
    const uint8_t *first = jws.size ? memchr(jws.data, '.', jws.size) : NULL;
    if (!first)
        return false;
    size_t rest = jws.size - (size_t)(first + 1 - jws.data);
    const uint8_t *second = rest ? memchr(first + 1, '.', rest) : NULL;
    if (!second)
        return false;
    size_t tail = jws.size - (size_t)(second + 1 - jws.data);
    if (tail == 0 || memchr(second + 1, '.', tail))
        return false;
    part[0] = rpc_bytes_of(jws.data, (size_t)(first - jws.data));
    part[1] = rpc_bytes_of(first + 1, (size_t)(second - first - 1));
    part[2] = rpc_bytes_of(second + 1, tail);
    *ret_signed = rpc_bytes_of(jws.data, (size_t)(second - jws.data));
    return part[0].size > 0;
}

/* RFC 7515 lets unknown members pass; each of them is a way to be led astray (jku, jwk, x5u,
 * crit, b64, cty …), and no issuer of access tokens needs one. */
static bool only_known_members(const json_t *header)
{
    static const char *const known[] = {"alg", "kid", "typ", "x5t", "x5t#S256"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)header, name, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found || !json_is_string(value))
            return false;
    }
    return true;
}

const char *trust__alg_name(trust_alg alg)
{
    static const char *const names[] = {
        [TRUST_ALG_EDDSA] = "EdDSA",
        [TRUST_ALG_ES256] = "ES256",
        [TRUST_ALG_RS256] = "RS256",
        [TRUST_ALG_PS256] = "PS256",
    };
    return names[alg];
}

static bool alg_is(const char *alg, const trust_key *key)
{
    return strcmp(alg, trust__alg_name(key->alg)) == 0 ||
           (key->alg == TRUST_ALG_EDDSA && strcmp(alg, "Ed25519") == 0);
}

static bool in_use(const trust_key *key)
{
    return key->state == TRUST_KEY_ACTIVE || key->state == TRUST_KEY_VERIFY_ONLY;
}

/* Without a kid: the one key that it can be. */
static const trust_key *only_key(const trust_keyring *ring, const char *alg)
{
    const trust_key *found = NULL;
    for (size_t i = 0; ring && i < trust_keyring_count(ring); i++) {
        const trust_key *key = trust_keyring_at(ring, i);
        if (!in_use(key) || !alg_is(alg, key))
            continue;
        if (found)
            return NULL;
        found = key;
    }
    return found;
}

static trust_verdict find_key(const json_t *header, const char *alg, const trust_keyring *ring,
    bool kid_optional, const trust_key **ret, rpc_status *reterr)
{
    const json_t *kid = json_object_get(header, "kid");
    const trust_key *key = NULL;
    if (!kid && kid_optional) {
        key = only_key(ring, alg);
        if (!key)
            return invalid(reterr, "the header has no `kid`, and not exactly one key fits");
    } else if (!json_is_string(kid) || json_string_length(kid) > TRUST_KID_MAX)
        return invalid(reterr, "the header has no `kid` of at most 128 bytes");
    else if (ring)
        key = trust_keyring_find(
            ring, rpc_bytes_of(json_string_value(kid), json_string_length(kid)));
    if (!key) {
        rpc_status_set(reterr, RPC_UNAUTHENTICATED, "trust: the header's `kid` is not known");
        return TRUST_NO_KEY;
    }
    *ret = key;
    return TRUST_VALID;
}

static trust_verdict judge_header(const json_t *header, const trust_keyring *ring,
    const trust__jws_rules *rules, const trust_key **ret_key, rpc_status *reterr)
{
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *typ = json_string_value(json_object_get(header, "typ"));
    if (!json_is_object(header) || !only_known_members(header))
        return invalid(reterr, "the header has members other than alg, kid and typ");
    if (!alg)
        return invalid(reterr, "the header has no `alg`");
    if (typ ? !trust__is_one_of(typ, rules->typs)
            : !rules->typ_optional || json_object_get(header, "typ"))
        return invalid(reterr, "the header's `typ` is not the one expected here");
    const trust_key *key = NULL;
    trust_verdict verdict = find_key(header, alg, ring, rules->kid_optional, &key, reterr);
    if (verdict != TRUST_VALID)
        return verdict;
    if (!alg_is(alg, key))
        return invalid(reterr, "the header's `alg` is not that of the key");
    if (key->state == TRUST_KEY_COMPROMISED || key->state == TRUST_KEY_PRE_PUBLISHED)
        return invalid(reterr, key->state == TRUST_KEY_COMPROMISED
                                   ? "the key was compromised; nothing it signed counts"
                                   : "the key is not in use yet");
    *ret_key = key;
    return TRUST_VALID;
}

trust_verdict trust_jws_verify(rpc_bytes jws, size_t bytes_max, const trust_keyring *ring,
    const char *const *typs, trust_jws *ret, rpc_status *reterr)
{
    const trust__jws_rules rules = {.typs = typs};
    return trust__jws_verify(jws, bytes_max, ring, &rules, ret, reterr);
}

trust_verdict trust__jws_verify(rpc_bytes jws, size_t bytes_max, const trust_keyring *ring,
    const trust__jws_rules *rules, trust_jws *ret, rpc_status *reterr)
{
    rpc_bytes part[3], signed_bytes;
    if (jws.size > bytes_max)
        return invalid(reterr, "it is larger than the limit");
    if (!split(jws, part, &signed_bytes))
        return invalid(reterr, "it is not three segments with dots between");
    size_t header_size = 0, signature_size = 0, payload_size = 0;
    RPC_AUTOFREE uint8_t *header_text = trust__base64url_decode(part[0], &header_size);
    RPC_AUTOFREE uint8_t *signature = trust__base64url_decode(part[2], &signature_size);
    if (!header_text || !signature)
        return invalid(reterr, "a segment is not canonical base64url");
    RPC_CLEANUP(json_freep)
    json_t *header = trust_json_parse(
        rpc_bytes_of(header_text, header_size), HEADER_BYTES_MAX, "the header", reterr);
    if (!header) {
        if (reterr)
            reterr->code = RPC_UNAUTHENTICATED; /* the sentence is the parser's */
        return TRUST_INVALID;
    }
    const trust_key *key = NULL;
    trust_verdict verdict = judge_header(header, ring, rules, &key, reterr);
    if (verdict != TRUST_VALID)
        return verdict;
    if (!trust__key_verify(key, signed_bytes, rpc_bytes_of(signature, signature_size)))
        return invalid(reterr, "the signature does not hold");
    uint8_t *payload = trust__base64url_decode(part[1], &payload_size);
    if (!payload)
        return invalid(reterr, "a segment is not canonical base64url");
    *ret = (trust_jws){.key = key, .payload = payload, .payload_size = payload_size};
    return TRUST_VALID;
}

/* One segment of JSON. */
static json_t *peek_json(rpc_bytes jws, size_t bytes_max, int segment)
{
    rpc_bytes part[3], signed_bytes;
    size_t size = 0;
    if (jws.size > bytes_max || !split(jws, part, &signed_bytes))
        return NULL;
    RPC_AUTOFREE uint8_t *text = trust__base64url_decode(part[segment], &size);
    return text ? trust_json_parse(rpc_bytes_of(text, size), bytes_max, "the claims", NULL) : NULL;
}

/* A string member of one segment. */
static bool peek(
    rpc_bytes jws, size_t bytes_max, int segment, const char *member, char *ret, size_t room)
{
    RPC_CLEANUP(json_freep) json_t *claims = peek_json(jws, bytes_max, segment);
    return trust__json_text(claims, member, 0, ret, room);
}

json_t *trust__jws_peek_claims(rpc_bytes jws, size_t bytes_max)
{
    return peek_json(jws, bytes_max, 1);
}

bool trust__jws_peek_typ(rpc_bytes jws, size_t bytes_max, char *ret, size_t room)
{
    return peek(jws, bytes_max, 0, "typ", ret, room);
}

bool trust__jws_peek(rpc_bytes jws, size_t bytes_max, const char *member, char *ret, size_t room)
{
    return peek(jws, bytes_max, 1, member, ret, room);
}

bool trust__jws_peek_kid(rpc_bytes jws, size_t bytes_max, char ret[TRUST_KID_MAX + 1])
{
    return peek(jws, bytes_max, 0, "kid", ret, TRUST_KID_MAX + 1);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory to sign");
}

rpc_code trust_jws_sign(
    const trust_signer *signer, const char *typ, rpc_bytes payload, char **ret, rpc_status *reterr)
{
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t signature_size = 0;
    RPC_CLEANUP(json_freep)
    json_t *members = json_pack("{s:s, s:s, s:s}", "alg", trust__alg_name(trust_signer_alg(signer)),
        "kid", trust_signer_kid(signer), "typ", typ);
    RPC_AUTOFREE char *header = members ? json_dumps(members, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    RPC_AUTOFREE char *head = header ? trust__base64url_encode(rpc_bytes_str(header)) : NULL;
    RPC_AUTOFREE char *body = trust__base64url_encode(payload);
    if (!head || !body)
        return no_memory(reterr);
    const size_t tail_room = sizeof signature / 3 * 4 + 4;
    const size_t room = strlen(head) + 1 + strlen(body) + 1 + tail_room + 1;
    RPC_AUTOFREE char *jws = malloc(room);
    if (!jws)
        return no_memory(reterr);
    int size = snprintf(jws, room, "%s.%s", head, body);
    rpc_code code = trust_signer_sign(
        signer, rpc_bytes_of(jws, (size_t)size), signature, &signature_size, reterr);
    if (code != RPC_OK)
        return code;
    RPC_AUTOFREE char *tail = trust__base64url_encode(rpc_bytes_of(signature, signature_size));
    if (!tail)
        return no_memory(reterr);
    snprintf(jws + size, room - (size_t)size, ".%s", tail);
    *ret = RPC_TAKE(jws);
    return RPC_OK;
}
