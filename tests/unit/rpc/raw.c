/* SPDX-License-Identifier: Apache-2.0 */
#include "raw.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_HEAD      9
#define FRAME_BYTES_MAX 16384
#define TYPE_DATA       0
#define TYPE_HEADERS    1
#define END_STREAM      1
#define END_HEADERS     4

void raw_init(fixture *f)
{
    fixture_init(f);
    f->plain = true;
}

void raw_fixture(fixture *f)
{
    raw_init(f);
    fixture_start(f);
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int raw_dial(fixture *f)
{
    unsigned port = 0;
    sscanf(rpc_listener_url(f->listener), "%*[a-z+]://127.0.0.1:%u", &port);
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void raw_put(raw_bytes *w, const void *data, size_t size)
{
    assert_true(size <= sizeof w->data - w->size);
    memcpy(w->data + w->size, data, size);
    w->size += size;
}

void raw_frame(
    raw_bytes *w, size_t size, uint8_t type, uint8_t flags, uint32_t stream, const void *data)
{
    uint8_t head[FRAME_HEAD] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, type,
        flags, (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8),
        (uint8_t)stream};
    raw_put(w, head, FRAME_HEAD);
    if (data)
        raw_put(w, data, size);
}

void raw_preface(raw_bytes *w)
{
    raw_put(w, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(w, 0, 4, 0, 0, NULL);
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

static size_t literals(uint8_t *out, const char *const *headers)
{
    size_t size = 0;
    for (; headers && headers[0]; headers += 2)
        size += literal(out + size, headers[0], headers[1]);
    return size;
}

void raw_request_with(raw_bytes *w, uint32_t stream, const char *path, const char *type,
    uint8_t flags, const char *const *headers)
{
    uint8_t block[1024];
    size_t size = literal(block, ":method", "POST");
    size += literal(block + size, ":scheme", "http");
    size += literal(block + size, ":path", path);
    size += literal(block + size, ":authority", "x");
    size += literal(block + size, "content-type", type);
    size += literals(block + size, headers);
    raw_frame(w, size, TYPE_HEADERS, (uint8_t)(END_HEADERS | flags), stream, block);
}

void raw_request(raw_bytes *w, uint32_t stream, const char *path, const char *type, uint8_t flags)
{
    raw_request_with(w, stream, path, type, flags, NULL);
}

void raw_answer(raw_bytes *w, uint32_t stream, uint8_t flags, const char *const *headers)
{
    uint8_t block[1024];
    size_t size = literal(block, ":status", "200");
    size += literal(block + size, "content-type", "application/grpc");
    size += literals(block + size, headers);
    raw_frame(w, size, TYPE_HEADERS, (uint8_t)(END_HEADERS | flags), stream, block);
}

void raw_trailers(raw_bytes *w, uint32_t stream, const char *status, const char *const *headers)
{
    uint8_t block[1024];
    size_t size = literal(block, "grpc-status", status);
    size += literals(block + size, headers);
    raw_frame(w, size, TYPE_HEADERS, END_HEADERS | END_STREAM, stream, block);
}

void raw_message(raw_bytes *w, uint32_t stream, uint8_t flags, uint8_t compressed,
    const void *message, size_t size)
{
    uint8_t prefix[5] = {compressed, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
        (uint8_t)(size >> 8), (uint8_t)size};
    const uint8_t *data = message;
    raw_frame(w, sizeof prefix, TYPE_DATA, size > 0 ? 0 : flags, stream, prefix);
    while (size > 0) {
        size_t piece = size < FRAME_BYTES_MAX ? size : FRAME_BYTES_MAX;
        raw_frame(w, piece, TYPE_DATA, piece == size ? flags : 0, stream, data);
        data += piece;
        size -= piece;
    }
}

void raw_send(int fd, const raw_bytes *w)
{
    for (size_t sent = 0; sent < w->size;) {
        ssize_t n = send(fd, w->data + sent, w->size - sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

void raw_await_end(int fd)
{
    uint8_t rest[4096];
    while (recv(fd, rest, sizeof rest, 0) > 0)
        continue;
    close(fd);
}

size_t raw_converse(fixture *f, const raw_bytes *w, uint8_t *answer, size_t room)
{
    int fd = raw_dial(f);
    size_t size = 0;
    ssize_t got;
    (void)!send(fd, w->data, w->size, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (size < room && (got = recv(fd, answer + size, room - size, 0)) > 0)
        size += (size_t)got;
    close(fd);
    return size;
}

static size_t frame_length(const uint8_t *frame)
{
    return (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
}

static bool has_ended(const uint8_t *answer, size_t size)
{
    for (size_t at = 0; at + FRAME_HEAD <= size; at += FRAME_HEAD + frame_length(answer + at))
        if (answer[at + 3] == TYPE_HEADERS && answer[at + 4] & END_STREAM &&
            at + FRAME_HEAD + frame_length(answer + at) <= size)
            return true;
    return false;
}

size_t raw_exchange(int fd, const raw_bytes *w, uint8_t *answer, size_t room)
{
    size_t size = 0;
    ssize_t got = 1;
    assert_int_equal(send(fd, w->data, w->size, MSG_NOSIGNAL), w->size);
    while (!has_ended(answer, size) && (got = recv(fd, answer + size, room - size, 0)) > 0)
        size += (size_t)got;
    return size;
}

size_t raw_call(fixture *f, const raw_bytes *w, uint8_t *answer, size_t room)
{
    int fd = raw_dial(f);
    size_t size = raw_exchange(fd, w, answer, room);
    close(fd);
    return size;
}

bool raw_has_frame(const uint8_t *answer, size_t size, uint8_t type, int error)
{
    for (size_t at = 0; at + FRAME_HEAD <= size; at += FRAME_HEAD + frame_length(answer + at)) {
        size_t code_at = at + FRAME_HEAD + (type == 7 ? 4 : 0);
        if (answer[at + 3] == type && code_at + 4 <= size &&
            (error < 0 || answer[code_at + 3] == error))
            return true;
    }
    return false;
}

static bool find_in_block(nghttp2_hd_inflater *inflater, const uint8_t *block, size_t size,
    const char *name, char *ret_value, size_t room)
{
    bool found = false;
    while (size > 0) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block, size, 1);
        assert_true(used >= 0);
        block += used;
        size -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) || nv.namelen != strlen(name) ||
            memcmp(nv.name, name, nv.namelen) != 0)
            continue;
        found = true;
        snprintf(ret_value, room, "%.*s", (int)nv.valuelen, (const char *)nv.value);
    }
    nghttp2_hd_inflate_end_headers(inflater);
    return found;
}

bool raw_header(const uint8_t *answer, size_t size, const char *name, char *ret_value, size_t room)
{
    nghttp2_hd_inflater *inflater = NULL;
    bool found = false;
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    for (size_t at = 0; at + FRAME_HEAD <= size; at += FRAME_HEAD + frame_length(answer + at))
        if (answer[at + 3] == TYPE_HEADERS && at + FRAME_HEAD + frame_length(answer + at) <= size &&
            find_in_block(inflater, answer + at + FRAME_HEAD, frame_length(answer + at), name,
                ret_value, room))
            found = true;
    nghttp2_hd_inflate_del(inflater);
    return found;
}

void raw_still_serves(fixture *f)
{
    rpc_status status = {0};
    if (fixture_unary(f, NULL, "x", NULL, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

/* ---- a server ------------------------------------------------------------------------------- */

/* Until HEADERS have arrived, whatever the pieces. */
static void await_call(int fd)
{
    uint8_t data[65536];
    size_t size = 0;
    while (true) {
        for (size_t at = 24; at + FRAME_HEAD <= size; at += FRAME_HEAD + frame_length(data + at))
            if (data[at + 3] == TYPE_HEADERS)
                return;
        ssize_t got = recv(fd, data + size, sizeof data - size, 0);
        if (got <= 0)
            return;
        size += (size_t)got;
    }
}

static void *serve(void *arg)
{
    raw_server *s = arg;
    uint8_t rest[4096];
    int fd = accept(s->fd, NULL, NULL);
    raw_bytes *settings = calloc(1, sizeof *settings);
    raw_frame(settings, 0, 4, 0, 0, NULL);
    (void)!send(fd, settings->data, settings->size, MSG_NOSIGNAL);
    free(settings);
    await_call(fd);
    (void)!send(fd, s->bytes->data, s->bytes->size, MSG_NOSIGNAL);
    while (recv(fd, rest, sizeof rest, 0) > 0)
        continue;
    close(fd);
    return NULL;
}

void raw_server_start(raw_server *s, raw_bytes *bytes)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    s->bytes = bytes;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->fd, 1), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(s->target, sizeof s->target, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

void raw_server_stop(raw_server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
}
