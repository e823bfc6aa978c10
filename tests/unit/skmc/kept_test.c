/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed and kept, and what of it nobody else may see or change. */
#include "alone.h"

#include <sys/stat.h>
#include <unistd.h>

static void refused(alone *a, const char *jws, const char *word)
{
    bool newer = false;
    rpc_status status = {.message = "it was taken"};
    const uint64_t before = a->client->own->version;
    assert_int_not_equal(alone_say(a, a->client->own, jws, &newer, &status), RPC_OK);
    if (!strstr(status.message, word))
        fail_msg("'%s' does not say '%s'", status.message, word);
    assert_false(newer);
    assert_int_equal(a->client->own->version, before);
}

TEST(older_set_is_refused_also_after_a_restart)
{
    alone a;
    alone_start(&a);
    char *old = alone_set(&a, ALONE_SERVICE, 1);
    alone_take(&a, 2);
    refused(&a, old, "is an old one");
    alone_close(&a);
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    refused(&a, old, "is an old one");
    free(old);
    alone_done(&a);
}

TEST(set_of_another_service_root_or_history_is_refused)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 2);
    char *other = alone_set(&a, "https://other.example/", 3);
    refused(&a, other, "other.example");
    free(other);
    a.keys[0].until += 1;
    char *fork = alone_set(&a, ALONE_SERVICE, 2);
    refused(&a, fork, "two histories");
    free(fork);
    trust_signer *root = a.root;
    assert_int_equal(trust_signer_generate(TRUST_FOR_KEY_SETS, &a.root, NULL), RPC_OK);
    char *foreign = alone_set(&a, ALONE_SERVICE, 3);
    refused(&a, foreign, "root");
    free(foreign);
    trust_signer_free(a.root);
    a.root = root;
    refused(&a, "", "");
    refused(&a, "x.y.z", "");
    alone_done(&a);
}

TEST(set_that_expired_on_its_way_is_refused)
{
    alone a;
    alone_start(&a);
    char *jws = alone_set(&a, ALONE_SERVICE, 1);
    a.wall_s += 3600 + TRUST_SKEW_S + 1;
    refused(&a, jws, "expired");
    free(jws);
    alone_done(&a);
}

/* A disk that is full keeps no revocation from working. */
TEST(set_that_cannot_be_written_counts_and_is_written_later)
{
    alone a;
    char blocked[700];
    alone_start(&a);
    alone_take(&a, 1);
    snprintf(blocked, sizeof blocked, "%s/trust.json.new", a.kept);
    assert_int_equal(mkdir(blocked, 0700), 0); /* where it would be written */
    char *old = alone_set(&a, ALONE_SERVICE, 2);
    a.keys[0].state = "compromised";
    alone_take(&a, 3);
    assert_int_equal(a.client->own->version, 3);
    assert_true(a.client->unsaved_told);
    skmc_keys *keys = skmc_keys_now(a.client);
    assert_false(skmc_keys_serves(keys, trust_signer_kid(a.keys[0].signer)));
    skmc_keys_unref(keys);
    assert_int_equal(rmdir(blocked), 0);
    refused(&a, old, "");
    skmc__save(a.client);
    assert_false(a.client->unsaved_told);
    alone_close(&a);
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    assert_int_equal(a.client->own->version, 3);
    free(old);
    alone_done(&a);
}

/* Where trust.json would be written. */
static void fill_disk(const alone *a, bool full)
{
    char path[700];
    snprintf(path, sizeof path, "%s/trust.json.new", a->kept);
    assert_int_equal(full ? mkdir(path, 0700) : rmdir(path), 0);
}

/* As after a restart: the highest version, and what it says of the first key. */
static void kept_is(alone *a, uint64_t version, bool first_serves)
{
    skmc__save(a->client);
    assert_false(a->client->unsaved_told);
    alone_close(a);
    assert_int_equal(alone_open(a, ALONE_SERVICE, NULL), RPC_OK);
    assert_int_equal(a->client->own->version, version);
    skmc_keys *keys = skmc_keys_now(a->client);
    assert_int_equal(skmc_keys_serves(keys, a->keys[0].kid), first_serves);
    skmc_keys_unref(keys);
}

