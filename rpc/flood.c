/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that cost the peer little and us something: counted by kind, in seconds of the
 * connection's own. Which of them nghttp2 passes on or ignores makes no difference: they are
 * counted when their header has been read. */
#include "session.h"

static void over(rpc__conn *conn, rpc_limit_kind kind, const char *detail)
{
    rpc__conn_offence(conn, kind, NGHTTP2_ENHANCE_YOUR_CALM, detail);
}

static void start_second(rpc__conn *conn)
{
    rpc__flood *flood = &conn->flood;
    int64_t now = rpc__conn_now_us(conn);
    if (now - flood->second_us < 1000000)
        return;
    flood->second_us = now;
    flood->pings = flood->resets = flood->settings = flood->empty_data = flood->others = 0;
}

static void count_window_update(rpc__conn *conn)
{
    /* A receiver of bulk data sends many, but never more than a few for each frame it got. */
    if (++conn->flood.window_updates > (int)conn->limits->window_updates_max)
        over(conn, RPC_LIMIT_WINDOW_UPDATES, "more WINDOW_UPDATE frames than window_updates_max");
}

void rpc__flood_empty_data(rpc__conn *conn)
{
    start_second(conn);
    if (++conn->flood.empty_data > conn->limits->empty_data_per_second_max)
        over(conn, RPC_LIMIT_EMPTY_DATA, "more empty DATA frames than empty_data_per_second_max");
}

void rpc__flood_reset(rpc__conn *conn)
{
    start_second(conn);
    if (++conn->flood.resets > conn->limits->resets_per_second_max && conn->server)
        over(conn, RPC_LIMIT_RESETS, "more resets than resets_per_second_max");
}

void rpc__flood_frame(rpc__conn *conn, const nghttp2_frame_hd *head)
{
    rpc__flood *flood = &conn->flood;
    const rpc_limits *limits = conn->limits;
    switch (head->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION: /* continuations_max, by nghttp2 */
        return;
    case NGHTTP2_DATA:
        if (head->length == 0 && !(head->flags & NGHTTP2_FLAG_END_STREAM))
            rpc__flood_empty_data(conn);
        return;
    case NGHTTP2_WINDOW_UPDATE:
        count_window_update(conn);
        return;
    default:
        break;
    }
    start_second(conn);
    if (head->type == NGHTTP2_RST_STREAM) {
        rpc__flood_reset(conn);
    } else if (head->type == NGHTTP2_SETTINGS) {
        if (++flood->settings > limits->settings_per_second_max)
            over(conn, RPC_LIMIT_SETTINGS, "more SETTINGS frames than settings_per_second_max");
    } else if (head->type == NGHTTP2_PING) {
        if (++flood->pings > limits->pings_per_second_max)
            over(conn, RPC_LIMIT_PINGS, "more PING frames than pings_per_second_max");
    } else if (++flood->others > limits->other_frames_per_second_max) {
        over(conn, RPC_LIMIT_OTHER_FRAMES, "more frames than other_frames_per_second_max");
    }
}

/* As gRPC's servers: pings beside traffic of ours are a client that measures; others are
 * counted, and answered with what gRPC's clients know to slow down for. */
void rpc__flood_ping(rpc__conn *conn)
{
    rpc__flood *flood = &conn->flood;
    int64_t now = rpc__conn_now_us(conn);
    bool early = flood->ping_us > 0 &&
                 now - flood->ping_us < conn->limits->ping_interval_min_ms * 1000;
    flood->ping_us = now;
    if (!conn->server)
        return;
    flood->ping_strikes = early ? flood->ping_strikes + 1 : 0;
    if (flood->ping_strikes > conn->limits->ping_strikes_max)
        over(conn, RPC_LIMIT_PINGS, "too_many_pings");
}

/* What is due may come at once, and late: who is sent thousands of messages in a burst may answer
 * in a burst. */
#define WINDOW_UPDATES_DUE 100
#define MESSAGE_BYTES_MIN  5

/* Ten for each frame, HEADERS too: a client may send WINDOW_UPDATE with each call, whatever the
 * answer holds. And one for each message that can be in it: gRPC's clients send one when a message
 * is read, and many small ones of ours leave in one frame. */
void rpc__flood_traffic(rpc__conn *conn, size_t length)
{
    rpc__flood *flood = &conn->flood;
    const int least = -WINDOW_UPDATES_DUE * (int)conn->limits->window_updates_max;
    flood->ping_strikes = 0;
    flood->ping_us = 0;
    flood->window_updates -= 10 + (int)(length / MESSAGE_BYTES_MIN);
    if (flood->window_updates < least)
        flood->window_updates = least;
}
