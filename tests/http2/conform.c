/* SPDX-License-Identifier: Apache-2.0 */
#include "conform.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static void describe(h2_peer *peer, char *text, size_t room)
{
    size_t at = 0;
    text[0] = '\0';
    if (peer->goaway)
        at += (size_t)snprintf(
            text, room, " GOAWAY %s;", nghttp2_http2_strerror(peer->goaway_code));
    for (unsigned i = 0; i < peer->stream_count && at < room; i++) {
        const h2_stream *s = &peer->streams[i];
        at += (size_t)snprintf(text + at, room - at,
            " stream %u:%s%s%s HTTP %d, gRPC %d, %zu bytes%s;", s->id, s->reset ? " reset " : "",
            s->reset ? nghttp2_http2_strerror(s->reset_code) : "", s->reset ? "," : "",
            s->http_status, s->grpc_status, s->data_bytes, s->ended ? ", ended" : "");
    }
    if (peer->eof && at < room)
        snprintf(text + at, room - at, " the connection was closed");
}

static bool any_reset(const h2_peer *peer)
{
    for (unsigned i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].reset && peer->streams[i].reset_code != NGHTTP2_NO_ERROR)
            return true;
    return false;
}

static bool as_expected(h2_peer *peer, const h2_outcome *outcome)
{
    const h2_stream *stream = outcome->stream ? h2_peer_stream(peer, outcome->stream) : NULL;
    bool alive = !peer->goaway && !peer->eof;
    bool fine = alive || (peer->goaway && peer->goaway_code == NGHTTP2_NO_ERROR);
    switch (outcome->kind) {
    case H2_IS_IGNORED:
        return alive && !any_reset(peer);
    case H2_IS_GOAWAY:
        return peer->goaway && peer->goaway_code == outcome->code;
    case H2_IS_RESET:
        return alive && stream->reset && stream->reset_code == outcome->code;
    case H2_IS_STATUS:
        return fine && stream->grpc_status == (int)outcome->code;
    case H2_IS_HTTP:
        return fine && stream->http_status == (int)outcome->code;
    case H2_IS_CLOSED:
        return peer->goaway || peer->eof;
    }
    return false;
}

static bool judged(const h2_peer *peer, uint32_t pongs)
{
    return peer->goaway || peer->pongs >= pongs;
}

/* Until the steps have been dealt with, one way or the other. */
static void settle(h2_peer *peer, const h2_case *c)
{
    bool alive = h2_peer_play(peer, c->steps, c->step_count);
    if (alive && c->outcome.kind == H2_IS_CLOSED) {
        /* Not even frames, perhaps: no PING would be one. */
        (void)h2_peer_run(peer, h2_peer_sent, 0);
        shutdown(peer->fd, SHUT_WR);
        (void)h2_peer_run(peer, h2_peer_never, 0);
        return;
    }
    if (alive && c->outcome.kind == H2_IS_RESET)
        alive = h2_peer_run(peer, h2_peer_reset, c->outcome.stream);
    else if (alive && c->outcome.kind != H2_IS_IGNORED && c->outcome.kind != H2_IS_GOAWAY)
        alive = h2_peer_run(peer, h2_peer_over, c->outcome.stream);
    /* The answer to a PING overtakes others; that of a second one does not overtake those. */
    for (int i = 0; alive && i < 2; i++) {
        h2_peer_put_bytes(peer, "\0\0\x08\x06\0\0\0\0\0conforms", 17);
        alive = h2_peer_run(peer, judged, peer->pongs + 1) && !peer->goaway;
    }
}

static void judge(h2_peer *peer, const h2_case *c)
{
    char text[2048];
    if (as_expected(peer, &c->outcome))
        return;
    describe(peer, text, sizeof text);
    fail_msg("RFC 9113, %s: outcome %d on stream %u with code %u was expected; got:%s", c->clause,
        c->outcome.kind, c->outcome.stream, c->outcome.code, text);
}

void h2_server_case(const h2_case *c)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    if (c->prepare)
        c->prepare(&f);
    fixture_start(&f);
    unsigned before = h2_descriptors();
    h2_peer *peer = h2_peer_new(h2_dial(&f));
    if (!c->raw)
        h2_peer_put_preface(peer, true);
    settle(peer, c);
    judge(peer, c);
    bool error = c->outcome.kind == H2_IS_GOAWAY && c->outcome.code != NGHTTP2_NO_ERROR;
    if (error)
        flag_wait(&f.events[RPC_EVENT_PROTOCOL_ERROR], 1);
    h2_peer_free(peer);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    if (!error && c->outcome.kind != H2_IS_CLOSED)
        assert_int_equal(flag_count(&f.events[RPC_EVENT_PROTOCOL_ERROR]), 0);
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.calls_started, stats.calls_ended);
    h2_wait_descriptors(before);
    rpc_status status = {0};
    if (fixture_unary(&f, NULL, "another caller", NULL, &status) != RPC_OK)
        fail_msg("another caller: %s", status.message);
    fixture_stop(&f);
}

/* ---- the client -------------------------------------------------------------------------------
 */

static int listen_here(char *ret_url, size_t room)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(ret_url, room, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

static void make_channel(fixture *f, const char *url)
{
    rpc_status status;
    rpc_channel_options options = {
        .target = url, .allow_plain_text = true, .limits = f->client_limits};
    if (rpc_channel_new(f->runtime, &options, &f->channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void check_call(client_call *call, const h2_case *c)
{
    if (c->call == RUNS) {
        assert_int_equal(flag_count(&call->ended), 0);
        return;
    }
    flag_wait(&call->ended, 1);
    if ((int)call->status.code != c->call)
        fail_msg("RFC 9113, %s: the call ended with %s (%s), not %s", c->clause,
            rpc_code_name(call->status.code), call->status.message,
            rpc_code_name((rpc_code)c->call));
}

void h2_client_case(const h2_case *c)
{
    fixture f;
    char url[64];
    fixture_init(&f);
    if (c->prepare)
        c->prepare(&f);
    int listener = listen_here(url, sizeof url);
    make_channel(&f, url);
    client_call call = {0};
    client_start(&call, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&call, &item), RPC_SENT_OK);
    if (c->half_closed)
        rpc_call_half_close(call.call);
    h2_peer *peer = h2_peer_new(accept(listener, NULL, NULL));
    close(listener); /* a call that is sent again ends at once */
    unsigned open = h2_descriptors();
    if (!c->raw) {
        h2_peer_put_preface(peer, false);
        assert_true(h2_peer_run(peer, h2_peer_asked, 1));
        /* The call's message, or the end of its sending side, is here before we go on. */
        assert_true(h2_peer_sync(peer));
    }
    settle(peer, c);
    judge(peer, c);
    check_call(&call, c);
    h2_peer_free(peer);
    flag_wait(&call.ended, 1);
    h2_wait_descriptors(open - 2); /* the peer's and the client's */
    client_done(&call);
    fixture_stop(&f);
}
