/* SPDX-License-Identifier: Apache-2.0 */
/* A document as a GLB file: its views one after the other in one buffer, everything else as it
 * stands. The order is that of the views, so the same document gives the same bytes. */
#include "gltf_edit.h"
#include "gltf_get.h"
#include "gltf_pack.h"

#include "cleanup.h"

#include <stdlib.h>

#define GLB_MAGIC     0x46546c67u
#define CHUNK_JSON    0x4e4f534au
#define CHUNK_BIN     0x004e4942u
#define HEADER        12
#define CHUNK         8
#define GLB_BYTES_MAX (UINT32_MAX - 64)

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static size_t padded(size_t size)
{
    return (size + 3) / 4 * 4;
}

/* ---- the binary chunk ---- */

typedef struct binary {
    uint8_t *data;
    size_t size, room;
    size_t plain; /* of what is compressed: the bytes that it stands for */
} binary;

static bool append(binary *b, rpc_bytes bytes)
{
    const size_t end = padded(b->size + bytes.size);
    if (end > b->room) {
        const size_t room = end > 2 * b->room ? end : 2 * b->room;
        uint8_t *more = realloc(b->data, room);
        if (!more)
            return false;
        b->data = more;
        b->room = room;
    }
    if (bytes.size)
        memcpy(b->data + b->size, bytes.data, bytes.size);
    memset(b->data + b->size + bytes.size, 0, end - b->size - bytes.size);
    b->size = end;
    return true;
}

static int set_number(json_t *object, const char *name, size_t value)
{
    return json_object_set_new(object, name, json_integer((json_int_t)value));
}

static rpc_code put_plain(json_t *view, rpc_bytes bytes, binary *b, rpc_status *reterr)
{
    const size_t offset = b->size;
    json_object_del(view, "byteOffset");
    if (!append(b, bytes) || set_number(view, "buffer", 0) != 0 ||
        (offset > 0 && set_number(view, "byteOffset", offset) != 0))
        return media__no_memory(reterr);
    return RPC_OK;
}

/* The view says where it would lie in the buffer of what is not compressed (which has no bytes),
 * its extension (taken) where it is. */
static rpc_code put_stream(json_t *view, json_t *extension, rpc_bytes stream, size_t plain_size,
    binary *b, rpc_status *reterr)
{
    json_t *extensions = json_object_get(view, "extensions");
    if (!extensions && json_object_set_new(view, "extensions", json_object()) == 0)
        extensions = json_object_get(view, "extensions");
    int failed = set_number(extension, "buffer", 0);
    failed |= set_number(extension, "byteOffset", b->size);
    failed |= json_object_set_new(extensions, MEDIA__MESHOPT, extension);
    failed |= set_number(view, "buffer", 1);
    json_object_del(view, "byteOffset");
    if (b->plain > 0)
        failed |= set_number(view, "byteOffset", b->plain);
    b->plain += padded(plain_size);
    return failed || !append(b, stream) ? media__no_memory(reterr) : RPC_OK;
}

/* As it was read: packing anew would lose what the packer of the source knew, its filters. */
static const media__buffer *as_read(const media__gltf *gltf, size_t view)
{
    const json_t *json = media__gltf_entry(gltf, "bufferViews", view);
    const media__buffer *buffer = &gltf->buffers[media__get_index(json, "buffer")];
    return buffer->packed ? buffer : NULL;
}

static rpc_code put_packed(
    const media__packing *plan, json_t *view, rpc_bytes bytes, binary *b, rpc_status *reterr)
{
    media__packed packed = {.data = NULL};
    rpc_code code = media__pack_view(plan, bytes, &packed, reterr);
    if (code != RPC_OK || !packed.data)
        return code == RPC_OK ? put_plain(view, bytes, b, reterr) : code;
    json_t *extension = json_pack("{s:I, s:I, s:I, s:s}", "byteLength", (json_int_t)packed.size,
        "byteStride", (json_int_t)packed.stride, "count", (json_int_t)packed.count, "mode",
        packed.mode);
    code = put_stream(
        view, extension, rpc_bytes_of(packed.data, packed.size), bytes.size, b, reterr);
    free(packed.data);
    return code;
}

