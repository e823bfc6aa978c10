/* SPDX-License-Identifier: Apache-2.0 */
/** --store-backup, --store-stat and --audit-verify: they run beside a server that has the store
 *  open. Each prints its findings, a line of JSON each where json, and returns an exit code. */
#ifndef SERVER_PROGRAM_TOOLS_H
#define SERVER_PROGRAM_TOOLS_H

#include "program.h"

int program__tool_backup(
    const program *p, const char *directory, const char *destination, bool json);
int program__tool_stat(const char *name, const char *directory, bool json);
/** Follows the chain of the audit trail and prints its head; 1: it breaks, and where. */
int program__tool_audit(const char *name, const char *directory, bool json);

#endif
