/* SPDX-License-Identifier: Apache-2.0 */
/* What a server tells of its calls: request ID and access line of each; and what librpc counts, as
 * metrics. Nothing is counted here that librpc counts. */
#include "host.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 10u /* a second of one reason: a flood of refusals is no flood of lines */

/* Log lines of one reason in the second that began at start_us. */
struct lines {
    int64_t start_us;
    unsigned written, dropped;
};

struct host_rpc {
    host_log *log;
    host_metrics *metrics;
    const rpc_clock *clock;
    const rpc_server *server; /* NULL until host_rpc_show() */
    pthread_mutex_t lines_lock;
    struct lines lines[RPC_EVENT_KINDS + RPC_LIMIT_KINDS]; /* (lines_lock) */
};

host_rpc *host_rpc_new(host_log *log, host_metrics *metrics, const rpc_clock *clock)
{
    host_rpc *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->log = log;
    watch->metrics = metrics;
    watch->clock = clock;
    pthread_mutex_init(&watch->lines_lock, NULL);
    return watch;
}

void host_rpc_free(host_rpc *watch)
{
    if (!watch)
        return;
    pthread_mutex_destroy(&watch->lines_lock);
    free(watch);
}

/* ---- metrics ------------------------------------------------------------------------------- */

/* "unknown": of calls that found no method. */
static const char *method_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : "unknown";
}

static void add_stats(rpc_call_stats *sum, const rpc_call_stats *more)
{
    sum->started += more->started;
    for (size_t i = 0; i < RPC_CODES; i++)
        sum->ended[i] += more->ended[i];
    for (size_t i = 0; i < RPC_LATENCY_CELLS; i++)
        sum->latency[i] += more->latency[i];
    sum->latency_sum_us += more->latency_sum_us;
}

/* Of all methods so named (reflection v1 and v1alpha), at the first of them; false at the others.
 */
static bool stats_by_name(
    const rpc_server *server, size_t index, const char *name, rpc_call_stats *ret)
{
    const char *path;
    rpc_call_stats one;
    for (size_t i = 0; i < index; i++)
        if (rpc_server_method_stats(server, i, &path, NULL) && strcmp(method_name(path), name) == 0)
            return false;
    *ret = (rpc_call_stats){0};
    for (size_t i = index; rpc_server_method_stats(server, i, &path, NULL); i++)
        if (strcmp(method_name(path), name) == 0 && rpc_server_method_stats(server, i, &path, &one))
            add_stats(ret, &one);
    return true;
}

/* Methods that were never called have no series yet. */
static void each_method(const host_rpc *watch, host_samples *samples,
    void (*give)(host_samples *samples, const char *name, const rpc_call_stats *stats))
{
    const char *path;
    rpc_call_stats stats;
    for (size_t i = 0; rpc_server_method_stats(watch->server, i, &path, NULL); i++)
        if (stats_by_name(watch->server, i, method_name(path), &stats) &&
            (stats.started > 0 || !*path))
            give(samples, method_name(path), &stats);
}

static void give_calls(host_samples *samples, const char *name, const rpc_call_stats *stats)
{
    char labels[256];
    for (unsigned code = 0; code < RPC_CODES; code++) {
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\"", name,
            rpc_code_name((rpc_code)code));
        host_sample_count(samples, labels, stats->ended[code]);
    }
}

static void calls(void *ctx, host_samples *samples)
{
    each_method(ctx, samples, give_calls);
}

static void give_latency(host_samples *samples, const char *name, const rpc_call_stats *stats)
{
    char labels[256];
    snprintf(labels, sizeof labels, "method=\"%s\"", name);
    host_sample_latency(samples, labels, stats);
}

static void call_seconds(void *ctx, host_samples *samples)
{
    each_method(ctx, samples, give_latency);
}

static void received(void *ctx, host_samples *samples)
{
    const host_rpc *watch = ctx;
    host_sample_count(samples, NULL, rpc_server_get_stats(watch->server).bytes_received);
}

static void sent(void *ctx, host_samples *samples)
{
    const host_rpc *watch = ctx;
    host_sample_count(samples, NULL, rpc_server_get_stats(watch->server).bytes_sent);
}

static void connection_events(void *ctx, host_samples *samples)
{
    static const char *const kinds[RPC_EVENT_KINDS] = {
        [RPC_EVENT_ACCEPTED] = "kind=\"accepted\"",
        [RPC_EVENT_HANDSHAKE_FAILED] = "kind=\"handshake_failed\"",
        [RPC_EVENT_REFUSED] = "kind=\"refused\"",
        [RPC_EVENT_PROTOCOL_ERROR] = "kind=\"protocol_error\"",
        [RPC_EVENT_TIMEOUT] = "kind=\"timeout\"",
        [RPC_EVENT_CLOSED] = "kind=\"closed\"",
        [RPC_EVENT_LIMIT] = "kind=\"limit\"",
        [RPC_EVENT_CERTIFICATE_ENDED] = "kind=\"certificate_ended\"",
    };
    const host_rpc *watch = ctx;
    rpc_server_stats stats = rpc_server_get_stats(watch->server);
    for (unsigned i = 0; i < RPC_EVENT_KINDS; i++)
        host_sample_count(samples, kinds[i], stats.events[i]);
}

