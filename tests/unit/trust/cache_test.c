/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of verified tokens: found only for what still holds, and never beyond its bounds. */
#include "test.h"
#include "trust.h"

#include <pthread.h>

#define NOW      1790000000
#define LIFETIME 300
#define BYTES    (16u << 20)

static trust_signer *signer;
static char *jwks;
static trust_keyring *ring;
static trust_issuer issuer;

static void start(void)
{
    rpc_status status;
    if (signer)
        return;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &signer, &status), RPC_OK);
    jwks = trust_signer_public_jwks(signer);
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 7, &ring, &status), RPC_OK);
    issuer = (trust_issuer){
        .issuer = "https://sims.example", .audience = "https://dacm.example/", .keys = ring};
}

static void drop(void)
{
    trust_keyring_unref(ring);
    trust_signer_free(signer);
    free(jwks);
    signer = NULL;
    ring = NULL;
    jwks = NULL;
}

/* A verified token whose subject is made of number, and its digest. */
static trust_token *make_token(unsigned number, uint8_t ret_sha256[32])
{
    char subject[32], *text;
    rpc_status status;
    trust_token *token;
    snprintf(subject, sizeof subject, "user-%u", number);
    trust_token_claims claims = {.issuer = issuer.issuer,
        .subject = subject,
        .audience = issuer.audience,
        .client_id = "c",
        .scope = "seal.da",
        .issued_at = NOW,
        .lifetime_s = LIFETIME};
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_OK);
    trust_sha256(rpc_bytes_str(text), ret_sha256);
    if (trust_token_verify(rpc_bytes_str(text), &issuer, NOW, &token, &status) != RPC_OK)
        fail_msg("%s", status.message);
    free(text);
    return token;
}

static bool found(trust_token_cache *cache, const uint8_t sha256[32], const trust_issuer *issuers,
    size_t count, int64_t now)
{
    trust_token *token = trust_token_cache_find(cache, sha256, issuers, count, now);
    trust_token_unref(token);
    return token != NULL;
}

/* A digest of our own choice: entries need not be digests of tokens for the cache to keep them. */
static void digest_of(unsigned number, uint8_t ret[32])
{
    trust_sha256(rpc_bytes_of((const uint8_t *)&number, sizeof number), ret);
}

