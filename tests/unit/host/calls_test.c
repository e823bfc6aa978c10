/* SPDX-License-Identifier: Apache-2.0 */
/* What a server tells of its connections: counters and log lines; and its limits as settings. */
#include "host.h"

#include "test.h"

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

TEST(a_flood_of_refusals_is_counted_and_logged_ten_times_a_second)
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
    size_t size;
    char *text = host_metrics_text(metrics, &size);
    assert_non_null(text);
    assert_non_null(strstr(text, "dacm_limit_reached_total{limit=\"connections\"} 1001\n"));
    assert_non_null(strstr(text, "dacm_limit_reached_total{limit=\"handshake\"} 1\n"));
    assert_non_null(strstr(text, "dacm_limit_reached_total{limit=\"server_memory\"} 0\n"));
    free(text);
    host_rpc_free(watch);
    host_metrics_free(metrics);
    host_log_close(log);
    assert_int_equal(count_lines(path, "\"handshake\"", last, sizeof last), 1);
    assert_int_equal(count_lines(path, "\"connections\"", last, sizeof last), 11);
    if (!strstr(last, "\"lines_dropped\": 990"))
        fail_msg("%s", last);
}

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
