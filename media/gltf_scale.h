/* SPDX-License-Identifier: Apache-2.0 */
/** How large things of a document are in the world, at rest. Inside the module. */
#ifndef DACM_MEDIA_GLTF_SCALE_H
#define DACM_MEDIA_GLTF_SCALE_H

#include "gltf.h"

/** Of a document, each node and skin measured once: chains of nodes may be long, and many meshes
 *  may have one skin. media__scales_done() frees it, also where it was not made. */
typedef struct media__scales {
    const media__gltf *gltf; /* borrowed */
    size_t *parents;         /* of nodes; MEDIA__NO_INDEX: a root */
    double *volumes;         /* of nodes: cubic metres of a cubic unit of their children */
    double *meshes;          /* metres of a unit: the largest of the mesh's instances; 1 where it
                              * has none or would be nothing. Skinned ones by the first joint */
    uint32_t *groups;        /* of meshes: the skin that all instances have, else one of its own */
} media__scales;

/** RESOURCE_EXHAUSTED: no memory. */
rpc_code media__scales_of(const media__gltf *gltf, media__scales *ret, rpc_status *reterr);
void media__scales_done(media__scales *scales);
/** Metres of a unit of what the node moves, which is of its parent. */
double media__unit_of(const media__scales *scales, size_t node);

#endif
