/* SPDX-License-Identifier: Apache-2.0 */
/* The record under which the store's key is sealed: read at the start, made for a new store,
 * written anew for another secret. */
#include "state_internal.h"

const rpc_bytes skm__vault_group = {(const uint8_t *)"h", 1};

static rpc_code write_lock(
    skm_state *state, skm_vault_lock *lock, uint64_t generation, rpc_status *reterr)
{
    skm__changes changes = {0};
    Skm__Records__Master record = SKM__RECORDS__MASTER__INIT;
    record.salt = (ProtobufCBinaryData){sizeof lock->salt, lock->salt};
    record.passes = lock->passes;
    record.memory_bytes = lock->memory_bytes;
    record.sealed_key = (ProtobufCBinaryData){sizeof lock->sealed_key, lock->sealed_key};
    skm__put(&changes, NULL, &record.base);
    const rpc_code code = skm__write(state, skm__vault_group, &changes, &generation, reterr);
    skm__changes_done(&changes);
    return code;
}

/* *ret_found false: the store is new. */
static rpc_code read_lock(skm_state *state, skm_vault_lock *ret, bool *ret_found,
    uint64_t *ret_generation, rpc_status *reterr)
{
    ProtobufCMessage *message = NULL;
    rpc_arena *arena = rpc_arena_new(SKM__RECORD_ARENA);
    if (!arena)
        return skm__no_memory(reterr);
    rpc_code code = skm__read(state, skm__vault_group, skm__main, &skm__records__master__descriptor,
        arena, &message, ret_generation, reterr);
    const Skm__Records__Master *record = (const Skm__Records__Master *)message;
    *ret_found = code == RPC_OK && record;
    if (*ret_found &&
        (record->salt.len != sizeof ret->salt || record->sealed_key.len != sizeof ret->sealed_key))
        code = rpc_status_set(reterr, RPC_DATA_LOSS,
            "the record of the master key is damaged; restore a backup of the store");
    else if (*ret_found) {
        ret->passes = record->passes;
        ret->memory_bytes = record->memory_bytes;
        memcpy(ret->salt, record->salt.data, sizeof ret->salt);
        memcpy(ret->sealed_key, record->sealed_key.data, sizeof ret->sealed_key);
    }
    rpc_arena_free(arena);
    return code;
}

rpc_code skm__vault_open(skm_state *state, const skm_state_options *options, rpc_status *reterr)
{
    skm_vault_lock lock = {.passes = options->passes, .memory_bytes = options->memory_bytes};
    bool found = false;
    uint64_t generation = 0;
    rpc_code code = read_lock(state, &lock, &found, &generation, reterr);
    if (code != RPC_OK)
        return code;
    if (found)
        return skm_vault_open(options->secret, &lock, &state->vault, reterr);
    code = skm_vault_make(options->secret, &lock, &state->vault, reterr);
    return code == RPC_OK ? write_lock(state, &lock, generation, reterr) : code;
}

/* ---- another secret -----------------------------------------------------------------------------
 */

/* Which of the two opens it; *ret is the vault when it is the old one. */
static rpc_code try_both(const skm_secret_change *change, const skm_vault_lock *lock,
    skm_vault **ret, bool *ret_already, rpc_status *reterr)
{
    rpc_status why;
    rpc_code code = skm_vault_open(change->secret, lock, ret, reterr);
    if (code != RPC_FAILED_PRECONDITION)
        return code;
    skm_vault *vault = NULL;
    code = skm_vault_open(change->new_secret, lock, &vault, &why);
    skm_vault_close(vault);
    *ret_already = code == RPC_OK;
    return code == RPC_OK || code == RPC_FAILED_PRECONDITION
               ? code
               : rpc_status_text(reterr, code, why.message);
}

rpc_code skm_secret_replace(
    store *db, const skm_secret_change *change, bool *ret_already, rpc_status *reterr)
{
    skm_state state = {.db = db};
    skm_vault_lock lock = {.passes = 0};
    skm_vault *vault = NULL;
    bool found = false;
    uint64_t generation = 0;
    rpc_code code = read_lock(&state, &lock, &found, &generation, reterr);
    if (code != RPC_OK)
        return code;
    if (!found)
        return rpc_status_set(reterr, RPC_NOT_FOUND,
            "the store is empty: nothing in it is sealed; the first start takes any secret");
    *ret_already = false;
    code = try_both(change, &lock, &vault, ret_already, reterr);
    if (code != RPC_OK || *ret_already)
        return code;
    lock.passes = change->passes;
    lock.memory_bytes = change->memory_bytes;
    code = skm_vault_seal_again(vault, change->new_secret, &lock, reterr);
    skm_vault_close(vault);
    return code == RPC_OK ? write_lock(&state, &lock, generation, reterr) : code;
}
