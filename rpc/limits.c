/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: their defaults, their ranges, their names. */
#include "session.h"

#include <stddef.h>

#define HOUR_MS 3600000

rpc_limits rpc_limits_default(void)
{
    return (rpc_limits){
        .connections_max = 10000,
        .connections_per_address_max = 2000,
        .unauthenticated_max = 1024,
        .unauthenticated_per_address_max = 64,
        .handshake_ms = 5000,
        .first_request_ms = 10000,
        .idle_ms = 300000,
        .write_progress_ms = 30000,
        .stream_receive_ms = 300000,
        .stream_send_ms = 300000,
        .keepalive_ms = 7200000,
        .keepalive_timeout_ms = 20000,
        .streams_max = 100,
        .header_list_bytes_max = 64 * 1024,
        .header_count_max = 256,
        .continuations_max = 8,
        .ping_interval_min_ms = 10000,
        .ping_strikes_max = 2,
        .pings_per_second_max = 100,
        .resets_per_second_max = 100,
        .settings_per_second_max = 100,
        .empty_data_per_second_max = 100,
        .other_frames_per_second_max = 1000,
        .window_updates_max = 1000,
        .message_receive_bytes_max = 4 * 1024 * 1024,
        .call_memory_bytes_max = 16 * 1024 * 1024,
        .connection_request_bytes_max = 8 * 1024 * 1024,
        .server_memory_bytes_max = 1024 * 1024 * 1024,
        .retry_pushback_ms = 1000,
        .stream_window_bytes = 64 * 1024,
        .connection_window_bytes = 1024 * 1024,
        .frame_bytes_max = 256 * 1024,
        .header_table_bytes = 16 * 1024,
    };
}

rpc_limits rpc_limits_default_client(void)
{
    rpc_limits limits = rpc_limits_default();
    limits.keepalive_ms = 0;
    limits.stream_window_bytes = 8 * 1024 * 1024;
    limits.connection_window_bytes = 16 * 1024 * 1024;
    return limits;
}

/* ---- ranges ------------------------------------------------------------------------------- */

typedef struct limit_range {
    const char *name, *unit;
    size_t offset, size;
    int64_t min, max;
} limit_range;

#define RANGE(member, unit, min, max)                                                              \
    {                                                                                              \
#member, unit, offsetof(rpc_limits, member), sizeof((rpc_limits *)0)->member, min, max     \
    }

static const limit_range ranges[] = {
    RANGE(connections_max, "", 1, 1000000),
    RANGE(connections_per_address_max, "", 1, 1000000),
    RANGE(unauthenticated_max, "", 1, 1000000),
    RANGE(unauthenticated_per_address_max, "", 1, 1000000),
    RANGE(handshake_ms, " ms", 1, HOUR_MS),
    RANGE(first_request_ms, " ms", 1, HOUR_MS),
    RANGE(idle_ms, " ms", 1, RPC_NO_TIMEOUT),
    RANGE(write_progress_ms, " ms", 1, HOUR_MS),
    RANGE(stream_receive_ms, " ms", 1, RPC_NO_TIMEOUT),
    RANGE(stream_send_ms, " ms", 1, RPC_NO_TIMEOUT),
    RANGE(keepalive_ms, " ms", 0, RPC__KEEPALIVE_MS_MAX),
    RANGE(keepalive_timeout_ms, " ms", 1, HOUR_MS),
    RANGE(keepalive_without_calls, "", 0, 1),
    RANGE(streams_max, "", 1, 1000000),
    RANGE(header_list_bytes_max, " bytes", 1024, 16777216),
    RANGE(header_count_max, "", 8, 65536),
    RANGE(continuations_max, "", 1, 10000),
    RANGE(ping_interval_min_ms, " ms", 0, HOUR_MS),
    RANGE(ping_strikes_max, "", 0, 1000000),
    RANGE(pings_per_second_max, "", 1, 1000000),
    RANGE(resets_per_second_max, "", 1, 1000000),
    RANGE(settings_per_second_max, "", 2, 1000000),
    RANGE(empty_data_per_second_max, "", 1, 1000000),
    RANGE(other_frames_per_second_max, "", 1, 1000000),
    RANGE(window_updates_max, "", 100, 1000000),
    RANGE(message_receive_bytes_max, " bytes", 1, UINT32_MAX),
    RANGE(call_memory_bytes_max, " bytes", 16384, INT64_MAX),
    RANGE(connection_request_bytes_max, " bytes", 1, INT64_MAX),
    RANGE(server_memory_bytes_max, " bytes", 1048576, INT64_MAX / 2),
    RANGE(retry_pushback_ms, " ms", 0, HOUR_MS),
    RANGE(stream_window_bytes, " bytes", 1024, INT32_MAX),
    RANGE(connection_window_bytes, " bytes", 65535, INT32_MAX),
    RANGE(frame_bytes_max, " bytes", 16384, 16777215),
    RANGE(header_table_bytes, " bytes", 0, 1048576),
};

