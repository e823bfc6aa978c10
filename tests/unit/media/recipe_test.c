/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes: one form for what is equal, a sentence for what is wrong. */
#include "test.h"

#include "media_recipe.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_canonical(const char *json, char *ret)
{
    rpc_status status = {0};
    media_recipe recipe;
    if (media_recipe_read(rpc_bytes_str(json), &recipe, &status))
        fail_msg("%s: %s", json, status.message);
    assert_int_equal(media_recipe_write(&recipe, ret, &status), RPC_OK);
    assert_int_equal(media_recipe_is_original(&recipe), strcmp(ret, "{}") == 0);
    media_recipe_done(&recipe);
}

static void assert_canonical(const char *json, const char *expected)
{
    char text[MEDIA_RECIPE_ROOM];
    read_canonical(json, text);
    assert_string_equal(text, expected);
}

static void assert_refused(const char *json, const char *reason)
{
    rpc_status status = {0};
    media_recipe recipe;
    rpc_code code = media_recipe_read(rpc_bytes_str(json), &recipe, &status);
    if (code != RPC_INVALID_ARGUMENT || !strstr(status.message, reason))
        fail_msg("%s: %s: '%s'", json, rpc_code_name(code), status.message);
}

TEST(what_says_nothing_is_the_original)
{
    assert_canonical("{}", "{}");
    assert_canonical("{\"lod\":0}", "{}");
    assert_canonical("{\"texture_quality\":80,\"max_bytes\":0,\"base\":false}", "{}");
    assert_canonical("{\"quantization\":\"keep\"}", "{}");
    assert_canonical("{\"texture_channels\":[\"emissive\",\"occlusion\",\"metallicRoughness\","
                     "\"normal\",\"baseColor\"]}",
        "{}");
}

TEST(preset_is_what_it_stands_for_and_yields_to_what_is_said)
{
    assert_canonical("{\"preset\":\"low\"}", "{\"lod\":2,\"texture_size_limit\":256}");
    assert_canonical("{\"preset\":\"medium\"}", "{\"lod\":1,\"texture_size_limit\":512}");
    assert_canonical("{\"preset\":\"high\"}", "{\"texture_size_limit\":1024}");
    assert_canonical("{\"preset\":\"low\",\"max_triangles\":900}",
        "{\"max_triangles\":900,\"texture_size_limit\":256}");
    assert_canonical("{\"texture_size_limit\":64,\"preset\":\"low\",\"lod\":1}",
        "{\"lod\":1,\"texture_size_limit\":64}");
}

TEST(names_are_sorted_and_stand_once)
{
    assert_canonical(
        "{\"animations\":[\"walk\",\"idle\",\"walk\"]}", "{\"animations\":[\"idle\",\"walk\"]}");
    assert_canonical("{\"morph_targets\":{\"names\":[\"b\",\"a\",\"b\"],\"groups\":[\"vrm\","
                     "\"arkit\",\"vrm\"]}}",
        "{\"morph_targets\":{\"groups\":[\"arkit\",\"vrm\"],\"names\":[\"a\",\"b\"]}}");
    assert_canonical("{\"accept\":{\"media_types\":[\"image/png\"]}}",
        "{\"accept\":{\"extensions\":[],\"media_types\":[\"image/png\"]}}");
}

TEST(none_is_not_all)
{
    assert_canonical("{\"animations\":[]}", "{\"animations\":[]}");
    assert_canonical("{\"morph_targets\":{}}", "{\"morph_targets\":{\"groups\":[],\"names\":[]}}");
    assert_canonical("{\"texture_channels\":[]}", "{\"texture_channels\":[]}");
    assert_canonical("{\"accept\":{}}", "{\"accept\":{\"extensions\":[],\"media_types\":[]}}");
}

