/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_stream.h"

#include "stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct rpc__stream {
    rpc__strand *strand;
    const rpc__stream_handler *handler;
    void *user;
    rpc__task read, written, closed;
    uint8_t *buffer;
    size_t room;
    bool reading, writing, closing;
    uint64_t written_bytes;
};

struct rpc__stream_listener {
    rpc__url url;
    rpc__stream_accept_fn *on_accept;
    void *user;
};

static rpc__stream_listener the_listener;

/* The peer. Set before the connection is made, then used on its strand. */
static const rpc_bytes *peer_pieces;
static size_t peer_piece_count, peer_chunk_max;
static rpc_bytes peer_piece;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gone; /* under lock */

static void tell_gone(void)
{
    pthread_mutex_lock(&lock);
    gone = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static size_t take(uint8_t *buffer, size_t room)
{
    while (peer_piece.size == 0 && peer_piece_count > 0) {
        peer_piece = *peer_pieces++;
        peer_piece_count--;
    }
    size_t size = peer_chunk_max > 0 && peer_chunk_max < room ? peer_chunk_max : room;
    if (size > peer_piece.size)
        size = peer_piece.size;
    if (size > 0)
        memcpy(buffer, peer_piece.data, size);
    peer_piece.data += size;
    peer_piece.size -= size;
    return size;
}

static void read_task(void *arg)
{
    rpc__stream *stream = arg;
    rpc_status status = {RPC_OK, ""};
    stream->reading = false;
    if (stream->closing)
        return;
    size_t size = take(stream->buffer, stream->room);
    if (size == 0)
        (void)rpc_status_set(&status, RPC_OUT_OF_RANGE, "memory stream: the peer has closed");
    stream->handler->on_read(stream->user, size, &status);
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
    handler->on_closed(user);
    tell_gone();
}

void rpc__stream_read(rpc__stream *stream, void *buffer, size_t size)
{
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
    for (unsigned i = 0; i < count; i++) {
        /* Read all of it, so that a sanitizer sees what was never written or is gone. */
        volatile uint8_t sum = 0;
        for (size_t at = 0; at < pieces[i].size; at++)
            sum = (uint8_t)(sum ^ pieces[i].data[at]);
        stream->written_bytes += pieces[i].size;
    }
    stream->writing = true;
    rpc__strand_post(stream->strand, &stream->written);
    return false;
}

void rpc__stream_read_back(rpc__stream *stream)
{
    (void)stream; /* its reads are answered from memory, at once */
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
    tell_gone();
}

rpc_code rpc__stream_dial(rpc_runtime *runtime, const rpc__url *url, int64_t timeout_ms,
    rpc__strand *strand, const rpc__stream_handler *handler, void *user, rpc__stream **ret,
    rpc_status *reterr)
{
    (void)runtime, (void)url, (void)timeout_ms, (void)strand, (void)handler, (void)user, (void)ret;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "memory stream: accepts only");
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

void memory_stream_run(const rpc_bytes *pieces, size_t piece_count, size_t chunk_max)
{
    rpc__stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        abort();
    rpc__task_init(&stream->read, read_task, stream);
    rpc__task_init(&stream->written, written_task, stream);
    rpc__task_init(&stream->closed, closed_task, stream);
    peer_pieces = pieces;
    peer_piece_count = piece_count;
    peer_piece = rpc_bytes_of(NULL, 0);
    peer_chunk_max = chunk_max;
    gone = false;
    the_listener.on_accept(the_listener.user, stream);
    pthread_mutex_lock(&lock);
    while (!gone)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
