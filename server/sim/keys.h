/* SPDX-License-Identifier: Apache-2.0 */
/** The keys that sign tokens: a snapshot that SIGHUP replaces. keys.source is file today; skmsd
 *  comes behind the same calls. */
#ifndef SIM_KEYS_H
#define SIM_KEYS_H

#include "host.h"
#include "trust.h"

typedef struct sim_keys sim_keys;
/** From a private JWK set file: the active key of each algorithm signs; keys that are
 *  pre-published are published before they do. INVALID_ARGUMENT without an active EdDSA key. */
RPC_MUST_USE rpc_code sim_keys_open(const char *path, sim_keys **ret, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_keys_reload(sim_keys *keys, rpc_status *reterr);
void sim_keys_close(sim_keys *keys);

/** One snapshot; unref it. */
typedef struct sim_key_set {
    const trust_signer *eddsa, *rs256; /* rs256 NULL: there is none */
    const trust_keyring *ring;         /* verifies what we issued */
    const char *public_jwks;
} sim_key_set;
const sim_key_set *sim_keys_now(sim_keys *keys);
void sim_key_set_unref(const sim_key_set *set);

#endif
