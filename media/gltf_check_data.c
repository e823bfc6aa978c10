/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers in buffers must be, so that nobody who draws the document reads beyond an array
 * or computes with what is no number. Each accessor is read once; what its users ask about is
 * remembered. Looks are not judged: normals and rotations that are not of length 1, weights that do
 * not add up to 1 and colours above 1 are common, and every renderer lives with them. */
#include "gltf_edit.h"
#include "gltf_get.h"

#include "cleanup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DATA_BYTES_MAX ((size_t)512 << 20) /* of all accessors together */

/* How far floats may lie beyond min and max, in proportion: writers print few digits. */
#define BOUNDS_TOLERANCE 1e-4
#define AFFINE_TOLERANCE 1e-4
#define EXPONENT         0x7f800000u /* of a float: all bits set in what is not finite */

typedef struct facts {
    uint32_t max;    /* of unsigned integers, as they are stored */
    bool falls;      /* of floats one by one: below zero, or not above the one before */
    size_t falls_at; /* which */
    bool not_affine; /* of 4 × 4 matrices: a last row is not 0 0 0 1 */
} facts;

typedef struct walk {
    const media__gltf *gltf;
    rpc_status *reterr;
    char place[80];
    size_t bytes;     /* read until now */
    facts *facts;     /* of accessors */
    uint32_t *joints; /* of meshes: the largest joint that a vertex names */
} walk;

#define BAD(w, ...) media__gltf_bad((w)->reterr, (w)->place, __VA_ARGS__)

/* ---- accessors ------------------------------------------------------------------------------- */

/* Components one after the other, as they are stored. */
typedef struct numbers {
    const uint8_t *bytes;
    size_t count, components, size;
    int type;
} numbers;

static double number_at(const numbers *n, size_t i)
{
    uint32_t bits = 0;
    float real;
    memcpy(&bits, n->bytes + i * n->size, n->size); /* little-endian: gltf_elements.c */
    switch (n->type) {
    case MEDIA__FLOAT:
        memcpy(&real, &bits, sizeof real);
        return (double)real;
    case MEDIA__BYTE:
        return (int8_t)bits;
    case MEDIA__SHORT:
        return (int16_t)bits;
    default:
        return bits;
    }
}

static rpc_code check_finite(walk *w, const numbers *n)
{
    bool all = true;
    for (size_t i = 0; n->type == MEDIA__FLOAT && i < n->count; i++) {
        uint32_t bits;
        memcpy(&bits, n->bytes + i * sizeof bits, sizeof bits);
        all &= (bits & EXPONENT) != EXPONENT;
    }
    for (size_t i = 0; !all && i < n->count; i++)
        if (!isfinite(number_at(n, i)))
            return BAD(w, "element %zu is no finite number", i / n->components);
    return RPC_OK;
}

typedef struct range {
    double least, most;
} range;

/* Of one component of all elements. Written out for each type: this is where the time of a check
 * goes. */
#define RANGE_OF(type_name)                                                                        \
    do {                                                                                           \
        type_name value, least, most;                                                              \
        memcpy(&least, n->bytes + component * sizeof least, sizeof least);                         \
        most = least;                                                                              \
        for (size_t i = component; i < n->count; i += n->components) {                             \
            memcpy(&value, n->bytes + i * sizeof value, sizeof value);                             \
            least = value < least ? value : least;                                                 \
            most = value > most ? value : most;                                                    \
        }                                                                                          \
        return (range){(double)least, (double)most};                                               \
    } while (0)

static range range_of(const numbers *n, size_t component)
{
    switch (n->type) {
    case MEDIA__FLOAT:
        RANGE_OF(float);
    case MEDIA__BYTE:
        RANGE_OF(int8_t);
    case MEDIA__SHORT:
        RANGE_OF(int16_t);
    case MEDIA__UBYTE:
        RANGE_OF(uint8_t);
    case MEDIA__USHORT:
        RANGE_OF(uint16_t);
    default:
        RANGE_OF(uint32_t);
    }
}

static rpc_code out_of_range(walk *w, const numbers *n, size_t component, range allowed)
{
    for (size_t i = component; i < n->count; i += n->components)
        if (number_at(n, i) < allowed.least || number_at(n, i) > allowed.most)
            return BAD(w, "element %zu has %g, which is beyond its min and max", i / n->components,
                number_at(n, i));
    return RPC_OK;
}

