/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are made again, servers that drain, and calls made for other calls' sake. */
#include "channel.h"
#include "fixture.h"
#include "rpctest_descriptors.h"

#include <stdatomic.h>

#define HOUR_MS 3600000

static rpc_retry_policy quick(void)
{
    return (rpc_retry_policy){.backoff_initial_ms = 1, .backoff_max_ms = 2};
}

/* A channel to the fixture's server (or to target). */
static void open_channel(fixture *f, const char *target, rpc_channel_options *options)
{
    rpc_status status;
    options->target = target ? target : rpc_listener_url(f->listener);
    options->limits = f->client_limits;
    options->tls.ca_pem = rpc_bytes_str(f->ca.cert_pem);
    if (rpc_channel_new(f->runtime, options, &f->channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void start(fixture *f, rpc_channel_options *options)
{
    fixture_init(f);
    fixture_listen(f, "tls+tcp://127.0.0.1:0");
    open_channel(f, NULL, options);
}

static rpc_code flaky(fixture *f, bool idempotent, const rpc_retry_policy *policy)
{
    rpc_status status = {0};
    rpc_call_options options = {.idempotent = idempotent, .retry = policy};
    return fixture_unary(f, &options, "flaky", NULL, &status);
}

TEST(a_call_that_may_run_twice_is_made_again_until_it_succeeds)
{
    fixture f;
    rpc_channel_options options = {.retry = quick()};
    start(&f, &options);
    f.fail_first = 2;
    assert_int_equal(flaky(&f, true, NULL), RPC_OK);
    assert_int_equal(flag_count(&f.started), 3);
    assert_string_equal(f.previous_attempts, "2");
    assert_int_equal(rpc_channel_get_stats(f.channel).retries, 2);
    fixture_stop(&f);
}

TEST(a_call_that_may_not_run_twice_is_not_made_again)
{
    fixture f;
    rpc_channel_options options = {.retry = quick()};
    start(&f, &options);
    f.fail_first = 1;
    assert_int_equal(flaky(&f, false, NULL), RPC_UNAVAILABLE);
    assert_int_equal(flag_count(&f.started), 1);
    fixture_stop(&f);
}

TEST(the_descriptor_set_says_which_methods_may_run_twice)
{
    fixture f;
    rpc_channel_options options = {.retry = quick(),
        .descriptor_set = rpc_bytes_of(rpctest_descriptors, rpctest_descriptors_size)};
    start(&f, &options);
    f.fail_first = 1;
    assert_int_equal(flaky(&f, false, NULL), RPC_OK);
    assert_int_equal(flag_count(&f.started), 2);
    assert_true(rpc__idempotent_has(
        f.channel->idempotent, f.channel->idempotent_count, "/rpctest.Echo/Unary"));
    assert_false(rpc__idempotent_has(
        f.channel->idempotent, f.channel->idempotent_count, "/rpctest.Echo/Chat"));
    fixture_stop(&f);
}

TEST(attempts_max_ends_the_attempts)
{
    fixture f;
    rpc_channel_options options = {0};
    rpc_retry_policy policy = quick();
    policy.attempts_max = 3;
    start(&f, &options);
    f.fail_first = 100;
    assert_int_equal(flaky(&f, true, &policy), RPC_UNAVAILABLE);
    assert_int_equal(flag_count(&f.started), 3);
    policy.attempts_max = 1;
    assert_int_equal(flaky(&f, true, &policy), RPC_UNAVAILABLE);
    assert_int_equal(flag_count(&f.started), 4);
    fixture_stop(&f);
}

TEST(only_the_policy_s_codes_are_tried_again)
{
    fixture f;
    rpc_channel_options options = {0};
    rpc_retry_policy policy = quick();
    start(&f, &options);
    f.fail_first = 1;
    f.fail_code = RPC_ABORTED;
    assert_int_equal(flaky(&f, true, &policy), RPC_ABORTED);
    f.fail_first = 1;
    policy.codes = RPC_RETRY_ON(RPC_ABORTED);
    assert_int_equal(flaky(&f, true, &policy), RPC_OK);
    fixture_stop(&f);
}

TEST(the_server_s_push_back_says_when_or_never)
{
    fixture f;
    rpc_channel_options options = {0};
    rpc_retry_policy policy = {.backoff_initial_ms = HOUR_MS, .backoff_max_ms = HOUR_MS};
    start(&f, &options);
    f.fail_first = 1;
    f.pushback_ms = 1; /* not the hour of the policy */
    assert_int_equal(flaky(&f, true, &policy), RPC_OK);
    policy = quick();
    f.fail_first = 1;
    f.pushback_ms = -5;
    assert_int_equal(flaky(&f, true, &policy), RPC_UNAVAILABLE);
    assert_int_equal(flag_count(&f.started), 3);
    fixture_stop(&f);
}

TEST(an_empty_bucket_stops_retries_and_successes_fill_it)
{
    fixture f;
    rpc_channel_options options = {
        .retry = quick(), .retry_tokens_max = 2, .retry_token_ratio = 500};
    start(&f, &options);
    f.fail_first = 1;
    assert_int_equal(flaky(&f, true, NULL), RPC_UNAVAILABLE);
    assert_int_equal(rpc_channel_get_stats(f.channel).retries_throttled, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(flaky(&f, true, NULL), RPC_OK);
    assert_int_equal(atomic_load(&f.channel->retry_tokens), 2000);
    fixture_stop(&f);
}

TEST(a_call_that_has_no_time_for_another_attempt_ends_with_what_the_server_said)
{
    fixture f;
    rpc_channel_options options = {0};
    rpc_retry_policy policy = {.backoff_initial_ms = HOUR_MS, .backoff_max_ms = HOUR_MS};
    start(&f, &options);
    f.fail_first = 1;
    rpc_status status = {0};
    rpc_call_options call = {.idempotent = true, .retry = &policy, .timeout_ms = HOUR_MS / 10};
    assert_int_equal(fixture_unary(&f, &call, "flaky", NULL, &status), RPC_UNAVAILABLE);
    assert_string_equal(status.message, "flaky");
    fixture_stop(&f);
}

TEST(a_call_larger_than_the_buffer_is_made_once)
{
    fixture f;
    rpc_channel_options options = {.retry = quick(), .retry_buffer_bytes_max = 8};
    start(&f, &options);
    f.fail_first = 1;
    assert_int_equal(flaky(&f, true, NULL), RPC_UNAVAILABLE);
    assert_int_equal(flag_count(&f.started), 1);
    fixture_stop(&f);
}

static void start_resting(fixture *f, client_call *c, rpc_retry_policy *policy)
{
    *policy = (rpc_retry_policy){.backoff_initial_ms = HOUR_MS, .backoff_max_ms = HOUR_MS};
    rpc_call_options options = {.idempotent = true, .retry = policy};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "flaky";
    item.text = text;
    f->fail_first = 1;
    client_start(c, f, "/rpctest.Echo/Unary", &options);
    assert_int_equal(client_send(c, &item), RPC_SENT_OK);
    rpc_call_half_close(c->call);
    while (rpc_channel_get_stats(f->channel).retries == 0)
        sched_yield();
}

TEST(a_call_in_back_off_can_be_cancelled)
{
    fixture f;
    client_call c = {0};
    rpc_channel_options options = {0};
    rpc_retry_policy policy;
    start(&f, &options);
    start_resting(&f, &c, &policy);
    rpc_call_cancel(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_CANCELLED);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_channel_is_freed_with_a_call_in_back_off)
{
    fixture f;
    client_call c = {0};
    rpc_channel_options options = {0};
    rpc_retry_policy policy;
    start(&f, &options);
    start_resting(&f, &c, &policy);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    assert_int_equal(flag_count(&c.ended), 1);
    assert_int_equal(c.status.code, RPC_CANCELLED);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_call_that_was_given_something_is_not_made_again)
{
    fixture f;
    client_call c = {0};
    rpc_channel_options options = {.retry = quick()};
    start(&f, &options);
    rpc_call_options call = {.idempotent = true};
    client_start(&c, &f, "/rpctest.Echo/Chat", &call);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 1);
    rpc_server_free(f.server);
    f.server = NULL;
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
    assert_int_equal(rpc_channel_get_stats(f.channel).retries, 0);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_stream_is_sent_again_whole)
{
    fixture f;
    client_call c = {0};
    rpc_channel_options options = {.retry = quick()};
    start(&f, &options);
    rpc_call_options call = {.idempotent = true, .wait_for_ready = true};
    client_start(&c, &f, "/rpctest.Echo/Upload", &call);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[100] = {0};
    item.data = (ProtobufCBinaryData){sizeof data, data};
    for (int i = 0; i < 5; i++)
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&f.started, 1);
    char url[200];
    snprintf(url, sizeof url, "%s", rpc_listener_url(f.listener));
    rpc_server_free(f.server);
    fixture_listen(&f, url);
    flag_wait(&f.started, 2);
    for (int i = 0; i < 5; i++)
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    if (c.status.code != RPC_OK)
        fail_msg("%s", c.status.message);
    rpc_message *held = NULL;
    (void)held;
    assert_int_equal(flag_count(&c.messages), 1);
    assert_int_equal(c.bytes, 3); /* size = 1,000: a tag and two bytes */
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_policy_out_of_range_is_refused)
{
    fixture f;
    rpc_channel_options options = {0};
    start(&f, &options);
    rpc_retry_policy policy = {.attempts_max = 6};
    assert_int_equal(flaky(&f, true, &policy), RPC_INVALID_ARGUMENT);
    policy = (rpc_retry_policy){.codes = RPC_RETRY_ON(RPC_OK)};
    assert_int_equal(flaky(&f, true, &policy), RPC_INVALID_ARGUMENT);
    rpc_status status = {0};
    rpc_channel *channel = NULL;
    rpc_channel_options damaged = options;
    damaged.descriptor_set = rpc_bytes_of("\x0a\x7f", 2);
    assert_int_equal(rpc_channel_new(f.runtime, &damaged, &channel, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "descriptor set"));
    fixture_stop(&f);
}

/* ---- drain ------------------------------------------------------------------------------------
 */

typedef struct load {
    fixture *f;
    atomic_bool stop;
    atomic_uint done, failed;
    rpc_status why; /* of the first failure */
} load;

static void *call_on_and_on(void *arg)
{
    load *it = arg;
    while (!atomic_load(&it->stop)) {
        rpc_status status = {0};
        if (fixture_unary(it->f, NULL, "x", NULL, &status) == RPC_OK)
            atomic_fetch_add(&it->done, 1);
        else if (atomic_fetch_add(&it->failed, 1) == 0)
            it->why = status;
    }
    return NULL;
}

static void wait_for_calls(load *it, unsigned more)
{
    unsigned until = atomic_load(&it->done) + more;
    while (atomic_load(&it->done) < until && atomic_load(&it->failed) == 0)
        sched_yield();
}

TEST(servers_that_drain_under_load_fail_no_call)
{
    fixture f;
    rpc_server *servers[2];
    char urls[2][200], target[500];
    rpc_channel_options options = {.backoff_initial_ms = 1, .backoff_max_ms = 2};
    fixture_init(&f);
    for (unsigned i = 0; i < 2; i++) {
        fixture_listen(&f, "tls+tcp://127.0.0.1:0");
        servers[i] = f.server;
        snprintf(urls[i], sizeof urls[i], "%s", rpc_listener_url(f.listener));
    }
    snprintf(target, sizeof target, "%s,%s", urls[0], strstr(urls[1], "://") + 3);
    open_channel(&f, target, &options);
    while (rpc_channel_get_stats(f.channel).connections < 2) {
        rpc_channel_connect(f.channel);
        sched_yield();
    }
    load calls = {.f = &f};
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on_and_on, &calls), 0);
    for (unsigned round = 0; round < 6; round++) {
        unsigned i = round % 2;
        wait_for_calls(&calls, 50);
        rpc_server_stop(servers[i], 60000);
        rpc_server_free(servers[i]);
        fixture_listen(&f, urls[i]);
        servers[i] = f.server;
        /* A call there, and not a connection, shows that it serves again: one may still have been
         * made to the server that went. */
        while (
            rpc_server_get_stats(servers[i]).calls_started == 0 && atomic_load(&calls.failed) == 0)
            sched_yield();
    }
    atomic_store(&calls.stop, true);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&calls.failed) > 0)
        fail_msg("%u of %u failed: %s", atomic_load(&calls.failed), atomic_load(&calls.done),
            calls.why.message);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    rpc_server_free(servers[0]);
    f.server = servers[1];
    fixture_stop(&f);
}

