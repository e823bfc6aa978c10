/* SPDX-License-Identifier: Apache-2.0 */
/* Views of EXT_meshopt_compression become plain ones. What the library demands of its input by
 * assertion is checked here or was by media__gltf_check_views(); what it finds in the stream it
 * tells. The stream is remembered: what nobody changes is written as it came. */
#include "gltf_edit.h"
#include "gltf_get.h"

#include <meshoptimizer.h>
#include <stdio.h>
#include <stdlib.h>

#define DECODED_BYTES_MAX ((size_t)512 << 20) /* of all views together */

typedef struct compressed {
    const uint8_t *data;
    size_t size, count, stride;
    const char *mode, *filter;
} compressed;

static rpc_code check_filter(const compressed *c, const char *where, rpc_status *reterr)
{
    if (strcmp(c->filter, "NONE") == 0)
        return RPC_OK;
    if (strcmp(c->mode, "ATTRIBUTES") != 0)
        return media__gltf_bad(reterr, where, MEDIA__MESHOPT ": mode %s has no filter", c->mode);
    const bool fits = strcmp(c->filter, "OCTAHEDRAL") == 0   ? c->stride == 4 || c->stride == 8
                      : strcmp(c->filter, "QUATERNION") == 0 ? c->stride == 8
                                                             : c->stride % 4 == 0;
    return fits ? RPC_OK
                : media__gltf_bad(reterr, where,
                      MEDIA__MESHOPT ": filter %s is for another byteStride than %zu", c->filter,
                      c->stride);
}

static compressed read_compressed(const media__gltf *gltf, const json_t *extension)
{
    const json_t *filter = json_object_get(extension, "filter");
    const size_t offset = media__get_index(extension, "byteOffset");
    return (compressed){
        .data = gltf->buffers[media__get_index(extension, "buffer")].data +
                (offset == MEDIA__NO_INDEX ? 0 : offset),
        .size = media__get_index(extension, "byteLength"),
        .count = media__get_index(extension, "count"),
        .stride = media__get_index(extension, "byteStride"),
        .mode = json_string_value(json_object_get(extension, "mode")),
        .filter = filter ? json_string_value(filter) : "NONE",
    };
}

static bool decode_stream(const compressed *c, uint8_t *ret)
{
    if (strcmp(c->mode, "ATTRIBUTES") == 0)
        return meshopt_decodeVertexBuffer(ret, c->count, c->stride, c->data, c->size) == 0;
    if (strcmp(c->mode, "TRIANGLES") == 0)
        return meshopt_decodeIndexBuffer(ret, c->count, c->stride, c->data, c->size) == 0;
    return meshopt_decodeIndexSequence(ret, c->count, c->stride, c->data, c->size) == 0;
}

static void undo_filter(const compressed *c, uint8_t *data)
{
    if (strcmp(c->filter, "OCTAHEDRAL") == 0)
        meshopt_decodeFilterOct(data, c->count, c->stride);
    else if (strcmp(c->filter, "QUATERNION") == 0)
        meshopt_decodeFilterQuat(data, c->count, c->stride);
    else if (strcmp(c->filter, "EXPONENTIAL") == 0)
        meshopt_decodeFilterExp(data, c->count, c->stride);
}

/* An object without its part of the extension. */
static void forget(json_t *object)
{
    json_t *extensions = json_object_get(object, "extensions");
    json_object_del(extensions, MEDIA__MESHOPT);
    if (extensions && json_object_size(extensions) == 0)
        json_object_del(object, "extensions");
}

static rpc_code decode_view(
    media__gltf *gltf, json_t *view, size_t index, size_t *total, rpc_status *reterr)
{
    char where[64];
    json_t *extension = media__get_extension(view, MEDIA__MESHOPT);
    snprintf(where, sizeof where, "/bufferViews/%zu", index);
    const compressed c = read_compressed(gltf, extension);
    rpc_code code = check_filter(&c, where, reterr);
    if (code != RPC_OK)
        return code;
    const size_t size = c.count * c.stride; /* checked: it is the view's byteLength */
    if (size > DECODED_BYTES_MAX - *total)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: %s: what is compressed comes to more than %zu bytes", where, DECODED_BYTES_MAX);
    *total += size;
    uint8_t *data = malloc(size);
    if (!data)
        return media__no_memory(reterr);
    if (!decode_stream(&c, data)) {
        free(data);
        return media__gltf_bad(reterr, where, MEDIA__MESHOPT ": the stream is damaged");
    }
    undo_filter(&c, data);
    const rpc_bytes stream = rpc_bytes_of(c.data, c.size);
    json_t *kept = json_incref(extension);
    forget(view);
    code = media__view_set(gltf, index, data, size, reterr);
    if (code != RPC_OK) {
        json_decref(kept);
        return code;
    }
    gltf->buffers[gltf->buffer_count - 1].packed = kept;
    gltf->buffers[gltf->buffer_count - 1].stream = stream;
    return RPC_OK;
}

rpc_code media__gltf_decode(media__gltf *gltf, rpc_status *reterr)
{
    size_t total = 0;
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "bufferViews"); i++) {
        json_t *view = media__gltf_entry(gltf, "bufferViews", i);
        if (media__get_extension(view, MEDIA__MESHOPT))
            code = decode_view(gltf, view, i, &total, reterr);
    }
    if (code != RPC_OK)
        return code;
    for (size_t i = 0; i < gltf->buffer_count; i++) /* fallbacks: nothing lies in them any more */
        forget(media__gltf_entry(gltf, "buffers", i));
    media__gltf_drop_extension(gltf, MEDIA__MESHOPT);
    return RPC_OK;
}
