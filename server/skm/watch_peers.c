/* SPDX-License-Identifier: Apache-2.0 */
#include "watch_peers.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define SUBSCRIBER_BYTES 8u /* of an IPv6 address */

/* "127.0.0.1:40312" or "[::1]:40312"; what is neither is one caller. */
static void read_address(const char *text, uint8_t ret[32])
{
    char host[INET6_ADDRSTRLEN + 1];
    uint8_t address[16] = {0};
    const bool v6 = text[0] == '[';
    const char *from = text + v6, *to = strrchr(text, v6 ? ']' : ':');
    const size_t size = to && to > from ? (size_t)(to - from) : 0;
    if (size == 0 || size >= sizeof host)
        return;
    memcpy(host, from, size);
    host[size] = '\0';
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, address) == 1)
        memcpy(ret, address, v6 ? SUBSCRIBER_BYTES : sizeof(struct in_addr));
    ret[31] = v6 ? 6 : 4;
}

static skm_watch_peer **bucket_of(skm_watch_peers *peers, const uint8_t id[32])
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < 32; i++)
        hash = (hash ^ id[i]) * 16777619u;
    return &peers->buckets[(hash ^ hash >> 16) % SKM_WATCH_PEERS_BUCKETS];
}

skm_watch_peer *skm_watch_peers_get(skm_watch_peers *peers, const rpc_peer *caller)
{
    uint8_t id[32] = {0};
    if (caller->has_certificate)
        memcpy(id, caller->certificate_sha256, sizeof id);
    else
        read_address(caller->address, id);
    skm_watch_peer **bucket = bucket_of(peers, id);
    for (skm_watch_peer *peer = *bucket; peer; peer = peer->next)
        if (peer->certified == caller->has_certificate && memcmp(peer->id, id, sizeof id) == 0)
            return peer;
    skm_watch_peer *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    memcpy(made->id, id, sizeof id);
    made->certified = caller->has_certificate;
    made->next = *bucket;
    *bucket = made;
    return made;
}

void skm_watch_peers_put(skm_watch_peers *peers, skm_watch_peer *peer)
{
    if (!peer || peer->count > 0)
        return;
    skm_watch_peer **at = bucket_of(peers, peer->id);
    while (*at != peer)
        at = &(*at)->next;
    *at = peer->next;
    free(peer);
}
