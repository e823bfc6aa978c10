/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what nobody can use any more: bucket by bucket, a page at a time, each page by one update
 * that holds only if the bucket is as it was read. Grants whose end was interrupted are ended. */
#include "state_internal.h"

#include <stdlib.h>

#define BUCKETS  4096u
#define PAGE_MAX 1024u /* entries */
#define GRACE_S  60    /* an exchange that began in time ends in time */

typedef struct sweeping {
    sim_state *state;
    char kind; /* of group: 'g' or 'b' */
    rpc_arena *arena;
    int64_t now;
    store_change changes[PAGE_MAX * 2];
    size_t count;
    uint8_t ending[PAGE_MAX][SIM__ID_BYTES]; /* families whose tokens are not in the log yet */
    size_t ending_count;
    rpc_status status;
    rpc_status unfinished; /* why one of them was not ended: it is tried again, the rest goes on */
} sweeping;

static ProtobufCMessage *unpack(
    sweeping *s, const ProtobufCMessageDescriptor *descriptor, const store_entry *entry)
{
    ProtobufCMessage *message = NULL;
    rpc_arena_reset(s->arena);
    s->status.code = host_record_unpack(descriptor, entry->value, s->arena, &message, &s->status);
    return message;
}

static bool expired(sweeping *s, const store_entry *entry, bool *ret_family)
{
    *ret_family = false;
    if (s->kind == 'b') {
        const Sim__Records__Session *session = (const void *)unpack(
            s, &sim__records__session__descriptor, entry);
        return session && session->expires_at + GRACE_S < s->now;
    }
    if (entry->item.size == SIM__LIST_BYTES) {
        const Sim__Records__Grants *list = (const void *)unpack(
            s, &sim__records__grants__descriptor, entry);
        return list && list->expires_at + GRACE_S < s->now;
    }
    if (entry->item.size > SIM__ID_BYTES) {
        const Sim__Records__Issued *issued = (const void *)unpack(
            s, &sim__records__issued__descriptor, entry);
        return issued && issued->expires_at + TRUST_SKEW_S + GRACE_S < s->now;
    }
    const Sim__Records__Grant *grant = (const void *)unpack(
        s, &sim__records__grant__descriptor, entry);
    *ret_family = true;
    if (!grant || grant->keep_until + GRACE_S < s->now)
        return grant;
    if (grant->ending && !grant->revoked)
        memcpy(s->ending[s->ending_count++], entry->item.data, SIM__ID_BYTES);
    return false;
}

static void sweep_entry(sweeping *s, const store_entry *entry)
{
    bool family;
    if (!expired(s, entry, &family))
        return;
    s->changes[s->count++] = (store_change){.kind = STORE_DELETE, .item = entry->item};
    if (family)
        s->changes[s->count++] = (store_change){.kind = STORE_DELETE_PREFIX, .item = entry->item};
}

/* What a crash or a full log interrupted: nothing more is issued, but what was still lives. */
static void end_grants(sweeping *s, const atomic_bool *stop)
{
    rpc_status status = {0};
    for (size_t i = 0; i < s->ending_count && !atomic_load(stop); i++)
        if (sim_grant_revoke(s->state, s->ending[i], &status) != RPC_OK)
            s->unfinished = status;
}

static rpc_code sweep_bucket(
    sweeping *s, const host_key *group, const atomic_bool *stop, rpc_status *reterr)
{
    store_scan_request request = {.group = host_key_bytes(group), .entries_max = PAGE_MAX};
    store_cursor cursor;
    rpc_code code = RPC_OK;
    for (bool more = true; more && code == RPC_OK && !atomic_load(stop);) {
        store_wait wait;
        if (store_wait_scan(s->state->db, &request, &wait) != RPC_OK)
            return rpc_status_text(reterr, wait.op.status.code, wait.op.status.message);
        store_page *page = wait.op.page;
        s->count = s->ending_count = 0;
        for (size_t i = 0; i < page->count && s->status.code == RPC_OK; i++)
            sweep_entry(s, &page->entries[i]);
        code = s->status.code;
        if (code != RPC_OK)
            rpc_status_text(reterr, code, s->status.message);
        else if (s->count)
            code = sim__update(s->state, group, wait.op.generation, s->changes, s->count, reterr);
        if (code == RPC_ABORTED) /* somebody uses it: the next sweep comes by again */
            code = RPC_OK;
        more = page->more;
        cursor = page->next;
        request.after = &cursor;
        store_page_free(page);
        end_grants(s, stop);
    }
    return code;
}

static rpc_code sweep_kind(sweeping *s, char kind, const atomic_bool *stop, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    s->kind = kind;
    for (unsigned bucket = 0; bucket < BUCKETS && code == RPC_OK && !atomic_load(stop); bucket++) {
        const uint8_t id[SIM__ID_BYTES] = {(uint8_t)(bucket >> 4), (uint8_t)(bucket << 4)};
        host_key group = sim__key_bucket(kind, id);
        code = sweep_bucket(s, &group, stop, reterr);
    }
    return code;
}

rpc_code sim_state_sweep(sim_state *state, const atomic_bool *stop, rpc_status *reterr)
{
    rpc_code code = sim__clients_sweep(state, stop, reterr);
    if (code == RPC_OK)
        code = sim__log_sweep(state, stop, reterr);
    if (code != RPC_OK)
        return code;
    sweeping *s = calloc(1, sizeof *s);
    if (s)
        s->arena = rpc_arena_new(SIM__RECORD_ARENA);
    code = s && s->arena ? RPC_OK : sim__no_memory(reterr);
    if (code == RPC_OK) {
        s->state = state;
        s->now = sim__now_s(state);
        code = sweep_kind(s, 'g', stop, reterr);
    }
    if (code == RPC_OK)
        code = sweep_kind(s, 'b', stop, reterr);
    if (code == RPC_OK && s->unfinished.code != RPC_OK)
        code = rpc_status_text(reterr, s->unfinished.code, s->unfinished.message);
    if (s)
        rpc_arena_free(s->arena);
    free(s);
    return code;
}
