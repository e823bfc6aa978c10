/* SPDX-License-Identifier: Apache-2.0 */
/* What the objects of glTF 2.0 must look like (the schema of the specification, clause 5), as one
 * table. */
#include "schema.h"

#include <stdio.h>
#include <string.h>

static const int component_types[] = {5120, 5121, 5122, 5123, 5125, 5126, 0};
static const int index_types[] = {5121, 5123, 5125, 0};
static const int targets[] = {34962, 34963, 0};
static const int mag_filters[] = {9728, 9729, 0};
static const int min_filters[] = {9728, 9729, 9984, 9985, 9986, 9987, 0};
static const int wraps[] = {33071, 33648, 10497, 0};
static const char *const types[] = {"SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4", NULL};
static const char *const alpha_modes[] = {"OPAQUE", "MASK", "BLEND", NULL};
static const char *const camera_types[] = {"perspective", "orthographic", NULL};
static const char *const interpolations[] = {"LINEAR", "STEP", "CUBICSPLINE", NULL};

static const media__property asset_properties[] = {{.name = "version", .kind = TEXT, REQUIRED},
    {.name = "minVersion", .kind = TEXT}, {.name = "generator", .kind = TEXT},
    {.name = "copyright", .kind = TEXT}, EXTENDED(AT_ASSET)};
static const media__object asset = OF(asset_properties);

static const media__property buffer_properties[] = {
    {.name = "byteLength", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "uri", .kind = TEXT}, NAMED(AT_BUFFER)};
static const media__object buffer = OF(buffer_properties);

static const media__property view_properties[] = {
    {.name = "buffer", .kind = INDEX, REQUIRED, .into = "buffers"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteLength", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteStride", .kind = INTEGER, .min = 4, .max = 252},
    {.name = "target", .kind = CODE, .codes = targets}, NAMED(AT_VIEW)};
static const media__object view = OF(view_properties);

static const media__property sparse_indices_properties[] = {
    {.name = "bufferView", .kind = INDEX, REQUIRED, .into = "bufferViews"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "componentType", .kind = CODE, REQUIRED, .codes = index_types}, EXTENDED(AT_OTHER)};
static const media__object sparse_indices = OF(sparse_indices_properties);
static const media__property sparse_values_properties[] = {
    {.name = "bufferView", .kind = INDEX, REQUIRED, .into = "bufferViews"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    EXTENDED(AT_OTHER)};
static const media__object sparse_values = OF(sparse_values_properties);
static const media__property sparse_properties[] = {
    {.name = "count", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "indices", .kind = OBJECT, REQUIRED, .of = &sparse_indices},
    {.name = "values", .kind = OBJECT, REQUIRED, .of = &sparse_values}, EXTENDED(AT_OTHER)};
static const media__object sparse = OF(sparse_properties);
static const media__property accessor_properties[] = {INTO("bufferView", "bufferViews"),
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "componentType", .kind = CODE, REQUIRED, .codes = component_types},
    {.name = "normalized", .kind = BOOLEAN},
    {.name = "count", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "type", .kind = WORD, REQUIRED, .words = types},
    {.name = "max",
        .kind = NUMBERS,
        .min = -HUGE_VAL,
        .max = HUGE_VAL,
        .min_count = 1,
        .max_count = 16},
    {.name = "min",
        .kind = NUMBERS,
        .min = -HUGE_VAL,
        .max = HUGE_VAL,
        .min_count = 1,
        .max_count = 16},
    {.name = "sparse", .kind = OBJECT, .of = &sparse}, NAMED(AT_OTHER)};
static const media__object accessor = OF(accessor_properties);

static rpc_code check_image(media__place *p, const json_t *value)
{
    const bool inside = json_object_get(value, "bufferView") != NULL;
    if (inside == (json_object_get(value, "uri") != NULL))
        return media__schema_bad(
            p, "", inside ? "has a uri beside its bufferView" : "has neither uri nor bufferView");
    return inside && !json_object_get(value, "mimeType")
               ? media__schema_bad(p, "mimeType", "is missing beside bufferView")
               : RPC_OK;
}

