/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_client.h"

#include "fuzz.h"
#include "inline_runtime.h"

#include "grpc/health/v1/health.pb-c.h"

/* Of time, until a call has ended: retries, back-off, deadlines and keepalive in seconds. */
#define STEPS_MAX 200
#define CALLS     3
#define HELD_MAX  4

typedef struct client_call {
    rpc_call *call;
    rpc_message *held[HELD_MAX]; /* until it ends: their window stays shut */
    unsigned held_count, messages, ends;
    void (*on_end)(rpc_call *call, const rpc_status *status, void *ctx);
    void *ctx;
} client_call;

static rpc_runtime *runtime;

static void must(rpc_code code, const rpc_status *status)
{
    if (code != RPC_OK)
        fprintf(stderr, "client: %s: %s\n", rpc_code_name(code), status->message);
    MUST(code == RPC_OK);
}

/* What the network said may be shown: it is UTF-8 and ends. */
static void check_status(const rpc_status *status)
{
    size_t size = strnlen(status->message, sizeof status->message);
    MUST(status->code <= RPC_UNAUTHENTICATED);
    MUST(size < sizeof status->message);
    MUST(rpc_utf8_valid(rpc_bytes_of(status->message, size)));
}

static void check_metadata(const rpc_call *call)
{
    static const char *const names[] = {
        "x-bin", "x-text", "content-type", "grpc-status-details-bin", "grpc-retry-pushback-ms"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        volatile uint8_t sum = 0;
        rpc_bytes value = {0};
        if (rpc_call_metadata(call, names[i], &value) || rpc_call_trailer(call, names[i], &value))
            for (size_t at = 0; at < value.size; at++)
                sum = (uint8_t)(sum ^ value.data[at]);
    }
}

static void on_headers(rpc_call *call, void *user)
{
    MUST(((client_call *)user)->ends == 0);
    check_metadata(call);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    client_call *c = user;
    ProtobufCMessage *reply;
    rpc_status status;
    (void)call;
    MUST(c->ends == 0);
    if (rpc_message_unpack(message, &grpc__health__v1__health_check_response__descriptor, &reply,
            &status) != RPC_OK)
        check_status(&status);
    if (c->messages++ % 2 == 1 && c->held_count < HELD_MAX)
        c->held[c->held_count++] = message;
    else
        rpc_message_release(message);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    client_call *c = user;
    MUST(c->ends++ == 0);
    check_status(status);
    check_metadata(call);
    if (c->on_end)
        c->on_end(call, status, c->ctx);
    for (unsigned i = 0; i < c->held_count; i++)
        rpc_message_release(c->held[i]);
}

static void on_checked(const Grpc__Health__V1__HealthCheckResponse *reply, void *data)
{
    client_call *c = data;
    const rpc_stub *stub = c->ctx;
    MUST(c->ends++ == 0);
    MUST((reply != NULL) == (rpc_stub_status(stub)->code == RPC_OK));
    if (!reply)
        check_status(rpc_stub_status(stub));
}

static rpc_limits small_limits(void)
{
    rpc_limits limits = rpc_limits_default_client();
    limits.handshake_ms = 2000;
    limits.idle_ms = limits.write_progress_ms = 3000;
    limits.keepalive_ms = 4000;
    limits.keepalive_timeout_ms = 1000;
    limits.stream_window_bytes = 4096;
    limits.connection_window_bytes = 65535;
    limits.header_list_bytes_max = 1024;
    limits.header_count_max = 16;
    limits.message_receive_bytes_max = 4096;
    limits.call_memory_bytes_max = 65536;
    return limits;
}

static rpc_channel *new_channel(void)
{
    rpc_channel *channel = NULL;
    rpc_status status;
    const rpc_channel_options options = {.target = "tcp://127.0.0.1:1",
        .allow_plain_text = true,
        .limits = small_limits(),
        .backoff_initial_ms = 500,
        .backoff_max_ms = 1000};
    must(rpc_channel_new(runtime, &options, &channel, &status), &status);
    return channel;
}

static void start(rpc_channel *channel, client_call *c, const char *path, int64_t timeout_ms)
{
    static const rpc_handler handler = {
        .on_headers = on_headers, .on_message = on_message, .on_end = on_end};
    const rpc_call_options options = {.timeout_ms = timeout_ms};
    rpc_status status;
    must(rpc_channel_start(channel, path, &options, &handler, c, &c->call, &status), &status);
    MUST(rpc_call_send(c->call, rpc_bytes_str("\n\1x"), NULL) == RPC_SENT_OK);
}

void fuzz_client_run(const memory_peer *peers, size_t count,
    void (*second_end)(rpc_call *call, const rpc_status *status, void *ctx), void *ctx)
{
    rpc_status status;
    if (!runtime)
        must(rpc_runtime_new(NULL, &runtime, &status), &status);
    memory_stream_set_peers(peers, count);
    rpc_channel *channel = new_channel();
    client_call calls[CALLS] = {[1] = {.on_end = second_end, .ctx = ctx}};
    rpc_stub *stub = NULL;
    const rpc_call_options twice = {.idempotent = true, .timeout_ms = 20000};
    must(rpc_stub_new(channel, &grpc__health__v1__health__descriptor, &twice, &stub, &status),
        &status);
    calls[0].ctx = stub;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    grpc__health__v1__health__check(rpc_stub_service(stub), &request, on_checked, &calls[0]);
    start(channel, &calls[1], "/grpc.health.v1.Health/Watch", 10000);
    rpc_call_half_close(calls[1].call);
    start(channel, &calls[2], "/fuzz.Echo/Chat", 0);
    (void)inline_runtime_run();
    for (unsigned steps = 0; calls[0].ends + calls[1].ends + calls[2].ends < CALLS; steps++) {
        MUST(inline_runtime_skip());
        MUST(steps < STEPS_MAX);
    }
    rpc_call_unref(calls[1].call);
    rpc_call_unref(calls[2].call);
    rpc_stub_free(stub);
    rpc_channel_free(channel);
    (void)inline_runtime_run();
    MUST(inline_runtime_holds() == 0);
    MUST(inline_runtime_timers() == 0);
}
