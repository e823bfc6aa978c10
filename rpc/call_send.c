/* SPDX-License-Identifier: Apache-2.0 */
/* What a call sends: its queue of messages, headers and trailers. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NV_MAX             512
#define COMPRESS_BYTES_MIN 20 /* what gzip adds to the least that it can make */

#define STATIC_NV(n, v)                                                                            \
    ((nghttp2_nv){(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1,             \
        sizeof(v) - 1, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE})

static nghttp2_nv text_nv(const char *name, const char *value, size_t size)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), size,
        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

/* ---- the queue
 * --------------------------------------------------------------------------------------- */

static rpc__out *new_out(size_t head)
{
    if (head > UINT32_MAX)
        return NULL;
    rpc__out *out = malloc(sizeof *out + RPC__PREFIX_BYTES + head);
    if (!out)
        return NULL;
    memset(out, 0, sizeof *out);
    out->size = RPC__PREFIX_BYTES + head;
    return out;
}

static bool has_room(const rpc_call *call, size_t bytes, unsigned bodies)
{
    return call->send_count == 0 || (call->send_bytes + bytes <= RPC__SEND_BYTES_MAX &&
                                        call->send_bodies + bodies <= RPC__SEND_BODIES_MAX);
}

void rpc__call_enqueue(rpc_call *call, rpc__out *out)
{
    *call->inbox_end = out;
    call->inbox_end = &out->next;
    if (out->size >= RPC__REPLY_COUNTED_MIN && call->server) {
        out->counted = call->lane;
        rpc__memory_add(out->counted->memory, out->size);
        atomic_fetch_add_explicit(&out->counted->reply_bytes, out->size, memory_order_relaxed);
    }
    call->send_count++;
    call->send_bytes += out->size;
    call->send_bodies += out->has_body;
}

static rpc_sent check_send(rpc_call *call, size_t bytes, unsigned bodies)
{
    if (call->inbox_over || call->closed_for_send)
        return RPC_SENT_OVER;
    if (has_room(call, bytes, bodies))
        return RPC_SENT_OK;
    call->want_writable = true;
    return RPC_SENT_BUSY;
}

/* An ended or full call costs neither a copy nor compression. */
static rpc_sent ask_room(rpc_call *call, size_t bytes, unsigned bodies)
{
    pthread_mutex_lock(&call->lock);
    rpc_sent sent = check_send(call, RPC__PREFIX_BYTES + bytes, bodies);
    pthread_mutex_unlock(&call->lock);
    return sent;
}

/* Frees out unless it was taken. */
static rpc_sent hand_over(rpc_call *call, rpc__out *out)
{
    pthread_mutex_lock(&call->lock);
    rpc_sent sent = check_send(call, out->size, out->has_body);
    if (sent == RPC_SENT_OK)
        rpc__call_enqueue(call, out);
    pthread_mutex_unlock(&call->lock);
    if (sent == RPC_SENT_OK)
        rpc__call_ask(call, RPC__ASK_SEND);
    else
        free(out);
    return sent;
}

/* The message compressed as the call says, or out itself. On the sender's thread: the strand has
 * other calls to serve. */
static rpc__out *compressed(rpc_call *call, rpc__out *out)
{
    size_t size = out->size - RPC__PREFIX_BYTES, made = 0;
    if (size <= COMPRESS_BYTES_MIN)
        return out;
    pthread_mutex_lock(&call->lock);
    rpc_encoding encoding = call->send_plain ? RPC_ENCODING_IDENTITY : call->send_encoding;
    pthread_mutex_unlock(&call->lock);
    if (!rpc__encoding_name(encoding))
        return out;
    rpc__out *smaller = new_out(size - 1);
    if (!smaller)
        return out;
    if (!rpc__deflate(encoding, rpc_bytes_of(out->data + RPC__PREFIX_BYTES, size),
            smaller->data + RPC__PREFIX_BYTES, size - 1, &made)) {
        free(smaller);
        return out;
    }
    free(out);
    rpc__prefix_write(smaller->data, made);
    smaller->data[0] = 1;
    smaller->size = RPC__PREFIX_BYTES + made;
    out = realloc(smaller, sizeof *smaller + smaller->size);
    return out ? out : smaller;
}

rpc_sent rpc_call_send(rpc_call *call, rpc_bytes head, const rpc_body *body)
{
    rpc_sent sent = ask_room(call, head.size, body != NULL);
    if (sent != RPC_SENT_OK)
        return sent;
    size_t body_size = body ? body->size : 0;
    rpc__out *out = body_size <= UINT32_MAX - head.size ? new_out(head.size) : NULL;
    if (!out) {
        rpc_call_cancel(call);
        return RPC_SENT_OVER;
    }
    rpc__prefix_write(out->data, head.size + body_size);
    if (head.size > 0)
        memcpy(out->data + RPC__PREFIX_BYTES, head.data, head.size);
    out->has_body = body != NULL;
    if (body)
        out->body = *body;
    else
        out = compressed(call, out);
    return hand_over(call, out);
}

