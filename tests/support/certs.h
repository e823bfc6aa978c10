/* SPDX-License-Identifier: Apache-2.0 */
/** Certificates made in memory for tests, by the OpenSSL library. */
#ifndef DACM_TEST_CERTS_H
#define DACM_TEST_CERTS_H

#include <stddef.h>

/** An Ed25519 key and its certificate as PEM; freed with test_cert_free(). */
typedef struct test_cert {
    char *cert_pem, *key_pem;
    void *cert, *key; /* X509 *, EVP_PKEY * */
} test_cert;

/** A CA of its own. */
test_cert test_ca(const char *name);
/** A CA that another one has signed. */
test_cert test_intermediate(const test_cert *ca, const char *name);
/** san: as in openssl.cnf, "DNS:localhost,IP:127.0.0.1,URI:https://x"; NULL = none.
 *  valid_from, valid_to: seconds from now. */
test_cert test_cert_issue(
    const test_cert *ca, const char *name, const char *san, long valid_from, long valid_to);
void test_cert_free(test_cert *cert);
/** The CA's revocation list (PEM, free()) with cert in it, unless that is NULL; good from and to,
 *  seconds from now. */
char *test_crl(const test_cert *ca, const test_cert *cert, long from, long to);

#endif
