/* SPDX-License-Identifier: Apache-2.0 */
/* Revocations: just what was named is refused, as long as it has to be. */
#include "test.h"
#include "trust.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW 1790000000
#define ISS "https://sims.example"

/* Only what a revocation looks at. */
static trust_token token_of(
    const char *issuer, const char *subject, const char *jti, int64_t issued_at)
{
    return (trust_token){.issuer = issuer, .subject = subject, .jti = jti, .issued_at = issued_at};
}

static bool refused(trust_revocations *table, const char *issuer, const char *subject,
    const char *jti, int64_t issued_at)
{
    trust_token token = token_of(issuer, subject, jti, issued_at);
    return trust_revocations_has(table, &token);
}

static void revoke_token(trust_revocations *table, const char *jti, int64_t expires_at)
{
    rpc_status status = {0};
    trust_revocation revocation = {.issuer = ISS, .jti = jti, .expires_at = expires_at};
    if (trust_revocations_add(table, &revocation, NOW, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void revoke_subject(
    trust_revocations *table, const char *subject, int64_t issued_until, int64_t expires_at)
{
    rpc_status status = {0};
    trust_revocation revocation = {
        .issuer = ISS, .subject = subject, .issued_until = issued_until, .expires_at = expires_at};
    if (trust_revocations_add(table, &revocation, NOW, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(revocation_of_a_token_refuses_that_token_only)
{
    trust_revocations *table = trust_revocations_new(100);
    assert_false(refused(table, ISS, "s", "j", NOW));
    revoke_token(table, "j", NOW + 900);
    assert_true(refused(table, ISS, "s", "j", NOW));
    assert_true(refused(table, ISS, "s", "j", NOW + 500)); /* whenever it was issued */
    assert_false(refused(table, ISS, "s", "j2", NOW));
    assert_false(refused(table, ISS, "s", "J", NOW));
    assert_false(refused(table, ISS, "j", "s", NOW)); /* no subject of that name */
    trust_revocations_free(table);
}

TEST(revocation_of_a_subject_refuses_what_was_issued_until_then)
{
    trust_revocations *table = trust_revocations_new(100);
    revoke_subject(table, "s", NOW, NOW + 900);
    assert_true(refused(table, ISS, "s", "a", NOW - 100));
    assert_true(refused(table, ISS, "s", "b", NOW));
    assert_false(refused(table, ISS, "s", "c", NOW + 1));
    assert_false(refused(table, ISS, "t", "a", NOW));
    assert_false(refused(table, ISS, "t", "s", NOW)); /* no token of that name */
    trust_revocations_free(table);
}

TEST(revocation_is_of_one_issuer)
{
    trust_revocations *table = trust_revocations_new(100);
    revoke_token(table, "j", NOW + 900);
    revoke_subject(table, "s", NOW, NOW + 900);
    assert_true(refused(table, ISS, "s", "j", NOW));
    assert_false(refused(table, "https://other.example", "s", "j", NOW));
    assert_false(refused(table, ISS "/", "s", "j", NOW));
    /* Where one name ends and the next begins is part of it. */
    assert_false(refused(table, ISS "s", "", "", NOW));
    assert_false(refused(table, "https://sims.exampl", "es", "ej", NOW));
    trust_revocations_free(table);
}

TEST(revocation_said_again_keeps_the_later_times)
{
    trust_revocations *table = trust_revocations_new(100);
    revoke_subject(table, "s", NOW, NOW + 900);
    revoke_subject(table, "s", NOW - 50, NOW + 100);
    assert_true(refused(table, ISS, "s", "j", NOW));
    assert_int_equal(trust_revocations_count(table, NOW + 900), 1);
    revoke_subject(table, "s", NOW + 50, NOW + 950);
    assert_true(refused(table, ISS, "s", "j", NOW + 50));
    assert_int_equal(trust_revocations_count(table, NOW + 950), 1);
    assert_int_equal(trust_revocations_count(table, NOW + 951), 0);
    trust_revocations_free(table);
}

TEST(revocation_that_has_expired_counts_no_more_and_makes_room)
{
    enum { MOST = 50 };
    trust_revocations *table = trust_revocations_new(MOST);
    char name[32];
    rpc_status status = {0};
    for (unsigned i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "old-%u", i);
        revoke_token(table, name, NOW + 10);
    }
    assert_int_equal(trust_revocations_count(table, NOW + 10), MOST);
    assert_int_equal(trust_revocations_count(table, NOW + 11), 0);
    trust_revocation fresh = {.issuer = ISS, .jti = "new", .expires_at = NOW + 900};
    assert_int_equal(
        trust_revocations_add(table, &fresh, NOW + 10, &status), RPC_RESOURCE_EXHAUSTED);
    assert_false(refused(table, ISS, "s", "new", NOW));
    assert_int_equal(trust_revocations_add(table, &fresh, NOW + 11, &status), RPC_OK);
    assert_true(refused(table, ISS, "s", "new", NOW));
    assert_false(refused(table, ISS, "s", "old-0", NOW)); /* forgotten */
    assert_int_equal(trust_revocations_count(table, NOW + 11), 1);
    trust_revocations_free(table);
}

TEST(revocation_of_what_has_expired_already_is_not_kept)
{
    trust_revocations *table = trust_revocations_new(1);
    rpc_status status = {0};
    trust_revocation late = {.issuer = ISS, .jti = "j", .expires_at = NOW - 1};
    assert_int_equal(trust_revocations_add(table, &late, NOW, &status), RPC_OK);
    assert_int_equal(trust_revocations_count(table, 0), 0);
    assert_int_equal(trust_revocations_epoch(table), 0);
    revoke_token(table, "k", NOW); /* the only place is still free */
    assert_true(refused(table, ISS, "s", "k", NOW));
    trust_revocations_free(table);
}

TEST(revocation_after_one_that_expired_starts_anew)
{
    trust_revocations *table = trust_revocations_new(10);
    rpc_status status = {0};
    revoke_subject(table, "s", NOW + 500, NOW + 10);
    trust_revocation again = {
        .issuer = ISS, .subject = "s", .issued_until = NOW + 100, .expires_at = NOW + 900};
    assert_int_equal(trust_revocations_add(table, &again, NOW + 100, &status), RPC_OK);
    assert_true(refused(table, ISS, "s", "j", NOW + 100));
    assert_false(refused(table, ISS, "s", "j", NOW + 101)); /* the first was forgotten */
    trust_revocations_free(table);
}

TEST(revocations_beyond_the_limit_are_refused_and_the_others_stay)
{
    enum { MOST = 300 };
    trust_revocations *table = trust_revocations_new(MOST);
    char name[32];
    rpc_status status = {0};
    for (unsigned i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "j-%u", i);
        revoke_token(table, name, NOW + 900);
    }
    uint64_t epoch = trust_revocations_epoch(table);
    trust_revocation more = {.issuer = ISS, .jti = "more", .expires_at = NOW + 900};
    assert_int_equal(trust_revocations_add(table, &more, NOW, &status), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(status.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "300"));
    assert_int_equal(trust_revocations_epoch(table), epoch);
    assert_false(refused(table, ISS, "s", "more", NOW));
    more.jti = "j-7"; /* is there: may be said again */
    assert_int_equal(trust_revocations_add(table, &more, NOW, &status), RPC_OK);
    for (unsigned i = 0; i < MOST; i++) {
        snprintf(name, sizeof name, "j-%u", i);
        assert_true(refused(table, ISS, "s", name, NOW));
    }
    assert_int_equal(trust_revocations_count(table, NOW), MOST);
    trust_revocations_free(table);
}

TEST(revocations_grow_over_thousands_and_forget_none)
{
    enum { MANY = 20000 };
    trust_revocations *table = trust_revocations_new(2 * MANY);
    char name[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n-%u", i);
        if (i % 2)
            revoke_token(table, name, NOW + 900 + i);
        else
            revoke_subject(table, name, NOW, NOW + 900 + i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n-%u", i);
        assert_int_equal(refused(table, ISS, name, "-", NOW), i % 2 == 0);
        assert_int_equal(refused(table, ISS, "-", name, NOW), i % 2 == 1);
        assert_false(refused(table, ISS, name, "-", NOW + 1));
    }
    assert_int_equal(trust_revocations_count(table, NOW), MANY);
    assert_int_equal(trust_revocations_count(table, NOW + 900 + MANY / 2), MANY / 2);
    trust_revocations_free(table);
}

TEST(revocations_come_and_go_for_ever_in_a_table_of_few)
{
    enum { MOST = 40, ROUNDS = 20000 };
    trust_revocations *table = trust_revocations_new(MOST);
    rpc_status status = {0};
    char name[32];
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "j-%u", i);
        trust_revocation one = {.issuer = ISS, .jti = name, .expires_at = NOW + i + 20};
        if (trust_revocations_add(table, &one, NOW + i, &status) != RPC_OK)
            fail_msg("%u: %s", i, status.message);
        assert_true(refused(table, ISS, "s", name, NOW));
        assert_true(trust_revocations_count(table, NOW + i) <= 21);
    }
    trust_revocations_free(table);
}

TEST(revocations_epoch_grows_with_each)
{
    trust_revocations *table = trust_revocations_new(10);
    uint64_t epoch = trust_revocations_epoch(table);
    revoke_token(table, "j", NOW + 900);
    assert_true(trust_revocations_epoch(table) > epoch);
    epoch = trust_revocations_epoch(table);
    revoke_token(table, "j", NOW + 900); /* again */
    assert_true(trust_revocations_epoch(table) > epoch);
    epoch = trust_revocations_epoch(table);
    revoke_subject(table, "s", NOW, NOW + 900);
    assert_true(trust_revocations_epoch(table) > epoch);
    epoch = trust_revocations_epoch(table);
    assert_true(refused(table, ISS, "s", "j", NOW));
    assert_int_equal(trust_revocations_epoch(table), epoch); /* asking changes nothing */
    trust_revocations_free(table);
}

TEST(revocation_that_names_nothing_or_too_much_is_refused)
{
    static char issuer[1026], name[257];
    memset(issuer, 'i', sizeof issuer - 1);
    memset(name, 'n', sizeof name - 1);
    const trust_revocation bad[] = {
        {.issuer = ISS, .expires_at = NOW + 1},
        {.issuer = ISS, .jti = "j", .subject = "s", .expires_at = NOW + 1},
        {.issuer = NULL, .jti = "j", .expires_at = NOW + 1},
        {.issuer = "", .jti = "j", .expires_at = NOW + 1},
        {.issuer = issuer, .jti = "j", .expires_at = NOW + 1},
        {.issuer = ISS, .jti = "", .expires_at = NOW + 1},
        {.issuer = ISS, .subject = "", .expires_at = NOW + 1},
        {.issuer = ISS, .jti = name, .expires_at = NOW + 1},
        {.issuer = ISS, .subject = name, .expires_at = NOW + 1},
    };
    trust_revocations *table = trust_revocations_new(10);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rpc_status status = {0};
        assert_int_equal(trust_revocations_add(table, &bad[i], NOW, &status), RPC_INVALID_ARGUMENT);
        assert_int_equal(status.code, RPC_INVALID_ARGUMENT);
        assert_true(strlen(status.message) > 0);
    }
    assert_int_equal(trust_revocations_count(table, 0), 0);
    assert_int_equal(trust_revocations_epoch(table), 0);
    name[255] = issuer[1024] = '\0'; /* the longest that are taken */
    trust_revocation most = {.issuer = issuer, .jti = name, .expires_at = NOW + 1};
    rpc_status status;
    assert_int_equal(trust_revocations_add(table, &most, NOW, &status), RPC_OK);
    assert_true(refused(table, issuer, "s", name, NOW));
    name[254] = '\0';
    assert_false(refused(table, issuer, "s", name, NOW));
    trust_revocations_free(table);
}

/* ---- threads ------------------------------------------------------------------------------------
 */

enum { ADDED = 4000, READERS = 4 };

typedef struct shared {
    trust_revocations *table;
    atomic_uint added; /* names below it have been revoked */
    atomic_uint missed;
} shared;

static void *read_on(void *arg)
{
    shared *all = arg;
    unsigned added;
    do {
        added = atomic_load(&all->added);
        char name[32];
        snprintf(name, sizeof name, "j-%u", added ? (added - 1) * 7919u % added : 0);
        if (added && !refused(all->table, ISS, "s", name, NOW))
            atomic_fetch_add(&all->missed, 1);
        if (refused(all->table, ISS, "s", "never", NOW))
            atomic_fetch_add(&all->missed, 1);
    } while (added < ADDED);
    return NULL;
}

TEST(revocation_is_seen_by_every_thread_from_its_return_on)
{
    shared all = {.table = trust_revocations_new(ADDED)};
    pthread_t threads[READERS];
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &all), 0);
    for (unsigned i = 0; i < ADDED; i++) {
        char name[32];
        snprintf(name, sizeof name, "j-%u", i);
        revoke_token(all.table, name, NOW + 900);
        atomic_store(&all.added, i + 1);
    }
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&all.missed), 0);
    trust_revocations_free(all.table);
}
