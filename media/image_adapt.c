/* SPDX-License-Identifier: Apache-2.0 */
/* An avatar that is a picture: turned as EXIF says, made smaller, written anew; what it says of the
 * place and the camera does not go with it. */
#include "asset.h"
#include "image_codec.h"
#include "image_kinds.h"

#include <inttypes.h>
#include <stdlib.h>

#define SIZE_MIN     16u
#define QUALITY_MIN  40u /* of what a budget of bytes leads to: fewer pixels look better */
#define ATTEMPTS_MAX 24

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

typedef struct search {
    const media_recipe *recipe;
    const media__image *image;
    plan plan;
    media__image small; /* image at small_size px; no pixels: not made yet */
    uint32_t small_size;
    uint8_t *bytes; /* the best that fits */
    size_t size;
    size_t least; /* of all attempts */
    unsigned attempts;
} search;

static bool is_larger(const media__image *image, uint32_t limit)
{
    return limit && (image->width > limit || image->height > limit);
}

/* Each size from the whole picture, each once. */
static rpc_code make_small(search *s, rpc_status *reterr)
{
    if (s->small.pixels && s->small_size == s->plan.size)
        return RPC_OK;
    free(s->small.pixels);
    const size_t bytes = (size_t)s->image->width * s->image->height * 4;
    s->small = *s->image; /* borrows profile and palette */
    s->small.pixels = malloc(bytes);
    s->small_size = s->plan.size;
    if (!s->small.pixels)
        return media__no_memory(reterr);
    memcpy(s->small.pixels, s->image->pixels, bytes);
    return media__image_fit(&s->small, s->plan.size, MEDIA__IMAGE_COLOR, reterr);
}

/* One attempt at the search's plan. */
static rpc_code try_plan(search *s, bool *ret_fits, rpc_status *reterr)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    const bool smaller = is_larger(s->image, s->plan.size);
    rpc_code code = smaller ? make_small(s, reterr) : RPC_OK;
    if (code == RPC_OK)
        code = media__image_write(smaller ? &s->small : s->image, s->plan.kind, s->plan.quality,
            MEDIA__IMAGE_COLOR, &bytes, &size, reterr);
    if (code != RPC_OK)
        return code;
    s->attempts++;
    s->least = size < s->least ? size : s->least;
    *ret_fits = !s->recipe->max_bytes || size <= s->recipe->max_bytes;
    if (!*ret_fits) {
        free(bytes);
        return RPC_OK;
    }
    free(s->bytes);
    s->bytes = bytes;
    s->size = size;
    return RPC_OK;
}

/* Nothing is asked of it but to say less: the pixels stay as they were written. */
static bool keep_pixels(search *s, rpc_bytes source, const media__image_info *info)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (s->plan.kind != info->kind || info->orientation != 1 || s->recipe->texture_quality ||
        is_larger(s->image, s->plan.size) || !media__image_strip(source, info, &bytes, &size))
        return false;
    if (s->recipe->max_bytes && size > s->recipe->max_bytes) {
        free(bytes);
        return false;
    }
    s->bytes = bytes;
    s->size = size;
    return true;
}

/* Between a quality that fits and one that does not: the highest that does. */
static rpc_code raise_quality(search *s, unsigned fits, unsigned too_much, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    while (code == RPC_OK && too_much - fits > 1) {
        bool now = false;
        s->plan.quality = fits + (too_much - fits) / 2;
        code = try_plan(s, &now, reterr);
        if (now)
            fits = s->plan.quality;
        else
            too_much = s->plan.quality;
    }
    return code;
}

/* By how much it is too large, but for what a header takes; at least an eighth. */
static uint32_t smaller_size(uint32_t size, size_t bytes, uint64_t budget)
{
    uint64_t next = size;
    while (next > SIZE_MIN && next * next * bytes > budget * size * (uint64_t)size)
        next -= (next + 15) / 16;
    const uint64_t most = size - (size + 7) / 8;
    next = next < most ? next : most;
    return next > SIZE_MIN ? (uint32_t)next : SIZE_MIN;
}

/* As it is asked for; at the least quality; then as many pixels as fit at that, and in the end the
 * quality that still does. */
static rpc_code meet_budget(search *s, rpc_status *reterr)
{
    const unsigned quality = s->plan.quality;
    const bool lossy = s->plan.kind != MEDIA__IMAGE_PNG && quality > QUALITY_MIN;
    const uint32_t longer = s->image->width > s->image->height ? s->image->width : s->image->height;
    bool fits = false;
    rpc_code code = try_plan(s, &fits, reterr);
    if (code != RPC_OK || fits)
        return code;
    s->plan.size = s->plan.size && s->plan.size < longer ? s->plan.size : longer;
    s->plan.quality = lossy ? QUALITY_MIN : quality;
    if (lossy)
        code = try_plan(s, &fits, reterr);
    while (code == RPC_OK && !fits && s->plan.size > SIZE_MIN && s->attempts < ATTEMPTS_MAX) {
        s->plan.size = smaller_size(s->plan.size, s->least, s->recipe->max_bytes);
        code = try_plan(s, &fits, reterr);
    }
    if (code != RPC_OK)
        return code;
    if (!fits)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "media: max_bytes: %" PRIu64
            " is out of reach: the picture has %zu bytes at its smallest",
            s->recipe->max_bytes, s->least);
    return lossy ? raise_quality(s, QUALITY_MIN, quality, reterr) : RPC_OK;
}

rpc_code media__image_adapt(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr)
{
    media__image_info info;
    media__image image = {.pixels = NULL};
    search s = {.recipe = recipe,
        .image = &image,
        .plan = {.size = recipe->texture_size_limit},
        .least = SIZE_MAX};
    rpc_code code = media__image_probe(source, &info, reterr);
    if (code == RPC_OK && info.kind == MEDIA__IMAGE_KTX2)
        code = rpc_status_set(
            reterr, RPC_UNIMPLEMENTED, "media: a KTX2 picture is not adapted on its own; ask for the original");
    if (code == RPC_OK)
        code = media__image_read(source, true, &image, reterr);
    if (code == RPC_OK)
        code = choose_kind(recipe, &info, &image, &s.plan.kind, reterr);
    s.plan.quality = media__quality_for(recipe, s.plan.kind);
    if (code == RPC_OK)
        code = keep_pixels(&s, source, &info) ? RPC_OK : meet_budget(&s, reterr);
    media__image_done(&image);
    free(s.small.pixels);
    if (code != RPC_OK) {
        free(s.bytes);
        return code;
    }
    ret->bytes = s.bytes;
    ret->size = s.size;
    (void)rpc_text_copy(ret->media_type, sizeof ret->media_type, media__image_type(s.plan.kind));
    return media__figures_of_image(rpc_bytes_of(ret->bytes, ret->size), &ret->figures, reterr);
}
