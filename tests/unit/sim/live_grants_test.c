/* SPDX-License-Identifier: Apache-2.0 */
/* How many grants of a user with a client can be refreshed: the newest. */
#include "known.h"

#include <pthread.h>

#define NOW_S (START_MS / 1000)

static void open_limited(known *k, unsigned grants_max)
{
    known_open(k);
    k->grants_max = grants_max;
    known_reopen(k);
}

/** A login with a code and its exchange. */
static void log_in(known *k, const char *username, char ret_refresh[SIM_CODE_MAX], char *ret_jti)
{
    rpc_status status = {0};
    char code[SIM_CODE_MAX];
    known_code(k, username, code);
    OK(known_exchange(k, code, ret_refresh, ret_jti, &status));
}

static bool count_one(void *ctx, const sim_grant *grant)
{
    (void)grant;
    ++*(size_t *)ctx;
    return true;
}

static size_t live(known *k, const char *username)
{
    rpc_status status = {0};
    size_t count = 0;
    OK(sim_grants_list(k->state, username, count_one, &count, &status));
    return count;
}

TEST(one_more_than_the_limit_ends_the_oldest_and_only_that)
{
    enum { LOGINS = 5, LIMIT = 3 };
    known k;
    rpc_status status = {0};
    char refresh[LOGINS][SIM_CODE_MAX], jti[LOGINS][32];
    open_limited(&k, LIMIT);
    for (int i = 0; i < LOGINS; i++)
        log_in(&k, "alice", refresh[i], jti[i]);
    assert_int_equal(live(&k, "alice"), LIMIT);
    known_counts(&k, "sim_grants_displaced_total 2\n");
    for (int i = 0; i < LOGINS - LIMIT; i++)
        REFUSED(known_refresh(&k, refresh[i], refresh[i], NULL, &status), RPC_NOT_FOUND);
    for (int i = LOGINS - LIMIT; i < LOGINS; i++)
        OK(known_refresh(&k, refresh[i], refresh[i], NULL, &status));
    known_close(&k);
}

/* Else whoever logs in without end fills the log, and nobody's tokens could be revoked. */
TEST(what_is_displaced_fills_no_log)
{
    known k;
    char refresh[SIM_CODE_MAX], jti[32];
    open_limited(&k, 1);
    log_in(&k, "alice", refresh, jti);
    log_in(&k, "alice", refresh, NULL);
    assert_int_equal(known_logged(&k, 0), 0);
    assert_false(known_revoked(&k, jti, "somebody", NOW_S));
    known_close(&k);
}

TEST(limit_holds_after_a_restart)
{
    known k;
    rpc_status status = {0};
    char first[SIM_CODE_MAX], second[SIM_CODE_MAX];
    open_limited(&k, 1);
    log_in(&k, "alice", first, NULL);
    known_reopen(&k);
    log_in(&k, "alice", second, NULL);
    REFUSED(known_refresh(&k, first, first, NULL, &status), RPC_NOT_FOUND);
    OK(known_refresh(&k, second, second, NULL, &status));
    known_close(&k);
}

TEST(each_user_has_a_limit_of_their_own)
{
    known k;
    rpc_status status = {0};
    char alice[SIM_CODE_MAX], bob[SIM_CODE_MAX];
    open_limited(&k, 1);
    log_in(&k, "alice", alice, NULL);
    log_in(&k, "bob", bob, NULL);
    OK(known_refresh(&k, alice, alice, NULL, &status));
    OK(known_refresh(&k, bob, bob, NULL, &status));
    known_close(&k);
}

TEST(each_client_has_a_limit_of_its_own)
{
    known k;
    rpc_status status = {0};
    char secret[SIM_CODE_MAX], code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], *none = NULL;
    const char *const redirects[] = {REDIRECT, NULL}, *const scopes[] = {"openid", NULL};
    const sim_client other = {.client_id = "other",
        .name = "Other",
        .redirect_uris = redirects,
        .grants = SIM_GRANT_CODE | SIM_GRANT_REFRESH,
        .scopes = scopes};
    sim_grant *grant = NULL;
    open_limited(&k, 1);
    OK(sim_client_add(k.state, &other, &none, &status));
    log_in(&k, "alice", refresh, NULL);
    sim_grant asked = known_grant(&k, "alice");
    asked.client_id = "other";
    OK(sim_grant_begin(k.state, &asked, code, &status));
    OK(sim_grant_by_code(k.state, "other", code, &grant, &status));
    const sim_issue issue = {.code = true, .refresh = true, .jti = "o", .expires_at = NOW_S + 300};
    OK(sim_grant_issue(k.state, grant, &issue, secret, &status));
    sim_grant_free(grant);
    OK(known_refresh(&k, refresh, refresh, NULL, &status));
    assert_int_equal(live(&k, "alice"), 2);
    known_close(&k);
}

/* Whoever has a page opened in the user's browser could end the user's logins otherwise. */
TEST(code_that_nobody_exchanges_displaces_nothing)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    open_limited(&k, 1);
    log_in(&k, "alice", refresh, NULL);
    for (int i = 0; i < 3; i++)
        known_code(&k, "alice", code);
    OK(known_refresh(&k, refresh, refresh, NULL, &status));
    known_close(&k);
}

