/* SPDX-License-Identifier: Apache-2.0 */
/** Pictures of few colours. Inside the module. */
#ifndef DACM_MEDIA_IMAGE_PALETTE_H
#define DACM_MEDIA_IMAGE_PALETTE_H

#include "image.h"

#define MEDIA__PALETTE_PLACES 16384

typedef struct media__palette {
    size_t count;
    uint32_t colors[MEDIA__PALETTE_MAX]; /* the least alpha first */
    struct media__palette_place {        /* of each colour of the picture, by a hash */
        uint32_t color, error;           /* error: square of what it is off */
        uint16_t number;                 /* of the palette's colour, from 1; 0: a free place */
    } places[MEDIA__PALETTE_PLACES + 1]; /* the last is none */
} media__palette;

/** All colours of a picture, alpha included where it has any. False: there are more, or they were
 *  chosen so that finding each would take long. */
bool media__palette_of(const media__image *image, media__palette *ret);
/** Those of the palette that its file had which are nearest to its colours. False: there was none,
 *  or the picture would be off by more than 1 of 255 (root of the mean square). */
bool media__palette_near(const media__image *image, media__palette *ret);
/** The colour of a pixel of the same picture. */
uint8_t media__palette_index(
    const media__palette *palette, const media__image *image, size_t pixel);

#endif
