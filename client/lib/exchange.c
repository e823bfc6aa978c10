/* SPDX-License-Identifier: Apache-2.0 */
/* A call as a blocking thread sees it. The strand's callbacks put messages and the end into the
 * exchange under the mailbox's lock; the calling thread takes them out. A message keeps its bytes
 * of the receive window until the caller releases it, so a slow caller slows the server and
 * memory stays bounded. After on_end the strand never touches the exchange again. */
#include "client_internal.h"
#include "cleanup.h"

#include <string.h>
#include <time.h>

#define BACKOFF_FIRST_MS    100
#define BACKOFF_DOUBLED_MAX 5

typedef struct queued {
    struct queued *next;
    rpc_message *message;
} queued;

struct client_exchange {
    client_mailbox *mailbox;
    rpc_call *call;
    /* Guarded by the mailbox's lock: */
    queued *first, **last;
    unsigned queued_count;
    bool writable;
    bool overrun; /* too many messages, or no memory for them: the call was cancelled */
    bool ended;
    dacm_error end;
};

void client__mailbox_init(client_mailbox *mailbox)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    mailbox->nudged = false;
    pthread_mutex_init(&mailbox->lock, NULL);
    pthread_cond_init(&mailbox->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void client__mailbox_done(client_mailbox *mailbox)
{
    pthread_cond_destroy(&mailbox->changed);
    pthread_mutex_destroy(&mailbox->lock);
}

static bool enqueue(client_exchange *exchange, rpc_message *message)
{
    if (exchange->queued_count >= CLIENT_QUEUE_MAX)
        return false;
    queued *item = malloc(sizeof *item);
    if (!item)
        return false;
    *item = (queued){.message = message};
    *exchange->last = item;
    exchange->last = &item->next;
    exchange->queued_count++;
    return true;
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    client_exchange *exchange = user;
    pthread_mutex_lock(&exchange->mailbox->lock);
    const bool taken = enqueue(exchange, message);
    exchange->overrun |= !taken;
    pthread_cond_signal(&exchange->mailbox->changed);
    pthread_mutex_unlock(&exchange->mailbox->lock);
    if (!taken) {
        rpc_message_release(message);
        rpc_call_cancel(call);
    }
}

static void on_writable(rpc_call *call, void *user)
{
    (void)call;
    client_exchange *exchange = user;
    pthread_mutex_lock(&exchange->mailbox->lock);
    exchange->writable = true;
    pthread_cond_signal(&exchange->mailbox->changed);
    pthread_mutex_unlock(&exchange->mailbox->lock);
}

/** The server's text goes to a terminal: only printable ASCII of the request ID is kept. */
static void copy_request_id(rpc_call *call, char ret[64])
{
    rpc_bytes value;
    ret[0] = 0;
    if (!rpc_call_trailer(call, CLIENT_REQUEST_ID_HEADER, &value) || value.size >= 64)
        return;
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] <= ' ' || value.data[i] > '~')
            return;
    memcpy(ret, value.data, value.size);
    ret[value.size] = 0;
}

/** Nine digits at most, as librpc has it; what is no number says nothing. */
static uint32_t retry_ms_of(rpc_call *call)
{
    rpc_bytes value;
    uint32_t ms = 0;
    if (!rpc_call_trailer(call, CLIENT_RETRY_HEADER, &value) || value.size > 9)
        return 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        ms = ms * 10 + (value.data[i] - '0');
    }
    return ms;
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    client_exchange *exchange = user;
    client_mailbox *mailbox = exchange->mailbox;
    dacm_error end = {.code = DACM_OK};
    if (status->code != RPC_OK)
        client__fail_status(&end, status);
    copy_request_id(call, end.request_id);
    end.retry_ms = retry_ms_of(call);
    pthread_mutex_lock(&mailbox->lock);
    exchange->end = end;
    if (exchange->overrun)
        client__fail(&exchange->end, DACM_RESOURCE_EXHAUSTED,
            "the server sent more than %u messages ahead, or memory is short", CLIENT_QUEUE_MAX);
    exchange->ended = true;
    pthread_cond_signal(&mailbox->changed);
    pthread_mutex_unlock(&mailbox->lock);
}

