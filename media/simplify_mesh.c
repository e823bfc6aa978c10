/* SPDX-License-Identifier: Apache-2.0 */
/* Triangles as they come become a mesh that knows its points, its borders and its seams. */
#include "simplify_mesh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Borders and seams are planes across the surface. More than an area's worth of them: an outline
 * shows more than a surface does. */
#define BORDER_WEIGHT 8.0
#define SEAM_WEIGHT   2.0

void mesh_done(mesh *m)
{
    free(m->part_first);
    free(m->slope_first);
    free(m->part_live);
    free(m->vertex_point);
    free(m->vertex_part);
    free(m->vertex_same);
    free(m->looks);
    free(m->slopes);
    free(m->places);
    free(m->shapes);
    free(m->kinds);
    free(m->emphasis);
    free(m->most);
    free(m->head);
    free(m->degree);
    free(m->corners);
    free(m->next);
    *m = (mesh){.parts = NULL};
}

/* calloc() of nothing too; pages that are never touched cost nothing. */
static void *room(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

static bool mesh_room(mesh *m, media__part *parts, size_t count)
{
    uint64_t vertices = 0, triangles = 0;
    size_t slopes = 0;
    m->parts = parts;
    m->part_count = count;
    m->part_first = room(count + 1, sizeof *m->part_first);
    m->slope_first = room(count, sizeof *m->slope_first);
    m->part_live = room(count, sizeof *m->part_live);
    if (!m->part_first || !m->slope_first || !m->part_live)
        return false;
    for (size_t i = 0; i < count; i++) {
        m->part_first[i] = (uint32_t)vertices;
        m->slope_first[i] = slopes;
        vertices += parts[i].vertex_count;
        slopes += parts[i].vertex_count * parts[i].attribute_count;
        triangles += parts[i].index_count / 3;
        if (vertices >= MESH_NONE / 4 || triangles >= MESH_NONE / 4)
            return false;
    }
    m->part_first[count] = (uint32_t)vertices;
    m->vertex_count = (uint32_t)vertices;
    m->triangle_count = (uint32_t)triangles;
    m->vertex_point = room(vertices, sizeof *m->vertex_point);
    m->vertex_part = room(vertices, sizeof *m->vertex_part);
    m->vertex_same = room(vertices, sizeof *m->vertex_same);
    m->looks = room(vertices, sizeof *m->looks);
    m->slopes = room(slopes, sizeof *m->slopes);
    m->corners = room(triangles, 3 * sizeof *m->corners);
    m->next = room(triangles, 3 * sizeof *m->next);
    return m->vertex_point && m->vertex_part && m->vertex_same && m->looks && m->slopes &&
           m->corners && m->next;
}

static bool point_room(mesh *m)
{
    m->places = room(m->point_count, sizeof *m->places);
    m->shapes = room(m->point_count, sizeof *m->shapes);
    m->kinds = room(m->point_count, sizeof *m->kinds);
    m->emphasis = room(m->point_count, sizeof *m->emphasis);
    m->most = room(m->point_count, sizeof *m->most);
    m->head = room(m->point_count, sizeof *m->head);
    m->degree = room(m->point_count, sizeof *m->degree);
    return m->places && m->shapes && m->kinds && m->emphasis && m->most && m->head && m->degree;
}

/* ---- equal vertices -------------------------------------------------------------------------- */

static uint32_t mixed(uint32_t hash, uint32_t value)
{
    hash = (hash ^ value) * 0x9e3779b1u;
    return hash ^ hash >> 15;
}

/* Of a float that may be -0, which is where 0 is. */
static uint32_t float_bits(float value)
{
    uint32_t bits = 0;
    value += 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static const float *place_of(const mesh *m, uint32_t vertex)
{
    const uint32_t part = m->vertex_part[vertex];
    return m->parts[part].positions + 3 * (size_t)(vertex - m->part_first[part]);
}

static uint32_t group_of(const mesh *m, uint32_t vertex)
{
    return m->parts[m->vertex_part[vertex]].group;
}

static uint32_t place_hash(const mesh *m, uint32_t vertex)
{
    uint32_t hash = group_of(m, vertex);
    for (int i = 0; i < 3; i++)
        hash = mixed(hash, float_bits(place_of(m, vertex)[i]));
    return hash;
}

static bool place_equal(const mesh *m, uint32_t a, uint32_t b)
{
    for (int i = 0; i < 3; i++)
        if (float_bits(place_of(m, a)[i]) != float_bits(place_of(m, b)[i]))
            return false;
    return group_of(m, a) == group_of(m, b);
}

static uint32_t look_hash(const mesh *m, uint32_t vertex)
{
    const size_t count = m->parts[m->vertex_part[vertex]].attribute_count;
    uint32_t hash = mixed(mixed(0, m->vertex_part[vertex]), m->vertex_point[vertex]);
    for (size_t i = 0; i < count; i++)
        hash = mixed(hash, float_bits(mesh_attributes(m, vertex)[i]));
    return hash;
}

static bool look_equal(const mesh *m, uint32_t a, uint32_t b)
{
    if (m->vertex_part[a] != m->vertex_part[b] || m->vertex_point[a] != m->vertex_point[b])
        return false;
    const size_t count = m->parts[m->vertex_part[a]].attribute_count;
    for (size_t i = 0; i < count; i++)
        if (float_bits(mesh_attributes(m, a)[i]) != float_bits(mesh_attributes(m, b)[i]))
            return false;
    return true;
}

/* For each vertex the first that is equal to it. */
static bool first_equal(const mesh *m, uint32_t (*hash_of)(const mesh *, uint32_t),
    bool (*equal)(const mesh *, uint32_t, uint32_t), uint32_t *ret)
{
    size_t size = 16;
    while (size < (size_t)m->vertex_count * 2)
        size *= 2;
    uint32_t *table = malloc(size * sizeof *table);
    if (!table)
        return false;
    memset(table, 0xff, size * sizeof *table);
    for (uint32_t v = 0; v < m->vertex_count; v++) {
        size_t at = hash_of(m, v) & (size - 1);
        while (table[at] != MESH_NONE && !equal(m, table[at], v))
            at = (at + 1) & (size - 1);
        if (table[at] == MESH_NONE)
            table[at] = v;
        ret[v] = table[at];
    }
    free(table);
    return true;
}

static bool find_points(mesh *m)
{
    for (size_t i = 0; i < m->part_count; i++)
        for (uint32_t v = m->part_first[i]; v < m->part_first[i + 1]; v++)
            m->vertex_part[v] = (uint32_t)i;
    if (!first_equal(m, place_hash, place_equal, m->vertex_same))
        return false;
    for (uint32_t v = 0; v < m->vertex_count; v++)
        m->vertex_point[v] = m->vertex_same[v] == v ? m->point_count++
                                                    : m->vertex_point[m->vertex_same[v]];
    if (!first_equal(m, look_hash, look_equal, m->vertex_same) || !point_room(m))
        return false;
    for (uint32_t v = 0; v < m->vertex_count; v++)
        for (int i = 0; i < 3; i++)
            m->places[m->vertex_point[v]][i] = (double)place_of(m, v)[i];
    return true;
}

/* ---- triangles ------------------------------------------------------------------------------- */

/* The same corners in the same order, wherever they begin. */
static bool same_triangle(const uint32_t *a, const uint32_t *b)
{
    for (int k = 0; k < 3; k++)
        if (a[0] == b[k] && a[1] == b[(k + 1) % 3] && a[2] == b[(k + 2) % 3])
            return true;
    return false;
}

bool mesh_drop_repeated(mesh *m)
{
    size_t size = 16;
    while (size < (size_t)m->triangle_count * 2)
        size *= 2;
    uint32_t *table = malloc(size * sizeof *table);
    if (!table)
        return false;
    memset(table, 0xff, size * sizeof *table);
    for (uint32_t t = 0; t < m->triangle_count; t++) {
        uint32_t *corner = m->corners + 3 * (size_t)t;
        if (mesh_dead(m, t))
            continue;
        const uint32_t sum = corner[0] + corner[1] + corner[2];
        const uint32_t product = (corner[0] | 1u) * (corner[1] | 1u) * (corner[2] | 1u);
        size_t at = mixed(sum, product) & (size - 1);
        while (table[at] != MESH_NONE && !same_triangle(m->corners + 3 * (size_t)table[at], corner))
            at = (at + 1) & (size - 1);
        if (table[at] == MESH_NONE) {
            table[at] = t;
            continue;
        }
        m->part_live[m->vertex_part[corner[0]]]--;
        corner[0] = MESH_NONE;
        m->live--;
    }
    free(table);
    return true;
}

/* Those that have three points. */
static void take_triangles(mesh *m)
{
    uint32_t made = 0;
    for (size_t i = 0; i < m->part_count; i++) {
        const media__part *part = &m->parts[i];
        for (size_t at = 0; at + 2 < part->index_count; at += 3) {
            uint32_t *corner = m->corners + 3 * (size_t)made;
            for (int k = 0; k < 3; k++)
                corner[k] = m->vertex_same[m->part_first[i] + part->indices[at + (size_t)k]];
            const uint32_t a = m->vertex_point[corner[0]], b = m->vertex_point[corner[1]],
                           c = m->vertex_point[corner[2]];
            if (a == b || b == c || c == a)
                continue;
            m->part_live[i]++;
            made++;
        }
    }
    m->triangle_count = made;
    m->live = made;
}

static void link_triangles(mesh *m)
{
    for (uint32_t p = 0; p < m->point_count; p++)
        m->head[p] = MESH_NONE;
    for (uint32_t c = 0; c < 3 * m->triangle_count; c++) {
        if (mesh_dead(m, c / 3))
            continue;
        const uint32_t p = mesh_point_of(m, c);
        m->next[c] = m->head[p];
        m->head[p] = c;
        m->degree[p]++;
    }
}

unsigned mesh_sides(const mesh *m, uint32_t a, uint32_t b)
{
    uint32_t thirds[3];
    unsigned count = 0;
    for (uint32_t c = m->head[a]; c != MESH_NONE && count < 3; c = m->next[c]) {
        if (mesh_dead(m, c / 3))
            continue;
        const uint32_t after = mesh_point_of(m, mesh_after(c));
        const uint32_t before = mesh_point_of(m, mesh_before(c));
        if (after != b && before != b)
            continue;
        const uint32_t third = after == b ? before : after;
        bool known = false;
        for (unsigned i = 0; i < count; i++)
            known = known || thirds[i] == third;
        if (!known)
            thirds[count++] = third;
    }
    return count;
}

static void find_kinds(mesh *m)
{
    for (uint32_t p = 0; p < m->point_count; p++) {
        if (m->degree[p] > MESH_RING_MAX) {
            m->kinds[p] = MESH_HELD;
            continue;
        }
        unsigned open = 0; /* each counted once a triangle that has it */
        uint32_t ends[3];
        for (uint32_t c = m->head[p]; c != MESH_NONE && open < 3; c = m->next[c])
            for (int side = 0; side < 2 && open < 3; side++) {
                const uint32_t end = mesh_point_of(m, side ? mesh_before(c) : mesh_after(c));
                bool known = false;
                for (unsigned i = 0; i < open; i++)
                    known = known || ends[i] == end;
                if (!known && mesh_sides(m, p, end) != 2)
                    ends[open++] = end;
            }
        m->kinds[p] = open == 0 ? MESH_FREE : open == 2 ? MESH_BORDER : MESH_HELD;
    }
}

/* ---- quadrics -------------------------------------------------------------------------------- */

/* Of an attribute over a triangle: s(p) = g · p + d. */
static void add_attributes(mesh *m, uint32_t triangle, const double *e1, const double *e2,
    const double *origin, double area)
{
    const uint32_t *corner = m->corners + 3 * (size_t)triangle;
    const size_t count = m->parts[m->vertex_part[corner[0]]].attribute_count;
    const float *s0 = mesh_attributes(m, corner[0]), *s1 = mesh_attributes(m, corner[1]),
                *s2 = mesh_attributes(m, corner[2]);
    const double d11 = dot3(e1, e1), d12 = dot3(e1, e2), d22 = dot3(e2, e2);
    const double scale = 1 / (d11 * d22 - d12 * d12);
    quadric sum = {.weight = area};
    slope slopes[MEDIA__ATTRIBUTES_MAX];
    for (size_t i = 0; i < count; i++) {
        const double t1 = (double)s1[i] - (double)s0[i], t2 = (double)s2[i] - (double)s0[i];
        const double u = (d22 * t1 - d12 * t2) * scale, v = (d11 * t2 - d12 * t1) * scale;
        const double g[3] = {u * e1[0] + v * e2[0], u * e1[1] + v * e2[1], u * e1[2] + v * e2[2]};
        const double d = (double)s0[i] - dot3(g, origin);
        quadric_add_plane(&sum, g, d, area);
        slopes[i] = (slope){area * g[0], area * g[1], area * g[2], area * d};
    }
    for (int k = 0; k < 3; k++) {
        slope *to = mesh_slopes(m, corner[k]);
        quadric_add(&m->looks[corner[k]], &sum);
        for (size_t i = 0; i < count; i++) {
            to[i].x += slopes[i].x;
            to[i].y += slopes[i].y;
            to[i].z += slopes[i].z;
            to[i].d += slopes[i].d;
        }
    }
}

/* Do the attributes of a vertex and of another jump where seams are kept? */
static bool jumps(const mesh *m, uint32_t a, uint32_t b)
{
    if (a == b)
        return false;
    if (m->vertex_part[a] != m->vertex_part[b])
        return true;
    const size_t count = m->parts[m->vertex_part[a]].seam_attributes;
    for (size_t i = 0; i < count; i++)
        if (fabsf(mesh_attributes(m, a)[i] - mesh_attributes(m, b)[i]) > 1e-6f)
            return true;
    return false;
}

/* How much the edge that begins at a corner is worth keeping in its course. */
static double edge_weight(const mesh *m, uint32_t corner)
{
    const uint32_t a = mesh_point_of(m, corner), b = mesh_point_of(m, mesh_after(corner));
    if (m->kinds[a] != MESH_FREE && m->kinds[b] != MESH_FREE && mesh_sides(m, a, b) != 2)
        return BORDER_WEIGHT;
    /* No seam where the surface goes on at the other side with the same looks. */
    const uint32_t at_a = m->corners[corner], at_b = m->corners[mesh_after(corner)];
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c]) {
        const uint32_t after = mesh_after(c), before = mesh_before(c);
        const uint32_t end = mesh_point_of(m, after) == b ? after : before;
        const uint32_t third = end == after ? before : after;
        if (mesh_point_of(m, end) == b &&
            mesh_point_of(m, third) != mesh_point_of(m, mesh_before(corner)) &&
            !jumps(m, at_a, m->corners[c]) && !jumps(m, at_b, m->corners[end]))
            return 0;
    }
    return SEAM_WEIGHT;
}

