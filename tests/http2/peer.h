/* SPDX-License-Identifier: Apache-2.0 */
/** A peer that speaks HTTP/2 frame by frame, right or wrong: what it sends is made by hand and
 *  judged by nobody but the other side. Everything it receives is noted. */
#ifndef DACM_TEST_H2_PEER_H
#define DACM_TEST_H2_PEER_H

#include "fixture.h"

#include <nghttp2/nghttp2.h>

/* Frame types and flags (RFC 9113, 6), by names that read well in a table. */
enum {
    T_DATA,
    T_HEADERS,
    T_PRIORITY,
    T_RST,
    T_SETTINGS,
    T_PUSH,
    T_PING,
    T_GOAWAY,
    T_WINDOW,
    T_CONTINUATION,
    T_UNKNOWN = 0xbb
};
enum { END = 1, ACK = 1, WHOLE = 4, PADDED = 8, WEIGHTED = 32 }; /* WHOLE: END_HEADERS */

typedef enum h2_kind {
    H2_FRAME,
    H2_RAW,    /* bytes as they are, without a frame's head */
    H2_AWAIT,  /* until the other side has ended or reset the stream; forget what was reset */
    H2_SYNC,   /* a PING has come back: all before it is dealt with; forget what was reset */
    H2_ANSWER, /* until headers have come on the stream */
    H2_ACKED,  /* until the other side has acknowledged our SETTINGS */
} h2_kind;

typedef struct h2_step {
    h2_kind kind;
    uint8_t type, flags;
    uint32_t stream;
    const char *bytes; /* payload */
    size_t size;
    const char *fields; /* or a header block: "name: value\n" …, literals without indexing */
    unsigned times;     /* 0: once */
    long length;        /* told in the frame's head instead of the real one; -1: the real one */
} h2_step;

#define FRAME(t, f, id, s)                                                                         \
    {                                                                                              \
        .type = (t), .flags = (f), .stream = (id), .bytes = (s), .size = sizeof(s) - 1,            \
        .length = -1                                                                               \
    }
#define LONGER_THAN_ALLOWED (256 * 1024 + 1) /* than rpc_limits.frame_bytes_max */
/** A frame whose head tells another length than its payload has. */
#define LYING(t, f, id, told, s)                                                                   \
    {                                                                                              \
        .type = (t), .flags = (f), .stream = (id), .bytes = (s), .size = sizeof(s) - 1,            \
        .length = (told)                                                                           \
    }
#define FRAMES(n, t, f, id, s)                                                                     \
    {                                                                                              \
        .type = (t), .flags = (f), .stream = (id), .bytes = (s), .size = sizeof(s) - 1,            \
        .length = -1, .times = (n)                                                                 \
    }
#define DATA(id, f, s)         FRAME(T_DATA, f, id, s)
#define PRIORITY(id, s)        FRAME(T_PRIORITY, 0, id, s)
#define RST(id, s)             FRAME(T_RST, 0, id, s)
#define SETTINGS(f, id, s)     FRAME(T_SETTINGS, f, id, s)
#define PING(f, id, s)         FRAME(T_PING, f, id, s)
#define GONE(id, s)            FRAME(T_GOAWAY, 0, id, s)
#define WINDOW(id, s)          FRAME(T_WINDOW, 0, id, s)
#define CONTINUATION(id, f, s) FRAME(T_CONTINUATION, f, id, s)
#define FIELDS(t, f, id, text)                                                                     \
    {                                                                                              \
        .type = (t), .flags = (f), .stream = (id), .fields = (text), .length = -1                  \
    }
#define HEADERS(id, f, text) FIELDS(T_HEADERS, (f) | WHOLE, id, text)
#define RAW(s)                                                                                     \
    {                                                                                              \
        .kind = H2_RAW, .bytes = (s), .size = sizeof(s) - 1                                        \
    }
#define AWAIT(id)                                                                                  \
    {                                                                                              \
        .kind = H2_AWAIT, .stream = (id)                                                           \
    }
#define SYNC                                                                                       \
    {                                                                                              \
        .kind = H2_SYNC                                                                            \
    }
