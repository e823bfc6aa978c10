/* SPDX-License-Identifier: Apache-2.0 */
/** What stands in the store so that only this server reads it. A vault holds one random key, in
 *  locked memory; the store has it sealed under the operator's secret (Argon2id), so that a new
 *  secret seals one record again and not all. Everything else is sealed under the vault's key with
 *  XChaCha20-Poly1305 and bound to an identity: a record that is moved to another place does not
 *  open there. What is no secret is tagged: who can write the store, or a copy that is restored,
 *  and has not the secret can put nothing of his own there. */
#ifndef SKM_SEAL_H
#define SKM_SEAL_H

#include "base.h"

#define SKM_SEAL_BYTES       40u /* that sealing adds: nonce and tag */
#define SKM_TAG_BYTES        32u
#define SKM_SALT_BYTES       16u
#define SKM_VAULT_KEY_BYTES  32u
#define SKM_SECRET_BYTES_MIN 16u
#define SKM_SECRET_BYTES_MAX 4096u

typedef struct skm_vault skm_vault;

/** How a vault is opened; no secret. */
typedef struct skm_vault_lock {
    uint8_t salt[SKM_SALT_BYTES];
    uint64_t passes, memory_bytes; /* of Argon2id */
    uint8_t sealed_key[SKM_VAULT_KEY_BYTES + SKM_SEAL_BYTES];
} skm_vault_lock;

/** A new vault; lock->passes and memory_bytes are given (libsodium: at least 1 and 8 KiB), the rest
 *  is made. Takes as long as Argon2id does. INVALID_ARGUMENT: the secret is shorter than 16 bytes;
 *  RESOURCE_EXHAUSTED: memory, locked memory. */
RPC_MUST_USE rpc_code skm_vault_make(
    rpc_bytes secret, skm_vault_lock *lock, skm_vault **ret, rpc_status *reterr);
/** FAILED_PRECONDITION: it is not the secret that the lock was made with. */
RPC_MUST_USE rpc_code skm_vault_open(
    rpc_bytes secret, const skm_vault_lock *lock, skm_vault **ret, rpc_status *reterr);
/** The lock of the same vault for another secret, as skm_vault_make() makes it. */
RPC_MUST_USE rpc_code skm_vault_seal_again(
    const skm_vault *vault, rpc_bytes secret, skm_vault_lock *lock, rpc_status *reterr);
/** Wipes it. NULL is allowed. */
void skm_vault_close(skm_vault *vault);

/** ret has plain.size + SKM_SEAL_BYTES bytes. Any thread. */
void skm_seal(const skm_vault *vault, const char *identity, rpc_bytes plain, uint8_t *ret);
/** ret has sealed.size - SKM_SEAL_BYTES bytes. False: sealed by another vault or for another
 *  identity, or damaged; ret holds nothing then. Any thread. */
bool skm_unseal(const skm_vault *vault, const char *identity, rpc_bytes sealed, uint8_t *ret);

/** What shows that who has the vault wrote value there: BLAKE2b under a key that is made of the
 *  vault's, over place and value. Any thread. */
void skm_tag(const skm_vault *vault, rpc_bytes group, rpc_bytes item, rpc_bytes value,
    uint8_t ret[SKM_TAG_BYTES]);

#endif
