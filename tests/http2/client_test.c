/* SPDX-License-Identifier: Apache-2.0 */
/* Our client against a server that errs: each type of frame in each state of a stream, as the
 * client sees the state (RFC 9113, 5.1):
 *   idle         a stream that the client has not opened
 *   open         its request is out and not ended
 *   half closed  (local) its request has ended: CLIENT_HALF_CASE
 *   ended        both sides have ended
 *   reset        the server has reset it
 * and what an answer may hold. The call's status says what the caller learns. */
#include "conform.h"

#define ANSWERED  HEADERS(1, 0, OK_HEADERS)
#define FINISHED  HEADERS(1, 0, OK_HEADERS), HEADERS(1, END, OK_TRAILERS), SYNC
#define BY_PEER   RST(1, CODE_CANCEL), SYNC
#define MORE      "\0\0\0\x01"
#define BYE       "\0\0\0\0\0\0\0\0"
#define LOST      RPC_UNAVAILABLE
#define MALFORMED RESET(1, PROTOCOL_ERROR)

/* ---- DATA -------------------------------------------------------------------------------------
 */
CLIENT_CASE(data_on_stream_0, "6.1", GOAWAY(PROTOCOL_ERROR), LOST, DATA(0, 0, MESSAGE));
CLIENT_CASE(data_idle, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), LOST, DATA(5, 0, MESSAGE));
CLIENT_CASE(data_on_a_stream_of_the_server, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), LOST,
    DATA(2, 0, MESSAGE));
CLIENT_CASE(data_open, "5.1 (open)", IGNORED, RUNS, ANSWERED, DATA(1, 0, MESSAGE));
CLIENT_HALF_CASE(data_half_closed, "5.1", IGNORED, RUNS, ANSWERED, DATA(1, 0, MESSAGE));
/* 8.1: malformed, a stream error; 5.4.1 lets it be a connection error. */
CLIENT_CASE(data_before_headers, "8.1", GOAWAY(PROTOCOL_ERROR), LOST, DATA(1, 0, MESSAGE));
CLIENT_HALF_CASE(data_ended, "5.1 (closed)", IGNORED, RPC_OK, FINISHED, DATA(1, 0, MESSAGE));
CLIENT_CASE(data_reset, "5.1 (closed)", IGNORED, RPC_CANCELLED, BY_PEER, DATA(1, 0, MESSAGE));

/* ---- HEADERS ----------------------------------------------------------------------------------
 */
CLIENT_CASE(headers_on_stream_0, "6.2", GOAWAY(PROTOCOL_ERROR), LOST, HEADERS(0, 0, OK_HEADERS));
CLIENT_CASE(headers_idle, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), LOST, HEADERS(5, 0, OK_HEADERS));
CLIENT_CASE(headers_on_a_stream_of_the_server, "5.1.1", GOAWAY(PROTOCOL_ERROR), LOST,
    HEADERS(2, 0, OK_HEADERS));
CLIENT_CASE(headers_open, "5.1 (open)", IGNORED, RUNS, HEADERS(1, 0, OK_HEADERS));
CLIENT_HALF_CASE(headers_half_closed, "5.1", IGNORED, RUNS, HEADERS(1, 0, OK_HEADERS));
CLIENT_HALF_CASE(
    headers_ended, "5.1 (closed)", IGNORED, RPC_OK, FINISHED, HEADERS(1, END, OK_TRAILERS));
CLIENT_CASE(
    headers_reset, "5.1 (closed)", IGNORED, RPC_CANCELLED, BY_PEER, HEADERS(1, 0, OK_HEADERS));

/* ---- PRIORITY ---------------------------------------------------------------------------------
 */
