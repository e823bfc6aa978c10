/* SPDX-License-Identifier: Apache-2.0 */
/** Filters of EXT_meshopt_compression. Inside the module. */
#ifndef DACM_MEDIA_GLTF_FILTERS_H
#define DACM_MEDIA_GLTF_FILTERS_H

#include "gltf_accessor.h"

/** Bits of a component that the filters keep of what media__round_* give. */
#define MEDIA__OCT_BITS  8
#define MEDIA__QUAT_BITS 14

/** Elements as the filter that fits them would have them, where it gives every bit back: floats
 *  that are multiples of one power of two (EXPONENTIAL), normalised bytes and shorts that
 *  media__round_unit() and media__round_rotations() gave (OCTAHEDRAL, QUATERNION).
 *  component_type  of all components; 0: several
 *  ret             bytes.size of them, free() them; NULL: there is no such filter
 *  RESOURCE_EXHAUSTED: no memory. */
rpc_code media__filter(rpc_bytes bytes, size_t stride, int component_type, uint8_t **ret,
    const char **ret_filter, rpc_status *reterr);

#endif
