/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.Download: decision, signed manifest, list, chunks (solution #6 steps 1 to 3).
 *
 * All of a download happens on its call's strand; only refs is touched from elsewhere (the
 * registry of running downloads).
 *
 *   REQUEST ─▶ DECIDING ─▶ LOADING ─▶ LIST ─▶ CHUNKS ─▶ SENT ─▶ OVER
 *                          │    ▲   └── decided again on a change; a denial ends it, and so does
 *                          ▼    │       the token's end, until the last byte has left
 *                        ADAPTING: a variant that is not kept is being made */
#include "download_internal.h"
#include "recipe.h"

#include <stdlib.h>
#include <string.h>

#define DENIAL_GRACE_MS 500 /* for the message on its way; then what is left of it is dropped */
#define RECHECK_ARENA   (256u << 10)

void download_hold(void *arg)
{
    download *d = arg;
    atomic_fetch_add(&d->refs, 1);
}

void download_drop(download *d)
{
    if (atomic_fetch_sub(&d->refs, 1) != 1)
        return;
    dacm_access_done(&d->access);
    dacm_object_unref(d->object);
    dacm_plan_done(&d->plan);
    rpc_arena_free(d->recheck_arena);
    free(d->wanted);
    if (d->message)
        rpc_message_release(d->message);
    free(d->manifest);
    rpc_call_unref(d->call);
    free(d);
}

static void over(download *d)
{
    d->state = OVER;
    if (d->wanted) /* no lock for those that never waited */
        dacm_adaptations_leave(d->service->adaptations, &d->waiter);
}

void download_end(download *d, const rpc_status *status)
{
    if (d->state >= SENT)
        return;
    over(d);
    dacm_access_finish(&d->access, status);
}

void download_sent(download *d)
{
    d->state = SENT;
    dacm_access_finish(&d->access, &(rpc_status){.code = RPC_OK});
}

/* With when to ask again, where that is known. */
static void refuse_recipe(download *d, const rpc_status *status)
{
    if (d->waiter.retry_ms > 0)
        (void)rpc_call_retry_pushback(d->call, d->waiter.retry_ms);
    const int room = sizeof d->access.why - 1; /* the beginning says enough */
    snprintf(d->access.why, sizeof d->access.why, "%.*s", room, status->message);
    download_end(d, status);
}

void download_fail(download *d, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    download_end(d, &status);
}

/* ---- deciding again while it runs ---- */

static void cut(rpc_call *call, void *arg)
{
    (void)arg;
    rpc_call_cancel(call);
}

/* Its reader is told why, also one whose window is closed; unless all was queued, and behind it
 * that it went well: then it breaks off. */
static void take_back(download *d, const rpc_status *status)
{
    const bool can_tell = d->state != SENT;
    download_end(d, status);
    if (!can_tell || rpc_call_after(d->call, DENIAL_GRACE_MS, cut, NULL) != RPC_OK)
        rpc_call_cancel(d->call);
}

static void start_recheck(download *d);
static void start(download *d);

static void rechecked(void *arg, const rpc_status *status)
{
    download *d = arg;
    d->rechecking = false;
    if (d->state != OVER && status->code != RPC_OK)
        take_back(d, status);
    else if (d->state != OVER && d->dirty)
        start_recheck(d);
    else if (d->state != OVER && d->start_waits)
        start(d);
    download_drop(d);
}

static void start_recheck(download *d)
{
    d->dirty = false;
    d->rechecking = true;
    download_hold(d);
    rpc_arena_reset(d->recheck_arena);
    dacm_access_again(&d->access, d->recheck_arena, rechecked, d);
}

/* Posted by the registry, which holds d for us. */
static void on_change(void *arg)
{
    download *d = arg;
    d->dirty = true;
    if (!d->rechecking && d->state > DECIDING && d->state < OVER)
        start_recheck(d);
    download_drop(d);
}

static void expired(rpc_call *call, void *arg)
{
    (void)arg;
    download *d = rpc_call_context(call);
    if (!d || d->state == OVER)
        return;
    rpc_status status;
    dacm_access_expired(&d->access, &status);
    take_back(d, &status);
}

/* ---- from the decision to the first message ---- */

static void release_request(download *d)
{
    d->request = NULL;
    rpc_message_release(d->message);
    d->message = NULL;
}

static bool watch_expiry(download *d)
{
    int64_t left_ms = d->access.valid_until * 1000 - rpc_clock_wall_ms(d->service->clock);
    if (left_ms < 0)
        left_ms = 0;
    if (rpc_call_after(d->call, left_ms, expired, NULL) == RPC_OK)
        return true;
    download_fail(
        d, RPC_RESOURCE_EXHAUSTED, "download: no timer to end it with the token; try again");
    return false;
}

