/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: one authorization, its code, its refresh tokens, the access tokens that may still live.
 *
 * A grant's record has a revision of its own, since its group, whose generation guards the update,
 * is shared with others. What is used once is used up by the same update that notes the token. A
 * code or refresh token that comes twice ends all: first the grant is marked as ending, and nothing
 * more is issued; then its tokens go into the log of revocations; then it is marked as revoked. A
 * crash in between leaves a grant that issues nothing and is revoked when it is seen next, by the
 * sweep at the latest. */
#include "state_internal.h"

#include <stdlib.h>

#define JTI_MAX 128u

#define REVOKED_ONE_BY_ONE_MAX 4096u
#define ISSUED_ROOM            512u /* of a token's record and jti */

typedef struct kept_grant { /* in its own arena */
    rpc_arena *arena;
    sim_grant grant;
} kept_grant;

void sim_grant_free(sim_grant *grant)
{
    if (grant)
        rpc_arena_free(
            ((kept_grant *)(void *)((char *)grant - offsetof(kept_grant, grant)))->arena);
}

/* ---- records
 * --------------------------------------------------------------------------------------- */

static rpc_code ended(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND, "grant: none of ours, expired or ended");
}

static rpc_code used_twice(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_ABORTED, "grant: used twice; it is revoked");
}

static rpc_code read_grant(sim_state *state, const uint8_t family[SIM__ID_BYTES], rpc_arena *arena,
    Sim__Records__Grant **ret, uint64_t *ret_generation, rpc_status *reterr)
{
    host_key group = sim__key_bucket('g', family);
    return sim__read(state, &group, rpc_bytes_of(family, SIM__ID_BYTES),
        &sim__records__grant__descriptor, arena, (ProtobufCMessage **)ret, ret_generation, reterr);
}

static host_key issued_item(const uint8_t family[SIM__ID_BYTES], const char *jti)
{
    host_key key;
    size_t size = strlen(jti);
    memcpy(key.data, family, SIM__ID_BYTES);
    key.data[SIM__ID_BYTES] = 't';
    memcpy(key.data + SIM__ID_BYTES + 1, jti, size);
    key.size = SIM__ID_BYTES + 1 + size;
    return key;
}

/* How long the record is of use: for its code or refresh token, and to revoke what it issued. */
static int64_t keep_until(const Sim__Records__Grant *record, int64_t issued_until)
{
    int64_t until = record->code_used ? 0 : record->code_expires_at;
    if (record->refresh_generation && record->refresh_expires_at > until)
        until = record->refresh_expires_at;
    if (record->keep_until > until)
        until = record->keep_until;
    return issued_until > until ? issued_until : until;
}

/* ---- begin
 * ------------------------------------------------------------------------------------------ */

static rpc_code check_text(const char *name, const char *text, bool needed, rpc_status *reterr)
{
    if (needed && !(text && text[0]))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "grant: %s is missing", name);
    if (text && strnlen(text, SIM__TEXT_MAX + 1) > SIM__TEXT_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "grant: %s has more than %u bytes", name, SIM__TEXT_MAX);
    return RPC_OK;
}

static rpc_code check_grant(const sim_grant *grant, rpc_status *reterr)
{
    const struct {
        const char *name, *text;
        bool needed;
    } texts[] = {{"client_id", grant->client_id, true}, {"username", grant->username, true},
        {"sub", grant->sub, true}, {"scope", grant->scope, false},
        {"asset_id", grant->asset_id, false}, {"redirect_uri", grant->redirect_uri, true},
        {"code_challenge", grant->code_challenge, true}, {"nonce", grant->nonce, false},
        {"acr", grant->acr, false}, {"resource", grant->resource, false}};
    rpc_code code = RPC_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && code == RPC_OK; i++)
        code = check_text(texts[i].name, texts[i].text, texts[i].needed, reterr);
    if (code == RPC_OK && sim__count(grant->actions) > SIM_ACTIONS_MAX)
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "grant: at most %d actions", SIM_ACTIONS_MAX);
    for (const char *const *a = grant->actions; a && *a && code == RPC_OK; a++)
        code = check_text("action", *a, true, reterr);
    return code;
}

static char *text(const char *borrowed)
{
    return sim__mutable(borrowed ? borrowed : "");
}

