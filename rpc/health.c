/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1.Health: what rpc_server_set_health() says, asked once or watched.
 *
 * A service that the caller's listener does not serve is unknown there. A watch has a reference
 * for the list and one for each task posted to its call, so that neither finds it freed. */
#include "health.h"

#include "proto_grpc_descriptors.h"
#include "server.h"

#include "grpc/health/v1/health.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define WATCH_PATH      "/grpc.health.v1.Health/Watch"
#define WATCH_BYTES_MAX 4096 /* a watch keeps the name it was given */
#define STATUS(name)    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

typedef struct health health;

typedef struct health_entry {
    struct health_entry *next;
    bool serving;
    char name[];
} health_entry;

typedef struct health_watch {
    struct health_watch *next, **link; /* (lock) of health; link is NULL outside the list */
    atomic_uint refs;
    health *owner;
    rpc_call *call;   /* a reference while listed */
    char *name;       /* NULL until the request is there */
    bool told, ended; /* (strand) */
    health_status last;
    bool posted; /* (lock) */
} health_watch;

struct health {
    Grpc__Health__V1__Health_Service service;
    rpc_server *server;
    pthread_mutex_t lock;
    health_entry *entries; /* (lock) names ever set */
    health_watch *watches; /* (lock) */
    bool stopping;         /* (lock) */
};

/* ---- what is known ---------------------------------------------------------------------- */

static bool is_served(const health *h, const char *name, const char *listener)
{
    for (size_t i = 0; i < rpc__server_service_count(h->server); i++) {
        const rpc__service *service = rpc__server_service(h->server, i);
        if (strcmp(service->service->descriptor->name, name) == 0)
            return rpc__service_on(service, listener);
    }
    return false;
}

static bool is_registered(const health *h, const char *name)
{
    for (size_t i = 0; i < rpc__server_service_count(h->server); i++)
        if (strcmp(rpc__server_service(h->server, i)->service->descriptor->name, name) == 0)
            return true;
    return false;
}

static health_entry *find_entry(const health *h, const char *name)
{
    health_entry *entry = h->entries;
    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry;
}

static health_status status_of(health *h, const char *name, const char *listener)
{
    bool known = name[0] == '\0' || is_served(h, name, listener);
    pthread_mutex_lock(&h->lock);
    const health_entry *entry = find_entry(h, name);
    bool serving = entry && entry->serving && !h->stopping;
    /* Names beside those of services may be set: parts of a program. */
    known = known || (entry && !is_registered(h, name));
    pthread_mutex_unlock(&h->lock);
    if (!known)
        return STATUS(SERVICE_UNKNOWN);
    return serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

/* ---- Check -------------------------------------------------------------------------------- */

static void check(Grpc__Health__V1__Health_Service *service, const health_request *request,
    Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data)
{
    health *h = (health *)service; /* its first member */
    rpc_call *call = closure_data;
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(h, request->service, rpc_call_listener(call));
    if (response.status != STATUS(SERVICE_UNKNOWN)) {
        closure(&response, closure_data);
        return;
    }
    rpc_status status;
    (void)rpc_status_set(&status, RPC_NOT_FOUND,
        "health: no such service here; ask for \"\" or one that reflection lists");
    rpc_call_fail(call, &status);
}

/* ---- Watch -------------------------------------------------------------------------------- */

static void watch_unref(void *arg)
{
    health_watch *watch = arg;
    if (atomic_fetch_sub_explicit(&watch->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(watch->name);
    free(watch);
}

static bool is_stopping(health *h)
{
    pthread_mutex_lock(&h->lock);
    bool stopping = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return stopping;
}

/* Sends the status unless it is what was sent last. (strand) */
static void tell_status(health_watch *watch)
{
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(watch->owner, watch->name, rpc_call_listener(watch->call));
    if (watch->told && watch->last == response.status)
        return;
    /* Busy: on_writable comes, and what is true by then is sent. */
    if (rpc_call_send_packed(watch->call, &response.base) != RPC_SENT_OK)
        return;
    watch->told = true;
    watch->last = response.status;
}

/* (strand) */
static void tell(health_watch *watch)
{
    if (watch->ended)
        return;
    tell_status(watch);
    if (is_stopping(watch->owner))
        rpc_call_finish(watch->call, RPC_UNAVAILABLE, "health: the server is shutting down");
}

static void tell_posted(void *arg)
{
    health_watch *watch = arg;
    pthread_mutex_lock(&watch->owner->lock);
    watch->posted = false;
    pthread_mutex_unlock(&watch->owner->lock);
    tell(watch);
    watch_unref(watch);
}

static void list_watch(health_watch *watch)
{
    health *h = watch->owner;
    rpc_call_ref(watch->call);
    atomic_fetch_add_explicit(&watch->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&h->lock);
    watch->next = h->watches;
    watch->link = &h->watches;
    if (watch->next)
        watch->next->link = &watch->next;
    h->watches = watch;
    pthread_mutex_unlock(&h->lock);
}

static void watch_start(rpc_call *call, void *user)
{
    health_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "health: no memory for a watch");
        return;
    }
    atomic_init(&watch->refs, 1);
    watch->owner = user;
    watch->call = call;
    rpc_call_set_context(call, watch, watch_unref);
}

static void watch_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    health_watch *watch = rpc_call_context(call);
    ProtobufCMessage *request = NULL;
    rpc_status status = {RPC_INVALID_ARGUMENT, "health: a watch takes one request"};
    rpc_code code = RPC_INVALID_ARGUMENT;
    if (watch && !watch->name)
        code = rpc_message_unpack(
            message, &grpc__health__v1__health_check_request__descriptor, &request, &status);
    if (code == RPC_OK) {
        watch->name = strdup(((const health_request *)request)->service);
        if (!watch->name)
            code = rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "health: no memory for a watch");
    }
    rpc_message_release(message);
    if (code != RPC_OK) {
        rpc_call_finish(call, code, status.message);
        return;
    }
    /* Listed first: a change between the two is told, one before them is seen. */
    list_watch(watch);
    tell(watch);
}

