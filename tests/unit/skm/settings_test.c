/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "test.h"

static char example[64 << 10];

static void read_example(void)
{
    FILE *file = fopen(DACM_SOURCE_DIR "/server/skm/skmsd.example.yaml", "r");
    assert_non_null(file);
    size_t size = fread(example, 1, sizeof example - 1, file);
    assert_true(size < sizeof example - 1);
    example[size] = '\0';
    fclose(file);
}

static void replace(const char *from, const char *to)
{
    char *at = strstr(example, from);
    if (!at)
        fail_msg("the example has no '%s'", from);
    size_t from_size = strlen(from), to_size = strlen(to);
    assert_true(strlen(example) + to_size < sizeof example);
    memmove(at + to_size, at + from_size, strlen(at + from_size) + 1);
    memcpy(at, to, to_size);
}

static host_settings *parsed(void)
{
    host_settings *settings = NULL;
    rpc_status status = {0};
    if (host_settings_parse("skmsd.yaml", rpc_bytes_str(example), skm_settings, skm_settings_count,
            &settings, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return settings;
}

static rpc_code judge(rpc_status *reterr)
{
    host_settings *settings = parsed();
    rpc_code code = skm_settings_check(host_settings_values(settings), reterr);
    host_settings_free(settings);
    return code;
}

TEST(example_file_is_accepted_as_it_is)
{
    rpc_status status = {0};
    read_example();
    if (judge(&status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(example_file_names_every_setting)
{
    read_example();
    for (size_t i = 0; i < skm_settings_count; i++) {
        const char *dot = strrchr(skm_settings[i].name, '.');
        if (!strstr(example, dot ? dot + 1 : skm_settings[i].name))
            fail_msg("skmsd.example.yaml does not name %s", skm_settings[i].name);
    }
}

/* A line "#   name: value" of the example is what the table has as default. */
TEST(example_file_shows_the_defaults)
{
    read_example();
    for (size_t i = 0; i < skm_settings_count; i++) {
        char line[128];
        const char *dot = strrchr(skm_settings[i].name, '.');
        if (!dot || !skm_settings[i].fallback || skm_settings[i].kind != HOST_INT)
            continue;
        snprintf(line, sizeof line, "%s: %s", dot + 1, skm_settings[i].fallback);
        if (!strstr(example, line))
            fail_msg("skmsd.example.yaml does not show '%s' of %s", line, skm_settings[i].name);
    }
}

TEST(value_that_can_never_work_is_found_by_the_check)
{
    static const struct {
        const char *from, *to, *setting, *word;
    } rows[] = {
        {"issuer: https://skms.example", "issuer: \"https://skms example\"", "issuer", "blank"},
        {"  source: file ", "  source: credential\n  credential: \"\" #", "master.credential",
            "needs it"},
        {"  file: /etc/skmsd/master", "  # file", "master.file", "needs it"},
        {"# keys:  ", "keys: {published_before_s: 7776001} #", "keys.published_before_s", "late"},
        {"url: tls+tcp://127.0.0.1:7643", "url: tcp://127.0.0.1:7643", "listen.keys.url", ""},
        {"    key: /etc/skmsd/pki/skmsd.key\n  admin:", "  admin:", "listen.https.key",
            "belong together"},
        {"# uids: [0] ", "uids: [root] ", "listen.admin.uids", "'root'"},
        {"url: ipc:///run/skmsd/admin.sock", "url: tls+tcp://127.0.0.1:1", "listen.admin.url",
            "ipc://"},
        {"# limits:", "limits:\n  https:\n    header_bytes: 16385\n#", "limits.https.header_bytes",
            "half"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rpc_status status = {0};
        read_example();
        replace(rows[i].from, rows[i].to);
        if (judge(&status) != RPC_INVALID_ARGUMENT || !strstr(status.message, rows[i].setting) ||
            !strstr(status.message, rows[i].word))
            fail_msg("%s: '%s'", rows[i].to, status.message);
    }
}
