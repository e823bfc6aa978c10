/* SPDX-License-Identifier: Apache-2.0 */
/* What a vertex looks like, and moves like, as numbers of one measure: metres. Textures count by
 * how far they would slide over the surface, normals and colours by a share of the avatar's size,
 * skins by how far a bend would carry the vertex off, morph targets by how far they move it. Joints
 * and targets are many: random directions in few dimensions keep their distances well enough (the
 * lemma of Johnson and Lindenstrauss). */
#include "gltf_pieces.h"

#include <math.h>
#include <stdlib.h>

#define UV_WEIGHT      0.35  /* of the slide */
#define UV_METRES_MOST 4.0   /* extents, of a palette, whose colours lie close */
#define NORMAL_WEIGHT  0.004 /* of the extent; normals that differ by a right angle: 1.4 times */
#define COLOR_WEIGHT   0.02
#define HAND_WEIGHT    0.02 /* a tangent's sign */
#define SKIN_WEIGHT    0.01
#define MORPH_WEIGHT   1.0
#define SKIN_NUMBERS   6
#define MORPH_NUMBERS  8
#define PARTS_OF_COLOR 4

/* The same for the same seed, on every machine: from -1 to 1. */
static double drawn(uint32_t seed)
{
    seed = (seed ^ 61u ^ seed >> 16) * 9u;
    seed = (seed ^ seed >> 4) * 0x27d4eb2du;
    seed ^= seed >> 15;
    return (double)seed / 2147483647.5 - 1;
}

/* ---- extents --------------------------------------------------------------------------------- */

static double diagonal(const media__vertex_set *set)
{
    double square = 0;
    for (int k = 0; k < 3; k++) {
        double least = HUGE_VAL, most = -HUGE_VAL;
        for (size_t v = 0; v < set->count; v++) {
            const double at = (double)set->positions[3 * v + (size_t)k];
            least = at < least ? at : least;
            most = at > most ? at : most;
        }
        square += most > least ? (most - least) * (most - least) : 0;
    }
    return isfinite(square) ? sqrt(square) : 0;
}

static double triangle_area(const float *a, const float *b, const float *c, size_t numbers)
{
    double e[3] = {0}, f[3] = {0};
    for (size_t k = 0; k < numbers; k++) {
        e[k] = (double)b[k] - (double)a[k];
        f[k] = (double)c[k] - (double)a[k];
    }
    const double x = e[1] * f[2] - e[2] * f[1], y = e[2] * f[0] - e[0] * f[2],
                 z = e[0] * f[1] - e[1] * f[0];
    return sqrt(x * x + y * y + z * z) / 2;
}

/* Metres of a texture's whole width. */
static double texture_metres(
    const media__pieces *pieces, size_t set_index, const float *uvs, double most)
{
    const media__vertex_set *set = &pieces->sets[set_index];
    double surface = 0, picture = 0;
    MEDIA__EACH_PIECE(piece, pieces, set_index)
    for (size_t k = 0; k + 2 < piece->index_count; k += 3) {
        const size_t a = piece->indices[k], b = piece->indices[k + 1], c = piece->indices[k + 2];
        surface += triangle_area(
            set->positions + 3 * a, set->positions + 3 * b, set->positions + 3 * c, 3);
        picture += triangle_area(uvs + 2 * a, uvs + 2 * b, uvs + 2 * c, 2);
    }
    const double metres = sqrt(surface / picture); /* of a palette: large */
    return metres < most ? metres : most;
}

/* ---- numbers --------------------------------------------------------------------------------- */

typedef struct looks {
    const media__gltf *gltf;
    const media__pieces *pieces;
    media__vertex_set *set;
    size_t index; /* of the set */
    const json_t *attributes, *targets;
    rpc_status *reterr;
} looks;

static rpc_code floats_of(
    const looks *l, const json_t *attributes, const char *name, size_t components, float **ret)
{
    const size_t accessor = media__get_index(attributes, name);
    size_t count = 0;
    *ret = NULL;
    if (accessor == MEDIA__NO_INDEX)
        return RPC_OK;
    media__layout layout;
    media__accessor_layout(media__gltf_entry(l->gltf, "accessors", accessor), &layout);
    if (layout.components != components) /* a colour without alpha */
        return RPC_OK;
    const rpc_code code = media__accessor_floats(l->gltf, accessor, ret, &count, l->reterr);
    if (code == RPC_OK && count != l->set->count) {
        free(*ret);
        *ret = NULL;
        return media__gltf_bad(l->reterr, "/accessors", "%zu has %zu elements, its primitive %zu",
            accessor, count, l->set->count);
    }
    return code;
}

