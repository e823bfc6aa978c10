/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that another change of the same group overtakes: the store answers ABORTED, and the
 * second try works; after many it is said, and nothing was done. */
#include "known.h"

#include "store_impl.h"

#define FOR_EVER 1000000

/* The store behind every state of this file: before an update that expects a generation, somebody
 * else's takes it. Tests are one after the other, so one is enough. */
static const store_ops *real;
static store_ops contended;
static unsigned to_overtake, overtaken;

static store_progress overtake_update(store *db, rpc_bytes group, uint64_t expected,
    const store_change *changes, size_t count, store_op *op)
{
    if (expected != STORE_ANY_GENERATION && overtaken < to_overtake) {
        const store_change nothing = {.kind = STORE_DELETE, .item = rpc_bytes_str("not there")};
        store_wait wait;
        overtaken++;
        store_op *other = store_wait_begin(&wait);
        assert_int_equal(store_wait_end(&wait,
                             real->update(db, group, STORE_ANY_GENERATION, &nothing, 1, other)),
            RPC_OK);
    }
    return real->update(db, group, expected, changes, count, op);
}

static void contend(known *k, unsigned times)
{
    real = k->db->ops;
    contended = *real;
    contended.update = overtake_update;
    k->db->ops = &contended;
    to_overtake = times;
    overtaken = 0;
}

static void calm(known *k)
{
    to_overtake = 0;
    k->db->ops = real;
}

/* ---- what is changed ---------------------------------------------------------------------------
 */

static char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
static sim_grant *grant;

/** A change: what is there before, the change itself, and whether it is in effect. */
typedef struct changing {
    const char *name;
    void (*before)(known *k);
    rpc_code (*change)(known *k, rpc_status *reterr);
    bool (*in_effect)(known *k);
} changing;

static sim_user *alice(known *k)
{
    rpc_status status = {0};
    sim_user *user = NULL;
    rpc_code found = sim_user_find(k->state, "alice", &user, &status);
    assert_true(found == RPC_OK || found == RPC_NOT_FOUND);
    return user;
}

static void nothing_before(known *k)
{
    (void)k;
}

static rpc_code set_password(known *k, rpc_status *reterr)
{
    return sim_user_set_password(k->state, "alice", "another password", reterr);
}

static bool password_is_set(known *k)
{
    rpc_status status = {0};
    sim_user *user = NULL;
    rpc_code checked = sim_user_check(k->state, "alice", "another password", &user, &status);
    sim_user_free(user);
    return checked == RPC_OK;
}

static rpc_code disable(known *k, rpc_status *reterr)
{
    return sim_user_set_disabled(k->state, "alice", true, reterr);
}

static bool is_disabled(known *k)
{
    sim_user *user = alice(k);
    bool disabled = user->disabled;
    sim_user_free(user);
    return disabled;
}

static void disabled_before(known *k)
{
    rpc_status status = {0};
    OK(disable(k, &status));
}

static rpc_code enable(known *k, rpc_status *reterr)
{
    return sim_user_set_disabled(k->state, "alice", false, reterr);
}

static bool is_enabled(known *k)
{
    return !is_disabled(k);
}

static rpc_code map_one(known *k, rpc_status *reterr)
{
    return sim_user_map(k->state, "alice", "msisdn-4915550009", reterr);
}

static bool has_two_gpsis(known *k)
{
    sim_user *user = alice(k);
    bool two = user->gpsi_count == 2;
    sim_user_free(user);
    return two;
}

static rpc_code unmap_one(known *k, rpc_status *reterr)
{
    return sim_user_unmap(k->state, "alice", ALICE, reterr);
}

static bool is_free_for_bob(known *k)
{
    rpc_status status = {0};
    return sim_user_map(k->state, "bob", ALICE, &status) == RPC_OK;
}

static void code_before(known *k)
{
    known_code(k, "alice", code);
}

static rpc_code end_user(known *k, rpc_status *reterr)
{
    return sim_user_end(k->state, "alice", reterr);
}

static rpc_code delete_user(known *k, rpc_status *reterr)
{
    return sim_user_delete(k->state, "alice", reterr);
}

static bool is_deleted(known *k)
{
    sim_user *user = alice(k);
    sim_user_free(user);
    return !user;
}

static bool code_is_void(known *k)
{
    rpc_status status = {0};
    char unused[SIM_CODE_MAX];
    return known_exchange(k, code, unused, NULL, &status) == RPC_NOT_FOUND;
}

static rpc_code give_consent(known *k, rpc_status *reterr)
{
    return sim_consent_give(k->state, "alice", "app", "openid seal.da", true, reterr);
}

static bool consent_is_given(known *k)
{
    rpc_status status = {0};
    char scope[64] = "";
    bool assets = false;
    return sim_consent_find(k->state, "alice", "app", scope, sizeof scope, &assets, &status) ==
               RPC_OK &&
           assets && strcmp(scope, "openid seal.da") == 0;
}

static rpc_code disable_client(known *k, rpc_status *reterr)
{
    return sim_client_set_disabled(k->state, "app", true, reterr);
}

static rpc_code update_client(known *k, rpc_status *reterr)
{
    static const char *const redirects[] = {REDIRECT, NULL}, *const scopes[] = {"seal.da", NULL};
    static const char *const none[] = {NULL};
    const sim_client app = {.client_id = "app",
        .name = "Another name",
        .redirect_uris = redirects,
        .grants = SIM_GRANT_CODE,
        .scopes = scopes,
        .users = none,
        .disabled = true};
    return sim_client_update(k->state, &app, reterr);
}

