/* SPDX-License-Identifier: Apache-2.0 */
/* --store-check: each fault of ours in a store that is sound in itself. */
#include "kept.h"
#include "tools.h"

#include <unistd.h>

/* Runs the check; what it printed is in text. */
static int check(kept *k, char *text, size_t room)
{
    char path[300];
    snprintf(path, sizeof path, "%s.out", k->directory);
    kept_close_store(k);
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    FILE *file = fopen(path, "w+");
    assert_non_null(file);
    dup2(fileno(file), STDOUT_FILENO);
    int outcome = dacm_tool_check(k->directory, true);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, room - 1, file)] = '\0';
    fclose(file);
    unlink(path);
    return outcome;
}

static void is_clean(kept *k, const char *summary)
{
    char text[8192];
    int outcome = check(k, text, sizeof text);
    if (outcome != 0 || strstr(text, "fault\"") || !strstr(text, summary))
        fail_msg("%d: %s", outcome, text);
    kept_close(k);
}

static void has_fault(kept *k, const char *fault)
{
    char text[8192];
    int outcome = check(k, text, sizeof text);
    if (outcome != 1 || !strstr(text, fault) || !strstr(text, "\"faults\":1"))
        fail_msg("%d: %s", outcome, text);
    kept_close(k);
}

/* An asset of two versions with a list of one; beside it one that has never been uploaded. */
static void sound(kept *k, kept_version *newest)
{
    kept_open(k);
    kept_version one = {.asset = 1, .version = 1, .first = 0, .count = 4};
    *newest = (kept_version){.asset = 1, .version = 2, .first = 2, .count = 5, .per_page = 2};
    kept_put_version(k, &one);
    kept_put_version(k, newest);
    kept_put_profile(k, 1, 2, 1);
    kept_put_grant(k, 1, "msisdn-4915110000001");
    kept_put_profile(k, 2, 0, 0);
}

TEST(store_check_of_a_sound_store_is_clean)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    is_clean(&k, "\"assets\":2,\"versions\":2");
}

TEST(store_check_of_an_empty_store_is_clean)
{
    kept k;
    kept_open(&k);
    is_clean(&k, "\"assets\":0,\"versions\":0,\"variants\":0,\"listed_chunks\":0,\"faults\":0");
}

TEST(store_check_finds_a_missing_chunk)
{
    kept k;
    kept_version newest;
    uint8_t digest[32];
    sound(&k, &newest);
    kept_chunk(6, digest, NULL); /* of the newest alone */
    kept_drop_digest(&k, 1, digest);
    has_fault(&k, "a chunk of a version is missing");
}

TEST(store_check_finds_a_missing_chunk_of_an_older_version)
{
    kept k;
    kept_version newest;
    uint8_t digest[32];
    sound(&k, &newest);
    kept_chunk(0, digest, NULL);
    kept_drop_digest(&k, 1, digest);
    has_fault(&k, "a chunk of a version is missing");
}

TEST(store_check_finds_a_missing_page)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    kept_drop_digest(&k, 1, newest.page);
    has_fault(&k, "page");
}

TEST(store_check_finds_a_length_that_is_not_the_chunks)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    kept_version wrong = {.asset = 1, .version = 2, .first = 2, .count = 5, .wrong_length = 1};
    kept_put_version(&k, &wrong);
    has_fault(&k, "another length");
}

TEST(store_check_finds_a_size_that_is_not_the_sum)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    kept_version wrong = {.asset = 1, .version = 2, .first = 2, .count = 5, .size_more = -1};
    kept_put_version(&k, &wrong);
    has_fault(&k, "add up");
}

TEST(store_check_finds_a_wrong_count_of_grants)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    kept_put_profile(&k, 1, 2, 2);
    has_fault(&k, "number of entries");
    sound(&k, &newest);
    kept_put_grant(&k, 1, "extid-ann@example.com");
    has_fault(&k, "number of entries");
}

TEST(store_check_finds_a_missing_newest_version)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    kept_put_profile(&k, 1, 3, 1);
    has_fault(&k, "newest version is missing");
}

TEST(store_check_finds_a_grant_under_another_users_name)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    Dacm__Records__Grant grant = DACM__RECORDS__GRANT__INIT;
    grant.gpsi = (char *)(uintptr_t) "msisdn-4915110000003";
    kept_put(&k, dacm_key_asset(id), dacm_key_grant("msisdn-4915110000001"), &grant.base);
    has_fault(&k, "another user's name");
}

