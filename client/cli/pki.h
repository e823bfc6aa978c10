/* SPDX-License-Identifier: Apache-2.0 */
/** Files of a development PKI: what pki, token and dev share. Existing files are kept. */
#ifndef DACM_CLI_PKI_H
#define DACM_CLI_PKI_H

#include "cli.h"

typedef struct pki_names {
    const char *common_name;
    const char *const *dns;  /* NULL-terminated; may be NULL */
    const char *const *ips;  /* NULL-terminated; may be NULL */
    const char *const *uris; /* NULL-terminated; may be NULL */
} pki_names;

/** DIR/ca.crt and DIR/ca.key (0600); nothing happens when both are there. */
dacm_code pki_make_ca(const char *folder, const char *name, dacm_error *reterr);
/** DIR/NAME.crt and DIR/NAME.key (0600), signed by DIR/ca.key; both server and client. */
dacm_code pki_issue(
    const char *folder, const char *name, const pki_names *names, dacm_error *reterr);
typedef enum pki_key_purpose {
    PKI_KEY_TOKEN,
    PKI_KEY_MANIFEST,
    PKI_KEY_CLIENT,
    PKI_KEY_AUDIT
} pki_key_purpose;
/** DIR/NAME.jwks (private, 0600) and DIR/NAME.pub.jwks. */
dacm_code pki_make_keys(
    const char *folder, const char *name, pki_key_purpose purpose, dacm_error *reterr);
/** A folder and those above it, mode 0700. LOCAL_FILE also for one that is there and that others
 *  could put files into: keys will lie in it. */
dacm_code pki_make_folder(const char *folder, dacm_error *reterr);
/** May pki_write_file() take its place? LOCAL_FILE of a folder, a device, a pipe. */
dacm_code pki_check_output(const char *path, dacm_error *reterr);
/** mode 0600 or 0644; beside and renamed. */
dacm_code pki_write_file(
    const char *path, unsigned mode, const void *data, size_t size, dacm_error *reterr);
/** printf into a malloc'd string; NULL when memory is short. */
char *pki_text(const char *format, ...) RPC_PRINTF(1, 2);
dacm_code pki_fail(dacm_error *error, dacm_code code, const char *format, ...) RPC_PRINTF(3, 4);

#endif
