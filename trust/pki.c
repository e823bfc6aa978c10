/* SPDX-License-Identifier: Apache-2.0 */
#include "pki_internal.h"

#include "cleanup.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define BACKDATE_S   60 /* clocks that are a little behind still take a new certificate */
#define DAY_S        86400
#define SERIAL_BYTES 16
#define VERSION_3    2

RPC_DEFINE_FREEP(x509_freep, X509 *, X509_free)
RPC_DEFINE_FREEP(pkey_freep, EVP_PKEY *, EVP_PKEY_free)
RPC_DEFINE_FREEP(bio_freep, BIO *, BIO_free)
RPC_DEFINE_FREEP(bn_freep, BIGNUM *, BN_free)

rpc_code trust__pki_no_memory(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_RESOURCE_EXHAUSTED, "pki: no memory for a certificate; free some");
}

rpc_code trust__pki_failed(const char *what, rpc_status *reterr)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    rpc_status_set(reterr, RPC_INTERNAL, "pki: OpenSSL cannot %s: %s; see its configuration", what,
        reason ? reason : "no reason given");
    ERR_clear_error();
    return RPC_INTERNAL;
}

void trust_certificate_done(trust_certificate *certificate)
{
    if (certificate->key_pem)
        OPENSSL_cleanse(certificate->key_pem, strlen(certificate->key_pem));
    free(certificate->key_pem);
    free(certificate->certificate_pem);
    *certificate = (trust_certificate){NULL, NULL};
}

/* ---- reading the authority ------------------------------------------------------------------ */

typedef struct authority {
    X509 *certificate;
    EVP_PKEY *key;
} authority;

static void authority_done(authority *ca)
{
    x509_freep(&ca->certificate);
    pkey_freep(&ca->key);
}

/* Without it OpenSSL asks on the terminal. */
static int no_password(char *room, int size, int writing, void *ctx)
{
    (void)room;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static BIO *open_pem(const char *pem)
{
    const size_t size = pem ? strnlen(pem, TRUST_CERTIFICATE_PEM_BYTES_MAX + 1) : 0;
    if (size == 0 || size > TRUST_CERTIFICATE_PEM_BYTES_MAX)
        return NULL;
    return BIO_new_mem_buf(pem, (int)size);
}

static rpc_code refuse_authority(const char *why, rpc_status *reterr)
{
    ERR_clear_error();
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "pki: the authority's %s", why);
}

static rpc_code read_authority(
    const char *certificate_pem, const char *key_pem, authority *ca, rpc_status *reterr)
{
    RPC_CLEANUP(bio_freep) BIO *certificate = open_pem(certificate_pem);
    RPC_CLEANUP(bio_freep) BIO *key = open_pem(key_pem);
    if (certificate)
        ca->certificate = PEM_read_bio_X509(certificate, NULL, no_password, NULL);
    if (!ca->certificate)
        return refuse_authority("certificate cannot be read; give one in PEM, ≤ 64 KiB", reterr);
    if (key)
        ca->key = PEM_read_bio_PrivateKey(key, NULL, no_password, NULL);
    if (!ca->key)
        return refuse_authority(
            "key cannot be read; give one in PEM that is not encrypted, ≤ 64 KiB", reterr);
    if (X509_check_private_key(ca->certificate, ca->key) != 1)
        return refuse_authority("key is not that of its certificate; give the pair", reterr);
    if (X509_check_ca(ca->certificate) != 1 ||
        (X509_get_key_usage(ca->certificate) & KU_KEY_CERT_SIGN) == 0)
        return refuse_authority("certificate may not sign others; give that of a CA", reterr);
    if (X509_cmp_current_time(X509_get0_notBefore(ca->certificate)) >= 0 ||
        X509_cmp_current_time(X509_get0_notAfter(ca->certificate)) <= 0)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "pki: the authority's certificate is not valid now; make a new authority");
    return RPC_OK;
}

/* ---- making certificates -------------------------------------------------------------------- */

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_BYTES];
    rpc_random(bytes, sizeof bytes);
    RPC_CLEANUP(bn_freep) BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    return number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
}

/* From a minute ago, and no longer than its issuer. */
static bool set_validity(X509 *certificate, unsigned days, const X509 *issuer)
{
    ASN1_TIME *end = X509_getm_notAfter(certificate);
    if (!X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATE_S) ||
        !X509_gmtime_adj(end, (long)days * DAY_S))
        return false;
    const ASN1_TIME *last = X509_get0_notAfter(issuer);
    return issuer == certificate || ASN1_TIME_compare(end, last) <= 0 ||
           X509_set1_notAfter(certificate, last) == 1;
}

