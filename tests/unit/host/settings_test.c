/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "test.h"

static const char *const modes[] = {"token+profile", "profile", "token", NULL};
static const host_setting issuer_fields[] = {
    {.name = "issuer", .kind = HOST_STRING, .min = 1, .max = 200, .description = "URL"},
    {.name = "mode",
        .kind = HOST_ENUM,
        .choices = modes,
        .fallback = "token+profile",
        .description = "which steps"},
    {.name = "typ", .kind = HOST_STRING_LIST, .min = 1, .max = 20, .description = "types"},
};
static const host_setting table[] = {
    {.name = "resource", .kind = HOST_STRING, .min = 1, .max = 64, .description = "URI"},
    {.name = "listen.users.url",
        .kind = HOST_STRING,
        .max = 64,
        .fallback = "none",
        .description = "where"},
    {.name = "limits.streams",
        .kind = HOST_INT,
        .unit = "streams",
        .min = 1,
        .max = 1000,
        .fallback = "100",
        .reloadable = true,
        .description = "a connection"},
    {.name = "debug", .kind = HOST_BOOL, .fallback = "false", .description = "more"},
    {.name = "issuers",
        .kind = HOST_MAP_LIST,
        .fields = issuer_fields,
        .field_count = 3,
        .description = "who issues"},
};
#define COUNT (sizeof table / sizeof table[0])

static host_settings *parse(const char *yaml)
{
    host_settings *settings;
    rpc_status status;
    if (host_settings_parse("f.yaml", rpc_bytes_str(yaml), table, COUNT, &settings, &status) !=
        RPC_OK)
        fail_msg("%s", status.message);
    return settings;
}

static void refused(const char *yaml, const char *message)
{
    host_settings *settings = NULL;
    rpc_status status;
    assert_int_equal(
        host_settings_parse("f.yaml", rpc_bytes_str(yaml), table, COUNT, &settings, &status),
        RPC_INVALID_ARGUMENT);
    assert_string_equal(status.message, message);
    assert_null(settings);
}

TEST(settings_values_and_defaults_are_read)
{
    host_settings *settings = parse("resource: https://x/\n"
                                    "listen:\n  users:\n    url: tcp://a\n"
                                    "issuers:\n"
                                    "  - issuer: one\n    mode: profile\n    typ: [a, 'b c']\n"
                                    "  - issuer: two\n");
    const host_values *values = host_settings_values(settings);
    assert_string_equal(host_string(values, "resource"), "https://x/");
    assert_string_equal(host_string(values, "listen.users.url"), "tcp://a");
    assert_int_equal(host_line(values, "listen.users.url"), 4);
    assert_int_equal(host_int(values, "limits.streams"), 100);
    assert_int_equal(host_line(values, "limits.streams"), 0);
    assert_false(host_bool(values, "debug"));
    assert_int_equal(host_list_count(values, "issuers"), 2);
    const host_values *one = host_map_list(values, "issuers", 0);
    assert_string_equal(host_string(one, "issuer"), "one");
    assert_int_equal(host_enum(one, "mode"), 1);
    assert_int_equal(host_list_count(one, "typ"), 2);
    assert_string_equal(host_string_list(one, "typ")[1], "b c");
    assert_int_equal(host_enum(host_map_list(values, "issuers", 1), "mode"), 0);
    host_settings_free(settings);
}

TEST(settings_unknown_key_names_line_and_the_nearest)
{
    refused("resource: x\nlimits:\n  stream: 5\n",
        "f.yaml:3: 'limits.stream': no such setting; did you mean 'limits.streams'?");
    refused("resource: x\nsomething: 5\n",
        "f.yaml:2: 'something': no such setting; --help-config lists them");
    refused("resource: x\nissuers:\n  - isuer: a\n",
        "f.yaml:3: 'isuer': no such setting; did you mean 'issuer'?");
}

TEST(settings_bad_values_say_what_is_taken)
{
    refused("resource: x\nlimits:\n  streams: 0\n",
        "f.yaml:3: 'limits.streams': '0' is not a number of 1 to 1000 streams");
    refused("resource: x\nlimits:\n  streams: 5k\n",
        "f.yaml:3: 'limits.streams': '5k' is not a number of 1 to 1000 streams");
    refused("resource: x\nlimits: {streams: 99999999999999999999}\n",
        "f.yaml:2: 'limits.streams': '99999999999999999999' is not a number of 1 to 1000 streams");
    refused("resource: x\ndebug: yes\n", "f.yaml:2: 'debug': 'yes' is neither true nor false");
    refused("resource: x\nissuers: [{issuer: a, mode: all}]\n",
        "f.yaml:2: 'mode': 'all' is none of token+profile, profile, token");
    refused("resource: ''\n", "f.yaml:1: 'resource': has 0 bytes; 1 to 64 are taken");
}

TEST(settings_missing_ones_are_named)
{
    refused("debug: true\n", "f.yaml:1: 'resource' is missing: URI");
    refused("", "f.yaml:1: 'resource' is missing: URI");
    refused("resource: x\nissuers:\n  - mode: token\n", "f.yaml:3: 'issuer' is missing: URL");
}

