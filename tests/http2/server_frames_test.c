/* SPDX-License-Identifier: Apache-2.0 */
/* Our server: each type of frame in each state of a stream (RFC 9113, 5.1), as the server sees
 * the state:
 *   idle         never opened
 *   open         a request whose sending side is open, and whose answer has not ended
 *   half closed  (remote) the client has ended its side, the answer has not ended
 *   ended        both sides have ended
 *   reset        the client has reset it
 *   refused      the server has answered and reset it while the client's side was open: what
 *                half closed (local) becomes at once here
 * Where a clause leaves a choice, the case says what nghttp2 1.52 chose. */
#include "conform.h"

#define OPENED  HEADERS(1, 0, CHAT)
#define HALF    HEADERS(1, 0, UNARY), DATA(1, END, NEVER)
#define ENDED   HEADERS(1, 0, CHAT), DATA(1, END, NO_MESSAGE), AWAIT(1)
#define BY_PEER HEADERS(1, 0, CHAT), RST(1, CODE_CANCEL)
#define BY_US   HEADERS(1, 0, REQUEST("Nothing")), AWAIT(1)

/* ---- DATA -------------------------------------------------------------------------------------
 */
SERVER_CASE(data_on_stream_0, "6.1", GOAWAY(PROTOCOL_ERROR), DATA(0, 0, MESSAGE));
SERVER_CASE(data_idle, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), DATA(1, 0, MESSAGE));
SERVER_CASE(data_open, "5.1 (open)", IGNORED, OPENED, DATA(1, 0, MESSAGE));
/* 5.1: a stream error STREAM_CLOSED; 5.4.1 lets it be a connection error, as nghttp2 has it. */
SERVER_CASE(
    data_half_closed, "5.1 (half-closed remote)", GOAWAY(STREAM_CLOSED), HALF, DATA(1, 0, MESSAGE));
/* 5.1: MAY be a connection error STREAM_CLOSED; nghttp2 keeps no closed streams here. */
SERVER_CASE(data_ended, "5.1 (closed)", IGNORED, ENDED, DATA(1, 0, MESSAGE));
SERVER_CASE(data_reset, "5.1 (closed)", IGNORED, BY_PEER, DATA(1, 0, MESSAGE));
/* 5.1: what was under way when we reset the stream is ignored. */
SERVER_CASE(data_refused, "5.1 (closed)", IGNORED, BY_US, DATA(1, 0, MESSAGE));

/* ---- HEADERS ----------------------------------------------------------------------------------
 */
SERVER_CASE(headers_on_stream_0, "6.2", GOAWAY(PROTOCOL_ERROR), HEADERS(0, 0, CHAT));
SERVER_CASE(headers_idle, "5.1 (idle)", IGNORED, HEADERS(1, 0, CHAT));
SERVER_CASE(headers_open_with_end, "8.1", STATUS(1, OK), OPENED, HEADERS(1, END, "x-more: y\n"));
SERVER_CASE(headers_open_without_end, "8.1", RESET(1, PROTOCOL_ERROR), OPENED,
    HEADERS(1, 0, "x-more: y\n"));
/* 5.1: a stream error STREAM_CLOSED; 5.4.1 lets it be a connection error. */
SERVER_CASE(headers_half_closed, "5.1 (half-closed remote)", GOAWAY(STREAM_CLOSED), HALF,
    HEADERS(1, END, "x-more: y\n"));
SERVER_CASE(headers_ended, "5.1 (closed)", IGNORED, ENDED, HEADERS(1, END, "x-more: y\n"));
SERVER_CASE(headers_reset, "5.1 (closed)", IGNORED, BY_PEER, HEADERS(1, END, "x-more: y\n"));
SERVER_CASE(headers_refused, "5.1 (closed)", IGNORED, BY_US, HEADERS(1, END, "x-more: y\n"));
/* A header block that is ignored still changes the table (4.3). */
SERVER_CASE(headers_ignored_still_count_for_hpack, "4.3", STATUS(3, UNIMPLEMENTED), BY_US,
    FRAME(T_HEADERS, WHOLE | END, 1, "\x40\x05:path\x13/rpctest.Echo/Other"),
    FRAME(T_HEADERS, WHOLE | END, 3,
        "\x83\x86\xbe\x41\x01x\x5f\x10"
        "application/grpc"));

/* ---- PRIORITY ---------------------------------------------------------------------------------
 */
SERVER_CASE(priority_on_stream_0, "6.3", GOAWAY(PROTOCOL_ERROR), PRIORITY(0, ROOT_WEIGHT));
SERVER_CASE(priority_idle, "5.1 (idle)", IGNORED, PRIORITY(1, ROOT_WEIGHT));
SERVER_CASE(priority_open, "5.1 (open)", IGNORED, OPENED, PRIORITY(1, ROOT_WEIGHT));
SERVER_CASE(
    priority_half_closed, "5.1 (half-closed remote)", IGNORED, HALF, PRIORITY(1, ROOT_WEIGHT));
