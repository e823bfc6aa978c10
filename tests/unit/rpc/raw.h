/* SPDX-License-Identifier: Apache-2.0 */
/** HTTP/2 written by hand over plain TCP: bytes that no client or server of ours would send. */
#ifndef DACM_RPC_RAW_H
#define DACM_RPC_RAW_H

#include "fixture.h"

typedef struct raw_bytes {
    uint8_t data[400000];
    size_t size;
} raw_bytes;

/** A fixture without TLS, not yet started: limits may be changed. */
void raw_init(fixture *f);
/** The same, started. */
void raw_fixture(fixture *f);
/** A connection to the fixture's listener, whatever its scheme. */
int raw_dial(fixture *f);
void raw_put(raw_bytes *w, const void *data, size_t size);
void raw_frame(
    raw_bytes *w, size_t size, uint8_t type, uint8_t flags, uint32_t stream, const void *data);
/** Preface and empty SETTINGS. */
void raw_preface(raw_bytes *w);
/** HEADERS of a call; flags beside END_HEADERS. headers: names and values one after another,
 *  ending with NULL; may be NULL. */
void raw_request_with(raw_bytes *w, uint32_t stream, const char *path, const char *type,
    uint8_t flags, const char *const *headers);
void raw_request(raw_bytes *w, uint32_t stream, const char *path, const char *type, uint8_t flags);
/** HEADERS of an answer: `:status 200`, application/grpc and headers. */
void raw_answer(raw_bytes *w, uint32_t stream, uint8_t flags, const char *const *headers);
/** The HEADERS that end it: status, and headers as above. */
void raw_trailers(raw_bytes *w, uint32_t stream, const char *status, const char *const *headers);
/** One gRPC message in DATA frames that need no SETTINGS. */
void raw_message(raw_bytes *w, uint32_t stream, uint8_t flags, uint8_t compressed,
    const void *message, size_t size);
/** All of it. */
void raw_send(int fd, const raw_bytes *w);
/** Reads until the server has ended the connection, and closes fd. */
void raw_await_end(int fd);
/** Sends, tells that no more comes, and reads what is answered until the end. */
size_t raw_converse(fixture *f, const raw_bytes *w, uint8_t *answer, size_t room);
/** Sends, and reads until an answer has ended (HEADERS with END_STREAM) or the connection has. */
size_t raw_exchange(int fd, const raw_bytes *w, uint8_t *answer, size_t room);
/** The same on a connection of its own. */
size_t raw_call(fixture *f, const raw_bytes *w, uint8_t *answer, size_t room);
/** error < 0: any. */
bool raw_has_frame(const uint8_t *answer, size_t size, uint8_t type, int error);
/** The value of the last header of that name in answer, on any stream; false: none. */
bool raw_header(const uint8_t *answer, size_t size, const char *name, char *ret_value, size_t room);
void raw_still_serves(fixture *f);

/** Listens on a port of loopback, and gives what it says to one client: after the client's first
 *  call has arrived (its HEADERS and what follows them at once). */
typedef struct raw_server {
    int fd;
    char target[64]; /* for a channel */
    raw_bytes *bytes;
    pthread_t thread;
} raw_server;
void raw_server_start(raw_server *s, raw_bytes *bytes);
/** After the client has gone. */
void raw_server_stop(raw_server *s);

#endif
