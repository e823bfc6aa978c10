/* SPDX-License-Identifier: Apache-2.0 */
/** Pictures of few colours. Inside the module. */
#ifndef DACM_MEDIA_IMAGE_PALETTE_H
#define DACM_MEDIA_IMAGE_PALETTE_H

#include "image.h"

#define MEDIA__PALETTE_COLORS 256
#define MEDIA__PALETTE_PLACES 1024

typedef struct media__palette {
    size_t count;
    uint32_t colors[MEDIA__PALETTE_COLORS]; /* alpha, red, green, blue; the least alpha first */
    uint16_t places[MEDIA__PALETTE_PLACES]; /* a colour's number and 1, by a hash; 0: free */
} media__palette;

/** All colours of a picture, alpha included where it has any. False: there are more. */
bool media__palette_of(const media__image *image, media__palette *ret);
/** The colour of a pixel of the same picture. */
uint8_t media__palette_index(
    const media__palette *palette, const media__image *image, size_t pixel);

#endif
