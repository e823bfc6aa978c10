/* SPDX-License-Identifier: Apache-2.0 */
#include "changes.h"
#include "records.h"
#include "store.h"

#include "test.h"

#include <pthread.h>

/* Waits for one completion, wherever it comes from. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
    rpc_status status;
    uint64_t generation;
};

static void written(void *arg, const rpc_status *status, uint64_t generation)
{
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    w->over = true;
    w->status = *status;
    w->generation = generation;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_read(store_op *op)
{
    written(op->ctx, &op->status, op->generation);
}

static void run_now(void *ctx, void (*fn)(void *arg), void *arg)
{
    (void)ctx;
    fn(arg);
}

static const store_executor at_once = {run_now, NULL};

static struct waiter waiter_new(void)
{
    struct waiter w = {.over = false};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    return w;
}

static rpc_code wait_for(struct waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->over)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    w->over = false;
    return w->status.code;
}

static store *store_new(void)
{
    store_lmdb_options options = {.directory = test_tmpdir(),
        .meta_map_bytes_max = 64 << 20,
        .chunks_map_bytes_max = 64 << 20,
        .sync = STORE_SYNC_PROCESS};
    store *db = NULL;
    rpc_status status = {0};
    if (store_open_lmdb(&options, &db, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return db;
}

static rpc_code get(store *db, host_key group, host_key item, char *ret, size_t room)
{
    struct waiter w = waiter_new();
    store_op op = {.done = on_read, .ctx = &w};
    if (store_get(db, host_key_bytes(&group), host_key_bytes(&item), &op) == STORE_PENDING)
        (void)wait_for(&w);
    if (op.status.code == RPC_OK && ret) {
        assert_true(op.view.bytes.size < room);
        memcpy(ret, op.view.bytes.data, op.view.bytes.size);
        ret[op.view.bytes.size] = '\0';
    }
    store_view_release(&op.view);
    return op.status.code;
}

static host_key item_of(const char *name)
{
    host_key key = {.size = strlen(name)};
    memcpy(key.data, name, key.size);
    return key;
}

TEST(changes_of_a_stale_generation_are_aborted_and_change_nothing)
{
    store *db = store_new();
    struct waiter w = waiter_new();
    host_key group = dacm_key_asset("a1");
    char value[16];
    dacm_changes changes = {0};
    dacm_changes_put_bytes(&changes, dacm_key_profile(), rpc_bytes_str("one"));
    dacm_changes_apply(&changes, db, &at_once, group, 0, written, &w);
    assert_int_equal(wait_for(&w), RPC_OK);
    assert_int_equal(w.generation, 1);
    dacm_changes_put_bytes(&changes, dacm_key_profile(), rpc_bytes_str("two"));
    dacm_changes_apply(&changes, db, &at_once, group, 0, written, &w);
    assert_int_equal(wait_for(&w), RPC_ABORTED);
    assert_int_equal(get(db, group, dacm_key_profile(), value, sizeof value), RPC_OK);
    assert_string_equal(value, "one");
    store_close(db);
}

TEST(asset_is_indexed_under_each_of_its_users)
{
    store *db = store_new();
    struct waiter w = waiter_new();
    const char *users[] = {"msisdn-4915100000001", "extid-bob@example.com"};
    dacm_index_users(db, &at_once, "a1", users, 2, 5, written, &w);
    assert_int_equal(wait_for(&w), RPC_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(get(db, dacm_key_user(users[i]), item_of("a1"), NULL, 0), RPC_OK);
    assert_int_equal(
        get(db, dacm_key_user("msisdn-4915100000002"), item_of("a1"), NULL, 0), RPC_NOT_FOUND);
    dacm_index_users(db, &at_once, "a2", users, 0, 5, written, &w);
    assert_int_equal(wait_for(&w), RPC_OK);
    store_close(db);
}

TEST(gpsi_of_any_length_has_a_key_of_its_own_within_the_stores_limits)
{
    char long_one[DACM_GPSI_MAX + 1], long_two[DACM_GPSI_MAX + 1];
    memset(long_one, 'a', DACM_GPSI_MAX);
    memset(long_two, 'a', DACM_GPSI_MAX);
    long_one[DACM_GPSI_MAX] = long_two[DACM_GPSI_MAX] = '\0';
    long_two[DACM_GPSI_MAX - 1] = 'b';
    host_key one = dacm_key_user(long_one), two = dacm_key_user(long_two);
    assert_true(one.size <= STORE_GROUP_BYTES_MAX / 2);
    assert_false(rpc_bytes_equal(host_key_bytes(&one), host_key_bytes(&two)));
    host_key grant = dacm_key_grant(long_one);
    assert_true(grant.size <= STORE_ITEM_BYTES_MAX);
}

TEST(group_of_an_asset_gives_its_id_back_and_other_groups_none)
{
    char id[DACM_ASSET_ID_MAX + 1];
    host_key asset = dacm_key_asset("a.1~b-c_d"), manifests = dacm_key_manifests("a1");
    assert_true(dacm_key_asset_id(host_key_bytes(&asset), id));
    assert_string_equal(id, "a.1~b-c_d");
    assert_false(dacm_key_asset_id(host_key_bytes(&manifests), id));
    assert_false(dacm_key_asset_id(rpc_bytes_str("a/"), id));
}

TEST(versions_sort_as_their_numbers_do)
{
    host_key nine = dacm_key_version(9), sixteen = dacm_key_version(16);
    assert_int_equal(nine.size, sixteen.size);
    assert_true(memcmp(nine.data, sixteen.data, nine.size) < 0);
}
