/* SPDX-License-Identifier: Apache-2.0 */
/* A channel as its user sees it: made, called on, looked at, closed. Its connections are in
 * subchannel.c, the choice among them in balance.c. */
#include "channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_DEFAULT_MS  10000
#define CONNECT_MAX_MS      3600000
#define BACKOFF_INITIAL_MS  1000
#define BACKOFF_MAX_MS      120000
#define BACKOFF_LIMIT_MS    86400000
#define WAITING_DEFAULT_MAX 100000
#define RETRY_BUFFER_BYTES  (256 * 1024)
#define RETRY_TOKENS        10
#define RETRY_TOKEN_RATIO   100

void rpc__channel_conns(rpc_channel *channel, int change)
{
    pthread_mutex_lock(&channel->lock);
    channel->conns = (unsigned)((int)channel->conns + change);
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

void rpc__channel_sub_closed(rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->open_subs--;
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* The lock only for rpc_channel_free(), which looks at calls after it has set closing. */
static void call_gone(rpc_channel *channel)
{
    if (atomic_fetch_sub(&channel->calls, 1) != 1 || !atomic_load(&channel->closing))
        return;
    pthread_mutex_lock(&channel->lock);
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

static void call_over(rpc_call *call, const rpc_status *status)
{
    (void)status;
    rpc_channel *channel = call->owner;
    rpc__balance_leave_line(channel, call);
    call_gone(channel);
    rpc_call_unref(call); /* the library's */
}

static rpc_code set_retry(
    const rpc_channel *channel, rpc_call *call, const rpc_call_options *options, rpc_status *reterr)
{
    call->retry.allowed = options->idempotent || rpc__idempotent_has(channel->idempotent,
                                                     channel->idempotent_count, call->path);
    if (options->retry)
        return rpc__retry_policy_check(options->retry, &call->retry.policy, reterr);
    if (call->retry.allowed)
        call->retry.policy = channel->retry;
    return RPC_OK;
}

static rpc_code fill_call(rpc_channel *channel, rpc_call *call, const char *path,
    const rpc_call_options *options, rpc_status *reterr)
{
    call->path = rpc_arena_strndup(call->arena, path, strlen(path));
    if (!call->path)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    call->owner = channel;
    call->on_over = call_over;
    call->interceptors = &channel->interceptors;
    call->stats = channel->call_stats;
    call->receive_max = options->message_receive_bytes_max > 0
                            ? options->message_receive_bytes_max
                            : channel->limits.message_receive_bytes_max;
    call->stream_window = channel->limits.stream_window_bytes;
    if (options->stream_window_bytes > call->stream_window &&
        options->stream_window_bytes <= INT32_MAX)
        call->window_wanted = options->stream_window_bytes;
    call->wait_for_ready = options->wait_for_ready;
    call->accept = channel->accept;
    call->send_encoding = options->encoding ? options->encoding : channel->encoding;
    if (options->timeout_ms > 0 && options->timeout_ms < INT64_MAX / 2000)
        call->deadline_us = call->started_us + options->timeout_ms * 1000;
    for (size_t i = 0; i < options->metadata_count; i++) {
        const rpc_metadatum *datum = &options->metadata[i];
        rpc_code code = rpc__out_header_add(
            &call->out_headers, datum->name, datum->value, datum->sensitive);
        if (code != RPC_OK)
            return rpc_status_set(reterr, code,
                "channel: metadata %.64s cannot be sent; names are lower case and not gRPC's own, "
                "values printable ASCII unless the name ends in -bin",
                datum->name);
    }
    return set_retry(channel, call, options, reterr);
}

static rpc_call *new_call(rpc_channel *channel)
{
    rpc__sub *sub = rpc__balance_pick(channel);
    rpc__lane *home = rpc__channel_home(channel);
    rpc_call *call = rpc__call_new(
        sub ? sub->lane : home, home, false, channel->limits.call_memory_bytes_max);
    if (call)
        call->sub = sub;
    return call;
}

/* With *ret, the caller's reference. Once it has joined a parent, the parent's end may end it on
 * another thread: so that comes last. */
static rpc_code make_call(rpc_channel *channel, const char *path, const rpc_call_options *options,
    const rpc_handler *handler, void *user, rpc_call **ret, rpc_status *reterr)
{
    rpc_call *call = new_call(channel);
    rpc_code code = call ? fill_call(channel, call, path, options, reterr)
                         : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    if (code == RPC_OK) {
        call->handler = *handler;
        call->user = user;
        *ret = rpc_call_ref(call);
        rpc__stats_started(call->stats, call->started_us);
        if (options->parent)
            code = rpc__family_join(call, options->parent, reterr);
        if (code == RPC_OK)
            return RPC_OK;
        rpc__stats_ended(call->stats, call, code, 0);
        *ret = NULL;
        rpc_call_unref(call);
    }
    rpc_call_unref(call);
    return code;
}

rpc_code rpc_channel_start(rpc_channel *channel, const char *path, const rpc_call_options *options,
    const rpc_handler *handler, void *user, rpc_call **ret, rpc_status *reterr)
{
    static const rpc_call_options none;
    if (path[0] != '/' || !rpc__metadata_value_valid(rpc_bytes_str(path)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: a path is written /package.Service/Method, not %.100s", path);
    atomic_fetch_add(&channel->calls, 1);
    if (atomic_load(&channel->closing)) {
        call_gone(channel);
        return rpc_status_set(reterr, RPC_CANCELLED, "channel: it is being closed");
    }
    rpc_code code = make_call(channel, path, options ? options : &none, handler, user, ret, reterr);
    if (code != RPC_OK) {
        call_gone(channel);
        return code;
    }
    rpc__call_ask(*ret, RPC__ASK_START);
    return RPC_OK;
}

/* ---- state ------------------------------------------------------------------------------------
 */

const char *rpc_channel_state_name(rpc_channel_state state)
{
    static const char *const names[] = {
        "IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE", "SHUTDOWN"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "UNKNOWN";
}

rpc_channel_state rpc_channel_get_state(const rpc_channel *channel)
{
    return atomic_load(&channel->state);
}

void rpc_channel_connect(rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->asked_us = rpc__runtime_now_us(channel->runtime);
    pthread_mutex_unlock(&channel->lock);
    rpc__balance_wake(channel);
}

rpc_channel_stats rpc_channel_get_stats(rpc_channel *channel)
{
    rpc_channel_stats stats = {.connections = atomic_load(&channel->stats.connections),
        .connections_failed = atomic_load(&channel->stats.connections_failed),
        .retries = atomic_load(&channel->stats.retries),
        .retries_unseen = atomic_load(&channel->stats.retries_unseen),
        .retries_throttled = atomic_load(&channel->stats.retries_throttled),
        .calls = atomic_load(&channel->calls)};
    pthread_mutex_lock(&channel->lock);
    stats.waiting = channel->line_count;
    pthread_mutex_unlock(&channel->lock);
    return stats;
}

static void tell_state(void *arg)
{
    rpc_channel *channel = arg;
    rpc__lane *home = rpc__channel_home(channel);
    pthread_mutex_lock(&channel->lock);
    rpc_channel_state state = channel->state;
    channel->state_queued = false;
    pthread_mutex_unlock(&channel->lock);
    /* Once it is closed nobody may be called any more: see rpc_channel_free(). */
    if (state != channel->told && channel->told != RPC_CHANNEL_SHUTDOWN) {
        channel->told = state;
        channel->on_state(channel->state_ctx, state);
    }
    if (state == RPC_CHANNEL_SHUTDOWN) {
        pthread_mutex_lock(&channel->lock);
        channel->shutdown_told = true;
        pthread_cond_broadcast(&channel->changed);
        pthread_mutex_unlock(&channel->lock);
    }
    rpc__lane_unref(home);
}

/* ---- making and closing -------------------------------------------------------------------------
 */

static void free_channel(void *owner)
{
    rpc_channel *channel = owner;
    for (unsigned i = 1; i < channel->sub_count; i++)
        if (channel->subs[i].lane)
            rpc__lane_unref(channel->subs[i].lane);
    rpc__interceptors_done(&channel->interceptors);
    rpc__stats_free(channel->call_stats);
    rpc__tls_context_unref(channel->tls);
    rpc__idempotent_free(channel->idempotent, channel->idempotent_count);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static rpc_code check_range(
    const char *name, int64_t value, int64_t min, int64_t max, rpc_status *reterr)
{
    if (value == 0 || (value >= min && value <= max))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "channel: %s must be %lld..%lld, or 0 for the default", name, (long long)min,
        (long long)max);
}

static rpc_code check_options(const rpc_channel_options *options, rpc_status *reterr)
{
    rpc_code code = rpc__limits_check(&options->limits, reterr);
    if (code == RPC_OK)
        code = check_range("connect_ms", options->connect_ms, 1, CONNECT_MAX_MS, reterr);
    if (code == RPC_OK)
        code = check_range(
            "backoff_initial_ms", options->backoff_initial_ms, 1, BACKOFF_LIMIT_MS, reterr);
    if (code == RPC_OK)
        code = check_range("backoff_max_ms", options->backoff_max_ms, 1, BACKOFF_LIMIT_MS, reterr);
    if (code == RPC_OK)
        code = check_range("retry_tokens_max", options->retry_tokens_max, 1, 1000, reterr);
    if (code == RPC_OK)
        code = check_range("retry_token_ratio", options->retry_token_ratio, 1, 1000, reterr);
    return code;
}

/* The next of a target's addresses, with the scheme of the first: "tls+tcp://a:1,b:2". */
static rpc_code next_url(
    const char *target, const char **at, rpc__url *ret_url, bool *ret_last, rpc_status *reterr)
{
    char text[RPC__URL_MAX + 1] = "";
    const char *rest = strstr(target, "://");
    size_t scheme = rest && strncmp(target, "ipc://", 6) != 0 ? (size_t)(rest + 3 - target) : 0;
    const char *begin = *at ? *at : target + scheme;
    size_t size = scheme ? strcspn(begin, ",") : strlen(begin);
    if (scheme + size >= sizeof text)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: an address of the target is longer than %d bytes", RPC__URL_MAX - 1);
    memcpy(text, target, scheme);
    memcpy(text + scheme, begin, size);
    *ret_last = begin[size] == '\0';
    *at = begin + size + !*ret_last;
    return rpc__url_parse(text, ret_url, reterr);
}

static rpc_code check_url(
    const rpc_channel_options *options, const rpc__url *url, rpc_status *reterr)
{
    if (url->scheme != RPC__SCHEME_TCP || (options->allow_plain_text && url->loopback))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "channel: tcp:// is plain text, for loopback and with allow_plain_text only; use "
        "tls+tcp://");
}

static rpc_code parse_target(const rpc_channel_options *options,
    rpc__url ret_urls[RPC_CONNECTIONS_MAX], unsigned *ret_count, rpc_status *reterr)
{
    const char *at = NULL;
    bool last = false;
    for (*ret_count = 0; !last; (*ret_count)++) {
        if (*ret_count == RPC_CONNECTIONS_MAX)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "channel: the target has more than %d addresses", RPC_CONNECTIONS_MAX);
        rpc_code code = next_url(options->target, &at, &ret_urls[*ret_count], &last, reterr);
        if (code == RPC_OK)
            code = check_url(options, &ret_urls[*ret_count], reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static void set_options(rpc_channel *channel, const rpc_channel_options *options)
{
    channel->limits = options->limits;
    atomic_init(&channel->keepalive_ms, options->limits.keepalive_ms);
    channel->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_DEFAULT_MS;
    channel->backoff_initial_ms = options->backoff_initial_ms ? options->backoff_initial_ms
                                                              : BACKOFF_INITIAL_MS;
    channel->backoff_max_ms = options->backoff_max_ms ? options->backoff_max_ms : BACKOFF_MAX_MS;
    channel->line_max = options->waiting_calls_max ? options->waiting_calls_max
                                                   : WAITING_DEFAULT_MAX;
    channel->encoding = options->encoding;
    channel->accept = rpc__accept_of(options->accept_encodings);
    channel->retry_buffer_bytes_max = options->retry_buffer_bytes_max
                                          ? options->retry_buffer_bytes_max
                                          : RETRY_BUFFER_BYTES;
    channel->retry_tokens_max = 1000 * (int)(options->retry_tokens_max ? options->retry_tokens_max
                                                                       : RETRY_TOKENS);
    channel->retry_token_ratio = (int)(options->retry_token_ratio ? options->retry_token_ratio
                                                                  : RETRY_TOKEN_RATIO);
    atomic_init(&channel->retry_tokens, channel->retry_tokens_max);
    channel->own_name = options->tls.server_name != NULL;
    channel->resolve = options->resolve;
    channel->resolve_ctx = options->resolve_ctx;
    channel->on_state = options->on_state;
    channel->state_ctx = options->state_ctx;
}

static bool add_sub(rpc_channel *channel, unsigned index, unsigned turn, const rpc__url *url)
{
    rpc__sub *sub = &channel->subs[index];
    sub->channel = channel;
    sub->index = index;
    sub->turn = turn;
    sub->url = *url;
    rpc__sub_init(sub);
    sub->lane = rpc__lane_new(channel->runtime, NULL, index == 0 ? free_channel : NULL, channel);
    return sub->lane != NULL;
}

static bool add_subs(
    rpc_channel *channel, const rpc__url *urls, unsigned url_count, unsigned connections)
{
    /* The home comes last: once it is there, it alone frees the channel. */
    for (unsigned i = url_count * connections; i-- > 0;)
        if (!add_sub(channel, i, i / url_count, &urls[i % url_count]))
            return false;
    return true;
}

static void enter_census(rpc_channel *channel)
{
    rpc__census *census = rpc__runtime_census(channel->runtime);
    rpc__census_enter(census, &channel->entry, RPC__CENSUS_CHANNEL, channel, NULL);
    for (unsigned i = 0; i < channel->sub_count; i++)
        rpc__census_enter(
            census, &channel->subs[i].entry, RPC__CENSUS_SUBCHANNEL, &channel->subs[i], channel);
}

static void leave_census(rpc_channel *channel)
{
    rpc__census *census = rpc__runtime_census(channel->runtime);
    for (unsigned i = 0; i < channel->sub_count; i++)
        rpc__census_leave(census, &channel->subs[i].entry);
    rpc__census_leave(census, &channel->entry);
}

void rpc_channel_call_stats(const rpc_channel *channel, rpc_call_stats *ret)
{
    *ret = (rpc_call_stats){0};
    rpc__stats_add_to(channel->call_stats, ret);
}

static rpc_code make(rpc_runtime *runtime, const rpc_channel_options *options, const rpc__url *urls,
    unsigned url_count, rpc_channel **ret, rpc_status *reterr)
{
    unsigned connections = options->connections ? options->connections : 1;
    if (connections > RPC_CONNECTIONS_MAX / url_count)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "channel: %u connections to each of %u addresses are more than %d", connections,
            url_count, RPC_CONNECTIONS_MAX);
    unsigned count = url_count * connections;
    rpc_channel *channel = calloc(1, sizeof *channel + count * sizeof channel->subs[0]);
    if (!channel)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    channel->runtime = runtime;
    channel->sub_count = channel->open_subs = count;
    channel->idle_subs = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->changed, NULL);
    rpc__task_init(&channel->state_task, tell_state, channel);
    set_options(channel, options);
    rpc_code code = RPC_OK;
    if (urls[0].scheme == RPC__SCHEME_TLS_TCP)
        code = rpc__tls_context_new_client(&options->tls, urls[0].host, &channel->tls, reterr);
    if (code == RPC_OK && !rpc__interceptors_init(&channel->interceptors, options->interceptors,
                              options->interceptor_count))
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    channel->call_stats = rpc__stats_new();
    snprintf(channel->target, sizeof channel->target, "%s", options->target);
    if (code == RPC_OK && !channel->call_stats)
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    if (code == RPC_OK)
        code = rpc__retry_policy_check(&options->retry, &channel->retry, reterr);
    if (code == RPC_OK)
        code = rpc__idempotent_read(
            options->descriptor_set, &channel->idempotent, &channel->idempotent_count, reterr);
    if (code == RPC_OK && !add_subs(channel, urls, url_count, connections))
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    if (code != RPC_OK) {
        free_channel(channel);
        return code;
    }
    enter_census(channel);
    *ret = channel;
    return RPC_OK;
}

rpc_code rpc_channel_set_tls(rpc_channel *channel, const rpc_tls_options *tls, rpc_status *reterr)
{
    rpc__tls_context *context = NULL;
    pthread_mutex_lock(&channel->lock);
    const bool plain = channel->tls == NULL;
    pthread_mutex_unlock(&channel->lock);
    if (plain)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "channel: its target is plain text; only a tls+tcp:// target has TLS options");
    rpc_code code = rpc__tls_context_new_client(tls, channel->subs[0].url.host, &context, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&channel->lock);
    rpc__tls_context *old = channel->tls;
    channel->tls = context;
    channel->own_name = tls->server_name != NULL;
    channel->tls_turn++;
    pthread_mutex_unlock(&channel->lock);
    rpc__tls_context_unref(old);
    for (unsigned i = 0; i < channel->sub_count; i++)
        rpc__sub_ask(&channel->subs[i], RPC__SUB_ASK_RENEW);
    return RPC_OK;
}

rpc_code rpc_channel_new(
    rpc_runtime *runtime, const rpc_channel_options *options, rpc_channel **ret, rpc_status *reterr)
{
    rpc_code code = check_options(options, reterr);
    if (code != RPC_OK)
        return code;
    rpc__url *urls = calloc(RPC_CONNECTIONS_MAX, sizeof *urls);
    if (!urls)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory");
    unsigned count = 0;
    code = parse_target(options, urls, &count, reterr);
    if (code == RPC_OK)
        code = make(runtime, options, urls, count, ret, reterr);
    free(urls);
    return code;
}

static void shut_down(rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->state = RPC_CHANNEL_SHUTDOWN;
    bool tell = channel->on_state && !channel->state_queued;
    channel->state_queued |= tell;
    channel->shutdown_told = !channel->on_state;
    pthread_mutex_unlock(&channel->lock);
    if (!tell)
        return;
    rpc__lane_ref(rpc__channel_home(channel));
    rpc__strand_post(&rpc__channel_home(channel)->strand, &channel->state_task);
}

void rpc_channel_free(rpc_channel *channel)
{
    if (!channel)
        return;
    leave_census(channel);
    atomic_store(&channel->closing, true);
    for (unsigned i = 0; i < channel->sub_count; i++)
        rpc__sub_ask(&channel->subs[i], RPC__SUB_ASK_CLOSE);
    rpc__balance_close(channel);
    pthread_mutex_lock(&channel->lock);
    while (channel->open_subs > 0 || channel->conns > 0 || atomic_load(&channel->calls) > 0)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    shut_down(channel);
    pthread_mutex_lock(&channel->lock);
    while (!channel->shutdown_told)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    rpc__lane_unref(rpc__channel_home(channel));
}
