/* SPDX-License-Identifier: Apache-2.0 */
/* Received messages: assembled within limits, handed over, and their credit given back.
 *
 * The connection's window is given back at receipt. The stream's is withheld until the message
 * is released. A message larger than half the window gets credit while it is being assembled,
 * otherwise it could never arrive; but not while the handler holds as much, or a handler that
 * releases slowly would be sent one such message after the other. */
#include "blocks.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside its bytes: the message, what the heap and a handler's list add to it. */
#define MESSAGE_COST (sizeof(struct rpc_message) + 64)
/* A message of up to this size that has outgrown its first memory is assembled in a block. */
#define BLOCK_BYTES (1u << 20)

static rpc__spares blocks = RPC__SPARES(BLOCK_BYTES, 8);

struct rpc_message {
    rpc_call *call; /* a reference */
    uint8_t *data;
    size_t size, capacity, have; /* capacity is what was charged; a block has room for all */
    bool block;                  /* data is one of the blocks, not the heap's */
    bool overwrite;              /* limits->overwrite_messages */
    bool compressed;             /* as it came */
    size_t withheld;             /* window of the stream, owed at release */
    size_t charged;              /* of lane->request_bytes */
    rpc_arena *arena;
};

static void free_data(rpc_message *message)
{
    if (message->overwrite && message->data)
        explicit_bzero(message->data, message->have);
    if (message->block)
        rpc__spares_put(&blocks, message->data, true);
    else
        free(message->data);
}

static void free_message(rpc_message *message)
{
    atomic_fetch_sub_explicit(
        &message->call->lane->request_bytes, message->charged, memory_order_relaxed);
    if (message->overwrite && message->arena)
        rpc_arena_overwrite(message->arena);
    rpc_arena_free(message->arena);
    free_data(message);
    free(message);
}

void rpc__call_drop_message(rpc_call *call)
{
    rpc_message *message = call->message;
    call->message = NULL;
    if (!message)
        return;
    free_message(message);
    rpc_call_unref(call);
}

static void give_credit(rpc_call *call, size_t size)
{
    if (call->attached && size > 0)
        (void)nghttp2_session_consume_stream(call->conn->h2, call->stream_id, size);
}

static void credit_assembly(rpc_call *call)
{
    rpc_message *message = call->message;
    if (!message || call->held_bytes >= call->stream_window / 2 ||
        message->withheld < call->stream_window / 2)
        return;
    give_credit(call, message->withheld);
    message->withheld = 0;
}

static void give_back(rpc_call *call, size_t credit, size_t released)
{
    call->held_bytes -= released;
    (void)rpc__lane_charge(call->lane); /* less than before: never refused */
    give_credit(call, credit);
    credit_assembly(call);
}

/* What released messages owe. (strand) */
void rpc__call_credit(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    size_t credit = call->credit;
    size_t released = call->released;
    call->credit = 0;
    call->released = 0;
    pthread_mutex_unlock(&call->lock);
    give_back(call, credit, released);
}

static void fail_message(rpc_call *call, rpc_code code, rpc_limit_kind limit, const char *text)
{
    if (limit != RPC_LIMIT_NONE)
        rpc__call_limit(call, limit, text);
    if (call->server)
        rpc__call_refuse(call, code, text);
    else
        rpc__call_end(call, code, text, NGHTTP2_CANCEL);
}

/* What the message costs from now on, itself included: empty ones are not free. */
static bool charge(rpc_call *call, rpc_message *message, size_t bytes)
{
    size_t more = bytes + MESSAGE_COST - message->charged;
    size_t total = atomic_fetch_add_explicit(
        &call->lane->request_bytes, more, memory_order_relaxed);
    message->charged += more;
    if (call->server && total + more > call->conn->limits->connection_request_bytes_max) {
        char text[256];
        snprintf(text, sizeof text,
            "message: %zu bytes received on this connection wait to be consumed, more than "
            "connection_request_bytes_max of %zu; send fewer at a time",
            total + more, call->conn->limits->connection_request_bytes_max);
        fail_message(call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_CONNECTION_MEMORY, text);
        return false;
    }
    if (!rpc__lane_charge(call->lane)) {
        fail_message(call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_SERVER_MEMORY,
            "message: the server is out of memory for it (server_memory_bytes_max); try again "
            "later");
        return false;
    }
    return true;
}

