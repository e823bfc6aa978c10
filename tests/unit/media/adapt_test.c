/* SPDX-License-Identifier: Apache-2.0 */
/* Real avatars adapted: nothing that was asked for is lost, what was asked is reached or said not
 * to be, and the same comes out twice. DACM_TEST_FULL=1: every file and every recipe. */
#include "files.h"

#include "gltf_edit.h"
#include "gltf_get.h"
#include "media.h"

#include <stdlib.h>
#include <string.h>

static const char *const some_files[] = {"cesium-man.glb", "fox.glb", "godot-platformer-robot.glb",
    "mannequiny.glb", "morph-stress-embedded.gltf", "sparse-morph-cube.glb", "vrm0-godette.vrm",
    "vrm1-expression-overridden.vrm"};

/* The first five are tried on some files, all of them on all. */
static const char *const recipes[] = {
    "{\"preset\":\"low\"}", "{\"base\":true}", "{\"lod\":1}", "{\"mesh_compression\":\"meshopt\"}",
    "{\"quantization\":\"standard\",\"preset\":\"low\",\"mesh_compression\":\"meshopt\"}",
    "{\"preset\":\"medium\"}", "{\"preset\":\"high\"}", "{\"lod\":2}",
    "{\"texture_size_limit\":512,\"texture_format\":\"webp\"}",
    "max_bytes", /* 40 % of the source */
};
#define SOME_RECIPES 5
#define RECIPES      (sizeof recipes / sizeof *recipes)

static media_recipe recipe_of(const char *text, size_t source_size)
{
    char budget[64];
    media_recipe recipe;
    rpc_status status = {0};
    snprintf(budget, sizeof budget, "{\"max_bytes\":%zu}", source_size * 2 / 5);
    if (media_recipe_read(rpc_bytes_str(strcmp(text, "max_bytes") == 0 ? budget : text), &recipe,
            &status) != RPC_OK)
        fail_msg("%s", status.message);
    return recipe;
}

/* ---- names of what has to stay ---- */

static void same_names(
    const media__gltf *a, const media__gltf *b, const char *list, const char *what)
{
    if (media__gltf_count(a, list) != media__gltf_count(b, list))
        fail_msg("%s: %zu %s were %zu", what, media__gltf_count(b, list), list,
            media__gltf_count(a, list));
    for (size_t i = 0; i < media__gltf_count(a, list); i++)
        if (!json_equal(json_object_get(media__gltf_entry(a, list, i), "name"),
                json_object_get(media__gltf_entry(b, list, i), "name")) &&
            json_object_get(media__gltf_entry(a, list, i), "name"))
            fail_msg("%s: /%s/%zu has another name", what, list, i);
}

static json_t *joints_of(const media__gltf *gltf)
{
    json_t *names = json_array();
    for (size_t i = 0; i < media__gltf_count(gltf, "skins"); i++) {
        const json_t *joints = json_object_get(media__gltf_entry(gltf, "skins", i), "joints");
        for (size_t j = 0; j < json_array_size(joints); j++)
            json_array_append(
                names, json_object_get(media__gltf_entry(gltf, "nodes",
                                           (size_t)json_integer_value(json_array_get(joints, j))),
                           "name"));
    }
    return names;
}

static json_t *morphs_of(const media__gltf *gltf)
{
    json_t *all = json_array();
    for (size_t i = 0; i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *mesh = media__gltf_entry(gltf, "meshes", i);
        const json_t *names = json_object_get(json_object_get(mesh, "extras"), "targetNames");
        const json_t *first = json_array_get(json_object_get(mesh, "primitives"), 0);
        json_array_append_new(
            all, json_integer((json_int_t)json_array_size(json_object_get(first, "targets"))));
        if (names)
            json_array_append_new(all, json_deep_copy(names));
    }
    return all;
}

static void same_json(json_t *a, json_t *b, const char *what, const char *part)
{
    if (!json_equal(a, b))
        fail_msg("%s: other %s", what, part);
    json_decref(a);
    json_decref(b);
}

static void nothing_is_lost(
    rpc_bytes source, const media_recipe *recipe, const media_result *result, const char *what)
{
    media__gltf a, b;
    rpc_status status = {0};
    assert_int_equal(media__gltf_read(source, &a, &status), RPC_OK);
    if (media__gltf_read(rpc_bytes_of(result->bytes, result->size), &b, &status) != RPC_OK)
        fail_msg("%s: %s", what, status.message);
    same_names(&a, &b, "nodes", what);
    same_names(&a, &b, "skins", what);
    if (!recipe->base)
        same_names(&a, &b, "animations", what);
    same_json(joints_of(&a), joints_of(&b), what, "joints");
    same_json(morphs_of(&a), morphs_of(&b), what, "morph targets");
    const char *name;
    json_t *extension;
    json_object_foreach(json_object_get(a.json, "extensions"), name,
        extension) if (!media__get_extension(b.json, name))
        fail_msg("%s: without /extensions/%s", what, name);
    media__gltf_done(&a);
    media__gltf_done(&b);
}

