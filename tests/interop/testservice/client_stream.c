/* SPDX-License-Identifier: Apache-2.0 */
/* Cases with streams. */
#include "client.h"

typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingOutputCallResponse output_response;

static const char duplex_path[] = TEST_SERVICE "FullDuplexCall";
static const char input_path[] = TEST_SERVICE "StreamingInputCall";

static void receive_payload(talk *t, size_t size, bool *ret_compressed)
{
    rpc_arena *arena = new_arena();
    const output_response *response = (output_response *)talk_receive(
        t, &grpc__testing__streaming_output_call_response__descriptor, arena, ret_compressed);
    must(response != NULL, "the call ended with %s (%s) before a response of %zu bytes",
        rpc_code_name(t->status.code), t->status.message, size);
    check_payload(response->payload, size);
    rpc_arena_free(arena);
}

static void nothing_more(talk *t)
{
    rpc_arena *arena = new_arena();
    must(!talk_receive(t, &grpc__testing__streaming_output_call_response__descriptor, arena, NULL),
        "a response more than asked for");
    rpc_arena_free(arena);
}

/* ---- client streaming -------------------------------------------------------------------------
 */

static void send_input(talk *t, size_t size, Grpc__Testing__BoolValue *expect_compressed)
{
    Grpc__Testing__StreamingInputCallRequest request =
        GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(size);
    request.payload = &payload;
    request.expect_compressed = expect_compressed;
    talk_send(t, &request.base);
}

static void receive_sum(talk *t, int32_t sum)
{
    rpc_arena *arena = new_arena();
    const Grpc__Testing__StreamingInputCallResponse *response =
        (Grpc__Testing__StreamingInputCallResponse *)talk_receive(
            t, &grpc__testing__streaming_input_call_response__descriptor, arena, NULL);
    must(response != NULL, "no response");
    must(response->aggregated_payload_size == sum, "the sum is %d instead of %d",
        response->aggregated_payload_size, sum);
    rpc_arena_free(arena);
}

void case_client_streaming(client *c)
{
    static const size_t sizes[] = {27182, 8, 1828, 45904};
    talk t;
    talk_start(&t, c->channel, input_path, NULL);
    for (size_t i = 0; i < 4; i++)
        send_input(&t, sizes[i], NULL);
    talk_half_close(&t);
    receive_sum(&t, 74922);
    talk_end(&t, RPC_OK);
}

/* Says that what it sends is compressed. */
static void probe(client *c, Grpc__Testing__BoolValue *yes)
{
    talk t;
    talk_start(&t, c->channel, input_path, NULL);
    send_input(&t, 27182, yes);
    talk_half_close(&t);
    talk_end(&t, RPC_INVALID_ARGUMENT);
}

void case_client_compressed_streaming(client *c)
{
    Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
    Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;
    const rpc_call_options options = {.encoding = RPC_ENCODING_GZIP};
    yes.value = true;
    if (!c->no_probe)
        probe(c, &yes);
    talk t;
    talk_start(&t, c->channel, input_path, &options);
    send_input(&t, 27182, &yes);
    rpc_call_compress_messages(t.call, false);
    send_input(&t, 45904, &no);
    talk_half_close(&t);
    receive_sum(&t, 73086);
    talk_end(&t, RPC_OK);
}

/* The case is about the server, so there is a connection before it begins. */
static void connect_first(client *c)
{
    case_empty_unary(c);
}

void case_cancel_after_begin(client *c)
{
    talk t;
    connect_first(c);
    talk_start(&t, c->channel, input_path, NULL);
    talk_cancel(&t);
    talk_end(&t, RPC_CANCELLED);
}

/* ---- server streaming -------------------------------------------------------------------------
 */

void case_server_streaming(client *c)
{
    static const int32_t sizes[] = {31415, 9, 2653, 58979};
    Grpc__Testing__ResponseParameters parameters[4], *list[4];
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    for (size_t i = 0; i < 4; i++) {
        grpc__testing__response_parameters__init(&parameters[i]);
        parameters[i].size = sizes[i];
        list[i] = &parameters[i];
    }
    request.n_response_parameters = 4;
    request.response_parameters = list;
    talk t;
    talk_start(&t, c->channel, TEST_SERVICE "StreamingOutputCall", NULL);
    talk_send(&t, &request.base);
    talk_half_close(&t);
    for (size_t i = 0; i < 4; i++)
        receive_payload(&t, (size_t)sizes[i], NULL);
    nothing_more(&t);
    talk_end(&t, RPC_OK);
}

