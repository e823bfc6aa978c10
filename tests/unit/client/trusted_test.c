/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned roots: what of an SKM-S is kept, and what is refused. */
#include "dacm.h"
#include "test.h"
#include "trust.h"

#include "cleanup.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW          1790000000
#define SKMS         "https://skms.example"
#define DACM         "https://dacm.example/"
#define COUNT(array) (sizeof(array) / sizeof *(array))

RPC_DEFINE_FREEP(signer_freep, trust_signer *, trust_signer_free)
RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)
RPC_DEFINE_FREEP(roots_freep, dacm_trust_roots *, dacm_trust_roots_free)

/* ---- a clock and a folder
 * ------------------------------------------------------------------------
 */

static int64_t now_s;

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return now_s * 1000;
}

static const rpc_clock test_clock = {.wall_ms = wall_ms};

typedef struct keeper {
    char folder[512];
    dacm_trust trust;
    trust_signer *root;
} keeper;

static trust_signer *new_signer(trust_purpose purpose)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(purpose, &signer, &status), RPC_OK);
    return signer;
}

static dacm_code pin(const dacm_trust *trust, const trust_signer *root, const char *issuer,
    const char *const *services, size_t service_count, dacm_error *reterr)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(root);
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    assert_int_equal(trust_root_read(rpc_bytes_str(jwks), fingerprint, NULL, NULL), RPC_OK);
    const dacm_trust_pin pinned = {.root = rpc_bytes_str(jwks),
        .fingerprint = fingerprint,
        .issuer = issuer,
        .services = services,
        .service_count = service_count};
    return dacm_trust_add(trust, &pinned, reterr);
}

static void open_keeper(keeper *k)
{
    now_s = NOW;
    snprintf(k->folder, sizeof k->folder, "%s/trust", test_tmpdir());
    k->trust = (dacm_trust){.folder = k->folder, .clock = &test_clock};
    k->root = new_signer(TRUST_FOR_KEY_SETS);
    dacm_error error;
    if (pin(&k->trust, k->root, SKMS, NULL, 0, &error) != DACM_OK)
        fail_msg("%s", error.message);
}

static void keeper_done(keeper *k)
{
    trust_signer_free(k->root);
}

/* ---- sets -------------------------------------------------------------------------------------
 */

typedef struct set_options {
    const trust_signer *root, *key;
    const char *issuer, *service, *state;
    uint64_t version;
    int64_t issued_at;
} set_options;

