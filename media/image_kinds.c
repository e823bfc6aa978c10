/* SPDX-License-Identifier: Apache-2.0 */
#include "image_kinds.h"

#include <string.h>

static const char *const types[] = {[MEDIA__IMAGE_PNG] = "image/png",
    [MEDIA__IMAGE_JPEG] = "image/jpeg",
    [MEDIA__IMAGE_WEBP] = "image/webp",
    [MEDIA__IMAGE_KTX2] = "image/ktx2"};

const char *media__image_type(media__image_kind kind)
{
    return types[kind];
}

bool media__names_have(const media_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], name) == 0)
            return true;
    return false;
}

static bool names_pictures(const media_names *media_types)
{
    for (size_t i = 0; i < media_types->count; i++)
        if (strncmp(media_types->list[i], "image/", 6) == 0)
            return true;
    return false;
}

bool media__takes_image(const media_recipe *recipe, media__image_kind kind)
{
    if (names_pictures(&recipe->accept_media_types))
        return media__names_have(&recipe->accept_media_types, types[kind]);
    return kind != MEDIA__IMAGE_KTX2;
}

bool media__takes_texture(const media_recipe *recipe, media__image_kind kind)
{
    const char *extension = kind == MEDIA__IMAGE_WEBP   ? "EXT_texture_webp"
                            : kind == MEDIA__IMAGE_KTX2 ? "KHR_texture_basisu"
                                                        : NULL;
    if (!recipe->accepts_some)
        return true;
    if (extension && !media__names_have(&recipe->accept_extensions, extension))
        return false;
    return !names_pictures(&recipe->accept_media_types) ||
           media__names_have(&recipe->accept_media_types, types[kind]);
}

media__image_kind media__kind_of_format(media_texture_format format)
{
    static const media__image_kind kinds[] = {[MEDIA_TEXTURE_WEBP] = MEDIA__IMAGE_WEBP,
        [MEDIA_TEXTURE_JPEG] = MEDIA__IMAGE_JPEG,
        [MEDIA_TEXTURE_PNG] = MEDIA__IMAGE_PNG};
    return kinds[format];
}

unsigned media__quality_for(const media_recipe *recipe, media__image_kind kind)
{
    if (kind == MEDIA__IMAGE_PNG && recipe->texture_format == MEDIA_TEXTURE_PNG)
        return 100;
    return recipe->texture_quality ? recipe->texture_quality : MEDIA_QUALITY_DEFAULT;
}
