/* SPDX-License-Identifier: Apache-2.0 */
/** Between inspect.c and adapt.c: assets of either kind. Inside the module. */
#ifndef DACM_MEDIA_ASSET_H
#define DACM_MEDIA_ASSET_H

#include "gltf_edit.h"
#include "image.h"
#include "media.h"

/** GLB, or text that begins as an object does. */
bool media__is_gltf(rpc_bytes source);
rpc_code media__figures_of_image(rpc_bytes file, media_figures *ret, rpc_status *reterr);
/** Of a document that was read, decoded or not; bytes are those of its file. Pictures that cannot
 * be read count as bytes only. */
rpc_code media__figures_of_gltf(
    const media__gltf *gltf, size_t bytes, media_figures *ret, rpc_status *reterr);

/** Of a picture: ret->bytes, size, media_type and figures. */
rpc_code media__image_adapt(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr);

#endif
