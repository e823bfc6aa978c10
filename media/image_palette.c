/* SPDX-License-Identifier: Apache-2.0 */
#include "image_palette.h"

#include <stdlib.h>
#include <string.h>

#define HASH_BITS   14   /* of MEDIA__PALETTE_PLACES */
#define COLORS_MOST 4096 /* that are compared with a palette's; three of four places are free */
#define CHANNELS    4
#define STEPS_MOST  32 /* past places that are taken: chance does not lead so far, intent does */
#define NOWHERE     MEDIA__PALETTE_PLACES /* a place behind all, always free */

_Static_assert(MEDIA__PALETTE_PLACES == 1 << HASH_BITS, "a hash is a place");

static uint32_t color_at(const media__image *image, size_t pixel)
{
    const uint8_t *p = image->pixels + CHANNELS * pixel;
    const uint32_t alpha = image->alpha ? p[3] : 0xff;
    return alpha << 24 | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

/* Where a colour stands in the table, or could; NOWHERE: too far. */
static size_t place_of(const media__palette *palette, uint32_t color)
{
    const size_t first = (color * UINT32_C(0x9e3779b1)) >> (32 - HASH_BITS);
    for (size_t i = 0; i < STEPS_MOST; i++) {
        const size_t at = (first + i) % MEDIA__PALETTE_PLACES;
        if (!palette->places[at].number || palette->places[at].color == color)
            return at;
    }
    return NOWHERE;
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
}

bool media__palette_of(const media__image *image, media__palette *ret)
{
    const size_t pixels = (size_t)image->width * image->height;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < pixels; i++) {
        const uint32_t color = color_at(image, i);
        const size_t at = place_of(ret, color);
        struct media__palette_place *place = &ret->places[at];
        if (place->number)
            continue;
        if (at == NOWHERE || ret->count == MEDIA__PALETTE_MAX)
            return false;
        ret->colors[ret->count++] = place->color = color;
        place->number = (uint16_t)ret->count;
    }
    sort(ret);
    for (size_t i = 0; i < ret->count; i++)
        ret->places[place_of(ret, ret->colors[i])].number = (uint16_t)(i + 1);
    return true;
}

/* ---- near ------------------------------------------------------------------------------------ */

/* As it shows: of what hardly shows, its colour hardly counts. */
static void as_shown(uint32_t color, int ret[CHANNELS])
{
    const int alpha = (int)(color >> 24);
    for (int c = 0; c < 3; c++)
        ret[c] = (int)(color >> (16 - 8 * c) & 0xff) * alpha / 255;
    ret[3] = alpha;
}

static void find_nearest(
    const int (*shown)[CHANNELS], size_t count, struct media__palette_place *ret)
{
    int color[CHANNELS];
    as_shown(ret->color, color);
    ret->error = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        uint32_t error = 0;
        for (int c = 0; c < CHANNELS; c++)
            error += (uint32_t)((color[c] - shown[i][c]) * (color[c] - shown[i][c]));
        if (error < ret->error) {
            ret->error = error;
            ret->number = (uint16_t)(i + 1);
        }
    }
}

/* Colours that nothing is near go. */
static void keep_used(media__palette *palette)
{
    uint16_t moved[MEDIA__PALETTE_MAX + 1] = {0};
    size_t kept = 0;
    for (size_t at = 0; at < MEDIA__PALETTE_PLACES; at++)
        moved[palette->places[at].number] = 1;
    for (size_t i = 0; i < palette->count; i++)
        if (moved[i + 1]) {
            palette->colors[kept++] = palette->colors[i];
            moved[i + 1] = (uint16_t)kept;
        }
    moved[0] = 0;
    for (size_t at = 0; at < MEDIA__PALETTE_PLACES; at++)
        palette->places[at].number = moved[palette->places[at].number];
    palette->count = kept;
}

bool media__palette_near(const media__image *image, media__palette *ret)
{
    const size_t pixels = (size_t)image->width * image->height;
    int shown[MEDIA__PALETTE_MAX][CHANNELS];
    size_t colors = 0;
    uint64_t error = 0;
    if (!image->palette)
        return false;
    memset(ret, 0, sizeof *ret);
    ret->count = image->palette_count;
    memcpy(ret->colors, image->palette, ret->count * sizeof *ret->colors);
    sort(ret);
    for (size_t i = 0; i < ret->count; i++)
        as_shown(ret->colors[i], shown[i]);
    for (size_t i = 0; i < pixels && error <= pixels * CHANNELS; i++) {
        const uint32_t color = color_at(image, i);
        const size_t at = place_of(ret, color);
        struct media__palette_place *place = &ret->places[at];
        if (!place->number) {
            if (at == NOWHERE || ++colors > COLORS_MOST)
                return false;
            place->color = color;
            find_nearest((const int(*)[CHANNELS])shown, ret->count, place);
        }
        error += place->error;
    }
    keep_used(ret);
    return error <= pixels * CHANNELS;
}

uint8_t media__palette_index(const media__palette *palette, const media__image *image, size_t pixel)
{
    return (uint8_t)(palette->places[place_of(palette, color_at(image, pixel))].number - 1);
}
