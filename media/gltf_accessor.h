/* SPDX-License-Identifier: Apache-2.0 */
/** Elements of accessors (glTF 2.0, 3.6.2): how large they are, and reading them as numbers. Inside
 *  the module. */
#ifndef DACM_MEDIA_GLTF_ACCESSOR_H
#define DACM_MEDIA_GLTF_ACCESSOR_H

#include "gltf.h"

#define MEDIA__MESHOPT           "EXT_meshopt_compression"
#define MEDIA__MESH_QUANTIZATION "KHR_mesh_quantization"
#define MEDIA__ELEMENT_BYTES_MAX (256u << 20) /* of one accessor, decoded */

enum {
    MEDIA__BYTE = 5120,
    MEDIA__UBYTE = 5121,
    MEDIA__SHORT = 5122,
    MEDIA__USHORT = 5123,
    MEDIA__UINT = 5125,
    MEDIA__FLOAT = 5126,
};

/** Targets of views: vertices, indices of them. */
enum {
    MEDIA__ARRAY_BUFFER = 34962,
    MEDIA__ELEMENT_ARRAY_BUFFER = 34963,
};

typedef struct media__layout {
    int component_type;
    size_t component_bytes, components, rows; /* rows of a matrix's column, else components */
    size_t bytes; /* of an element: columns of a matrix begin at multiples of four */
    bool normalized;
} media__layout;

size_t media__component_bytes(int component_type);
/** Are there elements of it here? Else they are zeros, or in an extension (Draco). */
static inline bool media__has_elements(const json_t *accessor)
{
    return json_object_get(accessor, "bufferView") || json_object_get(accessor, "sparse");
}
/** Of an accessor that the schema has passed. */
void media__accessor_layout(const json_t *accessor, media__layout *ret);
/** The place of word in words, or -1 (also for NULL). */
int media__word_of(const char *word, const char *const *words, size_t count);

/** Standard base64 with padding, no white space. ret: free(). INVALID_ARGUMENT at where;
 *  RESOURCE_EXHAUSTED. */
rpc_code media__base64_decode(
    const char *text, const char *where, uint8_t **ret, size_t *ret_size, rpc_status *reterr);

/** Buffers of the document from data URIs and the binary chunk. */
rpc_code media__gltf_take_buffers(media__gltf *gltf, rpc_bytes binary, rpc_status *reterr);

#endif
