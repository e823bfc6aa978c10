/* SPDX-License-Identifier: Apache-2.0 */
/* Clients. What takes rights away writes the record first, with a note that tokens are still to be
 * revoked, so that nothing new is issued meanwhile and a crash forgets nothing. */
#include "client_rules.h"

#include <stdlib.h>

#define SECRET_BYTES 32u
#define SECRET_CHARS 43u

typedef struct kept_client { /* in its own arena */
    rpc_arena *arena;
    sim_client client;
} kept_client;

void sim_client_free(sim_client *client)
{
    if (client)
        rpc_arena_free(
            ((kept_client *)(void *)((char *)client - offsetof(kept_client, client)))->arena);
}

static rpc_code no_such_client(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND, "client_id: there is no such client");
}

/* ---- reading
 * --------------------------------------------------------------------------------------- */

rpc_code sim__client_read(sim_state *state, const char *client_id, rpc_arena *arena,
    Sim__Records__Client **ret, uint64_t *ret_generation, rpc_status *reterr)
{
    host_key group = sim__key_client(client_id);
    *ret = NULL;
    if (strnlen(client_id, SIM_CLIENT_ID_MAX + 1) > SIM_CLIENT_ID_MAX || !client_id[0])
        return RPC_OK; /* none has such an ID */
    return sim__read(state, &group, sim__main, &sim__records__client__descriptor, arena,
        (ProtobufCMessage **)ret, ret_generation, reterr);
}

static rpc_code present(const char *client_id, const Sim__Records__Client *record, rpc_arena *arena,
    sim_client **ret, rpc_status *reterr)
{
    kept_client *kept = rpc_arena_alloc(arena, sizeof *kept);
    const char *id = rpc_arena_strndup(arena, client_id, strlen(client_id));
    const char *const *redirects = sim__list(arena, record->redirect_uris, record->n_redirect_uris);
    const char *const *scopes = sim__list(arena, record->scopes, record->n_scopes);
    const char *const *users = sim__list(arena, record->users, record->n_users);
    const char *const *key_services = sim__list(
        arena, record->key_services, record->n_key_services);
    if (!kept || !id || !redirects || !scopes || !users || !key_services)
        return sim__no_memory(reterr);
    *kept = (kept_client){.arena = arena,
        .client = {.client_id = id,
            .name = record->name,
            .auth = (sim_client_auth)record->auth,
            .redirect_uris = redirects,
            .jwks = record->jwks,
            .tls_san = record->tls_san,
            .grants = record->grants,
            .scopes = scopes,
            .users = users,
            .key_services = key_services,
            .token_alg = (trust_alg)record->token_alg,
            .bound = record->bound,
            .consent = (sim_consent_rule)record->consent,
            .disabled = record->disabled,
            .created_at = record->created_at,
            .revision = record->revision,
            .tokens_after = record->tokens_after}};
    *ret = &kept->client;
    return RPC_OK;
}

rpc_code sim_client_find(
    sim_state *state, const char *client_id, sim_client **ret, rpc_status *reterr)
{
    Sim__Records__Client *record = NULL;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    rpc_code code = sim__client_read(state, client_id, arena, &record, NULL, reterr);
    if (code == RPC_OK && (!record || record->deleted))
        code = no_such_client(reterr);
    if (code == RPC_OK)
        code = present(client_id, record, arena, ret, reterr);
    if (code != RPC_OK)
        rpc_arena_free(arena);
    return code;
}

rpc_code sim__client_stands(sim_state *state, const char *client_id, uint64_t era, rpc_arena *arena,
    uint64_t *ret_era, rpc_status *reterr)
{
    Sim__Records__Client *record = NULL;
    rpc_code code = sim__client_read(state, client_id, arena, &record, NULL, reterr);
    if (code != RPC_OK)
        return code;
    if (!record || record->deleted || record->disabled || (era && record->era != era))
        return rpc_status_set(reterr, RPC_NOT_FOUND, "the client has ended");
    if (ret_era)
        *ret_era = record->era;
    return RPC_OK;
}

rpc_code sim_client_unchanged(sim_state *state, const sim_client *client, rpc_status *reterr)
{
    Sim__Records__Client *now = NULL;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? sim__client_read(state, client->client_id, arena, &now, NULL, reterr)
                          : sim__no_memory(reterr);
    if (code == RPC_OK &&
        (!now || now->deleted || now->disabled || now->revision != client->revision))
        code = rpc_status_set(reterr, RPC_ABORTED, "the client was changed meanwhile");
    rpc_arena_free(arena);
    return code;
}

