/* SPDX-License-Identifier: Apache-2.0 */
/* WatchKeys: each call is sent the newest set whenever there is one that it does not have. What a
 * slow reader missed in between it is never sent. */
#include "skm_internal.h"
#include "watch_peers.h"

#include <pthread.h>
#include <stdlib.h>

#define SEND_ARENA (1u << 20)
#define NO_MEMORY  "WatchKeys: no memory; try again later"
#define STOPPING   "WatchKeys: the server stops; watch again"
#define TOO_MANY   "WatchKeys: too many watch already (keysets.watchers_max); ask with GetKeySet"
#define PEER_HAS_TOO_MANY                                                                          \
    "WatchKeys: this certificate, or without one this address, watches too often already "         \
    "(keysets.watchers_per_peer); ask with GetKeySet"

typedef struct watch {
    atomic_uint refs; /* of the call, the list, and each post that is under way */
    skm_service *service;
    rpc_call *call;
    char name[SKM_SERVICE_MAX + 1];
    skm_purpose purpose;
    uint64_t have_root;
    uint64_t sent; /* serial */
    bool asked, over;
    bool listed; /* under the lock of the list, as what follows */
    skm_watch_peer *peer;
    struct watch *next, **link;
} watch;

/* The lock is held for posting only. Strangers and those with a certificate have `max` places each,
 * so that strangers keep no SKM-C out. */
struct skm_watchers {
    skm_service *service;
    pthread_mutex_t lock;
    watch *first;
    size_t counts[2], max, per_peer_max; /* counts: without and with a certificate */
    skm_watch_peers peers;
    bool stopping; /* under the lock */
    host_counter *refused;
};

static void drop(watch *w)
{
    if (atomic_fetch_sub(&w->refs, 1) == 1)
        free(w);
}

static void drop_context(void *arg)
{
    drop(arg);
}

/* ---- the list ----------------------------------------------------------------------------------
 */

/* (lock) NULL: there is room. */
static const char *objection(const skm_watchers *watchers, const skm_watch_peer *peer)
{
    if (watchers->stopping)
        return STOPPING;
    if (!peer)
        return NO_MEMORY;
    if (watchers->counts[peer->certified] >= watchers->max)
        return TOO_MANY;
    return peer->count < watchers->per_peer_max ? NULL : PEER_HAS_TOO_MANY;
}

/* (lock) */
static void insert(skm_watchers *watchers, watch *w)
{
    atomic_fetch_add(&w->refs, 1);
    watchers->counts[w->peer->certified]++;
    w->peer->count++;
    w->listed = true;
    w->next = watchers->first;
    w->link = &watchers->first;
    if (w->next)
        w->next->link = &w->next;
    watchers->first = w;
}

/* NULL: it is listed; or why it cannot be. */
static const char *list_add(skm_watchers *watchers, watch *w)
{
    pthread_mutex_lock(&watchers->lock);
    w->peer = skm_watch_peers_get(&watchers->peers, rpc_call_peer(w->call));
    const char *why = objection(watchers, w->peer);
    if (!why)
        insert(watchers, w);
    else
        skm_watch_peers_put(&watchers->peers, w->peer);
    pthread_mutex_unlock(&watchers->lock);
    return why;
}

static void list_remove(skm_watchers *watchers, watch *w)
{
    pthread_mutex_lock(&watchers->lock);
    const bool listed = w->listed;
    if (listed) {
        *w->link = w->next;
        if (w->next)
            w->next->link = w->link;
        w->listed = false;
        watchers->counts[w->peer->certified]--;
        w->peer->count--;
        skm_watch_peers_put(&watchers->peers, w->peer);
    }
    pthread_mutex_unlock(&watchers->lock);
    if (listed)
        drop(w);
}

/* ---- sending, on the call's strand
 * ----------------------------------------------------------------
 */

static void fail(watch *w, rpc_code code, const char *text)
{
    if (!w->over)
        rpc_call_finish(w->call, code, text);
    w->over = true;
}

static void send_set(watch *w, const skm_keyset *set)
{
    rpc_arena *arena = rpc_arena_new(SEND_ARENA);
    Skms__V1__KeySet *message = arena ? skm_tell_set(w->service, set, w->have_root, arena) : NULL;
    if (!message)
        fail(w, RPC_RESOURCE_EXHAUSTED, NO_MEMORY);
    else if (rpc_call_send_packed(w->call, &message->base) == RPC_SENT_OK)
        w->sent = skm_keyset_serial(set);
    rpc_arena_free(arena); /* busy: on_writable comes */
}

static void push(watch *w)
{
    skm_keyset *set = NULL;
    rpc_status status = {0};
    if (w->over || !w->asked)
        return;
    if (skm_keyset_get(w->service->state, w->name, w->purpose, &set, &status) != RPC_OK)
        fail(w, status.code, status.message);
    else if (skm_keyset_serial(set) != w->sent)
        send_set(w, set);
    skm_keyset_unref(set);
}

