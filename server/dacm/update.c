/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.UpdateProfile and DeleteProfile: read as of one generation, changed only if it
 * still is that generation, tried again when somebody else was faster and no if_match forbids
 * it. */
#include "methods.h"

#include "acl.h"
#include "changes.h"

#include <string.h>

#define TRIES_MAX 8u

typedef struct update {
    dacm_grant *grants; /* what is asked for, sorted */
    uint32_t *before;   /* what the list says of them now */
    size_t count, read;
    const char **indexed; /* users who get to discover it */
    size_t indexed_count;
    uint64_t generation; /* that the change made */
    char *owners[2 * DACM_OWNERS_MAX];
    size_t owner_count;
} update;

static const Dacm__V1__UpdateProfileRequest *request_of(const unary *u)
{
    return (const Dacm__V1__UpdateProfileRequest *)u->request;
}

static void missing(unary *u)
{
    unary_fail_text(u, RPC_NOT_FOUND, "asset_id: there is no such asset");
}

static bool is_current(unary *u, uint64_t if_match)
{
    if (if_match == 0 || if_match == u->access.facts.generation)
        return true;
    rpc_status status;
    rpc_status_set(&status, RPC_ABORTED,
        "if_match: generation %llu was named and the profile is at %llu; read it, then decide "
        "again",
        (unsigned long long)if_match, (unsigned long long)u->access.facts.generation);
    unary_fail(u, &status);
    return false;
}

/* After ABORTED by the store. */
static bool may_try_again(unary *u, uint64_t if_match)
{
    if (if_match == 0 && ++u->tries < TRIES_MAX)
        return true;
    unary_fail_text(u, RPC_ABORTED,
        "asset: somebody else changed the profile meanwhile; read it, then decide again");
    return false;
}

/* ---- owners ---- */

static bool named(char *const *list, size_t count, const char *gpsi)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], gpsi) == 0)
            return true;
    return false;
}

static rpc_code new_owners(unary *u, update *up, rpc_status *reterr)
{
    const Dacm__V1__UpdateProfileRequest *request = request_of(u);
    const Dacm__Records__Profile *profile = u->access.facts.profile;
    up->owner_count = 0;
    if ((request->n_add_owners || request->n_remove_owners) && !u->access.facts.owner)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "add_owners, remove_owners: only an owner changes the owners");
    for (size_t i = 0; i < profile->n_owners && i < DACM_OWNERS_MAX; i++)
        if (!named(request->remove_owners, request->n_remove_owners, profile->owners[i]))
            up->owners[up->owner_count++] = profile->owners[i];
    for (size_t i = 0; i < request->n_add_owners; i++) {
        rpc_code code = dacm_check_gpsi(request->add_owners[i], "add_owners", i, reterr);
        if (code != RPC_OK)
            return code;
        if (!named(up->owners, up->owner_count, request->add_owners[i]))
            up->owners[up->owner_count++] = request->add_owners[i];
    }
    if (up->owner_count == 0)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "remove_owners: one owner must stay; add another first");
    if (up->owner_count > DACM_OWNERS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "add_owners: an asset has at most %u owners", DACM_OWNERS_MAX);
    return RPC_OK;
}

/* ---- the change itself ---- */

/* A user with the operation Update gives nobody more than he has. */
static rpc_code check_rights(const unary *u, const update *up, rpc_status *reterr)
{
    if (u->access.facts.owner)
        return RPC_OK;
    for (size_t i = 0; i < up->count; i++)
        if (up->grants[i].operations & ~u->access.facts.operations)
            return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                "allow: only an owner allows an operation that he who asks is not allowed");
    return RPC_OK;
}

static bool allows_get(uint32_t operations)
{
    return operations & dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET);
}

