/* SPDX-License-Identifier: Apache-2.0 */
/* trust_manifest_verify() and trust_manifest_sign(). Inputs whose first byte is even are a
 * manifest as it stands; behind an odd one come a header, a zero byte and claims, which the target
 * signs, so that the fuzzer gets behind the signature. What is taken is signed again and must say
 * the same. */
#include "fuzz.h"
#include "trust.h"

#define SIGNED_MAX (64u << 10)
/* The key of RFC 8037 appendix A. */
#define KEY                                                                                        \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\","                                          \
    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","                                       \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static trust_signer *signer;
static trust_keyring *ring, *token_ring;

static void start_once(void)
{
    if (signer)
        return;
    rpc_status status;
    trust_signer *tokens;
    MUST(trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_MANIFESTS, &signer, &status) == RPC_OK);
    MUST(trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_TOKENS, &tokens, &status) == RPC_OK);
    char *jwks = trust_signer_public_jwks(signer), *other = trust_signer_public_jwks(tokens);
    MUST(jwks && other);
    MUST(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_MANIFESTS, 1, &ring, &status) == RPC_OK);
    MUST(trust_keyring_parse(rpc_bytes_str(other), TRUST_FOR_TOKENS, 1, &token_ring, &status) ==
         RPC_OK);
    trust_signer_free(tokens);
    free(jwks);
    free(other);
}

/* Header, zero byte, claims; without a zero byte the claims are empty. NULL: too large. */
static char *sign(rpc_bytes parts)
{
    if (parts.size > SIGNED_MAX)
        return NULL;
    size_t room = 2 * parts.size + 128;
    char *jws = malloc(room);
    MUST(jws);
    const uint8_t *zero = parts.size ? memchr(parts.data, 0, parts.size) : NULL;
    size_t head = zero ? (size_t)(zero - parts.data) : parts.size;
    size_t at = fuzz_base64url(rpc_bytes_of(parts.data, head), jws, room);
    jws[at++] = '.';
    if (zero)
        at += fuzz_base64url(rpc_bytes_of(zero + 1, parts.size - head - 1), jws + at, room - at);
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    MUST(trust_signer_sign(signer, rpc_bytes_of(jws, at), signature, &size, NULL) == RPC_OK);
    jws[at++] = '.';
    fuzz_base64url(rpc_bytes_of(signature, size), jws + at, room - at);
    return jws;
}

/* ---- properties of a manifest that was read ----------------------------------------------------
 */

static void check_text(const char *text, size_t least, size_t room)
{
    MUST(memchr(text, 0, room));
    size_t size = strlen(text);
    MUST(size >= least && rpc_utf8_valid(rpc_bytes_of(text, size)));
}

static void check_manifest(const trust_manifest *m)
{
    check_text(m->issuer, 1, sizeof m->issuer);
    check_text(m->asset_id, 1, sizeof m->asset_id);
    check_text(m->media_type, 1, sizeof m->media_type);
    check_text(m->chunking, 1, sizeof m->chunking);
    check_text(m->recipe, 0, sizeof m->recipe);
    MUST(trust_asset_id_valid(rpc_bytes_str(m->asset_id)));
    MUST(m->version >= 1 && m->version < 1ull << 53 && m->size < 1ull << 53);
    MUST(m->issued_at >= 0 && m->expires_at > m->issued_at);
    MUST(m->expires_at - m->issued_at <= TRUST_MANIFEST_LIFE_S_MAX);
}

static void check_same(const trust_manifest *a, const trust_manifest *b)
{
    MUST(strcmp(a->issuer, b->issuer) == 0 && strcmp(a->asset_id, b->asset_id) == 0);
    MUST(strcmp(a->media_type, b->media_type) == 0 && strcmp(a->chunking, b->chunking) == 0);
    MUST(strcmp(a->recipe, b->recipe) == 0 && a->has_source == b->has_source);
    MUST(a->version == b->version && a->size == b->size);
    MUST(memcmp(a->sha256, b->sha256, 32) == 0);
    MUST(memcmp(a->chunks_sha256, b->chunks_sha256, 32) == 0);
    MUST(memcmp(a->source_sha256, b->source_sha256, 32) == 0);
    MUST(a->issued_at == b->issued_at && a->expires_at == b->expires_at);
}

/* What was read can be signed, unless our spelling of it is longer, and reads the same. */
static void check_signed_again(const trust_manifest *m)
{
    char *jws = NULL;
    rpc_status status = {0};
    trust_manifest again;
    rpc_code code = trust_manifest_sign(signer, m, &jws, &status);
    if (code != RPC_OK) {
        MUST(!jws && code == RPC_INVALID_ARGUMENT && strstr(status.message, "together"));
        return;
    }
    MUST(trust_manifest_verify(rpc_bytes_str(jws), ring, &again, &status) == TRUST_VALID);
    check_same(&again, m);
    free(jws);
}

/* Without keys the form is judged as strictly, and keys of another purpose judge nothing. */
static void check_other_rings(rpc_bytes jws, trust_verdict verdict, const trust_manifest *m)
{
    trust_manifest other;
    rpc_status status = {0};
    trust_verdict without = trust_manifest_verify(jws, NULL, &other, &status);
    MUST(without != TRUST_VALID && (verdict == TRUST_INVALID || without == TRUST_NO_KEY));
    if (without == TRUST_NO_KEY) {
        check_manifest(&other);
        MUST(other.kid[0] == '\0');
        if (verdict != TRUST_INVALID)
            check_same(&other, m);
    }
    MUST(trust_manifest_verify(jws, token_ring, &other, &status) == TRUST_INVALID);
}

static bool is_all(const void *object, size_t size, uint8_t byte)
{
    const uint8_t *bytes = object;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            return false;
    return true;
}

static void check(rpc_bytes jws)
{
    trust_manifest manifest;
    rpc_status status = {0};
    memset(&manifest, 0x5a, sizeof manifest);
    trust_verdict verdict = trust_manifest_verify(jws, ring, &manifest, &status);
    check_other_rings(jws, verdict, &manifest);
    if (verdict != TRUST_VALID)
        fuzz_refused(status.code, &status);
    if (verdict == TRUST_INVALID) {
        MUST(is_all(&manifest, sizeof manifest, 0x5a)); /* left as it was, padding too */
        return;
    }
    MUST(jws.size <= TRUST_MANIFEST_BYTES_MAX);
    check_manifest(&manifest);
    MUST(strcmp(manifest.kid, verdict == TRUST_VALID ? "k" : "") == 0);
    check_signed_again(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    start_once();
    rpc_bytes rest = rpc_bytes_of(data + 1, size - 1);
    if (!(data[0] & 1)) {
        check(rest);
        return 0;
    }
    char *jws = sign(rest);
    if (jws)
        check(rpc_bytes_str(jws));
    free(jws);
    return 0;
}
