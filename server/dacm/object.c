/* SPDX-License-Identifier: Apache-2.0 */
/* One mutex guards the cache (slots, counts of references, bytes); each object's manifest has a
 * mutex of its own. Neither is held over a call into the store or a callback. */
#include "object.h"

#include "cleanup.h"
#include "figures.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 1024u

struct entry {
    dacm_object object; /* first: a dacm_object * is an entry * */
    dacm_objects *owner;
    unsigned refs; /* under owner->lock; the cache itself holds one */
    uint64_t bytes;
    pthread_mutex_t manifest_lock;
    char *jws, *kid;
    int64_t exp;
};

struct dacm_objects {
    store *db;
    pthread_mutex_t lock;
    struct entry *slots[SLOTS]; /* by a hash of uid and version; a newcomer replaces */
    uint64_t bytes, bytes_max;
};

dacm_objects *dacm_objects_new(store *db, uint64_t bytes_max)
{
    dacm_objects *objects = calloc(1, sizeof *objects);
    if (!objects)
        return NULL;
    objects->db = db;
    objects->bytes_max = bytes_max;
    pthread_mutex_init(&objects->lock, NULL);
    return objects;
}

static void adapted_free(dacm_adapted *adapted)
{
    if (!adapted)
        return;
    free(adapted->recipe);
    free(adapted->figures);
    free(adapted->licence);
    free(adapted);
}

static void entry_free(struct entry *entry)
{
    pthread_mutex_destroy(&entry->manifest_lock);
    dacm_list_done(&entry->object.list);
    adapted_free(entry->object.adapted);
    free(entry->jws);
    free(entry->kid);
    free(entry);
}

/* Under the lock; the caller frees what is returned, after unlocking. */
static struct entry *drop_ref(dacm_objects *objects, struct entry *entry)
{
    if (--entry->refs > 0)
        return NULL;
    objects->bytes -= entry->bytes;
    return entry;
}

void dacm_objects_free(dacm_objects *objects)
{
    if (!objects)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        if (objects->slots[i] && drop_ref(objects, objects->slots[i]))
            entry_free(objects->slots[i]);
    pthread_mutex_destroy(&objects->lock);
    free(objects);
}

dacm_object *dacm_object_ref(dacm_object *object)
{
    struct entry *entry = (struct entry *)object;
    pthread_mutex_lock(&entry->owner->lock);
    entry->refs++;
    pthread_mutex_unlock(&entry->owner->lock);
    return object;
}

void dacm_object_unref(dacm_object *object)
{
    if (!object)
        return;
    struct entry *entry = (struct entry *)object;
    dacm_objects *owner = entry->owner;
    pthread_mutex_lock(&owner->lock);
    struct entry *gone = drop_ref(owner, entry);
    pthread_mutex_unlock(&owner->lock);
    if (gone)
        entry_free(gone);
}

/* uid is random, and the digest of a recipe as good as that: their bytes are a hash already. */
static size_t slot_of(const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    const uint8_t *recipe = which->recipe_sha256; /* zero of an original */
    return (size_t)((uid[0] | (uint32_t)uid[1] << 8) + which->version +
                    (recipe[0] | (uint32_t)recipe[1] << 8)) %
           SLOTS;
}

static bool is_of(
    const struct entry *entry, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    return entry && dacm_which_equal(&entry->object.which, which) &&
           memcmp(entry->object.uid, uid, STORE_UID_BYTES) == 0;
}

static dacm_object *find(
    dacm_objects *objects, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    pthread_mutex_lock(&objects->lock);
    struct entry *entry = objects->slots[slot_of(uid, which)];
    if (is_of(entry, uid, which))
        entry->refs++;
    else
        entry = NULL;
    pthread_mutex_unlock(&objects->lock);
    return entry ? &entry->object : NULL;
}

void dacm_object_forget(
    dacm_objects *objects, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    struct entry *gone = NULL;
    pthread_mutex_lock(&objects->lock);
    struct entry **slot = &objects->slots[slot_of(uid, which)];
    if (is_of(*slot, uid, which)) {
        gone = drop_ref(objects, *slot);
        *slot = NULL;
    }
    pthread_mutex_unlock(&objects->lock);
    if (gone)
        entry_free(gone);
}

