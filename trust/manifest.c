/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: what the DACM signs about one version of an asset. */
#include "trust_internal.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

static const char *const typs[] = {TRUST_MANIFEST_TYP, NULL};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* ---- reading --------------------------------------------------------------------------------- */

static trust_verdict invalid(rpc_status *reterr, const char *claim)
{
    rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "manifest: claim `%s` is missing or not of its form", claim);
    return TRUST_INVALID;
}

static bool take_optional_text(const json_t *claims, const char *name, char *ret, size_t room)
{
    ret[0] = '\0';
    return !json_object_get(claims, name) || trust__json_text(claims, name, 1, ret, room);
}

/* An object as compact JSON; empty when it is not there. */
static bool take_optional_object(const json_t *claims, const char *name, char *ret, size_t room)
{
    const json_t *object = json_object_get(claims, name);
    ret[0] = '\0';
    if (!object)
        return true;
    if (!json_is_object(object))
        return false;
    const size_t size = json_dumpb(object, ret, room - 1, JSON_COMPACT | JSON_SORT_KEYS);
    if (size == 0 || size >= room)
        return false;
    ret[size] = '\0';
    return true;
}

/* The claim that is wrong, or NULL. */
static const char *read_claims(const json_t *claims, trust_manifest *m)
{
    if (!trust__json_text(claims, "iss", 1, m->issuer, sizeof m->issuer))
        return "iss";
    if (!trust__json_text(claims, "asset_id", 1, m->asset_id, sizeof m->asset_id) ||
        !trust_asset_id_valid(rpc_bytes_str(m->asset_id)))
        return "asset_id";
    if (!trust__json_uint(claims, "version", &m->version) || m->version == 0)
        return "version";
    if (!trust__json_text(claims, "media_type", 1, m->media_type, sizeof m->media_type))
        return "media_type";
    if (!trust__json_uint(claims, "size", &m->size))
        return "size";
    if (!trust__jwk_bytes32(claims, "sha256", m->sha256))
        return "sha256";
    if (!trust__json_text(claims, "chunking", 1, m->chunking, sizeof m->chunking))
        return "chunking";
    if (!trust__jwk_bytes32(claims, "chunks", m->chunks_sha256))
        return "chunks";
    if (!take_optional_text(claims, "recipe", m->recipe, sizeof m->recipe))
        return "recipe";
    m->has_source = json_object_get(claims, "source_sha256") != NULL;
    if (m->has_source && !trust__jwk_bytes32(claims, "source_sha256", m->source_sha256))
        return "source_sha256";
    if (!take_optional_object(claims, "figures", m->figures, sizeof m->figures))
        return "figures";
    if (!take_optional_object(claims, "licence", m->licence, sizeof m->licence))
        return "licence";
    if (!trust__json_int(claims, "iat", &m->issued_at))
        return "iat";
    if (!trust__json_int(claims, "exp", &m->expires_at) || m->expires_at <= m->issued_at ||
        m->expires_at - m->issued_at > TRUST_MANIFEST_LIFE_S_MAX)
        return "exp";
    return NULL;
}

static trust_verdict read_payload(
    const uint8_t *payload, size_t size, trust_manifest *ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *claims = trust_json_parse(
        rpc_bytes_of(payload, size), TRUST_MANIFEST_BYTES_MAX, "the manifest", reterr);
    if (!claims)
        return TRUST_INVALID;
    const char *wrong = json_is_object(claims) ? read_claims(claims, ret) : "iss";
    return wrong ? invalid(reterr, wrong) : TRUST_VALID;
}

/* What a manifest of an unknown key says; its form is judged as strictly. */
static trust_verdict read_unverified(rpc_bytes jws, trust_manifest *ret, rpc_status *reterr)
{
    const uint8_t *first = memchr(jws.data, '.', jws.size);
    size_t rest = jws.size - (size_t)(first + 1 - jws.data), size = 0;
    const uint8_t *second = memchr(first + 1, '.', rest);
    RPC_AUTOFREE uint8_t *payload = trust__base64url_decode(
        rpc_bytes_of(first + 1, (size_t)(second - first - 1)), &size);
    if (!payload)
        return invalid(reterr, "iss");
    trust_verdict verdict = read_payload(payload, size, ret, reterr);
    return verdict == TRUST_VALID ? TRUST_NO_KEY : verdict;
}

