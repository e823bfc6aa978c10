/* SPDX-License-Identifier: Apache-2.0 */
/* What extensions ask of the document around them. After the schema: every extension has its
 * members and stands where it belongs. */
#include "gltf_accessor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct walk {
    const json_t *root;
    rpc_status *reterr;
    char place[112];
    size_t primitive;      /* of all that are walked, from 1 */
    size_t *variants_seen; /* by which of them */
} walk;

#define BAD(w, ...) media__gltf_bad((w)->reterr, (w)->place, __VA_ARGS__)

static const json_t *list_of(const walk *w, const char *name)
{
    return json_object_get(w->root, name);
}

static const json_t *extension(const json_t *object, const char *name)
{
    return json_object_get(json_object_get(object, "extensions"), name);
}

static const json_t *entry(const walk *w, const char *list, const json_t *index)
{
    return index ? json_array_get(list_of(w, list), (size_t)json_integer_value(index)) : NULL;
}

static size_t count_of(const json_t *accessor)
{
    return (size_t)json_integer_value(json_object_get(accessor, "count"));
}

/* ---- what is used and required --------------------------------------------------------------- */

static rpc_code check_required(walk *w)
{
    const json_t *required = list_of(w, "extensionsRequired");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        snprintf(w->place, sizeof w->place, "/extensionsRequired/%zu", i);
        if (!media__gltf_uses(w->root, name))
            return BAD(w, "'%.40s' is not in extensionsUsed", name);
        if (!media__extension_known(name))
            return rpc_status_set(w->reterr, RPC_UNIMPLEMENTED,
                "gltf: %s: '%.64s' is required and not known here; send the avatar without it",
                w->place, name);
    }
    return RPC_OK;
}

/* ---- primitives ------------------------------------------------------------------------------ */

/* One variant has one material. */
static rpc_code check_variants(walk *w, const json_t *primitive)
{
    const json_t *mappings = json_object_get(
        extension(primitive, "KHR_materials_variants"), "mappings");
    for (size_t i = 0; i < json_array_size(mappings); i++) {
        const json_t *list = json_object_get(json_array_get(mappings, i), "variants");
        for (size_t j = 0; j < json_array_size(list); j++) {
            const size_t variant = (size_t)json_integer_value(json_array_get(list, j));
            if (w->variants_seen[variant] == w->primitive)
                return BAD(w, "KHR_materials_variants: two mappings of variant %zu", variant);
            w->variants_seen[variant] = w->primitive;
        }
    }
    return RPC_OK;
}

/* Anisotropy has a direction: of tangents that are there, or that a normal map gives. */
static rpc_code check_tangents(walk *w, const json_t *primitive)
{
    const json_t *material = entry(w, "materials", json_object_get(primitive, "material"));
    const json_t *attributes = json_object_get(primitive, "attributes");
    if (!extension(material, "KHR_materials_anisotropy") ||
        json_object_get(material, "normalTexture") ||
        (json_object_get(attributes, "NORMAL") && json_object_get(attributes, "TANGENT")))
        return RPC_OK;
    return BAD(w, "its material is anisotropic; it has neither TANGENT nor a normal texture");
}

static rpc_code check_draco(walk *w, const json_t *primitive)
{
    const json_t *draco = json_object_get(
        extension(primitive, "KHR_draco_mesh_compression"), "attributes");
    const json_t *attributes = json_object_get(primitive, "attributes");
    const json_t *mode = json_object_get(primitive, "mode");
    json_t *mutable = (json_t *)(uintptr_t)draco; /* jansson's iterators take no const */
    for (void *at = json_object_iter(mutable); at; at = json_object_iter_next(mutable, at))
        if (!json_object_get(attributes, json_object_iter_key(at)))
            return BAD(w, "KHR_draco_mesh_compression has %.40s, the primitive has not",
                json_object_iter_key(at));
    return draco && mode && json_integer_value(mode) != 4 && json_integer_value(mode) != 5
               ? BAD(w, "KHR_draco_mesh_compression is for triangles")
               : RPC_OK;
}

static rpc_code check_primitive(walk *w, const json_t *primitive)
{
    rpc_code code = check_variants(w, primitive);
    if (code == RPC_OK)
        code = check_tangents(w, primitive);
    return code == RPC_OK ? check_draco(w, primitive) : code;
}

