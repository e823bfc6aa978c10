/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe as a download asks for it. */
#include "recipe.h"

#include <string.h>

/* Bit i is value i + 1 of the enumeration. */
static size_t values_of(unsigned bits, int *ret)
{
    size_t count = 0;
    for (int i = 0; bits >> i; i++)
        if (bits & 1u << i)
            ret[count++] = i + 1;
    return count;
}

static void fill_geometry(const media_recipe *from, Dacm__V1__Recipe *to)
{
    if (from->max_triangles) {
        to->geometry_case = DACM__V1__RECIPE__GEOMETRY_MAX_TRIANGLES;
        to->max_triangles = from->max_triangles;
    } else if (from->lod > 0) {
        to->geometry_case = DACM__V1__RECIPE__GEOMETRY_LOD;
        to->lod = (uint32_t)from->lod;
    }
    to->mesh_compression = (Dacm__V1__MeshCompression)from->mesh_compression;
    to->quantization = (Dacm__V1__Quantization)from->quantization;
    to->base_avatar = from->base;
    to->max_bytes = from->max_bytes;
}

static void fill_textures(client_recipe *r)
{
    const media_recipe *from = &r->recipe;
    r->message.texture_size_limit = from->texture_size_limit;
    r->message.texture_format = (Dacm__V1__TextureFormat)from->texture_format;
    r->message.texture_quality = from->texture_quality;
    if (from->texture_channels == MEDIA_CHANNELS_ALL)
        return;
    dacm__v1__texture_channels__init(&r->channels);
    r->channels.n_channels = values_of(from->texture_channels, r->channel_values);
    r->channels.channels = (Dacm__V1__TextureChannel *)r->channel_values;
    r->message.texture_channels = &r->channels;
}

static void fill_lists(client_recipe *r)
{
    const media_recipe *from = &r->recipe;
    if (from->some_morph_targets) {
        dacm__v1__morph_targets__init(&r->morphs);
        r->morphs.n_groups = values_of(from->morph_groups, r->group_values);
        r->morphs.groups = (Dacm__V1__MorphGroup *)r->group_values;
        r->morphs.n_names = from->morph_targets.count;
        r->morphs.names = from->morph_targets.list;
        r->message.morph_targets = &r->morphs;
    }
    if (from->some_animations && !from->base) {
        dacm__v1__string_list__init(&r->animations);
        r->animations.n_values = from->animations.count;
        r->animations.values = from->animations.list;
        r->message.animations = &r->animations;
    }
    if (from->accepts_some) {
        dacm__v1__accepts__init(&r->accepts);
        r->accepts.n_extensions = from->accept_extensions.count;
        r->accepts.extensions = from->accept_extensions.list;
        r->accepts.n_media_types = from->accept_media_types.count;
        r->accepts.media_types = from->accept_media_types.list;
        r->message.accepts = &r->accepts;
    }
}

dacm_code client__recipe_read(const char *json, client_recipe *ret, dacm_error *reterr)
{
    rpc_status status;
    *ret = (client_recipe){.wanted = false};
    if (!json)
        return DACM_OK;
    if (media_recipe_read(rpc_bytes_str(json), &ret->recipe, &status) != RPC_OK)
        return client__fail(reterr, (dacm_code)status.code, "%s", status.message);
    ret->wanted = !media_recipe_is_original(&ret->recipe);
    if (ret->wanted && media_recipe_write(&ret->recipe, ret->text, &status) != RPC_OK) {
        client__recipe_done(ret);
        return client__fail(reterr, (dacm_code)status.code, "%s", status.message);
    }
    dacm__v1__recipe__init(&ret->message);
    fill_geometry(&ret->recipe, &ret->message);
    fill_textures(ret);
    fill_lists(ret);
    return DACM_OK;
}

void client__recipe_done(client_recipe *recipe)
{
    media_recipe_done(&recipe->recipe);
}
