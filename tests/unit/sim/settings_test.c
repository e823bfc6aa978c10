/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "test.h"

static char example[64 << 10];

static void read_example(void)
{
    FILE *file = fopen(DACM_SOURCE_DIR "/server/sim/simsd.example.yaml", "r");
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
    if (host_settings_parse("simsd.yaml", rpc_bytes_str(example), sim_settings, sim_settings_count,
            &settings, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return settings;
}

static rpc_code judge(rpc_status *reterr)
{
    host_settings *settings = parsed();
    rpc_code code = sim_settings_check(host_settings_values(settings), reterr);
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
    for (size_t i = 0; i < sim_settings_count; i++) {
        const char *dot = strrchr(sim_settings[i].name, '.');
        if (!strstr(example, dot ? dot + 1 : sim_settings[i].name))
            fail_msg("simsd.example.yaml does not name %s", sim_settings[i].name);
    }
}

/* A line "#   name: value" of the example is what the table has as default. */
TEST(example_file_shows_the_defaults)
{
    read_example();
    for (size_t i = 0; i < sim_settings_count; i++) {
        char line[128];
        const char *dot = strrchr(sim_settings[i].name, '.');
        if (!dot || !sim_settings[i].fallback || sim_settings[i].kind != HOST_INT)
            continue;
        snprintf(line, sizeof line, "%s: %s", dot + 1, sim_settings[i].fallback);
        if (!strstr(example, line))
            fail_msg("simsd.example.yaml does not show '%s' of %s", line, sim_settings[i].name);
    }
}

TEST(value_that_can_never_work_is_found_by_the_check)
{
    static const struct {
        const char *from, *to, *setting, *word;
    } rows[] = {
        {"issuer: https://sims.example", "issuer: http://sims.example", "issuer", "https://"},
        {"issuer: https://sims.example", "issuer: https://sims.example/", "issuer", "slash"},
        {"issuer: https://sims.example", "issuer: https://Sims.example", "issuer", "lower-case"},
        {"issuer: https://sims.example", "issuer: \"https://sims.example/?a\"", "issuer", "path"},
        {"issuer: https://sims.example", "issuer: https://sims.example//a", "issuer", "path"},
        {"    # url: \"\"                          # base", "    url: https://a/ #",
            "listen.mtls.url", "slash"},
        {"    client_ca: /etc/simsd/pki/ca.crt\n", "", "listen.mtls.client_ca", "who signs"},
        {"    address: 127.0.0.1\n    port: 7580", "    address: 0.0.0.0\n    port: 7580",
            "listen.ops.address", "plain HTTP"},
        {"    # certificate: /etc", "    certificate: /etc", "listen.ops.key", "belong together"},
        {"# uids: [0] ", "uids: [root] ", "listen.admin.uids", "'root'"},
        {"url: ipc:///run/simsd/admin.sock", "url: tls+tcp://127.0.0.1:1", "listen.admin.url",
            "ipc://"},
        {"resource: https://dacm.example/", "resource: 'https://dacm\"example/'",
            "dacms[0].resource", "quote"},
        {"target: tls+tcp://dacm", "target: tcp://dacm", "dacms[0].target", "mutual TLS"},
        {"# http:\n#   workers: 64", "http:\n  workers: 18", "http.workers", "logins"},
        {"# http:\n#   workers: 64", "http:\n  workers: 32", "step5a.waiting_max", "hangs"},
        {"# limits:", "limits:\n  https:\n    header_bytes: 16385\n#", "limits.https.header_bytes",
            "half"},
        {"# tokens:\n#   access_life_s: 300", "tokens:\n  access_life_s: 600", "tokens.id_life_s",
            "outlive"},
        {"# grants:\n#   code_life_s: 60\n#   refresh_idle_s: 604800",
            "grants:\n  refresh_idle_s: "
            "31536000",
            "grants.refresh_idle_s", "refresh_life_s"},
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

TEST(dacm_that_is_configured_twice_is_refused)
{
    rpc_status status = {0};
    read_example();
    replace("\nkeys:\n", "\n  - {resource: \"https://dacm.example/\", target: \"tls+tcp://b:1\", "
                         "ca: a, certificate: b, key: c}\nkeys:\n");
    assert_int_equal(judge(&status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "dacms[1].resource"));
}

TEST(base_of_the_mtls_endpoints_is_the_issuer_with_their_port)
{
    static const struct {
        const char *issuer, *url;
    } rows[] = {
        {"https://sims.example", "https://sims.example:7544"},
        {"https://sims.example:443", "https://sims.example:7544"},
        {"https://sims.example:7543/realm/a", "https://sims.example:7544/realm/a"},
        {"https://[::1]:7543", "https://[::1]:7544"},
        {"https://[::1]/a", "https://[::1]:7544/a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[256], url[300];
        read_example();
        snprintf(line, sizeof line, "issuer: \"%s\"", rows[i].issuer);
        replace("issuer: https://sims.example", line);
        host_settings *settings = parsed();
        assert_true(sim_settings_mtls_url(host_settings_values(settings), url, sizeof url));
        assert_string_equal(url, rows[i].url);
        host_settings_free(settings);
    }
}

TEST(there_is_no_base_of_mtls_endpoints_without_their_listener)
{
    char url[300];
    read_example();
    replace("    port: 7544 ", "    port: 0 ");
    host_settings *settings = parsed();
    assert_true(sim_settings_mtls_url(host_settings_values(settings), url, sizeof url));
    assert_string_equal(url, "");
    host_settings_free(settings);
}
