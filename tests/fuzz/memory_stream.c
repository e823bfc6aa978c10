/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_stream.h"

#include "fuzz.h"
#include "inline_runtime.h"
#include "stream.h"

/* For the limits of a connection, one after the other, with a tick a second: more would be a timer
 * that comes again and again for nothing. */
#define STEPS_MAX   100
#define AT_ONCE_MAX 256 /* shorter writes are taken at once */

struct rpc__stream {
    const memory_peer *peer;
    rpc_bytes piece; /* being sent by the peer */
    size_t next_piece;
    rpc__strand *strand;
    const rpc__stream_handler *handler;
    void *user;
    rpc__task opened, read, written, closed;
    uint8_t *buffer;
    size_t room;
    bool reading, waits, taken_back, writing, closing;
    uint64_t written_bytes;
};

struct rpc__stream_listener {
    rpc__url url;
    rpc__stream_accept_fn *on_accept;
    void *user;
};

static rpc__stream_listener the_listener;
static const memory_peer *peers;
static size_t peers_left;
static size_t streams;

static size_t take(rpc__stream *stream)
{
    const memory_peer *peer = stream->peer;
    while (stream->piece.size == 0 && stream->next_piece < peer->piece_count)
        stream->piece = peer->pieces[stream->next_piece++];
    size_t size = peer->chunk_max > 0 && peer->chunk_max < stream->room ? peer->chunk_max
                                                                        : stream->room;
    if (size > stream->piece.size)
        size = stream->piece.size;
    if (size > 0)
        memcpy(stream->buffer, stream->piece.data, size);
    stream->piece.data += size;
    stream->piece.size -= size;
    return size;
}

static void opened_task(void *arg)
{
    rpc__stream *stream = arg;
    rpc_status status = {RPC_OK, ""};
    if (stream->closing)
        return;
    if (!stream->peer)
        (void)rpc_status_set(&status, RPC_UNAVAILABLE, "memory stream: nobody is there");
    stream->handler->on_open(stream->user, &status);
}

static void read_done(rpc__stream *stream, size_t size, const rpc_status *status)
{
    stream->reading = stream->waits = stream->taken_back = false;
    stream->handler->on_read(stream->user, size, status);
}

static void read_task(void *arg)
{
    rpc__stream *stream = arg;
    rpc_status status = {RPC_OK, ""};
    if (stream->closing)
        return;
    size_t size = stream->waits ? 0 : take(stream);
    if (size > 0 || stream->waits) {
        read_done(stream, size, &status);
    } else if (stream->peer->stays) {
        stream->waits = true;
    } else {
        (void)rpc_status_set(&status, RPC_OUT_OF_RANGE, "memory stream: the peer has closed");
        read_done(stream, 0, &status);
    }
}

static void written_task(void *arg)
{
    rpc__stream *stream = arg;
    const rpc_status status = {RPC_OK, ""};
    stream->writing = false;
    if (!stream->closing)
        stream->handler->on_written(stream->user, &status);
}

static void closed_task(void *arg)
{
    rpc__stream *stream = arg;
    const rpc__stream_handler *handler = stream->handler;
    void *user = stream->user;
    free(stream);
    streams--;
    handler->on_closed(user);
}

void rpc__stream_read(rpc__stream *stream, void *buffer, size_t size)
{
    MUST(!stream->reading && size > 0);
    if (stream->closing)
        return;
    stream->buffer = buffer;
    stream->room = size;
    stream->reading = true;
    rpc__strand_post(stream->strand, &stream->read);
}

void rpc__stream_expect(rpc__stream *stream)
{
    (void)stream;
}

bool rpc__stream_write(rpc__stream *stream, const rpc_bytes *pieces, unsigned count)
{
    static uint8_t taken[1 << 20];
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        /* All of it, so that a sanitizer sees what was never written or is gone. */
        MUST(pieces[i].size <= sizeof taken);
        if (pieces[i].size > 0)
            memcpy(taken, pieces[i].data, pieces[i].size);
        bytes += pieces[i].size;
    }
    MUST(!stream->writing && count >= 1 && count <= RPC__STREAM_IOV_MAX);
    if (stream->closing)
        return false;
    stream->writing = true;
    if (stream->peer->reads_little && stream->written_bytes > 0)
        return false;
    stream->written_bytes += bytes;
    stream->writing = bytes > AT_ONCE_MAX;
    if (stream->writing)
        rpc__strand_post(stream->strand, &stream->written);
    return !stream->writing;
}