static const rpc_handler exchange_handler = {
    .on_message = on_message,
    .on_writable = on_writable,
    .on_end = on_end,
};

/** The token for the call; *ret is malloc'd or NULL. */
static dacm_code get_token(
    dacm_client *client, const dacm_token_request *need, char **ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *token = NULL;
    if (need && client->token_fn) {
        const dacm_code code = client->token_fn(client->token_ctx, need, &token, reterr);
        if (code != DACM_OK)
            return code;
    } else if (need && client->token) {
        token = strdup(client->token);
        if (!token)
            return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a token");
    }
    if (token && strlen(token) > CLIENT_TOKEN_BYTES_MAX)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "the token has %zu bytes; servers take at most %u", strlen(token),
            CLIENT_TOKEN_BYTES_MAX);
    *ret = RPC_TAKE(token);
    return DACM_OK;
}

static void wipe(char **token)
{
    if (*token)
        explicit_bzero(*token, strlen(*token));
    free(*token);
    *token = NULL;
}

dacm_code client__exchange_open(dacm_client *client, client_mailbox *mailbox, const char *path,
    const dacm_token_request *need, int64_t timeout_ms, client_exchange **ret, dacm_error *reterr)
{
    RPC_CLEANUP(wipe) char *token = NULL;
    const dacm_code code = get_token(client, need, &token, reterr);
    if (code != DACM_OK)
        return code;
    client_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a call");
    exchange->mailbox = mailbox;
    exchange->last = &exchange->first;
    /* The name is indexed on purpose: every call after the first sends one byte for it. */
    const rpc_metadatum metadata = {
        .name = "dacm-token", .value = rpc_bytes_str(token ? token : "")};
    const rpc_call_options options = {
        .timeout_ms = timeout_ms,
        .metadata = &metadata,
        .metadata_count = token ? 1 : 0,
    };
    rpc_status status = {.code = RPC_OK};
    if (rpc_channel_start(client->channel, path, &options, &exchange_handler, exchange,
            &exchange->call, &status) != RPC_OK) {
        free(exchange);
        return client__fail_status(reterr, &status);
    }
    *ret = exchange;
    return DACM_OK;
}

rpc_call *client__exchange_call(client_exchange *exchange)
{
    return exchange->call;
}

static rpc_message *dequeue(client_exchange *exchange)
{
    queued *item = exchange->first;
    if (!item)
        return NULL;
    rpc_message *message = item->message;
    exchange->first = item->next;
    if (!exchange->first)
        exchange->last = &exchange->first;
    exchange->queued_count--;
    free(item);
    return message;
}

void client__exchange_close(client_exchange *exchange)
{
    if (!exchange)
        return;
    rpc_call_cancel(exchange->call); /* nothing happens when it is over */
    pthread_mutex_lock(&exchange->mailbox->lock);
    for (;;) {
        for (rpc_message *message; (message = dequeue(exchange));)
            rpc_message_release(message);
        if (exchange->ended)
            break;
        pthread_cond_wait(&exchange->mailbox->changed, &exchange->mailbox->lock);
    }
    pthread_mutex_unlock(&exchange->mailbox->lock);
    rpc_call_unref(exchange->call);
    free(exchange);
}

static client_event take(
    client_exchange *exchange, rpc_message **ret_message, dacm_error *ret_status)
{
    rpc_message *message = dequeue(exchange);
    if (message) {
        *ret_message = message;
        return CLIENT_EVENT_MESSAGE;
    }
    if (exchange->ended) {
        *ret_status = exchange->end;
        return CLIENT_EVENT_END;
    }
    if (exchange->writable) {
        exchange->writable = false;
        return CLIENT_EVENT_WRITABLE;
    }
    return CLIENT_EVENT_NONE;
}

