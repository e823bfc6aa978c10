/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets, which the SKM-S signs with a root, and statements by which a root names the next. */
#include "trust_internal.h"

#include "cleanup.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* Statements are read before their issuer's root is known to be right: no more than a root needs.
 */
#define ROOT_JWK_BYTES_MAX 2048u

static const char *const keyset_typs[] = {TRUST_KEYSET_TYP, NULL};
static const char *const root_typs[] = {TRUST_ROOT_TYP, NULL};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

RPC_DEFINE_FREEP(keyring_freep, trust_keyring *, trust_keyring_unref)

static rpc_code wrong_claim(rpc_status *reterr, const char *what, const char *claim)
{
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "%s: claim `%s` is missing or not of its form", what, claim);
}

/* kid as it came: nothing foreign goes into a sentence before it was judged. */
static rpc_code wrong_key(rpc_status *reterr, const char *kid, const char *why)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "key set: key '%.40s' %s",
        kid && trust__is_printable(kid) ? kid : "?", why);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "key set: no memory");
}

static bool take_name(const json_t *claims, const char *name, char *ret)
{
    return trust__json_text(claims, name, 1, ret, TRUST_SERVICE_BYTES_MAX + 1) &&
           trust__is_printable(ret);
}

const char *trust_keyset_purpose_name(trust_purpose purpose)
{
    return purpose == TRUST_FOR_TOKENS      ? "tokens"
           : purpose == TRUST_FOR_MANIFESTS ? "manifests"
                                            : NULL;
}

bool trust_keyset_purpose_parse(const char *text, trust_purpose *ret)
{
    static const trust_purpose all[] = {TRUST_FOR_TOKENS, TRUST_FOR_MANIFESTS};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(text, trust_keyset_purpose_name(all[i])) == 0) {
            *ret = all[i];
            return true;
        }
    return false;
}

void trust_keyset_done(trust_keyset *set)
{
    if (!set)
        return;
    free(set->jwks);
    set->jwks = NULL;
}

/* ---- the keys of a set -----------------------------------------------------------------------
 */

/* What trust_keyring_parse() leaves open, a set of ours says. */
static rpc_code judge_members(const json_t *jwk, rpc_status *reterr)
{
    const char *kid = json_string_value(json_object_get(jwk, "kid"));
    int64_t not_before, not_after;
    if (!trust__jwk_is(jwk, "OKP", "Ed25519"))
        return wrong_key(reterr, kid, "is not of Ed25519");
    if (!json_object_get(jwk, "dacm_purpose") || !json_object_get(jwk, "dacm_state"))
        return wrong_key(reterr, kid, "has no `dacm_purpose` or no `dacm_state`");
    if (!trust__json_int(jwk, "nbf", &not_before) || !trust__json_int(jwk, "exp", &not_after) ||
        not_after <= not_before)
        return wrong_key(reterr, kid, "needs `nbf`, and `exp` behind it: when it signs");
    return RPC_OK;
}

static bool same_key(const trust_key *a, const trust_key *b)
{
    return memcmp(a->ed25519, b->ed25519, sizeof a->ed25519) == 0;
}

/* A compromised key must not come back under another name, and no root be a key of its set. */
static rpc_code judge_unique(const trust_keyring *keys, const trust_keyring *root,
    const trust_signer *signer, rpc_status *reterr)
{
    for (size_t i = 0; i < trust_keyring_count(keys); i++) {
        const trust_key *key = trust_keyring_at(keys, i);
        for (size_t j = 0; j < i; j++)
            if (same_key(key, trust_keyring_at(keys, j)))
                return wrong_key(reterr, key->kid, "is there twice, under two names");
        bool is_root = signer && trust__signer_is_key(signer, key);
        for (size_t j = 0; root && j < trust_keyring_count(root); j++)
            is_root = is_root || same_key(key, trust_keyring_at(root, j));
        if (is_root)
            return wrong_key(reterr, key->kid, "is the root; one key has one purpose");
    }
    return RPC_OK;
}

