/* SPDX-License-Identifier: Apache-2.0 */
/** Changing a document that media__gltf_read() gave, and writing it. Inside the module.
 *
 *  An edit changes the JSON in place and adds bytes as buffers of their own; what it no longer
 *  names stays until media__gltf_prune() removes it and moves every index, those of extensions
 *  included. media__gltf_write() lays all bytes out anew. The same document gives the same bytes.
 *  Errors are INVALID_ARGUMENT "gltf: PLACE: …" for what the file has wrong inside compressed or
 *  sparse data, RESOURCE_EXHAUSTED without memory or beyond the limits of gltf.h. */
#ifndef DACM_MEDIA_GLTF_EDIT_H
#define DACM_MEDIA_GLTF_EDIT_H

#include "gltf_accessor.h"

/* ---- bytes (gltf_decode.c, gltf_elements.c, gltf_check_data.c) ---- */

/** Pictures in data URIs become views. (gltf_images.c) */
rpc_code media__gltf_take_images(media__gltf *gltf, rpc_status *reterr);

/** Decodes the views of EXT_meshopt_compression: afterwards each view lies in a buffer that has
 *  its bytes, and the extension is gone from the document. */
rpc_code media__gltf_decode(media__gltf *gltf, rpc_status *reterr);

/** The elements of an accessor one after the other, sparse ones applied, normalised integers as
 *  the numbers they stand for; without a view zeros. Of a decoded document.
 *  ret  count * layout.components; free() it. */
rpc_code media__accessor_floats(
    const media__gltf *gltf, size_t accessor, float **ret, size_t *ret_count, rpc_status *reterr);
/** The same of integers that are not normalised: indices, joints. */
rpc_code media__accessor_uints(const media__gltf *gltf, size_t accessor, uint32_t **ret,
    size_t *ret_count, rpc_status *reterr);
/** The same as they are stored: layout.bytes each, without stride. */
rpc_code media__accessor_bytes(
    const media__gltf *gltf, size_t accessor, uint8_t **ret, size_t *ret_count, rpc_status *reterr);

/** The same without what a sparse accessor replaces. */
rpc_code media__accessor_base(
    const media__gltf *gltf, size_t accessor, uint8_t **ret, size_t *ret_count, rpc_status *reterr);
/** Of a decoded document: floats are finite and within min and max, sparse indices grow, indices
 *  name vertices and joints that are there and restart nothing, times grow from zero on, bind
 *  matrices are affine. Lengths of normals and rotations, sums of weights and ranges of colours are
 *  not judged. INVALID_ARGUMENT with the place; RESOURCE_EXHAUSTED above 512 MiB of elements. */
rpc_code media__gltf_check_data(const media__gltf *gltf, rpc_status *reterr);

/** What a view has: a borrowed part of its buffer. */
rpc_bytes media__view_bytes(const media__gltf *gltf, size_t view);

/** Makes a view hold these bytes (malloc(); taken also when this fails) in a buffer of its own. */
rpc_code media__view_set(
    media__gltf *gltf, size_t view, uint8_t *bytes, size_t size, rpc_status *reterr);
/** Removes its name from extensionsUsed and extensionsRequired. */
void media__gltf_drop_extension(media__gltf *gltf, const char *name);
/** And adds it to both. */
rpc_code media__json_need_extension(json_t *document, const char *name, rpc_status *reterr);

/** Adds bytes (malloc(); taken also when this fails) as a view.
 *  stride  0: none.  target  of them; 0: not said. */
rpc_code media__gltf_add_view(media__gltf *gltf, uint8_t *bytes, size_t size, size_t stride,
    int target, size_t *ret_view, rpc_status *reterr);

/** The elements stride bytes apart, zeros between them. free() it. NULL: no memory. */
uint8_t *media__spread(const uint8_t *elements, size_t count, size_t size, size_t stride);

/** Makes accessor hold these elements (stored form, layout.bytes each; malloc(), taken also when
 *  this fails) in a view of its own: count, bufferView and byteOffset are set, sparse is gone, min
 *  and max are computed anew where it had them or is a POSITION. */
rpc_code media__accessor_replace(media__gltf *gltf, size_t accessor, uint8_t *elements,
    size_t count, int target, rpc_status *reterr);
/** A further accessor of the same type as another, with no data yet: to be replaced. */
rpc_code media__accessor_copy(
    media__gltf *gltf, size_t accessor, size_t *ret_accessor, rpc_status *reterr);

/* ---- removal (gltf_prune.c) ---- */

/** Removes accessors, views, images, textures, samplers, materials, meshes and skins that nothing
 *  reaches any more, and sets every index anew, those of extensions included (gltf_refs.c). Nodes,
 *  scenes and animations stay as they are. An extension that is not known here may hold indices
 *  that nobody knows: what it may name (media__refs_foreign()) stays and keeps its index. */
rpc_code media__gltf_prune(media__gltf *gltf, rpc_status *reterr);
/** Lays the accessors of one use (vertices, triangles, times of animations …) into one view each,
 *  without gaps, equal bytes once; equal accessors become one. Then prunes. Values stay as they
 *  are; sparse accessors stay sparse. RESOURCE_EXHAUSTED also where accessors that overlap are
 *  more than a file may have. (gltf_gather.c) */
rpc_code media__gltf_gather(media__gltf *gltf, rpc_status *reterr);

/* ---- writing (gltf_write.c) ---- */

typedef struct media__written {
    bool meshopt; /* compress geometry and animations by EXT_meshopt_compression, without a loss:
                   * every number comes back bit for bit; a triangle may begin at another of its
                   * corners. Views that media__gltf_gather() laid compress best. */
} media__written;

/** A GLB file with one buffer: the views in their order, each at a multiple of four, the same bytes
 *  of several views once. Members of the first buffer that are not about bytes stay.
 *  RESOURCE_EXHAUSTED: it would be larger than MEDIA__FILE_BYTES_MAX. UNIMPLEMENTED: an unknown
 *  extension of a view or a buffer says where bytes lie, which nobody here can move.
 *  ret  free() it. */
rpc_code media__gltf_write(const media__gltf *gltf, const media__written *how, uint8_t **ret,
    size_t *ret_size, rpc_status *reterr);

#endif
