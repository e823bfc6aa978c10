/* SPDX-License-Identifier: Apache-2.0 */
/* What the client says that it decodes, and what a document needs. */
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "image.h"

#include <stdio.h>

static const char *const kinds[] = {[MEDIA__IMAGE_PNG] = "image/png",
    [MEDIA__IMAGE_JPEG] = "image/jpeg",
    [MEDIA__IMAGE_WEBP] = "image/webp",
    [MEDIA__IMAGE_KTX2] = "image/ktx2"};

static bool names_have(const media_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], name) == 0)
            return true;
    return false;
}

static bool has_pictures(const media_names *types)
{
    for (size_t i = 0; i < types->count; i++)
        if (strncmp(types->list[i], "image/", 6) == 0)
            return true;
    return false;
}

/* Who names no media type of pictures decodes those of plain glTF. */
static bool accepts_picture(const media_recipe *recipe, const char *type)
{
    if (has_pictures(&recipe->accept_media_types))
        return names_have(&recipe->accept_media_types, type);
    return strcmp(type, kinds[MEDIA__IMAGE_PNG]) == 0 ||
           strcmp(type, kinds[MEDIA__IMAGE_JPEG]) == 0 ||
           (strcmp(type, kinds[MEDIA__IMAGE_WEBP]) == 0 &&
               names_have(&recipe->accept_extensions, "EXT_texture_webp")) ||
           (strcmp(type, kinds[MEDIA__IMAGE_KTX2]) == 0 &&
               names_have(&recipe->accept_extensions, "KHR_texture_basisu"));
}

/* By its bytes where they are in the file: a name may lie. */
static const char *picture_type(const media__gltf *gltf, const json_t *image)
{
    const size_t view = media__get_index(image, "bufferView");
    const char *named = json_string_value(json_object_get(image, "mimeType"));
    media__image_info info;
    rpc_status ignored;
    if (view != MEDIA__NO_INDEX &&
        media__image_probe(media__view_bytes(gltf, view), &info, &ignored) == RPC_OK)
        return kinds[info.kind];
    return named ? named : "unknown";
}

rpc_code media__gltf_accept(const media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    const json_t *required = json_object_get(gltf->json, "extensionsRequired");
    if (!recipe->accepts_some)
        return RPC_OK;
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!names_have(&recipe->accept_extensions, name))
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: the variant needs the glTF extension %s, which accept.extensions does not "
                "name",
                name);
    }
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const char *type = picture_type(gltf, media__gltf_entry(gltf, "images", i));
        if (!accepts_picture(recipe, type))
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: image %zu of the variant is %.64s, which accept.media_types does not name; "
                "ask for another texture_format",
                i, type);
    }
    return RPC_OK;
}