static rpc_code check_primitives(walk *w)
{
    const json_t *variants = json_object_get(
        extension(w->root, "KHR_materials_variants"), "variants");
    const json_t *meshes = list_of(w, "meshes");
    w->variants_seen = calloc(json_array_size(variants) + 1, sizeof *w->variants_seen);
    if (!w->variants_seen)
        return media__no_memory(w->reterr);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(meshes); i++) {
        const json_t *primitives = json_object_get(json_array_get(meshes, i), "primitives");
        for (size_t j = 0; code == RPC_OK && j < json_array_size(primitives); j++) {
            snprintf(w->place, sizeof w->place, "/meshes/%zu/primitives/%zu", i, j);
            w->primitive++;
            code = check_primitive(w, json_array_get(primitives, j));
        }
    }
    free(w->variants_seen);
    return code;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static rpc_code check_instance(walk *w, const char *name, const json_t *accessor, size_t *count)
{
    media__layout layout;
    media__accessor_layout(accessor, &layout);
    const bool rotation = strcmp(name, "ROTATION") == 0;
    const bool floats = layout.component_type == MEDIA__FLOAT;
    const bool signed_integers = layout.normalized && (layout.component_type == MEDIA__BYTE ||
                                                          layout.component_type == MEDIA__SHORT);
    if (rotation ? layout.components != 4 || !(floats || signed_integers)
        : strcmp(name, "TRANSLATION") == 0 || strcmp(name, "SCALE") == 0
            ? layout.components != 3 || !floats
            : name[0] != '_')
        return BAD(w, "%.40s is no attribute of instances, or of another type", name);
    if (*count && count_of(accessor) != *count)
        return BAD(w, "%.40s has %zu elements, others %zu", name, count_of(accessor), *count);
    *count = count_of(accessor);
    return RPC_OK;
}

static rpc_code check_instancing(walk *w, const json_t *node)
{
    const json_t *instancing = extension(node, "EXT_mesh_gpu_instancing");
    if (!instancing)
        return RPC_OK;
    if (!json_object_get(node, "mesh"))
        return BAD(w, "is on a node without a mesh");
    size_t count = 0;
    rpc_code code = RPC_OK;
    json_t *attributes = json_object_get(instancing, "attributes");
    for (void *at = json_object_iter(attributes); code == RPC_OK && at;
         at = json_object_iter_next(attributes, at))
        code = check_instance(
            w, json_object_iter_key(at), entry(w, "accessors", json_object_iter_value(at)), &count);
    return code;
}

static rpc_code check_nodes(walk *w)
{
    const json_t *nodes = list_of(w, "nodes");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(nodes); i++) {
        snprintf(w->place, sizeof w->place, "/nodes/%zu/extensions/EXT_mesh_gpu_instancing", i);
        code = check_instancing(w, json_array_get(nodes, i));
    }
    return code;
}

/* ---- animations ------------------------------------------------------------------------------ */

static rpc_code check_target(walk *w, const json_t *target)
{
    const char *path = json_string_value(json_object_get(target, "path"));
    const bool pointer = strcmp(path, "pointer") == 0;
    if (!extension(target, "KHR_animation_pointer"))
        return pointer ? BAD(w, "its path is pointer, and KHR_animation_pointer is missing")
                       : RPC_OK;
    if (!pointer)
        return BAD(w, "KHR_animation_pointer: its path is '%.32s', not pointer", path);
    return json_object_get(target, "node") ? BAD(w, "KHR_animation_pointer: names a node as well")
                                           : RPC_OK;
}

static rpc_code check_animations(walk *w)
{
    const json_t *animations = list_of(w, "animations");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(animations); i++) {
        const json_t *channels = json_object_get(json_array_get(animations, i), "channels");
        for (size_t j = 0; code == RPC_OK && j < json_array_size(channels); j++) {
            snprintf(w->place, sizeof w->place, "/animations/%zu/channels/%zu/target", i, j);
            code = check_target(w, json_object_get(json_array_get(channels, j), "target"));
        }
    }
    return code;
}

bool media__gltf_uses(const json_t *root, const char *name)
{
    const json_t *used = json_object_get(root, "extensionsUsed");
    for (size_t i = 0; i < json_array_size(used); i++)
        if (strcmp(json_string_value(json_array_get(used, i)), name) == 0)
            return true;
    return false;
}

rpc_code media__gltf_check_extensions(const media__gltf *gltf, rpc_status *reterr)
{
    walk w = {.root = gltf->json, .reterr = reterr};
    rpc_code code = check_required(&w);
    if (code == RPC_OK)
        code = check_primitives(&w);
    if (code == RPC_OK)
        code = check_nodes(&w);
    return code == RPC_OK ? check_animations(&w) : code;
}
