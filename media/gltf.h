/* SPDX-License-Identifier: Apache-2.0 */
/** A glTF 2.0 document as this module edits it: JSON as it came, everything unknown included, and
 *  its buffers. Inside the module.
 *
 *  Foreign files are checked before anything of them is used: media__gltf_read() gives a document
 *  in which every reference leads somewhere, every view and accessor lies within its buffer, and no
 *  node is its own ancestor. Errors are INVALID_ARGUMENT with the place as a JSON pointer. */
#ifndef DACM_MEDIA_GLTF_H
#define DACM_MEDIA_GLTF_H

#include "media_internal.h"

#include <jansson.h>

/** Limits of what is read. */
#define MEDIA__JSON_BYTES_MAX (32u << 20)
#define MEDIA__JSON_DEPTH_MAX 64
#define MEDIA__FILE_BYTES_MAX (256u << 20)
#define MEDIA__BUFFERS_MAX    64
#define MEDIA__SCENES_MAX     64

typedef struct media__buffer {
    const uint8_t *data;
    size_t size;      /* byteLength of it, or more */
    uint8_t *owned;   /* of a data URI; NULL: in the file */
    json_t *packed;   /* what its bytes were decoded from: the extension of its view; or NULL */
    rpc_bytes stream; /* and the stream, of the file */
} media__buffer;

typedef struct media__gltf {
    json_t *json;
    size_t buffer_count, buffer_room; /* room 0: for those that were read */
    media__buffer *buffers; /* as /buffers; data NULL: a fallback of EXT_meshopt_compression */
    bool glb;
} media__gltf;

/** file is borrowed as long as the document. RESOURCE_EXHAUSTED: no memory, or larger than the
 *  limits above; UNIMPLEMENTED: an extension that is required and unknown here. */
rpc_code media__gltf_read(rpc_bytes file, media__gltf *ret, rpc_status *reterr);
void media__gltf_done(media__gltf *gltf);

/* ---- the container (glb.c) ---- */

typedef struct media__glb {
    rpc_bytes json, binary; /* binary.data NULL: there is no such chunk */
} media__glb;

/** Does it begin as a GLB file does? */
bool media__glb_is(rpc_bytes file);
rpc_code media__glb_split(rpc_bytes file, media__glb *ret, rpc_status *reterr);

/* ---- JSON (gltf_json.c) ---- */

/** One object, at most MEDIA__JSON_BYTES_MAX and MEDIA__JSON_DEPTH_MAX deep. json_decref() it. */
rpc_code media__json_read(rpc_bytes text, json_t **ret, rpc_status *reterr);
/** The same values again: numbers in as few digits as read back equal. free() it. NULL: no
 *  memory. */
char *media__json_write(const json_t *json, size_t *ret_size);

/* ---- rules (schema.h, gltf_views.c, gltf_graph.c, gltf_extension_rules.c,
 *      gltf_check_images.c, vrm.h) ---- */

/** Every object of the core, of the extensions that are known here and of VRM has the members that
 *  it must have, of their types and in their ranges; every index is of something that is there.
 *  Every extension that is used is in extensionsUsed, and stands where it belongs. */
rpc_code media__gltf_check_schema(const json_t *root, rpc_status *reterr);
/** Every buffer view lies in its buffer, every accessor in its view, aligned, sparse ones too. */
rpc_code media__gltf_check_views(const media__gltf *gltf, rpc_status *reterr);
/** Nodes are trees, skins and targets fit meshes. */
rpc_code media__gltf_check_graph(const media__gltf *gltf, rpc_status *reterr);
/** What is required is known (UNIMPLEMENTED), and extensions fit what they extend. */
rpc_code media__gltf_check_extensions(const media__gltf *gltf, rpc_status *reterr);
/** Pictures inside are PNG, JPEG, WebP or KTX2 with a header that can be read, and of the kind that
 *  mimeType and the texture say; those beside are named by a path that leads nowhere else. */
rpc_code media__gltf_check_images(const media__gltf *gltf, rpc_status *reterr);

/** Does extensionsUsed name it? Of a document that the schema has passed. */
bool media__gltf_uses(const json_t *root, const char *name);
/** Does this module know where the extension stands and what indexes it holds? */
bool media__extension_known(const char *name);

/** INVALID_ARGUMENT "gltf: PLACE: …". */
rpc_code media__gltf_bad(rpc_status *reterr, const char *place, const char *format, ...)
    RPC_PRINTF(3, 4);

#endif
