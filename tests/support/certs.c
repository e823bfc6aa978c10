/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char *bio_text(BIO *bio)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    memcpy(text, data, (size_t)size); /* a BIO's bytes have no NUL behind them */
    text[size] = '\0';
    BIO_free(bio);
    return text;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static test_cert make(
    const test_cert *ca, const char *name, bool is_ca, const char *san, long from, long to)
{
    static long serial = 1;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *cert = X509_new();
    assert_non_null(key);
    X509 *issuer = ca ? ca->cert : cert;
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), to);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(
        X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    add_extension(cert, issuer, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (san)
        add_extension(cert, issuer, NID_subject_alt_name, san);
    assert_true(X509_sign(cert, ca ? ca->key : key, NULL) > 0);
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(cert_bio, cert);
    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
    return (test_cert){bio_text(cert_bio), bio_text(key_bio), cert, key};
}

test_cert test_ca(const char *name)
{
    return make(NULL, name, true, NULL, -3600, 86400);
}

test_cert test_cert_issue(
    const test_cert *ca, const char *name, const char *san, long valid_from, long valid_to)
{
    return make(ca, name, false, san, valid_from, valid_to);
}

test_cert test_intermediate(const test_cert *ca, const char *name)
{
    return make(ca, name, true, NULL, -3600, 86400);
}

void test_cert_free(test_cert *cert)
{
    free(cert->cert_pem);
    free(cert->key_pem);
    X509_free(cert->cert);
    EVP_PKEY_free(cert->key);
}

char *test_crl(const test_cert *ca, const test_cert *cert, long from, long to)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *since = X509_gmtime_adj(NULL, from), *until = X509_gmtime_adj(NULL, to);
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
    X509_CRL_set1_lastUpdate(crl, since);
    X509_CRL_set1_nextUpdate(crl, until);
    if (cert) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert->cert));
        X509_REVOKED_set_revocationDate(entry, since);
        X509_CRL_add0_revoked(crl, entry);
    }
    assert_true(X509_CRL_sign(crl, ca->key, NULL) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_CRL(bio, crl);
    char *text = bio_text(bio);
    X509_CRL_free(crl);
    ASN1_TIME_free(since);
    ASN1_TIME_free(until);
    return text;
}
