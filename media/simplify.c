/* SPDX-License-Identifier: Apache-2.0 */
/* Every point knows the neighbour into which it would go for the least cost, and waits in a queue
 * for its turn. A cost depends on the point's own quadrics and on the place of the neighbour, so a
 * step changes only what is around the point that went. */
#include "simplify_mesh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a distance squared: between steps that cost nothing, short edges go first. */
#define LENGTH_WEIGHT 1e-4
#define IMPOSSIBLE    ((double)INFINITY)

/* The least cosine between a triangle's sides before and after, tried in turn: the second round
 * only where the first did not reach the number. */
static const double folds[] = {0.35, 0.05};

typedef enum held { HELD_NOT, HELD_BORDER, HELD_LOOKS, HELD_FOLD } held;

typedef struct work {
    mesh m;
    double fold;
    uint32_t *mark, stamp;           /* [points] */
    uint32_t *target;                /* [points] MESH_NONE: it stays */
    double *cost;                    /* [points] of going there */
    uint8_t *held;                   /* [points] why it stays */
    uint32_t *queue, *place, queued; /* a heap by cost and point; place MESH_NONE: not in it */
} work;

/* What is around a point: neighbours, and its own vertices in use. */
typedef struct ring {
    uint32_t points[MESH_RING_MAX + 1], vertices[MESH_RING_MAX + 1];
    double costs[MESH_RING_MAX + 1];
    unsigned point_count, vertex_count;
} ring;

/* ---- the queue ------------------------------------------------------------------------------- */

static bool before(const work *w, uint32_t a, uint32_t b)
{
    return w->cost[a] < w->cost[b] || (w->cost[a] == w->cost[b] && a < b);
}

static void put(work *w, uint32_t at, uint32_t point)
{
    w->queue[at] = point;
    w->place[point] = at;
}

static void rise(work *w, uint32_t at)
{
    const uint32_t point = w->queue[at];
    for (; at > 0 && before(w, point, w->queue[(at - 1) / 2]); at = (at - 1) / 2)
        put(w, at, w->queue[(at - 1) / 2]);
    put(w, at, point);
}

static void sink(work *w, uint32_t at)
{
    const uint32_t point = w->queue[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->queued)
            break;
        if (child + 1 < w->queued && before(w, w->queue[child + 1], w->queue[child]))
            child++;
        if (!before(w, w->queue[child], point))
            break;
        put(w, at, w->queue[child]);
        at = child;
    }
    put(w, at, point);
}

static void dequeue(work *w, uint32_t point)
{
    const uint32_t at = w->place[point];
    if (at == MESH_NONE)
        return;
    w->place[point] = MESH_NONE;
    if (at == --w->queued)
        return;
    put(w, at, w->queue[w->queued]);
    sink(w, at);
    rise(w, at);
}

/* After its target or cost was set. */
static void requeue(work *w, uint32_t point)
{
    if (w->target[point] == MESH_NONE) {
        dequeue(w, point);
        return;
    }
    if (w->place[point] == MESH_NONE)
        put(w, w->queued++, point);
    sink(w, w->place[point]);
    rise(w, w->place[point]);
}

/* ---- what is around a point ------------------------------------------------------------------ */

static uint32_t next_stamp(work *w)
{
    if (w->stamp >= MESH_NONE - 4) {
        memset(w->mark, 0, w->m.point_count * sizeof *w->mark);
        w->stamp = 0;
    }
    return w->stamp += 2;
}

/* Corners of dead triangles leave the list as it is walked; but not around the middle of a fan,
 * which is walked at no step. */
static void tidy(mesh *m, uint32_t point)
{
    uint32_t *at = &m->head[point];
    if (m->degree[point] > MESH_RING_MAX)
        return;
    while (*at != MESH_NONE)
        if (mesh_dead(m, *at / 3))
            *at = m->next[*at];
        else
            at = &m->next[*at];
}

