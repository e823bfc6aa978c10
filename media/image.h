/* SPDX-License-Identifier: Apache-2.0 */
/** PNG, JPEG and WebP pictures: as avatars and as textures. Inside the module.
 *
 *  Foreign bytes: the size is read from the header and checked before anything is decoded. Errors
 *  are INVALID_ARGUMENT "image: …" with the fault and where; RESOURCE_EXHAUSTED beyond the limits;
 *  UNIMPLEMENTED for what is no picture of these. */
#ifndef DACM_MEDIA_IMAGE_H
#define DACM_MEDIA_IMAGE_H

#include "media_internal.h"

#define MEDIA__IMAGE_SIDE_MAX   16384
#define MEDIA__IMAGE_PIXELS_MAX (64u << 20)

typedef enum media__image_kind {
    MEDIA__IMAGE_PNG = 1,
    MEDIA__IMAGE_JPEG,
    MEDIA__IMAGE_WEBP,
    MEDIA__IMAGE_KTX2, /* recognised, never decoded */
} media__image_kind;

typedef struct media__image_info {
    media__image_kind kind;
    uint32_t width, height; /* as stored */
    uint32_t orientation;   /* EXIF, 1 to 8; 1: as stored */
    bool alpha, gray, animated;
    unsigned bits; /* of a channel */
} media__image_info;

#define MEDIA__PALETTE_MAX 256

/** 8 bits a channel, four channels, rows one after the other, alpha not multiplied in. */
typedef struct media__image {
    uint8_t *pixels;
    uint32_t width, height;
    bool alpha;       /* some pixel is not opaque */
    bool lossy;       /* its file had lost something already: numbers too may be written so */
    uint8_t *profile; /* ICC, of an avatar whose colours are not sRGB; NULL: they are */
    size_t profile_size;
    uint32_t *palette; /* of a PNG that had one: alpha, red, green, blue; NULL: it had none */
    size_t palette_count;
} media__image;

typedef enum media__image_use {
    MEDIA__IMAGE_COLOR,       /* sRGB: averaged in linear light, weighted by alpha */
    MEDIA__IMAGE_COLOR_APART, /* the same where alpha does not say what shows: by itself */
    MEDIA__IMAGE_DATA,        /* numbers, each channel by itself */
    MEDIA__IMAGE_NORMAL,      /* vectors, unit length again afterwards */
} media__image_use;

/** What the bytes say of themselves; reads headers only. */
rpc_code media__image_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr);
/** Is it of a kind that media__image_probe() knows, by its first bytes? */
bool media__image_is(rpc_bytes file);
/** Is it whole, as far as that shows without decoding? PNG has its chunks up to the last; of others
 *  only what media__image_probe() sees. Errors are those of media__image_probe(). */
rpc_code media__image_whole(rpc_bytes file, rpc_status *reterr);
/** Every byte is read and checked; an animation gives its first picture. oriented: as an avatar is
 *  shown: turned and mirrored as EXIF says, gamma of PNG undone, an ICC profile kept with it (never
 *  textures of glTF, which ignores all three). */
rpc_code media__image_read(rpc_bytes file, bool oriented, media__image *ret, rpc_status *reterr);
void media__image_done(media__image *image);

/** Linear light, 0 to 1, of an sRGB value of 0 to 255. */
double media__srgb_linear(double value);
/** At most limit px on the longer side, the shorter in proportion (at least 1); never enlarged. */
rpc_code media__image_fit(
    media__image *image, uint32_t limit, media__image_use use, rpc_status *reterr);

/** The same picture gives the same bytes. JPEG of a picture with alpha: INVALID_ARGUMENT.
 *  quality  1 to 100. PNG is exact, but colours of a file that had a palette may keep to it below
 *           100, where that is within 1 of 255. DATA and NORMAL lose half as much of 100 as is
 * asked, and have colours as fine as light. WebP of them is lossy where the source was, otherwise
 *           at 100 exact and below within 2 of 255. */
rpc_code media__image_write(const media__image *image, media__image_kind kind, unsigned quality,
    media__image_use use, uint8_t **ret, size_t *ret_size, rpc_status *reterr);

#endif
