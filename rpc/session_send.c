/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 as it is sent: frames of DATA are made from a call's queue straight into the output.
 *
 * A frame is planned in rpc__session_read_call(), which pulls at most one slice of a body, and
 * made at once in send_data(). The plan fits the output because read_length() and the check of
 * room come first; so send_data() never has to give up, and no slice outlives one mem_send. */
#include "session.h"

#include <stdio.h>

#define FRAME_ROOM_MIN (2 * RPC__TLS_RECORD_MAX)

static ssize_t read_length(nghttp2_session *h2, uint8_t type, int32_t stream_id, int32_t window,
    int32_t stream_window, uint32_t peer_max, void *user)
{
    (void)h2, (void)type, (void)stream_id;
    rpc__conn *conn = user;
    size_t length = conn->limits->frame_bytes_max;
    size_t room = rpc__conn_room(conn);
    room = room > RPC__TLS_RECORD_MAX ? room - 256 : 1024;
    if (length > peer_max)
        length = peer_max;
    if (length > room)
        length = room;
    if (window > 0 && length > (size_t)window)
        length = (size_t)window;
    if (stream_window > 0 && length > (size_t)stream_window)
        length = (size_t)stream_window;
    /* A large frame ends where a record does, so that what follows begins one. */
    size_t over = (conn->staged + RPC__FRAME_HEAD_BYTES + length) % RPC__TLS_RECORD_MAX;
    if (length > over + RPC__TLS_RECORD_MAX / 2)
        length -= over;
    return (ssize_t)(length > 0 ? length : 1);
}

void rpc__session_drop_view(rpc__conn *conn)
{
    rpc_call *call = conn->view_call;
    if (!call)
        return;
    conn->view_call = NULL;
    conn->view = rpc_bytes_of(NULL, 0);
    rpc__out *out = call->queue;
    while (out && !out->has_body)
        out = out->next;
    if (out && out->body.pulled)
        out->body.pulled(out->body.ctx);
}

/* What of out fits in room; *ret_done: all of it does. */
static bool plan_message(
    rpc_call *call, rpc__out *out, size_t room, size_t *ret_size, bool *ret_done)
{
    rpc__conn *conn = call->conn;
    size_t head = out->size - out->sent;
    *ret_done = false;
    if (head > room) {
        *ret_size = room;
        return true;
    }
    *ret_size = head;
    size_t left = out->has_body ? out->body.size - out->body_sent : 0;
    if (left == 0) {
        *ret_done = true;
        return true;
    }
    if (room == head || conn->view_call)
        return true;
    size_t max = left < room - head ? left : room - head;
    rpc_bytes view = {0};
    rpc__retry_commit(call); /* nobody has promised to give the same bytes again */
    switch (out->body.pull(out->body.ctx, out->body_sent, max, &view)) {
    case RPC_PULL_LATER:
        return true;
    case RPC_PULL_READY:
        if (view.size > 0 && view.size <= max)
            break;
        return false;
    default:
        return false;
    }
    conn->view = view;
    conn->view_call = call;
    *ret_size = head + view.size;
    *ret_done = view.size == left;
    return true;
}

ssize_t rpc__session_read_call(nghttp2_session *h2, int32_t stream_id, uint8_t *buffer,
    size_t length, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)buffer, (void)source;
    rpc__conn *conn = user;
    rpc_call *call = nghttp2_session_get_stream_user_data(h2, stream_id);
    if (!call || call->over)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (rpc__conn_room(conn) < FRAME_ROOM_MIN)
        return NGHTTP2_ERR_PAUSE;
    size_t total = 0;
    bool done = true;
    for (rpc__out *out = call->queue; out && done && total < length; out = out->next) {
        size_t size = 0;
        if (!plan_message(call, out, length - total, &size, &done)) {
            rpc__session_drop_view(conn);
            rpc__call_end(call, RPC_INTERNAL, "call: the body of a message could not be read",
                NGHTTP2_NO_ERROR);
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        total += size;
        if (done && !out->next && (call->finish_ready || call->half_close_ready))
            *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    if (!call->queue && (call->finish_ready || call->half_close_ready))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (total == 0 && !(*flags & NGHTTP2_DATA_FLAG_EOF)) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (*flags & NGHTTP2_DATA_FLAG_EOF && call->server) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (rpc__call_trailers_submit(call) != RPC_OK)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)total;
}

