/* SPDX-License-Identifier: Apache-2.0 */
/* Which variants are kept, which go, and that nothing goes that a download may still need. */
#include "kept.h"
#include "sweep.h"

#define GRACE_MS (3600 * 1000)

static bool is_kept(kept *k, uint8_t asset, uint64_t version, const char *recipe)
{
    char id[2 * STORE_UID_BYTES + 1];
    const dacm_which which = kept_which(version, recipe);
    kept_asset_id(asset, id);
    return kept_has(k, dacm_key_variants(id), dacm_key_variant(&which));
}

static bool is_given_up(kept *k, uint8_t asset, uint64_t version, const char *recipe)
{
    char id[2 * STORE_UID_BYTES + 1];
    const dacm_which which = kept_which(version, recipe);
    kept_asset_id(asset, id);
    return kept_has(k, dacm_key_variants(id), dacm_key_given_up(&which));
}

static void use(kept *k, uint8_t asset, uint64_t version, const char *recipe)
{
    uint8_t uid[STORE_UID_BYTES];
    const dacm_which which = kept_which(version, recipe);
    memset(uid, 0x40, sizeof uid);
    uid[0] = asset;
    dacm_variants_used(k->service.variants, uid, &which);
}

static dacm_swept sweep(kept *k)
{
    dacm_swept swept;
    rpc_status status = {0};
    if (dacm_sweep_once(&k->service, &swept, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return swept;
}

/* An asset with a version of chunks 0 and 1. */
static void put_asset(kept *k, uint8_t asset, uint64_t version)
{
    kept_version v = {.asset = asset, .version = version, .count = 2};
    kept_put_version(k, &v);
    kept_put_profile(k, asset, version, 0);
}

TEST(variant_used_longest_ago_goes_when_the_budget_is_reached)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_open_variants(&k, 3 * 1100); /* three of 1,0xx bytes */
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 1, 1, "b", 11);
    kept_put_variant(&k, 1, 1, "c", 12);
    assert_true(is_kept(&k, 1, 1, "a") && is_kept(&k, 1, 1, "b") && is_kept(&k, 1, 1, "c"));
    use(&k, 1, 1, "a");
    kept_put_variant(&k, 1, 1, "d", 13);
    assert_true(is_kept(&k, 1, 1, "a"));
    assert_false(is_kept(&k, 1, 1, "b"));
    assert_true(is_given_up(&k, 1, 1, "b"));
    assert_true(is_kept(&k, 1, 1, "c") && is_kept(&k, 1, 1, "d"));
    kept_close(&k);
}

TEST(variant_that_is_larger_than_the_budget_is_kept_until_the_next_comes)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_open_variants(&k, 10);
    kept_put_variant(&k, 1, 1, "a", 10);
    assert_true(is_kept(&k, 1, 1, "a"));
    kept_put_variant(&k, 1, 1, "b", 11);
    assert_false(is_kept(&k, 1, 1, "a"));
    assert_true(is_kept(&k, 1, 1, "b"));
    kept_close(&k);
}

TEST(budget_counts_what_a_start_finds)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 1, 1, "b", 11);
    kept_open_variants(&k, 2 * 1100); /* loads both */
    kept_put_variant(&k, 1, 1, "c", 12);
    assert_int_equal(is_kept(&k, 1, 1, "a") + is_kept(&k, 1, 1, "b"), 1);
    assert_true(is_kept(&k, 1, 1, "c"));
    kept_close(&k);
}

TEST(variant_that_was_made_again_counts_once)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_open_variants(&k, 2 * 1100);
    kept_put_variant(&k, 1, 1, "a", 10);
    for (int i = 0; i < 10; i++)
        kept_put_variant(&k, 1, 1, "b", 11);
    assert_true(is_kept(&k, 1, 1, "a") && is_kept(&k, 1, 1, "b"));
    kept_close(&k);
}

TEST(chunks_of_variants_are_swept_an_hour_after_they_were_given_up)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_open_variants(&k, 1100);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_pass(&k, 100 * GRACE_MS);
    assert_int_equal(sweep(&k).chunks, 0);
    kept_put_variant(&k, 1, 1, "b", 11);
    assert_true(is_given_up(&k, 1, 1, "a"));
    kept_pass(&k, (DACM_GIVEN_UP_S - 1) * 1000);
    dacm_swept swept = sweep(&k);
    assert_int_equal(swept.chunks + swept.variants, 0);
    assert_true(kept_has_chunk(&k, 1, 10));
    kept_pass(&k, 2000);
    swept = sweep(&k);
    assert_int_equal(swept.variants, 1);
    assert_int_equal(swept.chunks, 2); /* its chunk and its page */
    assert_false(kept_has_chunk(&k, 1, 10));
    assert_true(kept_has_chunk(&k, 1, 11) && kept_has_chunk(&k, 1, 0) && kept_has_chunk(&k, 1, 1));
    kept_close(&k);
}

