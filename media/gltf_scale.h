/* SPDX-License-Identifier: Apache-2.0 */
/** How large things of a document are in the world, at rest. Inside the module. */
#ifndef DACM_MEDIA_GLTF_SCALE_H
#define DACM_MEDIA_GLTF_SCALE_H

#include "gltf.h"

/** The parent of each node, MEDIA__NO_INDEX for a root. free() it. NULL: no memory. */
size_t *media__parents_of(const media__gltf *gltf);
/** Metres of a unit of a node's children; of MEDIA__NO_INDEX 1. */
double media__world_scale(const media__gltf *gltf, const size_t *parents, size_t node);
/** Metres of a unit of a mesh, the largest of its instances; 1 where it has none or would be
 *  nothing. Of skinned ones by way of the first joint.
 *  ret_group  the skin that all instances have, else a number of its own */
rpc_code media__mesh_scale(const media__gltf *gltf, const size_t *parents, size_t mesh,
    double *ret_scale, uint32_t *ret_group, rpc_status *reterr);

#endif
