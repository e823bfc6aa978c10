/* SPDX-License-Identifier: Apache-2.0 */
/* What the mint writes beyond what token_test.c reads back: RFC 9068's optional claims, RS256, and
 * ID tokens. */
#include "test.h"
#include "trust_internal.h"

#define NOW 1790000000

static trust_signer *signer_of(trust_alg alg)
{
    trust_signer *signer = NULL;
    rpc_status status;
    rpc_code code = alg == TRUST_ALG_RS256
                        ? trust_signer_generate_rsa(2048, &signer, &status)
                        : trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status);
    if (code != RPC_OK)
        fail_msg("%s", status.message);
    return signer;
}

/* A segment of a compact JWS as JSON. */
static json_t *segment(const char *jws, int index)
{
    for (; index > 0; index--)
        jws = strchr(jws, '.') + 1;
    size_t size = 0;
    uint8_t *text = trust__base64url_decode(rpc_bytes_of(jws, strcspn(jws, ".")), &size);
    assert_non_null(text);
    json_t *json = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    assert_non_null(json);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text ? text : "(absent)";
}

static trust_token_claims token_claims(void)
{
    return (trust_token_claims){.issuer = "https://sims.example",
        .subject = "s",
        .audience = "https://dacm.example/",
        .client_id = "c",
        .scope = "seal.da",
        .issued_at = NOW,
        .lifetime_s = 300};
}

static void verified(
    const trust_signer *signer, const char *text, trust_issuer *issuer, trust_token **ret)
{
    char *jwks = trust_signer_public_jwks(signer);
    trust_keyring *ring = NULL;
    rpc_status status = {0};
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status), RPC_OK);
    issuer->issuer = "https://sims.example";
    issuer->keys = ring;
    rpc_code code = trust_token_verify(rpc_bytes_str(text), issuer, NOW, ret, &status);
    trust_keyring_unref(ring);
    free(jwks);
    if (code != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(rs256_token_is_one_that_is_taken)
{
    trust_signer *signer = signer_of(TRUST_ALG_RS256);
    const trust_token_claims claims = token_claims();
    trust_issuer issuer = {.audience = "https://dacm.example/", .algs = 1u << TRUST_ALG_RS256};
    trust_token *token = NULL;
    rpc_status status;
    char *text;
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_OK);
    json_t *header = segment(text, 0);
    assert_string_equal(text_of(header, "alg"), "RS256");
    assert_string_equal(text_of(header, "typ"), "at+jwt");
    verified(signer, text, &issuer, &token);
    assert_string_equal(token->subject, "s");
    assert_null(token->audience);
    json_decref(header);
    trust_token_unref(token);
    free(text);
    trust_signer_free(signer);
}

TEST(token_says_how_and_when_the_user_logged_in_and_has_the_jti_given)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA);
    trust_token_claims claims = token_claims();
    rpc_status status;
    char *text, jti[257];
    claims.acr = "3gpp:acr:password";
    claims.auth_time = NOW - 100;
    claims.jti = "chosen";
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_OK);
    json_t *read = segment(text, 1);
    assert_string_equal(text_of(read, "acr"), "3gpp:acr:password");
    assert_string_equal(text_of(read, "jti"), "chosen");
    assert_int_equal(json_integer_value(json_object_get(read, "auth_time")), NOW - 100);
    json_decref(read);
    free(text);
    memset(jti, 'j', 256);
    jti[256] = '\0';
    claims.jti = jti;
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.jti = "";
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    trust_signer_free(signer);
}

TEST(issuer_reads_its_own_tokens_whatever_their_audience)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA);
    const trust_token_claims claims = token_claims();
    trust_issuer issuer = {.any_audience = true};
    trust_token *token = NULL;
    rpc_status status;
    char *text;
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_OK);
    verified(signer, text, &issuer, &token);
    assert_string_equal(token->audience, "https://dacm.example/");
    trust_token_unref(token);
    free(text);
    trust_signer_free(signer);
}

/* ---- ID tokens ----------------------------------------------------------------------------- */

static trust_id_claims id_claims(void)
{
    return (trust_id_claims){.issuer = "https://sims.example",
        .subject = "s",
        .client_id = "c",
        .issued_at = NOW,
        .lifetime_s = 600,
        .auth_time = NOW - 5,
        .nonce = "n\"1",
        .acr = "3gpp:acr:password",
        .azp = "c",
        .access_token = "the access token"};
}