TEST(settings_structure_is_judged)
{
    refused("resource: x\nresource: y\n", "f.yaml:2: 'resource': set twice; first in line 1");
    refused("resource: [x]\n", "f.yaml:1: 'resource': expected one plain value");
    refused("resource: x\nissuers: one\n", "f.yaml:2: 'issuers': expected a list (- entry)");
    refused("resource: x\nissuers: [one]\n",
        "f.yaml:2: 'issuers': each entry is a map (- name: value)");
    refused("- a\n", "f.yaml:1: '-': expected settings (name: value)");
    refused("resource: x\n---\nresource: y\n", "f.yaml:2: '---': a second document; one is taken");
}

TEST(settings_anchors_aliases_and_tags_are_refused)
{
    const char *message = "f.yaml:1: anchors, aliases and tags are not taken; write the value out";
    refused("resource: &a x\n", message);
    refused("resource: *a\n", message);
    refused("resource: !!str x\n", message);
}

TEST(settings_messages_are_one_line_of_ascii_whatever_the_file_holds)
{
    refused("resource: x\n\"resource\\ny\": z\n",
        "f.yaml:2: 'resource?y': no such setting; did you mean 'resource'?");
    refused("resource: x\nissuers: [{issuer: a, mode: \"\\e[31m\\x7f\"}]\n",
        "f.yaml:2: 'mode': '?[31m?' is none of token+profile, profile, token");
    /* The value is cut after 32 bytes: within the last of these characters. */
    refused("resource: x\ndebug: xääääääääääää"
            "äääää\n",
        "f.yaml:2: 'debug': 'x???????????????????????????????"
        "' is neither true nor false");
}

TEST(settings_name_with_nul_is_not_the_name_before_it)
{
    refused("\"resource\\0evil\": x\n", "f.yaml:1: 'resource': holds NUL, which no name may");
}

TEST(settings_that_are_not_yaml_or_too_large_are_refused)
{
    host_settings *settings = NULL;
    rpc_status status;
    const char *broken[] = {"a: [", "\xff\xfe", "a:\n\t- b", "\"", "{", "a: b: c"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_int_equal(host_settings_parse(
                             "f.yaml", rpc_bytes_str(broken[i]), table, COUNT, &settings, &status),
            RPC_INVALID_ARGUMENT);
    uint8_t *large = calloc(1, HOST_SETTINGS_BYTES_MAX + 1);
    assert_int_equal(host_settings_parse("f.yaml", rpc_bytes_of(large, HOST_SETTINGS_BYTES_MAX + 1),
                         table, COUNT, &settings, &status),
        RPC_RESOURCE_EXHAUSTED);
    memset(large, '[', HOST_SETTINGS_BYTES_MAX);
    assert_int_not_equal(host_settings_parse("f.yaml", rpc_bytes_of(large, HOST_SETTINGS_BYTES_MAX),
                             table, COUNT, &settings, &status),
        RPC_OK);
    free(large);
    assert_null(settings);
}

TEST(settings_deep_nesting_is_refused)
{
    char yaml[8192] = "resource: ";
    memset(yaml + 10, '[', 4000);
    refused(yaml, "f.yaml:1: 'resource': expected one plain value");
}

#define CHANGED_BYTES 100

static void count_changes(void *ctx, const host_setting *setting)
{
    char *names = ctx;
    size_t size = strlen(names);
    snprintf(names + size, CHANGED_BYTES - size, "%s ", setting->name);
}

TEST(settings_diff_names_what_changed)
{
    host_settings *a = parse("resource: x\nissuers: [{issuer: a}]\n");
    host_settings *b = parse("resource: x\nlimits: {streams: 5}\nissuers: [{issuer: b}]\n");
    char names[CHANGED_BYTES] = "";
    host_settings_diff(a, b, count_changes, names);
    assert_string_equal(names, "limits.streams issuers ");
    names[0] = '\0';
    host_settings_diff(a, a, count_changes, names);
    assert_string_equal(names, "");
    host_settings_free(a);
    host_settings_free(b);
}

TEST(settings_help_lists_every_setting)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    host_settings_help(table, COUNT, out);
    fclose(out);
    assert_non_null(strstr(text, "resource  (text; required)"));
    assert_non_null(strstr(text, "limits.streams  (1 to 1000 streams; default 100; reloadable)"));
    assert_non_null(
        strstr(text, "- mode  (token+profile, profile, token; default token+profile)\n          "));
    free(text);
}

TEST(settings_file_that_is_absent_is_not_found)
{
    host_settings *settings = NULL;
    rpc_status status;
    assert_int_equal(
        host_settings_load("/no/such.yaml", table, COUNT, &settings, &status), RPC_NOT_FOUND);
    assert_int_equal(
        host_settings_load("/", table, COUNT, &settings, &status), RPC_INVALID_ARGUMENT);
}

TEST(request_ids_have_one_length_sort_by_time_and_read_back)
{
    char a[HOST_REQUEST_ID_CHARS + 1], b[HOST_REQUEST_ID_CHARS + 1];
    host_request_id(rpc_clock_system(), a);
    host_request_id(rpc_clock_system(), b);
    assert_int_equal(strlen(a), HOST_REQUEST_ID_CHARS);
    assert_true(strncmp(a, b, 10) <= 0);
    assert_string_not_equal(a, b);
    int64_t ms = host_request_id_ms(a);
    assert_true(ms > 1600000000000LL && ms <= rpc_clock_wall_ms(rpc_clock_system()));
    assert_int_equal(host_request_id_ms("short"), -1);
    a[3] = 'z';
    assert_int_equal(host_request_id_ms(a), -1);
}