static bool ring_of(work *w, uint32_t point, ring *ret)
{
    mesh *m = &w->m;
    ret->point_count = ret->vertex_count = 0;
    if (m->degree[point] > MESH_RING_MAX)
        return false;
    tidy(m, point);
    const uint32_t stamp = next_stamp(w);
    for (uint32_t c = m->head[point]; c != MESH_NONE; c = m->next[c]) {
        const uint32_t ends[2] = {
            mesh_point_of(m, mesh_after(c)), mesh_point_of(m, mesh_before(c))};
        for (int i = 0; i < 2; i++)
            if (w->mark[ends[i]] != stamp) {
                if (ret->point_count == MESH_RING_MAX)
                    return false;
                w->mark[ends[i]] = stamp;
                ret->points[ret->point_count++] = ends[i];
            }
        bool known = false;
        for (unsigned i = 0; i < ret->vertex_count; i++)
            known = known || ret->vertices[i] == m->corners[c];
        if (!known)
            ret->vertices[ret->vertex_count++] = m->corners[c];
    }
    return true;
}

/* The corner of a triangle at a point, or MESH_NONE. */
static uint32_t corner_at(const mesh *m, uint32_t triangle, uint32_t point)
{
    for (uint32_t c = 3 * triangle; c < 3 * triangle + 3; c++)
        if (mesh_point_of(m, c) == point)
            return c;
    return MESH_NONE;
}

/* ---- cost ------------------------------------------------------------------------------------ */

static double look_cost(const mesh *m, uint32_t vertex, uint32_t other)
{
    const size_t count = m->parts[m->vertex_part[vertex]].attribute_count;
    const double cost = attributes_at(&m->looks[vertex], mesh_slopes(m, vertex),
        mesh_attributes(m, other), count, m->places[m->vertex_point[other]]);
    return cost > 0 ? cost : 0;
}

/* The vertex of b that a vertex of a becomes. Triangles with both points say which; a vertex that
 * is in none of them takes what looks most like it, at the price of the jump. MESH_NONE: b has
 * none of its part. */
static uint32_t match(const mesh *m, uint32_t vertex, uint32_t a, uint32_t b, double *ret_cost)
{
    uint32_t best = MESH_NONE, last = MESH_NONE;
    double least = IMPOSSIBLE;
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c]) {
        if (m->corners[c] != vertex)
            continue;
        const uint32_t at_b = corner_at(m, c / 3, b);
        if (at_b == MESH_NONE || m->corners[at_b] == last)
            continue;
        last = m->corners[at_b];
        const double cost = look_cost(m, vertex, last);
        if (cost < least) {
            best = last;
            least = cost;
        }
    }
    if (best != MESH_NONE) {
        *ret_cost = least;
        return best;
    }
    for (uint32_t c = m->head[b]; c != MESH_NONE; c = m->next[c]) {
        if (mesh_dead(m, c / 3) || m->corners[c] == last ||
            m->vertex_part[m->corners[c]] != m->vertex_part[vertex])
            continue;
        last = m->corners[c];
        const double cost = look_cost(m, vertex, last);
        if (cost < least) {
            best = last;
            least = cost;
        }
    }
    *ret_cost = least;
    return best;
}

/* Between the mean, to which a finger and a back are the same, and the sum, which takes most from
 * what is small. */
static double weight_of_area(double area)
{
    return sqrt(area * sqrt(area));
}

/* Distance squared by the area that is off as far; IMPOSSIBLE: it cannot be. */
static double cost_of(const mesh *m, const ring *around, uint32_t a, uint32_t b)
{
    if (m->degree[b] > MESH_RING_MAX) /* held_back() would not let it, after a walk around it */
        return IMPOSSIBLE;
    double sum = quadric_at(&m->shapes[a], m->places[b]), edge[3];
    if (!(sum > 0))
        sum = 0;
    for (unsigned i = 0; i < around->vertex_count; i++) {
        double cost;
        if (match(m, around->vertices[i], a, b, &cost) == MESH_NONE)
            return IMPOSSIBLE;
        sum += cost;
    }
    minus3(m->places[b], m->places[a], edge);
    const double area = m->shapes[a].weight;
    const double cost = (area > 0 ? sum / area : 0) + LENGTH_WEIGHT * dot3(edge, edge);
    /* what is no number is not less either */
    if (!(cost < (double)m->most[a]))
        return IMPOSSIBLE;
    return cost * (double)m->emphasis[a] * weight_of_area(area);
}

