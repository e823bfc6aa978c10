/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of accessors, read and replaced. Of a document that was checked and decoded. */
#include "gltf_edit.h"
#include "gltf_get.h"

#include "cleanup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static size_t zero_if_none(size_t index)
{
    return index == MEDIA__NO_INDEX ? 0 : index;
}

rpc_bytes media__view_bytes(const media__gltf *gltf, size_t view)
{
    const json_t *json = media__gltf_entry(gltf, "bufferViews", view);
    const media__buffer *buffer = &gltf->buffers[media__get_index(json, "buffer")];
    return rpc_bytes_of(buffer->data + zero_if_none(media__get_index(json, "byteOffset")),
        media__get_index(json, "byteLength"));
}

/* ---- reading ---- */

static uint32_t uint_at(const uint8_t *at, size_t bytes)
{
    uint32_t value = 0;
    memcpy(&value, at, bytes); /* glTF is little-endian, as are the machines this is built for */
    return value;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are read as they are stored");

static float number_at(const uint8_t *at, const media__layout *layout)
{
    float real;
    switch (layout->component_type) {
    case MEDIA__FLOAT:
        memcpy(&real, at, sizeof real);
        return real;
    case MEDIA__BYTE:
        real = (float)(int8_t)*at;
        return !layout->normalized ? real : real < -127 ? -1 : real / 127;
    case MEDIA__SHORT:
        real = (float)(int16_t)uint_at(at, 2);
        return !layout->normalized ? real : real < -32767 ? -1 : real / 32767;
    case MEDIA__UBYTE:
        return layout->normalized ? (float)*at / 255 : (float)*at;
    case MEDIA__USHORT:
        real = (float)uint_at(at, 2);
        return layout->normalized ? real / 65535 : real;
    default:
        return (float)uint_at(at, 4);
    }
}

static void copy_elements(rpc_bytes from, size_t offset, size_t step, size_t count,
    const media__layout *layout, uint8_t *to)
{
    if (step == layout->bytes) {
        memcpy(to, from.data + offset, count * layout->bytes);
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * layout->bytes, from.data + offset + i * step, layout->bytes);
}

static rpc_code apply_sparse(const media__gltf *gltf, size_t accessor, const json_t *sparse,
    size_t count, const media__layout *layout, uint8_t *elements, rpc_status *reterr)
{
    const json_t *indices = json_object_get(sparse, "indices");
    const json_t *values = json_object_get(sparse, "values");
    const size_t size = media__component_bytes((int)media__get_index(indices, "componentType"));
    const uint8_t *at = media__view_bytes(gltf, media__get_index(indices, "bufferView")).data +
                        zero_if_none(media__get_index(indices, "byteOffset"));
    const uint8_t *value = media__view_bytes(gltf, media__get_index(values, "bufferView")).data +
                           zero_if_none(media__get_index(values, "byteOffset"));
    size_t least = 0;
    for (size_t i = 0; i < media__get_index(sparse, "count"); i++) {
        const size_t index = uint_at(at + i * size, size);
        if (index < least || index >= count) {
            char where[64];
            snprintf(where, sizeof where, "/accessors/%zu/sparse/indices", accessor);
            return media__gltf_bad(reterr, where,
                "index %zu, %zu, does not grow or is beyond the %zu elements", i, index, count);
        }
        memcpy(elements + index * layout->bytes, value + i * layout->bytes, layout->bytes);
        least = index + 1;
    }
    return RPC_OK;
}

rpc_code media__accessor_base(
    const media__gltf *gltf, size_t accessor, uint8_t **ret, size_t *ret_count, rpc_status *reterr)
{
    media__layout layout;
    const json_t *json = media__gltf_entry(gltf, "accessors", accessor);
    const size_t count = media__get_index(json, "count");
    const size_t view = media__get_index(json, "bufferView");
    media__accessor_layout(json, &layout);
    uint8_t *elements = calloc(count + 1, layout.bytes);
    if (!elements)
        return media__no_memory(reterr);
    if (view != MEDIA__NO_INDEX) {
        const size_t stride = media__get_index(
            media__gltf_entry(gltf, "bufferViews", view), "byteStride");
        copy_elements(media__view_bytes(gltf, view),
            zero_if_none(media__get_index(json, "byteOffset")),
            stride == MEDIA__NO_INDEX ? layout.bytes : stride, count, &layout, elements);
    }
    *ret = elements;
    *ret_count = count;
    return RPC_OK;
}

rpc_code media__accessor_bytes(
    const media__gltf *gltf, size_t accessor, uint8_t **ret, size_t *ret_count, rpc_status *reterr)
{
    media__layout layout;
    const json_t *json = media__gltf_entry(gltf, "accessors", accessor);
    const json_t *sparse = json_object_get(json, "sparse");
    RPC_AUTOFREE uint8_t *elements = NULL;
    size_t count = 0;
    rpc_code code = media__accessor_base(gltf, accessor, &elements, &count, reterr);
    media__accessor_layout(json, &layout);
    if (code == RPC_OK && sparse)
        code = apply_sparse(gltf, accessor, sparse, count, &layout, elements, reterr);
    if (code != RPC_OK)
        return code;
    *ret = RPC_TAKE(elements);
    *ret_count = count;
    return RPC_OK;
}

/* Columns of a matrix begin at multiples of four. */
static const uint8_t *component_at(
    const uint8_t *element, const media__layout *layout, size_t component)
{
    const size_t columns = layout->components / layout->rows;
    const size_t column = columns > 1 ? layout->bytes / columns : layout->bytes;
    return element + component / layout->rows * column +
           component % layout->rows * layout->component_bytes;
}

typedef void put_fn(void *values, size_t at, const uint8_t *component, const media__layout *layout);

static void put_float(
    void *values, size_t at, const uint8_t *component, const media__layout *layout)
{
    ((float *)values)[at] = number_at(component, layout);
}

static void put_uint(void *values, size_t at, const uint8_t *component, const media__layout *layout)
{
    ((uint32_t *)values)[at] = uint_at(component, layout->component_bytes);
}

/* Every component as four bytes. */
static rpc_code read_components(const media__gltf *gltf, size_t accessor, put_fn *put, void **ret,
    size_t *ret_count, rpc_status *reterr)
{
    media__layout layout;
    RPC_AUTOFREE uint8_t *elements = NULL;
    const rpc_code code = media__accessor_bytes(gltf, accessor, &elements, ret_count, reterr);
    if (code != RPC_OK)
        return code;
    media__accessor_layout(media__gltf_entry(gltf, "accessors", accessor), &layout);
    void *values = calloc(*ret_count * layout.components + 1, sizeof(uint32_t));
    if (!values)
        return media__no_memory(reterr);
    for (size_t i = 0; i < *ret_count; i++)
        for (size_t j = 0; j < layout.components; j++)
            put(values, i * layout.components + j,
                component_at(elements + i * layout.bytes, &layout, j), &layout);
    *ret = values;
    return RPC_OK;
}

rpc_code media__accessor_floats(
    const media__gltf *gltf, size_t accessor, float **ret, size_t *ret_count, rpc_status *reterr)
{
    void *values = NULL;
    const rpc_code code = read_components(gltf, accessor, put_float, &values, ret_count, reterr);
    if (code == RPC_OK)
        *ret = values;
    return code;
}

rpc_code media__accessor_uints(
    const media__gltf *gltf, size_t accessor, uint32_t **ret, size_t *ret_count, rpc_status *reterr)
{
    void *values = NULL;
    const rpc_code code = read_components(gltf, accessor, put_uint, &values, ret_count, reterr);
    if (code == RPC_OK)
        *ret = values;
    return code;
}

/* ---- buffers and views ---- */

void media__gltf_drop_extension(media__gltf *gltf, const char *name)
{
    static const char *const lists[] = {"extensionsUsed", "extensionsRequired"};
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_object_get(gltf->json, lists[i]);
        for (size_t j = json_array_size(list); j-- > 0;)
            if (strcmp(json_string_value(json_array_get(list, j)), name) == 0)
                json_array_remove(list, j);
        if (list && json_array_size(list) == 0)
            json_object_del(gltf->json, lists[i]);
    }
}

