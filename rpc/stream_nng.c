/* SPDX-License-Identifier: Apache-2.0 */
/* Byte streams on nng (the packaged 1.5): what nng's rules ask for, and nothing above knows.
 *
 * A stream's fields belong to its strand. nng's callbacks come on nng's threads and do nothing
 * but run a task of the stream on the strand. nng forbids to stop or free an aio inside its
 * callback, where a stream ends as a rule: when no aio is in flight, all of them and the nng stream
 * are given to nng's own reaper, which waits for callbacks that are still returning.
 *
 * The end of an aio with a callback costs a change of threads: nng queues it and wakes one of its
 * own. So what is likely to be done at once is tried with an aio without callback (quick_aio)
 * first: writes, and reads where bytes have been waiting of late. nng completes it on the spot, in
 * part perhaps, or keeps it waiting; then it is cancelled, having moved nothing, and the other aio
 * goes on with what is left.
 * A peer that takes everything at once would have its strand write on and on, and hear neither the
 * peer nor its timers: after QUICK_WRITES_MAX or QUICK_BYTES_MAX the strand has to come back from a
 * callback. */
#include "stream_internal.h"

#include "cleanup.h"

#include <string.h>

#define QUICK_WRITES_MAX 64         /* in a row … */
#define QUICK_BYTES_MAX  (4u << 20) /* … and so many bytes: some milliseconds of the thread */
#define QUICK_READ_EACH  8          /* reads, where none was waiting before */

struct rpc__stream {
    rpc_runtime *runtime;
    rpc__strand *strand;
    const rpc__stream_handler *handler;
    void *user;
    nng_stream *raw; /* NULL while dialling */
    nng_aio *dial_aio, *read_aio, *write_aio, *quick_aio;
    rpc__task open_task, read_task, write_task, closed_task;
    bool dialing, reading, writing, closing;
    bool ready;                          /* the last read was done at once, … */
    size_t read_size;                    /* … and gave this */
    unsigned quick_in;                   /* how many reads until the next is tried at once */
    nng_iov pieces[RPC__STREAM_IOV_MAX]; /* what is left of the write in flight */
    unsigned piece_count;
    unsigned quick_out;     /* writes tried at once since the last callback, … */
    size_t quick_out_bytes; /* … and what they were to send */
    _Atomic uint64_t written;
    char address[RPC__STREAM_ADDRESS_MAX];
};

rpc_code rpc__nng_status(int error, const char *what, rpc_status *reterr)
{
    switch (error) {
    case 0:
        return rpc_status_text(reterr, RPC_OK, "");
    case NNG_ECONNSHUT:
        return rpc_status_set(reterr, RPC_OUT_OF_RANGE, "rpc: %s: end of stream", what);
    case NNG_ETIMEDOUT:
        return rpc_status_set(reterr, RPC_DEADLINE_EXCEEDED, "rpc: %s: timed out", what);
    case NNG_ENOMEM:
    case NNG_ENOFILES:
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "rpc: %s: %s; raise the limit on open files (ulimit -n) or memory", what,
            nng_strerror(error));
    case NNG_EADDRINVAL:
        return rpc_status_set(
            reterr, RPC_UNAVAILABLE, "rpc: %s: the host's name is not known here", what);
    case NNG_EPERM:
        return rpc_status_set(reterr, RPC_PERMISSION_DENIED, "rpc: %s: permission denied", what);
    default:
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "rpc: %s: %s", what, nng_strerror(error));
    }
}

/* ---- closing ---------------------------------------------------------------------------- */

static void closed(void *arg)
{
    rpc__stream *stream = arg;
    const rpc__stream_handler *handler = stream->handler;
    void *user = stream->user;
    rpc_runtime *runtime = stream->runtime;
    free(stream);
    handler->on_closed(user);
    rpc__runtime_release(runtime);
}

static void free_nng_parts(rpc__stream *stream)
{
    nng_aio *aios[] = {stream->dial_aio, stream->read_aio, stream->write_aio, stream->quick_aio};
    for (size_t i = 0; i < sizeof aios / sizeof *aios; i++)
        if (aios[i])
            nng_aio_reap(aios[i]);
    if (stream->raw)
        nng_stream_free(stream->raw);
}

