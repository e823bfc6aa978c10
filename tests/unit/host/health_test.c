/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "test.h"

#include <pthread.h>

static void assert_answer(host_health *health, unsigned status, const char *body)
{
    host_reply reply = {0};
    host_health_reply(health, &reply);
    assert_int_equal(reply.status, status);
    assert_non_null(reply.body);
    assert_int_equal(reply.size, strlen(body));
    assert_memory_equal(reply.body, body, reply.size);
    free(reply.body);
}

TEST(health_without_conditions_is_ok)
{
    host_health *health = host_health_new();
    assert_true(host_health_ok(health));
    assert_answer(health, 200, "{\"status\":\"ok\",\"checks\":{},\"warnings\":[]}\n");
    host_health_free(health);
    host_health_free(NULL);
}

TEST(health_fails_while_one_condition_fails)
{
    host_health *health = host_health_new();
    host_health_set(health, "store", true, NULL);
    host_health_set(health, "audit", false, "disk \"full\"");
    assert_false(host_health_ok(health));
    assert_answer(health, 503,
        "{\"status\":\"failing\",\"checks\":{\"store\":{\"ok\":true,\"text\":\"\"},"
        "\"audit\":{\"ok\":false,\"text\":\"disk \\\"full\\\"\"}},\"warnings\":[]}\n");
    host_health_set(health, "audit", true, "writes again");
    assert_true(host_health_ok(health));
    assert_answer(health, 200,
        "{\"status\":\"ok\",\"checks\":{\"store\":{\"ok\":true,\"text\":\"\"},"
        "\"audit\":{\"ok\":true,\"text\":\"writes again\"}},\"warnings\":[]}\n");
    host_health_free(health);
}

TEST(health_warnings_fail_nothing_and_are_taken_back)
{
    host_health *health = host_health_new();
    host_health_warn(health, "literal mode", "issuer one");
    host_health_warn(health, "clock", "not in step");
    assert_true(host_health_ok(health));
    assert_answer(health, 200,
        "{\"status\":\"ok\",\"checks\":{},\"warnings\":["
        "{\"name\":\"literal mode\",\"text\":\"issuer one\"},"
        "{\"name\":\"clock\",\"text\":\"not in step\"}]}\n");
    host_health_warn(health, "literal mode", NULL);
    assert_answer(health, 200,
        "{\"status\":\"ok\",\"checks\":{},\"warnings\":["
        "{\"name\":\"clock\",\"text\":\"not in step\"}]}\n");
    host_health_free(health);
}

static void *flip(void *arg)
{
    for (int i = 0; i < 1000; i++)
        host_health_set(arg, i % 2 ? "a" : "b", i % 3 != 0, "text");
    return NULL;
}

TEST(health_of_many_threads_is_always_whole)
{
    host_health *health = host_health_new();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flip, health), 0);
    for (int i = 0; i < 200; i++) {
        host_reply reply = {0};
        host_health_reply(health, &reply);
        bool ok = strncmp(reply.body, "{\"status\":\"ok\"", 14) == 0;
        assert_int_equal(reply.status, ok ? 200 : 503);
        free(reply.body);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    host_health_free(health);
}
