/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer triangles: the number that was asked for, without holes, on drawn surfaces. */
#include "test.h"

#include "simplify.h"

#include <math.h>

enum { ATTRIBUTES = 3 }; /* u, v, and one that is smooth */

typedef struct surface {
    float *positions, *attributes;
    uint32_t *indices;
    media__part part;
} surface;

static surface surface_new(size_t vertices, size_t triangles)
{
    surface s = {calloc(vertices, 3 * sizeof(float)), calloc(vertices, ATTRIBUTES * sizeof(float)),
        calloc(triangles + 1, 3 * sizeof(uint32_t)), {0}};
    s.part = (media__part){.positions = s.positions,
        .attributes = s.attributes,
        .vertex_count = vertices,
        .attribute_count = ATTRIBUTES,
        .seam_attributes = 2,
        .indices = s.indices,
        .index_count = 3 * triangles};
    return s;
}

static void surface_done(surface *s)
{
    free(s->positions);
    free(s->attributes);
    free(s->indices);
}

/* columns x rows squares; at(u, v, place) says where. */
static surface grid(unsigned columns, unsigned rows, void (*at)(double, double, float *))
{
    surface s = surface_new((columns + 1) * (rows + 1), 2 * columns * rows);
    uint32_t *index = s.indices;
    for (unsigned y = 0; y <= rows; y++)
        for (unsigned x = 0; x <= columns; x++) {
            const size_t v = y * (columns + 1) + x;
            s.attributes[ATTRIBUTES * v] = (float)x / (float)columns;
            s.attributes[ATTRIBUTES * v + 1] = (float)y / (float)rows;
            at((double)x / columns, (double)y / rows, s.positions + 3 * v);
            for (int k = 0; k < 3; k++)
                s.positions[3 * v + (size_t)k] += 0.0f; /* -0 is 0 */
        }
    for (unsigned y = 0; y < rows; y++)
        for (unsigned x = 0; x < columns; x++) {
            const uint32_t v = y * (columns + 1) + x, w = v + columns + 1;
            const uint32_t corners[] = {v, v + 1, w, w, v + 1, w + 1};
            memcpy(index, corners, sizeof corners);
            index += 6;
        }
    return s;
}

static void flat(double u, double v, float *ret)
{
    ret[0] = (float)u;
    ret[1] = (float)v;
}

/* The first and last column meet in a seam: equal places, other u. */
static void ball(double u, double v, float *ret)
{
    const double pi = 3.14159265358979323846, around = u == 1 ? 0 : 2 * pi * u;
    const double wide = v == 0 || v == 1 ? 0 : sin(pi * v);
    ret[0] = (float)(wide * cos(around));
    ret[1] = (float)cos(pi * v);
    ret[2] = (float)(wide * sin(around));
}

static media__simplify_result simplified(media__part *parts, size_t count, uint64_t asked)
{
    media__simplify_result result;
    rpc_status status;
    if (media__simplify(parts, count, asked, &result, &status) != RPC_OK)
        fail_msg("%s", status.message);
    uint64_t triangles = 0;
    for (size_t i = 0; i < count; i++)
        triangles += parts[i].index_count / 3;
    assert_int_equal(triangles, result.triangles);
    return result;
}

/* ---- what is looked at ---- */

static const float *place(const media__part *part, size_t index)
{
    return part->positions + 3 * (size_t)part->indices[index];
}

static double area(const media__part *part)
{
    double sum = 0;
    for (size_t i = 0; i < part->index_count; i += 3) {
        const float *a = place(part, i), *b = place(part, i + 1), *c = place(part, i + 2);
        double e[3], f[3];
        for (int k = 0; k < 3; k++) {
            e[k] = (double)(b[k] - a[k]);
            f[k] = (double)(c[k] - a[k]);
        }
        const double x = e[1] * f[2] - e[2] * f[1], y = e[2] * f[0] - e[0] * f[2],
                     z = e[0] * f[1] - e[1] * f[0];
        sum += sqrt(x * x + y * y + z * z) / 2;
    }
    return sum;
}

typedef struct edge {
    float ends[6]; /* the smaller first */
    int way;
} edge;

static int floats_order(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i] < b[i] || a[i] > b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int edge_order(const void *a, const void *b)
{
    return floats_order(((const edge *)a)->ends, ((const edge *)b)->ends, 6);
}

