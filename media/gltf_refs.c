/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_refs.h"
#include "gltf_get.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define EXT          "extensions/"

const char *const media__list_names[MEDIA__LISTS] = {
    "accessors", "bufferViews", "images", "textures", "samplers", "materials", "meshes", "skins"};

/* PATH from an owner to an index: members and, as a star, all entries of a list or an object. */
typedef struct ref {
    const char *path;
    media__list list;
} ref;

static const ref of_accessor[] = {
    {"bufferView", MEDIA__VIEWS},
    {"sparse/indices/bufferView", MEDIA__VIEWS},
    {"sparse/values/bufferView", MEDIA__VIEWS},
};
static const ref of_image[] = {{"bufferView", MEDIA__VIEWS}};
static const ref of_texture[] = {
    {"source", MEDIA__IMAGES},
    {"sampler", MEDIA__SAMPLERS},
    {EXT "EXT_texture_webp/source", MEDIA__IMAGES},
    {EXT "EXT_texture_avif/source", MEDIA__IMAGES},
    {EXT "KHR_texture_basisu/source", MEDIA__IMAGES},
    {EXT "MSFT_texture_dds/source", MEDIA__IMAGES},
};
static const ref of_material[] = {
    {"pbrMetallicRoughness/baseColorTexture/index", MEDIA__TEXTURES},
    {"pbrMetallicRoughness/metallicRoughnessTexture/index", MEDIA__TEXTURES},
    {"normalTexture/index", MEDIA__TEXTURES},
    {"occlusionTexture/index", MEDIA__TEXTURES},
    {"emissiveTexture/index", MEDIA__TEXTURES},
    /* each texture of a material's extension is a textureInfo, MToon's too */
    {EXT "*/*/index", MEDIA__TEXTURES},
    {EXT "MSFT_lod/ids/*", MEDIA__MATERIALS},
};
static const ref of_mesh[] = {
    {"primitives/*/indices", MEDIA__ACCESSORS},
    {"primitives/*/attributes/*", MEDIA__ACCESSORS},
    {"primitives/*/targets/*/*", MEDIA__ACCESSORS},
    {"primitives/*/material", MEDIA__MATERIALS},
    {"primitives/*/" EXT "KHR_materials_variants/mappings/*/material", MEDIA__MATERIALS},
    {"primitives/*/" EXT "KHR_draco_mesh_compression/bufferView", MEDIA__VIEWS},
};
static const ref of_skin[] = {{"inverseBindMatrices", MEDIA__ACCESSORS}};
static const ref of_rest[] = {
    {"nodes/*/mesh", MEDIA__MESHES},
    {"nodes/*/skin", MEDIA__SKINS},
    {"nodes/*/" EXT "EXT_mesh_gpu_instancing/attributes/*", MEDIA__ACCESSORS},
    {"animations/*/samplers/*/input", MEDIA__ACCESSORS},
    {"animations/*/samplers/*/output", MEDIA__ACCESSORS},
    /* VRM 0.x */
    {EXT "VRM/meta/texture", MEDIA__TEXTURES},
    {EXT "VRM/firstPerson/meshAnnotations/*/mesh", MEDIA__MESHES},
    {EXT "VRM/blendShapeMaster/blendShapeGroups/*/binds/*/mesh", MEDIA__MESHES},
    /* VRM 1.0 */
    {EXT "VRMC_vrm/meta/thumbnailImage", MEDIA__IMAGES},
    {EXT "VRMC_vrm/expressions/*/*/materialColorBinds/*/material", MEDIA__MATERIALS},
    {EXT "VRMC_vrm/expressions/*/*/textureTransformBinds/*/material", MEDIA__MATERIALS},
    {EXT "EXT_lights_image_based/lights/*/specularImages/*/*", MEDIA__IMAGES},
};
/* Of an entry of VRM/materialProperties, which stands beside the material of the same index. */
static const ref of_vrm_material[] = {{"textureProperties/*", MEDIA__TEXTURES}};

/* Extensions whose indices the table has, or that name nodes only, or nothing. A name that ends in
 * a star stands for all that begin so. */
static const char *const known[] = {"KHR_materials_*", "KHR_texture_transform",
    "KHR_texture_basisu", "KHR_mesh_quantization", "KHR_draco_mesh_compression",
    "KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_animation_pointer", "KHR_node_visibility",
    "EXT_texture_webp", "EXT_texture_avif", "EXT_meshopt_compression", "EXT_mesh_gpu_instancing",
    "EXT_lights_ies", "EXT_lights_image_based", "MSFT_lod", "MSFT_texture_dds", "VRM", "VRMC_vrm",
    "VRMC_vrm_animation", "VRMC_springBone", "VRMC_springBone_extended_collider",
    "VRMC_node_constraint", "VRMC_materials_mtoon", "VRMC_materials_hdr_emissiveMultiplier"};

/* ---- walking ---- */

static bool walk(json_t *at, const char *path, media__list list, media__ref_fn *fn, void *ctx)
{
    const char *slash = strchr(path, '/');
    char name[64];
    if (!at)
        return true;
    if (!path[0])
        return !json_is_integer(at) || json_integer_value(at) < 0 || fn(ctx, list, at);
    const size_t size = slash ? (size_t)(slash - path) : strlen(path);
    const char *rest = slash ? slash + 1 : "";
    if (size == 1 && path[0] == '*') {
        bool go = true;
        const char *key;
        json_t *value;
        if (json_is_array(at))
            for (size_t i = 0; go && i < json_array_size(at); i++)
                go = walk(json_array_get(at, i), rest, list, fn, ctx);
        else
            json_object_foreach(at, key, value) go = go && walk(value, rest, list, fn, ctx);
        return go;
    }
    memcpy(name, path, size); /* of the table: short */
    name[size] = '\0';
    return walk(json_object_get(at, name), rest, list, fn, ctx);
}

