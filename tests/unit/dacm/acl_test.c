/* SPDX-License-Identifier: Apache-2.0 */
#include "acl.h"
#include "ring.h"

#include "test.h"

static char ann[] = "msisdn-4915100000001", bob[] = "extid-bob@example.com";

static Dacm__V1__AccessControlEntry entry_of(char *user)
{
    Dacm__V1__AccessControlEntry entry = DACM__V1__ACCESS_CONTROL_ENTRY__INIT;
    entry.allowed_user = user;
    return entry;
}

TEST(list_entry_without_operations_means_get)
{
    Dacm__V1__AccessControlEntry entry = entry_of(ann), *list[] = {&entry};
    dacm_grant grants[1];
    assert_int_equal(dacm_grants_of(list, 1, NULL, 0, grants, NULL), RPC_OK);
    assert_int_equal(grants[0].operations, dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET));
}

TEST(list_with_an_operation_that_is_none_is_refused)
{
    Dacm__V1__AccessControlEntry entry = entry_of(ann), *list[] = {&entry};
    dacm_grant grants[1];
    for (int wrong = 0; wrong < 7; wrong += wrong ? 1 : 5) {
        Dacm__V1__Operation operation = (Dacm__V1__Operation)wrong;
        entry.allowed_operations = &operation;
        entry.n_allowed_operations = 1;
        assert_int_equal(dacm_grants_of(list, 1, NULL, 0, grants, NULL), RPC_INVALID_ARGUMENT);
    }
}

TEST(user_both_allowed_and_denied_in_one_call_is_refused)
{
    Dacm__V1__AccessControlEntry entry = entry_of(ann), *list[] = {&entry};
    char *deny[] = {ann};
    dacm_grant grants[2];
    assert_int_equal(dacm_grants_of(list, 1, deny, 1, grants, NULL), RPC_INVALID_ARGUMENT);
}

TEST(list_that_names_no_gpsi_is_refused)
{
    static char wrong[][32] = {
        "", "msisdn-1234", "extid-a@EXAMPLE.com", "bob@example.com", "msisdn-49151 0000", "*"};
    dacm_grant grants[1];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Dacm__V1__AccessControlEntry entry = entry_of(wrong[i]), *list[] = {&entry};
        assert_int_equal(dacm_grants_of(list, 1, NULL, 0, grants, NULL), RPC_INVALID_ARGUMENT);
    }
}

TEST(list_of_more_than_a_thousand_users_in_one_call_is_refused)
{
    char *deny[DACM_USERS_PER_CALL_MAX + 1] = {0};
    rpc_status status = {0};
    assert_int_equal(dacm_grants_of(NULL, 0, deny, DACM_USERS_PER_CALL_MAX + 1, NULL, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "1000"));
}

TEST(new_profile_names_its_creator_among_the_owners_or_nobody)
{
    Dacm__V1__DigitalAssetProfile profile = DACM__V1__DIGITAL_ASSET_PROFILE__INIT;
    char *owners[] = {bob, ann};
    assert_int_equal(dacm_check_new_profile(&profile, ann, NULL), RPC_OK);
    profile.owners = owners;
    profile.n_owners = 1;
    assert_int_equal(dacm_check_new_profile(&profile, ann, NULL), RPC_INVALID_ARGUMENT);
    profile.n_owners = 2;
    assert_int_equal(dacm_check_new_profile(&profile, ann, NULL), RPC_OK);
    owners[1] = bob;
    assert_int_equal(dacm_check_new_profile(&profile, bob, NULL), RPC_INVALID_ARGUMENT);
}

TEST(new_profile_with_an_id_or_media_of_the_clients_is_refused)
{
    Dacm__V1__DigitalAssetProfile profile = DACM__V1__DIGITAL_ASSET_PROFILE__INIT;
    Dacm__V1__Media media = DACM__V1__MEDIA__INIT;
    profile.asset_id = ann;
    assert_int_equal(dacm_check_new_profile(&profile, ann, NULL), RPC_INVALID_ARGUMENT);
    dacm__v1__digital_asset_profile__init(&profile);
    profile.media = &media;
    assert_int_equal(dacm_check_new_profile(&profile, ann, NULL), RPC_INVALID_ARGUMENT);
}

static dacm_explanation explanation_of(const char *id, rpc_code outcome)
{
    dacm_explanation explanation = {.outcome = outcome, .reason = "list"};
    snprintf(explanation.request_id, sizeof explanation.request_id, "%s", id);
    return explanation;
}

TEST(flood_of_allowed_requests_does_not_push_out_a_refusal)
{
    dacm_ring *ring = dacm_ring_new(4);
    dacm_explanation refused = explanation_of("refused", RPC_PERMISSION_DENIED), found;
    dacm_ring_put(ring, &refused);
    for (int i = 0; i < 100; i++) {
        dacm_explanation allowed = explanation_of(i == 99 ? "last" : "other", RPC_OK);
        dacm_ring_put(ring, &allowed);
    }
    assert_true(dacm_ring_find(ring, "refused", &found));
    assert_int_equal(found.outcome, RPC_PERMISSION_DENIED);
    assert_true(dacm_ring_find(ring, "last", &found));
    assert_false(dacm_ring_find(ring, "unknown", &found));
    dacm_ring_free(ring);
}

TEST(ring_forgets_the_oldest_of_its_kind)
{
    dacm_ring *ring = dacm_ring_new(2);
    dacm_explanation found;
    const char *ids[] = {"first", "second", "third"};
    for (int i = 0; i < 3; i++) {
        dacm_explanation refused = explanation_of(ids[i], RPC_PERMISSION_DENIED);
        dacm_ring_put(ring, &refused);
    }
    assert_false(dacm_ring_find(ring, "first", &found));
    assert_true(dacm_ring_find(ring, "second", &found));
    assert_true(dacm_ring_find(ring, "third", &found));
    dacm_ring_free(ring);
}
