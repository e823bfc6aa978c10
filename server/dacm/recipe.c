/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe.h"

#include <sodium.h>
#include <string.h>

static rpc_code unknown(rpc_status *reterr, const char *field)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "recipe%s: has a field that this server does not know; leave it out or ask a newer server",
        field);
}

/* Values of enumerations that a newer client knows arrive as their numbers. */
static rpc_code check_known(const Dacm__V1__Recipe *r, rpc_status *reterr)
{
    if (r->base.n_unknown_fields)
        return unknown(reterr, "");
    if (r->texture_channels && r->texture_channels->base.n_unknown_fields)
        return unknown(reterr, ".texture_channels");
    if (r->morph_targets && r->morph_targets->base.n_unknown_fields)
        return unknown(reterr, ".morph_targets");
    if (r->animations && r->animations->base.n_unknown_fields)
        return unknown(reterr, ".animations");
    if (r->accepts && r->accepts->base.n_unknown_fields)
        return unknown(reterr, ".accepts");
    return RPC_OK;
}

static rpc_code take_names(
    char *const *list, size_t count, media_names *names, const char *field, rpc_status *reterr)
{
    /* more than that has no canonical form that fits */
    if (count > MEDIA_RECIPE_ROOM / 3)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "recipe: %s: %zu names; at most %d",
            field, count, MEDIA_RECIPE_ROOM / 3);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = media_names_add(names, rpc_bytes_str(list[i]), reterr);
    return code;
}

static rpc_code take_geometry(const Dacm__V1__Recipe *r, media_recipe *ret, rpc_status *reterr)
{
    ret->preset = (media_preset)r->preset;
    ret->mesh_compression = (media_mesh_compression)r->mesh_compression;
    ret->quantization = (media_quantization)r->quantization;
    ret->base = r->base_avatar;
    ret->max_bytes = r->max_bytes;
    if (r->geometry_case == DACM__V1__RECIPE__GEOMETRY_LOD) {
        if (r->lod > MEDIA_LOD_MAX)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "recipe: lod: %u is not from 0 to %d", r->lod, MEDIA_LOD_MAX);
        ret->lod = (int)r->lod;
    } else if (r->geometry_case == DACM__V1__RECIPE__GEOMETRY_MAX_TRIANGLES) {
        if (r->max_triangles == 0)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "recipe: max_triangles: must be at least 1; leave it out to keep all");
        ret->max_triangles = r->max_triangles;
    }
    return RPC_OK;
}

/* Bits of the values 1..count. */
static rpc_code take_bits(const int *values, size_t value_count, unsigned count, const char *field,
    unsigned *ret, rpc_status *reterr)
{
    *ret = 0;
    for (size_t i = 0; i < value_count; i++) {
        if (values[i] < 1 || (unsigned)values[i] > count)
            return rpc_status_set(
                reterr, RPC_INVALID_ARGUMENT, "recipe: %s: %d is not known here", field, values[i]);
        *ret |= 1u << (values[i] - 1);
    }
    return RPC_OK;
}

static rpc_code take_textures(const Dacm__V1__Recipe *r, media_recipe *ret, rpc_status *reterr)
{
    ret->texture_size_limit = r->texture_size_limit;
    ret->texture_format = (media_texture_format)r->texture_format;
    ret->texture_quality = r->texture_quality;
    if (!r->texture_channels)
        return RPC_OK;
    return take_bits((const int *)r->texture_channels->channels, r->texture_channels->n_channels, 5,
        "texture_channels", &ret->texture_channels, reterr);
}

static rpc_code take_morphs(
    const Dacm__V1__MorphTargets *morphs, media_recipe *ret, rpc_status *reterr)
{
    if (!morphs)
        return RPC_OK;
    ret->some_morph_targets = true;
    rpc_code code = take_bits((const int *)morphs->groups, morphs->n_groups, 3,
        "morph_targets.groups", &ret->morph_groups, reterr);
    return code != RPC_OK ? code
                          : take_names(morphs->names, morphs->n_names, &ret->morph_targets,
                                "morph_targets.names", reterr);
}

static rpc_code take_lists(const Dacm__V1__Recipe *r, media_recipe *ret, rpc_status *reterr)
{
    rpc_code code = take_morphs(r->morph_targets, ret, reterr);
    if (code == RPC_OK && r->animations) {
        ret->some_animations = true;
        code = take_names(
            r->animations->values, r->animations->n_values, &ret->animations, "animations", reterr);
    }
    if (code != RPC_OK || !r->accepts)
        return code;
    ret->accepts_some = true;
    code = take_names(r->accepts->extensions, r->accepts->n_extensions, &ret->accept_extensions,
        "accepts.extensions", reterr);
    return code != RPC_OK ? code
                          : take_names(r->accepts->media_types, r->accepts->n_media_types,
                                &ret->accept_media_types, "accepts.media_types", reterr);
}

static rpc_code settle(
    media_recipe *recipe, bool *ret_original, char *ret_text, uint8_t *ret, rpc_status *reterr)
{
    rpc_code code = media_recipe_settle(recipe, reterr);
    if (code != RPC_OK)
        return code;
    *ret_original = media_recipe_is_original(recipe);
    if (*ret_original)
        return RPC_OK;
    code = media_recipe_write(recipe, ret_text, reterr);
    if (code == RPC_OK) /* of so few bytes OpenSSL's costs more in being set up */
        crypto_hash_sha256(ret, (const uint8_t *)ret_text, strlen(ret_text));
    return code;
}

rpc_code dacm_recipe_read(const Dacm__V1__Recipe *r, bool *ret_original, char *ret_text,
    uint8_t ret_sha256[32], rpc_status *reterr)
{
    media_recipe recipe;
    rpc_code code = check_known(r, reterr);
    if (code != RPC_OK)
        return code;
    media_recipe_init(&recipe);
    code = take_geometry(r, &recipe, reterr);
    if (code == RPC_OK)
        code = take_textures(r, &recipe, reterr);
    if (code == RPC_OK)
        code = take_lists(r, &recipe, reterr);
    if (code == RPC_OK)
        code = settle(&recipe, ret_original, ret_text, ret_sha256, reterr);
    media_recipe_done(&recipe);
    return code;
}
