/* SPDX-License-Identifier: Apache-2.0 */
/* Channels of textures that a recipe does not keep: they leave no trace, and their mean colour. */
#include "document.h"
#include "test.h"

#include "gltf_at.h"
#include "gltf_get.h"

#include <math.h>

TEST(channels_that_are_not_kept_leave_no_trace)
{
    const rpc_bytes picture = encoded(draw_gradient, 16, MEDIA__IMAGE_PNG);
    document d = glb(PNG0 "\"extensionsUsed\":[\"VRMC_materials_mtoon\"],\"materials\":[{"
                          "\"normalTexture\":{\"index\":0},\"occlusionTexture\":{\"index\":0},"
                          "\"emissiveTexture\":{\"index\":0},\"emissiveFactor\":[1,1,1],"
                          "\"pbrMetallicRoughness\":{\"baseColorTexture\":{\"index\":0},"
                          "\"metallicRoughnessTexture\":{\"index\":0}},\"extensions\":{"
                          "\"VRMC_materials_mtoon\":{\"specVersion\":\"1.0\","
                          "\"shadeMultiplyTexture\":{\"index\":0}}}}]",
        &picture, 1);
    d.extensions = "{\"VRM\":{\"materialProperties\":[{\"textureProperties\":{\"_BumpMap\":0,"
                   "\"_MainTex\":0,\"_ShadeTexture\":0,\"_EmissionMap\":0}}]}}";
    media__gltf only_color = adapted(&d, "{\"texture_channels\":[\"baseColor\"]}");
    media__gltf no_color = adapted(&d, "{\"texture_channels\":[\"normal\"]}");
    const json_t *material = media__gltf_entry(&only_color, "materials", 0);
    const json_t *pbr = json_object_get(material, "pbrMetallicRoughness");
    assert_null(json_object_get(material, "normalTexture"));
    assert_null(json_object_get(material, "occlusionTexture"));
    assert_null(json_object_get(material, "emissiveTexture"));
    assert_null(json_object_get(material, "emissiveFactor")); /* else all of it would glow */
    assert_null(json_object_get(pbr, "metallicRoughnessTexture"));
    assert_int_equal(json_integer_value(json_object_get(pbr, "metallicFactor")), 0);
    assert_non_null(json_object_get(pbr, "baseColorTexture"));
    material = media__gltf_entry(&no_color, "materials", 0);
    assert_non_null(json_object_get(material, "normalTexture"));
    assert_null(
        json_object_get(json_object_get(material, "pbrMetallicRoughness"), "baseColorTexture"));
    assert_null(json_object_get(
        media__get_extension(material, "VRMC_materials_mtoon"), "shadeMultiplyTexture"));
    const json_t *properties = json_object_get(
        json_array_get(
            json_object_get(media__get_extension(no_color.json, "VRM"), "materialProperties"), 0),
        "textureProperties");
    assert_int_equal(json_object_size(properties), 1);
    assert_non_null(json_object_get(properties, "_BumpMap"));
    media__gltf_done(&only_color);
    media__gltf_done(&no_color);
    free(d.file);
    release(picture);
}

#define VEC(type)                                                                                  \
    "{\"componentType\":5126,\"count\":3,\"type\":\"" type "\",\"min\":[0,0,0],\"max\":[0,0,0]}"

