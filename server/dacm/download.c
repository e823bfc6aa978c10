/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.Download: decision, signed manifest, list, chunks (solution #6 steps 1 to 3).
 *
 * All of a download happens on its call's strand; only refs is touched from elsewhere (the
 * registry of running downloads). Chunk bytes go from the store's view to the record layer: a
 * view is held between pull and pulled, never over a wait.
 *
 *   REQUEST ─▶ DECIDING ─▶ LOADING ─▶ LIST ─▶ CHUNKS ─▶ OVER
 *                          │    ▲   └── decided again on a change; a denial ends it, and so does
 *                          ▼    │       the token's end
 *                        ADAPTING: a variant that is not kept is being made */
#include "dacm_internal.h"
#include "object.h"
#include "plan.h"
#include "recipe.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HAVE_MAX        65536u
#define DENIAL_GRACE_MS 500 /* for the message on its way; then what is left of it is dropped */
#define RECHECK_ARENA   (256u << 10)

enum state {
    REQUEST,  /* waiting for the request */
    DECIDING, /* token and profile */
    LOADING,  /* version, list, manifest */
    ADAPTING, /* a variant that was not there */
    LIST,     /* pages of the list */
    CHUNKS,   /* runs of chunks */
    OVER,     /* finish was called or the call has ended */
};

typedef struct download {
    atomic_uint refs;
    enum state state;
    bool registered, dirty, rechecking;
    bool start_waits; /* until it was decided again: what is ready to be sent */
    dacm_service *service;
    rpc_call *call;
    rpc_message *message; /* owns request */
    const Dacm__V1__DownloadRequest *request;
    dacm_access access;
    rpc_arena *recheck_arena;
    dacm_running_entry running;
    dacm_wanted *wanted; /* of a request with a recipe */
    dacm_adapt_waiter waiter;
    bool adapted; /* it was waited for */
    dacm_object *object;
    dacm_plan plan;
    char *manifest;
    uint32_t next; /* entry of the list, or chunk */
    store_op op;   /* lookup of have.manifest_sha256 */
    store_executor executor;
} download;

/* A message on its way: a page of the list or a run of chunks. */
typedef struct part {
    download *download;
    uint32_t first;
    size_t size, begin; /* begin: byte of the object, or of the list */
    uint32_t chunk;     /* the chunk that the last pull was in */
    store_op op;
    bool reading, have; /* a read is pending; its view waits to be pulled */
    bool released;
    size_t op_offset; /* of the message, where op.view begins */
} part;

static void hold(void *arg)
{
    download *d = arg;
    atomic_fetch_add(&d->refs, 1);
}

static void drop(download *d)
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
    if (d->registered)
        dacm_running_remove(d->service->running, &d->running);
    d->registered = false;
    if (d->wanted) /* no lock for those that never waited */
        dacm_adaptations_leave(d->service->adaptations, &d->waiter);
}

static void end_with(download *d, const rpc_status *status)
{
    if (d->state == OVER)
        return;
    over(d);
    dacm_access_finish(&d->access, status);
}

/* With when to ask again, where that is known. */
static void refuse_recipe(download *d, const rpc_status *status)
{
    if (d->waiter.retry_ms > 0)
        (void)rpc_call_retry_pushback(d->call, d->waiter.retry_ms);
    const int room = sizeof d->access.why - 1; /* the beginning says enough */
    snprintf(d->access.why, sizeof d->access.why, "%.*s", room, status->message);
    end_with(d, status);
}

static void fail(download *d, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    end_with(d, &status);
}

/* ---- messages ---- */

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

/* DownloadResponse{chunk_list{entries}} or {chunks{first, data}} up to the bytes. */
static size_t write_head(uint8_t head[32], bool is_list, uint32_t first, size_t size)
{
    uint8_t inner[20];
    size_t inner_size = 0;
    if (!is_list && first != 0) {
        inner[inner_size++] = 1 << 3;
        inner_size += put_varint(inner + inner_size, first);
    }
    inner[inner_size++] = (uint8_t)((is_list ? 1 : 2) << 3 | 2);
    inner_size += put_varint(inner + inner_size, size);
    size_t at = 0;
    head[at++] = (uint8_t)((is_list ? 2 : 3) << 3 | 2);
    at += put_varint(head + at, inner_size + size);
    memcpy(head + at, inner, inner_size);
    return at + inner_size;
}

