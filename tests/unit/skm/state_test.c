/* SPDX-License-Identifier: Apache-2.0 */
/* What skmsd keeps: services, key sets and their numbers, the root, across restarts. */
#include "known.h"

#define MANIFESTS SKM_FOR_MANIFESTS
#define TOKENS    SKM_FOR_TOKENS

TEST(service_has_a_signed_set_for_each_purpose_that_starts_with_one)
{
    known k;
    known_open(&k);
    known_add(&k, DACM, false);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 1);
    assert_int_equal(known_version(&k, DACM, TOKENS), 1);
    const known_keys keys = known_list(&k, DACM, MANIFESTS);
    assert_int_equal(keys.count, 2);
    trust_keyring *ring = known_ring(&k, DACM, MANIFESTS);
    assert_int_equal(trust_keyring_count(ring), 2);
    const trust_key *active = trust_keyring_find(
        ring, rpc_bytes_str(keys.kid[known_one(&keys, SKM_ACTIVE)]));
    const trust_key *next = trust_keyring_find(
        ring, rpc_bytes_str(keys.kid[known_one(&keys, SKM_PRE_PUBLISHED)]));
    assert_true(trust_key_signs_at(active, START_S));
    /* who has this set kept takes the next key whenever its turn comes, earlier than planned too */
    assert_true(trust_key_signs_at(next, START_S));
    assert_true(trust_key_signs_at(next, START_S + 10 * DAY));
    trust_keyring_unref(ring);
    known_close(&k);
}

TEST(nothing_changes_over_a_restart)
{
    known k;
    known_open(&k);
    known_add(&k, DACM, false);
    const known_keys before = known_list(&k, DACM, 0);
    known_reopen(&k);
    const known_keys after = known_list(&k, DACM, 0);
    assert_int_equal(after.count, 4);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 1);
    known_close(&k);
}

TEST(wrong_master_secret_is_told_as_such_and_changes_nothing)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    known_add(&k, DACM, false);
    const known_keys before = known_list(&k, DACM, 0);
    known_close(&k);
    k.secret = "another secret of some length";
    REFUSED(known_try(&k, &status), RPC_FAILED_PRECONDITION);
    assert_non_null(strstr(status.message, "not the one that this store was sealed with"));
    store_close(k.db);
    k.secret = "short";
    REFUSED(known_try(&k, &status), RPC_INVALID_ARGUMENT);
    store_close(k.db);
    k.secret = NULL;
    OK(known_try(&k, &status));
    const known_keys after = known_list(&k, DACM, 0);
    assert_memory_equal(&before, &after, sizeof before);
    known_close(&k);
}

