/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of librpc as settings: the table is HOST_RPC_LIMITS in host.h. */
#include "host.h"

#include <string.h>

/* 0 in a file: for ever. */
static int64_t time_limit(int64_t value)
{
    return value == 0 ? RPC_NO_TIMEOUT : value;
}

static bool is_time_out(const char *name)
{
    return strcmp(name, "limits.idle_ms") == 0 || strncmp(name, "limits.stream_", 14) == 0;
}

#define READ(member, name, unit, min, max, fallback, description)                                  \
    limits.member = (__typeof__(limits.member))(is_time_out(name)                                  \
                                                    ? time_limit(host_int(values, name))           \
                                                    : host_int(values, name));

rpc_limits host_rpc_limits(const host_values *values)
{
    rpc_limits limits = rpc_limits_default();
    HOST_RPC_LIMITS(READ)
    return limits;
}
