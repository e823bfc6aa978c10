/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_pack.h"
#include "gltf_filters.h"
#include "gltf_get.h"

#include <meshoptimizer.h>
#include <stdlib.h>

#define STRIDE_MAX 256
#define TRIANGLES  4

/* ---- what views are used for ---- */

static void use_view(
    media__packing *plan, size_t view, media__packing_kind kind, size_t stride, int component_type)
{
    media__packing *p = &plan[view];
    if (p->seen && (p->kind != kind || p->stride != stride))
        p->kind = MEDIA__PACK_NOTHING;
    else if (!p->seen)
        *p = (media__packing){.kind = kind, .stride = stride, .component_type = component_type};
    else if (p->component_type != component_type)
        p->component_type = 0;
    p->seen = true;
}

/* The codec compresses elements of whole words. */
static void use_elements(const media__gltf *gltf, media__packing *plan, const json_t *accessor)
{
    media__layout layout;
    const size_t view = media__get_index(accessor, "bufferView");
    if (view == MEDIA__NO_INDEX)
        return;
    const size_t stride = media__get_index(
        media__gltf_entry(gltf, "bufferViews", view), "byteStride");
    media__accessor_layout(accessor, &layout);
    const size_t step = stride == MEDIA__NO_INDEX ? layout.bytes : stride;
    use_view(plan, view,
        step % 4 == 0 && step <= STRIDE_MAX ? MEDIA__PACK_VERTICES : MEDIA__PACK_NOTHING, step,
        layout.component_type);
}

static void use_sparse(media__packing *plan, const json_t *accessor)
{
    static const char *const parts[] = {"indices", "values"};
    const json_t *sparse = json_object_get(accessor, "sparse");
    for (size_t i = 0; sparse && i < 2; i++)
        use_view(plan, media__get_index(json_object_get(sparse, parts[i]), "bufferView"),
            MEDIA__PACK_NOTHING, 0, 0);
}

/* A view of triangles is one buffer of them for the codec, from whole triangle to whole triangle.
 */
static void use_indices(const media__gltf *gltf, media__packing *plan, size_t index, bool triangles)
{
    media__layout layout;
    const json_t *accessor = media__gltf_entry(gltf, "accessors", index);
    const size_t view = media__get_index(accessor, "bufferView");
    if (view == MEDIA__NO_INDEX)
        return;
    media__accessor_layout(accessor, &layout);
    const size_t count = media__get_index(accessor, "count");
    const size_t at = media__get_index(accessor, "byteOffset");
    const size_t offset = at == MEDIA__NO_INDEX ? 0 : at;
    const size_t length = media__get_index(
        media__gltf_entry(gltf, "bufferViews", view), "byteLength");
    const bool whole = triangles && count % 3 == 0 && offset % (3 * layout.bytes) == 0 &&
                       length % (3 * layout.bytes) == 0;
    use_view(plan, view,
        layout.bytes == 1 || length % layout.bytes != 0 ? MEDIA__PACK_NOTHING
        : whole                                         ? MEDIA__PACK_TRIANGLES
                                                        : MEDIA__PACK_INDICES,
        layout.bytes, layout.component_type);
}

/* Accessors that are indices of something; the others hold elements. */
static bool *find_indices(const media__gltf *gltf, media__packing *plan)
{
    bool *are = calloc(media__gltf_count(gltf, "accessors") + 1, sizeof *are);
    for (size_t i = 0; are && i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(gltf, "meshes", i), "primitives");
        for (size_t j = 0; j < json_array_size(primitives); j++) {
            const json_t *primitive = json_array_get(primitives, j);
            const size_t index = media__get_index(primitive, "indices");
            const size_t mode = media__get_index(primitive, "mode");
            if (index == MEDIA__NO_INDEX)
                continue;
            if (!are[index])
                use_indices(gltf, plan, index, mode == MEDIA__NO_INDEX || mode == TRIANGLES);
            are[index] = true;
        }
    }
    return are;
}

