/* SPDX-License-Identifier: Apache-2.0 */
/* Smaller pictures. Large reductions are done in two steps: first blocks of whole pixels are
 * averaged to twice the size that is asked for, then a filter makes the rest of the way. The second
 * step alone would give the same picture at several times the cost. */
#include "image_codec.h"

#include <assert.h>
#include <math.h>
#include <stb/stb_image_resize.h>
#include <stdlib.h>

/* ---- sRGB ------------------------------------------------------------------------------------ */

typedef struct srgb {
    uint16_t linear[256];
    uint16_t from[256]; /* the least linear value that is nearest to this one */
    uint8_t near[4096]; /* by 12 bits: that value, or a smaller one */
} srgb;

double media__srgb_linear(double value)
{
    const double s = value / 255;
    return s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
}

static uint16_t linear_of(double value)
{
    return (uint16_t)lround(media__srgb_linear(value) * 65535);
}

static void srgb_init(srgb *t)
{
    for (int i = 0; i < 256; i++) {
        t->linear[i] = linear_of(i);
        t->from[i] = i ? linear_of(i - 0.5) : 0;
    }
    unsigned value = 0;
    for (unsigned i = 0; i < 4096; i++) {
        while (value < 255 && t->from[value + 1] <= i << 4)
            value++;
        t->near[i] = (uint8_t)value;
    }
}