/* max: what the message can have at most. False: no memory. */
static bool grow(rpc_message *message, size_t capacity, size_t max)
{
    if (message->block)
        return true;
    const bool block = capacity > RPC__MESSAGE_FIRST_MAX && max <= BLOCK_BYTES;
    const bool move = block || message->overwrite; /* realloc() would leave a copy behind */
    uint8_t *data = block  ? rpc__spares_get(&blocks, max)
                    : move ? malloc(capacity)
                           : realloc(message->data, capacity);
    if (!data)
        return false;
    if (move) {
        if (message->have > 0)
            memcpy(data, message->data, message->have);
        free_data(message);
    }
    message->block = block;
    message->data = data;
    return true;
}

/* Room for need bytes, at once for more but never for more than max. */
static bool reserve(rpc_call *call, rpc_message *message, size_t need, size_t max)
{
    if (need <= message->capacity)
        return true;
    size_t capacity = message->capacity ? 2 * message->capacity : 512;
    if (capacity < need)
        capacity = need;
    if (capacity > max)
        capacity = max;
    if (!charge(call, message, capacity))
        return false;
    if (!grow(message, capacity, max)) {
        fail_message(call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_NONE, "message: no memory");
        return false;
    }
    message->capacity = capacity;
    return true;
}

static bool encoding_good(rpc_call *call)
{
    if (rpc__encoding_name(call->encoding) && call->accept & RPC_ACCEPT(call->encoding))
        return true;
    if (call->encoding_seen && call->encoding != RPC_ENCODING_IDENTITY)
        fail_message(call, RPC_INTERNAL, RPC_LIMIT_NONE,
            "message: compressed with an encoding that was not among those accepted");
    else
        fail_message(call, RPC_INTERNAL, RPC_LIMIT_NONE,
            "message: its flag says compressed, but grpc-encoding names no encoding");
    return false;
}

static const char *whose_limit(const rpc_call *call)
{
    return call->method && call->method->options.message_receive_bytes_max > 0 ? " of the method"
                                                                               : "";
}

static bool check_prefix(rpc_call *call, size_t size)
{
    char text[256];
    if (call->prefix[0] > 1) {
        snprintf(text, sizeof text, "message: flag byte %u is neither 0 nor 1", call->prefix[0]);
        fail_message(call, RPC_INTERNAL, RPC_LIMIT_NONE, text);
        return false;
    }
    if (call->prefix[0] == 1 && !encoding_good(call))
        return false;
    if (size <= call->receive_max)
        return true;
    snprintf(text, sizeof text,
        "message: %zu bytes, more than message_receive_bytes_max%s of %zu; send less or raise it",
        size, whose_limit(call), call->receive_max);
    fail_message(call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_MESSAGE, text);
    return false;
}

static bool begin_message(rpc_call *call)
{
    size_t size = rpc__prefix_size(call->prefix);
    if (!check_prefix(call, size))
        return false;
    rpc_message *message = calloc(1, sizeof *message);
    if (!message) {
        fail_message(call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_NONE, "message: no memory");
        return false;
    }
    message->call = rpc_call_ref(call);
    message->overwrite = call->overwrite;
    message->size = size;
    message->compressed = call->prefix[0] == 1;
    call->message = message;
    size_t first = size < RPC__MESSAGE_FIRST_MAX ? size : RPC__MESSAGE_FIRST_MAX;
    message->withheld = RPC__PREFIX_BYTES;
    return size == 0 ? charge(call, message, 0) : reserve(call, message, first, size);
}

/* ---- compressed ones ------------------------------------------------------------------------ */