static const media__property image_properties[] = {
    STRING("uri"), STRING("mimeType"), INTO("bufferView", "bufferViews"), NAMED(AT_IMAGE)};
static const media__object image = OF_RULE(image_properties, check_image);
static const media__property sampler_properties[] = {
    {.name = "magFilter", .kind = CODE, .codes = mag_filters},
    {.name = "minFilter", .kind = CODE, .codes = min_filters},
    {.name = "wrapS", .kind = CODE, .codes = wraps},
    {.name = "wrapT", .kind = CODE, .codes = wraps}, NAMED(AT_OTHER)};
static const media__object sampler = OF(sampler_properties);
static const media__property texture_properties[] = {
    INTO("sampler", "samplers"), INTO("source", "images"), NAMED(AT_TEXTURE)};
static const media__object texture = OF(texture_properties);

/* clang-format off */
#define TEXTURE_INFO                                                                               \
    {.name = "index", .kind = INDEX, REQUIRED, .into = "textures"},                                \
    {.name = "texCoord", .kind = INTEGER, .min = 0, .max = 255}, EXTENDED(AT_TEXTURE_INFO)
/* clang-format on */
static const media__property texture_info_properties[] = {TEXTURE_INFO};
const media__object media__texture_info = OF(texture_info_properties);
static const media__property normal_texture_properties[] = {TEXTURE_INFO, FREE("scale")};
const media__object media__normal_texture = OF(normal_texture_properties);
static const media__property occlusion_texture_properties[] = {
    TEXTURE_INFO, BETWEEN("strength", 0, 1)};
static const media__object occlusion_texture = OF(occlusion_texture_properties);
static const media__property roughness_properties[] = {UNIT("baseColorFactor", 4),
    {.name = "baseColorTexture", .kind = OBJECT, .of = &media__texture_info},
    BETWEEN("metallicFactor", 0, 1), BETWEEN("roughnessFactor", 0, 1),
    {.name = "metallicRoughnessTexture", .kind = OBJECT, .of = &media__texture_info},
    EXTENDED(AT_OTHER)};
static const media__object roughness = OF(roughness_properties);
static const media__property material_properties[] = {
    {.name = "pbrMetallicRoughness", .kind = OBJECT, .of = &roughness},
    {.name = "normalTexture", .kind = OBJECT, .of = &media__normal_texture},
    {.name = "occlusionTexture", .kind = OBJECT, .of = &occlusion_texture},
    {.name = "emissiveTexture", .kind = OBJECT, .of = &media__texture_info},
    UNIT("emissiveFactor", 3), {.name = "alphaMode", .kind = WORD, .words = alpha_modes},
    AT_LEAST("alphaCutoff", 0), {.name = "doubleSided", .kind = BOOLEAN}, NAMED(AT_MATERIAL)};
static const media__object material = OF(material_properties);

static const media__property primitive_properties[] = {
    {.name = "attributes", .kind = ATTRIBUTES, REQUIRED, .into = "accessors"},
    INTO("indices", "accessors"), INTO("material", "materials"),
    {.name = "mode", .kind = INTEGER, .min = 0, .max = 6},
    {.name = "targets", .kind = TARGETS, .into = "accessors"}, EXTENDED(AT_PRIMITIVE)};
static const media__object primitive = OF(primitive_properties);
static const media__property mesh_properties[] = {
    {.name = "primitives", .kind = OBJECTS, REQUIRED, .of = &primitive},
    {.name = "weights",
        .kind = NUMBERS,
        .min = -HUGE_VAL,
        .max = HUGE_VAL,
        .min_count = 1,
        .max_count = MANY},
    NAMED(AT_MESH)};
static const media__object mesh = OF(mesh_properties);

static const media__property skin_properties[] = {INTO("inverseBindMatrices", "accessors"),
    INTO("skeleton", "nodes"), {.name = "joints", .kind = INDEXES, REQUIRED, .into = "nodes"},
    NAMED(AT_OTHER)};
