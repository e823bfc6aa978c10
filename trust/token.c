/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens: what a verified JWS says, read strictly. A claim that is there in a form that
 * we do not know refuses the token; a claim that is absent is the decision's business. */
#include "trust_internal.h"

#include "cleanup.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LIFETIME_S_DEFAULT 900
#define TEXT_MAX           255  /* iss, sub, jti, client_id: TS 33.434 A.2.1 */
#define PROFILE_USERS_MAX  4096 /* what fits a token anyway */

typedef struct token_memory {
    _Atomic unsigned refs;
    rpc_arena *arena;
    trust_token token;
} token_memory;

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static rpc_code bad(rpc_status *reterr, const char *why)
{
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "token: %s", why);
}

static token_memory *memory_of(const trust_token *token)
{
    return (token_memory *)((uint8_t *)(uintptr_t)token - offsetof(token_memory, token));
}

trust_token *trust_token_ref(trust_token *token)
{
    atomic_fetch_add_explicit(&memory_of(token)->refs, 1, memory_order_relaxed);
    return token;
}

void trust_token_unref(trust_token *token)
{
    if (!token || atomic_fetch_sub_explicit(&memory_of(token)->refs, 1, memory_order_acq_rel) != 1)
        return;
    rpc_arena_free(memory_of(token)->arena);
    free(memory_of(token));
}

size_t trust__token_bytes(const trust_token *token)
{
    return sizeof(token_memory) + rpc_arena_used(memory_of(token)->arena);
}

static void token_unrefp(trust_token **token)
{
    trust_token_unref(*token);
}

static trust_token *new_token(void)
{
    token_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return NULL;
    atomic_init(&memory->refs, 1);
    memory->arena = rpc_arena_new(8 * TRUST_TOKEN_BYTES_MAX);
    if (memory->arena)
        return &memory->token;
    free(memory);
    return NULL;
}

/* ---- claims of simple form ------------------------------------------------------------------- */

/* A required string of 1..255 bytes. */
static bool take_text(trust_token *token, const json_t *claims, const char *name, const char **ret)
{
    const json_t *claim = json_object_get(claims, name);
    size_t size = json_string_length(claim);
    if (!json_is_string(claim) || size < 1 || size > TEXT_MAX)
        return false;
    *ret = rpc_arena_strndup(memory_of(token)->arena, json_string_value(claim), size);
    return *ret != NULL;
}

static rpc_code judge_times(
    trust_token *token, const json_t *claims, int64_t lifetime_max, int64_t now, rpc_status *reterr)
{
    int64_t not_before = 0;
    if (!trust__json_int(claims, "exp", &token->expires_at) ||
        !trust__json_int(claims, "iat", &token->issued_at))
        return bad(reterr, "`exp` and `iat` are required whole seconds since 1970");
    if (json_object_get(claims, "nbf") && !trust__json_int(claims, "nbf", &not_before))
        return bad(reterr, "`nbf` is not whole seconds since 1970");
    if (now > token->expires_at + TRUST_SKEW_S)
        return bad(reterr, "expired");
    if (token->issued_at > now + TRUST_SKEW_S)
        return bad(reterr, "issued in the future; compare the clocks");
    if (not_before > now + TRUST_SKEW_S)
        return bad(reterr, "not yet valid");
    if (token->expires_at <= token->issued_at ||
        token->expires_at - token->issued_at > lifetime_max)
        return bad(reterr, "lives longer than is taken");
    return RPC_OK;
}

