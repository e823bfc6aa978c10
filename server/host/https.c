/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTPS server by libmicrohttpd. Its one thread accepts, reads and calls the routes.
 *
 * Certificates: the credentials in use are counted; each connection takes hold of those that are
 * in use when it begins and gives them to its TLS session, so that a reload touches no connection
 * that stands. libmicrohttpd's own credentials have no certificate at all: a connection that
 * could not be given ours fails its handshake. https->lock guards https->credentials. */
#include "host.h"

#include "cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CONNECTIONS_MAX         64u
#define CONNECTIONS_ADDRESS_MAX 16u
#define CONNECTION_BYTES        ((size_t)32 << 10)
#define IDLE_S                  10u
#define PEM_BYTES_MAX           (64 << 10)
#define PORT_MAX                65535u

static const char tls_versions[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

typedef struct credentials {
    atomic_uint holders;
    gnutls_certificate_credentials_t gnutls;
} credentials;

struct host_https {
    struct MHD_Daemon *daemon;
    host_route *routes;
    size_t route_count;
    char *certificate_file, *key_file; /* NULL = plain HTTP */
    pthread_mutex_t lock;
    credentials *credentials;
    char url[96];
};

/* ---- certificates ------------------------------------------------------------------------------
 */

static void credentials_unref(credentials *held)
{
    if (!held || atomic_fetch_sub(&held->holders, 1) != 1)
        return;
    gnutls_certificate_free_credentials(held->gnutls);
    free(held);
}
RPC_DEFINE_FREEP(credentials_unrefp, credentials *, credentials_unref)

static rpc_code file_error(const char *path, rpc_status *reterr)
{
    rpc_code code = errno == ENOENT                     ? RPC_NOT_FOUND
                    : errno == EACCES || errno == EPERM ? RPC_PERMISSION_DENIED
                                                        : RPC_UNKNOWN;
    return rpc_status_set(reterr, code, "https: '%s' cannot be read: %s", path, strerror(errno));
}

typedef struct pem {
    unsigned char data[PEM_BYTES_MAX];
    unsigned size;
} pem;

/* It may hold the key. */
static void pem_wipep(pem **held)
{
    if (*held)
        explicit_bzero(*held, sizeof **held);
    free(*held);
}

/* O_NONBLOCK: a FIFO in the file's place is refused instead of waited for. */
static rpc_code pem_read(const char *path, pem *ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return file_error(path, reterr);
    if (!S_ISREG(st.st_mode) || st.st_size >= PEM_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: '%s' is no file of less than %d bytes", path, PEM_BYTES_MAX);
    ret->size = 0;
    ssize_t got;
    while ((got = read(fd, ret->data + ret->size, sizeof ret->data - ret->size)) > 0)
        ret->size += (unsigned)got;
    return got == 0 ? RPC_OK : file_error(path, reterr);
}

/* GnuTLS itself does not notice a foreign key of the same kind. */
static bool key_is_of_certificate(gnutls_certificate_credentials_t gnutls)
{
    gnutls_x509_crt_t *chain = NULL;
    gnutls_x509_privkey_t key = NULL;
    unsigned count = 0;
    uint8_t of_certificate[32] = {0}, of_key[32] = {1};
    size_t certificate_size = sizeof of_certificate, key_size = sizeof of_key;
    bool read = gnutls_certificate_get_x509_crt(gnutls, 0, &chain, &count) == 0 && count > 0 &&
                gnutls_certificate_get_x509_key(gnutls, 0, &key) == 0 &&
                gnutls_x509_crt_get_key_id(
                    chain[0], GNUTLS_KEYID_USE_SHA256, of_certificate, &certificate_size) == 0 &&
                gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) ==
                    0;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return read && certificate_size == key_size && memcmp(of_certificate, of_key, key_size) == 0;
}

static rpc_code credentials_fill(
    const host_https *https, gnutls_certificate_credentials_t gnutls, rpc_status *reterr)
{
    RPC_CLEANUP(pem_wipep) pem *certificate = malloc(sizeof *certificate);
    RPC_CLEANUP(pem_wipep) pem *key = malloc(sizeof *key);
    if (!certificate || !key)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for certificates");
    rpc_code code = pem_read(https->certificate_file, certificate, reterr);
    if (code == RPC_OK)
        code = pem_read(https->key_file, key, reterr);
    if (code != RPC_OK)
        return code;
    gnutls_datum_t certificate_pem = {certificate->data, certificate->size};
    gnutls_datum_t key_pem = {key->data, key->size};
    int result = gnutls_certificate_set_x509_key_mem(
        gnutls, &certificate_pem, &key_pem, GNUTLS_X509_FMT_PEM);
    if (result >= 0 && key_is_of_certificate(gnutls))
        return RPC_OK;
    if (result >= 0)
        result = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
    return rpc_status_set(reterr,
        result == GNUTLS_E_MEMORY_ERROR ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT,
        "https: certificate '%.100s' and key '%.100s' are not taken: %s; both must be PEM, the key "
        "not encrypted and of that certificate",
        https->certificate_file, https->key_file, gnutls_strerror(result));
}

static rpc_code credentials_read(const host_https *https, credentials **ret, rpc_status *reterr)
{
    RPC_CLEANUP(credentials_unrefp) credentials *made = calloc(1, sizeof *made);
    if (made)
        atomic_init(&made->holders, 1);
    if (!made || gnutls_certificate_allocate_credentials(&made->gnutls) != 0) {
        free(RPC_TAKE(made));
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for certificates");
    }
    rpc_code code = credentials_fill(https, made->gnutls, reterr);
    if (code == RPC_OK)
        *ret = RPC_TAKE(made);
    return code;
}

static credentials *credentials_ref(host_https *https)
{
    pthread_mutex_lock(&https->lock);
    credentials *held = https->credentials;
    if (held)
        atomic_fetch_add(&held->holders, 1);
    pthread_mutex_unlock(&https->lock);
    return held;
}

/* Called before the handshake, and after the session was destroyed. */
static void on_connection(void *ctx, struct MHD_Connection *connection, void **held,
    enum MHD_ConnectionNotificationCode event)
{
    if (event == MHD_CONNECTION_NOTIFY_CLOSED) {
        credentials_unref(*held);
        *held = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return;
    credentials *taken = credentials_ref(ctx);
    *held = taken;
    /* On failure the session keeps libmicrohttpd's, which refuse: see no_certificate(). */
    if (taken)
        gnutls_credentials_set(info->tls_session, GNUTLS_CRD_CERTIFICATE, taken->gnutls);
}

static int no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **pcert,
    unsigned *pcert_count, gnutls_privkey_t *key)
{
    (void)session, (void)authorities, (void)count, (void)algorithms, (void)algorithm_count;
    (void)pcert, (void)pcert_count, (void)key;
    return -1;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static bool add_headers(struct MHD_Response *response, const host_reply *reply)
{
    const char *type = reply->content_type ? reply->content_type : "application/json";
    const char *cache = reply->cache_control ? reply->cache_control : "no-store";
    return MHD_add_response_header(response, "Content-Type", type) == MHD_YES &&
           MHD_add_response_header(response, "Cache-Control", cache) == MHD_YES &&
           MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
           MHD_add_response_header(response, "Content-Security-Policy",
               "default-src 'none'; frame-ancestors 'none'") == MHD_YES &&
           (reply->status != 405 ||
               MHD_add_response_header(response, "Allow", "GET, HEAD") == MHD_YES);
}

/* Takes the body. MHD_NO ends the connection. */
static enum MHD_Result send_reply(
    struct MHD_Connection *connection, host_reply *reply, enum MHD_ResponseMemoryMode mode)
{
    static char empty[1];
    struct MHD_Response *response = reply->body ? MHD_create_response_from_buffer(
                                                      reply->size, reply->body, mode)
                                                : MHD_create_response_from_buffer(
                                                      0, empty, MHD_RESPMEM_PERSISTENT);
    if (!response) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(reply->body);
        return MHD_NO;
    }
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, reply))
        result = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* message: no quotes or backslashes in it. */
