/* SPDX-License-Identifier: Apache-2.0 */
/* The log of revocations: numbers, gaps, epoch, many writers, and what forgets. */
#include "known.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW_S (START_MS / 1000)

typedef struct told {
    size_t count, stop_at;
    uint64_t sequence[64], previous[64];
    char name[64][64];
} told;

static bool tell(void *ctx, const sim_revocation *revocation)
{
    told *t = ctx;
    assert_true(!revocation->jti != !revocation->subject);
    if (t->count < 64) {
        t->sequence[t->count] = revocation->sequence;
        t->previous[t->count] = revocation->previous;
        snprintf(t->name[t->count], sizeof t->name[0], "%s%s",
            revocation->jti ? "j:" : "s:", revocation->jti ? revocation->jti : revocation->subject);
    }
    return ++t->count != t->stop_at;
}

TEST(revocations_are_numbered_from_one_and_told_in_order)
{
    known k;
    rpc_status status = {0};
    told t = {0};
    known_open(&k);
    assert_int_equal(sim_revocations_sequence(k.state), 0);
    OK(sim_revoke_token(k.state, "a", NOW_S + 300, &status));
    OK(sim_revoke_subject(k.state, "alice", &status));
    OK(sim_revoke_token(k.state, "b", NOW_S + 300, &status));
    assert_int_equal(sim_revocations_sequence(k.state), 3);
    OK(sim_revocations_after(k.state, 0, tell, &t, &status));
    assert_int_equal(t.count, 3);
    assert_string_equal(t.name[0], "j:a");
    assert_string_equal(t.name[1], "s:alice");
    assert_string_equal(t.name[2], "j:b");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(t.sequence[i], i + 1);
        assert_int_equal(t.previous[i], i);
    }
    t = (told){0};
    OK(sim_revocations_after(k.state, 2, tell, &t, &status));
    assert_int_equal(t.count, 1);
    assert_int_equal(t.sequence[0], 3);
    assert_int_equal(t.previous[0], 2);
    t = (told){.stop_at = 2};
    OK(sim_revocations_after(k.state, 0, tell, &t, &status));
    assert_int_equal(t.count, 2);
    t = (told){0};
    OK(sim_revocations_after(k.state, 3, tell, &t, &status));
    OK(sim_revocations_after(k.state, 1000, tell, &t, &status));
    assert_int_equal(t.count, 0);
    known_close(&k);
}

TEST(revoked_token_is_known_at_once_and_after_a_restart)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    assert_false(known_revoked(&k, "a", "x", NOW_S));
    OK(sim_revoke_token(k.state, "a", NOW_S + 300, &status));
    for (int again = 0; again < 2; again++) {
        assert_true(known_revoked(&k, "a", "x", NOW_S));
        assert_false(known_revoked(&k, "b", "x", NOW_S));
        assert_false(known_revoked(&k, "x", "a", NOW_S)); /* a jti is no subject */
        known_reopen(&k);
    }
    known_close(&k);
}

TEST(subject_is_revoked_until_now_and_not_later)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    OK(sim_revoke_subject(k.state, "alice", &status));
    assert_true(known_revoked(&k, "j", "alice", NOW_S - 100));
    assert_true(known_revoked(&k, "j", "alice", NOW_S));
    assert_false(known_revoked(&k, "j", "alice", NOW_S + 1));
    known_close(&k);
}

