/* SPDX-License-Identifier: Apache-2.0 */
/* What the client says that it decodes, and what a document needs. */
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "image_kinds.h"

#include <stdio.h>

/* By its bytes where they are in the file: a name may lie. */
static bool accepts_picture(
    const media__gltf *gltf, const json_t *image, const media_recipe *recipe, const char **ret_type)
{
    const size_t view = media__get_index(image, "bufferView");
    const char *named = json_string_value(json_object_get(image, "mimeType"));
    media__image_info info;
    rpc_status ignored;
    *ret_type = named ? named : "of an unknown type";
    if (view == MEDIA__NO_INDEX ||
        media__image_probe(media__view_bytes(gltf, view), &info, &ignored) != RPC_OK)
        return false;
    *ret_type = media__image_type(info.kind);
    return media__takes_texture(recipe, info.kind);
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
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const char *type = NULL;
        if (!accepts_picture(gltf, media__gltf_entry(gltf, "images", i), recipe, &type))
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "media: image %zu of the variant is %.64s, which the client does not accept; ask "
                "for "
                "another texture_format",
                i, type);
    }
    return RPC_OK;
}
