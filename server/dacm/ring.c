/* SPDX-License-Identifier: Apache-2.0 */
/* One mutex guards both rings; it is held for the copy of one entry, or for a search that only
 * the operator asks for. */
#include "ring.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct lane {
    dacm_explanation *entries;
    size_t next, count;
};

struct dacm_ring {
    pthread_mutex_t lock;
    size_t size;
    struct lane refused, other;
};

dacm_ring *dacm_ring_new(size_t entries)
{
    dacm_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    pthread_mutex_init(&ring->lock, NULL);
    ring->size = entries;
    ring->refused.entries = calloc(entries, sizeof(dacm_explanation));
    ring->other.entries = calloc(entries, sizeof(dacm_explanation));
    if (ring->refused.entries && ring->other.entries)
        return ring;
    dacm_ring_free(ring);
    return NULL;
}

void dacm_ring_free(dacm_ring *ring)
{
    if (!ring)
        return;
    pthread_mutex_destroy(&ring->lock);
    free(ring->refused.entries);
    free(ring->other.entries);
    free(ring);
}

void dacm_ring_put(dacm_ring *ring, const dacm_explanation *explanation)
{
    struct lane *lane = explanation->outcome == RPC_OK ? &ring->other : &ring->refused;
    pthread_mutex_lock(&ring->lock);
    lane->entries[lane->next] = *explanation;
    lane->next = (lane->next + 1) % ring->size;
    if (lane->count < ring->size)
        lane->count++;
    pthread_mutex_unlock(&ring->lock);
}

static const dacm_explanation *search(const struct lane *lane, const char *request_id)
{
    for (size_t i = 0; i < lane->count; i++)
        if (strcmp(lane->entries[i].request_id, request_id) == 0)
            return &lane->entries[i];
    return NULL;
}

bool dacm_ring_find(dacm_ring *ring, const char *request_id, dacm_explanation *ret)
{
    pthread_mutex_lock(&ring->lock);
    const dacm_explanation *found = search(&ring->refused, request_id);
    if (!found)
        found = search(&ring->other, request_id);
    if (found)
        *ret = *found;
    pthread_mutex_unlock(&ring->lock);
    return found != NULL;
}
