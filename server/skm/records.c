/* SPDX-License-Identifier: Apache-2.0 */
/* Records as the store has them: read one, write those of a group. */
#include "state_internal.h"

#include <stdlib.h>

const rpc_bytes skm__main = {NULL, 0};

rpc_code skm__no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory; try again");
}

host_key skm__key_of_set(const char *service, skm_purpose purpose)
{
    return host_key_of(purpose == SKM_FOR_TOKENS ? "t/" : "m/", service);
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
    if (code == RPC_OK)
        code = host_record_unpack(descriptor, wait.op.view.bytes, arena, ret, reterr);
    else if (code == RPC_NOT_FOUND)
        code = RPC_OK;
    else if (reterr)
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    return code;
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

rpc_code skm__write(skm_state *state, rpc_bytes group, const skm__changes *changes,
    uint64_t *generation, rpc_status *reterr)
{
    store_wait wait;
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
