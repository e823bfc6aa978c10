/* SPDX-License-Identifier: Apache-2.0 */
/* Accessors of one use lie in one view, one after the other, and what is there twice once:
 * exporters give each of some thousand accessors a view of its own, or let all share one that keeps
 * what nobody names any more. Views that something else names stay as they are. */
#include "gltf_edit.h"
#include "gltf_get.h"
#include "gltf_refs.h"

#include "cleanup.h"

#include <stdlib.h>

typedef enum use {
    UNUSED, /* by nothing that is looked at here */
    VERTICES,
    UNITS, /* vertices too: normals and tangents of bytes, which OCTAHEDRAL packs */
    TRIANGLES,
    INDICES,
    MATRICES,
    TIMES,
    VALUES,
    SEVERAL, /* which do not go together in a view */
} use;

typedef struct group {
    use use;
    size_t stride;
    int component_type;
    uint8_t *data;
    size_t size, room, view;
} group;

/* What was laid: found again by its bytes. */
typedef struct laid {
    uint64_t hash;
    size_t group, offset, size; /* group 0: a free slot, else one more than its number */
} laid;

typedef struct gathering {
    media__gltf *gltf;
    rpc_status *reterr;
    size_t accessors, views, total;
    use *uses;    /* of each accessor */
    bool *fixed;  /* of each view: it stays */
    size_t *same; /* of each accessor: the first that is equal */
    group *groups;
    size_t group_count, group_room;
    laid *slots; /* a table with open addressing */
    size_t slot_count;
} gathering;

/* ---- uses ---- */

static use both(use a, use b)
{
    if (a == UNUSED || a == b)
        return b;
    if ((a == TIMES && b == VALUES) || (a == VALUES && b == TIMES))
        return VALUES;
    if ((a == TRIANGLES && b == INDICES) || (a == INDICES && b == TRIANGLES))
        return INDICES;
    if ((a == UNITS && b == VERTICES) || (a == VERTICES && b == UNITS))
        return VERTICES;
    return SEVERAL;
}

static bool of_vertices(use as)
{
    return as == VERTICES || as == UNITS;
}

static void use_as(gathering *g, const json_t *index, use as)
{
    const size_t i = (size_t)json_integer_value(index);
    if (index && i < g->accessors)
        g->uses[i] = both(g->uses[i], as);
}

static bool is_unit(const gathering *g, const char *name, const json_t *index)
{
    const json_t *accessor = media__gltf_entry(
        g->gltf, "accessors", (size_t)json_integer_value(index));
    return (strcmp(name, "NORMAL") == 0 || strcmp(name, "TANGENT") == 0) &&
           media__get_index(accessor, "componentType") == MEDIA__BYTE;
}

static void use_attributes(gathering *g, json_t *attributes, bool target)
{
    const char *name;
    json_t *index;
    json_object_foreach(attributes, name, index)
        use_as(g, index, !target && is_unit(g, name, index) ? UNITS : VERTICES);
}

static void use_primitive(gathering *g, const json_t *primitive)
{
    const json_t *index = json_object_get(primitive, "indices");
    const json_t *targets = json_object_get(primitive, "targets");
    const json_t *mode = json_object_get(primitive, "mode");
    const size_t count = media__get_index(
        media__gltf_entry(g->gltf, "accessors", (size_t)json_integer_value(index)), "count");
    const bool triangles = (!mode || json_integer_value(mode) == 4) && count % 3 == 0;
    use_attributes(g, json_object_get(primitive, "attributes"), false);
    for (size_t i = 0; i < json_array_size(targets); i++)
        use_attributes(g, json_array_get(targets, i), true);
    use_as(g, index, triangles ? TRIANGLES : INDICES);
}

