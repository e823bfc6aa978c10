/* SPDX-License-Identifier: Apache-2.0 */
/* A client's key set, kept up to date by a thread of its own: WatchKeys brings each change, and
 * GetKeySet is asked on the same connection when somebody met a key that is not known.
 *
 *     resting ──▶ asking ──answer──▶ watching ──end, refusal, silence──▶ resting (longer each time)
 *
 * LOCKS. mailbox.lock guards every member that the comment marks; no other lock is taken and no
 * call into the runtime or the disk is made while it is held. */
#include "keyserver.h"
#include "cleanup.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS_DEFAULT 5000
#define UNKNOWN_MS_DEFAULT 30000
#define REFRESH_MS_DEFAULT 300000
#define BOUND_MS           2000 /* what a connected client may be behind (docs/keys.md) */
#define REST_MIN_MS        250
#define REST_MAX_MS        30000
#define LIVED_MS           30000 /* a watch that held so long is no failure to come back soon from */
/* Sets change some times a year; somebody who sends more is no SKM-S that works. */
#define SETS_IN_A_ROW 64u
#define SETS_ROW_MS   60000

enum { WATCH, GET, EXCHANGES };

struct client_watch {
    dacm_trust trust;
    char *service, *address, *ca_file, *server_name;
    bool allow_plain_text;
    int64_t timeout_ms, unknown_ms, refresh_ms;
    rpc_runtime *runtime;
    const rpc_clock *clock;
    pthread_t thread;
    pthread_cond_t told;          /* with mailbox.lock: rounds or answers moved on */
    atomic_uint_fast64_t answers; /* state.answers, without the lock */
    client_mailbox mailbox;
    /* Guarded by mailbox.lock: */
    bool started, stopping;
    bool wanted;           /* somebody waits for the next round */
    uint64_t rounds;       /* attempts that were answered or failed */
    int64_t asked_at_us;   /* by whom the last refresh was wanted; 0 = nobody yet */
    int64_t in_vain_at_us; /* an answer was waited for that did not come; 0 = never */
    dacm_keys_state state;
    /* The thread's: */
    client_speaker speaker;
    dacm_client *server;
    client_exchange *exchanges[EXCHANGES];
    int64_t opened_ms, row_from_ms;
    unsigned row;
    bool answered;
};

static int64_t now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static client_wanted_set wanted_set(const client_watch *w)
{
    return (client_wanted_set){&w->trust, w->service, DACM_KEYS_FOR_MANIFESTS};
}

/* ---- what it knows -----------------------------------------------------------------------------
 */

/* Also what was known already: another process may have kept it a moment ago. */
static void note_answer(client_watch *w)
{
    pthread_mutex_lock(&w->mailbox.lock);
    w->state.watching = w->exchanges[WATCH] != NULL;
    w->state.answers++;
    w->state.answered_at = rpc_clock_wall_ms(w->clock) / 1000;
    w->state.failure = (dacm_error){.code = DACM_OK};
    w->rounds++;
    w->wanted = false;
    atomic_store_explicit(&w->answers, w->state.answers, memory_order_release);
    pthread_cond_broadcast(&w->told);
    pthread_mutex_unlock(&w->mailbox.lock);
}

static void note_failure(client_watch *w, const dacm_error *why)
{
    pthread_mutex_lock(&w->mailbox.lock);
    w->state.watching = false;
    w->state.failures++;
    w->state.failure = *why;
    w->rounds++;
    w->wanted = false;
    pthread_cond_broadcast(&w->told);
    pthread_mutex_unlock(&w->mailbox.lock);
}

static bool is_stopping(client_watch *w)
{
    pthread_mutex_lock(&w->mailbox.lock);
    const bool stopping = w->stopping;
    pthread_mutex_unlock(&w->mailbox.lock);
    return stopping;
}

