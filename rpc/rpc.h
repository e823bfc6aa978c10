/* SPDX-License-Identifier: Apache-2.0 */
/** librpc: gRPC for plain C. Servers and channels over TLS 1.3 (HTTP/2, `application/grpc`),
 *  messages and stubs by protobuf-c as its generator writes them.
 *
 *  THREADS. Every connection has a strand: callbacks of one call never overlap and never come
 *  after its on_end; those of different calls may. Every function that takes an rpc_call may be
 * called from any thread, while the caller holds the call (inside a callback, or with
 * rpc_call_ref()); what it asks for happens on the strand. Functions marked "strand" are for
 * callbacks of that call only. Callbacks must not block: slow work goes to an rpc_pool and comes
 * back by rpc_call_post().
 *
 *  MEMORY. What a callback is given is borrowed until it returns, unless it says otherwise.
 *
 *  Wire: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), RFC 9113, RFC 7541. */
#ifndef DACM_RPC_H
#define DACM_RPC_H

#include "base.h"
#include "rpc_limits.h"

#include <protobuf-c/protobuf-c.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of this header. Until 1.0 a minor version may change the API, and its library has
 *  another SONAME. */
#define RPC_VERSION_MAJOR 0
#define RPC_VERSION_MINOR 1
#define RPC_VERSION_PATCH 0
/** "0.1.0": of the library that runs. */
RPC_API const char *rpc_version(void);

/** What the library makes. At the end in this order: calls and messages given back, stubs,
 *  channels and servers freed, pools, the runtime. Listeners end with their server. */
typedef struct rpc_runtime rpc_runtime;
typedef struct rpc_pool rpc_pool;
typedef struct rpc_server rpc_server;
typedef struct rpc_listener rpc_listener;
typedef struct rpc_channel rpc_channel;
typedef struct rpc_call rpc_call;
typedef struct rpc_message rpc_message;
typedef struct rpc_timer rpc_timer;

/** rpc_call_deadline_us() of a call that may take for ever. */
#define RPC_NO_DEADLINE INT64_MAX

/* ---- runtime ------------------------------------------------------------------------- */

/** Zeros are right for nearly every program. */
typedef struct rpc_runtime_options {
    unsigned threads;       /* that run strands beside nng's own; 0 = one per core; at least 2 and
                             * at most 64 are started */
    const rpc_clock *clock; /* NULL = rpc_clock_system(); borrowed for the runtime's life */
} rpc_runtime_options;

/** Threads, timers and counters of a process; usually one. options may be NULL.
 *  RESOURCE_EXHAUSTED when a thread or memory cannot be had. */
RPC_API RPC_MUST_USE rpc_code rpc_runtime_new(
    const rpc_runtime_options *options, rpc_runtime **ret, rpc_status *reterr);
/** After every server, channel and pool of it is freed. Waits for its threads, and for what the
 *  program still owes: without end where a handler never answered its call, a message was not
 *  released, or a reference of rpc_channel_start() or rpc_call_ref() not given back. Not from a
 *  callback. NULL is allowed, as in every free function here. */
RPC_API void rpc_runtime_free(rpc_runtime *runtime);

/** Work for another thread. arg is the caller's. */
typedef void rpc_task_fn(void *arg);

/** Runs fn once on a runtime thread after delay_ms (0 or less: at once), unless cancelled. *ret is
 *  set before fn can run, and is freed by rpc_timer_cancel() only. RESOURCE_EXHAUSTED without
 *  memory: fn will not run. Any thread. */
RPC_API RPC_MUST_USE rpc_code rpc_timer_start(
    rpc_runtime *runtime, int64_t delay_ms, rpc_task_fn *fn, void *arg, rpc_timer **ret);
/** Frees the timer. True: fn has not run and never will. False: it ran or is running (fn may
 *  call this on its own timer). Never blocks. NULL is allowed: false. Any thread. */
RPC_API bool rpc_timer_cancel(rpc_timer *timer);

/** A pool of threads for work that may block (verify, disk, media).
 *  runtime    NULL for a pool whose jobs have nothing to do with calls
 *  name       of its threads, as debuggers show it
 *  threads    1..256
 *  queue_max  jobs that may wait, 1..1,000,000
 *  INVALID_ARGUMENT out of these ranges, RESOURCE_EXHAUSTED for want of threads or memory. */
RPC_API RPC_MUST_USE rpc_code rpc_pool_new(rpc_runtime *runtime, const char *name, unsigned threads,
    unsigned queue_max, rpc_pool **ret, rpc_status *reterr);
/** Runs work(arg) on a thread of the pool. RESOURCE_EXHAUSTED when the queue is full (nothing was
 *  queued): shed the work. Any thread. */
RPC_API RPC_MUST_USE rpc_code rpc_pool_submit(rpc_pool *pool, rpc_task_fn *work, void *arg);
/** Runs what is queued, then joins the threads. Blocks; not from a job of its own. */
RPC_API void rpc_pool_free(rpc_pool *pool);

/* ---- TLS ----------------------------------------------------------------------------- */

/** What a listener wants of its clients: with REQUEST and REQUIRE ca_file or ca_pem is needed. */
typedef enum rpc_client_auth {
    RPC_CLIENT_AUTH_NONE,    /* no certificate */
    RPC_CLIENT_AUTH_REQUEST, /* asked for, verified when given */
    RPC_CLIENT_AUTH_REQUIRE,
} rpc_client_auth;

/** PEM, in files or in memory (*_pem wins when not empty). Certificate and key belong together:
 *  both or neither. TLS 1.3, ALPN h2, no early data.
 *
 *  A listener resumes sessions by tickets of at most an hour, whose keys rotate and die with the
 *  certificate and trust they were made under (rpc_listener_set_tls()); the identity is the
 *  session's certificate, judged anew. A connection whose client certificate expires or is revoked
 *  ends within a minute (RPC_EVENT_CERTIFICATE_ENDED). */
