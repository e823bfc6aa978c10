/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of tls.h share. */
#ifndef DACM_RPC_TLS_INTERNAL_H
#define DACM_RPC_TLS_INTERNAL_H

#include "tls.h"

#include <openssl/ssl.h>

/** "h2" as ALPN wants it (RFC 7301: a length, then the name). */
extern const unsigned char rpc__alpn_h2[3];

struct rpc__tls_context {
    _Atomic unsigned refs;
    SSL_CTX *ssl;
    bool server;
    char *server_name; /* for SNI; NULL for servers and where the host is an address */
};

#endif