static rpc_code put_views(
    const media__gltf *gltf, json_t *json, const media__written *how, binary *b, rpc_status *reterr)
{
    RPC_AUTOFREE media__packing *plan = NULL;
    json_t *views = json_object_get(json, "bufferViews");
    rpc_code code = how->meshopt ? media__pack_plan(gltf, &plan, reterr) : RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(views); i++) {
        json_t *view = json_array_get(views, i);
        const rpc_bytes bytes = media__view_bytes(gltf, i);
        const media__buffer *buffer = how->meshopt ? as_read(gltf, i) : NULL;
        if (buffer)
            code = put_stream(
                view, json_deep_copy(buffer->packed), buffer->stream, bytes.size, b, reterr);
        else
            code = plan ? put_packed(&plan[i], view, bytes, b, reterr)
                        : put_plain(view, bytes, b, reterr);
    }
    return code;
}

/* ---- the document ---- */

static rpc_code set_buffers(json_t *json, const binary *b, rpc_status *reterr)
{
    int failed = 0;
    json_t *buffers = json_array();
    if (b->size > 0)
        failed |= json_array_append_new(
            buffers, json_pack("{s:I}", "byteLength", (json_int_t)b->size));
    if (b->plain > 0) {
        failed |= json_array_append_new(
            buffers, json_pack("{s:I, s:{s:{s:b}}}", "byteLength", (json_int_t)b->plain,
                         "extensions", MEDIA__MESHOPT, "fallback", 1));
    }
    json_object_del(json, "buffers");
    if (json_array_size(buffers) > 0)
        failed |= json_object_set(json, "buffers", buffers);
    json_decref(buffers);
    if (failed)
        return media__no_memory(reterr);
    return b->plain > 0 ? media__json_need_extension(json, MEDIA__MESHOPT, reterr) : RPC_OK;
}

static uint8_t *put_uint(uint8_t *at, size_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_chunk(uint8_t *at, uint32_t type, rpc_bytes bytes, char padding)
{
    at = put_uint(put_uint(at, padded(bytes.size)), type);
    memcpy(at, bytes.data, bytes.size);
    memset(at + bytes.size, padding, padded(bytes.size) - bytes.size);
    return at + padded(bytes.size);
}

static rpc_code put_file(const char *text, size_t text_size, const binary *b, uint8_t **ret,
    size_t *ret_size, rpc_status *reterr)
{
    const size_t size = HEADER + CHUNK + padded(text_size) + (b->size ? CHUNK + b->size : 0);
    if (size > GLB_BYTES_MAX)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "gltf: %zu bytes do not fit a GLB file", size);
    uint8_t *file = malloc(size);
    if (!file)
        return media__no_memory(reterr);
    uint8_t *at = put_uint(put_uint(put_uint(file, GLB_MAGIC), 2), size);
    at = put_chunk(at, CHUNK_JSON, rpc_bytes_of(text, text_size), ' ');
    if (b->size)
        put_chunk(at, CHUNK_BIN, rpc_bytes_of(b->data, b->size), 0);
    *ret = file;
    *ret_size = size;
    return RPC_OK;
}

rpc_code media__gltf_write(const media__gltf *gltf, const media__written *how, uint8_t **ret,
    size_t *ret_size, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *json = json_deep_copy(gltf->json);
    RPC_AUTOFREE char *text = NULL;
    size_t text_size = 0;
    binary b = {.data = NULL};
    if (!json)
        return media__no_memory(reterr);
    rpc_code code = put_views(gltf, json, how, &b, reterr);
    if (code == RPC_OK)
        code = set_buffers(json, &b, reterr);
    if (code == RPC_OK) {
        text = media__json_write(json, &text_size);
        code = text ? put_file(text, text_size, &b, ret, ret_size, reterr)
                    : media__no_memory(reterr);
    }
    free(b.data);
    return code;
}
