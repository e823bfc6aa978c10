/* SPDX-License-Identifier: Apache-2.0 */
/* All records of variants, one after the other: for the table at the start, and for the sweep. */
#include "variants_internal.h"

#include "walk.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_ARENA (256u << 10)

/* ---- the start ---- */

typedef struct walk {
    dacm_variants *variants;
    rpc_arena *arena;
    int64_t now_s;
    bool short_of_room;
    uint64_t given_up_bytes; /* of records that stay */
    dacm_variants_swept swept;
    rpc_status status, damaged; /* damaged: of a record that stays */
} walk;

/* A cache is no reason not to serve. */
static bool leave_out(walk *w, const char *asset_id)
{
    if (w->status.code != RPC_DATA_LOSS)
        return false;
    HOST_LOG(w->variants->links.log, HOST_WARNING,
        "the record of a variant is damaged: it is made again when somebody asks for it",
        host_text("asset", asset_id), host_text("why", w->status.message));
    w->status.code = RPC_OK;
    return true;
}

static bool load_one(void *ctx, const store_entry *entry)
{
    walk *w = ctx;
    char asset_id[DACM_ASSET_ID_MAX + 1];
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    Dacm__Records__Version *record = NULL;
    if (!dacm_key_variants_asset_id(entry->group, asset_id) ||
        !rpc_unhex(rpc_bytes_str(asset_id), uid, sizeof uid) ||
        !dacm_which_of_item(entry->item, &which))
        return true; /* of a newer server */
    rpc_arena_reset(w->arena);
    if (host_record_unpack(&dacm__records__version__descriptor, entry->value, w->arena,
            (ProtobufCMessage **)&record, &w->status) != RPC_OK)
        return leave_out(w, asset_id);
    if (entry->item.data[0] != 'v') {
        w->given_up_bytes += record->size;
        return true;
    }
    if (variants_add(w->variants, uid, &which, record->size))
        return true;
    rpc_status_set(&w->status, RPC_RESOURCE_EXHAUSTED, "variants: no memory to know all of them");
    return false;
}

/* Whoever is given up meanwhile may be counted twice, until the next sweep. */
static void begin_walk(walk *w)
{
    dacm_variants *v = w->variants;
    pthread_mutex_lock(&v->lock);
    w->short_of_room = variants_short_of_room(v);
    v->given_up_since = 0;
    pthread_mutex_unlock(&v->lock);
}

static void end_walk(const walk *w)
{
    dacm_variants *v = w->variants;
    pthread_mutex_lock(&v->lock);
    v->given_up_bytes = w->given_up_bytes + v->given_up_since;
    pthread_mutex_unlock(&v->lock);
}

static rpc_code walk_all(walk *w, store_walk_fn *fn, rpc_status *reterr)
{
    w->arena = rpc_arena_new(RECORD_ARENA);
    if (!w->arena)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "variants: no memory");
    begin_walk(w);
    rpc_code code = dacm_walk_groups(w->variants->links.store, "w/", false, fn, w, reterr);
    rpc_arena_free(w->arena);
    if (code == RPC_OK && w->status.code != RPC_OK) {
        *reterr = w->status;
        code = w->status.code;
    }
    if (code != RPC_OK)
        return code;
    end_walk(w);
    if (w->damaged.code != RPC_OK)
        *reterr = w->damaged;
    return w->damaged.code;
}

rpc_code dacm_variants_load(dacm_variants *v, rpc_status *reterr)
{
    walk w = {.variants = v};
    return walk_all(&w, load_one, reterr);
}

/* ---- the sweep ---- */

/* Does the asset still have that version? */
static rpc_code version_is_kept(
    walk *w, const char *asset_id, uint64_t version, bool *ret, rpc_status *reterr)
{
    const host_key group = dacm_key_asset(asset_id), item = dacm_key_profile();
    Dacm__Records__Profile *profile = NULL;
    store_wait wait;
    rpc_code code = store_wait_get(
        w->variants->links.store, host_key_bytes(&group), host_key_bytes(&item), &wait);
    if (code == RPC_OK)
        code = host_record_unpack(&dacm__records__profile__descriptor, wait.op.view.bytes, w->arena,
            (ProtobufCMessage **)&profile, reterr);
    else if (code != RPC_NOT_FOUND)
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    *ret = profile && !profile->deleted && version >= profile->oldest_version;
    return code == RPC_NOT_FOUND ? RPC_OK : code;
}

