/* SPDX-License-Identifier: Apache-2.0 */
/** Media types of pictures, and which of them a client takes. Inside the module. */
#ifndef DACM_MEDIA_IMAGE_KINDS_H
#define DACM_MEDIA_IMAGE_KINDS_H

#include "image.h"

/** "image/png" and so on. */
const char *media__image_type(media__image_kind kind);
bool media__names_have(const media_names *names, const char *name);
/** Of an avatar that is a picture: whoever names no type of pictures takes PNG, JPEG and WebP. */
bool media__takes_image(const media_recipe *recipe, media__image_kind kind);
/** Of a texture, where WebP and KTX2 need an extension of glTF as well. Whoever says nothing of
 * what it decodes takes all. */
bool media__takes_texture(const media_recipe *recipe, media__image_kind kind);
/** The kind that a format names; 0: MEDIA_TEXTURE_KEEP. */
media__image_kind media__kind_of_format(media_texture_format format);
/** 1 to 100: what a recipe asks for. Of PNG that is asked for by its name: 100, exact. */
unsigned media__quality_for(const media_recipe *recipe, media__image_kind kind);

#endif
