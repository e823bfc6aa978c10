# SPDX-License-Identifier: Apache-2.0
# What stands on streams and TLS: HTTP/2, calls, servers and channels.
list(APPEND RPC_SOURCES
    wire.c
    compression.c
    stats.c
    census.c
    channelz.c
    intercept.c
    lane.c
    memory.c
    progress.c
    connection.c
    blocks.c
    buffers.c
    keepalive.c
    session.c
    h2_memory.c
    session_send.c
    flood.c
    metadata.c
    message.c
    call.c
    call_send.c
    registry.c
    server.c
    listener.c
    origins.c
    channel.c
    subchannel.c
    balance.c
    retry.c
    idempotency.c
    family.c
    resolve.c
    stub.c
    limits.c
)
