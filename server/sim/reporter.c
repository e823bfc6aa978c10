/* SPDX-License-Identifier: Apache-2.0 */
/* A thread for each DACM, because reading the log waits for the store. It makes a stream, hears
 * where the DACM stands, sends what comes after that, and a heartbeat every half a second.
 * What happens on the stream comes on the call's strand, which only notes it under the lock and
 * wakes the thread; the lock is never held while the store or the network is waited for.
 *
 * Every heartbeat is answered: a DACM that is silent for SILENCE_MS is gone, whatever its
 * connection says, and the stream is made anew. */
#include "reporter.h"

#include "dacm/v1/token_status.pb-c.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define HEARTBEAT_MS       500 /* so that what the DACM knows is at most a second old */
#define SILENCE_MS         10000
#define BACKOFF_INITIAL_MS 100
#define BACKOFF_MAX_MS     2000
#define EPOCH_CHARS        32 /* 16 bytes in hex */
#define BATCH_MAX          64u
#define TEXT_MAX           256u

/* One revocation, copied out of the log. */
typedef struct report {
    uint64_t sequence, previous;
    bool by_subject;
    char text[TEXT_MAX];
    int64_t issued_until, expires_at;
} report;

struct sim_reporter {
    rpc_channel *channel;
    sim_state *state;
    char *resource;
    host_log *log;
    const rpc_clock *clock;
    host_counter *streams, *sent_total;
    char epoch[EPOCH_CHARS + 1];
    pthread_t thread;
    bool running;

    pthread_mutex_t lock;
    pthread_cond_t wake;  /* the thread: anything below has changed */
    pthread_cond_t moved; /* who waits for `applied` */
    bool stopping, news;
    /* of the stream of now */
    bool answered, writable, ended, same_epoch;
    const char *wrong;            /* what a DACM never says */
    uint64_t applied, sent, mark; /* mark: of the newest answer */
    int64_t heard_us;
    rpc_status end;

    /* the thread's own */
    int64_t beat_us; /* the last heartbeat of the stream */
    bool complained;
    size_t batch_count;
    report batch[BATCH_MAX];
};

static int64_t now_us(const sim_reporter *r)
{
    return rpc_clock_monotonic_us(r->clock);
}

