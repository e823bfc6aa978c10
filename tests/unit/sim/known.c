/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include "host.h"
#include "sim_records.pb-c.h"

#include <stdatomic.h>

static int64_t monotonic_us(void *ctx)
{
    return atomic_load(&((known *)ctx)->wall_ms) * 1000;
}

static int64_t wall_ms(void *ctx)
{
    known *k = ctx;
    return atomic_fetch_add(&k->wall_ms, k->tick_ms);
}

void known_ok(rpc_code code, const rpc_status *status, const char *file, int line)
{
    if (code != RPC_OK)
        fail_msg("%s:%d: %s: %s", file, line, rpc_code_name(code), status->message);
}

static void open_state(known *k)
{
    rpc_status status = {0};
    const store_lmdb_options db = {.directory = k->directory,
        .meta_map_bytes_max = 256 << 20,
        .chunks_map_bytes_max = 1 << 20,
        .sync = STORE_SYNC_PROCESS,
        .clock = &k->clock};
    OK(store_open_lmdb(&db, &k->db, &status));
    k->metrics = host_metrics_new();
    assert_non_null(k->metrics);
    const sim_state_options options = {.store = k->db,
        .directory = k->directory,
        .clock = &k->clock,
        .metrics = k->metrics,
        .code_life_s = 60,
        .refresh_idle_s = 3600,
        .refresh_life_s = 36000,
        .grants_max = k->grants_max,
        .session_life_s = 7200,
        .token_life_s_max = 900,
        .password_memory_bytes = k->password_memory_bytes ? k->password_memory_bytes : 8192,
        .password_passes = k->password_passes ? k->password_passes : 1,
        .hashes_at_once = 2,
        .hashes_waiting_max = k->hashes_waiting_max,
        .hashes_per_user = k->hashes_per_user,
        .revocations_max = k->revocations_max};
    OK(sim_state_open(&options, &k->state, &status));
}

static void add_people(known *k)
{
    rpc_status status = {0};
    char *secret = NULL;
    const char *const redirects[] = {REDIRECT, "com.example.app:/done", NULL};
    const char *const scopes[] = {"openid", "seal.da", NULL};
    const char *const users[] = {ALICE, "extid-*@example.com", NULL};
    const sim_client app = {.client_id = "app",
        .name = "The app",
        .redirect_uris = redirects,
        .grants = SIM_GRANT_CODE | SIM_GRANT_REFRESH,
        .scopes = scopes};
    const sim_client server = {.client_id = "server",
        .auth = SIM_AUTH_SECRET_BASIC,
        .grants = SIM_GRANT_CLIENT_CREDENTIALS,
        .scopes = scopes,
        .users = users};
    OK(sim_user_add(k->state, "alice", "Alice", "alice's password", &status));
    OK(sim_user_add(k->state, "bob", NULL, "bob's password", &status));
    OK(sim_user_map(k->state, "alice", ALICE, &status));
    OK(sim_user_map(k->state, "bob", BOB, &status));
    OK(sim_client_add(k->state, &app, &secret, &status));
    assert_null(secret);
    OK(sim_client_add(k->state, &server, &secret, &status));
    assert_non_null(secret);
    free(secret);
}

void known_open_empty(known *k)
{
    if (!k->directory[0])
        snprintf(k->directory, sizeof k->directory, "%s", test_tmpdir());
    atomic_store(&k->wall_ms, START_MS);
    k->clock = (rpc_clock){monotonic_us, wall_ms, k};
    open_state(k);
}

void known_open(known *k)
{
    memset(k, 0, sizeof *k);
    known_open_empty(k);
    add_people(k);
}

void known_close(known *k)
{
    sim_state_close(k->state);
    host_metrics_free(k->metrics);
    store_close(k->db);
}

void known_reopen(known *k)
{
    known_close(k);
    open_state(k);
}

void known_pass(known *k, int64_t seconds)
{
    atomic_fetch_add(&k->wall_ms, seconds * 1000);
}

sim_grant known_grant(known *k, const char *username)
{
    static char sub[SIM_SUB_CHARS + 1], name[SIM_USERNAME_MAX + 1];
    static const char *const actions[] = {"get", NULL};
    rpc_status status = {0};
    sim_user *user = NULL;
    OK(sim_user_find(k->state, username, &user, &status));
    snprintf(sub, sizeof sub, "%s", user->sub);
    snprintf(name, sizeof name, "%s", username);
    sim_grant grant = {.client_id = "app",
        .username = name,
        .sub = sub,
        .scope = "openid seal.da",
        .digital_asset = true,
        .actions = actions,
        .redirect_uri = REDIRECT,
        .code_challenge = CHALLENGE,
        .nonce = "n",
        .acr = "3gpp:acr:password",
        .auth_time = START_MS / 1000,
        .era = user->era};
    sim_user_free(user);
    return grant;
}