static void end_when_quiet(rpc__stream *stream)
{
    if (stream->dialing || stream->reading || stream->writing)
        return;
    free_nng_parts(stream);
    rpc__strand_post(stream->strand, &stream->closed_task);
}

void rpc__stream_close(rpc__stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    /* A dial under way is left to end, at the latest by its time-out: cancelling one just as it
     * connects makes nng 1.5.2 panic (aio.c: !nni_aio_list_active(aio)). */
    if (stream->raw)
        nng_stream_close(stream->raw);
    end_when_quiet(stream);
}

/* ---- completions ------------------------------------------------------------------------- */

/* nng has been seen to complete on the calling thread; then we are on the strand already. */
static void run(rpc__stream *stream, rpc__task *task)
{
    if (rpc__strand_current() == stream->strand)
        rpc__strand_post(stream->strand, task);
    else
        rpc__strand_run(stream->strand, task);
}

static void on_aio_open(void *arg)
{
    rpc__stream *stream = arg;
    run(stream, &stream->open_task);
}

static void on_aio_read(void *arg)
{
    rpc__stream *stream = arg;
    run(stream, &stream->read_task);
}

static void on_aio_written(void *arg)
{
    rpc__stream *stream = arg;
    run(stream, &stream->write_task);
}

static void write_address(rpc__stream *stream)
{
    nng_sockaddr address;
    if (nng_stream_get_addr(stream->raw, NNG_OPT_REMADDR, &address) != 0)
        return;
    char *text = stream->address;
    if (address.s_family == NNG_AF_IPC) {
        memcpy(text, "ipc", 4);
    } else if (address.s_family == NNG_AF_INET) {
        char host[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &address.s_in.sa_addr, host, sizeof host);
        snprintf(
            text, RPC__STREAM_ADDRESS_MAX, "%s:%u", host, (unsigned)ntohs(address.s_in.sa_port));
    } else if (address.s_family == NNG_AF_INET6) {
        char host[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, address.s_in6.sa_addr, host, sizeof host);
        snprintf(
            text, RPC__STREAM_ADDRESS_MAX, "[%s]:%u", host, (unsigned)ntohs(address.s_in6.sa_port));
    }
}

static void opened(void *arg)
{
    rpc__stream *stream = arg;
    stream->dialing = false;
    int error = nng_aio_result(stream->dial_aio);
    if (error == 0) {
        stream->raw = nng_aio_get_output(stream->dial_aio, 0);
        write_address(stream);
    }
    if (stream->closing) {
        if (stream->raw)
            nng_stream_close(stream->raw);
        end_when_quiet(stream);
        return;
    }
    rpc_status status;
    /* Nobody listens on a socket file that is not there: to a caller both are the same. */
    rpc__nng_status(error == NNG_ENOENT ? NNG_ECONNREFUSED : error, "cannot connect", &status);
    stream->handler->on_open(stream->user, &status);
}

static void came_back(rpc__stream *stream)
{
    stream->quick_out = 0;
    stream->quick_out_bytes = 0;
}

static void read_done(void *arg)
{
    rpc__stream *stream = arg;
    stream->reading = false;
    came_back(stream);
    if (stream->closing) {
        end_when_quiet(stream);
        return;
    }
    int error = stream->ready ? 0 : nng_aio_result(stream->read_aio);
    size_t size = stream->read_size;
    if (!stream->ready)
        size = error == 0 ? nng_aio_count(stream->read_aio) : 0;
    rpc_status status;
    if (error == NNG_ECANCELED) /* by rpc__stream_read_back() */
        error = 0;
    else if (error == 0 && size == 0) /* a read of nothing would be asked again for ever */
        error = NNG_ECONNSHUT;
    rpc__nng_status(error, "reading", &status);
    stream->handler->on_read(stream->user, size, &status);
}

