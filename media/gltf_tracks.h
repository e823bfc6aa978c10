/* SPDX-License-Identifier: Apache-2.0 */
/** The keys of one sampler of an animation, fewer and rounded. Inside the module. */
#ifndef DACM_MEDIA_GLTF_TRACKS_H
#define DACM_MEDIA_GLTF_TRACKS_H

#include "media_internal.h"

typedef enum media__interpolation {
    MEDIA__LINEAR,
    MEDIA__STEP,
    MEDIA__CUBICSPLINE,
} media__interpolation;

/** Keys, and how far they may be off. */
typedef struct media__track {
    media__interpolation interpolation;
    bool rotation;
    size_t count, components; /* of keys; of a key, all targets of weights */
    float *times, *values;    /* count; count times components */
    int16_t *shorts;          /* of a rotation once it is rounded: what values are of */
    double tolerance;         /* of a component; of rotations too */
} media__track;

/** Is every key within tolerance of value? A rotation also where it is so of -value. Not of
 *  CUBICSPLINE. */
bool media__track_is(const media__track *track, const float *value, double tolerance);
/** Rounds values to multiples of step, rotations to shorts (track->shorts: room for them). False:
 *  nothing changed. */
bool media__track_round(media__track *track, double step);
/** Keys that must stay so that every one that does not is given back within tolerance by those
 *  around it; the first and the last stay.
 *  exact  [count][components] as they were before they were rounded
 *  kept   [count] */
size_t media__track_reduce(const media__track *track, const float *exact, bool *kept);

#endif