static void put_grants(const update *up, dacm_changes *changes, Dacm__Records__Profile *profile)
{
    for (size_t i = 0; i < up->count; i++) {
        dacm_grant grant = up->grants[i];
        if (named(profile->owners, profile->n_owners, grant.gpsi))
            grant.operations = 0; /* owners are allowed everything and have no grant */
        profile->grant_count += (grant.operations != 0) - (uint64_t)(up->before[i] != 0);
        profile->get_count += (uint64_t)allows_get(grant.operations) - allows_get(up->before[i]);
        if (grant.operations)
            dacm_put_grant(changes, &grant);
        else
            dacm_changes_delete(changes, dacm_key_grant(grant.gpsi));
    }
}

static void decided(unary *u);

static void answer_updated(void *arg, const rpc_status *status)
{
    unary *u = arg;
    const update *up = u->state;
    Dacm__V1__UpdateProfileResponse response = DACM__V1__UPDATE_PROFILE_RESPONSE__INIT;
    response.generation = up->generation;
    if (status->code != RPC_OK || rpc_call_cancelled(u->call))
        unary_fail(u, status);
    else
        unary_reply(u, &response.base);
}

static void written(void *arg, const rpc_status *status, uint64_t generation)
{
    unary *u = arg;
    update *up = u->state;
    up->generation = generation;
    if (status->code == RPC_OK)
        dacm_access_changed(&u->access, u->access.asset_id, "profile updated", answer_updated, u);
    else if (rpc_call_cancelled(u->call))
        unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
    else if (status->code != RPC_ABORTED)
        unary_fail(u, dacm_store_status(u->service, "update of a profile", status));
    else if (may_try_again(u, request_of(u)->if_match))
        unary_decide_again(u, decided);
}

static void indexed(void *arg, const rpc_status *status, uint64_t generation)
{
    unary *u = arg;
    update *up = u->state;
    if (status->code != RPC_OK) {
        written(u, status, generation);
        return;
    }
    if (rpc_call_cancelled(u->call)) {
        unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
        return;
    }
    const Dacm__V1__UpdateProfileRequest *request = request_of(u);
    Dacm__Records__Profile profile = *u->access.facts.profile;
    profile.owners = up->owners;
    profile.n_owners = up->owner_count;
    if (request->current_status != DACM__V1__ASSET_STATUS__ASSET_STATUS_UNSPECIFIED)
        profile.current_status = (uint32_t)request->current_status;
    if (request->spatial_conditions) {
        profile.spatial_conditions = request->spatial_conditions->values;
        profile.n_spatial_conditions = request->spatial_conditions->n_values;
    }
    dacm_changes changes = {0};
    put_grants(up, &changes, &profile);
    dacm_changes_put(&changes, dacm_key_profile(), &profile.base);
    dacm_changes_apply(&changes, u->service->store, &u->executor,
        dacm_key_asset(u->access.asset_id), u->access.facts.generation, written, u);
}

static void index_users(unary *u)
{
    update *up = u->state;
    const Dacm__V1__UpdateProfileRequest *request = request_of(u);
    up->indexed_count = 0;
    for (size_t i = 0; i < request->n_add_owners; i++)
        up->indexed[up->indexed_count++] = request->add_owners[i];
    for (size_t i = 0; i < up->count; i++)
        if (up->grants[i].operations & dacm_operation_bit(DACM__V1__OPERATION__OPERATION_DISCOVERY))
            up->indexed[up->indexed_count++] = up->grants[i].gpsi;
    dacm_index_users(u->service->store, &u->executor, u->access.asset_id, up->indexed,
        up->indexed_count, rpc_clock_wall_ms(u->service->clock) / 1000, indexed, u);
}

/* ---- what the list says now, of those who are named ---- */

static void read_grants(unary *u);

/* False: the unary has gone another way. */
static bool take_grant(unary *u)
{
    update *up = u->state;
    Dacm__Records__Grant *grant = NULL;
    rpc_status status = u->op.status;
    if (status.code == RPC_OK)
        host_record_unpack(&dacm__records__grant__descriptor, u->op.view.bytes, u->arena,
            (ProtobufCMessage **)&grant, &status);
    store_view_release(&u->op.view);
    if (status.code != RPC_OK && status.code != RPC_NOT_FOUND) {
        unary_fail(u, dacm_store_status(u->service, "lookup of a grant", &status));
        return false;
    }
    if (u->op.generation != u->access.facts.generation) {
        if (may_try_again(u, request_of(u)->if_match))
            unary_decide_again(u, decided);
        return false;
    }
    up->before[up->read++] = grant ? grant->operations : 0;
    return true;
}