/* All of an asset come one after the other. */
static bool note_gone(walk *w, const uint8_t uid[STORE_UID_BYTES], int64_t since_s)
{
    dacm_variants_swept *s = &w->swept;
    dacm_variants_gone *last = s->gone_count ? &s->gone[s->gone_count - 1] : NULL;
    if (last && memcmp(last->uid, uid, STORE_UID_BYTES) == 0) {
        last->since_s = since_s < last->since_s ? since_s : last->since_s;
        return true;
    }
    dacm_variants_gone *more = realloc(s->gone, (s->gone_count + 1) * sizeof *s->gone);
    if (!more) {
        rpc_status_set(&w->status, RPC_RESOURCE_EXHAUSTED, "variants: no memory to sweep");
        return false;
    }
    s->gone = more;
    more[s->gone_count].since_s = since_s;
    memcpy(more[s->gone_count++].uid, uid, STORE_UID_BYTES);
    return true;
}

static bool remove_record(walk *w, const char *asset_id, const host_key *item)
{
    dacm_changes changes = {0};
    dacm_changes_delete(&changes, *item);
    if (variants_apply(w->variants, &changes, asset_id, STORE_ANY_GENERATION, &w->status) != RPC_OK)
        return false;
    w->swept.removed++;
    return true;
}

/* A variant that is kept goes with its version. */
static bool sweep_kept(
    walk *w, const char *asset_id, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    bool kept = false;
    const host_key item = dacm_key_variant(which);
    if (version_is_kept(w, asset_id, which->version, &kept, &w->status) != RPC_OK)
        return false;
    if (kept)
        return true;
    if (!remove_record(w, asset_id, &item))
        return false;
    variants_forget_one(w->variants, uid, which);
    return true;
}

/* One that was given up goes when no download can hold it any more: by its time, or by what runs.
 */
static bool sweep_given_up(walk *w, const store_entry *entry, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    Dacm__Records__Version *record = NULL;
    const host_key item = dacm_key_given_up(which);
    if (host_record_unpack(&dacm__records__version__descriptor, entry->value, w->arena,
            (ProtobufCMessage **)&record, &w->status) != RPC_OK)
        return false;
    const bool held = w->now_s <= record->given_up_at + DACM_GIVEN_UP_S &&
                      (!w->short_of_room ||
                          dacm_running_since(w->variants->links.running, asset_id,
                              which->recipe_sha256, record->given_up_at, w->now_s));
    w->given_up_bytes += held ? record->size : 0;
    if (held)
        return true;
    if (!remove_record(w, asset_id, &item))
        return false;
    dacm_object_forget(w->variants->links.objects, uid, which); /* loaded while it was given up */
    return note_gone(w, uid, record->created_at);
}

rpc_code dacm_variants_remove_damaged(dacm_variants *v, const char *asset_id, rpc_bytes item,
    const rpc_status *why, rpc_status *reterr)
{
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    host_key key = {.size = item.size};
    if (item.size > sizeof key.data)
        return rpc_status_set(reterr, RPC_DATA_LOSS, "the key of a variant is none of ours");
    memcpy(key.data, item.data, item.size);
    dacm_changes changes = {0};
    dacm_changes_delete(&changes, key);
    const rpc_code code = variants_apply(v, &changes, asset_id, STORE_ANY_GENERATION, reterr);
    if (code != RPC_OK)
        return code;
    HOST_LOG(v->links.log, HOST_WARNING,
        "a variant is damaged and goes: it is made again when somebody asks for it",
        host_text("asset", asset_id), host_text("why", why->message));
    if (rpc_unhex(rpc_bytes_str(asset_id), uid, sizeof uid) && dacm_which_of_item(item, &which))
        variants_forget_one(v, uid, &which);
    return RPC_OK;
}

static bool sweep_one(void *ctx, const store_entry *entry)
{
    walk *w = ctx;
    char asset_id[DACM_ASSET_ID_MAX + 1];
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    if (!dacm_key_variants_asset_id(entry->group, asset_id) ||
        !rpc_unhex(rpc_bytes_str(asset_id), uid, sizeof uid) ||
        !dacm_which_of_item(entry->item, &which))
        return true;
    rpc_arena_reset(w->arena);
    const bool swept = entry->item.data[0] == 'v' ? sweep_kept(w, asset_id, uid, &which)
                                                  : sweep_given_up(w, entry, asset_id, uid, &which);
    if (swept || w->status.code != RPC_DATA_LOSS)
        return swept;
    w->damaged = w->status; /* it stays, and says so; the others need not */
    w->status.code = RPC_OK;
    return true;
}

rpc_code dacm_variants_sweep(
    dacm_variants *v, int64_t now_s, dacm_variants_swept *ret, rpc_status *reterr)
{
    walk w = {.variants = v, .now_s = now_s};
    const rpc_code code = walk_all(&w, sweep_one, reterr);
    *ret = w.swept;
    return code;
}