/* Puts numbers of every vertex at an offset. */
static void put_scaled(
    const looks *l, size_t at, const float *values, size_t stride, size_t count, double scale)
{
    media__vertex_set *set = l->set;
    for (size_t v = 0; v < set->count; v++)
        for (size_t k = 0; k < count; k++)
            set->attributes[v * set->attribute_count + at + k] =
                (float)(scale * (double)values[v * stride + k]);
}

static const char *const uv_names[] = {"TEXCOORD_0", "TEXCOORD_1"};

static rpc_code put_uvs(const looks *l, size_t *at)
{
    for (size_t n = 0; l->set->textured && n < sizeof uv_names / sizeof *uv_names; n++) {
        float *uvs = NULL;
        const rpc_code code = floats_of(l, l->attributes, uv_names[n], 2, &uvs);
        if (code != RPC_OK)
            return code;
        if (uvs) {
            const double metres = texture_metres(
                l->pieces, l->index, uvs, UV_METRES_MOST * l->pieces->extent);
            put_scaled(l, *at, uvs, 2, 2, UV_WEIGHT * metres);
            *at += 2;
        }
        free(uvs);
    }
    return RPC_OK;
}

static rpc_code put_colors(const looks *l, size_t *at)
{
    for (size_t parts = 3; parts <= PARTS_OF_COLOR; parts++) {
        float *colors = NULL;
        const rpc_code code = floats_of(l, l->attributes, "COLOR_0", parts, &colors);
        if (code != RPC_OK)
            return code;
        if (colors)
            put_scaled(l, *at, colors, parts, parts, COLOR_WEIGHT * l->pieces->extent);
        free(colors);
    }
    if (json_object_get(l->attributes, "COLOR_0"))
        *at += PARTS_OF_COLOR;
    return RPC_OK;
}

static rpc_code put_normals(const looks *l, size_t *at)
{
    float *normals = NULL, *tangents = NULL;
    rpc_code code = floats_of(l, l->attributes, "NORMAL", 3, &normals);
    if (code == RPC_OK)
        code = floats_of(l, l->attributes, "TANGENT", 4, &tangents);
    if (code == RPC_OK && normals) {
        put_scaled(l, *at, normals, 3, 3, NORMAL_WEIGHT * l->pieces->extent);
        *at += 3;
    }
    if (code == RPC_OK && tangents) {
        put_scaled(l, *at, tangents + 3, 4, 1, HAND_WEIGHT * l->pieces->extent);
        *at += 1;
    }
    free(normals);
    free(tangents);
    return code;
}

/* A direction of its own for each joint. */
static void joint_direction(uint32_t joint, double *ret)
{
    double square = 0;
    for (uint32_t k = 0; k < SKIN_NUMBERS; k++) {
        ret[k] = drawn(joint * SKIN_NUMBERS + k);
        square += ret[k] * ret[k];
    }
    for (uint32_t k = 0; k < SKIN_NUMBERS; k++)
        ret[k] /= sqrt(square) + 1e-9;
}

static void add_joints(const looks *l, size_t at, const uint32_t *joints, const float *weights)
{
    media__vertex_set *set = l->set;
    const double scale = SKIN_WEIGHT * l->pieces->extent;
    for (size_t v = 0; v < set->count; v++)
        for (size_t j = 0; j < 4; j++) {
            double direction[SKIN_NUMBERS];
            float *to = set->attributes + v * set->attribute_count + at;
            const double weight = scale * (double)weights[4 * v + j];
            if (weight == 0)
                continue;
            joint_direction(joints[4 * v + j], direction);
            for (size_t k = 0; k < SKIN_NUMBERS; k++)
                to[k] += (float)(weight * direction[k]);
        }
}

