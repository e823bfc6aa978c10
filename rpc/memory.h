/* SPDX-License-Identifier: Apache-2.0 */
/** What the connections and calls of one server hold, in bytes. Private to rpc/. Any thread.
 *
 *  It is an account and no allocator: buffers, messages, arenas and calls are charged here by
 *  those who hold them. Over the limit no new call is taken (rpc__memory_over); those running may
 *  take an eighth more, and are refused beyond that (rpc__memory_take); what must happen so that
 *  they can end is only counted (rpc__memory_add). */
#ifndef DACM_RPC_MEMORY_H
#define DACM_RPC_MEMORY_H

#include "base.h"

typedef struct rpc__memory rpc__memory; /* reference-counted: a message may outlive its server */

/** NULL: no memory. */
rpc__memory *rpc__memory_new(size_t bytes_max);
rpc__memory *rpc__memory_ref(rpc__memory *memory);
void rpc__memory_unref(rpc__memory *memory);

/** All of these take NULL (a channel's): nothing is counted, nothing is refused. */
RPC_MUST_USE bool rpc__memory_take(rpc__memory *memory, size_t bytes);
void rpc__memory_add(rpc__memory *memory, size_t bytes);
void rpc__memory_give(rpc__memory *memory, size_t bytes);
size_t rpc__memory_used(const rpc__memory *memory);
/** As much is used as the limit and so many eighths of it more. */
bool rpc__memory_over(const rpc__memory *memory, unsigned eighths_more);

/** The account as an arena asks it. */
rpc_arena_meter rpc__memory_meter(rpc__memory *memory);

#endif
