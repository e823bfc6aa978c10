/* SPDX-License-Identifier: Apache-2.0 */
/* Vertices, what morph targets add to them, and triangles. Only floats are rounded: a source that
 * is quantised already keeps its numbers. */
#include "gltf_get.h"
#include "gltf_morph_names.h"
#include "gltf_quantize.h"
#include "gltf_scale.h"
#include "rounding.h"

#include "cleanup.h"

#include <math.h>
#include <stdlib.h>

#define POSITION_STEP (1.0 / 16384) /* of the longest side of what hangs together */
#define DELTA_STEP    (1.0 / 256)   /* of normals that morph targets turn far */
#define TEXCOORD_STEP (1.0 / 4096)

/* ---- one accessor ---------------------------------------------------------------------------- */

/* What the floats become; floats is of the accessor's size. */
typedef struct numbers {
    float *floats;
    size_t count, components;
    void *rounded; /* NULL: the floats themselves */
    int component_type;
    bool normalized;
} numbers;

static bool round_to(media__quantizing *q, media__rounded as, double step, numbers *n)
{
    const size_t all = n->count * n->components;
    bool done = false;
    switch (as) {
    case MEDIA__ROUND_UNIT:
        done = media__round_unit(n->floats, n->count, n->components, !q->packed, n->rounded);
        n->component_type = MEDIA__BYTE;
        break;
    case MEDIA__ROUND_DELTA:
        done = media__round_signed(n->floats, all, n->rounded);
        n->component_type = MEDIA__BYTE;
        break;
    case MEDIA__ROUND_TEXCOORD:
        done = media__round_shorts(n->floats, all, n->rounded);
        n->component_type = MEDIA__USHORT;
        break;
    case MEDIA__ROUND_COLOR:
        done = media__round_bytes(n->floats, all, n->rounded);
        n->component_type = MEDIA__UBYTE;
        break;
    default:
        break;
    }
    n->normalized = done;
    q->needs_extension |= done && (as == MEDIA__ROUND_UNIT || as == MEDIA__ROUND_DELTA);
    if (done)
        return true;
    free(RPC_TAKE(n->rounded));
    n->component_type = MEDIA__FLOAT;
    media__round_floats(n->floats, all, step);
    return step > 0;
}

static rpc_code round_floats(
    media__quantizing *q, size_t accessor, media__rounded as, double step, size_t *ret)
{
    media__layout layout;
    media__accessor_layout(media__gltf_entry(q->gltf, "accessors", accessor), &layout);
    if (layout.component_type != MEDIA__FLOAT)
        return RPC_OK;
    numbers n = {.components = layout.components};
    rpc_code code = media__accessor_floats(q->gltf, accessor, &n.floats, &n.count, q->reterr);
    if (code == RPC_OK && as != MEDIA__ROUND_GRID &&
        !(n.rounded = calloc(n.count * n.components + 1, sizeof(uint16_t))))
        code = media__no_memory(q->reterr);
    if (code == RPC_OK && round_to(q, as, step, &n))
        code = media__quantize_put(q, accessor,
            n.rounded ? RPC_TAKE(n.rounded) : (void *)RPC_TAKE(n.floats), n.count, n.component_type,
            n.normalized, as == MEDIA__ROUND_GRID, MEDIA__ARRAY_BUFFER, ret);
    free(n.floats);
    free(n.rounded);
    return code;
}

/* Integers of fewer bytes, where all fit below most. */
static rpc_code narrow(
    media__quantizing *q, size_t accessor, int from, int to, uint32_t most, int target, size_t *ret)
{
    media__layout layout;
    media__accessor_layout(media__gltf_entry(q->gltf, "accessors", accessor), &layout);
    if (layout.component_type != from)
        return RPC_OK;
    RPC_AUTOFREE uint32_t *wide = NULL;
    size_t count = 0;
    rpc_code code = media__accessor_uints(q->gltf, accessor, &wide, &count, q->reterr);
    if (code != RPC_OK)
        return code;
    const size_t bytes = media__component_bytes(to), all = count * layout.components;
    uint8_t *made = malloc(all * bytes + 1);
    bool fits = true;
    for (size_t i = 0; made && i < all; i++) {
        fits = fits && wide[i] < most;
        memcpy(made + i * bytes, &wide[i], bytes);
    }
    if (made && fits)
        return media__quantize_put(q, accessor, made, count, to, false, false, target, ret);
    free(made);
    return made ? RPC_OK : media__no_memory(q->reterr);
}

