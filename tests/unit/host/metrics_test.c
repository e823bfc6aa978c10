/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static host_metrics *metrics_new(void)
{
    host_metrics *metrics = host_metrics_new();
    assert_non_null(metrics);
    return metrics;
}

static void assert_text(host_metrics *metrics, const char *expected)
{
    size_t size = 0;
    char *text = host_metrics_text(metrics, &size);
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
}

/* The number behind a line's name. */
static double value_of(host_metrics *metrics, const char *name)
{
    size_t size = 0;
    char *text = host_metrics_text(metrics, &size);
    assert_non_null(text);
    char line[200];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text, line);
    if (!at)
        fail_msg("no '%s' in\n%s", name, text);
    double value = strtod(at + strlen(line), NULL);
    free(text);
    return value;
}

static double half(void *ctx)
{
    (void)ctx;
    return 0.5;
}

static double given(void *ctx)
{
    return *(double *)ctx;
}

TEST(metrics_without_series_are_an_empty_text)
{
    host_metrics *metrics = metrics_new();
    assert_text(metrics, "");
    host_metrics_free(metrics);
    host_metrics_free(NULL);
}

TEST(metrics_of_one_name_stand_together_under_one_help_and_type)
{
    host_metrics *metrics = metrics_new();
    host_counter *ok = host_metrics_counter(
        metrics, "rpc_calls_total", "Calls", "method=\"Download\",code=\"OK\"");
    host_metrics_gauge(metrics, "streams", "Open", NULL, half, NULL);
    host_counter *bad = host_metrics_counter(
        metrics, "rpc_calls_total", "Calls", "method=\"Download\",code=\"NO\"");
    host_counter_add(ok, 3);
    host_counter_add(bad, UINT64_C(18446744073709551615));
    assert_text(metrics, "# HELP rpc_calls_total Calls\n"
                         "# TYPE rpc_calls_total counter\n"
                         "rpc_calls_total{method=\"Download\",code=\"OK\"} 3\n"
                         "rpc_calls_total{method=\"Download\",code=\"NO\"} 18446744073709551615\n"
                         "# HELP streams Open\n"
                         "# TYPE streams gauge\n"
                         "streams 0.5\n");
    host_metrics_free(metrics);
}

TEST(metrics_same_name_and_labels_in_any_order_are_the_same_counter)
{
    host_metrics *metrics = metrics_new();
    host_counter *first = host_metrics_counter(metrics, "a", "A", "x=\"1\",y=\"2\"");
    assert_ptr_equal(host_metrics_counter(metrics, "a", "B", "y=\"2\",x=\"1\""), first);
    assert_ptr_not_equal(host_metrics_counter(metrics, "a", "A", "x=\"2\",y=\"1\""), first);
    assert_ptr_not_equal(host_metrics_counter(metrics, "a", "A", "x=\"1\""), first);
    assert_ptr_not_equal(host_metrics_counter(metrics, "b", "A", "x=\"1\",y=\"2\""), first);
    host_metrics_free(metrics);
}

TEST(metrics_help_is_escaped)
{
    host_metrics *metrics = metrics_new();
    host_counter_add(host_metrics_counter(metrics, "a", "back\\slash\nline \"quoted\"", NULL), 1);
    assert_text(metrics, "# HELP a back\\\\slash\\nline \"quoted\"\n# TYPE a counter\na 1\n");
    host_metrics_free(metrics);
}

TEST(metrics_gauges_write_every_kind_of_number)
{
    host_metrics *metrics = metrics_new();
    double values[] = {INFINITY, -INFINITY, (double)NAN, -0.1, 1e300, 12345678};
    char label[20];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        snprintf(label, sizeof label, "i=\"%zu\"", i);
        host_metrics_gauge(metrics, "g", "G", label, given, &values[i]);
    }
    assert_text(metrics, "# HELP g G\n# TYPE g gauge\ng{i=\"0\"} +Inf\ng{i=\"1\"} -Inf\n"
                         "g{i=\"2\"} NaN\ng{i=\"3\"} -0.1\ng{i=\"4\"} 1e+300\n"
                         "g{i=\"5\"} 12345678\n");
    host_metrics_free(metrics);
}

