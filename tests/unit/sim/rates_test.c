/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of tries: bursts, refills, many names. */
#include "rates.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct turned {
    rpc_clock clock;
    _Atomic int64_t ms;
} turned;

static int64_t monotonic_us(void *ctx)
{
    return atomic_load(&((turned *)ctx)->ms) * 1000;
}

static int64_t wall_ms(void *ctx)
{
    return atomic_load(&((turned *)ctx)->ms);
}

static void turn(turned *t)
{
    t->clock = (rpc_clock){monotonic_us, wall_ms, t};
    atomic_store(&t->ms, 5000000);
}

#define NAME(text) rpc_bytes_str(text)

TEST(burst_is_taken_and_then_one_for_each_interval)
{
    turned t;
    unsigned retry_s = 0;
    turn(&t);
    sim_rates *rates = sim_rates_new(3, 10000, 64, &t.clock);
    for (int i = 0; i < 3; i++)
        assert_true(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_int_equal(retry_s, 10);
    t.ms += 9999;
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_int_equal(retry_s, 1);
    t.ms += 1;
    assert_true(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    t.ms += 1000000; /* full again, and no fuller */
    for (int i = 0; i < 3; i++)
        assert_true(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    sim_rates_free(rates);
}

TEST(refused_tries_cost_nothing)
{
    turned t;
    unsigned retry_s;
    turn(&t);
    sim_rates *rates = sim_rates_new(1, 1000, 64, &t.clock);
    assert_true(sim_rates_take(rates, NAME("a"), &retry_s));
    for (int i = 0; i < 100; i++)
        assert_false(sim_rates_take(rates, NAME("a"), &retry_s));
    t.ms += 1000;
    assert_true(sim_rates_take(rates, NAME("a"), &retry_s));
    sim_rates_free(rates);
}

TEST(names_have_buckets_of_their_own)
{
    turned t;
    unsigned retry_s;
    turn(&t);
    sim_rates *rates = sim_rates_new(1, 1000, 64, &t.clock);
    assert_true(sim_rates_take(rates, NAME("alice"), &retry_s));
    assert_true(sim_rates_take(rates, NAME("bob"), &retry_s));
    assert_true(sim_rates_take(rates, NAME(""), &retry_s));
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    sim_rates_free(rates);
}

TEST(what_is_given_back_can_be_taken_again_and_no_more)
{
    turned t;
    unsigned retry_s;
    turn(&t);
    sim_rates *rates = sim_rates_new(2, 1000, 64, &t.clock);
    assert_true(sim_rates_take(rates, NAME("a"), &retry_s));
    sim_rates_give(rates, NAME("a"));
    for (int i = 0; i < 5; i++) /* of somebody who took nothing */
        sim_rates_give(rates, NAME("a"));
    assert_true(sim_rates_take(rates, NAME("a"), &retry_s));
    assert_true(sim_rates_take(rates, NAME("a"), &retry_s));
    assert_false(sim_rates_take(rates, NAME("a"), &retry_s));
    sim_rates_free(rates);
}

TEST(who_is_limited_stays_so_among_many_names_that_are_not)
{
    turned t;
    unsigned retry_s;
    char name[32];
    turn(&t);
    sim_rates *rates = sim_rates_new(5, 60000, 1024, &t.clock);
    while (sim_rates_take(rates, NAME("alice"), &retry_s)) {
    }
    /* As many names as there is room for, each once: forgotten is the fullest. */
    for (int i = 0; i < 1024; i++) {
        snprintf(name, sizeof name, "other-%d", i);
        assert_true(sim_rates_take(rates, NAME(name), &retry_s));
    }
    assert_false(sim_rates_take(rates, NAME("alice"), &retry_s));
    sim_rates_free(rates);
}

typedef struct taker {
    sim_rates *rates;
    atomic_uint *taken;
} taker;

static void *take_many(void *arg)
{
    taker *t = arg;
    unsigned retry_s;
    for (int i = 0; i < 1000; i++)
        if (sim_rates_take(t->rates, NAME("all"), &retry_s))
            atomic_fetch_add(t->taken, 1);
    return NULL;
}

TEST(addresses_of_one_network_count_together)
{
    static const char *const pairs[][2] = {
        {"127.0.0.1", "127.0.0.1"},
        {"2001:db8:1:2::1", "2001:db8:1:2::"},
        {"2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"},
        {"2001:db8:1:3::1", "2001:db8:1:3::"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char network[SIM_NETWORK_MAX];
        sim_rates_network(pairs[i][0], network);
        assert_string_equal(network, pairs[i][1]);
    }
}

TEST(threads_together_take_no_more_than_there_is)
{
    enum { THREADS = 4, BURST = 500 };
    turned t;
    pthread_t threads[THREADS];
    atomic_uint taken = 0;
    turn(&t);
    taker all = {sim_rates_new(BURST, 1000, 64, &t.clock), &taken};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &all), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&taken), BURST);
    sim_rates_free(all.rates);
}
