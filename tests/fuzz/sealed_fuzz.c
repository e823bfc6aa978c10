/* SPDX-License-Identifier: Apache-2.0 */
/* skm_unseal(): of what a store may hold. An input whose first byte is even is taken for a sealed
 * record: none opens that this vault did not seal. Behind an odd one come bytes that are sealed
 * and opened again, and changed in one place. */
#include "fuzz.h"
#include "seal.h"

#define PLAIN_MAX 4096u

static skm_vault *vault;

static void start_once(void)
{
    skm_vault_lock lock = {.passes = 1, .memory_bytes = 8192};
    rpc_status status;
    if (!vault)
        MUST(skm_vault_make(rpc_bytes_str("a secret of the fuzzer's"), &lock, &vault, &status) ==
             RPC_OK);
}

static void check_foreign(rpc_bytes sealed)
{
    uint8_t plain[PLAIN_MAX + 1];
    if (sealed.size > PLAIN_MAX)
        return;
    MUST(!skm_unseal(vault, "key/a", sealed, plain));
}

static void check_own(rpc_bytes plain)
{
    static uint8_t sealed[PLAIN_MAX + SKM_SEAL_BYTES], opened[PLAIN_MAX + 1];
    if (plain.size > PLAIN_MAX)
        return;
    const size_t size = plain.size + SKM_SEAL_BYTES;
    skm_seal(vault, "key/a", plain, sealed);
    MUST(skm_unseal(vault, "key/a", rpc_bytes_of(sealed, size), opened));
    MUST(plain.size == 0 || memcmp(opened, plain.data, plain.size) == 0);
    MUST(!skm_unseal(vault, "key/b", rpc_bytes_of(sealed, size), opened));
    MUST(!skm_unseal(vault, "key/a", rpc_bytes_of(sealed, size - 1), opened));
    const size_t at = plain.size ? plain.data[0] % size : 0;
    sealed[at] ^= 1;
    MUST(!skm_unseal(vault, "key/a", rpc_bytes_of(sealed, size), opened));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    start_once();
    const rpc_bytes rest = rpc_bytes_of(data + 1, size - 1);
    if (data[0] & 1)
        check_own(rest);
    else
        check_foreign(rest);
    return 0;
}