CLIENT_CASE(priority_on_stream_0, "6.3", GOAWAY(PROTOCOL_ERROR), LOST, PRIORITY(0, ROOT_WEIGHT));
CLIENT_CASE(priority_idle, "5.1 (idle)", IGNORED, RUNS, PRIORITY(5, ROOT_WEIGHT));
CLIENT_CASE(priority_open, "5.1 (open)", IGNORED, RUNS, PRIORITY(1, ROOT_WEIGHT));
CLIENT_HALF_CASE(priority_half_closed, "5.1", IGNORED, RUNS, PRIORITY(1, ROOT_WEIGHT));
CLIENT_HALF_CASE(
    priority_ended, "5.1 (closed)", IGNORED, RPC_OK, FINISHED, PRIORITY(1, ROOT_WEIGHT));

/* ---- RST_STREAM -------------------------------------------------------------------------------
 */
CLIENT_CASE(rst_stream_on_stream_0, "6.4", GOAWAY(PROTOCOL_ERROR), LOST, RST(0, CODE_CANCEL));
CLIENT_CASE(rst_stream_idle, "6.4", GOAWAY(PROTOCOL_ERROR), LOST, RST(5, CODE_CANCEL));
CLIENT_CASE(rst_stream_open, "5.1 (open)", IGNORED, RPC_CANCELLED, RST(1, CODE_CANCEL));
CLIENT_HALF_CASE(rst_stream_half_closed, "5.1", IGNORED, RPC_CANCELLED, RST(1, CODE_CANCEL));
CLIENT_HALF_CASE(rst_stream_ended, "5.1 (closed)", IGNORED, RPC_OK, FINISHED, RST(1, CODE_CANCEL));
CLIENT_CASE(rst_stream_reset, "5.1 (closed)", IGNORED, RPC_CANCELLED, BY_PEER, RST(1, CODE_CANCEL));
/* gRFC A6: what the server has not seen is sent again, once. */
CLIENT_CASE(rst_stream_refused, "gRPC: HTTP2 Transport Mapping", IGNORED, RPC_UNAVAILABLE,
    RST(1, "\0\0\0\x07"), ANSWER(3), RST(3, "\0\0\0\x07"));
CLIENT_CASE(rst_stream_calm, "gRPC: HTTP2 Transport Mapping", IGNORED, RPC_RESOURCE_EXHAUSTED,
    RST(1, "\0\0\0\x0b"));
CLIENT_CASE(rst_stream_insecure, "gRPC: HTTP2 Transport Mapping", IGNORED, RPC_PERMISSION_DENIED,
    RST(1, "\0\0\0\x0c"));
CLIENT_CASE(
    rst_stream_with_an_unknown_code, "7", IGNORED, RPC_INTERNAL, RST(1, "\xff\xff\xff\xff"));
CLIENT_CASE(rst_stream_without_an_error, "8.1", IGNORED, RPC_UNAVAILABLE, RST(1, "\0\0\0\0"));
/* 8.1: the server may need no more of the request once its answer is complete. */
CLIENT_CASE(rst_stream_after_the_answer, "8.1", RESET(1, CANCEL), RPC_OK, HEADERS(1, 0, OK_HEADERS),
    HEADERS(1, END, OK_TRAILERS), RST(1, "\0\0\0\0"));

/* ---- SETTINGS, PING, GOAWAY: never on a stream ------------------------------------------------
 */
CLIENT_CASE(settings_idle, "6.5", GOAWAY(PROTOCOL_ERROR), LOST, SETTINGS(0, 5, ""));
CLIENT_CASE(settings_open, "6.5", GOAWAY(PROTOCOL_ERROR), LOST, SETTINGS(0, 1, ""));
CLIENT_HALF_CASE(
    settings_ended, "6.5", GOAWAY(PROTOCOL_ERROR), RPC_OK, FINISHED, SETTINGS(0, 1, ""));
CLIENT_CASE(settings_on_stream_0, "6.5", IGNORED, RUNS, SETTINGS(0, 0, ""));
CLIENT_CASE(settings_are_acknowledged, "6.5.3", IGNORED, RUNS, ACKED);
/* 6.5.2: a server MUST NOT; a client MUST treat 1 as a connection error. */
CLIENT_CASE(settings_push_1_of_a_server, "6.5.2", GOAWAY(PROTOCOL_ERROR), LOST,
    SETTINGS(0, 0, "\0\2\0\0\0\1"));
