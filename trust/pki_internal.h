/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the development PKI share. */
#ifndef DACM_TRUST_PKI_INTERNAL_H
#define DACM_TRUST_PKI_INTERNAL_H

#include "pki.h"

#include <openssl/x509v3.h>

/** NULL when name is a common name, otherwise what is wrong with it: "is empty". */
const char *trust__common_name_fault(const char *name);
/** Adds subjectAltName, or nothing where there is no name. INVALID_ARGUMENT names the bad one. */
rpc_code trust__add_names(
    X509 *certificate, const trust_certificate_names *names, rpc_status *reterr);

rpc_code trust__pki_no_memory(rpc_status *reterr);
/** INTERNAL with OpenSSL's reason; empties its queue of errors. what: "make a key". */
rpc_code trust__pki_failed(const char *what, rpc_status *reterr);

#endif
