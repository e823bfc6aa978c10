/* SPDX-License-Identifier: Apache-2.0 */
#include "consumers.h"

#include "fake_peer.h"
#include "test.h"

#define ALICE "msisdn-4915100000001"
#define BOB   "msisdn-4915100000002"
#define EVE   "extid-eve@example.com"

static fake_world world;
static fake_peer peer;
static sim_consumers *consumers;

static sim_consumers_options options_now(void)
{
    return (sim_consumers_options){.runtime = world.runtime,
        .resource = "https://dacm.test/",
        .target = world.target,
        .ca_file = world.ca,
        .certificate_file = world.certificate,
        .key_file = world.key,
        .server_name = "",
        .deadline_ms = 60000,
        .waiting_max = 16,
        .log = world.log,
        .metrics = world.metrics};
}

static void begin_with(const sim_consumers_options *options)
{
    rpc_status status = {0};
    if (sim_consumers_new(options, &consumers, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void begin(fake_peer behaviour, bool full)
{
    fake_world_make(&world);
    peer = behaviour;
    fake_peer_start(&peer, &world);
    sim_consumers_options options = options_now();
    options.disclose_full = full;
    begin_with(&options);
}

static void end(void)
{
    sim_consumers_free(consumers);
    if (peer.server)
        fake_peer_stop(&peer);
    fake_world_free(&world);
}

typedef struct outcome {
    rpc_code code;
    bool allowed[64];
    sim_profile *profile;
    unsigned retry_s;
    rpc_status status;
} outcome;

static outcome ask(const char *const *users, size_t count)
{
    outcome o = {.retry_s = 0};
    o.code = sim_consumers_ask(
        consumers, "a-1", users, count, o.allowed, &o.profile, &o.retry_s, &o.status);
    return o;
}

static const char *const two[] = {BOB, ALICE};

TEST(those_who_are_allowed_are_told_and_become_the_profile)
{
    static const char *const allowed[] = {ALICE};
    begin((fake_peer){.allowed = allowed, .allowed_count = 1, .count = 7}, false);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_false(o.allowed[0]);
    assert_true(o.allowed[1]);
    assert_int_equal(o.profile->count, 1);
    assert_string_equal(o.profile->users[0], ALICE);
    assert_null(o.profile->users[1]);
    assert_string_equal(peer.asset_id, "a-1");
    assert_int_equal(peer.listed, 0);
    sim_profile_free(o.profile);
    end();
}

TEST(user_who_is_named_twice_is_asked_about_once)
{
    static const char *const twice[] = {BOB, ALICE, BOB};
    begin((fake_peer){.code = RPC_OK}, false);
    outcome o = ask(twice, 3);
    assert_int_equal(o.code, RPC_OK);
    assert_true(o.allowed[0] && o.allowed[1] && o.allowed[2]);
    assert_int_equal(o.profile->count, 2);
    assert_string_equal(o.profile->users[0], ALICE);
    assert_string_equal(o.profile->users[1], BOB);
    sim_profile_free(o.profile);
    end();
}

TEST(nobody_allowed_is_not_found_and_no_list_is_asked_for)
{
    begin((fake_peer){.allowed = two, .allowed_count = 0, .count = 5}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_NOT_FOUND);
    assert_null(o.profile);
    assert_int_equal(peer.listed, 0);
    end();
}

TEST(whole_list_is_disclosed_where_it_is_wanted_and_fits)
{
    static const char *const list[] = {EVE, BOB, ALICE, EVE};
    begin((fake_peer){.count = 3, .list = list, .list_count = 4, .page = 2}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(o.profile->count, 3); /* an owner may be on the list too */
    assert_string_equal(o.profile->users[0], EVE);
    assert_string_equal(o.profile->users[1], ALICE);
    assert_string_equal(o.profile->users[2], BOB);
    sim_profile_free(o.profile);
    end();
}

TEST(list_that_changes_while_it_is_read_is_read_again)
{
    static const char *const list[] = {ALICE, BOB};
    begin((fake_peer){.count = 2, .list = list, .list_count = 2, .aborts = 2}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(peer.listed, 3);
    sim_profile_free(o.profile);
    end();
}

TEST(user_who_left_the_list_meanwhile_is_not_allowed)
{
    static const char *const list[] = {ALICE, EVE};
    begin((fake_peer){.count = 2, .list = list, .list_count = 2}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_false(o.allowed[0]);
    assert_true(o.allowed[1]);
    sim_profile_free(o.profile);
    end();
}

/* 4,096 bytes with their blanks are disclosed, 4,097 are not: 241 users of 16 bytes, or one of 17.
 */
static void disclose(const char *last, size_t expected)
{
    static char texts[242][20];
    static const char *list[243];
    for (size_t i = 0; i < 240; i++) {
        snprintf(texts[i], sizeof texts[i], "msisdn-%09zu", i);
        list[i] = texts[i];
    }
    list[240] = last;
    static const char *const me[] = {"msisdn-000000007"};
    begin((fake_peer){.count = 241, .list = list, .list_count = 241}, true);
    outcome o = ask(me, 1);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(o.profile->count, expected);
    sim_profile_free(o.profile);
    end();
}

TEST(list_of_4096_bytes_is_disclosed)
{
    disclose("extid-a@exam.com", 1 + 240); /* 240 × 17 + 16 = 4,096 */
}

TEST(list_of_4097_bytes_is_not_disclosed)
{
    disclose("extid-aa@exam.com", 1);
}

TEST(long_list_is_not_read_to_its_end)
{
    static char text[64];
    static const char *list[40000];
    for (size_t i = 0; i < 40000; i++)
        list[i] = text;
    snprintf(text, sizeof text, "extid-%s", "abcdefghijklmnopqrstuvwxyz@example.com");
    /* a DACM that counts wrongly */
    begin((fake_peer){.count = 2, .list = list, .list_count = 40000}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(o.profile->count, 2);
    sim_profile_free(o.profile);
    sim_consumers_free(consumers);
    fake_peer_release(&peer);
    rpc_server_stop(peer.server, 0);
    assert_true(peer.pages_sent < 400);
    fake_peer_stop(&peer);
    fake_world_free(&world);
}

TEST(dacm_that_lets_us_not_have_the_list_gets_tokens_with_their_own_users)
{
    begin((fake_peer){.count = 2, .list_code = RPC_PERMISSION_DENIED}, true);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(o.profile->count, 2);
    sim_profile_free(o.profile);
    end();
}

TEST(list_with_something_that_is_no_gpsi_is_refused)
{
    static const char *const lists[] = {"alice", "msisdn-1 msisdn-2", "", "extid-a@Example.com"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        begin((fake_peer){.count = 2, .list = &lists[i], .list_count = 1}, true);
        outcome o = ask(two, 2);
        assert_int_equal(o.code, RPC_UNAVAILABLE);
        assert_non_null(strstr(o.status.message, "no GPSI"));
        end();
    }
}

TEST(odd_answers_are_refused)
{
    static const char *const stranger[] = {EVE};
    static const char *const substring[] = {"msisdn-491510000000"};
    static const char *const unsorted[] = {BOB, ALICE};
    static const char *const twice[] = {ALICE, ALICE};
    static const char *const more[] = {ALICE, BOB, EVE};
    static const char *const list_in_one[] = {ALICE " " BOB};
    static const struct {
        const char *const *users;
        size_t size;
        uint64_t count;
        const char *why;
    } rows[] = {
        {stranger, 1, 1, "not asked about"},
        {substring, 1, 1, "not asked about"},
        {list_in_one, 1, 1, "not asked about"},
        {unsorted, 2, 2, "another order"},
        {twice, 2, 2, "twice"},
        {more, 3, 3, "more users"},
        {unsorted + 1, 1, UINT64_MAX, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(
            (fake_peer){
                .allowed = rows[i].users, .allowed_count = rows[i].size, .count = rows[i].count},
            false);
        outcome o = ask(two, 2);
        if (o.code != (rows[i].why ? RPC_UNAVAILABLE : RPC_OK) ||
            (rows[i].why && !strstr(o.status.message, rows[i].why)))
            fail_msg("row %zu: %s %s", i, rpc_code_name(o.code), o.status.message);
        assert_int_equal(fake_metric(&world, "sim_step5a_odd_total{dacm=\"https://dacm.test/\"}"),
            rows[i].why != NULL);
        sim_profile_free(o.profile);
        end();
    }
}

/* ---- away, slow -------------------------------------------------------------------------------
 */

TEST(dacm_that_is_gone_is_unavailable_and_says_when_to_come_again)
{
    begin((fake_peer){.code = RPC_OK}, false);
    fake_peer_stop(&peer);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_UNAVAILABLE);
    assert_true(o.retry_s > 0);
    assert_null(o.profile);
    end();
}

TEST(dacm_that_comes_back_is_asked_again)
{
    begin((fake_peer){.code = RPC_OK}, false);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_OK);
    sim_profile_free(o.profile);
    fake_peer_stop(&peer);
    peer = (fake_peer){.code = RPC_OK};
    fake_peer_start(&peer, &world);
    do { /* until the channel has noticed both */
        o = ask(two, 2);
    } while (o.code == RPC_UNAVAILABLE);
    assert_int_equal(o.code, RPC_OK);
    sim_profile_free(o.profile);
    end();
}

TEST(errors_of_the_dacm_are_unavailable_whatever_they_are)
{
    static const rpc_code codes[] = {RPC_PERMISSION_DENIED, RPC_NOT_FOUND, RPC_UNAUTHENTICATED,
        RPC_INTERNAL, RPC_UNIMPLEMENTED, RPC_RESOURCE_EXHAUSTED, RPC_INVALID_ARGUMENT};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        begin((fake_peer){.code = codes[i]}, false);
        outcome o = ask(two, 2);
        assert_int_equal(o.code, RPC_UNAVAILABLE);
        end();
    }
}

TEST(dacm_that_does_not_answer_is_given_up_at_the_deadline)
{
    fake_world_make(&world);
    peer = (fake_peer){.hold = true};
    fake_peer_start(&peer, &world);
    sim_consumers_options options = options_now();
    options.deadline_ms = 300;
    begin_with(&options);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_UNAVAILABLE);
    end();
}

TEST(certificate_that_the_dacm_does_not_know_gets_no_answer)
{
    fake_world_make(&world);
    peer = (fake_peer){.code = RPC_OK};
    fake_peer_start(&peer, &world);
    sim_consumers_options options = options_now();
    options.certificate_file = world.stranger;
    options.key_file = world.stranger_key;
    begin_with(&options);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_UNAVAILABLE);
    assert_int_equal(peer.asked, 0);
    end();
}

/* ---- many at a time ---------------------------------------------------------------------------
 */

static void *ask_both(void *arg)
{
    outcome *o = arg;
    *o = ask(two, 2);
    return NULL;
}

TEST(equal_questions_share_a_call)
{
    enum { THREADS = 8 };
    static outcome outcomes[THREADS];
    pthread_t threads[THREADS];
    begin((fake_peer){.hold = true}, false);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_both, &outcomes[i]), 0);
    fake_await_metric(&world, "sim_step5a_shared_total{dacm=\"https://dacm.test/\"}", THREADS - 1);
    sem_wait(&peer.arrived);
    fake_peer_release(&peer);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(outcomes[i].code, RPC_OK);
        assert_int_equal(outcomes[i].profile->count, 2);
        sim_profile_free(outcomes[i].profile);
    }
    assert_int_equal(peer.asked, 1);
    end();
}

