/* SPDX-License-Identifier: Apache-2.0 */
/** The keys that sign tokens: a snapshot that SIGHUP replaces, or, where they come from the SKM-S,
 *  whatever it says. */
#ifndef SIM_KEYS_H
#define SIM_KEYS_H

#include "host.h"
#include "skmc.h"
#include "trust.h"

typedef struct sim_keys sim_keys;
/** From a private JWK set file: the active key of each algorithm signs; keys that are
 *  pre-published are published before they do. INVALID_ARGUMENT without an active EdDSA key. */
RPC_MUST_USE rpc_code sim_keys_open(const char *path, sim_keys **ret, rpc_status *reterr);
RPC_MUST_USE rpc_code sim_keys_reload(sim_keys *keys, rpc_status *reterr);
/** Of the SKM-S: none until sim_keys_take(). Nobody signs with a key that has ended: eddsa is NULL
 *  then. RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code sim_keys_of_skms(sim_keys **ret, rpc_status *reterr);
/** Takes from (NULL: none). False: no memory, and the keys are those of before. */
bool sim_keys_take(sim_keys *keys, skmc_keys *from);
void sim_keys_close(sim_keys *keys);

/** One snapshot; unref it. */
typedef struct sim_key_set {
    const trust_signer *eddsa, *rs256; /* NULL: there is none */
    const trust_keyring *ring;         /* verifies what we issued */
    const char *public_jwks;
    const skmc_keys *skms; /* they are these of the SKM-S; NULL: a file's, or none */
} sim_key_set;
const sim_key_set *sim_keys_now(sim_keys *keys);
void sim_key_set_unref(const sim_key_set *set);

#endif
