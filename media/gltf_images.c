/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures in data URIs become views, so that there is one kind of picture for all that follows. */
#include "gltf_edit.h"
#include "gltf_get.h"

#include <stdio.h>
#include <stdlib.h>

#define MARK ";base64,"

/* data:image/…;base64,… */
static rpc_code take_image(media__gltf *gltf, json_t *image, size_t index, rpc_status *reterr)
{
    char where[64], type[64];
    uint8_t *bytes = NULL;
    size_t size = 0, view = 0;
    const char *uri = json_string_value(json_object_get(image, "uri"));
    const char *data = strstr(uri, MARK);
    const char *named = uri + strlen("data:");
    snprintf(where, sizeof where, "/images/%zu/uri", index);
    if (!data || (size_t)(data - named) >= sizeof type || strncmp(named, "image/", 6) != 0)
        return media__gltf_bad(reterr, where, "a data URI of a picture is image/TYPE in base64");
    memcpy(type, named, (size_t)(data - named));
    type[data - named] = '\0';
    rpc_code code = media__base64_decode(data + strlen(MARK), where, &bytes, &size, reterr);
    if (code == RPC_OK)
        code = media__gltf_add_view(gltf, bytes, size, 0, 0, &view, reterr);
    if (code != RPC_OK)
        return code;
    json_object_del(image, "uri");
    if (json_object_set_new(image, "bufferView", json_integer((json_int_t)view)) != 0 ||
        (!json_object_get(image, "mimeType") &&
            json_object_set_new(image, "mimeType", json_string(type)) != 0))
        return media__no_memory(reterr);
    return RPC_OK;
}

rpc_code media__gltf_take_images(media__gltf *gltf, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "images"); i++) {
        json_t *image = media__gltf_entry(gltf, "images", i);
        const char *uri = json_string_value(json_object_get(image, "uri"));
        if (uri && strncmp(uri, "data:", 5) == 0)
            code = take_image(gltf, image, i, reterr);
    }
    return code;
}
