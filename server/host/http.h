/* SPDX-License-Identifier: Apache-2.0 */
/** The HTTPS server of the suite: metrics, health and public keys of every server, and all of
 *  simsd. HTTP/1.1 and 1.0 over TLS 1.3 (floor 1.2) by libmicrohttpd.
 *
 *  THREADS. Polling threads accept, read and send; none of them ever waits for a handler that may
 *  block, and no worker ever waits for the network: a handler is called when its request is whole,
 *  and its answer is buffered. A request belongs to one thread at a time: to the handler until it
 *  answers or hands the request on.
 *
 *  Functions are for any thread unless they say otherwise. */
#ifndef DACM_HOST_HTTP_H
#define DACM_HOST_HTTP_H

#include "host.h"

/* ---- parameters and cookies ------------------------------------------------------------------ */

/** What a look-up found. */
typedef enum host_found {
    HOST_ABSENT,
    HOST_FOUND,     /* once */
    HOST_TWICE,     /* twice or more, also with the same value: RFC 6749 3.1 forbids it */
    HOST_MALFORMED, /* there, but not valid UTF-8 behind its escapes, with a NUL, or a cookie with
                     * bytes that none may have */
} host_found;

typedef struct host_param {
    const char *name;
    const char *value; /* NULL = malformed */
} host_param;

#define HOST_PARAMS_MAX 64u

/** The parameters of a query or of an application/x-www-form-urlencoded body, in their order. */
typedef struct host_params {
    bool malformed; /* a name could not be read, or there were more than HOST_PARAMS_MAX: count is
                     * 0 then, and every look-up answers HOST_MALFORMED */
    size_t count;
    host_param items[HOST_PARAMS_MAX];
} host_params;

/** Splits at & and the first =, decodes + and %XX. room: text.size + 1 bytes, into which the
 *  result points. An empty piece between two & is no parameter; one without = has the value "". */
void host_params_parse(rpc_bytes text, char *room, host_params *ret);
/** *ret is set when found; a value may be empty. */
host_found host_params_find(const host_params *params, const char *name, const char **ret);
/** The value of cookie name in a Cookie header (RFC 6265 4.2.1), without quotes around it. */
host_found host_cookie_find(rpc_bytes header, const char *name, rpc_bytes *ret);

/* ---- requests -------------------------------------------------------------------------------- */

/** A whole request. Everything it gives lives until it is answered. */
typedef struct host_request host_request;

const char *host_request_method(const host_request *request); /* "GET", "HEAD", "POST" */
/** As it was sent, without query; no second spelling of one path exists. */
const char *host_request_path(const host_request *request);
/** What stands behind the first "?", undecoded; "" when there is nothing. */
const char *host_request_raw_query(const host_request *request);
/** HOST_REQUEST_ID_CHARS characters; also in the log, and in the answer as X-Request-Id. */
const char *host_request_id_of(const host_request *request);
/** The peer's address without port. */
const char *host_request_address(const host_request *request);
/** Size 0 without a body. */
rpc_bytes host_request_body(const host_request *request);

/** Parameters of the query; of the form (an empty list where the body is none); and of one or the
 *  other by method: the form of a POST, the query of a GET. What is remarkable about a parameter
 *  of another name does not matter, unless it makes the list unreadable: see host_params. */
const host_params *host_request_query(host_request *request);
const host_params *host_request_form(host_request *request);
host_found host_request_param(host_request *request, const char *name, const char **ret);

/** name in any case; never HOST_MALFORMED. */
host_found host_request_header(const host_request *request, const char *name, const char **ret);
/** Over all Cookie headers. */
host_found host_request_cookie(host_request *request, const char *name, const char **ret);

/** A client's certificate that was verified against client_ca_file. */
typedef struct host_certificate host_certificate;
/** NULL when the client gave none. */
const host_certificate *host_request_certificate(const host_request *request);
#define HOST_CERTIFICATE_SHA256_BYTES 32u
/** Of its DER, as in `cnf`/`x5t#S256` of RFC 8705; HOST_CERTIFICATE_SHA256_BYTES bytes. */
const uint8_t *host_certificate_sha256(const host_certificate *certificate);
/** Whether it has this subject alternative name: a DNS name in any case, no wildcards; a URI byte
 *  for byte. */
bool host_certificate_has_dns(const host_certificate *certificate, const char *name);
bool host_certificate_has_uri(const host_certificate *certificate, const char *uri);
/** The subject in the form of RFC 4514, as tls_client_auth_subject_dn of RFC 8705 has it. */
const char *host_certificate_subject(const host_certificate *certificate);