static bool is_wanted(client_watch *w)
{
    pthread_mutex_lock(&w->mailbox.lock);
    const bool wanted = w->wanted;
    pthread_mutex_unlock(&w->mailbox.lock);
    return wanted;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static dacm_code open_server(client_watch *w, dacm_error *reterr)
{
    const dacm_client_options options = {
        .target = w->address ? w->address : w->speaker.address,
        .allow_plain_text = w->allow_plain_text,
        .ca_file = w->ca_file,
        .server_name = w->server_name,
        .timeout_ms = w->timeout_ms,
        .clock = w->clock,
    };
    return w->server ? DACM_OK : client__new_keyserver(&options, w->runtime, &w->server, reterr);
}

static dacm_code ask(client_watch *w, int which, dacm_error *reterr)
{
    const client_wanted_set wanted = wanted_set(w);
    return client__keyset_ask(w->server, &w->mailbox,
        which == WATCH ? KEYS_WATCH_PATH : KEYS_GET_PATH, &wanted, &w->speaker,
        which == WATCH ? 0 : w->server->timeout_ms, &w->exchanges[which], reterr);
}

static void hang_up(client_watch *w)
{
    for (int i = 0; i < EXCHANGES; i++) {
        client__exchange_close(w->exchanges[i]);
        w->exchanges[i] = NULL;
    }
}

static dacm_code judge_row(client_watch *w, dacm_error *reterr)
{
    const int64_t now = now_ms();
    if (now - w->row_from_ms > SETS_ROW_MS) {
        w->row_from_ms = now;
        w->row = 0;
    }
    if (w->row++ < SETS_IN_A_ROW)
        return DACM_OK;
    return client__fail(reterr, DACM_RESOURCE_EXHAUSTED,
        "'%.200s' sends key sets without end: more than %u in %d s", w->speaker.issuer,
        SETS_IN_A_ROW, SETS_ROW_MS / 1000);
}

static dacm_code take(client_watch *w, rpc_message *message, dacm_error *reterr)
{
    const client_wanted_set wanted = wanted_set(w);
    dacm_trust_change change;
    dacm_code code = judge_row(w, reterr);
    if (code == DACM_OK)
        code = client__keyset_take(&wanted, &w->speaker, message, &change, reterr);
    rpc_message_release(message);
    if (code != DACM_OK)
        return code;
    w->answered = true;
    note_answer(w);
    return DACM_OK;
}

static dacm_code on_end(client_watch *w, size_t index, const dacm_error *end, dacm_error *reterr)
{
    client__exchange_close(w->exchanges[index]);
    w->exchanges[index] = NULL;
    if (index == GET && end->code == DACM_OK)
        return DACM_OK;
    if (index == WATCH && end->code == DACM_OK)
        return client__fail(reterr, DACM_UNAVAILABLE, "the SKM-S ended the watch of its keys");
    if (reterr)
        *reterr = *end;
    return end->code;
}

/* What is left until the next thing has to happen without an event. */
static int64_t patience_ms(const client_watch *w)
{
    if (w->answered)
        return w->refresh_ms;
    const int64_t left = w->opened_ms + w->server->timeout_ms - now_ms();
    return left > 0 ? left : 0;
}

/* Nothing came for so long: a refresh says whether the other side still is what it was. */
static dacm_code on_silence(client_watch *w, dacm_error *reterr)
{
    if (!w->answered && patience_ms(w) > 0) /* nudged */
        return DACM_OK;
    if (!w->answered)
        return client__fail(
            reterr, DACM_DEADLINE_EXCEEDED, "the SKM-S does not answer; is it reachable?");
    return w->exchanges[GET] ? DACM_OK : ask(w, GET, reterr);
}

static dacm_code step(client_watch *w, dacm_error *reterr)
{
    size_t index = 0;
    rpc_message *message = NULL;
    dacm_error end;
    const int64_t patience = patience_ms(w), from = now_ms();
    const client_event event = client__wait(
        &w->mailbox, w->exchanges, EXCHANGES, patience, &index, &message, &end);
    if (event == CLIENT_EVENT_MESSAGE)
        return take(w, message, reterr);
    if (event == CLIENT_EVENT_END)
        return on_end(w, index, &end, reterr);
    if (is_stopping(w) || event != CLIENT_EVENT_NONE)
        return DACM_OK;
    /* Before the first answer, that is what who wants a refresh waits for. */
    if (w->answered && is_wanted(w))
        return w->exchanges[GET] ? DACM_OK : ask(w, GET, reterr);
    return now_ms() - from >= patience ? on_silence(w, reterr) : DACM_OK;
}

/* Until it ends: DACM_OK only when the client goes. */
static dacm_code watch_once(client_watch *w, dacm_error *reterr)
{
    client_speaker speaker = {.sequence = 0};
    w->answered = false;
    w->opened_ms = now_ms();
    dacm_code code = client__speaker(&w->trust, w->service, &speaker, reterr);
    if (code == DACM_OK) {
        w->speaker = speaker; /* its root may have been followed meanwhile */
        code = open_server(w, reterr);
    }
    if (code == DACM_OK)
        code = ask(w, WATCH, reterr);
    while (code == DACM_OK && !is_stopping(w))
        code = step(w, reterr);
    hang_up(w);
    return code;
}

/* Where too many watch already, or nobody can. */
static dacm_code poll_once(client_watch *w, dacm_error *reterr)
{
    w->answered = false;
    w->opened_ms = now_ms();
    dacm_code code = ask(w, GET, reterr);
    while (code == DACM_OK && w->exchanges[GET] && !is_stopping(w))
        code = step(w, reterr);
    hang_up(w);
    return code;
}

static bool cannot_watch(const client_watch *w, const dacm_error *why)
{
    return w->server && (why->code == DACM_RESOURCE_EXHAUSTED || why->code == DACM_UNIMPLEMENTED);
}

/* Twice as long after each failure, a fifth more or less, so that not all clients come at once. */
static int64_t rest_ms(unsigned failures)
{
    uint16_t drawn;
    int64_t ms = (int64_t)REST_MIN_MS << (failures < 8 ? failures : 8);
    rpc_random(&drawn, sizeof drawn);
    ms = ms < REST_MAX_MS ? ms : REST_MAX_MS;
    return ms * (800 + drawn % 401) / 1000;
}

/* Until it is over, or somebody wants a refresh. */
static void rest(client_watch *w, int64_t ms)
{
    size_t index = 0;
    rpc_message *message = NULL;
    dacm_error end;
    client__wait(&w->mailbox, w->exchanges, EXCHANGES, ms, &index, &message, &end);
}

static void *run(void *ctx)
{
    client_watch *w = ctx;
    unsigned failures = 0;
    while (!is_stopping(w)) {
        dacm_error why = {.code = DACM_OK};
        if (watch_once(w, &why) == DACM_OK)
            break;
        failures = w->answered && now_ms() - w->opened_ms > LIVED_MS ? 0 : failures + 1;
        note_failure(w, &why);
        if (cannot_watch(w, &why) && poll_once(w, &why) != DACM_OK)
            note_failure(w, &why);
        rest(w, rest_ms(failures));
    }
    return NULL;
}

/* ---- waiting for it ----------------------------------------------------------------------------
 */

static struct timespec deadline_in(int64_t wait_ms)
{
    const int64_t at = now_ms() + wait_ms;
    return (struct timespec){.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
}

/* Holding the lock. */
static void wait_round(client_watch *w, uint64_t round, int64_t wait_ms)
{
    const struct timespec deadline = deadline_in(wait_ms);
    while (w->rounds <= round && !w->stopping &&
           pthread_cond_timedwait(&w->told, &w->mailbox.lock, &deadline) == 0)
        continue;
}

static void wait_answer(client_watch *w, uint64_t seen, int64_t wait_ms)
{
    const struct timespec deadline = deadline_in(wait_ms);
    while (atomic_load(&w->answers) == seen && w->state.watching &&
           pthread_cond_timedwait(&w->told, &w->mailbox.lock, &deadline) == 0)
        continue;
}

void client__watch_first(client_watch *w, int64_t wait_ms)
{
    pthread_mutex_lock(&w->mailbox.lock);
    wait_round(w, 0, wait_ms);
    pthread_mutex_unlock(&w->mailbox.lock);
}

uint64_t client__watch_answers(client_watch *w)
{
    return atomic_load_explicit(&w->answers, memory_order_acquire);
}

/* Holding the lock. Whoever comes while one is under way waits for the same answer. */
static bool may_ask(client_watch *w, int64_t now_us)
{
    if (w->wanted)
        return true;
    if (w->asked_at_us != 0 && now_us - w->asked_at_us < w->unknown_ms * 1000)
        return false;
    w->asked_at_us = now_us;
    w->wanted = true;
    w->mailbox.nudged = true;
    pthread_cond_signal(&w->mailbox.changed);
    return true;
}

/* Holding the lock. The watch brings what the SKM-S has told others already, but not before it
 * comes; what is none of its keys is waited for once in an interval. */
static void await_answer(client_watch *w, uint64_t seen, int64_t now_us)
{
    if (!w->state.watching ||
        (w->in_vain_at_us != 0 && now_us - w->in_vain_at_us < w->unknown_ms * 1000))
        return;
    wait_answer(w, seen, BOUND_MS);
    if (atomic_load(&w->answers) == seen)
        w->in_vain_at_us = now_us;
}

bool client__watch_refresh(client_watch *w, uint64_t answers_seen)
{
    const int64_t now_us = now_ms() * 1000 + 1;
    pthread_mutex_lock(&w->mailbox.lock);
    if (atomic_load(&w->answers) == answers_seen) {
        if (may_ask(w, now_us))
            wait_round(w, w->rounds, w->timeout_ms);
        else
            await_answer(w, answers_seen, now_us);
    }
    const bool answered = atomic_load(&w->answers) != answers_seen;
    pthread_mutex_unlock(&w->mailbox.lock);
    return answered;
}

void client__watch_state(client_watch *w, dacm_keys_state *ret)
{
    pthread_mutex_lock(&w->mailbox.lock);
    *ret = w->state;
    pthread_mutex_unlock(&w->mailbox.lock);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static bool copy(const char *text, char **ret)
{
    *ret = text ? strdup(text) : NULL;
    return *ret || !text;
}

dacm_code client__watch_new(
    dacm_client *client, const dacm_client_options *options, client_watch **ret, dacm_error *reterr)
{
    client_watch *w = calloc(1, sizeof *w);
    if (!w)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to watch keys");
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->told, &attributes);
    pthread_condattr_destroy(&attributes);
    client__mailbox_init(&w->mailbox);
    w->trust = (dacm_trust){.folder = client->trust_dir, .clock = client->clock};
    w->runtime = client->runtime;
    w->clock = client->clock;
    w->allow_plain_text = options->allow_plain_text;
    w->timeout_ms = options->keys_timeout_ms > 0 ? options->keys_timeout_ms : TIMEOUT_MS_DEFAULT;
    w->unknown_ms = options->keys_unknown_ms > 0 ? options->keys_unknown_ms : UNKNOWN_MS_DEFAULT;
    w->refresh_ms = options->keys_refresh_ms > 0 ? options->keys_refresh_ms : REFRESH_MS_DEFAULT;
    if (!copy(options->issuer, &w->service) || !copy(options->keys_address, &w->address) ||
        !copy(options->keys_ca_file ? options->keys_ca_file : options->ca_file, &w->ca_file) ||
        !copy(options->keys_server_name, &w->server_name)) {
        client__watch_free(w);
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to watch keys");
    }
    *ret = w;
    return DACM_OK;
}

/* Holding the lock. Signals are for the application's threads. */
static bool start_thread(client_watch *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->started = pthread_create(&w->thread, NULL, run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started;
}

bool client__watch_start(client_watch *w, dacm_error *reterr)
{
    client_speaker speaker = {.sequence = 0};
    pthread_mutex_lock(&w->mailbox.lock);
    bool started = w->started;
    pthread_mutex_unlock(&w->mailbox.lock);
    if (started)
        return true;
    if (client__speaker(&w->trust, w->service, &speaker, reterr) != DACM_OK)
        return false;
    if (!w->address && !speaker.address[0]) {
        client__fail(reterr, DACM_FAILED_PRECONDITION,
            "nobody said where '%.200s' answers; pin its root again with its address (dacm trust "
            "add --address)",
            speaker.issuer);
        return false;
    }
    pthread_mutex_lock(&w->mailbox.lock);
    started = w->started || start_thread(w);
    pthread_mutex_unlock(&w->mailbox.lock);
    if (!started)
        client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no thread to watch keys");
    return started;
}

void client__watch_free(client_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mailbox.lock);
    w->stopping = true;
    w->mailbox.nudged = true;
    pthread_cond_signal(&w->mailbox.changed);
    const bool started = w->started;
    pthread_mutex_unlock(&w->mailbox.lock);
    if (started)
        pthread_join(w->thread, NULL);
    dacm_client_free(w->server);
    client__mailbox_done(&w->mailbox);
    pthread_cond_destroy(&w->told);
    free(w->service);
    free(w->address);
    free(w->ca_file);
    free(w->server_name);
    free(w);
}

bool dacm_client_keys(dacm_client *client, dacm_keys_state *ret)
{
    if (!client->watch)
        return false;
    client__watch_state(client->watch, ret);
    return true;
}

dacm_code dacm_client_keys_wait(dacm_client *client, int64_t wait_ms, dacm_error *reterr)
{
    dacm_error why;
    dacm_keys_state state;
    if (!client->watch)
        return client__fail(reterr, DACM_FAILED_PRECONDITION,
            "this client asks no SKM-S; give it a folder of pinned roots (trust_dir)");
    if (!client__watch_start(client->watch, &why)) {
        if (reterr)
            *reterr = why;
        return why.code;
    }
    const int64_t end = now_ms() + wait_ms;
    pthread_mutex_lock(&client->watch->mailbox.lock);
    while (!client->watch->state.watching && now_ms() < end)
        wait_round(client->watch, client->watch->rounds, end - now_ms());
    state = client->watch->state;
    pthread_mutex_unlock(&client->watch->mailbox.lock);
    if (state.watching)
        return DACM_OK;
    if (state.failure.code == DACM_OK)
        return client__fail(reterr, DACM_DEADLINE_EXCEEDED, "the SKM-S has not answered yet");
    if (reterr)
        *reterr = state.failure;
    return state.failure.code;
}
