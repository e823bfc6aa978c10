/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and deadlines of one method: rpc_server_set_method(). */
#include "fixture.h"

#define UNARY "/rpctest.Echo/Unary"
#define CHAT  "/rpctest.Echo/Chat"

static void expect_text(const char *text, const char *says)
{
    if (!strstr(text, says))
        fail_msg("'%s' does not say '%s'", text, says);
}

TEST(a_unary_method_has_a_limit_of_its_own_on_messages)
{
    fixture f;
    fixture_init(&f);
    f.unary_options.message_receive_bytes_max = 100;
    fixture_start(&f);
    rpc_status status = {0};
    char text[99] = "";
    memset(text, 'x', 98);
    assert_int_equal(fixture_unary(&f, NULL, text, NULL, &status), RPC_OK);
    char longer[100] = "";
    memset(longer, 'x', 99);
    assert_int_equal(fixture_unary(&f, NULL, longer, NULL, &status), RPC_RESOURCE_EXHAUSTED);
    expect_text(status.message, "message_receive_bytes_max of the method of 100");
    fixture_stop(&f);
}

TEST(a_method_may_take_more_than_the_server)
{
    fixture f;
    fixture_init(&f);
    f.limits.message_receive_bytes_max = 100;
    f.chat_options.message_receive_bytes_max = 1 << 20;
    fixture_start(&f);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[1000] = {0};
    item.data = (ProtobufCBinaryData){sizeof data, data};
    client_call c = {0}, upload = {0};
    client_start(&c, &f, CHAT, NULL);
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_start(&upload, &f, "/rpctest.Echo/Upload", NULL);
    assert_int_equal(client_send(&upload, &item), RPC_SENT_OK);
    flag_wait(&upload.ended, 1);
    assert_int_equal(upload.status.code, RPC_RESOURCE_EXHAUSTED);
    expect_text(upload.status.message, "message_receive_bytes_max of 100");
    client_done(&c);
    client_done(&upload);
    fixture_stop(&f);
}

/* The client asks for none and sees the server's. */
static void expect_deadline(const rpc_method_options *options, int64_t timeout_ms, const char *says)
{
    fixture f;
    fixture_init(&f);
    f.unary_options = f.chat_options = *options;
    fixture_start(&f);
    rpc_status status = {0};
    rpc_call_options call = {.timeout_ms = timeout_ms};
    assert_int_equal(fixture_unary(&f, &call, "never", NULL, &status), RPC_DEADLINE_EXCEEDED);
    expect_text(status.message, says);
    client_call c = {0};
    client_start(&c, &f, CHAT, &call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_DEADLINE_EXCEEDED);
    expect_text(c.status.message, says);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_method_has_a_deadline_where_the_client_asks_for_none)
{
    rpc_method_options options = {.deadline_default_ms = 50};
    expect_deadline(&options, 0, "deadline_default_ms of this method is 50");
}

TEST(the_longest_deadline_holds_where_the_client_asks_for_more)
{
    rpc_method_options options = {.deadline_default_ms = 100000, .deadline_max_ms = 50};
    expect_deadline(&options, 100000, "deadline_max_ms of this method is 50");
}

TEST(the_longest_deadline_holds_where_the_client_asks_for_none)
{
    rpc_method_options options = {.deadline_max_ms = 50};
    expect_deadline(&options, 0, "deadline_max_ms of this method is 50");
}

TEST(a_client_may_ask_for_more_than_the_default)
{
    fixture f;
    fixture_init(&f);
    f.unary_options.deadline_default_ms = 1;
    fixture_start(&f);
    rpc_status status = {0};
    rpc_call_options options = {.timeout_ms = 60000};
    assert_int_equal(fixture_unary(&f, &options, "thread", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

TEST(options_of_methods_are_checked)
{
    fixture f;
    fixture_init(&f);
    rpc_server *server = NULL;
    rpc_status status = {0};
    rpc_server_options none = {.limits = rpc_limits_default()};
    rpc_method_options options = {0};
    assert_int_equal(rpc_server_new(f.runtime, &none, &server, &status), RPC_OK);
    assert_int_equal(rpc_server_set_method(server, "/a.B/C", &options, &status), RPC_NOT_FOUND);
    rpc_server_free(server);
    fixture_start(&f);
    assert_int_equal(
        rpc_server_set_method(f.server, UNARY, &options, &status), RPC_FAILED_PRECONDITION);
    fixture_stop(&f);
}

static void expect_invalid(rpc_server *server, rpc_method_options options, const char *says)
{
    rpc_status status = {0};
    assert_int_equal(
        rpc_server_set_method(server, "/grpc.health.v1.Health/Check", &options, &status),
        RPC_INVALID_ARGUMENT);
    expect_text(status.message, says);
}

TEST(what_a_method_cannot_have_is_refused_by_name)
{
    fixture f;
    fixture_init(&f);
    rpc_server *server = NULL;
    rpc_status status = {0};
    rpc_server_options none = {.limits = rpc_limits_default()};
    assert_int_equal(rpc_server_new(f.runtime, &none, &server, &status), RPC_OK);
    assert_int_equal(rpc_server_add_health(server, &status), RPC_OK);
    expect_invalid(server, (rpc_method_options){.deadline_max_ms = -1}, "deadline_max_ms");
    expect_invalid(server, (rpc_method_options){.deadline_max_ms = INT64_MAX}, "deadline_max_ms");
    expect_invalid(server, (rpc_method_options){.deadline_default_ms = -1}, "deadline_default_ms");
    expect_invalid(server, (rpc_method_options){.stream_receive_ms = -1}, "stream_receive_ms");
    expect_invalid(server,
        (rpc_method_options){.message_receive_bytes_max = (size_t)UINT32_MAX + 1},
        "message_receive_bytes_max");
    rpc_server_free(server);
    fixture_stop(&f);
}
