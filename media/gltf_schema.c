/* SPDX-License-Identifier: Apache-2.0 */
/* What the objects of glTF 2.0 must look like (the schema of the specification, clause 5), as one
 * table. Members that it does not know pass: they are others' extensions and extras. */
#include "gltf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum kind {
    INTEGER,    /* from min to max */
    NUMBER,     /* from min to max, finite */
    BOOLEAN,    /* */
    TEXT,       /* */
    CODE,       /* an integer of codes */
    WORD,       /* one of words */
    NUMBERS,    /* an array of min_count to max_count numbers */
    INDEX,      /* of something in /into */
    INDEXES,    /* an array of at least one, each once */
    ATTRIBUTES, /* an object of at least one index of an accessor */
    TARGETS,    /* an array of at least one of these */
    OBJECT,     /* of */
    OBJECTS,    /* an array of at least one */
    TEXTS,      /* an array of at least one, each once */
    ANYTHING,   /* an object: extensions and extras have rules of their own */
} kind;

typedef struct object object;

typedef struct property {
    const char *name;
    kind kind;
    bool required;
    double min, max;
    size_t min_count, max_count;
    const char *into;
    const object *of;
    const char *const *words;
    const int *codes; /* ended by 0 */
} property;

struct object {
    const property *properties;
    size_t count;
};

#define MANY SIZE_MAX
/* clang-format off */
#define OF(array)         {array, sizeof(array) / sizeof *(array)}
#define AT_LEAST(n, k, m) {.name = n, .kind = k, .min = m, .max = HUGE_VAL}
#define BETWEEN(n, a, b)  {.name = n, .kind = NUMBER, .min = a, .max = b}
#define VECTOR(n, size)   {.name = n, .kind = NUMBERS, .min = -HUGE_VAL, .max = HUGE_VAL, \
                           .min_count = size, .max_count = size}
#define UNIT(n, size)     {.name = n, .kind = NUMBERS, .min = 0, .max = 1, \
                           .min_count = size, .max_count = size}
#define INTO(n, where)    {.name = n, .kind = INDEX, .into = where}
#define EXTENDED          {.name = "extensions", .kind = ANYTHING}
#define NAMED             {.name = "name", .kind = TEXT}, EXTENDED
#define REQUIRED          .required = true
/* clang-format on */

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

static const property asset_properties[] = {{.name = "version", .kind = TEXT, REQUIRED},
    {.name = "minVersion", .kind = TEXT}, {.name = "generator", .kind = TEXT},
    {.name = "copyright", .kind = TEXT}};
static const object asset = OF(asset_properties);

static const property buffer_properties[] = {
    {.name = "byteLength", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "uri", .kind = TEXT}, NAMED};
static const object buffer = OF(buffer_properties);

static const property view_properties[] = {
    {.name = "buffer", .kind = INDEX, REQUIRED, .into = "buffers"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteLength", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteStride", .kind = INTEGER, .min = 4, .max = 252},
    {.name = "target", .kind = CODE, .codes = targets}, NAMED};
static const object view = OF(view_properties);

static const property sparse_indices_properties[] = {
    {.name = "bufferView", .kind = INDEX, REQUIRED, .into = "bufferViews"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "componentType", .kind = CODE, REQUIRED, .codes = index_types}};
static const object sparse_indices = OF(sparse_indices_properties);
static const property sparse_values_properties[] = {
    {.name = "bufferView", .kind = INDEX, REQUIRED, .into = "bufferViews"},
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX}};
static const object sparse_values = OF(sparse_values_properties);
static const property sparse_properties[] = {
    {.name = "count", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "indices", .kind = OBJECT, REQUIRED, .of = &sparse_indices},
    {.name = "values", .kind = OBJECT, REQUIRED, .of = &sparse_values}};
static const object sparse = OF(sparse_properties);
static const property accessor_properties[] = {INTO("bufferView", "bufferViews"),
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
    {.name = "sparse", .kind = OBJECT, .of = &sparse}, NAMED};
static const object accessor = OF(accessor_properties);

static const property image_properties[] = {{.name = "uri", .kind = TEXT},
    {.name = "mimeType", .kind = TEXT}, INTO("bufferView", "bufferViews"), NAMED};
static const object image = OF(image_properties);
static const property sampler_properties[] = {
    {.name = "magFilter", .kind = CODE, .codes = mag_filters},
    {.name = "minFilter", .kind = CODE, .codes = min_filters},
    {.name = "wrapS", .kind = CODE, .codes = wraps},
    {.name = "wrapT", .kind = CODE, .codes = wraps}, NAMED};
static const object sampler = OF(sampler_properties);
static const property texture_properties[] = {
    INTO("sampler", "samplers"), INTO("source", "images"), NAMED};
