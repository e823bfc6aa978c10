/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and refresh tokens: once, in time, by whom they are for; and what follows when not. */
#include "known.h"

#include "host.h"
#include "sim_records.pb-c.h"

#include <pthread.h>

TEST(code_is_exchanged_once_and_gives_a_refresh_token)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    assert_string_equal(grant->username, "alice");
    assert_string_equal(grant->scope, "openid seal.da");
    assert_string_equal(grant->redirect_uri, REDIRECT);
    assert_string_equal(grant->code_challenge, CHALLENGE);
    assert_string_equal(grant->actions[0], "get");
    assert_null(grant->actions[1]);
    assert_false(grant->bound);
    sim_grant_free(grant);
    OK(known_exchange(&k, code, refresh, jti, &status)); /* reading it did not use it up */
    assert_true(refresh[0] != '\0');
    OK(known_refresh(&k, refresh, refresh, jti, &status));
    assert_false(known_revoked(&k, jti, "somebody", START_MS / 1000));
    known_close(&k);
}

TEST(code_used_twice_revokes_what_it_issued)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, jti, &status));
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_ABORTED);
    assert_true(known_revoked(&k, jti, "somebody", START_MS / 1000));
    known_counts(&k, "sim_grants_reused_total 1\n");
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_NOT_FOUND);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_NOT_FOUND);
    assert_int_equal(known_logged(&k, 0), 1);
    known_reopen(&k);
    assert_true(known_revoked(&k, jti, "somebody", START_MS / 1000));
    known_close(&k);
}

TEST(code_of_another_client_is_not_found_and_stays_usable)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    REFUSED(sim_grant_by_code(k.state, "server", code, &grant, &status), RPC_NOT_FOUND);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    REFUSED(sim_grant_by_code(k.state, "server", code, &grant, &status), RPC_NOT_FOUND);
    REFUSED(sim_grant_by_refresh(k.state, "server", refresh, &grant, &status), RPC_NOT_FOUND);
    OK(known_refresh(&k, refresh, refresh, NULL, &status)); /* nothing was revoked */
    known_close(&k);
}

TEST(code_expires)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    known_pass(&k, 59);
    sim_grant *grant = NULL;
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    known_pass(&k, 1);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_NOT_FOUND);
    /* An exchange that began in time ends in time. */
    known_sweep(&k);
    const sim_issue issue = {.code = true, .refresh = true, .jti = "j", .expires_at = 1700000400};
    OK(sim_grant_issue(k.state, grant, &issue, refresh, &status));
    sim_grant_free(grant);
    known_close(&k);
}

TEST(old_refresh_token_ends_the_family)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], first[SIM_CODE_MAX], second[SIM_CODE_MAX], jti[3][32];
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, first, jti[0], &status));
    OK(known_refresh(&k, first, second, jti[1], &status));
    assert_string_not_equal(first, second);
    REFUSED(known_refresh(&k, first, first, NULL, &status), RPC_ABORTED);
    REFUSED(known_refresh(&k, second, second, NULL, &status), RPC_NOT_FOUND);
    for (int i = 0; i < 2; i++)
        assert_true(known_revoked(&k, jti[i], "somebody", START_MS / 1000));
    assert_int_equal(known_records(&k, "g/"), 1); /* the issued tokens stand in the log now */
    known_close(&k);
}

TEST(refresh_token_expires_when_idle_and_in_any_case)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    for (int i = 0; i < 10; i++) {
        known_pass(&k, 3599);
        OK(known_refresh(&k, refresh, refresh, NULL, &status));
    }
    known_pass(&k, 10); /* ten hours are over */
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_NOT_FOUND);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    known_pass(&k, 3600);
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(issue_without_a_new_refresh_token_ends_the_refreshing)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], none[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    const sim_issue issue = {.jti = "last", .expires_at = 1700000300};
    OK(sim_grant_issue(k.state, grant, &issue, none, &status));
    assert_string_equal(none, "");
    sim_grant_free(grant);
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_ABORTED);
    known_close(&k);
}

TEST(grant_that_was_used_since_it_was_read_is_aborted_and_revoked)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    OK(known_exchange(&k, code, refresh, jti, &status));
    const sim_issue issue = {
        .code = true, .refresh = true, .jti = "late", .expires_at = 1700000300};
    REFUSED(sim_grant_issue(k.state, grant, &issue, refresh, &status), RPC_ABORTED);
    assert_true(known_revoked(&k, jti, "somebody", START_MS / 1000));
    assert_false(known_revoked(&k, "late", "somebody", START_MS / 1000)); /* never noted */
    sim_grant_free(grant);
    known_close(&k);
}

