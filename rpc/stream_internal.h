/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of stream.h share; the only header that knows nng. */
#ifndef DACM_RPC_STREAM_INTERNAL_H
#define DACM_RPC_STREAM_INTERNAL_H

#include "stream.h"

#include <arpa/inet.h>
#include <nng/nng.h>

/** nng's error as a code of stream.h, with a sentence "rpc: what: …". Returns the code. */
rpc_code rpc__nng_status(int error, const char *what, rpc_status *reterr);

/** The runtime's dialer for url, made at the first use and kept: closing one while it is used
 *  is a use after free in nng before 1.6. */
RPC_MUST_USE rpc_code rpc__dialer_get(
    rpc_runtime *runtime, const rpc__url *url, nng_stream_dialer **ret, rpc_status *reterr);

/** A stream of an accepted connection; takes raw. NULL when memory is short (raw is closed). */
rpc__stream *rpc__stream_accepted(rpc_runtime *runtime, nng_stream *raw);

/** url as nng wants it: TLS is ours, so tls+tcp is tcp. ret_text holds RPC__URL_MAX bytes. */
void rpc__nng_url(const rpc__url *url, char *ret_text);

#endif