rpc_code media__pack_plan(const media__gltf *gltf, media__packing **ret, rpc_status *reterr)
{
    media__packing *plan = calloc(media__gltf_count(gltf, "bufferViews") + 1, sizeof *plan);
    bool *are_indices = plan ? find_indices(gltf, plan) : NULL;
    if (!are_indices) {
        free(plan);
        return media__no_memory(reterr);
    }
    for (size_t i = 0; i < media__gltf_count(gltf, "accessors"); i++) {
        const json_t *accessor = media__gltf_entry(gltf, "accessors", i);
        if (!are_indices[i])
            use_elements(gltf, plan, accessor);
        use_sparse(plan, accessor);
    }
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        if (view != MEDIA__NO_INDEX)
            use_view(plan, view, MEDIA__PACK_NOTHING, 0, 0);
    }
    free(are_indices);
    *ret = plan;
    return RPC_OK;
}

/* ---- packing ---- */

static size_t pack_vertices(
    const media__packing *plan, rpc_bytes bytes, size_t count, uint8_t **ret)
{
    const size_t bound = meshopt_encodeVertexBufferBound(count, plan->stride);
    *ret = malloc(bound);
    return *ret ? meshopt_encodeVertexBuffer(*ret, bound, bytes.data, count, plan->stride) : 0;
}

static uint32_t *widen(rpc_bytes bytes, size_t count, size_t size)
{
    uint32_t *wide = calloc(count + 1, sizeof *wide);
    for (size_t i = 0; wide && i < count; i++)
        memcpy(&wide[i], bytes.data + i * size, size);
    return wide;
}

/* What the decoder would give: the codec may turn a triangle round its corners. */
static size_t pack_indices(const media__packing *plan, rpc_bytes bytes, size_t count, uint8_t **ret)
{
    uint32_t *indices = widen(bytes, count, plan->stride);
    size_t vertices = 0, size = 0;
    for (size_t i = 0; indices && i < count; i++)
        vertices = indices[i] >= vertices ? (size_t)indices[i] + 1 : vertices;
    const bool triangles = plan->kind == MEDIA__PACK_TRIANGLES;
    const size_t bound = triangles ? meshopt_encodeIndexBufferBound(count, vertices)
                                   : meshopt_encodeIndexSequenceBound(count, vertices);
    *ret = indices ? malloc(bound) : NULL;
    if (*ret)
        size = triangles ? meshopt_encodeIndexBuffer(*ret, bound, indices, count)
                         : meshopt_encodeIndexSequence(*ret, bound, indices, count);
    free(indices);
    return size;
}

/* Instead of data, where a filter makes less of it. */
static rpc_code pack_filtered(const media__packing *plan, rpc_bytes bytes, size_t count,
    uint8_t **data, size_t *size, const char **ret_filter, rpc_status *reterr)
{
    uint8_t *filtered = NULL, *packed = NULL;
    const char *filter = NULL;
    const rpc_code code = media__filter(
        bytes, plan->stride, plan->component_type, &filtered, &filter, reterr);
    if (code != RPC_OK || !filtered)
        return code;
    const size_t less = pack_vertices(plan, rpc_bytes_of(filtered, bytes.size), count, &packed);
    free(filtered);
    if (!packed)
        return media__no_memory(reterr);
    if (less > 0 && less < *size) {
        free(*data);
        *data = packed;
        *size = less;
        *ret_filter = filter;
        return RPC_OK;
    }
    free(packed);
    return RPC_OK;
}

rpc_code media__pack_view(
    const media__packing *plan, rpc_bytes bytes, media__packed *ret, rpc_status *reterr)
{
    static const char *const modes[] = {"", "ATTRIBUTES", "TRIANGLES", "INDICES"};
    uint8_t *data = NULL;
    *ret = (media__packed){.data = NULL};
    if (plan->kind == MEDIA__PACK_NOTHING || bytes.size == 0 || bytes.size % plan->stride != 0)
        return RPC_OK;
    const size_t count = bytes.size / plan->stride;
    const char *filter = NULL;
    size_t size = plan->kind == MEDIA__PACK_VERTICES ? pack_vertices(plan, bytes, count, &data)
                                                     : pack_indices(plan, bytes, count, &data);
    rpc_code code = data ? RPC_OK : media__no_memory(reterr);
    if (code == RPC_OK && plan->kind == MEDIA__PACK_VERTICES)
        code = pack_filtered(plan, bytes, count, &data, &size, &filter, reterr);
    if (code != RPC_OK) {
        free(data);
        return code;
    }
    if (size == 0 || size >= bytes.size) {
        free(data);
        return RPC_OK;
    }
    *ret = (media__packed){.data = data,
        .size = size,
        .stride = plan->stride,
        .count = count,
        .mode = modes[plan->kind],
        .filter = filter};
    return RPC_OK;
}