/* ---- answers --------------------------------------------------------------------------------- */

typedef struct host_header {
    const char *name, *value;
} host_header;

typedef struct host_reply {
    unsigned status;            /* 200..599; anything else, as 0 where memory was short, is 500 */
    const char *content_type;   /* NULL = application/json */
    const char *cache_control;  /* NULL = no-store */
    const char *csp;            /* NULL = default-src 'none'; frame-ancestors 'none' */
    const host_header *headers; /* Location, Set-Cookie (as often as needed), WWW-Authenticate … */
    size_t header_count;
    char *body; /* malloc'd, the server's from now on; NULL = empty */
    size_t size;
} host_reply;

/** Answers a request: exactly once, in its handler or later, on any thread. Everything but the
 *  body is copied. A header value or name with a control character in it is a bug of the caller
 *  that a stranger may have brought about: the answer is then 500, and the log says so.
 *  Each answer also has X-Request-Id, X-Content-Type-Options: nosniff, Referrer-Policy:
 *  no-referrer and, over TLS, Strict-Transport-Security.
 *  The request is gone when this returns. */
void host_request_answer(host_request *request, host_reply *reply);
/** The same with {"error": "message"}; message without quotes, backslashes, control characters. */
void host_request_refuse(host_request *request, unsigned status, const char *message);

/* ---- routes and server ----------------------------------------------------------------------- */

typedef struct host_https host_https;

enum {
    HOST_GET = 1, /* and HEAD */
    HOST_POST = 2,
};

typedef enum host_body_type {
    HOST_BODY_FORM, /* application/x-www-form-urlencoded */
    HOST_BODY_JSON, /* application/json */
} host_body_type;

#define HOST_BODY_BYTES     ((size_t)64 << 10)
#define HOST_BODY_BYTES_MAX ((size_t)16 << 20)

/** Other methods are answered 405, larger bodies and bodies of a GET 413, other bodies 415. */
typedef struct host_route {
    const char *path; /* exact, as it stands in the request line, without query: "/metrics" */
    /** Answers the request, or sees to it that somebody does: every request must be answered in
     *  bounded time. */
    void (*handle)(void *ctx, host_request *request);
    void *ctx;
    unsigned methods; /* HOST_GET | HOST_POST; 0 = HOST_GET */
    host_body_type body_type;
    size_t body_max; /* bytes of a POST's body, at most HOST_BODY_BYTES_MAX; 0 = HOST_BODY_BYTES */
    /** Called on the polling thread: must not block. Otherwise on a worker. */
    bool in_place;
} host_route;

/** What strangers may cost: X(member, setting, unit, least, most, default, description). Each that
 *  is reached is counted (dacm_http_limit_reached_total). */
#define HOST_HTTPS_LIMITS(X)                                                                       \
    X(connections, "limits.https.connections", NULL, 1, 65536, "1024", "connections in all")       \
    X(connections_per_address, "limits.https.connections_per_address", NULL, 1, 65536, "64",       \
        "connections of an address (of IPv6: a /64)")                                              \
    X(connection_bytes, "limits.https.connection_bytes", "bytes", 8192, 1048576, "32768",          \
        "memory of a connection: headers of a request and of its answer")                          \
    X(header_bytes, "limits.https.header_bytes", "bytes", 1024, 524288, "16384",                   \
        "headers of a request; at most half of the connection's memory")                           \
    X(headers, "limits.https.headers", NULL, 8, 1024, "64", "headers of a request")                \
    X(idle_s, "limits.https.idle_s", "s", 1, 3600, "10", "a connection without a byte is kept")    \
    X(request_s, "limits.https.request_s", "s", 1, 3600, "30",                                     \
        "for a handshake, for a request to arrive and for its answer to be taken, each in all")    \
    X(queue, "limits.https.queue", NULL, 1, 1000000, "256",                                        \
        "requests that wait for a worker; beyond it 503 with Retry-After")

/** 0 = the default. */
typedef struct host_https_limits {
#define HOST_HTTPS_MEMBER(member, setting, unit, least, most, standard, text) uint32_t member;
    HOST_HTTPS_LIMITS(HOST_HTTPS_MEMBER)
#undef HOST_HTTPS_MEMBER
    uint32_t drain_ms; /* 1..600,000, default 5,000: see host_https_stop() */
} host_https_limits;
/** The limits that values set; of a table with `HOST_HTTPS_LIMITS(HOST_RPC_LIMIT_SETTING)`.
 *  drain_ms is 0. */
