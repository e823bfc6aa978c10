/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding: how far off, and that filters give every bit back. */
#include "test.h"

#include "gltf_filters.h"
#include "rounding.h"

#include <float.h>
#include <math.h>
#include <meshoptimizer.h>
#include <stdlib.h>
#include <string.h>

#define MANY 100000

static uint64_t seed = 1;

/* From -1 to 1. */
static float chance(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(seed >> 33) / (double)(1u << 30) - 1);
}

static float *unit_vectors(size_t count, size_t components)
{
    float *values = calloc(count * components, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        double length = 0;
        float *v = values + i * components;
        for (size_t k = 0; k < components; k++)
            v[k] = i % 8 == 0 && k ? 0 : i % 8 == 1 ? 1 : chance();
        v[0] = v[0] == 0 ? 1 : v[0];
        for (size_t k = 0; k < components; k++)
            length += (double)v[k] * (double)v[k];
        for (size_t k = 0; k < components; k++)
            v[k] = (float)((double)v[k] / sqrt(length));
    }
    return values;
}

static double degrees(const double *a, const double *b, size_t components)
{
    double dot = 0, first = 0, second = 0;
    for (size_t k = 0; k < components; k++) {
        dot += a[k] * b[k];
        first += a[k] * a[k];
        second += b[k] * b[k];
    }
    return acos(fmin(1, fabs(dot) / sqrt(first * second))) * 180 / M_PI;
}

/* ---- filters --------------------------------------------------------------------------------- */

/* The filter that fits, decoded again to the same bits; NULL: none. */
static const char *filtered(const void *data, size_t size, size_t stride, int component_type)
{
    rpc_status status = {0};
    uint8_t *packed = NULL;
    const char *filter = NULL;
    assert_int_equal(
        media__filter(rpc_bytes_of(data, size), stride, component_type, &packed, &filter, &status),
        RPC_OK);
    if (!packed)
        return NULL;
    if (strcmp(filter, "EXPONENTIAL") == 0)
        meshopt_decodeFilterExp(packed, size / stride, stride);
    else if (strcmp(filter, "OCTAHEDRAL") == 0)
        meshopt_decodeFilterOct(packed, size / stride, stride);
    else
        meshopt_decodeFilterQuat(packed, size / stride, stride);
    assert_memory_equal(packed, data, size);
    free(packed);
    return filter;
}

static void no_filter(const void *data, size_t size, size_t stride, int component_type)
{
    const char *filter = filtered(data, size, stride, component_type);
    if (filter)
        fail_msg("%s", filter);
}

/* ---- floats ---------------------------------------------------------------------------------- */

TEST(a_grid_is_a_power_of_two_below_what_may_be_off)
{
    assert_true(media__power_below(1) == 1);
    assert_true(media__power_below(0.3) == 0.25);
    assert_true(media__power_below(1.0 / 16384) == 1.0 / 16384);
    assert_true(media__power_below(7) == 4);
    assert_true(media__power_below(0) == 0);
    assert_true(media__power_below(-1) == 0);
    assert_true(media__power_below(HUGE_VAL) == 0);
    assert_true(media__power_below(NAN) == 0);
    assert_true(media__power_below(DBL_MIN) == 0);
    assert_true(media__power_below((double)FLT_MAX) == 0);
}

TEST(floats_are_off_by_half_a_step_and_come_back_from_the_filter)
{
    static float values[3 * MANY], exact[3 * MANY];
    const double step = 1.0 / 8192;
    for (size_t i = 0; i < 3 * (size_t)MANY; i++)
        exact[i] = values[i] = i % 100 == 0 ? -0.00001F : 2 * chance();
    media__round_floats(values, 3 * (size_t)MANY, step);
    for (size_t i = 0; i < 3 * (size_t)MANY; i++) {
        assert_true(fabs((double)values[i] - (double)exact[i]) <= step / 2);
        assert_false(values[i] == 0 && signbit(values[i]));
    }
    assert_string_equal(filtered(values, sizeof values, 12, MEDIA__FLOAT), "EXPONENTIAL");
    no_filter(exact, sizeof exact, 12, MEDIA__FLOAT);
    memcpy(values, exact, sizeof values);
    media__round_floats(values, 3 * (size_t)MANY, 0);
    assert_memory_equal(values, exact, sizeof values);
}

TEST(several_grids_in_one_view_come_back_too)
{
    static float values[3 * 4096];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = chance();
    media__round_floats(values, 6144, 1.0 / 64);
    media__round_floats(values + 6144, 3072, 1.0 / 1048576);
    for (size_t i = 9216; i < 12288; i++) /* huge, on a grid of its own */
        values[i] = (float)(floor((double)values[i] * 1000) * 1073741824);
    assert_string_equal(filtered(values, sizeof values, 12, MEDIA__FLOAT), "EXPONENTIAL");
}

