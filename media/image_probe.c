/* SPDX-License-Identifier: Apache-2.0 */
/* What the bytes of a picture say of themselves, before anything of them is decoded. */
#include "image_codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

rpc_code media__image_bad(rpc_status *reterr, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rpc_text_printable(text);
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "image: %s", text);
}

const char *media__image_kind_name(media__image_kind kind)
{
    static const char *const names[] = {
        [MEDIA__IMAGE_PNG] = "PNG",
        [MEDIA__IMAGE_JPEG] = "JPEG",
        [MEDIA__IMAGE_WEBP] = "WebP",
        [MEDIA__IMAGE_KTX2] = "KTX2",
    };
    return names[kind];
}

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* ---- PNG ------------------------------------------------------------------------------------- */

/* Colour type and bit depth that go together (PNG 11.2.1). */
static bool png_depth_known(unsigned color, unsigned depth)
{
    switch (color) {
    case 0:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case 3:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
        return depth == 8 || depth == 16;
    default:
        return false;
    }
}

/* What chunks behind IHDR say; damaged ones are the decoder's to find. */
static void png_chunks(rpc_bytes file, media__image_info *info)
{
    for (size_t at = 33; file.size >= 12 && at <= file.size - 12;) {
        const uint32_t size = be32(file.data + at);
        if (size > file.size - at - 12)
            return;
        const uint8_t *type = file.data + at + 4;
        if (memcmp(type, "tRNS", 4) == 0)
            info->alpha = true;
        else if (memcmp(type, "acTL", 4) == 0)
            info->animated = true;
        else if (memcmp(type, "eXIf", 4) == 0)
            info->orientation = media__exif_orientation(rpc_bytes_of(type + 4, size));
        at += 12 + (size_t)size;
    }
}

static rpc_code png_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    const uint8_t *p = file.data;
    if (file.size < 33)
        return media__image_bad(reterr, "PNG: cut at byte %zu, within its header", file.size);
    if (be32(p + 8) != 13 || memcmp(p + 12, "IHDR", 4) != 0)
        return media__image_bad(reterr, "PNG: byte 8: its first chunk is no IHDR of 13 bytes");
    const uint32_t width = be32(p + 16), height = be32(p + 20);
    const unsigned depth = p[24], color = p[25];
    if (!png_depth_known(color, depth))
        return media__image_bad(
            reterr, "PNG: byte 24: there is no colour type %u of %u bits", color, depth);
    if (p[26] != 0 || p[27] != 0 || p[28] > 1)
        return media__image_bad(
            reterr, "PNG: byte 26: its compression, filter or interlacing is unknown");
    *ret = (media__image_info){.kind = MEDIA__IMAGE_PNG,
        .width = width,
        .height = height,
        .orientation = 1,
        .alpha = color == 4 || color == 6,
        .gray = color == 0 || color == 4,
        .bits = color == 3 ? 8 : depth};
    png_chunks(file, ret);
    return RPC_OK;
}

/* ---- JPEG ------------------------------------------------------------------------------------ */

static rpc_code jpeg_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    media__jpeg_layout layout;
    const rpc_code code = media__jpeg_walk(file, false, &layout, reterr);
    if (code)
        return code;
    *ret = (media__image_info){.kind = MEDIA__IMAGE_JPEG,
        .width = layout.width,
        .height = layout.height,
        .orientation = media__exif_orientation(layout.exif),
        .gray = layout.components == 1,
        .bits = layout.bits};
    return RPC_OK;
}

/* ---- WebP ------------------------------------------------------------------------------------ */

