/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials of client_secret_basic: the header as it stands (first byte even), or what its
 * base64 holds. */
#include "client_auth.h"
#include "fuzz.h"

#include <sodium.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char id[SIM_CLIENT_ID_MAX + 1], secret[SIM_SECRET_MAX + 1], header[8192] = "Basic ";
    if (size == 0 || size > 4096)
        return 0;
    if (data[0] & 1) {
        sodium_bin2base64(
            header + 6, sizeof header - 6, data + 1, size - 1, sodium_base64_VARIANT_ORIGINAL);
    } else {
        memcpy(header, data + 1, size - 1);
        header[size - 1] = '\0';
    }
    if (sim_basic_read(header, id, secret)) {
        MUST(*id && strlen(id) <= SIM_CLIENT_ID_MAX);
        MUST(*secret && strlen(secret) <= SIM_SECRET_MAX);
        MUST(rpc_utf8_valid(rpc_bytes_str(id)) && rpc_utf8_valid(rpc_bytes_str(secret)));
    }
    return 0;
}
