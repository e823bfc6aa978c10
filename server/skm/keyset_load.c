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

static rpc_code damaged(const skm__set *set, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "a record of the %s' keys of '%s' is damaged; run skmsd --store-check, or restore a backup "
        "of the store",
        skm_purpose_name(set->purpose), set->service->name);
}

static rpc_code take_set(skm__set *set, const Skm__Records__KeySet *record, rpc_status *reterr)
{
    if (record->version == 0 || record->published_sha256.len != sizeof set->published_sha256)
        return damaged(set, reterr);
    set->version = record->version;
    memcpy(set->published_sha256, record->published_sha256.data, sizeof set->published_sha256);
    return RPC_OK;
}

static rpc_code take_key(skm__set *set, const Skm__Records__Key *record, rpc_status *reterr)
{
    skm__key *key = calloc(1, sizeof *key);
    if (!key)
        return skm__no_memory(reterr);
    if (set->count == SKM_LIFE_KEYS_MAX || record->public_key.len != sizeof key->public_key ||
        (record->sealed_seed.len && record->sealed_seed.len != sizeof key->sealed_seed) ||
        !rpc_text_copy(key->kid, sizeof key->kid, record->kid) ||
        !rpc_text_copy(key->reason, sizeof key->reason, record->reason)) {
        free(key);
        return damaged(set, reterr);
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

static rpc_code take(
    void *ctx, const store_entry *entry, const ProtobufCMessage *record, rpc_status *reterr)
{
    return entry->item.size == 0 ? take_set(ctx, (const Skm__Records__KeySet *)record, reterr)
                                 : take_key(ctx, (const Skm__Records__Key *)record, reterr);
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
    const rpc_bytes group = host_key_bytes(&set->group);
    const skm__loading records = {.request = {.group = group},
        .main = &skm__records__key_set__descriptor,
        .others = &skm__records__key__descriptor,
        .take = take,
        .ctx = set};
    rpc_code code = skm__load(state, &records, reterr);
    if (code == RPC_OK)
        code = skm__generation(state, group, &set->generation, reterr);
    if (code == RPC_OK && set->count > 0 && set->version == 0)
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