/* The members that say something here, once they were judged: what others add is not handed on. */
static json_t *known_members(const json_t *jwk)
{
    static const char *const names[] = {"kty", "crv", "x", "kid", "use", "alg", "dacm_purpose",
        "dacm_state", "nbf", "exp", "dacm_signs_from"};
    json_t *known = json_object();
    for (size_t i = 0; known && i < sizeof names / sizeof *names; i++) {
        json_t *member = json_object_get(jwk, names[i]);
        if (member && json_object_set(known, names[i], member) != 0) {
            json_decref(known);
            return NULL;
        }
    }
    return known;
}

static char *known_keys(const json_t *keys)
{
    RPC_CLEANUP(json_freep) json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(keys); i++)
        if (json_array_append_new(list, known_members(json_array_get(keys, i))) != 0)
            return NULL;
    RPC_CLEANUP(json_freep) json_t *set = list ? json_pack("{s:O}", "keys", list) : NULL;
    return set ? json_dumps(set, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

/* keys becomes *ret as a JWK set. Exactly one of root and signer is the root. */
static rpc_code read_keys(const json_t *keys, trust_purpose purpose, const trust_keyring *root,
    const trust_signer *signer, char **ret, rpc_status *reterr)
{
    if (!json_is_array(keys))
        return wrong_claim(reterr, "key set", "keys");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(keys); i++)
        code = judge_members(json_array_get(keys, i), reterr);
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(json_freep) json_t *set = json_pack("{s:O}", "keys", keys);
    RPC_AUTOFREE char *text = set ? json_dumps(set, JSON_COMPACT) : NULL;
    if (!text)
        return no_memory(reterr);
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = NULL;
    code = trust_keyring_parse(rpc_bytes_str(text), purpose, 1, &ring, reterr);
    if (code == RPC_OK)
        code = judge_unique(ring, root, signer, reterr);
    if (code != RPC_OK)
        return code;
    *ret = known_keys(keys);
    return *ret ? RPC_OK : no_memory(reterr);
}

/* ---- reading ---------------------------------------------------------------------------------
 */

/* Signature under a root, and the claims as JSON. */
typedef struct opened {
    const trust_key *key; /* as long as the ring */
    json_t *claims;
} opened;

static void opened_done(opened *jws)
{
    json_decref(jws->claims);
}

static trust_verdict open_jws(rpc_bytes jws, size_t bytes_max, const trust_keyring *root,
    const char *const *typs, opened *ret, rpc_status *reterr)
{
    trust_jws verified = {0};
    if (!root || trust_keyring_purpose(root) != TRUST_FOR_KEY_SETS) {
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "key set: these keys are no roots");
        return TRUST_INVALID;
    }
    trust_verdict verdict = trust_jws_verify(jws, bytes_max, root, typs, &verified, reterr);
    RPC_AUTOFREE uint8_t *payload = verified.payload;
    if (verdict != TRUST_VALID)
        return verdict;
    if (verified.key->alg != TRUST_ALG_EDDSA) {
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "key set: a root signs with EdDSA only");
        return TRUST_INVALID;
    }
    json_t *claims = trust_json_parse(
        rpc_bytes_of(payload, verified.payload_size), bytes_max, "the claims", reterr);
    if (!claims)
        return TRUST_INVALID;
    *ret = (opened){.key = verified.key, .claims = claims};
    return TRUST_VALID;
}

/* The claim that is wrong, or NULL; not the keys. */
static const char *read_claims(const json_t *claims, trust_keyset *set)
{
    char purpose[16];
    if (!take_name(claims, "iss", set->issuer))
        return "iss";
    if (!take_name(claims, "service", set->service))
        return "service";
    if (!trust__json_text(claims, "purpose", 1, purpose, sizeof purpose) ||
        !trust_keyset_purpose_parse(purpose, &set->purpose))
        return "purpose";
    if (!trust__json_uint(claims, "version", &set->version) || set->version == 0)
        return "version";
    if (!trust__json_int(claims, "iat", &set->issued_at))
        return "iat";
    if (!trust__json_int(claims, "exp", &set->expires_at) || set->expires_at <= set->issued_at ||
        set->expires_at - set->issued_at > TRUST_KEYSET_LIFE_S_MAX)
        return "exp";
    return NULL;
}

