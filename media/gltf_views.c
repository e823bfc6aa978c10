/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a document are: buffers, views, accessors, and that each lies in what it is of
 * (glTF 2.0, 3.6). After the schema: members are of their types and indexes lead somewhere. */
#include "gltf.h"
#include "gltf_accessor.h"

#include "cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct place {
    char text[96];
} place;

static place at(const char *list, size_t index, const char *member)
{
    place p;
    snprintf(p.text, sizeof p.text, "/%s/%zu%s%s", list, index, member[0] ? "/" : "", member);
    return p;
}

static size_t size_of(const json_t *object, const char *name)
{
    return (size_t)json_integer_value(json_object_get(object, name));
}

/* ---- buffers --------------------------------------------------------------------------------- */

static bool is_fallback(const json_t *buffer)
{
    const json_t *extensions = json_object_get(buffer, "extensions");
    return json_is_true(json_object_get(json_object_get(extensions, MEDIA__MESHOPT), "fallback"));
}

static rpc_code take_data_uri(
    const char *uri, const char *where, media__buffer *ret, rpc_status *reterr)
{
    static const char *const types[] = {
        "data:application/octet-stream;base64,", "data:application/gltf-buffer;base64,"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const size_t size = strlen(types[i]);
        if (strncmp(uri, types[i], size) == 0)
            return media__base64_decode(uri + size, where, &ret->owned, &ret->size, reterr);
    }
    return strncmp(uri, "data:", 5) == 0
               ? media__gltf_bad(reterr, where,
                     "a data URI of a buffer is application/octet-stream or "
                     "application/gltf-buffer, in base64")
               : media__gltf_bad(reterr, where,
                     "names another file; nothing is fetched: put the bytes into this one (GLB)");
}

static rpc_code take_buffer(
    const json_t *buffer, size_t index, rpc_bytes binary, media__buffer *ret, rpc_status *reterr)
{
    const char *uri = json_string_value(json_object_get(buffer, "uri"));
    const size_t wanted = size_of(buffer, "byteLength");
    const place where = at("buffers", index, uri ? "uri" : "byteLength");
    if (uri) {
        const rpc_code code = take_data_uri(uri, where.text, ret, reterr);
        if (code != RPC_OK)
            return code;
        ret->data = ret->owned;
    } else if (is_fallback(buffer)) {
        return RPC_OK; /* what decoders of EXT_meshopt_compression never read */
    } else if (index == 0 && binary.data) {
        ret->data = binary.data;
        ret->size = binary.size;
    } else
        return media__gltf_bad(reterr, where.text, "has no bytes: neither uri nor a binary chunk");
    if (ret->size < wanted)
        return media__gltf_bad(
            reterr, where.text, "says %zu bytes, there are %zu", wanted, ret->size);
    if (!uri && ret->size - wanted > 3)
        return media__gltf_bad(reterr, where.text,
            "says %zu bytes, the binary chunk has %zu: more than padding", wanted, ret->size);
    return RPC_OK;
}

