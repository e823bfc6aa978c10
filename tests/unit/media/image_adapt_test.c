/* SPDX-License-Identifier: Apache-2.0 */
/* Avatars that are pictures, as media_adapt() makes variants of them. */
#include "drawn.h"
#include "files.h"

#include "image_codec.h"
#include "media.h"

typedef struct variant {
    media_result result;
    media__image_info info;
    media__image image; /* as it is shown */
} variant;

static rpc_code try_adapt(rpc_bytes source, const char *text, media_result *ret, rpc_status *reterr)
{
    media_recipe recipe;
    if (media_recipe_read(rpc_bytes_str(text), &recipe, reterr))
        fail_msg("%s: %s", text, reterr->message);
    const rpc_code code = media_adapt(source, &recipe, ret, reterr);
    media_recipe_done(&recipe);
    return code;
}

static rpc_bytes bytes_of(const variant *v)
{
    return rpc_bytes_of(v->result.bytes, v->result.size);
}

static variant adapted_bytes(rpc_bytes source, const char *recipe)
{
    rpc_status status = {0};
    variant v = {.info = {.width = 0}};
    media_result again = {.bytes = NULL};
    if (try_adapt(source, recipe, &v.result, &status) ||
        try_adapt(source, recipe, &again, &status) ||
        media__image_probe(bytes_of(&v), &v.info, &status) ||
        media__image_read(bytes_of(&v), true, &v.image, &status))
        fail_msg("%s: %s", recipe, status.message);
    assert_int_equal(again.size, v.result.size); /* the same each time */
    assert_memory_equal(again.bytes, v.result.bytes, again.size);
    assert_int_equal(v.result.figures.bytes, v.result.size);
    media_result_done(&again);
    return v;
}

static variant adapted(const char *name, const char *recipe)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(test_data(name), &size);
    variant v = adapted_bytes(rpc_bytes_of(bytes, size), recipe);
    free(bytes);
    return v;
}

static void done(variant *v)
{
    media_result_done(&v->result);
    media__image_done(&v->image);
}

static bool has(const variant *v, const char *text)
{
    return memmem(v->result.bytes, v->result.size, text, strlen(text)) != NULL;
}

TEST(orientation_is_in_the_pixels_and_metadata_is_gone)
{
    static const char *const names[] = {"images/exif-portrait-1.jpg", "images/exif-portrait-6.jpg",
        "images/exif-portrait-8.jpg", "images/exif-landscape-3.jpg", "images/exif-landscape-6.jpg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        variant v = adapted(names[i], "{\"texture_size_limit\":256}");
        const bool portrait = strstr(names[i], "portrait");
        assert_int_equal(v.info.orientation, 1);
        assert_int_equal(v.image.width, portrait ? 171 : 256);
        assert_int_equal(v.image.height, portrait ? 256 : 171);
        assert_false(has(&v, "Exif"));
        assert_string_equal(v.result.media_type, "image/jpeg");
        done(&v);
    }
}

/* A picture of one photograph stored in several ways: all of them look alike. */
TEST(orientations_of_one_photograph_look_alike)
{
    variant a = adapted("images/exif-portrait-1.jpg", "{\"texture_size_limit\":64}");
    static const char *const names[] = {"images/exif-portrait-6.jpg", "images/exif-portrait-8.jpg"};
    for (size_t i = 0; i < 2; i++) {
        variant b = adapted(names[i], "{\"texture_size_limit\":64}");
        double sum = 0;
        const size_t size = (size_t)a.image.width * a.image.height * 4;
        assert_int_equal(a.image.width, b.image.width);
        assert_int_equal(a.image.height, b.image.height);
        for (size_t j = 0; j < size; j++)
            sum += abs(a.image.pixels[j] - b.image.pixels[j]);
        assert_true(sum / (double)size < 6); /* its digit differs */
        done(&b);
    }
    done(&a);
}

static void assert_same_pixels(const char *name, const char *gone)
{
    size_t size = 0;
    rpc_status status = {0};
    uint8_t *bytes = file_bytes(name, &size);
    media__image source = {.pixels = NULL};
    variant v = adapted_bytes(rpc_bytes_of(bytes, size), "{\"texture_size_limit\":4096}");
    assert_int_equal(media__image_read(rpc_bytes_of(bytes, size), true, &source, &status), RPC_OK);
    assert_int_equal(v.image.width, source.width);
    assert_int_equal(v.image.height, source.height);
    assert_memory_equal(v.image.pixels, source.pixels, (size_t)source.width * source.height * 4);
    assert_int_equal(v.image.profile_size, source.profile_size);
    assert_true(v.result.size <= size);
    assert_true(!gone || (memmem(bytes, size, gone, strlen(gone)) && !has(&v, gone)));
    media__image_done(&source);
    free(bytes);
    done(&v);
}

