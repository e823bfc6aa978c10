/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

/* A port where nobody listens. */
static void stop_server(fixture *f, char *ret_url)
{
    snprintf(ret_url, 200, "%s", rpc_listener_url(f->listener));
    rpc_server_free(f->server);
    f->server = NULL;
}

TEST(a_server_that_is_away_is_unavailable)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    char url[200];
    stop_server(&f, url);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "no connection to 127.0.0.1"));
    /* At once: the next attempt waits for the back-off. */
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAVAILABLE);
    fixture_stop(&f);
}

TEST(wait_for_ready_waits_until_its_deadline)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    char url[200];
    stop_server(&f, url);
    rpc_status status = {0};
    rpc_call_options options = {.timeout_ms = 100, .wait_for_ready = true};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_DEADLINE_EXCEEDED);
    fixture_stop(&f);
}

TEST(a_channel_connects_again_when_the_server_has_come_back)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    char url[200];
    stop_server(&f, url);
    fixture_listen(&f, url);
    rpc_call_options options = {.wait_for_ready = true};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

static void *stop_later(void *arg)
{
    fixture *f = arg;
    rpc_server_stop(f->server, 60000);
    return NULL;
}

TEST(a_drain_lets_running_calls_end_and_takes_no_new_connection)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &f), 0);
    for (unsigned i = 2; i < 20; i++) {
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
        flag_wait(&c.messages, i);
    }
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    pthread_join(thread, NULL);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAVAILABLE);
    client_done(&c);
    fixture_stop(&f);
}

TEST(after_the_grace_running_calls_are_cancelled)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    rpc_server_stop(f.server, 50);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_UNAVAILABLE);
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_CANCELLED);
    client_done(&c);
    fixture_stop(&f);
}

TEST(freeing_a_channel_cancels_its_calls_and_waits_for_them)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    assert_int_equal(flag_count(&c.ended), 1);
    assert_int_equal(c.status.code, RPC_CANCELLED);
    flag_wait(&f.server_ended, 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_channel_may_be_freed_while_it_connects)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    assert_int_equal(flag_count(&c.ended), 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(an_idle_connection_is_closed_and_made_again_when_needed)
{
    fixture f;
    fixture_init(&f);
    f.limits.idle_ms = 100;
    fixture_start(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    flag_wait(&f.events[RPC_EVENT_TIMEOUT], 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    rpc_call_options options = {.wait_for_ready = true};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_OK);
    fixture_stop(&f);
}

TEST(a_streaming_method_without_a_handler_stops_the_start_by_name)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_server *server;
    rpc_status status = {0};
    rpc_server_options options = {.limits = f.limits};
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_OK);
    rpc_handler none = {0};
    assert_int_equal(
        rpc_server_set_handler(server, "/a.B/C", &none, NULL, NULL, &status), RPC_NOT_FOUND);
    assert_non_null(strstr(status.message, "no registered service has /a.B/C"));
    assert_int_equal(
        rpc_server_set_handler(server, "a.B/C", &none, NULL, NULL, &status), RPC_NOT_FOUND);
    assert_non_null(strstr(status.message, "/package.Service/Method, not a.B/C"));
    rpc_server_free(server);
    fixture_stop(&f);
}

TEST(a_service_without_a_descriptor_set_is_refused_and_told_where_it_comes_from)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_server *server;
    rpc_status status = {0};
    rpc_server_options options = {.limits = f.limits};
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_OK);
    Rpctest__Echo_Service service = {.base = RPCTEST__ECHO__BASE_INIT};
    rpc_service_options none = {0};
    assert_int_equal(
        rpc_server_add_service(server, &service.base, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "without a descriptor set"));
    assert_int_equal(
        rpc_server_add_service(server, &service.base, &none, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "dacm_rpc_protos()"));
    none.descriptor_set = rpc_bytes_str("x");
    assert_int_equal(
        rpc_server_add_service(server, &service.base, &none, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "has no service rpctest.Echo"));
    rpc_server_free(server);
    fixture_stop(&f);
}

TEST(an_address_that_is_not_of_this_machine_is_refused_and_told_what_else_to_give)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_server *server;
    rpc_status status = {0};
    rpc_server_options options = {.limits = f.limits};
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_OK);
    rpc_listener_options elsewhere = {.name = "elsewhere",
        .url = "tls+tcp://192.0.2.1:0",
        .tls = {.certificate_pem = rpc_bytes_str(f.server_cert.cert_pem),
            .key_pem = rpc_bytes_str(f.server_cert.key_pem)}};
    assert_int_equal(rpc_server_listen(server, &elsewhere, NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "this machine has no such address"));
    rpc_server_free(server);
    fixture_stop(&f);
}

/* ---- many threads
 * ------------------------------------------------------------------------------------ */

static void *call_often(void *arg)
{
    fixture *f = arg;
    for (int i = 0; i < 100; i++) {
        rpc_status status = {0};
        char *text = NULL;
        if (fixture_unary(f, NULL, i % 2 ? "thread" : "in place", &text, &status) != RPC_OK)
            return f;
        free(text);
    }
    return NULL;
}

TEST(many_threads_may_call_on_one_channel)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &f), 0);
    for (size_t i = 0; i < 8; i++) {
        void *result = &f;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.calls_started, 800);
    fixture_stop(&f);
}

static void *cancel_soon(void *arg)
{
    client_call *c = arg;
    rpc_call_cancel(c->call);
    return NULL;
}

TEST(cancelling_from_another_thread_at_any_moment_ends_each_call_once)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    for (int i = 0; i < 60; i++) {
        client_call c = {0};
        client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &c), 0);
        Rpctest__Item item = RPCTEST__ITEM__INIT;
        for (int j = 0; j < i % 4; j++)
            (void)!rpc_call_send_packed(c.call, &item.base);
        flag_wait(&c.ended, 1);
        assert_int_equal(c.status.code, RPC_CANCELLED);
        pthread_join(thread, NULL);
        client_done(&c);
    }
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "still there", NULL, &status), RPC_OK);
    fixture_stop(&f);
}