static const media__object skin = OF(skin_properties);

/* A camera sees from znear on, and something. */
static rpc_code check_depth(media__place *p, const json_t *value)
{
    const json_t *far = json_object_get(value, "zfar");
    return far && json_number_value(far) <= json_number_value(json_object_get(value, "znear"))
               ? media__schema_bad(p, "zfar", "is not above znear")
               : RPC_OK;
}

static const media__property orthographic_properties[] = {
    {.name = "xmag", .kind = NUMBER, REQUIRED, ANY_NUMBER},
    {.name = "ymag", .kind = NUMBER, REQUIRED, ANY_NUMBER},
    {.name = "zfar", .kind = NUMBER, REQUIRED, .above = true, .min = 0, .max = HUGE_VAL},
    {.name = "znear", .kind = NUMBER, REQUIRED, .min = 0, .max = HUGE_VAL}, EXTENDED(AT_OTHER)};
static const media__object orthographic = OF_RULE(orthographic_properties, check_depth);
static const media__property perspective_properties[] = {ABOVE("aspectRatio", 0),
    {.name = "yfov", .kind = NUMBER, REQUIRED, .above = true, .min = 0, .max = HUGE_VAL},
    ABOVE("zfar", 0),
    {.name = "znear", .kind = NUMBER, REQUIRED, .above = true, .min = 0, .max = HUGE_VAL},
    EXTENDED(AT_OTHER)};
static const media__object perspective = OF_RULE(perspective_properties, check_depth);

static rpc_code check_camera(media__place *p, const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    const bool wide = strcmp(type, "perspective") == 0;
    if (!json_object_get(value, type))
        return media__schema_bad(p, type, "is missing");
    return json_object_get(value, wide ? "orthographic" : "perspective")
               ? media__schema_bad(p, "", "is perspective and orthographic")
               : RPC_OK;
}

static const media__property camera_properties[] = {
    {.name = "type", .kind = WORD, REQUIRED, .words = camera_types},
    ONE("orthographic", orthographic), ONE("perspective", perspective), NAMED(AT_OTHER)};
static const media__object camera = OF_RULE(camera_properties, check_camera);

/* How far a rotation's length may be from 1: what quantised ones have at worst. */
#define UNIT_TOLERANCE 0.00769

static rpc_code check_rotation(media__place *p, const json_t *value)
{
    const json_t *rotation = json_object_get(value, "rotation");
    double square = 0;
    for (size_t i = 0; i < json_array_size(rotation); i++) {
        const double part = json_number_value(json_array_get(rotation, i));
        square += part * part;
    }
    return rotation && fabs(sqrt(square) - 1) > UNIT_TOLERANCE
               ? media__schema_bad(p, "rotation", "is of length %g, not 1", sqrt(square))
               : RPC_OK;
}

static const media__property node_properties[] = {INTO("camera", "cameras"), INTO("mesh", "meshes"),
    INTO("skin", "skins"), {.name = "children", .kind = INDEXES, .into = "nodes"},
    VECTOR("matrix", 16),
    {.name = "rotation", .kind = NUMBERS, .min = -1, .max = 1, .min_count = 4, .max_count = 4},
    VECTOR("scale", 3), VECTOR("translation", 3),
    {.name = "weights",
        .kind = NUMBERS,
        .min = -HUGE_VAL,
        .max = HUGE_VAL,
        .min_count = 1,
        .max_count = MANY},
    NAMED(AT_NODE)};
static const media__object node = OF_RULE(node_properties, check_rotation);
static const media__property scene_properties[] = {
    {.name = "nodes", .kind = INDEXES, .into = "nodes"}, NAMED(AT_SCENE)};
static const media__object scene = OF(scene_properties);

static const media__property target_properties[] = {
    INTO("node", "nodes"), {.name = "path", .kind = TEXT, REQUIRED}, EXTENDED(AT_TARGET)};
