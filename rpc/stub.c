/* SPDX-License-Identifier: Apache-2.0 */
/* Unary calls: waiting for one, and stubs for protobuf-c's generated functions. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- waiting
 * ------------------------------------------------------------------------------------------------
 */

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc_message *message;
    bool twice, ended;
    rpc_status status;
    rpc_arena *arena; /* the caller's, who waits */
    rpc_bytes details;
} waiter;

static void wait_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call;
    waiter *wait = user;
    if (wait->message) {
        wait->twice = true;
        rpc_message_release(message);
        return;
    }
    wait->message = message;
}

static void wait_end(rpc_call *call, const rpc_status *status, void *user)
{
    waiter *wait = user;
    rpc_bytes details;
    pthread_mutex_lock(&wait->lock);
    if (status->code != RPC_OK && rpc_call_status_details(call, &details)) {
        char *copy = rpc_arena_strndup(wait->arena, (const char *)details.data, details.size);
        wait->details = rpc_bytes_of(copy, copy ? details.size : 0);
    }
    wait->ended = true;
    wait->status = *status;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
}

static rpc_code check_reply(
    const rpc_status *status, const rpc_message *message, bool twice, rpc_status *reterr)
{
    if (status->code != RPC_OK)
        return rpc_status_set(reterr, status->code, "%s", status->message);
    if (!message || twice)
        return rpc_status_set(reterr, RPC_INTERNAL, "call: the server sent %s in a unary call",
            twice ? "more than one reply" : "no reply");
    return RPC_OK;
}

static void send_request(rpc_call *call, const ProtobufCMessage *request)
{
    if (rpc__call_send_unbounded(call, request))
        rpc_call_half_close(call);
    else
        rpc_call_cancel(call);
}

rpc_code rpc_channel_unary(rpc_channel *channel, const char *path, const rpc_call_options *options,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_descriptor,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr)
{
    static const rpc_handler handler = {.on_message = wait_message, .on_end = wait_end};
    waiter wait = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .arena = arena};
    rpc_call *call = NULL;
    rpc_code code = rpc_channel_start(channel, path, options, &handler, &wait, &call, reterr);
    if (code != RPC_OK)
        return code;
    send_request(call, request);
    pthread_mutex_lock(&wait.lock);
    while (!wait.ended)
        pthread_cond_wait(&wait.changed, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    if (options && options->ret_status_details)
        *options->ret_status_details = wait.details;
    code = check_reply(&wait.status, wait.message, wait.twice, reterr);
    if (code == RPC_OK)
        code = rpc_unpack(reply_descriptor, rpc_message_bytes(wait.message), arena, ret, reterr);
    rpc_message_release(wait.message);
    rpc_call_unref(call);
    pthread_cond_destroy(&wait.changed);
    pthread_mutex_destroy(&wait.lock);
    return code;
}

/* ---- stubs
 * -----------------------------------------------------------------------------------------------------
 */

struct rpc_stub {
    ProtobufCService service; /* first: the generated functions take it */
    rpc_channel *channel;
    rpc_call_options options;
    rpc_metadatum *metadata; /* names and values are ours */
    rpc_retry_policy retry;
};

/* The closure that this thread is running: those of different calls may run at once. */
typedef struct running_closure {
    rpc_status status;
    rpc_bytes details;
} running_closure;

static _Thread_local const running_closure *current_closure;

static void run_closure(const running_closure *result, const ProtobufCMessage *reply,
    ProtobufCClosure closure, void *closure_data)
{
    const running_closure *outer = current_closure;
    current_closure = result;
    closure(reply, closure_data);
    current_closure = outer;
}

typedef struct stub_call {
    const ProtobufCMessageDescriptor *reply;
    ProtobufCClosure closure;
    void *closure_data;
    rpc_message *message;
    bool twice;
} stub_call;

static void stub_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call;
    stub_call *running = user;
    if (running->message) {
        running->twice = true;
        rpc_message_release(message);
        return;
    }
    running->message = message;
}

