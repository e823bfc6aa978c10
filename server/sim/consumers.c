/* SPDX-License-Identifier: Apache-2.0 */
/* A flight is one question under way: the thread that brought it up asks the DACM, the others that
 * ask the same wait for it. The lock guards the list of flights, what a flight has come to, and how
 * many threads are in here; it is not held while anybody asks.
 *
 * What the DACM says is checked like anything from outside: whoever sits in its place may at most
 * give wrong answers, not odd ones. */
#include "consumers.h"

#include "dacm/v1/consumer_list.pb-c.h"
#include "proto_descriptors.h"
#include "trust.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#define USERS_MAX          TRUST_USERS_MAX
#define MESSAGE_BYTES_MAX  (512u << 10) /* a page of 1,000 users of 255 bytes */
#define ANSWER_ARENA       (4u << 20)
#define WINDOW_BYTES       (64u << 10)
#define SHORTEST_USER      13u /* with the blank after it: msisdn- and five digits */
#define LIST_TRIES_MAX     3u
#define KEEPALIVE_MS       5000
#define BACKOFF_INITIAL_MS 100
#define BACKOFF_MAX_MS     5000
#define LOG_INTERVAL_US    1000000
#define RETRY_BUSY_S       1u
#define RETRY_AWAY_S       2u

typedef struct flight {
    struct flight *next;
    unsigned users;      /* threads that look at it */
    bool landed, nobody; /* nobody: answered, and none of them may use it */
    const char *asset_id;
    size_t count;
    const char *names[USERS_MAX]; /* sorted, each once */
    bool allowed[USERS_MAX];
    sim_profile *profile;
    rpc_status status;
    pthread_cond_t land;
    char text[];
} flight;

struct sim_consumers {
    rpc_channel *channel;
    bool full;
    int64_t deadline_ms;
    const rpc_clock *clock;
    char *resource;
    host_log *log;
    host_counter *asked, *shared, *failed, *refused, *odd;
    host_histogram *took;
    atomic_int_fast64_t logged_us;
    pthread_mutex_t lock;
    flight *flights;
    unsigned waiting, waiting_max;
};

/* ---- a profile ------------------------------------------------------------------------------- */

void sim_profile_free(sim_profile *profile)
{
    free(profile);
}

/* Copies; names are sorted, each once. */
static sim_profile *profile_of(const char *const *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(names[i]) + 1;
    sim_profile *profile = malloc(sizeof *profile + (count + 1) * sizeof(char *) + bytes);
    if (!profile)
        return NULL;
    const char **users = (const char **)(void *)(profile + 1);
    char *at = (char *)(users + count + 1);
    for (size_t i = 0; i < count; i++) {
        const size_t size = strlen(names[i]) + 1;
        users[i] = memcpy(at, names[i], size);
        at += size;
    }
    users[count] = NULL;
    *profile = (sim_profile){.count = count, .users = users};
    return profile;
}

