/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that no client of ours would send, over plain TCP. */
#include "raw.h"

#include <unistd.h>

static uint8_t answer[1 << 20];

TEST(garbage_instead_of_a_preface_closes_the_connection)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_put(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    (void)raw_converse(&f, w, answer, sizeof answer);
    flag_wait(&f.events[RPC_EVENT_PROTOCOL_ERROR], 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(a_request_cut_at_every_byte_hurts_nobody)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Unary", "application/grpc", 0);
    uint8_t message[] = {0, 0, 0, 0, 3, 10, 1, 'x'};
    raw_frame(w, sizeof message, 0, 1, 1, message);
    size_t whole = w->size;
    for (size_t cut = 0; cut < whole; cut++) {
        w->size = cut;
        (void)raw_converse(&f, w, answer, sizeof answer);
    }
    flag_wait(&f.events[RPC_EVENT_CLOSED], (unsigned)whole);
    assert_int_equal(flag_count(&f.started), 0);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(another_content_type_is_answered_with_415)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Unary", "application/json", 1);
    size_t size = raw_converse(&f, w, answer, sizeof answer);
    assert_true(raw_has_frame(answer, size, 1, -1));
    assert_int_equal(flag_count(&f.started), 0);
    free(w);
    fixture_stop(&f);
}

static void refuse_message(const uint8_t *message, size_t message_size)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Unary", "application/grpc", 0);
    raw_frame(w, message_size, 0, 1, 1, message);
    size_t size = raw_converse(&f, w, answer, sizeof answer);
    assert_true(raw_has_frame(answer, size, 1, -1));
    assert_int_equal(flag_count(&f.started), 0);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(a_compressed_message_without_an_encoding_is_refused)
{
    static const uint8_t message[] = {1, 0, 0, 0, 3, 10, 1, 'x'};
    refuse_message(message, sizeof message);
}

TEST(a_length_prefix_that_lies_is_refused)
{
    static const uint8_t message[] = {0, 255, 255, 255, 255, 10, 1, 'x'};
    refuse_message(message, sizeof message);
    static const uint8_t longer[] = {0, 0, 0, 0, 9, 10, 1, 'x'};
    refuse_message(longer, sizeof longer);
}

TEST(a_message_that_is_no_protobuf_is_refused)
{
    static const uint8_t message[] = {0, 0, 0, 0, 3, 255, 255, 255};
    refuse_message(message, sizeof message);
}

static void flood(rpc_limit_kind kind, void (*fill)(raw_bytes *w, uint32_t i), unsigned count)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Chat", "application/grpc", 0);
    for (unsigned i = 0; i < count; i++)
        fill(w, i);
    (void)raw_converse(&f, w, answer, sizeof answer);
    flag_wait(&f.events[RPC_EVENT_PROTOCOL_ERROR], 1);
    fixture_wait_limit(&f, kind, 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

static void fill_ping(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 8, 6, 0, 0, "12345678");
}

static void fill_settings(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 0, 4, 0, 0, NULL);
}

static void fill_empty_data(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 0, 0, 0, 1, NULL);
}

static void fill_reset(raw_bytes *w, uint32_t i)
{
    uint8_t code[4] = {0, 0, 0, 8};
    raw_request(w, 3 + 2 * i, "/rpctest.Echo/Chat", "application/grpc", 0);
    raw_frame(w, 4, 3, 0, 3 + 2 * i, code);
}

static void fill_window(raw_bytes *w, uint32_t i)
{
    (void)i;
    uint8_t increment[4] = {0, 0, 0, 1};
    raw_frame(w, 4, 8, 0, 0, increment);
}

TEST(a_flood_of_pings_ends_the_connection)
{
    flood(RPC_LIMIT_PINGS, fill_ping, 100);
}

TEST(a_flood_of_settings_ends_the_connection)
{
    flood(RPC_LIMIT_SETTINGS, fill_settings, 200);
}

TEST(a_flood_of_empty_data_ends_the_connection)
{
    flood(RPC_LIMIT_EMPTY_DATA, fill_empty_data, 200);
}

TEST(a_flood_of_window_updates_ends_the_connection)
{
    flood(RPC_LIMIT_WINDOW_UPDATES, fill_window, 2000);
}

/* gRPC's own client sends one with each call, whether the answer holds a message or not. */
TEST(a_window_update_with_each_refused_call_is_no_flood)
{
    fixture f;
    raw_fixture(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    int fd = raw_dial(&f);
    for (uint32_t i = 0; i < 1500; i++) {
        raw_request(w, 1 + 2 * i, "/rpctest.Echo/NoSuch", "application/grpc", 1);
        fill_window(w, i);
        size_t size = raw_exchange(fd, w, answer, sizeof answer);
        assert_true(raw_has_frame(answer, size, 1, -1));
        w->size = 0;
    }
    assert_int_equal(flag_count(&f.events[RPC_EVENT_PROTOCOL_ERROR]), 0);
    close(fd);
    free(w);
    fixture_stop(&f);
}

static void fill_padding(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 4, 0, 8, 1, "\003\0\0"); /* three bytes of padding, and nothing else */
}

static void fill_priority(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 5, 2, 0, 1, "\0\0\0\0\1");
}

static void fill_unknown(raw_bytes *w, uint32_t i)
{
    (void)i;
    raw_frame(w, 0, 0xF0, 0, 0, NULL);
}

static void fill_dead_window(raw_bytes *w, uint32_t i)
{
    uint8_t increment[4] = {0, 0, 0, 1}, code[4] = {0, 0, 0, 8};
    if (i == 0)
        raw_frame(w, 4, 3, 0, 1, code); /* of a stream that is gone: nghttp2 ignores them */
    raw_frame(w, 4, 8, 0, 1, increment);
}

TEST(a_flood_of_padding_ends_the_connection)
{
    flood(RPC_LIMIT_EMPTY_DATA, fill_padding, 200);
}

TEST(a_flood_of_priorities_ends_the_connection)
{
    flood(RPC_LIMIT_OTHER_FRAMES, fill_priority, 2000);
}

TEST(a_flood_of_unknown_frames_ends_the_connection)
{
    flood(RPC_LIMIT_OTHER_FRAMES, fill_unknown, 2000);
}

TEST(a_flood_of_window_updates_for_a_stream_that_is_gone_ends_the_connection)
{
    flood(RPC_LIMIT_WINDOW_UPDATES, fill_dead_window, 2000);
}

TEST(rapid_resets_end_the_connection)
{
    flood(RPC_LIMIT_RESETS, fill_reset, 1000);
}