typedef struct rpc_tls_options {
    const char *certificate_file; /* chain, leaf first; what is sent. Of a leaf alone, issuers in
                                   * ca_file go along, but for the root */
    const char *key_file;
    const char *ca_file; /* who may sign the other side's certificate; none on a channel: those of
                          * the system's trust store */
    /** Revocation lists of the CAs that sign the other side's certificates: one for each, signed
     *  by it, in date; a certificate of a CA without one is refused. NULL: revocation is not
     *  looked at. */
    const char *crl_file;
    rpc_bytes certificate_pem, key_pem, ca_pem, crl_pem;
    rpc_client_auth client_auth; /* listeners only */
    bool no_resumption;          /* listeners only: every handshake is a full one */
    const char *server_name;     /* channels only: verified name; NULL = host of the target */
} rpc_tls_options;

/** Reads certificate, key and trust as a listener would and forgets them again: for a check of a
 *  configuration. The errors of rpc_server_listen() that come from its files. */
RPC_API RPC_MUST_USE rpc_code rpc_tls_check_listener(
    const rpc_tls_options *options, rpc_status *reterr);

/* ---- compression -------------------------------------------------------------------------- */

/** How messages may be compressed on the wire (gRPC's compression.md). */
typedef enum rpc_encoding {
    RPC_ENCODING_DEFAULT,  /* in options: what the wider option says, at last identity */
    RPC_ENCODING_IDENTITY, /* not at all */
    RPC_ENCODING_DEFLATE,  /* zlib, RFC 1950 */
    RPC_ENCODING_GZIP,     /* RFC 1952 */
} rpc_encoding;

/** A set of encodings: RPC_ACCEPT(RPC_ENCODING_GZIP) | …; identity is always in it. */
#define RPC_ACCEPT(encoding) (1u << (encoding))

/* ---- peers and calls ------------------------------------------------------------------ */

/** Who is at the other end; lives as long as the call. Verified names only: with no verified
 *  certificate all certificate fields are empty. */
typedef struct rpc_peer {
    const char *address; /* "127.0.0.1:40312", "[::1]:40312" or "ipc" */
    bool has_uid;        /* ipc:// only */
    uid_t uid;
    bool has_certificate;
    rpc_bytes certificate_der;
    uint8_t certificate_sha256[32]; /* for RFC 8705 x5t#S256 */
    int64_t certificate_not_after;  /* seconds since 1970 */
    const char *const *dns_names;   /* SANs, NULL-terminated */
    const char *const *uri_names;
} rpc_peer;

/** What rpc_call_send() says. */
typedef enum rpc_sent {
    RPC_SENT_OK,   /* taken */
    RPC_SENT_BUSY, /* not taken: wait for on_writable */
    RPC_SENT_OVER, /* not taken: the call has ended or was finished */
} rpc_sent;

/** What rpc_body.pull says. */
typedef enum rpc_pull {
    RPC_PULL_READY, /* *ret holds 1..max bytes */
    RPC_PULL_LATER, /* nothing yet: rpc_call_resume() when there is */
    RPC_PULL_FAIL,  /* the call ends with INTERNAL */
} rpc_pull;

/** The part of an outgoing message that is not copied: a bytes field at its end, taken from its
 *  owner slice by slice just before encryption, so that no view of a store is held while the
 *  network makes us wait. All three run on the strand. */
typedef struct rpc_body {
    size_t size; /* exact number of bytes that pull will give in all */
    /** Gives bytes from offset on; they must stay until pulled() or release(). */
    rpc_pull (*pull)(void *ctx, size_t offset, size_t max, rpc_bytes *ret);
    /** The slice of the last pull has been encrypted; may be NULL. */
    void (*pulled)(void *ctx);
    /** Exactly once: all was sent (sent = true) or the call ended. */
    void (*release)(void *ctx, bool sent);
    void *ctx;
} rpc_body;

/** Callbacks of a streaming call, either side; NULL where not needed. on_end comes exactly once
 *  and last. */
typedef struct rpc_handler {
    /** Server: a call has arrived (metadata is there, no message yet). */
    void (*on_start)(rpc_call *call, void *user);
    /** Client: initial metadata has arrived. */
    void (*on_headers)(rpc_call *call, void *user);
    /** One message; the callee owns it and ends with rpc_message_release(), at once or later:
     *  until then its bytes count against the peer's window. */
    void (*on_message)(rpc_call *call, rpc_message *message, void *user);
    /** The peer will send no more messages. */
    void (*on_half_close)(rpc_call *call, void *user);
    /** After RPC_SENT_BUSY (or rpc_call_want_writable()): there is room again. */
    void (*on_writable)(rpc_call *call, void *user);
    /** Over: on the client the status the server gave (or our own: UNAVAILABLE,
     *  DEADLINE_EXCEEDED, CANCELLED …); on the server how the call ended, CANCELLED when the
     *  peer went away. */
    void (*on_end)(rpc_call *call, const rpc_status *status, void *user);
} rpc_handler;

/** Holds a call beyond the callback that was given it, until rpc_call_unref(); returns it. Any
 *  thread. */
RPC_API rpc_call *rpc_call_ref(rpc_call *call);
/** Gives that back; the last may free the call. NULL is allowed. Any thread. */
RPC_API void rpc_call_unref(rpc_call *call);

