// SPDX-License-Identifier: Apache-2.0
// gRPC C++ tuned for throughput: the arguments that its own benchmarks and performance guide
// turn, for server and client alike.
#ifndef DACM_BENCH_TUNED_H
#define DACM_BENCH_TUNED_H

#include <grpc/grpc.h>

template <typename SetInt, typename SetString> void Tune(SetInt set_int, SetString set_string)
{
    set_string(GRPC_ARG_OPTIMIZATION_TARGET, "throughput");
    set_int(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    set_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 << 20);
    set_int(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
    set_int(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 1 << 20);
    set_int(GRPC_ARG_TCP_READ_CHUNK_SIZE, 256 << 10);
    set_int(GRPC_ARG_TCP_MIN_READ_CHUNK_SIZE, 64 << 10);
    set_int(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 1 << 20);
    set_int(GRPC_ARG_ENABLE_CENSUS, 0);
}

#endif
