/* SPDX-License-Identifier: Apache-2.0 */
/** What dacmd reads of its configuration about issuers beyond their keys, and which SIM-Ss speak
 *  for them. */
#ifndef DACM_SIMS_H
#define DACM_SIMS_H

#include "issuers.h"

/** A SIM-S: certificates with this SAN speak for this issuer. */
typedef struct dacm_sim {
    const char *san, *issuer;
    bool full_list;
} dacm_sim;

/** As long as the snapshot. */
typedef struct dacm_sims {
    size_t count;
    dacm_sim *list;
} dacm_sims;

/** What can be judged without the key files. INVALID_ARGUMENT names the setting. */
RPC_MUST_USE rpc_code dacm_issuers_check(const host_values *settings, rpc_status *reterr);
/** issuers_load(), with dacmd's rules and SIM-Ss. */
RPC_MUST_USE rpc_code dacm_issuers_load(
    const host_values *settings, const char *audience, issuers_set **ret, rpc_status *reterr);
/** The SIM-Ss of a snapshot. */
const dacm_sims *dacm_sims_of(const issuers_set *issuers);

#endif
