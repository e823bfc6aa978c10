/* SPDX-License-Identifier: Apache-2.0 */
/** Byte streams: tcp:// and ipc://, dialled or accepted. Nothing above this header knows nng.
 *  Private to rpc/.
 *
 *  Every callback of a stream comes on its strand, so none overlaps another; every function
 *  that takes a stream is for that strand, except where noted. One read and one write at a
 *  time. No callback is ever made inside the function that asked for it. After
 *  rpc__stream_close() exactly one callback is left, on_closed; buffers of a read or write in
 *  flight stay borrowed until then.
 *
 *  Codes given to on_open, on_read and on_written:
 *    OUT_OF_RANGE        (on_read) end of stream: the peer has closed in an orderly way
 *    UNAVAILABLE         refused, unreachable, reset by the peer, name not found
 *    DEADLINE_EXCEEDED   (on_open) no connection within the time-out
 *    RESOURCE_EXHAUSTED  no file descriptor or no memory
 *    PERMISSION_DENIED   (on_open) the socket's file may not be opened
 *  After any of them the stream is of no use: close it. */
#ifndef DACM_RPC_STREAM_H
#define DACM_RPC_STREAM_H

#include "strand.h"

#define RPC__STREAM_IOV_MAX     4
#define RPC__STREAM_ADDRESS_MAX 64 /* "[…]:65535" with the longest IPv6 address, and NUL */
#define RPC__URL_MAX            512

typedef enum rpc__scheme { RPC__SCHEME_TLS_TCP, RPC__SCHEME_TCP, RPC__SCHEME_IPC } rpc__scheme;

/** "tls+tcp://host:port", "tcp://host:port", "ipc:///path". */
typedef struct rpc__url {
    rpc__scheme scheme;
    char host[256]; /* without the brackets of IPv6; "" for ipc */
    uint16_t port;
    char path[108]; /* ipc: absolute, fits a socket address */
    bool loopback;  /* host is localhost, 127.0.0.0/8 or ::1; true for ipc */
} rpc__url;

/** INVALID_ARGUMENT names what is wrong and what was expected. */
RPC_MUST_USE rpc_code rpc__url_parse(const char *text, rpc__url *ret, rpc_status *reterr);
/** Writes it back; ret_text holds RPC__URL_MAX bytes. */
void rpc__url_format(const rpc__url *url, char *ret_text);

/** The host is an address, not a name. */
bool rpc__url_numeric(const rpc__url *url);

typedef struct rpc__stream rpc__stream;

typedef struct rpc__stream_handler {
    /** Dialled streams only: RPC_OK, or why there is no connection. */
    void (*on_open)(void *user, const rpc_status *status);
    /** size is 1..n with RPC_OK (0 after rpc__stream_read_back()) and 0 with any other code. */
    void (*on_read)(void *user, size_t size, const rpc_status *status);
    /** RPC_OK: all of it has been taken by the kernel. */
    void (*on_written)(void *user, const rpc_status *status);
    /** Once, and last; the stream is already gone. The strand may be done in here. */
    void (*on_closed)(void *user);
} rpc__stream_handler;

/** Starts to connect; on_open tells how it went. Any thread. url's TLS is not done here:
 *  tls+tcp and tcp are the same to a stream. handler and strand are borrowed until on_closed.
 *  timeout_ms 1..3,600,000. INVALID_ARGUMENT or RESOURCE_EXHAUSTED: no callback will come. */
RPC_MUST_USE rpc_code rpc__stream_dial(rpc_runtime *runtime, const rpc__url *url,
    int64_t timeout_ms, rpc__strand *strand, const rpc__stream_handler *handler, void *user,
    rpc__stream **ret, rpc_status *reterr);

/** Reads 1..size bytes into buffer, which is borrowed until on_read (or on_closed). */
void rpc__stream_read(rpc__stream *stream, void *buffer, size_t size);
/** The next read may find bytes waiting. */
void rpc__stream_expect(rpc__stream *stream);
/** Takes the read in flight back, where there is one: on_read comes with RPC_OK and what has been
 *  read, or with 0 bytes; the buffer is the caller's again. */
void rpc__stream_read_back(rpc__stream *stream);
/** Writes all of count (1..4) pieces; the array itself is copied. Not all empty. True: the kernel
 *  has taken all of it, and no on_written comes. False: the pieces are borrowed until on_written
 *  (or on_closed). */
bool rpc__stream_write(rpc__stream *stream, const rpc_bytes *pieces, unsigned count);
bool rpc__stream_reading(const rpc__stream *stream);
bool rpc__stream_writing(const rpc__stream *stream);
/** Bytes the kernel has taken so far: grows while one long write makes progress. Any thread. */
uint64_t rpc__stream_written_bytes(const rpc__stream *stream);
/** Idempotent until on_closed. What is in the kernel's send buffer is still delivered; a write
 *  in flight is cut short. */
void rpc__stream_close(rpc__stream *stream);

/** "127.0.0.1:40312", "[::1]:40312" or "ipc"; "" before on_open. As long as the stream. */
const char *rpc__stream_address(const rpc__stream *stream);
/** ipc only: who is at the other end, as the kernel says. */
bool rpc__stream_uid(const rpc__stream *stream, uid_t *ret_uid);

typedef struct rpc__stream_listener rpc__stream_listener;

/** A new stream without strand or handler. The callee owns it: rpc__stream_start() or
 *  rpc__stream_refuse(), at once or later. On threads of nng, several at once. Must not block. */
typedef void rpc__stream_accept_fn(void *user, rpc__stream *stream);

/** A connection could not be taken (RESOURCE_EXHAUSTED: no descriptor, no memory); it is tried
 *  again shortly, and told again when it fails again. Else as rpc__stream_accept_fn. */
typedef void rpc__stream_trouble_fn(void *user, const rpc_status *why);

/** Listens at once (port 0: any port), takes connections from rpc__stream_listener_start() on.
 *  The object lives until rpc_runtime_free(). A socket file that no process listens on is
 *  replaced; its mode is 0600. INVALID_ARGUMENT: cannot ever work (path is no socket, no such
 *  address); UNAVAILABLE: taken; PERMISSION_DENIED; RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code rpc__stream_listen(rpc_runtime *runtime, const rpc__url *url,
    rpc__stream_accept_fn *on_accept, rpc__stream_trouble_fn *on_trouble, void *user,
    rpc__stream_listener **ret, rpc_status *reterr);
void rpc__stream_listener_start(rpc__stream_listener *listener);
/** With the real port. */
const rpc__url *rpc__stream_listener_url(const rpc__stream_listener *listener);
/** Gives the address back. Waits for a running on_accept, none comes later. Idempotent. Not
 *  from a callback. */
void rpc__stream_listener_close(rpc__stream_listener *listener);

/** Gives an accepted stream its strand and handler. Any thread, once, before anything else. */
void rpc__stream_start(
    rpc__stream *stream, rpc__strand *strand, const rpc__stream_handler *handler, void *user);
/** Closes and frees an accepted stream that was not started. Any thread. */
void rpc__stream_refuse(rpc__stream *stream);

#endif