static struct timespec time_of(int64_t us)
{
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

/* ---- what comes from the DACM: on the strand --------------------------------------------------
 */

/* Locked. */
static void take_answer(sim_reporter *r, const Dacm__V1__ReportResponse *answer)
{
    const bool same = strcmp(answer->epoch, r->epoch) == 0;
    if (!r->answered) { /* where it stands; perhaps on the log of another store */
        r->same_epoch = same;
        r->applied = same ? answer->applied_sequence : 0;
        r->sent = r->applied;
    } else if (same && answer->applied_sequence > r->sent)
        r->wrong = "applies revocations that it was not sent";
    else if (same && r->same_epoch && answer->applied_sequence < r->applied)
        r->wrong = "no longer applies what it applied";
    else if (same) {
        r->same_epoch = true;
        r->applied = answer->applied_sequence;
    }
    r->answered = true;
    r->mark = answer->mark;
    r->heard_us = now_us(r);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call;
    sim_reporter *r = user;
    ProtobufCMessage *unpacked = NULL;
    const rpc_code code = rpc_message_unpack(
        message, &dacm__v1__report_response__descriptor, &unpacked, NULL);
    pthread_mutex_lock(&r->lock);
    if (code == RPC_OK)
        take_answer(r, (const Dacm__V1__ReportResponse *)unpacked);
    else
        r->wrong = "sends a message that cannot be read";
    pthread_cond_signal(&r->wake);
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    rpc_message_release(message);
}

static void on_writable(rpc_call *call, void *user)
{
    (void)call;
    sim_reporter *r = user;
    pthread_mutex_lock(&r->lock);
    r->writable = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    sim_reporter *r = user;
    pthread_mutex_lock(&r->lock);
    r->ended = true;
    r->end = *status;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

/* ---- what is sent: on the thread ---------------------------------------------------------------
 */

/* Locked. Is the stream of now over for us? */
static bool is_over(const sim_reporter *r)
{
    return r->stopping || r->ended || r->wrong ||
           now_us(r) - r->heard_us > SILENCE_MS * (int64_t)1000;
}

/* Locked. Until something happens, at most until that time. */
static void doze(sim_reporter *r, int64_t until_us)
{
    const struct timespec until = time_of(until_us);
    pthread_cond_timedwait(&r->wake, &r->lock, &until);
}

/* False: the stream is over. `sent` grows first: the answer may be faster than we are. */
static bool send_request(sim_reporter *r, rpc_call *call, Dacm__V1__ReportRequest *request)
{
    request->epoch = r->epoch;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        r->writable = false;
        if (request->sequence > r->sent)
            r->sent = request->sequence;
        pthread_mutex_unlock(&r->lock);
        const rpc_sent sent = rpc_call_send_packed(call, &request->base);
        if (sent != RPC_SENT_BUSY)
            return sent == RPC_SENT_OK;
        pthread_mutex_lock(&r->lock);
        while (!r->writable && !is_over(r))
            doze(r, r->heard_us + SILENCE_MS * (int64_t)1000 + 1000);
        const bool over = is_over(r);
        pthread_mutex_unlock(&r->lock);
        if (over)
            return false;
    }
}

static bool send_expired(sim_reporter *r, rpc_call *call, uint64_t sequence)
{
    Dacm__V1__ReportRequest request = DACM__V1__REPORT_REQUEST__INIT;
    Dacm__V1__ReportRequest__Expired expired = DACM__V1__REPORT_REQUEST__EXPIRED__INIT;
    request.sequence = sequence;
    request.what_case = DACM__V1__REPORT_REQUEST__WHAT_EXPIRED;
    request.expired = &expired;
    return send_request(r, call, &request);
}

static bool send_heartbeat(sim_reporter *r, rpc_call *call, uint64_t sequence, uint64_t mark)
{
    Dacm__V1__ReportRequest request = DACM__V1__REPORT_REQUEST__INIT;
    Dacm__V1__ReportRequest__Heartbeat beat = DACM__V1__REPORT_REQUEST__HEARTBEAT__INIT;
    request.sequence = sequence;
    request.what_case = DACM__V1__REPORT_REQUEST__WHAT_HEARTBEAT;
    request.heartbeat = &beat;
    beat.mark = mark;
    r->beat_us = now_us(r);
    return send_request(r, call, &request);
}

static bool send_revocation(sim_reporter *r, rpc_call *call, report *about)
{
    Dacm__V1__ReportRequest request = DACM__V1__REPORT_REQUEST__INIT;
    Dacm__V1__ReportRequest__Revocation revocation = DACM__V1__REPORT_REQUEST__REVOCATION__INIT;
    if (about->sequence > about->previous + 1 && !send_expired(r, call, about->sequence - 1))
        return false;
    if (about->by_subject) {
        revocation.what_case = DACM__V1__REPORT_REQUEST__REVOCATION__WHAT_SUBJECT;
        revocation.subject = about->text;
        revocation.issued_until = about->issued_until;
    } else {
        revocation.what_case = DACM__V1__REPORT_REQUEST__REVOCATION__WHAT_JTI;
        revocation.jti = about->text;
    }
    revocation.expires_at = about->expires_at;
    request.sequence = about->sequence;
    request.what_case = DACM__V1__REPORT_REQUEST__WHAT_REVOCATION;
    request.revocation = &revocation;
    host_counter_add(r->sent_total, 1);
    return send_request(r, call, &request);
}

static bool copy_revocation(void *ctx, const sim_revocation *from)
{
    sim_reporter *r = ctx;
    report *to = &r->batch[r->batch_count++];
    *to = (report){.sequence = from->sequence,
        .previous = from->previous,
        .by_subject = from->subject != NULL,
        .issued_until = from->issued_until,
        .expires_at = from->expires_at};
    const char *text = from->subject ? from->subject : from->jti;
    if (!rpc_text_copy(to->text, sizeof to->text, text ? text : ""))
        to->text[0] = '\0'; /* longer than any of ours: the DACM refuses it, and the log says so */
    return r->batch_count < BATCH_MAX;
}

/* Everything after *at; false: the stream is over, or the store fails. */
static bool send_news(sim_reporter *r, rpc_call *call, uint64_t *at)
{
    /* read before the log: what has a number up to it is in the log, or has expired */
    const uint64_t last = sim_revocations_sequence(r->state);
    while (*at < last) {
        rpc_status why;
        r->batch_count = 0;
        if (sim_revocations_after(r->state, *at, copy_revocation, r, &why) != RPC_OK) {
            HOST_LOG(r->log, HOST_ERROR, "reports: the log of revocations cannot be read",
                host_text("dacm", r->resource), host_text("why", why.message));
            return false;
        }
        for (size_t i = 0; i < r->batch_count; i++) {
            if (!send_revocation(r, call, &r->batch[i]))
                return false;
            *at = r->batch[i].sequence;
        }
        if (r->batch_count < BATCH_MAX && *at < last) {
            if (!send_expired(r, call, last))
                return false;
            *at = last;
        }
    }
    return true;
}

/* ---- one stream ------------------------------------------------------------------------------ */

/* False: it never answered, or stands where it cannot. */
static bool hear_first(sim_reporter *r, uint64_t *ret_at)
{
    pthread_mutex_lock(&r->lock);
    while (!r->answered && !is_over(r))
        doze(r, r->heard_us + SILENCE_MS * (int64_t)1000 + 1000);
    const bool answered = r->answered && !r->wrong;
    *ret_at = r->applied;
    pthread_mutex_unlock(&r->lock);
    if (answered && *ret_at > sim_revocations_sequence(r->state)) {
        pthread_mutex_lock(&r->lock);
        r->wrong = "applies more revocations than this store has: was it restored from a copy? "
                   "Then remove the file `secret` in it and restart";
        pthread_mutex_unlock(&r->lock);
        return false;
    }
    return answered;
}

static int64_t next_beat_us(const sim_reporter *r)
{
    return r->beat_us + HEARTBEAT_MS * (int64_t)1000;
}

/* Until there is news, or it is time for a heartbeat. False: the stream is over. */
static bool rest(sim_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->news && !is_over(r) && now_us(r) < next_beat_us(r))
        doze(r, next_beat_us(r));
    r->news = false;
    const bool over = is_over(r);
    pthread_mutex_unlock(&r->lock);
    return !over;
}

