/* SPDX-License-Identifier: Apache-2.0 */
/* Textures: which of them stay, how large, and as what. What a picture is for decides how it is
 * made smaller; a picture that is used in two ways is treated as plain numbers. */
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_textures.h"
#include "image_codec.h"
#include "image_kinds.h"

#include <stdlib.h>

/* ---- one picture ---- */

typedef struct picture {
    media__gltf *gltf;
    const media_recipe *recipe;
    size_t index; /* of /images */
    media__texture_use use;
    media__image_info info;
    rpc_bytes bytes;
} picture;

static bool is_larger(const picture *p)
{
    const uint32_t limit = p->recipe->texture_size_limit;
    return limit && (p->info.width > limit || p->info.height > limit);
}

static bool takes(const picture *p, media__image_kind kind)
{
    return media__takes_texture(p->recipe, kind) && !(p->use.plain && kind == MEDIA__IMAGE_WEBP);
}

/* What it would be written as; what it is where nothing else is wanted or taken. What had lost
 * something already may lose it again, numbers not for the first time unless JPEG is asked for. */
static media__image_kind kind_for(const picture *p, const media__image *image)
{
    const bool exact = image->alpha || (!media__image_is_color(p->use.use) && !image->lossy);
    const media__image_kind named = media__kind_of_format(p->recipe->texture_format);
    const media__image_kind wishes[] = {named, p->info.kind, image->alpha ? MEDIA__IMAGE_WEBP : 0,
        exact ? MEDIA__IMAGE_PNG : MEDIA__IMAGE_JPEG, MEDIA__IMAGE_PNG};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        if (wishes[i] && takes(p, wishes[i]) && !(wishes[i] == MEDIA__IMAGE_JPEG && image->alpha))
            return wishes[i];
    return p->info.kind;
}

static bool is_lossy(media__image_kind kind)
{
    return kind == MEDIA__IMAGE_JPEG || kind == MEDIA__IMAGE_WEBP;
}

/* Before it is decoded: is there anything to do? */
static bool is_wanted_otherwise(const picture *p)
{
    const media__image_kind named = media__kind_of_format(p->recipe->texture_format);
    return is_larger(p) || (named && named != p->info.kind) || !takes(p, p->info.kind) ||
           (p->recipe->texture_quality && is_lossy(p->info.kind));
}

/* Nothing else that is known names the view: its bytes may become others. */
static bool is_its_own(const picture *p, size_t view)
{
    for (size_t i = 0; i < media__gltf_count(p->gltf, "images"); i++)
        if (i != p->index &&
            media__get_index(media__gltf_entry(p->gltf, "images", i), "bufferView") == view)
            return false;
    for (size_t i = 0; i < media__gltf_count(p->gltf, "accessors"); i++) {
        const json_t *accessor = media__gltf_entry(p->gltf, "accessors", i);
        const json_t *sparse = json_object_get(accessor, "sparse");
        if (media__get_index(accessor, "bufferView") == view ||
            media__get_index(json_object_get(sparse, "indices"), "bufferView") == view ||
            media__get_index(json_object_get(sparse, "values"), "bufferView") == view)
            return false;
    }
    return true;
}

static rpc_code put_bytes(const picture *p, uint8_t *bytes, size_t size, rpc_status *reterr)
{
    json_t *image = media__gltf_entry(p->gltf, "images", p->index);
    size_t view = media__get_index(image, "bufferView");
    if (is_its_own(p, view))
        return media__view_set(p->gltf, view, bytes, size, reterr);
    const rpc_code code = media__gltf_add_view(p->gltf, bytes, size, 0, 0, &view, reterr);
    if (code != RPC_OK)
        return code;
    return json_object_set_new(image, "bufferView", json_integer((json_int_t)view)) == 0
               ? RPC_OK
               : media__no_memory(reterr);
}

static rpc_code name_kind(const picture *p, media__image_kind kind, rpc_status *reterr)
{
    json_t *image = media__gltf_entry(p->gltf, "images", p->index);
    if (json_object_set_new(image, "mimeType", json_string(media__image_type(kind))) != 0)
        return media__no_memory(reterr);
    return media__textures_follow(p->gltf, p->index, kind == MEDIA__IMAGE_WEBP, reterr);
}

static rpc_code rewrite(const picture *p, media__image *image, rpc_status *reterr)
{
    const media__image_kind kind = kind_for(p, image);
    const unsigned quality = media__quality_for(p->recipe, kind);
    const bool must = is_larger(p) || !takes(p, p->info.kind);
    uint8_t *bytes = NULL;
    size_t size = 0;
    rpc_code code = RPC_OK;
    if (is_larger(p))
        code = media__image_fit(image, p->recipe->texture_size_limit, p->use.use, reterr);
    if (code == RPC_OK)
        code = media__image_write(image, kind, quality, p->use.use, &bytes, &size, reterr);
    if (code != RPC_OK)
        return code;
    if (!must && size >= p->bytes.size) {
        free(bytes);
        return RPC_OK;
    }
    code = put_bytes(p, bytes, size, reterr);
    return code == RPC_OK ? name_kind(p, kind, reterr) : code;
}

static rpc_code adapt_picture(picture *p, rpc_status *reterr)
{
    media__image image = {.pixels = NULL};
    rpc_status why;
    rpc_code code = media__image_probe(p->bytes, &p->info, &why);
    if (code == RPC_OK && (p->info.kind == MEDIA__IMAGE_KTX2 || !is_wanted_otherwise(p)))
        return RPC_OK;
    if (code == RPC_OK)
        code = media__image_read(p->bytes, false, &image, &why);
    if (code != RPC_OK)
        return rpc_status_set(reterr, code, "gltf: /images/%zu: %.300s", p->index, why.message);
    code = rewrite(p, &image, reterr);
    media__image_done(&image);
    return code;
}

/* ---- all of them ---- */

rpc_code media__gltf_adapt_textures(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    media__texture_use *uses = NULL;
    rpc_code code = media__textures_drop(gltf, recipe, reterr);
    media__textures_choose(gltf, recipe);
    if (code == RPC_OK)
        code = media__textures_uses(gltf, &uses, reterr);
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        if (view == MEDIA__NO_INDEX || !uses[i].known) /* no view: nothing is fetched */
            continue;
        picture p = {.gltf = gltf,
            .recipe = recipe,
            .index = i,
            .use = uses[i],
            .bytes = media__view_bytes(gltf, view)};
        code = adapt_picture(&p, reterr);
    }
    free(uses);
    return code == RPC_OK ? media__textures_declare(gltf, reterr) : code;
}

void media__gltf_textures_left(const media__gltf *gltf, uint32_t limit, media__textures_left *ret)
{
    *ret = (media__textures_left){.ktx2 = 0};
    for (size_t i = 0; limit && i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        media__image_info info;
        rpc_status ignored;
        if (view == MEDIA__NO_INDEX ||
            media__image_probe(media__view_bytes(gltf, view), &info, &ignored) != RPC_OK)
            continue;
        const uint32_t size = info.width > info.height ? info.width : info.height;
        uint32_t *longest = info.kind == MEDIA__IMAGE_KTX2 ? &ret->ktx2 : &ret->unknown;
        if (size > limit && size > *longest)
            *longest = size;
    }
}