TEST(variants_go_with_their_version_and_with_their_asset)
{
    kept k;
    kept_open(&k);
    char id[2 * STORE_UID_BYTES + 1];
    for (uint8_t asset = 1; asset <= 3; asset++)
        put_asset(&k, asset, 5);
    kept_put_variant(&k, 1, 4, "a", 10); /* of a version that the profile no longer has */
    kept_put_variant(&k, 1, 5, "a", 11);
    kept_put_variant(&k, 2, 5, "a", 12); /* of an asset that is deleted below */
    kept_put_variant(&k, 3, 5, "a", 13);
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    kept_asset_id(1, id);
    profile.version = profile.oldest_version = 5;
    kept_put(&k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
    kept_asset_id(2, id);
    profile.deleted = true;
    kept_put(&k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
    assert_int_equal(sweep(&k).variants, 2);
    assert_false(is_kept(&k, 1, 4, "a") || is_kept(&k, 2, 5, "a"));
    assert_true(is_kept(&k, 1, 5, "a") && is_kept(&k, 3, 5, "a"));
    kept_close(&k);
}

TEST(forgotten_asset_frees_its_part_of_the_budget)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    put_asset(&k, 2, 1);
    kept_open_variants(&k, 2 * 1100);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 2, 1, "a", 11);
    uint8_t uid[STORE_UID_BYTES];
    memset(uid, 0x40, sizeof uid);
    uid[0] = 1;
    dacm_variants_forget(k.service.variants, uid);
    kept_put_variant(&k, 2, 1, "b", 12);
    assert_true(is_kept(&k, 2, 1, "a") && is_kept(&k, 2, 1, "b"));
    kept_close(&k);
}

/* Two variants of asset 1 with 40 MB each by their records, of which the first was given up. */
static void give_up_much(kept *k)
{
    put_asset(k, 1, 1);
    kept_pass(k, GRACE_MS);
    k->variant_bytes = 40000000;
    kept_open_variants(k, 1);
    kept_put_variant(k, 1, 1, "a", 10);
    kept_put_variant(k, 1, 1, "b", 11);
    assert_true(is_given_up(k, 1, 1, "a"));
    kept_pass(k, 1000);
}

TEST(what_was_given_up_is_swept_at_once_where_it_takes_much)
{
    kept k;
    kept_open(&k);
    give_up_much(&k);
    kept_put_chunk(&k, 1, 5); /* of an upload that was abandoned: it has its time of grace */
    kept_pass(&k, 1000);
    assert_int_equal(sweep(&k).variants, 1);
    assert_false(is_given_up(&k, 1, 1, "a") || kept_has_chunk(&k, 1, 10));
    assert_true(is_kept(&k, 1, 1, "b") && kept_has_chunk(&k, 1, 11));
    assert_true(kept_has_chunk(&k, 1, 0) && kept_has_chunk(&k, 1, 1));
    assert_int_equal(sweep(&k).variants, 0);
    kept_close(&k);
}

TEST(record_that_is_damaged_goes_and_keeps_no_other_from_being_swept)
{
    kept k;
    kept_open(&k);
    give_up_much(&k);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(0, id); /* is swept before asset 1 */
    const dacm_which z = kept_which(1, "z");
    kept_put_chunk(&k, 0, 7);
    kept_damage(&k, dacm_key_variants(id), dacm_key_given_up(&z));
    kept_pass(&k, GRACE_MS);
    dacm_swept swept;
    rpc_status status;
    assert_int_equal(dacm_sweep_once(&k.service, &swept, &status), RPC_DATA_LOSS);
    assert_non_null(strstr(status.message, "damaged"));
    assert_int_equal(swept.variants, 1);
    assert_false(is_given_up(&k, 1, 1, "a") || kept_has_chunk(&k, 1, 10));
    assert_false(kept_has(&k, dacm_key_variants(id), dacm_key_given_up(&z)));
    assert_true(kept_has_chunk(&k, 0, 7)); /* it may have been its: for the next sweep */
    kept_pass(&k, 1);
    assert_int_equal(sweep(&k).chunks, 1);
    kept_close(&k);
}

TEST(record_that_is_damaged_keeps_no_server_from_starting)
{
    kept k;
    kept_open(&k);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    put_asset(&k, 1, 1);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 1, 1, "b", 11);
    const dacm_which a = kept_which(1, "a");
    kept_damage(&k, dacm_key_variants(id), dacm_key_variant(&a));
    kept_open_variants(&k, 1100); /* has room for one: "b" is known and goes */
    kept_put_variant(&k, 1, 1, "c", 12);
    assert_true(is_given_up(&k, 1, 1, "b") && is_kept(&k, 1, 1, "c"));
    kept_close(&k);
}