rpc_code sim_client_check_secret(
    sim_state *state, const char *client_id, const char *secret, rpc_status *reterr)
{
    uint8_t sha256[32], stored[32] = {0};
    Sim__Records__Client *record = NULL;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    rpc_code code = sim__client_read(state, client_id, arena, &record, NULL, reterr);
    bool may = record && !record->deleted && !record->disabled &&
               record->auth == SIM_AUTH_SECRET_BASIC && record->secret_sha256.len == sizeof stored;
    if (may)
        memcpy(stored, record->secret_sha256.data, sizeof stored);
    trust_sha256(rpc_bytes_of(secret, strnlen(secret, SIM_CODE_MAX)), sha256);
    bool equal = sodium_memcmp(sha256, stored, sizeof stored) == 0;
    if (code == RPC_OK && !(equal && may))
        code = rpc_status_set(reterr, RPC_UNAUTHENTICATED, "client or secret is wrong");
    rpc_arena_free(arena);
    return code;
}

typedef struct listing {
    sim_state *state;
    const char *after;
    sim_client_fn *fn;
    void *ctx;
    rpc_status status;
} listing;

static bool list_one(void *ctx, const store_entry *entry)
{
    listing *l = ctx;
    char client_id[SIM_CLIENT_ID_MAX + 1];
    size_t size = entry->group.size - 2;
    if (entry->item.size != 0 || size > SIM_CLIENT_ID_MAX)
        return true;
    memcpy(client_id, entry->group.data + 2, size);
    client_id[size] = '\0';
    sim_client *client = NULL;
    if (l->after && strcmp(client_id, l->after) <= 0)
        return true;
    rpc_code code = sim_client_find(l->state, client_id, &client, &l->status);
    if (code == RPC_NOT_FOUND) {
        l->status.code = RPC_OK; /* a tombstone */
        return true;
    }
    bool go = code == RPC_OK && l->fn(l->ctx, client);
    sim_client_free(client);
    return go;
}

rpc_code sim_clients_list(
    sim_state *state, const char *after, sim_client_fn *fn, void *ctx, rpc_status *reterr)
{
    listing l = {.state = state, .after = after, .fn = fn, .ctx = ctx};
    const store_scan_request request = {
        .group = rpc_bytes_str("c/"), .group_is_prefix = true, .one_per_group = true};
    rpc_code code = store_walk(state->db, &request, list_one, &l, reterr);
    if (code == RPC_OK && l.status.code != RPC_OK)
        code = rpc_status_text(reterr, l.status.code, l.status.message);
    return code;
}

/* ---- writing
 * --------------------------------------------------------------------------------------- */

static rpc_code put(sim_state *state, const char *client_id, uint64_t expected,
    const Sim__Records__Client *record, rpc_arena *arena, rpc_status *reterr)
{
    host_key group = sim__key_client(client_id);
    const store_change change = {.kind = STORE_PUT, .value = sim__pack(arena, &record->base)};
    return sim__update(state, &group, expected, &change, 1, reterr);
}

static char **strings(const char *const *list)
{
    return (char **)(uintptr_t)list;
}

/* Borrows from client. */
static void fill(Sim__Records__Client *record, const sim_client *client)
{
    record->name = sim__mutable(client->name ? client->name : "");
    record->auth = client->auth;
    record->redirect_uris = strings(client->redirect_uris);
    record->n_redirect_uris = sim__count(client->redirect_uris);
    record->jwks = sim__mutable(client->jwks ? client->jwks : "");
    record->tls_san = sim__mutable(client->tls_san ? client->tls_san : "");
    record->grants = client->grants;
    record->scopes = strings(client->scopes);
    record->n_scopes = sim__count(client->scopes);
    record->users = strings(client->users);
    record->n_users = sim__count(client->users);
    record->key_services = strings(client->key_services);
    record->n_key_services = sim__count(client->key_services);
    record->token_alg = client->token_alg;
    record->bound = client->bound;
    record->consent = client->consent;
    record->disabled = client->disabled;
}

