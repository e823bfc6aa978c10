/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a server that wait for their peer: for its next message or half-close, or for its
 * window. Looked at once a second with the connection's tick, so that a call costs no timer.
 *
 * A peer that moves a byte now and then would never be late; so what counts is a whole message,
 * or PROGRESS_BYTES of a long one. */
#include "session.h"

#include <stdio.h>

#define PROGRESS_BYTES (16 * 1024)

static bool late(rpc__waiting *wait, bool waiting, uint64_t bytes, unsigned messages, int64_t now,
    int64_t limit_ms)
{
    bool moved = bytes - wait->bytes >= PROGRESS_BYTES || messages != wait->messages;
    if (!waiting) {
        wait->since_us = 0;
        return false;
    }
    if (wait->since_us == 0 || moved) {
        *wait = (rpc__waiting){now, bytes, messages};
        return false;
    }
    return limit_ms < INT64_MAX / 1000 && now - wait->since_us >= limit_ms * 1000;
}

static void end_late(rpc_call *call, rpc_limit_kind limit, const char *what, int64_t limit_ms)
{
    char text[160];
    snprintf(text, sizeof text, "call: %s within %s_ms (%lld ms)", what, rpc_limit_name(limit),
        (long long)limit_ms);
    rpc__call_limit(call, limit, text);
    rpc__call_refuse(call, RPC_DEADLINE_EXCEEDED, text);
}

/* Nothing of the peer's is in the handler's hands, which would hold its window back. */
static bool awaits_message(const rpc_call *call)
{
    return call->headers_done && !call->remote_closed && call->held_bytes == 0;
}

static bool awaits_window(const rpc_call *call)
{
    nghttp2_session *h2 = call->conn->h2;
    return call->queue && call->headers_sent &&
           (nghttp2_session_get_stream_remote_window_size(h2, call->stream_id) <= 0 ||
               nghttp2_session_get_remote_window_size(h2) <= 0);
}

/* A header block that was begun holds up everything else on its connection. */
static bool headers_late(rpc_call *call, int64_t now)
{
    return !call->headers_done &&
           late(&call->wait_receive, true, 0, 0, now, call->conn->limits->first_request_ms);
}

static void check_call(rpc_call *call, int64_t now)
{
    const rpc_limits *limits = call->conn->limits;
    const rpc_method_options *method = call->method ? &call->method->options : NULL;
    int64_t receive_ms = method && method->stream_receive_ms ? method->stream_receive_ms
                                                             : limits->stream_receive_ms;
    int64_t send_ms = method && method->stream_send_ms ? method->stream_send_ms
                                                       : limits->stream_send_ms;
    uint64_t received, sent;
    rpc_call_counts(call, &received, &sent);
    if (late(&call->wait_receive, awaits_message(call), received, call->messages_in, now,
            receive_ms))
        end_late(call, RPC_LIMIT_STREAM_RECEIVE,
            "neither a message nor the end of the request came", receive_ms);
    else if (late(&call->wait_send, awaits_window(call), sent, 0, now, send_ms))
        end_late(
            call, RPC_LIMIT_STREAM_SEND, "the client took too little of what was sent", send_ms);
}

void rpc__conn_check_calls(rpc__conn *conn, int64_t now)
{
    if (!conn->server || conn->state != RPC__CONN_OPEN)
        return;
    for (rpc_call *call = conn->calls, *next; call; call = next) {
        next = call->next;
        if (headers_late(call, now)) {
            rpc__conn_time_out(conn, RPC_LIMIT_FIRST_REQUEST,
                "headers were begun and did not end within first_request_ms");
            return;
        }
        if (call->headers_done)
            check_call(call, now);
    }
}
