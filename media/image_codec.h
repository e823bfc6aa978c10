/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the pictures share: image_*.c. Inside the module. */
#ifndef DACM_MEDIA_IMAGE_CODEC_H
#define DACM_MEDIA_IMAGE_CODEC_H

#include "image.h"

/** INVALID_ARGUMENT "image: …": what is wrong and where. */
rpc_code media__image_bad(rpc_status *reterr, const char *format, ...) RPC_PRINTF(2, 3);

/** "PNG", "JPEG", "WebP", "KTX2". */
const char *media__image_kind_name(media__image_kind kind);

/* ---- metadata -------------------------------------------------------------------------------- */

/** Orientation of EXIF data (a TIFF file, without "Exif\0\0"), 1 to 8; 1 where it says none or is
 *  damaged: what a picture looks like is not worth refusing it. */
uint32_t media__exif_orientation(rpc_bytes exif);

/** Turns and mirrors pixels as an orientation of 1 to 8 says. RESOURCE_EXHAUSTED. */
rpc_code media__image_orient(media__image *image, uint32_t orientation, rpc_status *reterr);

/** Longest profile that is carried through: one segment of JPEG. */
#define MEDIA__PROFILE_BYTES_MAX 65519

/** Keeps a copy of an ICC profile with the picture where it says more than "sRGB": of RGB pixels,
 *  and not longer than MEDIA__PROFILE_BYTES_MAX. RESOURCE_EXHAUSTED. */
rpc_code media__image_take_profile(media__image *image, rpc_bytes profile, rpc_status *reterr);

/* ---- kinds ----------------------------------------------------------------------------------- */

typedef struct media__jpeg_layout {
    uint32_t width, height;
    unsigned bits, components, scans;
    size_t end;              /* behind the end marker, of a whole file */
    rpc_bytes exif, profile; /* data NULL: there is none; a profile in one segment only */
} media__jpeg_layout;

/** Follows the segments of a file that begins as JPEG does.
 *  whole  up to its end marker; otherwise up to its first scan. */
rpc_code media__jpeg_walk(rpc_bytes file, bool whole, media__jpeg_layout *ret, rpc_status *reterr);

/** The first chunk of this type in a file that begins as WebP does; data NULL: there is none. */
rpc_bytes media__webp_chunk(rpc_bytes file, const char *type);

/** Decode into image->pixels, which has room for info's size. avatar: colours that a colour profile
 *  or a gamma describes are meant so; otherwise such are ignored, as glTF says of textures. */
rpc_code media__png_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr);
rpc_code media__jpeg_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr);
rpc_code media__webp_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr);

/** As media__image_write(). near: colours may be those of the palette that the file had. */
rpc_code media__png_write(
    const media__image *image, bool near, uint8_t **ret, size_t *ret_size, rpc_status *reterr);
rpc_code media__jpeg_write(const media__image *image, unsigned quality, media__image_use use,
    uint8_t **ret, size_t *ret_size, rpc_status *reterr);
rpc_code media__webp_write(const media__image *image, unsigned quality, media__image_use use,
    uint8_t **ret, size_t *ret_size, rpc_status *reterr);

/** The same picture without metadata but for its colours, where that takes no decoder: a file that
 *  was read whole. An animation of PNG keeps its first picture. ret: free() it. False: it does not
 *  work, or there is no memory; write it anew. */
bool media__image_strip(
    rpc_bytes file, const media__image_info *info, uint8_t **ret, size_t *ret_size);

/** Averaged in linear light. */
static inline bool media__image_is_color(media__image_use use)
{
    return use == MEDIA__IMAGE_COLOR || use == MEDIA__IMAGE_COLOR_APART;
}
/** The quality that numbers are written at where colours have this one. */
static inline unsigned media__image_quality(unsigned quality, media__image_use use)
{
    return media__image_is_color(use) ? quality : 100 - (100 - quality) / 2;
}

/** Red, green and blue are equal everywhere. */
bool media__image_is_gray(const media__image *image);

#endif