static int by_text(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

/* Sorted, each once; how many are left. */
static size_t sort_names(const char **names, size_t count)
{
    size_t kept = 0;
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    return kept;
}

static bool find_name(const char *const *names, size_t count, const char *name, size_t *ret)
{
    const char *const *found = count ? bsearch(&name, names, count, sizeof *names, by_text) : NULL;
    if (found)
        *ret = (size_t)(found - names);
    return found != NULL;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static rpc_tls_options tls_of(const sim_consumers_options *options)
{
    const bool named = options->server_name && options->server_name[0];
    return (rpc_tls_options){.certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .ca_file = options->ca_file,
        .server_name = named ? options->server_name : NULL};
}

static rpc_code told(
    const sim_consumers_options *options, rpc_code code, const rpc_status *why, rpc_status *reterr)
{
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "DACM '%.100s': %.260s", options->resource,
                                why->message);
}

static rpc_code open_channel(
    const sim_consumers_options *options, rpc_channel **ret, rpc_status *reterr)
{
    rpc_channel_options channel = {
        .target = options->target,
        .tls = tls_of(options),
        .limits = rpc_limits_default_client(),
        .connect_ms = options->deadline_ms,
        .backoff_initial_ms = BACKOFF_INITIAL_MS,
        .backoff_max_ms = BACKOFF_MAX_MS,
        .descriptor_set = {proto_descriptors, proto_descriptors_size},
        .retry = {.attempts_max = 2},
    };
    rpc_status why;
    channel.limits.message_receive_bytes_max = MESSAGE_BYTES_MAX;
    channel.limits.stream_window_bytes = WINDOW_BYTES;
    /* a connection into a black hole is noticed: reports go over it all the time */
    channel.limits.keepalive_ms = KEEPALIVE_MS;
    channel.limits.keepalive_timeout_ms = KEEPALIVE_MS;
    return told(options, rpc_channel_new(options->runtime, &channel, ret, &why), &why, reterr);
}

rpc_code sim_consumers_renew(
    sim_consumers *c, const sim_consumers_options *options, rpc_status *reterr)
{
    const rpc_tls_options tls = tls_of(options);
    rpc_status why;
    return told(options, rpc_channel_set_tls(c->channel, &tls, &why), &why, reterr);
}

static void open_metrics(sim_consumers *c, host_metrics *metrics)
{
    char labels[1100];
    snprintf(labels, sizeof labels, "dacm=\"%s\"", c->resource);
    c->asked = host_metrics_counter(
        metrics, "sim_step5a_questions_total", "Questions that the DACM was asked.", labels);
    c->shared = host_metrics_counter(metrics, "sim_step5a_shared_total",
        "Requests that were answered by a question under way.", labels);
    c->failed = host_metrics_counter(
        metrics, "sim_step5a_failed_total", "Questions that the DACM did not answer.", labels);
    c->refused = host_metrics_counter(metrics, "sim_step5a_refused_total",
        "Requests refused because step5a.waiting_max were waiting.", labels);
    c->odd = host_metrics_counter(
        metrics, "sim_step5a_odd_total", "Answers of the DACM that no DACM gives.", labels);
    c->took = host_metrics_histogram(
        metrics, "sim_step5a_seconds", "How long the DACM took to answer.", labels);
}

rpc_code sim_consumers_new(
    const sim_consumers_options *options, sim_consumers **ret, rpc_status *reterr)
{
    sim_consumers *c = calloc(1, sizeof *c);
    char *resource = strdup(options->resource);
    if (!c || !resource) {
        free(c);
        free(resource);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "step 5a: no memory");
    }
    pthread_mutex_init(&c->lock, NULL);
    c->resource = resource;
    c->full = options->disclose_full;
    c->deadline_ms = options->deadline_ms;
    c->waiting_max = options->waiting_max;
    c->log = options->log;
    c->clock = rpc_clock_system();
    atomic_init(&c->logged_us, -LOG_INTERVAL_US);
    open_metrics(c, options->metrics);
    const rpc_code code = open_channel(options, &c->channel, reterr);
    if (code == RPC_OK)
        *ret = c;
    else
        sim_consumers_free(c);
    return code;
}

void sim_consumers_free(sim_consumers *c)
{
    if (!c)
        return;
    rpc_channel_free(c->channel);
    pthread_mutex_destroy(&c->lock);
    free(c->resource);
    free(c);
}

rpc_channel *sim_consumers_channel(sim_consumers *c)
{
    return c->channel;
}

/* A line a second: whoever asks without end writes no log without end. */
static void tell(sim_consumers *c, const char *message, const rpc_status *why)
{
    const int64_t now = rpc_clock_monotonic_us(c->clock);
    int_fast64_t last = atomic_load(&c->logged_us);
    if (now - last < LOG_INTERVAL_US || !atomic_compare_exchange_strong(&c->logged_us, &last, now))
        return;
    HOST_LOG(c->log, HOST_WARNING, message, host_text("dacm", c->resource),
        host_text("code", rpc_code_name(why->code)), host_text("why", why->message));
}

static rpc_code odd(sim_consumers *c, rpc_status *status, const char *what)
{
    host_counter_add(c->odd, 1);
    return rpc_status_set(status, RPC_INTERNAL, "the DACM's answer %s", what);
}

/* ---- GetConsumerList ------------------------------------------------------------------------- */