/* A plane through the edge, across the triangle. */
static void add_edge(mesh *m, uint32_t corner, const double *normal)
{
    const uint32_t a = mesh_point_of(m, corner), b = mesh_point_of(m, mesh_after(corner));
    if (m->degree[a] > MESH_RING_MAX || m->degree[b] > MESH_RING_MAX)
        return;
    const double weight = edge_weight(m, corner);
    double edge[3], across[3];
    minus3(m->places[b], m->places[a], edge);
    cross3(edge, normal, across);
    const double length = sqrt(dot3(across, across));
    if (weight == 0 || !(length > 0))
        return;
    for (int i = 0; i < 3; i++)
        across[i] /= length;
    const double d = -dot3(across, m->places[a]), area = weight * dot3(edge, edge);
    quadric_add_plane(&m->shapes[a], across, d, area);
    quadric_add_plane(&m->shapes[b], across, d, area);
}

static void measure(mesh *m)
{
    for (uint32_t t = 0; t < m->triangle_count; t++) {
        if (mesh_dead(m, t))
            continue;
        const double *a = m->places[mesh_point_of(m, 3 * t)];
        double e1[3], e2[3], normal[3];
        minus3(m->places[mesh_point_of(m, 3 * t + 1)], a, e1);
        minus3(m->places[mesh_point_of(m, 3 * t + 2)], a, e2);
        cross3(e1, e2, normal);
        const double length = sqrt(dot3(normal, normal));
        if (!(length > 1e-20) || !isfinite(length))
            continue;
        for (int i = 0; i < 3; i++)
            normal[i] /= length;
        for (uint32_t k = 0; k < 3; k++) {
            quadric *shape = &m->shapes[mesh_point_of(m, 3 * t + k)];
            quadric_add_plane(shape, normal, -dot3(normal, a), length / 2);
            shape->weight += length / 2;
            add_edge(m, 3 * t + k, normal);
        }
        add_attributes(m, t, e1, e2, a, length / 2);
    }
}

