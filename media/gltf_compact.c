/* SPDX-License-Identifier: Apache-2.0 */
/* After triangles went: an order that caches like, and only the vertices that are in use. */
#include "gltf_pieces.h"

#include <meshoptimizer.h>
#include <stdlib.h>

typedef struct compact {
    media__gltf *gltf;
    const media__vertex_set *set;
    const uint32_t *kept; /* [kept_count] the old vertex of each new one */
    size_t kept_count;
    size_t *copies; /* [accessors before] of this set; MEDIA__NO_INDEX: none yet */
    size_t accessors;
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
        if (c->copies[accessor] == MEDIA__NO_INDEX) {
            const rpc_code code = gather(c, accessor, &c->copies[accessor]);
            if (code != RPC_OK)
                return code;
        }
        json_integer_set(value, (json_int_t)c->copies[accessor]);
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
    for (size_t i = 0; i < pieces->count; i++) {
        media__piece *piece = &pieces->list[i];
        if (piece->set != set)
            continue;
        for (size_t k = 0; k < piece->index_count; k++) {
            uint32_t *number = &numbers[piece->indices[k]];
            if (*number == UINT32_MAX) {
                kept[count] = piece->indices[k];
                *number = (uint32_t)count++;
            }
            piece->indices[k] = *number;
        }
    }
    return count;
}

static bool order(media__piece *piece, size_t vertices)
{
    uint32_t *ordered = malloc(piece->index_count * sizeof *ordered + 1);
    if (!ordered)
        return false;
    meshopt_optimizeVertexCache(ordered, piece->indices, piece->index_count, vertices);
    free(piece->indices);
    piece->indices = ordered;
    return true;
}

static rpc_code compact_set(compact *c, media__pieces *pieces, size_t set)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < pieces->count; i++) {
        media__piece *piece = &pieces->list[i];
        if (piece->set == set)
            code = put_indices(c, piece);
        if (code == RPC_OK && piece->set == set)
            code = move_attributes(c, json_object_get(piece->json, "attributes"));
        json_t *targets = json_object_get(piece->json, "targets");
        for (size_t k = 0; code == RPC_OK && piece->set == set && k < json_array_size(targets); k++)
            code = move_attributes(c, json_array_get(targets, k));
    }
    return code;
}

static rpc_code compact_one(
    media__gltf *gltf, media__pieces *pieces, size_t set, rpc_status *reterr)
{
    const size_t count = pieces->sets[set].count;
    const size_t accessors = media__gltf_count(gltf, "accessors");
    uint32_t *numbers = malloc(count * sizeof *numbers + 1);
    uint32_t *kept = malloc(count * sizeof *kept + 1);
    size_t *copies = malloc(accessors * sizeof *copies + 1);
    bool room = numbers && kept && copies;
    for (size_t i = 0; room && i < pieces->count; i++)
        if (pieces->list[i].set == set)
            room = order(&pieces->list[i], count);
    rpc_code code = room ? RPC_OK : media__no_memory(reterr);
    if (code == RPC_OK) {
        memset(numbers, 0xff, count * sizeof *numbers);
        memset(copies, 0xff, accessors * sizeof *copies);
        compact c = {gltf, &pieces->sets[set], kept, renumber(pieces, set, numbers, kept), copies,
            accessors, reterr};
        code = compact_set(&c, pieces, set);
    }
    free(numbers);
    free(kept);
    free(copies);
    return code;
}

rpc_code media__pieces_compact(media__gltf *gltf, media__pieces *pieces, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++)
        code = compact_one(gltf, pieces, i, reterr);
    return code;
}