static void fill(const sim_state *state, Sim__Records__Grant *record, const sim_grant *grant)
{
    int64_t now = sim__now_s(state);
    record->client_id = text(grant->client_id);
    record->username = text(grant->username);
    record->sub = text(grant->sub);
    record->scope = text(grant->scope);
    record->digital_asset = grant->digital_asset;
    record->asset_id = text(grant->asset_id);
    record->actions = (char **)(uintptr_t)grant->actions;
    record->n_actions = sim__count(grant->actions);
    record->redirect_uri = text(grant->redirect_uri);
    record->code_challenge = text(grant->code_challenge);
    record->nonce = text(grant->nonce);
    record->acr = text(grant->acr);
    record->resource = text(grant->resource);
    record->auth_time = grant->auth_time;
    record->user_era = grant->era;
    record->created_at = now;
    record->code_expires_at = now + state->code_life_s;
    record->expires_at = now + state->refresh_life_s;
    record->revision = 1;
    record->keep_until = keep_until(record, 0);
    if (grant->bound)
        record->certificate_sha256 = (ProtobufCBinaryData){.len = sizeof grant->certificate_sha256,
            .data = (uint8_t *)(uintptr_t)grant->certificate_sha256};
}

static rpc_code begin(sim_state *state, const sim_grant *grant, rpc_arena *arena,
    char ret_code[SIM_CODE_MAX], rpc_status *reterr)
{
    uint8_t family[SIM__ID_BYTES];
    int64_t tokens_after;
    Sim__Records__Grant record = SIM__RECORDS__GRANT__INIT;
    fill(state, &record, grant);
    rpc_code code = sim__user_stands(
        state, grant->username, grant->sub, grant->era, arena, &tokens_after, reterr);
    if (code == RPC_OK)
        code = sim__client_stands(state, grant->client_id, 0, arena, &record.client_era, reterr);
    if (code != RPC_OK)
        return code;
    sim__family_draw(state, grant->sub, grant->client_id, family);
    host_key group = sim__key_bucket('g', family);
    const store_change change = {.kind = STORE_PUT,
        .item = rpc_bytes_of(family, sizeof family),
        .value = sim__pack(arena, &record.base)};
    code = sim__update(state, &group, STORE_ANY_GENERATION, &change, 1, reterr);
    if (code == RPC_OK)
        sim__token_make(state->keys, SIM__CODE, family, 0, ret_code);
    return code;
}

rpc_code sim_grant_begin(
    sim_state *state, const sim_grant *grant, char ret_code[SIM_CODE_MAX], rpc_status *reterr)
{
    rpc_code code = check_grant(grant, reterr);
    if (code != RPC_OK)
        return code;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    code = arena ? begin(state, grant, arena, ret_code, reterr) : sim__no_memory(reterr);
    rpc_arena_free(arena);
    return code;
}

/* ---- reading
 * ---------------------------------------------------------------------------------------- */

static rpc_code stands(sim_state *state, const Sim__Records__Grant *record, rpc_arena *arena,
    int64_t *ret_tokens_after, rpc_status *reterr)
{
    rpc_code code = sim__user_stands(
        state, record->username, record->sub, record->user_era, arena, ret_tokens_after, reterr);
    return code == RPC_OK ? sim__client_stands(
                                state, record->client_id, record->client_era, arena, NULL, reterr)
                          : code;
}

static rpc_code present(const uint8_t family[SIM__ID_BYTES], const Sim__Records__Grant *record,
    int64_t tokens_after, rpc_arena *arena, sim_grant **ret, rpc_status *reterr)
{
    kept_grant *kept = rpc_arena_alloc(arena, sizeof *kept);
    const char *const *actions = sim__list(arena, record->actions, record->n_actions);
    if (!kept || !actions)
        return sim__no_memory(reterr);
    *kept = (kept_grant){.arena = arena,
        .grant = {.client_id = record->client_id,
            .username = record->username,
            .sub = record->sub,
            .scope = record->scope,
            .digital_asset = record->digital_asset,
            .asset_id = record->asset_id,
            .actions = actions,
            .redirect_uri = record->redirect_uri,
            .code_challenge = record->code_challenge,
            .nonce = record->nonce,
            .acr = record->acr,
            .resource = record->resource,
            .auth_time = record->auth_time,
            .era = record->user_era,
            .revision = record->revision,
            .expires_at = record->expires_at,
            .tokens_after = tokens_after}};
    sim_grant *grant = &kept->grant;
    memcpy(grant->family, family, SIM__ID_BYTES);
    grant->bound = record->certificate_sha256.len == sizeof grant->certificate_sha256;
    if (grant->bound)
        memcpy(grant->certificate_sha256, record->certificate_sha256.data,
            sizeof grant->certificate_sha256);
    *ret = grant;
    return RPC_OK;
}

