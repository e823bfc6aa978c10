/* SPDX-License-Identifier: Apache-2.0 */
/* What of a document can have fewer triangles, and how many each primitive keeps: one queue of
 * simplify.h over all of them. */
#include "gltf_adapt.h"
#include "gltf_pieces.h"
#include "gltf_scale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIANGLES = 4, STRIP = 5, FAN = 6 };

static void pieces_done(media__pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        free(pieces->list[i].indices);
    for (size_t i = 0; i < pieces->set_count; i++) {
        free(pieces->sets[i].positions);
        free(pieces->sets[i].attributes);
    }
    free(pieces->list);
    free(pieces->sets);
    *pieces = (media__pieces){.list = NULL};
}

/* ---- primitives ------------------------------------------------------------------------------ */

static size_t vertex_count(const media__gltf *gltf, const json_t *primitive)
{
    const size_t position = media__get_index(json_object_get(primitive, "attributes"), "POSITION");
    const size_t count = media__get_index(media__gltf_entry(gltf, "accessors", position), "count");
    return position == MEDIA__NO_INDEX || count == MEDIA__NO_INDEX ? 0 : count;
}

static uint64_t triangles_of(const media__gltf *gltf, const json_t *primitive)
{
    const json_t *mode = json_object_get(primitive, "mode");
    const size_t accessor = media__get_index(primitive, "indices");
    const size_t corners = accessor == MEDIA__NO_INDEX
                               ? vertex_count(gltf, primitive)
                               : media__get_index(
                                     media__gltf_entry(gltf, "accessors", accessor), "count");
    switch (mode ? json_integer_value(mode) : TRIANGLES) {
    case TRIANGLES:
        return corners / 3;
    case STRIP:
    case FAN:
        return corners > 2 ? corners - 2 : 0;
    default:
        return 0;
    }
}

/* An extension of a primitive that is not known may mean its vertices. */
static bool can_change(const json_t *primitive)
{
    json_t *extensions = json_object_get(primitive, "extensions");
    for (void *at = json_object_iter(extensions); at; at = json_object_iter_next(extensions, at))
        if (strcmp(json_object_iter_key(at), "KHR_materials_variants") != 0)
            return false;
    return true;
}

/* Three corners a triangle, whatever the mode says. */
static rpc_code unroll(media__piece *piece, uint32_t *corners, size_t count, rpc_status *reterr)
{
    const json_t *mode = json_object_get(piece->json, "mode");
    const json_int_t kind = mode ? json_integer_value(mode) : TRIANGLES;
    if (kind == TRIANGLES) {
        piece->indices = corners;
        piece->index_count = count / 3 * 3;
        return RPC_OK;
    }
    uint32_t *indices = count > 2 ? malloc((count - 2) * 3 * sizeof *indices) : calloc(1, 1);
    if (!indices) {
        free(corners);
        return media__no_memory(reterr);
    }
    for (size_t i = 0; i + 2 < count; i++) {
        const bool turned = kind == STRIP && i % 2 == 1;
        const uint32_t triangle[3] = {kind == FAN ? corners[0] : corners[i + (turned ? 1 : 0)],
            corners[i + (turned ? 0 : 1)], corners[i + 2]};
        memcpy(indices + 3 * i, triangle, sizeof triangle);
    }
    free(corners);
    piece->indices = indices;
    piece->index_count = count > 2 ? (count - 2) * 3 : 0;
    return RPC_OK;
}

static rpc_code read_indices(
    const media__gltf *gltf, media__piece *piece, size_t vertices, rpc_status *reterr)
{
    const size_t accessor = media__get_index(piece->json, "indices");
    uint32_t *corners = NULL;
    size_t count = vertices;
    if (accessor != MEDIA__NO_INDEX) {
        const rpc_code code = media__accessor_uints(gltf, accessor, &corners, &count, reterr);
        if (code != RPC_OK)
            return code;
    } else {
        corners = malloc((vertices + 1) * sizeof *corners);
        if (!corners)
            return media__no_memory(reterr);
        for (size_t i = 0; i < vertices; i++)
            corners[i] = (uint32_t)i;
    }
    for (size_t i = 0; i < count; i++)
        if (corners[i] >= vertices) {
            char place[64];
            const uint32_t corner = corners[i];
            free(corners);
            snprintf(place, sizeof place, "/meshes/%zu/primitives/%zu/indices", piece->mesh,
                piece->primitive);
            return media__gltf_bad(
                reterr, place, "index %zu is %u, there are %zu vertices", i, corner, vertices);
        }
    const rpc_code code = unroll(piece, corners, count, reterr);
    piece->index_count_before = piece->index_count;
    return code;
}

static bool shows_pictures(const json_t *value)
{
    if (json_is_object(value)) {
        json_t *mutable = (json_t *)(uintptr_t)value; /* jansson's iterators take no const */
        for (void *at = json_object_iter(mutable); at; at = json_object_iter_next(mutable, at)) {
            const char *key = json_object_iter_key(at);
            const size_t size = strlen(key);
            if ((size >= 7 && strcmp(key + size - 7, "Texture") == 0) ||
                shows_pictures(json_object_iter_value(at)))
                return true;
        }
    }
    return false;
}

/* A VRM 0.x names its pictures elsewhere. */
static bool textured(const media__gltf *gltf, const json_t *primitive)
{
    const size_t material = media__get_index(primitive, "material");
    return media__gltf_count(gltf, "textures") > 0 &&
           (media__get_extension(gltf->json, "VRM") ||
               (material != MEDIA__NO_INDEX &&
                   shows_pictures(media__gltf_entry(gltf, "materials", material))));
}

