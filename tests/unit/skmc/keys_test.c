/* SPDX-License-Identifier: Apache-2.0 */
/* Who signs: never anybody whom the set that is believed does not name for that time. */
#include "alone.h"

static const char *kid(const alone *a, size_t key)
{
    return trust_signer_kid(a->keys[key].signer);
}

static bool serves(const alone *a, const char *name)
{
    skmc_keys *keys = skmc_keys_now(a->client);
    assert_non_null(keys);
    const bool good = skmc_keys_serves(keys, name);
    skmc_keys_unref(keys);
    return good;
}

static size_t sealed_count(const alone *a)
{
    return json_array_size(json_object_get(a->client->kept, "sealed"));
}

TEST(each_key_signs_in_its_window_and_then_nobody)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    assert_null(alone_signer(&a, ALONE_NOW)); /* its private half is not here */
    assert_true(a.client->missing);
    alone_give(&a, 0, kid(&a, 0));
    alone_give(&a, 1, kid(&a, 1));
    assert_false(a.client->missing);
    assert_null(alone_signer(&a, ALONE_NOW - 1));
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 0));
    assert_string_equal(alone_signer(&a, ALONE_NOW + 999), kid(&a, 0));
    assert_string_equal(alone_signer(&a, ALONE_NOW + 1000), kid(&a, 1)); /* who began last */
    assert_string_equal(alone_signer(&a, ALONE_NOW + 1999), kid(&a, 1));
    assert_null(alone_signer(&a, ALONE_NOW + 2001));
    alone_done(&a);
}

TEST(keys_sign_after_a_restart_without_the_skms_and_long_after_their_set_has_expired)
{
    alone a;
    alone_start(&a);
    a.keys[0].until = ALONE_NOW + 1000000;
    a.key_count = 1;
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    alone_close(&a);
    a.wall_s += 500000;
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    assert_string_equal(alone_signer(&a, a.wall_s), kid(&a, 0));
    assert_true(serves(&a, kid(&a, 0)));
    alone_done(&a);
}

TEST(revoked_key_signs_nothing_and_its_private_half_is_nowhere_any_more)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    alone_give(&a, 1, kid(&a, 1));
    assert_int_equal(sealed_count(&a), 2);
    a.keys[0].state = "compromised";
    a.keys[1].from = ALONE_NOW;
    const unsigned changes = a.changes;
    alone_take(&a, 2);
    assert_int_equal(a.changes, changes + 1); /* the owner is told */
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 1));
    assert_false(serves(&a, kid(&a, 0)));
    assert_true(serves(&a, kid(&a, 1)));
    assert_int_equal(sealed_count(&a), 1);
    assert_int_equal(a.client->held_count, 1);
    alone_close(&a);
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    assert_int_equal(sealed_count(&a), 1);
    assert_false(serves(&a, kid(&a, 0)));
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 1));
    alone_done(&a);
}

TEST(what_verify_only_keys_signed_is_served_and_what_retired_or_unknown_ones_did_is_not)
{
    alone a;
    alone_start(&a);
    a.keys[0].state = "verify-only";
    a.keys[1].state = "retired";
    alone_take(&a, 1);
    assert_true(serves(&a, kid(&a, 0)));
    assert_false(serves(&a, kid(&a, 1)));
    assert_false(serves(&a, kid(&a, 2)));
    assert_null(alone_signer(&a, ALONE_NOW));
    assert_false(a.client->missing); /* nobody needs their private halves */
    alone_done(&a);
}

TEST(private_half_of_another_key_is_not_used)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    alone_give(&a, 2, kid(&a, 0));
    assert_null(alone_signer(&a, ALONE_NOW));
    assert_true(a.client->missing); /* it is asked for again */
    alone_give(&a, 0, kid(&a, 0));
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 0));
    alone_done(&a);
}

static bool refuse_all(
    void *ctx, const char *val_service, const trust_keyring *ring, rpc_status *reterr)
{
    (void)ctx;
    (void)val_service;
    (void)ring;
    rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "it signs tokens");
    return false;
}

TEST(keys_that_the_owner_cannot_take_leave_the_last_ones)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    a.client->options.acceptable = refuse_all;
    a.keys[0].until += 500;
    alone_take(&a, 2);
    assert_string_equal(alone_signer(&a, ALONE_NOW), kid(&a, 0));
    skmc_keys *keys = skmc_keys_now(a.client);
    assert_int_equal(trust_keyring_count(skmc_keys_ring(keys)), 2);
    skmc_keys_unref(keys);
    alone_done(&a);
}