#define CORPUS DACM_SOURCE_DIR "/tests/fuzz/corpus/image/"

TEST(picture_that_fits_loses_metadata_and_no_pixel)
{
    assert_same_pixels(test_data("images/exif-xmp-metadata.jpg"), "ns.adobe.com");
    assert_same_pixels(test_data("images/exif-landscape-1.jpg"), "Exif");
    assert_same_pixels(test_data("images/progressive-cat.jpg"), NULL);
    assert_same_pixels(test_data("images/fractal.png"), NULL);
    assert_same_pixels(test_data("images/apng-ball.png"), "fdAT");
    assert_same_pixels(test_data("images/pngsuite-ftbwn3p08.png"), NULL);
    assert_same_pixels(CORPUS "webp-lossless", NULL);
    assert_same_pixels(CORPUS "webp-lossy", NULL);
    assert_same_pixels(CORPUS "png-profile", NULL);
}

/* The file with a part put in before a mark, adapted: the part is gone, and no pixel. */
static void assert_put_in_goes(
    const char *name, const char *mark, const uint8_t *part, size_t part_size)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(name, &size);
    const uint8_t *place = memmem(bytes, size, mark, strlen(mark));
    assert_true(place && place - bytes >= 4);
    const size_t at = (size_t)(place - bytes) - 4;
    uint8_t *larger = malloc(size + part_size);
    assert_non_null(larger);
    memcpy(larger, bytes, at);
    memcpy(larger + at, part, part_size);
    memcpy(larger + at + part_size, bytes + at, size - at);
    variant plain = adapted_bytes(rpc_bytes_of(bytes, size), "{\"texture_size_limit\":4096}");
    variant v = adapted_bytes(
        rpc_bytes_of(larger, size + part_size), "{\"texture_size_limit\":4096}");
    assert_int_equal(v.result.size, plain.result.size);
    assert_memory_equal(v.result.bytes, plain.result.bytes, v.result.size);
    done(&plain);
    done(&v);
    free(larger);
    free(bytes);
}

TEST(profile_that_is_too_large_does_not_go_along)
{
    enum { SEGMENT = 65000, SEGMENTS = 3 };
    static const uint8_t empty[12] = {0, 0, 0, 0, 'I', 'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e};
    uint8_t *segments = calloc(SEGMENTS, SEGMENT + 2);
    assert_non_null(segments);
    for (size_t i = 0; i < SEGMENTS; i++) {
        uint8_t *at = segments + i * (SEGMENT + 2);
        memcpy(at, "\xff\xe2\xfd\xe8ICC_PROFILE", 16);
        at[16] = (uint8_t)(i + 1);
        at[17] = SEGMENTS;
    }
    assert_put_in_goes(
        CORPUS "jpeg-444-progressive", "JFIF", segments, SEGMENTS * (size_t)(SEGMENT + 2));
    assert_put_in_goes(CORPUS "png-gray", "IDAT", empty, sizeof empty);
    free(segments);
}

TEST(budget_of_bytes_is_met_and_made_use_of)
{
    static const char *const recipes[] = {"{\"max_bytes\":60000}",
        "{\"max_bytes\":20000,\"texture_size_limit\":512,\"texture_format\":\"webp\"}",
        "{\"max_bytes\":60000,\"texture_size_limit\":512,\"texture_format\":\"png\"}",
        "{\"max_bytes\":5000,\"texture_size_limit\":512}", "{\"max_bytes\":1500}"};
    static const size_t budgets[] = {60000, 20000, 60000, 5000, 1500};
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        variant v = adapted("images/exif-landscape-1.jpg", recipes[i]);
        if (v.result.size > budgets[i] || v.result.size < budgets[i] / 2)
            fail_msg("%s: %zu bytes, %u px", recipes[i], v.result.size, v.image.width);
        done(&v);
    }
}

