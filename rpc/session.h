/* SPDX-License-Identifier: Apache-2.0 */
/** Lanes, connections and calls: what both ends of gRPC over HTTP/2 share. Private to rpc/.
 *
 *  LANE   a strand and what lives on it: one connection of a server, or the connections, one
 *         after another, of a channel to one address. Everything below marked (strand) is
 *         touched by the lane's tasks only. A call of a channel may move to another lane while
 *         it is on no stream (rpc__call_move); a task that finds its call elsewhere follows it.
 * Every task ends with rpc__lane_settle(): there, never deeper, on_end and on_writable are called
 * and output is made and written. LOCKS  call->lock guards the call's inbox (marked (lock));
 * nothing else is taken, no callback runs and neither nghttp2 nor OpenSSL is entered while it is
 * held. REFS   a call holds its connection and its home, the lane it was made for (of a channel:
 * the one that keeps all the others), a connection holds its lane; the last reference of a lane
 * posts its last task, which frees it. */
#ifndef DACM_RPC_SESSION_H
#define DACM_RPC_SESSION_H

#include "census.h"
#include "compression.h"
#include "intercept.h"
#include "memory.h"
#include "rpc_internal.h"
#include "rules.h"
#include "stream.h"
#include "stats.h"
#include "strand.h"
#include "tls.h"
#include "wire.h"

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdatomic.h>

#ifndef RPC__OUTPUT_BYTES /* fuzz targets reach the ends of smaller ones */
#define RPC__OUTPUT_BYTES (256 * 1024)
#define RPC__INPUT_BYTES  (128 * 1024)
#endif
#define RPC__INPUT_FIRST_BYTES  1024 /* of a server's: until a read has filled it */
#define RPC__FRAME_HEAD_BYTES   9u
#define RPC__STAGING_BYTES      RPC__TLS_RECORD_MAX
#define RPC__OBJECTS            8
#define RPC__FREE_CALLS_MAX     64
#define RPC__SEND_BYTES_MAX     (64 * 1024)
#define RPC__SEND_BODIES_MAX    2
#define RPC__MESSAGE_FIRST_MAX  (64 * 1024)
#define RPC__OUTBOUND_QUEUE_MAX 1000
#define RPC__TOO_MANY_PINGS     "too_many_pings"
#define RPC__KEEPALIVE_MS_MAX   INT64_C(31536000000) /* a year */
#define RPC__POSTS_SPARE        2
#define RPC__CONN_BYTES         (20 * 1024) /* TLS and HTTP/2 of an idle one, as measured */
#define RPC__REQUEST_STEP       (64 * 1024) /* in which request_bytes are charged to the server */
#define RPC__REPLY_COUNTED_MIN  (16 * 1024) /* smaller replies are not worth an atomic */

typedef struct rpc__conn rpc__conn;

typedef struct rpc__lane {
    rpc__strand strand;
    rpc_runtime *runtime;
    atomic_uint refs;
    rpc__memory *memory;         /* a reference; NULL: a channel's */
    atomic_size_t request_bytes; /* received and not released, of all calls */
    atomic_size_t reply_bytes;   /* queued and not taken by the peer: messages that count */
    size_t charged;              /* (strand) of memory, for request_bytes */
    rpc_call *pending;           /* (strand) to settle, oldest first */
    rpc_call **pending_end;
    rpc__conn *conns;
    rpc_call *free_calls;
    unsigned free_count;
    int64_t now_us; /* (strand) when the last bytes were read */
    rpc__task last;
    void (*destroy)(void *owner); /* the owner's memory goes with the lane; may be NULL */
    void *owner;
} rpc__lane;

/** memory: what the lane's connections and calls are charged to, or NULL. */
rpc__lane *rpc__lane_new(
    rpc_runtime *runtime, rpc__memory *memory, void (*destroy)(void *owner), void *owner);
/** Charges request_bytes as they are now. False: that would be over the server's limit; nothing
 *  was charged. Never false when less is needed. (strand) */
bool rpc__lane_charge(rpc__lane *lane);
/** Gives back what is kept for the next call: there has been none for a while. (strand) */
void rpc__lane_rest(rpc__lane *lane);
void rpc__lane_ref(rpc__lane *lane);
void rpc__lane_unref(rpc__lane *lane);
bool rpc__lane_here(const rpc__lane *lane);
void rpc__lane_settle(rpc__lane *lane);

