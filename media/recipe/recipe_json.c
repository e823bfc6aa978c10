/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes as JSON. The canonical form is what RFC 8785 makes of it: members sorted, no white
 * space, integers only. */
#include "media_recipe.h"

#include "cleanup.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static const char *const preset_words[] = {NULL, "low", "medium", "high"};
static const char *const format_words[] = {NULL, "webp", "jpeg", "png"};
static const char *const compression_words[] = {NULL, "none", "meshopt"};
static const char *const quantization_words[] = {"keep", "standard"};
static const char *const channel_words[] = {
    "baseColor", "normal", "metallicRoughness", "occlusion", "emissive"};
static const char *const group_words[] = {"arkit", "oculus", "vrm"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- writing --------------------------------------------------------------------------------- */

/* Of a failed allocation jansson makes NULL, and of each call with NULL an error: one check. */
static int put_number(json_t *object, const char *name, uint64_t value)
{
    return value ? json_object_set_new(object, name, json_integer((json_int_t)value)) : 0;
}

static int put_word(json_t *object, const char *name, const char *word)
{
    return word ? json_object_set_new(object, name, json_string(word)) : 0;
}

static int put_bits(
    json_t *object, const char *name, unsigned bits, const char *const *words, size_t count)
{
    json_t *array = json_array();
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        if (bits & 1U << i)
            failed |= json_array_append_new(array, json_string(words[i]));
    return failed | json_object_set_new(object, name, array);
}

static int put_names(json_t *object, const char *name, const media_names *names)
{
    json_t *array = json_array();
    int failed = 0;
    for (size_t i = 0; i < names->count; i++)
        failed |= json_array_append_new(array, json_string(names->list[i]));
    return failed | json_object_set_new(object, name, array);
}

static int put_morphs(json_t *json, const media_recipe *r)
{
    json_t *morphs = json_object();
    int failed = put_bits(morphs, "groups", r->morph_groups, group_words, COUNT(group_words));
    failed |= put_names(morphs, "names", &r->morph_targets);
    return failed | json_object_set_new(json, "morph_targets", morphs);
}

static int put_accept(json_t *json, const media_recipe *r)
{
    json_t *accept = json_object();
    int failed = put_names(accept, "extensions", &r->accept_extensions);
    failed |= put_names(accept, "media_types", &r->accept_media_types);
    return failed | json_object_set_new(json, "accept", accept);
}

static int put_all(json_t *json, const media_recipe *r)
{
    int failed = put_number(json, "lod", r->lod > 0 ? (uint64_t)r->lod : 0);
    failed |= put_number(json, "max_triangles", r->max_triangles);
    failed |= put_number(json, "texture_size_limit", r->texture_size_limit);
    failed |= put_word(json, "texture_format", format_words[r->texture_format]);
    failed |= put_number(json, "texture_quality", r->texture_quality);
    failed |= put_word(json, "mesh_compression", compression_words[r->mesh_compression]);
    if (r->quantization != MEDIA_QUANTIZATION_KEEP)
        failed |= put_word(json, "quantization", quantization_words[r->quantization]);
    failed |= put_number(json, "max_bytes", r->max_bytes);
    if (r->base)
        failed |= json_object_set_new(json, "base", json_true());
    if (r->texture_channels != MEDIA_CHANNELS_ALL)
        failed |= put_bits(
            json, "texture_channels", r->texture_channels, channel_words, COUNT(channel_words));
    if (r->some_morph_targets)
        failed |= put_morphs(json, r);
    if (r->some_animations && !r->base)
        failed |= put_names(json, "animations", &r->animations);
    if (r->accepts_some)
        failed |= put_accept(json, r);
    return failed;
}

rpc_code media_recipe_write(const media_recipe *recipe, char *ret_text, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *json = json_object();
    if (!json || put_all(json, recipe) != 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "recipe: no memory");
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_SORT_KEYS);
    if (size == 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "recipe: no memory");
    if (size >= MEDIA_RECIPE_ROOM)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: its canonical form has %zu bytes, at most %d are taken; name fewer morph "
            "targets, animations and extensions",
            size, MEDIA_RECIPE_ROOM - 1);
    json_dumpb(json, ret_text, size, JSON_COMPACT | JSON_SORT_KEYS);
    ret_text[size] = '\0';
    return RPC_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static rpc_code wrong(rpc_status *reterr, const char *field, const char *form)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "recipe: %s: not %s", field, form);
}