static const media__object target = OF(target_properties);
/* `sampler` is an index into the animation's own: gltf_graph.c */
static const media__property channel_properties[] = {
    {.name = "sampler", .kind = INTEGER, REQUIRED, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "target", .kind = OBJECT, REQUIRED, .of = &target}, EXTENDED(AT_OTHER)};
static const media__object channel = OF(channel_properties);
static const media__property animation_sampler_properties[] = {
    {.name = "input", .kind = INDEX, REQUIRED, .into = "accessors"},
    {.name = "interpolation", .kind = WORD, .words = interpolations},
    {.name = "output", .kind = INDEX, REQUIRED, .into = "accessors"}, EXTENDED(AT_OTHER)};
static const media__object animation_sampler = OF(animation_sampler_properties);
static const media__property animation_properties[] = {
    {.name = "channels", .kind = OBJECTS, REQUIRED, .of = &channel},
    {.name = "samplers", .kind = OBJECTS, REQUIRED, .of = &animation_sampler}, NAMED(AT_ANIMATION)};
static const media__object animation = OF(animation_properties);

static const media__property root_properties[] = {
    {.name = "asset", .kind = OBJECT, REQUIRED, .of = &asset},
    {.name = "extensionsUsed", .kind = TEXTS}, {.name = "extensionsRequired", .kind = TEXTS},
    {.name = "accessors", .kind = OBJECTS, .of = &accessor},
    {.name = "animations", .kind = OBJECTS, .of = &animation},
    {.name = "buffers", .kind = OBJECTS, .of = &buffer},
    {.name = "bufferViews", .kind = OBJECTS, .of = &view},
    {.name = "cameras", .kind = OBJECTS, .of = &camera},
    {.name = "images", .kind = OBJECTS, .of = &image},
    {.name = "materials", .kind = OBJECTS, .of = &material},
    {.name = "meshes", .kind = OBJECTS, .of = &mesh},
    {.name = "nodes", .kind = OBJECTS, .of = &node},
    {.name = "samplers", .kind = OBJECTS, .of = &sampler}, INTO("scene", "scenes"),
    {.name = "scenes", .kind = OBJECTS, .of = &scene},
    {.name = "skins", .kind = OBJECTS, .of = &skin},
    {.name = "textures", .kind = OBJECTS, .of = &texture}, EXTENDED(AT_ROOT)};
static const media__object root_object = OF(root_properties);

/* ---- the document --------------------------------------------------------------------------- */

/* "2.0": digits, a point, digits. */
static bool is_version(const char *text)
{
    const size_t major = strspn(text, "0123456789");
    const size_t minor = text[major] == '.' ? strspn(text + major + 1, "0123456789") : 0;
    return major > 0 && minor > 0 && text[major + 1 + minor] == '\0';
}

static rpc_code check_version(media__place *p)
{
    const json_t *about = json_object_get(p->root, "asset");
    const char *version = json_string_value(json_object_get(about, "version"));
    const char *least = json_string_value(json_object_get(about, "minVersion"));
    if (!is_version(version))
        return media__gltf_bad(p->reterr, "/asset/version", "is no version, as \"2.0\" is");
    return strncmp(version, "2.", 2) != 0 || (least && strcmp(least, "2.0") != 0)
               ? media__gltf_bad(p->reterr, "/asset", "version %.16s; glTF 2.0 is read", version)
               : RPC_OK;
}

/* extensionsUsed as an object. NULL: no memory. It may yet be no array of strings. */
static json_t *names_of(const json_t *list)
{
    json_t *names = json_object();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && json_object_set_new(names, name, json_true()) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

rpc_code media__gltf_check_schema(const json_t *root, rpc_status *reterr)
{
    json_t *used = names_of(json_object_get(root, "extensionsUsed"));
    if (!used)
        return media__no_memory(reterr);
    media__place p = {.root = root, .used = used, .reterr = reterr};
    rpc_code code = media__schema_check(&p, &root_object, root);
    if (code == RPC_OK)
        code = check_version(&p);
    json_decref(used);
    return code;
}