/** "/package.Service/Method"; lives as long as the call. */
RPC_API const char *rpc_call_path(const rpc_call *call);
/** NULL where the path is not one of a registered service. */
RPC_API const ProtobufCMethodDescriptor *rpc_call_method(const rpc_call *call);
/** Client: in on_headers and after it, else without address. */
RPC_API const rpc_peer *rpc_call_peer(const rpc_call *call);
/** Which listener it came through, as named in rpc_listener_options. Server. */
RPC_API const char *rpc_call_listener(const rpc_call *call);
/** When it ends at the latest (RPC_NO_DEADLINE: never) and when it began: microseconds of the
 *  runtime's monotonic clock, whatever the clock of the wall does. */
RPC_API int64_t rpc_call_deadline_us(const rpc_call *call);
RPC_API int64_t rpc_call_started_us(const rpc_call *call);
/** When it ended, as it is counted: in on_end, and in an interceptor's. Strand. */
RPC_API int64_t rpc_call_ended_us(const rpc_call *call);
/** True once the peer went away, the deadline passed or rpc_call_cancel() ran. */
RPC_API bool rpc_call_cancelled(const rpc_call *call);
/** Client: how often it was sent, the first time included, but for what the server did not see.
 *  Inside a callback. */
RPC_API unsigned rpc_call_attempts(const rpc_call *call);
/** Server: with an error, when the client may try again (grpc-retry-pushback-ms), or, negative,
 *  that it must not. Before the call is finished. INVALID_ARGUMENT beyond 999,999,999 ms,
 *  FAILED_PRECONDITION when too late. */
RPC_API rpc_code rpc_call_retry_pushback(rpc_call *call, int64_t delay_ms);
/** Bytes of messages so far, for logs and metrics. Any thread. */
RPC_API void rpc_call_counts(const rpc_call *call, uint64_t *ret_received, uint64_t *ret_sent);
/** Memory that lives as long as the call. Strand. */
RPC_API rpc_arena *rpc_call_arena(rpc_call *call);

/** The first value of a received header (server: request metadata; client: initial metadata),
 *  name in lower case. Binary metadata ("-bin") is decoded. False when absent.
 *  Borrowed as long as the call. */
RPC_API bool rpc_call_metadata(const rpc_call *call, const char *name, rpc_bytes *ret_value);
/** How many values that header has. */
RPC_API unsigned rpc_call_metadata_count(const rpc_call *call, const char *name);
/** As rpc_call_metadata(), of trailing metadata; client, inside on_end. */
RPC_API bool rpc_call_trailer(const rpc_call *call, const char *name, rpc_bytes *ret_value);

/** Something derived from a header's value and remembered by the connection: the verified token of
 *  a bearer header is found again by the identity of the indexed header (HPACK), or by the value's
 *  bytes where the peer does not index it (compared in a time that tells nothing about them).
 *  set() takes ownership of object (released on failure and when the connection ends or the entry
 *  makes room); get() borrows it for the strand's callback, NULL when unknown. Strand. */
RPC_API void *rpc_call_header_object(rpc_call *call, const char *name);
RPC_API void rpc_call_set_header_object(
    rpc_call *call, const char *name, void *object, void (*release)(void *object));

/** One pointer of the handler's; release (may be NULL) is called after on_end, or when another is
 *  set. NULL before one was. Strand. */
RPC_API void rpc_call_set_context(rpc_call *call, void *context, void (*release)(void *context));
RPC_API void *rpc_call_context(const rpc_call *call);
/** The same, for interceptors: does not disturb rpc_call_set_context(). */
RPC_API void rpc_call_set_trace(rpc_call *call, void *trace, void (*release)(void *trace));
RPC_API void *rpc_call_trace(const rpc_call *call);

/** Client: what the request carries, as rpc_call_metadata(); borrowed as long as the call. In
 *  interceptors, or once the call has begun. Strand. */
RPC_API bool rpc_call_request_metadata(rpc_call *call, const char *name, rpc_bytes *ret_value);

/** Adds to initial (server: before the first message; client: in an interceptor's on_start) or
 *  trailing metadata (server only); the bytes are copied.
 *  INVALID_ARGUMENT for a name or value that gRPC forbids, FAILED_PRECONDITION when too late,
 *  RESOURCE_EXHAUSTED without memory. Any thread. */
RPC_API rpc_code rpc_call_add_header(rpc_call *call, const char *name, rpc_bytes value);
RPC_API rpc_code rpc_call_add_trailer(rpc_call *call, const char *name, rpc_bytes value);

/** Sends one packed message of less than 4 GiB: head is copied, body (may be NULL) follows it on
 *  the wire as it is pulled. With RPC_SENT_OK the body's release is owed; otherwise nothing of it
 *  was touched. After RPC_SENT_BUSY on_writable comes by itself. At least one message is always
 *  taken when nothing is queued. Without memory the call is cancelled. Any thread. */
RPC_API RPC_MUST_USE rpc_sent rpc_call_send(rpc_call *call, rpc_bytes head, const rpc_body *body);
/** The same for a message that is packed here, within the call. Any thread. */
RPC_API RPC_MUST_USE rpc_sent rpc_call_send_packed(rpc_call *call, const ProtobufCMessage *message);
/** on_writable will be called when a message would be taken (possibly at once, never inside
 *  this call). Any thread. */
RPC_API void rpc_call_want_writable(rpc_call *call);
/** After RPC_PULL_LATER: pull is called again. Any thread. */
RPC_API void rpc_call_resume(rpc_call *call);

/** Server: what explains an error to a program: packed google.rpc.Status as a rule, in the trailing
 *  metadata `grpc-status-details-bin`. Before the call is finished; the last one counts.
 *  INVALID_ARGUMENT beyond RPC_STATUS_DETAILS_BYTES_MAX (other implementations refuse trailers of
 *  more than 8 KiB), FAILED_PRECONDITION when too late or on a client. Any thread. */
