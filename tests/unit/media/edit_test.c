/* SPDX-License-Identifier: Apache-2.0 */
/* What a recipe does to documents: animations and morph targets by name, fewer triangles, and what
 * clients accept. Real avatars, and small ones that are drawn here. */
#include "files.h"

#include "asset.h"
#include "gltf_adapt.h"
#include "gltf_at.h"
#include "gltf_get.h"
#include "gltf_morph_names.h"
#include "gltf_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static media_recipe recipe_of(const char *json)
{
    media_recipe recipe;
    rpc_status status;
    if (media_recipe_read(rpc_bytes_str(json), &recipe, &status) != RPC_OK)
        fail_msg("%s: %s", json, status.message);
    return recipe;
}

/* The document is written, and what was written read again. */
static void again(media__gltf *gltf, const char *name)
{
    const media__written how = {.meshopt = false};
    uint8_t *file = NULL;
    size_t size = 0;
    rpc_status status;
    media__gltf written;
    if (media__gltf_prune(gltf, &status) != RPC_OK ||
        media__gltf_write(gltf, &how, &file, &size, &status) != RPC_OK ||
        media__gltf_read(rpc_bytes_of(file, size), &written, &status) != RPC_OK)
        fail_msg("%s: %s", name, status.message);
    media__gltf_done(&written);
    free(file);
}

/* ---- a drawn face ---- */

/* One triangle with three targets, in a VRM of both kinds, with two animations of which one moves
 * weights: two keys, three targets. */
/* clang-format off */
#define BODY /* from node 1 on */                                                                  \
    "{\"children\":[2,3,6]},{\"children\":[9,10,13]},{\"children\":[4]},{\"children\":[5]},{}," \
    "{\"children\":[7]},{\"children\":[8]},{},{},{\"children\":[11]},{\"children\":[12]},{},"   \
    "{\"children\":[14]},{\"children\":[15]},{}"
#define BONES(bone)                                                                                \
    bone("hips", 1) "," bone("spine", 2) "," bone("leftUpperLeg", 3) "," bone("leftLowerLeg", 4)   \
    "," bone("leftFoot", 5) "," bone("rightUpperLeg", 6) "," bone("rightLowerLeg", 7) ","          \
    bone("rightFoot", 8) "," bone("head", 9) "," bone("leftUpperArm", 10) ","                      \
    bone("leftLowerArm", 11) "," bone("leftHand", 12) "," bone("rightUpperArm", 13) ","            \
    bone("rightLowerArm", 14) "," bone("rightHand", 15)
#define OLD(name, node) "{\"bone\":\"" name "\",\"node\":" #node "}"
#define NEW(name, node) "\"" name "\":{\"node\":" #node "}"
/* clang-format on */

static const char face[] =
    "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"VRM\",\"VRMC_vrm\"],"
    "\"scene\":0,\"scenes\":[{\"nodes\":[0,1]}],"
    "\"nodes\":[{\"mesh\":0,\"weights\":[0.1,0.2,0.3],\"name\":\"Head\"}," BODY "],"
    "\"meshes\":[{\"weights\":[1,0.5,0],\"extras\":{\"targetNames\":[\"jawOpen\",\"smirk\","
    "\"viseme_aa\"]},\"primitives\":[{\"attributes\":{\"POSITION\":0},\"targets\":["
    "{\"POSITION\":1},{\"POSITION\":2},{\"POSITION\":3}]}]}],"
    "\"accessors\":["
    "{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},"
    "{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},"
    "{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},"
    "{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},"
    "{\"bufferView\":0,\"componentType\":5126,\"count\":2,\"type\":\"SCALAR\",\"min\":[0],"
    "\"max\":[1]},"
    "{\"bufferView\":1,\"componentType\":5121,\"normalized\":true,\"count\":6,\"type\":\"SCALAR\"},"
    "{\"componentType\":5126,\"count\":2,\"type\":\"VEC3\"}],"
    "\"bufferViews\":[{\"buffer\":0,\"byteLength\":8},{\"buffer\":0,\"byteOffset\":8,"
    "\"byteLength\":6}],"
    /* 0.0f, 1.0f, then 1 2 3 4 5 6 */
    "\"buffers\":[{\"byteLength\":14,\"uri\":\"data:application/octet-stream;base64,"
    "AAAAAAAAgD8BAgMEBQY=\"}],"
    "\"animations\":[{\"name\":\"talk\",\"samplers\":[{\"input\":4,\"output\":5},{\"input\":4,"
    "\"output\":6}],\"channels\":[{\"sampler\":0,\"target\":{\"node\":0,\"path\":\"weights\"}},"
    "{\"sampler\":1,\"target\":{\"node\":0,\"path\":\"translation\"}}]},"
    "{\"name\":\"blink\",\"samplers\":[{\"input\":4,\"output\":5}],\"channels\":[{\"sampler\":0,"
    "\"target\":{\"node\":0,\"path\":\"weights\"}}]}],"
    "\"extensions\":{\"VRM\":{\"meta\":{\"licenseName\":\"CC0\"},"
    "\"humanoid\":{\"humanBones\":[" BONES(
        OLD) "]},\"blendShapeMaster\":{\"blendShapeGroups\":[{\"name\":\"A\","
             "\"binds\":[{\"mesh\":0,\"index\":2,\"weight\":100},{\"mesh\":0,\"index\":1,"
             "\"weight\":50}]}]}}"
             ","
             "\"VRMC_vrm\":{\"specVersion\":\"1.0\",\"meta\":{\"name\":\"A\",\"authors\":[\"B\"],"
             "\"licenseUrl\":\"C\",\"modification\":\"allowModification\"},"
             "\"humanoid\":{\"humanBones\":{" BONES(
                 NEW) "}},\"expressions\":{\"preset\":{\"aa\":{\"morphTargetBinds\":[{\"node\":0,"
                      "\"index\":2,\"weight\":1}]}},\"custom\":{\"smug\":{\"morphTargetBinds\":[{"
                      "\"node\":0,"
                      "\"index\":1,\"weight\":1}]}}}}}}";