rpc_code media__gltf_take_buffers(media__gltf *gltf, rpc_bytes binary, rpc_status *reterr)
{
    const json_t *list = json_object_get(gltf->json, "buffers");
    const size_t count = json_array_size(list);
    if (count > MEDIA__BUFFERS_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: /buffers: %zu of them, at most %d are read", count, MEDIA__BUFFERS_MAX);
    gltf->buffers = calloc(count + 1, sizeof *gltf->buffers);
    if (!gltf->buffers)
        return media__no_memory(reterr);
    gltf->buffer_count = count;
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = take_buffer(json_array_get(list, i), i, binary, &gltf->buffers[i], reterr);
    return code;
}

/* ---- views ----------------------------------------------------------------------------------- */

static const json_t *root_at(const media__gltf *gltf, const char *list, size_t index)
{
    return json_array_get(json_object_get(gltf->json, list), index);
}

static rpc_code check_range(
    const media__gltf *gltf, const json_t *view, const char *where, rpc_status *reterr)
{
    const size_t offset = size_of(view, "byteOffset"), length = size_of(view, "byteLength");
    const size_t room = size_of(root_at(gltf, "buffers", size_of(view, "buffer")), "byteLength");
    return offset > room || length > room - offset
               ? media__gltf_bad(reterr, where, "bytes %zu to %zu of a buffer of %zu", offset,
                     offset + length, room)
               : RPC_OK;
}

/* EXT_meshopt_compression: what the view is made of. */
static rpc_code check_compressed(
    const media__gltf *gltf, const json_t *view, const char *where, rpc_status *reterr)
{
    static const char *const modes[] = {"ATTRIBUTES", "TRIANGLES", "INDICES"};
    const json_t *compressed = json_object_get(json_object_get(view, "extensions"), MEDIA__MESHOPT);
    if (!compressed)
        return RPC_OK;
    const size_t buffer = size_of(compressed, "buffer"), stride = size_of(compressed, "byteStride");
    const size_t count = size_of(compressed, "count"), length = size_of(compressed, "byteLength");
    const size_t offset = size_of(compressed, "byteOffset");
    const int mode = media__word_of(
        json_string_value(json_object_get(compressed, "mode")), modes, 3);
    const size_t room = size_of(root_at(gltf, "buffers", buffer), "byteLength");
    if (offset > room || length > room - offset || !gltf->buffers[buffer].data)
        return media__gltf_bad(reterr, where, MEDIA__MESHOPT ": its bytes are not in its buffer");
    if ((mode == 0 && stride % 4 != 0) || (mode != 0 && stride != 2 && stride != 4) ||
        (mode == 1 && count % 3 != 0))
        return media__gltf_bad(
            reterr, where, MEDIA__MESHOPT ": byteStride or count does not fit its mode");
    return stride * count == size_of(view, "byteLength")
               ? RPC_OK
               : media__gltf_bad(reterr, where,
                     MEDIA__MESHOPT ": %zu × %zu bytes are not the view's %zu", count, stride,
                     size_of(view, "byteLength"));
}

static rpc_code check_view(
    const media__gltf *gltf, const json_t *view, size_t index, rpc_status *reterr)
{
    const place where = at("bufferViews", index, "");
    const json_t *stride = json_object_get(view, "byteStride");
    const bool compressed = json_object_get(json_object_get(view, "extensions"), MEDIA__MESHOPT) !=
                            NULL;
    rpc_code code = check_range(gltf, view, where.text, reterr);
    if (code == RPC_OK && stride && json_integer_value(stride) % 4 != 0)
        code = media__gltf_bad(reterr, where.text, "byteStride %lld is no multiple of 4",
            (long long)json_integer_value(stride));
    if (code == RPC_OK && stride && size_of(view, "target") != 0 &&
        size_of(view, "target") != MEDIA__ARRAY_BUFFER)
        code = media__gltf_bad(reterr, where.text, "byteStride is for vertex attributes");
    if (code == RPC_OK && (size_t)json_integer_value(stride) > size_of(view, "byteLength"))
        code = media__gltf_bad(reterr, where.text, "byteStride is above byteLength");
    if (code == RPC_OK && !compressed && !gltf->buffers[size_of(view, "buffer")].data)
        code = media__gltf_bad(reterr, where.text, "is of a buffer that has no bytes");
    return code == RPC_OK ? check_compressed(gltf, view, where.text, reterr) : code;
}

/* ---- accessors ------------------------------------------------------------------------------- */

/* count elements of size bytes from offset on, stride apart (0: close), within a view. */
static rpc_code check_elements(const media__gltf *gltf, size_t view_index, size_t offset,
    size_t count, size_t size, size_t component, size_t stride, const char *where,
    rpc_status *reterr)
{
    const json_t *view = root_at(gltf, "bufferViews", view_index);
    const size_t step = stride ? stride : size, room = size_of(view, "byteLength");
    if (step < size)
        return media__gltf_bad(
            reterr, where, "elements of %zu bytes do not fit a byteStride of %zu", size, step);
    if (offset % component != 0 || (offset + size_of(view, "byteOffset")) % component != 0 ||
        (stride && stride % component != 0))
        return media__gltf_bad(reterr, where, "is not aligned to %zu bytes", component);
    if (offset > room || size > room - offset || count - 1 > (room - offset - size) / step)
        return media__gltf_bad(reterr, where,
            "%zu elements of %zu bytes from byte %zu on do not fit /bufferViews/%zu of %zu", count,
            size, offset, view_index, room);
    return RPC_OK;
}

static rpc_code check_sparse_part(const media__gltf *gltf, const json_t *part, size_t count,
    size_t size, size_t component, const char *where, rpc_status *reterr)
{
    const size_t view_index = size_of(part, "bufferView");
    const json_t *view = root_at(gltf, "bufferViews", view_index);
    if (json_object_get(view, "byteStride") || json_object_get(view, "target"))
        return media__gltf_bad(reterr, where, "its view has a byteStride or a target");
    return check_elements(
        gltf, view_index, size_of(part, "byteOffset"), count, size, component, 0, where, reterr);
}

static rpc_code check_sparse(const media__gltf *gltf, const json_t *accessor, size_t index,
    const media__layout *layout, rpc_status *reterr)
{
    const json_t *sparse = json_object_get(accessor, "sparse");
    const json_t *indices = json_object_get(sparse, "indices");
    const size_t count = size_of(sparse, "count");
    const place where = at("accessors", index, "sparse");
    if (!sparse)
        return RPC_OK;
    if (count > size_of(accessor, "count"))
        return media__gltf_bad(
            reterr, where.text, "replaces %zu elements of %zu", count, size_of(accessor, "count"));
    const size_t component = media__component_bytes((int)size_of(indices, "componentType"));
    rpc_code code = check_sparse_part(
        gltf, indices, count, component, component, where.text, reterr);
    if (code == RPC_OK)
        code = check_sparse_part(gltf, json_object_get(sparse, "values"), count, layout->bytes,
            layout->component_bytes, where.text, reterr);
    return code;
}

static rpc_code check_bounds(
    const json_t *accessor, size_t index, const media__layout *layout, rpc_status *reterr)
{
    static const char *const names[] = {"min", "max"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *bound = json_object_get(accessor, names[i]);
        const place where = at("accessors", index, names[i]);
        if (bound && json_array_size(bound) != layout->components)
            return media__gltf_bad(reterr, where.text, "has %zu numbers, elements have %zu",
                json_array_size(bound), layout->components);
    }
    return RPC_OK;
}

static rpc_code check_accessor(
    const media__gltf *gltf, const json_t *accessor, size_t index, rpc_status *reterr)
{
    media__layout layout;
    const place where = at("accessors", index, "");
    const json_t *view = json_object_get(accessor, "bufferView");
    const size_t count = size_of(accessor, "count");
    media__accessor_layout(accessor, &layout);
    if (json_is_true(json_object_get(accessor, "normalized")) &&
        (layout.component_type == MEDIA__FLOAT || layout.component_type == MEDIA__UINT))
        return media__gltf_bad(
            reterr, where.text, "normalized is for integers of one or two bytes");
    if (!view && json_object_get(accessor, "byteOffset"))
        return media__gltf_bad(reterr, where.text, "byteOffset says nothing without bufferView");
    if (count > MEDIA__ELEMENT_BYTES_MAX / layout.bytes)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: %s: %zu elements of %zu bytes, at most %u bytes are read", where.text, count,
            layout.bytes, MEDIA__ELEMENT_BYTES_MAX);
    rpc_code code = RPC_OK;
    if (view) {
        const size_t stride = size_of(
            root_at(gltf, "bufferViews", (size_t)json_integer_value(view)), "byteStride");
        code = check_elements(gltf, (size_t)json_integer_value(view),
            size_of(accessor, "byteOffset"), count, layout.bytes, layout.component_bytes, stride,
            where.text, reterr);
    }
    if (code == RPC_OK)
        code = check_bounds(accessor, index, &layout, reterr);
    return code == RPC_OK ? check_sparse(gltf, accessor, index, &layout, reterr) : code;
}