TEST(services_that_cannot_be_are_refused)
{
    known k;
    rpc_status status = {0};
    char longest[SKM_SERVICE_MAX + 2];
    known_open(&k);
    known_add(&k, DACM, false);
    skm_service_view view = {.name = DACM, .purposes = {false, true, false}};
    REFUSED(skm_service_add(k.state, &view, &status), RPC_ALREADY_EXISTS);
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    static const char *const names[] = {"", "a b", "a\nb", "a\"b", "caf\xc3\xa9", NULL};
    for (size_t i = 0; names[i]; i++) {
        view.name = names[i];
        REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    }
    view.name = longest;
    REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    view.name = "other";
    view.purposes[TOKENS] = false;
    REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    view.purposes[TOKENS] = true;
    view.policy = (skm_policy){.active_s = -1};
    REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    view.policy = (skm_policy){.active_s = DAY, .published_before_s = 2 * DAY};
    REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    view.policy = (skm_policy){.delegated = true, .provisioned = true};
    REFUSED(skm_service_add(k.state, &view, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

TEST(services_are_bounded)
{
    known k = {0};
    rpc_status status = {0};
    known_open(&k);
    known_close(&k);
    k.services_max = 2;
    OK(known_try(&k, &status));
    known_add(&k, "a", false);
    known_add(&k, "b", false);
    const skm_service_view third = {.name = "c", .purposes = {false, true, false}};
    REFUSED(skm_service_add(k.state, &third, &status), RPC_RESOURCE_EXHAUSTED);
    known_close(&k);
}

/* ---- time --------------------------------------------------------------------------------------
 */

TEST(key_set_is_signed_again_before_it_expires_under_the_same_number)
{
    known k;
    rpc_status status = {0};
    skm_keyset *first = NULL, *second = NULL;
    known_open(&k);
    known_add(&k, DACM, false);
    OK(skm_keyset_get(k.state, DACM, MANIFESTS, &first, &status));
    for (int minute = 0; minute < 300; minute++) {
        known_pass(&k, 60);
        known_tend(&k);
        assert_int_equal(known_version(&k, DACM, MANIFESTS), 1); /* verified: never expired */
    }
    OK(skm_keyset_get(k.state, DACM, MANIFESTS, &second, &status));
    assert_true(skm_keyset_expires_at(second) > skm_keyset_expires_at(first));
    assert_true(skm_keyset_serial(second) > skm_keyset_serial(first));
    skm_keyset_unref(first);
    skm_keyset_unref(second);
    known_close(&k);
}

TEST(a_year_of_rotations_has_one_signer_at_each_look_and_numbers_without_gaps)
{
    known k;
    known_open(&k);
    known_add(&k, DACM, false);
    uint64_t version = 1;
    for (int look = 0; look < 365 * 3; look++) {
        known_pass(&k, 8 * 3600);
        known_tend(&k);
        if (look % 100 == 0)
            known_reopen(&k);
        const known_keys keys = known_list(&k, DACM, TOKENS);
        (void)known_one(&keys, SKM_ACTIVE);
        (void)known_one(&keys, SKM_PRE_PUBLISHED);
        const uint64_t now = known_version(&k, DACM, TOKENS);
        assert_true(now == version || now == version + 1);
        version = now;
    }
    const known_keys keys = known_list(&k, DACM, TOKENS);
    assert_true(keys.count >= 36 && keys.count <= 48); /* the oldest are dropped at last */
    known_close(&k);
}

TEST(store_that_slept_for_a_year_signs_at_once)
{
    known k;
    known_open(&k);
    known_add(&k, DACM, false);
    known_pass(&k, 400 * DAY);
    known_reopen(&k);
    const known_keys keys = known_list(&k, DACM, MANIFESTS);
    assert_int_equal(keys.life[known_one(&keys, SKM_ACTIVE)].signs_from, known_now(&k));
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 2);
    known_close(&k);
}

/* ---- rotation and revocation -------------------------------------------------------------------
 */

TEST(rotation_makes_the_next_key_sign_and_the_number_grow_by_one)
{
    known k;
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    known_open(&k);
    known_add(&k, DACM, false);
    const known_keys before = known_list(&k, DACM, MANIFESTS);
    const char *next = before.kid[known_one(&before, SKM_PRE_PUBLISHED)];
    OK(skm_key_rotate(k.state, DACM, MANIFESTS, kid, &status));
    assert_string_equal(kid, next);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 2);
    assert_int_equal(known_version(&k, DACM, TOKENS), 1);
    known_pass(&k, DAY); /* it has been published for so long then */
    known_tend(&k);
    const known_keys after = known_list(&k, DACM, MANIFESTS);
    assert_string_equal(after.kid[known_one(&after, SKM_ACTIVE)], next);
    assert_string_equal(
        after.kid[known_one(&after, SKM_VERIFY_ONLY)], before.kid[known_one(&before, SKM_ACTIVE)]);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 3);
    REFUSED(skm_key_rotate(k.state, "nobody", MANIFESTS, kid, &status), RPC_NOT_FOUND);
    known_close(&k);
}

TEST(what_a_key_signed_before_its_owner_heard_of_the_turn_verifies)
{
    known k;
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    known_open(&k);
    known_add(&k, DACM, false);
    known_pass(&k, 2 * DAY); /* the next one is long known: it takes over at once */
    const known_keys before = known_list(&k, DACM, MANIFESTS);
    const rpc_bytes old = rpc_bytes_str(before.kid[known_one(&before, SKM_ACTIVE)]);
    OK(skm_key_rotate(k.state, DACM, MANIFESTS, kid, &status));
    trust_keyring *ring = known_ring(&k, DACM, MANIFESTS);
    const trust_key *key = trust_keyring_find(ring, old);
    assert_true(trust_key_signs_at(key, known_now(&k) + 2));
    assert_true(trust_key_signs_at(key, known_now(&k) + 3599)); /* and when it was cut off */
    assert_false(trust_key_signs_at(key, known_now(&k) + 3601));
    trust_keyring_unref(ring);
    known_close(&k);
}

TEST(rotation_in_the_moment_when_a_key_has_taken_over_has_a_next_key_too)
{
    known k;
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    known_open(&k);
    known_add(&k, DACM, false);
    known_pass(&k, 10 * DAY); /* not tended yet */
    OK(skm_key_rotate(k.state, DACM, MANIFESTS, kid, &status));
    const known_keys keys = known_list(&k, DACM, MANIFESTS);
    assert_string_equal(kid, keys.kid[known_one(&keys, SKM_PRE_PUBLISHED)]);
    known_close(&k);
}

