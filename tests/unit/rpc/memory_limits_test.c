/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of memory, of a message, a call, a connection and the server: what the peer sees, that
 * it is counted by its name, and that what was charged is given back. */
#include "raw.h"

#include <sched.h>
#include <unistd.h>

static rpc_code unary_of(fixture *f, size_t bytes, rpc_status *reterr)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.data = (ProtobufCBinaryData){bytes, calloc(1, bytes + 1)};
    rpc_arena *arena = rpc_arena_new(64 << 20);
    ProtobufCMessage *reply = NULL;
    rpc_code code = rpc_channel_unary(f->channel, "/rpctest.Echo/Unary", NULL, &item.base,
        &rpctest__item__descriptor, arena, &reply, reterr);
    rpc_arena_free(arena);
    free(item.data.data);
    return code;
}

static void refuse_large(fixture *f, size_t bytes, rpc_limit_kind kind, const char *word)
{
    fixture_start(f);
    rpc_status status = {0};
    assert_int_equal(unary_of(f, bytes, &status), RPC_RESOURCE_EXHAUSTED);
    if (!strstr(status.message, word))
        fail_msg("'%s' does not name %s", status.message, word);
    fixture_wait_limit(f, kind, 1);
    assert_int_equal(flag_count(&f->started), 0);
    raw_still_serves(f);
    assert_int_equal(flag_count(&f->events[RPC_EVENT_ACCEPTED]), 1);
    fixture_stop(f);
}

TEST(a_message_over_message_receive_bytes_max_is_refused)
{
    fixture f;
    fixture_init(&f);
    f.limits.message_receive_bytes_max = 100000;
    refuse_large(&f, 100001, RPC_LIMIT_MESSAGE, "message_receive_bytes_max");
}

TEST(a_message_that_unpacks_to_more_than_call_memory_bytes_max_is_refused)
{
    fixture f;
    fixture_init(&f);
    f.limits.call_memory_bytes_max = 65536;
    refuse_large(&f, 100000, RPC_LIMIT_CALL_MEMORY, "memory budget");
}

TEST(more_than_connection_request_bytes_max_waiting_is_refused)
{
    fixture f;
    fixture_init(&f);
    f.limits.connection_request_bytes_max = 500000;
    refuse_large(&f, 500001, RPC_LIMIT_CONNECTION_MEMORY, "connection_request_bytes_max");
}

