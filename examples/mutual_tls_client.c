/* SPDX-License-Identifier: Apache-2.0 */
/* A call with a certificate of our own, by protobuf-c's generated function and a stub.
 *     mutual_tls_client URL FOLDER_OF_CERTIFICATES [CERTIFICATE_NAME]
 * Without a name it comes without a certificate, and is refused. */
#include "example.h"
#include "greeter.pb-c.h"

#include <pthread.h>
#include <stdio.h>

typedef struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc_stub *stub;
    bool done, good;
} waiting;

/* Runs on the strand; reply is ours until it returns, and NULL when the call failed. */
static void on_reply(const Greeter__Greeting *reply, void *data)
{
    waiting *w = data;
    if (reply)
        printf("%s\n", reply->text);
    else
        printf("%s\n", rpc_code_name(rpc_stub_status(w->stub)->code));
    pthread_mutex_lock(&w->lock);
    w->good = reply != NULL;
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: mutual_tls_client URL FOLDER_OF_CERTIFICATES [NAME]\n");
        return 2;
    }
    rpc_status status;
    rpc_runtime *runtime = NULL;
    const rpc_tls_options tls = tls_of(argv[2], argc > 3 ? argv[3] : NULL);
    rpc_channel *channel = new_channel(&runtime, argv[1], &tls);
    const rpc_call_options options = {.timeout_ms = 5000};
    waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    check(
        rpc_stub_new(channel, &greeter__greeter__descriptor, &options, &w.stub, &status), &status);

    Greeter__Hello request = GREETER__HELLO__INIT;
    greeter__greeter__greet(rpc_stub_service(w.stub), &request, on_reply, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.changed, &w.lock);
    pthread_mutex_unlock(&w.lock);

    rpc_stub_free(w.stub);
    rpc_channel_free(channel);
    rpc_runtime_free(runtime);
    return w.good ? 0 : 1;
}