static void part_release(void *ctx, bool sent)
{
    (void)sent;
    part *p = ctx;
    if (p->have)
        store_view_release(&p->op.view);
    p->have = false;
    p->released = true;
    if (p->reading)
        return; /* the read's completion comes back here */
    download *d = p->download;
    free(p);
    drop(d);
}

static rpc_pull list_pull(void *ctx, size_t offset, size_t max, rpc_bytes *ret)
{
    part *p = ctx;
    size_t left = p->size - offset;
    *ret = rpc_bytes_of(
        p->download->object->list.entries + p->begin + offset, left < max ? left : max);
    return RPC_PULL_READY;
}

static void on_read(store_op *op)
{
    part *p = op->ctx;
    download *d = p->download;
    p->reading = false;
    p->have = op->status.code == RPC_OK;
    if (p->released) {
        part_release(p, false);
        return;
    }
    rpc_call_resume(d->call);
}

/* The chunk that byte `at` of the object lies in, at or after p->chunk. */
static uint32_t chunk_of(const part *p, uint64_t at)
{
    const dacm_list *list = &p->download->object->list;
    uint32_t chunk = list->offsets[p->chunk] <= at ? p->chunk : p->first;
    while (list->offsets[chunk + 1] <= at)
        chunk++;
    return chunk;
}

static rpc_pull give_view(part *p, size_t offset, size_t max, rpc_bytes *ret)
{
    size_t skip = offset - p->op_offset;
    size_t left = p->op.view.bytes.size - skip;
    *ret = rpc_bytes_of(p->op.view.bytes.data + skip, left < max ? left : max);
    return RPC_PULL_READY;
}

static rpc_pull read_failed(part *p)
{
    dacm_log_store_failure(p->download->service, "read of a chunk", &p->op.status);
    return RPC_PULL_FAIL;
}

static rpc_pull chunks_pull(void *ctx, size_t offset, size_t max, rpc_bytes *ret)
{
    part *p = ctx;
    download *d = p->download;
    if (p->have && offset >= p->op_offset && offset < p->op_offset + p->op.view.bytes.size)
        return give_view(p, offset, max, ret);
    if (p->reading)
        return RPC_PULL_LATER;
    if (p->op.ctx && p->op.status.code != RPC_OK)
        return read_failed(p);
    if (p->have)
        store_view_release(&p->op.view);
    uint64_t at = p->begin + offset;
    p->chunk = chunk_of(p, at);
    store_chunk_ref ref;
    memcpy(ref.uid, d->object->uid, sizeof ref.uid);
    memcpy(ref.digest, dacm_list_digest(&d->object->list, p->chunk), sizeof ref.digest);
    uint64_t inside = at - d->object->list.offsets[p->chunk];
    p->op = (store_op){.done = on_read, .ctx = p, .executor = &d->executor};
    p->op_offset = offset;
    p->have = false;
    p->reading = true;
    if (store_read(d->service->store, &ref, inside,
            dacm_list_length(&d->object->list, p->chunk) - inside, &p->op) == STORE_PENDING)
        return RPC_PULL_LATER;
    p->reading = false;
    if (p->op.status.code != RPC_OK)
        return read_failed(p);
    p->have = true;
    return give_view(p, offset, max, ret);
}

static void chunks_pulled(void *ctx)
{
    part *p = ctx;
    if (p->have)
        store_view_release(&p->op.view);
    p->have = false;
}