static const object texture = OF(texture_properties);

/* clang-format off */
#define TEXTURE_INFO                                                                               \
    {.name = "index", .kind = INDEX, REQUIRED, .into = "textures"},                                \
    {.name = "texCoord", .kind = INTEGER, .min = 0, .max = 255}, EXTENDED
/* clang-format on */
static const property texture_info_properties[] = {TEXTURE_INFO};
static const object texture_info = OF(texture_info_properties);
static const property normal_texture_properties[] = {
    TEXTURE_INFO, AT_LEAST("scale", NUMBER, -HUGE_VAL)};
static const object normal_texture = OF(normal_texture_properties);
static const property occlusion_texture_properties[] = {TEXTURE_INFO, BETWEEN("strength", 0, 1)};
static const object occlusion_texture = OF(occlusion_texture_properties);
static const property roughness_properties[] = {UNIT("baseColorFactor", 4),
    {.name = "baseColorTexture", .kind = OBJECT, .of = &texture_info},
    BETWEEN("metallicFactor", 0, 1), BETWEEN("roughnessFactor", 0, 1),
    {.name = "metallicRoughnessTexture", .kind = OBJECT, .of = &texture_info},
    {.name = "extensions", .kind = ANYTHING}};
static const object roughness = OF(roughness_properties);
static const property material_properties[] = {
    {.name = "pbrMetallicRoughness", .kind = OBJECT, .of = &roughness},
    {.name = "normalTexture", .kind = OBJECT, .of = &normal_texture},
    {.name = "occlusionTexture", .kind = OBJECT, .of = &occlusion_texture},
    {.name = "emissiveTexture", .kind = OBJECT, .of = &texture_info}, UNIT("emissiveFactor", 3),
    {.name = "alphaMode", .kind = WORD, .words = alpha_modes}, AT_LEAST("alphaCutoff", NUMBER, 0),
    {.name = "doubleSided", .kind = BOOLEAN}, NAMED};
static const object material = OF(material_properties);

static const property primitive_properties[] = {
    {.name = "attributes", .kind = ATTRIBUTES, REQUIRED, .into = "accessors"},
    INTO("indices", "accessors"), INTO("material", "materials"),
    {.name = "mode", .kind = INTEGER, .min = 0, .max = 6},
    {.name = "targets", .kind = TARGETS, .into = "accessors"},
    {.name = "extensions", .kind = ANYTHING}};
static const object primitive = OF(primitive_properties);
static const property mesh_properties[] = {
    {.name = "primitives", .kind = OBJECTS, REQUIRED, .of = &primitive},
    {.name = "weights",
        .kind = NUMBERS,
        .min = -HUGE_VAL,
        .max = HUGE_VAL,
        .min_count = 1,
        .max_count = MANY},
    NAMED};
static const object mesh = OF(mesh_properties);

static const property skin_properties[] = {INTO("inverseBindMatrices", "accessors"),
    INTO("skeleton", "nodes"), {.name = "joints", .kind = INDEXES, REQUIRED, .into = "nodes"},
    NAMED};
static const object skin = OF(skin_properties);

static const property orthographic_properties[] = {
    {.name = "xmag", .kind = NUMBER, REQUIRED, .min = -HUGE_VAL, .max = HUGE_VAL},
    {.name = "ymag", .kind = NUMBER, REQUIRED, .min = -HUGE_VAL, .max = HUGE_VAL},
    {.name = "zfar", .kind = NUMBER, REQUIRED, .min = 0, .max = HUGE_VAL},
    {.name = "znear", .kind = NUMBER, REQUIRED, .min = 0, .max = HUGE_VAL}};
static const object orthographic = OF(orthographic_properties);
static const property perspective_properties[] = {AT_LEAST("aspectRatio", NUMBER, 0),
    {.name = "yfov", .kind = NUMBER, REQUIRED, .min = 0, .max = HUGE_VAL},
    AT_LEAST("zfar", NUMBER, 0),
    {.name = "znear", .kind = NUMBER, REQUIRED, .min = 0, .max = HUGE_VAL}};
static const object perspective = OF(perspective_properties);
static const property camera_properties[] = {
    {.name = "type", .kind = WORD, REQUIRED, .words = camera_types},
    {.name = "orthographic", .kind = OBJECT, .of = &orthographic},
    {.name = "perspective", .kind = OBJECT, .of = &perspective}, NAMED};
static const object camera = OF(camera_properties);

static const property node_properties[] = {INTO("camera", "cameras"), INTO("mesh", "meshes"),
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
    NAMED};
static const object node = OF(node_properties);
static const property scene_properties[] = {
    {.name = "nodes", .kind = INDEXES, .into = "nodes"}, NAMED};
