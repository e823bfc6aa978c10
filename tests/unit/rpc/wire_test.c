/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "wire.h"

static bool parse(const char *text, int64_t *ret)
{
    return rpc__timeout_parse(rpc_bytes_str(text), ret);
}

TEST(timeouts_are_read_in_every_unit)
{
    int64_t us;
    assert_true(parse("2H", &us) && us == 7200000000);
    assert_true(parse("3M", &us) && us == 180000000);
    assert_true(parse("4S", &us) && us == 4000000);
    assert_true(parse("5m", &us) && us == 5000);
    assert_true(parse("6u", &us) && us == 6);
    assert_true(parse("1500n", &us) && us == 2);
    assert_true(parse("99999999H", &us) && us == 99999999 * INT64_C(3600000000));
}

TEST(broken_timeouts_are_refused)
{
    static const char *const broken[] = {
        "", "S", "1", "123456789S", "-1S", "1.5S", "1s", "1SS", " 1S", "0x1S"};
    int64_t us = 77;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_false(parse(broken[i], &us));
    assert_int_equal(us, 77);
}

TEST(timeouts_are_written_so_that_they_are_never_shorter)
{
    static const int64_t samples[] = {0, 1, 99999999, 100000000, 123456789012, INT64_MAX / 2};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        char text[RPC__TIMEOUT_TEXT_BYTES];
        int64_t back = -1;
        rpc__timeout_format(samples[i], text);
        assert_true(parse(text, &back));
        assert_true(back >= samples[i] || strcmp(text, "99999999H") == 0);
    }
}

TEST(messages_survive_percent_encoding)
{
    char all[257], text[3 * sizeof all + 1], back[sizeof all];
    for (int i = 1; i < 128; i++)
        all[i - 1] = (char)i;
    all[127] = '\0';
    size_t size = rpc__percent_encode(rpc_bytes_str(all), text);
    for (size_t i = 0; i < size; i++)
        assert_true(text[i] >= 0x20 && text[i] <= 0x7E);
    rpc__percent_decode(rpc_bytes_of(text, size), back, sizeof back);
    assert_string_equal(back, all);
}

TEST(broken_percent_encoding_is_kept_and_broken_utf8_made_harmless)
{
    char back[64];
    rpc__percent_decode(rpc_bytes_str("50% off %zz %4"), back, sizeof back);
    assert_string_equal(back, "50% off %zz %4");
    rpc__percent_decode(rpc_bytes_str("a%FFb%00c"), back, sizeof back);
    assert_null(memchr(back, 0xFF, strlen(back)));
}

TEST(base64_is_read_with_and_without_padding_and_nothing_else)
{
    uint8_t data[64], back[64];
    char text[100];
    for (size_t size = 0; size < 40; size++) {
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)(i * 37 + size);
        rpc__base64_encode(rpc_bytes_of(data, size), text);
        size_t length = rpc__base64_size(size), got = 99;
        assert_true(rpc__base64_decode(rpc_bytes_of(text, length), back, &got));
        assert_true(rpc_bytes_equal(rpc_bytes_of(back, got), rpc_bytes_of(data, size)));
        while (length % 4 != 0)
            text[length++] = '=';
        assert_true(rpc__base64_decode(rpc_bytes_of(text, length), back, &got));
        assert_int_equal(got, size);
    }
    size_t got = 99;
    static const char *const broken[] = {"A", "A===", "AB=C", "A-_B", "AA A", "===="};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_false(rpc__base64_decode(rpc_bytes_str(broken[i]), back, &got));
}

TEST(only_grpc_content_types_are_grpc)
{
    assert_true(rpc__content_type_valid(rpc_bytes_str("application/grpc")));
    assert_true(rpc__content_type_valid(rpc_bytes_str("application/grpc+proto")));
    assert_true(rpc__content_type_valid(rpc_bytes_str("application/grpc; charset=x")));
    assert_false(rpc__content_type_valid(rpc_bytes_str("application/grpc-web")));
    assert_false(rpc__content_type_valid(rpc_bytes_str("application/json")));
    assert_false(rpc__content_type_valid(rpc_bytes_str("")));
}

TEST(foreign_statuses_become_the_codes_of_the_specification)
{
    assert_int_equal(rpc__code_of_http(400), RPC_INTERNAL);
    assert_int_equal(rpc__code_of_http(401), RPC_UNAUTHENTICATED);
    assert_int_equal(rpc__code_of_http(403), RPC_PERMISSION_DENIED);
    assert_int_equal(rpc__code_of_http(404), RPC_UNIMPLEMENTED);
    assert_int_equal(rpc__code_of_http(503), RPC_UNAVAILABLE);
    assert_int_equal(rpc__code_of_http(418), RPC_UNKNOWN);
    assert_int_equal(rpc__code_of_reset(8), RPC_CANCELLED);
    assert_int_equal(rpc__code_of_reset(7), RPC_UNAVAILABLE);
    assert_int_equal(rpc__code_of_reset(11), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(rpc__code_of_reset(2), RPC_INTERNAL);
    assert_int_equal(rpc__code_parse(rpc_bytes_str("16")), RPC_UNAUTHENTICATED);
    assert_int_equal(rpc__code_parse(rpc_bytes_str("17")), RPC_UNKNOWN);
    assert_int_equal(rpc__code_parse(rpc_bytes_str("-1")), RPC_UNKNOWN);
}