rpc__out *rpc__call_pack(rpc_call *call, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    rpc__out *out = new_out(size);
    if (!out)
        return NULL;
    rpc__prefix_write(out->data, size);
    protobuf_c_message_pack(message, out->data + RPC__PREFIX_BYTES);
    return compressed(call, out);
}

rpc_sent rpc_call_send_packed(rpc_call *call, const ProtobufCMessage *message)
{
    rpc_sent sent = ask_room(call, 0, 0);
    if (sent != RPC_SENT_OK)
        return sent;
    rpc__out *out = rpc__call_pack(call, message);
    if (!out) {
        rpc_call_cancel(call);
        return RPC_SENT_OVER;
    }
    return hand_over(call, out);
}

/* Without RPC__ASK_SEND: a finish or half-close follows at once and takes it along. */
bool rpc__call_send_unbounded(rpc_call *call, const ProtobufCMessage *message)
{
    rpc__out *out = rpc__call_pack(call, message);
    if (!out)
        return false;
    pthread_mutex_lock(&call->lock);
    bool over = call->inbox_over || call->closed_for_send;
    if (!over)
        rpc__call_enqueue(call, out);
    pthread_mutex_unlock(&call->lock);
    if (over)
        free(out);
    return true;
}

void rpc_call_want_writable(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    bool now = has_room(call, 1, 1);
    call->want_writable = !now;
    pthread_mutex_unlock(&call->lock);
    if (now)
        rpc__call_ask(call, RPC__ASK_WRITABLE);
}

void rpc__call_move_inbox(rpc_call *call)
{
    if (!call->inbox)
        return;
    *call->queue_end = call->inbox;
    call->queue_end = call->inbox_end;
    call->inbox = NULL;
    call->inbox_end = &call->inbox;
}

void rpc__call_take_inbox(rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    rpc__call_move_inbox(call);
    pthread_mutex_unlock(&call->lock);
}

static void free_out(rpc__out *out, bool sent)
{
    if (out->has_body && out->body.release)
        out->body.release(out->body.ctx, sent);
    if (out->counted) {
        rpc__memory_give(out->counted->memory, out->size);
        atomic_fetch_sub_explicit(&out->counted->reply_bytes, out->size, memory_order_relaxed);
    }
    free(out);
}

void rpc__call_out_done(rpc_call *call)
{
    rpc__out *out = call->queue;
    call->messages_sent++;
    rpc__tally_add(&call->conn->tally.messages_sent, 1);
    rpc__tally_time(&call->conn->tally.last_sent_us, call->conn->progress_us);
    call->queue = out->next;
    if (!call->queue)
        call->queue_end = &call->queue;
    pthread_mutex_lock(&call->lock);
    if (!out->settled) {
        call->send_count--;
        call->send_bytes -= out->size;
        call->send_bodies -= out->has_body;
    }
    bool due = call->want_writable &&
               (call->send_count == 0 || (call->send_bytes <= RPC__SEND_BYTES_MAX / 2 &&
                                             call->send_bodies < RPC__SEND_BODIES_MAX));
    if (due)
        call->want_writable = false;
    pthread_mutex_unlock(&call->lock);
    if (!rpc__retry_keep(call, out))
        free_out(out, true);
    if (!due)
        return;
    call->writable_due = true;
    rpc__call_pend(call);
}

void rpc__call_drop_queue(rpc_call *call)
{
    rpc__out *out = call->queue;
    call->queue = NULL;
    call->queue_end = &call->queue;
    while (out) {
        rpc__out *next = out->next;
        free_out(out, false);
        out = next;
    }
}

/* ---- headers
 * ------------------------------------------------------------------------------------------- */

static nghttp2_data_provider provider_of(rpc_call *call)
{
    return (nghttp2_data_provider){{.ptr = call}, rpc__session_read_call};
}

static void freeze_headers(rpc_call *call)
{
    /* Only the strand sets it, so only setting it takes the lock. */
    if (call->headers_frozen)
        return;
    pthread_mutex_lock(&call->lock);
    call->headers_frozen = true;
    pthread_mutex_unlock(&call->lock);
}

/* The encoding of what we send, and of what we take unless accept is 0. All are constants. */
static size_t fill_encodings(const rpc_call *call, unsigned accept, nghttp2_nv *nv)
{
    size_t count = 0;
    const char *encoding = rpc__encoding_name(call->send_encoding);
    if (encoding)
        nv[count++] = text_nv("grpc-encoding", encoding, strlen(encoding));
    if (accept) {
        const char *text = rpc__accept_text(accept);
        nv[count++] = text_nv("grpc-accept-encoding", text, strlen(text));
    }
    for (size_t i = 0; i < count; i++)
        nv[i].flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    return count;
}