void case_server_compressed_streaming(client *c)
{
    static const int32_t sizes[] = {31415, 92653};
    Grpc__Testing__BoolValue wanted[2];
    Grpc__Testing__ResponseParameters parameters[2], *list[2];
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    for (size_t i = 0; i < 2; i++) {
        grpc__testing__bool_value__init(&wanted[i]);
        grpc__testing__response_parameters__init(&parameters[i]);
        wanted[i].value = i == 0;
        parameters[i].size = sizes[i];
        parameters[i].compressed = &wanted[i];
        list[i] = &parameters[i];
    }
    request.n_response_parameters = 2;
    request.response_parameters = list;
    talk t;
    talk_start(&t, c->channel, TEST_SERVICE "StreamingOutputCall", NULL);
    talk_send(&t, &request.base);
    talk_half_close(&t);
    for (size_t i = 0; i < 2; i++) {
        bool compressed = i != 0;
        receive_payload(&t, (size_t)sizes[i], &compressed);
        must(compressed == (i == 0), "response %zu came %scompressed", i, compressed ? "" : "un");
    }
    nothing_more(&t);
    talk_end(&t, RPC_OK);
}

/* ---- both ---------------------------------------------------------------------------------------
 */

static void ask_after(talk *t, int32_t interval_us, int32_t response_size, size_t payload_size)
{
    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *list[] = {&parameters};
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(payload_size);
    parameters.size = response_size;
    parameters.interval_us = interval_us;
    request.n_response_parameters = 1;
    request.response_parameters = list;
    request.payload = &payload;
    talk_send(t, &request.base);
}

static void ask(talk *t, int32_t response_size, size_t payload_size)
{
    ask_after(t, 0, response_size, payload_size);
}

static const struct {
    int32_t response;
    size_t payload;
} rounds[] = {{31415, 27182}, {9, 8}, {2653, 1828}, {58979, 45904}};

void case_half_duplex(client *c)
{
    talk t;
    talk_start(&t, c->channel, TEST_SERVICE "HalfDuplexCall", NULL);
    for (size_t i = 0; i < 4; i++)
        ask_after(&t, 1000, rounds[i].response, rounds[i].payload);
    talk_half_close(&t);
    for (size_t i = 0; i < 4; i++)
        receive_payload(&t, (size_t)rounds[i].response, NULL);
    nothing_more(&t);
    talk_end(&t, RPC_OK);
}

void case_ping_pong(client *c)
{
    talk t;
    talk_start(&t, c->channel, duplex_path, NULL);
    for (size_t i = 0; i < 4; i++) {
        ask(&t, rounds[i].response, rounds[i].payload);
        receive_payload(&t, (size_t)rounds[i].response, NULL);
    }
    talk_half_close(&t);
    nothing_more(&t);
    talk_end(&t, RPC_OK);
}

void case_empty_stream(client *c)
{
    talk t;
    talk_start(&t, c->channel, duplex_path, NULL);
    talk_half_close(&t);
    nothing_more(&t);
    talk_end(&t, RPC_OK);
}

void case_cancel_after_first_response(client *c)
{
    talk t;
    talk_start(&t, c->channel, duplex_path, NULL);
    ask(&t, 31415, 27182);
    receive_payload(&t, 31415, NULL);
    talk_cancel(&t);
    talk_end(&t, RPC_CANCELLED);
}

void case_timeout_on_sleeping_server(client *c)
{
    const rpc_call_options options = {.timeout_ms = 1};
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(27182);
    request.payload = &payload;
    talk t;
    connect_first(c);
    talk_start(&t, c->channel, duplex_path, &options);
    talk_send(&t, &request.base); /* asks for nothing: the server waits for more */
    talk_end(&t, RPC_DEADLINE_EXCEEDED);
}