/* ---- what is small --------------------------------------------------------------------------- */

/* An eye or a button is a small piece by itself, and a distance that a coat hides would be the end
 * of it: its costs count by a power of how much smaller than the largest piece it is. */
#define EMPHASIS_POWER 0.8 /* of squares */
#define EMPHASIS_MOST  30.0
/* Of a piece's size: a step that puts a surface so far off leaves nothing to recognise. */
#define LOST 0.2

typedef struct piece_box {
    float least[3], most[3];
} piece_box;

static uint32_t root_of(uint32_t *parents, uint32_t at)
{
    while (parents[at] != at)
        at = parents[at] = parents[parents[at]];
    return at;
}

static void join_pieces(const mesh *m, uint32_t *parents)
{
    for (uint32_t p = 0; p < m->point_count; p++)
        parents[p] = p;
    for (uint32_t c = 0; c < 3 * m->triangle_count; c++) {
        if (mesh_dead(m, c / 3))
            continue;
        const uint32_t a = root_of(parents, mesh_point_of(m, c));
        const uint32_t b = root_of(parents, mesh_point_of(m, mesh_after(c)));
        parents[a < b ? b : a] = a < b ? a : b;
    }
}

static double box_diagonal(const piece_box *box)
{
    double square = 0;
    for (int k = 0; k < 3; k++) {
        const double side = (double)box->most[k] - (double)box->least[k];
        square += side * side;
    }
    return isfinite(square) ? sqrt(square) : 0;
}

