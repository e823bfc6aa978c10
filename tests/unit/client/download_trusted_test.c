/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_download() by the key sets of a pinned root: a client that lives on learns new keys and
 * believes no revoked one. */
#include "download.h"

#include "cleanup.h"

#define SKMS "https://skms.example"

typedef struct trusted {
    fake_dacm f;
    char folder[600];
    dacm_trust trust;
    trust_signer *root;
    dacm_client *client;
} trusted;

static void start(trusted *t, dacm_verify verify)
{
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    rpc_status status;
    dacm_error error;
    fake_start(&t->f, lengths, CHUNKS);
    snprintf(t->folder, sizeof t->folder, "%s-trust", t->f.state_dir);
    t->trust = (dacm_trust){.folder = t->folder, .clock = &t->f.clock};
    assert_int_equal(trust_signer_generate(TRUST_FOR_KEY_SETS, &t->root, &status), RPC_OK);
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(t->root);
    assert_int_equal(trust_root_read(rpc_bytes_str(jwks), fingerprint, NULL, &status), RPC_OK);
    const dacm_trust_pin pin = {
        .root = rpc_bytes_str(jwks), .fingerprint = fingerprint, .issuer = SKMS};
    if (dacm_trust_add(&t->trust, &pin, &error) != DACM_OK)
        fail_msg("%s", error.message);
    dacm_client_options options = fake_client_options(&t->f);
    options.keys_file = NULL;
    options.trust_dir = t->folder;
    options.verify = verify;
    if (dacm_client_new(&options, &t->client, &error) != DACM_OK)
        fail_msg("%s", error.message);
}

static void stop(trusted *t)
{
    dacm_client_free(t->client);
    trust_signer_free(t->root);
    fake_stop(&t->f);
}

/* A set of the server's key alone. */
static void publish(trusted *t, uint64_t version, const char *state)
{
    const int64_t now = t->f.wall_ms / 1000;
    RPC_AUTOFREE char *public = trust_signer_public_jwks(t->f.signer);
    char jwks[1024];
    rpc_status status;
    dacm_error error;
    dacm_trust_change change;
    snprintf(jwks, sizeof jwks,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%.43s\","
        "\"dacm_purpose\":\"manifest\",\"dacm_state\":\"%s\",\"nbf\":%lld,\"exp\":%lld}]}",
        trust_signer_kid(t->f.signer), strstr(public, "\"x\": \"") + 6, state,
        (long long)now - 86400, (long long)now + 86400);
    const trust_keyset set = {.issuer = SKMS,
        .service = FAKE_ISSUER,
        .purpose = TRUST_FOR_MANIFESTS,
        .version = version,
        .issued_at = now,
        .expires_at = now + 3600,
        .jwks = jwks};
    RPC_AUTOFREE char *jws = NULL;
    if (trust_keyset_sign(t->root, &set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    if (dacm_trust_update(&t->trust, rpc_bytes_str(jws), &change, &error) != DACM_OK)
        fail_msg("%s", error.message);
}

static void downloads(trusted *t, bool signature_valid)
{
    seen s = seen_new(&t->f.object);
    const dacm_download_options options = to_sink(&s);
    dacm_download_result result;
    dacm_error error;
    if (dacm_download(t->client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.signature_valid, signature_valid);
    assert_int_equal(s.bytes, t->f.object.size);
    judge_seen(&s, true);
}

TEST(download_follows_the_key_set_as_it_changes_without_a_new_client)
{
    trusted t;
    start(&t, DACM_VERIFY_ALWAYS);
    refused_by(&t.f, t.client, 0, DACM_NO_KEY, "dacm trust update");
    publish(&t, 1, "pre-published");
    refused_by(&t.f, t.client, 0, DACM_BAD_SIGNATURE, "not in use yet");
    publish(&t, 2, "active");
    downloads(&t, true);
    publish(&t, 3, "verify-only");
    downloads(&t, true);
    publish(&t, 4, "compromised");
    refused_by(&t.f, t.client, 0, DACM_BAD_SIGNATURE, "compromised");
    stop(&t);
}

TEST(download_by_a_key_set_that_expired_is_refused_until_a_new_one_comes)
{
    trusted t;
    start(&t, DACM_VERIFY_IF_KEY);
    downloads(&t, false); /* if-key: there is none yet */
    publish(&t, 1, "active");
    downloads(&t, true);
    t.f.wall_ms += (3600 + TRUST_SKEW_S + 1) * 1000;
    refused_by(&t.f, t.client, 0, DACM_FAILED_PRECONDITION, "expired");
    publish(&t, 2, "active");
    downloads(&t, true);
    stop(&t);
}

/* All of the object comes; then something happens to its key. */
typedef struct ending {
    trusted *t;
    void (*happens)(trusted *t);
} ending;

static bool when_all_is_here(void *ctx, const dacm_progress *progress)
{
    const ending *e = ctx;
    if (progress->done == progress->total)
        e->happens(e->t);
    return true;
}

static void expires(trusted *t)
{
    t->f.wall_ms += (3600 + TRUST_SKEW_S + 1) * 1000;
}

static void is_lost(trusted *t)
{
    publish(t, 2, "compromised");
}

static void ends(trusted *t, void (*happens)(trusted *t), dacm_code code)
{
    ending e = {t, happens};
    dacm_download_options options = to_file(&t->f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    options.progress = when_all_is_here;
    options.progress_ctx = &e;
    assert_int_equal(dacm_download(t->client, &options, &result, &error), code);
}

/* The file would be one that `dacm verify` refuses in the same second; its bytes are as good as
 * before. */
TEST(download_whose_key_set_expired_at_its_end_goes_on_by_a_new_one_and_loads_nothing_twice)
{
    trusted t;
    start(&t, DACM_VERIFY_ALWAYS);
    publish(&t, 1, "active");
    ends(&t, expires, DACM_FAILED_PRECONDITION);
    assert_int_equal(files_in(t.f.dir), 2);      /* the part and its list */
    ends(&t, expires, DACM_FAILED_PRECONDITION); /* nothing new has come: it stays */
    assert_int_equal(files_in(t.f.dir), 2);
    publish(&t, 2, "active");
    dacm_download_options options = to_file(&t.f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    if (dacm_download(t.client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.received_bytes, 0);
    assert_int_equal(result.reused_bytes, t.f.object.size);
    whole(&t.f, &result);
    stop(&t);
}

TEST(download_whose_key_is_compromised_at_its_end_leaves_nothing_behind)
{
    trusted t;
    start(&t, DACM_VERIFY_ALWAYS);
    publish(&t, 1, "active");
    ends(&t, is_lost, DACM_BAD_SIGNATURE);
    assert_int_equal(files_in(t.f.dir), 0);
    stop(&t);
}

TEST(client_with_pinned_roots_needs_an_issuer_and_no_other_keys)
{
    trusted t;
    start(&t, DACM_VERIFY_ALWAYS);
    dacm_client_options options = fake_client_options(&t.f);
    dacm_client *client = NULL;
    dacm_error error;
    options.trust_dir = t.folder;
    assert_int_equal(dacm_client_new(&options, &client, &error), DACM_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "one of them"));
    options.keys_file = options.issuer = NULL;
    assert_int_equal(dacm_client_new(&options, &client, &error), DACM_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "issuer"));
    assert_null(client);
    stop(&t);
}
