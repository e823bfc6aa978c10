/* SPDX-License-Identifier: Apache-2.0 */
/** The last decisions in memory, so that `dacm explain` answers at once: a ring of fixed size for
 *  refusals and another for everything else, so that a flood of one kind does not push out the
 *  other. Any thread. Holds pseudonyms, never a GPSI. */
#ifndef DACM_RING_H
#define DACM_RING_H

#include "base.h"

#define DACM_REQUEST_ID_CHARS 26u /* as server/host makes them */

typedef struct dacm_explanation {
    char request_id[DACM_REQUEST_ID_CHARS + 1];
    int64_t time_ms; /* since 1970 */
    rpc_code outcome;
    const char *method; /* static */
    const char *reason; /* static: short name of the step that decided */
    const char *detail; /* static: what it means and what to do */
    char asset_id[129];
    char subject[33]; /* pseudonyms */
    char user[33];
    char fault[192]; /* what exactly was wrong with the token; no part of it */
} dacm_explanation;

typedef struct dacm_ring dacm_ring;

/** Room for entries explanations of each kind. NULL when memory is short. */
RPC_MUST_USE dacm_ring *dacm_ring_new(size_t entries);
void dacm_ring_free(dacm_ring *ring);
void dacm_ring_put(dacm_ring *ring, const dacm_explanation *explanation);
/** False when it was never there or was pushed out. */
bool dacm_ring_find(dacm_ring *ring, const char *request_id, dacm_explanation *ret);

#endif
