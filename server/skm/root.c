/* SPDX-License-Identifier: Apache-2.0 */
/* The root that signs key sets. Verifiers pin it, and follow it from one to the next by statements,
 * of which all are kept: whoever pinned the first still gets to the last. */
#include "state_internal.h"

#include "cleanup.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

#define GROUP          "r"
#define SEQUENCE_BYTES 8u
#define ROOTS_MAX      1000u

static host_key item_of(uint64_t sequence)
{
    host_key item = {.size = SEQUENCE_BYTES};
    for (unsigned i = 0; i < SEQUENCE_BYTES; i++)
        item.data[i] = (uint8_t)(sequence >> (56 - 8 * i));
    return item;
}

static void identity_of(uint64_t sequence, char ret[SKM__IDENTITY_MAX])
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)sequence);
    skm__identity("root", "", 0, number, ret);
}

void skm__root_done(skm__root *root)
{
    trust_signer_free(root->signer);
    free(root->jwk);
    for (uint64_t i = 0; root->statements && i + 1 < root->sequence; i++)
        free(root->statements[i]);
    free(root->statements);
    free(root->points);
    *root = (skm__root){0};
}

bool skm__root_was(const skm__root *root, const trust_signer *signer)
{
    for (uint64_t i = 0; i < root->sequence; i++)
        if (memcmp(root->points[i], trust_signer_ed25519(signer), sizeof root->points[i]) == 0)
            return true;
    return false;
}

/* Without any statement or point yet. */
static rpc_code make_room(skm__root *root, uint64_t sequence, rpc_status *reterr)
{
    root->sequence = sequence;
    root->statements = calloc(sequence, sizeof *root->statements);
    root->points = calloc(sequence, sizeof *root->points);
    return root->statements && root->points ? RPC_OK : skm__no_memory(reterr);
}

/* The public half alone, as one JWK that says whose root it is. */
static char *jwk_of(const skm_state *state, const trust_signer *signer)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(signer);
    json_t *set = jwks ? json_loads(jwks, 0, NULL) : NULL;
    json_t *jwk = json_array_get(json_object_get(set, "keys"), 0);
    char *text = jwk && json_object_set_new(jwk, "dacm_issuer", json_string(state->issuer)) == 0
                     ? json_dumps(jwk, JSON_COMPACT)
                     : NULL;
    json_decref(set);
    return text;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static rpc_code damaged(uint64_t sequence, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "root %llu of key sets cannot be read; restore a backup of the store",
        (unsigned long long)sequence);
}

static rpc_code unseal_root(
    skm_state *state, const Skm__Records__Root *record, skm__root *root, rpc_status *reterr)
{
    char identity[SKM__IDENTITY_MAX];
    identity_of(root->sequence, identity);
    if (record->sealed_seed.len != SKM__SEED_BYTES + SKM_SEAL_BYTES)
        return damaged(root->sequence, reterr);
    uint8_t *seed = skm_locked_malloc(SKM__SEED_BYTES, state->allow_unlocked);
    if (!seed)
        return skm__no_memory(reterr);
    rpc_code code = RPC_OK;
    if (skm_unseal(state->vault, identity,
            rpc_bytes_of(record->sealed_seed.data, record->sealed_seed.len), seed))
        code = trust_signer_from_seed(seed, TRUST_FOR_KEY_SETS, &root->signer, reterr);
    else
        code = damaged(root->sequence, reterr);
    sodium_free(seed);
    if (code == RPC_OK && !(root->jwk = jwk_of(state, root->signer)))
        code = skm__no_memory(reterr);
    return code;
}

static rpc_code read_root(
    skm_state *state, skm__root *root, uint64_t sequence, rpc_arena *arena, rpc_status *reterr)
{
    ProtobufCMessage *message = NULL;
    const host_key item = item_of(sequence);
    rpc_code code = skm__read(state, rpc_bytes_str(GROUP), host_key_bytes(&item),
        &skm__records__root__descriptor, arena, &message, NULL, reterr);
    if (code != RPC_OK)
        return code;
    const Skm__Records__Root *record = (const Skm__Records__Root *)message;
    if (!record || record->sequence != sequence ||
        (sequence > 1) == (record->statement[0] == '\0') ||
        record->public_key.len != sizeof root->points[0])
        return damaged(sequence, reterr);
    memcpy(root->points[sequence - 1], record->public_key.data, sizeof root->points[0]);
    if (sequence > 1 && !(root->statements[sequence - 2] = strdup(record->statement)))
        return skm__no_memory(reterr);
    return sequence == root->sequence ? unseal_root(state, record, root, reterr) : RPC_OK;
}

static rpc_code read_roots(
    skm_state *state, skm__root *root, uint64_t sequence, rpc_arena *arena, rpc_status *reterr)
{
    if (sequence == 0 || sequence > ROOTS_MAX)
        return damaged(sequence, reterr);
    rpc_code code = make_room(root, sequence, reterr);
    for (uint64_t i = 1; code == RPC_OK && i <= sequence; i++)
        code = read_root(state, root, i, arena, reterr);
    return code;
}

/* ---- making -------------------------------------------------------------------------------------
 */

/* The key, its public JWK and its record; the statement is the caller's. */
static rpc_code make_root(
    const skm_state *state, uint64_t sequence, skm__root *root, rpc_status *reterr)
{
    rpc_code code = make_room(root, sequence, reterr);
    if (code == RPC_OK)
        code = trust_signer_generate(TRUST_FOR_KEY_SETS, &root->signer, reterr);
    if (code != RPC_OK)
        return code;
    memcpy(root->points[sequence - 1], trust_signer_ed25519(root->signer), sizeof root->points[0]);
    root->jwk = jwk_of(state, root->signer);
    return root->jwk ? RPC_OK : skm__no_memory(reterr);
}

