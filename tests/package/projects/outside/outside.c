/* SPDX-License-Identifier: Apache-2.0 */
/* A program outside the tree that serves and calls itself.     outside FOLDER_OF_CERTIFICATES */
#include "greeter.pb-c.h"

#include <dacm-rpc/rpc.h>

#include <stdio.h>
#include <stdlib.h>

#ifdef BINARY_DESCRIPTORS
extern const unsigned char _binary_greeter_pb_start[], _binary_greeter_pb_end[];
#define DESCRIPTORS      _binary_greeter_pb_start
#define DESCRIPTORS_SIZE ((size_t)(_binary_greeter_pb_end - _binary_greeter_pb_start))
#else
#include "greeter_descriptors.h"
#define DESCRIPTORS      greeter_descriptors
#define DESCRIPTORS_SIZE greeter_descriptors_size
#endif

static void greet(Greeter__Greeter_Service *service, const Greeter__Hello *request,
    Greeter__Greeting_Closure closure, void *data)
{
    (void)service;
    char text[64];
    Greeter__Greeting reply = GREETER__GREETING__INIT;
    snprintf(text, sizeof text, "Hello, %.32s!", request->name);
    reply.text = text;
    closure(&reply, data);
}

static Greeter__Greeter_Service service = {.base = GREETER__GREETER__BASE_INIT, .greet = greet};

static void check(rpc_code code, const rpc_status *status)
{
    if (code == RPC_OK)
        return;
    fprintf(stderr, "%s: %s\n", rpc_code_name(code), status->message);
    exit(1);
}

int main(int argc, char **argv)
{
    char ca[512], certificate[512], key[512], name[] = "outside";
    if (argc != 2)
        return 2;
    snprintf(ca, sizeof ca, "%s/ca.crt", argv[1]);
    snprintf(certificate, sizeof certificate, "%s/server.crt", argv[1]);
    snprintf(key, sizeof key, "%s/server.key", argv[1]);

    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = NULL;
    rpc_listener *listener = NULL;
    rpc_channel *channel = NULL;
    const rpc_server_options server_options = {.limits = rpc_limits_default()};
    const rpc_service_options service_options = {.descriptor_set = {DESCRIPTORS, DESCRIPTORS_SIZE}};
    const rpc_listener_options listener_options = {.name = "users",
        .url = "tls+tcp://127.0.0.1:0",
        .tls = {.certificate_file = certificate, .key_file = key}};
    check(rpc_runtime_new(NULL, &runtime, &status), &status);
    check(rpc_server_new(runtime, &server_options, &server, &status), &status);
    check(rpc_server_add_service(server, &service.base, &service_options, &status), &status);
    check(rpc_server_listen(server, &listener_options, &listener, &status), &status);
    check(rpc_server_start(server, &status), &status);

    const rpc_channel_options channel_options = {.target = rpc_listener_url(listener),
        .tls = {.ca_file = ca},
        .limits = rpc_limits_default_client()};
    Greeter__Hello request = GREETER__HELLO__INIT;
    ProtobufCMessage *reply = NULL;
    request.name = name;
    rpc_arena *arena = rpc_arena_new(64 * 1024);
    check(rpc_channel_new(runtime, &channel_options, &channel, &status), &status);
    check(rpc_channel_unary(channel, "/greeter.Greeter/Greet", NULL, &request.base,
              &greeter__greeting__descriptor, arena, &reply, &status),
        &status);
    printf("%s: %s\n", rpc_version(), ((Greeter__Greeting *)reply)->text);

    rpc_arena_free(arena);
    rpc_channel_free(channel);
    rpc_server_stop(server, 1000);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