static void stub_end(rpc_call *call, const rpc_status *status, void *user)
{
    stub_call *running = user;
    running_closure result = {.status = *status};
    ProtobufCMessage *reply = NULL;
    (void)rpc_call_status_details(call, &result.details);
    rpc_code code = check_reply(status, running->message, running->twice, &result.status);
    if (code == RPC_OK)
        code = rpc_message_unpack(running->message, running->reply, &reply, &result.status);
    result.status.code = code;
    run_closure(&result, reply, running->closure, running->closure_data);
    rpc_message_release(running->message);
    free(running);
}

static void stub_invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input,
    ProtobufCClosure closure, void *closure_data)
{
    static const rpc_handler handler = {.on_message = stub_message, .on_end = stub_end};
    rpc_stub *stub = (rpc_stub *)(void *)service;
    const ProtobufCMethodDescriptor *method = &service->descriptor->methods[index];
    char path[512];
    int size = snprintf(path, sizeof path, "/%s/%s", service->descriptor->name, method->name);
    stub_call *running = size < (int)sizeof path ? calloc(1, sizeof *running) : NULL;
    rpc_call *call = NULL;
    running_closure why = {0};
    if (!running) {
        rpc_status_set(&why.status, RPC_RESOURCE_EXHAUSTED, "stub: no memory");
        run_closure(&why, NULL, closure, closure_data);
        return;
    }
    *running = (stub_call){method->output, closure, closure_data, NULL, false};
    if (rpc_channel_start(
            stub->channel, path, &stub->options, &handler, running, &call, &why.status) != RPC_OK) {
        free(running);
        run_closure(&why, NULL, closure, closure_data);
        return;
    }
    send_request(call, input);
    rpc_call_unref(call);
}

static bool copy_options(rpc_stub *stub, const rpc_call_options *options)
{
    if (!options)
        return true;
    stub->options = *options;
    stub->options.parent = NULL;
    if (options->retry) {
        stub->retry = *options->retry;
        stub->options.retry = &stub->retry;
    }
    stub->options.metadata = NULL;
    stub->options.metadata_count = 0;
    stub->metadata = calloc(options->metadata_count + 1, sizeof *stub->metadata);
    if (!stub->metadata)
        return false;
    stub->options.metadata = stub->metadata;
    for (size_t i = 0; i < options->metadata_count; i++) {
        const rpc_metadatum *from = &options->metadata[i];
        size_t name_size = strlen(from->name) + 1;
        char *memory = malloc(name_size + from->value.size);
        if (!memory)
            return false;
        memcpy(memory, from->name, name_size);
        if (from->value.size > 0)
            memcpy(memory + name_size, from->value.data, from->value.size);
        stub->metadata[i] = (rpc_metadatum){
            memory, rpc_bytes_of(memory + name_size, from->value.size), from->sensitive};
        stub->options.metadata_count++;
    }
    return true;
}

rpc_code rpc_stub_new(rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
    const rpc_call_options *options, rpc_stub **ret, rpc_status *reterr)
{
    rpc_stub *stub = calloc(1, sizeof *stub);
    if (!stub || !copy_options(stub, options)) {
        rpc_stub_free(stub);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "stub: no memory");
    }
    stub->channel = channel;
    stub->service.descriptor = descriptor;
    stub->service.invoke = stub_invoke;
    *ret = stub;
    return RPC_OK;
}

ProtobufCService *rpc_stub_service(rpc_stub *stub)
{
    return &stub->service;
}

const rpc_status *rpc_stub_status(const rpc_stub *stub)
{
    (void)stub;
    static const rpc_status outside = {.code = RPC_FAILED_PRECONDITION,
        .message = "stub: rpc_stub_status() is for the inside of a closure"};
    return current_closure ? &current_closure->status : &outside;
}

rpc_bytes rpc_stub_status_details(const rpc_stub *stub)
{
    (void)stub;
    return current_closure ? current_closure->details : rpc_bytes_of(NULL, 0);
}

void rpc_stub_free(rpc_stub *stub)
{
    if (!stub)
        return;
    for (size_t i = 0; i < stub->options.metadata_count; i++) {
        char *memory = (char *)(uintptr_t)stub->metadata[i].name;
        free(memory);
    }
    free(stub->metadata);
    free(stub);
}