static int add_name(json_t *json, const char *list, const char *name)
{
    json_t *names = json_object_get(json, list);
    if (!names && json_object_set_new(json, list, json_array()) == 0)
        names = json_object_get(json, list);
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return 0;
    return json_array_append_new(names, json_string(name));
}

rpc_code media__json_need_extension(json_t *json, const char *name, rpc_status *reterr)
{
    return add_name(json, "extensionsUsed", name) == 0 &&
                   add_name(json, "extensionsRequired", name) == 0
               ? RPC_OK
               : media__no_memory(reterr);
}

/* Room for one more; many come one by one. */
static bool has_room(media__gltf *gltf)
{
    if (gltf->buffer_count < gltf->buffer_room)
        return true;
    const size_t room = 2 * gltf->buffer_count + 8;
    media__buffer *buffers = realloc(gltf->buffers, room * sizeof *buffers);
    if (!buffers)
        return false;
    gltf->buffers = buffers;
    gltf->buffer_room = room;
    return true;
}

/* Bytes (taken, also when this fails) become a buffer of their own. */
static rpc_code add_buffer(
    media__gltf *gltf, uint8_t *bytes, size_t size, size_t *ret_buffer, rpc_status *reterr)
{
    json_t *list = json_object_get(gltf->json, "buffers");
    const bool room = has_room(gltf);
    if (!list && json_object_set_new(gltf->json, "buffers", json_array()) == 0)
        list = json_object_get(gltf->json, "buffers");
    if (!room || !bytes ||
        json_array_append_new(list, json_pack("{s:I}", "byteLength", (json_int_t)size)) != 0) {
        free(bytes);
        return media__no_memory(reterr);
    }
    *ret_buffer = gltf->buffer_count;
    gltf->buffers[gltf->buffer_count++] = (media__buffer){
        .data = bytes, .size = size, .owned = bytes};
    return RPC_OK;
}