static void pushed(void *arg)
{
    push(arg);
    drop(arg);
}

static void stopped(void *arg)
{
    watch *w = arg;
    fail(w, RPC_UNAVAILABLE, STOPPING);
    drop(w);
}

void skm_watchers_changed(skm_watchers *watchers, const char *service, skm_purpose purpose)
{
    pthread_mutex_lock(&watchers->lock);
    for (watch *w = watchers->first; w; w = w->next)
        if (w->purpose == purpose && strcmp(w->name, service) == 0) {
            atomic_fetch_add(&w->refs, 1);
            rpc_call_post(w->call, pushed, w);
        }
    pthread_mutex_unlock(&watchers->lock);
}

/* ---- the call -----------------------------------------------------------------------------------
 */

static void on_start(rpc_call *call, void *user)
{
    watch *w = calloc(1, sizeof *w);
    if (!w) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, NO_MEMORY);
        return;
    }
    atomic_init(&w->refs, 1);
    w->service = user;
    w->call = call;
    rpc_call_set_context(call, w, drop_context);
}

static void join(watch *w, uint64_t have_root)
{
    skm_watchers *watchers = w->service->watchers;
    const char *why = list_add(watchers, w);
    if (why && strcmp(why, STOPPING) == 0) {
        fail(w, RPC_UNAVAILABLE, why);
    } else if (why) {
        host_counter_add(watchers->refused, 1);
        fail(w, RPC_RESOURCE_EXHAUSTED, why);
    } else {
        w->have_root = have_root;
        w->asked = true;
        push(w);
    }
}

static void begin(watch *w, const Skms__V1__GetKeySetRequest *request)
{
    rpc_status status = {0};
    if (!skm_purpose_of(request->purpose, &w->purpose)) {
        skm_no_purpose(&status);
        fail(w, status.code, status.message);
    } else if (!rpc_text_copy(w->name, sizeof w->name, request->val_service))
        fail(w, RPC_NOT_FOUND, "there are no such keys");
    else
        join(w, request->have_root);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    watch *w = rpc_call_context(call);
    ProtobufCMessage *request = NULL;
    rpc_status status = {0};
    if (!w || w->over || w->asked) {
        if (w)
            fail(w, RPC_INVALID_ARGUMENT, "WatchKeys: one request only");
    } else if (rpc_message_unpack(message, &skms__v1__get_key_set_request__descriptor, &request,
                   &status) != RPC_OK)
        fail(w, status.code, status.message);
    else
        begin(w, (const Skms__V1__GetKeySetRequest *)request);
    rpc_message_release(message);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    watch *w = rpc_call_context(call);
    if (w && !w->asked)
        fail(w, RPC_INVALID_ARGUMENT, "WatchKeys: no request came");
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    watch *w = rpc_call_context(call);
    if (w)
        push(w);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    watch *w = rpc_call_context(call);
    if (!w)
        return;
    w->over = true;
    list_remove(w->service->watchers, w);
}

const rpc_handler skm_watch_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_end = on_end,
};

/* ---- life --------------------------------------------------------------------------------------
 */

static double count_of(void *ctx)
{
    skm_watchers *watchers = ctx;
    pthread_mutex_lock(&watchers->lock);
    const size_t count = watchers->counts[0] + watchers->counts[1];
    pthread_mutex_unlock(&watchers->lock);
    return (double)count;
}

skm_watchers *skm_watchers_new(skm_service *service, size_t max, size_t per_peer_max)
{
    skm_watchers *watchers = calloc(1, sizeof *watchers);
    if (!watchers)
        return NULL;
    watchers->service = service;
    watchers->max = max;
    watchers->per_peer_max = per_peer_max;
    pthread_mutex_init(&watchers->lock, NULL);
    watchers->refused = host_metrics_counter(service->metrics, "skm_watchers_refused_total",
        "Calls of WatchKeys refused because there were too many.", NULL);
    host_metrics_gauge(
        service->metrics, "skm_watchers", "Calls of WatchKeys that run.", NULL, count_of, watchers);
    return watchers;
}

void skm_watchers_stop(skm_watchers *watchers)
{
    pthread_mutex_lock(&watchers->lock);
    watchers->stopping = true;
    for (watch *w = watchers->first; w; w = w->next) {
        atomic_fetch_add(&w->refs, 1);
        rpc_call_post(w->call, stopped, w);
    }
    pthread_mutex_unlock(&watchers->lock);
}

void skm_watchers_free(skm_watchers *watchers)
{
    if (!watchers)
        return;
    pthread_mutex_destroy(&watchers->lock);
    free(watchers);
}