#define RPC_STATUS_DETAILS_BYTES_MAX 4096
RPC_API rpc_code rpc_call_set_status_details(rpc_call *call, rpc_bytes details);
/** Client, inside on_end: the details that came with the status. False when there are none.
 *  Borrowed as long as the call. */
RPC_API bool rpc_call_status_details(const rpc_call *call, rpc_bytes *ret_details);

/** Server: messages of this call are compressed so, before the first is sent. UNIMPLEMENTED when
 *  the client does not accept that encoding, FAILED_PRECONDITION when headers have gone or on a
 *  client (whose options say it at the start); messages then go on as they would have. Messages
 *  that would not get smaller, and those with a body, go uncompressed. Any thread. */
RPC_API rpc_code rpc_call_set_compression(rpc_call *call, rpc_encoding encoding);
/** Either side: false lets the messages sent from now on go uncompressed although the call has
 *  an encoding, true undoes that. Any thread. */
RPC_API void rpc_call_compress_messages(rpc_call *call, bool compress);
/** Was the message that came last compressed on the wire? In on_message, on_end or the handler of
 *  a unary method. Strand. */
RPC_API bool rpc_call_message_compressed(const rpc_call *call);

/** Server: ends the call after what was sent; RPC_OK or an error with its message (copied, cut
 *  at 383 bytes; NULL for none). The first end counts, later ones are ignored. Any thread. */
RPC_API void rpc_call_finish(rpc_call *call, rpc_code code, const char *message);
/** The same, from a status. A unary method ends by exactly one of closure(reply) and this, both
 *  from any thread. */
RPC_API void rpc_call_fail(rpc_call *call, const rpc_status *status);
/** Client: no more messages from us, after those that were taken. Any thread. */
RPC_API void rpc_call_half_close(rpc_call *call);
/** Either side: ends it now; the peer sees CANCELLED, and so does our on_end. Server, after
 *  rpc_call_finish() with an error: what has not gone out by now is dropped, half messages too, and
 *  both see that error, however slowly the peer reads. Any thread. */
RPC_API void rpc_call_cancel(rpc_call *call);

/** Runs fn on the call's strand, after what is running; also after the call has ended (look at
 *  rpc_call_cancelled()). Holds a reference meanwhile. Any thread. */
RPC_API void rpc_call_post(rpc_call *call, rpc_task_fn *fn, void *arg);
/** Runs fn on the call's strand in delay_ms, unless the call has ended by then: it then never
 *  runs. RESOURCE_EXHAUSTED without memory. Any thread. */
RPC_API RPC_MUST_USE rpc_code rpc_call_after(
    rpc_call *call, int64_t delay_ms, void (*fn)(rpc_call *call, void *arg), void *arg);
/** fn is called on the strand when the call ends before the handler of a unary method answered,
 *  who owes its closure or rpc_call_fail() all the same. Set it inside the handler. */
RPC_API void rpc_call_on_cancel(rpc_call *call, void (*fn)(rpc_call *call, void *arg), void *arg);
/** Raises this stream's receive window (for an upload of one who may); 2 GiB at most, and never
 *  lowers it. Strand. */
RPC_API void rpc_call_receive_window(rpc_call *call, size_t bytes);

/* ---- received messages ---------------------------------------------------------------- */

/** Bytes of the packed message. */
RPC_API size_t rpc_message_size(const rpc_message *message);
/** The packed bytes, contiguous; until release. */
RPC_API rpc_bytes rpc_message_bytes(const rpc_message *message);
/** Through the gate (rpc_gate_check) and protobuf-c into memory of the message; *ret lives until
 *  release. The errors of rpc_gate_check(); RESOURCE_EXHAUSTED beyond call_memory_bytes_max. */
RPC_API RPC_MUST_USE rpc_code rpc_message_unpack(rpc_message *message,
    const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **ret, rpc_status *reterr);
/** Gives memory and window back. NULL is allowed. Any thread. */
RPC_API void rpc_message_release(rpc_message *message);

/* ---- the protobuf gate ------------------------------------------------------------------ */

/** What a message may cost before protobuf-c sees it. 0 means the default given here. */
typedef struct rpc_gate_limits {
    unsigned depth_max;      /* 32, and no more than that */
    size_t entries_max;      /* fields and repeated entries in all: 1,000,000 */
    size_t memory_bytes_max; /* what unpacking would allocate: 16 MiB */
} rpc_gate_limits;

/** One scan of the wire against the descriptor: well formed, depth, UTF-8 and no NUL in strings,
 *  entries, computed memory. protobuf-c 1.4.1 overflows the stack or takes 80 times the memory
 *  without it. INVALID_ARGUMENT or, for entries and memory, RESOURCE_EXHAUSTED; the message names
 *  field and limit. limits may be NULL. A second copy of a submessage is merged, as protobuf
 *  says, except where it has a oneof, on which protobuf-c fails: INVALID_ARGUMENT. */
RPC_API RPC_MUST_USE rpc_code rpc_gate_check(const ProtobufCMessageDescriptor *descriptor,
    rpc_bytes packed, const rpc_gate_limits *limits, rpc_status *reterr);
/** Gate, then unpack into arena (freed with it). The errors of rpc_gate_check(), and
 *  RESOURCE_EXHAUSTED beyond the arena's budget. */
RPC_API RPC_MUST_USE rpc_code rpc_unpack(const ProtobufCMessageDescriptor *descriptor,
    rpc_bytes packed, rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr);

/* ---- server ----------------------------------------------------------------------------- */

/** Sees every call of a server or channel. on_start of several runs in the order given, on_end in
 *  reverse, and only of those whose on_start ran; so the first is outermost. */
