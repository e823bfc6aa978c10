/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_pointers.h"
#include "gltf_get.h"

#include <stdio.h>
#include <stdlib.h>

bool media__pointer_of(const json_t *channel, const char *list, media__pointer *ret)
{
    const size_t size = strlen(list);
    char *end = NULL;
    ret->extension = media__get_extension(
        json_object_get(channel, "target"), "KHR_animation_pointer");
    const char *text = json_string_value(json_object_get(ret->extension, "pointer"));
    if (!text || text[0] != '/' || strncmp(text + 1, list, size) != 0 || text[size + 1] != '/' ||
        text[size + 2] < '0' || text[size + 2] > '9')
        return false;
    ret->index = strtoull(text + size + 2, &end, 10);
    ret->rest = end;
    return *end == '/' || *end == '\0';
}

rpc_code media__pointer_set(const media__pointer *pointer, const char *list, size_t index,
    const char *rest, rpc_status *reterr)
{
    char *moved = NULL;
    if (asprintf(&moved, "/%s/%zu%s", list, index, rest) < 0)
        return media__no_memory(reterr);
    const int failed = json_object_set_new(pointer->extension, "pointer", json_string(moved));
    free(moved);
    return failed ? media__no_memory(reterr) : RPC_OK;
}
