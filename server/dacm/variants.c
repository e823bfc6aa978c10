/* SPDX-License-Identifier: Apache-2.0 */
/* One mutex guards the table, its list in order of use, and the sum of bytes. It is not held over a
 * call into the store. A record without an entry is loaded at the next start; an entry without a
 * record leads to NOT_FOUND and is made anew: so the two may differ for a moment. What was given up
 * is counted as it happens, and anew by each sweep. */
#include "variants_internal.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_ARENA (256u << 10)
#define GIVEN_UP_MIN (UINT64_C(64) << 20)

static double bytes_now(void *ctx)
{
    dacm_variants *v = ctx;
    pthread_mutex_lock(&v->lock);
    const uint64_t bytes = v->bytes;
    pthread_mutex_unlock(&v->lock);
    return (double)bytes;
}

static double count_now(void *ctx)
{
    dacm_variants *v = ctx;
    pthread_mutex_lock(&v->lock);
    const uint64_t count = v->count;
    pthread_mutex_unlock(&v->lock);
    return (double)count;
}

static double given_up_now(void *ctx)
{
    dacm_variants *v = ctx;
    pthread_mutex_lock(&v->lock);
    const uint64_t bytes = v->given_up_bytes;
    pthread_mutex_unlock(&v->lock);
    return (double)bytes;
}

dacm_variants *dacm_variants_new(const dacm_variants_links *links)
{
    dacm_variants *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->links = *links;
    const uint64_t quarter = links->room_bytes ? links->room_bytes / 4 : UINT64_MAX;
    v->bytes_max = links->bytes_max < quarter ? links->bytes_max : quarter;
    v->given_up_max = quarter < GIVEN_UP_MIN ? quarter : GIVEN_UP_MIN;
    if (v->given_up_max < v->bytes_max)
        v->given_up_max = v->bytes_max;
    pthread_mutex_init(&v->lock, NULL);
    v->given_up = host_metrics_counter(links->metrics, "dacm_variants_given_up_total",
        "Variants that went because media.variants_bytes_max was reached.", NULL);
    host_metrics_gauge(
        links->metrics, "dacm_variants", "Variants that are kept.", NULL, count_now, v);
    host_metrics_gauge(links->metrics, "dacm_variants_bytes",
        "Bytes of the variants that are kept.", NULL, bytes_now, v);
    host_metrics_gauge(links->metrics, "dacm_variants_given_up_bytes",
        "Bytes of the variants that were given up and not yet swept.", NULL, given_up_now, v);
    return v;
}

void dacm_variants_free(dacm_variants *v)
{
    if (!v)
        return;
    for (variant *entry = v->oldest, *next; entry; entry = next) {
        next = entry->newer;
        free(entry);
    }
    pthread_mutex_destroy(&v->lock);
    free(v);
}

/* ---- the table; under the lock ---- */

/* By asset alone: what is of one goes together. */
static variant **bucket_of(dacm_variants *v, const uint8_t uid[STORE_UID_BYTES])
{
    return &v->buckets[(uid[0] | (uint32_t)uid[1] << 8) % VARIANTS_BUCKETS];
}

static variant **find(dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    variant **link = bucket_of(v, uid);
    while (*link && (memcmp((*link)->uid, uid, STORE_UID_BYTES) != 0 ||
                        !dacm_which_equal(&(*link)->which, which)))
        link = &(*link)->next;
    return link;
}

static void unlink_use(dacm_variants *v, variant *entry)
{
    *(entry->older ? &entry->older->newer : &v->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &v->newest) = entry->older;
}

static void link_newest(dacm_variants *v, variant *entry)
{
    entry->older = v->newest;
    entry->newer = NULL;
    *(v->newest ? &v->newest->newer : &v->oldest) = entry;
    v->newest = entry;
}

static void remove_at(dacm_variants *v, variant **link)
{
    variant *entry = *link;
    *link = entry->next;
    unlink_use(v, entry);
    v->bytes -= entry->size;
    v->count--;
    free(entry);
}

bool variants_add(
    dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, uint64_t size)
{
    variant **link = find(v, uid, which);
    if (*link)
        remove_at(v, link);
    variant *entry = calloc(1, sizeof *entry);
    if (!entry)
        return false;
    memcpy(entry->uid, uid, sizeof entry->uid);
    entry->which = *which;
    entry->size = size;
    variant **bucket = bucket_of(v, uid);
    entry->next = *bucket;
    *bucket = entry;
    link_newest(v, entry);
    v->bytes += size;
    v->count++;
    return true;
}

/* ---- what was given up ---- */

void dacm_variants_watch(dacm_variants *v, void (*fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&v->lock);
    v->full = fn;
    v->full_ctx = ctx;
    pthread_mutex_unlock(&v->lock);
}

bool variants_short_of_room(const dacm_variants *v)
{
    return v->given_up_bytes > v->given_up_max / 2;
}

static void count_given_up(dacm_variants *v, uint64_t bytes)
{
    pthread_mutex_lock(&v->lock);
    v->given_up_bytes += bytes;
    v->given_up_since += bytes;
    if (variants_short_of_room(v) && v->full)
        v->full(v->full_ctx);
    pthread_mutex_unlock(&v->lock);
}

rpc_code dacm_variants_admit(dacm_variants *v, rpc_status *reterr)
{
    pthread_mutex_lock(&v->lock);
    const bool full = v->given_up_bytes > v->given_up_max;
    if (full && v->full)
        v->full(v->full_ctx);
    pthread_mutex_unlock(&v->lock);
    return full
               ? rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                     "variants: those that were given up are downloaded still, and take as much as "
                     "media.variants_bytes_max allows; try again later, or ask for the original")
               : RPC_OK;
}