/* Who brings it has the root: else a key that was just revoked would be good again. */
TEST(second_set_of_a_version_that_could_not_be_written_is_refused)
{
    alone a;
    bool newer = true;
    rpc_status status;
    alone_start(&a);
    alone_take(&a, 1);
    char *other = alone_set(&a, ALONE_SERVICE, 2);
    fill_disk(&a, true);
    a.keys[0].state = "compromised";
    alone_take(&a, 2);
    char *same = alone_set(&a, ALONE_SERVICE, 2);
    refused(&a, other, "two histories");
    assert_int_equal(alone_say(&a, a.client->own, same, &newer, &status), RPC_OK);
    assert_false(newer);
    alone_take(&a, 3);
    fill_disk(&a, false);
    refused(&a, other, "old one");
    kept_is(&a, 3, false);
    free(other);
    free(same);
    alone_done(&a);
}

TEST(second_follower_of_a_root_whose_first_could_not_be_written_is_refused)
{
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    fill_disk(&a, true);
    trust_signer *first = alone_replace_root(&a), *second = a.root;
    char *statement = a.statement;
    alone_take(&a, 2);
    a.root = first; /* a thief of it */
    a.statement = NULL;
    alone_replace_root(&a);
    char *forged = alone_set(&a, ALONE_SERVICE, 3);
    refused(&a, forged, "two statements");
    fill_disk(&a, false);
    refused(&a, forged, "two statements");
    trust_signer_free(a.root);
    free(a.statement);
    a.root = second;
    a.statement = statement;
    kept_is(&a, 2, true);
    alone_take(&a, 3);
    trust_signer_free(first);
    free(forged);
    alone_done(&a);
}

/* Somebody restores an old copy of it while the server runs. */
TEST(set_that_was_seen_is_not_forgotten_with_the_file)
{
    alone a;
    char path[700], copy[700], again[700];
    alone_start(&a);
    alone_take(&a, 1);
    snprintf(path, sizeof path, "%s/trust.json", a.kept);
    snprintf(copy, sizeof copy, "%s/copy", a.folder);
    snprintf(again, sizeof again, "%s/again", a.folder);
    assert_int_equal(link(path, copy), 0); /* it is replaced, not written over */
    char *other = alone_set(&a, ALONE_SERVICE, 2);
    a.keys[0].state = "compromised";
    alone_take(&a, 2);
    assert_int_equal(link(copy, again), 0);
    assert_int_equal(rename(again, path), 0);
    refused(&a, other, "two histories");
    free(other);
    alone_done(&a);
}

typedef struct told {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned count;
} told;

static void count_change(void *ctx, const char *val_service)
{
    told *t = ctx;
    (void)val_service;
    pthread_mutex_lock(&t->lock);
    t->count++;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
}

TEST(watched_set_verifies_until_it_expires_and_then_nobody)
{
    alone a;
    told t = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    bool newer = false;
    alone_start(&a);
    alone_close(&a);
    assert_int_equal(alone_open(&a, NULL, NULL), RPC_OK);
    assert_int_equal(skmc_watch(a.client, ALONE_SERVICE, TRUST_FOR_MANIFESTS, NULL), RPC_OK);
    assert_true(skmc_watches(a.client, ALONE_SERVICE));
    char *jws = alone_set(&a, ALONE_SERVICE, 1);
    assert_int_equal(alone_say(&a, a.client->watches, jws, &newer, NULL), RPC_OK);
    free(jws);
    skmc__publish_kept(a.client);
    trust_keyring *ring = skmc_ring(a.client, ALONE_SERVICE);
    assert_non_null(ring);
    trust_keyring_unref(ring);
    assert_null(skmc_ring(a.client, "https://other.example/"));
    a.wall_s += 3600 + TRUST_SKEW_S + 1;
    a.client->options.changed = count_change;
    a.client->options.ctx = &t;
    assert_int_equal(skmc_start(a.client, NULL), RPC_OK);
    pthread_mutex_lock(&t.lock);
    while (t.count < 2) /* what was kept, and its end */
        pthread_cond_wait(&t.moved, &t.lock);
    pthread_mutex_unlock(&t.lock);
    assert_null(skmc_ring(a.client, ALONE_SERVICE));
    alone_done(&a);
}

/* ---- the folder -------------------------------------------------------------------------------
 */

static void does_not_open(alone *a, const char *service, const char *word)
{
    rpc_status status = {.message = ""};
    assert_int_equal(alone_open(a, service, &status), RPC_FAILED_PRECONDITION);
    if (!strstr(status.message, word))
        fail_msg("'%s' does not say '%s'", status.message, word);
}

