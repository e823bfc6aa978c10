/* SPDX-License-Identifier: Apache-2.0 */
/* A unary method.     greeter_server FOLDER_OF_CERTIFICATES */
#include "example.h"
#include "greeter.pb-c.h"
#include "greeter_descriptors.h"

#include <stdio.h>

/* data is the rpc_call. The closure, called exactly once, sends the reply. */
static void greet(Greeter__Greeter_Service *service, const Greeter__Hello *request,
    Greeter__Greeting_Closure closure, void *data)
{
    (void)service;
    char text[128];
    Greeter__Greeting reply = GREETER__GREETING__INIT;
    if (request->name[0] == '\0') {
        rpc_status status;
        rpc_status_set(&status, RPC_INVALID_ARGUMENT, "greeter: whom? Fill in name");
        rpc_call_fail(data, &status);
        return;
    }
    snprintf(text, sizeof text, "Hello, %.100s!", request->name);
    reply.text = text;
    closure(&reply, data);
}

static Greeter__Greeter_Service service = {.base = GREETER__GREETER__BASE_INIT, .greet = greet};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: greeter_server FOLDER_OF_CERTIFICATES\n");
        return 2;
    }
    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = new_server(&runtime);
    const rpc_service_options options = {
        .descriptor_set = {greeter_descriptors, greeter_descriptors_size}};
    check(rpc_server_add_service(server, &service.base, &options, &status), &status);
    check(rpc_server_add_reflection(server, &status), &status); /* for reflection_client */
    const rpc_tls_options tls = tls_of(argv[1], "server");
    serve(server, &tls);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
