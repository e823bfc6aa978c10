/* SPDX-License-Identifier: Apache-2.0 */
/* Options become members of the recipe's JSON, which media/recipe judges as it does any other:
 * there is one reader of recipes. */
#include "recipe_options.h"

#include "cleanup.h"

#include <string.h>

enum {
    OPTION_PRESET = 768,
    OPTION_LOD,
    OPTION_MAX_TRIANGLES,
    OPTION_MAX_BYTES,
    OPTION_TEXTURE_SIZE,
    OPTION_TEXTURE_FORMAT,
    OPTION_TEXTURE_QUALITY,
    OPTION_TEXTURE_CHANNELS,
    OPTION_BASE,
    OPTION_MESH_COMPRESSION,
    OPTION_QUANTIZATION,
    OPTION_MORPH_TARGETS,
    OPTION_ANIMATIONS,
    OPTION_ACCEPT_EXTENSIONS,
    OPTION_ACCEPT_MEDIA_TYPES,
    OPTION_RECIPE
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What the device can use:", 2},
    {"preset", OPTION_PRESET, "NAME", 0,
        "low, medium or high: textures of 256, 512 or 1024 px and LOD 2, 1 or 0, where no other "
        "option says",
        2},
    {"lod", OPTION_LOD, "N", 0, "level of detail: 0 all, 1 half, 2 a quarter of the triangles", 2},
    {"max-triangles", OPTION_MAX_TRIANGLES, "N", 0, "instead of --lod", 2},
    {"max-bytes", OPTION_MAX_BYTES, "N", 0, "of the whole file; also as 500k or 2M", 2},
    {"texture-size", OPTION_TEXTURE_SIZE, "N", 0, "px of the longer side at most (16 to 8192)", 2},
    {"texture-format", OPTION_TEXTURE_FORMAT, "NAME", 0, "webp, jpeg or png; default: as it is", 2},
    {"texture-quality", OPTION_TEXTURE_QUALITY, "N", 0, "1 to 100 of webp and jpeg (80)", 2},
    {"texture-channels", OPTION_TEXTURE_CHANNELS, "LIST", 0,
        "those to keep, with commas: baseColor, normal, metallicRoughness, occlusion, emissive", 2},
    {"base", OPTION_BASE, NULL, 0, "the base avatar: geometry, skeleton, materials", 2},
    {"mesh-compression", OPTION_MESH_COMPRESSION, "NAME", 0, "meshopt or none; default: as it is",
        2},
    {"quantization", OPTION_QUANTIZATION, "NAME", 0,
        "standard: numbers of meshes and animations may be rounded; default: all are exact", 2},
    {"morph-targets", OPTION_MORPH_TARGETS, "LIST", 0,
        "those to keep, with commas: names (dacm inspect --names), and the groups arkit, oculus, "
        "vrm; or "
        "none",
        2},
    {"animations", OPTION_ANIMATIONS, "LIST", 0,
        "those to keep, with commas; or none; dacm inspect --names has them", 2},
    {"accept-extensions", OPTION_ACCEPT_EXTENSIONS, "LIST", 0,
        "of glTF, that the device decodes; default: any", 2},
    {"accept-media-types", OPTION_ACCEPT_MEDIA_TYPES, "LIST", 0,
        "that the device decodes; default: any", 2},
    {"recipe", OPTION_RECIPE, "FILE", 0, "a recipe in JSON; the options above go before it", 2},
    {0},
};

/* ---- members --------------------------------------------------------------------------------- */

static void set(struct argp_state *state, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        argp_failure(state, CLI_EXIT_LIMIT, 0, "no memory for the recipe");
}

/** An object inside the recipe, made where it is new. */
static json_t *inside(struct argp_state *state, json_t *members, const char *name)
{
    if (!json_object_get(members, name))
        set(state, members, name, json_object());
    return json_object_get(members, name);
}

static void append(struct argp_state *state, json_t *array, const char *word)
{
    if (json_array_append_new(array, json_string(word)) != 0)
        argp_error(state, "'%s' is no text", word);
}

static bool is_none(const char *list)
{
    return strcmp(list, "none") == 0 || !list[0];
}

/** "a,b,c" as an array; "none" as an empty one. */
static json_t *words_of(struct argp_state *state, char *list)
{
    json_t *array = json_array();
    char *save = NULL;
    if (!is_none(list))
        for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save))
            append(state, array, word);
    return array;
}

static void set_morph_targets(struct argp_state *state, json_t *members, char *list)
{
    static const char *const group_names[] = {"arkit", "oculus", "vrm"};
    json_t *morphs = inside(state, members, "morph_targets");
    json_t *groups = json_array(), *names = json_array();
    char *save = NULL;
    char *word = is_none(list) ? NULL : strtok_r(list, ",", &save);
    for (; word; word = strtok_r(NULL, ",", &save)) {
        bool group = false;
        for (size_t i = 0; i < sizeof group_names / sizeof *group_names; i++)
            group = group || strcmp(word, group_names[i]) == 0;
        append(state, group ? groups : names, word);
    }
    set(state, morphs, "groups", groups);
    set(state, morphs, "names", names);
}

