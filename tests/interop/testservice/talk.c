/* SPDX-License-Identifier: Apache-2.0 */
#include "talk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "interop-client: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void on_headers(rpc_call *call, void *user)
{
    talk *t = user;
    rpc_bytes value;
    if (!rpc_call_metadata(call, "x-grpc-test-echo-initial", &value))
        return;
    must(
        value.size < sizeof t->initial, "x-grpc-test-echo-initial came with %zu bytes", value.size);
    memcpy(t->initial, value.data, value.size); /* read after the end only */
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    talk *t = user;
    pthread_mutex_lock(&t->lock);
    must(t->count - t->first < TALK_MESSAGES_MAX, "more than %d messages came at once",
        TALK_MESSAGES_MAX);
    t->messages[t->count % TALK_MESSAGES_MAX] = message;
    t->compressed[t->count % TALK_MESSAGES_MAX] = rpc_call_message_compressed(call);
    t->count++;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void on_writable(rpc_call *call, void *user)
{
    (void)call;
    talk *t = user;
    pthread_mutex_lock(&t->lock);
    t->writable = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    talk *t = user;
    rpc_bytes value;
    pthread_mutex_lock(&t->lock);
    if (rpc_call_trailer(call, "x-grpc-test-echo-trailing-bin", &value)) {
        must(value.size <= sizeof t->trailing, "x-grpc-test-echo-trailing-bin came with %zu bytes",
            value.size);
        memcpy(t->trailing, value.data, value.size);
        t->trailing_size = value.size;
    }
    t->status = *status;
    t->ended = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void talk_start(talk *t, rpc_channel *channel, const char *path, const rpc_call_options *options)
{
    static const rpc_handler handler = {.on_headers = on_headers,
        .on_message = on_message,
        .on_writable = on_writable,
        .on_end = on_end};
    rpc_status status;
    rpc_call_options chosen = {.timeout_ms = TALK_TIMEOUT_MS};
    if (options)
        chosen = *options;
    if (chosen.timeout_ms == 0)
        chosen.timeout_ms = TALK_TIMEOUT_MS;
    *t = (talk){0};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    must(rpc_channel_start(channel, path, &chosen, &handler, t, &t->call, &status) == RPC_OK,
        "%s does not start: %s", path, status.message);
}

static void wait_writable(talk *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->writable && !t->ended)
        pthread_cond_wait(&t->changed, &t->lock);
    t->writable = false;
    pthread_mutex_unlock(&t->lock);
}

void talk_send(talk *t, const ProtobufCMessage *message)
{
    while (rpc_call_send_packed(t->call, message) == RPC_SENT_BUSY)
        wait_writable(t);
}

void talk_half_close(talk *t)
{
    rpc_call_half_close(t->call);
}

void talk_cancel(talk *t)
{
    rpc_call_cancel(t->call);
}

ProtobufCMessage *talk_receive(
    talk *t, const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, bool *ret_compressed)
{
    rpc_message *message = NULL;
    pthread_mutex_lock(&t->lock);
    while (t->first == t->count && !t->ended)
        pthread_cond_wait(&t->changed, &t->lock);
    if (t->first < t->count) {
        message = t->messages[t->first % TALK_MESSAGES_MAX];
        if (ret_compressed)
            *ret_compressed = t->compressed[t->first % TALK_MESSAGES_MAX];
        t->first++;
    }
    pthread_mutex_unlock(&t->lock);
    if (!message)
        return NULL;
    ProtobufCMessage *unpacked = NULL;
    rpc_status status;
    must(rpc_unpack(descriptor, rpc_message_bytes(message), arena, &unpacked, &status) == RPC_OK,
        "a message that does not unpack: %s", status.message);
    rpc_message_release(message);
    return unpacked;
}

void talk_end(talk *t, rpc_code expected)
{
    pthread_mutex_lock(&t->lock);
    while (!t->ended)
        pthread_cond_wait(&t->changed, &t->lock);
    pthread_mutex_unlock(&t->lock);
    must(t->status.code == expected, "status %s (%s) instead of %s", rpc_code_name(t->status.code),
        t->status.message, rpc_code_name(expected));
    must(t->first == t->count, "%u messages more than expected", t->count - t->first);
    rpc_call_unref(t->call);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
}
