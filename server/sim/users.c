/* SPDX-License-Identifier: Apache-2.0 */
/* Users: who they are, what ends for them. GPSIs are in gpsis.c. */
#include "state_internal.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 128u

typedef struct kept_user { /* in its own arena */
    rpc_arena *arena;
    sim_user user;
} kept_user;

void sim_user_free(sim_user *user)
{
    if (user)
        rpc_arena_free(((kept_user *)(void *)((char *)user - offsetof(kept_user, user)))->arena);
}

/* ---- what may be a name
 * -------------------------------------------------------------------------- */

static rpc_code check_username(const char *username, rpc_status *reterr)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-";
    size_t size = strnlen(username, SIM_USERNAME_MAX + 1);
    if (size < 1 || size > SIM_USERNAME_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "username: 1 to %d characters", SIM_USERNAME_MAX);
    if (strspn(username, allowed) != size)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "username: letters, digits and . _ @ + - of ASCII only");
    return RPC_OK;
}

rpc_code sim__check_display_name(const char *name, rpc_status *reterr)
{
    size_t size = strnlen(name, NAME_MAX_BYTES + 1);
    if (size > NAME_MAX_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "name: at most %u bytes", NAME_MAX_BYTES);
    char printable[NAME_MAX_BYTES + 1];
    memcpy(printable, name, size + 1);
    rpc_text_printable(printable);
    if (strcmp(printable, name) != 0)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "name: must be UTF-8 without control characters");
    return RPC_OK;
}

static rpc_code no_such_user(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND, "username: there is no such user");
}

/* ---- reading
 * --------------------------------------------------------------------------------------- */

rpc_code sim__user_read(sim_state *state, const char *username, rpc_arena *arena,
    Sim__Records__User **ret, uint64_t *ret_generation, rpc_status *reterr)
{
    host_key group = sim__key_user(username);
    *ret = NULL;
    if (strnlen(username, SIM_USERNAME_MAX + 1) > SIM_USERNAME_MAX || !username[0])
        return RPC_OK; /* nobody has such a name */
    return sim__read(state, &group, sim__main, &sim__records__user__descriptor, arena,
        (ProtobufCMessage **)ret, ret_generation, reterr);
}

/* Both records together make a mapping true. */
static rpc_code mapped(sim_state *state, const char *username, const Sim__Records__User *record,
    const char **list, size_t *ret_count, rpc_status *reterr)
{
    size_t count = 0;
    for (size_t i = 0; i < record->n_gpsis; i++) {
        char holder[SIM_USERNAME_MAX + 1];
        host_key group = sim__key_gpsi(record->gpsis[i]);
        rpc_code code = sim__read_text(state, &group, holder, sizeof holder, NULL, reterr);
        if (code != RPC_OK)
            return code;
        if (strcmp(holder, username) == 0)
            list[count++] = record->gpsis[i];
    }
    list[count] = NULL;
    *ret_count = count;
    return RPC_OK;
}

static rpc_code present(sim_state *state, const char *username, const Sim__Records__User *record,
    rpc_arena *arena, sim_user **ret, rpc_status *reterr)
{
    kept_user *kept = rpc_arena_alloc(arena, sizeof *kept);
    const char **gpsis = rpc_arena_alloc(arena, (record->n_gpsis + 1) * sizeof *gpsis);
    const char *name = rpc_arena_strndup(arena, username, strlen(username));
    size_t count = 0;
    if (!kept || !gpsis || !name)
        return sim__no_memory(reterr);
    rpc_code code = mapped(state, username, record, gpsis, &count, reterr);
    if (code != RPC_OK)
        return code;
    *kept = (kept_user){.arena = arena,
        .user = {.username = name,
            .sub = record->sub,
            .name = record->name,
            .has_password = record->password_hash[0] != '\0',
            .disabled = record->disabled,
            .gpsi_count = count,
            .gpsis = gpsis,
            .created_at = record->created_at,
            .era = record->era}};
    *ret = &kept->user;
    return RPC_OK;
}

/* sub: the one that it must have, or NULL. */
static rpc_code find(
    sim_state *state, const char *username, const char *sub, sim_user **ret, rpc_status *reterr)
{
    Sim__Records__User *record = NULL;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    rpc_code code = sim__user_read(state, username, arena, &record, NULL, reterr);
    if (code == RPC_OK && (!record || record->deleted || (sub && strcmp(record->sub, sub) != 0)))
        code = no_such_user(reterr);
    if (code == RPC_OK)
        code = present(state, username, record, arena, ret, reterr);
    if (code != RPC_OK)
        rpc_arena_free(arena);
    return code;
}

