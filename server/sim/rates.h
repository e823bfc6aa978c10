/* SPDX-License-Identifier: Apache-2.0 */
/** How often somebody may try: buckets per name (a user, an address, a client), bounded in number;
 *  names are kept as keyed hashes. Memory only. Any thread. */
#ifndef SIM_RATES_H
#define SIM_RATES_H

#include "base.h"

typedef struct sim_rates sim_rates;
/** burst tries at once, then one each `per_ms`; at most names_max names, beyond which the one that
 *  is fullest again is forgotten. NULL when memory is short. */
RPC_MUST_USE sim_rates *sim_rates_new(
    unsigned burst, int64_t per_ms, size_t names_max, const rpc_clock *clock);
void sim_rates_free(sim_rates *rates);
/** Takes one; false: too often, and *ret_retry_s says when to come again. */
bool sim_rates_take(sim_rates *rates, rpc_bytes name, unsigned *ret_retry_s);
/** Would the next take be refused? Takes nothing. */
bool sim_rates_used_up(sim_rates *rates, rpc_bytes name, unsigned *ret_retry_s);
/** Gives one back: what was tried succeeded. */
void sim_rates_give(sim_rates *rates, rpc_bytes name);

/** What counts as one address: of IPv6 its /64, since who has one has them all. */
#define SIM_NETWORK_MAX 46u
void sim_rates_network(const char *address, char ret[SIM_NETWORK_MAX]);

#endif
