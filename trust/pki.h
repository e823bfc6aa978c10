/* SPDX-License-Identifier: Apache-2.0 */
/** Certificates of a development PKI: one authority, and leaves for servers and clients. Keys
 *  are ECDSA P-256, which every TLS library and browser takes. Any thread; everything happens in
 *  memory, nothing is kept. */
#ifndef DACM_TRUST_PKI_H
#define DACM_TRUST_PKI_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRUST_CERTIFICATE_DAYS_MAX      3650
#define TRUST_CERTIFICATE_NAMES_MAX     64 /* of a kind */
#define TRUST_COMMON_NAME_MAX           64 /* characters (RFC 5280, ub-common-name) */
#define TRUST_CERTIFICATE_URI_BYTES_MAX 2048
#define TRUST_CERTIFICATE_PEM_BYTES_MAX (64u << 10) /* of what is read */

/** A certificate and its private key (PKCS #8, not encrypted), malloc'd and NUL-terminated. */
typedef struct trust_certificate {
    char *certificate_pem, *key_pem;
} trust_certificate;

/** Wipes the key, frees both and sets them to NULL. A zeroed certificate is allowed. */
RPC_API void trust_certificate_done(trust_certificate *certificate);

/** Whom a leaf speaks for. Names go into the certificate as they are, or are refused. */
typedef struct trust_certificate_names {
    const char *common_name; /* 1–64 characters of UTF-8 without control characters; for people */
    const char *const *dns;  /* NULL-terminated, or NULL: host names of letters, digits and `-`;
                                `*.` may stand in front of two labels or more */
    const char *const *ips;  /* NULL-terminated, or NULL: IPv4 or IPv6 addresses */
    const char *const *uris; /* NULL-terminated, or NULL: absolute URIs (RFC 3986), ≤ 2,048 bytes */
} trust_certificate_names;

/** A self-signed authority that may sign leaves and CRLs, but no further authority.
 *
 *  common_name  as in trust_certificate_names.
 *  days         1–3,650 that it is valid, from one minute ago.
 *  ret          trust_certificate_done(); untouched on failure.
 *
 *  INVALID_ARGUMENT: the name or days; RESOURCE_EXHAUSTED: memory; INTERNAL: the cryptographic
 *  library fails, and the message has its reason. */
RPC_API RPC_MUST_USE rpc_code trust_ca_make(
    const char *common_name, unsigned days, trust_certificate *ret, rpc_status *reterr);

/** A leaf for servers and clients (serverAuth, clientAuth) with a random 128-bit serial number,
 *  valid from one minute ago and never longer than the authority.
 *
 *  ca_certificate_pem, ca_key_pem  the authority; an encrypted key is refused.
 *  names                           borrowed; at most 64 of a kind.
 *  days                            1–3,650.
 *  ret                             trust_certificate_done(); untouched on failure.
 *
 *  INVALID_ARGUMENT: which name is bad and why, days, or an authority that cannot be read, is no
 *  authority or does not own the key; FAILED_PRECONDITION: the authority is not valid now;
 *  RESOURCE_EXHAUSTED: memory; INTERNAL: the cryptographic library fails, and the message has its
 *  reason. */
RPC_API RPC_MUST_USE rpc_code trust_certificate_issue(const char *ca_certificate_pem,
    const char *ca_key_pem, const trust_certificate_names *names, unsigned days,
    trust_certificate *ret, rpc_status *reterr);

#ifdef __cplusplus
}
#endif
#endif
