/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer may send to a server's connection: HTTP/2, gRPC and the messages of health and
 * reflection, without TLS and network. The first byte: its low bits are the size of a read (0 =
 * as much as there is), and its highest bit says that the input has a preface of its own. The
 * second: 1 = the peer falls silent at the end instead of closing, 2 = it reads little. */
#include "fuzz.h"
#include "inline_runtime.h"
#include "memory_stream.h"

#define OWN_PREFACE  0x80
#define CHUNK_MASK   0x7f
#define STAYS        1
#define READS_LITTLE 2
#define STATS_EVERY  64

static rpc_server *server;
static size_t holds;

static void must(rpc_code code, const rpc_status *status)
{
    if (code != RPC_OK)
        fprintf(stderr, "http2: %s: %s\n", rpc_code_name(code), status->message);
    MUST(code == RPC_OK);
}

/* Small ones: no input should have to be large, or time to pass in many steps, to reach them. */
static rpc_limits small_limits(void)
{
    rpc_limits limits = rpc_limits_default();
    limits.first_request_ms = 2000;
    limits.idle_ms = limits.stream_receive_ms = limits.stream_send_ms = 3000;
    limits.write_progress_ms = limits.keepalive_ms = 5000;
    limits.keepalive_timeout_ms = 1000;
    limits.streams_max = 8;
    limits.header_list_bytes_max = 1024;
    limits.header_count_max = 16;
    limits.message_receive_bytes_max = 4096;
    limits.call_memory_bytes_max = 65536;
    limits.connection_request_bytes_max = 16384;
    limits.pings_per_second_max = limits.resets_per_second_max = limits.settings_per_second_max =
        limits.empty_data_per_second_max = 8;
    limits.other_frames_per_second_max = 32;
    return limits;
}

static void start_server(void)
{
    static const rpc_listener_options listener = {
        .name = "users", .url = "tcp://127.0.0.1:1", .allow_plain_text = true};
    const rpc_server_options options = {.limits = small_limits()};
    rpc_runtime *runtime = NULL;
    rpc_status status;
    must(rpc_runtime_new(NULL, &runtime, &status), &status);
    must(rpc_server_new(runtime, &options, &server, &status), &status);
    must(rpc_server_add_health(server, &status), &status);
    must(rpc_server_add_reflection(server, &status), &status);
    must(rpc_server_listen(server, &listener, NULL, &status), &status);
    must(rpc_server_start(server, &status), &status);
    holds = inline_runtime_holds();
}

/* Nothing may be left of a connection that is gone. To add up the statistics takes longer than most
 * inputs: what they show stays for the next. */
static void check_empty(void)
{
    static unsigned inputs;
    MUST(inline_runtime_holds() == holds);
    MUST(inline_runtime_timers() == 0);
    if (++inputs % STATS_EVERY != 0)
        return;
    rpc_server_stats stats = rpc_server_get_stats(server);
    MUST(stats.connections == 0 && stats.unauthenticated == 0);
    MUST(stats.calls_started == stats.calls_ended);
    MUST(stats.memory_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"; /* empty SETTINGS */
    if (!server)
        start_server();
    if (size < 2)
        return 0;
    const rpc_bytes pieces[] = {
        rpc_bytes_of(preface, data[0] & OWN_PREFACE ? 0 : sizeof preface - 1),
        rpc_bytes_of(data + 2, size - 2),
    };
    memory_stream_accept(&(memory_peer){.pieces = pieces,
        .piece_count = 2,
        .chunk_max = data[0] & CHUNK_MASK,
        .stays = data[1] & STAYS,
        .reads_little = data[1] & READS_LITTLE});
    check_empty();
    return 0;
}