rpc_code sim_user_find(sim_state *state, const char *username, sim_user **ret, rpc_status *reterr)
{
    return find(state, username, NULL, ret, reterr);
}

rpc_code sim_user_by_sub(sim_state *state, const char *sub, sim_user **ret, rpc_status *reterr)
{
    char username[SIM_USERNAME_MAX + 1];
    host_key group = sim__key_sub(sub);
    rpc_code code = sim__read_text(state, &group, username, sizeof username, NULL, reterr);
    return code == RPC_OK ? find(state, username, sub, ret, reterr) : code;
}

rpc_code sim__user_stands(sim_state *state, const char *username, const char *sub, uint64_t era,
    rpc_arena *arena, int64_t *ret_tokens_after, rpc_status *reterr)
{
    Sim__Records__User *record = NULL;
    rpc_code code = sim__user_read(state, username, arena, &record, NULL, reterr);
    if (code != RPC_OK)
        return code;
    if (!record || record->deleted || record->disabled || record->era != era ||
        strcmp(record->sub, sub) != 0)
        return rpc_status_set(reterr, RPC_NOT_FOUND, "the user's session has ended");
    *ret_tokens_after = record->tokens_after;
    return RPC_OK;
}

/* ---- listing
 * --------------------------------------------------------------------------------------- */

typedef struct listing {
    sim_state *state;
    const char *after;
    sim_user_fn *fn;
    void *ctx;
    rpc_status status;
} listing;

static bool list_one(void *ctx, const store_entry *entry)
{
    listing *l = ctx;
    char username[SIM_USERNAME_MAX + 1];
    size_t size = entry->group.size - 2;
    if (entry->item.size != 0 || size > SIM_USERNAME_MAX)
        return true;
    memcpy(username, entry->group.data + 2, size);
    username[size] = '\0';
    sim_user *user = NULL;
    if (l->after && strcmp(username, l->after) <= 0)
        return true;
    rpc_code code = sim_user_find(l->state, username, &user, &l->status);
    if (code == RPC_NOT_FOUND) {
        l->status.code = RPC_OK; /* a tombstone */
        return true;
    }
    bool go = code == RPC_OK && l->fn(l->ctx, user);
    sim_user_free(user);
    return go;
}

rpc_code sim_users_list(
    sim_state *state, const char *after, sim_user_fn *fn, void *ctx, rpc_status *reterr)
{
    listing l = {.state = state, .after = after, .fn = fn, .ctx = ctx};
    const store_scan_request request = {
        .group = rpc_bytes_str("u/"), .group_is_prefix = true, .one_per_group = true};
    rpc_code code = store_walk(state->db, &request, list_one, &l, reterr);
    if (code == RPC_OK && l.status.code != RPC_OK)
        code = rpc_status_text(reterr, l.status.code, l.status.message);
    return code;
}

/* ---- adding
 * ---------------------------------------------------------------------------------------- */

static rpc_code put_user(sim_state *state, const char *username, uint64_t expected,
    const Sim__Records__User *record, bool drop_consents, rpc_arena *arena, rpc_status *reterr)
{
    host_key group = sim__key_user(username);
    const store_change changes[] = {
        {.kind = STORE_PUT, .value = sim__pack(arena, &record->base)},
        {.kind = STORE_DELETE_PREFIX, .item = rpc_bytes_str("k/")},
    };
    return sim__update(state, &group, expected, changes, drop_consents ? 2 : 1, reterr);
}

/* The sub is taken first: one that no user has is nobody's. */
static rpc_code draw_sub(
    sim_state *state, const char *username, char ret[SIM_SUB_CHARS + 1], rpc_status *reterr)
{
    uint8_t drawn[16];
    rpc_random(drawn, sizeof drawn);
    sodium_bin2base64(
        ret, SIM_SUB_CHARS + 1, drawn, sizeof drawn, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    host_key group = sim__key_sub(ret);
    return sim__write_text(state, &group, 0, username, reterr);
}

static rpc_code add(sim_state *state, const char *username, const char *name, const char *hash,
    rpc_arena *arena, rpc_status *reterr)
{
    char sub[SIM_SUB_CHARS + 1];
    Sim__Records__User *before = NULL, user = SIM__RECORDS__USER__INIT;
    uint64_t generation = 0;
    rpc_code code = sim__user_read(state, username, arena, &before, &generation, reterr);
    if (code == RPC_OK && before && !before->deleted)
        code = rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "username: there is a user of that name already");
    if (code == RPC_OK)
        code = draw_sub(state, username, sub, reterr);
    if (code != RPC_OK)
        return code;
    user.sub = sub;
    user.name = sim__mutable(name);
    user.password_hash = sim__mutable(hash);
    user.created_at = sim__now_s(state);
    user.era = before ? before->era + 1 : 1;
    user.tokens_after = before ? before->tokens_after : 0;
    code = put_user(state, username, generation, &user, true, arena, reterr);
    if (code == RPC_ABORTED)
        return rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "username: there is a user of that name since just now");
    return code;
}

