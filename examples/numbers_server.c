/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of all three kinds.     numbers_server FOLDER_OF_CERTIFICATES */
#include "example.h"
#include "numbers.pb-c.h"
#include "numbers_descriptors.h"

#include <stdio.h>
#include <stdlib.h>

/* The state of a call: what Count has still to send, what Sum and Add have summed up. */
typedef struct state {
    int64_t next, last, sum;
} state;

static void on_start(rpc_call *call, void *user)
{
    (void)user;
    state *s = calloc(1, sizeof *s);
    if (s)
        rpc_call_set_context(call, s, free); /* freed when the call is over */
    else
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "numbers: no memory");
}

/* False: the message was refused, and the call has ended. */
static bool read_number(rpc_call *call, rpc_message *message, int64_t *ret)
{
    ProtobufCMessage *number = NULL;
    rpc_status status;
    rpc_code code = rpc_message_unpack(message, &numbers__number__descriptor, &number, &status);
    if (code == RPC_OK)
        *ret = ((Numbers__Number *)number)->value;
    else
        rpc_call_fail(call, &status);
    rpc_message_release(message); /* memory and flow control come back */
    return code == RPC_OK;
}

static rpc_sent send_number(rpc_call *call, int64_t value)
{
    Numbers__Number number = NUMBERS__NUMBER__INIT;
    number.value = value;
    return rpc_call_send_packed(call, &number.base);
}

/* Sends while there is room: RPC_SENT_BUSY means that on_writable will come. */
static void count_on(rpc_call *call, void *user)
{
    (void)user;
    state *s = rpc_call_context(call);
    while (s->next <= s->last) {
        if (send_number(call, s->next) != RPC_SENT_OK)
            return;
        s->next++;
    }
    rpc_call_finish(call, RPC_OK, NULL);
}

static void on_count(rpc_call *call, rpc_message *message, void *user)
{
    state *s = rpc_call_context(call);
    s->next = 1;
    if (read_number(call, message, &s->last))
        count_on(call, user);
}

static void on_summand(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    int64_t value;
    if (read_number(call, message, &value))
        ((state *)rpc_call_context(call))->sum += value;
}

static void on_sum_end(rpc_call *call, void *user)
{
    (void)user;
    if (send_number(call, ((state *)rpc_call_context(call))->sum) == RPC_SENT_OK)
        rpc_call_finish(call, RPC_OK, NULL);
}

static void on_addend(rpc_call *call, rpc_message *message, void *user)
{
    state *s = rpc_call_context(call);
    on_summand(call, message, user);
    if (send_number(call, s->sum) == RPC_SENT_BUSY)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "numbers: read the sums faster");
}

static void on_add_end(rpc_call *call, void *user)
{
    (void)user;
    rpc_call_finish(call, RPC_OK, NULL);
}

static Numbers__Numbers_Service service = {.base = NUMBERS__NUMBERS__BASE_INIT};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: numbers_server FOLDER_OF_CERTIFICATES\n");
        return 2;
    }
    static const rpc_handler count = {
        .on_start = on_start, .on_message = on_count, .on_writable = count_on};
    static const rpc_handler sum = {
        .on_start = on_start, .on_message = on_summand, .on_half_close = on_sum_end};
    static const rpc_handler add = {
        .on_start = on_start, .on_message = on_addend, .on_half_close = on_add_end};
    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = new_server(&runtime);
    const rpc_service_options options = {
        .descriptor_set = {numbers_descriptors, numbers_descriptors_size}};
    check(rpc_server_add_service(server, &service.base, &options, &status), &status);
    check(rpc_server_set_handler(server, "/numbers.Numbers/Count", &count, NULL, NULL, &status),
        &status);
    check(
        rpc_server_set_handler(server, "/numbers.Numbers/Sum", &sum, NULL, NULL, &status), &status);
    check(
        rpc_server_set_handler(server, "/numbers.Numbers/Add", &add, NULL, NULL, &status), &status);
    const rpc_tls_options tls = tls_of(argv[1], "server");
    serve(server, &tls);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
