/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of methods, channels and connections. */
#include "fixture.h"

#define UNARY "/rpctest.Echo/Unary"
#define CHAT  "/rpctest.Echo/Chat"

static rpc_call_stats of_method(fixture *f, const char *path)
{
    rpc_call_stats stats;
    const char *name;
    for (size_t i = 0; rpc_server_method_stats(f->server, i, &name, &stats); i++)
        if (strcmp(name, path) == 0)
            return stats;
    fail_msg("no statistics of '%s'", path);
    return (rpc_call_stats){0};
}

static uint64_t measured(const rpc_call_stats *stats)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < RPC_LATENCY_CELLS; i++)
        calls += stats->latency[i];
    return calls;
}

static void check_unary(const rpc_call_stats *stats)
{
    assert_int_equal(stats->started, 5);
    assert_int_equal(stats->ended[RPC_OK], 3);
    assert_int_equal(stats->ended[RPC_NOT_FOUND], 2);
    assert_int_equal(measured(stats), 5);
    assert_int_equal(rpc_latency_at_most(stats, INT64_MAX), 5);
    assert_true(stats->latency_sum_us >= (uint64_t)rpc_latency_quantile_us(stats, 0.5));
    assert_true(stats->last_started_us > 0);
    assert_true(rpc_latency_quantile_us(stats, 0.5) > 0);
    assert_true(rpc_latency_quantile_us(stats, 1) >= rpc_latency_quantile_us(stats, 0.5));
}

TEST(calls_are_counted_by_method_and_code_on_both_sides)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_unary(&f, NULL, "four", NULL, &status), RPC_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fixture_unary(&f, NULL, "fail", NULL, &status), RPC_NOT_FOUND);
    rpc_call_stats server = of_method(&f, UNARY), client;
    rpc_channel_call_stats(f.channel, &client);
    check_unary(&server);
    check_unary(&client);
    assert_int_equal(server.messages_received, 5);
    assert_int_equal(server.messages_sent, 3);
    assert_int_equal(server.bytes_received, 5 * 11);
    assert_int_equal(server.bytes_sent, 3 * 11);
    assert_int_equal(client.messages_received, 3);
    assert_int_equal(client.messages_sent, 5);
    assert_int_equal(client.bytes_received, 3 * 11);
    rpc_call_stats chat = of_method(&f, CHAT);
    assert_int_equal(chat.started, 0);
    rpc_server_stats all = rpc_server_get_stats(f.server);
    assert_int_equal(all.calls_started, 5);
    assert_int_equal(all.calls_ended, 5);
    assert_int_equal(all.bytes_received, server.bytes_received);
    assert_int_equal(all.bytes_sent, server.bytes_sent);
    fixture_stop(&f);
}

TEST(calls_of_no_method_are_counted_apart)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/no.Such/Method", NULL);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_UNIMPLEMENTED);
    rpc_call_stats unknown = of_method(&f, "");
    assert_int_equal(unknown.started, 1);
    assert_int_equal(unknown.ended[RPC_UNIMPLEMENTED], 1);
    rpc_call_stats past;
    const char *path;
    assert_false(rpc_server_method_stats(f.server, 1000, &path, &past));
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_running_stream_is_started_and_not_ended)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, CHAT, NULL);
    flag_wait(&f.started, 1);
    rpc_call_stats chat = of_method(&f, CHAT);
    assert_int_equal(chat.started, 1);
    assert_int_equal(measured(&chat), 0);
    rpc_call_cancel(c.call);
    flag_wait(&f.server_ended, 1);
    chat = of_method(&f, CHAT);
    assert_int_equal(chat.ended[RPC_CANCELLED], 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_connection_counts_streams_messages_and_bytes)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    client_call c = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    client_start(&c, &f, CHAT, NULL);
    flag_wait(&f.started, 4);
    rpc_call_cancel(c.call);
    flag_wait(&f.server_ended, 1);
    rpc_connection_stats stats[2];
    assert_int_equal(rpc_server_connections(f.server, 0, stats, 2), 1);
    assert_string_equal(stats[0].listener, "users");
    assert_int_equal(strncmp(stats[0].address, "127.0.0.1:", 10), 0);
    assert_true(stats[0].tls);
    assert_int_equal(stats[0].streams_started, 4);
    assert_int_equal(stats[0].streams_succeeded, 3);
    assert_int_equal(stats[0].streams_failed, 1);
    assert_int_equal(stats[0].messages_received, 3);
    assert_int_equal(stats[0].messages_sent, 3);
    assert_true(stats[0].bytes_received > 100 && stats[0].bytes_sent > 100);
    assert_true(stats[0].opened_us > 0 && stats[0].last_stream_us >= stats[0].opened_us);
    assert_true(stats[0].last_received_us >= stats[0].opened_us);
    assert_true(stats[0].last_sent_us >= stats[0].opened_us);
    client_done(&c);
    fixture_stop(&f);
}