static rpc_code judge_names(
    trust_token *token, const json_t *claims, const trust_issuer *issuer, rpc_status *reterr)
{
    if (!take_text(token, claims, "iss", &token->issuer) ||
        strcmp(token->issuer, issuer->issuer) != 0)
        return bad(reterr, "`iss` is not the issuer's");
    const char *const audiences[] = {issuer->audience, NULL};
    if (issuer->any_audience ? !take_text(token, claims, "aud", &token->audience)
                             : !trust__is_audience(json_object_get(claims, "aud"), audiences))
        return bad(reterr, "`aud` does not name this server");
    if (!take_text(token, claims, "sub", &token->subject))
        return bad(reterr, "`sub` is missing or not of 1 to 255 bytes");
    if (!take_text(token, claims, "jti", &token->jti))
        return bad(reterr, "`jti` is missing or not of 1 to 255 bytes");
    if (!take_text(token, claims, "client_id", &token->client_id))
        return bad(reterr, "`client_id` is missing or not of 1 to 255 bytes");
    const json_t *scope = json_object_get(claims, "scope");
    token->scope = json_is_string(scope) ? rpc_arena_strndup(memory_of(token)->arena,
                                               json_string_value(scope), json_string_length(scope))
                                         : NULL;
    return token->scope ? RPC_OK : bad(reterr, "`scope` is missing or no string");
}

/* ---- lists of users ----------------------------------------------------------------------------
 */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool trust_users_contain(const trust_users *users, const char *gpsi)
{
    return users->count > 0 &&
           bsearch(&gpsi, users->users, users->count, sizeof *users->users, by_text) != NULL;
}

static bool add_user(trust_token *token, trust_users *users, size_t max, rpc_bytes text)
{
    if (users->count == max || !trust_gpsi_valid(text))
        return false;
    char *copy = rpc_arena_strndup(memory_of(token)->arena, (const char *)text.data, text.size);
    if (!copy)
        return false;
    users->users[users->count++] = copy;
    return true;
}

/* A set: what is there twice counts once. */
static void sort_users(trust_users *users)
{
    if (users->count == 0)
        return;
    qsort(users->users, users->count, sizeof *users->users, by_text);
    size_t kept = 1;
    for (size_t i = 1; i < users->count; i++)
        if (strcmp(users->users[i], users->users[kept - 1]) != 0)
            users->users[kept++] = users->users[i];
    users->count = kept;
}

/* What is there and not what might be: verified tokens are kept by their size. */
static bool users_room(trust_token *token, trust_users *users, size_t count)
{
    users->users = rpc_arena_alloc(memory_of(token)->arena, (count + 1) * sizeof *users->users);
    return users->users != NULL;
}

/* A string, or an array of 1..max strings. */
static bool take_users(trust_token *token, const json_t *claim, size_t max, trust_users *ret)
{
    size_t count = json_is_array(claim) ? json_array_size(claim) : 1;
    if (!users_room(token, ret, count < max ? count : max))
        return false;
    if (json_is_string(claim))
        return add_user(
            token, ret, max, rpc_bytes_of(json_string_value(claim), json_string_length(claim)));
    if (!json_is_array(claim) || json_array_size(claim) < 1)
        return false;
    size_t i;
    json_t *entry;
    json_array_foreach(claim, i,
        entry) if (!json_is_string(entry) || !add_user(token, ret, max,
                                                 rpc_bytes_of(json_string_value(entry),
                                                     json_string_length(entry)))) return false;
    sort_users(ret);
    return true;
}

/* One string, single spaces, nothing before or behind; empty = nobody. */
static bool take_profile(trust_token *token, const json_t *claim)
{
    if (!json_is_string(claim))
        return false;
    const char *text = json_string_value(claim);
    size_t count = 1;
    for (const char *c = text; *c && count < PROFILE_USERS_MAX; c++)
        count += *c == ' ';
    if (!users_room(token, &token->profile, count))
        return false;
    token->has_profile = true;
    while (*text) {
        size_t size = strcspn(text, " ");
        if (!add_user(token, &token->profile, PROFILE_USERS_MAX, rpc_bytes_of(text, size)))
            return false;
        text += size;
        if (*text == ' ' && !*++text)
            return false;
    }
    sort_users(&token->profile);
    return true;
}

/* ---- authorization_details (RFC 9396) and cnf (RFC 8705)
 * ------------------------------------------ */

static unsigned action_bit(const json_t *entry)
{
    static const char *const names[] = {"create", "discovery", "get", "update", "delete"};
    const char *text = json_string_value(entry);
    for (unsigned i = 0; text && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0)
            return 1u << i;
    return 0;
}

