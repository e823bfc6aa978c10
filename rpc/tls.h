/* SPDX-License-Identifier: Apache-2.0 */
/** TLS 1.3 between two memory buffers: OpenSSL without any I/O of its own. Private to rpc/.
 *
 *  Bytes from the network go in by rpc__tls_input(), bytes for the network are appended to the
 *  buffer given by rpc__tls_set_output(). One thread at a time for an rpc__tls (its connection's
 *  strand); a context may be shared by any number of threads.
 *
 *  RFC 8446; ALPN (RFC 7301) must choose "h2". No early data. A server's sessions are resumed by
 *  tickets of at most an hour, which only the context that made them can read. */
#ifndef DACM_RPC_TLS_H
#define DACM_RPC_TLS_H

#include "rpc.h"

#define RPC__TLS_FILE_BYTES_MAX (1024 * 1024) /* of each PEM given */
#define RPC__TLS_RECORD_MAX     16384         /* plaintext of one record */
/** Output room to have when asking for a write: one full record and its frame. */
#define RPC__TLS_OUTPUT_MIN (RPC__TLS_RECORD_MAX + 256)

typedef struct rpc__tls_context rpc__tls_context; /* reference-counted */
typedef struct rpc__tls rpc__tls;                 /* one connection */

/** A server needs certificate and key; with client_auth REQUEST or REQUIRE also a CA.
 *  INVALID_ARGUMENT names the file and what was expected. */
/** clock: for the age of ticket keys and the validity of resumed certificates; outlives it. */
RPC_MUST_USE rpc_code rpc__tls_context_new_server(const rpc_tls_options *options,
    const rpc_clock *clock, rpc__tls_context **ret, rpc_status *reterr);
/** host: name or address of the target, verified unless options->server_name is given. Without
 *  ca_file and ca_pem the system's trust store is used. */
RPC_MUST_USE rpc_code rpc__tls_context_new_client(
    const rpc_tls_options *options, const char *host, rpc__tls_context **ret, rpc_status *reterr);
rpc__tls_context *rpc__tls_context_ref(rpc__tls_context *context);
void rpc__tls_context_unref(rpc__tls_context *context);

/** A connection holds a reference to its context. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code rpc__tls_new(rpc__tls_context *context, rpc__tls **ret, rpc_status *reterr);
/** Plain text of records is overwritten once it was read. Before the handshake. */
void rpc__tls_overwrite(rpc__tls *tls);
void rpc__tls_free(rpc__tls *tls);
/** Client, before the handshake: verify (and ask for) this name or address instead of the
 *  context's. False: no memory, or no name at all. */
bool rpc__tls_set_name(rpc__tls *tls, const char *name);

typedef enum rpc__tls_result {
    RPC__TLS_OK,
    RPC__TLS_WANT_INPUT, /* all input is consumed; feed more */
    RPC__TLS_CLOSED,     /* the peer sent close_notify; nothing more will be read */
    RPC__TLS_FAILED,     /* see reterr; send the output (an alert), then close the stream */
} rpc__tls_result;

/** Where output goes from now on; borrowed until the next call of this. What did not fit the
 *  last one (at most a few control records) is put first. NULL, 0 takes the buffer away. */
void rpc__tls_set_output(rpc__tls *tls, uint8_t *buffer, size_t capacity);
/** Bytes in the output buffer now. */
size_t rpc__tls_output_size(const rpc__tls *tls);
/** True when something waits for a (larger) output buffer. */
bool rpc__tls_output_waiting(const rpc__tls *tls);

/** Bytes from the network; borrowed until handshake() or read() says WANT_INPUT (or CLOSED or
 *  FAILED). Only when the last input was consumed. */
void rpc__tls_input(rpc__tls *tls, rpc_bytes bytes);
size_t rpc__tls_input_left(const rpc__tls *tls);

/** Drives the handshake; a client calls it once without input to begin. OK once done (output
 *  may be there to send), and then for ever. FAILED: UNAUTHENTICATED (peer's certificate or
 *  name), INVALID_ARGUMENT (protocol), UNAVAILABLE (the peer refused us: its alert). */
RPC_MUST_USE rpc__tls_result rpc__tls_handshake(rpc__tls *tls, rpc_status *reterr);
bool rpc__tls_handshake_done(const rpc__tls *tls);
/** Plaintext: 1..max bytes with OK. Call until WANT_INPUT. After the handshake. */
RPC_MUST_USE rpc__tls_result rpc__tls_read(
    rpc__tls *tls, void *buffer, size_t max, size_t *ret_size, rpc_status *reterr);
/** Encrypts from bytes straight into the output; *ret_taken of them, fewer when output is full
 *  (OK and 0: give a new output buffer). Never keeps bytes. */
RPC_MUST_USE rpc__tls_result rpc__tls_write(
    rpc__tls *tls, rpc_bytes bytes, size_t *ret_taken, rpc_status *reterr);
/** Appends close_notify to the output; once. */
void rpc__tls_shutdown(rpc__tls *tls);

/** "TLS_AES_128_GCM_SHA256"; lives for ever. After the handshake. */
const char *rpc__tls_cipher(const rpc__tls *tls);
/** True: the handshake took up an earlier session. After it. */
bool rpc__tls_resumed(const rpc__tls *tls);
/** Why the peer's certificate may no longer be used (expired, revoked by context's lists), for
 *  people; NULL: it may, or there is none. context: the newest of the listener, which may not be
 *  the connection's own. now: seconds since 1970. */
const char *rpc__tls_peer_objection(
    const rpc__tls *tls, const rpc__tls_context *context, int64_t now);

/** Fills the certificate fields of peer (the others are untouched), only from a certificate
 *  that was verified. They live as long as tls. RESOURCE_EXHAUSTED; INVALID_ARGUMENT for a
 *  certificate with more than 256 names, or a NUL in one. */
RPC_MUST_USE rpc_code rpc__tls_peer(rpc__tls *tls, rpc_peer *ret_peer, rpc_status *reterr);

#endif
