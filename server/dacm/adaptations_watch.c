/* SPDX-License-Identifier: Apache-2.0 */
#include "adaptations_watch.h"

static double running_now(void *ctx)
{
    media_workers_stats stats;
    media_workers_get_stats(ctx, &stats);
    return stats.running;
}

static double queued_now(void *ctx)
{
    media_workers_stats stats;
    media_workers_get_stats(ctx, &stats);
    return stats.queued;
}

static double runs_now(void *ctx)
{
    media_workers_stats stats;
    media_workers_get_stats(ctx, &stats);
    return stats.helper_missing ? 0 : 1;
}

void dacm_adaptations_count(
    media_workers *workers, host_metrics *metrics, dacm_adaptations_counts *ret)
{
    static const char name[] = "dacm_adaptations_total";
    static const char help[] =
        "Variants that were to be made: made; failed (the log says why); left (nobody waited any "
        "more); refused for overload.";
    ret->made = host_metrics_counter(metrics, name, help, "result=\"made\"");
    ret->failed = host_metrics_counter(metrics, name, help, "result=\"failed\"");
    ret->left = host_metrics_counter(metrics, name, help, "result=\"left\"");
    ret->refused = host_metrics_counter(metrics, name, help, "result=\"refused\"");
    ret->joined = host_metrics_counter(metrics, "dacm_adaptations_joined_total",
        "Downloads that waited for a variant which another had asked for.", NULL);
    ret->took = host_metrics_histogram(metrics, "dacm_adaptation_seconds",
        "Processor time of the adaptations that succeeded.", NULL);
    host_metrics_gauge(
        metrics, "dacm_adaptations_running", "Media workers at work.", NULL, running_now, workers);
    host_metrics_gauge(metrics, "dacm_adaptations_possible",
        "0 while the program dacm-media cannot be started, else 1.", NULL, runs_now, workers);
    host_metrics_gauge(metrics, "dacm_adaptations_queued", "Adaptations that wait for a worker.",
        NULL, queued_now, workers);
}

void dacm_adaptations_warn(media_workers *workers, host_health *health)
{
    media_workers_stats stats;
    media_workers_get_stats(workers, &stats);
    const char *missing = "dacm-media cannot be started, so nothing is adapted; the log says why "
                          "(media.program)";
    const char *bare = "the kernel has no landlock: the filter of system calls alone shuts in who "
                       "parses avatars";
    host_health_warn(health, "media",
        stats.helper_missing  ? missing
        : stats.landlock == 0 ? bare
                              : NULL);
}
