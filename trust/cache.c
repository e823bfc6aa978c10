/* SPDX-License-Identifier: Apache-2.0 */
/* Verified tokens by digest: 16 shards with a lock each, sets of four in a shard. A digest is a
 * hash already, so its bytes choose shard and set. */
#include "trust_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SHARDS 16u
#define WAYS   4u

struct entry {
    uint8_t sha256[32];
    trust_token *token; /* NULL = free */
    size_t bytes;
    uint64_t audience_hash, used;
};

struct shard {
    pthread_mutex_t lock;
    uint64_t tick;
    size_t bytes;
    struct entry *entries; /* sets × WAYS */
};

struct trust_token_cache {
    size_t sets, shard_bytes_max;
    struct shard shards[SHARDS];
};

void trust_sha256(rpc_bytes bytes, uint8_t ret[32])
{
    /* With SHA extensions OpenSSL is eight times as fast as libsodium; it cannot fail here. */
    EVP_Digest(bytes.data, bytes.size, ret, NULL, EVP_sha256(), NULL);
}

/* Which audience a token was verified for: configuration may change under the cache. */
static uint64_t audience_hash(const char *audience)
{
    uint64_t hash = 14695981039346656037u;
    for (; *audience; audience++)
        hash = (hash ^ (uint8_t)*audience) * 1099511628211u;
    return hash;
}

trust_token_cache *trust_token_cache_new(size_t entries, size_t bytes_max)
{
    trust_token_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->sets = entries / SHARDS / WAYS + 1;
    cache->shard_bytes_max = bytes_max / SHARDS;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
        cache->shards[i].entries = calloc(cache->sets * WAYS, sizeof(struct entry));
    }
    for (size_t i = 0; i < SHARDS; i++)
        if (!cache->shards[i].entries) {
            trust_token_cache_free(cache);
            return NULL;
        }
    return cache;
}

static void entry_drop(struct shard *shard, struct entry *entry)
{
    trust_token_unref(entry->token);
    shard->bytes -= entry->bytes;
    *entry = (struct entry){0};
}

void trust_token_cache_free(trust_token_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        for (size_t j = 0; shard->entries && j < cache->sets * WAYS; j++)
            entry_drop(shard, &shard->entries[j]);
        free(shard->entries);
        pthread_mutex_destroy(&shard->lock);
    }
    free(cache);
}

static struct shard *shard_of(trust_token_cache *cache, const uint8_t sha256[32])
{
    return &cache->shards[sha256[0] % SHARDS];
}

static struct entry *set_of(
    const trust_token_cache *cache, const struct shard *shard, const uint8_t sha256[32])
{
    uint64_t bits;
    memcpy(&bits, sha256 + 8, sizeof bits);
    return shard->entries + bits % cache->sets * WAYS;
}

static bool still_counts(
    const struct entry *entry, const trust_issuer *issuers, size_t count, int64_t now)
{
    const trust_token *token = entry->token;
    for (size_t i = 0; i < count; i++)
        if (strcmp(issuers[i].issuer, token->issuer) == 0)
            return token->key_version == trust_keyring_version(issuers[i].keys) &&
                   entry->audience_hash == audience_hash(issuers[i].audience) &&
                   now <= token->expires_at + TRUST_SKEW_S;
    return false;
}

trust_token *trust_token_cache_find(trust_token_cache *cache, const uint8_t sha256[32],
    const trust_issuer *issuers, size_t issuer_count, int64_t now)
{
    struct shard *shard = shard_of(cache, sha256);
    struct entry *set = set_of(cache, shard, sha256);
    trust_token *found = NULL;
    pthread_mutex_lock(&shard->lock);
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *entry = &set[i];
        if (!entry->token || memcmp(entry->sha256, sha256, 32) != 0)
            continue;
        if (still_counts(entry, issuers, issuer_count, now)) {
            entry->used = ++shard->tick;
            found = trust_token_ref(entry->token);
        } else
            entry_drop(shard, entry);
        break;
    }
    pthread_mutex_unlock(&shard->lock);
    return found;
}

/* The same digest, a free place, or whatever was not asked for longest. */
static struct entry *place(struct entry *set, const uint8_t sha256[32])
{
    struct entry *best = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *entry = &set[i];
        if (entry->token && memcmp(entry->sha256, sha256, 32) == 0)
            return entry;
        if (best->token && (!entry->token || entry->used < best->used))
            best = entry;
    }
    return best;
}

/* Large tokens could fill the budget with what nobody will ask for again. */
static void drop_until_it_fits(trust_token_cache *cache, struct shard *shard, size_t bytes)
{
    for (size_t i = 0; shard->bytes + bytes > cache->shard_bytes_max && i < cache->sets * WAYS; i++)
        if (shard->entries[i].token)
            entry_drop(shard, &shard->entries[i]);
}

void trust_token_cache_put(trust_token_cache *cache, const uint8_t sha256[32], trust_token *token,
    const trust_issuer *issuer)
{
    size_t bytes = trust__token_bytes(token);
    if (bytes > cache->shard_bytes_max)
        return;
    struct shard *shard = shard_of(cache, sha256);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = place(set_of(cache, shard, sha256), sha256);
    if (entry->token)
        entry_drop(shard, entry);
    drop_until_it_fits(cache, shard, bytes);
    memcpy(entry->sha256, sha256, 32);
    entry->token = trust_token_ref(token);
    entry->bytes = bytes;
    entry->audience_hash = audience_hash(issuer->audience);
    entry->used = ++shard->tick;
    shard->bytes += bytes;
    pthread_mutex_unlock(&shard->lock);
}
