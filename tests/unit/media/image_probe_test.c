/* SPDX-License-Identifier: Apache-2.0 */
/* What pictures say of themselves: real ones, and headers cut, bent and lying. */
#include "files.h"

#include "image.h"

/* ---- real pictures --------------------------------------------------------------------------- */

typedef struct known {
    const char *name;
    media__image_info info;
} known;

#define PNG_(...)                                                                                  \
    {                                                                                              \
        .kind = MEDIA__IMAGE_PNG, .orientation = 1, __VA_ARGS__                                    \
    }
#define JPEG_(...)                                                                                 \
    {                                                                                              \
        .kind = MEDIA__IMAGE_JPEG, .bits = 8, __VA_ARGS__                                          \
    }

static const known pictures[] = {
    {"apng-ball.png",
        PNG_(.width = 100, .height = 100, .alpha = true, .animated = true, .bits = 8)},
    {"arithmetic.jpg", JPEG_(.width = 227, .height = 149, .orientation = 1)},
    {"avatar-aian-f-1-busi.jpg", JPEG_(.width = 400, .height = 479, .orientation = 1)},
    {"avatar-nhpi-m-1-casual.jpg", JPEG_(.width = 400, .height = 479, .orientation = 1)},
    {"avatar-white-m-1-casual.jpg", JPEG_(.width = 400, .height = 479, .orientation = 1)},
    {"exif-landscape-1.jpg", JPEG_(.width = 1800, .height = 1200, .orientation = 1)},
    {"exif-landscape-3.jpg", JPEG_(.width = 1800, .height = 1200, .orientation = 3)},
    {"exif-landscape-6.jpg", JPEG_(.width = 1200, .height = 1800, .orientation = 6)},
    {"exif-portrait-1.jpg", JPEG_(.width = 1200, .height = 1800, .orientation = 1)},
    {"exif-portrait-6.jpg", JPEG_(.width = 1800, .height = 1200, .orientation = 6)},
    {"exif-portrait-8.jpg", JPEG_(.width = 1800, .height = 1200, .orientation = 8)},
    {"exif-xmp-metadata.jpg", JPEG_(.width = 5, .height = 5, .orientation = 1)},
    {"fractal.png", PNG_(.width = 800, .height = 800, .bits = 8)},
    {"photo-large.jpg", JPEG_(.width = 4032, .height = 3024, .orientation = 1)},
    {"pngsuite-basn0g16.png", PNG_(.width = 32, .height = 32, .gray = true, .bits = 16)},
    {"pngsuite-basn3p04.png", PNG_(.width = 32, .height = 32, .bits = 8)},
    {"pngsuite-basn6a08.png", PNG_(.width = 32, .height = 32, .alpha = true, .bits = 8)},
    {"pngsuite-ftbwn3p08.png", PNG_(.width = 32, .height = 32, .alpha = true, .bits = 8)},
    {"pngsuite-ibasn6a16.png", PNG_(.width = 32, .height = 32, .alpha = true, .bits = 16)},
    {"progressive-cat.jpg", JPEG_(.width = 320, .height = 240, .orientation = 1)},
    {"rgb-16-bit-monkey.png", PNG_(.width = 149, .height = 227, .bits = 16)},
};

TEST(headers_of_real_pictures_are_read)
{
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        char name[256];
        rpc_status status = {0};
        media__image_info info = {0};
        const media__image_info *wanted = &pictures[i].info;
        snprintf(name, sizeof name, "images/%s", pictures[i].name);
        size_t size = 0;
        uint8_t *bytes = file_bytes(test_data(name), &size);
        if (media__image_probe(rpc_bytes_of(bytes, size), &info, &status))
            fail_msg("%s: %s", name, status.message);
        if (info.kind != wanted->kind || info.width != wanted->width ||
            info.height != wanted->height || info.orientation != wanted->orientation ||
            info.alpha != wanted->alpha || info.gray != wanted->gray ||
            info.animated != wanted->animated || info.bits != wanted->bits)
            fail_msg(
                "%s: kind %d, %u × %u, orientation %u, alpha %d, gray %d, animated %d, %u bits",
                name, info.kind, info.width, info.height, info.orientation, info.alpha, info.gray,
                info.animated, info.bits);
        free(bytes);
    }
}

/* ---- headers drawn by hand ------------------------------------------------------------------- */