/* Whatever is named, the canonical form is what another writer makes of its values. */
TEST(canonical_form_is_compact_json_with_sorted_members)
{
    static const char all[] =
        "{\"texture_size_limit\":8192,\"texture_quality\":1,\"texture_format\":\"webp\","
        "\"texture_channels\":[\"normal\",\"emissive\"],\"quantization\":\"standard\","
        "\"morph_targets\":{\"names\":[\"a\\\"b\\\\c\",\"\\\\\",\"\\\"\",\"/"
        "\",\"\\u00e9\\ud83d\\ude00\"],"
        "\"groups\":[\"oculus\"]},\"mesh_compression\":\"meshopt\",\"max_triangles\":4294967295,"
        "\"max_bytes\":9007199254740991,\"animations\":[\"walk\",\"\\\"idle\\\"\"],\"accept\":{"
        "\"media_types\":[\"image/webp\",\"image/png\"],\"extensions\":[\"EXT_texture_webp\"]}}";
    char text[MEDIA_RECIPE_ROOM];
    read_canonical(all, text);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    char *other = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, other);
    assert_int_equal(json_object_size(json), 11);
    assert_non_null(strstr(text, "\"\xc3\xa9\xf0\x9f\x98\x80\""));
    assert_canonical(text, text);
    free(other);
    json_decref(json);
}

TEST(base_avatar_has_no_animation_whatever_is_named)
{
    assert_canonical("{\"base\":true,\"animations\":[\"walk\"]}", "{\"base\":true}");
}

TEST(png_knows_no_quality)
{
    assert_canonical(
        "{\"texture_format\":\"png\",\"texture_quality\":10}", "{\"texture_format\":\"png\"}");
    assert_canonical("{\"texture_quality\":10,\"texture_format\":\"webp\"}",
        "{\"texture_format\":\"webp\",\"texture_quality\":10}");
}

TEST(wrong_recipe_is_refused_with_the_field)
{
    static const char *const cases[][2] = {
        {"", "not an object"},
        {"[]", "not an object"},
        {"{\"lod\":1,\"lod\":1}", "byte"},
        {"{\"lod\":3}", "lod"},
        {"{\"lod\":-1}", "lod"},
        {"{\"lod\":1.0}", "lod"},
        {"{\"lod\":\"1\"}", "lod"},
        {"{\"lod\":4294967297}", "lod"},
        {"{\"lod\":0,\"max_triangles\":5}", "max_triangles"},
        {"{\"max_triangles\":4294967296}", "max_triangles"},
        {"{\"max_triangles\":0}", "leave it out"},
        {"{\"texture_size_limit\":15}", "texture_size_limit"},
        {"{\"texture_size_limit\":8193}", "texture_size_limit"},
        {"{\"texture_format\":\"ktx2\"}", "texture_format"},
        {"{\"texture_quality\":101}", "texture_quality"},
        {"{\"texture_channels\":\"normal\"}", "texture_channels"},
        {"{\"texture_channels\":[\"colour\"]}", "texture_channels"},
        {"{\"morph_targets\":[]}", "morph_targets"},
        {"{\"morph_targets\":{\"all\":true}}", "morph_targets.all"},
        {"{\"morph_targets\":{\"groups\":[\"face\"]}}", "morph_targets.groups"},
        {"{\"morph_targets\":{\"names\":[\"\"]}}", "entry 0"},
        {"{\"morph_targets\":{\"names\":[\"a\\u0007\"]}}", "entry 0"},
        {"{\"morph_targets\":{\"names\":[1]}}", "strings"},
        {"{\"animations\":\"all\"}", "animations"},
        {"{\"mesh_compression\":\"draco\"}", "mesh_compression"},
        {"{\"quantization\":\"strong\"}", "quantization"},
        {"{\"quantization\":1}", "quantization"},
        {"{\"quantization\":null}", "quantization"},
        {"{\"base\":1}", "base"},
        {"{\"max_bytes\":9007199254740992}", "max_bytes"},
        {"{\"accept\":{\"extensions\":[\"a b\"]}}", "accept.extensions"},
        {"{\"accept\":{\"media_types\":[\"image\"]}}", "accept.media_types"},
        {"{\"accept\":{\"media_types\":[\"image/PNG\"]}}", "accept.media_types"},
        {"{\"accept\":{\"media_types\":[\"image/png; q=1\"]}}", "accept.media_types"},
        {"{\"accept\":[]}", "accept"},
        {"{\"preset\":\"ultra\"}",
            "preset: 'ultra' is not known here; there are low, medium, high"},
        {"{\"preset\":\"\\u001b[2J\"}", "'?[2J'"},
        {"{\"preset\":1}", "preset: not a word of low, medium, high"},
        {"{\"texture_atlas\":1}", "texture_atlas"},
        {"{\"\\u001b[2J\":1}", "'?[2J'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i][0], cases[i][1]);
}

TEST(recipe_that_no_manifest_can_hold_is_refused)
{
    char json[MEDIA_RECIPE_ROOM + 1];
    memset(json, ' ', MEDIA_RECIPE_ROOM);
    json[0] = '{';
    json[MEDIA_RECIPE_ROOM - 1] = '}';
    json[MEDIA_RECIPE_ROOM] = '\0';
    assert_refused(json, "2048 bytes");

    media_recipe recipe;
    media_recipe_init(&recipe);
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "a-rather-long-name-%d", i);
        assert_int_equal(media_names_add(&recipe.animations, rpc_bytes_str(name), NULL), RPC_OK);
    }
    rpc_status status;
    assert_int_equal(media_recipe_settle(&recipe, &status), RPC_OK);
    assert_true(recipe.some_animations);
    assert_int_equal(media_recipe_write(&recipe, json, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "name fewer"));
    media_recipe_done(&recipe);
}