/* ---- what may not be ------------------------------------------------------------------------- */

static void normal_of(const double *a, const double *b, const double *c, double *ret)
{
    double e1[3], e2[3];
    minus3(b, a, e1);
    minus3(c, a, e2);
    cross3(e1, e2, ret);
}

/* Would a triangle of a turn over, or become a line? */
static bool folds_over(const work *w, uint32_t a, uint32_t b)
{
    const mesh *m = &w->m;
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c]) {
        const uint32_t p = mesh_point_of(m, mesh_after(c)), q = mesh_point_of(m, mesh_before(c));
        if (p == b || q == b)
            continue;
        double old[3], new[3];
        normal_of(m->places[a], m->places[p], m->places[q], old);
        normal_of(m->places[b], m->places[p], m->places[q], new);
        const double o = dot3(old, old), n = dot3(new, new), on = dot3(old, new);
        if (o > 0 && (!(n > 0) || !(on > w->fold * sqrt(o * n))))
            return true;
    }
    return false;
}

static bool has_triangle(const mesh *m, uint32_t a, uint32_t b, uint32_t c)
{
    for (uint32_t at = m->head[a]; at != MESH_NONE; at = m->next[at]) {
        const uint32_t p = mesh_point_of(m, mesh_after(at)), q = mesh_point_of(m, mesh_before(at));
        if ((p == b && q == c) || (p == c && q == b))
            return true;
    }
    return false;
}

/* Would sheets meet that do not, or a hole or a solid close to nothing? */
static bool tears(work *w, const ring *around, uint32_t a, uint32_t b)
{
    mesh *m = &w->m;
    const uint32_t near_b = next_stamp(w), third = near_b + 1;
    tidy(m, b);
    for (uint32_t c = m->head[b]; c != MESH_NONE; c = m->next[c]) {
        w->mark[mesh_point_of(m, mesh_after(c))] = near_b;
        w->mark[mesh_point_of(m, mesh_before(c))] = near_b;
    }
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c]) {
        const uint32_t p = mesh_point_of(m, mesh_after(c)), q = mesh_point_of(m, mesh_before(c));
        if (p == b || q == b)
            w->mark[p == b ? q : p] = third;
    }
    for (unsigned i = 0; i < around->point_count; i++)
        if (around->points[i] != b && w->mark[around->points[i]] == near_b)
            return true;
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c]) {
        const uint32_t p = mesh_point_of(m, mesh_after(c)), q = mesh_point_of(m, mesh_before(c));
        if (p != b && q != b && w->mark[p] == third && w->mark[q] == third &&
            has_triangle(m, b, p, q))
            return true;
    }
    return false;
}

/* Would a part end? One step takes two triangles of a part at most, save where sheets meet. */
static bool vanishes(const mesh *m, uint32_t a, uint32_t b)
{
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = m->next[c])
        if (m->part_live[m->vertex_part[m->corners[c]]] <= 2 && corner_at(m, c / 3, b) != MESH_NONE)
            return true;
    return false;
}