TEST(variant_whose_list_rotted_goes_and_its_asset_is_swept_again)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 1, 1, "b", 11);
    uint8_t entry[DACM_ENTRY_BYTES], digest[32], page[32];
    const size_t size = kept_chunk(10, digest, NULL);
    dacm_entry_write(entry, (uint32_t)size, digest);
    trust_sha256(rpc_bytes_of(entry, sizeof entry), page);
    kept_rot_page(&k, 1, page);
    kept_pass(&k, GRACE_MS + 1);
    dacm_swept swept;
    rpc_status status;
    assert_int_equal(dacm_sweep_once(&k.service, &swept, &status), RPC_DATA_LOSS);
    assert_int_equal(swept.chunks, 0);
    assert_true(!is_kept(&k, 1, 1, "a") && is_kept(&k, 1, 1, "b"));
    assert_int_equal(sweep(&k).chunks, 2);
    assert_true(kept_has_chunk(&k, 1, 11) && !kept_has_chunk(&k, 1, 10));
    assert_true(kept_has_chunk(&k, 1, 0) && kept_has_chunk(&k, 1, 1));
    kept_close(&k);
}

TEST(what_a_download_may_hold_is_never_swept_for_want_of_room)
{
    kept k;
    kept_open(&k);
    give_up_much(&k);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    const dacm_which a = kept_which(1, "a"), b = kept_which(1, "b");
    dacm_running_entry holds = {.asset_id = id,
        .recipe_sha256 = a.recipe_sha256,
        .begun_s = rpc_clock_wall_ms(&k.clock) / 1000 - 1};
    dacm_running_entry other = {
        .asset_id = id, .recipe_sha256 = b.recipe_sha256, .begun_s = holds.begun_s};
    dacm_running_entry late = {
        .asset_id = id, .recipe_sha256 = a.recipe_sha256, .begun_s = holds.begun_s + 1};
    dacm_running_add(k.service.running, &holds);
    dacm_running_add(k.service.running, &other);
    dacm_running_add(k.service.running, &late);
    assert_int_equal(sweep(&k).variants, 0);
    assert_true(kept_has_chunk(&k, 1, 10));
    dacm_running_remove(k.service.running, &holds);
    assert_int_equal(sweep(&k).variants, 1);
    assert_false(kept_has_chunk(&k, 1, 10));
    dacm_running_remove(k.service.running, &other);
    dacm_running_remove(k.service.running, &late);
    kept_close(&k);
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

TEST(nothing_more_is_made_while_what_was_given_up_takes_all_it_may)
{
    kept k;
    unsigned calls = 0;
    rpc_status status = {0};
    kept_open(&k);
    give_up_much(&k);
    dacm_variants_watch(k.service.variants, count_call, &calls);
    assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_OK);
    kept_put_variant(&k, 1, 1, "c", 12);
    assert_int_equal(calls, 1);
    assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "media.variants_bytes_max"));
    kept_open_variants(&k, 1); /* a start knows it as well */
    assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(sweep(&k).variants, 2);
    assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_OK);
    kept_close(&k);
}

TEST(what_is_due_to_be_swept_is_swept_although_room_is_short_all_the_time)
{
    kept k;
    kept_open(&k);
    give_up_much(&k);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    const dacm_which a = kept_which(1, "a"), b = kept_which(1, "b");
    dacm_running_entry holds[] = {{.asset_id = id, .recipe_sha256 = a.recipe_sha256},
        {.asset_id = id, .recipe_sha256 = b.recipe_sha256}};
    dacm_running_add(k.service.running, &holds[0]);
    dacm_running_add(k.service.running, &holds[1]);
    kept_put_variant(&k, 1, 1, "c", 12); /* from now on each question wishes for a sweep */
    Dacm__Records__Upload record = DACM__RECORDS__UPLOAD__INIT;
    const host_key uploads = dacm_key_uploads("msisdn-4915110000001");
    kept_put(&k, uploads, dacm_key_version(1), &record.base); /* for the sweep of all only */
    k.config.sweep_interval_s = 1;
    dacm_sweep *thread = NULL;
    rpc_status status = {0};
    assert_int_equal(dacm_sweep_start(&k.service, &thread, &status), RPC_OK);
    while (kept_has(&k, uploads, dacm_key_version(1)))
        assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_RESOURCE_EXHAUSTED);
    dacm_sweep_stop(thread);
    assert_true(is_given_up(&k, 1, 1, "a") && is_given_up(&k, 1, 1, "b"));
    dacm_running_remove(k.service.running, &holds[0]);
    dacm_running_remove(k.service.running, &holds[1]);
    kept_close(&k);
}

TEST(variants_take_a_quarter_of_the_stores_room_at_most)
{
    kept k;
    kept_open(&k);
    put_asset(&k, 1, 1);
    k.room_bytes = 4 * 3 * 1100;
    kept_open_variants(&k, UINT64_MAX);
    kept_put_variant(&k, 1, 1, "a", 10);
    kept_put_variant(&k, 1, 1, "b", 11);
    kept_put_variant(&k, 1, 1, "c", 12);
    assert_true(is_kept(&k, 1, 1, "a"));
    kept_put_variant(&k, 1, 1, "d", 13);
    assert_true(is_given_up(&k, 1, 1, "a") && is_kept(&k, 1, 1, "b"));
    for (unsigned i = 0; i < 3; i++)
        kept_put_variant(&k, 1, 1, (const char *[]){"e", "f", "g"}[i], 14 + i);
    rpc_status status;
    assert_int_equal(dacm_variants_admit(k.service.variants, &status), RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(sweep(&k).variants, 4);
    kept_close(&k);
}
