/* SPDX-License-Identifier: Apache-2.0 */
/** Large memory that is had for a while. Private to rpc/. Any thread.
 *
 *  Of 64 KiB and more it is mapped: only the pages that were written cost memory, and all of them
 *  go back to the system at once, where malloc() would keep the hole between what is older and
 *  younger (20 kB a connection, measured). Mapping has a price: the system clears each page at its
 *  first use, which for a download was a seventh of the client's time. What comes and goes with
 *  every message is therefore kept for the next, a few of each kind in the process. */
#ifndef DACM_RPC_BLOCKS_H
#define DACM_RPC_BLOCKS_H

#include "base.h"

#include <pthread.h>

#define RPC__SPARES_MAX 8

/** Blocks of one size. A static object of its user; what it keeps is never given back. */
typedef struct rpc__spares {
    pthread_mutex_t lock;
    size_t block_bytes;
    unsigned count_max, count;
    uint8_t *waiting[RPC__SPARES_MAX];
} rpc__spares;

#define RPC__SPARES(block_bytes_, count_max_)                                                      \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .block_bytes = (block_bytes_),                          \
        .count_max = (count_max_)                                                                  \
    }

/** NULL: no memory. */
uint8_t *rpc__block_get(size_t size);
void rpc__block_put(uint8_t *block, size_t size);

/** A block of which at most size bytes, no more than block_bytes, will be used: under a sanitizer
 *  it has no more. What was in it may still be there. NULL: no memory. */
uint8_t *rpc__spares_get(rpc__spares *spares, size_t size);
/** keep: it may wait for the next; otherwise it goes back to the system. */
void rpc__spares_put(rpc__spares *spares, uint8_t *block, bool keep);

#endif
