/* SPDX-License-Identifier: Apache-2.0 */
#include "reports.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct dacm_reported {
    dacm_reported *next;
    dacm_reports *reports;
    char *issuer;
    atomic_bool stale; /* written under the lock */
    /* under the lock */
    bool watched, measured;
    int64_t max_us, heard_us; /* monotonic */
    char epoch[DACM_EPOCH_MAX + 1];
    uint64_t applied;
    dacm_report_stream *stream; /* NULL = none */
    bool busy;                  /* a stream, possibly one replaced since, writes */
};

struct dacm_reports {
    dacm_reports_links links;
    dacm_running *running;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closed, stopping;
    dacm_reported *first;
};

static int64_t now_us(const dacm_reports *reports)
{
    return rpc_clock_monotonic_us(reports->links.clock);
}

/* ---- life ---- */

dacm_reports *dacm_reports_new(const dacm_reports_links *links)
{
    dacm_reports *reports = calloc(1, sizeof *reports);
    if (!reports)
        return NULL;
    reports->links = *links;
    pthread_mutex_init(&reports->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&reports->wake, &attr);
    pthread_condattr_destroy(&attr);
    return reports;
}

void dacm_reports_free(dacm_reports *reports)
{
    if (!reports)
        return;
    for (dacm_reported *it = reports->first, *next; it; it = next) {
        next = it->next;
        free(it->issuer);
        free(it);
    }
    pthread_cond_destroy(&reports->wake);
    pthread_mutex_destroy(&reports->lock);
    free(reports);
}

/* ---- issuers ---- */

/* Locked. */
static dacm_reported *find(const dacm_reports *reports, const char *issuer)
{
    dacm_reported *it = reports->first;
    while (it && strcmp(it->issuer, issuer) != 0)
        it = it->next;
    return it;
}

/* Locked. NULL: no memory. */
static dacm_reported *find_or_make(dacm_reports *reports, const char *issuer)
{
    dacm_reported *it = find(reports, issuer);
    if (it)
        return it;
    it = calloc(1, sizeof *it);
    char *name = strdup(issuer);
    if (!it || !name) {
        free(it);
        free(name);
        return NULL;
    }
    it->reports = reports;
    it->issuer = name;
    it->next = reports->first;
    reports->first = it;
    return it;
}

dacm_reported *dacm_reports_find(dacm_reports *reports, const char *issuer)
{
    pthread_mutex_lock(&reports->lock);
    dacm_reported *it = find(reports, issuer);
    pthread_mutex_unlock(&reports->lock);
    return it;
}

const char *dacm_reported_issuer(const dacm_reported *reported)
{
    return reported->issuer;
}

static double age_now(void *ctx)
{
    dacm_reported *reported = ctx;
    pthread_mutex_lock(&reported->reports->lock);
    const int64_t age = now_us(reported->reports) - reported->heard_us;
    pthread_mutex_unlock(&reported->reports->lock);
    return (double)age / 1e6;
}

/* The text format of metrics escapes these in a label's value. */
static void write_label(const char *issuer, char *ret, size_t room)
{
    size_t at = (size_t)snprintf(ret, room, "issuer=\"");
    for (; *issuer && at + 4 < room; issuer++) {
        if (*issuer == '"' || *issuer == '\\')
            ret[at++] = '\\';
        ret[at++] = *issuer;
    }
    snprintf(ret + at, room - at, "\"");
}

/* Without the lock: metrics have one of their own, under which they ask age_now(). */
static void measure(dacm_reported *reported)
{
    char label[512];
    write_label(reported->issuer, label, sizeof label);
    host_metrics_gauge(reported->reports->links.metrics, "dacm_revocations_age_seconds",
        "Since the issuer's SIM-S was last heard and all that it reported applied.", label, age_now,
        reported);
}

