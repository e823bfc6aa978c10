/* SPDX-License-Identifier: Apache-2.0 */
/* WebP by libwebp. */
#include "image_codec.h"

#include <stdlib.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

/* ---- reading --------------------------------------------------------------------------------- */

static const char *fault_of(VP8StatusCode status)
{
    switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "its data ends before the picture does";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "it needs a feature that is not known";
    default:
        return "its data is damaged";
    }
}

/* One picture of this size, its first row at `at`, within rows of image. */
static rpc_code decode(rpc_bytes bitstream, uint32_t width, uint32_t height, media__image *image,
    size_t at, rpc_status *reterr)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return rpc_status_set(reterr, RPC_INTERNAL, "image: libwebp is of another version");
    VP8StatusCode status = WebPGetFeatures(bitstream.data, bitstream.size, &config.input);
    if (status == VP8_STATUS_OK &&
        (config.input.width != (int)width || config.input.height != (int)height))
        return media__image_bad(reterr,
            "WebP: its picture is of %d × %d px, its header says %u × %u", config.input.width,
            config.input.height, width, height);
    const size_t stride = (size_t)image->width * 4;
    config.output.colorspace = MODE_RGBA;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->pixels + at;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * image->height - at;
    if (status == VP8_STATUS_OK)
        status = WebPDecode(bitstream.data, bitstream.size, &config);
    if (status == VP8_STATUS_OUT_OF_MEMORY)
        return media__no_memory(reterr);
    return status == VP8_STATUS_OK ? RPC_OK
                                   : media__image_bad(reterr, "WebP: %s", fault_of(status));
}

/* The first picture of an animation, on a canvas that shows through. */
static rpc_code decode_first(rpc_bytes file, media__image *image, rpc_status *reterr)
{
    const WebPData data = {file.data, file.size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    WebPIterator frame;
    if (!demuxer || !WebPDemuxGetFrame(demuxer, 1, &frame)) {
        WebPDemuxDelete(demuxer);
        return media__image_bad(reterr, "WebP: its animation is damaged, or cut");
    }
    rpc_code code;
    const uint32_t x = (uint32_t)frame.x_offset, y = (uint32_t)frame.y_offset;
    const uint32_t width = (uint32_t)frame.width, height = (uint32_t)frame.height;
    if (frame.x_offset < 0 || frame.y_offset < 0 || x > image->width || y > image->height ||
        width > image->width - x || height > image->height - y)
        code = media__image_bad(reterr, "WebP: its first picture is not within its canvas");
    else
        code = decode(rpc_bytes_of(frame.fragment.bytes, frame.fragment.size), width, height, image,
            ((size_t)y * image->width + x) * 4, reterr);
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demuxer);
    return code;
}

rpc_code media__webp_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr)
{
    media__image_info info;
    rpc_code code = media__image_probe(file, &info, reterr);
    if (code == RPC_OK && avatar)
        code = media__image_take_profile(image, media__webp_chunk(file, "ICCP"), reterr);
    if (code)
        return code;
    return info.animated ? decode_first(file, image, reterr)
                         : decode(file, image->width, image->height, image, 0, reterr);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Figures of NORMAL, 1024 px of the test avatars: exact 451 kB in 0.29 s, near-lossless 198 kB in
 * 0.81 s and at most 1.5 degrees off, lossy at 90 with sharp chroma 45 kB in 0.16 s and 6 degrees.
 * So numbers are lossy only where they were so before. */
#define NEAR_LOSSLESS 60

static bool configure(
    WebPConfig *config, const media__image *image, unsigned quality, media__image_use use)
{
    const bool color = media__image_is_color(use);
    if (!WebPConfigInit(config))
        return false;
    config->exact = use != MEDIA__IMAGE_COLOR; /* what alpha hides may show elsewhere */
    if (!color && !image->lossy) {
        if (!WebPConfigLosslessPreset(config, 2))
            return false;
        config->near_lossless = quality < 100 ? NEAR_LOSSLESS : 100;
        return WebPValidateConfig(config);
    }
    config->quality = (float)media__image_quality(quality, use);
    config->use_sharp_yuv = !color;
    config->method = 4;
    return WebPValidateConfig(config);
}

static bool encode(const media__image *image, const WebPConfig *config, WebPMemoryWriter *writer)
{
    WebPPicture picture;
    if (!WebPPictureInit(&picture))
        return false;
    picture.use_argb = config->lossless || config->use_sharp_yuv;
    picture.width = (int)image->width;
    picture.height = (int)image->height;
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = writer;
    const int stride = (int)image->width * 4;
    const bool whole = (image->alpha ? WebPPictureImportRGBA(&picture, image->pixels, stride)
                                     : WebPPictureImportRGBX(&picture, image->pixels, stride)) &&
                       WebPEncode(config, &picture);
    WebPPictureFree(&picture);
    return whole;
}

static bool add_profile(const media__image *image, WebPMemoryWriter *writer)
{
    const WebPData picture = {writer->mem, writer->size};
    const WebPData profile = {image->profile, image->profile_size};
    WebPData whole = {NULL, 0};
    WebPMux *mux = WebPMuxNew();
    const bool made = mux && WebPMuxSetImage(mux, &picture, 0) == WEBP_MUX_OK &&
                      WebPMuxSetChunk(mux, "ICCP", &profile, 0) == WEBP_MUX_OK &&
                      WebPMuxAssemble(mux, &whole) == WEBP_MUX_OK;
    WebPMuxDelete(mux);
    if (!made)
        return false;
    WebPMemoryWriterClear(writer);
    writer->mem = (uint8_t *)(uintptr_t)whole.bytes; /* ours now: malloc() of libwebp */
    writer->size = whole.size;
    return true;
}

rpc_code media__webp_write(const media__image *image, unsigned quality, media__image_use use,
    uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    WebPConfig config;
    WebPMemoryWriter writer;
    WebPMemoryWriterInit(&writer);
    if (!configure(&config, image, quality, use) || !encode(image, &config, &writer) ||
        (image->profile && !add_profile(image, &writer))) {
        WebPMemoryWriterClear(&writer);
        return media__no_memory(reterr);
    }
    *ret = writer.mem; /* malloc() of libwebp is the program's */
    *ret_size = writer.size;
    return RPC_OK;
}