static rpc_code judge_time(
    const trust_keyset *set, const trust_key *root, int64_t now, rpc_status *reterr)
{
    if (!trust_key_signs_at(root, set->issued_at))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "key set: it says that it was signed at a time when its root was not in use");
    if (set->issued_at > now + TRUST_SKEW_S)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "key set: it says that it was signed in the future; are both clocks right?");
    if (set->expires_at < now - TRUST_SKEW_S)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "key set: it has expired; get a new one from the SKM-S (and are both clocks right?)");
    return RPC_OK;
}

trust_verdict trust_keyset_verify(
    rpc_bytes jws, const trust_keyring *root, int64_t now, trust_keyset *ret, rpc_status *reterr)
{
    RPC_CLEANUP(opened_done) opened text = {NULL, NULL};
    trust_keyset set = {.jwks = NULL};
    trust_verdict verdict = open_jws(jws, TRUST_KEYSET_BYTES_MAX, root, keyset_typs, &text, reterr);
    if (verdict != TRUST_VALID)
        return verdict;
    const char *wrong = read_claims(text.claims, &set);
    if (wrong) {
        wrong_claim(reterr, "key set", wrong);
        return TRUST_INVALID;
    }
    if (judge_time(&set, text.key, now, reterr) != RPC_OK ||
        read_keys(json_object_get(text.claims, "keys"), set.purpose, root, NULL, &set.jwks,
            reterr) != RPC_OK)
        return TRUST_INVALID;
    *ret = set;
    return TRUST_VALID;
}

/* ---- signing ---------------------------------------------------------------------------------
 */

static rpc_code judge_root(const trust_signer *root, rpc_status *reterr)
{
    if (trust_signer_purpose(root) == TRUST_FOR_KEY_SETS &&
        trust_signer_alg(root) == TRUST_ALG_EDDSA)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "key set: this key is no root of key sets; one key has one purpose");
}

/* claims stays the caller's. */
static rpc_code sign(const trust_signer *root, const char *typ, const json_t *claims,
    size_t bytes_max, char **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *payload = json_dumps(claims, JSON_COMPACT | JSON_SORT_KEYS);
    RPC_AUTOFREE char *jws = NULL;
    if (!payload)
        return no_memory(reterr);
    rpc_code code = trust_jws_sign(root, typ, rpc_bytes_str(payload), &jws, reterr);
    if (code != RPC_OK)
        return code;
    if (strlen(jws) > bytes_max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "key set: %zu bytes together, at most %zu are taken; have fewer keys or shorter kids",
            strlen(jws), bytes_max);
    *ret = RPC_TAKE(jws);
    return RPC_OK;
}

rpc_code trust_keyset_sign(
    const trust_signer *root, const trust_keyset *set, char **ret, rpc_status *reterr)
{
    rpc_code code = judge_root(root, reterr);
    if (code != RPC_OK)
        return code;
    const char *purpose = trust_keyset_purpose_name(set->purpose);
    if (!purpose)
        return wrong_claim(reterr, "key set", "purpose");
    RPC_CLEANUP(json_freep)
    json_t *jwks = trust_json_parse(
        rpc_bytes_str(set->jwks), TRUST_JWKS_BYTES_MAX, "the key set", reterr);
    if (!jwks)
        return RPC_INVALID_ARGUMENT;
    RPC_CLEANUP(json_freep)
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:O?}", "iss", set->issuer,
        "service", set->service, "purpose", purpose, "version", (json_int_t)set->version, "iat",
        (json_int_t)set->issued_at, "exp", (json_int_t)set->expires_at, "keys",
        json_object_get(jwks, "keys"));
    if (!claims)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "key set: a member is not UTF-8, or no memory");
    trust_keyset again = {.jwks = NULL};
    const char *wrong = read_claims(claims, &again);
    if (wrong)
        return wrong_claim(reterr, "key set", wrong);
    code = read_keys(
        json_object_get(claims, "keys"), again.purpose, NULL, root, &again.jwks, reterr);
    RPC_CLEANUP(json_freep)
    json_t *known = code == RPC_OK ? json_loads(again.jwks, JSON_REJECT_DUPLICATES, NULL) : NULL;
    trust_keyset_done(&again);
    if (code != RPC_OK)
        return code;
    if (!known || json_object_set(claims, "keys", json_object_get(known, "keys")) != 0)
        return no_memory(reterr);
    return sign(root, TRUST_KEYSET_TYP, claims, TRUST_KEYSET_BYTES_MAX, ret, reterr);
}