CLIENT_CASE(settings_window_too_large, "6.5.2", GOAWAY(FLOW_CONTROL_ERROR), LOST,
    SETTINGS(0, 0, "\0\4\x80\0\0\0"));
CLIENT_CASE(settings_frame_too_small, "6.5.2", GOAWAY(PROTOCOL_ERROR), LOST,
    SETTINGS(0, 0, "\0\5\0\0\x3f\xff"));
CLIENT_CASE(settings_frame_too_large, "6.5.2", GOAWAY(PROTOCOL_ERROR), LOST,
    SETTINGS(0, 0, "\0\5\1\0\0\0"));
CLIENT_CASE(
    settings_of_5_bytes, "6.5", GOAWAY(FRAME_SIZE_ERROR), LOST, SETTINGS(0, 0, "\0\3\0\0\0"));
CLIENT_CASE(settings_ack_with_a_payload, "6.5", GOAWAY(FRAME_SIZE_ERROR), LOST,
    SETTINGS(ACK, 0, "\0\3\0\0\0\x64"));
CLIENT_CASE(settings_streams_0, "6.5.2", IGNORED, RUNS, SETTINGS(0, 0, "\0\3\0\0\0\0"));
CLIENT_CASE(
    settings_of_an_unknown_name, "6.5.2", IGNORED, RUNS, SETTINGS(0, 0, "\0\xee\xff\xff\xff\xff"));
CLIENT_CASE(ping_idle, "6.7", GOAWAY(PROTOCOL_ERROR), LOST, PING(0, 5, OCTETS));
CLIENT_CASE(ping_open, "6.7", GOAWAY(PROTOCOL_ERROR), LOST, PING(0, 1, OCTETS));
CLIENT_HALF_CASE(ping_ended, "6.7", GOAWAY(PROTOCOL_ERROR), RPC_OK, FINISHED, PING(0, 1, OCTETS));
CLIENT_CASE(ping_of_7_bytes, "6.7", GOAWAY(FRAME_SIZE_ERROR), LOST, PING(0, 0, "1234567"));
CLIENT_CASE(ping_ack_that_was_not_asked_for, "6.7", IGNORED, RUNS, PING(ACK, 0, OCTETS));
CLIENT_CASE(goaway_idle, "6.8", GOAWAY(PROTOCOL_ERROR), LOST, GONE(5, BYE));
CLIENT_CASE(goaway_open, "6.8", GOAWAY(PROTOCOL_ERROR), LOST, GONE(1, BYE));
CLIENT_CASE(goaway_of_7_bytes, "6.8", GOAWAY(FRAME_SIZE_ERROR), LOST, GONE(0, "\0\0\0\0\0\0\0"));
/* 6.8: a call above the last stream was not dealt with, one below goes on. */
CLIENT_CASE(goaway_below_the_call, "6.8", CLOSED, RPC_UNAVAILABLE, GONE(0, BYE));
CLIENT_CASE(goaway_above_the_call, "6.8", IGNORED, RUNS, GONE(0, "\0\0\0\1\0\0\0\0"));
CLIENT_CASE(goaway_above_the_call_that_ends_well, "6.8", CLOSED, RPC_OK,
    GONE(0, "\0\0\0\1\0\0\0\0"), HEADERS(1, 0, OK_HEADERS), HEADERS(1, END, OK_TRAILERS));
CLIENT_CASE(goaway_whose_last_stream_grows, "6.8", GOAWAY(PROTOCOL_ERROR), LOST,
    GONE(0, "\0\0\0\1\0\0\0\0"), GONE(0, "\0\0\0\3\0\0\0\0"));

/* ---- PUSH_PROMISE: was forbidden by our SETTINGS (8.4) ----------------------------------------
 */
