/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of a server: opened, their TLS replaced, new connections let in or refused. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rpc_code check_scheme(
    const rpc_listener_options *options, const rpc__url *url, rpc_status *reterr)
{
    if (url->scheme != RPC__SCHEME_TCP)
        return RPC_OK;
    if (!options->allow_plain_text || !url->loopback)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "listener %s: tcp:// is plain text, for loopback and with allow_plain_text only; use "
            "tls+tcp://",
            options->name);
    return RPC_OK;
}

rpc_code rpc_listener_check(const rpc_listener_options *options, rpc_status *reterr)
{
    rpc__url url;
    const rpc_code code = rpc__url_parse(options->url, &url, reterr);
    return code == RPC_OK ? check_scheme(options, &url, reterr) : code;
}

/* (lock) RPC_LIMIT_NONE with an objection: not for a limit's sake. NULL: come in. */
static const char *objection(
    const rpc_server *server, const rpc__origin *origin, rpc_limit_kind *ret_limit)
{
    const rpc_limits *limits = &server->limits;
    *ret_limit = RPC_LIMIT_NONE;
    if (server->stopping)
        return "the server is shutting down";
    if (!origin)
        return "no memory";
    *ret_limit = RPC_LIMIT_CONNECTIONS;
    if (server->connections >= limits->connections_max)
        return "connections_max reached";
    *ret_limit = RPC_LIMIT_CONNECTIONS_PER_ADDRESS;
    if (origin->connections >= limits->connections_per_address_max)
        return "connections_per_address_max reached";
    *ret_limit = RPC_LIMIT_UNAUTHENTICATED_PER_ADDRESS;
    if (origin->unauthenticated >= limits->unauthenticated_per_address_max)
        return "unauthenticated_per_address_max reached";
    *ret_limit = RPC_LIMIT_UNAUTHENTICATED;
    if (server->unauthenticated >= limits->unauthenticated_max)
        return "unauthenticated_max reached";
    *ret_limit = RPC_LIMIT_SERVER_MEMORY;
    if (rpc__memory_over(server->memory, 2))
        return "a quarter more than server_memory_bytes_max is in use";
    *ret_limit = RPC_LIMIT_NONE;
    return NULL;
}

/* Counts the newcomer, or says why it may not come in: before it has cost anything. */
static const char *let_in(
    rpc_server *server, const char *address, rpc__origin **ret, rpc_limit_kind *ret_limit)
{
    pthread_mutex_lock(&server->lock);
    rpc__origin *origin = rpc__origins_get(&server->origins, address);
    const char *refusal = objection(server, origin, ret_limit);
    if (!refusal) {
        server->connections++;
        server->unauthenticated++;
        origin->connections++;
        origin->unauthenticated++;
        *ret = origin;
    } else if (origin) {
        rpc__origins_put(&server->origins, origin);
    }
    pthread_mutex_unlock(&server->lock);
    return refusal;
}

void rpc__listener_forget(rpc_server *server, rpc__origin *origin, bool unauthenticated)
{
    server->connections--;
    origin->connections--;
    if (unauthenticated) {
        server->unauthenticated--;
        origin->unauthenticated--;
    }
    rpc__origins_put(&server->origins, origin);
    pthread_cond_broadcast(&server->changed);
}

static rpc__conn *make_conn(rpc_listener *listener)
{
    rpc_server *server = listener->server;
    pthread_mutex_lock(&server->lock);
    rpc__tls_context *context = listener->tls ? rpc__tls_context_ref(listener->tls) : NULL;
    pthread_mutex_unlock(&server->lock);
    rpc__tls *tls = NULL;
    bool good = !context || rpc__tls_new(context, &tls, NULL) == RPC_OK;
    rpc__tls_context_unref(context);
    rpc__lane *lane = good ? rpc__lane_new(server->runtime, server->memory, NULL, NULL) : NULL;
    rpc__conn *conn = lane ? rpc__conn_new(
                                 lane, true, &server->limits, &rpc__server_conn_owner, server, tls)
                           : NULL;
    if (lane)
        rpc__lane_unref(lane);
    if (!conn)
        rpc__tls_free(tls);
    return conn;
}

/* Among the strangers, where rpc_server_stop() finds it; false when that has come first. */
static bool enrol(rpc_server *server, rpc__conn *conn)
{
    pthread_mutex_lock(&server->lock);
    bool good = !server->stopping;
    if (good) {
        conn->owner_next = server->strangers;
        conn->owner_link = &server->strangers;
        if (conn->owner_next)
            conn->owner_next->owner_link = &conn->owner_next;
        server->strangers = conn;
        rpc__conn_ref(conn); /* for the start task */
    } else {
        rpc__listener_forget(server, conn->origin, true);
    }
    pthread_mutex_unlock(&server->lock);
    return good;
}

