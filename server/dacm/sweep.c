/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks have no reference counts: an asset's versions and variants are read, and what none of them
 * lists goes after a grace time. An upload puts (or touches) every chunk that it relies on, so a
 * chunk that is about to be listed is younger than the grace time; uploads that run longer than
 * that are known by their uid and spared. What only variants listed that are gone needs no such
 * time: it goes at once, but for what was put since a variant that is about to be listed was made.
 *
 * A disk may lose what lists a chunk, too. So nothing goes of an asset of which a record or a page
 * is missing or damaged. */
#include "sweep.h"

#include "changes.h"
#include "walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DIGESTS_MAX  (1u << 20) /* in memory at a time: 32 MiB */
#define RECORD_ARENA (256u << 10)
#define UPLOAD_S     86400 /* how long a repetition of an upload is known */

struct dacm_sweep {
    dacm_service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, wanted; /* wanted: variants take too much */
};

/* ---- chunks of one asset ---- */

/* Digests of one part of the space of digests, so that any number of versions fits. */
struct listed {
    store *db;
    dacm_variants *variants;
    uint8_t uid[STORE_UID_BYTES];
    char asset_id[2 * STORE_UID_BYTES + 1];
    uint64_t generation, oldest, newest; /* of the profile: versions that there must be, if any */
    uint64_t versions;                   /* and how many of them there are */
    rpc_arena *arena;
    int64_t newer_ms, older_ms; /* what is dropped was put from then until then */
    unsigned parts, part;
    uint8_t (*digests)[DACM_DIGEST_BYTES];
    size_t count, room;
    uint64_t entries;
    rpc_status status, damaged; /* damaged: of a variant */
};

static unsigned part_of(const uint8_t *digest, unsigned parts)
{
    return (unsigned)(((uint32_t)digest[0] << 8 | digest[1]) * (uint64_t)parts >> 16);
}

static bool add_digest(void *ctx, const uint8_t *digest, uint32_t length)
{
    (void)length;
    struct listed *l = ctx;
    if (part_of(digest, l->parts) != l->part)
        return true;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 1024;
        void *more = realloc(l->digests, room * sizeof *l->digests);
        if (!more) {
            rpc_status_set(&l->status, RPC_RESOURCE_EXHAUSTED, "sweep: no memory for a list");
            return false;
        }
        l->digests = more;
        l->room = room;
    }
    memcpy(l->digests[l->count++], digest, DACM_DIGEST_BYTES);
    return true;
}

static Dacm__Records__Version *unpack_version(struct listed *l, rpc_bytes value)
{
    Dacm__Records__Version *version = NULL;
    rpc_arena_reset(l->arena);
    host_record_unpack(&dacm__records__version__descriptor, value, l->arena,
        (ProtobufCMessage **)&version, &l->status);
    return version;
}

static bool count_entries(void *ctx, const store_entry *entry)
{
    struct listed *l = ctx;
    const Dacm__Records__Version *version = unpack_version(l, entry->value);
    if (version)
        l->entries += version->chunk_count + version->n_pages;
    return version != NULL;
}

static bool count_version(void *ctx, const store_entry *entry)
{
    struct listed *l = ctx;
    const uint64_t version = dacm_version_of_item(entry->item);
    l->versions += version != 0 && version >= l->oldest && version <= l->newest;
    return count_entries(ctx, entry);
}

static bool add_version(void *ctx, const store_entry *entry)
{
    struct listed *l = ctx;
    const Dacm__Records__Version *version = unpack_version(l, entry->value);
    if (!version)
        return false;
    rpc_status status = {0};
    if (dacm_walk_version(l->db, l->uid, version, add_digest, l, &status) != RPC_OK)
        l->status = status;
    return l->status.code == RPC_OK;
}

static int by_digest(const void *a, const void *b)
{
    return memcmp(a, b, DACM_DIGEST_BYTES);
}

/* A variant that is damaged is of no use to anybody and keeps the asset from being swept: it goes,
 * and is made again when somebody asks for it. Its chunks are for the next sweep. */
static bool unless_variant_damaged(struct listed *l, bool ok, const store_entry *entry)
{
    if (ok || l->status.code != RPC_DATA_LOSS)
        return ok;
    l->damaged = l->status;
    l->status.code = RPC_OK;
    return dacm_variants_remove_damaged(
               l->variants, l->asset_id, entry->item, &l->damaged, &l->status) == RPC_OK;
}

