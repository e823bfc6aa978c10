/* SPDX-License-Identifier: Apache-2.0 */
/* What extensions of Khronos and of several vendors look like, and where they stand. What more
 * they ask of the document around them: gltf_extension_rules.c. */
#include "gltf_accessor.h"
#include "schema.h"

#include <stdlib.h>
#include <string.h>

/* ---- materials ------------------------------------------------------------------------------- */

static const media__property anisotropy_properties[] = {
    BETWEEN("anisotropyStrength", 0, 1), FREE("anisotropyRotation"), TEXTURE("anisotropyTexture")};
static const media__object anisotropy = OF(anisotropy_properties);

static const media__property clearcoat_properties[] = {BETWEEN("clearcoatFactor", 0, 1),
    TEXTURE("clearcoatTexture"), BETWEEN("clearcoatRoughnessFactor", 0, 1),
    TEXTURE("clearcoatRoughnessTexture"), ONE("clearcoatNormalTexture", media__normal_texture)};
static const media__object clearcoat = OF(clearcoat_properties);

static const media__property diffuse_transmission_properties[] = {
    BETWEEN("diffuseTransmissionFactor", 0, 1), TEXTURE("diffuseTransmissionTexture"),
    UNIT("diffuseTransmissionColorFactor", 3), TEXTURE("diffuseTransmissionColorTexture")};
static const media__object diffuse_transmission = OF(diffuse_transmission_properties);

static const media__property dispersion_properties[] = {AT_LEAST("dispersion", 0)};
static const media__object dispersion = OF(dispersion_properties);

static const media__property emissive_properties[] = {AT_LEAST("emissiveStrength", 0)};
static const media__object emissive = OF(emissive_properties);

/* 0 stands for an index that is infinite. */
static rpc_code check_ior(media__place *p, const json_t *value)
{
    const json_t *ior = json_object_get(value, "ior");
    const double number = json_number_value(ior);
    return ior && number != 0 && number < 1
               ? media__schema_bad(p, "ior", "%g is neither 0 nor at least 1", number)
               : RPC_OK;
}
static const media__property ior_properties[] = {AT_LEAST("ior", 0)};
static const media__object ior = OF_RULE(ior_properties, check_ior);

static const media__property iridescence_properties[] = {BETWEEN("iridescenceFactor", 0, 1),
    TEXTURE("iridescenceTexture"), AT_LEAST("iridescenceIor", 1),
    AT_LEAST("iridescenceThicknessMinimum", 0), AT_LEAST("iridescenceThicknessMaximum", 0),
    TEXTURE("iridescenceThicknessTexture")};
static const media__object iridescence = OF(iridescence_properties);

static const media__property sheen_properties[] = {UNIT("sheenColorFactor", 3),
    TEXTURE("sheenColorTexture"), BETWEEN("sheenRoughnessFactor", 0, 1),
    TEXTURE("sheenRoughnessTexture")};
static const media__object sheen = OF(sheen_properties);

static const media__property specular_properties[] = {BETWEEN("specularFactor", 0, 1),
    TEXTURE("specularTexture"),
    {.name = "specularColorFactor",
        .kind = NUMBERS,
        .min = 0,
        .max = HUGE_VAL,
        .min_count = 3,
        .max_count = 3},
    TEXTURE("specularColorTexture")};
static const media__object specular = OF(specular_properties);

static const media__property glossiness_properties[] = {UNIT("diffuseFactor", 4),
    TEXTURE("diffuseTexture"), UNIT("specularFactor", 3), BETWEEN("glossinessFactor", 0, 1),
    TEXTURE("specularGlossinessTexture")};
static const media__object glossiness = OF(glossiness_properties);

static const media__property transmission_properties[] = {
    BETWEEN("transmissionFactor", 0, 1), TEXTURE("transmissionTexture")};
static const media__object transmission = OF(transmission_properties);

static const media__property volume_properties[] = {AT_LEAST("thicknessFactor", 0),
    TEXTURE("thicknessTexture"), ABOVE("attenuationDistance", 0), UNIT("attenuationColor", 3)};
static const media__object volume = OF(volume_properties);

static const media__property variant_properties[] = {
    {.name = "name", .kind = TEXT, REQUIRED}, EXTENDED(AT_OTHER)};
static const media__object variant = OF(variant_properties);
static const media__property variants_properties[] = {
    {.name = "variants", .kind = OBJECTS, REQUIRED, .of = &variant}};
static const media__object variants = OF(variants_properties);
static const media__property mapping_properties[] = {
    {.name = "variants",
        .kind = INDEXES,
        REQUIRED,
        .into = "extensions/KHR_materials_variants/variants"},
    MUST_INTO("material", "materials"), NAMED(AT_OTHER)};
