/* SPDX-License-Identifier: Apache-2.0 */
/** What an operator sees of adaptations: metrics, and what health warns of. */
#ifndef DACM_ADAPTATIONS_WATCH_H
#define DACM_ADAPTATIONS_WATCH_H

#include "host.h"
#include "media_worker.h"

typedef struct dacm_adaptations_counts {
    host_counter *made, *failed, *left, *joined, *refused;
    host_histogram *took;
} dacm_adaptations_counts;

/** Adds what is counted, and what workers say of themselves each time that metrics are read: until
 *  workers are stopped. */
void dacm_adaptations_count(
    media_workers *workers, host_metrics *metrics, dacm_adaptations_counts *ret);
/** Warns of workers that cannot be started, or that the kernel shuts in less than it could. */
void dacm_adaptations_warn(media_workers *workers, host_health *health);

#endif