/* What a code or refresh token says of its grant. */
static rpc_code judge(const sim_state *state, const Sim__Records__Grant *record, sim__use use,
    uint32_t generation, rpc_status *reterr)
{
    int64_t now = sim__now_s(state);
    if (record->revoked)
        return ended(reterr);
    if (record->ending) /* whoever ended it has not come to an end: by_token() does it again */
        return used_twice(reterr);
    if (use == SIM__CODE) {
        if (record->code_used)
            return used_twice(reterr);
        return now < record->code_expires_at ? RPC_OK : ended(reterr);
    }
    if (generation < record->refresh_generation)
        return used_twice(reterr);
    if (generation != record->refresh_generation || now >= record->refresh_expires_at ||
        now >= record->expires_at || record->displaced)
        return ended(reterr);
    return RPC_OK;
}

static rpc_code by_token(sim_state *state, const char *client_id, sim__use use, const char *token,
    rpc_arena *arena, sim_grant **ret, rpc_status *reterr)
{
    uint8_t family[SIM__ID_BYTES];
    uint32_t generation;
    int64_t tokens_after = 0;
    Sim__Records__Grant *record = NULL;
    if (!sim__token_read(state->keys, use, token, family, &generation))
        return ended(reterr);
    rpc_code code = read_grant(state, family, arena, &record, NULL, reterr);
    if (code != RPC_OK)
        return code;
    if (!record || strcmp(record->client_id, client_id) != 0)
        return ended(reterr);
    code = judge(state, record, use, generation, reterr);
    if (code == RPC_ABORTED) {
        host_counter_add(state->reused, 1);
        rpc_code revoked = sim_grant_revoke(state, family, reterr);
        return revoked == RPC_OK ? used_twice(reterr) : revoked;
    }
    if (code == RPC_OK)
        code = stands(state, record, arena, &tokens_after, reterr);
    return code == RPC_OK ? present(family, record, tokens_after, arena, ret, reterr) : code;
}

static rpc_code find(sim_state *state, const char *client_id, sim__use use, const char *token,
    sim_grant **ret, rpc_status *reterr)
{
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    rpc_code code = by_token(state, client_id, use, token, arena, ret, reterr);
    if (code != RPC_OK)
        rpc_arena_free(arena);
    return code;
}

rpc_code sim_grant_by_code(
    sim_state *state, const char *client_id, const char *code, sim_grant **ret, rpc_status *reterr)
{
    return find(state, client_id, SIM__CODE, code, ret, reterr);
}

rpc_code sim_grant_by_refresh(sim_state *state, const char *client_id, const char *refresh,
    sim_grant **ret, rpc_status *reterr)
{
    return find(state, client_id, SIM__REFRESH, refresh, ret, reterr);
}

/* ---- issue
 * ------------------------------------------------------------------------------------------ */

static void use_up(const sim_state *state, Sim__Records__Grant *record, const sim_issue *issue)
{
    int64_t idle = sim__now_s(state) + state->refresh_idle_s;
    record->revision++;
    if (issue->code)
        record->code_used = true;
    if (issue->refresh || !issue->code)
        record->refresh_generation++;
    if (issue->refresh)
        record->refresh_expires_at = idle < record->expires_at ? idle : record->expires_at;
    else
        record->refresh_expires_at = 0;
    if (issue->code && issue->bind_sha256)
        record->certificate_sha256 = (ProtobufCBinaryData){
            .len = 32, .data = (uint8_t *)(uintptr_t)issue->bind_sha256};
    record->keep_until = keep_until(record, issue->expires_at + TRUST_SKEW_S);
}