static char *make_set(const set_options *options)
{
    RPC_AUTOFREE char *public = trust_signer_public_jwks(options->key);
    const trust_purpose purpose = trust_signer_purpose(options->key);
    char jwks[1024];
    const char *x = strstr(public, "\"x\": \"") + 6;
    snprintf(jwks, sizeof jwks,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%.43s\","
        "\"dacm_purpose\":\"%s\",\"dacm_state\":\"%s\",\"nbf\":%d,\"exp\":%d}]}",
        trust_signer_kid(options->key), x, purpose == TRUST_FOR_TOKENS ? "token" : "manifest",
        options->state ? options->state : "active", NOW - 100, NOW + 100000);
    trust_keyset set = {.purpose = purpose,
        .version = options->version,
        .issued_at = options->issued_at ? options->issued_at : now_s,
        .jwks = jwks};
    set.expires_at = set.issued_at + 3600;
    snprintf(set.issuer, sizeof set.issuer, "%s", options->issuer ? options->issuer : SKMS);
    snprintf(set.service, sizeof set.service, "%s", options->service ? options->service : DACM);
    rpc_status status;
    char *jws = NULL;
    if (trust_keyset_sign(options->root, &set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

static dacm_code bring(const keeper *k, const char *text, dacm_error *reterr)
{
    dacm_trust_change change;
    return dacm_trust_update(&k->trust, rpc_bytes_str(text), &change, reterr);
}

static dacm_code bring_set(const keeper *k, const set_options *options, dacm_error *reterr)
{
    RPC_AUTOFREE char *jws = make_set(options);
    return bring(k, jws, reterr);
}

static void refused(const keeper *k, const set_options *options, dacm_code code, const char *why)
{
    dacm_error error = {.code = DACM_OK};
    const dacm_code got = bring_set(k, options, &error);
    if (got != code || !strstr(error.message, why))
        fail_msg("%s instead of %s: %s", dacm_code_name(got), dacm_code_name(code), error.message);
}

static void taken(const keeper *k, const set_options *options)
{
    dacm_error error;
    if (bring_set(k, options, &error) != DACM_OK)
        fail_msg("%s", error.message);
}

static uint64_t version_of(const keeper *k, const char *service, dacm_keys_for purpose)
{
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    bool expired;
    const dacm_code code = dacm_trust_keys(
        &k->trust, service, purpose, true, &ring, &expired, NULL);
    return code == DACM_OK ? trust_keyring_version(ring) : 0;
}

/* ---- sets and versions --------------------------------------------------------------------------
 */

TEST(trusted_set_gives_the_keys_of_a_service_in_their_states)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    trust_keyring *none = NULL;
    bool expired = true;
    dacm_error error;
    assert_int_equal(
        dacm_trust_keys(&k.trust, DACM, DACM_KEYS_FOR_MANIFESTS, false, &none, &expired, &error),
        DACM_NO_KEY);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 3, .state = "compromised"});
    assert_int_equal(
        dacm_trust_keys(&k.trust, DACM, DACM_KEYS_FOR_MANIFESTS, false, &ring, &expired, &error),
        DACM_OK);
    assert_false(expired);
    assert_int_equal(trust_keyring_purpose(ring), TRUST_FOR_MANIFESTS);
    assert_int_equal(trust_keyring_version(ring), 3);
    assert_int_equal(trust_keyring_count(ring), 1);
    assert_int_equal(trust_key_get_state(trust_keyring_at(ring, 0)), TRUST_KEY_COMPROMISED);
    /* Of the other purpose, and of another service, there is none. */
    assert_int_equal(
        dacm_trust_keys(&k.trust, DACM, DACM_KEYS_FOR_TOKENS, false, &none, &expired, &error),
        DACM_NO_KEY);
    assert_int_equal(dacm_trust_keys(&k.trust, "https://dacm.example", DACM_KEYS_FOR_MANIFESTS,
                         false, &none, &expired, &error),
        DACM_NO_KEY);
    assert_null(none);
}

TEST(trusted_set_of_a_lower_version_is_refused_and_nothing_changes)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 4}, DACM_BAD_SIGNATURE,
        "5 was seen before");
    now_s += 100; /* signed again, it is as old as before */
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 4}, DACM_BAD_SIGNATURE,
        "5 was seen before");
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_MANIFESTS), 5);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 6});
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_MANIFESTS), 6);
}

TEST(trusted_versions_of_other_services_and_purposes_are_their_own)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *token = new_signer(TRUST_FOR_TOKENS);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 1, .service = "other"});
    taken(&k, &(set_options){.root = k.root, .key = token, .version = 2});
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_MANIFESTS), 5);
    assert_int_equal(version_of(&k, "other", DACM_KEYS_FOR_MANIFESTS), 1);
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_TOKENS), 2);
}

TEST(trusted_set_of_the_same_version_with_other_keys_is_a_second_history)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *other = new_signer(TRUST_FOR_MANIFESTS);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    refused(&k, &(set_options){.root = k.root, .key = other, .version = 5}, DACM_BAD_SIGNATURE,
        "two different key sets 5");
    now_s += 10;
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 5, .state = "verify-only"},
        DACM_BAD_SIGNATURE, "two different key sets 5");
}

