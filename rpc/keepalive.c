/* SPDX-License-Identifier: Apache-2.0 */
/* Keepalive, the same rule at both ends: after keepalive_ms without a byte from the peer a PING
 * goes out; with no byte within keepalive_timeout_ms after it the peer is dead. Only while there
 * are calls, unless keepalive_without_calls. */
#include "session.h"

static bool watched(const rpc__conn *conn)
{
    return conn->keepalive_ms > 0 && conn->state == RPC__CONN_OPEN && conn->had_request &&
           (conn->calls || conn->limits->keepalive_without_calls);
}

static bool unanswered(const rpc__conn *conn)
{
    return conn->ping_sent_us > 0 && conn->heard_us < conn->ping_sent_us;
}

static int64_t due_us(const rpc__conn *conn)
{
    return unanswered(conn) ? conn->ping_sent_us + conn->limits->keepalive_timeout_ms * 1000
                            : conn->heard_us + conn->keepalive_ms * 1000;
}

int64_t rpc__keepalive_next_ms(const rpc__conn *conn, int64_t now, int64_t best)
{
    if (!watched(conn))
        return best;
    int64_t left = (due_us(conn) - now) / 1000 + 1;
    return left < best ? left : best;
}

bool rpc__keepalive_dead(rpc__conn *conn, int64_t now)
{
    if (!watched(conn) || now < due_us(conn))
        return false;
    if (unanswered(conn))
        return true;
    if (nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, NULL) == 0) {
        conn->ping_sent_us = now;
        rpc__tally_add(&conn->tally.keepalives_sent, 1);
    }
    return false;
}
