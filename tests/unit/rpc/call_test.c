/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

TEST(a_unary_call_is_answered)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    char *text = NULL;
    if (fixture_unary(&f, NULL, "hello", &text, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_string_equal(text, "hello");
    free(text);
    fixture_stop(&f);
}

TEST(an_error_keeps_its_code_and_its_message_in_any_script)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "fail", NULL, &status), RPC_NOT_FOUND);
    assert_string_equal(status.message, "100 % n\xc3\xb8 such\nthing");
    assert_int_equal(fixture_unary(&f, NULL, "fine", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

static rpc_code call_path(fixture *f, const char *path, rpc_status *ret_status)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *reply;
    rpc_code code = rpc_channel_unary(
        f->channel, path, NULL, &item.base, &rpctest__item__descriptor, arena, &reply, ret_status);
    rpc_arena_free(arena);
    return code;
}

TEST(an_unknown_method_or_service_is_unimplemented_by_name)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(call_path(&f, "/rpctest.Echo/Nothing", &status), RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "/rpctest.Echo/Nothing"));
    assert_int_equal(call_path(&f, "/rpctest.Other/Unary", &status), RPC_UNIMPLEMENTED);
    assert_int_equal(call_path(&f, "nonsense", &status), RPC_INVALID_ARGUMENT);
    fixture_stop(&f);
}

TEST(a_method_whose_function_is_null_is_unimplemented)
{
    fixture f;
    fixture_init(&f);
    f.with_other = true;
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(call_path(&f, "/rpctest.Other/Unary", &status), RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "/rpctest.Other/Unary"));
    assert_int_equal(call_path(&f, "/rpctest.Echo/Unary", &status), RPC_OK);
    fixture_stop(&f);
}

TEST(a_reply_may_come_from_any_thread)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    for (int i = 0; i < 50; i++) {
        char *text = NULL;
        assert_int_equal(fixture_unary(&f, NULL, "thread", &text, &status), RPC_OK);
        assert_string_equal(text, "from a thread");
        free(text);
    }
    fixture_stop(&f);
}

TEST(a_deadline_ends_the_call_on_both_sides)
{
    fixture f;
    fixture_init(&f);
    f.limits.write_progress_ms = f.client_limits.write_progress_ms = 3600000;
    fixture_start(&f);
    rpc_call_options options = {.timeout_ms = 60000};
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Unary", &options);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "never";
    item.text = text;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&f.started, 1);
    fixture_skip(&f, 60001);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_DEADLINE_EXCEEDED);
    flag_wait(&f.cancelled, 1);
    assert_true(rpc_call_cancelled(f.held));
    client_done(&c);
    fixture_stop(&f);
}

TEST(metadata_goes_both_ways_in_text_and_in_binary)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    static const uint8_t binary[] = {0, 255, 1, 254};
    rpc_metadatum metadata[] = {{"x-echo", rpc_bytes_str("hi there"), false},
        {"x-echo-bin", rpc_bytes_of(binary, sizeof binary), true}};
    rpc_call_options options = {.metadata = metadata, .metadata_count = 2};
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Unary", &options);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_string_equal(c.header, "hi there");
    assert_string_equal(c.trailer, "hi there");
    rpc_bytes value;
    assert_true(rpc_call_metadata(c.call, "x-echo-bin", &value));
    assert_true(rpc_bytes_equal(value, rpc_bytes_of(binary, sizeof binary)));
    assert_true(rpc_call_trailer(c.call, "x-tail-bin", &value));
    assert_true(rpc_bytes_equal(value, rpc_bytes_of(binary, sizeof binary)));
    client_done(&c);
    fixture_stop(&f);
}

TEST(metadata_that_grpc_forbids_is_refused_before_anything_is_sent)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    static const char *const names[] = {"", "Upper", "grpc-status", ":path", "te", "a b", "host"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        rpc_metadatum metadata = {names[i], rpc_bytes_str("x"), false};
        rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
        rpc_status status = {0};
        assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_INVALID_ARGUMENT);
    }
    assert_int_equal(flag_count(&f.started), 0);
    fixture_stop(&f);
}

