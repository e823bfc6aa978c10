/* SPDX-License-Identifier: Apache-2.0 */
/** Our client against a server of bytes in memory: a channel, its calls and all that comes of
 *  them, until nothing is left. */
#ifndef DACM_FUZZ_CLIENT_H
#define DACM_FUZZ_CLIENT_H

#include "memory_stream.h"
#include "rpc.h"

/** Three calls at once: Check (unary, idempotent, by the stub), Watch (a message, half-closed,
 *  with a deadline) and a call of both directions whose side stays open. Time passes until all
 *  have ended; MUST: each ends once, with a status that may be shown, and no timer, stream or
 *  memory is left.
 *  peers  what the first connections reach; later ones reach nobody
 *  on_end of the second, with the call still there; may be NULL */
void fuzz_client_run(const memory_peer *peers, size_t count,
    void (*on_end)(rpc_call *call, const rpc_status *status, void *ctx), void *ctx);

#endif
