/* SPDX-License-Identifier: Apache-2.0 */
/** --store-check, --store-backup, --store-stat and --audit-verify: they run beside a server that
 *  has the store open. Each prints its findings, a line of JSON each where json, and returns an
 * exit code. */
#ifndef DACM_TOOLS_H
#define DACM_TOOLS_H

#include <stdbool.h>

/** 0: consistent; 1: faults were found, or the check could not be made. */
int dacm_tool_check(const char *directory, bool json);
int dacm_tool_backup(const char *directory, const char *destination, bool json);
int dacm_tool_stat(const char *directory, bool json);

/** Follows the chain of the audit trail and prints its head; 1: it breaks, and where. */
int dacm_tool_audit(const char *directory, bool json);

#endif
