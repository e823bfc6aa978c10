/* SPDX-License-Identifier: Apache-2.0 */
/* Morph targets by name and by group, and what counts on their indices: names, weights, animation
 * channels, VRM blend shapes and expressions. */
#include "gltf_adapt.h"
#include "gltf_morph_names.h"
#include "gltf_pointers.h"

#include <stdio.h>
#include <stdlib.h>

/* Of a mesh: which of its targets stay. */
typedef struct kept {
    bool *keep;
    size_t count, left;
} kept;

typedef struct morphs {
    media__gltf *gltf;
    const media_recipe *recipe;
    kept *meshes;
    size_t mesh_count;
    rpc_status *reterr;
} morphs;

static json_t *primitives_of(const morphs *m, size_t mesh)
{
    return json_object_get(media__gltf_entry(m->gltf, "meshes", mesh), "primitives");
}

static kept *mesh_of_node(const morphs *m, size_t node)
{
    const size_t mesh = media__get_index(media__gltf_entry(m->gltf, "nodes", node), "mesh");
    return mesh < m->mesh_count ? &m->meshes[mesh] : NULL;
}

/* The new index of a target, or MEDIA__NO_INDEX: it goes. */
static size_t moved(const kept *k, size_t index)
{
    size_t to = 0;
    if (!k || index >= k->count || !k->keep[index])
        return MEDIA__NO_INDEX;
    for (size_t i = 0; i < index; i++)
        to += k->keep[i];
    return to;
}

/* ---- which ----------------------------------------------------------------------------------- */

static void keep_bound(kept *k, const json_t *bind)
{
    const size_t index = media__get_index(bind, "index");
    if (k && index < k->count)
        k->keep[index] = true;
}

/* Calls fn with every bind of VRM 0.x and 1.0 and the mesh that it means; fn says whether the bind
 * stays. */
static void each_bind(morphs *m, bool (*fn)(kept *, json_t *))
{
    json_t *groups = json_object_get(
        json_object_get(media__get_extension(m->gltf->json, "VRM"), "blendShapeMaster"),
        "blendShapeGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        json_t *binds = json_object_get(json_array_get(groups, i), "binds");
        for (size_t k = json_array_size(binds); k-- > 0;) {
            const size_t mesh = media__get_index(json_array_get(binds, k), "mesh");
            if (!fn(mesh < m->mesh_count ? &m->meshes[mesh] : NULL, json_array_get(binds, k)))
                json_array_remove(binds, k);
        }
    }
    static const char *const kinds[] = {"preset", "custom"};
    for (size_t kind = 0; kind < 2; kind++) {
        json_t *expressions = json_object_get(
            json_object_get(media__get_extension(m->gltf->json, "VRMC_vrm"), "expressions"),
            kinds[kind]);
        const char *name;
        json_t *expression;
        json_object_foreach(expressions, name, expression)
        {
            json_t *binds = json_object_get(expression, "morphTargetBinds");
            for (size_t k = json_array_size(binds); k-- > 0;) {
                json_t *bind = json_array_get(binds, k);
                if (!fn(mesh_of_node(m, media__get_index(bind, "node")), bind))
                    json_array_remove(binds, k);
            }
            if (binds && json_array_size(binds) == 0)
                json_object_del(expression, "morphTargetBinds");
        }
    }
}

static bool mark_bind(kept *k, json_t *bind)
{
    keep_bound(k, bind);
    return true;
}

static bool move_bind(kept *k, json_t *bind)
{
    const size_t index = moved(k, media__get_index(bind, "index"));
    return index != MEDIA__NO_INDEX &&
           json_integer_set(json_object_get(bind, "index"), (json_int_t)index) == 0;
}

