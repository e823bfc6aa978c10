/* SPDX-License-Identifier: Apache-2.0 */
/** Where things of a document are in the world at a time of an animation, as glTF 2.0 says (3.7.3,
 *  3.7.2.2, 3.11). For tests: plain and slow. */
#ifndef DACM_TEST_MEDIA_POSE_H
#define DACM_TEST_MEDIA_POSE_H

#include "gltf_edit.h"
#include "gltf_get.h"

typedef struct pose {
    const media__gltf *gltf;
    size_t nodes;
    double (*world)[16]; /* of nodes, columns one after the other */
    double (*trs)[10];   /* of nodes: translation, rotation, scale */
    float **weights;     /* of nodes, of morph targets; NULL: none */
} pose;

/** animation MEDIA__NO_INDEX: at rest. */
pose pose_at(const media__gltf *gltf, size_t animation, double time);
void pose_done(pose *p);
/** First and last time of an animation. */
void pose_span(const media__gltf *gltf, size_t animation, double ret[2]);
/** Vertices of a primitive of a node's mesh, morphed and skinned: 3 times the number of them.
 *  free() it. NULL: it has none that can be read. */
double *pose_vertices(const pose *p, size_t node, size_t primitive, size_t *ret_count);

#endif