TEST(issue_beside_the_end_of_its_grant_is_refused_and_no_second_use)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    k.revocations_max = 1; /* the end stops half way: the log is full */
    known_reopen(&k);
    OK(sim_revoke_token(k.state, "another", START_MS / 1000 + 300, &status));
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    REFUSED(sim_grant_revoke(k.state, grant->family, &status), RPC_RESOURCE_EXHAUSTED);
    const sim_issue issue = {.refresh = true, .jti = "j", .expires_at = START_MS / 1000 + 300};
    REFUSED(sim_grant_issue(k.state, grant, &issue, refresh, &status), RPC_NOT_FOUND);
    known_counts(&k, "sim_grants_reused_total 0\n");
    sim_grant_free(grant);
    known_close(&k);
}

TEST(certificate_is_bound_at_the_exchange)
{
    known k;
    rpc_status status = {0};
    uint8_t sha256[32] = {1, 2, 3};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    const sim_issue issue = {
        .code = true, .refresh = true, .jti = "j", .expires_at = 1700000300, .bind_sha256 = sha256};
    OK(sim_grant_issue(k.state, grant, &issue, refresh, &status));
    sim_grant_free(grant);
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    assert_true(grant->bound);
    assert_memory_equal(grant->certificate_sha256, sha256, 32);
    sim_grant_free(grant);
    known_close(&k);
}

TEST(grant_of_an_era_that_is_over_is_not_begun)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX];
    known_open(&k);
    sim_grant grant = known_grant(&k, "alice");
    OK(sim_user_end(k.state, "alice", &status)); /* between the login page and the consent */
    REFUSED(sim_grant_begin(k.state, &grant, code, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(grant_with_members_missing_or_too_long_is_refused)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], text[1100];
    const char *const actions[] = {"get", "update", "delete", "create", "discovery", "x", NULL};
    known_open(&k);
    sim_grant grant = known_grant(&k, "alice");
    grant.code_challenge = "";
    REFUSED(sim_grant_begin(k.state, &grant, code, &status), RPC_INVALID_ARGUMENT);
    grant = known_grant(&k, "alice");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    grant.nonce = text;
    REFUSED(sim_grant_begin(k.state, &grant, code, &status), RPC_INVALID_ARGUMENT);
    grant = known_grant(&k, "alice");
    grant.actions = actions;
    REFUSED(sim_grant_begin(k.state, &grant, code, &status), RPC_INVALID_ARGUMENT);
    assert_int_equal(known_records(&k, "g/"), 0);
    known_close(&k);
}

TEST(codes_that_are_none_are_not_found)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], other[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    known_code(&k, "alice", code);
    const char *const broken[] = {"", "dc_", "x", refresh, "dc_AAAA"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        REFUSED(sim_grant_by_code(k.state, "app", broken[i], &grant, &status), RPC_NOT_FOUND);
    REFUSED(sim_grant_by_refresh(k.state, "app", code, &grant, &status), RPC_NOT_FOUND);
    for (size_t i = 0; i < strlen(code); i++) { /* every character counts */
        memcpy(other, code, sizeof other);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        REFUSED(sim_grant_by_code(k.state, "app", other, &grant, &status), RPC_NOT_FOUND);
    }
    memset(other, 'A', sizeof other); /* without an end */
    REFUSED(sim_grant_by_code(k.state, "app", other, &grant, &status), RPC_NOT_FOUND);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    sim_grant_free(grant);
    known_close(&k);
}

TEST(another_secret_knows_no_code)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], path[512];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    known_reopen(&k);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    sim_grant_free(grant);
    snprintf(path, sizeof path, "%s/secret", k.directory);
    assert_int_equal(remove(path), 0); /* a stolen copy of the store does not have it */
    known_reopen(&k);
    REFUSED(sim_grant_by_code(k.state, "app", code, &grant, &status), RPC_NOT_FOUND);
    known_close(&k);
}

/* ---- two at once
 * ---------------------------------------------------------------------------------- */

typedef struct racer {
    known *k;
    const sim_grant *grant;
    pthread_barrier_t *start;
    char jti[32];
    rpc_code code;
} racer;