static void keep_targets(media__gltf *gltf, const char *json)
{
    media_recipe recipe = recipe_of(json);
    rpc_status status;
    if (media__gltf_keep_morph_targets(gltf, &recipe, &status) != RPC_OK)
        fail_msg("%s", status.message);
    media_recipe_done(&recipe);
}

static json_int_t number_at(const media__gltf *gltf, const char *path)
{
    const json_t *value = at(gltf, path);
    if (!json_is_integer(value))
        fail_msg("%s is no integer", path);
    return json_integer_value(value);
}

#define GROUP  "extensions/VRM/blendShapeMaster/blendShapeGroups/0/binds"
#define PRESET "extensions/VRMC_vrm/expressions/preset/aa/morphTargetBinds"
#define CUSTOM "extensions/VRMC_vrm/expressions/custom/smug"

TEST(a_target_that_goes_takes_its_name_and_weights_along)
{
    media__gltf gltf = read_json(face);
    keep_targets(&gltf, "{\"morph_targets\":{\"names\":[\"smirk\",\"viseme_aa\"]}}");
    assert_int_equal(json_array_size(at(&gltf, "meshes/0/primitives/0/targets")), 2);
    assert_int_equal(number_at(&gltf, "meshes/0/primitives/0/targets/0/POSITION"), 2);
    assert_int_equal(json_array_size(at(&gltf, "meshes/0/weights")), 2);
    assert_float_equal(json_number_value(at(&gltf, "meshes/0/weights/0")), 0.5, 0);
    assert_float_equal(json_number_value(at(&gltf, "nodes/0/weights/1")), 0.3, 0);
    assert_string_equal(media__morph_name(&gltf, 0, 0), "smirk");
    assert_string_equal(media__morph_name(&gltf, 0, 1), "viseme_aa");
    again(&gltf, "face");
    media__gltf_done(&gltf);
}

/* Two names for three targets name none; nor do they the two that are left. */
TEST(a_list_of_names_that_named_nothing_does_not_begin_to)
{
    media__gltf gltf = read_json(face);
    json_array_remove((json_t *)(uintptr_t)at(&gltf, "meshes/0/extras/targetNames"), 2);
    json_object_set_new(media__gltf_entry(&gltf, "accessors", 2), "name", json_string("viseme_E"));
    json_object_set_new(media__gltf_entry(&gltf, "accessors", 3), "name", json_string("viseme_O"));
    keep_targets(&gltf, "{\"morph_targets\":{\"groups\":[\"oculus\"]}}");
    assert_int_equal(json_array_size(at(&gltf, "meshes/0/primitives/0/targets")), 2);
    assert_string_equal(media__morph_name(&gltf, 0, 0), "viseme_E");
    assert_string_equal(media__morph_name(&gltf, 0, 1), "viseme_O");
    media__gltf_done(&gltf);
}

