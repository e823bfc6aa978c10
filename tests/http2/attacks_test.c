/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile clients of a server, one test for each kind; see attack.h for what each must leave as
 * it was. What each frame alone may lead to is in the cases of conformance. */
#include "attack.h"

#include <sys/socket.h>
#include <unistd.h>

#define ATTACK(...) h2_under_attack(&(h2_attack){.attackers = 2, __VA_ARGS__})

static void put(h2_peer *peer, h2_step step)
{
    h2_peer_put(peer, &step);
}

/* Until the server has said why, or closed. */
static void to_the_end(h2_peer *peer)
{
    (void)h2_peer_run(peer, h2_peer_gone, 0);
    h2_peer_free(peer);
}

/* ---- bytes that are no HTTP/2 -----------------------------------------------------------------
 */

static void send_garbage(fixture *f, unsigned attacker)
{
    uint8_t bytes[4096];
    uint32_t state = 2463534242u + attacker;
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            bytes[i] = (uint8_t)state;
        }
        h2_peer *peer = h2_peer_new(h2_dial(f));
        h2_peer_put_bytes(peer, bytes, sizeof bytes);
        to_the_end(peer);
    }
}

TEST(garbage_instead_of_a_preface)
{
    ATTACK(.run = send_garbage, .protocol_errors = 100);
}

static void send_garbage_after_the_preface(fixture *f, unsigned attacker)
{
    uint32_t state = 88172645u + attacker;
    for (int round = 0; round < 100; round++) {
        h2_peer *peer = h2_attacker(f);
        uint8_t bytes[2048];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(state >> 24);
        }
        h2_peer_put_bytes(peer, bytes, sizeof bytes);
        (void)h2_peer_run(peer, h2_peer_sent, 0);
        shutdown(peer->fd, SHUT_WR);
        to_the_end(peer);
    }
}

TEST(garbage_instead_of_frames)
{
    ATTACK(.run = send_garbage_after_the_preface);
}

/* Every kind of frame, cut at every byte. */
static void send_cut(fixture *f, unsigned attacker)
{
    h2_peer *whole = h2_attacker(f);
    put(whole, (h2_step)SETTINGS(0, 0, "\0\3\0\0\0\x64"));
    put(whole, (h2_step)FIELDS(T_HEADERS, 0, 1, PSEUDO("/rpctest.Echo/Chat")));
    put(whole, (h2_step)FIELDS(T_CONTINUATION, WHOLE, 1, TYPE));
    put(whole, (h2_step)DATA(1, PADDED, "\2" MESSAGE "\0\0"));
    put(whole, (h2_step)WINDOW(1, "\0\0\0\1"));
    put(whole, (h2_step)PRIORITY(1, ROOT_WEIGHT));
    put(whole, (h2_step)PING(0, 0, OCTETS));
    put(whole, (h2_step)FRAME(T_UNKNOWN, 0, 1, "x"));
    put(whole, (h2_step)HEADERS(3, 0, UNARY));
    put(whole, (h2_step)DATA(3, END, "\0\0\0\0\3\x0a\1x"));
    put(whole, (h2_step)RST(1, CODE_CANCEL));
    put(whole, (h2_step)GONE(0, "\0\0\0\0\0\0\0\0"));
    for (size_t cut = attacker; cut <= whole->out_size; cut += 2) {
        h2_peer *peer = h2_peer_new(h2_dial(f));
        h2_peer_put_bytes(peer, whole->out, cut);
        (void)h2_peer_run(peer, h2_peer_sent, 0);
        h2_peer_free(peer);
    }
    h2_peer_free(whole);
}

TEST(frames_truncated_at_every_byte)
{
    ATTACK(.run = send_cut);
}

/* ---- too large --------------------------------------------------------------------------------
 */

static void send_oversized_frame(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 20; round++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step)HEADERS(1, 0, CHAT));
        put(peer, (h2_step)LYING(T_DATA, 0, 1, 0xffffff, "x"));
        to_the_end(peer);
    }
}

TEST(an_oversized_frame)
{
    ATTACK(.run = send_oversized_frame, .protocol_errors = 40);
}