static rpc_code take_number(
    const json_t *value, const char *field, uint64_t max, uint64_t *ret, rpc_status *reterr)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: %s: not a whole number from 0 to %llu", field, (unsigned long long)max);
    *ret = (uint64_t)number;
    return RPC_OK;
}

/* The place of a word in words, or -1. */
static int word_at(const json_t *value, const char *const *words, size_t count)
{
    for (size_t i = 0; json_is_string(value) && i < count; i++)
        if (words[i] && strcmp(words[i], json_string_value(value)) == 0)
            return (int)i;
    return -1;
}

/* Says which words there are. */
static rpc_code not_among(const json_t *value, const char *field, const char *const *words,
    size_t count, rpc_status *reterr)
{
    char shown[48], list[96];
    size_t at = 0;
    snprintf(shown, sizeof shown, "%s", json_is_string(value) ? json_string_value(value) : "");
    rpc_text_printable(shown);
    for (size_t i = 0; i < count; i++)
        if (words[i] && at < sizeof list)
            at += (size_t)snprintf(
                list + at, sizeof list - at, "%s%s", at > 0 ? ", " : "", words[i]);
    return json_is_string(value)
               ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "recipe: %s: '%s' is not known here; there are %s", field, shown, list)
               : rpc_status_set(
                     reterr, RPC_INVALID_ARGUMENT, "recipe: %s: not a word of %s", field, list);
}

static rpc_code take_word(const json_t *value, const char *field, const char *const *words,
    size_t count, int *ret, rpc_status *reterr)
{
    *ret = word_at(value, words, count);
    return *ret >= 0 ? RPC_OK : not_among(value, field, words, count, reterr);
}

static rpc_code take_bits(const json_t *value, const char *field, const char *const *words,
    size_t count, unsigned *ret, rpc_status *reterr)
{
    if (!json_is_array(value))
        return wrong(reterr, field, "an array");
    *ret = 0;
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(value, i, entry)
    {
        int bit = word_at(entry, words, count);
        if (bit < 0)
            return not_among(entry, field, words, count, reterr);
        *ret |= 1U << bit;
    }
    return RPC_OK;
}

static rpc_code take_names(
    const json_t *value, const char *field, media_names *ret, rpc_status *reterr)
{
    if (!json_is_array(value))
        return wrong(reterr, field, "an array");
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(value, i, entry)
    {
        if (!json_is_string(entry))
            return wrong(reterr, field, "an array of strings");
        rpc_bytes name = rpc_bytes_of(json_string_value(entry), json_string_length(entry));
        rpc_code code = media_names_add(ret, name, reterr);
        if (code)
            return code;
    }
    return RPC_OK;
}

static rpc_code unknown(rpc_status *reterr, const char *inside, const char *name)
{
    char shown[65];
    snprintf(shown, sizeof shown, "%s", name);
    rpc_text_printable(shown);
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "recipe: '%s%s' is not known here", inside, shown);
}

static rpc_code take_morphs(json_t *value, media_recipe *r, rpc_status *reterr)
{
    if (!json_is_object(value))
        return wrong(reterr, "morph_targets", "an object with `groups` and `names`");
    r->some_morph_targets = true;
    const char *name = NULL;
    json_t *member = NULL;
    rpc_code code = RPC_OK;
    json_object_foreach(value, name, member)
    {
        if (strcmp(name, "groups") == 0)
            code = take_bits(member, "morph_targets.groups", group_words, COUNT(group_words),
                &r->morph_groups, reterr);
        else if (strcmp(name, "names") == 0)
            code = take_names(member, "morph_targets.names", &r->morph_targets, reterr);
        else
            code = unknown(reterr, "morph_targets.", name);
        if (code)
            return code;
    }
    return RPC_OK;
}

static rpc_code take_accept(json_t *value, media_recipe *r, rpc_status *reterr)
{
    if (!json_is_object(value))
        return wrong(reterr, "accept", "an object with `extensions` and `media_types`");
    r->accepts_some = true;
    const char *name = NULL;
    json_t *member = NULL;
    rpc_code code = RPC_OK;
    json_object_foreach(value, name, member)
    {
        if (strcmp(name, "extensions") == 0)
            code = take_names(member, "accept.extensions", &r->accept_extensions, reterr);
        else if (strcmp(name, "media_types") == 0)
            code = take_names(member, "accept.media_types", &r->accept_media_types, reterr);
        else
            code = unknown(reterr, "accept.", name);
        if (code)
            return code;
    }
    return RPC_OK;
}

