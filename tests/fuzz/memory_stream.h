/* SPDX-License-Identifier: Apache-2.0 */
/** rpc/stream.h over bytes in memory, linked in place of nng's: one listener, one connection at
 *  a time, whose peer sends what it was given and then closes, and takes all that is written. */
#ifndef DACM_MEMORY_STREAM_H
#define DACM_MEMORY_STREAM_H

#include "base.h"

/** Connects to the listener, which is there, and waits until the connection is gone.
 *  pieces      sent one after the other; borrowed until return
 *  chunk_max   the most that one read gives, 0 = all that was asked for */
void memory_stream_run(const rpc_bytes *pieces, size_t piece_count, size_t chunk_max);

#endif