/* ---- one file, one recipe ---- */

static void reaches_what_was_asked(
    const media_recipe *recipe, const media_result *result, const char *what)
{
    const media_figures *f = &result->figures;
    if (result->triangles_asked && !recipe->max_bytes && !result->why[0] &&
        (f->triangles > result->triangles_asked + result->triangles_asked / 20 ||
            f->triangles + result->triangles_asked / 20 <
                (result->triangles_asked < result->source.triangles ? result->triangles_asked
                                                                    : result->source.triangles)))
        fail_msg("%s: %llu triangles of %llu asked, and no reason", what,
            (unsigned long long)f->triangles, (unsigned long long)result->triangles_asked);
    if (recipe->texture_size_limit && f->texture_size > recipe->texture_size_limit &&
        !(strstr(what, "ktx2") && strstr(result->why, "carried through")))
        fail_msg("%s: textures of %u px", what, f->texture_size);
    if (recipe->max_bytes && f->bytes > recipe->max_bytes)
        fail_msg("%s: %llu bytes", what, (unsigned long long)f->bytes);
    if (recipe->base)
        assert_int_equal(f->animations, 0);
    assert_int_equal(f->bytes, result->size);
}

static void adapts(rpc_bytes source, const char *text, const char *path)
{
    char what[4300];
    media_result once = {0}, twice = {0};
    media_recipe recipe = recipe_of(text, source.size);
    rpc_status status = {0};
    snprintf(what, sizeof what, "%s %s", path, text);
    const rpc_code code = media_adapt(source, &recipe, &once, &status);
    if (code == RPC_FAILED_PRECONDITION && recipe.max_bytes &&
        strstr(status.message, "max_bytes")) {
        media_recipe_done(&recipe); /* out of reach, and it says so */
        return;
    }
    if (code != RPC_OK)
        fail_msg("%s: %s", what, status.message);
    nothing_is_lost(source, &recipe, &once, what);
    reaches_what_was_asked(&recipe, &once, what);
    assert_int_equal(media_adapt(source, &recipe, &twice, &status), RPC_OK);
    if (once.size != twice.size || memcmp(once.bytes, twice.bytes, once.size) != 0)
        fail_msg("%s: not the same twice", what);
    media_result_done(&once);
    media_result_done(&twice);
    media_recipe_done(&recipe);
}

static void adapts_file(rpc_bytes source, const char *path, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < (full() ? RECIPES : SOME_RECIPES); i++)
        adapts(source, recipes[i], path);
}

TEST(real_avatars_are_adapted_and_lose_nothing_that_was_asked_for)
{
    each_avatar(some_files, sizeof some_files / sizeof *some_files, adapts_file, NULL);
}

/* ---- morph targets and animations by name ---- */

static media_result adapted(const char *name, const char *text)
{
    char path[4096];
    size_t size = 0;
    media_result result = {0};
    rpc_status status = {0};
    snprintf(path, sizeof path, "%s/%s", test_data("avatars"), name);
    uint8_t *file = file_bytes(path, &size);
    media_recipe recipe = recipe_of(text, size);
    if (media_adapt(rpc_bytes_of(file, size), &recipe, &result, &status) != RPC_OK)
        fail_msg("%s %s: %s", name, text, status.message);
    media_recipe_done(&recipe);
    free(file);
    return result;
}

static void has(const char *name, const char *text, uint32_t morphs, uint32_t animations)
{
    media_result result = adapted(name, text);
    if (result.figures.morph_targets != morphs || result.figures.animations != animations)
        fail_msg("%s %s: %u morph targets, %u animations", name, text, result.figures.morph_targets,
            result.figures.animations);
    media_result_done(&result);
}

TEST(morph_targets_and_animations_are_kept_by_name)
{
    has("morph-stress-embedded.gltf", "{\"morph_targets\":{\"names\":[\"Key 2\",\"Key 5\"]}}", 2,
        3);
    has("morph-stress-embedded.gltf", "{\"morph_targets\":{\"names\":[]}}", 0, 0);
    has("morph-stress-embedded.gltf", "{\"animations\":[\"Pulse\"]}", 8, 1);
    has("morph-stress-embedded.gltf", "{\"animations\":[]}", 8, 0);
    has("fox.glb", "{\"animations\":[\"Run\",\"Walk\"]}", 0, 2);
}

