/* SPDX-License-Identifier: Apache-2.0 */
/* Filters are lossy in general; here they are used only where they lose nothing, which is tried:
 * what they give is decoded and compared. */
#include "gltf_filters.h"
#include "gltf_get.h"

#include <math.h>
#include <meshoptimizer.h>
#include <stdlib.h>

/* ---- floats: multiples of a power of two ------------------------------------------------------
 */

#define MANTISSA_MAX ((1 << 23) - 1)
#define EXPONENT_MIN (-100) /* the decoder makes 2^exponent as a normal float */
#define EXPONENT_MAX 100
#define RUN          64

typedef struct grid {
    int exponent; /* of the lowest bit that is set in any; without any EXPONENT_MAX */
    float most;
    size_t set; /* that are not 0 */
} grid;

/* The exponent of the lowest bit that is set. */
static int lowest_bit(float value)
{
    int exponent = 0;
    const float fraction = frexpf(value, &exponent);
    const uint32_t mantissa = (uint32_t)ldexpf(fabsf(fraction), 24);
    return exponent - 24 + __builtin_ctz(mantissa | 1u << 24);
}

static void look_at(const uint8_t *bytes, size_t count, grid *ret)
{
    *ret = (grid){.exponent = EXPONENT_MAX};
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, sizeof value);
        if (value == 0)
            continue;
        const int exponent = lowest_bit(value);
        ret->exponent = exponent < ret->exponent ? exponent : ret->exponent;
        ret->most = fabsf(value) > ret->most ? fabsf(value) : ret->most;
        ret->set++;
    }
}

static bool fits(const grid *g, int exponent)
{
    return exponent >= EXPONENT_MIN && exponent <= g->exponent &&
           ldexp((double)g->most, -exponent) <= MANTISSA_MAX;
}

static void put_floats(const uint8_t *bytes, size_t count, int exponent, uint8_t *to)
{
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, sizeof value);
        const int32_t mantissa = (int32_t)ldexpf(value, -exponent);
        const uint32_t packed = ((uint32_t)exponent << 24) | ((uint32_t)mantissa & 0xffffff);
        memcpy(to + 4 * i, &packed, sizeof packed);
    }
}

/* An exponent for each run; the one before goes on where few numbers say that it need not be so
 * fine: zeros and still lines do not. */
static bool exponential(rpc_bytes bytes, size_t stride, uint8_t *to)
{
    const size_t run = RUN * stride;
    int exponent = EXPONENT_MAX;
    for (size_t at = 0; at < bytes.size; at += run) {
        const size_t count = (bytes.size - at < run ? bytes.size - at : run) / 4;
        grid g;
        look_at(bytes.data + at, count, &g);
        if (!fits(&g, exponent) || exponent == EXPONENT_MAX || 2 * g.set > count)
            exponent = g.exponent;
        if (!fits(&g, exponent))
            return false;
        put_floats(bytes.data + at, count, exponent, to + at);
    }
    return true;
}

/* ---- unit vectors in bytes ------------------------------------------------------------------- */

static bool oct_gives(const int8_t packed[4], const int8_t wanted[4])
{
    int8_t given[4];
    memcpy(given, packed, sizeof given);
    meshopt_decodeFilterOct(given, 1, 4);
    return memcmp(given, wanted, sizeof given) == 0;
}

/* The encoder's answer, or one beside it: rounding twice may miss. */
static bool put_unit(const int8_t wanted[4], int8_t packed[4])
{
    const double x = packed[0], y = packed[1];
    if (oct_gives(packed, wanted))
        return true;
    for (int i = 0; i < 9; i++) {
        const double a = x + i % 3 - 1, b = y + (i - i % 3) / 3.0 - 1;
        if (fabs(a) > 127 || fabs(b) > 127)
            continue;
        packed[0] = (int8_t)a;
        packed[1] = (int8_t)b;
        if (oct_gives(packed, wanted))
            return true;
    }
    return false;
}

