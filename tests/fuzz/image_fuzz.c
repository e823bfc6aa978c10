/* SPDX-License-Identifier: Apache-2.0 */
/* PNG, JPEG and WebP: read as an avatar and as a texture, made smaller, written, read again. */
#include "fuzz.h"
#include "image.h"

#define PIXELS_MAX (1u << 16) /* more is slow, and nothing else */

static void check_refused(rpc_code code, const rpc_status *status)
{
    MUST(code == RPC_INVALID_ARGUMENT || code == RPC_UNIMPLEMENTED ||
         code == RPC_RESOURCE_EXHAUSTED);
    MUST(strncmp(status->message, "image: ", 7) == 0);
    fuzz_refused(code, status);
}

static void write_again(const media__image *image, media__image_kind kind, media__image_use use)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    rpc_status status = {0};
    media__image read = {.pixels = NULL};
    MUST(media__image_write(image, kind, 80, use, &bytes, &size, &status) == RPC_OK);
    MUST(media__image_read(rpc_bytes_of(bytes, size), false, &read, &status) == RPC_OK);
    MUST(read.width == image->width && read.height == image->height);
    if (kind == MEDIA__IMAGE_PNG)
        MUST(memcmp(read.pixels, image->pixels, (size_t)read.width * read.height * 4) == 0);
    media__image_done(&read);
    free(bytes);
}

static void use_it(media__image *image, uint8_t chosen)
{
    rpc_status status = {0};
    const media__image_use use = (media__image_use)(chosen % 4);
    const media__image_kind kind = chosen & 4   ? MEDIA__IMAGE_PNG
                                   : chosen & 8 ? MEDIA__IMAGE_WEBP
                                                : MEDIA__IMAGE_JPEG;
    MUST(media__image_fit(image, 1 + chosen % 64, use, &status) == RPC_OK);
    MUST(image->width <= 1u + chosen % 64 && image->height <= 1u + chosen % 64);
    write_again(image, kind == MEDIA__IMAGE_JPEG && image->alpha ? MEDIA__IMAGE_PNG : kind, use);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rpc_status status = {0};
    media__image_info info;
    rpc_code code = media__image_probe(rpc_bytes_of(data, size), &info, &status);
    if (code != RPC_OK) {
        check_refused(code, &status);
        return 0;
    }
    if ((uint64_t)info.width * info.height > PIXELS_MAX)
        return 0;
    for (int oriented = 0; oriented < 2; oriented++) {
        media__image image = {.pixels = NULL};
        code = media__image_read(rpc_bytes_of(data, size), oriented, &image, &status);
        if (code != RPC_OK) {
            check_refused(code, &status);
            MUST(!image.pixels);
            continue;
        }
        use_it(&image, data[size - 1]);
        media__image_done(&image);
    }
    return 0;
}
