/* SPDX-License-Identifier: Apache-2.0 */
/* How the parts of a document fit together: nodes are trees, a mesh's accessors are of one length
 * and of the kinds that the specification allows (3.5, 3.7, 3.11), animations move what is there.
 */
#include "gltf_accessor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct walk {
    const media__gltf *gltf;
    const json_t *root;
    bool quantized; /* KHR_mesh_quantization is used */
    rpc_status *reterr;
    char place[96];
    size_t *parents;  /* of nodes; NO_PARENT: a root */
    size_t *roots;    /* of nodes: the root above, or the node itself */
    uint8_t *skinned; /* of meshes: every primitive has JOINTS_0 */
} walk;

#define NO_PARENT SIZE_MAX

#define BAD(w, ...) media__gltf_bad((w)->reterr, (w)->place, __VA_ARGS__)

static const json_t *list_of(const walk *w, const char *name)
{
    return json_object_get(w->root, name);
}

static const json_t *entry(const walk *w, const char *name, const json_t *index)
{
    return json_array_get(list_of(w, name), (size_t)json_integer_value(index));
}

static size_t number(const json_t *object, const char *name)
{
    return (size_t)json_integer_value(json_object_get(object, name));
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static rpc_code find_parents(walk *w)
{
    const json_t *nodes = list_of(w, "nodes");
    memset(w->parents, 0xff, json_array_size(nodes) * sizeof *w->parents); /* NO_PARENT */
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *children = json_object_get(json_array_get(nodes, i), "children");
        for (size_t j = 0; j < json_array_size(children); j++) {
            const size_t child = (size_t)json_integer_value(json_array_get(children, j));
            snprintf(w->place, sizeof w->place, "/nodes/%zu/children/%zu", i, j);
            if (w->parents[child] != NO_PARENT)
                return BAD(w, "node %zu has two parents", child);
            w->parents[child] = i;
        }
    }
    return RPC_OK;
}

/* Who has one parent at most is in a cycle, or below a root: up to a root, or to a node whose root
 * is known already, and once more to write it down. */
static rpc_code find_roots(walk *w)
{
    const size_t count = json_array_size(list_of(w, "nodes"));
    memset(w->roots, 0xff, count * sizeof *w->roots); /* NO_PARENT */
    for (size_t i = 0; i < count; i++) {
        size_t steps = 0, at = i;
        while (w->roots[at] == NO_PARENT && w->parents[at] != NO_PARENT) {
            at = w->parents[at];
            if (++steps > count) {
                snprintf(w->place, sizeof w->place, "/nodes/%zu", i);
                return BAD(w, "is its own ancestor");
            }
        }
        const size_t root = w->roots[at] == NO_PARENT ? at : w->roots[at];
        for (at = i; at != NO_PARENT && w->roots[at] == NO_PARENT; at = w->parents[at])
            w->roots[at] = root;
    }
    return RPC_OK;
}

static rpc_code check_scenes(walk *w)
{
    const json_t *scenes = list_of(w, "scenes");
    if (json_array_size(scenes) > MEDIA__SCENES_MAX)
        return rpc_status_set(w->reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: /scenes: %zu of them, at most %d are read", json_array_size(scenes),
            MEDIA__SCENES_MAX);
    for (size_t i = 0; i < json_array_size(scenes); i++) {
        const json_t *nodes = json_object_get(json_array_get(scenes, i), "nodes");
        for (size_t j = 0; j < json_array_size(nodes); j++) {
            snprintf(w->place, sizeof w->place, "/scenes/%zu/nodes/%zu", i, j);
            if (w->parents[json_integer_value(json_array_get(nodes, j))] != NO_PARENT)
                return BAD(w, "is no root: it has a parent");
        }
    }
    return RPC_OK;
}

