/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int h2_dial(fixture *f)
{
    unsigned port = 0;
    const char *url = rpc_listener_url(f->listener);
    assert_int_equal(sscanf(strrchr(url, ':'), ":%u", &port), 1);
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

h2_peer *h2_peer_new(int fd)
{
    h2_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    int one = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    peer->fd = fd;
    assert_int_equal(nghttp2_hd_inflate_new(&peer->inflater), 0);
    /* More than any SETTINGS of the tests leads to. */
    assert_int_equal(nghttp2_hd_inflate_change_table_size(peer->inflater, 1 << 20), 0);
    return peer;
}

void h2_peer_free(h2_peer *peer)
{
    if (!peer)
        return;
    close(peer->fd);
    nghttp2_hd_inflate_del(peer->inflater);
    free(peer->out);
    free(peer);
}

h2_stream *h2_peer_stream(h2_peer *peer, uint32_t id)
{
    for (unsigned i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].id == id)
            return &peer->streams[i];
    /* The last place is shared by those that no test asks about. */
    unsigned at = peer->stream_count < 63 ? peer->stream_count++ : 63;
    peer->streams[at] = (h2_stream){.id = id, .http_status = -1, .grpc_status = -1};
    return &peer->streams[at];
}

unsigned h2_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    unsigned count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void h2_wait_descriptors(unsigned count)
{
    unsigned now = h2_descriptors();
    for (int i = 0; now > count && i < 10000; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        now = h2_descriptors();
    }
    if (now > count)
        fail_msg("%u descriptors were open before, %u are now", count, now);
}

/* ---- out --------------------------------------------------------------------------------------
 */

void h2_peer_put_bytes(h2_peer *peer, const void *bytes, size_t size)
{
    if (peer->out_size + size > peer->out_room) {
        peer->out_room = 2 * (peer->out_size + size);
        peer->out = realloc(peer->out, peer->out_room);
        assert_non_null(peer->out);
    }
    if (size > 0)
        memcpy(peer->out + peer->out_size, bytes, size);
    peer->out_size += size;
}

static size_t put_string(uint8_t *block, const char *text, size_t size)
{
    size_t at = 0, left = size;
    block[at++] = (uint8_t)(size < 127 ? size : 127);
    if (size >= 127) {
        for (left -= 127; left >= 128; left >>= 7)
            block[at++] = (uint8_t)(left | 128);
        block[at++] = (uint8_t)left;
    }
    memcpy(block + at, text, size);
    return at + size;
}

size_t h2_literal(
    uint8_t *block, const char *name, size_t name_size, const char *value, size_t value_size)
{
    size_t at = 1;
    block[0] = 0;
    at += put_string(block + at, name, name_size);
    return at + put_string(block + at, value, value_size);
}

static size_t encode(const char *fields, uint8_t *block, size_t room)
{
    size_t size = 0;
    while (*fields) {
        const char *end = strchr(fields, '\n');
        const char *colon = strstr(fields + 1, ": ");
        assert_true(end && colon && colon < end);
        assert_true(size + (size_t)(end - fields) + 16 < room);
        size += h2_literal(
            block + size, fields, (size_t)(colon - fields), colon + 2, (size_t)(end - colon - 2));
        fields = end + 1;
    }
    return size;
}

static void put_head(h2_peer *peer, const h2_step *step, size_t size)
{
    size_t told = step->length >= 0 ? (size_t)step->length : size;
    uint8_t head[9] = {(uint8_t)(told >> 16), (uint8_t)(told >> 8), (uint8_t)told, step->type,
        step->flags, (uint8_t)(step->stream >> 24), (uint8_t)(step->stream >> 16),
        (uint8_t)(step->stream >> 8), (uint8_t)step->stream};
    h2_peer_put_bytes(peer, head, sizeof head);
}