static void limits_reached(void *ctx, host_samples *samples)
{
    const host_rpc *watch = ctx;
    rpc_server_stats stats = rpc_server_get_stats(watch->server);
    char label[64];
    for (unsigned i = RPC_LIMIT_NONE + 1; i < RPC_LIMIT_KINDS; i++) {
        snprintf(label, sizeof label, "limit=\"%s\"", rpc_limit_name((rpc_limit_kind)i));
        host_sample_count(samples, label, stats.limits[i]);
    }
}

void host_rpc_show(host_rpc *watch, const rpc_server *server)
{
    host_metrics *metrics = watch->metrics;
    watch->server = server;
    host_metrics_counters(
        metrics, "dacm_calls_total", "Calls that ended, by method and status.", calls, watch);
    host_metrics_latencies(
        metrics, "dacm_call_seconds", "From a call's start to its end.", call_seconds, watch);
    host_metrics_counters(
        metrics, "dacm_received_bytes_total", "Bytes of messages received.", received, watch);
    host_metrics_counters(metrics, "dacm_sent_bytes_total", "Bytes of messages sent.", sent, watch);
    host_metrics_counters(metrics, "dacm_connection_events_total", "What happened to connections.",
        connection_events, watch);
    host_metrics_counters(
        metrics, "dacm_limit_reached_total", "Limits that peers reached.", limits_reached, watch);
}

/* ---- calls --------------------------------------------------------------------------------- */

static rpc_code on_start(void *ctx, rpc_call *call, rpc_status *reterr)
{
    host_rpc *watch = ctx;
    char *id = rpc_arena_alloc(rpc_call_arena(call), HOST_REQUEST_ID_CHARS + 1);
    if (!id)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory; try again later");
    host_request_id(watch->clock, id);
    rpc_call_set_trace(call, id, NULL);
    return RPC_OK;
}

const char *host_rpc_request_id(const rpc_call *call)
{
    const char *id = rpc_call_trace(call);
    return id ? id : "";
}

static void on_end(void *ctx, rpc_call *call, const rpc_status *status)
{
    host_rpc *watch = ctx;
    const ProtobufCMethodDescriptor *descriptor = rpc_call_method(call);
    uint64_t bytes_received = 0, bytes_sent = 0;
    rpc_call_counts(call, &bytes_received, &bytes_sent);
    const host_field fields[] = {
        host_text("request_id", host_rpc_request_id(call)),
        host_text("method", descriptor ? descriptor->name : "unknown"),
        host_text("status", rpc_code_name(status->code)),
        host_text("listener", rpc_call_listener(call)),
        host_text("peer", rpc_call_peer(call)->address),
        host_number("duration_us", rpc_call_ended_us(call) - rpc_call_started_us(call)),
        host_number("received_bytes", (int64_t)bytes_received),
        host_number("sent_bytes", (int64_t)bytes_sent),
    };
    host_log_access(watch->log, fields, sizeof fields / sizeof *fields);
}

rpc_interceptor host_rpc_interceptor(host_rpc *watch)
{
    return (rpc_interceptor){.on_start = on_start, .on_end = on_end, .ctx = watch};
}

/* ---- connections --------------------------------------------------------------------------- */

/* True: write one, and say that *ret_dropped before it were not. */
static bool take_line(host_rpc *watch, const rpc_event *event, unsigned *ret_dropped)
{
    size_t reason = event->limit == RPC_LIMIT_NONE ? (size_t)event->kind
                                                   : RPC_EVENT_KINDS + (size_t)event->limit;
    struct lines *lines = &watch->lines[reason];
    int64_t now = rpc_clock_monotonic_us(watch->clock);
    pthread_mutex_lock(&watch->lines_lock);
    if (now - lines->start_us >= 1000000) {
        lines->start_us = now;
        lines->written = 0;
    }
    bool write = lines->written < LINES_MAX;
    if (write) {
        lines->written++;
        *ret_dropped = lines->dropped;
        lines->dropped = 0;
    } else {
        lines->dropped++;
    }
    pthread_mutex_unlock(&watch->lines_lock);
    return write;
}

void host_rpc_event(void *ctx, const rpc_event *event)
{
    host_rpc *watch = ctx;
    unsigned dropped = 0;
    if (event->kind == RPC_EVENT_ACCEPTED || event->kind == RPC_EVENT_CLOSED ||
        !take_line(watch, event, &dropped))
        return;
    const host_field fields[] = {
        host_text("listener", event->listener),
        host_text("peer", event->address),
        host_text("detail", event->detail),
        host_text("limit", rpc_limit_name(event->limit)),
        host_number("lines_dropped", (int64_t)dropped),
    };
    host_log_access(watch->log, fields, sizeof fields / sizeof *fields);
}
