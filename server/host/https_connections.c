/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: how many there may be, and how long each may take. libmicrohttpd ends those that
 * are silent; a thread here, the reaper, ends those whose peer sends or takes one byte now and
 * then. It only shuts the socket down: the polling thread sees that and does the rest. */
#include "http_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* IPv6: a /64 is one subscriber. */
static void address_key(const struct sockaddr *address, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (address->sa_family == AF_INET6)
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 8);
    else if (address->sa_family == AF_INET)
        memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
}

enum MHD_Result https__on_accept(void *ctx, const struct sockaddr *address, socklen_t size)
{
    host_https *https = ctx;
    uint8_t key[16];
    (void)size;
    address_key(address, key);
    pthread_mutex_lock(&https->lock);
    unsigned all = https->connection_count, same = 0;
    for (const https_connection *one = https->connections; one; one = one->next)
        same += memcmp(one->address_key, key, sizeof key) == 0;
    pthread_mutex_unlock(&https->lock);
    if (all < https->limits.connections && same < https->limits.connections_per_address)
        return MHD_YES;
    https__limit_reached(
        https, all < https->limits.connections ? HTTPS_LIMIT_ADDRESS : HTTPS_LIMIT_CONNECTIONS);
    return MHD_NO;
}

static int64_t now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

void https__give_time(https_connection *connection, unsigned seconds)
{
    int64_t until = seconds ? now_us() + (int64_t)seconds * 1000000 : HTTPS_NEVER;
    atomic_store_explicit(&connection->deadline_us, until, memory_order_relaxed);
}

static void take_address(https_connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (!address)
        return;
    address_key(address, connection->address_key);
    const void *number =
        address->sa_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, number, connection->address, sizeof connection->address))
        connection->address[0] = '\0';
}

static void connection_insert(host_https *https, https_connection *connection)
{
    pthread_mutex_lock(&https->lock);
    connection->next = https->connections;
    connection->link = &https->connections;
    if (connection->next)
        connection->next->link = &connection->next;
    https->connections = connection;
    if (https->connection_count++ == 0)
        pthread_cond_signal(&https->first);
    pthread_mutex_unlock(&https->lock);
}

/* Without memory the connection has no context, and its first request ends it. */
static void connection_begin(host_https *https, struct MHD_Connection *mhd, void **held)
{
    https_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return;
    connection->https = https;
    connection->mhd = mhd;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection->fd = info ? info->connect_fd : -1;
    take_address(connection);
    info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    connection->tls = https->has_tls && info ? info->tls_session : NULL;
    if (connection->tls)
        https__tls_begin(https, connection->tls, &connection->credentials);
    https__give_time(connection, https->limits.request_s);
    *held = connection;
    connection_insert(https, connection);
}

static void connection_end(host_https *https, https_connection *connection)
{
    pthread_mutex_lock(&https->lock);
    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    https->connection_count--;
    pthread_mutex_unlock(&https->lock);
    https__request_abandon(connection);
    https__credentials_unref(connection->credentials);
    https__certificate_unref(connection->certificate);
    free(connection);
}

/* Called before the handshake; and after the session was destroyed, before the socket is closed. */
void https__on_connection(
    void *ctx, struct MHD_Connection *mhd, void **held, enum MHD_ConnectionNotificationCode event)
{
    if (event == MHD_CONNECTION_NOTIFY_STARTED)
        connection_begin(ctx, mhd, held);
    else if (*held) {
        connection_end(ctx, *held);
        *held = NULL;
    }
}

bool https__any_busy(host_https *https)
{
    for (https_connection *one = https->connections; one; one = one->next)
        if (atomic_load(&one->busy))
            return true;
    return false;
}

/* ---- the reaper --------------------------------------------------------------------------------
 */

/* Returns when the next may be late. A limit that is given after this look is at least a second. */
static int64_t reap(host_https *https)
{
    int64_t now = now_us(), next = now + 1000000;
    for (https_connection *one = https->connections; one; one = one->next) {
        int64_t deadline = atomic_load_explicit(&one->deadline_us, memory_order_relaxed);
        if (deadline > now) {
            next = deadline < next ? deadline : next;
            continue;
        }
        atomic_store_explicit(&one->deadline_us, HTTPS_NEVER, memory_order_relaxed);
        https__limit_reached(https, HTTPS_LIMIT_REQUEST_TIME);
        shutdown(one->fd, SHUT_RDWR);
    }
    return next;
}

static void *reap_until_closing(void *arg)
{
    host_https *https = arg;
    pthread_mutex_lock(&https->lock);
    while (!https->closing) {
        if (!https->connections) {
            pthread_cond_wait(&https->first, &https->lock);
            continue;
        }
        int64_t next = reap(https);
        struct timespec until = {next / 1000000, next % 1000000 * 1000};
        pthread_cond_timedwait(&https->first, &https->lock, &until);
    }
    pthread_mutex_unlock(&https->lock);
    return NULL;
}

rpc_code https__reaper_start(host_https *https, rpc_status *reterr)
{
    if (pthread_create(&https->reaper, NULL, reap_until_closing, https) != 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no thread to start");
    https->reaper_runs = true;
    return RPC_OK;
}

void https__reaper_stop(host_https *https)
{
    if (!https->reaper_runs)
        return;
    pthread_mutex_lock(&https->lock);
    https->closing = true;
    pthread_cond_signal(&https->first);
    pthread_mutex_unlock(&https->lock);
    pthread_join(https->reaper, NULL);
}
