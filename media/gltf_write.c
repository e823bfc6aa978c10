/* SPDX-License-Identifier: Apache-2.0 */
/* A document as a GLB file: its views one after the other in one buffer, everything else as it
 * stands. The order is that of the views, so the same document gives the same bytes. */
#include "gltf_edit.h"
#include "gltf_get.h"
#include "gltf_pack.h"

#include "cleanup.h"

#include <stdlib.h>

#define GLB_MAGIC  0x46546c67u
#define CHUNK_JSON 0x4e4f534au
#define CHUNK_BIN  0x004e4942u
#define HEADER     12
#define CHUNK      8

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static size_t padded(size_t size)
{
    return (size + 3) / 4 * 4;
}

static rpc_code too_large(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "gltf: what is written has more than %u bytes, which nobody here would read",
        MEDIA__FILE_BYTES_MAX);
}

/* ---- the binary chunk ---- */

typedef struct binary {
    uint8_t *data;
    size_t size, room;
    size_t plain; /* of what is compressed: the bytes that it stands for */
} binary;

static rpc_code append(binary *b, rpc_bytes bytes, rpc_status *reterr)
{
    const size_t end = padded(b->size + bytes.size);
    if (end > MEDIA__FILE_BYTES_MAX)
        return too_large(reterr);
    if (end > b->room) {
        const size_t room = end > 2 * b->room ? end : 2 * b->room;
        uint8_t *more = realloc(b->data, room);
        if (!more)
            return media__no_memory(reterr);
        b->data = more;
        b->room = room;
    }
    if (bytes.size)
        memcpy(b->data + b->size, bytes.data, bytes.size);
    memset(b->data + b->size + bytes.size, 0, end - b->size - bytes.size);
    b->size = end;
    return RPC_OK;
}

static int set_number(json_t *object, const char *name, size_t value)
{
    return json_object_set_new(object, name, json_integer((json_int_t)value));
}

static rpc_code set_place(json_t *view, size_t buffer, size_t offset, rpc_status *reterr)
{
    json_object_del(view, "byteOffset");
    if (set_number(view, "buffer", buffer) != 0 ||
        (offset > 0 && set_number(view, "byteOffset", offset) != 0))
        return media__no_memory(reterr);
    return RPC_OK;
}

static rpc_code put_plain(json_t *view, rpc_bytes bytes, binary *b, rpc_status *reterr)
{
    const rpc_code code = set_place(view, 0, b->size, reterr);
    return code == RPC_OK ? append(b, bytes, reterr) : code;
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
    const rpc_code code = set_place(view, 1, b->plain, reterr);
    b->plain += padded(plain_size);
    if (failed || code != RPC_OK)
        return failed ? media__no_memory(reterr) : code;
    return b->plain > MEDIA__FILE_BYTES_MAX ? too_large(reterr) : append(b, stream, reterr);
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
    if (packed.filter && json_object_set_new(extension, "filter", json_string(packed.filter)) != 0)
        code = media__no_memory(reterr);
    if (code != RPC_OK) {
        json_decref(extension);
        free(packed.data);
        return code;
    }
    code = put_stream(
        view, extension, rpc_bytes_of(packed.data, packed.size), bytes.size, b, reterr);
    free(packed.data);
    return code;
}

/* ---- views ---- */

/* Where a view's bytes are now. Views of the same bytes follow each other when sorted, the first
 * of them in front. */
typedef struct span {
    const uint8_t *data;
    size_t size, view;
} span;

static int by_place(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->view > y->view) - (x->view < y->view);
}

/* Of each view: the first that has the same bytes and is packed in the same way. */
static size_t *find_shared(const media__gltf *gltf, const media__packing *plan, size_t count)
{
    RPC_AUTOFREE span *spans = calloc(count + 1, sizeof *spans);
    size_t *first = calloc(count + 1, sizeof *first);
    if (!spans || !first) {
        free(first);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const rpc_bytes bytes = media__view_bytes(gltf, i);
        spans[i] = (span){bytes.data, bytes.size, i};
    }
    qsort(spans, count, sizeof *spans, by_place);
    for (size_t i = 0; i < count; i++) {
        const span *before = i ? &spans[i - 1] : NULL, *at = &spans[i];
        const bool shared = before && before->data == at->data && before->size == at->size &&
                            (!plan || (plan[before->view].kind == plan[at->view].kind &&
                                          plan[before->view].stride == plan[at->view].stride));
        first[at->view] = shared ? first[before->view] : at->view;
    }
    return first;
}