static rpc_code check_node(walk *w, const json_t *node, size_t index)
{
    const json_t *mesh = json_object_get(node, "mesh"), *skin = json_object_get(node, "skin");
    snprintf(w->place, sizeof w->place, "/nodes/%zu", index);
    if (json_object_get(node, "matrix") &&
        (json_object_get(node, "translation") || json_object_get(node, "rotation") ||
            json_object_get(node, "scale")))
        return BAD(w, "has a matrix beside translation, rotation or scale");
    if ((skin || json_object_get(node, "weights")) && !mesh)
        return BAD(w, "has skin or weights, and no mesh");
    if (!mesh)
        return RPC_OK;
    if (skin && !w->skinned[json_integer_value(mesh)])
        return BAD(w, "has a skin, and a primitive of /meshes/%lld has no JOINTS_0",
            (long long)json_integer_value(mesh));
    const json_t *weights = json_object_get(node, "weights");
    const json_t *primitives = json_object_get(entry(w, "meshes", mesh), "primitives");
    const json_t *targets = json_object_get(json_array_get(primitives, 0), "targets");
    return weights && json_array_size(weights) != json_array_size(targets)
               ? BAD(w, "has %zu weights, its mesh %zu morph targets", json_array_size(weights),
                     json_array_size(targets))
               : RPC_OK;
}

static void find_skinned(walk *w)
{
    const json_t *meshes = list_of(w, "meshes");
    for (size_t i = 0; i < json_array_size(meshes); i++) {
        const json_t *primitives = json_object_get(json_array_get(meshes, i), "primitives");
        w->skinned[i] = 1;
        for (size_t j = 0; j < json_array_size(primitives); j++)
            if (!json_object_get(
                    json_object_get(json_array_get(primitives, j), "attributes"), "JOINTS_0"))
                w->skinned[i] = 0;
    }
}

static rpc_code check_nodes(walk *w)
{
    const json_t *nodes = list_of(w, "nodes");
    const size_t count = json_array_size(nodes);
    find_skinned(w);
    rpc_code code = find_parents(w);
    if (code == RPC_OK)
        code = find_roots(w);
    if (code == RPC_OK)
        code = check_scenes(w);
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = check_node(w, json_array_get(nodes, i), i);
    return code;
}

/* ---- meshes ---------------------------------------------------------------------------------- */

typedef struct semantic {
    const char *name;                       /* with an _ at its end: numbered */
    size_t components;                      /* 0: 3 or 4 */
    bool floats, bytes, shorts, signed_too; /* bytes and shorts normalised, but of joints */
} semantic;

static const semantic semantics[] = {{"POSITION", 3, true, false, false, false},
    {"NORMAL", 3, true, false, false, false}, {"TANGENT", 4, true, false, false, false},
    {"TEXCOORD_", 2, true, true, true, false}, {"COLOR_", 0, true, true, true, false},
    {"JOINTS_", 4, false, true, true, false}, {"WEIGHTS_", 4, true, true, true, false}};

static const semantic *semantic_of(const char *name)
{
    for (size_t i = 0; i < sizeof semantics / sizeof *semantics; i++) {
        const size_t size = strlen(semantics[i].name);
        const bool numbered = semantics[i].name[size - 1] == '_';
        if (strncmp(name, semantics[i].name, size) == 0 &&
            (numbered ? name[size] >= '0' && name[size] <= '9' : name[size] == '\0'))
            return &semantics[i];
    }
    return NULL;
}

static bool component_fits(const walk *w, const semantic *s, const media__layout *layout)
{
    switch (layout->component_type) {
    case MEDIA__FLOAT:
        return s->floats;
    case MEDIA__UBYTE:
        return s->bytes || w->quantized;
    case MEDIA__USHORT:
        return s->shorts || w->quantized;
    case MEDIA__BYTE:
    case MEDIA__SHORT:
        return w->quantized && s->floats;
    default:
        return false;
    }
}

static rpc_code check_attribute(
    walk *w, const char *name, const json_t *accessor, bool target, size_t *count)
{
    media__layout layout;
    const semantic *s = semantic_of(name);
    media__accessor_layout(accessor, &layout);
    if (name[0] != '_') { /* others' own begin so: of any kind but wide integers */
        if (!s)
            return BAD(w, "%.40s is no attribute", name);
        const size_t wanted = target && strcmp(name, "TANGENT") == 0 ? 3 : s->components;
        if (wanted ? layout.components != wanted : layout.components != 3 && layout.components != 4)
            return BAD(w, "%.40s has elements of %zu numbers", name, layout.components);
        if (!component_fits(w, s, &layout))
            return BAD(w, "%.40s is of a component type that is not allowed", name);
        if (strcmp(name, "POSITION") == 0 &&
            (!json_object_get(accessor, "min") || !json_object_get(accessor, "max")))
            return BAD(w, "POSITION has no min and max");
    } else if (layout.component_type == MEDIA__UINT)
        return BAD(w, "%.40s has elements of 32-bit integers", name);
    const size_t own = number(accessor, "count");
    if (*count && own != *count)
        return BAD(w, "%.40s has %zu elements, others %zu", name, own, *count);
    *count = own;
    return RPC_OK;
}

