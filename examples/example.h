/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share: giving up with a sentence, serving until standard input ends, and
 * files of certificates by their names in one folder (see certificates.sh). */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <dacm-rpc/rpc.h>

/* Ends the program with the status's sentence unless code is RPC_OK. */
void check(rpc_code code, const rpc_status *status);

/* TLS with FOLDER/NAME.crt and FOLDER/NAME.key (name NULL: no certificate), trusting
 * FOLDER/ca.crt. */
rpc_tls_options tls_of(const char *folder, const char *name);

/* Listens on 127.0.0.1, prints the URL, and serves until standard input ends. */
void serve(rpc_server *server, const rpc_tls_options *tls);

/* A runtime and a server with all defaults. */
rpc_server *new_server(rpc_runtime **ret_runtime);

/* A channel to url with all defaults. */
rpc_channel *new_channel(rpc_runtime **ret_runtime, const char *url, const rpc_tls_options *tls);

#endif
