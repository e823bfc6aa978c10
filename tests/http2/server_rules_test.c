/* SPDX-License-Identifier: Apache-2.0 */
/* Our server: prefaces, lengths, flags, padding, SETTINGS, windows and stream identifiers. */
#include "conform.h"

#define OPENED HEADERS(1, 0, CHAT)
#define BY_US  HEADERS(1, 0, REQUEST("Nothing")), AWAIT(1)
#define K1                                                                                         \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define K16 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1 K1

/* ---- the connection preface (3.4) -------------------------------------------------------------
 */
SERVER_RAW_CASE(preface_and_settings, "3.4", IGNORED, RAW(PREFACE NO_SETTINGS));
SERVER_RAW_CASE(preface_of_http_1, "3.4", CLOSED, RAW("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
SERVER_RAW_CASE(preface_of_tls, "3.4", CLOSED, RAW("\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03"));
SERVER_RAW_CASE(preface_wrong_in_its_last_byte, "3.4", CLOSED,
    RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" NO_SETTINGS));
SERVER_RAW_CASE(preface_cut, "3.4", CLOSED, RAW("PRI * HTTP/2.0\r\n\r\nSM"));
SERVER_RAW_CASE(preface_of_nothing, "3.4", CLOSED, RAW(""));
SERVER_RAW_CASE(
    preface_without_settings, "3.4", GOAWAY(PROTOCOL_ERROR), RAW(PREFACE), PING(0, 0, OCTETS));
SERVER_RAW_CASE(preface_followed_by_a_request, "3.4", GOAWAY(PROTOCOL_ERROR), RAW(PREFACE),
    HEADERS(1, 0, CHAT));
SERVER_RAW_CASE(preface_followed_by_a_settings_ack, "3.4", GOAWAY(PROTOCOL_ERROR), RAW(PREFACE),
    SETTINGS(ACK, 0, ""));
SERVER_RAW_CASE(preface_twice, "3.4", GOAWAY(FRAME_SIZE_ERROR), RAW(PREFACE NO_SETTINGS PREFACE));

/* ---- lengths (4.2 and each frame's own) -------------------------------------------------------
 */
SERVER_CASE(data_longer_than_settings_allow, "4.2", GOAWAY(FRAME_SIZE_ERROR), OPENED, SYNC,
    LYING(T_DATA, 0, 1, LONGER_THAN_ALLOWED, ""));
SERVER_CASE(headers_longer_than_settings_allow, "4.2", GOAWAY(FRAME_SIZE_ERROR), SYNC,
    LYING(T_HEADERS, WHOLE, 1, LONGER_THAN_ALLOWED, ""));
SERVER_CASE(unknown_longer_than_settings_allow, "4.2", GOAWAY(FRAME_SIZE_ERROR), SYNC,
    LYING(T_UNKNOWN, 0, 0, LONGER_THAN_ALLOWED, ""));
SERVER_CASE(frame_of_16_megabytes, "4.2", GOAWAY(FRAME_SIZE_ERROR), SYNC,
    LYING(T_DATA, 0, 1, 0xffffff, ""));
/* 6.3: a stream error; 5.4.1 lets it be a connection error. */
SERVER_CASE(priority_of_4_bytes, "6.3", GOAWAY(FRAME_SIZE_ERROR), PRIORITY(1, "\0\0\0\0"));
SERVER_CASE(priority_of_6_bytes, "6.3", GOAWAY(FRAME_SIZE_ERROR), PRIORITY(1, "\0\0\0\0\0\0"));
SERVER_CASE(rst_stream_of_3_bytes, "6.4", GOAWAY(FRAME_SIZE_ERROR), OPENED, RST(1, "\0\0\0"));
SERVER_CASE(rst_stream_of_5_bytes, "6.4", GOAWAY(FRAME_SIZE_ERROR), OPENED, RST(1, "\0\0\0\0\0"));
SERVER_CASE(settings_of_5_bytes, "6.5", GOAWAY(FRAME_SIZE_ERROR), SETTINGS(0, 0, "\0\x03\0\0\0"));
SERVER_CASE(settings_ack_with_a_payload, "6.5", GOAWAY(FRAME_SIZE_ERROR),
    SETTINGS(ACK, 0, "\0\x03\0\0\0\x64"));
SERVER_CASE(ping_of_7_bytes, "6.7", GOAWAY(FRAME_SIZE_ERROR), PING(0, 0, "1234567"));
SERVER_CASE(ping_of_9_bytes, "6.7", GOAWAY(FRAME_SIZE_ERROR), PING(0, 0, "123456789"));
SERVER_CASE(goaway_of_7_bytes, "6.8", GOAWAY(FRAME_SIZE_ERROR), GONE(0, "\0\0\0\0\0\0\0"));
SERVER_CASE(goaway_with_debug_data, "6.8", GOAWAY(NO_ERROR),
    GONE(0, "\0\0\0\0\0\0\0\0"
            "bye"));
SERVER_CASE(window_update_of_3_bytes, "6.9", GOAWAY(FRAME_SIZE_ERROR), WINDOW(0, "\0\0\1"));
SERVER_CASE(window_update_of_5_bytes, "6.9", GOAWAY(FRAME_SIZE_ERROR), WINDOW(0, "\0\0\0\1\0"));
SERVER_CASE(headers_with_priority_cut, "6.2", GOAWAY(FRAME_SIZE_ERROR),
    FRAME(T_HEADERS, WHOLE | WEIGHTED, 1, "\0\0\0\0"));
SERVER_CASE(headers_that_are_empty, "8.3.1", RESET(1, PROTOCOL_ERROR),
    FRAME(T_HEADERS, WHOLE | END, 1, ""));

/* ---- padding (6.1, 6.2) -----------------------------------------------------------------------
 */
SERVER_CASE(data_padded, "6.1", IGNORED, OPENED, DATA(1, PADDED, "\x03" MESSAGE "\0\0\0"));
SERVER_CASE(data_of_padding_only, "6.1", IGNORED, OPENED, DATA(1, PADDED, "\x03\0\0\0"));
/* 4.2: FRAME_SIZE_ERROR; nghttp2 finds padding longer than the frame instead: the same end. */
SERVER_CASE(
    data_padded_without_a_pad_length, "6.1", GOAWAY(PROTOCOL_ERROR), OPENED, DATA(1, PADDED, ""));
SERVER_CASE(data_with_as_much_padding_as_payload, "6.1", GOAWAY(PROTOCOL_ERROR), OPENED,
    DATA(1, PADDED, "\x04\0\0\0"));
SERVER_CASE(data_with_more_padding_than_payload, "6.1", GOAWAY(PROTOCOL_ERROR), OPENED,
    DATA(1, PADDED, "\xff\0\0\0"));
SERVER_CASE(headers_with_more_padding_than_payload, "6.2", GOAWAY(PROTOCOL_ERROR),
    FRAME(T_HEADERS, WHOLE | PADDED, 1, "\x05\x82\x86\x84"));
SERVER_CASE(headers_padded_without_a_pad_length, "6.2", GOAWAY(PROTOCOL_ERROR),
    FRAME(T_HEADERS, WHOLE | PADDED, 1, ""));
/* 6.9.1: padding counts; what nobody reads is given back, so the window never closes. */
#define PADDING                                                                                    \
    FRAMES(200, T_DATA, PADDED, 1,                                                                 \
        "\x80" MESSAGE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"          \
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),                       \
        SYNC
SERVER_CASE(padding_is_given_back_to_the_window, "6.9.1", IGNORED, OPENED, PADDING, PADDING,
    PADDING, PADDING, PADDING, PADDING, PADDING, PADDING);

/* ---- flags that a type does not have are ignored (4.1) ----------------------------------------
 */
SERVER_CASE(data_with_every_unknown_flag, "4.1", IGNORED, OPENED, DATA(1, 0xf6, MESSAGE));
SERVER_CASE(ping_with_every_unknown_flag, "4.1", IGNORED, PING(0xfe, 0, OCTETS));
SERVER_CASE(settings_with_every_unknown_flag, "4.1", IGNORED, SETTINGS(0xfe, 0, ""));
SERVER_CASE(rst_stream_with_every_flag, "4.1", IGNORED, OPENED, FRAME(T_RST, 0xff, 1, CODE_CANCEL));
SERVER_CASE(window_update_with_every_flag, "4.1", IGNORED, FRAME(T_WINDOW, 0xff, 0, "\0\0\0\1"));
SERVER_CASE(a_reserved_bit_before_the_stream_is_ignored, "4.1", IGNORED, OPENED,
    DATA(0x80000001, 0, MESSAGE));

/* ---- SETTINGS (6.5.2) -------------------------------------------------------------------------
 */
#define SETTING(id, value) SETTINGS(0, 0, "\0" id value)
SERVER_CASE(settings_are_acknowledged, "6.5.3", IGNORED, ACKED);
SERVER_CASE(settings_push_0, "6.5.2", IGNORED, SETTING("\x02", "\0\0\0\0"));
SERVER_CASE(settings_push_2, "6.5.2", GOAWAY(PROTOCOL_ERROR), SETTING("\x02", "\0\0\0\x02"));
SERVER_CASE(settings_window_largest, "6.5.2", IGNORED, SETTING("\x04", "\x7f\xff\xff\xff"));
SERVER_CASE(
    settings_window_too_large, "6.5.2", GOAWAY(FLOW_CONTROL_ERROR), SETTING("\x04", "\x80\0\0\0"));
SERVER_CASE(settings_frame_16383, "6.5.2", GOAWAY(PROTOCOL_ERROR), SETTING("\x05", "\0\0\x3f\xff"));
SERVER_CASE(settings_frame_16384, "6.5.2", IGNORED, SETTING("\x05", "\0\0\x40\0"));
SERVER_CASE(settings_frame_16777215, "6.5.2", IGNORED, SETTING("\x05", "\0\xff\xff\xff"));
SERVER_CASE(settings_frame_16777216, "6.5.2", GOAWAY(PROTOCOL_ERROR), SETTING("\x05", "\1\0\0\0"));
SERVER_CASE(settings_table_0, "6.5.2", STATUS(1, OK), SETTING("\x01", "\0\0\0\0"), OPENED,
    DATA(1, END, NO_MESSAGE));
SERVER_CASE(settings_table_largest, "6.5.2", STATUS(1, OK), SETTING("\x01", "\xff\xff\xff\xff"),
    OPENED, DATA(1, END, NO_MESSAGE));
SERVER_CASE(settings_streams_0, "6.5.2", STATUS(1, OK), SETTING("\x03", "\0\0\0\0"), OPENED,
    DATA(1, END, NO_MESSAGE));
SERVER_CASE(settings_header_list_0, "6.5.2", STATUS(1, OK), SETTING("\x06", "\0\0\0\0"), OPENED,
    DATA(1, END, NO_MESSAGE));
SERVER_CASE(settings_of_an_unknown_name, "6.5.2", IGNORED, SETTING("\xee", "\xff\xff\xff\xff"));
SERVER_CASE(settings_changed_again_and_again, "6.5", IGNORED, SETTING("\x04", "\0\0\0\0"),
    SETTING("\x04", "\0\x0f\0\0"), SETTING("\x04", "\0\0\0\0"));
/* 6.9.2: a connection error; nghttp2 ends the streams whose windows overflow, and no other. */
SERVER_CASE(settings_that_overflow_a_window, "6.9.2", RESET(1, FLOW_CONTROL_ERROR), OPENED,
    WINDOW(1, "\0\xff\xff\xff"), SETTING("\x04", "\x7f\xff\xff\xff"));
SERVER_CASE(settings_with_more_entries_than_we_take, "10.5", GOAWAY(ENHANCE_YOUR_CALM),
    SETTINGS(0, 0,
        "\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1"
        "\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1"
        "\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1"
        "\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1"
        "\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1\0\3\0\0\0\1"));

/* ---- windows (6.9) ----------------------------------------------------------------------------
 */
SERVER_CASE(window_update_of_0, "6.9", GOAWAY(PROTOCOL_ERROR), WINDOW(0, "\0\0\0\0"));
/* 6.9: a stream error; 5.4.1 lets it be a connection error. */
SERVER_CASE(
    window_update_of_0_on_a_stream, "6.9", GOAWAY(PROTOCOL_ERROR), OPENED, WINDOW(1, "\0\0\0\0"));
SERVER_CASE(window_update_with_the_reserved_bit, "6.9", IGNORED, WINDOW(0, "\x80\0\0\x01"));
SERVER_CASE(window_beyond_2_31, "6.9.1", GOAWAY(FLOW_CONTROL_ERROR), WINDOW(0, "\x7f\xff\xff\xff"));
SERVER_CASE(window_of_a_stream_beyond_2_31, "6.9.1", RESET(1, FLOW_CONTROL_ERROR), OPENED,
    WINDOW(1, "\x7f\xff\xff\xff"));
/* Data for a stream that we have left is given back to the connection's window (6.9). */
SERVER_CASE(
    data_of_a_stream_gone_is_given_back, "6.9", IGNORED, BY_US, FRAMES(130, T_DATA, 0, 1, K16));

/* ---- stream identifiers (5.1.1) ---------------------------------------------------------------
 */
SERVER_CASE(an_even_stream, "5.1.1", GOAWAY(PROTOCOL_ERROR), HEADERS(2, 0, CHAT));
/* 5.1.1: PROTOCOL_ERROR; nghttp2 cannot tell an identifier that was skipped from that of a
 * stream that is gone, whose late frames 5.1 wants ignored, and ignores both. */
SERVER_CASE(a_stream_below_the_last, "5.1.1", IGNORED, HEADERS(3, 0, CHAT), HEADERS(1, 0, CHAT));
SERVER_CASE(a_stream_opened_twice, "5.1.1", RESET(1, PROTOCOL_ERROR), HEADERS(1, 0, CHAT),
    HEADERS(1, 0, CHAT));
SERVER_CASE(the_largest_stream, "5.1.1", STATUS(0x7fffffff, OK), HEADERS(0x7fffffff, 0, CHAT),
    DATA(0x7fffffff, END, NO_MESSAGE));
SERVER_CASE(
    a_stream_that_depends_on_itself, "5.3.1", GOAWAY(PROTOCOL_ERROR), PRIORITY(1, "\0\0\0\1\x0f"));

/* ---- header blocks are not interrupted (6.10) -------------------------------------------------
 */
SERVER_CASE(continuation_ends_the_block, "6.10", STATUS(1, OK),
    FIELDS(T_HEADERS, 0, 1, PSEUDO("/rpctest.Echo/Chat")), FIELDS(T_CONTINUATION, WHOLE, 1, TYPE),
    DATA(1, END, NO_MESSAGE));
SERVER_CASE(continuation_of_another_stream, "6.10", GOAWAY(PROTOCOL_ERROR),
    FIELDS(T_HEADERS, 0, 1, PSEUDO("/rpctest.Echo/Chat")), FIELDS(T_CONTINUATION, WHOLE, 3, TYPE));
SERVER_CASE(data_inside_a_header_block, "6.10", GOAWAY(PROTOCOL_ERROR),
    FIELDS(T_HEADERS, 0, 1, CHAT), DATA(1, 0, MESSAGE));
SERVER_CASE(ping_inside_a_header_block, "6.10", GOAWAY(PROTOCOL_ERROR),
    FIELDS(T_HEADERS, 0, 1, CHAT), PING(0, 0, OCTETS));
SERVER_CASE(more_continuations_than_we_take, "10.5", GOAWAY(ENHANCE_YOUR_CALM),
    FIELDS(T_HEADERS, 0, 1, CHAT), FRAMES(20, T_CONTINUATION, 0, 1, "\0\1x\1y"));
SERVER_CASE(continuations_of_nothing, "10.5", GOAWAY(ENHANCE_YOUR_CALM),
    FIELDS(T_HEADERS, 0, 1, CHAT), FRAMES(1000, T_CONTINUATION, 0, 1, ""));

/* ---- concurrent streams (5.1.2) ---------------------------------------------------------------
 */
TEST(more_streams_than_settings_allow_are_refused)
{
    static h2_step steps[102];
    for (uint32_t i = 0; i < 101; i++)
        steps[i] = (h2_step)HEADERS(2 * i + 1, 0, CHAT);
    h2_case c = {.clause = "5.1.2",
        .outcome = RESET(201, REFUSED_STREAM),
        .steps = steps,
        .step_count = 101};
    h2_server_case(&c);
}

/* 5.1.2: a stream error; 5.4.1 lets it be a connection error, as nghttp2 has it for those who
 * have acknowledged the limit. */
TEST(more_streams_than_the_client_has_acknowledged_end_the_connection)
{
    static h2_step steps[103];
    steps[0] = (h2_step)SYNC;
    for (uint32_t i = 0; i < 101; i++)
        steps[i + 1] = (h2_step)HEADERS(2 * i + 1, 0, CHAT);
    h2_case c = {
        .clause = "5.1.2", .outcome = GOAWAY(PROTOCOL_ERROR), .steps = steps, .step_count = 102};
    h2_server_case(&c);
}

/* ---- with other limits ------------------------------------------------------------------------
 */

static char zeros[1 << 16];

TEST(data_as_long_as_settings_allow)
{
    const h2_step steps[] = {ACKED, OPENED,
        {.type = T_DATA,
            .flags = PADDED,
            .stream = 1,
            .bytes = zeros,
            .size = 1 << 16,
            .length = -1}};
    h2_case c = {.clause = "4.2", .outcome = IGNORED, .steps = steps, .step_count = 3};
    h2_server_case(&c);
}

static void window_of_1_kilobyte(fixture *f)
{
    f->limits.stream_window_bytes = 1024;
}

/* The connection's window cannot be overrun by what is read: its credit returns at receipt. That
 * of a stream can within one read only, since an empty message is done with at once: a frame that
 * fills the input makes it large. */
TEST(data_beyond_the_window_of_its_stream)
{
    const h2_step steps[] = {ACKED, {.type = 0xfe, .bytes = zeros, .size = 8192, .length = -1},
        OPENED, {.type = T_DATA, .stream = 1, .bytes = zeros, .size = 1025, .length = -1}};
    h2_case c = {.clause = "6.9.1",
        .outcome = RESET(1, FLOW_CONTROL_ERROR),
        .steps = steps,
        .step_count = sizeof steps / sizeof steps[0],
        .prepare = window_of_1_kilobyte};
    h2_server_case(&c);
}
