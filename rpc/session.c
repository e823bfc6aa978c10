/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 as it is received: nghttp2's callbacks, floods, headers into calls. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(rpc_bytes bytes, const char *text)
{
    return rpc_bytes_equal(bytes, rpc_bytes_str(text));
}

static rpc_bytes rcbuf_bytes(nghttp2_rcbuf *buffer)
{
    nghttp2_vec vec = nghttp2_rcbuf_get_buf(buffer);
    return rpc_bytes_of(vec.base, vec.len);
}

static rpc_call *call_of(nghttp2_session *h2, int32_t stream_id)
{
    return stream_id > 0 ? nghttp2_session_get_stream_user_data(h2, stream_id) : NULL;
}

/* ---- headers --------------------------------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    rpc__conn *conn = user;
    if (!conn->server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    rpc_call *call = rpc__call_new(
        conn->lane, conn->lane, true, conn->limits->call_memory_bytes_max);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    call->listener = conn->listener;
    call->stream_window = conn->limits->stream_window_bytes;
    call->receive_max = conn->limits->message_receive_bytes_max;
    rpc__call_attach(call, conn, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(h2, frame->hd.stream_id, call);
    return 0;
}

static bool request_header(rpc_call *call, rpc_bytes name, rpc_bytes value)
{
    if (is(name, ":path")) {
        call->path = rpc_arena_strndup(call->arena, (const char *)value.data, value.size);
        return true;
    }
    if (is(name, ":method")) {
        call->post = is(value, "POST");
        return true;
    }
    if (is(name, "grpc-timeout")) {
        call->timeout_bad = !rpc__timeout_parse(value, &call->timeout_us);
        call->timeout_seen = true;
        return true;
    }
    if (is(name, "te")) {
        call->te_seen = is(value, "trailers");
        return true;
    }
    return name.size > 0 && name.data[0] == ':';
}

static bool answer_header(rpc_call *call, rpc_bytes name, rpc_bytes value)
{
    if (is(name, ":status")) {
        call->http_status = 0;
        for (size_t i = 0; i < value.size && i < 3; i++)
            call->http_status = call->http_status * 10 + (value.data[i] - '0');
        return true;
    }
    if (is(name, "grpc-status")) {
        call->status_seen = true;
        call->remote.code = rpc__code_parse(value);
        return true;
    }
    if (is(name, "grpc-message")) {
        rpc__percent_decode(value, call->remote.message, sizeof call->remote.message);
        return true;
    }
    return name.size > 0 && name.data[0] == ':';
}

static bool common_header(rpc_call *call, rpc_bytes name, rpc_bytes value)
{
    if (is(name, "content-type")) {
        call->content_type_seen = true;
        call->content_type_good = rpc__content_type_valid(value);
        return true;
    }
    if (is(name, "grpc-encoding")) {
        call->encoding = rpc__encoding_parse(value);
        call->encoding_seen = true;
        return true;
    }
    if (is(name, "grpc-accept-encoding")) {
        call->peer_accept = rpc__accept_parse(value);
        return true;
    }
    return false;
}

/* Counts one more header. What is over is read and dropped, so that the peer gets a status; far
 * over, the connection ends. */
static bool headers_over(rpc__conn *conn, rpc_call *call, size_t size)
{
    const rpc_limits *limits = conn->limits;
    rpc_limit_kind limit = RPC_LIMIT_NONE;
    call->header_bytes += size;
    call->header_count++;
    if (call->header_bytes > limits->header_list_bytes_max)
        limit = RPC_LIMIT_HEADER_LIST;
    else if (call->header_count > limits->header_count_max)
        limit = RPC_LIMIT_HEADER_COUNT;
    if (limit == RPC_LIMIT_NONE)
        return false;
    if (call->header_limit == RPC_LIMIT_NONE)
        call->header_limit = limit;
    if (call->header_bytes / 4 > limits->header_list_bytes_max)
        rpc__conn_offence(
            conn, limit, NGHTTP2_ENHANCE_YOUR_CALM, "header list far over header_list_bytes_max");
    return true;
}