static const object scene = OF(scene_properties);

static const property target_properties[] = {INTO("node", "nodes"),
    {.name = "path", .kind = TEXT, REQUIRED}, {.name = "extensions", .kind = ANYTHING}};
static const object target = OF(target_properties);
/* `sampler` is an index into the animation's own: gltf_graph.c */
static const property channel_properties[] = {
    {.name = "sampler", .kind = INTEGER, REQUIRED, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "target", .kind = OBJECT, REQUIRED, .of = &target}};
static const object channel = OF(channel_properties);
static const property animation_sampler_properties[] = {
    {.name = "input", .kind = INDEX, REQUIRED, .into = "accessors"},
    {.name = "interpolation", .kind = WORD, .words = interpolations},
    {.name = "output", .kind = INDEX, REQUIRED, .into = "accessors"}};
static const object animation_sampler = OF(animation_sampler_properties);
static const property animation_properties[] = {
    {.name = "channels", .kind = OBJECTS, REQUIRED, .of = &channel},
    {.name = "samplers", .kind = OBJECTS, REQUIRED, .of = &animation_sampler}, NAMED};
static const object animation = OF(animation_properties);

static const property root_properties[] = {
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
    {.name = "textures", .kind = OBJECTS, .of = &texture},
    {.name = "extensions", .kind = ANYTHING}};
static const object root_object = OF(root_properties);

/* ---- judging --------------------------------------------------------------------------------- */

/* A JSON pointer that is built on the way down; cut where it is longer than anybody reads. */
typedef struct place {
    const json_t *root;
    rpc_status *reterr;
    char text[112];
    size_t size;
} place;

static size_t down(place *p, const char *name)
{
    const size_t before = p->size;
    const int more = snprintf(p->text + p->size, sizeof p->text - p->size, "/%s", name);
    p->size += more > 0 ? (size_t)more : 0;
    if (p->size >= sizeof p->text)
        p->size = sizeof p->text - 1;
    return before;
}

static size_t down_at(place *p, size_t index)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", index);
    return down(p, text);
}

static void up(place *p, size_t before)
{
    p->size = before;
    p->text[before] = '\0';
}

#define BAD(p, ...) media__gltf_bad((p)->reterr, (p)->text, __VA_ARGS__)

static rpc_code check_object(place *p, const object *of, const json_t *value);

static rpc_code check_integer(place *p, const property *as, const json_t *value)
{
    /* 1.0 is an integer too (5.1 of JSON schema); nobody writes it for sizes */
    if (!json_is_integer(value))
        return BAD(p, "is no integer");
    const json_int_t number = json_integer_value(value);
    return (double)number < as->min || (double)number > as->max
               ? BAD(p, "%lld is not from %.0f to %.0f", (long long)number, as->min, as->max)
               : RPC_OK;
}

static rpc_code check_number(place *p, const property *as, const json_t *value)
{
    if (!json_is_number(value))
        return BAD(p, "is no number");
    const double number = json_number_value(value);
    return !isfinite(number) || number < as->min || number > as->max
               ? BAD(p, "%g is not from %g to %g", number, as->min, as->max)
               : RPC_OK;
}

static rpc_code check_code(place *p, const property *as, const json_t *value)
{
    for (const int *code = as->codes; json_is_integer(value) && *code; code++)
        if (json_integer_value(value) == *code)
            return RPC_OK;
    return BAD(p, "is none of the numbers that are allowed there");
}

static rpc_code check_word(place *p, const property *as, const json_t *value)
{
    for (const char *const *word = as->words; json_is_string(value) && *word; word++)
        if (strcmp(json_string_value(value), *word) == 0)
            return RPC_OK;
    return BAD(p, "is none of the words that are allowed there");
}

static rpc_code check_index(place *p, const char *into, const json_t *value)
{
    const size_t count = json_array_size(json_object_get(p->root, into));
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return BAD(p, "is no index");
    return (uint64_t)json_integer_value(value) >= count
               ? BAD(p, "%lld: /%s has %zu", (long long)json_integer_value(value), into, count)
               : RPC_OK;
}

static rpc_code check_count(place *p, const json_t *value, size_t min, size_t max)
{
    if (!json_is_array(value))
        return BAD(p, "is no array");
    const size_t count = json_array_size(value);
    return count < min || count > max ? BAD(p, "has %zu entries", count) : RPC_OK;
}

static rpc_code check_numbers(place *p, const property *as, const json_t *value)
{
    rpc_code code = check_count(p, value, as->min_count, as->max_count);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const size_t before = down_at(p, i);
        code = check_number(p, as, json_array_get(value, i));
        up(p, before);
    }
    return code;
}