typedef struct rpc_interceptor {
    /** Server: the request's metadata is there, the handler comes next. Client: nothing has been
     *  sent yet; rpc_call_add_header() adds to the request (credentials, a trace), and
     *  rpc_call_request_metadata() shows it. Anything but RPC_OK ends the call with *reterr, on a
     *  client before it has reached the network. May be NULL. Strand. */
    rpc_code (*on_start)(void *ctx, rpc_call *call, rpc_status *reterr);
    /** After the last callback of the call; metadata, trailers and counts are still there. May be
     *  NULL. Strand. */
    void (*on_end)(void *ctx, rpc_call *call, const rpc_status *status);
    void *ctx;
} rpc_interceptor;

/** What happens to connections, for log and metrics. */
typedef enum rpc_event_kind {
    RPC_EVENT_ACCEPTED,
    RPC_EVENT_HANDSHAKE_FAILED,
    RPC_EVENT_REFUSED,        /* a limit on connections: this one was not taken */
    RPC_EVENT_PROTOCOL_ERROR, /* HTTP/2 or gRPC violated; the connection is closed */
    RPC_EVENT_TIMEOUT,        /* handshake, first request, idle or write progress; closed */
    RPC_EVENT_CLOSED,
    RPC_EVENT_LIMIT,             /* a call reached a limit and ended; the connection goes on */
    RPC_EVENT_CERTIFICATE_ENDED, /* the client's expired or was revoked; the connection is closed */
    RPC_EVENT_KINDS
} rpc_event_kind;
/** Borrowed for the callback; texts may be empty, not NULL. */
typedef struct rpc_event {
    rpc_event_kind kind;
    rpc_limit_kind limit; /* the one that was reached; RPC_LIMIT_NONE: it was no limit */
    const char *listener, *address, *detail; /* detail: why, for a person */
} rpc_event;
/** Any thread, several at once; must not block. */
typedef void rpc_event_fn(void *ctx, const rpc_event *event);

/** Begin with .limits = rpc_limits_default(). */
typedef struct rpc_server_options {
    rpc_limits limits;
    const rpc_interceptor *interceptors; /* copied */
    size_t interceptor_count;
    rpc_event_fn *on_event; /* may be NULL */
    void *event_ctx;
    /** Encodings of requests that are taken; 0 = all there are. Another is UNIMPLEMENTED. What a
     *  message inflates to is bounded like one that came uncompressed. */
    unsigned accept_encodings;
} rpc_server_options;

/** A server without listeners or services. Functions that set it up, up to rpc_server_start(), are
 *  for one thread at a time; the others say from where. INVALID_ARGUMENT names a limit out of its
 *  range, RESOURCE_EXHAUSTED when memory is short. runtime outlives it. */
RPC_API RPC_MUST_USE rpc_code rpc_server_new(
    rpc_runtime *runtime, const rpc_server_options *options, rpc_server **ret, rpc_status *reterr);

/** Read and copied by rpc_server_listen(). */
typedef struct rpc_listener_options {
    const char *name; /* "users", "peers", "admin": in events and rpc_call_listener() */
    /** "tls+tcp://127.0.0.1:7443" (port 0: any), "tcp://" on loopback only and with
     *  allow_plain_text, "ipc:///path" (created with mode 0600). */
    const char *url;
    bool allow_plain_text;
    rpc_tls_options tls;
} rpc_listener_options;

/** What rpc_server_listen() says of name, url and allow_plain_text, before it touches anything. */
RPC_API RPC_MUST_USE rpc_code rpc_listener_check(
    const rpc_listener_options *options, rpc_status *reterr);
/** Opens a listener, which ends with the server; calls are taken from rpc_server_start() on. ret
 *  may be NULL. INVALID_ARGUMENT for a url or TLS files that cannot be used, UNAVAILABLE when the
 *  address is taken. */
RPC_API RPC_MUST_USE rpc_code rpc_server_listen(rpc_server *server,
    const rpc_listener_options *options, rpc_listener **ret, rpc_status *reterr);
/** Where it listens, with the real port. Lives as long as the server. */
RPC_API const char *rpc_listener_url(const rpc_listener *listener);
/** New certificate, key and trust for connections from now on; those that are open stay, sessions
 *  of before are not resumed, and certificates that the new crl_file revokes end. On failure the
 *  old ones stay. FAILED_PRECONDITION without TLS, else as rpc_server_listen(). Any thread. */
RPC_API RPC_MUST_USE rpc_code rpc_listener_set_tls(
    rpc_listener *listener, const rpc_tls_options *tls, rpc_status *reterr);

/** How a service is served. */
typedef struct rpc_service_options {
    /** FileDescriptorSet of protoc (--include_imports): streaming flags, reflection. */
    rpc_bytes descriptor_set;
    /** Listeners (by name, NULL-terminated) that serve it; NULL = all. Elsewhere the service
     *  answers UNIMPLEMENTED. */
    const char *const *listeners;
} rpc_service_options;

/** Registers a service as protobuf-c generated it; its unary methods are called with the
 *  rpc_call as closure_data; one whose function is NULL is answered UNIMPLEMENTED. service and
 *  descriptor_set outlive the server. INVALID_ARGUMENT when the descriptor set does not describe
 *  it, ALREADY_EXISTS when it was added before, FAILED_PRECONDITION after the start. */
RPC_API RPC_MUST_USE rpc_code rpc_server_add_service(rpc_server *server, ProtobufCService *service,
    const rpc_service_options *options, rpc_status *reterr);

/** What one method allows, unary or streaming. */
typedef struct rpc_method_options {
    size_t message_receive_bytes_max; /* 0 = the server's; under 4 GiB */
    int64_t deadline_max_ms;          /* 0 = none; caps what the client asks for */
    int64_t deadline_default_ms;      /* where the client asks for none; 0 = deadline_max_ms */
    int64_t stream_receive_ms;        /* 0 = the server's; RPC_NO_TIMEOUT: a stream that may
                                       * rest for ever */
    int64_t stream_send_ms;           /* 0 = the server's */
} rpc_method_options;