TEST(trusted_set_that_is_signed_again_lives_longer_and_an_older_signature_changes_nothing)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    const set_options set = {.root = k.root, .key = key, .version = 5};
    RPC_AUTOFREE char *old = make_set(&set);
    now_s += 3000;
    RPC_AUTOFREE char *fresh = make_set(&set);
    dacm_trust_change change;
    assert_int_equal(dacm_trust_update(&k.trust, rpc_bytes_str(old), &change, NULL), DACM_OK);
    assert_int_equal(change.sets, 1);
    assert_int_equal(dacm_trust_update(&k.trust, rpc_bytes_str(fresh), &change, NULL), DACM_OK);
    assert_int_equal(change.sets, 1);
    assert_int_equal(dacm_trust_update(&k.trust, rpc_bytes_str(old), &change, NULL), DACM_OK);
    assert_int_equal(change.sets, 0);
    assert_int_equal(change.known, 1);
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = NULL;
    assert_int_equal(dacm_trust_list(&k.trust, &roots, NULL), DACM_OK);
    assert_int_equal(roots->items[0].sets[0].expires_at, now_s + 3600);
}

TEST(trusted_set_that_has_expired_or_is_of_the_future_is_refused_to_who_sees_the_first)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 1, .issued_at = NOW - 3700},
        DACM_FAILED_PRECONDITION, "expired");
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 1, .issued_at = NOW + 100},
        DACM_FAILED_PRECONDITION, "future");
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_MANIFESTS), 0);
}

TEST(trusted_set_that_expires_where_it_is_kept_is_used_only_by_who_says_so)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    trust_keyring *none = NULL;
    bool expired = false;
    dacm_error error;
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    now_s += 3600 + TRUST_SKEW_S + 1;
    assert_int_equal(
        dacm_trust_keys(&k.trust, DACM, DACM_KEYS_FOR_MANIFESTS, false, &none, &expired, &error),
        DACM_FAILED_PRECONDITION);
    assert_non_null(strstr(error.message, "dacm trust update"));
    assert_null(none);
    assert_int_equal(
        dacm_trust_keys(&k.trust, DACM, DACM_KEYS_FOR_MANIFESTS, true, &ring, &expired, &error),
        DACM_OK);
    assert_true(expired);
}

/* ---- who may say it -----------------------------------------------------------------------------
 */

TEST(trusted_set_of_an_unknown_issuer_or_root_is_no_key)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *other = new_signer(TRUST_FOR_KEY_SETS);
    refused(
        &k, &(set_options){.root = other, .key = key, .version = 1}, DACM_NO_KEY, "another root");
    refused(&k, &(set_options){.root = other, .key = key, .version = 1, .issuer = "https://x"},
        DACM_NO_KEY, "dacm trust add");
}

TEST(trusted_skms_speaks_for_the_services_that_it_was_pinned_for)
{
    static const char *const mine[] = {"mine", "ours"};
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    assert_int_equal(pin(&k.trust, second, "https://second", mine, COUNT(mine), NULL), DACM_OK);
    set_options set = {.root = second, .key = key, .version = 1, .issuer = "https://second"};
    refused(&k, &set, DACM_BAD_SIGNATURE, "not pinned to speak");
    set.service = "mine";
    taken(&k, &set);
    /* And nobody else for those. */
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 9, .service = "ours"},
        DACM_BAD_SIGNATURE, "for 'https://second' to say");
    assert_int_equal(version_of(&k, "mine", DACM_KEYS_FOR_MANIFESTS), 1);
}

TEST(trusted_service_belongs_to_the_skms_that_spoke_for_it_first)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *token = new_signer(TRUST_FOR_TOKENS);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    assert_int_equal(pin(&k.trust, second, "https://second", NULL, 0, NULL), DACM_OK);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 1});
    const set_options set = {.root = second, .key = key, .version = 2, .issuer = "https://second"};
    refused(&k, &set, DACM_BAD_SIGNATURE, "for '" SKMS "' to say");
    refused(&k,
        &(set_options){.root = second, .key = token, .version = 1, .issuer = "https://second"},
        DACM_BAD_SIGNATURE, "for '" SKMS "' to say");
    assert_int_equal(dacm_trust_remove(&k.trust, SKMS, NULL), DACM_OK);
    taken(&k, &set);
}

