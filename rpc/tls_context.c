/* SPDX-License-Identifier: Apache-2.0 */
/* What connections of one listener or channel share: certificate, key, trust and rules. */
#include "tls_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/* The server's order counts, but that a client which puts ChaCha20 first (it has no AES in
 * hardware) gets it: AES-128 is as good here as AES-256, and its handshakes and records cost less.
 */
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

const unsigned char rpc__alpn_h2[3] = {2, 'h', '2'};

/* PEM bytes that are wiped when they held a key. */
typedef struct pem_text {
    uint8_t *data;
    size_t size;
} pem_text;

static void pem_donep(pem_text *pem)
{
    if (pem->data)
        OPENSSL_cleanse(pem->data, pem->size);
    free(pem->data);
    pem->data = NULL;
}

/* What OpenSSL failed for: RESOURCE_EXHAUSTED where memory was short, else INVALID_ARGUMENT for
 * what it was given, with the reason of its last error for people. Its errors are cleared. */
static rpc_code fault(const char **ret_reason)
{
    unsigned long error;
    bool memory = false;
    *ret_reason = NULL;
    while ((error = ERR_get_error()) != 0) {
        memory = memory || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
        *ret_reason = ERR_reason_error_string(error);
    }
    if (!*ret_reason)
        *ret_reason = "not in PEM form";
    if (memory)
        *ret_reason = "no memory";
    return memory ? RPC_RESOURCE_EXHAUSTED : RPC_INVALID_ARGUMENT;
}

static rpc_code read_file(const char *path, const char *what, pem_text *ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "rpc: cannot read %s '%s': %s", what,
            path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > RPC__TLS_FILE_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: %s '%s' is no file of at most %d bytes", what, path, RPC__TLS_FILE_BYTES_MAX);
    RPC_CLEANUP(pem_donep) pem_text pem = {malloc((size_t)st.st_size + 1), (size_t)st.st_size};
    if (!pem.data)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for '%s'", path);
    size_t got = 0;
    while (got < pem.size) {
        ssize_t n = read(fd, pem.data + got, pem.size - got);
        if (n <= 0)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "rpc: cannot read all of %s '%s'; was it changed meanwhile?", what, path);
        got += (size_t)n;
    }
    *ret = pem;
    pem.data = NULL;
    return RPC_OK;
}

/* From memory where given, else from the file; *ret.data stays NULL when neither is. */
static rpc_code get_pem(
    rpc_bytes memory, const char *path, const char *what, pem_text *ret, rpc_status *reterr)
{
    if (memory.size == 0)
        return path ? read_file(path, what, ret, reterr) : RPC_OK;
    if (memory.size > RPC__TLS_FILE_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "rpc: %s has more than %d bytes", what,
            RPC__TLS_FILE_BYTES_MAX);
    ret->data = malloc(memory.size);
    if (!ret->data)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for %s", what);
    memcpy(ret->data, memory.data, memory.size);
    ret->size = memory.size;
    return RPC_OK;
}

static const char *name_of(const char *path)
{
    return path ? path : "(memory)";
}

