/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures: which codec reads and writes them, and which way up they are. */
#include "image_codec.h"

#include <stdlib.h>

/* ---- reading --------------------------------------------------------------------------------- */

static bool some_alpha(const media__image *image)
{
    const size_t count = (size_t)image->width * image->height;
    uint8_t all = 0xff;
    for (size_t i = 0; i < count; i++)
        all &= image->pixels[i * 4 + 3];
    return all != 0xff;
}

bool media__image_is_gray(const media__image *image)
{
    const size_t count = (size_t)image->width * image->height;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = image->pixels + i * 4;
        if (p[0] != p[1] || p[1] != p[2])
            return false;
    }
    return true;
}

static rpc_code decode(rpc_bytes file, const media__image_info *info, bool avatar,
    media__image *image, rpc_status *reterr)
{
    switch (info->kind) {
    case MEDIA__IMAGE_PNG:
        return media__png_read(file, avatar, image, reterr);
    case MEDIA__IMAGE_JPEG:
        return media__jpeg_read(file, avatar, image, reterr);
    case MEDIA__IMAGE_WEBP:
        return media__webp_read(file, avatar, image, reterr);
    case MEDIA__IMAGE_KTX2:
        break;
    }
    return rpc_status_set(
        reterr, RPC_UNIMPLEMENTED, "image: KTX2 is not decoded; it is passed through as it is");
}

rpc_code media__image_read(rpc_bytes file, bool oriented, media__image *ret, rpc_status *reterr)
{
    media__image_info info;
    rpc_code code = media__image_probe(file, &info, reterr);
    if (code)
        return code;
    media__image image = {.width = info.width, .height = info.height};
    image.pixels = calloc((size_t)info.width * info.height, 4);
    code = image.pixels ? decode(file, &info, oriented, &image, reterr) : media__no_memory(reterr);
    if (code == RPC_OK && oriented)
        code = media__image_orient(&image, info.orientation, reterr);
    if (code) {
        media__image_done(&image);
        return code;
    }
    image.lossy = info.kind == MEDIA__IMAGE_JPEG ||
                  (info.kind == MEDIA__IMAGE_WEBP && !media__webp_chunk(file, "VP8L").data);
    image.alpha = info.kind != MEDIA__IMAGE_JPEG && some_alpha(&image);
    *ret = image;
    return RPC_OK;
}

void media__image_done(media__image *image)
{
    free(image->pixels);
    free(image->profile);
    free(image->palette);
    *image = (media__image){.pixels = NULL};
}

/* ---- orientation ----------------------------------------------------------------------------- */

/* Where the pixel at x, y of the picture to be made stands in the one that is there (EXIF, tag
 * 0x0112); width and height are of the latter. */
static size_t source_of(
    uint32_t orientation, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    const uint32_t column = orientation >= 5 ? y : x, row = orientation >= 5 ? x : y;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 ||
                            orientation == 8;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 ||
                             orientation == 7;
    const uint32_t source_x = from_right ? width - 1 - column : column;
    const uint32_t source_y = from_bottom ? height - 1 - row : row;
    return (size_t)source_y * width + source_x;
}

rpc_code media__image_orient(media__image *image, uint32_t orientation, rpc_status *reterr)
{
    if (orientation <= 1)
        return RPC_OK;
    const uint32_t width = image->width, height = image->height;
    const uint32_t new_width = orientation >= 5 ? height : width;
    const uint32_t new_height = orientation >= 5 ? width : height;
    uint8_t *turned = malloc((size_t)width * height * 4);
    if (!turned)
        return media__no_memory(reterr);
    uint8_t *out = turned;
    for (uint32_t y = 0; y < new_height; y++)
        for (uint32_t x = 0; x < new_width; x++, out += 4)
            memcpy(out, image->pixels + source_of(orientation, x, y, width, height) * 4, 4);
    free(image->pixels);
    image->pixels = turned;
    image->width = new_width;
    image->height = new_height;
    return RPC_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

rpc_code media__image_write(const media__image *image, media__image_kind kind, unsigned quality,
    media__image_use use, uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    switch (kind) {
    case MEDIA__IMAGE_PNG:
        return media__png_write(
            image, quality < 100 && media__image_is_color(use), ret, ret_size, reterr);
    case MEDIA__IMAGE_JPEG:
        if (image->alpha)
            return media__image_bad(reterr, "JPEG: the picture has alpha, which JPEG cannot hold");
        return media__jpeg_write(image, quality, use, ret, ret_size, reterr);
    case MEDIA__IMAGE_WEBP:
        return media__webp_write(image, quality, use, ret, ret_size, reterr);
    case MEDIA__IMAGE_KTX2:
        break;
    }
    return rpc_status_set(reterr, RPC_UNIMPLEMENTED, "image: KTX2 is not written");
}
