/* SPDX-License-Identifier: Apache-2.0 */
/** What a recipe does to a decoded document, one edit each. Inside the module.
 *
 *  media_adapt() calls them in this order: animations, morph targets, prune (gltf_edit.h),
 *  simplify, quantize, sparse targets, textures; then those of gltf_edit.h that lay out what is
 *  left (prune, gather), merge samplers, accept. Each leaves a document that
 *  media__gltf_read() would accept again. */
#ifndef DACM_MEDIA_GLTF_ADAPT_H
#define DACM_MEDIA_GLTF_ADAPT_H

#include "gltf_edit.h"

/* ---- gltf_animations.c ---- */

/** Removes animations that the recipe does not keep (recipe.base keeps none) and what points at
 *  them. */
rpc_code media__gltf_keep_animations(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);

/* ---- gltf_morphs.c ---- */

/** Removes morph targets that the recipe does not keep: from every primitive of a mesh alike, from
 *  weights, names (extras.targetNames), animation channels, and from what binds them by index: VRM
 *  0.x blend shapes, VRM 1.0 expressions (an expression may lose binds, never changes its
 *  meaning). */
rpc_code media__gltf_keep_morph_targets(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);

/* ---- gltf_simplify.c ---- */

typedef struct media__simplified {
    uint64_t before, asked, reached; /* triangles of all meshes */
    char why[MEDIA_WHY_ROOM]; /* why more are left than asked, in words; "": they are not (5 %) */
} media__simplified;

/** Fewer triangles, at most asked in the whole document, shared among primitives by what each
 *  loses in looks. Borders, seams of UV and normals, skin weights and morph targets keep fitting:
 *  vertices are chosen from those that are there, attributes are never interpolated. Lines, points
 *  and what is compressed by Draco stay as they are. */
rpc_code media__gltf_simplify(
    media__gltf *gltf, uint64_t asked, media__simplified *ret, rpc_status *reterr);

/* ---- gltf_animations.c ---- */

typedef bool media__stays_fn(void *ctx, json_t *channel);
/** Channels of an animation that stays() denies go. */
rpc_code media__animation_keep_channels(
    json_t *animation, media__stays_fn *stays, void *ctx, rpc_status *reterr);
/** The same of all, with the samplers that no channel has then, and animations that have no channel
 *  left. */
rpc_code media__gltf_keep_channels(
    media__gltf *gltf, media__stays_fn *stays, void *ctx, rpc_status *reterr);

/** Samplers of an animation that are equal become one; those that no channel has go. */
rpc_code media__animation_merge_samplers(json_t *animation, rpc_status *reterr);
/** The same of all. */
rpc_code media__gltf_merge_samplers(media__gltf *gltf, rpc_status *reterr);

/* ---- gltf_quantize.c, gltf_quantize_meshes.c, gltf_quantize_animations.c ---- */

/** Rounds numbers of meshes and animations as recipe.quantization `standard` says, and leaves out
 *  keys and channels of animations that nothing would be seen of. What cannot be rounded, is
 *  rounded already, or is an extension's, stays exact. No node, skin or material changes.
 *  packed  it will be compressed by EXT_meshopt_compression */
rpc_code media__gltf_quantize(media__gltf *gltf, bool packed, rpc_status *reterr);

/* ---- gltf_sparse.c ---- */

/** Morph targets that move few vertices become sparse accessors, with the same elements. Where
 *  they will not be compressed: that makes less of them. */
rpc_code media__gltf_sparse_targets(media__gltf *gltf, rpc_status *reterr);

/* ---- gltf_textures.c ---- */

/** Drops channels that the recipe does not keep, resizes and encodes images as it says, by what
 *  materials use them for: colour in linear light with proper alpha, normal maps renormalised, data
 *  (metallic-roughness, occlusion) as numbers. The size limit always holds; a change of format
 *  alone that would make an image larger is not done unless its type is not accepted. KTX2, and
 *  what no material and no VRM is known to use, stay as they are. */
rpc_code media__gltf_adapt_textures(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);

/** The longest sides of pictures that are larger than the limit all the same; 0: there are none. */
typedef struct media__textures_left {
    uint32_t ktx2, unknown; /* unknown: what neither a material nor a VRM is known to use */
} media__textures_left;

/** What an adapted document has of them. limit 0: none. */
void media__gltf_textures_left(const media__gltf *gltf, uint32_t limit, media__textures_left *ret);

/* ---- gltf_accept.c ---- */

/** Refuses (FAILED_PRECONDITION, naming it) a document that needs an extension or a media type
 *  which the client does not decode, as it stands after all edits. */
rpc_code media__gltf_accept(
    const media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr);

#endif