/* fields headers of size bytes each, in as many frames as it takes. */
static void put_large_headers(h2_peer *peer, uint32_t stream, size_t fields, size_t size)
{
    const size_t room = fields * (size + 16) + 1024;
    char *text = malloc(room);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, room, "%s", CHAT);
    for (size_t i = 0; i < fields; i++) {
        at += (size_t)snprintf(text + at, room - at, "x-%zu: ", i);
        memset(text + at, 'a', size);
        at += size;
        text[at++] = '\n';
    }
    text[at] = '\0';
    put(peer, (h2_step)HEADERS(stream, END, text));
    free(text);
}

static void send_oversized_headers(fixture *f, unsigned attacker)
{
    (void)attacker;
    h2_peer *peer = h2_attacker(f);
    assert_true(h2_peer_sync(peer)); /* larger frames are allowed now */
    for (uint32_t round = 0; round < 20; round++) {
        put_large_headers(peer, 2 * round + 1, 60, 800);
        assert_true(h2_peer_run(peer, h2_peer_over, 2 * round + 1));
        assert_int_equal(h2_peer_stream(peer, 2 * round + 1)->grpc_status, RPC_RESOURCE_EXHAUSTED);
    }
    h2_peer_free(peer);
}

static void small_header_list(fixture *f)
{
    f->limits.header_list_bytes_max = 16384;
}

TEST(an_oversized_header_list)
{
    ATTACK(.run = send_oversized_headers, .prepare = small_header_list,
        .limit = RPC_LIMIT_HEADER_LIST, .limit_count = 40);
}

/* A call of Unary with that message; returns its status. */
static int unary_status(fixture *f, const void *message, size_t size)
{
    h2_peer *peer = h2_attacker(f);
    put(peer, (h2_step)HEADERS(1, 0, UNARY));
    /* Now the window is as large as SETTINGS say, and however long the copying of a large message
     * takes, first_request_ms does not end its connection. */
    if (size > 65535 - 5)
        assert_true(h2_peer_sync(peer));
    h2_put_message(peer, 1, END, message, size);
    assert_true(h2_peer_run(peer, h2_peer_over, 1));
    int status = h2_peer_stream(peer, 1)->grpc_status;
    h2_peer_free(peer);
    return status;
}

static void large_windows(fixture *f)
{
    f->limits.stream_window_bytes = f->limits.connection_window_bytes = 32 << 20;
}

static void send_oversized_message(fixture *f, unsigned attacker)
{
    (void)attacker;
    static const uint8_t message[5 << 20];
    for (int round = 0; round < 5; round++)
        assert_int_equal(unary_status(f, message, sizeof message), RPC_RESOURCE_EXHAUSTED);
}

TEST(an_oversized_message)
{
    ATTACK(.run = send_oversized_message, .prepare = large_windows, .limit = RPC_LIMIT_MESSAGE,
        .limit_count = 10);
}

static void send_lies(fixture *f, unsigned attacker)
{
    (void)attacker;
    static const h2_step lies[] = {
        DATA(1, END, "\0\0\0\0\x09\x0a\x01x"),       /* longer than what comes */
        DATA(1, END, "\0\0\0\0\x01\x0a\x01x"),       /* shorter: the rest is no prefix */
        DATA(1, END, "\0\xff\xff\xff\xff\x0a\x01x"), /* 4 GiB */
        DATA(1, END, "\0\0\0"),                      /* half a prefix */
        DATA(1, END, ""),                            /* no message at all */
    };
    for (size_t i = 0; i < 10 * sizeof lies / sizeof lies[0]; i++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step)HEADERS(1, 0, UNARY));
        put(peer, lies[i % (sizeof lies / sizeof lies[0])]);
        assert_true(h2_peer_run(peer, h2_peer_over, 1));
        assert_true(h2_peer_stream(peer, 1)->grpc_status > 0);
        h2_peer_free(peer);
    }
}

TEST(a_message_length_that_lies)
{
    ATTACK(.run = send_lies);
}

