/* SPDX-License-Identifier: Apache-2.0 */
/** Clients' keys, read once: an Ed25519 key costs as much to read (is it a point of the prime-order
 *  group?) as an assertion under it costs to verify. Any thread. */
#ifndef SIM_CLIENT_KEYS_H
#define SIM_CLIENT_KEYS_H

#include "state.h"
#include "trust.h"

typedef struct sim_client_keys sim_client_keys;

/** NULL: memory is short. */
sim_client_keys *sim_client_keys_new(void);
/** NULL is allowed. */
void sim_client_keys_free(sim_client_keys *keys);
/** The keys that client's registration has by now; trust_keyring_unref() *ret. Errors:
 *  trust_keyring_parse_published()'s. */
RPC_MUST_USE rpc_code sim_client_keys_of(
    sim_client_keys *keys, const sim_client *client, trust_keyring **ret, rpc_status *reterr);

#endif
