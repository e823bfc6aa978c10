/* SPDX-License-Identifier: Apache-2.0 */
#include "replays.h"
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#define NOW 1790000000

static const char *file_name(void)
{
    static char path[512];
    static int count;
    snprintf(path, sizeof path, "%s/assertions-%d", test_tmpdir(), count++);
    return path;
}

static sim_replays *open_at(const char *path)
{
    sim_replays *replays = NULL;
    rpc_status status;
    assert_int_equal(sim_replays_open(path, &replays, &status), RPC_OK);
    return replays;
}

static rpc_code take(sim_replays *replays, const char *jti, int64_t issued, int64_t now)
{
    rpc_status status;
    return sim_replays_take(replays, "client", jti, issued, issued + 60, now, &status);
}

static rpc_code take_of(const char *client_id, sim_replays *replays, const char *jti, int64_t now)
{
    rpc_status status;
    return sim_replays_take(replays, client_id, jti, now, now + 60, now, &status);
}

TEST(assertion_is_taken_once)
{
    sim_replays *replays = open_at(file_name());
    assert_int_equal(take(replays, "a", NOW, NOW), RPC_OK);
    assert_int_equal(take(replays, "a", NOW, NOW), RPC_ALREADY_EXISTS);
    assert_int_equal(take(replays, "b", NOW, NOW), RPC_OK);
    sim_replays_close(replays);
}

TEST(same_jti_of_another_client_is_another)
{
    rpc_status status;
    sim_replays *replays = open_at(file_name());
    assert_int_equal(take(replays, "a", NOW, NOW), RPC_OK);
    assert_int_equal(sim_replays_take(replays, "other", "a", NOW, NOW + 60, NOW, &status), RPC_OK);
    assert_int_equal(sim_replays_take(replays, "clienta", "", NOW, NOW + 60, NOW, &status), RPC_OK);
    sim_replays_close(replays);
}

TEST(after_a_restart_what_was_issued_before_is_refused)
{
    const char *path = file_name();
    sim_replays *replays = open_at(path);
    assert_int_equal(take(replays, "a", NOW, NOW), RPC_OK);
    sim_replays_close(replays);
    replays = open_at(path);
    assert_int_equal(take(replays, "a", NOW, NOW), RPC_ALREADY_EXISTS);
    assert_int_equal(take(replays, "b", NOW, NOW + 5), RPC_ALREADY_EXISTS);
    assert_int_equal(take(replays, "b", NOW - 30, NOW + 5), RPC_ALREADY_EXISTS);
    assert_int_equal(take(replays, "c", NOW + 1, NOW + 5), RPC_OK);
    sim_replays_close(replays);
}

TEST(first_start_refuses_nothing)
{
    sim_replays *replays = open_at(file_name());
    assert_int_equal(take(replays, "a", NOW - 60, NOW), RPC_OK);
    sim_replays_close(replays);
}

TEST(what_has_expired_is_forgotten_when_room_is_needed)
{
    sim_replays *replays = open_at(file_name());
    char jti[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(jti, sizeof jti, "old-%d", i);
        assert_int_equal(take(replays, jti, NOW, NOW), RPC_OK);
    }
    assert_int_equal(sim_replays_count(replays), 3000);
    for (int i = 0; i < 3000; i++) {
        snprintf(jti, sizeof jti, "new-%d", i);
        assert_int_equal(take(replays, jti, NOW + 100, NOW + 100), RPC_OK);
    }
    assert_true(sim_replays_count(replays) < 6000);
    for (int i = 0; i < 3000; i++) {
        snprintf(jti, sizeof jti, "new-%d", i);
        assert_int_equal(take(replays, jti, NOW + 100, NOW + 100), RPC_ALREADY_EXISTS);
    }
    sim_replays_close(replays);
}

TEST(one_client_cannot_take_the_room_of_all)
{
    sim_replays *replays = open_at(file_name());
    char jti[32];
    rpc_code code = RPC_OK;
    unsigned count = 0;
    while (code == RPC_OK && count <= SIM_REPLAYS_MAX) {
        snprintf(jti, sizeof jti, "%u", count);
        code = take_of("client", replays, jti, NOW);
        count += code == RPC_OK;
    }
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(count, SIM_REPLAYS_CLIENT_MAX);
    assert_int_equal(take_of("client", replays, "more", NOW + 1), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(take_of("other", replays, "a", NOW + 1), RPC_OK);
    assert_int_equal(take_of("client", replays, "0", NOW + 1), RPC_ALREADY_EXISTS);
    assert_int_equal(take_of("client", replays, "later", NOW + 100), RPC_OK);
    sim_replays_close(replays);
}

TEST(limit_of_assertions_refuses_instead_of_forgetting)
{
    sim_replays *replays = open_at(file_name());
    char jti[32];
    rpc_code code = RPC_OK;
    unsigned count = 0;
    while (code == RPC_OK && count <= 2 * SIM_REPLAYS_MAX) {
        snprintf(jti, sizeof jti, "%u", count);
        code = take_of(count % 2 ? "other" : "client", replays, jti, NOW);
        count += code == RPC_OK;
    }
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(count, SIM_REPLAYS_MAX);
    assert_int_equal(take(replays, "0", NOW, NOW), RPC_ALREADY_EXISTS);
    assert_int_equal(take_of("third", replays, "a", NOW + 1), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(take(replays, "later", NOW + 100, NOW + 100), RPC_OK);
    sim_replays_close(replays);
}

TEST(file_that_simsd_did_not_write_is_refused)
{
    const char *path = file_name();
    sim_replays *replays = NULL;
    rpc_status status;
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(file, "hello\n", 6), 6);
    close(file);
    assert_int_equal(sim_replays_open(path, &replays, &status), RPC_DATA_LOSS);
    assert_non_null(strstr(status.message, path));
    assert_int_equal(sim_replays_open("/nonexistent/x", &replays, &status), RPC_UNAVAILABLE);
    assert_null(replays);
}