static void send_compressed(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 20; round++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step)HEADERS(1, 0, UNARY));
        put(peer, (h2_step)DATA(1, END, "\1\0\0\0\3\x0a\x01x"));
        assert_true(h2_peer_run(peer, h2_peer_over, 1));
        assert_int_equal(h2_peer_stream(peer, 1)->grpc_status, RPC_INTERNAL);
        h2_peer_free(peer);
    }
}

TEST(a_compressed_message_without_an_encoding)
{
    ATTACK(.run = send_compressed);
}

static void ask_for_nothing(fixture *f, unsigned attacker)
{
    (void)attacker;
    h2_peer *peer = h2_attacker(f);
    for (uint32_t id = 1; id < 60; id += 6) {
        put(peer, (h2_step)HEADERS(
                      id, END, PSEUDO("/rpctest.Echo/Chat") "content-type: application/json\n"));
        put(peer, (h2_step)HEADERS(id + 2, END, REQUEST("Nothing")));
        put(peer, (h2_step)HEADERS(id + 4, END, PSEUDO("/no.Such/Service") TYPE));
        for (uint32_t i = 0; i < 6; i += 2)
            assert_true(h2_peer_run(peer, h2_peer_over, id + i));
        assert_int_equal(h2_peer_stream(peer, id)->http_status, 415);
        assert_int_equal(h2_peer_stream(peer, id + 2)->grpc_status, RPC_UNIMPLEMENTED);
        assert_int_equal(h2_peer_stream(peer, id + 4)->grpc_status, RPC_UNIMPLEMENTED);
    }
    h2_peer_free(peer);
}

TEST(unknown_content_types_methods_and_services)
{
    ATTACK(.run = ask_for_nothing);
}

/* ---- floods -----------------------------------------------------------------------------------
 */

/* 20 connections of count steps each, on an open stream 1; each is ended by the server. */
static void flood(fixture *f, const h2_step *step, unsigned count)
{
    for (int round = 0; round < 20; round++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step)HEADERS(1, 0, CHAT));
        for (unsigned i = 0; i < count; i++)
            h2_peer_put(peer, step);
        (void)h2_peer_run(peer, h2_peer_gone, 0);
        assert_true(peer->goaway);
        assert_int_equal(peer->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
        h2_peer_free(peer);
    }
}

#define FLOOD(name, limit_kind, count, ...)                                                        \
    static void send_##name(fixture *f, unsigned attacker)                                         \
    {                                                                                              \
        (void)attacker;                                                                            \
        static const h2_step step = __VA_ARGS__;                                                   \
        flood(f, &step, count);                                                                    \
    }                                                                                              \
    _Static_assert(1, "a semicolon follows")

FLOOD(pings, RPC_LIMIT_PINGS, 1000, PING(0, 0, OCTETS));
FLOOD(settings, RPC_LIMIT_SETTINGS, 1000, SETTINGS(0, 0, "\0\3\0\0\0\1"));
FLOOD(window_updates, RPC_LIMIT_WINDOW_UPDATES, 5000, WINDOW(1, "\0\0\0\1"));
FLOOD(empty_data, RPC_LIMIT_EMPTY_DATA, 1000, DATA(1, 0, ""));
FLOOD(padding, RPC_LIMIT_EMPTY_DATA, 1000, DATA(1, PADDED, "\3\0\0\0"));
FLOOD(priorities, RPC_LIMIT_OTHER_FRAMES, 5000, PRIORITY(1, ROOT_WEIGHT));
FLOOD(unknown_frames, RPC_LIMIT_OTHER_FRAMES, 5000, FRAME(T_UNKNOWN, 0, 0, ""));

TEST(a_flood_of_pings)
{
    ATTACK(.run = send_pings, .limit = RPC_LIMIT_PINGS, .limit_count = 40);
}

TEST(a_flood_of_settings)
{
    ATTACK(.run = send_settings, .limit = RPC_LIMIT_SETTINGS, .limit_count = 40);
}

TEST(a_flood_of_window_updates)
{
    ATTACK(.run = send_window_updates, .limit = RPC_LIMIT_WINDOW_UPDATES, .limit_count = 40);
}