static bool count_variant(void *ctx, const store_entry *entry)
{
    return unless_variant_damaged(ctx, count_entries(ctx, entry), entry);
}

static bool add_variant(void *ctx, const store_entry *entry)
{
    return unless_variant_damaged(ctx, add_version(ctx, entry), entry);
}

static rpc_code walk_versions(struct listed *l, bool add, rpc_status *reterr)
{
    host_key group = dacm_key_asset(l->asset_id);
    host_key variants = dacm_key_variants(l->asset_id);
    rpc_code code = dacm_walk_items(
        l->db, &group, "v/", add ? add_version : count_version, l, reterr);
    if (code == RPC_OK && l->status.code == RPC_OK) /* given up ones as well */
        code = dacm_walk_items(l->db, &variants, "", add ? add_variant : count_variant, l, reterr);
    const rpc_status *status = l->status.code != RPC_OK ? &l->status : &l->damaged;
    if (code == RPC_OK && status->code != RPC_OK) {
        *reterr = *status;
        code = status->code;
    }
    return code;
}

/* ---- what must be there ---- */

static rpc_code read_profile(struct listed *l, rpc_status *reterr)
{
    const host_key group = dacm_key_asset(l->asset_id), item = dacm_key_profile();
    Dacm__Records__Profile *profile = NULL;
    store_wait wait;
    rpc_code code = store_wait_get(l->db, host_key_bytes(&group), host_key_bytes(&item), &wait);
    rpc_arena_reset(l->arena);
    l->generation = wait.op.generation;
    if (code == RPC_OK)
        code = host_record_unpack(&dacm__records__profile__descriptor, wait.op.view.bytes, l->arena,
            (ProtobufCMessage **)&profile, reterr);
    else if (code != RPC_NOT_FOUND)
        *reterr = wait.op.status;
    else if (l->generation == 0) /* an upload never came so far */
        code = RPC_OK;
    else /* what was deleted leaves a tombstone */
        code = rpc_status_set(reterr, RPC_DATA_LOSS, "the profile of an asset is missing");
    store_view_release(&wait.op.view);
    if (profile && !profile->deleted && profile->version != 0) {
        l->oldest = profile->oldest_version;
        l->newest = profile->version;
    }
    return code;
}

/* ABORTED: the asset changes just now. */
static rpc_code check_versions(const struct listed *l, rpc_status *reterr)
{
    if (l->newest == 0 || l->versions == l->newest - l->oldest + 1)
        return RPC_OK;
    const host_key group = dacm_key_asset(l->asset_id);
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_generation(l->db, host_key_bytes(&group), op));
    if (code != RPC_OK)
        *reterr = wait.op.status;
    else if (wait.op.generation != l->generation)
        code = rpc_status_set(reterr, RPC_ABORTED, "sweep: the asset changes");
    else
        code = rpc_status_set(reterr, RPC_DATA_LOSS, "the record of a version is missing");
    return code;
}

static rpc_code drop(
    struct listed *l, const void *digests, size_t count, dacm_swept *swept, rpc_status *reterr)
{
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(
        &wait, store_chunk_drop(l->db, l->uid, digests, count, l->older_ms, op));
    if (code == RPC_OK)
        swept->chunks += wait.op.dropped;
    else
        *reterr = wait.op.status;
    return code;
}

/* Drops what of a page is of this part, old enough and not listed. */
static rpc_code drop_of_page(
    struct listed *l, const store_page *page, dacm_swept *swept, rpc_status *reterr)
{
    uint8_t(*gone)[DACM_DIGEST_BYTES] = calloc(page->count + 1, sizeof *gone);
    size_t count = 0;
    if (!gone)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no memory");
    for (size_t i = 0; i < page->count; i++) {
        const store_chunk_info *chunk = &page->chunks[i];
        if (part_of(chunk->digest, l->parts) == l->part && chunk->put_ms >= l->newer_ms &&
            chunk->put_ms < l->older_ms &&
            (l->count == 0 ||
                !bsearch(chunk->digest, l->digests, l->count, DACM_DIGEST_BYTES, by_digest)))
            memcpy(gone[count++], chunk->digest, DACM_DIGEST_BYTES);
    }
    rpc_code code = count ? drop(l, gone, count, swept, reterr) : RPC_OK;
    free(gone);
    return code;
}