#define PNG_HEADER "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x03\x08\x06\0\0\0\0\0\0\0"
#define JPEG_FRAME "\xff\xc0\0\x11\x08\0\x05\0\x09\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xda"
#define TIFF_LE(v) "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" v "\0\0\0\0\0\0\0"
#define TIFF_BE(v) "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" v "\0\0\0\0\0\0"
#define JPEG_EXIF(tiff)                                                                            \
    "\xff\xd8\xff\xe1\0\x22"                                                                       \
    "Exif\0\0" tiff JPEG_FRAME
#define WEBP_LOSSLESS "RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\x06\xc0\x01\x10\0\0\0\0\0"
#define WEBP_LOSSY    "RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x07\0\x05\0"
#define WEBP_EXTENDED                                                                              \
    "RIFF\x38\0\0\0WEBPVP8X\x0a\0\0\0\x1a\0\0\0\xff\x01\0\x7f\0\0"                                 \
    "EXIF\x1a\0\0\0" TIFF_LE("\x06")
#define KTX2_HEADER                                                                                \
    "\xabKTX 20\xbb\r\n\x1a\n\0\0\0\0\x01\0\0\0\0\x04\0\0\0\x02\0\0\0\0\0\0\0\0\0\0"               \
    "\0\0\0\0\0\0\0\0\0\0\0\0"                                                                     \
    "\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define BYTES(text) rpc_bytes_of(text, sizeof text - 1)

static void assert_says(
    rpc_bytes file, media__image_kind kind, uint32_t width, uint32_t height, uint32_t orientation)
{
    rpc_status status = {0};
    media__image_info info = {0};
    if (media__image_probe(file, &info, &status))
        fail_msg("%s", status.message);
    assert_int_equal(info.kind, kind);
    assert_int_equal(info.width, width);
    assert_int_equal(info.height, height);
    assert_int_equal(info.orientation, orientation);
}

TEST(each_kind_is_known_by_its_bytes)
{
    assert_says(BYTES(PNG_HEADER), MEDIA__IMAGE_PNG, 2, 3, 1);
    assert_says(BYTES("\xff\xd8" JPEG_FRAME), MEDIA__IMAGE_JPEG, 9, 5, 1);
    assert_says(BYTES(WEBP_LOSSLESS), MEDIA__IMAGE_WEBP, 7, 8, 1);
    assert_says(BYTES(WEBP_LOSSY), MEDIA__IMAGE_WEBP, 7, 5, 1);
    assert_says(BYTES(WEBP_EXTENDED), MEDIA__IMAGE_WEBP, 512, 128, 6);
    assert_says(BYTES(KTX2_HEADER), MEDIA__IMAGE_KTX2, 1024, 512, 1);
}

TEST(orientation_is_read_in_both_byte_orders)
{
    assert_says(BYTES(JPEG_EXIF(TIFF_LE("\x08"))), MEDIA__IMAGE_JPEG, 9, 5, 8);
    assert_says(BYTES(JPEG_EXIF(TIFF_BE("\x03"))), MEDIA__IMAGE_JPEG, 9, 5, 3);
    assert_says(BYTES(PNG_HEADER "\0\0\0\x1a"
                                 "eXIf" TIFF_BE("\x05") "\0\0\0\0"),
        MEDIA__IMAGE_PNG, 2, 3, 5);
}

TEST(damaged_exif_is_no_orientation)
{
    assert_says(BYTES(JPEG_EXIF(TIFF_LE("\x09"))), MEDIA__IMAGE_JPEG, 9, 5, 1);
    assert_says(BYTES(JPEG_EXIF(TIFF_LE("\0"))), MEDIA__IMAGE_JPEG, 9, 5, 1);
    /* a directory beyond the data, one of more entries than there are, a wrong type */
    assert_says(BYTES(JPEG_EXIF("II*\0\xff\xff\xff\xff\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0"
                                "\0\0")),
        MEDIA__IMAGE_JPEG, 9, 5, 1);
    assert_says(BYTES(JPEG_EXIF("II*\0\x08\0\0\0\xff\xff\x11\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0"
                                "\0")),
        MEDIA__IMAGE_JPEG, 9, 5, 1);
    assert_says(BYTES(JPEG_EXIF("II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0")),
        MEDIA__IMAGE_JPEG, 9, 5, 1);
}

static void assert_refused(rpc_bytes file, rpc_code code, const char *why)
{
    rpc_status status = {0};
    media__image_info info = {0};
    const rpc_code got = media__image_probe(file, &info, &status);
    if (got != code || !strstr(status.message, why))
        fail_msg("%s: '%s' without '%s'", rpc_code_name(got), status.message, why);
    assert_int_equal(info.width, 0);
}

static void assert_file_refused(const char *name, const char *why)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(test_data(name), &size);
    assert_refused(rpc_bytes_of(bytes, size), RPC_RESOURCE_EXHAUSTED, why);
    free(bytes);
}

