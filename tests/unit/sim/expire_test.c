/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep removes what nobody can use any more, and nothing else. */
#include "known.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW_S   (START_MS / 1000)
#define GRACE_S 61

TEST(unused_code_goes_after_its_time_and_a_grace)
{
    known k;
    char code[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    known_pass(&k, 60 + GRACE_S - 1);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 1);
    known_pass(&k, 1);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 0);
    known_close(&k);
}

TEST(grant_stays_while_its_refresh_token_or_access_token_may_be_used)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    known_open(&k);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, NULL, &status));
    assert_int_equal(known_records(&k, "g/"), 2); /* and the access token */
    known_pass(&k, 300 + TRUST_SKEW_S + GRACE_S);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 1);
    known_pass(&k, 3000);
    OK(known_refresh(&k, refresh, refresh, NULL, &status));
    known_pass(&k, 3599);
    known_sweep(&k);
    OK(known_refresh(&k, refresh, refresh, NULL, &status));
    known_pass(&k, 3600 + GRACE_S);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 0);
    REFUSED(known_refresh(&k, refresh, refresh, NULL, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(used_code_is_remembered_as_long_as_what_it_issued)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], none[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    const sim_issue issue = {.code = true, .jti = "j", .expires_at = NOW_S + 300};
    OK(sim_grant_issue(k.state, grant, &issue, none, &status));
    sim_grant_free(grant);
    known_pass(&k, 300);
    known_sweep(&k);
    REFUSED(sim_grant_by_code(k.state, "app", code, &grant, &status), RPC_ABORTED);
    assert_true(known_revoked(&k, "j", "somebody", NOW_S));
    known_close(&k);
}

TEST(expired_sessions_go)
{
    known k;
    rpc_status status = {0};
    char cookie[SIM_CODE_MAX];
    sim_user *user = NULL;
    sim_session session;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    OK(sim_session_begin(k.state, user, "a", cookie, &status));
    known_pass(&k, 7000);
    OK(sim_session_begin(k.state, user, "a", cookie, &status));
    sim_user_free(user);
    known_pass(&k, 200 + GRACE_S);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "b/"), 1);
    OK(sim_session_find(k.state, cookie, &session, &status));
    known_close(&k);
}

TEST(sweep_stops_when_told)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX];
    atomic_bool stop = true;
    known_open(&k);
    known_code(&k, "alice", code);
    known_pass(&k, 1000);
    OK(sim_state_sweep(k.state, &stop, &status));
    assert_int_equal(known_records(&k, "g/"), 1);
    known_close(&k);
}

TEST(many_expired_grants_go)
{
    enum { COUNT = 3000 };
    known k;
    rpc_status status = {0};
    known_open(&k);
    sim_grant grant = known_grant(&k, "alice");
    for (int i = 0; i < COUNT; i++) {
        char code[SIM_CODE_MAX];
        OK(sim_grant_begin(k.state, &grant, code, &status));
    }
    assert_int_equal(known_records(&k, "g/"), COUNT);
    known_pass(&k, 1000);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "g/"), 0);
    known_close(&k);
}

/* ---- ends that were interrupted
 * ------------------------------------------------------------------------ */

/* As a crash leaves it between the grant's mark and the log. */
static void interrupt_an_end(known *k, char ret_jti[32])
{
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    k->revocations_max = 1;
    known_reopen(k);
    OK(sim_revoke_token(k->state, "another", NOW_S + 300, &status));
    known_code(k, "alice", code);
    OK(known_exchange(k, code, refresh, ret_jti, &status));
    REFUSED(known_exchange(k, code, refresh, NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_false(known_revoked(k, ret_jti, "somebody", NOW_S));
}

TEST(end_of_a_grant_that_was_interrupted_is_finished_by_the_sweep)
{
    known k;
    char jti[32];
    known_open(&k);
    interrupt_an_end(&k, jti);
    k.revocations_max = 0;
    known_reopen(&k);
    assert_false(known_revoked(&k, jti, "somebody", NOW_S));
    known_sweep(&k);
    assert_true(known_revoked(&k, jti, "somebody", NOW_S));
    assert_int_equal(known_records(&k, "g/"), 1); /* its token is no longer noted */
    known_sweep(&k);
    assert_int_equal(known_logged(&k, 0), 2);
    known_close(&k);
}

TEST(end_that_cannot_be_finished_keeps_nothing_else_from_being_swept)
{
    static const atomic_bool never;
    known k;
    rpc_status status = {0};
    char jti[32], code[SIM_CODE_MAX];
    known_open(&k);
    interrupt_an_end(&k, jti);
    for (int i = 0; i < 100; i++)
        known_code(&k, "bob", code);
    known_pass(&k, 60 + GRACE_S);
    REFUSED(sim_state_sweep(k.state, &never, &status), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(known_records(&k, "g/"), 2); /* the grant and its token */
    known_close(&k);
}

/* ---- beside exchanges
 * --------------------------------------------------------------------------------- */

typedef struct sweeper {
    known *k;
    atomic_bool done;
} sweeper;

static void *sweep_on(void *arg)
{
    sweeper *s = arg;
    while (!atomic_load(&s->done))
        known_sweep(s->k);
    return NULL;
}

TEST(sweep_never_removes_what_is_in_use)
{
    enum { ROUNDS = 200 };
    known k;
    rpc_status status = {0};
    pthread_t thread;
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    known_open(&k);
    sweeper s = {.k = &k};
    assert_int_equal(pthread_create(&thread, NULL, sweep_on, &s), 0);
    for (int i = 0; i < ROUNDS; i++) {
        known_code(&k, "alice", code);
        known_pass(&k, 59);
        OK(known_exchange(&k, code, refresh, NULL, &status));
        known_pass(&k, 400); /* tokens of before expire, the family does not */
        OK(known_refresh(&k, refresh, refresh, NULL, &status));
    }
    atomic_store(&s.done, true);
    pthread_join(thread, NULL);
    known_close(&k);
}