TEST(folder_of_others_of_another_server_or_service_is_not_used)
{
    alone a;
    alone_start(&a);
    skmc *first = a.client;
    host_metrics *metrics = a.metrics;
    a.metrics = NULL;
    does_not_open(&a, ALONE_SERVICE, "in use");
    skmc_close(first);
    host_metrics_free(metrics);
    assert_int_equal(chmod(a.kept, 0750), 0);
    does_not_open(&a, ALONE_SERVICE, "0700");
    assert_int_equal(chmod(a.kept, 0700), 0);
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    json_object_set_new(a.client->kept, "val_service", json_string(ALONE_SERVICE));
    a.client->unsaved = true;
    skmc__save(a.client);
    alone_close(&a);
    does_not_open(&a, "https://other.example/", "of VAL service");
    alone_done(&a);
}

TEST(damaged_files_are_named_and_not_written_over)
{
    static const char *const names[] = {"kept.json", "trust.json", "sealing.key"};
    alone a;
    alone_start(&a);
    alone_take(&a, 1);
    alone_give(&a, 0, trust_signer_kid(a.keys[0].signer));
    alone_close(&a);
    for (size_t i = 0; i < 3; i++) {
        char path[700], moved[720];
        snprintf(path, sizeof path, "%s/%s", a.kept, names[i]);
        snprintf(moved, sizeof moved, "%s.moved", path);
        assert_int_equal(rename(path, moved), 0);
        FILE *file = fopen(path, "w");
        assert_true(fputs("{\"format\": 1, \"sealed\": 7}", file) >= 0);
        fclose(file);
        assert_int_equal(chmod(path, 0600), 0);
        does_not_open(&a, ALONE_SERVICE, i == 2 ? "sealing key" : names[i]);
        assert_int_equal(rename(moved, path), 0);
    }
    assert_int_equal(alone_open(&a, ALONE_SERVICE, NULL), RPC_OK);
    assert_non_null(alone_signer(&a, ALONE_NOW));
    alone_done(&a);
}

/* ---- what is sealed ---------------------------------------------------------------------------
 */

static rpc_code unsealed(alone *a, const char *jwk, const uint8_t *to, size_t cut)
{
    uint8_t sealed[8192], *seed = NULL;
    const size_t size = strlen(jwk);
    rpc_status status;
    assert_true(size + crypto_box_SEALBYTES <= sizeof sealed);
    crypto_box_seal(sealed, (const uint8_t *)jwk, size, to);
    const rpc_code code = skmc__unseal(&a->client->sealing,
        rpc_bytes_of(sealed, size + crypto_box_SEALBYTES - cut), &seed, &status);
    assert_int_equal(code == RPC_OK, seed != NULL);
    sodium_free(seed);
    return code;
}

TEST(only_a_private_jwk_that_is_sealed_to_us_is_opened)
{
    static const char *const bad[] = {"{}", "{\"d\":\"\"}", "{\"d\":7}", "{\"d\"", "{\"d\":\"",
        "{\"x\":\"d\",\"kid\":\"d\"}", "{\"kid\":\"\\\"d\\\":\\\"AAAA\"}",
        "{\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}"};
    static const char good[] =
        "{\"kty\":\"OKP\",\"kid\":\"d\",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    alone a;
    uint8_t other[32], secret[32];
    alone_start(&a);
    const uint8_t *own = a.client->sealing.public_key;
    crypto_box_keypair(other, secret);
    assert_int_equal(unsealed(&a, good, own, 0), RPC_OK);
    assert_int_equal(unsealed(&a, good, other, 0), RPC_INVALID_ARGUMENT);
    for (size_t cut = 1; cut < sizeof good; cut++)
        assert_int_equal(unsealed(&a, good, own, cut), RPC_INVALID_ARGUMENT);
    assert_int_equal(
        unsealed(&a, good, own, sizeof good - 1 + crypto_box_SEALBYTES), RPC_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (unsealed(&a, bad[i], own, 0) != RPC_INVALID_ARGUMENT)
            fail_msg("%s", bad[i]);
    char large[5000];
    memset(large, ' ', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(unsealed(&a, large, own, 0), RPC_INVALID_ARGUMENT);
    alone_done(&a);
}