bool rpc__call_submit_request(rpc_call *call, rpc__conn *conn)
{
    freeze_headers(call);
    nghttp2_nv nv[NV_MAX + 16];
    size_t count = 0;
    nv[count++] = STATIC_NV(":method", "POST");
    nv[count++] = text_nv(":scheme", conn->scheme, strlen(conn->scheme));
    nv[count++] = text_nv(":path", call->path, strlen(call->path));
    nv[count++] = text_nv(":authority", (const char *)call->authority.data, call->authority.size);
    nv[count++] = STATIC_NV("te", "trailers");
    nv[count++] = STATIC_NV("content-type", "application/grpc");
    nv[count++] = STATIC_NV("user-agent", "dacm-rpc-c/0.1");
    count += fill_encodings(call, call->accept & ~RPC_ACCEPT(RPC_ENCODING_IDENTITY), nv + count);
    char timeout[RPC__TIMEOUT_TEXT_BYTES];
    if (call->deadline_us != RPC_NO_DEADLINE) {
        rpc__timeout_format(call->deadline_us - rpc__conn_now_us(conn), timeout);
        nv[count++] = text_nv("grpc-timeout", timeout, strlen(timeout));
        /* Ever-changing values would only push others out of the table. */
        nv[count - 1].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    }
    char attempts[12];
    if (call->retry.attempts > 0) {
        snprintf(attempts, sizeof attempts, "%u", call->retry.attempts);
        nv[count++] = text_nv("grpc-previous-rpc-attempts", attempts, strlen(attempts));
    }
    if (rpc__out_headers_count(call->out_headers) > NV_MAX)
        return false;
    count += rpc__out_headers_fill(call->out_headers, nv + count);
    nghttp2_data_provider provider = provider_of(call);
    int32_t id = nghttp2_submit_request(conn->h2, NULL, nv, count, &provider, call);
    if (id < 0)
        return false;
    rpc__call_attach(call, conn, id);
    call->headers_sent = true;
    return true;
}

/* status, message and the handler's trailers */
static size_t fill_trailers(rpc_call *call, nghttp2_nv *nv, char *text)
{
    size_t count = 0;
    const char *code = rpc__code_text(call->finish.code);
    nv[count] = text_nv("grpc-status", code, strlen(code));
    nv[count++].flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    if (call->finish.message[0]) {
        size_t size = rpc__percent_encode(rpc_bytes_str(call->finish.message), text);
        nv[count] = text_nv("grpc-message", text, size);
        nv[count++].flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* as a rule no two are the same */
    }
    if (rpc__out_headers_count(call->out_trailers) <= NV_MAX)
        count += rpc__out_headers_fill(call->out_trailers, nv + count);
    return count;
}

/* What is accepted is told with a connection's first answer and where the client compresses: no
 * client looks at it in every answer. Frozen: other threads may have been adding until now. */
static size_t fill_headers(rpc_call *call, nghttp2_nv *nv)
{
    size_t count = 0;
    freeze_headers(call);
    call->headers_sent = true;
    nv[count++] = STATIC_NV(":status", "200");
    nv[count++] = STATIC_NV("content-type", "application/grpc");
    bool tell = call->encoding_seen || !call->conn->accept_told;
    call->conn->accept_told = true;
    count += fill_encodings(call, tell ? call->accept : 0, nv + count);
    if (rpc__out_headers_count(call->out_headers) <= NV_MAX)
        count += rpc__out_headers_fill(call->out_headers, nv + count);
    return count;
}

rpc_code rpc__call_trailers_submit(rpc_call *call)
{
    nghttp2_nv nv[2 * NV_MAX + 8];
    char text[3 * sizeof call->finish.message + 1];
    nghttp2_session *h2 = call->conn->h2;
    int failed;
    call->trailers_sent = true;
    if (call->headers_sent) {
        size_t count = fill_trailers(call, nv, text);
        failed = nghttp2_submit_trailer(h2, call->stream_id, nv, count);
    } else {
        size_t count = fill_headers(call, nv);
        count += fill_trailers(call, nv + count, text);
        failed = nghttp2_submit_response(h2, call->stream_id, nv, count, NULL);
    }
    return failed ? RPC_RESOURCE_EXHAUSTED : RPC_OK;
}

static void push_answer(rpc_call *call)
{
    if (!call->queue && call->finish_ready) {
        rpc_code code = rpc__call_trailers_submit(call);
        rpc__call_end(call, call->finish.code, call->finish.message,
            code == RPC_OK ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (!call->queue)
        return;
    nghttp2_nv nv[NV_MAX + 8];
    size_t count = fill_headers(call, nv);
    nghttp2_data_provider provider = provider_of(call);
    if (nghttp2_submit_response(call->conn->h2, call->stream_id, nv, count, &provider) != 0)
        rpc__call_end(call, RPC_INTERNAL, "call: no memory for the answer", NGHTTP2_INTERNAL_ERROR);
}

void rpc__call_push(rpc_call *call)
{
    if (call->trailers_sent)
        return;
    if (!call->headers_sent) {
        push_answer(call);
        return;
    }
    if (!call->deferred)
        return;
    call->deferred = false;
    (void)nghttp2_session_resume_data(call->conn->h2, call->stream_id);
}
