/* SPDX-License-Identifier: Apache-2.0 */
/** Between gltf_simplify.c and its two helpers: what of a document is simplified, as arrays. Inside
 *  the module. */
#ifndef DACM_MEDIA_GLTF_PIECES_H
#define DACM_MEDIA_GLTF_PIECES_H

#include "gltf_edit.h"
#include "gltf_get.h"
#include "simplify.h"

/** Vertices that primitives of one mesh share: the same accessors for everything. */
typedef struct media__vertex_set {
    size_t mesh;
    const json_t *primitive; /* the first that has them */
    size_t first, last;      /* of its pieces */
    size_t count;
    double scale; /* metres of a unit */
    bool textured;
    float *positions, *attributes; /* as media__part has them */
    size_t attribute_count, seam_attributes;
} media__vertex_set;

/** A primitive. */
typedef struct media__piece {
    size_t mesh, primitive, set;
    size_t next;  /* of its set; MEDIA__NO_INDEX: it is the last */
    json_t *json; /* borrowed */
    uint32_t *indices;
    size_t index_count, index_count_before;
} media__piece;

typedef struct media__pieces {
    media__piece *list;
    size_t count;
    media__vertex_set *sets;
    size_t set_count;
    double extent;            /* metres: the longest diagonal of a set */
    uint64_t triangles, left; /* of the document; of those, of what is not simplified */
} media__pieces;

/** The pieces of a set, in the order of their primitives. */
#define MEDIA__EACH_PIECE(piece, pieces, set)                                                      \
    for (media__piece *piece = &(pieces)->list[(pieces)->sets[set].first]; piece;                  \
         piece = piece->next == MEDIA__NO_INDEX ? NULL : &(pieces)->list[piece->next])

/** A vertex's looks as numbers of one measure (gltf_looks.c). Needs every set's scale and all
 *  indices. */
rpc_code media__pieces_looks(const media__gltf *gltf, media__pieces *pieces, rpc_status *reterr);

/** Puts the pieces' triangles into the document, in an order that caches like, with the vertices
 *  that they still use (gltf_compact.c). */
rpc_code media__pieces_compact(media__gltf *gltf, media__pieces *pieces, rpc_status *reterr);

#endif
