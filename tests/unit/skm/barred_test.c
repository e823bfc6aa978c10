/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that VAL servers brought, that were revoked, and that their sets have forgotten. */
#include "known.h"

#define MAPS      "https://maps.example"
#define CHAT      "https://chat.example"
#define MANIFESTS SKM_FOR_MANIFESTS
#define KEPT      48 /* keys of a set; beyond, the oldest that it can do without are forgotten */
#define LONG_AGO  (13 * DAY) /* a key's window, and all for which what it signed verifies */

static const skm_client client = {"https://sims.example", "val"};

static void add(known *k, const char *service)
{
    rpc_status status = {0};
    char token[SKM_TOKEN_CHARS + 1];
    int64_t expires_at = 0;
    skm_enrolled enrolled;
    const skm_caller caller = known_caller("val.example");
    const skm_service_view view = {.name = service,
        .purposes = {false, true, true},
        .policy = {.active_s = 10 * DAY,
            .published_before_s = DAY,
            .verify_only_s = 2 * DAY,
            .provisioned = true}};
    OK(skm_service_add(k->state, &view, &status));
    OK(skm_enrolment_add(k->state, service, "val.example", &client, token, &expires_at, &status));
    OK(skm_enrol(k->state, &caller, token, (const uint8_t[32]){9}, &enrolled, &status));
}

static trust_signer *new_key(void)
{
    rpc_status status = {0};
    trust_signer *key = NULL;
    OK(trust_signer_generate(TRUST_FOR_MANIFESTS, &key, &status));
    return key;
}

static rpc_code bring(known *k, const char *service, const trust_signer *key, rpc_status *reterr)
{
    skm_provisioned told;
    skm_caller caller = known_caller("val.example");
    caller.client = client;
    return skm_key_provision(k->state, &caller, service, MANIFESTS, key, 0, 0, &told, reterr);
}

static void bring_and_revoke(known *k, const char *service, const trust_signer *key)
{
    rpc_status status = {0};
    OK(bring(k, service, key, &status));
    OK(skm_key_revoke(k->state, trust_signer_kid(key), "stolen", &status));
}

static void bring_and_revoke_others(known *k, const char *service, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        trust_signer *other = new_key();
        bring_and_revoke(k, service, other);
        trust_signer_free(other);
    }
}

static bool is_listed(known *k, const char *service, const trust_signer *key)
{
    const known_keys keys = known_list(k, service, MANIFESTS);
    for (size_t i = 0; i < keys.count; i++)
        if (strcmp(keys.kid[i], trust_signer_kid(key)) == 0)
            return true;
    return false;
}

/* A key that was revoked, and forgotten by the set of the service. */
static trust_signer *forgotten(known *k, const char *service)
{
    trust_signer *key = new_key();
    bring_and_revoke(k, service, key);
    known_pass(k, 1);
    bring_and_revoke_others(k, service, KEPT);
    assert_true(is_listed(k, service, key));
    known_pass(k, LONG_AGO);
    bring_and_revoke_others(k, service, 1);
    assert_false(is_listed(k, service, key));
    return key;
}

TEST(revoked_key_that_its_set_has_forgotten_never_comes_back)
{
    known k;
    rpc_status status = {0};
    known_open(&k);
    add(&k, MAPS);
    add(&k, CHAT);
    trust_signer *key = forgotten(&k, MAPS);
    for (int i = 0; i < 2; i++) {
        REFUSED(bring(&k, MAPS, key, &status), RPC_FAILED_PRECONDITION);
        assert_non_null(strstr(status.message, "revoked as compromised"));
        REFUSED(bring(&k, CHAT, key, &status), RPC_FAILED_PRECONDITION); /* nor to another */
        known_pass(&k, 1000 * DAY);
        known_reopen(&k); /* across restarts */
    }
    assert_false(is_listed(&k, MAPS, key));
    trust_signer *other = new_key();
    OK(bring(&k, MAPS, other, &status));
    trust_signer_free(other);
    trust_signer_free(key);
    known_close(&k);
}

TEST(revoked_key_that_the_store_does_not_know_is_barred_by_its_kid)
{
    known k;
    rpc_status status = {0};
    trust_signer *key = new_key();
    known_open(&k);
    add(&k, MAPS);
    OK(skm_key_bar(k.state, trust_signer_kid(key), known_now(&k), &status));
    OK(skm_key_bar(k.state, trust_signer_kid(key), known_now(&k), &status)); /* changes nothing */
    REFUSED(bring(&k, MAPS, key, &status), RPC_FAILED_PRECONDITION);
    known_reopen(&k);
    REFUSED(bring(&k, MAPS, key, &status), RPC_FAILED_PRECONDITION);
    static const char *const none[] = {"", "kid",
        "../../../../../../../../../../../../../../etc/pa",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL};
    for (size_t i = 0; none[i]; i++)
        REFUSED(skm_key_bar(k.state, none[i], 0, &status), RPC_INVALID_ARGUMENT);
    trust_signer_free(key);
    known_close(&k);
}

static void kid_of(unsigned number, char ret[44])
{
    snprintf(ret, 44, "%043u", number);
}

TEST(barred_keys_of_a_service_are_bounded_and_the_first_that_was_revoked_goes)
{
    known k;
    rpc_status status = {0};
    char kid[44];
    trust_signer *first = new_key(), *second = new_key();
    known_open(&k);
    add(&k, MAPS);
    trust_signer *of_service = forgotten(&k, MAPS);
    OK(skm_key_bar(k.state, trust_signer_kid(second), 2, &status)); /* in another order */
    OK(skm_key_bar(k.state, trust_signer_kid(first), 1, &status));
    for (unsigned i = 2; i < SKM_BARRED_MAX; i++) {
        kid_of(i, kid);
        OK(skm_key_bar(k.state, kid, 1 + i, &status));
    }
    REFUSED(bring(&k, MAPS, first, &status), RPC_FAILED_PRECONDITION);
    kid_of(0, kid);
    OK(skm_key_bar(k.state, kid, known_now(&k), &status)); /* one too many */
    for (int i = 0; i < 2; i++) {
        REFUSED(bring(&k, MAPS, second, &status), RPC_FAILED_PRECONDITION);
        REFUSED(bring(&k, MAPS, of_service, &status), RPC_FAILED_PRECONDITION);
        known_reopen(&k);
    }
    OK(bring(&k, MAPS, first, &status));
    trust_signer_free(first);
    trust_signer_free(second);
    trust_signer_free(of_service);
    known_close(&k);
}