/* The same place as an earlier view, its extension included. */
static rpc_code put_shared(json_t *view, const json_t *earlier, rpc_status *reterr)
{
    const json_t *offset = json_object_get(earlier, "byteOffset");
    const json_t *packed = media__get_extension(earlier, MEDIA__MESHOPT);
    const rpc_code code = set_place(
        view, media__get_index(earlier, "buffer"), (size_t)json_integer_value(offset), reterr);
    if (code != RPC_OK || !packed)
        return code;
    json_t *extensions = json_object_get(view, "extensions");
    if (!extensions && json_object_set_new(view, "extensions", json_object()) == 0)
        extensions = json_object_get(view, "extensions");
    return json_object_set_new(extensions, MEDIA__MESHOPT, json_deep_copy(packed)) == 0
               ? RPC_OK
               : media__no_memory(reterr);
}

static rpc_code put_view(const media__gltf *gltf, json_t *view, size_t index,
    const media__packing *plan, binary *b, rpc_status *reterr)
{
    const rpc_bytes bytes = media__view_bytes(gltf, index);
    const media__buffer *buffer = plan ? as_read(gltf, index) : NULL;
    if (buffer)
        return put_stream(
            view, json_deep_copy(buffer->packed), buffer->stream, bytes.size, b, reterr);
    return plan ? put_packed(plan, view, bytes, b, reterr) : put_plain(view, bytes, b, reterr);
}

static rpc_code put_views(
    const media__gltf *gltf, json_t *json, const media__written *how, binary *b, rpc_status *reterr)
{
    RPC_AUTOFREE media__packing *plan = NULL;
    RPC_AUTOFREE size_t *first = NULL;
    json_t *views = json_object_get(json, "bufferViews");
    const size_t count = json_array_size(views);
    rpc_code code = how->meshopt ? media__pack_plan(gltf, &plan, reterr) : RPC_OK;
    if (code == RPC_OK && !(first = find_shared(gltf, plan, count)))
        code = media__no_memory(reterr);
    for (size_t i = 0; code == RPC_OK && i < count; i++) {
        json_t *view = json_array_get(views, i);
        code = first[i] == i ? put_view(gltf, view, i, plan ? &plan[i] : NULL, b, reterr)
                             : put_shared(view, json_array_get(views, first[i]), reterr);
    }
    return code;
}

/* An extension that is not known may be another compression: it says where its bytes lie. */
static rpc_code check_movable(const media__gltf *gltf, rpc_status *reterr)
{
    static const char *const lists[] = {"buffers", "bufferViews"};
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < media__gltf_count(gltf, lists[list]); i++) {
            const json_t *entry = media__gltf_entry(gltf, lists[list], i);
            const char *name;
            json_t *extension;
            json_object_foreach(json_object_get(entry, "extensions"), name, extension)
            {
                if (json_object_get(extension, "buffer") ||
                    json_object_get(extension, "byteOffset"))
                    return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
                        "gltf: /%s/%zu: '%.64s' is not known here and says where bytes lie; send "
                        "the avatar without it",
                        lists[list], i, name);
            }
        }
    return RPC_OK;
}

/* ---- the document ---- */

/* The one buffer has the name and the notes of the first. */
static json_t *make_buffer(const json_t *of, size_t size)
{
    json_t *buffer = of ? json_copy((json_t *)(uintptr_t)of) : json_object();
    json_object_del(buffer, "uri");
    if (set_number(buffer, "byteLength", size) == 0)
        return buffer;
    json_decref(buffer);
    return NULL;
}

static rpc_code set_buffers(json_t *json, const binary *b, rpc_status *reterr)
{
    int failed = 0;
    json_t *buffers = json_array();
    if (b->size > 0)
        failed |= json_array_append_new(
            buffers, make_buffer(json_array_get(json_object_get(json, "buffers"), 0), b->size));
    if (b->plain > 0)
        failed |= json_array_append_new(
            buffers, json_pack("{s:I, s:{s:{s:b}}}", "byteLength", (json_int_t)b->plain,
                         "extensions", MEDIA__MESHOPT, "fallback", 1));
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
    if (size > MEDIA__FILE_BYTES_MAX)
        return too_large(reterr);
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
    rpc_code code = check_movable(gltf, reterr);
    if (code == RPC_OK)
        code = put_views(gltf, json, how, &b, reterr);
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