/* ---- roots -----------------------------------------------------------------------------------
 */

/* One public Ed25519 key that may be a root: as a ring and as a JWK. json is a JWK or a set of
 * one. */
static rpc_code read_root(
    const json_t *json, trust_keyring **ret_ring, char **ret_jwk, rpc_status *reterr)
{
    const json_t *keys = json_object_get(json, "keys");
    const json_t *jwk = json_array_size(keys) == 1 ? json_array_get(keys, 0) : json;
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *text = json_is_object(jwk) ? json_dumps(jwk, JSON_COMPACT) : NULL;
    if (!trust__jwk_is(jwk, "OKP", "Ed25519") || json_object_get(jwk, "keys") || !text ||
        strlen(text) > ROOT_JWK_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "key set: a root is one public Ed25519 key (JWK) of at most %u bytes",
            ROOT_JWK_BYTES_MAX);
    rpc_code code = trust_keyring_parse(rpc_bytes_str(text), TRUST_FOR_KEY_SETS, 1, &ring, reterr);
    if (code == RPC_OK && trust_keyring_at(ring, 0)->state != TRUST_KEY_ACTIVE)
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "key set: a root whose `dacm_state` is not active");
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(json_freep) json_t *known = known_members(jwk);
    free(text);
    text = known ? json_dumps(known, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (!text)
        return no_memory(reterr);
    *ret_ring = RPC_TAKE(ring);
    *ret_jwk = RPC_TAKE(text);
    return RPC_OK;
}

rpc_code trust_root_sign(const trust_signer *old_root, const char *issuer, uint64_t sequence,
    const char *new_root_public_jwk, int64_t issued_at, char **ret, rpc_status *reterr)
{
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *jwk = NULL;
    rpc_code code = judge_root(old_root, reterr);
    if (code != RPC_OK)
        return code;
    if (!trust__is_printable(issuer) || strlen(issuer) > TRUST_SERVICE_BYTES_MAX)
        return wrong_claim(reterr, "root statement", "iss");
    if (sequence == 0 || sequence >= 1ull << 53)
        return wrong_claim(reterr, "root statement", "sequence");
    if (issued_at < 0 || issued_at >= 1ll << 53)
        return wrong_claim(reterr, "root statement", "iat");
    RPC_CLEANUP(json_freep)
    json_t *root = trust_json_parse(
        rpc_bytes_str(new_root_public_jwk), ROOT_JWK_BYTES_MAX * 2, "the new root", reterr);
    if (!root)
        return RPC_INVALID_ARGUMENT;
    code = read_root(root, &ring, &jwk, reterr);
    if (code == RPC_OK && trust_signer_in(old_root, ring))
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "root statement: the new root is the old one");
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(json_freep)
    json_t *claims = json_pack("{s:s, s:I, s:I, s:o}", "iss", issuer, "sequence",
        (json_int_t)sequence, "iat", (json_int_t)issued_at, "root",
        json_loads(jwk, JSON_REJECT_DUPLICATES, NULL));
    return claims ? sign(old_root, TRUST_ROOT_TYP, claims, TRUST_ROOT_BYTES_MAX, ret, reterr)
                  : no_memory(reterr);
}

