/* SPDX-License-Identifier: Apache-2.0 */
/* trust_keyset_verify(), trust_root_follow() and trust_keyset_peek(). Inputs whose first byte is
 * even are a JWS as it stands; behind an odd one come a header, a zero byte and claims, which the
 * target signs, so that the fuzzer gets behind the signature. What is taken is signed again and
 * must say the same. */
#include "fuzz.h"
#include "trust.h"

#define NOW        1790000000
#define ISSUER     "https://skms.example"
#define SIGNED_MAX (128u << 10)
/* The key of RFC 8037 appendix A. */
#define KEY                                                                                        \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\","                                          \
    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","                                       \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static trust_signer *root;
static trust_keyring *ring, *manifest_ring;

static void start_once(void)
{
    if (root)
        return;
    rpc_status status;
    trust_signer *manifests;
    MUST(trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_KEY_SETS, &root, &status) == RPC_OK);
    MUST(
        trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_MANIFESTS, &manifests, &status) == RPC_OK);
    char *jwks = trust_signer_public_jwks(root), *other = trust_signer_public_jwks(manifests);
    MUST(jwks && other);
    MUST(trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_KEY_SETS, 1, &ring, &status) == RPC_OK);
    MUST(trust_keyring_parse(
             rpc_bytes_str(other), TRUST_FOR_MANIFESTS, 1, &manifest_ring, &status) == RPC_OK);
    trust_signer_free(manifests);
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
    MUST(trust_signer_sign(root, rpc_bytes_of(jws, at), signature, &size, NULL) == RPC_OK);
    jws[at++] = '.';
    fuzz_base64url(rpc_bytes_of(signature, size), jws + at, room - at);
    return jws;
}

/* ---- properties of a set that was read ---------------------------------------------------------
 */

static void check_name(const char *name)
{
    size_t size = strnlen(name, TRUST_SERVICE_BYTES_MAX + 1);
    MUST(size >= 1 && size <= TRUST_SERVICE_BYTES_MAX);
    for (size_t i = 0; i < size; i++)
        MUST(name[i] > ' ' && name[i] <= '~');
}

static void check_keys(const trust_keyset *set)
{
    trust_keyring *keys;
    rpc_status status;
    MUST(trust_keyring_parse(
             rpc_bytes_str(set->jwks), set->purpose, set->version, &keys, &status) == RPC_OK);
    for (size_t i = 0; i < trust_keyring_count(keys); i++)
        MUST(trust_key_alg(trust_keyring_at(keys, i)) == TRUST_ALG_EDDSA);
    MUST(!trust_signer_in(root, keys));
    trust_keyring_unref(keys);
}

static void check_set(const trust_keyset *set)
{
    check_name(set->issuer);
    check_name(set->service);
    MUST(trust_keyset_purpose_name(set->purpose));
    MUST(set->version >= 1 && set->version < 1ull << 53);
    MUST(set->issued_at >= 0 && set->issued_at <= NOW + TRUST_SKEW_S);
    MUST(set->expires_at > set->issued_at && set->expires_at >= NOW - TRUST_SKEW_S);
    MUST(set->expires_at - set->issued_at <= TRUST_KEYSET_LIFE_S_MAX);
    check_keys(set);
}

/* What was read can be signed, unless our spelling of it is longer, and reads the same. */
static void check_signed_again(const trust_keyset *set)
{
    char *jws = NULL;
    trust_keyset again;
    rpc_status status = {0};
    rpc_code code = trust_keyset_sign(root, set, &jws, &status);
    if (code != RPC_OK) {
        MUST(!jws && code == RPC_RESOURCE_EXHAUSTED && strstr(status.message, "together"));
        return;
    }
    MUST(trust_keyset_verify(rpc_bytes_str(jws), ring, NOW, &again, &status) == TRUST_VALID);
    MUST(strcmp(again.issuer, set->issuer) == 0 && strcmp(again.service, set->service) == 0);
    MUST(again.purpose == set->purpose && again.version == set->version);
    MUST(again.issued_at == set->issued_at && again.expires_at == set->expires_at);
    MUST(strcmp(again.jwks, set->jwks) == 0);
    trust_keyset_done(&again);
    free(jws);
}

static void check_peeked(rpc_bytes jws, const char *typ)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t sequence;
    const char *peeked = trust_keyset_peek(jws, issuer, &sequence);
    MUST(!typ || (peeked && strcmp(peeked, typ) == 0));
    if (peeked)
        check_name(issuer);
}

/* ---- properties of a statement that was followed -----------------------------------------------
 */

static bool check_statement(rpc_bytes jws)
{
    char *jwk = NULL, *again = NULL, *second = NULL;
    trust_keyring *keys;
    rpc_status status = {0};
    trust_verdict verdict = trust_root_follow(jws, ring, ISSUER, 1, &jwk, &status);
    if (verdict != TRUST_VALID) {
        MUST(!jwk);
        fuzz_refused(status.code, &status);
        return false;
    }
    MUST(jws.size <= TRUST_ROOT_BYTES_MAX);
    MUST(trust_keyring_parse(rpc_bytes_str(jwk), TRUST_FOR_KEY_SETS, 1, &keys, &status) == RPC_OK);
    MUST(trust_keyring_count(keys) == 1 && !trust_signer_in(root, keys));
    trust_keyring_unref(keys);
    MUST(trust_root_follow(jws, ring, ISSUER, 2, &second, &status) == TRUST_INVALID && !second);
    rpc_code code = trust_root_sign(root, ISSUER, 1, jwk, NOW, &again, &status);
    if (code == RPC_OK)
        MUST(trust_root_follow(rpc_bytes_str(again), ring, ISSUER, 1, &second, &status) ==
                 TRUST_VALID &&
             strcmp(jwk, second) == 0);
    else
        MUST(code == RPC_RESOURCE_EXHAUSTED);
    free(again);
    free(second);
    free(jwk);
    return true;
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
    trust_keyset set, other;
    rpc_status status = {0};
    memset(&set, 0x5a, sizeof set);
    bool followed = check_statement(jws);
    MUST(trust_keyset_verify(jws, manifest_ring, NOW, &other, &status) == TRUST_INVALID);
    trust_verdict verdict = trust_keyset_verify(jws, ring, NOW, &set, &status);
    if (verdict != TRUST_VALID) {
        fuzz_refused(status.code, &status);
        MUST(is_all(&set, sizeof set, 0x5a)); /* left as it was, padding too */
        check_peeked(jws, followed ? TRUST_ROOT_TYP : NULL);
        return;
    }
    MUST(!followed && jws.size <= TRUST_KEYSET_BYTES_MAX);
    check_peeked(jws, TRUST_KEYSET_TYP);
    check_set(&set);
    check_signed_again(&set);
    trust_keyset_done(&set);
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
