/* SPDX-License-Identifier: Apache-2.0 */
/* A token with 20 users, verified whole as if it had never been seen, beside libsodium's bare
 * check of the same signature, by turns. One JSON object a round.
 *
 *   cold_tokens ROUNDS */
#include "trust.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USERS  20u
#define TIMES  2000u
#define ISSUED 1790000000
#define ASSET  "ava-0123456789abcdef"

static int64_t now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "cold_tokens: %s failed\n", what);
    exit(1);
}

static void mint(const trust_signer *signer, char **ret)
{
    static char names[USERS][32];
    const char *profile[USERS + 1] = {NULL};
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(names[i], sizeof names[i], "msisdn-49151%08u", i);
        profile[i] = names[i];
    }
    const trust_token_claims claims = {.issuer = "https://sims.example",
        .subject = "alice",
        .audience = "https://dacm.example/",
        .client_id = "val-client",
        .scope = "seal.da",
        .issued_at = ISSUED,
        .lifetime_s = 300,
        .asset_id = ASSET,
        .actions = (const char *const[]){"get", NULL},
        .gpsis = (const char *const[]){names[0], NULL},
        .profile = profile};
    rpc_status status;
    must(trust_token_mint(signer, &claims, ret, &status) == RPC_OK, "minting");
}

static double verify_per_s(const char *token, const trust_issuer *issuer)
{
    int64_t begin = now_us();
    for (unsigned i = 0; i < TIMES; i++) {
        trust_token *verified = NULL;
        rpc_status status;
        must(trust_token_verify(rpc_bytes_str(token), issuer, ISSUED, &verified, &status) == RPC_OK,
            "verifying");
        trust_token_unref(verified);
    }
    return TIMES / ((double)(now_us() - begin) / 1e6);
}

static double libsodium_per_s(size_t size)
{
    uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    uint8_t signature[crypto_sign_BYTES], message[4096];
    must(size <= sizeof message, "a message of the token's size");
    memset(message, 'x', size);
    crypto_sign_keypair(public, secret);
    crypto_sign_detached(signature, NULL, message, size, secret);
    int64_t begin = now_us();
    for (unsigned i = 0; i < TIMES; i++)
        must(crypto_sign_verify_detached(signature, message, size, public) == 0, "libsodium");
    return TIMES / ((double)(now_us() - begin) / 1e6);
}

int main(int argc, char **argv)
{
    must(argc == 2 && sodium_init() >= 0, "starting (usage: cold_tokens ROUNDS)");
    trust_signer *signer = NULL;
    trust_keyring *ring = NULL;
    rpc_status status;
    must(trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status) == RPC_OK, "making a key");
    char *jwks = trust_signer_public_jwks(signer), *token = NULL;
    mint(signer, &token);
    must(jwks && trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 1, &ring, &status) ==
                     RPC_OK,
        "the key set");
    const trust_issuer issuer = {
        .issuer = "https://sims.example", .audience = "https://dacm.example/", .keys = ring};
    const size_t size = (size_t)(strrchr(token, '.') - token);
    for (unsigned long i = strtoul(argv[1], NULL, 10); i > 0; i--) {
        double bare = i % 2 ? libsodium_per_s(size) : 0;
        double whole = verify_per_s(token, &issuer);
        bare = bare > 0 ? bare : libsodium_per_s(size);
        printf("{\"verify_per_s\": %.1f, \"libsodium_per_s\": %.1f}\n", whole, bare);
    }
    free(token);
    free(jwks);
    trust_keyring_unref(ring);
    trust_signer_free(signer);
    return 0;
}