TEST(floats_that_the_filter_would_change_are_left_alone)
{
    const float minus[3] = {-0.0F, 1, 2}, tiny[3] = {FLT_TRUE_MIN, 0, 0};
    const float wide[3] = {1, 16777216, 0}, odd[3] = {16777215, 1, 0}, none[3] = {0, 0, 0};
    no_filter(minus, sizeof minus, 12, MEDIA__FLOAT);
    no_filter(tiny, sizeof tiny, 12, MEDIA__FLOAT);
    no_filter(wide, sizeof wide, 12, MEDIA__FLOAT);
    no_filter(odd, sizeof odd, 12, MEDIA__FLOAT);
    assert_string_equal(filtered(none, sizeof none, 12, MEDIA__FLOAT), "EXPONENTIAL");
    no_filter(none, sizeof none, 12, 0); /* of several types */
    no_filter(none, 10, 4, MEDIA__FLOAT);
}

/* ---- normals --------------------------------------------------------------------------------- */

TEST(normals_are_off_by_little_and_come_back_from_the_filter)
{
    float *exact = unit_vectors(MANY, 3);
    int8_t *rounded = malloc(3 * MANY), *wide = calloc(MANY, 4);
    double worst = 0;
    assert_true(media__round_unit(exact, MANY, 3, false, rounded));
    for (size_t i = 0; i < MANY; i++) {
        double a[3], b[3];
        memcpy(wide + 4 * i, rounded + 3 * i, 3);
        for (size_t k = 0; k < 3; k++) {
            a[k] = (double)exact[3 * i + k];
            b[k] = rounded[3 * i + k];
        }
        worst = fmax(worst, degrees(a, b, 3));
    }
    assert_true(worst < 1.3);
    assert_string_equal(filtered(wide, 4 * (size_t)MANY, 4, MEDIA__BYTE), "OCTAHEDRAL");
    assert_true(media__round_unit(exact, MANY, 3, true, rounded));
    for (size_t i = 0; i < 3 * (size_t)MANY; i++)
        assert_true(fabs(rounded[i] / 127.0 - (double)exact[i]) <= 0.5 / 127 + 1e-6);
    free(exact);
    free(rounded);
    free(wide);
}

TEST(tangents_keep_their_side)
{
    const float tangents[8] = {1, 0, 0, -1, 0, -0.6F, 0.8F, 1};
    int8_t rounded[8];
    assert_true(media__round_unit(tangents, 2, 4, false, rounded));
    assert_int_equal(rounded[3], -127);
    assert_int_equal(rounded[7], 127);
    assert_string_equal(filtered(rounded, 8, 4, MEDIA__BYTE), "OCTAHEDRAL");
}

TEST(vectors_of_another_length_keep_it_or_stay)
{
    const float zero[3] = {0, 0, 0}, half[3] = {0.5F, 0, 0}, longer[3] = {0, 1.5F, 0};
    const float bad[3] = {NAN, 0, 0};
    int8_t rounded[4] = {0};
    assert_true(media__round_unit(zero, 1, 3, false, rounded));
    assert_int_equal(rounded[0] | rounded[1] | rounded[2], 0);
    no_filter(rounded, 4, 4, MEDIA__BYTE);
    assert_true(media__round_unit(half, 1, 3, false, rounded));
    assert_int_equal(rounded[0], 64);
    assert_false(media__round_unit(longer, 1, 3, false, rounded));
    assert_false(media__round_unit(bad, 1, 3, false, rounded));
    assert_false(media__round_signed(longer, 3, rounded));
}

/* ---- texture coordinates, colours ------------------------------------------------------------ */

TEST(what_lies_from_0_to_1_is_off_by_half_a_step)
{
    static float exact[MANY];
    static uint16_t shorts[MANY];
    static uint8_t bytes[MANY];
    for (size_t i = 0; i < MANY; i++)
        exact[i] = i < 2 ? (float)i : (chance() + 1) / 2;
    assert_true(media__round_shorts(exact, MANY, shorts));
    assert_true(media__round_bytes(exact, MANY, bytes));
    for (size_t i = 0; i < MANY; i++) {
        assert_true(fabs(shorts[i] / 65535.0 - (double)exact[i]) <= 0.5 / 4095 + 1.0 / 65535);
        assert_true(fabs(bytes[i] / 255.0 - (double)exact[i]) <= 0.5 / 255 + 1e-6);
    }
    assert_int_equal(shorts[0], 0);
    assert_int_equal(shorts[1], 65535);
    assert_int_equal(bytes[1], 255);
    exact[7] = 1.001F;
    assert_false(media__round_shorts(exact, MANY, shorts));
    assert_false(media__round_bytes(exact, MANY, bytes));
    exact[7] = -0.001F;
    assert_false(media__round_shorts(exact, MANY, shorts));
    exact[7] = NAN;
    assert_false(media__round_bytes(exact, MANY, bytes));
}

