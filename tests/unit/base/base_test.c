/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"
#include "test.h"

TEST(status_message_too_long_is_cut_on_a_character)
{
    char text[600];
    memset(text, 'a', sizeof text);
    rpc_status status;
    size_t edge = sizeof status.message - 2;
    memcpy(text + edge, "\xC3\xA9\xC3\xA9", 4);
    text[sizeof text - 1] = '\0';
    assert_int_equal(rpc_status_set(&status, RPC_NOT_FOUND, "%s", text), RPC_NOT_FOUND);
    assert_int_equal(status.code, RPC_NOT_FOUND);
    assert_int_equal(strlen(status.message), edge);
    assert_true(rpc_utf8_valid(rpc_bytes_str(status.message)));
}

TEST(code_names_cover_the_seventeen_codes_of_grpc)
{
    assert_string_equal(rpc_code_name(RPC_OK), "OK");
    assert_string_equal(rpc_code_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(rpc_code_name((rpc_code)17), "UNKNOWN");
    assert_string_equal(rpc_code_name((rpc_code)-1), "UNKNOWN");
}

TEST(printable_text_has_no_control_characters_and_no_half_ones)
{
    static const struct {
        const char *text, *printable;
    } rows[] = {{"", ""}, {"a b\xc3\xa9~", "a b\xc3\xa9~"}, {"a\033[2J\177b\n", "a?[2J?b?"},
        {"\xc2\x9b"
         "1m",
            "??1m"},
        {"\xc2\x80\xc2\x9f\xc2\xa0", "????\xc2\xa0"},
        {"a\x9b"
         "b",
            "a"},
        {"a\xc2", "a"}, {"a\xe2\x82", "a"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[16];
        assert_true(rpc_text_copy(text, sizeof text, rows[i].text));
        rpc_text_printable(text);
        assert_string_equal(text, rows[i].printable);
    }
}

TEST(printable_run_ends_at_the_first_byte_that_is_not_whatever_its_place)
{
    uint8_t text[40];
    for (unsigned byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, 'x', sizeof text);
            text[at] = (uint8_t)byte;
            bool printable = byte >= 0x20 && byte < 0x7f;
            assert_int_equal(
                rpc_printable_run(rpc_bytes_of(text, sizeof text)), printable ? sizeof text : at);
            assert_int_equal(rpc_printable_run(rpc_bytes_of(text, at)), at);
        }
}

TEST(utf8_refuses_overlong_surrogate_nul_and_truncated)
{
    const char *good[] = {"", "msisdn-1", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(rpc_utf8_valid(rpc_bytes_str(good[i])));
    const char *bad[] = {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80",
        "\xC3", "\xE2\x82", "\xF8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(rpc_utf8_valid(rpc_bytes_str(bad[i])));
    assert_false(rpc_utf8_valid(rpc_bytes_of("a\0b", 3)));
}

TEST(hex_reads_back_what_it_wrote_and_refuses_the_rest)
{
    uint8_t data[4] = {0, 0x7f, 0x80, 0xff};
    char text[9];
    rpc_hex(rpc_bytes_of(data, 4), text);
    assert_string_equal(text, "007f80ff");
    uint8_t back[4];
    assert_true(rpc_unhex(rpc_bytes_str("007F80fF"), back, 4));
    assert_memory_equal(back, data, 4);
    assert_false(rpc_unhex(rpc_bytes_str("007f80f"), back, 4));
    assert_false(rpc_unhex(rpc_bytes_str("007f80fg"), back, 4));
}

TEST(arena_refuses_beyond_its_budget_and_says_so)
{
    rpc_arena *arena = rpc_arena_new(32768);
    assert_non_null(arena);
    assert_non_null(rpc_arena_alloc(arena, 16000));
    assert_false(rpc_arena_exhausted(arena));
    assert_null(rpc_arena_alloc(arena, 17000));
    assert_true(rpc_arena_exhausted(arena));
    assert_null(rpc_arena_alloc(arena, SIZE_MAX));
    rpc_arena_reset(arena);
    assert_false(rpc_arena_exhausted(arena));
    assert_non_null(rpc_arena_alloc(arena, 20000));
    rpc_arena_free(arena);
}

TEST(arena_memory_is_aligned_and_apart)
{
    rpc_arena *arena = rpc_arena_new(1 << 20);
    uint8_t *last = NULL;
    for (size_t i = 1; i < 2000; i++) {
        uint8_t *at = rpc_arena_alloc(arena, i % 50 + 1);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
        memset(at, (int)i, i % 50 + 1);
        assert_true(at != last);
        last = at;
    }
    rpc_arena_free(arena);
}
