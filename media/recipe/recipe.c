/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes: their rules and their only form. */
#include "media_recipe.h"

#include <stdlib.h>
#include <string.h>

#define MORPH_GROUPS_ALL                                                                           \
    ((unsigned)(MEDIA_MORPHS_ARKIT | MEDIA_MORPHS_OCULUS_VISEMES | MEDIA_MORPHS_VRM_EXPRESSIONS))

static const struct {
    int lod;
    uint32_t texture_size_limit;
} presets[] = {
    [MEDIA_PRESET_LOW] = {2, 256},
    [MEDIA_PRESET_MEDIUM] = {1, 512},
    [MEDIA_PRESET_HIGH] = {0, 1024},
};

void media_recipe_init(media_recipe *ret)
{
    *ret = (media_recipe){.lod = -1, .texture_channels = MEDIA_CHANNELS_ALL};
}

void media_names_done(media_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (media_names){0};
}

void media_recipe_done(media_recipe *recipe)
{
    media_names_done(&recipe->morph_targets);
    media_names_done(&recipe->animations);
    media_names_done(&recipe->accept_extensions);
    media_names_done(&recipe->accept_media_types);
}

void media_figures_done(media_figures *figures)
{
    media_names_done(&figures->extensions_required);
}

rpc_code media_names_add(media_names *names, rpc_bytes name, rpc_status *reterr)
{
    char *copy = malloc(name.size + 1);
    char **list = realloc(names->list, (names->count + 1) * sizeof *list);
    if (list)
        names->list = list;
    if (!copy || !list) {
        free(copy);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "recipe: no memory");
    }
    if (name.size)
        memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    list[names->count++] = copy;
    return RPC_OK;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool has_control_characters(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            return true;
    return false;
}

static bool is_name(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= MEDIA_NAME_BYTES_MAX && !has_control_characters(text) &&
           rpc_utf8_valid(rpc_bytes_str(text));
}

static bool is_extension(const char *text)
{
    size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return size > 0 && size <= MEDIA_NAME_BYTES_MAX && !text[size];
}

static bool is_media_type(const char *text)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-";
    size_t type = strspn(text, token);
    if (type == 0 || text[type] != '/')
        return false;
    size_t subtype = strspn(text + type + 1, token);
    return subtype > 0 && !text[type + 1 + subtype] && type + subtype < MEDIA_NAME_BYTES_MAX;
}

static rpc_code check_names(const media_names *names, bool (*valid)(const char *),
    const char *field, const char *form, rpc_status *reterr)
{
    for (size_t i = 0; i < names->count; i++)
        if (!valid(names->list[i]))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "recipe: %s: entry %zu is no %s of at most %d bytes", field, i, form,
                MEDIA_NAME_BYTES_MAX);
    return RPC_OK;
}

static rpc_code check_lists(const media_recipe *r, rpc_status *reterr)
{
    rpc_code code = check_names(&r->morph_targets, is_name, "morph_targets", "name", reterr);
    if (!code)
        code = check_names(&r->animations, is_name, "animations", "name", reterr);
    if (!code)
        code = check_names(&r->accept_extensions, is_extension, "accept.extensions",
            "name of a glTF extension", reterr);
    if (!code)
        code = check_names(&r->accept_media_types, is_media_type, "accept.media_types",
            "media type in lower case without parameters", reterr);
    return code;
}

static rpc_code check_textures(const media_recipe *r, rpc_status *reterr)
{
    if (r->texture_size_limit && (r->texture_size_limit < MEDIA_TEXTURE_SIZE_MIN ||
                                     r->texture_size_limit > MEDIA_TEXTURE_SIZE_MAX))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: texture_size_limit: %u is not from %d to %d", r->texture_size_limit,
            MEDIA_TEXTURE_SIZE_MIN, MEDIA_TEXTURE_SIZE_MAX);
    if ((unsigned)r->texture_format > MEDIA_TEXTURE_PNG)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: texture_format: %d is not known here", (int)r->texture_format);
    if (r->texture_quality > 100)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: texture_quality: %u is not from 1 to 100", r->texture_quality);
    if (r->texture_channels & ~(unsigned)MEDIA_CHANNELS_ALL)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "recipe: texture_channels: one is not known here");
    return RPC_OK;
}

