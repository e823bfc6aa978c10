/* SPDX-License-Identifier: Apache-2.0 */
#include "acl.h"
#include "cleanup.h"
#include "trust.h"

#include <string.h>

#define SERVICE "/dacm.v1.DigitalAssets/"

dacm_code client__acl_init(
    client_acl *acl, const dacm_acl_entry *entries, size_t count, dacm_error *reterr)
{
    client_acl made = {.count = count};
    made.entries = calloc(count + 1, sizeof *made.entries);
    made.pointers = calloc(count + 1, sizeof *made.pointers);
    made.operations = calloc(CLIENT_OPERATIONS * (count + 1), sizeof *made.operations);
    dacm_code code = DACM_OK;
    if (!made.entries || !made.pointers || !made.operations)
        code = client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a list of users");
    for (size_t i = 0; code == DACM_OK && i < count; i++) {
        Dacm__V1__AccessControlEntry *entry = &made.entries[i];
        bool external = false;
        code = client__check_user(entries[i].user, &external, reterr);
        if (code == DACM_OK && (external || entries[i].operations & ~0x1eu))
            code = client__fail(reterr, DACM_INVALID_ARGUMENT,
                "'%.255s' cannot stand on a list: write an External ID as extid-local@domain, "
                "and name operations only",
                entries[i].user);
        dacm__v1__access_control_entry__init(entry);
        entry->allowed_user = client__text(entries[i].user);
        entry->allowed_operations = made.operations + i * CLIENT_OPERATIONS;
        for (unsigned bit = DACM_OPERATION_DISCOVERY; bit <= DACM_OPERATION_DELETE; bit++)
            if (entries[i].operations & 1u << bit)
                entry->allowed_operations[entry->n_allowed_operations++] = (Dacm__V1__Operation)bit;
        made.pointers[i] = entry;
    }
    if (code != DACM_OK) {
        client__acl_done(&made);
        return code;
    }
    *acl = made;
    return DACM_OK;
}

void client__acl_done(client_acl *acl)
{
    free(acl->entries);
    free(acl->pointers);
    free(acl->operations);
    *acl = (client_acl){.count = 0};
}

/* ---- what comes back ------------------------------------------------------------------- */

/** Everything that a dacm_profiles points to beside the message itself. */
typedef struct memory {
    rpc_message *message;
    dacm_acl_entry **lists; /* one a profile */
    size_t count;
} memory;

void dacm_profiles_free(dacm_profiles *profiles)
{
    if (!profiles)
        return;
    memory *held = profiles->memory;
    if (held) {
        for (size_t i = 0; held->lists && i < held->count; i++)
            free(held->lists[i]);
        free(held->lists);
        rpc_message_release(held->message);
        free(held);
    }
    free(profiles->items);
    free(profiles);
}
RPC_DEFINE_FREEP(profiles_freep, dacm_profiles *, dacm_profiles_free)

static unsigned operations_of(const Dacm__V1__AccessControlEntry *entry)
{
    unsigned bits = 0;
    for (size_t i = 0; i < entry->n_allowed_operations; i++)
        if (dacm_operation_name((dacm_operation)entry->allowed_operations[i]))
            bits |= 1u << entry->allowed_operations[i];
    return bits;
}

static bool set_profile(
    dacm_profile *profile, const Dacm__V1__DigitalAssetProfile *from, dacm_acl_entry **ret_list)
{
    const size_t count = from->n_access_control_list;
    dacm_acl_entry *list = calloc(count + 1, sizeof *list);
    if (!list)
        return false;
    *ret_list = list;
    for (size_t i = 0; i < count; i++)
        list[i] = (dacm_acl_entry){.user = from->access_control_list[i]->allowed_user,
            .operations = operations_of(from->access_control_list[i])};
    *profile = (dacm_profile){
        .owners = (const char *const *)from->owners,
        .owner_count = from->n_owners,
        .acl = list,
        .acl_count = count,
        .status = (int)from->current_status,
        .generation = from->generation,
        .media_type = "",
    };
    snprintf(profile->asset_id, sizeof profile->asset_id, "%s", from->asset_id);
    if (!from->media)
        return true;
    profile->has_media = true;
    profile->version = from->media->version;
    profile->size = from->media->size;
    profile->media_type = from->media->media_type;
    profile->created_at = from->media->created_at;
    if (from->media->sha256.len == sizeof profile->sha256)
        memcpy(profile->sha256, from->media->sha256.data, sizeof profile->sha256);
    return true;
}

