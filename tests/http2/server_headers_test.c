/* SPDX-License-Identifier: Apache-2.0 */
/* Our server: what a request's header block may hold (RFC 9113, 8) and how it may be compressed
 * (RFC 7541). A malformed request is a stream error PROTOCOL_ERROR (8.1.1). */
#include "conform.h"

#define REQ(text)  HEADERS(1, END, text)
#define MALFORMED  RESET(1, PROTOCOL_ERROR)
#define GOOD       HTTP(1, 200)
#define WITH(line) CHAT line "\n"

/* ---- pseudo-headers (8.3) ---------------------------------------------------------------------
 */
SERVER_CASE(a_request, "8.3.1", GOOD, REQ(CHAT));
SERVER_CASE(no_method, "8.3.1", MALFORMED,
    REQ(":scheme: http\n:path: /rpctest.Echo/Chat\n:authority: x\n" TYPE));
SERVER_CASE(no_scheme, "8.3.1", MALFORMED,
    REQ(":method: POST\n:path: /rpctest.Echo/Chat\n:authority: x\n" TYPE));
SERVER_CASE(no_path, "8.3.1", MALFORMED, REQ(":method: POST\n:scheme: http\n:authority: x\n" TYPE));
SERVER_CASE(an_empty_path, "8.3.1", MALFORMED, REQ(PSEUDO("") TYPE));
SERVER_CASE(a_path_without_slash, "8.3.1", MALFORMED, REQ(PSEUDO("rpctest.Echo/Chat") TYPE));
SERVER_CASE(neither_authority_nor_host, "8.3.1", MALFORMED,
    REQ(":method: POST\n:scheme: http\n:path: /rpctest.Echo/Chat\n" TYPE));
SERVER_CASE(host_in_place_of_authority, "8.3.1", GOOD,
    REQ(":method: POST\n:scheme: http\n:path: /rpctest.Echo/Chat\nhost: x\n" TYPE));
SERVER_CASE(two_methods, "8.3.1", MALFORMED, REQ(":method: POST\n" CHAT));
SERVER_CASE(two_schemes, "8.3.1", MALFORMED, REQ(":scheme: http\n" CHAT));
SERVER_CASE(two_paths, "8.3.1", MALFORMED, REQ(":path: /rpctest.Echo/Chat\n" CHAT));
SERVER_CASE(two_authorities, "8.3.1", MALFORMED, REQ(":authority: x\n" CHAT));
SERVER_CASE(a_pseudo_header_after_others, "8.3", MALFORMED, REQ("x-first: y\n" CHAT));
SERVER_CASE(an_unknown_pseudo_header, "8.3", MALFORMED, REQ(":unknown: x\n" CHAT));
SERVER_CASE(a_status_in_a_request, "8.3", MALFORMED, REQ(":status: 200\n" CHAT));
/* RFC 8441 was not offered. */
SERVER_CASE(a_protocol_that_was_not_offered, "8.3", MALFORMED, REQ(":protocol: websocket\n" CHAT));
SERVER_CASE(another_method, "8.3.1", HTTP(1, 405),
    REQ(":method: GET\n:scheme: http\n:path: /rpctest.Echo/Chat\n:authority: x\n" TYPE));
SERVER_CASE(connect, "8.5", HTTP(1, 405), REQ(":method: CONNECT\n:authority: x:1\n"));
SERVER_CASE(
    connect_with_a_path, "8.5", MALFORMED, REQ(":method: CONNECT\n:authority: x:1\n:path: /\n"));
SERVER_CASE(an_asterisk_with_options, "8.3.1", HTTP(1, 405),
    REQ(":method: OPTIONS\n:scheme: http\n:path: *\n:authority: x\n" TYPE));
SERVER_CASE(an_asterisk_with_another_method, "8.3.1", MALFORMED, REQ(PSEUDO("*") TYPE));
SERVER_CASE(a_path_with_a_space, "8.3.1", MALFORMED, REQ(PSEUDO("/rpctest.Echo/C hat") TYPE));
SERVER_CASE(an_empty_scheme, "8.3.1", MALFORMED,
    REQ(":method: POST\n:scheme: \n:path: /rpctest.Echo/Chat\n:authority: x\n" TYPE));