static rpc_sent send_part(download *d, bool is_list, uint32_t first, uint64_t begin, size_t size)
{
    part *p = calloc(1, sizeof *p);
    if (!p) {
        fail(d, RPC_RESOURCE_EXHAUSTED, "download: no memory for the next message; resume it");
        return RPC_SENT_OVER;
    }
    p->download = d;
    p->first = p->chunk = first;
    p->begin = (size_t)begin;
    p->size = size;
    uint8_t head[32];
    size_t head_size = write_head(head, is_list, first, size);
    rpc_body body = {
        .size = size,
        .pull = is_list ? list_pull : chunks_pull,
        .pulled = is_list ? NULL : chunks_pulled,
        .release = part_release,
        .ctx = p,
    };
    hold(d);
    rpc_sent sent = rpc_call_send(d->call, rpc_bytes_of(head, head_size), &body);
    if (sent != RPC_SENT_OK) {
        free(p);
        drop(d);
    }
    return sent;
}

static rpc_sent send_list_page(download *d)
{
    uint32_t left = d->object->list.count - d->next;
    uint32_t entries = left < DACM_WIRE_PAGE_ENTRIES ? left : DACM_WIRE_PAGE_ENTRIES;
    rpc_sent sent = send_part(
        d, true, d->next, (uint64_t)d->next * DACM_ENTRY_BYTES, (size_t)entries * DACM_ENTRY_BYTES);
    if (sent == RPC_SENT_OK)
        d->next += entries;
    return sent;
}

static rpc_sent send_run(download *d)
{
    uint32_t first, end;
    size_t bytes;
    if (!dacm_plan_next(&d->plan, &d->object->list, d->next, &first, &end, &bytes)) {
        end_with(d, &(rpc_status){.code = RPC_OK});
        return RPC_SENT_OVER;
    }
    rpc_sent sent = send_part(d, false, first, d->object->list.offsets[first], bytes);
    if (sent == RPC_SENT_OK)
        d->next = end;
    return sent;
}

static void pump(download *d)
{
    rpc_sent sent = RPC_SENT_OK;
    while (sent == RPC_SENT_OK && d->state == LIST) {
        if (d->next < d->object->list.count) {
            sent = send_list_page(d);
            continue;
        }
        d->next = 0;
        d->state = CHUNKS;
    }
    while (sent == RPC_SENT_OK && d->state == CHUNKS)
        sent = send_run(d);
}

/* ---- deciding again while it runs ---- */

/* Once it was finished: its reader is told why, also one whose window is closed. */
static void cut(rpc_call *call, void *arg)
{
    (void)arg;
    rpc_call_cancel(call);
}

static void start_recheck(download *d);
static void start(download *d);

static void rechecked(void *arg, const rpc_status *status)
{
    download *d = arg;
    d->rechecking = false;
    if (d->state != OVER && status->code != RPC_OK) {
        end_with(d, status);
        if (rpc_call_after(d->call, DENIAL_GRACE_MS, cut, NULL) != RPC_OK)
            rpc_call_cancel(d->call);
    } else if (d->state != OVER && d->dirty)
        start_recheck(d);
    else if (d->state != OVER && d->start_waits)
        start(d);
    drop(d);
}

static void start_recheck(download *d)
{
    d->dirty = false;
    d->rechecking = true;
    hold(d);
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
    drop(d);
}

static void expired(rpc_call *call, void *arg)
{
    (void)arg;
    download *d = rpc_call_context(call);
    if (!d || d->state == OVER)
        return;
    rpc_status status;
    dacm_access_expired(&d->access, &status);
    end_with(d, &status);
    if (rpc_call_after(call, DENIAL_GRACE_MS, cut, NULL) != RPC_OK)
        rpc_call_cancel(call);
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
    fail(d, RPC_RESOURCE_EXHAUSTED, "download: no timer to end it with the token; try again");
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
        end_with(d, &(rpc_status){.code = RPC_OK});
        return;
    }
    d->state = LIST;
    d->next = 0;
    pump(d);
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
        end_with(d, status);
    else if (d->state == LOADING)
        start(d);
    drop(d);
}

static void begin(download *d)
{
    hold(d);
    dacm_manifest_get(d->service, d->call, d->object, have_manifest, d);
}