static void assert_refused(const char *name, const char *recipe, rpc_code code, const char *why)
{
    size_t size = 0;
    rpc_status status = {0};
    media_result result = {.bytes = NULL};
    uint8_t *bytes = file_bytes(test_data(name), &size);
    const rpc_code got = try_adapt(rpc_bytes_of(bytes, size), recipe, &result, &status);
    if (got != code || !strstr(status.message, why))
        fail_msg("%s: %s '%s'", name, rpc_code_name(got), status.message);
    free(bytes);
}

TEST(budget_that_no_picture_meets_is_refused_with_what_would_be)
{
    assert_refused("images/fractal.png", "{\"max_bytes\":60}", RPC_FAILED_PRECONDITION,
        "max_bytes: 60 is out of reach: the picture has ");
}

TEST(broken_pictures_are_refused)
{
    assert_refused("broken/made/jpeg-truncated.jpg", "{\"texture_size_limit\":64}",
        RPC_INVALID_ARGUMENT, "JPEG: cut at byte 115775");
    assert_refused("broken/made/png-bomb-12000x12000.png", "{\"texture_size_limit\":64}",
        RPC_RESOURCE_EXHAUSTED, "12000 × 12000 px");
    assert_refused("broken/made/png-bad-crc.png", "{\"texture_size_limit\":2048}",
        RPC_INVALID_ARGUMENT, "PNG: byte ");
}

TEST(a_texture_of_graphics_cards_alone_is_no_avatar_that_is_adapted)
{
    static const char ktx2[80] = "\xabKTX 20\xbb\r\n\x1a\n\0\0\0\0\x01\0\0\0\0\x04\0\0\0\x02";
    rpc_status status = {0};
    media_result result = {.bytes = NULL};
    assert_int_equal(
        try_adapt(rpc_bytes_of(ktx2, sizeof ktx2), "{\"texture_size_limit\":64}", &result, &status),
        RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "KTX2 picture is not adapted on its own; ask for"));
}

static void assert_type(const char *name, const char *recipe, const char *type)
{
    variant v = adapted(name, recipe);
    if (strcmp(v.result.media_type, type) != 0)
        fail_msg("%s %s: %s", name, recipe, v.result.media_type);
    done(&v);
}

TEST(type_is_what_is_asked_for_or_taken_and_holds_alpha)
{
    assert_type("images/fractal.png", "{\"texture_format\":\"jpeg\"}", "image/jpeg");
    assert_type("images/fractal.png", "{\"texture_format\":\"webp\"}", "image/webp");
    assert_type("images/pngsuite-basn6a08.png", "{\"texture_format\":\"jpeg\"}", "image/png");
    assert_type("images/pngsuite-basn6a08.png",
        "{\"accept\":{\"media_types\":[\"image/webp\",\"image/jpeg\"]}}", "image/webp");
    assert_type(
        "images/fractal.png", "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}", "image/jpeg");
    assert_refused("images/pngsuite-basn6a08.png",
        "{\"accept\":{\"media_types\":[\"image/jpeg\"]}}", RPC_FAILED_PRECONDITION,
        "image/png with alpha");
}

TEST(every_real_picture_is_adapted)
{
    static const char *const recipes[] = {"{\"preset\":\"low\"}",
        "{\"texture_size_limit\":64,\"texture_format\":\"webp\"}",
        "{\"texture_size_limit\":64,\"texture_format\":\"png\"}"};
    static const char *const names[] = {"apng-ball.png", "arithmetic.jpg",
        "avatar-aian-f-1-busi.jpg", "avatar-nhpi-m-1-casual.jpg", "avatar-white-m-1-casual.jpg",
        "exif-xmp-metadata.jpg", "fractal.png", "photo-large.jpg", "pngsuite-basn0g16.png",
        "pngsuite-basn3p04.png", "pngsuite-basn6a08.png", "pngsuite-ftbwn3p08.png",
        "pngsuite-ibasn6a16.png", "progressive-cat.jpg", "rgb-16-bit-monkey.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t j = 0; j < 3; j++) {
            char name[128];
            if (j && strcmp(names[i], "photo-large.jpg") == 0)
                continue; /* once is enough of 12 million pixels */
            snprintf(name, sizeof name, "images/%s", names[i]);
            variant v = adapted(name, recipes[j]);
            assert_true(v.image.width <= (j ? 64 : 256) && v.image.height <= (j ? 64 : 256));
            done(&v);
        }
}