SERVER_CASE(two_hosts, "8.3.1", MALFORMED, REQ(WITH("host: x\nhost: x")));

/* ---- names and values (8.2) -------------------------------------------------------------------
 */
SERVER_CASE(a_name_in_upper_case, "8.2.1", MALFORMED, REQ(WITH("X-Name: y")));
SERVER_CASE(a_name_with_a_space, "8.2.1", MALFORMED, REQ(WITH("x name: y")));
SERVER_CASE(a_name_with_a_control_character, "8.2.1", MALFORMED, REQ(WITH("x\x01y: z")));
SERVER_CASE(a_name_beyond_ascii, "8.2.1", MALFORMED, REQ(WITH("x\xc3\xb8y: z")));
SERVER_CASE(a_name_with_a_colon, "8.2.1", MALFORMED, REQ(WITH("x:y: z")));
SERVER_CASE(an_empty_name, "8.2.1", MALFORMED,
    FRAME(T_HEADERS, WHOLE | END, 1, "\0\x07:method\x04POST\x86\x84\x41\1x\0\0\1y"));
SERVER_CASE(a_value_with_nul, "8.2.1", MALFORMED,
    FRAME(T_HEADERS, WHOLE | END, 1, "\x83\x86\x84\x41\1x\0\1x\3a\0b"));
SERVER_CASE(a_value_with_a_line_feed, "8.2.1", MALFORMED,
    FRAME(T_HEADERS, WHOLE | END, 1, "\x83\x86\x84\x41\1x\0\1x\3a\nb"));
SERVER_CASE(a_value_with_a_carriage_return, "8.2.1", MALFORMED, REQ(WITH("x-v: a\rb")));
SERVER_CASE(a_value_that_starts_with_a_space, "8.2.1", MALFORMED, REQ(WITH("x-v:  a")));
SERVER_CASE(a_value_that_ends_with_a_tab, "8.2.1", MALFORMED, REQ(WITH("x-v: a\t")));
SERVER_CASE(a_value_with_a_control_character, "8.2.1", MALFORMED,
    REQ(WITH("x-v: 0123456789012345678901234567890123456789\x01tail")));
SERVER_CASE(a_value_with_delete, "8.2.1", MALFORMED,
    REQ(WITH("x-v: a\x7f"
             "b")));
SERVER_CASE(a_value_with_tabs_and_spaces_inside, "8.2.1", GOOD, REQ(WITH("x-v: a\tb c")));
SERVER_CASE(a_value_beyond_ascii, "8.2.1", GOOD, REQ(WITH("x-v: gr\xc3\xbc\xc3\x9f\xff")));
SERVER_CASE(an_empty_value, "8.2.1", GOOD, REQ(WITH("x-v: ")));
SERVER_CASE(a_name_of_all_that_is_allowed, "8.2.1", GOOD, REQ(WITH("!#$%&'*+-.^_`|~09az: y")));
SERVER_CASE(connection_is_no_header_here, "8.2.2", MALFORMED, REQ(WITH("connection: close")));
SERVER_CASE(keep_alive_is_no_header_here, "8.2.2", MALFORMED, REQ(WITH("keep-alive: 5")));
SERVER_CASE(
    proxy_connection_is_no_header_here, "8.2.2", MALFORMED, REQ(WITH("proxy-connection: x")));
SERVER_CASE(transfer_encoding_is_no_header_here, "8.2.2", MALFORMED,
    REQ(WITH("transfer-encoding: chunked")));
SERVER_CASE(upgrade_is_no_header_here, "8.2.2", MALFORMED, REQ(WITH("upgrade: h2c")));
SERVER_CASE(te_other_than_trailers, "8.2.2", MALFORMED,
    REQ(PSEUDO("/rpctest.Echo/Chat") "content-type: application/grpc\nte: gzip\n"));
SERVER_CASE(te_in_capitals, "RFC 9110, 10.1.4", STATUS(1, OK),
    REQ(PSEUDO("/rpctest.Echo/Chat") "content-type: application/grpc\nte: Trailers\n"));

/* ---- bodies and trailers (8.1) ----------------------------------------------------------------
 */