/* A stream error of the peer's, which costs as much as a reset of its own. */
static void malformed(rpc_call *call, const char *why)
{
    rpc__flood_reset(call->conn);
    rpc__call_end(call, RPC_INTERNAL, why, NGHTTP2_PROTOCOL_ERROR);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, nghttp2_rcbuf *name_ref,
    nghttp2_rcbuf *value_ref, uint8_t flags, void *user)
{
    (void)flags;
    rpc__conn *conn = user;
    rpc_call *call = call_of(h2, frame->hd.stream_id);
    if (!call || call->over)
        return 0;
    rpc_bytes name = rcbuf_bytes(name_ref), value = rcbuf_bytes(value_ref);
    if (call->server && !rpc__rules_header(&call->rules, name, value, call->headers_done)) {
        malformed(call, "call: a header that HTTP/2 does not allow");
        return 0;
    }
    if (headers_over(conn, call, name.size + value.size + 32)) /* RFC 9113, 6.5.2 */
        return 0;
    bool trailers = call->server ? call->headers_done : frame->headers.cat == NGHTTP2_HCAT_HEADERS;
    if (common_header(call, name, value) ||
        (call->server ? request_header : answer_header)(call, name, value))
        return 0;
    rpc__headers *headers = trailers ? &call->trailers : &call->headers;
    if (!rpc__headers_add(call, headers, name, value, value_ref))
        call->header_limit = RPC_LIMIT_CALL_MEMORY;
    return 0;
}

/* Where an answer has no initial metadata, its only headers are the trailers too. */
static void answer_headers_done(rpc_call *call, bool end)
{
    if (call->http_status >= 100 && call->http_status < 200 && !end)
        return;
    if (call->header_limit != RPC_LIMIT_NONE) {
        char text[160];
        snprintf(text, sizeof text, "channel: headers of the answer are over the limit: %s",
            rpc_limit_name(call->header_limit));
        rpc__call_end(call, RPC_RESOURCE_EXHAUSTED, text, NGHTTP2_CANCEL);
        return;
    }
    if (!call->headers_done && !call->status_seen &&
        (call->http_status != 200 || !call->content_type_good)) {
        char text[128];
        snprintf(text, sizeof text, "channel: the answer is not gRPC: HTTP status %d%s",
            call->http_status, call->content_type_good ? "" : ", other content type");
        rpc__call_lost(
            call, rpc__code_of_http(call->http_status), text, NGHTTP2_CANCEL, RPC__SEEN_PERHAPS);
        return;
    }
    if (!call->headers_done) {
        call->headers_done = true;
        call->conn->served = true;
        if (!end)
            rpc__retry_commit(call);
        if (end && !call->trailers.first)
            call->trailers = call->headers;
        if (call->handler.on_headers && !end)
            call->handler.on_headers(call, call->user);
    }
    if (end)
        rpc__call_remote_close(call);
}

static void request_ended(rpc_call *call)
{
    if (call->over)
        return;
    if (rpc__rules_end(&call->rules))
        rpc__call_remote_close(call);
    else
        malformed(call, "call: content-length said more");
}

static void headers_received(rpc__conn *conn, rpc_call *call, const nghttp2_frame *frame)
{
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!call->server) {
        answer_headers_done(call, end);
        return;
    }
    if (call->headers_done ? !end : !rpc__rules_head(&call->rules)) {
        malformed(call, call->headers_done ? "call: trailers that do not end it"
                                           : "call: pseudo-headers are missing");
        return;
    }
    if (!call->headers_done) {
        call->headers_done = true;
        conn->had_request = true;
        conn->ops->on_request(conn, call);
    } else if (call->header_limit != RPC_LIMIT_NONE) {
        rpc__call_limit(call, call->header_limit, "trailers of a request over the limit");
        rpc__call_refuse(call, RPC_RESOURCE_EXHAUSTED, "call: trailers over the limit; send less");
    }
    if (end)
        request_ended(call);
}

/* ---- frames -------------------------------------------------------------------------------------
 */