/* ---- any recipe ------------------------------------------------------------------------------ */

static const char *const members[] = {
    "\"lod\":1",
    "\"texture_size_limit\":300",
    "\"texture_format\":\"jpeg\"",
    "\"texture_quality\":33",
    "\"texture_channels\":[\"normal\",\"emissive\"]",
    "\"morph_targets\":{\"names\":[\"z\",\"y\"],\"groups\":[\"oculus\"]}",
    "\"animations\":[\"q\",\"p\",\"q\"]",
    "\"mesh_compression\":\"meshopt\"",
    "\"base\":true",
    "\"quantization\":\"standard\"",
    "\"max_bytes\":123456",
    "\"accept\":{\"extensions\":[\"KHR_texture_transform\",\"EXT_texture_webp\"]}",
};
enum { MEMBERS = sizeof members / sizeof *members };

/* The members of the bits of which, in an order that turn decides. */
static void put_members(unsigned which, unsigned turn, char *ret, size_t room)
{
    size_t at = (size_t)snprintf(ret, room, "{");
    for (unsigned i = 0; i < MEMBERS; i++) {
        unsigned member = (i * 5 + turn) % MEMBERS; /* 5 and 12 have no common factor */
        if (which & 1U << member)
            at += (size_t)snprintf(ret + at, room - at, "%s%s", at > 1 ? "," : "", members[member]);
    }
    snprintf(ret + at, room - at, "}");
}

TEST(equal_recipes_have_equal_bytes_and_different_ones_have_not)
{
    static char texts[1 << MEMBERS][512];
    for (unsigned which = 0; which < 1 << MEMBERS; which++) {
        char json[1024], text[MEDIA_RECIPE_ROOM], again[MEDIA_RECIPE_ROOM];
        put_members(which, 0, json, sizeof json);
        read_canonical(json, text);
        put_members(which, 1 + which % (MEMBERS - 1), json, sizeof json);
        read_canonical(json, again);
        assert_string_equal(text, again);
        read_canonical(text, again); /* it reads itself as itself */
        assert_string_equal(text, again);
        assert_true(rpc_text_copy(texts[which], sizeof texts[which], text));
    }
    const unsigned animations = 1 << 6, base = 1 << 8;
    for (unsigned a = 0; a < 1 << MEMBERS; a++) {
        unsigned b = a ^ 1U << a % MEMBERS;
        bool same = ((a ^ b) == animations) && (a & base); /* the base avatar has none anyway */
        assert_int_equal(strcmp(texts[a], texts[b]) == 0, same);
    }
}
