/* SPDX-License-Identifier: Apache-2.0 */
/* What a server tells of its calls and connections: metrics and log lines; and its limits as
 * settings. */
#include "host.h"

#include "fixture.h"

static int64_t now_us;

static int64_t monotonic_us(void *ctx)
{
    (void)ctx;
    return now_us;
}

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return 1700000000000;
}

static const rpc_clock stopped = {monotonic_us, wall_ms, NULL};

static unsigned count_lines(const char *path, const char *word, char *last, size_t room)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[2048];
    unsigned count = 0;
    while (fgets(line, sizeof line, file))
        if (strstr(line, word)) {
            count++;
            snprintf(last, room, "%s", line);
        }
    fclose(file);
    return count;
}

TEST(a_flood_of_refusals_is_logged_ten_times_a_second)
{
    char path[512], last[2048] = "";
    snprintf(path, sizeof path, "%s/log", test_tmpdir());
    host_log *log = NULL;
    now_us = 5000000;
    assert_int_equal(host_log_open(path, HOST_INFO, "test", &stopped, &log, NULL), RPC_OK);
    host_metrics *metrics = host_metrics_new();
    host_rpc *watch = host_rpc_new(log, metrics, &stopped);
    assert_non_null(watch);
    rpc_event event = {RPC_EVENT_REFUSED, RPC_LIMIT_CONNECTIONS, "users", "192.0.2.1:1",
        "connections_max reached"};
    for (int i = 0; i < 1000; i++)
        host_rpc_event(watch, &event);
    rpc_event other = {RPC_EVENT_TIMEOUT, RPC_LIMIT_HANDSHAKE, "users", "192.0.2.1:1", "slow"};
    host_rpc_event(watch, &other); /* another reason has lines of its own */
    now_us += 1000000;
    host_rpc_event(watch, &event);
    host_rpc_free(watch);
    host_metrics_free(metrics);
    host_log_close(log);
    assert_int_equal(count_lines(path, "\"handshake\"", last, sizeof last), 1);
    assert_int_equal(count_lines(path, "\"connections\"", last, sizeof last), 11);
    if (!strstr(last, "\"lines_dropped\": 990"))
        fail_msg("%s", last);
}

/* ---- metrics of a server -------------------------------------------------------------------- */

/* A server that is watched, in plain text. */
typedef struct watched {
    fixture f;
    char path[512];
    host_log *log;
    host_metrics *metrics;
    host_rpc *calls;
    rpc_interceptor interceptor;
} watched;

static void watched_init(watched *w)
{
    *w = (watched){0};
    fixture_init(&w->f);
    snprintf(w->path, sizeof w->path, "%s/calls.log", test_tmpdir());
    assert_int_equal(host_log_open(w->path, HOST_INFO, "test", &w->f.clock, &w->log, NULL), RPC_OK);
    w->metrics = host_metrics_new();
    w->calls = host_rpc_new(w->log, w->metrics, &w->f.clock);
    assert_non_null(w->calls);
    w->interceptor = host_rpc_interceptor(w->calls);
    w->f.interceptors = &w->interceptor;
    w->f.interceptor_count = 1;
    w->f.plain = true;
}

static void watched_start(watched *w)
{
    fixture_start(&w->f);
    host_rpc_show(w->calls, w->f.server);
}

/* The log is whole afterwards. */
static void watched_stop(watched *w)
{
    fixture_stop(&w->f);
    host_rpc_free(w->calls);
    host_metrics_free(w->metrics);
    host_log_close(w->log);
}

static char *text_of(watched *w)
{
    size_t size;
    char *text = host_metrics_text(w->metrics, &size);
    assert_non_null(text);
    return text;
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        count++;
    return count;
}

/* Stands once in the text, with this value. */
static void assert_value(const char *text, const char *series, const char *value)
{
    char line[256];
    snprintf(line, sizeof line, "\n%s ", series);
    assert_int_equal(occurrences(text, line), 1);
    snprintf(line, sizeof line, "\n%s %s\n", series, value);
    if (!strstr(text, line))
        fail_msg("not %s: %.200s", value, strstr(text, series));
}

TEST(calls_are_shown_as_librpc_counts_them)
{
    watched w;
    watched_init(&w);
    w.f.with_other = true; /* has a method Unary, too */
    watched_start(&w);
    rpc_status status = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_unary(&w.f, NULL, "four", NULL, &status), RPC_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fixture_unary(&w.f, NULL, "fail", NULL, &status), RPC_NOT_FOUND);
    client_call c = {0};
    client_start(&c, &w.f, "/no.Such/Method", NULL);
    flag_wait(&c.ended, 1);
    client_done(&c);
    char *text = text_of(&w);
    assert_value(text, "dacm_calls_total{method=\"Unary\",code=\"OK\"}", "3");
    assert_value(text, "dacm_calls_total{method=\"Unary\",code=\"NOT_FOUND\"}", "2");
    assert_value(text, "dacm_calls_total{method=\"Unary\",code=\"INTERNAL\"}", "0");
    assert_value(text, "dacm_calls_total{method=\"unknown\",code=\"UNIMPLEMENTED\"}", "1");
    assert_value(text, "dacm_call_seconds_count{method=\"Unary\"}", "5");
    assert_value(text, "dacm_call_seconds_bucket{method=\"Unary\",le=\"+Inf\"}", "5");
    assert_value(text, "dacm_received_bytes_total", "55");
    assert_value(text, "dacm_sent_bytes_total", "33");
    assert_value(text, "dacm_connection_events_total{kind=\"accepted\"}", "1");
    assert_null(strstr(text, "Chat")); /* never called */
    free(text);
    watched_stop(&w);
}

