/* SPDX-License-Identifier: Apache-2.0 */
/** The inside of a server, shared by registry.c, listener.c and server.c. Private to rpc/.
 *
 *  server->lock guards the members marked (lock); no callback runs while it is held. */
#ifndef DACM_RPC_SERVER_H
#define DACM_RPC_SERVER_H

#include "origins.h"
#include "session.h"

struct rpc_listener {
    rpc_listener *next;
    rpc_server *server;
    char *name;
    char url[RPC__URL_MAX];
    rpc__stream_listener *stream;
    rpc__census_entry entry;
    rpc__tls_context *tls; /* (lock) NULL: plain text */
};

struct rpc_server {
    rpc_runtime *runtime;
    rpc_limits limits;
    rpc__memory *memory;
    rpc__interceptors interceptors;
    unsigned accept; /* encodings */
    rpc_event_fn *on_event;
    void *event_ctx;
    rpc__service **services;
    size_t service_count;
    rpc__method **table; /* by path, open addressing; made at start */
    size_t table_size;   /* a power of two */
    void *slots[RPC__SLOTS];
    void (*slot_releases[RPC__SLOTS])(void *state);
    rpc_listener *listeners;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc__conn *strangers;                  /* (lock) no request yet */
    rpc__conn *known;                      /* (lock) */
    rpc__origins origins;                  /* (lock) */
    unsigned connections, unauthenticated; /* (lock) */
    bool stopping;                         /* (lock) */
    atomic_uint_least64_t events[RPC_EVENT_KINDS];
    atomic_uint_least64_t limit_counts[RPC_LIMIT_KINDS];
    atomic_uint_least64_t handshakes, resumed;
    rpc__stats *unknown; /* calls that found no method */
    rpc__census_entry entry;
};

/* registry.c */
void rpc__registry_done(rpc_server *server);
RPC_MUST_USE rpc_code rpc__registry_build(rpc_server *server, rpc_status *reterr);
rpc__method *rpc__registry_find(const rpc_server *server, const char *path);
/** By index over all services; NULL: the last is past. After start. */
const rpc__method *rpc__registry_method(const rpc_server *server, size_t index);
/** The same and, after the last, that of calls without a method. NULL: past it. */
const rpc__stats *rpc__registry_stats(const rpc_server *server, size_t index);
bool rpc__service_on(const rpc__service *service, const char *listener);

/* listener.c */
void rpc__listeners_start(rpc_server *server);
void rpc__listeners_close(rpc_server *server);
void rpc__listeners_done(rpc_server *server);
/** One connection of that origin is gone; (lock) */
void rpc__listener_forget(rpc_server *server, rpc__origin *origin, bool unauthenticated);

/* server.c */
extern const rpc__conn_owner rpc__server_conn_owner;
/** Of all methods together. */
rpc_call_stats rpc__server_calls(const rpc_server *server);
void rpc__server_event(rpc_server *server, rpc_event_kind kind, rpc_limit_kind limit,
    const char *listener, const char *address, const char *detail);

#endif
