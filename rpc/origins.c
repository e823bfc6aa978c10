/* SPDX-License-Identifier: Apache-2.0 */
#include "origins.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS        1024u /* for 10,000 connections chains of ten at worst */
#define HOST_TEXT    64
#define PREFIX_BYTES 8

bool rpc__origins_init(rpc__origins *origins)
{
    origins->slots = calloc(SLOTS, sizeof(rpc__origin *));
    rpc_random(&origins->seed, sizeof origins->seed);
    return origins->slots != NULL;
}

void rpc__origins_done(rpc__origins *origins)
{
    free(origins->slots);
    origins->slots = NULL;
}

static void read_address(const char *text, uint8_t ret[16])
{
    char host[HOST_TEXT] = "";
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[' && colon && colon > text + 1;
    const char *from = bracketed ? text + 1 : text;
    size_t size = colon ? (size_t)(colon - from) - bracketed : 0;
    if (size < sizeof host)
        memcpy(host, from, size);
    memset(ret, 0, 16);
    if (inet_pton(AF_INET, host, ret + 12) == 1) {
        ret[10] = ret[11] = 0xFF;
        return;
    }
    if (inet_pton(AF_INET6, host, ret) != 1) {
        memset(ret, 0xFF, 16); /* no address of a network */
        return;
    }
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    if (memcmp(ret, mapped, sizeof mapped) != 0)
        memset(ret + PREFIX_BYTES, 0, 16 - PREFIX_BYTES);
}

/* Keyed, so that nobody can choose addresses of one slot. */
static rpc__origin **slot_of(const rpc__origins *origins, const uint8_t address[16])
{
    uint64_t words[2];
    memcpy(words, address, sizeof words);
    uint64_t hash = origins->seed;
    for (size_t i = 0; i < 2; i++) {
        hash = (hash ^ words[i]) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    return &origins->slots[hash % SLOTS];
}

rpc__origin *rpc__origins_get(rpc__origins *origins, const char *address)
{
    uint8_t key[16];
    read_address(address, key);
    rpc__origin **slot = slot_of(origins, key);
    for (rpc__origin *origin = *slot; origin; origin = origin->next)
        if (memcmp(origin->address, key, sizeof key) == 0)
            return origin;
    rpc__origin *origin = calloc(1, sizeof *origin);
    if (!origin)
        return NULL;
    memcpy(origin->address, key, sizeof key);
    origin->next = *slot;
    *slot = origin;
    return origin;
}

void rpc__origins_put(rpc__origins *origins, rpc__origin *origin)
{
    if (origin->connections > 0)
        return;
    rpc__origin **at = slot_of(origins, origin->address);
    while (*at != origin)
        at = &(*at)->next;
    *at = origin->next;
    free(origin);
}