static int on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *head, void *user)
{
    (void)h2;
    rpc__flood_frame(user, head);
    return 0;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    rpc__conn *conn = user;
    rpc_call *call = call_of(h2, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call && !call->over)
            headers_received(conn, call, frame);
        return 0;
    case NGHTTP2_DATA:
        if (frame->hd.length > 0 && frame->hd.length == frame->data.padlen &&
            !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            rpc__flood_empty_data(conn);
        if (!call || call->over || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            return 0;
        if (call->server)
            request_ended(call);
        else
            rpc__call_remote_close(call);
        return 0;
    case NGHTTP2_SETTINGS:
        /* Only now does a client know how many streams it may open. */
        if (!conn->server && !conn->had_request && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            conn->had_request = true;
            conn->idle_since_us = rpc__conn_now_us(conn);
            conn->ops->on_ready(conn);
        }
        return 0;
    case NGHTTP2_PING:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            rpc__flood_ping(conn);
        return 0;
    case NGHTTP2_GOAWAY:
        conn->goaway_seen = true;
        conn->ops->on_goaway(conn, frame->goaway.error_code,
            rpc_bytes_of(frame->goaway.opaque_data, frame->goaway.opaque_data_len));
        return 0;
    default:
        return 0;
    }
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
    size_t size, void *user)
{
    (void)flags;
    rpc__conn *conn = user;
    (void)nghttp2_session_consume_connection(h2, size);
    rpc_call *call = call_of(h2, stream_id);
    if (!call || call->over) {
        (void)nghttp2_session_consume_stream(h2, stream_id, size);
        return 0;
    }
    if (call->server && !rpc__rules_data(&call->rules, size)) {
        malformed(call, "call: content-length said less");
        return 0;
    }
    rpc__call_data(call, data, size);
    if (conn->burst < conn->burst_max)
        return 0;
    conn->burst_over = true;
    return NGHTTP2_ERR_PAUSE;
}

static void reset_text(const rpc_call *call, uint32_t error, char *ret_text, size_t room)
{
    if (call->server)
        snprintf(ret_text, room, "call: the client ended it (%s)", nghttp2_http2_strerror(error));
    else
        snprintf(ret_text, room, "call: the server reset the stream (%s)%s",
            nghttp2_http2_strerror(error),
            error == NGHTTP2_REFUSED_STREAM ? "; nothing was done, safe to retry" : "");
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error, void *user)
{
    rpc__conn *conn = user;
    rpc_call *call = call_of(h2, stream_id);
    if (!call || call->over)
        return 0;
    char text[160];
    reset_text(call, error, text, sizeof text);
    rpc_code code = call->server ? RPC_CANCELLED : rpc__code_of_reset(error);
    if (error == NGHTTP2_NO_ERROR && !call->server && !call->remote_closed) {
        code = RPC_UNAVAILABLE;
        snprintf(text, sizeof text, "call: the stream was closed without a status");
    }
    if (code == RPC_CANCELLED && call->deadline_us <= rpc__conn_now_us(conn))
        code = RPC_DEADLINE_EXCEEDED;
    rpc__call_lost(call, code, text, NGHTTP2_NO_ERROR,
        error == NGHTTP2_REFUSED_STREAM ? RPC__SEEN_REFUSED : RPC__SEEN_PERHAPS);
    return 0;
}

/* A request that could not be sent: the peer had said goodbye. */
static int on_frame_not_send(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *user)
{
    (void)h2;
    rpc__conn *conn = user;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    for (rpc_call *call = conn->calls; call; call = call->next)
        if (call->stream_id == frame->hd.stream_id && !call->over) {
            char text[160];
            snprintf(
                text, sizeof text, "call: not sent (%s), safe to retry", nghttp2_strerror(error));
            rpc__call_lost(call, RPC_UNAVAILABLE, text, NGHTTP2_NO_ERROR, RPC__SEEN_NEVER_SENT);
            break;
        }
    return 0;
}

/* Frames that make us reset a stream cost as much as the peer's own resets. What ends the
 * connection is told when its GOAWAY is sent (session_send.c), by the reason that stands there. */
static int on_invalid_frame(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *user)
{
    (void)h2;
    rpc__conn *conn = user;
    if (conn->server && frame->hd.type == NGHTTP2_HEADERS && error == NGHTTP2_ERR_REFUSED_STREAM)
        conn->ops->on_event(
            conn, RPC_EVENT_LIMIT, RPC_LIMIT_STREAMS, "more streams at a time than streams_max");
    else if (conn->server && frame->hd.type == NGHTTP2_HEADERS &&
             conn->call_count >= conn->limits->streams_max)
        conn->fault = RPC_LIMIT_STREAMS; /* it knew our SETTINGS */
    else if (frame->hd.stream_id > 0)
        rpc__flood_reset(conn);
    return 0;
}

/* Frames of other types are dropped; nghttp2 would do so without asking rpc__flood_frame(). */
static int on_other_frame(
    nghttp2_session *h2, void **payload, const nghttp2_frame_hd *head, void *user)
{
    (void)h2, (void)payload, (void)head, (void)user;
    return NGHTTP2_ERR_CANCEL;
}

/* ---- start and input
 * ------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, on_other_frame);
    rpc__session_set_send_callbacks(callbacks);
    return callbacks;
}

static nghttp2_option *make_options(const rpc_limits *limits, bool server)
{
    nghttp2_option *option = NULL;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, server); /* rules.h */
    nghttp2_option_set_max_settings(option, 32);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
    nghttp2_option_set_max_outbound_ack(option, RPC__OUTBOUND_QUEUE_MAX);
    nghttp2_option_set_max_continuations(option, limits->continuations_max);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, limits->header_table_bytes);
    nghttp2_option_set_max_send_header_block_length(option, 4 * limits->header_list_bytes_max);
    /* A second net behind resets_per_second_max, whose GOAWAY says why. */
    nghttp2_option_set_stream_reset_rate_limit(option, 2ul * limits->resets_per_second_max + 1000,
        2ul * limits->resets_per_second_max + 1);
    return option;
}

