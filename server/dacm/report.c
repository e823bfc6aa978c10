/* SPDX-License-Identifier: Apache-2.0 */
/* TokenStatus.Report: the revocations of one issuer, told by its SIM-S.
 *
 *   start ─▶ its turn ─▶ where we stand ─▶ requests wait ─▶ a batch: table, store ─▶ audit ─┐
 *                                              ▲  └─ heartbeats: answered                    │
 *                                              └──────────────── answered ◀──────────────────┘
 *
 * Requests stay unread messages until they are taken, so that their bytes count against the
 * SIM-S's window while the store works: what one stream may cost is bounded. One batch is one
 * transaction of the issuer's group, its revocations together with the position behind them. */
#include "peers.h"

#include "reports.h"
#include "revoked.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 256u
#define METHOD    "Report"

typedef struct waiting {
    struct waiting *next;
    rpc_message *message;
} waiting;

typedef struct reporting {
    atomic_uint refs;
    dacm_service *service;
    rpc_call *call;
    dacm_access access;
    store_executor executor;
    dacm_reported *reported;
    dacm_report_stream stream;
    uint64_t trust_version; /* of the issuers that said whose SIM-S this is */
    waiting *head, **tail;
    bool ready, applying, moved, over, half_closed, answer_due;
    unsigned taken; /* revocations of the batch */
    int64_t began_us;
    uint64_t mark; /* the newest that a heartbeat brought; not counted yet; 0 = none */
    /* where the issuer will stand when the batch is applied; where it stands between batches */
    char epoch[DACM_EPOCH_MAX + 1];
    uint64_t sequence;
} reporting;

static void pump(reporting *r);

static void hold(void *arg)
{
    reporting *r = arg;
    atomic_fetch_add(&r->refs, 1);
}

static void drop(reporting *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    dacm_access_done(&r->access);
    rpc_call_unref(r->call);
    free(r);
}

static void pop(reporting *r)
{
    waiting *first = r->head;
    r->head = first->next;
    if (!r->head)
        r->tail = &r->head;
    rpc_message_release(first->message);
    free(first);
}

static void leave(reporting *r)
{
    r->over = true;
    while (r->head)
        pop(r);
    if (r->reported)
        dacm_reported_leave(r->reported, &r->stream);
}

static void end(reporting *r, const rpc_status *status)
{
    if (r->over)
        return;
    leave(r);
    if (r->reported)
        HOST_LOG(r->service->log, status->code == RPC_OK ? HOST_INFO : HOST_WARNING,
            "reports: the stream of an issuer's SIM-S ends",
            host_text("issuer", dacm_reported_issuer(r->reported)),
            host_text("status", rpc_code_name(status->code)), host_text("why", status->message));
    dacm_access_finish(&r->access, status);
}

static void fail(reporting *r, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    end(r, &status);
}

/* ---- what is answered ---- */

/* The marks of a stream: microseconds since it began, from 1 on. */
static uint64_t mark_now(const reporting *r)
{
    return (uint64_t)(rpc_clock_monotonic_us(r->service->clock) - r->began_us) + 1;
}

/* All that was taken is applied: the SIM-S was heard as of the mark. */
static void heard(reporting *r)
{
    if (r->mark)
        dacm_reported_heard(r->reported, r->began_us + (int64_t)r->mark - 1);
    r->mark = 0;
}

static void answer(reporting *r)
{
    Dacm__V1__ReportResponse response = DACM__V1__REPORT_RESPONSE__INIT;
    response.epoch = r->epoch;
    response.applied_sequence = r->sequence;
    response.mark = mark_now(r);
    r->answer_due = rpc_call_send_packed(r->call, &response.base) == RPC_SENT_BUSY;
}

/* ---- what is reported ---- */

static bool epoch_valid(const char *epoch)
{
    const size_t size = strlen(epoch);
    return size >= 1 && size <= DACM_EPOCH_MAX && rpc_printable_run(rpc_bytes_str(epoch)) == size;
}

