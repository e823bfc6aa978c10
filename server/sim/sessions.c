/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of browsers, by cookie. */
#include "state_internal.h"

static rpc_code ended(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND, "session: none of ours, expired or ended");
}

rpc_code sim_session_begin(sim_state *state, const sim_user *user, const char *acr,
    char ret_cookie[SIM_CODE_MAX], rpc_status *reterr)
{
    uint8_t id[SIM__ID_BYTES];
    Sim__Records__Session record = SIM__RECORDS__SESSION__INIT;
    if (strnlen(acr, sizeof((sim_session *)0)->acr) == sizeof((sim_session *)0)->acr)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "session: acr is too long");
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    record.username = sim__mutable(user->username);
    record.sub = sim__mutable(user->sub);
    record.acr = sim__mutable(acr);
    record.auth_time = record.created_at = sim__now_s(state);
    record.expires_at = record.created_at + state->session_life_s;
    record.era = user->era;
    rpc_random(id, sizeof id);
    host_key group = sim__key_bucket('b', id);
    const store_change change = {.kind = STORE_PUT,
        .item = rpc_bytes_of(id, sizeof id),
        .value = sim__pack(arena, &record.base)};
    rpc_code code = sim__update(state, &group, STORE_ANY_GENERATION, &change, 1, reterr);
    rpc_arena_free(arena);
    if (code == RPC_OK)
        sim__token_make(state->keys, SIM__COOKIE, id, 0, ret_cookie);
    return code;
}

static rpc_code find(sim_state *state, const uint8_t id[SIM__ID_BYTES], rpc_arena *arena,
    sim_session *ret, rpc_status *reterr)
{
    Sim__Records__Session *record = NULL;
    int64_t tokens_after;
    host_key group = sim__key_bucket('b', id);
    sim_session session;
    rpc_code code = sim__read(state, &group, rpc_bytes_of(id, SIM__ID_BYTES),
        &sim__records__session__descriptor, arena, (ProtobufCMessage **)&record, NULL, reterr);
    if (code != RPC_OK)
        return code;
    if (!record || sim__now_s(state) >= record->expires_at)
        return ended(reterr);
    code = sim__user_stands(
        state, record->username, record->sub, record->era, arena, &tokens_after, reterr);
    if (code != RPC_OK)
        return code;
    if (!rpc_text_copy(session.username, sizeof session.username, record->username) ||
        !rpc_text_copy(session.sub, sizeof session.sub, record->sub) ||
        !rpc_text_copy(session.acr, sizeof session.acr, record->acr))
        return rpc_status_set(
            reterr, RPC_DATA_LOSS, "state: a session's record is damaged; run simsd --store-check");
    session.auth_time = record->auth_time;
    session.era = record->era;
    *ret = session;
    return RPC_OK;
}

rpc_code sim_session_find(
    sim_state *state, const char *cookie, sim_session *ret, rpc_status *reterr)
{
    uint8_t id[SIM__ID_BYTES];
    uint32_t generation;
    if (!sim__token_read(state->keys, SIM__COOKIE, cookie, id, &generation))
        return ended(reterr);
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? find(state, id, arena, ret, reterr) : sim__no_memory(reterr);
    rpc_arena_free(arena);
    return code;
}

rpc_code sim_session_end(sim_state *state, const char *cookie, rpc_status *reterr)
{
    uint8_t id[SIM__ID_BYTES];
    uint32_t generation;
    if (!sim__token_read(state->keys, SIM__COOKIE, cookie, id, &generation))
        return ended(reterr);
    host_key group = sim__key_bucket('b', id);
    const store_change change = {.kind = STORE_DELETE, .item = rpc_bytes_of(id, sizeof id)};
    return sim__update(state, &group, STORE_ANY_GENERATION, &change, 1, reterr);
}