static rpc_code check_names(const char *username, const char *name, rpc_status *reterr)
{
    rpc_code code = check_username(username, reterr);
    return code == RPC_OK ? sim__check_display_name(name ? name : "", reterr) : code;
}

static rpc_code add_hashed(
    sim_state *state, const char *username, const char *name, const char *hash, rpc_status *reterr)
{
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? add(state, username, name ? name : "", hash, arena, reterr)
                          : sim__no_memory(reterr);
    rpc_arena_free(arena);
    return code;
}

rpc_code sim_user_add(sim_state *state, const char *username, const char *name,
    const char *password, rpc_status *reterr)
{
    char hash[crypto_pwhash_STRBYTES] = "";
    rpc_code code = check_names(username, name, reterr);
    if (code == RPC_OK && password)
        code = sim__password_hash(state, password, hash, reterr);
    return code == RPC_OK ? add_hashed(state, username, name, hash, reterr) : code;
}

rpc_code sim_user_import(sim_state *state, const char *username, const char *name,
    const char *password_hash, rpc_status *reterr)
{
    rpc_code code = check_names(username, name, reterr);
    if (code == RPC_OK)
        code = sim__password_hash_check(password_hash, reterr);
    return code == RPC_OK ? add_hashed(state, username, name, password_hash, reterr) : code;
}

/* ---- passwords
 * ------------------------------------------------------------------------------------- */

/* Failing costs nothing: the old hash is as good as it was, and the next login tries again. */
static void keep_hash(
    sim_state *state, const char *username, const char *old, const char *next, rpc_arena *arena)
{
    rpc_status why;
    Sim__Records__User *record = NULL;
    uint64_t generation = 0;
    rpc_code code = sim__user_read(state, username, arena, &record, &generation, &why);
    if (code != RPC_OK || !record || strcmp(record->password_hash, old) != 0)
        return;
    record->password_hash = sim__mutable(next);
    code = put_user(state, username, generation, record, false, arena, &why);
    (void)code;
}

static rpc_code check(sim_state *state, const char *username, const char *password,
    rpc_arena *arena, uint64_t *ret_era, rpc_status *reterr)
{
    char next[crypto_pwhash_STRBYTES];
    Sim__Records__User *record = NULL;
    rpc_code code = sim__user_read(state, username, arena, &record, NULL, reterr);
    if (code != RPC_OK)
        return code;
    bool may = record && !record->deleted && !record->disabled && record->password_hash[0];
    code = sim__password_check(
        state, username, password, may ? record->password_hash : NULL, next, reterr);
    if (code != RPC_OK)
        return code;
    *ret_era = record->era;
    if (next[0])
        keep_hash(state, username, record->password_hash, next, arena);
    return RPC_OK;
}

rpc_code sim_user_check(sim_state *state, const char *username, const char *password,
    sim_user **ret, rpc_status *reterr)
{
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    uint64_t era = 0;
    sim_user *user = NULL;
    rpc_code code = check(state, username, password, arena, &era, reterr);
    rpc_arena_free(arena);
    if (code == RPC_OK)
        code = sim_user_find(state, username, &user, reterr);
    /* Disabled, deleted or with another password since it was checked. */
    if (code == RPC_NOT_FOUND || (user && (user->disabled || user->era != era)))
        code = rpc_status_set(reterr, RPC_UNAUTHENTICATED, "user name or password is wrong");
    if (code == RPC_OK)
        *ret = user;
    else
        sim_user_free(user);
    return code;
}

/* ---- what ends for a user
 * -------------------------------------------------------------------------- */

typedef struct ending {
    sim_state *state;
    const char *username;
    sim__user_change *change; /* NULL: none, or it is made */
    void *ctx;
    bool ended;                  /* the record is written */
    char sub[SIM_SUB_CHARS + 1]; /* whose, from then on */
    int64_t until;               /* what was issued until then is revoked */
} ending;

