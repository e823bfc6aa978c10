/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"
#include "raw.h"
#include "relay.h"

typedef struct scene {
    fixture f;
    relay relay;
} scene;

static void open_scene(scene *s)
{
    fixture_listen(&s->f, "tls+tcp://127.0.0.1:0");
    relay_start(&s->relay, rpc_listener_url(s->f.listener));
    rpc_status status;
    rpc_channel_options options = {.target = s->relay.url,
        .limits = s->f.client_limits,
        .tls = {.ca_pem = rpc_bytes_str(s->f.ca.cert_pem)}};
    if (rpc_channel_new(s->f.runtime, &options, &s->f.channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void close_scene(scene *s)
{
    rpc_channel_free(s->f.channel);
    s->f.channel = NULL;
    rpc_server_free(s->f.server);
    s->f.server = NULL;
    relay_stop(&s->relay);
    fixture_stop(&s->f);
}

/* The first PING goes out by itself; that nobody answers it is a matter of the test's clock, which
 * however slow the machine is never says so before the relay swallows. */
static void short_keepalive(rpc_limits *limits)
{
    limits->keepalive_ms = 20;
    limits->keepalive_timeout_ms = 60000;
}

static void skip_until_raised(scene *s, flag *ended)
{
    do
        fixture_skip(&s->f, 60001);
    while (!flag_wait_for(ended, 1, 100));
}

/* A call that has come to the server and back. */
static void start_chat(scene *s, client_call *c)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    client_start(c, &s->f, "/rpctest.Echo/Chat", NULL);
    assert_int_equal(client_send(c, &item), RPC_SENT_OK);
    flag_wait(&c->messages, 1);
}

TEST(a_server_that_is_gone_without_a_word_is_noticed)
{
    scene s;
    client_call c = {0};
    fixture_init(&s.f);
    short_keepalive(&s.f.client_limits);
    s.f.limits.ping_interval_min_ms = 0;
    open_scene(&s);
    start_chat(&s, &c);
    relay_swallow(&s.relay);
    skip_until_raised(&s, &c.ended);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
    assert_non_null(strstr(c.status.message, "keepalive_timeout_ms"));
    client_done(&c);
    close_scene(&s);
}

TEST(a_client_that_is_gone_without_a_word_is_noticed)
{
    scene s;
    client_call c = {0};
    fixture_init(&s.f);
    short_keepalive(&s.f.limits);
    open_scene(&s);
    start_chat(&s, &c);
    relay_swallow(&s.relay);
    skip_until_raised(&s, &s.f.server_ended);
    assert_int_equal(s.f.server_end, RPC_CANCELLED);
    assert_int_equal(rpc_server_get_stats(s.f.server).limits[RPC_LIMIT_KEEPALIVE], 1);
    client_done(&c);
    close_scene(&s);
}

TEST(a_peer_that_answers_pings_stays_however_silent_its_calls_are)
{
    scene s;
    client_call c = {0};
    fixture_init(&s.f);
    s.f.client_limits.keepalive_ms = 5;
    s.f.limits.ping_interval_min_ms = 0;
    open_scene(&s);
    start_chat(&s, &c);
    flag_wait(&s.relay.carried, flag_count(&s.relay.carried) + 20); /* ten pings and answers */
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 2);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    close_scene(&s);
}

TEST(pings_go_out_without_calls_when_asked_for)
{
    scene s;
    fixture_init(&s.f);
    s.f.client_limits.keepalive_ms = 5;
    s.f.client_limits.keepalive_without_calls = 1;
    s.f.limits.ping_interval_min_ms = 0;
    open_scene(&s);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&s.f, NULL, "x", NULL, &status), RPC_OK);
    flag_wait(&s.relay.carried, flag_count(&s.relay.carried) + 20);
    close_scene(&s);
}

TEST(a_client_that_is_told_too_many_pings_halves_them)
{
    scene s;
    client_call c = {0};
    fixture_init(&s.f);
    s.f.client_limits.keepalive_ms = 5;
    s.f.limits.ping_strikes_max = 0;
    open_scene(&s);
    start_chat(&s, &c);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
    assert_int_equal(rpc_server_get_stats(s.f.server).limits[RPC_LIMIT_PINGS], 1);
    assert_int_equal(atomic_load(&s.f.channel->keepalive_ms), 10);
    client_done(&c);
    close_scene(&s);
}

/* Doubled on and on it would wrap. */
TEST(a_server_that_finds_any_ping_too_many_brings_them_to_one_a_year)
{
    static const char calm[] = "\0\0\0\0\0\0\0\x0b" RPC__TOO_MANY_PINGS;
    fixture f;
    raw_server s;
    raw_bytes *w = calloc(1, sizeof *w);
    assert_non_null(w);
    raw_frame(w, sizeof calm - 1, 7, 0, 0, calm);
    raw_server_start(&s, w);
    fixture_init(&f);
    rpc_status status = {0};
    rpc_channel_options options = {
        .target = s.target, .limits = f.client_limits, .allow_plain_text = true};
    options.limits.keepalive_ms = RPC__KEEPALIVE_MS_MAX - 1;
    assert_int_equal(rpc_channel_new(f.runtime, &options, &f.channel, &status), RPC_OK);
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAVAILABLE);
    assert_true(atomic_load(&f.channel->keepalive_ms) == RPC__KEEPALIVE_MS_MAX - 1);
    fixture_stop(&f);
    raw_server_stop(&s);
    free(w);
}

TEST(keepalive_settings_out_of_range_are_refused_by_name)
{
    fixture f;
    fixture_init(&f);
    rpc_channel_options options = {.target = "tls+tcp://127.0.0.1:1", .limits = f.client_limits};
    rpc_channel *channel = NULL;
    rpc_status status = {0};
    options.limits.keepalive_timeout_ms = 0;
    assert_int_equal(rpc_channel_new(f.runtime, &options, &channel, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "keepalive_timeout_ms"));
    options.limits = f.client_limits;
    options.limits.keepalive_without_calls = 2;
    assert_int_equal(rpc_channel_new(f.runtime, &options, &channel, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "keepalive_without_calls"));
    fixture_stop(&f);
}
