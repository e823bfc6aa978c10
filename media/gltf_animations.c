/* SPDX-License-Identifier: Apache-2.0 */
/* Animations by name, their channels and samplers. Nothing else in a document names an animation by
 * its index. */
#include "gltf_adapt.h"
#include "gltf_get.h"

#include <stdlib.h>

#define POINTER "KHR_animation_pointer"

static bool has_pointer(const json_t *animation)
{
    const json_t *channels = json_object_get(animation, "channels");
    for (size_t i = 0; i < json_array_size(channels); i++)
        if (media__get_extension(json_object_get(json_array_get(channels, i), "target"), POINTER))
            return true;
    return false;
}

/* After channels went. An extension that nothing has is not asked of clients. */
static void leave(media__gltf *gltf)
{
    const json_t *animations = json_object_get(gltf->json, "animations");
    bool pointer = false;
    for (size_t i = 0; !pointer && i < json_array_size(animations); i++)
        pointer = has_pointer(json_array_get(animations, i));
    if (!pointer)
        media__gltf_drop_extension(gltf, POINTER);
    if (animations && json_array_size(animations) == 0)
        json_object_del(gltf->json, "animations");
}

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
    leave(gltf);
    return RPC_OK;
}

/* ---- samplers -------------------------------------------------------------------------------- */

typedef struct place {
    size_t input, output, index;
} place;

static int by_what_they_name(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->input != y->input)
        return x->input < y->input ? -1 : 1;
    if (x->output != y->output)
        return x->output < y->output ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Of each sampler in use: the first that is equal. Of others: MEDIA__NO_INDEX. */
static void find_equal(const json_t *samplers, place *places, size_t *same)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(samplers); i++) {
        const json_t *sampler = json_array_get(samplers, i);
        if (same[i] != MEDIA__NO_INDEX)
            places[count++] = (place){
                media__get_index(sampler, "input"), media__get_index(sampler, "output"), i};
    }
    qsort(places, count, sizeof *places, by_what_they_name);
    for (size_t i = 1; i < count; i++) {
        const place *before = &places[i - 1], *at = &places[i];
        const size_t first = same[before->index];
        if (before->input == at->input && before->output == at->output &&
            json_equal(json_array_get(samplers, first), json_array_get(samplers, at->index)))
            same[at->index] = first;
    }
}

/* numbers: of each sampler the first that is equal, then its place among those that stay. */
static rpc_code merge(json_t *animation, place *places, size_t *numbers, rpc_status *reterr)
{
    json_t *samplers = json_object_get(animation, "samplers");
    const json_t *channels = json_object_get(animation, "channels");
    const size_t count = json_array_size(samplers);
    json_t *kept = json_array();
    int failed = 0;
    memset(numbers, 0xff, count * sizeof *numbers); /* MEDIA__NO_INDEX */
    for (size_t i = 0; i < json_array_size(channels); i++) {
        const size_t sampler = media__get_index(json_array_get(channels, i), "sampler");
        numbers[sampler] = sampler;
    }
    find_equal(samplers, places, numbers);
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == MEDIA__NO_INDEX)
            continue;
        if (numbers[i] == i) {
            failed |= json_array_append(kept, json_array_get(samplers, i));
            numbers[i] = json_array_size(kept) - 1;
        } else
            numbers[i] = numbers[numbers[i]]; /* an earlier one */
    }
    for (size_t i = 0; i < json_array_size(channels); i++) {
        json_t *slot = json_object_get(json_array_get(channels, i), "sampler");
        json_integer_set(slot, (json_int_t)numbers[json_integer_value(slot)]);
    }
    failed |= json_object_set_new(animation, "samplers", kept);
    return failed ? media__no_memory(reterr) : RPC_OK;
}

rpc_code media__animation_merge_samplers(json_t *animation, rpc_status *reterr)
{
    const size_t count = json_array_size(json_object_get(animation, "samplers"));
    place *places = calloc(count + 1, sizeof *places);
    size_t *numbers = calloc(count + 1, sizeof *numbers);
    const rpc_code code = places && numbers ? merge(animation, places, numbers, reterr)
                                            : media__no_memory(reterr);
    free(places);
    free(numbers);
    return code;
}

rpc_code media__gltf_merge_samplers(media__gltf *gltf, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "animations"); i++)
        code = media__animation_merge_samplers(media__gltf_entry(gltf, "animations", i), reterr);
    return code;
}

/* ---- channels -------------------------------------------------------------------------------- */

rpc_code media__animation_keep_channels(
    json_t *animation, media__stays_fn *stays, void *ctx, rpc_status *reterr)
{
    const json_t *channels = json_object_get(animation, "channels");
    json_t *kept = json_array();
    int failed = 0;
    for (size_t i = 0; i < json_array_size(channels); i++) {
        json_t *channel = json_array_get(channels, i);
        if (stays(ctx, channel))
            failed |= json_array_append(kept, channel);
    }
    failed |= json_object_set_new(animation, "channels", kept);
    return failed ? media__no_memory(reterr) : RPC_OK;
}

rpc_code media__gltf_keep_channels(
    media__gltf *gltf, media__stays_fn *stays, void *ctx, rpc_status *reterr)
{
    json_t *animations = json_object_get(gltf->json, "animations");
    rpc_code code = RPC_OK;
    for (size_t i = json_array_size(animations); code == RPC_OK && i-- > 0;) {
        json_t *animation = json_array_get(animations, i);
        const size_t before = json_array_size(json_object_get(animation, "channels"));
        code = media__animation_keep_channels(animation, stays, ctx, reterr);
        const size_t left = json_array_size(json_object_get(animation, "channels"));
        if (code == RPC_OK && left > 0 && left < before)
            code = media__animation_merge_samplers(animation, reterr);
        else if (code == RPC_OK && left == 0)
            json_array_remove(animations, i);
    }
    leave(gltf);
    return code;
}
