/* SPDX-License-Identifier: Apache-2.0 */
#include "drawn.h"

#include <math.h>
#include <stdlib.h>

media__image drawn(uint32_t width, uint32_t height, draw_fn *draw)
{
    media__image image = {.width = width, .height = height};
    image.pixels = malloc((size_t)width * height * 4);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *p = image.pixels + ((size_t)y * width + x) * 4;
            draw(x, y, width, height, p);
            image.alpha |= p[3] != 0xff;
        }
    return image;
}

static void set(uint8_t *p, uint8_t r, uint8_t g, uint8_t b, uint8_t a)
{
    p[0] = r;
    p[1] = g;
    p[2] = b;
    p[3] = a;
}

void draw_board(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *p)
{
    (void)width;
    (void)height;
    const uint8_t value = (x + y) % 2 ? 255 : 0;
    set(p, value, value, value, 255);
}

/* A red disc on green that does not show. */
void draw_disc(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *p)
{
    const double dx = x - width / 2.0, dy = y - height / 2.0;
    if (sqrt(dx * dx + dy * dy) < width / 3.0)
        set(p, 200, 16, 16, 255);
    else
        set(p, 0, 255, 0, 0);
}

void draw_gradient(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *p)
{
    set(p, (uint8_t)(x * 255 / width), (uint8_t)(y * 255 / height), (uint8_t)((x + y) & 255), 255);
}

void draw_see_through(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *p)
{
    draw_gradient(x, y, width, height, p);
    p[3] = (uint8_t)(y * 255 / height);
}

/* The inside of a bowl, as a normal map. */
void draw_bowl(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *p)
{
    const double nx = 1.4 * x / width - 0.7, ny = 1.4 * y / height - 0.7;
    const double nz = sqrt(fmax(0, 1 - nx * nx - ny * ny));
    set(p, (uint8_t)lrint((nx + 1) * 127.5), (uint8_t)lrint((ny + 1) * 127.5),
        (uint8_t)lrint((nz + 1) * 127.5), 255);
}
