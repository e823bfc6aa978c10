/* SPDX-License-Identifier: Apache-2.0 */
/* trust_assertion_verify() and trust_assertion_peek_client(). Inputs whose first byte is even are
 * an assertion as it stands; behind an odd one come a header, a zero byte and claims, which the
 * target signs, so that the fuzzer gets behind the signature. */
#include "fuzz.h"
#include "trust.h"

#define NOW        1790000000
#define CLIENT     "client"
#define SIGNED_MAX (16u << 10)
/* The key of RFC 8037 appendix A. */
#define KEY                                                                                        \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\","                                          \
    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","                                       \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static const char *const audiences[] = {"https://sims.example", "https://sims.example/token", NULL};
static trust_signer *signer;
static trust_assertion_rules rules = {.client_id = CLIENT, .audiences = audiences};

static void start_once(void)
{
    if (signer)
        return;
    rpc_status status;
    trust_keyring *ring;
    MUST(trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_CLIENTS, &signer, &status) == RPC_OK);
    char *jwks = trust_signer_public_jwks(signer);
    MUST(jwks);
    MUST(trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_CLIENTS, 7, &ring, &status) == RPC_OK);
    free(jwks);
    rules.keys = ring;
}

/* Header, zero byte, claims. NULL: too large. */
static char *sign(rpc_bytes parts)
{
    const uint8_t *zero = parts.size ? memchr(parts.data, 0, parts.size) : NULL;
    if (parts.size > SIGNED_MAX || !zero)
        return NULL;
    size_t room = 2 * parts.size + 128, head = (size_t)(zero - parts.data), size = 0;
    char *jws = malloc(room);
    MUST(jws);
    size_t at = fuzz_base64url(rpc_bytes_of(parts.data, head), jws, room);
    jws[at++] = '.';
    at += fuzz_base64url(rpc_bytes_of(zero + 1, parts.size - head - 1), jws + at, room - at);
    uint8_t signature[TRUST_SIGNATURE_MAX];
    MUST(trust_signer_sign(signer, rpc_bytes_of(jws, at), signature, &size, NULL) == RPC_OK);
    jws[at++] = '.';
    fuzz_base64url(rpc_bytes_of(signature, size), jws + at, room - at);
    return jws;
}

static void check(rpc_bytes text)
{
    trust_assertion read = {.expires_at = -1}, untouched = read;
    rpc_status status = {0};
    char client[256];
    bool found = trust_assertion_peek_client(text, client, sizeof client);
    rpc_code code = trust_assertion_verify(text, &rules, NOW, &read, &status);
    if (code != RPC_OK) {
        MUST(code == RPC_UNAUTHENTICATED && memcmp(&read, &untouched, sizeof read) == 0);
        fuzz_refused(code, &status);
        return;
    }
    MUST(text.size <= TRUST_ASSERTION_BYTES_MAX);
    MUST(found && strcmp(client, CLIENT) == 0 && strcmp(read.client_id, CLIENT) == 0);
    MUST(read.jti[0] && memchr(read.jti, 0, sizeof read.jti));
    MUST(read.expires_at >= NOW - TRUST_SKEW_S);
    MUST(read.expires_at <= NOW + TRUST_ASSERTION_AHEAD_S + TRUST_SKEW_S);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start_once();
    if (size == 0)
        return 0;
    rpc_bytes rest = rpc_bytes_of(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        check(rest);
        return 0;
    }
    char *jws = sign(rest);
    if (jws)
        check(rpc_bytes_str(jws));
    free(jws);
    return 0;
}
