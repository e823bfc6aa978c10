/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a handshake: tickets, and the question whether a certificate is still good.
 *
 * Tickets hold the whole session, so a server keeps nothing per client. Their keys belong to one
 * context, that is to one listener with one certificate and one trust store; a new context (a
 * reload) cannot read the tickets of the old one, nor another listener's. Keys are drawn anew
 * every KEY_LIFE_S and kept as long as tickets made with them may live. A session whose
 * certificate has ended since is not resumed: the client has to show a good one. */
#include "tls_internal.h"

#include "cleanup.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#define KEY_LIFE_S 1800
#define KEYS       4 /* one in use, and those of the last 90 minutes */

typedef struct ticket_key {
    uint8_t name[16], cipher[32], mac[32];
    int64_t born_s; /* 0: none */
} ticket_key;

struct rpc__tickets {
    const rpc_clock *clock;
    pthread_mutex_t lock;
    ticket_key keys[KEYS]; /* (lock) newest first */
};

static int64_t now_s(const rpc__tickets *tickets)
{
    return rpc_clock_wall_ms(tickets->clock) / 1000;
}

void rpc__tickets_free(rpc__tickets *tickets)
{
    if (!tickets)
        return;
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
    free(tickets);
}

/* (lock) */
static void renew_keys(rpc__tickets *tickets, int64_t now)
{
    int64_t age = now - tickets->keys[0].born_s;
    if (tickets->keys[0].born_s > 0 && age >= 0 && age < KEY_LIFE_S)
        return;
    memmove(tickets->keys + 1, tickets->keys, (KEYS - 1) * sizeof tickets->keys[0]);
    rpc_random(&tickets->keys[0], sizeof tickets->keys[0]);
    tickets->keys[0].born_s = now;
}

static ticket_key key_for_new(rpc__tickets *tickets)
{
    pthread_mutex_lock(&tickets->lock);
    renew_keys(tickets, now_s(tickets));
    ticket_key key = tickets->keys[0];
    pthread_mutex_unlock(&tickets->lock);
    return key;
}

static bool key_by_name(rpc__tickets *tickets, const uint8_t name[16], ticket_key *ret)
{
    bool found = false;
    pthread_mutex_lock(&tickets->lock);
    int64_t now = now_s(tickets);
    for (size_t i = 0; i < KEYS && !found; i++) {
        const ticket_key *key = &tickets->keys[i];
        int64_t age = now - key->born_s;
        found = key->born_s > 0 && age < KEY_LIFE_S + RPC__TICKET_LIFE_S &&
                CRYPTO_memcmp(key->name, name, sizeof key->name) == 0;
        if (found)
            *ret = *key;
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static bool use_key(const ticket_key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, bool encrypt)
{
    char digest[] = "SHA256";
    uint8_t secret[sizeof key->mac];
    memcpy(secret, key->mac, sizeof secret);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret, sizeof secret),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool good = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, encrypt) == 1;
    OPENSSL_cleanse(secret, sizeof secret);
    return good;
}

/* OpenSSL: 1 = go on, 0 = an unknown key (full handshake), negative = the handshake fails. */
static int on_ticket_key(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    rpc__tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    ticket_key key;
    if (encrypt) {
        key = key_for_new(context->tickets);
        memcpy(name, key.name, sizeof key.name);
        rpc_random(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    } else if (!key_by_name(context->tickets, name, &key)) {
        return 0;
    }
    bool good = use_key(&key, iv, cipher, mac, encrypt);
    OPENSSL_cleanse(&key, sizeof key);
    return good ? 1 : -1;
}

static int on_ticket_made(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 1;
}

/* The identity of a resumed session is its certificate: judged anew, as in a full handshake. */
static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
    size_t name_size, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)name, (void)name_size;
    const rpc__tls_context *context = arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    X509 *certificate = SSL_SESSION_get0_peer(session);
    if (certificate &&
        rpc__tls_certificate_objection(context, certificate, now_s(context->tickets)))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return SSL_TICKET_RETURN_USE_RENEW;
}