TEST(rotation_while_a_key_takes_over_is_of_one_moment)
{
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    for (int64_t before_s = 0; before_s < 4; before_s++) {
        known k;
        known_open(&k);
        known_add(&k, DACM, false);
        known_pass(&k, 10 * DAY - before_s);
        atomic_store(&k.step_ms, 1000);
        OK(skm_key_rotate(k.state, DACM, MANIFESTS, kid, &status));
        atomic_store(&k.step_ms, 0);
        const known_keys keys = known_list(&k, DACM, MANIFESTS);
        (void)known_one(&keys, SKM_ACTIVE);
        bool listed = false;
        for (size_t i = 0; i < keys.count; i++)
            listed |= strcmp(keys.kid[i], kid) == 0;
        assert_true(listed);
        known_close(&k);
    }
}

TEST(restored_store_has_higher_numbers_and_no_token_of_then_is_good)
{
    known k;
    rpc_status status = {0};
    char token[SKM_TOKEN_CHARS + 1];
    const uint8_t sealing_key[32] = {9};
    int64_t expires_at = 0;
    skm_enrolled enrolled;
    const skm_caller caller = known_caller("dacm.example");
    known_open(&k);
    known_add(&k, DACM, false);
    known_enrol(&k, DACM, "old.example", sealing_key);
    OK(skm_enrolment_add(k.state, DACM, "dacm.example", NULL, token, &expires_at, &status));
    OK(skm_state_restored(k.state, &status));
    const int64_t first = known_now(&k) * 1000; /* its milliseconds */
    assert_int_equal(known_version(&k, DACM, MANIFESTS), first);
    assert_int_equal(known_version(&k, DACM, TOKENS), first);
    REFUSED(
        skm_enrol(k.state, &caller, token, sealing_key, &enrolled, &status), RPC_UNAUTHENTICATED);
    OK(skm_state_restored(k.state, &status)); /* in the same moment */
    assert_int_equal(known_version(&k, DACM, MANIFESTS), first + 1);
    known_reopen(&k);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), first + 1);
    const skm_caller old = known_caller("old.example");
    skm_release release;
    OK(skm_keys_release(k.state, &old, DACM, MANIFESTS, &release, &status));
    REFUSED(skm_enrolment_revoke(k.state, DACM, "old.example", known_now(&k) - 1, &status),
        RPC_NOT_FOUND); /* it enrolled later */
    OK(skm_enrolment_revoke(k.state, DACM, "old.example", known_now(&k), &status));
    known_close(&k);
}

TEST(store_is_sealed_under_another_secret_as_a_whole_or_not_at_all)
{
    known k;
    rpc_status status = {0};
    bool already = true;
    static const char *const other = "another secret, as good as the first";
    skm_secret_change change = {.secret = rpc_bytes_str(other),
        .new_secret = rpc_bytes_str("too short"),
        .passes = 1,
        .memory_bytes = 8192};
    known_open(&k);
    known_add(&k, DACM, false);
    skm_state_close(k.state);
    k.state = NULL;
    REFUSED(skm_secret_replace(k.db, &change, &already, &status), RPC_INVALID_ARGUMENT);
    change.secret = rpc_bytes_str(SECRET);
    REFUSED(skm_secret_replace(k.db, &change, &already, &status), RPC_INVALID_ARGUMENT);
    change.new_secret = rpc_bytes_str(other);
    OK(skm_secret_replace(k.db, &change, &already, &status));
    assert_false(already);
    OK(skm_secret_replace(k.db, &change, &already, &status));
    assert_true(already);
    store_close(k.db);
    k.db = NULL;
    REFUSED(known_try(&k, &status), RPC_FAILED_PRECONDITION);
    known_close(&k);
    k.secret = other;
    OK(known_try(&k, &status));
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 1);
    known_close(&k);
}

TEST(compromised_key_verifies_nothing_and_another_signs_at_once)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    known_add(&k, DACM, false);
    known_pass(&k, 3 * DAY);
    known_tend(&k);
    const known_keys before = known_list(&k, DACM, MANIFESTS);
    const char *bad = before.kid[known_one(&before, SKM_ACTIVE)];
    OK(skm_key_revoke(k.state, bad, "laptop lost", &status));
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 2);
    const known_keys after = known_list(&k, DACM, MANIFESTS);
    assert_string_equal(after.kid[known_one(&after, SKM_COMPROMISED)], bad);
    assert_string_equal(after.kid[known_one(&after, SKM_ACTIVE)],
        before.kid[known_one(&before, SKM_PRE_PUBLISHED)]);
    trust_keyring *ring = known_ring(&k, DACM, MANIFESTS);
    assert_int_equal(
        trust_key_get_state(trust_keyring_find(ring, rpc_bytes_str(bad))), TRUST_KEY_COMPROMISED);
    trust_keyring_unref(ring);
    OK(skm_key_revoke(k.state, bad, "again", &status)); /* changes nothing */
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 2);
    known_reopen(&k);
    const known_keys kept = known_list(&k, DACM, MANIFESTS);
    assert_memory_equal(&after, &kept, sizeof after);
    REFUSED(skm_key_revoke(k.state, "no-such-kid", "", &status), RPC_NOT_FOUND);
    char reason[SKM_REASON_MAX + 2];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    REFUSED(skm_key_revoke(k.state, bad, reason, &status), RPC_INVALID_ARGUMENT);
    known_close(&k);
}