static void find_uses(gathering *g)
{
    for (size_t i = 0; i < media__gltf_count(g->gltf, "meshes"); i++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(g->gltf, "meshes", i), "primitives");
        for (size_t j = 0; j < json_array_size(primitives); j++)
            use_primitive(g, json_array_get(primitives, j));
    }
    for (size_t i = 0; i < media__gltf_count(g->gltf, "skins"); i++)
        use_as(g, json_object_get(media__gltf_entry(g->gltf, "skins", i), "inverseBindMatrices"),
            MATRICES);
    for (size_t i = 0; i < media__gltf_count(g->gltf, "animations"); i++) {
        const json_t *samplers = json_object_get(
            media__gltf_entry(g->gltf, "animations", i), "samplers");
        for (size_t j = 0; j < json_array_size(samplers); j++) {
            use_as(g, json_object_get(json_array_get(samplers, j), "input"), TIMES);
            use_as(g, json_object_get(json_array_get(samplers, j), "output"), VALUES);
        }
    }
}

static bool fix_view(void *ctx, media__list list, json_t *slot)
{
    gathering *g = ctx;
    const size_t view = (size_t)json_integer_value(slot);
    if (list == MEDIA__VIEWS && view < g->views)
        g->fixed[view] = true;
    return true;
}

static void fix_sparse(gathering *g, const json_t *accessor)
{
    static const char *const parts[] = {"indices", "values"};
    const json_t *sparse = json_object_get(accessor, "sparse");
    for (size_t i = 0; sparse && i < 2; i++) {
        json_t *view = json_object_get(json_object_get(sparse, parts[i]), "bufferView");
        (void)fix_view(g, MEDIA__VIEWS, view);
    }
}

/* A view that came packed is written as it came (media__buffer.packed), by a packer that may have
 * known more than numbers: it stays as long as no more than a quarter of it is left over. */
static rpc_code fix_packed(gathering *g)
{
    RPC_AUTOFREE size_t *used = calloc(g->views + 1, sizeof *used);
    if (!used)
        return media__no_memory(g->reterr);
    for (size_t i = 0; i < g->accessors; i++) {
        media__layout layout;
        const json_t *accessor = media__gltf_entry(g->gltf, "accessors", i);
        const size_t view = media__get_index(accessor, "bufferView");
        if (view == MEDIA__NO_INDEX)
            continue;
        media__accessor_layout(accessor, &layout);
        const size_t stride = media__get_index(
            media__gltf_entry(g->gltf, "bufferViews", view), "byteStride");
        used[view] += media__get_index(accessor, "count") *
                      (stride == MEDIA__NO_INDEX ? layout.bytes : stride);
    }
    for (size_t i = 0; i < g->views; i++) {
        const json_t *view = media__gltf_entry(g->gltf, "bufferViews", i);
        const size_t size = media__get_index(view, "byteLength");
        if (g->gltf->buffers[media__get_index(view, "buffer")].packed && used[i] >= size - size / 4)
            g->fixed[i] = true;
    }
    return RPC_OK;
}

/* Views stay that something else than accessors names, that have more to say than where they lie,
 * or whose accessors do not all move. */
static void find_fixed(gathering *g)
{
    const size_t foreign = media__refs_foreign(g->gltf);
    for (size_t i = 0; i < g->views; i++) {
        const json_t *view = media__gltf_entry(g->gltf, "bufferViews", i);
        g->fixed[i] = i < foreign || json_object_get(view, "extensions") ||
                      json_object_get(view, "extras");
    }
    (void)media__refs_of_rest(g->gltf, fix_view, g);
    for (int list = MEDIA__IMAGES; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < media__gltf_count(g->gltf, media__list_names[list]); i++)
            (void)media__refs_of(g->gltf, (media__list)list, i, fix_view, g);
    for (size_t i = 0; i < g->accessors; i++) {
        const json_t *accessor = media__gltf_entry(g->gltf, "accessors", i);
        json_t *view = json_object_get(accessor, "bufferView");
        fix_sparse(g, accessor);
        if (view && (g->uses[i] == UNUSED || g->uses[i] == SEVERAL))
            (void)fix_view(g, MEDIA__VIEWS, view);
    }
}

/* ---- laying ---- */