TEST(vrm_binds_count_on_new_indices)
{
    media__gltf gltf = read_json(face);
    keep_targets(&gltf, "{\"morph_targets\":{\"names\":[\"viseme_aa\"]}}");
    assert_int_equal(json_array_size(at(&gltf, GROUP)), 1);
    assert_int_equal(number_at(&gltf, GROUP "/0/index"), 0);
    assert_int_equal(number_at(&gltf, GROUP "/0/weight"), 100);
    assert_int_equal(number_at(&gltf, PRESET "/0/index"), 0);
    assert_non_null(at(&gltf, CUSTOM)); /* the expression is there, without what it bound */
    assert_null(at(&gltf, CUSTOM "/morphTargetBinds"));
    media__gltf_done(&gltf);
}

TEST(animated_weights_keep_the_columns_of_targets_that_stay)
{
    media__gltf gltf = read_json(face);
    keep_targets(&gltf, "{\"morph_targets\":{\"names\":[\"jawOpen\",\"viseme_aa\"]}}");
    for (size_t i = 0; i < 2; i++) {
        const json_t *animation = media__gltf_entry(&gltf, "animations", i);
        const json_t *channels = json_object_get(animation, "channels");
        const json_t *samplers = json_object_get(animation, "samplers");
        assert_int_equal(json_array_size(samplers), json_array_size(channels));
        for (size_t k = 0; k < json_array_size(channels); k++) {
            const json_t *channel = json_array_get(channels, k);
            const json_t *path = json_object_get(json_object_get(channel, "target"), "path");
            if (strcmp(json_string_value(path), "weights") != 0)
                continue;
            uint8_t *values = NULL;
            size_t count = 0;
            rpc_status status;
            const json_t *sampler = json_array_get(samplers, media__get_index(channel, "sampler"));
            assert_int_equal(media__accessor_bytes(&gltf, media__get_index(sampler, "output"),
                                 &values, &count, &status),
                RPC_OK);
            assert_int_equal(count, 4);
            assert_memory_equal(values, ((const uint8_t[]){1, 3, 4, 6}), 4);
            free(values);
        }
    }
    again(&gltf, "face");
    media__gltf_done(&gltf);
}

TEST(without_targets_nothing_moves_weights)
{
    media__gltf gltf = read_json(face);
    keep_targets(&gltf, "{\"morph_targets\":{\"groups\":[]}}");
    assert_null(at(&gltf, "meshes/0/primitives/0/targets"));
    assert_null(at(&gltf, "meshes/0/weights"));
    assert_null(at(&gltf, "meshes/0/extras"));
    assert_null(at(&gltf, "nodes/0/weights"));
    assert_int_equal(media__gltf_count(&gltf, "animations"), 1); /* blink moved nothing else */
    assert_string_equal(json_string_value(at(&gltf, "animations/0/name")), "talk");
    assert_int_equal(json_array_size(at(&gltf, "animations/0/channels")), 1);
    assert_int_equal(json_array_size(at(&gltf, "animations/0/samplers")), 1);
    assert_int_equal(json_array_size(at(&gltf, GROUP)), 0);
    again(&gltf, "face");
    media__gltf_done(&gltf);
}

static void add_word(char *words, size_t size, const char *word)
{
    const size_t end = strlen(words);
    snprintf(words + end, size - end, "%s%s", end ? " " : "", word);
}

