/* SPDX-License-Identifier: Apache-2.0 */
/* Cases that are one request and one reply. */
#include "client.h"

#include <string.h>

typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__SimpleResponse simple_response;

static const char unary_path[] = TEST_SERVICE "UnaryCall";

/* The large request; payload lives as long as the request. */
static simple_request large_request(Grpc__Testing__Payload *payload)
{
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    *payload = payload_of(LARGE_REQUEST_BYTES);
    request.response_size = LARGE_RESPONSE_BYTES;
    request.payload = payload;
    return request;
}

static rpc_code unary(rpc_channel *channel, const char *path, const rpc_call_options *options,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena,
    ProtobufCMessage **ret, rpc_status *reterr)
{
    rpc_call_options chosen = {0};
    if (options)
        chosen = *options;
    chosen.timeout_ms = TALK_TIMEOUT_MS;
    return rpc_channel_unary(channel, path, &chosen, request, descriptor, arena, ret, reterr);
}

static void large_unary(rpc_channel *channel)
{
    Grpc__Testing__Payload payload;
    simple_request request = large_request(&payload);
    rpc_arena *arena = new_arena();
    ProtobufCMessage *reply = NULL;
    rpc_status status;
    must(unary(channel, unary_path, NULL, &request.base,
             &grpc__testing__simple_response__descriptor, arena, &reply, &status) == RPC_OK,
        "UnaryCall: %s: %s", rpc_code_name(status.code), status.message);
    check_payload(((const simple_response *)reply)->payload, LARGE_RESPONSE_BYTES);
    rpc_arena_free(arena);
}

void case_empty_unary(client *c)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    rpc_arena *arena = new_arena();
    ProtobufCMessage *reply = NULL;
    rpc_status status;
    must(unary(c->channel, TEST_SERVICE "EmptyCall", NULL, &request.base,
             &grpc__testing__empty__descriptor, arena, &reply, &status) == RPC_OK,
        "EmptyCall: %s: %s", rpc_code_name(status.code), status.message);
    must(reply->unknown_fields == NULL, "the reply is not empty");
    rpc_arena_free(arena);
}

void case_large_unary(client *c)
{
    large_unary(c->channel);
}

static void check_echoes(const talk *t)
{
    must(strcmp(t->initial, "test_initial_metadata_value") == 0, "initial metadata is '%s'",
        t->initial);
    must(t->trailing_size == 3 && memcmp(t->trailing, "\xab\xab\xab", 3) == 0,
        "trailing metadata is not ab ab ab but has %zu bytes", t->trailing_size);
}

void case_custom_metadata(client *c)
{
    const rpc_metadatum metadata[] = {
        {"x-grpc-test-echo-initial", rpc_bytes_str("test_initial_metadata_value"), false},
        {"x-grpc-test-echo-trailing-bin", rpc_bytes_of("\xab\xab\xab", 3), false}};
    const rpc_call_options options = {.metadata = metadata, .metadata_count = 2};
    Grpc__Testing__Payload payload;
    simple_request request = large_request(&payload);
    rpc_arena *arena = new_arena();
    talk t;
    talk_start(&t, c->channel, unary_path, &options);
    talk_send(&t, &request.base);
    talk_half_close(&t);
    const simple_response *reply = (simple_response *)talk_receive(
        &t, &grpc__testing__simple_response__descriptor, arena, NULL);
    must(reply != NULL, "no reply: %s", t.status.message);
    check_payload(reply->payload, LARGE_RESPONSE_BYTES);
    talk_end(&t, RPC_OK);
    check_echoes(&t);
    rpc_arena_reset(arena);

    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *list[] = {&parameters};
    Grpc__Testing__StreamingOutputCallRequest stream =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    parameters.size = LARGE_RESPONSE_BYTES;
    stream.payload = &payload;
    stream.n_response_parameters = 1;
    stream.response_parameters = list;
    talk_start(&t, c->channel, TEST_SERVICE "FullDuplexCall", &options);
    talk_send(&t, &stream.base);
    talk_half_close(&t);
    const Grpc__Testing__StreamingOutputCallResponse *streamed =
        (Grpc__Testing__StreamingOutputCallResponse *)talk_receive(
            &t, &grpc__testing__streaming_output_call_response__descriptor, arena, NULL);
    must(streamed != NULL, "no response: %s", t.status.message);
    check_payload(streamed->payload, LARGE_RESPONSE_BYTES);
    talk_end(&t, RPC_OK);
    check_echoes(&t);
    rpc_arena_free(arena);
}

/* ---- statuses ------------------------------------------------------------------------------ */

static void unary_fails(client *c, const char *path, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, rpc_code expected, const char *message)
{
    rpc_arena *arena = new_arena();
    ProtobufCMessage *reply = NULL;
    rpc_status status;
    rpc_code code = unary(c->channel, path, NULL, request, descriptor, arena, &reply, &status);
    must(code == expected, "%s instead of %s", rpc_code_name(code), rpc_code_name(expected));
    if (message)
        must(strcmp(status.message, message) == 0, "the message is '%s'", status.message);
    rpc_arena_free(arena);
}

static void unary_echoes_status(client *c, char *message)
{
    Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    echo.code = RPC_UNKNOWN;
    echo.message = message;
    request.response_status = &echo;
    unary_fails(c, unary_path, &request.base, &grpc__testing__simple_response__descriptor,
        RPC_UNKNOWN, message);
}