TEST(question_that_was_answered_is_asked_anew)
{
    begin((fake_peer){.code = RPC_OK}, false);
    for (unsigned i = 1; i <= 2; i++) {
        outcome o = ask(two, 2);
        assert_int_equal(o.code, RPC_OK);
        sim_profile_free(o.profile);
        assert_int_equal(peer.asked, i);
    }
    end();
}

TEST(other_users_are_another_question)
{
    static outcome first;
    pthread_t thread;
    begin((fake_peer){.hold = true}, false);
    assert_int_equal(pthread_create(&thread, NULL, ask_both, &first), 0);
    sem_wait(&peer.arrived);
    pthread_mutex_lock(&peer.lock);
    peer.hold = false;
    pthread_mutex_unlock(&peer.lock);
    outcome o = ask(two, 1);
    assert_int_equal(o.code, RPC_OK);
    assert_int_equal(o.profile->count, 1);
    assert_string_equal(o.profile->users[0], BOB);
    sim_profile_free(o.profile);
    fake_peer_release(&peer);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(first.code, RPC_OK);
    sim_profile_free(first.profile);
    assert_int_equal(peer.asked, 2);
    end();
}

TEST(more_than_may_wait_are_told_to_come_later)
{
    static outcome first;
    pthread_t thread;
    fake_world_make(&world);
    peer = (fake_peer){.hold = true};
    fake_peer_start(&peer, &world);
    sim_consumers_options options = options_now();
    options.waiting_max = 1;
    begin_with(&options);
    assert_int_equal(pthread_create(&thread, NULL, ask_both, &first), 0);
    sem_wait(&peer.arrived);
    outcome o = ask(two, 2);
    assert_int_equal(o.code, RPC_UNAVAILABLE);
    assert_int_equal(o.retry_s, 1);
    assert_non_null(strstr(o.status.message, "step5a.waiting_max"));
    assert_int_equal(
        fake_metric(&world, "sim_step5a_refused_total{dacm=\"https://dacm.test/\"}"), 1);
    fake_peer_release(&peer);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(first.code, RPC_OK);
    sim_profile_free(first.profile);
    end();
}

TEST(more_than_64_users_are_refused_before_anybody_is_asked)
{
    static const char *users[65];
    for (size_t i = 0; i < 65; i++)
        users[i] = ALICE;
    begin((fake_peer){.code = RPC_OK}, false);
    assert_int_equal(ask(users, 65).code, RPC_INVALID_ARGUMENT);
    assert_int_equal(ask(users, 0).code, RPC_INVALID_ARGUMENT);
    assert_int_equal(peer.asked, 0);
    end();
}
