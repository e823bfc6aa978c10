/* SPDX-License-Identifier: Apache-2.0 */
/* A unary call that waits.     greeter_client URL FOLDER_OF_CERTIFICATES NAME */
#include "example.h"
#include "greeter.pb-c.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: greeter_client URL FOLDER_OF_CERTIFICATES NAME\n");
        return 2;
    }
    rpc_status status;
    rpc_runtime *runtime = NULL;
    const rpc_tls_options tls = tls_of(argv[2], NULL);
    rpc_channel *channel = new_channel(&runtime, argv[1], &tls);

    const rpc_call_options options = {.timeout_ms = 5000};
    Greeter__Hello request = GREETER__HELLO__INIT;
    request.name = argv[3];
    rpc_arena *arena = rpc_arena_new(64 * 1024); /* the reply lives in it */
    ProtobufCMessage *reply = NULL;
    rpc_code code = rpc_channel_unary(channel, "/greeter.Greeter/Greet", &options, &request.base,
        &greeter__greeting__descriptor, arena, &reply, &status);
    if (code == RPC_OK)
        printf("%s\n", ((Greeter__Greeting *)reply)->text);
    else
        printf("%s: %s\n", rpc_code_name(code), status.message);

    rpc_arena_free(arena);
    rpc_channel_free(channel);
    rpc_runtime_free(runtime);
    return code == RPC_OK ? 0 : 1;
}