/* They fit the window a thousand times over, and are not free. */
TEST(empty_messages_that_wait_count_for_what_they_cost)
{
    fixture f;
    raw_init(&f);
    f.keep = true;
    f.limits.connection_request_bytes_max = 100000;
    fixture_start(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Upload", "application/grpc", 0);
    static const uint8_t empty[10000]; /* prefixes of 2,000 messages without a byte */
    raw_frame(w, sizeof empty, 0, 0, 1, empty);
    int fd = raw_dial(&f);
    raw_send(fd, w);
    fixture_wait_limit(&f, RPC_LIMIT_CONNECTION_MEMORY, 1);
    raw_still_serves(&f);
    close(fd);
    free(w);
    fixture_stop(&f);
}

TEST(a_message_beyond_the_servers_memory_is_refused)
{
    fixture f;
    fixture_init(&f);
    f.limits.server_memory_bytes_max = 2 << 20;
    refuse_large(&f, 3 << 20, RPC_LIMIT_SERVER_MEMORY, "server_memory_bytes_max");
}

TEST(answers_that_nobody_reads_make_a_connection_refuse_further_calls)
{
    fixture f;
    raw_init(&f);
    f.limits.connection_request_bytes_max = 100000;
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    static const uint8_t no_window[6] = {0, 4, 0, 0, 0, 0};
    raw_frame(w, sizeof no_window, 4, 0, 0, no_window);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    static uint8_t data[30000], message[30100];
    item.data = (ProtobufCBinaryData){sizeof data, data};
    size_t size = protobuf_c_message_pack(&item.base, message + 5) + 5;
    message[3] = (uint8_t)((size - 5) >> 8);
    message[4] = (uint8_t)(size - 5);
    for (uint32_t id = 1; id <= 11; id += 2) {
        raw_request(w, id, "/rpctest.Echo/Unary", "application/grpc", 0);
        raw_frame(w, 16000, 0, 0, id, message);
        raw_frame(w, size - 16000, 0, 1, id, message + 16000);
    }
    raw_send(fd, w);
    fixture_wait_limit(&f, RPC_LIMIT_CONNECTION_MEMORY, 2);
    assert_int_equal(flag_count(&f.started), 4); /* the fourth went over it */
    raw_still_serves(&f);
    close(fd);
    free(w);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    fixture_stop(&f);
}

/* Fills the server's memory with connections that have calls, until a call is shed. */
TEST(over_the_servers_memory_new_calls_are_shed_with_a_hint_and_served_again_later)
{
    fixture f;
    raw_init(&f);
    f.limits.server_memory_bytes_max = 2 << 20;
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 1);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Chat", "application/grpc", 0);
    int fds[32];
    size_t count = 0;
    while (!flag_count(&f.limits_hit[RPC_LIMIT_SERVER_MEMORY]) && count < 32) {
        fds[count] = raw_dial(&f);
        raw_send(fds[count++], w);
        while (!flag_wait_for(&f.started, 1 + (unsigned)count, 10) &&
               !flag_count(&f.limits_hit[RPC_LIMIT_SERVER_MEMORY]))
            continue;
    }
    fixture_wait_limit(&f, RPC_LIMIT_SERVER_MEMORY, 1);
    /* What runs goes on; what is new is told when to come again. */
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 2);
    client_call shed = {.trailer_name = "grpc-retry-pushback-ms"};
    client_start(&shed, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&shed.ended, 1);
    assert_int_equal(shed.status.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(shed.status.message, "server_memory_bytes_max"));
    assert_string_equal(shed.trailer, "1000");
    client_done(&shed);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    while (rpc_server_get_stats(f.server).connections > 1)
        sched_yield();
    raw_still_serves(&f);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    free(w);
    fixture_stop(&f);
}

TEST(far_over_the_servers_memory_no_connection_is_taken)
{
    fixture f;
    raw_init(&f);
    f.limits.server_memory_bytes_max = 1 << 20;
    fixture_start(&f);
    int fds[64] = {0};
    size_t count = 0;
    while (!flag_count(&f.events[RPC_EVENT_REFUSED]) && count < 64) {
        fds[count++] = raw_dial(&f);
        while (!flag_wait_for(&f.events[RPC_EVENT_ACCEPTED], (unsigned)count, 10) &&
               !flag_count(&f.events[RPC_EVENT_REFUSED]))
            continue;
    }
    fixture_wait_limit(&f, RPC_LIMIT_SERVER_MEMORY, 1);
    assert_true(count > 0);
    raw_await_end(fds[--count]);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    fixture_wait_nobody(&f);
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(what_was_charged_is_given_back)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    for (int i = 0; i < 20; i++) {
        rpc_status status = {0};
        assert_int_equal(unary_of(&f, (size_t)i * 100000, &status), RPC_OK);
    }
    assert_true(rpc_server_get_stats(f.server).memory_bytes > 0);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    while (rpc_server_get_stats(f.server).memory_bytes != 0)
        sched_yield(); /* the lane's last task runs a moment later */
    fixture_stop(&f);
}

TEST(a_connection_that_rests_keeps_no_buffers)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(unary_of(&f, 3 << 20, &status), RPC_OK); /* makes all of them large */
    while (rpc_server_get_stats(f.server).memory_bytes > 32 * 1024)
        if (!flag_wait_for(&f.events[RPC_EVENT_CLOSED], 1, 10))
            fixture_skip(&f, 500); /* two ticks without traffic */
    assert_int_equal(flag_count(&f.events[RPC_EVENT_CLOSED]), 0);
    assert_int_equal(unary_of(&f, 3 << 20, &status), RPC_OK);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    fixture_stop(&f);
}
