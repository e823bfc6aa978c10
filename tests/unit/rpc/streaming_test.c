/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdatomic.h>

#define CHUNK (64u << 10)

static void ask_download(client_call *c, fixture *f, uint64_t count, size_t size)
{
    client_start(c, f, "/rpctest.Echo/Download", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.size = count;
    item.data.data = calloc(1, size);
    item.data.len = size;
    assert_int_equal(client_send(c, &item), RPC_SENT_OK);
    free(item.data.data);
    rpc_call_half_close(c->call);
}

TEST(a_download_arrives_whole_and_every_body_is_released_once)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    ask_download(&c, &f, 500, CHUNK);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(flag_count(&c.messages), 500);
    assert_int_equal(c.bytes, 500 * (CHUNK + 4));
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_OK);
    assert_int_equal(flag_count(&f.released), 500);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_slow_reader_holds_the_producer_and_then_gets_everything)
{
    fixture f;
    fixture_init(&f);
    f.client_limits.stream_window_bytes = 256 << 10;
    fixture_start(&f);
    client_call c = {.hold = true};
    ask_download(&c, &f, 400, CHUNK);
    flag_wait(&c.messages, 3);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "beside", NULL, &status), RPC_OK);
    /* The window, the queue and both output buffers: never the 25 MiB. */
    assert_true(atomic_load((_Atomic size_t *)&f.download_sent) <= (2u << 20));
    client_release(&c);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(flag_count(&c.messages), 400);
    assert_int_equal(flag_count(&f.released), 400);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_body_that_comes_later_is_resumed)
{
    fixture f;
    fixture_init(&f);
    f.body_later = 3;
    fixture_start(&f);
    client_call c = {0};
    ask_download(&c, &f, 2, CHUNK);
    for (unsigned i = 1; i <= 3; i++) {
        flag_wait(&f.later, i);
        rpc_call_resume(f.held);
    }
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(flag_count(&c.messages), 2);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_cancel_by_the_client_ends_the_handler_and_releases_its_bodies_once)
{
    fixture f;
    fixture_init(&f);
    f.body_later = 1000;
    fixture_start(&f);
    client_call c = {0};
    ask_download(&c, &f, 2, CHUNK);
    flag_wait(&f.later, 1);
    rpc_call_cancel(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_CANCELLED);
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_CANCELLED);
    assert_int_equal(flag_count(&f.released), 2);
    assert_int_equal(rpc_call_send(f.held, rpc_bytes_str("x"), NULL), RPC_SENT_OVER);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_cancel_by_the_server_is_seen_by_the_client)
{
    fixture f;
    fixture_init(&f);
    f.body_later = 1000;
    fixture_start(&f);
    client_call c = {0};
    ask_download(&c, &f, 1, CHUNK);
    flag_wait(&f.later, 1);
    rpc_call_cancel(f.held);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_CANCELLED);
    flag_wait(&f.released, 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_cancel_after_an_error_tells_that_error_through_a_closed_window)
{
    fixture f;
    fixture_init(&f);
    f.client_limits.stream_window_bytes = 256 << 10;
    fixture_start(&f);
    client_call c = {.hold = true};
    ask_download(&c, &f, 400, CHUNK);
    flag_wait(&c.messages, 3); /* the fourth is half there when the window closes */
    rpc_call_finish(f.held, RPC_PERMISSION_DENIED, "no more");
    rpc_call_cancel(f.held);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_PERMISSION_DENIED);
    assert_string_equal(c.status.message, "no more");
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_PERMISSION_DENIED);
    assert_true(flag_count(&c.messages) < 400);
    client_release(&c);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "after", NULL, &status), RPC_OK);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_deadline_ends_a_stream_and_releases_what_was_queued)
{
    fixture f;
    fixture_init(&f);
    f.body_later = 1000;
    fixture_start(&f);
    rpc_call_options options = {.timeout_ms = 100};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t byte = 1;
    item.size = 1;
    item.data = (ProtobufCBinaryData){1, &byte};
    do { /* longer until the request is at the server before the deadline passes */
        client_call c = {0};
        client_start(&c, &f, "/rpctest.Echo/Download", &options);
        assert_int_not_equal(client_send(&c, &item), RPC_SENT_BUSY); /* it may be over already */
        rpc_call_half_close(c.call);
        flag_wait(&c.ended, 1);
        assert_int_equal(c.status.code, RPC_DEADLINE_EXCEEDED);
        client_done(&c);
        options.timeout_ms *= 2;
    } while (flag_count(&f.started) == 0);
    flag_wait(&f.released, 1);
    flag_wait(&f.server_ended, 1);
    fixture_stop(&f);
}

/* A handler may keep a message for the length of the call: larger ones still arrive. */
TEST(a_message_larger_than_the_window_arrives_while_a_small_one_is_held)
{
    fixture f;
    fixture_init(&f);
    f.client_limits.stream_window_bytes = 64 << 10;
    fixture_start(&f);
    client_call c = {.hold = true};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 1);
    item.data.len = 1 << 20;
    item.data.data = calloc(1, item.data.len);
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 2);
    rpc_call_half_close(c.call);
    client_release(&c);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    free(item.data.data);
    client_done(&c);
    fixture_stop(&f);
}

TEST(an_upload_of_64_mib_is_counted_whole)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {.hold = true};
    client_start(&c, &f, "/rpctest.Echo/Upload", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.data.len = 256 << 10;
    item.data.data = calloc(1, item.data.len);
    for (int i = 0; i < 256; i++)
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    free(item.data.data);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    ProtobufCMessage *reply;
    rpc_status status = {0};
    assert_int_equal(
        rpc_message_unpack(c.held[0], &rpctest__item__descriptor, &reply, &status), RPC_OK);
    assert_int_equal(((Rpctest__Item *)reply)->size, 64u << 20);
    client_release(&c);
    client_done(&c);
    fixture_stop(&f);
}

TEST(both_sides_may_talk_at_once)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[1000] = {0};
    item.data = (ProtobufCBinaryData){sizeof data, data};
    for (unsigned i = 1; i <= 200; i++) {
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
        flag_wait(&c.messages, i);
    }
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_hundred_streams_run_beside_each_other)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    static client_call calls[100];
    memset(calls, 0, sizeof calls);
    for (size_t i = 0; i < 100; i++)
        ask_download(&calls[i], &f, 20, 5000);
    for (size_t i = 0; i < 100; i++) {
        flag_wait(&calls[i].ended, 1);
        assert_int_equal(calls[i].status.code, RPC_OK);
        assert_int_equal(flag_count(&calls[i].messages), 20);
        client_done(&calls[i]);
    }
    fixture_stop(&f);
}

TEST(more_calls_than_the_server_allows_streams_wait_and_are_served)
{
    fixture f;
    fixture_init(&f);
    f.limits.streams_max = 2;
    fixture_start(&f);
    static client_call calls[20];
    memset(calls, 0, sizeof calls);
    for (size_t i = 0; i < 20; i++)
        ask_download(&calls[i], &f, 2, 5000);
    for (size_t i = 0; i < 20; i++) {
        flag_wait(&calls[i].ended, 1);
        assert_int_equal(calls[i].status.code, RPC_OK);
        client_done(&calls[i]);
    }
    fixture_stop(&f);
}