/* Of integers without sign the largest is remembered. */
static rpc_code check_bounds(walk *w, const numbers *n, const json_t *accessor, facts *f)
{
    const json_t *min = json_object_get(accessor, "min"), *max = json_object_get(accessor, "max");
    const bool counts = n->type == MEDIA__UBYTE || n->type == MEDIA__USHORT ||
                        n->type == MEDIA__UINT;
    rpc_code code = RPC_OK;
    for (size_t j = 0; code == RPC_OK && (min || max || counts) && j < n->components; j++) {
        const range found = range_of(n, j);
        const double least = min ? json_number_value(json_array_get(min, j)) : -HUGE_VAL;
        const double most = max ? json_number_value(json_array_get(max, j)) : HUGE_VAL;
        const double scale = (min ? fabs(least) : 0) + (max ? fabs(most) : 0);
        const double room = n->type == MEDIA__FLOAT ? scale * BOUNDS_TOLERANCE + 1e-6 : 0;
        if (found.least < least - room || found.most > most + room)
            code = out_of_range(w, n, j, (range){least - room, most + room});
        if (counts && found.most > f->max)
            f->max = (uint32_t)found.most;
    }
    return code;
}

static void note(const numbers *n, facts *f)
{
    for (size_t i = 0; i < n->count && n->components == 1 && n->type == MEDIA__FLOAT; i++)
        if (!f->falls && (number_at(n, i) < 0 || (i && number_at(n, i) <= number_at(n, i - 1)))) {
            f->falls = true;
            f->falls_at = i;
        }
    for (size_t i = 3; i < n->count && n->components == 16; i += 4)
        if (fabs(number_at(n, i) - (i % 16 == 15)) > AFFINE_TOLERANCE)
            f->not_affine = true;
}

/* Neither times nor matrices are of an extension's data: theirs are zeros. */
static void note_zeros(const json_t *accessor, const media__layout *layout, facts *f)
{
    f->falls = layout->components == 1 && media__get_index(accessor, "count") > 1;
    f->falls_at = 1;
    f->not_affine = layout->components == 16;
}

static rpc_code check_accessor(walk *w, size_t index)
{
    const json_t *accessor = media__gltf_entry(w->gltf, "accessors", index);
    media__layout layout;
    media__accessor_layout(accessor, &layout);
    if (!media__has_elements(accessor)) {
        note_zeros(accessor, &layout, &w->facts[index]);
        return RPC_OK;
    }
    snprintf(w->place, sizeof w->place, "/accessors/%zu", index);
    const size_t size = media__get_index(accessor, "count") * layout.bytes;
    if (size > DATA_BYTES_MAX - w->bytes)
        return rpc_status_set(w->reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: %s: accessors have more than %zu bytes together", w->place, DATA_BYTES_MAX);
    w->bytes += size;
    RPC_AUTOFREE uint8_t *bytes = NULL;
    size_t count = 0;
    rpc_code code = media__accessor_bytes(w->gltf, index, &bytes, &count, w->reterr);
    if (code != RPC_OK || layout.bytes != layout.components * layout.component_bytes)
        return code; /* columns with gaps: of small integers, which nothing here uses */
    const numbers n = {bytes, count * layout.components, layout.components, layout.component_bytes,
        layout.component_type};
    code = check_finite(w, &n);
    if (code == RPC_OK)
        code = check_bounds(w, &n, accessor, &w->facts[index]);
    if (code == RPC_OK)
        note(&n, &w->facts[index]);
    return code;
}

/* ---- meshes ---------------------------------------------------------------------------------- */

static uint32_t restart_of(const walk *w, size_t accessor)
{
    media__layout layout;
    media__accessor_layout(media__gltf_entry(w->gltf, "accessors", accessor), &layout);
    return layout.component_bytes == 1 ? 0xff : layout.component_bytes == 2 ? 0xffff : 0xffffffff;
}

static rpc_code check_indices(walk *w, const json_t *primitive)
{
    const size_t indices = media__get_index(primitive, "indices");
    json_t *attributes = json_object_get(primitive, "attributes");
    void *any = json_object_iter(attributes); /* all are of one length: gltf_graph.c */
    const size_t accessor = any ? (size_t)json_integer_value(json_object_iter_value(any)) : 0;
    const size_t vertices = media__get_index(
        media__gltf_entry(w->gltf, "accessors", accessor), "count");
    if (indices == MEDIA__NO_INDEX)
        return RPC_OK;
    const uint32_t max = w->facts[indices].max;
    if (max == restart_of(w, indices))
        return BAD(w, "an index is %u, which restarts primitives", (unsigned)max);
    return max >= vertices
               ? BAD(w, "an index is %u, there are %zu vertices", (unsigned)max, vertices)
               : RPC_OK;
}

static void note_joints(const walk *w, const json_t *primitive, uint32_t *max)
{
    char name[24];
    for (unsigned set = 0; set < 100; set++) {
        snprintf(name, sizeof name, "JOINTS_%u", set);
        const size_t accessor = media__get_index(json_object_get(primitive, "attributes"), name);
        if (accessor == MEDIA__NO_INDEX)
            return;
        *max = w->facts[accessor].max > *max ? w->facts[accessor].max : *max;
    }
}

static rpc_code check_meshes(walk *w)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(w->gltf, "meshes"); i++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(w->gltf, "meshes", i), "primitives");
        for (size_t j = 0; code == RPC_OK && j < json_array_size(primitives); j++) {
            const json_t *primitive = json_array_get(primitives, j);
            snprintf(w->place, sizeof w->place, "/meshes/%zu/primitives/%zu/indices", i, j);
            code = check_indices(w, primitive);
            note_joints(w, primitive, &w->joints[i]);
        }
    }
    return code;
}

