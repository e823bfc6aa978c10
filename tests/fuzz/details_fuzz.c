/* SPDX-License-Identifier: Apache-2.0 */
/* sim_details_parse(): authorization_details of users (first byte even) and of VAL servers. */
#include "details.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sim_details details;
    sim_error error = {0};
    if (size == 0)
        return 0;
    bool with_users = data[0] & 1;
    if (!sim_details_parse(rpc_bytes_of(data + 1, size - 1), with_users, &details, &error)) {
        MUST(error.error && strcmp(error.error, SIM_INVALID_DETAILS) == 0);
        MUST(error.description && *error.description);
        return 0;
    }
    MUST(details.actions && details.actions < 32);
    MUST(!*details.asset_id || trust_asset_id_valid(rpc_bytes_str(details.asset_id)));
    MUST(with_users ? details.user_count >= 1 && details.user_count <= TRUST_USERS_MAX
                    : details.user_count == 0);
    for (size_t i = 0; i < details.user_count; i++) {
        MUST(trust_gpsi_valid(rpc_bytes_str(details.users[i].text)));
        MUST(i == 0 || strcmp(details.users[i - 1].text, details.users[i].text) < 0);
    }
    /* what was read is within itself */
    MUST(sim_details_narrow(details.asset_id, details.actions, &details, &error));
    return 0;
}