static bool take_actions(trust_token *token, const json_t *actions)
{
    size_t i;
    json_t *entry;
    if (!json_is_array(actions) || json_array_size(actions) == 0)
        return false;
    json_array_foreach(actions, i, entry)
    {
        unsigned bit = action_bit(entry);
        if (bit == 0)
            return false;
        token->actions |= bit;
    }
    return true;
}

static bool only_members(const json_t *object, const char *const *known)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const char *const *it = known;
        while (*it && strcmp(*it, name) != 0)
            it++;
        if (!*it)
            return false;
    }
    return true;
}

static rpc_code take_details(trust_token *token, const json_t *details, rpc_status *reterr)
{
    static const char *const known[] = {"type", "identifier", "actions", "users", NULL};
    if (!json_is_array(details) || json_array_size(details) != 1)
        return bad(reterr, "`authorization_details` is not an array of one object");
    const json_t *detail = json_array_get(details, 0);
    const char *type = json_string_value(json_object_get(detail, "type"));
    if (!json_is_object(detail) || !type || strcmp(type, "digital_asset") != 0)
        return bad(reterr, "`authorization_details` is not of type digital_asset");
    if (!only_members(detail, known))
        return bad(reterr, "`authorization_details` has a member that we do not know");
    if (!take_actions(token, json_object_get(detail, "actions")))
        return bad(reterr, "`authorization_details` names no action, or one that we do not know");
    const json_t *identifier = json_object_get(detail, "identifier");
    if (identifier) {
        rpc_bytes id = rpc_bytes_of(json_string_value(identifier), json_string_length(identifier));
        if (!json_is_string(identifier) || !trust_asset_id_valid(id))
            return bad(reterr, "`identifier` is no asset ID");
        token->asset_id = rpc_arena_strndup(
            memory_of(token)->arena, (const char *)id.data, id.size);
        if (!token->asset_id) /* without it the token would be one for no asset */
            return bad(reterr, "no memory for `identifier`");
    }
    const json_t *users = json_object_get(detail, "users");
    token->has_users = users != NULL;
    if (users &&
        (!json_is_array(users) || !take_users(token, users, TRUST_USERS_MAX, &token->users)))
        return bad(reterr, "`users` is not an array of 1 to 64 GPSIs");
    return RPC_OK;
}

static bool take_binding(trust_token *token, const json_t *cnf)
{
    const json_t *print = json_object_get(cnf, "x5t#S256");
    if (!json_is_object(cnf) || json_object_size(cnf) != 1 || !json_is_string(print))
        return false;
    token->bound = true;
    return trust__jwk_bytes32(cnf, "x5t#S256", token->certificate_sha256);
}

/* Who a holder is; the list of Digital_profile may name users of others. */
static bool may_assert(const trust_issuer *issuer, const trust_users *users)
{
    for (size_t i = 0; issuer->gpsi_namespaces && i < users->count; i++) {
        const char *const *pattern = issuer->gpsi_namespaces;
        while (*pattern && !trust__gpsi_in_namespace(users->users[i], *pattern))
            pattern++;
        if (!*pattern)
            return false;
    }
    return true;
}