void rpc__stream_read_back(rpc__stream *stream)
{
    if (!stream->waits || stream->taken_back || stream->closing)
        return;
    stream->taken_back = true;
    rpc__strand_post(stream->strand, &stream->read);
}

bool rpc__stream_reading(const rpc__stream *stream)
{
    return stream->reading;
}

bool rpc__stream_writing(const rpc__stream *stream)
{
    return stream->writing;
}

uint64_t rpc__stream_written_bytes(const rpc__stream *stream)
{
    return stream->written_bytes;
}

void rpc__stream_close(rpc__stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    rpc__strand_post(stream->strand, &stream->closed);
}

const char *rpc__stream_address(const rpc__stream *stream)
{
    (void)stream;
    return "127.0.0.1:1";
}

bool rpc__stream_uid(const rpc__stream *stream, uid_t *ret_uid)
{
    (void)stream;
    (void)ret_uid;
    return false;
}

void rpc__stream_start(
    rpc__stream *stream, rpc__strand *strand, const rpc__stream_handler *handler, void *user)
{
    stream->strand = strand;
    stream->handler = handler;
    stream->user = user;
}

void rpc__stream_refuse(rpc__stream *stream)
{
    free(stream);
    streams--;
}

static rpc__stream *new_stream(const memory_peer *peer)
{
    rpc__stream *stream = calloc(1, sizeof *stream);
    MUST(stream);
    stream->peer = peer;
    rpc__task_init(&stream->opened, opened_task, stream);
    rpc__task_init(&stream->read, read_task, stream);
    rpc__task_init(&stream->written, written_task, stream);
    rpc__task_init(&stream->closed, closed_task, stream);
    streams++;
    return stream;
}

rpc_code rpc__stream_dial(rpc_runtime *runtime, const rpc__url *url, int64_t timeout_ms,
    rpc__strand *strand, const rpc__stream_handler *handler, void *user, rpc__stream **ret,
    rpc_status *reterr)
{
    (void)runtime, (void)url, (void)timeout_ms, (void)reterr;
    rpc__stream *stream = new_stream(peers_left > 0 ? peers : NULL);
    if (peers_left > 0) {
        peers++;
        peers_left--;
    }
    rpc__stream_start(stream, strand, handler, user);
    *ret = stream;
    rpc__strand_post(strand, &stream->opened);
    return RPC_OK;
}

rpc_code rpc__stream_listen(rpc_runtime *runtime, const rpc__url *url,
    rpc__stream_accept_fn *on_accept, rpc__stream_trouble_fn *on_trouble, void *user,
    rpc__stream_listener **ret, rpc_status *reterr)
{
    (void)runtime, (void)on_trouble, (void)reterr;
    the_listener = (rpc__stream_listener){*url, on_accept, user};
    *ret = &the_listener;
    return RPC_OK;
}

void rpc__stream_listener_start(rpc__stream_listener *listener)
{
    (void)listener;
}

const rpc__url *rpc__stream_listener_url(const rpc__stream_listener *listener)
{
    return &listener->url;
}

void rpc__stream_listener_close(rpc__stream_listener *listener)
{
    (void)listener;
}

void memory_stream_accept(const memory_peer *peer)
{
    the_listener.on_accept(the_listener.user, new_stream(peer));
    (void)inline_runtime_run();
    for (unsigned steps = 0; streams > 0; steps++) {
        MUST(inline_runtime_skip()); /* or it would be there for ever */
        MUST(steps < STEPS_MAX);
    }
}

void memory_stream_set_peers(const memory_peer *those, size_t count)
{
    peers = those;
    peers_left = count;
}
