/* SPDX-License-Identifier: Apache-2.0 */
/** What HTTP/2 asks of a request (RFC 9113, 8.1 to 8.3). Private to rpc/, strand only.
 *
 *  nghttp2 can watch over it too, and does so for channels. It judges each byte of each header by
 *  a table, at every call again: with a token of 1 KB a tenth of a server's work. Here sixteen
 *  bytes are judged at a time. What is broken is a malformed request: stream error
 *  PROTOCOL_ERROR (8.1.1). */
#ifndef DACM_RPC_RULES_H
#define DACM_RPC_RULES_H

#include "base.h"

typedef struct rpc__rules {
    unsigned seen;    /* which of the headers that may come once */
    bool regular;     /* one that is no pseudo-header has come: no more of those */
    bool connect;     /* :method: CONNECT */
    bool asterisk;    /* :path: * */
    bool options;     /* :method: OPTIONS */
    int64_t length;   /* content-length, while seen says so */
    int64_t received; /* bytes of DATA */
} rpc__rules;

/** One header, of the request's head or of its trailers. False: malformed. */
RPC_MUST_USE bool rpc__rules_header(
    rpc__rules *rules, rpc_bytes name, rpc_bytes value, bool trailer);
/** The head is complete. */
RPC_MUST_USE bool rpc__rules_head(const rpc__rules *rules);
/** DATA without its padding. */
RPC_MUST_USE bool rpc__rules_data(rpc__rules *rules, size_t size);
/** The stream's end. */
RPC_MUST_USE bool rpc__rules_end(const rpc__rules *rules);

#endif