static trust_signer *same_key_for(const trust_signer *signer, trust_purpose purpose)
{
    RPC_AUTOFREE char *jwks = trust_signer_private_jwks(signer);
    char *at = strstr(jwks, "\"dacm_purpose\"");
    assert_non_null(at);
    memcpy(at + 1, "x", 1); /* a member that says nothing */
    trust_signer *made;
    rpc_status status;
    if (trust_signer_parse(rpc_bytes_str(jwks), purpose, &made, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return made;
}

TEST(trusted_key_has_one_purpose_in_all_sets_and_is_no_root)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *crossed = same_key_for(key, TRUST_FOR_TOKENS);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *root = same_key_for(second, TRUST_FOR_MANIFESTS);
    assert_int_equal(pin(&k.trust, second, "https://second", NULL, 0, NULL), DACM_OK);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 1});
    refused(&k, &(set_options){.root = k.root, .key = crossed, .version = 1, .service = "sims"},
        DACM_BAD_SIGNATURE, "one purpose");
    refused(&k, &(set_options){.root = k.root, .key = root, .version = 2}, DACM_BAD_SIGNATURE,
        "one purpose");
}

/* ---- roots ------------------------------------------------------------------------------------
 */

static char *statement(const trust_signer *from, const trust_signer *to, uint64_t sequence)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(to);
    rpc_status status;
    char *jws = NULL;
    if (trust_root_sign(from, SKMS, sequence, jwks, NOW, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

static void statement_refused(const keeper *k, const char *text, dacm_code code, const char *why)
{
    dacm_error error = {.code = DACM_OK};
    const dacm_code got = bring(k, text, &error);
    if (got != code || !strstr(error.message, why))
        fail_msg("%s instead of %s: %s", dacm_code_name(got), dacm_code_name(code), error.message);
}

TEST(trusted_roots_are_followed_and_old_ones_sign_nothing_any_more)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *third = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *one = statement(k.root, second, 1), *two = statement(second, third, 2);
    RPC_AUTOFREE char *old = make_set(&(set_options){.root = k.root, .key = key, .version = 1});
    RPC_AUTOFREE char *set = make_set(&(set_options){.root = third, .key = key, .version = 1});
    RPC_AUTOFREE char *next = make_set(&(set_options){.root = third, .key = key, .version = 2});
    RPC_AUTOFREE char *all = NULL;
    dacm_trust_change change;
    dacm_error error;
    assert_int_equal(bring(&k, old, &error), DACM_OK);
    assert_true(asprintf(&all, "\n%s\n\t%s\r\n %s", one, two, set) > 0);
    if (dacm_trust_update(&k.trust, rpc_bytes_str(all), &change, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(change.roots, 2);
    assert_int_equal(change.known, 1); /* the same keys, signed again in the same second */
    /* All of it comes again with each answer of the SKM-S. */
    assert_int_equal(dacm_trust_update(&k.trust, rpc_bytes_str(all), &change, &error), DACM_OK);
    assert_int_equal(change.roots, 0);
    assert_int_equal(change.known, 3);
    refused(
        &k, &(set_options){.root = k.root, .key = key, .version = 2}, DACM_NO_KEY, "another root");
    assert_int_equal(bring(&k, next, &error), DACM_OK);
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = NULL;
    assert_int_equal(dacm_trust_list(&k.trust, &roots, NULL), DACM_OK);
    assert_int_equal(roots->items[0].sequence, 2);
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(third);
    assert_int_equal(trust_root_read(rpc_bytes_str(jwks), fingerprint, NULL, NULL), RPC_OK);
    assert_string_equal(roots->items[0].fingerprint, fingerprint);
}

/* A root is replaced because somebody may have it: nothing counts under that key any more. */
TEST(trusted_key_that_was_a_root_signs_nothing_else_and_no_other_key_becomes_a_root)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *first = same_key_for(k.root, TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *crossed = same_key_for(key, TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *one = statement(k.root, second, 1), *back = statement(second, k.root, 2);
    RPC_AUTOFREE char *signing = statement(second, crossed, 2);
    assert_int_equal(bring(&k, one, NULL), DACM_OK);
    taken(&k, &(set_options){.root = second, .key = key, .version = 1});
    refused(&k, &(set_options){.root = second, .key = first, .version = 2}, DACM_BAD_SIGNATURE,
        "one purpose");
    statement_refused(&k, back, DACM_BAD_SIGNATURE, "known already");
    statement_refused(&k, signing, DACM_BAD_SIGNATURE, "known already");
    taken(&k, &(set_options){.root = second, .key = key, .version = 2});
}

TEST(trusted_root_that_was_pinned_later_follows_from_there)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *before = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *after = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *one = statement(before, k.root, 6), *two = statement(k.root, after, 7);
    RPC_AUTOFREE char *all = NULL;
    dacm_trust_change change;
    statement_refused(&k, one, DACM_NO_KEY, "of other roots");
    assert_true(asprintf(&all, "%s %s", one, two) > 0);
    assert_int_equal(dacm_trust_update(&k.trust, rpc_bytes_str(all), &change, NULL), DACM_OK);
    assert_int_equal(change.roots, 1);
}

TEST(trusted_root_statement_out_of_its_place_is_refused_and_nothing_of_the_file_is_kept)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *third = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *fourth = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *one = statement(k.root, second, 1), *three = statement(third, fourth, 3);
    RPC_AUTOFREE char *wrong = statement(third, fourth, 2), *number = statement(second, third, 3);
    RPC_AUTOFREE char *all = NULL;
    assert_true(asprintf(&all, "%s %s", one, three) > 0);
    statement_refused(&k, all, DACM_FAILED_PRECONDITION, "does not follow 1");
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = NULL;
    assert_int_equal(dacm_trust_list(&k.trust, &roots, NULL), DACM_OK);
    assert_int_equal(roots->items[0].sequence, 0);
    assert_int_equal(bring(&k, one, NULL), DACM_OK);
    statement_refused(&k, wrong, DACM_BAD_SIGNATURE, "not valid"); /* the wrong old root */
    statement_refused(&k, number, DACM_FAILED_PRECONDITION, "does not follow 1");
}

TEST(trusted_root_with_two_followers_is_a_second_history)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *third = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *fork = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *one = statement(k.root, second, 1), *two = statement(second, third, 2);
    RPC_AUTOFREE char *other = statement(k.root, fork, 1), *later = statement(second, fork, 2);
    assert_int_equal(bring(&k, one, NULL), DACM_OK);
    statement_refused(&k, other, DACM_BAD_SIGNATURE, "two histories");
    assert_int_equal(bring(&k, two, NULL), DACM_OK);
    statement_refused(&k, other, DACM_BAD_SIGNATURE, "two statements 1");
    statement_refused(&k, later, DACM_BAD_SIGNATURE, "two statements 2");
}

TEST(trusted_root_may_be_replaced_more_often_than_statements_are_kept)
{
    enum { TIMES = 20 };
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_CLEANUP(signer_freep) trust_signer *last = NULL;
    RPC_AUTOFREE char *all = NULL;
    size_t size = 0;
    dacm_error error;
    FILE *stream = open_memstream(&all, &size);
    for (int i = 1; i <= TIMES; i++) {
        trust_signer *next = new_signer(TRUST_FOR_KEY_SETS);
        RPC_AUTOFREE char *jws = statement(last ? last : k.root, next, (uint64_t)i);
        trust_signer_free(last);
        last = next;
        fprintf(stream, "%s\n", jws);
    }
    fclose(stream);
    for (int again = 0; again < 2; again++)
        if (bring(&k, all, &error) != DACM_OK)
            fail_msg("%s", error.message);
    taken(&k, &(set_options){.root = last, .key = key, .version = 1});
}

/* ---- pins -------------------------------------------------------------------------------------
 */

TEST(trusted_root_needs_its_fingerprint)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *root = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(root);
    RPC_AUTOFREE char *secret = trust_signer_private_jwks(root);
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    dacm_error error;
    assert_int_equal(trust_root_read(rpc_bytes_str(jwks), fingerprint, NULL, NULL), RPC_OK);
    dacm_trust_pin with = {.root = rpc_bytes_str(jwks), .issuer = "https://second"};
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, fingerprint));
    with.fingerprint = "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_BAD_SIGNATURE);
    with.fingerprint = fingerprint;
    with.issuer = NULL;
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_INVALID_ARGUMENT);
    with.issuer = "a b";
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_INVALID_ARGUMENT);
    with.issuer = SKMS;
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_ALREADY_EXISTS);
    with.root = rpc_bytes_str(secret);
    with.issuer = "https://second";
    assert_int_equal(dacm_trust_add(&k.trust, &with, &error), DACM_INVALID_ARGUMENT);
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = NULL;
    assert_int_equal(dacm_trust_list(&k.trust, &roots, NULL), DACM_OK);
    assert_int_equal(roots->count, 1);
    assert_int_equal(dacm_trust_remove(&k.trust, "https://second", &error), DACM_NOT_FOUND);
}