/* Gives bytes of the budget, dropping cached objects that nobody uses when it is short. */
static bool reserve(dacm_objects *objects, uint64_t bytes)
{
    struct entry *gone[SLOTS];
    size_t count = 0;
    pthread_mutex_lock(&objects->lock);
    for (size_t i = 0; i < SLOTS && objects->bytes + bytes > objects->bytes_max; i++) {
        struct entry *entry = objects->slots[i];
        if (!entry || entry->refs > 1)
            continue;
        objects->slots[i] = NULL;
        gone[count] = drop_ref(objects, entry);
        count += gone[count] != NULL;
    }
    bool ok = objects->bytes + bytes <= objects->bytes_max;
    if (ok)
        objects->bytes += bytes;
    pthread_mutex_unlock(&objects->lock);
    while (count > 0)
        entry_free(gone[--count]);
    return ok;
}

static void unreserve(dacm_objects *objects, uint64_t bytes)
{
    pthread_mutex_lock(&objects->lock);
    objects->bytes -= bytes;
    pthread_mutex_unlock(&objects->lock);
}

static void insert(dacm_objects *objects, struct entry *entry)
{
    pthread_mutex_lock(&objects->lock);
    size_t slot = slot_of(entry->object.uid, &entry->object.which);
    struct entry *gone = objects->slots[slot] ? drop_ref(objects, objects->slots[slot]) : NULL;
    objects->slots[slot] = entry;
    entry->refs++;
    pthread_mutex_unlock(&objects->lock);
    if (gone)
        entry_free(gone);
}

/* ---- loading: version record, pages of the list, kept manifest ---- */

struct load {
    store_op op;
    store_executor executor;
    dacm_objects *objects;
    rpc_call *call;
    rpc_arena *arena; /* of the version record */
    Dacm__Records__Version *record;
    Dacm__Records__Manifest *manifest; /* that is kept with it */
    struct entry *entry;
    uint8_t *entries;
    size_t entries_size, filled, page;
    dacm_object_fn *fn;
    void *arg;
    void (*next)(struct load *load);
    bool just_made, given_up; /* also where it was given up already; it was */
};

static void post_on_call(void *ctx, void (*fn)(void *arg), void *arg)
{
    rpc_call_post(ctx, fn, arg);
}

static void load_end(struct load *load, const rpc_status *status)
{
    dacm_object *object = NULL;
    if (status->code == RPC_OK)
        object = &load->entry->object;
    else if (load->entry) {
        unreserve(load->objects, load->entry->bytes);
        entry_free(load->entry);
    }
    free(load->entries);
    rpc_arena_free(load->arena);
    dacm_object_fn *fn = load->fn;
    void *arg = load->arg;
    rpc_call *call = load->call;
    rpc_status copy = *status;
    free(load);
    fn(arg, object, &copy);
    rpc_call_unref(call);
}

static void load_fail(struct load *load, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    load_end(load, &status);
}

static void on_done(store_op *op)
{
    struct load *load = op->ctx;
    load->next(load);
}

static store_op *start_op(struct load *load, void (*next)(struct load *load))
{
    load->next = next;
    load->op = (store_op){.done = on_done, .ctx = load, .executor = &load->executor};
    return &load->op;
}

static void loaded(struct load *load)
{
    if (!load->given_up)
        insert(load->objects, load->entry);
    load_end(load, &(rpc_status){.code = RPC_OK});
}

bool dacm_signed_as(const trust_manifest *manifest, const Dacm__Records__Version *record)
{
    return manifest->issued_at < record->created_at ||
           (manifest->version == record->version && manifest->size == record->size &&
               strcmp(manifest->media_type, record->media_type) == 0 &&
               strcmp(manifest->chunking, record->chunking) == 0 &&
               memcmp(manifest->sha256, record->sha256.data, DACM_DIGEST_BYTES) == 0 &&
               memcmp(manifest->chunks_sha256, record->chunks_sha256.data, DACM_DIGEST_BYTES) == 0);
}