TEST(plain_key_set_leaves_out_what_must_not_verify)
{
    known k;
    rpc_status status = {0};
    skm_keyset *set = NULL;
    known_open(&k);
    known_add(&k, DACM, false);
    const known_keys keys = known_list(&k, DACM, TOKENS);
    const char *bad = keys.kid[known_one(&keys, SKM_ACTIVE)];
    OK(skm_key_revoke(k.state, bad, "", &status));
    OK(skm_keyset_get(k.state, DACM, TOKENS, &set, &status));
    assert_null(strstr(skm_keyset_jwks(set), bad));
    assert_null(strstr(skm_keyset_jwks(set), "\"d\""));
    skm_keyset_unref(set);
    known_close(&k);
}

TEST(keys_revoked_one_after_another_fill_a_set_and_are_refused_then)
{
    known k;
    rpc_status status = {0};
    rpc_code code = RPC_OK;
    unsigned revoked = 0;
    known_open(&k);
    known_add(&k, DACM, false);
    for (; code == RPC_OK && revoked < 100; revoked++) {
        const known_keys keys = known_list(&k, DACM, MANIFESTS);
        code = skm_key_revoke(k.state, keys.kid[known_one(&keys, SKM_ACTIVE)], "", &status);
    }
    assert_int_equal(code, RPC_RESOURCE_EXHAUSTED);
    assert_true(revoked > 40);
    const known_keys keys = known_list(&k, DACM, MANIFESTS);
    (void)known_one(&keys, SKM_ACTIVE);
    known_close(&k);
}

/* ---- the root ----------------------------------------------------------------------------------
 */

typedef struct pinned {
    trust_keyring *root; /* followed from statement to statement */
    uint64_t sequence;
} pinned;

static void follow(void *ctx, uint64_t sequence, const char *jwk, const char *const *statements,
    size_t statement_count)
{
    pinned *p = ctx;
    rpc_status status = {0};
    if (!p->root) {
        OK(trust_keyring_parse(rpc_bytes_str(jwk), TRUST_FOR_KEY_SETS, 1, &p->root, &status));
        p->sequence = sequence;
        return;
    }
    assert_int_equal(statement_count, sequence - 1);
    for (; p->sequence < sequence; p->sequence++) {
        char *next = NULL;
        assert_int_equal(trust_root_follow(rpc_bytes_str(statements[p->sequence - 1]), p->root,
                             ISSUER, p->sequence, &next, &status),
            TRUST_VALID);
        trust_keyring_unref(p->root);
        p->root = NULL;
        OK(trust_keyring_parse(rpc_bytes_str(next), TRUST_FOR_KEY_SETS, 1, &p->root, &status));
        free(next);
    }
}

TEST(verifier_that_pinned_the_first_root_follows_to_the_last)
{
    known k;
    rpc_status status = {0};
    pinned p = {.root = NULL};
    skm_keyset *set = NULL;
    trust_keyset read = {.jwks = NULL};
    known_open(&k);
    known_add(&k, DACM, false);
    skm_root_get(k.state, follow, &p);
    for (int i = 0; i < 3; i++)
        OK(skm_root_rotate(k.state, NULL, NULL, &status));
    OK(skm_keyset_get(k.state, DACM, MANIFESTS, &set, &status));
    assert_int_equal(trust_keyset_verify(
                         rpc_bytes_str(skm_keyset_jws(set)), p.root, known_now(&k), &read, &status),
        TRUST_NO_KEY);
    skm_root_get(k.state, follow, &p);
    assert_int_equal(trust_keyset_verify(
                         rpc_bytes_str(skm_keyset_jws(set)), p.root, known_now(&k), &read, &status),
        TRUST_VALID);
    assert_int_equal(read.version, 1); /* no key has changed */
    trust_keyset_done(&read);
    skm_keyset_unref(set);
    known_reopen(&k);
    assert_int_equal(known_version(&k, DACM, MANIFESTS), 1);
    trust_keyring_unref(p.root);
    known_close(&k);
}
