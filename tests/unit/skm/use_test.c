/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys in use: who gets them, who signs with them, while keys turn and are revoked. */
#include "known.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

#define SIGNERS 4
#define TURNS   10

typedef struct pair {
    uint8_t public_key[crypto_box_PUBLICKEYBYTES], secret_key[crypto_box_SECRETKEYBYTES];
} pair;

static pair enrolled(known *k, const char *service, const char *san)
{
    pair p;
    crypto_box_keypair(p.public_key, p.secret_key);
    known_enrol(k, service, san, p.public_key);
    return p;
}

TEST(released_keys_are_those_of_the_set_and_open_for_their_owner_only)
{
    known k;
    rpc_status status = {0};
    skm_release release;
    known_open(&k);
    known_add(&k, DACM, false);
    const pair owner = enrolled(&k, DACM, SAN);
    const skm_caller caller = known_caller(SAN);
    OK(skm_keys_release(k.state, &caller, "", SKM_FOR_MANIFESTS, &release, &status));
    assert_int_equal(release.count, 2);
    trust_keyring *ring = known_ring(&k, DACM, SKM_FOR_MANIFESTS);
    for (size_t i = 0; i < release.count; i++) {
        char jwk[SKM_SEALED_JWK_BYTES];
        const skm_released_key *key = &release.keys[i];
        trust_signer *signer = NULL;
        assert_int_equal(crypto_box_seal_open((uint8_t *)jwk, key->sealed_jwk, key->sealed_size,
                             owner.public_key, owner.secret_key),
            0);
        OK(trust_signer_parse(rpc_bytes_of(jwk, key->sealed_size - crypto_box_SEALBYTES),
            TRUST_FOR_MANIFESTS, &signer, &status));
        assert_true(trust_signer_in(signer, ring));
        assert_string_equal(trust_signer_kid(signer), key->kid);
        trust_signer_free(signer);
    }
    trust_keyring_unref(ring);
    const skm_caller stranger = known_caller("stranger.example");
    REFUSED(skm_keys_release(k.state, &stranger, DACM, SKM_FOR_MANIFESTS, &release, &status),
        RPC_PERMISSION_DENIED);
    assert_int_equal(release.count, 0);
    known_close(&k);
}

TEST(caller_of_two_services_says_which)
{
    known k;
    rpc_status status = {0};
    skm_release release;
    known_open(&k);
    known_add(&k, "a", false);
    known_add(&k, "b", false);
    (void)enrolled(&k, "a", SAN);
    (void)enrolled(&k, "b", SAN);
    const skm_caller caller = known_caller(SAN);
    REFUSED(skm_keys_release(k.state, &caller, "", SKM_FOR_TOKENS, &release, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "val_service: "));
    REFUSED(skm_keys_release(k.state, &caller, "c", SKM_FOR_TOKENS, &release, &status),
        RPC_PERMISSION_DENIED);
    OK(skm_keys_release(k.state, &caller, "b", SKM_FOR_TOKENS, &release, &status));
    assert_string_equal(release.service, "b");
    OK(skm_enrolment_revoke(k.state, "a", SAN, INT64_MAX, &status));
    OK(skm_keys_release(k.state, &caller, "", SKM_FOR_TOKENS, &release, &status));
    assert_string_equal(release.service, "b");
    REFUSED(skm_keys_release(k.state, &caller, "a", SKM_FOR_TOKENS, &release, &status),
        RPC_PERMISSION_DENIED);
    const skm_caller stranger = known_caller("stranger.example");
    REFUSED(skm_keys_release(k.state, &stranger, "", SKM_FOR_TOKENS, &release, &status),
        RPC_PERMISSION_DENIED);
    known_close(&k);
}