static bool submit_settings(rpc__conn *conn)
{
    const rpc_limits *limits = conn->limits;
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (uint32_t)limits->frame_bytes_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_list_bytes_max},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)limits->header_table_bytes},
        {conn->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
            conn->server ? limits->streams_max : 0},
    };
    return nghttp2_submit_settings(
               conn->h2, NGHTTP2_FLAG_NONE, entries, sizeof entries / sizeof entries[0]) == 0 &&
           nghttp2_session_set_local_window_size(
               conn->h2, NGHTTP2_FLAG_NONE, 0, (int32_t)limits->connection_window_bytes) == 0;
}

bool rpc__session_start(rpc__conn *conn)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = make_options(conn->limits, conn->server);
    nghttp2_mem memory = rpc__h2_memory_of(&conn->h2_memory);
    int failed = -1;
    if (callbacks && option)
        failed = (conn->server ? nghttp2_session_server_new3 : nghttp2_session_client_new3)(
            &conn->h2, callbacks, conn, option, &memory);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (failed) {
        conn->h2 = NULL;
        return false;
    }
    return submit_settings(conn);
}

/* How many bytes were taken, fewer than all where a burst of messages is over; -1: it is closing.
 */
static ssize_t take(rpc__conn *conn, rpc_bytes bytes)
{
    if (!conn->h2 || conn->state != RPC__CONN_OPEN)
        return -1;
    ssize_t used = nghttp2_session_mem_recv(conn->h2, bytes.data, bytes.size);
    if (used >= 0)
        return used;
    if (used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        rpc__conn_offence(conn, RPC_LIMIT_CONTINUATIONS, NGHTTP2_ENHANCE_YOUR_CALM,
            "more CONTINUATION frames than continuations_max");
    else
        rpc__conn_offence(conn, RPC_LIMIT_NONE,
            used == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR
            : used == NGHTTP2_ERR_FLOODED        ? NGHTTP2_ENHANCE_YOUR_CALM
                                                 : NGHTTP2_INTERNAL_ERROR,
            nghttp2_strerror((int)used));
    return -1;
}

void rpc__session_receive(rpc__conn *conn, rpc_bytes bytes)
{
    conn->burst = 0;
    conn->burst_max = RPC__BURST_FIRST;
    while (bytes.size > 0) {
        conn->burst_over = false;
        ssize_t used = take(conn, bytes);
        if (used < 0)
            return;
        bytes.data += used;
        bytes.size -= (size_t)used;
        if (!conn->burst_over)
            return;
        /* The frame that it stopped at may have ended: nghttp2 says so when asked again. */
        conn->burst = 0;
        conn->burst_max *= 2;
        if (take(conn, rpc_bytes_of(bytes.data, 0)) < 0)
            return;
        rpc__lane_settle(conn->lane);
        rpc__stream_expect(conn->stream);
    }
}