/** Limits and deadlines of a registered method. NOT_FOUND when there is no such method,
 *  INVALID_ARGUMENT for what cannot be, FAILED_PRECONDITION after the start. */
RPC_API RPC_MUST_USE rpc_code rpc_server_set_method(
    rpc_server *server, const char *path, const rpc_method_options *options, rpc_status *reterr);

/** The handler of a streaming method of a registered service. NOT_FOUND when there is no such
 *  method, INVALID_ARGUMENT when it is unary. options may be NULL: rpc_server_set_method(). */
RPC_API RPC_MUST_USE rpc_code rpc_server_set_handler(rpc_server *server, const char *path,
    const rpc_handler *handler, void *user, const rpc_method_options *options, rpc_status *reterr);

/** grpc.health.v1.Health with Check and Watch: "" and every service registered are NOT_SERVING
 *  until set. Errors as rpc_server_add_service(). */
RPC_API RPC_MUST_USE rpc_code rpc_server_add_health(rpc_server *server, rpc_status *reterr);
/** Of a service by name (copied), "" of the server as a whole; who watches is told. Nothing
 *  happens without rpc_server_add_health(). Any thread, until the server is freed. */
RPC_API void rpc_server_set_health(rpc_server *server, const char *service, bool serving);
/** grpc.channelz.v1.Channelz: what this server's runtime has, servers, channels and connections
 *  with their counters, addresses and certificates: for operators' listeners only (names,
 *  NULL-terminated; NULL = all). At most 100 entries an answer, more by paging. Errors as
 *  rpc_server_add_service(). */
RPC_API RPC_MUST_USE rpc_code rpc_server_add_channelz(
    rpc_server *server, const char *const *listeners, rpc_status *reterr);
/** grpc.reflection.v1 and v1alpha over the descriptor sets given. Errors as
 *  rpc_server_add_service(). */
RPC_API RPC_MUST_USE rpc_code rpc_server_add_reflection(rpc_server *server, rpc_status *reterr);

/** Takes calls from now on. INVALID_ARGUMENT names a streaming method without a handler,
 *  FAILED_PRECONDITION when it was started before. */
RPC_API RPC_MUST_USE rpc_code rpc_server_start(rpc_server *server, rpc_status *reterr);
/** No new connections or calls (GOAWAY), health NOT_SERVING; waits up to grace_ms for the calls
 * that run, then cancels them and closes. The first stop counts. Blocks; not from a callback. */
RPC_API void rpc_server_stop(rpc_server *server, int64_t grace_ms);
/** Stops it without grace where that was not done. Blocks; not from a callback. */
RPC_API void rpc_server_free(rpc_server *server);

/** Counters since the server was made, but for the last two lines: what there is now. */
typedef struct rpc_server_stats {
    uint64_t events[RPC_EVENT_KINDS];
    uint64_t limits[RPC_LIMIT_KINDS]; /* how often each was reached */
    uint64_t calls_started, calls_ended;
    uint64_t bytes_received, bytes_sent; /* of the messages of calls that have ended */
    uint64_t handshakes, resumed;        /* of TLS that succeeded; those that took up a session */
    unsigned connections, unauthenticated;
    size_t memory_bytes; /* what server_memory_bytes_max judges */
} rpc_server_stats;
/** Any thread. */
RPC_API rpc_server_stats rpc_server_get_stats(const rpc_server *server);

/* ---- statistics -------------------------------------------------------------------------- */

/** How many status codes there are, and cells of latency. */
#define RPC_CODES         17
#define RPC_LATENCY_CELLS 296

/** Of the calls of one method or channel. Counted without a lock. */
typedef struct rpc_call_stats {
    uint64_t started;
    uint64_t ended[RPC_CODES]; /* by code; [RPC_OK] succeeded */
    /* of calls that have ended; bytes with the 5 of each message's prefix, as on the wire */
    uint64_t messages_received, messages_sent, bytes_received, bytes_sent;
    int64_t last_started_us; /* the runtime's monotonic clock; 0: never */
    uint64_t latency_sum_us;
    /** Calls by the time from start to end: below 8 us a cell each, then 8 for each doubling, of
     *  which some are cut in two (rpc_latency_at_most()). */
    uint64_t latency[RPC_LATENCY_CELLS];
} rpc_call_stats;

/** The cell that a time belongs to, for histograms of one's own; below 0 as 0. */
RPC_API unsigned rpc_latency_cell(int64_t us);
/** The least time that belongs to a cell, microseconds. */
RPC_API int64_t rpc_latency_cell_us(unsigned cell);
/** How many calls took at most so long. Exact up to 15 us and at the bounds that histograms have
 *  by custom: 100, 250, 500 us, 1, 2.5, 5 … ms up to 10 s; elsewhere the whole cell of us counts.
 */
RPC_API uint64_t rpc_latency_at_most(const rpc_call_stats *stats, int64_t us);
/** The greatest time of the cell that holds this quantile (0.5, 0.99); 0 without calls. */
RPC_API int64_t rpc_latency_quantile_us(const rpc_call_stats *stats, double quantile);

/** Methods by index from 0, at last the calls that found no method (path ""); false after that.
 *  Only after rpc_server_start(). *ret_path lives as long as the server; ret may be NULL. Any
 *  thread. */
RPC_API bool rpc_server_method_stats(
    const rpc_server *server, size_t index, const char **ret_path, rpc_call_stats *ret);
/** Of all calls of a channel. Any thread. */
RPC_API void rpc_channel_call_stats(const rpc_channel *channel, rpc_call_stats *ret);