static rpc_code gap(const reporting *r, uint64_t next, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "sequence: something is missing; the next of epoch '%s' is %llu: send from there, or say "
        "`expired` for those that have",
        r->epoch, (unsigned long long)next);
}

static rpc_code read_revocation(const reporting *r, const Dacm__V1__ReportRequest__Revocation *from,
    int64_t now, trust_revocation *ret, rpc_status *reterr)
{
    *ret = (trust_revocation){.issuer = dacm_reported_issuer(r->reported)};
    if (from->what_case == DACM__V1__REPORT_REQUEST__REVOCATION__WHAT_JTI)
        ret->jti = from->jti;
    else if (from->what_case == DACM__V1__REPORT_REQUEST__REVOCATION__WHAT_SUBJECT)
        ret->subject = from->subject;
    const char *name = ret->jti ? ret->jti : ret->subject;
    if (!name || !name[0] || strlen(name) > DACM_REVOKED_NAME_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "revocation.what: name a jti or a subject, of 1 to %u bytes", DACM_REVOKED_NAME_MAX);
    if (from->issued_until < 0 || from->issued_until > DACM_EXPIRES_MAX || from->expires_at < 0 ||
        from->expires_at > DACM_EXPIRES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "revocation: times are seconds since 1970, at most %lld", (long long)DACM_EXPIRES_MAX);
    if (ret->subject)
        ret->issued_until = from->issued_until;
    ret->expires_at = dacm_revocation_end(now, ret->issued_until);
    return RPC_OK;
}

static rpc_code take_revocation(
    reporting *r, const Dacm__V1__ReportRequest *request, dacm_changes *changes, rpc_status *reterr)
{
    const int64_t now = rpc_clock_wall_ms(r->service->clock) / 1000;
    trust_revocation revocation;
    rpc_code code = read_revocation(r, request->revocation, now, &revocation, reterr);
    if (code == RPC_OK) /* refused from now on; the answer waits for the store */
        code = trust_revocations_add(r->service->trust->revocations, &revocation, now, reterr);
    if (code != RPC_OK)
        return code;
    dacm_put_revocation(changes, &revocation, DACM_BY_SIMS, now);
    r->taken++;
    return RPC_OK;
}

static rpc_code take_heartbeat(
    reporting *r, const Dacm__V1__ReportRequest *request, uint64_t at, rpc_status *reterr)
{
    const uint64_t mark = request->heartbeat->mark;
    if (mark > mark_now(r))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "heartbeat.mark: that of the last response that was read on this stream");
    if (request->sequence > at)
        return gap(r, at + 1, reterr);
    if (request->sequence < at)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "sequence: epoch '%s' was at %llu already, and what comes after %llu would be taken "
            "for "
            "a repetition; a store that was restored from a copy needs a new epoch",
            r->epoch, (unsigned long long)at, (unsigned long long)request->sequence);
    r->mark = mark > r->mark ? mark : r->mark;
    return RPC_OK;
}

/* Nothing has changed when it fails. */
static rpc_code take(
    reporting *r, const Dacm__V1__ReportRequest *request, dacm_changes *changes, rpc_status *reterr)
{
    const bool same = strcmp(request->epoch, r->epoch) == 0;
    uint64_t at = same ? r->sequence : 0;
    rpc_code code = RPC_OK;
    if (!epoch_valid(request->epoch))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "epoch: 1 to %u printable ASCII characters", DACM_EPOCH_MAX);
    switch (request->what_case) {
    case DACM__V1__REPORT_REQUEST__WHAT_HEARTBEAT:
        code = take_heartbeat(r, request, at, reterr);
        break;
    case DACM__V1__REPORT_REQUEST__WHAT_EXPIRED:
        at = request->sequence > at ? request->sequence : at;
        break;
    case DACM__V1__REPORT_REQUEST__WHAT_REVOCATION:
        if (request->sequence > at + 1)
            code = gap(r, at + 1, reterr);
        else if (request->sequence == at + 1) {
            code = take_revocation(r, request, changes, reterr);
            at++;
        } /* else: a repetition */
        break;
    default:
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "what: a revocation, a heartbeat or expired is required");
    }
    if (code != RPC_OK)
        return code;
    r->moved = r->moved || !same || at != r->sequence;
    rpc_text_copy(r->epoch, sizeof r->epoch, request->epoch);
    r->sequence = at;
    r->answer_due = true;
    return RPC_OK;
}