TEST(groups_name_what_tools_know)
{
    static const struct {
        const char *recipe, *left;
    } cases[] = {{"{\"morph_targets\":{\"groups\":[\"arkit\"]}}", "jawOpen"},
        {"{\"morph_targets\":{\"groups\":[\"oculus\"]}}", "viseme_aa"},
        {"{\"morph_targets\":{\"groups\":[\"vrm\"]}}", "smirk viseme_aa"},
        {"{\"morph_targets\":{\"groups\":[\"arkit\",\"oculus\"]}}", "jawOpen viseme_aa"},
        {"{\"morph_targets\":{\"groups\":[\"arkit\"],\"names\":[\"smirk\"]}}", "jawOpen smirk"},
        {"{\"lod\":0}", "jawOpen smirk viseme_aa"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media__gltf gltf = read_json(face);
        char left[200] = "";
        keep_targets(&gltf, cases[i].recipe);
        const size_t count = json_array_size(at(&gltf, "meshes/0/primitives/0/targets"));
        for (size_t t = 0; t < count; t++) {
            add_word(left, sizeof left, media__morph_name(&gltf, 0, t));
        }
        assert_string_equal(left, cases[i].left);
        media__gltf_done(&gltf);
    }
}

static void keep_animations(media__gltf *gltf, const char *json)
{
    media_recipe recipe = recipe_of(json);
    rpc_status status;
    assert_int_equal(media__gltf_keep_animations(gltf, &recipe, &status), RPC_OK);
    media_recipe_done(&recipe);
}

TEST(animations_stay_by_name)
{
    static const struct {
        const char *recipe, *left;
    } cases[] = {{"{\"lod\":0}", "talk blink"}, {"{\"animations\":[\"blink\"]}", "blink"},
        {"{\"animations\":[]}", ""}, {"{\"animations\":[\"run\",\"talk\"]}", "talk"},
        {"{\"base\":true}", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media__gltf gltf = read_json(face);
        char left[200] = "";
        keep_animations(&gltf, cases[i].recipe);
        for (size_t k = 0; k < media__gltf_count(&gltf, "animations"); k++) {
            add_word(left, sizeof left,
                json_string_value(
                    json_object_get(media__gltf_entry(&gltf, "animations", k), "name")));
        }
        assert_string_equal(left, cases[i].left);
        again(&gltf, "face");
        media__gltf_done(&gltf);
    }
}

/* ---- sparse targets ---- */

static uint64_t target_sums(const media__gltf *gltf, bool *ret_sparse)
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *list = json_object_get(media__gltf_entry(gltf, "meshes", i), "primitives");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *targets = json_object_get(json_array_get(list, k), "targets");
            for (size_t t = 0; t < json_array_size(targets); t++) {
                const size_t accessor = media__get_index(json_array_get(targets, t), "POSITION");
                const json_t *entry = media__gltf_entry(gltf, "accessors", accessor);
                media__layout layout;
                uint8_t *elements = NULL;
                size_t count = 0;
                rpc_status status;
                media__accessor_layout(entry, &layout);
                *ret_sparse |= json_object_get(entry, "sparse") != NULL;
                assert_int_equal(
                    media__accessor_bytes(gltf, accessor, &elements, &count, &status), RPC_OK);
                for (size_t b = 0; b < count * layout.bytes; b++)
                    sum = (sum ^ elements[b]) * 1099511628211u;
                free(elements);
            }
        }
    }
    return sum;
}

TEST(targets_that_move_little_are_written_sparse_and_stay_the_same)
{
    size_t size = 0;
    bool before = false, after = false;
    uint8_t *file = file_bytes(test_data("avatars/vrm1-valid-white-m-1.vrm"), &size);
    uint8_t *made = NULL;
    const media__written how = {.meshopt = false};
    media__gltf gltf, written;
    rpc_status status;
    assert_int_equal(media__gltf_read(rpc_bytes_of(file, size), &gltf, &status), RPC_OK);
    const uint64_t sum = target_sums(&gltf, &before);
    assert_int_equal(media__gltf_sparse_targets(&gltf, &status), RPC_OK);
    assert_int_equal(media__gltf_prune(&gltf, &status), RPC_OK);
    size_t made_size = 0;
    assert_int_equal(media__gltf_write(&gltf, &how, &made, &made_size, &status), RPC_OK);
    if (media__gltf_read(rpc_bytes_of(made, made_size), &written, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_true(target_sums(&written, &after) == sum);
    assert_false(before);
    assert_true(after);
    assert_true(made_size < size);
    media__gltf_done(&written);
    media__gltf_done(&gltf);
    free(made);
    free(file);
}

/* ---- what clients accept ---- */

static rpc_code accepts(const char *document, const char *json, rpc_status *ret)
{
    media__gltf gltf = read_json(document);
    media_recipe recipe = recipe_of(json);
    assert_int_equal(media__gltf_take_images(&gltf, ret), RPC_OK);
    const rpc_code code = media__gltf_accept(&gltf, &recipe, ret);
    media_recipe_done(&recipe);
    media__gltf_done(&gltf);
    return code;
}

TEST(what_a_client_does_not_decode_is_refused_by_name)
{
    static const char quantized[] =
        "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"KHR_mesh_quantization\"],"
        "\"extensionsRequired\":[\"KHR_mesh_quantization\"]}";
    static const char pictures[] =
        "{\"asset\":{\"version\":\"2.0\"},\"images\":[{\"uri\":\"data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg==\"}]}";
    rpc_status status;
    assert_int_equal(accepts(quantized, "{\"lod\":1}", &status), RPC_OK); /* nothing was said */
    assert_int_equal(
        accepts(quantized, "{\"accept\":{\"extensions\":[\"KHR_mesh_quantization\"]}}", &status),
        RPC_OK);
    assert_int_equal(accepts(quantized, "{\"accept\":{}}", &status), RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "KHR_mesh_quantization"));
    assert_int_equal(accepts(pictures, "{\"accept\":{}}", &status), RPC_OK);
    assert_int_equal(
        accepts(pictures, "{\"accept\":{\"media_types\":[\"image/png\"]}}", &status), RPC_OK);
    assert_int_equal(
        accepts(pictures, "{\"accept\":{\"media_types\":[\"model/gltf-binary\"]}}", &status),
        RPC_OK);
    assert_int_equal(accepts(pictures, "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}", &status),
        RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "image/png"));
}

