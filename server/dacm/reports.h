/* SPDX-License-Identifier: Apache-2.0 */
/** What each issuer's SIM-S has reported: how far, by which stream, and when it was last heard.
 *
 *  An issuer with `revocations: report` that is silent for longer than its max_staleness_s, or
 *  heard only about times before that, is stale: whether its tokens were revoked since, nobody
 * knows, and they are answered UNAVAILABLE. A request reads one flag, which its issuer's rule
 * points to; when a flag changes, remembered decisions end (trust_revocations_touch()) and running
 * downloads are decided again. Any thread.
 *
 *  LOCKS: one for all of it, held for short; nothing of ours is called under it but
 *  rpc_call_post(), the log and health. */
#ifndef DACM_REPORTS_H
#define DACM_REPORTS_H

#include "issuers.h"
#include "running.h"

#define DACM_EPOCH_MAX 64u

typedef struct dacm_reports dacm_reports;
/** One issuer; lives as long as the dacm_reports. */
typedef struct dacm_reported dacm_reported;

typedef struct dacm_reports_links {
    const rpc_clock *clock;
    trust_revocations *revocations;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
} dacm_reports_links;

/** NULL when memory is short. */
RPC_MUST_USE dacm_reports *dacm_reports_new(const dacm_reports_links *links);
/** Begins to watch for silence. RESOURCE_EXHAUSTED: no thread. */
RPC_MUST_USE rpc_code dacm_reports_start(
    dacm_reports *reports, dacm_running *running, rpc_status *reterr);
/** Ends the streams (UNAVAILABLE) and takes no more. Watches on. */
void dacm_reports_close(dacm_reports *reports);
/** NULL is allowed. */
void dacm_reports_stop(dacm_reports *reports);
void dacm_reports_free(dacm_reports *reports);

/** Gives the rules of issuers their flags. An issuer that must report from now on has its
 *  max_staleness_s to be heard. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_reports_attach(
    dacm_reports *reports, issuers_set *issuers, rpc_status *reterr);
/** Where it stood when the store was closed. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dacm_reports_restore(dacm_reports *reports, const char *issuer,
    const char *epoch, uint64_t sequence, rpc_status *reterr);

/** NULL: no such issuer was ever configured. */
dacm_reported *dacm_reports_find(dacm_reports *reports, const char *issuer);
const char *dacm_reported_issuer(const dacm_reported *reported);
/** All that was revoked at that time (of the monotonic clock) is applied. */
void dacm_reported_heard(dacm_reported *reported, int64_t as_of_us);

/** A stream; embed it. Functions are posted to call, each time between hold and the function's own
 *  end, which gives back what hold took. */
typedef struct dacm_report_stream {
    rpc_call *call;
    void (*hold)(void *arg);
    rpc_task_fn *ready;    /* it is its turn: dacm_reported_position() */
    rpc_task_fn *replaced; /* a newer one took over */
    rpc_task_fn *closed;   /* dacm_reports_close() */
    void *arg;
} dacm_report_stream;

/** Takes over from the stream that there is. ready is posted once that has nothing under way, and
 *  closed where dacm_reports_close() was called. */
void dacm_reported_take(dacm_reported *reported, dacm_report_stream *stream);
/** It is over; possibly for the second time. */
void dacm_reported_leave(dacm_reported *reported, const dacm_report_stream *stream);
/** Where the issuer stands; "" and 0: nothing was ever reported. */
uint64_t dacm_reported_position(dacm_reported *reported, char ret_epoch[DACM_EPOCH_MAX + 1]);
/** The stream begins to write. False: it was replaced meanwhile, and must not. */
bool dacm_reported_begin(dacm_reported *reported, const dacm_report_stream *stream);
/** It has written: the position is the store's. epoch NULL: it could not. */
void dacm_reported_end(dacm_reported *reported, const dacm_report_stream *stream, const char *epoch,
    uint64_t sequence);

#endif
