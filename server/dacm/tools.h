/* SPDX-License-Identifier: Apache-2.0 */
/** --store-check: runs beside a server that has the store open. Prints its findings, a line of JSON
 *  each where json, and returns an exit code. */
#ifndef DACM_TOOLS_H
#define DACM_TOOLS_H

#include "base.h"

#include <stdbool.h>

/** 0: consistent; 1: faults were found, or the check could not be made. */
int dacm_tool_check(const char *directory, bool json);
/** Of a copy that --store-backup made: DATA_LOSS when the disk had damaged what it was made of. */
RPC_MUST_USE rpc_code dacm_tool_backed_up(const char *destination, rpc_status *reterr);

#endif