/* What stands twice is found by looking at those before; long lists of joints are some hundred. */
static rpc_code check_once(place *p, const json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);
    for (size_t i = 0; i < index; i++)
        if (json_equal(json_array_get(array, i), value))
            return BAD(p, "is there twice");
    return RPC_OK;
}

#define ONCE_MAX 4096 /* joints, children, roots of a scene */

static rpc_code check_indexes(place *p, const property *as, const json_t *value)
{
    rpc_code code = check_count(p, value, 1, ONCE_MAX);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const size_t before = down_at(p, i);
        code = check_index(p, as->into, json_array_get(value, i));
        if (code == RPC_OK)
            code = check_once(p, value, i);
        up(p, before);
    }
    return code;
}

static rpc_code check_texts(place *p, const json_t *value)
{
    rpc_code code = check_count(p, value, 1, ONCE_MAX);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const size_t before = down_at(p, i);
        code = json_is_string(json_array_get(value, i)) ? check_once(p, value, i)
                                                        : BAD(p, "is no string");
        up(p, before);
    }
    return code;
}

static rpc_code check_attributes(place *p, const property *as, const json_t *value)
{
    if (!json_is_object(value) || json_object_size(value) == 0)
        return BAD(p, "is no object of attributes");
    json_t *mutable = (json_t *)(uintptr_t)value; /* jansson's iterators take no const */
    rpc_code code = RPC_OK;
    for (void *at = json_object_iter(mutable); code == RPC_OK && at;
         at = json_object_iter_next(mutable, at)) {
        const size_t before = down(p, json_object_iter_key(at));
        code = check_index(p, as->into, json_object_iter_value(at));
        up(p, before);
    }
    return code;
}

static rpc_code check_each(place *p, const property *as, const json_t *value,
    rpc_code (*check)(place *p, const property *as, const json_t *value))
{
    rpc_code code = check_count(p, value, 1, MANY);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(value); i++) {
        const size_t before = down_at(p, i);
        code = check(p, as, json_array_get(value, i));
        up(p, before);
    }
    return code;
}

static rpc_code check_of(place *p, const property *as, const json_t *value)
{
    return check_object(p, as->of, value);
}

static rpc_code check_value(place *p, const property *as, const json_t *value)
{
    switch (as->kind) {
    case INTEGER:
        return check_integer(p, as, value);
    case NUMBER:
        return check_number(p, as, value);
    case BOOLEAN:
        return json_is_boolean(value) ? RPC_OK : BAD(p, "is neither true nor false");
    case TEXT:
        return json_is_string(value) ? RPC_OK : BAD(p, "is no string");
    case CODE:
        return check_code(p, as, value);
    case WORD:
        return check_word(p, as, value);
    case NUMBERS:
        return check_numbers(p, as, value);
    case INDEX:
        return check_index(p, as->into, value);
    case INDEXES:
        return check_indexes(p, as, value);
    case ATTRIBUTES:
        return check_attributes(p, as, value);
    case TARGETS:
        return check_each(p, as, value, check_attributes);
    case OBJECT:
        return check_object(p, as->of, value);
    case OBJECTS:
        return check_each(p, as, value, check_of);
    case TEXTS:
        return check_texts(p, value);
    case ANYTHING:
        return json_is_object(value) ? RPC_OK : BAD(p, "is no object");
    }
    return RPC_OK;
}

static rpc_code check_object(place *p, const object *of, const json_t *value)
{
    if (!json_is_object(value))
        return BAD(p, "is no object");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < of->count; i++) {
        const property *as = &of->properties[i];
        const json_t *member = json_object_get(value, as->name);
        if (!member && !as->required)
            continue;
        const size_t before = down(p, as->name);
        code = member ? check_value(p, as, member) : BAD(p, "is missing");
        up(p, before);
    }
    return code;
}

static rpc_code check_version(place *p)
{
    const json_t *about = json_object_get(p->root, "asset");
    const char *version = json_string_value(json_object_get(about, "version"));
    const char *least = json_string_value(json_object_get(about, "minVersion"));
    unsigned major = 0, minor = 0;
    int end = 0;
    if (sscanf(version, "%3u.%3u%n", &major, &minor, &end) != 2 || version[end])
        return media__gltf_bad(p->reterr, "/asset/version", "is no version, as \"2.0\" is");
    if (major != 2 || (least && strcmp(least, "2.0") != 0))
        return media__gltf_bad(
            p->reterr, "/asset", "version %u.%u; glTF 2.0 is read", major, minor);
    return RPC_OK;
}

rpc_code media__gltf_check_schema(const json_t *root, rpc_status *reterr)
{
    place p = {.root = root, .reterr = reterr};
    const rpc_code code = check_object(&p, &root_object, root);
    return code == RPC_OK ? check_version(&p) : code;
}
