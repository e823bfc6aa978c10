/* SPDX-License-Identifier: Apache-2.0 */
/* ICC profiles: which of them say something that "sRGB" does not. */
#include "image_codec.h"

#include <stdlib.h>

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Its description (ICC.1 9.2.41): text, or text in UTF-16. */
static rpc_bytes description(rpc_bytes profile)
{
    const uint32_t tags = be32(profile.data + 128);
    for (uint32_t i = 0; i < tags && 132 + (i + 1) * 12 <= profile.size; i++) {
        const uint8_t *tag = profile.data + 132 + i * 12;
        const uint32_t at = be32(tag + 4), size = be32(tag + 8);
        if (memcmp(tag, "desc", 4) == 0 && at <= profile.size && size <= profile.size - at)
            return rpc_bytes_of(profile.data + at, size);
    }
    return rpc_bytes_of(NULL, 0);
}

static bool is_srgb(rpc_bytes profile)
{
    const rpc_bytes text = description(profile);
    return text.size && (memmem(text.data, text.size, "sRGB", 4) ||
                            memmem(text.data, text.size, "\0s\0R\0G\0B", 8));
}

rpc_code media__image_take_profile(media__image *image, rpc_bytes profile, rpc_status *reterr)
{
    if (profile.size < 132 || profile.size > MEDIA__PROFILE_BYTES_MAX ||
        be32(profile.data) != profile.size || memcmp(profile.data + 36, "acsp", 4) != 0 ||
        memcmp(profile.data + 16, "RGB ", 4) != 0 || is_srgb(profile))
        return RPC_OK;
    uint8_t *copy = malloc(profile.size);
    if (!copy)
        return media__no_memory(reterr);
    memcpy(copy, profile.data, profile.size);
    free(image->profile);
    image->profile = copy;
    image->profile_size = profile.size;
    return RPC_OK;
}