TEST(trusted_root_added_again_keeps_what_was_seen)
{
    static const char *const services[] = {DACM};
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    assert_int_equal(pin(&k.trust, k.root, SKMS, services, 1, NULL), DACM_OK);
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 4}, DACM_BAD_SIGNATURE,
        "5 was seen before");
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 4, .service = "other"},
        DACM_BAD_SIGNATURE, "not pinned to speak");
}

TEST(trusted_skmss_are_at_most_16)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    char issuer[32];
    dacm_error error;
    for (int i = 0; i < 16; i++) {
        RPC_CLEANUP(signer_freep) trust_signer *root = new_signer(TRUST_FOR_KEY_SETS);
        snprintf(issuer, sizeof issuer, "https://%d", i);
        assert_int_equal(pin(&k.trust, root, issuer, NULL, 0, &error),
            i < 15 ? DACM_OK : DACM_RESOURCE_EXHAUSTED);
    }
}

TEST(trusted_sets_are_at_most_256_of_an_skms)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    RPC_AUTOFREE char *all = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&all, &size);
    for (int i = 0; i < 256; i++) {
        char service[32];
        snprintf(service, sizeof service, "service-%d", i);
        RPC_AUTOFREE char *jws = make_set(
            &(set_options){.root = k.root, .key = key, .version = 1, .service = service});
        fprintf(stream, "%s\n", jws);
    }
    fclose(stream);
    dacm_error error;
    if (bring(&k, all, &error) != DACM_OK)
        fail_msg("%s", error.message);
    refused(&k, &(set_options){.root = k.root, .key = key, .version = 1, .service = "more"},
        DACM_RESOURCE_EXHAUSTED, "256");
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 2, .service = "service-9"});
}