SERVER_CASE(a_content_length_that_is_true, "8.1.1", STATUS(1, OK),
    HEADERS(1, 0, WITH("content-length: 5")), DATA(1, END, MESSAGE));
SERVER_CASE(a_content_length_too_small, "8.1.1", MALFORMED,
    HEADERS(1, 0, WITH("content-length: 4")), DATA(1, END, MESSAGE));
SERVER_CASE(a_content_length_too_large, "8.1.1", MALFORMED,
    HEADERS(1, 0, WITH("content-length: 6")), DATA(1, END, MESSAGE));
SERVER_CASE(a_content_length_and_no_body, "8.1.1", MALFORMED, REQ(WITH("content-length: 6")));
SERVER_CASE(
    a_content_length_that_is_no_number, "8.1.1", MALFORMED, REQ(WITH("content-length: -5")));
SERVER_CASE(
    two_content_lengths, "8.1.1", MALFORMED, REQ(WITH("content-length: 5\ncontent-length: 5")));
SERVER_CASE(a_content_length_beyond_63_bits, "8.1.1", MALFORMED,
    REQ(WITH("content-length: 9223372036854775808")));
SERVER_CASE(an_empty_content_length, "8.1.1", MALFORMED, REQ(WITH("content-length: ")));
SERVER_CASE(a_content_length_in_trailers, "8.1.1", MALFORMED, HEADERS(1, 0, CHAT),
    DATA(1, 0, MESSAGE), HEADERS(1, END, "content-length: 4\n"));
SERVER_CASE(trailers, "8.1", STATUS(1, OK), HEADERS(1, 0, CHAT), DATA(1, 0, MESSAGE),
    HEADERS(1, END, "x-tail: y\n"));
SERVER_CASE(trailers_with_a_pseudo_header, "8.1", MALFORMED, HEADERS(1, 0, CHAT),
    HEADERS(1, END, ":path: /\n"));
SERVER_CASE(trailers_with_connection, "8.2.2", MALFORMED, HEADERS(1, 0, CHAT),
    HEADERS(1, END, "connection: close\n"));
SERVER_CASE(trailers_without_end_stream, "8.1", MALFORMED, HEADERS(1, 0, CHAT), DATA(1, 0, MESSAGE),
    HEADERS(1, 0, "x-tail: y\n"));
SERVER_CASE(trailers_that_are_empty, "8.1", STATUS(1, OK), HEADERS(1, 0, CHAT),
    FRAME(T_HEADERS, WHOLE | END, 1, ""));

/* ---- gRPC's own rules (PROTOCOL-HTTP2.md) -----------------------------------------------------
 */
SERVER_CASE(no_content_type, "gRPC: Requests", HTTP(1, 415),
    REQ(PSEUDO("/rpctest.Echo/Chat") "te: trailers\n"));
SERVER_CASE(another_content_type, "gRPC: Requests", HTTP(1, 415),
    REQ(PSEUDO("/rpctest.Echo/Chat") "content-type: application/json\n"));
SERVER_CASE(a_content_type_that_only_begins_alike, "gRPC: Requests", HTTP(1, 415),
    REQ(PSEUDO("/rpctest.Echo/Chat") "content-type: application/grpcx\n"));
SERVER_CASE(a_content_type_with_a_subtype, "gRPC: Requests", STATUS(1, OK),
    REQ(PSEUDO("/rpctest.Echo/Chat") "content-type: application/grpc+proto\n"));
SERVER_CASE(an_unknown_service, "gRPC: Responses", STATUS(1, UNIMPLEMENTED),
    REQ(PSEUDO("/no.Such/Chat") TYPE));
SERVER_CASE(
    an_unknown_method, "gRPC: Responses", STATUS(1, UNIMPLEMENTED), REQ(REQUEST("Nothing")));
SERVER_CASE(a_path_of_4_kilobytes_of_nothing, "gRPC: Responses", STATUS(1, UNIMPLEMENTED),
    REQ(PSEUDO(
        "/////////////////////////////////////////////////////////////////////////////"
        "////////////////////////////////////////////////////////////////////////////////////")
            TYPE));
SERVER_CASE(a_timeout_without_a_unit, "gRPC: Timeout", STATUS(1, INVALID_ARGUMENT),
    REQ(WITH("grpc-timeout: 100")));