static rpc_code check_attributes(walk *w, const json_t *attributes, bool target, size_t *count)
{
    json_t *mutable = (json_t *)(uintptr_t)attributes; /* jansson's iterators take no const */
    rpc_code code = RPC_OK;
    for (void *at = json_object_iter(mutable); code == RPC_OK && at;
         at = json_object_iter_next(mutable, at))
        code = check_attribute(w, json_object_iter_key(at),
            entry(w, "accessors", json_object_iter_value(at)), target, count);
    return code;
}

/* JOINTS_0, JOINTS_1 … without a gap; each with its WEIGHTS. */
static rpc_code check_series(walk *w, const json_t *attributes)
{
    static const char *const series[] = {"TEXCOORD_", "COLOR_", "JOINTS_", "WEIGHTS_"};
    size_t counts[4] = {0}, found[4] = {0};
    json_t *mutable = (json_t *)(uintptr_t)attributes;
    for (size_t i = 0; i < 4; i++) {
        char name[24];
        do
            snprintf(name, sizeof name, "%s%zu", series[i], counts[i]);
        while (json_object_get(attributes, name) && ++counts[i] < 100);
        for (void *at = json_object_iter(mutable); at; at = json_object_iter_next(mutable, at))
            found[i] += strncmp(json_object_iter_key(at), series[i], strlen(series[i])) == 0;
        if (found[i] != counts[i])
            return BAD(w, "attributes %s are not numbered from 0 on without a gap", series[i]);
    }
    return counts[2] == counts[3] ? RPC_OK
                                  : BAD(w, "has %zu JOINTS and %zu WEIGHTS", counts[2], counts[3]);
}

static rpc_code check_indices(walk *w, const json_t *primitive)
{
    const json_t *index = json_object_get(primitive, "indices");
    if (!index)
        return RPC_OK;
    media__layout layout;
    const json_t *accessor = entry(w, "accessors", index);
    const json_t *view = json_object_get(accessor, "bufferView");
    media__accessor_layout(accessor, &layout);
    if (layout.components != 1 || layout.normalized ||
        (layout.component_type != MEDIA__UBYTE && layout.component_type != MEDIA__USHORT &&
            layout.component_type != MEDIA__UINT))
        return BAD(w, "its indices are no unsigned integers");
    if (view && json_object_get(entry(w, "bufferViews", view), "byteStride"))
        return BAD(w, "the view of its indices has a byteStride");
    return RPC_OK;
}

static rpc_code check_primitive(walk *w, const json_t *primitive, size_t target_count)
{
    size_t vertices = 0;
    const json_t *attributes = json_object_get(primitive, "attributes");
    const json_t *targets = json_object_get(primitive, "targets");
    rpc_code code = check_attributes(w, attributes, false, &vertices);
    if (code == RPC_OK)
        code = check_series(w, attributes);
    if (code == RPC_OK)
        code = check_indices(w, primitive);
    if (code == RPC_OK && json_array_size(targets) != target_count)
        code = BAD(w, "has %zu morph targets, the first primitive %zu", json_array_size(targets),
            target_count);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(targets); i++)
        code = check_attributes(w, json_array_get(targets, i), true, &vertices);
    return code;
}

