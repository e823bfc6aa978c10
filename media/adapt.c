/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe carried out: read, cut down, written. A budget of bytes is met by asking for less of
 * what weighs most, again and again, each time from the source: what comes out depends on source
 * and recipe alone. */
#include "asset.h"

#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_textures.h"
#include "image_kinds.h"
#include "vrm.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ATTEMPTS_MAX      16
#define ENLARGED_MAX      2 /* attempts between a size that fits and one that does not */
#define TEXTURE_SIZE_STEP 32u
#define TEXTURE_SIZE_MIN  32u  /* of what a budget of bytes leads to */
#define TEXTURE_SIZE_LOW  256u /* below, quality goes first */
#define TRIANGLES_MIN     256u
#define QUALITY_LOW       40u
#define QUALITY_STEP      20u

/* How a variant is made: the recipe, or less than it says. */
typedef struct plan {
    uint64_t triangles; /* at most; 0: all */
    uint32_t texture_size;
    unsigned texture_quality; /* 0: as the recipe says */
    bool meshopt;
} plan;

static bool may_meshopt(const media_recipe *recipe)
{
    return recipe->mesh_compression != MEDIA_MESH_NONE &&
           (!recipe->accepts_some || media__names_have(&recipe->accept_extensions, MEDIA__MESHOPT));
}

static uint64_t triangles_asked(const media_recipe *recipe, const media_figures *source)
{
    if (recipe->max_triangles)
        return recipe->max_triangles;
    return recipe->lod > 0 ? (source->triangles + (1u << recipe->lod) - 1) >> recipe->lod : 0;
}

static plan first_plan(const media_recipe *recipe, const media_figures *source)
{
    const bool was = media__names_have(&source->extensions_required, MEDIA__MESHOPT);
    return (plan){
        .triangles = triangles_asked(recipe, source),
        .texture_size = recipe->texture_size_limit,
        .texture_quality = recipe->texture_quality,
        .meshopt = recipe->mesh_compression == MEDIA_MESH_MESHOPT || (was && may_meshopt(recipe)),
    };
}

/* ---- one attempt ---- */

static void say_left(media_result *ret, const char *what, uint32_t size, const char *which)
{
    const size_t said = strlen(ret->why);
    if (size > 0)
        snprintf(ret->why + said, sizeof ret->why - said,
            "%s%s of %" PRIu32 " px %sare carried through as they are", said ? "; " : "", what,
            size, which);
}

/* KTX2 is not read here, and what nothing known names is nobody's to change. */
static void say_of_textures(const media__gltf *gltf, const media_recipe *recipe, media_result *ret)
{
    media__textures_left left;
    media__gltf_textures_left(gltf, recipe->texture_size_limit, &left);
    say_left(ret, "KTX2 textures", left.ktx2, "");
    say_left(ret, "pictures", left.unknown, "that nothing known uses ");
}

