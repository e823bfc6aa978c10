/* SPDX-License-Identifier: Apache-2.0 */
/* Start and stop of the HTTPS server; see http_internal.h for its parts. */
#include "http_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PORT_MAX            65535u
#define BACKLOG             1024
#define POLLING_THREADS_MAX 64u
#define LAST_ANSWERS_MS     500u
#define DRAIN_MS            5000u
#define DRAIN_MS_MAX        600000u

static const char tls_versions[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* ---- where it listens --------------------------------------------------------------------------
 */

static bool given(const char *text)
{
    return text && *text;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
}

static void addrinfo_freep(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

static rpc_code listen_error(const host_https_options *options, int error, rpc_status *reterr)
{
    rpc_code code = error == EADDRINUSE      ? RPC_UNAVAILABLE
                    : error == EACCES        ? RPC_PERMISSION_DENIED
                    : error == EADDRNOTAVAIL ? RPC_FAILED_PRECONDITION
                                             : RPC_RESOURCE_EXHAUSTED;
    return rpc_status_set(reterr, code, "https: cannot listen on '%.60s' port %u: %s",
        options->address, options->port,
        error == EADDRINUSE ? "it is in use; stop what listens there or choose another port"
                            : strerror(error));
}

/** NULL with reterr: INVALID_ARGUMENT. */
static struct addrinfo *resolve(const host_https_options *options, rpc_status *reterr)
{
    char port[16];
    snprintf(port, sizeof port, "%u", options->port);
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (!options->address || options->port > PORT_MAX ||
        getaddrinfo(options->address, port, &hints, &found) != 0) {
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: '%.60s' port %u is no IP address with a port of 0 to 65535",
            options->address ? options->address : "", options->port);
        return NULL;
    }
    if (given(options->certificate_file) || is_loopback(found->ai_addr))
        return found;
    freeaddrinfo(found);
    rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "https: plain HTTP on '%.60s' is refused; give a certificate and a key, or listen on "
        "127.0.0.1 or ::1",
        options->address);
    return NULL;
}

