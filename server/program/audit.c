/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

const char *const program_durabilities[] = {"process", "power", NULL};

rpc_code program_audit_open(const host_values *values, const rpc_clock *clock, host_log *log,
    trust_audit **ret, rpc_status *reterr)
{
    const trust_audit_options options = {
        .directory = host_string(values, "audit.directory"),
        .power = host_enum(values, "audit.durability") == 1,
        .segment_bytes_max = (uint64_t)host_int(values, "audit.segment_bytes_max"),
        .waiting_bytes_max = (size_t)host_int(values, "audit.waiting_bytes_max"),
        .stuck_ms = (unsigned)host_int(values, "audit.stuck_ms"),
        .clock = clock,
    };
    const rpc_code code = trust_audit_open(&options, ret, reterr);
    if (code == RPC_OK && trust_audit_torn_bytes(*ret) > 0)
        HOST_LOG(log, HOST_WARNING, "audit: a record torn by a crash was cut off",
            host_number("bytes", (int64_t)trust_audit_torn_bytes(*ret)));
    return code;
}