static group *group_of(gathering *g, use as, size_t stride, int component_type)
{
    for (size_t i = 0; i < g->group_count; i++) {
        group *at = &g->groups[i];
        if (at->use == as && at->stride == stride && at->component_type == component_type)
            return at;
    }
    if (g->group_count == g->group_room) {
        const size_t room = 2 * g->group_room + 8;
        group *more = realloc(g->groups, room * sizeof *more);
        if (!more)
            return NULL;
        g->groups = more;
        g->group_room = room;
    }
    g->groups[g->group_count] = (group){
        .use = as, .stride = stride, .component_type = component_type};
    return &g->groups[g->group_count++];
}

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t hash = 0x9e3779b97f4a7c15u ^ size;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, data + i, size - i < 8 ? size - i : 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The slot of the same bytes in the same group, or a free one. */
static laid *slot_of(const gathering *g, uint64_t hash, size_t number, rpc_bytes bytes)
{
    for (size_t i = (size_t)hash % g->slot_count;; i = (i + 1) % g->slot_count) {
        laid *slot = &g->slots[i];
        if (!slot->group)
            return slot;
        if (slot->hash == hash && slot->group == number && slot->size == bytes.size &&
            memcmp(g->groups[number - 1].data + slot->offset, bytes.data, bytes.size) == 0)
            return slot;
    }
}

/* Where the bytes lie in the group: where they already did, or behind the others. */
static rpc_code lay_bytes(gathering *g, group *to, rpc_bytes bytes, size_t *ret_offset)
{
    const uint64_t hash = hash_of(bytes.data, bytes.size);
    laid *slot = slot_of(g, hash, (size_t)(to - g->groups) + 1, bytes);
    const size_t rest = to->use == TRIANGLES || to->use == INDICES ? 0 : -bytes.size % 4;
    if (slot->group) {
        *ret_offset = slot->offset;
        return RPC_OK;
    }
    g->total += bytes.size + rest;
    if (g->total > MEDIA__FILE_BYTES_MAX)
        return rpc_status_set(g->reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: accessors have more than %u bytes together: they share views that overlap",
            MEDIA__FILE_BYTES_MAX);
    if (bytes.size + rest > to->room - to->size) {
        const size_t room = 2 * to->room + bytes.size + rest;
        uint8_t *more = realloc(to->data, room);
        if (!more)
            return media__no_memory(g->reterr);
        to->data = more;
        to->room = room;
    }
    *slot = (laid){hash, (size_t)(to - g->groups) + 1, to->size, bytes.size};
    memcpy(to->data + to->size, bytes.data, bytes.size);
    memset(to->data + to->size + bytes.size, 0, rest);
    *ret_offset = to->size;
    to->size += bytes.size + rest;
    return RPC_OK;
}

/* The number of a group stands for its view until that is made. */
static rpc_code lay_accessor(gathering *g, size_t index)
{
    media__layout layout;
    RPC_AUTOFREE uint8_t *elements = NULL;
    size_t count = 0, offset = 0;
    json_t *accessor = media__gltf_entry(g->gltf, "accessors", index);
    const use as = g->uses[index];
    rpc_code code = media__accessor_base(g->gltf, index, &elements, &count, g->reterr);
    if (code != RPC_OK)
        return code;
    media__accessor_layout(accessor, &layout);
    const size_t stride = of_vertices(as) ? (layout.bytes + 3) / 4 * 4 : layout.bytes;
    group *to = group_of(g, as, stride, layout.component_type);
    RPC_AUTOFREE uint8_t *wide = stride == layout.bytes
                                     ? NULL
                                     : media__spread(elements, count, layout.bytes, stride);
    if (!to || (stride != layout.bytes && !wide))
        return media__no_memory(g->reterr);
    code = lay_bytes(g, to, rpc_bytes_of(wide ? wide : elements, count * stride), &offset);
    if (code != RPC_OK)
        return code;
    const size_t view = g->views + (size_t)(to - g->groups);
    json_object_del(accessor, "byteOffset");
    if ((offset > 0 &&
            json_object_set_new(accessor, "byteOffset", json_integer((json_int_t)offset)) != 0) ||
        json_object_set_new(accessor, "bufferView", json_integer((json_int_t)view)) != 0)
        return media__no_memory(g->reterr);
    return RPC_OK;
}

static rpc_code lay_all(gathering *g)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < g->accessors; i++) {
        const size_t view = media__get_index(
            media__gltf_entry(g->gltf, "accessors", i), "bufferView");
        if (view != MEDIA__NO_INDEX && !g->fixed[view])
            code = lay_accessor(g, i);
    }
    return code;
}

