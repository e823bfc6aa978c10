/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that no client of ours would send, over plain TCP. */
#include "fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(fixture *f)
{
    unsigned port = 0;
    sscanf(rpc_listener_url(f->listener), "tcp://127.0.0.1:%u", &port);
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

typedef struct wire {
    uint8_t data[400000];
    size_t size;
} wire;

static void put(wire *w, const void *data, size_t size)
{
    memcpy(w->data + w->size, data, size);
    w->size += size;
}

static void put_frame(
    wire *w, size_t size, uint8_t type, uint8_t flags, uint32_t stream, const void *data)
{
    uint8_t head[9] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, type, flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    put(w, head, 9);
    if (data)
        put(w, data, size);
}

static void put_preface(wire *w)
{
    put(w, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(w, 0, 4, 0, 0, NULL);
}

static size_t literal(uint8_t *out, const char *name, const char *value)
{
    size_t at = 0;
    out[at++] = 0; /* without indexing, new name */
    out[at++] = (uint8_t)strlen(name);
    memcpy(out + at, name, strlen(name));
    at += strlen(name);
    out[at++] = (uint8_t)strlen(value);
    memcpy(out + at, value, strlen(value));
    return at + strlen(value);
}

static void put_request(wire *w, uint32_t stream, const char *path, const char *type, uint8_t flags)
{
    uint8_t block[512];
    size_t size = literal(block, ":method", "POST");
    size += literal(block + size, ":scheme", "http");
    size += literal(block + size, ":path", path);
    size += literal(block + size, ":authority", "x");
    size += literal(block + size, "content-type", type);
    put_frame(w, size, 1, (uint8_t)(4 | flags), stream, block);
}

/* Sends, tells that no more comes, and reads what is answered until the end. */
static size_t converse(fixture *f, const wire *w, uint8_t *answer, size_t room)
{
    int fd = dial(f);
    size_t size = 0;
    ssize_t got;
    (void)!send(fd, w->data, w->size, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (size < room && (got = recv(fd, answer + size, room - size, 0)) > 0)
        size += (size_t)got;
    close(fd);
    return size;
}

static bool has_frame(const uint8_t *answer, size_t size, uint8_t type, int error)
{
    for (size_t at = 0; at + 9 <= size;) {
        size_t length = (size_t)answer[at] << 16 | (size_t)answer[at + 1] << 8 | answer[at + 2];
        size_t code_at = at + 9 + (type == 7 ? 4 : 0);
        if (answer[at + 3] == type && code_at + 4 <= size &&
            (error < 0 || answer[code_at + 3] == error))
            return true;
        at += 9 + length;
    }
    return false;
}

static void start_plain(fixture *f)
{
    fixture_init(f);
    f->plain = true;
    fixture_start(f);
}

static void still_serves(fixture *f)
{
    rpc_status status = {0};
    if (fixture_unary(f, NULL, "x", NULL, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static uint8_t answer[1 << 20];

TEST(garbage_instead_of_a_preface_closes_the_connection)
{
    fixture f;
    start_plain(&f);
    wire *w = calloc(1, sizeof *w);
    put(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    (void)converse(&f, w, answer, sizeof answer);
    flag_wait(&f.events[RPC_EVENT_PROTOCOL_ERROR], 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(a_request_cut_at_every_byte_hurts_nobody)
{
    fixture f;
    start_plain(&f);
    wire *w = calloc(1, sizeof *w);
    put_preface(w);
    put_request(w, 1, "/rpctest.Echo/Unary", "application/grpc", 0);
    uint8_t message[] = {0, 0, 0, 0, 3, 10, 1, 'x'};
    put_frame(w, sizeof message, 0, 1, 1, message);
    size_t whole = w->size;
    for (size_t cut = 0; cut < whole; cut++) {
        w->size = cut;
        (void)converse(&f, w, answer, sizeof answer);
    }
    flag_wait(&f.events[RPC_EVENT_CLOSED], (unsigned)whole);
    assert_int_equal(flag_count(&f.started), 0);
    still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(another_content_type_is_answered_with_415)
{
    fixture f;
    start_plain(&f);
    wire *w = calloc(1, sizeof *w);
    put_preface(w);
    put_request(w, 1, "/rpctest.Echo/Unary", "application/json", 1);
    size_t size = converse(&f, w, answer, sizeof answer);
    assert_true(has_frame(answer, size, 1, -1));
    assert_int_equal(flag_count(&f.started), 0);
    free(w);
    fixture_stop(&f);
}

static void refuse_message(const uint8_t *message, size_t message_size)
{
    fixture f;
    start_plain(&f);
    wire *w = calloc(1, sizeof *w);
    put_preface(w);
    put_request(w, 1, "/rpctest.Echo/Unary", "application/grpc", 0);
    put_frame(w, message_size, 0, 1, 1, message);
    size_t size = converse(&f, w, answer, sizeof answer);
    assert_true(has_frame(answer, size, 1, -1));
    assert_int_equal(flag_count(&f.started), 0);
    still_serves(&f);
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

static void flood(void (*fill)(wire *w, uint32_t i), unsigned count)
{
    fixture f;
    start_plain(&f);
    wire *w = calloc(1, sizeof *w);
    put_preface(w);
    put_request(w, 1, "/rpctest.Echo/Chat", "application/grpc", 0);
    for (unsigned i = 0; i < count; i++)
        fill(w, i);
    (void)converse(&f, w, answer, sizeof answer);
    flag_wait(&f.events[RPC_EVENT_PROTOCOL_ERROR], 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    still_serves(&f);
    free(w);
    fixture_stop(&f);
}

static void fill_ping(wire *w, uint32_t i)
{
    (void)i;
    put_frame(w, 8, 6, 0, 0, "12345678");
}

static void fill_settings(wire *w, uint32_t i)
{
    (void)i;
    put_frame(w, 0, 4, 0, 0, NULL);
}

static void fill_empty_data(wire *w, uint32_t i)
{
    (void)i;
    put_frame(w, 0, 0, 0, 1, NULL);
}

static void fill_reset(wire *w, uint32_t i)
{
    uint8_t code[4] = {0, 0, 0, 8};
    put_request(w, 3 + 2 * i, "/rpctest.Echo/Chat", "application/grpc", 0);
    put_frame(w, 4, 3, 0, 3 + 2 * i, code);
}

static void fill_window(wire *w, uint32_t i)
{
    (void)i;
    uint8_t increment[4] = {0, 0, 0, 1};
    put_frame(w, 4, 8, 0, 0, increment);
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
    int fd = dial(&f);
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
        fds[i] = dial(&f);
    flag_wait(&f.events[RPC_EVENT_REFUSED], 1);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 2);
    still_serves(&f);
    fixture_stop(&f);
}