static rpc_code open_listener(const host_https_options *options, int *ret, rpc_status *reterr)
{
    RPC_CLEANUP(addrinfo_freep) struct addrinfo *found = resolve(options, reterr);
    if (!found)
        return RPC_INVALID_ARGUMENT;
    RPC_AUTOCLOSE int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listen_error(options, errno, reterr);
    int on = 1; /* a restarted server need not wait for the old one's connections */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (found->ai_family == AF_INET6 &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
        return listen_error(options, errno, reterr);
    *ret = rpc_take_fd(&fd);
    return RPC_OK;
}

static void write_url(host_https *https, int fd)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char host[INET6_ADDRSTRLEN + 20] = "", port[8] = "";
    getsockname(fd, (struct sockaddr *)&bound, &size);
    getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
        NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = bound.ss_family == AF_INET6;
    snprintf(https->url, sizeof https->url, "%s://%s%.45s%s:%s",
        https->paths.certificate ? "https" : "http", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* ---- options -----------------------------------------------------------------------------------
 */

typedef struct limit_range {
    const char *name;
    uint32_t value, least, most;
} limit_range;

static rpc_code check_limits(const host_https_limits *limits, rpc_status *reterr)
{
#define RANGE(member, setting, unit, least, most, standard, text)                                  \
    {#member, limits->member, least, most},
    const limit_range ranges[] = {
        HOST_HTTPS_LIMITS(RANGE){"drain_ms", limits->drain_ms, 1, DRAIN_MS_MAX}};
#undef RANGE
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "https: limit %s is %u; give %u..%u, or 0 for the default", ranges[i].name,
                ranges[i].value, ranges[i].least, ranges[i].most);
    if (limits->header_bytes > limits->connection_bytes / 2)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: limit header_bytes is %u and more than half of connection_bytes, %u",
            limits->header_bytes, limits->connection_bytes);
    return RPC_OK;
}

static host_https_limits with_defaults(host_https_limits limits)
{
#define DEFAULT(member, setting, unit, least, most, standard, text)                                \
    if (!limits.member)                                                                            \
        limits.member = (uint32_t)strtoul(standard, NULL, 10);
    HOST_HTTPS_LIMITS(DEFAULT)
#undef DEFAULT
    limits.drain_ms = limits.drain_ms ? limits.drain_ms : DRAIN_MS;
    return limits;
}

host_https_limits host_https_limits_of(const host_values *values)
{
    return (host_https_limits){
#define READ(member, setting, unit, least, most, standard, text)                                   \
    .member = (uint32_t)host_int(values, setting),
        HOST_HTTPS_LIMITS(READ)
#undef READ
    };
}

rpc_code host_https_check(const host_https_options *options, rpc_status *reterr)
{
    const host_https_limits limits = with_defaults(options->limits);
    RPC_CLEANUP(addrinfo_freep) struct addrinfo *found = resolve(options, reterr);
    return found ? check_limits(&limits, reterr) : RPC_INVALID_ARGUMENT;
}

static rpc_code check_route(
    const host_https_options *options, const host_route *route, rpc_status *reterr)
{
    if (!route->path || route->path[0] != '/' || !route->handle ||
        (route->methods & ~(unsigned)(HOST_GET | HOST_POST)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: route '%.100s' needs a path that begins with '/', a handler, and no method "
            "but GET and POST",
            route->path ? route->path : "");
    if (route->body_max > HOST_BODY_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: route '%.100s' takes bodies of %zu bytes; at most %zu can be", route->path,
            route->body_max, HOST_BODY_BYTES_MAX);
    if (!route->in_place && options->workers == 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: route '%.100s' may block and there are no workers; give some, or in_place",
            route->path);
    return RPC_OK;
}

static rpc_code check_options(const host_https_options *options, rpc_status *reterr)
{
    const host_https_limits limits = with_defaults(options->limits);
    bool tls = given(options->certificate_file);
    bool ask = options->client_auth != HOST_CLIENT_NONE;
    if (tls != given(options->key_file))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: a certificate needs its key and a key its certificate; give both or none");
    if (ask != given(options->client_ca_file) || (ask && !tls))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: clients' certificates need client_ca_file, and TLS; give all of it or none");
    if (given(options->client_crl_file) && !ask)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: client_crl_file is for clients' certificates, and none are asked for");
    if (options->polling_threads > POLLING_THREADS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "https: %u polling threads; give 1..%u",
            options->polling_threads, POLLING_THREADS_MAX);
    rpc_code code = check_limits(&limits, reterr);
    for (size_t i = 0; code == RPC_OK && i < options->route_count; i++)
        code = check_route(options, &options->routes[i], reterr);
    return code;
}

static bool copy_text(const char *text, char **ret)
{
    if (!given(text))
        return true;
    *ret = strdup(text);
    return *ret != NULL;
}

static bool copy_paths(const host_https_options *options, https_paths *ret)
{
    return copy_text(options->certificate_file, &ret->certificate) &&
           copy_text(options->key_file, &ret->key) &&
           copy_text(options->client_ca_file, &ret->client_ca) &&
           copy_text(options->client_crl_file, &ret->client_crl);
}

static void paths_done(https_paths *paths)
{
    free(paths->certificate);
    free(paths->key);
    free(paths->client_ca);
    free(paths->client_crl);
}

static bool copy_routes(host_https *https, const host_https_options *options)
{
    https->routes = calloc(options->route_count + 1, sizeof *https->routes);
    if (!https->routes)
        return false;
    size_t largest = 0;
    for (size_t i = 0; i < options->route_count; i++) {
        host_route *route = &https->routes[i].route;
        *route = options->routes[i];
        route->path = strdup(route->path);
        https->route_count = i + 1;
        if (!route->path)
            return false;
        route->methods = route->methods ? route->methods : HOST_GET;
        route->body_max = route->body_max ? route->body_max : HOST_BODY_BYTES;
        largest = route->body_max > largest ? route->body_max : largest;
    }
    /* Target and headers, a body that grew by doubling, its parameters, and blocks half used. */
    https->arena_bytes = 4 * (size_t)https->limits.connection_bytes + 6 * largest +
                         ((size_t)64 << 10);
    return true;
}

static bool copy_options(host_https *https, const host_https_options *options)
{
    https->limits = with_defaults(options->limits);
    https->client_auth = options->client_auth;
    https->log = options->log;
    https->metrics = options->metrics;
    https->has_tls = given(options->certificate_file);
    return copy_paths(options, &https->paths) && copy_routes(https, options) &&
           https__watch_start(https);
}

/* ---- start -------------------------------------------------------------------------------------
 */

/* Paths are compared as they were sent: no second spelling of one. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx, (void)connection;
    return strlen(text);
}

/* poll, not epoll: libmicrohttpd 0.9.75 runs in circles while a handshake is unfinished on epoll,
 * and forgets connections (docs/decisions/0015-https-polls.md).
 * The limits of connections are ours: libmicrohttpd's, of each of its threads, lie beyond. */
static struct MHD_Daemon *start_daemon(host_https *https, int fd, unsigned threads)
{
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
    const struct MHD_OptionItem pool[] = {
        {MHD_OPTION_THREAD_POOL_SIZE, threads, NULL}, {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)(uintptr_t)tls_versions},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)https__no_certificate},
        {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    if (https->credentials)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(flags, 0, https__on_accept, https, https__on_request, https,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (https->limits.connections + 1) * threads, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)https->limits.connection_bytes, MHD_OPTION_CONNECTION_TIMEOUT, https->limits.idle_s,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, https__on_target, https, MHD_OPTION_NOTIFY_COMPLETED,
        https__on_completed, https, MHD_OPTION_NOTIFY_CONNECTION, https__on_connection, https,
        MHD_OPTION_ARRAY, threads > 1 ? pool : none, MHD_OPTION_ARRAY,
        https->credentials ? tls : none, MHD_OPTION_END);
}