/* Digests copied, because leaving out sorts them. */
static rpc_code leave_out(download *d, uint8_t *digests, size_t count, rpc_status *reterr)
{
    if (count > 0 && !digests)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "have: no memory for its digests");
    rpc_code code = dacm_plan_leave_out(&d->plan, &d->object->list, digests, count, reterr);
    free(digests);
    return code;
}

static rpc_code leave_out_chunks(download *d, const Dacm__V1__Have *have, rpc_status *reterr)
{
    size_t count = have->n_chunk_sha256;
    uint8_t *digests = malloc(count * DACM_DIGEST_BYTES + 1);
    for (size_t i = 0; digests && i < count; i++)
        memcpy(digests + i * DACM_DIGEST_BYTES, have->chunk_sha256[i].data, DACM_DIGEST_BYTES);
    return leave_out(d, digests, count, reterr);
}

static rpc_code leave_out_object(download *d, const dacm_object *held, rpc_status *reterr)
{
    uint8_t *digests = malloc((size_t)held->list.count * DACM_DIGEST_BYTES + 1);
    for (uint32_t i = 0; digests && i < held->list.count; i++)
        memcpy(digests + (size_t)i * DACM_DIGEST_BYTES, dacm_list_digest(&held->list, i),
            DACM_DIGEST_BYTES);
    return leave_out(d, digests, held->list.count, reterr);
}

static void have_held_object(void *arg, dacm_object *held, const rpc_status *status)
{
    (void)status; /* a version that is gone holds nothing */
    download *d = arg;
    rpc_status failure = {0};
    if (d->state == LOADING && held && leave_out_object(d, held, &failure) != RPC_OK)
        end_with(d, &failure);
    dacm_object_unref(held);
    if (d->state == LOADING)
        begin(d);
    drop(d);
}

static void have_manifest_digest(download *d)
{
    dacm_which which;
    const bool known = d->op.status.code == RPC_OK && dacm_which_read(d->op.view.bytes, &which);
    store_view_release(&d->op.view);
    if (d->state != LOADING)
        drop(d);
    else if (!known) {
        begin(d);
        drop(d);
    } else
        dacm_object_load(d->service->objects, d->call, d->object->asset_id, d->object->uid, &which,
            have_held_object, d);
}

static void on_manifest_digest(store_op *op)
{
    have_manifest_digest(op->ctx);
}

static void find_held(download *d, const Dacm__V1__Have *have)
{
    host_key group = dacm_key_manifests(d->object->asset_id);
    host_key item = dacm_key_manifest_digest(have->manifest_sha256.data);
    hold(d);
    d->op = (store_op){.done = on_manifest_digest, .ctx = d, .executor = &d->executor};
    if (store_get(d->service->store, host_key_bytes(&group), host_key_bytes(&item), &d->op) ==
        STORE_READY)
        have_manifest_digest(d);
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
    drop(d);
}

/* A variant that is not kept: made now, for whoever else asks as well. */
static void adapt(download *d)
{
    rpc_status status = {.code = RPC_OK};
    d->adapted = true;
    d->state = ADAPTING;
    d->waiter = (dacm_adapt_waiter){.call = d->call, .hold = hold, .fn = adapted, .arg = d};
    if (dacm_adaptations_join(
            d->service->adaptations, &d->waiter, d->wanted, d->access.gpsi, &status) != RPC_OK)
        refuse_recipe(d, &status);
}