SERVER_CASE(a_timeout_of_9_digits, "gRPC: Timeout", STATUS(1, INVALID_ARGUMENT),
    REQ(WITH("grpc-timeout: 123456789S")));
SERVER_CASE(a_negative_timeout, "gRPC: Timeout", STATUS(1, INVALID_ARGUMENT),
    REQ(WITH("grpc-timeout: -1S")));
SERVER_CASE(
    a_timeout_of_0, "gRPC: Timeout", STATUS(1, DEADLINE_EXCEEDED), REQ(WITH("grpc-timeout: 0S")));
SERVER_CASE(
    binary_metadata_that_is_no_base64, "gRPC: Custom-Metadata", GOOD, REQ(WITH("x-bin: !!!")));

/* ---- RFC 7541 ---------------------------------------------------------------------------------
 */
#define BLOCK(s) FRAME(T_HEADERS, WHOLE | END, 1, s)
#define BROKEN   GOAWAY(COMPRESSION_ERROR)
SERVER_CASE(hpack_index_0, "RFC 7541, 6.1", BROKEN, BLOCK("\x80"));
SERVER_CASE(hpack_index_beyond_the_tables, "RFC 7541, 2.3.3", BROKEN, BLOCK("\xbe"));
SERVER_CASE(hpack_index_of_2_32, "RFC 7541, 5.1", BROKEN, BLOCK("\xff\x81\xff\xff\xff\x0f"));
SERVER_CASE(hpack_index_of_2_63, "RFC 7541, 5.1", BROKEN,
    BLOCK("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
SERVER_CASE(hpack_name_index_beyond_the_tables, "RFC 7541, 2.3.3", BROKEN, BLOCK("\x7e\1x"));
SERVER_CASE(hpack_index_cut, "RFC 7541, 5.1", BROKEN, BLOCK("\xff"));
SERVER_CASE(hpack_string_cut, "RFC 7541, 5.2", BROKEN, BLOCK("\x40\x05:pa"));
SERVER_CASE(hpack_value_missing, "RFC 7541, 6.2", BROKEN, BLOCK("\x40\1x"));
SERVER_CASE(
    hpack_string_of_2_gigabytes, "RFC 7541, 5.2", BROKEN, BLOCK("\x40\x7f\x80\xff\xff\xff\x07x"));
SERVER_CASE(hpack_huffman_padding_of_8_bits, "RFC 7541, 5.2", BROKEN,
    BLOCK("\x83\x86\x84\x41\1x\x40\1x\x82\x1f\xff"));
SERVER_CASE(hpack_huffman_padding_of_zeros, "RFC 7541, 5.2", BROKEN,
    BLOCK("\x83\x86\x84\x41\1x\x40\1x\x81\x18"));
SERVER_CASE(hpack_huffman_end_of_string, "RFC 7541, 5.2", BROKEN,
    BLOCK("\x83\x86\x84\x41\1x\x40\1x\x84\xff\xff\xff\xff"));
SERVER_CASE(hpack_table_size_within_settings, "RFC 7541, 6.3", MALFORMED, BLOCK("\x20"));
SERVER_CASE(hpack_table_size_twice, "RFC 7541, 4.2", MALFORMED, BLOCK("\x20\x3f\xe1\x1f"));
SERVER_CASE(hpack_table_size_beyond_settings, "RFC 7541, 6.3", BROKEN, SYNC, BLOCK("\x3f\xe2\x7f"));
SERVER_CASE(hpack_table_size_of_2_32, "RFC 7541, 6.3", BROKEN, BLOCK("\x3f\xff\xff\xff\xff\x0f"));
SERVER_CASE(hpack_table_size_after_a_field, "RFC 7541, 4.2", BROKEN, BLOCK("\x82\x20"));
SERVER_CASE(hpack_entry_larger_than_the_table_empties_it, "RFC 7541, 4.4", BROKEN,
    BLOCK("\x3f\x01\x83\x86\x84\x41\1x\x40\1x\1y\xbe"));
SERVER_CASE(hpack_errors_on_a_stream_gone_count, "RFC 9113, 4.3", BROKEN, HEADERS(1, 0, CHAT),
    RST(1, CODE_CANCEL), SYNC, BLOCK("\x80"));
