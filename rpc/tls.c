/* SPDX-License-Identifier: Apache-2.0 */
/* One TLS connection on memory. OpenSSL reads and writes through a BIO of ours that consumes the
 * caller's input and appends to the caller's output: nothing is kept in between but control
 * records that found no room (spill). */
#include "tls_internal.h"

#include "cleanup.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#define PEER_NAMES_MAX 256
#define SPILL_MAX      (256u << 10) /* a server's whole first flight with a long chain fits */

struct rpc__tls {
    rpc__tls_context *context;
    SSL *ssl;
    const uint8_t *input;
    size_t input_left;
    uint8_t *output;
    size_t output_size, output_capacity;
    uint8_t *spill;
    size_t spill_size;
    bool handshake_done, failed;
    uint8_t *peer_der; /* and the names of the certificate: what rpc_peer points to */
    char **names;
    size_t name_count;
};

/* ---- the BIO ------------------------------------------------------------------------------ */

static int bio_read(BIO *bio, char *buffer, int size)
{
    rpc__tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->input_left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t take = (size_t)size < tls->input_left ? (size_t)size : tls->input_left;
    memcpy(buffer, tls->input, take);
    tls->input += take;
    tls->input_left -= take;
    return (int)take;
}

static bool spill(rpc__tls *tls, const char *data, size_t size)
{
    if (size > SPILL_MAX - tls->spill_size)
        return false;
    uint8_t *grown = realloc(tls->spill, tls->spill_size + size);
    if (!grown)
        return false;
    tls->spill = grown;
    memcpy(tls->spill + tls->spill_size, data, size);
    tls->spill_size += size;
    return true;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    rpc__tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t room = tls->spill_size ? 0 : tls->output_capacity - tls->output_size;
    size_t put = (size_t)size < room ? (size_t)size : room;
    if (put > 0)
        memcpy(tls->output + tls->output_size, data, put);
    if ((size_t)size > put && !spill(tls, data + put, (size_t)size - put))
        return -1; /* without retry: the connection fails */
    tls->output_size += put;
    return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rpc tls");
    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_ctrl))
        bio_method = method;
}

/* Made once for the process and never freed: connections of any runtime use it. */
static BIO *new_bio(rpc__tls *tls)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- making -------------------------------------------------------------------------------- */