static bool octahedral(rpc_bytes bytes, uint8_t *to)
{
    for (size_t at = 0; at < bytes.size; at += 4) {
        int8_t wanted[4], packed[4];
        float unit[4];
        memcpy(wanted, bytes.data + at, 4);
        for (size_t k = 0; k < 4; k++)
            unit[k] = (float)wanted[k] / 127;
        if (unit[0] == 0 && unit[1] == 0 && unit[2] == 0)
            return false;
        meshopt_encodeFilterOct(packed, 1, 4, MEDIA__OCT_BITS, unit);
        packed[3] = wanted[3];
        if (!put_unit(wanted, packed))
            return false;
        memcpy(to + at, packed, 4);
    }
    return true;
}

/* ---- rotations in shorts --------------------------------------------------------------------- */

#define QUAT_ONE ((1 << (MEDIA__QUAT_BITS - 1)) - 1)

static bool quat_gives(const int16_t packed[4], const int16_t wanted[4])
{
    int16_t given[4];
    memcpy(given, packed, sizeof given);
    meshopt_decodeFilterQuat(given, 1, 8);
    return memcmp(given, wanted, sizeof given) == 0;
}

/* The component that the decoder finds from the other three may be another of almost the same size:
 * each is tried, with what lies beside. */
static bool put_without(size_t left_out, const int16_t wanted[4], int16_t packed[4])
{
    const double sign = wanted[left_out] < 0 ? -1 : 1;
    int near[3];
    for (size_t k = 0; k < 3; k++)
        near[k] = (int)lround(sign * wanted[(left_out + 1 + k) & 3] / 32767.0 * M_SQRT2 * QUAT_ONE);
    packed[3] = (int16_t)((QUAT_ONE & ~3) | (int)left_out);
    for (int i = 0; i < 27; i++) {
        const int step[3] = {i % 3 - 1, i / 3 % 3 - 1, i / 9 - 1};
        for (size_t k = 0; k < 3; k++)
            packed[k] = (int16_t)(near[k] + step[k]);
        if (quat_gives(packed, wanted))
            return true;
    }
    return false;
}

static bool put_rotation(const int16_t wanted[4], int16_t packed[4])
{
    if (quat_gives(packed, wanted))
        return true;
    for (size_t k = 0; k < 4; k++)
        if (put_without(k, wanted, packed))
            return true;
    return false;
}

static bool quaternions(rpc_bytes bytes, uint8_t *to)
{
    for (size_t at = 0; at < bytes.size; at += 8) {
        int16_t wanted[4], packed[4];
        float unit[4];
        memcpy(wanted, bytes.data + at, 8);
        for (size_t k = 0; k < 4; k++)
            unit[k] = (float)wanted[k] / 32767;
        meshopt_encodeFilterQuat(packed, 1, 8, MEDIA__QUAT_BITS, unit);
        if (!put_rotation(wanted, packed))
            return false;
        memcpy(to + at, packed, 8);
    }
    return true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* What the decoder of a view of floats would give. */
static bool gives_back(rpc_bytes bytes, size_t stride, const uint8_t *packed, uint8_t *room)
{
    memcpy(room, packed, bytes.size);
    meshopt_decodeFilterExp(room, bytes.size / stride, stride);
    return memcmp(room, bytes.data, bytes.size) == 0;
}

rpc_code media__filter(rpc_bytes bytes, size_t stride, int component_type, uint8_t **ret,
    const char **ret_filter, rpc_status *reterr)
{
    const bool floats = component_type == MEDIA__FLOAT && stride % 4 == 0;
    const bool units = component_type == MEDIA__BYTE && stride == 4;
    const bool rotations = component_type == MEDIA__SHORT && stride == 8;
    *ret = NULL;
    if (!(floats || units || rotations) || bytes.size % stride != 0)
        return RPC_OK;
    uint8_t *packed = malloc(bytes.size + 1), *room = malloc(bytes.size + 1);
    const bool memory = packed && room;
    const bool made = memory && (floats ? exponential(bytes, stride, packed) &&
                                              gives_back(bytes, stride, packed, room)
                                    : units ? octahedral(bytes, packed)
                                            : quaternions(bytes, packed));
    free(room);
    if (!made) {
        free(packed);
        return memory ? RPC_OK : media__no_memory(reterr);
    }
    *ret = packed;
    *ret_filter = floats ? "EXPONENTIAL" : units ? "OCTAHEDRAL" : "QUATERNION";
    return RPC_OK;
}