static void too_large(rpc_call *call, size_t max)
{
    char text[256];
    bool message = max == call->receive_max;
    snprintf(text, sizeof text,
        "message: it inflates to more than %s%s of %zu; send less or raise it",
        message ? "message_receive_bytes_max" : "call_memory_bytes_max",
        message ? whose_limit(call) : "", max);
    fail_message(
        call, RPC_RESOURCE_EXHAUSTED, message ? RPC_LIMIT_MESSAGE : RPC_LIMIT_CALL_MEMORY, text);
}

/* One more byte, where a message of just the limit has ended and a larger one goes on. */
static bool ends_here(z_stream *zlib)
{
    uint8_t beyond;
    size_t more = 0;
    return rpc__inflate_step(zlib, &beyond, 1, &more) == RPC__INFLATE_DONE && more == 0;
}

/* Into plain, which grows as bytes come out: what is claimed costs nothing. */
static bool inflate_into(rpc_call *call, z_stream *zlib, rpc_message *plain, size_t max)
{
    rpc__inflated result = RPC__INFLATE_FULL;
    while (result == RPC__INFLATE_FULL && plain->have < max) {
        if (!reserve(call, plain, plain->have + 1, max))
            return false;
        size_t made = 0;
        result = rpc__inflate_step(
            zlib, plain->data + plain->have, plain->capacity - plain->have, &made);
        plain->have += made;
    }
    if (result == RPC__INFLATE_DONE || (result == RPC__INFLATE_FULL && ends_here(zlib)))
        return true;
    if (result == RPC__INFLATE_FULL)
        too_large(call, max);
    else if (result == RPC__INFLATE_NO_MEMORY)
        fail_message(
            call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_NONE, "message: no memory to inflate it");
    else
        fail_message(call, RPC_INTERNAL, RPC_LIMIT_NONE,
            "message: its compressed bytes are broken or cut short; send it again");
    return false;
}

/* In place of what came; what the stream is owed stays. */
static bool inflate_message(rpc_call *call, rpc_message *message)
{
    rpc_message plain = {.call = call, .overwrite = message->overwrite};
    size_t budget = call->conn->limits->call_memory_bytes_max;
    z_stream zlib;
    if (rpc__inflate_begin(&zlib, call->encoding, rpc_message_bytes(message)) ==
        RPC__INFLATE_NO_MEMORY) {
        fail_message(
            call, RPC_RESOURCE_EXHAUSTED, RPC_LIMIT_NONE, "message: no memory to inflate it");
        return false;
    }
    bool good = inflate_into(
        call, &zlib, &plain, budget < call->receive_max ? budget : call->receive_max);
    rpc__inflate_done(&zlib);
    rpc_message *rest = good ? message : &plain;
    free_data(rest);
    atomic_fetch_sub_explicit(&call->lane->request_bytes, rest->charged, memory_order_relaxed);
    if (!good)
        return false;
    message->data = plain.data;
    message->block = plain.block;
    message->capacity = plain.capacity;
    message->charged = plain.charged;
    message->size = message->have = plain.have;
    return true;
}

static void deliver(rpc_call *call)
{
    rpc_message *message = call->message;
    /* Refused: the message is dropped with the call. */
    if (message->compressed && !inflate_message(call, message))
        return;
    call->last_compressed = message->compressed;
    call->messages_received++;
    rpc__tally_add(&call->conn->tally.messages_received, 1);
    rpc__tally_time(&call->conn->tally.last_received_us, call->conn->read_us);
    call->message = NULL;
    call->prefix_size = 0;
    call->held_bytes += message->size;
    call->messages_in++;
    call->conn->burst++;
    if (call->method && !call->method->has_handler)
        rpc__message_deliver_unary(call, message);
    else if (call->handler.on_message)
        call->handler.on_message(call, message, call->user);
    else
        rpc_message_release(message);
}