static rpc_code add_views(gathering *g)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < g->group_count; i++) {
        group *of = &g->groups[i];
        const bool indices = of->use == TRIANGLES || of->use == INDICES;
        const bool vertices = of_vertices(of->use);
        const int target = vertices  ? MEDIA__ARRAY_BUFFER
                           : indices ? MEDIA__ELEMENT_ARRAY_BUFFER
                                     : 0;
        code = media__gltf_add_view(g->gltf, RPC_TAKE(of->data), of->size,
            vertices ? of->stride : 0, target, &of->view, g->reterr);
    }
    return code;
}

/* ---- accessors that are equal ---- */

static bool point_to_first(void *ctx, media__list list, json_t *slot)
{
    const gathering *g = ctx;
    const size_t index = (size_t)json_integer_value(slot);
    if (list == MEDIA__ACCESSORS && index < g->accessors && g->same[index] != index)
        json_integer_set(slot, (json_int_t)g->same[index]);
    return true;
}

/* Of all that it says: a hostile document has thousands that differ in their names alone. */
static uint64_t hash_of_accessor(const json_t *accessor)
{
    RPC_AUTOFREE char *text = json_dumps(accessor, JSON_COMPACT | JSON_SORT_KEYS);
    return text ? hash_of((const uint8_t *)text, strlen(text)) : 0;
}

/* Each points to the first that is equal, so that nothing reaches the others any more. What an
 * unknown extension may name stays, and is nobody's other. */
static void find_equal(gathering *g)
{
    const size_t foreign = media__refs_foreign(g->gltf);
    memset(g->slots, 0, g->slot_count * sizeof *g->slots);
    for (size_t i = 0; i < g->accessors; i++) {
        const json_t *accessor = media__gltf_entry(g->gltf, "accessors", i);
        const uint64_t hash = hash_of_accessor(accessor);
        g->same[i] = i;
        if (i < foreign || g->uses[i] == UNUSED || g->uses[i] == SEVERAL)
            continue;
        size_t at = (size_t)hash % g->slot_count;
        for (; g->slots[at].group; at = (at + 1) % g->slot_count)
            if (g->slots[at].hash == hash &&
                json_equal(
                    accessor, media__gltf_entry(g->gltf, "accessors", g->slots[at].group - 1))) {
                g->same[i] = g->slots[at].group - 1;
                break;
            }
        if (g->same[i] == i)
            g->slots[at] = (laid){.hash = hash, .group = i + 1};
    }
    (void)media__refs_of_rest(g->gltf, point_to_first, g);
    for (int list = 0; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < media__gltf_count(g->gltf, media__list_names[list]); i++)
            (void)media__refs_of(g->gltf, (media__list)list, i, point_to_first, g);
}

/* ---- all of it ---- */

static rpc_code gather(gathering *g)
{
    find_uses(g);
    find_fixed(g);
    rpc_code code = fix_packed(g);
    if (code == RPC_OK)
        code = lay_all(g);
    if (code == RPC_OK)
        code = add_views(g);
    if (code != RPC_OK)
        return code;
    find_equal(g);
    return media__gltf_prune(g->gltf, g->reterr);
}

rpc_code media__gltf_gather(media__gltf *gltf, rpc_status *reterr)
{
    gathering g = {.gltf = gltf,
        .reterr = reterr,
        .accessors = media__gltf_count(gltf, "accessors"),
        .views = media__gltf_count(gltf, "bufferViews")};
    g.slot_count = 2 * g.accessors + 1;
    g.uses = calloc(g.accessors + 1, sizeof *g.uses);
    g.fixed = calloc(g.views + 1, sizeof *g.fixed);
    g.same = calloc(g.accessors + 1, sizeof *g.same);
    g.slots = calloc(g.slot_count, sizeof *g.slots);
    const rpc_code code = g.uses && g.fixed && g.same && g.slots ? gather(&g)
                                                                 : media__no_memory(reterr);
    for (size_t i = 0; i < g.group_count; i++)
        free(g.groups[i].data);
    free(g.groups);
    free(g.uses);
    free(g.fixed);
    free(g.same);
    free(g.slots);
    return code;
}