static rpc_code make(
    media__quantizing *q, size_t accessor, media__rounded as, double step, size_t *ret)
{
    *ret = accessor;
    if (!media__has_elements(media__gltf_entry(q->gltf, "accessors", accessor)))
        return RPC_OK;
    if (as == MEDIA__ROUND_JOINTS)
        return narrow(q, accessor, MEDIA__USHORT, MEDIA__UBYTE, 256, MEDIA__ARRAY_BUFFER, ret);
    if (as == MEDIA__ROUND_INDICES) /* 65535 restarts a primitive */
        return narrow(
            q, accessor, MEDIA__UINT, MEDIA__USHORT, 65535, MEDIA__ELEMENT_ARRAY_BUFFER, ret);
    return round_floats(q, accessor, as, step, ret);
}

/* An accessor of several uses becomes one for each; what uses it alike shares it still. */
static rpc_code round_slot(media__quantizing *q, json_t *slot, media__rounded as, double step)
{
    const size_t accessor = (size_t)json_integer_value(slot);
    if (!slot || accessor >= q->accessors)
        return RPC_OK;
    for (size_t i = q->first[accessor]; i; i = q->made[i - 1].next)
        if (q->made[i - 1].as == as && q->made[i - 1].step == step) {
            json_integer_set(slot, (json_int_t)q->made[i - 1].accessor);
            return RPC_OK;
        }
    if (q->made_count == q->made_room) {
        const size_t room = 2 * q->made_room + 64;
        media__made *more = realloc(q->made, room * sizeof *more);
        if (!more)
            return media__no_memory(q->reterr);
        q->made = more;
        q->made_room = room;
    }
    media__made made = {.as = as, .step = step, .next = q->first[accessor]};
    const rpc_code code = make(q, accessor, as, step, &made.accessor);
    if (code != RPC_OK)
        return code;
    q->made[q->made_count++] = made;
    q->first[accessor] = q->made_count;
    json_integer_set(slot, (json_int_t)made.accessor);
    return RPC_OK;
}

/* ---- primitives ------------------------------------------------------------------------------ */

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static rpc_code round_attribute(media__quantizing *q, const char *name, json_t *slot, double step)
{
    if (strcmp(name, "POSITION") == 0)
        return step > 0 ? round_slot(q, slot, MEDIA__ROUND_GRID, step) : RPC_OK;
    if (strcmp(name, "NORMAL") == 0 || strcmp(name, "TANGENT") == 0)
        return round_slot(q, slot, MEDIA__ROUND_UNIT, 0);
    if (begins(name, "TEXCOORD_"))
        return round_slot(q, slot, MEDIA__ROUND_TEXCOORD, TEXCOORD_STEP);
    if (begins(name, "COLOR_"))
        return round_slot(q, slot, MEDIA__ROUND_COLOR, 0);
    return begins(name, "JOINTS_") ? round_slot(q, slot, MEDIA__ROUND_JOINTS, 0) : RPC_OK;
}

/* Where nothing will be compressed few moved normals are less as a sparse accessor of floats. */
static rpc_code round_target(media__quantizing *q, const char *name, json_t *slot, double step)
{
    if (strcmp(name, "NORMAL") == 0 || strcmp(name, "TANGENT") == 0)
        return q->packed ? round_slot(q, slot, MEDIA__ROUND_DELTA, DELTA_STEP)
                         : round_slot(q, slot, MEDIA__ROUND_GRID, DELTA_STEP);
    return strcmp(name, "POSITION") == 0 && step > 0 ? round_slot(q, slot, MEDIA__ROUND_GRID, step)
                                                     : RPC_OK;
}

static json_t *positions_of(const media__quantizing *q, const json_t *target)
{
    return media__gltf_entry(q->gltf, "accessors", media__get_index(target, "POSITION"));
}

/* Where nothing else names it, a target has the name of the accessor with its positions. */
static rpc_code round_named_target(
    media__quantizing *q, size_t mesh, size_t index, json_t *target, double step)
{
    json_t *named = json_object_get(positions_of(q, target), "name"), *slot;
    const bool names = named && media__morph_name(q->gltf, mesh, index) == json_string_value(named);
    const char *name;
    rpc_code code = RPC_OK;
    json_object_foreach(target, name, slot)
    {
        if (code == RPC_OK)
            code = round_target(q, name, slot, step);
    }
    if (code == RPC_OK && names && json_object_set(positions_of(q, target), "name", named) != 0)
        code = media__no_memory(q->reterr);
    return code;
}

