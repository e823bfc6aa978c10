/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures drawn here: made smaller, written, and read again. */
#include "test.h"

#include "drawn.h"

#include <math.h>

static const uint8_t *at(const media__image *image, uint32_t x, uint32_t y)
{
    return image->pixels + ((size_t)y * image->width + x) * 4;
}

/* ---- smaller --------------------------------------------------------------------------------- */

static void fit(media__image *image, uint32_t limit, media__image_use use)
{
    rpc_status status = {0};
    if (media__image_fit(image, limit, use, &status))
        fail_msg("%s", status.message);
}

static void assert_fits(
    uint32_t width, uint32_t height, uint32_t limit, uint32_t new_width, uint32_t new_height)
{
    media__image image = drawn(width, height, draw_gradient);
    fit(&image, limit, MEDIA__IMAGE_COLOR);
    assert_int_equal(image.width, new_width);
    assert_int_equal(image.height, new_height);
    media__image_done(&image);
}

TEST(longer_side_meets_the_limit_and_nothing_is_enlarged)
{
    assert_fits(64, 64, 64, 64, 64);
    assert_fits(64, 64, 4096, 64, 64);
    assert_fits(100, 50, 20, 20, 10);
    assert_fits(50, 100, 20, 10, 20);
    assert_fits(1000, 3, 16, 16, 1);
    assert_fits(1, 1000, 16, 1, 16);
    assert_fits(1021, 509, 100, 100, 50);
}

/* Half of the light is 188 of 255 in sRGB, not 128: small and large reductions agree. */
TEST(colour_is_averaged_in_linear_light)
{
    for (uint32_t size = 64; size <= 1024; size *= 2) {
        media__image image = drawn(size, size, draw_board);
        fit(&image, 16, MEDIA__IMAGE_COLOR);
        for (uint32_t i = 0; i < 256; i++)
            assert_in_range(image.pixels[i * 4], 187, 189);
        media__image_done(&image);
    }
}

TEST(data_is_averaged_as_numbers)
{
    for (uint32_t size = 64; size <= 1024; size *= 2) {
        media__image image = drawn(size, size, draw_board);
        fit(&image, 16, MEDIA__IMAGE_DATA);
        for (uint32_t i = 0; i < 256; i++)
            assert_in_range(image.pixels[i * 4], 127, 128);
        media__image_done(&image);
    }
}

/* What does not show lends no colour to an edge, and edges are as soft as they should be. */
TEST(edges_of_what_shows_keep_its_colour)
{
    for (uint32_t limit = 16; limit <= 256; limit *= 2) {
        media__image image = drawn(512, 512, draw_disc);
        unsigned soft = 0;
        fit(&image, limit, MEDIA__IMAGE_COLOR);
        for (uint32_t i = 0; i < image.width * image.height; i++) {
            const uint8_t *p = image.pixels + (size_t)i * 4;
            if (p[3] < 8)
                continue;
            soft += p[3] < 248;
            assert_in_range(p[0], 197, 203);
            assert_in_range(p[1], 14, 18);
            assert_in_range(p[2], 14, 18);
        }
        assert_true(soft >= limit);
        media__image_done(&image);
    }
}

TEST(what_shows_nowhere_keeps_its_colour)
{
    media__image image = drawn(512, 512, draw_disc);
    fit(&image, 16, MEDIA__IMAGE_COLOR);
    assert_int_equal(at(&image, 0, 0)[1], 255);
    assert_int_equal(at(&image, 0, 0)[3], 0);
    media__image_done(&image);
}

TEST(normals_are_of_unit_length_and_point_where_they_did)
{
    for (uint32_t limit = 16; limit <= 256; limit *= 2) {
        media__image image = drawn(512, 512, draw_bowl), wanted = drawn(limit, limit, draw_bowl);
        fit(&image, limit, MEDIA__IMAGE_NORMAL);
        for (uint32_t i = 0; i < limit * limit; i++) {
            const uint8_t *p = image.pixels + (size_t)i * 4, *q = wanted.pixels + (size_t)i * 4;
            double length = 0;
            for (int c = 0; c < 3; c++) {
                length += (p[c] / 127.5 - 1) * (p[c] / 127.5 - 1);
                assert_true(abs(p[c] - q[c]) <= 1 + (int)(512 / limit)); /* half a pixel aside */
            }
            assert_true(fabs(sqrt(length) - 1) < 0.01);
        }
        media__image_done(&image);
        media__image_done(&wanted);
    }
}

/* A picture whose size is no multiple of the blocks is not shifted. */
TEST(size_that_does_not_divide_does_not_move_the_picture)
{
    media__image image = drawn(1023, 1023, draw_gradient);
    fit(&image, 100, MEDIA__IMAGE_DATA);
    for (uint32_t x = 2; x < 98; x++) {
        const double wanted = (x + 0.5) * 10.23 * 255 / 1023;
        assert_true(fabs(at(&image, x, 50)[0] - wanted) <= 1.5);
        assert_true(fabs(at(&image, 50, x)[1] - wanted) <= 1.5);
    }
    media__image_done(&image);
}

