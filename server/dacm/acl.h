/* SPDX-License-Identifier: Apache-2.0 */
/** Profiles and access control lists as clients send them: checked, normalised, turned into
 *  records, and back (TS 23.438 7.2). Pure. */
#ifndef DACM_ACL_H
#define DACM_ACL_H

#include "dacm/v1/digital_asset.pb-c.h"
#include "records.h"

#define DACM_USERS_PER_CALL_MAX 1000u

static inline uint32_t dacm_operation_bit(unsigned operation)
{
    return 1u << operation;
}

/** One user and what the list allows. gpsi is borrowed from the request. */
typedef struct dacm_grant {
    const char *gpsi;
    uint32_t operations; /* 0: taken off the list */
} dacm_grant;

/** No operation means GET. INVALID_ARGUMENT names field and entry. */
RPC_MUST_USE rpc_code dacm_operations_of(const Dacm__V1__AccessControlEntry *entry,
    const char *field, size_t index, uint32_t *ret, rpc_status *reterr);

/** A GPSI of the request's `field`. INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code dacm_check_gpsi(
    const char *gpsi, const char *field, size_t index, rpc_status *reterr);

/** The list of a request as grants, at most one per user (twice the same user is
 *  INVALID_ARGUMENT). grants has room for n_allow + n_deny; sorted by GPSI. */
RPC_MUST_USE rpc_code dacm_grants_of(Dacm__V1__AccessControlEntry *const *allow, size_t n_allow,
    char *const *deny, size_t n_deny, dacm_grant *grants, rpc_status *reterr);

/** Checks a new asset's profile: no ID, no media, type avatar, owners (at most 16, without
 *  doubles; if any are named the user is one of them), spatial conditions, list. */
RPC_MUST_USE rpc_code dacm_check_new_profile(
    const Dacm__V1__DigitalAssetProfile *profile, const char *user, rpc_status *reterr);
RPC_MUST_USE rpc_code dacm_check_spatial(char *const *values, size_t count, rpc_status *reterr);

/** The record's profile as clients see it, without the access control list. Memory is of arena
 *  and of profile. NULL when the arena is used up. */
RPC_MUST_USE Dacm__V1__DigitalAssetProfile *dacm_profile_shown(const char *asset_id,
    const Dacm__Records__Profile *profile, uint64_t generation, rpc_arena *arena);
/** One entry of the list, in arena; NULL when it is used up. */
RPC_MUST_USE Dacm__V1__AccessControlEntry *dacm_entry_shown(
    const char *gpsi, uint32_t operations, rpc_arena *arena);

#endif