TEST(connections_are_listed_in_the_order_of_their_ids_and_leave_when_they_end)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    rpc_channel *first = f.channel, *more[4];
    for (size_t i = 0; i < 4; i++) {
        f.channel = more[i] = fixture_channel(&f);
        assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    }
    f.channel = first;
    rpc_connection_stats stats[3], rest[3];
    assert_int_equal(rpc_server_connections(f.server, 0, stats, 3), 3);
    assert_true(stats[0].id < stats[1].id && stats[1].id < stats[2].id);
    assert_int_equal(rpc_server_connections(f.server, stats[2].id + 1, rest, 3), 1);
    assert_true(rest[0].id > stats[2].id);
    for (size_t i = 0; i < 4; i++)
        rpc_channel_free(more[i]);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 4);
    fixture_wait_nobody(&f);
    assert_int_equal(rpc_server_connections(f.server, 0, stats, 3), 0);
    fixture_stop(&f);
}

TEST(cells_of_times_follow_each_other_without_a_gap)
{
    assert_int_equal(rpc_latency_cell_us(0), 0);
    assert_int_equal(rpc_latency_cell(INT64_MIN), 0);
    assert_int_equal(rpc_latency_cell(INT64_MAX), RPC_LATENCY_CELLS - 1);
    for (unsigned i = 1; i < RPC_LATENCY_CELLS; i++) {
        int64_t from = rpc_latency_cell_us(i), width = rpc_latency_cell_us(i + 1) - from;
        assert_true(from > rpc_latency_cell_us(i - 1));
        assert_int_equal(rpc_latency_cell(from), i);
        assert_int_equal(rpc_latency_cell(from - 1), i - 1);
        assert_true(i < 8 || width * 8 <= from);
    }
    rpc_call_stats stats = {0};
    assert_int_equal(rpc_latency_quantile_us(&stats, 0.5), 0);
    assert_int_equal(rpc_latency_at_most(&stats, INT64_MAX), 0);
    stats.latency[3] = 99;
    stats.latency[40] = 1;
    assert_int_equal(rpc_latency_quantile_us(&stats, 0.5), 3);
    assert_int_equal(rpc_latency_quantile_us(&stats, 0.99), 3);
    assert_int_equal(rpc_latency_quantile_us(&stats, 1), rpc_latency_cell_us(41) - 1);
}

TEST(calls_that_took_at_most_so_long_are_counted_exactly_at_customary_bounds)
{
    const int64_t bounds[] = {0, 1, 7, 8, 15, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
        100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        rpc_call_stats stats = {0};
        stats.latency[rpc_latency_cell(bounds[i])] = 1;
        stats.latency[rpc_latency_cell(bounds[i] + 1)] += 10;
        if (rpc_latency_at_most(&stats, bounds[i]) != 1)
            fail_msg("%lld us and one more are in one cell", (long long)bounds[i]);
        assert_int_equal(rpc_latency_at_most(&stats, bounds[i] + 1), 11);
        assert_int_equal(rpc_latency_at_most(&stats, -1), 0);
        assert_int_equal(rpc_latency_at_most(&stats, INT64_MAX), 11);
    }
}