rpc_code rpc__tls_new(rpc__tls_context *context, rpc__tls **ret, rpc_status *reterr)
{
    rpc__tls *tls = calloc(1, sizeof *tls);
    SSL *ssl = tls ? SSL_new(context->ssl) : NULL;
    BIO *bio = ssl ? new_bio(tls) : NULL;
    if (!bio ||
        (context->server_name && SSL_set_tlsext_host_name(ssl, context->server_name) != 1)) {
        BIO_free(bio);
        SSL_free(ssl);
        free(tls);
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for a TLS connection");
    }
    SSL_set_bio(ssl, bio, bio);
    if (context->server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    tls->ssl = ssl;
    tls->context = rpc__tls_context_ref(context);
    *ret = tls;
    return RPC_OK;
}

void rpc__tls_overwrite(rpc__tls *tls)
{
    SSL_set_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

SSL *rpc__tls_ssl(const rpc__tls *tls)
{
    return tls->ssl;
}

bool rpc__tls_set_name(rpc__tls *tls, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    uint8_t address[16];
    bool numeric = inet_pton(AF_INET, name, address) == 1 ||
                   inet_pton(AF_INET6, name, address) == 1;
    if (numeric) /* an address is never sent as a name (RFC 6066, 3) */
        return X509_VERIFY_PARAM_set1_host(param, NULL, 0) == 1 &&
               X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 &&
               SSL_set_tlsext_host_name(tls->ssl, NULL) == 1;
    return X509_VERIFY_PARAM_set1_ip(param, NULL, 0) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
           SSL_set_tlsext_host_name(tls->ssl, name) == 1;
}

void rpc__tls_free(rpc__tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    rpc__tls_context_unref(tls->context);
    free(tls->spill);
    OPENSSL_free(tls->peer_der);
    for (size_t i = 0; i < tls->name_count; i++)
        free(tls->names[i]);
    free(tls->names);
    free(tls);
}

/* ---- buffers -------------------------------------------------------------------------------- */

void rpc__tls_set_output(rpc__tls *tls, uint8_t *buffer, size_t capacity)
{
    tls->output = buffer;
    tls->output_capacity = capacity;
    size_t put = tls->spill_size < capacity ? tls->spill_size : capacity;
    tls->output_size = put;
    if (put == 0)
        return;
    memcpy(buffer, tls->spill, put);
    tls->spill_size -= put;
    memmove(tls->spill, tls->spill + put, tls->spill_size);
    if (tls->spill_size == 0) {
        free(tls->spill);
        tls->spill = NULL;
    }
}

size_t rpc__tls_output_size(const rpc__tls *tls)
{
    return tls->output_size;
}

bool rpc__tls_output_waiting(const rpc__tls *tls)
{
    return tls->spill_size > 0;
}

void rpc__tls_input(rpc__tls *tls, rpc_bytes bytes)
{
    tls->input = bytes.data;
    tls->input_left = bytes.size;
}

size_t rpc__tls_input_left(const rpc__tls *tls)
{
    return tls->input_left;
}

/* ---- running -------------------------------------------------------------------------------- */

/* What others left would be taken for a fault of ours. As a rule there is nothing, and looking is
 * cheaper than clearing. */
static void clear_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* None of the authorities that we were given has signed it. */
static bool is_of_another_ca(long verdict)
{
    return verdict == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
           verdict == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
           verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
           verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
           verdict == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

static rpc_code verify_failed(rpc__tls *tls, rpc_status *reterr)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "rpc: TLS: the %s's certificate: %s%s",
        tls->context->server ? "client" : "server", X509_verify_cert_error_string(verdict),
        is_of_another_ca(verdict) ? "; is its CA in ca_file?" : "");
}

/* An SSL call said SSL_ERROR_SSL: what to tell. */
static rpc__tls_result failed(rpc__tls *tls, rpc_status *reterr)
{
    tls->failed = true;
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    const char *text = ERR_reason_error_string(error);
    if (!text)
        text = "unknown fault";
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        verify_failed(tls, reterr);
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        rpc_status_set(reterr, RPC_UNAUTHENTICATED,
            "rpc: TLS: the client gave no certificate, and this listener requires one");
    else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
        rpc_status_set(reterr, RPC_UNAVAILABLE, "rpc: TLS: the peer refused us: %s", text);
    else
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "rpc: TLS: %s", text);
    clear_errors();
    return RPC__TLS_FAILED;
}

static rpc__tls_result fail_with(
    rpc__tls *tls, rpc_code code, const char *message, rpc_status *reterr)
{
    tls->failed = true;
    rpc_status_set(reterr, code, "%s", message);
    return RPC__TLS_FAILED;
}

/* A peer that offers no ALPN at all never comes to the selection callback. */
static bool speaks_h2(const rpc__tls *tls)
{
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
    return size == 2 && memcmp(protocol, "h2", 2) == 0;
}

const char *rpc__tls_cipher(const rpc__tls *tls)
{
    return SSL_CIPHER_standard_name(SSL_get_current_cipher(tls->ssl));
}

rpc__tls_result rpc__tls_handshake(rpc__tls *tls, rpc_status *reterr)
{
    if (tls->handshake_done)
        return RPC__TLS_OK;
    if (tls->failed)
        return fail_with(tls, RPC_INVALID_ARGUMENT, "rpc: TLS: the handshake has failed", reterr);
    clear_errors();
    int done = SSL_do_handshake(tls->ssl);
    if (done == 1) {
        if (!speaks_h2(tls))
            return fail_with(tls, RPC_INVALID_ARGUMENT,
                "rpc: TLS: the peer does not speak HTTP/2 (ALPN h2)", reterr);
        tls->handshake_done = true;
        return RPC__TLS_OK;
    }
    switch (SSL_get_error(tls->ssl, done)) {
    case SSL_ERROR_WANT_READ:
        return RPC__TLS_WANT_INPUT;
    case SSL_ERROR_ZERO_RETURN:
        return RPC__TLS_CLOSED;
    default:
        return failed(tls, reterr);
    }
}

bool rpc__tls_handshake_done(const rpc__tls *tls)
{
    return tls->handshake_done;
}