#define PUSHED(id, promised) FRAME(T_PUSH, WHOLE, id, "\0\0\0" promised "\x82\x86\x84\x41\1x")
CLIENT_CASE(
    push_promise_on_stream_0, "6.6", GOAWAY(PROTOCOL_ERROR), LOST, ACKED, PUSHED(0, "\x02"));
CLIENT_CASE(push_promise_idle, "6.6", GOAWAY(PROTOCOL_ERROR), LOST, PUSHED(5, "\x02"));
CLIENT_CASE(push_promise_open, "8.4", GOAWAY(PROTOCOL_ERROR), LOST, PUSHED(1, "\x02"));
CLIENT_CASE(
    push_promise_of_a_client_stream, "6.6", GOAWAY(PROTOCOL_ERROR), LOST, PUSHED(1, "\x05"));
CLIENT_HALF_CASE(
    push_promise_ended, "8.4", GOAWAY(PROTOCOL_ERROR), RPC_OK, FINISHED, PUSHED(1, "\x02"));

/* ---- WINDOW_UPDATE ----------------------------------------------------------------------------
 */
CLIENT_CASE(window_update_on_stream_0, "6.9", IGNORED, RUNS, WINDOW(0, MORE));
CLIENT_CASE(window_update_idle, "5.1 (idle)", GOAWAY(PROTOCOL_ERROR), LOST, WINDOW(5, MORE));
CLIENT_CASE(window_update_open, "6.9", IGNORED, RUNS, WINDOW(1, MORE));
CLIENT_HALF_CASE(window_update_half_closed, "6.9", IGNORED, RUNS, WINDOW(1, MORE));
CLIENT_HALF_CASE(window_update_ended, "6.9", IGNORED, RPC_OK, FINISHED, WINDOW(1, MORE));
CLIENT_CASE(window_update_of_0, "6.9", GOAWAY(PROTOCOL_ERROR), LOST, WINDOW(0, "\0\0\0\0"));
CLIENT_CASE(
    window_beyond_2_31, "6.9.1", GOAWAY(FLOW_CONTROL_ERROR), LOST, WINDOW(0, "\x7f\xff\xff\xff"));
CLIENT_CASE(window_of_a_stream_beyond_2_31, "6.9.1", RESET(1, FLOW_CONTROL_ERROR), RPC_INTERNAL,
    WINDOW(1, "\x7f\xff\xff\xff"));
CLIENT_CASE(window_update_of_3_bytes, "6.9", GOAWAY(FRAME_SIZE_ERROR), LOST, WINDOW(0, "\0\0\1"));

/* ---- CONTINUATION and unknown types -----------------------------------------------------------
 */
CLIENT_CASE(
    continuation_on_stream_0, "6.10", GOAWAY(PROTOCOL_ERROR), LOST, CONTINUATION(0, WHOLE, "\x88"));
CLIENT_CASE(
    continuation_idle, "6.10", GOAWAY(PROTOCOL_ERROR), LOST, CONTINUATION(5, WHOLE, "\x88"));
CLIENT_CASE(continuation_open, "6.10", GOAWAY(PROTOCOL_ERROR), LOST, ANSWERED,
    CONTINUATION(1, WHOLE, "\x88"));
CLIENT_CASE(more_continuations_than_we_take, "10.5", GOAWAY(ENHANCE_YOUR_CALM), LOST,
    FIELDS(T_HEADERS, 0, 1, OK_HEADERS), FRAMES(20, T_CONTINUATION, 0, 1, "\0\1x\1y"));
CLIENT_CASE(unknown_on_stream_0, "4.1", IGNORED, RUNS, FRAME(T_UNKNOWN, 0xff, 0, "x"));
CLIENT_CASE(unknown_idle, "5.5", IGNORED, RUNS, FRAME(T_UNKNOWN, 0xff, 5, "x"));
CLIENT_CASE(unknown_open, "5.5", IGNORED, RUNS, FRAME(T_UNKNOWN, 0xff, 1, "x"));
CLIENT_CASE(a_frame_longer_than_settings_allow, "4.2", GOAWAY(FRAME_SIZE_ERROR), LOST, SYNC,
    LYING(T_DATA, 0, 1, LONGER_THAN_ALLOWED, ""));

