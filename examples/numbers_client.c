/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of all three kinds.     numbers_client URL FOLDER_OF_CERTIFICATES
 * Callbacks come on the connection's strand; main() waits for the end of each call. */
#include "example.h"
#include "numbers.pb-c.h"

#include <pthread.h>
#include <stdio.h>

typedef struct caller {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *name;
    int64_t next, last; /* numbers still to be sent: next … last */
    bool one_by_one;    /* the next goes out when an answer has come */
    bool ended;
    rpc_status status;
} caller;

/* Sends what there is room for. Runs on the strand only: from on_writable and on_message. */
static void send_on(rpc_call *call, void *user)
{
    caller *c = user;
    while (c->next <= c->last) {
        Numbers__Number number = NUMBERS__NUMBER__INIT;
        number.value = c->next;
        if (rpc_call_send_packed(call, &number.base) != RPC_SENT_OK)
            return; /* on_writable comes, or on_end */
        c->next++;
        if (c->one_by_one)
            return;
    }
    rpc_call_half_close(call);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    caller *c = user;
    ProtobufCMessage *number = NULL;
    rpc_status status;
    if (rpc_message_unpack(message, &numbers__number__descriptor, &number, &status) == RPC_OK)
        printf("%s: %lld\n", c->name, (long long)((Numbers__Number *)number)->value);
    else
        rpc_call_cancel(call);
    rpc_message_release(message);
    if (c->one_by_one)
        send_on(call, c);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    caller *c = user;
    pthread_mutex_lock(&c->lock);
    c->status = *status;
    c->ended = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void call_and_wait(
    rpc_channel *channel, const char *path, int64_t first, int64_t last, bool one_by_one)
{
    static const rpc_handler handler = {
        .on_message = on_message, .on_writable = send_on, .on_end = on_end};
    const rpc_call_options options = {.timeout_ms = 10000};
    caller c = {.lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .name = path,
        .next = first,
        .last = last,
        .one_by_one = one_by_one};
    rpc_call *call = NULL;
    rpc_status status;
    check(rpc_channel_start(channel, path, &options, &handler, &c, &call, &status), &status);
    rpc_call_want_writable(call); /* send_on begins there, on the strand */
    pthread_mutex_lock(&c.lock);
    while (!c.ended)
        pthread_cond_wait(&c.changed, &c.lock);
    pthread_mutex_unlock(&c.lock);
    rpc_call_unref(call);
    check(c.status.code, &c.status);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: numbers_client URL FOLDER_OF_CERTIFICATES\n");
        return 2;
    }
    rpc_runtime *runtime = NULL;
    const rpc_tls_options tls = tls_of(argv[2], NULL);
    rpc_channel *channel = new_channel(&runtime, argv[1], &tls);
    call_and_wait(channel, "/numbers.Numbers/Count", 3, 3, false); /* one request: 3 */
    call_and_wait(channel, "/numbers.Numbers/Sum", 1, 1000, false);
    call_and_wait(channel, "/numbers.Numbers/Add", 1, 4, true);
    rpc_channel_free(channel);
    rpc_runtime_free(runtime);
    return 0;
}