static rpc_code check_geometry(const media_recipe *r, rpc_status *reterr)
{
    if ((unsigned)r->preset > MEDIA_PRESET_HIGH)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "recipe: preset: %d is not known here", (int)r->preset);
    if (r->lod < -1 || r->lod > MEDIA_LOD_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "recipe: lod: %d is not from 0 to %d",
            r->lod, MEDIA_LOD_MAX);
    if (r->lod >= 0 && r->max_triangles)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "recipe: lod and max_triangles: ask for one of them");
    if ((unsigned)r->mesh_compression > MEDIA_MESH_MESHOPT)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: mesh_compression: %d is not known here", (int)r->mesh_compression);
    if ((unsigned)r->quantization > MEDIA_QUANTIZATION_STANDARD)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "recipe: quantization: %d is not known here", (int)r->quantization);
    if (r->morph_groups & ~MORPH_GROUPS_ALL)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "recipe: morph_targets: one group is not known here");
    if (r->max_bytes >= UINT64_C(1) << 53)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "recipe: max_bytes: too large");
    return RPC_OK;
}

/* ---- the only form --------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_once(media_names *names)
{
    if (names->count == 0)
        return;
    qsort(names->list, names->count, sizeof *names->list, by_text);
    size_t kept = 1;
    for (size_t i = 1; i < names->count; i++) {
        if (strcmp(names->list[i], names->list[kept - 1]) == 0)
            free(names->list[i]);
        else
            names->list[kept++] = names->list[i];
    }
    names->count = kept;
}

static void apply_preset(media_recipe *r)
{
    if (r->preset == MEDIA_PRESET_NONE)
        return;
    if (r->lod < 0 && !r->max_triangles)
        r->lod = presets[r->preset].lod;
    if (!r->texture_size_limit)
        r->texture_size_limit = presets[r->preset].texture_size_limit;
    r->preset = MEDIA_PRESET_NONE;
}

rpc_code media_recipe_settle(media_recipe *r, rpc_status *reterr)
{
    rpc_code code = check_geometry(r, reterr);
    if (!code)
        code = check_textures(r, reterr);
    if (!code)
        code = check_lists(r, reterr);
    if (code)
        return code;
    apply_preset(r);
    if (r->lod < 0)
        r->lod = 0;
    r->some_morph_targets |= r->morph_groups || r->morph_targets.count;
    r->some_animations |= r->animations.count > 0;
    r->accepts_some |= r->accept_extensions.count || r->accept_media_types.count;
    if (r->texture_quality == MEDIA_QUALITY_DEFAULT || r->texture_format == MEDIA_TEXTURE_PNG)
        r->texture_quality = 0; /* PNG loses nothing */
    if (r->base) {
        r->some_animations = true;
        media_names_done(&r->animations);
    }
    sort_once(&r->morph_targets);
    sort_once(&r->animations);
    sort_once(&r->accept_extensions);
    sort_once(&r->accept_media_types);
    return RPC_OK;
}

bool media_recipe_is_original(const media_recipe *r)
{
    return r->lod <= 0 && !r->max_triangles && !r->texture_size_limit &&
           r->texture_format == MEDIA_TEXTURE_KEEP && !r->texture_quality &&
           r->texture_channels == MEDIA_CHANNELS_ALL && !r->some_morph_targets &&
           !r->some_animations && r->mesh_compression == MEDIA_MESH_AS_SOURCE &&
           r->quantization == MEDIA_QUANTIZATION_KEEP && !r->base && !r->max_bytes &&
           !r->accepts_some && r->preset == MEDIA_PRESET_NONE;
}