/* A password prompt would block a server's start. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

bool rpc__tls_pem_ended(void)
{
    unsigned long error = ERR_peek_last_error();
    bool ended = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (ended)
        ERR_clear_error();
    return ended;
}

static void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

static bool use_chain(SSL_CTX *ssl, const pem_text *pem)
{
    RPC_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    X509 *leaf = bio ? PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL) : NULL;
    bool ok = leaf && SSL_CTX_use_certificate(ssl, leaf) == 1;
    X509_free(leaf);
    X509 *issuer;
    while (ok && (issuer = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ssl, issuer) == 1;
        if (!ok)
            X509_free(issuer);
    }
    return ok && rpc__tls_pem_ended();
}

static bool use_key(SSL_CTX *ssl, const pem_text *pem)
{
    RPC_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

static bool use_trust(SSL_CTX *ssl, const pem_text *pem, bool server)
{
    RPC_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->size);
    X509 *ca;
    unsigned count = 0;
    bool ok = bio != NULL;
    while (ok && (ca = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), ca) == 1 &&
             (!server || SSL_CTX_add_client_CA(ssl, ca) == 1);
        X509_free(ca);
        count++;
    }
    return ok && count > 0 && rpc__tls_pem_ended();
}

static rpc_code load_identity(SSL_CTX *ssl, const rpc_tls_options *options, rpc_status *reterr)
{
    ERR_clear_error(); /* of others */
    RPC_CLEANUP(pem_donep) pem_text chain = {0};
    RPC_CLEANUP(pem_donep) pem_text key = {0};
    rpc_code code = get_pem(
        options->certificate_pem, options->certificate_file, "certificate", &chain, reterr);
    if (code == RPC_OK)
        code = get_pem(options->key_pem, options->key_file, "key", &key, reterr);
    if (code != RPC_OK)
        return code;
    if (!chain.data && !key.data)
        return RPC_OK;
    if (!chain.data || !key.data)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: certificate and key belong together; %s is missing",
            chain.data ? "the key" : "the certificate");
    const char *reason;
    if (!use_chain(ssl, &chain)) {
        code = fault(&reason);
        return rpc_status_set(reterr, code,
            "rpc: certificate '%s': %s; expected a PEM chain, leaf first",
            name_of(options->certificate_file), reason);
    }
    if (use_key(ssl, &key))
        return RPC_OK;
    int why = ERR_GET_REASON(ERR_peek_last_error());
    code = fault(&reason);
    if (why == X509_R_KEY_VALUES_MISMATCH || why == X509_R_KEY_TYPE_MISMATCH)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: key '%s' does not belong to certificate '%s'", name_of(options->key_file),
            name_of(options->certificate_file));
    return rpc_status_set(reterr, code,
        "rpc: key '%s': %s; expected an unencrypted PEM private key", name_of(options->key_file),
        reason);
}

static rpc_code load_trust(
    SSL_CTX *ssl, const rpc_tls_options *options, bool server, rpc_status *reterr)
{
    RPC_CLEANUP(pem_donep) pem_text ca = {0};
    rpc_code code = get_pem(options->ca_pem, options->ca_file, "CA", &ca, reterr);
    if (code != RPC_OK)
        return code;
    if (ca.data && !use_trust(ssl, &ca, server)) {
        const char *reason;
        code = fault(&reason);
        return rpc_status_set(reterr, code, "rpc: CA '%s': %s; expected PEM certificates",
            name_of(options->ca_file), reason);
    }
    if (ca.data)
        return RPC_OK;
    if (server && options->client_auth != RPC_CLIENT_AUTH_NONE)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: client certificates are asked for but no CA is given that may sign them");
    if (!server && SSL_CTX_set_default_verify_paths(ssl) != 1)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "rpc: cannot read the system's trust store; give a CA");
    return RPC_OK;
}

/* What is sent beside the certificate, found once: OpenSSL would look for its issuers among the CAs
 * in every handshake, and verify them (a quarter of a server's CPU for one). Where the file has the
 * leaf alone, intermediates among the CAs go along; the root never does. */
static rpc_code settle_chain(SSL_CTX *ssl, const rpc_tls_options *options, rpc_status *reterr)
{
    SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);
    STACK_OF(X509) *given = NULL;
    if (!SSL_CTX_get0_certificate(ssl) || (SSL_CTX_get0_chain_certs(ssl, &given) == 1 && given))
        return RPC_OK;
    if (SSL_CTX_build_cert_chain(ssl, SSL_BUILD_CHAIN_FLAG_NO_ROOT |
                                          SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
                                          SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR) > 0)
        return RPC_OK;
    const char *reason;
    rpc_code code = fault(&reason);
    return rpc_status_set(reterr, code, "rpc: the issuers of certificate '%s' in CA '%s': %s",
        name_of(options->certificate_file), name_of(options->ca_file), reason);
}

static rpc_code load_crls(
    rpc__tls_context *context, const rpc_tls_options *options, rpc_status *reterr)
{
    RPC_CLEANUP(pem_donep) pem_text lists = {0};
    rpc_code code = get_pem(options->crl_pem, options->crl_file, "revocation list", &lists, reterr);
    if (code != RPC_OK || !lists.data)
        return code;
    const char *wrong = rpc__tls_use_crls(context, lists.data, lists.size);
    if (!wrong)
        return RPC_OK;
    const char *reason;
    code = fault(&reason);
    return rpc_status_set(reterr, code, "rpc: revocation list '%s': %s", name_of(options->crl_file),
        code == RPC_RESOURCE_EXHAUSTED ? reason : wrong);
}