/* ---- who uses views -------------------------------------------------------------------------- */

typedef enum use {
    UNUSED,
    VERTICES = MEDIA__ARRAY_BUFFER,
    INDICES = MEDIA__ELEMENT_ARRAY_BUFFER,
} use;

static rpc_code use_view(
    const media__gltf *gltf, const json_t *accessor, use as, use *uses, rpc_status *reterr)
{
    const json_t *index = json_object_get(
        root_at(gltf, "accessors", (size_t)json_integer_value(accessor)), "bufferView");
    if (!index)
        return RPC_OK;
    const size_t view = (size_t)json_integer_value(index);
    const place where = at("bufferViews", view, "");
    const size_t target = size_of(root_at(gltf, "bufferViews", view), "target");
    if (target != 0 && target != (size_t)as)
        return media__gltf_bad(reterr, where.text, "its target is not what meshes use it for");
    if (uses[view] != UNUSED && uses[view] != as)
        return media__gltf_bad(reterr, where.text, "is used for vertices and for indices");
    uses[view] = as;
    return RPC_OK;
}

static rpc_code use_attributes(
    const media__gltf *gltf, const json_t *attributes, use *uses, rpc_status *reterr)
{
    json_t *mutable = (json_t *)(uintptr_t)attributes; /* jansson's iterators take no const */
    rpc_code code = RPC_OK;
    for (void *i = json_object_iter(mutable); code == RPC_OK && i;
         i = json_object_iter_next(mutable, i))
        code = use_view(gltf, json_object_iter_value(i), VERTICES, uses, reterr);
    return code;
}