/* Those asked about, in the order in which they were asked about. */
static rpc_code take_allowed(
    sim_consumers *c, flight *f, const Dacm__V1__GetConsumerListResponse *answer)
{
    size_t next = 0;
    if (answer->n_allowed_users > f->count)
        return odd(c, &f->status, "names more users than it was asked about");
    for (size_t i = 0; i < answer->n_allowed_users; i++) {
        size_t at = 0;
        if (!find_name(f->names, f->count, answer->allowed_users[i], &at))
            return odd(c, &f->status, "names a user that it was not asked about");
        if (at < next)
            return odd(c, &f->status, "names users twice or in another order");
        f->allowed[at] = true;
        next = at + 1;
    }
    if (answer->count < answer->n_allowed_users)
        return odd(c, &f->status, "counts fewer users than it names");
    return RPC_OK;
}

static rpc_code ask_allowed(
    sim_consumers *c, flight *f, int64_t timeout_ms, uint64_t *ret_count, size_t *ret_allowed)
{
    const rpc_call_options options = {.timeout_ms = timeout_ms};
    Dacm__V1__GetConsumerListRequest request = DACM__V1__GET_CONSUMER_LIST_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    rpc_arena *arena = rpc_arena_new(ANSWER_ARENA);
    if (!arena)
        return rpc_status_set(&f->status, RPC_RESOURCE_EXHAUSTED, "step 5a: no memory");
    request.asset_id = (char *)(uintptr_t)f->asset_id;
    request.users = (char **)(uintptr_t)f->names;
    request.n_users = f->count;
    rpc_code code = rpc_channel_unary(c->channel, "/dacm.v1.ConsumerLists/GetConsumerList",
        &options, &request.base, &dacm__v1__get_consumer_list_response__descriptor, arena, &reply,
        &f->status);
    if (code == RPC_OK) {
        const Dacm__V1__GetConsumerListResponse *answer =
            (const Dacm__V1__GetConsumerListResponse *)reply;
        code = take_allowed(c, f, answer);
        *ret_count = answer->count;
        *ret_allowed = answer->n_allowed_users;
    }
    rpc_arena_free(arena);
    return code;
}

/* ---- ListConsumers --------------------------------------------------------------------------- */

/* Written on the call's strand until on_end, read after `ended`. */
typedef struct listing {
    sem_t ended;
    bool too_long, bad;
    size_t count, size;
    const char *names[(SIM_PROFILE_BYTES_MAX + 1) / SHORTEST_USER + 1];
    char text[SIM_PROFILE_BYTES_MAX + 1]; /* strings with their NULs: as long as with blanks */
    rpc_status status;
} listing;

static void add_user(listing *l, const char *user)
{
    const size_t size = strlen(user) + 1;
    if (!trust_gpsi_valid(rpc_bytes_str(user)))
        l->bad = true;
    else if (size > sizeof l->text - l->size)
        l->too_long = true;
    else {
        l->names[l->count++] = memcpy(&l->text[l->size], user, size);
        l->size += size;
    }
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    listing *l = user;
    ProtobufCMessage *unpacked = NULL;
    if (rpc_message_unpack(
            message, &dacm__v1__list_consumers_response__descriptor, &unpacked, NULL) != RPC_OK)
        l->bad = true;
    const Dacm__V1__ListConsumersResponse *page = (const Dacm__V1__ListConsumersResponse *)unpacked;
    for (size_t i = 0; page && i < page->n_allowed_users && !l->bad && !l->too_long; i++)
        add_user(l, page->allowed_users[i]);
    if (l->bad || l->too_long)
        rpc_call_cancel(call); /* what else there is need not be read */
    rpc_message_release(message);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    listing *l = user;
    l->status = *status;
    sem_post(&l->ended);
}

static rpc_code list_once(
    sim_consumers *c, const flight *f, int64_t timeout_ms, listing *l, rpc_status *reterr)
{
    static const rpc_handler handler = {.on_message = on_message, .on_end = on_end};
    const rpc_call_options options = {.timeout_ms = timeout_ms};
    Dacm__V1__ListConsumersRequest request = DACM__V1__LIST_CONSUMERS_REQUEST__INIT;
    rpc_call *call = NULL;
    request.asset_id = (char *)(uintptr_t)f->asset_id;
    sem_init(&l->ended, 0, 0);
    rpc_code code = rpc_channel_start(
        c->channel, "/dacm.v1.ConsumerLists/ListConsumers", &options, &handler, l, &call, reterr);
    if (code == RPC_OK) {
        if (rpc_call_send_packed(call, &request.base) == RPC_SENT_OK)
            rpc_call_half_close(call);
        while (sem_wait(&l->ended) != 0) {
            /* interrupted by a signal */
        }
        rpc_call_unref(call);
        *reterr = l->status;
        code = l->bad || l->too_long ? RPC_OK : l->status.code;
    }
    sem_destroy(&l->ended);
    return code;
}

