/* SPDX-License-Identifier: Apache-2.0 */
/* A set as the store has it, and its end. */
#include "state_internal.h"

#include <stdlib.h>

size_t skm__lives(const skm__set *set, skm_key_life ret[SKM_LIFE_KEYS_MAX])
{
    for (size_t i = 0; i < set->count; i++)
        ret[i] = set->keys[i]->life;
    return set->count;
}

void skm__key_free(skm__key *key)
{
    if (!key)
        return;
    trust_signer_free(atomic_load(&key->signer));
    free(key);
}

void skm_keyset_unref(skm_keyset *set)
{
    if (!set || atomic_fetch_sub(&set->refs, 1) != 1)
        return;
    free(set->jws);
    free(set->jwks);
    free(set);
}

void skm__set_free(skm__set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        skm__key_free(set->keys[i]);
    skm_keyset_unref(set->published);
    free(set);
}

typedef struct loading {
    const skm_state *state;
    skm__set *set;
    rpc_arena *arena;
    rpc_status status;
} loading;

static rpc_code damaged(const skm__set *set, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "a record of the %s' keys of '%s' is damaged; run skmsd --store-check, or restore a backup "
        "of the store",
        skm_purpose_name(set->purpose), set->service->name);
}

static rpc_code take_set(loading *l, const Skm__Records__KeySet *record)
{
    skm__set *set = l->set;
    if (record->version == 0 || record->published_sha256.len != sizeof set->published_sha256)
        return damaged(set, &l->status);
    set->version = record->version;
    memcpy(set->published_sha256, record->published_sha256.data, sizeof set->published_sha256);
    return RPC_OK;
}

static rpc_code take_key(loading *l, const Skm__Records__Key *record)
{
    skm__set *set = l->set;
    skm__key *key = calloc(1, sizeof *key);
    if (!key)
        return skm__no_memory(&l->status);
    if (set->count == SKM_LIFE_KEYS_MAX || record->public_key.len != sizeof key->public_key ||
        (record->sealed_seed.len && record->sealed_seed.len != sizeof key->sealed_seed) ||
        !rpc_text_copy(key->kid, sizeof key->kid, record->kid) ||
        !rpc_text_copy(key->reason, sizeof key->reason, record->reason)) {
        free(key);
        return damaged(set, &l->status);
    }
    memcpy(key->public_key, record->public_key.data, sizeof key->public_key);
    key->has_seed = record->sealed_seed.len != 0;
    if (key->has_seed)
        memcpy(key->sealed_seed, record->sealed_seed.data, sizeof key->sealed_seed);
    key->life = (skm_key_life){.created_at = record->created_at,
        .signs_from = record->signs_from,
        .signs_until = record->signs_until,
        .revoked_at = record->revoked_at};
    set->keys[set->count++] = key;
    return RPC_OK;
}

static bool take(void *ctx, const store_entry *entry)
{
    loading *l = ctx;
    ProtobufCMessage *record = NULL;
    const bool main_record = entry->item.size == 0;
    rpc_arena_reset(l->arena);
    rpc_code code = skm__unpack(l->state, entry,
        main_record ? &skm__records__key_set__descriptor : &skm__records__key__descriptor, l->arena,
        &record, &l->status);
    if (code == RPC_OK)
        code = main_record ? take_set(l, (const Skm__Records__KeySet *)record)
                           : take_key(l, (const Skm__Records__Key *)record);
    return code == RPC_OK;
}

bool skm__key_before(
    const skm_key_life *a_life, const skm__key *a, const skm_key_life *b_life, const skm__key *b)
{
    if (a_life->signs_from != b_life->signs_from)
        return a_life->signs_from < b_life->signs_from;
    return strcmp(a->kid, b->kid) < 0;
}

void skm__set_sort(skm__set *set)
{
    for (size_t i = 1; i < set->count; i++) {
        skm__key *key = set->keys[i];
        size_t at = i;
        for (; at > 0 &&
               skm__key_before(&key->life, key, &set->keys[at - 1]->life, set->keys[at - 1]);
             at--)
            set->keys[at] = set->keys[at - 1];
        set->keys[at] = key;
    }
}

static rpc_code load(skm_state *state, skm__set *set, rpc_status *reterr)
{
    loading l = {.state = state, .set = set, .arena = rpc_arena_new(SKM__RECORD_ARENA)};
    const store_scan_request request = {.group = host_key_bytes(&set->group)};
    store_wait wait;
    if (!l.arena)
        return skm__no_memory(reterr);
    rpc_code code = store_walk(state->db, &request, take, &l, reterr);
    if (code == RPC_OK && l.status.code != RPC_OK)
        code = rpc_status_text(reterr, l.status.code, l.status.message);
    rpc_arena_free(l.arena);
    if (code != RPC_OK)
        return code;
    store_op *op = store_wait_begin(&wait);
    code = store_wait_end(&wait, store_generation(state->db, host_key_bytes(&set->group), op));
    set->generation = wait.op.generation;
    if (code != RPC_OK)
        *reterr = wait.op.status;
    else if (set->count > 0 && set->version == 0)
        code = damaged(set, reterr);
    skm__set_sort(set);
    return code;
}

rpc_code skm__set_load(
    skm_state *state, skm__service *service, skm_purpose purpose, rpc_status *reterr)
{
    skm__set *set = service->sets[purpose] = calloc(1, sizeof *set);
    if (!set)
        return skm__no_memory(reterr);
    set->service = service;
    set->purpose = purpose;
    set->group = skm__key_of_set(service->name, purpose);
    return load(state, set, reterr);
}
