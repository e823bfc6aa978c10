/* SPDX-License-Identifier: Apache-2.0 */
/* The segments of a JPEG file: what its header says and how much work its scans are, before the
 * decoder is asked. */
#include "image_codec.h"

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static bool is_frame(unsigned marker) /* SOF0 to SOF15 without DHT, JPG and DAC */
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool starts(rpc_bytes segment, const char *with, size_t size)
{
    return segment.size >= size && memcmp(segment.data, with, size) == 0;
}

static rpc_code take_frame(
    rpc_bytes segment, size_t at, media__jpeg_layout *layout, rpc_status *reterr)
{
    if (layout->components)
        return media__image_bad(reterr, "JPEG: byte %zu: a second frame header", at);
    if (segment.size < 6 || segment.size < 6 + 3u * segment.data[5])
        return media__image_bad(reterr, "JPEG: byte %zu: its frame header is cut", at);
    layout->bits = segment.data[0];
    layout->height = be16(segment.data + 1);
    layout->width = be16(segment.data + 3);
    layout->components = segment.data[5];
    return layout->components ? RPC_OK
                              : media__image_bad(reterr, "JPEG: byte %zu: it has no channels", at);
}

static void take_application(unsigned marker, rpc_bytes segment, media__jpeg_layout *layout)
{
    if (marker == 0xe1 && !layout->exif.data && starts(segment, "Exif\0\0", 6))
        layout->exif = rpc_bytes_of(segment.data + 6, segment.size - 6);
    if (marker == 0xe2 && starts(segment, "ICC_PROFILE\0\x01\x01", 14))
        layout->profile = rpc_bytes_of(segment.data + 14, segment.size - 14);
}

/* From behind a scan header to the next marker that is none of the scan's. */
static size_t after_scan(rpc_bytes file, size_t at)
{
    while (at < file.size) {
        const uint8_t *found = memchr(file.data + at, 0xff, file.size - at);
        if (!found)
            break;
        at = (size_t)(found - file.data);
        const unsigned next = at + 1 < file.size ? file.data[at + 1] : 0xd9;
        if (next != 0 && next != 0xff && !(next >= 0xd0 && next <= 0xd7))
            return at;
        at += next == 0xff ? 1 : 2;
    }
    return file.size;
}

rpc_code media__jpeg_walk(rpc_bytes file, bool whole, media__jpeg_layout *ret, rpc_status *reterr)
{
    media__jpeg_layout layout = {.width = 0};
    for (size_t at = 2;;) {
        if (at >= file.size)
            return media__image_bad(
                reterr, "JPEG: cut at byte %zu, before its end marker", file.size);
        if (file.data[at] != 0xff)
            return media__image_bad(
                reterr, "JPEG: byte %zu: no marker where a segment must begin", at);
        while (at < file.size && file.data[at] == 0xff) /* fill bytes (B.1.1.2) */
            at++;
        const unsigned marker = at < file.size ? file.data[at] : 0;
        at++;
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) /* stand alone */
            continue;
        if ((marker == 0xd9 || marker == 0xda) && !layout.components)
            return media__image_bad(
                reterr, "JPEG: byte %zu: its picture begins or ends before a frame header", at);
        if (marker == 0xd9 || (marker == 0xda && !whole)) {
            layout.end = at;
            *ret = layout;
            return RPC_OK;
        }
        if (file.size < 2 || at > file.size - 2)
            return media__image_bad(
                reterr, "JPEG: cut at byte %zu, within a segment's header", file.size);
        const size_t size = be16(file.data + at);
        if (size < 2 || size > file.size - at)
            return media__image_bad(
                reterr, "JPEG: byte %zu: a segment is longer than the file, or too short", at);
        const rpc_bytes segment = rpc_bytes_of(file.data + at + 2, size - 2);
        const rpc_code code = is_frame(marker) ? take_frame(segment, at, &layout, reterr) : RPC_OK;
        if (code)
            return code;
        take_application(marker, segment, &layout);
        at += size;
        if (marker == 0xda) {
            layout.scans++;
            at = after_scan(file, at);
        }
    }
}