/* Whether a daemon that fails to start has closed the socket depends on where it failed; a copy
 * ends the listening in any case, and no number is closed twice. */
static rpc_code serve(host_https *https, int fd, unsigned threads, rpc_status *reterr)
{
    RPC_AUTOCLOSE int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    write_url(https, fd);
    https->daemon = copy >= 0 ? start_daemon(https, fd, threads) : NULL;
    if (https->daemon)
        return RPC_OK;
    if (copy >= 0)
        shutdown(copy, SHUT_RDWR);
    else
        close(fd);
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "https: the server on %s cannot start: no memory, descriptors or threads", https->url);
}

static host_https *https_new(void)
{
    host_https *https = calloc(1, sizeof *https);
    pthread_condattr_t monotonic;
    if (!https)
        return NULL;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&https->lock, NULL);
    pthread_cond_init(&https->first, &monotonic);
    pthread_cond_init(&https->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return https;
}

static rpc_code start(host_https *https, const host_https_options *options, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    int fd = -1;
    if (!copy_options(https, options))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory to start");
    if (https->paths.certificate)
        code = https__credentials_read(&https->paths, &https->credentials, reterr);
    if (code == RPC_OK && options->workers)
        code = rpc_pool_new(
            NULL, "https", options->workers, https->limits.queue, &https->workers, reterr);
    if (code == RPC_OK)
        code = https__reaper_start(https, reterr);
    if (code == RPC_OK)
        code = open_listener(options, &fd, reterr);
    if (code == RPC_OK)
        code = serve(https, fd, options->polling_threads ? options->polling_threads : 1, reterr);
    return code;
}

