/* SPDX-License-Identifier: Apache-2.0 */
/* What a server tells of its calls: request ID, counters by method and code, times, access line.
 * Methods are known by their descriptor's address, so that a call costs no look-up by name. */
#include "host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define METHODS_MAX 128u
#define CODES       17u
#define LINES_MAX   10u /* a second of one reason: a flood of refusals is no flood of lines */

struct method {
    _Atomic(const void *) key; /* NULL = free */
    host_counter *codes[CODES];
    host_histogram *times;
};

/* Log lines of one reason in the second that began at start_us. */
struct lines {
    int64_t start_us;
    unsigned written, dropped;
};

struct host_rpc {
    host_log *log;
    host_metrics *metrics;
    const rpc_clock *clock;
    pthread_mutex_t lock; /* for new methods */
    struct method methods[METHODS_MAX];
    struct method unknown;
    host_counter *events[RPC_EVENT_KINDS], *limits[RPC_LIMIT_KINDS];
    pthread_mutex_t lines_lock;
    struct lines lines[RPC_EVENT_KINDS + RPC_LIMIT_KINDS]; /* (lines_lock) */
    host_counter *received, *sent;
};

static void fill_method(host_rpc *watch, struct method *method, const char *name)
{
    char labels[256];
    for (unsigned code = 0; code < CODES; code++) {
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\"", name,
            rpc_code_name((rpc_code)code));
        method->codes[code] = host_metrics_counter(
            watch->metrics, "dacm_calls_total", "Calls that ended, by method and status.", labels);
    }
    snprintf(labels, sizeof labels, "method=\"%s\"", name);
    method->times = host_metrics_histogram(
        watch->metrics, "dacm_call_seconds", "From a call's start to its end.", labels);
}

static struct method *add_method(host_rpc *watch, const ProtobufCMethodDescriptor *descriptor)
{
    struct method *method = NULL;
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < METHODS_MAX && !method; i++) {
        const void *key = atomic_load_explicit(&watch->methods[i].key, memory_order_relaxed);
        if (key == descriptor)
            method = &watch->methods[i];
        else if (!key) {
            method = &watch->methods[i];
            fill_method(watch, method, descriptor->name);
            atomic_store_explicit(&method->key, descriptor, memory_order_release);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return method ? method : &watch->unknown;
}

static struct method *find_method(host_rpc *watch, const ProtobufCMethodDescriptor *descriptor)
{
    if (!descriptor)
        return &watch->unknown;
    for (size_t i = 0; i < METHODS_MAX; i++) {
        const void *key = atomic_load_explicit(&watch->methods[i].key, memory_order_acquire);
        if (key == descriptor)
            return &watch->methods[i];
        if (!key)
            break;
    }
    return add_method(watch, descriptor);
}

host_rpc *host_rpc_new(host_log *log, host_metrics *metrics, const rpc_clock *clock)
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
    host_rpc *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->log = log;
    watch->metrics = metrics;
    watch->clock = clock;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_mutex_init(&watch->lines_lock, NULL);
    fill_method(watch, &watch->unknown, "unknown");
    for (unsigned i = 0; i < RPC_EVENT_KINDS; i++)
        watch->events[i] = host_metrics_counter(
            metrics, "dacm_connection_events_total", "What happened to connections.", kinds[i]);
    for (unsigned i = RPC_LIMIT_NONE + 1; i < RPC_LIMIT_KINDS; i++) {
        char label[64];
        snprintf(label, sizeof label, "limit=\"%s\"", rpc_limit_name((rpc_limit_kind)i));
        watch->limits[i] = host_metrics_counter(
            metrics, "dacm_limit_reached_total", "Limits that peers reached.", label);
    }
    watch->received = host_metrics_counter(
        metrics, "dacm_received_bytes_total", "Bytes of messages received.", NULL);
    watch->sent = host_metrics_counter(
        metrics, "dacm_sent_bytes_total", "Bytes of messages sent.", NULL);
    return watch;
}

void host_rpc_free(host_rpc *watch)
{
    if (!watch)
        return;
    pthread_mutex_destroy(&watch->lock);
    pthread_mutex_destroy(&watch->lines_lock);
    free(watch);
}

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
    struct method *method = find_method(watch, descriptor);
    int64_t us = rpc_clock_monotonic_us(watch->clock) - rpc_call_started_us(call);
    uint64_t received = 0, sent = 0;
    rpc_call_counts(call, &received, &sent);
    host_counter_add(method->codes[(unsigned)status->code % CODES], 1);
    host_histogram_record(method->times, us);
    host_counter_add(watch->received, received);
    host_counter_add(watch->sent, sent);
    const host_field fields[] = {
        host_text("request_id", host_rpc_request_id(call)),
        host_text("method", descriptor ? descriptor->name : "unknown"),
        host_text("status", rpc_code_name(status->code)),
        host_text("listener", rpc_call_listener(call)),
        host_text("peer", rpc_call_peer(call)->address),
        host_number("duration_us", us),
        host_number("received_bytes", (int64_t)received),
        host_number("sent_bytes", (int64_t)sent),
    };
    host_log_access(watch->log, fields, sizeof fields / sizeof *fields);
}

rpc_interceptor host_rpc_interceptor(host_rpc *watch)
{
    return (rpc_interceptor){.on_start = on_start, .on_end = on_end, .ctx = watch};
}

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
    host_counter_add(watch->events[event->kind], 1);
    if (event->limit != RPC_LIMIT_NONE)
        host_counter_add(watch->limits[event->limit], 1);
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
