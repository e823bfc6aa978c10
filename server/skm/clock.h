/* SPDX-License-Identifier: Apache-2.0 */
/** Notices that the system's clock was set. Keys and key sets live by it, and verifiers refuse sets
 *  that are of the future or have expired, so an operator must hear of a clock that is off. Its
 *  course is taken from the monotonic clock, from the start or the last confirmation on. Any
 * thread. */
#ifndef SKM_CLOCK_H
#define SKM_CLOCK_H

#include "base.h"

#include <stdatomic.h>

#define SKM_CLOCK_OFF_MAX_S 30 /* what verifiers allow for */

typedef struct skm_course {
    const rpc_clock *clock;
    _Atomic int64_t base_ms; /* wall clock when the monotonic one was 0 */
} skm_course;

void skm_course_init(skm_course *course, const rpc_clock *clock);
/** The clock is right as it is now, says the operator. */
void skm_course_confirm(skm_course *course);
/** How far it was set ahead (below 0: back), in seconds, in all. */
int64_t skm_course_off_s(const skm_course *course);
/** Is it further off than verifiers allow for? */
bool skm_course_lost(const skm_course *course);

#endif
