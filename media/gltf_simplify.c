/* SPDX-License-Identifier: Apache-2.0 */
/* What of a document can have fewer triangles, and how many each primitive keeps: one queue of
 * simplify.h over all of them. */
#include "gltf_adapt.h"
#include "gltf_pieces.h"
#include "gltf_scale.h"

#include "cleanup.h"

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

/* What two primitives of a mesh have in common to be of one set, as a word; free() it. */
static char *name_of_set(const json_t *primitive)
{
    json_t *both = json_pack(
        "[O?O?]", json_object_get(primitive, "attributes"), json_object_get(primitive, "targets"));
    char *text = json_dumps(both, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(both);
    return text;
}

/* The set of that name, made where it is new; NULL: no memory.
 *  names  of the mesh's sets: their numbers */
static media__vertex_set *set_of(media__pieces *pieces, json_t *names, const media__vertex_set *as)
{
    RPC_AUTOFREE char *name = name_of_set(as->primitive);
    if (!name)
        return NULL;
    const json_t *number = json_object_get(names, name);
    if (number)
        return &pieces->sets[json_integer_value(number)];
    if (json_object_set_new(names, name, json_integer((json_int_t)pieces->set_count)) != 0)
        return NULL;
    pieces->sets[pieces->set_count] = *as;
    return &pieces->sets[pieces->set_count++];
}

static rpc_code add_piece(const media__gltf *gltf, media__pieces *pieces, json_t *names,
    const media__piece *of, rpc_status *reterr)
{
    const media__vertex_set as = {.mesh = of->mesh,
        .primitive = of->json,
        .first = pieces->count,
        .last = pieces->count,
        .count = vertex_count(gltf, of->json),
        .scale = 1};
    media__vertex_set *set = set_of(pieces, names, &as);
    if (!set)
        return media__no_memory(reterr);
    media__piece *piece = &pieces->list[pieces->count];
    *piece = *of;
    piece->set = (size_t)(set - pieces->sets);
    piece->next = MEDIA__NO_INDEX;
    if (set->last != pieces->count)
        pieces->list[set->last].next = pieces->count;
    set->last = pieces->count++;
    set->textured |= textured(gltf, of->json);
    return read_indices(gltf, piece, set->count, reterr);
}

static rpc_code take_mesh(
    const media__gltf *gltf, media__pieces *pieces, size_t mesh, rpc_status *reterr)
{
    const json_t *list = json_object_get(media__gltf_entry(gltf, "meshes", mesh), "primitives");
    json_t *names = json_object();
    rpc_code code = names ? RPC_OK : media__no_memory(reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(list); i++) {
        const media__piece piece = {.mesh = mesh, .primitive = i, .json = json_array_get(list, i)};
        const uint64_t triangles = triangles_of(gltf, piece.json);
        pieces->triangles += triangles;
        if (triangles && can_change(piece.json) && vertex_count(gltf, piece.json) > 0)
            code = add_piece(gltf, pieces, names, &piece, reterr);
        else
            pieces->left += triangles;
    }
    json_decref(names);
    return code;
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
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "meshes"); i++)
        code = take_mesh(gltf, pieces, i, reterr);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static rpc_code measure(
    const media__gltf *gltf, media__pieces *pieces, uint32_t *groups, rpc_status *reterr)
{
    media__scales scales;
    const rpc_code code = media__scales_of(gltf, &scales, reterr);
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++) {
        pieces->sets[i].scale = scales.meshes[pieces->sets[i].mesh];
        groups[i] = scales.groups[pieces->sets[i].mesh];
    }
    media__scales_done(&scales);
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
