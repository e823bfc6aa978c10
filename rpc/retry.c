/* SPDX-License-Identifier: Apache-2.0 */
/* A channel's call whose attempt was lost: tried again when that is safe (gRFC A6).
 *
 *  - Certainly not seen by the server (never sent, refused, above a GOAWAY's last stream): again
 *    at once, whatever the method; once when the server has refused it.
 *  - Otherwise only a method that is idempotent, by its policy: some codes, so many attempts,
 *    back-off, the server's push-back, and a bucket of tokens that failures empty, so that retries
 *    do not drown a server that is in trouble.
 *
 * Never once the caller was given something of an answer, or what was sent is no longer kept:
 * then the call is committed. */
#include "channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNSENT_MAX    16 /* a server that takes connections and ends them would have us spin */
#define TOKEN         1000
#define PUSHBACK_NAME "grpc-retry-pushback-ms"

/* ---- what was sent ------------------------------------------------------------------------- */

static void free_list(rpc__out *out)
{
    while (out) {
        rpc__out *next = out->next;
        free(out); /* one with a body is never kept */
        out = next;
    }
}

void rpc__retry_commit(rpc_call *call)
{
    if (call->server || call->committed)
        return;
    atomic_store(&call->committed, true);
    free_list(call->retry.sent);
    call->retry.sent = NULL;
    call->retry.sent_bytes = 0;
}

bool rpc__retry_keep(rpc_call *call, rpc__out *out)
{
    if (call->server || call->committed)
        return false;
    const rpc_channel *channel = call->owner;
    rpc__retry *retry = &call->retry;
    if (out->has_body || out->size > channel->retry_buffer_bytes_max - retry->sent_bytes) {
        rpc__retry_commit(call);
        return false;
    }
    out->settled = true;
    out->next = NULL;
    if (!retry->sent)
        retry->sent_end = &retry->sent;
    *retry->sent_end = out;
    retry->sent_end = &out->next;
    retry->sent_bytes += out->size;
    return true;
}

static void send_anew(rpc_call *call)
{
    rpc__retry *retry = &call->retry;
    if (call->queue)
        call->queue->sent = 0;
    if (retry->sent) {
        *retry->sent_end = call->queue;
        if (!call->queue)
            call->queue_end = retry->sent_end;
        call->queue = retry->sent;
        for (rpc__out *out = retry->sent; out; out = out->next)
            out->sent = 0;
    }
    retry->sent = NULL;
    retry->sent_bytes = 0;
}

static void forget_attempt(rpc_call *call)
{
    const rpc_channel *channel = call->owner;
    call->headers = call->trailers = (rpc__headers){0};
    call->http_status = 0;
    call->content_type_seen = call->content_type_good = call->encoding_seen = false;
    call->encoding = RPC_ENCODING_DEFAULT;
    call->headers_done = call->status_seen = call->remote_closed = false;
    call->remote = (rpc_status){0};
    call->header_bytes = 0;
    call->header_count = 0;
    call->header_limit = RPC_LIMIT_NONE;
    call->prefix_size = 0;
    call->headers_sent = call->deferred = false;
    call->retry.head_sent = false;
    call->stream_window = channel->limits.stream_window_bytes;
    call->wait_receive = call->wait_send = (rpc__waiting){0};
}

/* ---- the bucket --------------------------------------------------------------------------------
 */

static bool take_token(rpc_channel *channel)
{
    int old = atomic_load(&channel->retry_tokens), left;
    do
        left = old > TOKEN ? old - TOKEN : 0;
    while (!atomic_compare_exchange_weak(&channel->retry_tokens, &old, left));
    return left > channel->retry_tokens_max / 2;
}

void rpc__retry_succeeded(rpc_call *call)
{
    rpc_channel *channel = call->owner;
    int old = atomic_load_explicit(&channel->retry_tokens, memory_order_relaxed), now;
    do {
        if (old >= channel->retry_tokens_max || !call->retry.allowed)
            return;
        now = old + channel->retry_token_ratio;
    } while (!atomic_compare_exchange_weak(&channel->retry_tokens, &old,
        now < channel->retry_tokens_max ? now : channel->retry_tokens_max));
}

/* ---- whether
 * ------------------------------------------------------------------------------------- */

/* -1: do not; INT64_MIN: the server said nothing. */
static int64_t pushback(const rpc_call *call)
{
    rpc_bytes value;
    int64_t delay = 0;
    if (!rpc__headers_get(&call->trailers, PUSHBACK_NAME, &value))
        return INT64_MIN;
    if (value.size == 0 || value.size > 9)
        return -1;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -1;
        delay = delay * 10 + (value.data[i] - '0');
    }
    return delay;
}

static int64_t next_backoff(rpc_call *call)
{
    const rpc_retry_policy *policy = &call->retry.policy;
    int64_t backoff = call->retry.backoff_ms ? call->retry.backoff_ms : policy->backoff_initial_ms;
    if (backoff > policy->backoff_max_ms)
        backoff = policy->backoff_max_ms;
    call->retry.backoff_ms = backoff * policy->backoff_multiplier_percent / 100;
    return rpc__jitter(backoff);
}

static bool in_time(const rpc_call *call, int64_t delay_ms)
{
    if (call->deadline_us == RPC_NO_DEADLINE)
        return true;
    int64_t now = rpc__runtime_now_us(call->home->runtime);
    return call->deadline_us - now > delay_ms * 1000;
}

