/* SPDX-License-Identifier: Apache-2.0 */
/** A relay between a channel and a server that can swallow all bytes: to both sides the other is
 *  connected and says nothing more. */
#ifndef DACM_RPC_RELAY_H
#define DACM_RPC_RELAY_H

#include "fixture.h"

#include <stdatomic.h>

#define RELAY_PAIRS_MAX 64

typedef struct relay {
    int listener, wake[2];
    char url[64];
    int server_port;
    pthread_t thread;
    atomic_bool swallow, stop;
    flag carried; /* pieces, either way */
    int pairs[RELAY_PAIRS_MAX][2];
    unsigned count;
} relay;

/** url: of the server, "tls+tcp://127.0.0.1:port". */
void relay_start(relay *it, const char *url);
/** From now on nothing reaches the other side; connections stay. */
void relay_swallow(relay *it);
void relay_stop(relay *it);

#endif