static rpc_code end_once(ending *e, rpc_arena *arena, rpc_status *reterr)
{
    Sim__Records__User *record = NULL;
    uint64_t generation = 0;
    bool drop_consents = false;
    rpc_arena_reset(arena);
    rpc_code code = sim__user_read(e->state, e->username, arena, &record, &generation, reterr);
    if (code == RPC_OK && !e->ended && (!record || record->deleted))
        code = no_such_user(reterr);
    if (code == RPC_OK && e->change)
        code = e->change(e->ctx, arena, record, &drop_consents, reterr);
    if (code == RPC_OK && !e->ended)
        rpc_text_copy(e->sub, sizeof e->sub, record->sub);
    if (code == RPC_OK)
        code = sim__log_subject(
            e->state, e->sub, record ? record->tokens_after : e->until, &e->until, reterr);
    if (code != RPC_OK || !record ||
        strcmp(record->sub, e->sub) != 0) /* the name is another's by now */
        return code;
    record->era++;
    if (e->until > record->tokens_after)
        record->tokens_after = e->until;
    return put_user(e->state, e->username, generation, record, drop_consents, arena, reterr);
}

/* A token is minted before its grant is looked at for the last time. So when the record was
 * written within the second that the revocation reaches to, no token of the old era escapes it;
 * else the revocation is made to reach further, once: after the record was written no token of the
 * old era is issued. */
rpc_code sim__user_end_with(
    sim_state *state, const char *username, sim__user_change *change, void *ctx, rpc_status *reterr)
{
    ending e = {.state = state, .username = username, .change = change, .ctx = ctx};
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_ABORTED : sim__no_memory(reterr);
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++) {
        code = end_once(&e, arena, reterr);
        if (code == RPC_OK && !e.ended) {
            e.ended = true;
            e.change = NULL;
            if (sim__now_s(state) > e.until)
                code = RPC_ABORTED;
        }
    }
    rpc_arena_free(arena);
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}

static rpc_code set_hash(void *ctx, rpc_arena *arena, Sim__Records__User *user,
    bool *ret_drop_consents, rpc_status *reterr)
{
    (void)arena, (void)ret_drop_consents, (void)reterr;
    user->password_hash = ctx;
    return RPC_OK;
}

rpc_code sim_user_set_password(
    sim_state *state, const char *username, const char *password, rpc_status *reterr)
{
    char hash[crypto_pwhash_STRBYTES];
    rpc_code code = sim__password_hash(state, password, hash, reterr);
    return code == RPC_OK ? sim__user_end_with(state, username, set_hash, hash, reterr) : code;
}

static rpc_code set_disabled(void *ctx, rpc_arena *arena, Sim__Records__User *user,
    bool *ret_drop_consents, rpc_status *reterr)
{
    (void)ctx, (void)arena, (void)ret_drop_consents, (void)reterr;
    user->disabled = true;
    return RPC_OK;
}

static rpc_code enable(sim_state *state, const char *username, rpc_arena *arena, rpc_status *reterr)
{
    rpc_code code = RPC_ABORTED;
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++) {
        Sim__Records__User *record = NULL;
        uint64_t generation = 0;
        rpc_arena_reset(arena);
        code = sim__user_read(state, username, arena, &record, &generation, reterr);
        if (code != RPC_OK)
            return code;
        if (!record || record->deleted)
            return no_such_user(reterr);
        record->disabled = false;
        code = put_user(state, username, generation, record, false, arena, reterr);
    }
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}

rpc_code sim_user_set_disabled(
    sim_state *state, const char *username, bool disabled, rpc_status *reterr)
{
    if (disabled)
        return sim__user_end_with(state, username, set_disabled, NULL, reterr);
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? enable(state, username, arena, reterr) : sim__no_memory(reterr);
    rpc_arena_free(arena);
    return code;
}

rpc_code sim_user_end(sim_state *state, const char *username, rpc_status *reterr)
{
    return sim__user_end_with(state, username, NULL, NULL, reterr);
}

static rpc_code bury(void *ctx, rpc_arena *arena, Sim__Records__User *user, bool *ret_drop_consents,
    rpc_status *reterr)
{
    (void)arena, (void)reterr;
    size_t *names = ctx;
    static char nothing[] = "";
    *names = user->n_gpsis;
    user->deleted = true;
    user->password_hash = user->name = nothing;
    user->n_gpsis = 0;
    *ret_drop_consents = true;
    return RPC_OK;
}

