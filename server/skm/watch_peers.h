/* SPDX-License-Identifier: Apache-2.0 */
/** Who watches keys, and how often: a certificate, or without one an address (of IPv6: a /64).
 *  For one thread at a time. */
#ifndef SKM_WATCH_PEERS_H
#define SKM_WATCH_PEERS_H

#include "rpc.h"

#define SKM_WATCH_PEERS_BUCKETS 256u

typedef struct skm_watch_peer {
    uint8_t id[32];
    bool certified;
    size_t count; /* of its calls */
    struct skm_watch_peer *next;
} skm_watch_peer;

/** Zero before. */
typedef struct skm_watch_peers {
    skm_watch_peer *buckets[SKM_WATCH_PEERS_BUCKETS];
} skm_watch_peers;

/** Who calls, made where it was not there; NULL without memory. With put(), who has no call is
 *  forgotten. */
skm_watch_peer *skm_watch_peers_get(skm_watch_peers *peers, const rpc_peer *caller);
void skm_watch_peers_put(skm_watch_peers *peers, skm_watch_peer *peer);

#endif