/* Edges, by place over all parts, that not as many triangles pass one way as the other. */
static size_t holes(const media__part *parts, size_t count)
{
    size_t total = 0, made = 0, open = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].index_count;
    edge *edges = calloc(total + 1, sizeof *edges);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].index_count; k++) {
            const float *a = place(&parts[i], k), *b = place(&parts[i], k % 3 == 2 ? k - 2 : k + 1);
            const int order = floats_order(a, b, 3);
            if (order == 0)
                continue; /* of a line at a pole */
            edge *to = &edges[made++];
            to->way = -order;
            memcpy(to->ends, to->way > 0 ? a : b, 3 * sizeof *a);
            memcpy(to->ends + 3, to->way > 0 ? b : a, 3 * sizeof *a);
        }
    qsort(edges, made, sizeof *edges, edge_order);
    for (size_t i = 0; i < made;) {
        int balance = 0;
        size_t k = i;
        for (; k < made && edge_order(&edges[i], &edges[k]) == 0; k++)
            balance += edges[k].way;
        open += balance != 0;
        i = k;
    }
    free(edges);
    return open;
}

/* ---- numbers ---- */

TEST(reaches_the_number_that_was_asked_for)
{
    for (uint64_t asked = 2000; asked >= 100; asked /= 2) {
        surface s = grid(64, 32, ball);
        const media__simplify_result result = simplified(&s.part, 1, asked);
        assert_false(result.exhausted);
        assert_in_range(result.triangles, asked - 2, asked);
        surface_done(&s);
    }
}

TEST(more_than_there_are_changes_nothing_but_lines_and_repetitions)
{
    surface s = grid(4, 4, flat);
    memcpy(s.indices, s.indices + 3, 3 * sizeof *s.indices); /* the first is the second again */
    s.indices[8] = s.indices[7];                             /* the third is a line */
    const uint32_t turned[] = {s.indices[10], s.indices[11], s.indices[9]};
    memcpy(s.indices + 12, turned, sizeof turned); /* the fifth is the fourth, begun elsewhere */
    const media__simplify_result result = simplified(&s.part, 1, 1000);
    assert_int_equal(result.triangles, 32 - 3);
    assert_false(result.exhausted);
    surface_done(&s);
}

TEST(a_tiny_solid_stays_and_says_that_it_does)
{
    surface s = surface_new(4, 4);
    const float places[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1};
    const uint32_t indices[] = {0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3};
    memcpy(s.positions, places, sizeof places);
    memcpy(s.indices, indices, sizeof indices);
    const media__simplify_result result = simplified(&s.part, 1, 2);
    assert_true(result.exhausted);
    assert_int_equal(result.triangles, 4);
    assert_int_equal(result.points, 4);
    assert_int_equal(result.held_by_folds + result.held_by_looks, 4);
    surface_done(&s);
}

TEST(the_same_input_gives_the_same_triangles)
{
    surface a = grid(48, 24, ball), b = grid(48, 24, ball);
    simplified(&a.part, 1, 400);
    simplified(&b.part, 1, 400);
    assert_int_equal(a.part.index_count, b.part.index_count);
    assert_memory_equal(a.indices, b.indices, a.part.index_count * sizeof *a.indices);
    surface_done(&a);
    surface_done(&b);
}

/* ---- looks ---- */

TEST(a_seam_does_not_tear_open)
{
    surface s = grid(64, 32, ball);
    assert_int_equal(holes(&s.part, 1), 0);
    simplified(&s.part, 1, 300);
    assert_int_equal(holes(&s.part, 1), 0);
    for (size_t i = 0; i < s.part.index_count; i += 3) { /* and no triangle spans the picture */
        float least = 1, most = 0;
        for (size_t k = 0; k < 3; k++) {
            const float u = s.attributes[ATTRIBUTES * s.indices[i + k]];
            least = u < least ? u : least;
            most = u > most ? u : most;
        }
        assert_true(most - least < 0.5f);
    }
    surface_done(&s);
}

TEST(parts_that_touch_stay_together)
{
    surface s = grid(64, 32, ball);
    media__part parts[2] = {s.part, s.part};
    parts[0].index_count = s.part.index_count / 2 + 3 * 32; /* the border is no circle */
    parts[1].indices += parts[0].index_count;
    parts[1].index_count -= parts[0].index_count;
    simplified(parts, 2, 300);
    assert_true(parts[0].index_count > 0 && parts[1].index_count > 0);
    assert_int_equal(holes(parts, 2), 0);
    surface_done(&s);
}

TEST(parts_of_other_groups_are_not_joined)
{
    surface a = grid(8, 8, flat), b = grid(8, 8, flat);
    media__part parts[2] = {a.part, b.part};
    parts[1].group = 1;
    simplified(parts, 2, 4);
    assert_int_equal(parts[0].index_count, 6);
    assert_int_equal(parts[1].index_count, 6);
    surface_done(&a);
    surface_done(&b);
}

