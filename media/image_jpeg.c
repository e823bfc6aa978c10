/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG by TurboJPEG. */
#include "image_codec.h"

#include <stdlib.h>
#include <turbojpeg.h>

/* Each scan goes over the whole picture: what one file may cost. */
#define SCANS_MAX       100
#define SCAN_PIXELS_MAX (1u << 30)

static rpc_code check(const media__jpeg_layout *layout, rpc_status *reterr)
{
    if (layout->components != 1 && layout->components != 3)
        return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
            "image: JPEG: it has %u channels; only gray and colour of three channels are read, so "
            "convert CMYK to RGB",
            layout->components);
    if (layout->bits != 8)
        return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
            "image: JPEG: it has %u bits a channel; only 8 are read", layout->bits);
    if (layout->scans > SCANS_MAX ||
        (uint64_t)layout->scans * layout->width * layout->height > SCAN_PIXELS_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "image: JPEG: %u scans of %u x %u px are too many; at most %d, and %u px in all of "
            "them; save it with fewer, or as a baseline JPEG",
            layout->scans, layout->width, layout->height, SCANS_MAX, SCAN_PIXELS_MAX);
    return RPC_OK;
}

rpc_code media__jpeg_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr)
{
    media__jpeg_layout layout;
    rpc_code code = media__jpeg_walk(file, true, &layout, reterr);
    if (code == RPC_OK)
        code = check(&layout, reterr);
    if (code == RPC_OK && avatar)
        code = media__image_take_profile(image, layout.profile, reterr);
    if (code)
        return code;
    tjhandle handle = tjInitDecompress();
    if (!handle)
        return media__no_memory(reterr);
    if (tjDecompress2(handle, file.data, file.size, image->pixels, (int)image->width, 0,
            (int)image->height, TJPF_RGBA, TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING))
        code = media__image_bad(reterr, "JPEG: %s", tjGetErrorStr2(handle));
    tjDestroy(handle);
    return code;
}

/* Behind the start and JFIF's own segment, as ICC.1 B.4 wants it. */
static rpc_code add_profile(
    const media__image *image, uint8_t **bytes, size_t *size, rpc_status *reterr)
{
    const size_t segment = 18 + image->profile_size;
    uint8_t *made = realloc(*bytes, *size + segment);
    if (!made)
        return media__no_memory(reterr);
    *bytes = made;
    const size_t at = 4 + ((size_t)made[4] << 8 | made[5]); /* TurboJPEG writes JFIF always */
    memmove(made + at + segment, made + at, *size - at);
    const size_t said = segment - 2;
    const uint8_t head[4] = {0xff, 0xe2, (uint8_t)(said >> 8), (uint8_t)said};
    memcpy(made + at, head, 4);
    memcpy(made + at + 4, "ICC_PROFILE\0\x01\x01", 14);
    memcpy(made + at + 18, image->profile, image->profile_size);
    *size += segment;
    return RPC_OK;
}

rpc_code media__jpeg_write(const media__image *image, unsigned quality, media__image_use use,
    uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    int sampling = !media__image_is_color(use) || quality >= 90 ? TJSAMP_444 : TJSAMP_420;
    if (!image->profile && media__image_is_gray(image))
        sampling = TJSAMP_GRAY;
    unsigned long size = tjBufSize((int)image->width, (int)image->height, sampling);
    uint8_t *bytes = malloc(size);
    tjhandle handle = tjInitCompress();
    rpc_code code = bytes && handle ? RPC_OK : media__no_memory(reterr);
    if (code == RPC_OK &&
        tjCompress2(handle, image->pixels, (int)image->width, 0, (int)image->height, TJPF_RGBX,
            &bytes, &size, sampling, (int)media__image_quality(quality, use),
            TJFLAG_ACCURATEDCT | TJFLAG_NOREALLOC | TJFLAG_PROGRESSIVE))
        code = rpc_status_set(
            reterr, RPC_INTERNAL, "image: JPEG is not written: %s", tjGetErrorStr2(handle));
    if (handle)
        tjDestroy(handle);
    size_t made = size;
    if (code == RPC_OK && image->profile)
        code = add_profile(image, &bytes, &made, reterr);
    if (code) {
        free(bytes);
        return code;
    }
    uint8_t *fitting = realloc(bytes, made);
    *ret = fitting ? fitting : bytes;
    *ret_size = made;
    return RPC_OK;
}