/* The manifest is as it was signed: its digest is kept apart. It is not handed out where it is of a
 * variant of before, and where it shows that the record has rotted, nothing is: the record would be
 * signed again one day, as if it had always said so. */
static void have_digest(struct load *load)
{
    const Dacm__Records__Manifest *manifest = load->manifest;
    trust_manifest signed_as;
    const bool whole = load->op.status.code == RPC_OK;
    store_view_release(&load->op.view);
    if (!whole || trust_manifest_verify(rpc_bytes_str(manifest->jws), NULL, &signed_as, NULL) !=
                      TRUST_NO_KEY) {
        loaded(load); /* and signed again */
        return;
    }
    if (!dacm_signed_as(&signed_as, load->record)) {
        load_fail(load, RPC_DATA_LOSS,
            "store: the record of a version is not the one that was signed; restore a backup, or "
            "upload the asset again");
        return;
    }
    if (signed_as.issued_at >= load->record->created_at)
        dacm_object_keep_manifest(
            &load->entry->object, manifest->jws, manifest->kid, signed_as.expires_at);
    loaded(load);
}

static void have_manifest(struct load *load)
{
    if (load->op.status.code == RPC_OK)
        (void)host_record_unpack(&dacm__records__manifest__descriptor, load->op.view.bytes,
            load->arena, (ProtobufCMessage **)&load->manifest, NULL);
    store_view_release(&load->op.view);
    if (!load->manifest) {
        loaded(load);
        return;
    }
    uint8_t sha256[DACM_DIGEST_BYTES];
    trust_sha256(rpc_bytes_str(load->manifest->jws), sha256);
    host_key group = dacm_key_manifests(load->entry->object.asset_id);
    host_key item = dacm_key_manifest_digest(sha256);
    if (store_get(load->objects->db, host_key_bytes(&group), host_key_bytes(&item),
            start_op(load, have_digest)) == STORE_READY)
        have_digest(load);
}

static void load_manifest(struct load *load)
{
    host_key group = dacm_key_manifests(load->entry->object.asset_id);
    host_key item = dacm_key_manifest(&load->entry->object.which);
    if (store_get(load->objects->db, host_key_bytes(&group), host_key_bytes(&item),
            start_op(load, have_manifest)) == STORE_READY)
        have_manifest(load);
}

static void finish_list(struct load *load)
{
    dacm_object *object = &load->entry->object;
    uint8_t digest[DACM_DIGEST_BYTES];
    crypto_hash_sha256(digest, load->entries, load->entries_size);
    if (memcmp(digest, object->chunks_sha256, sizeof digest) != 0) {
        load_fail(load, RPC_DATA_LOSS,
            "store: the chunk list does not have the digest that was signed; run dacmd "
            "--store-check");
        return;
    }
    rpc_status status;
    if (dacm_list_init(&object->list, load->entries, load->entries_size, object->size, &status) !=
        RPC_OK) {
        load_end(load, &status);
        return;
    }
    load->entries = NULL;
    load_manifest(load);
}

static void next_page(struct load *load);

static bool take_page(struct load *load)
{
    rpc_bytes bytes = load->op.view.bytes;
    size_t want = (size_t)load->record->pages[load->page]->entries * DACM_ENTRY_BYTES;
    bool ok = load->op.status.code == RPC_OK && bytes.size == want;
    if (ok) {
        memcpy(load->entries + load->filled, bytes.data, bytes.size);
        load->filled += bytes.size;
        load->page++;
    }
    store_view_release(&load->op.view);
    return ok;
}

static void have_page(struct load *load)
{
    if (take_page(load))
        next_page(load);
    else if (load->op.status.code == RPC_OK || load->op.status.code == RPC_NOT_FOUND)
        load_fail(load, RPC_DATA_LOSS,
            "store: a page of the chunk list is missing or cut; run dacmd --store-check");
    else
        load_end(load, &load->op.status);
}

