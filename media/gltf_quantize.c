/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a document rounded. No node, no skin and no texture transform changes: positions stay
 * floats in the units that they had, on a grid of a power of two that EXPONENTIAL packs as well as
 * it does integers; so bind poses, VRM and all else that speaks in metres mean what they meant. */
#include "gltf_quantize.h"
#include "gltf_adapt.h"
#include "gltf_get.h"

#include "cleanup.h"

#include <stdlib.h>

static int set_type(json_t *entry, int component_type, bool normalized)
{
    int failed = json_object_set_new(entry, "componentType", json_integer(component_type));
    json_object_del(entry, "normalized");
    json_object_del(entry, "name");
    if (normalized)
        failed |= json_object_set_new(entry, "normalized", json_true());
    return failed;
}

rpc_code media__quantize_put(media__quantizing *q, size_t accessor, void *elements, size_t count,
    int component_type, bool normalized, bool bounds, int target, size_t *ret_accessor)
{
    RPC_AUTOFREE void *owned = elements;
    size_t made = 0;
    rpc_code code = media__accessor_copy(q->gltf, accessor, &made, q->reterr);
    if (code != RPC_OK)
        return code;
    json_t *entry = media__gltf_entry(q->gltf, "accessors", made);
    if (set_type(entry, component_type, normalized) != 0)
        return media__no_memory(q->reterr);
    if (!bounds) {
        json_object_del(entry, "min");
        json_object_del(entry, "max");
    }
    code = media__accessor_replace(q->gltf, made, RPC_TAKE(owned), count, target, q->reterr);
    if (code == RPC_OK)
        *ret_accessor = made;
    return code;
}

rpc_code media__gltf_quantize(media__gltf *gltf, bool packed, rpc_status *reterr)
{
    media__quantizing q = {.gltf = gltf,
        .reterr = reterr,
        .packed = packed,
        .accessors = media__gltf_count(gltf, "accessors")};
    q.first = calloc(q.accessors + 1, sizeof *q.first);
    rpc_code code = q.first ? media__quantize_meshes(&q) : media__no_memory(reterr);
    if (code == RPC_OK)
        code = media__quantize_animations(&q);
    if (code == RPC_OK && q.needs_extension)
        code = media__json_need_extension(gltf->json, MEDIA__MESH_QUANTIZATION, reterr);
    free(q.first);
    free(q.made);
    return code;
}