static rpc_code edit(media__gltf *gltf, const media_recipe *recipe, const plan *p,
    media_result *ret, rpc_status *reterr)
{
    media_recipe now = *recipe; /* borrows its names */
    media__simplified done = {.asked = 0};
    now.texture_size_limit = p->texture_size;
    now.texture_quality = p->texture_quality;
    rpc_code code = media__gltf_keep_animations(gltf, &now, reterr);
    if (code == RPC_OK)
        code = media__gltf_keep_morph_targets(gltf, &now, reterr);
    if (code == RPC_OK) /* what nobody sees takes no triangles of the others, and is no measure */
        code = media__gltf_prune(gltf, reterr);
    if (code == RPC_OK && p->triangles && p->triangles < ret->source.triangles)
        code = media__gltf_simplify(gltf, p->triangles, &done, reterr);
    if (code == RPC_OK && now.quantization != MEDIA_QUANTIZATION_KEEP)
        code = media__gltf_quantize(gltf, p->meshopt, reterr);
    if (code == RPC_OK && !p->meshopt)
        code = media__gltf_sparse_targets(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_adapt_textures(gltf, &now, reterr);
    if (code == RPC_OK)
        code = media__gltf_prune(gltf, reterr); /* what is left over costs no work below */
    if (code == RPC_OK)
        code = media__textures_declare(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_gather(gltf, reterr);
    if (code == RPC_OK && now.quantization != MEDIA_QUANTIZATION_KEEP)
        code = media__gltf_merge_samplers(gltf, reterr); /* accessors that were equal are one now */
    if (code == RPC_OK)
        code = media__gltf_accept(gltf, &now, reterr);
    memcpy(ret->why, done.why, sizeof ret->why);
    if (code == RPC_OK)
        say_of_textures(gltf, recipe, ret);
    return code;
}

/* Who changes an avatar has its author's leave. */
static rpc_code check_licence(const media__gltf *gltf, rpc_status *reterr)
{
    media__vrm_licence licence;
    media__vrm_licence_of(gltf->json, &licence);
    return licence.modify ? RPC_OK
                          : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                                "media: the licence of this avatar does not let anybody modify it "
                                "(%s): only the original can be had",
                                licence.why);
}

static rpc_code attempt(rpc_bytes source, const media_recipe *recipe, const plan *p,
    media_result *ret, rpc_status *reterr)
{
    const media__written how = {.meshopt = p->meshopt};
    media__gltf gltf;
    rpc_code code = media__gltf_read(source, &gltf, reterr);
    if (code != RPC_OK)
        return code;
    code = check_licence(&gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_take_images(&gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_decode(&gltf, reterr);
    if (code == RPC_OK)
        code = edit(&gltf, recipe, p, ret, reterr);
    if (code == RPC_OK)
        code = media__gltf_write(&gltf, &how, &ret->bytes, &ret->size, reterr);
    media__gltf_done(&gltf);
    if (code == RPC_OK)
        code = media_inspect(rpc_bytes_of(ret->bytes, ret->size), &ret->figures, reterr);
    return code;
}

/* ---- a budget of bytes ---- */

static uint32_t half_size(uint32_t size)
{
    uint32_t half = TEXTURE_SIZE_MIN; /* powers of two */
    while (2 * half < size)
        half *= 2;
    return half;
}

/* Of those that are adapted: KTX2 is carried through, of any size. */
static uint32_t texture_size(const media_figures *reached, const plan *p)
{
    return p->texture_size && p->texture_size < reached->texture_size ? p->texture_size
                                                                      : reached->texture_size;
}

/* Half the size down to what a small screen shows; then quality and size in turn. */
static bool smaller_textures(const media_recipe *recipe, const media_figures *reached, plan *p)
{
    const uint32_t size = texture_size(reached, p);
    const unsigned quality = p->texture_quality ? p->texture_quality : MEDIA_QUALITY_DEFAULT;
    if (size <= TEXTURE_SIZE_LOW && quality > QUALITY_LOW &&
        recipe->texture_format != MEDIA_TEXTURE_PNG) {
        p->texture_quality = quality > QUALITY_LOW + QUALITY_STEP ? quality - QUALITY_STEP
                                                                  : QUALITY_LOW;
        return true;
    }
    if (size <= TEXTURE_SIZE_MIN)
        return false;
    p->texture_size = half_size(size);
    return true;
}

/* As many as would fit if each had the same share of the bytes, but half of them at least. */
static bool fewer_triangles(const media_recipe *recipe, const media_figures *reached, plan *p)
{
    const bool held = p->triangles && reached->triangles > p->triangles + p->triangles / 20;
    if (held || reached->triangles <= TRIANGLES_MIN)
        return false;
    const uint64_t rest = reached->bytes - reached->mesh_bytes;
    double share = rest < recipe->max_bytes
                       ? 0.97 * (double)(recipe->max_bytes - rest) / (double)reached->mesh_bytes
                       : 0.5;
    share = share < 0.5 ? 0.5 : share > 0.9 ? 0.9 : share;
    const uint64_t fewer = (uint64_t)((double)reached->triangles * share);
    p->triangles = fewer > TRIANGLES_MIN ? fewer : TRIANGLES_MIN;
    return true;
}

static uint64_t lasting_bytes(const media_figures *reached)
{
    const uint64_t can_shrink = reached->image_bytes + reached->mesh_bytes;
    return reached->bytes > can_shrink ? reached->bytes - can_shrink : 0;
}

/* Less of what weighs most; false: there is nothing left to take away. What loses nothing comes
 * first where the client says that it decodes it, and last where it says nothing. */
static bool ask_for_less(const media_recipe *recipe, const media_figures *reached, plan *p)
{
    const uint64_t lasting = lasting_bytes(reached);
    const bool can_pack = !p->meshopt && may_meshopt(recipe);
    if (!can_pack && lasting > recipe->max_bytes)
        return false;
    if (can_pack && (recipe->accepts_some || lasting > recipe->max_bytes)) {
        p->meshopt = true;
        return true;
    }
    const bool pictures_first = reached->image_bytes >= reached->mesh_bytes;
    if (pictures_first && smaller_textures(recipe, reached, p))
        return true;
    if (fewer_triangles(recipe, reached, p))
        return true;
    if (!pictures_first && reached->images && smaller_textures(recipe, reached, p))
        return true;
    p->meshopt = p->meshopt || can_pack;
    return can_pack;
}

static void drop_attempt(media_result *ret)
{
    free(ret->bytes);
    ret->bytes = NULL;
    ret->size = 0;
    media_figures_done(&ret->figures);
}

/* As large as the rest of the budget lets them be if bytes grow with pixels: they grow slower. 0:
 * not worth another attempt. */
static uint32_t larger_textures(
    const media_recipe *recipe, const media_result *fits, uint32_t size, uint32_t too_large)
{
    const double image_bytes = (double)fits->figures.image_bytes;
    if (image_bytes <= 0)
        return 0;
    const double grown = size * sqrt(1 + (double)(recipe->max_bytes - fits->size) / image_bytes);
    const double most = (double)too_large * 7 / 8;
    const uint32_t larger = (uint32_t)(grown < most ? grown : most) / TEXTURE_SIZE_STEP *
                            TEXTURE_SIZE_STEP;
    return larger >= size + size / 8 ? larger : 0;
}

/* Half the size has a quarter of the pixels, and the budget may have room for more of them. */
static rpc_code enlarge_textures(rpc_bytes source, const media_recipe *recipe, plan p,
    uint32_t too_large, media_result *ret, rpc_status *reterr)
{
    uint32_t fits = p.texture_size;
    for (unsigned i = 0; i < ENLARGED_MAX; i++) {
        media_result larger = {.source = ret->source}; /* borrows it */
        p.texture_size = larger_textures(recipe, ret, fits, too_large);
        if (p.texture_size == 0)
            break;
        const rpc_code code = attempt(source, recipe, &p, &larger, reterr);
        if (code != RPC_OK || larger.size > recipe->max_bytes) {
            drop_attempt(&larger);
            if (code != RPC_OK)
                return code;
            too_large = p.texture_size;
            continue;
        }
        fits = p.texture_size;
        drop_attempt(ret);
        ret->bytes = larger.bytes;
        ret->size = larger.size;
        ret->figures = larger.figures;
        memcpy(ret->why, larger.why, sizeof ret->why);
    }
    return RPC_OK;
}

/* What a recipe may leave out of what there is: "drop animations or texture channels"; "": nothing.
 */
static void say_what_may_go(const media_figures *reached, char *ret, size_t room)
{
    const char *const there[] = {reached->animation_bytes > 0 ? "animations" : NULL,
        reached->morph_targets > 0 ? "morph targets" : NULL,
        reached->images > 0 ? "texture channels" : NULL};
    size_t left = 0, size = 0;
    for (size_t i = 0; i < 3; i++)
        left += there[i] != NULL;
    ret[0] = '\0';
    for (size_t i = 0; i < 3; i++) {
        const char *before = size == 0 ? "drop " : left > 1 ? ", " : " or ";
        if (there[i]) {
            snprintf(ret + size, room - size, "%s%s", before, there[i]);
            size = strlen(ret);
            left--;
        }
    }
}

/* With what would help, and is not asked for yet. Below what lasts nothing smaller was tried.
 *  reached  by the last attempt: its numbers */
static rpc_code out_of_reach(
    const media_recipe *recipe, size_t least, const media_figures *reached, rpc_status *reterr)
{
    const uint64_t lasting = lasting_bytes(reached);
    const bool lasts = lasting > recipe->max_bytes;
    const bool round = recipe->quantization == MEDIA_QUANTIZATION_KEEP &&
                       (!lasts || reached->animation_bytes > 0); /* JSON has nothing to round */
    char taken[64] = "", most[80], go[64];
    if (reached->animation_bytes > 0)
        snprintf(
            taken, sizeof taken, ", of which animations take %" PRIu64, reached->animation_bytes);
    if (lasts)
        snprintf(most, sizeof most, "what is neither mesh nor picture has %" PRIu64, lasting);
    else
        snprintf(most, sizeof most, "the smallest variant tried has %zu", least);
    say_what_may_go(reached, go, sizeof go);
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "media: max_bytes: %" PRIu64 " is out of reach: %s bytes%s; %s%s%s", recipe->max_bytes,
        most, taken, round ? "let numbers be rounded (quantization: standard)" : "",
        round && go[0] ? ", or " : "", round || go[0] ? go : "ask for more");
}

static rpc_code adapt_gltf(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr)
{
    plan p = first_plan(recipe, &ret->source);
    uint32_t too_large = 0; /* textures, where a smaller size was the last that was asked for */
    size_t least = SIZE_MAX;
    media_figures reached = {.bytes = 0}; /* by the last attempt; without its names */
    if (p.meshopt && !may_meshopt(recipe))
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "media: mesh_compression: the client does not name " MEDIA__MESHOPT
            " in accept.extensions");
    if (recipe->quantization != MEDIA_QUANTIZATION_KEEP && recipe->accepts_some &&
        !media__names_have(&recipe->accept_extensions, MEDIA__MESH_QUANTIZATION))
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "media: quantization: the client does not name " MEDIA__MESH_QUANTIZATION
            " in accept.extensions");
    ret->triangles_asked = p.triangles;
    (void)rpc_text_copy(ret->media_type, sizeof ret->media_type, "model/gltf-binary");
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        const rpc_code code = attempt(source, recipe, &p, ret, reterr);
        if (code != RPC_OK || !recipe->max_bytes)
            return code;
        if (ret->size <= recipe->max_bytes)
            return too_large ? enlarge_textures(source, recipe, p, too_large, ret, reterr) : RPC_OK;
        least = ret->size < least ? ret->size : least;
        reached = ret->figures;
        reached.extensions_required = (media_names){.count = 0};
        const plan before = p;
        const bool more = ask_for_less(recipe, &ret->figures, &p);
        too_large = p.texture_size != before.texture_size ? texture_size(&ret->figures, &before)
                                                          : 0;
        drop_attempt(ret);
        if (!more)
            break;
    }
    return out_of_reach(recipe, least, &reached, reterr);
}

/* ---- either kind ---- */

rpc_code media_adapt(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr)
{
    media_result result = {.bytes = NULL};
    rpc_code code = media_inspect(source, &result.source, reterr);
    if (code == RPC_OK)
        code = media__is_gltf(source) ? adapt_gltf(source, recipe, &result, reterr)
                                      : media__image_adapt(source, recipe, &result, reterr);
    if (code == RPC_OK)
        *ret = result;
    else
        media_result_done(&result);
    return code;
}

void media_result_done(media_result *result)
{
    free(result->bytes);
    result->bytes = NULL;
    media_figures_done(&result->source);
    media_figures_done(&result->figures);
}
