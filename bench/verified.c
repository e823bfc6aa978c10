/* SPDX-License-Identifier: Apache-2.0 */
/* Downloads by libdacm, one after another on one connection, every chunk verified.
 *
 *   verified TARGET CA KEYS ISSUER TOKEN-FILE ASSET USER COUNT */
#include "dacm.h"
#include "cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool count_bytes(void *ctx, uint64_t offset, rpc_bytes data)
{
    (void)offset;
    uint64_t *bytes = ctx;
    *bytes += data.size;
    return true;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "verified: %s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 9)
        return fail("usage", "TARGET CA KEYS ISSUER TOKEN-FILE ASSET USER COUNT");
    char token[32769] = "";
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(argv[5], "re");
    if (!file || !fgets(token, sizeof token, file))
        return fail(argv[5], "cannot be read");
    token[strcspn(token, "\r\n")] = '\0';
    const dacm_client_options options = {.target = argv[1],
        .ca_file = argv[2],
        .keys_file = argv[3],
        .issuer = argv[4],
        .token = token};
    dacm_client *client = NULL;
    dacm_error error = {0};
    if (dacm_client_new(&options, &client, &error) != DACM_OK)
        return fail("client", error.message);
    uint64_t bytes = 0;
    const dacm_download_options download = {
        .asset_id = argv[6], .user = argv[7], .sink = count_bytes, .sink_ctx = &bytes};
    const unsigned long count = strtoul(argv[8], NULL, 10);
    const int64_t begin = rpc_clock_monotonic_us(rpc_clock_system());
    dacm_code code = DACM_OK;
    for (unsigned long i = 0; i < count && code == DACM_OK; i++) {
        dacm_download_result result;
        code = dacm_download(client, &download, &result, &error);
    }
    const double seconds = (double)(rpc_clock_monotonic_us(rpc_clock_system()) - begin) / 1e6;
    dacm_client_free(client);
    if (code != DACM_OK)
        return fail("download", error.message);
    printf("{\"mb_per_s\": %.2f}\n", (double)bytes / seconds / 1e6);
    return 0;
}