static void next_page(struct load *load)
{
    while (load->page < load->record->n_pages) {
        const Dacm__Records__ListPage *page = load->record->pages[load->page];
        store_chunk_ref ref;
        memcpy(ref.uid, load->entry->object.uid, sizeof ref.uid);
        memcpy(ref.digest, page->sha256.data, sizeof ref.digest);
        if (store_read(load->objects->db, &ref, 0, STORE_TO_END, start_op(load, have_page)) ==
            STORE_PENDING)
            return;
        if (!take_page(load)) {
            have_page(load);
            return;
        }
    }
    finish_list(load);
}

static bool digest_field(const ProtobufCBinaryData *field)
{
    return field->len == DACM_DIGEST_BYTES;
}

static bool record_is_sound(const Dacm__Records__Version *record, bool is_variant)
{
    uint64_t entries = 0;
    for (size_t i = 0; i < record->n_pages; i++) {
        if (!digest_field(&record->pages[i]->sha256))
            return false;
        entries += record->pages[i]->entries;
    }
    return entries == record->chunk_count && entries <= DACM_LIST_ENTRIES_MAX &&
           digest_field(&record->sha256) && digest_field(&record->chunks_sha256) &&
           digest_field(&record->source_sha256) == is_variant &&
           strlen(record->media_type) < sizeof((dacm_object *)0)->media_type &&
           strlen(record->chunking) < sizeof((dacm_object *)0)->chunking;
}

static bool fill_adapted(dacm_object *object, const Dacm__Records__Version *record)
{
    dacm_adapted *adapted = calloc(1, sizeof *adapted);
    object->adapted = adapted;
    if (!adapted)
        return false;
    adapted->recipe = strdup(record->recipe);
    adapted->figures = dacm_figures_json(record);
    adapted->licence = strdup(record->licence);
    memcpy(adapted->source_sha256, record->source_sha256.data, DACM_DIGEST_BYTES);
    return adapted->recipe && adapted->figures && adapted->licence;
}

static void fill_object(dacm_object *object, const Dacm__Records__Version *record)
{
    object->size = record->size;
    rpc_text_copy(object->media_type, sizeof object->media_type, record->media_type);
    rpc_text_copy(object->chunking, sizeof object->chunking, record->chunking);
    memcpy(object->sha256, record->sha256.data, DACM_DIGEST_BYTES);
    memcpy(object->chunks_sha256, record->chunks_sha256.data, DACM_DIGEST_BYTES);
    if (digest_field(&record->upload_key))
        memcpy(object->upload_key, record->upload_key.data, DACM_DIGEST_BYTES);
}

static void get_version(struct load *load);

static void have_version(struct load *load)
{
    rpc_status status = load->op.status;
    if (status.code == RPC_NOT_FOUND && load->just_made && !load->given_up) {
        load->given_up = true;
        get_version(load);
        return;
    }
    if (status.code == RPC_OK)
        host_record_unpack(&dacm__records__version__descriptor, load->op.view.bytes, load->arena,
            (ProtobufCMessage **)&load->record, &status);
    store_view_release(&load->op.view);
    if (!load->record) {
        load_end(load, &status);
        return;
    }
    if (!record_is_sound(load->record, load->entry->object.which.adapted)) {
        load_fail(load, RPC_DATA_LOSS,
            "store: the record of a version contradicts itself; run dacmd --store-check");
        return;
    }
    load->entries_size = (size_t)load->record->chunk_count * DACM_ENTRY_BYTES;
    uint64_t bytes = sizeof *load->entry + load->entries_size +
                     ((uint64_t)load->record->chunk_count + 1) * sizeof(uint64_t);
    if (!reserve(load->objects, bytes)) {
        load_fail(load, RPC_RESOURCE_EXHAUSTED,
            "downloads: the chunk lists in use fill limits.list_memory_bytes; try again later or "
            "raise it");
        return;
    }
    load->entry->bytes = bytes;
    load->entries = malloc(load->entries_size ? load->entries_size : 1);
    if (!load->entries) {
        load_fail(load, RPC_RESOURCE_EXHAUSTED, "downloads: no memory for a chunk list");
        return;
    }
    fill_object(&load->entry->object, load->record);
    if (load->entry->object.which.adapted && !fill_adapted(&load->entry->object, load->record)) {
        load_fail(load, RPC_RESOURCE_EXHAUSTED, "downloads: no memory for a variant");
        return;
    }
    next_page(load);
}