static uint32_t le24(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* The first chunk of a kind that gives the size. */
static rpc_code webp_size(
    const uint8_t *type, rpc_bytes chunk, size_t at, media__image_info *ret, rpc_status *reterr)
{
    const uint8_t *p = chunk.data;
    if (memcmp(type, "VP8X", 4) == 0 && chunk.size >= 10) {
        ret->animated = p[0] & 0x02;
        ret->alpha = p[0] & 0x10;
        ret->width = le24(p + 4) + 1;
        ret->height = le24(p + 7) + 1;
        return RPC_OK;
    }
    if (memcmp(type, "VP8L", 4) == 0 && chunk.size >= 5 && p[0] == 0x2f) {
        const uint32_t bits = le32(p + 1);
        ret->width = (bits & 0x3fff) + 1;
        ret->height = (bits >> 14 & 0x3fff) + 1;
        ret->alpha = bits >> 28 & 1;
        return RPC_OK;
    }
    if (memcmp(type, "VP8 ", 4) == 0 && chunk.size >= 10 && memcmp(p + 3, "\x9d\x01\x2a", 3) == 0) {
        ret->width = le24(p + 6) & 0x3fff;
        ret->height = le24(p + 8) & 0x3fff;
        return RPC_OK;
    }
    return media__image_bad(reterr, "WebP: byte %zu: no header of a picture where one must be", at);
}

rpc_bytes media__webp_chunk(rpc_bytes file, const char *type)
{
    const rpc_bytes none = {NULL, 0};
    for (size_t at = 12; file.size >= 8 && at <= file.size - 8;) {
        const size_t size = le32(file.data + at + 4);
        if (size > file.size - at - 8)
            return none;
        if (memcmp(file.data + at, type, 4) == 0)
            return rpc_bytes_of(file.data + at + 8, size);
        at += 8 + size + (size & 1);
    }
    return none;
}

/* EXIF stands behind the picture. */
static uint32_t webp_orientation(rpc_bytes file)
{
    rpc_bytes exif = media__webp_chunk(file, "EXIF");
    if (exif.size >= 6 && memcmp(exif.data, "Exif\0\0", 6) == 0) /* some writers add it */
        exif = rpc_bytes_of(exif.data + 6, exif.size - 6);
    return media__exif_orientation(exif);
}

static rpc_code webp_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    if (file.size < 30)
        return media__image_bad(reterr, "WebP: cut at byte %zu, within its header", file.size);
    const size_t riff_size = le32(file.data + 4), size = le32(file.data + 16);
    if (riff_size < 12 || riff_size > file.size - 8)
        return media__image_bad(reterr,
            "WebP: byte 4: its RIFF header says %zu bytes, there are %zu", riff_size,
            file.size - 8);
    if (size > riff_size - 12)
        return media__image_bad(reterr, "WebP: byte 16: its first chunk is longer than the file");
    media__image_info info = {.kind = MEDIA__IMAGE_WEBP, .orientation = 1, .bits = 8};
    const rpc_code code = webp_size(
        file.data + 12, rpc_bytes_of(file.data + 20, size), 12, &info, reterr);
    if (code)
        return code;
    if (memcmp(file.data + 12, "VP8X", 4) == 0)
        info.orientation = webp_orientation(rpc_bytes_of(file.data, riff_size + 8));
    *ret = info;
    return RPC_OK;
}

/* ---- KTX2 ------------------------------------------------------------------------------------ */

static rpc_code ktx2_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    if (file.size < 80)
        return media__image_bad(reterr, "KTX2: cut at byte %zu, within its header", file.size);
    const uint32_t height = le32(file.data + 24);
    *ret = (media__image_info){.kind = MEDIA__IMAGE_KTX2,
        .width = le32(file.data + 20),
        .height = height ? height : 1, /* a line */
        .orientation = 1,
        .bits = 8};
    return RPC_OK;
}

/* ---- which of them --------------------------------------------------------------------------- */

static bool begins(rpc_bytes file, const char *with, size_t size)
{
    return file.size >= size && memcmp(file.data, with, size) == 0;
}

typedef rpc_code probe_fn(rpc_bytes file, media__image_info *ret, rpc_status *reterr);

/* NULL: of no kind that is known here. */
static probe_fn *probe_of(rpc_bytes file)
{
    if (begins(file, "\x89PNG\r\n\x1a\n", 8))
        return png_probe;
    if (begins(file, "\xff\xd8\xff", 3))
        return jpeg_probe;
    if (begins(file, "RIFF", 4) && file.size >= 12 && memcmp(file.data + 8, "WEBP", 4) == 0)
        return webp_probe;
    return begins(file, "\xabKTX 20\xbb\r\n\x1a\n", 12) ? ktx2_probe : NULL;
}

bool media__image_is(rpc_bytes file)
{
    return probe_of(file) != NULL;
}

static rpc_code probe_kind(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    probe_fn *const probe = probe_of(file);
    if (probe)
        return probe(file, ret, reterr);
    return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
        "image: the bytes are neither PNG, JPEG, WebP nor KTX2; use one of these");
}

rpc_code media__image_probe(rpc_bytes file, media__image_info *ret, rpc_status *reterr)
{
    media__image_info info = {.kind = 0};
    const rpc_code code = probe_kind(file, &info, reterr);
    if (code)
        return code;
    if (info.width == 0 || info.height == 0)
        return media__image_bad(reterr, "%s: its size is %" PRIu32 " × %" PRIu32 " px",
            media__image_kind_name(info.kind), info.width, info.height);
    if (info.width > MEDIA__IMAGE_SIDE_MAX || info.height > MEDIA__IMAGE_SIDE_MAX ||
        (uint64_t)info.width * info.height > MEDIA__IMAGE_PIXELS_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "image: %s of %" PRIu32 " × %" PRIu32 " px; at most %d px a side and %u px in all are "
            "read",
            media__image_kind_name(info.kind), info.width, info.height, MEDIA__IMAGE_SIDE_MAX,
            MEDIA__IMAGE_PIXELS_MAX);
    *ret = info;
    return RPC_OK;
}