#define ANSWER(id)                                                                                 \
    {                                                                                              \
        .kind = H2_ANSWER, .stream = (id)                                                          \
    }
#define ACKED                                                                                      \
    {                                                                                              \
        .kind = H2_ACKED                                                                           \
    }

/* Payloads */
#define CODE_CANCEL "\0\0\0\x08"
#define NO_MESSAGE  ""
#define MESSAGE     "\0\0\0\0\0"                /* an empty message of gRPC */
#define NEVER       "\0\0\0\0\x07\x0a\x05never" /* the fixture's handler holds the call */
#define FAIL                                                                                       \
    "\0\0\0\0\x06\x0a\x04"                                                                         \
    "fail" /* it answers NOT_FOUND */
#define ROOT_WEIGHT "\0\0\0\0\x0f"
#define OCTETS      "12345678"
#define PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define NO_SETTINGS "\0\0\0\x04\0\0\0\0\0"

/* Header blocks of requests and answers */
#define PSEUDO(path)  ":method: POST\n:scheme: http\n:path: " path "\n:authority: x\n"
#define TYPE          "content-type: application/grpc\nte: trailers\n"
#define REQUEST(name) PSEUDO("/rpctest.Echo/" name) TYPE
#define CHAT          REQUEST("Chat")
#define UNARY         REQUEST("Unary")
#define OK_HEADERS    ":status: 200\ncontent-type: application/grpc\n"
#define OK_TRAILERS   "grpc-status: 0\n"

typedef struct h2_stream {
    uint32_t id;
    bool answered, ended, reset;
    uint32_t reset_code;
    int http_status, grpc_status; /* -1: not told */
    size_t data_bytes;
} h2_stream;

typedef struct h2_peer {
    int fd;
    uint8_t *out;
    size_t out_size, out_room, out_sent;
    uint8_t in[256 * 1024];
    size_t in_size;
    nghttp2_hd_inflater *inflater;
    bool goaway, eof, hold; /* hold: read nothing */
    uint32_t goaway_code;
    unsigned pongs, acks, requests;
    h2_stream streams[64];
    unsigned stream_count;
} h2_peer;

/** TCP to the fixture's plain listener, non-blocking. */
int h2_dial(fixture *f);
/** Open descriptors of this process. */
unsigned h2_descriptors(void);
/** nng closes a socket on a thread of its own that tells nobody: waits, at most for seconds. */
void h2_wait_descriptors(unsigned count);
/** fd: connected; owned. */
h2_peer *h2_peer_new(int fd);
/** Closes. */
void h2_peer_free(h2_peer *peer);
/** Adds to what h2_peer_run() sends. */
void h2_peer_put(h2_peer *peer, const h2_step *step);
void h2_peer_put_bytes(h2_peer *peer, const void *bytes, size_t size);
/** Our preface and SETTINGS, as a client or as a server. */
void h2_peer_put_preface(h2_peer *peer, bool client);
/** Sends what is there and reads until done() or the end of the connection. False: it ended. */
bool h2_peer_run(h2_peer *peer, bool (*done)(const h2_peer *peer, uint32_t arg), uint32_t arg);
bool h2_peer_sent(const h2_peer *peer, uint32_t arg);
bool h2_peer_ponged(const h2_peer *peer, uint32_t count);
bool h2_peer_over(const h2_peer *peer, uint32_t stream);
bool h2_peer_reset(const h2_peer *peer, uint32_t stream);
bool h2_peer_answered(const h2_peer *peer, uint32_t stream);
bool h2_peer_asked(const h2_peer *peer, uint32_t count);
bool h2_peer_gone(const h2_peer *peer, uint32_t arg);
bool h2_peer_never(const h2_peer *peer, uint32_t arg);
/** Puts and runs each step. False: the connection has ended. */
bool h2_peer_play(h2_peer *peer, const h2_step *steps, size_t count);
/** A PING and its answer: what was sent before has been dealt with. */
bool h2_peer_sync(h2_peer *peer);
h2_stream *h2_peer_stream(h2_peer *peer, uint32_t id);
/** A literal without indexing, appended to block; returns its size. */
size_t h2_literal(
    uint8_t *block, const char *name, size_t name_size, const char *value, size_t value_size);

#endif