TEST(epoch_stays_with_its_store)
{
    known k, other;
    uint8_t epoch[16];
    known_open(&k);
    memcpy(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    known_reopen(&k);
    assert_memory_equal(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    known_open(&other);
    assert_memory_not_equal(epoch, sim_revocations_epoch(other.state), sizeof epoch);
    known_close(&other);
    known_close(&k);
}

TEST(store_without_its_secret_is_of_another_epoch_and_keeps_its_revocations)
{
    known k;
    rpc_status status = {0};
    uint8_t epoch[16];
    char path[512];
    known_open(&k);
    OK(sim_revoke_token(k.state, "a", NOW_S + 300, &status));
    memcpy(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    snprintf(path, sizeof path, "%s/secret", k.directory);
    assert_int_equal(remove(path), 0); /* as after a restore */
    known_reopen(&k);
    assert_memory_not_equal(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    assert_int_equal(sim_revocations_sequence(k.state), 1);
    assert_int_equal(known_logged(&k, 0), 1);
    memcpy(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    known_reopen(&k);
    assert_memory_equal(epoch, sim_revocations_epoch(k.state), sizeof epoch);
    known_close(&k);
}

TEST(numbers_go_on_after_expired_ones_are_gone)
{
    known k;
    rpc_status status = {0};
    told t = {0};
    known_open(&k);
    OK(sim_revoke_token(k.state, "short", NOW_S + 10, &status));
    OK(sim_revoke_token(k.state, "long", NOW_S + 1000, &status));
    OK(sim_revoke_token(k.state, "short too", NOW_S + 10, &status));
    known_pass(&k, 100);
    OK(sim_revocations_after(k.state, 0, tell, &t, &status)); /* expired, though still there */
    assert_int_equal(t.count, 1);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "v"), 2); /* the head and one */
    known_reopen(&k);
    assert_int_equal(sim_revocations_sequence(k.state), 3);
    OK(sim_revoke_token(k.state, "next", NOW_S + 1000, &status));
    t = (told){0};
    OK(sim_revocations_after(k.state, 0, tell, &t, &status));
    assert_int_equal(t.count, 2);
    assert_int_equal(t.sequence[0], 2);
    assert_int_equal(t.previous[0], 0); /* a gap: number 1 has expired */
    assert_int_equal(t.sequence[1], 4);
    assert_int_equal(t.previous[1], 2);
    known_pass(&k, 2000);
    known_sweep(&k);
    assert_int_equal(known_records(&k, "v"), 1);
    known_reopen(&k);
    assert_int_equal(sim_revocations_sequence(k.state), 4);
    assert_int_equal(known_logged(&k, 0), 0);
    known_close(&k);
}

TEST(revocation_is_remembered_as_long_as_its_token_is_taken)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    OK(sim_revoke_token(k.state, "a", NOW_S + 300, &status));
    OK(sim_revoke_subject(k.state, "alice", &status));
    known_pass(&k, 300 + TRUST_SKEW_S);
    known_sweep(&k);
    assert_int_equal(known_logged(&k, 0), 2);
    known_pass(&k, 1);
    known_sweep(&k);
    assert_int_equal(known_logged(&k, 0), 1);
    known_pass(&k, 900 - 300 + TRUST_SKEW_S); /* the longest that any token lives */
    known_sweep(&k);
    assert_int_equal(known_logged(&k, 0), 0);
    known_close(&k);
}

TEST(numbers_are_found_from_any_on)
{
    enum { COUNT = 700 }; /* over several blocks of numbers */
    known k;
    rpc_status status = {0};
    char jti[32];
    known_open(&k);
    for (int i = 1; i <= COUNT; i++) {
        snprintf(jti, sizeof jti, "%d", i);
        OK(sim_revoke_token(k.state, jti, NOW_S + 300, &status));
    }
    static const uint64_t after[] = {0, 1, 254, 255, 256, 257, 511, 512, 600, 699, 700};
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        told t = {0};
        OK(sim_revocations_after(k.state, after[i], tell, &t, &status));
        assert_int_equal(t.count, COUNT - after[i]);
        if (t.count)
            assert_int_equal(t.sequence[0], after[i] + 1);
    }
    known_close(&k);
}

static void count_up(void *ctx)
{
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

TEST(watcher_is_told_of_new_revocations)
{
    known k;
    rpc_status status = {0};
    atomic_uint told_of = 0;
    known_open(&k);
    sim_revocations_watch(k.state, count_up, &told_of);
    OK(sim_revoke_token(k.state, "a", NOW_S + 300, &status));
    assert_int_equal(atomic_load(&told_of), 1);
    OK(sim_user_end(k.state, "alice", &status));
    assert_int_equal(atomic_load(&told_of), 2);
    known_close(&k);
}

/* ---- many at once
 * --------------------------------------------------------------------------------- */

typedef struct revoker {
    known *k;
    unsigned number;
    rpc_code code;
} revoker;

#define EACH 50

static void *revoke(void *arg)
{
    revoker *r = arg;
    rpc_status status;
    char jti[32];
    for (unsigned i = 0; i < EACH && r->code == RPC_OK; i++) {
        snprintf(jti, sizeof jti, "%u-%u", r->number, i);
        r->code = sim_revoke_token(r->k->state, jti, NOW_S + 300, &status);
    }
    return NULL;
}

static bool follow(void *ctx, const sim_revocation *revocation)
{
    uint64_t *last = ctx;
    assert_int_equal(revocation->sequence, *last + 1);
    assert_int_equal(revocation->previous, *last);
    *last = revocation->sequence;
    return true;
}

TEST(many_revokers_share_writes_and_every_revocation_has_its_number)
{
    enum { THREADS = 16 };
    known k;
    rpc_status status = {0};
    store_wait wait;
    pthread_t threads[THREADS];
    revoker revokers[THREADS];
    uint64_t last = 0;
    known_open(&k);
    for (unsigned i = 0; i < THREADS; i++) {
        revokers[i] = (revoker){&k, i, RPC_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, revoke, &revokers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(revokers[i].code, RPC_OK);
    }
    assert_int_equal(sim_revocations_sequence(k.state), THREADS * EACH);
    OK(sim_revocations_after(k.state, 0, follow, &last, &status));
    assert_int_equal(last, THREADS * EACH);
    store_op *op = store_wait_begin(&wait);
    assert_int_equal(store_wait_end(&wait, store_generation(k.db, rpc_bytes_str("v"), op)), RPC_OK);
    assert_true(wait.op.generation < THREADS * EACH); /* fewer writes than revocations */
    known_close(&k);
}

TEST(more_revocations_than_the_limit_are_refused)
{
    known k;
    rpc_status status = {0};
    memset(&k, 0, sizeof k);
    k.revocations_max = 4;
    known_open_empty(&k);
    for (int i = 0; i < 4; i++) {
        char jti[16];
        snprintf(jti, sizeof jti, "%d", i);
        OK(sim_revoke_token(k.state, jti, NOW_S + 300, &status));
    }
    REFUSED(sim_revoke_token(k.state, "more", NOW_S + 300, &status), RPC_RESOURCE_EXHAUSTED);
    known_counts(&k, "sim_revocations_refused_total 1\n");
    known_counts(&k, "sim_revocations_total 4\n");
    known_counts(&k, "sim_revocations_in_force 4\n");
    assert_int_equal(sim_revocations_sequence(k.state), 4);
    known_pass(&k, 1000);
    OK(sim_revoke_token(k.state, "later", NOW_S + 2000, &status));
    known_close(&k);
}
