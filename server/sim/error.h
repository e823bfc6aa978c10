/* SPDX-License-Identifier: Apache-2.0 */
/** A refusal as OAuth says it (RFC 6749 4.1.2.1 and 5.2). */
#ifndef SIM_ERROR_H
#define SIM_ERROR_H

#include "base.h"

#define SIM_INVALID_REQUEST "invalid_request"
#define SIM_INVALID_CLIENT  "invalid_client"
#define SIM_INVALID_GRANT   "invalid_grant"
#define SIM_INVALID_SCOPE   "invalid_scope"
#define SIM_INVALID_TARGET  "invalid_target"                /* RFC 8707 */
#define SIM_INVALID_DETAILS "invalid_authorization_details" /* RFC 9396 */
#define SIM_UNAVAILABLE     "temporarily_unavailable"
#define SIM_SERVER_ERROR    "server_error"

/** Strings are static: nothing foreign comes back. ASCII without quotes and backslashes. */
typedef struct sim_error {
    const char *error, *description;
    unsigned status;  /* where it is an answer of its own and no redirect; 0 = 400 */
    unsigned retry_s; /* Retry-After; 0 = none */
} sim_error;

/** Always false, so that `return sim_refuse(…)` ends a check. */
static inline bool sim_refuse(sim_error *ret, const char *error, const char *description)
{
    *ret = (sim_error){.error = error, .description = description};
    return false;
}
/** The same with a status, and when to come again. */
static inline bool sim_refuse_with(
    sim_error *ret, unsigned status, const char *error, const char *description, unsigned retry_s)
{
    *ret = (sim_error){error, description, status, retry_s};
    return false;
}
/** What a store, a DACM or memory that fails becomes: nobody outside learns more. */
static inline bool sim_refuse_code(sim_error *ret, rpc_code code)
{
    if (code == RPC_UNAVAILABLE || code == RPC_RESOURCE_EXHAUSTED ||
        code == RPC_DEADLINE_EXCEEDED || code == RPC_ABORTED)
        return sim_refuse_with(ret, 503, SIM_UNAVAILABLE, "try again later", 1);
    return sim_refuse_with(ret, 500, SIM_SERVER_ERROR, "the server failed; its log says why", 0);
}

#endif
