/* SPDX-License-Identifier: Apache-2.0 */
/** A DACM's peers' listener on librpc, with mutual TLS, that answers as the test wants it. */
#ifndef SIM_FAKE_PEER_H
#define SIM_FAKE_PEER_H

#include "host.h"

#include "dacm/v1/consumer_list.pb-c.h"
#include "dacm/v1/token_status.pb-c.h"

#include <pthread.h>
#include <semaphore.h>

#define FAKE_HELD_MAX 64u

typedef struct fake_peer fake_peer;
struct fake_peer {
    /* GetConsumerList: an error, or these users and this count */
    rpc_code code;
    const char *const *allowed; /* NULL: all that were asked about */
    size_t allowed_count;
    uint64_t count;
    bool hold; /* answers come with fake_peer_release() */
    /* ListConsumers: pages of these users; aborts tells how often the list changes meanwhile */
    rpc_code list_code;
    const char *const *list;
    size_t list_count, page;
    unsigned aborts;
    /* Report */
    const rpc_handler *report;
    void *report_ctx;
    /* what came; read under the lock */
    pthread_mutex_t lock;
    unsigned asked, listed, pages_sent;
    sem_t arrived; /* once for each question */
    char asset_id[129];

    /* the fake's own */
    Dacm__V1__ConsumerLists_Service lists;
    Dacm__V1__TokenStatus_Service status;
    rpc_server *server;
    struct {
        Dacm__V1__GetConsumerListResponse_Closure closure;
        void *data;
        char *users[64];
        size_t count;
    } held[FAKE_HELD_MAX];
    unsigned held_count;
};

/** What all tests of a program share: runtime, log, metrics, certificates in files. */
typedef struct fake_world {
    rpc_runtime *runtime;
    host_log *log;
    host_metrics *metrics;
    char ca[512], certificate[512], key[512], stranger[512], stranger_key[512];
    char server_certificate[512], server_key[512];
    unsigned port;
    char target[64];
} fake_world;
void fake_world_make(fake_world *world);
void fake_world_free(fake_world *world);

/** Listens on world->port with peer's behaviour. */
void fake_peer_start(fake_peer *peer, const fake_world *world);
/** Ends its connections at once; may be started again. */
void fake_peer_stop(fake_peer *peer);
void fake_peer_release(fake_peer *peer);

/** Of a counter or gauge in the metrics' text, with these labels; 0 when it is not there. */
double fake_metric(const fake_world *world, const char *series);
/** Waits until it has that value; fails after half a minute. */
void fake_await_metric(const fake_world *world, const char *series, double value);

#endif
