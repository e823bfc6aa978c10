/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that no client of ours would send, over plain TCP. */
#include "fixture.h"

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

static void flood(void (*fill)(raw_bytes *w, uint32_t i), unsigned count)
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
    flood(fill_ping, 100);
}

TEST(a_flood_of_settings_ends_the_connection)
{
    flood(fill_settings, 20000);
}

TEST(a_flood_of_empty_data_ends_the_connection)
{
    flood(fill_empty_data, 20000);
}

TEST(a_flood_of_window_updates_ends_the_connection)
{
    flood(fill_window, 20000);
}

TEST(rapid_resets_end_the_connection)
{
    flood(fill_reset, 1000);
}

TEST(a_connection_that_says_nothing_is_closed)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.limits.first_request_ms = 50;
    fixture_start(&f);
    int fd = raw_dial(&f);
    flag_wait(&f.events[RPC_EVENT_TIMEOUT], 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    close(fd);
    fixture_stop(&f);
}

TEST(strangers_of_one_address_are_counted)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.limits.unauthenticated_per_address_max = 2;
    fixture_start(&f);
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = raw_dial(&f);
    flag_wait(&f.events[RPC_EVENT_REFUSED], 1);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 2);
    raw_still_serves(&f);
    fixture_stop(&f);
}