void h2_peer_put(h2_peer *peer, const h2_step *step)
{
    uint8_t block[64 * 1024];
    if (step->kind == H2_RAW) {
        h2_peer_put_bytes(peer, step->bytes, step->size);
    } else if (step->fields) {
        size_t size = encode(step->fields, block, sizeof block);
        put_head(peer, step, size);
        h2_peer_put_bytes(peer, block, size);
    } else {
        put_head(peer, step, step->size);
        h2_peer_put_bytes(peer, step->bytes, step->size);
    }
}

void h2_peer_put_preface(h2_peer *peer, bool client)
{
    if (client)
        h2_peer_put_bytes(peer, PREFACE, sizeof PREFACE - 1);
    h2_peer_put_bytes(peer, NO_SETTINGS, sizeof NO_SETTINGS - 1);
}

/* ---- in ---------------------------------------------------------------------------------------
 */

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int number(const nghttp2_nv *nv)
{
    char text[8] = "";
    if (nv->valuelen < sizeof text)
        memcpy(text, nv->value, nv->valuelen);
    return atoi(text);
}

static void note_headers(h2_peer *peer, h2_stream *stream, const uint8_t *block, size_t size)
{
    int flags = 0;
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv = {0};
        flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(peer->inflater, &nv, &flags, block, size, 1);
        if (used < 0)
            fail_msg("the answer's headers: %s", nghttp2_strerror((int)used));
        block += used;
        size -= (size_t)used;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT))
            continue;
        if (nv.namelen == 7 && memcmp(nv.name, ":status", 7) == 0)
            stream->http_status = number(&nv);
        if (nv.namelen == 11 && memcmp(nv.name, "grpc-status", 11) == 0)
            stream->grpc_status = number(&nv);
    }
    nghttp2_hd_inflate_end_headers(peer->inflater);
    stream->answered = true;
    peer->requests++;
}

static void note(h2_peer *peer, const uint8_t *head, const uint8_t *body, size_t size)
{
    uint8_t type = head[3], flags = head[4];
    uint32_t id = u32(head + 5);
    switch (type) {
    case T_DATA:
        h2_peer_stream(peer, id)->data_bytes += size;
        break;
    case T_HEADERS:
        assert_true(flags & WHOLE && !(flags & (PADDED | WEIGHTED)));
        note_headers(peer, h2_peer_stream(peer, id), body, size);
        break;
    case T_RST:
        h2_peer_stream(peer, id)->reset = true;
        h2_peer_stream(peer, id)->reset_code = u32(body);
        break;
    case T_SETTINGS:
        if (flags & ACK)
            peer->acks++;
        else
            h2_peer_put_bytes(peer, "\0\0\0\x04\x01\0\0\0\0", 9);
        break;
    case T_PING:
        if (flags & ACK)
            peer->pongs++;
        break;
    case T_GOAWAY:
        /* The first tells the reason. */
        if (!peer->goaway)
            peer->goaway_code = u32(body + 4);
        peer->goaway = true;
        break;
    default:
        break;
    }
    if ((type == T_DATA || type == T_HEADERS) && flags & END)
        h2_peer_stream(peer, id)->ended = true;
}

static void note_all(h2_peer *peer)
{
    const size_t magic = sizeof PREFACE - 1;
    size_t at = 0;
    if (peer->in_size >= magic && memcmp(peer->in, PREFACE, magic) == 0)
        at = magic;
    while (peer->in_size - at >= 9) {
        const uint8_t *head = peer->in + at;
        size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (size > sizeof peer->in - 9)
            fail_msg("a frame of %zu bytes was sent to us", size);
        if (peer->in_size - at < 9 + size)
            break;
        note(peer, head, head + 9, size);
        at += 9 + size;
    }
    memmove(peer->in, peer->in + at, peer->in_size - at);
    peer->in_size -= at;
}