static void have_grant(unary *u)
{
    if (take_grant(u))
        read_grants(u);
}

static void read_grants(unary *u)
{
    update *up = u->state;
    host_key group = dacm_key_asset(u->access.asset_id);
    while (up->read < up->count) {
        host_key item = dacm_key_grant(up->grants[up->read].gpsi);
        u->op = unary_op(u, have_grant);
        if (store_get(u->service->store, host_key_bytes(&group), host_key_bytes(&item), &u->op) ==
            STORE_PENDING)
            return;
        if (!take_grant(u))
            return;
    }
    index_users(u);
}

static void decided(unary *u)
{
    update *up = u->state;
    rpc_status status = {0};
    up->read = 0;
    if (!u->access.facts.profile)
        missing(u);
    else if (!is_current(u, request_of(u)->if_match))
        return;
    else if (new_owners(u, up, &status) != RPC_OK || check_rights(u, up, &status) != RPC_OK)
        unary_fail(u, &status);
    else
        read_grants(u);
}

/* New owners lose their grants: they are named like users taken off the list. */
static rpc_code grants_wanted(unary *u, update *up, rpc_status *reterr)
{
    const Dacm__V1__UpdateProfileRequest *request = request_of(u);
    size_t count = request->n_allow + request->n_deny;
    rpc_code code = dacm_grants_of(
        request->allow, request->n_allow, request->deny, request->n_deny, up->grants, reterr);
    for (size_t i = 0; i < request->n_add_owners && code == RPC_OK; i++) {
        for (size_t j = 0; j < count && code == RPC_OK; j++)
            if (strcmp(up->grants[j].gpsi, request->add_owners[i]) == 0)
                code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "add_owners[%zu]: is also named in allow, deny or add_owners; an owner is "
                    "allowed everything",
                    i);
        up->grants[count++] = (dacm_grant){request->add_owners[i], 0};
    }
    up->count = count;
    return code;
}

static rpc_code check_update(unary *u, update *up, rpc_status *reterr)
{
    const Dacm__V1__UpdateProfileRequest *request = request_of(u);
    if (request->current_status < DACM__V1__ASSET_STATUS__ASSET_STATUS_UNSPECIFIED ||
        request->current_status > DACM__V1__ASSET_STATUS__ASSET_STATUS_NOT_IN_USE)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "current_status: %d is neither IN_USE nor NOT_IN_USE", request->current_status);
    if (request->n_add_owners > DACM_OWNERS_MAX || request->n_remove_owners > DACM_OWNERS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "add_owners, remove_owners: at most %u each", DACM_OWNERS_MAX);
    const Dacm__V1__StringList *spatial = request->spatial_conditions;
    rpc_code code = spatial ? dacm_check_spatial(spatial->values, spatial->n_values, reterr)
                            : RPC_OK;
    return code == RPC_OK ? grants_wanted(u, up, reterr) : code;
}

static update *update_new(unary *u)
{
    const size_t room = DACM_USERS_PER_CALL_MAX + DACM_OWNERS_MAX;
    update *up = rpc_arena_alloc(u->arena, sizeof *up);
    dacm_grant *grants = rpc_arena_alloc(u->arena, room * sizeof *grants);
    uint32_t *before = rpc_arena_alloc(u->arena, room * sizeof *before);
    const char **users = rpc_arena_alloc(u->arena, room * sizeof *users);
    if (!up || !grants || !before || !users)
        return NULL;
    *up = (update){.grants = grants, .before = before, .indexed = users};
    return up;
}