static const media__object mapping = OF(mapping_properties);
static const media__property mappings_properties[] = {
    {.name = "mappings", .kind = OBJECTS, REQUIRED, .of = &mapping}};
static const media__object mappings = OF(mappings_properties);

/* ---- textures -------------------------------------------------------------------------------- */

static const media__property transform_properties[] = {VECTOR("offset", 2), FREE("rotation"),
    VECTOR("scale", 2), {.name = "texCoord", .kind = INTEGER, .min = 0, .max = 255}};
static const media__object transform = OF(transform_properties);
static const media__property source_properties[] = {INTO("source", "images")};
static const media__object source = OF(source_properties);

/* ---- lights and nodes ------------------------------------------------------------------------ */

#define RIGHT_ANGLE 1.5707963267948966

static rpc_code check_spot(media__place *p, const json_t *value)
{
    const json_t *inner = json_object_get(value, "innerConeAngle");
    const json_t *outer = json_object_get(value, "outerConeAngle");
    const double from = json_number_value(inner); /* 0 where it is not said */
    const double to = outer ? json_number_value(outer) : RIGHT_ANGLE / 2;
    return from >= to ? media__schema_bad(
                            p, "innerConeAngle", "%g is not below outerConeAngle %g", from, to)
                      : RPC_OK;
}
static const media__property spot_properties[] = {BETWEEN("innerConeAngle", 0, RIGHT_ANGLE),
    {.name = "outerConeAngle", .kind = NUMBER, .min = 0, .max = RIGHT_ANGLE, .above = true}};
static const media__object spot = OF_RULE(spot_properties, check_spot);

static rpc_code check_light(media__place *p, const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    return strcmp(type, "spot") == 0 && !json_object_get(value, "spot")
               ? media__schema_bad(p, "spot", "is missing")
               : RPC_OK;
}
static const media__property light_properties[] = {UNIT("color", 3), AT_LEAST("intensity", 0),
    ONE("spot", spot), {.name = "type", .kind = TEXT, REQUIRED}, ABOVE("range", 0),
    NAMED(AT_OTHER)};
static const media__object light = OF_RULE(light_properties, check_light);
static const media__property lights_properties[] = {
    {.name = "lights", .kind = OBJECTS, REQUIRED, .of = &light}};
static const media__object lights = OF(lights_properties);
static const media__property node_light_properties[] = {
    MUST_INTO("light", "extensions/KHR_lights_punctual/lights")};
static const media__object node_light = OF(node_light_properties);

static const media__property visible_properties[] = {FLAG("visible")};
static const media__object visible = OF(visible_properties);
static const media__property hoverable_properties[] = {FLAG("hoverable")};
static const media__object hoverable = OF(hoverable_properties);
static const media__property selectable_properties[] = {FLAG("selectable")};
static const media__object selectable = OF(selectable_properties);

static const media__property instancing_properties[] = {
    {.name = "attributes", .kind = ATTRIBUTES, REQUIRED, .into = "accessors"}};
static const media__object instancing = OF(instancing_properties);

/* ---- data ------------------------------------------------------------------------------------ */

static const char *const modes[] = {"ATTRIBUTES", "TRIANGLES", "INDICES", NULL};
static const char *const filters[] = {"NONE", "OCTAHEDRAL", "QUATERNION", "EXPONENTIAL", NULL};