/** What a server or channel does about its connections; all on the strand. */
typedef struct rpc__conn_owner {
    void (*on_ready)(rpc__conn *conn); /* HTTP/2 may be spoken */
    /** Server, once a minute: why the peer may not go on, or NULL. */
    const char *(*objection)(rpc__conn *conn);
    void (*on_request)(rpc__conn *conn, rpc_call *call); /* server: all headers are there */
    /** Client: no new calls on this connection; debug is what the server said about it. */
    void (*on_goaway)(rpc__conn *conn, uint32_t h2_error, rpc_bytes debug);
    void (*on_event)(
        rpc__conn *conn, rpc_event_kind kind, rpc_limit_kind limit, const char *detail);
    void (*on_gone)(rpc__conn *conn, const rpc_status *why); /* last */
} rpc__conn_owner;

typedef struct rpc__object {
    nghttp2_rcbuf *value;
    char name[64];
    void *object;
    void (*release)(void *object);
    uint64_t used;
} rpc__object;

/** What the peer sent that may be a flood; flood.c. */
typedef struct rpc__flood {
    int64_t second_us, ping_us;
    unsigned pings, resets, settings, empty_data, others; /* in this second */
    int window_updates; /* beyond those due for frames of ours; below 0: so many are due */
    unsigned ping_strikes;
} rpc__flood;

#define RPC__H2_SIZES 16u

/** What nghttp2 has freed and will ask for again; h2_memory.c. (strand) */
typedef struct rpc__h2_memory {
    union piece *waiting[RPC__H2_SIZES];
    size_t kept;
} rpc__h2_memory;

/** The allocator of one session; memory outlives the session and what it gave. */
nghttp2_mem rpc__h2_memory_of(rpc__h2_memory *memory);
/** Gives what waits back to libc. */
void rpc__h2_memory_trim(rpc__h2_memory *memory);

typedef enum rpc__conn_state {
    RPC__CONN_CONNECTING, /* client: no stream yet */
    RPC__CONN_HANDSHAKE,
    RPC__CONN_OPEN,
    RPC__CONN_CLOSING, /* what is in the output still goes out */
    RPC__CONN_CLOSED,  /* rpc__stream_close() ran; waiting for on_closed */
    RPC__CONN_GONE,
} rpc__conn_state;

struct rpc__conn {
    rpc__lane *lane;
    rpc__conn *next; /* on the lane */
    atomic_uint refs;
    bool server;
    rpc__conn_state state;
    const rpc_limits *limits; /* the owner's */
    const rpc__conn_owner *ops;
    void *owner;
    const char *listener; /* server */
    const char *scheme;
    rpc__census_entry entry;
    rpc__tally tally;
    int64_t read_us;           /* when bytes last came */
    unsigned burst, burst_max; /* messages since the lane last settled, until it settles */
    bool burst_over;
    bool receiving; /* the input buffer is in use */
    rpc__stream *stream;
    rpc__tls *tls; /* NULL: plain text */
    nghttp2_session *h2;
    rpc__h2_memory h2_memory;
    rpc_peer peer;
    char address[RPC__STREAM_ADDRESS_MAX];
    rpc_status why;  /* first reason to close; code RPC_OK: none yet */
    rpc_call *calls; /* attached */
    unsigned call_count;
    bool had_request; /* client: the server's SETTINGS have come */
    bool accept_told; /* server: the client knows our encodings */
    bool goaway_seen, draining, drain_final;
    bool served; /* client: a call was answered on it */
    /* output */
    uint8_t *out[2];
    size_t out_size; /* plain text only: bytes in out[out_now] */
    unsigned out_now;
    bool out_used; /* since the last tick */
    uint8_t *staging;
    size_t staged;
    rpc_bytes view; /* slice pulled for the frame being made */
    rpc_call *view_call;
    /* input */
    uint8_t *in;
    size_t in_size, in_wanted; /* of in: as it is, as the next read shall have it */
    unsigned in_small;         /* small reads in a row */
    bool peer_finished;
    /* limits */
    rpc_timer *timer;
    bool tick_queued, timer_slow;
    rpc__task tick, start, drain, abort;
    int64_t keepalive_ms, heard_us, ping_sent_us; /* keepalive.c */
    int64_t opened_us, idle_since_us, progress_us, drain_us, judged_us;
    uint64_t progress_bytes;
    rpc__flood flood;
    rpc_limit_kind fault; /* the limit that the connection ends for, where nghttp2 ends it */
    rpc__object objects[RPC__OBJECTS];
    uint64_t object_clock;
    /* for the owner */
    rpc__conn *owner_next, **owner_link;
    struct rpc__origin *origin; /* server */
    struct rpc_listener *from;  /* server */
    void *owner_data;
};

