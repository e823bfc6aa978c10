/* SPDX-License-Identifier: Apache-2.0 */
/* The one value of EXIF that changes how a picture looks. (libexif would parse all that we drop.)
 */
#include "image_codec.h"

#define EXIF_ENTRIES_MAX     512
#define EXIF_TAG_ORIENTATION 0x0112
#define EXIF_TYPE_SHORT      3

typedef struct tiff {
    rpc_bytes bytes;
    bool big_endian;
} tiff;

static uint32_t u16(const tiff *t, size_t at)
{
    const uint8_t *p = t->bytes.data + at;
    return t->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t u32(const tiff *t, size_t at)
{
    const uint32_t first = u16(t, at), second = u16(t, at + 2);
    return t->big_endian ? first << 16 | second : second << 16 | first;
}

uint32_t media__exif_orientation(rpc_bytes exif)
{
    if (exif.size < 14)
        return 1;
    const tiff t = {exif, exif.data[0] == 'M'};
    if (memcmp(exif.data, t.big_endian ? "MM" : "II", 2) != 0 || u16(&t, 2) != 42)
        return 1;
    const size_t directory = u32(&t, 4);
    if (directory > exif.size - 2)
        return 1;
    const size_t entries = u16(&t, directory);
    for (size_t i = 0; i < entries && i < EXIF_ENTRIES_MAX; i++) {
        const size_t at = directory + 2 + i * 12;
        if (exif.size < 12 || at > exif.size - 12)
            return 1;
        if (u16(&t, at) != EXIF_TAG_ORIENTATION)
            continue;
        const uint32_t value = u16(&t, at + 8);
        const bool whole = u16(&t, at + 2) == EXIF_TYPE_SHORT && u32(&t, at + 4) == 1;
        return whole && value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}
