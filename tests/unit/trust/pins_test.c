/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned roots as servers and fetchers use them: what was asked for, addresses, who speaks. What is
 * kept and what is refused beside that: tests/unit/client/trusted_test.c. */
#include "pins.h"
#include "test.h"

#include "cleanup.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW  1790000000
#define SKMS "https://skms.example"
#define DACM "https://dacm.example/"
#define SIMS "https://sims.example"

RPC_DEFINE_FREEP(signer_freep, trust_signer *, trust_signer_free)
RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)
RPC_DEFINE_FREEP(roots_freep, trust_pins_roots *, trust_pins_roots_free)

typedef struct pinned {
    char folder[512];
    trust_signer *root, *key;
} pinned;

static trust_signer *new_signer(trust_purpose purpose)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(purpose, &signer, &status), RPC_OK);
    return signer;
}

static trust_pins_code pin(const pinned *p, const trust_signer *root, const trust_pin *more)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(root);
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    trust_pin made = *more;
    rpc_status why;
    assert_int_equal(trust_root_read(rpc_bytes_str(jwks), fingerprint, NULL, &why), RPC_OK);
    made.root = rpc_bytes_str(jwks);
    made.fingerprint = fingerprint;
    return trust_pins_add(p->folder, &made, NOW, &why);
}

static void start(pinned *p)
{
    snprintf(p->folder, sizeof p->folder, "%s/trust", test_tmpdir());
    p->root = new_signer(TRUST_FOR_KEY_SETS);
    p->key = new_signer(TRUST_FOR_MANIFESTS);
    assert_int_equal(pin(p, p->root, &(trust_pin){.issuer = SKMS}), TRUST_PINS_OK);
}

static void pinned_done(pinned *p)
{
    trust_signer_free(p->root);
    trust_signer_free(p->key);
}

static char *set_of(const pinned *p, const char *service, uint64_t version)
{
    RPC_AUTOFREE char *public = trust_signer_public_jwks(p->key);
    char jwks[1024];
    rpc_status status;
    char *jws = NULL;
    snprintf(jwks, sizeof jwks,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%.43s\","
        "\"dacm_purpose\":\"manifest\",\"dacm_state\":\"active\",\"nbf\":%d,\"exp\":%d}]}",
        trust_signer_kid(p->key), strstr(public, "\"x\": \"") + 6, NOW - 100, NOW + 100000);
    trust_keyset set = {.issuer = SKMS,
        .purpose = TRUST_FOR_MANIFESTS,
        .version = version,
        .issued_at = NOW,
        .expires_at = NOW + 3600,
        .jwks = jwks};
    snprintf(set.service, sizeof set.service, "%s", service);
    if (trust_keyset_sign(p->root, &set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

static trust_pins_code answered(
    const pinned *p, const char *text, const trust_pins_asked *asked, rpc_status *reterr)
{
    trust_pins_change change;
    return trust_pins_update(p->folder, rpc_bytes_str(text), asked, NOW, &change, reterr);
}

static size_t sets_of(const pinned *p)
{
    RPC_CLEANUP(roots_freep) trust_pins_roots *roots = NULL;
    rpc_status why;
    if (trust_pins_list(p->folder, &roots, &why) != TRUST_PINS_OK)
        fail_msg("%s", why.message);
    return roots->items[0].set_count;
}

/* ---- what was asked for ------------------------------------------------------------------------
 */

static const trust_pins_asked asked = {
    .issuer = SKMS, .service = DACM, .purpose = TRUST_FOR_MANIFESTS};

static void refused(const pinned *p, const char *text, const trust_pins_asked *of, const char *why)
{
    rpc_status status = {.code = RPC_OK};
    assert_int_equal(answered(p, text, of, &status), TRUST_PINS_REFUSED);
    assert_int_equal(status.code, RPC_PERMISSION_DENIED);
    if (!strstr(status.message, why))
        fail_msg("%s", status.message);
    assert_int_equal(sets_of(p), 0);
}

TEST(pins_answer_is_the_set_that_was_asked_for)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    bool expired = true;
    rpc_status why;
    assert_int_equal(answered(&p, set, &asked, &why), TRUST_PINS_OK);
    assert_int_equal(
        trust_pins_keys(p.folder, DACM, TRUST_FOR_MANIFESTS, false, NOW, &ring, &expired, &why),
        TRUST_PINS_OK);
    assert_false(expired);
    assert_int_equal(trust_keyring_count(ring), 1);
}

TEST(pins_set_of_another_service_or_purpose_is_no_answer_and_nothing_is_kept)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    const trust_pins_asked tokens = {SKMS, DACM, TRUST_FOR_TOKENS};
    RPC_AUTOFREE char *other = set_of(&p, SIMS, 1);
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    refused(&p, other, &asked, "was answered");
    refused(&p, set, &tokens, "was answered");
}

TEST(pins_set_of_another_skms_is_no_answer_though_its_root_is_pinned)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    RPC_CLEANUP(signer_freep) trust_signer *root = new_signer(TRUST_FOR_KEY_SETS);
    const trust_pin more = {.issuer = "https://other.example"};
    const trust_pins_asked of = {"https://other.example", DACM, TRUST_FOR_MANIFESTS};
    assert_int_equal(pin(&p, root, &more), TRUST_PINS_OK);
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    refused(&p, set, &of, "'https://other.example' was asked");
}

