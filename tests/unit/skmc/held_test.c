/* SPDX-License-Identifier: Apache-2.0 */
/* What GetSigningKey answers, whoever answers it: an answer adds to what is held and takes nothing
 * away. */
#include "alone.h"

static const char *kid(const alone *a, size_t key)
{
    return trust_signer_kid(a->keys[key].signer);
}

static const uint8_t *seed(const alone *a, size_t key)
{
    return trust_signer_seed(a->keys[key].signer);
}

static size_t kept(const alone *a)
{
    return json_array_size(json_object_get(a->client->kept, "sealed"));
}

/* Both keys, of which the first signs from now on. */
static void start(alone *a)
{
    alone_start(a);
    alone_take(a, 1);
    alone_give(a, 0, kid(a, 0));
    alone_give(a, 1, kid(a, 1));
}

static bool signs_remotely(const alone *a)
{
    skmc_keys *keys = skmc_keys_now(a->client);
    const trust_signer *signer = skmc_keys_signer(keys, TRUST_ALG_EDDSA, ALONE_NOW);
    const bool remote = signer && trust_signer_is_remote(signer);
    assert_non_null(signer);
    skmc_keys_unref(keys);
    return remote;
}

/* Both keys sign, here, now and after a restart without the SKM-S. */
static void both_sign(alone *a)
{
    for (int restarted = 0; restarted < 2; restarted++) {
        assert_false(a->client->missing);
        assert_int_equal(a->client->held_count, 2);
        assert_int_equal(kept(a), 2);
        assert_string_equal(alone_signer(a, ALONE_NOW), kid(a, 0));
        assert_string_equal(alone_signer(a, ALONE_NOW + 1500), kid(a, 1));
        assert_false(signs_remotely(a));
        alone_close(a);
        assert_int_equal(alone_open(a, ALONE_SERVICE, NULL), RPC_OK);
    }
}

TEST(answer_without_keys_loses_none)
{
    alone a;
    start(&a);
    assert_int_equal(alone_answer(&a, NULL, 0, NULL), RPC_OK);
    both_sign(&a);
    alone_done(&a);
}

TEST(answer_with_one_key_loses_no_other)
{
    alone a;
    start(&a);
    alone_give(&a, 1, kid(&a, 1));
    both_sign(&a);
    alone_done(&a);
}

TEST(wrong_private_half_takes_no_good_ones_place)
{
    alone a;
    start(&a);
    const alone_half wrong[] = {{kid(&a, 0), seed(&a, 2)}, {kid(&a, 1), seed(&a, 0)}};
    assert_int_equal(alone_answer(&a, wrong, 2, NULL), RPC_OK);
    both_sign(&a);
    alone_done(&a);
}

TEST(private_half_counts_by_the_key_set_whatever_comes_before_it_under_its_kid)
{
    static const uint8_t zero[32] = {0};
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    const alone_half mixed[] = {{kid(&a, 0), seed(&a, 1)}, {kid(&a, 0), zero},
        {kid(&a, 0), seed(&a, 0)}, {kid(&a, 0), seed(&a, 2)}, {kid(&a, 1), seed(&a, 1)}};
    assert_int_equal(alone_answer(&a, mixed, 5, NULL), RPC_OK);
    both_sign(&a);
    alone_done(&a);
}

TEST(private_half_of_a_key_that_no_set_names_is_not_kept)
{
    alone a;
    start(&a);
    alone_give(&a, 2, kid(&a, 2));
    alone_give(&a, 2, "");
    both_sign(&a);
    a.key_count = 3; /* a set of later has it: it is asked for then */
    a.keys[2].from = ALONE_NOW;
    alone_take(&a, 2);
    assert_true(a.client->missing);
    alone_give(&a, 2, kid(&a, 2));
    assert_false(a.client->missing);
    alone_done(&a);
}

TEST(keys_that_are_held_sign_here_although_the_skms_says_that_it_would)
{
    alone a;
    start(&a);
    const alone_half none[] = {{kid(&a, 0), NULL}, {kid(&a, 1), NULL}};
    assert_int_equal(alone_answer(&a, none, 2, NULL), RPC_OK);
    both_sign(&a);
    alone_done(&a);
}

TEST(keys_that_stay_at_the_skms_sign_there_until_their_private_halves_come)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    const alone_half none[] = {{kid(&a, 0), NULL}, {kid(&a, 1), NULL}};
    assert_int_equal(alone_answer(&a, none, 2, NULL), RPC_OK);
    assert_false(a.client->missing);
    assert_true(signs_remotely(&a));
    alone_close(&a);
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    assert_true(signs_remotely(&a));
    assert_int_equal(alone_answer(&a, NULL, 0, NULL), RPC_OK); /* says nothing */
    assert_true(signs_remotely(&a));
    const alone_half both[] = {{kid(&a, 0), seed(&a, 0)}, {kid(&a, 1), seed(&a, 1)}};
    assert_int_equal(alone_answer(&a, both, 2, NULL), RPC_OK);
    both_sign(&a);
    alone_done(&a);
}

TEST(private_half_goes_when_its_kid_is_another_key_by_a_newer_set)
{
    alone a;
    alone_start(&a);
    a.key_count = 1;
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 0));
    snprintf(a.keys[0].kid, sizeof a.keys[0].kid, "%s", kid(&a, 0));
    trust_signer_free(a.keys[0].signer);
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &a.keys[0].signer, NULL), RPC_OK);
    alone_take(&a, 2);
    assert_true(a.client->missing);
    assert_int_equal(a.client->held_count, 0);
    assert_int_equal(kept(&a), 0);
    alone_give(&a, 0, a.keys[0].kid);
    assert_false(a.client->missing);
    alone_done(&a);
}

/* Each refusal of Sign could be the one after which keys are ours to have; a flood of them is one
 * question. */
TEST(refusals_of_sign_ask_for_private_halves_once_in_some_seconds)
{
    alone a;
    rpc_status told;
    const rpc_status denied = {.code = RPC_PERMISSION_DENIED, .message = "not for you"};
    const rpc_status over = {.code = RPC_FAILED_PRECONDITION, .message = "its turn is over"};
    const rpc_status other = {.code = RPC_INTERNAL, .message = "no"};
    start(&a);
    a.stopped_us = 1000000000;
    assert_int_equal(skmc__sign_refused(a.client, &over, &told), RPC_ABORTED);
    assert_int_equal(skmc__sign_refused(a.client, &other, &told), RPC_UNAVAILABLE);
    assert_false(a.client->asked);
    assert_int_equal(skmc__sign_refused(a.client, &denied, &told), RPC_ABORTED);
    assert_int_equal(skmc__sign_refused(a.client, &denied, &told), RPC_ABORTED);
    assert_true(a.client->asked);
    skmc__own_tend(a.client); /* nobody is there to answer it */
    assert_true(a.client->asked);
    assert_int_equal(skmc__sign_refused(a.client, &denied, &told), RPC_UNAVAILABLE);
    assert_non_null(strstr(told.message, "not for you"));
    a.stopped_us += 5000000;
    assert_int_equal(skmc__sign_refused(a.client, &denied, &told), RPC_ABORTED);
    alone_done(&a);
}
