/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an asset. */
#include "asset.h"

#include "gltf_get.h"
#include "vrm.h"

#include <stdlib.h>

/* ---- pictures ---- */

static void count_picture(const media__image_info *info, media_figures *ret)
{
    const uint32_t side = info->width > info->height ? info->width : info->height;
    ret->texture_size = side > ret->texture_size ? side : ret->texture_size;
    ret->texture_pixels += (uint64_t)info->width * info->height;
}

rpc_code media__figures_of_image(rpc_bytes file, media_figures *ret, rpc_status *reterr)
{
    media__image_info info;
    const rpc_code code = media__image_probe(file, &info, reterr);
    if (code != RPC_OK)
        return code;
    *ret = (media_figures){
        .bytes = file.size, .textures = 1, .images = 1, .image_bytes = file.size};
    count_picture(&info, ret);
    return RPC_OK;
}

/* A picture that cannot be read is no reason to know nothing of the rest. */
static void count_images(const media__gltf *gltf, media_figures *ret)
{
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        media__image_info info;
        rpc_status ignored;
        if (view == MEDIA__NO_INDEX) /* a file beside it */
            continue;
        const rpc_bytes bytes = media__view_bytes(gltf, view);
        if (media__image_probe(bytes, &info, &ignored) == RPC_OK)
            count_picture(&info, ret);
    }
}

/* ---- geometry ---- */

static uint64_t count_of(const media__gltf *gltf, size_t accessor)
{
    return accessor == MEDIA__NO_INDEX
               ? 0
               : media__get_index(media__gltf_entry(gltf, "accessors", accessor), "count");
}

static uint64_t triangles_of(const media__gltf *gltf, const json_t *primitive)
{
    const size_t indices = media__get_index(primitive, "indices");
    const size_t mode = media__get_index(primitive, "mode");
    const uint64_t corners = count_of(
        gltf, indices != MEDIA__NO_INDEX
                  ? indices
                  : media__get_index(json_object_get(primitive, "attributes"), "POSITION"));
    if (mode == MEDIA__NO_INDEX || mode == 4)
        return corners / 3;
    return (mode == 5 || mode == 6) && corners > 2 ? corners - 2 : 0;
}

static void count_primitive(
    const media__gltf *gltf, const json_t *primitive, bool *counted, media_figures *ret)
{
    const size_t position = media__get_index(json_object_get(primitive, "attributes"), "POSITION");
    const size_t targets = json_array_size(json_object_get(primitive, "targets"));
    ret->primitives++;
    ret->triangles += triangles_of(gltf, primitive);
    ret->morph_targets = targets > ret->morph_targets ? (uint32_t)targets : ret->morph_targets;
    if (position == MEDIA__NO_INDEX || counted[position])
        return;
    counted[position] = true; /* primitives may share their vertices */
    ret->vertices += count_of(gltf, position);
}

static rpc_code count_meshes(const media__gltf *gltf, media_figures *ret, rpc_status *reterr)
{
    bool *counted = calloc(media__gltf_count(gltf, "accessors") + 1, sizeof *counted);
    if (!counted)
        return media__no_memory(reterr);
    for (size_t i = 0; i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(gltf, "meshes", i), "primitives");
        for (size_t j = 0; j < json_array_size(primitives); j++)
            count_primitive(gltf, json_array_get(primitives, j), counted, ret);
    }
    free(counted);
    return RPC_OK;
}

static rpc_code count_joints(const media__gltf *gltf, media_figures *ret, rpc_status *reterr)
{
    const size_t nodes = media__gltf_count(gltf, "nodes");
    bool *is = calloc(nodes + 1, sizeof *is);
    if (!is)
        return media__no_memory(reterr);
    for (size_t i = 0; i < media__gltf_count(gltf, "skins"); i++) {
        const json_t *joints = json_object_get(media__gltf_entry(gltf, "skins", i), "joints");
        for (size_t j = 0; j < json_array_size(joints); j++) {
            const size_t node = (size_t)json_integer_value(json_array_get(joints, j));
            ret->joints += node < nodes && !is[node];
            if (node < nodes)
                is[node] = true;
        }
    }
    free(is);
    return RPC_OK;
}

/* ---- bytes ---- */

/* What a view takes in the file. */
static uint64_t cost_of(const media__gltf *gltf, size_t view)
{
    const json_t *json = media__gltf_entry(gltf, "bufferViews", view);
    const json_t *packed = media__get_extension(json, MEDIA__MESHOPT);
    return media__get_index(packed ? packed : json, "byteLength");
}

static void claim(const media__gltf *gltf, size_t accessor, bool *claimed, uint64_t *ret)
{
    const size_t view = media__get_index(
        media__gltf_entry(gltf, "accessors", accessor), "bufferView");
    if (view == MEDIA__NO_INDEX || claimed[view])
        return;
    claimed[view] = true;
    *ret += cost_of(gltf, view);
}