static rpc_code use_primitive(
    const media__gltf *gltf, const json_t *primitive, use *uses, rpc_status *reterr)
{
    const json_t *indices = json_object_get(primitive, "indices");
    const json_t *targets = json_object_get(primitive, "targets");
    rpc_code code = use_attributes(gltf, json_object_get(primitive, "attributes"), uses, reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(targets); i++)
        code = use_attributes(gltf, json_array_get(targets, i), uses, reterr);
    return code == RPC_OK && indices ? use_view(gltf, indices, INDICES, uses, reterr) : code;
}

static rpc_code check_uses(const media__gltf *gltf, rpc_status *reterr)
{
    const json_t *meshes = json_object_get(gltf->json, "meshes");
    use *uses = calloc(
        json_array_size(json_object_get(gltf->json, "bufferViews")) + 1, sizeof *uses);
    if (!uses)
        return media__no_memory(reterr);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(meshes); i++) {
        const json_t *primitives = json_object_get(json_array_get(meshes, i), "primitives");
        for (size_t j = 0; code == RPC_OK && j < json_array_size(primitives); j++)
            code = use_primitive(gltf, json_array_get(primitives, j), uses, reterr);
    }
    free(uses);
    return code;
}

rpc_code media__gltf_check_views(const media__gltf *gltf, rpc_status *reterr)
{
    const json_t *views = json_object_get(gltf->json, "bufferViews");
    const json_t *accessors = json_object_get(gltf->json, "accessors");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(views); i++)
        code = check_view(gltf, json_array_get(views, i), i, reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(accessors); i++)
        code = check_accessor(gltf, json_array_get(accessors, i), i, reterr);
    return code == RPC_OK ? check_uses(gltf, reterr) : code;
}
