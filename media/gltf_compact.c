/* SPDX-License-Identifier: Apache-2.0 */
/* After triangles went: an order that caches like, and only the vertices that are in use. */
#include "gltf_pieces.h"

#include "cleanup.h"

#include <meshoptimizer.h>
#include <stdlib.h>

#define DEGREE_MAX 4096 /* triangles of a vertex: the poles of spheres have hundreds */
#define CACHE_SIZE 16

typedef struct compact {
    media__gltf *gltf;
    media__pieces *pieces;
    const media__vertex_set *set;
    const uint32_t *kept; /* [kept_count] the old vertex of each new one */
    size_t kept_count;
    struct copied {
        size_t of, accessor; /* of: one more than the set */
    } * copies;              /* [accessors] the last that was made of each */
    size_t accessors;        /* before anything was made */
    rpc_status *reterr;
} compact;

/* ---- vertices -------------------------------------------------------------------------------- */

static rpc_code gather(const compact *c, size_t accessor, size_t *ret)
{
    media__layout layout;
    uint8_t *all = NULL, *kept = NULL;
    size_t count = 0;
    media__accessor_layout(media__gltf_entry(c->gltf, "accessors", accessor), &layout);
    rpc_code code = media__accessor_bytes(c->gltf, accessor, &all, &count, c->reterr);
    if (code == RPC_OK && count != c->set->count)
        code = media__gltf_bad(c->reterr, "/accessors", "%zu has %zu elements, its primitive %zu",
            accessor, count, c->set->count);
    if (code == RPC_OK) {
        kept = malloc(c->kept_count * layout.bytes + 1);
        code = kept ? RPC_OK : media__no_memory(c->reterr);
    }
    for (size_t v = 0; code == RPC_OK && v < c->kept_count; v++)
        memcpy(kept + v * layout.bytes, all + c->kept[v] * layout.bytes, layout.bytes);
    free(all);
    if (code == RPC_OK)
        code = media__accessor_copy(c->gltf, accessor, ret, c->reterr);
    if (code != RPC_OK) {
        free(kept);
        return code;
    }
    return media__accessor_replace(
        c->gltf, *ret, kept, c->kept_count, MEDIA__ARRAY_BUFFER, c->reterr);
}

/* Other primitives may have the accessor too: they keep what they had. */
static rpc_code move_attributes(compact *c, json_t *attributes)
{
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(attributes, next, name, value)
    {
        const size_t accessor = (size_t)json_integer_value(value);
        if (accessor >= c->accessors)
            continue;
        const size_t set = (size_t)(c->set - c->pieces->sets) + 1;
        if (c->copies[accessor].of != set) {
            const rpc_code code = gather(c, accessor, &c->copies[accessor].accessor);
            if (code != RPC_OK)
                return code;
            c->copies[accessor].of = set;
        }
        json_integer_set(value, (json_int_t)c->copies[accessor].accessor);
    }
    return RPC_OK;
}

/* ---- indices --------------------------------------------------------------------------------- */

