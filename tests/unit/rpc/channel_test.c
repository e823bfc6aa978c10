/* SPDX-License-Identifier: Apache-2.0 */
/* Several addresses, names, states and back-off of a channel. */
#include "fixture.h"

#define SERVERS_MAX 3

/* Servers of the same service and a channel to all of them. */
typedef struct farm {
    fixture f;
    rpc_server *servers[SERVERS_MAX];
    rpc_listener *listeners[SERVERS_MAX];
    unsigned count;
    char urls[SERVERS_MAX][200];
    rpc_channel_options options;
    char target[1024];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc_channel_state *states; /* as on_state told them */
    unsigned state_count, state_room;
} farm;

static void farm_add(farm *it, const char *url)
{
    fixture_listen(&it->f, url);
    it->servers[it->count] = it->f.server;
    it->listeners[it->count] = it->f.listener;
    snprintf(it->urls[it->count], sizeof it->urls[0], "%s", rpc_listener_url(it->f.listener));
    it->count++;
    it->f.server = NULL;
}

static void farm_remove(farm *it, unsigned index)
{
    rpc_server_free(it->servers[index]);
    it->servers[index] = NULL;
}

static void farm_restart(farm *it, unsigned index)
{
    fixture_listen(&it->f, it->urls[index]);
    it->servers[index] = it->f.server;
    it->listeners[index] = it->f.listener;
    it->f.server = NULL;
}

static void note_state(void *ctx, rpc_channel_state state)
{
    farm *it = ctx;
    pthread_mutex_lock(&it->lock);
    if (it->state_count == it->state_room) { /* a channel that tries on and on changes often */
        it->state_room = 2 * it->state_room + 64;
        it->states = realloc(it->states, it->state_room * sizeof *it->states);
        assert_non_null(it->states);
    }
    it->states[it->state_count++] = state;
    pthread_cond_broadcast(&it->changed);
    pthread_mutex_unlock(&it->lock);
}

/* Until that state was told after the first `after` ones; returns how many were told by then. */
static unsigned wait_state(farm *it, rpc_channel_state state, unsigned after)
{
    unsigned i = after;
    pthread_mutex_lock(&it->lock);
    while (true) {
        for (; i < it->state_count; i++)
            if (it->states[i] == state) {
                pthread_mutex_unlock(&it->lock);
                return i + 1;
            }
        pthread_cond_wait(&it->changed, &it->lock);
    }
}

static void farm_init(farm *it, unsigned servers)
{
    *it = (farm){0};
    pthread_mutex_init(&it->lock, NULL);
    pthread_cond_init(&it->changed, NULL);
    fixture_init(&it->f);
    for (unsigned i = 0; i < servers; i++)
        farm_add(it, "tls+tcp://127.0.0.1:0");
    it->options = (rpc_channel_options){.limits = it->f.client_limits,
        .tls = {.ca_pem = rpc_bytes_str(it->f.ca.cert_pem)},
        .backoff_initial_ms = 1,
        .backoff_max_ms = 2,
        .on_state = note_state,
        .state_ctx = it};
}

static const char *port_of(const farm *it, unsigned index)
{
    return strrchr(it->urls[index], ':') + 1;
}

