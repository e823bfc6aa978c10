/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a request's time is HTTPS itself: /in-place and /worker answer a form or a query
 * with 700 bytes, as a token endpoint does. Prints its URL, and serves until its input ends:
 *
 *     https_server CERTIFICATE KEY [WORKERS [POLLING-THREADS]]
 *     h2load --h1 -c 16 -n 200000 https://127.0.0.1:PORT/worker?grant_type=x  */
#include "http.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES 700

static void answer(void *ctx, host_request *request)
{
    const char *grant = "";
    (void)ctx;
    if (host_request_param(request, "grant_type", &grant) != HOST_FOUND) {
        host_request_refuse(request, 400, "grant_type is needed once");
        return;
    }
    host_reply reply = {.status = 200, .body = malloc(ANSWER_BYTES), .size = ANSWER_BYTES};
    if (reply.body)
        memset(reply.body, 'x', ANSWER_BYTES);
    else
        reply.status = 503;
    host_request_answer(request, &reply);
}

int main(int argc, char **argv)
{
    static const host_route routes[] = {
        {.path = "/in-place", .handle = answer, .methods = HOST_GET | HOST_POST, .in_place = true},
        {.path = "/worker", .handle = answer, .methods = HOST_GET | HOST_POST},
    };
    if (argc < 3) {
        fprintf(stderr, "usage: %s CERTIFICATE KEY [WORKERS [POLLING-THREADS]]\n", argv[0]);
        return 2;
    }
    const host_https_options options = {.address = "127.0.0.1",
        .certificate_file = argv[1],
        .key_file = argv[2],
        .routes = routes,
        .route_count = 2,
        .workers = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 16,
        .polling_threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1,
        .limits = {.connections_per_address = 1024, .queue = 4096},
        .metrics = host_metrics_new()};
    host_https *https = NULL;
    rpc_status status;
    if (host_https_start(&options, &https, &status) != RPC_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    printf("%s\n", host_https_url(https));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    host_https_stop(https);
    host_metrics_free(options.metrics);
    return 0;
}