TEST(a_flood_of_empty_data)
{
    ATTACK(.run = send_empty_data, .limit = RPC_LIMIT_EMPTY_DATA, .limit_count = 40);
}

TEST(a_flood_of_padding)
{
    ATTACK(.run = send_padding, .limit = RPC_LIMIT_EMPTY_DATA, .limit_count = 40);
}

TEST(a_flood_of_priorities)
{
    ATTACK(.run = send_priorities, .limit = RPC_LIMIT_OTHER_FRAMES, .limit_count = 40);
}

TEST(a_flood_of_unknown_frames)
{
    ATTACK(.run = send_unknown_frames, .limit = RPC_LIMIT_OTHER_FRAMES, .limit_count = 40);
}

static void continue_for_ever(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 20; round++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step)FIELDS(T_HEADERS, 0, 1, CHAT));
        for (int i = 0; i < 1000; i++)
            put(peer, (h2_step)CONTINUATION(1, 0, "\0\1x\1y"));
        (void)h2_peer_run(peer, h2_peer_gone, 0);
        assert_true(peer->goaway);
        assert_int_equal(peer->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
        h2_peer_free(peer);
    }
}

TEST(a_flood_of_continuations)
{
    ATTACK(.run = continue_for_ever, .limit = RPC_LIMIT_CONTINUATIONS, .limit_count = 40);
}

/* One entry of 4,000 bytes in the table, then as many references to it as a frame holds: 16 KiB
 * that stand for 64 MiB. */
static void send_hpack_bomb(fixture *f, unsigned attacker)
{
    (void)attacker;
    char value[3900], block[16384];
    memset(value, 'a', sizeof value);
    size_t size = h2_literal((uint8_t *)block, "x", 1, value, sizeof value);
    block[0] = 0x40; /* with indexing */
    memset(block + size, 0xbe, sizeof block - size);
    for (int round = 0; round < 20; round++) {
        h2_peer *peer = h2_attacker(f);
        put(peer, (h2_step){.type = T_HEADERS,
                      .flags = WHOLE | END,
                      .stream = 1,
                      .bytes = block,
                      .size = sizeof block,
                      .length = -1});
        (void)h2_peer_run(peer, h2_peer_gone, 0);
        assert_true(peer->goaway);
        h2_peer_free(peer);
    }
}

TEST(hpack_bombs)
{
    ATTACK(.run = send_hpack_bomb, .limit = RPC_LIMIT_HEADER_LIST, .limit_count = 40);
}

static void reset_rapidly(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 10; round++) {
        h2_peer *peer = h2_attacker(f);
        for (uint32_t id = 1; id < 4000; id += 2) {
            put(peer, (h2_step)HEADERS(id, 0, CHAT));
            put(peer, (h2_step)RST(id, CODE_CANCEL));
        }
        (void)h2_peer_run(peer, h2_peer_gone, 0);
        assert_true(peer->goaway);
        h2_peer_free(peer);
    }
}

TEST(rapid_resets)
{
    ATTACK(.run = reset_rapidly, .limit = RPC_LIMIT_RESETS, .limit_count = 20);
}

/* The server is made to reset: for its client that is as good. */
static void provoke_resets(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 10; round++) {
        h2_peer *peer = h2_attacker(f);
        for (uint32_t id = 1; id < 4000; id += 2) {
            put(peer, (h2_step)HEADERS(id, 0, CHAT));
            put(peer, (h2_step)WINDOW(id, "\x7f\xff\xff\xff"));
        }
        (void)h2_peer_run(peer, h2_peer_gone, 0);
        assert_true(peer->goaway);
        h2_peer_free(peer);
    }
}

TEST(resets_that_the_server_is_provoked_to)
{
    ATTACK(.run = provoke_resets, .limit = RPC_LIMIT_RESETS, .limit_count = 20);
}

static void send_malformed(fixture *f, unsigned attacker)
{
    (void)attacker;
    for (int round = 0; round < 10; round++) {
        h2_peer *peer = h2_attacker(f);
        uint32_t id = 1;
        do /* no more at a time than the server takes */
            for (int i = 0; i < 90; i++, id += 2)
                put(peer, (h2_step)HEADERS(id, END, "x: y\n"));
        while (h2_peer_sync(peer) && !peer->goaway);
        assert_true(peer->goaway);
        h2_peer_free(peer);
    }
}