TEST(who_is_refused_a_picture_is_told_what_helps)
{
#define OPAQUE                                                                                     \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
#define ALPHA                                                                                      \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg" \
    "gg=="
#define WITH(picture, material)                                                                    \
    "{\"asset\":{\"version\":\"2.0\"},\"textures\":[{\"source\":0}],\"materials\":[{" material     \
    "}],\"images\":[{\"uri\":\"data:image/png;base64," picture "\"}]}"
#define USED "\"occlusionTexture\":{\"index\":0}"
#define WEBP "\"extensions\":[\"EXT_texture_webp\"]"
    static const struct {
        const char *document, *recipe, *words;
    } cases[] = {
        {WITH(OPAQUE, USED), "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}",
            "; ask for texture_format jpeg"},
        {WITH(ALPHA, USED), "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}",
            "; accept.media_types would have to name it"},
        {WITH(ALPHA, USED), "{\"accept\":{" WEBP ",\"media_types\":[\"image/webp\"]}}",
            "; ask for texture_format webp"},
        {WITH(OPAQUE, USED), "{\"accept\":{\"media_types\":[\"image/webp\"]}}",
            "; ask for texture_format webp, and name EXT_texture_webp in accept.extensions"},
        {WITH(OPAQUE, USED), "{\"accept\":{\"media_types\":[\"image/ktx2\"]}}",
            "; accept.media_types would have to name it"},
        {WITH(OPAQUE, ""), "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}",
            "; accept.media_types would have to name it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rpc_status status = {0};
        assert_int_equal(
            accepts(cases[i].document, cases[i].recipe, &status), RPC_FAILED_PRECONDITION);
        const char *at = strchr(status.message, ';');
        assert_non_null(at);
        assert_string_equal(at, cases[i].words);
    }
    rpc_status status = {0};
    assert_int_equal(accepts("{\"asset\":{\"version\":\"2.0\"},\"images\":[{\"uri\":\"skin.png\","
                             "\"mimeType\":\"image/png\"}]}",
                         "{\"accept\":{\"media_types\":[\"image/png\"]}}", &status),
        RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "image 0 lies beside the file"));
    assert_non_null(strstr(status.message, "put the avatar into one file"));
}

/* ---- fewer triangles ---- */

static uint64_t triangles_of(const media__gltf *gltf)
{
    media_figures figures = {.bytes = 0};
    rpc_status status;
    if (media__figures_of_gltf(gltf, 0, &figures, &status) != RPC_OK)
        fail_msg("%s", status.message);
    const uint64_t triangles = figures.triangles;
    media_figures_done(&figures);
    return triangles;
}

typedef struct variant {
    uint8_t *file;
    size_t size;
    media__simplified result;
    media__gltf gltf; /* read again */
} variant;

static variant simplified(const char *path, double share)
{
    variant v = {.file = NULL};
    const media__written how = {.meshopt = false};
    media__gltf gltf;
    size_t size = 0;
    uint8_t *file = file_bytes(path, &size);
    rpc_status status;
    if (media__gltf_read(rpc_bytes_of(file, size), &gltf, &status) != RPC_OK ||
        media__gltf_decode(&gltf, &status) != RPC_OK)
        fail_msg("%s: %s", path, status.message);
    const uint64_t asked = (uint64_t)((double)triangles_of(&gltf) * share);
    if (media__gltf_simplify(&gltf, asked, &v.result, &status) != RPC_OK ||
        media__gltf_prune(&gltf, &status) != RPC_OK ||
        media__gltf_write(&gltf, &how, &v.file, &v.size, &status) != RPC_OK ||
        media__gltf_read(rpc_bytes_of(v.file, v.size), &v.gltf, &status) != RPC_OK)
        fail_msg("%s: %s", path, status.message);
    media__gltf_done(&gltf);
    free(file);
    return v;
}