static void turn_away(rpc_listener *listener, rpc__stream *stream, rpc__conn *conn,
    rpc_limit_kind limit, const char *why)
{
    rpc__server_event(listener->server, RPC_EVENT_REFUSED, limit, listener->name,
        rpc__stream_address(stream), why);
    rpc__stream_refuse(stream);
    if (conn)
        rpc__conn_unref(conn);
}

static void on_accept(void *user, rpc__stream *stream)
{
    rpc_listener *listener = user;
    rpc_server *server = listener->server;
    const char *address = rpc__stream_address(stream);
    rpc__origin *origin = NULL;
    rpc_limit_kind limit;
    const char *refusal = let_in(server, address, &origin, &limit);
    if (refusal) {
        turn_away(listener, stream, NULL, limit, refusal);
        return;
    }
    rpc__conn *conn = make_conn(listener);
    if (!conn) {
        pthread_mutex_lock(&server->lock);
        rpc__listener_forget(server, origin, true);
        pthread_mutex_unlock(&server->lock);
        turn_away(listener, stream, NULL, RPC_LIMIT_NONE, "no memory");
        return;
    }
    conn->listener = listener->name;
    conn->from = listener;
    conn->origin = origin;
    snprintf(conn->address, sizeof conn->address, "%s", address);
    if (!enrol(server, conn)) {
        turn_away(listener, stream, conn, RPC_LIMIT_NONE, "the server is shutting down");
        return;
    }
    conn->stream = stream;
    rpc__stream_start(stream, &conn->lane->strand, &rpc__conn_stream_handler, conn);
    rpc__strand_run(&conn->lane->strand, &conn->start);
}

/* Without a descriptor nobody can be let in; those who wait stay in the kernel's queue. */
static void on_trouble(void *user, const rpc_status *why)
{
    rpc_listener *listener = user;
    bool descriptors = why->code == RPC_RESOURCE_EXHAUSTED;
    rpc__server_event(listener->server, RPC_EVENT_REFUSED,
        descriptors ? RPC_LIMIT_DESCRIPTORS : RPC_LIMIT_NONE, listener->name, "", why->message);
}

static void free_listener(rpc_listener *listener)
{
    if (!listener)
        return;
    rpc__tls_context_unref(listener->tls);
    free(listener->name);
    free(listener);
}

rpc_code rpc_server_listen(
    rpc_server *server, const rpc_listener_options *options, rpc_listener **ret, rpc_status *reterr)
{
    rpc__url url;
    rpc_code code = rpc__url_parse(options->url, &url, reterr);
    if (code == RPC_OK)
        code = check_scheme(options, &url, reterr);
    if (code != RPC_OK)
        return code;
    rpc_listener *listener = calloc(1, sizeof *listener);
    if (listener)
        listener->name = strdup(options->name ? options->name : "");
    if (!listener || !listener->name) {
        free_listener(listener);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
    }
    listener->server = server;
    if (url.scheme == RPC__SCHEME_TLS_TCP)
        code = rpc__tls_context_new_server(
            &options->tls, rpc__runtime_clock(server->runtime), &listener->tls, reterr);
    if (code == RPC_OK)
        code = rpc__stream_listen(
            server->runtime, &url, on_accept, on_trouble, listener, &listener->stream, reterr);
    if (code != RPC_OK) {
        free_listener(listener);
        return code;
    }
    rpc__url_format(rpc__stream_listener_url(listener->stream), listener->url);
    listener->next = server->listeners;
    server->listeners = listener;
    rpc__census_enter(rpc__runtime_census(server->runtime), &listener->entry, RPC__CENSUS_LISTENER,
        listener, server);
    if (server->started)
        rpc__stream_listener_start(listener->stream);
    if (ret)
        *ret = listener;
    return RPC_OK;
}

const char *rpc_listener_url(const rpc_listener *listener)
{
    return listener->url;
}

rpc_code rpc_listener_set_tls(
    rpc_listener *listener, const rpc_tls_options *tls, rpc_status *reterr)
{
    if (!listener->tls)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "listener %s: its url has no TLS; use tls+tcp://", listener->name);
    rpc__tls_context *context = NULL;
    rpc_code code = rpc__tls_context_new_server(
        tls, rpc__runtime_clock(listener->server->runtime), &context, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&listener->server->lock);
    rpc__tls_context *old = listener->tls;
    listener->tls = context;
    pthread_mutex_unlock(&listener->server->lock);
    rpc__tls_context_unref(old);
    return RPC_OK;
}

void rpc__listeners_start(rpc_server *server)
{
    for (rpc_listener *listener = server->listeners; listener; listener = listener->next)
        rpc__stream_listener_start(listener->stream);
}

void rpc__listeners_close(rpc_server *server)
{
    for (rpc_listener *listener = server->listeners; listener; listener = listener->next)
        rpc__stream_listener_close(listener->stream);
}

void rpc__listeners_done(rpc_server *server)
{
    while (server->listeners) {
        rpc_listener *listener = server->listeners;
        server->listeners = listener->next;
        rpc__census_leave(rpc__runtime_census(server->runtime), &listener->entry);
        free_listener(listener);
    }
}
