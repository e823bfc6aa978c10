/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "trust.h"

dacm_code client__check_asset(const char *asset_id, dacm_error *reterr)
{
    if (!asset_id || !trust_asset_id_valid(rpc_bytes_str(asset_id)))
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "'%.100s' is no asset ID: 1 to 128 of A-Z a-z 0-9 . _ ~ -", asset_id ? asset_id : "");
    return DACM_OK;
}

dacm_code client__check_user(const char *user, bool *ret_external, dacm_error *reterr)
{
    trust_gpsi gpsi;
    rpc_status status = {.code = RPC_OK};
    if (!user)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "no user was named");
    if (trust_gpsi_parse(rpc_bytes_str(user), &gpsi, &status) != RPC_OK)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "'%.100s': %s", user, status.message);
    *ret_external = !trust_gpsi_valid(rpc_bytes_str(user));
    return DACM_OK;
}

dacm_code client__check_subject(
    const char *asset_id, const char *user, bool *ret_external, dacm_error *reterr)
{
    const dacm_code code = client__check_asset(asset_id, reterr);
    return code == DACM_OK ? client__check_user(user, ret_external, reterr) : code;
}