TEST(revoked_grant_makes_room)
{
    known k;
    rpc_status status = {0};
    char first[SIM_CODE_MAX], second[SIM_CODE_MAX], third[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    open_limited(&k, 2);
    log_in(&k, "alice", first, NULL);
    log_in(&k, "alice", second, NULL);
    OK(sim_grant_by_refresh(k.state, "app", second, &grant, &status));
    OK(sim_grant_revoke(k.state, grant->family, &status));
    sim_grant_free(grant);
    log_in(&k, "alice", third, NULL);
    OK(known_refresh(&k, first, first, NULL, &status));
    OK(known_refresh(&k, third, third, NULL, &status));
    known_close(&k);
}

TEST(refresh_that_meets_its_grants_end_is_refused_and_revokes_nothing)
{
    known k;
    rpc_status status = {0};
    char refresh[SIM_CODE_MAX], other[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    open_limited(&k, 1);
    log_in(&k, "alice", refresh, NULL);
    OK(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status));
    log_in(&k, "alice", other, NULL);
    const sim_issue issue = {.refresh = true, .jti = "late", .expires_at = NOW_S + 300};
    REFUSED(sim_grant_issue(k.state, grant, &issue, refresh, &status), RPC_NOT_FOUND);
    sim_grant_free(grant);
    assert_int_equal(known_logged(&k, 0), 0);
    assert_int_equal(live(&k, "alice"), 1);
    known_close(&k);
}

TEST(code_of_a_displaced_grant_used_again_revokes_what_it_issued)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32];
    open_limited(&k, 1);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, jti, &status));
    log_in(&k, "alice", refresh, NULL);
    REFUSED(known_exchange(&k, code, refresh, NULL, &status), RPC_ABORTED);
    assert_true(known_revoked(&k, jti, "somebody", NOW_S));
    known_close(&k);
}

/* Some at a time: an update stays small. */
TEST(lower_limit_is_reached_by_the_next_logins)
{
    known k;
    char refresh[SIM_CODE_MAX];
    open_limited(&k, 20);
    for (int i = 0; i < 20; i++)
        log_in(&k, "alice", refresh, NULL);
    k.grants_max = 2;
    known_reopen(&k);
    log_in(&k, "alice", refresh, NULL);
    assert_int_equal(live(&k, "alice"), 13);
    for (int i = 0; i < 2; i++)
        log_in(&k, "alice", refresh, NULL);
    assert_int_equal(live(&k, "alice"), 2);
    known_close(&k);
}

TEST(without_limit_all_live)
{
    enum { LOGINS = 100 };
    known k;
    char refresh[SIM_CODE_MAX];
    open_limited(&k, 0);
    for (int i = 0; i < LOGINS; i++)
        log_in(&k, "alice", refresh, NULL);
    assert_int_equal(live(&k, "alice"), LOGINS);
    assert_int_equal(known_records(&k, "g/"), 2 * LOGINS); /* grants and their tokens, no list */
    known_close(&k);
}

TEST(displaced_grants_go_with_their_tokens_and_the_list_with_the_last)
{
    known k;
    char refresh[SIM_CODE_MAX];
    open_limited(&k, 1);
    for (int i = 0; i < 3; i++)
        log_in(&k, "alice", refresh, NULL);
    assert_int_equal(known_records(&k, "g/"), 3 * 2 + 1);
    known_pass(&k, 1100);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 2);
    known_pass(&k, 36100);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 0);
    known_close(&k);
}

typedef struct person {
    known *k;
    sim_grant *grant;
    pthread_barrier_t *start;
    char jti[32];
} person;

static void *exchange(void *arg)
{
    person *p = arg;
    rpc_status status = {0};
    char refresh[SIM_CODE_MAX];
    const sim_issue issue = {
        .code = true, .refresh = true, .jti = p->jti, .expires_at = NOW_S + 300};
    pthread_barrier_wait(p->start);
    OK(sim_grant_issue(p->k->state, p->grant, &issue, refresh, &status));
    return NULL;
}

TEST(logins_at_once_all_succeed_and_the_limit_holds)
{
    enum { AT_ONCE = 16, LIMIT = 3 };
    known k;
    rpc_status status = {0};
    person people[AT_ONCE];
    pthread_t threads[AT_ONCE];
    pthread_barrier_t start;
    open_limited(&k, LIMIT);
    pthread_barrier_init(&start, NULL, AT_ONCE);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        char code[SIM_CODE_MAX];
        people[i] = (person){.k = &k, .start = &start};
        known_code(&k, "alice", code);
        OK(sim_grant_by_code(k.state, "app", code, &people[i].grant, &status));
        snprintf(people[i].jti, sizeof people[i].jti, "at-once-%u", i);
        assert_int_equal(pthread_create(&threads[i], NULL, exchange, &people[i]), 0);
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        pthread_join(threads[i], NULL);
        sim_grant_free(people[i].grant);
    }
    pthread_barrier_destroy(&start);
    assert_int_equal(live(&k, "alice"), LIMIT);
    known_close(&k);
}
