/* SPDX-License-Identifier: Apache-2.0 */
/* Morph targets move few vertices: what they do not move need not be written (glTF 2.0, 3.6.2.3).
 * Nothing is lost, and plain readers know it. Normalised integers stay as they are: some readers
 * apply the scale twice. */
#include "gltf_adapt.h"
#include "gltf_get.h"

#include <stdlib.h>

/* What the JSON of a sparse accessor takes, and a little more. */
#define WORTH_BYTES 256

typedef struct pool {
    uint8_t *data;
    size_t size, room, view;
} pool;

/* The replaced elements of an accessor, in the pools. */
typedef struct part {
    size_t count, index_at, value_at;
    bool wide;
} part;

typedef struct sparse {
    media__gltf *gltf;
    part *parts; /* [accessors] count 0: stays */
    pool narrow, wide, values;
    rpc_status *reterr;
} sparse;

static bool append(pool *p, const void *bytes, size_t size)
{
    if (size > p->room - p->size) {
        const size_t room = 2 * (p->size + size) + 4096;
        uint8_t *more = realloc(p->data, room);
        if (!more)
            return false;
        p->data = more;
        p->room = room;
    }
    if (size)
        memcpy(p->data + p->size, bytes, size);
    p->size += size;
    return true;
}

static bool pad(pool *p)
{
    static const uint8_t zeros[4] = {0};
    return append(p, zeros, (4 - p->size % 4) % 4);
}

static bool is_zero(const uint8_t *element, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (element[i])
            return false;
    return true;
}

static bool put_part(sparse *s, part *to, const uint8_t *elements, size_t count, size_t bytes)
{
    pool *indices = to->wide ? &s->wide : &s->narrow;
    if (!pad(&s->values) || !pad(indices))
        return false;
    to->index_at = indices->size;
    to->value_at = s->values.size;
    for (size_t i = 0; i < count; i++) {
        const uint16_t narrow = (uint16_t)i;
        const uint32_t wide = (uint32_t)i;
        if (is_zero(elements + i * bytes, bytes))
            continue;
        if (!append(indices, to->wide ? (const void *)&wide : &narrow, to->wide ? 4 : 2) ||
            !append(&s->values, elements + i * bytes, bytes))
            return false;
    }
    return true;
}

static rpc_code look_at(sparse *s, size_t accessor)
{
    const json_t *entry = media__gltf_entry(s->gltf, "accessors", accessor);
    media__layout layout;
    media__accessor_layout(entry, &layout);
    if (s->parts[accessor].count || layout.normalized || json_object_get(entry, "sparse") ||
        !json_object_get(entry, "bufferView"))
        return RPC_OK;
    uint8_t *elements = NULL;
    size_t count = 0;
    const rpc_code code = media__accessor_bytes(s->gltf, accessor, &elements, &count, s->reterr);
    if (code != RPC_OK)
        return code;
    part made = {.wide = count > 65536};
    for (size_t i = 0; i < count; i++)
        made.count += !is_zero(elements + i * layout.bytes, layout.bytes);
    const size_t cost = made.count * (layout.bytes + (made.wide ? 4 : 2)) + WORTH_BYTES;
    bool done = true;
    if (made.count && cost < count * layout.bytes) {
        done = put_part(s, &made, elements, count, layout.bytes);
        s->parts[accessor] = made;
    }
    free(elements);
    return done ? RPC_OK : media__no_memory(s->reterr);
}

static rpc_code look_at_targets(sparse *s)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; i < media__gltf_count(s->gltf, "meshes"); i++) {
        const json_t *list = json_object_get(media__gltf_entry(s->gltf, "meshes", i), "primitives");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *targets = json_object_get(json_array_get(list, k), "targets");
            for (size_t t = 0; t < json_array_size(targets); t++) {
                const char *name;
                json_t *accessor;
                json_object_foreach(json_array_get(targets, t), name, accessor)
                {
                    if (code == RPC_OK)
                        code = look_at(s, (size_t)json_integer_value(accessor));
                }
            }
        }
    }
    return code;
}

static rpc_code add_pool(sparse *s, pool *p)
{
    uint8_t *bytes = p->data;
    p->data = NULL;
    return bytes ? media__gltf_add_view(s->gltf, bytes, p->size, 0, 0, &p->view, s->reterr)
                 : RPC_OK;
}

static rpc_code name_part(const sparse *s, json_t *entry, const part *p)
{
    json_t *made = json_pack("{s:I,s:{s:I,s:I,s:i},s:{s:I,s:I}}", "count", (json_int_t)p->count,
        "indices", "bufferView", (json_int_t)(p->wide ? s->wide.view : s->narrow.view),
        "byteOffset", (json_int_t)p->index_at, "componentType",
        p->wide ? (int)MEDIA__UINT : (int)MEDIA__USHORT, "values", "bufferView",
        (json_int_t)s->values.view, "byteOffset", (json_int_t)p->value_at);
    if (json_object_set_new(entry, "sparse", made) != 0)
        return media__no_memory(s->reterr);
    json_object_del(entry, "bufferView");
    json_object_del(entry, "byteOffset");
    return RPC_OK;
}

rpc_code media__gltf_sparse_targets(media__gltf *gltf, rpc_status *reterr)
{
    const size_t accessors = media__gltf_count(gltf, "accessors");
    sparse s = {.gltf = gltf, .reterr = reterr};
    s.parts = calloc(accessors + 1, sizeof *s.parts);
    rpc_code code = s.parts ? look_at_targets(&s) : media__no_memory(reterr);
    pool *const pools[] = {&s.narrow, &s.wide, &s.values};
    for (size_t i = 0; code == RPC_OK && i < 3; i++)
        code = add_pool(&s, pools[i]);
    for (size_t i = 0; code == RPC_OK && i < accessors; i++)
        if (s.parts[i].count)
            code = name_part(&s, media__gltf_entry(gltf, "accessors", i), &s.parts[i]);
    for (size_t i = 0; i < 3; i++)
        free(pools[i]->data);
    free(s.parts);
    return code;
}
