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

/* By hand, since every download with a recipe pays for it: twenty times faster than as a tree of
 * values. Members are put in their order. */
typedef struct text {
    size_t size; /* of all that was put, whether it had room or not */
    bool again;  /* a value stands before: a comma is due */
    char data[MEDIA_RECIPE_ROOM];
} text;

static void put_bytes(text *t, const char *bytes, size_t size)
{
    if (t->size + size < sizeof t->data)
        memcpy(t->data + t->size, bytes, size);
    t->size += size;
}

static void begin_value(text *t)
{
    if (t->again)
        put_bytes(t, ",", 1);
    t->again = true;
}

static void begin(text *t, char bracket)
{
    put_bytes(t, &bracket, 1);
    t->again = false;
}

static void end(text *t, char bracket)
{
    put_bytes(t, &bracket, 1);
    t->again = true;
}

/* A settled recipe's names have no control characters: two are left that JSON escapes. */
static void put_string(text *t, const char *string)
{
    begin_value(t);
    put_bytes(t, "\"", 1);
    for (size_t plain; *string; string += plain) {
        plain = strcspn(string, "\"\\");
        put_bytes(t, string, plain);
        if (string[plain]) {
            const char escaped[] = {'\\', string[plain++]};
            put_bytes(t, escaped, sizeof escaped);
        }
    }
    put_bytes(t, "\"", 1);
}

static void put_name(text *t, const char *name)
{
    put_string(t, name);
    put_bytes(t, ":", 1);
    t->again = false;
}

static void put_number(text *t, const char *name, uint64_t value)
{
    char digits[20];
    size_t first = sizeof digits;
    if (value == 0)
        return;
    put_name(t, name);
    for (; value; value /= 10)
        digits[--first] = (char)('0' + value % 10);
    put_bytes(t, digits + first, sizeof digits - first);
    t->again = true;
}

static void put_word(text *t, const char *name, const char *word)
{
    if (!word)
        return;
    put_name(t, name);
    put_string(t, word);
}

static void put_bits(
    text *t, const char *name, unsigned bits, const char *const *words, size_t count)
{
    put_name(t, name);
    begin(t, '[');
    for (size_t i = 0; i < count; i++)
        if (bits & 1U << i)
            put_string(t, words[i]);
    end(t, ']');
}

static void put_names(text *t, const char *name, const media_names *names)
{
    put_name(t, name);
    begin(t, '[');
    for (size_t i = 0; i < names->count; i++)
        put_string(t, names->list[i]);
    end(t, ']');
}

static void put_accept(text *t, const media_recipe *r)
{
    if (!r->accepts_some)
        return;
    put_name(t, "accept");
    begin(t, '{');
    put_names(t, "extensions", &r->accept_extensions);
    put_names(t, "media_types", &r->accept_media_types);
    end(t, '}');
}

static void put_base(text *t, const media_recipe *r)
{
    if (!r->base)
        return;
    put_name(t, "base");
    put_bytes(t, "true", 4);
    t->again = true;
}

static void put_morphs(text *t, const media_recipe *r)
{
    if (!r->some_morph_targets)
        return;
    put_name(t, "morph_targets");
    begin(t, '{');
    put_bits(t, "groups", r->morph_groups, group_words, COUNT(group_words));
    put_names(t, "names", &r->morph_targets);
    end(t, '}');
}

static void put_all(text *t, const media_recipe *r)
{
    begin(t, '{');
    put_accept(t, r);
    if (r->some_animations && !r->base)
        put_names(t, "animations", &r->animations);
    put_base(t, r);
    put_number(t, "lod", r->lod > 0 ? (uint64_t)r->lod : 0);
    put_number(t, "max_bytes", r->max_bytes);
    put_number(t, "max_triangles", r->max_triangles);
    put_word(t, "mesh_compression", compression_words[r->mesh_compression]);
    put_morphs(t, r);
    if (r->quantization != MEDIA_QUANTIZATION_KEEP)
        put_word(t, "quantization", quantization_words[r->quantization]);
    if (r->texture_channels != MEDIA_CHANNELS_ALL)
        put_bits(t, "texture_channels", r->texture_channels, channel_words, COUNT(channel_words));
    put_word(t, "texture_format", format_words[r->texture_format]);
    put_number(t, "texture_quality", r->texture_quality);
    put_number(t, "texture_size_limit", r->texture_size_limit);
    end(t, '}');
}

rpc_code media_recipe_write(const media_recipe *recipe, char *ret_text, rpc_status *reterr)
{
    text t;
    t.size = 0;
    t.again = false;
    put_all(&t, recipe);
    if (t.size >= MEDIA_RECIPE_ROOM)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: its canonical form has %zu bytes, at most %d are taken; name fewer morph "
            "targets, animations and extensions",
            t.size, MEDIA_RECIPE_ROOM - 1);
    memcpy(ret_text, t.data, t.size);
    ret_text[t.size] = '\0';
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