static void variant_done(variant *v)
{
    media__gltf_done(&v->gltf);
    free(v->file);
}

/* Targets and attributes of every primitive, as many as before and of the same names. */
static void same_shape(const media__gltf *a, const media__gltf *b, const char *path)
{
    for (size_t i = 0; i < media__gltf_count(a, "meshes"); i++) {
        const json_t *mesh = media__gltf_entry(a, "meshes", i);
        const json_t *other = media__gltf_entry(b, "meshes", i);
        const json_t *list = json_object_get(mesh, "primitives");
        const json_t *others = json_object_get(other, "primitives");
        if (json_array_size(list) != json_array_size(others) ||
            (json_object_get(mesh, "extras") &&
                !json_equal(json_object_get(mesh, "extras"), json_object_get(other, "extras"))))
            fail_msg("%s: /meshes/%zu is another", path, i);
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *x = json_array_get(list, k), *y = json_array_get(others, k);
            json_t *attributes = json_object_get(x, "attributes");
            const char *name;
            json_t *value;
            json_object_foreach(attributes, name,
                value) if (!json_object_get(json_object_get(y, "attributes"), name))
                fail_msg("%s: /meshes/%zu/primitives/%zu has no %s", path, i, k, name);
            assert_int_equal(json_array_size(json_object_get(x, "targets")),
                json_array_size(json_object_get(y, "targets")));
        }
    }
}

static void loses_triangles(const char *path, void *ctx)
{
    size_t size = 0;
    uint8_t *file = file_bytes(path, &size);
    media__gltf source;
    rpc_status status;
    assert_int_equal(media__gltf_read(rpc_bytes_of(file, size), &source, &status), RPC_OK);
    static const double shares[] = {0.25, 0.5, 0.05};
    for (size_t i = 0; i < (size < 1 << 20 ? 3 : 1); i++) {
        variant once = simplified(path, shares[i]);
        const media__simplified *r = &once.result;
        if (r->reached != triangles_of(&once.gltf))
            fail_msg("%s: %llu triangles are said, there are %llu", path,
                (unsigned long long)r->reached, (unsigned long long)triangles_of(&once.gltf));
        const bool near = r->reached <= r->asked + r->asked / 20 &&
                          (double)r->reached >= (double)r->asked * 0.95 - 3;
        if (near ? r->why[0] != 0 : r->why[0] == 0)
            fail_msg("%s: asked for %llu, reached %llu, '%s'", path, (unsigned long long)r->asked,
                (unsigned long long)r->reached, r->why);
        same_shape(&source, &once.gltf, path);
        for (size_t list = 0; list < 4; list++) {
            static const char *const lists[] = {"nodes", "skins", "animations", "materials"};
            assert_int_equal(media__gltf_count(&source, lists[list]),
                media__gltf_count(&once.gltf, lists[list]));
        }
        variant_done(&once);
    }
    media__gltf_done(&source);
    free(file);
    ++*(unsigned *)ctx;
}

TEST(every_real_avatar_loses_triangles_and_nothing_else)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, loses_triangles, &count);
    assert_true(count >= 28);
}

TEST(an_index_that_leads_nowhere_is_named)
{
    /* six triangles over four vertices, the last index is 9 */
    media__gltf gltf = read_json(
        "{\"asset\":{\"version\":\"2.0\"},\"meshes\":[{\"primitives\":[{\"attributes\":{"
        "\"POSITION\":"
        "0},\"indices\":1}]}],\"accessors\":[{\"componentType\":5126,\"count\":4,\"type\":\"VEC3\","
        "\"min\":[0,0,0],\"max\":[0,0,0]},{\"bufferView\":0,\"componentType\":5121,\"count\":6,"
        "\"type\":\"SCALAR\"}],\"bufferViews\":[{\"buffer\":0,\"byteLength\":6}],\"buffers\":["
        "{\"byteLength\":6,\"uri\":\"data:application/octet-stream;base64,AAECAAIJ\"}]}");
    media__simplified result;
    rpc_status status;
    assert_int_equal(media__gltf_simplify(&gltf, 1, &result, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "/meshes/0/primitives/0/indices"));
    assert_non_null(strstr(status.message, "index 5 is 9"));
    media__gltf_done(&gltf);
}
