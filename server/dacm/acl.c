/* SPDX-License-Identifier: Apache-2.0 */
#include "acl.h"

#include "trust.h"

#include <stdlib.h>
#include <string.h>

rpc_code dacm_operations_of(const Dacm__V1__AccessControlEntry *entry, const char *field,
    size_t index, uint32_t *ret, rpc_status *reterr)
{
    uint32_t operations = 0;
    for (size_t i = 0; i < entry->n_allowed_operations; i++) {
        int operation = entry->allowed_operations[i];
        if (operation < DACM__V1__OPERATION__OPERATION_DISCOVERY ||
            operation > DACM__V1__OPERATION__OPERATION_DELETE)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "%s[%zu].allowed_operations: %d is none of DISCOVERY, GET, UPDATE, DELETE", field,
                index, operation);
        operations |= dacm_operation_bit((unsigned)operation);
    }
    *ret = operations ? operations : dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET);
    return RPC_OK;
}

rpc_code dacm_check_gpsi(const char *gpsi, const char *field, size_t index, rpc_status *reterr)
{
    if (trust_gpsi_valid(rpc_bytes_str(gpsi)))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "%s[%zu]: not a GPSI; write msisdn- and 5 to 15 digits, or extid-local@domain with the "
        "domain in lower case",
        field, index);
}

static int compare_grants(const void *a, const void *b)
{
    return strcmp(((const dacm_grant *)a)->gpsi, ((const dacm_grant *)b)->gpsi);
}

static rpc_code check_unique(dacm_grant *grants, size_t count, rpc_status *reterr)
{
    qsort(grants, count, sizeof *grants, compare_grants);
    for (size_t i = 1; i < count; i++)
        if (strcmp(grants[i - 1].gpsi, grants[i].gpsi) == 0)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "access control list: one user is named twice; name each once");
    return RPC_OK;
}

rpc_code dacm_grants_of(Dacm__V1__AccessControlEntry *const *allow, size_t n_allow,
    char *const *deny, size_t n_deny, dacm_grant *grants, rpc_status *reterr)
{
    if (n_allow > DACM_USERS_PER_CALL_MAX || n_deny > DACM_USERS_PER_CALL_MAX - n_allow)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "access control list: more than %u users in one call; use several",
            DACM_USERS_PER_CALL_MAX);
    rpc_code code = RPC_OK;
    for (size_t i = 0; i < n_allow && code == RPC_OK; i++) {
        grants[i].gpsi = allow[i]->allowed_user;
        code = dacm_check_gpsi(grants[i].gpsi, "allowed_user", i, reterr);
        if (code == RPC_OK)
            code = dacm_operations_of(
                allow[i], "access_control_list", i, &grants[i].operations, reterr);
    }
    for (size_t i = 0; i < n_deny && code == RPC_OK; i++) {
        grants[n_allow + i] = (dacm_grant){deny[i], 0};
        code = dacm_check_gpsi(deny[i], "deny", i, reterr);
    }
    if (code != RPC_OK || n_allow + n_deny == 0)
        return code;
    return check_unique(grants, n_allow + n_deny, reterr);
}

rpc_code dacm_check_spatial(char *const *values, size_t count, rpc_status *reterr)
{
    if (count > DACM_SPATIAL_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "spatial_conditions: %zu entries; at most %u", count, DACM_SPATIAL_MAX);
    for (size_t i = 0; i < count; i++)
        if (strlen(values[i]) > DACM_SPATIAL_BYTES_MAX)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "spatial_conditions[%zu]: longer than %u bytes", i, DACM_SPATIAL_BYTES_MAX);
    return RPC_OK;
}

