/* SPDX-License-Identifier: Apache-2.0 */
/* Key sets, public and private, read for each purpose. What is taken must be within the limits
 * of trust.h, verify nothing that it did not sign, and be read back from what was written. */
#include "fuzz.h"
#include "trust.h"

static const trust_purpose purposes[] = {
    TRUST_FOR_TOKENS, TRUST_FOR_MANIFESTS, TRUST_FOR_KEY_SETS, TRUST_FOR_AUDIT, TRUST_FOR_CLIENTS};
#define PURPOSES (sizeof purposes / sizeof purposes[0])

static void check_key(const trust_keyring *ring, const trust_key *key)
{
    const char *kid = trust_key_kid(key);
    size_t size = strnlen(kid, TRUST_KID_MAX + 1);
    MUST(size >= 1 && size <= TRUST_KID_MAX);
    for (size_t i = 0; i < size; i++)
        MUST(kid[i] > ' ' && kid[i] <= '~');
    /* The first of that kid is the only one. */
    MUST(trust_keyring_find(ring, rpc_bytes_str(kid)) == key);
    MUST(trust_key_alg(key) <= TRUST_ALG_PS256);
    trust_key_state state = trust_key_get_state(key);
    MUST(state <= TRUST_KEY_COMPROMISED);
    if (state == TRUST_KEY_COMPROMISED || state == TRUST_KEY_PRE_PUBLISHED)
        for (int64_t time = 0; time < 4102444800; time += 86400 * 365)
            MUST(!trust_key_signs_at(key, time));
}

/* An all-zero signature holds under no key, whatever the algorithm. */
static void check_forgery(const trust_keyring *ring, const trust_key *key)
{
    static const char *const algs[] = {"EdDSA", "ES256", "RS256", "PS256"};
    static const char *const typs[] = {"at+jwt", NULL};
    static const uint8_t zeros[512];
    char header[512], jws[2048], signature[1024];
    if (strpbrk(trust_key_kid(key), "\"\\"))
        return; /* the header below does not escape */
    snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
        algs[trust_key_alg(key)], trust_key_kid(key));
    size_t sizes[] = {64, 64, 256, 256}; /* n of 2,048 bits for RSA */
    fuzz_base64url(rpc_bytes_of(zeros, sizes[trust_key_alg(key)]), signature, sizeof signature);
    size_t at = fuzz_base64url(rpc_bytes_str(header), jws, sizeof jws);
    snprintf(jws + at, sizeof jws - at, ".e30.%s", signature);
    trust_jws verified;
    rpc_status status = {0};
    MUST(trust_jws_verify(rpc_bytes_str(jws), sizeof jws, ring, typs, &verified, &status) ==
         TRUST_INVALID);
    fuzz_refused(status.code, &status);
}

static void check_ring(const trust_keyring *ring, trust_purpose purpose)
{
    MUST(trust_keyring_purpose(ring) == purpose && trust_keyring_version(ring) == 7);
    MUST(trust_keyring_count(ring) <= TRUST_KEYS_MAX);
    for (size_t i = 0; i < trust_keyring_count(ring); i++) {
        check_key(ring, trust_keyring_at(ring, i));
        check_forgery(ring, trust_keyring_at(ring, i));
    }
}