static void send_start(download *d, bool not_modified)
{
    Dacm__V1__DownloadStart start = DACM__V1__DOWNLOAD_START__INIT;
    Dacm__V1__DownloadResponse response = DACM__V1__DOWNLOAD_RESPONSE__INIT;
    start.manifest = d->manifest;
    start.not_modified = not_modified;
    start.send_bytes = not_modified ? 0 : d->plan.send_bytes;
    start.chunk_count = d->object->list.count;
    response.part_case = DACM__V1__DOWNLOAD_RESPONSE__PART_START;
    response.start = &start;
    release_request(d);
    if (rpc_call_send_packed(d->call, &response.base) != RPC_SENT_OK)
        return;
    if (not_modified) {
        download_end(d, &(rpc_status){.code = RPC_OK});
        return;
    }
    d->state = LIST;
    d->next = 0;
    download_pump(d);
}

/* Nothing leaves on a decision that a change has overtaken: a variant may have taken long to make,
 * and the user may be on no list any more. */
static bool is_decided(download *d)
{
    d->start_waits = false;
    if (d->dirty && !d->rechecking)
        start_recheck(d);
    d->start_waits = d->rechecking;
    return d->state != OVER && !d->rechecking;
}

static void start(download *d)
{
    const Dacm__V1__DownloadRequest *request = d->request;
    if (!is_decided(d))
        return;
    const bool same = request->if_none_match.len == DACM_DIGEST_BYTES &&
                      memcmp(request->if_none_match.data, d->object->sha256, DACM_DIGEST_BYTES) ==
                          0;
    send_start(d, same);
}

static void have_manifest(void *arg, dacm_object *object, char *jws, const rpc_status *status)
{
    download *d = arg;
    (void)object;
    d->manifest = jws;
    if (d->state == LOADING && !jws)
        download_end(d, status);
    else if (d->state == LOADING)
        start(d);
    download_drop(d);
}

void download_begin(download *d)
{
    download_hold(d);
    dacm_manifest_get(d->service, d->call, d->object, have_manifest, d);
}

static void have_object(void *arg, dacm_object *object, const rpc_status *status);

/* Strand; d was held for it. */
static void adapted(void *arg)
{
    download *d = arg;
    if (d->state == ADAPTING && d->waiter.status.code == RPC_OK) {
        d->state = LOADING;
        dacm_object_load_made(d->service->objects, d->call, d->access.asset_id, d->wanted->uid,
            &d->wanted->which, have_object, d);
        return; /* have_object drops what this reference was */
    }
    if (d->state == ADAPTING)
        refuse_recipe(d, &d->waiter.status);
    download_drop(d);
}

/* A variant that is not kept: made now, for whoever else asks as well. */
static void adapt(download *d)
{
    rpc_status status = {.code = RPC_OK};
    d->adapted = true;
    d->state = ADAPTING;
    d->waiter = (dacm_adapt_waiter){
        .call = d->call, .hold = download_hold, .fn = adapted, .arg = d};
    if (dacm_adaptations_join(
            d->service->adaptations, &d->waiter, d->wanted, d->access.gpsi, &status) != RPC_OK)
        refuse_recipe(d, &status);
}

/* One whose record or list the disk has damaged is made in its place. */
static bool must_be_made(const download *d, const rpc_status *status)
{
    if (status->code == RPC_DATA_LOSS)
        dacm_log_store_failure(d->service, "load of a variant, which is made again", status);
    return status->code == RPC_NOT_FOUND || status->code == RPC_DATA_LOSS;
}

static void have_object(void *arg, dacm_object *object, const rpc_status *status)
{
    download *d = arg;
    d->object = object;
    rpc_status failure = *status;
    if (d->state == LOADING && object && d->wanted)
        dacm_variants_used(d->service->variants, object->uid, &object->which);
    if (d->state == LOADING && d->wanted && !d->adapted && must_be_made(d, &failure))
        adapt(d);
    else if (d->state == LOADING && object) {
        const Dacm__V1__ByteRange *range = d->request->range;
        const Dacm__V1__Have *have = d->request->have;
        rpc_code code = dacm_plan_init(&d->plan, &object->list, range ? range->offset : 0,
            range ? range->length : 0, &failure);
        if (code == RPC_OK && have)
            code = download_leave_out(d, have, &failure);
        if (code != RPC_OK)
            download_end(d, &failure);
        else if (have && have->manifest_sha256.len)
            download_find_held(d, have);
        else
            download_begin(d);
    } else if (d->state == LOADING)
        download_end(d, dacm_store_status(d->service, "load of a version", &failure));
    download_drop(d);
}

/* What d was held for goes to have_object. */
static void load_object(download *d, const uint8_t *uid, const dacm_which *which)
{
    dacm_object_load(d->service->objects, d->call, d->access.asset_id, uid, which, have_object, d);
}

static void load_version(download *d, const Dacm__Records__Profile *profile, uint64_t version)
{
    const dacm_which original = {.version = version};
    if (!d->wanted) {
        load_object(d, profile->uid.data, &original);
        return;
    }
    d->wanted->which.version = version;
    memcpy(d->wanted->uid, profile->uid.data, STORE_UID_BYTES);
    memcpy(d->wanted->asset_id, d->access.asset_id, sizeof d->wanted->asset_id);
    load_object(d, d->wanted->uid, &d->wanted->which);
}