static rpc_code take_optional(
    trust_token *token, const json_t *claims, const trust_issuer *issuer, rpc_status *reterr)
{
    const json_t *claim = json_object_get(claims, "authorization_details");
    rpc_code code = claim ? take_details(token, claim, reterr) : RPC_OK;
    if (code != RPC_OK)
        return code;
    if (token->has_users && !issuer->may_delegate)
        return bad(reterr, "`users` from an issuer that may not delegate");
    claim = json_object_get(claims, issuer->gpsi_claim ? issuer->gpsi_claim : "gpsi");
    token->has_gpsis = claim != NULL;
    if (claim && !take_users(token, claim, TRUST_GPSIS_MAX, &token->gpsis))
        return bad(reterr, "`gpsi` is not one GPSI or an array of 1 to 8");
    if (!may_assert(issuer, &token->gpsis) || !may_assert(issuer, &token->users))
        return bad(reterr, "it asserts a GPSI outside the issuer's namespaces");
    claim = json_object_get(
        claims, issuer->profile_claim ? issuer->profile_claim : "Digital_profile");
    if (claim && !take_profile(token, claim))
        return bad(reterr, "`Digital_profile` is not one string of GPSIs with single spaces");
    claim = json_object_get(claims, "SKeyProv");
    if (claim && !take_text(token, claims, "SKeyProv", &token->skeyprov))
        return bad(reterr, "`SKeyProv` is not a string of 1 to 255 bytes");
    claim = json_object_get(claims, "cnf");
    if (claim && !take_binding(token, claim))
        return bad(reterr, "`cnf` is not {\"x5t#S256\": …}");
    return RPC_OK;
}

/* ---- verify
 * -------------------------------------------------------------------------------------- */

rpc_code trust_token_verify(
    rpc_bytes text, const trust_issuer *issuer, int64_t now, trust_token **ret, rpc_status *reterr)
{
    static const char *const at_jwt[] = {"at+jwt", NULL};
    trust_jws jws = {0};
    if (trust_keyring_purpose(issuer->keys) != TRUST_FOR_TOKENS)
        return bad(reterr, "the issuer's keys are not for tokens");
    if (trust_jws_verify(text, TRUST_TOKEN_BYTES_MAX, issuer->keys,
            issuer->typs ? issuer->typs : at_jwt, &jws, reterr) != TRUST_VALID)
        return RPC_UNAUTHENTICATED;
    RPC_AUTOFREE uint8_t *payload = jws.payload;
    if (issuer->algs && !(issuer->algs & 1u << trust_key_alg(jws.key)))
        return bad(reterr, "its algorithm is not one that is taken of this issuer");
    RPC_CLEANUP(json_freep)
    json_t *claims = trust_json_parse(
        rpc_bytes_of(payload, jws.payload_size), TRUST_TOKEN_BYTES_MAX, "the claims", reterr);
    if (!json_is_object(claims))
        return bad(reterr, "the claims are no JSON object, or one with a member twice");
    RPC_CLEANUP(token_unrefp) trust_token *token = new_token();
    if (!token)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "token: no memory");
    int64_t lifetime = issuer->lifetime_s_max ? issuer->lifetime_s_max : LIFETIME_S_DEFAULT;
    rpc_code code = judge_names(token, claims, issuer, reterr);
    if (code == RPC_OK)
        code = judge_times(token, claims, lifetime, now, reterr);
    if (code == RPC_OK)
        code = take_optional(token, claims, issuer, reterr);
    if (code != RPC_OK)
        return code;
    if (trust_key_get_state(jws.key) == TRUST_KEY_RETIRED)
        return bad(reterr, "its key is retired: no token under it can still live");
    if (!trust_key_signs_at(jws.key, token->issued_at))
        return bad(reterr, "signed outside the key's window");
    token->key_version = trust_keyring_version(issuer->keys);
    *ret = RPC_TAKE(token);
    return RPC_OK;
}

bool trust_token_key_unknown(rpc_bytes token, const trust_keyring *ring)
{
    char kid[TRUST_KID_MAX + 1];
    return trust__jws_peek_kid(token, TRUST_TOKEN_BYTES_MAX, kid) &&
           !trust_keyring_find(ring, rpc_bytes_str(kid));
}

bool trust_token_peek_issuer(rpc_bytes token, char *ret_issuer, size_t room)
{
    return trust__jws_peek(token, TRUST_TOKEN_BYTES_MAX, "iss", ret_issuer, room);
}

bool trust_token_has_scope(const trust_token *token, const char *scope)
{
    size_t size = strlen(scope);
    for (const char *at = token->scope; *at;) {
        size_t word = strcspn(at, " ");
        if (word == size && memcmp(at, scope, size) == 0)
            return true;
        at += word + (at[word] == ' ');
    }
    return false;
}