host_https_limits host_https_limits_of(const host_values *values);

/** Whether clients are asked for a certificate. One that does not verify (another CA, expired, not
 *  for clients) fails the handshake. */
typedef enum host_client_auth {
    HOST_CLIENT_NONE,
    HOST_CLIENT_REQUEST, /* taken when given */
    HOST_CLIENT_REQUIRE,
} host_client_auth;

typedef struct host_https_options {
    const char *address; /* IPv4 or IPv6, no name; "::" is IPv6 alone */
    unsigned port;       /* 0 = any that is free */
    /** PEM, at most 64 KiB each, the certificate's chain in its file. Both NULL or empty: plain
     *  HTTP, which is taken on a loopback address only. */
    const char *certificate_file, *key_file;
    const char *client_ca_file; /* PEM; with REQUEST and REQUIRE */
    /** PEM, at most 16 MiB: revocation lists of these authorities. With it a certificate is taken
     *  only where its authority has a list whose time is not over; it is looked at with each
     *  request. NULL or empty: revocation is not looked at. */
    const char *client_crl_file;
    host_client_auth client_auth;
    const host_route *routes; /* copied; what they point to outlives the server */
    size_t route_count;
    unsigned polling_threads; /* 0 = 1; at most 64 */
    unsigned workers;         /* for routes that are not in_place; 0 = none; at most 256 */
    host_https_limits limits;
    host_log *log;         /* NULL = no access lines; outlives the server */
    host_metrics *metrics; /* NULL = none; outlives the server */
} host_https_options;

/** host_https_check() says what host_https_start() says of address, port, plain HTTP and limits,
 *  before it touches anything.
 *
 *  host_https_start() serves the routes until host_https_stop(). 400 for a request whose end two
 *  servers could see differently, or with control characters in its target or a header; 404 for an
 *  unknown path; 431 for headers beyond the limits.
 *
 *  INVALID_ARGUMENT (address, port, plain HTTP beyond loopback, a file that is no PEM or a key that
 *  is not the certificate's, a limit out of its range, a route that is not in_place without
 *  workers), NOT_FOUND and PERMISSION_DENIED (a file, or a port below 1024), UNAVAILABLE (address
 *  and port are in use), FAILED_PRECONDITION (no such address here), RESOURCE_EXHAUSTED (memory,
 *  descriptors, threads). */
RPC_MUST_USE rpc_code host_https_check(const host_https_options *options, rpc_status *reterr);
RPC_MUST_USE rpc_code host_https_start(
    const host_https_options *options, host_https **ret, rpc_status *reterr);
/** "https://127.0.0.1:7480" with the real port; lives as long as the server. */
const char *host_https_url(const host_https *https);
/** Takes certificate, key, client_ca and client_crl_file of options (the rest of it does not
 *  matter) from now on. Connections that stand keep the server's certificate; a client's that is
 *  not good by the new files is refused with its next request (403), and the connection ends.
 *  On failure, which is as host_https_start()'s, the old ones stay. FAILED_PRECONDITION: TLS, or
 *  clients' certificates, where there were none, or the reverse. Without TLS it does nothing. One
 *  at a time. */
RPC_MUST_USE rpc_code host_https_reload(
    host_https *https, const host_https_options *options, rpc_status *reterr);
/** That FAILED_PRECONDITION alone, and nothing changes: for who reloads more than this, all or
 *  nothing. No file is read. */
RPC_MUST_USE rpc_code host_https_reload_check(
    const host_https *https, const host_https_options *options, rpc_status *reterr);
/** Takes no more connections and answers new requests 503, waits limits.drain_ms for those that
 *  are under way, answers 503 for handlers that still have not, and ends all connections. Then it
 *  waits for handlers that run on workers; a request that somebody else still holds may be
 *  answered later, which does nothing. Not for use in a handler. NULL is allowed. */
void host_https_stop(host_https *https);

/* ---- routes made of other parts -------------------------------------------------------------- */

/** "/metrics" with a host_metrics as ctx; in_place. */
void host_metrics_handle(void *ctx, host_request *request);
/** "/healthz" with a host_health as ctx; in_place. */
void host_health_handle(void *ctx, host_request *request);
/** What they answer. */
void host_metrics_reply(host_metrics *metrics, host_reply *ret);
/** 200 or 503 and {"status": "ok" | "failing", "checks": {"store": {"ok": true, "text": ""}},
 *  "warnings": [{"name": …, "text": …}]}. */
void host_health_reply(host_health *health, host_reply *ret);

#endif
