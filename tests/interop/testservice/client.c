/* SPDX-License-Identifier: Apache-2.0 */
/* Our client of grpc.testing.TestService: one interop case, by name.
 *     interop-client --server_host=H --server_port=N --ca_file=F --test_case=NAME
 *                    [--soak_iterations=N] [--no_probe]
 * --no_probe: the server cannot tell compressed messages from others. */
#include "client.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    case_fn *run;
} cases[] = {
    {"empty_unary", case_empty_unary},
    {"large_unary", case_large_unary},
    {"client_streaming", case_client_streaming},
    {"server_streaming", case_server_streaming},
    {"ping_pong", case_ping_pong},
    {"half_duplex", case_half_duplex},
    {"empty_stream", case_empty_stream},
    {"cancel_after_begin", case_cancel_after_begin},
    {"cancel_after_first_response", case_cancel_after_first_response},
    {"timeout_on_sleeping_server", case_timeout_on_sleeping_server},
    {"custom_metadata", case_custom_metadata},
    {"status_code_and_message", case_status_code_and_message},
    {"special_status_message", case_special_status_message},
    {"unimplemented_method", case_unimplemented_method},
    {"unimplemented_service", case_unimplemented_service},
    {"per_rpc_creds", case_per_rpc_creds},
    {"client_compressed_unary", case_client_compressed_unary},
    {"server_compressed_unary", case_server_compressed_unary},
    {"client_compressed_streaming", case_client_compressed_streaming},
    {"server_compressed_streaming", case_server_compressed_streaming},
    {"rpc_soak", case_rpc_soak},
    {"channel_soak", case_channel_soak},
};

static uint8_t zeros[LARGE_RESPONSE_BYTES];

Grpc__Testing__Payload payload_of(size_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body.data = zeros;
    payload.body.len = size;
    return payload;
}

void check_payload(const Grpc__Testing__Payload *payload, size_t size)
{
    must(payload != NULL, "the response has no payload");
    must(payload->body.len == size, "the payload has %zu bytes instead of %zu", payload->body.len,
        size);
    must(memcmp(payload->body.data, zeros, size) == 0, "the payload is not all zeros");
}

rpc_arena *new_arena(void)
{
    rpc_arena *arena = rpc_arena_new(ARENA_BYTES);
    must(arena != NULL, "no memory");
    return arena;
}

typedef struct settings {
    const char *host, *port, *ca_file, *test_case, *soak_iterations;
    bool no_probe;
} settings;

static void read_settings(int argc, char **argv, settings *ret)
{
    static const struct option options[] = {{"server_host", required_argument, NULL, 'h'},
        {"server_port", required_argument, NULL, 'p'}, {"ca_file", required_argument, NULL, 'c'},
        {"test_case", required_argument, NULL, 't'},
        {"soak_iterations", required_argument, NULL, 's'}, {"no_probe", no_argument, NULL, 'n'},
        {0}};
    *ret = (settings){.host = "127.0.0.1", .soak_iterations = "10"};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'n') {
            ret->no_probe = true;
            continue;
        }
        const char **to = option == 'h'   ? &ret->host
                          : option == 'p' ? &ret->port
                          : option == 'c' ? &ret->ca_file
                          : option == 't' ? &ret->test_case
                          : option == 's' ? &ret->soak_iterations
                                          : NULL;
        must(to != NULL, "unknown option");
        *to = optarg;
    }
    must(ret->port && ret->ca_file && ret->test_case,
        "--server_port, --ca_file and --test_case are needed");
}

static case_fn *find_case(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(cases[i].name, name) == 0)
            return cases[i].run;
    return NULL;
}

int main(int argc, char **argv)
{
    settings s;
    char target[128];
    rpc_status status;
    client c = {0};
    read_settings(argc, argv, &s);
    snprintf(target, sizeof target, "tls+tcp://%s:%s", s.host, s.port);
    const rpc_channel_options options = {
        .target = target, .tls = {.ca_file = s.ca_file}, .limits = rpc_limits_default_client()};
    case_fn *run = find_case(s.test_case);
    must(run != NULL, "there is no case '%s'", s.test_case);
    c.channel_options = &options;
    c.no_probe = s.no_probe;
    c.soak_iterations = (unsigned)strtoul(s.soak_iterations, NULL, 10);
    must(rpc_runtime_new(NULL, &c.runtime, &status) == RPC_OK, "runtime: %s", status.message);
    must(rpc_channel_new(c.runtime, &options, &c.channel, &status) == RPC_OK, "channel: %s",
        status.message);
    run(&c);
    rpc_channel_free(c.channel);
    rpc_runtime_free(c.runtime);
    return 0;
}