/** Of one connection. Times are of the runtime's monotonic clock; 0: never. */
typedef struct rpc_connection_stats {
    uint64_t id;          /* of the runtime, never used again */
    const char *listener; /* as rpc_call_listener() */
    char address[64];     /* as rpc_peer.address */
    bool tls;
    int64_t opened_us;
    uint64_t streams_started, streams_succeeded, streams_failed; /* failed: reset or cut off */
    uint64_t messages_received, messages_sent;
    uint64_t bytes_received, bytes_sent; /* of the stream below TLS, handshake included */
    uint64_t keepalives_sent;
    int64_t last_stream_us, last_received_us, last_sent_us; /* stream, messages */
} rpc_connection_stats;

/** Connections of a server with an ID of at least start_id, in their order, up to max. Returns
 *  how many: fewer than max at the end. Any thread. */
RPC_API size_t rpc_server_connections(
    const rpc_server *server, uint64_t start_id, rpc_connection_stats *ret, size_t max);

/* ---- client ------------------------------------------------------------------------------ */

/** As gRPC's connectivity semantics have it. TRANSIENT_FAILURE stays until READY, also while a
 *  new attempt is made. With several addresses: READY when one is, TRANSIENT_FAILURE when all
 *  are. */
typedef enum rpc_channel_state {
    RPC_CHANNEL_IDLE,              /* no connection; the next call makes one */
    RPC_CHANNEL_CONNECTING,        /* calls wait */
    RPC_CHANNEL_READY,             /* calls are sent */
    RPC_CHANNEL_TRANSIENT_FAILURE, /* calls fail with UNAVAILABLE, but for wait_for_ready */
    RPC_CHANNEL_SHUTDOWN,          /* rpc_channel_free() runs */
} rpc_channel_state;
/** "READY" and so on. */
RPC_API const char *rpc_channel_state_name(rpc_channel_state state);

/** Bounds that are no settings. */
#define RPC_ADDRESSES_MAX   16 /* that a name resolves to; more are left out */
#define RPC_CONNECTIONS_MAX 64 /* of a channel */

/** What a name resolves to: "192.0.2.1", "2001:db8::1". */
typedef struct rpc_addresses {
    unsigned count;
    char text[RPC_ADDRESSES_MAX][46];
} rpc_addresses;
/** Resolves host, or says why not (UNAVAILABLE: try again later). On a thread where it may
 *  block; possibly several at once. */
typedef rpc_code rpc_resolve_fn(
    void *ctx, const char *host, rpc_addresses *ret_addresses, rpc_status *reterr);

/** When a call is made again that failed although the server may have seen it: only for methods
 *  that may run twice (rpc_call_options.idempotent, or idempotency_level in the descriptor set
 *  given), and never once an answer has begun. The server's grpc-retry-pushback-ms counts. Calls
 *  that the server certainly did not see are made again at once, whatever the method.
 *  0 means the default given here. */
typedef struct rpc_retry_policy {
    unsigned attempts_max;                      /* 4 with the first; 1..5; 1: never again */
    int64_t backoff_initial_ms, backoff_max_ms; /* 100 and 2,000, a fifth more or less */
    unsigned backoff_multiplier_percent;        /* 200; 100..10,000 */
    unsigned codes;                             /* RPC_RETRY_ON(…) | …; UNAVAILABLE alone */
} rpc_retry_policy;
#define RPC_RETRY_ON(code) (1u << (code))

/** Needed are target and .limits = rpc_limits_default_client(); 0 and NULL elsewhere are defaults.
 *  Read and copied by rpc_channel_new(); what a ctx points to stays until the channel is freed. */
typedef struct rpc_channel_options {
    /** "tls+tcp://host:port", "tcp://…" (loopback), "ipc:///path". Several addresses are
     *  separated by commas, "tls+tcp://a:7443,b:7443": one connection each, calls go round
     *  robin over those that are ready. Of the addresses that one name resolves to, the first
     *  that answers is taken. The name in the target is the one verified, each its own. */
    const char *target;
    bool allow_plain_text;
    rpc_tls_options tls;
    rpc_limits limits;
    int64_t connect_ms; /* to one address, handshake apart; 0 = 10,000; 1..3,600,000 */
    /** Connections for each address of the target, spread over what its name resolves to;
     *  0 = 1, at most RPC_CONNECTIONS_MAX in all. */
    unsigned connections;
    /** An address that cannot be reached is tried again after initial, then 1.6 times longer
     *  each time up to max, a fifth more or less. 0 = 1,000 and 120,000. */
    int64_t backoff_initial_ms, backoff_max_ms;
    unsigned waiting_calls_max; /* for a connection; 0 = 100,000: then RESOURCE_EXHAUSTED */
    /** Of calls that may run twice, where the call's options have none. */
    rpc_retry_policy retry;
    /** FileDescriptorSet of protoc: methods with idempotency_level NO_SIDE_EFFECTS or IDEMPOTENT
     *  may run twice. Read here and not kept. */
    rpc_bytes descriptor_set;
    size_t retry_buffer_bytes_max; /* messages of a call kept for another attempt; 0 = 256 KiB */
    /** A bucket of tokens: a failure takes one, a success gives ratio thousandths back; no call
     *  is made again by policy while it is not more than half full. 0 = 10 and 100; up to 1,000
     *  each. */
    unsigned retry_tokens_max, retry_token_ratio;
    rpc_resolve_fn *resolve; /* NULL = getaddrinfo() */
    void *resolve_ctx;
    /** Each new state, in order and never two at once; the last is SHUTDOWN. Must not block. */
    void (*on_state)(void *ctx, rpc_channel_state state);
    void *state_ctx;
    const rpc_interceptor *interceptors; /* copied */
    size_t interceptor_count;
    rpc_encoding encoding;     /* of requests, where the call's options say nothing */
    unsigned accept_encodings; /* of answers; 0 = all there are */
} rpc_channel_options;