TEST(store_check_finds_a_grant_that_lets_get_who_may_not)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    Dacm__Records__Grant grant = DACM__RECORDS__GRANT__INIT;
    grant.gpsi = (char *)(uintptr_t) "msisdn-4915110000001";
    grant.operations = 1u << DACM__V1__OPERATION__OPERATION_GET;
    kept_put(&k, dacm_key_asset(id), dacm_key_grant(grant.gpsi), &grant.base);
    has_fault(&k, "another number of users");
}

TEST(store_check_finds_a_profile_with_another_assets_uid)
{
    kept k;
    kept_open(&k);
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    uint8_t uid[STORE_UID_BYTES] = {9};
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    profile.uid = (ProtobufCBinaryData){sizeof uid, uid};
    kept_put(&k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
    has_fault(&k, "does not have the asset's uid");
}

/* The profile of sound(), as it is put again. */
static void put_profile(kept *k, uint64_t oldest, const uint8_t newest_sha256[32])
{
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    uint8_t uid[STORE_UID_BYTES], sha256[32];
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    assert_true(rpc_unhex(rpc_bytes_str(id), uid, sizeof uid));
    memcpy(sha256, newest_sha256, sizeof sha256);
    profile.uid = (ProtobufCBinaryData){sizeof uid, uid};
    profile.sha256 = (ProtobufCBinaryData){sizeof sha256, sha256};
    profile.oldest_version = oldest;
    profile.version = 2;
    profile.grant_count = 1;
    kept_put(k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
}

TEST(store_check_finds_an_older_version_that_is_missing)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    put_profile(&k, 1, newest.sha256);
    kept_delete(&k, dacm_key_asset(id), dacm_key_version(1));
    has_fault(&k, "a version that it keeps is missing");
}

TEST(store_check_finds_a_profile_that_says_something_else_of_the_newest_version)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    newest.sha256[0] ^= 1;
    put_profile(&k, 0, newest.sha256);
    has_fault(&k, "says something else");
}

TEST(store_check_finds_a_revocation_and_an_upload_that_cannot_be_read)
{
    kept k;
    kept_open(&k);
    kept_damage(&k, dacm_key_revocations("https://sims.example"), dacm_key_revoked_token("j"));
    has_fault(&k, "Revocation cannot be read");
    kept_open(&k);
    kept_damage(&k, dacm_key_uploads("msisdn-4915110000001"), dacm_key_version(1));
    has_fault(&k, "Upload cannot be read");
}

TEST(store_check_finds_records_without_a_profile)
{
    kept k;
    kept_open(&k);
    kept_put_grant(&k, 1, "msisdn-4915110000001");
    has_fault(&k, "without a profile");
}

TEST(store_check_finds_a_record_that_is_none)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    Dacm__Records__Version empty = DACM__RECORDS__VERSION__INIT;
    empty.version = 2;
    empty.size = 5; /* and no chunk */
    kept_put(&k, dacm_key_asset(id), dacm_key_version(2), &empty.base);
    has_fault(&k, "add up");
}

TEST(store_check_finds_bytes_that_are_not_the_digests)
{
    kept k;
    kept_version newest;
    sound(&k, &newest);
    uint8_t digest[32], other[2000];
    size_t size = kept_chunk(6, digest, other);
    kept_drop_digest(&k, 1, digest);
    store_chunk_ref ref;
    store_wait wait;
    memset(ref.uid, 0x40, sizeof ref.uid);
    ref.uid[0] = 1;
    memcpy(ref.digest, digest, 32);
    other[0] ^= 1;
    store_op *op = store_wait_begin(&wait);
    assert_int_equal(
        store_wait_end(&wait, store_chunk_put(k.db, &ref, rpc_bytes_of(other, size), op)), RPC_OK);
    has_fault(&k, "fault");
}

TEST(store_check_tells_of_each_asset_its_own_size_and_digest)
{
    kept k;
    kept_version newest;
    sound(&k, &newest); /* the second asset has nothing */
    char text[8192], expected[256], id[2 * STORE_UID_BYTES + 1];
    assert_int_equal(check(&k, text, sizeof text), 0);
    kept_asset_id(2, id);
    snprintf(expected, sizeof expected,
        "{\"asset_id\":\"%s\",\"version\":0,\"size\":0,\"sha256\":\"\"}", id);
    if (!strstr(text, expected))
        fail_msg("%s", text);
    kept_close(&k);
}

TEST(store_check_without_a_store_fails)
{
    kept k;
    kept_open(&k);
    kept_close_store(&k);
    char text[8192];
    snprintf(k.directory, sizeof k.directory, "%s", test_tmpdir());
    assert_int_equal(check(&k, text, sizeof text), 1);
    assert_non_null(strstr(text, "\"error\""));
    kept_close(&k);
}
