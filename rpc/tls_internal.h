/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of tls.h share. */
#ifndef DACM_RPC_TLS_INTERNAL_H
#define DACM_RPC_TLS_INTERNAL_H

#include "tls.h"

#include <openssl/ssl.h>

/** "h2" as ALPN wants it (RFC 7301: a length, then the name). */
extern const unsigned char rpc__alpn_h2[3];

#define RPC__TICKET_LIFE_S 3600

typedef struct rpc__tickets rpc__tickets;

struct rpc__tls_context {
    _Atomic unsigned refs;
    SSL_CTX *ssl;
    bool server;
    rpc__tickets *tickets;     /* NULL: sessions are not resumed */
    STACK_OF(X509_CRL) * crls; /* NULL: revocation is not looked at */
    char *server_name;         /* for SNI; NULL for servers and where the host is an address */
};

SSL *rpc__tls_ssl(const rpc__tls *tls);
/** True: the PEM reader stopped because there is no more, and not for want of memory or at
 *  something broken, when what follows would be lost without a word. Clears OpenSSL's errors. */
bool rpc__tls_pem_ended(void);

/* tls_session.c */
void rpc__tickets_free(rpc__tickets *tickets);
/** Once, for a server's new context. clock outlives it. */
RPC_MUST_USE rpc_code rpc__tls_allow_resumption(
    rpc__tls_context *context, const rpc_clock *clock, rpc_status *reterr);
/** Once, after the context's CAs. NULL, or what is wrong with the lists. */
const char *rpc__tls_use_crls(rpc__tls_context *context, const uint8_t *pem, size_t size);
/** NULL, or why certificate is no longer good; now in seconds since 1970. */
const char *rpc__tls_certificate_objection(
    const rpc__tls_context *context, X509 *certificate, int64_t now);

#endif
