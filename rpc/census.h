/* SPDX-License-Identifier: Apache-2.0 */
/** What a runtime has: servers, listeners, channels, subchannels and connections, each with an ID
 *  that is never used again, in the order of their making. For statistics and channelz. Private to
 *  rpc/.
 *
 *  LOCKS  The census' lock comes before channel->lock and takes no other; it is taken when
 *         something is made or ends and by readers, never for a call. What an entry's object
 *         shows to readers is constant, atomic or under channel->lock. */
#ifndef DACM_RPC_CENSUS_H
#define DACM_RPC_CENSUS_H

#include "rpc.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum rpc__census_kind {
    RPC__CENSUS_SERVER,
    RPC__CENSUS_LISTENER,
    RPC__CENSUS_CHANNEL,
    RPC__CENSUS_SUBCHANNEL,
    RPC__CENSUS_CONNECTION,
    RPC__CENSUS_KINDS
} rpc__census_kind;

/** A part of the object that it stands for; all zero while not entered. */
typedef struct rpc__census_entry {
    struct rpc__census_entry *next, *prev;
    uint64_t id;
    rpc__census_kind kind;
    void *object;
    const void *owner; /* of listeners and connections the server or subchannel, of those the
                        * channel */
} rpc__census_entry;

typedef struct rpc__census {
    pthread_mutex_t lock;
    rpc__census_entry *first[RPC__CENSUS_KINDS], *last[RPC__CENSUS_KINDS];
    uint64_t last_id;
} rpc__census;

void rpc__census_init(rpc__census *census);
void rpc__census_done(rpc__census *census);
rpc__census *rpc__runtime_census(rpc_runtime *runtime);
void rpc__census_enter(rpc__census *census, rpc__census_entry *entry, rpc__census_kind kind,
    void *object, const void *owner);
/** Nothing where it was not entered. Afterwards no reader looks at the object. */
void rpc__census_leave(rpc__census *census, rpc__census_entry *entry);
/** (lock) The first of owner (NULL: anybody) with an ID of at least id; NULL: none. */
rpc__census_entry *rpc__census_from(
    const rpc__census *census, rpc__census_kind kind, const void *owner, uint64_t id);
/** (lock) The next of the same owner. */
rpc__census_entry *rpc__census_next(const rpc__census_entry *entry, const void *owner);

/** What a connection has done, for readers on other threads; written on its strand only. */
typedef struct rpc__tally {
    atomic_uint_least64_t streams_started, streams_succeeded, streams_failed;
    atomic_uint_least64_t messages_received, messages_sent, bytes_received, bytes_sent;
    atomic_uint_least64_t keepalives_sent;
    _Atomic int64_t last_stream_us, last_received_us, last_sent_us;
    _Atomic(const char *) cipher; /* set once the peer's certificate is known */
} rpc__tally;

/** One writer: no locked instruction. */
static inline void rpc__tally_add(atomic_uint_least64_t *count, uint64_t more)
{
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + more, memory_order_relaxed);
}
static inline void rpc__tally_time(_Atomic int64_t *time, int64_t now_us)
{
    atomic_store_explicit(time, now_us, memory_order_relaxed);
}

#endif