rpc_code dacm_reports_attach(dacm_reports *reports, issuers_set *issuers, rpc_status *reterr)
{
    for (size_t i = 0; i < issuers->count; i++) {
        issuers_rule *rule = &issuers->rules[i];
        pthread_mutex_lock(&reports->lock);
        dacm_reported *reported = find_or_make(reports, issuers->issuers[i].issuer);
        bool first = false;
        if (reported) {
            const bool watched = rule->max_staleness_s > 0;
            if (watched && !reported->watched)
                reported->heard_us = now_us(reports);
            first = watched && !reported->measured;
            reported->measured = reported->measured || watched;
            reported->watched = watched;
            reported->max_us = rule->max_staleness_s * 1000000;
            rule->stale = watched ? &reported->stale : NULL;
        }
        pthread_cond_signal(&reports->wake);
        pthread_mutex_unlock(&reports->lock);
        if (!reported)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
        if (first)
            measure(reported);
    }
    return RPC_OK;
}

rpc_code dacm_reports_restore(dacm_reports *reports, const char *issuer, const char *epoch,
    uint64_t sequence, rpc_status *reterr)
{
    pthread_mutex_lock(&reports->lock);
    dacm_reported *reported = find_or_make(reports, issuer);
    if (reported) {
        rpc_text_copy(reported->epoch, sizeof reported->epoch, epoch);
        reported->applied = sequence;
    }
    pthread_mutex_unlock(&reports->lock);
    return reported
               ? RPC_OK
               : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for what was reported");
}

/* ---- silence ---- */

/* Locked. */
static void warn(const dacm_reports *reports)
{
    bool any = false;
    for (const dacm_reported *it = reports->first; it; it = it->next)
        any = any || atomic_load(&it->stale);
    host_health_warn(reports->links.health, "revocations",
        any ? "an issuer does not report its revocations any more, and its tokens are refused "
              "until "
              "it does: see the log and dacm_revocations_age_seconds"
            : NULL);
}

/* Locked. The flag first: whoever sees the new epoch sees it as well. */
static void set_stale(dacm_reported *reported, bool stale)
{
    dacm_reports *reports = reported->reports;
    atomic_store(&reported->stale, stale);
    trust_revocations_touch(reports->links.revocations);
    warn(reports);
    if (stale)
        HOST_LOG(reports->links.log, HOST_WARNING,
            "an issuer was not heard for too long: its tokens are refused until it reports "
            "revocations again",
            host_text("issuer", reported->issuer),
            host_number("max_staleness_s", reported->max_us / 1000000));
    else
        HOST_LOG(reports->links.log, HOST_INFO, "an issuer reports revocations again",
            host_text("issuer", reported->issuer));
}

void dacm_reported_heard(dacm_reported *reported, int64_t as_of_us)
{
    dacm_reports *reports = reported->reports;
    pthread_mutex_lock(&reports->lock);
    if (as_of_us > reported->heard_us)
        reported->heard_us = as_of_us;
    if (atomic_load(&reported->stale) && now_us(reports) <= reported->heard_us + reported->max_us) {
        set_stale(reported, false);
        pthread_cond_signal(&reports->wake);
    }
    pthread_mutex_unlock(&reports->lock);
}

/* Locked. Marks who has become stale; returns when to look again. */
static int64_t look(dacm_reports *reports, bool *ret_changed)
{
    const int64_t now = now_us(reports);
    int64_t next = INT64_MAX;
    for (dacm_reported *it = reports->first; it; it = it->next) {
        if (atomic_load(&it->stale) || !it->watched)
            continue;
        const int64_t end = it->heard_us + it->max_us;
        if (now > end) {
            set_stale(it, true);
            *ret_changed = true;
        } else if (end < next)
            next = end;
    }
    return next;
}