static bool send_view(rpc__conn *conn, rpc__out *out, size_t *left)
{
    size_t size = conn->view.size;
    if (size > *left || !rpc__conn_put(conn, conn->view))
        return false;
    *left -= size;
    out->body_sent += size;
    conn->view_call = NULL;
    conn->view = rpc_bytes_of(NULL, 0);
    if (out->body.pulled)
        out->body.pulled(out->body.ctx);
    return true;
}

static bool send_planned(rpc__conn *conn, rpc_call *call, size_t length)
{
    while (length > 0 || (call->queue && call->queue->sent == call->queue->size)) {
        rpc__out *out = call->queue;
        if (!out)
            return false;
        size_t head = out->size - out->sent;
        head = head < length ? head : length;
        if (head > 0 && !rpc__conn_put(conn, rpc_bytes_of(out->data + out->sent, head)))
            return false;
        out->sent += head;
        length -= head;
        if (out->sent < out->size)
            return length == 0;
        bool body = out->has_body && out->body_sent < out->body.size;
        if (body && length == 0)
            return true;
        if (body && (conn->view_call != call || !send_view(conn, out, &length)))
            return false;
        if (out->has_body && out->body_sent < out->body.size)
            return length == 0;
        rpc__call_out_done(call);
    }
    return true;
}

static int send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t length,
    nghttp2_data_source *source, void *user)
{
    (void)source;
    rpc__conn *conn = user;
    rpc_call *call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (frame->data.padlen > 0 || !rpc__conn_put(conn, rpc_bytes_of(head, RPC__FRAME_HEAD_BYTES)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!send_planned(conn, call, length))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    atomic_fetch_add_explicit(&call->sent_bytes, length, memory_order_relaxed);
    return 0;
}

/* The answer is complete: what the client still sends is of no interest. */
static void answer_sent(rpc__conn *conn, int32_t stream_id)
{
    rpc_call *call = nghttp2_session_get_stream_user_data(conn->h2, stream_id);
    if (nghttp2_session_get_stream_remote_close(conn->h2, stream_id) == 0)
        (void)nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
    if (call && !call->over)
        rpc__call_end(call, call->finish.code, call->finish.message, NGHTTP2_NO_ERROR);
}

/* nghttp2 has found the peer at fault and ends the connection; debug data tells why. What we
 * found ourselves has been told already. */
static void fault_told(rpc__conn *conn, const nghttp2_goaway *goaway)
{
    if (goaway->error_code == NGHTTP2_NO_ERROR || conn->state != RPC__CONN_OPEN)
        return;
    char text[160];
    snprintf(text, sizeof text, "%s: %.*s", nghttp2_http2_strerror(goaway->error_code),
        (int)goaway->opaque_data_len, (const char *)goaway->opaque_data);
    conn->ops->on_event(conn, RPC_EVENT_PROTOCOL_ERROR, conn->fault, text);
    if (conn->why.code == RPC_OK)
        rpc_status_set(
            &conn->why, RPC_UNAVAILABLE, "connection: closed after a protocol error: %s", text);
}

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    rpc__conn *conn = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        fault_told(conn, &frame->goaway);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    rpc__flood_traffic(conn, frame->hd.length);
    rpc_call *call = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!conn->server && call && frame->hd.type == NGHTTP2_HEADERS)
        call->retry.head_sent = true;
    if (!conn->server && call && call->window_wanted > call->stream_window)
        rpc_call_receive_window(call, call->window_wanted);
    if (conn->server && frame->hd.type == NGHTTP2_HEADERS &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        answer_sent(conn, frame->hd.stream_id);
    return 0;
}

void rpc__session_set_send_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, read_length);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
}
