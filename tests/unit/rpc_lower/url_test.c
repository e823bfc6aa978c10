/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "stream.h"

static void assert_round_trip(const char *text, rpc__scheme scheme, bool loopback)
{
    rpc__url url;
    char formatted[RPC__URL_MAX];
    assert_int_equal(rpc__url_parse(text, &url, NULL), RPC_OK);
    assert_int_equal(url.scheme, scheme);
    assert_int_equal(url.loopback, loopback);
    rpc__url_format(&url, formatted);
    assert_string_equal(formatted, text);
}

TEST(url_of_every_scheme_is_read_and_written_back)
{
    assert_round_trip("tls+tcp://dacm.example:7443", RPC__SCHEME_TLS_TCP, false);
    assert_round_trip("tcp://127.0.0.1:0", RPC__SCHEME_TCP, true);
    assert_round_trip("tls+tcp://[::1]:65535", RPC__SCHEME_TLS_TCP, true);
    assert_round_trip("tcp://localhost:1", RPC__SCHEME_TCP, true);
    assert_round_trip("tcp://127.example:1", RPC__SCHEME_TCP, false);
    assert_round_trip("ipc:///run/dacm/admin", RPC__SCHEME_IPC, true);
}

TEST(bad_url_is_refused_and_nothing_is_written)
{
    static const char *const bad[] = {"", "tcp://", "tcp://host", "tcp://host:", "tcp://:1",
        "tcp://host:65536", "tcp://host:1x", "tcp://host:+1", "tcp://::1:80", "tcp://[x]:1",
        "tcp://[::1]", "tcp://[::1:1", "tcp://a/b:1", "tcp://a@b:1", "http://host:1", "ipc://",
        "ipc:///", "ipc://relative", "tcp://ho st:1", "tcp://h\xc3\xa9:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rpc__url url = {.port = 4711};
        rpc_status status = {0};
        assert_int_equal(rpc__url_parse(bad[i], &url, &status), RPC_INVALID_ARGUMENT);
        assert_int_equal(url.port, 4711);
        assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
    }
}

TEST(socket_path_that_does_not_fit_is_refused)
{
    char text[200] = "ipc:///";
    memset(text + 7, 'a', 107);
    rpc__url url;
    assert_int_equal(rpc__url_parse(text, &url, NULL), RPC_INVALID_ARGUMENT);
    text[7 + 106] = 0;
    assert_int_equal(rpc__url_parse(text, &url, NULL), RPC_OK);
    char longest[RPC__URL_MAX + 1];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(rpc__url_parse(longest, &url, NULL), RPC_INVALID_ARGUMENT);
}