static void send_by(rpc__stream *stream, nng_aio *aio)
{
    int error = nng_aio_set_iov(aio, stream->piece_count, stream->pieces);
    if (error != 0)
        abort(); /* only a count beyond nng's limit of 8 makes it fail */
    nng_stream_send(stream->raw, aio);
}

static void drop_sent(rpc__stream *stream, size_t sent)
{
    while (stream->piece_count > 0 && sent >= stream->pieces[0].iov_len) {
        sent -= stream->pieces[0].iov_len;
        stream->piece_count--;
        memmove(stream->pieces, stream->pieces + 1, stream->piece_count * sizeof stream->pieces[0]);
    }
    if (stream->piece_count > 0) {
        stream->pieces[0].iov_buf = (uint8_t *)stream->pieces[0].iov_buf + sent;
        stream->pieces[0].iov_len -= sent;
    }
}

/* nng's result; what was sent is no longer among the pieces. */
static int note_sent(rpc__stream *stream, nng_aio *aio)
{
    int error = nng_aio_result(aio);
    if (error == 0) {
        size_t sent = nng_aio_count(aio);
        atomic_fetch_add_explicit(&stream->written, sent, memory_order_relaxed);
        drop_sent(stream, sent);
    }
    return error;
}

/* True: all of it was sent. An error is left to the aio with a callback, which meets it again. */
static bool send_quickly(rpc__stream *stream)
{
    size_t size = 0;
    for (unsigned i = 0; i < stream->piece_count; i++)
        size += stream->pieces[i].iov_len;
    if (stream->quick_out >= QUICK_WRITES_MAX || stream->quick_out_bytes + size > QUICK_BYTES_MAX)
        return false;
    stream->quick_out++;
    stream->quick_out_bytes += size;
    send_by(stream, stream->quick_aio);
    nng_aio_cancel(stream->quick_aio); /* nothing, when it is complete */
    nng_aio_wait(stream->quick_aio);
    return note_sent(stream, stream->quick_aio) == 0 && stream->piece_count == 0;
}

static void write_done(void *arg)
{
    rpc__stream *stream = arg;
    int error = note_sent(stream, stream->write_aio);
    if (error == 0 && stream->piece_count > 0 && !stream->closing) {
        send_by(stream, stream->write_aio);
        return;
    }
    stream->writing = false;
    came_back(stream);
    if (stream->closing) {
        end_when_quiet(stream);
        return;
    }
    rpc_status status;
    rpc__nng_status(error == NNG_ECONNSHUT ? NNG_ECONNRESET : error, "writing", &status);
    stream->handler->on_written(stream->user, &status);
}

/* ---- making ------------------------------------------------------------------------------ */

static bool init_aios(rpc__stream *stream, bool dialled)
{
    return (!dialled || nng_aio_alloc(&stream->dial_aio, on_aio_open, stream) == 0) &&
           nng_aio_alloc(&stream->read_aio, on_aio_read, stream) == 0 &&
           nng_aio_alloc(&stream->write_aio, on_aio_written, stream) == 0 &&
           nng_aio_alloc(&stream->quick_aio, NULL, NULL) == 0;
}

