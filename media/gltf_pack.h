/* SPDX-License-Identifier: Apache-2.0 */
/** Views as EXT_meshopt_compression keeps them, without a loss. Inside the module. */
#ifndef DACM_MEDIA_GLTF_PACK_H
#define DACM_MEDIA_GLTF_PACK_H

#include "gltf_edit.h"

/** What a view is used for, by all accessors in it alike. */
typedef enum media__packing_kind {
    MEDIA__PACK_NOTHING, /* images, or uses that do not agree: it stays as it is */
    MEDIA__PACK_VERTICES,
    MEDIA__PACK_TRIANGLES,
    MEDIA__PACK_INDICES,
} media__packing_kind;

typedef struct media__packing {
    media__packing_kind kind;
    size_t stride;      /* of an element */
    int component_type; /* of all accessors; 0: several */
    bool seen;
} media__packing;

/** A plan for each view. free() it. */
rpc_code media__pack_plan(const media__gltf *gltf, media__packing **ret, rpc_status *reterr);

typedef struct media__packed {
    uint8_t *data; /* free() it; NULL: it would not be smaller */
    size_t size, stride, count;
    const char *mode, *filter; /* filter NULL: none */
} media__packed;

rpc_code media__pack_view(
    const media__packing *plan, rpc_bytes bytes, media__packed *ret, rpc_status *reterr);

#endif
