/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes of requests: what is refused, and that two of them have one digest only when they ask for
 * the same. */
#include "recipe.h"

#include "test.h"

#include <stdlib.h>

typedef struct settled {
    rpc_code code;
    bool original;
    char text[MEDIA_RECIPE_ROOM];
    uint8_t sha256[32];
    rpc_status status;
} settled;

static settled settle(const Dacm__V1__Recipe *recipe)
{
    settled s = {.original = false};
    s.code = dacm_recipe_read(recipe, &s.original, s.text, s.sha256, &s.status);
    return s;
}

static void refused(const Dacm__V1__Recipe *recipe, const char *word)
{
    const settled s = settle(recipe);
    assert_int_equal(s.code, RPC_INVALID_ARGUMENT);
    if (!strstr(s.status.message, word))
        fail_msg("'%s' does not name %s", s.status.message, word);
}

TEST(recipe_that_says_nothing_asks_for_the_original)
{
    Dacm__V1__Recipe recipe = DACM__V1__RECIPE__INIT;
    assert_true(settle(&recipe).original);
    recipe.geometry_case = DACM__V1__RECIPE__GEOMETRY_LOD;
    assert_true(settle(&recipe).original);
}

TEST(preset_is_what_it_stands_for)
{
    Dacm__V1__Recipe preset = DACM__V1__RECIPE__INIT, said = DACM__V1__RECIPE__INIT;
    preset.preset = DACM__V1__PRESET__PRESET_LOW;
    said.geometry_case = DACM__V1__RECIPE__GEOMETRY_LOD;
    said.lod = 2;
    said.texture_size_limit = 256;
    const settled a = settle(&preset), b = settle(&said);
    assert_int_equal(a.code, RPC_OK);
    assert_string_equal(a.text, "{\"lod\":2,\"texture_size_limit\":256}");
    assert_string_equal(a.text, b.text);
    assert_memory_equal(a.sha256, b.sha256, 32);
}

TEST(every_field_reaches_the_only_form)
{
    Dacm__V1__Recipe r = DACM__V1__RECIPE__INIT;
    Dacm__V1__TextureChannels channels = DACM__V1__TEXTURE_CHANNELS__INIT;
    Dacm__V1__MorphTargets morphs = DACM__V1__MORPH_TARGETS__INIT;
    Dacm__V1__StringList animations = DACM__V1__STRING_LIST__INIT;
    Dacm__V1__Accepts accepts = DACM__V1__ACCEPTS__INIT;
    Dacm__V1__TextureChannel channel[] = {DACM__V1__TEXTURE_CHANNEL__TEXTURE_CHANNEL_NORMAL,
        DACM__V1__TEXTURE_CHANNEL__TEXTURE_CHANNEL_BASE_COLOR};
    Dacm__V1__MorphGroup group[] = {DACM__V1__MORPH_GROUP__MORPH_GROUP_VRM_EXPRESSIONS};
    char *names[] = {(char *)(uintptr_t) "smile"}, *walks[] = {(char *)(uintptr_t) "walk"};
    char *extensions[] = {(char *)(uintptr_t) "EXT_texture_webp"};
    char *types[] = {(char *)(uintptr_t) "image/webp"};
    r.geometry_case = DACM__V1__RECIPE__GEOMETRY_MAX_TRIANGLES;
    r.max_triangles = 1000;
    r.texture_size_limit = 512;
    r.texture_format = DACM__V1__TEXTURE_FORMAT__TEXTURE_FORMAT_WEBP;
    r.texture_quality = 70;
    channels.n_channels = 2;
    channels.channels = channel;
    r.texture_channels = &channels;
    morphs.n_groups = morphs.n_names = 1;
    morphs.groups = group;
    morphs.names = names;
    r.morph_targets = &morphs;
    animations.n_values = 1;
    animations.values = walks;
    r.animations = &animations;
    r.mesh_compression = DACM__V1__MESH_COMPRESSION__MESH_COMPRESSION_MESHOPT;
    r.quantization = DACM__V1__QUANTIZATION__QUANTIZATION_STANDARD;
    r.max_bytes = 9;
    accepts.n_extensions = accepts.n_media_types = 1;
    accepts.extensions = extensions;
    accepts.media_types = types;
    r.accepts = &accepts;
    const settled s = settle(&r);
    assert_int_equal(s.code, RPC_OK);
    assert_string_equal(s.text,
        "{\"accept\":{\"extensions\":[\"EXT_texture_webp\"],\"media_types\":[\"image/webp\"]},"
        "\"animations\":[\"walk\"],\"max_bytes\":9,\"max_triangles\":1000,"
        "\"mesh_compression\":\"meshopt\",\"morph_targets\":{\"groups\":[\"vrm\"],\"names\":["
        "\"smile\"]},\"quantization\":\"standard\",\"texture_channels\":[\"baseColor\",\"normal\"],"
        "\"texture_format\":\"webp\","
        "\"texture_quality\":70,\"texture_size_limit\":512}");
}

