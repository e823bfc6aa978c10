/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include "test.h"

typedef struct settable {
    int64_t wall_ms, monotonic_us;
} settable;

static int64_t wall_ms(void *ctx)
{
    return ((settable *)ctx)->wall_ms;
}

static int64_t monotonic_us(void *ctx)
{
    return ((settable *)ctx)->monotonic_us;
}

/* Both go on. */
static void pass(settable *s, int64_t seconds)
{
    s->wall_ms += seconds * 1000;
    s->monotonic_us += seconds * 1000000;
}

TEST(clock_that_goes_on_is_on_its_course_for_years)
{
    settable s = {1790000000000, 5000000};
    const rpc_clock clock = {monotonic_us, wall_ms, &s};
    skm_course course;
    skm_course_init(&course, &clock);
    for (int i = 0; i < 3; i++) {
        pass(&s, 365 * 86400);
        assert_int_equal(skm_course_off_s(&course), 0);
        assert_false(skm_course_lost(&course));
    }
}

TEST(clock_that_was_set_is_noticed_both_ways_until_it_is_mended_or_confirmed)
{
    settable s = {1790000000000, 5000000};
    const rpc_clock clock = {monotonic_us, wall_ms, &s};
    skm_course course;
    skm_course_init(&course, &clock);
    for (int sign = -1; sign <= 1; sign += 2) {
        s.wall_ms += sign * SKM_CLOCK_OFF_MAX_S * 1000;
        assert_false(skm_course_lost(&course));
        s.wall_ms += sign * 1000;
        pass(&s, 60);
        assert_true(skm_course_lost(&course));
        assert_int_equal(skm_course_off_s(&course), sign * (SKM_CLOCK_OFF_MAX_S + 1));
        s.wall_ms -= sign * (SKM_CLOCK_OFF_MAX_S + 1) * 1000;
        assert_false(skm_course_lost(&course));
    }
    for (int i = 0; i < 31; i++)
        s.wall_ms += 1000; /* by little steps */
    assert_true(skm_course_lost(&course));
    skm_course_confirm(&course);
    assert_false(skm_course_lost(&course));
    assert_int_equal(skm_course_off_s(&course), 0);
}