/* ---- written --------------------------------------------------------------------------------- */

static media__image again(
    const media__image *image, media__image_kind kind, unsigned quality, media__image_use use)
{
    rpc_status status = {0};
    uint8_t *bytes = NULL, *same = NULL;
    size_t size = 0, same_size = 0;
    media__image_info info = {.width = 0};
    media__image read = {.pixels = NULL};
    if (media__image_write(image, kind, quality, use, &bytes, &size, &status) ||
        media__image_write(image, kind, quality, use, &same, &same_size, &status) ||
        media__image_probe(rpc_bytes_of(bytes, size), &info, &status) ||
        media__image_read(rpc_bytes_of(bytes, size), true, &read, &status))
        fail_msg("%s", status.message);
    assert_int_equal(info.kind, kind);
    assert_int_equal(size, same_size); /* the same bytes each time */
    assert_memory_equal(bytes, same, size);
    assert_int_equal(read.width, image->width);
    assert_int_equal(read.height, image->height);
    assert_int_equal(read.alpha, image->alpha);
    free(bytes);
    free(same);
    return read;
}

static void assert_exact(const media__image *image, media__image_kind kind, media__image_use use)
{
    media__image read = again(image, kind, 80, use);
    assert_memory_equal(read.pixels, image->pixels, (size_t)image->width * image->height * 4);
    media__image_done(&read);
}

TEST(png_is_exact)
{
    static draw_fn *const draws[] = {
        draw_board, draw_disc, draw_gradient, draw_see_through, draw_bowl};
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
        media__image image = drawn(61, 47, draws[i]);
        assert_exact(&image, MEDIA__IMAGE_PNG, MEDIA__IMAGE_COLOR);
        media__image_done(&image);
    }
}

static unsigned few; /* colours that draw_few() has */

static void draw_few(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    (void)height;
    const unsigned color = ((x + y * width) * 0x9e3779b1U >> 8) % few; /* as if by chance */
    ret[0] = (uint8_t)(color * 37);
    ret[1] = (uint8_t)(color / 7);
    ret[2] = (uint8_t)(255 - color);
    ret[3] = 255;
}

static void draw_few_that_fade(
    uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    draw_few(x, y, width, height, ret);
    ret[3] = ret[2] % 3 ? 255 : ret[2];
}

TEST(png_of_few_colours_has_a_palette_of_as_few_bits_as_it_takes)
{
    static const struct {
        unsigned colors, type, bits;
    } cases[] = {{1, 3, 1}, {2, 3, 1}, {3, 3, 2}, {4, 3, 2}, {5, 3, 4}, {16, 3, 4}, {17, 3, 8},
        {256, 3, 8}, {257, 2, 8}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        rpc_status status = {0};
        const bool fades = i % 2;
        few = cases[i / 2].colors;
        media__image image = drawn(259, 61, fades ? draw_few_that_fade : draw_few);
        assert_exact(&image, MEDIA__IMAGE_PNG, MEDIA__IMAGE_COLOR);
        assert_int_equal(media__image_write(&image, MEDIA__IMAGE_PNG, 80, MEDIA__IMAGE_COLOR,
                             &bytes, &size, &status),
            RPC_OK);
        assert_int_equal(bytes[24], cases[i / 2].bits);
        assert_int_equal(bytes[25], cases[i / 2].type == 2 && fades ? 6 : cases[i / 2].type);
        media__image read = again(&image, MEDIA__IMAGE_PNG, 80, MEDIA__IMAGE_COLOR);
        assert_int_equal(read.palette_count, cases[i / 2].type == 3 ? few : 0);
        media__image_done(&read);
        free(bytes);
        media__image_done(&image);
    }
}

/* Colours whose places in a table are all the same: looking for each would take as many steps as
 * there are colours. */
static void draw_colliding(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    (void)height;
    static uint32_t colors[200];
    size_t count = colors[199] ? 200 : 0;
    for (uint32_t color = 0xff000000U; count < 200; color++)
        if ((color * 0x9e3779b1U) >> 18 == 7)
            colors[count++] = color;
    const uint32_t color = colors[(x + y * width) * 0x9e3779b1U % 200];
    ret[0] = (uint8_t)(color >> 16);
    ret[1] = (uint8_t)(color >> 8);
    ret[2] = (uint8_t)color;
    ret[3] = 255;
}

static void assert_no_palette(media__image *image)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    rpc_status status = {0};
    assert_int_equal(
        media__image_write(image, MEDIA__IMAGE_PNG, 80, MEDIA__IMAGE_COLOR, &bytes, &size, &status),
        RPC_OK);
    assert_int_equal(bytes[25], 2); /* the header's kind of colour: RGB */
    free(bytes);
    media__image_done(image);
}

TEST(png_of_colours_that_collide_on_purpose_has_no_palette)
{
    media__image image = drawn(259, 61, draw_colliding);
    assert_exact(&image, MEDIA__IMAGE_PNG, MEDIA__IMAGE_COLOR);
    assert_no_palette(&image);
}

