/* SPDX-License-Identifier: Apache-2.0 */
/* What the client says that it decodes, and what a document needs. */
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_textures.h"
#include "image_kinds.h"

#include "cleanup.h"

/* By its bytes where they are in the file: a name may lie. */
static bool accepts_picture(const media__gltf *gltf, const json_t *image,
    const media_recipe *recipe, media__image_info *ret_info, const char **ret_type)
{
    const size_t view = media__get_index(image, "bufferView");
    const char *named = json_string_value(json_object_get(image, "mimeType"));
    rpc_status ignored;
    *ret_info = (media__image_info){.kind = MEDIA__IMAGE_KTX2}; /* that nothing else becomes of */
    *ret_type = named ? named : "of an unknown type";
    if (view == MEDIA__NO_INDEX ||
        media__image_probe(media__view_bytes(gltf, view), ret_info, &ignored) != RPC_OK)
        return false;
    *ret_type = media__image_type(ret_info->kind);
    return media__takes_texture(recipe, ret_info->kind);
}

/* Another format where the picture can be written as that; else what the client may add. */
static const char *what_helps(
    const media_recipe *recipe, const media__image_info *info, const media__texture_use *use)
{
    const bool changes = use->known && info->kind != MEDIA__IMAGE_KTX2;
    const bool webp = media__takes_texture(recipe, MEDIA__IMAGE_WEBP);
    if (changes && !use->plain && webp && recipe->texture_format != MEDIA_TEXTURE_WEBP)
        return "ask for texture_format webp";
    if (changes && !info->alpha && media__takes_texture(recipe, MEDIA__IMAGE_JPEG) &&
        recipe->texture_format != MEDIA_TEXTURE_JPEG)
        return "ask for texture_format jpeg";
    if (changes && !use->plain && !webp &&
        media__names_have(&recipe->accept_media_types, media__image_type(MEDIA__IMAGE_WEBP)))
        return "ask for texture_format webp, and name EXT_texture_webp in accept.extensions";
    return "accept.media_types would have to name it";
}

static rpc_code accept_pictures(
    const media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    RPC_AUTOFREE media__texture_use *uses = NULL;
    rpc_code code = media__textures_uses(gltf, &uses, reterr);
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "images"); i++) {
        const char *type = NULL;
        media__image_info info;
        const json_t *image = media__gltf_entry(gltf, "images", i);
        if (media__get_index(image, "bufferView") == MEDIA__NO_INDEX)
            code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: image %zu lies beside the file, and nobody here knows what it is: put the "
                "avatar into one file",
                i);
        else if (!accepts_picture(gltf, image, recipe, &info, &type))
            code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: image %zu of the variant is %.64s, which the client does not accept; %s", i,
                type, what_helps(recipe, &info, &uses[i]));
    }
    return code;
}

rpc_code media__gltf_accept(const media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    const json_t *required = json_object_get(gltf->json, "extensionsRequired");
    if (!recipe->accepts_some)
        return RPC_OK;
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!media__names_have(&recipe->accept_extensions, name))
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: the variant needs the glTF extension %s, which accept.extensions does not "
                "name",
                name);
    }
    return accept_pictures(gltf, recipe, reterr);
}
