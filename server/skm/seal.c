/* SPDX-License-Identifier: Apache-2.0 */
#include "seal.h"

#include <sodium.h>

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
_Static_assert(NONCE_BYTES + TAG_BYTES == SKM_SEAL_BYTES, "what sealing adds");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == SKM_VAULT_KEY_BYTES, "a key");
_Static_assert(crypto_kdf_KEYBYTES == SKM_VAULT_KEY_BYTES, "a key");
_Static_assert(crypto_pwhash_argon2id_SALTBYTES == SKM_SALT_BYTES, "a salt");

static const char vault_identity[] = "skmsd vault 1";

struct skm_vault { /* in locked memory, read-only once it is made */
    uint8_t key[SKM_VAULT_KEY_BYTES], tag_key[SKM_VAULT_KEY_BYTES];
};

static void make_ready(skm_vault *vault)
{
    crypto_kdf_derive_from_key(vault->tag_key, sizeof vault->tag_key, 1, "skmd tag", vault->key);
    sodium_mprotect_readonly(vault);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "skmsd: no locked memory for the master key; raise the limit (ulimit -l)");
}

static rpc_code no_sodium(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE, "skmsd: libsodium does not start");
}

static void seal_with(const uint8_t *key, const char *identity, rpc_bytes plain, uint8_t *ret)
{
    rpc_random(ret, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(ret + NONCE_BYTES, NULL, plain.data, plain.size,
        (const uint8_t *)identity, strlen(identity), NULL, ret, key);
}

static bool unseal_with(const uint8_t *key, const char *identity, rpc_bytes sealed, uint8_t *ret)
{
    return sealed.size >= SKM_SEAL_BYTES &&
           crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, sealed.data + NONCE_BYTES,
               sealed.size - NONCE_BYTES, (const uint8_t *)identity, strlen(identity), sealed.data,
               key) == 0;
}

/* The key that the operator's secret stands for, in locked memory. */
static rpc_code derive(
    rpc_bytes secret, const skm_vault_lock *lock, uint8_t **ret, rpc_status *reterr)
{
    if (sodium_init() < 0)
        return no_sodium(reterr);
    if (secret.size < SKM_SECRET_BYTES_MIN || secret.size > SKM_SECRET_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "the master secret has %zu bytes; %u to %u are taken", secret.size,
            SKM_SECRET_BYTES_MIN, SKM_SECRET_BYTES_MAX);
    uint8_t *key = sodium_malloc(SKM_VAULT_KEY_BYTES);
    if (!key)
        return no_memory(reterr);
    if (crypto_pwhash(key, SKM_VAULT_KEY_BYTES, (const char *)secret.data, secret.size, lock->salt,
            lock->passes, (size_t)lock->memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        sodium_free(key);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "skmsd: no memory for Argon2id (%llu bytes)", (unsigned long long)lock->memory_bytes);
    }
    *ret = key;
    return RPC_OK;
}

rpc_code skm_vault_seal_again(
    const skm_vault *vault, rpc_bytes secret, skm_vault_lock *lock, rpc_status *reterr)
{
    uint8_t *key = NULL;
    rpc_random(lock->salt, sizeof lock->salt);
    const rpc_code code = derive(secret, lock, &key, reterr);
    if (code != RPC_OK)
        return code;
    seal_with(key, vault_identity, rpc_bytes_of(vault->key, sizeof vault->key), lock->sealed_key);
    sodium_free(key);
    return RPC_OK;
}

rpc_code skm_vault_make(rpc_bytes secret, skm_vault_lock *lock, skm_vault **ret, rpc_status *reterr)
{
    if (sodium_init() < 0)
        return no_sodium(reterr);
    skm_vault *vault = sodium_malloc(sizeof *vault);
    if (!vault)
        return no_memory(reterr);
    rpc_random(vault->key, sizeof vault->key);
    make_ready(vault);
    const rpc_code code = skm_vault_seal_again(vault, secret, lock, reterr);
    if (code == RPC_OK)
        *ret = vault;
    else
        sodium_free(vault);
    return code;
}

rpc_code skm_vault_open(
    rpc_bytes secret, const skm_vault_lock *lock, skm_vault **ret, rpc_status *reterr)
{
    uint8_t *key = NULL;
    rpc_code code = derive(secret, lock, &key, reterr);
    if (code != RPC_OK)
        return code;
    skm_vault *vault = sodium_malloc(sizeof *vault);
    if (!vault)
        code = no_memory(reterr);
    else if (!unseal_with(key, vault_identity,
                 rpc_bytes_of(lock->sealed_key, sizeof lock->sealed_key), vault->key))
        code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "the master secret is not the one that this store was sealed with; give that one "
            "(master.*), or restore the store that belongs to it");
    sodium_free(key);
    if (code != RPC_OK) {
        sodium_free(vault);
        return code;
    }
    make_ready(vault);
    *ret = vault;
    return RPC_OK;
}

void skm_vault_close(skm_vault *vault)
{
    sodium_free(vault);
}

void skm_seal(const skm_vault *vault, const char *identity, rpc_bytes plain, uint8_t *ret)
{
    seal_with(vault->key, identity, plain, ret);
}

bool skm_unseal(const skm_vault *vault, const char *identity, rpc_bytes sealed, uint8_t *ret)
{
    return unseal_with(vault->key, identity, sealed, ret);
}

/* Sizes first: no two places and values are the same bytes. */
void skm_tag(const skm_vault *vault, rpc_bytes group, rpc_bytes item, rpc_bytes value,
    uint8_t ret[SKM_TAG_BYTES])
{
    crypto_generichash_state state;
    const uint64_t sizes[] = {group.size, item.size, value.size};
    crypto_generichash_init(&state, vault->tag_key, sizeof vault->tag_key, SKM_TAG_BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned byte = 0; byte < sizeof sizes[i]; byte++)
            crypto_generichash_update(&state, &(uint8_t){(uint8_t)(sizes[i] >> (8 * byte))}, 1);
    crypto_generichash_update(&state, group.data, group.size);
    crypto_generichash_update(&state, item.data, item.size);
    crypto_generichash_update(&state, value.data, value.size);
    crypto_generichash_final(&state, ret, SKM_TAG_BYTES);
    sodium_memzero(&state, sizeof state);
}