/* nid and value are ours alone; what others name goes through trust__add_names(). */
static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    const bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool add_extensions(X509 *certificate, X509 *issuer)
{
    if (certificate == issuer)
        return add_extension(
                   certificate, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               add_extension(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
    return add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
           add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, issuer, NID_authority_key_identifier, "keyid,issuer");
}

/* All but names and signature; issuer is the certificate itself for an authority. */
static bool fill(
    X509 *certificate, EVP_PKEY *key, X509 *issuer, const char *common_name, unsigned days)
{
    return X509_set_version(certificate, VERSION_3) == 1 && set_serial(certificate) &&
           X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
               MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           set_validity(certificate, days, issuer) && X509_set_pubkey(certificate, key) == 1 &&
           add_extensions(certificate, issuer);
}

/* Ed25519 and its like hash by themselves. */
static bool sign(X509 *certificate, EVP_PKEY *key)
{
    int nid = NID_undef;
    const bool fixed = EVP_PKEY_get_default_digest_nid(key, &nid) == 2 && nid == NID_undef;
    return X509_sign(certificate, key, fixed ? NULL : EVP_sha256()) > 0;
}

/* A memory BIO clears what it frees, so the copy is the only one that stays. */
static char *take_text(BIO *bio)
{
    char *data = NULL;
    const long size = BIO_get_mem_data(bio, &data);
    char *text = size > 0 ? malloc((size_t)size + 1) : NULL;
    if (text) {
        memcpy(text, data, (size_t)size);
        text[size] = '\0';
    }
    return text;
}

static rpc_code write_pem(
    X509 *certificate, EVP_PKEY *key, trust_certificate *ret, rpc_status *reterr)
{
    RPC_CLEANUP(bio_freep) BIO *certificate_bio = BIO_new(BIO_s_mem());
    RPC_CLEANUP(bio_freep) BIO *key_bio = BIO_new(BIO_s_mem());
    if (!certificate_bio || !key_bio)
        return trust__pki_no_memory(reterr);
    if (PEM_write_bio_X509(certificate_bio, certificate) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return trust__pki_failed("write PEM", reterr);
    trust_certificate made = {take_text(certificate_bio), take_text(key_bio)};
    if (!made.certificate_pem || !made.key_pem) {
        trust_certificate_done(&made);
        return trust__pki_no_memory(reterr);
    }
    *ret = made;
    return RPC_OK;
}

/* ca is NULL for an authority, which signs itself. */
static rpc_code make(const authority *ca, const trust_certificate_names *names, unsigned days,
    trust_certificate *ret, rpc_status *reterr)
{
    RPC_CLEANUP(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key)
        return trust__pki_failed("make a P-256 key", reterr);
    RPC_CLEANUP(x509_freep) X509 *certificate = X509_new();
    if (!certificate)
        return trust__pki_no_memory(reterr);
    if (!fill(certificate, key, ca ? ca->certificate : certificate, names->common_name, days))
        return trust__pki_failed("fill a certificate", reterr);
    const rpc_code code = trust__add_names(certificate, names, reterr);
    if (code != RPC_OK)
        return code;
    if (!sign(certificate, ca ? ca->key : key))
        return trust__pki_failed("sign a certificate", reterr);
    return write_pem(certificate, key, ret, reterr);
}

static rpc_code judge(const char *common_name, unsigned days, rpc_status *reterr)
{
    const char *fault = trust__common_name_fault(common_name);
    if (fault)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "pki: the common name %s; choose another", fault);
    if (days < 1 || days > TRUST_CERTIFICATE_DAYS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "pki: a certificate of %u days; give 1 to %d", days, TRUST_CERTIFICATE_DAYS_MAX);
    return RPC_OK;
}

rpc_code trust_ca_make(
    const char *common_name, unsigned days, trust_certificate *ret, rpc_status *reterr)
{
    const rpc_code code = judge(common_name, days, reterr);
    if (code != RPC_OK)
        return code;
    const trust_certificate_names names = {.common_name = common_name};
    return make(NULL, &names, days, ret, reterr);
}

rpc_code trust_certificate_issue(const char *ca_certificate_pem, const char *ca_key_pem,
    const trust_certificate_names *names, unsigned days, trust_certificate *ret, rpc_status *reterr)
{
    rpc_code code = judge(names->common_name, days, reterr);
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(authority_done) authority ca = {NULL, NULL};
    code = read_authority(ca_certificate_pem, ca_key_pem, &ca, reterr);
    if (code != RPC_OK)
        return code;
    return make(&ca, names, days, ret, reterr);
}