static rpc_code check_owners(
    const Dacm__V1__DigitalAssetProfile *profile, const char *user, rpc_status *reterr)
{
    bool named = profile->n_owners == 0;
    if (profile->n_owners > DACM_OWNERS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "owners: %zu entries; at most %u",
            profile->n_owners, DACM_OWNERS_MAX);
    for (size_t i = 0; i < profile->n_owners; i++) {
        rpc_code code = dacm_check_gpsi(profile->owners[i], "owners", i, reterr);
        if (code != RPC_OK)
            return code;
        for (size_t j = 0; j < i; j++)
            if (strcmp(profile->owners[i], profile->owners[j]) == 0)
                return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "owners[%zu]: named twice; name each owner once", i);
        named = named || strcmp(profile->owners[i], user) == 0;
    }
    if (!named)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "owners: whoever creates an asset is one of its owners; add the user of the request, "
            "or name nobody");
    return RPC_OK;
}

rpc_code dacm_check_new_profile(
    const Dacm__V1__DigitalAssetProfile *profile, const char *user, rpc_status *reterr)
{
    if (profile->asset_id[0] != '\0')
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "profile.asset_id: the server assigns it; leave it empty");
    if (profile->media)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "profile.media: describes what was uploaded; leave it out");
    if (profile->asset_type != DACM__V1__ASSET_TYPE__ASSET_TYPE_AVATAR &&
        profile->asset_type != DACM__V1__ASSET_TYPE__ASSET_TYPE_UNSPECIFIED)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "profile.asset_type: %d is not known; this release has AVATAR", profile->asset_type);
    if (profile->current_status > DACM__V1__ASSET_STATUS__ASSET_STATUS_NOT_IN_USE ||
        profile->current_status < DACM__V1__ASSET_STATUS__ASSET_STATUS_UNSPECIFIED)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "profile.current_status: %d is neither IN_USE nor NOT_IN_USE", profile->current_status);
    rpc_code code = check_owners(profile, user, reterr);
    return code != RPC_OK ? code
                          : dacm_check_spatial(
                                profile->spatial_conditions, profile->n_spatial_conditions, reterr);
}

static Dacm__V1__Media *media_shown(const Dacm__Records__Profile *profile, rpc_arena *arena)
{
    Dacm__V1__Media *media = rpc_arena_alloc(arena, sizeof *media);
    if (!media)
        return NULL;
    dacm__v1__media__init(media);
    media->version = profile->version;
    media->media_type = profile->media_type;
    media->size = profile->size;
    media->sha256 = profile->sha256;
    media->created_at = profile->media_created_at;
    return media;
}

Dacm__V1__DigitalAssetProfile *dacm_profile_shown(const char *asset_id,
    const Dacm__Records__Profile *profile, uint64_t generation, rpc_arena *arena)
{
    Dacm__V1__DigitalAssetProfile *shown = rpc_arena_alloc(arena, sizeof *shown);
    char *id = rpc_arena_strndup(arena, asset_id, strlen(asset_id));
    if (!shown || !id)
        return NULL;
    dacm__v1__digital_asset_profile__init(shown);
    shown->asset_id = id;
    shown->asset_type = (Dacm__V1__AssetType)profile->asset_type;
    shown->owners = profile->owners;
    shown->n_owners = profile->n_owners;
    shown->current_status = (Dacm__V1__AssetStatus)profile->current_status;
    shown->spatial_conditions = profile->spatial_conditions;
    shown->n_spatial_conditions = profile->n_spatial_conditions;
    shown->generation = generation;
    if (profile->version != 0) {
        shown->media = media_shown(profile, arena);
        if (!shown->media)
            return NULL;
    }
    return shown;
}

Dacm__V1__AccessControlEntry *dacm_entry_shown(
    const char *gpsi, uint32_t operations, rpc_arena *arena)
{
    Dacm__V1__AccessControlEntry *entry = rpc_arena_alloc(arena, sizeof *entry);
    char *user = rpc_arena_strndup(arena, gpsi, strlen(gpsi));
    Dacm__V1__Operation *list = rpc_arena_alloc(arena, 4 * sizeof *list);
    if (!entry || !user || !list)
        return NULL;
    dacm__v1__access_control_entry__init(entry);
    entry->allowed_user = user;
    entry->allowed_operations = list;
    for (unsigned operation = 1; operation <= 4; operation++)
        if (operations & dacm_operation_bit(operation))
            list[entry->n_allowed_operations++] = (Dacm__V1__Operation)operation;
    return entry;
}
