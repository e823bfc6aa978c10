/* SPDX-License-Identifier: Apache-2.0 */
/* Revocations of a real state, sent to a DACM that notes what comes and answers as the test wants
 * it. */
#include "reporter.h"

#include "fake_peer.h"
#include "test.h"

#include <time.h>
#include <unistd.h>

#define RESOURCE  "https://dacm.test/"
#define CONNECTED "sim_report_connected{dacm=\"" RESOURCE "\"}"
#define NOTES_MAX 512u

static fake_world world;
static fake_peer peer;
static rpc_channel *channel;
static store *db;
static sim_state *known;
static sim_reporter *reporter;

/* What the DACM saw and says; under the lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t came;
    char epoch[65];
    uint64_t applied;
    bool mute; /* answers nothing but the first */
    bool lies; /* applies what it was not sent */
    unsigned streams, heartbeats;
    uint64_t mark, marks_echoed; /* the last that was sent; heartbeats that brought one */
    struct {
        char what[300]; /* "3 jti abc", "3 subject abc", "3 expired" */
    } notes[NOTES_MAX];
    size_t count;
} dacm = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

/* Locked. */
static void answer(rpc_call *call)
{
    Dacm__V1__ReportResponse response = DACM__V1__REPORT_RESPONSE__INIT;
    response.epoch = dacm.epoch;
    response.mark = ++dacm.mark;
    response.applied_sequence = dacm.applied + (dacm.lies ? 1000 : 0);
    if (rpc_call_send_packed(call, &response.base) == RPC_SENT_BUSY)
        abort();
}

static void on_start(rpc_call *call, void *user)
{
    (void)user;
    pthread_mutex_lock(&dacm.lock);
    dacm.streams++;
    const bool lies = dacm.lies;
    dacm.lies = false;
    answer(call);
    dacm.lies = lies;
    pthread_cond_broadcast(&dacm.came);
    pthread_mutex_unlock(&dacm.lock);
}

/* Locked. */
static void note(const Dacm__V1__ReportRequest *request)
{
    char *what = dacm.notes[dacm.count].what;
    const size_t room = sizeof dacm.notes[0].what;
    const unsigned long long number = request->sequence;
    if (dacm.count + 1 == NOTES_MAX)
        abort();
    if (request->what_case == DACM__V1__REPORT_REQUEST__WHAT_HEARTBEAT) {
        dacm.heartbeats++;
        dacm.marks_echoed += request->heartbeat->mark == dacm.mark;
        return;
    }
    if (request->what_case == DACM__V1__REPORT_REQUEST__WHAT_EXPIRED)
        snprintf(what, room, "%llu expired", number);
    else if (request->revocation->what_case == DACM__V1__REPORT_REQUEST__REVOCATION__WHAT_SUBJECT)
        snprintf(what, room, "%llu subject %s", number, request->revocation->subject);
    else
        snprintf(what, room, "%llu jti %s", number, request->revocation->jti);
    dacm.count++;
    if (strcmp(dacm.epoch, request->epoch) != 0) {
        snprintf(dacm.epoch, sizeof dacm.epoch, "%s", request->epoch);
        dacm.applied = 0;
    }
    if (number == dacm.applied + 1 || request->what_case == DACM__V1__REPORT_REQUEST__WHAT_EXPIRED)
        dacm.applied = number;
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    ProtobufCMessage *request = NULL;
    if (rpc_message_unpack(message, &dacm__v1__report_request__descriptor, &request, NULL) !=
        RPC_OK)
        abort();
    pthread_mutex_lock(&dacm.lock);
    note((const Dacm__V1__ReportRequest *)request);
    if (!dacm.mute)
        answer(call);
    pthread_cond_broadcast(&dacm.came);
    pthread_mutex_unlock(&dacm.lock);
    rpc_message_release(message);
}

static const rpc_handler report = {.on_start = on_start, .on_message = on_message};

static void start_peer(void)
{
    peer = (fake_peer){.report = &report};
    fake_peer_start(&peer, &world);
}

static const char *folder;