/* Who is on the list and was allowed before: the list may have changed in between. */
static rpc_code take_list(flight *f, listing *l)
{
    size_t at = 0, left = 0;
    l->count = sort_names(l->names, l->count);
    for (size_t i = 0; i < f->count; i++) {
        f->allowed[i] = f->allowed[i] && find_name(l->names, l->count, f->names[i], &at);
        left += f->allowed[i];
    }
    f->nobody = left == 0;
    f->profile = profile_of(l->names, l->count);
    return f->profile ? RPC_OK
                      : rpc_status_set(&f->status, RPC_RESOURCE_EXHAUSTED, "step 5a: no memory");
}

/* The whole list, where it fits; f->profile stays NULL where it does not. */
static rpc_code ask_list(sim_consumers *c, flight *f, int64_t end_us)
{
    rpc_code code = RPC_ABORTED; /* the list changed while it was read */
    listing *l = malloc(sizeof *l);
    if (!l)
        return rpc_status_set(&f->status, RPC_RESOURCE_EXHAUSTED, "step 5a: no memory");
    for (unsigned i = 0; i < LIST_TRIES_MAX && code == RPC_ABORTED; i++) {
        const int64_t left_ms = (end_us - rpc_clock_monotonic_us(c->clock)) / 1000;
        *l = (listing){.count = 0};
        code = left_ms > 0 ? list_once(c, f, left_ms, l, &f->status)
                           : rpc_status_set(&f->status, RPC_DEADLINE_EXCEEDED, "too late");
    }
    if (code == RPC_PERMISSION_DENIED) {
        tell(c,
            "dacms[].disclose is full, but the DACM lets us not have the list: "
            "peers.sims[].full_list there; tokens name their own users only",
            &f->status);
        code = RPC_OK;
    } else if (code == RPC_OK && l->bad)
        code = odd(c, &f->status, "has something in its list that is no GPSI");
    else if (code == RPC_OK && !l->too_long)
        code = take_list(f, l);
    free(l);
    return code;
}

/* ---- a question ------------------------------------------------------------------------------ */

static rpc_code own_profile(flight *f)
{
    const char *names[USERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++)
        if (f->allowed[i])
            names[count++] = f->names[i];
    f->profile = profile_of(names, count);
    return f->profile ? RPC_OK
                      : rpc_status_set(&f->status, RPC_RESOURCE_EXHAUSTED, "step 5a: no memory");
}

static rpc_code ask_dacm(sim_consumers *c, flight *f)
{
    const int64_t end_us = rpc_clock_monotonic_us(c->clock) + c->deadline_ms * 1000;
    uint64_t count = 0;
    size_t allowed = 0;
    rpc_code code = ask_allowed(c, f, c->deadline_ms, &count, &allowed);
    f->nobody = code == RPC_OK && allowed == 0;
    if (f->nobody)
        return RPC_OK;
    if (code == RPC_OK && c->full && count <= (SIM_PROFILE_BYTES_MAX + 1) / SHORTEST_USER)
        code = ask_list(c, f, end_us);
    return code == RPC_OK && !f->profile ? own_profile(f) : code;
}

static void fly(sim_consumers *c, flight *f)
{
    const int64_t from = rpc_clock_monotonic_us(c->clock);
    const rpc_code code = ask_dacm(c, f);
    host_counter_add(c->asked, 1);
    host_histogram_record(c->took, rpc_clock_monotonic_us(c->clock) - from);
    f->status.code = code;
    if (code != RPC_OK) {
        host_counter_add(c->failed, 1);
        tell(c, "step 5a failed: the DACM cannot be asked", &f->status);
    }
}