/* ---- skins and animations -------------------------------------------------------------------- */

static rpc_code check_skins(walk *w)
{
    for (size_t i = 0; i < media__gltf_count(w->gltf, "skins"); i++) {
        const size_t matrices = media__get_index(
            media__gltf_entry(w->gltf, "skins", i), "inverseBindMatrices");
        snprintf(w->place, sizeof w->place, "/skins/%zu/inverseBindMatrices", i);
        if (matrices != MEDIA__NO_INDEX && w->facts[matrices].not_affine)
            return BAD(w, "the last row of one is not 0 0 0 1");
    }
    for (size_t i = 0; i < media__gltf_count(w->gltf, "nodes"); i++) {
        const json_t *node = media__gltf_entry(w->gltf, "nodes", i);
        const size_t mesh = media__get_index(node, "mesh"), skin = media__get_index(node, "skin");
        const size_t count = json_array_size(
            json_object_get(media__gltf_entry(w->gltf, "skins", skin), "joints"));
        snprintf(w->place, sizeof w->place, "/nodes/%zu/skin", i);
        if (skin != MEDIA__NO_INDEX && w->joints[mesh] >= count)
            return BAD(w, "a vertex of /meshes/%zu is bound to joint %u, the skin has %zu", mesh,
                (unsigned)w->joints[mesh], count);
    }
    return RPC_OK;
}

static rpc_code check_animations(walk *w)
{
    for (size_t i = 0; i < media__gltf_count(w->gltf, "animations"); i++) {
        const json_t *samplers = json_object_get(
            media__gltf_entry(w->gltf, "animations", i), "samplers");
        for (size_t j = 0; j < json_array_size(samplers); j++) {
            const size_t input = media__get_index(json_array_get(samplers, j), "input");
            snprintf(w->place, sizeof w->place, "/animations/%zu/samplers/%zu/input", i, j);
            if (w->facts[input].falls)
                return BAD(w, "time %zu is below zero or not above the one before",
                    w->facts[input].falls_at);
        }
    }
    return RPC_OK;
}

static rpc_code check_all(walk *w)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < media__gltf_count(w->gltf, "accessors"); i++)
        code = check_accessor(w, i);
    if (code == RPC_OK)
        code = check_meshes(w);
    if (code == RPC_OK)
        code = check_skins(w);
    return code == RPC_OK ? check_animations(w) : code;
}

rpc_code media__gltf_check_data(const media__gltf *gltf, rpc_status *reterr)
{
    walk w = {.gltf = gltf,
        .reterr = reterr,
        .facts = calloc(media__gltf_count(gltf, "accessors") + 1, sizeof *w.facts),
        .joints = calloc(media__gltf_count(gltf, "meshes") + 1, sizeof *w.joints)};
    const rpc_code code = w.facts && w.joints ? check_all(&w) : media__no_memory(reterr);
    free(w.facts);
    free(w.joints);
    return code;
}