/* To all servers, or to it->target when that was set. */
static void farm_open(farm *it)
{
    size_t size = strlen(it->target);
    for (unsigned i = 0; size == 0 && i < it->count; i++)
        snprintf(it->target + strlen(it->target), sizeof it->target - strlen(it->target), "%s%s",
            i == 0 ? "" : ",", i == 0 ? it->urls[i] : strstr(it->urls[i], "://") + 3);
    it->options.target = it->target;
    rpc_status status;
    if (rpc_channel_new(it->f.runtime, &it->options, &it->f.channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void farm_stop(farm *it)
{
    rpc_channel_free(it->f.channel);
    it->f.channel = NULL;
    for (unsigned i = 0; i < it->count; i++)
        rpc_server_free(it->servers[i]);
    fixture_stop(&it->f);
    free(it->states);
    pthread_cond_destroy(&it->changed);
    pthread_mutex_destroy(&it->lock);
}

static uint64_t calls_of(farm *it, unsigned index)
{
    return rpc_server_get_stats(it->servers[index]).calls_started;
}

static rpc_code call(farm *it, bool wait_for_ready, rpc_status *reterr)
{
    rpc_call_options options = {.wait_for_ready = wait_for_ready};
    return fixture_unary(&it->f, &options, "x", NULL, reterr);
}

/* All addresses are connected. */
static void farm_ready(farm *it)
{
    rpc_status status = {0};
    for (unsigned i = 0; i < it->count;)
        if (calls_of(it, i) > 0)
            i++;
        else if (call(it, true, &status) != RPC_OK)
            fail_msg("%s", status.message);
}

TEST(calls_go_round_robin_over_all_addresses)
{
    farm it;
    farm_init(&it, 3);
    farm_open(&it);
    farm_ready(&it);
    uint64_t before[3], sum = 0;
    rpc_status status = {0};
    for (unsigned i = 0; i < 3; i++)
        before[i] = calls_of(&it, i);
    for (unsigned i = 0; i < 90; i++)
        assert_int_equal(call(&it, false, &status), RPC_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(calls_of(&it, i) - before[i], 30);
        sum += calls_of(&it, i);
    }
    assert_true(sum >= 93);
    farm_stop(&it);
}

TEST(an_address_that_is_away_is_left_out_and_taken_up_again)
{
    farm it;
    farm_init(&it, 2);
    farm_open(&it);
    farm_ready(&it);
    farm_remove(&it, 1);
    rpc_status status = {0};
    unsigned lost = 0; /* one may be on its way when the server goes */
    for (unsigned i = 0; i < 50; i++)
        lost += call(&it, false, &status) != RPC_OK;
    assert_true(lost <= 1);
    assert_int_equal(rpc_channel_get_state(it.f.channel), RPC_CHANNEL_READY);
    farm_restart(&it, 1);
    while (calls_of(&it, 1) == 0)
        assert_int_equal(call(&it, false, &status), RPC_OK);
    farm_stop(&it);
}

TEST(several_connections_to_one_address_share_its_calls)
{
    farm it;
    farm_init(&it, 1);
    it.options.connections = 3;
    farm_open(&it);
    rpc_channel_connect(it.f.channel);
    flag_wait(&it.f.events[RPC_EVENT_ACCEPTED], 3);
    rpc_status status = {0};
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(call(&it, false, &status), RPC_OK);
    assert_int_equal(rpc_server_get_stats(it.servers[0]).connections, 3);
    farm_stop(&it);
}

/* ---- names ---------------------------------------------------------------------------------- */

typedef struct names {
    unsigned asked, fail_first;
    const char *first; /* NULL: only 127.0.0.1 */
    const char *host;
} names;

static rpc_code resolve(void *ctx, const char *host, rpc_addresses *ret, rpc_status *reterr)
{
    names *it = ctx;
    if (strcmp(host, it->host) != 0)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "asked for %s", host);
    if (it->asked++ < it->fail_first)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "try again");
    if (it->first)
        snprintf(ret->text[ret->count++], sizeof ret->text[0], "%s", it->first);
    snprintf(ret->text[ret->count++], sizeof ret->text[0], "127.0.0.1");
    return RPC_OK;
}

static void by_name(farm *it, const char *name, names *known)
{
    known->host = name;
    it->options.resolve = resolve;
    it->options.resolve_ctx = known;
    snprintf(it->target, sizeof it->target, "tls+tcp://%s:%s", name, port_of(it, 0));
}

TEST(the_addresses_of_a_name_are_tried_in_turn)
{
    farm it;
    names known = {.first = "127.0.0.77"};
    farm_init(&it, 1);
    by_name(&it, "localhost", &known);
    farm_open(&it);
    rpc_status status = {0};
    if (call(&it, false, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(known.asked, 1);
    farm_stop(&it);
}

TEST(what_a_resolver_gives_that_is_no_address_is_left_out)
{
    farm it;
    names known = {.first = "not an address"};
    farm_init(&it, 1);
    by_name(&it, "localhost", &known);
    farm_open(&it);
    rpc_status status = {0};
    assert_int_equal(call(&it, false, &status), RPC_OK);
    farm_stop(&it);
}

TEST(a_name_that_cannot_be_resolved_is_unavailable_and_asked_again)
{
    farm it;
    names known = {.fail_first = 2};
    farm_init(&it, 1);
    by_name(&it, "localhost", &known);
    farm_open(&it);
    rpc_status status = {0};
    assert_int_equal(call(&it, false, &status), RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "name is not known here: 'localhost': try again"));
    assert_int_equal(call(&it, true, &status), RPC_OK);
    assert_int_equal(known.asked, 3);
    farm_stop(&it);
}

TEST(the_name_of_the_target_is_the_one_verified)
{
    farm it;
    names known = {0};
    farm_init(&it, 1);
    by_name(&it, "elsewhere.example", &known);
    farm_open(&it);
    rpc_status status = {0};
    assert_int_equal(call(&it, false, &status), RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "certificate"));
    farm_stop(&it);
}

TEST(the_system_resolves_localhost)
{
    farm it;
    farm_init(&it, 1);
    snprintf(it.target, sizeof it.target, "tls+tcp://localhost:%s", port_of(&it, 0));
    farm_open(&it);
    rpc_status status = {0};
    if (call(&it, false, &status) != RPC_OK)
        fail_msg("%s", status.message);
    farm_stop(&it);
}

/* ---- states --------------------------------------------------------------------------------- */

TEST(a_channel_goes_through_the_states_of_grpc)
{
    farm it;
    farm_init(&it, 1);
    farm_open(&it);
    assert_int_equal(rpc_channel_get_state(it.f.channel), RPC_CHANNEL_IDLE);
    rpc_channel_connect(it.f.channel);
    unsigned seen = wait_state(&it, RPC_CHANNEL_READY, 0);
    assert_int_equal(rpc_channel_get_state(it.f.channel), RPC_CHANNEL_READY);
    rpc_status status = {0};
    assert_int_equal(call(&it, false, &status), RPC_OK);
    farm_remove(&it, 0);
    seen = wait_state(&it, RPC_CHANNEL_IDLE, seen);
    assert_int_equal(call(&it, false, &status), RPC_UNAVAILABLE);
    seen = wait_state(&it, RPC_CHANNEL_TRANSIENT_FAILURE, seen);
    farm_restart(&it, 0);
    seen = wait_state(&it, RPC_CHANNEL_READY, seen); /* by itself */
    rpc_channel_free(it.f.channel);
    it.f.channel = NULL;
    assert_int_equal(it.states[it.state_count - 1], RPC_CHANNEL_SHUTDOWN);
    assert_int_equal(it.state_count, seen + 1);
    farm_stop(&it);
}

TEST(states_have_names)
{
    assert_string_equal(rpc_channel_state_name(RPC_CHANNEL_TRANSIENT_FAILURE), "TRANSIENT_FAILURE");
    assert_string_equal(rpc_channel_state_name((rpc_channel_state)77), "UNKNOWN");
}

TEST(a_channel_without_calls_gives_up_trying_and_is_idle)
{
    farm it;
    farm_init(&it, 1);
    it.options.limits.idle_ms = 50;
    farm_open(&it);
    farm_remove(&it, 0);
    rpc_status status = {0};
    assert_int_equal(call(&it, false, &status), RPC_UNAVAILABLE);
    wait_state(&it, RPC_CHANNEL_IDLE, wait_state(&it, RPC_CHANNEL_TRANSIENT_FAILURE, 0));
    farm_stop(&it);
}

/* ---- limits -----------------------------------------------------------------------------------
 */

TEST(no_more_calls_wait_than_waiting_calls_max)
{
    farm it;
    farm_init(&it, 1);
    it.options.waiting_calls_max = 1;
    farm_open(&it);
    farm_remove(&it, 0);
    client_call waiting = {0}, refused = {0};
    rpc_call_options options = {.wait_for_ready = true};
    client_start(&waiting, &it.f, "/rpctest.Echo/Chat", &options);
    wait_state(&it, RPC_CHANNEL_TRANSIENT_FAILURE, 0);
    client_start(&refused, &it.f, "/rpctest.Echo/Chat", &options);
    flag_wait(&refused.ended, 1);
    assert_int_equal(refused.status.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(refused.status.message, "waiting_calls_max"));
    rpc_call_cancel(waiting.call);
    flag_wait(&waiting.ended, 1);
    assert_int_equal(waiting.status.code, RPC_CANCELLED);
    client_done(&waiting);
    client_done(&refused);
    farm_stop(&it);
}

static void refused(farm *it, const char *target, const char *word)
{
    rpc_status status = {0};
    rpc_channel *channel = NULL;
    it->options.target = target;
    assert_int_equal(
        rpc_channel_new(it->f.runtime, &it->options, &channel, &status), RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("%s", status.message);
}

TEST(a_target_or_option_that_can_never_work_is_refused_by_name)
{
    farm it;
    farm_init(&it, 0);
    rpc_channel_options good = it.options;
    char many[1024] = "tls+tcp://a:1";
    for (unsigned i = 0; i < 64; i++)
        strncat(many, ",a:1", sizeof many - strlen(many) - 1);
    refused(&it, many, "more than 64");
    refused(&it, "tls+tcp://a:1,", "no port");
    refused(&it, "tls+tcp://a:1,b", "no port");
    refused(&it, "tcp://127.0.0.1:1", "plain text");
    it.options.connections = 33;
    refused(&it, "tls+tcp://a:1,b:1", "33 connections");
    it.options = good;
    it.options.backoff_max_ms = -1;
    refused(&it, "tls+tcp://a:1", "backoff_max_ms");
    it.options = good;
    it.options.connect_ms = INT64_MAX;
    refused(&it, "tls+tcp://a:1", "connect_ms");
    fixture_stop(&it.f);
}

/* ---- many threads -------------------------------------------------------------------------------
 */

static void *call_often(void *arg)
{
    farm *it = arg;
    for (unsigned i = 0; i < 100; i++) {
        rpc_status status = {0};
        if (call(it, true, &status) != RPC_OK)
            return it;
    }
    return NULL;
}

TEST(many_threads_call_while_addresses_come_up)
{
    farm it;
    farm_init(&it, 3);
    farm_open(&it);
    farm_remove(&it, 2);
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &it), 0);
    farm_restart(&it, 2);
    for (size_t i = 0; i < 6; i++) {
        void *result = &it;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    farm_stop(&it);
}

TEST(a_channel_to_several_addresses_is_freed_with_calls_on_all_of_them)
{
    farm it;
    farm_init(&it, 3);
    farm_open(&it);
    farm_ready(&it);
    client_call calls[9] = {0};
    for (unsigned i = 0; i < 9; i++)
        client_start(&calls[i], &it.f, "/rpctest.Echo/Chat", NULL);
    rpc_channel_free(it.f.channel);
    it.f.channel = NULL;
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(flag_count(&calls[i].ended), 1);
        assert_int_equal(calls[i].status.code, RPC_CANCELLED);
        client_done(&calls[i]);
    }
    farm_stop(&it);
}