/** Whoever prints a profile must not be steered by it: names are what they are said to be. */
static bool is_sound(const Dacm__V1__DigitalAssetProfile *from)
{
    bool sound = trust_asset_id_valid(rpc_bytes_str(from->asset_id));
    for (size_t i = 0; sound && i < from->n_owners; i++)
        sound = trust_gpsi_valid(rpc_bytes_str(from->owners[i]));
    for (size_t i = 0; sound && i < from->n_access_control_list; i++)
        sound = trust_gpsi_valid(rpc_bytes_str(from->access_control_list[i]->allowed_user));
    for (const char *c = from->media ? from->media->media_type : ""; sound && *c; c++)
        sound = *c > ' ' && *c <= '~';
    return sound;
}

/** Takes message with success only. */
static dacm_code make_profiles(rpc_message *message, Dacm__V1__DigitalAssetProfile *const *from,
    size_t count, const char *next_page_token, dacm_profiles **ret, dacm_error *reterr)
{
    RPC_CLEANUP(profiles_freep) dacm_profiles *profiles = calloc(1, sizeof *profiles);
    memory *held = calloc(1, sizeof *held);
    if (profiles)
        profiles->memory = held;
    else
        free(held);
    bool good = profiles && held;
    if (good) {
        held->lists = calloc(count + 1, sizeof *held->lists);
        profiles->items = calloc(count + 1, sizeof *profiles->items);
        held->count = count;
        good = held->lists && profiles->items;
    }
    for (size_t i = 0; good && i < count; i++) {
        if (!is_sound(from[i]))
            return client__fail(reterr, DACM_INTERNAL,
                "the server's answer is malformed: an asset, a user or a media type is none");
        good = set_profile(&profiles->items[i], from[i], &held->lists[i]);
    }
    if (!good)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a page of profiles");
    profiles->count = count;
    profiles->next_page_token = next_page_token;
    held->message = message;
    *ret = RPC_TAKE(profiles);
    return DACM_OK;
}

/* ---- calls -------------------------------------------------------------------------------- */