TEST(trusted_update_that_is_no_jws_is_refused)
{
    static const char *const bad[] = {"", " \n", "x", "{}", "a.b.c", "e30.e30.AA"};
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    for (size_t i = 0; i < COUNT(bad); i++) {
        dacm_error error;
        assert_int_equal(bring(&k, bad[i], &error), DACM_INVALID_ARGUMENT);
    }
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static void write_file(const keeper *k, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/trust.json", k->folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

TEST(trusted_file_that_is_damaged_is_an_error_not_a_fresh_start)
{
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"format\":2,\"issuers\":[]}",
        "{\"format\":1}", "{\"format\":1,\"issuers\":{}}", "{\"format\":1,\"issuers\":[7]}",
        "{\"format\":1,\"issuers\":[{\"issuer\":\"a\",\"root\":{},\"sequence\":0,\"pinned_at\":0,"
        "\"services\":[],\"followed\":[],\"sets\":[]}]}",
        "{\"format\":1,\"issuers\":[{\"issuer\":\"a\",\"root\":{\"kid\":\"k\",\"x\":\"y\"},"
        "\"sequence\":0,\"pinned_at\":0,\"services\":[],\"followed\":[],\"sets\":[{}]}]}",
        "{\"format\":1,\"issuers\":[{\"issuer\":\"a\",\"root\":{\"kid\":\"k\",\"x\":\"y\"},"
        "\"sequence\":0,\"pinned_at\":0,\"services\":[],\"followed\":[],\"sets\":[]}]}"};
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    for (size_t i = 0; i < COUNT(bad); i++) {
        dacm_trust_roots *roots = NULL;
        write_file(&k, bad[i]);
        if (dacm_trust_list(&k.trust, &roots, NULL) != DACM_LOCAL_FILE)
            fail_msg("number %zu was read", i);
        const dacm_code code = bring_set(
            &k, &(set_options){.root = k.root, .key = key, .version = 1, .issuer = "a"}, NULL);
        assert_int_equal(code, DACM_LOCAL_FILE);
        assert_null(roots);
    }
}

TEST(trusted_file_is_ours_alone_and_one_that_others_can_write_is_not_believed)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    char path[600];
    struct stat found;
    dacm_trust_roots *roots = NULL;
    dacm_error error;
    snprintf(path, sizeof path, "%s/trust.json", k.folder);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(stat(k.folder, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0700);
    assert_int_equal(chmod(path, 0622), 0);
    assert_int_equal(dacm_trust_list(&k.trust, &roots, &error), DACM_LOCAL_FILE);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chmod(k.folder, 0770), 0);
    assert_int_equal(dacm_trust_list(&k.trust, &roots, &error), DACM_LOCAL_FILE);
    assert_non_null(strstr(error.message, "chmod"));
    assert_int_equal(chmod(k.folder, 0755), 0);
    assert_int_equal(dacm_trust_list(&k.trust, &roots, &error), DACM_OK);
    dacm_trust_roots_free(roots);
}