static enum MHD_Result refuse(
    struct MHD_Connection *connection, unsigned status, const char *message)
{
    char body[160];
    int size = snprintf(body, sizeof body, "{\"error\": \"%s\"}\n", message);
    host_reply reply = {.status = status, .body = body, .size = (size_t)size};
    return send_reply(connection, &reply, MHD_RESPMEM_MUST_COPY);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

typedef struct framing {
    unsigned lengths, encodings;
    bool body, odd;
} framing;

static enum MHD_Result look_at_header(
    void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    framing *seen = ctx;
    (void)kind;
    size_t size = strspn(name, token);
    if (size == 0 || name[size]) /* "Content-Length : 5": others may see what we do not */
        seen->odd = true;
    if (strcasecmp(name, "Content-Length") == 0) {
        seen->lengths++;
        seen->body = seen->body || !value || strcmp(value, "0") != 0;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        seen->encodings++;
        seen->body = true;
    }
    return MHD_YES;
}

/* Before anything of a body was read. An answer at this moment makes libmicrohttpd close the
 * connection behind it, so that nothing after the headers is ever taken for a next request. */
static enum MHD_Result judge_headers(
    struct MHD_Connection *connection, const char *method, bool *ret_refused)
{
    framing seen = {0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_header, &seen);
    *ret_refused = true;
    if (seen.odd)
        return refuse(connection, 400, "a header has a name that is none");
    if (seen.lengths > 1)
        return refuse(connection, 400, "Content-Length is given twice");
    if (seen.encodings > 1 || (seen.encodings && seen.lengths))
        return refuse(connection, 400, "Transfer-Encoding is given twice or with Content-Length");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(connection, 405, "only GET and HEAD are answered");
    if (seen.body)
        return refuse(connection, 413, "a request with a body is not taken");
    *ret_refused = false;
    return MHD_YES;
}

static enum MHD_Result call_route(struct MHD_Connection *connection, const host_route *route)
{
    host_reply reply = {0};
    route->get(route->ctx, &reply);
    if (reply.status >= 200 && reply.status <= 599)
        return send_reply(connection, &reply, MHD_RESPMEM_MUST_FREE);
    free(reply.body);
    return refuse(connection, 500, "the server cannot answer now; try again");
}

/* Called first when the headers are there, and again when the request is whole. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_size, void **seen)
{
    static char headers_taken;
    const host_https *https = ctx;
    (void)version, (void)upload;
    if (!*seen) {
        bool refused = false;
        enum MHD_Result result = judge_headers(connection, method, &refused);
        if (!refused)
            *seen = &headers_taken;
        return result;
    }
    if (*upload_size > 0)
        return MHD_NO; /* no body was announced */
    for (size_t i = 0; i < https->route_count; i++)
        if (strcmp(https->routes[i].path, path) == 0)
            return call_route(connection, &https->routes[i]);
    return refuse(connection, 404, "nothing is at this path");
}