TEST(access_lines_and_metrics_tell_the_same_time)
{
    watched w;
    watched_init(&w);
    watched_start(&w);
    rpc_status status = {0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(fixture_unary(&w.f, NULL, "four", NULL, &status), RPC_OK);
    char *text = text_of(&w);
    const char *sum = strstr(text, "dacm_call_seconds_sum{method=\"Unary\"} ");
    assert_non_null(sum);
    long long in_metrics = (long long)(strtod(strchr(sum, ' '), NULL) * 1e6 + 0.5), in_lines = 0;
    free(text);
    watched_stop(&w);
    FILE *file = fopen(w.path, "r");
    assert_non_null(file);
    char line[2048];
    unsigned count = 0;
    while (fgets(line, sizeof line, file)) {
        const char *duration = strstr(line, "\"duration_us\": ");
        assert_non_null(duration);
        in_lines += strtoll(strchr(duration, ':') + 1, NULL, 10);
        count++;
    }
    fclose(file);
    assert_int_equal(count, 4);
    assert_int_equal(in_lines, in_metrics);
}

TEST(limits_that_peers_reach_are_shown)
{
    watched w;
    watched_init(&w);
    w.f.limits.connections_max = 1;
    watched_start(&w);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&w.f, NULL, "four", NULL, &status), RPC_OK);
    rpc_channel *first = w.f.channel;
    w.f.channel = fixture_channel(&w.f);
    assert_int_equal(fixture_unary(&w.f, NULL, "four", NULL, &status), RPC_UNAVAILABLE);
    rpc_channel_free(w.f.channel);
    w.f.channel = first;
    rpc_server_stats stats = rpc_server_get_stats(w.f.server);
    assert_true(stats.limits[RPC_LIMIT_CONNECTIONS] > 0);
    char *text = text_of(&w), value[24];
    snprintf(value, sizeof value, "%llu", (unsigned long long)stats.limits[RPC_LIMIT_CONNECTIONS]);
    assert_value(text, "dacm_limit_reached_total{limit=\"connections\"}", value);
    assert_value(text, "dacm_limit_reached_total{limit=\"server_memory\"}", "0");
    free(text);
    watched_stop(&w);
}

/* ---- limits as settings --------------------------------------------------------------------- */

static const host_setting limits_table[] = {HOST_RPC_LIMITS(HOST_RPC_LIMIT_SETTING)};
#define LIMITS (sizeof limits_table / sizeof *limits_table)

static rpc_limits read_limits(const char *yaml)
{
    host_settings *settings = NULL;
    rpc_status status = {0};
    if (host_settings_parse(
            "f.yaml", rpc_bytes_str(yaml), limits_table, LIMITS, &settings, &status) != RPC_OK)
        fail_msg("%s", status.message);
    rpc_limits limits = host_rpc_limits(host_settings_values(settings));
    host_settings_free(settings);
    return limits;
}

TEST(limits_of_an_empty_file_are_the_librarys)
{
    rpc_limits read = read_limits("{}"), standard = rpc_limits_default();
#define SAME(member, setting, unit, least, most, fallback, text)                                   \
    if (read.member != standard.member)                                                            \
        fail_msg("%s: the default in the settings is not the library's", setting);
    HOST_RPC_LIMITS(SAME)
}

TEST(limits_of_a_file_are_taken_and_0_is_for_ever_where_that_may_be)
{
    rpc_limits read = read_limits("limits:\n  streams: 7\n  idle_ms: 0\n  stream_send_ms: 0\n"
                                  "  server_memory_bytes: 2097152\n");
    assert_int_equal(read.streams_max, 7);
    assert_true(read.idle_ms == RPC_NO_TIMEOUT);
    assert_true(read.stream_send_ms == RPC_NO_TIMEOUT);
    assert_int_equal(read.stream_receive_ms, 300000);
    assert_int_equal(read.server_memory_bytes_max, 2097152);
}

static rpc_code judge(const rpc_limits *limits)
{
    rpc_runtime *runtime = NULL;
    rpc_server *server = NULL;
    rpc_server_options options = {.limits = *limits};
    assert_int_equal(rpc_runtime_new(NULL, &runtime, NULL), RPC_OK);
    rpc_code code = rpc_server_new(runtime, &options, &server, NULL);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return code;
}

TEST(the_ends_of_every_range_in_the_settings_are_taken_by_the_library)
{
    rpc_limits least = rpc_limits_default(), most = least;
#define ENDS(member, setting, unit, min, max, fallback, text)                                      \
    least.member = (min) == 0 && strstr(setting, "_ms") ? 1 : (min);                               \
    most.member = (max);
    HOST_RPC_LIMITS(ENDS)
    assert_int_equal(judge(&least), RPC_OK);
    assert_int_equal(judge(&most), RPC_OK);
}