static void send_some(h2_peer *peer)
{
    ssize_t sent = send(
        peer->fd, peer->out + peer->out_sent, peer->out_size - peer->out_sent, MSG_NOSIGNAL);
    if (sent > 0)
        peer->out_sent += (size_t)sent;
    else if (sent < 0 && errno != EAGAIN)
        peer->out_sent = peer->out_size; /* nobody is there: what was said may still be read */
    if (peer->out_sent == peer->out_size)
        peer->out_sent = peer->out_size = 0;
}

static void receive_some(h2_peer *peer)
{
    ssize_t got = recv(peer->fd, peer->in + peer->in_size, sizeof peer->in - peer->in_size, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        peer->eof = true;
    if (got > 0)
        peer->in_size += (size_t)got;
    note_all(peer);
}

bool h2_peer_run(h2_peer *peer, bool (*done)(const h2_peer *peer, uint32_t arg), uint32_t arg)
{
    while (!peer->eof && !done(peer, arg)) {
        struct pollfd wait = {.fd = peer->fd,
            .events = (short)((peer->hold ? 0 : POLLIN) | (peer->out_size > 0 ? POLLOUT : 0))};
        if (poll(&wait, 1, -1) < 0 && errno != EINTR)
            fail_msg("poll: %s", strerror(errno));
        if (wait.revents & (POLLIN | POLLHUP | POLLERR))
            receive_some(peer);
        if (peer->out_size > 0 && !peer->eof && wait.revents & POLLOUT)
            send_some(peer);
    }
    return !peer->eof;
}

bool h2_peer_sent(const h2_peer *peer, uint32_t arg)
{
    (void)arg;
    return peer->out_size == 0;
}

bool h2_peer_ponged(const h2_peer *peer, uint32_t count)
{
    return peer->pongs >= count;
}

bool h2_peer_over(const h2_peer *peer, uint32_t id)
{
    for (unsigned i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].id == id)
            return peer->streams[i].ended || peer->streams[i].reset;
    return false;
}

bool h2_peer_reset(const h2_peer *peer, uint32_t id)
{
    for (unsigned i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].id == id)
            return peer->streams[i].reset;
    return false;
}

bool h2_peer_answered(const h2_peer *peer, uint32_t id)
{
    for (unsigned i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].id == id)
            return peer->streams[i].answered;
    return false;
}

bool h2_peer_asked(const h2_peer *peer, uint32_t count)
{
    return peer->requests >= count;
}

static bool acked(const h2_peer *peer, uint32_t count)
{
    return peer->acks >= count;
}

bool h2_peer_gone(const h2_peer *peer, uint32_t arg)
{
    (void)arg;
    return peer->goaway;
}

bool h2_peer_never(const h2_peer *peer, uint32_t arg)
{
    (void)peer, (void)arg;
    return false;
}

bool h2_peer_sync(h2_peer *peer)
{
    h2_peer_put_bytes(peer, "\0\0\x08\x06\0\0\0\0\0conforms", 17);
    return h2_peer_run(peer, h2_peer_ponged, peer->pongs + 1);
}

static bool sync_and_forget(h2_peer *peer)
{
    bool alive = h2_peer_sync(peer);
    for (unsigned i = 0; i < peer->stream_count; i++)
        peer->streams[i].reset = false;
    return alive;
}

bool h2_peer_play(h2_peer *peer, const h2_step *steps, size_t count)
{
    bool alive = true;
    for (size_t i = 0; alive && i < count; i++) {
        switch (steps[i].kind) {
        case H2_AWAIT:
            alive = h2_peer_run(peer, h2_peer_over, steps[i].stream) && sync_and_forget(peer);
            break;
        case H2_SYNC:
            alive = sync_and_forget(peer);
            break;
        case H2_ANSWER:
            alive = h2_peer_run(peer, h2_peer_answered, steps[i].stream);
            break;
        case H2_ACKED:
            alive = h2_peer_run(peer, acked, 1);
            break;
        default:
            for (unsigned n = steps[i].times ? steps[i].times : 1; n > 0; n--)
                h2_peer_put(peer, &steps[i]);
        }
    }
    return alive;
}
