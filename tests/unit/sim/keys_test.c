/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include "test.h"

#include <sys/stat.h>

static const char *write_keys(const trust_signer *signer, mode_t mode)
{
    static char path[512];
    char *jwks = trust_signer_private_jwks(signer);
    assert_non_null(jwks);
    if (!path[0])
        snprintf(path, sizeof path, "%s/token.jwks", test_tmpdir());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(jwks, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    free(jwks);
    return path;
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