static rpc_code judge_statement(
    const opened *text, const char *issuer, uint64_t sequence, char **ret_jwk, rpc_status *reterr)
{
    char said[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t number = 0;
    int64_t issued_at = 0;
    if (!take_name(text->claims, "iss", said))
        return wrong_claim(reterr, "root statement", "iss");
    if (!trust__json_uint(text->claims, "sequence", &number) || number == 0)
        return wrong_claim(reterr, "root statement", "sequence");
    if (!trust__json_int(text->claims, "iat", &issued_at))
        return wrong_claim(reterr, "root statement", "iat");
    if (strcmp(said, issuer) != 0)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "root statement: it is of another issuer");
    if (number != sequence)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "root statement: it is number %llu, expected was %llu; none may be left out",
            (unsigned long long)number, (unsigned long long)sequence);
    if (!trust_key_signs_at(text->key, issued_at))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "root statement: it says that it was signed at a time when its root was not in use");
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *jwk = NULL;
    rpc_code code = read_root(json_object_get(text->claims, "root"), &ring, &jwk, reterr);
    if (code != RPC_OK)
        return code;
    if (same_key(trust_keyring_at(ring, 0), text->key))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "root statement: the new root is the old one");
    *ret_jwk = RPC_TAKE(jwk);
    return RPC_OK;
}

trust_verdict trust_root_follow(rpc_bytes statement, const trust_keyring *old_root,
    const char *issuer, uint64_t sequence, char **ret_new_root_jwk, rpc_status *reterr)
{
    RPC_CLEANUP(opened_done) opened text = {NULL, NULL};
    trust_verdict verdict = open_jws(
        statement, TRUST_ROOT_BYTES_MAX, old_root, root_typs, &text, reterr);
    if (verdict != TRUST_VALID)
        return verdict;
    return judge_statement(&text, issuer, sequence, ret_new_root_jwk, reterr) == RPC_OK
               ? TRUST_VALID
               : TRUST_INVALID;
}

const char *trust_keyset_peek(
    rpc_bytes jws, char ret_issuer[TRUST_SERVICE_BYTES_MAX + 1], uint64_t *ret_sequence)
{
    char typ[32], issuer[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t sequence = 0;
    if (!trust__jws_peek_typ(jws, TRUST_KEYSET_BYTES_MAX, typ, sizeof typ))
        return NULL;
    const bool is_root = strcmp(typ, TRUST_ROOT_TYP) == 0;
    if (!is_root && strcmp(typ, TRUST_KEYSET_TYP) != 0)
        return NULL;
    RPC_CLEANUP(json_freep)
    json_t *claims = trust__jws_peek_claims(
        jws, is_root ? TRUST_ROOT_BYTES_MAX : TRUST_KEYSET_BYTES_MAX);
    if (!take_name(claims, "iss", issuer) ||
        (is_root && !trust__json_uint(claims, "sequence", &sequence)))
        return NULL;
    memcpy(ret_issuer, issuer, sizeof issuer);
    *ret_sequence = sequence;
    return is_root ? TRUST_ROOT_TYP : TRUST_KEYSET_TYP;
}

/* ---- fingerprints ----------------------------------------------------------------------------
 */

static const char prefix[] = "SHA256:";

rpc_code trust_root_read(rpc_bytes root_jwk, char ret_fingerprint[TRUST_FINGERPRINT_SIZE],
    char **ret_jwk, rpc_status *reterr)
{
    RPC_CLEANUP(keyring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *jwk = NULL;
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(root_jwk, ROOT_JWK_BYTES_MAX * 2, "the root", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    rpc_code code = read_root(json, &ring, &jwk, reterr);
    if (code != RPC_OK)
        return code;
    char thumbprint[TRUST_KID_MAX + 1];
    trust__thumbprint(trust_keyring_at(ring, 0)->ed25519, thumbprint);
    snprintf(ret_fingerprint, TRUST_FINGERPRINT_SIZE, "%s%.43s", prefix, thumbprint);
    if (ret_jwk)
        *ret_jwk = RPC_TAKE(jwk);
    return RPC_OK;
}

bool trust_fingerprint_equal(const char *fingerprint, const char *text)
{
    const char *a = fingerprint + sizeof prefix - 1;
    if (strncmp(text, prefix, sizeof prefix - 1) == 0)
        text += sizeof prefix - 1;
    for (; *a; a++, text++) {
        const char said = *text == '+' ? '-' : *text == '/' ? '_' : *text;
        if (said != *a) /* the end of text included */
            return false;
    }
    return text[0] == '\0' || strcmp(text, "=") == 0;
}