static int select_h2(SSL *ssl, const unsigned char **out, unsigned char *out_size,
    const unsigned char *in, unsigned in_size, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, rpc__alpn_h2, sizeof rpc__alpn_h2, in, in_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, CIPHERSUITES) == 1 &&
           SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
           SSL_CTX_set_recv_max_early_data(ssl, 0) == 1;
}

static rpc_code new_context(const SSL_METHOD *method, rpc__tls_context **ret, rpc_status *reterr)
{
    rpc__tls_context *context = calloc(1, sizeof *context);
    SSL_CTX *ssl = context ? SSL_CTX_new(method) : NULL;
    if (!ssl || !set_rules(ssl)) {
        SSL_CTX_free(ssl);
        free(context);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for TLS");
    }
    atomic_init(&context->refs, 1);
    context->ssl = ssl;
    *ret = context;
    return RPC_OK;
}

static void context_unrefp(rpc__tls_context **context)
{
    rpc__tls_context_unref(*context);
}

static rpc_code require_identity(const rpc_tls_options *options, rpc_status *reterr)
{
    bool certificate = options->certificate_file || options->certificate_pem.size;
    bool key = options->key_file || options->key_pem.size;
    if (certificate && key)
        return RPC_OK;
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "rpc: a TLS listener needs a certificate and its key");
}

rpc_code rpc__tls_context_new_server(const rpc_tls_options *options, const rpc_clock *clock,
    rpc__tls_context **ret, rpc_status *reterr)
{
    RPC_CLEANUP(context_unrefp) rpc__tls_context *context = NULL;
    rpc_code code = require_identity(options, reterr);
    if (code == RPC_OK)
        code = new_context(TLS_server_method(), &context, reterr);
    if (code == RPC_OK)
        code = load_identity(context->ssl, options, reterr);
    if (code == RPC_OK)
        code = load_trust(context->ssl, options, true, reterr);
    if (code == RPC_OK)
        code = settle_chain(context->ssl, options, reterr);
    if (code == RPC_OK)
        code = load_crls(context, options, reterr);
    if (code != RPC_OK)
        return code;
    context->server = true;
    int verify = SSL_VERIFY_NONE;
    if (options->client_auth != RPC_CLIENT_AUTH_NONE)
        verify = SSL_VERIFY_PEER;
    if (options->client_auth == RPC_CLIENT_AUTH_REQUIRE)
        verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context->ssl, verify, NULL);
    if (!options->no_resumption)
        code = rpc__tls_allow_resumption(context, clock, reterr);
    if (code != RPC_OK)
        return code;
    SSL_CTX_set_alpn_select_cb(context->ssl, select_h2, NULL);
    *ret = RPC_TAKE(context);
    return RPC_OK;
}

rpc_code rpc_tls_check_listener(const rpc_tls_options *options, rpc_status *reterr)
{
    RPC_CLEANUP(context_unrefp) rpc__tls_context *context = NULL;
    return rpc__tls_context_new_server(options, rpc_clock_system(), &context, reterr);
}

static bool verify_name(rpc__tls_context *context, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(context->ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error(); /* it is no address, then */
    context->server_name = strdup(name);
    return context->server_name && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

rpc_code rpc__tls_context_new_client(
    const rpc_tls_options *options, const char *host, rpc__tls_context **ret, rpc_status *reterr)
{
    RPC_CLEANUP(context_unrefp) rpc__tls_context *context = NULL;
    rpc_code code = new_context(TLS_client_method(), &context, reterr);
    if (code == RPC_OK)
        code = load_identity(context->ssl, options, reterr);
    if (code == RPC_OK)
        code = load_trust(context->ssl, options, false, reterr);
    if (code == RPC_OK)
        code = settle_chain(context->ssl, options, reterr);
    if (code == RPC_OK)
        code = load_crls(context, options, reterr);
    if (code != RPC_OK)
        return code;
    const char *name = options->server_name ? options->server_name : host;
    if (!verify_name(context, name))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "rpc: '%.128s' cannot be a server's name", name);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_alpn_protos(context->ssl, rpc__alpn_h2, sizeof rpc__alpn_h2) != 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for TLS");
    *ret = RPC_TAKE(context);
    return RPC_OK;
}

rpc__tls_context *rpc__tls_context_ref(rpc__tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void rpc__tls_context_unref(rpc__tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl);
    rpc__tickets_free(context->tickets);
    sk_X509_CRL_pop_free(context->crls, X509_CRL_free);
    free(context->server_name);
    free(context);
}