static rpc_code find_kept(morphs *m)
{
    m->mesh_count = media__gltf_count(m->gltf, "meshes");
    m->meshes = calloc(m->mesh_count + 1, sizeof *m->meshes);
    if (!m->meshes)
        return media__no_memory(m->reterr);
    for (size_t i = 0; i < m->mesh_count; i++) {
        kept *k = &m->meshes[i];
        k->count = json_array_size(
            json_object_get(json_array_get(primitives_of(m, i), 0), "targets"));
        k->keep = calloc(k->count + 1, sizeof *k->keep);
        if (!k->keep)
            return media__no_memory(m->reterr);
        for (size_t t = 0; t < k->count; t++)
            k->keep[t] = media__morph_is_named(m->gltf, i, t, m->recipe);
    }
    if (m->recipe->morph_groups & MEDIA_MORPHS_VRM_EXPRESSIONS)
        each_bind(m, mark_bind);
    for (size_t i = 0; i < m->mesh_count; i++)
        for (size_t t = 0; t < m->meshes[i].count; t++)
            m->meshes[i].left += m->meshes[i].keep[t];
    return RPC_OK;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Of an array with an entry a target, those that stay. An array of another length is not one. */
static void filter(json_t *owner, const char *name, const kept *k)
{
    json_t *array = json_object_get(owner, name);
    if (!json_is_array(array) || json_array_size(array) != k->count)
        return;
    for (size_t i = k->count; i-- > 0;)
        if (!k->keep[i])
            json_array_remove(array, i);
    if (json_array_size(array) == 0)
        json_object_del(owner, name);
}

/* A list that had not a name for each target named none, and shall not begin to. */
static void filter_names(json_t *owner, const kept *k)
{
    json_t *extras = json_object_get(owner, "extras");
    const size_t names = json_array_size(json_object_get(extras, "targetNames"));
    if (names > 0 && names != k->count && names == k->left)
        json_object_del(extras, "targetNames");
    filter(extras, "targetNames", k);
    if (json_is_object(extras) && json_object_size(extras) == 0)
        json_object_del(owner, "extras");
}

static void filter_meshes(morphs *m)
{
    for (size_t i = 0; i < m->mesh_count; i++) {
        const kept *k = &m->meshes[i];
        if (k->left == k->count)
            continue;
        json_t *mesh = media__gltf_entry(m->gltf, "meshes", i);
        filter(mesh, "weights", k);
        filter_names(mesh, k);
        json_t *primitives = primitives_of(m, i);
        for (size_t p = 0; p < json_array_size(primitives); p++) {
            filter(json_array_get(primitives, p), "targets", k);
            filter_names(json_array_get(primitives, p), k);
        }
    }
    for (size_t i = 0; i < media__gltf_count(m->gltf, "nodes"); i++) {
        const kept *k = mesh_of_node(m, i);
        if (!k || k->left == k->count)
            continue;
        filter(media__gltf_entry(m->gltf, "nodes", i), "weights", k);
        filter_names(media__gltf_entry(m->gltf, "nodes", i), k);
    }
}

/* ---- animations ------------------------------------------------------------------------------ */

/* The numbers of a sampler's output that move targets which stay: they come in rows of as many as
 * there are targets, three rows a key of a CUBICSPLINE. */
static rpc_code filter_output(const morphs *m, const kept *k, size_t accessor, size_t *ret)
{
    media__layout layout;
    uint8_t *elements = NULL;
    size_t count = 0, made = 0;
    media__accessor_layout(media__gltf_entry(m->gltf, "accessors", accessor), &layout);
    rpc_code code = media__accessor_bytes(m->gltf, accessor, &elements, &count, m->reterr);
    if (code == RPC_OK && count % k->count != 0) /* of a pointer: the reader does not know it */
        code = media__gltf_bad(m->reterr, "/accessors",
            "%zu has %zu weights of animations for %zu morph targets", accessor, count, k->count);
    if (code == RPC_OK)
        code = media__accessor_copy(m->gltf, accessor, ret, m->reterr);
    if (code != RPC_OK) {
        free(elements);
        return code;
    }
    for (size_t i = 0; i < count; i++)
        if (k->keep[i % k->count])
            memmove(elements + made++ * layout.bytes, elements + i * layout.bytes, layout.bytes);
    return media__accessor_replace(m->gltf, *ret, elements, made, 0, m->reterr);
}

/* A channel's own sampler: others may share the one it had. */
static rpc_code filter_channel(const morphs *m, const kept *k, json_t *samplers, json_t *channel)
{
    const json_t *old = json_array_get(samplers, media__get_index(channel, "sampler"));
    size_t output = 0;
    const rpc_code code = filter_output(m, k, media__get_index(old, "output"), &output);
    if (code != RPC_OK)
        return code;
    json_t *sampler = json_deep_copy(old);
    if (json_object_set_new(sampler, "output", json_integer((json_int_t)output)) != 0 ||
        json_array_append_new(samplers, sampler) != 0 ||
        json_object_set_new(
            channel, "sampler", json_integer((json_int_t)json_array_size(samplers) - 1)) != 0)
        return media__no_memory(m->reterr);
    return RPC_OK;
}

/* What a channel moves of a mesh's targets: all weights, or that of one. */
typedef struct moved_weights {
    const kept *mesh; /* NULL: none */
    bool one;
    size_t target;
    const char *list; /* of pointer */
    media__pointer pointer;
} moved_weights;

static void read_rest(moved_weights *w, const kept *mesh, const char *list)
{
    static const char weights[] = "/weights";
    const char *rest = w->pointer.rest + sizeof weights - 1;
    char *end = NULL;
    if (strncmp(w->pointer.rest, weights, sizeof weights - 1) != 0)
        return;
    w->one = rest[0] == '/' && rest[1] >= '0' && rest[1] <= '9';
    w->target = w->one ? strtoull(rest + 1, &end, 10) : 0;
    w->list = list;
    w->mesh = rest[0] == '\0' || (w->one && *end == '\0') ? mesh : NULL;
}

static moved_weights weights_of(const morphs *m, const json_t *channel)
{
    const json_t *target = json_object_get(channel, "target");
    const char *path = json_string_value(json_object_get(target, "path"));
    moved_weights w = {.mesh = NULL};
    if (path && strcmp(path, "weights") == 0)
        w.mesh = mesh_of_node(m, media__get_index(target, "node"));
    else if (media__pointer_of(channel, "nodes", &w.pointer))
        read_rest(&w, mesh_of_node(m, w.pointer.index), "nodes");
    else if (media__pointer_of(channel, "meshes", &w.pointer))
        read_rest(
            &w, w.pointer.index < m->mesh_count ? &m->meshes[w.pointer.index] : NULL, "meshes");
    return w;
}

static rpc_code move_one(const morphs *m, const moved_weights *w)
{
    char rest[40];
    snprintf(rest, sizeof rest, "/weights/%zu", moved(w->mesh, w->target));
    return media__pointer_set(&w->pointer, w->list, w->pointer.index, rest, m->reterr);
}

static bool channel_stays(void *ctx, json_t *channel)
{
    const moved_weights w = weights_of(ctx, channel);
    if (!w.mesh || w.mesh->left == w.mesh->count)
        return true;
    return w.one ? moved(w.mesh, w.target) != MEDIA__NO_INDEX : w.mesh->left > 0;
}

/* Of an animation whose channels all stay. */
static rpc_code filter_animation(const morphs *m, json_t *animation)
{
    json_t *samplers = json_object_get(animation, "samplers");
    json_t *channels = json_object_get(animation, "channels");
    bool changed = false;
    for (size_t i = json_array_size(channels); i-- > 0;) {
        json_t *channel = json_array_get(channels, i);
        const moved_weights w = weights_of(m, channel);
        if (!w.mesh || w.mesh->left == w.mesh->count)
            continue;
        const rpc_code code = w.one ? move_one(m, &w)
                                    : filter_channel(m, w.mesh, samplers, channel);
        if (code != RPC_OK)
            return code;
        changed = true;
    }
    return changed ? media__animation_merge_samplers(animation, m->reterr) : RPC_OK;
}

/* An animation that moved nothing but targets that went goes too: one without channels is none. */
static rpc_code filter_animations(morphs *m)
{
    rpc_code code = media__gltf_keep_channels(m->gltf, channel_stays, m, m->reterr);
    for (size_t i = media__gltf_count(m->gltf, "animations"); code == RPC_OK && i-- > 0;)
        code = filter_animation(m, media__gltf_entry(m->gltf, "animations", i));
    return code;
}

rpc_code media__gltf_keep_morph_targets(
    media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    if (!recipe->some_morph_targets)
        return RPC_OK;
    morphs m = {.gltf = gltf, .recipe = recipe, .reterr = reterr};
    rpc_code code = find_kept(&m);
    if (code == RPC_OK)
        code = filter_animations(&m);
    if (code == RPC_OK) {
        each_bind(&m, move_bind);
        filter_meshes(&m);
    }
    for (size_t i = 0; m.meshes && i < m.mesh_count; i++)
        free(m.meshes[i].keep);
    free(m.meshes);
    return code;
}
