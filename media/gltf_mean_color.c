/* SPDX-License-Identifier: Apache-2.0 */
/* A material whose colour was in a picture that goes gets the picture's mean colour, and so do the
 * expressions of a VRM that set this colour. Of what glowed by a picture nothing is left that an
 * expression could make glow. */
#include "gltf_get.h"
#include "gltf_refs.h"
#include "gltf_textures.h"

#include <math.h>
#include <stdlib.h>

#define CHANNELS 4
#define STEPS    1000 /* of a factor: more digits say nothing */

typedef struct mean {
    bool known, none;       /* none: nothing that is decoded here */
    double apart[CHANNELS]; /* linear light and alpha, each channel by itself */
    double shown[CHANNELS]; /* colours weighted by alpha */
} mean;

static const mean black = {.known = true, .apart = {0, 0, 0, 1}, .shown = {0, 0, 0, 1}};

/* ---- of a picture ---------------------------------------------------------------------------- */

static void sum_up(const media__image *image, mean *ret)
{
    double linear[256], sum[CHANNELS] = {0}, weighted[CHANNELS - 1] = {0};
    const size_t count = (size_t)image->width * image->height;
    for (unsigned i = 0; i < 256; i++)
        linear[i] = media__srgb_linear(i);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = image->pixels + CHANNELS * i;
        const double alpha = p[3] / 255.0;
        for (size_t c = 0; c < CHANNELS - 1; c++) {
            sum[c] += linear[p[c]];
            weighted[c] += linear[p[c]] * alpha;
        }
        sum[3] += alpha;
    }
    for (size_t c = 0; c < CHANNELS; c++)
        ret->apart[c] = ret->shown[c] = sum[c] / (double)count;
    for (size_t c = 0; c < CHANNELS - 1 && sum[3] > 0; c++)
        ret->shown[c] = weighted[c] / sum[3];
}

static rpc_code find_mean(const media__gltf *gltf, size_t image, mean *ret, rpc_status *reterr)
{
    const size_t view = media__get_index(media__gltf_entry(gltf, "images", image), "bufferView");
    media__image_info info;
    media__image picture = {.pixels = NULL};
    rpc_status why;
    ret->known = true;
    ret->none = view == MEDIA__NO_INDEX;
    if (ret->none)
        return RPC_OK;
    const rpc_bytes bytes = media__view_bytes(gltf, view);
    rpc_code code = media__image_probe(bytes, &info, &why);
    ret->none = code == RPC_OK && info.kind == MEDIA__IMAGE_KTX2;
    if (ret->none)
        return RPC_OK;
    if (code == RPC_OK)
        code = media__image_read(bytes, false, &picture, &why);
    if (code != RPC_OK)
        return rpc_status_set(reterr, code, "gltf: /images/%zu: %.300s", image, why.message);
    sum_up(&picture, ret);
    media__image_done(&picture);
    return RPC_OK;
}

/* ---- where colours are ----------------------------------------------------------------------- */

/* A colour that a picture multiplies. Unity's shaders, as VRM 0.x has them, have theirs in sRGB. */
static const struct tint {
    unsigned channel;
    enum { PBR, MATERIAL, MTOON, UNITY } where;
    const char *texture, *factor;
    const char *bind; /* what expressions of VRM 1.0 call it */
    size_t numbers;
    double otherwise[CHANNELS]; /* where the file does not say */
} tints[] = {
    {MEDIA_CHANNEL_BASE_COLOR, PBR, "baseColorTexture", "baseColorFactor", "color", 4,
        {1, 1, 1, 1}},
    {MEDIA_CHANNEL_BASE_COLOR, MTOON, "shadeMultiplyTexture", "shadeColorFactor", "shadeColor", 3,
        {1, 1, 1}},
    {MEDIA_CHANNEL_BASE_COLOR, UNITY, "_MainTex", "_Color", NULL, 4, {1, 1, 1, 1}},
    {MEDIA_CHANNEL_BASE_COLOR, UNITY, "_ShadeTexture", "_ShadeColor", NULL, 4,
        {0.97, 0.81, 0.86, 1}},
    {MEDIA_CHANNEL_EMISSIVE, MATERIAL, "emissiveTexture", "emissiveFactor", "emissionColor", 3,
        {0}},
    {MEDIA_CHANNEL_EMISSIVE, UNITY, "_EmissionMap", "_EmissionColor", NULL, 4, {0, 0, 0, 1}},
};
#define TINTS (sizeof tints / sizeof *tints)

