/* SPDX-License-Identifier: Apache-2.0 */
/** The operator's secret, under which the store's key is sealed. */
#ifndef SKM_MASTER_H
#define SKM_MASTER_H

#include "host.h"

/** master.source by index (host_enum). */
enum { SKM_MASTER_FILE, SKM_MASTER_DESCRIPTOR, SKM_MASTER_CREDENTIAL };
extern const char *const skm_master_sources[];

/** Reads it, without a newline at its end; skm_master_done() wipes it. A descriptor can be read
 *  once. INVALID_ARGUMENT: shorter than 16 bytes or longer than 4 KiB; the errors of a file. */
RPC_MUST_USE rpc_code skm_master_read(
    const host_values *values, char **ret, size_t *ret_size, rpc_status *reterr);
/** The same from a file, whatever master.source is; setting is for the message. */
RPC_MUST_USE rpc_code skm_master_read_file(
    const char *setting, const char *path, char **ret, size_t *ret_size, rpc_status *reterr);
/** NULL is allowed. */
void skm_master_done(char *secret, size_t size);
/** As a start would, but for a descriptor, which is the server's. */
RPC_MUST_USE rpc_code skm_master_check(const host_values *values, rpc_status *reterr);

#endif