TEST(metrics_histogram_is_cumulative_in_seconds)
{
    host_metrics *metrics = metrics_new();
    host_histogram *histogram = host_metrics_histogram(metrics, "t_seconds", "T", "m=\"G\"");
    const int64_t us[] = {0, 100, 101, 2500, 7000, 10000000, 11000000};
    for (size_t i = 0; i < sizeof us / sizeof *us; i++)
        host_histogram_record(histogram, us[i]);
    assert_text(metrics, "# HELP t_seconds T\n"
                         "# TYPE t_seconds histogram\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.0001\"} 2\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.00025\"} 3\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.0005\"} 3\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.001\"} 3\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.0025\"} 4\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.005\"} 4\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.01\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.025\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.05\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.1\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.25\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"0.5\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"1\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"2.5\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"5\"} 5\n"
                         "t_seconds_bucket{m=\"G\",le=\"10\"} 6\n"
                         "t_seconds_bucket{m=\"G\",le=\"+Inf\"} 7\n"
                         "t_seconds_sum{m=\"G\"} 21.009701\n"
                         "t_seconds_count{m=\"G\"} 7\n");
    host_metrics_free(metrics);
}

TEST(metrics_histogram_is_exact_at_each_bound)
{
    const char *bounds[] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
        "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        host_metrics *metrics = metrics_new();
        host_histogram *histogram = host_metrics_histogram(metrics, "h", "H", NULL);
        int64_t us = (int64_t)(strtod(bounds[i], NULL) * 1e6 + 0.5);
        host_histogram_record(histogram, us);     /* at the bound: within */
        host_histogram_record(histogram, us - 1); /* below: within */
        host_histogram_record(histogram, us + 1); /* above: not */
        char name[60];
        snprintf(name, sizeof name, "h_bucket{le=\"%s\"}", bounds[i]);
        assert_int_equal((int)value_of(metrics, name), 2);
        host_metrics_free(metrics);
    }
}

TEST(metrics_histogram_takes_any_duration)
{
    host_metrics *metrics = metrics_new();
    host_histogram *histogram = host_metrics_histogram(metrics, "h", "H", NULL);
    host_histogram_record(histogram, -5);
    host_histogram_record(histogram, INT64_MIN);
    host_histogram_record(histogram, INT64_MAX);
    host_histogram_record(histogram, 3600LL * 1000000);
    assert_int_equal((int)value_of(metrics, "h_count"), 4);
    assert_int_equal((int)value_of(metrics, "h_bucket{le=\"0.0001\"}"), 2);
    assert_int_equal((int)value_of(metrics, "h_sum"), 7200);
    host_metrics_free(metrics);
}

/* What a family's function gives in these tests. */
typedef struct latencies {
    const char *labels;
    rpc_call_stats stats;
} latencies;

static void give_latencies(void *ctx, host_samples *samples)
{
    const latencies *of = ctx;
    host_sample_latency(samples, of->labels, &of->stats);
}

TEST(metrics_latencies_of_a_function_are_shown_as_a_histogram)
{
    host_metrics *metrics = metrics_new();
    latencies given = {.labels = "m=\"G\""};
    host_metrics_latencies(metrics, "t", "T", give_latencies, &given);
    given.stats.latency[rpc_latency_cell(100)] = 2;
    given.stats.latency[rpc_latency_cell(101)] = 1;
    given.stats.latency_sum_us = 301;
    assert_int_equal((int)value_of(metrics, "t_bucket{m=\"G\",le=\"0.0001\"}"), 2);
    assert_int_equal((int)value_of(metrics, "t_bucket{m=\"G\",le=\"0.00025\"}"), 3);
    assert_int_equal((int)value_of(metrics, "t_count{m=\"G\"}"), 3);
    assert_int_equal((int)(value_of(metrics, "t_sum{m=\"G\"}") * 1e6 + 0.5), 301);
    host_metrics_free(metrics);
}

