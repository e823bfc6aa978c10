/* SPDX-License-Identifier: Apache-2.0 */
/* trust_signer_import(): a private key that a VAL server brings (TS 33.434 5.8). What is taken is
 * named by what it is, signs as its public half says, and is the same key when it comes again. */
#include "fuzz.h"
#include "trust.h"

static const trust_purpose purposes[] = {TRUST_FOR_TOKENS, TRUST_FOR_MANIFESTS};

/* The public half as verifiers will have it. */
static trust_keyring *published(const trust_signer *signer, trust_purpose purpose)
{
    trust_keyring *ring = NULL;
    rpc_status status;
    char *text = trust_signer_public_jwks(signer);
    MUST(text && !strstr(text, "\"d\":"));
    MUST(trust_keyring_parse(rpc_bytes_str(text), purpose, 7, &ring, &status) == RPC_OK);
    MUST(trust_keyring_count(ring) == 1);
    free(text);
    return ring;
}

static void check_named(const trust_keyring *ring)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *kid = trust_key_kid(trust_keyring_at(ring, 0));
    MUST(strlen(kid) == 43 && strspn(kid, digits) == 43);
}

static void check_signs(const trust_signer *signer, const trust_keyring *ring)
{
    static const char *const typs[] = {"at+jwt", NULL};
    char jws[512], encoded[128], header[128];
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    trust_jws verified;
    rpc_status status;
    snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
        trust_signer_kid(signer));
    size_t at = fuzz_base64url(rpc_bytes_str(header), jws, sizeof jws);
    at += (size_t)snprintf(jws + at, sizeof jws - at, ".e30");
    MUST(trust_signer_sign(signer, rpc_bytes_of(jws, at), signature, &size, &status) == RPC_OK);
    fuzz_base64url(rpc_bytes_of(signature, size), encoded, sizeof encoded);
    snprintf(jws + at, sizeof jws - at, ".%s", encoded);
    MUST(trust_jws_verify(rpc_bytes_str(jws), sizeof jws, ring, typs, &verified, &status) ==
         TRUST_VALID);
    free(verified.payload);
}

static void import(rpc_bytes text, trust_purpose purpose)
{
    trust_signer *signer = NULL, *again = NULL;
    rpc_status status = {0};
    const rpc_code code = trust_signer_import(text, purpose, &signer, &status);
    if (code != RPC_OK) {
        MUST(!signer && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
        fuzz_refused(code, &status);
        return;
    }
    MUST(trust_signer_purpose(signer) == purpose && trust_signer_alg(signer) == TRUST_ALG_EDDSA);
    trust_keyring *ring = published(signer, purpose);
    check_named(ring);
    check_signs(signer, ring);
    MUST(trust_signer_import(text, purpose, &again, &status) == RPC_OK);
    MUST(strcmp(trust_signer_kid(signer), trust_signer_kid(again)) == 0);
    MUST(trust_signer_in(again, ring));
    trust_keyring_unref(ring);
    trust_signer_free(again);
    trust_signer_free(signer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++)
        import(rpc_bytes_of(data, size), purposes[i]);
    return 0;
}