rpc_code media__view_set(
    media__gltf *gltf, size_t view, uint8_t *bytes, size_t size, rpc_status *reterr)
{
    size_t buffer = 0;
    json_t *json = media__gltf_entry(gltf, "bufferViews", view);
    const rpc_code code = add_buffer(gltf, bytes, size, &buffer, reterr);
    if (code != RPC_OK)
        return code;
    json_object_del(json, "byteOffset");
    return json_object_set_new(json, "buffer", json_integer((json_int_t)buffer)) == 0 &&
                   json_object_set_new(json, "byteLength", json_integer((json_int_t)size)) == 0
               ? RPC_OK
               : media__no_memory(reterr);
}

rpc_code media__gltf_add_view(media__gltf *gltf, uint8_t *bytes, size_t size, size_t stride,
    int target, size_t *ret_view, rpc_status *reterr)
{
    size_t buffer = 0;
    rpc_code code = add_buffer(gltf, bytes, size, &buffer, reterr);
    if (code != RPC_OK)
        return code;
    json_t *list = json_object_get(gltf->json, "bufferViews");
    if (!list && json_object_set_new(gltf->json, "bufferViews", json_array()) == 0)
        list = json_object_get(gltf->json, "bufferViews");
    json_t *view = json_pack(
        "{s:I, s:I}", "buffer", (json_int_t)buffer, "byteLength", (json_int_t)size);
    if (view && stride)
        json_object_set_new(view, "byteStride", json_integer((json_int_t)stride));
    if (view && target)
        json_object_set_new(view, "target", json_integer(target));
    *ret_view = json_array_size(list);
    return json_array_append_new(list, view) == 0 ? RPC_OK : media__no_memory(reterr);
}

/* ---- replacing ---- */

typedef struct bounds {
    double min, max;
} bounds;

