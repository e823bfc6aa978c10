/* SPDX-License-Identifier: Apache-2.0 */
/* What pruning, laying together and writing do to what only some documents have: drawn ones, each
 * with the one thing that is tried. */
#include "test.h"

#include "gltf_adapt.h"
#include "gltf_at.h"
#include "gltf_get.h"
#include "gltf_refs.h"
#include "gltf_textures.h"

#include <stdlib.h>
#include <string.h>

/* Two materials, three textures and images, one triangle with the second material: material 0,
 * texture 0 and image 0 are nobody's. The rest of the document is %s. */
#define FRAME                                                                                      \
    "{\"asset\":{\"version\":\"2.0\"},\"scene\":0,\"scenes\":[{\"nodes\":[0]}],"                   \
    "\"nodes\":[{\"mesh\":0}],\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},"      \
    "\"material\":1}]}],\"accessors\":[{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\","     \
    "\"min\":[0,0,0],\"max\":[0,0,0]}],\"images\":[{\"uri\":\"a.png\",\"name\":\"i0\"},"           \
    "{\"uri\":\"b.png\",\"name\":\"i1\"},{\"uri\":\"c.png\",\"name\":\"i2\"}],"                    \
    "\"textures\":[{\"source\":0,\"name\":\"t0\"},{\"source\":1,\"name\":\"t1\"},"                 \
    "{\"source\":2,\"name\":\"t2\"}],"                                                             \
    "\"materials\":[{\"name\":\"m0\",\"normalTexture\":{\"index\":0}},"                            \
    "{\"name\":\"m1\",\"normalTexture\":{\"index\":1}}],%s}"

/* Beyond the reader, which judges extensions and pictures: what is tried here is the edit. */
static media__gltf drawn(const char *rest)
{
    char text[8192];
    media__gltf gltf = {.json = NULL};
    rpc_status status = {0};
    snprintf(text, sizeof text, FRAME, rest);
    if (media__json_read(rpc_bytes_str(text), &gltf.json, &status) != RPC_OK)
        fail_msg("%s: %s", text, status.message);
    return gltf;
}