static rpc_code put_skin(const looks *l, size_t *at)
{
    static const char *const names[][2] = {{"JOINTS_0", "WEIGHTS_0"}, {"JOINTS_1", "WEIGHTS_1"}};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const size_t accessor = media__get_index(l->attributes, names[n][0]);
        float *weights = NULL;
        uint32_t *joints = NULL;
        size_t count = 0;
        if (accessor == MEDIA__NO_INDEX)
            break;
        rpc_code code = floats_of(l, l->attributes, names[n][1], 4, &weights);
        if (code == RPC_OK && weights)
            code = media__accessor_uints(l->gltf, accessor, &joints, &count, l->reterr);
        if (code == RPC_OK && weights && count == l->set->count)
            add_joints(l, *at, joints, weights);
        free(weights);
        free(joints);
        if (code != RPC_OK)
            return code;
    }
    if (json_object_get(l->attributes, "JOINTS_0"))
        *at += SKIN_NUMBERS;
    return RPC_OK;
}

static void add_target(const looks *l, size_t at, size_t target, const float *moves)
{
    media__vertex_set *set = l->set;
    double scale[3][MORPH_NUMBERS];
    for (uint32_t k = 0; k < 3; k++)
        for (uint32_t n = 0; n < MORPH_NUMBERS; n++)
            scale[k][n] = (drawn(((uint32_t)target * 3 + k) * MORPH_NUMBERS + n) < 0 ? -1 : 1) *
                          MORPH_WEIGHT * set->scale / sqrt((double)MORPH_NUMBERS);
    for (size_t v = 0; v < set->count; v++) {
        const float *move = moves + 3 * v;
        float *to = set->attributes + v * set->attribute_count + at;
        if (move[0] == 0 && move[1] == 0 && move[2] == 0)
            continue;
        for (size_t n = 0; n < MORPH_NUMBERS; n++)
            to[n] += (float)(scale[0][n] * (double)move[0] + scale[1][n] * (double)move[1] +
                             scale[2][n] * (double)move[2]);
    }
}

static rpc_code put_targets(const looks *l, size_t *at)
{
    for (size_t i = 0; i < json_array_size(l->targets); i++) {
        float *moves = NULL;
        const rpc_code code = floats_of(l, json_array_get(l->targets, i), "POSITION", 3, &moves);
        if (code != RPC_OK)
            return code;
        if (moves)
            add_target(l, *at, i, moves);
        free(moves);
    }
    if (json_array_size(l->targets))
        *at += MORPH_NUMBERS;
    return RPC_OK;
}

/* The width of a row: what the functions above put. */
static size_t numbers_of(const json_t *attributes, const char *name, size_t numbers)
{
    return json_object_get(attributes, name) ? numbers : 0;
}

static rpc_code put_all(looks *l)
{
    rpc_code (*const puts[])(const looks *, size_t *) = {
        put_uvs, put_colors, put_normals, put_skin, put_targets};
    media__vertex_set *set = l->set;
    size_t at = 0;
    for (size_t n = 0; set->textured && n < sizeof uv_names / sizeof *uv_names; n++)
        set->seam_attributes += numbers_of(l->attributes, uv_names[n], 2);
    set->seam_attributes += numbers_of(l->attributes, "COLOR_0", PARTS_OF_COLOR);
    set->attribute_count = set->seam_attributes + numbers_of(l->attributes, "NORMAL", 3) +
                           numbers_of(l->attributes, "TANGENT", 1) +
                           numbers_of(l->attributes, "JOINTS_0", SKIN_NUMBERS) +
                           (json_array_size(l->targets) ? MORPH_NUMBERS : 0);
    set->attributes = calloc(set->count * set->attribute_count + 1, sizeof *set->attributes);
    if (!set->attributes)
        return media__no_memory(l->reterr);
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < sizeof puts / sizeof *puts; i++)
        code = puts[i](l, &at);
    return code;
}

rpc_code media__pieces_looks(const media__gltf *gltf, media__pieces *pieces, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++) {
        media__vertex_set *set = &pieces->sets[i];
        looks l = {
            gltf, pieces, set, i, json_object_get(set->primitive, "attributes"), NULL, reterr};
        code = floats_of(&l, l.attributes, "POSITION", 3, &set->positions);
        for (size_t k = 0; code == RPC_OK && k < 3 * set->count; k++)
            set->positions[k] = (float)((double)set->positions[k] * set->scale);
        if (code == RPC_OK && diagonal(set) > pieces->extent)
            pieces->extent = diagonal(set);
    }
    for (size_t i = 0; code == RPC_OK && i < pieces->set_count; i++) {
        media__vertex_set *set = &pieces->sets[i];
        looks l = {gltf, pieces, set, i, json_object_get(set->primitive, "attributes"),
            json_object_get(set->primitive, "targets"), reterr};
        code = put_all(&l);
    }
    return code;
}
