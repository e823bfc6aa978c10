/* SPDX-License-Identifier: Apache-2.0 */
/* media__gltf_read(): GLB files and glTF in JSON; what was taken is written and taken again. */
#include "fuzz.h"
#include "gltf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    media__gltf gltf;
    rpc_status status = {0};
    const rpc_code code = media__gltf_read(rpc_bytes_of(data, size), &gltf, &status);
    if (code != RPC_OK) {
        MUST(code == RPC_INVALID_ARGUMENT || code == RPC_UNIMPLEMENTED ||
             code == RPC_RESOURCE_EXHAUSTED);
        MUST(strncmp(status.message, "gltf: ", 6) == 0);
        return 0;
    }
    size_t text_size = 0;
    char *text = media__json_write(gltf.json, &text_size);
    json_t *again = NULL;
    MUST(text && media__json_read(rpc_bytes_of(text, text_size), &again, &status) == RPC_OK);
    MUST(json_equal(gltf.json, again));
    json_decref(again);
    free(text);
    media__gltf_done(&gltf);
    return 0;
}