static int64_t value_of(const rpc_limits *limits, const limit_range *range)
{
    const char *at = (const char *)limits + range->offset;
    if (range->size == sizeof(unsigned))
        return *(const unsigned *)(const void *)at;
    int64_t value = *(const int64_t *)(const void *)at; /* int64_t or size_t */
    return value;
}

_Static_assert(sizeof(size_t) == sizeof(int64_t), "value_of() reads a size_t as an int64_t");

rpc_code rpc__limits_check(const rpc_limits *limits, rpc_status *reterr)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const limit_range *range = &ranges[i];
        int64_t value = value_of(limits, range);
        if (value >= range->min && value <= range->max)
            continue;
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "limits: %s is %lld; give %lld..%lld%s, starting from rpc_limits_default()",
            range->name, (long long)value, (long long)range->min, (long long)range->max,
            range->unit);
    }
    return RPC_OK;
}

/* ---- names -------------------------------------------------------------------------------- */

const char *rpc_limit_name(rpc_limit_kind kind)
{
    static const char *const names[RPC_LIMIT_KINDS] = {
        [RPC_LIMIT_NONE] = "none",
        [RPC_LIMIT_CONNECTIONS] = "connections",
        [RPC_LIMIT_CONNECTIONS_PER_ADDRESS] = "connections_per_address",
        [RPC_LIMIT_UNAUTHENTICATED] = "unauthenticated",
        [RPC_LIMIT_UNAUTHENTICATED_PER_ADDRESS] = "unauthenticated_per_address",
        [RPC_LIMIT_HANDSHAKE] = "handshake",
        [RPC_LIMIT_FIRST_REQUEST] = "first_request",
        [RPC_LIMIT_IDLE] = "idle",
        [RPC_LIMIT_WRITE_PROGRESS] = "write_progress",
        [RPC_LIMIT_STREAM_RECEIVE] = "stream_receive",
        [RPC_LIMIT_STREAM_SEND] = "stream_send",
        [RPC_LIMIT_KEEPALIVE] = "keepalive",
        [RPC_LIMIT_STREAMS] = "streams",
        [RPC_LIMIT_HEADER_LIST] = "header_list",
        [RPC_LIMIT_HEADER_COUNT] = "header_count",
        [RPC_LIMIT_CONTINUATIONS] = "continuations",
        [RPC_LIMIT_PINGS] = "pings",
        [RPC_LIMIT_RESETS] = "resets",
        [RPC_LIMIT_SETTINGS] = "settings",
        [RPC_LIMIT_EMPTY_DATA] = "empty_data",
        [RPC_LIMIT_OTHER_FRAMES] = "other_frames",
        [RPC_LIMIT_WINDOW_UPDATES] = "window_updates",
        [RPC_LIMIT_MESSAGE] = "message",
        [RPC_LIMIT_CALL_MEMORY] = "call_memory",
        [RPC_LIMIT_CONNECTION_MEMORY] = "connection_memory",
        [RPC_LIMIT_SERVER_MEMORY] = "server_memory",
        [RPC_LIMIT_DESCRIPTORS] = "descriptors",
    };
    return kind < RPC_LIMIT_KINDS && names[kind] ? names[kind] : "unknown";
}
