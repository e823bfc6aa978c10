/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to a document that has been checked. */
#include "gltf_accessor.h"
#include "vrm.h"

#include <stdlib.h>

static rpc_code read_parts(rpc_bytes file, media__gltf *gltf, rpc_status *reterr)
{
    media__glb parts = {.json = file};
    gltf->glb = media__glb_is(file);
    rpc_code code = gltf->glb ? media__glb_split(file, &parts, reterr) : RPC_OK;
    if (code == RPC_OK)
        code = media__json_read(parts.json, &gltf->json, reterr);
    if (code == RPC_OK)
        code = media__gltf_check_schema(gltf->json, reterr);
    if (code == RPC_OK)
        code = media__gltf_take_buffers(gltf, parts.binary, reterr);
    if (code == RPC_OK)
        code = media__gltf_check_views(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_check_graph(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_check_extensions(gltf, reterr);
    if (code == RPC_OK)
        code = media__gltf_check_images(gltf, reterr);
    return code == RPC_OK ? media__vrm_check(gltf->json, reterr) : code;
}

rpc_code media__gltf_read(rpc_bytes file, media__gltf *ret, rpc_status *reterr)
{
    if (file.size > MEDIA__FILE_BYTES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: the file has %zu bytes, at most %u are read", file.size, MEDIA__FILE_BYTES_MAX);
    media__gltf gltf = {.json = NULL};
    const rpc_code code = read_parts(file, &gltf, reterr);
    if (code == RPC_OK)
        *ret = gltf;
    else
        media__gltf_done(&gltf);
    return code;
}

void media__gltf_done(media__gltf *gltf)
{
    for (size_t i = 0; i < gltf->buffer_count; i++) {
        free(gltf->buffers[i].owned);
        json_decref(gltf->buffers[i].packed);
    }
    free(gltf->buffers);
    json_decref(gltf->json);
    *gltf = (media__gltf){.json = NULL};
}
