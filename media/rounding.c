/* SPDX-License-Identifier: Apache-2.0 */
#include "rounding.h"

#include "gltf_filters.h"

#include <math.h>
#include <meshoptimizer.h>
#include <string.h>

#define EXPONENT_MAX   90
#define UNIT_TOLERANCE 0.01
#define APART          0.05 /* |dot| of two rotations: half a turn less 6 degrees */

double media__power_below(double most)
{
    int exponent = 0;
    if (!(most > 0) || !isfinite(most))
        return 0;
    (void)frexp(most, &exponent);
    return exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX ? 0 : ldexp(1, exponent - 1);
}

void media__round_floats(float *values, size_t count, double step)
{
    for (size_t i = 0; step > 0 && i < count; i++)
        values[i] = (float)(nearbyint((double)values[i] / step) * step) + 0.0F;
}

static bool within(const float *values, size_t count, float least, float most)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] >= least && values[i] <= most))
            return false;
    return true;
}

static bool is_unit(const float *v, size_t components)
{
    double square = 0;
    for (size_t k = 0; k < components; k++)
        square += (double)v[k] * (double)v[k];
    return fabs(sqrt(square) - 1) <= UNIT_TOLERANCE;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void put_unit(const float *v, size_t components, int8_t *ret)
{
    int8_t packed[4];
    float unit[4] = {v[0], v[1], v[2], 0};
    meshopt_encodeFilterOct(packed, 1, 4, MEDIA__OCT_BITS, unit);
    meshopt_decodeFilterOct(packed, 1, 4);
    memcpy(ret, packed, 3);
    if (components == 4)
        ret[3] = v[3] < 0 ? -127 : 127;
}

bool media__round_unit(
    const float *values, size_t count, size_t components, bool plain, int8_t *ret)
{
    for (size_t i = 0; !plain && i < count; i++)
        plain = !is_unit(values + i * components, 3);
    if (plain)
        return media__round_signed(values, count * components, ret);
    for (size_t i = 0; i < count; i++)
        put_unit(values + i * components, components, ret + i * components);
    return true;
}

bool media__round_signed(const float *values, size_t count, int8_t *ret)
{
    /* of unit vectors a component may be a little above 1 */
    if (!within(values, count, -1 - (float)UNIT_TOLERANCE, 1 + (float)UNIT_TOLERANCE))
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = (int8_t)fmax(-127, fmin(127, nearbyint((double)values[i] * 127)));
    return true;
}

bool media__round_bytes(const float *values, size_t count, uint8_t *ret)
{
    if (!within(values, count, 0, 1))
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = (uint8_t)nearbyint((double)values[i] * 255);
    return true;
}

bool media__round_shorts(const float *values, size_t count, uint16_t *ret)
{
    if (!within(values, count, 0, 1))
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = (uint16_t)nearbyint(nearbyint((double)values[i] * 4095) * 65535 / 4095);
    return true;
}

/* ---- weights --------------------------------------------------------------------------------- */

static size_t greatest(const double *rest, size_t count)
{
    size_t at = 0;
    for (size_t i = 1; i < count; i++)
        if (rest[i] > rest[at])
            at = i;
    return at;
}

bool media__round_weights(const float *values, size_t count, uint8_t *ret)
{
    double rest[MEDIA__WEIGHTS_MAX] = {0}, sum = 0;
    long given = 0;
    if (count > MEDIA__WEIGHTS_MAX || !within(values, count, 0, 1))
        return false;
    for (size_t i = 0; i < count; i++) {
        const double scaled = (double)values[i] * 255;
        ret[i] = (uint8_t)floor(scaled);
        rest[i] = scaled - floor(scaled);
        given += ret[i];
        sum += scaled;
    }
    for (; given < lround(sum); given++) {
        const size_t at = greatest(rest, count);
        if (rest[at] <= 0) /* none is left: the sum was of many that vanish */
            break;
        ret[at]++;
        rest[at] = 0;
    }
    return true;
}

/* ---- rotations ------------------------------------------------------------------------------- */

static double dot4(const float *a, const float *b)
{
    double sum = 0;
    for (size_t k = 0; k < 4; k++)
        sum += (double)a[k] * (double)b[k];
    return sum;
}

bool media__round_rotations(const float *values, size_t count, int16_t *ret)
{
    for (size_t i = 0; i < count; i++)
        if (!is_unit(values + 4 * i, 4) ||
            (i && fabs(dot4(values + 4 * i, values + 4 * (i - 1))) < APART))
            return false;
    for (size_t i = 0; i < count; i++) {
        meshopt_encodeFilterQuat(ret + 4 * i, 1, 8, MEDIA__QUAT_BITS, values + 4 * i);
        meshopt_decodeFilterQuat(ret + 4 * i, 1, 8);
    }
    return true;
}