TEST(a_plane_keeps_its_outline)
{
    surface s = grid(20, 20, flat);
    simplified(&s.part, 1, 2);
    assert_int_equal(s.part.index_count, 6);
    assert_float_equal(area(&s.part), 1, 1e-6);
    surface_done(&s);
}

TEST(a_ball_stays_round)
{
    surface s = grid(64, 32, ball);
    const double before = area(&s.part);
    simplified(&s.part, 1, 500);
    assert_true(area(&s.part) > before * 0.97);
    assert_true(area(&s.part) < before * 1.01);
    surface_done(&s);
}

/* A plane whose left half has an attribute that goes up and down: the triangles stay there. */
TEST(what_attributes_need_is_kept)
{
    surface s = grid(32, 32, flat);
    for (size_t v = 0; v < s.part.vertex_count; v++)
        if (s.positions[3 * v] < 0.5f)
            s.attributes[ATTRIBUTES * v + 2] = 0.1f * sinf(20 * s.positions[3 * v + 1]);
    simplified(&s.part, 1, 200);
    size_t right = 0;
    for (size_t i = 0; i < s.part.index_count; i++)
        right += place(&s.part, i)[0] > 0.6f;
    assert_in_range(right, 1, s.part.index_count / 5);
    surface_done(&s);
}

/* Bumps of one height, half of them on a tenth of the width. */
static void bumpy(double u, double v, float *ret)
{
    const bool bump = (int)(32 * u + 0.5) % 2 == 1 && (int)(8 * v + 0.5) % 2 == 1;
    ret[0] = (float)(u < 0.5 ? u / 5 : 0.1 + (u - 0.5) * 1.8);
    ret[1] = (float)v;
    ret[2] = bump ? 0.001f : 0;
}

TEST(what_covers_more_is_kept_longer)
{
    surface s = grid(32, 8, bumpy);
    memset(s.attributes, 0, s.part.vertex_count * ATTRIBUTES * sizeof *s.attributes);
    simplified(&s.part, 1, 300);
    size_t narrow = 0, wide = 0; /* corners on bumps */
    for (size_t i = 0; i < s.part.index_count; i++) {
        const float *at = place(&s.part, i);
        narrow += at[2] > 0 && at[0] < 0.1f;
        wide += at[2] > 0 && at[0] > 0.1f;
    }
    assert_true(wide > 4 * narrow);
    surface_done(&s);
}

/* Front and back of a card share their places. */
TEST(both_sides_of_a_card_stay)
{
    surface front = grid(10, 10, flat), back = grid(10, 10, flat);
    for (size_t i = 0; i < back.part.index_count; i += 3) {
        const uint32_t first = back.indices[i];
        back.indices[i] = back.indices[i + 1];
        back.indices[i + 1] = first;
    }
    media__part parts[2] = {front.part, back.part};
    simplified(parts, 2, 40);
    assert_float_equal(area(&parts[0]), 1, 1e-6);
    assert_float_equal(area(&parts[1]), 1, 1e-6);
    surface_done(&front);
    surface_done(&back);
}

/* ---- what no tool would write ---- */

TEST(numbers_that_are_none_do_no_harm)
{
    const float bad[] = {NAN, INFINITY, -INFINITY, 1e38f, 1e-38f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        surface s = grid(16, 16, flat);
        for (size_t v = 0; v < s.part.vertex_count; v += 7) {
            s.positions[3 * v + v % 3] = bad[i];
            s.attributes[ATTRIBUTES * v + v % 2] = bad[i];
        }
        const media__simplify_result result = simplified(&s.part, 1, 10);
        assert_true(result.triangles >= 10 || !result.exhausted);
        surface_done(&s);
    }
}

TEST(a_fan_of_many_thousands_around_a_point_stays)
{
    enum { SPOKES = 300000 };
    surface s = surface_new(SPOKES + 1, SPOKES);
    for (uint32_t i = 0; i < SPOKES; i++) {
        s.positions[3 * (i + 1)] = cosf(6.2831853f * (float)i / SPOKES);
        s.positions[3 * (i + 1) + 1] = sinf(6.2831853f * (float)i / SPOKES);
        s.indices[3 * i + 1] = i + 1;
        s.indices[3 * i + 2] = i + 1 == SPOKES ? 1 : i + 2;
    }
    const media__simplify_result result = simplified(&s.part, 1, 100);
    assert_in_range(result.triangles, 1, SPOKES);
    surface_done(&s);
}

TEST(nothing_stays_nothing)
{
    surface s = surface_new(3, 0);
    assert_int_equal(simplified(&s.part, 1, 10).triangles, 0);
    assert_int_equal(simplified(&s.part, 0, 10).triangles, 0);
    surface_done(&s);
}
