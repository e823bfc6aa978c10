/* SPDX-License-Identifier: Apache-2.0 */
/* The thread: one stream for each set that is watched, made anew when it ends; what it brings is
 * judged, kept and published. */
#include "skmc_internal.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_MS     200
#define BACKOFF_MAX_MS 10000
#define GOOD_MS        10000 /* a stream that lived so long was no failure */
#define SAVE_AGAIN_MS  5000

int64_t skmc__now_us(const skmc *s)
{
    return rpc_clock_monotonic_us(s->options.clock);
}

int64_t skmc__now_s(const skmc *s)
{
    return rpc_clock_wall_ms(s->options.clock) / 1000;
}

rpc_code skmc__no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skms: no memory");
}

int64_t skmc__later(const skmc *s, int64_t *wait_ms)
{
    uint32_t random = 0;
    rpc_random(&random, sizeof random);
    const int64_t half = *wait_ms / 2, wait = half + random % (uint32_t)(half + 1);
    *wait_ms = *wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : *wait_ms * 2;
    return skmc__now_us(s) + wait * 1000;
}

static struct timespec time_of(int64_t us)
{
    return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

void skmc__settle(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    s->answered = true;
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
}

uint64_t skmc__next_version(skmc *s)
{
    return s->options.next_version ? s->options.next_version() : ++s->own_version;
}

void skmc__save(skmc *s)
{
    rpc_status why;
    if (!s->unsaved)
        return;
    const bool ok = skmc__kept_write(&s->folder, s->kept, &why) == RPC_OK &&
                    skmc__pins_save(s, &why) == RPC_OK;
    if (!ok && !s->save_complained)
        HOST_LOG(s->options.log, HOST_ERROR,
            "skms: what the SKM-S says counts, but cannot be kept for a restart",
            host_text("why", why.message));
    s->save_complained = !ok;
    s->unsaved = !ok;
    s->save_due_us = skmc__now_us(s) + SAVE_AGAIN_MS * (int64_t)1000;
    pthread_mutex_lock(&s->lock);
    s->unsaved_told = !ok;
    pthread_mutex_unlock(&s->lock);
}

/* ---- one question -----------------------------------------------------------------------------
 */

typedef struct question {
    skmc *s;
    rpc_message *answer;
    bool ended;
    rpc_status end;
} question;

static void on_answer(rpc_call *call, rpc_message *message, void *user)
{
    question *q = user;
    (void)call;
    pthread_mutex_lock(&q->s->lock);
    if (!q->answer) {
        q->answer = message;
        message = NULL;
    }
    pthread_mutex_unlock(&q->s->lock);
    rpc_message_release(message);
}

static void on_answered(rpc_call *call, const rpc_status *status, void *user)
{
    question *q = user;
    (void)call;
    skmc *s = q->s;
    pthread_mutex_lock(&s->lock);
    q->ended = true;
    q->end = *status;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void await(question *q, rpc_call *call)
{
    bool cancelled = false;
    pthread_mutex_lock(&q->s->lock);
    while (!q->ended) {
        if (q->s->stopping && !cancelled) {
            cancelled = true;
            pthread_mutex_unlock(&q->s->lock);
            rpc_call_cancel(call);
            pthread_mutex_lock(&q->s->lock);
        } else
            pthread_cond_wait(&q->s->wake, &q->s->lock);
    }
    pthread_mutex_unlock(&q->s->lock);
}

rpc_code skmc__ask(skmc *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **ret, rpc_message **ret_hold,
    rpc_status *reterr)
{
    static const rpc_handler handler = {.on_message = on_answer, .on_end = on_answered};
    char path[64];
    rpc_call *call = NULL;
    question q = {.s = s};
    const rpc_call_options options = {.timeout_ms = s->timeout_ms};
    snprintf(path, sizeof path, "%s%s", SKMC__SERVICE, method);
    rpc_code code = rpc_channel_start(s->channel, path, &options, &handler, &q, &call, reterr);
    if (code == RPC_OK) {
        if (rpc_call_send_packed(call, request) == RPC_SENT_OK)
            rpc_call_half_close(call);
        else
            rpc_call_cancel(call);
        await(&q, call);
        rpc_call_unref(call);
        code = q.end.code;
        rpc_status_text(reterr, code, q.end.message);
    }
    if (code == RPC_OK && !q.answer)
        code = rpc_status_set(reterr, RPC_INTERNAL, "the SKM-S answers with nothing");
    if (code == RPC_OK)
        code = rpc_message_unpack(q.answer, descriptor, ret, reterr);
    if (code == RPC_OK)
        *ret_hold = q.answer;
    else
        rpc_message_release(q.answer);
    return code;
}

/* ---- a stream's mailbox -----------------------------------------------------------------------
 */

static void on_set(rpc_call *call, rpc_message *message, void *user)
{
    skmc__watch *w = user;
    (void)call;
    pthread_mutex_lock(&w->of->lock);
    rpc_message *old = w->news; /* each has all that is newer than what we had at the start */
    w->news = message;
    pthread_cond_signal(&w->of->wake);
    pthread_mutex_unlock(&w->of->lock);
    rpc_message_release(old);
}

static void on_stream_end(rpc_call *call, const rpc_status *status, void *user)
{
    skmc__watch *w = user;
    (void)call;
    skmc *s = w->of;
    pthread_mutex_lock(&s->lock);
    w->ended = true;
    w->end = *status;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* ---- what came --------------------------------------------------------------------------------
 */

rpc_code skmc__ring_of(
    skmc *s, const skmc__watch *w, char **ret_jwks, trust_keyring **ret, rpc_status *reterr)
{
    char *text = json_dumps(w->set, JSON_COMPACT);
    if (!text)
        return skmc__no_memory(reterr);
    const rpc_code code = trust_keyring_parse(
        rpc_bytes_str(text), w->purpose, skmc__next_version(s), ret, reterr);
    if (code == RPC_OK && ret_jwks)
        *ret_jwks = text;
    else
        free(text);
    return code;
}

/* Of a set that is watched only. */
static void publish_ring(skmc *s, skmc__watch *w)
{
    trust_keyring *ring = NULL;
    rpc_status why;
    rpc_code code = skmc__ring_of(s, w, NULL, &ring, &why);
    if (code == RPC_OK && s->options.acceptable &&
        !s->options.acceptable(s->options.ctx, w->service, ring, &why))
        code = RPC_INVALID_ARGUMENT;
    if (code != RPC_OK) {
        host_counter_add(s->sets_refused, 1);
        HOST_LOG(s->options.log, HOST_ERROR, "skms: the key set is not used; the last one stays",
            host_text("val_service", w->service), host_text("why", why.message));
        trust_keyring_unref(ring);
        return;
    }
    pthread_mutex_lock(&s->lock);
    trust_keyring *old = w->ring;
    w->ring = ring;
    pthread_mutex_unlock(&s->lock);
    trust_keyring_unref(old);
    if (s->options.changed)
        s->options.changed(s->options.ctx, w->service);
    skmc__settle(s);
}

static void publish(skmc *s, skmc__watch *w)
{
    if (w->own)
        skmc__own_publish(s);
    else if (w->set)
        publish_ring(s, w);
}

void skmc__publish_kept(skmc *s)
{
    for (skmc__watch *w = s->watches; w; w = w->next) {
        skmc__pins_read(s, w);
        publish(s, w);
    }
}

static rpc_code take(
    skmc *s, skmc__watch *w, rpc_message *message, bool *ret_newer, rpc_status *reterr)
{
    ProtobufCMessage *unpacked = NULL;
    const rpc_code code = rpc_message_unpack(
        message, &skms__v1__key_set__descriptor, &unpacked, reterr);
    return code == RPC_OK
               ? skmc__pins_take(s, w, (const Skms__V1__KeySet *)unpacked, ret_newer, reterr)
               : code;
}

static void refuse(skmc *s, skmc__watch *w, const rpc_status *why)
{
    host_counter_add(s->sets_refused, 1);
    if (!w->refused)
        HOST_LOG(s->options.log, HOST_ERROR, "skms: a key set is refused; the last one stays",
            host_text("val_service", w->service), host_text("why", why->message));
    pthread_mutex_lock(&s->lock);
    w->refused = true;
    pthread_mutex_unlock(&s->lock);
    skmc__settle(s);
}

/* Published before it is kept: a disk that is full must not keep a revocation from working. */
static void look_at(skmc *s, skmc__watch *w, rpc_message *message)
{
    rpc_status why;
    bool newer = false;
    const rpc_code code = take(s, w, message, &newer, &why);
    rpc_message_release(message);
    if (code != RPC_OK) {
        refuse(s, w, &why);
        return;
    }
    pthread_mutex_lock(&s->lock);
    const bool first = !w->up;
    w->up = true;
    w->refused = false;
    pthread_mutex_unlock(&s->lock);
    if (first)
        HOST_LOG(s->options.log, HOST_INFO, "skms: watching a key set",
            host_text("val_service", w->service));
    w->complained = false;
    w->wait_ms = BACKOFF_MS;
    if (newer) {
        host_counter_add(s->sets_taken, 1);
        publish(s, w);
        skmc__save(s);
    } else if (!s->missing)
        skmc__settle(s);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static void complain(skmc *s, skmc__watch *w, const rpc_status *why)
{
    if (!w->complained && why->code != RPC_CANCELLED)
        HOST_LOG(s->options.log, HOST_WARNING,
            "skms: a key set is not watched for now; the last one stays",
            host_text("val_service", w->service), host_text("code", rpc_code_name(why->code)),
            host_text("why", why->message));
    w->complained = true;
    skmc__settle(s);
}

static void start_stream(skmc *s, skmc__watch *w)
{
    static const rpc_handler handler = {.on_message = on_set, .on_end = on_stream_end};
    Skms__V1__GetKeySetRequest request = SKMS__V1__GET_KEY_SET_REQUEST__INIT;
    rpc_status why;
    request.val_service = w->service;
    request.purpose = skmc__wire_purpose(w->purpose);
    request.have_root = s->replaced;
    w->ended = false; /* no call of it runs: nobody else looks */
    w->started_us = skmc__now_us(s);
    if (rpc_channel_start(
            s->channel, SKMC__SERVICE "WatchKeys", NULL, &handler, w, &w->call, &why) != RPC_OK) {
        w->due_us = skmc__later(s, &w->wait_ms);
        complain(s, w, &why);
        return;
    }
    if (rpc_call_send_packed(w->call, &request.base) == RPC_SENT_OK)
        rpc_call_half_close(w->call);
    else
        rpc_call_cancel(w->call);
}

static void end_stream(skmc *s, skmc__watch *w, const rpc_status *end, bool at_once)
{
    rpc_call_unref(w->call);
    w->call = NULL;
    pthread_mutex_lock(&s->lock);
    w->up = false;
    pthread_mutex_unlock(&s->lock);
    if (skmc__now_us(s) - w->started_us > GOOD_MS * (int64_t)1000)
        w->wait_ms = BACKOFF_MS;
    w->due_us = at_once ? 0 : skmc__later(s, &w->wait_ms);
    if (!at_once)
        complain(s, w, end);
}

/* Ends it and waits until nobody touches the mailbox any more. */
static void drop_stream(skmc *s, skmc__watch *w)
{
    if (!w->call)
        return;
    rpc_call_cancel(w->call);
    pthread_mutex_lock(&s->lock);
    while (!w->ended)
        pthread_cond_wait(&s->wake, &s->lock);
    rpc_message *news = w->news;
    w->news = NULL;
    pthread_mutex_unlock(&s->lock);
    rpc_message_release(news);
    end_stream(s, w, &(rpc_status){.code = RPC_OK}, true);
}

static void tend_stream(skmc *s, skmc__watch *w)
{
    pthread_mutex_lock(&s->lock);
    rpc_message *news = w->news;
    w->news = NULL;
    const bool ended = w->call && w->ended;
    const rpc_status end = w->end;
    pthread_mutex_unlock(&s->lock);
    if (news)
        look_at(s, w, news);
    if (ended)
        end_stream(s, w, &end, false);
    if (!w->call && s->issuer && skmc__now_us(s) >= w->due_us)
        start_stream(s, w);
}

/* Sets that are watched only end where they are kept. */
static int64_t tend_expiry(skmc *s, skmc__watch *w)
{
    if (w->own || !w->ring)
        return INT64_MAX;
    const int64_t left = w->expires_at + TRUST_SKEW_S + 1 - skmc__now_s(s);
    if (left > 0)
        return skmc__now_us(s) + left * 1000000;
    pthread_mutex_lock(&s->lock);
    trust_keyring *old = w->ring;
    w->ring = NULL;
    pthread_mutex_unlock(&s->lock);
    trust_keyring_unref(old);
    HOST_LOG(s->options.log, HOST_ERROR,
        "skms: a key set has expired, and no new one came: nothing is verified with it any more",
        host_text("val_service", w->service));
    if (s->options.changed)
        s->options.changed(s->options.ctx, w->service);
    return INT64_MAX;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool has_mail(const skmc *s)
{
    for (const skmc__watch *w = s->watches; w; w = w->next)
        if (w->news || (w->call && w->ended))
            return true;
    return s->stopping || s->renewed || (s->asked && skmc__now_us(s) >= s->ask_due_us);
}

static void rest(skmc *s, int64_t until_us)
{
    pthread_mutex_lock(&s->lock);
    while (!has_mail(s) && skmc__now_us(s) < until_us)
        if (until_us == INT64_MAX)
            pthread_cond_wait(&s->wake, &s->lock);
        else {
            const struct timespec until = time_of(until_us);
            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        }
    pthread_mutex_unlock(&s->lock);
}

static bool is_stopping(skmc *s, bool *ret_renewed)
{
    pthread_mutex_lock(&s->lock);
    const bool stopping = s->stopping;
    *ret_renewed = s->renewed;
    s->renewed = false;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

static void drop_streams(skmc *s)
{
    for (skmc__watch *w = s->watches; w; w = w->next)
        drop_stream(s, w);
}

void *skmc__talk(void *arg)
{
    skmc *s = arg;
    bool renewed = false;
    while (!is_stopping(s, &renewed)) {
        if (renewed)
            drop_streams(s);
        int64_t next = s->val_service ? skmc__own_tend(s) : INT64_MAX;
        for (skmc__watch *w = s->watches; w; w = w->next) {
            tend_stream(s, w);
            next = earlier(next, tend_expiry(s, w));
            if (!w->call && s->issuer)
                next = earlier(next, w->due_us);
        }
        if (s->missing) /* a set has come since */
            next = earlier(next, s->fetch_due_us);
        if (s->unsaved && skmc__now_us(s) >= s->save_due_us)
            skmc__save(s);
        if (s->unsaved)
            next = earlier(next, s->save_due_us);
        rest(s, next);
    }
    drop_streams(s);
    return NULL;
}
