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
            "listener %s: tcp:// is for loopback and with plain text allowed only; use tls+tcp://",
            options->name);
    return RPC_OK;
}

/* Members of the address behind the last colon are the port. */
static size_t host_size(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon ? (size_t)(colon - address) : strlen(address);
}

static unsigned strangers_of(const rpc_server *server, const char *address)
{
    size_t size = host_size(address);
    unsigned count = 0;
    for (const rpc__conn *conn = server->strangers; conn; conn = conn->owner_next)
        count += host_size(conn->address) == size && memcmp(conn->address, address, size) == 0;
    return count;
}

/* (lock) NULL: come in. */
static const char *objection(const rpc_server *server, const char *address)
{
    if (server->stopping)
        return "the server is shutting down";
    if (server->connections >= server->limits.connections_max)
        return "connections_max reached";
    if (server->unauthenticated >= server->limits.unauthenticated_max)
        return "unauthenticated_max reached";
    if (strangers_of(server, address) >= server->limits.unauthenticated_per_address_max)
        return "unauthenticated_per_address_max reached";
    return NULL;
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
    rpc__lane *lane = good ? rpc__lane_new(server->runtime, NULL, NULL) : NULL;
    rpc__conn *conn = lane ? rpc__conn_new(
                                 lane, true, &server->limits, &rpc__server_conn_owner, server, tls)
                           : NULL;
    if (lane)
        rpc__lane_unref(lane);
    if (!conn)
        rpc__tls_free(tls);
    return conn;
}

static void on_accept(void *user, rpc__stream *stream)
{
    rpc_listener *listener = user;
    rpc_server *server = listener->server;
    const char *address = rpc__stream_address(stream);
    rpc__conn *conn = make_conn(listener);
    const char *refusal = "no memory";
    if (conn) {
        conn->listener = listener->name;
        snprintf(conn->address, sizeof conn->address, "%s", address);
        pthread_mutex_lock(&server->lock);
        refusal = objection(server, address);
        if (!refusal) {
            server->connections++;
            server->unauthenticated++;
            conn->owner_next = server->strangers;
            conn->owner_link = &server->strangers;
            if (conn->owner_next)
                conn->owner_next->owner_link = &conn->owner_next;
            server->strangers = conn;
            rpc__conn_ref(conn); /* for the start task */
        }
        pthread_mutex_unlock(&server->lock);
    }
    if (refusal) {
        rpc__server_event(server, RPC_EVENT_REFUSED, listener->name, address, refusal);
        rpc__stream_refuse(stream);
        if (conn)
            rpc__conn_unref(conn);
        return;
    }
    conn->stream = stream;
    rpc__stream_start(stream, &conn->lane->strand, &rpc__conn_stream_handler, conn);
    rpc__strand_post(&conn->lane->strand, &conn->start);
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
        code = rpc__tls_context_new_server(&options->tls, &listener->tls, reterr);
    if (code == RPC_OK)
        code = rpc__stream_listen(
            server->runtime, &url, on_accept, listener, &listener->stream, reterr);
    if (code != RPC_OK) {
        free_listener(listener);
        return code;
    }
    rpc__url_format(rpc__stream_listener_url(listener->stream), listener->url);
    listener->next = server->listeners;
    server->listeners = listener;
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
    rpc_code code = rpc__tls_context_new_server(tls, &context, reterr);
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
        free_listener(listener);
    }
}