static uint8_t srgb_of(const srgb *t, uint64_t linear)
{
    unsigned value = t->near[linear >> 4];
    while (value < 255 && t->from[value + 1] <= linear)
        value++;
    return (uint8_t)value;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

typedef struct blocks {
    const media__image *image;
    uint32_t side_x, side_y; /* pixels of a block */
    uint32_t width, height;  /* blocks; the last ones may be cut */
    uint64_t *sums;          /* four channels of each block of a row */
    srgb srgb;
} blocks;

static void add_row_numbers(blocks *b, const uint8_t *p)
{
    uint64_t *sum = b->sums;
    for (uint32_t x = 0; x < b->image->width; sum += 4)
        for (uint32_t end = x + b->side_x; x < end && x < b->image->width; x++, p += 4)
            for (int c = 0; c < 4; c++)
                sum[c] += p[c];
}

static void add_row_light(blocks *b, const uint8_t *p)
{
    const uint16_t *linear = b->srgb.linear;
    uint64_t *sum = b->sums;
    for (uint32_t x = 0; x < b->image->width; sum += 4)
        for (uint32_t end = x + b->side_x; x < end && x < b->image->width; x++, p += 4) {
            sum[0] += linear[p[0]];
            sum[1] += linear[p[1]];
            sum[2] += linear[p[2]];
            sum[3] += p[3];
        }
}

static void add_row_weighted(blocks *b, const uint8_t *p)
{
    const uint16_t *linear = b->srgb.linear;
    uint64_t *sum = b->sums;
    for (uint32_t x = 0; x < b->image->width; sum += 4)
        for (uint32_t end = x + b->side_x; x < end && x < b->image->width; x++, p += 4) {
            /* a pixel that does not show counts a little, so that where none shows a colour stays
             */
            const uint64_t weight = (uint64_t)p[3] << 16 | 1;
            sum[0] += linear[p[0]] * weight;
            sum[1] += linear[p[1]] * weight;
            sum[2] += linear[p[2]] * weight;
            sum[3] += p[3];
        }
}

static void write_row(
    const blocks *b, uint32_t rows, media__image_use use, bool weighted, uint8_t *ret)
{
    const uint64_t *sum = b->sums;
    for (uint32_t x = 0; x < b->width; x++, sum += 4, ret += 4) {
        const uint32_t left = b->image->width - x * b->side_x;
        const uint64_t count = (uint64_t)(left < b->side_x ? left : b->side_x) * rows;
        assert(count > 0); /* no block is empty */
        const uint64_t weight = weighted ? (sum[3] << 16) + count : count;
        for (int c = 0; c < 3; c++) {
            const uint64_t mean = (sum[c] + weight / 2) / weight;
            ret[c] = media__image_is_color(use) ? srgb_of(&b->srgb, mean) : (uint8_t)mean;
        }
        ret[3] = (uint8_t)((sum[3] + count / 2) / count);
    }
}

/* In place: a row of blocks is written where pixels were that have been read. */
static rpc_code average_blocks(
    media__image *image, uint32_t side_x, uint32_t side_y, media__image_use use, rpc_status *reterr)
{
    blocks b = {.image = image,
        .side_x = side_x,
        .side_y = side_y,
        .width = (image->width + side_x - 1) / side_x,
        .height = (image->height + side_y - 1) / side_y};
    const bool weighted = use == MEDIA__IMAGE_COLOR && image->alpha;
    const size_t room = (size_t)b.width * 4 * sizeof *b.sums;
    b.sums = malloc(room);
    if (!b.sums)
        return media__no_memory(reterr);
    srgb_init(&b.srgb);
    for (uint32_t y = 0; y < b.height; y++) {
        const uint32_t left = image->height - y * side_y, rows = left < side_y ? left : side_y;
        memset(b.sums, 0, room);
        for (uint32_t row = 0; row < rows; row++) {
            const uint8_t *p = image->pixels + ((size_t)y * side_y + row) * image->width * 4;
            if (weighted)
                add_row_weighted(&b, p);
            else if (media__image_is_color(use))
                add_row_light(&b, p);
            else
                add_row_numbers(&b, p);
        }
        write_row(&b, rows, use, weighted, image->pixels + (size_t)y * b.width * 4);
    }
    free(b.sums);
    image->width = b.width;
    image->height = b.height;
    return RPC_OK;
}

/* ---- filter ---------------------------------------------------------------------------------- */

/* part_x and part_y: how much of image the picture is; a last block that was cut is wider than what
 * it stands for. */
static bool filter(const media__image *image, double part_x, double part_y, media__image_use use,
    media__image *smaller)
{
    const bool color = media__image_is_color(use);
    const bool apart = use == MEDIA__IMAGE_COLOR_APART;
    return stbir_resize_region(image->pixels, (int)image->width, (int)image->height, 0,
        smaller->pixels, (int)smaller->width, (int)smaller->height, 0, STBIR_TYPE_UINT8, 4,
        color && image->alpha ? 3 : STBIR_ALPHA_CHANNEL_NONE,
        apart ? STBIR_FLAG_ALPHA_PREMULTIPLIED : 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP,
        STBIR_FILTER_DEFAULT, STBIR_FILTER_DEFAULT,
        color ? STBIR_COLORSPACE_SRGB : STBIR_COLORSPACE_LINEAR, NULL, 0, 0, (float)part_x,
        (float)part_y);
}

static void renormalise(media__image *image)
{
    const size_t count = (size_t)image->width * image->height;
    for (size_t i = 0; i < count; i++) {
        uint8_t *p = image->pixels + i * 4;
        const float x = (float)p[0] / 127.5f - 1, y = (float)p[1] / 127.5f - 1,
                    z = (float)p[2] / 127.5f - 1;
        const float length = sqrtf(x * x + y * y + z * z);
        if (length < 1e-3f) /* none is left: straight up */
            continue;
        p[0] = (uint8_t)lrintf((x / length + 1) * 127.5f);
        p[1] = (uint8_t)lrintf((y / length + 1) * 127.5f);
        p[2] = (uint8_t)lrintf((z / length + 1) * 127.5f);
    }
}

static uint32_t in_proportion(uint32_t side, uint32_t longer, uint32_t limit)
{
    const uint64_t scaled = ((uint64_t)side * limit + longer / 2) / longer;
    return scaled ? (uint32_t)scaled : 1;
}

rpc_code media__image_fit(
    media__image *image, uint32_t limit, media__image_use use, rpc_status *reterr)
{
    const uint32_t width = image->width, height = image->height;
    const uint32_t longer = width > height ? width : height;
    if (limit == 0 || longer <= limit)
        return RPC_OK;
    media__image smaller = {.width = in_proportion(width, longer, limit),
        .height = in_proportion(height, longer, limit),
        .alpha = image->alpha};
    const uint32_t side_x = width / (smaller.width * 2), side_y = height / (smaller.height * 2);
    if (side_x > 1 || side_y > 1) {
        const rpc_code code = average_blocks(
            image, side_x ? side_x : 1, side_y ? side_y : 1, use, reterr);
        if (code)
            return code;
    }
    const double part_x = side_x > 1 ? (double)width / ((double)side_x * image->width) : 1;
    const double part_y = side_y > 1 ? (double)height / ((double)side_y * image->height) : 1;
    smaller.pixels = malloc((size_t)smaller.width * smaller.height * 4);
    if (!smaller.pixels || !filter(image, part_x, part_y, use, &smaller)) {
        free(smaller.pixels);
        return media__no_memory(reterr);
    }
    if (use == MEDIA__IMAGE_NORMAL)
        renormalise(&smaller);
    free(image->pixels);
    image->pixels = smaller.pixels;
    image->width = smaller.width;
    image->height = smaller.height;
    return RPC_OK;
}