TEST(pins_answer_has_one_set_and_not_two_or_none)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    RPC_CLEANUP(signer_freep) trust_signer *next = new_signer(TRUST_FOR_KEY_SETS);
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(next);
    RPC_AUTOFREE char *statement = NULL;
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    char twice[8192];
    rpc_status why;
    snprintf(twice, sizeof twice, "%s %s", set, set);
    refused(&p, twice, &asked, "two were answered");
    if (trust_root_sign(p.root, SKMS, 1, jwks, NOW, &statement, &why) != RPC_OK)
        fail_msg("%s", why.message);
    refused(&p, statement, &asked, "not the key set");
}

/* ---- where, and who
 * ------------------------------------------------------------------------------
 */

TEST(pins_address_is_kept_and_stays_where_the_next_pin_says_none)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    const trust_pin with = {.issuer = SKMS, .address = "tls+tcp://skms.example:7643"};
    assert_int_equal(pin(&p, p.root, &with), TRUST_PINS_OK);
    assert_int_equal(pin(&p, p.root, &(trust_pin){.issuer = SKMS}), TRUST_PINS_OK);
    RPC_CLEANUP(roots_freep) trust_pins_roots *roots = NULL;
    assert_int_equal(trust_pins_list(p.folder, &roots, NULL), TRUST_PINS_OK);
    assert_string_equal(roots->items[0].address, "tls+tcp://skms.example:7643");
    static const char *const bad[] = {"", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const trust_pin wrong = {.issuer = SKMS, .address = bad[i]};
        assert_int_equal(pin(&p, p.root, &wrong), TRUST_PINS_INVALID);
    }
}

TEST(pins_speaker_of_a_service_is_named_at_the_pin_or_has_its_set_or_is_the_only_one)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    RPC_CLEANUP(signer_freep) trust_signer *second = new_signer(TRUST_FOR_KEY_SETS);
    RPC_CLEANUP(signer_freep) trust_signer *third = new_signer(TRUST_FOR_KEY_SETS);
    static const char *const services[] = {SIMS};
    const trust_pin named = {.issuer = "https://second", .services = services, .service_count = 1};
    RPC_CLEANUP(roots_freep) trust_pins_roots *one = NULL;
    RPC_CLEANUP(roots_freep) trust_pins_roots *many = NULL;
    RPC_CLEANUP(roots_freep) trust_pins_roots *known = NULL;
    assert_int_equal(pin(&p, second, &named), TRUST_PINS_OK);
    assert_int_equal(trust_pins_list(p.folder, &one, NULL), TRUST_PINS_OK);
    assert_string_equal(trust_pins_speaker(one, SIMS)->issuer, "https://second");
    assert_string_equal(trust_pins_speaker(one, DACM)->issuer, SKMS);
    assert_int_equal(pin(&p, third, &(trust_pin){.issuer = "https://third"}), TRUST_PINS_OK);
    assert_int_equal(trust_pins_list(p.folder, &many, NULL), TRUST_PINS_OK);
    assert_null(trust_pins_speaker(many, DACM));
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    assert_int_equal(answered(&p, set, &asked, NULL), TRUST_PINS_OK);
    assert_int_equal(trust_pins_list(p.folder, &known, NULL), TRUST_PINS_OK);
    assert_string_equal(trust_pins_speaker(known, DACM)->issuer, SKMS);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

TEST(pins_folder_that_is_not_named_or_no_folder_is_refused)
{
    trust_pins_roots *roots = NULL;
    rpc_status why;
    char file[600];
    assert_int_equal(trust_pins_list("", &roots, &why), TRUST_PINS_INVALID);
    assert_int_equal(trust_pins_list(NULL, &roots, &why), TRUST_PINS_INVALID);
    snprintf(file, sizeof file, "%s/file", test_tmpdir());
    FILE *made = fopen(file, "w");
    fclose(made);
    assert_int_equal(trust_pins_remove(file, SKMS, &why), TRUST_PINS_FILE);
    assert_int_equal(why.code, RPC_UNAVAILABLE);
    assert_int_equal(trust_pins_list(file, &roots, &why), TRUST_PINS_FILE);
}

TEST(pins_file_that_cannot_be_replaced_stays_as_it_was_and_nothing_is_left_beside)
{
    RPC_CLEANUP(pinned_done) pinned p;
    start(&p);
    char beside[600];
    rpc_status why;
    snprintf(beside, sizeof beside, "%s/trust.json.new", p.folder);
    assert_int_equal(mkdir(beside, 0700), 0);
    RPC_AUTOFREE char *set = set_of(&p, DACM, 1);
    assert_int_equal(answered(&p, set, NULL, &why), TRUST_PINS_FILE);
    assert_int_equal(sets_of(&p), 0);
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(answered(&p, set, NULL, &why), TRUST_PINS_OK);
    assert_int_equal(sets_of(&p), 1);
    assert_int_not_equal(access(beside, F_OK), 0);
}