TEST(a_flood_of_malformed_requests)
{
    ATTACK(.run = send_malformed, .limit = RPC_LIMIT_RESETS, .limit_count = 20);
}

/* ---- protobuf ---------------------------------------------------------------------------------
 */

static void send_messages(fixture *f, unsigned attacker)
{
    (void)attacker;
    static const struct {
        const char *bytes;
        size_t size;
        int status;
    } messages[] = {
#define BYTES(s, status) {s, sizeof(s) - 1, status}
        BYTES("\x0a\x01x\xfa\x01\x03xyz", RPC_OK), /* an unknown field */
        BYTES("\x0a\x01x\xf9\x01"
              "12345678",
            RPC_OK),                                     /* the same, 64 bits */
        BYTES("\x08\x01", RPC_INVALID_ARGUMENT),         /* text as a number */
        BYTES("\x12\x01x", RPC_INVALID_ARGUMENT),        /* size as bytes */
        BYTES("\x0a\x02\xc3\x28", RPC_INVALID_ARGUMENT), /* no UTF-8 */
        BYTES("\x0a\x03"
              "a\0b",
            RPC_INVALID_ARGUMENT),                /* NUL */
        BYTES("\x0a\x7fx", RPC_INVALID_ARGUMENT), /* longer than there is */
        BYTES("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", RPC_INVALID_ARGUMENT),
        BYTES("\x00", RPC_INVALID_ARGUMENT),     /* field 0 */
        BYTES("\x0b\x0c", RPC_INVALID_ARGUMENT), /* a group */
#undef BYTES
    };
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
            int status = unary_status(f, messages[i].bytes, messages[i].size);
            if (status != messages[i].status)
                fail_msg("message %zu: %s", i, rpc_code_name((rpc_code)status));
        }
}

TEST(unknown_fields_wrong_types_and_bad_strings)
{
    ATTACK(.run = send_messages);
}

/* Item holds Items: depth messages, one in the other. */
static size_t nest(uint8_t *ret, size_t depth)
{
    size_t size = 0;
    for (size_t i = 0; i < depth; i++) {
        uint8_t head[8] = {0x22};
        size_t at = 1, left = size;
        for (; left >= 128; left >>= 7)
            head[at++] = (uint8_t)(left | 128);
        head[at++] = (uint8_t)left;
        memmove(ret + at, ret, size);
        memcpy(ret, head, at);
        size += at;
    }
    return size;
}

static void send_nested(fixture *f, unsigned attacker)
{
    (void)attacker;
    static uint8_t buffers[2][65536];
    uint8_t *message = buffers[attacker];
    for (int round = 0; round < 5; round++) {
        assert_int_equal(unary_status(f, message, nest(message, 20)), RPC_OK);
        assert_int_equal(unary_status(f, message, nest(message, 100)), RPC_INVALID_ARGUMENT);
        assert_int_equal(unary_status(f, message, nest(message, 10000)), RPC_INVALID_ARGUMENT);
    }
}

TEST(messages_nested_100_and_10000_deep)
{
    ATTACK(.run = send_nested);
}

/* 2 bytes of the message each, 80 and more once unpacked. */
static void send_entries(fixture *f, unsigned attacker)
{
    (void)attacker;
    const size_t entries = 10 * 1000 * 1000;
    uint8_t *message = malloc(2 * entries);
    assert_non_null(message);
    for (size_t i = 0; i < entries; i++)
        memcpy(message + 2 * i, "\x22\0", 2);
    assert_int_equal(unary_status(f, message, 2 * entries), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(unary_status(f, message, entries / 5), RPC_RESOURCE_EXHAUSTED);
    free(message);
}

static void large_messages(fixture *f)
{
    f->limits.message_receive_bytes_max = 32 << 20;
    f->limits.connection_request_bytes_max = 64 << 20;
    large_windows(f);
}

TEST(a_small_message_of_10_million_entries)
{
    ATTACK(.run = send_entries, .prepare = large_messages);
}
