/* SPDX-License-Identifier: Apache-2.0 */
/* One mutex guards the buckets. Under it only hold() and rpc_call_post() run, which take no lock
 * of ours. */
#include "running.h"

#include "records.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u

struct dacm_running {
    pthread_mutex_t lock;
    dacm_running_entry *buckets[BUCKETS];
};

dacm_running *dacm_running_new(void)
{
    dacm_running *running = calloc(1, sizeof *running);
    if (running)
        pthread_mutex_init(&running->lock, NULL);
    return running;
}

void dacm_running_free(dacm_running *running)
{
    if (!running)
        return;
    pthread_mutex_destroy(&running->lock);
    free(running);
}

static dacm_running_entry **bucket_of(dacm_running *running, const char *asset_id)
{
    return &running->buckets[dacm_asset_hash(asset_id) % BUCKETS];
}

void dacm_running_add(dacm_running *running, dacm_running_entry *entry)
{
    pthread_mutex_lock(&running->lock);
    dacm_running_entry **head = bucket_of(running, entry->asset_id);
    entry->next = *head;
    entry->link = head;
    if (*head)
        (*head)->link = &entry->next;
    *head = entry;
    pthread_mutex_unlock(&running->lock);
}

void dacm_running_remove(dacm_running *running, dacm_running_entry *entry)
{
    pthread_mutex_lock(&running->lock);
    if (entry->link) {
        *entry->link = entry->next;
        if (entry->next)
            entry->next->link = entry->link;
        entry->link = NULL;
        entry->next = NULL;
    }
    pthread_mutex_unlock(&running->lock);
}

bool dacm_running_since(dacm_running *running, const char *asset_id,
    const uint8_t recipe_sha256[32], int64_t until_s, int64_t now_s)
{
    bool found = false;
    pthread_mutex_lock(&running->lock);
    for (const dacm_running_entry *one = *bucket_of(running, asset_id); one && !found;
         one = one->next)
        found = strcmp(one->asset_id, asset_id) == 0 && one->recipe_sha256 &&
                memcmp(one->recipe_sha256, recipe_sha256, 32) == 0 &&
                (one->begun_s <= until_s || one->begun_s > now_s);
    pthread_mutex_unlock(&running->lock);
    return found;
}

static void recheck_bucket(dacm_running_entry *entry, const char *asset_id)
{
    for (; entry; entry = entry->next) {
        if (asset_id && strcmp(entry->asset_id, asset_id) != 0)
            continue;
        entry->hold(entry->arg);
        rpc_call_post(entry->call, entry->recheck, entry->arg);
    }
}

void dacm_running_recheck(dacm_running *running, const char *asset_id)
{
    pthread_mutex_lock(&running->lock);
    if (asset_id)
        recheck_bucket(*bucket_of(running, asset_id), asset_id);
    else
        for (size_t i = 0; i < BUCKETS; i++)
            recheck_bucket(running->buckets[i], NULL);
    pthread_mutex_unlock(&running->lock);
}
