/* SPDX-License-Identifier: Apache-2.0 */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>

void check(rpc_code code, const rpc_status *status)
{
    if (code == RPC_OK)
        return;
    fprintf(stderr, "%s: %s\n", rpc_code_name(code), status->message);
    exit(1);
}

rpc_tls_options tls_of(const char *folder, const char *name)
{
    static char ca[512], certificate[512], key[512]; /* options borrow their strings */
    snprintf(ca, sizeof ca, "%s/ca.crt", folder);
    rpc_tls_options tls = {.ca_file = ca};
    if (name) {
        snprintf(certificate, sizeof certificate, "%s/%s.crt", folder, name);
        snprintf(key, sizeof key, "%s/%s.key", folder, name);
        tls.certificate_file = certificate;
        tls.key_file = key;
    }
    return tls;
}

rpc_server *new_server(rpc_runtime **ret_runtime)
{
    rpc_status status;
    rpc_server *server = NULL;
    const rpc_server_options options = {.limits = rpc_limits_default()};
    check(rpc_runtime_new(NULL, ret_runtime, &status), &status);
    check(rpc_server_new(*ret_runtime, &options, &server, &status), &status);
    return server;
}

void serve(rpc_server *server, const rpc_tls_options *tls)
{
    rpc_status status;
    rpc_listener *listener = NULL;
    const rpc_listener_options options = {
        .name = "users", .url = "tls+tcp://127.0.0.1:0", .tls = *tls};
    check(rpc_server_listen(server, &options, &listener, &status), &status);
    check(rpc_server_start(server, &status), &status);
    printf("%s\n", rpc_listener_url(listener));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    rpc_server_stop(server, 5000); /* calls that run have five seconds */
}

rpc_channel *new_channel(rpc_runtime **ret_runtime, const char *url, const rpc_tls_options *tls)
{
    rpc_status status;
    rpc_channel *channel = NULL;
    const rpc_channel_options options = {
        .target = url, .tls = *tls, .limits = rpc_limits_default_client()};
    check(rpc_runtime_new(NULL, ret_runtime, &status), &status);
    check(rpc_channel_new(*ret_runtime, &options, &channel, &status), &status);
    return channel;
}
