/* SPDX-License-Identifier: Apache-2.0 */
/* What a sweep drops, and above all what it leaves. */
#include "kept.h"
#include "sweep.h"

#define GRACE_MS (3600 * 1000)

static dacm_swept sweep(kept *k)
{
    dacm_swept swept;
    rpc_status status = {0};
    if (dacm_sweep_once(&k->service, &swept, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return swept;
}

TEST(sweep_drops_an_unlisted_chunk_after_the_grace_time_and_not_before)
{
    kept k;
    kept_open(&k);
    kept_put_chunk(&k, 1, 0);
    assert_int_equal(sweep(&k).chunks, 0);
    kept_pass(&k, GRACE_MS);
    assert_int_equal(sweep(&k).chunks, 0);
    assert_true(kept_has_chunk(&k, 1, 0));
    kept_pass(&k, 1);
    assert_int_equal(sweep(&k).chunks, 1);
    assert_false(kept_has_chunk(&k, 1, 0));
    assert_int_equal(sweep(&k).chunks, 0);
    kept_close(&k);
}

TEST(sweep_counts_the_grace_time_from_the_latest_put)
{
    kept k;
    kept_open(&k);
    kept_put_chunk(&k, 1, 0);
    kept_put_chunk(&k, 1, 1);
    kept_pass(&k, GRACE_MS);
    kept_put_chunk(&k, 1, 1); /* an upload relies on it again */
    kept_pass(&k, 1);
    assert_int_equal(sweep(&k).chunks, 1);
    assert_false(kept_has_chunk(&k, 1, 0));
    assert_true(kept_has_chunk(&k, 1, 1));
    kept_close(&k);
}

TEST(sweep_keeps_chunks_and_pages_of_every_version_that_is_kept)
{
    kept k;
    kept_open(&k);
    kept_version one = {.asset = 1, .version = 1, .first = 0, .count = 6, .per_page = 4};
    kept_version two = {.asset = 1, .version = 2, .first = 3, .count = 6, .per_page = 4};
    kept_version other = {.asset = 2, .version = 1, .first = 0, .count = 2};
    kept_put_version(&k, &one);
    kept_put_version(&k, &two);
    kept_put_version(&k, &other);
    kept_put_profile(&k, 1, 2, 0);
    kept_put_profile(&k, 2, 1, 0);
    kept_pass(&k, 10 * GRACE_MS);
    assert_int_equal(sweep(&k).chunks, 0);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    assert_int_equal(sweep(&k).chunks, 3 + 2); /* chunks 0 to 2 and two pages */
    for (unsigned n = 0; n < 9; n++)
        assert_int_equal(kept_has_chunk(&k, 1, n), n >= 3);
    assert_false(kept_has_digest(&k, 1, one.page));
    assert_true(kept_has_digest(&k, 1, two.page));
    for (unsigned n = 0; n < 2; n++) /* the same bytes, of another asset */
        assert_true(kept_has_chunk(&k, 2, n));
    assert_true(kept_has_digest(&k, 2, other.page));
    kept_close(&k);
}

TEST(sweep_drops_all_chunks_of_an_asset_that_is_gone)
{
    kept k;
    kept_open(&k);
    kept_version one = {.asset = 1, .version = 1, .count = 3}, two = one;
    two.asset = 2;
    kept_put_version(&k, &one);
    kept_put_version(&k, &two);
    kept_put_profile(&k, 2, 1, 0);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    kept_put_tombstone(&k, 1);
    kept_pass(&k, GRACE_MS + 1);
    assert_int_equal(sweep(&k).chunks, 4);
    assert_true(kept_has_chunk(&k, 2, 0));
    kept_close(&k);
}

TEST(sweep_spares_an_asset_to_which_an_upload_is_running)
{
    kept k;
    kept_open(&k);
    dacm_upload_slot slot = {0};
    uint8_t key[DACM_DIGEST_BYTES] = {1}, uid[STORE_UID_BYTES];
    memset(uid, 0x40, sizeof uid);
    uid[0] = 1;
    kept_put_chunk(&k, 1, 0);
    kept_put_chunk(&k, 2, 0);
    assert_int_equal(
        dacm_uploads_enter(k.service.uploads, &slot, "ann", key, uid, 8, NULL), RPC_OK);
    kept_pass(&k, 100 * GRACE_MS);
    assert_int_equal(sweep(&k).chunks, 1);
    assert_true(kept_has_chunk(&k, 1, 0));
    assert_false(kept_has_chunk(&k, 2, 0));
    dacm_uploads_leave(k.service.uploads, &slot);
    assert_int_equal(sweep(&k).chunks, 1);
    assert_false(kept_has_chunk(&k, 1, 0));
    kept_close(&k);
}

TEST(sweep_goes_through_more_chunks_than_a_page_of_the_store_holds)
{
    enum { MANY = STORE_DROPS_MAX + 300 };
    kept k;
    kept_open(&k);
    for (unsigned n = 0; n < MANY; n++) {
        uint8_t digest[32];
        kept_put_bytes(&k, 1, &n, sizeof n, digest);
    }
    kept_version one = {.asset = 1, .version = 1, .first = 1, .count = 5};
    kept_put_version(&k, &one);
    kept_put_profile(&k, 1, 1, 0);
    kept_pass(&k, GRACE_MS + 1);
    assert_int_equal(sweep(&k).chunks, MANY);
    for (unsigned n = 1; n <= 5; n++)
        assert_true(kept_has_chunk(&k, 1, n));
    kept_close(&k);
}

TEST(sweep_drops_nothing_of_an_asset_whose_list_is_damaged_and_goes_on_with_the_others)
{
    kept k;
    kept_open(&k);
    kept_version one = {.asset = 1, .version = 1, .count = 4, .per_page = 2};
    kept_put_version(&k, &one);
    kept_put_profile(&k, 1, 1, 0);
    kept_put_chunk(&k, 1, 50);
    kept_put_chunk(&k, 2, 50); /* comes behind it */
    Dacm__Records__Upload old = DACM__RECORDS__UPLOAD__INIT;
    kept_put(&k, dacm_key_uploads("msisdn-49151"), dacm_key_version(1), &old.base);
    kept_drop_digest(&k, 1, one.page);
    kept_pass(&k, GRACE_MS + 1);
    dacm_swept swept;
    rpc_status status = {0};
    assert_int_equal(dacm_sweep_once(&k.service, &swept, &status), RPC_DATA_LOSS);
    assert_non_null(strstr(status.message, "page"));
    for (unsigned n = 0; n < 4; n++)
        assert_true(kept_has_chunk(&k, 1, n));
    assert_true(kept_has_chunk(&k, 1, 50));
    assert_false(kept_has_chunk(&k, 2, 50));
    assert_int_equal(swept.chunks, 1);
    assert_int_equal(swept.uploads, 1);
    kept_close(&k);
}

/* Of asset 1, which the disk has damaged, nothing goes, although one chunk is listed by nothing. */
static void keeps_all(kept *k, const char *why)
{
    dacm_swept swept;
    rpc_status status = {0};
    kept_put_chunk(k, 1, 50);
    kept_pass(k, GRACE_MS + 1);
    assert_int_equal(dacm_sweep_once(&k->service, &swept, &status), RPC_DATA_LOSS);
    if (!strstr(status.message, why))
        fail_msg("%s", status.message);
    assert_int_equal(swept.chunks, 0);
    for (unsigned n = 0; n < 4; n++)
        assert_true(kept_has_chunk(k, 1, n));
    kept_close(k);
}

static void open_with_version(kept *k, kept_version *one)
{
    kept_open(k);
    *one = (kept_version){.asset = 1, .version = 1, .count = 4, .per_page = 2};
    kept_put_version(k, one);
    kept_put_profile(k, 1, 1, 0);
}

TEST(sweep_does_not_take_a_chunk_for_unlisted_whose_digest_rotted_in_the_list)
{
    kept k;
    kept_version one;
    open_with_version(&k, &one);
    kept_rot_page(&k, 1, one.page);
    keeps_all(&k, "does not have the digest");
}

TEST(sweep_does_not_take_chunks_for_unlisted_whose_page_a_record_no_longer_names)
{
    kept k;
    kept_version one;
    open_with_version(&k, &one);
    Dacm__Records__Version record = DACM__RECORDS__VERSION__INIT;
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    record.version = 1;
    record.chunk_count = 4; /* and no pages */
    kept_put(&k, dacm_key_asset(id), dacm_key_version(1), &record.base);
    keeps_all(&k, "contradicts itself");
}

TEST(sweep_does_not_take_chunks_for_unlisted_whose_version_is_missing)
{
    kept k;
    kept_version one;
    open_with_version(&k, &one);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    keeps_all(&k, "record of a version is missing");
}

TEST(sweep_does_not_take_chunks_for_unlisted_whose_profile_is_missing_or_damaged)
{
    char id[2 * STORE_UID_BYTES + 1];
    kept k;
    kept_version one;
    kept_asset_id(1, id);
    open_with_version(&k, &one);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    kept_delete(&k, dacm_key_asset(id), dacm_key_profile());
    keeps_all(&k, "profile of an asset is missing");
    open_with_version(&k, &one);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    kept_damage(&k, dacm_key_asset(id), dacm_key_profile());
    keeps_all(&k, "damaged");
}

TEST(sweep_forgets_uploads_after_a_day_and_not_before)
{
    kept k;
    kept_open(&k);
    host_key group = dacm_key_uploads("msisdn-4915110000001");
    Dacm__Records__Upload record = DACM__RECORDS__UPLOAD__INIT;
    record.created_at = KEPT_START_MS / 1000;
    kept_put(&k, group, dacm_key_version(1), &record.base);
    record.created_at += 60;
    kept_put(&k, group, dacm_key_version(2), &record.base);
    kept_put(&k, dacm_key_uploads("extid-a@b.c"), dacm_key_version(1), &record.base);
    kept_pass(&k, 86400000);
    assert_int_equal(sweep(&k).uploads, 0);
    kept_pass(&k, 1000);
    assert_int_equal(sweep(&k).uploads, 1);
    assert_false(kept_has(&k, group, dacm_key_version(1)));
    assert_true(kept_has(&k, group, dacm_key_version(2)));
    kept_pass(&k, 60000);
    assert_int_equal(sweep(&k).uploads, 2);
    kept_close(&k);
}

TEST(sweep_forgets_revocations_that_have_expired_and_no_others)
{
    kept k;
    kept_open(&k);
    host_key group = dacm_key_revocations("https://sims.example");
    Dacm__Records__Revocation record = DACM__RECORDS__REVOCATION__INIT;
    record.expires_at = KEPT_START_MS / 1000 + 900;
    kept_put(&k, group, dacm_key_revoked_token("j"), &record.base);
    kept_put(&k, dacm_key_revocations("https://other.example"), dacm_key_revoked_token("j"),
        &record.base);
    record.expires_at += 100;
    kept_put(&k, group, dacm_key_revoked_subject("s"), &record.base);
    kept_pass(&k, 900000);
    assert_int_equal(sweep(&k).revocations, 0);
    kept_pass(&k, 1000);
    assert_int_equal(sweep(&k).revocations, 2);
    assert_false(kept_has(&k, group, dacm_key_revoked_token("j")));
    assert_true(kept_has(&k, group, dacm_key_revoked_subject("s")));
    kept_close(&k);
}

TEST(sweep_touches_no_other_records)
{
    kept k;
    kept_open(&k);
    kept_version one = {.asset = 1, .version = 1, .count = 1};
    kept_put_version(&k, &one);
    kept_put_profile(&k, 1, 1, 1);
    kept_put_grant(&k, 1, "msisdn-4915110000001");
    Dacm__Records__Indexed indexed = DACM__RECORDS__INDEXED__INIT;
    Dacm__Records__Manifest manifest = DACM__RECORDS__MANIFEST__INIT;
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    kept_put(&k, dacm_key_user("msisdn-4915110000001"), dacm_key_version(1), &indexed.base);
    kept_put(
        &k, dacm_key_manifests(id), dacm_key_manifest(&(dacm_which){.version = 1}), &manifest.base);
    kept_pass(&k, INT64_C(1000) * 366 * 86400000);
    dacm_swept swept = sweep(&k);
    assert_int_equal(swept.chunks + swept.uploads + swept.revocations, 0);
    assert_true(kept_has(&k, dacm_key_asset(id), dacm_key_profile()));
    assert_true(kept_has(&k, dacm_key_asset(id), dacm_key_grant("msisdn-4915110000001")));
    assert_true(kept_has(&k, dacm_key_asset(id), dacm_key_version(1)));
    assert_true(kept_has(&k, dacm_key_user("msisdn-4915110000001"), dacm_key_version(1)));
    assert_true(
        kept_has(&k, dacm_key_manifests(id), dacm_key_manifest(&(dacm_which){.version = 1})));
    kept_close(&k);
}

TEST(sweep_thread_stops_while_it_rests)
{
    kept k;
    kept_open(&k);
    dacm_sweep *thread = NULL;
    rpc_status status;
    assert_int_equal(dacm_sweep_start(&k.service, &thread, &status), RPC_OK);
    dacm_sweep_stop(thread);
    dacm_sweep_stop(NULL);
    kept_close(&k);
}