static rpc_code put_indices(compact *c, media__piece *piece)
{
    const bool wide = c->kept_count > 65535; /* 65535 itself restarts a strip */
    const size_t size = wide ? 4 : 2;
    uint8_t *elements = malloc(piece->index_count * size + 1);
    size_t accessor = media__get_index(piece->json, "indices");
    if (!elements)
        return media__no_memory(c->reterr);
    for (size_t i = 0; i < piece->index_count; i++) {
        const uint16_t narrow = (uint16_t)piece->indices[i];
        memcpy(elements + i * size, wide ? (const void *)&piece->indices[i] : &narrow, size);
    }
    if (accessor == MEDIA__NO_INDEX)
        accessor = media__get_index(json_object_get(piece->json, "attributes"), "POSITION");
    rpc_code code = media__accessor_copy(c->gltf, accessor, &accessor, c->reterr);
    json_t *entry = media__gltf_entry(c->gltf, "accessors", accessor);
    if (code != RPC_OK || json_object_set_new(entry, "type", json_string("SCALAR")) != 0 ||
        json_object_set_new(
            entry, "componentType", json_integer(wide ? MEDIA__UINT : MEDIA__USHORT)) != 0 ||
        json_object_set_new(piece->json, "indices", json_integer((json_int_t)accessor)) != 0) {
        free(elements);
        return code != RPC_OK ? code : media__no_memory(c->reterr);
    }
    json_object_del(entry, "normalized");
    json_object_del(entry, "min");
    json_object_del(entry, "max");
    json_object_del(piece->json, "mode");
    return media__accessor_replace(
        c->gltf, accessor, elements, piece->index_count, MEDIA__ELEMENT_ARRAY_BUFFER, c->reterr);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* New numbers for the vertices in use, in the order in which the triangles want them; kept has the
 * old ones. */
static size_t renumber(media__pieces *pieces, size_t set, uint32_t *numbers, uint32_t *kept)
{
    size_t count = 0;
    MEDIA__EACH_PIECE(piece, pieces, set)
    for (size_t k = 0; k < piece->index_count; k++) {
        uint32_t *number = &numbers[piece->indices[k]];
        if (*number == UINT32_MAX) {
            kept[count] = piece->indices[k];
            *number = (uint32_t)count++;
        }
        piece->indices[k] = *number;
    }
    return count;
}

/* The better order looks at all triangles of a vertex for each of them: of a fan it is none. */
static bool is_fan(const uint32_t *indices, size_t count, uint32_t *degrees, size_t vertices)
{
    bool fan = false;
    memset(degrees, 0, vertices * sizeof *degrees);
    for (size_t i = 0; !fan && i < count; i++)
        fan = ++degrees[indices[i]] > DEGREE_MAX;
    return fan;
}

/* degrees  room for a number of each vertex */
static bool order(media__piece *piece, uint32_t *degrees, size_t vertices)
{
    uint32_t *ordered = malloc(piece->index_count * sizeof *ordered + 1);
    if (!ordered)
        return false;
    if (is_fan(piece->indices, piece->index_count, degrees, vertices))
        meshopt_optimizeVertexCacheFifo(
            ordered, piece->indices, piece->index_count, vertices, CACHE_SIZE);
    else
        meshopt_optimizeVertexCache(ordered, piece->indices, piece->index_count, vertices);
    free(piece->indices);
    piece->indices = ordered;
    return true;
}

static rpc_code compact_piece(compact *c, media__piece *piece)
{
    const json_t *targets = json_object_get(piece->json, "targets");
    rpc_code code = put_indices(c, piece);
    if (code == RPC_OK)
        code = move_attributes(c, json_object_get(piece->json, "attributes"));
    for (size_t k = 0; code == RPC_OK && k < json_array_size(targets); k++)
        code = move_attributes(c, json_array_get(targets, k));
    return code;
}

static rpc_code compact_set(compact *c, size_t set)
{
    c->set = &c->pieces->sets[set];
    RPC_AUTOFREE uint32_t *numbers = malloc(c->set->count * sizeof *numbers + 1);
    RPC_AUTOFREE uint32_t *kept = malloc(c->set->count * sizeof *kept + 1);
    bool room = numbers && kept;
    MEDIA__EACH_PIECE(piece, c->pieces, set)
    room = room && order(piece, numbers, c->set->count);
    if (!room)
        return media__no_memory(c->reterr);
    memset(numbers, 0xff, c->set->count * sizeof *numbers);
    c->kept = kept;
    c->kept_count = renumber(c->pieces, set, numbers, kept);
    rpc_code code = RPC_OK;
    MEDIA__EACH_PIECE(piece, c->pieces, set)
    if (code == RPC_OK)
        code = compact_piece(c, piece);
    return code;
}

rpc_code media__pieces_compact(media__gltf *gltf, media__pieces *pieces, rpc_status *reterr)
{
    compact c = {.gltf = gltf,
        .pieces = pieces,
        .accessors = media__gltf_count(gltf, "accessors"),
        .reterr = reterr};
    c.copies = calloc(c.accessors + 1, sizeof *c.copies);
    rpc_code code = c.copies ? RPC_OK : media__no_memory(reterr);
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++)
        code = compact_set(&c, i);
    free(c.copies);
    return code;
}
