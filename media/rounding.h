/* SPDX-License-Identifier: Apache-2.0 */
/** Numbers with fewer bits. Pure, inside the module. Each function gives false, and nothing of use,
 *  where the numbers cannot be rounded so: they stay as they are then. */
#ifndef DACM_MEDIA_ROUNDING_H
#define DACM_MEDIA_ROUNDING_H

#include "media_internal.h"

/** The greatest power of two that is at most `most`; 0 where that has no reasonable exponent, or
 *  most is 0. */
double media__power_below(double most);
/** Multiples of step, a power of two (0: they stay): what EXPONENTIAL packs. Never -0. */
void media__round_floats(float *values, size_t count, double step);

/** Unit vectors as normalised bytes, as OCTAHEDRAL gives them back, within 1.3 degrees; where some
 *  are not of length 1 (or plain is asked for) each component within 1/254. A fourth component is
 *  +1 or -1 and stays.
 *  values  count times components (3 or 4), in -1 to 1
 *  ret     as many bytes */
bool media__round_unit(
    const float *values, size_t count, size_t components, bool plain, int8_t *ret);
/** Numbers from -1 to 1 as normalised bytes. */
bool media__round_signed(const float *values, size_t count, int8_t *ret);
/** Numbers from 0 to 1 as normalised bytes, and as normalised shorts of 12 bits. */
bool media__round_bytes(const float *values, size_t count, uint8_t *ret);
bool media__round_shorts(const float *values, size_t count, uint16_t *ret);

#define MEDIA__WEIGHTS_MAX 32 /* of a vertex */
/** Weights of one vertex as normalised bytes which add up to what they did, rounded: 255 of 1. The
 *  greatest remainders are rounded up; of equal ones the first. */
bool media__round_weights(const float *values, size_t count, uint8_t *ret);

/** Rotations as normalised shorts, as QUATERNION gives them back: q or -q, within 0.02 degrees.
 * False for those not of length 1, and where two that follow each other are so far apart that the
 *  shorter way between them would be another.
 *  values  count times 4;  ret  as many */
bool media__round_rotations(const float *values, size_t count, int16_t *ret);

#endif