static rpc_code add(sim_state *state, const sim_client *client, uint8_t sha256[32],
    rpc_arena *arena, rpc_status *reterr)
{
    Sim__Records__Client *before = NULL, record = SIM__RECORDS__CLIENT__INIT;
    uint64_t generation = 0;
    rpc_code code = sim__client_read(state, client->client_id, arena, &before, &generation, reterr);
    if (code != RPC_OK)
        return code;
    if (before && before->deleted)
        return rpc_status_set(reterr, RPC_ALREADY_EXISTS,
            "client_id: was a deleted client's; IDs are never given again, take another");
    if (before)
        return rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "client_id: there is a client of that ID already");
    fill(&record, client);
    record.created_at = sim__now_s(state);
    record.era = record.revision = 1;
    if (client->auth == SIM_AUTH_SECRET_BASIC)
        record.secret_sha256 = (ProtobufCBinaryData){.len = 32, .data = sha256};
    code = put(state, client->client_id, generation, &record, arena, reterr);
    return code == RPC_ABORTED ? rpc_status_set(reterr, RPC_ALREADY_EXISTS,
                                     "client_id: there is a client of that ID since just now")
                               : code;
}

rpc_code sim_client_add(
    sim_state *state, const sim_client *client, char **ret_secret, rpc_status *reterr)
{
    uint8_t drawn[SECRET_BYTES], sha256[32];
    rpc_code code = sim__client_check(client, reterr);
    if (code != RPC_OK)
        return code;
    char *secret = calloc(1, SECRET_CHARS + 1);
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    code = secret && arena ? RPC_OK : sim__no_memory(reterr);
    if (code == RPC_OK) {
        rpc_random(drawn, sizeof drawn);
        sodium_bin2base64(secret, SECRET_CHARS + 1, drawn, sizeof drawn,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        sodium_memzero(drawn, sizeof drawn);
        trust_sha256(rpc_bytes_str(secret), sha256);
        code = add(state, client, sha256, arena, reterr);
    }
    rpc_arena_free(arena);
    if (code == RPC_OK && client->auth == SIM_AUTH_SECRET_BASIC) {
        *ret_secret = secret;
        return RPC_OK;
    }
    if (secret)
        sodium_memzero(secret, SECRET_CHARS);
    free(secret);
    return code;
}

/* ---- what ends for a client
 * -------------------------------------------------------------------------- */

/* Revokes what a client got, then takes the note out of its record. */
static rpc_code finish(
    sim_state *state, const char *client_id, rpc_arena *arena, rpc_status *reterr)
{
    int64_t until = 0;
    Sim__Records__Client *before = NULL;
    uint64_t of_before;
    rpc_arena_reset(arena);
    rpc_code code = sim__client_read(state, client_id, arena, &before, &of_before, reterr);
    if (code == RPC_OK)
        code = sim__log_subject(
            state, client_id, before ? before->tokens_after : 0, &until, reterr);
    if (code == RPC_OK)
        code = sim__grants_end_client(state, client_id, reterr);
    if (code == RPC_OK)
        code = RPC_ABORTED;
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++) {
        Sim__Records__Client *record = NULL;
        uint64_t generation = 0;
        rpc_arena_reset(arena);
        code = sim__client_read(state, client_id, arena, &record, &generation, reterr);
        if (code != RPC_OK || !record)
            return code;
        record->ending = false;
        record->revision++;
        if (until > record->tokens_after)
            record->tokens_after = until;
        code = put(state, client_id, generation, record, arena, reterr);
    }
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}

typedef enum client_end { KEEP, END_TOKENS, END_ALL } client_end;
/** Changes a record; tells what ends. */
typedef client_end client_change(const void *ctx, Sim__Records__Client *record);

static rpc_code change_once(sim_state *state, const char *client_id, client_change *change,
    const void *ctx, rpc_arena *arena, client_end *ret_end, rpc_status *reterr)
{
    Sim__Records__Client *record = NULL;
    uint64_t generation = 0;
    rpc_arena_reset(arena);
    rpc_code code = sim__client_read(state, client_id, arena, &record, &generation, reterr);
    if (code == RPC_OK && (!record || record->deleted))
        code = no_such_client(reterr);
    const sim_client *next = ctx;
    if (code == RPC_OK && next && next->auth == SIM_AUTH_SECRET_BASIC &&
        record->auth != SIM_AUTH_SECRET_BASIC)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "auth: a secret is told when a client is added; add another client for "
            "client_secret_basic");
    if (code != RPC_OK)
        return code;
    *ret_end = change(ctx, record);
    record->revision++;
    record->era += *ret_end == END_ALL;
    record->ending = record->ending || *ret_end != KEEP;
    return put(state, client_id, generation, record, arena, reterr);
}

