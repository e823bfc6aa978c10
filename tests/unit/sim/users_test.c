/* SPDX-License-Identifier: Apache-2.0 */
/* Users: names, passwords, GPSIs, consents, sessions, and what ends for them. */
#include "known.h"

#include <pthread.h>
#include <sched.h>
#include <sodium.h>
#include <stdatomic.h>

#define NOW_S (START_MS / 1000)

/* ---- names and finding
 * ----------------------------------------------------------------------------- */

TEST(user_is_found_by_name_and_sub)
{
    known k;
    rpc_status status = {0};
    sim_user *user = NULL, *same = NULL;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    assert_string_equal(user->username, "alice");
    assert_string_equal(user->name, "Alice");
    assert_int_equal(strlen(user->sub), SIM_SUB_CHARS);
    assert_true(user->has_password);
    assert_false(user->disabled);
    assert_int_equal(user->gpsi_count, 1);
    assert_string_equal(user->gpsis[0], ALICE);
    assert_null(user->gpsis[1]);
    assert_int_equal(user->created_at, NOW_S);
    OK(sim_user_by_sub(k.state, user->sub, &same, &status));
    assert_string_equal(same->username, "alice");
    sim_user_free(same);
    sim_user_free(user);
    known_close(&k);
}

TEST(users_that_are_not_are_not_found)
{
    known k;
    rpc_status status = {0};
    sim_user *user = NULL;
    char name[SIM_USERNAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    known_open(&k);
    REFUSED(sim_user_find(k.state, "nobody", &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_find(k.state, "Alice", &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_find(k.state, "", &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_find(k.state, name, &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_by_sub(k.state, "AAAAAAAAAAAAAAAAAAAAAA", &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_set_disabled(k.state, "nobody", true, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_set_disabled(k.state, "nobody", false, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_end(k.state, "nobody", &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(user_names_are_of_few_characters)
{
    known k;
    rpc_status status = {0};
    static const char *const bad[] = {"", "a b", "a/b", "n\xc3\xa4me", "a\n", "a\"b",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    known_open(&k);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(sim_user_add(k.state, bad[i], NULL, NULL, &status), RPC_INVALID_ARGUMENT);
    OK(sim_user_add(k.state, "a.B-9_@+", NULL, NULL, &status));
    REFUSED(sim_user_add(k.state, "alice", NULL, NULL, &status), RPC_ALREADY_EXISTS);
    REFUSED(sim_user_add(k.state, "ctl", "a\033b", NULL, &status), RPC_INVALID_ARGUMENT);
    REFUSED(sim_user_add(k.state, "bytes", "a\xff", NULL, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

static bool collect(void *ctx, const sim_user *user)
{
    known_append(ctx, user->username);
    return strcmp(user->username, "c") != 0;
}

TEST(users_are_listed_in_order_after_a_name_until_told_to_stop)
{
    known k;
    rpc_status status = {0};
    char names[128] = "";
    static const char *const users[] = {"d", "b", "c", "a"};
    memset(&k, 0, sizeof k);
    known_open_empty(&k);
    for (size_t i = 0; i < 4; i++)
        OK(sim_user_add(k.state, users[i], NULL, NULL, &status));
    OK(sim_user_delete(k.state, "b", &status));
    OK(sim_users_list(k.state, NULL, collect, names, &status));
    assert_string_equal(names, "a c ");
    names[0] = '\0';
    OK(sim_users_list(k.state, "c", collect, names, &status));
    assert_string_equal(names, "d ");
    known_close(&k);
}

/* ---- passwords
 * ---------------------------------------------------------------------------------------- */

TEST(right_password_lets_in_and_every_failure_looks_the_same)
{
    known k;
    rpc_status status = {0}, wrong;
    sim_user *user = NULL;
    known_open(&k);
    OK(sim_user_add(k.state, "none", NULL, NULL, &status));
    OK(sim_user_check(k.state, "alice", "alice's password", &user, &status));
    assert_string_equal(user->username, "alice");
    sim_user_free(user);
    REFUSED(
        sim_user_check(k.state, "alice", "bob's password", &user, &status), RPC_UNAUTHENTICATED);
    wrong = status;
    static const char *const others[][2] = {{"nobody", "alice's password"}, {"none", ""},
        {"none", "whatever it is"}, {"alice", ""}, {"", ""}, {"alice", "alice's passwor"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        REFUSED(sim_user_check(k.state, others[i][0], others[i][1], &user, &status),
            RPC_UNAUTHENTICATED);
        assert_string_equal(status.message, wrong.message);
    }
    OK(sim_user_set_disabled(k.state, "alice", true, &status));
    REFUSED(
        sim_user_check(k.state, "alice", "alice's password", &user, &status), RPC_UNAUTHENTICATED);
    assert_string_equal(status.message, wrong.message);
    OK(sim_user_set_disabled(k.state, "alice", false, &status));
    OK(sim_user_check(k.state, "alice", "alice's password", &user, &status));
    sim_user_free(user);
    known_close(&k);
}

TEST(a_hash_of_another_provider_lets_in_and_is_replaced_by_one_of_ours)
{
    known k;
    rpc_status status = {0};
    sim_user *user = NULL;
    char hash[crypto_pwhash_STRBYTES], again[crypto_pwhash_STRBYTES + 8];
    known_open(&k);
    assert_int_equal(crypto_pwhash_str_alg(
                         hash, "from elsewhere", 14, 2, 256 << 10, crypto_pwhash_ALG_ARGON2ID13),
        0);
    OK(sim_user_import(k.state, "carol", "Carol", hash, &status));
    REFUSED(sim_user_import(k.state, "carol", NULL, hash, &status), RPC_ALREADY_EXISTS);
    REFUSED(sim_user_check(k.state, "carol", "from nowhere", &user, &status), RPC_UNAUTHENTICATED);
    for (unsigned i = 0; i < 2; i++) { /* by theirs, then by ours */
        OK(sim_user_check(k.state, "carol", "from elsewhere", &user, &status));
        sim_user_free(user);
    }
    static const char *const bad[] = {"", "secret", "$argon2id$v=19$m=256,t=2,p=1$", "$2b$10$abc",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA",
        "$argon2id$v=19$m=65537,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
        "cnVpbnJ1aW5ydWlucnVpbnJ1aW5ydWlucnVpbnJ1aW4",
        "$argon2id$v=19$m=256,t=17,p=1$c29tZXNhbHRzb21lc2FsdA$"
        "cnVpbnJ1aW5ydWlucnVpbnJ1aW5ydWlucnVpbnJ1aW4",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$"
        "cnVpbnJ1aW5ydWlucnVpbnJ1aW5ydWlucnVpbnJ1aW4",
        "$argon2id$v=19$m=99999999999,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(sim_user_import(k.state, "dave", NULL, bad[i], &status), RPC_INVALID_ARGUMENT);
    snprintf(again, sizeof again, "%s$x", hash);
    REFUSED(sim_user_import(k.state, "dave", NULL, again, &status), RPC_INVALID_ARGUMENT);
    REFUSED(sim_user_import(k.state, "no name", NULL, hash, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

TEST(passwords_have_bounds)
{
    known k;
    rpc_status status = {0};
    char longest[SIM_PASSWORD_MAX + 2];
    sim_user *user = NULL;
    known_open(&k);
    memset(longest, 'p', sizeof longest);
    longest[SIM_PASSWORD_MAX + 1] = '\0';
    REFUSED(sim_user_set_password(k.state, "alice", longest, &status), RPC_INVALID_ARGUMENT);
    REFUSED(sim_user_check(k.state, "alice", longest, &user, &status), RPC_UNAUTHENTICATED);
    longest[SIM_PASSWORD_MAX] = '\0';
    OK(sim_user_set_password(k.state, "alice", longest, &status));
    OK(sim_user_check(k.state, "alice", longest, &user, &status));
    sim_user_free(user);
    longest[SIM_PASSWORD_MAX] = 'p'; /* what is too long is not cut to what is right */
    REFUSED(sim_user_check(k.state, "alice", longest, &user, &status), RPC_UNAUTHENTICATED);
    REFUSED(sim_user_set_password(k.state, "alice", "1234567", &status), RPC_INVALID_ARGUMENT);
    REFUSED(sim_user_set_password(k.state, "alice", "1234567\xff", &status), RPC_INVALID_ARGUMENT);
    REFUSED(sim_user_set_password(k.state, "nobody", "12345678", &status), RPC_NOT_FOUND);
    known_close(&k);
}

static void stored_hash(known *k, char ret[crypto_pwhash_STRBYTES])
{
    store_wait wait;
    assert_int_equal(
        store_wait_get(k->db, rpc_bytes_str("u/alice"), rpc_bytes_of(NULL, 0), &wait), RPC_OK);
    const char *at = memmem(
        wait.op.view.bytes.data, wait.op.view.bytes.size, "$argon2id$", sizeof "$argon2id$" - 1);
    assert_non_null(at);
    size_t size = 0;
    while (size < crypto_pwhash_STRBYTES - 1 && at[size] > ' ' && at[size] < 127)
        size++;
    memcpy(ret, at, size);
    ret[size] = '\0';
    store_view_release(&wait.op.view);
}

TEST(password_is_kept_as_argon2id_and_hashed_anew_when_its_cost_changed)
{
    known k;
    rpc_status status = {0};
    char first[crypto_pwhash_STRBYTES], second[crypto_pwhash_STRBYTES];
    sim_user *user = NULL;
    known_open(&k);
    stored_hash(&k, first);
    OK(sim_user_check(k.state, "alice", "alice's password", &user, &status));
    sim_user_free(user);
    stored_hash(&k, second);
    assert_string_equal(first, second);
    k.password_passes = 2;
    known_reopen(&k);
    REFUSED(
        sim_user_check(k.state, "alice", "bob's password", &user, &status), RPC_UNAUTHENTICATED);
    stored_hash(&k, second);
    assert_string_equal(first, second);
    OK(sim_user_check(k.state, "alice", "alice's password", &user, &status));
    stored_hash(&k, second);
    assert_string_not_equal(first, second);
    assert_non_null(strstr(second, "t=2"));
    uint64_t era = user->era;
    sim_user_free(user);
    OK(sim_user_check(k.state, "alice", "alice's password", &user, &status));
    assert_int_equal(user->era, era); /* nobody was logged out by it */
    sim_user_free(user);
    known_close(&k);
}

typedef struct checker {
    known *k;
    atomic_uint *busy, *done;
} checker;

static void *check_password(void *arg)
{
    checker *c = arg;
    rpc_status status;
    sim_user *user = NULL;
    rpc_code code = sim_user_check(c->k->state, "alice", "alice's password", &user, &status);
    sim_user_free(user);
    atomic_fetch_add(code == RPC_RESOURCE_EXHAUSTED ? c->busy : c->done,
        code == RPC_OK || code == RPC_RESOURCE_EXHAUSTED);
    return NULL;
}

TEST(only_some_hashes_are_made_at_once_and_too_many_waiting_are_refused)
{
    enum { THREADS = 24 };
    known k;
    pthread_t threads[THREADS];
    atomic_uint busy = 0, done = 0;
    known_open(&k);
    k.hashes_waiting_max = 1;
    k.password_memory_bytes = 16 << 20; /* long enough for others to come meanwhile */
    known_reopen(&k);
    checker c = {&k, &busy, &done};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_password, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&busy) + atomic_load(&done), THREADS);
    assert_true(atomic_load(&done) >= 1);
    char line[64];
    snprintf(line, sizeof line, "sim_password_checks_refused_total %u\n", atomic_load(&busy));
    known_counts(&k, line);
    known_close(&k);
}

typedef struct hog {
    known *k;
    atomic_bool stop;
    atomic_uint done;
} hog;

/* A right password is no try that is counted, so whoever has an account can send it without end. */
static void *log_in_again_and_again(void *arg)
{
    hog *h = arg;
    while (!atomic_load(&h->stop)) {
        rpc_status status;
        sim_user *user = NULL;
        rpc_code code = sim_user_check(h->k->state, "alice", "alice's password", &user, &status);
        atomic_fetch_add(&h->done, code == RPC_OK);
        sim_user_free(user);
    }
    return NULL;
}

TEST(one_user_cannot_take_every_turn)
{
    enum { THREADS = 8 };
    known k;
    rpc_status status;
    pthread_t threads[THREADS];
    known_open(&k);
    k.hashes_waiting_max = 1;
    k.hashes_per_user = 1;
    k.password_memory_bytes = 16 << 20;
    known_reopen(&k);
    hog h = {.k = &k};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_in_again_and_again, &h), 0);
    while (atomic_load(&h.done) == 0)
        sched_yield();
    for (int i = 0; i < 5; i++) {
        sim_user *user = NULL;
        OK(sim_user_check(k.state, "bob", "bob's password", &user, &status));
        sim_user_free(user);
    }
    atomic_store(&h.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    known_close(&k);
}

/* ---- GPSIs
 * -------------------------------------------------------------------------------------------- */

TEST(gpsi_has_one_user)
{
    known k;
    rpc_status status = {0};
    sim_user *user = NULL;
    known_open(&k);
    OK(sim_user_map(k.state, "alice", ALICE, &status)); /* again: as it is */
    REFUSED(sim_user_map(k.state, "bob", ALICE, &status), RPC_ALREADY_EXISTS);
    assert_null(strstr(status.message, "alice"));
    OK(sim_user_find(k.state, "bob", &user, &status));
    assert_int_equal(user->gpsi_count, 1);
    sim_user_free(user);
    OK(sim_user_unmap(k.state, "alice", ALICE, &status));
    REFUSED(sim_user_unmap(k.state, "alice", ALICE, &status), RPC_FAILED_PRECONDITION);
    OK(sim_user_map(k.state, "bob", ALICE, &status));
    OK(sim_user_find(k.state, "bob", &user, &status));
    assert_int_equal(user->gpsi_count, 2);
    sim_user_free(user);
    REFUSED(sim_user_map(k.state, "alice", ALICE, &status), RPC_ALREADY_EXISTS);
    REFUSED(sim_user_map(k.state, "nobody", "msisdn-12345", &status), RPC_NOT_FOUND);
    OK(sim_user_map(k.state, "alice", "msisdn-12345", &status)); /* nothing was left claimed */
    known_close(&k);
}

TEST(gpsis_are_spelled_one_way_and_a_user_has_at_most_eight)
{
    known k;
    rpc_status status = {0};
    char gpsi[32];
    static const char *const bad[] = {"", "msisdn-1234", "msisdn-123456789012345678",
        "MSISDN-123456", "extid-a@Example.com", "alice@example.com", "msisdn-12345 "};
    known_open(&k);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(sim_user_map(k.state, "alice", bad[i], &status), RPC_INVALID_ARGUMENT);
    for (int i = 1; i < SIM_GPSIS_MAX; i++) {
        snprintf(gpsi, sizeof gpsi, "msisdn-%05d", i);
        OK(sim_user_map(k.state, "alice", gpsi, &status));
    }
    REFUSED(sim_user_map(k.state, "alice", "msisdn-99999", &status), RPC_FAILED_PRECONDITION);
    OK(sim_user_map(
        k.state, "bob", "msisdn-99999", &status)); /* alice's claim counts for nothing */
    known_close(&k);
}

TEST(long_gpsi_is_mapped_like_any)
{
    known k;
    rpc_status status = {0};
    char gpsi[TRUST_GPSI_MAX + 1];
    sim_user *user = NULL;
    int size = snprintf(gpsi, sizeof gpsi, "extid-%0*d@example.com", 230, 7);
    assert_true(size > 240 && size <= TRUST_GPSI_MAX);
    known_open(&k);
    OK(sim_user_map(k.state, "alice", gpsi, &status));
    REFUSED(sim_user_map(k.state, "bob", gpsi, &status), RPC_ALREADY_EXISTS);
    OK(sim_user_find(k.state, "alice", &user, &status));
    assert_string_equal(user->gpsis[1], gpsi);
    sim_user_free(user);
    known_close(&k);
}

TEST(claim_without_the_user_s_record_is_taken_over)
{
    known k;
    rpc_status status = {0};
    sim_user *user = NULL;
    store_wait wait;
    /* As after a crash between the two writes of a mapping. */
    const store_change change = {.kind = STORE_PUT, .value = rpc_bytes_str("alice")};
    known_open(&k);
    assert_int_equal(store_wait_update(k.db, rpc_bytes_str("p/msisdn-77777"), STORE_ANY_GENERATION,
                         &change, 1, &wait),
        RPC_OK);
    OK(sim_user_find(k.state, "alice", &user, &status));
    assert_int_equal(user->gpsi_count, 1);
    sim_user_free(user);
    OK(sim_user_map(k.state, "bob", "msisdn-77777", &status));
    REFUSED(sim_user_map(k.state, "alice", "msisdn-77777", &status), RPC_ALREADY_EXISTS);
    known_close(&k);
}

typedef struct mapper {
    known *k;
    const char *username;
    pthread_barrier_t *start;
    rpc_code code;
} mapper;

static void *map_it(void *arg)
{
    mapper *m = arg;
    rpc_status status;
    pthread_barrier_wait(m->start);
    m->code = sim_user_map(m->k->state, m->username, "msisdn-55555", &status);
    return NULL;
}

TEST(of_two_mappings_at_once_one_wins_and_is_the_only_one)
{
    enum { ROUNDS = 30 };
    known k;
    rpc_status status = {0};
    known_open(&k);
    for (int round = 0; round < ROUNDS; round++) {
        static const char *const names[2] = {"alice", "bob"};
        pthread_barrier_t start;
        pthread_t threads[2];
        mapper mappers[2];
        size_t holders = 0;
        pthread_barrier_init(&start, NULL, 2);
        for (int i = 0; i < 2; i++) {
            mappers[i] = (mapper){&k, names[i], &start, RPC_OK};
            assert_int_equal(pthread_create(&threads[i], NULL, map_it, &mappers[i]), 0);
        }
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < 2; i++) {
            sim_user *user = NULL;
            OK(sim_user_find(k.state, names[i], &user, &status));
            bool has = user->gpsi_count == 2;
            assert_int_equal(has, mappers[i].code == RPC_OK);
            holders += has;
            sim_user_free(user);
            if (has)
                OK(sim_user_unmap(k.state, names[i], "msisdn-55555", &status));
            else
                assert_int_equal(mappers[i].code, RPC_ALREADY_EXISTS);
        }
        assert_int_equal(holders, 1);
        pthread_barrier_destroy(&start);
    }
    known_close(&k);
}

/* ---- what ends
 * ----------------------------------------------------------------------------------------- */

typedef rpc_code ender(known *k, rpc_status *reterr);

static rpc_code by_end(known *k, rpc_status *reterr)
{
    return sim_user_end(k->state, "alice", reterr);
}

static rpc_code by_password(known *k, rpc_status *reterr)
{
    return sim_user_set_password(k->state, "alice", "another password", reterr);
}

static rpc_code by_disabling(known *k, rpc_status *reterr)
{
    rpc_code code = sim_user_set_disabled(k->state, "alice", true, reterr);
    return code == RPC_OK ? sim_user_set_disabled(k->state, "alice", false, reterr) : code;
}

static rpc_code by_unmapping(known *k, rpc_status *reterr)
{
    return sim_user_unmap(k->state, "alice", ALICE, reterr);
}

/* Session, code, refresh token and access token of before are void; those of after are good. */
static void ends_everything(ender *end)
{
    known k;
    rpc_status status = {0};
    char cookie[SIM_CODE_MAX], code[SIM_CODE_MAX], open_code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    char jti[32], sub[SIM_SUB_CHARS + 1];
    sim_user *user = NULL;
    sim_session session;
    sim_grant *grant = NULL;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    snprintf(sub, sizeof sub, "%s", user->sub);
    OK(sim_session_begin(k.state, user, "3gpp:acr:password", cookie, &status));
    sim_user_free(user);
    known_code(&k, "alice", code);
    known_code(&k, "alice", open_code);
    OK(known_exchange(&k, code, refresh, jti, &status));
    OK(end(&k, &status));
    for (int again = 0; again < 2; again++) {
        REFUSED(sim_session_find(k.state, cookie, &session, &status), RPC_NOT_FOUND);
        REFUSED(known_exchange(&k, open_code, refresh, NULL, &status), RPC_NOT_FOUND);
        REFUSED(sim_grant_by_refresh(k.state, "app", refresh, &grant, &status), RPC_NOT_FOUND);
        assert_true(known_revoked(&k, jti, sub, NOW_S));
        known_reopen(&k); /* and so it stays */
    }
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    assert_true(grant->tokens_after >= NOW_S);
    assert_false(known_revoked(&k, "new", sub, grant->tokens_after + 1));
    sim_grant_free(grant);
    known_close(&k);
}

TEST(logout_ends_everything_of_the_user)
{
    ends_everything(by_end);
}

TEST(new_password_ends_everything_of_the_user)
{
    ends_everything(by_password);
}

TEST(disabling_ends_everything_of_the_user)
{
    ends_everything(by_disabling);
}

TEST(unmapping_ends_everything_of_the_user)
{
    ends_everything(by_unmapping);
}

TEST(end_between_reading_and_issuing_wins)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_open(&k);
    known_code(&k, "alice", code);
    OK(sim_grant_by_code(k.state, "app", code, &grant, &status));
    OK(sim_user_end(k.state, "alice", &status));
    const sim_issue issue = {.code = true, .refresh = true, .jti = "j", .expires_at = NOW_S + 300};
    REFUSED(sim_grant_issue(k.state, grant, &issue, refresh, &status), RPC_NOT_FOUND);
    sim_grant_free(grant);
    known_close(&k);
}

/* Of what may be issued now, as sim_mint() has it. */
static int64_t next_iat(known *k)
{
    rpc_status status = {0};
    char code[SIM_CODE_MAX];
    sim_grant *grant = NULL;
    known_code(k, "alice", code);
    OK(sim_grant_by_code(k->state, "app", code, &grant, &status));
    const int64_t after = grant->tokens_after;
    sim_grant_free(grant);
    return after >= NOW_S ? after + 1 : NOW_S;
}

/* Logged out, logged in and logged out again within a second: the token in between had to say
 * the second after the first end, and ends all the same. */
static void ends_again_within_a_second(ender *end)
{
    known k;
    rpc_status status = {0};
    char sub[SIM_SUB_CHARS + 1];
    sim_user *user = NULL;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    snprintf(sub, sizeof sub, "%s", user->sub);
    sim_user_free(user);
    for (int i = 0; i < 3; i++) {
        const int64_t iat = next_iat(&k);
        assert_false(known_revoked(&k, "in between", sub, iat));
        OK(end(&k, &status));
        assert_true(known_revoked(&k, "in between", sub, iat));
    }
    known_close(&k);
}

TEST(token_between_two_ends_within_a_second_ends)
{
    ends_again_within_a_second(by_end);
    ends_again_within_a_second(by_password);
    ends_again_within_a_second(by_disabling);
}

TEST(ends_count_also_when_the_clock_goes_back)
{
    known k;
    rpc_status status = {0};
    char cookie[SIM_CODE_MAX], code[SIM_CODE_MAX];
    sim_user *user = NULL;
    sim_session session;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    OK(sim_session_begin(k.state, user, "a", cookie, &status));
    sim_user_free(user);
    known_pass(&k, -3600);
    OK(sim_user_end(k.state, "alice", &status));
    REFUSED(sim_session_find(k.state, cookie, &session, &status), RPC_NOT_FOUND);
    known_code(&k, "alice", code); /* and what is begun now is good */
    known_close(&k);
}

/* On a slow disk a second passes between the revocation and the record: what was written is not
 * to be done once more, and the revocation reaches to when the record was there. */
static void ends_while_seconds_pass(ender *end)
{
    known k;
    rpc_status status = {0};
    char code[SIM_CODE_MAX], refresh[SIM_CODE_MAX], jti[32], sub[SIM_SUB_CHARS + 1];
    sim_user *user = NULL;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    snprintf(sub, sizeof sub, "%s", user->sub);
    sim_user_free(user);
    known_code(&k, "alice", code);
    OK(known_exchange(&k, code, refresh, jti, &status));
    const int64_t before = k.wall_ms / 1000;
    k.tick_ms = 1000;
    OK(end(&k, &status));
    k.tick_ms = 0;
    assert_true(known_revoked(&k, jti, sub, before + 1)); /* issued while it ended */
    known_close(&k);
}

static rpc_code by_deleting(known *k, rpc_status *reterr)
{
    rpc_code code = sim_user_delete(k->state, "alice", reterr);
    return code == RPC_OK ? sim_user_map(k->state, "bob", ALICE, reterr) : code;
}

TEST(user_ends_once_also_while_seconds_pass)
{
    ends_while_seconds_pass(by_end);
    ends_while_seconds_pass(by_password);
    ends_while_seconds_pass(by_disabling);
    ends_while_seconds_pass(by_unmapping);
    ends_while_seconds_pass(by_deleting);
}

TEST(deleted_user_is_gone_and_the_name_is_another_s)
{
    known k;
    rpc_status status = {0};
    char cookie[SIM_CODE_MAX], code[SIM_CODE_MAX], scope[64], sub[SIM_SUB_CHARS + 1];
    bool assets = true;
    sim_user *user = NULL;
    sim_session session;
    sim_grant *grant = NULL;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    snprintf(sub, sizeof sub, "%s", user->sub);
    OK(sim_session_begin(k.state, user, "a", cookie, &status));
    sim_user_free(user);
    OK(sim_consent_give(k.state, "alice", "app", "openid", true, &status));
    known_code(&k, "alice", code);
    OK(sim_user_delete(k.state, "alice", &status));
    REFUSED(sim_user_find(k.state, "alice", &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_user_delete(k.state, "alice", &status), RPC_NOT_FOUND);
    REFUSED(sim_user_by_sub(k.state, sub, &user, &status), RPC_NOT_FOUND);
    OK(sim_user_map(k.state, "bob", ALICE, &status));
    OK(sim_user_add(k.state, "alice", NULL, "alice's password", &status));
    OK(sim_user_find(k.state, "alice", &user, &status));
    assert_string_not_equal(user->sub, sub);
    assert_int_equal(user->gpsi_count, 0);
    sim_user_free(user);
    REFUSED(sim_user_by_sub(k.state, sub, &user, &status), RPC_NOT_FOUND);
    REFUSED(sim_session_find(k.state, cookie, &session, &status), RPC_NOT_FOUND);
    REFUSED(sim_grant_by_code(k.state, "app", code, &grant, &status), RPC_NOT_FOUND);
    OK(sim_consent_find(k.state, "alice", "app", scope, sizeof scope, &assets, &status));
    assert_string_equal(scope, "");
    assert_false(assets);
    assert_true(known_revoked(&k, "j", sub, NOW_S));
    known_close(&k);
}

/* ---- sessions and consents
 * -------------------------------------------------------------------------- */

TEST(session_lives_until_it_ends_or_expires)
{
    known k;
    rpc_status status = {0};
    char cookie[SIM_CODE_MAX], other[SIM_CODE_MAX];
    sim_user *user = NULL;
    sim_session session;
    known_open(&k);
    OK(sim_user_find(k.state, "alice", &user, &status));
    OK(sim_session_begin(k.state, user, "3gpp:acr:password", cookie, &status));
    OK(sim_session_begin(k.state, user, "3gpp:acr:password", other, &status));
    OK(sim_session_find(k.state, cookie, &session, &status));
    assert_string_equal(session.username, "alice");
    assert_string_equal(session.sub, user->sub);
    assert_string_equal(session.acr, "3gpp:acr:password");
    assert_int_equal(session.auth_time, NOW_S);
    assert_int_equal(session.era, user->era);
    sim_user_free(user);
    OK(sim_session_end(k.state, cookie, &status));
    REFUSED(sim_session_find(k.state, cookie, &session, &status), RPC_NOT_FOUND);
    known_pass(&k, 7199);
    OK(sim_session_find(k.state, other, &session, &status));
    known_pass(&k, 1);
    REFUSED(sim_session_find(k.state, other, &session, &status), RPC_NOT_FOUND);
    REFUSED(sim_session_find(k.state, "ds_nonsense", &session, &status), RPC_NOT_FOUND);
    REFUSED(sim_session_end(k.state, "", &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(consents_beyond_1024_bytes_forget_the_oldest)
{
    known k;
    rpc_status status = {0};
    char scope[1025], asked[1200];
    bool assets = false;
    known_open(&k);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(asked, sizeof asked, "openid %0300u", i);
        OK(sim_consent_give(k.state, "alice", "app", asked, i == 0, &status));
        OK(sim_consent_find(k.state, "alice", "app", scope, sizeof scope, &assets, &status));
        assert_true(strncmp(scope, asked, strlen(asked)) == 0);
        assert_true(assets);
    }
    snprintf(asked, sizeof asked, "openid %0300u %0300u %0300u", 5u, 4u, 3u);
    assert_string_equal(scope, asked);
    snprintf(asked, sizeof asked, "%01024u", 7u); /* all the room there is */
    OK(sim_consent_give(k.state, "alice", "app", asked, false, &status));
    OK(sim_consent_find(k.state, "alice", "app", scope, sizeof scope, &assets, &status));
    assert_string_equal(scope, asked);
    snprintf(asked, sizeof asked, "%01025u", 7u);
    REFUSED(sim_consent_give(k.state, "alice", "app", asked, false, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

TEST(consents_add_up)
{
    known k;
    rpc_status status = {0};
    char scope[64];
    bool assets = true;
    known_open(&k);
    OK(sim_consent_find(k.state, "alice", "app", scope, sizeof scope, &assets, &status));
    assert_string_equal(scope, "");
    assert_false(assets);
    OK(sim_consent_give(k.state, "alice", "app", "openid seal.da", false, &status));
    OK(sim_consent_give(k.state, "alice", "app", " seal.da  seal  openid", true, &status));
    OK(sim_consent_give(k.state, "alice", "app", "", false, &status));
    OK(sim_consent_find(k.state, "alice", "app", scope, sizeof scope, &assets, &status));
    assert_string_equal(scope, "seal.da seal openid"); /* the newest first */
    assert_true(assets);
    OK(sim_consent_find(k.state, "bob", "app", scope, sizeof scope, &assets, &status));
    assert_string_equal(scope, "");
    REFUSED(sim_consent_give(k.state, "nobody", "app", "openid", false, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(form_macs_differ_by_use_and_text_and_stay)
{
    known k;
    char a[44], b[44];
    known_open(&k);
    sim_state_mac(k.state, "csrf", rpc_bytes_str("x"), a);
    assert_int_equal(strlen(a), 43);
    sim_state_mac(k.state, "login", rpc_bytes_str("x"), b);
    assert_string_not_equal(a, b);
    sim_state_mac(k.state, "csrf", rpc_bytes_str("y"), b);
    assert_string_not_equal(a, b);
    known_reopen(&k);
    sim_state_mac(k.state, "csrf", rpc_bytes_str("x"), b);
    assert_string_equal(a, b);
    known_close(&k);
}
