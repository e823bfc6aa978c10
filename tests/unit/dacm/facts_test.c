/* SPDX-License-Identifier: Apache-2.0 */
#include "changes.h"
#include "facts.h"
#include "store.h"
#include "trust.h"

#include "test.h"

#include <semaphore.h>

static char ann[] = "msisdn-4915100000001", bob[] = "extid-bob@example.com";
static char eve[] = "msisdn-4915100000009";
static const char its_id[] = "01000000000000000000000000000000";

struct outcome {
    sem_t over;
    rpc_status status;
    dacm_facts facts;
    uint64_t generation;
};

static void written(void *arg, const rpc_status *status, uint64_t generation)
{
    struct outcome *o = arg;
    o->status = *status;
    o->generation = generation;
    sem_post(&o->over);
}

static void have_facts(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    struct outcome *o = arg;
    o->status = *status;
    o->facts = *facts;
    sem_post(&o->over);
}

static void run_now(void *ctx, void (*fn)(void *arg), void *arg)
{
    (void)ctx;
    fn(arg);
}

static const store_executor at_once = {run_now, NULL};

static void apply(store *db, dacm_changes *changes)
{
    struct outcome o = {.generation = 0};
    sem_init(&o.over, 0, 0);
    dacm_changes_apply(
        changes, db, &at_once, dacm_key_asset(its_id), STORE_ANY_GENERATION, written, &o);
    sem_wait(&o.over);
    assert_int_equal(o.status.code, RPC_OK);
}

static store *store_with(bool deleted, uint8_t first_of_uid)
{
    store_lmdb_options options = {.directory = test_tmpdir(),
        .meta_map_bytes_max = 64 << 20,
        .chunks_map_bytes_max = 64 << 20,
        .sync = STORE_SYNC_PROCESS};
    store *db = NULL;
    assert_int_equal(store_open_lmdb(&options, &db, NULL), RPC_OK);
    uint8_t uid[STORE_UID_BYTES] = {first_of_uid};
    char *owners[] = {ann};
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    profile.uid = (ProtobufCBinaryData){sizeof uid, uid};
    profile.owners = owners;
    profile.n_owners = 1;
    profile.version = 7;
    profile.deleted = deleted;
    dacm_grant grant = {bob, dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET)};
    dacm_changes changes = {0};
    dacm_changes_put(&changes, dacm_key_profile(), &profile.base);
    dacm_put_grant(&changes, &grant);
    apply(db, &changes);
    return db;
}

static store *store_with_asset(bool deleted)
{
    return store_with(deleted, 1);
}

static dacm_facts facts_of(store *db, rpc_arena *arena, const char *asset, const char *user)
{
    struct outcome o = {.generation = 0};
    dacm_facts_load load;
    sem_init(&o.over, 0, 0);
    dacm_facts_get(&load, db, &at_once, arena, asset, user, have_facts, &o);
    sem_wait(&o.over);
    assert_int_equal(o.status.code, RPC_OK);
    return o.facts;
}

TEST(facts_tell_owner_listed_and_stranger_apart)
{
    store *db = store_with_asset(false);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    dacm_facts facts = facts_of(db, arena, its_id, ann);
    assert_true(facts.owner);
    assert_int_equal(facts.operations, 0);
    assert_int_equal(facts.profile->version, 7);
    facts = facts_of(db, arena, its_id, bob);
    assert_false(facts.owner);
    assert_int_equal(facts.operations, dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET));
    assert_int_equal(facts.generation, 1);
    facts = facts_of(db, arena, its_id, eve);
    assert_false(facts.owner);
    assert_int_equal(facts.operations, 0);
    rpc_arena_free(arena);
    store_close(db);
}

TEST(missing_asset_has_no_facts_and_is_no_failure)
{
    store *db = store_with_asset(false);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    dacm_facts facts = facts_of(db, arena, "a2", ann);
    assert_null(facts.profile);
    assert_false(facts.owner);
    assert_false(facts.deleted);
    rpc_arena_free(arena);
    store_close(db);
}

TEST(deleted_asset_allows_nobody_and_its_id_is_used_up)
{
    store *db = store_with_asset(true);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    dacm_facts facts = facts_of(db, arena, its_id, ann);
    assert_null(facts.profile);
    assert_true(facts.deleted);
    assert_false(facts.owner);
    rpc_arena_free(arena);
    store_close(db);
}

TEST(asset_whose_uid_the_disk_has_changed_is_told_and_not_written_to)
{
    store *db = store_with(false, 3);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    struct outcome o = {.generation = 0};
    dacm_facts_load load;
    sem_init(&o.over, 0, 0);
    dacm_facts_get(&load, db, &at_once, arena, its_id, ann, have_facts, &o);
    sem_wait(&o.over);
    assert_int_equal(o.status.code, RPC_DATA_LOSS);
    assert_non_null(strstr(o.status.message, "--store-check"));
    rpc_arena_free(arena);
    store_close(db);
}

TEST(grant_that_the_disk_put_under_another_name_lets_nobody_in)
{
    store *db = store_with_asset(false);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    Dacm__Records__Grant grant = DACM__RECORDS__GRANT__INIT;
    grant.gpsi = bob;
    grant.operations = dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET);
    dacm_changes changes = {0};
    dacm_changes_put(&changes, dacm_key_grant(eve), &grant.base);
    apply(db, &changes);
    struct outcome o = {.generation = 0};
    dacm_facts_load load;
    sem_init(&o.over, 0, 0);
    dacm_facts_get(&load, db, &at_once, arena, its_id, eve, have_facts, &o);
    sem_wait(&o.over);
    assert_int_equal(o.status.code, RPC_DATA_LOSS);
    assert_int_equal(o.facts.operations, 0);
    rpc_arena_free(arena);
    store_close(db);
}

TEST(no_name_has_the_key_of_one_that_is_kept_by_its_digest)
{
    char long_name[251] = {0}, digest_name[1 + STORE_DIGEST_BYTES + 1] = "#";
    memset(long_name, 'x', sizeof long_name - 1);
    do { /* a name is text: its digest must have no zero byte */
        long_name[0]++;
        trust_sha256(rpc_bytes_str(long_name), (uint8_t *)digest_name + 1);
    } while (strlen(digest_name) != 1 + STORE_DIGEST_BYTES);
    const host_key kept = dacm_key_revoked_token(long_name);
    const host_key other = dacm_key_revoked_token(digest_name);
    assert_int_equal(kept.size, 2 + 1 + STORE_DIGEST_BYTES);
    assert_false(rpc_bytes_equal(host_key_bytes(&kept), host_key_bytes(&other)));
}