dacm_code dacm_get_profile(dacm_client *client, const char *asset_id, const char *user,
    const char *page_token, dacm_profiles **ret, dacm_error *reterr)
{
    bool external = false;
    dacm_code code = client__check_subject(asset_id, user, &external, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__GetProfileRequest request = DACM__V1__GET_PROFILE_REQUEST__INIT;
    request.asset_id = client__text(asset_id);
    request.user_case = external ? DACM__V1__GET_PROFILE_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__GET_PROFILE_REQUEST__USER_GPSI;
    request.gpsi = client__text(user);
    request.page_token = client__text(page_token ? page_token : "");
    const dacm_token_request need = {.user = user, .asset_id = asset_id, .action = "get"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, SERVICE "GetProfile", &need, &request.base,
        &dacm__v1__get_profile_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    const Dacm__V1__GetProfileResponse *answer = (const Dacm__V1__GetProfileResponse *)reply;
    if (!answer->profile || strcmp(answer->profile->asset_id, asset_id) != 0)
        code = client__fail(
            reterr, DACM_INTERNAL, "the server's answer holds no profile of that asset");
    else
        code = make_profiles(message, &answer->profile, 1, answer->next_page_token, ret, reterr);
    if (code != DACM_OK)
        rpc_message_release(message);
    else
        (*ret)->items[0].acl_total = answer->access_control_count;
    return code;
}

dacm_code dacm_discover_profiles(dacm_client *client, const char *user, const char *page_token,
    dacm_profiles **ret, dacm_error *reterr)
{
    bool external = false;
    dacm_code code = client__check_user(user, &external, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__DiscoverProfilesRequest request = DACM__V1__DISCOVER_PROFILES_REQUEST__INIT;
    request.user_case = external ? DACM__V1__DISCOVER_PROFILES_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__DISCOVER_PROFILES_REQUEST__USER_GPSI;
    request.gpsi = client__text(user);
    request.page_token = client__text(page_token ? page_token : "");
    const dacm_token_request need = {.user = user, .action = "discovery"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, SERVICE "DiscoverProfiles", &need, &request.base,
        &dacm__v1__discover_profiles_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    const Dacm__V1__DiscoverProfilesResponse *answer = (const Dacm__V1__DiscoverProfilesResponse *)
        reply;
    code = make_profiles(
        message, answer->profiles, answer->n_profiles, answer->next_page_token, ret, reterr);
    if (code != DACM_OK)
        rpc_message_release(message);
    return code;
}

dacm_code dacm_create_profile(dacm_client *client, const char *user, const dacm_acl_entry *allow,
    size_t allow_count, char ret_asset_id[DACM_ASSET_ID_BYTES_MAX + 1], dacm_error *reterr)
{
    bool external = false;
    client_acl acl = {.count = 0};
    dacm_code code = client__check_user(user, &external, reterr);
    if (code == DACM_OK)
        code = client__acl_init(&acl, allow, allow_count, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__CreateProfileRequest request = DACM__V1__CREATE_PROFILE_REQUEST__INIT;
    Dacm__V1__DigitalAssetProfile profile = DACM__V1__DIGITAL_ASSET_PROFILE__INIT;
    profile.asset_type = DACM__V1__ASSET_TYPE__ASSET_TYPE_AVATAR;
    profile.n_access_control_list = acl.count;
    profile.access_control_list = acl.pointers;
    request.profile = &profile;
    request.user_case = external ? DACM__V1__CREATE_PROFILE_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__CREATE_PROFILE_REQUEST__USER_GPSI;
    request.gpsi = client__text(user);
    const dacm_token_request need = {.user = user, .action = "create"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, SERVICE "CreateProfile", &need, &request.base,
        &dacm__v1__create_profile_response__descriptor, &message, &reply, reterr);
    client__acl_done(&acl);
    if (code != DACM_OK)
        return code;
    const Dacm__V1__CreateProfileResponse *answer = (const Dacm__V1__CreateProfileResponse *)reply;
    if (!answer->profile || client__check_asset(answer->profile->asset_id, NULL) != DACM_OK)
        code = client__fail(reterr, DACM_INTERNAL, "the server's answer names no asset");
    else
        snprintf(ret_asset_id, DACM_ASSET_ID_BYTES_MAX + 1, "%s", answer->profile->asset_id);
    rpc_message_release(message);
    return code;
}

dacm_code dacm_update_profile(dacm_client *client, const dacm_profile_change *change,
    uint64_t *ret_generation, dacm_error *reterr)
{
    bool external = false;
    client_acl acl = {.count = 0};
    dacm_code code = client__check_subject(change->asset_id, change->user, &external, reterr);
    for (size_t i = 0; code == DACM_OK && i < change->deny_count; i++) {
        bool unused = false;
        code = client__check_user(change->deny[i], &unused, reterr);
    }
    if (code == DACM_OK)
        code = client__acl_init(&acl, change->allow, change->allow_count, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__UpdateProfileRequest request = DACM__V1__UPDATE_PROFILE_REQUEST__INIT;
    request.asset_id = client__text(change->asset_id);
    request.user_case = external ? DACM__V1__UPDATE_PROFILE_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__UPDATE_PROFILE_REQUEST__USER_GPSI;
    request.gpsi = client__text(change->user);
    request.if_match = change->if_match;
    request.n_allow = acl.count;
    request.allow = acl.pointers;
    request.n_deny = change->deny_count;
    request.deny = (char **)(uintptr_t)change->deny;
    const dacm_token_request need = {
        .user = change->user, .asset_id = change->asset_id, .action = "update"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, SERVICE "UpdateProfile", &need, &request.base,
        &dacm__v1__update_profile_response__descriptor, &message, &reply, reterr);
    client__acl_done(&acl);
    if (code != DACM_OK)
        return code;
    *ret_generation = ((const Dacm__V1__UpdateProfileResponse *)reply)->generation;
    rpc_message_release(message);
    return DACM_OK;
}

dacm_code dacm_delete_profile(dacm_client *client, const char *asset_id, const char *user,
    uint64_t if_match, dacm_error *reterr)
{
    bool external = false;
    dacm_code code = client__check_subject(asset_id, user, &external, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__DeleteProfileRequest request = DACM__V1__DELETE_PROFILE_REQUEST__INIT;
    request.asset_id = client__text(asset_id);
    request.user_case = external ? DACM__V1__DELETE_PROFILE_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__DELETE_PROFILE_REQUEST__USER_GPSI;
    request.gpsi = client__text(user);
    request.if_match = if_match;
    const dacm_token_request need = {.user = user, .asset_id = asset_id, .action = "delete"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, SERVICE "DeleteProfile", &need, &request.base,
        &dacm__v1__delete_profile_response__descriptor, &message, &reply, reterr);
    if (code == DACM_OK)
        rpc_message_release(message);
    return code;
}
