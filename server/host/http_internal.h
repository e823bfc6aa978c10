/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the HTTPS server: https.c starts and stops it, https_tls.c has certificates,
 * https_connections.c counts connections and ends those that take too long, https_requests.c reads
 * requests and hands them to routes, request.c is what a handler sees of them, https_watch.c
 * counts and logs. */
#ifndef DACM_HOST_HTTP_INTERNAL_H
#define DACM_HOST_HTTP_INTERNAL_H

#include "http.h"

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#define HTTPS_NEVER          INT64_MAX
#define HTTPS_STATUSES       600u
#define HTTPS_SPARE_REQUESTS 64u

/* ---- certificates (https_tls.c) -------------------------------------------------------------- */

/* Those of the settings, as they are read; NULL = none. */
typedef struct https_paths {
    char *certificate, *key, *client_ca, *client_crl;
} https_paths;

typedef struct https_crls https_crls;

/* Counted; each connection holds those that were in use when it began, or, where clients have
 * certificates, when its last request came. */
typedef struct https_credentials {
    atomic_uint holders;
    gnutls_certificate_credentials_t gnutls;
    https_crls *crls; /* NULL: revocation is not looked at */
} https_credentials;

struct host_certificate {
    atomic_uint holders;
    uint8_t sha256[HOST_CERTIFICATE_SHA256_BYTES];
    int64_t ends_ms; /* wall clock */
    char *subject;
    char **dns, **uris; /* NULL-terminated */
};

struct https_connection;
rpc_code https__credentials_read(
    const https_paths *paths, https_credentials **ret, rpc_status *reterr);
void https__credentials_unref(https_credentials *held);
/** Prepares the session of a new connection. */
void https__tls_begin(host_https *https, gnutls_session_t session, https_credentials **ret_held);
/** libmicrohttpd's own credentials: none. */
int https__no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **pcert,
    unsigned *pcert_count, gnutls_privkey_t *key);
/** The client's verified certificate becomes connection->certificate, NULL when it gave none, as
 *  authorities and revocation lists of now judge it. *ret_refusal: why it is not good (any more),
 *  or NULL. False: memory is short. */
bool https__certificate_take(struct https_connection *connection, const char **ret_refusal);
host_certificate *https__certificate_ref(host_certificate *certificate);
void https__certificate_unref(host_certificate *certificate);

/* ---- revocation lists (https_crls.c) --------------------------------------------------------- */

/** path is named in errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
rpc_code https__crls_read(const char *path, rpc_bytes lists_pem, rpc_bytes authorities_pem,
    https_crls **ret, rpc_status *reterr);
void https__crls_free(https_crls *crls);
/** NULL, and until when the lists say so; or why the certificate is not good. */
const char *https__crls_judge(
    const https_crls *crls, gnutls_x509_crt_t certificate, int64_t now_ms, int64_t *ret_until_ms);

/* ---- what is counted and logged (https_watch.c) ---------------------------------------------- */

typedef enum https_limit {
    HTTPS_LIMIT_CONNECTIONS,
    HTTPS_LIMIT_ADDRESS,
    HTTPS_LIMIT_REQUEST_TIME,
    HTTPS_LIMIT_QUEUE,
    HTTPS_LIMIT_BODY,
    HTTPS_LIMIT_HEADERS,
    HTTPS_LIMIT_DRAIN,
    HTTPS_LIMITS,
} https_limit;

typedef struct https_route {
    host_route route; /* path and all else copied */
    _Atomic(host_counter *) codes[HTTPS_STATUSES];
    host_histogram *times;
} https_route;

bool https__watch_start(host_https *https);
void https__limit_reached(host_https *https, https_limit limit);
/** A request that was answered with status, or 0 when its connection ended before. */
void https__watch_request(const host_request *request, unsigned status);

/* ---- server ---------------------------------------------------------------------------------- */

struct host_https {
    struct MHD_Daemon *daemon;
    https_route *routes;
    size_t route_count;
    https_route unknown; /* for what no route was found */
    https_paths paths;   /* of whoever starts and reloads */
    bool has_tls;        /* never changes */
    host_client_auth client_auth;
    host_https_limits limits;
    size_t arena_bytes;
    rpc_pool *workers;
    host_log *log;
    host_metrics *metrics;
    host_counter *limits_reached[HTTPS_LIMITS];
    char url[96];

    /* Guards everything below; nothing is called while it is held. */
    pthread_mutex_t lock;
    https_credentials *credentials;
    struct https_connection *connections; /* that are open */
    unsigned connection_count;
    host_request *in_hands; /* that handlers hold */
    unsigned owed;          /* connections that somebody is to resume */
    host_request *spare[HTTPS_SPARE_REQUESTS];
    unsigned spare_count;
    bool closing;         /* the reaper ends */
    pthread_cond_t first; /* a connection came, or closing */
    pthread_cond_t done;  /* while stopping: a request was answered or sent */
    atomic_bool stopping; /* new requests are refused */
    pthread_t reaper;
    bool reaper_runs;
};