rpc_code sim_user_delete(sim_state *state, const char *username, rpc_status *reterr)
{
    sim_user *user = NULL;
    size_t names;
    rpc_code code = sim_user_find(state, username, &user, reterr);
    if (code == RPC_OK)
        code = sim__user_end_with(state, username, bury, &names, reterr);
    /* A claim that stays behind is nobody's: it is taken over by whom the GPSI is mapped to. */
    for (size_t i = 0; code == RPC_OK && i < user->gpsi_count; i++)
        code = sim__gpsi_release(state, username, user->gpsis[i], reterr);
    sim_user_free(user);
    return code;
}

/* ---- consents
 * -------------------------------------------------------------------------------------- */

static rpc_code consent_read(sim_state *state, const char *username, const char *client_id,
    rpc_arena *arena, Sim__Records__Consent **ret, rpc_status *reterr)
{
    host_key group = sim__key_user(username), item = sim__key_consent(client_id);
    return sim__read(state, &group, host_key_bytes(&item), &sim__records__consent__descriptor,
        arena, (ProtobufCMessage **)ret, NULL, reterr);
}

rpc_code sim_consent_find(sim_state *state, const char *username, const char *client_id,
    char *ret_scope, size_t room, bool *ret_digital_asset, rpc_status *reterr)
{
    Sim__Records__Consent *record = NULL;
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!arena)
        return sim__no_memory(reterr);
    rpc_code code = consent_read(state, username, client_id, arena, &record, reterr);
    if (code == RPC_OK && !rpc_text_copy(ret_scope, room, record ? record->scope : ""))
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "consent: its scope has more than the %zu bytes that there is room for", room);
    if (code == RPC_OK)
        *ret_digital_asset = record && record->digital_asset;
    rpc_arena_free(arena);
    return code;
}

static bool scope_has(const char *scope, const char *word, size_t size)
{
    for (const char *at = scope; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length;
    }
    return false;
}

/* What is given, and of what was given before as much as there is room for, each word once: a
 * client's scopes may change for ever, and who is asked again for an old one loses nothing. */
static char *scope_join(rpc_arena *arena, const char *given, const char *more)
{
    size_t size = strlen(given);
    char *scope = rpc_arena_alloc(arena, size + strlen(more) + 2);
    if (!scope)
        return NULL;
    memcpy(scope, given, size + 1);
    for (const char *at = more + strspn(more, " "); *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (!scope_has(scope, at, length) && size + (size > 0) + length <= SIM__TEXT_MAX) {
            if (size)
                scope[size++] = ' ';
            memcpy(scope + size, at, length);
            size += length;
            scope[size] = '\0';
        }
        at += length;
    }
    return scope;
}

static rpc_code give_once(sim_state *state, const char *username, const char *client_id,
    const char *scope, bool digital_asset, rpc_arena *arena, rpc_status *reterr)
{
    host_key group = sim__key_user(username), item = sim__key_consent(client_id);
    Sim__Records__Consent *before = NULL, consent = SIM__RECORDS__CONSENT__INIT;
    Sim__Records__User *user = NULL;
    uint64_t generation = 0;
    rpc_arena_reset(arena);
    rpc_code code = sim__user_read(state, username, arena, &user, &generation, reterr);
    if (code == RPC_OK && (!user || user->deleted))
        code = no_such_user(reterr);
    if (code == RPC_OK)
        code = consent_read(state, username, client_id, arena, &before, reterr);
    if (code != RPC_OK)
        return code;
    char *given = scope_join(arena, "", scope);
    consent.scope = given ? scope_join(arena, given, before ? before->scope : "") : NULL;
    if (!consent.scope)
        return sim__no_memory(reterr);
    consent.digital_asset = digital_asset || (before && before->digital_asset);
    consent.given_at = sim__now_s(state);
    const store_change change = {
        .kind = STORE_PUT, .item = host_key_bytes(&item), .value = sim__pack(arena, &consent.base)};
    return sim__update(state, &group, generation, &change, 1, reterr);
}

rpc_code sim_consent_give(sim_state *state, const char *username, const char *client_id,
    const char *scope, bool digital_asset, rpc_status *reterr)
{
    if (strnlen(scope, SIM__TEXT_MAX + 1) > SIM__TEXT_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "scope: at most %u bytes", SIM__TEXT_MAX);
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_ABORTED : sim__no_memory(reterr);
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++)
        code = give_once(state, username, client_id, scope, digital_asset, arena, reterr);
    rpc_arena_free(arena);
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}
