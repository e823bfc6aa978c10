/* SPDX-License-Identifier: Apache-2.0 */
/** Quadrics of simplify.c: sums of weighed squared distances, as functions of a place and of
 *  attributes there. Inside the module. */
#ifndef DACM_MEDIA_SIMPLIFY_QUADRIC_H
#define DACM_MEDIA_SIMPLIFY_QUADRIC_H

#include <stddef.h>

/** p'Ap + 2b'p + c; weight is the sum of the areas that went in. */
typedef struct quadric {
    double xx, yy, zz, xy, xz, yz, bx, by, bz, c, weight;
} quadric;

/** One attribute over a surface: weighed sums of its gradients and offsets. */
typedef struct slope {
    double x, y, z, d;
} slope;

static inline double dot3(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static inline void minus3(const double *a, const double *b, double *ret)
{
    for (int i = 0; i < 3; i++)
        ret[i] = a[i] - b[i];
}

static inline void cross3(const double *a, const double *b, double *ret)
{
    ret[0] = a[1] * b[2] - a[2] * b[1];
    ret[1] = a[2] * b[0] - a[0] * b[2];
    ret[2] = a[0] * b[1] - a[1] * b[0];
}

/** Adds weight * (n·p + d)². */
static inline void quadric_add_plane(quadric *q, const double *n, double d, double weight)
{
    q->xx += weight * n[0] * n[0];
    q->yy += weight * n[1] * n[1];
    q->zz += weight * n[2] * n[2];
    q->xy += weight * n[0] * n[1];
    q->xz += weight * n[0] * n[2];
    q->yz += weight * n[1] * n[2];
    q->bx += weight * n[0] * d;
    q->by += weight * n[1] * d;
    q->bz += weight * n[2] * d;
    q->c += weight * d * d;
}

static inline void quadric_add(quadric *q, const quadric *more)
{
    q->xx += more->xx;
    q->yy += more->yy;
    q->zz += more->zz;
    q->xy += more->xy;
    q->xz += more->xz;
    q->yz += more->yz;
    q->bx += more->bx;
    q->by += more->by;
    q->bz += more->bz;
    q->c += more->c;
    q->weight += more->weight;
}

static inline double quadric_at(const quadric *q, const double *p)
{
    const double x = q->xx * p[0] + 2 * (q->xy * p[1] + q->xz * p[2] + q->bx);
    const double y = q->yy * p[1] + 2 * (q->yz * p[2] + q->by);
    const double z = q->zz * p[2] + 2 * q->bz;
    return x * p[0] + y * p[1] + z * p[2] + q->c;
}

/** Of (s - (slope at p))² over all attributes, where q has the squares of the slopes. */
static inline double attributes_at(
    const quadric *q, const slope *slopes, const float *attributes, size_t count, const double *p)
{
    double mixed = 0, square = 0;
    for (size_t i = 0; i < count; i++) {
        const double s = (double)attributes[i];
        mixed += s * (slopes[i].x * p[0] + slopes[i].y * p[1] + slopes[i].z * p[2] + slopes[i].d);
        square += s * s;
    }
    return quadric_at(q, p) - 2 * mixed + q->weight * square;
}

#endif
