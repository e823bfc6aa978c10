/* SPDX-License-Identifier: Apache-2.0 */
/* Is a picture whole, before anybody decodes it? Of PNG, whose chunks say where they end. */
#include "image_codec.h"

#include <inttypes.h>
#include <string.h>

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

rpc_code media__image_whole(rpc_bytes file, rpc_status *reterr)
{
    media__image_info info;
    const rpc_code code = media__image_probe(file, &info, reterr);
    if (code != RPC_OK || info.kind != MEDIA__IMAGE_PNG)
        return code;
    bool pixels = false;
    for (size_t at = 8; file.size >= 12 && at <= file.size - 12;) {
        const uint32_t size = be32(file.data + at);
        const uint8_t *type = file.data + at + 4;
        if (!is_letter(type[0]) || !is_letter(type[1]) || !is_letter(type[2]) ||
            !is_letter(type[3]))
            return media__image_bad(reterr, "PNG: byte %zu: is no chunk", at);
        if (size > file.size - at - 12)
            return media__image_bad(reterr, "PNG: byte %zu: a chunk of %" PRIu32 " bytes, %zu left",
                at, size, file.size - at - 12);
        if (memcmp(type, "IEND", 4) == 0)
            return pixels ? RPC_OK : media__image_bad(reterr, "PNG: has no IDAT");
        pixels = pixels || memcmp(type, "IDAT", 4) == 0;
        at += 12 + (size_t)size;
    }
    return media__image_bad(reterr, "PNG: ends before its IEND");
}