static void give_two(void *ctx, host_samples *samples)
{
    const uint64_t *values = ctx;
    host_sample_count(samples, "i=\"1\"", values[0]);
    host_sample_count(samples, NULL, values[1]);
}

TEST(metrics_of_a_function_are_read_at_each_text)
{
    host_metrics *metrics = metrics_new();
    uint64_t values[] = {1, 2};
    host_metrics_counters(metrics, "c", "C", give_two, values);
    assert_text(metrics, "# HELP c C\n# TYPE c counter\nc{i=\"1\"} 1\nc 2\n");
    values[1] = UINT64_MAX;
    assert_text(metrics, "# HELP c C\n# TYPE c counter\nc{i=\"1\"} 1\nc 18446744073709551615\n");
    host_metrics_free(metrics);
}

TEST(metrics_that_there_was_no_memory_for_are_silently_not_counted)
{
    host_counter_add(NULL, 1);
    host_histogram_record(NULL, 1);
}

TEST(metrics_series_are_bounded)
{
    host_metrics *metrics = metrics_new();
    char labels[32];
    for (unsigned i = 0; i < HOST_METRICS_SERIES_MAX; i++) {
        snprintf(labels, sizeof labels, "n=\"%u\"", i % 64);
        char name[32];
        snprintf(name, sizeof name, "c%u", i / 64);
        assert_non_null(host_metrics_counter(metrics, name, "C", labels));
    }
    assert_null(host_metrics_counter(metrics, "one_more", "C", NULL));
    assert_non_null(host_metrics_counter(metrics, "c0", "C", "n=\"0\""));
    size_t size = 0;
    char *text = host_metrics_text(metrics, &size);
    assert_null(strstr(text, "one_more"));
    free(text);
    host_metrics_free(metrics);
}

typedef struct race {
    host_metrics *metrics;
    host_histogram *histogram;
} race;

static void *record(void *arg)
{
    race *with = arg;
    char labels[32];
    for (int i = 0; i < 2000; i++) {
        snprintf(labels, sizeof labels, "i=\"%d\"", i % 7);
        host_counter_add(host_metrics_counter(with->metrics, "c", "C", labels), 1);
        host_histogram_record(with->histogram, i);
    }
    return NULL;
}

TEST(metrics_of_many_threads_lose_nothing)
{
    race with = {.metrics = metrics_new()};
    with.histogram = host_metrics_histogram(with.metrics, "h", "H", NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record, &with), 0);
    for (int i = 0; i < 50; i++)
        assert_true(value_of(with.metrics, "h_bucket{le=\"+Inf\"}") >= 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    double sum = 0;
    for (int i = 0; i < 7; i++) {
        char name[32];
        snprintf(name, sizeof name, "c{i=\"%d\"}", i);
        sum += value_of(with.metrics, name);
    }
    assert_int_equal((int)sum, 8000);
    assert_int_equal((int)value_of(with.metrics, "h_count"), 8000);
    host_metrics_free(with.metrics);
}

/* ---- bugs of the caller ---------------------------------------------------------------------- */

static void add_one(const char *name, const char *labels, bool histogram)
{
    host_metrics *metrics = host_metrics_new();
    latencies given = {.labels = labels};
    size_t size;
    if (histogram) {
        host_metrics_latencies(metrics, name, "H", give_latencies, &given);
        free(host_metrics_text(metrics, &size));
    } else {
        (void)!host_metrics_counter(metrics, name, "H", labels);
    }
    host_metrics_free(metrics);
}

static void clash(
    const char *first, bool first_histogram, const char *second, bool second_histogram)
{
    host_metrics *metrics = host_metrics_new();
    bool histogram = first_histogram;
    const char *name = first;
    latencies none = {0};
    for (int i = 0; i < 2; i++) {
        if (histogram)
            host_metrics_latencies(metrics, name, "H", give_latencies, &none);
        else
            (void)!host_metrics_counter(metrics, name, "H", NULL);
        histogram = second_histogram;
        name = second;
    }
    host_metrics_free(metrics);
}