static rpc_code check_meshes(walk *w)
{
    const json_t *meshes = list_of(w, "meshes");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(meshes); i++) {
        const json_t *mesh = json_array_get(meshes, i);
        const json_t *primitives = json_object_get(mesh, "primitives");
        const size_t targets = json_array_size(
            json_object_get(json_array_get(primitives, 0), "targets"));
        for (size_t j = 0; code == RPC_OK && j < json_array_size(primitives); j++) {
            snprintf(w->place, sizeof w->place, "/meshes/%zu/primitives/%zu", i, j);
            code = check_primitive(w, json_array_get(primitives, j), targets);
        }
        const json_t *weights = json_object_get(mesh, "weights");
        snprintf(w->place, sizeof w->place, "/meshes/%zu/weights", i);
        if (code == RPC_OK && weights && json_array_size(weights) != targets)
            code = BAD(
                w, "has %zu numbers for %zu morph targets", json_array_size(weights), targets);
    }
    return code;
}

/* ---- skins ----------------------------------------------------------------------------------- */

static rpc_code check_matrices(walk *w, const json_t *skin)
{
    const json_t *matrices = json_object_get(skin, "inverseBindMatrices");
    const size_t joints = json_array_size(json_object_get(skin, "joints"));
    if (!matrices)
        return RPC_OK;
    media__layout layout;
    const json_t *accessor = entry(w, "accessors", matrices);
    media__accessor_layout(accessor, &layout);
    if (layout.components != 16 || layout.component_type != MEDIA__FLOAT)
        return BAD(w, "its inverseBindMatrices are no MAT4 of floats");
    return number(accessor, "count") < joints ? BAD(w, "has %zu joints and %zu inverseBindMatrices",
                                                    joints, number(accessor, "count"))
                                              : RPC_OK;
}

static rpc_code check_joints(walk *w, const json_t *skin)
{
    const json_t *joints = json_object_get(skin, "joints");
    const size_t root = w->roots[json_integer_value(json_array_get(joints, 0))];
    for (size_t i = 1; i < json_array_size(joints); i++)
        if (w->roots[json_integer_value(json_array_get(joints, i))] != root)
            return BAD(w, "its joints have no common root: joint %zu", i);
    return RPC_OK;
}

/* A skinned mesh is drawn in no scene that lacks its joints. */
static rpc_code check_skins_in_scenes(walk *w)
{
    const json_t *scenes = list_of(w, "scenes"), *nodes = list_of(w, "nodes");
    const size_t count = json_array_size(nodes);
    uint64_t *in = calloc(count + 1, sizeof *in); /* of roots: a bit for each scene */
    if (!in)
        return media__no_memory(w->reterr);
    for (size_t i = 0; i < json_array_size(scenes); i++) {
        const json_t *list = json_object_get(json_array_get(scenes, i), "nodes");
        for (size_t j = 0; j < json_array_size(list); j++)
            in[json_integer_value(json_array_get(list, j))] |= (uint64_t)1 << i;
    }
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < count; i++) {
        const json_t *skin = json_object_get(json_array_get(nodes, i), "skin");
        if (!skin)
            continue;
        const json_t *joints = json_object_get(entry(w, "skins", skin), "joints");
        const size_t root = w->roots[json_integer_value(json_array_get(joints, 0))];
        snprintf(w->place, sizeof w->place, "/nodes/%zu/skin", i);
        if (in[w->roots[i]] & ~in[root])
            code = BAD(w, "its joints are not in every scene that the node is in");
    }
    free(in);
    return code;
}

static rpc_code check_skins(walk *w)
{
    const json_t *skins = list_of(w, "skins");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(skins); i++) {
        const json_t *skin = json_array_get(skins, i);
        snprintf(w->place, sizeof w->place, "/skins/%zu", i);
        code = check_matrices(w, skin);
        if (code == RPC_OK)
            code = check_joints(w, skin);
    }
    return code == RPC_OK ? check_skins_in_scenes(w) : code;
}

/* ---- animations ------------------------------------------------------------------------------ */

static size_t targets_of_node(const walk *w, const json_t *node)
{
    const json_t *mesh = json_object_get(node, "mesh");
    const json_t *primitives = json_object_get(
        mesh ? entry(w, "meshes", mesh) : NULL, "primitives");
    return json_array_size(json_object_get(json_array_get(primitives, 0), "targets"));
}

