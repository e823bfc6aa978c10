/* SPDX-License-Identifier: Apache-2.0 */
#include "image_palette.h"

#include <stdlib.h>
#include <string.h>

static uint32_t color_at(const media__image *image, size_t pixel)
{
    const uint8_t *p = image->pixels + 4 * pixel;
    const uint32_t alpha = image->alpha ? p[3] : 0xff;
    return alpha << 24 | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* Where a colour stands in the table, or could: at least three of four places are free. */
static size_t place_of(const media__palette *palette, uint32_t color)
{
    size_t at = (color * UINT32_C(0x9e3779b1)) >> 22;
    while (palette->places[at] && palette->colors[palette->places[at] - 1] != color)
        at = (at + 1) % MEDIA__PALETTE_PLACES;
    return at;
}

static int by_alpha(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Those that are not opaque first: PNG lists the alpha of no others. */
static void sort(media__palette *palette)
{
    qsort(palette->colors, palette->count, sizeof *palette->colors, by_alpha);
    memset(palette->places, 0, sizeof palette->places);
    for (size_t i = 0; i < palette->count; i++)
        palette->places[place_of(palette, palette->colors[i])] = (uint16_t)(i + 1);
}

bool media__palette_of(const media__image *image, media__palette *ret)
{
    const size_t pixels = (size_t)image->width * image->height;
    *ret = (media__palette){.count = 0};
    for (size_t i = 0; i < pixels; i++) {
        const uint32_t color = color_at(image, i);
        const size_t at = place_of(ret, color);
        if (ret->places[at])
            continue;
        if (ret->count == MEDIA__PALETTE_COLORS)
            return false;
        ret->colors[ret->count++] = color;
        ret->places[at] = (uint16_t)ret->count;
    }
    sort(ret);
    return true;
}

uint8_t media__palette_index(const media__palette *palette, const media__image *image, size_t pixel)
{
    return (uint8_t)(palette->places[place_of(palette, color_at(image, pixel))] - 1);
}
