/* SPDX-License-Identifier: Apache-2.0 */
/* An upload's beginning and end: the start message judged, an earlier upload of the same ID
 * found, and the new version recorded.
 *
 * Order on disk: chunks, then the upload's record (which names the version to come), then the
 * index, then version and profile in one update. Only the last makes anything visible, and the
 * upload's record counts only together with it: an upload is there whole or not at all, and its
 * repetition finds it whenever it is there. */
#include "upload_internal.h"

#include "newasset.h"

#include <stdlib.h>
#include <string.h>

static void hold(upload *u)
{
    atomic_fetch_add(&u->refs, 1);
}

/* ---- the start message ---- */

static bool upload_id_valid(const char *id)
{
    size_t size = strlen(id);
    if (size < 1 || size > 64)
        return false;
    return strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == size;
}

/* type/subtype of RFC 6838 4.2, at most 127 bytes. */
static bool media_type_valid(const char *type)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&-^_.+";
    size_t size = strlen(type), first = strspn(type, allowed);
    if (size > 127 || first == 0 || type[first] != '/')
        return false;
    size_t second = strspn(type + first + 1, allowed);
    return second > 0 && first + 1 + second == size;
}

static rpc_code check_start(
    const dacm_service *service, const Dacm__V1__UploadStart *start, rpc_status *reterr)
{
    if (!upload_id_valid(start->upload_id))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "upload_id: must be 1 to 64 of A-Z a-z 0-9 _ -");
    if (start->sha256.len != DACM_DIGEST_BYTES)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "sha256: must be the SHA-256 of the whole object, 32 bytes");
    if (start->size > service->config->object_bytes_max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "size: %llu bytes; limits.object_bytes allows %llu", (unsigned long long)start->size,
            (unsigned long long)service->config->object_bytes_max);
    if (!media_type_valid(start->media_type))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "media_type: must be type/subtype (RFC 6838), at most 127 bytes");
    if (start->target_case == DACM__V1__UPLOAD_START__TARGET__NOT_SET)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "target: name a profile for a new asset, or the asset to add a version to");
    return RPC_OK;
}

static dacm_request access_request(const Dacm__V1__UploadStart *start)
{
    dacm_request wanted = {.method = "Upload", .action = DACM_ACTION_CREATE};
    if (start->target_case == DACM__V1__UPLOAD_START__TARGET_ASSET) {
        wanted.action = DACM_ACTION_UPDATE;
        wanted.asset_id = start->asset->asset_id;
    }
    if (start->user_case == DACM__V1__UPLOAD_START__USER_GPSI)
        wanted.gpsi = start->gpsi;
    else if (start->user_case == DACM__V1__UPLOAD_START__USER_EXTERNAL_ID)
        wanted.external_id = start->external_id;
    return wanted;
}

/* The digests by which a repetition is known. */
static rpc_code hash_request(upload *u, rpc_status *reterr)
{
    rpc_bytes packed = host_record_pack(&u->start->base);
    if (!packed.data)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory to begin");
    rpc_code code = dacm_sha256(packed, u->request_sha256, reterr);
    free((void *)(uintptr_t)packed.data);
    if (code != RPC_OK)
        return code;
    char name[DACM_GPSI_MAX + 1 + 64 + 1];
    int size = snprintf(name, sizeof name, "%s%c%s", u->access.gpsi, '\0', u->start->upload_id);
    return dacm_sha256(rpc_bytes_of(name, (size_t)size), u->key, reterr);
}

/* ---- an earlier upload of this ID ---- */

static void stale(const upload *u, uint64_t version, rpc_status *ret)
{
    rpc_status_set(ret, RPC_ABORTED,
        "if_match: version %llu was named and %llu is the newest; read it, then decide again",
        (unsigned long long)u->if_match, (unsigned long long)version);
}

static void begin_new(upload *u)
{
    rpc_status status;
    if (u->is_new)
        dacm_asset_id_of(u->uid, u->asset_id);
    if (u->stale_version == 0)
        upload_receive(u);
    else {
        stale(u, u->stale_version, &status);
        upload_end(u, &status);
    }
}

