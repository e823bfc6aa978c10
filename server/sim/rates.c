/* SPDX-License-Identifier: Apache-2.0 */
/* A table of 4-way sets. A name's set is chosen by a keyed hash, so nobody can aim at another's. */
#include "rates.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define WAYS 4u

/* Time at which the bucket is full again: now + what was taken. */
typedef struct bucket {
    uint64_t name; /* hash; 0 = free */
    int64_t full_ms;
} bucket;

struct sim_rates {
    pthread_mutex_t lock;
    const rpc_clock *clock;
    int64_t per_ms, depth_ms; /* depth: what a whole burst takes */
    uint8_t key[crypto_shorthash_KEYBYTES];
    size_t sets;
    bucket buckets[];
};

sim_rates *sim_rates_new(unsigned burst, int64_t per_ms, size_t names_max, const rpc_clock *clock)
{
    size_t sets = names_max / WAYS ? names_max / WAYS : 1;
    sim_rates *rates = calloc(1, sizeof *rates + sets * WAYS * sizeof *rates->buckets);
    if (!rates)
        return NULL;
    pthread_mutex_init(&rates->lock, NULL);
    rates->clock = clock;
    rates->per_ms = per_ms;
    rates->depth_ms = burst * per_ms;
    rates->sets = sets;
    randombytes_buf(rates->key, sizeof rates->key);
    return rates;
}

void sim_rates_free(sim_rates *rates)
{
    if (!rates)
        return;
    pthread_mutex_destroy(&rates->lock);
    free(rates);
}

static uint64_t hash_of(const sim_rates *rates, rpc_bytes name)
{
    uint64_t hash = 0;
    uint8_t bytes[crypto_shorthash_BYTES];
    crypto_shorthash(bytes, name.data, name.size, rates->key);
    memcpy(&hash, bytes, sizeof hash);
    return hash ? hash : 1;
}

/** The name's bucket, or the one of its set that is fullest again, now the name's. */
static bucket *bucket_of(sim_rates *rates, uint64_t name)
{
    bucket *set = &rates->buckets[name % rates->sets * WAYS];
    bucket *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].name == name)
            return &set[i];
        if (set[i].full_ms < oldest->full_ms)
            oldest = &set[i];
    }
    *oldest = (bucket){.name = name};
    return oldest;
}

/* When the bucket is full again after one more try; false when there is none left. */
static bool one_more(
    const sim_rates *rates, int64_t full_ms, int64_t now, int64_t *ret_full, unsigned *ret_retry_s)
{
    *ret_full = (full_ms > now ? full_ms : now) + rates->per_ms;
    if (*ret_full - now <= rates->depth_ms)
        return true;
    *ret_retry_s = (unsigned)((*ret_full - now - rates->depth_ms + 999) / 1000);
    return false;
}

bool sim_rates_take(sim_rates *rates, rpc_bytes name, unsigned *ret_retry_s)
{
    int64_t now = rpc_clock_monotonic_us(rates->clock) / 1000, full = 0;
    uint64_t hash = hash_of(rates, name);
    pthread_mutex_lock(&rates->lock);
    bucket *b = bucket_of(rates, hash);
    bool taken = one_more(rates, b->full_ms, now, &full, ret_retry_s);
    if (taken)
        b->full_ms = full;
    pthread_mutex_unlock(&rates->lock);
    return taken;
}

bool sim_rates_used_up(sim_rates *rates, rpc_bytes name, unsigned *ret_retry_s)
{
    int64_t now = rpc_clock_monotonic_us(rates->clock) / 1000, full = 0;
    uint64_t hash = hash_of(rates, name);
    pthread_mutex_lock(&rates->lock);
    const bucket *set = &rates->buckets[hash % rates->sets * WAYS];
    bool used_up = false;
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].name == hash)
            used_up = !one_more(rates, set[i].full_ms, now, &full, ret_retry_s);
    pthread_mutex_unlock(&rates->lock);
    return used_up;
}

void sim_rates_give(sim_rates *rates, rpc_bytes name)
{
    uint64_t hash = hash_of(rates, name);
    pthread_mutex_lock(&rates->lock);
    bucket_of(rates, hash)->full_ms -= rates->per_ms;
    pthread_mutex_unlock(&rates->lock);
}

void sim_rates_network(const char *address, char ret[SIM_NETWORK_MAX])
{
    struct in6_addr all, network = {0};
    _Static_assert(SIM_NETWORK_MAX >= INET6_ADDRSTRLEN, "each has room");
    if (inet_pton(AF_INET6, address, &all) == 1) {
        memcpy(&network, &all, 8);
        inet_ntop(AF_INET6, &network, ret, SIM_NETWORK_MAX);
    } else {
        snprintf(ret, SIM_NETWORK_MAX, "%s", address);
    }
}
