/* SPDX-License-Identifier: Apache-2.0 */
/** Between gltf_quantize.c and its parts: meshes, animations. Inside the module. */
#ifndef DACM_MEDIA_GLTF_QUANTIZE_H
#define DACM_MEDIA_GLTF_QUANTIZE_H

#include "gltf_edit.h"

/** What numbers of an accessor become. */
typedef enum media__rounded {
    MEDIA__ROUND_GRID,     /* floats that are multiples of step */
    MEDIA__ROUND_UNIT,     /* normals and tangents */
    MEDIA__ROUND_DELTA,    /* what morph targets add to them */
    MEDIA__ROUND_TEXCOORD, /* 12 bits in 16; beyond 0 to 1 multiples of step */
    MEDIA__ROUND_COLOR,
    MEDIA__ROUND_JOINTS,
    MEDIA__ROUND_INDICES,
} media__rounded;

/** An accessor in one of its uses, and what holds its numbers now. */
typedef struct media__made {
    media__rounded as;
    double step;
    size_t accessor;
    size_t next; /* of the same accessor; 0: none, else one more than its place */
} media__made;

#define MEDIA__WEIGHT_SETS_MAX 8

/** The accessors of a primitive's WEIGHTS_n, then of its JOINTS_n, before and after. */
typedef struct media__made_weights {
    size_t sets, from[2][MEDIA__WEIGHT_SETS_MAX], to[2][MEDIA__WEIGHT_SETS_MAX];
} media__made_weights;

typedef struct media__quantizing {
    media__gltf *gltf;
    rpc_status *reterr;
    bool packed;          /* will be compressed: what filters like, nothing sparse */
    bool needs_extension; /* there are normals or the like of bytes now */
    size_t accessors;     /* of the document before */
    size_t *first;        /* [accessors] of media__made, as next is */
    media__made *made;
    size_t made_count, made_room;
    media__made_weights weights; /* of the primitive before: the next one often shares them */
    double size; /* metres: of the largest thing that hangs together; 0: there are no meshes */
} media__quantizing;

rpc_code media__quantize_meshes(media__quantizing *q);
/** WEIGHTS_n of a primitive to bytes that add up to what they did, JOINTS_n to as few bytes as they
 *  need, 0 where nothing is bound to them any more. (gltf_quantize_weights.c) */
rpc_code media__quantize_weights(media__quantizing *q, const json_t *attributes);
/** After the meshes: q->size says what a small way is. */
rpc_code media__quantize_animations(media__quantizing *q);

/** A further accessor with other numbers than another has (malloc(), taken also when this fails);
 *  the name stays behind (a morph target's is given back by its caller).
 *  bounds  min and max are set anew where it had them; else it has none */
rpc_code media__quantize_put(media__quantizing *q, size_t accessor, void *elements, size_t count,
    int component_type, bool normalized, bool bounds, int target, size_t *ret_accessor);

#endif