SERVER_CASE(priority_ended, "5.1 (closed)", IGNORED, ENDED, PRIORITY(1, ROOT_WEIGHT));
SERVER_CASE(priority_reset, "5.1 (closed)", IGNORED, BY_PEER, PRIORITY(1, ROOT_WEIGHT));
SERVER_CASE(priority_refused, "5.1 (closed)", IGNORED, BY_US, PRIORITY(1, ROOT_WEIGHT));

/* ---- RST_STREAM -------------------------------------------------------------------------------
 */
SERVER_CASE(rst_stream_on_stream_0, "6.4", GOAWAY(PROTOCOL_ERROR), RST(0, CODE_CANCEL));
SERVER_CASE(rst_stream_idle, "6.4", GOAWAY(PROTOCOL_ERROR), RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_open, "5.1 (open)", IGNORED, OPENED, RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_half_closed, "5.1 (half-closed remote)", IGNORED, HALF, RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_ended, "5.1 (closed)", IGNORED, ENDED, RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_reset, "5.1 (closed)", IGNORED, BY_PEER, RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_refused, "5.1 (closed)", IGNORED, BY_US, RST(1, CODE_CANCEL));
SERVER_CASE(rst_stream_with_an_unknown_code, "7", IGNORED, OPENED, RST(1, "\xff\xff\xff\xff"));

/* ---- SETTINGS: never on a stream --------------------------------------------------------------
 */
SERVER_CASE(settings_on_stream_0, "6.5", IGNORED, SETTINGS(0, 0, ""));
SERVER_CASE(settings_idle, "6.5", GOAWAY(PROTOCOL_ERROR), SETTINGS(0, 1, ""));
SERVER_CASE(settings_open, "6.5", GOAWAY(PROTOCOL_ERROR), OPENED, SETTINGS(0, 1, ""));
SERVER_CASE(settings_half_closed, "6.5", GOAWAY(PROTOCOL_ERROR), HALF, SETTINGS(0, 1, ""));
SERVER_CASE(settings_ended, "6.5", GOAWAY(PROTOCOL_ERROR), ENDED, SETTINGS(0, 1, ""));
SERVER_CASE(settings_reset, "6.5", GOAWAY(PROTOCOL_ERROR), BY_PEER, SETTINGS(0, 1, ""));
SERVER_CASE(settings_refused, "6.5", GOAWAY(PROTOCOL_ERROR), BY_US, SETTINGS(0, 1, ""));

/* ---- PUSH_PROMISE: never from a client --------------------------------------------------------
 */
#define PUSHED(id) FRAME(T_PUSH, WHOLE, id, "\0\0\0\x02\x82\x86\x84")
SERVER_CASE(push_promise_on_stream_0, "6.6", GOAWAY(PROTOCOL_ERROR), PUSHED(0));
SERVER_CASE(push_promise_idle, "8.4", GOAWAY(PROTOCOL_ERROR), PUSHED(1));
SERVER_CASE(push_promise_open, "8.4", GOAWAY(PROTOCOL_ERROR), OPENED, PUSHED(1));
SERVER_CASE(push_promise_half_closed, "8.4", GOAWAY(PROTOCOL_ERROR), HALF, PUSHED(1));
SERVER_CASE(push_promise_ended, "8.4", GOAWAY(PROTOCOL_ERROR), ENDED, PUSHED(1));
SERVER_CASE(push_promise_reset, "8.4", GOAWAY(PROTOCOL_ERROR), BY_PEER, PUSHED(1));
SERVER_CASE(push_promise_refused, "8.4", GOAWAY(PROTOCOL_ERROR), BY_US, PUSHED(1));

/* ---- PING: never on a stream ------------------------------------------------------------------
 */
SERVER_CASE(ping_on_stream_0, "6.7", IGNORED, PING(0, 0, OCTETS));
SERVER_CASE(ping_ack_that_was_not_asked_for, "6.7", IGNORED, PING(ACK, 0, OCTETS));
SERVER_CASE(ping_idle, "6.7", GOAWAY(PROTOCOL_ERROR), PING(0, 1, OCTETS));
SERVER_CASE(ping_open, "6.7", GOAWAY(PROTOCOL_ERROR), OPENED, PING(0, 1, OCTETS));
SERVER_CASE(ping_half_closed, "6.7", GOAWAY(PROTOCOL_ERROR), HALF, PING(0, 1, OCTETS));
SERVER_CASE(ping_ended, "6.7", GOAWAY(PROTOCOL_ERROR), ENDED, PING(0, 1, OCTETS));
SERVER_CASE(ping_reset, "6.7", GOAWAY(PROTOCOL_ERROR), BY_PEER, PING(0, 1, OCTETS));
SERVER_CASE(ping_refused, "6.7", GOAWAY(PROTOCOL_ERROR), BY_US, PING(0, 1, OCTETS));

