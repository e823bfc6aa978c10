/* SPDX-License-Identifier: Apache-2.0 */
/** Small documents of glTF around pictures that tests draw, and their textures adapted. */
#ifndef DACM_TEST_MEDIA_DOCUMENT_H
#define DACM_TEST_MEDIA_DOCUMENT_H

#include "drawn.h"

#include "gltf_adapt.h"
#include "image.h"
#include "media.h"

/** free() file. */
typedef struct document {
    uint8_t *file;
    size_t size;
    const char *extensions; /* of the document, set once it was read: no whole VRM is needed */
} document;

/** Members that most documents have. */
#define PNG0                                                                                       \
    "\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"}],\"textures\":[{\"source\":0}],"
#define BASE "\"pbrMetallicRoughness\":{\"baseColorTexture\":{\"index\":0}}"

/** A GLB file whose view 0, 1, … are these pictures. */
document glb(const char *members, const rpc_bytes *pictures, size_t count);
/** release() it. */
rpc_bytes encoded(draw_fn *draw, uint32_t size, media__image_kind kind);
void release(rpc_bytes bytes);

/** media_recipe_done() it. */
media_recipe recipe_of(const char *text);
/** Textures only; media__gltf_done() it. */
rpc_code try_adapt(const document *d, const char *recipe, media__gltf *ret, rpc_status *reterr);
/** The same, or the test fails. */
media__gltf adapted(const document *d, const char *recipe);

rpc_bytes picture_of(const media__gltf *gltf, size_t image);
/** media__image_done() it. */
media__image decoded(const media__gltf *gltf, size_t image);
void assert_kind(const media__gltf *gltf, size_t image, media__image_kind kind);
/** Does extensionsUsed, extensionsRequired … have that name? */
bool lists(const media__gltf *gltf, const char *list, const char *name);

#endif
