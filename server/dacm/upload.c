/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.Upload: start, data, one answer; all or nothing.
 *
 * The call's strand owns everything but what is marked "worker": that belongs to one job of the
 * upload pool at a time, which hashes and cuts a batch of messages. Back pressure: the messages
 * of a batch are released, and with them the peer's window, once less than IN_FLIGHT_MAX bytes
 * wait for the store.
 *
 *   START ─▶ DECIDING ─▶ REPLAY ─▶ RECEIVING ─▶ COMMITTING ─▶ OVER
 *   The same upload_id again ends in REPLAY with the first answer. */
#include "upload_internal.h"

#include <stdlib.h>
#include <string.h>

static void hold(upload *u)
{
    atomic_fetch_add(&u->refs, 1);
}

static void release_messages(struct held *list)
{
    while (list) {
        struct held *next = list->next;
        rpc_message_release(list->message);
        free(list);
        list = next;
    }
}

void upload_drop(upload *u)
{
    if (atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    release_messages(u->queue);
    release_messages(u->batch);
    if (u->assembling)
        dacm_assembler_done(&u->assembler);
    dacm_access_done(&u->access);
    rpc_arena_free(u->arena);
    rpc_arena_free(u->start_arena);
    free(u->pages);
    rpc_call_unref(u->call);
    free(u);
}

static void over(upload *u)
{
    u->state = OVER;
    dacm_uploads_leave(u->service->uploads, &u->slot);
    release_messages(u->queue);
    u->queue = NULL;
    u->queue_end = &u->queue;
}

void upload_end(upload *u, const rpc_status *status)
{
    if (u->state == OVER)
        return;
    over(u);
    dacm_access_finish(&u->access, status);
}

void upload_fail(upload *u, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    upload_end(u, &status);
}

static void send_answer(upload *u, const dacm_object *object, char *manifest)
{
    Dacm__V1__UploadResponse response = DACM__V1__UPLOAD_RESPONSE__INIT;
    char asset_id[DACM_ASSET_ID_MAX + 1];
    rpc_text_copy(asset_id, sizeof asset_id, object->asset_id);
    response.asset_id = asset_id;
    response.version = object->which.version;
    response.manifest = manifest;
    if (rpc_call_send_packed(u->call, &response.base) == RPC_SENT_OK)
        upload_end(u, &(rpc_status){.code = RPC_OK});
}

static void have_manifest(void *arg, dacm_object *object, char *jws, const rpc_status *status)
{
    upload *u = arg;
    if (!jws)
        upload_end(u, status);
    else if (u->state != OVER)
        send_answer(u, object, jws);
    free(jws);
    upload_drop(u);
}

void upload_answer(upload *u, dacm_object *object)
{
    hold(u);
    dacm_manifest_get(u->service, u->call, object, have_manifest, u);
}

/* ---- worker: hash, cut, put ---- */

struct put {
    store_op op;
    upload *upload;
    uint8_t *data;
    size_t size;
};

static void advance(upload *u);

/* The upload is as good as any; the disk is not. */
static void tell_mended(const upload *u)
{
    HOST_LOG(u->service->log, HOST_WARNING,
        "the store had other bytes of a chunk than were once stored; those of an upload replace "
        "them",
        host_text("asset", u->asset_id));
}

/* Strand. */
static void put_done(void *arg)
{
    struct put *put = arg;
    store_op *op = &put->op;
    upload *u = put->upload;
    u->last_us = rpc_clock_monotonic_us(u->service->clock); /* waiting for us is not idling */
    if (op->status.code != RPC_OK && u->failure.code == RPC_OK)
        u->failure = op->status;
    else if (op->mended)
        tell_mended(u);
    atomic_fetch_sub(&u->in_flight, put->size);
    free(put->data);
    free(put);
    advance(u);
    upload_drop(u);
}

static void on_put(store_op *op)
{
    put_done(op->ctx);
}

/* Worker. */
static rpc_code put_chunk(void *arg, uint8_t *data, size_t size,
    const uint8_t digest[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    upload *u = arg;
    struct put *put = calloc(1, sizeof *put);
    if (!put) {
        free(data);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "upload: no memory for a chunk");
    }
    store_chunk_ref ref;
    memcpy(ref.uid, u->uid, sizeof ref.uid);
    memcpy(ref.digest, digest, sizeof ref.digest);
    *put = (struct put){.upload = u, .data = data, .size = size};
    put->op = (store_op){.done = on_put, .ctx = put, .executor = &u->executor};
    atomic_fetch_add(&u->in_flight, size);
    hold(u);
    if (store_chunk_put(u->service->store, &ref, rpc_bytes_of(data, size), &put->op) == STORE_READY)
        rpc_call_post(u->call, put_done, put);
    return RPC_OK;
}

/* The `data` of an UploadRequest, without a copy where it is the message's only field. */
static rpc_code message_data(rpc_message *message, rpc_bytes *ret, rpc_status *reterr)
{
    rpc_bytes bytes = rpc_message_bytes(message);
    if (bytes.size >= 2 && bytes.data[0] == (2 << 3 | 2)) {
        uint64_t length = 0;
        size_t at = 1;
        for (unsigned shift = 0; at < bytes.size && shift < 35; shift += 7) {
            uint8_t byte = bytes.data[at++];
            length |= (uint64_t)(byte & 0x7f) << shift;
            if (byte & 0x80)
                continue;
            if (length == bytes.size - at) {
                *ret = rpc_bytes_of(bytes.data + at, (size_t)length);
                return RPC_OK;
            }
            break;
        }
    }
    ProtobufCMessage *unpacked = NULL;
    rpc_code code = rpc_message_unpack(
        message, &dacm__v1__upload_request__descriptor, &unpacked, reterr);
    if (code != RPC_OK)
        return code;
    const Dacm__V1__UploadRequest *request = (const Dacm__V1__UploadRequest *)unpacked;
    if (request->part_case != DACM__V1__UPLOAD_REQUEST__PART_DATA)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "upload: after the start only data may follow");
    *ret = rpc_bytes_of(request->data.data, request->data.len);
    return RPC_OK;
}

