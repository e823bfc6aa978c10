/* SPDX-License-Identifier: Apache-2.0 */
/* A place for each of some clients, by their IDs. What stands there is theirs when it was read from
 * the very text that their record has now, so that nothing needs to be thrown away. */
#include "client_keys.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PLACES         64u
#define TEXT_BYTES_MAX 4096u /* what is longer is read each time */

typedef struct place {
    char *text; /* NULL = free */
    trust_keyring *ring;
} place;

struct sim_client_keys {
    pthread_mutex_t lock;
    place places[PLACES];
};

sim_client_keys *sim_client_keys_new(void)
{
    sim_client_keys *keys = calloc(1, sizeof *keys);
    if (keys)
        pthread_mutex_init(&keys->lock, NULL);
    return keys;
}

static void empty(place *p)
{
    trust_keyring_unref(p->ring);
    free(p->text);
}

void sim_client_keys_free(sim_client_keys *keys)
{
    if (!keys)
        return;
    for (size_t i = 0; i < PLACES; i++)
        empty(&keys->places[i]);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

/* FNV-1a: IDs are the operator's choice, not a stranger's. */
static place *place_of(sim_client_keys *keys, const char *client_id)
{
    uint32_t hash = 2166136261u;
    for (; *client_id; client_id++)
        hash = (hash ^ (uint8_t)*client_id) * 16777619u;
    return &keys->places[hash % PLACES];
}

/* Takes text; refers to ring. */
static void keep(sim_client_keys *keys, const char *client_id, char *text, trust_keyring *ring)
{
    place *p = place_of(keys, client_id);
    pthread_mutex_lock(&keys->lock);
    place before = *p;
    *p = (place){.text = text, .ring = trust_keyring_ref(ring)};
    pthread_mutex_unlock(&keys->lock);
    empty(&before);
}

rpc_code sim_client_keys_of(
    sim_client_keys *keys, const sim_client *client, trust_keyring **ret, rpc_status *reterr)
{
    const place *p = place_of(keys, client->client_id);
    trust_keyring *found = NULL;
    pthread_mutex_lock(&keys->lock);
    if (p->text && strcmp(p->text, client->jwks) == 0)
        found = trust_keyring_ref(p->ring);
    pthread_mutex_unlock(&keys->lock);
    if (found) {
        *ret = found;
        return RPC_OK;
    }
    rpc_code code = trust_keyring_parse_published(
        rpc_bytes_str(client->jwks), TRUST_FOR_CLIENTS, TRUST_ALG_RS256, 0, ret, reterr);
    char *text = code == RPC_OK && strlen(client->jwks) <= TEXT_BYTES_MAX ? strdup(client->jwks)
                                                                          : NULL;
    if (text)
        keep(keys, client->client_id, text, *ret);
    return code;
}