static media__gltf pruned(const char *rest)
{
    rpc_status status = {0};
    media__gltf gltf = drawn(rest);
    if (media__gltf_prune(&gltf, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return gltf;
}

static void is_index(const media__gltf *gltf, const char *path, json_int_t wanted)
{
    const json_t *value = at(gltf, path);
    if (!json_is_integer(value) || json_integer_value(value) != wanted)
        fail_msg(
            "%s is %lld, not %lld", path, (long long)json_integer_value(value), (long long)wanted);
}

static void are_named(const media__gltf *gltf, const char *list, const char *names)
{
    char found[256] = "";
    for (size_t i = 0; i < media__gltf_count(gltf, list); i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "",
            json_string_value(json_object_get(media__gltf_entry(gltf, list, i), "name")));
    assert_string_equal(found, names);
}

/* ---- removal ---- */

TEST(what_nothing_reaches_goes_and_indices_follow)
{
    media__gltf gltf = pruned("\"extras\":{\"material\":0}");
    are_named(&gltf, "materials", "m1");
    are_named(&gltf, "textures", "t1");
    are_named(&gltf, "images", "i1");
    is_index(&gltf, "meshes/0/primitives/0/material", 0);
    is_index(&gltf, "materials/0/normalTexture/index", 0);
    is_index(&gltf, "textures/0/source", 0);
    media__gltf_done(&gltf);
}

TEST(a_vrm_0_material_takes_its_properties_along)
{
    media__gltf gltf = pruned(
        "\"extensions\":{\"VRM\":{\"materialProperties\":["
        "{\"name\":\"p0\",\"textureProperties\":{\"_MainTex\":0}},"
        "{\"name\":\"p1\",\"textureProperties\":{\"_MainTex\":1,\"_ShadeTexture\":2}}]}}");
    assert_int_equal(json_array_size(at(&gltf, "extensions/VRM/materialProperties")), 1);
    assert_string_equal(
        json_string_value(at(&gltf, "extensions/VRM/materialProperties/0/name")), "p1");
    are_named(&gltf, "textures", "t1 t2");
    is_index(&gltf, "extensions/VRM/materialProperties/0/textureProperties/_MainTex", 0);
    is_index(&gltf, "extensions/VRM/materialProperties/0/textureProperties/_ShadeTexture", 1);
    media__gltf_done(&gltf);
}

TEST(a_material_that_a_vrm_0_expression_names_stays)
{
    media__gltf gltf = pruned("\"extensions\":{\"VRM\":{\"blendShapeMaster\":{\"blendShapeGroups\":"
                              "[{\"materialValues\":[{\"materialName\":\"m0\"}]}]}}}");
    are_named(&gltf, "materials", "m0 m1");
    media__gltf_done(&gltf);
}

TEST(vrm_1_thumbnails_and_binds_follow)
{
    media__gltf gltf = pruned(
        "\"extensions\":{\"VRMC_vrm\":{\"meta\":{\"thumbnailImage\":2},\"expressions\":{"
        "\"preset\":{\"happy\":{\"materialColorBinds\":[{\"material\":1}]}},\"custom\":{\"c\":{"
        "\"textureTransformBinds\":[{\"material\":1}]}}}}}");
    are_named(&gltf, "images", "i1 i2");
    is_index(&gltf, "extensions/VRMC_vrm/meta/thumbnailImage", 1);
    is_index(
        &gltf, "extensions/VRMC_vrm/expressions/preset/happy/materialColorBinds/0/material", 0);
    is_index(&gltf, "extensions/VRMC_vrm/expressions/custom/c/textureTransformBinds/0/material", 0);
    media__gltf_done(&gltf);
}

TEST(pointers_of_animations_follow)
{
    media__gltf gltf = pruned(
        "\"animations\":[{\"samplers\":[{\"input\":0,\"output\":0}],\"channels\":["
        "{\"sampler\":0,\"target\":{\"path\":\"pointer\",\"extensions\":{\"KHR_animation_pointer\":"
        "{\"pointer\":\"/materials/1/normalTexture/scale\"}}}},"
        "{\"sampler\":0,\"target\":{\"path\":\"pointer\",\"extensions\":{\"KHR_animation_pointer\":"
        "{\"pointer\":\"/nodes/0/translation\"}}}}]}]");
#define POINTER(n)                                                                                 \
    json_string_value(                                                                             \
        at(&gltf, "animations/0/channels/" n "/target/extensions/KHR_animation_pointer/pointer"))
    are_named(&gltf, "materials", "m1");
    assert_string_equal(POINTER("0"), "/materials/0/normalTexture/scale");
    assert_string_equal(POINTER("1"), "/nodes/0/translation");
    media__gltf_done(&gltf);
}

/* Animations with a channel for each pointer; a bar begins another animation. */
static const char *animations(const char *pointers)
{
    static char text[4096];
    char copy[1024], *rest = copy;
    const char *before = "\"animations\":[";
    size_t size = 0;
    snprintf(copy, sizeof copy, "%s", pointers);
    for (char *pointer; (pointer = strsep(&rest, " "));) {
        const bool another = pointer == copy || pointer[0] == '|';
        size += (size_t)snprintf(text + size, sizeof text - size,
            "%s%s{\"sampler\":0,\"target\":{\"path\":\"pointer\",\"extensions\":{"
            "\"KHR_animation_pointer\":{\"pointer\":\"%s\"}}}}",
            pointer == copy ? before
            : another       ? "]},"
                            : ",",
            another ? "{\"samplers\":[{\"input\":0,\"output\":0}],\"channels\":[" : "",
            pointer + (pointer[0] == '|'));
    }
    snprintf(text + size, sizeof text - size, "]}]");
    return text;
}

/* Of a mesh with the targets a, b, c, of which b and c stay; refusal: what a refusal says. */
static media__gltf less_targets(const char *rest, int elements, const char *refusal)
{
    media__gltf gltf = drawn(rest);
    media_recipe recipe;
    rpc_status status = {0};
    json_t *mesh = media__gltf_entry(&gltf, "meshes", 0);
    json_t *primitive = json_array_get(json_object_get(mesh, "primitives"), 0);
    json_object_set_new(media__gltf_entry(&gltf, "accessors", 0), "count", json_integer(elements));
    json_object_set_new(mesh, "extras", json_pack("{s:[sss]}", "targetNames", "a", "b", "c"));
    json_object_set_new(primitive, "targets",
        json_pack("[{s:i},{s:i},{s:i}]", "POSITION", 0, "POSITION", 0, "POSITION", 0));
    media_recipe_init(&recipe);
    recipe.some_morph_targets = true;
    assert_int_equal(media_names_add(&recipe.morph_targets, rpc_bytes_str("b"), &status), RPC_OK);
    assert_int_equal(media_names_add(&recipe.morph_targets, rpc_bytes_str("c"), &status), RPC_OK);
    const rpc_code code = media__gltf_keep_morph_targets(&gltf, &recipe, &status);
    assert_int_equal(code, refusal ? RPC_INVALID_ARGUMENT : RPC_OK);
    if (refusal && !strstr(status.message, refusal))
        fail_msg("'%s' does not say '%s'", status.message, refusal);
    media_recipe_done(&recipe);
    return gltf;
}

TEST(pointers_to_weights_move_or_go_with_their_targets)
{
    media__gltf gltf = less_targets(
        animations("/meshes/0/weights/0 /meshes/0/weights/2 /nodes/0/weights/0 "
                   "/nodes/0/weights/1 /nodes/0/scale |/nodes/0/weights/0"),
        3, NULL);
    assert_int_equal(media__gltf_count(&gltf, "animations"), 1); /* the other has no channel left */
    assert_int_equal(json_array_size(at(&gltf, "animations/0/channels")), 3);
    assert_string_equal(POINTER("0"), "/meshes/0/weights/1");
    assert_string_equal(POINTER("1"), "/nodes/0/weights/0");
    assert_string_equal(POINTER("2"), "/nodes/0/scale");
    media__gltf_done(&gltf);
}

/* The output of all is accessor 0: three elements, one for each target; then four. */
TEST(pointers_to_all_weights_keep_the_numbers_of_targets_that_stay)
{
    const char *animation = animations("/meshes/0/weights");
    media__gltf gltf = less_targets(animation, 3, NULL);
    assert_string_equal(POINTER("0"), "/meshes/0/weights");
    is_index(&gltf, "animations/0/samplers/0/output", 1);
    is_index(&gltf, "accessors/1/count", 2);
    media__gltf_done(&gltf);
    gltf = less_targets(animation, 4, "0 has 4 weights of animations for 3 morph targets");
    media__gltf_done(&gltf);
}

TEST(pointers_to_textures_go_with_them)
{
    media__gltf gltf = drawn(animations(
        "/materials/1/normalTexture/scale "
        "/materials/1/pbrMetallicRoughness/baseColorTexture/extensions/KHR_texture_transform/"
        "offset "
        "/materials/1/pbrMetallicRoughness/baseColorFactor |/materials/1/normalTexture/scale"));
    media_recipe recipe;
    rpc_status status = {0};
    media_recipe_init(&recipe);
    recipe.texture_channels = MEDIA_CHANNEL_EMISSIVE;
    assert_int_equal(media__textures_drop(&gltf, &recipe, &status), RPC_OK);
    assert_int_equal(media__gltf_count(&gltf, "animations"), 1);
    assert_int_equal(json_array_size(at(&gltf, "animations/0/channels")), 1);
    assert_string_equal(POINTER("0"), "/materials/1/pbrMetallicRoughness/baseColorFactor");
    media_recipe_done(&recipe);
    media__gltf_done(&gltf);
}

/* Material 1 has all textures, material 0 a normalTexture. */
TEST(pointers_to_factors_go_with_the_texture_that_they_multiply)
{
    static const char *const factors[] = {"pbrMetallicRoughness/baseColorFactor",
        "pbrMetallicRoughness/metallicFactor", "pbrMetallicRoughness/roughnessFactor",
        "emissiveFactor", "extensions/VRMC_materials_mtoon/shadeColorFactor"};
    static const char textured[] =
        "{\"name\":\"m1\",\"emissiveTexture\":{\"index\":1},\"pbrMetallicRoughness\":{"
        "\"baseColorTexture\":{\"index\":1},\"metallicRoughnessTexture\":{\"index\":1}},"
        "\"extensions\":{\"VRMC_materials_mtoon\":{\"shadeMultiplyTexture\":{\"index\":1}}}}";
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        for (int keep = 0; keep < 2; keep++) {
            char pointers[256];
            media_recipe recipe;
            rpc_status status = {0};
            snprintf(pointers, sizeof pointers,
                "/materials/1/%s /materials/0/%s /materials/1/alphaCutoff", factors[i], factors[i]);
            media__gltf gltf = drawn(animations(pointers));
            json_array_set_new(
                json_object_get(gltf.json, "materials"), 1, json_loads(textured, 0, NULL));
            media_recipe_init(&recipe);
            recipe.texture_channels = keep ? MEDIA_CHANNELS_ALL : MEDIA_CHANNEL_NORMAL;
            assert_int_equal(media__textures_drop(&gltf, &recipe, &status), RPC_OK);
            assert_int_equal(json_array_size(at(&gltf, "animations/0/channels")), 2 + keep);
            assert_non_null(strstr(POINTER("0"), keep ? "/materials/1/" : "/materials/0/"));
            media_recipe_done(&recipe);
            media__gltf_done(&gltf);
        }
    }
}

TEST(extension_of_pointers_goes_with_the_last_of_them)
{
    static const char declared[] = "\"extensionsUsed\":[\"KHR_animation_pointer\",\"KHR_b\"],"
                                   "\"extensionsRequired\":[\"KHR_animation_pointer\"],";
    static const struct {
        const char *pointers, *recipe;
        bool stays;
    } cases[] = {
        {"/materials/1/normalTexture/scale", "{\"texture_channels\":[]}", false},
        {"/materials/1/normalTexture/scale /nodes/0/scale", "{\"texture_channels\":[]}", true},
        {"/nodes/0/scale", "{\"animations\":[]}", false},
        {"/nodes/0/scale", "{\"animations\":[\"a\"]}", false},
        {"/nodes/0/scale", "{}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rest[4096];
        media_recipe recipe;
        rpc_status status = {0};
        snprintf(rest, sizeof rest, "%s%s", declared, animations(cases[i].pointers));
        media__gltf gltf = drawn(rest);
        assert_int_equal(
            media_recipe_read(rpc_bytes_str(cases[i].recipe), &recipe, &status), RPC_OK);
        assert_int_equal(media__gltf_keep_animations(&gltf, &recipe, &status), RPC_OK);
        assert_int_equal(media__textures_drop(&gltf, &recipe, &status), RPC_OK);
        assert_int_equal(json_array_size(at(&gltf, "extensionsUsed")), cases[i].stays ? 2 : 1);
        assert_int_equal(json_array_size(at(&gltf, "extensionsRequired")), cases[i].stays);
        media_recipe_done(&recipe);
        media__gltf_done(&gltf);
    }
}

TEST(what_a_pointer_moves_is_in_use)
{
    media__gltf gltf = pruned(animations("/materials/0/normalTexture/scale"));
    are_named(&gltf, "materials", "m0 m1");
    assert_string_equal(POINTER("0"), "/materials/0/normalTexture/scale");
    media__gltf_done(&gltf);
}

/* ---- what nobody knows ---- */

TEST(what_an_unknown_extension_may_name_stays_where_it_is)
{
    static const char *const cases[][2] = {
        {"{\"texture\":0}", "t0 t1"},                 /* t2 is beyond all that it says */
        {"{\"deep\":[{\"texture\":2}]}", "t0 t1 t2"}, /* everything up to 2 */
        {"{\"at\":\"/textures/2/source\"}", "t0 t1 t2"},
        {"{\"beside\":[null,null,null]}", "t0 t1 t2"}, /* as long as the list */
        {"{\"factor\":-1}", "t1"},
        {"{\"extensions\":{\"KHR_x\":{\"t\":1}}}", "t0 t1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char rest[256];
        snprintf(rest, sizeof rest, "\"extensions\":{\"ACME_hair\":%s}", cases[i][0]);
        media__gltf gltf = pruned(rest);
        are_named(&gltf, "textures", cases[i][1]);
        media__gltf_done(&gltf);
    }
}

TEST(an_unknown_extension_inside_a_known_one_counts)
{
    media__gltf gltf = pruned("\"extensions\":{\"VRMC_vrm\":{\"meta\":{\"extensions\":{"
                              "\"ACME_badge\":{\"image\":2}}}}}");
    assert_int_equal(media__refs_foreign(&gltf), 3);
    are_named(&gltf, "images", "i0 i1 i2");
    media__gltf_done(&gltf);
}

/* ---- views ---- */

/* 32 bytes, two views of the same and one of a part, four accessors: 0 and 1 have equal bytes. */
static const char views[] =
    "{\"asset\":{\"version\":\"2.0\"},\"scene\":0,\"scenes\":[{\"nodes\":[0]}],"
    "\"nodes\":[{\"mesh\":0}],\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,"
    "\"_A\":1,\"_B\":2}},{\"attributes\":{\"POSITION\":3}}]}],\"accessors\":["
    "{\"bufferView\":0,\"componentType\":5126,\"count\":1,\"type\":\"VEC3\",\"min\":[0,0,0],"
    "\"max\":[0,0,0]},"
    "{\"bufferView\":1,\"componentType\":5126,\"count\":1,\"type\":\"VEC3\"},"
    "{\"bufferView\":2,\"byteOffset\":4,\"componentType\":5121,\"count\":1,\"type\":\"VEC3\"},"
    "{\"bufferView\":1,\"componentType\":5126,\"count\":1,\"type\":\"VEC3\",\"min\":[0,0,0],"
    "\"max\":[0,0,0]}],"
    "\"bufferViews\":[{\"buffer\":0,\"byteLength\":12%s},{\"buffer\":0,\"byteLength\":12},"
    "{\"buffer\":0,\"byteOffset\":12,\"byteLength\":20}],"
    "\"buffers\":[{\"name\":\"all\",\"byteLength\":32,\"uri\":\"data:application/octet-stream;"
    "base64,AAAAAAAAAAAAAAAAAQIDBAUGBwgJCgsMDQ4PEBESExQ=\"}]}";

static media__gltf read_views(const char *more)
{
    char text[2048];
    media__gltf gltf;
    rpc_status status = {0};
    snprintf(text, sizeof text, views, more);
    if (media__gltf_read(rpc_bytes_str(text), &gltf, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return gltf;
}

/* Written and read again; *ret_file is what the document borrows. */
static media__gltf written(const media__gltf *gltf, uint8_t **ret_file)
{
    const media__written how = {.meshopt = false};
    size_t size = 0;
    media__gltf again;
    rpc_status status = {0};
    if (media__gltf_write(gltf, &how, ret_file, &size, &status) != RPC_OK ||
        media__gltf_read(rpc_bytes_of(*ret_file, size), &again, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return again;
}

TEST(bytes_that_views_share_are_written_once)
{
    uint8_t *file = NULL;
    media__gltf gltf = read_views(""), again = written(&gltf, &file);
    assert_int_equal(media__gltf_count(&again, "bufferViews"), 3);
    is_index(&again, "buffers/0/byteLength", 32);
    assert_string_equal(json_string_value(at(&again, "buffers/0/name")), "all");
    assert_null(at(&again, "buffers/0/uri"));
    assert_null(at(&again, "bufferViews/1/byteOffset"));
    assert_memory_equal(media__view_bytes(&again, 2).data, media__view_bytes(&gltf, 2).data, 20);
    media__gltf_done(&again);
    media__gltf_done(&gltf);
    free(file);
}

TEST(equal_accessors_become_one_and_gaps_go)
{
    uint8_t *file = NULL;
    rpc_status status = {0};
    media__gltf gltf = read_views("");
    if (media__gltf_gather(&gltf, &status) != RPC_OK)
        fail_msg("%s", status.message);
    media__gltf again = written(&gltf, &file);
    /* POSITION of both primitives; _A has no bounds, and so stays another; _B alone is of bytes */
    assert_int_equal(media__gltf_count(&again, "accessors"), 3);
    is_index(&again, "meshes/0/primitives/1/attributes/POSITION", 0);
    assert_int_equal(media__gltf_count(&again, "bufferViews"), 2);
    is_index(&again, "bufferViews/0/byteLength", 12);
    is_index(&again, "bufferViews/0/target", 34962);
    is_index(&again, "bufferViews/1/byteLength", 4); /* three bytes, at a multiple of four */
    uint32_t *values = NULL;
    size_t count = 0;
    assert_int_equal(media__accessor_uints(&again, 2, &values, &count, &status), RPC_OK);
    assert_int_equal(values[0], 5);
    assert_int_equal(values[2], 7);
    free(values);
    media__gltf_done(&again);
    media__gltf_done(&gltf);
    free(file);
}

TEST(views_with_more_to_say_stay_as_they_are)
{
    rpc_status status = {0};
    media__gltf gltf = read_views(",\"extras\":{\"note\":1}");
    assert_int_equal(media__gltf_gather(&gltf, &status), RPC_OK);
    is_index(&gltf, "bufferViews/0/extras/note", 1);
    is_index(&gltf, "accessors/0/bufferView", 0);
    media__gltf_done(&gltf);
}

TEST(an_unknown_compression_is_refused_by_name)
{
    const media__written how = {.meshopt = false};
    uint8_t *file = NULL;
    size_t size = 0;
    rpc_status status = {0};
    media__gltf gltf = read_views("");
    json_object_set_new(media__gltf_entry(&gltf, "bufferViews", 1), "extensions",
        json_pack("{s:{s:i,s:i}}", "ACME_zip", "buffer", 0, "byteOffset", 4));
    assert_int_equal(media__gltf_write(&gltf, &how, &file, &size, &status), RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "/bufferViews/1: 'ACME_zip'"));
    media__gltf_done(&gltf);
}

/* Two hundred views of nearly the same 2 MB would be 400 MB. */
TEST(views_that_overlap_do_not_grow_without_end)
{
    enum { SIZE = 2 << 20, COUNT = 200 };
    const media__written how = {.meshopt = false};
    media__gltf gltf = read_views("");
    rpc_status status = {0};
    uint8_t *file = NULL;
    size_t size = 0, view = 0;
    assert_int_equal(
        media__gltf_add_view(&gltf, calloc(1, SIZE), SIZE, 0, 0, &view, &status), RPC_OK);
    for (int i = 1; i < COUNT; i++)
        json_array_append_new(json_object_get(gltf.json, "bufferViews"),
            json_pack(
                "{s:i,s:i,s:i}", "buffer", 1, "byteOffset", 4 * i, "byteLength", SIZE - 4 * i));
    assert_int_equal(media__gltf_write(&gltf, &how, &file, &size, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "more than"));
    media__gltf_done(&gltf);
}