static uint64_t newest_mark(sim_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    const uint64_t mark = r->mark;
    pthread_mutex_unlock(&r->lock);
    return mark;
}

static void talk(sim_reporter *r, rpc_call *call)
{
    uint64_t at = 0;
    if (!hear_first(r, &at))
        return;
    HOST_LOG(r->log, HOST_INFO, "reports: the DACM takes our revocations",
        host_text("dacm", r->resource), host_number("applied", (int64_t)at));
    r->complained = false;
    host_counter_add(r->streams, 1);
    bool going = true;
    while (going) {
        const uint64_t mark = newest_mark(r); /* before the log is read: what a heartbeat says */
        going = send_news(r, call, &at);
        if (going && now_us(r) >= next_beat_us(r))
            going = send_heartbeat(r, call, at, mark);
        going = going && rest(r);
    }
}

/* The first failure after a success is told. */
static void complain(sim_reporter *r, const char *why)
{
    if (!r->complained)
        HOST_LOG(r->log, HOST_WARNING, "reports: the DACM takes no revocations for now",
            host_text("dacm", r->resource), host_text("why", why));
    r->complained = true;
}

/* Locked. */
static const char *why_over(const sim_reporter *r)
{
    if (r->wrong)
        return r->wrong;
    return r->ended ? r->end.message : "it is silent";
}

static void stream_once(sim_reporter *r)
{
    static const rpc_handler handler = {
        .on_message = on_message, .on_writable = on_writable, .on_end = on_end};
    rpc_call *call = NULL;
    rpc_status why;
    char reason[384];
    pthread_mutex_lock(&r->lock);
    r->answered = r->writable = r->ended = r->same_epoch = false;
    r->news = false;
    r->beat_us = INT64_MIN / 2; /* the first heartbeat goes at once */
    r->mark = 0;
    r->wrong = NULL;
    r->heard_us = now_us(r);
    pthread_mutex_unlock(&r->lock);
    if (rpc_channel_start(
            r->channel, "/dacm.v1.TokenStatus/Report", NULL, &handler, r, &call, &why) != RPC_OK) {
        complain(r, why.message);
        return;
    }
    talk(r, call);
    pthread_mutex_lock(&r->lock);
    const bool stopping = r->stopping;
    rpc_text_copy(reason, sizeof reason, why_over(r));
    r->answered = false;
    pthread_mutex_unlock(&r->lock);
    if (!stopping)
        complain(r, reason);
    rpc_call_cancel(call);
    pthread_mutex_lock(&r->lock);
    while (!r->ended) /* comes at once, after that nobody touches us */
        pthread_cond_wait(&r->wake, &r->lock);
    pthread_mutex_unlock(&r->lock);
    rpc_call_unref(call);
}