/* Both want tangents, and have them by the normal map. */
TEST(what_takes_its_direction_from_a_normal_map_goes_with_it)
{
    static const char members[] = PNG0
        "\"extensionsUsed\":[\"KHR_materials_anisotropy\",\"KHR_materials_clearcoat\"],"
        "\"materials\":[{\"normalTexture\":{\"index\":0},\"extensions\":{"
        "\"KHR_materials_anisotropy\":{\"anisotropyStrength\":1},\"KHR_materials_clearcoat\":{"
        "\"clearcoatFactor\":1,\"clearcoatNormalTexture\":{\"index\":0}}}}],\"nodes\":[{\"mesh\":0}"
        "],"
        "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"NORMAL\":1,\"TEXCOORD_0\":"
        "2},"
        "\"material\":0}]}],\"accessors\":[" VEC("VEC3") "," VEC(
            "VEC3") ",{\"componentType\":5126,"
                    "\"count\":3,\"type\":\"VEC2\"}]";
    const rpc_bytes picture = encoded(draw_bowl, 16, MEDIA__IMAGE_PNG);
    document d = glb(members, &picture, 1);
    media_recipe recipe = recipe_of("{\"texture_channels\":[\"baseColor\"]}");
    media_result result;
    rpc_status status = {0};
    if (media_adapt(rpc_bytes_of(d.file, d.size), &recipe, &result, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(result.figures.images, 0);
    media_result_done(&result);
    media__gltf gltf = adapted(&d, "{\"texture_channels\":[\"baseColor\"]}");
    assert_null(at(&gltf, "materials/0/extensions/KHR_materials_anisotropy"));
    assert_non_null(at(&gltf, "materials/0/extensions/KHR_materials_clearcoat/clearcoatFactor"));
    assert_null(at(&gltf, "materials/0/extensions/KHR_materials_clearcoat/clearcoatNormalTexture"));
    assert_false(lists(&gltf, "extensionsUsed", "KHR_materials_anisotropy"));
    media__gltf_done(&gltf);
    media_recipe_done(&recipe);
    free(d.file);
    release(picture);
}

/* A channel of a material's factor, in thousandths, once its picture went. */
static long factor_of(draw_fn *draw, const char *material, size_t channel)
{
    char members[512];
    const rpc_bytes picture = encoded(draw, 64, MEDIA__IMAGE_PNG);
    snprintf(
        members, sizeof members, PNG0 "\"materials\":[{\"pbrMetallicRoughness\":{%s]", material);
    document d = glb(members, &picture, 1);
    media__gltf gltf = adapted(&d, "{\"texture_channels\":[\"normal\"]}");
    const json_t *pbr = json_object_get(
        media__gltf_entry(&gltf, "materials", 0), "pbrMetallicRoughness");
    const json_t *factor = json_array_get(json_object_get(pbr, "baseColorFactor"), channel);
    const long ret = factor ? lround(json_number_value(factor) * 1000) : -1;
    media__gltf_done(&gltf);
    free(d.file);
    release(picture);
    return ret;
}

TEST(colour_that_goes_leaves_its_mean)
{
#define COLOR "\"baseColorTexture\":{\"index\":0}"
    static const char opaque[] = COLOR "}}", blend[] = COLOR "},\"alphaMode\":\"BLEND\"}",
                      mask[] = COLOR "},\"alphaMode\":\"MASK\"}",
                      half[] = COLOR ",\"baseColorFactor\":[0.5,1,0.25,0.75]}}";
    assert_int_equal(factor_of(draw_board, opaque, 0), 500); /* of light, not of sRGB */
    assert_int_equal(factor_of(draw_board, half, 0), 250);
    assert_int_equal(factor_of(draw_board, half, 2), 125);
    assert_int_equal(factor_of(draw_board, half, 3), 750);
    assert_int_equal(factor_of(draw_disc, blend, 0), 578); /* 200 of sRGB; no green shows */
    assert_int_equal(factor_of(draw_disc, blend, 1), 5);
    assert_in_range(factor_of(draw_disc, blend, 3), 340, 360); /* pi / 9 */
    assert_int_equal(factor_of(draw_disc, mask, 3), 1000);
    assert_in_range(factor_of(draw_disc, opaque, 1), 640, 660); /* all of it shows */
    assert_int_equal(factor_of(draw_board, "\"roughnessFactor\":1}}", 0), -1);
}

/* In thousandths; -1: there is none. */
static long number_at(const media__gltf *gltf, const char *path)
{
    const json_t *value = at(gltf, path);
    return value ? lround(json_number_value(value) * 1000) : -1;
}

/* The mean of the board is half of the light: 0.735 in sRGB, which Unity's shaders have. */
static media__gltf toon(const char *recipe)
{
    const rpc_bytes picture = encoded(draw_board, 64, MEDIA__IMAGE_PNG);
    document d = glb(PNG0 "\"extensionsUsed\":[\"VRMC_materials_mtoon\"],\"materials\":[{"
                          "\"name\":\"skin\",\"emissiveTexture\":{\"index\":0},"
                          "\"emissiveFactor\":[1,1,1],\"pbrMetallicRoughness\":{"
                          "\"baseColorTexture\":{\"index\":0}},\"extensions\":{"
                          "\"VRMC_materials_mtoon\":{\"specVersion\":\"1.0\","
                          "\"shadeColorFactor\":[0.5,1,0],"
                          "\"shadeMultiplyTexture\":{\"index\":0}}}},{\"name\":\"skin\"}]",
        &picture, 1);
    d.extensions =
        "{\"VRM\":{\"materialProperties\":[{\"textureProperties\":{\"_MainTex\":0,"
        "\"_ShadeTexture\":0,\"_EmissionMap\":0},\"vectorProperties\":{\"_Color\":[1,0.735,0,0.5],"
        "\"_EmissionColor\":[1,1,1,1]}},{\"textureProperties\":{\"_MainTex\":0}}],"
        "\"blendShapeMaster\":{\"blendShapeGroups\":[{\"materialValues\":["
        "{\"materialName\":\"skin\",\"propertyName\":\"_Color\",\"targetValue\":[1,0,0,1]},"
        "{\"materialName\":\"skin\",\"propertyName\":\"_EmissionColor\",\"targetValue\":[1,1,1,1]},"
        "{\"materialName\":\"skin\",\"propertyName\":\"_RimColor\",\"targetValue\":[1,1,1,1]}]}]}},"
        "\"VRMC_vrm\":{\"expressions\":{\"preset\":{\"angry\":{\"materialColorBinds\":["
        "{\"material\":0,\"type\":\"color\",\"targetValue\":[1,0.5,0,1]},"
        "{\"material\":0,\"type\":\"shadeColor\",\"targetValue\":[1,1,1,1]},"
        "{\"material\":0,\"type\":\"emissionColor\",\"targetValue\":[1,1,1,1]},"
        "{\"material\":0,\"type\":\"rimColor\",\"targetValue\":[1,1,1,1]},"
        "{\"material\":1,\"type\":\"color\",\"targetValue\":[1,1,1,1]}]}}}}}";
    media__gltf gltf = adapted(&d, recipe);
    free(d.file);
    release(picture);
    return gltf;
}

#define VRM0   "extensions/VRM/materialProperties/"
#define VALUES "extensions/VRM/blendShapeMaster/blendShapeGroups/0/materialValues/"
#define BINDS  "extensions/VRMC_vrm/expressions/preset/angry/materialColorBinds/"
#define SHADE  "materials/0/extensions/VRMC_materials_mtoon/shadeColorFactor/"

typedef struct number {
    const char *path;
    long is;
} number;

static void assert_numbers(const media__gltf *gltf, const number *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (number_at(gltf, list[i].path) != list[i].is)
            fail_msg("%s: %ld", list[i].path, number_at(gltf, list[i].path));
}

TEST(mean_colour_is_that_of_toon_shaders_and_expressions_too)
{
    static const number without[] = {{SHADE "0", 250}, {SHADE "1", 500}, {SHADE "2", 0},
        {"materials/0/pbrMetallicRoughness/baseColorFactor/0", 500},
        {VRM0 "0/vectorProperties/_Color/0", 735}, {VRM0 "0/vectorProperties/_Color/1", 537},
        {VRM0 "0/vectorProperties/_Color/2", 0}, {VRM0 "0/vectorProperties/_Color/3", 500},
        {VRM0 "0/vectorProperties/_ShadeColor/3", 1000},
        {VRM0 "0/vectorProperties/_EmissionColor/0", 1000},
        {VRM0 "1/vectorProperties/_Color/0", 735}, {VRM0 "1/vectorProperties/_ShadeColor/0", -1},
        {VALUES "0/targetValue/0", 735}, {VALUES "0/targetValue/1", 0},
        {VALUES "1/targetValue/0", 1000}, {VALUES "2/targetValue/0", 1000},
        {BINDS "0/targetValue/0", 500}, {BINDS "0/targetValue/1", 250},
        {BINDS "1/targetValue/0", 500}, {BINDS "2/targetValue/0", 1000},
        {BINDS "3/targetValue/0", 1000}, {BINDS "4/targetValue/0", 1000}};
    media__gltf gltf = toon("{\"texture_channels\":[\"normal\",\"emissive\"]}");
    assert_numbers(&gltf, without, sizeof without / sizeof *without);
    media__gltf_done(&gltf);
}

TEST(nothing_glows_by_toon_shaders_and_expressions_either)
{
    static const number without[] = {{SHADE "0", 500}, {"materials/0/emissiveFactor/0", -1},
        {VRM0 "0/vectorProperties/_Color/0", 1000}, {VRM0 "0/vectorProperties/_EmissionColor/0", 0},
        {VRM0 "0/vectorProperties/_EmissionColor/3", 1000},
        {VRM0 "1/vectorProperties/_EmissionColor/0", -1}, {VALUES "0/targetValue/0", 1000},
        {VALUES "1/targetValue/0", 0}, {BINDS "0/targetValue/0", 1000},
        {BINDS "2/targetValue/0", 0}, {BINDS "3/targetValue/0", 1000}};
    media__gltf gltf = toon("{\"texture_channels\":[\"normal\",\"baseColor\"]}");
    assert_numbers(&gltf, without, sizeof without / sizeof *without);
    media__gltf_done(&gltf);
}