static bool find_emphasis(mesh *m)
{
    uint32_t *parents = room(m->point_count, sizeof *parents);
    piece_box *boxes = room(m->point_count, sizeof *boxes);
    double largest = 0;
    if (!parents || !boxes) {
        free(parents);
        free(boxes);
        return false;
    }
    join_pieces(m, parents);
    for (uint32_t p = 0; p < m->point_count; p++) {
        piece_box *box = &boxes[root_of(parents, p)];
        for (int k = 0; k < 3; k++) {
            const float at = (float)m->places[p][k];
            box->least[k] = parents[p] == p || at < box->least[k] ? at : box->least[k];
            box->most[k] = parents[p] == p || at > box->most[k] ? at : box->most[k];
        }
    }
    for (uint32_t p = 0; p < m->point_count; p++)
        if (parents[p] == p && box_diagonal(&boxes[p]) > largest)
            largest = box_diagonal(&boxes[p]);
    for (uint32_t p = 0; p < m->point_count; p++) {
        const double size = box_diagonal(&boxes[root_of(parents, p)]);
        const double factor = size > 0 ? pow(largest / size, EMPHASIS_POWER) : 1;
        m->emphasis[p] = (float)(factor < EMPHASIS_MOST ? factor : EMPHASIS_MOST);
        m->most[p] = (float)(LOST * LOST * size * size);
    }
    free(parents);
    free(boxes);
    return true;
}

rpc_code mesh_build(media__part *parts, size_t count, mesh *ret, rpc_status *reterr)
{
    mesh m = {.parts = NULL};
    if (!mesh_room(&m, parts, count) || !find_points(&m)) {
        mesh_done(&m);
        return media__no_memory(reterr);
    }
    take_triangles(&m);
    if (!mesh_drop_repeated(&m)) {
        mesh_done(&m);
        return media__no_memory(reterr);
    }
    link_triangles(&m);
    find_kinds(&m);
    if (!find_emphasis(&m)) {
        mesh_done(&m);
        return media__no_memory(reterr);
    }
    measure(&m);
    *ret = m;
    return RPC_OK;
}