static rpc_code check_channel(walk *w, const json_t *animation, const json_t *channel)
{
    static const char *const paths[] = {"translation", "rotation", "scale", "weights"};
    const json_t *samplers = json_object_get(animation, "samplers");
    const json_t *target = json_object_get(channel, "target");
    const json_t *node = json_object_get(target, "node");
    const char *path = json_string_value(json_object_get(target, "path"));
    const size_t sampler = number(channel, "sampler");
    if (sampler >= json_array_size(samplers))
        return BAD(w, "sampler %zu: the animation has %zu", sampler, json_array_size(samplers));
    if (!node) /* an extension's, say KHR_animation_pointer */
        return RPC_OK;
    const int which = media__word_of(path, paths, 4);
    if (which < 0)
        return BAD(w, "moves '%.32s' of a node", path);
    const json_t *moved = entry(w, "nodes", node);
    if (which < 3 && json_object_get(moved, "matrix"))
        return BAD(w, "moves a node that has a matrix");
    const size_t per_key = which < 3 ? 1 : targets_of_node(w, moved);
    if (per_key == 0)
        return BAD(w, "moves weights of a node without morph targets");
    const json_t *entry_of = json_array_get(samplers, sampler);
    const json_t *input = entry(w, "accessors", json_object_get(entry_of, "input"));
    const json_t *output = entry(w, "accessors", json_object_get(entry_of, "output"));
    const char *kind = json_string_value(json_object_get(entry_of, "interpolation"));
    const size_t factor = kind && strcmp(kind, "CUBICSPLINE") == 0 ? 3 : 1;
    media__layout layout;
    media__accessor_layout(output, &layout);
    if (layout.components != (which == 1 ? 4U : which == 3 ? 1U : 3U))
        return BAD(w, "its output does not fit %s", path);
    return number(output, "count") != number(input, "count") * factor * per_key
               ? BAD(w, "its output has %zu elements for %zu times", number(output, "count"),
                     number(input, "count"))
               : RPC_OK;
}

static rpc_code check_animation(walk *w, const json_t *animation, size_t index)
{
    const json_t *samplers = json_object_get(animation, "samplers");
    const json_t *channels = json_object_get(animation, "channels");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(samplers); i++) {
        const json_t *input = entry(
            w, "accessors", json_object_get(json_array_get(samplers, i), "input"));
        media__layout layout;
        media__accessor_layout(input, &layout);
        snprintf(w->place, sizeof w->place, "/animations/%zu/samplers/%zu", index, i);
        if (layout.components != 1 || layout.component_type != MEDIA__FLOAT)
            code = BAD(w, "its input is no list of floats");
        else if (!json_object_get(input, "min") || !json_object_get(input, "max"))
            code = BAD(w, "its input has no min and max");
    }
    for (size_t i = 0; code == RPC_OK && i < json_array_size(channels); i++) {
        snprintf(w->place, sizeof w->place, "/animations/%zu/channels/%zu", index, i);
        code = check_channel(w, animation, json_array_get(channels, i));
    }
    return code;
}

static rpc_code check_graph(walk *w)
{
    rpc_code code = check_nodes(w);
    if (code == RPC_OK)
        code = check_meshes(w);
    if (code == RPC_OK)
        code = check_skins(w);
    const json_t *animations = list_of(w, "animations");
    for (size_t i = 0; code == RPC_OK && i < json_array_size(animations); i++)
        code = check_animation(w, json_array_get(animations, i), i);
    return code;
}

rpc_code media__gltf_check_graph(const media__gltf *gltf, rpc_status *reterr)
{
    walk w = {.gltf = gltf,
        .root = gltf->json,
        .reterr = reterr,
        .quantized = media__gltf_uses(gltf->json, MEDIA__MESH_QUANTIZATION)};
    const size_t nodes = json_array_size(list_of(&w, "nodes"));
    w.parents = malloc((nodes + 1) * sizeof *w.parents);
    w.roots = malloc((nodes + 1) * sizeof *w.roots);
    w.skinned = malloc(json_array_size(list_of(&w, "meshes")) + 1);
    const rpc_code code = w.parents && w.roots && w.skinned ? check_graph(&w)
                                                            : media__no_memory(reterr);
    free(w.parents);
    free(w.roots);
    free(w.skinned);
    return code;
}
