/* SPDX-License-Identifier: Apache-2.0 */
/** rpc/stream.h over bytes in memory, linked in place of nng's, on inline_runtime.h: one listener,
 *  one connection at a time, accepted or dialled, whose peer sends what it was given. */
#ifndef DACM_MEMORY_STREAM_H
#define DACM_MEMORY_STREAM_H

#include "base.h"

typedef struct memory_peer {
    const rpc_bytes *pieces; /* sent one after the other */
    size_t piece_count;
    size_t chunk_max;  /* the most that one read gives, 0 = all that was asked for */
    bool stays;        /* falls silent after its last byte instead of closing */
    bool reads_little; /* takes the first write only */
} memory_peer;

/** Connects to the listener, which is there, and lets time pass until the connection is gone.
 *  peer is borrowed until return. */
void memory_stream_accept(const memory_peer *peer);
/** Each dialling reaches the next of these, then nobody; borrowed until the next set. */
void memory_stream_set_peers(const memory_peer *peers, size_t count);

#endif