/* ---- what is kept ---- */

void dacm_variants_used(
    dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    pthread_mutex_lock(&v->lock);
    variant *entry = *find(v, uid, which);
    if (entry && entry != v->newest) {
        unlink_use(v, entry);
        link_newest(v, entry);
    }
    pthread_mutex_unlock(&v->lock);
}

void variants_forget_one(
    dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    pthread_mutex_lock(&v->lock);
    variant **link = find(v, uid, which);
    if (*link)
        remove_at(v, link);
    pthread_mutex_unlock(&v->lock);
    dacm_object_forget(v->links.objects, uid, which);
}

void dacm_variants_forget(dacm_variants *v, const uint8_t uid[STORE_UID_BYTES])
{
    pthread_mutex_lock(&v->lock);
    for (variant **link = bucket_of(v, uid); *link;)
        if (memcmp((*link)->uid, uid, STORE_UID_BYTES) == 0)
            remove_at(v, link);
        else
            link = &(*link)->next;
    pthread_mutex_unlock(&v->lock);
}

/* The one used longest ago, unless it is the one kept or all fit: taken out of the table. */
static bool take_oldest(dacm_variants *v, const uint8_t kept_uid[STORE_UID_BYTES],
    const dacm_which *kept, uint8_t ret_uid[STORE_UID_BYTES], dacm_which *ret)
{
    pthread_mutex_lock(&v->lock);
    const variant *oldest = v->oldest;
    const bool one = v->bytes > v->bytes_max && oldest &&
                     !(dacm_which_equal(&oldest->which, kept) &&
                         memcmp(oldest->uid, kept_uid, STORE_UID_BYTES) == 0);
    if (one) {
        memcpy(ret_uid, oldest->uid, STORE_UID_BYTES);
        *ret = oldest->which;
        remove_at(v, find(v, ret_uid, ret));
    }
    pthread_mutex_unlock(&v->lock);
    return one;
}

rpc_code variants_apply(dacm_variants *v, dacm_changes *changes, const char *asset_id,
    uint64_t expected, rpc_status *reterr)
{
    const host_key group = dacm_key_variants(asset_id);
    store_wait wait;
    rpc_code code = RPC_RESOURCE_EXHAUSTED;
    if (changes->failed)
        rpc_status_set(reterr, code, "variants: no memory for a record");
    else {
        code = store_wait_update(
            v->links.store, host_key_bytes(&group), expected, changes->list, changes->count, &wait);
        if (code != RPC_OK)
            *reterr = wait.op.status;
    }
    dacm_changes_done(changes);
    return code;
}

/* Its record moves to x/, with the time. */
static rpc_code give_up_record(dacm_variants *v, const char *asset_id, const dacm_which *which,
    rpc_arena *arena, rpc_status *reterr)
{
    const host_key group = dacm_key_variants(asset_id), item = dacm_key_variant(which);
    store_wait wait;
    rpc_code code = store_wait_get(
        v->links.store, host_key_bytes(&group), host_key_bytes(&item), &wait);
    const uint64_t generation = wait.op.generation;
    Dacm__Records__Version *record = NULL;
    if (code == RPC_OK)
        code = host_record_unpack(&dacm__records__version__descriptor, wait.op.view.bytes, arena,
            (ProtobufCMessage **)&record, reterr);
    else
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    if (code != RPC_OK)
        return code;
    record->given_up_at = rpc_clock_wall_ms(v->links.clock) / 1000;
    dacm_changes changes = {0};
    dacm_changes_put(&changes, dacm_key_given_up(which), &record->base);
    dacm_changes_delete(&changes, item);
    const uint64_t size = record->size;
    code = variants_apply(v, &changes, asset_id, generation, reterr);
    if (code == RPC_OK)
        count_given_up(v, size);
    return code;
}

static void give_up(dacm_variants *v, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    char asset_id[2 * STORE_UID_BYTES + 1];
    rpc_status status = {.code = RPC_OK};
    rpc_arena *arena = rpc_arena_new(RECORD_ARENA);
    dacm_asset_id_of(uid, asset_id);
    rpc_code code = arena ? RPC_ABORTED
                          : rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "no memory");
    while (code == RPC_ABORTED) { /* another variant of the asset came in between */
        rpc_arena_reset(arena);
        code = give_up_record(v, asset_id, which, arena, &status);
    }
    rpc_arena_free(arena);
    dacm_object_forget(v->links.objects, uid, which);
    host_counter_add(v->given_up, 1);
    if (code != RPC_OK && code != RPC_NOT_FOUND)
        HOST_LOG(v->links.log, HOST_WARNING, "a variant is given up, and its record stays",
            host_text("asset", asset_id), host_text("why", status.message));
}

rpc_code dacm_variants_put(dacm_variants *v, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, Dacm__Records__Version *record,
    const dacm_page *pages, size_t page_count, rpc_status *reterr)
{
    dacm_changes changes = {0};
    dacm_put_version(&changes, dacm_key_variant(which), record, pages, page_count);
    rpc_code code = variants_apply(v, &changes, asset_id, STORE_ANY_GENERATION, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&v->lock);
    const bool added = variants_add(v, uid, which, record->size);
    pthread_mutex_unlock(&v->lock);
    if (!added)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "variants: no memory for one more");
    uint8_t oldest_uid[STORE_UID_BYTES];
    dacm_which oldest;
    while (take_oldest(v, uid, which, oldest_uid, &oldest))
        give_up(v, oldest_uid, &oldest);
    return RPC_OK;
}
