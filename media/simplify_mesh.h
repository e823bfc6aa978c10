/* SPDX-License-Identifier: Apache-2.0 */
/** What simplify.c works on: points, their vertices, and the triangles around them. Inside the
 *  module. */
#ifndef DACM_MEDIA_SIMPLIFY_MESH_H
#define DACM_MEDIA_SIMPLIFY_MESH_H

#include "simplify.h"
#include "simplify_quadric.h"

#define MESH_NONE UINT32_MAX
/** Points with more neighbours stay where they are, and nothing goes to them: what a step costs is
 *  bounded, whatever a file says. */
#define MESH_RING_MAX 192

/** How a point may move. An edge is open where it has not triangles to two sides: a border, or
 *  more than two sheets meet in it. */
enum {
    MESH_FREE,   /* no open edge */
    MESH_BORDER, /* two: only along them */
    MESH_HELD,   /* one, or more than two: never */
};

/** Vertices of all parts in one row; of equal ones of a part the first stands for all. */
typedef struct mesh {
    media__part *parts;
    size_t part_count;
    uint32_t *part_first; /* [part_count + 1] its vertices in the row */
    size_t *slope_first;  /* [part_count] in slopes */

    uint32_t vertex_count, point_count, triangle_count; /* as they came */
    uint64_t live;                                      /* triangles */
    uint32_t *part_live;                                /* [part_count] of it */

    uint32_t *vertex_point, *vertex_part, *vertex_same; /* [vertex_count] */
    quadric *looks;                                     /* [vertex_count] attributes */
    slope *slopes;

    double (*places)[3]; /* [point_count] */
    quadric *shapes;     /* [point_count] */
    uint8_t *kinds;      /* [point_count] */
    float *emphasis;     /* [point_count] factor of cost: what is small by itself is looked at */
    float *most;         /* [point_count] cost, before that, at which a piece is lost */
    uint32_t *head;      /* [point_count] first of its corners */
    uint32_t *degree;    /* [point_count] live triangles */

    uint32_t *corners; /* [3 * triangle_count] vertices; MESH_NONE first: it is gone */
    uint32_t *next;    /* [3 * triangle_count] corner of the same point */
} mesh;

rpc_code mesh_build(media__part *parts, size_t count, mesh *ret, rpc_status *reterr);
void mesh_done(mesh *m);

static inline uint32_t mesh_point_of(const mesh *m, uint32_t corner)
{
    return m->vertex_point[m->corners[corner]];
}
static inline bool mesh_dead(const mesh *m, uint32_t triangle)
{
    return m->corners[3 * (size_t)triangle] == MESH_NONE;
}
/** The other two corners of a corner's triangle, in order. */
static inline uint32_t mesh_after(uint32_t corner)
{
    return corner % 3 == 2 ? corner - 2 : corner + 1;
}
static inline uint32_t mesh_before(uint32_t corner)
{
    return corner % 3 == 0 ? corner + 2 : corner - 1;
}
static inline const float *mesh_attributes(const mesh *m, uint32_t vertex)
{
    const media__part *part = &m->parts[m->vertex_part[vertex]];
    return part->attributes +
           (size_t)(vertex - m->part_first[m->vertex_part[vertex]]) * part->attribute_count;
}
static inline slope *mesh_slopes(const mesh *m, uint32_t vertex)
{
    const uint32_t part = m->vertex_part[vertex];
    return m->slopes + m->slope_first[part] +
           (size_t)(vertex - m->part_first[part]) * m->parts[part].attribute_count;
}

/** Triangles that are there twice die; false: no memory. */
bool mesh_drop_repeated(mesh *m);
/** Different third points of the triangles that have both a and b, counted up to 3: an edge inside
 *  a surface has 2. */
unsigned mesh_sides(const mesh *m, uint32_t a, uint32_t b);

#endif