/** Makes a channel; connections are made at the first call, and at the next call when they were
 *  lost or given up for idleness (limits.idle_ms). INVALID_ARGUMENT names what can never work,
 *  RESOURCE_EXHAUSTED when memory is short. runtime outlives it. */
RPC_API RPC_MUST_USE rpc_code rpc_channel_new(rpc_runtime *runtime,
    const rpc_channel_options *options, rpc_channel **ret, rpc_status *reterr);
/** New certificate, key and trust: calls made from then on go by new connections, and those that
 * run end on the ones they have. On failure the old ones stay. FAILED_PRECONDITION without TLS,
 * else as rpc_channel_new(). Any thread, not after rpc_channel_free(). */
RPC_API RPC_MUST_USE rpc_code rpc_channel_set_tls(
    rpc_channel *channel, const rpc_tls_options *tls, rpc_status *reterr);
/** Its state now. Any thread, as all that follow. */
RPC_API rpc_channel_state rpc_channel_get_state(const rpc_channel *channel);
/** Connects now what is idle, without a call. */
RPC_API void rpc_channel_connect(rpc_channel *channel);
/** Counters since the channel was made, but for the last line: what there is now. */
typedef struct rpc_channel_stats {
    uint64_t connections, connections_failed; /* attempts: one that became ready, or none did */
    uint64_t retries;                         /* by policy */
    uint64_t retries_unseen;                  /* of what the server did not see */
    uint64_t retries_throttled;               /* not made for want of tokens */
    unsigned calls, waiting;                  /* now: in all, and for a connection */
} rpc_channel_stats;
RPC_API rpc_channel_stats rpc_channel_get_stats(rpc_channel *channel);
/** Ends running calls with CANCELLED and waits for their on_end. Blocks; not from a callback. */
RPC_API void rpc_channel_free(rpc_channel *channel);

/** A header of a request. */
typedef struct rpc_metadatum {
    const char *name; /* lower case; "-bin" values are encoded for you */
    rpc_bytes value;
    bool sensitive; /* never indexed by HPACK; dacm-token is indexed on purpose */
} rpc_metadatum;

/** How one call is made; zeros are defaults. */
typedef struct rpc_call_options {
    int64_t timeout_ms;            /* 0 = none */
    const rpc_metadatum *metadata; /* copied */
    size_t metadata_count;
    bool wait_for_ready; /* wait for a connection until the deadline instead of UNAVAILABLE */
    size_t message_receive_bytes_max; /* 0 = the channel's */
    size_t stream_window_bytes;       /* 0 = the channel's */
    rpc_encoding encoding; /* of what we send: RPC_ENCODING_GZIP for a server known to take it */
    rpc_bytes *ret_status_details; /* rpc_channel_unary() only, may be NULL: on failure the
                                    * status's details, empty where there are none; in arena */
    bool idempotent;               /* may run twice: see rpc_retry_policy */
    const rpc_retry_policy *retry; /* NULL = the channel's; copied */
    /** A call (as a rule the server's that is being handled) that this one is made for: it gets
     *  no more time than that one has left and is cancelled when that one ends. Held by the
     *  caller while this starts. NULL for stubs. */
    rpc_call *parent;
} rpc_call_options;

/** Starts a call of any kind; its callbacks come one at a time, on any thread, and possibly before
 *  this returns. path, options and handler are copied; the caller owns a reference to *ret
 *  (rpc_call_unref). options may be NULL. Errors that come before any network are returned
 *  (INVALID_ARGUMENT, RESOURCE_EXHAUSTED, CANCELLED when channel or parent is ending), and no
 *  callback comes; all others come by on_end. */
RPC_API RPC_MUST_USE rpc_code rpc_channel_start(rpc_channel *channel, const char *path,
    const rpc_call_options *options, const rpc_handler *handler, void *user, rpc_call **ret,
    rpc_status *reterr);

/** One request, one reply, waiting. *ret is unpacked into arena. The status is the server's, or
 *  our own: INTERNAL for an answer of none or two messages, that of rpc_unpack() for one that
 *  cannot be read. Blocks; not from a callback. */
RPC_API RPC_MUST_USE rpc_code rpc_channel_unary(rpc_channel *channel, const char *path,
    const rpc_call_options *options, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply_descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    rpc_status *reterr);

/** A stub: a ProtobufCService for protobuf-c's generated functions
 *  (`foo__bar__baz((ProtobufCService *)stub, &request, closure, data)`). Each call is
 *  asynchronous; the closure runs on the strand, with the reply (borrowed) or NULL, in which
 *  case rpc_stub_status() tells why, inside the closure. Unary methods only. options are
 *  copied. Its functions may be called from any thread. RESOURCE_EXHAUSTED without memory. */
typedef struct rpc_stub rpc_stub;
RPC_API RPC_MUST_USE rpc_code rpc_stub_new(rpc_channel *channel,
    const ProtobufCServiceDescriptor *descriptor, const rpc_call_options *options, rpc_stub **ret,
    rpc_status *reterr);
/** What the generated functions take: the stub itself. */
RPC_API ProtobufCService *rpc_stub_service(rpc_stub *stub);
/** Of the call whose closure runs on this thread; FAILED_PRECONDITION outside of one. */
RPC_API const rpc_status *rpc_stub_status(const rpc_stub *stub);
/** Its details, inside the closure; empty where there are none. */
RPC_API rpc_bytes rpc_stub_status_details(const rpc_stub *stub);
/** When no call of it is running. NULL is allowed. */
RPC_API void rpc_stub_free(rpc_stub *stub);

#ifdef __cplusplus
}
#endif
#endif