TEST(what_is_not_known_here_is_refused)
{
    ProtobufCMessageUnknownField field = {.tag = 99};
    Dacm__V1__Recipe r = DACM__V1__RECIPE__INIT;
    r.base.n_unknown_fields = 1;
    r.base.unknown_fields = &field;
    refused(&r, "does not know");
    Dacm__V1__Recipe inner = DACM__V1__RECIPE__INIT;
    Dacm__V1__Accepts accepts = DACM__V1__ACCEPTS__INIT;
    accepts.base.n_unknown_fields = 1;
    accepts.base.unknown_fields = &field;
    inner.accepts = &accepts;
    refused(&inner, ".accepts");
    Dacm__V1__Recipe preset = DACM__V1__RECIPE__INIT;
    preset.preset = (Dacm__V1__Preset)4;
    refused(&preset, "preset");
    Dacm__V1__Recipe negative = DACM__V1__RECIPE__INIT;
    negative.texture_format = (Dacm__V1__TextureFormat)-1;
    refused(&negative, "texture_format");
    Dacm__V1__Recipe quantization = DACM__V1__RECIPE__INIT;
    quantization.quantization = (Dacm__V1__Quantization)2;
    refused(&quantization, "quantization");
    Dacm__V1__Recipe lod = DACM__V1__RECIPE__INIT;
    lod.geometry_case = DACM__V1__RECIPE__GEOMETRY_LOD;
    lod.lod = 3;
    refused(&lod, "lod");
    Dacm__V1__Recipe none = DACM__V1__RECIPE__INIT;
    none.geometry_case = DACM__V1__RECIPE__GEOMETRY_MAX_TRIANGLES;
    refused(&none, "max_triangles");
    Dacm__V1__Recipe channel = DACM__V1__RECIPE__INIT;
    Dacm__V1__TextureChannels channels = DACM__V1__TEXTURE_CHANNELS__INIT;
    Dacm__V1__TextureChannel zero[] = {DACM__V1__TEXTURE_CHANNEL__TEXTURE_CHANNEL_UNSPECIFIED};
    channels.n_channels = 1;
    channels.channels = zero;
    channel.texture_channels = &channels;
    refused(&channel, "texture_channels");
}

TEST(too_many_names_are_refused_before_they_are_copied)
{
    enum { MANY = 100000 };
    Dacm__V1__Recipe r = DACM__V1__RECIPE__INIT;
    Dacm__V1__StringList animations = DACM__V1__STRING_LIST__INIT;
    char **names = calloc(MANY, sizeof *names);
    for (int i = 0; i < MANY; i++)
        names[i] = (char *)(uintptr_t) "walk";
    animations.n_values = MANY;
    animations.values = names;
    r.animations = &animations;
    refused(&r, "animations");
    free(names);
}

/* ---- random recipes ---- */

typedef struct random_recipe {
    Dacm__V1__Recipe message;
    Dacm__V1__StringList animations;
    char *names[3];
} random_recipe;

/* Few values of few fields, so that equal ones are met. */
static void draw(random_recipe *r, unsigned *seed)
{
    static char *const walks[] = {
        (char *)(uintptr_t) "a", (char *)(uintptr_t) "b", (char *)(uintptr_t) "c"};
    dacm__v1__recipe__init(&r->message);
    r->message.preset = (Dacm__V1__Preset)(rand_r(seed) % 4);
    if (rand_r(seed) % 2) {
        r->message.geometry_case = DACM__V1__RECIPE__GEOMETRY_LOD;
        r->message.lod = (uint32_t)(rand_r(seed) % 3);
    }
    r->message.texture_size_limit = rand_r(seed) % 2 ? 256 : 0;
    r->message.texture_quality = rand_r(seed) % 2 ? MEDIA_QUALITY_DEFAULT : 0;
    r->message.base_avatar = rand_r(seed) % 4 == 0;
    if (rand_r(seed) % 2 == 0)
        return;
    dacm__v1__string_list__init(&r->animations);
    r->animations.n_values = (size_t)(rand_r(seed) % 4);
    for (size_t i = 0; i < r->animations.n_values; i++)
        r->names[i] = walks[rand_r(seed) % 3];
    r->animations.values = r->names;
    r->message.animations = &r->animations;
}

/* What is asked for, in a form of this test's own. */
static void meaning(const random_recipe *r, char ret[64])
{
    static const int lods[] = {0, 2, 1, 0}, sizes[] = {0, 256, 512, 1024};
    const Dacm__V1__Recipe *m = &r->message;
    const bool named = m->geometry_case == DACM__V1__RECIPE__GEOMETRY_LOD;
    unsigned walks = 0;
    for (size_t i = 0; m->animations && i < m->animations->n_values; i++)
        walks |= 1u << (m->animations->values[i][0] - 'a');
    const int animations = m->base_avatar ? 0 : m->animations ? (int)walks : -1;
    snprintf(ret, 64, "%d %d %d %d", named ? (int)m->lod : lods[m->preset],
        m->texture_size_limit ? (int)m->texture_size_limit : sizes[m->preset], m->base_avatar,
        animations);
}

TEST(recipes_have_one_digest_exactly_when_they_ask_for_the_same)
{
    enum { COUNT = 400 };
    static random_recipe drawn[COUNT];
    static settled all[COUNT];
    static char meanings[COUNT][64];
    unsigned seed = 33721, equal = 0;
    for (int i = 0; i < COUNT; i++) {
        draw(&drawn[i], &seed);
        all[i] = settle(&drawn[i].message);
        assert_int_equal(all[i].code, RPC_OK);
        meaning(&drawn[i], meanings[i]);
    }
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < i; j++) {
            const bool same = strcmp(meanings[i], meanings[j]) == 0;
            const bool one = all[i].original == all[j].original &&
                             memcmp(all[i].sha256, all[j].sha256, 32) == 0 &&
                             strcmp(all[i].text, all[j].text) == 0;
            if (same != one)
                fail_msg("'%s' and '%s', but %s and %s", meanings[i], meanings[j], all[i].text,
                    all[j].text);
            equal += same;
        }
    assert_true(equal > 100);
}