/* ---- connections (https_connections.c) ------------------------------------------------------- */

typedef struct https_connection {
    struct https_connection *next, **link; /* (https->lock) */
    host_https *https;
    struct MHD_Connection *mhd;
    int fd;
    uint8_t address_key[16];
    char address[INET6_ADDRSTRLEN];
    _Atomic int64_t deadline_us; /* the reaper shuts it down then */
    atomic_bool busy;            /* a request is under way */
    https_credentials *credentials;
    gnutls_session_t tls; /* NULL = plain */
    bool certificate_looked_for;
    host_certificate *certificate;
    int64_t listed_until_ms; /* the revocation lists say nothing of it after */
    host_request *request;   /* that is held for it, from its target on; of its polling thread */
} https_connection;

/** libmicrohttpd's callbacks. */
enum MHD_Result https__on_accept(void *ctx, const struct sockaddr *address, socklen_t size);
void https__on_connection(
    void *ctx, struct MHD_Connection *mhd, void **held, enum MHD_ConnectionNotificationCode event);
rpc_code https__reaper_start(host_https *https, rpc_status *reterr);
void https__reaper_stop(host_https *https);
/** The connection has so long from now on; 0: no limit. */
void https__give_time(https_connection *connection, unsigned seconds);
bool https__any_busy(host_https *https); /* with the lock */

/* ---- requests (https_requests.c) ------------------------------------------------------------- */

typedef struct https_header {
    const char *name, *value;
} https_header;

enum https_claim {
    REQUEST_UNCLAIMED,
    REQUEST_OWNER,  /* answers; the server waits for it before it ends */
    REQUEST_SERVER, /* answers 503 because it stops; what the owner says later is void, and the
                     * owner sees nothing but the request itself any more */
};

/* Two hold it: its connection until all is sent, and its owner until it answers. The owner sees
 * nothing of libmicrohttpd's memory: the server may stop before it answers. */
struct host_request {
    atomic_uint holders;
    _Atomic(enum https_claim) claim; /* who answers */
    https_connection *connection;    /* for its polling thread, and for who resumes it */
    host_https *https;
    https_route *route; /* &https->unknown when there is none */
    rpc_arena *arena;
    enum { REQUEST_NEW, REQUEST_BODY, REQUEST_RUNNING } phase;

    /* (https->lock), from when the owner has it */
    struct host_request *next, **link; /* https->in_hands */
    bool answered;                     /* one of the two did */
    bool suspended;                    /* who answers resumes the connection */
    struct MHD_Response *response;
    unsigned status;

    char id[HOST_REQUEST_ID_CHARS + 1];
    char address[INET6_ADDRSTRLEN];
    const char *method, *path, *query;
    const char *target_end; /* in libmicrohttpd's memory, until the headers were looked at */
    int64_t started_us;
    https_header *headers;
    size_t header_count;
    uint8_t *body;
    size_t body_size, body_room;
    bool form;                                     /* what body_type of the route says */
    const host_params *query_params, *form_params; /* NULL = not looked at */
    char *form_room;                               /* body_size + 1 bytes */
    host_certificate *certificate;
    bool ends_connection;
    unsigned refused; /* status; what comes of the body is dropped */
    size_t discarded;
    const char *refusal;
};

/** For the query that is whole before libmicrohttpd takes it apart. */
void *https__on_target(void *ctx, const char *target, struct MHD_Connection *mhd);
enum MHD_Result https__on_request(void *ctx, struct MHD_Connection *mhd, const char *path,
    const char *method, const char *version, const char *upload, size_t *upload_size, void **held);
void https__on_completed(
    void *ctx, struct MHD_Connection *mhd, void **held, enum MHD_RequestTerminationCode why);
void https__request_unref(host_request *request);
/** Gives up the request that libmicrohttpd began on the connection and told nobody the end of. */
void https__request_abandon(https_connection *connection);
void https__request_free(host_request *request);
/** True: the caller answers, and the server stays until https__deliver(). False: the server has
 *  stopped, and the request is gone. */
bool https__claim(host_request *request);
/** Takes the response (NULL: memory was short, and the connection ends). */
void https__deliver(host_request *request, unsigned status, struct MHD_Response *response);
/** 503 for every request that a handler still holds. */
void https__force_answers(host_https *https);

/* ---- answers (request.c) --------------------------------------------------------------------- */

/** Control characters but the tab. */
bool https__has_controls(const char *text);
/** NULL: memory is short. message without quotes, backslashes and control characters. */
struct MHD_Response *https__refusal(
    const host_request *request, unsigned status, const char *message);

#endif