static void have_earlier_object(void *arg, dacm_object *object, const rpc_status *status)
{
    upload *u = arg;
    bool same = object && memcmp(object->upload_key, u->key, sizeof u->key) == 0;
    if (u->state != REPLAY) {
        /* gone */
    } else if (same)
        upload_answer(u, object);
    else if (object || status->code == RPC_NOT_FOUND)
        begin_new(u);
    else
        upload_end(u, dacm_store_status(u->service, "load of a version", status));
    dacm_object_unref(object);
    upload_drop(u);
}

static void have_earlier_facts(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    upload *u = arg;
    if (u->state == REPLAY && status->code != RPC_OK)
        upload_end(u, dacm_store_status(u->service, "lookup of an asset", status));
    if (u->state != REPLAY) {
        upload_drop(u);
        return;
    }
    /* Who owns an asset no longer is told as much of it as of one that was deleted: nothing. For a
     * new version the decision has been made. */
    if (!facts->profile || (u->is_new && !facts->owner)) {
        begin_new(u);
        upload_drop(u);
        return;
    }
    const dacm_which which = {.version = u->version};
    dacm_object_load(u->service->objects, u->call, u->asset_id, facts->profile->uid.data, &which,
        have_earlier_object, u);
}

static void have_earlier(void *arg)
{
    upload *u = arg;
    Dacm__Records__Upload *record = NULL;
    rpc_status status = u->op.status;
    if (status.code == RPC_OK)
        host_record_unpack(&dacm__records__upload__descriptor, u->op.view.bytes, u->arena,
            (ProtobufCMessage **)&record, &status);
    store_view_release(&u->op.view);
    if (u->state == REPLAY && !record) {
        if (status.code == RPC_NOT_FOUND)
            begin_new(u);
        else
            upload_end(u, dacm_store_status(u->service, "lookup of an upload", &status));
    } else if (u->state == REPLAY &&
               (record->request_sha256.len != DACM_DIGEST_BYTES ||
                   memcmp(record->request_sha256.data, u->request_sha256, DACM_DIGEST_BYTES) != 0 ||
                   strlen(record->asset_id) > DACM_ASSET_ID_MAX))
        upload_fail(
            u, RPC_FAILED_PRECONDITION, "upload_id: was used for another upload; choose a new one");
    else if (u->state == REPLAY) {
        rpc_text_copy(u->asset_id, sizeof u->asset_id, record->asset_id);
        u->version = record->version;
        dacm_facts_get(&u->access.load, u->service->store, &u->executor, u->arena, u->asset_id,
            u->access.gpsi, have_earlier_facts, u);
        return;
    }
    upload_drop(u);
}

static void on_earlier(store_op *op)
{
    have_earlier(op->ctx);
}

static void find_earlier(upload *u)
{
    u->state = REPLAY;
    rpc_arena_reset(u->arena);
    host_key group = dacm_key_uploads(u->access.gpsi);
    host_key item = {.size = strlen(u->start->upload_id)};
    memcpy(item.data, u->start->upload_id, item.size);
    hold(u);
    u->op = (store_op){.done = on_earlier, .ctx = u, .executor = &u->executor};
    if (store_get(u->service->store, host_key_bytes(&group), host_key_bytes(&item), &u->op) ==
        STORE_READY)
        have_earlier(u);
}

/* ---- the decision before the first byte ---- */

static rpc_code take_target(upload *u, rpc_status *reterr)
{
    const Dacm__Records__Profile *profile = u->access.facts.profile;
    if (u->is_new) {
        rpc_random(u->uid, sizeof u->uid);
        return dacm_check_new_asset(u->start->profile, u->access.gpsi, reterr);
    }
    if (!profile)
        return rpc_status_set(reterr, RPC_NOT_FOUND, "asset.asset_id: there is no such asset");
    if (u->if_match != 0 && u->if_match != profile->version)
        u->stale_version = profile->version; /* a repetition is judged first */
    rpc_text_copy(u->asset_id, sizeof u->asset_id, u->access.asset_id);
    memcpy(u->uid, profile->uid.data, sizeof u->uid);
    return RPC_OK;
}