static void decided(void *arg, const rpc_status *status)
{
    download *d = arg;
    if (d->state != DECIDING) {
        download_drop(d);
        return;
    }
    const Dacm__Records__Profile *profile = d->access.facts.profile;
    const Dacm__V1__DownloadRequest *request = d->request;
    d->state = LOADING;
    if (status->code != RPC_OK)
        download_end(d, status);
    else if (!profile)
        download_fail(d, RPC_NOT_FOUND, "asset_id: there is no such asset");
    else if (profile->version == 0)
        download_fail(d, RPC_NOT_FOUND, "asset_id: the asset has no media yet; upload it first");
    else if (request->version > profile->version ||
             (request->version != 0 && request->version < profile->oldest_version))
        download_fail(
            d, RPC_NOT_FOUND, "version: the asset has no such version; 0 asks for the newest");
    else if (watch_expiry(d)) {
        load_version(d, profile, request->version ? request->version : profile->version);
        return; /* have_object drops what this reference was */
    }
    download_drop(d);
}

static rpc_code check_request(const Dacm__V1__DownloadRequest *request, rpc_status *reterr)
{
    if (request->if_none_match.len != 0 && request->if_none_match.len != DACM_DIGEST_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "if_none_match: must be a SHA-256, 32 bytes, or empty");
    return request->have ? download_check_have(request->have, reterr) : RPC_OK;
}

/* No recipe, or one that asks for the original: nothing is wanted. */
static rpc_code take_recipe(download *d, rpc_status *reterr)
{
    bool original = false;
    if (!d->request->recipe)
        return RPC_OK;
    d->wanted = calloc(1, sizeof *d->wanted);
    if (!d->wanted)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "download: no memory for a recipe");
    d->wanted->which.adapted = true;
    rpc_code code = dacm_recipe_read(
        d->request->recipe, &original, d->wanted->recipe, d->wanted->which.recipe_sha256, reterr);
    if (code == RPC_OK && original) {
        free(d->wanted);
        d->wanted = NULL;
    }
    return code;
}

static dacm_request access_request(const Dacm__V1__DownloadRequest *request)
{
    dacm_request wanted = {.method = "Download", .action = DACM_ACTION_GET};
    wanted.asset_id = request->asset_id;
    if (request->user_case == DACM__V1__DOWNLOAD_REQUEST__USER_GPSI)
        wanted.gpsi = request->gpsi;
    else if (request->user_case == DACM__V1__DOWNLOAD_REQUEST__USER_EXTERNAL_ID)
        wanted.external_id = request->external_id;
    return wanted;
}

/* ---- callbacks of the call ---- */

static void release_context(void *context)
{
    download_drop(context);
}

static void on_start(rpc_call *call, void *user)
{
    download *d = calloc(1, sizeof *d);
    rpc_arena *arena = rpc_arena_new(RECHECK_ARENA);
    if (!d || !arena) {
        free(d);
        rpc_arena_free(arena);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "download: no memory; try again later");
        return;
    }
    atomic_init(&d->refs, 1);
    d->service = user;
    d->call = rpc_call_ref(call);
    d->recheck_arena = arena;
    d->executor = dacm_call_executor(call);
    dacm_access_init(&d->access, d->service, call);
    rpc_call_set_context(call, d, release_context);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    download *d = rpc_call_context(call);
    if (!d || d->state != REQUEST) {
        rpc_message_release(message);
        if (d)
            download_fail(d, RPC_INVALID_ARGUMENT, "download: one request only");
        return;
    }
    d->message = message;
    d->state = DECIDING;
    rpc_status status = {0};
    ProtobufCMessage *unpacked = NULL;
    if (rpc_message_unpack(message, &dacm__v1__download_request__descriptor, &unpacked, &status) !=
        RPC_OK) {
        download_end(d, &status);
        return;
    }
    d->request = (const Dacm__V1__DownloadRequest *)unpacked;
    dacm_request wanted = access_request(d->request);
    if (check_request(d->request, &status) != RPC_OK || take_recipe(d, &status) != RPC_OK ||
        dacm_access_prepare(&d->access, &wanted, &status) != RPC_OK) {
        download_end(d, &status);
        return;
    }
    d->running = (dacm_running_entry){.call = call,
        .asset_id = d->access.asset_id,
        .recipe_sha256 = d->wanted ? d->wanted->which.recipe_sha256 : NULL,
        .begun_s = rpc_clock_wall_ms(d->service->clock) / 1000,
        .hold = download_hold,
        .recheck = on_change,
        .arg = d};
    dacm_running_add(d->service->running, &d->running);
    d->registered = true;
    download_hold(d);
    dacm_access_start(&d->access, rpc_call_arena(call), decided, d);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    download *d = rpc_call_context(call);
    if (d && d->state == REQUEST)
        download_fail(d, RPC_INVALID_ARGUMENT, "download: no request came");
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    download *d = rpc_call_context(call);
    if (d && (d->state == LIST || d->state == CHUNKS))
        download_pump(d);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    download *d = rpc_call_context(call);
    if (!d)
        return;
    over(d);
    if (d->registered) /* only now: what was sent last is read from the store as it leaves */
        dacm_running_remove(d->service->running, &d->running);
    d->registered = false;
}

const rpc_handler dacm_download_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_end = on_end,
};