static bool walk_all(json_t *owner, const ref *refs, size_t count, media__ref_fn *fn, void *ctx)
{
    bool go = true;
    for (size_t i = 0; go && i < count; i++)
        go = walk(owner, refs[i].path, refs[i].list, fn, ctx);
    return go;
}

json_t *media__refs_beside(const media__gltf *gltf, media__list list)
{
    json_t *vrm = media__get_extension(gltf->json, "VRM");
    return list == MEDIA__MATERIALS ? json_object_get(vrm, "materialProperties") : NULL;
}

rpc_code media__refs_materials(const media__gltf *gltf, json_t **ret, rpc_status *reterr)
{
    json_t *numbers = json_object();
    int failed = numbers ? 0 : -1;
    for (size_t i = 0; !failed && i < media__gltf_count(gltf, "materials"); i++) {
        const char *name = json_string_value(
            json_object_get(media__gltf_entry(gltf, "materials", i), "name"));
        if (name && !json_object_get(numbers, name))
            failed = json_object_set_new(numbers, name, json_integer((json_int_t)i));
    }
    if (failed) {
        json_decref(numbers);
        return media__no_memory(reterr);
    }
    *ret = numbers;
    return RPC_OK;
}

bool media__refs_of(
    const media__gltf *gltf, media__list list, size_t index, media__ref_fn *fn, void *ctx)
{
    static const struct {
        const ref *refs;
        size_t count;
    } tables[MEDIA__LISTS] = {
        [MEDIA__ACCESSORS] = {of_accessor, COUNT(of_accessor)},
        [MEDIA__IMAGES] = {of_image, COUNT(of_image)},
        [MEDIA__TEXTURES] = {of_texture, COUNT(of_texture)},
        [MEDIA__MATERIALS] = {of_material, COUNT(of_material)},
        [MEDIA__MESHES] = {of_mesh, COUNT(of_mesh)},
        [MEDIA__SKINS] = {of_skin, COUNT(of_skin)},
    };
    json_t *owner = media__gltf_entry(gltf, media__list_names[list], index);
    json_t *beside = json_array_get(media__refs_beside(gltf, list), index);
    return walk_all(owner, tables[list].refs, tables[list].count, fn, ctx) &&
           walk_all(beside, of_vrm_material, COUNT(of_vrm_material), fn, ctx);
}

bool media__refs_of_rest(const media__gltf *gltf, media__ref_fn *fn, void *ctx)
{
    json_t *beside = media__refs_beside(gltf, MEDIA__MATERIALS);
    bool go = walk_all(gltf->json, of_rest, COUNT(of_rest), fn, ctx);
    /* those beside no material */
    for (size_t i = media__gltf_count(gltf, "materials"); go && i < json_array_size(beside); i++)
        go = walk_all(json_array_get(beside, i), of_vrm_material, COUNT(of_vrm_material), fn, ctx);
    return go;
}

/* ---- what the table does not know ---- */

static bool is_known(const char *name)
{
    for (size_t i = 0; i < COUNT(known); i++) {
        const size_t size = strlen(known[i]);
        if (known[i][size - 1] == '*' ? strncmp(name, known[i], size - 1) == 0
                                      : strcmp(name, known[i]) == 0)
            return true;
    }
    return false;
}

static size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* One more than the greatest integer of a value, those in strings and lengths of lists included. */
static size_t bound_of(const json_t *value)
{
    size_t bound = 0;
    const char *key;
    json_t *member;
    if (json_is_array(value)) {
        bound = json_array_size(value);
        for (size_t i = 0; i < json_array_size(value); i++)
            bound = greater(bound, bound_of(json_array_get(value, i)));
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            bound = greater(bound, bound_of(member));
        }
    } else if (json_is_number(value)) {
        const double number = json_number_value(value);
        bound = number < 0 ? 0 : number < MEDIA__FILE_BYTES_MAX ? (size_t)number + 1 : SIZE_MAX;
    } else if (json_is_string(value)) {
        for (const char *at = json_string_value(value); *at;) {
            char *end = (char *)(uintptr_t)at + 1;
            if (*at >= '0' && *at <= '9') {
                const unsigned long long number = strtoull(at, &end, 10);
                bound = greater(bound, number < SIZE_MAX ? (size_t)number + 1 : SIZE_MAX);
            }
            at = end;
        }
    }
    return bound;
}

static size_t bound_of_extensions(const json_t *extensions)
{
    size_t bound = 0;
    const char *name;
    json_t *extension;
    json_object_foreach((json_t *)(uintptr_t)extensions, name, extension)
    {
        if (!is_known(name))
            bound = greater(bound, bound_of(extension));
    }
    return bound;
}

/* extras are a program's own notes: nobody else knows what they say, nor relies on it. */
static size_t foreign_in(const json_t *value)
{
    size_t bound = 0;
    const char *key;
    json_t *member;
    if (json_is_array(value))
        for (size_t i = 0; i < json_array_size(value); i++)
            bound = greater(bound, foreign_in(json_array_get(value, i)));
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (strcmp(key, "extensions") == 0)
            bound = greater(bound, bound_of_extensions(member));
        if (strcmp(key, "extras") != 0)
            bound = greater(bound, foreign_in(member));
    }
    return bound;
}

size_t media__refs_foreign(const media__gltf *gltf)
{
    return foreign_in(gltf->json);
}