/* The members whose value is one number. */
static rpc_code take_figure(
    const json_t *value, const char *name, media_recipe *r, rpc_status *reterr)
{
    uint64_t number = 0;
    rpc_code code = take_number(value, name,
        strcmp(name, "max_bytes") == 0 ? (UINT64_C(1) << 53) - 1 : UINT32_MAX, &number, reterr);
    if (code)
        return code;
    if (strcmp(name, "max_bytes") == 0)
        r->max_bytes = number;
    else if (strcmp(name, "lod") == 0)
        r->lod = number > MEDIA_LOD_MAX ? MEDIA_LOD_MAX + 1 : (int)number; /* settled: refused */
    else if (strcmp(name, "max_triangles") == 0) {
        if (number == 0) /* none at all is no avatar, and all is not what somebody meant */
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "recipe: max_triangles: must be at least 1; leave it out to keep all");
        r->max_triangles = (uint32_t)number;
    } else if (strcmp(name, "texture_size_limit") == 0)
        r->texture_size_limit = (uint32_t)number;
    else
        r->texture_quality = (unsigned)number;
    return RPC_OK;
}

static bool is_figure(const char *name)
{
    static const char *const names[] = {
        "lod", "max_bytes", "max_triangles", "texture_quality", "texture_size_limit"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static rpc_code take_choice(
    const json_t *value, const char *name, media_recipe *r, rpc_status *reterr)
{
    int chosen = 0;
    rpc_code code = RPC_OK;
    if (strcmp(name, "preset") == 0) {
        code = take_word(value, name, preset_words, COUNT(preset_words), &chosen, reterr);
        r->preset = (media_preset)chosen;
    } else if (strcmp(name, "texture_format") == 0) {
        code = take_word(value, name, format_words, COUNT(format_words), &chosen, reterr);
        r->texture_format = (media_texture_format)chosen;
    } else if (strcmp(name, "quantization") == 0) {
        code = take_word(
            value, name, quantization_words, COUNT(quantization_words), &chosen, reterr);
        r->quantization = (media_quantization)chosen;
    } else {
        code = take_word(value, name, compression_words, COUNT(compression_words), &chosen, reterr);
        r->mesh_compression = (media_mesh_compression)chosen;
    }
    return code;
}

static bool is_choice(const char *name)
{
    return strcmp(name, "preset") == 0 || strcmp(name, "texture_format") == 0 ||
           strcmp(name, "mesh_compression") == 0 || strcmp(name, "quantization") == 0;
}

static rpc_code take_member(json_t *value, const char *name, media_recipe *r, rpc_status *reterr)
{
    if (is_figure(name))
        return take_figure(value, name, r, reterr);
    if (is_choice(name))
        return take_choice(value, name, r, reterr);
    if (strcmp(name, "morph_targets") == 0)
        return take_morphs(value, r, reterr);
    if (strcmp(name, "accept") == 0)
        return take_accept(value, r, reterr);
    if (strcmp(name, "texture_channels") == 0)
        return take_bits(
            value, name, channel_words, COUNT(channel_words), &r->texture_channels, reterr);
    if (strcmp(name, "animations") == 0) {
        r->some_animations = true;
        return take_names(value, name, &r->animations, reterr);
    }
    if (strcmp(name, "base") == 0) {
        r->base = json_is_true(value);
        return json_is_boolean(value) ? RPC_OK : wrong(reterr, name, "true or false");
    }
    return unknown(reterr, "", name);
}

rpc_code media_recipe_read(rpc_bytes json, media_recipe *ret, rpc_status *reterr)
{
    if (json.size >= MEDIA_RECIPE_ROOM)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: %zu bytes, at most %d are taken", json.size, MEDIA_RECIPE_ROOM - 1);
    json_error_t error;
    RPC_CLEANUP(json_freep)
    json_t *object = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: not an object of JSON, at byte %d", object ? 0 : error.position);
    media_recipe recipe;
    media_recipe_init(&recipe);
    const char *name = NULL;
    json_t *value = NULL;
    rpc_code code = RPC_OK;
    json_object_foreach(object, name, value)
    {
        code = take_member(value, name, &recipe, reterr);
        if (code)
            break;
    }
    if (!code)
        code = media_recipe_settle(&recipe, reterr);
    if (code)
        media_recipe_done(&recipe);
    else
        *ret = recipe;
    return code;
}
