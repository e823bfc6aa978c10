/* SPDX-License-Identifier: Apache-2.0 */
/* The strand's callbacks leave messages and the end under the lock and wake the thread by an
 * eventfd, so that it can wait for the call and for its input at once. A message keeps its bytes of
 * the receive window until it is taken. After on_end the strand never touches the stream again. */
#include "call.h"
#include "cleanup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#define QUEUE_MAX 65536u /* empty messages cost no window */

typedef struct queued {
    struct queued *next;
    rpc_message *message;
} queued;

struct call_stream {
    rpc_call *call;
    int wake;
    pthread_mutex_t lock; /* guards what follows */
    queued *first, **last;
    unsigned count;
    bool writable, overrun, ended;
    dacm_error end;
};

/** (lock) */
static void wake(call_stream *stream)
{
    const uint64_t one = 1;
    if (write(stream->wake, &one, sizeof one) < 0)
        return; /* full: it is awake */
}

/** (lock) */
static bool enqueue(call_stream *stream, rpc_message *message)
{
    queued *item = stream->count < QUEUE_MAX ? malloc(sizeof *item) : NULL;
    if (!item)
        return false;
    *item = (queued){.message = message};
    *stream->last = item;
    stream->last = &item->next;
    stream->count++;
    return true;
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    call_stream *stream = user;
    pthread_mutex_lock(&stream->lock);
    const bool taken = enqueue(stream, message);
    stream->overrun |= !taken;
    wake(stream);
    pthread_mutex_unlock(&stream->lock);
    if (!taken) {
        rpc_message_release(message);
        rpc_call_cancel(call);
    }
}

static void on_writable(rpc_call *call, void *user)
{
    (void)call;
    call_stream *stream = user;
    pthread_mutex_lock(&stream->lock);
    stream->writable = true;
    wake(stream);
    pthread_mutex_unlock(&stream->lock);
}

/** For `dacm explain`, where the server is a DACM. Printable ASCII or nothing. */
static void copy_request_id(rpc_call *call, char ret[64])
{
    rpc_bytes value;
    ret[0] = 0;
    if (!rpc_call_trailer(call, "dacm-request-id", &value) || value.size >= 64)
        return;
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] <= ' ' || value.data[i] > '~')
            return;
    if (value.size > 0)
        memcpy(ret, value.data, value.size);
    ret[value.size] = 0;
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    call_stream *stream = user;
    dacm_error end = {.code = DACM_OK};
    if (status->code != RPC_OK)
        cli_fail_status(&end, status);
    copy_request_id(call, end.request_id);
    pthread_mutex_lock(&stream->lock);
    if (stream->overrun) {
        end.code = DACM_RESOURCE_EXHAUSTED;
        snprintf(end.message, sizeof end.message,
            "the server sent more than %u messages ahead, or memory is short", QUEUE_MAX);
    }
    stream->end = end;
    stream->ended = true;
    wake(stream);
    pthread_mutex_unlock(&stream->lock);
}

static void free_stream(call_stream *stream)
{
    pthread_mutex_destroy(&stream->lock);
    if (stream->wake >= 0)
        close(stream->wake);
    free(stream);
}

dacm_code call_stream_open(rpc_channel *channel, const char *path, const rpc_call_options *options,
    call_stream **ret, dacm_error *reterr)
{
    static const rpc_handler handler = {
        .on_message = on_message, .on_writable = on_writable, .on_end = on_end};
    rpc_status status = {.code = RPC_RESOURCE_EXHAUSTED, .message = "no memory for a call"};
    call_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return cli_fail_status(reterr, &status);
    pthread_mutex_init(&stream->lock, NULL);
    stream->last = &stream->first;
    stream->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stream->wake < 0 || rpc_channel_start(channel, path, options, &handler, stream,
                                &stream->call, &status) != RPC_OK) {
        free_stream(stream);
        return cli_fail_status(reterr, &status);
    }
    *ret = stream;
    return DACM_OK;
}

rpc_call *call_stream_call(call_stream *stream)
{
    return stream->call;
}

int call_stream_fd(const call_stream *stream)
{
    return stream->wake;
}

/** (lock) */
static rpc_message *dequeue(call_stream *stream)
{
    queued *item = stream->first;
    if (!item)
        return NULL;
    rpc_message *message = item->message;
    stream->first = item->next;
    if (!stream->first)
        stream->last = &stream->first;
    stream->count--;
    free(item);
    return message;
}

call_event call_stream_next(call_stream *stream, rpc_message **ret_message, dacm_error *ret_end)
{
    call_event event = CALL_EVENT_NONE;
    uint64_t ignored;
    pthread_mutex_lock(&stream->lock);
    rpc_message *message = dequeue(stream);
    if (message) {
        *ret_message = message;
        event = CALL_EVENT_MESSAGE;
    } else if (stream->ended) {
        *ret_end = stream->end;
        event = CALL_EVENT_END;
    } else if (stream->writable) {
        stream->writable = false;
        event = CALL_EVENT_WRITABLE;
    } else if (read(stream->wake, &ignored, sizeof ignored) < 0) {
        event = CALL_EVENT_NONE; /* it was not awake */
    }
    pthread_mutex_unlock(&stream->lock);
    return event;
}

call_event call_stream_wait(call_stream *stream, rpc_message **ret_message, dacm_error *ret_end)
{
    for (;;) {
        const call_event event = call_stream_next(stream, ret_message, ret_end);
        if (event != CALL_EVENT_NONE)
            return event;
        struct pollfd fd = {.fd = stream->wake, .events = POLLIN};
        if (poll(&fd, 1, -1) < 0 && errno != EINTR)
            return CALL_EVENT_NONE;
    }
}

void call_stream_close(call_stream *stream)
{
    if (!stream)
        return;
    rpc_call_cancel(stream->call); /* nothing happens when it is over */
    for (call_event event = CALL_EVENT_NONE; event != CALL_EVENT_END;) {
        rpc_message *message = NULL;
        dacm_error ignored;
        event = call_stream_wait(stream, &message, &ignored);
        rpc_message_release(message);
    }
    rpc_call_unref(stream->call);
    free_stream(stream);
}
