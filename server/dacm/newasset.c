/* SPDX-License-Identifier: Apache-2.0 */
#include "newasset.h"

#include <stdlib.h>
#include <string.h>

static dacm_grant *grants_new(const Dacm__V1__DigitalAssetProfile *profile, rpc_status *reterr)
{
    size_t count = profile->n_access_control_list;
    dacm_grant *grants = calloc(
        (count < DACM_USERS_PER_CALL_MAX ? count : DACM_USERS_PER_CALL_MAX) + 1, sizeof *grants);
    if (!grants) {
        rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "profile: no memory for its access control list");
        return NULL;
    }
    if (dacm_grants_of(profile->access_control_list, count, NULL, 0, grants, reterr) == RPC_OK)
        return grants;
    free(grants);
    return NULL;
}

rpc_code dacm_check_new_asset(
    const Dacm__V1__DigitalAssetProfile *profile, const char *user, rpc_status *reterr)
{
    rpc_status status = {0};
    rpc_code code = dacm_check_new_profile(profile, user, reterr);
    if (code != RPC_OK)
        return code;
    dacm_grant *grants = grants_new(profile, &status);
    if (!grants)
        return rpc_status_set(reterr, status.code, "%s", status.message);
    free(grants);
    return RPC_OK;
}

static void fill(Dacm__Records__Profile *record, const Dacm__V1__DigitalAssetProfile *profile,
    const uint8_t uid[STORE_UID_BYTES], int64_t now_s)
{
    record->uid = (ProtobufCBinaryData){STORE_UID_BYTES, (uint8_t *)(uintptr_t)uid};
    record->asset_type = DACM__V1__ASSET_TYPE__ASSET_TYPE_AVATAR;
    record->owners = profile->owners;
    record->n_owners = profile->n_owners;
    record->current_status = profile->current_status ==
                                     DACM__V1__ASSET_STATUS__ASSET_STATUS_UNSPECIFIED
                                 ? DACM__V1__ASSET_STATUS__ASSET_STATUS_IN_USE
                                 : (uint32_t)profile->current_status;
    record->spatial_conditions = profile->spatial_conditions;
    record->n_spatial_conditions = profile->n_spatial_conditions;
    record->created_at = now_s;
}

void dacm_new_asset(dacm_changes *changes, const Dacm__V1__DigitalAssetProfile *profile,
    const char *user, const uint8_t uid[STORE_UID_BYTES], int64_t now_s, char **owner,
    Dacm__Records__Profile *record)
{
    fill(record, profile, uid, now_s);
    if (record->n_owners == 0) {
        *owner = (char *)(uintptr_t)user;
        record->owners = owner;
        record->n_owners = 1;
    }
    dacm_grant *grants = grants_new(profile, NULL);
    changes->failed = changes->failed || !grants;
    for (size_t i = 0; grants && i < profile->n_access_control_list; i++) {
        if (dacm_profile_owned_by(record, grants[i].gpsi))
            continue; /* owners are allowed everything */
        dacm_put_grant(changes, &grants[i]);
        record->grant_count++;
        record->get_count += (grants[i].operations &
                                 dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET)) != 0;
    }
    free(grants);
}

void dacm_index_new_asset(dacm_service *service, const store_executor *executor,
    const char *asset_id, const Dacm__V1__DigitalAssetProfile *profile, const char *user,
    dacm_written_fn *fn, void *arg)
{
    rpc_status status = {0};
    dacm_grant *grants = grants_new(profile, &status);
    const char **users = calloc(
        1 + DACM_OWNERS_MAX + profile->n_access_control_list, sizeof *users);
    if (!grants || !users) {
        free(grants);
        free(users);
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "profile: no memory to index the asset");
        fn(arg, &status, 0);
        return;
    }
    size_t count = 0;
    users[count++] = user;
    for (size_t i = 0; i < profile->n_owners; i++)
        if (strcmp(profile->owners[i], user) != 0)
            users[count++] = profile->owners[i];
    for (size_t i = 0; i < profile->n_access_control_list; i++)
        if (grants[i].operations & dacm_operation_bit(DACM__V1__OPERATION__OPERATION_DISCOVERY))
            users[count++] = grants[i].gpsi;
    dacm_index_users(service->store, executor, asset_id, users, count,
        rpc_clock_wall_ms(service->clock) / 1000, fn, arg);
    free(users);
    free(grants);
}