/* ---- the server's preface (3.4) ---------------------------------------------------------------
 */
CLIENT_RAW_CASE(
    preface_that_is_no_settings, "3.4", GOAWAY(PROTOCOL_ERROR), LOST, PING(0, 0, OCTETS));
CLIENT_RAW_CASE(preface_of_http_1, "3.4", GOAWAY(PROTOCOL_ERROR), LOST,
    RAW("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
CLIENT_RAW_CASE(preface_of_nothing, "3.4", CLOSED, LOST, RAW(""));
CLIENT_RAW_CASE(preface_with_an_acknowledgement_first, "3.4", GOAWAY(PROTOCOL_ERROR), LOST,
    SETTINGS(ACK, 0, ""));

/* ---- answers (8.1, 8.3.2) ---------------------------------------------------------------------
 */
CLIENT_HALF_CASE(
    an_answer, "8.1", IGNORED, RPC_OK, ANSWERED, DATA(1, 0, MESSAGE), HEADERS(1, END, OK_TRAILERS));
CLIENT_HALF_CASE(an_answer_of_trailers_only, "gRPC: Responses", IGNORED, RPC_NOT_FOUND,
    HEADERS(1, END, OK_HEADERS "grpc-status: 5\ngrpc-message: not%20here\n"));
CLIENT_CASE(
    no_status, "8.3.2", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, "content-type: application/grpc\n"));
CLIENT_CASE(
    two_status, "8.3.2", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":status: 200\n" OK_HEADERS));
CLIENT_CASE(a_status_that_is_no_number, "8.3.2", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, ":status: abc\n" TYPE));
CLIENT_CASE(
    a_status_of_4_digits, "8.3.2", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":status: 2000\n" TYPE));
CLIENT_CASE(
    a_status_of_2_digits, "8.3.2", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":status: 20\n" TYPE));
/* 8.1.1 and 8.6: an answer cannot switch protocols here. */
CLIENT_CASE(a_status_101, "8.6", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":status: 101\n"));
CLIENT_CASE(
    a_status_after_others, "8.3", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, "x: y\n" OK_HEADERS));
CLIENT_CASE(
    a_path_in_an_answer, "8.3", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":path: /\n" OK_HEADERS));
CLIENT_CASE(
    an_unknown_pseudo_header, "8.3", MALFORMED, RPC_INTERNAL, HEADERS(1, 0, ":x: y\n" OK_HEADERS));
CLIENT_CASE(a_name_in_upper_case, "8.2.1", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, OK_HEADERS "X-Name: y\n"));
CLIENT_CASE(a_value_with_a_carriage_return, "8.2.1", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, OK_HEADERS "x-v: a\rb\n"));
CLIENT_CASE(connection_is_no_header_here, "8.2.2", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, OK_HEADERS "connection: close\n"));
CLIENT_CASE(transfer_encoding_is_no_header_here, "8.2.2", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, OK_HEADERS "transfer-encoding: chunked\n"));
CLIENT_HALF_CASE(informational_headers_come_first, "8.1", IGNORED, RPC_OK,
    HEADERS(1, 0, ":status: 103\n"), HEADERS(1, 0, ":status: 103\n"), ANSWERED,
    HEADERS(1, END, OK_TRAILERS));
CLIENT_CASE(informational_headers_that_end_it, "8.1", MALFORMED, RPC_INTERNAL,
    HEADERS(1, END, ":status: 103\n"));
CLIENT_CASE(trailers_without_end_stream, "8.1", MALFORMED, RPC_INTERNAL, ANSWERED,
    HEADERS(1, 0, OK_TRAILERS));
CLIENT_CASE(trailers_with_a_pseudo_header, "8.1", MALFORMED, RPC_INTERNAL, ANSWERED,
    HEADERS(1, END, ":status: 200\n" OK_TRAILERS));
