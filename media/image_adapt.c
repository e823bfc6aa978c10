/* SPDX-License-Identifier: Apache-2.0 */
/* An avatar that is a picture: turned as EXIF says, made smaller, written anew; what it says of the
 * place and the camera does not go with it. */
#include "asset.h"
#include "image_kinds.h"

#include <inttypes.h>
#include <stdlib.h>

#define SIZE_MIN     16u
#define QUALITY_MIN  30u
#define QUALITY_STEP 15u
#define ATTEMPTS_MAX 32

typedef struct plan {
    media__image_kind kind;
    uint32_t size; /* px; 0: as it is */
    unsigned quality;
} plan;

static rpc_code choose_kind(const media_recipe *recipe, const media__image_info *info,
    const media__image *image, media__image_kind *ret, rpc_status *reterr)
{
    const media__image_kind named = media__kind_of_format(recipe->texture_format);
    const media__image_kind wishes[] = {
        named, info->kind, MEDIA__IMAGE_JPEG, MEDIA__IMAGE_PNG, MEDIA__IMAGE_WEBP};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        if (wishes[i] && media__takes_image(recipe, wishes[i]) &&
            !(wishes[i] == MEDIA__IMAGE_JPEG && image->alpha)) {
            *ret = wishes[i];
            return RPC_OK;
        }
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "media: the picture is %s%s, and accept.media_types names nothing that it can become",
        media__image_type(info->kind), image->alpha ? " with alpha" : "");
}

static rpc_code write(
    const media__image *image, const plan *p, uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    media__image small = *image;
    if (!p->size || (image->width <= p->size && image->height <= p->size))
        return media__image_write(
            image, p->kind, p->quality, MEDIA__IMAGE_COLOR, ret, ret_size, reterr);
    const size_t bytes = (size_t)image->width * image->height * 4;
    small.pixels = malloc(bytes); /* the next attempt begins with the whole picture */
    if (!small.pixels)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "image: no memory");
    memcpy(small.pixels, image->pixels, bytes);
    rpc_code code = media__image_fit(&small, p->size, MEDIA__IMAGE_COLOR, reterr);
    if (code == RPC_OK)
        code = media__image_write(
            &small, p->kind, p->quality, MEDIA__IMAGE_COLOR, ret, ret_size, reterr);
    free(small.pixels);
    return code;
}

/* Lower quality first, then fewer pixels at the quality asked for. */
static bool ask_for_less(const media__image *image, unsigned quality, plan *p)
{
    const uint32_t longer = image->width > image->height ? image->width : image->height;
    const uint32_t now = p->size && p->size < longer ? p->size : longer;
    if (p->kind != MEDIA__IMAGE_PNG && p->quality >= QUALITY_MIN + QUALITY_STEP) {
        p->quality -= QUALITY_STEP;
        return true;
    }
    if (now <= SIZE_MIN)
        return false;
    p->size = now * 3 / 4 > SIZE_MIN ? now * 3 / 4 : SIZE_MIN;
    p->quality = quality;
    return true;
}

static rpc_code meet_budget(const media_recipe *recipe, const media__image *image, plan p,
    media_result *ret, rpc_status *reterr)
{
    const unsigned quality = p.quality;
    size_t least = SIZE_MAX;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        const rpc_code code = write(image, &p, &ret->bytes, &ret->size, reterr);
        if (code != RPC_OK || !recipe->max_bytes || ret->size <= recipe->max_bytes)
            return code;
        least = ret->size < least ? ret->size : least;
        free(ret->bytes);
        ret->bytes = NULL;
        if (!ask_for_less(image, quality, &p))
            break;
    }
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "media: max_bytes: %" PRIu64 " is out of reach: the picture has %zu bytes at its smallest",
        recipe->max_bytes, least);
}

rpc_code media__image_adapt(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr)
{
    media__image_info info;
    media__image image = {.pixels = NULL};
    plan p = {.size = recipe->texture_size_limit,
        .quality = recipe->texture_quality ? recipe->texture_quality : MEDIA_QUALITY_DEFAULT};
    rpc_code code = media__image_probe(source, &info, reterr);
    if (code == RPC_OK && info.kind == MEDIA__IMAGE_KTX2)
        code = rpc_status_set(
            reterr, RPC_UNIMPLEMENTED, "media: a KTX2 picture is no avatar that is adapted");
    if (code == RPC_OK)
        code = media__image_read(source, true, &image, reterr);
    if (code == RPC_OK)
        code = choose_kind(recipe, &info, &image, &p.kind, reterr);
    if (code == RPC_OK)
        code = meet_budget(recipe, &image, p, ret, reterr);
    media__image_done(&image);
    if (code != RPC_OK)
        return code;
    (void)rpc_text_copy(ret->media_type, sizeof ret->media_type, media__image_type(p.kind));
    return media__figures_of_image(rpc_bytes_of(ret->bytes, ret->size), &ret->figures, reterr);
}
