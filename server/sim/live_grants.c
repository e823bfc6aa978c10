/* SPDX-License-Identifier: Apache-2.0 */
/* How many grants of a user with a client may be refreshed: the newest, and no more of them than
 * the setting says.
 *
 * Each user with each client has a list of them, oldest first, in the group that their grants are
 * in: the update that notes a grant also ends the one that it displaces. What was displaced is not
 * revoked: its tokens die of age within minutes, and whoever logs in without end fills no log. */
#include "state_internal.h"

_Static_assert(SIM__LIST_BYTES < SIM__ID_BYTES, "no family has the name of a list");

/* When the setting became lower: some at a time. */
#define ENDED_MAX (SIM__LIVE_CHANGES_MAX - 1)

static void name_of(
    const sim_state *state, const char *sub, const char *client_id, uint8_t ret[SIM__MAC_BYTES])
{
    char text[SIM_SUB_CHARS + SIM_CLIENT_ID_MAX + 2];
    int size = snprintf(text, sizeof text, "%s %s", sub, client_id);
    sim__mac(state->keys, "grants", rpc_bytes_of(text, (size_t)size), ret);
}

void sim__family_draw(const sim_state *state, const char *sub, const char *client_id,
    uint8_t ret_family[SIM__ID_BYTES])
{
    uint8_t name[SIM__MAC_BYTES];
    rpc_random(ret_family, SIM__ID_BYTES);
    if (state->grants_max == 0)
        return;
    name_of(state, sub, client_id, name);
    ret_family[0] = name[0]; /* what sim__key_bucket() looks at */
    ret_family[1] = (uint8_t)((name[1] & 0xf0) | (ret_family[1] & 0x0f));
}

/* ---- the list ----------------------------------------------------------------------------------
 */

typedef struct list {
    host_key group;
    uint8_t name[SIM__MAC_BYTES]; /* SIM__LIST_BYTES of it */
    Sim__Records__Grants *record; /* NULL: there is none */
    size_t count;                 /* families */
} list;

static rpc_code list_read(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *grant, rpc_arena *arena, list *ret, rpc_status *reterr)
{
    ret->group = sim__key_bucket('g', family);
    name_of(state, grant->sub, grant->client_id, ret->name);
    rpc_code code = sim__read(state, &ret->group, rpc_bytes_of(ret->name, SIM__LIST_BYTES),
        &sim__records__grants__descriptor, arena, (ProtobufCMessage **)&ret->record, NULL, reterr);
    ret->count = code == RPC_OK && ret->record ? ret->record->families.len / SIM__ID_BYTES : 0;
    return code;
}

static store_change list_put(
    const list *l, const uint8_t *families, size_t count, int64_t expires_at, rpc_arena *arena)
{
    Sim__Records__Grants record = SIM__RECORDS__GRANTS__INIT;
    record.families = (ProtobufCBinaryData){
        .len = count * SIM__ID_BYTES, .data = (uint8_t *)(uintptr_t)families};
    record.expires_at = expires_at;
    uint8_t *name = rpc_arena_alloc(arena, SIM__LIST_BYTES);
    if (name)
        memcpy(name, l->name, SIM__LIST_BYTES);
    return (store_change){.kind = STORE_PUT,
        .item = rpc_bytes_of(name, SIM__LIST_BYTES),
        .value = name ? sim__pack(arena, &record.base) : rpc_bytes_of(NULL, 0)};
}

/* ---- coming and going --------------------------------------------------------------------------
 */

static rpc_code displace(sim_state *state, const list *l, const uint8_t *family, rpc_arena *arena,
    store_change *changes, size_t *count, rpc_status *reterr)
{
    Sim__Records__Grant *record = NULL;
    const int64_t now = sim__now_s(state), tokens = now + state->token_life_s_max + TRUST_SKEW_S;
    rpc_code code = sim__read(state, &l->group, rpc_bytes_of(family, SIM__ID_BYTES),
        &sim__records__grant__descriptor, arena, (ProtobufCMessage **)&record, NULL, reterr);
    if (code != RPC_OK || !record || record->revoked || record->ending ||
        record->refresh_expires_at <= now)
        return code;
    record->displaced = true;
    if (record->keep_until > tokens)
        record->keep_until = tokens;
    changes[(*count)++] = (store_change){.kind = STORE_PUT,
        .item = rpc_bytes_of(family, SIM__ID_BYTES),
        .value = sim__pack(arena, &record->base)};
    return RPC_OK;
}

rpc_code sim__live_enter(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *grant, rpc_arena *arena, store_change *changes, size_t *count,
    rpc_status *reterr)
{
    list l = {0};
    if (state->grants_max == 0)
        return RPC_OK;
    rpc_code code = list_read(state, family, grant, arena, &l, reterr);
    if (code != RPC_OK)
        return code;
    const size_t surplus = l.count >= state->grants_max ? l.count + 1 - state->grants_max : 0;
    const size_t ended = surplus < ENDED_MAX ? surplus : ENDED_MAX, stay = l.count - ended;
    uint8_t *families = rpc_arena_alloc(arena, (stay + 1) * SIM__ID_BYTES);
    if (!families)
        return sim__no_memory(reterr);
    const uint8_t *before = l.record ? l.record->families.data : NULL;
    if (stay)
        memcpy(families, before + ended * SIM__ID_BYTES, stay * SIM__ID_BYTES);
    memcpy(families + stay * SIM__ID_BYTES, family, SIM__ID_BYTES);
    const int64_t expires_at = l.record ? l.record->expires_at : 0;
    changes[(*count)++] = list_put(&l, families, stay + 1,
        expires_at > grant->expires_at ? expires_at : grant->expires_at, arena);
    for (size_t i = 0; i < ended && code == RPC_OK; i++)
        code = displace(state, &l, before + i * SIM__ID_BYTES, arena, changes, count, reterr);
    return code;
}

rpc_code sim__live_leave(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *grant, rpc_arena *arena, store_change *changes, size_t *count,
    rpc_status *reterr)
{
    list l = {0};
    rpc_code code = list_read(state, family, grant, arena, &l, reterr);
    for (size_t i = 0; code == RPC_OK && i < l.count; i++) {
        uint8_t *at = l.record->families.data + i * SIM__ID_BYTES;
        if (memcmp(at, family, SIM__ID_BYTES) != 0)
            continue;
        memmove(at, at + SIM__ID_BYTES, (l.count - i - 1) * SIM__ID_BYTES);
        changes[(*count)++] = list_put(
            &l, l.record->families.data, l.count - 1, l.record->expires_at, arena);
        break;
    }
    return code;
}