static rpc_code issue_once(sim_state *state, const sim_grant *grant, const sim_issue *issue,
    rpc_arena *arena, uint32_t *ret_generation, rpc_status *reterr)
{
    Sim__Records__Grant *record = NULL;
    Sim__Records__Issued issued = SIM__RECORDS__ISSUED__INIT;
    uint64_t generation = 0;
    int64_t tokens_after;
    rpc_arena_reset(arena);
    rpc_code code = read_grant(state, grant->family, arena, &record, &generation, reterr);
    if (code != RPC_OK)
        return code;
    if (!record || record->ending || record->revoked || record->displaced)
        return ended(reterr);
    if (record->revision != grant->revision) {
        host_counter_add(state->reused, 1);
        code = sim_grant_revoke(state, grant->family, reterr);
        return code == RPC_OK ? RPC_ALREADY_EXISTS : code;
    }
    code = stands(state, record, arena, &tokens_after, reterr);
    if (code != RPC_OK)
        return code;
    use_up(state, record, issue);
    *ret_generation = record->refresh_generation;
    issued.expires_at = issue->expires_at;
    host_key group = sim__key_bucket('g', grant->family);
    host_key item = issued_item(grant->family, issue->jti);
    store_change changes[2 + SIM__LIVE_CHANGES_MAX] = {
        {STORE_PUT, rpc_bytes_of(grant->family, SIM__ID_BYTES), sim__pack(arena, &record->base)},
        {STORE_PUT, host_key_bytes(&item), sim__pack(arena, &issued.base)},
    };
    size_t count = 2;
    if (issue->code && issue->refresh)
        code = sim__live_enter(state, grant->family, record, arena, changes, &count, reterr);
    if (code == RPC_OK)
        code = sim__update(state, &group, generation, changes, count, reterr);
    if (code == RPC_OK && count > 3) /* these two, the list, then those that it displaced */
        host_counter_add(state->displaced, count - 3);
    return code;
}

/* A client whose end ran beside this looked at its grants before the token was noted, or after:
 * in the first case its record says so by now, and the token goes nowhere. */
static rpc_code recheck(sim_state *state, const sim_grant *grant, const sim_issue *issue,
    rpc_arena *arena, rpc_status *reterr)
{
    Sim__Records__Grant *record = NULL;
    int64_t tokens_after;
    rpc_arena_reset(arena);
    rpc_code code = read_grant(state, grant->family, arena, &record, NULL, reterr);
    if (code == RPC_OK)
        code = record ? stands(state, record, arena, &tokens_after, reterr) : ended(reterr);
    if (code != RPC_NOT_FOUND)
        return code;
    code = sim_revoke_token(state, issue->jti, issue->expires_at, reterr);
    return code == RPC_OK ? ended(reterr) : code;
}

rpc_code sim_grant_issue(sim_state *state, const sim_grant *grant, const sim_issue *issue,
    char ret_refresh[SIM_CODE_MAX], rpc_status *reterr)
{
    uint32_t generation = 0;
    size_t jti = strnlen(issue->jti, JTI_MAX + 1);
    if (jti < 1 || jti > JTI_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "grant: a jti of 1 to %u bytes", JTI_MAX);
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_ABORTED : sim__no_memory(reterr);
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++)
        code = issue_once(state, grant, issue, arena, &generation, reterr);
    if (code == RPC_ABORTED)
        code = sim__overtaken(reterr);
    else if (code == RPC_ALREADY_EXISTS)
        code = used_twice(reterr);
    else if (code == RPC_OK)
        code = recheck(state, grant, issue, arena, reterr);
    rpc_arena_free(arena);
    if (code != RPC_OK)
        return code;
    ret_refresh[0] = '\0';
    if (issue->refresh)
        sim__token_make(state->keys, SIM__REFRESH, grant->family, generation, ret_refresh);
    return RPC_OK;
}

/* ---- revoke
 * ----------------------------------------------------------------------------------------- */

typedef struct issued_list {
    rpc_arena *arena;
    sim__revoking list[REVOKED_ONE_BY_ONE_MAX];
    size_t count;
    bool more; /* than the list has room for */
    int64_t now;
    rpc_status status;
} issued_list;