static const media__property fallback_properties[] = {FLAG("fallback")};
static const media__object fallback = OF(fallback_properties);
static const media__property meshopt_properties[] = {MUST_INTO("buffer", "buffers"),
    {.name = "byteOffset", .kind = INTEGER, .min = 0, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteLength", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "byteStride", .kind = INTEGER, REQUIRED, .min = 2, .max = 256},
    {.name = "count", .kind = INTEGER, REQUIRED, .min = 1, .max = MEDIA__FILE_BYTES_MAX},
    {.name = "mode", .kind = WORD, REQUIRED, .words = modes}, WORDS("filter", filters)};
static const media__object meshopt = OF(meshopt_properties);

static const media__property draco_id = {.kind = INTEGER, .min = 0, .max = 65535};
static const media__property draco_properties[] = {MUST_INTO("bufferView", "bufferViews"),
    {.name = "attributes", .kind = MAP, REQUIRED, .each = &draco_id}};
static const media__object draco = OF(draco_properties);

/* ---- animation pointers ---------------------------------------------------------------------- */

/* RFC 6901: begins with /, and ~ is of ~0 or ~1. */
static bool is_pointer(const char *text)
{
    if (text[0] != '/')
        return false;
    for (const char *at = text; (at = strchr(at, '~')); at++)
        if (at[1] != '0' && at[1] != '1')
            return false;
    return true;
}

/* "/nodes/7/…": is there one? What is below may be left to its default. */
static bool leads_somewhere(const json_t *root, const char *text)
{
    char list[32];
    const char *end = strchr(text + 1, '/');
    if (!end || (size_t)(end - text) > sizeof list || end[1] < '0' || end[1] > '9')
        return true; /* no list of the document's */
    memcpy(list, text + 1, (size_t)(end - text - 1));
    list[end - text - 1] = '\0';
    char *rest = NULL;
    const unsigned long long index = strtoull(end + 1, &rest, 10);
    const json_t *array = json_object_get(root, list);
    return *rest && *rest != '/' ? true : index < json_array_size(array);
}

static rpc_code check_pointer(media__place *p, const json_t *value)
{
    const char *pointer = json_string_value(json_object_get(value, "pointer"));
    if (!is_pointer(pointer))
        return media__schema_bad(p, "pointer", "'%.60s' is no JSON pointer", pointer);
    return leads_somewhere(p->root, pointer)
               ? RPC_OK
               : media__schema_bad(p, "pointer", "'%.60s' leads nowhere", pointer);
}
static const media__property pointer_properties[] = {{.name = "pointer", .kind = TEXT, REQUIRED}};
static const media__object pointer = OF_RULE(pointer_properties, check_pointer);

/* ---- metadata -------------------------------------------------------------------------------- */

static const media__property packet_properties[] = {
    {.name = "@context", .kind = ANYTHING, REQUIRED}};
static const media__object packet = OF(packet_properties);
static const media__property packets_properties[] = {
    {.name = "packets", .kind = OBJECTS, REQUIRED, .of = &packet}};
static const media__object packets = OF(packets_properties);
static const media__property packet_of_properties[] = {
    MUST_INTO("packet", "extensions/KHR_xmp_json_ld/packets")};
static const media__object packet_of = OF(packet_of_properties);

#define AT_PACKETS (AT_ASSET | AT_SCENE | AT_NODE | AT_MESH | AT_MATERIAL | AT_IMAGE | AT_ANIMATION)

static const media__extension rows[] = {
    {"EXT_mesh_gpu_instancing", AT_NODE, &instancing},
    {MEDIA__MESHOPT, AT_BUFFER, &fallback},
    {MEDIA__MESHOPT, AT_VIEW, &meshopt},
    {"EXT_texture_webp", AT_TEXTURE, &source},
    {"KHR_animation_pointer", AT_TARGET, &pointer},
    {"KHR_draco_mesh_compression", AT_PRIMITIVE, &draco},
    {"KHR_lights_punctual", AT_ROOT, &lights},
    {"KHR_lights_punctual", AT_NODE, &node_light},
    {"KHR_materials_anisotropy", AT_MATERIAL, &anisotropy},
    {"KHR_materials_clearcoat", AT_MATERIAL, &clearcoat},
    {"KHR_materials_diffuse_transmission", AT_MATERIAL, &diffuse_transmission},
    {"KHR_materials_dispersion", AT_MATERIAL, &dispersion},
    {"KHR_materials_emissive_strength", AT_MATERIAL, &emissive},
    {"KHR_materials_ior", AT_MATERIAL, &ior},
    {"KHR_materials_iridescence", AT_MATERIAL, &iridescence},
    {"KHR_materials_pbrSpecularGlossiness", AT_MATERIAL, &glossiness},
    {"KHR_materials_sheen", AT_MATERIAL, &sheen},
    {"KHR_materials_specular", AT_MATERIAL, &specular},
    {"KHR_materials_transmission", AT_MATERIAL, &transmission},
    {"KHR_materials_unlit", AT_MATERIAL, NULL},
    {"KHR_materials_variants", AT_ROOT, &variants},
    {"KHR_materials_variants", AT_PRIMITIVE, &mappings},
    {"KHR_materials_volume", AT_MATERIAL, &volume},
    {"KHR_mesh_quantization", AT_NONE, NULL}, /* says what accessors may be, has no object */
    {"KHR_node_hoverability", AT_NODE, &hoverable},
    {"KHR_node_selectability", AT_NODE, &selectable},
    {"KHR_node_visibility", AT_NODE, &visible},
    {"KHR_texture_basisu", AT_TEXTURE, &source},
    {"KHR_texture_transform", AT_TEXTURE_INFO, &transform},
    {"KHR_xmp_json_ld", AT_ROOT, &packets},
    {"KHR_xmp_json_ld", AT_PACKETS, &packet_of},
};
const media__extensions media__gltf_extensions = {rows, sizeof rows / sizeof *rows};