static bool client_is_disabled(known *k)
{
    rpc_status status = {0};
    sim_client *client = NULL;
    OK(sim_client_find(k->state, "app", &client, &status));
    bool disabled = client->disabled;
    sim_client_free(client);
    return disabled;
}

static rpc_code delete_client(known *k, rpc_status *reterr)
{
    return sim_client_delete(k->state, "app", reterr);
}

static bool client_is_gone(known *k)
{
    rpc_status status = {0};
    sim_client *client = NULL;
    rpc_code found = sim_client_find(k->state, "app", &client, &status);
    sim_client_free(client);
    return found == RPC_NOT_FOUND;
}

static rpc_code exchange(known *k, rpc_status *reterr)
{
    return known_exchange(k, code, refresh, jti, reterr);
}

static bool code_is_used(known *k)
{
    rpc_status status = {0};
    bool used = sim_grant_by_code(k->state, "app", code, &grant, &status) == RPC_ABORTED;
    if (!used) {
        sim_grant_free(grant);
        grant = NULL;
    }
    return used;
}

static void refresh_before(known *k)
{
    rpc_status status = {0};
    known_code(k, "alice", code);
    OK(exchange(k, &status));
}

static rpc_code renew(known *k, rpc_status *reterr)
{
    char next[SIM_CODE_MAX];
    return known_refresh(k, refresh, next, jti, reterr);
}

static bool refresh_is_used(known *k)
{
    rpc_status status = {0};
    rpc_code read = sim_grant_by_refresh(k->state, "app", refresh, &grant, &status);
    sim_grant_free(grant);
    grant = NULL;
    return read == RPC_ABORTED;
}

static void grant_before(known *k)
{
    rpc_status status = {0};
    refresh_before(k);
    OK(sim_grant_by_refresh(k->state, "app", refresh, &grant, &status));
}

static rpc_code revoke_grant(known *k, rpc_status *reterr)
{
    return sim_grant_revoke(k->state, grant->family, reterr);
}

static bool grant_is_revoked(known *k)
{
    rpc_status status = {0};
    sim_grant *read = NULL;
    rpc_code found = sim_grant_by_refresh(k->state, "app", refresh, &read, &status);
    sim_grant_free(read);
    return found == RPC_NOT_FOUND && known_revoked(k, jti, "somebody", START_MS / 1000);
}

static const changing all[] = {
    {"another password", nothing_before, set_password, password_is_set},
    {"disabled", nothing_before, disable, is_disabled},
    {"enabled", disabled_before, enable, is_enabled},
    {"mapped", nothing_before, map_one, has_two_gpsis},
    {"unmapped", nothing_before, unmap_one, is_free_for_bob},
    {"logged out", code_before, end_user, code_is_void},
    {"deleted", nothing_before, delete_user, is_deleted},
    {"consented", nothing_before, give_consent, consent_is_given},
    {"client changed", nothing_before, update_client, client_is_disabled},
    {"client disabled", nothing_before, disable_client, client_is_disabled},
    {"client deleted", nothing_before, delete_client, client_is_gone},
    {"code exchanged", code_before, exchange, code_is_used},
    {"refreshed", refresh_before, renew, refresh_is_used},
    {"grant revoked", grant_before, revoke_grant, grant_is_revoked},
};
#define ALL (sizeof all / sizeof *all)

static void begin(known *k, const changing *c, unsigned times)
{
    known_open(k);
    c->before(k);
    contend(k, times);
}

static void end(known *k)
{
    sim_grant_free(grant);
    grant = NULL;
    known_close(k);
}

TEST(second_try_of_every_change_that_was_overtaken_works)
{
    known k;
    for (size_t i = 0; i < ALL; i++) {
        for (unsigned times = 1; times <= 5; times += 2) {
            rpc_status status = {0};
            begin(&k, &all[i], times);
            rpc_code changed = all[i].change(&k, &status);
            calm(&k);
            if (changed != RPC_OK || overtaken != times)
                fail_msg("%s, overtaken %u of %u times: %s", all[i].name, overtaken, times,
                    status.message);
            if (!all[i].in_effect(&k))
                fail_msg("%s: not in effect", all[i].name);
            end(&k);
        }
    }
}

TEST(change_that_is_always_overtaken_is_refused_in_the_end)
{
    known k;
    for (size_t i = 0; i < ALL; i++) {
        rpc_status status = {0};
        begin(&k, &all[i], FOR_EVER);
        rpc_code changed = all[i].change(&k, &status);
        calm(&k);
        if (changed != RPC_UNAVAILABLE || !strstr(status.message, "try again"))
            fail_msg("%s: %s: %s", all[i].name, rpc_code_name(changed), status.message);
        end(&k);
    }
}

TEST(code_that_was_overtaken_is_exchanged_once)
{
    known k;
    rpc_status status = {0};
    char first[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    contend(&k, 3);
    OK(known_exchange(&k, code, first, jti, &status));
    calm(&k);
    assert_int_equal(known_logged(&k, 0), 0); /* nobody took the second try for a second use */
    OK(known_refresh(&k, first, refresh, jti, &status));
    known_close(&k);
}

TEST(code_whose_exchange_was_refused_for_it_is_as_good_as_before)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    known_code(&k, "alice", code);
    contend(&k, FOR_EVER);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_UNAVAILABLE);
    calm(&k);
    OK(known_exchange(&k, code, refresh, jti, &status));
    assert_false(known_revoked(&k, jti, "somebody", START_MS / 1000));
    known_close(&k);
}