void case_status_code_and_message(client *c)
{
    char message[] = "test status message";
    unary_echoes_status(c, message);

    Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    echo.code = RPC_UNKNOWN;
    echo.message = message;
    request.response_status = &echo;
    talk t;
    talk_start(&t, c->channel, TEST_SERVICE "FullDuplexCall", NULL);
    talk_send(&t, &request.base);
    talk_half_close(&t);
    talk_end(&t, RPC_UNKNOWN);
    must(strcmp(t.status.message, message) == 0, "the message is '%s'", t.status.message);
}

void case_special_status_message(client *c)
{
    char message[] = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP "
                     "\xf0\x9f\x98\x88\t\n";
    unary_echoes_status(c, message);
}

void case_unimplemented_method(client *c)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    unary_fails(c, TEST_SERVICE "UnimplementedCall", &request.base,
        &grpc__testing__empty__descriptor, RPC_UNIMPLEMENTED, NULL);
}

void case_unimplemented_service(client *c)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    unary_fails(c, "/grpc.testing.UnimplementedService/UnimplementedCall", &request.base,
        &grpc__testing__empty__descriptor, RPC_UNIMPLEMENTED, NULL);
}

/* ---- credentials of one call ---------------------------------------------------------------- */

static void who_am_i(client *c, const char *bearer, const char *user, const char *scope)
{
    const rpc_metadatum metadata = {"authorization", rpc_bytes_str(bearer), true};
    const rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.fill_username = request.fill_oauth_scope = true;
    rpc_arena *arena = new_arena();
    ProtobufCMessage *message = NULL;
    rpc_status status;
    must(unary(c->channel, unary_path, &options, &request.base,
             &grpc__testing__simple_response__descriptor, arena, &message, &status) == RPC_OK,
        "UnaryCall: %s: %s", rpc_code_name(status.code), status.message);
    const simple_response *reply = (const simple_response *)message;
    must(strcmp(reply->username, user) == 0, "the username is '%s'", reply->username);
    must(strcmp(reply->oauth_scope, scope) == 0, "the scope is '%s'", reply->oauth_scope);
    rpc_arena_free(arena);
}

void case_per_rpc_creds(client *c)
{
    who_am_i(c, "Bearer interop/one/scope-one", "one", "scope-one");
    who_am_i(c, "Bearer interop/two/scope-two", "two", "scope-two");
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.fill_username = true;
    unary_fails(c, unary_path, &request.base, &grpc__testing__simple_response__descriptor,
        RPC_UNAUTHENTICATED, NULL);
}

/* ---- compression ------------------------------------------------------------------------------
 */

static void large_compressed(client *c, const simple_request *request, rpc_encoding encoding,
    rpc_code expected, bool *ret_compressed)
{
    const rpc_call_options options = {.encoding = encoding};
    rpc_arena *arena = new_arena();
    talk t;
    talk_start(&t, c->channel, unary_path, &options);
    talk_send(&t, &request->base);
    talk_half_close(&t);
    const simple_response *reply = (simple_response *)talk_receive(
        &t, &grpc__testing__simple_response__descriptor, arena, ret_compressed);
    if (reply)
        check_payload(reply->payload, LARGE_RESPONSE_BYTES);
    must((reply != NULL) == (expected == RPC_OK), "%s reply", reply ? "a" : "no");
    talk_end(&t, expected);
    rpc_arena_free(arena);
}

void case_client_compressed_unary(client *c)
{
    Grpc__Testing__Payload payload;
    Grpc__Testing__BoolValue expected = GRPC__TESTING__BOOL_VALUE__INIT;
    simple_request request = large_request(&payload);
    request.expect_compressed = &expected;
    expected.value = true;
    if (!c->no_probe)
        large_compressed(c, &request, RPC_ENCODING_IDENTITY, RPC_INVALID_ARGUMENT, NULL);
    large_compressed(c, &request, RPC_ENCODING_GZIP, RPC_OK, NULL);
    expected.value = false;
    large_compressed(c, &request, RPC_ENCODING_IDENTITY, RPC_OK, NULL);
}

void case_server_compressed_unary(client *c)
{
    Grpc__Testing__Payload payload;
    Grpc__Testing__BoolValue wanted = GRPC__TESTING__BOOL_VALUE__INIT;
    simple_request request = large_request(&payload);
    request.response_compressed = &wanted;
    for (int i = 1; i >= 0; i--) {
        bool compressed = !i;
        wanted.value = i;
        large_compressed(c, &request, RPC_ENCODING_IDENTITY, RPC_OK, &compressed);
        must(compressed == (bool)i, "the reply came %scompressed", compressed ? "" : "un");
    }
}

/* ---- many -------------------------------------------------------------------------------------
 */

void case_rpc_soak(client *c)
{
    for (unsigned i = 0; i < c->soak_iterations; i++)
        large_unary(c->channel);
}

void case_channel_soak(client *c)
{
    for (unsigned i = 0; i < c->soak_iterations; i++) {
        rpc_channel *channel = NULL;
        rpc_status status;
        must(rpc_channel_new(c->runtime, c->channel_options, &channel, &status) == RPC_OK,
            "channel: %s", status.message);
        large_unary(channel);
        rpc_channel_free(channel);
    }
}