trust_verdict trust_manifest_verify(
    rpc_bytes jws, const trust_keyring *ring, trust_manifest *ret, rpc_status *reterr)
{
    trust_jws verified = {0};
    trust_manifest manifest = {0};
    rpc_status status;
    if (ring && trust_keyring_purpose(ring) != TRUST_FOR_MANIFESTS) {
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "manifest: these keys are not for manifests");
        return TRUST_INVALID;
    }
    trust_verdict verdict = trust_jws_verify(
        jws, TRUST_MANIFEST_BYTES_MAX, ring, typs, &verified, &status);
    RPC_AUTOFREE uint8_t *payload = verified.payload;
    if (verdict == TRUST_VALID)
        verdict = read_payload(payload, verified.payload_size, &manifest, &status);
    else if (verdict == TRUST_NO_KEY) {
        rpc_status why;
        if (read_unverified(jws, &manifest, &why) != TRUST_NO_KEY) {
            verdict = TRUST_INVALID;
            status = why;
        }
    }
    if (verdict == TRUST_VALID && !trust_key_signs_at(verified.key, manifest.issued_at)) {
        rpc_status_set(&status, RPC_INVALID_ARGUMENT,
            "manifest: it says that it was signed at a time when its key was not in use");
        verdict = TRUST_INVALID;
    }
    if (verdict != TRUST_VALID && reterr)
        *reterr = status;
    if (verdict == TRUST_INVALID)
        return verdict;
    if (verified.key)
        memcpy(manifest.kid, trust_key_kid(verified.key), sizeof manifest.kid);
    *ret = manifest;
    return verdict;
}

/* ---- signing --------------------------------------------------------------------------------- */

static bool put_digest(json_t *claims, const char *name, const uint8_t digest[32])
{
    RPC_AUTOFREE char *text = trust__base64url_encode(rpc_bytes_of(digest, 32));
    return text && json_object_set_new(claims, name, json_string(text)) == 0;
}

static bool put_object(json_t *claims, const char *name, const char *text)
{
    return json_object_set_new(claims, name, json_loads(text, JSON_REJECT_DUPLICATES, NULL)) == 0;
}

static json_t *make_claims(const trust_manifest *m)
{
    json_t *claims = json_pack("{s:s, s:s, s:I, s:s, s:I, s:s, s:I, s:I}", "iss", m->issuer,
        "asset_id", m->asset_id, "version", (json_int_t)m->version, "media_type", m->media_type,
        "size", (json_int_t)m->size, "chunking", m->chunking, "iat", (json_int_t)m->issued_at,
        "exp", (json_int_t)m->expires_at);
    bool ok = claims && put_digest(claims, "sha256", m->sha256) &&
              put_digest(claims, "chunks", m->chunks_sha256);
    if (ok && m->recipe[0])
        ok = json_object_set_new(claims, "recipe", json_string(m->recipe)) == 0;
    if (ok && m->has_source)
        ok = put_digest(claims, "source_sha256", m->source_sha256);
    if (ok && m->figures[0])
        ok = put_object(claims, "figures", m->figures);
    if (ok && m->licence[0])
        ok = put_object(claims, "licence", m->licence);
    if (ok)
        return claims;
    json_decref(claims);
    return NULL;
}

rpc_code trust_manifest_sign(
    const trust_signer *signer, const trust_manifest *manifest, char **ret, rpc_status *reterr)
{
    if (trust_signer_purpose(signer) != TRUST_FOR_MANIFESTS)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "manifest: this key is not for manifests; one key has one purpose");
    RPC_CLEANUP(json_freep) json_t *claims = make_claims(manifest);
    if (!claims)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "manifest: a member is not UTF-8 or not JSON, or no memory");
    trust_manifest again;
    const char *wrong = read_claims(claims, &again);
    if (wrong)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "manifest: `%s` is not of its form", wrong);
    RPC_AUTOFREE char *payload = json_dumps(claims, JSON_COMPACT | JSON_SORT_KEYS);
    if (!payload)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "manifest: no memory to sign");
    RPC_AUTOFREE char *jws = NULL;
    rpc_code code = trust_jws_sign(
        signer, TRUST_MANIFEST_TYP, rpc_bytes_str(payload), &jws, reterr);
    if (code != RPC_OK)
        return code;
    if (strlen(jws) > TRUST_MANIFEST_BYTES_MAX) /* each member fits, but JSON may escape much */
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "manifest: %zu bytes together, at most %u are taken; shorten `recipe`", strlen(jws),
            TRUST_MANIFEST_BYTES_MAX);
    *ret = RPC_TAKE(jws);
    return RPC_OK;
}