static rpc_code add_piece(const media__gltf *gltf, media__pieces *pieces, size_t mesh, size_t index,
    json_t *primitive, rpc_status *reterr)
{
    media__vertex_set *set = NULL;
    for (size_t i = pieces->set_count; !set && i > 0 && pieces->sets[i - 1].mesh == mesh; i--) {
        const json_t *first = pieces->sets[i - 1].primitive;
        if (json_equal(
                json_object_get(first, "attributes"), json_object_get(primitive, "attributes")) &&
            (json_object_get(first, "targets") == json_object_get(primitive, "targets") ||
                json_equal(
                    json_object_get(first, "targets"), json_object_get(primitive, "targets"))))
            set = &pieces->sets[i - 1];
    }
    if (!set) {
        set = &pieces->sets[pieces->set_count++];
        *set = (media__vertex_set){.mesh = mesh,
            .primitive = primitive,
            .count = vertex_count(gltf, primitive),
            .scale = 1};
    }
    set->textured |= textured(gltf, primitive);
    media__piece *piece = &pieces->list[pieces->count++];
    *piece = (media__piece){
        .mesh = mesh, .primitive = index, .set = (size_t)(set - pieces->sets), .json = primitive};
    return read_indices(gltf, piece, set->count, reterr);
}

static rpc_code take_pieces(const media__gltf *gltf, media__pieces *pieces, rpc_status *reterr)
{
    size_t primitives = 0;
    for (size_t i = 0; i < media__gltf_count(gltf, "meshes"); i++)
        primitives += json_array_size(
            json_object_get(media__gltf_entry(gltf, "meshes", i), "primitives"));
    pieces->list = calloc(primitives + 1, sizeof *pieces->list);
    pieces->sets = calloc(primitives + 1, sizeof *pieces->sets);
    if (!pieces->list || !pieces->sets)
        return media__no_memory(reterr);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *list = json_object_get(media__gltf_entry(gltf, "meshes", i), "primitives");
        for (size_t k = 0; code == RPC_OK && k < json_array_size(list); k++) {
            json_t *primitive = json_array_get(list, k);
            const uint64_t triangles = triangles_of(gltf, primitive);
            pieces->triangles += triangles;
            if (triangles && can_change(primitive) && vertex_count(gltf, primitive) > 0)
                code = add_piece(gltf, pieces, i, k, primitive, reterr);
            else
                pieces->left += triangles;
        }
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rpc_code measure(
    const media__gltf *gltf, media__pieces *pieces, uint32_t *groups, rpc_status *reterr)
{
    size_t *parents = media__parents_of(gltf);
    if (!parents)
        return media__no_memory(reterr);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++) {
        media__vertex_set *set = &pieces->sets[i];
        code = media__mesh_scale(gltf, parents, set->mesh, &set->scale, &groups[i], reterr);
    }
    free(parents);
    return code == RPC_OK ? media__pieces_looks(gltf, pieces, reterr) : code;
}

static void say_why(
    const media__pieces *pieces, const media__simplify_result *result, media__simplified *ret)
{
    if (ret->reached <= ret->asked + ret->asked / 20)
        return;
    if (result->points == 0 || pieces->left > ret->asked)
        snprintf(ret->why, sizeof ret->why,
            "%llu triangles are of primitives that cannot be read (Draco) or changed here",
            (unsigned long long)pieces->left);
    else
        snprintf(ret->why, sizeof ret->why,
            "of the %llu points left %llu are held by borders, %llu by seams and shape that would "
            "be lost, %llu since a surface would fold or tear",
            (unsigned long long)result->points, (unsigned long long)result->held_by_borders,
            (unsigned long long)result->held_by_looks, (unsigned long long)result->held_by_folds);
}

static rpc_code simplify(media__gltf *gltf, media__pieces *pieces, media__part *parts,
    uint32_t *groups, media__simplified *ret, rpc_status *reterr)
{
    media__simplify_result result;
    rpc_code code = measure(gltf, pieces, groups, reterr);
    if (code != RPC_OK)
        return code;
    for (size_t i = 0; i < pieces->count; i++) {
        const media__piece *piece = &pieces->list[i];
        const media__vertex_set *set = &pieces->sets[piece->set];
        parts[i] = (media__part){set->positions, set->attributes, set->count, set->attribute_count,
            set->seam_attributes, piece->indices, piece->index_count, groups[piece->set]};
    }
    code = media__simplify(parts, pieces->count,
        ret->asked > pieces->left ? ret->asked - pieces->left : 0, &result, reterr);
    if (code != RPC_OK)
        return code;
    for (size_t i = 0; i < pieces->count; i++)
        pieces->list[i].index_count = parts[i].index_count;
    ret->reached = result.triangles + pieces->left;
    say_why(pieces, &result, ret);
    return media__pieces_compact(gltf, pieces, reterr);
}

rpc_code media__gltf_simplify(
    media__gltf *gltf, uint64_t asked, media__simplified *ret, rpc_status *reterr)
{
    media__pieces pieces = {.list = NULL};
    media__simplified done = {.asked = asked};
    rpc_code code = take_pieces(gltf, &pieces, reterr);
    done.before = done.reached = pieces.triangles;
    if (code == RPC_OK && pieces.triangles > asked) {
        media__part *parts = calloc(pieces.count + 1, sizeof *parts);
        uint32_t *groups = calloc(pieces.set_count + 1, sizeof *groups);
        code = parts && groups ? simplify(gltf, &pieces, parts, groups, &done, reterr)
                               : media__no_memory(reterr);
        free(parts);
        free(groups);
    }
    pieces_done(&pieces);
    if (code == RPC_OK)
        *ret = done;
    return code;
}