static held held_back(work *w, const ring *around, uint32_t a, uint32_t b)
{
    const mesh *m = &w->m;
    if (m->kinds[a] == MESH_BORDER && mesh_sides(m, a, b) == 2)
        return HELD_BORDER;
    if (m->degree[a] + m->degree[b] > MESH_RING_MAX || folds_over(w, a, b))
        return HELD_FOLD;
    return vanishes(m, a, b) || tears(w, around, a, b) ? HELD_FOLD : HELD_NOT;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The cheapest neighbour that may be. */
static void choose(work *w, uint32_t a)
{
    ring around;
    w->target[a] = MESH_NONE;
    w->held[a] = HELD_BORDER;
    if (w->m.kinds[a] == MESH_HELD || !ring_of(w, a, &around))
        return;
    for (unsigned i = 0; i < around.point_count; i++)
        around.costs[i] = cost_of(&w->m, &around, a, around.points[i]);
    for (;;) {
        unsigned least = 0;
        for (unsigned i = 1; i < around.point_count; i++)
            if (around.costs[i] < around.costs[least])
                least = i;
        if (around.point_count == 0)
            return;
        if (!(around.costs[least] < IMPOSSIBLE)) {
            if (w->held[a] == HELD_BORDER && w->m.kinds[a] == MESH_FREE)
                w->held[a] = HELD_LOOKS;
            return;
        }
        const held why = held_back(w, &around, a, around.points[least]);
        if (why == HELD_NOT) {
            w->target[a] = around.points[least];
            w->cost[a] = around.costs[least];
            w->held[a] = HELD_NOT;
            return;
        }
        if (why != HELD_BORDER)
            w->held[a] = (uint8_t)why;
        around.costs[least] = IMPOSSIBLE;
    }
}

/* Is b, new beside x, better than what x has? */
static void consider(work *w, uint32_t x, uint32_t b)
{
    ring around;
    if (w->m.kinds[x] == MESH_HELD || !ring_of(w, x, &around))
        return;
    const double cost = cost_of(&w->m, &around, x, b);
    if (cost < w->cost[x] && held_back(w, &around, x, b) == HELD_NOT) {
        w->target[x] = b;
        w->cost[x] = cost;
    }
}

/* Vertices of a take those of b, and their quadrics go along. */
static void take_along(mesh *m, const ring *around, uint32_t a, uint32_t b, uint32_t *ret_matches)
{
    for (unsigned i = 0; i < around->vertex_count; i++) {
        double cost;
        const uint32_t from = around->vertices[i], to = match(m, from, a, b, &cost);
        ret_matches[i] = to;
    }
    for (unsigned i = 0; i < around->vertex_count; i++) {
        const uint32_t from = around->vertices[i], to = ret_matches[i];
        const size_t count = m->parts[m->vertex_part[from]].attribute_count;
        const slope *s = mesh_slopes(m, from);
        slope *sum = mesh_slopes(m, to);
        quadric_add(&m->looks[to], &m->looks[from]);
        for (size_t k = 0; k < count; k++) {
            sum[k].x += s[k].x;
            sum[k].y += s[k].y;
            sum[k].z += s[k].z;
            sum[k].d += s[k].d;
        }
    }
}

static void kill_triangle(mesh *m, uint32_t triangle)
{
    for (uint32_t c = 3 * triangle; c < 3 * triangle + 3; c++)
        m->degree[mesh_point_of(m, c)]--;
    m->part_live[m->vertex_part[m->corners[3 * (size_t)triangle]]]--;
    m->corners[3 * (size_t)triangle] = MESH_NONE;
    m->live--;
}

static void collapse(work *w, const ring *around, uint32_t a, uint32_t b)
{
    mesh *m = &w->m;
    uint32_t matches[MESH_RING_MAX + 1], next;
    take_along(m, around, a, b, matches);
    quadric_add(&m->shapes[b], &m->shapes[a]);
    for (uint32_t c = m->head[a]; c != MESH_NONE; c = next) {
        next = m->next[c];
        if (corner_at(m, c / 3, b) != MESH_NONE) {
            kill_triangle(m, c / 3);
            continue;
        }
        for (unsigned i = 0; i < around->vertex_count; i++)
            if (around->vertices[i] == m->corners[c]) {
                m->corners[c] = matches[i];
                break;
            }
        m->next[c] = m->head[b];
        m->head[b] = c;
        m->degree[b]++;
    }
    m->head[a] = MESH_NONE;
    m->degree[a] = 0;
    w->target[a] = MESH_NONE;
    w->held[a] = HELD_NOT;
    dequeue(w, a);
}

/* The first of the queue goes, or finds out that it cannot. */
static void step(work *w)
{
    ring around;
    const uint32_t a = w->queue[0], b = w->target[a];
    const double cost = w->cost[a];
    if (!ring_of(w, a, &around) || !(cost_of(&w->m, &around, a, b) <= cost * (1 + 1e-9)) ||
        held_back(w, &around, a, b) != HELD_NOT) {
        choose(w, a);
        requeue(w, a);
        return;
    }
    collapse(w, &around, a, b);
    for (unsigned i = 0; i < around.point_count; i++) {
        const uint32_t x = around.points[i];
        tidy(&w->m, x);
        if (x == b || w->target[x] == a || w->target[x] == MESH_NONE)
            choose(w, x);
        else
            consider(w, x, b);
        requeue(w, x);
    }
}

static void run(work *w, uint64_t asked)
{
    for (size_t i = 0; i < sizeof folds / sizeof *folds && w->m.live > asked; i++) {
        w->fold = folds[i];
        for (uint32_t p = 0; p < w->m.point_count; p++)
            if (w->m.head[p] != MESH_NONE && w->target[p] == MESH_NONE) {
                choose(w, p);
                requeue(w, p);
            }
        while (w->queued > 0 && w->m.live > asked)
            step(w);
    }
}

/* ---- in and out ------------------------------------------------------------------------------ */

static bool work_room(work *w)
{
    const size_t count = w->m.point_count ? w->m.point_count : 1;
    w->mark = calloc(count, sizeof *w->mark);
    w->target = malloc(count * sizeof *w->target);
    w->cost = calloc(count, sizeof *w->cost);
    w->held = calloc(count, sizeof *w->held);
    w->queue = calloc(count, sizeof *w->queue);
    w->place = malloc(count * sizeof *w->place);
    if (!w->mark || !w->target || !w->cost || !w->held || !w->queue || !w->place)
        return false;
    memset(w->target, 0xff, count * sizeof *w->target);
    memset(w->place, 0xff, count * sizeof *w->place);
    return true;
}

static void work_done(work *w)
{
    mesh_done(&w->m);
    free(w->mark);
    free(w->target);
    free(w->cost);
    free(w->held);
    free(w->queue);
    free(w->place);
}

/* A part of nothing but lines stays as it was. Returns its triangles. */
static uint64_t write_back(const mesh *m)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < m->part_count; i++)
        if (m->part_live[i] > 0)
            m->parts[i].index_count = 0;
        else
            lines += m->parts[i].index_count / 3;
    for (uint32_t t = 0; t < m->triangle_count; t++) {
        if (mesh_dead(m, t))
            continue;
        const uint32_t part = m->vertex_part[m->corners[3 * (size_t)t]];
        media__part *to = &m->parts[part];
        for (uint32_t k = 0; k < 3; k++)
            to->indices[to->index_count++] = m->corners[3 * (size_t)t + k] - m->part_first[part];
    }
    return lines;
}

static void count_held(const work *w, media__simplify_result *ret)
{
    for (uint32_t p = 0; p < w->m.point_count; p++) {
        if (w->m.degree[p] == 0)
            continue;
        ret->points++;
        ret->held_by_borders += w->held[p] == HELD_BORDER;
        ret->held_by_looks += w->held[p] == HELD_LOOKS;
        ret->held_by_folds += w->held[p] == HELD_FOLD;
    }
}

rpc_code media__simplify(media__part *parts, size_t count, uint64_t asked,
    media__simplify_result *ret, rpc_status *reterr)
{
    work w = {.fold = 0};
    rpc_code code = mesh_build(parts, count, &w.m, reterr);
    if (code != RPC_OK)
        return code;
    if (!work_room(&w)) {
        work_done(&w);
        return media__no_memory(reterr);
    }
    run(&w, asked);
    if (!mesh_drop_repeated(&w.m)) {
        work_done(&w);
        return media__no_memory(reterr);
    }
    const uint64_t left = w.m.live + write_back(&w.m);
    *ret = (media__simplify_result){.triangles = left, .exhausted = left > asked};
    count_held(&w, ret);
    work_done(&w);
    return RPC_OK;
}