/* As many of those that wait as make a batch. The first that is wrong stays where it is: when what
 * came before it is applied, it is found again. */
static rpc_code take_batch(reporting *r, dacm_changes *changes, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    r->taken = 0;
    r->moved = false;
    while (r->head && code == RPC_OK && r->taken < BATCH_MAX) {
        ProtobufCMessage *request = NULL;
        code = rpc_message_unpack(
            r->head->message, &dacm__v1__report_request__descriptor, &request, reterr);
        if (code == RPC_OK)
            code = take(r, (const Dacm__V1__ReportRequest *)request, changes, reterr);
        if (code == RPC_OK)
            pop(r);
    }
    return code;
}

/* ---- a batch is applied ---- */

static void audited(void *arg, const rpc_status *status)
{
    reporting *r = arg;
    r->applying = false;
    if (status->code != RPC_OK)
        end(r, status);
    else if (!r->over) {
        answer(r);
        pump(r);
    }
    drop(r);
}

static void stored(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    reporting *r = arg;
    const bool ok = status->code == RPC_OK;
    dacm_reported_end(r->reported, &r->stream, ok ? r->epoch : NULL, r->sequence);
    if (r->taken > 0) /* also where the store failed: they are refused already */
        dacm_running_recheck(r->service->running, NULL);
    if (!ok) {
        r->applying = false;
        end(r, dacm_store_status(r->service, "record of reported revocations", status));
        drop(r);
        return;
    }
    heard(r);
    if (r->taken > 0)
        dacm_access_record(
            &r->access, "", RPC_OK, "revocations reported by the issuer's SIM-S", audited, r);
    else
        audited(r, status);
}

static void apply(reporting *r, dacm_changes *changes)
{
    Dacm__Records__ReportPosition position = DACM__RECORDS__REPORT_POSITION__INIT;
    const char *issuer = dacm_reported_issuer(r->reported);
    if (!dacm_reported_begin(r->reported, &r->stream)) { /* the newer stream is sent it again */
        dacm_changes_done(changes);
        return;
    }
    position.issuer = (char *)(uintptr_t)issuer;
    position.epoch = r->epoch;
    position.sequence = r->sequence;
    dacm_changes_put(changes, dacm_key_report_position(), &position.base);
    r->applying = true;
    hold(r);
    dacm_changes_apply(changes, r->service->store, &r->executor, dacm_key_revocations(issuer),
        STORE_ANY_GENERATION, stored, r);
}

/* NULL: the certificate is no SIM-S's, or those of two issuers. */
static dacm_reported *whose(dacm_service *service, const rpc_call *call)
{
    char issuer[1025];
    return dacm_caller_issuer(service, call, issuer, sizeof issuer)
               ? dacm_reports_find(service->trust->reports, issuer)
               : NULL;
}

/* The configuration may have been read again since the stream began. */
static bool still_bound(reporting *r)
{
    const uint64_t version = dacm_trust_version(r->service->trust);
    if (version == r->trust_version)
        return true;
    r->trust_version = version;
    return whose(r->service, r->call) == r->reported;
}