static rpc_code drop_unlisted(struct listed *l, dacm_swept *swept, rpc_status *reterr)
{
    store_cursor cursor;
    const store_cursor *after = NULL;
    for (bool more = true; more; after = &cursor) {
        store_wait wait;
        store_op *op = store_wait_begin(&wait);
        rpc_code code = store_wait_end(
            &wait, store_chunk_scan(l->db, l->uid, after, STORE_DROPS_MAX, op));
        if (code != RPC_OK) {
            *reterr = wait.op.status;
            return code;
        }
        code = drop_of_page(l, wait.op.page, swept, reterr);
        more = wait.op.page->more;
        cursor = wait.op.page->next;
        store_page_free(wait.op.page);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static rpc_code sweep_parts(struct listed *l, dacm_swept *swept, rpc_status *reterr)
{
    rpc_code code = read_profile(l, reterr);
    if (code == RPC_OK)
        code = walk_versions(l, false, reterr);
    if (code == RPC_OK)
        code = check_versions(l, reterr);
    l->parts = (unsigned)(l->entries / DIGESTS_MAX) + 1;
    for (l->part = 0; code == RPC_OK && l->part < l->parts; l->part++) {
        l->count = 0;
        code = walk_versions(l, true, reterr);
        if (l->count > 0)
            qsort(l->digests, l->count, DACM_DIGEST_BYTES, by_digest);
        if (code == RPC_OK)
            code = drop_unlisted(l, swept, reterr);
    }
    return code == RPC_ABORTED ? RPC_OK : code; /* the next sweep looks again */
}

static rpc_code sweep_asset(dacm_service *service, const uint8_t uid[STORE_UID_BYTES],
    int64_t newer_ms, int64_t older_ms, dacm_swept *swept, rpc_status *reterr)
{
    struct listed l = {.db = service->store,
        .variants = service->variants,
        .arena = rpc_arena_new(RECORD_ARENA),
        .newer_ms = newer_ms};
    if (!l.arena)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no memory");
    memcpy(l.uid, uid, sizeof l.uid);
    dacm_asset_id_of(uid, l.asset_id);
    rpc_code code = RPC_OK;
    const int64_t putting_ms = dacm_adaptations_putting_since(service->adaptations, uid);
    l.older_ms = older_ms < putting_ms ? older_ms : putting_ms;
    if (!dacm_uploads_has_uid(service->uploads, uid))
        code = sweep_parts(&l, swept, reterr);
    free(l.digests);
    rpc_arena_free(l.arena);
    return code;
}

/* What is damaged stays; the rest need not. */
static rpc_code unless_damaged(rpc_code code, const rpc_status *status, rpc_status *damaged)
{
    if (code != RPC_DATA_LOSS)
        return code;
    *damaged = *status;
    return RPC_OK;
}

/* *damaged is set when an asset's versions cannot be read. */
static rpc_code sweep_chunks(
    dacm_service *service, dacm_swept *swept, rpc_status *damaged, rpc_status *reterr)
{
    store_cursor cursor;
    const store_cursor *after = NULL;
    int64_t older_ms = rpc_clock_wall_ms(service->clock) - service->config->sweep_grace_s * 1000;
    rpc_code code = RPC_OK;
    for (bool more = true; more && code == RPC_OK; after = &cursor) {
        store_wait wait;
        store_op *op = store_wait_begin(&wait);
        code = store_wait_end(&wait, store_chunk_scan_assets(service->store, after, 256, op));
        if (code != RPC_OK) {
            *reterr = wait.op.status;
            return code;
        }
        for (size_t i = 0; code == RPC_OK && i < wait.op.page->count; i++)
            code = unless_damaged(
                sweep_asset(service, wait.op.page->chunks[i].uid, 0, older_ms, swept, reterr),
                reterr, damaged);
        more = wait.op.page->more;
        cursor = wait.op.page->next;
        store_page_free(wait.op.page);
    }
    return code;
}

/* ---- records that time has passed by ---- */

struct old_records {
    dacm_service *service;
    rpc_arena *arena;
    int64_t now;
    bool revocations; /* else uploads */
    uint64_t deleted;
    rpc_status status;
};

static bool is_old(struct old_records *old, rpc_bytes value)
{
    rpc_arena_reset(old->arena);
    if (old->revocations) {
        Dacm__Records__Revocation *record = NULL;
        return host_record_unpack(&dacm__records__revocation__descriptor, value, old->arena,
                   (ProtobufCMessage **)&record, NULL) == RPC_OK &&
               record->expires_at < old->now;
    }
    Dacm__Records__Upload *record = NULL;
    return host_record_unpack(&dacm__records__upload__descriptor, value, old->arena,
               (ProtobufCMessage **)&record, NULL) == RPC_OK &&
           record->created_at + UPLOAD_S < old->now;
}

/* Read again, and deleted only as of what was read: it may have been renewed since the scan. */
static bool still_old(struct old_records *old, const store_entry *entry, uint64_t *ret_generation)
{
    store_wait wait;
    rpc_code code = store_wait_get(old->service->store, entry->group, entry->item, &wait);
    bool is = code == RPC_OK && is_old(old, wait.op.view.bytes);
    *ret_generation = wait.op.generation;
    store_view_release(&wait.op.view);
    return is;
}

static bool delete_if_old(void *ctx, const store_entry *entry)
{
    struct old_records *old = ctx;
    uint64_t generation = 0;
    const host_key position = dacm_key_report_position();
    if (old->revocations && rpc_bytes_equal(entry->item, host_key_bytes(&position)))
        return true; /* how far an issuer has reported never grows old */
    if (!is_old(old, entry->value) || !still_old(old, entry, &generation))
        return true;
    const store_change change = {.kind = STORE_DELETE, .item = entry->item};
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(
        &wait, store_update(old->service->store, entry->group, generation, &change, 1, op));
    if (code == RPC_OK)
        old->deleted++;
    else if (code != RPC_ABORTED) /* changed meanwhile: the next sweep looks again */
        old->status = wait.op.status;
    return code == RPC_OK || code == RPC_ABORTED;
}

static rpc_code sweep_records(
    dacm_service *service, bool revocations, uint64_t *ret, rpc_status *reterr)
{
    struct old_records old = {.service = service,
        .arena = rpc_arena_new(RECORD_ARENA),
        .now = rpc_clock_wall_ms(service->clock) / 1000,
        .revocations = revocations};
    if (!old.arena)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no memory");
    rpc_code code = dacm_walk_groups(
        service->store, revocations ? "r/" : "up/", false, delete_if_old, &old, reterr);
    rpc_arena_free(old.arena);
    *ret = old.deleted;
    if (code == RPC_OK && old.status.code != RPC_OK) {
        *reterr = old.status;
        code = old.status.code;
    }
    return code;
}

/* Records, and the chunks that are of no use without them. *damaged is set when some cannot be
 * read. */
static rpc_code sweep_variants(
    dacm_service *service, dacm_swept *ret, rpc_status *damaged, rpc_status *reterr)
{
    dacm_variants_swept gone;
    const int64_t now_ms = rpc_clock_wall_ms(service->clock);
    rpc_code code = unless_damaged(
        dacm_variants_sweep(service->variants, now_ms / 1000, &gone, reterr), reterr, damaged);
    ret->variants = gone.removed;
    for (size_t i = 0; code == RPC_OK && i < gone.gone_count; i++)
        code = unless_damaged(sweep_asset(service, gone.gone[i].uid, gone.gone[i].since_s * 1000,
                                  now_ms, ret, reterr),
            reterr, damaged);
    free(gone.gone);
    return code;
}

static rpc_code sweep_all(
    dacm_service *service, dacm_swept *ret, rpc_status *damaged, rpc_status *reterr)
{
    rpc_code code = sweep_variants(service, ret, damaged, reterr);
    if (code == RPC_OK)
        code = sweep_chunks(service, ret, damaged, reterr);
    if (code == RPC_OK)
        code = sweep_records(service, false, &ret->uploads, reterr);
    if (code == RPC_OK)
        code = sweep_records(service, true, &ret->revocations, reterr);
    return code;
}

/* all: or variants only. */
static rpc_code sweep(dacm_service *service, bool all, dacm_swept *ret, rpc_status *reterr)
{
    *ret = (dacm_swept){0};
    rpc_status damaged = {.code = RPC_OK};
    const rpc_code code = all ? sweep_all(service, ret, &damaged, reterr)
                              : sweep_variants(service, ret, &damaged, reterr);
    if (code != RPC_OK || damaged.code == RPC_OK)
        return code;
    *reterr = damaged;
    return damaged.code;
}

rpc_code dacm_sweep_once(dacm_service *service, dacm_swept *ret, rpc_status *reterr)
{
    return sweep(service, true, ret, reterr);
}

/* ---- the thread ---- */

typedef enum news { STOP, TIME, SHORT_OF_ROOM } news;

static int64_t in_seconds(int64_t seconds)
{
    return rpc_clock_monotonic_us(rpc_clock_system()) + seconds * 1000000;
}

/* What comes first until then; a wish for a sweep waits unless heard. What is due is due, however
 * much is wished for. */
static news rest(dacm_sweep *sweep, int64_t until_us, bool hear)
{
    const struct timespec until = {
        .tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
    int rc = 0;
    pthread_mutex_lock(&sweep->lock);
    while (!sweep->stopping && !(hear && sweep->wanted) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&sweep->wake, &sweep->lock, &until);
    news told = sweep->stopping ? STOP : hear && sweep->wanted ? SHORT_OF_ROOM : TIME;
    if (told == SHORT_OF_ROOM && in_seconds(0) >= until_us)
        told = TIME; /* which sweeps what was wished for as well */
    if (hear)
        sweep->wanted = false;
    pthread_mutex_unlock(&sweep->lock);
    return told;
}

static void want(void *arg)
{
    dacm_sweep *sweep = arg;
    pthread_mutex_lock(&sweep->lock);
    sweep->wanted = true;
    pthread_cond_signal(&sweep->wake);
    pthread_mutex_unlock(&sweep->lock);
}

static void sweep_now(dacm_service *service, bool all)
{
    dacm_swept swept;
    rpc_status status;
    if (sweep(service, all, &swept, &status) != RPC_OK)
        dacm_log_store_failure(service, "sweep", &status);
    else if (swept.chunks + swept.uploads + swept.revocations + swept.variants > 0)
        HOST_LOG(service->log, HOST_INFO, "swept", host_number("chunks", (int64_t)swept.chunks),
            host_number("variants", (int64_t)swept.variants),
            host_number("uploads", (int64_t)swept.uploads),
            host_number("revocations", (int64_t)swept.revocations));
}

static void *run(void *arg)
{
    dacm_sweep *sweep = arg;
    const int64_t interval_s = sweep->service->config->sweep_interval_s;
    int64_t due_us = in_seconds(interval_s);
    news told = TIME;
    while (told != STOP) {
        told = rest(sweep, due_us, true);
        if (told == TIME) {
            sweep_now(sweep->service, true);
            due_us = in_seconds(interval_s);
        } else if (told == SHORT_OF_ROOM) {
            sweep_now(sweep->service, false);
            told = rest(sweep, in_seconds(1), false); /* what is held is not looked at at once */
        }
    }
    return NULL;
}

rpc_code dacm_sweep_start(dacm_service *service, dacm_sweep **ret, rpc_status *reterr)
{
    dacm_sweep *sweep = calloc(1, sizeof *sweep);
    if (!sweep)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no memory");
    sweep->service = service;
    pthread_mutex_init(&sweep->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sweep->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&sweep->thread, NULL, run, sweep) != 0) {
        free(sweep);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no thread");
    }
    dacm_variants_watch(service->variants, want, sweep);
    *ret = sweep;
    return RPC_OK;
}

void dacm_sweep_stop(dacm_sweep *sweep)
{
    if (!sweep)
        return;
    dacm_variants_watch(sweep->service->variants, NULL, NULL);
    pthread_mutex_lock(&sweep->lock);
    sweep->stopping = true;
    pthread_cond_signal(&sweep->wake);
    pthread_mutex_unlock(&sweep->lock);
    pthread_join(sweep->thread, NULL);
    pthread_cond_destroy(&sweep->wake);
    pthread_mutex_destroy(&sweep->lock);
    free(sweep);
}