static json_t *minted(
    const trust_signer *signer, const trust_id_claims *claims, json_t **ret_header)
{
    rpc_status status;
    char *text;
    if (trust_id_token_mint(signer, claims, &text, &status) != RPC_OK)
        fail_msg("%s", status.message);
    json_t *read = segment(text, 1);
    *ret_header = segment(text, 0);
    free(text);
    return read;
}

TEST(id_token_has_the_claims_of_openid_connect)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA);
    const trust_id_claims claims = id_claims();
    json_t *header, *read = minted(signer, &claims, &header);
    assert_string_equal(text_of(header, "typ"), "JWT");
    assert_string_equal(text_of(header, "alg"), "EdDSA");
    assert_string_equal(text_of(header, "kid"), trust_signer_kid(signer));
    assert_string_equal(text_of(read, "iss"), "https://sims.example");
    assert_string_equal(text_of(read, "sub"), "s");
    assert_string_equal(text_of(read, "aud"), "c");
    assert_string_equal(text_of(read, "azp"), "c");
    assert_string_equal(text_of(read, "nonce"), "n\"1");
    assert_string_equal(text_of(read, "acr"), "3gpp:acr:password");
    assert_int_equal(json_integer_value(json_object_get(read, "iat")), NOW);
    assert_int_equal(json_integer_value(json_object_get(read, "exp")), NOW + 600);
    assert_int_equal(json_integer_value(json_object_get(read, "auth_time")), NOW - 5);
    /* printf 'the access token' | openssl dgst -sha512 -binary | head -c 32, in base64url */
    assert_string_equal(text_of(read, "at_hash"), "rJq7e2CTaULjAi2cpsvtkzpr3rW65IwDOQ6JhWhRCao");
    json_decref(read);
    json_decref(header);
    trust_signer_free(signer);
}

TEST(id_token_of_rs256_hashes_with_sha_256)
{
    trust_signer *signer = signer_of(TRUST_ALG_RS256);
    const trust_id_claims claims = id_claims();
    json_t *header, *read = minted(signer, &claims, &header);
    assert_string_equal(text_of(header, "alg"), "RS256");
    /* printf 'the access token' | openssl dgst -sha256 -binary | head -c 16, in base64url */
    assert_string_equal(text_of(read, "at_hash"), "8kJybPby-BwHrrSnx_oS4A");
    json_decref(read);
    json_decref(header);
    trust_signer_free(signer);
}

TEST(id_token_leaves_out_what_is_not_given)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA);
    const trust_id_claims claims = {.issuer = "https://sims.example",
        .subject = "s",
        .client_id = "c",
        .issued_at = NOW,
        .lifetime_s = 600};
    json_t *header, *read = minted(signer, &claims, &header);
    assert_int_equal(json_object_size(read), 5);
    json_decref(read);
    json_decref(header);
    trust_signer_free(signer);
}

TEST(id_token_is_no_access_token)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA);
    trust_id_claims claims = id_claims();
    trust_keyring *ring = NULL;
    trust_token *token = NULL;
    rpc_status status = {0};
    char *text, *jwks = trust_signer_public_jwks(signer);
    claims.client_id = "https://dacm.example/"; /* even for that audience */
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_OK);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status), RPC_OK);
    const trust_issuer issuer = {
        .issuer = "https://sims.example", .audience = "https://dacm.example/", .keys = ring};
    assert_int_equal(trust_token_verify(rpc_bytes_str(text), &issuer, NOW, &token, &status),
        RPC_UNAUTHENTICATED);
    assert_non_null(strstr(status.message, "typ"));
    trust_keyring_unref(ring);
    free(jwks);
    free(text);
    trust_signer_free(signer);
}

TEST(id_token_with_a_claim_missing_or_a_key_for_something_else_is_not_made)
{
    trust_signer *signer = signer_of(TRUST_ALG_EDDSA), *client;
    const trust_id_claims good = id_claims();
    trust_id_claims claims = good;
    rpc_status status;
    char *text = NULL, subject[257];
    claims.issuer = NULL;
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims = good;
    claims.client_id = NULL;
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims = good;
    claims.lifetime_s = 0;
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.lifetime_s = 86401;
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims = good;
    memset(subject, 's', 256);
    subject[256] = '\0';
    claims.subject = subject;
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    claims.subject = "\xff";
    assert_int_equal(trust_id_token_mint(signer, &claims, &text, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(trust_signer_generate(TRUST_FOR_CLIENTS, &client, &status), RPC_OK);
    assert_int_equal(trust_id_token_mint(client, &good, &text, &status), RPC_INVALID_ARGUMENT);
    assert_null(text);
    trust_signer_free(client);
    trust_signer_free(signer);
}