static rpc__stream *new_stream(rpc_runtime *runtime, bool dialled)
{
    rpc__stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->runtime = runtime;
    rpc__task_init(&stream->open_task, opened, stream);
    rpc__task_init(&stream->read_task, read_done, stream);
    rpc__task_init(&stream->write_task, write_done, stream);
    rpc__task_init(&stream->closed_task, closed, stream);
    if (!init_aios(stream, dialled)) {
        free_nng_parts(stream);
        free(stream);
        return NULL;
    }
    /* Idle connections and slow peers are judged by the connection's own timers. */
    nng_aio_set_timeout(stream->read_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(stream->write_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(stream->quick_aio, NNG_DURATION_INFINITE);
    rpc__runtime_hold(runtime);
    return stream;
}

rpc_code rpc__stream_dial(rpc_runtime *runtime, const rpc__url *url, int64_t timeout_ms,
    rpc__strand *strand, const rpc__stream_handler *handler, void *user, rpc__stream **ret,
    rpc_status *reterr)
{
    nng_stream_dialer *dialer = NULL;
    rpc_code code = rpc__dialer_get(runtime, url, &dialer, reterr);
    if (code != RPC_OK)
        return code;
    rpc__stream *stream = new_stream(runtime, true);
    if (!stream)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for a connection");
    stream->strand = strand;
    stream->handler = handler;
    stream->user = user;
    stream->dialing = true;
    *ret = stream;
    nng_aio_set_timeout(stream->dial_aio, (nng_duration)timeout_ms);
    nng_stream_dialer_dial(dialer, stream->dial_aio);
    return RPC_OK;
}

rpc__stream *rpc__stream_accepted(rpc_runtime *runtime, nng_stream *raw)
{
    rpc__stream *stream = new_stream(runtime, false);
    if (!stream) {
        /* No aio was ever started on it, so it may be freed in the callback of another. */
        nng_stream_close(raw);
        nng_stream_free(raw);
        return NULL;
    }
    stream->raw = raw;
    write_address(stream);
    return stream;
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
    rpc_runtime *runtime = stream->runtime;
    nng_stream_close(stream->raw);
    free_nng_parts(stream);
    free(stream);
    rpc__runtime_release(runtime);
}

/* ---- using ------------------------------------------------------------------------------- */

static void read_by(rpc__stream *stream, nng_aio *aio, void *buffer, size_t size)
{
    nng_iov piece = {.iov_buf = buffer, .iov_len = size};
    if (nng_aio_set_iov(aio, 1, &piece) != 0)
        abort(); /* one piece is always taken */
    nng_stream_recv(stream->raw, aio);
}

/* An error is left to the aio with a callback, which meets it again. */
static bool read_quickly(rpc__stream *stream, void *buffer, size_t size)
{
    if (!stream->ready && stream->quick_in > 0) {
        stream->quick_in--;
        return false;
    }
    read_by(stream, stream->quick_aio, buffer, size);
    nng_aio_cancel(stream->quick_aio); /* nothing, when it is complete */
    nng_aio_wait(stream->quick_aio);
    stream->ready = nng_aio_result(stream->quick_aio) == 0;
    stream->read_size = stream->ready ? nng_aio_count(stream->quick_aio) : 0;
    stream->quick_in = QUICK_READ_EACH;
    return stream->ready;
}

void rpc__stream_read(rpc__stream *stream, void *buffer, size_t size)
{
    if (stream->closing)
        return;
    stream->reading = true;
    if (read_quickly(stream, buffer, size))
        rpc__strand_post(stream->strand, &stream->read_task);
    else
        read_by(stream, stream->read_aio, buffer, size);
}

void rpc__stream_expect(rpc__stream *stream)
{
    stream->quick_in = 0;
}

void rpc__stream_read_back(rpc__stream *stream)
{
    if (stream->reading && !stream->ready && !stream->closing)
        nng_aio_cancel(stream->read_aio);
}

bool rpc__stream_write(rpc__stream *stream, const rpc_bytes *pieces, unsigned count)
{
    if (stream->closing)
        return false;
    stream->piece_count = 0;
    for (unsigned i = 0; i < count; i++)
        if (pieces[i].size > 0)
            stream->pieces[stream->piece_count++] = (nng_iov){
                .iov_buf = (void *)(uintptr_t)pieces[i].data, .iov_len = pieces[i].size};
    if (send_quickly(stream))
        return true;
    stream->writing = true;
    send_by(stream, stream->write_aio);
    return false;
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
    return atomic_load_explicit(&stream->written, memory_order_relaxed);
}

const char *rpc__stream_address(const rpc__stream *stream)
{
    return stream->address;
}

bool rpc__stream_uid(const rpc__stream *stream, uid_t *ret_uid)
{
    uint64_t uid;
    if (!stream->raw || nng_stream_get_uint64(stream->raw, NNG_OPT_IPC_PEER_UID, &uid) != 0)
        return false;
    *ret_uid = (uid_t)uid;
    return true;
}