static struct timespec deadline_in(int64_t wait_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += wait_ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

client_event client__wait(client_mailbox *mailbox, client_exchange *const *exchanges, size_t count,
    int64_t wait_ms, size_t *ret_index, rpc_message **ret_message, dacm_error *ret_status)
{
    const struct timespec deadline = deadline_in(wait_ms);
    client_event event = CLIENT_EVENT_NONE;
    pthread_mutex_lock(&mailbox->lock);
    for (;;) {
        for (size_t i = 0; i < count && event == CLIENT_EVENT_NONE; i++) {
            if (exchanges[i])
                event = take(exchanges[i], ret_message, ret_status);
            if (event != CLIENT_EVENT_NONE)
                *ret_index = i;
        }
        if (event == CLIENT_EVENT_NONE && mailbox->nudged) {
            mailbox->nudged = false;
            break;
        }
        if (event != CLIENT_EVENT_NONE ||
            pthread_cond_timedwait(&mailbox->changed, &mailbox->lock, &deadline) != 0)
            break;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return event;
}

void client__nudge(client_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->nudged = true;
    pthread_cond_signal(&mailbox->changed);
    pthread_mutex_unlock(&mailbox->lock);
}

void client__back_off(unsigned failures)
{
    const unsigned doubled = failures < BACKOFF_DOUBLED_MAX ? failures : BACKOFF_DOUBLED_MAX;
    const int64_t ms = (int64_t)BACKOFF_FIRST_MS << doubled;
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/** Waits for one message and the end of a unary call. */
static dacm_code one_reply(client_exchange *exchange, rpc_message **ret, dacm_error *reterr)
{
    rpc_message *reply = NULL;
    for (;;) {
        size_t index = 0;
        rpc_message *message = NULL;
        dacm_error end;
        const client_event event = client__wait(
            exchange->mailbox, &exchange, 1, CLIENT_STALL_MS, &index, &message, &end);
        if (event == CLIENT_EVENT_MESSAGE && !reply) {
            reply = message;
        } else if (event == CLIENT_EVENT_MESSAGE) {
            rpc_message_release(message);
            rpc_message_release(reply);
            return client__fail(reterr, DACM_INTERNAL, "the server answered a call twice");
        } else if (event == CLIENT_EVENT_END && end.code == DACM_OK && reply) {
            *ret = reply;
            return DACM_OK;
        } else if (event == CLIENT_EVENT_END) {
            rpc_message_release(reply);
            if (end.code == DACM_OK)
                return client__fail(reterr, DACM_INTERNAL, "the server gave no answer");
            if (reterr)
                *reterr = end;
            return end.code;
        }
    }
}

static dacm_code unary_once(dacm_client *client, client_mailbox *mailbox, const char *path,
    const dacm_token_request *need, const ProtobufCMessage *request, rpc_message **ret,
    dacm_error *reterr)
{
    client_exchange *exchange = NULL;
    dacm_code code = client__exchange_open(
        client, mailbox, path, need, client->timeout_ms, &exchange, reterr);
    if (code != DACM_OK)
        return code;
    if (rpc_call_send_packed(exchange->call, request) == RPC_SENT_OK)
        rpc_call_half_close(exchange->call);
    /* Otherwise the call is over already, and its end says why. */
    code = one_reply(exchange, ret, reterr);
    client__exchange_close(exchange);
    return code;
}

dacm_code client__unary(dacm_client *client, const char *path, const dacm_token_request *need,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_descriptor,
    rpc_message **ret_message, ProtobufCMessage **ret, dacm_error *reterr)
{
    client_mailbox mailbox;
    rpc_message *message = NULL;
    client__mailbox_init(&mailbox);
    const dacm_code code = unary_once(client, &mailbox, path, need, request, &message, reterr);
    client__mailbox_done(&mailbox);
    if (code != DACM_OK)
        return code;
    rpc_status status = {.code = RPC_OK};
    if (rpc_message_unpack(message, reply_descriptor, ret, &status) != RPC_OK) {
        rpc_message_release(message);
        return client__fail(
            reterr, DACM_INTERNAL, "the server's answer is malformed: %s", status.message);
    }
    *ret_message = message;
    return DACM_OK;
}