rpc_code host_https_start(const host_https_options *options, host_https **ret, rpc_status *reterr)
{
    rpc_code code = check_options(options, reterr);
    if (code != RPC_OK)
        return code;
    host_https *https = https_new();
    if (!https)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory to start");
    code = start(https, options, reterr);
    if (code == RPC_OK)
        *ret = https;
    else
        host_https_stop(https);
    return code;
}

const char *host_https_url(const host_https *https)
{
    return https->url;
}

/* Of TLS and of clients' certificates there is what there was at the start. */
rpc_code host_https_reload_check(
    const host_https *https, const host_https_options *options, rpc_status *reterr)
{
    if (given(options->certificate_file) == (https->paths.certificate != NULL) &&
        given(options->key_file) == (https->paths.key != NULL) &&
        given(options->client_ca_file) == (https->paths.client_ca != NULL))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "https: whether %s speaks TLS, and asks for clients' certificates, is read at the start "
        "only; restart",
        https->url);
}

rpc_code host_https_reload(host_https *https, const host_https_options *options, rpc_status *reterr)
{
    RPC_CLEANUP(paths_done) https_paths paths = {NULL, NULL, NULL, NULL};
    https_credentials *made = NULL;
    rpc_code code = host_https_reload_check(https, options, reterr);
    if (code != RPC_OK || !https->paths.certificate)
        return code;
    if (!copy_paths(options, &paths))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for certificates");
    code = https__credentials_read(&paths, &made, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&https->lock);
    https_credentials *old = https->credentials;
    https->credentials = made;
    pthread_mutex_unlock(&https->lock);
    https__credentials_unref(old);
    const https_paths before = https->paths;
    https->paths = paths;
    paths = before;
    return RPC_OK;
}

/* ---- stop --------------------------------------------------------------------------------------
 */

/* Until nothing is under way any more, at most ms. True: nothing is. */
static bool wait_until_idle(host_https *https, unsigned ms)
{
    int64_t end = rpc_clock_monotonic_us(rpc_clock_system()) + (int64_t)ms * 1000;
    struct timespec until = {end / 1000000, end % 1000000 * 1000};
    int late = 0;
    pthread_mutex_lock(&https->lock);
    while (!late && (https->in_hands || https->owed || https__any_busy(https)))
        late = pthread_cond_timedwait(&https->done, &https->lock, &until);
    pthread_mutex_unlock(&https->lock);
    return !late;
}

/* Those who claimed a request before the server did are answering it now. */
static void wait_for_claims(host_https *https)
{
    pthread_mutex_lock(&https->lock);
    while (https->in_hands || https->owed)
        pthread_cond_wait(&https->done, &https->lock);
    pthread_mutex_unlock(&https->lock);
}

static void drain(host_https *https)
{
    int listener = MHD_quiesce_daemon(https->daemon);
    if (listener >= 0)
        close(listener);
    atomic_store(&https->stopping, true);
    if (wait_until_idle(https, https->limits.drain_ms))
        return;
    https__force_answers(https);
    wait_for_claims(https);
    wait_until_idle(https, LAST_ANSWERS_MS); /* a peer that takes none is left behind */
}

void host_https_stop(host_https *https)
{
    if (!https)
        return;
    if (https->daemon) {
        drain(https);
        MHD_stop_daemon(https->daemon);
    }
    rpc_pool_free(https->workers);
    https__reaper_stop(https);
    https__credentials_unref(https->credentials);
    while (https->spare_count)
        https__request_free(https->spare[--https->spare_count]);
    for (size_t i = 0; i < https->route_count; i++)
        free((char *)(uintptr_t)https->routes[i].route.path);
    free(https->routes);
    pthread_cond_destroy(&https->done);
    pthread_cond_destroy(&https->first);
    pthread_mutex_destroy(&https->lock);
    paths_done(&https->paths);
    free(https);
}
