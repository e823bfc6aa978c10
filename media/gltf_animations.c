/* SPDX-License-Identifier: Apache-2.0 */
/* Animations by name. Nothing else in a document names an animation by its index. */
#include "gltf_adapt.h"
#include "gltf_get.h"

static bool is_kept(const json_t *animation, const media_recipe *recipe)
{
    const char *name = json_string_value(json_object_get(animation, "name"));
    for (size_t i = 0; !recipe->base && name && i < recipe->animations.count; i++)
        if (strcmp(recipe->animations.list[i], name) == 0)
            return true;
    return false;
}

rpc_code media__gltf_keep_animations(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    json_t *animations = json_object_get(gltf->json, "animations");
    if (!animations || (!recipe->base && !recipe->some_animations))
        return RPC_OK;
    for (size_t i = json_array_size(animations); i-- > 0;)
        if (!is_kept(json_array_get(animations, i), recipe) &&
            json_array_remove(animations, i) != 0)
            return media__no_memory(reterr);
    if (json_array_size(animations) == 0)
        json_object_del(gltf->json, "animations");
    return RPC_OK;
}
