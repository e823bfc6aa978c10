/* SPDX-License-Identifier: Apache-2.0 */
/** Who is connected to a server, counted by address: one of IPv4 (also where it comes as
 *  "::ffff:…"), a /64 of IPv6 (what one customer is given), or all of ipc. Private to rpc/. Not
 *  for more than one thread at a time: the server's lock guards it. */
#ifndef DACM_RPC_ORIGINS_H
#define DACM_RPC_ORIGINS_H

#include "rpc.h"

typedef struct rpc__origin {
    struct rpc__origin *next;
    uint8_t address[16];
    unsigned connections, unauthenticated;
} rpc__origin;

typedef struct rpc__origins {
    rpc__origin **slots;
    uint64_t seed;
} rpc__origins;

/** False: no memory. */
bool rpc__origins_init(rpc__origins *origins);
/** After the last origin was put. */
void rpc__origins_done(rpc__origins *origins);
/** The origin of "127.0.0.1:40312", "[::1]:40312" or "ipc", made at its first use. NULL: no
 *  memory. */
rpc__origin *rpc__origins_get(rpc__origins *origins, const char *address);
/** Forgets it when nobody is connected from there. */
void rpc__origins_put(rpc__origins *origins, rpc__origin *origin);

#endif