TEST(caller_of_several_services_signs_with_the_one_that_service_or_kid_says)
{
    known k;
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1] = "";
    known_open(&k);
    known_add(&k, "a", true);
    known_add(&k, "b", true);
    known_add(&k, "c", false);
    known_add(&k, "d", true);
    (void)enrolled(&k, "a", SAN);
    (void)enrolled(&k, "b", SAN);
    (void)enrolled(&k, "c", SAN);
    const known_keys a = known_list(&k, "a", SKM_FOR_TOKENS),
                     b = known_list(&k, "b", SKM_FOR_TOKENS),
                     c = known_list(&k, "c", SKM_FOR_TOKENS),
                     d = known_list(&k, "d", SKM_FOR_TOKENS);
    const char *of_a = a.kid[known_one(&a, SKM_ACTIVE)], *of_b = b.kid[known_one(&b, SKM_ACTIVE)];
    const char *of_c = c.kid[known_one(&c, SKM_ACTIVE)], *of_d = d.kid[known_one(&d, SKM_ACTIVE)];
    const skm_caller caller = known_caller(SAN);
    REFUSED(known_sign(&k, &caller, "", kid, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "val_service: "));
    OK(known_sign_of(&k, &caller, "a", "", kid, &status));
    assert_string_equal(kid, of_a);
    OK(known_sign_of(&k, &caller, "b", of_b, kid, &status));
    assert_string_equal(kid, of_b);
    OK(known_sign(&k, &caller, of_a, kid, &status)); /* the kid says whose */
    assert_string_equal(kid, of_a);
    OK(known_sign(&k, &caller, of_b, kid, &status));
    assert_string_equal(kid, of_b);
    /* both are said, and not of one service */
    REFUSED(known_sign_of(&k, &caller, "a", of_b, kid, &status), RPC_FAILED_PRECONDITION);
    /* nobody else's, none that is not delegated, none that there is not */
    REFUSED(known_sign_of(&k, &caller, "d", "", kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign_of(&k, &caller, "d", of_d, kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign_of(&k, &caller, "e", "", kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign_of(&k, &caller, "c", "", kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign(&k, &caller, of_c, kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign(&k, &caller, of_d, kid, &status), RPC_INVALID_ARGUMENT);
    REFUSED(known_sign(&k, &caller, "no such kid", kid, &status), RPC_INVALID_ARGUMENT);
    const skm_caller stranger = known_caller("stranger.example");
    REFUSED(known_sign_of(&k, &stranger, "a", "", kid, &status), RPC_PERMISSION_DENIED);
    REFUSED(known_sign(&k, &stranger, of_a, kid, &status), RPC_PERMISSION_DENIED);
    /* with one service left nothing need be said */
    const skm_caller again = known_caller(SAN);
    OK(skm_enrolment_revoke(k.state, "b", SAN, INT64_MAX, &status));
    OK(skm_enrolment_revoke(k.state, "c", SAN, INT64_MAX, &status));
    OK(known_sign(&k, &again, "", kid, &status));
    assert_string_equal(kid, of_a);
    REFUSED(known_sign(&k, &again, of_b, kid, &status), RPC_FAILED_PRECONDITION);
    REFUSED(known_sign_of(&k, &again, "b", of_b, kid, &status), RPC_PERMISSION_DENIED);
    known_close(&k);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

typedef struct signing {
    known *k;
    atomic_bool stop;
    _Atomic uint64_t made;
} signing;

static void *sign_on(void *arg)
{
    signing *s = arg;
    static const char *const names[] = {SAN, NULL};
    const skm_caller caller = {.dns_names = names};
    while (!atomic_load(&s->stop)) {
        rpc_status status = {0};
        char kid[TRUST_KID_MAX + 1];
        OK(known_sign(s->k, &caller, "", kid, &status));
        atomic_fetch_add(&s->made, 1);
    }
    return NULL;
}

static bool count_told(void *ctx, const skm_signed *what)
{
    assert_string_equal(what->service, DACM);
    assert_int_equal(what->purpose, SKM_FOR_TOKENS);
    assert_true(what->kid[0] != '\0');
    assert_true(what->count > 0 && what->made >= what->count);
    *(uint64_t *)ctx += what->count;
    return true;
}

static void revoke_signer(known *k)
{
    rpc_status status = {0};
    const known_keys keys = known_list(k, DACM, SKM_FOR_TOKENS);
    OK(skm_key_revoke(k->state, keys.kid[known_one(&keys, SKM_ACTIVE)], "turned", &status));
}

TEST(signatures_go_on_while_keys_are_revoked_and_all_are_told)
{
    known k;
    signing s = {.k = &k};
    pthread_t threads[SIGNERS];
    uint64_t told = 0;
    known_open(&k);
    known_add(&k, DACM, true);
    (void)enrolled(&k, DACM, SAN);
    for (int i = 0; i < SIGNERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_on, &s), 0);
    for (int i = 0; i < TURNS; i++) {
        const uint64_t before = atomic_load(&s.made);
        while (atomic_load(&s.made) == before)
            sched_yield();
        revoke_signer(&k);
        skm_signatures_tell(k.state, count_told, &told);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < SIGNERS; i++)
        pthread_join(threads[i], NULL);
    skm_signatures_tell(k.state, count_told, &told);
    assert_int_equal(told, atomic_load(&s.made));
    assert_int_equal(known_version(&k, DACM, SKM_FOR_TOKENS), 1 + TURNS);
    known_close(&k);
}

TEST(nobody_signs_with_a_key_before_its_time_or_after_it)
{
    known k;
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    known_open(&k);
    known_add(&k, DACM, true);
    (void)enrolled(&k, DACM, SAN);
    const skm_caller caller = known_caller(SAN);
    const known_keys keys = known_list(&k, DACM, SKM_FOR_TOKENS);
    const char *first = keys.kid[known_one(&keys, SKM_ACTIVE)];
    const char *next = keys.kid[known_one(&keys, SKM_PRE_PUBLISHED)];
    REFUSED(known_sign(&k, &caller, next, kid, &status), RPC_FAILED_PRECONDITION);
    known_pass(&k, 10 * DAY); /* not tended: the key's own time counts */
    REFUSED(known_sign(&k, &caller, first, kid, &status), RPC_FAILED_PRECONDITION);
    OK(known_sign(&k, &caller, "", kid, &status));
    assert_string_equal(kid, next);
    known_pass(&k, 10 * DAY);
    REFUSED(known_sign(&k, &caller, "", kid, &status), RPC_FAILED_PRECONDITION);
    (void)known_tend(&k);
    OK(known_sign(&k, &caller, "", kid, &status));
    known_close(&k);
}
