/* SPDX-License-Identifier: Apache-2.0 */
/* Our server of grpc.testing.TestService for the interop tests.
 *     interop-server CERTIFICATE KEY
 * Prints its port and ends when standard input does. */
#include "grpc/testing/test.pb-c.h"
#include "grpc_testing_descriptors.h"
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_BYTES_MAX (3 * 1024 * 1024)
#define QUEUE_MAX          1000

static uint8_t zeros[RESPONSE_BYTES_MAX]; /* what every payload is made of */

/* ---- what methods of both kinds do ------------------------------------------------------- */

static void echo_metadata(rpc_call *call)
{
    rpc_bytes value;
    if (rpc_call_metadata(call, "x-grpc-test-echo-initial", &value))
        (void)rpc_call_add_header(call, "x-grpc-test-echo-initial", value);
    if (rpc_call_metadata(call, "x-grpc-test-echo-trailing-bin", &value))
        (void)rpc_call_add_trailer(call, "x-grpc-test-echo-trailing-bin", value);
}

static rpc_code check_size(int32_t size, rpc_status *reterr)
{
    if (size >= 0 && size <= RESPONSE_BYTES_MAX)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "interop: a response of %d bytes; ask for 0 to %d", size, RESPONSE_BYTES_MAX);
}

static rpc_code check_compressed(
    const rpc_call *call, const Grpc__Testing__BoolValue *expected, rpc_status *reterr)
{
    if (!expected || expected->value == rpc_call_message_compressed(call))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "interop: the message came %s",
        expected->value ? "uncompressed" : "compressed");
}

/* The client's wish counts only where it accepts gzip. */
static void compress_answers(rpc_call *call)
{
    (void)rpc_call_set_compression(call, RPC_ENCODING_GZIP);
}

/* ---- unary ------------------------------------------------------------------------------- */

static void empty_call(Grpc__Testing__TestService_Service *service,
    const Grpc__Testing__Empty *request, Grpc__Testing__Empty_Closure closure, void *data)
{
    (void)service;
    closure(request, data);
}

typedef struct account {
    char user[64], scope[64];
} account;

/* per_rpc_creds as gRPC describes it uses accounts of Google's; here the token says whose it is:
 * "Bearer interop/USER/SCOPE". */
static rpc_code read_account(rpc_call *call, account *ret, rpc_status *reterr)
{
    rpc_bytes value;
    char text[160];
    if (rpc_call_metadata(call, "authorization", &value) && value.size < sizeof text) {
        memcpy(text, value.data, value.size);
        text[value.size] = '\0';
        if (sscanf(text, "Bearer interop/%63[^/]/%63s", ret->user, ret->scope) == 2)
            return RPC_OK;
    }
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED,
        "interop: fill_username needs authorization: Bearer interop/USER/SCOPE");
}

static rpc_code asked_status(const Grpc__Testing__EchoStatus *asked, rpc_status *reterr)
{
    if (!asked || asked->code == 0)
        return RPC_OK;
    rpc_code code = asked->code > 0 && asked->code <= RPC_UNAUTHENTICATED ? (rpc_code)asked->code
                                                                          : RPC_UNKNOWN;
    return rpc_status_set(reterr, code, "%s", asked->message);
}

static rpc_code check_request(
    rpc_call *call, const Grpc__Testing__SimpleRequest *request, rpc_status *reterr)
{
    rpc_code code = check_compressed(call, request->expect_compressed, reterr);
    if (code == RPC_OK)
        code = check_size(request->response_size, reterr);
    return code == RPC_OK ? asked_status(request->response_status, reterr) : code;
}

static void unary_call(Grpc__Testing__TestService_Service *service,
    const Grpc__Testing__SimpleRequest *request, Grpc__Testing__SimpleResponse_Closure closure,
    void *data)
{
    (void)service;
    rpc_call *call = data;
    account holder = {"", ""};
    rpc_status status;
    echo_metadata(call);
    rpc_code code = check_request(call, request, &status);
    if (code == RPC_OK && (request->fill_username || request->fill_oauth_scope))
        code = read_account(call, &holder, &status);
    if (code != RPC_OK) {
        rpc_call_fail(call, &status);
        return;
    }
    if (request->response_compressed && request->response_compressed->value)
        compress_answers(call);
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    payload.body.data = zeros;
    payload.body.len = (size_t)request->response_size;
    response.payload = &payload;
    if (request->fill_username)
        response.username = holder.user;
    if (request->fill_oauth_scope)
        response.oauth_scope = holder.scope;
    closure(&response, data);
}