static rpc_code write_root(
    skm_state *state, skm__root *root, const Skm__Records__Root *old, rpc_status *reterr)
{
    char identity[SKM__IDENTITY_MAX];
    uint8_t sealed[SKM__SEED_BYTES + SKM_SEAL_BYTES], public_key[32];
    skm__changes changes = {0};
    Skm__Records__Roots roots = SKM__RECORDS__ROOTS__INIT;
    Skm__Records__Root record = SKM__RECORDS__ROOT__INIT;
    const host_key item = item_of(root->sequence), old_item = item_of(root->sequence - 1);
    identity_of(root->sequence, identity);
    skm_seal(state->vault, identity, rpc_bytes_of(trust_signer_seed(root->signer), SKM__SEED_BYTES),
        sealed);
    memcpy(public_key, trust_signer_ed25519(root->signer), sizeof public_key);
    roots.sequence = record.sequence = root->sequence;
    record.created_at = skm__now_s(state);
    record.public_key = (ProtobufCBinaryData){sizeof public_key, public_key};
    record.sealed_seed = (ProtobufCBinaryData){sizeof sealed, sealed};
    if (root->sequence > 1)
        record.statement = root->statements[root->sequence - 2];
    skm__put(&changes, NULL, &roots.base);
    skm__put(&changes, &item, &record.base);
    if (old)
        skm__put(&changes, &old_item, &old->base);
    const rpc_code code = skm__write(
        state, rpc_bytes_str(GROUP), &changes, &root->generation, reterr);
    skm__changes_done(&changes);
    return code;
}

rpc_code skm__root_open(skm_state *state, rpc_status *reterr)
{
    ProtobufCMessage *message = NULL;
    rpc_arena *arena = rpc_arena_new(SKM__RECORD_ARENA * 4);
    if (!arena)
        return skm__no_memory(reterr);
    skm__root *root = &state->root;
    rpc_code code = skm__read(state, rpc_bytes_str(GROUP), skm__main,
        &skm__records__roots__descriptor, arena, &message, &root->generation, reterr);
    if (code == RPC_OK && message)
        code = read_roots(
            state, root, ((const Skm__Records__Roots *)message)->sequence, arena, reterr);
    else if (code == RPC_OK && (code = make_root(state, 1, root, reterr)) == RPC_OK)
        code = write_root(state, root, NULL, reterr);
    rpc_arena_free(arena);
    return code;
}

void skm_root_get(skm_state *state, skm_root_fn *fn, void *ctx)
{
    pthread_rwlock_rdlock(&state->lock);
    fn(ctx, state->root.sequence, state->root.jwk, (const char *const *)state->root.statements,
        (size_t)state->root.sequence - 1);
    pthread_rwlock_unlock(&state->lock);
}

static rpc_code state_next(
    skm_state *state, const skm__root *old, skm__root *next, rpc_status *reterr)
{
    for (uint64_t i = 0; i + 1 < old->sequence; i++)
        if (!(next->statements[i] = strdup(old->statements[i])))
            return skm__no_memory(reterr);
    memcpy(next->points, old->points, old->sequence * sizeof *old->points);
    return trust_root_sign(old->signer, state->issuer, next->sequence - 1, next->jwk,
        skm__now_s(state), &next->statements[next->sequence - 2], reterr);
}

/* The old one's private half is forgotten with the same update. */
static rpc_code replace_root(skm_state *state, skm__root *next, rpc_status *reterr)
{
    const skm__root *old = &state->root;
    uint8_t public_key[32];
    Skm__Records__Root record = SKM__RECORDS__ROOT__INIT;
    memcpy(public_key, trust_signer_ed25519(old->signer), sizeof public_key);
    record.sequence = old->sequence;
    record.public_key = (ProtobufCBinaryData){sizeof public_key, public_key};
    if (old->sequence > 1)
        record.statement = old->statements[old->sequence - 2];
    rpc_code code = old->sequence < ROOTS_MAX
                        ? make_root(state, old->sequence + 1, next, reterr)
                        : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                              "there were %u roots; a new store begins with a first one",
                              ROOTS_MAX);
    if (code == RPC_OK)
        code = state_next(state, old, next, reterr);
    next->generation = old->generation;
    return code == RPC_OK ? write_root(state, next, &record, reterr) : code;
}

rpc_code skm_root_rotate(skm_state *state, skm_root_tell_fn *tell, void *ctx, rpc_status *reterr)
{
    skm__root next = {0}, old;
    int64_t again_s = 0;
    pthread_mutex_lock(&state->change);
    rpc_code code = tell ? tell(ctx, state->root.sequence + 1, reterr) : RPC_OK;
    if (code == RPC_OK)
        code = replace_root(state, &next, reterr);
    if (code == RPC_OK) {
        pthread_rwlock_wrlock(&state->lock);
        old = state->root;
        state->root = next;
        pthread_rwlock_unlock(&state->lock);
        next = old;
    }
    skm__root_done(&next);
    pthread_mutex_unlock(&state->change);
    rpc_status why;
    if (code == RPC_OK && skm_state_tend(state, &again_s, &why) != RPC_OK) {
        /* the sets that are left follow with the next tending, and health says so until then */
    }
    return code;
}