static void decided(void *arg, const rpc_status *status)
{
    upload *u = arg;
    rpc_status failure = *status;
    if (u->state != DECIDING) {
        upload_drop(u);
        return;
    }
    if (failure.code != RPC_OK || take_target(u, &failure) != RPC_OK ||
        hash_request(u, &failure) != RPC_OK ||
        dacm_uploads_enter(u->service->uploads, &u->slot, u->access.gpsi, u->key, u->uid,
            u->service->config->uploads_per_owner_max, &failure) != RPC_OK)
        upload_end(u, &failure);
    else
        find_earlier(u);
    upload_drop(u);
}

void upload_begin(upload *u, rpc_message *message)
{
    ProtobufCMessage *unpacked = NULL;
    rpc_status status = {0};
    u->start_arena = rpc_arena_new(START_ARENA);
    if (!u->start_arena) {
        rpc_message_release(message);
        upload_fail(u, RPC_RESOURCE_EXHAUSTED, "upload: no memory for its start");
        return;
    }
    /* The start is needed to the end: kept as a message it would keep its part of the window. */
    rpc_code code = rpc_unpack(&dacm__v1__upload_request__descriptor, rpc_message_bytes(message),
        u->start_arena, &unpacked, &status);
    rpc_message_release(message);
    if (code != RPC_OK) {
        upload_end(u, &status);
        return;
    }
    const Dacm__V1__UploadRequest *request = (const Dacm__V1__UploadRequest *)unpacked;
    if (request->part_case != DACM__V1__UPLOAD_REQUEST__PART_START) {
        upload_fail(u, RPC_INVALID_ARGUMENT, "upload: the first message must be the start");
        return;
    }
    u->start = request->start;
    u->state = DECIDING;
    dacm_request wanted = access_request(u->start);
    if (check_start(u->service, u->start, &status) != RPC_OK ||
        dacm_access_prepare(&u->access, &wanted, &status) != RPC_OK) {
        upload_end(u, &status);
        return;
    }
    u->is_new = wanted.action == DACM_ACTION_CREATE;
    u->size = u->start->size;
    u->if_match = u->is_new ? 0 : u->start->asset->if_match;
    memcpy(u->sha256, u->start->sha256.data, DACM_DIGEST_BYTES);
    hold(u);
    dacm_access_start(&u->access, u->arena, decided, u);
}

/* ---- recording ---- */

static void fill_media(
    const upload *u, Dacm__Records__Profile *profile, uint64_t version, int64_t now_s)
{
    profile->version = version;
    if (profile->oldest_version == 0)
        profile->oldest_version = 1;
    profile->media_type = u->start->media_type;
    profile->size = u->size;
    profile->sha256 = u->start->sha256;
    profile->media_created_at = now_s;
}

static void put_version(const upload *u, dacm_changes *changes, int64_t now_s)
{
    Dacm__Records__Version record = DACM__RECORDS__VERSION__INIT;
    char chunking[] = "gear-64k";
    record.version = u->version;
    record.media_type = u->start->media_type;
    record.size = u->size;
    record.sha256 = u->start->sha256;
    record.chunks_sha256 = dacm_data_of(u->chunks_sha256, DACM_DIGEST_BYTES);
    record.chunk_count = (uint32_t)u->assembler.count;
    record.chunking = chunking;
    record.created_at = now_s;
    record.upload_key = dacm_data_of(u->key, DACM_DIGEST_BYTES);
    dacm_put_version(changes, dacm_key_version(u->version), &record, u->pages, u->page_count);
}

static void recorded_object(void *arg, dacm_object *object, const rpc_status *status)
{
    upload *u = arg;
    if (u->state == COMMITTING && object)
        upload_answer(u, object);
    else if (u->state == COMMITTING)
        upload_end(u, dacm_store_status(u->service, "load of a new version", status));
    dacm_object_unref(object);
    upload_drop(u);
}

static void audited(void *arg, const rpc_status *status)
{
    upload *u = arg;
    const dacm_which which = {.version = u->version};
    if (u->state != COMMITTING)
        upload_drop(u);
    else if (status->code != RPC_OK) {
        upload_end(u, status);
        upload_drop(u);
    } else
        dacm_object_load(
            u->service->objects, u->call, u->asset_id, u->uid, &which, recorded_object, u);
}

