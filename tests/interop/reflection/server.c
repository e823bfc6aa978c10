/* SPDX-License-Identifier: Apache-2.0 */
/* A server with health and reflection, told what to do on standard input:
 *     serving NAME     not-serving NAME     quit (with ten minutes for what is running)
 * Prints the ports of its listeners "users" and "admins", then "done" after each command. */
#include "reflected.pb-c.h"
#include "reflected_descriptors.h"
#include "rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void unary(Reflected__Shown_Service *service, const Reflected__Pair *pair,
    Reflected__Outer_Closure closure, void *data)
{
    (void)service;
    (void)pair;
    Reflected__Outer reply = REFLECTED__OUTER__INIT;
    closure(&reply, data);
}

static void hidden_unary(Reflected__Hidden_Service *service, const Reflected__Pair *pair,
    Reflected__Outer_Closure closure, void *data)
{
    (void)service;
    unary(NULL, pair, closure, data);
}

static Reflected__Shown_Service shown = {REFLECTED__SHOWN__BASE_INIT, unary};
static Reflected__Hidden_Service hidden = {REFLECTED__HIDDEN__BASE_INIT, hidden_unary};

static void must(rpc_code code, const rpc_status *status)
{
    if (code == RPC_OK)
        return;
    fprintf(stderr, "server: %s: %s\n", rpc_code_name(code), status->message);
    exit(1);
}

static void listen_as(rpc_server *server, const char *name)
{
    rpc_status status;
    rpc_listener *listener = NULL;
    const rpc_listener_options options = {
        .name = name, .url = "tcp://127.0.0.1:0", .allow_plain_text = true};
    must(rpc_server_listen(server, &options, &listener, &status), &status);
    printf("%s\n", strrchr(rpc_listener_url(listener), ':') + 1);
}

static void add_services(rpc_server *server)
{
    static const char *const admins[] = {"admins", NULL};
    rpc_status status;
    rpc_service_options options = {
        .descriptor_set = {reflected_descriptors, reflected_descriptors_size}};
    must(rpc_server_add_service(server, &shown.base, &options, &status), &status);
    must(rpc_server_add_health(server, &status), &status);
    must(rpc_server_add_reflection(server, &status), &status);
    options.listeners = admins;
    must(rpc_server_add_service(server, &hidden.base, &options, &status), &status);
}

static void obey(rpc_server *server)
{
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "quit") == 0)
            return;
        if (strncmp(line, "serving ", 8) == 0)
            rpc_server_set_health(server, line + 8, true);
        else if (strncmp(line, "not-serving ", 12) == 0)
            rpc_server_set_health(server, line + 12, false);
        puts("done");
        fflush(stdout);
    }
}

int main(void)
{
    rpc_status status;
    rpc_runtime *runtime = NULL;
    rpc_server *server = NULL;
    const rpc_server_options options = {.limits = rpc_limits_default()};
    must(rpc_runtime_new(NULL, &runtime, &status), &status);
    must(rpc_server_new(runtime, &options, &server, &status), &status);
    add_services(server);
    listen_as(server, "users");
    listen_as(server, "admins");
    must(rpc_server_start(server, &status), &status);
    fflush(stdout);
    obey(server);
    rpc_server_stop(server, 600000);
    rpc_server_free(server);
    rpc_runtime_free(runtime);
    return 0;
}