static void watch_half_close(rpc_call *call, void *user)
{
    (void)user;
    const health_watch *watch = rpc_call_context(call);
    if (watch && !watch->name)
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "health: a watch needs a request");
}

static void watch_writable(rpc_call *call, void *user)
{
    (void)user;
    health_watch *watch = rpc_call_context(call);
    if (watch && watch->name)
        tell(watch);
}

static void watch_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    health *h = user;
    health_watch *watch = rpc_call_context(call);
    if (!watch)
        return;
    watch->ended = true;
    pthread_mutex_lock(&h->lock);
    bool listed = watch->link != NULL;
    if (listed) {
        *watch->link = watch->next;
        if (watch->next)
            watch->next->link = watch->link;
        watch->link = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    if (!listed)
        return;
    rpc_call_unref(watch->call);
    watch_unref(watch);
}

/* ---- the server's side ---------------------------------------------------------------------- */

static void free_health(void *state)
{
    health *h = state;
    while (h->entries) {
        health_entry *entry = h->entries;
        h->entries = entry->next;
        free(entry);
    }
    pthread_mutex_destroy(&h->lock);
    free(h);
}

rpc_code rpc_server_add_health(rpc_server *server, rpc_status *reterr)
{
    static const rpc_handler handler = {
        .on_start = watch_start,
        .on_message = watch_message,
        .on_half_close = watch_half_close,
        .on_writable = watch_writable,
        .on_end = watch_end,
    };
    const rpc_service_options service = {
        .descriptor_set = {proto_grpc_descriptors, proto_grpc_descriptors_size}};
    const rpc_method_options method = {.message_receive_bytes_max = WATCH_BYTES_MAX};
    health *h = calloc(1, sizeof *h);
    if (!h || pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "health: no memory");
    }
    h->service = (Grpc__Health__V1__Health_Service){
        .base = GRPC__HEALTH__V1__HEALTH__BASE_INIT, .check = check};
    h->server = server;
    rpc_code code = rpc_server_add_service(server, &h->service.base, &service, reterr);
    if (code != RPC_OK) {
        free_health(h);
        return code;
    }
    rpc__server_set_slot(server, RPC__SLOT_HEALTH, h, free_health);
    return rpc_server_set_handler(server, WATCH_PATH, &handler, h, &method, reterr);
}

/* (lock) */
static void set_entry(health *h, const char *name, bool serving)
{
    health_entry *entry = find_entry(h, name);
    if (!entry) {
        size_t size = strlen(name) + 1;
        entry = malloc(sizeof *entry + size);
        if (!entry)
            return; /* NOT_SERVING, as before: the safe answer */
        memcpy(entry->name, name, size);
        entry->next = h->entries;
        h->entries = entry;
    }
    entry->serving = serving;
}

/* (lock) Several changes before the task runs are told as one. */
static void post_tell(health_watch *watch)
{
    if (watch->posted)
        return;
    watch->posted = true;
    atomic_fetch_add_explicit(&watch->refs, 1, memory_order_relaxed);
    rpc_call_post(watch->call, tell_posted, watch);
}

void rpc_server_set_health(rpc_server *server, const char *service, bool serving)
{
    health *h = rpc__server_slot(server, RPC__SLOT_HEALTH);
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    set_entry(h, service, serving);
    for (health_watch *watch = h->watches; watch; watch = watch->next)
        if (strcmp(watch->name, service) == 0)
            post_tell(watch);
    pthread_mutex_unlock(&h->lock);
}

void rpc__health_stop(rpc_server *server)
{
    health *h = rpc__server_slot(server, RPC__SLOT_HEALTH);
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    for (health_watch *watch = h->watches; watch; watch = watch->next)
        post_tell(watch);
    pthread_mutex_unlock(&h->lock);
}