static rpc_code too_much(const upload *u, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "size: %llu bytes were declared and more came; nothing was stored",
        (unsigned long long)u->size);
}

static rpc_code feed_batch(upload *u, rpc_status *reterr)
{
    for (struct held *held = u->batch; held; held = held->next) {
        rpc_bytes data = {0};
        rpc_code code = message_data(held->message, &data, reterr);
        if (code == RPC_OK && data.size > u->size - u->assembler.total)
            code = too_much(u, reterr);
        if (code == RPC_OK)
            code = dacm_assembler_feed(&u->assembler, data, reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static rpc_code finish_object(upload *u, rpc_status *reterr)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    if (u->assembler.total != u->size)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "size: %llu bytes were declared and %llu came; nothing was stored",
            (unsigned long long)u->size, (unsigned long long)u->assembler.total);
    rpc_code code = dacm_assembler_finish(&u->assembler, sha256, u->chunks_sha256, reterr);
    if (code != RPC_OK)
        return code;
    if (memcmp(sha256, u->sha256, sizeof sha256) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "sha256: what came has another digest than was declared; nothing was stored");
    return dacm_assembler_put_pages(&u->assembler, &u->pages, &u->page_count, reterr);
}

static void job_done(void *arg)
{
    upload *u = arg;
    u->working = false;
    if (u->worker_failure.code != RPC_OK && u->failure.code == RPC_OK)
        u->failure = u->worker_failure;
    advance(u);
    upload_drop(u);
}

static void job(void *arg)
{
    upload *u = arg;
    rpc_code code = feed_batch(u, &u->worker_failure);
    if (code == RPC_OK && u->last_batch)
        code = finish_object(u, &u->worker_failure);
    u->worker_failure.code = code;
    rpc_call_post(u->call, job_done, u);
}

/* ---- strand ---- */

static void start_job(upload *u)
{
    u->batch = u->queue;
    u->queue = NULL;
    u->queue_end = &u->queue;
    u->last_batch = u->half_closed;
    u->working = true;
    hold(u);
    if (rpc_pool_submit(u->service->upload_pool, job, u) == RPC_OK)
        return;
    u->working = false;
    upload_drop(u);
    upload_fail(u, RPC_RESOURCE_EXHAUSTED,
        "upload: too many uploads wait for a thread; try again later or raise threads.upload");
}

static void advance(upload *u)
{
    if (u->state != RECEIVING || u->working)
        return;
    if (u->failure.code != RPC_OK) {
        upload_end(u, dacm_store_status(u->service, "upload", &u->failure));
        return;
    }
    size_t in_flight = atomic_load(&u->in_flight);
    if (in_flight < IN_FLIGHT_MAX) {
        release_messages(u->batch);
        u->batch = NULL;
    }
    if (u->last_batch) {
        if (in_flight == 0) {
            u->state = COMMITTING;
            upload_commit(u);
        }
        return;
    }
    if (in_flight < IN_FLIGHT_MAX && (u->queue || u->half_closed))
        start_job(u);
}

void upload_receive(upload *u)
{
    u->state = RECEIVING;
    rpc_status status = {0};
    if (dacm_assembler_init(&u->assembler, put_chunk, u, &status) != RPC_OK) {
        upload_end(u, &status);
        return;
    }
    u->assembling = true;
    rpc_call_receive_window(u->call, u->service->config->upload_window_bytes);
    advance(u);
}

static void check_idle(rpc_call *call, void *arg)
{
    (void)arg;
    upload *u = rpc_call_context(call);
    if (!u || u->state == OVER)
        return;
    int64_t idle_ms = (rpc_clock_monotonic_us(u->service->clock) - u->last_us) / 1000;
    int64_t limit_ms = u->service->config->upload_idle_ms;
    if ((u->state == RECEIVING || u->state == START) && !u->half_closed && idle_ms >= limit_ms) {
        upload_fail(u, RPC_DEADLINE_EXCEEDED,
            "upload: nothing came for limits.upload_idle_ms; nothing was stored, send it again");
        return;
    }
    int64_t next_ms = idle_ms < limit_ms ? limit_ms - idle_ms : limit_ms;
    if (rpc_call_after(call, next_ms, check_idle, NULL) != RPC_OK)
        upload_fail(u, RPC_RESOURCE_EXHAUSTED, "upload: no timer to watch it; try again later");
}

static void release_context(void *context)
{
    upload_drop(context);
}

static void on_start(rpc_call *call, void *user)
{
    upload *u = calloc(1, sizeof *u);
    rpc_arena *arena = rpc_arena_new(UPLOAD_ARENA);
    if (!u || !arena) {
        free(u);
        rpc_arena_free(arena);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "upload: no memory; try again later");
        return;
    }
    atomic_init(&u->refs, 1);
    atomic_init(&u->in_flight, 0);
    u->service = user;
    u->call = rpc_call_ref(call);
    u->arena = arena;
    u->queue_end = &u->queue;
    u->executor = dacm_call_executor(call);
    u->last_us = rpc_clock_monotonic_us(u->service->clock);
    dacm_access_init(&u->access, u->service, call);
    rpc_call_set_context(call, u, release_context);
    check_idle(call, NULL);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    upload *u = rpc_call_context(call);
    if (!u || u->state == OVER) {
        rpc_message_release(message);
        return;
    }
    u->last_us = rpc_clock_monotonic_us(u->service->clock);
    if (u->state == START) {
        upload_begin(u, message);
        return;
    }
    struct held *held = malloc(sizeof *held);
    if (!held) {
        rpc_message_release(message);
        upload_fail(u, RPC_RESOURCE_EXHAUSTED, "upload: no memory for a message");
        return;
    }
    *held = (struct held){message, NULL};
    *u->queue_end = held;
    u->queue_end = &held->next;
    advance(u);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    upload *u = rpc_call_context(call);
    if (!u)
        return;
    u->half_closed = true;
    if (u->state == START)
        upload_fail(u, RPC_INVALID_ARGUMENT, "upload: no start came");
    else
        advance(u);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    upload *u = rpc_call_context(call);
    if (u)
        over(u);
}

const rpc_handler dacm_upload_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_end = on_end,
};
