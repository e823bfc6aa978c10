/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

rpc_limits rpc_limits_default(void)
{
    return (rpc_limits){
        .header_list_bytes_max = 64 * 1024,
        .message_receive_bytes_max = 4 * 1024 * 1024,
        .call_memory_bytes_max = 16 * 1024 * 1024,
        .connection_request_bytes_max = 8 * 1024 * 1024,
        .streams_max = 100,
        .connections_max = 10000,
        .unauthenticated_max = 1024,
        .unauthenticated_per_address_max = 64,
        .handshake_ms = 5000,
        .first_request_ms = 10000,
        .idle_ms = 300000,
        .write_progress_ms = 30000,
        .ping_interval_min_ms = 10000,
        .resets_per_second_max = 100,
        .stream_window_bytes = 64 * 1024,
        .connection_window_bytes = 1024 * 1024,
        .frame_bytes_max = 64 * 1024,
        .header_table_bytes = 16 * 1024,
    };
}

rpc_limits rpc_limits_default_client(void)
{
    rpc_limits limits = rpc_limits_default();
    limits.stream_window_bytes = 8 * 1024 * 1024;
    limits.connection_window_bytes = 16 * 1024 * 1024;
    return limits;
}

rpc_code rpc__limits_check(const rpc_limits *limits, rpc_status *reterr)
{
    if (limits->frame_bytes_max < 16384 || limits->frame_bytes_max > 16777215)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "limits: frame_bytes_max must be 16384..16777215");
    if (limits->stream_window_bytes < 1024 || limits->stream_window_bytes > INT32_MAX ||
        limits->connection_window_bytes < 65535 || limits->connection_window_bytes > INT32_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "limits: stream_window_bytes must be 1024.., connection_window_bytes 65535..2^31-1");
    if (limits->header_list_bytes_max < 1024 || limits->header_list_bytes_max > 16777216 ||
        limits->message_receive_bytes_max > UINT32_MAX || limits->streams_max == 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "limits: start from rpc_limits_default(); header_list_bytes_max must be 1 KiB..16 MiB, "
            "message_receive_bytes_max under 4 GiB, streams_max at least 1");
    return RPC_OK;
}
