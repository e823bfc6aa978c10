/* SPDX-License-Identifier: Apache-2.0 */
/** Pictures that tests draw. */
#ifndef DACM_TEST_MEDIA_DRAWN_H
#define DACM_TEST_MEDIA_DRAWN_H

#include "image.h"

typedef void draw_fn(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret);

/** media__image_done() it. */
media__image drawn(uint32_t width, uint32_t height, draw_fn *draw);

draw_fn draw_board;       /* black and white pixels in turn */
draw_fn draw_disc;        /* a red disc on green that does not show */
draw_fn draw_gradient;    /* colours, opaque */
draw_fn draw_see_through; /* the same, less and less transparent */
draw_fn draw_bowl;        /* a normal map */

#endif