static bool same_question(const flight *f, const char *asset_id, const char **names, size_t count)
{
    bool same = f->count == count && strcmp(f->asset_id, asset_id) == 0;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(f->names[i], names[i]) == 0;
    return same;
}

static flight *flight_new(const char *asset_id, const char **names, size_t count)
{
    size_t bytes = strlen(asset_id) + 1;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(names[i]) + 1;
    flight *f = calloc(1, sizeof *f + bytes);
    if (!f)
        return NULL;
    char *at = f->text;
    f->asset_id = memcpy(at, asset_id, strlen(asset_id) + 1);
    at += strlen(asset_id) + 1;
    f->count = count;
    for (size_t i = 0; i < count; i++) {
        f->names[i] = memcpy(at, names[i], strlen(names[i]) + 1);
        at += strlen(names[i]) + 1;
    }
    pthread_cond_init(&f->land, NULL);
    return f;
}

static void flight_free(flight *f)
{
    pthread_cond_destroy(&f->land);
    sim_profile_free(f->profile);
    free(f);
}

/* Locked. NULL without memory; *ret_ours: the caller is to fly it. */
static flight *board(
    sim_consumers *c, const char *asset_id, const char **names, size_t count, bool *ret_ours)
{
    flight *f = c->flights;
    while (f && !same_question(f, asset_id, names, count))
        f = f->next;
    *ret_ours = !f;
    if (!f) {
        f = flight_new(asset_id, names, count);
        if (f) {
            f->next = c->flights;
            c->flights = f;
        }
    }
    if (f)
        f->users++;
    return f;
}

/* Locked. Nobody boards any more: what comes later is asked anew. */
static void land(sim_consumers *c, flight *f)
{
    flight **at = &c->flights;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->landed = true;
    pthread_cond_broadcast(&f->land);
}

/* What the flight came to, for one of those on it. */
static rpc_code take_result(const flight *f, const char *const *users, size_t count,
    bool *ret_allowed, sim_profile **ret, unsigned *ret_retry_s, rpc_status *reterr)
{
    if (f->nobody)
        return rpc_status_set(reterr, RPC_NOT_FOUND, "nobody of them may use the asset");
    if (f->status.code != RPC_OK) {
        *ret_retry_s = RETRY_AWAY_S;
        return rpc_status_set(
            reterr, RPC_UNAVAILABLE, "the DACM cannot be asked: %.300s", f->status.message);
    }
    sim_profile *profile = profile_of(f->profile->users, f->profile->count);
    if (!profile) {
        *ret_retry_s = RETRY_BUSY_S;
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "step 5a: no memory");
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        ret_allowed[i] = find_name(f->names, f->count, users[i], &at) && f->allowed[at];
    }
    *ret = profile;
    return RPC_OK;
}

rpc_code sim_consumers_ask(sim_consumers *c, const char *asset_id, const char *const *users,
    size_t count, bool *ret_allowed, sim_profile **ret, unsigned *ret_retry_s, rpc_status *reterr)
{
    const char *names[USERS_MAX];
    bool ours = false;
    if (count < 1 || count > USERS_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "step 5a: a token acts for 1 to %u users", USERS_MAX);
    memcpy(names, users, count * sizeof *names);
    const size_t unique = sort_names(names, count);
    pthread_mutex_lock(&c->lock);
    flight *f = c->waiting < c->waiting_max ? board(c, asset_id, names, unique, &ours) : NULL;
    if (!f) {
        pthread_mutex_unlock(&c->lock);
        host_counter_add(c->refused, 1);
        *ret_retry_s = RETRY_BUSY_S;
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "step 5a: too many requests wait for the DACM (step5a.waiting_max)");
    }
    c->waiting++;
    if (ours) {
        pthread_mutex_unlock(&c->lock);
        fly(c, f);
        pthread_mutex_lock(&c->lock);
        land(c, f);
    } else
        host_counter_add(c->shared, 1);
    while (!f->landed) /* no longer than the deadline of its question */
        pthread_cond_wait(&f->land, &c->lock);
    const rpc_code code = take_result(f, users, count, ret_allowed, ret, ret_retry_s, reterr);
    c->waiting--;
    if (--f->users == 0)
        flight_free(f);
    pthread_mutex_unlock(&c->lock);
    return code;
}