static double raw_at(const uint8_t *at, const media__layout *layout)
{
    media__layout raw = *layout;
    raw.normalized = false; /* bounds are of what is stored */
    return layout->component_type == MEDIA__UINT ? (double)uint_at(at, 4)
                                                 : (double)number_at(at, &raw);
}

static json_t *bound_json(double value, const media__layout *layout)
{
    return layout->component_type == MEDIA__FLOAT ? json_real(value)
                                                  : json_integer((json_int_t)value);
}

/* Of the finite numbers: others are refused where data is checked. */
static bounds bounds_of(
    const uint8_t *elements, size_t count, const media__layout *layout, size_t component)
{
    bounds b = {0, 0};
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const double value = raw_at(
            component_at(elements + i * layout->bytes, layout, component), layout);
        if (!isfinite(value))
            continue;
        b.min = !any || value < b.min ? value : b.min;
        b.max = !any || value > b.max ? value : b.max;
        any = true;
    }
    return b;
}

static rpc_code set_bounds(json_t *accessor, const uint8_t *elements, size_t count,
    const media__layout *layout, rpc_status *reterr)
{
    json_t *min = json_array(), *max = json_array();
    int failed = 0;
    for (size_t j = 0; j < layout->components; j++) {
        const bounds b = bounds_of(elements, count, layout, j);
        failed |= json_array_append_new(min, bound_json(b.min, layout));
        failed |= json_array_append_new(max, bound_json(b.max, layout));
    }
    failed |= json_object_set_new(accessor, "min", min);
    failed |= json_object_set_new(accessor, "max", max);
    return failed ? media__no_memory(reterr) : RPC_OK;
}

/* Vertex attributes lie at multiples of four; the elements in between are padded. */
static size_t stride_of(const media__layout *layout, int target)
{
    return target == MEDIA__ARRAY_BUFFER && layout->bytes % 4 != 0 ? (layout->bytes + 3) / 4 * 4
                                                                   : 0;
}

uint8_t *media__spread(const uint8_t *elements, size_t count, size_t size, size_t stride)
{
    uint8_t *wide = calloc(count + 1, stride);
    for (size_t i = 0; wide && i < count; i++)
        memcpy(wide + i * stride, elements + i * size, size);
    return wide;
}

rpc_code media__accessor_replace(media__gltf *gltf, size_t accessor, uint8_t *elements,
    size_t count, int target, rpc_status *reterr)
{
    media__layout layout;
    size_t view = 0;
    RPC_AUTOFREE uint8_t *owned = elements;
    json_t *json = media__gltf_entry(gltf, "accessors", accessor);
    media__accessor_layout(json, &layout);
    rpc_code code = RPC_OK;
    if (json_object_get(json, "min") || json_object_get(json, "max"))
        code = set_bounds(json, elements, count, &layout, reterr);
    if (code != RPC_OK)
        return code;
    const size_t stride = stride_of(&layout, target);
    uint8_t *bytes = stride ? media__spread(elements, count, layout.bytes, stride)
                            : RPC_TAKE(owned);
    if (!bytes)
        return media__no_memory(reterr);
    code = media__gltf_add_view(
        gltf, bytes, count * (stride ? stride : layout.bytes), stride, target, &view, reterr);
    if (code != RPC_OK)
        return code;
    json_object_del(json, "sparse");
    json_object_del(json, "byteOffset");
    return json_object_set_new(json, "bufferView", json_integer((json_int_t)view)) == 0 &&
                   json_object_set_new(json, "count", json_integer((json_int_t)count)) == 0
               ? RPC_OK
               : media__no_memory(reterr);
}

rpc_code media__accessor_copy(
    media__gltf *gltf, size_t accessor, size_t *ret_accessor, rpc_status *reterr)
{
    json_t *list = json_object_get(gltf->json, "accessors");
    json_t *copy = json_deep_copy(json_array_get(list, accessor));
    json_object_del(copy, "bufferView");
    json_object_del(copy, "byteOffset");
    json_object_del(copy, "sparse");
    *ret_accessor = json_array_size(list);
    return json_array_append_new(list, copy) == 0 ? RPC_OK : media__no_memory(reterr);
}