static void pump(reporting *r)
{
    if (!r->ready || r->applying || r->over)
        return;
    if (r->head && !still_bound(r)) {
        fail(r, RPC_PERMISSION_DENIED, "this certificate no longer speaks for the issuer");
        return;
    }
    dacm_changes changes = {0};
    rpc_status wrong = {.code = RPC_OK};
    const rpc_code code = take_batch(r, &changes, &wrong);
    if (r->moved) {
        apply(r, &changes);
        return;
    }
    dacm_changes_done(&changes);
    if (r->answer_due) { /* heartbeats, repetitions: all that was sent is applied */
        heard(r);
        answer(r);
    }
    if (code != RPC_OK)
        end(r, &wrong);
    else if (r->half_closed && !r->head)
        end(r, &(rpc_status){.code = RPC_OK});
}

/* ---- turns ---- */

static void on_ready(void *arg)
{
    reporting *r = arg;
    if (!r->over) {
        r->sequence = dacm_reported_position(r->reported, r->epoch);
        r->ready = true;
        HOST_LOG(r->service->log, HOST_INFO, "reports: an issuer's SIM-S is connected",
            host_text("issuer", dacm_reported_issuer(r->reported)), host_text("epoch", r->epoch),
            host_number("applied", (int64_t)r->sequence));
        answer(r);
        pump(r);
    }
    drop(r);
}

static void on_replaced(void *arg)
{
    reporting *r = arg;
    fail(r, RPC_ABORTED, "a newer stream of this issuer took over");
    drop(r);
}

static void on_closed(void *arg)
{
    reporting *r = arg;
    fail(r, RPC_UNAVAILABLE, "the server is stopping; report again when it is back");
    drop(r);
}

/* ---- the call ---- */

static void refused(void *arg, const rpc_status *status)
{
    reporting *r = arg;
    rpc_status denied;
    rpc_status_set(&denied, RPC_PERMISSION_DENIED,
        "this method is not for you; the operator can look up request %s", r->access.request_id);
    end(r, status->code == RPC_OK ? &denied : status);
    drop(r);
}

static void on_start(rpc_call *call, void *user)
{
    reporting *r = calloc(1, sizeof *r);
    if (!r) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, METHOD ": no memory; try again");
        return;
    }
    atomic_init(&r->refs, 1);
    r->service = user;
    r->call = rpc_call_ref(call);
    r->began_us = rpc_clock_monotonic_us(r->service->clock);
    r->tail = &r->head;
    r->executor = dacm_call_executor(call);
    r->stream = (dacm_report_stream){.call = call,
        .hold = hold,
        .ready = on_ready,
        .replaced = on_replaced,
        .closed = on_closed,
        .arg = r};
    dacm_access_init(&r->access, r->service, call);
    r->access.method = METHOD;
    rpc_call_set_context(call, r, (void (*)(void *))drop);
    r->trust_version = dacm_trust_version(r->service->trust);
    r->reported = whose(r->service, call);
    if (r->reported)
        dacm_reported_take(r->reported, &r->stream);
    else {
        hold(r);
        dacm_access_record(&r->access, "", RPC_PERMISSION_DENIED,
            "caller is no SIM-S of one issuer (peers.sims)", refused, r);
    }
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    reporting *r = rpc_call_context(call);
    waiting *last = r && !r->over && r->reported ? calloc(1, sizeof *last) : NULL;
    if (!last) {
        rpc_message_release(message);
        if (r && r->reported)
            fail(r, RPC_RESOURCE_EXHAUSTED, METHOD ": no memory; report again");
        return;
    }
    last->message = message;
    *r->tail = last;
    r->tail = &last->next;
    pump(r);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    reporting *r = rpc_call_context(call);
    if (!r)
        return;
    r->half_closed = true;
    pump(r);
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    reporting *r = rpc_call_context(call);
    if (r && r->ready && !r->applying && !r->over && r->answer_due)
        answer(r);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    reporting *r = rpc_call_context(call);
    if (r && !r->over) {
        leave(r);
        if (r->reported)
            HOST_LOG(r->service->log, HOST_WARNING,
                "reports: the stream of an issuer's SIM-S was cut off",
                host_text("issuer", dacm_reported_issuer(r->reported)));
    }
}

const rpc_handler dacm_report_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_end = on_end,
};
