/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation lists of clients' authorities. GnuTLS' own look takes a certificate whose authority
 * has no list, and drops a list whose time is over; here, as in librpc, neither is enough: what
 * nobody has said of a certificate is not good news. The certificate itself is looked at, not those
 * of the authorities above it. */
#include "http_internal.h"

#include "cleanup.h"

#include <gnutls/x509.h>
#include <stdlib.h>

#define FIRST_ERROR 1 /* of gnutls_x509_crl_list_import2(): no part of a file is taken */

struct https_crls {
    gnutls_x509_crl_t *lists;
    unsigned count;
};

typedef struct authorities {
    gnutls_x509_crt_t *list;
    unsigned count;
} authorities;

static void authorities_done(authorities *held)
{
    for (unsigned i = 0; i < held->count; i++)
        gnutls_x509_crt_deinit(held->list[i]);
    gnutls_free(held->list);
}

void https__crls_free(https_crls *crls)
{
    if (!crls)
        return;
    for (unsigned i = 0; i < crls->count; i++)
        gnutls_x509_crl_deinit(crls->lists[i]);
    gnutls_free(crls->lists);
    free(crls);
}

static gnutls_datum_t datum_of(rpc_bytes bytes)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)bytes.data, (unsigned)bytes.size};
}

/* Its time is looked at with each request: in GnuTLS 3.7 the flag against that does not work. */
static bool signed_by(const authorities *from, gnutls_x509_crl_t list)
{
    const unsigned time = GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED |
                          GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
    unsigned wrong = 0;
    if (gnutls_x509_crl_verify(list, from->list, from->count, 0, &wrong) != 0)
        return false;
    return wrong == 0 || ((wrong & time) && (wrong & ~(time | GNUTLS_CERT_INVALID)) == 0);
}

/* What is wrong, or NULL. */
static const char *read_lists(https_crls *crls, rpc_bytes lists_pem, rpc_bytes authorities_pem)
{
    RPC_CLEANUP(authorities_done) authorities from = {NULL, 0};
    gnutls_datum_t text = datum_of(authorities_pem);
    int result = gnutls_x509_crt_list_import2(
        &from.list, &from.count, &text, GNUTLS_X509_FMT_PEM, 0);
    if (result < 0)
        return gnutls_strerror(result);
    text = datum_of(lists_pem);
    result = gnutls_x509_crl_list_import2(
        &crls->lists, &crls->count, &text, GNUTLS_X509_FMT_PEM, FIRST_ERROR);
    if (result < 0)
        return gnutls_strerror(result);
    if (crls->count == 0)
        return "no list is in it";
    for (unsigned i = 0; i < crls->count; i++)
        if (!signed_by(&from, crls->lists[i]))
            return "a list in it is of no authority that the client CA file has";
    return NULL;
}

rpc_code https__crls_read(const char *path, rpc_bytes lists_pem, rpc_bytes authorities_pem,
    https_crls **ret, rpc_status *reterr)
{
    https_crls *made = calloc(1, sizeof *made);
    if (!made)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "https: no memory for revocation lists");
    const char *wrong = read_lists(made, lists_pem, authorities_pem);
    if (!wrong) {
        *ret = made;
        return RPC_OK;
    }
    https__crls_free(made);
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "https: revocation list '%.200s' is not taken: %s; it must be PEM, of the authorities in "
        "the client CA file",
        path, wrong);
}

static bool same_issuer(gnutls_x509_crl_t list, gnutls_x509_crt_t certificate)
{
    gnutls_datum_t of_list = {NULL, 0}, of_certificate = {NULL, 0};
    const bool same = gnutls_x509_crl_get_raw_issuer_dn(list, &of_list) == 0 &&
                      gnutls_x509_crt_get_raw_issuer_dn(certificate, &of_certificate) == 0 &&
                      rpc_bytes_equal(rpc_bytes_of(of_list.data, of_list.size),
                          rpc_bytes_of(of_certificate.data, of_certificate.size));
    gnutls_free(of_list.data);
    gnutls_free(of_certificate.data);
    return same;
}

const char *https__crls_judge(
    const https_crls *crls, gnutls_x509_crt_t certificate, int64_t now_ms, int64_t *ret_until_ms)
{
    *ret_until_ms = INT64_MIN;
    for (unsigned i = 0; i < crls->count; i++) {
        gnutls_x509_crl_t list = crls->lists[i];
        if (!same_issuer(list, certificate))
            continue;
        if (gnutls_x509_crt_check_revocation(certificate, &list, 1) != 0)
            return "the client's certificate was revoked";
        const int64_t from_ms = (int64_t)gnutls_x509_crl_get_this_update(list) * 1000;
        const time_t next = gnutls_x509_crl_get_next_update(list);
        const int64_t until_ms = next == (time_t)-1 ? INT64_MAX : (int64_t)next * 1000;
        if (from_ms <= now_ms && until_ms > *ret_until_ms)
            *ret_until_ms = until_ms;
    }
    return *ret_until_ms > now_ms
               ? NULL
               : "there is no revocation list of now for the client's certificate";
}
