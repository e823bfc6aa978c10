/* SPDX-License-Identifier: Apache-2.0 */
/* What is reached from nodes, animations and the document's extensions stays. */
#include "gltf_edit.h"
#include "gltf_get.h"
#include "gltf_pointers.h"
#include "gltf_refs.h"

#include <stdlib.h>

#define GONE SIZE_MAX

typedef struct pruning {
    media__gltf *gltf;
    size_t count[MEDIA__LISTS];
    size_t *place[MEDIA__LISTS]; /* marking: 1 when reached; then the new index, or GONE */
    struct reached {
        media__list list;
        size_t index;
    } * queue; /* reached, not yet looked at */
    size_t queued;
} pruning;

/* Beyond the list: of a part that nobody reads; checked parts have none. */
static void mark_one(pruning *p, media__list list, size_t index)
{
    if (index >= p->count[list] || p->place[list][index])
        return;
    p->place[list][index] = 1;
    p->queue[p->queued++] = (struct reached){list, index};
}

static bool mark(void *ctx, media__list list, json_t *slot)
{
    mark_one(ctx, list, (size_t)json_integer_value(slot));
    return true;
}

/* What an extension may name that nobody here knows. */
static void mark_foreign(pruning *p)
{
    const size_t foreign = media__refs_foreign(p->gltf);
    for (int list = 0; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < foreign && i < p->count[list]; i++)
            mark_one(p, (media__list)list, i);
}

/* Expressions of VRM 0.x name materials by their names. */
static rpc_code mark_named(pruning *p, rpc_status *reterr)
{
    const json_t *master = json_object_get(
        media__get_extension(p->gltf->json, "VRM"), "blendShapeMaster");
    const json_t *groups = json_object_get(master, "blendShapeGroups");
    if (json_array_size(groups) == 0)
        return RPC_OK;
    json_t *numbers = NULL;
    const rpc_code code = media__refs_materials(p->gltf, &numbers, reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(groups); i++) {
        const json_t *values = json_object_get(json_array_get(groups, i), "materialValues");
        for (size_t j = 0; j < json_array_size(values); j++) {
            const char *name = json_string_value(
                json_object_get(json_array_get(values, j), "materialName"));
            const json_t *number = name ? json_object_get(numbers, name) : NULL;
            if (number)
                mark_one(p, MEDIA__MATERIALS, (size_t)json_integer_value(number));
        }
    }
    json_decref(numbers);
    return code;
}

/* Indices of what stays, in the order in which it stood. */
static void place_all(pruning *p)
{
    for (int list = 0; list < MEDIA__LISTS; list++) {
        size_t next = 0;
        for (size_t i = 0; i < p->count[list]; i++)
            p->place[list][i] = p->place[list][i] ? next++ : GONE;
    }
}

static bool move(void *ctx, media__list list, json_t *slot)
{
    const pruning *p = ctx;
    const size_t index = (size_t)json_integer_value(slot);
    if (index < p->count[list] && p->place[list][index] != GONE)
        json_integer_set(slot, (json_int_t)p->place[list][index]);
    return true;
}

/* ---- /materials/3/… of KHR_animation_pointer ---- */

static bool read_pointer(
    const pruning *p, const json_t *channel, media__list *ret_list, media__pointer *ret)
{
    for (int list = 0; list < MEDIA__LISTS; list++) {
        *ret_list = (media__list)list;
        if (media__pointer_of(channel, media__list_names[list], ret))
            return ret->index < p->count[list];
    }
    return false;
}

static bool mark_pointer(pruning *p, const json_t *channel, rpc_status *reterr)
{
    media__pointer at;
    media__list list;
    (void)reterr;
    if (read_pointer(p, channel, &list, &at))
        mark_one(p, list, at.index);
    return true;
}