/* ---- weights --------------------------------------------------------------------------------- */

TEST(weights_add_up_to_1_however_many_sets_there_are)
{
    for (size_t i = 0; i < MANY; i++) {
        float weights[MEDIA__WEIGHTS_MAX];
        uint8_t rounded[MEDIA__WEIGHTS_MAX];
        const size_t count = 4 * (1 + i % 8);
        double sum = 0;
        unsigned given = 0;
        for (size_t k = 0; k < count; k++) {
            weights[k] = k % 3 == i % 3 ? 0 : (chance() + 1) / 2;
            sum += (double)weights[k];
        }
        for (size_t k = 0; k < count; k++)
            weights[k] = (float)((double)weights[k] / sum);
        assert_true(media__round_weights(weights, count, rounded));
        for (size_t k = 0; k < count; k++) {
            given += rounded[k];
            assert_true(fabs(rounded[k] - (double)weights[k] * 255) <= 1);
            assert_true(weights[k] > 0 || rounded[k] == 0);
        }
        assert_int_equal(given, 255);
    }
}

TEST(weights_that_do_not_add_up_to_1_add_up_to_what_they_did)
{
    const float half[4] = {0.25F, 0.125F, 0.125F, 0}, none[4] = {0}, more[4] = {1, 1, 1, 1};
    const float beyond[4] = {1.5F, 0, 0, 0}, below[4] = {-0.5F, 1, 0.5F, 0};
    const float equal[4] = {0.25F, 0.25F, 0.25F, 0.25F};
    uint8_t rounded[4];
    assert_true(media__round_weights(half, 4, rounded));
    assert_int_equal(rounded[0] + rounded[1] + rounded[2] + rounded[3], 128);
    assert_true(media__round_weights(none, 4, rounded));
    assert_int_equal(rounded[0] + rounded[1] + rounded[2] + rounded[3], 0);
    assert_true(media__round_weights(more, 4, rounded));
    assert_int_equal(rounded[3], 255);
    assert_true(media__round_weights(equal, 4, rounded));
    assert_int_equal(rounded[0], 64); /* 63.75 each; the last is 63 */
    assert_int_equal(rounded[3], 63);
    assert_false(media__round_weights(beyond, 4, rounded));
    assert_false(media__round_weights(below, 4, rounded));
}

/* ---- rotations ------------------------------------------------------------------------------- */

TEST(rotations_are_off_by_little_and_come_back_from_the_filter)
{
    float *exact = unit_vectors(MANY, 4);
    int16_t *rounded = malloc(4 * sizeof *rounded * MANY);
    double worst = 0;
    for (size_t i = 0; i < MANY; i++) { /* one by one: neighbours here are far apart */
        double a[4], b[4];
        assert_true(media__round_rotations(exact + 4 * i, 1, rounded + 4 * i));
        for (size_t k = 0; k < 4; k++) {
            a[k] = (double)exact[4 * i + k];
            b[k] = rounded[4 * i + k];
        }
        worst = fmax(worst, 2 * degrees(a, b, 4));
    }
    assert_true(worst < 0.02);
    assert_string_equal(filtered(rounded, 8 * (size_t)MANY, 8, MEDIA__SHORT), "QUATERNION");
    free(exact);
    free(rounded);
}

TEST(rotations_between_which_the_way_would_turn_stay)
{
    const float half_turn[8] = {0, 0, 0, 1, 1, 0, 0, 0.001F};
    const float quarter[8] = {0, 0, 0, 1, 0.70710678F, 0, 0, 0.70710678F};
    const float no_unit[4] = {0, 0, 0, 0.5F}, zero[4] = {0};
    int16_t rounded[8];
    assert_false(media__round_rotations(half_turn, 2, rounded));
    assert_true(media__round_rotations(quarter, 2, rounded));
    assert_false(media__round_rotations(no_unit, 1, rounded));
    assert_false(media__round_rotations(zero, 1, rounded));
    assert_true(media__round_rotations(quarter, 0, rounded));
}