/* ---- calls made for others
 * ----------------------------------------------------------------------- */

TEST(a_child_has_no_more_time_than_its_parent_and_ends_with_it)
{
    fixture f;
    client_call parent = {0}, child = {0};
    rpc_channel_options options = {0};
    start(&f, &options);
    rpc_call_options longer = {.timeout_ms = HOUR_MS};
    client_start(&parent, &f, "/rpctest.Echo/Chat", &longer);
    rpc_call_options of_parent = {.timeout_ms = 2 * HOUR_MS, .parent = parent.call};
    client_start(&child, &f, "/rpctest.Echo/Chat", &of_parent);
    assert_true(rpc_call_deadline_us(child.call) == rpc_call_deadline_us(parent.call));
    flag_wait(&f.started, 2);
    rpc_call_cancel(parent.call);
    flag_wait(&child.ended, 1);
    assert_int_equal(child.status.code, RPC_CANCELLED);
    flag_wait(&parent.ended, 1);
    rpc_call *late = NULL;
    rpc_status status = {0};
    static const rpc_handler none;
    assert_int_equal(
        rpc_channel_start(f.channel, "/rpctest.Echo/Chat", &of_parent, &none, NULL, &late, &status),
        RPC_CANCELLED);
    client_done(&child);
    client_done(&parent);
    fixture_stop(&f);
}