static bool move_pointer(pruning *p, const json_t *channel, rpc_status *reterr)
{
    media__pointer at;
    media__list list;
    return !read_pointer(p, channel, &list, &at) ||
           media__pointer_set(
               &at, media__list_names[list], p->place[list][at.index], at.rest, reterr) == RPC_OK;
}

static rpc_code each_channel(pruning *p,
    bool (*fn)(pruning *p, const json_t *channel, rpc_status *reterr), rpc_status *reterr)
{
    bool ok = true;
    for (size_t i = 0; i < media__gltf_count(p->gltf, "animations"); i++) {
        const json_t *channels = json_object_get(
            media__gltf_entry(p->gltf, "animations", i), "channels");
        for (size_t j = 0; ok && j < json_array_size(channels); j++)
            ok = fn(p, json_array_get(channels, j), reterr);
    }
    return ok ? RPC_OK : RPC_RESOURCE_EXHAUSTED;
}

/* ---- all of it ---- */

static void mark_all(pruning *p)
{
    media__refs_of_rest(p->gltf, mark, p);
    (void)each_channel(p, mark_pointer, NULL);
    while (p->queued > 0) {
        const struct reached next = p->queue[--p->queued];
        media__refs_of(p->gltf, next.list, next.index, mark, p);
    }
}

static void move_all(pruning *p)
{
    media__refs_of_rest(p->gltf, move, p);
    for (int list = 0; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < p->count[list]; i++)
            if (p->place[list][i] != GONE)
                media__refs_of(p->gltf, (media__list)list, i, move, p);
}

/* Entries of a list stay where they have a place; those beyond count are beside nothing. */
static int keep_placed(json_t *entries, const size_t *place, size_t count)
{
    json_t *kept = json_array();
    int failed = kept ? 0 : -1;
    for (size_t i = 0; !failed && i < json_array_size(entries); i++)
        if (i >= count || place[i] != GONE)
            failed = json_array_append(kept, json_array_get(entries, i));
    if (!failed && json_array_size(kept) < json_array_size(entries))
        failed = json_array_clear(entries) || json_array_extend(entries, kept);
    json_decref(kept);
    return failed;
}

static rpc_code remove_all(pruning *p, rpc_status *reterr)
{
    for (int list = 0; list < MEDIA__LISTS; list++) {
        json_t *entries = json_object_get(p->gltf->json, media__list_names[list]);
        json_t *beside = media__refs_beside(p->gltf, (media__list)list);
        if ((entries && keep_placed(entries, p->place[list], p->count[list])) ||
            (beside && keep_placed(beside, p->place[list], p->count[list])))
            return media__no_memory(reterr);
        if (entries && json_array_size(entries) == 0)
            json_object_del(p->gltf->json, media__list_names[list]);
    }
    return RPC_OK;
}

static rpc_code prepare(pruning *p, rpc_status *reterr)
{
    size_t all = 0;
    for (int list = 0; list < MEDIA__LISTS; list++) {
        p->count[list] = media__gltf_count(p->gltf, media__list_names[list]);
        p->place[list] = calloc(p->count[list] + 1, sizeof *p->place[list]);
        if (!p->place[list])
            return media__no_memory(reterr);
        all += p->count[list];
    }
    p->queue = calloc(all + 1, sizeof *p->queue);
    return p->queue ? RPC_OK : media__no_memory(reterr);
}

rpc_code media__gltf_prune(media__gltf *gltf, rpc_status *reterr)
{
    pruning p = {.gltf = gltf};
    rpc_code code = prepare(&p, reterr);
    if (code == RPC_OK)
        code = mark_named(&p, reterr);
    if (code == RPC_OK) {
        mark_foreign(&p);
        mark_all(&p);
        place_all(&p);
        code = each_channel(&p, move_pointer, reterr);
    }
    if (code == RPC_OK) {
        move_all(&p);
        code = remove_all(&p, reterr);
    }
    for (int list = 0; list < MEDIA__LISTS; list++)
        free(p.place[list]);
    free(p.queue);
    return code;
}
