/* SPDX-License-Identifier: Apache-2.0 */
/** Triangle meshes with fewer triangles: edges collapse into one of their ends, the cheapest first,
 *  until a number is reached. Inside the module; plain arrays, no glTF.
 *
 *  Cost is the distance, as quadric error metrics measure it (Garland and Heckbert 1997, with the
 *  attribute gradients of Hoppe 1999), between the surface with its attributes as they were and as
 *  they would be. All parts share one queue, so that what shows least goes first wherever it is.
 *  Parts that touch, and the two sides of a seam, move together: points are vertices of equal
 *  position, and a collapse takes every vertex of a point along. Vertices are chosen from those
 *  that are there; nothing is interpolated. The same input gives the same result. */
#ifndef DACM_MEDIA_SIMPLIFY_H
#define DACM_MEDIA_SIMPLIFY_H

#include "media_internal.h"

#define MEDIA__ATTRIBUTES_MAX 32

/** Triangles of one material. */
typedef struct media__part {
    const float *positions; /* three a vertex, in units that all parts share (metres) */
    /** attribute_count a vertex, scaled: an error of 1 looks as bad as a surface that is 1 off. */
    const float *attributes;
    size_t vertex_count, attribute_count;
    size_t seam_attributes; /* the first ones: where they jump, a seam keeps its course */
    uint32_t *indices;      /* three a triangle; in: below vertex_count. Changed in place */
    size_t index_count;
    uint32_t group; /* parts of one group are joined where positions are equal */
} media__part;

typedef struct media__simplify_result {
    uint64_t triangles; /* of all parts, afterwards */
    bool exhausted;     /* nothing is left that could go; more than asked remain */
    /** Why points could not move, of those that remain when exhausted. Looks: at a seam they would
     *  have to become what they are not, or their piece would be lost. */
    uint64_t points, held_by_borders, held_by_looks, held_by_folds;
} media__simplify_result;

/** Leaves at most asked triangles where that can be; degenerate and repeated ones always go, but
 *  a part never loses all that it has.
 *  RESOURCE_EXHAUSTED: no memory. */
rpc_code media__simplify(media__part *parts, size_t count, uint64_t asked,
    media__simplify_result *ret, rpc_status *reterr);

#endif
