/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers of a connection: had while bytes move, gone or small while it rests. Ten thousand idle
 * connections are what a server has most of. */
#include "blocks.h"
#include "session.h"

#define SMALL_READS        16 /* so many in a row, and the buffer becomes small again */
#define FIRST_OUTPUT_BYTES (RPC__OUTPUT_BYTES + RPC__STAGING_BYTES)
#define SPARE_SENT_MAX     (64 * 1024) /* by the connection that had it */

/* First output buffers of connections that sent little, for the next: mapping, touching and
 * unmapping one is a twentieth of what a short connection costs. Few pages of them were written. */
static rpc__spares first_outputs = RPC__SPARES(FIRST_OUTPUT_BYTES, 8);

static uint8_t *new_buffer(rpc__conn *conn, size_t size)
{
    uint8_t *buffer = rpc__block_get(size);
    if (buffer)
        rpc__memory_add(conn->lane->memory, size);
    return buffer;
}

static void free_buffer(rpc__conn *conn, uint8_t **buffer, size_t size)
{
    if (!*buffer)
        return;
    rpc__memory_give(conn->lane->memory, size);
    rpc__block_put(*buffer, size);
    *buffer = NULL;
}

/* ---- output ------------------------------------------------------------------------------- */

size_t rpc__conn_output_size(const rpc__conn *conn)
{
    return conn->tls ? rpc__tls_output_size(conn->tls) : conn->out_size;
}

bool rpc__conn_output_ready(rpc__conn *conn)
{
    conn->out_used = true;
    unsigned now = conn->out_now;
    if (conn->out[now] && conn->staging)
        return true;
    if (!conn->out[0]) { /* what is staged stands behind it */
        conn->out[0] = rpc__spares_get(&first_outputs, FIRST_OUTPUT_BYTES);
        if (!conn->out[0])
            return false;
        rpc__memory_add(conn->lane->memory, FIRST_OUTPUT_BYTES);
        conn->staging = conn->out[0] + RPC__OUTPUT_BYTES;
    }
    if (!conn->out[now])
        conn->out[now] = new_buffer(conn, RPC__OUTPUT_BYTES);
    if (!conn->out[now])
        return false;
    conn->out_size = 0;
    if (conn->tls)
        rpc__tls_set_output(conn->tls, conn->out[now], RPC__OUTPUT_BYTES);
    return true;
}

static void free_output(rpc__conn *conn)
{
    if (conn->tls)
        rpc__tls_set_output(conn->tls, NULL, 0);
    if (conn->out[0]) {
        rpc__memory_give(conn->lane->memory, FIRST_OUTPUT_BYTES);
        rpc__spares_put(
            &first_outputs, conn->out[0], atomic_load(&conn->tally.bytes_sent) <= SPARE_SENT_MAX);
        conn->out[0] = NULL;
    }
    free_buffer(conn, &conn->out[1], RPC__OUTPUT_BYTES);
    conn->staging = NULL;
    conn->staged = conn->out_size = 0;
}

static bool output_rests(rpc__conn *conn)
{
    return !conn->out_used && conn->state == RPC__CONN_OPEN && !rpc__stream_writing(conn->stream) &&
           rpc__conn_output_size(conn) == 0 && conn->staged == 0 &&
           !(conn->tls && rpc__tls_output_waiting(conn->tls));
}

/* ---- input -------------------------------------------------------------------------------- */

bool rpc__conn_input_ready(rpc__conn *conn)
{
    if (conn->in && conn->in_size != conn->in_wanted)
        free_buffer(conn, &conn->in, conn->in_size);
    if (conn->in)
        return true;
    conn->in_size = conn->in_wanted;
    conn->in = new_buffer(conn, conn->in_size);
    return conn->in != NULL;
}

void rpc__conn_input_took(rpc__conn *conn, size_t size)
{
    if (size == conn->in_size)
        conn->in_wanted = RPC__INPUT_BYTES;
    if (size > RPC__INPUT_FIRST_BYTES)
        conn->in_small = 0;
    else if (++conn->in_small >= SMALL_READS)
        conn->in_wanted = RPC__INPUT_FIRST_BYTES;
}

/* ---- rest --------------------------------------------------------------------------------- */

void rpc__conn_free_buffers(rpc__conn *conn)
{
    free_output(conn);
    free_buffer(conn, &conn->in, conn->in_size);
    rpc__h2_memory_trim(&conn->h2_memory);
}

bool rpc__conn_rests(const rpc__conn *conn)
{
    return !conn->out[0] && !conn->out[1] && !conn->lane->free_calls &&
           conn->in_size <= RPC__INPUT_FIRST_BYTES;
}

void rpc__conn_rest(rpc__conn *conn)
{
    if (output_rests(conn))
        free_output(conn);
    if (!conn->out_used && conn->calls == NULL)
        rpc__h2_memory_trim(&conn->h2_memory);
    if (!conn->out_used && conn->calls == NULL && conn->server) {
        rpc__lane_rest(conn->lane);
        if (conn->in_size > RPC__INPUT_FIRST_BYTES) {
            conn->in_wanted = RPC__INPUT_FIRST_BYTES;
            rpc__stream_read_back(conn->stream);
        }
    }
    conn->out_used = false;
}
