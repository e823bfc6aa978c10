/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures that are good as they are, without what they say of place, time, camera and author: no
 * pixel is decoded and written anew for that. Of files that were read whole before. */
#include "image_codec.h"

#include <stdlib.h>

/* Of a chunk with a profile, whose head and name take a few bytes more. */
#define PROFILE_CHUNK_MAX (MEDIA__PROFILE_BYTES_MAX + 96)

typedef struct out {
    uint8_t *bytes; /* room for the whole file */
    size_t size;
} out;

static void put(out *o, const uint8_t *data, size_t size)
{
    memcpy(o->bytes + o->size, data, size);
    o->size += size;
}

static bool is_one_of(const uint8_t *type, const char *types)
{
    for (; *types; types += 4)
        if (memcmp(type, types, 4) == 0)
            return true;
    return false;
}

/* Those that change pixels or colours. Profiles that are too large, and pieces of pixels that have
 * none, are where a stranger hides megabytes. */
static bool is_kept_chunk(const uint8_t *type, size_t size)
{
    if (memcmp(type, "iCCP", 4) == 0)
        return size <= PROFILE_CHUNK_MAX;
    if (memcmp(type, "IDAT", 4) == 0)
        return size > 0;
    return is_one_of(type, "IHDRPLTEIENDtRNSgAMAcHRMsRGBsBITcICP");
}

/* Of an animation its first picture. */
static bool strip_png(rpc_bytes file, out *o)
{
    put(o, file.data, 8);
    for (size_t at = 8; file.size >= 12 && at <= file.size - 12;) {
        const uint8_t *p = file.data + at;
        const size_t size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (size > file.size - at - 12)
            return false;
        if (is_kept_chunk(p + 4, size))
            put(o, p, size + 12);
        if (memcmp(p + 4, "IEND", 4) == 0)
            return true;
        at += size + 12;
    }
    return false;
}

/* JFIF, a colour profile of one segment and Adobe's mark stay; comments and all other applications
 * go. */
static bool is_kept_segment(const uint8_t *p, size_t size, bool *profile)
{
    if (p[1] == 0xe2 && size >= 16 && memcmp(p + 4, "ICC_PROFILE\0\x01\x01", 14) == 0 && !*profile)
        return *profile = true;
    if (p[1] == 0xfe)
        return false;
    if (p[1] < 0xe0 || p[1] > 0xef)
        return true;
    return (p[1] == 0xe0 && size >= 7 && memcmp(p + 4, "JFIF", 5) == 0) ||
           (p[1] == 0xee && size >= 7 && memcmp(p + 4, "Adobe", 5) == 0);
}

static bool strip_jpeg(rpc_bytes file, out *o)
{
    media__jpeg_layout layout;
    rpc_status ignored;
    bool profile = false;
    if (media__jpeg_walk(file, true, &layout, &ignored) != RPC_OK)
        return false;
    put(o, file.data, 2);
    for (size_t at = 2; at + 4 <= layout.end;) {
        const uint8_t *p = file.data + at;
        if (p[1] == 0xff) { /* fill */
            at++;
            continue;
        }
        if (p[1] == 0xda) { /* scans to the end marker, with the tables between them */
            put(o, p, layout.end - at);
            return true;
        }
        const size_t size = ((size_t)p[2] << 8 | p[3]) + 2;
        if (p[0] != 0xff || size < 4 || size > layout.end - at)
            return false;
        if (is_kept_segment(p, size, &profile))
            put(o, p, size);
        at += size;
    }
    return false;
}

static bool strip_webp(rpc_bytes file, out *o)
{
    bool profile = false;
    put(o, file.data, 12);
    const size_t end = 8 + ((size_t)file.data[7] << 24 | (size_t)file.data[6] << 16 |
                               (size_t)file.data[5] << 8 | file.data[4]);
    for (size_t at = 12; end <= file.size && at + 8 <= end;) {
        const uint8_t *p = file.data + at;
        size_t size = 8 +
                      ((size_t)p[7] << 24 | (size_t)p[6] << 16 | (size_t)p[5] << 8 | (size_t)p[4]);
        size += size & 1;
        if (size > end - at)
            return false;
        if (memcmp(p, "ICCP", 4) == 0 ? size <= PROFILE_CHUNK_MAX
                                      : is_one_of(p, "VP8XALPHVP8 VP8L")) {
            put(o, p, size);
            profile |= memcmp(p, "ICCP", 4) == 0;
        }
        at += size;
    }
    if (o->size > 20 && memcmp(o->bytes + 12, "VP8X", 4) == 0)
        o->bytes[20] &= profile ? 0xf3 : 0xd3; /* neither EXIF nor XMP */
    const size_t riff = o->size - 8;
    for (int i = 0; i < 4; i++)
        o->bytes[4 + i] = (uint8_t)(riff >> 8 * i);
    return o->size > 20;
}

bool media__image_strip(
    rpc_bytes file, const media__image_info *info, uint8_t **ret, size_t *ret_size)
{
    out o = {.bytes = malloc(file.size + 1)};
    if (!o.bytes)
        return false;
    bool done = false;
    if (info->kind == MEDIA__IMAGE_PNG)
        done = strip_png(file, &o);
    else if (info->kind == MEDIA__IMAGE_JPEG)
        done = strip_jpeg(file, &o);
    else if (info->kind == MEDIA__IMAGE_WEBP && !info->animated)
        done = strip_webp(file, &o);
    if (!done) {
        free(o.bytes);
        return false;
    }
    *ret = o.bytes;
    *ret_size = o.size;
    return true;
}