/* A palette of 200 colours is longer than 200 pixels in a row that differ by one. */
TEST(png_has_no_palette_where_that_would_be_larger)
{
    media__image image = drawn(200, 1, draw_gradient);
    assert_no_palette(&image);
}

/* ---- written by the palette that a file had ---------------------------------------------------
 */

static uint32_t between(double blue)
{
    const uint32_t r = (uint32_t)lround(255 * pow(1 - blue, 1 / 2.2)),
                   b = (uint32_t)lround(255 * pow(blue, 1 / 2.2));
    return 0xff000000U | r << 16 | b;
}

/* Red and blue rings: what lies between the two are edges. */
static void draw_rings(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    const double distance = hypot(x - width / 2.0, y - height / 2.0);
    const uint32_t color = between((unsigned)(distance / 7) % 2);
    ret[0] = (uint8_t)(color >> 16);
    ret[1] = 0;
    ret[2] = (uint8_t)color;
    ret[3] = 255;
}

/* Narrow stripes of three colours, between which there is none. */
static void draw_stripes(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    (void)width;
    (void)height;
    memcpy(ret, "\0\0\0\xff", 4);
    ret[(x / 3 + y * y / 97) % 3] = 255;
}

/* Of a file whose palette goes from red to blue, made smaller and written: is it another picture?
 */
static bool is_off(draw_fn *draw, unsigned quality, media__image_use use)
{
    media__image source = drawn(512, 512, draw);
    source.palette_count = MEDIA__PALETTE_MAX;
    source.palette = malloc(MEDIA__PALETTE_MAX * sizeof *source.palette);
    for (size_t i = 0; i < MEDIA__PALETTE_MAX; i++)
        source.palette[i] = between((double)i / (MEDIA__PALETTE_MAX - 1));
    fit(&source, 200, use);
    media__image read = again(&source, MEDIA__IMAGE_PNG, quality, use);
    const size_t size = (size_t)200 * 200 * 4;
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += pow(source.pixels[i] - read.pixels[i], 2);
    assert_true(sqrt(sum / (double)size) <= 1);
    assert_int_equal(sum > 0, read.palette && read.palette_count > 2);
    media__image_done(&source);
    media__image_done(&read);
    return sum > 0;
}

TEST(png_that_had_a_palette_keeps_to_it_where_that_is_near)
{
    assert_true(is_off(draw_rings, 80, MEDIA__IMAGE_COLOR));
    assert_false(is_off(draw_rings, 100, MEDIA__IMAGE_COLOR));
    assert_false(is_off(draw_rings, 80, MEDIA__IMAGE_DATA));
    assert_false(is_off(draw_stripes, 80, MEDIA__IMAGE_COLOR)); /* greens are far off */
}

static void assert_near(
    const media__image *image, media__image_kind kind, media__image_use use, double error_max)
{
    media__image read = again(image, kind, 90, use);
    const size_t size = (size_t)image->width * image->height * 4;
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += fabs((double)read.pixels[i] - image->pixels[i]) * (image->pixels[i | 3] ? 1 : 0);
    if (sum / (double)size > error_max)
        fail_msg("kind %d: each channel is %.2f off", kind, sum / (double)size);
    media__image_done(&read);
}

TEST(jpeg_and_webp_are_near)
{
    media__image image = drawn(200, 120, draw_gradient), alpha = drawn(200, 120, draw_see_through);
    assert_near(&image, MEDIA__IMAGE_JPEG, MEDIA__IMAGE_COLOR, 3);
    assert_near(&image, MEDIA__IMAGE_WEBP, MEDIA__IMAGE_COLOR, 3);
    assert_near(&alpha, MEDIA__IMAGE_WEBP, MEDIA__IMAGE_COLOR, 3);
    media__image_done(&image);
    media__image_done(&alpha);
}

TEST(alpha_is_never_lost_to_jpeg)
{
    rpc_status status = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    media__image image = drawn(8, 8, draw_disc);
    assert_int_equal(media__image_write(
                         &image, MEDIA__IMAGE_JPEG, 80, MEDIA__IMAGE_COLOR, &bytes, &size, &status),
        RPC_INVALID_ARGUMENT);
    assert_string_equal(
        status.message, "image: JPEG: the picture has alpha, which JPEG cannot hold");
    assert_null(bytes);
    media__image_done(&image);
}

static int worst(const media__image *image, unsigned quality)
{
    media__image read = again(image, MEDIA__IMAGE_WEBP, quality, MEDIA__IMAGE_DATA);
    int most = 0;
    for (size_t i = 0; i < (size_t)image->width * image->height * 4; i++)
        if (abs(read.pixels[i] - image->pixels[i]) > most)
            most = abs(read.pixels[i] - image->pixels[i]);
    media__image_done(&read);
    return most;
}

TEST(webp_of_numbers_is_exact_or_near_unless_they_had_lost_before)
{
    media__image image = drawn(200, 120, draw_bowl);
    assert_int_equal(worst(&image, 100), 0);
    assert_in_range(worst(&image, 80), 0, 2);
    image.lossy = true;
    assert_true(worst(&image, 80) > 2);
    media__image_done(&image);
}
