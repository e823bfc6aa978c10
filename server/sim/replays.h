/* SPDX-License-Identifier: Apache-2.0 */
/** Client assertions that were used, so that none is used twice (RFC 7523 3, point 7). In memory,
 *  until they expire. Of those before a restart only the newest time of issue is kept, in a file:
 *  what was issued up to then is refused. Any thread. */
#ifndef SIM_REPLAYS_H
#define SIM_REPLAYS_H

#include "base.h"

#define SIM_REPLAYS_MAX        1048576u /* that have not expired; 16 bytes each */
#define SIM_REPLAYS_CLIENT_MAX 524288u  /* of these, of one client: others have the rest */

typedef struct sim_replays sim_replays;
/** file: where the time is kept; made at the first use. UNAVAILABLE: it cannot be read or opened;
 *  DATA_LOSS: it holds something else; RESOURCE_EXHAUSTED: memory. */
RPC_MUST_USE rpc_code sim_replays_open(const char *file, sim_replays **ret, rpc_status *reterr);
void sim_replays_close(sim_replays *replays);

/** Uses one up: a client's assertion jti, issued at and good until (seconds since 1970).
 *  ALREADY_EXISTS: it was used before, or may have been before the last start.
 *  RESOURCE_EXHAUSTED: SIM_REPLAYS_MAX of them, SIM_REPLAYS_CLIENT_MAX of this client, or memory.
 * UNAVAILABLE: the file cannot be written. */
RPC_MUST_USE rpc_code sim_replays_take(sim_replays *replays, const char *client_id, const char *jti,
    int64_t issued_at, int64_t expires_at, int64_t now, rpc_status *reterr);
/** How many are remembered. */
size_t sim_replays_count(sim_replays *replays);

#endif
