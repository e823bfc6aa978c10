/* SPDX-License-Identifier: Apache-2.0 */
/* The list and the chunks of a download. Chunk bytes go from the store's view to the record layer:
 * a view is held between pull and pulled, never over a wait. */
#include "download_internal.h"

#include <stdlib.h>
#include <string.h>

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
    download_drop(d);
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
        download_fail(
            d, RPC_RESOURCE_EXHAUSTED, "download: no memory for the next message; resume it");
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
    download_hold(d);
    rpc_sent sent = rpc_call_send(d->call, rpc_bytes_of(head, head_size), &body);
    if (sent != RPC_SENT_OK) {
        free(p);
        download_drop(d);
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
        download_sent(d);
        return RPC_SENT_OVER;
    }
    rpc_sent sent = send_part(d, false, first, d->object->list.offsets[first], bytes);
    if (sent == RPC_SENT_OK)
        d->next = end;
    return sent;
}

void download_pump(download *d)
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