/* unimplemented_call stays NULL: librpc answers UNIMPLEMENTED for it. */
static Grpc__Testing__TestService_Service service = {
    .base = GRPC__TESTING__TEST_SERVICE__BASE_INIT,
    .empty_call = empty_call,
    .unary_call = unary_call,
    .cacheable_unary_call = unary_call,
};

/* ---- streams: responses as asked for, at once or (half duplex) after the last request -------- */

typedef struct answer {
    int32_t size;
    int32_t interval_ms;
    bool compressed;
} answer;

typedef struct stream {
    bool half_duplex, half_closed, encoded, waiting, waited;
    answer queue[QUEUE_MAX];
    size_t first, count;
} stream;

static void stream_start(rpc_call *call, void *user)
{
    stream *s = calloc(1, sizeof *s);
    if (!s) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "interop: no memory");
        return;
    }
    s->half_duplex = user != NULL;
    rpc_call_set_context(call, s, free);
    echo_metadata(call);
}

static rpc_sent send_answer(rpc_call *call, const answer *a)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    payload.body.data = zeros;
    payload.body.len = (size_t)a->size;
    response.payload = &payload;
    rpc_call_compress_messages(call, a->compressed);
    return rpc_call_send_packed(call, &response.base);
}

static void pump(rpc_call *call);

static void interval_over(rpc_call *call, void *arg)
{
    stream *s = arg;
    s->waiting = false;
    s->waited = true;
    pump(call);
}

static void pump(rpc_call *call)
{
    stream *s = rpc_call_context(call);
    while (s->first < s->count && !s->waiting && (s->half_closed || !s->half_duplex)) {
        const answer *a = &s->queue[s->first];
        if (a->interval_ms > 0 && !s->waited) {
            s->waiting = rpc_call_after(call, a->interval_ms, interval_over, s) == RPC_OK;
            if (!s->waiting)
                rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "interop: no timer");
            return;
        }
        if (send_answer(call, a) != RPC_SENT_OK)
            return; /* on_writable comes, or on_end */
        s->waited = false;
        s->first++;
    }
    if (s->first == s->count) {
        s->first = s->count = 0;
        if (s->half_closed)
            rpc_call_finish(call, RPC_OK, NULL);
    }
}

static rpc_code queue_answers(
    stream *s, const Grpc__Testing__StreamingOutputCallRequest *request, rpc_status *reterr)
{
    rpc_code code = asked_status(request->response_status, reterr);
    for (size_t i = 0; code == RPC_OK && i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *asked = request->response_parameters[i];
        code = check_size(asked->size, reterr);
        if (code != RPC_OK)
            return code;
        if (s->count == QUEUE_MAX)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                "interop: more than %d responses wait; read them before asking for more",
                QUEUE_MAX);
        s->queue[s->count++] = (answer){.size = asked->size,
            .interval_ms = asked->interval_us / 1000,
            .compressed = asked->compressed && asked->compressed->value};
    }
    return code;
}

/* An encoding can only be named in the headers, before the first response. */
static void choose_encoding(rpc_call *call, stream *s)
{
    if (s->encoded || s->count == 0)
        return;
    s->encoded = true;
    for (size_t i = 0; i < s->count; i++)
        if (s->queue[i].compressed) {
            compress_answers(call);
            return;
        }
}

static void stream_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    stream *s = rpc_call_context(call);
    ProtobufCMessage *unpacked = NULL;
    rpc_status status;
    rpc_code code = rpc_message_unpack(
        message, &grpc__testing__streaming_output_call_request__descriptor, &unpacked, &status);
    if (code == RPC_OK)
        code = queue_answers(
            s, (const Grpc__Testing__StreamingOutputCallRequest *)unpacked, &status);
    rpc_message_release(message);
    if (code != RPC_OK) {
        rpc_call_fail(call, &status);
        return;
    }
    choose_encoding(call, s);
    pump(call);
}