TEST(token_cache_gives_the_very_token_with_a_reference)
{
    start();
    trust_token_cache *cache = trust_token_cache_new(100, BYTES);
    uint8_t sha256[32], other[32];
    trust_token *token = make_token(1, sha256);
    digest_of(1, other);
    assert_false(found(cache, sha256, &issuer, 1, NOW));
    trust_token_cache_put(cache, sha256, token, &issuer);
    trust_token *again = trust_token_cache_find(cache, sha256, &issuer, 1, NOW);
    assert_ptr_equal(again, token);
    assert_false(found(cache, other, &issuer, 1, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
    assert_string_equal(again->subject, "user-1"); /* outlives the cache */
    trust_token_unref(again);
    drop();
}

TEST(token_cache_digest_differs_in_any_byte_is_not_found)
{
    start();
    trust_token_cache *cache = trust_token_cache_new(1, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    for (size_t i = 0; i < 32; i++) {
        sha256[i] ^= 0x10;
        assert_false(found(cache, sha256, &issuer, 1, NOW));
        sha256[i] ^= 0x10;
    }
    assert_true(found(cache, sha256, &issuer, 1, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

/* Found as put, but not under changed; and what does not count any more is gone for good. */
static void not_found_under(const trust_issuer *changed)
{
    trust_token_cache *cache = trust_token_cache_new(100, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    assert_true(found(cache, sha256, &issuer, 1, NOW));
    assert_false(found(cache, sha256, changed, 1, NOW));
    assert_false(found(cache, sha256, &issuer, 1, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
}

TEST(token_cache_finds_nothing_of_an_issuer_that_is_not_configured_any_more)
{
    start();
    trust_issuer changed = issuer;
    changed.issuer = "https://other.example";
    not_found_under(&changed);
    trust_token_cache *cache = trust_token_cache_new(100, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    assert_false(found(cache, sha256, NULL, 0, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_finds_nothing_verified_for_another_audience)
{
    start();
    trust_issuer changed = issuer;
    changed.audience = "https://dacm2.example/";
    not_found_under(&changed);
    drop();
}

TEST(token_cache_finds_nothing_verified_with_other_keys)
{
    start();
    rpc_status status;
    trust_keyring *newer;
    assert_int_equal(
        trust_keyring_parse(rpc_bytes_str(jwks), TRUST_FOR_TOKENS, 8, &newer, &status), RPC_OK);
    trust_issuer changed = issuer;
    changed.keys = newer;
    not_found_under(&changed);
    trust_keyring_unref(newer);
    drop();
}

TEST(token_cache_finds_the_issuer_among_many)
{
    start();
    trust_token_cache *cache = trust_token_cache_new(100, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    trust_issuer issuers[3] = {issuer, issuer, issuer};
    issuers[0].issuer = "https://a.example";
    issuers[1].issuer = "https://b.example";
    assert_true(found(cache, sha256, issuers, 3, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_finds_a_token_until_it_expires_and_not_after)
{
    start();
    trust_token_cache *cache = trust_token_cache_new(100, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    assert_true(found(cache, sha256, &issuer, 1, NOW + LIFETIME + TRUST_SKEW_S));
    assert_false(found(cache, sha256, &issuer, 1, NOW + LIFETIME + TRUST_SKEW_S + 1));
    assert_false(found(cache, sha256, &issuer, 1, NOW)); /* was dropped */
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_keeps_no_more_entries_than_it_was_made_for)
{
    enum { ENTRIES = 64, PUT = 5000 };
    start();
    trust_token_cache *cache = trust_token_cache_new(ENTRIES, BYTES);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    size_t kept = 0;
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        trust_token_cache_put(cache, sha256, token, &issuer);
        assert_true(found(cache, sha256, &issuer, 1, NOW)); /* the newest always fits */
    }
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        kept += found(cache, sha256, &issuer, 1, NOW);
    }
    assert_true(kept >= ENTRIES / 2);
    assert_true(kept <= 2 * ENTRIES); /* rounded up to whole sets of each shard */
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_keeps_what_is_asked_for_and_drops_what_is_not)
{
    enum { PUT = 5000 };
    start();
    trust_token_cache *cache = trust_token_cache_new(64, BYTES);
    uint8_t wanted[32], sha256[32];
    trust_token *token = make_token(1, wanted);
    trust_token_cache_put(cache, wanted, token, &issuer);
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        trust_token_cache_put(cache, sha256, token, &issuer);
        assert_true(found(cache, wanted, &issuer, 1, NOW));
    }
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_keeps_no_more_bytes_than_it_was_made_for)
{
    enum { PUT = 2000, TOKEN_BYTES_LEAST = 256, BUDGET = 256 << 10 };
    start();
    trust_token_cache *cache = trust_token_cache_new(100000, BUDGET);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    size_t kept = 0;
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        trust_token_cache_put(cache, sha256, token, &issuer);
        assert_true(found(cache, sha256, &issuer, 1, NOW));
    }
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        kept += found(cache, sha256, &issuer, 1, NOW);
    }
    assert_true(kept > 0);
    assert_true(kept <= BUDGET / TOKEN_BYTES_LEAST); /* a token takes more than that */
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

/* As users have them: a list of a few, not of as many as a token can name. */
TEST(token_cache_charges_a_token_what_is_in_it)
{
    enum { PUT = 4000 };
    static const char *const users[] = {"msisdn-4915100000001", "msisdn-4915100000002", NULL};
    static const char *const actions[] = {"get", NULL};
    start();
    const trust_token_claims claims = {.issuer = issuer.issuer,
        .subject = "alice",
        .audience = issuer.audience,
        .client_id = "c",
        .scope = "seal.da",
        .issued_at = NOW,
        .lifetime_s = LIFETIME,
        .asset_id = "a",
        .actions = actions,
        .gpsis = users,
        .profile = users};
    char *text = NULL;
    rpc_status status;
    trust_token *token;
    assert_int_equal(trust_token_mint(signer, &claims, &text, &status), RPC_OK);
    assert_int_equal(
        trust_token_verify(rpc_bytes_str(text), &issuer, NOW, &token, &status), RPC_OK);
    trust_token_cache *cache = trust_token_cache_new(65536, BYTES);
    uint8_t sha256[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        trust_token_cache_put(cache, sha256, token, &issuer);
    }
    for (unsigned i = 0; i < PUT; i++) {
        digest_of(i, sha256);
        kept += found(cache, sha256, &issuer, 1, NOW);
    }
    assert_in_range(kept, PUT - 10, PUT); /* two may want the same place */
    trust_token_unref(token);
    trust_token_cache_free(cache);
    free(text);
    drop();
}

TEST(token_cache_without_room_for_a_token_keeps_none)
{
    start();
    trust_token_cache *cache = trust_token_cache_new(100, 64);
    uint8_t sha256[32];
    trust_token *token = make_token(1, sha256);
    trust_token_cache_put(cache, sha256, token, &issuer);
    assert_false(found(cache, sha256, &issuer, 1, NOW));
    trust_token_unref(token);
    trust_token_cache_free(cache);
    drop();
}

TEST(token_cache_put_again_replaces_and_does_not_grow)
{
    enum { BUDGET = 128 << 10, PUT = 10000 };
    start();
    trust_token_cache *cache = trust_token_cache_new(1000, BUDGET);
    uint8_t one[32], two[32];
    trust_token *token = make_token(1, one), *other = make_token(2, two);
    for (unsigned i = 0; i < PUT; i++)
        trust_token_cache_put(cache, one, i % 2 ? other : token, &issuer);
    trust_token *last = trust_token_cache_find(cache, one, &issuer, 1, NOW);
    assert_ptr_equal(last, other);
    trust_token_unref(last);
    /* Had its bytes been counted each time, nothing would fit beside it. */
    two[0] = one[0];
    memset(two + 8, 0, 8);
    memset(one + 8, 1, 8);
    trust_token_cache_put(cache, one, token, &issuer);
    trust_token_cache_put(cache, two, other, &issuer);
    assert_true(found(cache, one, &issuer, 1, NOW) && found(cache, two, &issuer, 1, NOW));
    trust_token_unref(token);
    trust_token_unref(other);
    trust_token_cache_free(cache);
    drop();
}

/* ---- threads ------------------------------------------------------------------------------------
 */

enum { THREADS = 8, TOKENS = 32, ROUNDS = 20000 };

typedef struct shared {
    trust_token_cache *cache;
    trust_token *tokens[TOKENS];
    uint8_t sha256[TOKENS][32];
} shared;

typedef struct worker {
    shared *all;
    unsigned number;
    unsigned wrong, hits;
} worker;

static void *work(void *arg)
{
    worker *own = arg;
    uint32_t random = own->number + 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        unsigned at = random >> 16 & (TOKENS - 1);
        int64_t now = random >> 24 == 0 ? NOW + 10000 : NOW; /* drops it now and then */
        trust_token *token = trust_token_cache_find(
            own->all->cache, own->all->sha256[at], &issuer, 1, now);
        if (token) {
            char subject[32];
            snprintf(subject, sizeof subject, "user-%u", at);
            own->wrong += strcmp(token->subject, subject) != 0 || now != NOW;
            own->hits++;
            trust_token_unref(token);
        } else
            trust_token_cache_put(
                own->all->cache, own->all->sha256[at], own->all->tokens[at], &issuer);
    }
    return NULL;
}

TEST(token_cache_serves_many_threads_at_once)
{
    start();
    shared all = {.cache = trust_token_cache_new(16, 256 << 10)};
    worker workers[THREADS];
    pthread_t threads[THREADS];
    unsigned hits = 0;
    for (unsigned i = 0; i < TOKENS; i++)
        all.tokens[i] = make_token(i, all.sha256[i]);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.all = &all, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
        hits += workers[i].hits;
    }
    assert_true(hits > 0);
    trust_token_cache_free(all.cache);
    for (unsigned i = 0; i < TOKENS; i++)
        trust_token_unref(all.tokens[i]); /* the sanitizers tell when a reference is lost */
    drop();
}
