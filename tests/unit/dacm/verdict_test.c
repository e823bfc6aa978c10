/* SPDX-License-Identifier: Apache-2.0 */
/* Remembered decisions at function level; over the wire they stand in tests/e2e/verdicts_test.py.
 */
#include "verdict.h"

#include "test.h"

static const char method[] = "Authorize", other_method[] = "Authorize";

static const dacm_grounds asked = {.method = method,
    .asset_id = "a1",
    .gpsi = "msisdn-49151000",
    .action = 2,
    .list = 5,
    .revocation = 7,
    .pseudonyms = 9,
    .trust = 3};

/* With a reference to audit. */
static dacm_verdict allowed(void)
{
    const dacm_verdict verdict = {.valid_until = 1000,
        .audit = trust_audit_common_new(rpc_bytes_str("{\"outcome\": \"OK\"}"), NULL)};
    assert_non_null(verdict.audit);
    return verdict;
}

static bool found(const dacm_verdicts *verdicts, dacm_grounds grounds, int64_t now)
{
    return dacm_verdicts_find(verdicts, &grounds, now) != NULL;
}

TEST(verdict_answers_the_very_question_until_the_token_expires)
{
    dacm_verdicts verdicts = {.next = 0};
    const dacm_verdict yes = allowed();
    assert_false(found(&verdicts, asked, 1));
    dacm_verdicts_add(&verdicts, &asked, &yes);
    const dacm_verdict *verdict = dacm_verdicts_find(&verdicts, &asked, 1000);
    assert_non_null(verdict);
    assert_int_equal(verdict->valid_until, 1000);
    assert_ptr_equal(verdict->audit, yes.audit);
    assert_false(found(&verdicts, asked, 1001));
    dacm_verdicts_clear(&verdicts);
    assert_false(found(&verdicts, asked, 1));
    trust_audit_common_unref(yes.audit);
}

TEST(verdict_answers_nothing_else)
{
    dacm_verdicts verdicts = {.next = 0};
    const dacm_verdict yes = allowed();
    dacm_verdicts_add(&verdicts, &asked, &yes);
    dacm_grounds other[9];
    for (size_t i = 0; i < 9; i++)
        other[i] = asked;
    other[0].method = other_method;
    other[1].asset_id = "a10";
    other[2].asset_id = "A1";
    other[3].gpsi = "msisdn-491510001";
    other[4].action = 3;
    other[5].list = 6;
    other[6].revocation = 8;
    other[7].pseudonyms = 10;
    other[8].trust = 4;
    for (size_t i = 0; i < 9; i++)
        if (found(&verdicts, other[i], 1))
            fail_msg("answered question %zu", i);
    assert_true(found(&verdicts, asked, 1));
    dacm_verdicts_clear(&verdicts);
    trust_audit_common_unref(yes.audit);
}

TEST(verdict_on_new_grounds_takes_the_place_of_the_old_one)
{
    dacm_verdicts verdicts = {.next = 0};
    const dacm_verdict yes = allowed();
    dacm_grounds newer = asked;
    newer.list = 6;
    dacm_verdicts_add(&verdicts, &asked, &yes);
    dacm_verdicts_add(&verdicts, &newer, &yes);
    assert_false(found(&verdicts, asked, 1));
    assert_true(found(&verdicts, newer, 1));
    dacm_verdicts_clear(&verdicts);
    trust_audit_common_unref(yes.audit);
}

TEST(verdicts_beyond_the_limit_push_out_the_oldest)
{
    static const char *const assets[DACM_VERDICTS_MAX + 1] = {"a", "b", "c", "d", "e"};
    dacm_verdicts verdicts = {.next = 0};
    const dacm_verdict yes = allowed();
    dacm_grounds grounds = asked;
    for (size_t i = 0; i <= DACM_VERDICTS_MAX; i++) {
        grounds.asset_id = assets[i];
        dacm_verdicts_add(&verdicts, &grounds, &yes);
    }
    for (size_t i = 0; i <= DACM_VERDICTS_MAX; i++) {
        grounds.asset_id = assets[i];
        assert_int_equal(found(&verdicts, grounds, 1), i > 0);
    }
    dacm_verdicts_clear(&verdicts);
    trust_audit_common_unref(yes.audit);
}

TEST(lists_tell_that_an_asset_changed)
{
    dacm_lists *lists = dacm_lists_new();
    assert_non_null(lists);
    uint64_t one = dacm_lists_now(lists, "one"), two = dacm_lists_now(lists, "two");
    dacm_lists_changed(lists, "one");
    assert_int_not_equal(dacm_lists_now(lists, "one"), one);
    assert_int_equal(dacm_lists_now(lists, "two"), two);
    dacm_lists_free(lists);
}