static void read_public(rpc_bytes text, trust_purpose purpose)
{
    trust_keyring *ring = NULL;
    rpc_status status = {0};
    rpc_code code = trust_keyring_parse(text, purpose, 7, &ring, &status);
    if (code == RPC_OK) {
        check_ring(ring, purpose);
        trust_keyring_unref(ring);
        return;
    }
    MUST(!ring && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
    fuzz_refused(code, &status);
}

/* What a signer writes can be read, by those who verify and by itself, and is the same key. */
static void check_signer(const trust_signer *signer, trust_purpose purpose)
{
    char *public_text = trust_signer_public_jwks(signer);
    char *private_text = trust_signer_private_jwks(signer);
    MUST(public_text && private_text && !strstr(public_text, "\"d\":"));
    trust_keyring *ring = NULL;
    trust_signer *again = NULL;
    rpc_status status;
    MUST(trust_keyring_parse(rpc_bytes_str(public_text), purpose, 7, &ring, &status) == RPC_OK);
    MUST(trust_keyring_count(ring) == 1);
    MUST(strcmp(trust_key_kid(trust_keyring_at(ring, 0)), trust_signer_kid(signer)) == 0);
    MUST(trust_keyring_parse(rpc_bytes_str(private_text), purpose, 7, &(trust_keyring *){NULL},
             &status) == RPC_INVALID_ARGUMENT);
    MUST(trust_signer_parse(rpc_bytes_str(private_text), purpose, &again, &status) == RPC_OK);
    uint8_t signature[TRUST_SIGNATURE_MAX], second[TRUST_SIGNATURE_MAX];
    size_t size = 0, second_size = 0;
    MUST(trust_signer_sign(signer, rpc_bytes_str("m"), signature, &size, &status) == RPC_OK);
    MUST(trust_signer_sign(again, rpc_bytes_str("m"), second, &second_size, &status) == RPC_OK);
    MUST(size == second_size && memcmp(signature, second, size) == 0);
    trust_signer_free(again);
    trust_keyring_unref(ring);
    free(public_text);
    free(private_text);
}

/* Of what a set of ours is refused for, others may publish much; what is taken of ours, is taken of
 * theirs. */
static void read_published(rpc_bytes text, trust_purpose purpose)
{
    trust_keyring *ring = NULL, *own = NULL;
    rpc_status status = {0}, ignored;
    rpc_code code = trust_keyring_parse_published(
        text, purpose, TRUST_ALG_RS256, 7, &ring, &status);
    rpc_code strict = trust_keyring_parse(text, purpose, 7, &own, &ignored);
    if (code == RPC_OK) {
        MUST(trust_keyring_count(ring) > 0);
        MUST(strict != RPC_OK || trust_keyring_count(own) == trust_keyring_count(ring));
        check_ring(ring, purpose);
    } else {
        MUST(!ring && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
        MUST(strict != RPC_OK || trust_keyring_count(own) == 0);
        fuzz_refused(code, &status);
    }
    trust_keyring_unref(ring);
    trust_keyring_unref(own);
}

/* What a set of private keys publishes has no private member, and can be read. */
static void read_signers(rpc_bytes text, trust_purpose purpose)
{
    trust_signers *signers = NULL;
    trust_keyring *ring = NULL;
    rpc_status status = {0};
    rpc_code code = trust_signers_parse(text, purpose, &signers, &status);
    if (code != RPC_OK) {
        MUST(!signers && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
        fuzz_refused(code, &status);
        return;
    }
    char *public_text = trust_signers_public_jwks(signers);
    MUST(public_text && !strstr(public_text, "\"d\":"));
    MUST(trust_keyring_parse(rpc_bytes_str(public_text), purpose, 7, &ring, &status) == RPC_OK);
    MUST(trust_keyring_count(ring) <= trust_signers_count(signers));
    const trust_signer *first = trust_signers_find(signers, TRUST_ALG_EDDSA, 1790000000);
    MUST(!first || trust_signer_in(first, ring));
    trust_keyring_unref(ring);
    free(public_text);
    trust_signers_free(signers);
}

static void read_private(rpc_bytes text, trust_purpose purpose)
{
    trust_signer *signer = NULL;
    rpc_status status = {0};
    rpc_code code = trust_signer_parse(text, purpose, &signer, &status);
    if (code == RPC_OK) {
        MUST(trust_signer_purpose(signer) == purpose);
        check_signer(signer, purpose);
        trust_signer_free(signer);
        return;
    }
    MUST(!signer && (code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED));
    fuzz_refused(code, &status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rpc_bytes text = rpc_bytes_of(data, size);
    for (size_t i = 0; i < PURPOSES; i++) {
        read_public(text, purposes[i]);
        read_private(text, purposes[i]);
        read_published(text, purposes[i]);
        read_signers(text, purposes[i]);
    }
    return 0;
}