static void get_version(struct load *load)
{
    const dacm_object *object = &load->entry->object;
    const dacm_which *which = &object->which;
    const host_key group = which->adapted ? dacm_key_variants(object->asset_id)
                                          : dacm_key_asset(object->asset_id);
    const host_key item = load->given_up   ? dacm_key_given_up(which)
                          : which->adapted ? dacm_key_variant(which)
                                           : dacm_key_version(which->version);
    if (store_get(load->objects->db, host_key_bytes(&group), host_key_bytes(&item),
            start_op(load, have_version)) == STORE_READY)
        have_version(load);
}

static struct entry *entry_new(dacm_objects *objects, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->owner = objects;
    entry->refs = 1;
    pthread_mutex_init(&entry->manifest_lock, NULL);
    strncpy(entry->object.asset_id, asset_id, DACM_ASSET_ID_MAX);
    memcpy(entry->object.uid, uid, STORE_UID_BYTES);
    entry->object.which = *which;
    return entry;
}

static struct load *load_new(dacm_objects *objects, rpc_call *call, struct entry *entry)
{
    struct load *load = calloc(1, sizeof *load);
    rpc_arena *arena = rpc_arena_new(256u << 10);
    if (!load || !arena || !entry) {
        free(load);
        rpc_arena_free(arena);
        if (entry)
            entry_free(entry);
        return NULL;
    }
    load->objects = objects;
    load->call = rpc_call_ref(call);
    load->executor = (store_executor){post_on_call, call};
    load->arena = arena;
    load->entry = entry;
    return load;
}

static void load_object(dacm_objects *objects, rpc_call *call, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, bool just_made, dacm_object_fn *fn,
    void *arg)
{
    dacm_object *object = find(objects, uid, which);
    if (object) {
        fn(arg, object, &(rpc_status){.code = RPC_OK});
        return;
    }
    struct load *load = load_new(objects, call, entry_new(objects, asset_id, uid, which));
    if (!load) {
        rpc_status status;
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "downloads: no memory to begin another");
        fn(arg, NULL, &status);
        return;
    }
    load->fn = fn;
    load->arg = arg;
    load->just_made = just_made;
    get_version(load);
}

void dacm_object_load(dacm_objects *objects, rpc_call *call, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, dacm_object_fn *fn, void *arg)
{
    load_object(objects, call, asset_id, uid, which, false, fn, arg);
}

void dacm_object_load_made(dacm_objects *objects, rpc_call *call, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, dacm_object_fn *fn, void *arg)
{
    load_object(objects, call, asset_id, uid, which, true, fn, arg);
}

char *dacm_object_manifest(dacm_object *object, const skmc_keys *keys, int64_t not_before)
{
    struct entry *entry = (struct entry *)object;
    pthread_mutex_lock(&entry->manifest_lock);
    bool good = entry->jws && (!keys || skmc_keys_serves(keys, entry->kid)) &&
                entry->exp >= not_before;
    char *copy = good ? strdup(entry->jws) : NULL;
    pthread_mutex_unlock(&entry->manifest_lock);
    return copy;
}

void dacm_object_keep_manifest(dacm_object *object, const char *jws, const char *kid, int64_t exp)
{
    struct entry *entry = (struct entry *)object;
    char *jws_copy = strdup(jws), *kid_copy = strdup(kid);
    if (!jws_copy || !kid_copy) {
        free(jws_copy);
        free(kid_copy);
        return;
    }
    pthread_mutex_lock(&entry->manifest_lock);
    char *old_jws = entry->jws, *old_kid = entry->kid;
    entry->jws = jws_copy;
    entry->kid = kid_copy;
    entry->exp = exp;
    pthread_mutex_unlock(&entry->manifest_lock);
    free(old_jws);
    free(old_kid);
}