rpc__tls_result rpc__tls_read(
    rpc__tls *tls, void *buffer, size_t max, size_t *ret_size, rpc_status *reterr)
{
    if (tls->failed)
        return fail_with(tls, RPC_INVALID_ARGUMENT, "rpc: TLS: the connection failed", reterr);
    clear_errors();
    int got = SSL_read_ex(tls->ssl, buffer, max, ret_size);
    if (got == 1)
        return RPC__TLS_OK;
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
        return RPC__TLS_WANT_INPUT;
    case SSL_ERROR_ZERO_RETURN:
        return RPC__TLS_CLOSED;
    default:
        return failed(tls, reterr);
    }
}

rpc__tls_result rpc__tls_write(
    rpc__tls *tls, rpc_bytes bytes, size_t *ret_taken, rpc_status *reterr)
{
    if (tls->failed)
        return fail_with(tls, RPC_INVALID_ARGUMENT, "rpc: TLS: the connection failed", reterr);
    size_t taken = 0;
    while (taken < bytes.size && tls->spill_size == 0 &&
           tls->output_capacity - tls->output_size >= RPC__TLS_OUTPUT_MIN) {
        size_t piece = bytes.size - taken;
        if (piece > RPC__TLS_RECORD_MAX)
            piece = RPC__TLS_RECORD_MAX;
        size_t written;
        clear_errors();
        if (SSL_write_ex(tls->ssl, bytes.data + taken, piece, &written) != 1)
            return failed(tls, reterr);
        taken += written;
    }
    *ret_taken = taken;
    return RPC__TLS_OK;
}

void rpc__tls_shutdown(rpc__tls *tls)
{
    if (tls->failed || !tls->handshake_done)
        return;
    SSL_shutdown(tls->ssl);
    clear_errors();
}

/* ---- the peer -------------------------------------------------------------------------------- */

static rpc_code add_name(
    rpc__tls *tls, char **list, size_t *count, const ASN1_IA5STRING *name, rpc_status *reterr)
{
    const char *text = (const char *)ASN1_STRING_get0_data(name);
    size_t size = (size_t)ASN1_STRING_length(name);
    if (memchr(text, 0, size))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "rpc: TLS: a name of the peer's certificate holds NUL");
    char *copy = malloc(size + 1);
    if (!copy)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for a name");
    memcpy(copy, text, size);
    copy[size] = '\0';
    tls->names[tls->name_count++] = copy;
    list[(*count)++] = copy;
    return RPC_OK;
}

/* names: first all copies for freeing, then two NULL-terminated lists that point at them. */
static rpc_code read_names(rpc__tls *tls, X509 *certificate, rpc_peer *peer, rpc_status *reterr)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    if (count > PEER_NAMES_MAX) {
        GENERAL_NAMES_free(names);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: TLS: the peer's certificate has %d names; at most %d are taken", count,
            PEER_NAMES_MAX);
    }
    tls->names = calloc(3 * (size_t)count + 2, sizeof *tls->names);
    if (!tls->names) {
        GENERAL_NAMES_free(names);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for names");
    }
    char **dns = tls->names + count, **uri = dns + count + 1;
    size_t dns_count = 0, uri_count = 0;
    rpc_code code = RPC_OK;
    for (int i = 0; i < count && code == RPC_OK; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            code = add_name(tls, dns, &dns_count, name->d.dNSName, reterr);
        else if (name->type == GEN_URI)
            code = add_name(tls, uri, &uri_count, name->d.uniformResourceIdentifier, reterr);
    }
    GENERAL_NAMES_free(names);
    peer->dns_names = (const char *const *)dns;
    peer->uri_names = (const char *const *)uri;
    return code;
}

static int64_t not_after(const X509 *certificate)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

rpc_code rpc__tls_peer(rpc__tls *tls, rpc_peer *ret_peer, rpc_status *reterr)
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    if (!certificate || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return RPC_OK;
    rpc_peer peer = *ret_peer;
    int size = tls->peer_der ? -1 : i2d_X509(certificate, &tls->peer_der);
    if (size <= 0 || EVP_Digest(tls->peer_der, (size_t)size, peer.certificate_sha256, NULL,
                         EVP_sha256(), NULL) != 1)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for the peer's certificate");
    rpc_code code = read_names(tls, certificate, &peer, reterr);
    if (code != RPC_OK)
        return code;
    peer.certificate_der = rpc_bytes_of(tls->peer_der, (size_t)size);
    peer.certificate_not_after = not_after(certificate);
    peer.has_certificate = true;
    *ret_peer = peer;
    return RPC_OK;
}
