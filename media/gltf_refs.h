/* SPDX-License-Identifier: Apache-2.0 */
/** Where one part of a document names another by its index: the one table of it, extensions
 *  included. Inside the module. */
#ifndef DACM_MEDIA_GLTF_REFS_H
#define DACM_MEDIA_GLTF_REFS_H

#include "gltf.h"

/** Lists whose entries are named by index and may be removed. */
typedef enum media__list {
    MEDIA__ACCESSORS,
    MEDIA__VIEWS,
    MEDIA__IMAGES,
    MEDIA__TEXTURES,
    MEDIA__SAMPLERS,
    MEDIA__MATERIALS,
    MEDIA__MESHES,
    MEDIA__SKINS,
    MEDIA__LISTS
} media__list;

extern const char *const media__list_names[MEDIA__LISTS]; /* "accessors" … */

/** Called with the index and where it stands: *slot is an integer that may be replaced by another
 *  (json_integer_set()). False ends the walk. */
typedef bool media__ref_fn(void *ctx, media__list list, json_t *slot);

/** Every index that entry index of a list has. */
bool media__refs_of(
    const media__gltf *gltf, media__list list, size_t index, media__ref_fn *fn, void *ctx);
/** Every index that anything else has: nodes, animations, extensions of the document. */
bool media__refs_of_rest(const media__gltf *gltf, media__ref_fn *fn, void *ctx);
/** An extension that the table does not know may name anything by an index: entries below this
 *  number, of every list, must keep theirs. 0: nothing in the document is unknown. It is one more
 *  than the greatest integer, also of those in strings (JSON pointers), and than the longest list
 *  (which may stand beside one of the document's) in any such extension. */
size_t media__refs_foreign(const media__gltf *gltf);
/** A list of an extension whose entries belong to those of a list by their place: they go where
 *  those go. NULL: there is none. */
json_t *media__refs_beside(const media__gltf *gltf, media__list list);
/** Materials by name, as VRM 0.x names them: an object with the number of the first of each name.
 *  json_decref() it. RESOURCE_EXHAUSTED. */
rpc_code media__refs_materials(const media__gltf *gltf, json_t **ret, rpc_status *reterr);

#endif