static void *race(void *arg)
{
    racer *r = arg;
    char refresh[SIM_CODE_MAX];
    rpc_status status;
    const sim_issue issue = {
        .code = true, .refresh = true, .jti = r->jti, .expires_at = START_MS / 1000 + 300};
    pthread_barrier_wait(r->start);
    r->code = sim_grant_issue(r->k->state, r->grant, &issue, refresh, &status);
    return NULL;
}

TEST(of_two_exchanges_at_once_exactly_one_wins_and_the_family_ends)
{
    enum { ROUNDS = 20, RACERS = 4 };
    known k;
    rpc_status status = {0};
    known_open(&k);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char code[SIM_CODE_MAX];
        sim_grant *grant = NULL;
        pthread_barrier_t start;
        pthread_t threads[RACERS];
        racer racers[RACERS];
        unsigned won = 0;
        known_code(&k, "alice", code);
        OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
        pthread_barrier_init(&start, NULL, RACERS);
        for (unsigned i = 0; i < RACERS; i++) {
            racers[i] = (racer){.k = &k, .grant = grant, .start = &start};
            snprintf(racers[i].jti, sizeof racers[i].jti, "race-%u-%u", round, i);
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        for (unsigned i = 0; i < RACERS; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < RACERS; i++) {
            won += racers[i].code == RPC_OK;
            if (racers[i].code == RPC_OK)
                assert_true(known_revoked(&k, racers[i].jti, "somebody", START_MS / 1000));
            else
                assert_true(racers[i].code == RPC_ABORTED || racers[i].code == RPC_NOT_FOUND);
        }
        assert_int_equal(won, 1);
        pthread_barrier_destroy(&start);
        sim_grant_free(grant);
    }
    known_close(&k);
}

typedef struct thief {
    known *k;
    char refresh[SIM_CODE_MAX];
    rpc_code code;
} thief;

/* As fast as it goes, until it goes no more. */
static void *refresh_on_and_on(void *arg)
{
    thief *t = arg;
    rpc_status status;
    while ((t->code = known_refresh(t->k, t->refresh, t->refresh, NULL, &status)) == RPC_OK)
        ;
    return NULL;
}

TEST(family_ends_however_fast_a_thief_refreshes)
{
    enum { TOKENS = 1500 };
    known k;
    rpc_status status = {0};
    pthread_t thread;
    char code[SIM_CODE_MAX], first[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    thief t = {.k = &k};
    OK(known_exchange(&k, code, first, NULL, &status));
    OK(known_refresh(&k, first, t.refresh, NULL, &status));
    for (int i = 0; i < TOKENS; i++)
        OK(known_refresh(&k, t.refresh, t.refresh, NULL, &status));
    assert_int_equal(pthread_create(&thread, NULL, refresh_on_and_on, &t), 0);
    REFUSED(known_refresh(&k, first, first, NULL, &status), RPC_ABORTED);
    pthread_join(thread, NULL);
    assert_true(t.code == RPC_NOT_FOUND || t.code == RPC_ABORTED);
    assert_int_equal(known_records(&k, "g/"), 1);
    known_close(&k);
}

/* As that many refreshes leave them. */
static void put_tokens(known *k, const uint8_t family[16], unsigned count)
{
    enum { AT_ONCE = 2048, ROOM = 160 };
    static char items[AT_ONCE][ROOM];
    static store_change changes[AT_ONCE];
    Sim__Records__Issued issued = SIM__RECORDS__ISSUED__INIT;
    issued.expires_at = START_MS / 1000 + 300;
    const rpc_bytes record = host_record_pack(&issued.base);
    char group[8];
    store_wait wait;
    snprintf(group, sizeof group, "g/%02x%x", family[0], family[1] >> 4);
    for (unsigned at = 0; at < count; at += AT_ONCE) {
        const unsigned some = count - at < AT_ONCE ? count - at : AT_ONCE;
        for (unsigned i = 0; i < some; i++) {
            memcpy(items[i], family, 16);
            int size = snprintf(items[i] + 16, ROOM - 16, "t%0100u", at + i);
            changes[i] = (store_change){.kind = STORE_PUT,
                .item = rpc_bytes_of(items[i], 16 + (size_t)size),
                .value = record};
        }
        assert_int_equal(store_wait_update(k->db, rpc_bytes_str(group), STORE_ANY_GENERATION,
                             changes, some, &wait),
            RPC_OK);
    }
    free((void *)(uintptr_t)record.data);
}

/* Begins one, exchanges its code, and adds tokens; *ret_sub is its user's. */
static void grant_with_tokens(known *k, unsigned count, char ret_code[SIM_CODE_MAX],
    char ret_refresh[SIM_CODE_MAX], char ret_sub[SIM_SUB_CHARS + 1])
{
    rpc_status status = {0};
    sim_grant *grant = NULL;
    known_code(k, "alice", ret_code);
    OK(known_exchange(k, ret_code, ret_refresh, NULL, &status));
    OK(sim_grant_by_refresh(k->state, "app", ret_refresh, &grant, &status));
    put_tokens(k, grant->family, count);
    snprintf(ret_sub, SIM_SUB_CHARS + 1, "%s", grant->sub);
    sim_grant_free(grant);
}

TEST(tokens_of_a_grant_are_revoked_one_by_one_up_to_4096)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], sub[SIM_SUB_CHARS + 1], jti[128];
    known_open(&k);
    grant_with_tokens(&k, 4095, code, refresh, sub);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_ABORTED);
    assert_int_equal(known_logged(&k, 0), 4096);
    snprintf(jti, sizeof jti, "%0100u", 4094u);
    assert_true(known_revoked(&k, jti, "somebody", START_MS / 1000));
    assert_false(known_revoked(&k, "another", sub, START_MS / 1000));
    known_counts(&k, "sim_grants_too_large_total 0\n");
    known_close(&k);
}