static bool note_issued(void *ctx, const store_entry *entry)
{
    issued_list *l = ctx;
    Sim__Records__Issued *issued = NULL;
    if (entry->item.size <= SIM__ID_BYTES + 1)
        return true;
    if (host_record_unpack(&sim__records__issued__descriptor, entry->value, l->arena,
            (ProtobufCMessage **)&issued, &l->status) != RPC_OK)
        return false;
    if (issued->expires_at + TRUST_SKEW_S < l->now)
        return true;
    l->more = l->count == REVOKED_ONE_BY_ONE_MAX;
    if (l->more)
        return false;
    const char *jti = rpc_arena_strndup(l->arena,
        (const char *)entry->item.data + SIM__ID_BYTES + 1, entry->item.size - SIM__ID_BYTES - 1);
    if (!jti) {
        l->status.code = sim__no_memory(&l->status);
        return false;
    }
    l->list[l->count++] = (sim__revoking){
        .jti = jti, .expires_at = issued->expires_at + TRUST_SKEW_S};
    return true;
}

static rpc_code list_issued(
    sim_state *state, const uint8_t family[SIM__ID_BYTES], issued_list *l, rpc_status *reterr)
{
    l->now = sim__now_s(state);
    l->arena = rpc_arena_new(REVOKED_ONE_BY_ONE_MAX * ISSUED_ROOM);
    if (!l->arena)
        return sim__no_memory(reterr);
    host_key group = sim__key_bucket('g', family);
    const store_scan_request request = {
        .group = host_key_bytes(&group), .item_prefix = rpc_bytes_of(family, SIM__ID_BYTES)};
    rpc_code code = store_walk(state->db, &request, note_issued, l, reterr);
    if (code == RPC_OK && l->status.code != RPC_OK)
        code = rpc_status_text(reterr, l->status.code, l->status.message);
    return code;
}

/* No application has so many tokens of one login. One by one they would take the log from everybody
 * else; all of the user's are one entry. Whoever was ended since has that entry already. */
static rpc_code end_user_of(
    sim_state *state, const Sim__Records__Grant *record, rpc_arena *arena, rpc_status *reterr)
{
    int64_t tokens_after;
    rpc_code code = sim__user_stands(
        state, record->username, record->sub, record->user_era, arena, &tokens_after, reterr);
    if (code == RPC_OK)
        code = sim_user_end(state, record->username, reterr);
    if (code == RPC_OK)
        host_counter_add(state->too_large, 1);
    return code == RPC_NOT_FOUND ? RPC_OK : code;
}

/* Everything that the family issued and that may live is in the log when this returns. */
static rpc_code revoke_issued(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    const Sim__Records__Grant *record, rpc_arena *arena, rpc_status *reterr)
{
    issued_list *l = calloc(1, sizeof *l);
    if (!l)
        return sim__no_memory(reterr);
    rpc_code code = list_issued(state, family, l, reterr);
    if (code == RPC_OK && l->more)
        code = end_user_of(state, record, arena, reterr);
    else if (code == RPC_OK && l->count)
        code = sim__log_add(state, l->list, l->count, reterr);
    rpc_arena_free(l->arena);
    free(l);
    return code;
}

typedef struct revoking_grant {
    const uint8_t *family;
    bool listed; /* its tokens are in the log: nothing was issued since */
} revoking_grant;

/* Ending, then revoked. The first is one small update, so that nobody who issues meanwhile keeps it
 * from being made, however many tokens there are and however fast he is. */
static rpc_code put_end(sim_state *state, const uint8_t family[SIM__ID_BYTES],
    Sim__Records__Grant *record, uint64_t generation, rpc_arena *arena, rpc_status *reterr)
{
    const bool last = record->ending;
    record->revoked = last;
    record->ending = true;
    record->revision++;
    host_key group = sim__key_bucket('g', family), tokens = issued_item(family, "");
    store_change changes[2] = {
        {STORE_PUT, rpc_bytes_of(family, SIM__ID_BYTES), sim__pack(arena, &record->base)},
    };
    size_t count = 1;
    rpc_code code = RPC_OK;
    if (last)
        changes[count++] = (store_change){
            .kind = STORE_DELETE_PREFIX, .item = host_key_bytes(&tokens)};
    else
        code = sim__live_leave(state, family, record, arena, changes, &count, reterr);
    return code == RPC_OK ? sim__update(state, &group, generation, changes, count, reterr) : code;
}

/* One step: first nothing more is issued, then what was issued is in the log, then the record says
 * so. RPC_ABORTED: somebody was faster. */
