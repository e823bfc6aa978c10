/* SPDX-License-Identifier: Apache-2.0 */
/** --store-check: runs beside a server that has the store open. Prints its findings, a line of JSON
 *  each where json, and returns an exit code. */
#ifndef SKM_TOOLS_H
#define SKM_TOOLS_H

#include <stdbool.h>

/** 0: consistent; 1: faults were found, or the check could not be made. */
int skm_tool_check(const char *directory, bool json);

#endif
