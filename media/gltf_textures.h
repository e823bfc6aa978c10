/* SPDX-License-Identifier: Apache-2.0 */
/** What materials use textures for, and textures pictures (gltf_texture_uses.c). Inside the module.
 */
#ifndef DACM_MEDIA_GLTF_TEXTURES_H
#define DACM_MEDIA_GLTF_TEXTURES_H

#include "gltf_edit.h"
#include "image.h"

/** Removes the slots of channels that a recipe does not keep, and what in a material would look
 *  wrong without them: nothing glows that glowed in places, nothing is metal that was so in places.
 */
rpc_code media__textures_drop(media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);
/** Multiplies the colours of materials by the mean colour of the textures that a recipe drops, in
 *  linear light (gltf_mean_color.c): core, MToon, shaders of VRM 0.x, and what expressions set. Of
 *  what is beside the file or KTX2 nothing is known. What glowed by a texture is black. */
rpc_code media__textures_mean_color(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);

typedef struct media__texture_use {
    media__image_use use;
    bool known; /* a material or a VRM says what it is for; otherwise it stays as it is */
    bool plain; /* PNG or JPEG, whatever else is taken: a thumbnail */
} media__texture_use;

/** What each image is for. free() it. */
rpc_code media__textures_uses(
    const media__gltf *gltf, media__texture_use **ret, rpc_status *reterr);
/** Where a texture names a picture by an extension and another without it, only that which the
 * client takes stays; both, where it says nothing. */
void media__textures_choose(media__gltf *gltf, const media_recipe *recipe);
/** The textures of an image name it as its kind wants it: WebP by EXT_texture_webp. */
rpc_code media__textures_follow(media__gltf *gltf, size_t image, bool is_webp, rpc_status *reterr);
/** Extensions of textures are declared if, and only if, some texture has them or a picture is of
 *  their kind. */
rpc_code media__textures_declare(media__gltf *gltf, rpc_status *reterr);

#endif