/* ---- GOAWAY: never on a stream ----------------------------------------------------------------
 */
#define BYE "\0\0\0\0\0\0\0\0"
/* A client that has said goodbye still gets its answers; with none owed, the connection ends. */
SERVER_CASE(goaway_on_stream_0_without_calls, "6.8", GOAWAY(NO_ERROR), GONE(0, BYE));
SERVER_CASE(goaway_on_stream_0_with_a_call, "6.8", STATUS(1, OK), OPENED, GONE(0, BYE),
    DATA(1, END, NO_MESSAGE));
SERVER_CASE(goaway_idle, "6.8", GOAWAY(PROTOCOL_ERROR), GONE(1, BYE));
SERVER_CASE(goaway_open, "6.8", GOAWAY(PROTOCOL_ERROR), OPENED, GONE(1, BYE));
SERVER_CASE(goaway_half_closed, "6.8", GOAWAY(PROTOCOL_ERROR), HALF, GONE(1, BYE));
SERVER_CASE(goaway_ended, "6.8", GOAWAY(PROTOCOL_ERROR), ENDED, GONE(1, BYE));
SERVER_CASE(goaway_reset, "6.8", GOAWAY(PROTOCOL_ERROR), BY_PEER, GONE(1, BYE));
SERVER_CASE(goaway_refused, "6.8", GOAWAY(PROTOCOL_ERROR), BY_US, GONE(1, BYE));

/* ---- WINDOW_UPDATE ----------------------------------------------------------------------------
 */
#define MORE "\0\0\0\x01"
SERVER_CASE(window_update_on_stream_0, "6.9", IGNORED, WINDOW(0, MORE));
SERVER_CASE(window_update_idle, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), WINDOW(1, MORE));
SERVER_CASE(window_update_open, "6.9", IGNORED, OPENED, WINDOW(1, MORE));
SERVER_CASE(window_update_half_closed, "6.9", IGNORED, HALF, WINDOW(1, MORE));
SERVER_CASE(window_update_ended, "6.9", IGNORED, ENDED, WINDOW(1, MORE));
SERVER_CASE(window_update_reset, "5.1 (closed)", IGNORED, BY_PEER, WINDOW(1, MORE));
SERVER_CASE(window_update_refused, "6.9", IGNORED, BY_US, WINDOW(1, MORE));

/* ---- CONTINUATION: only after HEADERS without END_HEADERS -------------------------------------
 */
#define REST(id) CONTINUATION(id, WHOLE, "\x82")
SERVER_CASE(continuation_on_stream_0, "6.10", GOAWAY(PROTOCOL_ERROR), REST(0));
SERVER_CASE(continuation_idle, "6.10", GOAWAY(PROTOCOL_ERROR), REST(1));
SERVER_CASE(continuation_open, "6.10", GOAWAY(PROTOCOL_ERROR), OPENED, REST(1));
SERVER_CASE(continuation_half_closed, "6.10", GOAWAY(PROTOCOL_ERROR), HALF, REST(1));
SERVER_CASE(continuation_ended, "6.10", GOAWAY(PROTOCOL_ERROR), ENDED, REST(1));
SERVER_CASE(continuation_reset, "6.10", GOAWAY(PROTOCOL_ERROR), BY_PEER, REST(1));
SERVER_CASE(continuation_refused, "6.10", GOAWAY(PROTOCOL_ERROR), BY_US, REST(1));

/* ---- types that nobody knows: ignored everywhere ----------------------------------------------
 */
#define ALIEN(id) FRAME(T_UNKNOWN, 0xff, id, "from elsewhere")
SERVER_CASE(unknown_on_stream_0, "4.1", IGNORED, ALIEN(0));
SERVER_CASE(unknown_idle, "5.5", IGNORED, ALIEN(1));
SERVER_CASE(unknown_open, "5.5", IGNORED, OPENED, ALIEN(1));
SERVER_CASE(unknown_half_closed, "5.5", IGNORED, HALF, ALIEN(1));
SERVER_CASE(unknown_ended, "5.5", IGNORED, ENDED, ALIEN(1));
SERVER_CASE(unknown_reset, "5.5", IGNORED, BY_PEER, ALIEN(1));
SERVER_CASE(unknown_refused, "5.5", IGNORED, BY_US, ALIEN(1));
SERVER_CASE(unknown_inside_a_header_block, "5.5", GOAWAY(PROTOCOL_ERROR),
    FIELDS(T_HEADERS, 0, 1, CHAT), ALIEN(1));
