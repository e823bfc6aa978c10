/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "test.h"

static char example[64 << 10];

static void read_example(void)
{
    FILE *file = fopen(DACM_SOURCE_DIR "/server/dacm/dacmd.example.yaml", "r");
    assert_non_null(file);
    size_t size = fread(example, 1, sizeof example - 1, file);
    assert_true(size < sizeof example - 1);
    example[size] = '\0';
    fclose(file);
}

static void replace(const char *from, const char *to)
{
    char *at = strstr(example, from);
    assert_non_null(at);
    size_t from_size = strlen(from), to_size = strlen(to);
    assert_true(strlen(example) + to_size < sizeof example);
    memmove(at + to_size, at + from_size, strlen(at + from_size) + 1);
    memcpy(at, to, to_size);
}

/* The verdict on the example as it now stands in memory. */
static rpc_code judge(bool allow_literal, rpc_status *reterr)
{
    host_settings *settings = NULL;
    rpc_code code = host_settings_parse("dacmd.yaml", rpc_bytes_str(example), dacm_settings,
        dacm_settings_count, &settings, reterr);
    if (code == RPC_OK)
        code = dacm_settings_check(host_settings_values(settings), allow_literal, reterr);
    host_settings_free(settings);
    return code;
}

TEST(example_file_is_accepted_as_it_is)
{
    rpc_status status = {0};
    read_example();
    if (judge(false, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(example_file_names_every_setting)
{
    read_example();
    for (size_t i = 0; i < dacm_settings_count; i++) {
        const char *dot = strrchr(dacm_settings[i].name, '.');
        if (!strstr(example, dot ? dot + 1 : dacm_settings[i].name))
            fail_msg("dacmd.example.yaml does not name %s", dacm_settings[i].name);
    }
}

TEST(literal_mode_needs_the_operators_word)
{
    rpc_status status = {0};
    read_example();
    replace("# mode: token+profile ", "mode: literal ");
    assert_int_equal(judge(false, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "--allow-literal"));
    assert_int_equal(judge(true, NULL), RPC_OK);
}

TEST(value_that_can_never_work_is_found_by_the_check)
{
    static const struct {
        const char *from, *to, *setting, *word;
    } rows[] = {
        {"url: tls+tcp://127.0.0.1:7443", "url: somewhere", "listen.users.url", "scheme"},
        {"url: tls+tcp://127.0.0.1:7443", "url: tcp://127.0.0.1:7443", "listen.users.url",
            "plain text"},
        {"url: tls+tcp://127.0.0.1:7444", "url: tls+tcp://127.0.0.1:x", "listen.peers.url", "port"},
        {"    certificate: /etc/dacm/pki/dacmd.crt\n    key: /etc/dacm/pki/dacmd.key\n", "",
            "listen.users.certificate", "needs a certificate"},
        {"# uids: [0] ", "uids: [root] ", "listen.admin.uids", "'root'"},
        {"address: 127.0.0.1", "address: 0.0.0.0", "listen.https.address", "plain HTTP"},
        {"address: 127.0.0.1", "address: localhost", "listen.https.address", "no IP address"},
        {"# algorithms: [EdDSA] ", "algorithms: [HS256] ", "issuers[0].algorithms", "'HS256'"},
        {"# gpsi_namespaces: [] ", "gpsi_namespaces: [4915] ", "issuers[0].gpsi_namespaces",
            "'4915'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rpc_status status = {0};
        read_example();
        replace(rows[i].from, rows[i].to);
        if (judge(false, &status) != RPC_INVALID_ARGUMENT ||
            !strstr(status.message, rows[i].setting) || !strstr(status.message, rows[i].word))
            fail_msg("%s: '%s'", rows[i].to, status.message);
    }
}

TEST(certificate_without_its_key_is_refused)
{
    rpc_status status = {0};
    read_example();
    replace("    key: /etc/dacm/pki/dacmd.key\n", "");
    assert_int_equal(judge(false, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "listen.users.key"));
}

TEST(sims_of_an_issuer_that_is_not_configured_is_refused)
{
    rpc_status status = {0};
    read_example();
    replace("      issuer: https://sims.example\n", "      issuer: https://sims.example/\n");
    assert_int_equal(judge(false, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "peers.sims[0].issuer"));
}

TEST(peers_listener_without_a_ca_is_refused)
{
    rpc_status status = {0};
    read_example();
    replace("    client_ca: /etc/dacm/pki/ca.crt\n  admin:", "  admin:");
    assert_int_equal(judge(false, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "listen.peers.client_ca"));
}

TEST(revocation_list_without_its_ca_is_refused)
{
    rpc_status status = {0};
    read_example();
    replace("    client_ca: /etc/dacm/pki/ca.crt    # client", "    # client");
    replace("    # client_crl: /etc", "    client_crl: /etc");
    assert_int_equal(judge(false, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "listen.users.client_ca"));
}
