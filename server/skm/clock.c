/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

static int64_t base_ms(const rpc_clock *clock)
{
    return rpc_clock_wall_ms(clock) - rpc_clock_monotonic_us(clock) / 1000;
}

void skm_course_init(skm_course *course, const rpc_clock *clock)
{
    course->clock = clock;
    atomic_init(&course->base_ms, base_ms(clock));
}

void skm_course_confirm(skm_course *course)
{
    atomic_store(&course->base_ms, base_ms(course->clock));
}

int64_t skm_course_off_s(const skm_course *course)
{
    return (base_ms(course->clock) - atomic_load(&course->base_ms)) / 1000;
}

bool skm_course_lost(const skm_course *course)
{
    const int64_t off_s = skm_course_off_s(course);
    return off_s > SKM_CLOCK_OFF_MAX_S || off_s < -SKM_CLOCK_OFF_MAX_S;
}