/** "500k" and "2M" too, where bytes are counted. */
static uint64_t number_of(struct argp_state *state, int key, const char *text)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"k", 1000}, {"kB", 1000}, {"M", 1000000}, {"MB", 1000000}};
    char digits[24];
    const size_t count = strspn(text, "0123456789");
    uint64_t factor = 1;
    for (size_t i = 0; key == OPTION_MAX_BYTES && i < sizeof units / sizeof *units; i++)
        if (strcmp(text + count, units[i].unit) == 0)
            factor = units[i].bytes;
    snprintf(digits, sizeof digits, "%.*s", (int)count, text);
    const uint64_t number = cli_number(state, factor > 1 ? digits : text);
    if (number > INT64_MAX / factor)
        argp_error(state, "'%s' is too large", text);
    if (number == 0 && key != OPTION_LOD)
        argp_error(state, "0 says nothing; leave the option out to keep what the avatar has");
    return number * factor;
}

static bool set_number(struct argp_state *state, json_t *members, int key, const char *text)
{
    static const struct {
        int key;
        const char *member;
    } numbers[] = {{OPTION_LOD, "lod"}, {OPTION_MAX_TRIANGLES, "max_triangles"},
        {OPTION_MAX_BYTES, "max_bytes"}, {OPTION_TEXTURE_SIZE, "texture_size_limit"},
        {OPTION_TEXTURE_QUALITY, "texture_quality"}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].key == key) {
            set(state, members, numbers[i].member,
                json_integer((json_int_t)number_of(state, key, text)));
            return true;
        }
    return false;
}

/** One whose value is a word; "keep" says nothing. */
static bool set_word(struct argp_state *state, json_t *members, int key, const char *word)
{
    static const struct {
        int key;
        const char *member;
    } words[] = {{OPTION_PRESET, "preset"}, {OPTION_TEXTURE_FORMAT, "texture_format"},
        {OPTION_MESH_COMPRESSION, "mesh_compression"}, {OPTION_QUANTIZATION, "quantization"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].key == key) {
            if (strcmp(word, "keep") != 0)
                set(state, members, words[i].member, json_string(word));
            return true;
        }
    return false;
}

static error_t take(int key, char *argument, struct argp_state *state)
{
    cli_recipe *recipe = state->input;
    json_t *members = recipe->members;
    switch (key) {
    case OPTION_BASE:
        set(state, members, "base", json_true());
        return 0;
    case OPTION_TEXTURE_CHANNELS:
        set(state, members, "texture_channels", words_of(state, argument));
        return 0;
    case OPTION_MORPH_TARGETS:
        set_morph_targets(state, members, argument);
        return 0;
    case OPTION_ANIMATIONS:
        set(state, members, "animations", words_of(state, argument));
        return 0;
    case OPTION_ACCEPT_EXTENSIONS:
        set(state, inside(state, members, "accept"), "extensions", words_of(state, argument));
        return 0;
    case OPTION_ACCEPT_MEDIA_TYPES:
        set(state, inside(state, members, "accept"), "media_types", words_of(state, argument));
        return 0;
    case OPTION_RECIPE:
        recipe->file = argument;
        return 0;
    default:
        return set_number(state, members, key, argument) || set_word(state, members, key, argument)
                   ? 0
                   : ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    cli_recipe *recipe = state->input;
    if (key < OPTION_PRESET || key > OPTION_RECIPE)
        return ARGP_ERR_UNKNOWN;
    if (!recipe->members && !(recipe->members = json_object()))
        argp_failure(state, CLI_EXIT_LIMIT, 0, "no memory for the recipe");
    return take(key, argument, state);
}

const struct argp cli_recipe_argp = {.options = options, .parser = parse};

/* ---- the recipe ------------------------------------------------------------------------------ */

void cli_recipe_done(cli_recipe *recipe)
{
    json_decref(recipe->members);
    *recipe = (cli_recipe){0};
}

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static int fail(const cli_context *cli, const rpc_status *status)
{
    dacm_error error;
    cli_fail_status(&error, status);
    return cli_fail(cli, &error);
}

/** What the file says, where options do not. */
static int add_file(const cli_context *cli, const char *path, json_t *members)
{
    RPC_AUTOFREE char *text = NULL;
    media_recipe recipe;
    rpc_status status;
    int code = cli_read_file(cli, path, MEDIA_RECIPE_ROOM - 1, &text);
    if (code != CLI_EXIT_OK)
        return code;
    if (media_recipe_read(rpc_bytes_str(text), &recipe, &status) != RPC_OK)
        return fail(cli, &status);
    media_recipe_done(&recipe);
    RPC_CLEANUP(json_freep) json_t *object = json_loads(text, 0, NULL);
    return object && json_object_update_missing(members, object) == 0
               ? CLI_EXIT_OK
               : cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory for the recipe");
}

int cli_recipe_text(
    const cli_context *cli, const cli_recipe *given, char ret_text[MEDIA_RECIPE_ROOM])
{
    RPC_CLEANUP(json_freep)
    json_t *members = given->members ? json_deep_copy(given->members) : json_object();
    const int code = given->file && members ? add_file(cli, given->file, members) : CLI_EXIT_OK;
    if (code != CLI_EXIT_OK)
        return code;
    RPC_AUTOFREE char *text = json_dumps(members, JSON_COMPACT);
    if (!text)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory for the recipe");
    media_recipe recipe;
    rpc_status status;
    rpc_code read = media_recipe_read(rpc_bytes_str(text), &recipe, &status);
    if (read != RPC_OK)
        return fail(cli, &status);
    read = media_recipe_write(&recipe, ret_text, &status);
    media_recipe_done(&recipe);
    return read == RPC_OK ? CLI_EXIT_OK : fail(cli, &status);
}