static rpc_code change_client(sim_state *state, const char *client_id, client_change *change,
    const void *ctx, rpc_status *reterr)
{
    client_end end = KEEP;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_ABORTED : sim__no_memory(reterr);
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++)
        code = change_once(state, client_id, change, ctx, arena, &end, reterr);
    if (code == RPC_ABORTED)
        code = sim__overtaken(reterr);
    if (code == RPC_OK && end != KEEP)
        code = finish(state, client_id, arena, reterr);
    rpc_arena_free(arena);
    return code;
}

static bool lost_one(char *const *before, size_t count, const char *const *now)
{
    for (size_t i = 0; i < count; i++)
        if (!sim__holds(now, before[i]))
            return true;
    return false;
}

static client_end replace(const void *ctx, Sim__Records__Client *record)
{
    const sim_client *client = ctx;
    client_end end = KEEP;
    if (lost_one(record->users, record->n_users, client->users) ||
        lost_one(record->scopes, record->n_scopes, client->scopes) ||
        lost_one(record->key_services, record->n_key_services, client->key_services) ||
        (record->grants & ~client->grants))
        end = END_TOKENS;
    if (client->disabled)
        end = END_ALL;
    fill(record, client);
    if (record->auth != SIM_AUTH_SECRET_BASIC)
        record->secret_sha256 = (ProtobufCBinaryData){0};
    return end;
}

rpc_code sim_client_update(sim_state *state, const sim_client *client, rpc_status *reterr)
{
    rpc_code code = sim__client_check(client, reterr);
    return code == RPC_OK ? change_client(state, client->client_id, replace, client, reterr) : code;
}

static client_end disable(const void *ctx, Sim__Records__Client *record)
{
    (void)ctx;
    record->disabled = true;
    return END_ALL;
}

static client_end enable(const void *ctx, Sim__Records__Client *record)
{
    (void)ctx;
    record->disabled = false;
    return KEEP;
}

rpc_code sim_client_set_disabled(
    sim_state *state, const char *client_id, bool disabled, rpc_status *reterr)
{
    return change_client(state, client_id, disabled ? disable : enable, NULL, reterr);
}

static client_end bury(const void *ctx, Sim__Records__Client *record)
{
    (void)ctx;
    static char nothing[] = "";
    record->deleted = true;
    record->jwks = record->tls_san = record->name = nothing;
    record->secret_sha256 = (ProtobufCBinaryData){0};
    record->n_redirect_uris = record->n_scopes = record->n_users = 0;
    record->n_key_services = 0;
    return END_ALL;
}

rpc_code sim_client_delete(sim_state *state, const char *client_id, rpc_status *reterr)
{
    return change_client(state, client_id, bury, NULL, reterr);
}

/* ---- after a crash
 * --------------------------------------------------------------------------------- */

typedef struct resuming {
    sim_state *state;
    const atomic_bool *stop;
    rpc_arena *arena;
    rpc_status status;
} resuming;

static bool resume_one(void *ctx, const store_entry *entry)
{
    resuming *r = ctx;
    char client_id[SIM_CLIENT_ID_MAX + 1];
    Sim__Records__Client *record = NULL;
    size_t size = entry->group.size - 2;
    if (entry->item.size != 0 || size > SIM_CLIENT_ID_MAX)
        return true;
    memcpy(client_id, entry->group.data + 2, size);
    client_id[size] = '\0';
    rpc_arena_reset(r->arena);
    return !atomic_load(r->stop) &&
           sim__client_read(r->state, client_id, r->arena, &record, NULL, &r->status) == RPC_OK &&
           (!record || !record->ending ||
               finish(r->state, client_id, r->arena, &r->status) == RPC_OK);
}

rpc_code sim__clients_sweep(sim_state *state, const atomic_bool *stop, rpc_status *reterr)
{
    resuming r = {.state = state, .stop = stop, .arena = rpc_arena_new(SIM__RECORD_ARENA)};
    if (!r.arena)
        return sim__no_memory(reterr);
    const store_scan_request request = {
        .group = rpc_bytes_str("c/"), .group_is_prefix = true, .one_per_group = true};
    rpc_code code = store_walk(state->db, &request, resume_one, &r, reterr);
    if (code == RPC_OK && r.status.code != RPC_OK)
        code = rpc_status_text(reterr, r.status.code, r.status.message);
    rpc_arena_free(r.arena);
    return code;
}
