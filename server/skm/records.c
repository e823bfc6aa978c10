/* SPDX-License-Identifier: Apache-2.0 */
/* Records as the store has them: read one, write those of a group. The last field of each is its
 * tag, over the bytes before; but for the vault's own, without which there is no key for tags: it
 * opens with the right secret only. */
#include "state_internal.h"

#include <sodium.h>
#include <stdlib.h>

#define TAG_FIELD_BYTES (2u + SKM_TAG_BYTES)

static const uint8_t tag_field[2] = {15 << 3 | 2, SKM_TAG_BYTES}; /* how the field `tag` begins */

const rpc_bytes skm__main = {NULL, 0};

rpc_code skm__no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory; try again");
}

host_key skm__key_of_set(const char *service, skm_purpose purpose)
{
    return host_key_of(purpose == SKM_FOR_TOKENS ? "t/" : "m/", service);
}

static bool is_tagged(rpc_bytes group)
{
    return !rpc_bytes_equal(group, skm__vault_group);
}

static rpc_code changed(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "a record of the store is damaged, or was not written by this server: see who can write "
        "the store, and restore a backup");
}

rpc_code skm__unpack(const skm_state *state, const store_entry *entry,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    rpc_status *reterr)
{
    const size_t size = entry->value.size;
    uint8_t tag[SKM_TAG_BYTES];
    if (is_tagged(entry->group)) {
        if (size < TAG_FIELD_BYTES)
            return changed(reterr);
        const uint8_t *field = entry->value.data + size - TAG_FIELD_BYTES;
        skm_tag(state->vault, entry->group, entry->item,
            rpc_bytes_of(entry->value.data, size - TAG_FIELD_BYTES), tag);
        if (memcmp(field, tag_field, sizeof tag_field) != 0 ||
            sodium_memcmp(field + sizeof tag_field, tag, sizeof tag) != 0)
            return changed(reterr);
    }
    return host_record_unpack(descriptor, entry->value, arena, ret, reterr);
}

rpc_code skm__read(skm_state *state, rpc_bytes group, rpc_bytes item,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    uint64_t *ret_generation, rpc_status *reterr)
{
    store_wait wait;
    rpc_code code = store_wait_get(state->db, group, item, &wait);
    *ret = NULL;
    if (ret_generation)
        *ret_generation = wait.op.generation;
    const store_entry entry = {group, item, wait.op.view.bytes};
    if (code == RPC_OK)
        code = skm__unpack(state, &entry, descriptor, arena, ret, reterr);
    else if (code == RPC_NOT_FOUND)
        code = RPC_OK;
    else if (reterr)
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    return code;
}

typedef struct walk {
    const skm_state *state;
    const skm__loading *loading;
    rpc_arena *arena; /* of one record */
    rpc_status status;
} walk;

static bool take(void *ctx, const store_entry *entry)
{
    walk *w = ctx;
    const skm__loading *l = w->loading;
    ProtobufCMessage *record = NULL;
    rpc_arena_reset(w->arena);
    rpc_code code = skm__unpack(w->state, entry, entry->item.size == 0 ? l->main : l->others,
        w->arena, &record, &w->status);
    if (code == RPC_OK)
        code = l->take(l->ctx, entry, record, &w->status);
    return code == RPC_OK;
}

rpc_code skm__load(const skm_state *state, const skm__loading *loading, rpc_status *reterr)
{
    walk w = {.state = state, .loading = loading, .arena = rpc_arena_new(SKM__RECORD_ARENA)};
    if (!w.arena)
        return skm__no_memory(reterr);
    rpc_code code = store_walk(state->db, &loading->request, take, &w, reterr);
    if (code == RPC_OK && w.status.code != RPC_OK)
        code = rpc_status_text(reterr, w.status.code, w.status.message);
    rpc_arena_free(w.arena);
    return code;
}

rpc_code skm__generation(const skm_state *state, rpc_bytes group, uint64_t *ret, rpc_status *reterr)
{
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    const rpc_code code = store_wait_end(&wait, store_generation(state->db, group, op));
    *ret = wait.op.generation;
    return code == RPC_OK ? code : rpc_status_text(reterr, code, wait.op.status.message);
}

static store_change *next(skm__changes *changes, const host_key *item, store_change_kind kind)
{
    const size_t room = sizeof changes->list / sizeof changes->list[0];
    if (changes->count == room) {
        changes->failed = true;
        return NULL;
    }
    store_change *change = &changes->list[changes->count];
    *change = (store_change){.kind = kind};
    if (item) {
        changes->items[changes->count] = *item;
        change->item = host_key_bytes(&changes->items[changes->count]);
    }
    changes->count++;
    return change;
}

void skm__put(skm__changes *changes, const host_key *item, const ProtobufCMessage *message)
{
    store_change *change = next(changes, item, STORE_PUT);
    if (!change)
        return;
    change->value = host_record_pack(message);
    if (!change->value.data)
        changes->failed = true;
}

void skm__delete(skm__changes *changes, const host_key *item)
{
    (void)next(changes, item, STORE_DELETE);
}

void skm__changes_done(skm__changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free((void *)(uintptr_t)changes->list[i].value.data);
}

static bool add_tag(const skm_state *state, rpc_bytes group, store_change *change)
{
    const size_t size = change->value.size;
    uint8_t *value = realloc((void *)(uintptr_t)change->value.data, size + TAG_FIELD_BYTES);
    if (!value)
        return false;
    memcpy(value + size, tag_field, sizeof tag_field);
    skm_tag(state->vault, group, change->item, rpc_bytes_of(value, size),
        value + size + sizeof tag_field);
    change->value = rpc_bytes_of(value, size + TAG_FIELD_BYTES);
    return true;
}

rpc_code skm__write(skm_state *state, rpc_bytes group, skm__changes *changes, uint64_t *generation,
    rpc_status *reterr)
{
    store_wait wait;
    for (size_t i = 0; i < changes->count && is_tagged(group); i++)
        if (changes->list[i].kind == STORE_PUT && !changes->failed)
            changes->failed = !add_tag(state, group, &changes->list[i]);
    if (changes->failed)
        return skm__no_memory(reterr);
    const rpc_code code = store_wait_update(
        state->db, group, *generation, changes->list, changes->count, &wait);
    if (code == RPC_OK)
        *generation = wait.op.generation;
    else if (reterr)
        *reterr = wait.op.status;
    return code;
}
