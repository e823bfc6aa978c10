/* SPDX-License-Identifier: Apache-2.0 */
/* What is sealed opens with the right secret, for the right identity, and not when a bit differs.
 */
#include "seal.h"
#include "test.h"

#define SECRET "correct horse battery staple"

static skm_vault_lock lock_of(const char *secret, skm_vault **ret)
{
    skm_vault_lock lock = {.passes = 1, .memory_bytes = 8192};
    rpc_status status = {0};
    if (skm_vault_make(rpc_bytes_str(secret), &lock, ret, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return lock;
}

TEST(sealed_bytes_open_under_the_same_identity_only)
{
    skm_vault *vault = NULL;
    uint8_t sealed[5 + SKM_SEAL_BYTES], open[5];
    lock_of(SECRET, &vault);
    skm_seal(vault, "key of a", rpc_bytes_str("bytes"), sealed);
    assert_true(skm_unseal(vault, "key of a", rpc_bytes_of(sealed, sizeof sealed), open));
    assert_memory_equal(open, "bytes", 5);
    assert_false(skm_unseal(vault, "key of b", rpc_bytes_of(sealed, sizeof sealed), open));
    assert_false(skm_unseal(vault, "", rpc_bytes_of(sealed, sizeof sealed), open));
    skm_vault_close(vault);
}

TEST(every_changed_bit_and_every_cut_is_noticed)
{
    skm_vault *vault = NULL;
    uint8_t sealed[5 + SKM_SEAL_BYTES], open[5];
    lock_of(SECRET, &vault);
    skm_seal(vault, "key", rpc_bytes_str("bytes"), sealed);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(skm_unseal(vault, "key", rpc_bytes_of(sealed, sizeof sealed), open));
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < sizeof sealed; size++)
        assert_false(skm_unseal(vault, "key", rpc_bytes_of(sealed, size), open));
    skm_vault_close(vault);
}

TEST(vault_opens_with_its_secret_and_says_when_it_is_another)
{
    skm_vault *made = NULL, *opened = NULL;
    rpc_status status = {0};
    uint8_t sealed[5 + SKM_SEAL_BYTES], open[5];
    const skm_vault_lock lock = lock_of(SECRET, &made);
    skm_seal(made, "key", rpc_bytes_str("bytes"), sealed);
    assert_int_equal(
        skm_vault_open(rpc_bytes_str("another secret of that"), &lock, &opened, &status),
        RPC_FAILED_PRECONDITION);
    assert_null(opened);
    assert_int_equal(skm_vault_open(rpc_bytes_str(SECRET), &lock, &opened, &status), RPC_OK);
    assert_true(skm_unseal(opened, "key", rpc_bytes_of(sealed, sizeof sealed), open));
    skm_vault_close(opened);
    for (size_t i = 0; i < sizeof lock.sealed_key; i++) {
        skm_vault_lock broken = lock;
        broken.sealed_key[i] ^= 1;
        assert_int_equal(skm_vault_open(rpc_bytes_str(SECRET), &broken, &opened, &status),
            RPC_FAILED_PRECONDITION);
    }
    skm_vault_close(made);
}

TEST(two_vaults_of_one_secret_have_nothing_in_common)
{
    skm_vault *one = NULL, *other = NULL;
    uint8_t sealed[5 + SKM_SEAL_BYTES], again[5 + SKM_SEAL_BYTES], open[5];
    lock_of(SECRET, &one);
    lock_of(SECRET, &other);
    skm_seal(one, "key", rpc_bytes_str("bytes"), sealed);
    skm_seal(one, "key", rpc_bytes_str("bytes"), again);
    assert_memory_not_equal(sealed, again, sizeof sealed);
    assert_false(skm_unseal(other, "key", rpc_bytes_of(sealed, sizeof sealed), open));
    skm_vault_close(one);
    skm_vault_close(other);
}

TEST(secret_that_is_short_or_huge_is_refused)
{
    static char huge[SKM_SECRET_BYTES_MAX + 1];
    skm_vault_lock lock = {.passes = 1, .memory_bytes = 8192};
    skm_vault *vault = NULL;
    rpc_status status = {0};
    assert_int_equal(skm_vault_make(rpc_bytes_str("15 bytes, short"), &lock, &vault, &status),
        RPC_INVALID_ARGUMENT);
    assert_null(strstr(status.message, "15 bytes, short"));
    assert_int_equal(skm_vault_make(rpc_bytes_of(huge, sizeof huge), &lock, &vault, &status),
        RPC_INVALID_ARGUMENT);
    assert_null(vault);
}