static void *watch(void *arg)
{
    dacm_reports *reports = arg;
    pthread_mutex_lock(&reports->lock);
    while (!reports->stopping) {
        bool changed = false;
        const int64_t next = look(reports, &changed);
        if (changed) {
            pthread_mutex_unlock(&reports->lock);
            dacm_running_recheck(reports->running, NULL);
            pthread_mutex_lock(&reports->lock);
        } else if (next == INT64_MAX)
            pthread_cond_wait(&reports->wake, &reports->lock);
        else { /* a microsecond later it is over */
            const struct timespec until = {
                .tv_sec = (next + 1) / 1000000, .tv_nsec = (next + 1) % 1000000 * 1000};
            pthread_cond_timedwait(&reports->wake, &reports->lock, &until);
        }
    }
    pthread_mutex_unlock(&reports->lock);
    return NULL;
}

rpc_code dacm_reports_start(dacm_reports *reports, dacm_running *running, rpc_status *reterr)
{
    const int64_t now = now_us(reports);
    reports->running = running;
    for (dacm_reported *it = reports->first; it; it = it->next)
        it->heard_us = now; /* reading the store may have taken long */
    reports->started = pthread_create(&reports->thread, NULL, watch, reports) == 0;
    return reports->started ? RPC_OK
                            : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                                  "dacmd: no thread to watch for reports");
}

void dacm_reports_stop(dacm_reports *reports)
{
    if (!reports || !reports->started)
        return;
    pthread_mutex_lock(&reports->lock);
    reports->stopping = true;
    pthread_cond_signal(&reports->wake);
    pthread_mutex_unlock(&reports->lock);
    pthread_join(reports->thread, NULL);
    reports->started = false;
}

/* ---- streams ---- */

/* Locked. */
static void post(dacm_report_stream *stream, rpc_task_fn *fn)
{
    stream->hold(stream->arg);
    rpc_call_post(stream->call, fn, stream->arg);
}

void dacm_reports_close(dacm_reports *reports)
{
    if (!reports)
        return;
    pthread_mutex_lock(&reports->lock);
    reports->closed = true;
    for (dacm_reported *it = reports->first; it; it = it->next)
        if (it->stream)
            post(it->stream, it->stream->closed);
    pthread_mutex_unlock(&reports->lock);
}

void dacm_reported_take(dacm_reported *reported, dacm_report_stream *stream)
{
    dacm_reports *reports = reported->reports;
    pthread_mutex_lock(&reports->lock);
    if (reported->stream)
        post(reported->stream, reported->stream->replaced);
    reported->stream = stream;
    if (reports->closed)
        post(stream, stream->closed);
    else if (!reported->busy)
        post(stream, stream->ready);
    pthread_mutex_unlock(&reports->lock);
}

void dacm_reported_leave(dacm_reported *reported, const dacm_report_stream *stream)
{
    pthread_mutex_lock(&reported->reports->lock);
    if (reported->stream == stream)
        reported->stream = NULL;
    pthread_mutex_unlock(&reported->reports->lock);
}

uint64_t dacm_reported_position(dacm_reported *reported, char ret_epoch[DACM_EPOCH_MAX + 1])
{
    pthread_mutex_lock(&reported->reports->lock);
    memcpy(ret_epoch, reported->epoch, sizeof reported->epoch);
    const uint64_t applied = reported->applied;
    pthread_mutex_unlock(&reported->reports->lock);
    return applied;
}

bool dacm_reported_begin(dacm_reported *reported, const dacm_report_stream *stream)
{
    pthread_mutex_lock(&reported->reports->lock);
    const bool mine = reported->stream == stream;
    if (mine)
        reported->busy = true;
    pthread_mutex_unlock(&reported->reports->lock);
    return mine;
}

void dacm_reported_end(
    dacm_reported *reported, const dacm_report_stream *stream, const char *epoch, uint64_t sequence)
{
    pthread_mutex_lock(&reported->reports->lock);
    if (epoch) {
        rpc_text_copy(reported->epoch, sizeof reported->epoch, epoch);
        reported->applied = sequence;
    }
    reported->busy = false;
    if (reported->stream && reported->stream != stream) /* it waits */
        post(reported->stream, reported->stream->ready);
    pthread_mutex_unlock(&reported->reports->lock);
}