TEST(a_verified_certificate_is_visible_in_the_handler)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    assert_true(f.peer_certificate);
    assert_string_equal(f.peer_uri, "https://sims.example");
    fixture_stop(&f);
}

TEST(without_a_certificate_the_peer_has_no_names)
{
    fixture f;
    fixture_init(&f);
    f.no_client_cert = true;
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    assert_false(f.peer_certificate);
    assert_string_equal(f.peer_uri, "");
    fixture_stop(&f);
}

TEST(an_object_is_remembered_for_an_indexed_header_and_not_for_another_value)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    static const char *const tokens[] = {"token-one", "token-one", "token-two", "token-one"};
    static const char *const expected[] = {"new", "old", "new", "old"};
    for (size_t i = 0; i < 4; i++) {
        rpc_metadatum metadata = {"dacm-token", rpc_bytes_str(tokens[i]), false};
        rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
        rpc_status status = {0};
        char *text = NULL;
        assert_int_equal(fixture_unary(&f, &options, "object", &text, &status), RPC_OK);
        assert_string_equal(text, expected[i]);
        free(text);
    }
    fixture_stop(&f);
}

TEST(plain_text_works_on_loopback_when_allowed)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

TEST(a_request_over_the_servers_limit_is_refused_with_limit_size_and_setting)
{
    fixture f;
    fixture_init(&f);
    f.limits.message_receive_bytes_max = 1000;
    fixture_start(&f);
    rpc_status status = {0};
    char text[1100];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(fixture_unary(&f, NULL, text, NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "message_receive_bytes_max of 1000"));
    assert_int_equal(flag_count(&f.started), 0);
    assert_int_equal(fixture_unary(&f, NULL, "small", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

TEST(a_reply_over_the_clients_limit_ends_that_call_only)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    rpc_call_options options = {.message_receive_bytes_max = 4};
    assert_int_equal(fixture_unary(&f, &options, "long", NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(fixture_unary(&f, NULL, "long", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

TEST(headers_over_the_limit_are_refused_and_the_connection_lives)
{
    fixture f;
    fixture_init(&f);
    f.limits.header_list_bytes_max = 4096;
    fixture_start(&f);
    char value[6000];
    memset(value, 'v', sizeof value);
    rpc_metadatum metadata = {"x-large", rpc_bytes_of(value, sizeof value), false};
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "header_list_bytes_max"));
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    fixture_stop(&f);
}

/* ---- stubs --------------------------------------------------------------------------------------
 */

typedef struct stub_result {
    flag done;
    rpc_stub *stub;
    rpc_code code;
    char text[64];
} stub_result;

static void stub_reply(const Rpctest__Item *reply, void *data)
{
    stub_result *result = data;
    result->code = reply ? RPC_OK : rpc_stub_status(result->stub)->code;
    if (reply)
        snprintf(result->text, sizeof result->text, "%s", reply->text);
    flag_raise(&result->done);
}

TEST(a_stub_is_called_by_the_generated_functions)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status;
    stub_result result = {0};
    flag_init(&result.done);
    assert_int_equal(
        rpc_stub_new(f.channel, &rpctest__echo__descriptor, NULL, &result.stub, &status), RPC_OK);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char hello[] = "hello", fail[] = "fail";
    item.text = hello;
    rpctest__echo__unary(rpc_stub_service(result.stub), &item, stub_reply, &result);
    flag_wait(&result.done, 1);
    assert_int_equal(result.code, RPC_OK);
    assert_string_equal(result.text, "hello");
    item.text = fail;
    rpctest__echo__unary(rpc_stub_service(result.stub), &item, stub_reply, &result);
    flag_wait(&result.done, 2);
    assert_int_equal(result.code, RPC_NOT_FOUND);
    rpc_stub_free(result.stub);
    fixture_stop(&f);
}