static rpc_code revoke_step(
    sim_state *state, revoking_grant *r, rpc_arena *arena, bool *ret_over, rpc_status *reterr)
{
    Sim__Records__Grant *record = NULL;
    uint64_t generation = 0;
    rpc_arena_reset(arena);
    rpc_code code = read_grant(state, r->family, arena, &record, &generation, reterr);
    *ret_over = code == RPC_OK && (!record || record->revoked);
    if (code != RPC_OK || *ret_over)
        return code;
    if (record->ending && !r->listed) {
        code = revoke_issued(state, r->family, record, arena, reterr);
        r->listed = code == RPC_OK;
        return code;
    }
    return put_end(state, r->family, record, generation, arena, reterr);
}

rpc_code sim_grant_revoke(sim_state *state, const uint8_t family[SIM__ID_BYTES], rpc_status *reterr)
{
    revoking_grant r = {.family = family};
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_OK : sim__no_memory(reterr);
    bool over = false;
    unsigned tries = 0;
    while (!over && (code == RPC_OK || code == RPC_ABORTED) && tries < SIM__TRIES_MAX) {
        code = revoke_step(state, &r, arena, &over, reterr);
        tries += code == RPC_ABORTED;
    }
    rpc_arena_free(arena);
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}

/* ---- all grants
 * ------------------------------------------------------------------------------------- */

typedef struct walking {
    sim_state *state;
    const char *client_id, *username; /* one of them */
    sim_grant_fn *fn;
    void *ctx;
    rpc_arena *arena;
    rpc_status status;
} walking;

static bool end_one(void *ctx, const store_entry *entry)
{
    walking *w = ctx;
    Sim__Records__Grant *record = NULL;
    if (entry->item.size != SIM__ID_BYTES)
        return true;
    rpc_arena_reset(w->arena);
    if (host_record_unpack(&sim__records__grant__descriptor, entry->value, w->arena,
            (ProtobufCMessage **)&record, &w->status) != RPC_OK)
        return false;
    return record->revoked || strcmp(record->client_id, w->client_id) != 0 ||
           sim_grant_revoke(w->state, entry->item.data, &w->status) == RPC_OK;
}

static bool list_one(void *ctx, const store_entry *entry)
{
    walking *w = ctx;
    Sim__Records__Grant *record = NULL;
    sim_grant *grant = NULL;
    int64_t tokens_after, now = sim__now_s(w->state);
    if (entry->item.size != SIM__ID_BYTES)
        return true;
    rpc_arena_reset(w->arena);
    if (host_record_unpack(&sim__records__grant__descriptor, entry->value, w->arena,
            (ProtobufCMessage **)&record, &w->status) != RPC_OK)
        return false;
    bool live = record->code_used ? record->refresh_generation && now < record->refresh_expires_at
                                  : now < record->code_expires_at;
    if (strcmp(record->username, w->username) != 0 || record->ending || record->revoked ||
        record->displaced || !live)
        return true;
    rpc_code code = stands(w->state, record, w->arena, &tokens_after, &w->status);
    if (code == RPC_NOT_FOUND) {
        w->status.code = RPC_OK;
        return true;
    }
    return code == RPC_OK &&
           present(entry->item.data, record, tokens_after, w->arena, &grant, &w->status) ==
               RPC_OK &&
           w->fn(w->ctx, grant);
}

static rpc_code walk_grants(walking *w, store_walk_fn *fn, rpc_status *reterr)
{
    w->arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!w->arena)
        return sim__no_memory(reterr);
    const store_scan_request request = {.group = rpc_bytes_str("g/"), .group_is_prefix = true};
    rpc_code code = store_walk(w->state->db, &request, fn, w, reterr);
    if (code == RPC_OK && w->status.code != RPC_OK)
        code = rpc_status_text(reterr, w->status.code, w->status.message);
    rpc_arena_free(w->arena);
    return code;
}

rpc_code sim__grants_end_client(sim_state *state, const char *client_id, rpc_status *reterr)
{
    walking w = {.state = state, .client_id = client_id};
    return walk_grants(&w, end_one, reterr);
}

rpc_code sim_grants_list(
    sim_state *state, const char *username, sim_grant_fn *fn, void *ctx, rpc_status *reterr)
{
    walking w = {.state = state, .username = username, .fn = fn, .ctx = ctx};
    return walk_grants(&w, list_one, reterr);
}