typedef struct tinting {
    media__gltf *gltf;
    size_t image_count;
    mean *images;       /* one picture may be of all materials */
    const mean **found; /* of each material's tints; NULL: it has no such picture */
} tinting;

static json_t *beside(const tinting *t, size_t material)
{
    return json_array_get(media__refs_beside(t->gltf, MEDIA__MATERIALS), material);
}

/* The object with the factor. */
static json_t *owner_of(const tinting *t, size_t material, const struct tint *tint)
{
    json_t *json = media__gltf_entry(t->gltf, "materials", material);
    switch (tint->where) {
    case PBR:
        return json_object_get(json, "pbrMetallicRoughness");
    case MTOON:
        return media__get_extension(json, "VRMC_materials_mtoon");
    case UNITY:
        return json_object_get(beside(t, material), "vectorProperties");
    default:
        return json;
    }
}

static size_t texture_of(const tinting *t, size_t material, const struct tint *tint)
{
    return tint->where == UNITY
               ? media__get_index(
                     json_object_get(beside(t, material), "textureProperties"), tint->texture)
               : media__get_index(
                     json_object_get(owner_of(t, material, tint), tint->texture), "index");
}

static size_t image_of(const media__gltf *gltf, size_t texture)
{
    const json_t *json = media__gltf_entry(gltf, "textures", texture);
    const size_t plain = media__get_index(json, "source");
    return plain != MEDIA__NO_INDEX
               ? plain
               : media__get_index(media__get_extension(json, "EXT_texture_webp"), "source");
}

static rpc_code find_tint(tinting *t, size_t material, size_t tint, rpc_status *reterr)
{
    const mean **found = &t->found[material * TINTS + tint];
    const size_t texture = texture_of(t, material, &tints[tint]);
    const size_t image = texture == MEDIA__NO_INDEX ? texture : image_of(t->gltf, texture);
    rpc_code code = RPC_OK;
    if (texture != MEDIA__NO_INDEX && tints[tint].channel == MEDIA_CHANNEL_EMISSIVE)
        *found = &black;
    else if (image < t->image_count) {
        mean *m = &t->images[image];
        if (!m->known)
            code = find_mean(t->gltf, image, m, reterr);
        *found = m->none ? NULL : m;
    }
    return code;
}

/* ---- factors --------------------------------------------------------------------------------- */

static double times(double was, double by, bool srgb)
{
    if (!srgb)
        return was * by;
    const double linear = media__srgb_linear(was * 255) * by;
    return linear <= 0.0031308 ? linear * 12.92 : 1.055 * pow(linear, 1 / 2.4) - 0.055;
}

static bool is_mode(const json_t *material, const char *mode)
{
    const char *has = json_string_value(json_object_get(material, "alphaMode"));
    return strcmp(has ? has : "OPAQUE", mode) == 0;
}

/* Alpha only where it blends: a mean says nothing about what is cut out. */
static rpc_code multiply(const tinting *t, json_t *owner, const char *name, size_t material,
    size_t tint, rpc_status *reterr)
{
    const json_t *json = media__gltf_entry(t->gltf, "materials", material);
    const json_t *old = json_object_get(owner, name);
    const mean *m = t->found[material * TINTS + tint];
    if (!m || !owner)
        return RPC_OK;
    const double *by = is_mode(json, "OPAQUE") ? m->apart : m->shown;
    const size_t count = old ? json_array_size(old) : tints[tint].numbers;
    json_t *factor = json_array();
    int failed = factor ? 0 : -1;
    for (size_t c = 0; !failed && c < count && c < CHANNELS; c++) {
        const double was = old ? json_number_value(json_array_get(old, c))
                               : tints[tint].otherwise[c];
        const double is = c == 3 && !is_mode(json, "BLEND")
                              ? was
                              : times(was, by[c], c < 3 && tints[tint].where == UNITY);
        const double rounded = round(is * STEPS) / STEPS;
        failed = json_array_append_new(factor, json_real(isfinite(rounded) ? rounded : was));
    }
    failed |= json_object_set_new(owner, name, factor);
    return failed ? media__no_memory(reterr) : RPC_OK;
}

