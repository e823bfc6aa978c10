/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_tracks.h"

#include "rounding.h"

#include <math.h>
#include <string.h>

#define SPAN_MAX 64 /* keys that two stand for at most: what is tried stays in proportion */
#define NEAR     0.9995

bool media__track_is(const media__track *track, const float *value, double tolerance)
{
    if (track->interpolation == MEDIA__CUBICSPLINE)
        return false;
    for (size_t i = 0; i < track->count; i++) {
        const float *key = track->values + i * track->components;
        bool same = true, opposite = track->rotation;
        for (size_t k = 0; k < track->components; k++) {
            same = same && fabs((double)key[k] - (double)value[k]) <= tolerance;
            opposite = opposite && fabs((double)key[k] + (double)value[k]) <= tolerance;
        }
        if (!same && !opposite)
            return false;
    }
    return true;
}

bool media__track_round(media__track *track, double step)
{
    if (track->rotation && track->interpolation != MEDIA__CUBICSPLINE) {
        if (!media__round_rotations(track->values, track->count, track->shorts))
            return false;
        for (size_t i = 0; i < 4 * track->count; i++)
            track->values[i] = (float)track->shorts[i] / 32767;
        return true;
    }
    const size_t keys = track->interpolation == MEDIA__CUBICSPLINE ? 3 : 1;
    if (track->rotation || !(step > 0))
        return false;
    media__round_floats(track->values, keys * track->count * track->components, step);
    return true;
}

/* ---- between two keys ------------------------------------------------------------------------ */

/* How much of each end there is at a part of the way: along the arc for rotations, the shorter. */
static void shares(
    const media__track *track, const float *a, const float *b, double part, double ret[2])
{
    double dot = 0;
    ret[0] = 1 - part;
    ret[1] = part;
    if (!track->rotation)
        return;
    for (size_t k = 0; k < 4; k++)
        dot += (double)a[k] * (double)b[k];
    const double sign = dot < 0 ? -1 : 1;
    dot = fmin(fabs(dot), 1);
    if (dot < NEAR) {
        const double angle = acos(dot);
        ret[0] = sin((1 - part) * angle) / sin(angle);
        ret[1] = sin(part * angle) / sin(angle);
    }
    ret[1] *= sign;
}

static bool gives_back(const media__track *track, size_t from, size_t to, size_t key,
    const float *exact, double tolerance)
{
    const float *a = track->values + from * track->components;
    const float *b = track->values + to * track->components;
    const float *wanted = exact + key * track->components;
    const double start = (double)track->times[from], end = (double)track->times[to];
    double share[2] = {1, 0}, sign = 1;
    if (track->interpolation == MEDIA__LINEAR)
        shares(track, a, b, ((double)track->times[key] - start) / (end - start), share);
    if (track->rotation) {
        double dot = 0;
        for (size_t k = 0; k < 4; k++)
            dot += (share[0] * (double)a[k] + share[1] * (double)b[k]) * (double)wanted[k];
        sign = dot < 0 ? -1 : 1;
    }
    for (size_t k = 0; k < track->components; k++) {
        const double given = share[0] * (double)a[k] + share[1] * (double)b[k];
        if (fabs(sign * given - (double)wanted[k]) > tolerance)
            return false;
    }
    return true;
}

/* A rotation more than half way round is another way. */
static bool may_span(const media__track *track, size_t from, size_t to)
{
    double dot = 0;
    for (size_t k = 0; track->rotation && k < 4; k++)
        dot += (double)track->values[4 * from + k] * (double)track->values[4 * to + k];
    return !track->rotation || fabs(dot) > 0.5;
}

static bool spans(const media__track *track, size_t from, size_t to, const float *exact)
{
    if (!may_span(track, from, to))
        return false;
    for (size_t key = from + 1; key < to; key++)
        if (!gives_back(track, from, to, key, exact, track->tolerance))
            return false;
    return true;
}

size_t media__track_reduce(const media__track *track, const float *exact, bool *kept)
{
    size_t count = 0, at = 0;
    memset(kept, track->interpolation == MEDIA__CUBICSPLINE, track->count);
    if (track->interpolation == MEDIA__CUBICSPLINE)
        return track->count;
    while (at < track->count) {
        size_t next = at + 1;
        kept[at] = true;
        count++;
        while (next + 1 < track->count && next - at < SPAN_MAX && spans(track, at, next + 1, exact))
            next++;
        at = next;
    }
    return count;
}