/** refs is 1: the stream's, given back after on_gone. Takes tls on success. */
rpc__conn *rpc__conn_new(rpc__lane *lane, bool server, const rpc_limits *limits,
    const rpc__conn_owner *ops, void *owner, rpc__tls *tls);
void rpc__conn_ref(rpc__conn *conn);
void rpc__conn_unref(rpc__conn *conn);
extern const rpc__stream_handler rpc__conn_stream_handler; /* user: the rpc__conn */
/** After the stream is there: handshake, first read, timers. (strand) */
void rpc__conn_begin(rpc__conn *conn);
/** Closes once output has gone; calls attached end with why. (strand) */
void rpc__conn_close(rpc__conn *conn, const rpc_status *why);
/** GOAWAY in two steps, then closes when the last call has ended. (strand) */
void rpc__conn_drain(rpc__conn *conn);
void rpc__conn_tick_soon(rpc__conn *conn);
/** What readers on other threads may see of one that is entered in the census. (census' lock) */
void rpc__conn_stats(const rpc__conn *conn, rpc_connection_stats *ret);
int64_t rpc__conn_now_us(const rpc__conn *conn);
/* buffers.c (strand) */
size_t rpc__conn_output_size(const rpc__conn *conn);
/** There is a buffer to put output into. False: no memory. */
bool rpc__conn_output_ready(rpc__conn *conn);
/** The same for the next read: conn->in has in_size bytes. Only while no read is in flight. */
bool rpc__conn_input_ready(rpc__conn *conn);
/** A read has brought so much. */
void rpc__conn_input_took(rpc__conn *conn, size_t size);
/** With each tick: frees what has not been used since the last. */
void rpc__conn_rest(rpc__conn *conn);
/** There is nothing left that rest() would free. */
bool rpc__conn_rests(const rpc__conn *conn);
void rpc__conn_free_buffers(rpc__conn *conn);

/** Sends what can be sent. (strand) */
void rpc__conn_pump(rpc__conn *conn);
/** Appends to the output; there is room (rpc__conn_room). False: the connection failed. */
bool rpc__conn_put(rpc__conn *conn, rpc_bytes bytes);
/** Plain bytes that surely fit the output now. */
size_t rpc__conn_room(rpc__conn *conn);
/** HTTP/2 violated (RPC_LIMIT_NONE) or a limit on the connection reached: GOAWAY, event, close. */
void rpc__conn_offence(
    rpc__conn *conn, rpc_limit_kind limit, uint32_t h2_error, const char *detail);
/** Event and close: with GOAWAY where it can be written. */
void rpc__conn_time_out(rpc__conn *conn, rpc_limit_kind limit, const char *what);
/** Ends calls that have waited too long for their peer. (strand) */
void rpc__conn_check_calls(rpc__conn *conn, int64_t now);
/** A call reached a limit: counted and told. The call is for the caller to end. */
void rpc__call_limit(rpc_call *call, rpc_limit_kind limit, const char *detail);

/* keepalive.c (strand) */
/** When rpc__keepalive_dead() has to be asked again, if that is before best. */
int64_t rpc__keepalive_next_ms(const rpc__conn *conn, int64_t now, int64_t best);
/** Sends a PING when it is due. True: the last one was not answered in time. */
bool rpc__keepalive_dead(rpc__conn *conn, int64_t now);

/* flood.c (strand) */
/** For every frame received, as soon as its header is there. */
void rpc__flood_frame(rpc__conn *conn, const nghttp2_frame_hd *head);
/** A stream was reset by the peer, or by us for the peer's fault. */
void rpc__flood_reset(rpc__conn *conn);
/** DATA of nothing but padding, which the header does not show. */
void rpc__flood_empty_data(rpc__conn *conn);
/** A PING that is no answer. */
void rpc__flood_ping(rpc__conn *conn);
/** We sent HEADERS or DATA of that length. */
void rpc__flood_traffic(rpc__conn *conn, size_t length);