static void open_state(void)
{
    const store_lmdb_options options = {
        .directory = folder, .meta_map_bytes_max = 64u << 20, .chunks_map_bytes_max = 1u << 20};
    rpc_status status = {0};
    if (store_open_lmdb(&options, &db, &status) != RPC_OK)
        fail_msg("%s", status.message);
    const sim_state_options how = {.store = db,
        .directory = folder,
        .clock = rpc_clock_system(),
        .code_life_s = 60,
        .refresh_idle_s = 3600,
        .refresh_life_s = 3600,
        .session_life_s = 3600,
        .token_life_s_max = 300,
        .password_memory_bytes = 1u << 20,
        .password_passes = 1,
        .hashes_at_once = 1};
    if (sim_state_open(&how, &known, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void wake(void *ctx)
{
    (void)ctx;
    if (reporter)
        sim_reporter_wake(reporter);
}

static void start_reporter(void)
{
    rpc_channel_options options = {.target = world.target,
        .tls = {.ca_file = world.ca, .certificate_file = world.certificate, .key_file = world.key},
        .limits = rpc_limits_default_client(),
        .backoff_initial_ms = 20,
        .backoff_max_ms = 100};
    rpc_status status = {0};
    if (rpc_channel_new(world.runtime, &options, &channel, &status) != RPC_OK ||
        sim_reporter_start(
            channel, known, RESOURCE, world.log, world.metrics, &reporter, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void begin(void)
{
    fake_world_make(&world);
    dacm.count = dacm.heartbeats = dacm.streams = 0;
    dacm.mark = dacm.marks_echoed = 0;
    dacm.mute = dacm.lies = false;
    dacm.applied = 0;
    dacm.epoch[0] = '\0';
    folder = test_tmpdir();
    open_state();
    sim_revocations_watch(known, wake, NULL);
    start_peer();
}

static void end(void)
{
    sim_reporter *stopping = reporter;
    reporter = NULL;
    sim_reporter_stop(stopping);
    rpc_channel_free(channel);
    if (peer.server)
        fake_peer_stop(&peer);
    sim_state_close(known);
    store_close(db);
    fake_world_free(&world);
}

static void revoke_token(const char *jti)
{
    rpc_status status = {0};
    if (sim_revoke_token(known, jti, rpc_clock_wall_ms(rpc_clock_system()) / 1000 + 200, &status) !=
        RPC_OK)
        fail_msg("%s", status.message);
}

/* A bound on waiting, not an expectation. */
static void await_applied(uint64_t number)
{
    assert_true(sim_reporter_wait(reporter, number, 30000));
    assert_true(sim_reporter_applied(reporter) >= number);
}

static void assert_notes(const char *const *expected, size_t count)
{
    pthread_mutex_lock(&dacm.lock);
    for (size_t i = 0; i < count && i < dacm.count; i++)
        if (strcmp(dacm.notes[i].what, expected[i]) != 0)
            fail_msg("%zu: '%s', not '%s'", i, dacm.notes[i].what, expected[i]);
    assert_int_equal(dacm.count, count);
    pthread_mutex_unlock(&dacm.lock);
}

TEST(what_was_revoked_before_and_while_connected_arrives_in_order)
{
    static const char *const expected[] = {"1 jti a", "2 subject b", "3 jti c"};
    begin();
    revoke_token("a");
    assert_int_equal(sim_revoke_subject(known, "b", NULL), RPC_OK);
    start_reporter();
    await_applied(2);
    revoke_token("c");
    await_applied(3);
    assert_notes(expected, 3);
    assert_true(sim_reporter_connected(reporter));
    assert_true(fake_metric(&world, "sim_report_lag{dacm=\"" RESOURCE "\"}") < 1);
    end();
}

TEST(stream_that_was_cut_goes_on_where_the_dacm_stands)
{
    static const char *const expected[] = {"1 jti a", "2 jti b", "3 jti c"};
    begin();
    start_reporter();
    revoke_token("a");
    await_applied(1);
    fake_peer_stop(&peer);
    fake_await_metric(&world, CONNECTED, 0);
    revoke_token("b");
    revoke_token("c");
    assert_false(sim_reporter_wait(reporter, 3, 1));
    start_peer();
    await_applied(3);
    assert_notes(expected, 3); /* nothing twice */
    end();
}

TEST(dacm_that_lost_its_store_is_sent_everything_again)
{
    static const char *const expected[] = {"1 jti a", "2 jti b", "1 jti a", "2 jti b"};
    begin();
    start_reporter();
    revoke_token("a");
    revoke_token("b");
    await_applied(2);
    fake_peer_stop(&peer);
    fake_await_metric(&world, CONNECTED, 0);
    pthread_mutex_lock(&dacm.lock);
    dacm.epoch[0] = '\0';
    dacm.applied = 0;
    pthread_mutex_unlock(&dacm.lock);
    start_peer();
    fake_await_metric(&world, CONNECTED, 1);
    await_applied(2);
    assert_notes(expected, 4);
    end();
}

TEST(dacm_that_knows_another_store_of_ours_begins_with_the_first)
{
    static const char *const expected[] = {"1 jti a"};
    begin();
    snprintf(dacm.epoch, sizeof dacm.epoch, "another");
    dacm.applied = 77;
    revoke_token("a");
    start_reporter();
    await_applied(1);
    assert_notes(expected, 1);
    end();
}

TEST(what_has_expired_is_told_by_its_number_alone)
{
    static const char *const expected[] = {"1 expired", "2 jti b", "4 expired"};
    begin();
    const int64_t now = rpc_clock_wall_ms(rpc_clock_system()) / 1000;
    assert_int_equal(sim_revoke_token(known, "a", now + 1, NULL), RPC_OK);
    revoke_token("b");
    assert_int_equal(sim_revoke_token(known, "c", now + 1, NULL), RPC_OK);
    assert_int_equal(sim_revoke_token(known, "d", now + 1, NULL), RPC_OK);
    bool gone = false;
    while (!gone) { /* the state keeps them a little longer than their tokens live */
        atomic_bool stop = false;
        assert_int_equal(sim_state_sweep(known, &stop, NULL), RPC_OK);
        store_stats stats;
        assert_int_equal(store_stat(db, &stats, NULL), RPC_OK);
        gone = stats.records == 2; /* the head, and b */
        const struct timespec moment = {.tv_nsec = 100000000};
        nanosleep(&moment, NULL);
    }
    start_reporter();
    await_applied(4);
    assert_notes(expected, 3);
    end();
}

TEST(heartbeats_go_out_while_there_is_nothing_new)
{
    begin();
    start_reporter();
    fake_await_metric(&world, CONNECTED, 1);
    pthread_mutex_lock(&dacm.lock);
    while (dacm.heartbeats < 3 || dacm.marks_echoed < 2) /* each answers the one before */
        pthread_cond_wait(&dacm.came, &dacm.lock);
    pthread_mutex_unlock(&dacm.lock);
    assert_notes(NULL, 0);
    end();
}

TEST(dacm_that_says_it_applies_what_it_was_not_sent_is_not_believed)
{
    begin();
    dacm.lies = true;
    start_reporter();
    revoke_token("a");
    pthread_mutex_lock(&dacm.lock);
    while (dacm.streams < 3)
        pthread_cond_wait(&dacm.came, &dacm.lock);
    pthread_mutex_unlock(&dacm.lock);
    assert_true(sim_reporter_applied(reporter) <= 1);
    end();
}

TEST(dacm_that_stands_beyond_our_log_is_told_nothing)
{
    begin();
    revoke_token("a");
    rpc_hex(rpc_bytes_of(sim_revocations_epoch(known), 16), dacm.epoch);
    dacm.applied = 5; /* our store was restored from an older copy */
    start_reporter();
    pthread_mutex_lock(&dacm.lock);
    while (dacm.streams < 2)
        pthread_cond_wait(&dacm.came, &dacm.lock);
    pthread_mutex_unlock(&dacm.lock);
    assert_notes(NULL, 0);
    end();
}

TEST(store_with_another_secret_tells_its_log_anew)
{
    static const char *const expected[] = {"1 jti a", "1 jti a"};
    char secret[600];
    begin();
    revoke_token("a");
    start_reporter();
    await_applied(1);
    sim_reporter *stopping = reporter;
    reporter = NULL;
    sim_reporter_stop(stopping);
    rpc_channel_free(channel);
    sim_state_close(known);
    store_close(db);
    snprintf(secret, sizeof secret, "%s/secret", folder);
    assert_int_equal(unlink(secret), 0);
    host_metrics_free(world.metrics); /* a gauge is added once */
    world.metrics = host_metrics_new();
    open_state();
    start_reporter();
    await_applied(1);
    assert_notes(expected, 2);
    end();
}

TEST(many_revocations_arrive_each_once)
{
    begin();
    start_reporter();
    for (unsigned i = 1; i <= 300; i++) {
        char jti[32];
        snprintf(jti, sizeof jti, "j%u", i);
        revoke_token(jti);
    }
    await_applied(300);
    pthread_mutex_lock(&dacm.lock);
    assert_int_equal(dacm.count, 300);
    for (unsigned i = 1; i <= 300; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "%u jti j%u", i, i);
        assert_string_equal(dacm.notes[i - 1].what, expected);
    }
    pthread_mutex_unlock(&dacm.lock);
    end();
}

TEST(dacm_that_falls_silent_gets_another_stream)
{
    begin();
    dacm.mute = true; /* connected, and whatever is sent goes nowhere */
    start_reporter();
    pthread_mutex_lock(&dacm.lock);
    while (dacm.streams < 2)
        pthread_cond_wait(&dacm.came, &dacm.lock);
    dacm.mute = false;
    pthread_mutex_unlock(&dacm.lock);
    revoke_token("a");
    await_applied(1);
    end();
}

TEST(stop_while_the_dacm_is_away_returns)
{
    begin();
    fake_peer_stop(&peer);
    start_reporter();
    revoke_token("a");
    assert_false(sim_reporter_connected(reporter));
    end();
}