static void recorded(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    upload *u = arg;
    if (status->code == RPC_OK) {
        dacm_access_changed(&u->access, u->asset_id, "version stored", audited, u);
        return;
    }
    if (u->state != COMMITTING) {
        /* gone */
    } else if (status->code == RPC_ABORTED && ++u->tries < COMMIT_TRIES_MAX)
        upload_commit(u);
    else
        upload_end(u, dacm_store_status(u->service, "record of a version", status));
    upload_drop(u);
}

static void record_version(upload *u)
{
    int64_t now_s = rpc_clock_wall_ms(u->service->clock) / 1000;
    dacm_changes changes = {0};
    Dacm__Records__Profile fresh = DACM__RECORDS__PROFILE__INIT;
    char *owner = NULL;
    Dacm__Records__Profile *profile = &fresh;
    uint64_t expected = 0;
    if (u->is_new)
        dacm_new_asset(&changes, u->start->profile, u->access.gpsi, u->uid, now_s, &owner, &fresh);
    else {
        profile = u->access.facts.profile;
        expected = u->access.facts.generation;
    }
    fill_media(u, profile, u->version, now_s);
    uint64_t kept = u->service->config->versions_max;
    for (unsigned i = 0; i < 8 && u->version - profile->oldest_version >= kept; i++)
        dacm_changes_delete(&changes, dacm_key_version(profile->oldest_version++));
    put_version(u, &changes, now_s);
    dacm_changes_put(&changes, dacm_key_profile(), &profile->base);
    hold(u);
    dacm_changes_apply(&changes, u->service->store, &u->executor, dacm_key_asset(u->asset_id),
        expected, recorded, u);
}

static void indexed(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    upload *u = arg;
    if (u->state == COMMITTING && status->code != RPC_OK)
        upload_end(u, dacm_store_status(u->service, "index of an asset", status));
    else if (u->state == COMMITTING)
        record_version(u);
    upload_drop(u);
}

static void announced(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    upload *u = arg;
    if (u->state == COMMITTING && status->code != RPC_OK)
        upload_end(u, dacm_store_status(u->service, "record of an upload", status));
    else if (u->state == COMMITTING && u->is_new) {
        hold(u);
        dacm_index_new_asset(
            u->service, &u->executor, u->asset_id, u->start->profile, u->access.gpsi, indexed, u);
    } else if (u->state == COMMITTING)
        record_version(u);
    upload_drop(u);
}

/* The upload's record: what a repetition will look for. */
static void announce(upload *u)
{
    Dacm__Records__Upload record = DACM__RECORDS__UPLOAD__INIT;
    record.asset_id = u->asset_id;
    record.version = u->version;
    record.request_sha256 = dacm_data_of(u->request_sha256, DACM_DIGEST_BYTES);
    record.created_at = rpc_clock_wall_ms(u->service->clock) / 1000;
    host_key item = {.size = strlen(u->start->upload_id)};
    memcpy(item.data, u->start->upload_id, item.size);
    dacm_changes changes = {0};
    dacm_changes_put(&changes, item, &record.base);
    hold(u);
    dacm_changes_apply(&changes, u->service->store, &u->executor, dacm_key_uploads(u->access.gpsi),
        STORE_ANY_GENERATION, announced, u);
}

static void decided_again(void *arg, const rpc_status *status)
{
    upload *u = arg;
    const Dacm__Records__Profile *profile = u->access.facts.profile;
    rpc_status failure = *status;
    if (u->state != COMMITTING) {
        upload_drop(u);
        return;
    }
    if (failure.code == RPC_OK && !u->is_new && !profile)
        rpc_status_set(&failure, RPC_NOT_FOUND, "asset.asset_id: the asset was deleted meanwhile");
    else if (failure.code == RPC_OK && u->if_match != 0 && u->if_match != profile->version)
        stale(u, profile->version, &failure);
    if (failure.code != RPC_OK)
        upload_end(u, &failure);
    else {
        u->version = u->is_new ? 1 : profile->version + 1;
        announce(u);
    }
    upload_drop(u);
}

void upload_commit(upload *u)
{
    hold(u);
    rpc_arena_reset(u->arena);
    dacm_access_again(&u->access, u->arena, decided_again, u);
}