void dacm_update_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__UpdateProfileRequest *request, Dacm__V1__UpdateProfileResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    rpc_status status = {0};
    dacm_request wanted = {.method = "UpdateProfile", .action = DACM_ACTION_UPDATE};
    wanted.asset_id = request->asset_id;
    DACM_USER_OF(request, DACM__V1__UPDATE_PROFILE_REQUEST__USER_GPSI,
        DACM__V1__UPDATE_PROFILE_REQUEST__USER_EXTERNAL_ID, wanted);
    u->state = update_new(u);
    if (!u->state)
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "UpdateProfile: no memory; try again later");
    else if (check_update(u, u->state, &status) != RPC_OK)
        unary_fail(u, &status);
    else
        unary_decide(u, &wanted, decided);
}

/* ---- DeleteProfile ---- */

static const Dacm__V1__DeleteProfileRequest *delete_request(const unary *u)
{
    return (const Dacm__V1__DeleteProfileRequest *)u->request;
}

static void delete_decided(unary *u);

/* What is left of them is worth nothing without the asset: the sweep looks again. */
static void variants_deleted(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    (void)status;
    unary *u = arg;
    Dacm__V1__DeleteProfileResponse response = DACM__V1__DELETE_PROFILE_RESPONSE__INIT;
    if (u->access.facts.profile)
        dacm_variants_forget(u->service->variants, u->access.facts.profile->uid.data);
    if (rpc_call_cancelled(u->call))
        unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
    else
        unary_reply(u, &response.base);
}

static void manifests_deleted(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    (void)status; /* likewise, and they are small */
    unary *u = arg;
    dacm_changes changes = {0};
    dacm_changes_delete_prefix(&changes, dacm_key_profile());
    dacm_changes_apply(&changes, u->service->store, &u->executor,
        dacm_key_variants(u->access.asset_id), STORE_ANY_GENERATION, variants_deleted, u);
}

static void delete_manifests(void *arg, const rpc_status *status)
{
    unary *u = arg;
    if (status->code != RPC_OK) {
        unary_fail(u, status);
        return;
    }
    dacm_changes changes = {0};
    dacm_changes_delete_prefix(&changes, dacm_key_profile());
    dacm_changes_apply(&changes, u->service->store, &u->executor,
        dacm_key_manifests(u->access.asset_id), STORE_ANY_GENERATION, manifests_deleted, u);
}

static void deleted(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    unary *u = arg;
    if (status->code == RPC_OK)
        dacm_access_changed(&u->access, u->access.asset_id, "asset deleted", delete_manifests, u);
    else if (rpc_call_cancelled(u->call))
        unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
    else if (status->code != RPC_ABORTED)
        unary_fail(u, dacm_store_status(u->service, "deletion of an asset", status));
    else if (may_try_again(u, delete_request(u)->if_match))
        unary_decide_again(u, delete_decided);
}

/* The tombstone keeps the ID from being used again; chunks go with the sweep. */
static void delete_decided(unary *u)
{
    const Dacm__Records__Profile *profile = u->access.facts.profile;
    if (!profile) {
        missing(u);
        return;
    }
    if (!is_current(u, delete_request(u)->if_match))
        return;
    Dacm__Records__Profile tombstone = DACM__RECORDS__PROFILE__INIT;
    tombstone.uid = profile->uid;
    tombstone.deleted = true;
    tombstone.created_at = profile->created_at;
    host_key grants = {.size = 2, .data = "g/"}, versions = {.size = 2, .data = "v/"};
    dacm_changes changes = {0};
    dacm_changes_put(&changes, dacm_key_profile(), &tombstone.base);
    dacm_changes_delete_prefix(&changes, versions);
    dacm_changes_delete_prefix(&changes, grants);
    dacm_changes_apply(&changes, u->service->store, &u->executor,
        dacm_key_asset(u->access.asset_id), u->access.facts.generation, deleted, u);
}

void dacm_delete_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__DeleteProfileRequest *request, Dacm__V1__DeleteProfileResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {.method = "DeleteProfile", .action = DACM_ACTION_DELETE};
    wanted.asset_id = request->asset_id;
    DACM_USER_OF(request, DACM__V1__DELETE_PROFILE_REQUEST__USER_GPSI,
        DACM__V1__DELETE_PROFILE_REQUEST__USER_EXTERNAL_ID, wanted);
    unary_decide(u, &wanted, delete_decided);
}