void rpc__call_data(rpc_call *call, const uint8_t *data, size_t size)
{
    atomic_fetch_add_explicit(&call->received_bytes, size, memory_order_relaxed);
    while (size > 0 && !call->over) {
        if (!call->message) {
            size_t take = RPC__PREFIX_BYTES - call->prefix_size;
            take = take < size ? take : size;
            memcpy(call->prefix + call->prefix_size, data, take);
            call->prefix_size += take;
            data += take;
            size -= take;
            if (call->prefix_size < RPC__PREFIX_BYTES || !begin_message(call))
                continue;
        }
        rpc_message *message = call->message;
        size_t take = message->size - message->have;
        take = take < size ? take : size;
        if (take > 0) {
            if (!reserve(call, message, message->have + take, message->size))
                break;
            memcpy(message->data + message->have, data, take);
        }
        message->have += take;
        message->withheld += take;
        data += take;
        size -= take;
        if (message->have == message->size)
            deliver(call);
        else
            credit_assembly(call);
    }
    if (size > 0)
        give_credit(call, size);
}

void rpc__call_remote_close(rpc_call *call)
{
    if (call->remote_closed)
        return;
    call->remote_closed = true;
    bool cut = call->message || call->prefix_size > 0;
    if (!call->server) {
        rpc_status status = call->remote;
        if (!call->status_seen)
            rpc_status_set(&status, RPC_UNKNOWN, "call: the server ended it without a status");
        else if (cut && status.code == RPC_OK)
            rpc_status_set(&status, RPC_INTERNAL, "call: the last message is truncated");
        bool open = !nghttp2_session_get_stream_local_close(call->conn->h2, call->stream_id);
        uint32_t reset = open ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR;
        if (status.code == RPC_OK) {
            rpc__retry_succeeded(call);
            rpc__call_end(call, status.code, status.message, reset);
        } else {
            rpc__call_lost(call, status.code, status.message, reset, RPC__SEEN_PERHAPS);
        }
        return;
    }
    if (cut) {
        rpc__call_refuse(call, RPC_INTERNAL, "call: the last message is truncated");
        return;
    }
    if (call->handler.on_half_close)
        call->handler.on_half_close(call, call->user);
    else if (call->method && !call->method->has_handler && !call->unary_taken)
        rpc__call_refuse(call, RPC_INTERNAL, "call: a unary call without a request message");
}

/* ---- the user's side ---------------------------------------------------------------------------
 */

size_t rpc_message_size(const rpc_message *message)
{
    return message->size;
}

rpc_bytes rpc_message_bytes(const rpc_message *message)
{
    return rpc_bytes_of(message->data, message->size);
}

rpc_code rpc_message_unpack(rpc_message *message, const ProtobufCMessageDescriptor *descriptor,
    ProtobufCMessage **ret, rpc_status *reterr)
{
    rpc_call *call = message->call;
    if (!message->arena) {
        message->arena = rpc_arena_new(call->conn->limits->call_memory_bytes_max);
        if (!message->arena)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "message: no memory");
        rpc_arena_meter meter = rpc__memory_meter(call->lane->memory);
        rpc_arena_set_meter(message->arena, &meter);
    }
    rpc_status why = {0};
    rpc_code code = rpc_unpack(descriptor, rpc_message_bytes(message), message->arena, ret, &why);
    if (code == RPC_RESOURCE_EXHAUSTED)
        rpc__call_limit(call, RPC_LIMIT_CALL_MEMORY, why.message);
    return code == RPC_OK ? RPC_OK : rpc_status_set(reterr, code, "%s", why.message);
}

void rpc_message_release(rpc_message *message)
{
    if (!message)
        return;
    rpc_call *call = message->call;
    const size_t withheld = message->withheld, size = message->size;
    free_message(message);
    if (rpc__lane_here(call->lane)) {
        if (!call->over)
            give_back(call, withheld, size);
    } else {
        pthread_mutex_lock(&call->lock);
        call->credit += withheld;
        call->released += size;
        pthread_mutex_unlock(&call->lock);
        rpc__call_ask(call, RPC__ASK_CREDIT);
    }
    rpc_call_unref(call);
}