/* session.c, session_send.c: nghttp2 */
bool rpc__session_start(rpc__conn *conn);
/** Handles what came. Every so many messages it settles the lane, so that the peer has something to
 *  do while the rest is handled: a few at first, since both wait for each other otherwise, then
 *  more, since each write costs a system call. */
void rpc__session_receive(rpc__conn *conn, rpc_bytes bytes);
void rpc__session_set_send_callbacks(nghttp2_session_callbacks *callbacks);
void rpc__session_drop_view(rpc__conn *conn);
ssize_t rpc__session_read_call(nghttp2_session *h2, int32_t stream_id, uint8_t *buffer,
    size_t length, uint32_t *flags, nghttp2_data_source *source, void *user);

RPC_MUST_USE rpc_code rpc__limits_check(const rpc_limits *limits, rpc_status *reterr);

/* ---- metadata -------------------------------------------------------------------------- */

typedef struct rpc__header {
    struct rpc__header *next;
    const char *name;
    rpc_bytes value;          /* decoded */
    nghttp2_rcbuf *value_ref; /* held while the call is attached; else NULL */
} rpc__header;

typedef struct rpc__headers {
    rpc__header *first;
    rpc__header **end;
    size_t bytes;
} rpc__headers;

typedef struct rpc__out_header {
    struct rpc__out_header *next;
    size_t name_size, value_size;
    bool sensitive;
    char text[]; /* name, then value */
} rpc__out_header;

/** False when the arena is used up; ignores what cannot be decoded. */
bool rpc__headers_add(rpc_call *call, rpc__headers *headers, rpc_bytes name, rpc_bytes value,
    nghttp2_rcbuf *value_ref);
bool rpc__headers_get(const rpc__headers *headers, const char *name, rpc_bytes *ret_value);
void rpc__headers_drop_refs(rpc__headers *headers);
/** Checks, encodes "-bin", copies to the end of *list. */
rpc_code rpc__out_header_add(
    rpc__out_header **list, const char *name, rpc_bytes value, bool sensitive);
void rpc__out_headers_free(rpc__out_header **list);
size_t rpc__out_headers_count(const rpc__out_header *list);
size_t rpc__out_headers_fill(const rpc__out_header *list, nghttp2_nv *ret_nv);
void rpc__objects_clear(rpc__conn *conn);

/* ---- calls ------------------------------------------------------------------------------- */

typedef struct rpc__out {
    struct rpc__out *next;
    size_t size, sent; /* of data: prefix and head */
    rpc_body body;
    bool has_body;
    bool settled; /* sent once and kept for another attempt: no longer of the queue's bounds */
    rpc__lane *counted; /* in its reply_bytes and memory; NULL: not counted */
    size_t body_sent;
    uint8_t data[];
} rpc__out;

enum { /* asked of a call from any thread */
    RPC__ASK_START = 1,
    RPC__ASK_FINISH = 2,
    RPC__ASK_HALF_CLOSE = 4,
    RPC__ASK_CANCEL = 8,
    RPC__ASK_DEADLINE = 16,
    RPC__ASK_RESUME = 32,
    RPC__ASK_CREDIT = 64,
    RPC__ASK_SEND = 128,
    RPC__ASK_WRITABLE = 256,
};

#define RPC__BURST_FIRST 8 /* messages */

typedef struct rpc__after rpc__after;

/** A function that was posted to a call. */
typedef struct rpc__posted {
    rpc__task task;
    rpc_call *call; /* a reference; NULL: this spare one is free */
    rpc_task_fn *fn;
    void *arg;
    bool spare;
} rpc__posted;

/** What the server can have seen of an attempt that was lost. */
typedef enum rpc__seen {
    RPC__SEEN_PERHAPS,
    RPC__SEEN_NEVER_SENT,
    RPC__SEEN_REFUSED, /* the server says that it did nothing */
} rpc__seen;

/** A channel's call that may be tried again; retry.c. (strand) */
typedef struct rpc__retry {
    rpc__out *sent, **sent_end; /* by this attempt, kept */
    size_t sent_bytes;
    bool allowed;             /* idempotent, with this policy */
    rpc_retry_policy policy;  /* complete */
    bool head_sent;           /* the request's HEADERS have gone to the output */
    bool due;                 /* begins anew at the next settle */
    unsigned attempts;        /* by policy, after the first */
    unsigned unsent, refused; /* attempts that were not seen */
    int64_t backoff_ms, delay_ms;
    rpc_timer *timer;
} rpc__retry;

