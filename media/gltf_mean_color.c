/* SPDX-License-Identifier: Apache-2.0 */
/* A material whose colour was in a picture that goes gets the picture's mean colour. */
#include "gltf_get.h"
#include "gltf_textures.h"

#include <math.h>
#include <stdlib.h>

#define CHANNELS 4
#define STEPS    1000 /* of a factor: more digits say nothing */

typedef struct mean {
    bool known, none;       /* none: nothing that is decoded here */
    double apart[CHANNELS]; /* linear light and alpha, each channel by itself */
    double shown[CHANNELS]; /* colours weighted by alpha */
} mean;

static void sum_up(const media__image *image, mean *ret)
{
    double linear[256], sum[CHANNELS] = {0}, weighted[CHANNELS - 1] = {0};
    const size_t count = (size_t)image->width * image->height;
    for (unsigned i = 0; i < 256; i++)
        linear[i] = media__srgb_linear(i);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = image->pixels + CHANNELS * i;
        const double alpha = p[3] / 255.0;
        for (size_t c = 0; c < CHANNELS - 1; c++) {
            sum[c] += linear[p[c]];
            weighted[c] += linear[p[c]] * alpha;
        }
        sum[3] += alpha;
    }
    for (size_t c = 0; c < CHANNELS; c++)
        ret->apart[c] = ret->shown[c] = sum[c] / (double)count;
    for (size_t c = 0; c < CHANNELS - 1 && sum[3] > 0; c++)
        ret->shown[c] = weighted[c] / sum[3];
}

static rpc_code find_mean(const media__gltf *gltf, size_t image, mean *ret, rpc_status *reterr)
{
    const size_t view = media__get_index(media__gltf_entry(gltf, "images", image), "bufferView");
    media__image_info info;
    media__image picture = {.pixels = NULL};
    rpc_status why;
    ret->known = true;
    ret->none = view == MEDIA__NO_INDEX;
    if (ret->none)
        return RPC_OK;
    const rpc_bytes bytes = media__view_bytes(gltf, view);
    rpc_code code = media__image_probe(bytes, &info, &why);
    ret->none = code == RPC_OK && info.kind == MEDIA__IMAGE_KTX2;
    if (ret->none)
        return RPC_OK;
    if (code == RPC_OK)
        code = media__image_read(bytes, false, &picture, &why);
    if (code != RPC_OK)
        return rpc_status_set(reterr, code, "gltf: /images/%zu: %.300s", image, why.message);
    sum_up(&picture, ret);
    media__image_done(&picture);
    return RPC_OK;
}

static bool is_mode(const json_t *material, const char *mode)
{
    const char *has = json_string_value(json_object_get(material, "alphaMode"));
    return strcmp(has ? has : "OPAQUE", mode) == 0;
}

/* Alpha only where it blends: a mean says nothing about what is cut out. */
static rpc_code multiply(json_t *material, json_t *pbr, const mean *m, rpc_status *reterr)
{
    const json_t *old = json_object_get(pbr, "baseColorFactor");
    const double *by = is_mode(material, "OPAQUE") ? m->apart : m->shown;
    json_t *factor = json_array();
    int failed = factor ? 0 : -1;
    for (size_t c = 0; !failed && c < CHANNELS; c++) {
        const double was = old ? json_number_value(json_array_get(old, c)) : 1;
        const bool keep = c == 3 && !is_mode(material, "BLEND");
        failed = json_array_append_new(
            factor, json_real(keep ? was : round(was * by[c] * STEPS) / STEPS));
    }
    failed |= json_object_set_new(pbr, "baseColorFactor", factor);
    return failed ? media__no_memory(reterr) : RPC_OK;
}

static size_t image_of(const media__gltf *gltf, size_t texture)
{
    const json_t *json = media__gltf_entry(gltf, "textures", texture);
    const size_t plain = media__get_index(json, "source");
    return plain != MEDIA__NO_INDEX
               ? plain
               : media__get_index(media__get_extension(json, "EXT_texture_webp"), "source");
}

rpc_code media__textures_mean_color(media__gltf *gltf, rpc_status *reterr)
{
    const size_t images = media__gltf_count(gltf, "images");
    mean *means = calloc(images + 1, sizeof *means); /* one picture may be of all materials */
    rpc_code code = means ? RPC_OK : media__no_memory(reterr);
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "materials"); i++) {
        json_t *material = media__gltf_entry(gltf, "materials", i);
        json_t *pbr = json_object_get(material, "pbrMetallicRoughness");
        const json_t *slot = json_object_get(pbr, "baseColorTexture");
        const size_t image = slot ? image_of(gltf, media__get_index(slot, "index"))
                                  : MEDIA__NO_INDEX;
        if (image >= images)
            continue;
        if (!means[image].known)
            code = find_mean(gltf, image, &means[image], reterr);
        if (code == RPC_OK && !means[image].none)
            code = multiply(material, pbr, &means[image], reterr);
    }
    free(means);
    return code;
}
