/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer may send to a server's connection: HTTP/2, gRPC and the messages of health and
 * reflection, without TLS and network. The first byte: its low bits are the size of a read (0 =
 * as much as there is), and its highest bit says that the input has a preface of its own. */
#include "memory_stream.h"
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>

#define OWN_PREFACE 0x80
#define CHUNK_MASK  0x7f

static rpc_server *server;

static void must(rpc_code code, const rpc_status *status)
{
    if (code == RPC_OK)
        return;
    fprintf(stderr, "http2: %s: %s\n", rpc_code_name(code), status->message);
    abort();
}

static void start_server(void)
{
    static const rpc_listener_options listener = {
        .name = "users", .url = "tcp://127.0.0.1:1", .allow_plain_text = true};
    const rpc_server_options options = {.limits = rpc_limits_default()};
    rpc_runtime *runtime = NULL;
    rpc_status status;
    must(rpc_runtime_new(NULL, &runtime, &status), &status);
    must(rpc_server_new(runtime, &options, &server, &status), &status);
    must(rpc_server_add_health(server, &status), &status);
    must(rpc_server_add_reflection(server, &status), &status);
    must(rpc_server_listen(server, &listener, NULL, &status), &status);
    must(rpc_server_start(server, &status), &status);
}

/* Nothing may be left of a connection that is gone. */
static void check_empty(void)
{
    rpc_server_stats stats = rpc_server_get_stats(server);
    if (stats.connections == 0 && stats.unauthenticated == 0 &&
        stats.calls_started == stats.calls_ended)
        return;
    fprintf(stderr, "http2: %u connections, %llu calls started, %llu ended\n", stats.connections,
        (unsigned long long)stats.calls_started, (unsigned long long)stats.calls_ended);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"; /* empty SETTINGS */
    if (!server)
        start_server();
    if (size == 0)
        return 0;
    const rpc_bytes pieces[] = {
        rpc_bytes_of(preface, data[0] & OWN_PREFACE ? 0 : sizeof preface - 1),
        rpc_bytes_of(data + 1, size - 1),
    };
    memory_stream_run(pieces, 2, data[0] & CHUNK_MASK);
    check_empty();
    return 0;
}
