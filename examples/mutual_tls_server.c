/* SPDX-License-Identifier: Apache-2.0 */
/* Only clients with a certificate, who are greeted by its name.
 *     mutual_tls_server FOLDER_OF_CERTIFICATES */
#include "example.h"
#include "greeter.pb-c.h"
#include "greeter_descriptors.h"

#include <stdio.h>
#include <string.h>

static void greet(Greeter__Greeter_Service *service, const Greeter__Hello *request,
    Greeter__Greeting_Closure closure, void *data)
{
    (void)service;
    (void)request;
    char digest[65], text[256];
    Greeter__Greeting reply = GREETER__GREETING__INIT;
    const rpc_peer *peer = rpc_call_peer(data);
    rpc_hex(rpc_bytes_of(peer->certificate_sha256, 32), digest);
    /* Names of a verified certificate only: TLS and ca_file have seen to that. */
    snprintf(text, sizeof text, "Hello, %.100s, with certificate %.8s…!",
        peer->uri_names && peer->uri_names[0] ? peer->uri_names[0] : "nameless", digest);
    reply.text = text;
    closure(&reply, data);
}

static Greeter__Greeter_Service service = {.base = GREETER__GREETER__BASE_INIT, .greet = greet};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: mutual_tls_server FOLDER_OF_CERTIFICATES\n");
        return 2;
    }
    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = new_server(&runtime);
    const rpc_service_options options = {
        .descriptor_set = {greeter_descriptors, greeter_descriptors_size}};
    check(rpc_server_add_service(server, &service.base, &options, &status), &status);
    rpc_tls_options tls = tls_of(argv[1], "server");
    tls.client_auth = RPC_CLIENT_AUTH_REQUIRE;
    serve(server, &tls);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
