/* SPDX-License-Identifier: Apache-2.0 */
/* trust_token_verify() and trust_token_peek_issuer(). Inputs whose first byte is even are a token
 * as it stands; behind an odd one come a header, a zero byte and claims, which the target signs,
 * so that the fuzzer gets behind the signature. */
#include "fuzz.h"
#include "trust.h"

#define NOW         1790000000
#define LIFETIME_S  900
#define PROFILE_MAX 4096
#define SIGNED_MAX  (64u << 10)
/* The key of RFC 8037 appendix A. */
#define KEY                                                                                        \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\","                                          \
    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","                                       \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static trust_signer *signer;
static trust_issuer issuer = {
    .issuer = "https://sims.example", .audience = "https://dacm.example/", .may_delegate = true};

static void start_once(void)
{
    if (signer)
        return;
    rpc_status status;
    trust_keyring *ring;
    MUST(trust_signer_parse(rpc_bytes_str(KEY), TRUST_FOR_TOKENS, &signer, &status) == RPC_OK);
    char *jwks = trust_signer_public_jwks(signer);
    MUST(jwks);
    MUST(trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 7, &ring, &status) == RPC_OK);
    free(jwks);
    issuer.keys = ring;
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

/* ---- properties of a token that was taken ------------------------------------------------------
 */

static void check_text(const char *text, size_t least, size_t most)
{
    MUST(text);
    size_t size = strlen(text);
    MUST(size >= least && size <= most && rpc_utf8_valid(rpc_bytes_of(text, size)));
}

static void check_users(const trust_users *users, bool there, size_t least, size_t most)
{
    MUST(there ? users->count >= least && users->count <= most : users->count == 0);
    for (size_t i = 0; i < users->count; i++) {
        MUST(trust_gpsi_valid(rpc_bytes_str(users->users[i])));
        MUST(i == 0 || strcmp(users->users[i - 1], users->users[i]) < 0);
        MUST(trust_users_contain(users, users->users[i]));
    }
    MUST(!trust_users_contain(users, "msisdn-"));
}

static void check_token(const trust_token *token)
{
    MUST(strcmp(token->issuer, issuer.issuer) == 0 && token->key_version == 7);
    check_text(token->subject, 1, 255);
    check_text(token->client_id, 1, 255);
    check_text(token->jti, 1, 255);
    check_text(token->scope, 0, TRUST_TOKEN_BYTES_MAX);
    MUST(!trust_token_has_scope(token, "no-such scope"));
    if (token->skeyprov)
        check_text(token->skeyprov, 1, 255);
    MUST(token->issued_at >= 0 && token->issued_at <= NOW + TRUST_SKEW_S);
    MUST(token->expires_at >= NOW - TRUST_SKEW_S);
    MUST(token->expires_at > token->issued_at);
    MUST(token->expires_at - token->issued_at <= LIFETIME_S);
    MUST(token->actions < 2 * TRUST_ACTION_DELETE);
    MUST(!token->asset_id || trust_asset_id_valid(rpc_bytes_str(token->asset_id)));
    MUST((!token->asset_id && !token->has_users) || token->actions != 0);
    check_users(&token->gpsis, token->has_gpsis, 1, TRUST_GPSIS_MAX);
    check_users(&token->users, token->has_users, 1, TRUST_USERS_MAX);
    check_users(&token->profile, token->has_profile, 0, PROFILE_MAX);
}

static void check_peek(rpc_bytes text, bool verified)
{
    char peeked[256], again[256];
    bool found = trust_token_peek_issuer(text, peeked, sizeof peeked);
    MUST(found == trust_token_peek_issuer(text, again, sizeof again));
    MUST(!found || (memchr(peeked, 0, sizeof peeked) && strcmp(peeked, again) == 0));
    MUST(!verified || (found && strcmp(peeked, issuer.issuer) == 0));
    /* One byte of room less than it takes. */
    MUST(!found || !trust_token_peek_issuer(text, again, strlen(peeked)));
}

/* Asked again, and when the issuer is not to be believed as much. */
static rpc_code check_again(rpc_bytes text, const rpc_status *first)
{
    trust_token *token = NULL;
    rpc_status status = {0};
    rpc_code code = trust_token_verify(text, &issuer, NOW, &token, &status);
    MUST(code == first->code && strcmp(status.message, first->message) == 0);
    trust_token_unref(token);
    token = NULL;
    trust_issuer less = issuer;
    less.may_delegate = false;
    if (trust_token_verify(text, &less, NOW, &token, &status) == RPC_OK)
        MUST(code == RPC_OK && !token->has_users);
    trust_token_unref(token);
    token = NULL;
    less.issuer = "https://other.example";
    rpc_code other = trust_token_verify(text, &less, NOW, &token, &status);
    MUST(other == RPC_OK ? code != RPC_OK && strcmp(token->issuer, less.issuer) == 0
                         : other == RPC_UNAUTHENTICATED && !token);
    trust_token_unref(token);
    return code;
}

static void check(rpc_bytes text)
{
    trust_token *token = NULL;
    rpc_status status = {0};
    rpc_code code = trust_token_verify(text, &issuer, NOW, &token, &status);
    check_peek(text, code == RPC_OK);
    MUST(check_again(text, &status) == code);
    if (code == RPC_OK) {
        MUST(text.size <= TRUST_TOKEN_BYTES_MAX);
        check_token(token);
        trust_token_unref(token);
        return;
    }
    MUST(!token && code == RPC_UNAUTHENTICATED);
    fuzz_refused(code, &status);
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