static rpc_code round_primitive(media__quantizing *q, size_t mesh, json_t *primitive, double step)
{
    json_t *attributes = json_object_get(primitive, "attributes");
    json_t *targets = json_object_get(primitive, "targets");
    const char *name;
    json_t *slot;
    if (media__get_extension(primitive, "KHR_draco_mesh_compression"))
        return RPC_OK;
    rpc_code code = media__quantize_weights(q, attributes);
    json_object_foreach(attributes, name, slot)
    {
        if (code == RPC_OK)
            code = round_attribute(q, name, slot, step);
    }
    for (size_t t = 0; code == RPC_OK && t < json_array_size(targets); t++)
        code = round_named_target(q, mesh, t, json_array_get(targets, t), step);
    return code == RPC_OK
               ? round_slot(q, json_object_get(primitive, "indices"), MEDIA__ROUND_INDICES, 0)
               : code;
}

/* ---- how fine the grid is -------------------------------------------------------------------- */

typedef struct box {
    float min[3], max[3];
    bool any;
} box;

static void widen(box *b, const box *by)
{
    for (size_t k = 0; by->any && k < 3; k++) {
        b->min[k] = b->any && b->min[k] < by->min[k] ? b->min[k] : by->min[k];
        b->max[k] = b->any && b->max[k] > by->max[k] ? b->max[k] : by->max[k];
    }
    b->any = b->any || by->any;
}

static double longest_side(const box *b)
{
    double longest = 0;
    for (size_t k = 0; k < 3; k++)
        longest = fmax(longest, (double)b->max[k] - (double)b->min[k]);
    return longest;
}

/* Of what is there: min and max may say more. */
static rpc_code measure_accessor(const media__quantizing *q, size_t accessor, box *ret)
{
    RPC_AUTOFREE float *values = NULL;
    size_t count = 0;
    const rpc_code code = media__accessor_floats(q->gltf, accessor, &values, &count, q->reterr);
    for (size_t i = 0; code == RPC_OK && i < count; i++) {
        box point = {.any = true};
        memcpy(point.min, values + 3 * i, sizeof point.min);
        memcpy(point.max, values + 3 * i, sizeof point.max);
        widen(ret, &point);
    }
    return code;
}

typedef struct measuring {
    box *of_accessors, *of_groups;
    media__scales scales;
} measuring;

static rpc_code measure_mesh(media__quantizing *q, measuring *m, size_t mesh)
{
    box whole = {.any = false}, *group = &m->of_groups[m->scales.groups[mesh]];
    const json_t *list = json_object_get(media__gltf_entry(q->gltf, "meshes", mesh), "primitives");
    rpc_code code = RPC_OK;
    for (size_t k = 0; code == RPC_OK && k < json_array_size(list); k++) {
        const json_t *primitive = json_array_get(list, k);
        const size_t accessor = media__get_index(
            json_object_get(primitive, "attributes"), "POSITION");
        if (accessor == MEDIA__NO_INDEX)
            continue;
        if (!m->of_accessors[accessor].any)
            code = measure_accessor(q, accessor, &m->of_accessors[accessor]);
        widen(&whole, &m->of_accessors[accessor]);
    }
    widen(group, &whole);
    q->size = fmax(q->size, m->scales.meshes[mesh] * longest_side(group));
    return code;
}

/* Meshes of one skin touch: they share a grid, so that no crack opens. */
static rpc_code round_meshes(media__quantizing *q, measuring *m)
{
    const size_t meshes = media__gltf_count(q->gltf, "meshes");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < meshes; i++)
        code = measure_mesh(q, m, i);
    for (size_t i = 0; code == RPC_OK && i < meshes; i++) {
        const json_t *list = json_object_get(media__gltf_entry(q->gltf, "meshes", i), "primitives");
        const double step = media__power_below(
            POSITION_STEP * longest_side(&m->of_groups[m->scales.groups[i]]));
        for (size_t k = 0; code == RPC_OK && k < json_array_size(list); k++)
            code = round_primitive(q, i, json_array_get(list, k), step);
    }
    return code;
}

rpc_code media__quantize_meshes(media__quantizing *q)
{
    const size_t meshes = media__gltf_count(q->gltf, "meshes");
    const size_t groups = media__gltf_count(q->gltf, "skins") + meshes;
    measuring m = {.of_accessors = calloc(q->accessors + 1, sizeof *m.of_accessors),
        .of_groups = calloc(groups + 1, sizeof *m.of_groups)};
    rpc_code code = media__scales_of(q->gltf, &m.scales, q->reterr);
    if (code == RPC_OK)
        code = m.of_accessors && m.of_groups ? round_meshes(q, &m) : media__no_memory(q->reterr);
    free(m.of_accessors);
    free(m.of_groups);
    media__scales_done(&m.scales);
    return code;
}