typedef struct reading {
    const alone *a;
    atomic_bool over;
    atomic_uint signatures, wrong;
} reading;

/* As a server does with each request: whoever signs verifies by the very snapshot. */
static void *sign_all_the_time(void *arg)
{
    reading *r = arg;
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    while (!atomic_load(&r->over)) {
        skmc_keys *keys = skmc_keys_now(r->a->client);
        const trust_signer *signer = skmc_keys_signer(keys, TRUST_ALG_EDDSA, ALONE_NOW);
        const bool good = signer && trust_signer_in(signer, skmc_keys_ring(keys)) &&
                          skmc_keys_serves(keys, trust_signer_kid(signer)) &&
                          trust_signer_sign(
                              signer, rpc_bytes_str("text"), signature, &size, NULL) == RPC_OK;
        skmc_keys_unref(keys);
        atomic_fetch_add(good ? &r->signatures : &r->wrong, 1);
    }
    return NULL;
}

TEST(threads_sign_while_keys_turn)
{
    alone a;
    pthread_t threads[2];
    alone_start(&a);
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    reading r = {.a = &a};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_all_the_time, &r), 0);
    for (uint64_t version = 2; version < 100 || atomic_load(&r.signatures) < 100; version++) {
        a.keys[0].until++;
        alone_take(&a, version);
    }
    atomic_store(&r.over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(r.wrong, 0);
    alone_done(&a);
}

TEST(who_waits_for_other_keys_gets_them_or_nothing)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    skmc_keys *first = skmc_keys_now(a.client);
    assert_null(skmc_keys_after(a.client, first, 1));
    a.keys[0].until++;
    alone_take(&a, 2);
    skmc_keys *second = skmc_keys_after(a.client, first, 60000);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    skmc_keys_unref(first);
    skmc_keys_unref(second);
    alone_done(&a);
}

TEST(health_fails_while_nobody_signs_and_warns_before)
{
    alone a;
    alone_start(&a);
    skmc_judge(a.client);
    assert_false(host_health_ok(a.health));
    alone_take(&a, 1);
    alone_give(&a, 0, kid(&a, 0));
    alone_give(&a, 1, kid(&a, 1));
    skmc_judge(a.client);
    assert_true(host_health_ok(a.health));
    a.wall_s += 2001;
    skmc_judge(a.client);
    assert_false(host_health_ok(a.health));
    alone_done(&a);
}

TEST(keys_of_a_file_are_published_with_their_states_but_for_tokens_that_nobody_may_verify)
{
    trust_signer *signer = NULL;
    skmc_keys *keys = NULL;
    char text[2048];
    for (int tokens = 0; tokens < 2; tokens++) {
        const trust_purpose purpose = tokens ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS;
        char *jwks[2];
        snprintf(text, sizeof text, "{\"keys\":[");
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(trust_signer_generate(purpose, &signer, NULL), RPC_OK);
            jwks[i] = trust_signer_private_jwks(signer);
            char *jwk = strchr(strchr(jwks[i], '['), '{');
            snprintf(text + strlen(text), sizeof text - strlen(text),
                "%s{\"dacm_state\":\"%s\",%.*s", i ? "," : "", i ? "compromised" : "active",
                (int)(strrchr(jwks[i], ']') - jwk - 1), jwk + 1);
            free(jwks[i]);
            trust_signer_free(signer);
        }
        snprintf(text + strlen(text), sizeof text - strlen(text), "]}");
        assert_int_equal(skmc_keys_parse(rpc_bytes_str(text), purpose, 1, &keys, NULL), RPC_OK);
        assert_null(strstr(skmc_keys_jwks(keys), "\"d\""));
        assert_int_equal(strstr(skmc_keys_jwks(keys), "compromised") == NULL, tokens);
        const trust_signer *now = skmc_keys_signer(keys, TRUST_ALG_EDDSA, ALONE_NOW);
        assert_non_null(now);
        assert_true(skmc_keys_serves(keys, trust_signer_kid(now)));
        assert_string_equal(skmc_keys_in(keys, skmc_keys_ring(keys)), trust_signer_kid(now));
        skmc_keys_unref(keys);
    }
}