rpc_code rpc__tls_allow_resumption(
    rpc__tls_context *context, const rpc_clock *clock, rpc_status *reterr)
{
    uint8_t id[SSL_MAX_SID_CTX_LENGTH];
    rpc_random(id, sizeof id);
    SSL_CTX *ssl = context->ssl;
    context->tickets = calloc(1, sizeof *context->tickets);
    if (!context->tickets || pthread_mutex_init(&context->tickets->lock, NULL) != 0) {
        free(context->tickets);
        context->tickets = NULL;
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for TLS");
    }
    context->tickets->clock = clock;
    SSL_CTX_set_app_data(ssl, context);
    SSL_CTX_clear_options(ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(ssl, RPC__TICKET_LIFE_S);
    if (SSL_CTX_set_session_id_context(ssl, id, sizeof id) != 1 ||
        SSL_CTX_set_num_tickets(ssl, 1) != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket_key) != 1 ||
        SSL_CTX_set_session_ticket_cb(ssl, on_ticket_made, on_ticket_read, context) != 1)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for TLS");
    return RPC_OK;
}

bool rpc__tls_resumed(const rpc__tls *tls)
{
    return SSL_session_reused(rpc__tls_ssl(tls)) == 1;
}

/* ---- certificates that end ------------------------------------------------------------------ */

static bool listed(const STACK_OF(X509_CRL) * crls, X509 *certificate)
{
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(crls, i);
        X509_REVOKED *entry = NULL;
        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(certificate)) == 0 &&
            X509_CRL_get0_by_cert(crl, &entry, certificate) == 1)
            return true; /* 2 would be an entry that takes another back */
    }
    return false;
}

const char *rpc__tls_certificate_objection(
    const rpc__tls_context *context, X509 *certificate, int64_t now)
{
    time_t at = (time_t)now;
    if (X509_cmp_time(X509_get0_notAfter(certificate), &at) != 1)
        return "the peer's certificate has expired";
    if (X509_cmp_time(X509_get0_notBefore(certificate), &at) != -1)
        return "the peer's certificate is not yet valid";
    if (context->crls && listed(context->crls, certificate))
        return "the peer's certificate was revoked";
    return NULL;
}

const char *rpc__tls_peer_objection(
    const rpc__tls *tls, const rpc__tls_context *context, int64_t now)
{
    X509 *certificate = SSL_get0_peer_certificate(rpc__tls_ssl(tls));
    return certificate ? rpc__tls_certificate_objection(context, certificate, now) : NULL;
}

/* Each list must be signed by one of those who sign certificates: anybody else's could only deny
 * service, or pretend that nothing is revoked. */
static bool signed_by_trusted(SSL_CTX *ssl, X509_CRL *crl)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ssl));
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (ca && X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(crl)) == 0 &&
            X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1)
            return true;
    }
    return false;
}

const char *rpc__tls_use_crls(rpc__tls_context *context, const uint8_t *pem, size_t size)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    context->crls = sk_X509_CRL_new_null();
    const char *fault = bio && context->crls ? NULL : "no memory";
    X509_CRL *crl;
    while (!fault && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        if (!signed_by_trusted(context->ssl, crl))
            fault = "a list is not signed by a CA of the ca_file";
        else if (X509_STORE_add_crl(store, crl) != 1 || sk_X509_CRL_push(context->crls, crl) <= 0)
            fault = "no memory";
        if (fault)
            X509_CRL_free(crl);
    }
    BIO_free(bio);
    if (!fault && (sk_X509_CRL_num(context->crls) == 0 || !rpc__tls_pem_ended()))
        fault = "expected certificate revocation lists in PEM form";
    if (!fault && X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1)
        fault = "no memory";
    return fault;
}
