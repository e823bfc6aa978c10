/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include "test.h"

#include <sys/stat.h>

static const char *write_text(const char *text, mode_t mode)
{
    static char path[512];
    if (!path[0])
        snprintf(path, sizeof path, "%s/token.jwks", test_tmpdir());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static const char *write_keys(const trust_signer *signer, mode_t mode)
{
    char *jwks = trust_signer_private_jwks(signer);
    assert_non_null(jwks);
    const char *path = write_text(jwks, mode);
    free(jwks);
    return path;
}

/* The keys of some sets in one, the members given put into the JWK of each. */
static const char *write_both(const trust_signer *const *signers, const char *const *members)
{
    char text[32768] = "{\"keys\": [";
    for (size_t i = 0; i < 2; i++) {
        char *jwks = trust_signer_private_jwks(signers[i]);
        assert_non_null(jwks);
        char *from = strchr(strchr(jwks, '['), '{'), *to = strrchr(jwks, ']');
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s{%s%.*s", i ? ", " : "",
            members[i], (int)(to - from - 1), from + 1);
        free(jwks);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "]}");
    return write_text(text, 0600);
}

static trust_signer *new_signer(void)
{
    trust_signer *signer = NULL;
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &signer, NULL), RPC_OK);
    return signer;
}

TEST(public_set_has_no_private_member)
{
    trust_signer *signer = new_signer();
    sim_keys *keys = NULL;
    assert_int_equal(sim_keys_open(write_keys(signer, 0600), &keys, NULL), RPC_OK);
    const sim_key_set *set = sim_keys_now(keys);
    assert_string_equal(trust_signer_kid(set->eddsa), trust_signer_kid(signer));
    assert_true(trust_signer_in(signer, set->ring));
    assert_null(strstr(set->public_jwks, "\"d\""));
    sim_key_set_unref(set);
    sim_keys_close(keys);
    trust_signer_free(signer);
}

TEST(snapshot_outlives_a_reload)
{
    trust_signer *first = new_signer(), *second = new_signer();
    sim_keys *keys = NULL;
    assert_int_equal(sim_keys_open(write_keys(first, 0600), &keys, NULL), RPC_OK);
    const sim_key_set *before = sim_keys_now(keys);
    write_keys(second, 0600);
    assert_int_equal(sim_keys_reload(keys, NULL), RPC_OK);
    const sim_key_set *after = sim_keys_now(keys);
    assert_string_equal(trust_signer_kid(before->eddsa), trust_signer_kid(first));
    assert_string_equal(trust_signer_kid(after->eddsa), trust_signer_kid(second));
    sim_key_set_unref(before);
    sim_key_set_unref(after);
    sim_keys_close(keys);
    trust_signer_free(first);
    trust_signer_free(second);
}

TEST(keys_that_cannot_be_read_leave_those_of_before)
{
    trust_signer *signer = new_signer();
    sim_keys *keys = NULL;
    rpc_status status = {0};
    const char *path = write_keys(signer, 0600);
    assert_int_equal(sim_keys_open(path, &keys, NULL), RPC_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(sim_keys_reload(keys, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "keys.file"));
    const sim_key_set *set = sim_keys_now(keys);
    assert_string_equal(trust_signer_kid(set->eddsa), trust_signer_kid(signer));
    sim_key_set_unref(set);
    sim_keys_close(keys);
    trust_signer_free(signer);
}

TEST(file_that_others_can_read_is_refused)
{
    trust_signer *signer = new_signer();
    sim_keys *keys = NULL;
    rpc_status status = {0};
    assert_int_equal(
        sim_keys_open(write_keys(signer, 0644), &keys, &status), RPC_PERMISSION_DENIED);
    assert_non_null(strstr(status.message, "chmod 600"));
    trust_signer_free(signer);
}

TEST(manifest_keys_sign_no_tokens)
{
    trust_signer *signer = NULL;
    sim_keys *keys = NULL;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &signer, NULL), RPC_OK);
    assert_int_equal(sim_keys_open(write_keys(signer, 0600), &keys, NULL), RPC_INVALID_ARGUMENT);
    trust_signer_free(signer);
}

TEST(rs256_key_is_there_where_the_file_has_one)
{
    trust_signer *signers[] = {new_signer(), NULL};
    static const char *const members[] = {"", ""};
    sim_keys *keys = NULL;
    rpc_status status = {0};
    assert_int_equal(trust_signer_generate_rsa(2048, &signers[1], NULL), RPC_OK);
    if (sim_keys_open(write_both((const trust_signer *const *)signers, members), &keys, &status) !=
        RPC_OK)
        fail_msg("%s", status.message);
    const sim_key_set *set = sim_keys_now(keys);
    assert_string_equal(trust_signer_kid(set->eddsa), trust_signer_kid(signers[0]));
    assert_string_equal(trust_signer_kid(set->rs256), trust_signer_kid(signers[1]));
    assert_int_equal(trust_keyring_count(set->ring), 2);
    sim_key_set_unref(set);
    sim_keys_close(keys);
    trust_signer_free(signers[0]);
    trust_signer_free(signers[1]);
}

TEST(key_whose_window_has_not_begun_is_published_and_signs_nothing)
{
    trust_signer *signers[] = {new_signer(), new_signer()};
    static const char *const members[] = {"\"nbf\": 4000000000, ", ""};
    sim_keys *keys = NULL;
    rpc_status status = {0};
    if (sim_keys_open(write_both((const trust_signer *const *)signers, members), &keys, &status) !=
        RPC_OK)
        fail_msg("%s", status.message);
    const sim_key_set *set = sim_keys_now(keys);
    assert_string_equal(trust_signer_kid(set->eddsa), trust_signer_kid(signers[1]));
    assert_null(set->rs256);
    assert_non_null(strstr(set->public_jwks, trust_signer_kid(signers[0])));
    sim_key_set_unref(set);
    sim_keys_close(keys);
    trust_signer_free(signers[0]);
    trust_signer_free(signers[1]);
}

TEST(next_key_signs_from_the_begin_of_its_window_on_without_a_reload)
{
    trust_signer *signers[] = {new_signer(), new_signer()};
    char begins[64];
    const int64_t at = rpc_clock_wall_ms(rpc_clock_system()) / 1000 + 2;
    snprintf(begins, sizeof begins, "\"nbf\": %lld, ", (long long)at);
    const char *const members[] = {"", begins};
    sim_keys *keys = NULL;
    const sim_key_set *set = NULL;
    assert_int_equal(
        sim_keys_open(write_both((const trust_signer *const *)signers, members), &keys, NULL),
        RPC_OK);
    const sim_key_set *first = sim_keys_now(keys);
    do {
        sim_key_set_unref(set);
        set = sim_keys_now(keys);
    } while (rpc_clock_wall_ms(rpc_clock_system()) / 1000 <= at);
    assert_string_equal(trust_signer_kid(set->eddsa), trust_signer_kid(signers[1]));
    assert_non_null(first->eddsa); /* a snapshot stays as it was */
    sim_key_set_unref(set);
    sim_key_set_unref(first);
    sim_keys_close(keys);
    trust_signer_free(signers[0]);
    trust_signer_free(signers[1]);
}
