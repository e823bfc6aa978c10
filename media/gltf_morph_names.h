/* SPDX-License-Identifier: Apache-2.0 */
/** The names of morph targets, and the groups that tools know. Inside the module. */
#ifndef DACM_MEDIA_GLTF_MORPH_NAMES_H
#define DACM_MEDIA_GLTF_MORPH_NAMES_H

#include "gltf_edit.h"
#include "gltf_get.h"

/** Of a mesh's target: extras.targetNames of the mesh, of a primitive or of a node that has the
 *  mesh, else the name of the accessor with its positions. NULL: it has none. */
const char *media__morph_name(const media__gltf *gltf, size_t mesh, size_t target);

/** Does the recipe name it, or a group that has it? VRM expressions are no names: not here. */
bool media__morph_is_named(
    const media__gltf *gltf, size_t mesh, size_t target, const media_recipe *recipe);

#endif
