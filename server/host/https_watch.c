/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTPS server tells of its requests: counters and times by route, an access line each.
 * Nothing of a request is in them but its method, route, status and times: no query, no header. */
#include "http_internal.h"

#include <stdio.h>
#include <string.h>

static const char unknown_route[] = "none";

static const char *name_of(const https_route *route)
{
    return route->route.path ? route->route.path : unknown_route;
}

static bool label_is_plain(const char *path)
{
    return strcspn(path, "\"\\\n") == strlen(path);
}

static bool watch_route(host_https *https, https_route *route)
{
    char labels[256];
    const char *name = name_of(route);
    int size = snprintf(labels, sizeof labels, "route=\"%s\"", name);
    if (size < 0 || (size_t)size + 32 >= sizeof labels || !label_is_plain(name))
        return true; /* too odd for a label: it is not counted */
    route->times = host_metrics_histogram(https->metrics, "dacm_http_request_seconds",
        "From a request's headers to its answer's end, by route.", labels);
    return route->times != NULL;
}

bool https__watch_start(host_https *https)
{
    static const char *const names[HTTPS_LIMITS] = {
        [HTTPS_LIMIT_CONNECTIONS] = "limit=\"connections\"",
        [HTTPS_LIMIT_ADDRESS] = "limit=\"connections_per_address\"",
        [HTTPS_LIMIT_REQUEST_TIME] = "limit=\"request_time\"",
        [HTTPS_LIMIT_QUEUE] = "limit=\"queue\"",
        [HTTPS_LIMIT_BODY] = "limit=\"body\"",
        [HTTPS_LIMIT_HEADERS] = "limit=\"headers\"",
        [HTTPS_LIMIT_DRAIN] = "limit=\"drain\"",
    };
    if (!https->metrics)
        return true;
    bool made = watch_route(https, &https->unknown);
    for (size_t i = 0; made && i < https->route_count; i++)
        made = watch_route(https, &https->routes[i]);
    for (size_t i = 0; made && i < HTTPS_LIMITS; i++) {
        https->limits_reached[i] = host_metrics_counter(https->metrics,
            "dacm_http_limit_reached_total", "Limits that HTTP clients reached.", names[i]);
        made = https->limits_reached[i] != NULL;
    }
    return made;
}

void https__limit_reached(host_https *https, https_limit limit)
{
    host_counter_add(https->limits_reached[limit], 1);
}

/* Made when it is first needed: most statuses never are. Two threads get the same one. */
static host_counter *counter_of(host_https *https, https_route *route, unsigned status)
{
    host_counter *counter = atomic_load_explicit(&route->codes[status], memory_order_acquire);
    if (counter)
        return counter;
    char labels[300];
    snprintf(labels, sizeof labels, "route=\"%s\",code=\"%u\"", name_of(route), status);
    counter = host_metrics_counter(https->metrics, "dacm_http_requests_total",
        "Requests by route and status; code 0: the connection ended before the answer did.",
        labels);
    atomic_store_explicit(&route->codes[status], counter, memory_order_release);
    return counter;
}

void https__watch_request(const host_request *request, unsigned status)
{
    host_https *https = request->https;
    if (!request->started_us)
        return; /* its headers never came */
    int64_t us = rpc_clock_monotonic_us(rpc_clock_system()) - request->started_us;
    status = status < HTTPS_STATUSES ? status : 0;
    if (request->route->times) {
        host_counter_add(counter_of(https, request->route, status), 1);
        host_histogram_record(request->route->times, us);
    }
    if (!https->log)
        return;
    const host_field fields[] = {
        host_text("request_id", request->id),
        host_text("method", request->method),
        host_text("route", name_of(request->route)),
        host_number("status", (int64_t)status),
        host_who("peer", request->address),
        host_number("duration_us", us),
    };
    host_log_access(https->log, fields, sizeof fields / sizeof *fields);
}