CLIENT_CASE(a_content_length_that_lies, "8.1.1", MALFORMED, RPC_INTERNAL,
    HEADERS(1, 0, OK_HEADERS "content-length: 4\n"), DATA(1, 0, MESSAGE),
    HEADERS(1, END, OK_TRAILERS));
CLIENT_HALF_CASE(an_end_without_trailers, "gRPC: Responses", IGNORED, RPC_UNKNOWN, ANSWERED,
    DATA(1, END, MESSAGE));
CLIENT_CASE(another_http_status, "gRPC: HTTP Status Mapping", RESET(1, CANCEL), RPC_UNAVAILABLE,
    HEADERS(1, 0, ":status: 503\n"));
CLIENT_CASE(another_content_type, "gRPC: Responses", RESET(1, CANCEL), RPC_UNKNOWN,
    HEADERS(1, 0, ":status: 200\ncontent-type: text/html\n"));
CLIENT_HALF_CASE(a_grpc_status_that_is_no_number, "gRPC: Responses", IGNORED, RPC_UNKNOWN, ANSWERED,
    HEADERS(1, END, "grpc-status: 0x0\n"));
CLIENT_HALF_CASE(a_grpc_status_of_17, "gRPC: Responses", IGNORED, RPC_UNKNOWN, ANSWERED,
    HEADERS(1, END, "grpc-status: 17\n"));
CLIENT_HALF_CASE(a_grpc_status_that_overflows, "gRPC: Responses", IGNORED, RPC_UNKNOWN, ANSWERED,
    HEADERS(1, END, "grpc-status: 4294967296\n"));
CLIENT_HALF_CASE(a_truncated_message, "gRPC: Length-Prefixed-Message", IGNORED, RPC_INTERNAL,
    ANSWERED, DATA(1, 0, "\0\0\0\0\x09x"), HEADERS(1, END, OK_TRAILERS));
CLIENT_CASE(a_message_beyond_the_limit, "gRPC: Length-Prefixed-Message", RESET(1, CANCEL),
    RPC_RESOURCE_EXHAUSTED, ANSWERED, DATA(1, 0, "\0\xff\xff\xff\xff"));
CLIENT_CASE(a_compressed_message_without_an_encoding, "gRPC: Compression", RESET(1, CANCEL),
    RPC_INTERNAL, ANSWERED, DATA(1, 0, "\1\0\0\0\1x"));
CLIENT_CASE(a_flag_that_nobody_knows, "gRPC: Length-Prefixed-Message", RESET(1, CANCEL),
    RPC_INTERNAL, ANSWERED, DATA(1, 0, "\2\0\0\0\1x"));

/* ---- RFC 7541 ---------------------------------------------------------------------------------
 */
#define BLOCK(s) FRAME(T_HEADERS, WHOLE, 1, s)
#define BROKEN   GOAWAY(COMPRESSION_ERROR)
CLIENT_CASE(hpack_index_0, "RFC 7541, 6.1", BROKEN, LOST, BLOCK("\x80"));
CLIENT_CASE(hpack_index_beyond_the_tables, "RFC 7541, 2.3.3", BROKEN, LOST, BLOCK("\xbe"));
CLIENT_CASE(hpack_index_of_2_63, "RFC 7541, 5.1", BROKEN, LOST,
    BLOCK("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
CLIENT_CASE(hpack_string_cut, "RFC 7541, 5.2", BROKEN, LOST, BLOCK("\x40\x05:pa"));
CLIENT_CASE(hpack_huffman_end_of_string, "RFC 7541, 5.2", BROKEN, LOST,
    BLOCK("\x88\x40\1x\x84\xff\xff\xff\xff"));
CLIENT_CASE(hpack_table_size_beyond_settings, "RFC 7541, 6.3", BROKEN, LOST, SYNC,
    BLOCK("\x3f\xff\xff\xff\xff\x0f"));
CLIENT_CASE(hpack_table_size_after_a_field, "RFC 7541, 4.2", BROKEN, LOST, BLOCK("\x88\x20"));