/** How long a call has waited for its peer. */
typedef struct rpc__waiting {
    int64_t since_us; /* 0: it does not */
    uint64_t bytes;   /* moved until then */
    unsigned messages;
} rpc__waiting;

struct rpc_call {
    atomic_uint refs;
    bool server;
    bool overwrite;  /* limits->overwrite_messages of the connection, which may be gone before */
    rpc__lane *home; /* a reference */
    _Atomic(rpc__lane *) lane; /* where it is; only a task of that lane changes it */
    rpc__lane *move_to;        /* at the next settle */
    rpc__conn *conn;           /* NULL: client, on no stream */
    rpc_call *next, *prev;     /* conn->calls, the channel's line */
    rpc_call *pending_next;    /* lane->pending, lane->free_calls */
    bool pending, attached;
    bool waiting; /* in the channel's line (its lock) */
    int32_t stream_id;
    rpc_arena *arena;
    const char *path;
    const rpc__method *method;
    const char *listener;
    rpc_handler handler;
    void *user;
    int64_t started_us, ended_us, deadline_us, timeout_us;
    rpc_timer *deadline_timer;
    const char *deadline_setting; /* server: of the method, where it is not the client's */
    atomic_bool cancelled;
    atomic_uint_least64_t received_bytes, sent_bytes;
    void *context, *trace;
    void (*context_release)(void *);
    void (*trace_release)(void *);
    void (*on_cancel)(rpc_call *call, void *arg);
    void *on_cancel_arg;
    void *owner;                                               /* rpc_server or rpc_channel */
    void (*on_over)(rpc_call *call, const rpc_status *status); /* the owner's, after on_end */
    rpc__stats *stats;                                         /* the method's or channel's */
    const rpc__interceptors *interceptors;                     /* the owner's */
    size_t interceptors_run;
    struct rpc__sub *sub; /* client: chosen, not yet tried */
    bool wait_for_ready;
    bool lined;            /* client: it may stand in the channel's line */
    bool resting;          /* there, until its retry's time (the channel's lock) */
    atomic_bool committed; /* client: no other attempt will follow */
    rpc__retry retry;
    rpc_call *parent;                  /* a reference; family.c */
    rpc_call *sibling, **sibling_link; /* the parent's lock */
    rpc_call *children;                /* (lock) */
    bool has_children;                 /* (lock) to write */
    size_t stream_window, window_wanted;
    /* received (strand) */
    rpc__rules rules; /* server */
    rpc__headers headers, trailers;
    rpc_bytes authority;
    int http_status;
    bool content_type_seen, content_type_good, encoding_seen, te_seen, post;
    bool timeout_bad, timeout_seen, headers_done, status_seen, remote_closed, unary_taken;
    rpc_status remote;
    size_t header_bytes;
    unsigned header_count;
    rpc_limit_kind header_limit; /* the headers went over it */
    size_t receive_max;
    uint64_t messages_received, messages_sent;
    rpc_encoding encoding; /* grpc-encoding of the peer; DEFAULT: none, or not one we know */
    unsigned accept, peer_accept;
    bool last_compressed;
    uint8_t prefix[RPC__PREFIX_BYTES];
    size_t prefix_size;
    rpc_message *message;                 /* being assembled */
    size_t held_bytes;                    /* of messages given to the handler, not released */
    unsigned messages_in;                 /* whole ones so far */
    rpc__waiting wait_receive, wait_send; /* for its peer; progress.c */
    /* sending (strand) */
    rpc__out *queue, **queue_end;
    bool headers_sent, finish_ready, half_close_ready, trailers_sent, deferred;
    bool writable_due;
    bool over;
    rpc_status status;
    /* inbox (lock) */
    pthread_mutex_t lock;
    rpc__task poke;
    bool poke_queued;
    unsigned asked;
    rpc__out *inbox, **inbox_end;
    size_t send_bytes;
    unsigned send_count, send_bodies;
    bool want_writable, closed_for_send, inbox_over, headers_frozen, finish_asked;
    rpc_encoding send_encoding;
    bool send_plain;
    bool answer_owed; /* unary: the library's reference until closure or fail */
    rpc_status finish;
    rpc__out_header *out_headers, *out_trailers;
    size_t credit;
    size_t released; /* of held_bytes */
    rpc__after *afters;
    rpc__posted posts[RPC__POSTS_SPARE]; /* for when there is no memory */
};