TEST(trusted_half_a_file_of_a_killed_process_is_not_looked_at)
{
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    char path[600];
    snprintf(path, sizeof path, "%s/trust.json.new", k.folder);
    FILE *file = fopen(path, "w");
    fputs("{\"format\":1,\"issuers\":[{\"iss", file);
    fclose(file);
    taken(&k, &(set_options){.root = k.root, .key = key, .version = 5});
    assert_int_equal(version_of(&k, DACM, DACM_KEYS_FOR_MANIFESTS), 5);
    assert_int_not_equal(access(path, F_OK), 0);
}

typedef struct bringer {
    const keeper *k;
    char *sets[3];
    bool failed;
} bringer;

static void *bring_all(void *ctx)
{
    bringer *b = ctx;
    for (size_t i = 0; i < COUNT(b->sets); i++)
        b->failed |= bring(b->k, b->sets[i], NULL) != DACM_OK;
    return NULL;
}

TEST(trusted_threads_at_once_lose_nothing_of_each_other)
{
    enum { THREADS = 4 };
    RPC_CLEANUP(keeper_done) keeper k;
    open_keeper(&k);
    RPC_CLEANUP(signer_freep) trust_signer *key = new_signer(TRUST_FOR_MANIFESTS);
    bringer bringers[THREADS];
    pthread_t threads[THREADS];
    char service[16];
    for (size_t i = 0; i < THREADS; i++) {
        bringers[i] = (bringer){.k = &k};
        snprintf(service, sizeof service, "service-%zu", i);
        for (size_t j = 0; j < COUNT(bringers[i].sets); j++)
            bringers[i].sets[j] = make_set(
                &(set_options){.root = k.root, .key = key, .version = j + 1, .service = service});
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bring_all, &bringers[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(bringers[i].failed);
        snprintf(service, sizeof service, "service-%zu", i);
        assert_int_equal(version_of(&k, service, DACM_KEYS_FOR_MANIFESTS), 3);
        for (size_t j = 0; j < COUNT(bringers[i].sets); j++)
            free(bringers[i].sets[j]);
    }
}

TEST(trusted_folder_that_is_not_there_knows_nobody)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s/nothing", test_tmpdir());
    const dacm_trust trust = {.folder = folder};
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = NULL;
    trust_keyring *ring = NULL;
    bool expired;
    assert_int_equal(dacm_trust_list(&trust, &roots, NULL), DACM_OK);
    assert_int_equal(roots->count, 0);
    assert_int_equal(
        dacm_trust_keys(&trust, DACM, DACM_KEYS_FOR_MANIFESTS, false, &ring, &expired, NULL),
        DACM_NO_KEY);
    assert_int_not_equal(access(folder, F_OK), 0);
}