/* Views of animations first: whatever else is neither that nor a picture is of meshes. */
static rpc_code count_bytes(const media__gltf *gltf, media_figures *ret, rpc_status *reterr)
{
    const size_t views = media__gltf_count(gltf, "bufferViews");
    bool *claimed = calloc(views + 1, sizeof *claimed);
    if (!claimed)
        return media__no_memory(reterr);
    for (size_t i = 0; i < media__gltf_count(gltf, "animations"); i++) {
        const json_t *samplers = json_object_get(
            media__gltf_entry(gltf, "animations", i), "samplers");
        for (size_t j = 0; j < json_array_size(samplers); j++) {
            const json_t *sampler = json_array_get(samplers, j);
            claim(gltf, media__get_index(sampler, "input"), claimed, &ret->animation_bytes);
            claim(gltf, media__get_index(sampler, "output"), claimed, &ret->animation_bytes);
        }
    }
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        if (view == MEDIA__NO_INDEX || claimed[view]) /* images may share one */
            continue;
        claimed[view] = true;
        ret->image_bytes += cost_of(gltf, view);
    }
    for (size_t i = 0; i < views; i++)
        ret->mesh_bytes += claimed[i] ? 0 : cost_of(gltf, i);
    free(claimed);
    return RPC_OK;
}

/* ---- all of it ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static rpc_code list_required(const media__gltf *gltf, media_figures *ret, rpc_status *reterr)
{
    const json_t *required = json_object_get(gltf->json, "extensionsRequired");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(required); i++)
        code = media_names_add(&ret->extensions_required,
            rpc_bytes_str(json_string_value(json_array_get(required, i))), reterr);
    if (ret->extensions_required.count)
        qsort(
            ret->extensions_required.list, ret->extensions_required.count, sizeof(char *), by_text);
    return code;
}

static void say_prohibited(const media__gltf *gltf, media_figures *ret)
{
    media__vrm_licence licence;
    media__vrm_licence_of(gltf->json, &licence);
    (void)rpc_text_copy(ret->prohibits, sizeof ret->prohibits, licence.modify ? "" : licence.why);
}

rpc_code media__figures_of_gltf(
    const media__gltf *gltf, size_t bytes, media_figures *ret, rpc_status *reterr)
{
    media_figures figures = {
        .bytes = bytes,
        .meshes = (uint32_t)media__gltf_count(gltf, "meshes"),
        .materials = (uint32_t)media__gltf_count(gltf, "materials"),
        .textures = (uint32_t)media__gltf_count(gltf, "textures"),
        .images = (uint32_t)media__gltf_count(gltf, "images"),
        .nodes = (uint32_t)media__gltf_count(gltf, "nodes"),
        .skins = (uint32_t)media__gltf_count(gltf, "skins"),
        .animations = (uint32_t)media__gltf_count(gltf, "animations"),
    };
    (void)rpc_text_copy(figures.vrm, sizeof figures.vrm, media__vrm_version(gltf->json));
    rpc_code code = media__vrm_licence_text(gltf->json, figures.licence, reterr);
    if (code == RPC_OK)
        code = count_meshes(gltf, &figures, reterr);
    if (code == RPC_OK)
        code = count_joints(gltf, &figures, reterr);
    if (code == RPC_OK)
        code = count_bytes(gltf, &figures, reterr);
    if (code == RPC_OK)
        code = list_required(gltf, &figures, reterr);
    if (code != RPC_OK) {
        media_figures_done(&figures);
        return code;
    }
    say_prohibited(gltf, &figures);
    count_images(gltf, &figures);
    *ret = figures;
    return RPC_OK;
}

bool media__is_gltf(rpc_bytes source)
{
    size_t i = 0;
    while (i < source.size && strchr(" \t\r\n", source.data[i]) && source.data[i])
        i++;
    return media__glb_is(source) || (i < source.size && source.data[i] == '{');
}

rpc_code media_inspect(rpc_bytes source, media_figures *ret, rpc_status *reterr)
{
    media__gltf gltf;
    if (!media__is_gltf(source) && !media__image_is(source))
        return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
            "media: the file is neither glTF (GLB, VRM) nor a picture (PNG, JPEG, WebP); avatars "
            "of other kinds are exported as GLB first");
    if (!media__is_gltf(source))
        return media__figures_of_image(source, ret, reterr);
    rpc_code code = media__gltf_read(source, &gltf, reterr);
    if (code != RPC_OK)
        return code;
    media_figures figures = {.bytes = 0};
    code = media__gltf_take_images(&gltf, reterr);
    if (code == RPC_OK)
        code = media__figures_of_gltf(&gltf, source.size, &figures, reterr);
    if (code == RPC_OK)
        code = media__gltf_decode(&gltf, reterr); /* what is damaged inside is told as well */
    if (code == RPC_OK)
        code = media__gltf_check_data(&gltf, reterr);
    if (code == RPC_OK)
        *ret = figures;
    else
        media_figures_done(&figures);
    media__gltf_done(&gltf);
    return code;
}
