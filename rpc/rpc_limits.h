/* SPDX-License-Identifier: Apache-2.0 */
/** What a peer may cost: limits of servers and channels, and their names. Included by rpc.h. */
#ifndef DACM_RPC_LIMITS_H
#define DACM_RPC_LIMITS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Start from rpc_limits_default() or rpc_limits_default_client(), which give the values here; the
 *  range stands behind, in brackets. Each is judged before memory is spent and has, on a server, a
 *  counter (rpc_limit_kind): docs/librpc/limits.md tells what the peer sees. A channel heeds those
 *  that are not about a server's connections. */
typedef struct rpc_limits {
    /* Connections of a server; an address is one of IPv4 or a /64 of IPv6. */
    unsigned connections_max;                 /* 10,000 (1..1,000,000) */
    unsigned connections_per_address_max;     /* 2,000 (1..1,000,000) */
    unsigned unauthenticated_max;             /* 1,024 (1..1,000,000) in TLS or before the first
                                               * request */
    unsigned unauthenticated_per_address_max; /* 64 (1..1,000,000) */

    /* Time, milliseconds. */
    int64_t handshake_ms;      /* 5,000 (1..3,600,000) */
    int64_t first_request_ms;  /* 10,000 (1..3,600,000) */
    int64_t idle_ms;           /* 300,000 (1..RPC_NO_TIMEOUT) without a call, after the first */
    int64_t write_progress_ms; /* 30,000 (1..3,600,000) with output waiting and none leaving */
    int64_t stream_receive_ms; /* 300,000 (1..RPC_NO_TIMEOUT): a call of a server waits for the
                                * peer's next message or half-close */
    int64_t stream_send_ms;    /* 300,000 (1..RPC_NO_TIMEOUT): the same for the peer's window */
    int64_t keepalive_ms;      /* server 7,200,000, client 0 (0..31,536,000,000; 0 = never): without
                                * a byte from the peer a PING is sent. A client that is told
                                * too_many_pings doubles it */
    int64_t keepalive_timeout_ms;     /* 20,000 (1..3,600,000) without a byte after that PING: the
                                       * peer is dead */
    unsigned keepalive_without_calls; /* 0 (0..1); 1: also while no call runs */

    /* Streams and headers. */
    unsigned streams_max;         /* 100 (1..1,000,000) at a time on a connection */
    size_t header_list_bytes_max; /* 64 KiB (1 KiB..16 MiB) */
    unsigned header_count_max;    /* 256 (8..65,536) in a list */
    unsigned continuations_max;   /* 8 (1..10,000) CONTINUATION frames to a list */

    /* What a peer may do without a call of its own moving. */
    int64_t ping_interval_min_ms;       /* 10,000 (0..3,600,000): faster pings get
                                         * ENHANCE_YOUR_CALM … */
    unsigned ping_strikes_max;          /* 2 (0..1,000,000): … after this many without traffic of
                                         * ours between */
    unsigned pings_per_second_max;      /* 100 (1..1,000,000), beside traffic too */
    unsigned resets_per_second_max;     /* 100 (1..1,000,000) streams reset by the peer */
    unsigned settings_per_second_max;   /* 100 (2..1,000,000) */
    unsigned empty_data_per_second_max; /* 100 (1..1,000,000) DATA frames with neither bytes nor
                                         * end */
    unsigned other_frames_per_second_max; /* 1,000 (1..1,000,000) of PRIORITY, GOAWAY and unknown
                                           * types */
    unsigned window_updates_max;          /* 1,000 (100..1,000,000) more than ten to each HEADERS
                                           * or DATA frame of ours, and one to each 5 bytes in it
                                           */

    /* Memory, bytes. */
    size_t message_receive_bytes_max;    /* 4 MiB (1..4,294,967,295) */
    size_t call_memory_bytes_max;        /* 16 MiB (16 KiB and more): arena of one call */
    size_t connection_request_bytes_max; /* 8 MiB (1 and more): received and not yet consumed */
    size_t server_memory_bytes_max;      /* 1 GiB (1 MiB and more): buffers, messages and arenas of
                                          * all connections; over it new calls are refused, a quarter
                                          * over it new connections */
    int64_t retry_pushback_ms;           /* 1,000 (0..3,600,000): what a call refused for memory is
                                          * told to wait */
    size_t stream_window_bytes;          /* 64 KiB (1 KiB..2,147,483,647), of
                                          * rpc_limits_default_client() 8 MiB: receive window of a
                                          * stream */
    size_t connection_window_bytes;      /* 1 MiB (65,535..2,147,483,647), of
                                          * rpc_limits_default_client() 16 MiB: of a connection */
    size_t frame_bytes_max;              /* 256 KiB (16 KiB..16,777,215): largest DATA frame taken
                                          * and sent */
    size_t header_table_bytes;           /* 16 KiB (0..1 MiB) HPACK table */

    /** Received messages may hold secrets: whatever memory their plain text stood in (records,
     *  messages, what rpc_message_unpack() and unary methods made of them) is overwritten before it
     *  is used for anything else. Costs a pass over each. */
    bool overwrite_messages;
} rpc_limits;

/** Never: of idle_ms, stream_receive_ms and stream_send_ms. */
#define RPC_NO_TIMEOUT INT64_MAX

/** What to start from: for a server, and for a channel. */
RPC_API rpc_limits rpc_limits_default(void);
RPC_API rpc_limits rpc_limits_default_client(void);

/** Which limit was reached; rpc_server_stats counts each. */
typedef enum rpc_limit_kind {
    RPC_LIMIT_NONE, /* an event that has nothing to do with one; never counted */
    RPC_LIMIT_CONNECTIONS,
    RPC_LIMIT_CONNECTIONS_PER_ADDRESS,
    RPC_LIMIT_UNAUTHENTICATED,
    RPC_LIMIT_UNAUTHENTICATED_PER_ADDRESS,
    RPC_LIMIT_HANDSHAKE,
    RPC_LIMIT_FIRST_REQUEST,
    RPC_LIMIT_IDLE,
    RPC_LIMIT_WRITE_PROGRESS,
    RPC_LIMIT_STREAM_RECEIVE,
    RPC_LIMIT_STREAM_SEND,
    RPC_LIMIT_KEEPALIVE,
    RPC_LIMIT_STREAMS,
    RPC_LIMIT_HEADER_LIST,
    RPC_LIMIT_HEADER_COUNT,
    RPC_LIMIT_CONTINUATIONS,
    RPC_LIMIT_PINGS,
    RPC_LIMIT_RESETS,
    RPC_LIMIT_SETTINGS,
    RPC_LIMIT_EMPTY_DATA,
    RPC_LIMIT_OTHER_FRAMES,
    RPC_LIMIT_WINDOW_UPDATES,
    RPC_LIMIT_MESSAGE,
    RPC_LIMIT_CALL_MEMORY,
    RPC_LIMIT_CONNECTION_MEMORY,
    RPC_LIMIT_SERVER_MEMORY, /* a call or a connection was refused for it */
    RPC_LIMIT_DESCRIPTORS,   /* none was left for a new connection */
    RPC_LIMIT_KINDS
} rpc_limit_kind;
/** "connections", "unauthenticated_per_address": a fixed word for labels and logs. */
RPC_API const char *rpc_limit_name(rpc_limit_kind kind);

#ifdef __cplusplus
}
#endif
#endif