static void have_object(void *arg, dacm_object *object, const rpc_status *status)
{
    download *d = arg;
    d->object = object;
    rpc_status failure = *status;
    if (d->state == LOADING && object && d->wanted)
        dacm_variants_used(d->service->variants, object->uid, &object->which);
    if (d->state == LOADING && d->wanted && !d->adapted && failure.code == RPC_NOT_FOUND)
        adapt(d);
    else if (d->state == LOADING && object) {
        const Dacm__V1__ByteRange *range = d->request->range;
        const Dacm__V1__Have *have = d->request->have;
        rpc_code code = dacm_plan_init(&d->plan, &object->list, range ? range->offset : 0,
            range ? range->length : 0, &failure);
        if (code == RPC_OK && have)
            code = leave_out_chunks(d, have, &failure);
        if (code != RPC_OK)
            end_with(d, &failure);
        else if (have && have->manifest_sha256.len)
            find_held(d, have);
        else
            begin(d);
    } else if (d->state == LOADING)
        end_with(d, dacm_store_status(d->service, "load of a version", &failure));
    drop(d);
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
        drop(d);
        return;
    }
    const Dacm__Records__Profile *profile = d->access.facts.profile;
    const Dacm__V1__DownloadRequest *request = d->request;
    d->state = LOADING;
    if (status->code != RPC_OK)
        end_with(d, status);
    else if (!profile)
        fail(d, RPC_NOT_FOUND, "asset_id: there is no such asset");
    else if (profile->version == 0)
        fail(d, RPC_NOT_FOUND, "asset_id: the asset has no media yet; upload it first");
    else if (request->version > profile->version ||
             (request->version != 0 && request->version < profile->oldest_version))
        fail(d, RPC_NOT_FOUND, "version: the asset has no such version; 0 asks for the newest");
    else if (watch_expiry(d)) {
        load_version(d, profile, request->version ? request->version : profile->version);
        return; /* have_object drops what this reference was */
    }
    drop(d);
}

static rpc_code check_have(const Dacm__V1__Have *have, rpc_status *reterr)
{
    if (have->manifest_sha256.len != 0 && have->manifest_sha256.len != DACM_DIGEST_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "have.manifest_sha256: must be 32 bytes or empty");
    if (have->n_chunk_sha256 > HAVE_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "have.chunk_sha256: %zu digests; at most %u, name a manifest instead",
            have->n_chunk_sha256, HAVE_MAX);
    for (size_t i = 0; i < have->n_chunk_sha256; i++)
        if (have->chunk_sha256[i].len != DACM_DIGEST_BYTES)
            return rpc_status_set(
                reterr, RPC_INVALID_ARGUMENT, "have.chunk_sha256: entry %zu is not 32 bytes", i);
    return RPC_OK;
}

static rpc_code check_request(const Dacm__V1__DownloadRequest *request, rpc_status *reterr)
{
    if (request->if_none_match.len != 0 && request->if_none_match.len != DACM_DIGEST_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "if_none_match: must be a SHA-256, 32 bytes, or empty");
    return request->have ? check_have(request->have, reterr) : RPC_OK;
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
    drop(context);
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
            fail(d, RPC_INVALID_ARGUMENT, "download: one request only");
        return;
    }
    d->message = message;
    d->state = DECIDING;
    rpc_status status = {0};
    ProtobufCMessage *unpacked = NULL;
    if (rpc_message_unpack(message, &dacm__v1__download_request__descriptor, &unpacked, &status) !=
        RPC_OK) {
        end_with(d, &status);
        return;
    }
    d->request = (const Dacm__V1__DownloadRequest *)unpacked;
    dacm_request wanted = access_request(d->request);
    if (check_request(d->request, &status) != RPC_OK || take_recipe(d, &status) != RPC_OK ||
        dacm_access_prepare(&d->access, &wanted, &status) != RPC_OK) {
        end_with(d, &status);
        return;
    }
    d->running = (dacm_running_entry){.call = call,
        .asset_id = d->access.asset_id,
        .recipe_sha256 = d->wanted ? d->wanted->which.recipe_sha256 : NULL,
        .begun_s = rpc_clock_wall_ms(d->service->clock) / 1000,
        .hold = hold,
        .recheck = on_change,
        .arg = d};
    dacm_running_add(d->service->running, &d->running);
    d->registered = true;
    hold(d);
    dacm_access_start(&d->access, rpc_call_arena(call), decided, d);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    download *d = rpc_call_context(call);
    if (d && d->state == REQUEST)
        fail(d, RPC_INVALID_ARGUMENT, "download: no request came");
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    download *d = rpc_call_context(call);
    if (d && (d->state == LIST || d->state == CHUNKS))
        pump(d);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    download *d = rpc_call_context(call);
    if (d)
        over(d);
}

const rpc_handler dacm_download_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_end = on_end,
};