static void gauge_twice(void)
{
    host_metrics *metrics = host_metrics_new();
    host_metrics_gauge(metrics, "g", "G", NULL, half, NULL);
    host_metrics_gauge(metrics, "g", "G", NULL, half, NULL);
}

static void family_twice(bool series)
{
    uint64_t values[] = {1, 2};
    host_metrics *metrics = host_metrics_new();
    host_metrics_counters(metrics, "c", "C", give_two, values);
    if (series)
        (void)!host_metrics_counter(metrics, "c", "C", "i=\"3\"");
    else
        host_metrics_counters(metrics, "c", "C", give_two, values);
}

static void sample_of_another_type(void)
{
    size_t size;
    latencies given = {0};
    host_metrics *metrics = host_metrics_new();
    host_metrics_counters(metrics, "c", "C", give_latencies, &given);
    free(host_metrics_text(metrics, &size));
}

/* The signal that ends a child which runs the block; 0 when it returns. */
#define ENDED_BY(...)                                                                              \
    __extension__({                                                                                \
        fflush(NULL);                                                                              \
        pid_t child = fork();                                                                      \
        assert_true(child >= 0);                                                                   \
        if (child == 0) {                                                                          \
            struct rlimit none = {0, 0};                                                           \
            setrlimit(RLIMIT_CORE, &none);                                                         \
            signal(SIGABRT, SIG_DFL);                                                              \
            if (!freopen("/dev/null", "w", stderr))                                                \
                _exit(2);                                                                          \
            __VA_ARGS__;                                                                           \
            _exit(0);                                                                              \
        }                                                                                          \
        int ended = 0;                                                                             \
        assert_int_equal(waitpid(child, &ended, 0), child);                                        \
        WIFSIGNALED(ended) ? WTERMSIG(ended) : 0;                                                  \
    })

TEST(metrics_names_that_prometheus_refuses_abort)
{
    const char *good[] = {"a", "_a", ":a:b", "A9"};
    const char *bad[] = {"", "9a", "a-b", "a b", "a\xC3\xA4", "a{", "a\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(ENDED_BY(add_one(good[i], NULL, false)), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ENDED_BY(add_one(bad[i], NULL, false)), SIGABRT);
}

TEST(metrics_labels_that_prometheus_refuses_abort)
{
    const char *good[] = {"a=\"\"", "a=\"1\",b=\"2\"", "a=\"\\\\\\\"\\n\"", "a=\"\xC3\xA4\"",
        "le=\"1\"", "_a=\"{,}\""};
    const char *bad[] = {"a", "a=", "a=1", "a=\"", "a=\"1", "a=\"1\",", ",a=\"1\"", "a=\"1\" ",
        "a=\"1\"b=\"2\"", "9a=\"1\"", "a:b=\"1\"", "__a=\"1\"", "a=\"\n\"", "a=\"\\t\"", "a=\"\\",
        "a=\"\\\"", "a=\"\xff\"", "a=\"1\",a=\"2\"", "=\"1\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(ENDED_BY(add_one("n", good[i], false)), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ENDED_BY(add_one("n", bad[i], false)) != SIGABRT)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(ENDED_BY(add_one("n", "le=\"1\"", true)), SIGABRT);
}

TEST(metrics_names_that_clash_abort)
{
    assert_int_equal(ENDED_BY(clash("a", false, "b", true)), 0);
    assert_int_equal(ENDED_BY(clash("a", true, "a_sums", false)), 0);
    assert_int_equal(ENDED_BY(clash("a", false, "a", true)), SIGABRT);
    assert_int_equal(ENDED_BY(clash("a", true, "a_sum", false)), SIGABRT);
    assert_int_equal(ENDED_BY(clash("a_count", false, "a", true)), SIGABRT);
    assert_int_equal(ENDED_BY(clash("a_bucket", true, "a", true)), SIGABRT);
    assert_int_equal(ENDED_BY(gauge_twice()), SIGABRT);
    assert_int_equal(ENDED_BY(family_twice(false)), SIGABRT);
    assert_int_equal(ENDED_BY(family_twice(true)), SIGABRT);
    assert_int_equal(ENDED_BY(sample_of_another_type()), SIGABRT);
}