/* Half to all of it, so that those who were cut off together do not come together. */
static int64_t with_jitter(int64_t wait_ms)
{
    uint32_t random = 0;
    rpc_random(&random, sizeof random);
    return wait_ms / 2 + random % (uint32_t)(wait_ms / 2 + 1);
}

static void *run(void *arg)
{
    sim_reporter *r = arg;
    int64_t wait_ms = BACKOFF_INITIAL_MS;
    bool stopping = false;
    while (!stopping) {
        const int64_t from = now_us(r);
        stream_once(r);
        if (now_us(r) - from > SILENCE_MS * (int64_t)1000)
            wait_ms = BACKOFF_INITIAL_MS; /* it was a good one */
        const int64_t until = now_us(r) + with_jitter(wait_ms) * 1000;
        wait_ms = wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : wait_ms * 2;
        pthread_mutex_lock(&r->lock);
        while (!r->stopping && now_us(r) < until)
            doze(r, until);
        stopping = r->stopping;
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static double lag_now(void *ctx)
{
    sim_reporter *r = ctx;
    const uint64_t applied = sim_reporter_applied(r), last = sim_revocations_sequence(r->state);
    return last > applied ? (double)(last - applied) : 0;
}

static double connected_now(void *ctx)
{
    return sim_reporter_connected(ctx);
}

static void open_metrics(sim_reporter *r, host_metrics *metrics)
{
    char labels[1100];
    snprintf(labels, sizeof labels, "dacm=\"%s\"", r->resource);
    r->streams = host_metrics_counter(metrics, "sim_report_streams_total",
        "Streams of revocations that the DACM answered.", labels);
    r->sent_total = host_metrics_counter(
        metrics, "sim_report_sent_total", "Revocations sent to the DACM.", labels);
    host_metrics_gauge(metrics, "sim_report_lag", "Revocations that the DACM does not apply yet.",
        labels, lag_now, r);
    host_metrics_gauge(metrics, "sim_report_connected",
        "1 while the DACM answers on its stream of revocations.", labels, connected_now, r);
}

rpc_code sim_reporter_start(rpc_channel *channel, sim_state *state, const char *resource,
    host_log *log, host_metrics *metrics, sim_reporter **ret, rpc_status *reterr)
{
    sim_reporter *r = calloc(1, sizeof *r);
    char *copy = strdup(resource);
    if (!r || !copy) {
        free(r);
        free(copy);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "reports: no memory");
    }
    *r = (sim_reporter){.channel = channel,
        .state = state,
        .resource = copy,
        .log = log,
        .clock = rpc_clock_system()};
    rpc_hex(rpc_bytes_of(sim_revocations_epoch(state), EPOCH_CHARS / 2), r->epoch);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_cond_init(&r->moved, &attr);
    pthread_condattr_destroy(&attr);
    open_metrics(r, metrics);
    r->running = pthread_create(&r->thread, NULL, run, r) == 0;
    if (!r->running) {
        sim_reporter_stop(r);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "reports: no thread");
    }
    *ret = r;
    return RPC_OK;
}

void sim_reporter_wake(sim_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    r->news = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

uint64_t sim_reporter_applied(sim_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    const uint64_t applied = r->applied;
    pthread_mutex_unlock(&r->lock);
    return applied;
}

bool sim_reporter_connected(sim_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    const bool connected = r->answered && !r->ended;
    pthread_mutex_unlock(&r->lock);
    return connected;
}

bool sim_reporter_wait(sim_reporter *r, uint64_t sequence, int64_t wait_ms)
{
    const struct timespec until = time_of(now_us(r) + wait_ms * 1000);
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    while (r->applied < sequence && !r->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&r->moved, &r->lock, &until);
    const bool there = r->applied >= sequence;
    pthread_mutex_unlock(&r->lock);
    return there;
}

void sim_reporter_stop(sim_reporter *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->wake);
    pthread_cond_destroy(&r->moved);
    pthread_mutex_destroy(&r->lock);
    free(r->resource);
    free(r);
}