TEST(vrm_expressions_keep_what_they_bind)
{
    media_result all = adapted("vrm0-godette.vrm", "{\"lod\":1}");
    media_result some = adapted("vrm0-godette.vrm", "{\"morph_targets\":{\"groups\":[\"vrm\"]}}");
    assert_string_equal(some.figures.vrm, "0.x");
    assert_true(some.figures.morph_targets > 0);
    assert_true(some.figures.morph_targets <= all.figures.morph_targets);
    media_result_done(&all);
    media_result_done(&some);
}

/* ---- what nobody sees ---- */

/* A second mesh that no node has, of the same vertices: a strip of so many triangles. */
#define STRIP(count) "{\"primitives\":[{\"mode\":5,\"attributes\":{\"POSITION\":" #count "}}]}"

TEST(a_mesh_that_no_node_has_takes_no_triangles_of_the_others)
{
    static const char document[] =
        "{\"asset\":{\"version\":\"2.0\"},\"scenes\":[{\"nodes\":[0]}],\"nodes\":[{\"mesh\":0}],"
        "\"meshes\":[" STRIP(0) "," STRIP(1) "],\"accessors\":["
                                             "{\"componentType\":5126,\"count\":42,\"type\":"
                                             "\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},"
                                             "{\"componentType\":5126,\"count\":102,\"type\":"
                                             "\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]}]}";
    media_result result;
    rpc_status status = {0};
    media_recipe recipe = recipe_of("{\"max_triangles\":60}", 0);
    if (media_adapt(rpc_bytes_str(document), &recipe, &result, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(result.source.triangles, 140);
    assert_int_equal(result.figures.triangles, 40);
    assert_string_equal(result.why, "");
    media_result_done(&result);
    media_recipe_done(&recipe);
}

/* ---- what cannot be ---- */

static void refused(rpc_bytes source, const char *text, rpc_code code, const char *word)
{
    media_result result;
    rpc_status status = {0};
    media_recipe recipe = recipe_of(text, source.size);
    assert_int_equal(media_adapt(source, &recipe, &result, &status), code);
    if (!strstr(status.message, word))
        fail_msg("'%s' does not say %s", status.message, word);
    media_recipe_done(&recipe);
}

/* ---- what nobody here unpacks ---- */

/* The view of the first Draco primitive, or of the first image. */
static size_t packed_view(const media__gltf *gltf)
{
    const json_t *mesh = media__gltf_entry(gltf, "meshes", 0);
    const json_t *draco = media__get_extension(
        json_array_get(json_object_get(mesh, "primitives"), 0), "KHR_draco_mesh_compression");
    const json_t *view = json_object_get(
        draco ? draco : media__gltf_entry(gltf, "images", 0), "bufferView");
    assert_non_null(view);
    return (size_t)json_integer_value(view);
}

static void goes_through_as_it_is(const char *name, const char *text)
{
    media__gltf gltf;
    size_t size = 0;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", test_data("avatars"), name);
    uint8_t *file = file_bytes(path, &size);
    assert_int_equal(media__gltf_read(rpc_bytes_of(file, size), &gltf, NULL), RPC_OK);
    const rpc_bytes packed = media__view_bytes(&gltf, packed_view(&gltf));
    media_result result = adapted(name, text);
    if (!memmem(result.bytes, result.size, packed.data, packed.size))
        fail_msg("%s %s: other bytes", name, text);
    if (!result.why[0])
        fail_msg("%s %s: keeps more than was asked for, and does not say so", name, text);
    media_result_done(&result);
    media__gltf_done(&gltf);
    free(file);
}

TEST(draco_and_ktx2_go_through_as_they_are_to_who_takes_them_and_to_nobody_else)
{
    static const struct {
        const char *name, *extension;
    } files[] = {{"box-draco.glb", "KHR_draco_mesh_compression"},
        {"mannequiny-draco.glb", "KHR_draco_mesh_compression"},
        {"fox-ktx2.glb", "KHR_texture_basisu"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512], text[256];
        size_t size = 0;
        snprintf(path, sizeof path, "%s/%s", test_data("avatars"), files[i].name);
        uint8_t *file = file_bytes(path, &size);
        refused(rpc_bytes_of(file, size),
            "{\"preset\":\"low\",\"accept\":{\"extensions\":[\"EXT_texture_webp\"]}}",
            RPC_FAILED_PRECONDITION, files[i].extension);
        free(file);
        snprintf(text, sizeof text, "{\"preset\":\"low\",\"accept\":{\"extensions\":[\"%s\"]}}",
            files[i].extension);
        goes_through_as_it_is(files[i].name, text);
        goes_through_as_it_is(files[i].name, "{\"preset\":\"low\"}");
    }
}

/* ---- a budget of bytes ---- */

TEST(a_budget_costs_nothing_that_compression_saves_where_the_client_decodes_it)
{
    media_result result = adapted("mannequiny.glb",
        "{\"max_bytes\":1400000,\"accept\":{\"extensions\":[\"EXT_meshopt_compression\"]}}");
    assert_int_equal(result.figures.triangles, result.source.triangles);
    assert_int_equal(result.figures.extensions_required.count, 1);
    assert_in_range(result.size, 1, 1400000);
    media_result_done(&result);
}

TEST(a_budget_of_who_decodes_plain_gltf_costs_triangles_and_no_more_than_it_must)
{
    media_result result = adapted("mannequiny.glb", "{\"max_bytes\":1400000,\"accept\":{}}");
    assert_int_equal(result.figures.extensions_required.count, 0);
    assert_in_range(
        result.figures.triangles, result.source.triangles / 2, result.source.triangles - 1);
    assert_int_equal(result.figures.animations, result.source.animations);
    assert_in_range(result.size, 1400000 * 9 / 10, 1400000);
    media_result_done(&result);
}

/* With half of each side 27 kB: there is room for twice the pixels. */
TEST(a_budget_costs_no_more_pixels_than_it_must)
{
    media_result result = adapted("vrm1-mtoon-uv.vrm", "{\"max_bytes\":49385,\"accept\":{}}");
    assert_int_equal(result.source.texture_size, 512);
    assert_in_range(result.figures.texture_size, 257, 511);
    assert_in_range(result.size, 49385 * 3 / 4, 49385);
    assert_int_equal(result.figures.images, result.source.images);
    media_result_done(&result);
    /* room is left, and not for an eighth of a side more */
    result = adapted("vrm1-mtoon-uv.vrm", "{\"max_bytes\":28500,\"accept\":{}}");
    assert_int_equal(result.figures.texture_size, 256);
    media_result_done(&result);
}

TEST(a_budget_below_what_animations_take_is_refused_with_their_number)
{
    size_t size = 0;
    uint8_t *file = file_bytes(test_data("avatars/godot-platformer-robot.glb"), &size);
    refused(rpc_bytes_of(file, size), "{\"max_bytes\":100000}", RPC_FAILED_PRECONDITION,
        "of which animations take");
    refused(rpc_bytes_of(file, size), "{\"max_bytes\":100000}", RPC_FAILED_PRECONDITION,
        "max_bytes: 100000");
    refused(rpc_bytes_of(file, size), "{\"max_bytes\":100000}", RPC_FAILED_PRECONDITION,
        "; let numbers be rounded (quantization: standard), or drop animations");
    refused(rpc_bytes_of(file, size), "{\"max_bytes\":10000,\"quantization\":\"standard\"}",
        RPC_FAILED_PRECONDITION, "; drop animations");
    refused(rpc_bytes_of(file, size), "{\"max_bytes\":1000,\"animations\":[]}",
        RPC_FAILED_PRECONDITION, " bytes; ask for more");
    free(file);
}

/* With "drop morph targets" for an avatar that has none nobody could do anything. */
TEST(a_budget_out_of_reach_is_refused_with_what_helps_this_avatar)
{
    static const struct {
        const char *name, *recipe, *words;
    } cases[] = {
        {"vrm1-mtoon-uv.vrm", "{\"max_bytes\":1100}", " bytes; drop texture channels"},
        {"vrm1-mtoon-uv.vrm", "{\"max_bytes\":1100}", ": what is neither mesh nor picture has "},
        {"vrm0-emission.vrm", "{\"max_bytes\":1100,\"quantization\":\"standard\"}",
            " bytes; ask for more"},
        {"fox.glb", "{\"max_bytes\":1100,\"quantization\":\"standard\"}",
            "; drop animations or texture channels"},
        {"fox.glb", "{\"max_bytes\":7000,\"animations\":[]}", ": the smallest variant tried has "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        size_t size = 0;
        snprintf(path, sizeof path, "%s/%s", test_data("avatars"), cases[i].name);
        uint8_t *file = file_bytes(path, &size);
        refused(rpc_bytes_of(file, size), cases[i].recipe, RPC_FAILED_PRECONDITION, cases[i].words);
        free(file);
    }
}

TEST(what_is_no_avatar_is_refused)
{
    refused(rpc_bytes_str("no avatar"), "{\"lod\":1}", RPC_UNIMPLEMENTED, "neither glTF");
    refused(rpc_bytes_str("{\"asset\":{}}"), "{\"lod\":1}", RPC_INVALID_ARGUMENT, "gltf");
    refused(rpc_bytes_str("glTF"), "{\"lod\":1}", RPC_INVALID_ARGUMENT, "gltf");
}