static rpc_code tint_material(tinting *t, size_t material, size_t tint, rpc_status *reterr)
{
    json_t *vrm = beside(t, material);
    rpc_code code = find_tint(t, material, tint, reterr);
    if (code == RPC_OK && t->found[material * TINTS + tint] && tints[tint].where == UNITY &&
        !json_object_get(vrm, "vectorProperties") &&
        json_object_set_new(vrm, "vectorProperties", json_object()) != 0)
        return media__no_memory(reterr);
    return code != RPC_OK ? code
                          : multiply(t, owner_of(t, material, &tints[tint]), tints[tint].factor,
                                material, tint, reterr);
}

static rpc_code tint_materials(tinting *t, const media_recipe *recipe, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(t->gltf, "materials"); i++)
        for (size_t k = 0; code == RPC_OK && k < TINTS; k++)
            if (!(recipe->texture_channels & tints[k].channel))
                code = tint_material(t, i, k, reterr);
    return code;
}

/* ---- expressions ----------------------------------------------------------------------------- */

/* VRM 1.0: {"material": 0, "type": "color", "targetValue": […]}. */
static rpc_code tint_binds(const tinting *t, const json_t *expression, rpc_status *reterr)
{
    const json_t *binds = json_object_get(expression, "materialColorBinds");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(binds); i++) {
        json_t *bind = json_array_get(binds, i);
        const char *type = json_string_value(json_object_get(bind, "type"));
        const size_t material = media__get_index(bind, "material");
        for (size_t k = 0; code == RPC_OK && k < TINTS; k++)
            if (type && tints[k].bind && strcmp(type, tints[k].bind) == 0 &&
                material < media__gltf_count(t->gltf, "materials"))
                code = multiply(t, bind, "targetValue", material, k, reterr);
    }
    return code;
}

static rpc_code tint_vrm1(const tinting *t, rpc_status *reterr)
{
    json_t *kinds = json_object_get(media__get_extension(t->gltf->json, "VRMC_vrm"), "expressions");
    const char *name, *of;
    json_t *kind, *expression;
    rpc_code code = RPC_OK;
    json_object_foreach(kinds, name, kind) json_object_foreach(
        kind, of, expression) if (code == RPC_OK) code = tint_binds(t, expression, reterr);
    return code;
}

/* VRM 0.x: {"materialName": "Skin", "propertyName": "_Color", "targetValue": […]}. */
static rpc_code tint_values(
    const tinting *t, const json_t *values, const json_t *numbers, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(values); i++) {
        json_t *value = json_array_get(values, i);
        const char *name = json_string_value(json_object_get(value, "materialName"));
        const char *property = json_string_value(json_object_get(value, "propertyName"));
        const json_t *number = name ? json_object_get(numbers, name) : NULL;
        for (size_t k = 0; code == RPC_OK && number && property && k < TINTS; k++)
            if (tints[k].where == UNITY && strcmp(property, tints[k].factor) == 0)
                code = multiply(
                    t, value, "targetValue", (size_t)json_integer_value(number), k, reterr);
    }
    return code;
}

static rpc_code tint_vrm0(const tinting *t, rpc_status *reterr)
{
    const json_t *groups = json_object_get(
        json_object_get(media__get_extension(t->gltf->json, "VRM"), "blendShapeMaster"),
        "blendShapeGroups");
    json_t *numbers = NULL;
    rpc_code code = groups ? media__refs_materials(t->gltf, &numbers, reterr) : RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(groups); i++)
        code = tint_values(
            t, json_object_get(json_array_get(groups, i), "materialValues"), numbers, reterr);
    json_decref(numbers);
    return code;
}

rpc_code media__textures_mean_color(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    tinting t = {.gltf = gltf, .image_count = media__gltf_count(gltf, "images")};
    t.images = calloc(t.image_count + 1, sizeof *t.images);
    t.found = calloc(media__gltf_count(gltf, "materials") * TINTS + 1, sizeof *t.found);
    rpc_code code = t.images && t.found ? tint_materials(&t, recipe, reterr)
                                        : media__no_memory(reterr);
    if (code == RPC_OK)
        code = tint_vrm1(&t, reterr);
    if (code == RPC_OK)
        code = tint_vrm0(&t, reterr);
    free(t.images);
    free(t.found);
    return code;
}