static void stream_half_close(rpc_call *call, void *user)
{
    (void)user;
    stream *s = rpc_call_context(call);
    s->half_closed = true;
    pump(call);
}

static void stream_writable(rpc_call *call, void *user)
{
    (void)user;
    pump(call);
}

/* ---- client streaming --------------------------------------------------------------------- */

static void input_start(rpc_call *call, void *user)
{
    (void)user;
    int32_t *sum = calloc(1, sizeof *sum);
    if (sum)
        rpc_call_set_context(call, sum, free);
    else
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "interop: no memory");
}

static void input_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    ProtobufCMessage *unpacked = NULL;
    rpc_status status;
    rpc_code code = rpc_message_unpack(
        message, &grpc__testing__streaming_input_call_request__descriptor, &unpacked, &status);
    if (code == RPC_OK) {
        const Grpc__Testing__StreamingInputCallRequest *request =
            (const Grpc__Testing__StreamingInputCallRequest *)unpacked;
        int32_t *sum = rpc_call_context(call);
        code = check_compressed(call, request->expect_compressed, &status);
        if (request->payload)
            *sum += (int32_t)request->payload->body.len;
    }
    rpc_message_release(message);
    if (code != RPC_OK)
        rpc_call_fail(call, &status);
}

static void input_half_close(rpc_call *call, void *user)
{
    (void)user;
    Grpc__Testing__StreamingInputCallResponse response =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    response.aggregated_payload_size = *(const int32_t *)rpc_call_context(call);
    if (rpc_call_send_packed(call, &response.base) == RPC_SENT_OK)
        rpc_call_finish(call, RPC_OK, NULL);
}

/* ---- main --------------------------------------------------------------------------------- */

static void must(rpc_code code, const rpc_status *status)
{
    if (code == RPC_OK)
        return;
    fprintf(stderr, "interop-server: %s: %s\n", rpc_code_name(code), status->message);
    exit(1);
}

static void add_service(rpc_server *server)
{
    const rpc_service_options options = {
        .descriptor_set = {grpc_testing_descriptors, grpc_testing_descriptors_size}};
    static const rpc_handler duplex = {.on_start = stream_start,
        .on_message = stream_message,
        .on_half_close = stream_half_close,
        .on_writable = stream_writable};
    static const rpc_handler input = {
        .on_start = input_start, .on_message = input_message, .on_half_close = input_half_close};
    static const struct {
        const char *path;
        const rpc_handler *handler;
        bool half_duplex;
    } methods[] = {
        {"/grpc.testing.TestService/StreamingOutputCall", &duplex, false},
        {"/grpc.testing.TestService/FullDuplexCall", &duplex, false},
        {"/grpc.testing.TestService/HalfDuplexCall", &duplex, true},
        {"/grpc.testing.TestService/StreamingInputCall", &input, false},
    };
    rpc_status status;
    must(rpc_server_add_service(server, &service.base, &options, &status), &status);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        must(rpc_server_set_handler(server, methods[i].path, methods[i].handler,
                 methods[i].half_duplex ? server : NULL, NULL, &status),
            &status);
    must(rpc_server_add_health(server, &status), &status);
    must(rpc_server_add_reflection(server, &status), &status);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: interop-server CERTIFICATE KEY\n");
        return 2;
    }
    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = NULL;
    rpc_listener *listener = NULL;
    const rpc_server_options options = {.limits = rpc_limits_default()};
    const rpc_listener_options listen = {.name = "interop",
        .url = "tls+tcp://127.0.0.1:0",
        .tls = {.certificate_file = argv[1], .key_file = argv[2]}};
    must(rpc_runtime_new(NULL, &runtime, &status), &status);
    must(rpc_server_new(runtime, &options, &server, &status), &status);
    add_service(server);
    must(rpc_server_listen(server, &listen, &listener, &status), &status);
    must(rpc_server_start(server, &status), &status);
    printf("%s\n", strrchr(rpc_listener_url(listener), ':') + 1);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    rpc_server_stop(server, 10000);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