TEST(header_cut_at_any_byte_is_refused)
{
    static const struct {
        const char *text;
        size_t size;
    } whole[] = {{PNG_HEADER, sizeof PNG_HEADER - 1},
        {"\xff\xd8" JPEG_FRAME, sizeof JPEG_FRAME + 1}, {WEBP_LOSSY, sizeof WEBP_LOSSY - 1},
        {WEBP_LOSSLESS, sizeof WEBP_LOSSLESS - 1}, {KTX2_HEADER, sizeof KTX2_HEADER - 1}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        for (size_t size = 0; size < whole[i].size; size++) {
            uint8_t *exact = malloc(size + 1); /* reading beyond it is seen */
            memcpy(exact, whole[i].text, size);
            exact = realloc(exact, size ? size : 1);
            media__image_info info;
            rpc_status status = {0};
            const rpc_code code = media__image_probe(rpc_bytes_of(exact, size), &info, &status);
            assert_true(code == RPC_INVALID_ARGUMENT || code == RPC_UNIMPLEMENTED);
            assert_int_equal(strncmp(status.message, "image: ", 7), 0);
            free(exact);
        }
}

TEST(what_is_no_picture_is_told_what_would_be)
{
    assert_refused(BYTES("GIF89a"), RPC_UNIMPLEMENTED, "neither PNG, JPEG, WebP nor KTX2");
    assert_refused(rpc_bytes_of(NULL, 0), RPC_UNIMPLEMENTED, "neither PNG");
    assert_refused(BYTES("RIFF\x04\0\0\0WAVE"), RPC_UNIMPLEMENTED, "neither PNG");
}

TEST(header_that_cannot_be_is_refused)
{
    assert_refused(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\0\0\0\0\x03\x08\x06\0\0\0\0\0\0\0"),
        RPC_INVALID_ARGUMENT, "PNG: its size is 0 × 3 px");
    assert_refused(
        BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x03\x10\x03\0\0\0\0\0\0\0"),
        RPC_INVALID_ARGUMENT, "no colour type 3 of 16 bits");
    assert_refused(
        BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x03\x08\x06\0\0\x02\0\0\0\0"),
        RPC_INVALID_ARGUMENT, "interlacing is unknown");
    assert_refused(
        BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT\0\0\0\x02\0\0\0\x03\x08\x06\0\0\0\0\0\0\0"),
        RPC_INVALID_ARGUMENT, "no IHDR");
    assert_refused(BYTES("\xff\xd8\xff\xc0\0\x02\x08\0\x05\0\x09\x03\x01\x22\0"),
        RPC_INVALID_ARGUMENT, "frame header is cut");
    assert_refused(
        BYTES("\xff\xd8\xff\xe0\xff\xff\0\0"), RPC_INVALID_ARGUMENT, "longer than the file");
    assert_refused(BYTES("\xff\xd8\xff\xe0\0\0\0\0"), RPC_INVALID_ARGUMENT, "too short");
    assert_refused(
        BYTES("\xff\xd8\xff\xd9\0\0\0\0"), RPC_INVALID_ARGUMENT, "before a frame header");
    assert_refused(BYTES("\xff\xd8\xff\xe0\0\x04\0\0\0\0"), RPC_INVALID_ARGUMENT, "no marker");
    assert_refused(BYTES("RIFF\x17\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x07\0\x05\0"),
        RPC_INVALID_ARGUMENT, "RIFF header says 23 bytes, there are 22");
    assert_refused(BYTES("RIFF\x16\0\0\0WEBPVP8 \x0b\0\0\0\0\0\0\x9d\x01\x2a\x07\0\x05\0"),
        RPC_INVALID_ARGUMENT, "first chunk is longer");
    assert_refused(BYTES("RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2b\x07\0\x05\0"),
        RPC_INVALID_ARGUMENT, "no header of a picture");
}

TEST(too_large_is_refused_before_anything_is_decoded)
{
    assert_refused(
        BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x40\x01\0\0\0\x01\x08\x06\0\0\0\0\0\0\0"),
        RPC_RESOURCE_EXHAUSTED, "PNG of 16385 × 1 px; at most 16384 px a side");
    assert_refused(
        BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x20\0\0\0\x20\x01\x08\x06\0\0\0\0\0\0\0"),
        RPC_RESOURCE_EXHAUSTED, "67108864 px in all");
    assert_file_refused("broken/made/png-bomb-12000x12000.png", "12000 × 12000 px");
    assert_file_refused("broken/made/png-declares-2147483647.png", "2147483647");
}
