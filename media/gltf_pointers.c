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

rpc_code media__gltf_drop_samplers(json_t *animation, rpc_status *reterr)
{
    json_t *samplers = json_object_get(animation, "samplers");
    json_t *channels = json_object_get(animation, "channels");
    const size_t count = json_array_size(samplers);
    size_t *numbers = calloc(count + 1, sizeof *numbers), left = 0;
    if (!numbers)
        return media__no_memory(reterr);
    for (size_t i = 0; i < json_array_size(channels); i++)
        numbers[media__get_index(json_array_get(channels, i), "sampler")] = 1;
    for (size_t i = 0; i < count; i++)
        numbers[i] = numbers[i] ? left++ : MEDIA__NO_INDEX;
    for (size_t i = count; i-- > 0;)
        if (numbers[i] == MEDIA__NO_INDEX)
            json_array_remove(samplers, i);
    for (size_t i = 0; i < json_array_size(channels); i++) {
        json_t *sampler = json_object_get(json_array_get(channels, i), "sampler");
        json_integer_set(sampler, (json_int_t)numbers[json_integer_value(sampler)]);
    }
    free(numbers);
    return RPC_OK;
}

rpc_code media__gltf_keep_channels(
    media__gltf *gltf, bool (*stays)(void *ctx, json_t *channel), void *ctx, rpc_status *reterr)
{
    json_t *animations = json_object_get(gltf->json, "animations");
    rpc_code code = RPC_OK;
    for (size_t i = json_array_size(animations); code == RPC_OK && i-- > 0;) {
        json_t *animation = json_array_get(animations, i);
        json_t *channels = json_object_get(animation, "channels");
        const size_t before = json_array_size(channels);
        for (size_t k = before; k-- > 0;)
            if (!stays(ctx, json_array_get(channels, k)))
                json_array_remove(channels, k);
        if (json_array_size(channels) == before)
            continue;
        if (json_array_size(channels) > 0)
            code = media__gltf_drop_samplers(animation, reterr);
        else
            json_array_remove(animations, i);
    }
    if (animations && json_array_size(animations) == 0)
        json_object_del(gltf->json, "animations");
    return code;
}
