/* SPDX-License-Identifier: Apache-2.0 */
/** The cases of our interop client. Sizes and order of each are those of gRPC's
 *  interop-test-descriptions. */
#ifndef DACM_INTEROP_CLIENT_H
#define DACM_INTEROP_CLIENT_H

#include "grpc/testing/test.pb-c.h"
#include "talk.h"

#define TEST_SERVICE "/grpc.testing.TestService/"

#define LARGE_REQUEST_BYTES  271828
#define LARGE_RESPONSE_BYTES 314159
#define ARENA_BYTES          (2 * 1024 * 1024)

typedef struct client {
    rpc_runtime *runtime;
    rpc_channel *channel;
    const rpc_channel_options *channel_options; /* for channels of a case's own */
    unsigned soak_iterations;
    bool no_probe; /* leave out what asks whether the server sees compression */
} client;

typedef void case_fn(client *c);

case_fn case_empty_unary, case_large_unary, case_custom_metadata, case_status_code_and_message,
    case_special_status_message, case_unimplemented_method, case_unimplemented_service,
    case_per_rpc_creds, case_client_compressed_unary, case_server_compressed_unary, case_rpc_soak,
    case_channel_soak; /* client_unary.c */
case_fn case_client_streaming, case_server_streaming, case_ping_pong, case_half_duplex,
    case_empty_stream, case_cancel_after_begin, case_cancel_after_first_response,
    case_timeout_on_sleeping_server, case_client_compressed_streaming,
    case_server_compressed_streaming; /* client_stream.c */

/** size bytes of zeros, size 0..LARGE_REQUEST_BYTES. */
Grpc__Testing__Payload payload_of(size_t size);
/** size bytes, each of them zero. */
void check_payload(const Grpc__Testing__Payload *payload, size_t size);
rpc_arena *new_arena(void);

#endif