void known_code(known *k, const char *username, char ret[SIM_CODE_MAX])
{
    rpc_status status = {0};
    sim_grant grant = known_grant(k, username);
    OK(sim_grant_begin(k->state, &grant, ret, &status));
}

static rpc_code issue(known *k, sim_grant *grant, bool by_code, char ret_refresh[SIM_CODE_MAX],
    char *ret_jti, rpc_status *reterr)
{
    char jti[32];
    snprintf(jti, sizeof jti, "jti-%u", ++k->jtis);
    const sim_issue wanted = {.code = by_code,
        .refresh = true,
        .jti = jti,
        .expires_at = rpc_clock_wall_ms(&k->clock) / 1000 + 300};
    rpc_code code = sim_grant_issue(k->state, grant, &wanted, ret_refresh, reterr);
    if (ret_jti)
        memcpy(ret_jti, jti, sizeof jti);
    sim_grant_free(grant);
    return code;
}

rpc_code known_exchange(
    known *k, const char *code, char ret_refresh[SIM_CODE_MAX], char *ret_jti, rpc_status *reterr)
{
    sim_grant *grant = NULL;
    rpc_code read = sim_grant_by_code(k->state, "app", code, &grant, reterr);
    return read == RPC_OK ? issue(k, grant, true, ret_refresh, ret_jti, reterr) : read;
}

rpc_code known_refresh(known *k, const char *refresh, char ret_refresh[SIM_CODE_MAX], char *ret_jti,
    rpc_status *reterr)
{
    sim_grant *grant = NULL;
    rpc_code read = sim_grant_by_refresh(k->state, "app", refresh, &grant, reterr);
    return read == RPC_OK ? issue(k, grant, false, ret_refresh, ret_jti, reterr) : read;
}

void known_append(char list[128], const char *word)
{
    size_t size = strlen(list);
    snprintf(list + size, 128 - size, "%s ", word);
}

void known_counts(known *k, const char *line)
{
    size_t size = 0;
    char *text = host_metrics_text(k->metrics, &size);
    assert_non_null(text);
    if (!strstr(text, line))
        fail_msg("no line '%s' in:\n%s", line, text);
    free(text);
}

bool known_revoked(known *k, const char *jti, const char *sub, int64_t issued_at)
{
    const trust_token token = {
        .issuer = "https://sims.example", .jti = jti, .subject = sub, .issued_at = issued_at};
    return sim_revoked(k->state, &token);
}

static bool count_one(void *ctx, const sim_revocation *revocation)
{
    (void)revocation;
    ++*(size_t *)ctx;
    return true;
}

size_t known_logged(known *k, uint64_t after)
{
    size_t count = 0;
    rpc_status status = {0};
    OK(sim_revocations_after(k->state, after, count_one, &count, &status));
    return count;
}

void known_client_crashes(known *k, const char *client_id)
{
    store_wait wait;
    ProtobufCMessage *message = NULL;
    rpc_status status = {0};
    host_key group = host_key_of("c/", client_id);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    assert_int_equal(
        store_wait_get(k->db, host_key_bytes(&group), rpc_bytes_of(NULL, 0), &wait), RPC_OK);
    OK(host_record_unpack(
        &sim__records__client__descriptor, wait.op.view.bytes, arena, &message, &status));
    store_view_release(&wait.op.view);
    Sim__Records__Client *record = (Sim__Records__Client *)message;
    record->disabled = record->ending = true;
    record->era++;
    record->revision++;
    rpc_bytes packed = host_record_pack(message);
    const store_change change = {.kind = STORE_PUT, .value = packed};
    assert_int_equal(
        store_wait_update(k->db, host_key_bytes(&group), STORE_ANY_GENERATION, &change, 1, &wait),
        RPC_OK);
    free((void *)(uintptr_t)packed.data);
    rpc_arena_free(arena);
}

void known_sweep(known *k)
{
    static const atomic_bool never;
    rpc_status status = {0};
    OK(sim_state_sweep(k->state, &never, &status));
}

static bool count_record(void *ctx, const store_entry *entry)
{
    (void)entry;
    ++*(size_t *)ctx;
    return true;
}

size_t known_records(known *k, const char *prefix)
{
    size_t count = 0;
    rpc_status status = {0};
    const store_scan_request request = {.group = rpc_bytes_str(prefix), .group_is_prefix = true};
    OK(store_walk(k->db, &request, count_record, &count, &status));
    return count;
}