static void child_ended(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call, (void)status;
    flag_raise(user);
}

typedef struct ending {
    rpc_call *parent;
    atomic_bool go;
} ending;

static void *end_parent(void *arg)
{
    ending *it = arg;
    while (!atomic_load(&it->go))
        sched_yield();
    rpc_call_cancel(it->parent);
    return NULL;
}

/* Either it is refused, or its end is told: however late its parent's end comes. */
TEST(a_call_made_while_its_parent_ends_is_refused_or_told_its_end)
{
    static const rpc_handler handler = {.on_end = child_ended};
    fixture f;
    rpc_channel_options options = {0};
    start(&f, &options);
    for (int round = 0; round < 200; round++) {
        client_call parent = {0};
        flag ended;
        flag_init(&ended);
        client_start(&parent, &f, "/rpctest.Echo/Chat", NULL);
        ending it = {.parent = parent.call};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, end_parent, &it), 0);
        rpc_call_options of_parent = {.parent = parent.call};
        rpc_status status = {0};
        unsigned made = 0;
        rpc_call *child = NULL;
        atomic_store(&it.go, true);
        while (rpc_channel_start(f.channel, "/rpctest.Echo/Chat", &of_parent, &handler, &ended,
                   &child, &status) == RPC_OK) {
            made++;
            rpc_call_unref(child);
        }
        assert_int_equal(status.code, RPC_CANCELLED);
        pthread_join(thread, NULL);
        flag_wait(&parent.ended, 1);
        flag_wait(&ended, made);
        client_done(&parent);
    }
    fixture_stop(&f);
}

TEST(a_child_that_ends_first_leaves_its_parent_alone)
{
    fixture f;
    client_call parent = {0};
    rpc_channel_options options = {0};
    start(&f, &options);
    client_start(&parent, &f, "/rpctest.Echo/Chat", NULL);
    rpc_call_options of_parent = {.parent = parent.call};
    rpc_status status = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_unary(&f, &of_parent, "x", NULL, &status), RPC_OK);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&parent, &item), RPC_SENT_OK);
    flag_wait(&parent.messages, 1);
    rpc_call_half_close(parent.call);
    flag_wait(&parent.ended, 1);
    assert_int_equal(parent.status.code, RPC_OK);
    client_done(&parent);
    fixture_stop(&f);
}