/* Paths are compared as they were sent: no second spelling of one. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx, (void)connection;
    return strlen(text);
}

/* ---- start and stop ----------------------------------------------------------------------------
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

rpc_code host_https_check(const host_https_options *options, rpc_status *reterr)
{
    RPC_CLEANUP(addrinfo_freep) struct addrinfo *found = resolve(options, reterr);
    return found ? RPC_OK : RPC_INVALID_ARGUMENT;
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
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, CONNECTIONS_MAX) != 0)
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
        https->certificate_file ? "https" : "http", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static bool copy_options(host_https *https, const host_https_options *options)
{
    https->routes = calloc(options->route_count + 1, sizeof *https->routes);
    if (!https->routes)
        return false;
    for (size_t i = 0; i < options->route_count; i++)
        https->routes[i] = options->routes[i];
    https->route_count = options->route_count;
    if (!given(options->certificate_file))
        return true;
    https->certificate_file = strdup(options->certificate_file);
    https->key_file = strdup(options->key_file);
    return https->certificate_file && https->key_file;
}

static struct MHD_Daemon *start_daemon(host_https *https, int fd)
{
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC;
    const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)(uintptr_t)tls_versions},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)no_certificate},
        {MHD_OPTION_END, 0, NULL}};
    if (https->credentials)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, https, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        CONNECTIONS_ADDRESS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, https, MHD_OPTION_ARRAY, https->credentials ? tls : plain, MHD_OPTION_END);
}

/* Whether a daemon that fails to start has closed the socket depends on where it failed; a copy
 * ends the listening in any case, and no number is closed twice. */
static rpc_code serve(host_https *https, int fd, rpc_status *reterr)
{
    RPC_AUTOCLOSE int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    write_url(https, fd);
    https->daemon = copy >= 0 ? start_daemon(https, fd) : NULL;
    if (https->daemon)
        return RPC_OK;
    if (copy >= 0)
        shutdown(copy, SHUT_RDWR);
    else
        close(fd);
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "https: the server on %s cannot start: no memory, descriptors or threads", https->url);
}

rpc_code host_https_start(const host_https_options *options, host_https **ret, rpc_status *reterr)
{
    bool plain = !given(options->certificate_file);
    if (plain != !given(options->key_file))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "https: a certificate needs its key and a key its certificate; give both or none");
    host_https *https = calloc(1, sizeof *https);
    if (!https)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory to start");
    pthread_mutex_init(&https->lock, NULL);
    rpc_code code = RPC_OK;
    int fd = -1;
    if (!copy_options(https, options))
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory to start");
    if (code == RPC_OK && !plain)
        code = credentials_read(https, &https->credentials, reterr);
    if (code == RPC_OK)
        code = open_listener(options, &fd, reterr);
    if (code == RPC_OK)
        code = serve(https, fd, reterr);
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

rpc_code host_https_reload(host_https *https, rpc_status *reterr)
{
    if (!https->certificate_file)
        return RPC_OK;
    credentials *made = NULL;
    rpc_code code = credentials_read(https, &made, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&https->lock);
    credentials *old = https->credentials;
    https->credentials = made;
    pthread_mutex_unlock(&https->lock);
    credentials_unref(old);
    return RPC_OK;
}

void host_https_stop(host_https *https)
{
    if (!https)
        return;
    if (https->daemon)
        MHD_stop_daemon(https->daemon);
    credentials_unref(https->credentials);
    pthread_mutex_destroy(&https->lock);
    free(https->certificate_file);
    free(https->key_file);
    free(https->routes);
    free(https);
}