/** refs 1; home holds lane. NULL: no memory. */
rpc_call *rpc__call_new(rpc__lane *lane, rpc__lane *home, bool server, size_t arena_budget);
/** Without references; lane: its own, on which nothing else of it is left. */
void rpc__call_destroy(rpc_call *call, rpc__lane *lane);
/** A call that is on no stream goes on with RPC__ASK_START on that lane. (strand) */
void rpc__call_move(rpc_call *call, rpc__lane *lane);
void rpc__call_attach(rpc_call *call, rpc__conn *conn, int32_t stream_id);
/** Asks (any thread); takes effect on the strand, at once when this is it. */
void rpc__call_ask(rpc_call *call, unsigned what);
/** Ends the call: detaches, frees what was queued, on_end at the next settle. reset: HTTP/2
 *  error for RST_STREAM, NGHTTP2_NO_ERROR for none. The first end counts. (strand) */
void rpc__call_end(rpc_call *call, rpc_code code, const char *message, uint32_t reset);
/** Server: sends what remains of the answer: an error as trailers when that is still possible,
 *  and ends the call. (strand) */
void rpc__call_refuse(rpc_call *call, rpc_code code, const char *message);
/** The same with RESOURCE_EXHAUSTED for the server's memory, and when to come again. */
void rpc__call_shed(rpc_call *call, const char *message);
/** The same for an attempt that the network or the server ended: another may follow. */
void rpc__call_lost(
    rpc_call *call, rpc_code code, const char *message, uint32_t reset, rpc__seen seen);
/** Off its stream, if it is on one. */
void rpc__call_leave_stream(rpc_call *call, uint32_t reset);

/* retry.c (strand) */
/** No other attempt: the caller is given something, or a body has been pulled. */
void rpc__retry_commit(rpc_call *call);
/** True: out, which was sent, is kept for another attempt. */
bool rpc__retry_keep(rpc_call *call, rpc__out *out);
void rpc__retry_succeeded(rpc_call *call);
void rpc__retry_stop(rpc_call *call);
void rpc__retry_done(rpc_call *call);

/* family.c */
/** Any thread. CANCELLED: the parent has ended. */
RPC_MUST_USE rpc_code rpc__family_join(rpc_call *call, rpc_call *parent, rpc_status *reterr);
/** Cancels the children, leaves the parent. (strand) */
void rpc__family_end(rpc_call *call);

void rpc__call_set_deadline(rpc_call *call, int64_t deadline_us);
void rpc__call_pend(rpc_call *call);
void rpc__call_deliver(rpc_call *call);
/** True: the call has moved to another lane, and the task goes after it. */
bool rpc__call_follow(rpc_call *call, rpc__task *task);
void rpc__call_afters_drop(rpc_call *call);
rpc_code rpc__call_trailers_submit(rpc_call *call);
/** Lets nghttp2 ask for data. (strand) */
void rpc__call_push(rpc_call *call);
/** Moves the inbox to the queue. (strand) */
void rpc__call_take_inbox(rpc_call *call);
/** The same under call->lock. */
void rpc__call_move_inbox(rpc_call *call);
void rpc__call_drop_queue(rpc_call *call);
/** A message with its prefix; free() it or enqueue it (under call->lock). NULL: no memory. */
rpc__out *rpc__call_pack(rpc_call *call, const ProtobufCMessage *message);
void rpc__call_enqueue(rpc_call *call, rpc__out *out);
void rpc__call_out_done(rpc_call *call);
/** Past the queue's bounds. True: taken. */
bool rpc__call_send_unbounded(rpc_call *call, const ProtobufCMessage *message);
void rpc__call_closure(const ProtobufCMessage *reply, void *call);
/** Request headers on a new stream of conn. (strand) False: out of memory. */
bool rpc__call_submit_request(rpc_call *call, rpc__conn *conn);
/** Received bytes of DATA. (strand) */
void rpc__call_data(rpc_call *call, const uint8_t *data, size_t size);
void rpc__call_remote_close(rpc_call *call);
void rpc__call_credit(rpc_call *call);
void rpc__call_drop_message(rpc_call *call);
/** Sends the call's request, now or once there is a connection; channel.c. (strand) */
void rpc__channel_begin(rpc_call *call);
void rpc__message_deliver_unary(rpc_call *call, rpc_message *message); /* server.c */

#endif