TEST(grant_with_more_tokens_ends_by_one_revocation_of_its_user)
{
    enum { TOKENS = 4096 };
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], sub[SIM_SUB_CHARS + 1];
    known_open(&k);
    grant_with_tokens(&k, TOKENS, code, refresh, sub);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_ABORTED);
    assert_int_equal(known_logged(&k, 0), 1);
    assert_true(known_revoked(&k, "any", sub, START_MS / 1000));
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_NOT_FOUND);
    known_counts(&k, "sim_grants_too_large_total 1\n");
    assert_int_equal(known_records(&k, "g/"), 1); /* the tokens' went */
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status)); /* who logs in again goes on */
    known_close(&k);
}

TEST(grant_with_more_tokens_of_a_user_who_ended_since_ends_without_another)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], sub[SIM_SUB_CHARS + 1];
    sim_grant *grant = NULL;
    known_open(&k);
    grant_with_tokens(&k, 300000, code, refresh, sub);
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    OK(sim_user_end(k.state, "alice", &status));
    OK(sim_grant_revoke(k.state, grant->family, &status));
    sim_grant_free(grant);
    assert_int_equal(known_logged(&k, 0), 1); /* the end's own */
    assert_int_equal(known_records(&k, "g/"), 1);
    known_close(&k);
}

TEST(exchanges_of_many_grants_at_once_all_succeed)
{
    enum { THREADS = 8 };
    known k;
    rpc_status status = {0};
    sim_grant *grants[THREADS];
    pthread_t threads[THREADS];
    racer racers[THREADS];
    pthread_barrier_t start;
    known_open(&k);
    pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        char code[SIM_CODE_MAX];
        known_code(&k, i % 2 ? "alice" : "bob", code);
        OK(sim_grant_by_code(k.state, "app", code, &grants[i], &status));
        racers[i] = (racer){.k = &k, .grant = grants[i], .start = &start};
        snprintf(racers[i].jti, sizeof racers[i].jti, "many-%u", i);
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].code, RPC_OK);
        sim_grant_free(grants[i]);
    }
    pthread_barrier_destroy(&start);
    known_close(&k);
}

/* ---- what an operator sees
 * ------------------------------------------------------------------------- */

static bool count(void *ctx, const sim_grant *grant)
{
    assert_string_equal(grant->username, "alice");
    ++*(size_t *)ctx;
    return true;
}

TEST(live_grants_of_a_user_are_listed)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    size_t live = 0;
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "bob", code);
    for (int i = 0; i < 3; i++) {
        known_code(&k, "alice", code);
        OK(known_exchange(&k, code, refresh, NULL, &status));
    }
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    OK(sim_grant_revoke(k.state, grant->family, &status));
    OK(sim_grant_revoke(k.state, grant->family, &status)); /* again: as good as once */
    sim_grant_free(grant);
    assert_int_equal(known_logged(&k, 0), 1);
    OK(sim_grants_list(k.state, "alice", count, &live, &status));
    assert_int_equal(live, 2);
    live = 0;
    OK(sim_user_end(k.state, "alice", &status));
    OK(sim_grants_list(k.state, "alice", count, &live, &status));
    assert_int_equal(live, 0);
    known_close(&k);
}
