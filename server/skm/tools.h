/* SPDX-License-Identifier: Apache-2.0 */
/** The tools of skmsd; each prints its findings, a line of JSON each where json, and returns an
 * exit code. */
#ifndef SKM_TOOLS_H
#define SKM_TOOLS_H

#include "program.h"

/** --store-check; runs beside a server. */
int skm_tool_check(const char *directory, bool json);
/** After --store-backup: marks the copy as one (restore.h). */
RPC_MUST_USE rpc_code skm_tool_backed_up(const char *destination, rpc_status *reterr);

/** What the command line asks for; the input of skm_tools_argp. */
typedef struct skm_tools {
    const char *new_secret_file; /* --change-secret */
    bool after_restore;
} skm_tools;
extern const struct argp skm_tools_argp;
/** input is a skm_tools. */
bool skm_tools_asked(const void *input);
int skm_tools_run(const void *input, const host_values *values, bool json);

#endif