static bool by_policy(rpc_call *call, rpc_code code)
{
    rpc_channel *channel = call->owner;
    rpc__retry *retry = &call->retry;
    if (!retry->allowed || !(retry->policy.codes & RPC_RETRY_ON(code)))
        return false;
    int64_t wanted = pushback(call);
    bool tokens = take_token(channel);
    if (wanted == -1 || retry->attempts + 1 >= retry->policy.attempts_max)
        return false;
    if (!tokens) {
        atomic_fetch_add(&channel->stats.retries_throttled, 1);
        return false;
    }
    if (wanted >= 0)
        retry->backoff_ms = 0; /* the next back-off is the first again */
    retry->delay_ms = wanted >= 0 ? wanted : next_backoff(call);
    if (!in_time(call, retry->delay_ms))
        return false;
    retry->attempts++;
    atomic_fetch_add(&channel->stats.retries, 1);
    return true;
}

static bool again(rpc_call *call, rpc_code code, rpc__seen seen)
{
    rpc_channel *channel = call->owner;
    rpc__retry *retry = &call->retry;
    if (call->committed || atomic_load(&call->cancelled) || atomic_load(&channel->closing))
        return false;
    retry->delay_ms = 0;
    bool unseen = (seen == RPC__SEEN_NEVER_SENT && retry->unsent++ < UNSENT_MAX) ||
                  (seen == RPC__SEEN_REFUSED && !retry->refused++);
    if (!unseen)
        return by_policy(call, code);
    atomic_fetch_add(&channel->stats.retries_unseen, 1);
    return true;
}

/* ---- when
 * ---------------------------------------------------------------------------------------- */

static void on_rested(void *arg)
{
    rpc_call *call = arg;
    rpc__call_ask(call, RPC__ASK_START);
    rpc_call_unref(call);
}

void rpc__retry_stop(rpc_call *call)
{
    if (call->retry.timer && rpc_timer_cancel(call->retry.timer))
        rpc_call_unref(call);
    call->retry.timer = NULL;
}

void rpc__retry_done(rpc_call *call)
{
    rpc__retry_stop(call);
    rpc__retry_commit(call);
}

static void rest(rpc_call *call)
{
    rpc_call_ref(call);
    if (rpc_timer_start(call->home->runtime, call->retry.delay_ms, on_rested, call,
            &call->retry.timer) == RPC_OK) {
        rpc__balance_rest(call->owner, call);
        return;
    }
    call->retry.timer = NULL;
    rpc_call_unref(call);
    rpc__call_end(
        call, RPC_RESOURCE_EXHAUSTED, "call: no memory to try it again", NGHTTP2_NO_ERROR);
}

void rpc__call_lost(
    rpc_call *call, rpc_code code, const char *message, uint32_t reset, rpc__seen seen)
{
    if (call->over)
        return;
    if (call->server || !again(call, code, seen)) {
        rpc__call_end(call, code, message, reset);
        return;
    }
    rpc__call_leave_stream(call, reset);
    rpc__call_take_inbox(call);
    send_anew(call);
    forget_attempt(call);
    if (call->retry.delay_ms > 0) {
        rest(call);
        return;
    }
    call->retry.due = true;
    rpc__call_pend(call);
}

/* ---- settings
 * --------------------------------------------------------------------------------------- */

rpc_code rpc__retry_policy_check(
    const rpc_retry_policy *policy, rpc_retry_policy *ret, rpc_status *reterr)
{
    rpc_retry_policy full = *policy;
    if (full.attempts_max == 0)
        full.attempts_max = 4;
    if (full.backoff_initial_ms == 0)
        full.backoff_initial_ms = 100;
    if (full.backoff_max_ms == 0)
        full.backoff_max_ms = 2000;
    if (full.backoff_multiplier_percent == 0)
        full.backoff_multiplier_percent = 200;
    if (full.codes == 0)
        full.codes = RPC_RETRY_ON(RPC_UNAVAILABLE);
    if (full.attempts_max > 5 || full.backoff_initial_ms < 1 || full.backoff_max_ms < 1 ||
        full.backoff_initial_ms > 3600000 || full.backoff_max_ms > 3600000 ||
        full.backoff_multiplier_percent < 100 || full.backoff_multiplier_percent > 10000 ||
        full.codes & RPC_RETRY_ON(RPC_OK) || full.codes >= RPC_RETRY_ON(17))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: of a retry policy attempts_max must be 1..5, back-offs 1..3600000 ms, "
            "backoff_multiplier_percent 100..10000, codes those of errors; 0 for the default");
    *ret = full;
    return RPC_OK;
}

rpc_code rpc_call_retry_pushback(rpc_call *call, int64_t delay_ms)
{
    char text[24];
    if (!call->server || delay_ms > 999999999)
        return RPC_INVALID_ARGUMENT;
    snprintf(text, sizeof text, "%lld", delay_ms < 0 ? -1LL : (long long)delay_ms);
    pthread_mutex_lock(&call->lock);
    rpc_code code = RPC_FAILED_PRECONDITION;
    if (!call->finish_asked && !call->inbox_over)
        code = rpc__out_header_add(&call->out_trailers, PUSHBACK_NAME, rpc_bytes_str(text), true);
    pthread_mutex_unlock(&call->lock);
    return code;
}

unsigned rpc_call_attempts(const rpc_call *call)
{
    return 1 + call->retry.attempts;
}
